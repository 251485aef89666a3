#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
#
# cramcg against the real kernel and the real systemd.  Needs a node (DEVICE=sim or cxl)
# and beside it cramcg and libcramcg.so.1; leaves nothing behind, so it can be run in a
# boot that others use.

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

# Each program that is started takes its time in this guest: what bash can do, it does.
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
current() { echo "$(< "$T/$1/cram.current")"; }
# A process in cgroup $1 with $2 MiB that compress well, all of it filled
user() {
	python3 -c 'import os, sys, time
open(sys.argv[1] + "/cgroup.procs", "w").write("0")
b = bytearray(bytes(range(64)) * 64 * 256 * int(sys.argv[2]))
open(sys.argv[3], "w").close()
time.sleep(1000)' "$T/$1" "$2" /tmp/filled > /dev/null 2>&1 &
	echo $! >> /tmp/users
	within 30 test -e /tmp/filled
	rm -f /tmp/filled
}
demote() { # CGROUP SIZE: some of it may be refused, and is asked for again
	for _ in 1 2 3 4 5 6 7 8; do
		echo "$2" > "$T/$1/memory.reclaim" 2> /dev/null || :
		[ "$(current "$1")" -lt $(($3 << 20)) ] || return 0
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

echo "TAP version 13"
echo "1..72"

# --- from nothing -------------------------------------------------------------------
check "doctor: the kernel has cram, and a node" sh -c 'cramcg doctor -v; cramcg doctor -v | grep -q "^ok .*node '"$NODE"' is open"'
check "nodes: as the kernel says" sh -c 'is=$(cramcg nodes -J | jq ".nodes[] | select(.node == '"$NODE"') | .physical_bytes"); cat /sys/devices/system/node/node'"$NODE"'/cram/physical_bytes; [ "$is" = "$(cat /sys/devices/system/node/node'"$NODE"'/cram/physical_bytes)" ]'
mkdir -p $T/a $T/b
check "set without cram enabled says how to" says 1 'not enabled for this cgroup' cramcg set /cramcg-test/a max=64M
check "enable" says 0 '' cramcg enable /cramcg-test/a
echo +memory > $T/cgroup.subtree_control
check "  cram is there" test -e $T/a/cram.max
check "set" says 0 '' cramcg set /cramcg-test/a max=64M low=4M writable_budget=8M node.max="N$NODE":32M page.max=4000
check "  as the kernel reads it back" is "$(values $T/a/cram.{max,low,writable_budget,node.max,page.max})" \
	"67108864 4194304 8388608 N$NODE 33554432 4000 "
check "  dump and apply: nothing differs" sh -c 'cramcg dump --all /cramcg-test > /tmp/dump; cramcg apply /tmp/dump > /tmp/differs; cat /tmp/dump /tmp/differs; ! grep -q -- "->" /tmp/differs'
check "  dump: what was set" grep -q "node.max = N$NODE:33554432" /tmp/dump
before=$(values $T/a/cram.{max,low,nodes,page.max})
check "set: a node that is none" says 1 'not a cram node' cramcg set /cramcg-test/a low=8M nodes=0
check "set: a bad value" says 2 'did you mean 64M' cramcg set /cramcg-test/a low=8M max=64
check "set: more than the kernel takes is its maximum" says 0 '' cramcg set /cramcg-test/b low=16000000T
check "  nothing of that changed anything" is "$before" "$(values $T/a/cram.{max,low,nodes,page.max})"
check "apply --create makes what is missing" sh -c 'printf "[cgroup /cramcg-test/new/deep]\nmax = 1M\n" > /tmp/new.conf; cramcg apply --create /tmp/new.conf && [ "$(cat '$T'/new/deep/cram.max)" = 1048576 ]'
# (The kernel itself refuses names with a newline.)
mkdir "$T/$(printf 'o\033[31m\tx y')"
check "a name with an escape is not printed raw" sh -c 'cramcg list --all --tree > /tmp/odd; cat -v /tmp/odd; grep -q "o.x1b.31m.x09x y" /tmp/odd && ! grep -q "$(printf "\033")" /tmp/odd'

# --- with pages ------------------------------------------------------------------------
cramcg set /cramcg-test/a max=max node.max="N$NODE":max page.max=max low=0 writable_budget=inherit
check "a user of 24 MiB" user a 24
check "its pages are demoted" demote a 24M 16
check "list: what is resident" sh -c '[ "$(cramcg list -n -r -o resident /cramcg-test/a)" -gt 16000000 ]'
check "list: it compresses" sh -c 'cramcg list -J -o cgroup,ratio /cramcg-test/a | jq -e ".cgroups[0].ratio > 2"'
check "show: a process is found" says 0 '^/cramcg-test/a \([0-9]+\)' cramcg show "$(head -n 1 /tmp/users)"
check "show: no budget above" says 0 'no cgroup above has a number' cramcg show /cramcg-test/a
check "top: it is there" says 0 '/cramcg-test/a$' cramcg top --batch -n 2 -d 0.5
check "advise: from what is measured" says 0 'max = ' cramcg advise /cramcg-test/a --for 0.6s --every 0.2s
check "node: explained" says 0 "node $NODE: open" cramcg node "$NODE"
check "metrics: its bytes" sh -c 'cramcg metrics | grep -q "cram_cgroup_resident_bytes{cgroup=\"/cramcg-test/a\"} [1-9]"'
check "set: a lowered limit is waited for" says 0 '' cramcg set /cramcg-test/a max=8M
check "  and obeyed" at_most "$(current a)" $((8 << 20))
cramcg set /cramcg-test/a max=max
demote a 8M 10
check "set: a lowered limit of a node is waited for" says 0 '' cramcg set /cramcg-test/a node.max="N$NODE":4M
check "  and obeyed" at_most "$(current a)" $((4 << 20))
cramcg set /cramcg-test/a max=4M node.max="N$NODE":max
check "watch: a limit that is hit is told" sh -c '
	timeout 20 cramcg watch --json --count 1 /cramcg-test/a > /tmp/watched & pid=$!
	for i in $(seq 100); do ls -l /proc/*/fd 2> /dev/null | grep -q "cramcg-test/a/cram.events" && break; sleep 0.1; done
	for i in 1 2 3 4 5; do echo 4M > '$T'/a/memory.reclaim 2> /dev/null; [ -s /tmp/watched ] && break; sleep 0.2; done
	wait $pid; cat /tmp/watched; head -n 1 /tmp/watched | jq -e ".event == \"max\" and .new > 0"'
check "show: which rule stands against more, and what changes it" says 0 'cramcg set /cramcg-test/a max=SIZE' cramcg show /cramcg-test/a
# Without swap the kernel looks at no page at its limit, so none is refused.  It looks
# at them when what decides is in the page.
cramcg set /cramcg-test/a max=max page.max=16
echo 2M > $T/a/memory.reclaim 2> /dev/null
check "show: which rule refused" says 0 'pages by refuse_content' cramcg show /cramcg-test/a
check "list --look: refusals" sh -c '[ "$(cramcg list -n -r -o refused --look /cramcg-test/a)" -gt 0 ]'
cramcg set /cramcg-test/a page.max=max
check "reclaim" says 0 '' cramcg reclaim /cramcg-test/a 2M
check "reclaim of more than there is ends in part" says 4 'less than that could be evicted' cramcg reclaim /cramcg-test/b 4M
cramcg set /cramcg-test/a max=max
demote a 16M 10
check "drain: the node is empty" sh -c 'cramcg drain '"$NODE"' && [ "$(cat /sys/devices/system/node/node'"$NODE"'/cram/used_bytes)" = 0 ]'
check "  doctor says so, and how to undo it" says 0 "cramcg node $NODE open" sh -c 'cramcg doctor || :'
check "node open" sh -c 'cramcg node '"$NODE"' open && for i in $(seq 50); do grep -q open /sys/devices/system/node/node'"$NODE"'/cram/state && exit; sleep 0.1; done; exit 1'
check "node set: both watermarks, in the wrong order" says 0 '' cramcg node "$NODE" set critical_bytes=24M low_bytes=48M
check "  as the kernel has them" is "$(values /sys/devices/system/node/node"$NODE"/cram/{low,critical}_bytes)" "50331648 25165824 "
check "node set: the kernel refuses, nothing is changed" says 2 'critical_bytes' cramcg node "$NODE" set reserve_bytes=1M critical_bytes=49M
check "  the reserve is as it was" sh -c '[ "$(cat /sys/devices/system/node/node'"$NODE"'/cram/reserve_bytes)" != 1048576 ]'

# --- two hundred ---------------------------------------------------------------------------
# A translated and checked kernel is many times slower than a real one, and on a busy host
# its processors count the time in which they do not run.  So what is compared is measured
# together.
mkdir $T/many
echo +cram > $T/cgroup.subtree_control
mkdir $T/many/{1..200}
echo +cram > $T/many/cgroup.subtree_control
took() { # COMMAND...: milliseconds of processor time
	local TIMEFORMAT='%U %S'
	{ time "$@" > /dev/null; } 2>&1 | awk '{ printf "%d", ($1 + $2) * 1000 }'
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
check "unprivileged: list" sh -c 'setpriv --reuid 65534 --clear-groups /usr/local/bin/cramcg list --all > /tmp/listed; cat /tmp/listed; grep -q /cramcg-test/a /tmp/listed'
check "unprivileged: set says what is needed" says 1 'needs root' setpriv --reuid 65534 --clear-groups /usr/local/bin/cramcg set /cramcg-test/a max=1M
check "in a cgroup namespace: limits belong to the parent" sh -c '
	unshare -m -C sh -c "umount -l /sys/fs/cgroup; mount -t cgroup2 none /sys/fs/cgroup; cramcg list > /dev/null; s=\$?; [ \$s = 0 ] || [ \$s = 3 ]"'

# --- systemd ------------------------------------------------------------------------------
check "run: the limit is there before the command, its status is ours" says 7 '^8388608$' \
	cramcg run max=8M -- sh -c 'cat "/sys/fs/cgroup$(cut -d: -f3 /proc/self/cgroup)/cram.max"; exit 7'
check "run: a scope of systemd, in the slice that was asked for" says 0 '/cramcgtest.slice/cramcg-x.scope' \
	cramcg run --slice cramcgtest.slice --unit cramcg-x max=8M -- cat /proc/self/cgroup
check "run: a signal reaches the command" sh -c '
	cramcg run max=8M -- sleep 100 & pid=$!
	for i in $(seq 100); do grep -q sleep /proc/$pid/comm && break; sleep 0.1; done
	kill -TERM $pid; wait $pid; [ $? = 143 ]'
check "run: a bad limit, and the command does not run" says 1 'not a cram node' cramcg run nodes=0 -- echo RAN
check "  it did not" sh -c '! grep -q RAN /tmp/said'
check "run --cgroup without systemd: status" says 5 '' cramcg run --cgroup /cramcg-test/run max=4M -- sh -c 'exit 5'
check "  and the cgroup is gone" test ! -e $T/run
check "run --service: limit, status and output" says 7 '^8388608$' \
	cramcg run --service max=8M -- sh -c 'cat "/sys/fs/cgroup$(cut -d: -f3 /proc/self/cgroup)/cram.max"; exit 7'
check "run --service: input" sh -c '[ "$(echo over | cramcg run --service max=8M -- cat)" = over ]'
check "run --service: a signal reaches the command" sh -c '
	cramcg run --service --unit cramcg-y max=8M -- sleep 100 & pid=$!
	for i in $(seq 300); do [ "$(systemctl show -P SubState cramcg-y.service)" != running ] || break; sleep 0.1; done
	kill -TERM $pid; wait $pid; [ $? = 143 ]'
check "run --service: limits that cannot be had" says 1 'not a cram node' cramcg run --service nodes=0 -- echo RAN
check "  and the command did not run" sh -c 'cat /tmp/said; grep -q "was not started" /tmp/said && ! grep -q RAN /tmp/said'
check "run --service --no-wait: its name" says 0 '^cramcg-z.service$' cramcg run --service --no-wait --unit cramcg-z max=8M -- sleep 100
check "  with its limit" is "$(values $CG/system.slice/cramcg-z.service/cram.max)" "8388608 "
systemctl stop cramcg-z.service
cp cramcg-apply.service cramcg-metrics.service cramcg-metrics.timer /run/systemd/system/
printf '[Service]\nExecStart=/bin/sleep 1000\n' > /run/systemd/system/cramcg-test.service
printf '[cgroup /cramcg-test/boot]\nmax = 2M\n[node %s]\nreserve_bytes = 9M\n' "$NODE" > /etc/cramcg/10-test.conf
systemctl daemon-reload
check "cramcg-apply.service" sh -c 'systemctl start cramcg-apply.service || { journalctl -u cramcg-apply.service; exit 1; }'
check "  what is in /etc/cramcg is in force" is "$(values $T/boot/cram.max /sys/devices/system/node/node"$NODE"/cram/reserve_bytes)" "2097152 9437184 "
check "cramcg-metrics.service" sh -c 'systemctl start cramcg-metrics.service || { journalctl -u cramcg-metrics.service; exit 1; }'
check "  what was written" grep -q '^cram_cgroup_max_bytes{cgroup="/cramcg-test/boot"} 2097152' $PROM/cram.prom
check "cramcg-metrics.timer" sh -c 'systemctl start cramcg-metrics.timer && systemctl is-active cramcg-metrics.timer && systemctl stop cramcg-metrics.timer'
systemctl start cramcg-test.service
cramcg enable cramcg-test.service
U=$CG/system.slice/cramcg-test.service
check "set of a unit" says 0 '' cramcg set --runtime cramcg-test.service max=16M low=1M
check "  now" is "$(values $U/cram.max)" "16777216 "
check "  and in a drop-in" grep -q 'self max=16M low=1M' /run/systemd/system/cramcg-test.service.d/50-cram.conf
systemctl restart cramcg-test.service
check "  so that it is there after a restart" is "$(values $U/cram.max $U/cram.low)" "16777216 1048576 "
check "show of a unit" says 0 'cramcg-test.service' cramcg show cramcg-test.service
check "set of a slice is for now only" says 2 'only services can keep' cramcg set system.slice max=max
exit "$failed"
