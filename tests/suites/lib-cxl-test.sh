#!/bin/sh
# SPDX-License-Identifier: GPL-2.0
#
# What the tests of the CXL driver share, sourced after lib-cxl.sh and lib-tap.sh:
# processes with memory (tests/emulator/cxl_user.c), and what becomes of them.
#
#   refused_with WORDS COMMAND...    it fails, and says so
#   node_up                          a region of MEMDEV (mem0) becomes an open node:
#                                    sets REGION, NODE, DEV, PCI and PORT
#   unplug, pull, plug               the device goes, orderly or by surprise, and is back
#   user_start NAME CGROUP MIB [WORDS], user_ask NAME WORD, user_end NAME
#   user_alive NAME
#   busy NAME...                     they write, read and demote, and have begun to;
#   calm NAME...                     they cease to, and have met no wrong byte
#   hold_pages NAME CGROUP MIB       demotes so much, and keeps references to some
#   stuck                            the driver has gone, and pages have stayed
#   held_lost NAME...                nobody can read what is held any more
#
# shellcheck shell=sh
# shellcheck disable=SC2034

DRIVER=/sys/bus/cxl/drivers/cxl_cram
CGROOT=/sys/fs/cgroup

refused_with() {
	why=$1
	shift
	if "$@" 2> /tmp/why; then
		echo "not refused"
		return 1
	fi
	grep "$why" /tmp/why || { cat /tmp/why; return 1; }
}
write() { # VALUE FILE
	sh -c 'echo "$0" > "$1"' "$1" "$2"
}

# Milliseconds since boot
uptime_ms() { awk '{ print int($1 * 1000) }' /proc/uptime; }

# --- the node -----------------------------------------------------------------

node_up() {
	cxl_devices 1 || { echo "no device"; return 1; }
	: "${MEMDEV:=mem0}"
	REGION=$(cxl_region_make 1 4096 "$MEMDEV") || return
	DEV=cram_region${REGION#region}
	PCI=$(readlink -f "$CXL/$MEMDEV/..")
	PORT=${PCI%/*}
	PCI=${PCI##*/} PORT=${PORT##*/}
	t0=$(uptime_ms)
	cxl_region_bind "$REGION" || return
	NODE=$(cxl_node_wait 20000) || return
	TOOK=$(($(uptime_ms) - t0))
}
node_file() { cat "/sys/devices/system/node/node$NODE/cram/$1"; }
node_set() { write "$2" "/sys/devices/system/node/node$NODE/cram/$1"; }
state_is() { [ "$(node_file state)" = "$1" ]; }

# --- unplugged, and back ---------------------------------------------------------

device_gone() { ! find "$CXL/" -name 'mem*' | grep -q .; }
unplug() {
	./qmp '{"execute": "device_del", "arguments": {"id": "cram0"}}' &&
		within 60 device_gone && cxl_node_gone 30000
}
pull() {
	./pci_pull "$PORT" && within 60 device_gone && cxl_node_gone 60000
}
add() {
	./qmp '{"execute": "device_add", "arguments": {"driver": "cxl-cram", "id": "cram0",
		"bus": "cxlrp0", "sn": 1, "volatile-memdev": "cxlmem0", "physical-size": 67108864}}' 
}
# The thread of its interrupt, which does all of it
pciehp_idle() {
	thread=$(grep -lsx 'irq/[0-9]*-pciehp' /proc/[0-9]*/comm)
	[ "$(cut -d' ' -f3 "${thread%comm}stat")" = S ]
}
slot_is() { # on|off, for good
	./pci_pull "$PORT" "$1" && pciehp_idle && ./pci_pull "$PORT" "$1"
}
slot_at_rest() { slot_is on || slot_is off; }
# The device comes back, and the region is made anew. That is a press of the slot's
# attention button, too, and must not come before pciehp is done with the slot:
# - It turns the indicator off a second after the power, when drivers are long
#   gone, and QEMU ejects what is in a slot whose power and indicator go off.
# - Then it looks whether there is a new card, and takes the press, which it sees
#   last, for a wish to have it turned off again.
# The name of the old device may be taken for a moment longer.
add_for_good() {
	within 60 slot_is off && within 30 add && within 60 slot_at_rest && slot_is on
}
plug() {
	echo "$REGION" > "$CXL_ROOT/delete_region"
	add_for_good || { echo "again"; add_for_good; } || return
	within 60 cxl_ready 1 && MEMDEV=$(cxl_memdevs) && node_up
}

# --- processes ----------------------------------------------------------------

cgroups() { # NAME...
	echo "+memory +cram" > $CGROOT/cgroup.subtree_control
	for c; do mkdir -p "$CGROOT/$c"; done
}
cg_file() { cat "$CGROOT/$1"; }

user_start() {
	name=$1 cg=$2
	shift 2
	rm -f "/tmp/$name".*
	mkfifo "/tmp/$name.in"
	./cxl_user "/tmp/$name" "$CGROOT/$cg" "$@" > "/tmp/$name.log" 2>&1 &
	echo $! > "/tmp/$name.pid"
	within 60 test -e "/tmp/$name.out"
}
user_alive() {
	case $(sed 's/.*) //' "/proc/$(cat "/tmp/$1.pid")/stat" 2>/dev/null) in
	''|Z*) return 1 ;;
	esac
}
user_say() { # NAME WORD
	rm -f "/tmp/$1.out"
	! user_alive "$1" || echo "$2" > "/tmp/$1.in"
}
user_answered() { [ -e "/tmp/$1.out" ] || ! user_alive "$1"; }
user_hear() { # NAME
	within "${PATIENCE:-120}" user_answered "$1"
	cat "/tmp/$1.out" 2>/dev/null || { cat "/tmp/$1.log"; return 1; }
}
user_ask() {
	user_say "$1" "$2"
	user_hear "$1"
}
user_verify() { # NAME...
	for name; do
		answer=$(user_ask "$name" verify)
		[ "$answer" = ok ] || { echo "$name: $answer"; return 1; }
	done
}
user_end() {
	user_say "$1" quit
	wait "$(cat "/tmp/$1.pid")"
}
# Killed by SIGBUS when it touches its memory, or does WORD
user_dies() { # NAME [WORD]
	user_ask "$1" "${2-touch}"
	! user_alive "$1" || return 1
	wait "$(cat "/tmp/$1.pid")" 2>/dev/null
	status=$?
	echo "status $status"
	[ "$status" = 135 ]
}

demotions() { awk '$1 == "cram_demote" { print $2 }' /proc/vmstat; }
more_demoted() { # NUMBER
	[ "$(demotions)" -gt "$1" ]
}
busy() {
	before=$(demotions)
	for name; do user_say "$name" churn; done
	within 60 more_demoted $((before + 500))
}
calm() {
	for name; do
		answer=$(user_ask "$name" stop)
		[ "$answer" = stop ] || { echo "$name: $answer"; return 1; }
	done
}

# The region of a held page is about to go, or has gone. hold_pages NAME CGROUP MIB
hold_pages() {
	demoted "$1" "$2" "$3" && [ "$(user_ask "$1" hold)" = hold ]
}
stuck() { # since the driver went
	dmesg | grep "node $NODE stays until reboot" && state_is lost
}
# Held pages cannot be read any more, neither from the pipe nor through the mapping
held_lost() { # NAME...
	for name; do
		answer=$(user_ask "$name" take)
		[ "$answer" = "I/O error" ] || [ "$answer" = "Input/output error" ] ||
			{ echo "$name takes from the pipe: $answer"; return 1; }
		user_dies "$name" verify || { echo "$name lives: $(cat "/tmp/$name.out")"; return 1; }
	done
}

# --- books --------------------------------------------------------------------

resident_more() { [ "$(cg_file "$1/cram.current")" -ge "$2" ]; }

# demoted NAME CGROUP MIB: at least so much, within some rounds
demoted() {
	for _ in $(seq 100); do
		user_ask "$1" pageout > /dev/null
		resident_more "$2" $(($3 << 20)) && return 0
		sleep 0.1
	done
	echo "resident: $(cg_file "$2/cram.current")"
	grep refuse "$CGROOT/$2/cram.stat"
	return 1
}
books_zero() { # CGROUP...
	for c; do
		[ "$(cg_file "$c/cram.current")" = 0 ] || { echo "$c: $(cg_file "$c/cram.current")"; return 1; }
	done
	awk '$1 == "nr_cram" { print; seen = 1; if ($2) exit 1 } END { if (!seen) exit 1 }' /proc/vmstat &&
		awk '$1 == "Cram:" { print; if ($2) exit 1 }' /proc/meminfo
}
recovery_lines() { dmesg | grep -c "recovery action for"; }

# --- a device that has gone, or lost its content ------------------------------

others_live() { user_alive other && user_verify other; }
# One line for each page would fill the log.
few_lines() { # PAGES
	echo "$(recovery_lines) lines for $1 pages"
	[ "$(recovery_lines)" -lt 100 ]
}
nothing_poisoned() { awk '$1 == "HardwareCorrupted:" { print; if ($2) exit 1 }' /proc/meminfo; }
# A new node takes pages of a new process
usable() {
	user_start third job 8 && demoted third job 6 && user_verify third && user_end third &&
		within 30 books_zero job
}
