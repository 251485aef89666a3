// SPDX-License-Identifier: GPL-2.0-or-later
/* cramcg nodes, node, drain: the devices. */
#define _GNU_SOURCE
#include <errno.h>
#include <string.h>

#include "cramcg.h"

enum {
	C_NODE, C_CLASS, C_STATE, C_LOGICAL, C_CELLS, C_FREE, C_ROOM, C_USED, C_RATIO, C_WRITABLE,
	C_BUDGET, C_RESERVE, C_LOW, C_CRITICAL, C_LEASE, C_LOST, NR_COLUMNS
};

static const struct column columns[NR_COLUMNS] = {
	[C_NODE] = { "NODE", "node", COLUMN_NUMBER, "its number" },
	[C_CLASS] = { "CLASS", "class", COLUMN_TEXT, "compressed or plain" },
	[C_STATE] = { "STATE", "state", COLUMN_TEXT, "open, low, critical, lost, offline" },
	[C_LOGICAL] = { "LOGICAL", "logical_bytes", COLUMN_SIZE, "what the host can address" },
	[C_CELLS] = { "CELLS", "physical_bytes", COLUMN_SIZE, "cells of the device" },
	[C_FREE] = { "FREE", "physical_free_bytes", COLUMN_SIZE, "cells free, as of its last answer" },
	[C_ROOM] = { "ROOM", "free_bound_bytes", COLUMN_SIZE, "cells free for certain now" },
	[C_USED] = { "USED", "used_bytes", COLUMN_SIZE, "resident" },
	[C_RATIO] = { "RATIO", "ratio", COLUMN_RATIO, "used by cells in use" },
	[C_WRITABLE] = { "WRITABLE", "writable_bytes", COLUMN_SIZE, "writable in place" },
	[C_BUDGET] = { "BUDGET", "writable_budget_bytes", COLUMN_SIZE, "what may be; auto, null in JSON" },
	[C_RESERVE] = { "RESERVE", "reserve_bytes", COLUMN_SIZE, "cells that no demotion may touch" },
	[C_LOW] = { "LOW", "low_bytes", COLUMN_SIZE, "low below this" },
	[C_CRITICAL] = { "CRITICAL", "critical_bytes", COLUMN_SIZE, "critical below this" },
	[C_LEASE] = { "LEASE", "lease_ms", COLUMN_NUMBER, "milliseconds that an answer is believed" },
	[C_LOST] = { "LOST", "over_capacity", COLUMN_NUMBER, "stores that found no cell: lost data" },
};

static const struct option_row nodes_options[] = { TABLE_OPTIONS, { 0 } };

int find_node(struct cramcg *ctx, const char *text, int *node)
{
	_cleanup_free_ int *nodes = NULL;
	unsigned long number;
	size_t n;

	if (!strncmp(text, "node", 4))
		text += 4;
	if (!parse_number(text, CRAMCG_NODES_MAX - 1, &number))
		return report(STATUS_USAGE, "%s: a node is a number", text);
	*node = number;
	if (cramcg_nodes(ctx, &nodes, &n))
		return report(STATUS_FAILED, "%s", cramcg_error(ctx));
	for (size_t i = 0; i < n; i++)
		if (nodes[i] == *node)
			return 0;
	return report(n ? STATUS_FAILED : STATUS_MISSING, n ?
		      "node %d is not a cram node at this time; cramcg nodes shows which there are" :
		      "node %d is not a cram node: this machine has none; see cramcg doctor", *node);
}

uint64_t node_size(struct cramcg *ctx, int node, const char *file)
{
	uint64_t bytes;

	return cramcg_node_read_bytes(ctx, node, file, &bytes) ? UNKNOWN : bytes;
}

static double node_ratio(struct cramcg *ctx, int node)
{
	_cleanup_free_ char *text = NULL;
	unsigned long whole, part;

	if (cramcg_node_read(ctx, node, "ratio", &text) ||
	    sscanf(text, "%9lu.%2lu", &whole, &part) != 2)
		return 0;
	return whole + part / 100.0;
}

static void put(struct cramcg *ctx, struct table *t, void *line, int i, int column, int node)
{
	_cleanup_free_ char *word = NULL;
	uint64_t number;

	switch (column) {
	case C_NODE:
		table_number(t, line, i, node);
		break;
	case C_CLASS:
	case C_STATE:
		cramcg_node_read(ctx, node, columns[column].json, &word);
		table_text(t, line, i, word);
		break;
	case C_RATIO:
		table_ratio(t, line, i, node_ratio(ctx, node));
		break;
	case C_LEASE:
	case C_LOST:
		number = node_size(ctx, node, columns[column].json);
		if (number < UNKNOWN)
			table_number(t, line, i, number);
		break;
	case C_BUDGET:
		table_size(t, line, i, node_size(ctx, node, "writable_budget"));
		break;
	default:
		table_size(t, line, i, node_size(ctx, node, columns[column].json));
	}
}

static int run_nodes(struct cramcg *ctx, int argc, char **argv)
{
	int wanted[NR_COLUMNS + 1] = { C_NODE, C_CLASS, C_STATE, C_LOGICAL, C_CELLS, C_FREE, C_ROOM, C_USED,
		C_RATIO, C_WRITABLE, C_BUDGET, -1 };
	struct table_style style = { 0 };
	_cleanup_free_ int *nodes = NULL;
	const char *output = NULL;
	struct table *t;
	size_t count;
	int c, n, err;

	while ((c = next_option(&verb_nodes, argc, argv)) != -1) {
		if (c == 'o')
			output = optarg;
		else
			table_option(&style, c);
	}
	if (optind != argc)
		return report(STATUS_USAGE, "%s: nodes takes no argument; cramcg node N shows one", argv[optind]);
	n = table_columns(columns, NR_COLUMNS, output, wanted);
	if (n < 0)
		return STATUS_USAGE;
	err = cramcg_nodes(ctx, &nodes, &count);
	if (err)
		return report_error(ctx, err);
	t = count || style.json ? table_new("nodes", columns, wanted, n, &style) : NULL;
	for (size_t k = 0; t && k < count; k++) {
		void *line = table_line(t, NULL);

		for (int i = 0; i < n; i++)
			put(ctx, t, line, i, wanted[i], nodes[k]);
	}
	if (t)
		table_print(t);
	if (!count)
		return report(STATUS_MISSING, "this machine has no cram node; see cramcg doctor");
	return 0;
}

const struct verb verb_nodes = {
	.name = "nodes", .args = "", .summary = "the devices: states, cells, room",
	.example = "cramcg nodes -o +RESERVE,LOW",
	.columns = columns, .nr_columns = NR_COLUMNS,
	.options = nodes_options, .completes = "none", .run = run_nodes,
};

/* --- node N ------------------------------------------------------------------------- */

static const struct option_row node_options[] = {
	{ "dry-run", 'N', NULL, "check, show what would change, change nothing" },
	{ "bytes", 'b', NULL, "print sizes in bytes" },
	{ "human", 'H', NULL, "print sizes with K, M, G, even into a pipe" },
	{ 0 }
};

static const struct { const char *state, *means; } states[] = {
	{ "open", "pages may be demoted" },
	{ "low", "nothing is demoted; pages go to swap, if there is any, until a quarter more than low_bytes is free" },
	{ "critical", "as low, and nothing stays writable in place" },
	{ "lost", "the device does not answer, or gave an answer that cannot be true; what is resident can be read. See dmesg; cramcg node N open has it believed again" },
	{ "offline", "by request; cramcg node N open ends that" },
};

static void show_row(struct cramcg *ctx, int node, const char *file, bool human, const char *words)
{
	uint64_t bytes = node_size(ctx, node, file);
	char buf[SIZE_TEXT];

	if (bytes != UNKNOWN)
		printf("  %-26s %-9s %s\n", file, size_text(buf, bytes, human), words);
}

static int show_node(struct cramcg *ctx, int node, bool human)
{
	_cleanup_free_ char *state = NULL, *safe = NULL, *class = NULL, *kind = NULL;
	const char *means = "";
	uint64_t number;
	int err = cramcg_node_read(ctx, node, "state", &state);

	if (err)
		return report_error(ctx, err);
	for (size_t i = 0; i < ARRAY_SIZE(states); i++)
		if (!strcmp(states[i].state, state))
			means = states[i].means;
	safe = cramcg_printable(state);
	if (!cramcg_node_read(ctx, node, "class", &class))
		kind = cramcg_printable(class);
	printf("node %d, %s: %s: %s\n", node, kind ? kind : "compressed", safe ? safe : "?", means);
	show_row(ctx, node, "logical_bytes", human, "addresses");
	show_row(ctx, node, "physical_bytes", human, "cells");
	show_row(ctx, node, "physical_free_bytes", human, "free, as of the last answer");
	show_row(ctx, node, "free_bound_bytes", human, "free for certain now: one page more needs this above the reserve");
	show_row(ctx, node, "used_bytes", human, "resident");
	if (node_ratio(ctx, node) > 0)
		printf("  %-26s %-9.2f by cells in use, pages freed but not trimmed included\n", "ratio",
		       node_ratio(ctx, node));
	show_row(ctx, node, "writable_bytes", human, "writable in place");
	show_row(ctx, node, "writable_budget", human, "how much may be; auto: as much as there is room for");
	show_row(ctx, node, "reserve_bytes", human, "cells that no demotion may touch");
	show_row(ctx, node, "low_bytes", human, "low with fewer free cells");
	show_row(ctx, node, "critical_bytes", human, "critical with fewer free cells");
	show_row(ctx, node, "page_max", human, "compressed bytes that a page may take");
	show_row(ctx, node, "lease_ms", false, "milliseconds that an answer is believed");
	show_row(ctx, node, "promote_hot_bytes_per_sec", human, "may be promoted for being hot");
	number = node_size(ctx, node, "over_capacity");
	if (number != UNKNOWN)
		printf("  %-26s %-9ju %s\n", "over_capacity", (uintmax_t)number,
		       number ? "stores found no cell: DATA WAS LOST" : "stores that found no cell");
	return 0;
}

static int set_node(struct cramcg *ctx, int node, int n, char **argv, bool dry)
{
	_cleanup_free_ struct cramcg_setting *s = calloc(n, sizeof(*s));
	struct cramcg_plan *plan;
	char name[16];
	int err;

	if (!s || !split_settings(n, argv, s))
		return STATUS_USAGE;
	err = cramcg_plan_new(ctx, &plan);
	snprintf(name, sizeof(name), "%d", node);
	for (int i = 0; i < n && !err; i++)
		err = cramcg_plan_add(plan, 'n', name, &s[i]);
	if (!err && (dry || isatty(STDOUT_FILENO)))
		print_plan(plan, false);
	if (!err && !dry)
		err = cramcg_plan_commit(plan);
	cramcg_plan_free(plan);
	return err ? report_error(ctx, err) : 0;
}

static void node_keys(void)
{
	const char *name, *help;

	report(0, "the settings of a node:");
	for (size_t i = 0; (name = cramcg_setting_name('n', i, &help)); i++)
		fprintf(stderr, "  %-26s %s\n", name, help);
}

static int run_node(struct cramcg *ctx, int argc, char **argv)
{
	bool dry = false, bytes = false, human = false;
	int c, node, status;

	while ((c = next_option(&verb_node, argc, argv)) != -1) {
		dry |= c == 'N';
		bytes |= c == 'b';
		human |= c == 'H';
	}
	argv += optind;
	argc -= optind;
	if (!argc)
		return report(STATUS_USAGE, "which node? See cramcg node --help");
	status = find_node(ctx, argv[0], &node);
	if (status)
		return status;
	if (argc == 1)
		return show_node(ctx, node, !bytes && (human || isatty(STDOUT_FILENO)));
	if (argc == 2 && !strcmp(argv[1], "open")) {
		int err = dry ? 0 : cramcg_node_state(ctx, node, "open");

		return err ? report_error(ctx, err) : 0;
	}
	if (strcmp(argv[1], "set"))
		return report(STATUS_USAGE, "%s: after the number comes set, open, or nothing; cramcg drain %d takes the node offline",
			      argv[1], node);
	if (argc == 2) {
		node_keys();
		return STATUS_USAGE;
	}
	return set_node(ctx, node, argc - 2, argv + 2, dry);
}

const struct verb verb_node = {
	.name = "node", .args = "N [open | set KEY=VALUE...]", .summary = "one device, explained; and what can be set of it",
	.example = "cramcg node 1 set low_bytes=64M critical_bytes=32M",
	.options = node_options, .completes = "node", .run = run_node,
};

/* --- drain ---------------------------------------------------------------------------- */

static const struct option_row drain_options[] = {
	{ "undo", 'u', NULL, "let pages in again, as cramcg node N open" },
	{ 0 }
};

static int take_offline(struct slow *s)
{
	return cramcg_node_state(s->ctx, s->node, "offline");
}

static uint64_t used(struct slow *s)
{
	uint64_t bytes = node_size(s->ctx, s->node, "used_bytes");

	return bytes == UNKNOWN ? 0 : bytes;
}

static int run_drain(struct cramcg *ctx, int argc, char **argv)
{
	struct slow s = { .ctx = ctx, .run = take_offline, .usage = used, .what = "draining",
		.after_signal = "the node is as open as it was; what has left stays where it went" };
	bool undo = false;
	char left[SIZE_TEXT];
	int status;

	while (next_option(&verb_drain, argc, argv) != -1)
		undo = true;
	if (optind + 1 != argc)
		return report(STATUS_USAGE, "which node? See cramcg drain --help");
	status = find_node(ctx, argv[optind], &s.node);
	if (status)
		return status;
	if (undo) {
		int err = cramcg_node_state(ctx, s.node, "open");

		return err ? report_error(ctx, err) : 0;
	}
	status = wait_for(&s);
	if (status == STATUS_PART && used(&s)) {
		report(0, "node %d: %s are resident still, of:", s.node, size_text(left, used(&s), true));
		print_holders(ctx, s.node, 10, stderr);
	}
	return status;
}

const struct verb verb_drain = {
	.name = "drain", .args = "N", .summary = "take a node offline: all pages leave it, or none has to",
	.example = "cramcg drain 1",
	.options = drain_options, .completes = "node", .run = run_drain,
};
