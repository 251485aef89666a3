#!/bin/sh
# SPDX-License-Identifier: GPL-2.0
#
# Guest script: run several tests one after the other in one guest, because a boot
# is not free. PARTS: their commands, between semicolons. Their results come out as
# one TAP, each with the name of its part; a part that does not keep its plan fails.
cd "$(dirname "$0")" || exit 1

# shellcheck disable=SC2016 # for awk
merge='
function result(good, words) {
	print (good ? "" : "not ") "ok " ++n " - " part ": " words
	fflush()	# a run that is cut off says how far it came
	failed += !good
}
{ sub(/\r$/, "") }
/^TAP version/ { next }
/^1\.\.[0-9]+/ {
	plan = substr($0, 4) + 0
	planned = 1
	if (/^1\.\.0 # *(SKIP|skip)/) { sub(/^1\.\.0 /, ""); result(1, "all " $0) }
	next
}
/^(not )?ok [0-9]+/ {
	seen++
	good = !/^not/
	sub(/^(not )?ok [0-9]+ *(- )?/, "")
	result(good || /# *(TODO|XFAIL)/, $0)
	next
}
/^Bail out!/ { result(0, $0); next }
/^status [0-9]+$/ { status = $2; next }
{ print }
END {
	if (!planned || plan != seen) result(0, "planned " (planned ? plan : "nothing") ", ran " seen + 0)
	else if (status && status != 4 && !failed) result(0, "status " status)
	print n + 0, failed + 0 > "/tmp/.parts"
}'

echo "TAP version 13"
n=0 failed=0
IFS=';'
for part in $PARTS; do
	name=$(echo "$part" | awk '{
		name = $NF
		# What a wrapper runs
		for (i = 1; i < NF; i++)
			if ($i ~ /^TEST=/) name = substr($i, 6)
		sub(/.*\//, "", name); sub(/\.sh$/, "", name)
		print name
	}')
	echo "# --- $part"
	{
		sh -c "$part" < /dev/null 2>&1
		echo "status $?"
	} | awk -v n="$n" -v part="$name" "$merge"
	IFS=' ' read -r n bad < /tmp/.parts
	failed=$((failed + bad))
	[ "$part" != "${PARTS##*;}" ] || break
	if dmesg | grep -E 'WARNING: |BUG: ' | sed 's/^/# /' | grep .; then
		n=$((n + 1)) failed=$((failed + 1))
		echo "not ok $n - $name: the kernel complains"
		break
	fi
done
echo "1..$n"
[ $failed = 0 ]
