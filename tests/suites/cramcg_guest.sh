#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
#
# cramcg against the real kernel and the real systemd.  Needs a node (DEVICE=sim or cxl)
# and beside it cramcg, libcramcg.so.1 and cxl_user; leaves nothing behind, so it can be
# run in a boot that others use.

# shellcheck disable=SC2016 # for the shells that run it

cd "$(dirname "$0")" || exit 1
. ./lib-tap.sh

CG=/sys/fs/cgroup
T=$CG/cramcg-test
NODE=$(cut -d, -f1 /sys/devices/system/node/has_private_memory | cut -d- -f1)
cp cramcg libcramcg.so.1 /usr/local/bin/
PROM=/var/lib/prometheus/node-exporter
mkdir -p $T $PROM /etc/cramcg
export CRAMCG_STATE=/run/cramcg-test
mkdir -p $CRAMCG_STATE

# Each program that is started takes its time in this guest, a second and more for cramcg:
# what bash can do, it does, and limits that are not what a test is about are written.
says() { # STATUS REGEX COMMAND...: ends so, and has a line that is so
	local want=$1 regex=$2 status=0 line
	shift 2
	"$@" > /tmp/said 2>&1 || status=$?
	if [ "$status" = "$want" ]; then
		[ -n "$regex" ] || return 0
		while IFS= read -r line || [ -n "$line" ]; do
			[[ ! $line =~ $regex ]] || return 0
		done < /tmp/said
	fi
	cat -v /tmp/said
	echo "(status $status)"
	return 1
}
values() { # FILE...: their first lines, each with a space behind it
	local file line
	for file; do
		line=
		IFS= read -r line < "$file" || :
		printf '%s ' "$line"
	done
}
is() { [ "$1" = "$2" ] || { echo "\"$1\" is not \"$2\""; return 1; }; }
at_most() { [ "$1" -le "$2" ] || { echo "$1 is more than $2"; return 1; }; }
at_least() { [ "$1" -ge "$2" ] || { echo "$1 is less than $2"; return 1; }; }
# The file has a line, or a text, that is so
has() { # FILE REGEX
	local text
	text=$(< "$1")
	[[ $text =~ $2 ]] || { echo "$text"; return 1; }
}
has_not() { ! has "$@" > /dev/null || { echo "$(< "$1")"; return 1; }; }
says_number() { # AT-LEAST COMMAND...
	local least=$1 said
	shift
	said=$("$@") || return
	at_least "$said" "$least"
}
limits() { # CGROUP FILE=VALUE...
	local dir=$T/$1 file
	shift
	for file; do echo "${file#*=}" > "$dir/cram.${file%%=*}"; done
}
current() { echo "$(< "$T/$1/cram.current")"; }
# A process in cgroup $1 with $2 MiB that compress well, all of it filled
user() { # CGROUP MIB
	local pid
	rm -f "/tmp/$1".*
	mkfifo "/tmp/$1.in"
	./cxl_user "/tmp/$1" "$T/$1" "$2" > "/tmp/$1.log" 2>&1 & pid=$!
	echo "$pid" >> /tmp/users
	within 60 test -e "/tmp/$1.out" || { cat "/tmp/$1.log"; return 1; }
}
user_does() { # CGROUP WORD
	rm -f "/tmp/$1.out"
	echo "$2" > "/tmp/$1.in"
	within 60 test -e "/tmp/$1.out"
}
demote() { # CGROUP MIB: so much is resident; some may be refused, and is asked for again
	local left
	for _ in {1..24}; do
		left=$((($2 << 20) - $(current "$1")))
		[ $left -gt 0 ] || return 0
		# More than there is to find makes the kernel look for it in vain
		echo $((left < 4 << 20 ? left : 4 << 20)) > "$T/$1/memory.reclaim" 2> /dev/null || :
	done
	echo "only $(current "$1") resident"
	return 1
}
clean_up() {
	[ ! -e /tmp/users ] || xargs kill -9 < /tmp/users 2> /dev/null
	rm -f /tmp/users
	sleep 0.3
	systemctl stop cramcg-test.service 2> /dev/null
	rm -rf /run/systemd/system/cramcg-* /run/cramcg-test /usr/local/bin/cramcg /usr/local/bin/libcramcg.so.1 "$PROM" /etc/cramcg
	find "$T" -depth -type d -exec rmdir {} \; 2> /dev/null
}
trap clean_up EXIT

# --- what tests do --------------------------------------------------------------------
nl=$'\n'
SYS=/sys/devices/system/node/node$NODE/cram
doctor_is_content() { cramcg doctor -v > /tmp/doctor; has /tmp/doctor "(^|$nl)ok [^$nl]*node $NODE is open"; }
nodes_as_kernel() {
	cramcg nodes -J > /tmp/nodes && has /tmp/nodes "\"node\": *$NODE,[^}]*\"physical_bytes\": *$(< "$SYS/physical_bytes")[,}$nl ]"
}
dump_and_apply() { cramcg dump --all /cramcg-test > /tmp/dump && cramcg apply /tmp/dump > /tmp/differs && has_not /tmp/differs '->'; }
creates() {
	printf '[cgroup /cramcg-test/new/deep]\nmax = 1M\n' > /tmp/new.conf
	cramcg apply --create /tmp/new.conf && is "$(< "$T/new/deep/cram.max")" 1048576
}
odd_name() { cramcg list --all --tree > /tmp/odd; has /tmp/odd 'o.x1b.31m.x09x y' && has_not /tmp/odd $'\e'; }
compresses() {
	cramcg list -J -o cgroup,ratio /cramcg-test/a > /tmp/ratio
	has /tmp/ratio '"ratio": *([0-9]+)\.' && at_least "${BASH_REMATCH[1]}" 2
}
has_metric() { cramcg metrics > /tmp/metrics && has /tmp/metrics "cram_cgroup_resident_bytes\{cgroup=\"/cramcg-test/a\"\} [1-9]"; }
has_open() { # PID FILE
	local fd
	for fd in "/proc/$1/fd/"*; do [[ ! $fd -ef $2 ]] || return 0; done
	return 1
}
watch_tells() {
	local pid
	cramcg watch --json --count 1 /cramcg-test/a > /tmp/watched & pid=$!
	within 30 has_open "$pid" "$T/a/cram.events"
	for _ in 1 2 3 4 5; do
		echo 4M > "$T/a/memory.reclaim" 2> /dev/null
		[ ! -s /tmp/watched ] || break
		sleep 0.2
	done
	within 20 test -s /tmp/watched || { kill "$pid"; return 1; }
	wait "$pid"
	has /tmp/watched '"event": *"max"' && has /tmp/watched '"new": *[1-9]'
}
# A page that is in a pipe cannot leave its node
drain_names_holder() {
	user b 4 && user_does b pageout && user_does b hold || return
	says 4 "^ +PID $(tail -n 1 /tmp/users) +cxl_user " cramcg drain "$NODE" && user_does b release
}
doctor_says() { cramcg doctor || :; }
drains() { cramcg drain "$NODE" && is "$(< "$SYS/used_bytes")" 0; }
state_is() { is "$(< "$SYS/state")" "$1"; }
opens() { cramcg node "$NODE" open && within 5 state_is open > /dev/null; }
is_not() { [ "$1" != "$2" ] || { echo "\"$1\""; return 1; }; }
nobody_lists() { setpriv --reuid 65534 --clear-groups /usr/local/bin/cramcg list --all > /tmp/listed; has /tmp/listed /cramcg-test/a; }
ends_by_term() { # PID
	local status=0
	kill -TERM "$1"
	wait "$1" || status=$?
	is "$status" 143
}
is_sleep() { is "$(< "/proc/$1/comm")" sleep; }
scope_gets_signal() {
	local pid
	cramcg run max=8M -- sleep 100 & pid=$!
	within 30 is_sleep "$pid" > /dev/null
	ends_by_term "$pid"
}
runs_sleep() { # CGROUP
	local pid
	read -r pid 2> /dev/null < "$1/cgroup.procs" && is_sleep "$pid"
}
service_gets_signal() {
	local pid
	cramcg run --service --unit cramcg-y max=8M -- sleep 100 & pid=$!
	within 60 runs_sleep "$CG/system.slice/cramcg-y.service" > /dev/null 2>&1
	ends_by_term "$pid"
}
# In one: what starts a service takes its time
service_has_all() {
	echo over | says 7 '^8388608$' cramcg run --service max=8M -- \
		sh -c 'cat "/sys/fs/cgroup$(cut -d: -f3 /proc/self/cgroup)/cram.max"; cat; exit 7'
}
not_started() { has /tmp/said 'was not started' && has_not /tmp/said RAN; }
starts() { systemctl start "$1" || { journalctl -u "$1"; return 1; }; }
timer_starts() { systemctl start cramcg-metrics.timer && systemctl is-active cramcg-metrics.timer && systemctl stop cramcg-metrics.timer; }

echo "TAP version 13"
echo "1..73"

# --- from nothing -------------------------------------------------------------------
check "doctor: the kernel has cram, and a node" doctor_is_content
check "nodes: as the kernel says" nodes_as_kernel
mkdir -p $T/a $T/b
check "set without cram enabled says how to" says 1 'not enabled for this cgroup' cramcg set /cramcg-test/a max=64M
check "enable" says 0 '' cramcg enable /cramcg-test/a
echo +memory > $T/cgroup.subtree_control
check "  cram is there" test -e $T/a/cram.max
check "set" says 0 '' cramcg set /cramcg-test/a max=64M low=4M writable_budget=8M node.max="N$NODE":32M page.max=4000
check "  as the kernel reads it back" is "$(values $T/a/cram.{max,low,writable_budget,node.max,page.max})" \
	"67108864 4194304 8388608 N$NODE 33554432 4000 "
check "  dump and apply: nothing differs" dump_and_apply
check "  dump: what was set" has /tmp/dump "node.max = N$NODE:33554432"
before=$(values $T/a/cram.{max,low,nodes,page.max})
check "set: a node that is none" says 1 'not a cram node' cramcg set /cramcg-test/a low=8M nodes=0
check "set: a bad value" says 2 'did you mean 64M' cramcg set /cramcg-test/a low=8M max=64
check "set: more than the kernel takes is its maximum" says 0 '' cramcg set /cramcg-test/b low=16000000T
check "  nothing of that changed anything" is "$before" "$(values $T/a/cram.{max,low,nodes,page.max})"
check "apply --create makes what is missing" creates
# (The kernel itself refuses names with a newline.)
mkdir "$T/$(printf 'o\033[31m\tx y')"
check "a name with an escape is not printed raw" odd_name

# --- with pages ------------------------------------------------------------------------
limits a max=max node.max="N$NODE max" page.max=max low=0 writable_budget=inherit
check "a user of 24 MiB" user a 24
check "its pages are demoted" demote a 16
check "list: what is resident" says_number 16000000 cramcg list -n -r -o resident /cramcg-test/a
check "list: it compresses" compresses
check "show: a process is found" says 0 '^/cramcg-test/a \([0-9]+\)' cramcg show "$(head -n 1 /tmp/users)"
check "show: no budget above" says 0 'no cgroup above has a number' cramcg show /cramcg-test/a
check "top: it is there" says 0 '/cramcg-test/a$' cramcg top --batch -n 2 -d 0.5
check "advise: from what is measured" says 0 'max = ' cramcg advise /cramcg-test/a --for 0.6s --every 0.2s
check "node: explained" says 0 "node $NODE, compressed: open" cramcg node "$NODE"
check "metrics: its bytes" has_metric
check "set: a lowered limit is waited for" says 0 '' cramcg set /cramcg-test/a max=8M
check "  and obeyed" at_most "$(current a)" $((8 << 20))
limits a max=max
demote a 10
check "set: a lowered limit of a node is waited for" says 0 '' cramcg set /cramcg-test/a node.max="N$NODE":4M
check "  and obeyed" at_most "$(current a)" $((4 << 20))
limits a max=4M node.max="N$NODE max"
check "watch: a limit that is hit is told" watch_tells
check "show: which rule stands against more, and what changes it" says 0 'cramcg set /cramcg-test/a max=SIZE' cramcg show /cramcg-test/a
# Without swap the kernel looks at no page at its limit, so none is refused.  It looks
# at them when what decides is in the page.
limits a max=max page.max=16
echo 2M > $T/a/memory.reclaim 2> /dev/null
check "show: which rule refused" says 0 'pages by refuse_content' cramcg show /cramcg-test/a
check "list --look: refusals" says_number 1 cramcg list -n -r -o refused --look /cramcg-test/a
limits a page.max=max
check "reclaim" says 0 '' cramcg reclaim /cramcg-test/a 2M
check "reclaim of more than there is ends in part" says 4 'less than that could be evicted' cramcg reclaim /cramcg-test/b 4M
limits a max=max
demote a 10
check "drain: who holds a page is told" drain_names_holder
check "drain: the node is empty" drains
check "  doctor says so, and how to undo it" says 0 "cramcg node $NODE open" doctor_says
check "node open" opens
check "node set: both watermarks, in the wrong order" says 0 '' cramcg node "$NODE" set critical_bytes=24M low_bytes=48M
check "  as the kernel has them" is "$(values /sys/devices/system/node/node"$NODE"/cram/{low,critical}_bytes)" "50331648 25165824 "
check "node set: the kernel refuses, nothing is changed" says 2 'critical_bytes' cramcg node "$NODE" set reserve_bytes=1M critical_bytes=49M
check "  the reserve is as it was" is_not "$(< "$SYS/reserve_bytes")" 1048576

# --- two hundred ---------------------------------------------------------------------------
# A translated and checked kernel is many times slower than a real one, and on a busy host
# its processors count the time in which they do not run.  So what is compared is measured
# together.
mkdir $T/many
echo +cram > $T/cgroup.subtree_control
mkdir $T/many/{1..200}
echo +cram > $T/many/cgroup.subtree_control
took() { # COMMAND...: milliseconds of processor time
	local TIMEFORMAT='%3U %3S'
	local user system
	read -r user system < <({ time "$@" > /dev/null; } 2>&1)
	echo $((10#${user/./} + 10#${system/./}))
}
one=$(took cramcg list /cramcg-test/b)
ms=$(took cramcg list --all /cramcg-test/many)
echo "# list of 200 cgroups: $ms ms, of one: $one ms"
check "list of 200 cgroups takes less than 20 times what one takes" test "$ms" -lt $((20 * one))
ms=$((($(took cramcg top --batch -n 3 -d 0.5) - $(took cramcg top --batch -n 1)) / 2))
echo "# a refresh of top with 200 cgroups: $ms ms"
check "a refresh of top with 200 cgroups takes less than 4 times that" test "$ms" -lt $((4 * one))
rmdir $T/many/{1..200}

# --- rights ------------------------------------------------------------------------------
chmod 755 . /cram 2> /dev/null
check "unprivileged: list" nobody_lists
check "unprivileged: set says what is needed" says 1 'needs root' setpriv --reuid 65534 --clear-groups /usr/local/bin/cramcg set /cramcg-test/a max=1M
check "in a cgroup namespace: limits belong to the parent" sh -c '
	unshare -m -C sh -c "umount -l /sys/fs/cgroup; mount -t cgroup2 none /sys/fs/cgroup; cramcg list > /dev/null; s=\$?; [ \$s = 0 ] || [ \$s = 3 ]"'

# --- systemd ------------------------------------------------------------------------------
check "run: the limit is there before the command, its status is ours" says 7 '^8388608$' \
	cramcg run max=8M -- sh -c 'cat "/sys/fs/cgroup$(cut -d: -f3 /proc/self/cgroup)/cram.max"; exit 7'
check "run: a scope of systemd, in the slice that was asked for" says 0 '/cramcgtest.slice/cramcg-x.scope' \
	cramcg run --slice cramcgtest.slice --unit cramcg-x max=8M -- cat /proc/self/cgroup
check "run: a signal reaches the command" scope_gets_signal
check "run: a bad limit, and the command does not run" says 1 'not a cram node' cramcg run nodes=0 -- echo RAN
check "  it did not" has_not /tmp/said RAN
check "run --cgroup without systemd: status" says 5 '' cramcg run --cgroup /cramcg-test/run max=4M -- sh -c 'exit 5'
check "  and the cgroup is gone" test ! -e $T/run
check "run --service: limit, status and output" service_has_all
check "run --service: input" has /tmp/said "(^|$nl)over($nl|\$)"
check "run --service: a signal reaches the command" service_gets_signal
check "run --service: limits that cannot be had" says 1 'not a cram node' cramcg run --service nodes=0 -- echo RAN
check "  and the command did not run" not_started
check "run --service --no-wait: its name" says 0 '^cramcg-z.service$' cramcg run --service --no-wait --unit cramcg-z max=8M -- sleep 100
check "  with its limit" is "$(values $CG/system.slice/cramcg-z.service/cram.max)" "8388608 "
systemctl stop cramcg-z.service
cp cramcg-apply.service cramcg-metrics.service cramcg-metrics.timer /run/systemd/system/
printf '[Service]\nExecStart=/bin/sleep 1000\n' > /run/systemd/system/cramcg-test.service
printf '[cgroup /cramcg-test/boot]\nmax = 2M\n[node %s]\nreserve_bytes = 9M\n' "$NODE" > /etc/cramcg/10-test.conf
# systemd finds units that it has not looked for before.  To have it load all anew would
# take longer than anything else here.
check "cramcg-apply.service" starts cramcg-apply.service
check "  what is in /etc/cramcg is in force" is "$(values $T/boot/cram.max /sys/devices/system/node/node"$NODE"/cram/reserve_bytes)" "2097152 9437184 "
check "cramcg-metrics.service" starts cramcg-metrics.service
check "  what was written" has $PROM/cram.prom 'cram_cgroup_max_bytes\{cgroup="/cramcg-test/boot"\} 2097152'
check "cramcg-metrics.timer" timer_starts
systemctl start cramcg-test.service
cramcg enable cramcg-test.service
U=$CG/system.slice/cramcg-test.service
check "set of a unit" says 0 '' cramcg set --runtime cramcg-test.service max=16M low=1M
check "  now" is "$(values $U/cram.max)" "16777216 "
check "  and in a drop-in" has /run/systemd/system/cramcg-test.service.d/50-cram.conf 'self max=16M low=1M'
systemctl restart cramcg-test.service
check "  so that it is there after a restart" is "$(values $U/cram.max $U/cram.low)" "16777216 1048576 "
check "show of a unit" says 0 'cramcg-test.service' cramcg show cramcg-test.service
check "set of a slice is for now only" says 2 'only services can keep' cramcg set system.slice max=max
exit "$failed"
