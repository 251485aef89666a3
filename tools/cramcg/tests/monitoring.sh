# SPDX-License-Identifier: GPL-2.0-or-later
# shellcheck shell=bash disable=SC2016,SC2154 # for the shells that run it; of tests/run
#
# Rules, dashboard and trace script for what cramcg and the kernel say.  Sourced by run.
fresh
monitoring=tools/cramcg/monitoring
cp "$monitoring"/*.yml "$monitoring"/*.json "$tmp/"
cramcg metrics > "$tmp/metrics"
rule_tests() { promtool test rules "$tmp/cram.rules.test.yml"; }
fails() { ! "$@"; }

holds "rules are as promtool wants them" promtool check rules "$monitoring/cram.rules.yml"
holds "  each alert says what it is about, and is silent about a good machine" rule_tests
holds "  and all are tested" bash -c 'for a in $(sed -n "s/^ *- alert: //p" "$1/cram.rules.yml"); do
	grep -q "alertname: $a\$" "$1/cram.rules.test.yml" || { echo "$a"; exit 1; }; done' _ "$monitoring"
# One of each group
for fault in 's/0.5 \*/0.9 */' 's/state="lost"} == 1/state="lost"} == 0/' 's/"writeback|promote_reclaim"/"writeback"/' 's/> 120$/> 1200/'; do
	sed "$fault" "$monitoring/cram.rules.yml" > "$tmp/cram.rules.yml"
	holds "  a fault in the rules is noticed: $fault" fails rule_tests
done
checked() { "$monitoring/check" "$tmp/metrics" "$tmp/cram.rules.yml" "$tmp/cram-dashboard.json"; }
cp "$monitoring/cram.rules.yml" "$tmp/"
holds "rules and dashboard ask for metrics that there are" checked
for fault in 's/cram_node_used_bytes/cram_node_busy_bytes/' 's/state=\\"lost/state=\\"missing/' 's/topk(20,/topk(20/' 's/"w": 8/"w": 9/'; do
	sed "$fault" "$monitoring/cram-dashboard.json" > "$tmp/cram-dashboard.json"
	holds "  a fault in the dashboard is noticed: $fault" fails checked
done
cp "$monitoring/cram-dashboard.json" "$tmp/"
sed 's/"refuse_off|/"refuse_of|/; s/refuse_off|/refuse_of|/' "$monitoring/cram.rules.yml" > "$tmp/cram.rules.yml"
holds "  and one in the rules" fails checked

# Against the sources of the kernel: its names in their order, fields of the event
trace_matches() { # SCRIPT
	diff <(sed -n '/define CRAM_STATS/,/^$/s/^\tX([A-Z_]*, \([a-z_]*\)).*/\1/p' include/linux/cram_stat.h | head -n 9) \
		<(sed -n 's/^\t@name\[[0-8]\] = "\(.*\)";/\1/p' "$1") || return
	while read -r field; do
		sed -n '/TRACE_EVENT(cram_page/,/TP_fast/p' include/trace/events/cram.h |
			grep -q "__field(.*, $field)" || { echo "no field $field"; return 1; }
	done < <(grep -o 'args->[a-z]*' "$1" | sed 's/args->//' | sort -u)
}
holds "the trace script has the kernel's reasons and fields" trace_matches "$monitoring/cram-promotions.bt"
sed 's/promote_hot/promote_cold/' "$monitoring/cram-promotions.bt" > "$tmp/a.bt"
sed 's/args->nr/args->pages/' "$monitoring/cram-promotions.bt" > "$tmp/b.bt"
holds "  or it is noticed: a reason" fails trace_matches "$tmp/a.bt"
holds "  or it is noticed: a field" fails trace_matches "$tmp/b.bt"
