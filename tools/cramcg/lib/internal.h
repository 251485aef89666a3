/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What the files of libcramcg share, and do not export. */
#ifndef CRAMCG_INTERNAL_H
#define CRAMCG_INTERNAL_H

#include <stdarg.h>
#include <stdlib.h>
#include <unistd.h>

#include "libcramcg.h"
#include "util.h"

/* No file that is read here is larger: 1024 nodes in cram.numa_stat fit */
#define FILE_MAX	(64 * 1024)

struct cramcg {
	char *root;		/* "" for this machine */
	char *mount;		/* of cgroup2, with root; NULL: there is none */
	int cgroups;		/* that directory, or -1 */
	char *error;
};

/* context.c: note why, and return -err */
int fail(struct cramcg *ctx, int err, const char *format, ...)
	__attribute__((format(printf, 3, 4)));

/* words.c: what an errno means for this file, in words of the documentation */
const char *words_for(const char *file, int err, bool writing);

/* file.c */
int read_at(struct cramcg *ctx, int dir, const char *where, const char *file, char **text);
int write_at(struct cramcg *ctx, int dir, const char *where, const char *file,
	     const char *text, int flags);
int open_cgroup(struct cramcg *ctx, const char *path);

/* node.c */
bool is_cram_node(struct cramcg *ctx, int node);
char *node_dir(struct cramcg *ctx, int node);

/* keys.c: one table of all that can be set */
enum value_kind {
	VALUE_SIZE = 1,		/* bytes, K M G T behind */
	VALUE_MAX = 2,		/* or "max" */
	VALUE_INHERIT = 4,	/* or "inherit" */
	VALUE_AUTO = 8,		/* or "auto" */
	VALUE_PAGES = 16,	/* rounded down to pages */
	VALUE_NODES = 32,	/* a list of nodes */
	VALUE_NODE_SIZE = 64,	/* "N1 64M" */
	VALUE_NUMBER = 128,	/* a plain number */
};
struct key {
	int object;
	const char *name;	/* of the file, too; without "cram." */
	unsigned int kind;
	const char *usage;	/* the file of what has to come down when it is lowered */
	const char *help;
	uint64_t least, most;	/* VALUE_NUMBER */
};
const struct key *find_key(struct cramcg *ctx, int object, const char *name);
int key_value(struct cramcg *ctx, const struct key *key, const char *value, char **text);
int key_file(const struct key *key, char **file);

#endif
