// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * A record is a few lines: the number of a cgroup and its path, and below them a setting
 * in each, key and value.  None of these can have a newline in it: the kernel refuses it
 * in names of cgroups, and values are as the library writes them.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <string.h>
#include <sys/stat.h>

#include "record.h"

/* $CRAMCG_RECORDS: another directory, for tests */
static char *file_of(const char *unit)
{
	const char *dir = secure_getenv("CRAMCG_RECORDS");
	char *file;

	return asprintf(&file, "%s/%s", dir ? dir : RECORD_DIR, unit) < 0 ? NULL : file;
}

uint64_t cgroup_id(struct cramcg *ctx, const char *cgroup)
{
	_cleanup_free_ char *dir = NULL;
	struct stat st;

	if (!cramcg_mount(ctx) || asprintf(&dir, "%s%s", cramcg_mount(ctx), cgroup) < 0) {
		dir = NULL;
		return 0;
	}
	/* The number of its directory is that of the cgroup, kernfs has 64 bits for it */
	return stat(dir, &st) ? 0 : st.st_ino;
}

void record_free(struct record *r)
{
	while (r->n) {
		free((char *)r->list[--r->n].key);
		free((char *)r->list[r->n].value);
	}
	free(r->list);
	free(r->cgroup);
	*r = (struct record) { 0 };
}

static int add(struct record *r, const char *key, const char *value)
{
	struct cramcg_setting *more = reallocarray(r->list, r->n + 1, sizeof(*more));
	struct cramcg_setting s = { strdup(key), strdup(value) };

	if (more)
		r->list = more;
	if (more && s.key && s.value) {
		r->list[r->n++] = s;
		return 0;
	}
	free((char *)s.key);
	free((char *)s.value);
	return -ENOMEM;
}

static int read_lines(struct record *r, FILE *f)
{
	_cleanup_free_ char *line = NULL;
	size_t size = 0;
	int err = 0;

	while (!err && getline(&line, &size, f) > 0) {
		char *value;

		line[strcspn(line, "\n")] = '\0';
		value = strchr(line, ' ');
		if (!value)
			return -EINVAL;
		*value++ = '\0';
		if (r->cgroup) {
			err = add(r, line, value);
			continue;
		}
		r->id = strtoull(line, NULL, 10);
		r->cgroup = strdup(value);
		err = r->cgroup ? 0 : -ENOMEM;
	}
	return !err && !r->cgroup ? -EINVAL : err;
}

int record_read(struct cramcg *ctx, const char *unit, struct record *r)
{
	_cleanup_free_ char *file = file_of(unit);
	_cleanup_fclose_ FILE *f = file ? fopen(file, "re") : NULL;
	int err;

	*r = (struct record) { 0 };
	if (!f)
		return file ? -errno : -ENOMEM;
	err = read_lines(r, f);
	if (!err && (!r->id || r->id != cgroup_id(ctx, r->cgroup)))
		err = -ENOENT;
	if (err)
		record_free(r);
	return err;
}

static int write_lines(FILE *f, uint64_t id, const char *cgroup, const struct unit_settings *u,
		       const struct record *old)
{
	fprintf(f, "%" PRIu64 " %s\n", id, cgroup);
	for (size_t i = 0; u && i < u->n; i++)
		fprintf(f, "%s %s\n", u->list[i].s.key, u->list[i].s.value);
	for (size_t i = 0; !u && i < old->n; i++)
		fprintf(f, "%s %s\n", old->list[i].key, old->list[i].value);
	return fflush(f) || ferror(f) ? -EIO : 0;
}

int record_write(struct cramcg *ctx, const char *unit, const char *cgroup,
		 const struct unit_settings *u)
{
	/* Without the suffix of a unit: nobody takes it for a record */
	_cleanup_free_ char *file = file_of(unit), *fresh = file_of("#XXXXXX");
	uint64_t id = cgroup_id(ctx, cgroup);
	struct record old = { 0 };
	_cleanup_fclose_ FILE *f = NULL;
	int fd, err;

	if (!file || !fresh)
		return -ENOMEM;
	if (!id)
		return -ENOENT;
	fd = mkostemp(fresh, O_CLOEXEC);
	if (fd < 0)
		return -errno;
	f = fdopen(fd, "w");
	if (!f)
		close(fd);
	if (!u && !record_read(ctx, unit, &old) && old.id != id)
		record_free(&old);
	err = f ? write_lines(f, id, cgroup, u, &old) : -ENOMEM;
	record_free(&old);
	if (!err && rename(fresh, file))
		err = -errno;
	if (err)
		unlink(fresh);
	return err;
}

void record_remove(const char *unit)
{
	_cleanup_free_ char *file = file_of(unit);

	if (file)
		unlink(file);
}
