#!/bin/sh
# SPDX-License-Identifier: GPL-2.0
#
# A device is unplugged: orderly, by surprise, and while somebody keeps references
# to its pages.
cd "$(dirname "$0")" || exit 1
. ./lib-cxl.sh
. ./lib-cxl-test.sh

device_there() { find "$CXL/" -name 'endpoint*' | grep -q .; }
device_gone() { ! find "$CXL/" -name 'mem*' | grep -q .; }
unplug() {
	./qmp '{"execute": "device_del", "arguments": {"id": "cram0"}}' &&
		within 60 device_gone && cxl_node_gone 30000
}
pull() {
	./pci_pull "$PORT" && within 60 device_gone && cxl_node_gone 60000
}
add() {
	./qmp '{"execute": "device_add", "arguments": {"driver": "cxl-cram", "id": "cram0",
		"bus": "cxlrp0", "sn": 1, "volatile-memdev": "cxlmem0", "physical-size": 67108864}}' 
}
# The device comes back, once QEMU has let go of it, and the region is made anew.
# pciehp turns the indicator of an empty slot off a second after its power, and
# QEMU then ejects what was put there meanwhile: so it may take two.
add_for_good() { add && within 15 device_there; }
plug() {
	echo "$REGION" > "$CXL_ROOT/delete_region"
	within 60 add_for_good && MEMDEV=$(cxl_memdevs) && node_up
}
others_live() { user_alive other && user_verify other; }
usable() {
	user_start third job 8 && demoted third job 6 && user_verify third && user_end third &&
		within 30 books_zero job
}
few_lines() {
	echo "$(recovery_lines) lines"
	[ "$(recovery_lines)" -lt 100 ]
}
nothing_poisoned() { awk '$1 == "HardwareCorrupted:" { print; if ($2) exit 1 }' /proc/meminfo; }
stays() {
	dmesg | grep "node $NODE stays until reboot" && state_is lost
}

echo "TAP version 13"
echo "1..21"
cgroups job other
check "a node comes up" node_up
[ -n "${NODE:-}" ] || { echo "Bail out! no node"; exit 1; }
user_start user job 12
user_start other other 8
check "pages are demoted" demoted user job 10
check "the device is unplugged, after its pages were moved off" unplug
check "the books are zero" within 30 books_zero job other
check "content survives" user_verify user other
check "the device is plugged in again, and a node comes up" plug
check "which can be used" usable

check "pages are demoted" demoted user job 10
resident=$(($(cg_file job/cram.current) / 4096))
t0=$(uptime_ms)
check "the device is pulled out, and its node goes" pull
echo "# $resident pages in $(($(uptime_ms) - t0)) ms"
check "the books are zero" within 30 books_zero job other
check "without a line in the log for each page" few_lines
check "who used them is killed" user_dies user
check "the others live" others_live
check "no page is out of service any more" within 30 nothing_poisoned
check "the device is plugged in again, and a node comes up" plug
check "which can be used" usable

# The driver has to go, and cannot move the pages off
user_start user job 12
check "pages are demoted" demoted user job 10
user_ask user hold > /dev/null
echo "$DEV" > "$DRIVER/unbind"
check "while pages are held, unbinding leaves a lost node until reboot" stays
check "whose pages can be read" user_verify user
check "nobody binds to it again" refused_with "busy" write "$DEV" "$DRIVER/bind"
user_ask user release > /dev/null
user_end user
user_end other
check "the books are zero when all is freed" within 30 books_zero job other
exit $failed
