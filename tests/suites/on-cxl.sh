#!/bin/sh
# SPDX-License-Identifier: GPL-2.0
#
# Run the program $TEST of tests/selftests on the emulated device, brought up as
# an administrator would do it by hand. WAYS=2: on two in one region. DOWN=1: and take
# the region away after it, for others that make one.
cd "$(dirname "$0")" || exit 1
. ./lib-cxl.sh

: "${WAYS:=1}"
up() {
	# shellcheck disable=SC2046 # a list
	cxl_devices "$WAYS" && region=$(cxl_region_make "$WAYS" 4096 $(cxl_memdevs)) &&
		cxl_region_bind "$region" && cxl_node_wait 10000 > /dev/null
}
if ! up; then
	echo "Bail out! no cram node"
	exit 1
fi
[ -n "${DOWN:-}" ] || exec "./$TEST"
"./$TEST"
status=$?
# shellcheck disable=SC2046 # a list
if ! { echo "$region" > /sys/bus/cxl/drivers/cxl_region/unbind && cxl_node_gone 30000 &&
	cxl_region_drop "$region" $(cxl_memdevs); }; then
	echo "Bail out! the region cannot be taken away"
	exit 1
fi
exit $status
