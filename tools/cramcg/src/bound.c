// SPDX-License-Identifier: GPL-2.0-or-later
/* Which cgroup above binds, and what stands against one more page. */
#define _GNU_SOURCE
#include <string.h>

#include "cramcg.h"

static void keep_tightest(struct bound *b, const char *path, uint64_t limit, uint64_t usage)
{
	uint64_t left = limit > usage ? limit - usage : 0;

	if (limit >= UNKNOWN || usage >= UNKNOWN)
		return;
	if (b->path && (b->limit > b->usage ? b->limit - b->usage : 0) <= left)
		return;
	free(b->path);
	*b = (struct bound) { strdup(path), limit, usage };
}

/* The cgroup and all above it: whose limit leaves least? */
void find_bounds(struct cramcg *ctx, const char *path, struct bounds *b)
{
	_cleanup_free_ char *p = strdup(path);

	while (p && *p && p[1]) {
		struct sample s;

		if (!sample_path(ctx, p, READ_USAGE | READ_LIMITS, &s)) {
			keep_tightest(&b->resident, p, s.max, s.current);
			keep_tightest(&b->budget, p, s.budget, s.writable);
			keep_tightest(&b->cells, p, s.compressed_max, s.compressed);
		}
		*strrchr(p, '/') = '\0';
	}
}

void free_bounds(struct bounds *b)
{
	free(b->resident.path);
	free(b->budget.path);
	free(b->cells.path);
}

/* Is one of the nodes that the cgroup may use open? */
static bool any_open(struct cramcg *ctx, const char *nodes)
{
	uint8_t set[CRAMCG_NODES_MAX / 8];

	if (cramcg_parse_nodes(nodes, set))
		return true;
	for (int n = 0; n < CRAMCG_NODES_MAX; n++) {
		_cleanup_free_ char *state = NULL;

		if (set[n / 8] & 1 << n % 8 && !cramcg_node_read(ctx, n, "state", &state) &&
		    !strcmp(state, "open"))
			return true;
	}
	return false;
}

bool switched_off(struct cramcg *ctx)
{
	_cleanup_free_ char *enabled = read_root_file(ctx, "sys/kernel/mm/cram/enabled");

	return enabled && *enabled == '0';
}

int rule_now(struct cramcg *ctx, const char *nodes, const struct bounds *b)
{
	const struct bound *r = &b->resident;

	if (switched_off(ctx))
		return COUNTER_refuse_off;
	/* The root has every node, and no file that says so */
	if (!nodes)
		return -1;
	if (!*nodes)
		return COUNTER_refuse_right;
	if (r->path && r->usage >= r->limit)
		return COUNTER_refuse_max;
	return any_open(ctx, nodes) ? -1 : COUNTER_refuse_state;
}

char *mend_words(int rule, const struct bounds *b)
{
	char *text;
	int len;

	if (rule == COUNTER_refuse_max && b->resident.path)
		len = asprintf(&text, "cramcg set %s max=SIZE, with more than %ju", b->resident.path,
			       (uintmax_t)b->resident.limit);
	else
		len = asprintf(&text, "%s", refusal_words(rule)->mend);
	return len < 0 ? NULL : text;
}
