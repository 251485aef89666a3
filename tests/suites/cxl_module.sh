#!/bin/sh
# SPDX-License-Identifier: GPL-2.0
#
# The driver is a module: it can be removed when no region is bound, and at no other
# time, because memory that stays calls it.
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

echo "TAP version 13"
echo "1..15"
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
