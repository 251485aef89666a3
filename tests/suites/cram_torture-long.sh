#!/bin/sh
# SPDX-License-Identifier: GPL-2.0
#
# The storm for minutes, while the walker goes round without a rest. With HOOK, that
# hook of the kernel is switched off meanwhile, and the storm has to notice.
export WALK=0 ONLY="everything at once"

if [ -z "${HOOK:-}" ]; then
	# 2.5 minutes for each LRU, without swap and with it
	T=$(awk -v t="$T" 'BEGIN { print 15 * t }') exec ./cram_storm
fi

echo "TAP version 13"
echo "1..3"
# shellcheck source=tests/suites/lib-tap.sh
. ./lib-tap.sh
if ! echo "$HOOK" > /sys/kernel/debug/cram/disable_hooks; then
	echo "Bail out! no hook $HOOK"
	exit 1
fi
T=0.5 ./cram_storm > /tmp/storm
status=$?
sed 's/^/# /' /tmp/storm
[ $status != 0 ]
report $? "the storm without the hook $HOOK fails"
grep -q '^not ok .*everything at once' /tmp/storm
report $? "in its main part"
grep -q '^# verify: writable [1-9]' /tmp/storm
report $? "and the walker has met what it is for"
exit $failed
