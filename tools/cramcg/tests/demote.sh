# SPDX-License-Identifier: GPL-2.0-or-later
# shellcheck shell=bash disable=SC2154,SC2016
#
# cramcg demote, with a kernel that notes what it is asked for.  Sourced by tests/run.

asked() { cat "$tmp/asked" 2> /dev/null; }
# STATUS REGEX WORDS ARGUMENT...: in a fresh tree; "change" may be a function that changes it
demotes() {
	local status=$1 regex=$2 words=$3
	shift 3
	fresh
	"${change:-true}"
	rm -f "$tmp/asked"
	FAKE_LOG=$tmp/asked gives "$status" "$regex" "$words" kernel demote "$@"
	cp "$tmp/out" "$tmp/said"
}
# In order, each beside the one before: how many bytes, and in how many pieces
pieces() {
	local at=-1 sum=0 n=0 from len
	while read -r _ from len; do
		[ $((0x$from)) = $at ] || n=$((n + 1))
		at=$((0x$from + 0x$len)) sum=$((sum + 0x$len))
	done < "$tmp/asked"
	echo "$sum $n"
}
fresh
a=$cg/tenants/a p=$root/proc/100
all="100 550000400000 2000000
100 550002400000 2000000
100 7f0000000000 400000"

# --- what is asked for ----------------------------------------------------------------
demotes 0 'asked +67M' "demote of a process" 100
holds "  what can be demoted is asked for, so much at a time" same "$all" "$(asked)"
demotes 0 'left out +1M in 1 mapping: locked in memory' "  what is locked is left out" 100
holds "  and so is all else" bash -c 'for why in "64K .*of a file" "1M .*shared memory" "8K .*a device" "8K .*droppable" "8K .*the kernel made"; do grep -q "left out  *$why" "$1" || { cat "$1"; exit 1; }; done' _ "$tmp/said"
moved() { # what the kernel says afterwards
	cat > "$tmp/moves" <<-END
		sed -i 's/^Cram:.*/Cram: 62000 kB/; s/^Swap:.*/Swap: 28 kB/' $p/smaps_rollup
		sed -i 's/^demote .*/demote 55244/; s/^refuse_content .*/refuse_content 7/' $a/cram.stat
	END
}
moved
FAKE_RUN="process_madvise=sh $tmp/moves" demotes 0 'resident +1M -> 60.5M' "demote: what became resident" 100
holds "  what left memory" grep -q 'memory *72.2M -> 12.7M' "$tmp/said"
holds "  what went to swap" grep -q 'swap *0 -> 28K' "$tmp/said"
holds "  what was counted, and by whom" bash -c 'grep -q "^Counted by /tenants/a .*others" "$1" && grep -q "demoted *15244 pages, 59.5M" "$1"' _ "$tmp/said"
holds "  what was refused, why, and what changes it" bash -c 'grep -q "refused *7 pages by refuse_content: pages do not compress" "$1" && grep -q "cramcg set CGROUP page.max" "$1"' _ "$tmp/said"
FAKE_RUN="process_madvise=sh $tmp/moves" demotes 0 '"demote_pages": 15244' "demote --json" --json 100
holds "  is JSON" jq -e '.counted_by == "/tenants/a" and .refuse_content_pages == 7 and (.processes[0] |
	.pid == 100 and .asked_bytes == .length_bytes - 1048576 and .looked_at_bytes == .length_bytes and
	.after.resident_bytes == 63488000 and .after.swap_bytes == 28672 and .before.resident_bytes == 1048576 and
	([.mappings[] | select(.left_out == null).from] == ["550000400000", "7f0000000000"]) and (.mappings | length) == 8)' "$tmp/said"
before=$(fresh; settings)
demotes 0 'would ask +550000400000-550004400000: 63M' "demote --dry-run" --dry-run 100
holds "  asks for nothing" is "$(asked)" ""
holds "  and changes nothing" same "$before" "$(settings)"
demotes 0 '"dry_run": true' "demote --dry-run --json" --dry-run --json 100
holds "  is JSON" jq -e '.processes[0].looked_at_bytes == 0 and .counted_by == "/tenants/a"' "$tmp/said"
gives 1 'recorded tree cannot be asked' "a recorded tree has no process that could be asked" cramcg demote 100

sparse() { printf '200000000000-200100000000 rw-p 00000000 00:00 0 \nRss: 1024 kB\nAnonymous: 1024 kB\nVmFlags: rd wr \n' > "$p/smaps"; }
change=sparse demotes 0 'asked +1M' "demote of address space with little in it" 100
holds "  takes few calls" same "$(printf '100 2000%s0000000 40000000\n' 0 4 8 c)" "$(asked)"
nothing() { sed -i 's/^Anonymous:.*/Anonymous: 0 kB/' "$p/smaps"; }
change=nothing demotes 0 'asked +for nothing' "demote where there is nothing to demote" 100
change=nothing demotes 0 'would ask +for nothing' "  and --dry-run" --dry-run 100

# --- ranges -------------------------------------------------------------------------------
demotes 0 'asked +1.1M' "demote --range, twice" 100 --range 550000500000-550000600000 --range 7f00003f0000-7f0009000000
holds "  only these addresses are asked for" same "100 550000500000 100000
100 7f00003f0000 10000" "$(asked)"
demotes 0 'asked +for nothing' "demote --range of what is locked" 100 --range 7F0001000000-7F0001001000
holds "  and nothing else is told" is "$(grep -c 'left out' "$tmp/said")" 1
demotes 1 'nothing is mapped there' "demote --range where nothing is mapped" 100 --range 550000500000-550000600000 --range 1000-2000
holds "  asks for nothing at all" is "$(asked)" ""
for range in 1000 1000- 2000-1000 1000-1000 1000-2001 800-1000 x-2000 0x1000-0x2000 1000-2000x -1000-2000 11111111111111111000-2 ""; do
	demotes 2 'two addresses of pages' "demote --range \"$range\"" 100 --range "$range"
done

# --- in part, and errors -------------------------------------------------------------------
FAKE_MOST=1048576 demotes 0 'asked +67M' "demote: the kernel looks at less than was asked for" 100
holds "  and is asked for the rest, in order" is "$(pieces)" "$((68 << 20)) 2"
FAKE_FAIL="550002400000=EINVAL" demotes 4 'left +from 550002400000 on.*locked in memory meanwhile' "demote: a part cannot be" 100
holds "  the parts behind it are asked for" same "$all" "$(asked)"
FAKE_FAIL="550002400000=ENOMEM" demotes 0 'asked' "demote: a part was unmapped meanwhile" 100
FAKE_FAIL="550002400000=EINTR" demotes 4 'a signal came' "demote: the kernel was interrupted" 100
FAKE_FAIL="process_madvise=EINVAL" demotes 1 'left +from 550000400000' "demote: nothing can be" 100
FAKE_FAIL="process_madvise=EPERM" demotes 1 'CAP_SYS_NICE.*PTRACE_MODE_READ' "demote: no right to" 100
FAKE_FAIL="process_madvise=EACCES" demotes 1 'CAP_SYS_NICE.*PTRACE_MODE_READ' "  nor to look" 100
FAKE_FAIL="smaps=EACCES" demotes 1 'process 100: smaps: not permitted' "  nor to see its mappings" 100
FAKE_FAIL="process_madvise=ENOSYS" demotes 3 'no process_madvise' "demote: the kernel cannot" 100
FAKE_FAIL="process_madvise=ESRCH" demotes 1 'process 100: it has ended' "demote: the process ends meanwhile" 100
FAKE_FAIL="550002400000=ESRCH" demotes 1 'has ended' "  or half-way" 100
demotes 1 'no such process' "demote of no process" 99999
demotes 1 'no such cgroup' "demote of no cgroup" /nothing
demotes 2 'which process' "demote of nothing"
demotes 2 'which process' "demote of two" 100 101
demotes 2 'a time is such as' "demote --cold of a word" 100 --cold old

# --- what stands against it ---------------------------------------------------------------------
full() { echo 134217728 > "$a/cram.current"; }
zero() { echo 0 > "$a/cram.max"; }
off() { echo 0 > "$root/sys/kernel/mm/cram/enabled"; }
no_right() { echo > "$a/cram.nodes.effective"; }
low() { echo low > "$root/sys/devices/system/node/node1/cram/state"; }
gone() { rm "$a"/cram.*; }
parent_full() { echo 268435456 > "$cg/tenants/cram.current"; }
while read -r change regex words; do
	demotes 1 "$regex" "demote: $words" 100
	holds "  and nothing is asked for, that would go to swap" is "$(asked)" ""
	demotes 1 "$regex" "  which --dry-run tells" --dry-run 100
done <<-'END'
	full stopped.+refuse_max cram.max is reached
	zero stopped.+refuse_max cram.max is 0
	parent_full cramcg.set./tenants.max=SIZE cram.max is reached above
	off stopped.+refuse_off it is switched off for the machine
	no_right stopped.+refuse_right there is no right to a node
	low stopped.+refuse_state no node is open
END
change=zero demotes 1 'cramcg set /tenants/a max=SIZE, with more than 0' "demote: what would change that" 100
change=zero demotes 1 '"stopped_by": "refuse_max"' "  in JSON" --json 100
unset change
FAKE_RUN="process_madvise=echo 134217728 > $a/cram.current" demotes 4 'stopped +refuse_max' "demote: cram.max is reached meanwhile" 100
holds "  and no more is asked for" same "100 550000400000 2000000" "$(asked)"
nearly() { echo $((134217728 - 8192)) > "$a/cram.current"; }
change=nearly demotes 0 'asked' "demote: cram.max is near" 100
holds "  then little is asked for at a time" is "$(head -n 1 "$tmp/asked")" "100 550000400000 100000"
change=gone demotes 0 'Counted by /tenants ' "demote: an ancestor counts" 100
FAKE_RUN="process_madvise=rm $a/cram.current $a/cram.stat" demotes 4 'process 100: cgroup: it has gone' "demote: the cgroup loses its files meanwhile" 100
root_pays() { cp "$p"/{smaps,smaps_rollup} "$root/proc/101"; }
change=root_pays demotes 0 'root cgroup is charged' "demote where cram is not enabled" 101
holds "  in JSON" bash -c '"$@" | jq -e ".counted_by == null and has(\"demote_pages\") == false"' _ "$build/cramcg" --root "$root" demote --dry-run --json 101

# --- cold -------------------------------------------------------------------------------------------
demotes 0 'left out +4M in 1 mapping: not cold' "demote --cold" 100 --cold 0.3s
holds "  the kernel was told to forget" is "$(cat "$p/clear_refs")" 1
holds "  only what was not referenced is asked for" same "$(head -n 2 <<< "$all")" "$(asked)"
FAKE_RUN="clear_refs=sed -i 's/^Referenced:.*/Referenced: 4 kB/' $p/smaps" demotes 0 'asked +for nothing' "demote --cold: all is referenced meanwhile" 100 --cold 0.1s
FAKE_FAIL="clear_refs=EACCES" demotes 1 'process 100: clear_refs: not permitted' "demote --cold: no right to" 100 --cold 0.1s
holds "  asks for nothing" is "$(asked)" ""
fresh
holds "demote --cold tells on a terminal how long it waits" bash -c 'script -qec "$*" /dev/null < /dev/null | grep -q "looking for what is referenced: 0 of"' _ "$build/cramcg" --root "$root" demote --dry-run --cold 0.3s 100
fresh
holds "demote --cold: Ctrl-C while it waits" bash -c '
	LD_PRELOAD=$1/fakekernel.so FAKE_LOG=$3/asked.int "$1/asan/cramcg" --root "$2" demote --cold 2m 100 2> "$3/err" & pid=$!
	for i in $(seq 300); do [ ! -s "$2/proc/100/clear_refs" ] || break; sleep 0.1; done
	kill -INT $pid; wait $pid; s=$?
	cat "$3/err"
	[ $s = 4 ] && [ ! -e "$3/asked.int" ] && grep -q "interrupted: nothing was asked for" "$3/err"' _ "$build" "$root" "$tmp"
fresh
FAKE_RUN='process_madvise=kill -TERM $PPID' FAKE_LOG=$tmp/asked2 gives 4 'what was demoted stays so' "demote: a signal meanwhile" kernel demote 100
holds "  ends it with what it was at" is "$(wc -l < "$tmp/asked2")" 1

# --- units and cgroups --------------------------------------------------------------------------------
several() {
	local n
	for n in 103 104; do
		cp -r "$p" "$root/proc/$n"
		echo "0::/system.slice/redis.service" > "$root/proc/$n/cgroup"
	done
	printf 'odd\033[31m\n' > "$root/proc/104/comm"
	printf '103\n104\n0\n999\n' > "$cg/system.slice/redis.service/cgroup.procs"
	echo 1073741824 > "$cg/system.slice/redis.service/cram.max"
}
change=several
demotes 0 '^104 \(odd.x1b.31m\)' "demote of a unit: all its processes" redis.service
holds "  are asked" is "$(cut -d ' ' -f 1 "$tmp/asked" | uniq | tr '\n' ' ')" "103 104 "
holds "  one that has ended is no error" grep -q '^999' "$tmp/said"
demotes 0 '^103 ' "demote of a cgroup: and of those below it" /system.slice
holds "  in JSON" bash -c '"$@" | jq -e "[.processes[] | .pid, .ended] == [103, false, 104, false, 999, true]"' _ "$build/cramcg" --root "$root" demote --dry-run --json /system.slice
FAKE_FAIL="process_madvise=ESRCH" demotes 0 'has ended' "demote of a unit: all end meanwhile" redis.service
FAKE_FAIL="process_madvise=EPERM" demotes 1 'process 104: .*CAP_SYS_NICE' "demote of a unit: no right to" redis.service
one_denied() { several; rm "$root/proc/103/clear_refs"; mkdir "$root/proc/103/clear_refs"; }
change=one_denied demotes 4 'process 103: clear_refs' "demote of a unit: one fails" --cold 0.1s redis.service
unset change
demotes 1 'there is no process in it' "demote of a unit without processes" redis.service
fresh
