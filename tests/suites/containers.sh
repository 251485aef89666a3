#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
#
# Containers in Debian, beyond the recipes: bad values through each way in, crun with
# patches/crun, users with a delegated subtree, checkpoint and restore.  Needs a node
# (DEVICE=sim or cxl), what "make cramcg-stage" has installed, and crun-cram beside it.
#
# ONLY=PART: bad, libcgroup, crun, users or checkpoint, with which the words of its tests begin.
#
# shellcheck disable=SC2016 # for the shells that run it

cd "$(dirname "$0")" || exit 1
. ./lib-tap.sh

CG=/sys/fs/cgroup
EXAMPLES=/usr/local/share/doc/cramcg/examples
# As in recipes.sh
export GOGC=off GODEBUG=asyncpreemptoff=1

is() { [ "$1" = "$2" ] || { echo "\"$1\" is not \"$2\""; return 1; }; }
says() { # STATUS REGEX COMMAND...: ends so (+: not 0), and has a line that is so
	local want=$1 regex=$2 status=0
	shift 2
	if [ "$(type -t "$1")" = function ]; then
		"$@" > /tmp/said 2>&1 < /dev/null || status=$?
	else
		timeout 120 "$@" > /tmp/said 2>&1 < /dev/null || status=$?
	fi
	[ "$want" != + ] || [ "$status" = 0 ] || want=$status
	[ "$status" != "$want" ] || ! grep -Eq -e "$regex" /tmp/said || return 0
	cat -v /tmp/said
	echo "(status $status)"
	return 1
}
ok() { # WORDS COMMAND...: a test of this part
	local words="$part: $1"
	shift
	check "$words" "$@"
}
values() { cat "$@" | tr '\n' ' '; }
disable() { # as after boot
	find "$CG" -depth -name cgroup.subtree_control -exec grep -slw cram {} + | while read -r file; do
		echo -cram > "$file"
	done
}
enabled_nowhere() { ! grep -w cram "$CG"/cgroup.subtree_control; }
# What is refused may leave nothing that runs.  (crun leaves an empty cgroup behind,
# whatever the reason.)
clean() {
	local left
	left=$(find "$CG/demo" -name cgroup.procs -exec cat {} + 2> /dev/null)
	[ -z "$left" ] || { echo "still running: $left"; return 1; }
	[ ! -e "$CG"/demo ] || find "$CG"/demo -depth -type d -exec rmdir {} +
}
refused() { # REGEX COMMAND...
	says + "$@" && clean
}
detached() { # RUNTIME [OPTION...]
	"$@" run --detach --bundle /run/bundle demo < /dev/null > /tmp/said 2>&1 || { cat /tmp/said; return 1; }
}

# --- bad values, through each way in -------------------------------------------------
BAD=(-1 99999999999999999999999999 text '')

bundle() { # KEY VALUE: limits in unified or in an annotation, with the hook
	if [[ $1 = org.* ]]; then
		jq --arg k "$1" --arg v "$2" '.annotations[$k] = $v' "$EXAMPLES"/oci-hook.json
	else
		jq --arg k "$1" --arg v "$2" '.linux.resources.unified[$k] = $v' "$EXAMPLES"/oci-unified.json
	fi > /run/bundle/config.json
}
logged() { journalctl --boot --identifier oci-cram-hook | grep -F -e "$1"; }
part_bad() {
	local value
	for value in "${BAD[@]}"; do
		bundle org.cram.max "$value"
		# (With crun: runc enables every controller, whatever comes of it.)
		disable
		ok "crun, hook: cram.max=$value" refused 'error executing hook .*oci-cram-hook' crun run --bundle /run/bundle demo
		ok "  cram is enabled nowhere" enabled_nowhere
		ok "  the journal has the reason" within 10 logged "org.cram.max: cram.max: \"$value\" not written"
		ok "runc, hook: cram.max=$value" refused "oci-cram-hook: org.cram.max: cram.max: .*$value" runc run --bundle /run/bundle demo
	done
	bundle org.cram.nodes 77
	disable
	ok "crun, hook: a node that is none" refused 'error executing hook .*oci-cram-hook' crun run --bundle /run/bundle demo
	ok "  cram is enabled nowhere" enabled_nowhere
	ok "  the journal has the reason" within 10 logged 'node 77 is not a cram node'
	bundle org.cram.maximum 1M
	ok "runc, hook: an annotation that is none" refused 'org.cram.maximum: there is no such setting' runc run --bundle /run/bundle demo
	# An empty value writes nothing: what the kernel says is that all is well
	for value in -1 99999999999999999999999999 text; do
		bundle cram.max "$value"
		ok "runc, unified: cram.max=$value" refused 'cram.max' runc run --bundle /run/bundle demo
		ok "crun with patches/crun, unified: cram.max=$value" refused 'write to `cram.max`' ./crun-cram run --bundle /run/bundle demo
	done
	bundle cram.nodes 77
	ok "runc, unified: a node that is none" refused 'cram.nodes' runc run --bundle /run/bundle demo
}

configured() { sed "s/\"128M\"/\"$1\"/" "$EXAMPLES"/cgconfig.conf > /run/bundle/cgconfig.conf; }
part_libcgroup() {
	local value
	cgcreate -g cram:demo
	cgset -r cram.max=64M demo
	for value in "${BAD[@]}"; do
		ok "cgset: a bad value: cram.max=$value" says + . cgset -r "cram.max=$value" demo
		ok "  the limit stands" is "$(values "$CG"/demo/cram.max)" "67108864 "
	done
	ok "cgset: a node that is none" says + . cgset -r cram.nodes=77 demo
	ok "  no node is set" is "$(cat "$CG"/demo/cram.nodes)" ""
	cgdelete -g cram:demo
	for value in -1 99999999999999999999999999 text; do
		configured "$value"
		ok "cgconfigparser: a bad value: cram.max=$value" says 91 . cgconfigparser -l /run/bundle/cgconfig.conf
		ok "  nothing is left" [ ! -e "$CG"/batch ]
		[ ! -e "$CG"/batch ] || cgdelete -r -g memory,cram:batch
	done
	configured ''
	ok "cgconfigparser: an empty value" cgconfigparser -l /run/bundle/cgconfig.conf
	ok "  sets nothing" is "$(cat "$CG"/batch/nightly/cram.max "$CG"/batch/nightly/cram.low)" "$(printf 'max\n16777216')"
	cgdelete -r -g memory,cram:batch
}

# --- crun with patches/crun ----------------------------------------------------------
part_crun() {
	disable
	cp "$EXAMPLES"/oci-unified.json /run/bundle/config.json
	ok "as it is it refuses unified" says + 'controller `cram` is not available' crun run --bundle /run/bundle demo
	clean
	ok "with the patch it starts" detached ./crun-cram
	ok "  with its limits" is "$(values "$CG"/demo/unified/cram.{max,low,writable_budget})" "67108864 4194304 8388608 "
	./crun-cram delete --force demo
	clean
	disable
	jq '.linux.cgroupsPath = "system.slice:demo:unified"' "$EXAMPLES"/oci-unified.json > /run/bundle/config.json
	ok "with systemd as manager" detached ./crun-cram --systemd-cgroup
	ok "  with its limits" is "$(values "$CG"/system.slice/demo-unified.scope/container/cram.{max,low,writable_budget})" "67108864 4194304 8388608 "
	./crun-cram --systemd-cgroup delete --force demo
	disable
	jq 'del(.linux.resources)' "$EXAMPLES"/oci-unified.json > /run/bundle/config.json
	ok "a container that asks for nothing" detached ./crun-cram
	ok "  has cram enabled nowhere" enabled_nowhere
	./crun-cram delete --force demo
	clean
}

# --- a user with a subtree of their own ------------------------------------------------
part_users() {
	local U=$CG/user.slice/user-1500.slice/user@1500.service file runtime show
	useradd --create-home --uid 1500 --shell /bin/bash cram-user
	grep -q cram-user /etc/subuid || usermod --add-subuids 200000-265535 --add-subgids 200000-265535 cram-user
	mkdir -p /var/lib/systemd/linger /etc/containers/containers.conf.d
	cp "$EXAMPLES"/podman-hooks.conf /etc/containers/containers.conf.d
	: > /var/lib/systemd/linger/cram-user
	systemctl start user@1500.service
	user() { setpriv --reuid 1500 --regid 1500 --init-groups env HOME=/home/cram-user "$@"; }
	session() { # COMMAND... in a unit of the user's own systemd
		timeout 200 systemd-run --user --machine cram-user@.host --quiet --wait --pipe --collect \
			--setenv GOGC=off --setenv GODEBUG=asyncpreemptoff=1 -- "$@" < /dev/null
	}
	ok "their systemd runs" systemctl is-active user@1500.service
	ok "root gives them cram, with a limit" sh -c 'cramcg enable /user.slice/user-1500.slice/user@1500.service && cramcg set /user.slice/user-1500.slice/user@1500.service max=128M'
	ok "the user enables it below" user sh -c "echo +cram > $U/cgroup.subtree_control && mkdir $U/mine"
	ok "  and sets limits of a group" user sh -c "echo 64M > $U/mine/cram.max && echo 1M > $U/mine/cram.low && echo 0 > $U/mine/cram.writable_budget"
	ok "  which are there" is "$(values "$U"/mine/cram.{max,low,writable_budget})" "67108864 1048576 0 "
	for file in cram.max cram.low cram.nodes cram.page.max cram.node.max cram.writable_budget cram.reclaim; do
		ok "but not $file of the subtree as a whole" says + 'Permission denied' user sh -c "echo 0 > $U/$file"
	done
	ok "nor anything of others" says + 'Permission denied' user sh -c "echo -cram > $CG/user.slice/cgroup.subtree_control"
	ok "with cramcg" user cramcg set /user.slice/user-1500.slice/user@1500.service/mine max=2M
	ok "  its limit is there" is "$(values "$U"/mine/cram.max)" "2097152 "
	rmdir "$U"/mine
	session "$EXAMPLES"/demo-image > /tmp/image 2>&1 || sed 's/^/# /' /tmp/image
	show='cat /sys/fs/cgroup$(cut -d: -f3 /proc/self/cgroup)/cram.max'
	for runtime in crun runc; do
		ok "podman with $runtime: annotation" says 0 '^8388608$' session podman --runtime "$runtime" run --rm --network none --cgroupns host --annotation org.cram.max=8M localhost/demo sh -c "$show"
		ok "  a bad value" says + 'oci-cram-hook' session podman --runtime "$runtime" run --rm --network none --annotation org.cram.max=-1 localhost/demo true
	done
	ok "podman with runc: --cgroup-conf" says 0 '^4194304$' session podman --runtime runc run --rm --network none --cgroupns host --cgroup-conf cram.max=4M localhost/demo sh -c "$show"
	ok "the limit of the subtree stands" is "$(values "$U"/cram.max)" "134217728 "
}

# --- checkpoint and restore ---------------------------------------------------------------
# What is restored has new pages; the limits come from its configuration.
FILL='x=$(yes abcdefg | head -c 10000000); n=0; while sleep 1; do n=$((n + 1)); echo ${#x} > /proc/self/comm; done'
resident() { [ "$(cat "$1/cram.current")" -gt 2000000 ]; }
push_out() {
	echo 8M > "$1/memory.reclaim" || :
	resident "$1"
}
checkpoint() { # RUNTIME
	local c=$CG/demo/hook
	# (With a file of ours as its output it could not be taken apart.)
	"$1" run --detach --bundle /run/bundle demo < /dev/null > /dev/null 2>&1 &&
		within 200 push_out "$c" &&
		"$1" checkpoint --image-path /run/image --work-path /run/work demo &&
		"$1" restore --detach --image-path /run/image --work-path /run/work --bundle /run/bundle demo < /dev/null > /dev/null 2>&1 || return
	# crun runs no hooks when it restores: what they set is set by hand
	if [ "$1" = crun ]; then
		is "$(values "$c"/cram.max)" "max " && cramcg set /demo/hook max=64M || return
	fi
	is "$(values "$c"/cram.max)" "67108864 " && grep -q . "$c"/cgroup.procs && within 60 push_out "$c"
}
reported() {
	"$@" || { grep -hE 'Error|Warn' /run/work/*.log; return 1; }
}
part_checkpoint() {
	local runtime
	# (CRIU locks a network of the container's own with iptables, which is not there.)
	jq --arg fill "$FILL" '.process.args = ["sh", "-c", $fill] | .linux.namespaces -= [{ type: "network" }]' \
		"$EXAMPLES"/oci-hook.json > /run/bundle/config.json
	criu check > /tmp/criu 2>&1
	echo "# criu check: $(tail -n 1 /tmp/criu)"
	for runtime in runc crun; do
		mkdir /run/image /run/work
		ok "with resident pages, $runtime" reported checkpoint "$runtime"
		"$runtime" delete --force demo > /dev/null 2>&1
		clean
		rm -rf /run/image /run/work
	done
}

clean_up() {
	if [ -e /var/lib/systemd/linger/cram-user ]; then
		rm -f /var/lib/systemd/linger/cram-user
		systemctl stop user@1500.service
		userdel --remove cram-user
	fi
	rm -rf /etc/containers/containers.conf.d /run/bundle
	disable
} > /dev/null 2>&1
trap clean_up EXIT

echo "TAP version 13"
mkdir /run/bundle
$EXAMPLES/demo-image --root-only
for part in bad libcgroup crun users checkpoint; do
	[ -z "${ONLY:-}" ] || [[ $part =~ ${ONLY} ]] || continue
	"part_$part"
done
echo "1..$n"
exit "$failed"
