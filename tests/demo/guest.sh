#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# shellcheck disable=SC2034 # columns of the table are used by name
#
# The demonstration, inside the guest: three services of systemd share a memory
# device that compresses, each with limits in its unit (stage.demo).
#
#   demo-redis   a Redis server full of documents, log lines, counters and tokens
#   demo-batch   a batch job over a large table (batch.c)
#   demo-noisy   stress-ng, which writes random data all the time
#
# Their DRAM is cut, so that cold pages move to the device.  What has moved is
# read there, written to, and in the end compared with what was stored.  Commands
# that an operator would type are shown as they are run.
set -u

REDIS_VALUES=16000
REDIS_QUERIES=3000
BATCH_UPDATES=2000
PROGRAMS="redis batch noisy"

top=/sys/fs/cgroup/demo.slice
run=/run/demo
sim=/sys/kernel/debug/cram_sim/0
node=
device=
work=$(mktemp -d /tmp/demo.XXXXXX)
answer=
failed=0
progress=

# Columns of the table at the end, by program.
declare -A limits dram resident ratio reads faults demoted promoted verified

# --- talking ------------------------------------------------------------------

step() {
	printf '\n%s\n' "$*"
}
say() {
	printf '   %s\n' "$*"
}
# type_in COMMAND...: what an operator would type.
type_in() {
	printf '      %s\n' "$*"
	"$@" || give_up "it failed: $*"
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

# Every few seconds: the device, and what each service has and moves.
progress_start() {
	echo
	COLUMNS=100 cramcg top --batch --sort name --delay "$1" > >(sed -u 's/^/   /') &
	progress=$!
}
progress_stop() {
	[ -n "$progress" ] || return 0
	kill "$progress" 2> /dev/null
	wait "$progress" 2> /dev/null
	progress=
	echo
}

# --- failing ------------------------------------------------------------------

give_up() {
	local f
	progress_stop 2> /dev/null
	printf '\nFAILED: %s\n' "$*"
	systemctl status --no-pager -n 20 'demo-*' || :
	for f in "$top"/*/memory.events "$top"/*/cram.stat "$top"/*/cram.events \
		"$node"/{state,physical_free_bytes,free_bound_bytes,used_bytes,over_capacity} \
		/sys/kernel/debug/cram/nodes "$work"/*.log "$run"/*.log; do
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
	systemctl kill -s KILL demo.slice
	rm -rf "$work" "$run"
}
trap clean_up EXIT

# --- the programs -------------------------------------------------------------

cgroup() { # NAME
	echo "$top/demo-$1.service"
}
# show_unit NAME: its settings, as in the file.
show_unit() {
	printf '      # /etc/systemd/system/demo-%s.service\n' "$1"
	grep -E '^(X-CRAM|Memory)' "/etc/systemd/system/demo-$1.service" | sed 's/^/      /'
}
redis() {
	redis-cli -s $run/redis.sock "$@"
}
redis_answers() {
	[ "$(redis ping 2> /dev/null)" = PONG ]
}
ask_redis_digest() {
	answer=$(redis debug digest)
}
ask_batch() { # COMMAND
	[ -z "$1" ] || echo "$1" >&"$to_batch"
	read -t 90 -r answer <&"$from_batch" || give_up "batch does not answer"
}
# The number behind a word of the last answer of batch.
told() { # WORD
	awk -v w="$1" '{ for (i = 1; i < NF; i++) if ($i == w) print $(i + 1) }' <<< "$answer"
}
faults_of() { # PID
	awk '{ sub(/^.*\) /, ""); print $8 + $10 }' "/proc/$1/stat"
}

# Ask a program for the DRAM that it has above a limit, then set the limit.  Just to
# set it would take more than that: reclaim at a limit is generous.  While the
# device proves room, reclaim may fall short (EAGAIN): ask again for the rest.
squeeze() { # NAME SIZE
	local limit above
	limit=$(numfmt --from=iec "$2")
	above=$(($(number "$(cgroup "$1")/memory.current") - limit))
	printf '      echo %s > %s\n' "$((above >> 20))M" "$(cgroup "$1")/memory.reclaim"
	within 120 reclaimed "$1" "$limit" || give_up "reclaim does not get $1 to $2"
	type_in systemctl set-property --runtime "demo-$1.service" MemoryMax="$2"
}
reclaimed() { # NAME LIMIT
	local above=$(($(number "$(cgroup "$1")/memory.current") - $2))
	[ "$above" -ge 1048576 ] || return 0
	echo "$above" > "$(cgroup "$1")/memory.reclaim"
	[ "$(number "$(cgroup "$1")/memory.current")" -lt $(($2 + 1048576)) ]
} 2> /dev/null

# --- the device ---------------------------------------------------------------

resident_mib() { # NAME
	mib "$(number "$(cgroup "$1")/cram.current")"
}
# With the model there is a node when the kernel has booted. A CXL device is made
# a node by what an administrator would do for any CXL memory.
bring_up() {
	if [ -d "$sim" ]; then
		device="a model of a memory device"
	else
		device="an emulated CXL memory device"
		echo
		printf '      %s\n' "cxl create-region -m -t ram -d decoder0.0 mem0"
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
	read -r _ _ _ n _ cells < <(probe ratio "$(cgroup "$1")") || give_up "probe ratio $1"
	ratio[$1]=$(awk -v p="$n" -v c="$cells" 'BEGIN { if (c) printf "%.2f", p * 4096 / c; else print "-" }')
}
room_is_refused() { # [FILE]
	set -- "${1:-$(cgroup noisy)/cram.stat}"
	[ "$(($(key "$1" refuse_room) + $(key "$1" refuse_state)))" -gt 0 ]
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
	armed=$(probe arm "$(cgroup "$name")" "$work/$name.armed") || give_up "probe arm $name"
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

step "1. A service for each program, with its limits in its unit"
say "What does not compress gets little of the device:"
show_unit noisy
say "The others get more.  They may not swap: their data is in DRAM or resident."
show_unit redis
show_unit batch

step "2. The services start, with these limits, and fill their memory"
{ mkdir $run && mkfifo $run/batch.in $run/batch.out; } || give_up "$run exists"
# Open here for both ways, so that nobody waits for the other end.
exec {to_batch}<> $run/batch.in {from_batch}<> $run/batch.out
t=$SECONDS
type_in systemctl start demo-redis.service demo-batch.service demo-noisy.service
redis_pid=$(systemctl show -P MainPID demo-redis.service)
for p in $PROGRAMS; do
	limits[$p]=$(number "$(cgroup "$p")/cram.max")
done
within 30 redis_answers || give_up "redis-server does not answer"
dataset "$REDIS_VALUES" | redis --pipe > "$work/load.log" 2>&1
grep -q "errors: 0, replies: $REDIS_VALUES" "$work/load.log" || give_up "redis did not take all values"
ask_redis_digest
digest=$answer
say "redis  $REDIS_VALUES values, $(mib "$(number "$(cgroup redis)/memory.current")") MiB, loaded in $((SECONDS - t)) s.  Their digest is ${digest:0:12}..."
ask_batch ""
pages=$(told ready)
say "batch  a table of $pages pages, $((pages / 256)) MiB.  Each page compresses to 1024 bytes"
say "noisy  stress-ng, 128 MiB of random numbers, rewritten again and again"

step "3. Less DRAM for redis and batch: cold pages move to the device (cramcg top)"
progress_start 10
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
progress_start 10
ask_batch "update $BATCH_UPDATES"
redis-benchmark -s $run/redis.sock -q -c 4 -n "$REDIS_QUERIES" -r "$REDIS_VALUES" \
	GET key:__rand_int__ > "$work/queries.log" 2>&1 || give_up "redis-benchmark failed"
progress_stop
say "batch rewrote $BATCH_UPDATES pages; page faults: $(told faults).  redis answered $REDIS_QUERIES queries"
peak=$(number "$(cgroup noisy)/cram.peak")

step "6. noisy without its limit: the device takes what it has cells for, no more"
progress_start 8
type_in cramcg set demo-noisy.service --now max=max
within 90 room_is_refused
sleep 4
progress_stop
say "Now with the limit again.  That moves pages to swap before the command returns:"
type_in cramcg set demo-noisy.service --now max=32M
limited=$(number "$(cgroup noisy)/cram.current")
say "noisy has $(mib "$limited") MiB on the device"

step "7. The end: is all data as it was?"
for p in $PROGRAMS; do
	measure_ratio "$p"
	dram[$p]=$(mib "$(number "$(cgroup "$p")/memory.current")")
	resident[$p]=$(resident_mib "$p")
done
ask_batch check
batch_wrong=$((batch_wrong + $(told wrong)))
say "batch compared $(told checked) pages, $(told wrong) wrong"
ask_redis_digest
[ "$answer" = "$digest" ] || redis_digest=$answer
say "redis has the digest ${answer:0:12}..."
for p in $PROGRAMS; do
	cp "$(cgroup "$p")/cram.stat" "$work/$p.stat"
	demoted[$p]=$(key "$work/$p.stat" demote)
	promoted[$p]=$(key "$work/$p.stat" promote_write)
done
type_in systemctl stop demo-noisy.service
say "noisy compared all along; stress-ng says: $(grep -o 'passed: .*' $run/noisy.log || echo not passed)"

verified[redis]=no verified[batch]=no verified[noisy]=no
[ "$redis_digest" != "$digest" ] || verified[redis]=yes
[ "$batch_wrong" != 0 ] || verified[batch]=yes
systemctl is-failed -q demo-noisy.service || ! grep -q 'passed: 1: vm' $run/noisy.log || verified[noisy]=yes

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
awk '/^refuse_/ && $2 { print $1 }' "$work"/*.stat | sort -u > "$work/refusals"
while read -r r; do
	row "pages refused ($r)" "$(key "$work/redis.stat" "$r")" \
		"$(key "$work/batch.stat" "$r")" "$(key "$work/noisy.stat" "$r")"
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
limits_from_start() {
	echo "${limits[*]}"
	[ "${limits[redis]} ${limits[batch]} ${limits[noisy]}" = "268435456 268435456 33554432" ]
}
limit_kept() {
	above 33554433 "$peak" && above "$(key "$work/noisy.stat" refuse_max)" 0 &&
		above 33554433 "$limited"
}
nobody_killed() {
	! grep '^oom_kill [1-9]' $top/memory.events
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
	[ "$(cat $top/cram.current "$node/used_bytes" | sort -u)" = 0 ]
}
stop_all() {
	echo end >&"$to_batch"
	systemctl stop demo-redis.service demo-batch.service && within 30 books_are_0 &&
		systemctl stop demo.slice && within 30 test ! -e $top
}
cells_are_free() {
	[ "$(device_number held)" = 0 ]
}

say "Verdict"
check "every service had the limit of its unit when it started" limits_from_start
check "all three programs found their data as they had stored it" all_verified
check "redis and batch had pages on the device" both_resident
check "pages of batch take 1024 bytes there, as they should" batch_ratio_known
check "pages were read in place, without page faults" read_in_place
check "noisy was kept to its cram.max" limit_kept
check "without it, the device's room was the limit (refuse_room, refuse_state)" room_is_refused "$work/noisy.stat"
check "the device never lacked a cell (over_capacity 0)" never_full
check "nothing was stored to it that the engine did not know of" nothing_unannounced
check "nobody was killed for want of memory" nobody_killed
check "page tables, pages and books agree (debugfs cram/verify)" kernel_agrees
check "when the programs have ended, every cgroup's books are at 0" stop_all
check "and the device has all its cells back" within 30 cells_are_free
echo
[ "$failed" = 0 ] || { echo "FAILED after $SECONDS s"; exit 1; }
echo "All of it holds; it took $SECONDS s.  To look around in such a guest: make vm GUEST=debian"
