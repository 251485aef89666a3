#!/bin/sh
# SPDX-License-Identifier: GPL-2.0
#
# The guest's part of upstream.sh: run what tests.list says, with "begin WORDS"
# before and "end WORDS: STATUS" after what it prints. With MODE=demotion,
# everything that is cold for a moment is reclaimed while one runs that is "always"
# to be; while one runs that says "off", nothing is demoted at all. Tests of mm run
# in the cgroup tests, which counts what is demoted of their own memory; those of
# cgroups go where they want to.
# shellcheck disable=SC3045 # the guest's shell has ulimit -l
cd /cram || exit
tests=/sys/fs/cgroup/tests
echo "+memory +cpuset +cram" > /sys/fs/cgroup/cgroup.subtree_control
mkdir $tests
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

# Some say only then what they are there to say.
zswap() { # on|off
	if [ "$1" = on ]; then
		echo 1 > /sys/module/zswap/parameters/enabled
		echo 512M > /sys/block/zram0/disksize
		mkswap /dev/zram0 > /dev/null && swapon /dev/zram0
	else
		swapoff /dev/zram0
		echo 0 > /sys/module/zswap/parameters/enabled
	fi
}

# The tests' own helper reads an entry in two ways, one after the other, and gives
# up when they differ: an entry of a page that is being migrated, by whomever, looks
# swapped out, and it may be back in between. Then the test has to begin again.
race="read and ioctl return unmatched results"

run() { # CGROUP PROGRAM ARGUMENTS...
	for _ in 1 2 3 4; do
		# shellcheck disable=SC2016 # for the shell that runs it
		timeout 1200 sh -c 'echo 0 > "$0/cgroup.procs"; exec "$@"' "$@" > /tmp/said 2>&1 < /dev/null
		status=$?
		if [ "$MODE" != demotion ] || ! grep -q "^Bail out! $race" /tmp/said; then
			break
		fi
		echo "# once more: $race"
	done
	cat /tmp/said
	return "$status"
}

demoted() { awk '$1 == "demote" { print $2 }' $tests/cram.stat; }

while read -r when program arguments; do
	t=${program#*/}
	words=$t${arguments:+ $arguments}
	if [ "$MODE" = demotion ] && [ "$when" = always ]; then reclaim on; else reclaim off; fi
	if [ "$when" = off ]; then
		words="$words, demotion off"
		echo 0 > /sys/kernel/mm/cram/enabled
	fi
	[ "$t" != test_zswap ] || zswap on
	echo "begin $words"
	start=$(date +%s)
	before=$(demoted)
	case $program in
	mm/*) cgroup=$tests ;;
	*) cgroup=/sys/fs/cgroup ;;
	esac
	# shellcheck disable=SC2086 # words
	run $cgroup "./$t" $arguments
	status=$?
	# Some end in the middle of a line.
	echo
	echo "end $words: $status"
	[ "$t" != test_zswap ] || zswap off
	echo 1 > /sys/kernel/mm/cram/enabled
	echo "# $t took $(($(date +%s) - start)) s"
	echo "demoted $(($(demoted) - before)) of $program${arguments:+ $arguments}"
done < tests.list
reclaim off
echo "demoted $(awk '$1 == "cram_demote" { print $2 }' /proc/vmstat) altogether"
