// SPDX-License-Identifier: GPL-2.0-or-later
/* Reading and writing one file; every failure names it, and what was written. */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>

#include "internal.h"

static int read_all(int fd, char *buf, size_t size)
{
	size_t len = 0;

	while (len < size) {
		ssize_t got = read(fd, buf + len, size - len);

		if (got < 0 && errno == EINTR)
			continue;
		if (got < 0)
			return -errno;
		if (!got)
			break;
		len += got;
	}
	return len;
}

int read_at(struct cramcg *ctx, int dir, const char *where, const char *file, char **text)
{
	_cleanup_close_ int fd = openat(dir, file, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
	_cleanup_free_ char *buf = NULL;
	int len = -errno;

	if (fd >= 0) {
		buf = malloc(FILE_MAX + 1);
		len = buf ? read_all(fd, buf, FILE_MAX) : -ENOMEM;
	}
	if (len < 0)
		return fail(ctx, -len, "%s/%s: %s", where, file, words_for(file, -len, false));
	while (len && (buf[len - 1] == '\n' || buf[len - 1] == '\0'))
		len--;
	buf[len] = '\0';
	*text = strdup(buf);
	return *text ? 0 : fail(ctx, ENOMEM, "out of memory");
}

/*
 * The kernel takes a whole value with one write, with a newline as echo has it: a write
 * of nothing would be none.  O_TRUNC matters only to recorded trees, where files are
 * ordinary; it does nothing in cgroupfs and sysfs.
 */
int write_at(struct cramcg *ctx, int dir, const char *where, const char *file,
	     const char *text, int flags)
{
	_cleanup_close_ int fd = openat(dir, file, O_WRONLY | O_TRUNC | O_CLOEXEC | flags);
	_cleanup_free_ char *line = NULL;
	int err = 0, len;

	if (fd < 0)
		err = errno;
	else if ((len = asprintf(&line, "%s\n", text)) < 0)
		return fail(ctx, ENOMEM, "out of memory");
	else if (write(fd, line, len) < 0)
		err = errno;
	if (!err)
		return 0;
	return fail(ctx, err, "%s/%s: \"%s\" not written: %s", where, file, text,
		    words_for(file, err, true));
}

int open_cgroup(struct cramcg *ctx, const char *path)
{
	_cleanup_free_ char *name = NULL;
	int fd;

	if (ctx->cgroups < 0)
		return fail(ctx, ENODEV, "cgroup2 is not mounted: mount -t cgroup2 none /sys/fs/cgroup");
	while (*path == '/')
		path++;
	fd = openat(ctx->cgroups, *path ? path : ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (fd >= 0)
		return fd;
	fd = errno;
	name = cramcg_printable(path);
	return fail(ctx, fd, "%s/%s: %s", ctx->mount, name ? name : "?",
		    fd == ENOENT || fd == ENOTDIR ? "there is no such cgroup" : strerror(fd));
}
