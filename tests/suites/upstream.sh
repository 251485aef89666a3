#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
# usage: tests/suites/upstream.sh
#
# Run the kernel's own selftests of mm and cgroup in several guests - without a
# cram node (none), with one (node), and with one while all cgroups are reclaimed
# from all the time (demotion) - and compare their verdicts, test by test. Prints
# TAP.
#
#   LIST=tests/suites/upstream.list	what to run
#   MODES=demotion	which guests to compare with the one without a node
#   GUEST_TIMEOUT=300	for each guest
set -eu
. "$(dirname "$0")/../../scripts/lib.sh"
help_if_asked "$@"

: "${LIST:=tests/suites/upstream.list}" "${MODES:=demotion}" "${GUEST_TIMEOUT:=300}"

scripts/build-kselftests
install=build/kselftests/install
mkdir -p build/vm
dir=$(mktemp -d build/vm/upstream.XXXXXX)
trap 'rm -rf "$dir"' EXIT

grep -v '^#' "$LIST" > "$dir/tests.list"
files=$(awk -v i="$install" '{ print i "/" $2 }' "$dir/tests.list" | sort -u | tr '\n' ' ')

# guest MODE DEVICE: what the tests said, to $dir/MODE.out.
guest() {
	local status=0
	SCRIPT=tests/suites/upstream-guest.sh FILES="$files $dir/tests.list" DEVICE=$2 \
		NAME=check-upstream-$1 ENV="MODE=$1" TIMEOUT=$GUEST_TIMEOUT \
		tests/vm/run > "$dir/$1.out" || status=$?
	echo "status $status" >> "$dir/$1.out"
}

# verdicts MODE TEST: its results, without numbers and remarks, sorted.
verdicts() {
	awk -v begin="begin $2" -v end="end $2: " '
		$0 == begin { on = 1 }
		on
		index($0, end) == 1 { on = 0 }' "$dir/$1.out" |
		sed -nE -e 's/^ *(ok|not ok) [0-9]+ (- )?/\1 /' \
			-e 's/# *(SKIP|XFAIL|TODO).*/# \1/' \
			-e '/^(ok|not ok|end) /p' |
		sed -E 's/ *#? *(duration|time|took).*//' | LC_ALL=C sort
}

n=0 failed=0
result() { # STATUS WORDS
	n=$((n + 1))
	if [ "$1" = 0 ]; then
		echo "ok $n - $2"
	else
		echo "not ok $n - $2"
		failed=1
	fi
}

echo "TAP version 13"
guest none none &
for mode in $MODES; do guest "$mode" sim & done
wait
for mode in none $MODES; do
	result "$(tail -n 1 "$dir/$mode.out" | sed 's/status //')" "$mode: the guest lives"
done
while read -r _ program arguments; do
	t=${program#*/}${arguments:+ $arguments}
	verdicts none "$t" > "$dir/want"
	count=$(grep -cE '^(ok|not ok) ' "$dir/want" || :)
	for mode in $MODES; do
		verdicts "$mode" "$t" > "$dir/got"
		same=0
		diff -u "$dir/want" "$dir/got" > "$dir/diff" || same=1
		# Nothing said, or cut off, is no verdict.
		[ "$count" -gt 0 ] && grep -q '^end ' "$dir/want" || same=1
		! grep -q '^end .*: 143$' "$dir/want" || same=1
		result "$same" "$mode: $t says the same as without ($count results)"
		[ "$same" = 0 ] || sed 's/^/# /' "$dir/diff"
	done
done < "$dir/tests.list"
case $MODES in
*demotion*)
	grep '^demoted ' "$dir/demotion.out" | sed 's/^/# /' || :
	result "$(grep -q '^demoted [1-9][0-9][0-9]' "$dir/demotion.out"; echo $?)" \
		"demotion: pages were demoted meanwhile" ;;
esac
echo "1..$n"
exit "$failed"
