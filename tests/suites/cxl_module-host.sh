#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
#
# A second kernel, with the driver as a module, and a guest in which cxl_module.sh
# loads and removes it.
set -eu
. "$(dirname "$0")/../../scripts/lib.sh"

export CONFIG=tests/vm/cxl_module.config
out=$(scripts/kernel-config --dir "$CONFIG")

# A kernel that came from the cache has no objects, and no module.
[ -e "$out/vmlinux.symvers" ] || rm -f "$out/.cram-key"
[ -e "$LINUX_TREE/.git" ] || scripts/kernel-tree
scripts/kernel
[ "$out/Module.symvers" -nt "$out/vmlinux.symvers" ] || cp "$out/vmlinux.symvers" "$out/Module.symvers"
scripts/kmake -s drivers/cxl/cxl_cram.ko >&2

export SCRIPT=tests/suites/cxl_module.sh
export FILES="tests/suites/lib-cxl.sh tests/suites/lib-tap.sh tests/suites/lib-cxl-test.sh
	build/tests/cxl_user $out/drivers/cxl/cxl_cram.ko"
# Without an SRAT the kernel gives the window no node of its own
export DEVICE=cxl NODES=2 CXL=256M CXLPHYS=64M MEM=1G NAME=check-cxl_module TIMEOUT=480
tests/vm/run < /dev/null
