#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-or-later
# usage: kunit.sh [--help]
#
# Guest script: hand on what the kernel's own unit tests have found at boot, one
# TAP line for each test case. WANTED names the suites that have to be there. What is
# at random in them is the same for the same SEED=.
set -eu
case ${1-} in --help) sed -n '3,7s/^# \{0,1\}//p' "$0"; exit ;; esac

# shellcheck source=tests/suites/lib-tap.sh
. ./lib-tap.sh

echo "TAP version 13"
for suite in $(echo "$WANTED" | tr , " "); do
	results=/sys/kernel/debug/kunit/$suite/results
	if [ ! -e "$results" ]; then
		report 1 "$suite: did not run" || :
		continue
	fi
	sed -n 's/.*: seed \([0-9]*\)$/# seed \1/p' "$results" | sort -u
	cases=$(sed -n "s/^    \(ok\|not ok\) [0-9]* /\1 /p" "$results")
	[ -n "$cases" ] || report 1 "$suite: has no test cases" || :
	while read -r line; do
		case $line in
		"ok "*) report 0 "$suite: ${line#ok }" ;;
		*) report 1 "$suite: ${line#not ok }" || sed 's/^/# /' "$results" ;;
		esac
	done <<-END
	$cases
	END
done
echo "1..$n"
exit $failed
