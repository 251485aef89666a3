#!/bin/sh
# SPDX-License-Identifier: GPL-2.0
#
# A device is unplugged: orderly, by surprise, and while somebody keeps references
# to its pages.
cd "$(dirname "$0")" || exit 1
. ./lib-cxl.sh
. ./lib-tap.sh
. ./lib-cxl-test.sh

memdev_unbound() { write "$MEMDEV" /sys/bus/cxl/drivers/cxl_mem/unbind && ! cxl_decoder "$MEMDEV"; }

echo "TAP version 13"
echo "1..27"
cgroups job other huge
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
check "without a line in the log for each page" few_lines "$resident"
check "who used them is killed" user_dies user
check "the others live" others_live
check "no page is out of service any more" within 30 nothing_poisoned
check "the device is plugged in again, and a node comes up" plug
check "which can be used" usable

# The driver has to go, and cannot move the pages off
user_start user job 12
HUGE=1 user_start huge huge 4
user_start third job 4
check "pages are demoted, and some held" hold_pages user job 10
check "huge pages, too" hold_pages huge huge 4
check "and some that will be let go" hold_pages third job 12
echo "$DEV" > "$DRIVER/unbind"
check "unbinding leaves a lost node until reboot" stuck
check "whose pages can be read" user_verify user huge third
check "nobody binds to it again" refused_with "busy" write "$DEV" "$DRIVER/bind"
check "the region is not given up" refused_with busy write "$REGION" "$CXL_ROOT/delete_region"
user_ask third release > /dev/null
check "and lets go of what is released" user_end third
check "the memory device is unbound" memdev_unbound
check "what was held is lost, and nothing else" held_lost user huge
user_end other
check "the books are zero when all is freed" within 30 books_zero job other huge
exit $failed
