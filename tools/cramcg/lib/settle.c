// SPDX-License-Identifier: GPL-2.0-or-later
/* What takes time: evicting, revoking; and enabling the controller on a path. */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>

#include "internal.h"

static char *where_of(struct cramcg *ctx, const char *path)
{
	char *where;

	return asprintf(&where, "%s%s", ctx->mount, path[1] ? path : "") < 0 ? NULL : where;
}

/* All of a file that has one value, or one for each node on lines of their own */
static int write_again(struct cramcg *ctx, int dir, const char *where, const char *file,
		       const char *text)
{
	_cleanup_free_ char *copy = strdup(text);
	char *line, *save = NULL;
	int err = 0;

	if (!copy)
		return fail(ctx, ENOMEM, "out of memory");
	for (line = strtok_r(copy, "\n", &save); line && !err; line = strtok_r(NULL, "\n", &save))
		err = write_at(ctx, dir, where, file, line, 0);
	return err;
}

/* Writing the same limit again, without O_NONBLOCK, evicts or revokes what is above */
int cramcg_settle(struct cramcg *ctx, const char *path, const char *key)
{
	const struct key *k = find_key(ctx, 'c', key);
	_cleanup_free_ char *where = NULL, *file = NULL, *limit = NULL, *usage = NULL;
	_cleanup_close_ int dir = -1;
	uint64_t most, used;
	int err;

	if (!k)
		return -EINVAL;
	dir = open_cgroup(ctx, path);
	if (dir < 0)
		return dir;
	where = where_of(ctx, path);
	if (!where || key_file(k, &file)) {
		file = NULL;
		return fail(ctx, ENOMEM, "out of memory");
	}
	err = read_at(ctx, dir, where, file, &limit);
	if (!err)
		err = write_again(ctx, dir, where, file, limit);
	if (err || !k->usage)
		return err;
	err = read_at(ctx, dir, where, k->usage, &usage);
	if (err || cramcg_parse_size(limit, &most) || cramcg_parse_size(usage, &used))
		return err;
	if (most >= CRAMCG_AUTO || used <= most)
		return 0;
	return fail(ctx, EAGAIN, "%s/%s: %s is in force, but %s is %ju: the rest is held by a reference, or there is no memory or swap for it",
		    where, file, limit, k->usage, (uintmax_t)used);
}

int cramcg_reclaim(struct cramcg *ctx, const char *path, uint64_t bytes, const char *to)
{
	_cleanup_free_ char *where = NULL, *text = NULL;
	_cleanup_close_ int dir = -1;

	if (to && strcmp(to, "swap") && strcmp(to, "dram"))
		return fail(ctx, EINVAL, "cram.reclaim: to=%s: it is swap or dram", to);
	dir = open_cgroup(ctx, path);
	if (dir < 0)
		return dir;
	where = where_of(ctx, path);
	if (!where || asprintf(&text, "%ju%s%s", (uintmax_t)bytes, to ? " to=" : "", to ? to : "") < 0) {
		text = NULL;
		return fail(ctx, ENOMEM, "out of memory");
	}
	return write_at(ctx, dir, where, "cram.reclaim", text, 0);
}

static bool enables_cram(struct cramcg *ctx, const char *path)
{
	_cleanup_free_ char *text = NULL;
	char *word, *save = NULL;

	if (cramcg_read(ctx, path, "cgroup.subtree_control", &text))
		return false;
	for (word = strtok_r(text, " ", &save); word; word = strtok_r(NULL, " ", &save))
		if (!strcmp(word, "cram"))
			return true;
	return false;
}

static int write_control(struct cramcg *ctx, const char *path, const char *text)
{
	_cleanup_close_ int dir = open_cgroup(ctx, path);
	_cleanup_free_ char *where = dir < 0 ? NULL : where_of(ctx, path);

	if (dir < 0)
		return dir;
	if (!where)
		return fail(ctx, ENOMEM, "out of memory");
	return write_at(ctx, dir, where, "cgroup.subtree_control", text, 0);
}

/* The parent that ends at the slash of path: "/" or "/a" */
static char *parent_at(const char *path, const char *slash)
{
	return slash == path ? strdup("/") : strndup(path, slash - path);
}

/*
 * Another process may be enabling cram at this moment: the kernel has the word in
 * cgroup.subtree_control before it has made the files below. A second
 * write of "+cram" waits until they are there.
 */
static bool has_files(struct cramcg *ctx, const char *path, const char *slash)
{
	_cleanup_free_ char *child = strndup(path, slash + 1 + strcspn(slash + 1, "/") - path);
	_cleanup_close_ int dir = child ? open_cgroup(ctx, child) : -1;

	return dir >= 0 && !faccessat(dir, "cram.max", F_OK, 0);
}

/*
 * From the root down: a controller has to be enabled in the parent first.  On a failure
 * what was enabled above stays: another process may have found it enabled meanwhile and
 * have set limits, which would be gone with it.
 */
int cramcg_enable(struct cramcg *ctx, const char *path)
{
	int err = 0;

	for (const char *slash = path; path[1] && slash && !err; slash = strchr(slash + 1, '/')) {
		_cleanup_free_ char *parent = parent_at(path, slash);

		if (!parent)
			err = fail(ctx, ENOMEM, "out of memory");
		else if (!enables_cram(ctx, parent) || !has_files(ctx, path, slash))
			err = write_control(ctx, parent, "+cram");
	}
	return err;
}
