// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * The context: where the trees are, and what went wrong last.  libmount finds the
 * cgroup2 file system, so that hybrid hierarchies and odd mount points work.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <libmount/libmount.h>
#include <stdio.h>
#include <string.h>

#include "internal.h"

int fail(struct cramcg *ctx, int err, const char *format, ...)
{
	char *text = NULL;
	va_list ap;

	va_start(ap, format);
	if (vasprintf(&text, format, ap) < 0)
		text = NULL;
	va_end(ap);
	free(ctx->error);
	/* Names of cgroups are in it, and what is in those is anybody's */
	ctx->error = text ? cramcg_printable(text) : NULL;
	free(text);
	return -err;
}

/* The first cgroup2 in the mount table, or NULL */
static char *find_mount(const char *root)
{
	_cleanup_free_ char *file = NULL;
	struct libmnt_table *table;
	struct libmnt_iter *iter;
	struct libmnt_fs *fs;
	char *found = NULL;

	if (asprintf(&file, "%s/proc/self/mountinfo", root) < 0) {
		file = NULL;
		return NULL;
	}
	table = mnt_new_table_from_file(file);
	iter = mnt_new_iter(MNT_ITER_FORWARD);
	while (table && iter && !found && !mnt_table_next_fs(table, iter, &fs)) {
		const char *type = mnt_fs_get_fstype(fs);

		if (!type || strcmp(type, "cgroup2"))
			continue;
		if (asprintf(&found, "%s%s", root, mnt_fs_get_target(fs)) < 0)
			found = NULL;
	}
	mnt_free_iter(iter);
	mnt_unref_table(table);
	return found;
}

/* A recorded tree need not have a mount table */
static char *default_mount(const char *root)
{
	_cleanup_free_ char *controllers = NULL;
	char *dir;

	if (!*root || asprintf(&dir, "%s/sys/fs/cgroup", root) < 0)
		return NULL;
	if (asprintf(&controllers, "%s/cgroup.controllers", dir) >= 0 &&
	    !access(controllers, F_OK))
		return dir;
	free(dir);
	return NULL;
}

int cramcg_new(struct cramcg **out, const char *root)
{
	struct cramcg *ctx = calloc(1, sizeof(*ctx));

	if (!ctx)
		return -ENOMEM;
	if (!root)
		root = secure_getenv("CRAMCG_ROOT");
	ctx->root = strdup(root ? root : "");
	ctx->cgroups = -1;
	if (!ctx->root) {
		free(ctx);
		return -ENOMEM;
	}
	ctx->mount = find_mount(ctx->root);
	if (!ctx->mount)
		ctx->mount = default_mount(ctx->root);
	if (ctx->mount)
		ctx->cgroups = open(ctx->mount, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	*out = ctx;
	return 0;
}

void cramcg_free(struct cramcg *ctx)
{
	if (!ctx)
		return;
	close_fd(&ctx->cgroups);
	free(ctx->root);
	free(ctx->mount);
	free(ctx->error);
	free(ctx);
}

const char *cramcg_error(const struct cramcg *ctx)
{
	return ctx->error ? ctx->error : "out of memory";
}

const char *cramcg_mount(const struct cramcg *ctx)
{
	return ctx->mount;
}

const char *cramcg_root(const struct cramcg *ctx)
{
	return ctx->root;
}

/* Is word one of the words of text? */
static bool has_word(const char *text, const char *word)
{
	size_t len = strlen(word);

	for (const char *p = text; (p = strstr(p, word)); p += len)
		if ((p == text || p[-1] == ' ') &&
		    (p[len] == ' ' || p[len] == '\0' || p[len] == '\n'))
			return true;
	return false;
}

/*
 * In a cgroup namespace the controllers of its root are those that the parent
 * enabled, so the absence of cram there does not say that the kernel lacks it.
 */
int cramcg_available(struct cramcg *ctx)
{
	_cleanup_free_ char *controllers = NULL, *sysfs = NULL;
	int err;

	if (ctx->cgroups < 0)
		return fail(ctx, ENODEV, "cgroup2 is not mounted: mount -t cgroup2 none /sys/fs/cgroup");
	err = read_at(ctx, ctx->cgroups, ctx->mount, "cgroup.controllers", &controllers);
	if (err)
		return err;
	if (has_word(controllers, "cram"))
		return 0;
	if (asprintf(&sysfs, "%s/sys/kernel/mm/cram", ctx->root) < 0) {
		sysfs = NULL;
		return fail(ctx, ENOMEM, "out of memory");
	}
	if (!access(sysfs, F_OK))
		return fail(ctx, ENOSYS, "%s/cgroup.controllers: cram is not among them: it is not enabled for this part of the tree, or switched off with cgroup_disable=cram",
			    ctx->mount);
	return fail(ctx, ENOSYS, "%s/cgroup.controllers: cram is not among them: this kernel has no cram (CONFIG_CRAM)",
		    ctx->mount);
}
