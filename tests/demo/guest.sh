#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# shellcheck disable=SC2034 # columns of the table are used by name
#
# The demonstration, inside the guest: three programs share a memory device that
# compresses, each in a cgroup of its own.
#
#   redis   a Redis server full of documents, log lines, counters and tokens
#   batch   a batch job over a large table (batch.c)
#   noisy   stress-ng, which writes random data all the time
#
# Their DRAM is cut, so that cold pages move to the device.  What has moved is
# read there, written to, and in the end compared with what was stored.  Limits
# are set with echo, and shown as they are set.
set -u

REDIS_VALUES=16000
REDIS_QUERIES=3000
BATCH_MIB=160
BATCH_UPDATES=2000
NOISY_MIB=128
PROGRAMS="redis batch noisy"

top=/sys/fs/cgroup/demo
sim=/sys/kernel/debug/cram_sim/0
node=
device=
work=$(mktemp -d /tmp/demo.XXXXXX)
socket=$work/redis.sock
answer=
failed=0
progress=

# Columns of the table at the end, by program.
declare -A dram resident ratio reads faults demoted promoted verified

# --- talking ------------------------------------------------------------------

step() {
	printf '\n%s\n' "$*"
}
say() {
	printf '   %s\n' "$*"
}
# put FILE VALUE: what an operator would type.
put() {
	printf '      echo %-4s > %s\n' "$2" "$1"
	echo "$2" > "$1" || give_up "the kernel did not take $2 for $1"
}
mib() { # BYTES
	awk -v b="$1" 'BEGIN { printf "%.1f", b / 1048576 }'
}
number() { # FILE
	local n
	read -r n < "$1" && echo "$n"
}
key() { # FILE KEY
	awk -v k="$2" '$1 == k { print $2 }' "$1"
}

# A line every three seconds: where the memory of each program is.
progress_line() {
	local p v=$SECONDS
	for p in $PROGRAMS; do
		v="$v $(number "$top/$p/memory.current") $(number "$top/$p/cram.current")"
	done
	echo "$v $(number "$node/physical_free_bytes") $(number "$node/physical_bytes")" | awk '{
		printf "   %4d s", $1
		for (i = 2; i <= 7; i += 2)
			printf "  %6.1f %8.1f", $i / 1048576, $(i + 1) / 1048576
		printf "  %6.1f of %.0f\n", $8 / 1048576, $9 / 1048576
	}'
}
progress_start() {
	printf '\n%s\n%s\n' \
		"                redis            batch            noisy        cells free" \
		"   MiB:     DRAM resident    DRAM resident    DRAM resident    on the device"
	while progress_line; do sleep 3; done 2> /dev/null &
	progress=$!
}
progress_stop() {
	[ -n "$progress" ] || return 0
	kill "$progress" 2> /dev/null
	wait "$progress" 2> /dev/null
	progress=
	progress_line
	echo
}

# --- failing ------------------------------------------------------------------

give_up() {
	local f
	progress_stop 2> /dev/null
	printf '\nFAILED: %s\n' "$*"
	for f in "$top"/*/memory.events "$top"/*/cram.stat "$top"/*/cram.events \
		"$node"/{state,physical_free_bytes,free_bound_bytes,used_bytes,over_capacity} \
		/sys/kernel/debug/cram/nodes "$work"/*.log; do
		[ ! -e "$f" ] || { echo "--- $f"; grep -v ' 0$' "$f" | tail -n 20; }
	done
	exit 1
}
check() { # WORDS COMMAND...: one line of the verdict
	local words=$1
	shift
	if "$@" > "$work/check.log" 2>&1; then
		printf '   ok    %s\n' "$words"
	else
		printf '   FAIL  %s\n' "$words"
		sed 's/^/         | /' "$work/check.log"
		failed=1
	fi
}
within() { # SECONDS COMMAND...
	local end=$((SECONDS + $1))
	shift
	until "$@"; do
		[ "$SECONDS" -lt "$end" ] || return 1
		sleep 0.2
	done
}
# shellcheck disable=SC2317 # called by trap
clean_up() {
	exec 2> /dev/null
	[ -z "$progress" ] || kill "$progress"
	[ ! -e "$top/cgroup.kill" ] || echo 1 > "$top/cgroup.kill"
	rm -rf "$work"
}
trap clean_up EXIT

# --- the programs -------------------------------------------------------------

# in_cgroup NAME COMMAND...: become COMMAND, in that cgroup
in_cgroup() {
	echo "$BASHPID" > "$top/$1/cgroup.procs"
	shift
	exec "$@"
}
redis() {
	redis-cli -s "$socket" "$@"
}
redis_answers() {
	[ "$(redis ping 2> /dev/null)" = PONG ]
}
ask_redis_digest() {
	answer=$(redis debug digest)
}
ask_batch() { # COMMAND
	[ -z "$1" ] || echo "$1" >&"${BATCH[1]}"
	read -t 90 -r answer <&"${BATCH[0]}" || give_up "batch does not answer"
}
# The number behind a word of the last answer of batch.
told() { # WORD
	awk -v w="$1" '{ for (i = 1; i < NF; i++) if ($i == w) print $(i + 1) }' <<< "$answer"
}
faults_of() { # PID
	awk '{ sub(/^.*\) /, ""); print $8 + $10 }' "/proc/$1/stat"
}
ended() { # PID
	! kill -0 "$1" 2> /dev/null
}

# Ask a program for the DRAM that it has above a limit, then set the limit.  Just to
# set it would take more than that: reclaim at a limit is generous.  While the
# device proves room, reclaim may fall short (EAGAIN): ask again for the rest.
squeeze() { # NAME SIZE
	local limit above
	limit=$(numfmt --from=iec "$2")
	above=$(($(number "$top/$1/memory.current") - limit))
	printf '      echo %-4s > %s\n' "$((above >> 20))M" "$top/$1/memory.reclaim"
	within 120 reclaimed "$1" "$limit" || give_up "reclaim does not get $1 to $2"
	put "$top/$1/memory.max" "$2"
}
reclaimed() { # NAME LIMIT
	local above=$(($(number "$top/$1/memory.current") - $2))
	[ "$above" -ge 1048576 ] || return 0
	echo "$above" > "$top/$1/memory.reclaim"
	[ "$(number "$top/$1/memory.current")" -lt $(($2 + 1048576)) ]
} 2> /dev/null

# --- the device ---------------------------------------------------------------

resident_mib() { # NAME
	mib "$(number "$top/$1/cram.current")"
}
# With the model there is a node when the kernel has booted. A CXL device is made
# a node by what an administrator would do for any CXL memory.
bring_up() {
	if [ -d "$sim" ]; then
		device="a model of a memory device"
	else
		device="an emulated CXL memory device"
		echo
		say "cxl create-region -m -t ram -d decoder0.0 mem0"
		within 20 test -e /sys/bus/cxl/devices/mem0 || give_up "no CXL memory device"
		within 20 cxl create-region -m -t ram -d decoder0.0 mem0 > "$work/region.log" 2>&1 ||
			give_up "no CXL region"
	fi
	within 20 is_up
}
is_up() {
	node=$(echo /sys/devices/system/node/node*/cram)
	[ -e "$node/state" ] && [ "$(cat "$node/state")" = open ]
}
# What the device itself says, whichever it is.
device_number() { # unsettled, held or over
	local answer
	if [ -d "$sim" ]; then
		case $1 in
		unsettled) echo $(($(number $sim/pending) * 4160)) ;;
		held) echo $(($(number $sim/physical) - $(number $sim/physical_free))) ;;
		over) number $sim/over_capacity ;;
		esac
		return
	fi
	answer=$(./qmp '{"execute": "cxl-cram-query", "arguments": {"path": "/machine/peripheral/cram0"}}')
	case $1 in over) set -- over-capacity ;; esac
	sed -n "s/.*\"$1\": \([0-9]*\).*/\1/p" <<< "$answer"
}
# It compresses what it got at its leisure; new pages wait there.
few_pending() {
	[ "$(device_number unsettled)" -lt 1048576 ]
}
# How well do the pages of a program compress that are on the device?
measure_ratio() { # NAME
	local n cells
	read -r _ _ _ n _ cells < <(probe ratio "$top/$1") || give_up "probe ratio $1"
	ratio[$1]=$(awk -v p="$n" -v c="$cells" 'BEGIN { if (c) printf "%.2f", p * 4096 / c; else print "-" }')
}
room_is_refused() {
	[ "$(($(key "$top/noisy/cram.stat" refuse_room) + $(key "$top/noisy/cram.stat" refuse_state)))" -gt 0 ]
}
# stress-ng first touches all its memory, which leaves it nearly empty.
noisy_is_random() {
	measure_ratio noisy
	awk -v r="${ratio[noisy]}" 'BEGIN { exit !(r != "-" && r < 1.1) }'
}
# Run a command that makes a program read all that it holds, and see with the
# processor's accessed bits which of its pages were read on the device.
reading() { # NAME COMMAND...
	local name=$1
	shift
	armed=$(probe arm "$top/$name" "$work/$name.armed") || give_up "probe arm $name"
	"$@"
	reads[$name]=$(probe accessed "$work/$name.armed") || give_up "probe accessed $name"
}

# --- the story ----------------------------------------------------------------

. /etc/os-release
bring_up || give_up "no cram node that is open"
nid=${node%/cram}
cat <<TEXT

cram: compressed memory for cgroups, a demonstration
====================================================

$PRETTY_NAME on Linux $(uname -r).  NUMA ${nid##*/} is $device
that compresses: $(mib "$(number "$node/logical_bytes")") MiB of addresses, $(mib "$(number "$node/physical_bytes")") MiB of cells behind them.
Three programs share it.  Cold pages of theirs move there (they become resident),
are read there without a page fault, and move back to DRAM when they are written.
TEXT

step "1. A cgroup for each program, and its limits"
echo "+memory +cram" > /sys/fs/cgroup/cgroup.subtree_control || give_up "this kernel has no cram controller"
mkdir "$top" || give_up "$top exists"
echo "+memory +cram" > "$top/cgroup.subtree_control" || give_up "no cram controller in $top"
mkdir "$top/redis" "$top/batch" "$top/noisy"
say "What does not compress gets little of the device:"
put "$top/noisy/cram.max" 32M
put "$top/noisy/memory.max" 48M
say "The others get more.  They may not swap: their data is in DRAM or resident."
for p in redis batch; do
	put "$top/$p/cram.max" 256M
	put "$top/$p/memory.swap.max" 0
done

step "2. The programs start and fill their memory"
in_cgroup noisy stress-ng --vm 1 --vm-bytes "${NOISY_MIB}M" --vm-keep --vm-method move-inv \
	--verify --temp-path "$work" > "$work/noisy.log" 2>&1 &
noisy_pid=$!
in_cgroup redis redis-server --port 0 --unixsocket "$socket" --save '' --appendonly no \
	--enable-debug-command yes --loglevel warning --dir "$work" > "$work/redis.log" 2>&1 &
redis_pid=$!
within 30 redis_answers || give_up "redis-server does not answer"
coproc BATCH { in_cgroup batch batch "$BATCH_MIB"; }
t=$SECONDS
dataset "$REDIS_VALUES" | redis --pipe > "$work/load.log" 2>&1
grep -q "errors: 0, replies: $REDIS_VALUES" "$work/load.log" || give_up "redis did not take all values"
ask_redis_digest
digest=$answer
say "redis  $REDIS_VALUES values, $(mib "$(number "$top/redis/memory.current")") MiB, loaded in $((SECONDS - t)) s.  Their digest is ${digest:0:12}..."
ask_batch ""
pages=$(told ready)
say "batch  a table of $pages pages, $BATCH_MIB MiB.  Each page compresses to 1024 bytes"
say "noisy  stress-ng, $NOISY_MIB MiB of random numbers, rewritten again and again"

step "3. Less DRAM for redis and batch: cold pages move to the device"
progress_start
squeeze redis 64M
squeeze batch 48M
progress_stop
say "redis has $(resident_mib redis) MiB on the device now, batch $(resident_mib batch) MiB, and noisy no more"
say "than its cram.max: cram refuses further pages of it, and they go to swap."

step "4. What is on the device is read there"
within 120 few_pending || give_up "the device does not get through compressing"
within 120 noisy_is_random || give_up "stress-ng does not come to write random numbers"
reading batch ask_batch check
faults[batch]=$(told faults)
batch_wrong=$(told wrong)
say "batch compared its $pages pages, $armed of them resident.  Page faults: ${faults[batch]}, wrong: $batch_wrong"
f=$(faults_of "$redis_pid")
reading redis ask_redis_digest
faults[redis]=$(($(faults_of "$redis_pid") - f))
redis_digest=$answer
say "redis read all of its values, $armed pages resident.  Page faults: ${faults[redis]}, digest ${answer:0:12}..."
reads[noisy]=- faults[noisy]=-

step "5. What is written moves back to DRAM, and colder pages take its place"
progress_start
ask_batch "update $BATCH_UPDATES"
redis-benchmark -s "$socket" -q -c 4 -n "$REDIS_QUERIES" -r "$REDIS_VALUES" \
	GET key:__rand_int__ > "$work/queries.log" 2>&1 || give_up "redis-benchmark failed"
progress_stop
say "batch rewrote $BATCH_UPDATES pages; page faults: $(told faults).  redis answered $REDIS_QUERIES queries"
peak=$(number "$top/noisy/cram.peak")

step "6. noisy without its limit: the device takes what it has cells for, no more"
progress_start
put "$top/noisy/cram.max" max
within 90 room_is_refused
sleep 4
progress_stop
say "Now with the limit again.  That moves pages to swap before echo returns:"
put "$top/noisy/cram.max" 32M
limited=$(number "$top/noisy/cram.current")
say "noisy has $(mib "$limited") MiB on the device"

step "7. The end: is all data as it was?"
for p in $PROGRAMS; do
	measure_ratio "$p"
	dram[$p]=$(mib "$(number "$top/$p/memory.current")")
	resident[$p]=$(resident_mib "$p")
done
ask_batch check
batch_wrong=$((batch_wrong + $(told wrong)))
say "batch compared $(told checked) pages, $(told wrong) wrong"
ask_redis_digest
[ "$answer" = "$digest" ] || redis_digest=$answer
say "redis has the digest ${answer:0:12}..."
kill -INT "$noisy_pid"
within 120 ended "$noisy_pid" || give_up "stress-ng does not end"
wait "$noisy_pid"
noisy_status=$?
say "noisy compared all along; stress-ng says: $(grep -o 'passed: .*' "$work/noisy.log" || echo not passed)"

verified[redis]=no verified[batch]=no verified[noisy]=no
[ "$redis_digest" != "$digest" ] || verified[redis]=yes
[ "$batch_wrong" != 0 ] || verified[batch]=yes
[ "$noisy_status" != 0 ] || ! grep -q 'passed: 1: vm' "$work/noisy.log" || verified[noisy]=yes
for p in $PROGRAMS; do
	demoted[$p]=$(key "$top/$p/cram.stat" demote)
	promoted[$p]=$(key "$top/$p/cram.stat" promote_write)
done

row() { # WORDS REDIS BATCH NOISY
	printf '   %-46s %10s %10s %10s\n' "$@"
}
row_of() { # WORDS ARRAY
	local -n values=$2
	row "$1" "${values[redis]}" "${values[batch]}" "${values[noisy]}"
}
rule() {
	printf '   %s\n' "-------------------------------------------------------------------------------"
}
echo
row "" redis batch noisy
rule
row_of "DRAM, MiB (memory.current)" dram
row_of "resident on the device, MiB (cram.current)" resident
row_of "compression of what is resident, to 1" ratio
row_of "pages read in place, in step 4" reads
row_of "page faults of the program meanwhile" faults
row_of "pages moved to the device (demote)" demoted
row_of "pages moved back by writes (promote_write)" promoted
awk '/^refuse_/ && $2 { print $1 }' "$top"/*/cram.stat | sort -u > "$work/refusals"
while read -r r; do
	row "pages refused ($r)" "$(key "$top/redis/cram.stat" "$r")" \
		"$(key "$top/batch/cram.stat" "$r")" "$(key "$top/noisy/cram.stat" "$r")"
done < "$work/refusals"
row_of "data verified" verified
rule
cat <<TEXT
   redis counts references in the values that it reads: these writes are its page
   faults.  refuse_max: cram.max was reached.  refuse_room: no proof that the device
   has cells for one more page.  Refused pages go to swap, or stay in DRAM.

TEXT

# --- the verdict --------------------------------------------------------------

above() { # NUMBER NUMBER
	echo "$1, expected more than $2"
	awk -v a="$1" -v b="$2" 'BEGIN { exit !(a > b) }'
}
is() { # NUMBER NUMBER
	echo "$1, expected $2"
	[ "$1" = "$2" ]
}
all_verified() {
	[ "${verified[*]}" = "yes yes yes" ]
}
both_resident() {
	above "${resident[redis]}" 20 && above "${resident[batch]}" 20
}
batch_ratio_known() {
	above "${ratio[batch]}" 3.8 && above 4.2 "${ratio[batch]}"
}
read_in_place() {
	above "${reads[batch]}" 5000 && above "${reads[redis]}" 5000 &&
		above $((reads[batch] / 50)) "${faults[batch]}" &&
		above $((reads[redis] / 10)) "${faults[redis]}"
}
limit_kept() {
	above 33554433 "$peak" && above "$(key "$top/noisy/cram.stat" refuse_max)" 0 &&
		above 33554433 "$limited"
}
nobody_killed() {
	! grep -h '^oom_kill [1-9]' "$top"/*/memory.events
}
# The model sees stores that the engine does not know of; of another device the
# engine itself notices when pages hold more than was stored to them.
nothing_unannounced() {
	if [ -d "$sim" ]; then
		echo 1 > $sim/patrol && is "$(number $sim/unannounced)" 0
	else
		dmesg > "$work/dmesg" && ! grep "cram: node .* is lost: .*; closed until" "$work/dmesg"
	fi
}
never_full() {
	is "$(number "$node/over_capacity")" 0 && is "$(device_number over)" 0
}
kernel_agrees() {
	cat /sys/kernel/debug/cram/verify
	awk '$1 ~ /^(violations|writable|stray|not_anon|no_owner|unowned|books)$/ && $2 { bad = 1 }
		$1 == "violations" { seen = 1 } END { exit bad || !seen }' /sys/kernel/debug/cram/verify
}
books_are_0() {
	[ "$(cat "$top"/*/cram.current "$node/used_bytes" | sort -u)" = 0 ]
}
stop_all() {
	redis shutdown nosave > /dev/null 2>&1
	echo end >&"${BATCH[1]}"
	within 30 ended "$redis_pid" && within 30 ended "$BATCH_PID_" && within 30 books_are_0 &&
		rmdir "$top/redis" "$top/batch" "$top/noisy"
}
cells_are_free() {
	[ "$(device_number held)" = 0 ]
}

# shellcheck disable=SC2153 # set by coproc; gone when batch ends
BATCH_PID_=$BATCH_PID
say "Verdict"
check "all three programs found their data as they had stored it" all_verified
check "redis and batch had pages on the device" both_resident
check "pages of batch take 1024 bytes there, as they should" batch_ratio_known
check "pages were read in place, without page faults" read_in_place
check "noisy was kept to its cram.max" limit_kept
check "without it, the device's room was the limit (refuse_room, refuse_state)" room_is_refused
check "the device never lacked a cell (over_capacity 0)" never_full
check "nothing was stored to it that the engine did not know of" nothing_unannounced
check "nobody was killed for want of memory" nobody_killed
check "page tables, pages and books agree (debugfs cram/verify)" kernel_agrees
check "when the programs have ended, every cgroup's books are at 0" stop_all
check "and the device has all its cells back" within 30 cells_are_free
echo
[ "$failed" = 0 ] || { echo "FAILED after $SECONDS s"; exit 1; }
echo "All of it holds; it took $SECONDS s.  To look around in such a guest: make vm GUEST=debian"
