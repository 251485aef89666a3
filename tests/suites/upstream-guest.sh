#!/bin/sh
# SPDX-License-Identifier: GPL-2.0
#
# The guest's part of upstream.sh: run every program that was brought along, with
# "begin NAME" before and "end NAME STATUS" after what it prints. With
# MODE=demotion, everything that is cold for a moment is reclaimed meanwhile.
# shellcheck disable=SC3045 # the guest's shell has ulimit -l
cd /cram || exit
echo "+memory +cpuset" > /sys/fs/cgroup/cgroup.subtree_control
ulimit -l unlimited

if [ "$MODE" = demotion ]; then
	while :; do
		echo "256M swappiness=max" > /sys/fs/cgroup/memory.reclaim
		sleep 0.1
	done 2>/dev/null &
	reclaimer=$!
fi
for t in *; do
	case $t in *.sh) continue ;; esac
	[ -x "$t" ] || continue
	echo "begin $t"
	start=$(date +%s)
	timeout 120 "./$t" 2>&1 < /dev/null
	echo "end $t $?"
	echo "# $t took $(($(date +%s) - start)) s"
done
[ -z "${reclaimer-}" ] || kill "$reclaimer"
echo "demoted $(awk '$1 == "cram_demote" { print $2 }' /proc/vmstat)"
