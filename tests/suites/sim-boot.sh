#!/bin/sh
# SPDX-License-Identifier: GPL-2.0
#
# Do model devices come up on this kind of machine? NODES_WANTED: their nodes.
# shellcheck disable=SC2317 # tests are called by check()

cd "$(dirname "$0")" || exit 1
. ./lib-tap.sh

driver=/sys/bus/platform/drivers/cram_sim
nodes=/sys/devices/system/node

# expand LIST: 0-2,5 -> 0 1 2 5
expand() {
	for part in $(echo "$1" | tr ',' ' '); do
		seq "${part%-*}" "${part#*-}"
	done
}
in_list() { # NODE LIST
	expand "$2" | grep -qx "$1"
}
exactly_wanted() {
	have=$(find "$nodes"/node*/cram -prune | sed 's,.*/node\([0-9]*\)/cram,\1,' | sort -n)
	echo "have: $have"
	[ "$have" = "$wanted" ]
}
apart() { # NODE: how far is it from others, and they from it?
	cat "$nodes/node$1/distance"
	i=0
	for other in $(expand "$(cat "$nodes/online")"); do
		i=$((i + 1))
		d=$(awk "{ print \$$i }" "$nodes/node$1/distance")
		if [ "$other" = "$1" ]; then
			[ "$d" = 10 ] || return
		else
			[ "$d" -ge 20 ] || return
		fi
	done
}
# Claimed as a child of a reserved range, which kept PCI and others out of it
nested() {
	cat /proc/iomem
	[ "$(grep -c '^  [0-9a-f-]* : System RAM (cram_sim)$' /proc/iomem)" = "$(echo "$wanted" | wc -w)" ] &&
		awk '/^[^ ]/ { parent = $0 } /cram_sim/ && parent !~ /: Reserved$/ { bad = 1 } END { exit bad }' /proc/iomem
}
blocks_online() { # NODE
	for b in "$nodes/node$1"/memory[0-9]*; do
		[ "$(cat "$b/state")" = online ] || return
		[ "$(cat "$b/valid_zones")" = Movable ] || return
	done
}
is_open() { # NODE
	[ "$(cat "$nodes/node$1/cram/state")" = open ]
}
rebind() {
	for dev in $devices; do
		echo "$dev" > "$driver/unbind" || return
	done
	! find "$nodes"/node*/cram 2>/dev/null || return
	! grep cram_sim /proc/iomem || return
	for dev in $devices; do
		echo "$dev" > "$driver/bind" || return
	done
	exactly_wanted
}

wanted=$(expand "$NODES_WANTED")
devices=$(cd $driver && echo cram_sim.*)

echo "TAP version 13"
echo "1..$((3 + 4 * $(echo "$wanted" | wc -w)))"
dmesg | grep -i 'cram_sim\|cram:' | sed 's/^/# /'
check "the wanted nodes are cram nodes, and no others" exactly_wanted
for nid in $wanted; do
	check "node $nid was possible from the start" in_list "$nid" "$(cat "$nodes/possible")"
	check "node $nid is online and open" is_open "$nid"
	check "node $nid is away from the others" apart "$nid"
	check "all blocks of node $nid are online and movable" blocks_online "$nid"
done
check "the memory lies inside reserved ranges" nested
check "all devices can be unbound and bound again" rebind
exit $failed
