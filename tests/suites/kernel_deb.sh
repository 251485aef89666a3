#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
#
# A Debian guest that runs the kernel of a package: the package is installed, udev loads
# its modules for the device that is there, and a cgroup can use it.
cd "$(dirname "$0")" || exit 1
. ./lib-cxl.sh
. ./lib-tap.sh
. ./lib-cxl-test.sh

deb=$(echo linux-image-*.deb)
release=${deb#linux-image-} release=${release%%_*}

loaded() { # MODULE...
	local module
	for module; do grep -q "^$module " /proc/modules || return; done
}
# shellcheck disable=SC2016 # for dpkg
no_claims() {
	claims=$(dpkg-query -W -f '${Conflicts}${Breaks}${Replaces}${Provides}' "linux-image-$release") || return
	echo "$claims"
	[ -z "$claims" ]
}
# udev as at boot, when the package is there before it
finds_devices() {
	udevadm trigger --type=devices --action=add --subsystem-match=acpi --subsystem-match=platform --subsystem-match=pci
	within 120 loaded cxl_acpi cxl_pci cxl_mem || { cat /proc/modules; return 1; }
}
# Without "bind": what takes the region is found by its alias
region() {
	cxl_devices 1 || return
	# shellcheck disable=SC2046 # a list
	REGION=$(cxl_region_make 1 4096 $(cxl_memdevs)) && cxl_region_bind "$REGION" && NODE=$(cxl_node_wait 60000)
}
doctor() {
	cramcg doctor -v > /tmp/doctor
	cat /tmp/doctor
	grep -q "^ok .*node $NODE is open" /tmp/doctor
}
resident() { [ "$(cg_file job/cram.current)" -gt 4194304 ]; }

echo "TAP version 13"
echo "1..11"
check "the kernel that runs has the name of the package" test "$(uname -r)" = "$release"
check "no module is there without it" sh -c '! modprobe cxl_acpi'
check "the package can be installed" dpkg -i "$deb"
check "it claims nothing that another kernel has" no_claims
check "udev loads the drivers of the device" finds_devices
check "a region becomes a node" region
check "with the module that was found by its alias" loaded cxl_cram
check "cgroups can have the controller" cgroups job
check "cramcg doctor is content" doctor
user_start a job 16
user_ask a pageout > /dev/null
check "pages are demoted" resident
check "and hold what was written" user_verify a
user_end a
exit "$failed"
