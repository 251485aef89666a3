# SPDX-License-Identifier: GPL-2.0
#
# TAP for scripts of guests and of the host, sourced. The plan is the script's; so is
# "exit $failed".
#
#   report STATUS WORDS              one line of TAP; fails with STATUS
#   check WORDS COMMAND...           one line of TAP; when it fails, with what the
#                                    command said, and the kernel at last
#   within SECONDS COMMAND...        until it succeeds
#
# shellcheck shell=sh
# shellcheck disable=SC2034

n=0
failed=0
report() {
	n=$((n + 1))
	if [ "$1" = 0 ]; then
		echo "ok $n - $2"
		return 0
	fi
	echo "not ok $n - $2"
	failed=1
	return 1
}

check() {
	words=$1
	shift
	if "$@" > /tmp/out 2>&1; then
		report 0 "$words"
	else
		report 1 "$words" || :
		sed 's/^/# /' /tmp/out
		dmesg | tail -n 8 | sed 's/^/# dmesg: /'
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
