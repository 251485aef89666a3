#!/bin/sh
# SPDX-License-Identifier: GPL-2.0
#
# The driver is unbound and bound while each allocation, and each call of the engine that
# can fail otherwise, fails once: it says so, leaves nothing behind, and comes up again.
cd "$(dirname "$0")" || exit 1
. ./lib-cxl.sh
. ./lib-tap.sh
. ./lib-cxl-test.sh

used() {
	user_start user job 4 && demoted user job 3 && user_verify user && user_end user &&
		within 30 books_zero job
}
fails_well() {
	./cram_faults node "$DRIVER" "$DEV"
}

echo "TAP version 13"
echo "1..3"
cgroups job
check "a node comes up" node_up
[ -n "${NODE:-}" ] || { echo "Bail out! no node"; exit 1; }
check "what can fail in that fails, and leaves nothing behind" fails_well
grep '^# ' /tmp/out
check "the node can be used" used
exit $failed
