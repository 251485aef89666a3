/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Settings of a service, kept in a drop-in of its unit. */
#ifndef CRAMCG_DROPIN_H
#define CRAMCG_DROPIN_H

#include "cramcg.h"

bool dropin_possible(const char *unit);

/*
 * In two steps, so that the file and the limits change together or not at all: prepare
 * writes a copy beside the drop-in, finish puts it in place and reloads systemd, or, when
 * not kept, removes it.  Both return an exit status.  Between the two the directory of
 * the drop-in is locked: settings of another process come before or after, not between.
 */
struct dropin {
	char *dir, *name, *copy;
	int lock;
};
int dropin_prepare(struct cramcg *ctx, struct dropin *d, const char *unit,
		   const struct cramcg_setting *s, int n, bool runtime);
int dropin_finish(struct cramcg *ctx, struct dropin *d, bool keep);

/* For tests: merge settings into the text of a drop-in; NULL: out of memory */
char *dropin_merge(const char *text, const struct cramcg_setting *s, int n);

#endif
