// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * What top knows.  With thousands of cgroups opening files is what costs, so the two that
 * change are kept open, and the tree is looked through only now and then.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/resource.h>
#include <time.h>

#include "top.h"

#define SCAN_SECONDS	5

static double seconds(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return now.tv_sec + now.tv_nsec / 1e9;
}

/* --- the tree ----------------------------------------------------------------------- */

struct scan {
	struct top_row *rows;
	size_t n, room;
	size_t at[64];
};

static int collect(const char *path, int dir, int depth, void *arg)
{
	struct scan *s = arg;

	(void)dir;
	if (depth >= (int)ARRAY_SIZE(s->at))
		return CRAMCG_SKIP;
	if (s->n == s->room) {
		size_t room = s->room ? 2 * s->room : 256;
		struct top_row *more = reallocarray(s->rows, room, sizeof(*more));

		if (!more)
			return -ENOMEM;
		s->rows = more;
		s->room = room;
	}
	s->rows[s->n] = (struct top_row) {
		.path = strdup(path), .depth = depth, .current = -1, .stat = -1,
		.parent = depth ? s->at[depth - 1] : SIZE_MAX,
	};
	if (!s->rows[s->n].path)
		return -ENOMEM;
	s->at[depth] = s->n++;
	return 0;
}

static void free_row(struct top_row *row)
{
	close_fd(&row->current);
	close_fd(&row->stat);
	free(row->path);
}

static int by_path(const void *a, const void *b)
{
	const struct top_row *const *x = a, *const *y = b;

	return strcmp((*x)->path, (*y)->path);
}

/* What was known of a cgroup goes over to its new row */
static void keep_known(struct top *t, struct scan *s)
{
	const struct top_row **index = calloc(t->n + 1, sizeof(*index));

	for (size_t i = 0; index && i < t->n; i++)
		index[i] = &t->rows[i];
	if (index && t->n)
		qsort(index, t->n, sizeof(*index), by_path);
	for (size_t i = 0; index && i < s->n; i++) {
		const struct top_row *key = &s->rows[i], **found;
		struct top_row *old, *new = &s->rows[i];
		size_t parent = new->parent;
		char *path = new->path;

		found = bsearch(&key, index, t->n, sizeof(*index), by_path);
		if (!found)
			continue;
		old = (struct top_row *)*found;
		*new = *old;
		new->path = path;
		new->parent = parent;
		old->current = old->stat = -1;
	}
	free(index);
}

/* Two files of each cgroup: as many as we may */
static void raise_limit(void)
{
	struct rlimit limit;

	if (getrlimit(RLIMIT_NOFILE, &limit) || limit.rlim_cur == limit.rlim_max)
		return;
	limit.rlim_cur = limit.rlim_max;
	setrlimit(RLIMIT_NOFILE, &limit);
}

static int open_file(struct top *t, const char *path, const char *file)
{
	char name[4096];

	if (snprintf(name, sizeof(name), "%s/%s", path[1] ? path + 1 : ".", file) >= (int)sizeof(name))
		return -1;
	return openat(t->dir, name, O_RDONLY | O_CLOEXEC);
}

static int scan_nodes(struct top *t)
{
	int *numbers, err = cramcg_nodes(t->ctx, &numbers, &t->nr_nodes);

	if (err)
		return err;
	free(t->nodes);
	t->nodes = calloc(t->nr_nodes + 1, sizeof(*t->nodes));
	for (size_t i = 0; t->nodes && i < t->nr_nodes; i++)
		t->nodes[i].number = numbers[i];
	free(numbers);
	return t->nodes ? 0 : -ENOMEM;
}

int top_scan(struct top *t)
{
	struct scan s = { 0 };
	int err;

	if (!t->scanned) {
		raise_limit();
		t->dir = open(cramcg_mount(t->ctx), O_PATH | O_DIRECTORY | O_CLOEXEC);
	}
	err = cramcg_walk_names(t->ctx, "/", collect, &s);
	if (!err)
		err = scan_nodes(t);
	if (err) {
		for (size_t i = 0; i < s.n; i++)
			free_row(&s.rows[i]);
		free(s.rows);
		return err;
	}
	keep_known(t, &s);
	for (size_t i = 0; i < t->n; i++)
		free_row(&t->rows[i]);
	free(t->rows);
	t->rows = s.rows;
	t->n = s.n;
	free(t->order);
	t->order = calloc(t->n + 1, sizeof(*t->order));
	t->nr_order = 0;
	for (size_t i = 0; i < t->n; i++) {
		struct top_row *row = &t->rows[i];

		if (row->current < 0)
			row->current = open_file(t, row->path, "cram.current");
		if (row->stat < 0 && row->current >= 0)
			row->stat = open_file(t, row->path, "cram.stat");
	}
	t->scanned = seconds();
	return t->order ? 0 : -ENOMEM;
}

/* --- counters ------------------------------------------------------------------------- */

static bool read_fd(int fd, char *buf, size_t size)
{
	ssize_t len = fd < 0 ? -1 : pread(fd, buf, size - 1, 0);

	if (len <= 0)
		return false;
	while (len && buf[len - 1] == '\n')
		len--;
	buf[len] = '\0';
	return true;
}

static double rate(uint64_t now, uint64_t before, double dt)
{
	return now > before && dt > 0 ? (now - before) / dt : 0;
}

static void push_history(struct rates *r, double value)
{
	memmove(r->history, r->history + 1, sizeof(r->history) - sizeof(*r->history));
	r->history[HISTORY - 1] = value;
}

static void update_rates(struct top_row *row, double dt)
{
	const uint64_t *now = row->s.counters, *old = row->before;
	struct rates *r = &row->rates;

	r->demote = r->promote = r->refuse = 0;
	if (row->seen) {
		r->demote = rate(now[COUNTER_demote], old[COUNTER_demote], dt);
		for (int i = COUNTER_promote_write; i <= COUNTER_promote_forced; i++)
			r->promote += rate(now[i], old[i], dt);
		for (int i = FIRST_REFUSAL; i < NR_COUNTERS; i++)
			r->refuse += rate(now[i], old[i], dt);
	}
	push_history(r, r->demote + r->promote);
	memcpy(row->before, now, sizeof(row->before));
	row->seen = true;
}

static void read_row(struct top_row *row, double dt)
{
	char buf[4096];
	uint64_t bytes;

	row->enabled = read_fd(row->current, buf, sizeof(buf)) && !cramcg_parse_size(buf, &bytes);
	if (!row->enabled)
		return;
	/* Who has nothing and had nothing has nothing new to tell */
	if (!bytes && row->seen && !row->s.current && row->s.max != UNKNOWN && !row->rates.history[HISTORY - 1])
		return;
	sample_blank(&row->s);
	row->s.current = bytes;
	if (read_fd(row->stat, buf, sizeof(buf)))
		sample_parse_stat(buf, &row->s);
	update_rates(row, dt);
}

static void read_node(struct top *t, struct top_node *node)
{
	_cleanup_free_ char *state = NULL;

	if (cramcg_node_read(t->ctx, node->number, "state", &state))
		snprintf(node->state, sizeof(node->state), "gone");
	else
		snprintf(node->state, sizeof(node->state), "%s", state);
	node->physical = node_size(t->ctx, node->number, "physical_bytes");
	node->free = node_size(t->ctx, node->number, "physical_free_bytes");
	node->used = node_size(t->ctx, node->number, "used_bytes");
	node->writable = node_size(t->ctx, node->number, "writable_bytes");
}

/* All together: what is at the top of the tree has its descendants in it */
static void sum_up(struct top *t)
{
	struct rates *r = &t->all;

	r->demote = r->promote = r->refuse = 0;
	for (size_t i = 0; i < t->n; i++) {
		if (!t->rows[i].enabled || t->rows[i].depth != 1)
			continue;
		r->demote += t->rows[i].rates.demote;
		r->promote += t->rows[i].rates.promote;
		r->refuse += t->rows[i].rates.refuse;
	}
	push_history(r, r->demote + r->promote);
}

/* --- order ------------------------------------------------------------------------------ */

static const struct top *sorting;

static double key_of(const struct top_row *row)
{
	switch (sorting->sort) {
	case SORT_RESIDENT: return row->s.current;
	case SORT_RATIO: return sample_ratio(&row->s);
	case SORT_DEMOTE: return row->rates.demote;
	case SORT_PROMOTE: return row->rates.promote;
	case SORT_REFUSE: return row->rates.refuse;
	default: return 0;
	}
}

static int compare(const void *a, const void *b)
{
	const struct top_row *x = &sorting->rows[*(const size_t *)a];
	const struct top_row *y = &sorting->rows[*(const size_t *)b];
	double vx = key_of(x), vy = key_of(y);
	int order = vx < vy ? 1 : vx > vy ? -1 : strcmp(x->path, y->path);

	return sorting->reverse ? -order : order;
}

static bool is_shown(const struct top *t, const struct top_row *row)
{
	if (!row->enabled || (*t->filter && !strstr(row->path, t->filter)))
		return false;
	return t->show_all || row->s.current || row->rates.demote || row->rates.refuse;
}

static void sort_rows(struct top *t)
{
	t->nr_order = 0;
	for (size_t i = 0; i < t->n; i++)
		t->rows[i].shown = is_shown(t, &t->rows[i]);
	/* In a tree, the way to it: children come after their parents */
	for (size_t i = t->n; t->tree && i-- > 0; )
		if (t->rows[i].shown && t->rows[i].depth > 1)
			t->rows[t->rows[i].parent].shown = true;
	for (size_t i = 0; i < t->n; i++)
		if (t->rows[i].shown)
			t->order[t->nr_order++] = i;
	sorting = t;
	if (!t->tree && t->nr_order)
		qsort(t->order, t->nr_order, sizeof(*t->order), compare);
}

/* Limits change seldom, and matter only where they are seen */
static void read_limits(struct top *t)
{
	for (size_t i = t->first; i < t->nr_order && i < t->first + t->height; i++) {
		struct top_row *row = &t->rows[t->order[i]];
		struct sample s;

		if (sample_read_at(t->dir, row->path, READ_MAX | READ_BUDGET | READ_USAGE, &s)) {
			row->s.max = s.max;
			row->s.budget = s.effective != UNKNOWN ? s.effective : s.budget;
			row->s.writable = s.writable;
			row->s.compressed = s.compressed;
		}
	}
}

void top_refresh(struct top *t)
{
	double now = seconds(), dt = t->last ? now - t->last : 0;

	if (now - t->scanned > SCAN_SECONDS)
		top_scan(t);
	for (size_t i = 0; i < t->n; i++)
		read_row(&t->rows[i], dt);
	for (size_t i = 0; i < t->nr_nodes; i++)
		read_node(t, &t->nodes[i]);
	sum_up(t);
	sort_rows(t);
	if (t->first >= t->nr_order)
		t->first = t->nr_order ? t->nr_order - 1 : 0;
	read_limits(t);
	t->last = now;
}

void top_free(struct top *t)
{
	for (size_t i = 0; i < t->n; i++)
		free_row(&t->rows[i]);
	free(t->rows);
	free(t->order);
	free(t->nodes);
	close_fd(&t->dir);
}
