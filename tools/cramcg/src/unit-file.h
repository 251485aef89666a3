/* SPDX-License-Identifier: GPL-2.0-or-later */
/* X-CRAM... properties in unit files of systemd; see cram.unit(5). */
#ifndef CRAMCG_UNIT_FILE_H
#define CRAMCG_UNIT_FILE_H

#include "cramcg.h"

/*
 * What cram-generator writes beside units with properties, below GENERATED_DIR.  The name
 * is behind those of others: only who empties ExecCondition= behind that is left out.
 */
#define GENERATED_DIR	"/run/systemd/generator"
#define GENERATED_NAME	"zzz-cram.conf"

struct unit_setting {
	const char *property;		/* "X-CRAMMax" */
	struct cramcg_setting s;	/* value belongs to this */
	char *file;			/* where it was said */
	int line;
};

struct unit_settings {
	struct unit_setting *list;
	size_t n;
	bool require;		/* X-CRAMRequire= */
	bool any;		/* some X-CRAM... line was there */
	size_t faults;		/* lines that say nothing that could be set */
};

/*
 * Told of each line that is wrong, with file, line and reason in one sentence; fault is
 * false when the line is only ignored.
 */
typedef void (*unit_fault_fn)(const char *message, bool fault, void *arg);

/*
 * Of the suffix of a unit or of the name of a directory of drop-ins ("a.service",
 * "service"): the section that its properties belong to, "Service".  NULL: not of a
 * type that has them.
 */
const char *unit_section(const char *name);

/* The text of one file, after those that were parsed before: 0, or -ENOMEM */
int unit_settings_parse(struct cramcg *ctx, struct unit_settings *u, const char *section,
			const char *file, const char *text, size_t len,
			unit_fault_fn fn, void *arg);
void unit_settings_free(struct unit_settings *u);

/* All of a file; NULL with errno, EFBIG when nobody can have meant it as a unit */
char *unit_file_read(int dir, const char *name, size_t *len);

/* Could there be a property in it?  Quick, because hardly any file has one. */
bool unit_file_mentions(const char *text, size_t len);

#endif
