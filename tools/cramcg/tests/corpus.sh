#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# usage: tools/cramcg/tests/corpus.sh DIR
#
# The seeds of the fuzzer: one file for each parser (the first byte chooses it), and what
# once made one fail.
set -eu
case ${1-} in ''|-h|--help) sed -n '3,/^[^#]/{/^#/!q;s/^# \{0,1\}//;p}' "$0"; exit 0 ;; esac
mkdir -p "$1"
n=0
dir=$1
seed() { # PARSER TEXT
	n=$((n + 1))
	printf '%b' "$2" > "$dir/$1-$n"
}
seed size '\0064M'
seed nodes '\0011,3-4'
seed keyed '\002demote 5\nupgrade 7\n'
seed numa '\003resident N1=4096 N3=0\n'
seed conf '\004# x\n[cgroup /a\\x0a\\\\]\nmax = 64M\nnode.max=N1:1M\n[node 1]\nlow_bytes=1M\n[machine]\nenabled=1\n'
seed name '\005a\\x41\033\377b ]'
seed cgroup '\006node.max=N1:64M'
seed cgroup '\006nodes=1,3-4'
seed cgroup '\006writable_budget=inherit'
seed node '\007lease_ms=1000'
seed look '\0107 1 2 3 4 5 6 7 8 9 /b\n8 0 0 0 0 0 0 0 0 0 /a b\n'
seed dropin '\011[Service]\nExecStartPre=+/usr/local/bin/cramcg set --enable --now self max=1M node.max=N1:1M x=\n'
seed unit '\012[Service]\nX-CRAMMax=64M\nX-CRAMNodeMax=N1:1M \\\n# c\n N2:infinity\nX-CRAMRequire=yes\n'
seed section '\004[\n\320\n\320'
seed smaps '\0131000-2000 rw-p 00000000 00:00 0    [heap]\nRss: 4 kB\nAnonymous: 4 kB\nCram: 4 kB\nVmFlags: rd wr lo \n'
