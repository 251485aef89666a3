# SPDX-License-Identifier: GPL-2.0-or-later
# shellcheck shell=bash disable=SC2016,SC2154
#
# oci-cram-hook against a recorded tree, with a fake kernel and sanitizers.  Sourced by
# run, whose functions it uses.

cat > "$tmp/hook" <<-'EOF'
	#!/bin/bash
	# usage: hook TREE STATE: as a runtime calls it
	printf '%s' "$2" | CRAMCG_ROOT=$1 LD_PRELOAD=$build/fakekernel.so "$build/asan/oci-cram-hook"
EOF
chmod +x "$tmp/hook"
export build
hook() { "$tmp/hook" "$root" "$1"; }
state() { # ANNOTATIONS [MORE]: what runc writes
	printf '{"ociVersion":"1.0.2","id":"c1","status":"creating","pid":101,"bundle":"%s/bundle","annotations":%s%s}' \
		"$tmp" "$1" "${2-}"
}
# Refused, with a reason, and nothing is changed
unchanged() { # REGEX WORDS STATE
	local status=0
	hook "$3" > "$tmp/out" 2>&1 || status=$?
	[ "$status" = 1 ] && grep -qE -- "$1" "$tmp/out" && [ "$(wc -l < "$tmp/out")" = 1 ] &&
		! grep -qP '[\x00-\x08\x0b-\x1f\x7f]|Sanitizer|runtime error' "$tmp/out"
	local ok=$?
	[ $ok = 0 ] || echo "(status $status, wanted $1)" >> "$tmp/out"
	if [ $ok = 0 ] && ! diff <(echo "$untouched") <(settings) >> "$tmp/out"; then
		ok=1
		fresh
		untouched=$(settings)
	fi
	result $ok "$2"
}

# A container in a cgroup that has cram as soon as it is enabled above: process 100 is in
# one that has it already, 101 in one whose files the fake kernel cannot make.
fresh
in_a() { state "$1" "${2-}" | sed 's/"pid":101/"pid":100/'; }
gives 0 '' "hook: all settings" hook "$(in_a '{"org.cram.max":"64M","org.cram.low":"4M","org.cram.writable_budget":"inherit","org.cram.nodes":"1","org.cram.node_max":"N1:32M, N2:max","org.cram.page_max":"1000","other":"x"}')"
holds "  are there" is "$(value tenants/a/cram.max) $(value tenants/a/cram.low) $(value tenants/a/cram.writable_budget) $(value tenants/a/cram.nodes) $(value tenants/a/cram.node.max) $(value tenants/a/cram.page.max)" \
	"67108864 4194304 inherit 1 N1 33554432 1000"
before=$(settings)
gives 0 '' "hook: a second time changes nothing" hook "$(in_a '{"org.cram.max":"64M"}')"
holds "  nothing changed" same "$before" "$(settings)"
gives 0 '' "hook: annotations of others" hook "$(state '{"io.kubernetes.cri.container-type":"container","org.cramp":"1","org.cram":"2"}')"
gives 0 '' "hook: no annotation" hook "$(state '{}')"
gives 0 '' "hook: a list of nodes that is empty" hook "$(in_a '{"org.cram.nodes":""}')"
gives 1 'cram.max: "67108864"|cram is not enabled|cram.max' "hook: cram is enabled above, and its files do not come" hook "$(state '{"org.cram.max":"64M"}')"
holds "  it was" grep -q cram "$cg/plain/cgroup.subtree_control"
fresh
mkdir "$tmp/bundle"
echo '{"ociVersion":"1.0.2","annotations":{"org.cram.max":"32M"}}' > "$tmp/bundle/config.json"
gives 0 '' "hook: annotations from config.json" hook "{\"pid\":100,\"bundle\":\"$tmp/bundle\"}"
holds "  are there" is "$(value tenants/a/cram.max)" 33554432
gives 0 '' "hook: those of the state count" hook "$(in_a '{}')"
echo '{"ociVersion":"1.0.2"}' > "$tmp/bundle/config.json"
gives 0 '' "hook: config.json without annotations" hook "{\"pid\":100,\"bundle\":\"$tmp/bundle\"}"

# All or nothing
fresh
before=$(settings)
export FAKE_FAIL="cram.low=ENOMEM"
gives 1 'cram.low' "hook: the last write fails" hook "$(in_a '{"org.cram.max":"64M","org.cram.low":"4M"}')"
unset FAKE_FAIL
holds "  the first is taken back" same "$before" "$(settings)"
export FAKE_FAIL="cgroup.subtree_control=EBUSY"
untouched=$before
unchanged 'subtree_control' "hook: cram cannot be enabled" "$(state '{"org.cram.max":"64M"}')"
unset FAKE_FAIL

# Values
fresh
untouched=$(settings)
for bad in -1 -64M 64 18446744073709551616 99999999999999999999999999 16777216T 1e6 0x1000 '' ' ' text 64MB \
	'64M ' ' 64M' '64\nM' auto inherit NaN '\u001b[31m' 'ä'; do
	unchanged 'org.cram.max: cram.max: ".*" not written' "hook: max=$(printf %s "$bad" | tr -c '[:print:]' .)" \
		"$(in_a '{"org.cram.low":"4M","org.cram.max":"'"$bad"'"}')"
done
for bad in 0 7 1-3 1-99999999999 -1 x '1,' '1;2' 1024; do
	unchanged 'cram.nodes' "hook: nodes=$bad" "$(in_a '{"org.cram.max":"64M","org.cram.nodes":"'"$bad"'"}')"
done
for bad in '' ' ' ',' 1:64M N7:64M N1 N1: N1:-1 N1:x N1:64M,N1:32M N99999999999999999999:1M 'N1 64M'; do
	unchanged 'node.max|node_max' "hook: node_max=$bad" "$(in_a '{"org.cram.max":"64M","org.cram.node_max":"'"$bad"'"}')"
done
unchanged 'node 7 is not a cram node' "hook: an unknown node enables cram nowhere" "$(state '{"org.cram.nodes":"7"}')"
unchanged 'org.cram.maximum: there is no such setting; there are org.cram.max, .*org.cram.node_max' "hook: a setting that is none" "$(in_a '{"org.cram.maximum":"64M"}')"
unchanged 'no such setting' "hook: the prefix alone" "$(in_a '{"org.cram.":"64M"}')"
unchanged 'no such setting' "hook: a path for a name" "$(in_a '{"org.cram.../../x":"64M"}')"
unchanged 'no such setting' "hook: a file that is no setting" "$(in_a '{"org.cram.reclaim":"64M"}')"
for bad in 64 -1 1e400 true null '["64M"]' '{"a":"64M"}'; do
	unchanged 'not a string|not JSON' "hook: the value is $bad" "$(in_a '{"org.cram.max":'"$bad"'}')"
done
unchanged 'not JSON.*duplicate' "hook: twice the same" "$(in_a '{"org.cram.max":"64M","org.cram.max":"1M"}')"
unchanged 'not JSON' "hook: a NUL in a value" "$(in_a '{"org.cram.max":"64M\u0000"}')"
unchanged 'not JSON' "hook: a NUL in a name" "$(in_a '{"org.cram.max\u0000x":"64M"}')"

# State
for bad in '' ' ' x '{' '{"pid":100' '{}x' '"text"' 12 '[]' null "$(printf '\xff\xfe')"; do
	unchanged 'state: not' "hook: the state is \"$(printf %s "$bad" | tr -c '[:print:]' .)\"" "$bad"
done
unchanged 'not JSON' "hook: nested without end" "$(printf '[%.0s' {1..100000})"
unchanged 'neither annotations nor a bundle' "hook: an empty state" '{}'
unchanged 'annotations: not a JSON object' "hook: annotations are a list" "$(in_a '["org.cram.max"]')"
for bad in 0 -1 -100 '"100"' 4294967396 9223372036854775807 9223372036854775808 1.5 null; do
	unchanged 'pid|not JSON' "hook: pid $bad" '{"pid":'"$bad"',"annotations":{"org.cram.max":"64M"}}'
done
unchanged 'no process' "hook: no pid" '{"annotations":{"org.cram.max":"64M"}}'
unchanged 'no such process' "hook: a process that is gone" '{"pid":77,"annotations":{"org.cram.max":"64M"}}'
unchanged 'outside of this cgroup namespace' "hook: a process outside" '{"pid":102,"annotations":{"org.cram.max":"64M"}}'
mkdir -p "$root/proc/103"
echo 0::/ > "$root/proc/103/cgroup"
untouched=$(settings)
unchanged 'root cgroup' "hook: the root cgroup" '{"pid":103,"annotations":{"org.cram.max":"64M"}}'
{ printf '{"x":"'; head -c 5000000 /dev/zero | tr '\0' x; printf '"}'; } > "$tmp/big"
gives 1 'more than 4194304 bytes' "hook: a state without end" bash -c 'CRAMCG_ROOT=$1 "$build/asan/oci-cram-hook" < "$2"' _ "$root" "$tmp/big"
gives 1 'state: Is a directory' "hook: the state is a directory" bash -c 'CRAMCG_ROOT=$1 "$build/asan/oci-cram-hook" < /' _ "$root"
gives 1 'state:' "hook: no stdin" bash -c 'CRAMCG_ROOT=$1 "$build/asan/oci-cram-hook" <&-' _ "$root"

# config.json
config() { # REGEX WORDS: what is at $tmp/bundle now
	unchanged "$1" "hook: config.json is $2" "{\"pid\":100,\"bundle\":\"$tmp/bundle\"}"
	rm -rf "$tmp/bundle"
	mkdir "$tmp/bundle"
}
rm "$tmp/bundle/config.json"
config 'config.json: No such file' missing
echo '{"annotations":{"org.cram.max":"1M"}}' > "$tmp/real.json"
ln -s "$tmp/real.json" "$tmp/bundle/config.json"
config 'config.json: is a symbolic link' 'a symlink'
mkfifo "$tmp/bundle/config.json"
config 'config.json: not a file' 'a pipe'
mkdir "$tmp/bundle/config.json"
config 'config.json: not a file' 'a directory'
echo '{' > "$tmp/bundle/config.json"
config 'config.json: not JSON: line' 'no JSON'
echo '{"annotations":3}' > "$tmp/bundle/config.json"
config 'annotations: not a JSON object' 'of another form'
cp "$tmp/big" "$tmp/bundle/config.json"
config 'config.json: more than' 'without end'
unchanged 'not an absolute path' "hook: a bundle that is relative" '{"pid":100,"bundle":"bundle"}'
unchanged 'No such file' "hook: a bundle that is gone" '{"pid":100,"bundle":"/nowhere"}'

# Machines
fresh
sed -i 's/ cram//' "$cg/cgroup.controllers"
gives 1 'cram is not among them' "hook: a machine without cram" hook "$(in_a '{"org.cram.max":"64M"}')"
gives 0 '' "  and without annotations" hook "$(in_a '{}')"
gives 2 '^usage' "hook: arguments" "$build/asan/oci-cram-hook" x
gives 0 'createRuntime' "hook: --help" "$build/asan/oci-cram-hook" --help
holds "hooks.d JSON is JSON, with the stage" bash -c 'jq -e ".stages == [\"createRuntime\"] and .version == \"1.0.0\" and (.when.annotations | keys == [\"^org\\\\.cram\\\\.\"])" "$1"' _ "$build/oci-cram-hook.json"
