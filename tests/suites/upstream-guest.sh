#!/bin/sh
# SPDX-License-Identifier: GPL-2.0
#
# The guest's part of upstream.sh: run what tests.list says, with "begin WORDS"
# before and "end WORDS: STATUS" after what it prints. With MODE=demotion,
# everything that is cold for a moment is reclaimed meanwhile.
# shellcheck disable=SC3045 # the guest's shell has ulimit -l
cd /cram || exit
echo "+memory +cpuset" > /sys/fs/cgroup/cgroup.subtree_control
ulimit -l unlimited

reclaimer=
reclaim() { # on|off
	if [ "$1" = on ] && [ -z "$reclaimer" ]; then
		while :; do
			echo "256M swappiness=max" > /sys/fs/cgroup/memory.reclaim
			sleep 0.1
		done 2>/dev/null &
		reclaimer=$!
	elif [ "$1" = off ] && [ -n "$reclaimer" ]; then
		kill "$reclaimer"
		reclaimer=
	fi
}

while read -r when program arguments; do
	t=${program#*/}
	if [ "$MODE" = demotion ] && [ "$when" = always ]; then reclaim on; else reclaim off; fi
	echo "begin $t${arguments:+ $arguments}"
	start=$(date +%s)
	# shellcheck disable=SC2086 # words
	timeout 600 "./$t" $arguments 2>&1 < /dev/null
	status=$?
	# Some end in the middle of a line.
	echo
	echo "end $t${arguments:+ $arguments}: $status"
	echo "# $t took $(($(date +%s) - start)) s"
done < tests.list
reclaim off
echo "demoted $(awk '$1 == "cram_demote" { print $2 }' /proc/vmstat)"
