// SPDX-License-Identifier: GPL-2.0-or-later
/* cramcg list: who uses compressed memory, and who is refused. */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <string.h>

#include "cramcg.h"

enum {
	C_CGROUP, C_LIMIT, C_RESIDENT, C_WRITABLE, C_BUDGET, C_RATIO, C_REFUSED, C_NODES,
	C_LOW, C_PEAK, C_CELLS, C_CELLS_MAX, C_PAGE_MAX, C_BUDGET_SET, C_NODES_SET, C_DEMOTED,
	C_PROMOTED, C_REFUSED_ALL, C_RULE, NR_COLUMNS
};

static const struct column columns[NR_COLUMNS] = {
	[C_CGROUP] = { "CGROUP", "cgroup", COLUMN_NAME, "its path" },
	[C_LIMIT] = { "LIMIT", "max_bytes", COLUMN_SIZE, "cram.max; null in JSON: none" },
	[C_RESIDENT] = { "RESIDENT", "current_bytes", COLUMN_SIZE, "cram.current" },
	[C_WRITABLE] = { "WRITABLE", "writable_bytes", COLUMN_SIZE, "writable in place now" },
	[C_BUDGET] = { "BUDGET", "writable_budget_effective_bytes", COLUMN_SIZE,
		       "what may be, by all numbers above" },
	[C_RATIO] = { "RATIO", "ratio", COLUMN_RATIO, "compression, by a sample" },
	[C_REFUSED] = { "REFUSED", "refused_since_look_pages", COLUMN_NUMBER,
			"pages refused since the last list on a terminal" },
	[C_NODES] = { "NODES", "nodes_effective", COLUMN_TEXT, "cram.nodes.effective" },
	[C_LOW] = { "LOW", "low_bytes", COLUMN_SIZE, "cram.low" },
	[C_PEAK] = { "PEAK", "peak_bytes", COLUMN_SIZE, "cram.peak" },
	[C_CELLS] = { "CELLS", "compressed_bytes", COLUMN_SIZE, "cells taken, as estimated" },
	[C_CELLS_MAX] = { "CELLS-MAX", "compressed_max_bytes", COLUMN_SIZE, "cram.compressed.max" },
	[C_PAGE_MAX] = { "PAGE-MAX", "page_max_bytes", COLUMN_SIZE, "cram.page.max" },
	[C_BUDGET_SET] = { "BUDGET-SET", "writable_budget", COLUMN_TEXT, "cram.writable_budget as it is written" },
	[C_NODES_SET] = { "NODES-SET", "nodes", COLUMN_TEXT, "cram.nodes" },
	[C_DEMOTED] = { "DEMOTED", "demote_pages", COLUMN_NUMBER, "pages that became resident" },
	[C_PROMOTED] = { "PROMOTED", "promote_write_pages", COLUMN_NUMBER, "pages that left because they were written" },
	[C_REFUSED_ALL] = { "REFUSED-ALL", "refused_pages", COLUMN_NUMBER, "refused since the cgroup was made" },
	[C_RULE] = { "RULE", "refused_rule", COLUMN_TEXT, "the rule that refused most since the last look" },
};

enum { O_LOOK = 256 };
static const struct option_row options[] = {
	{ "tree", 't', NULL, "as a tree" },
	{ "all", 'a', NULL, "all that have cram enabled, not only those in use" },
	{ "sort", 's', "COLUMN", "by this column; largest first, names by alphabet" },
	{ "look", O_LOOK, NULL, "remember refusals even when this is no terminal" },
	TABLE_OPTIONS,
	{ 0 }
};

struct line {
	char *path;
	int depth;
	size_t parent;		/* in the same array; SIZE_MAX: none */
	bool enabled, shown;
	uint64_t budget;	/* effective */
	struct sample s;
	void *table_line;
};

struct list {
	struct line *lines;
	size_t n, room;
	size_t at[64];		/* the last line of each depth */
	unsigned int what;
	bool all;
};

static int collect(const char *path, int dir, int depth, void *arg)
{
	struct list *l = arg;
	struct line *new;

	(void)dir;
	if (depth >= (int)ARRAY_SIZE(l->at))
		return CRAMCG_SKIP;
	if (l->n == l->room) {
		size_t room = l->room ? 2 * l->room : 256;

		new = reallocarray(l->lines, room, sizeof(*new));
		if (!new)
			return -ENOMEM;
		l->lines = new;
		l->room = room;
	}
	new = &l->lines[l->n];
	new->table_line = NULL;
	new->depth = depth;
	new->parent = depth ? l->at[depth - 1] : SIZE_MAX;
	new->path = strdup(path);
	if (!new->path)
		return -ENOMEM;
	l->at[depth] = l->n++;
	return 0;
}

static const char *path_of(size_t i, void *arg)
{
	return ((struct line *)arg)[i].path;
}

static struct sample *sample_of(size_t i, void *arg)
{
	return &((struct line *)arg)[i].s;
}

/* The lines from first on, parents before children */
static void read_lines(struct cramcg *ctx, struct list *l, size_t first, uint64_t above)
{
	_cleanup_close_ int dir = open(cramcg_mount(ctx), O_PATH | O_DIRECTORY | O_CLOEXEC);

	sample_read_many(dir, l->what, l->n - first, path_of, sample_of, l->lines + first);
	for (size_t i = first; i < l->n; i++) {
		struct line *line = &l->lines[i];

		line->enabled = line->s.current != UNKNOWN;
		line->budget = budget_below(line->parent == SIZE_MAX ? above :
					    l->lines[line->parent].budget, line->s.budget);
		line->shown = line->enabled && (l->all || line->s.current ||
						sample_has_settings(&line->s));
	}
}

/* A tree needs the way to what is shown */
static void show_ancestors(struct list *l)
{
	for (size_t i = l->n; i-- > 0; )
		if (l->lines[i].shown && l->lines[i].parent != SIZE_MAX)
			l->lines[l->lines[i].parent].shown = true;
}

static uint64_t effective(const struct line *line)
{
	if (line->s.effective != UNKNOWN)
		return line->s.effective;
	return line->budget == UNKNOWN ? 0 : line->budget;
}

static uint64_t refused_since(const struct line *line, const struct look *look, int *rule)
{
	const uint64_t *old = look_find(look, line->s.id, line->path);
	uint64_t sum = 0, most = 0;

	*rule = -1;
	for (int i = 0; i < NR_REFUSALS; i++) {
		uint64_t now = line->s.counters[FIRST_REFUSAL + i], n = now;

		if (old)
			n = now > old[i] ? now - old[i] : 0;
		sum += n;
		if (n > most) {
			most = n;
			*rule = FIRST_REFUSAL + i;
		}
	}
	return sum;
}

static void put(struct table *t, const struct line *line, int i, int column,
		const struct look *look, bool tree)
{
	const struct sample *s = &line->s;
	void *l = line->table_line;
	const char *name = line->path;
	char buf[SIZE_TEXT];
	uint64_t refused;
	int rule;

	if (column == C_CGROUP) {
		if (tree && line->depth)
			name = strrchr(name, '/') + 1;
		table_text(t, l, i, name);
	}
	if (!line->enabled)
		return;
	switch (column) {
	case C_LIMIT: table_size(t, l, i, s->max); break;
	case C_RESIDENT: table_size(t, l, i, s->current); break;
	case C_WRITABLE: table_size(t, l, i, s->writable); break;
	case C_BUDGET: table_size(t, l, i, effective(line)); break;
	case C_RATIO: table_ratio(t, l, i, sample_ratio(s)); break;
	case C_NODES: table_text(t, l, i, s->nodes); break;
	case C_LOW: table_size(t, l, i, s->low); break;
	case C_PEAK: table_size(t, l, i, s->peak); break;
	case C_CELLS: table_size(t, l, i, s->compressed != UNKNOWN ? s->compressed : s->estimate); break;
	case C_CELLS_MAX: table_size(t, l, i, s->compressed_max); break;
	case C_PAGE_MAX: table_size(t, l, i, s->page_max); break;
	case C_BUDGET_SET: table_text(t, l, i, size_text(buf, s->budget, false)); break;
	case C_NODES_SET: table_text(t, l, i, s->allowed); break;
	case C_DEMOTED: table_number(t, l, i, s->counters[COUNTER_demote]); break;
	case C_PROMOTED: table_number(t, l, i, s->counters[COUNTER_promote_write]); break;
	case C_REFUSED_ALL: table_number(t, l, i, sample_refusals(s)); break;
	case C_REFUSED:
	case C_RULE:
		refused = refused_since(line, look, &rule);
		if (column == C_REFUSED)
			table_number(t, l, i, refused);
		else
			table_text(t, l, i, rule < 0 ? "" : counter_names[rule]);
		break;
	}
}

/* --- sorting ------------------------------------------------------------------ */

static int sort_column = C_CGROUP;
static const struct look *sort_look;

/* Words are more than any size; what is not known is least */
static double sort_value(const struct line *line)
{
	const struct sample *s = &line->s;
	uint64_t v = 0;
	int rule;

	switch (sort_column) {
	case C_LIMIT: v = s->max; break;
	case C_RESIDENT: v = s->current; break;
	case C_WRITABLE: v = s->writable; break;
	case C_BUDGET: v = effective(line); break;
	case C_RATIO: return sample_ratio(s);
	case C_LOW: v = s->low; break;
	case C_PEAK: v = s->peak; break;
	case C_CELLS: v = s->compressed != UNKNOWN ? s->compressed : s->estimate; break;
	case C_CELLS_MAX: v = s->compressed_max; break;
	case C_PAGE_MAX: v = s->page_max; break;
	case C_DEMOTED: v = s->counters[COUNTER_demote]; break;
	case C_PROMOTED: v = s->counters[COUNTER_promote_write]; break;
	case C_REFUSED_ALL: v = sample_refusals(s); break;
	case C_REFUSED: v = refused_since(line, sort_look, &rule); break;
	}
	return v == UNKNOWN ? -1 : (double)v;
}

static int compare(const void *a, const void *b)
{
	const struct line *x = a, *y = b;
	double vx, vy;

	if (columns[sort_column].kind != COLUMN_NAME && columns[sort_column].kind != COLUMN_TEXT) {
		vx = sort_value(x);
		vy = sort_value(y);
		if (vx != vy)
			return vx < vy ? 1 : -1;
	}
	return strcmp(x->path, y->path);
}

/* --- the verb ------------------------------------------------------------------ */

static unsigned int needs(const int *wanted, int n)
{
	/* Settings say whether a cgroup is shown */
	unsigned int what = READ_SETTINGS;

	for (int i = 0; i < n; i++) {
		switch (wanted[i]) {
		case C_CGROUP: case C_RESIDENT: break;
		case C_LIMIT: what |= READ_MAX; break;
		case C_BUDGET: what |= READ_BUDGET; break;
		case C_NODES: what |= READ_NODES; break;
		case C_PEAK: what |= READ_PEAK; break;
		case C_WRITABLE: what |= READ_USAGE; break;
		case C_LOW: case C_CELLS_MAX: case C_PAGE_MAX: case C_BUDGET_SET: case C_NODES_SET:
			what |= READ_LIMITS;
			break;
		default: what |= READ_STAT | READ_USAGE | READ_ID;
		}
	}
	return what;
}

static void print(struct list *l, const int *wanted, int n, const struct table_style *style,
		  const struct look *look)
{
	struct table *t = table_new("cgroups", columns, wanted, n, style);

	for (size_t i = 0; t && i < l->n; i++) {
		struct line *line = &l->lines[i];
		void *parent = NULL;

		if (!line->shown)
			continue;
		if (style->tree && line->parent != SIZE_MAX)
			parent = l->lines[line->parent].table_line;
		line->table_line = table_line(t, parent);
		for (int c = 0; c < n; c++)
			put(t, line, c, wanted[c], look, style->tree);
	}
	if (t)
		table_print(t);
}

static int list(struct cramcg *ctx, int argc, char **argv, struct list *l)
{
	char *root[] = { (char *)"/" };
	int err = 0;

	if (!argc) {
		argc = 1;
		argv = root;
	}
	for (int i = 0; i < argc && !err; i++) {
		_cleanup_free_ char *path = NULL;
		size_t first = l->n;

		err = find_cgroup(ctx, argv[i], &path, NULL);
		if (err)
			return err;
		err = cramcg_walk_names(ctx, path, collect, l);
		if (!err)
			read_lines(ctx, l, first, budget_above(ctx, path));
	}
	return err ? report_error(ctx, err) : 0;
}

static int run(struct cramcg *ctx, int argc, char **argv)
{
	int wanted[NR_COLUMNS + 1] = { C_CGROUP, C_LIMIT, C_RESIDENT, C_WRITABLE, C_BUDGET,
		C_RATIO, C_REFUSED, C_NODES, -1 };
	int sorted[NR_COLUMNS + 1] = { -1 };
	struct table_style style = { 0 };
	struct list l = { 0 };
	const char *output = NULL;
	bool look_asked = false, sort = false;
	struct look *look;
	int c, n, status;

	while ((c = next_option(&verb_list, argc, argv)) != -1) {
		switch (c) {
		case 't': style.tree = true; break;
		case 'a': l.all = true; break;
		case 'o': output = optarg; break;
		case O_LOOK: look_asked = true; break;
		case 's':
			sort = true;
			if (table_columns(columns, NR_COLUMNS, optarg, sorted) != 1)
				return report(STATUS_USAGE, "--sort takes one column");
			sort_column = sorted[0];
			break;
		default: table_option(&style, c);
		}
	}
	n = table_columns(columns, NR_COLUMNS, output, wanted);
	if (n < 0)
		return STATUS_USAGE;
	if (sort && style.tree)
		return report(STATUS_USAGE, "--sort and --tree exclude each other");
	status = cramcg_available(ctx);
	if (status)
		return report(STATUS_MISSING, "%s", cramcg_error(ctx));
	l.what = needs(wanted, n) | (sort ? needs(sorted, 1) : 0);
	look = look_load(ctx);
	look_asked = look_asked || isatty(STDOUT_FILENO);
	/* The number of a cgroup is for comparing with an older look, and for a later one */
	if (!look_asked && !look_has_old(look))
		l.what &= ~READ_ID;
	status = list(ctx, argc - optind, argv + optind, &l);
	if (!status) {
		for (size_t i = 0; i < l.n && look_asked; i++)
			if (l.lines[i].enabled)
				look_note(look, l.lines[i].path, &l.lines[i].s);
		if (style.tree)
			show_ancestors(&l);
		sort_look = look;
		if (sort)
			qsort(l.lines, l.n, sizeof(*l.lines), compare);
		print(&l, wanted, n, &style, look);
		if (look_asked && l.what & READ_STAT)
			look_save(look);
	}
	for (size_t i = 0; i < l.n; i++)
		free(l.lines[i].path);
	free(l.lines);
	look_free(look);
	return status;
}

const struct verb verb_list = {
	.name = "list", .args = "[CGROUP...]", .summary = "cgroups that use compressed memory, or have limits on it",
	.example = "cramcg list --tree -o CGROUP,RESIDENT,RATIO,RULE",
	.columns = columns, .nr_columns = NR_COLUMNS,
	.options = options, .completes = "cgroup", .run = run,
};
