#!/bin/sh
# SPDX-License-Identifier: GPL-2.0
#
# Does the model device count what it should, and misbehave when told to? The
# other suites take its word for what happened, so each of its oracles is made
# to fire here.
# shellcheck disable=SC2317 # tests are called by check()

cd "$(dirname "$0")" || exit 1
. ./lib-tap.sh

driver=/sys/bus/platform/drivers/cram_sim
sim=/sys/kernel/debug/cram_sim/0
node=$(ls -d /sys/devices/system/node/node*/cram)

get() {
	cat "$sim/$1"
}
set_to() { # FILE VALUE...
	f=$1
	shift
	echo "$*" > "$sim/$f"
}
is() { # FILE VALUE
	v=$(get "$1")
	echo "$1: $v, expected $2"
	[ "$v" = "$2" ]
}
refused() { # FILE VALUE...
	! (set_to "$@") 2>/dev/null
}
cells_of() { # PFN
	within 5 is pending 0 > /dev/null || return
	set_to cells_of "$1" && get cells_of
}
node_is() { # FILE VALUE
	v=$(cat "$node/$1")
	echo "$1: $v, expected $2"
	[ "$v" = "$2" ]
}

# No page of the node is in use in this suite, so any will do.
page() { # INDEX
	echo $(($(get start_pfn) + $1))
}

# ---------------------------------------------------------------------- tests

empty() {
	bytes=$(($(get nr_pages) * 4096))
	is physical $((bytes / 2)) && is physical_free $((bytes / 2)) &&
		is used 0 && is pending 0 && is open 0 && is ratio 0.00 &&
		is over_capacity 0 && is unannounced 0
}

content() { # PATTERN MIN MAX
	pfn=$(page 17)
	set_to store "$pfn" "$1" && is store "$pfn" || return
	cells=$(cells_of "$pfn")
	echo "$1: $cells"
	[ "$cells" -ge "$2" ] && [ "$cells" -le "$3" ] && is used "$cells"
}

sums() {
	for i in $(seq 0 99); do
		set_to store "$(page "$i")" random || return
	done
	within 5 is pending 0
	is used $((100 * 4160)) && is physical_free $(($(get physical) - 100 * 4160)) &&
		is ratio 0.98 || return
	for i in $(seq 0 99); do
		set_to store "$(page "$i")" zero || return
	done
	within 5 is pending 0
	is used 0
}

free_page() {
	set_to store free half || return
	pfn=$(get store)
	[ "$pfn" -ge "$(page 0)" ] || return
	[ "$(cells_of "$pfn")" -gt 2048 ] || return
	set_to store "$pfn" zero
	within 5 is used 0
}

reaches_engine() {
	readings=$(get readings)
	set_to store "$(page 0)" random
	within 5 node_is physical_free_bytes $(($(get physical) - 4160)) || return
	[ "$(get readings)" -gt "$readings" ] || return
	# Nobody had announced that one, so the engine has closed the node.
	within 5 node_is state lost || return
	set_to store "$(page 0)" zero
	within 5 node_is physical_free_bytes "$(get physical)" || return
	reopen
}

reopen() {
	echo open > "$node/state" && node_is state open
}

lie() {
	set_to lie 12345678
	within 5 node_is physical_free_bytes 12345678 || return
	is physical_free "$(get physical)" || return
	node_is state lost || return
	set_to lie -1
	within 5 node_is physical_free_bytes "$(get physical)" || return
	node_is state lost && reopen
}

silence() { # KNOB VALUE
	node_is state open || return
	set_to "$1" "$2"
	within 5 node_is state lost || return
	set_to "$1" 0
	within 5 node_is state open
}

# read_more N: the device has been asked so many times since $readings
read_more() { [ "$(get readings)" -ge $((readings + $1)) ]; }
late() {
	node_is state open || return
	set_to delay_ms 100
	readings=$(get readings)
	# The state is looked at each time that the device is
	for asked in 2 4 6 8; do
		within 20 read_more "$asked" && node_is state open || return
	done
	set_to delay_ms 0
}

announced() {
	set_to store "$(page 5)" half
	within 5 is pending 0
	set_to patrol 1
	is unannounced 0
}

unannounced() {
	set_to store "$(page 5)" half quiet
	set_to store "$(page 6)" same quiet
	set_to patrol 1
	is unannounced 2 || return
	dmesg | grep 'cram_sim.0: unannounced store to pfn' || return
	# What is known now is not found again, and its cells are counted
	set_to patrol 1
	is unannounced 2 || return
	[ "$(cells_of "$(page 6)")" = 64 ]
}

background_patrol() {
	set_to patrol_rate "$(get nr_pages)"
	set_to store "$(page 7)" random quiet
	within 30 is unannounced 3 || return
	set_to patrol_rate 0
	# The round that it is on ends as it began: with this one.
	set_to patrol 1
	# A round would begin within a second
	set_to store "$(page 7)" half quiet
	sleep 2
	is unannounced 3 || return
	set_to patrol 1
	is unannounced 4
}

over_capacity() {
	physical=$(get physical)
	for i in $(seq 0 9); do set_to store "$(page "$i")" random; done
	within 5 is pending 0
	set_to physical $((10 * 4160 + 64))
	is over_capacity 0 && is physical_free 64 || return
	# Another content in the same cells, and one in the last ones
	set_to store "$(page 3)" random
	set_to store "$(page 10)" same
	within 5 is pending 0
	is over_capacity 0 && is physical_free 0 || return
	set_to store "$(page 11)" same
	within 5 is pending 0
	is over_capacity 1 && is physical_free 0 || return
	dmesg | grep 'cram_sim.0: no cell for a store to pfn' || return
	set_to physical "$physical"
	within 5 node_is over_capacity 1
}

bad_values() {
	refused physical 0 && refused fail 5000 && refused fail -1 &&
		refused delay_ms -1 && refused cells_of 0 &&
		refused cells_of "$(page "$(get nr_pages)")" &&
		refused store "$(page 0)" sometimes && refused store "$(page 0)" &&
		refused store "$(page 0)" zero loud && refused store 1 zero &&
		refused store any zero && refused store "$(page "$(get nr_pages)")" zero
}

unbind() {
	echo cram_sim.0 > "$driver/unbind" && [ ! -e "$node" ] && [ ! -e "$sim" ] &&
		! grep cram_sim /proc/iomem
}
bind() {
	echo cram_sim.0 > "$driver/bind" && [ -e "$node" ] && node_is state open
}
fresh() {
	set_to store "$(page 1)" random quiet
	set_to store "$(page 2)" random
	set_to physical 1234567
	set_to settle_ms 7
	unbind && bind && empty && is settle_ms 50 || return
	set_to patrol 1
	is unannounced 0
}
# lose KIB: at least so much, in inodes, of which each takes more than 512 bytes
lose() {
	mkdir -p "/dev/shm/lost/$round"
	for i in $(seq $(($1 * 2))); do : > "/dev/shm/lost/$round/$i"; done
}
# cycles N [KIB]: so many; losing so much in each
cycles() {
	for round in $(seq "$1"); do
		echo "round $round"
		set_to store "$(page "$round")" random
		unbind && bind && is used 0 || return
		[ -z "${2-}" ] || lose "$2" || return
	done
}
# What the kernel has allocated for itself, kB.  MemFree would not do: free lists, caches
# and programs move it by more than is looked for here.  What RCU and workers have yet to
# free is in it: read until two readings agree.
kernel_memory() {
	last=0
	for _ in $(seq 20); do
		echo 1 > /proc/sys/vm/stat_refresh
		echo 2 > /proc/sys/vm/drop_caches
		taken=$(awk '/^(SUnreclaim|VmallocUsed|Percpu):/ { kib += $2 }
			$1 == "nr_memmap_pages" { kib += $2 * 4 }
			END { print kib }' /proc/meminfo /proc/vmstat)
		[ "$taken" -le $((last + 64)) ] && [ "$taken" -ge $((last - 64)) ] && break
		last=$taken
		sleep 0.2
	done
	echo "$taken"
}
# What slots take: 4 bytes for each page
slots_kib() { echo $(($(get nr_pages) / 256)); }
# Ten cycles lose less than half of a node's slots each. Other things take memory, too,
# but not each time: a leak goes on.
nothing_lost() { # TRIES [KIB]
	lost=0
	for _ in $(seq "$1"); do
		limit=$((10 * $(slots_kib) / 2))
		before=$(kernel_memory)
		cycles 10 "${2-}" || return
		after=$(kernel_memory)
		echo "kernel memory: $before, then $after kB; less than $limit may be lost"
		lost=$((after - before))
		[ "$lost" -ge "$limit" ] || return 0
	done
	return 1
}
# The control: as much as slots is lost in each cycle
loss_noticed() {
	! nothing_lost 1 "$(slots_kib)" && [ "$lost" -ge "$limit" ]
	status=$?
	rm -rf /dev/shm/lost
	return "$status"
}
while_silent() { # KNOB VALUE
	readings=$(get readings)
	set_to "$1" "$2"
	# It is being asked, and does not answer
	within 20 read_more 1 || return
	sleep 0.5
	unbind && bind
}
while_busy() {
	for i in $(seq 0 50); do set_to store "$(page "$i")" half; done
	(echo 1 > "$sim/patrol") 2>/dev/null &
	unbind && bind && empty
	status=$?
	wait
	return "$status"
}
among_signals() {
	trap : USR1
	while kill -USR1 $$; do :; done &
	killer=$!
	unbind && bind
	status=$?
	trap '' USR1
	kill "$killer"
	return "$status"
}

# dd keeps what it read in anonymous memory while nobody takes it
tenant=/sys/fs/cgroup/tenant
resident() { # MIB
	echo "+memory +cram" > /sys/fs/cgroup/cgroup.subtree_control
	mkdir "$tenant" && mkfifo /tmp/fifo || return
	sh -c 'sleep 1000' < /tmp/fifo &
	reader=$!
	sh -c "echo \$\$ > $tenant/cgroup.procs; exec dd if=/dev/urandom of=/tmp/fifo bs=$1M count=1" &
	within 20 awk "/^anon / { exit \$2 < $1 * 1000000 }" "$tenant/memory.stat"
	within 20 sh -c "echo $1M > $tenant/memory.reclaim; [ \$(cat $tenant/cram.current) -ge $(($1 * 1000000)) ]"
}
vacate() {
	kill "$reader"
	rm /tmp/fifo
	within 10 sh -c "! grep -q . $tenant/cgroup.procs" && rmdir "$tenant"
}
while_resident() {
	resident 64 || return
	[ "$(get used)" -ge 64000000 ] || return
	sh -c "echo cram_sim.0 > $driver/unbind" &
	victim=$!
	# That goes first; the draining that then begins takes longer
	within 10 [ ! -e "$sim" ]
	kill -9 "$victim"
	wait "$victim"
	[ ! -e "$sim" ] && [ -e "$node" ] || return
	within 5 node_is state lost || return
	echo cram_sim.0 > "$driver/bind" && within 5 node_is state open || return
	[ "$(get used)" -gt 0 ] && is over_capacity 0 || return
	vacate && within 10 is used 0 || return
	set_to patrol 1
	is unannounced 0
}

echo "TAP version 13"
echo "1..26"
check "a fresh device is empty" empty
check "a page of zeroes holds no cells" content zero 0 0
check "a repeated word holds metadata" content same 64 64
check "half a page of noise holds half a page" content half 2112 2304
check "noise holds cells_per_page" content random 4160 4160
check "and a page of zeroes none again" content zero 0 0
check "cells of many pages add up" sums
check "an allocated page works as any" free_page
check "the engine sees what changed" reaches_engine
check "a lie reaches the engine, the truth remains" lie
check "a device that fails is lost, and comes back" silence fail 5
check "so is one that answers too late" silence delay_ms 3000
check "so is one that does not answer" silence drop 1
check "one that answers late enough is not" late
check "announced stores are no news to the patrol" announced
check "the patrol finds stores that nobody announced" unannounced
check "so it does in the background, if it may" background_patrol
check "a store without a cell is counted, others are not" over_capacity
check "bad values are refused" bad_values
check "a device that was bound again is fresh" fresh
check "unbind and bind, again and again: nothing is lost" nothing_lost 3
check "control: what loses as much as slots is noticed" loss_noticed
check "unbind while an answer is withheld" while_silent drop 1
check "unbind while the device is busy" while_busy
check "unbind while signals come in" among_signals
check "unbind while pages are resident, killed: the node stays, and comes back" while_resident
exit $failed
