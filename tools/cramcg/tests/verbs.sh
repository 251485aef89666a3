# SPDX-License-Identifier: GPL-2.0-or-later
# shellcheck shell=bash disable=SC2154,SC2016
#
# Every verb against a recorded tree.  Sourced by tests/run.

fresh

# --- list -------------------------------------------------------------------------
gives 0 '^/tenants/a +134217728 +100663296 +8388608 +67108864 +3.00 +1500 1-2$' "list: sizes in bytes in a pipe" cramcg list
gives 0 '^/tenants/a +128M +96M +8M +64M ' "list --human" cramcg list --human
gives 0 '/odd name\\x0awith \\x1b and' "list: a name with a newline and an escape is not printed raw" cramcg list
holds "list: who has neither pages nor settings is left out" bash -c '! "$@" list | grep -q idle' _ "$build/cramcg" --root "$root"
gives 0 '^/idle ' "list --all" cramcg list --all
gives 0 '^├─system.slice|^\|-system.slice' "list --tree" cramcg list --tree
gives 0 '^/tenants/b +max' "list of a subtree: the budget of what is above counts" cramcg list /tenants/b
holds "list --json: numbers are numbers, no limit is null" bash -c '"$@" list -J | jq -e ".cgroups[] | select(.cgroup == \"/tenants/b\") | .max_bytes == null and .current_bytes == 67108864 and .writable_budget_effective_bytes == 134217728"' _ "$build/cramcg" --root "$root"
holds "list --json: names with controls and broken characters are valid JSON" bash -c '"$@" list -J | jq -e ".cgroups[0].cgroup | startswith(\"/odd name\\nwith\")"' _ "$build/cramcg" --root "$root"
gives 0 '^CGROUP +RULE$' "list -o" cramcg list -o cgroup,rule
gives 0 'NODES +LOW$' "list -o +LOW" cramcg list -o +LOW
gives 2 'there is no such column' "list -o of nothing" cramcg list -o nothing
gives 2 'given twice' "list -o +LIMIT is there already" cramcg list -o +LIMIT
holds "list --sort: largest first" bash -c 'is() { [ "$1" = "$2" ]; }; is "$("$@" list -n -r -o cgroup,resident --sort resident | sed -n 1p)" "/tenants 167772160"' _ "$build/cramcg" --root "$root"
gives 2 'exclude each other' "list --sort --tree" cramcg list --sort resident --tree
gives 2 'there is no such option' "an option that is none" cramcg list --nonsense
gives 2 'value is missing' "an option without its value" cramcg list -o
export CRAMCG_STATE=$tmp/state
gives 0 '^/tenants/b .* 20 1-2$' "list --look: refusals since the beginning" cramcg list --look
gives 0 '^/tenants/b .* 0 1-2$' "list: none since that look" cramcg list
sed -i 's/^refuse_room 20/refuse_room 23/' "$cg/tenants/b/cram.stat"
gives 0 '^/tenants/b .* 3 1-2$' "list: three since that look" cramcg list
gives 0 'refused +3 +pages by refuse_room since the last look' "show: which rule refused since" cramcg show /tenants/b
echo garbage > "$tmp/state/looks"
gives 0 '^/tenants/b .* 23 1-2$' "list: a damaged file of looks counts as none" cramcg list
unset CRAMCG_STATE
holds "list | head ends in silence" bash -c 'for i in 1 2 3; do "$@" list --all -o cgroup 2>&1 | head -n 1; done | grep -c CGROUP | grep -q 3' _ "$build/cramcg" --root "$root"
gives 1 'standard output: No space' "a full disk is an error" bash -c '"$@" list > /dev/full' _ "$build/cramcg" --root "$root"
LC_ALL=C gives 0 '\|-system.slice' "list --tree in the C locale" cramcg list --tree
for verb in list "list --tree" "show /tenants/a" nodes "node 1" dump metrics doctor "top --batch -n 1"; do
	# shellcheck disable=SC2086
	holds "$verb in the C locale is ASCII" bash -c 'LC_ALL=C "$@" > "$0.c"; [ -s "$0.c" ] && ! LC_ALL=C grep -qP "[^\x0a\x20-\x7e]" "$0.c"' "$tmp/out" "$build/cramcg" --root "$root" $verb
	# shellcheck disable=SC2086
	holds "  and ends in silence when nobody reads" bash -c '{ "$@" 2>&1 >&3 | cat > "$0"; } 3> >(exec true); [ ! -s "$0" ]' "$tmp/silent" "$build/cramcg" --root "$root" $verb
done
holds "list on a terminal of 60 columns" bash -c 'script -qec "stty cols 60; $*" /dev/null < /dev/null | tr -d "\r" | awk "length > 60 { exit 1 }"' _ "$build/cramcg" --root "$root" list
holds "list on a dumb terminal: no escapes" bash -c '! TERM=dumb script -qec "$*" /dev/null < /dev/null | grep -q "$(printf "\033")"' _ "$build/cramcg" --root "$root" list

# --- show -------------------------------------------------------------------------
gives 0 '/tenants binds: of its 268435456, 100663296 are left' "show: which ancestor binds" cramcg show /tenants/b
gives 0 'draws on /tenants: of 134217728' "show: which budget it draws on" cramcg show /tenants/b
gives 0 'cramcg set /tenants/a max=SIZE' "show: what would change a refusal" cramcg show /tenants/a
gives 0 '^/tenants/a \(100\)' "show of a process" cramcg show 100
gives 0 '^/system.slice/redis.service \(redis.service\)' "show of a unit" cramcg show redis.service
gives 0 '^/tenants/b \(self\)' "show self" cramcg show self
gives 1 'not enabled here or above' "show of what has no cram" cramcg show 101
gives 1 'outside of this cgroup namespace' "show of a process outside" cramcg show 102
gives 1 'no such process' "show of no process" cramcg show 99999
gives 1 'no such cgroup' "show of no cgroup" cramcg show /nothing
gives 1 'no such unit' "show of no unit" cramcg show nothing.service
gives 2 '\.\. are not followed' "show of a path with .." cramcg show /tenants/../tenants
gives 2 'which cgroup' "show of nothing" cramcg show
gives 0 'now +none +more is demoted, by refuse_state' "show: no node that it may use is open" bash -c 'cp -r "$2" "$3" && for n in 1 2; do echo low > "$3/sys/devices/system/node/node$n/cram/state"; done; "$1" --root "$3" show /tenants/b' _ "$build/asan/cramcg" "$root" "$tmp/short"
gives 0 'now +none +more is demoted, by refuse_right' "show: it may use no node" bash -c 'echo > "$2/sys/fs/cgroup/tenants/b/cram.nodes.effective"; "$1" --root "$2" show /tenants/b' _ "$build/asan/cramcg" "$tmp/short"
gives 0 'to change that: cramcg set /tenants/b max=SIZE' "show: its limit is reached" bash -c 'echo 1 > "$2/sys/fs/cgroup/tenants/b/cram.nodes.effective"; echo 64M > "$2/sys/fs/cgroup/tenants/b/cram.max"; "$1" --root "$2" show /tenants/b' _ "$build/asan/cramcg" "$tmp/short"
gives 0 'by refuse_off' "show: demotion is switched off" bash -c 'echo 0 > "$2/sys/kernel/mm/cram/enabled"; "$1" --root "$2" show /tenants/b' _ "$build/asan/cramcg" "$tmp/short"
holds "show --json" bash -c '"$@" show -J /tenants/b | jq -e ".binds.cgroup == \"/tenants\" and .refused_rule == \"refuse_room\""' _ "$build/cramcg" --root "$root"

# --- set ---------------------------------------------------------------------------
gives 0 '' "set of three" kernel set /tenants/a max=1G cram.low=4M writable_budget=inherit
holds "set: all three are written" bash -c '[ "$(cat "$1"/cram.{max,low,writable_budget} | tr "\n" " ")" = "1073741824 4194304 inherit" ] || grep . "$1"/cram.{max,low,writable_budget}' _ "$cg/tenants/a"
fresh
before=$(settings)
gives 0 'cram.max: 134217728 -> 67108864' "set --dry-run shows" cramcg set --dry-run /tenants/a max=64M
gives 2 'less than a page.*did you mean 64M' "set: a forgotten suffix" cramcg set /tenants/a max=64
gives 2 'not written: it takes a size' "set: a bad value" cramcg set /tenants/a low=1M max=lots
gives 2 'no such setting' "set: a bad key" cramcg set /tenants/a maxx=1M
gives 2 'KEY=VALUE' "set: no =" cramcg set /tenants/a max
gives 2 'given twice' "set: the same twice" cramcg set /tenants/a max=64M cram.max=1M
gives 1 'node 3 is not a cram node' "set: a node that is none" cramcg set /tenants/a low=1M nodes=3
gives 1 'not a cram node' "set: a limit for a node that is none" cramcg set /tenants/a low=1M node.max=N3:64M
gives 1 'cram is not enabled for this cgroup' "set: cram is not enabled" cramcg set /plain/below max=64M
gives 2 'less than a page' "a value of /plain is checked before it is looked for" cramcg set /nothing max=1
FAKE_FAIL="cram.low=ENOMEM" gives 1 'cram.low: "1048576" not written: Cannot allocate' "set: a write fails" kernel set /tenants/a max=64M low=1M
FAKE_FAIL="cram.low=EACCES" gives 1 'needs root' "set: no right" kernel set /tenants/a max=64M low=1M
FAKE_FAIL="cram.page.max=EINVAL" gives 2 'is a size in bytes' "set: the kernel refuses a value" kernel set /tenants/a max=64M page.max=1M
holds "set: nothing of all this changed anything" same "$before" "$(settings)"
# Others write meanwhile
fresh
low=$(value tenants/a/cram.low)
FAKE_FAIL="cram.low=ENOMEM" FAKE_RUN="cram.low=echo 16777216 > $cg/tenants/a/cram.max" gives 1 'Cannot allocate' "set: a write fails, and another process has set a limit meanwhile" kernel set /tenants/a max=64M low=1M
holds "set: the limit of the other stays" is "$(value tenants/a/cram.max)" 16777216
holds "  and what failed is as before" is "$(value tenants/a/cram.low)" "$low"
FAKE_RUN="flock=echo max > $cg/tenants/a/cram.max" gives 0 '' "set: another process undoes what was to be set" kernel set --no-wait /tenants/a max=16M
holds "set: it is set all the same" is "$(value tenants/a/cram.max)" 16777216
holds "set: who has locked a cgroup is waited for" flock -o "$cg/tenants/a" bash -c '
	"$1/cramcg" --root "$2" set --no-wait /tenants/a max=8M & sleep 0.4
	cat "$2/sys/fs/cgroup/tenants/a/cram.max"
	[ "$(cat "$2/sys/fs/cgroup/tenants/a/cram.max")" = 16777216 ]' _ "$build" "$root"
holds "  and then it is set" bash -c 'for i in $(seq 100); do [ "$(cat "$1")" = 8388608 ] && exit; sleep 0.1; done; exit 1' _ "$cg/tenants/a/cram.max"
holds "set: who keeps the lock stops nobody" flock "$cg/tenants/a" "$build/cramcg" --root "$root" set --no-wait /tenants/a max=4M
fresh
gives 4 'is in force, but cram.current is' "set: a limit below what is resident stays in force" kernel set /tenants/a max=1M
holds "set: that limit is written" is "$(value tenants/a/cram.max)" 1048576
gives 0 '' "set --no-wait" kernel set --no-wait /tenants/a max=2M
gives 0 '' "set: two limits of nodes" kernel set /tenants/b node.max=N1:64M "node.max=N2 32M"
holds "set: both are there" is "$(value tenants/b/cram.node.max)" "N1 67108864
N2 33554432"
gives 0 '' "set: take one away" kernel set /tenants/b node.max=N1:max
holds "set: the other stays" is "$(value tenants/b/cram.node.max)" "N2 33554432"
holds "set: a lowered limit of a node is waited for" bash -c '"$@" set -J --dry-run /tenants/b node.max=N1:1M node.max=N2:1M | jq -e "[.changes[].waits] == [true, false]"' _ "$build/cramcg" --root "$root"
gives 0 '' "  and done" kernel set /tenants/b node.max=N1:32M
holds "  the other stays, again" is "$(value tenants/b/cram.node.max)" "N2 33554432
N1 33554432"
gives 0 '' "set nodes" kernel set /tenants/b nodes=2,1
holds "set nodes: as the kernel has it" is "$(value tenants/b/cram.nodes)" "1-2"
gives 2 'only services can keep settings' "set of a slice without --now" kernel set system.slice max=1G
gives 0 '' "set --now of a unit" kernel set --now redis.service max=1G

# The drop-in of a service, in the tree that --root names
dropin=$root/etc/systemd/system/redis.service.d
mkdir -p "${dropin%/*}"
FAKE_FAIL="cram.max=ENOMEM" gives 1 'Cannot allocate' "set of a service: a write fails" kernel set redis.service max=2G
holds "  and there is no drop-in" bash -c '! [ -e "$1" ]' _ "$dropin"
gives 0 '' "set of a service" kernel set redis.service max=512M
holds "set of a service: its drop-in" grep -qx 'ExecStartPre=+/.*/bin/cramcg set --enable --now self max=512M' "$dropin/50-cram.conf"
holds "set of a service waits for another that does" flock -o "$dropin" bash -c '
	"$1/cramcg" --root "$2" set --no-wait redis.service page.max=16M & sleep 0.4
	sed "s/max=.*/low=1M/" "$3" > "$3.new" && mv "$3.new" "$3"' _ "$build" "$root" "$dropin/50-cram.conf"
holds "  and keeps what that has set" bash -c 'for i in $(seq 100); do grep -q "self low=1M page.max=16M$" "$1" && exit; sleep 0.1; done; cat "$1"; exit 1' _ "$dropin/50-cram.conf"
rm -r "$dropin"
holds "set of a service by many at a time" bash -c 'for s in max=1G low=1M page.max=16M writable_budget=8M node.max=N1:4M node.max=N2:4M; do
	"$1/cramcg" --root "$2" set --no-wait redis.service "$s" & pids="$pids $!"; done; s=0; for p in $pids; do wait $p || s=1; done; exit $s' _ "$build" "$root"
holds "  each is in the drop-in" is "$(grep -o '[a-z._]*=[^ ]*' "$dropin/50-cram.conf" | grep -v '=+' | sort | tr '\n' ' ')" "low=1M max=1G node.max=N1:4M node.max=N2:4M page.max=16M writable_budget=8M "
redis=$cg/system.slice/redis.service
FAKE_RUN="cram.max=mv $redis $cg/old; cp -r $cg/old $redis" gives 0 '' "set of a service that is restarted meanwhile" kernel set redis.service max=256M
holds "  the new cgroup has the limit" is "$(cat "$redis/cram.max")" 268435456
rm -r "$cg/old"
mkdir "$redis/.control"
cp "$redis"/cram.* "$redis/.control"
echo "0::/system.slice/redis.service/.control" > "$root/proc/self/cgroup"
gives 0 '' "set of self, before the program of a service with DelegateSubgroup=" kernel set --no-wait self max=128M
holds "  is meant for the service" is "$(cat "$redis/cram.max" "$redis/.control/cram.max" | tr '\n' ' ')" "134217728 268435456 "
echo "0::/tenants/b" > "$root/proc/self/cgroup"
rm -r "$redis/.control"
holds "set --json" bash -c '"$@" set -J --dry-run /tenants/b max=1M | jq -e ".changes[0].waits == true and .changes[0].new == \"1048576\""' _ "$build/cramcg" --root "$root"
fresh
rm -f "$tmp/started"
holds "set: Ctrl-C while it waits; the limit stays in force" bash -c '
	FAKE_SLOW=cram.max FAKE_STARTED=$3 LD_PRELOAD=$1/fakekernel.so "$1/asan/cramcg" --root "$2" set /tenants/a max=1M 2> "$3.err" & pid=$!
	for i in $(seq 200); do [ -e "$3" ] && break; sleep 0.05; done
	kill -INT $pid; wait $pid; s=$?
	cat "$3.err"; [ $s = 4 ] && grep -q "interrupted: the limit is in force" "$3.err" && grep -q 1048576 "$2/sys/fs/cgroup/tenants/a/cram.max"' _ "$build" "$root" "$tmp/started"

# --- enable, reclaim -----------------------------------------------------------------
gives 0 '' "enable" kernel enable /plain/below
holds "enable: in the parent, and in its parent" bash -c 'grep -q cram "$1/plain/cgroup.subtree_control" && grep -q cram "$1/cgroup.subtree_control"' _ "$cg"
# The word is in the list before the files are there: another process enables it at this moment.
gives 4 'subtree_control: .\+cram. not written' "enable waits for the files of another's enabling" env FAKE_FAIL=cgroup.subtree_control=EBUSY LD_PRELOAD="$build/fakekernel.so" "$build/asan/cramcg" --root "$root" enable /plain/below
gives 0 '' "enable writes nothing where all is there" env FAKE_FAIL=cgroup.subtree_control=EBUSY LD_PRELOAD="$build/fakekernel.so" "$build/asan/cramcg" --root "$root" enable /tenants/a
mkdir -p "$cg/x/y/z"
echo > "$cg/x/cgroup.subtree_control"
sed -i 's/ *cram//' "$cg/cgroup.subtree_control"
gives 1 'x/y/cgroup.subtree_control' "enable fails on the way" kernel enable /x/y/z
holds "enable: what is enabled above stays: others may rely on it by then" bash -c '[ "$(grep -lw cram "$@" | wc -l)" = 2 ]' _ "$cg/cgroup.subtree_control" "$cg/x/cgroup.subtree_control"
gives 0 '' "reclaim" kernel reclaim /tenants/a 4M --to swap
holds "reclaim: written as the kernel has it" is "$(value tenants/a/cram.reclaim)" "4194304 to=swap"
gives 2 'it takes a size' "reclaim of a word" kernel reclaim /tenants/a max
gives 2 'it is swap or dram' "reclaim to nowhere" kernel reclaim /tenants/a 4M --to disk
FAKE_FAIL="cram.reclaim=EAGAIN" gives 4 'less than that could be evicted' "reclaim in part" kernel reclaim /tenants/a 4M

# --- nodes, node, drain ----------------------------------------------------------------
fresh
gives 0 '^ +1 compressed open +536870912 +268435456 +205520896' "nodes" cramcg nodes
holds "nodes --json" bash -c '"$@" nodes -J | jq -e ".nodes[0].ratio == 2.73 and .nodes[1].state == \"low\""' _ "$build/cramcg" --root "$root"
gives 0 'node 2, compressed: low: nothing is demoted' "node: explained" cramcg node 2
gives 1 'node 7 is not a cram node at this time' "node: none" cramcg node 7
gives 2 'a node is a number' "node: a word" cramcg node x
echo plain > "$root/sys/devices/system/node/node1/cram/class"
rm "$root/sys/devices/system/node/node1/cram"/{lease_ms,over_capacity}
gives 0 '^ +1 plain +open' "nodes: memory that does not compress" cramcg nodes -o +LEASE,LOST
gives 0 '^node 1, plain: open' "node: the same" cramcg node 1
words=$(cramcg node 1 | grep -cE 'lease|over_capacity' || :)
holds "node: without words of devices that are asked" [ "$words" = 0 ]
echo compressed > "$root/sys/devices/system/node/node1/cram/class"
echo 1000 > "$root/sys/devices/system/node/node1/cram/lease_ms"
echo 0 > "$root/sys/devices/system/node/node1/cram/over_capacity"
gives 0 '' "node set: what depends on each other, in the wrong order" kernel node 1 set critical_bytes=64M low_bytes=128M
holds "node set: both" bash -c '[ "$(cat "$1"/{low,critical}_bytes | tr "\n" " ")" = "134217728 67108864 " ]' _ "$root/sys/devices/system/node/node1/cram"
before=$(settings)
gives 2 '100 to 60000' "node set: out of range" kernel node 1 set reserve_bytes=1M lease_ms=5
FAKE_FAIL="lease_ms=EINVAL" gives 2 'lease_ms: "2000" not written: is from 100' "node set: the kernel refuses" kernel node 1 set reserve_bytes=1M lease_ms=2000
holds "node set: nothing changed" same "$before" "$(settings)"
FAKE_FAIL="state=EBUSY" gives 4 'PID 100 +worker +15.6M' "drain: what holds the node" kernel drain 1
gives 0 '' "drain" kernel drain 1
holds "drain: offline" is "$(cat "$root/sys/devices/system/node/node1/cram/state")" offline
gives 0 '' "drain --undo" kernel drain 1 --undo
holds "drain --undo: open" is "$(cat "$root/sys/devices/system/node/node1/cram/state")" open

# --- apply, dump -------------------------------------------------------------------------
fresh
gives 0 '\[cgroup /tenants/a\]' "dump" cramcg dump
"$build/cramcg" --root "$root" dump --all > "$tmp/all.conf"
before=$(settings)
gives 0 '' "apply of a dump" kernel apply "$tmp/all.conf"
holds "apply of a dump changes nothing" same "$before" "$(settings)"
holds "apply of a dump says nothing" is "$("$build/cramcg" --root "$root" apply "$tmp/all.conf")" ""
mkdir "$tmp/conf.d"
printf '[cgroup /tenants/b]\nmax = 128M\nnode.max = N1:64M\n' > "$tmp/conf.d/10-b.conf"
printf '[node 1]\nreserve_bytes = 16M\n[machine]\nenabled = 0\n' > "$tmp/conf.d/20-node.conf"
echo nonsense > "$tmp/conf.d/README"
gives 0 '/tenants/b cram.max: max -> 134217728' "apply --dry-run of a directory" kernel apply --dry-run "$tmp/conf.d"
holds "apply --dry-run changes nothing" same "$before" "$(settings)"
FAKE_FAIL="reserve_bytes=ENOMEM" gives 1 'reserve_bytes' "apply: the last write fails" kernel apply "$tmp/conf.d"
holds "apply: all is as it was" same "$before" "$(settings)"
gives 0 'node 1 reserve_bytes: 8388608 -> 16777216' "apply" kernel apply "$tmp/conf.d"
holds "apply: written" is "$(value tenants/b/cram.max) $(value tenants/b/cram.node.max) $(cat "$root/sys/kernel/mm/cram/enabled")" "134217728 N1 67108864 0"
gives 0 '' "apply again" kernel apply "$tmp/conf.d"
holds "apply again says nothing" is "$("$build/cramcg" --root "$root" apply "$tmp/conf.d")" ""
before=$(settings)
printf '[cgroup /tenants/b]\nmax = 1M\n[cgroup /tenants/a]\nmax = 12\n' > "$tmp/bad.conf"
gives 2 'bad.conf:4: cram.max: "12" not written' "apply: a bad line is named" kernel apply "$tmp/bad.conf"
printf '[cgroup /tenants/b]\nmax = 1M\n[cgroup /nothing]\nmax = 1M\n' > "$tmp/bad.conf"
gives 1 'bad.conf:4: .*no such cgroup' "apply: a cgroup that is not there" kernel apply "$tmp/bad.conf"
printf '[cgroup /tenants/b]\nmax = 1M\n[cgroup /tenants/b]\nmax = 2M\n' > "$tmp/bad.conf"
gives 2 'given twice' "apply: the same twice" kernel apply "$tmp/bad.conf"
gives 1 'No such file' "apply: no file" kernel apply "$tmp/nothing.conf"
holds "apply: nothing of all this changed anything" same "$before" "$(settings)"

# --- watch ---------------------------------------------------------------------------------
holds "watch: a line for each event" bash -c '
	"$1/asan/cramcg" --root "$2" watch --count 2 /tenants/a > "$3" 2>&1 & pid=$!
	for i in $(seq 200); do ls -l /proc/$pid/fd 2> /dev/null | grep -q inotify && break; sleep 0.05; done; sleep 0.2
	sed "s/^max 5/max 7/; s/^evict 2/evict 3/" "$2/sys/fs/cgroup/tenants/a/cram.events" > "$3.new"
	cat "$3.new" > "$2/sys/fs/cgroup/tenants/a/cram.events"
	wait $pid; cat "$3"; grep -q "/tenants/a max +2 (7)" "$3" && grep -q "/tenants/a evict +1 (3)" "$3"' _ "$build" "$root" "$tmp/watched"
gives 1 'cram is not enabled' "watch of what has no cram" cramcg watch /plain

# --- run --------------------------------------------------------------------------------------
fresh
gives 2 'a command comes after --' "run: no command" kernel run max=1M
gives 2 'did you mean 12M' "run: a bad limit" kernel run max=12 -- true
gives 1 'File exists' "run --cgroup of one that is there" kernel run --cgroup /tenants/a max=1M -- true
gives 2 'is without systemd' "run --cgroup --service" kernel run --cgroup /x --service -- true
gives 2 'is for --service' "run --no-wait of a scope" kernel run --no-wait -- true

# --- top --------------------------------------------------------------------------------------
fresh
gives 0 '160M +256M +2.67 +8M +128M +0 +0 +0 .*/tenants$' "top --batch" cramcg top --batch -n 1
gives 0 '^ +4K .*/odd name\\x0awith' "top: names are not printed raw" cramcg top --batch -n 1
gives 0 '^ +96M .*   a$' "top --tree" cramcg top --batch -n 1 --tree
gives 0 'node 2 low +\[\|+ +\] 108M of 128M cells' "top: nodes in words, with a bar" cramcg top --batch -n 1
gives 2 'it is resident, ratio' "top --sort of nothing" cramcg top --batch --sort nothing
gives 2 'it is a number from 1' "top -n 0" cramcg top --batch -n 0
holds "top: rates of what happens between two refreshes" bash -c '
	"$1/asan/cramcg" --root "$2" top --batch -n 2 -d 2 > "$3" 2>&1 & pid=$!
	for i in $(seq 200); do grep -q /tenants/a "$3" && break; sleep 0.05; done
	sed "s/^demote 40000/demote 50000/" "$2/sys/fs/cgroup/tenants/a/cram.stat" > "$3.new"
	cat "$3.new" > "$2/sys/fs/cgroup/tenants/a/cram.stat"
	wait $pid; cat "$3"; tail -n 4 "$3" | grep "/tenants/a" | awk "{ exit !(\$6 > 500 && \$6 <= 5100) }"' _ "$build" "$root" "$tmp/rates"
holds "top: 60 columns are enough" bash -c 'COLUMNS=60 "$@" top --batch -n 1 | awk "length > 60 { exit 1 } /\/tenants\/a/ { n++ } END { exit !n }"' _ "$build/cramcg" --root "$root"
holds "top on a dumb terminal: lines, no escapes" bash -c '! TERM=dumb script -qec "$* top -n 1" /dev/null < /dev/null | grep -q "$(printf "\033")"' _ "$build/cramcg" --root "$root"

# A terminal of its own, of 60 by 15
screen() { tmux -L "cramcg-$$" -f /dev/null "$@"; }
shows() { # REGEX: within 10 s
	for _ in $(seq 100); do
		screen capture-pane -p > "$tmp/screen" 2> /dev/null
		! grep -qE -- "$1" "$tmp/screen" || return 0
		sleep 0.1
	done
	cat "$tmp/screen"
	return 1
}
if command -v tmux > /dev/null; then
	screen new-session -d -x 60 -y 15 "ASAN_OPTIONS=$ASAN_OPTIONS LSAN_OPTIONS=$LSAN_OPTIONS '$build/asan/cramcg' --root '$root' top -d 1; echo \"ended with \$?\"; sleep 60"
	holds "top on a screen of 60 columns" shows '^ *160M +256M +2.67 .*/tenants'
	holds "top: all lines fit" bash -c 'awk "length > 60 { exit 1 }" "$1"' _ "$tmp/screen"
	screen send-keys t
	holds "top: t shows the tree" shows '^ *4M .*  redis.service'
	screen send-keys N
	holds "top: N sorts by name" shows 'CGROUPv'
	screen send-keys h
	holds "top: h helps" shows 'q +quit'
	screen send-keys x
	holds "top: and goes back" shows 'CGROUPv'
	screen send-keys / redis Enter
	holds "top: / filters" bash -c 'for i in $(seq 100); do tmux -L "$1" capture-pane -p > "$2"; grep -q redis "$2" && ! grep -q tenants "$2" && exit; sleep 0.1; done; cat "$2"; exit 1' _ "cramcg-$$" "$tmp/screen"
	screen send-keys / Enter
	screen resize-window -x 110 -y 20 2> /dev/null || screen resize-pane -x 110 -y 20
	holds "top: a larger window has more columns" shows 'WRITABLE +BUDGET'
	screen send-keys q
	holds "top: q ends it, and nothing leaked" shows 'ended with 0'
	screen kill-server
else
	n=$((n + 1)); echo "ok $n - top on a screen # SKIP no tmux"
fi

# --- advise -----------------------------------------------------------------------------------
gives 0 'max = 120M' "advise: a quarter above what is resident" cramcg advise /tenants/a --for 0.5s --every 0.1s
gives 2 'a time is such as' "advise --for a word" cramcg advise /tenants/a --for ever
gives 1 'cram is not enabled' "advise for what has no cram" cramcg advise /plain --for 0.2s --every 0.1s
holds "advise --json" bash -c '"$@" advise /tenants/a --for 0.3s --every 0.1s -J | jq -e ".proposals | map(.key) == [\"max\", \"low\", \"writable_budget\"]"' _ "$build/cramcg" --root "$root"
# Counters that grow all the time: KEY N KEY N...
growing() {
	local file=$cg/tenants/a/cram.stat i=0 key
	while [ -e "$tmp/growing" ]; do
		i=$((i + 1))
		for key; do sed "s/^$key .*/$key $((50000 + i * 100000))/" "$file" > "$tmp/stat" && cp "$tmp/stat" "$file.new" && mv "$file.new" "$file"; done
		sleep 0.05
	done
}
advised_while() { # KEYS...: advise while these counters grow
	touch "$tmp/growing"
	growing "$@" &
	cramcg advise /tenants/a --for 2s --every 0.3s
	rm "$tmp/growing"
	wait $!
}
gives 0 'pages came back by a write, so they are not cold' "advise: what comes back is not cold" advised_while demote promote_write
gives 0 'writable_budget = [0-9.]+[MG]' "advise: a budget for what is written" advised_while demote promote_write
gives 0 'were refused by refuse_max meanwhile: a quarter more' "advise: more for who is refused" advised_while refuse_max
gives 0 'of the node: low_bytes = ' "advise: a watermark for who demotes fast" advised_while demote
fresh
gives 0 'max = 120M' "advise --apply" kernel advise /tenants/a --for 0.3s --every 0.1s --apply
holds "advise --apply: as proposed" is "$(value tenants/a/cram.max) $(value tenants/a/cram.low)" "125829120 100663296"

# --- doctor, metrics ---------------------------------------------------------------------------
gives 4 'node 2 is low' "doctor: a warning, and its status" cramcg doctor
gives 4 'cram_sim: the node is a model' "doctor: an emulated node is called that" cramcg doctor
echo lost > "$root/sys/devices/system/node/node1/cram/state"
gives 1 'cramcg node 1 open' "doctor: a lost node, and what mends it" cramcg doctor
echo 3 > "$root/sys/devices/system/node/node1/cram/over_capacity"
gives 1 '3 stores found no cell: data was lost' "doctor: lost data" cramcg doctor
echo 0 > "$root/sys/kernel/mm/cram/enabled"
gives 1 'refuse_off' "doctor: switched off" cramcg doctor
holds "doctor --json" bash -c '"$@" doctor -J | jq -e "map(.severity) | index(\"error\") != null"' _ "$build/cramcg" --root "$root"
sed -i 's/memory //' "$cg/cgroup.controllers"
gives 1 'refuse_memcg' "doctor: memory is not on v2" cramcg doctor
rm -r "$root/sys/devices"
gives 1 'no cram node' "doctor: no device" cramcg doctor
gives 3 'no cram node' "nodes: none" cramcg nodes
fresh
holds "metrics are as promtool wants them" bash -c '"$@" metrics > "$0" && promtool check metrics < "$0"' "$tmp/metrics" "$build/cramcg" --root "$root"
holds "  and not as it does not" bash -c 'sed "0,/^# TYPE/s//# TYPE nothing /" "$0" > "$0.bad"; ! promtool check metrics < "$0.bad"' "$tmp/metrics"
gives 0 'cram_cgroup_resident_bytes\{cgroup="/tenants/a"\} 100663296' "metrics" cramcg metrics
gives 0 '^cram_cgroup_refused_pages_total\{cgroup="/tenants/a",rule="refuse_max"\} 1500' "metrics: refusals by rule" cramcg metrics
holds "metrics: of cram.stat what is there, and no counter that is not" bash -c '
	diff <("$@" metrics | sed -n "s/^cram_cgroup.*pages_total{cgroup=\"\/tenants\/a\",[a-z]*=\"\([a-z_]*\)\"} /\1 /p" | sort) \
		<(awk "!/^(readonly|writable|compressed_estimate) /" "$0" | sort)' "$root/sys/fs/cgroup/tenants/a/cram.stat" "$build/cramcg" --root "$root"
gives 0 '^# EOF' "metrics --openmetrics" cramcg metrics --openmetrics
gives 0 '' "metrics --textfile" cramcg metrics --textfile "$tmp/cram.prom"
holds "metrics --textfile: all of it, and nothing beside" bash -c 'grep -q cram_node_state "$1/cram.prom" && [ "$(ls "$1" | grep -c cram.prom)" = 1 ]' _ "$tmp"
gives 1 'No such file' "metrics --textfile nowhere" cramcg metrics --textfile "$tmp/nowhere/cram.prom"

# --- machines without --------------------------------------------------------------------------
fresh
sed -i 's/ cram$//' "$cg/cgroup.controllers"
for verb in list "show /tenants" "set /tenants max=1M" "dump" "watch /tenants" "apply $tmp/all.conf" "reclaim /tenants 1M" "enable /tenants"; do
	# shellcheck disable=SC2086
	gives 3 'cram is not among them' "without cram: $verb" cramcg $verb
done
gives 3 'in a container: enable cram in the parent' "doctor: in a container without cram" cramcg doctor
rm -r "$root/sys/kernel"
gives 3 'this kernel has no cram' "doctor: a kernel without cram" cramcg doctor
gives 0 'cram_available 0' "metrics: a kernel without cram" cramcg metrics
rm "$cg/cgroup.controllers"
gives 3 'cgroup2 is not mounted' "without cgroup2: list" cramcg list
gives 3 'cgroup2 is not mounted' "without cgroup2: doctor" cramcg doctor
fresh
for f in cram.page.max cram.writable_budget cram.writable_budget.effective cram.stat cram.nodes.effective cram.peak; do
	find "$cg" -name "$f" -delete
done
gives 0 '^/tenants/a +134217728 +100663296' "an older kernel without some files: list" cramcg list
gives 0 'resident' "an older kernel without some files: show" cramcg show /tenants/a
fresh
for f in "$cg"/*/cram.current "$cg"/*/*/cram.current; do
	echo 12345678 > "${f%current}compressed.current"
	echo 33554432 > "${f%current}writable_budget.effective"
done
gives 0 '^/tenants/a .* 8\.15 ' "a newer kernel: cram.compressed.current counts" cramcg list
gives 0 '^/tenants/b .* 33554432 ' "a newer kernel: cram.writable_budget.effective counts" cramcg list
if [ "$(id -u)" = 0 ] && command -v setpriv > /dev/null; then
	chmod 755 "$tmp"
	gives 1 'needs root' "unprivileged: set" setpriv --reuid 65534 --clear-groups "$build/cramcg" --root "$root" set /tenants/a low=4K
	gives 0 '^/tenants/a' "unprivileged: list" setpriv --reuid 65534 --clear-groups "$build/cramcg" --root "$root" list
fi

# --- thousands ------------------------------------------------------------------------------------
fresh
many=$tmp/many/sys/fs/cgroup
mkdir -p "$many/g1"
cp "$cg/cgroup.controllers" "$many/"
cp "$cg/tenants/b"/cram.* "$many/g1/"
for i in $(seq 99); do cp -rl "$cg/tenants/b" "$many/g1/c$i"; done
for i in $(seq 2 50); do cp -rl "$many/g1" "$many/g$i"; done
# Milliseconds of processor time, because this host may be busy with other tests: two
# processors share the work.
fastest() { # COMMAND...: of the fastest of nine
	local best=999999 took TIMEFORMAT='%U %S'
	for _ in 1 2 3 4 5 6 7 8 9; do
		took=$({ time "$@" > /dev/null; } 2>&1 | awk '{ printf "%d", ($1 + $2) * 1000 }')
		[ "$took" -ge "$best" ] || best=$took
	done
	echo "$best"
}
# The limit is for a quiet host; three times that tells a mistake from a busy one.
# What does not depend on the host at all: instructions of the program itself
instructions() { # LOG COMMAND...
	local log=$1
	shift
	valgrind --tool=cachegrind --cache-sim=no --cachegrind-out-file=/dev/null --log-file="$log" "$@" > /dev/null
	sed -n 's/,//g; s/.*I *refs: *//p' "$log"
}
did=$(instructions "$tmp/vg" "$build/cramcg" --root "$tmp/many" list)
echo "# list of 5000 cgroups: $((did / 1000000)) million instructions"
holds "list of 5000 cgroups takes less than 350 million instructions" test "$did" -gt 0 -a "$did" -lt 350000000
calls=$(strace -f -c -U calls,name "$build/cramcg" --root "$tmp/many" list 2>&1 > /dev/null | awk '$2 == "total" { print $1 }')
echo "# and $calls calls of the kernel"
holds "  and no more than 13 calls of the kernel for each" test "$calls" -gt 0 -a "$calls" -lt $((13 * 5000 + 2000))
took=$(fastest "$build/cramcg" --root "$tmp/many" list)
echo "# list of 5000 cgroups: $took ms of two processors together"
holds "list of 5000 cgroups takes less than 100 ms of two processors, on a quiet host" test "$took" -lt 600
holds "  and shows them all" is "$("$build/cramcg" --root "$tmp/many" list -n | wc -l)" 5000
# Starting takes what every start takes: ten refreshes less one are nine
processor_ms() { # COMMAND...
	local TIMEFORMAT='%U %S'
	{ time "$@" > /dev/null; } 2>&1 | awk '{ printf "%d", ($1 + $2) * 1000 }'
}
many_top() {
	processor_ms env TERM=xterm script -qec "stty cols 80 rows 24; '$build/cramcg' --root '$tmp/many' top -d 0.1 -n $1" \
		/dev/null < /dev/null
}
top_instructions() { # TIMES
	TERM=xterm script -qec "stty cols 80 rows 24; valgrind --tool=cachegrind --cache-sim=no --cachegrind-out-file=/dev/null \
		--log-file=$tmp/vg.$1 '$build/cramcg' --root '$tmp/many' top -d 0.1 -n $1" /dev/null < /dev/null > /dev/null
	sed -n 's/,//g; s/.*I *refs: *//p' "$tmp/vg.$1"
}
did=$((($(top_instructions 3) - $(top_instructions 1)) / 2))
echo "# a refresh of top with 5000 cgroups: $((did / 1000000)) million instructions"
holds "top with 5000 cgroups takes less than 90 million instructions a second" test "$did" -gt 0 -a "$did" -lt 90000000
took=$((($(many_top 10) - $(many_top 1)) / 9))
echo "# a refresh of top with 5000 cgroups, all with pages: $took ms"
holds "top with 5000 cgroups takes less than 5 % of a processor, on a quiet host" test "$took" -lt 100
