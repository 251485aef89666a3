#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
#
# stress-ng in cgroups of the Debian guest, verified by itself, while their memory is
# demoted, written in place, and evicted: under memory.max, cram.max, budgets and
# cram.reclaim.  Leaves nothing behind, so it can be
# run in a boot that others use.

cd "$(dirname "$0")" || exit 1
. ./lib-tap.sh

: "${SECONDS_OF_STRESS:=10}"
CG=/sys/fs/cgroup/stress
NODE=$(cut -d, -f1 /sys/devices/system/node/has_private_memory | cut -d- -f1)
DEBUG=/sys/kernel/debug

count() { awk -v k="$1" '$1 == k { print $2 }' /proc/vmstat; }
counted() { # KEY...: all of them together, since the stress began
	local key sum=0
	for key; do sum=$((sum + $(count "$key") - before[$key])); done
	echo "$*: $sum"
	[ "$sum" -gt 0 ]
}
stress() { # CGROUP STRESSOR...
	local cg=$1 s words=()
	shift
	for s; do words+=("--$s" 1); done
	(
		echo 0 > "$CG/$cg/cgroup.procs"
		exec stress-ng --verify --temp-path /tmp --timeout "$SECONDS_OF_STRESS" --vm-bytes 12M --vm-keep \
			--mmap-bytes 8M --malloc-bytes 8M --brk-bytes 24M --bigheap-bytes 24M "${words[@]}"
	) > "/tmp/stress-$cg" 2>&1 &
	pid[$cg]=$!
}
well() { # CGROUP: it ended well, and says of nothing that it failed
	local status=0
	wait "${pid[$1]}" || status=$?
	echo "status $status"
	cat "/tmp/stress-$1"
	[ "$status" = 0 ] && ! grep -q 'fail:' "/tmp/stress-$1"
}
stressed() { # does any of them run?
	local p
	for p in "${pid[@]}"; do [ ! -e "/proc/$p/exe" ] || return 0; done
	return 1
}
walker() { grep "^violations 0$" "$DEBUG"/cram/verify || { cat "$DEBUG"/cram/verify; return 1; }; }
no_stray_stores() {
	echo 1 > "$DEBUG"/cram_sim/0/patrol
	[ "$(cat "$DEBUG"/cram_sim/0/unannounced)" = 0 ] && [ "$(cat /sys/devices/system/node/node"$NODE"/cram/over_capacity)" = 0 ]
}
node_open() { grep -x open /sys/devices/system/node/node"$NODE"/cram/state; }
books_zero() { [ "$(cat "$CG"/cram.current)" = 0 ] && [ "$(cat "$CG"/cram.writable_current)" = 0 ]; }
no_process() { grep -qx 'populated 0' "$CG"/cgroup.events; }

declare -A pid before
for key in cram_demote cram_promote_write cram_promote_reclaim cram_writeback; do
	before[$key]=$(count $key)
done

echo "TAP version 13"
echo "1..10"
echo "+memory +cram" > /sys/fs/cgroup/cgroup.subtree_control
mkdir -p $CG && echo "+memory +cram" > $CG/cgroup.subtree_control && mkdir -p $CG/{a,b,c}
# One is short of memory, one of room on the device, one writes in place.
echo 48M > $CG/a/memory.max
echo 8M > $CG/b/cram.max
echo max > $CG/c/cram.writable_budget

stress a vm mmap
stress b vm malloc mremap
stress c vm mmapfork memfd
i=0
while stressed; do
	for c in a b c; do
		echo "$((4 + i % 3 * 4))M" > $CG/$c/memory.reclaim
	done 2> /dev/null
	# What is written fails when there is no more to take
	case $((i % 4)) in
	0) echo 2M > $CG/b/cram.max; echo 1M > $CG/c/cram.writable_budget ;;
	1) echo 4M > $CG/a/cram.reclaim; echo 0 > $CG/a/cram.writable_budget ;;
	2) echo 8M > $CG/b/cram.max; echo max > $CG/c/cram.writable_budget ;;
	3) echo 2M > $CG/c/cram.reclaim; echo max > $CG/a/cram.writable_budget ;;
	esac 2> /dev/null
	i=$((i + 1))
	sleep 0.1
done
echo "# $i rounds"

check "under memory.max stress-ng verifies what it reads" well a
check "under cram.max, lowered and raised, too" well b
check "and with a budget that is given and taken" well c
check "pages were demoted" counted cram_demote
check "and left again by writes" counted cram_promote_write
check "and because they were told to" counted cram_promote_reclaim cram_writeback
check "the walker is content" walker
check "nothing was stored over capacity, or without consent" no_stray_stores
check "the node is open" node_open
within 60 no_process
check "the books are zero" within 30 books_zero
rmdir $CG/{a,b,c} $CG
exit $failed
