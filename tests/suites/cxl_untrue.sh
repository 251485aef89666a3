#!/bin/sh
# SPDX-License-Identifier: GPL-2.0
#
# A device that does not keep to the interface: what it is taken for, what the
# driver refuses, event records, the time that answers take, and answers at random
# (SEED= has the same again). WAYS=2: only the time, with two devices in one region.
cd "$(dirname "$0")" || exit 1
. ./lib-cxl.sh
. ./lib-tap.sh
. ./lib-cxl-test.sh

: "${WAYS:=1}"
TRACE=/sys/kernel/tracing
CXL_PCI=/sys/bus/pci/drivers/cxl_pci
GET_LOGS=1024 GET_POISON=17152
GET_EVENTS=256 CLEAR_EVENTS=257 FEATURES=1280 MEDIA=17410 CAPS=49152 CAPACITY=49153 SET_MARKS=49155 HOT=49156

# --- what a device is taken for -----------------------------------------------

# The core reads Features when it is bound to the device
rebind() {
	echo "$PCI" > "$CXL_PCI"/unbind
	echo "$PCI" > "$CXL_PCI"/bind
	cxl_devices 1 && MEMDEV=$(cxl_memdevs)
}
region_make() { REGION=$(cxl_region_make 1 4096 "$MEMDEV"); }
region_drop() { cxl_region_drop "$REGION" "$MEMDEV"; }

unreadable() { # ANSWER: the region of such a device is nobody's
	cxl_answer cram0 "\"opcode\": $FEATURES, $1" && rebind && region_make || return
	! write "$REGION" /sys/bus/cxl/drivers/cxl_region/bind || { echo "bound"; return 1; }
	dmesg | grep "$REGION.*Features could not be read" || return
	[ ! -e "$CXL/dax_region${REGION#region}" ] && [ ! -e "$CXL/cram_region${REGION#region}" ] || return
	! grep -iE 'cram|kmem|dax' /proc/iomem || return
	region_drop
}
readable() {
	cxl_answer cram0 "\"opcode\": $FEATURES" && rebind && region_make || return
	cxl_region_bind "$REGION" && NODE=$(cxl_node_wait 20000) || return
	DEV=cram_region${REGION#region}
	write "$DEV" "$DRIVER"/unbind && cxl_node_gone 5000
}

# Memory that firmware has given away. In the module's way of asking, it is reserved
reserved_is() { # 1: kept from dax_hmem, and the log says so; or 0
	dmesg -c > /dev/null
	kept=$(cat /sys/module/cxl_memory/parameters/kept)
	dmesg | grep "compresses, and .*, which may be its memory, is in no region" > /tmp/said
	cat /tmp/said
	[ "$kept" = "$1" ] && { [ "$1" = 0 ] || [ -s /tmp/said ]; }
}
reserved() {
	insmod ./cxl_memory.ko && reserved_is 1 || return
	echo "$PCI" > "$CXL_PCI"/unbind
	# Nobody knows of a device that compresses
	reserved_is 0
	bad=$?
	echo "$PCI" > "$CXL_PCI"/bind
	cxl_devices 1 && MEMDEV=$(cxl_memdevs) && rmmod cxl_memory && return "$bad"
}
ordinary() {
	region_make && insmod ./cxl_memory.ko ram=1 || return
	dmesg -c > /dev/null
	cxl_region_bind "$REGION" || return
	dmesg | grep "$REGION: compressed memory is in use as ordinary memory, by firmware" || return
	[ ! -e "$CXL/dax_region${REGION#region}" ] && [ ! -e "$CXL/cram_region${REGION#region}" ] || return
	rmmod cxl_memory && region_drop
}

# --- lists that are longer than they were sent --------------------------------

said() { # WORDS
	dmesg | grep "$1" || { dmesg | tail -n 20; return 1; }
}
too_many_logs() {
	dmesg -c > /dev/null
	cxl_answer cram0 "\"opcode\": $GET_LOGS, \"offset\": 0, \"payload\": \"ffff\"" && rebind || return
	said "65535 logs said to be in 28 bytes"
}
# Of a size that nobody has memory for. Such a device may be refused, without ado
too_long_a_log() {
	dmesg -c > /dev/null
	cxl_answer cram0 "\"opcode\": $GET_LOGS, \"offset\": 24, \"payload\": \"ffffffff\"" || return
	echo "$PCI" > "$CXL_PCI"/unbind
	! write "$PCI" "$CXL_PCI"/bind || echo "$PCI" > "$CXL_PCI"/unbind
	cxl_answer cram0 "\"opcode\": $GET_LOGS"
	echo "$PCI" > "$CXL_PCI"/bind
	cxl_devices 1 && MEMDEV=$(cxl_memdevs) && ! dmesg | grep "WARNING:"
}
poison_events() { grep -c "cxl_poison:" "$TRACE"/trace; }
list_poison() {
	echo > "$TRACE"/trace
	write 1 "$CXL/$MEMDEV/trigger_poison_list"
}
too_much_poison() {
	dmesg -c > /dev/null
	echo 1 > "$TRACE"/events/cxl/cxl_poison/enable
	cxl_answer cram0 "\"opcode\": $GET_POISON, \"offset\": 10, \"payload\": \"ffff\"" || return
	# None was sent; then one
	! list_poison && said "65535 poison records said to be in 32 bytes" || return
	nr=$(poison_events)
	./qmp '{"execute": "cxl-inject-poison", "arguments": {"path": "cram0", "start": 4096, "length": 64}}' > /dev/null
	list_poison && said "65535 poison records said to be in 48 bytes" || return
	echo "$nr events, then $(poison_events)"
	[ "$nr" = 0 ] && [ "$(poison_events)" = 1 ] || return
	cxl_answer cram0 "\"opcode\": $GET_POISON"
	echo 0 > "$TRACE"/events/cxl/cxl_poison/enable
}

# --- what the driver refuses --------------------------------------------------

refused() { # OPCODE ANSWER WORDS
	dmesg -c > /dev/null
	cxl_answer cram0 "\"opcode\": $1, $2" || return
	write "$DEV" "$DRIVER"/bind 2> /tmp/why
	bound=$?
	cxl_answer cram0 "\"opcode\": $1"
	[ "$bound" != 0 ] || { echo "bound: $3"; return 1; }
	dmesg | grep "$3" || { dmesg; return 1; }
	[ -z "$(cat /sys/devices/system/node/has_private_memory)" ]
}
caps_field() { # OFFSET BYTES WORDS
	refused "$CAPS" "\"offset\": $1, \"payload\": \"$2\"" "$3"
}
bad_caps() {
	caps_field 0 0000000f00000000 "logical size is less than what the region maps" &&
		caps_field 8 0010000000000000 "cells do not hold one page" &&
		caps_field 16 ff0f0000 "takes less than a page of cells" &&
		caps_field 20 00200000 "block is not 4096 bytes" &&
		caps_field 24 0000 "cannot zero a range" &&
		caps_field 26 7e00 "take longer than an eighth of a lease"
}
no_caps() {
	refused "$CAPS" '"length": 12' "does not tell its capabilities" &&
		refused "$CAPS" '"execute": false' "does not tell its capabilities" &&
		refused "$CAPS" '"return-code": 4' "does not tell its capabilities"
}
no_zeroing() { refused "$MEDIA" '"execute": false, "return-code": 4' "cannot zero its memory"; }
bind_up() {
	write "$DEV" "$DRIVER"/bind && NODE=$(cxl_node_wait 10000)
}
bind_down() { write "$DEV" "$DRIVER"/unbind && cxl_node_gone 5000; }
limits_accepted() {
	cxl_answer cram0 "\"opcode\": $CAPS, \"offset\": 24, \"payload\": \"01007d00\"" && bind_up
}
marks_refused() {
	dmesg -c > /dev/null
	cxl_answer cram0 "\"opcode\": $SET_MARKS, \"execute\": false, \"return-code\": 2" && bind_up || return
	dmesg | grep "keeps its own watermarks" && cxl_answer cram0 "\"opcode\": $SET_MARKS"
}

# All trims are of one range, and there are some
one_range() {
	awk '/cram_trim:/ { n++; if (!/ranges=1 /) { print; bad = 1 } } END { print n + 0; exit bad || n < 1 }' "$TRACE"/trace
}
held_below() { [ "$(cxl_query cram0 held)" -lt "$1" ]; }

# --- answers of the bound device ----------------------------------------------

lost_by() { # ANSWER: to Get Capacity; and the node opens when it is true again
	cxl_answer cram0 "\"opcode\": $CAPACITY, $1" && within 10 state_is lost || return
	cxl_answer cram0 "\"opcode\": $CAPACITY" && within 10 state_is open
}
short_answers() {
	lost_by '"length": 63' && lost_by '"length": 0' && lost_by '"execute": false' &&
		lost_by '"return-code": 5' && lost_by '"return-code": 1234'
}
hot_lies() {
	# Two entries, beyond the end and inside a page; then more entries than there are
	far=0000000000000080ffff000000000000 inside=4000000000000000ffff000000000000
	cxl_answer cram0 "\"opcode\": $HOT, \"payload\": \"0200000000000000$far$inside\", \"times\": 2" &&
		sleep 2.5 &&
		cxl_answer cram0 "\"opcode\": $HOT, \"offset\": 0, \"payload\": \"ffff\", \"times\": 1" &&
		sleep 1.5 && state_is open
}

# --- event records ------------------------------------------------------------

events() { grep -c cxl_general_media "$TRACE"/trace; }
some_event() { [ "$(events)" -gt 0 ]; }
# The device makes a record
event() {
	echo > "$TRACE"/trace
	./qmp '{"execute": "cxl-inject-general-media-event", "arguments": {"path": "cram0",
		"log": "informational", "flags": 1, "dpa": 4096, "descriptor": 0, "type": 0,
		"transaction-type": 0}}' > /dev/null
}
# Jiffies that the threads of the device's interrupts and workers have used
busy_time() {
	cat /proc/[0-9]*/stat 2>/dev/null | awk '/\((irq\/|kworker)/ { sub(/.*\) /, ""); sum += $12 + $13 } END { print sum + 0 }'
}
# Less than half of a processor, for two seconds
idle() {
	a=$(busy_time)
	sleep 2
	b=$(busy_time)
	echo "$a $b"
	[ $((b - a)) -lt 100 ]
}
too_many_records() {
	dmesg -c > /dev/null
	cxl_answer cram0 "\"opcode\": $GET_EVENTS, \"offset\": 20, \"payload\": \"ffff\"" && event || return
	within 10 sh -c 'dmesg | grep "65535 event records said to be"' && some_event || return
	# As many as there were, and not what lies behind them
	nr=$(grep -c 'cxl_g[a-z_]*:' "$TRACE"/trace)
	echo "$nr events"
	[ "$nr" -lt 1000 ] && cxl_answer cram0 "\"opcode\": $GET_EVENTS"
}
never_cleared() {
	cxl_answer cram0 "\"opcode\": $CLEAR_EVENTS, \"execute\": false" && event && within 10 some_event || return
	idle && state_is open
}
cleared_later() {
	cxl_answer cram0 "\"opcode\": $CLEAR_EVENTS" || return
	# The next batch is read a second after the last, and is the last
	a=-1 b=$(events)
	while [ "$a" != "$b" ]; do
		sleep 2.2
		a=$b b=$(events)
		[ "$b" -lt 20000 ] || return 1
	done
	echo "$b events"
}
busy_once() {
	cxl_answer cram0 "\"opcode\": $GET_EVENTS, \"execute\": false, \"return-code\": 6, \"times\": 2" && event || return
	! some_event || { echo "too early"; return 1; }
	within 10 some_event
}

# --- time ---------------------------------------------------------------------

lost_lines() { dmesg | grep -c "is lost"; }
stays_open() { # SECONDS
	a=$(lost_lines)
	sleep "$1"
	b=$(lost_lines)
	[ "$a" = "$b" ] && state_is open
}
slow_answers() { # MS
	for d in $DEVICES; do
		cxl_fault "$d" "\"opcode\": $CAPACITY, \"delay\": $1"
	done
}
# Freed ranges are zeroed meanwhile, some of them at least
trims() { awk '/cram_trim:/ { n++ } END { print n + 0 }' "$TRACE"/trace; }
keeps_up() { # OPCODE MS: by all devices, for what they are sent of this; 0 is everything
	user_start one job 8 && demoted one job 6 || return
	for d in $DEVICES; do
		cxl_fault "$d" "\"opcode\": $1, \"delay\": $2"
	done
	echo > "$TRACE"/trace
	echo 1 > "$TRACE"/events/cram/cram_trim/enable
	lost=$(lost_lines)
	user_end one
	within 60 nothing_freed && stays_open 2
	bad=$?
	echo 0 > "$TRACE"/events/cram/cram_trim/enable
	grep cram_trim: "$TRACE"/trace | tail -n 5
	for d in $DEVICES; do
		cxl_fault "$d" "\"opcode\": $1, \"delay\": 0"
	done
	echo "lost $lost, then $(lost_lines) times; $(trims) trims"
	[ "$bad" = 0 ] && [ "$(trims)" -gt 0 ] && [ "$(lost_lines)" = "$lost" ]
}
# Hundredths of a processor that the node's thread takes, for four seconds
thread_time() {
	cat /proc/[0-9]*/stat 2>/dev/null | awk '/\(cramd\// { sub(/.*\) /, ""); sum += $12 + $13 } END { print sum + 0 }'
}
sleeps() {
	a=$(thread_time)
	sleep 4
	b=$(thread_time)
	echo "$((b - a)) of 400"
	[ $((b - a)) -lt 100 ]
}

# --- zeroing that is not over when the answer is there, or does not come ---------

timeouts() { dmesg | grep -c "mailbox timeout (opcode: 0x4402)"; }
timeouts_are() { [ "$(timeouts)" -ge "$1" ]; }
# The driver gives up after two seconds, and the device is through after three. The
# lease goes on, and so do demotions.
zeroed_late() {
	dmesg -c > /dev/null
	node_set lease_ms 20000 && cxl_fault cram0 "\"opcode\": $MEDIA, \"delay\": 3000" || return
	within 90 timeouts_are 2 || { echo "$(timeouts) time-outs"; return 1; }
	before=$(demotions)
	within 30 more_demoted "$before" && ! state_is lost
}
on_time() {
	cxl_fault cram0 "\"opcode\": $MEDIA, \"delay\": 0" && node_set lease_ms 1000
}
nothing_freed() {
	freed=$(sed -n "s/^node $NODE .* freed \([0-9]*\).*/\1/p" /sys/kernel/debug/cram/nodes)
	echo "freed: $freed"
	[ "$freed" = 0 ]
}
# Background Command Started: to a reading, and to a trim
in_background() { # OPCODE
	dmesg -c > /dev/null
	cxl_answer cram0 "\"opcode\": $1, \"background\": true, \"late\": 1000" && within 30 state_is lost &&
		cxl_answer cram0 "\"opcode\": $1" &&
		dmesg | grep "goes on with command $(printf '%#x' "$1") after its answer" || return
	# It is asked no more, so no later answer can make it good
	nr=$(cxl_query cram0 answers)
	sleep 1
	state_is lost && [ "$(cxl_query cram0 answers)" = "$nr" ]
}
bind_anew() { bind_down && bind_up; }
# Zeroing of all memory is begun by a probe that fails
begin_in_background() { # MS: until it is over
	dmesg -c > /dev/null
	zeroed=$(cxl_query cram0 zeroed)
	cxl_answer cram0 "\"opcode\": $MEDIA, \"background\": true, \"late\": $1" || return
	refused_with "" write "$DEV" "$DRIVER"/bind
	cxl_answer cram0 "\"opcode\": $MEDIA"
	dmesg | grep "cannot zero its memory"
}
# What is stored before it ends would be gone then. On a slow machine it has ended too
# early, and takes longer the next time.
bound_too_early() {
	for ms in 5000 20000 80000; do
		begin_in_background "$ms" || return
		if refused_with busy write "$DEV" "$DRIVER"/bind; then
			dmesg | grep "still executes command 0x4402"
			return
		fi
		background_over && bind_down || return
	done
	return 1
}
background_over() { [ "$(cxl_query cram0 zeroed)" != "$zeroed" ]; }

# --- answers at random ----------------------------------------------------------

# Commands for qmp, one a line: an answer, and sometimes an event. Content is not touched
# by what these say: no answer has a reset that was none, none goes on in the background
# or comes late. With LOSSY it may.
random_answers() { # SEED LOSSY
	awk -v seed="$1" -v lossy="$2" -v capacity="$CAPACITY" -v hot="$HOT" -v events="$GET_EVENTS" \
		-v clear="$CLEAR_EVENTS" -v marks="$SET_MARKS" -v media="$MEDIA" '
	function below(n) { return int(rand() * n) }
	function bytes(n,  s) { while (n-- > 0) s = s sprintf("%02x", below(3) ? below(256) : 255 * below(2)); return s }
	function code() { return below(2) ? 2 + below(40) : 2 + below(65534) }
	function command(name, arguments) {
		printf "{\"execute\": \"cxl-%s\", \"arguments\": {\"path\": \"cram0\", %s}}\n", name, arguments
	}
	BEGIN {
		srand(seed)
		n = split(capacity " " capacity " " capacity " " hot " " events " " clear " " marks " " media, ops, " ")
		for (i = 0; i < 2000; i++) {
			op = ops[1 + below(n)]
			kind = below(4)
			if (kind == 0) {
				len = 1 + below(8)
				# Bytes 32 to 39 of a reading count resets
				at = below(64 - len)
				if (op == capacity && !lossy && at < 40 && at + len > 32)
					at = 40
				what = sprintf("\"offset\": %d, \"payload\": \"%s\"", at, bytes(len))
			} else if (kind == 1) {
				what = sprintf("\"length\": %d", below(80))
			} else if (kind == 2) {
				what = sprintf("\"execute\": false, \"return-code\": %d", code())
			} else {
				what = sprintf("\"return-code\": %d", code())
			}
			command("cram-set-answer", sprintf("\"opcode\": %d, %s, \"times\": %d", op, what, 1 + below(6)))
			if (!below(10))
				command("inject-general-media-event", "\"log\": \"informational\", \"flags\": 1, " \
					"\"dpa\": 4096, \"descriptor\": 0, \"type\": 0, \"transaction-type\": 0")
		}
	}'
}
at_random() { # SECONDS LOSSY
	end=$(($(uptime_ms) + $1 * 1000))
	nr=0
	random_answers "$SEED" "$2" > /tmp/answers
	while [ "$(uptime_ms)" -lt "$end" ]; do
		sed -n "$((nr + 1)),$((nr + 8))p" /tmp/answers | ./qmp - > /tmp/answered
		nr=$((nr + 8))
		# What was found to be untrue is believed again
		node_set state open 2> /dev/null
	done
	for op in $CAPACITY $HOT $GET_EVENTS $CLEAR_EVENTS $SET_MARKS $MEDIA; do
		cxl_answer cram0 "\"opcode\": $op"
	done
	cat /tmp/answered
	echo "seed $SEED, $nr commands"
	[ "$nr" -gt 8 ] && grep -q return /tmp/answered
}
reopens() { node_set state open && state_is open; }

# A device that says that it has failed, and does it all the same, later
meets_wrong_bytes() { # NAME...
	cxl_answer cram0 "\"opcode\": $MEDIA, \"late\": 2000, \"return-code\": 4" || return
	within 60 somebody_died "$@"
}
somebody_died() {
	for name; do
		user_alive "$name" || { cat "/tmp/$name.log"; return; }
	done
	return 1
}

echo "TAP version 13"
cgroups job
cxl_devices "$WAYS" || { echo "Bail out! no devices"; exit 1; }

if [ "$WAYS" = 2 ]; then
	echo "1..4"
	DEVICES="cram0 cram1"
	# shellcheck disable=SC2046 # a list
	REGION=$(cxl_region_make 2 4096 $(cxl_memdevs))
	cxl_region_bind "$REGION" && NODE=$(cxl_node_wait 20000)
	check "two devices are a node" state_is open
	slow_answers 270
	sleep 1
	check "two that take 270 ms each do not take 540" stays_open 6
	slow_answers 0
	check "and answer soon again" within 10 state_is open
	# A lease is a second
	check "two that zero for 560 ms each do not for 1120" keeps_up $MEDIA 560
	exit $failed
fi

echo "1..45"
: "${SEED:=$(date +%s)}"
echo "# seed $SEED"
DEVICES=cram0
MEMDEV=$(cxl_memdevs)
PCI=$(readlink -f "$CXL/$MEMDEV/..")
PCI=${PCI##*/}

check "memory that firmware has reserved stays unused, as it may be compressed" reserved
check "memory in use as ordinary stays that, with a warning" ordinary
check "more logs than were sent" too_many_logs
check "a log of a size that cannot be" too_long_a_log
check "more poison than was sent" too_much_poison

check "Features that are busy: not ordinary memory" unreadable '"execute": false, "return-code": 6'
check "Features that end too early: not ordinary memory" unreadable '"length": 8'
check "Features that are there: compressed memory" readable

check "capabilities that cannot be are refused" bad_caps
check "no capabilities are refused, too" no_caps
check "memory that cannot be zeroed is refused" no_zeroing
check "watermarks that are refused are done without" marks_refused
bind_down
echo 1 > "$TRACE"/events/cram/cram_trim/enable
check "the least that is permitted is accepted" limits_accepted
user_start one job 8
check "pages are demoted" demoted one job 6
user_end one
check "freed pages are zeroed" within 30 held_below 65536
check "one range at a time" one_range
echo 0 > "$TRACE"/events/cram/cram_trim/enable
cxl_answer cram0 "\"opcode\": $CAPS"
bind_down
check "the device is bound again" bind_up

check "short answers, and errors, are no answers" short_answers
check "hot pages that there are none of do no harm" hot_lies

echo 1 > "$TRACE"/events/cxl/cxl_general_media/enable
echo 1 > "$TRACE"/events/cxl/cxl_generic_event/enable
check "more event records than were sent" too_many_records
check "a record that is never cleared does not keep the thread busy" never_cleared
check "what was left is read when it can be" cleared_later
check "a log that could not be read is read again" busy_once

slow_answers 100
check "who waits for an answer sleeps" sleeps
slow_answers 0
check "a device that takes its time for everything keeps its lease" keeps_up 0 125

for u in a b; do user_start "$u" job 12; done
busy a b
check "zeroing that comes about after the driver gave it up" zeroed_late
check "has zeroed nothing that was in use" calm a b
check "all content is right" user_verify a b
on_time
check "what was freed is zeroed in the end" within 60 nothing_freed

busy a b
check "answers at random, while the node is in use" at_random 15 0
check "nothing is lost by them" calm a b
check "all content is right" user_verify a b
check "with its own answers again, the node opens" within 60 reopens

busy a b
check "a trim that goes on in the background closes the node" in_background $MEDIA
check "and nothing is lost by it" calm a b
check "all content is right" user_verify a b
check "the driver bound anew uses the device again" bind_anew
check "so does a reading, and so is that" in_background $CAPACITY
bind_down
check "while memory is zeroed in the background the device is not used" bound_too_early
user_start one job 8
check "it is when that is over" within 60 bind_up
check "pages are demoted" demoted one job 6
within 60 background_over
check "and their content stays" user_verify a b one
user_end one

busy a b
check "control: zeroing that was not to be expected does" meets_wrong_bytes a b
cxl_answer cram0 "\"opcode\": $MEDIA"

# Whoever has pages there may be told that they are lost
check "answers at random, with resets that were none" at_random 8 1
check "the driver bound anew uses the device again" within 60 bind_anew
exit $failed
