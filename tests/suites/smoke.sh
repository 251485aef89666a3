#!/bin/sh
# SPDX-License-Identifier: GPL-2.0
#
# Is this guest what every other suite takes for granted?  Runs in both guests.

cd "$(dirname "$0")" || exit 1
. ./lib-tap.sh

has_controllers() {
	for c in "$@"; do
		grep -qw "$c" /sys/fs/cgroup/cgroup.controllers || return
	done
}
mounted() { # TYPE DIRECTORY
	grep -q "^[^ ]* $2 $1 " /proc/mounts
}
new_cgroup() {
	mkdir /sys/fs/cgroup/smoke &&
		echo 64M > /sys/fs/cgroup/smoke/memory.max &&
		[ "$(cat /sys/fs/cgroup/smoke/memory.max)" = 67108864 ] &&
		rmdir /sys/fs/cgroup/smoke
}

systemd=
[ ! -d /run/systemd/system ] || systemd=y
echo "TAP version 13"
echo "1..$((6 + ${systemd:+3}+0))"
echo "# $(uname -srv)"

check "cgroup v2 is mounted" mounted cgroup2 /sys/fs/cgroup
check "debugfs is mounted" mounted debugfs /sys/kernel/debug
check "tracefs is mounted" mounted tracefs /sys/kernel/tracing
check "the controllers memory, cpu, cpuset and pids are there" has_controllers memory cpu cpuset pids
echo +memory > /sys/fs/cgroup/cgroup.subtree_control
check "a cgroup can be made, limited and removed" new_cgroup
check "T is passed on" test -n "$T"
if [ -n "$systemd" ]; then
	# shellcheck disable=SC2016 # for the shell that runs it
	check "systemd is up and nothing failed" \
		sh -c 's=$(systemctl is-system-running --wait); echo "$s"; systemctl --failed; [ "$s" = running ]'
	# shellcheck disable=SC2016
	check "a transient service runs in a cgroup of its own" \
		systemd-run --wait -q -p MemoryMax=64M sh -c 'grep -q 67108864 "/sys/fs/cgroup$(cut -d: -f3 /proc/self/cgroup)/memory.max"'
	check "runc, crun and podman start" sh -c 'runc --version && crun --version && podman --version'
fi
exit $failed
