#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# usage: tools/cramcg/tests/tree.sh DIR
#
# Make a recorded tree in DIR: what cgroupfs, sysfs and proc say on a machine with two
# cram nodes and a few cgroups, as copies in ordinary files.  "cramcg --root DIR" takes
# it for the machine.  The texts were taken from the real kernel.
set -eu
case ${1-} in ''|-h|--help) sed -n '3,/^[^#]/{/^#/!q;s/^# \{0,1\}//;p}' "$0"; exit 0 ;; esac
root=$1
cg=$root/sys/fs/cgroup

put() { # FILE TEXT...
	mkdir -p "${1%/*}"
	local file=$1
	shift
	printf '%s\n' "$@" > "$file"
}

stat_file() { # FILE DEMOTE PROMOTE_WRITE REFUSE_MAX REFUSE_ROOM READONLY WRITABLE ESTIMATE
	put "$1" "demote $2" "upgrade 12" "promote_write $3" "promote_hot 3" \
		"promote_reclaim 0" "promote_forced 0" "writeback 7" "revoke 0" "recycle 2" \
		"refuse_off 0" "refuse_memcg 0" "refuse_right 0" "refuse_max $4" "refuse_state 0" \
		"refuse_room $5" "refuse_page 0" "refuse_content 0" "promote_hot_refused 0" "readonly $6" "writable $7" \
		"compressed_estimate $8"
}

cgroup() { # PATH CURRENT MAX LOW BUDGET WRITABLE EFFECTIVE
	local d=$cg$1
	mkdir -p "$d"
	put "$d/cgroup.controllers" "memory cram"
	put "$d/cgroup.subtree_control" "memory cram"
	put "$d/cgroup.procs" ""
	put "$d/cram.nodes" ""
	put "$d/cram.nodes.effective" "1-2"
	put "$d/cram.current" "$2"
	put "$d/cram.peak" "$2"
	put "$d/cram.max" "$3"
	: > "$d/cram.node.max"
	put "$d/cram.page.max" max
	put "$d/cram.low" "$4"
	put "$d/cram.writable_budget" "$5"
	put "$d/cram.writable_budget.effective" "$7"
	put "$d/cram.writable_current" "$6"
	: > "$d/cram.reclaim"
	put "$d/cram.events" "max 5" "budget 0" "node_low 0" "node_critical 0" "node_lost 0" \
		"node_open 1" "revoke 0" "evict 2" "poison 0"
	cp "$d/cram.events" "$d/cram.events.local"
	put "$d/cram.numa_stat" "resident N1=$2 N2=0"
}

node() { # NUMBER STATE LOGICAL PHYSICAL FREE USED RATIO
	local d=$root/sys/devices/system/node/node$1/cram
	put "$d/state" "$2"
	put "$d/logical_bytes" "$3"
	put "$d/physical_bytes" "$4"
	put "$d/physical_free_bytes" "$5"
	put "$d/free_bound_bytes" "$5"
	put "$d/used_bytes" "$6"
	put "$d/ratio" "$7"
	put "$d/writable_bytes" 8388608
	put "$d/writable_budget" auto
	put "$d/reserve_bytes" 8388608
	put "$d/page_max" max
	put "$d/low_bytes" 33554432
	put "$d/critical_bytes" 16777216
	put "$d/class" compressed
	put "$d/lease_ms" 1000
	put "$d/promote_hot_bytes_per_sec" 16777216
	put "$d/over_capacity" 0
}

mkdir -p "$cg"
put "$cg/cgroup.controllers" "cpuset cpu io memory pids cram"
put "$cg/cgroup.subtree_control" "memory cram"
put "$cg/cgroup.procs" 1
cgroup /tenants 167772160 268435456 0 134217728 8388608 134217728
stat_file "$cg/tenants/cram.stat" 60000 900 1500 20 159383552 8388608 62914560
cgroup /tenants/a 100663296 134217728 67108864 67108864 8388608 67108864
stat_file "$cg/tenants/a/cram.stat" 40000 800 1500 0 92274688 8388608 33554432
cgroup /tenants/b 67108864 max 0 inherit 0 134217728
stat_file "$cg/tenants/b/cram.stat" 20000 100 0 20 67108864 0 29360128
cgroup /idle 0 max 0 inherit 0 0
stat_file "$cg/idle/cram.stat" 0 0 0 0 0 0 0
cgroup /system.slice 0 max 0 inherit 0 0
stat_file "$cg/system.slice/cram.stat" 0 0 0 0 0 0 0
cgroup /system.slice/redis.service 4194304 8388608 0 inherit 0 0
stat_file "$cg/system.slice/redis.service/cram.stat" 1024 0 0 0 4194304 0 2097152
odd='/odd name
with \x1b and '$'\x1b[31m\xff'
cgroup "$odd" 4096 1048576 0 inherit 0 0
stat_file "$cg$odd/cram.stat" 1 0 0 0 4096 0 4096
# A cgroup without cram in it
mkdir -p "$cg/plain/below"
put "$cg/plain/cgroup.controllers" memory
put "$cg/plain/cgroup.subtree_control" ""
put "$cg/plain/below/cgroup.controllers" memory

node 1 open 536870912 268435456 205520896 171966464 2.73
node 2 low 268435456 134217728 20971520 0 0.00
put "$root/sys/kernel/mm/cram/enabled" 1
put "$root/proc/swaps" "Filename Type Size Used Priority" "/dev/zram0 partition 1048572 0 -2"
put "$root/proc/cmdline" "console=ttyS0 cram_sim=512M"
put "$root/proc/cgroups" "#subsys_name hierarchy num_cgroups enabled" "memory 0 9 1" "cram 0 9 1"
put "$root/proc/100/cgroup" "0::/tenants/a"
put "$root/proc/100/comm" "worker"
put "$root/proc/100/numa_maps" "7f00 default anon=4096 N0=96 N1=4000 kernelpagesize_kB=4"
mapping() { # PID RANGE RIGHTS INODE NAME FLAGS RSS REFERENCED ANONYMOUS CRAM
	printf '%s %s 00000000 00:00 %s    %s\nRss: %s kB\nReferenced: %s kB\nAnonymous: %s kB\nKSM: 0 kB\nCram: %s kB\nSwap: 0 kB\nVmFlags: rd wr mr %s \n' \
		"$2" "$3" "$4" "$5" "$7" "$8" "$9" "${10}" "$6" >> "$root/proc/$1/smaps"
}
rollup() { # PID RSS CRAM SWAP
	put "$root/proc/$1/smaps_rollup" "550000000000-7fff00000000 ---p 00000000 00:00 0    [rollup]" \
		"Rss: $2 kB" "Anonymous: $2 kB" "Cram: $3 kB" "Swap: $4 kB"
}
mapping 100 550000000000-550000010000 r-xp 77 /usr/bin/worker "ex" 64 64 0 0
mapping 100 550000400000-550004400000 rw-p 0 "[heap]" "ac" 65536 0 65536 1024
mapping 100 7f0000000000-7f0000400000 rw-p 0 "" "ac" 4096 4096 4096 0
mapping 100 7f0001000000-7f0001100000 rw-p 0 "[anon:cache]" "ac lo" 1024 1024 1024 0
mapping 100 7f0002000000-7f0002100000 rw-s 78 "/dev/shm/x" "sh" 1024 0 0 0
mapping 100 7f0003000000-7f0003200000 rw-p 0 "" "de ht" 0 0 0 0
mapping 100 7f0004000000-7f0004100000 rw-p 0 "" "io pf" 8 0 0 0
mapping 100 7f0005000000-7f0005100000 rw-p 0 "" "dp" 8 0 8 0
mapping 100 7fff00000000-7fff00004000 r-xp 0 "[vdso]" "de" 8 8 0 0
rollup 100 75000 1024 0
: > "$root/proc/100/clear_refs"
put "$root/proc/101/cgroup" "0::/plain/below"
put "$root/proc/102/cgroup" "0::/../outside"
put "$root/proc/self/cgroup" "0::/tenants/b"
