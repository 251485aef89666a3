#!/bin/sh
# SPDX-License-Identifier: GPL-2.0
#
# Run the program $TEST of tests/selftests on the emulated device, brought up as
# an administrator would do it by hand. WAYS=2: on two in one region.
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
exec "./$TEST"
