#!/bin/sh
# SPDX-License-Identifier: GPL-2.0
#
# A region that the driver must not use is refused, with WHY in the log, and
# leaves nothing behind.
cd "$(dirname "$0")" || exit 1
. ./lib-cxl.sh
. ./lib-tap.sh
. ./lib-cxl-test.sh

: "${GRAIN:=256}" "${WHY:=memory}"

bind_refused() { ! write "$REGION" /sys/bus/cxl/drivers/cxl_region/bind && dmesg | grep "$REGION.*$(echo "$WHY" | tr _ ' ')"; }
nobody_has_it() {
	[ ! -e "$CXL/cram_region${REGION#region}" ] && [ ! -e "$CXL/dax_region${REGION#region}" ] &&
		[ ! -e "$CXL/$REGION/driver" ] && [ -z "$(cat /sys/devices/system/node/has_private_memory)" ]
}
no_memory() { ! grep -iE 'cram|kmem|dax' /proc/iomem; }
opcodes_open() {
	answer=$(./cxl_raw "$FIRST" 0xc001 2>&1)
	echo "$answer"
	[ "$answer" = "sent 0" ]
}
all_ends() {
	# shellcheck disable=SC2086 # a list
	cxl_region_drop "$REGION" $MEMDEVS && [ ! -e "$CXL/$REGION" ] && [ "$(wc -l < /proc/iomem)" = "$lines" ]
}

echo "TAP version 13"
echo "1..6"
cxl_devices 2 || { echo "Bail out! no devices"; exit 1; }
MEMDEVS=$(cxl_memdevs)
FIRST=${MEMDEVS%%[!a-z0-9]*}
lines=$(wc -l < /proc/iomem)
# shellcheck disable=SC2086
REGION=$(cxl_region_make 2 "$GRAIN" $MEMDEVS)
check "a region is committed" test -n "$REGION"
check "the driver refuses it, and says why" bind_refused
check "nobody uses it" nobody_has_it
check "its memory is nobody's" no_memory
check "the device's opcodes are open" opcodes_open
check "the region can be deleted, and nothing is left" all_ends
exit $failed
