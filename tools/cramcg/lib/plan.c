// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Settings, all or nothing.  A plan opens the directory of each object, checks each
 * value and reads the present one when a setting is added; commit writes what differs,
 * and on a failure writes back what was there, in reverse.
 *
 * Limits are written with O_NONBLOCK, which puts them in force and moves no page: a
 * rollback is quick then, and has nothing to undo but numbers.
 *
 * Plans of several processes for one cgroup come one after the other: commit locks its
 * directory.  Who writes without this library is not stopped by that, so a rollback
 * leaves alone what says something else than this plan has written.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>

#include "internal.h"

struct entry {
	int object;
	char *name;
	const struct key *key;
	char *file;
	char *where;
	int dir;
	char *old, *new;
	char *wrote;		/* new, as the kernel says it */
	bool differs, waits, written;
};

/*
 * Whoever can read the directory of a cgroup can lock it, and keep the lock.  A commit
 * takes milliseconds, so nobody in good faith makes another wait for so long.
 */
#define LOCK_TRIES	200
#define LOCK_PAUSE_USEC	(10 * 1000)

struct cramcg_plan {
	struct cramcg *ctx;
	struct entry *entries;
	size_t n, room;
};

int cramcg_plan_new(struct cramcg *ctx, struct cramcg_plan **plan)
{
	*plan = calloc(1, sizeof(**plan));
	if (!*plan)
		return fail(ctx, ENOMEM, "out of memory");
	(*plan)->ctx = ctx;
	return 0;
}

static void free_entry(struct entry *e)
{
	close_fd(&e->dir);
	free(e->name);
	free(e->file);
	free(e->where);
	free(e->old);
	free(e->new);
	free(e->wrote);
}

void cramcg_plan_free(struct cramcg_plan *plan)
{
	if (!plan)
		return;
	for (size_t i = 0; i < plan->n; i++)
		free_entry(&plan->entries[i]);
	free(plan->entries);
	free(plan);
}

size_t cramcg_plan_size(const struct cramcg_plan *plan)
{
	return plan->n;
}

void cramcg_plan_get(const struct cramcg_plan *plan, size_t i, struct cramcg_change *c)
{
	const struct entry *e = &plan->entries[i];

	*c = (struct cramcg_change) {
		.object = e->object, .name = e->name, .key = e->file, .old = e->old,
		.new = e->new, .differs = e->differs, .waits = e->waits,
	};
}

static int open_object(struct cramcg *ctx, struct entry *e)
{
	int node;

	if (e->object == 'c') {
		e->dir = open_cgroup(ctx, e->name);
		if (e->dir < 0)
			return e->dir;
		if (asprintf(&e->where, "%s%s", ctx->mount, e->name[1] ? e->name : "") < 0)
			e->where = NULL;
	} else if (e->object == 'n') {
		node = atoi(e->name);
		e->where = node_dir(ctx, node);
		e->dir = e->where ? open(e->where, O_RDONLY | O_DIRECTORY | O_CLOEXEC) : -1;
		if (e->where && e->dir < 0)
			return fail(ctx, ENODEV, "node %s is not a cram node at this time", e->name);
	} else {
		if (asprintf(&e->where, "%s/sys/kernel/mm/cram", ctx->root) < 0)
			e->where = NULL;
		e->dir = e->where ? open(e->where, O_RDONLY | O_DIRECTORY | O_CLOEXEC) : -1;
		if (e->where && e->dir < 0)
			return fail(ctx, ENOSYS, "%s: this kernel has no cram (CONFIG_CRAM)", e->where);
	}
	return e->where ? 0 : fail(ctx, ENOMEM, "out of memory");
}

/* A node of a list that is no cram node: ENODEV, before anything is written */
static int check_nodes(struct cramcg *ctx, const struct entry *e)
{
	uint8_t set[CRAMCG_NODES_MAX / 8];

	if (e->key->kind & VALUE_NODE_SIZE) {
		if (!is_cram_node(ctx, atoi(e->new + 1)))
			return fail(ctx, ENODEV, "%s/%s: \"%s\" not written: the node is not a cram node at this time",
				    e->where, e->file, e->new);
		return 0;
	}
	if (!(e->key->kind & VALUE_NODES) || cramcg_parse_nodes(e->new, set))
		return 0;
	for (int n = 0; n < CRAMCG_NODES_MAX; n++)
		if (set[n / 8] & 1 << n % 8 && !is_cram_node(ctx, n))
			return fail(ctx, ENODEV, "%s/%s: \"%s\" not written: node %d is not a cram node at this time",
				    e->where, e->file, e->new, n);
	return 0;
}

/* The line of one node in cram.node.max, as it would be written: "N1 max" if none */
static char *old_of_node(const char *text, const char *new)
{
	int len = strcspn(new, " ");
	char *old;

	for (const char *p = text; p && *p; p = strchr(p, '\n'), p += p ? 1 : 0)
		if (!strncmp(p, new, len + 1))
			return strndup(p, strcspn(p, "\n"));
	return asprintf(&old, "%.*s max", len, new) < 0 ? NULL : old;
}

static int read_value(struct cramcg *ctx, const struct entry *e, char **value)
{
	_cleanup_free_ char *text = NULL;
	int err = read_at(ctx, e->dir, e->where, e->file, &text);

	if (err)
		return err;
	if (e->key->kind & VALUE_NODE_SIZE) {
		*value = old_of_node(text, e->new);
		return *value ? 0 : fail(ctx, ENOMEM, "out of memory");
	}
	*value = text;
	text = NULL;
	return 0;
}

struct on_node {
	int node;
	uint64_t bytes;
};

static void add_node(int node, uint64_t bytes, void *arg)
{
	struct on_node *n = arg;

	if (node == n->node)
		n->bytes = bytes;
}

/* "N1 64M" against what is resident on node 1 */
static bool node_must_wait(struct cramcg *ctx, const struct entry *e)
{
	struct on_node n = { .node = atoi(e->new + 1) };
	_cleanup_free_ char *text = NULL;
	uint64_t limit;

	if (cramcg_parse_size(strchr(e->new, ' ') + 1, &limit) || limit >= CRAMCG_AUTO ||
	    read_at(ctx, e->dir, e->where, "cram.numa_stat", &text))
		return false;
	cramcg_parse_numa(text, "resident", add_node, &n);
	return n.bytes > limit;
}

/* Is more in use than the new number permits? */
static bool must_wait(struct cramcg *ctx, const struct entry *e)
{
	_cleanup_free_ char *text = NULL;
	uint64_t limit, usage;

	if (e->key->kind & VALUE_NODE_SIZE)
		return node_must_wait(ctx, e);
	return e->key->usage && !cramcg_parse_size(e->new, &limit) && limit < CRAMCG_AUTO &&
	       !read_at(ctx, e->dir, e->where, e->key->usage, &text) &&
	       !cramcg_parse_size(text, &usage) && usage > limit;
}

static bool same_target(const struct entry *a, const struct entry *b)
{
	if (a->object != b->object || a->key != b->key || strcmp(a->name, b->name))
		return false;
	if (!(a->key->kind & VALUE_NODE_SIZE))
		return true;
	return !strncmp(a->new, b->new, strcspn(a->new, " ") + 1);
}

static int fill(struct cramcg *ctx, struct entry *e, const struct cramcg_setting *s)
{
	int err;

	e->key = find_key(ctx, e->object, s->key);
	if (!e->key)
		return -EINVAL;
	err = key_value(ctx, e->key, s->value, &e->new);
	if (err)
		return err;
	err = open_object(ctx, e);
	if (err)
		return err;
	if (!e->name || key_file(e->key, &e->file))
		return fail(ctx, ENOMEM, "out of memory");
	err = read_value(ctx, e, &e->old);
	if (!err)
		err = check_nodes(ctx, e);
	if (err)
		return err;
	e->differs = strcmp(e->old, e->new);
	e->waits = must_wait(ctx, e);
	return 0;
}

int cramcg_plan_add(struct cramcg_plan *plan, int object, const char *name,
		    const struct cramcg_setting *s)
{
	struct entry e = { .object = object, .name = strdup(name), .dir = -1 };
	int err;

	if (plan->n == plan->room) {
		size_t room = plan->room ? 2 * plan->room : 8;
		struct entry *more = reallocarray(plan->entries, room, sizeof(*more));

		if (!more) {
			free_entry(&e);
			return fail(plan->ctx, ENOMEM, "out of memory");
		}
		plan->entries = more;
		plan->room = room;
	}
	err = fill(plan->ctx, &e, s);
	for (size_t i = 0; !err && i < plan->n; i++)
		if (same_target(&e, &plan->entries[i]))
			err = fail(plan->ctx, EINVAL, "%s is given twice for %s%s", e.file,
				   object == 'n' ? "node " : "", object == 'm' ? "the machine" : name);
	if (err) {
		free_entry(&e);
		return err;
	}
	plan->entries[plan->n++] = e;
	return 0;
}

static int write_entry(struct cramcg *ctx, struct entry *e, const char *text)
{
	return write_at(ctx, e->dir, e->where, e->file, text, e->object == 'c' ? O_NONBLOCK : 0);
}

/* What another process has written meanwhile is not this plan's to undo */
static bool is_others(struct cramcg *ctx, const struct entry *e)
{
	_cleanup_free_ char *now = NULL;

	return e->wrote && !read_value(ctx, e, &now) && strcmp(now, e->wrote);
}

static void roll_back(struct cramcg_plan *plan)
{
	_cleanup_free_ char *why = plan->ctx->error;

	plan->ctx->error = NULL;
	for (size_t i = plan->n; i-- > 0; ) {
		struct entry *e = &plan->entries[i];

		if (!e->written)
			continue;
		e->written = false;
		if (is_others(plan->ctx, e) || !write_entry(plan->ctx, e, e->old))
			continue;
		/* Rare, and worse than the error that led here: say both */
		fail(plan->ctx, EIO, "%s; and it could not be undone: %s", why ? why : "",
		     cramcg_error(plan->ctx));
		free(why);
		why = plan->ctx->error;
		plan->ctx->error = NULL;
	}
	free(plan->ctx->error);
	plan->ctx->error = why;
	why = NULL;
}

/*
 * Values of one object can depend on each other: critical_bytes is at most low_bytes.
 * So what is refused is tried again after the others, until nothing more goes.
 */
static int write_all(struct cramcg_plan *plan)
{
	bool progress = true;
	int err = 0;

	while (progress) {
		progress = false;
		err = 0;
		for (size_t i = 0; i < plan->n; i++) {
			struct entry *e = &plan->entries[i];
			int one;

			if (e->written || !e->differs)
				continue;
			one = write_entry(plan->ctx, e, e->new);
			if (!one) {
				e->written = progress = true;
				/* If it cannot be read, it is undone all the same */
				read_value(plan->ctx, e, &e->wrote);
			} else if (one != -EINVAL) {
				roll_back(plan);
				return one;
			} else {
				err = one;
			}
		}
		if (!err)
			return 0;
	}
	roll_back(plan);
	return err;
}

static int compare_names(const void *a, const void *b)
{
	return strcmp((*(struct entry *const *)a)->name, (*(struct entry *const *)b)->name);
}

/*
 * Each cgroup once, through its first entry, and in the order of names: so no two plans
 * wait for each other.  Where there are no locks it goes on without.
 */
static void lock(struct entry **sorted, size_t n)
{
	int tries = LOCK_TRIES;

	for (size_t i = 0; i < n; i++) {
		if (i && !strcmp(sorted[i]->name, sorted[i - 1]->name))
			continue;
		while (flock(sorted[i]->dir, LOCK_EX | LOCK_NB) && errno == EWOULDBLOCK && tries > 0) {
			tries--;
			usleep(LOCK_PAUSE_USEC);
		}
	}
}

/* What it was when the plan was made may have been written by a plan that was undone since */
static int read_again(struct cramcg_plan *plan)
{
	for (size_t i = 0; i < plan->n; i++) {
		struct entry *e = &plan->entries[i];
		char *now;
		int err = read_value(plan->ctx, e, &now);

		if (err)
			return err;
		free(e->old);
		e->old = now;
		e->differs = strcmp(e->old, e->new);
	}
	return 0;
}

int cramcg_plan_commit(struct cramcg_plan *plan)
{
	_cleanup_free_ struct entry **sorted = calloc(plan->n + 1, sizeof(*sorted));
	size_t n = 0;
	int err;

	if (!sorted)
		return fail(plan->ctx, ENOMEM, "out of memory");
	for (size_t i = 0; i < plan->n; i++)
		if (plan->entries[i].object == 'c')
			sorted[n++] = &plan->entries[i];
	qsort(sorted, n, sizeof(*sorted), compare_names);
	lock(sorted, n);
	err = read_again(plan);
	if (!err)
		err = write_all(plan);
	for (size_t i = 0; i < n; i++)
		flock(sorted[i]->dir, LOCK_UN);
	return err;
}

static int set(struct cramcg *ctx, int object, const char *name,
	       const struct cramcg_setting *settings, size_t n)
{
	struct cramcg_plan *plan;
	int err = cramcg_plan_new(ctx, &plan);

	if (err)
		return err;
	for (size_t i = 0; i < n && !err; i++)
		err = cramcg_plan_add(plan, object, name, &settings[i]);
	if (!err)
		err = cramcg_plan_commit(plan);
	cramcg_plan_free(plan);
	return err;
}

int cramcg_set(struct cramcg *ctx, const char *path, const struct cramcg_setting *settings,
	       size_t n)
{
	return set(ctx, 'c', path, settings, n);
}

int cramcg_node_set(struct cramcg *ctx, int node, const struct cramcg_setting *settings,
		    size_t n)
{
	char name[16];

	snprintf(name, sizeof(name), "%d", node);
	return set(ctx, 'n', name, settings, n);
}
