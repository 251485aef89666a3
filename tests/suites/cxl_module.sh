#!/bin/sh
# SPDX-License-Identifier: GPL-2.0
#
# The driver is a module: it can be removed when no region is bound, and at no other
# time, because memory that stays calls it. And what is below it goes: each driver of
# CXL, one after the other, is unbound while memory of the node is in use.
cd "$(dirname "$0")" || exit 1
. ./lib-cxl.sh
. ./lib-tap.sh
. ./lib-cxl-test.sh

load() { insmod ./cxl_cram.ko && [ -e "$DRIVER" ]; }
unload() { rmmod cxl_cram && [ ! -e "$DRIVER" ]; }
in_use() {
	refused_with "unavailable\|in use\|busy" rmmod cxl_cram && [ -e "$DRIVER" ]
}
unbound() { write "$DEV" "$DRIVER/unbind" && cxl_node_gone 30000; }
bound() { load && within 10 cxl_node_wait 10000; }
block_refused() {
	for b in /sys/devices/system/node/"node$NODE"/memory*; do
		refused_with busy write offline "$b/state" && return
		return 1
	done
}

# --- while a process writes, reads and demotes --------------------------------------

in_use_often() {
	for _ in $(seq 50); do in_use > /dev/null || return; done
}
# What is removed is removed with nobody's help, and comes back
removed_busy() {
	for c in 1 2 3; do
		if ! unbound || ! unload || ! bound; then
			echo "cycle $c"
			return 1
		fi
		before=$(demotions)
		within 30 more_demoted "$before" || { echo "cycle $c: nothing is demoted"; return 1; }
	done
}
# layer DRIVER DEVICE: unbound, and the node goes. It is made anew by what follows.
layer() {
	busy a || return
	write "$2" "/sys/bus/$1/unbind" && cxl_node_gone 60000 && calm a && user_verify a
}
endpoint() { readlink -f "$CXL/$(cxl_decoder "$MEMDEV")/.." | sed 's|.*/||'; }
bind() { # DRIVER DEVICE
	write "$2" "/sys/bus/$1/bind"
}
anew() {
	[ ! -e "$CXL/$REGION" ] || write "$REGION" "$CXL_ROOT/delete_region" || return
	cxl_devices 1 && MEMDEV=$(cxl_memdevs) && node_up
}
region_anew() { bind cxl/drivers/cxl_region "$REGION" && NODE=$(cxl_node_wait 20000); }
memdev_anew() { bind cxl/drivers/cxl_mem "$MEMDEV" && anew; }
# Its memory device does without it, and has to look for one again
port_anew() { write "$MEMDEV" /sys/bus/cxl/drivers/cxl_mem/unbind; memdev_anew; }
pci_anew() { bind pci/drivers/cxl_pci "$PCI" && anew; }
acpi_anew() { bind platform/drivers/cxl_acpi ACPI0017:00 && anew; }

echo "TAP version 13"
echo "1..29"
cgroups job
check "the module is loaded" load
check "and removed" unload
check "and loaded again" load
check "a node comes up" node_up
[ -n "${NODE:-}" ] || { echo "Bail out! no node"; exit 1; }
check "while its region is bound the module stays" in_use
check "unbinding removes the node" unbound
check "and then the module can be removed" unload
check "loaded again, it binds to the region" bound

user_start a job 16
busy a
check "under load it stays, too" in_use_often
check "it goes and comes back under load" removed_busy
check "nobody has met a wrong byte" calm a
check "content is right" user_verify a

check "the region is unbound under load" layer cxl/drivers/cxl_region "$REGION"
check "and bound again" region_anew
check "the endpoint is unbound under load" layer cxl/drivers/cxl_port "$(endpoint)"
check "and the region made anew" port_anew
check "the memory device is unbound under load" layer cxl/drivers/cxl_mem "$MEMDEV"
check "and the region made anew" memdev_anew
check "the PCI device is unbound under load" layer pci/drivers/cxl_pci "$PCI"
check "and the region made anew" pci_anew
check "the root is unbound under load" layer platform/drivers/cxl_acpi ACPI0017:00
check "and the region made anew" acpi_anew
user_end a

user_start user job 8
check "pages are held" hold_pages user job 6
check "the module stays" in_use
echo "$DEV" > "$DRIVER/unbind"
check "unbinding leaves a lost node until reboot" stuck
check "and the module" in_use
check "which keeps memory blocks from being taken offline" block_refused
user_ask user release > /dev/null
check "content is right" user_verify user
user_end user
check "the books are zero when all is freed" within 30 books_zero job
exit $failed
