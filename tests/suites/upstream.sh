#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
# usage: tests/suites/upstream.sh
#
# Run the kernel's own selftests of mm and cgroup in several guests - without a
# cram node (none), with one (node), and with one while all cgroups are reclaimed
# from all the time (demotion) - and compare their verdicts, test by test, result
# by result: see tests/suites/upstream-compare. Prints TAP.
#
#   LIST=tests/suites/upstream.list	what to run
#   MODES="node demotion"	which guests to compare with the one without a node
#   GUEST_TIMEOUT=300	for each guest
set -eu
. "$(dirname "$0")/../../scripts/lib.sh"
help_if_asked "$@"

: "${LIST:=tests/suites/upstream.list}" "${MODES:=node demotion}" "${GUEST_TIMEOUT:=300}"

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
# Of all results of a guest under reclaim, this share may be lost for want of memory.
MOST=20

results_of_reclaim=0 lost_to_reclaim=0
while read -r when program arguments; do
	t=${program#*/}${arguments:+ $arguments}
	[ "$when" != off ] || t="$t, demotion off"
	for mode in $MODES; do
		option=
		[ "$mode" != demotion ] || option=--reclaim
		same=0
		tests/suites/upstream-compare ${option:+"$option"} "$t" "$dir/none.out" "$dir/$mode.out" > "$dir/told" || same=1
		read -r results _ tolerated _ <<< "$(tail -n 1 "$dir/told")"
		result "$same" "$mode: $t says the same as without ($results results, $tolerated tolerated)"
		sed '$d' "$dir/told"
		if [ "$mode" = demotion ]; then
			results_of_reclaim=$((results_of_reclaim + results))
			lost_to_reclaim=$((lost_to_reclaim + tolerated))
		fi
	done
done < "$dir/tests.list"
case $MODES in
*demotion*)
	grep '^demoted ' "$dir/demotion.out" | sed 's/^/# /' || :
	# Not of some daemon: of the tests that ran under it, and of most of them.
	read -r under some pages < <(awk '
		FILENAME ~ /tests.list$/ && $1 == "always" && $2 ~ /^mm\// { under[substr($0, 8)]; n++ }
		$1 == "demoted" && $3 == "of" {
			pages = $2
			sub(/^demoted [0-9]+ of /, "")
			if ($0 in under && pages > 0) { some++; sum += pages }
		}
		END { print n + 0, some + 0, sum + 0 }' "$dir/tests.list" "$dir/demotion.out")
	result "$((pages < 1000 || some * 3 < under * 2))" \
		"demotion: $pages pages of $some of $under mm tests were demoted meanwhile"
	result "$((lost_to_reclaim * MOST > results_of_reclaim))" \
		"demotion: $lost_to_reclaim of $results_of_reclaim results lost for want of memory" ;;
esac
echo "1..$n"
exit "$failed"
