// SPDX-License-Identifier: GPL-2.0-or-later
/* cramcg show: everything about one cgroup, explained. */
#define _GNU_SOURCE
#include <errno.h>
#include <string.h>

#include "cramcg.h"

static const struct option_row options[] = {
	{ "json", 'J', NULL, "print JSON; sizes in bytes" },
	{ "bytes", 'b', NULL, "print sizes in bytes" },
	{ "human", 'H', NULL, "print sizes with K, M, G, even into a pipe" },
	{ 0 }
};

struct shown {
	struct cramcg *ctx;
	const char *path, *name;
	struct sample s;
	struct bounds bounds;
	uint64_t effective;
	int rule;			/* that refused most; -1: none */
	int now;			/* that would refuse one more page; -1: none is known */
	uint64_t refused;
	bool since_look, human;
};

/* The rule that refused most since the last look; without one, since the start */
static void find_rule(struct shown *v)
{
	struct look *look = look_load(v->ctx);
	const uint64_t *old = look_find(look, v->s.id, v->path);

	v->rule = -1;
	for (int pass = old ? 0 : 1; pass < 2 && v->rule < 0; pass++) {
		v->since_look = !pass;
		for (int i = FIRST_REFUSAL; i < NR_COUNTERS; i++) {
			uint64_t was = pass ? 0 : old[i - FIRST_REFUSAL];

			if (v->s.counters[i] <= was || v->s.counters[i] - was <= v->refused)
				continue;
			v->refused = v->s.counters[i] - was;
			v->rule = i;
		}
	}
	look_free(look);
}

/* --- for people ------------------------------------------------------------------ */

static void row(const char *name, const char *value, const char *words)
{
	printf("  %-10s %-9s %s\n", name, value, words ? words : "");
}

__attribute__((format(printf, 3, 4)))
static void row_words(const char *name, const char *value, const char *format, ...)
{
	_cleanup_free_ char *safe = NULL;
	va_list ap;

	va_start(ap, format);
	safe = printable_text(format, ap);
	va_end(ap);
	row(name, value, safe);
}

static void show_resident(struct shown *v)
{
	char now[SIZE_TEXT], max[SIZE_TEXT], left[SIZE_TEXT];
	const struct bound *b = &v->bounds.resident;

	row_words("resident", size_text(now, v->s.current, v->human), "cram.max is %s",
		  size_text(max, v->s.max, v->human));
	if (b->path)
		row_words("", "", "%s binds: of its %s, %s are left",
			  strcmp(b->path, v->path) ? b->path : "that",
			  size_text(max, b->limit, v->human),
			  size_text(left, b->limit > b->usage ? b->limit - b->usage : 0, v->human));
	else
		row("", "", "no limit, here or above: only the room on the device binds");
	if (*v->s.node_max) {
		for (char *p = v->s.node_max; (p = strchr(p, '\n')); )
			*p = ';';
		row_words("", "", "cram.node.max: %s", v->s.node_max);
	}
}

static void show_cells(struct shown *v)
{
	uint64_t cells = v->s.compressed != UNKNOWN ? v->s.compressed : v->s.estimate;
	double ratio = sample_ratio(&v->s);
	char buf[SIZE_TEXT], max[SIZE_TEXT];

	if (cells == UNKNOWN)
		return;
	if (ratio > 0)
		row_words("cells", size_text(buf, cells, v->human),
			  "%.2f to 1, estimated from a sample of what was demoted", ratio);
	else
		row("cells", size_text(buf, cells, v->human), "nothing is resident");
	if (v->bounds.cells.path)
		row_words("", "", "%s has cram.compressed.max %s", v->bounds.cells.path,
			  size_text(max, v->bounds.cells.limit, v->human));
	if (v->s.page_max != UNKNOWN && v->s.page_max != CRAMCG_MAX)
		row_words("", "", "a page that takes more than %ju bytes compressed is refused (cram.page.max)",
			  (uintmax_t)v->s.page_max);
}

static void show_writable(struct shown *v)
{
	char now[SIZE_TEXT], own[SIZE_TEXT], all[SIZE_TEXT];
	const struct bound *b = &v->bounds.budget;

	row_words("writable", size_text(now, v->s.writable, v->human), "cram.writable_budget is %s",
		  size_text(own, v->s.budget, v->human));
	if (!v->effective)
		row("", "", v->s.budget == CRAMCG_INHERIT ?
		    "no cgroup above has a number, so there is no budget: every write promotes" :
		    "the budget is 0: every write promotes");
	else if (b->path)
		row_words("", "", "draws on %s: of %s, %s are in use", b->path,
			  size_text(all, b->limit, v->human), size_text(own, b->usage, v->human));
}

static void show_rights(struct shown *v)
{
	char buf[SIZE_TEXT];

	row_words("nodes", *v->s.nodes ? v->s.nodes : "none", "%s",
		  !*v->s.allowed ? "all that the parent may use (cram.nodes is empty)" : v->s.allowed);
	row("protected", size_text(buf, v->s.low, v->human),
	    "cram.low: stays when a node is short, as long as others have more than theirs");
}

static void show_moves(struct shown *v)
{
	const uint64_t *c = v->s.counters;
	char buf[SIZE_TEXT];

	snprintf(buf, sizeof(buf), "%ju", (uintmax_t)c[COUNTER_demote]);
	row_words("demoted", buf, "pages; %ju were promoted by a write, %ju for being hot, %ju went to swap",
		  (uintmax_t)c[COUNTER_promote_write], (uintmax_t)c[COUNTER_promote_hot],
		  (uintmax_t)c[COUNTER_writeback]);
	if (c[COUNTER_demote] >= 1000 && c[COUNTER_promote_write] > c[COUNTER_demote] / 2)
		row("", "", "most come back by a write: not cold. More memory.max, or a budget, helps");
}

static void show_mend(struct shown *v, int rule)
{
	_cleanup_free_ char *words = mend_words(rule, &v->bounds);

	row_words("", "", "to change that: %s", words ? words : "?");
}

static void show_refusals(struct shown *v)
{
	char buf[SIZE_TEXT] = "0";

	if (v->rule < 0) {
		row("refused", buf, "no page was ever offered and refused");
	} else {
		snprintf(buf, sizeof(buf), "%ju", (uintmax_t)v->refused);
		row_words("refused", buf, "pages by %s%s: %s", counter_names[v->rule],
			  v->since_look ? " since the last look" : ", most of all rules",
			  refusal_words(v->rule)->means);
		if (v->rule != v->now)
			show_mend(v, v->rule);
	}
	if (v->now < 0)
		return;
	row_words("now", "none", "more is demoted, by %s: %s", counter_names[v->now],
		  refusal_words(v->now)->means);
	show_mend(v, v->now);
}

static void show_text(struct shown *v)
{
	_cleanup_free_ char *path = cramcg_printable(v->path), *name = cramcg_printable(v->name);

	if (strcmp(v->path, v->name))
		printf("%s (%s)\n", path ? path : "?", name ? name : "?");
	else
		puts(path ? path : "?");
	show_resident(v);
	show_cells(v);
	show_writable(v);
	show_rights(v);
	show_moves(v);
	show_refusals(v);
}

/* --- for programs ------------------------------------------------------------------ */

static void json_bound(const char *name, const struct bound *b)
{
	printf("  \"%s\": ", name);
	if (!b->path) {
		puts("null,");
		return;
	}
	fputs("{\"cgroup\": ", stdout);
	json_string(stdout, b->path);
	fputs(", ", stdout);
	json_size(stdout, "limit_bytes", b->limit, ", ");
	json_size(stdout, "used_bytes", b->usage, "},\n");
}

static void show_json(struct shown *v)
{
	const struct sample *s = &v->s;

	fputs("{\n  \"cgroup\": ", stdout);
	json_string(stdout, v->path);
	fputs(",\n  ", stdout);
	json_size(stdout, "current_bytes", s->current, ",\n  ");
	json_size(stdout, "peak_bytes", s->peak, ",\n  ");
	json_size(stdout, "max_bytes", s->max, ",\n  ");
	json_size(stdout, "low_bytes", s->low, ",\n  ");
	json_size(stdout, "page_max_bytes", s->page_max, ",\n  ");
	json_size(stdout, "compressed_bytes", s->compressed != UNKNOWN ? s->compressed : s->estimate, ",\n  ");
	json_size(stdout, "writable_bytes", s->writable, ",\n  ");
	json_size(stdout, "writable_budget_effective_bytes", v->effective, ",\n  ");
	fputs("\"nodes_effective\": ", stdout);
	json_string(stdout, s->nodes);
	puts(",");
	json_bound("binds", &v->bounds.resident);
	json_bound("budget", &v->bounds.budget);
	fputs("  \"refused_rule\": ", stdout);
	if (v->rule < 0)
		fputs("null", stdout);
	else
		json_string(stdout, counter_names[v->rule]);
	fputs(",\n  \"refuses_now\": ", stdout);
	if (v->now < 0)
		fputs("null", stdout);
	else
		json_string(stdout, counter_names[v->now]);
	for (int i = 0; i < NR_COUNTERS; i++)
		if (sample_has_counter(s, i))
			printf(",\n  \"%s_pages\": %ju", counter_names[i], (uintmax_t)s->counters[i]);
	puts("\n}");
}

static int show(struct shown *v, const char *name, bool json)
{
	_cleanup_free_ char *path = NULL, *owner = NULL;
	int err = find_cgroup(v->ctx, name, &path, NULL);

	if (err)
		return err;
	if (!path[1])
		return report(STATUS_FAILED, "/: the root has no settings and no limit; cramcg list shows what is below it, cramcg nodes the devices");
	err = cramcg_owner(v->ctx, path, &owner);
	if (err)
		return report_error(v->ctx, err);
	if (!owner[1])
		return report(STATUS_FAILED, "%s: cram is not enabled here or above: its pages can be demoted without limit, and are charged to the root; cramcg enable %s changes that",
			      path, path);
	if (strcmp(owner, path) && !json)
		report(0, "%s: cram is not enabled here; %s pays for its pages:", path, owner);
	v->path = owner;
	v->name = name;
	err = sample_path(v->ctx, owner, READ_ALL, &v->s);
	if (err)
		return report(STATUS_FAILED, "%s: it has gone", owner);
	find_bounds(v->ctx, owner, &v->bounds);
	v->effective = v->s.effective;
	if (v->effective == UNKNOWN)
		v->effective = budget_below(budget_above(v->ctx, owner), v->s.budget);
	if (v->effective == UNKNOWN)
		v->effective = 0;
	find_rule(v);
	v->now = rule_now(v->ctx, v->s.nodes, &v->bounds);
	if (json)
		show_json(v);
	else
		show_text(v);
	free_bounds(&v->bounds);
	return 0;
}

static int run(struct cramcg *ctx, int argc, char **argv)
{
	bool json = false, bytes = false, human = false;
	int c, status = 0;

	while ((c = next_option(&verb_show, argc, argv)) != -1) {
		json |= c == 'J';
		bytes |= c == 'b';
		human |= c == 'H';
	}
	if (optind == argc)
		return report(STATUS_USAGE, "which cgroup, unit or process? See cramcg show --help");
	if (cramcg_available(ctx))
		return report(STATUS_MISSING, "%s", cramcg_error(ctx));
	for (; optind < argc; optind++) {
		struct shown v = { .ctx = ctx, .human = !bytes && (human || isatty(STDOUT_FILENO)) };
		int one = show(&v, argv[optind], json);

		if (one > status)
			status = one;
	}
	return status;
}

const struct verb verb_show = {
	.name = "show", .args = "CGROUP|UNIT|PID...", .summary = "everything about one cgroup, explained",
	.example = "cramcg show redis.service",
	.options = options, .completes = "cgroup", .run = run,
};
