// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * cramcg metrics: for Prometheus.  Families come one after the other, each with all of
 * its samples, so the tree is read once into memory.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>

#include "cramcg.h"

enum { O_TEXTFILE = 256, O_OPENMETRICS };
static const struct option_row options[] = {
	{ "textfile", O_TEXTFILE, "FILE", "write it there, in full or not at all (node_exporter)" },
	{ "openmetrics", O_OPENMETRICS, NULL, "OpenMetrics 1.0 instead of the text format" },
	{ 0 }
};

struct group {
	char *path;
	struct sample s;
};
struct metrics {
	struct cramcg *ctx;
	FILE *f;
	bool openmetrics;
	struct group *groups;
	size_t n, room;
	int *nodes;
	size_t nr_nodes;
};

static int collect(const char *path, int dir, int depth, void *arg)
{
	struct metrics *m = arg;
	struct group g;

	(void)depth;
	if (!sample_read(dir, READ_ALL, &g.s))
		return path[1] ? CRAMCG_SKIP : 0;
	if (m->n == m->room) {
		size_t room = m->room ? 2 * m->room : 64;
		struct group *more = reallocarray(m->groups, room, sizeof(*more));

		if (!more)
			return -ENOMEM;
		m->groups = more;
		m->room = room;
	}
	g.path = strdup(path);
	if (!g.path)
		return -ENOMEM;
	m->groups[m->n++] = g;
	return 0;
}

/* Labels escape \, " and newline only; what is no UTF-8 or a control becomes \\xNN */
static void label(FILE *f, const char *key, const char *value)
{
	_cleanup_free_ char *safe = cramcg_printable(value);

	fprintf(f, "%s=\"", key);
	for (const char *p = safe ? safe : "?"; *p; p++) {
		if (*p == '\\' || *p == '"')
			fputc('\\', f);
		fputc(*p, f);
	}
	fputc('"', f);
}

static void family(struct metrics *m, const char *name, const char *type, const char *help)
{
	bool counter = !strcmp(type, "counter") && !m->openmetrics;

	fprintf(m->f, "# HELP %s%s %s\n", name, counter ? "_total" : "", help);
	fprintf(m->f, "# TYPE %s%s %s\n", name, counter ? "_total" : "", type);
}

static void of_group(struct metrics *m, const char *name, const char *more, const struct group *g,
		     double value)
{
	fprintf(m->f, "%s{", name);
	label(m->f, "cgroup", g->path);
	fprintf(m->f, "%s} %.17g\n", more, value);
}

static void sizes(struct metrics *m, const char *name, const char *help, size_t offset)
{
	family(m, name, "gauge", help);
	for (size_t i = 0; i < m->n; i++) {
		uint64_t v = *(uint64_t *)((char *)&m->groups[i].s + offset);

		/* A limit that is none has no sample */
		if (v < UNKNOWN)
			of_group(m, name, "", &m->groups[i], v);
	}
}
#define SIZES(m, name, help, member) sizes(m, name, help, offsetof(struct sample, member))

/* Those of cram.stat from one counter up to another; of what is not in the file no sample */
static void counters(struct metrics *m, const char *name, const char *key, int from, int end)
{
	char more[64];

	for (size_t i = 0; i < m->n; i++)
		for (int c = from; c < end; c++) {
			const struct group *g = &m->groups[i];

			if (!sample_has_counter(&g->s, c))
				continue;
			snprintf(more, sizeof(more), ",%s=\"%s\"", key, counter_names[c]);
			of_group(m, name, more, g, g->s.counters[c]);
		}
}

static void groups(struct metrics *m)
{
	SIZES(m, "cram_cgroup_resident_bytes", "Logical bytes that are resident (cram.current).", current);
	SIZES(m, "cram_cgroup_max_bytes", "cram.max; without a sample there is no limit.", max);
	SIZES(m, "cram_cgroup_low_bytes", "cram.low.", low);
	SIZES(m, "cram_cgroup_writable_bytes", "Logical bytes that are writable in place.", writable);
	SIZES(m, "cram_cgroup_writable_budget_bytes", "cram.writable_budget, where it is a number.", budget);
	SIZES(m, "cram_cgroup_writable_budget_effective_bytes", "What may be writable, by all numbers above (cram.writable_budget.effective).", effective);
	SIZES(m, "cram_cgroup_compressed_estimate_bytes", "Cells taken, as estimated by a sample.", estimate);
	family(m, "cram_cgroup_pages", "counter", "Pages that were demoted, promoted, upgraded and so on (cram.stat).");
	counters(m, "cram_cgroup_pages_total", "event", 0, FIRST_REFUSAL);
	family(m, "cram_cgroup_refused_pages", "counter", "Pages that were not demoted, by the rule that refused them.");
	counters(m, "cram_cgroup_refused_pages_total", "rule", FIRST_REFUSAL, NR_COUNTERS);
}

static void node_sizes(struct metrics *m, const char *name, const char *type, const char *help,
		       const char *file)
{
	family(m, name, type, help);
	for (size_t i = 0; i < m->nr_nodes; i++) {
		uint64_t v = node_size(m->ctx, m->nodes[i], file);

		if (v < UNKNOWN)
			fprintf(m->f, "%s%s{node=\"%d\"} %ju\n", name,
				strcmp(type, "counter") ? "" : "_total", m->nodes[i], (uintmax_t)v);
	}
}

static void nodes(struct metrics *m)
{
	static const char *const states[] = { "open", "low", "critical", "lost", "offline" };

	node_sizes(m, "cram_node_logical_bytes", "gauge", "What the host can address.", "logical_bytes");
	node_sizes(m, "cram_node_physical_bytes", "gauge", "Cells of the device.", "physical_bytes");
	node_sizes(m, "cram_node_physical_free_bytes", "gauge", "Cells that are free, as of the last answer.", "physical_free_bytes");
	node_sizes(m, "cram_node_free_bound_bytes", "gauge", "Cells that are free for certain.", "free_bound_bytes");
	node_sizes(m, "cram_node_used_bytes", "gauge", "Logical bytes that are resident.", "used_bytes");
	node_sizes(m, "cram_node_writable_bytes", "gauge", "Logical bytes that are writable in place.", "writable_bytes");
	node_sizes(m, "cram_node_over_capacity_stores", "counter", "Stores that found no cell: lost data.", "over_capacity");
	family(m, "cram_node_state", "gauge", "1 for the state that the node is in.");
	for (size_t i = 0; i < m->nr_nodes; i++) {
		_cleanup_free_ char *state = NULL;

		if (cramcg_node_read(m->ctx, m->nodes[i], "state", &state))
			continue;
		for (size_t s = 0; s < ARRAY_SIZE(states); s++)
			fprintf(m->f, "cram_node_state{node=\"%d\",state=\"%s\"} %d\n", m->nodes[i],
				states[s], !strcmp(state, states[s]));
	}
}

static void print(struct metrics *m)
{
	family(m, "cram_available", "gauge", "Is there a cram controller in this kernel?");
	fprintf(m->f, "cram_available %d\n", !cramcg_available(m->ctx));
	nodes(m);
	groups(m);
	if (m->openmetrics)
		fputs("# EOF\n", m->f);
}

/* A scraper must never see half of it */
static int print_to(struct metrics *m, const char *file)
{
	_cleanup_free_ char *tmp = NULL;
	int fd, failed;

	if (asprintf(&tmp, "%s.XXXXXX", file) < 0) {
		tmp = NULL;
		return report(STATUS_FAILED, "out of memory");
	}
	fd = mkostemp(tmp, O_CLOEXEC);
	m->f = fd < 0 ? NULL : fdopen(fd, "w");
	if (!m->f)
		return report(STATUS_FAILED, "%s: %s", tmp, strerror(errno));
	print(m);
	failed = fchmod(fd, 0644) | ferror(m->f);
	failed |= fclose(m->f);
	if (!failed && !rename(tmp, file))
		return 0;
	unlink(tmp);
	return report(STATUS_FAILED, "%s: %s", file, strerror(errno));
}

static int run(struct cramcg *ctx, int argc, char **argv)
{
	struct metrics m = { .ctx = ctx, .f = stdout };
	const char *file = NULL;
	int c, err, status = 0;

	while ((c = next_option(&verb_metrics, argc, argv)) != -1) {
		if (c == O_TEXTFILE)
			file = optarg;
		else
			m.openmetrics = true;
	}
	if (optind != argc)
		return report(STATUS_USAGE, "%s: metrics takes no argument", argv[optind]);
	cramcg_nodes(ctx, &m.nodes, &m.nr_nodes);
	if (!cramcg_available(ctx)) {
		err = cramcg_walk(ctx, "/", collect, &m);
		if (err < 0)
			status = report_error(ctx, err);
	}
	if (!status && file)
		status = print_to(&m, file);
	else if (!status)
		print(&m);
	for (size_t i = 0; i < m.n; i++)
		free(m.groups[i].path);
	free(m.groups);
	free(m.nodes);
	return status;
}

const struct verb verb_metrics = {
	.name = "metrics", .args = "", .summary = "everything as metrics for Prometheus",
	.example = "cramcg metrics --textfile /var/lib/prometheus/node-exporter/cram.prom",
	.options = options, .completes = "none", .run = run,
};
