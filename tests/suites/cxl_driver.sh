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
CG=/sys/fs/cgroup/job
TRACE=/sys/kernel/tracing

node_file() { cat "/sys/devices/system/node/node$NODE/cram/$1"; }
node_set() { echo "$2" > "/sys/devices/system/node/node$NODE/cram/$1"; }

total() { # FIELD: summed over the devices
	sum=0
	i=0
	for m in $MEMDEVS; do
		sum=$((sum + $(cxl_query "cram$i" "$1")))
		i=$((i + 1))
	done
	echo "$sum"
}

# --- memory that somebody holds ---------------------------------------------

# holder MIB same|random: a process of the cgroup with so much memory. No two pages of
# it are alike; those of "same" compress well, because they repeat a number.
holder() {
	rm -f /tmp/hold /tmp/ready
	mkfifo /tmp/hold
	case $2 in
	same) content='awk "BEGIN { for (i = 1; ; i++) printf(\"%0128d\", i / 32) }"' ;;
	random) content="tr '\\0' y < /dev/urandom" ;;
	esac
	rm -f /tmp/sum.*
	(
		sh -c 'echo $$ > '$CG'/cgroup.procs
			x=$('"$content"' 2>/dev/null | head -c '"$(($1 << 20))"')
			printf %s "$x" | md5sum > /tmp/sum.before
			echo ${#x} > /tmp/ready
			read y < /tmp/hold
			printf %s "$x" | md5sum > /tmp/sum.after'
	) &
	HOLDER=$!
	within 60 test -s /tmp/ready
}
holder_end() {
	echo > /tmp/hold
	wait $HOLDER
}
same_content() {
	cat /tmp/sum.before /tmp/sum.after
	[ -s /tmp/sum.before ] && cmp -s /tmp/sum.before /tmp/sum.after
}

current() { cat $CG/cram.current; }
resident_more() { [ "$(current)" -ge "$1" ]; }
resident_none() { [ "$(current)" = 0 ]; }

# demote MIB: at least, within some rounds of reclaim
demote() {
	for _ in $(seq 30); do
		echo "$1M" > $CG/memory.reclaim 2>/dev/null
		resident_more $(($1 << 20)) && return 0
		sleep 0.2
	done
	echo "resident: $(current)"
	grep -E 'refuse' $CG/cram.stat
	return 1
}

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
still_open() { [ "$(node_file state)" = open ]; }

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

# Jiffies that the threads of the device's interrupts have used
irq_time() {
	sum=0
	for p in /proc/[0-9]*; do
		case $(cat "$p/comm" 2>/dev/null) in
		irq/*) ;;
		*) continue ;;
		esac
		sum=$((sum + $(awk '{ print $14 + $15 }' "$p/stat")))
	done
	echo "$sum"
}
irq_idle() {
	a=$(irq_time)
	sleep 2
	b=$(irq_time)
	threads=$(grep -l '^irq/' /proc/[0-9]*/comm | wc -l)
	echo "$a $b of $threads threads"
	# The one of the event has worked by now
	[ "$threads" -gt 0 ] && [ "$a" -gt 0 ] && [ $((b - a)) -lt 20 ]
}

echo "TAP version 13"
echo "+memory +cram" > /sys/fs/cgroup/cgroup.subtree_control
mkdir $CG
cxl_devices "$WAYS" || { echo "Bail out! no devices"; exit 1; }
MEMDEVS=$(cxl_memdevs)

if [ "$WAYS" = 1 ]; then echo "1..27"; else echo "1..9"; fi

check "a region becomes a node" region_up
echo "# bound to open: $took ms"
[ -n "${NODE:-}" ] || { echo "Bail out! no node"; exit 1; }
check "in less than two seconds" test "$took" -lt 2000
DEV=cram_region${REGION#region}
check "the region is not a DAX device" no_dax
check "the sizes are those of the devices" sizes_match

# Every access to interleaved memory traps
[ "$WAYS" = 1 ] && MIB=12 || MIB=3
holder "$MIB" same
check "pages are demoted" demote $((MIB * 2 / 3))
check "the device holds cells for them" test "$(total held)" -gt 0
check "commit=0 is refused" refused_with busy write 0 "$CXL/$REGION/commit"

if [ "$WAYS" != 1 ]; then
	holder_end
	check "freed pages are zeroed on all devices" within 10 held_below 65536
	check "unbinding removes the node" unbind_bounded
	exit $failed
fi

check "deleting the region is refused" refused_with busy write "$REGION" $CXL_ROOT/delete_region
check "detaching a target is refused" refused_with busy write "" "$CXL/$REGION/target0"
check "a memory block cannot be taken offline" memory_block_stays
check "the node is open all the while" still_open
check "its opcodes are closed to user space" opcodes_closed

holder_end
check "content survives" same_content
check "freed pages are zeroed" within 10 held_below 65536

holder 12 same
demote 8 > /dev/null
check "unbinding moves resident pages off" unbind_bounded
check "none is resident any more" resident_none
check "its opcodes are open again" opcode_open
holder_end
check "their content survives that, too" same_content

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
holder 20 random
demote 14 > /tmp/out || sed 's/^/# /' /tmp/out
check "a watermark makes an event" within 10 event_seen
check "which reaches the engine" within 5 changed_seen
holder_end
within 30 held_below 65536
node_set lease_ms 1000

# An answer that cannot be true
cxl_fault cram0 '"physical-free": 1099511627776'
state_is() { [ "$(node_file state)" = "$1" ]; }
check "an implausible answer is no answer" within 10 state_is lost
cxl_fault cram0 '"physical-free": -1'
check "and the node opens with the next" within 10 state_is open

# Silence: the device makes an event, and answers nothing from the moment on in
# which the event thread asks for it. The doorbell stays set for good.
cxl_fault cram0 '"opcode": 256, "drop": true'
holder 20 random
demote 14 > /dev/null
check "a device that falls silent closes its node" within 20 state_is lost
sleep 3
check "and the event thread does not spin" irq_idle
check "unbinding does not wait for it for ever" unbind_bounded
holder_end
exit $failed
