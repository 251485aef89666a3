// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * systemd ignores a controller that it does not know, and makes a new cgroup at every
 * start.  So the drop-in has the service set its own limits before its program starts:
 *
 *	[Service]
 *	ExecStartPre=+/usr/bin/cramcg set --enable --now self max=64M
 *
 * It fails, and with it the start, when the limits cannot be had.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <systemd/sd-bus.h>

#include "dropin.h"

#define COMMAND	"ExecStartPre=+" PREFIX "/bin/cramcg set --enable --now self"

/* Whoever can read the directory can lock it, and keep the lock */
#define LOCK_TRIES	500
#define LOCK_PAUSE_USEC	(10 * 1000)

bool dropin_possible(const char *unit)
{
	size_t len = strlen(unit);

	return len > 8 && !strcmp(unit + len - 8, ".service");
}

static const char *plain(const char *key)
{
	return strncmp(key, "cram.", 5) ? key : key + 5;
}

/* A setting of one node has its own line of cram.node.max: it does not replace others */
static bool is_replaced(const char *word, const struct cramcg_setting *s, int n)
{
	for (int i = 0; i < n; i++) {
		size_t len = strlen(plain(s[i].key)), node = strcspn(s[i].value, ": ");

		if (strncmp(word, plain(s[i].key), len) || word[len] != '=')
			continue;
		if (strcmp(plain(s[i].key), "node.max") ||
		    (!strncmp(word + len + 1, s[i].value, node) && word[len + 1 + node] == ':'))
			return true;
	}
	return false;
}

/* What the drop-in sets already, but for what is set now */
static void copy_old(FILE *f, const char *text, const struct cramcg_setting *s, int n)
{
	const char *line = text ? strstr(text, COMMAND) : NULL;

	if (!line)
		return;
	line += strlen(COMMAND);
	while (*line == ' ') {
		size_t len = strcspn(++line, " \n");
		_cleanup_free_ char *word = strndup(line, len);

		if (word && *word && !is_replaced(word, s, n))
			fprintf(f, " %s", word);
		line += len;
	}
}

char *dropin_merge(const char *text, const struct cramcg_setting *s, int n)
{
	char *out = NULL;
	size_t size;
	FILE *f = open_memstream(&out, &size);

	if (!f)
		return NULL;
	fprintf(f, "# Written by cramcg set; to undo: remove this file, systemctl daemon-reload\n"
		"[Service]\n" COMMAND);
	copy_old(f, text, s, n);
	for (int i = 0; i < n; i++) {
		fprintf(f, " %s=", plain(s[i].key));
		/* "N1 64M" is one word as "N1:64M" */
		for (const char *p = s[i].value; *p; p++)
			fputc(*p == ' ' ? ':' : *p, f);
	}
	fputc('\n', f);
	if (!fclose(f))
		return out;
	free(out);
	return NULL;
}

static char *read_file(const char *name)
{
	_cleanup_fclose_ FILE *f = fopen(name, "re");
	char *text = NULL;
	size_t size = 0;

	if (f && getdelim(&text, &size, '\0', f) < 0) {
		free(text);
		text = NULL;
	}
	return text;
}

static int reload(void)
{
	sd_bus_error error = SD_BUS_ERROR_NULL;
	sd_bus *bus = NULL;
	int r = sd_bus_open_system(&bus), status = 0;

	if (r >= 0)
		r = sd_bus_set_method_call_timeout(bus, BUS_TIMEOUT_USEC);
	if (r >= 0)
		r = sd_bus_call_method(bus, "org.freedesktop.systemd1", "/org/freedesktop/systemd1",
				       "org.freedesktop.systemd1.Manager", "Reload", &error, NULL, "");
	if (r < 0)
		status = report(STATUS_PART, "the drop-in is written and the limits are in force, but systemd did not reload: %s; systemctl daemon-reload",
				error.message ? error.message : strerror(-r));
	sd_bus_error_free(&error);
	sd_bus_flush_close_unref(bus);
	return status;
}

/* Another process removes the directory when it has failed, and it was empty */
static bool is_there(int fd, const char *name)
{
	struct stat a, b;

	return !fstat(fd, &a) && !stat(name, &b) && a.st_dev == b.st_dev && a.st_ino == b.st_ino;
}

/* Make the directory and lock it: an errno, or 0 */
static int lock_dir(struct dropin *d)
{
	for (int tries = LOCK_TRIES; tries; tries--) {
		if (mkdir(d->dir, 0755) && errno != EEXIST)
			return errno;
		d->lock = open(d->dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
		if (d->lock < 0 && errno != ENOENT)
			return errno;
		if (d->lock >= 0 && !flock(d->lock, LOCK_EX | LOCK_NB) && is_there(d->lock, d->dir))
			return 0;
		close_fd(&d->lock);
		d->lock = -1;
		usleep(LOCK_PAUSE_USEC);
	}
	return EBUSY;
}

static int write_copy(struct dropin *d, const char *text)
{
	FILE *f = fopen(d->copy, "we");
	int failed;

	if (f) {
		failed = fputs(text, f) < 0;
		if (!(fclose(f) || failed))
			return 0;
		unlink(d->copy);
	}
	return report(STATUS_FAILED, "%s: %s", d->copy, strerror(errno));
}

int dropin_prepare(struct cramcg *ctx, struct dropin *d, const char *unit,
		   const struct cramcg_setting *s, int n, bool runtime)
{
	_cleanup_free_ char *old = NULL, *text = NULL;
	int err;

	if (asprintf(&d->dir, "%s%s/systemd/system/%s.d", cramcg_root(ctx),
		     runtime ? "/run" : "/etc", unit) < 0) {
		d->dir = NULL;
		return report(STATUS_FAILED, "out of memory");
	}
	err = lock_dir(d);
	if (err)
		return report(STATUS_FAILED, "%s: %s", d->dir,
			      err == EBUSY ? "another process keeps it locked" : strerror(err));
	if (asprintf(&d->name, "%s/50-cram.conf", d->dir) < 0)
		d->name = NULL;
	else if (asprintf(&d->copy, "%s.new", d->name) < 0)
		d->copy = NULL;
	old = d->copy ? read_file(d->name) : NULL;
	text = d->copy ? dropin_merge(old, s, n) : NULL;
	if (!text)
		return report(STATUS_FAILED, "out of memory");
	return write_copy(d, text);
}

int dropin_finish(struct cramcg *ctx, struct dropin *d, bool keep)
{
	int status = 0;

	if (d->lock >= 0 && !keep) {
		if (d->copy)
			unlink(d->copy);
		rmdir(d->dir);		/* if nothing else is in it */
	} else if (d->copy && rename(d->copy, d->name)) {
		status = report(STATUS_PART, "%s: %s; the limits are in force", d->name, strerror(errno));
	}
	close_fd(&d->lock);
	if (d->copy && keep && !status && !*cramcg_root(ctx))
		status = reload();
	free(d->dir);
	free(d->name);
	free(d->copy);
	return status;
}
