# SPDX-License-Identifier: GPL-2.0
#
# TAP for guest scripts, sourced. The plan is the script's; so is "exit $failed".
#
#   check WORDS COMMAND...           one line of TAP; when it fails, with what the
#                                    command said, and the kernel at last
#   within SECONDS COMMAND...        until it succeeds
#
# shellcheck shell=sh
# shellcheck disable=SC2034

n=0
failed=0
check() {
	words=$1
	shift
	n=$((n + 1))
	if "$@" > /tmp/out 2>&1; then
		echo "ok $n - $words"
	else
		echo "not ok $n - $words"
		sed 's/^/# /' /tmp/out
		dmesg | tail -n 8 | sed 's/^/# dmesg: /'
		failed=1
	fi
}

within() {
	tries=$(($1 * 20))
	shift
	while ! "$@"; do
		tries=$((tries - 1))
		[ $tries -gt 0 ] || return 1
		sleep 0.05
	done
}
