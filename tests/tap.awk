# SPDX-License-Identifier: GPL-2.0-or-later
#
# Counts what a test script printed as TAP: "passed failed skipped why", where why
# is "-" or the reason for which the whole cannot be believed.  Only lines at the
# left margin count: subtests are indented.

{ sub(/\r$/, "") }
/^1\.\.[0-9]+/ { split(substr($0, 4), part, / /); plan = part[1] + 0; planned = 1 }
/^1\.\.0 # *(SKIP|skip)/ { skipped++ }
/^ok( |$)/ {
	seen++
	if (/# *(SKIP|skip|TODO|XFAIL)/) skipped++
	else passed++
}
/^not ok( |$)/ {
	seen++
	if (/# *(TODO|XFAIL)/) skipped++
	else failed++
}
/^Bail out!/ { failed++; bail = 1 }
END {
	why = "-"
	if (!planned) why = seen ? "no-plan" : "no-TAP-result"
	else if (plan != seen && !bail) why = "planned-" plan "-ran-" seen + 0
	print passed + 0, failed + 0, skipped + 0, why
}
