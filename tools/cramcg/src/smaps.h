/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What /proc/PID/smaps says of the mappings of a process. */
#ifndef SMAPS_H
#define SMAPS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

struct mapping {
	uint64_t from, to;
	char *name;			/* "" where the kernel gives none */
	const char *left_out;		/* why it cannot be demoted; NULL: it can */
	/* Bytes; those of Cram are in Rss, Anonymous and Referenced as well */
	uint64_t rss, anonymous, cram, swap, referenced;
	bool shared, of_file;
};
struct smaps {
	struct mapping *list;
	size_t n;
};

/* 0 or a negative errno; what was read before is in m, which the caller frees */
int smaps_parse(FILE *f, struct smaps *m);
void smaps_free(struct smaps *m);
/* Lines that are not in smaps_rollup leave 0 behind; false: Cram: is none of its lines */
bool rollup_parse(FILE *f, struct mapping *sum);
/* In memory and not resident: what can be asked for */
uint64_t mapping_left(const struct mapping *m);

#endif
