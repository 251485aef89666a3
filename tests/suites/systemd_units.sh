#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
#
# X-CRAM... properties in units of the real systemd, and a device that comes up by itself
# at boot.  Needs DEVICE=cxl, REGION=no, cramcg as "make cramcg-stage" installs it, and the
# directory stage.units, both there before systemd starts.

# shellcheck disable=SC2016 # for the shells that run it

cd "$(dirname "$0")" || exit 1
. ./lib-tap.sh
. ./lib-cxl.sh

CG=/sys/fs/cgroup
SD=/run/systemd/system
R=/run/units
SAYS=$R/says
mkdir -p $R $SD

is() { [ "$1" = "$2" ] || { echo "\"$1\" is not \"$2\""; return 1; }; }
# Each program that is started takes its time in this guest: what bash can do, it does
value() { # FILE
	local line=
	IFS= read -r line 2> /dev/null < "$CG/$1" || :
	echo "$line"
}
becomes() { is "$(value "$1")" "$2" > /dev/null; }
# What the journal has, since the script began
begin=$(date +%s)
journal() { journalctl --sync && journalctl -q -o cat --since="@$begin" > /tmp/journal; }
told() { grep -Eq -e "$1" /tmp/journal || { cat /tmp/journal; echo "no line like $1"; return 1; }; }
unit() { # NAME LINE...
	local name=$1 dir=$SD/$1
	shift
	case $name in */*) mkdir -p "${dir%/*}" ;; esac
	printf '%s\n' "$@" > "$dir"
}
# A service that notes what it finds: before it starts, and when it runs
service() { # NAME LINE...
	local name=$1 me=$1
	shift
	# (%n is the alias for who is started by it)
	case $name in *@*) me=%n ;; esac
	unit "$name" "[Service]" "ExecStartPre=$SAYS before $me" "ExecStart=$SAYS main $me" "$@"
}
cat > $SAYS << 'END'
#!/bin/bash
read -r line < /proc/self/cgroup
dir=/sys/fs/cgroup${line#0::}
all=$1
for file in cram.max cram.low cram.writable_budget cram.nodes cram.node.max cram.page.max; do
	value=
	read -r value < $dir/$file
	all+=" ${value:--}"
done
echo "$all" >> "/run/units/$2"
[ "$1" = before ] || exec sleep infinity
END
chmod +x $SAYS
# main is late by nothing that systemd waits for
said() { # UNIT: both lines, then forget them
	within 60 grep -qs ^main "$R/$1" && cat "$R/$1"
	rm -f "$R/$1"
}
both() { printf 'before %s\nmain %s' "$1" "$1"; }
# cramcgd has done with all that was loaded anew before: a change that was loaded last is there
marks=0
unit u-mark.service "[Service]" "ExecStart=/bin/sleep infinity"
reloaded() {
	systemctl start u-mark.service && systemctl daemon-reload || return
	marks=$((marks + 1))
	unit u-mark.service.d/x.conf "[Service]" "X-CRAMMax=${marks}M"
	systemctl daemon-reload && within 60 becomes system.slice/u-mark.service/cram.max $((marks << 20))
}
node_is() { [ "$(cat "/sys/devices/system/node/node1/cram/state" 2> /dev/null)" = "$1" ]; }

echo "TAP version 13"

# --- boot --------------------------------------------------------------------------------

check "boot: a device with a rule of udev's becomes a node by itself" within 180 node_is open
check "boot: what /etc/cramcg says is in force: of a cgroup" within 60 becomes boot-test/cram.max 2097152
check "  and of the node, when that is there" \
	within 40 sh -c '[ "$(cat /sys/devices/system/node/node1/cram/reserve_bytes)" = 9437184 ]'
check "boot: the limits of a slice and of a service, before its first ExecStartPre=" \
	is "$(cat /run/boot-test)" "$(printf '134217728\n67108864')"
check "boot: nothing failed" sh -c 's=$(systemctl --failed --plain --no-legend); echo "$s"; [ -z "$s" ]'

# --- the generator -------------------------------------------------------------------------

service u-all.service X-CRAMMax=64M X-CRAMLow=1M X-CRAMWritableBudget=2M X-CRAMNodes=1 \
	X-CRAMNodeMax=N1:32M X-CRAMPageMax=3000
service u-plain.service
service u-tmpl@.service X-CRAMMax=3M
unit u-tmpl@two.service.d/x.conf "[Service]" X-CRAMMax=4M
service u-real.service X-CRAMMax=5M
ln -s u-real.service $SD/u-alias.service
unit u-alias.service.d/x.conf "[Service]" X-CRAMLow=1M
unit u-pre-.service.d/x.conf "[Service]" X-CRAMMax=6M
service u-pre-one.service
service u-empty.service X-CRAMMax=7M
unit u-empty.service.d/zzzz.conf "[Service]" ExecStartPre= "ExecStartPre=$SAYS before %n"
unit service.d/u.conf "[Service]" X-CRAMPageMax=3500
service u-user.service X-CRAMMax=8M User=nobody Delegate=yes "ExecStartPre=" "ExecStart=" "ExecStart=/bin/sleep infinity"
service u-root.service X-CRAMMax=9M ProtectControlGroups=yes ProtectSystem=strict NoNewPrivileges=yes \
	"ReadWritePaths=$R" StandardOutput=null StandardError=null
unit uslice.slice "[Slice]" X-CRAMMax=96M X-CRAMLow=2M
service u-in.service Slice=uslice-in.slice
unit uslice-in.slice "[Slice]" X-CRAMMax=48M
unit sc-.scope.d/x.conf "[Scope]" X-CRAMMax=11M
unit run-.service.d/x.conf "[Service]" X-CRAMMax=12M
systemctl daemon-reload
check "all kinds of services start" systemctl start u-all u-plain u-tmpl@one u-tmpl@two u-alias u-pre-one u-empty u-user u-root u-in
check "service: all properties, before ExecStartPre= and the program, a drop-in of service.d last" \
	is "$(said u-all.service)" "$(both '67108864 1048576 2097152 1 N1 33554432 3500')"
check "service.d counts for one that has none of its own" is "$(said u-plain.service)" "$(both 'max 0 inherit - - 3500')"
check "a template" is "$(said u-tmpl@one.service)" "$(both '3145728 0 inherit - - 3500')"
check "an instance that has its own" is "$(said u-tmpl@two.service)" "$(both '4194304 0 inherit - - 3500')"
check "an alias, and its drop-in" is "$(said u-real.service)" "$(both '5242880 1048576 inherit - - 3500')"
check "a drop-in of a prefix" is "$(said u-pre-one.service)" "$(both '6291456 0 inherit - - 3500')"
check "an ExecStartPre= that empties those before it" is "$(said u-empty.service)" "$(both '7340032 0 inherit - - 3500')"
check "a service that may write nothing" is "$(said u-root.service)" "$(both '9437184 0 inherit - - 3500')"
check "slices, one in the other" is "$(value uslice.slice/cram.max) $(value uslice.slice/cram.low) $(value uslice.slice/uslice-in.slice/cram.max)" \
	"100663296 2097152 50331648"
rm $SD/service.d/u.conf

systemctl restart u-all
check "restart: all of them, again; of service.d no longer" is "$(said u-all.service)" "$(both '67108864 1048576 2097152 1 N1 33554432 3000')"
systemctl kill -s KILL u-in
systemctl stop u-in uslice.slice
check "a slice that has gone" test ! -e $CG/uslice.slice
systemctl start u-in
check "  and comes back, has its limits" is "$(value uslice.slice/cram.max) $(value uslice.slice/uslice-in.slice/cram.max)" "100663296 50331648"
check "a transient service with a name that a prefix is for" \
	sh -c 's=$(systemd-run -q --pipe --unit run-x sh -c "cat /sys/fs/cgroup/system.slice/run-x.service/cram.max"); echo "$s"; [ "$s" = 12582912 ]'

# --- cramcgd -------------------------------------------------------------------------------

check "cramcgd runs, and the watchdog watches" is "$(systemctl show -p Type -p WatchdogUSec -p ActiveState cramcgd | sort | tr '\n' ' ')" \
	"ActiveState=active Type=notify WatchdogUSec=3min "
check "systemd-analyze security finds cramcgd fit: 2.0 at most" sh -c 'systemd-analyze security --no-pager --threshold=20 cramcgd.service > /tmp/sec; s=$?; tail -n 1 /tmp/sec; exit $s'
# How long a scope is without: from the moment that systemd has it, to that in which its
# program, which does nothing but look, sees the limit
cat > $R/wait << 'END'
#!/bin/sh
read -r line < /proc/self/cgroup
value=max
tries=100000
while [ "${value:-max}" = max ] && [ $tries -gt 0 ]; do
	value=
	read -r value 2> /dev/null < "/sys/fs/cgroup${line#0::}/cram.max"
	tries=$((tries - 1))
done
read -r now idle < /proc/uptime
active=$(systemctl show -P ActiveEnterTimestampMonotonic "${line##*/}")
echo "$value $((${now%.*}${now#*.} * 10 - active / 1000))"
END
chmod +x $R/wait
scope() { # its limit, and milliseconds that it was without
	systemd-run -q --scope --unit "sc-$1" $R/wait
}
delays='' limits=''
for i in 1 2 3; do
	read -r limit ms < <(scope $i)
	limits+=" $limit"
	delays+=" $ms"
done
echo "# a scope was without its limit for (ms):$delays"
check "a scope has its limit a moment later" is "$limits" " 11534336 11534336 11534336"
check "systemctl edit: in force at once, without a restart" sh -c '
	printf "[Service]\nX-CRAMMax=32M\nX-CRAMLow=\n" | systemctl edit --runtime --stdin --drop-in=e u-all.service'
check "  the new limit" within 60 becomes system.slice/u-all.service/cram.max 33554432
check "  and what was taken back" within 60 becomes system.slice/u-all.service/cram.low 0
systemctl daemon-reexec
check "daemon-reexec: values stay" is "$(value system.slice/u-all.service/cram.max) $(value uslice.slice/cram.max)" "33554432 100663296"
check "  and cramcgd hears of what comes after it" sh -c 'rm '$SD'/u-all.service.d/e.conf && systemctl daemon-reload'
check "  namely" within 60 becomes system.slice/u-all.service/cram.max 67108864
check "a drop-in that systemctl revert takes away" sh -c '
	mkdir -p /etc/systemd/system/u-plain.service.d && printf "[Service]\nX-CRAMMax=20M\n" > /etc/systemd/system/u-plain.service.d/x.conf && systemctl daemon-reload'
check "  is in force before" within 60 becomes system.slice/u-plain.service/cram.max 20971520
systemctl revert u-plain.service
check "  and not after" within 60 becomes system.slice/u-plain.service/cram.max max
systemctl restart u-plain
check "  nor after a restart" is "$(said u-plain.service)" "$(both 'max 0 inherit - - max')"

# A file that is edited while the unit starts, and loaded when that is over
service u-edit.service X-CRAMMax=20M "ExecStartPre=/bin/sh -c 'echo X-CRAMMax=21M >> $SD/u-edit.service'"
systemctl daemon-reload
systemctl start u-edit.service
systemctl daemon-reload
check "a file that was edited while its unit started" within 60 becomes system.slice/u-edit.service/cram.max 22020096
# What nobody changed in a file is not set again
echo 7M > $CG/system.slice/u-all.service/cram.max
echo "N1 9M" > $CG/system.slice/u-all.service/cram.node.max
check "files are loaded anew, and these are as they were" reloaded
check "  what was set by hand stays" is "$(value system.slice/u-all.service/cram.max) $(value system.slice/u-all.service/cram.node.max)" "7340032 N1 9437184"
systemctl restart cramcgd.service
check "  also when cramcgd starts anew" is "$(value system.slice/u-all.service/cram.max) $(value system.slice/u-all.service/cram.node.max)" "7340032 N1 9437184"
check "  which still knows what to take back" sh -c 'sed -i /X-CRAMPageMax/d '$SD'/u-all.service && systemctl daemon-reload'
check "  namely" within 60 becomes system.slice/u-all.service/cram.page.max max
# A scope that was made before its properties were loaded, and has its cgroup after that
unit u-gate.service "[Service]" Type=oneshot "ExecStart=/bin/sh -c 'until [ -e $R/gate ]; do sleep 0.1; done'"
systemctl daemon-reload
systemd-run -q --scope --unit sd-late -p Requires=u-gate.service -p After=u-gate.service sleep infinity > /dev/null 2>&1 &
waits() { [ -n "$(systemctl list-jobs --plain --no-legend sd-late.scope)" ]; }
check "a scope that waits for another unit" within 60 waits
unit sd-.scope.d/x.conf "[Scope]" X-CRAMMax=14M
check "  its properties are loaded" systemctl daemon-reload
: > $R/gate
check "  and in force when it is there" within 60 becomes system.slice/sd-late.scope/cram.max 14680064
systemctl stop sd-late.scope

# A service that Podman makes of a container (here of no image, so another program runs)
mkdir -p /etc/containers/systemd
printf '%s\n' "[Container]" Image=localhost/none "[Service]" X-CRAMMax=17M > /etc/containers/systemd/u-quadlet.container
unit u-quadlet.service.d/x.conf "[Service]" Type=exec "ExecStart=" "ExecStart=/bin/sleep infinity" "ExecStop=" "ExecStopPost="
check "a container of Podman: it is a service" sh -c 'systemctl daemon-reload && systemctl start u-quadlet.service'
check "  with the limit of its file" is "$(value system.slice/u-quadlet.service/cram.max)" 17825792
systemctl stop u-quadlet.service
rm /etc/containers/systemd/u-quadlet.container
rmdir --ignore-fail-on-non-empty -p /etc/containers/systemd

# --- what is wrong ----------------------------------------------------------------------------

bad() { # NAME PROPERTY VALUE
	service "u-bad-$1.service" X-CRAMLow=1M "$2=$3"
	service "u-must-$1.service" X-CRAMLow=1M "$2=$3" X-CRAMRequire=yes
}
bad negative X-CRAMMax -1
bad overflow X-CRAMMax 99999999999999999999
bad text X-CRAMMax much
bad node X-CRAMNodes 0
bad list X-CRAMNodes 1-
bad nodemax X-CRAMNodeMax N1:
service u-bad-empty.service X-CRAMLow=1M X-CRAMMax=1M X-CRAMMax=
unit ubad.slice "[Slice]" X-CRAMMax=-1 X-CRAMRequire=yes
service u-inbad.service Slice=ubad.slice
unit u-section.service "[Unit]" X-CRAMMax=1M "[Service]" "ExecStart=/bin/sleep infinity"
dmesg -C
systemctl daemon-reload
dmesg > /tmp/generator
check "bad values: told when files are loaded, with file and line" sh -c '
	cat /tmp/generator; for n in negative overflow text list nodemax; do
	grep -Eq "cram-generator: '$SD'/u-bad-$n.service:5: X-CRAM(Max|Nodes|NodeMax)=.*: " /tmp/generator || { echo "not $n"; exit 1; }; done'
check "  and a property in another section" grep -q 'u-section.service:2: X-CRAMMax= belongs to the section \[Service\]' /tmp/generator
systemctl start u-bad-{negative,overflow,text,node,list,nodemax,empty}
systemctl start u-must-{negative,node} u-inbad > /dev/null 2>&1
journal
for name in negative overflow text node list nodemax; do
	check "$name: the unit starts with none of its properties" is "$(said u-bad-$name.service)" "$(both 'max 0 inherit - - max')"
	check "  and says why, with file and line" told "^$SD/u-bad-$name.service:5: X-CRAM(Max|Nodes|NodeMax)="
done
check "empty: takes back what was said before" is "$(said u-bad-empty.service)" "$(both 'max 1048576 inherit - - max')"
for name in negative node; do
	check "$name, with X-CRAMRequire=yes: it does not start" \
		is "$(systemctl show -p ActiveState -p Result u-must-$name | sort | tr '\n' ' ')" "ActiveState=failed Result=exit-code "
	check "  nothing of it" test ! -e "$R/u-must-$name.service"
	check "  and says why" told "^u-must-$name.service: it does not start, because it has X-CRAMRequire=yes"
done
check "a slice with X-CRAMRequire=yes: its members do not start" test ! -e $R/u-inbad.service
check "  and it says why" told "^$SD/ubad.slice:2: X-CRAMMax=-1: "
check "cramcg apply-unit --check says it as well" sh -c 'cramcg apply-unit --check u-bad-text.service 2> /tmp/said; s=$?; cat /tmp/said; [ $s = 1 ] && grep -q "u-bad-text.service:5: X-CRAMMax=much: " /tmp/said'
systemctl reset-failed

# --- who has a subtree of its own ------------------------------------------------------------------

U=$CG/system.slice/u-user.service
as() { setpriv --reuid nobody --clear-groups sh -c "$1"; }
check "delegated: limits of cgroups below are the user's" as "
	mkdir $U/a $U/b && for p in \$(cat $U/cgroup.procs); do echo \$p > $U/b/cgroup.procs; done
	echo +cram > $U/cgroup.subtree_control && echo 1M > $U/a/cram.max && [ \$(cat $U/a/cram.max) = 1048576 ]"
check "  the limit of its own is not" as "! echo max > $U/cram.max && [ \$(cat $U/cram.max) = 8388608 ]"

# --- the node goes, and comes back ------------------------------------------------------------------

service u-late.service X-CRAMMax=13M X-CRAMNodes=1
systemctl daemon-reload
gone() { # and its region is given up
	for region in "$CXL"/region*; do
		systemctl stop cram-region@mem0 && echo "${region##*/}" > /sys/bus/cxl/drivers/cxl_region/unbind &&
			cxl_node_gone 60000 && cxl destroy-region -f all
	done
}
reserve_is() { [ "$(cat /sys/devices/system/node/node1/cram/reserve_bytes)" = "$1" ]; }
in_force() { # UNIT: as its file says
	becomes "system.slice/$1/cram.nodes" 1 && becomes "system.slice/$1/cram.max" "$2"
}
service u-while.service X-CRAMMax=15M X-CRAMNodes=1
service u-now.service X-CRAMMax=16M X-CRAMNodes=1
unit uwait.slice "[Slice]" X-CRAMMax=18M X-CRAMNodes=1
service u-inwait.service Slice=uwait.slice
systemctl daemon-reload
systemctl start u-now
rm -f $R/u-all.service $R/u-now.service
echo 67108864 > $CG/system.slice/u-all.service/cram.max
check "the node goes" gone
check "  what was set stays" is "$(value system.slice/u-all.service/cram.nodes) $(value system.slice/u-all.service/cram.max)" "1 67108864"
systemctl start u-late
check "  a unit that asks for it starts with none of its properties" is "$(said u-late.service)" "$(both 'max 0 inherit - - max')"
systemctl restart u-now
check "  and so does one that had them, when it starts anew" is "$(said u-now.service)" "$(both 'max 0 inherit - - max')"
systemctl start u-inwait
check "  and a slice" is "$(value uwait.slice/cram.nodes) $(value uwait.slice/cram.max)" " max"
systemctl stop cramcgd
systemctl start u-while
check "  one starts while cramcgd does not run" is "$(said u-while.service)" "$(both 'max 0 inherit - - max')"
systemctl start cramcgd
check "the node comes back by the same unit" systemctl start cram-region@mem0
check "  and is open" node_is open
check "  what waited for it is in force" within 60 in_force u-late.service 13631488
check "  also of the one that had it before" within 60 in_force u-now.service 16777216
slice_in_force() { [ "$(value uwait.slice/cram.nodes) $(value uwait.slice/cram.max)" = "1 18874368" ]; }
check "  and of the slice" within 60 slice_in_force
check "  and of that which started without cramcgd" within 60 in_force u-while.service 15728640
check "  and what /etc/cramcg says of it" within 40 reserve_is 9437184

# --- a device that fails --------------------------------------------------------------------------------

# Its answers to Get Compression Capabilities are errors.  Those who wait for the node give up.
gone
unit cramcg-apply.service.d/x.conf "[Service]" Restart=no
systemctl daemon-reload
systemctl stop cramcg-apply
check "settings of a node that is not there" sh -c '! systemctl start cramcg-apply'
systemctl stop u-inwait uwait.slice
for unit in u-now u-while u-late u-inwait; do
	systemctl restart $unit
	said $unit.service > /dev/null
done
cxl_fault cram0 '"opcode": 49152, "return-code": 4'
check "a device that fails: its unit ends, and nothing else fails" sh -c '
	timeout 200 systemctl start cram-region@mem0; echo "status $?"; systemctl --failed --plain --no-legend > /tmp/failed; cat /tmp/failed
	grep -q cram-region@mem0 /tmp/failed && ! grep -v -e cram-region@mem0 -e cramcg-apply /tmp/failed'
check "  there is no node" test ! -e /sys/devices/system/node/node1/cram
cxl_fault cram0 '"opcode": 49152, "return-code": 0'
cxl destroy-region -f all > /tmp/destroyed 2>&1 || sed 's/^/# /' /tmp/destroyed
check "it is mended" systemctl start cram-region@mem0
check "  and its node open" node_is open
check "  what had given up is in force" within 60 reserve_is 9437184
for unit in u-now:16777216 u-while:15728640 u-late:13631488; do
	check "  and what waited a second time, of ${unit%:*}" within 60 in_force ${unit%:*}.service ${unit#*:}
done
check "  and of the slice" within 60 slice_in_force

# --- the end ------------------------------------------------------------------------------------------------

stop=$(date +%s)
systemctl stop 'u-*.service' uslice.slice 'cram-region@*' cramcgd.service
echo "# stopping all took $(($(date +%s) - stop)) s"
check "all of it stops" sh -c '! systemctl is-active u-all.service cramcgd.service uslice.slice'
# What was there at boot only: others may use this guest
rmdir $CG/boot-test
rm -rf /etc/cramcg/10-boot.conf /etc/udev/rules.d/80-cram.rules /etc/systemd/system/boot{-test.service,test.slice} \
	/etc/systemd/system/{multi-user,sysinit}.target.d $R
systemctl daemon-reload
echo "1..$n"
exit "$failed"
