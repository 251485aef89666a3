#!/bin/sh
# SPDX-License-Identifier: GPL-2.0
#
# Shell functions for guest scripts with DEVICE=cxl, sourced: make a region of
# the emulated devices as an administrator would, by sysfs alone.
#
#   cxl_ready N                                  are N memory devices probed?
#   cxl_devices N                                waits for that
#   cxl_memdevs                                  prints the memory devices in the
#                                                order of the emulator, cram0 first
#   cxl_region_make WAYS GRANULARITY MEMDEV...   prints the name of the region,
#                                                committed, nothing bound to it
#   cxl_region_bind REGION, cxl_region_drop REGION
#   cxl_node_wait MS                             prints the number of the node
#   cxl_node_gone MS
#
# shellcheck shell=sh
# shellcheck disable=SC2034

CXL=/sys/bus/cxl/devices
CXL_ROOT=$CXL/decoder0.0

# cxl_decoder MEMDEV: the first endpoint decoder of a device
cxl_decoder() {
	for e in "$CXL"/endpoint*; do
		if [ "$(readlink -f "$e/uport")" = "$(readlink -f "$CXL/$1")" ]; then
			for d in "$e"/decoder*.0; do
				[ -e "$d" ] || return 1
				echo "${d##*/}"
				return 0
			done
		fi
	done
	return 1
}

# An endpoint is there before its decoders are, and for a while after its device.
cxl_ready() {
	ready=0
	for m in "$CXL"/mem*; do
		! cxl_decoder "${m##*/}" > /dev/null || ready=$((ready + 1))
	done
	[ $ready -ge "$1" ]
}
cxl_devices() {
	for _ in $(seq 100); do
		! cxl_ready "$1" || return 0
		sleep 0.1
	done
	return 1
}

# Names depend on who was probed first, serial numbers do not.
cxl_memdevs() {
	for m in "$CXL"/mem*; do
		echo "$(cat "$m/serial") ${m##*/}"
	done | sort | cut -d' ' -f2
}

# All memory of the devices, in this order
cxl_region_make() {
	ways=$1 granularity=$2
	shift 2
	region=$(cat "$CXL_ROOT/create_ram_region") || return
	echo "$region" > "$CXL_ROOT/create_ram_region" || return
	echo "$granularity" > "$CXL/$region/interleave_granularity" || return
	echo "$ways" > "$CXL/$region/interleave_ways" || return
	size=0
	for m; do
		bytes=$(($(cat "$CXL/$m/ram/size")))
		decoder=$(cxl_decoder "$m") || return
		echo ram > "$CXL/$decoder/mode" || return
		echo "$bytes" > "$CXL/$decoder/dpa_size" || return
		size=$((size + bytes))
	done
	echo "$size" > "$CXL/$region/size" || return
	i=0
	for m; do
		cxl_decoder "$m" > "$CXL/$region/target$i" || return
		i=$((i + 1))
	done
	echo 1 > "$CXL/$region/commit" || return
	echo "$region"
}

cxl_region_bind() {
	echo "$1" > /sys/bus/cxl/drivers/cxl_region/bind
}

# cxl_region_drop REGION MEMDEV...: the region, and the devices' share in it
cxl_region_drop() {
	region=$1
	shift
	echo "$region" > "$CXL_ROOT/delete_region" || return
	for m; do
		echo 0 > "$CXL/$(cxl_decoder "$m")/dpa_size" || return
	done
}

# The number of the first cram node
cxl_node() {
	for dir in /sys/devices/system/node/node*/cram; do
		[ -e "$dir/state" ] || return 1
		dir=${dir%/cram}
		echo "${dir##*node}"
		return 0
	done
}

cxl_node_wait() {
	for _ in $(seq $(($1 / 50))); do
		if nid=$(cxl_node) && [ "$(cat "/sys/devices/system/node/node$nid/cram/state")" = open ]; then
			echo "$nid"
			return 0
		fi
		sleep 0.05
	done
	return 1
}

cxl_node_gone() {
	for _ in $(seq $(($1 / 50))); do
		[ "$(cat /sys/devices/system/node/has_private_memory)" ] || return 0
		sleep 0.05
	done
	return 1
}

# cxl_query DEVICE FIELD: of what the emulator knows
cxl_query() {
	./qmp "{\"execute\": \"cxl-cram-query\", \"arguments\": {\"path\": \"$1\"}}" |
		sed -n "s/.*\"$2\": \([0-9a-z]*\).*/\1/p"
}

# cxl_fault DEVICE "SETTINGS"
cxl_fault() {
	./qmp "{\"execute\": \"cxl-cram-set-fault\", \"arguments\": {\"path\": \"$1\", $2}}" > /dev/null
}

# cxl_answer DEVICE "SETTINGS": as cxl-cram-set-answer has them
cxl_answer() {
	./qmp "{\"execute\": \"cxl-cram-set-answer\", \"arguments\": {\"path\": \"$1\", $2}}" > /dev/null
}
