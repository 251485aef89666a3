// SPDX-License-Identifier: GPL-2.0-or-later
/* /proc/PID/smaps: the mappings of a process, and which of them can be demoted. */
#define _GNU_SOURCE
#include <errno.h>
#include <inttypes.h>
#include <string.h>

#include "cramcg.h"
#include "smaps.h"

void smaps_free(struct smaps *m)
{
	for (size_t i = 0; i < m->n; i++)
		free(m->list[i].name);
	free(m->list);
	*m = (struct smaps) { 0 };
}

uint64_t mapping_left(const struct mapping *m)
{
	return m->anonymous > m->cram ? m->anonymous - m->cram : 0;
}

/* "7f00-7f40 rw-p 00000000 00:00 0    [heap]": 1, 0: no such line, or a negative errno */
static int parse_head(const char *line, struct mapping *m)
{
	char rights[5];
	uint64_t inode;
	int at = 0;

	*m = (struct mapping) { 0 };
	if (sscanf(line, "%" SCNx64 "-%" SCNx64 " %4s %*x %*x:%*x %" SCNu64 "%n", &m->from, &m->to,
		   rights, &inode, &at) != 4 || !at || m->from >= m->to || strlen(rights) != 4)
		return 0;
	line += at + strspn(line + at, " ");
	m->shared = rights[3] == 's';
	m->of_file = inode;
	m->name = strndup(line, strcspn(line, "\n"));
	return m->name ? 1 : -ENOMEM;
}

/* Names that anonymous memory has; all others in brackets are what the kernel maps itself */
static bool is_anonymous_name(const char *name)
{
	return !*name || !strcmp(name, "[heap]") || !strcmp(name, "[stack]") ||
	       !strncmp(name, "[anon:", 6);
}

static const char *why_left_out(const struct mapping *m)
{
	if (m->shared)
		return "shared memory: the controller takes private memory only";
	if (m->of_file)
		return "a mapping of a file";
	return is_anonymous_name(m->name) ? NULL : "a mapping that the kernel made";
}

/* Two letters a flag, see Documentation/filesystems/proc.rst */
static const char *flags_why(const char *flags)
{
	static const struct { const char *flag, *why; } words[] = {
		{ "lo", "locked in memory" },
		{ "ht", "huge pages of hugetlb" },
		{ "io", "memory of a device" },
		{ "pf", "memory of a device" },
		{ "mm", "memory of a device" },
		{ "dp", "droppable: paging out would lose it" },
	};

	for (size_t i = 0; i < ARRAY_SIZE(words); i++)
		for (const char *p = flags; (p = strstr(p, words[i].flag)); p += 2)
			if ((p == flags || p[-1] == ' ') && (!p[2] || strchr(" \n", p[2])))
				return words[i].why;
	return NULL;
}

/* "Rss:      4 kB" */
static bool parse_size_line(const char *line, struct mapping *m)
{
	const struct { const char *key; uint64_t *bytes; } keys[] = {
		{ "Rss:", &m->rss }, { "Referenced:", &m->referenced }, { "Anonymous:", &m->anonymous },
		{ "Cram:", &m->cram }, { "Swap:", &m->swap },
	};

	for (size_t i = 0; i < ARRAY_SIZE(keys); i++) {
		size_t len = strlen(keys[i].key);

		if (strncmp(line, keys[i].key, len))
			continue;
		*keys[i].bytes = strtoull(line + len, NULL, 10) * 1024;
		return keys[i].bytes == &m->cram;
	}
	return false;
}

static int add(struct smaps *m, const struct mapping *new)
{
	if (!(m->n & (m->n - 1))) {
		struct mapping *more = reallocarray(m->list, m->n ? 2 * m->n : 1, sizeof(*more));

		if (!more)
			return -ENOMEM;
		m->list = more;
	}
	m->list[m->n++] = *new;
	return 0;
}

int smaps_parse(FILE *f, struct smaps *m)
{
	_cleanup_free_ char *line = NULL;
	size_t size = 0;
	int err = 0;

	*m = (struct smaps) { 0 };
	while (!err && getline(&line, &size, f) > 0) {
		struct mapping new, *last = m->n ? &m->list[m->n - 1] : NULL;

		err = parse_head(line, &new);
		if (err > 0) {
			new.left_out = why_left_out(&new);
			err = add(m, &new);
			if (err)
				free(new.name);
		} else if (!err && last) {
			parse_size_line(line, last);
			if (!last->left_out && !strncmp(line, "VmFlags:", 8))
				last->left_out = flags_why(line + 8);
		}
	}
	/* Of a process that has ended */
	return err ? err : ferror(f) ? -errno : 0;
}

bool rollup_parse(FILE *f, struct mapping *sum)
{
	_cleanup_free_ char *line = NULL;
	bool has_cram = false;
	size_t size = 0;

	*sum = (struct mapping) { 0 };
	while (getline(&line, &size, f) > 0)
		has_cram |= parse_size_line(line, sum);
	return has_cram;
}
