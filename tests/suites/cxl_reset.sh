#!/bin/sh
# SPDX-License-Identifier: GPL-2.0
#
# A device is reset under the driver: its content is gone, and its decoders are
# not programmed any more, so that stores would go nowhere.
cd "$(dirname "$0")" || exit 1
. ./lib-cxl.sh
. ./lib-tap.sh
. ./lib-cxl-test.sh

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
back() {
	echo 1 > "/sys/bus/pci/devices/$PCI/remove"
	echo "$REGION" > "$CXL_ROOT/delete_region"
	echo 1 > /sys/bus/pci/rescan
	node_up
}

echo "TAP version 13"
echo "1..17"
cgroups job huge other
check "a node comes up" node_up
[ -n "${NODE:-}" ] || { echo "Bail out! no node"; exit 1; }
user_start user job 12
user_start other other 8
check "pages are demoted" demoted user job 10
HUGE=1 user_start huge huge 4
check "huge pages are demoted" demoted huge huge 4
check "whole" was_whole
resident=$(($(cg_file job/cram.current) / 4096))

t0=$(uptime_ms)
echo 1 > "/sys/bus/pci/devices/$PCI/reset"
check "after a reset the books go to zero" within 60 books_zero job huge other
echo "# $resident pages in $(($(uptime_ms) - t0)) ms, the reading included"
check "without a line in the log for each page" few_lines "$resident"
check "who touches them is killed" user_dies user
check "also at the end of a huge page" user_dies huge last
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
exit $failed
