#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
#
# The package that scripts/kernel-deb makes, in a Debian guest that runs its kernel
# (kernel_deb.sh).
set -eu
. "$(dirname "$0")/../../scripts/lib.sh"

if ! command -v dh > /dev/null; then
	echo "1..0 # SKIP debhelper is not installed"
	exit 0
fi
FLAVOUR=guest scripts/kernel-deb >&2
deb=$(echo build/deb/linux-image-*.deb)
tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT
dpkg-deb --fsys-tarfile "$deb" | tar -C "$tmp" -xf - --wildcards './boot/vmlinuz-*'

export KERNEL=$tmp/vmlinuz SCRIPT=tests/suites/kernel_deb.sh
mv "$tmp"/boot/vmlinuz-* "$KERNEL"
export FILES="tests/suites/lib-cxl.sh tests/suites/lib-tap.sh tests/suites/lib-cxl-test.sh
	build/tests/cxl_user build/cramcg/cramcg build/cramcg/libcramcg.so.1 $deb"
export GUEST=debian DEVICE=cxl REGION=no CXL=256M CXLPHYS=64M MEM=1G NAME=check-kernel_deb TIMEOUT=900
tests/vm/run < /dev/null
