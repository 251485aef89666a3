#!/bin/sh
# SPDX-License-Identifier: GPL-2.0
#
# A device is reset under the driver. A function-level reset leaves the content where
# it is; after any other it is gone, and the decoders are not programmed any more,
# so that stores would go nowhere.
cd "$(dirname "$0")" || exit 1
. ./lib-cxl.sh
. ./lib-tap.sh
. ./lib-cxl-test.sh

# The reset counts nothing, and takes nothing away, also when the device is asked in
# the middle of it: that takes a tenth of a second, and there are ten readings a second.
function_reset() {
	resets=$(cxl_query cram0 reset-count) resident=$(cg_file job/cram.current) answers=$(cxl_query cram0 answers)
	write flr "$DEVICE/reset_method" && node_set lease_ms 300 || return
	for _ in 1 2 3 4 5; do write 1 "$DEVICE/reset" || return; done
	node_set lease_ms 1000
	echo "$resets, $resident"
	[ "$(cxl_query cram0 reset-count)" = "$resets" ] && [ "$(cg_file job/cram.current)" = "$resident" ]
}
answers() { [ "$(cxl_query cram0 answers)" -gt $((answers + 2)) ] && state_is open; }
still_used() {
	user_start third third 4 && demoted third third 3 && user_verify third && user_end third &&
		within 30 cxl_held_at_most "$held"
}
cxl_held_at_most() { [ "$(cxl_query cram0 held)" -le "$1" ]; }
# Any reset but that
reset() {
	write "$METHODS" "$DEVICE/reset_method" && write 1 "$DEVICE/reset"
}
nobody_pays() { # CGROUP...
	for c; do
		[ "$(cg_file "$c/cram.current")" = 0 ] || { echo "$c: $(cg_file "$c/cram.current")"; return 1; }
	done
}
nothing_new() { # is demoted
	before=$(awk '$1 == "cram_demote" { print $2 }' /proc/vmstat)
	user_ask other pageout > /dev/null
	echo "$before, then $(grep -w cram_demote /proc/vmstat)"
	[ "$before" = "$(awk '$1 == "cram_demote" { print $2 }' /proc/vmstat)" ] && user_verify other
}
told_once() {
	dmesg | grep -c "are not decoded any more"
	[ "$(dmesg | grep -c "are not decoded any more")" = 1 ]
}
was_whole() {
	[ "$(cat /sys/kernel/mm/transparent_hugepage/hugepages-2048kB/stats/cram_demote)" -ge 2 ]
}
unbound() {
	echo "$DEV" > "$DRIVER/unbind"
	cxl_node_gone 30000
}
bind_refused() { ! write "$DEV" "$DRIVER/bind" && dmesg | grep "are not decoded: commit"; }
# What accesses meet is the emulator's. The register is one of a disk controller.
map_changes() {
	other=/sys/bus/pci/devices/0000:00:1f.2
	write 1 "$other/enable" && ./pci_decode "$PCI" 1000 "$other/resource5"
}
back() {
	echo 1 > "/sys/bus/pci/devices/$PCI/remove"
	echo "$REGION" > "$CXL_ROOT/delete_region"
	echo 1 > /sys/bus/pci/rescan
	node_up
}

echo "TAP version 13"
echo "1..25"
cgroups job huge other third
check "a node comes up" node_up
[ -n "${NODE:-}" ] || { echo "Bail out! no node"; exit 1; }
user_start user job 12
user_start other other 8
check "pages are demoted" demoted user job 10
HUGE=1 user_start huge huge 4
check "huge pages are demoted" demoted huge huge 4
check "whole" was_whole

DEVICE=/sys/bus/pci/devices/$PCI
METHODS=$(sed 's/flr//' "$DEVICE/reset_method")
held=$(cxl_query cram0 held)
check "the function alone is reset" function_reset
check "content stays" user_verify user huge other
check "the node is open, and the device answers" within 20 answers
check "it takes pages and lets them go" still_used

check "one of the huge pages is held" hold_pages huge huge 4
resident=$(($(cg_file job/cram.current) / 4096))
t0=$(uptime_ms)
check "the device is reset" reset
check "nobody pays for what is lost" within 60 nobody_pays job other
echo "# $resident pages in $(($(uptime_ms) - t0)) ms, the reading included"
check "without a line in the log for each page" few_lines "$resident"
check "who touches them is killed" user_dies user
check "also at the end of a huge page that was held" user_dies huge last
check "the books are zero" within 30 books_zero job huge other
check "the others live" others_live
check "the node is lost" within 60 state_is lost
check "which is told once" told_once
check "and takes nothing" nothing_new
check "unbinding removes the node" unbound
check "no page is out of service any more" within 30 nothing_poisoned
check "the driver does not bind to a region that leads nowhere" bind_refused
check "the device removed and found again makes an open node" back
check "which can be used" usable
user_end other

echo "$PCI" > /sys/bus/pci/drivers/cxl_pci/unbind
check "a register stays what it is while the memory map changes" map_changes
sed 's/^/# /' /tmp/out
exit $failed
