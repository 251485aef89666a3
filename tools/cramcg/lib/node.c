// SPDX-License-Identifier: GPL-2.0-or-later
/* Cram nodes: which there are, and their files. */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <glob.h>
#include <stdio.h>
#include <string.h>

#include "internal.h"

static const char nodes_dir[] = "sys/devices/system/node";

char *node_dir(struct cramcg *ctx, int node)
{
	char *dir;

	return asprintf(&dir, "%s/%s/node%d/cram", ctx->root, nodes_dir, node) < 0 ? NULL : dir;
}

bool is_cram_node(struct cramcg *ctx, int node)
{
	_cleanup_free_ char *dir = node_dir(ctx, node);

	return dir && !access(dir, F_OK);
}

static int by_number(const void *a, const void *b)
{
	return *(const int *)a - *(const int *)b;
}

int cramcg_nodes(struct cramcg *ctx, int **nodes, size_t *n)
{
	_cleanup_free_ char *pattern = NULL;
	glob_t found;

	*n = 0;
	*nodes = NULL;
	if (asprintf(&pattern, "%s/%s/node[0-9]*/cram", ctx->root, nodes_dir) < 0) {
		pattern = NULL;
		return fail(ctx, ENOMEM, "out of memory");
	}
	if (glob(pattern, GLOB_NOSORT, NULL, &found))
		return 0;
	*nodes = calloc(found.gl_pathc, sizeof(**nodes));
	for (size_t i = 0; *nodes && i < found.gl_pathc; i++) {
		const char *number = found.gl_pathv[i] + strlen(ctx->root) + sizeof(nodes_dir) + 5;

		(*nodes)[(*n)++] = atoi(number);
	}
	globfree(&found);
	if (!*nodes)
		return fail(ctx, ENOMEM, "out of memory");
	qsort(*nodes, *n, sizeof(**nodes), by_number);
	return 0;
}

int cramcg_node_read(struct cramcg *ctx, int node, const char *file, char **text)
{
	_cleanup_free_ char *dir = node_dir(ctx, node);
	_cleanup_close_ int fd = dir ? open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC) : -1;

	if (fd < 0)
		return fail(ctx, ENODEV, "node %d is not a cram node at this time", node);
	return read_at(ctx, fd, dir, file, text);
}

int cramcg_node_read_bytes(struct cramcg *ctx, int node, const char *file, uint64_t *bytes)
{
	_cleanup_free_ char *text = NULL;
	int err = cramcg_node_read(ctx, node, file, &text);

	if (err)
		return err;
	if (cramcg_parse_size(text, bytes))
		return fail(ctx, EPROTO, "node %d: %s: \"%s\" is not a size", node, file, text);
	return 0;
}

int cramcg_node_state(struct cramcg *ctx, int node, const char *state)
{
	_cleanup_free_ char *dir = node_dir(ctx, node);
	_cleanup_close_ int fd = dir ? open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC) : -1;

	if (fd < 0)
		return fail(ctx, ENODEV, "node %d is not a cram node at this time", node);
	if (strcmp(state, "open") && strcmp(state, "offline"))
		return fail(ctx, EINVAL, "%s/state: \"%s\" not written: it takes open or offline",
			    dir, state);
	return write_at(ctx, fd, dir, "state", state, 0);
}
