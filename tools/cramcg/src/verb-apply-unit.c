// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * cramcg apply-unit: have the X-CRAM... properties of a unit, cram.unit(5).  Drop-ins
 * that cram-generator writes run it as ExecCondition=, in the cgroup of the service and
 * before anything else of it; and cramcg-slice@.service before a slice.
 *
 * systemd says which files make up the unit, so aliases, instances and drop-ins of all
 * kinds are as it has them.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <string.h>
#include <syslog.h>
#include <time.h>

#include "manager.h"
#include "note.h"
#include "record.h"

static const struct option_row options[] = {
	{ "check", 'C', NULL, "say what is wrong with the properties, change nothing" },
	{ 0 }
};

/*
 * For ExecCondition=, 1 to 254 mean that the unit is not wanted at this time.  That is
 * not meant: it is to fail.
 */
#define STATUS_FAIL_UNIT	255

/* systemd closes its socket for a moment when it executes itself anew */
#define PATIENCE_SECONDS	60

static bool is_passing(int r)
{
	return r == -ECONNREFUSED || r == -ECONNRESET || r == -ENOTCONN || r == -ENOENT ||
	       r == -ETIMEDOUT || r == -EPIPE;
}

static int ask(const char *name, struct unit *unit)
{
	time_t start = time(NULL);
	bool again;
	int r;

	do {
		sd_bus *bus = NULL;

		r = manager_connect(&bus);
		if (!r)
			r = manager_unit(bus, name, unit);
		if (!r && !*unit->cgroup && !strcmp(unit_section(name), "Slice")) {
			free(unit->cgroup);
			unit->cgroup = slice_cgroup(bus, name);
			if (!unit->cgroup) {
				unit_free(unit);
				r = -EINVAL;
			}
		}
		sd_bus_flush_close_unref(bus);
		again = is_passing(r) && time(NULL) - start < PATIENCE_SECONDS;
		if (again)
			usleep(200 * 1000);
	} while (again);
	return r;
}

static void say(const char *message, bool fault, void *arg)
{
	const bool *check = arg;

	if (*check)
		fprintf(stderr, "cramcg: %s\n", message);
	else
		note(LOG_WARNING, "%s", message);
	(void)fault;
}

static int apply(struct cramcg *ctx, const char *name, const struct unit *unit,
		 const struct unit_settings *u, char **message)
{
	_cleanup_free_ char *failed = NULL;
	int err;

	if (!u->n)
		return 0;
	if (!strcmp(unit->cgroup, "/"))
		err = -EINVAL;
	else
		err = *unit->cgroup ? 0 : -ENOENT;
	if (err && asprintf(message, "%s:%d: %s=: %s %s", u->list[0].file, u->list[0].line,
			    u->list[0].property, name,
			    err == -EINVAL ? "is the root cgroup, which has no limits" : "has no cgroup") < 0)
		*message = NULL;
	/* A slice that is about to start has no cgroup yet; systemd takes the one that is there */
	if (!err && cramcg_mount(ctx) && !strcmp(unit_section(name), "Slice"))
		err = make_cgroup(ctx, unit->cgroup, &failed);
	if (!err)
		err = unit_apply(ctx, unit->cgroup, u, message);
	return err;
}

static int run(struct cramcg *ctx, int argc, char **argv)
{
	_cleanup_free_ char *message = NULL;
	struct unit_settings u = { 0 };
	struct unit unit;
	bool check = false;
	const char *name;
	int c, err;

	while ((c = next_option(&verb_apply_unit, argc, argv)) != -1)
		check |= c == 'C';
	if (argc - optind != 1)
		return report(STATUS_USAGE, "which unit? See cramcg apply-unit --help");
	name = argv[optind];
	if (!unit_section(name) || strchr(name, '/'))
		return report(STATUS_USAGE, "%s: properties are of services, slices and scopes", name);
	err = ask(name, &unit);
	if (err) {
		note(LOG_WARNING, "%s: systemd does not say what its files are: %s", name, strerror(-err));
		return STATUS_FAIL_UNIT;
	}
	err = unit_load(ctx, name, &unit, &u, say, &check);
	if (!err && u.faults)
		err = -EINVAL;
	else if (!err && !check)
		err = apply(ctx, name, &unit, &u, &message);
	if (message)
		note(u.require ? LOG_ERR : LOG_WARNING, "%s", message);
	if (err && !check)
		note(u.require ? LOG_ERR : LOG_WARNING, u.require ?
		     "%s: it does not start, because it has X-CRAMRequire=yes" :
		     "%s: none of its X-CRAM properties is in force", name);
	/* cramcgd goes on trying what could not be had */
	if (!check && !(err && (u.require || u.faults)) && u.n && *unit.cgroup)
		record_write(ctx, name, unit.cgroup, err ? NULL : &u);
	unit_free(&unit);
	err = !err ? STATUS_OK : check ? STATUS_FAILED : u.require ? STATUS_FAIL_UNIT : STATUS_OK;
	unit_settings_free(&u);
	return err;
}

const struct verb verb_apply_unit = {
	.name = "apply-unit", .args = "UNIT", .summary = "have the X-CRAM properties of a unit of systemd",
	.example = "cramcg apply-unit --check demo.service",
	.options = options, .completes = "cgroup", .run = run,
};
