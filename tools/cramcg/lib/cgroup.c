// SPDX-License-Identifier: GPL-2.0-or-later
/* Finding cgroups, and reading what their files say. */
#define _GNU_SOURCE
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "internal.h"

/* "a//b/" -> "/a/b"; NULL: a component is ".." or "." */
static char *tidy(const char *name)
{
	char *out = malloc(strlen(name) + 2), *o = out;

	if (!out)
		return NULL;
	while (*name) {
		size_t len;

		name += strspn(name, "/");
		len = strcspn(name, "/");
		if (!len)
			break;
		if (*name == '.' && (len == 1 || (len == 2 && name[1] == '.'))) {
			free(out);
			return NULL;
		}
		*o++ = '/';
		o = mempcpy(o, name, len);
		name += len;
	}
	if (o == out)
		*o++ = '/';
	*o = '\0';
	return out;
}

int cramcg_path(struct cramcg *ctx, const char *name, char **path)
{
	_cleanup_close_ int dir = -1;
	_cleanup_free_ char *p = NULL;
	size_t len = ctx->mount ? strlen(ctx->mount) : 0;

	if (len && !strncmp(name, ctx->mount, len) && (name[len] == '/' || !name[len]))
		name += len;
	else if (!*name)
		return fail(ctx, EINVAL, "\"\": not the name of a cgroup");
	p = tidy(name);
	if (!p)
		return fail(ctx, EINVAL, "%s: not the path of a cgroup: . and .. are not followed", name);
	dir = open_cgroup(ctx, p);
	if (dir < 0)
		return dir;
	*path = p;
	p = NULL;
	return 0;
}

/* The line of cgroup v2 in /proc/PID/cgroup: "0::/a/b" */
static int parse_proc(struct cramcg *ctx, const char *where, char *text, char **path)
{
	char *line, *save = NULL;

	for (line = strtok_r(text, "\n", &save); line; line = strtok_r(NULL, "\n", &save)) {
		if (strncmp(line, "0::/", 4))
			continue;
		if (!strncmp(line + 3, "/..", 3))
			return fail(ctx, EXDEV, "%s/cgroup: the process is in a cgroup outside of this cgroup namespace", where);
		return cramcg_path(ctx, line + 3, path);
	}
	return fail(ctx, ENOENT, "%s/cgroup: no line for cgroup v2", where);
}

int cramcg_path_of_pid(struct cramcg *ctx, int pid, char **path)
{
	_cleanup_free_ char *text = NULL, *dir = NULL;
	_cleanup_close_ int fd = -1;
	char number[16] = "self";
	int err;

	if (pid)
		snprintf(number, sizeof(number), "%d", pid);
	if (asprintf(&dir, "%s/proc/%s", ctx->root, number) < 0) {
		dir = NULL;
		return fail(ctx, ENOMEM, "out of memory");
	}
	fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (fd < 0)
		return fail(ctx, ESRCH, "%s: there is no such process", dir);
	err = read_at(ctx, fd, dir, "cgroup", &text);
	return err ? err : parse_proc(ctx, dir, text, path);
}

int cramcg_owner(struct cramcg *ctx, const char *path, char **owner)
{
	_cleanup_free_ char *p = strdup(path);

	while (p && *p && p[1]) {
		_cleanup_close_ int dir = open_cgroup(ctx, p);

		if (dir < 0)
			return dir;
		if (!faccessat(dir, "cram.current", F_OK, 0)) {
			*owner = p;
			p = NULL;
			return 0;
		}
		*strrchr(p, '/') = '\0';
	}
	*owner = strdup("/");
	return p && *owner ? 0 : fail(ctx, ENOMEM, "out of memory");
}

int cramcg_read(struct cramcg *ctx, const char *path, const char *file, char **text)
{
	_cleanup_close_ int dir = open_cgroup(ctx, path);
	_cleanup_free_ char *where = NULL;

	if (dir < 0)
		return dir;
	if (asprintf(&where, "%s%s", ctx->mount, path[1] ? path : "") < 0) {
		where = NULL;
		return fail(ctx, ENOMEM, "out of memory");
	}
	return read_at(ctx, dir, where, file, text);
}

int cramcg_read_bytes(struct cramcg *ctx, const char *path, const char *file, uint64_t *bytes)
{
	_cleanup_free_ char *text = NULL;
	int err = cramcg_read(ctx, path, file, &text);

	if (err)
		return err;
	if (cramcg_parse_size(text, bytes))
		return fail(ctx, EPROTO, "%s%s/%s: \"%s\" is not a size", ctx->mount, path, file, text);
	return 0;
}

struct find {
	const char *key;
	size_t len;
	uint64_t *value;
	bool found;
};

static void find_one(const char *key, size_t len, uint64_t value, void *arg)
{
	struct find *f = arg;

	if (len != f->len || memcmp(key, f->key, len))
		return;
	*f->value = value;
	f->found = true;
}

int cramcg_read_key(struct cramcg *ctx, const char *path, const char *file,
		    const char *key, uint64_t *value)
{
	struct find f = { .key = key, .len = strlen(key), .value = value };
	_cleanup_free_ char *text = NULL;
	int err = cramcg_read(ctx, path, file, &text);

	if (err)
		return err;
	cramcg_parse_keyed(text, find_one, &f);
	return f.found ? 0 : fail(ctx, ENODATA, "%s%s/%s: there is no %s", ctx->mount, path, file, key);
}

/* --- the tree ------------------------------------------------------------- */

struct walk {
	struct cramcg *ctx;
	cramcg_walk_fn fn;
	void *arg;
	char *path;
	size_t size;
	bool names_only;
};

static int by_name(const void *a, const void *b)
{
	return strcmp(*(char *const *)a, *(char *const *)b);
}

static void free_names(char **names, size_t n)
{
	for (size_t i = 0; i < n; i++)
		free(names[i]);
	free(names);
}

/* Names of the directories in dir, sorted; takes a descriptor of its own */
static int children(int dir, char ***names, size_t *n)
{
	int fd = openat(dir, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	DIR *d = fd < 0 ? NULL : fdopendir(fd);
	size_t room = 0;
	struct dirent *e;
	struct stat st;

	*names = NULL;
	*n = 0;
	if (!d) {
		close_fd(&fd);
		return -1;
	}
	while ((e = readdir(d))) {
		if (e->d_name[0] == '.' && (!e->d_name[1] || !strcmp(e->d_name, "..")))
			continue;
		if (e->d_type != DT_DIR &&
		    (e->d_type != DT_UNKNOWN || fstatat(fd, e->d_name, &st, AT_SYMLINK_NOFOLLOW) ||
		     !S_ISDIR(st.st_mode)))
			continue;
		if (*n == room) {
			char **more = reallocarray(*names, room = room ? 2 * room : 16, sizeof(*more));

			if (!more)
				break;
			*names = more;
		}
		(*names)[*n] = strdup(e->d_name);
		if (!(*names)[*n])
			break;
		(*n)++;
	}
	closedir(d);
	if (e) {
		free_names(*names, *n);
		errno = ENOMEM;
		return -1;
	}
	if (*n)
		qsort(*names, *n, sizeof(**names), by_name);
	return 0;
}

static int push(struct walk *w, size_t len, const char *name)
{
	size_t need = len + strlen(name) + 2;

	if (need > w->size) {
		char *more = realloc(w->path, 2 * need);

		if (!more)
			return -ENOMEM;
		w->path = more;
		w->size = 2 * need;
	}
	w->path[len] = '/';
	strcpy(w->path + len + 1, name);
	return 0;
}

static int walk(struct walk *w, int dir, size_t len, int depth);

/* A directory with two links has no child: that spares reading its 50 files */
static bool is_leaf(int dir, const char *name)
{
	struct stat st;

	return !fstatat(dir, name, &st, AT_SYMLINK_NOFOLLOW | AT_EMPTY_PATH) &&
	       S_ISDIR(st.st_mode) && st.st_nlink == 2;
}

static int walk_child(struct walk *w, int dir, const char *name, size_t len, int depth)
{
	_cleanup_close_ int child = -1;
	int ret;

	if (push(w, len, name))
		return fail(w->ctx, ENOMEM, "out of memory");
	if (w->names_only && is_leaf(dir, name)) {
		ret = w->fn(w->path, -1, depth, w->arg);
		return ret == CRAMCG_SKIP ? 0 : ret;
	}
	child = openat(dir, name, O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);
	/* A cgroup that has gone meanwhile is none */
	return child < 0 ? 0 : walk(w, child, len + 1 + strlen(name), depth);
}

/* Below dir, whose path is the first len bytes of w->path ("" for the root) */
static int walk(struct walk *w, int dir, size_t len, int depth)
{
	char **names = NULL;
	size_t n = 0;
	int ret;

	ret = w->fn(len ? w->path : "/", w->names_only ? -1 : dir, depth, w->arg);
	if (ret)
		return ret == CRAMCG_SKIP ? 0 : ret;
	if (!w->names_only && is_leaf(dir, ""))
		return 0;
	if (children(dir, &names, &n))
		return errno == ENOMEM ? fail(w->ctx, ENOMEM, "out of memory") : 0;
	for (size_t i = 0; i < n && !ret; i++)
		ret = walk_child(w, dir, names[i], len, depth + 1);
	free_names(names, n);
	return ret;
}

static int start_walk(struct cramcg *ctx, const char *path, cramcg_walk_fn fn, void *arg,
		      bool names_only)
{
	struct walk w = { .ctx = ctx, .fn = fn, .arg = arg, .names_only = names_only };
	_cleanup_close_ int dir = open_cgroup(ctx, path);
	size_t len = path[1] ? strlen(path) : 0;
	int ret;

	if (dir < 0)
		return dir;
	w.path = strdup(path);
	w.size = strlen(path) + 1;
	ret = w.path ? walk(&w, dir, len, 0) : fail(ctx, ENOMEM, "out of memory");
	free(w.path);
	return ret;
}

int cramcg_walk(struct cramcg *ctx, const char *path, cramcg_walk_fn fn, void *arg)
{
	return start_walk(ctx, path, fn, arg, false);
}

int cramcg_walk_names(struct cramcg *ctx, const char *path, cramcg_walk_fn fn, void *arg)
{
	return start_walk(ctx, path, fn, arg, true);
}
