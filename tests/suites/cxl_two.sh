#!/bin/sh
# SPDX-License-Identifier: GPL-2.0
#
# Two devices, each a node of its own: neither the state nor the settings of one
# are those of the other, and a cgroup can be kept to one.
cd "$(dirname "$0")" || exit 1
. ./lib-cxl.sh
. ./lib-tap.sh
. ./lib-cxl-test.sh

attr() { cat "/sys/devices/system/node/node$1/cram/$2"; }
attr_set() { write "$3" "/sys/devices/system/node/node$1/cram/$2"; }
attr_is() { [ "$(attr "$1" "$2")" = "$3" ]; }
cram_nodes() {
	for dir in /sys/devices/system/node/node*/cram/state; do
		dir=${dir%/cram/state}
		echo "${dir##*node}"
	done
}
two_open() {
	# shellcheck disable=SC2046 # a list
	set -- $(cram_nodes)
	[ $# = 2 ] && attr_is "$1" state open && attr_is "$2" state open
}
regions_up() {
	window=0
	for m in $(cxl_memdevs); do
		CXL_ROOT=$CXL/decoder0.$window
		region=$(cxl_region_make 1 4096 "$m") && cxl_region_bind "$region" || return
		REGIONS="${REGIONS:-} $region"
		window=$((window + 1))
	done
	within 30 two_open
}
# Resident bytes of a cgroup on a node
on_node() { # CGROUP NODE
	sed -n "s/.*\bN$2=\([0-9]*\).*/\1/p" "$CGROOT/$1/cram.numa_stat" | head -n 1
}
only_on() { # CGROUP NODE OTHER
	cat "$CGROOT/$1/cram.numa_stat"
	[ "$(on_node "$1" "$2")" = "$(cg_file "$1/cram.current")" ] && [ "$(on_node "$1" "$3")" = 0 ]
}
both_shown() {
	cat "$CGROOT/cram.numa_stat"
	[ "$(on_node one "$A")" -gt 0 ] && [ "$(on_node two "$B")" -gt 0 ]
}
own_settings() {
	was=$(attr "$B" low_bytes)
	attr_set "$A" low_bytes 4194304 && attr_set "$A" lease_ms 2000 &&
		attr_is "$A" low_bytes 4194304 && attr_is "$A" lease_ms 2000 &&
		attr_is "$B" low_bytes "$was" && attr_is "$B" lease_ms 1000
}
one_offline() {
	attr_set "$A" state offline || return
	echo "$(attr "$A" state) $(attr "$B" state)"
	attr_is "$A" state offline && attr_is "$B" state open
}
refuses() { # CGROUP
	before=$(cg_file "$1/cram.current")
	user_ask "$1" pageout > /dev/null
	echo "$before, then $(cg_file "$1/cram.current")"
	[ "$(cg_file "$1/cram.current")" -le "$before" ]
}
# Incompressible pages until the node closes: it says low or critical
shuts() {
	for _ in $(seq 60); do
		user_ask full pageout > /dev/null
		case $(attr "$A" state) in low|critical) return 0 ;; esac
		sleep 0.2
	done
	echo "$(attr "$A" state), $(attr "$A" physical_free_bytes) of $(attr "$A" physical_bytes) free"
	return 1
}

# The endpoint of the device whose region is the first, or the second
endpoint_of() { # MEMDEV
	for e in "$CXL"/endpoint*; do
		[ "$(readlink -f "$e/uport")" != "$(readlink -f "$CXL/$1")" ] || echo "${e##*/}"
	done
}
port_unbound() {
	write "$(endpoint_of "$1")" /sys/bus/cxl/drivers/cxl_port/unbind && ! cxl_decoder "$1"
}
node_stuck() { # NODE
	dmesg | grep "node $1 stays until reboot" && attr_is "$1" state lost
}
region_unbound() { # REGION
	write "$1" /sys/bus/cxl/drivers/cxl_region/unbind
}
root_unbound() {
	write ACPI0017:00 /sys/bus/platform/drivers/cxl_acpi/unbind && [ ! -e "$CXL_ROOT" ]
}

echo "TAP version 13"
echo "1..28"
cgroups one two full
cxl_devices 2
check "two devices become two open nodes" regions_up
# shellcheck disable=SC2046 # a list
set -- $(cram_nodes)
[ $# = 2 ] || { echo "Bail out! no two nodes"; exit 1; }
A=$1 B=$2
check "each has settings of its own" own_settings
attr_set "$A" low_bytes 1048576
attr_set "$A" lease_ms 1000

echo "$A" > "$CGROOT/one/cram.nodes"
echo "$B" > "$CGROOT/two/cram.nodes"
user_start one one 6
user_start two two 6
check "pages of one cgroup are demoted" demoted one one 5
check "to its node only" only_on one "$A" "$B"
check "those of another" demoted two two 5
check "to the other only" only_on two "$B" "$A"
check "cram.numa_stat shows both" both_shown
check "content is right" user_verify one two

check "one goes offline, and the other stays open" one_offline
check "what was there is elsewhere" test "$(cg_file one/cram.current)" = 0
check "what is on the other stays" test "$(on_node two "$B")" -gt 0
check "a cgroup that may use that one only stays out" refuses one
attr_set "$A" state open
check "it opens again" within 30 attr_is "$A" state open

echo "$A" > "$CGROOT/full/cram.nodes"
user_start full full 24 512
check "one is filled until it closes" shuts
check "the other is open all the while" attr_is "$B" state open
check "and takes pages" demoted two two 5
user_end full
check "content is right" user_verify one two

# A goes by its port, B by its region and then by the root. In this order of memory
# devices, regions and nodes: fixed windows have their nodes in turn.
# shellcheck disable=SC2046,SC2086 # lists
set -- $(cxl_memdevs) $REGIONS
check "pages of one are held" hold_pages one one 5
check "and of the other" hold_pages two two 5
check "the port of one is unbound" port_unbound "$1"
check "its pages stay until reboot" node_stuck "$A"
check "what was held is lost" held_lost one
check "the other is open" attr_is "$B" state open
check "its region is unbound" region_unbound "$4"
check "its pages stay until reboot" node_stuck "$B"
check "they can be read" user_verify two
check "the root is unbound" root_unbound
check "what was held is lost" held_lost two
exit $failed
