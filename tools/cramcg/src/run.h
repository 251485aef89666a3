/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What verb-run.c and service.c share. */
#ifndef CRAMCG_RUN_H
#define CRAMCG_RUN_H

#include <systemd/sd-bus.h>

#include "cramcg.h"

struct run {
	const char *unit, *slice;	/* NULL: none was asked for */
	bool service, no_wait;
	struct cramcg_setting *settings;
	int n;
	char **command;
};

/* The system's manager for root, else that of the user */
int open_manager(sd_bus **bus);
/* An unfinished StartTransientUnit, in the list of properties: those of both kinds */
int new_unit_message(sd_bus *bus, const char *name, const struct run *r, sd_bus_message **m);
/* Ends the list and sends it */
int send_unit_message(sd_bus *bus, sd_bus_message *m, sd_bus_error *error);
/* "x" to "x.scope"; without a name one of our own; NULL: out of memory */
char *unit_name(const char *name, const char *suffix);

/* run --service: returns the exit status of the command, or why it did not start */
int in_service(const struct run *r);

#endif
