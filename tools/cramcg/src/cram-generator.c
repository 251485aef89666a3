// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * cram-generator: systemd.generator(7).  systemd runs it at boot and whenever it loads
 * its files anew.  It looks through all unit files and drop-ins for X-CRAM... properties,
 * and writes a drop-in of systemd's own words beside each that has some:
 *
 *	foo.service		the limits are set by an ExecCondition=, which comes before
 *				every ExecStartPre=, and which nobody empties who empties
 *				ExecStartPre=
 *	foo.slice		cramcg-slice@foo.service comes first
 *	foo.scope		only a mark: cramcgd asks for no unit that has none
 *
 * Which values count for which unit is not decided here, but by systemd when the unit is
 * loaded, and read by "cramcg apply-unit" when it starts.  So the drop-in stands in the
 * same kind of directory as the property: that of a unit, an alias, a template, a prefix
 * (foo-.service.d) or of all services (service.d).  All have one name, so that systemd
 * takes one of them.
 *
 * systemd runs all generators at once, so what another writes cannot be looked at.  But
 * that of Podman makes foo.service of a file foo.container, and what is in [Service] there
 * is in [Service] of that: so these files are looked through as well.
 */
#define _GNU_SOURCE
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>

#include "unit-file.h"

static const char service_text[] =
	"# Written by cram-generator(8) because of X-CRAM properties, see cram.unit(5)\n"
	"[Service]\n"
	"ExecCondition=+" PREFIX "/bin/cramcg apply-unit %n\n";

/* %p, not %N: what is behind a @ would be the name of an instance, and slices have none */
static const char slice_text[] =
	"# Written by cram-generator(8) because of X-CRAM properties, see cram.unit(5)\n"
	"[Unit]\n"
	"Requires=cramcg-slice@%p.service\n"
	"After=cramcg-slice@%p.service\n";

/* Nothing can run before the processes of a scope, but cramcgd sees that it is meant */
static const char scope_text[] =
	"# Written by cram-generator(8) for cramcgd(8) because of X-CRAM properties, see cram.unit(5)\n";

static const char *const default_path =
	"/etc/systemd/system.control:/run/systemd/system.control:/run/systemd/transient:"
	"/etc/systemd/system:/etc/systemd/system.attached:"
	"/run/systemd/system:/run/systemd/system.attached:"
	"/usr/local/lib/systemd/system:/usr/lib/systemd/system";

/* podman-systemd.unit(5), of the system */
static const char *const default_container_path =
	"/run/containers/systemd:/etc/containers/systemd:/usr/share/containers/systemd";

struct generator {
	struct cramcg *ctx;
	const char *out;
	bool all_containers;	/* container.d has a property */
	int status;
};

/* Nobody reads stderr at boot; the kernel's log is in the journal later */
static void say(const char *message, bool fault, void *arg)
{
	static int kmsg = -2;

	(void)fault, (void)arg;
	if (kmsg == -2)
		kmsg = getenv("SYSTEMD_SCOPE") ? open("/dev/kmsg", O_WRONLY | O_CLOEXEC | O_NOCTTY) : -1;
	if (kmsg < 0 || dprintf(kmsg, "<4>cram-generator: %s\n", message) < 0)
		fprintf(stderr, "cram-generator: %s\n", message);
}

static void complain(struct generator *g, const char *file)
{
	_cleanup_free_ char *text = NULL;

	if (asprintf(&text, "%s: %s", file, strerror(errno)) < 0)
		text = NULL;
	say(text ? text : "out of memory", true, NULL);
	g->status = STATUS_FAILED;
}

/* name: of a unit, "foo.service", or of a directory without its ".d" */
static void write_dropin(struct generator *g, const char *name)
{
	_cleanup_free_ char *dir = NULL, *file = NULL;
	_cleanup_close_ int fd = -1;
	const char *section = unit_section(name), *text;

	text = !strcmp(section, "Scope") ? scope_text : !strcmp(section, "Slice") ? slice_text : service_text;
	if (asprintf(&dir, "%s/%s.d", g->out, name) < 0 || asprintf(&file, "%s/" GENERATED_NAME, dir) < 0) {
		errno = ENOMEM;
		complain(g, name);
		return;
	}
	if (mkdir(dir, 0755) && errno != EEXIST) {
		complain(g, dir);
		return;
	}
	fd = open(file, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
	if (fd < 0 || write(fd, text, strlen(text)) < 0)
		complain(g, file);
}

/* Is there a property in the text?  What is wrong with it is told once, here */
static bool look_at(struct generator *g, const char *where, const char *name,
		    const char *section, const char *text, size_t len)
{
	struct unit_settings u = { 0 };
	_cleanup_free_ char *file = NULL;
	bool any;

	if (!unit_file_mentions(text, len))
		return false;
	if (asprintf(&file, "%s/%s", where, name) < 0) {
		file = NULL;
		return false;
	}
	if (unit_settings_parse(g->ctx, &u, section, file, text, len, say, NULL)) {
		errno = ENOMEM;
		complain(g, file);
	}
	any = u.any;
	unit_settings_free(&u);
	return any;
}

static bool look(struct generator *g, int dir, const char *where, const char *name,
		 const char *section)
{
	size_t len;
	_cleanup_free_ char *text = unit_file_read(dir, name, &len);

	return text && look_at(g, where, name, section, text, len);
}

static DIR *open_dir(int at, const char *name)
{
	int fd = openat(at, name, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	DIR *dir = fd < 0 ? NULL : fdopendir(fd);

	if (!dir)
		close_fd(&fd);
	return dir;
}

/* Has one of the drop-ins in the directory a property? */
static bool any_dropin(struct generator *g, int at, const char *where, const char *name,
		       const char *section)
{
	_cleanup_free_ char *path = NULL;
	DIR *dir = open_dir(at, name);
	struct dirent *e;
	bool any = false;

	if (!dir)
		return false;
	if (asprintf(&path, "%s/%s", where, name) < 0)
		path = NULL;
	while (path && (e = readdir(dir)))
		if (has_suffix(e->d_name, ".conf"))
			any |= look(g, dirfd(dir), path, e->d_name, section);
	closedir(dir);
	return any;
}

static void dropins(struct generator *g, int at, const char *where, const char *name)
{
	_cleanup_free_ char *unit = strndup(name, strlen(name) - 2);
	const char *section = unit ? unit_section(unit) : NULL;

	if (section && any_dropin(g, at, where, name, section))
		write_dropin(g, unit);
}

static void directory(struct generator *g, const char *path)
{
	DIR *dir = open_dir(AT_FDCWD, path);
	struct dirent *e;

	if (!dir)
		return;
	while ((e = readdir(dir))) {
		if (*e->d_name == '.')
			continue;
		if (has_suffix(e->d_name, ".d"))
			dropins(g, dirfd(dir), path, e->d_name);
		else if (strchr(e->d_name, '.') && unit_section(e->d_name) &&
			 look(g, dirfd(dir), path, e->d_name, unit_section(e->d_name)))
			write_dropin(g, e->d_name);
	}
	closedir(dir);
}

/* --- containers of Podman -------------------------------------------------------------- */

#define CONTAINER	".container"

/* "foo.container", "foo-.container": foo.service, foo-.service; or ServiceName= */
static char *service_of(const char *name, const char *text)
{
	const char *at = text ? strstr(text, "\nServiceName=") : NULL;
	size_t len = strlen(name) - strlen(CONTAINER);
	char *unit;

	if (at) {
		name = at + strlen("\nServiceName=");
		name += strspn(name, " \t");
		len = strcspn(name, " \t\r\n/");
	}
	return asprintf(&unit, "%.*s.service", (int)len, name) < 0 ? NULL : unit;
}

static void container(struct generator *g, int at, const char *where, const char *name)
{
	_cleanup_free_ char *text = NULL, *unit = NULL;
	size_t len;

	text = unit_file_read(at, name, &len);
	if (!text || !(look_at(g, where, name, "Service", text, len) || g->all_containers))
		return;
	unit = service_of(name, text);
	if (unit)
		write_dropin(g, unit);
}

/* Drop-ins of one whose ServiceName= is another belong to that */
static void container_dropins(struct generator *g, int at, const char *where, const char *name)
{
	_cleanup_free_ char *file = strndup(name, strlen(name) - 2), *text = NULL, *unit = NULL;
	size_t len;

	if (!file || !any_dropin(g, at, where, name, "Service"))
		return;
	text = unit_file_read(at, file, &len);
	unit = service_of(file, text);
	if (unit)
		write_dropin(g, unit);
}

/* As Podman does, with the directories below, but without those of users */
static void containers(struct generator *g, int at, const char *where, const char *name, int depth)
{
	_cleanup_free_ char *path = NULL;
	DIR *dir = open_dir(at, name);
	struct dirent *e;

	if (!dir)
		return;
	if (asprintf(&path, "%s%s%s", where, *where ? "/" : "", name) < 0)
		path = NULL;
	while (path && (e = readdir(dir))) {
		if (*e->d_name == '.')
			continue;
		if (has_suffix(e->d_name, CONTAINER))
			container(g, dirfd(dir), path, e->d_name);
		else if (has_suffix(e->d_name, CONTAINER ".d"))
			container_dropins(g, dirfd(dir), path, e->d_name);
		else if (depth < 8 && !has_suffix(e->d_name, ".d") && strcmp(e->d_name, "users"))
			containers(g, dirfd(dir), path, e->d_name, depth + 1);
	}
	closedir(dir);
}

/* --------------------------------------------------------------------------------------- */

static void each(struct generator *g, const char *path, void (*fn)(struct generator *, const char *))
{
	while (*path) {
		size_t len = strcspn(path, ":");
		_cleanup_free_ char *one = strndup(path, len);

		if (len && one)
			fn(g, one);
		path += len + (path[len] == ':');
	}
}

/* What is said for all, which has to be known before any is looked at */
static void container_defaults(struct generator *g, const char *path)
{
	DIR *dir = open_dir(AT_FDCWD, path);

	if (!dir)
		return;
	g->all_containers |= any_dropin(g, dirfd(dir), path, "container.d", "Service");
	closedir(dir);
}

static void container_directory(struct generator *g, const char *path)
{
	containers(g, AT_FDCWD, "", path, 0);
}

int main(int argc, char **argv)
{
	const char *scope = getenv("SYSTEMD_SCOPE"), *path = getenv("SYSTEMD_UNIT_PATH");
	const char *container_path = getenv("QUADLET_UNIT_DIRS");
	struct generator g = { .out = argc > 1 ? argv[1] : "/tmp" };

	/* The manager of a user cannot set limits of its own cgroup */
	if (scope && strcmp(scope, "system"))
		return 0;
	if (argc != 2 && argc != 4) {
		fprintf(stderr, "cram-generator: it takes one or three directories, see systemd.generator(7)\n");
		return STATUS_USAGE;
	}
	if (!path || !*path)
		path = default_path;
	if (cramcg_new(&g.ctx, NULL))
		return STATUS_FAILED;
	each(&g, path, directory);
	if (!container_path || !*container_path)
		container_path = default_container_path;
	each(&g, container_path, container_defaults);
	each(&g, container_path, container_directory);
	cramcg_free(g.ctx);
	return g.status;
}
