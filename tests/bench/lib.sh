# SPDX-License-Identifier: GPL-2.0-or-later
# Sourced by the scripts here, after scripts/lib.sh.
#
# shellcheck shell=bash

# measure DEVICE [KIB]: "DEVICE WHAT INSTRUCTIONS" for each line of cram_bench
measure() {
	SMP=1 DEVICE=$1 SIM=64M QEMU_ARGS="-icount shift=0,sleep=off" \
		NAME=bench-$(basename "$0") TIMEOUT=400 FILES=build/tests/cram_bench \
		CMD="./cram_bench ${2-}" tests/vm/run |
		awk -v with="${2-$1}" '$2 ~ /^[0-9.]+$/ && NF == 2 { print with, $1, $2 }'
}
