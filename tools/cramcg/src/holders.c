// SPDX-License-Identifier: GPL-2.0-or-later
/* Which processes have pages on a node, by /proc/PID/numa_maps. */
#define _GNU_SOURCE
#include <ctype.h>
#include <dirent.h>
#include <string.h>

#include "cramcg.h"

struct holder {
	unsigned long pid, pages;
	char name[64];
};

static unsigned long count_pages(const char *file, int node)
{
	_cleanup_fclose_ FILE *f = fopen(file, "re");
	_cleanup_free_ char *line = NULL;
	unsigned long sum = 0;
	char key[16];
	size_t size = 0;

	snprintf(key, sizeof(key), " N%d=", node);
	while (f && getline(&line, &size, f) > 0) {
		const char *p = strstr(line, key);

		if (p)
			sum += strtoul(p + strlen(key), NULL, 10);
	}
	return sum;
}

static void read_name(const char *root, unsigned long pid, char *name, size_t size)
{
	_cleanup_fclose_ FILE *f = NULL;
	_cleanup_free_ char *file = NULL;

	if (asprintf(&file, "%s/proc/%lu/comm", root, pid) < 0) {
		file = NULL;
		return;
	}
	f = fopen(file, "re");
	if (!f || !fgets(name, size, f))
		snprintf(name, size, "?");
	name[strcspn(name, "\n")] = '\0';
}

static int more_pages(const void *a, const void *b)
{
	const struct holder *x = a, *y = b;

	return x->pages < y->pages ? 1 : x->pages > y->pages ? -1 : 0;
}

static struct holder *find_holders(struct cramcg *ctx, int node, size_t *n)
{
	_cleanup_free_ char *proc = NULL;
	struct holder *found = NULL;
	struct dirent *e;
	DIR *d;

	*n = 0;
	if (asprintf(&proc, "%s/proc", cramcg_root(ctx)) < 0) {
		proc = NULL;
		return NULL;
	}
	d = opendir(proc);
	while (d && (e = readdir(d))) {
		_cleanup_free_ char *file = NULL;
		struct holder h = { 0 }, *more;

		if (!isdigit((unsigned char)*e->d_name) ||
		    asprintf(&file, "%s/%s/numa_maps", proc, e->d_name) < 0)
			continue;
		h.pages = count_pages(file, node);
		if (!h.pages)
			continue;
		h.pid = strtoul(e->d_name, NULL, 10);
		read_name(cramcg_root(ctx), h.pid, h.name, sizeof(h.name));
		more = reallocarray(found, *n + 1, sizeof(*found));
		if (!more)
			break;
		found = more;
		found[(*n)++] = h;
	}
	if (d)
		closedir(d);
	return found;
}

void print_holders(struct cramcg *ctx, int node, size_t n, FILE *f)
{
	_cleanup_free_ struct holder *found = NULL;
	size_t count;

	found = find_holders(ctx, node, &count);
	if (found)
		qsort(found, count, sizeof(*found), more_pages);
	for (size_t i = 0; i < count && i < n; i++) {
		_cleanup_free_ char *name = cramcg_printable(found[i].name);
		char buf[SIZE_TEXT];

		fprintf(f, "  PID %-7lu %-16s %s\n", found[i].pid, name ? name : "?",
			size_text(buf, found[i].pages * 4096, true));
	}
	if (!count)
		fprintf(f, "  no process that /proc/PID/numa_maps shows: a pipe, or a process of somebody else\n");
	else if (count > n)
		fprintf(f, "  and %zu more\n", count - n);
}
