#!/bin/sh
# SPDX-License-Identifier: GPL-2.0
#
# dax_cram: a device-DAX device becomes a node, plain or compressed, is used, is refused
# what it cannot have, and goes again. In the end it is beside a node of cxl_cram.
cd "$(dirname "$0")" || exit 1
. ./lib-cxl.sh
. ./lib-tap.sh
. ./lib-cxl-test.sh

bus=/sys/bus/dax
us=$bus/drivers/dax_cram
one=$((1 << 20))

# The region of the second device, in its own window, is memory for everybody at first
dax_up() {
	cxl_devices 2 || return
	plain=$(cxl_memdevs | tail -n 1)
	CXL_ROOT=$CXL/decoder0.1
	region=$(cxl_region_make 1 4096 "$plain") && cxl_region_bind "$region" || return
	within 30 test -e "$bus/drivers/kmem/dax${region#region}.0" || { ls "$bus/devices"; return 1; }
	dax=dax${region#region}.0
	dir=$bus/devices/$dax
	nid=$(cat "$dir/target_node")
}
# What offlining waits for may come and go
unplugged() { write unplugged "$dir/state" 2>/dev/null; }
# Half of it is enough: to the emulator each access to such memory is a call
from_kmem() {
	within 30 unplugged && write "$dax" "$bus/drivers/kmem/unbind" && [ ! -e "$dir/driver" ] &&
		write $((128 * one)) "$dir/size"
}
bound() { [ "$(readlink -f "$dir/driver")" = "$us" ]; }
# A name that was written to new_id is bound at once, and by bind later
new_id() {
	write "$dax" "$us/new_id" && bound && NODE=$(node_of "$nid")
}
node_of() { [ "$(cat "/sys/devices/system/node/node$1/cram/state")" = open ] && echo "$1"; }
bind() { write "$dax" "$us/bind" && bound && NODE=$(node_of "$nid"); }
unbind() {
	write "$dax" "$us/unbind" && [ ! -e "$dir/driver" ] && [ ! -e "/sys/devices/system/node/node$nid/cram" ]
}
free_is() { [ "$(node_file physical_free_bytes)" = "$1" ]; }
says_plain() {
	size=$(node_file logical_bytes)
	[ "$(node_file class)" = plain ] && [ "$(node_file physical_bytes)" = "$size" ] &&
		[ "$(node_file reserve_bytes)" = 0 ] && [ "$(node_file critical_bytes)" = 0 ] &&
		free_is "$size"
}
no_words_of_devices() {
	! find "/sys/devices/system/node/node$NODE/cram/" | grep -E 'lease|over_capacity'
}
# Each resident page is a page less
counted() {
	within 10 free_is $((size - $(node_file used_bytes))) ||
		{ node_file used_bytes; node_file physical_free_bytes; return 1; }
}
faults() { awk '{ print $10 }' "/proc/$(cat /tmp/user.pid)/stat"; }
read_in_place() {
	before=$(faults)
	user_verify user || return
	echo "$(($(faults) - before)) page faults"
	# Of the program's own, but not one for each of the pages
	[ $(($(faults) - before)) -lt 200 ]
}
all_back() { within 30 books_zero job && within 10 free_is "$size"; }
# Nothing of it may go while pages are there
block_refuses() {
	for block in "/sys/devices/system/node/node$nid"/memory*; do
		refused_with busy write offline "$block/state"
		return
	done
}
# A cgroup asks for more than there is
filled() {
	user_start user job 144 || return
	user_ask user pageout > /dev/null
	refused=$(awk '$1 == "refuse_state" || $1 == "refuse_room" || $1 == "refuse_page" { n += $2 } END { print n }' "$CGROOT/job/cram.stat")
	echo "used $(node_file used_bytes) of $size, refused $refused"
	[ "$refused" -gt 0 ] && [ "$(node_file used_bytes)" -ge $((size * 9 / 10)) ]
}
# The other half of the region
second_refused() {
	region_dir=$(readlink -f "$dir/..")/dax_region
	bind && write 1 "$region_dir/create" || return
	second=$bus/devices/dax${region#region}.1
	write "$size" "$second/size" || return
	within 10 unbound_second || { ls -l "$second/"; return 1; }
	refused_with "exists\|File exists" write "${second##*/}" "$us/new_id"
	dmesg | grep "${second##*/}.*it is one already"
}
unbound_second() {
	[ ! -e "$second/driver" ] && return
	write unplugged "$second/state"
	write "${second##*/}" "$(readlink -f "$second/driver")/unbind"
}
gone_again() { unbind && write 0 "$second/size" && write "${second##*/}" "$region_dir/delete"; }
numbers_refused() {
	for bad in x -1 4095 18446744073709551616 ''; do
		refused_with "nvalid\|out of range\|too large" write "$bad" "$dir/cram/physical_bytes" ||
			{ echo "physical_bytes: '$bad'"; return 1; }
	done
	for bad in x 0 4095 65537 99999999999; do
		refused_with "nvalid\|out of range\|too large" write "$bad" "$dir/cram/cells_per_page" ||
			{ echo "cells_per_page: '$bad'"; return 1; }
	done
	[ "$(cat "$dir/cram/physical_bytes")" = 0 ] && [ "$(cat "$dir/cram/cells_per_page")" = 4096 ]
}
more_than_there_is() {
	write $((size + 4096)) "$dir/cram/physical_bytes" || return
	refused_with . write "$dax" "$us/bind"
	dmesg | grep "cram/physical_bytes is more than" && ! bound
}
says_compressed() {
	write 4160 "$dir/cram/cells_per_page" && write $((32 * one)) "$dir/cram/physical_bytes" && bind || return
	[ "$(node_file class)" = compressed ] && [ "$(node_file physical_bytes)" = $((32 * one)) ] &&
		no_words_of_devices && refused_with busy write 0 "$dir/cram/physical_bytes"
}
# Whatever is in the pages: as many as are sure to fit
limited() {
	user_start user job 40 && demoted user job 20 && user_verify user || return
	user_ask user pageout > /dev/null
	used=$(node_file used_bytes)
	echo "used: $used"
	[ $((used * 4160 / 4096)) -le $((32 * one)) ]
}
# Freed pages hold their cells until they were zeroed
zeroed() { user_end user && within 30 books_zero job && within 30 free_is $((32 * one)); }
beside() {
	CXL_ROOT=$CXL/decoder0.0
	MEMDEV=$(cxl_memdevs | head -n 1)
	node_up && compressed=$NODE && [ "$(node_file class)" = compressed ] &&
		[ "$(node_file lease_ms)" = 1000 ] && write 0 "$dir/cram/physical_bytes" && bind
}
# on CGROUP NODE OTHER: its pages are all on this one
on() {
	within 10 test "$(awk -v a="N$2" -v b="N$3" '{ for (i = 2; i <= NF; i++) { split($i, kv, "="); n[kv[1]] += kv[2] } }
		END { print (n[a] > 0 && !n[b]) }' "$CGROOT/$1/cram.numa_stat")" = 1 ||
		{ cat "$CGROOT/$1/cram.numa_stat"; return 1; }
}
divided() {
	write "$nid" "$CGROOT/job/cram.nodes" && write "$compressed" "$CGROOT/other/cram.nodes" || return
	user_start user job 16 && user_start other other 16 && demoted user job 12 && demoted other other 12 &&
		on job "$nid" "$compressed" && on other "$compressed" "$nid" && user_verify user other
}
# Both are as far from everything: plain memory first
plain_first() {
	user_end user && user_end other && within 30 books_zero job other && write "" "$CGROOT/job/cram.nodes" &&
		user_start user job 16 && demoted user job 12 && on job "$nid" "$compressed"
}

echo "TAP version 13"
echo "1..27"
cgroups job other
check "CXL memory that does not compress is a DAX device, and ordinary memory" dax_up
[ -n "${nid:-}" ] || { echo "Bail out! no device"; exit 1; }
check "nobody else's device is taken" sh -c "! find $us/ -mindepth 1 -name 'dax*' | grep ."
check "it is taken from kmem" from_kmem
check "and bound by its name" new_id
check "its node is plain: as many cells as memory, none in reserve" says_plain
check "without the words of devices that are asked" no_words_of_devices
user_start user job 16
check "pages are demoted" demoted user job 12
check "each of them is counted, and no more" counted
check "they are read in place" read_in_place
check "a memory block does not go from under them" block_refuses
check "unbinding moves them off" unbind
check "nothing was lost" user_verify user
check "the books are zero" within 30 books_zero job
user_end user
check "it is bound again" bind
check "when it is full, pages are refused" filled
user_end user
check "freed pages are free" all_back
unbind
check "a second device for the same node is refused" second_refused
check "both are unbound" gone_again
check "numbers that cannot be are refused" numbers_refused
check "so are more cells than memory" more_than_there_is
check "it compresses, by what was said of it" says_compressed
check "no content can fill it" limited
check "freed pages come back when they were zeroed" zeroed
check "unbound again" unbind
check "a node of cxl_cram beside it" beside
check "cram.nodes divides the two" divided
check "where both are as near, plain memory comes first" plain_first
exit $failed
