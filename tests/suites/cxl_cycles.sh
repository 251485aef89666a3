#!/bin/sh
# SPDX-License-Identifier: GPL-2.0
#
# The driver and the device of a node come and go many times; each time the node
# is used, and at last nothing is left behind.
cd "$(dirname "$0")" || exit 1
. ./lib-cxl.sh
. ./lib-tap.sh
. ./lib-cxl-test.sh

: "${CYCLES:=20}"

used() {
	user_start user job 4 && demoted user job 3 && user_verify user && user_end user &&
		within 30 books_zero job
}
things() { # that a cycle could leave behind
	find "$CXL/" /sys/bus/node/devices/ /sys/devices/system/memory/ -maxdepth 1 | wc -l
	wc -l < /proc/iomem
}
# Of ordinary memory, with what the CPUs keep for themselves
free_kb() {
	echo 3 > /proc/sys/vm/drop_caches
	sleep 1
	awk -v node="$NODE," '$1 == "MemFree:" { free += $2 }
		$1 == "Node" { ours = $2 != node }
		$1 == "count:" && ours { free += $2 * 4 }
		END { print free }' /proc/meminfo /proc/zoneinfo
}
rebind() {
	write "$DEV" "$DRIVER/unbind" && cxl_node_gone 30000 && write "$DEV" "$DRIVER/bind" &&
		cxl_node_wait 30000 > /dev/null
}
replug() {
	write 1 "/sys/bus/pci/devices/$PCI/remove" && cxl_node_gone 30000 &&
		write "$REGION" "$CXL_ROOT/delete_region" && write 1 /sys/bus/pci/rescan &&
		cxl_devices 1 && MEMDEV=$(cxl_memdevs) && node_up
}
# A few times first, for what is only made once
cycles() { # COMMAND
	for cycle in $(seq "$CYCLES"); do
		"$1" || { echo "cycle $cycle: no node"; return 1; }
		used || { echo "cycle $cycle: not usable"; return 1; }
		[ "$cycle" != 4 ] || { things > /tmp/things; free=$(free_kb); }
	done
}
nothing_left() {
	things | diff /tmp/things - || return 1
	now=$(free_kb)
	echo "$free KiB free, then $now"
	# A node's memmap is 4 MiB, its slots 256 KiB
	[ $((free - now)) -lt $(((CYCLES - 4) * 128)) ]
}

removed() { write 1 "/sys/bus/pci/devices/$PCI/remove" && [ ! -e "$CXL/$MEMDEV" ]; }

echo "TAP version 13"
echo "1..10"
cgroups job
check "a node comes up" node_up
[ -n "${NODE:-}" ] || { echo "Bail out! no node"; exit 1; }
check "which can be used" used
check "the driver is unbound and bound $CYCLES times" cycles rebind
check "and leaves nothing behind" nothing_left
sed 's/^/# /' /tmp/out
check "the device is removed and found again $CYCLES times" cycles replug
check "and leaves nothing behind" nothing_left
sed 's/^/# /' /tmp/out

user_start user job 4
check "with held pages" hold_pages user job 3
check "the device is removed" removed
check "what was held is lost" held_lost user
check "the books are zero" within 30 books_zero job
exit $failed
