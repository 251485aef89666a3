// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * CGROUP, UNIT or PID: to the path of a cgroup.  What begins with "/" is a path; a
 * number is a process; a name with the suffix of a unit is asked for on the bus, and
 * without a bus looked for in the tree; the rest is a path from the root.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <string.h>
#include <systemd/sd-bus.h>

#include "cramcg.h"

static const char *const suffixes[][2] = {
	{ ".service", "org.freedesktop.systemd1.Service" },
	{ ".slice", "org.freedesktop.systemd1.Slice" },
	{ ".scope", "org.freedesktop.systemd1.Scope" },
	{ ".socket", "org.freedesktop.systemd1.Socket" },
	{ ".mount", "org.freedesktop.systemd1.Mount" },
	{ ".swap", "org.freedesktop.systemd1.Swap" },
};

static const char *interface_of(const char *name)
{
	size_t len = strlen(name);

	for (size_t i = 0; i < ARRAY_SIZE(suffixes); i++) {
		size_t end = strlen(suffixes[i][0]);

		if (len > end && !strcmp(name + len - end, suffixes[i][0]))
			return suffixes[i][1];
	}
	return NULL;
}

bool is_unit_name(const char *name)
{
	return interface_of(name) && !strchr(name, '/');
}

/* What systemd says of the unit; NULL: no bus, no such unit, or it does not run */
static char *ask_systemd(const char *unit)
{
	_cleanup_free_ char *object = NULL;
	sd_bus *bus = NULL;
	char *cgroup = NULL;

	if (sd_bus_default_system(&bus) >= 0 &&
	    sd_bus_set_method_call_timeout(bus, BUS_TIMEOUT_USEC) >= 0 &&
	    sd_bus_path_encode("/org/freedesktop/systemd1/unit", unit, &object) >= 0)
		sd_bus_get_property_string(bus, "org.freedesktop.systemd1", object,
					   interface_of(unit), "ControlGroup", NULL, &cgroup);
	sd_bus_flush_close_unref(bus);
	if (cgroup && *cgroup)
		return cgroup;
	free(cgroup);
	return NULL;
}

struct search {
	const char *name;
	char *found;
	int count;
};

static int compare(const char *path, int dir, int depth, void *arg)
{
	struct search *s = arg;

	(void)dir, (void)depth;
	if (strcmp(strrchr(path, '/') + 1, s->name))
		return 0;
	if (!s->count++)
		s->found = strdup(path);
	return 0;
}

static int find_unit(struct cramcg *ctx, const char *name, char **path)
{
	_cleanup_free_ char *cgroup = NULL;
	struct search s = { .name = name };
	int err;

	if (!strcmp(name, "-.slice"))
		cgroup = strdup("/");
	else if (!*cramcg_root(ctx))
		cgroup = ask_systemd(name);
	if (cgroup) {
		err = cramcg_path(ctx, cgroup, path);
		return err ? report_error(ctx, err) : 0;
	}
	err = cramcg_walk(ctx, "/", compare, &s);
	if (!err && s.count == 1) {
		*path = s.found;
		return 0;
	}
	free(s.found);
	if (err)
		return report_error(ctx, err);
	return report(STATUS_FAILED, s.count ? "%s: several cgroups have this name: give the path" :
		      "%s: no such unit has a cgroup: it does not run, or there is no such unit", name);
}

/*
 * With DelegateSubgroup= systemd runs the programs of a service in a cgroup below that of
 * the unit, and those that come before, such as ExecStartPre=, in UNIT/.control: what they
 * set is meant for the unit.
 */
static void leave_control(char *path)
{
	char *last = strrchr(path, '/');

	if (last && last != path && !strcmp(last, "/.control"))
		*last = '\0';
}

int find_cgroup(struct cramcg *ctx, const char *name, char **path, char **unit)
{
	unsigned long pid;
	int err;

	if (unit)
		*unit = NULL;
	if (!cramcg_mount(ctx)) {
		cramcg_available(ctx);
		return report(STATUS_MISSING, "%s", cramcg_error(ctx));
	}
	if (!strcmp(name, "self") || parse_number(name, 999999999, &pid)) {
		err = cramcg_path_of_pid(ctx, *name == 's' ? 0 : pid, path);
		if (!err && *name == 's')
			leave_control(*path);
	} else if (is_unit_name(name)) {
		err = find_unit(ctx, name, path);
		if (!err && unit)
			*unit = strdup(name);
		return err;
	} else {
		err = cramcg_path(ctx, name, path);
	}
	return err ? report_error(ctx, err) : 0;
}
