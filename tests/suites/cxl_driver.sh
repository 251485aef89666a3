#!/bin/sh
# SPDX-License-Identifier: GPL-2.0
#
# The driver of compressed CXL devices with the emulated device: from the commit
# of a region to resident pages and back, who may take the region away, unbinding,
# and a device that falls silent. Without arguments one device; WAYS=2: two in one
# region, interleaved.
cd "$(dirname "$0")" || exit 1
. ./lib-cxl.sh
. ./lib-tap.sh
. ./lib-cxl-test.sh

: "${WAYS:=1}" "${CYCLES:=20}"
TRACE=/sys/kernel/tracing

total() { # FIELD: summed over the devices
	sum=0
	i=0
	for m in $MEMDEVS; do
		sum=$((sum + $(cxl_query "cram$i" "$1")))
		i=$((i + 1))
	done
	echo "$sum"
}

# Content that does not compress, more than there are cells for
overfill() {
	user_start user job 20 512 && user_ask user pageout
}
resident_none() { [ "$(cg_file job/cram.current)" = 0 ]; }
held_below() { [ "$(total held)" -lt "$1" ]; }

# --- tests --------------------------------------------------------------------

region_up() {
	# shellcheck disable=SC2086 # a list
	REGION=$(cxl_region_make "$WAYS" 4096 $MEMDEVS) || return
	t0=$(cut -d' ' -f1 /proc/uptime)
	cxl_region_bind "$REGION" || return
	NODE=$(cxl_node_wait 10000) || return
	t1=$(cut -d' ' -f1 /proc/uptime)
	took=$(awk -v a="$t0" -v b="$t1" 'BEGIN { print int((b - a) * 1000) }')
}
sizes_match() {
	echo "$(node_file physical_bytes) $(total physical) $(node_file logical_bytes) $(total logical)"
	[ "$(node_file physical_bytes)" = "$(total physical)" ] &&
		[ "$(node_file logical_bytes)" = "$(total logical)" ]
}
no_dax() { [ -e "$CXL/cram_region${REGION#region}" ] && [ ! -e "$CXL/dax_region${REGION#region}" ]; }
memory_block_stays() {
	for b in /sys/devices/system/node/"node$NODE"/memory*; do
		refused_with busy write offline "$b/state" && return
		return 1
	done
}
raw() { # OPCODE: what becomes of it
	./cxl_raw mem0 "$1" 2>&1
}
opcodes_closed() {
	for op in 0xc000 0xc001 0xc002 0xc003 0xc004 0x4402; do
		answer=$(raw "$op")
		[ "$answer" = EBUSY ] || { echo "$op: $answer"; return 1; }
	done
}
opcode_open() {
	answer=$(raw 0xc001)
	echo "$answer"
	[ "$answer" = "sent 0" ]
}
cycles() {
	for c in $(seq "$CYCLES"); do
		echo "$DEV" > "$DRIVER/unbind" || return
		cxl_node_gone 2000 || { echo "cycle $c: still there"; return 1; }
		echo "$DEV" > "$DRIVER/bind" || return
		cxl_node_wait 5000 > /dev/null || { echo "cycle $c: no node"; return 1; }
	done
}
region_cycles() {
	for c in 1 2 3; do
		echo 0 > "$CXL/$REGION/commit" || return
		cxl_node_gone 3000 || { echo "cycle $c: still there"; return 1; }
		echo 1 > "$CXL/$REGION/commit" || return
		cxl_region_bind "$REGION" || return
		cxl_node_wait 5000 > /dev/null || { echo "cycle $c: no node"; return 1; }
	done
}

changed_seen() { grep -q cxl_changed "$TRACE/trace"; }
event_seen() { grep -q 'cxl_generic_event.*8c84dd38' "$TRACE/trace"; }

unbind_bounded() {
	t0=$(cut -d. -f1 /proc/uptime)
	echo "$DEV" > "$DRIVER/unbind" || return
	t1=$(cut -d. -f1 /proc/uptime)
	echo "$((t1 - t0)) s"
	[ $((t1 - t0)) -lt 30 ] && cxl_node_gone 1000
}

# Jiffies that the threads of the device's interrupts have used, and how many there are
irq_time() {
	cat /proc/[0-9]*/stat 2>/dev/null |
		awk '/\(irq\// { sub(/.*\) /, ""); sum += $12 + $13; n++ } END { print sum + 0, n + 0 }'
}
irq_idle() {
	before=$(irq_time)
	sleep 2
	after=$(irq_time)
	echo "$before, then $after"
	[ "${after#* }" -gt 0 ] && [ $((${after% *} - ${before% *})) -lt 20 ]
}
no_timeout() { ! dmesg | grep "mailbox timeout"; }
# It has asked for records, and waited for them in vain
events_unread() { dmesg | grep "mailbox timeout (opcode: 0x100)"; }

echo "TAP version 13"
cgroups job
cxl_devices "$WAYS" || { echo "Bail out! no devices"; exit 1; }
MEMDEVS=$(cxl_memdevs)

if [ "$WAYS" = 1 ]; then echo "1..28"; else echo "1..9"; fi

check "a region becomes a node" region_up
echo "# bound to open: $took ms"
[ -n "${NODE:-}" ] || { echo "Bail out! no node"; exit 1; }
check "without a command that takes too long" no_timeout
DEV=cram_region${REGION#region}
check "the region is not a DAX device" no_dax
check "the sizes are those of the devices" sizes_match

# Every access to interleaved memory traps
[ "$WAYS" = 1 ] && MIB=12 || MIB=3
user_start user job "$MIB"
check "pages are demoted" demoted user job $((MIB * 2 / 3))
check "the device holds cells for them" test "$(total held)" -gt 0
check "commit=0 is refused" refused_with busy write 0 "$CXL/$REGION/commit"

if [ "$WAYS" != 1 ]; then
	user_end user
	check "freed pages are zeroed on all devices" within 10 held_below 65536
	check "unbinding removes the node" unbind_bounded
	exit $failed
fi

check "deleting the region is refused" refused_with busy write "$REGION" $CXL_ROOT/delete_region
check "detaching a target is refused" refused_with busy write "" "$CXL/$REGION/target0"
check "a memory block cannot be taken offline" memory_block_stays
check "the node is open all the while" state_is open
check "its opcodes are closed to user space" opcodes_closed

check "content survives" user_verify user
user_end user
check "freed pages are zeroed" within 10 held_below 65536

user_start user job 12
demoted user job 8 > /dev/null
check "unbinding moves resident pages off" unbind_bounded
check "none is resident any more" resident_none
check "its opcodes are open again" opcode_open
check "their content survives that, too" user_verify user
user_end user

echo "$DEV" > "$DRIVER/bind"
cxl_node_wait 5000 > /dev/null
check "the driver can be bound and unbound $CYCLES times" cycles
check "a region can be reset and committed again" region_cycles

# Below the low watermark: the device makes a record
node_set lease_ms 60000
echo 'p:cxl_changed cram_node_changed' > "$TRACE/kprobe_events"
echo > "$TRACE/trace"
echo 1 > "$TRACE/events/kprobes/cxl_changed/enable"
echo 1 > "$TRACE/events/cxl/cxl_generic_event/enable"
overfill > /dev/null
check "a watermark makes an event" within 10 event_seen
check "which reaches the engine" within 5 changed_seen
user_end user
within 30 held_below 65536
node_set lease_ms 1000

# An answer that cannot be true
cxl_fault cram0 '"physical-free": 1099511627776'
check "an implausible answer is no answer" within 10 state_is lost
cxl_fault cram0 '"physical-free": -1'
check "and the node opens with the next" within 10 state_is open

# Silence: the device makes an event, and answers nothing from the moment on in
# which the event thread asks for it. The doorbell stays set for good.
cxl_fault cram0 '"opcode": 256, "drop": true'
overfill > /dev/null
check "a device that falls silent closes its node" within 20 state_is lost
check "the event thread has asked in vain" within 20 events_unread
check "and does not spin" irq_idle
check "unbinding does not wait for it for ever" unbind_bounded
user_end user
exit $failed
