#!/bin/sh
# SPDX-License-Identifier: GPL-2.0
#
# Run the program $TEST of tests/selftests on the emulated device, brought up as
# an administrator would do it by hand.
cd "$(dirname "$0")" || exit 1
. ./lib-cxl.sh

up() {
	cxl_devices 1 && region=$(cxl_region_make 1 4096 mem0) && cxl_region_bind "$region" &&
		cxl_node_wait 10000 > /dev/null
}
if ! up; then
	echo "Bail out! no cram node"
	exit 1
fi
exec "./$TEST"
