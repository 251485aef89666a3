/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The system manager, PID 1, asked on its own socket, which is there before any bus is. */
#ifndef CRAMCG_MANAGER_H
#define CRAMCG_MANAGER_H

#include <systemd/sd-bus.h>

#include "cramcg.h"
#include "unit-file.h"

#define MANAGER		"org.freedesktop.systemd1"
#define MANAGER_PATH	"/org/freedesktop/systemd1"

/* 0 or a negative errno; the bus belongs to the caller */
int manager_connect(sd_bus **bus);

/* What it says of a unit */
struct unit {
	char *cgroup;		/* "": it has none at this time */
	char **files;		/* unit file and drop-ins, in the order in which they count */
};
int manager_unit(sd_bus *bus, const char *name, struct unit *unit);
void unit_free(struct unit *unit);

/* Where the cgroup of a slice is to be: "/a.slice/a-b.slice"; NULL: that is no slice */
char *slice_cgroup(sd_bus *bus, const char *name);

/* The properties in the files of a unit: 0 or a negative errno */
int unit_load(struct cramcg *ctx, const char *name, const struct unit *unit,
	      struct unit_settings *u, unit_fault_fn fn, void *arg);

/*
 * All of them or none, cram being enabled on the way.  On an error *message, the caller's,
 * is a sentence with file and line where one property is to blame.
 */
int unit_apply(struct cramcg *ctx, const char *cgroup, const struct unit_settings *u,
	       char **message);

#endif
