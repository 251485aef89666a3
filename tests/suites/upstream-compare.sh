#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
# usage: tests/suites/upstream-compare.sh
#
# Positive controls of tests/suites/upstream-compare: what it must not let pass it
# does not let pass. Prints TAP.
set -eu
. "$(dirname "$0")/../../scripts/lib.sh"
help_if_asked "$@"

tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT

good='# [RUN] one
ok 1 one
# [RUN] two
ok 2 two
# [RUN] three
ok 3 three
not ok 4 four
ok 5 # SKIP five
ok 6 six # SKIP no hugetlb
ok 7 twin
ok 8 twin'
thp='# Did not get a THP populated'

n=0 failed=0
test=mm/t
# gives NUMBERS [--reclaim] WANT GOT WORDS: $test said WANT, and then GOT.
gives() {
	local want=$1 status=0 numbers option=
	shift
	[ "$1" != --reclaim ] || { option=$1; shift; }
	printf '%s\n' "begin other" "not ok 1 other" "end other: 1" "begin $test" "$1" > "$tmp/want"
	printf '%s\n' "begin $test" "$2" > "$tmp/got"
	tests/suites/upstream-compare ${option:+"$option"} "$test" "$tmp/want" "$tmp/got" > "$tmp/out" || status=$?
	numbers=$(tail -n 1 "$tmp/out")
	n=$((n + 1))
	if [ "$numbers" = "$want" ] && [ "$status" = "$([ "${want##* }" = 0 ]; echo $?)" ]; then
		echo "ok $n - $3${option:+, under reclaim}"
	else
		echo "not ok $n - $3${option:+, under reclaim}"
		sed 's/^/# /' "$tmp/out"
		echo "# status $status, wanted $want"
		failed=1
	fi
}
# both NUMBERS...: with and without --reclaim.
both() {
	gives "$@"
	gives "$1" --reclaim "${@:2}"
}
end='
end mm/t: 0'
# Line $1 of the good output replaced by $2.
with() {
	local from=$1
	printf '%s' "${good/"$from"/"$2"}$end"
}

echo "TAP version 13"
both '8 8 0 0' "$good$end" "$good$end" "what is the same passes"
both '8 7 0 1' "$good$end" "$(with 'ok 2 two' 'not ok 2 two')" "ok to not ok fails"
both '8 7 0 1' "$good$end" "$(with 'ok 2 two' "$thp
not ok 2 two")" "ok to not ok fails, whatever it says"
both '8 7 0 1' "$good$end" "$(with 'ok 8 twin' 'not ok 8 twin')" "of two with one name, the second fails"
both '8 7 0 1' "$good$end" "$(with 'not ok 4 four' 'ok 4 four')" "not ok to ok is seen"
both '8 7 0 1' "$good$end" "$(with 'not ok 4 four' "$thp
ok 4 # SKIP four")" "not ok to SKIP is seen"
both '8 7 0 1' "$good$end" "$(with 'ok 5 # SKIP five' 'ok 5 five')" "SKIP to ok is seen"
both '8 7 0 1' "$good$end" "$(with 'ok 2 two' 'ok 2 # SKIP two')" "SKIP without a reason fails"
both '8 7 0 1' "$good$end" "$(with 'ok 2 two' '# MADV_PAGEOUT did not work, is swap enabled?
ok 2 # SKIP two')" "SKIP for another reason fails"
both '8 7 0 1' "$good$end" "$(with 'ok 1 one' "$thp
ok 1 one
ok 2 # SKIP two" | grep -v '^ok 2 two')" "the reason of another result is none"
gives '8 7 0 1' "$good$end" "$(with 'ok 2 two' "$thp
ok 2 # SKIP two")" "SKIP for want of memory fails"
gives '8 7 1 0' --reclaim "$good$end" "$(with 'ok 2 two' "$thp
ok 2 # SKIP two")" "SKIP for want of memory is tolerated"
gives '8 7 1 0' --reclaim "$good$end" "$(with 'ok 2 two' 'ok 2 two # SKIP mmap failed, not enough memory.')" \
	"the same as the harness says it"
gives '8 7 1 0' --reclaim "$good$end" "$(with 'ok 2 two' 'ok 2 # SKIP Did not get THPs populated')" \
	"a reason instead of a name"
both '8 7 0 1' "$good$end" "$(printf '%s' "$good$end" | grep -v '^ok 2 ')" "a missing result fails"
both '8 8 0 1' "$good$end" "$(with 'ok 8 twin' 'ok 8 twin
not ok 9 nine')" "one more fails"
both '8 8 0 1' "$good$end" "$good
end mm/t: 1" "another exit status fails"
both '8 8 0 2' "$good$end" "$good" "cut off fails"
both '8 8 0 2' "$good
end mm/t: 143" "$good
end mm/t: 143" "time-outs on both sides fail"
both '0 0 0 1' "nothing$end" "nothing$end" "no result fails"

oom='ok 1 test_memcg_oom_events
ok 2 test_memcg_oom_group_events'
test=test_memcontrol end='
end test_memcontrol: 0'
both '2 1 1 0' "$oom$end" "not $oom$end" "what is different by design is tolerated"
both '2 1 0 1' "not $oom$end" "$oom$end" "the other way round it fails"
both '2 1 0 1' "$oom$end" "${oom/ok 2/not ok 2}$end" "what is not listed fails"
test="test_memcontrol, demotion off" end='
end test_memcontrol, demotion off: 0'
both '2 1 0 1' "$oom$end" "not $oom$end" "by design only of that test"
echo "1..$n"
exit $failed
