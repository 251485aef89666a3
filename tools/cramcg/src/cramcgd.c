// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * cramcgd: the X-CRAM... properties of units for which nothing can run before, scopes;
 * and of all units when systemd has loaded its files anew, as it does with its own
 * properties.  One process, one thread, one connection to the socket of PID 1, on which
 * signals come before any bus is there.
 *
 * A scope is there with its processes at once.  So its properties come a moment later:
 * cramcgd hears of the scope (UnitNew), and sets them when systemd has made its cgroup.
 *
 * What cannot be had, such as a node that is not there yet, is tried again every few
 * seconds.  "cramcg apply-unit" leaves such units to it, by a record that has no settings.
 *
 * What is in force is not remembered here, but in records on which all agree who set
 * properties: record.h.
 */
#define _GNU_SOURCE
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <string.h>
#include <sys/inotify.h>
#include <sys/stat.h>
#include <syslog.h>
#include <systemd/sd-daemon.h>
#include <systemd/sd-event.h>

#include "manager.h"
#include "note.h"
#include "record.h"

#define RETRY_USEC	(5 * 1000000ULL)
#define RECONNECT_USEC	(300 * 1000ULL)
#define ACCURACY_USEC	(50 * 1000ULL)

/* A unit that has properties, as far as this process has to remember it */
struct known {
	char *name;
	char *said;		/* the last complaint: each is made once */
	bool waits;		/* for its cgroup, or for the next try */
	bool seen;		/* by this round */
};

struct daemon {
	struct cramcg *ctx;
	sd_event *event;
	sd_bus *bus;
	sd_event_source *retry;
	struct known **units;
	size_t n;
	char **meant;		/* "a.service", "b@.service", "c-.slice", "scope": what has properties */
	size_t nr_meant;
	bool reloading;		/* systemd drops all units, and makes them again */
};

/* What a setting is when nobody sets it */
static const char *const defaults[][2] = {
	{ "max", "max" }, { "low", "0" }, { "writable_budget", "inherit" },
	{ "nodes", "" }, { "page.max", "max" },
};

/* --- units that are known -------------------------------------------------------------- */

static struct known *find(struct daemon *d, const char *name)
{
	for (size_t i = 0; i < d->n; i++)
		if (!strcmp(d->units[i]->name, name))
			return d->units[i];
	return NULL;
}

static void free_known(struct known *k)
{
	free(k->name);
	free(k->said);
	free(k);
}

static void forget(struct daemon *d, const char *name)
{
	for (size_t i = 0; i < d->n; i++) {
		if (strcmp(d->units[i]->name, name))
			continue;
		free_known(d->units[i]);
		d->units[i] = d->units[--d->n];
		return;
	}
}

static struct known *remember(struct daemon *d, const char *name)
{
	struct known *k = find(d, name), **more;

	if (k)
		return k;
	more = reallocarray(d->units, d->n + 1, sizeof(*more));
	if (more)
		d->units = more;
	k = more ? calloc(1, sizeof(*k)) : NULL;
	if (k)
		k->name = strdup(name);
	if (!k || !k->name) {
		free(k);
		return NULL;
	}
	return d->units[d->n++] = k;
}

/* --- units that are meant ---------------------------------------------------------------- */

static bool is_meant(const struct daemon *d, const char *name)
{
	for (size_t i = 0; i < d->nr_meant; i++)
		if (!strcmp(d->meant[i], name))
			return true;
	return false;
}

/*
 * Do drop-ins of these names belong to the unit?  a-b@c.service has those of a-b@c.service,
 * a-b@.service, a-.service and service.  (Of an alias it has others as well: they are asked
 * for by their names.)
 */
static bool could_have(const struct daemon *d, const char *name)
{
	const char *suffix = strrchr(name, '.'), *at = strchr(name, '@');

	if (!d->nr_meant || !suffix)
		return false;
	if (is_meant(d, name) || is_meant(d, suffix + 1))
		return true;
	for (const char *p = name; p < suffix; p++) {
		_cleanup_free_ char *shorter = NULL;

		if (*p != '-' && p != at)
			continue;
		if (asprintf(&shorter, "%.*s%s", (int)(p + 1 - name), name, suffix) < 0)
			shorter = NULL;
		if (shorter && is_meant(d, shorter))
			return true;
	}
	return false;
}

static void forget_meant(struct daemon *d)
{
	while (d->nr_meant)
		free(d->meant[--d->nr_meant]);
}

/* Those beside which cram-generator wrote something */
static void read_meant(struct daemon *d)
{
	DIR *dir = opendir(GENERATED_DIR);
	struct dirent *e;

	forget_meant(d);
	while (dir && (e = readdir(dir))) {
		size_t len = strlen(e->d_name);
		_cleanup_free_ char *file = NULL;
		char **more;

		if (len < 3 || strcmp(e->d_name + len - 2, ".d") ||
		    asprintf(&file, "%s/" GENERATED_NAME, e->d_name) < 0)
			continue;
		if (faccessat(dirfd(dir), file, F_OK, 0))
			continue;
		more = reallocarray(d->meant, d->nr_meant + 1, sizeof(*more));
		if (!more)
			break;
		d->meant = more;
		d->meant[d->nr_meant] = strndup(e->d_name, len - 2);
		if (d->meant[d->nr_meant])
			d->nr_meant++;
	}
	if (dir)
		closedir(dir);
}

/* --- what is said ------------------------------------------------------------------------- */

static void complain(struct known *k, const char *message)
{
	if (k->said && !strcmp(k->said, message))
		return;
	free(k->said);
	k->said = strdup(message);
	note(LOG_WARNING, "%s: %s", k->name, message);
}

static void on_fault(const char *message, bool fault, void *arg)
{
	(void)fault;
	complain(arg, message);
}

/* --- settings ------------------------------------------------------------------------------ */

/* "max", or of one node "node.max N1" */
static char *key_of(const struct cramcg_setting *s)
{
	char *key;

	if (strcmp(s->key, "node.max"))
		return strdup(s->key);
	return asprintf(&key, "node.max %.*s", (int)strcspn(s->value, " "), s->value) < 0 ? NULL : key;
}

static bool is_set(const struct unit_settings *u, const char *key)
{
	for (size_t i = 0; i < u->n; i++) {
		_cleanup_free_ char *one = key_of(&u->list[i].s);

		if (one && !strcmp(one, key))
			return true;
	}
	return false;
}

static void set_default(struct daemon *d, const char *cgroup, const char *key)
{
	_cleanup_free_ char *value = NULL;
	const char *node = strchr(key, ' ');
	struct cramcg_setting s = { 0 };

	for (size_t i = 0; i < ARRAY_SIZE(defaults); i++)
		if (!strcmp(defaults[i][0], key))
			s = (struct cramcg_setting) { defaults[i][0], defaults[i][1] };
	if (!s.key) {
		if (!node || asprintf(&value, "%s max", node + 1) < 0) {
			value = NULL;
			return;
		}
		s = (struct cramcg_setting) { "node.max", value };
	}
	if (cramcg_set(d->ctx, cgroup, &s, 1) == -EINVAL)
		note(LOG_WARNING, "%s", cramcg_error(d->ctx));
}

/* What was set and is no longer said goes back to what it is without being said */
static void take_back(struct daemon *d, const struct record *r, const struct unit_settings *u)
{
	for (size_t i = 0; i < r->n; i++) {
		_cleanup_free_ char *key = key_of(&r->list[i]);

		if (key && !is_set(u, key))
			set_default(d, r->cgroup, key);
	}
}

static bool has(const struct record *r, const struct cramcg_setting *s)
{
	for (size_t i = 0; i < r->n; i++)
		if (!strcmp(r->list[i].key, s->key) && !strcmp(r->list[i].value, s->value))
			return true;
	return false;
}

/* Whoever set something else by hand meanwhile keeps it, until the files say otherwise */
static bool is_same(const struct record *r, const struct unit_settings *u)
{
	for (size_t i = 0; i < u->n; i++)
		if (!has(r, &u->list[i].s))
			return false;
	return r->n == u->n;
}

/* Another cgroup than that in which they were set has none of them */
static void read_record(struct daemon *d, const char *name, const char *cgroup, struct record *r)
{
	if (!record_read(d->ctx, name, r) && strcmp(r->cgroup, cgroup))
		record_free(r);
}

static int apply(struct daemon *d, struct known *k, const char *cgroup,
		 const struct unit_settings *u, const struct record *r)
{
	_cleanup_free_ char *message = NULL;
	int err = 0;

	if (!strcmp(cgroup, "/"))
		return 0;	/* cram-generator has said so */
	if (is_same(r, u))
		return 0;
	if (u->n)
		err = unit_apply(d->ctx, cgroup, u, &message);
	if (err) {
		complain(k, message ? message : strerror(-err));
		return err;
	}
	take_back(d, r, u);
	if (u->n)
		record_write(d->ctx, k->name, cgroup, u);
	else
		record_remove(k->name);
	free(k->said);
	k->said = NULL;
	return 0;
}

static int on_retry(sd_event_source *source, uint64_t now, void *arg);

static int retry_later(struct daemon *d)
{
	int enabled = SD_EVENT_OFF;

	if (d->retry && sd_event_source_get_enabled(d->retry, &enabled) >= 0 && enabled != SD_EVENT_OFF)
		return 0;
	if (!d->retry)
		return sd_event_add_time_relative(d->event, &d->retry, CLOCK_MONOTONIC, RETRY_USEC,
						  ACCURACY_USEC, on_retry, d);
	sd_event_source_set_time_relative(d->retry, RETRY_USEC);
	return sd_event_source_set_enabled(d->retry, SD_EVENT_ONESHOT);
}

/* What its files say now; the unit is forgotten when that is nothing */
static void follow(struct daemon *d, struct known *k, const struct unit *unit,
		   const struct unit_settings *u)
{
	struct record r = { 0 };

	if (*unit->cgroup)
		read_record(d, k->name, unit->cgroup, &r);
	k->seen = true;
	k->waits = false;
	if (!u->any && !r.n) {
		forget(d, k->name);
	} else if (!*unit->cgroup) {
		/* A scope gets its cgroup; others have what runs before them */
		if (has_suffix(k->name, ".scope"))
			k->waits = true;
		else
			forget(d, k->name);
	} else if (!u->faults && apply(d, k, unit->cgroup, u, &r)) {
		k->waits = true;
		retry_later(d);
	}
	record_free(&r);
}

/* One unit, from its files to its cgroup.  A negative errno: the connection is broken. */
static int unit_now(struct daemon *d, const char *name)
{
	struct unit_settings u = { 0 };
	struct unit unit;
	struct known *k;
	int r = manager_unit(d->bus, name, &unit);

	if (r == -ECONNRESET || r == -ENOTCONN || r == -EPIPE || r == -ETIMEDOUT)
		return r;
	if (r < 0) {
		forget(d, name);
		return 0;
	}
	/* Complaints need somebody to be about, so it is known while it is looked at */
	k = remember(d, name);
	if (k && !unit_load(d->ctx, name, &unit, &u, on_fault, k))
		follow(d, k, &unit, &u);
	unit_settings_free(&u);
	unit_free(&unit);
	return 0;
}

/* Of those that run, who can have properties.  PID 1 is asked for no other unit. */
static int running_units(struct daemon *d)
{
	sd_bus_error error = SD_BUS_ERROR_NULL;
	sd_bus_message *m = NULL;
	const char *name;
	int r;

	r = sd_bus_call_method(d->bus, MANAGER, MANAGER_PATH, MANAGER ".Manager", "ListUnitsByPatterns",
			       &error, &m, "asas", 3, "active", "activating", "reloading",
			       3, "*.service", "*.slice", "*.scope");
	sd_bus_error_free(&error);
	if (r >= 0)
		r = sd_bus_message_enter_container(m, 'a', "(ssssssouso)");
	while (r >= 0 && (r = sd_bus_message_read(m, "(ssssssouso)", &name, NULL, NULL, NULL, NULL,
						  NULL, NULL, NULL, NULL, NULL)) > 0)
		if (could_have(d, name))
			r = unit_now(d, name);
	sd_bus_message_unref(m);
	return r;
}

static bool is_pattern(const char *name)
{
	const char *suffix = strrchr(name, '.');

	return !suffix || suffix == name || suffix[-1] == '-' || suffix[-1] == '@';
}

/* Those of which something is in force are known; records of what has gone go, too */
static void read_records(struct daemon *d)
{
	DIR *dir = opendir(RECORD_DIR);
	struct dirent *e;

	while (dir && (e = readdir(dir))) {
		struct record r;

		if (!unit_section(e->d_name))
			continue;
		if (record_read(d->ctx, e->d_name, &r)) {
			record_remove(e->d_name);
			continue;
		}
		record_free(&r);
		remember(d, e->d_name);
	}
	if (dir)
		closedir(dir);
}

/* All that have properties, and all that had: at start, and when files were loaded anew */
static int all_units(struct daemon *d)
{
	int r = 0;

	read_meant(d);
	read_records(d);
	for (size_t i = 0; i < d->n; i++)
		d->units[i]->seen = false;
	if (d->nr_meant)
		r = running_units(d);
	/* An alias has the name of no unit that runs */
	for (size_t i = 0; i < d->nr_meant && r >= 0; i++)
		if (!is_pattern(d->meant[i]) && !find(d, d->meant[i]))
			r = unit_now(d, d->meant[i]);
	for (size_t i = d->n; i-- > 0 && r >= 0; ) {
		_cleanup_free_ char *name = NULL;

		if (i >= d->n || d->units[i]->seen)
			continue;
		name = strdup(d->units[i]->name);
		r = name ? unit_now(d, name) : -ENOMEM;
	}
	return r < 0 ? r : 0;
}

/* --- what happens ------------------------------------------------------------------------- */

static int connect_now(struct daemon *d);

static int on_reconnect(sd_event_source *source, uint64_t now, void *arg)
{
	(void)now;
	sd_event_source_unref(source);
	connect_now(arg);
	return 0;
}

/* PID 1 executes itself anew, or is too busy to answer: from the beginning, a little later */
static void lost(struct daemon *d)
{
	sd_event_source *source;

	sd_bus_detach_event(d->bus);
	sd_bus_close_unref(d->bus);
	d->bus = NULL;
	d->reloading = false;
	if (sd_event_add_time_relative(d->event, &source, CLOCK_MONOTONIC, RECONNECT_USEC,
				       ACCURACY_USEC, on_reconnect, d) < 0)
		sd_event_exit(d->event, STATUS_FAILED);
}

static int done(struct daemon *d, int r)
{
	if (r < 0 && d->bus)
		lost(d);
	return 0;
}

static int on_disconnected(sd_bus_message *m, void *arg, sd_bus_error *error)
{
	struct daemon *d = arg;

	(void)m, (void)error;
	if (d->bus)
		lost(d);
	return 0;
}

/* Services have their ExecCondition=, and slices cramcg-slice@.service */
static int on_unit_new(sd_bus_message *m, void *arg, sd_bus_error *error)
{
	const char *name;
	int r = sd_bus_message_read(m, "so", &name, NULL);

	(void)error;
	if (r < 0 || !has_suffix(name, ".scope") || !could_have(arg, name))
		return 0;
	return done(arg, unit_now(arg, name));
}

static int on_unit_removed(sd_bus_message *m, void *arg, sd_bus_error *error)
{
	struct daemon *d = arg;
	struct record record = { 0 };
	const char *name;

	(void)error;
	if (d->reloading || sd_bus_message_read(m, "so", &name, NULL) < 0)
		return 0;
	forget(d, name);
	/* It may have come back meanwhile, with a record of its new cgroup */
	if (unit_section(name) && record_read(d->ctx, name, &record) == -ENOENT)
		record_remove(name);
	record_free(&record);
	return 0;
}

/*
 * A job is over: the cgroup of a scope is there now, and that of a slice that had to start
 * without its properties.  The scope can be new here, when the drop-in with its properties
 * was loaded after it was made.
 */
static int on_job_removed(sd_bus_message *m, void *arg, sd_bus_error *error)
{
	struct daemon *d = arg;
	struct known *k;
	const char *name;

	(void)error;
	if (sd_bus_message_read(m, "uoss", NULL, NULL, &name, NULL) < 0 ||
	    (!has_suffix(name, ".scope") && !has_suffix(name, ".slice")))
		return 0;
	k = find(d, name);
	return (k ? k->waits : could_have(d, name)) ? done(d, unit_now(d, name)) : 0;
}

static int on_reloading(sd_bus_message *m, void *arg, sd_bus_error *error)
{
	struct daemon *d = arg;
	int begins;

	(void)error;
	if (sd_bus_message_read(m, "b", &begins) < 0)
		return 0;
	d->reloading = begins;
	return begins ? 0 : done(d, all_units(d));
}

static int on_retry(sd_event_source *source, uint64_t now, void *arg)
{
	struct daemon *d = arg;
	int r = 0;

	(void)source, (void)now;
	for (size_t i = d->n; d->bus && i-- > 0 && r >= 0; )
		if (i < d->n && d->units[i]->waits) {
			_cleanup_free_ char *name = strdup(d->units[i]->name);

			r = name ? unit_now(d, name) : 0;
		}
	return done(d, r);
}

/*
 * A unit starts: with its properties, or without, or with those that its files said before
 * they were edited.
 */
static int on_record(sd_event_source *source, const struct inotify_event *event, void *arg)
{
	struct daemon *d = arg;

	(void)source;
	/* More than the kernel could keep */
	if (event->mask & IN_Q_OVERFLOW)
		return d->bus ? done(d, all_units(d)) : 0;
	return d->bus && event->len && unit_section(event->name) ? done(d, unit_now(d, event->name)) : 0;
}

static int on_hangup(sd_event_source *source, const struct signalfd_siginfo *info, void *arg)
{
	struct daemon *d = arg;

	(void)source, (void)info;
	return d->bus ? done(d, all_units(d)) : 0;
}

/* --- the connection ----------------------------------------------------------------------- */

static int connect_now(struct daemon *d)
{
	static const struct {
		const char *signal;
		sd_bus_message_handler_t fn;
	} matches[] = {
		{ "UnitNew", on_unit_new }, { "UnitRemoved", on_unit_removed },
		{ "JobRemoved", on_job_removed }, { "Reloading", on_reloading },
	};
	int r = manager_connect(&d->bus);

	for (size_t i = 0; r >= 0 && i < ARRAY_SIZE(matches); i++)
		r = sd_bus_match_signal(d->bus, NULL, NULL, MANAGER_PATH, MANAGER ".Manager",
					matches[i].signal, matches[i].fn, d);
	if (r >= 0)
		r = sd_bus_match_signal(d->bus, NULL, NULL, "/org/freedesktop/DBus/Local",
					"org.freedesktop.DBus.Local", "Disconnected", on_disconnected, d);
	if (r >= 0)
		r = sd_bus_attach_event(d->bus, d->event, SD_EVENT_PRIORITY_NORMAL);
	if (r >= 0)
		r = all_units(d);
	if (r < 0)
		lost(d);
	return r;
}

int main(int argc, char **argv)
{
	struct daemon d = { 0 };
	sigset_t signals;
	int r;

	if (argc > 1) {
		if (!strcmp(argv[1], "--version"))
			return puts("cramcgd " CRAMCG_VERSION) < 0;
		fprintf(stderr, "cramcgd: it takes no argument; systemd starts it, see cramcgd(8)\n");
		return STATUS_USAGE;
	}
	sigemptyset(&signals);
	sigaddset(&signals, SIGTERM);
	sigaddset(&signals, SIGINT);
	sigaddset(&signals, SIGHUP);
	sigprocmask(SIG_BLOCK, &signals, NULL);
	if (cramcg_new(&d.ctx, NULL))
		return STATUS_FAILED;
	r = sd_event_default(&d.event);
	if (r >= 0)
		r = sd_event_add_signal(d.event, NULL, SIGTERM, NULL, NULL);
	if (r >= 0)
		r = sd_event_add_signal(d.event, NULL, SIGINT, NULL, NULL);
	if (r >= 0)
		r = sd_event_add_signal(d.event, NULL, SIGHUP, on_hangup, &d);
	/* Before it looks at all units: what starts while it does so is in neither else */
	if (r >= 0)
		r = sd_event_add_inotify(d.event, NULL, RECORD_DIR, IN_MOVED_TO, on_record, &d);
	if (r >= 0)
		r = sd_event_set_watchdog(d.event, true);
	if (r >= 0) {
		connect_now(&d);
		sd_notify(0, "READY=1");
		r = sd_event_loop(d.event);
	}
	if (r < 0)
		note(LOG_ERR, "cramcgd: %s", strerror(-r));
	sd_notify(0, "STOPPING=1");
	if (d.bus) {
		sd_bus_detach_event(d.bus);
		sd_bus_close_unref(d.bus);
	}
	while (d.n)
		forget(&d, d.units[d.n - 1]->name);
	free(d.units);
	forget_meant(&d);
	free(d.meant);
	sd_event_source_unref(d.retry);
	sd_event_unref(d.event);
	cramcg_free(d.ctx);
	return r < 0 ? STATUS_FAILED : r;
}
