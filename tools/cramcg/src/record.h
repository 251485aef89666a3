/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Which properties are in force where: a file for each unit.  Whoever sets the properties
 * of a unit, "cramcg apply-unit" or cramcgd, writes what was set, and in which cgroup.  So
 * cramcgd need not guess what another process has done, and knows it after a restart.
 */
#ifndef CRAMCG_RECORD_H
#define CRAMCG_RECORD_H

#include "cramcg.h"
#include "unit-file.h"

/*
 * systemd makes the directory for cramcgd, and removes it when cramcgd stops for good:
 * without cramcgd nobody asks, and nothing is recorded.
 */
#define RECORD_DIR	"/run/cramcgd"

struct record {
	uint64_t id;		/* of the cgroup; no other has ever the same */
	char *cgroup;		/* its path, from the root */
	struct cramcg_setting *list;
	size_t n;		/* 0: none of the properties is in force */
};

/*
 * The number of a cgroup, which a new one of the same path does not have: 0, there is
 * no such cgroup.
 */
uint64_t cgroup_id(struct cramcg *ctx, const char *cgroup);

/* 0; -ENOENT: there is none, or it is of a cgroup that has gone; or another errno */
int record_read(struct cramcg *ctx, const char *unit, struct record *r);
void record_free(struct record *r);

/*
 * These are in force in this cgroup, which is there; u NULL: those of the record that
 * there is of it, or none.  Who watches the directory is told, IN_MOVED_TO.  An errno,
 * that of a directory that is not there included, means only that nothing is known.
 */
int record_write(struct cramcg *ctx, const char *unit, const char *cgroup,
		 const struct unit_settings *u);
void record_remove(const char *unit);

#endif
