#!/bin/sh
# SPDX-License-Identifier: GPL-2.0
#
# Load the test module and run the test program; GROUPS: which groups of it.
mount -t debugfs none /sys/kernel/debug 2>/dev/null
insmod "$(dirname "$0")/private_node_test.ko" || exit 1
# shellcheck disable=SC2046 # a list
"$(dirname "$0")/private_node" $(echo "${PN_GROUPS-}" | tr , " ")
status=$?
rmmod private_node_test || exit 1
exit $status
