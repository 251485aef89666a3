// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * The files of one cgroup, read fast: a list of thousands must not be felt.  Reads only
 * what is asked for, without allocating.  Files that this kernel lacks leave UNKNOWN.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stddef.h>
#include <string.h>
#include <sys/stat.h>

#include "cramcg.h"

#define COUNTER_NAME(name)	#name,
const char *const counter_names[NR_COUNTERS] = { COUNTERS(COUNTER_NAME) };
#define COUNTER_LENGTH(name)	sizeof(#name) - 1,
static const unsigned char counter_lengths[NR_COUNTERS] = { COUNTERS(COUNTER_LENGTH) };

/* Where the files are: a directory, and a path from there that ends with "/" */
struct place {
	int dir;
	size_t len;
	char path[4096];
};

static bool read_text(struct place *at, const char *file, char *buf, size_t size)
{
	_cleanup_close_ int fd = -1;
	ssize_t len;

	if (at->len + strlen(file) >= sizeof(at->path))
		return false;
	strcpy(at->path + at->len, file);
	fd = openat(at->dir, at->path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return false;
	len = read(fd, buf, size - 1);
	if (len < 0)
		return false;
	while (len && buf[len - 1] == '\n')
		len--;
	buf[len] = '\0';
	return true;
}

static uint64_t read_size(struct place *at, const char *file)
{
	char buf[32];
	uint64_t value;

	if (!read_text(at, file, buf, sizeof(buf)) || cramcg_parse_size(buf, &value))
		return UNKNOWN;
	return value;
}

/* Files that not every kernel has: once missing, they are not looked for again */
static const struct {
	const char *file;
	unsigned int what;
	size_t offset;
} new_files[] = {
	{ "cram.compressed.current", READ_USAGE, offsetof(struct sample, compressed) },
	{ "cram.compressed.max", READ_LIMITS, offsetof(struct sample, compressed_max) },
	{ "cram.compressed.low", READ_LIMITS, offsetof(struct sample, compressed_low) },
	{ "cram.writable_budget.effective", READ_BUDGET, offsetof(struct sample, effective) },
};
static _Atomic unsigned int missing;

static void read_new_files(struct place *at, unsigned int what, struct sample *s)
{
	for (size_t i = 0; i < ARRAY_SIZE(new_files); i++) {
		uint64_t *value = (uint64_t *)((char *)s + new_files[i].offset);

		if (!(what & new_files[i].what) || missing & 1 << i)
			continue;
		*value = read_size(at, new_files[i].file);
		if (*value == UNKNOWN && errno == ENOENT)
			missing |= 1 << i;
	}
}

struct stat_parser {
	struct sample *s;
	size_t next;		/* the kernel has the order of our table */
};

static void stat_key(const char *key, size_t len, uint64_t value, void *arg)
{
	struct stat_parser *p = arg;
	struct sample *s = p->s;

	for (size_t n = 0; n < NR_COUNTERS; n++) {
		size_t i = (p->next + n) % NR_COUNTERS;

		if (counter_lengths[i] == len && !memcmp(counter_names[i], key, len)) {
			s->counters[i] = value;
			s->counted |= 1u << i;
			p->next = i + 1;
			return;
		}
	}
	if (len == 19 && !memcmp(key, "compressed_estimate", len))
		s->estimate = value;
	else if (len == 8 && !memcmp(key, "readonly", len))
		s->readonly = value;
	else if (len == 8 && !memcmp(key, "writable", len))
		s->writable = value;
}

void sample_parse_stat(const char *text, struct sample *s)
{
	struct stat_parser p = { .s = s };

	cramcg_parse_keyed(text, stat_key, &p);
}

void sample_blank(struct sample *s)
{
	memset(s, 0, sizeof(*s));
	s->current = s->peak = s->max = s->low = s->page_max = s->writable = UNKNOWN;
	s->budget = s->effective = s->compressed = s->compressed_max = UNKNOWN;
	s->compressed_low = s->estimate = s->readonly = UNKNOWN;
}

static void read_limits(struct place *at, unsigned int what, struct sample *s)
{
	if (what & (READ_MAX | READ_LIMITS))
		s->max = read_size(at, "cram.max");
	/* Where the kernel says what a budget comes to, nobody has to work that out */
	if (what & READ_LIMITS || (what & READ_BUDGET && s->effective == UNKNOWN))
		s->budget = read_size(at, "cram.writable_budget");
	if (!(what & READ_LIMITS))
		return;
	s->low = read_size(at, "cram.low");
	s->page_max = read_size(at, "cram.page.max");
	read_text(at, "cram.nodes", s->allowed, sizeof(s->allowed));
	read_text(at, "cram.node.max", s->node_max, sizeof(s->node_max));
}

/*
 * cram.stat has all that is resident, as two numbers: that spares cram.current.  false:
 * cram is not enabled there.
 */
static bool read_current(struct place *at, unsigned int what, struct sample *s)
{
	char buf[4096];

	if (what & READ_STAT && read_text(at, "cram.stat", buf, sizeof(buf))) {
		sample_parse_stat(buf, s);
		if (s->readonly != UNKNOWN && s->writable != UNKNOWN) {
			s->current = s->readonly + s->writable;
			return true;
		}
	}
	s->current = read_size(at, "cram.current");
	return s->current != UNKNOWN;
}

bool sample_read_at(int dir, const char *path, unsigned int what, struct sample *s)
{
	struct place at = { .dir = dir };
	struct stat st;

	while (*path == '/')
		path++;
	if (*path)
		at.len = snprintf(at.path, sizeof(at.path), "%s/", path);
	sample_blank(s);
	if (at.len >= sizeof(at.path))
		return false;
	if (!read_current(&at, what, s))
		return false;
	/* Who has nothing there is looked at for settings, who has something need not */
	if (what & READ_SETTINGS && !s->current)
		what |= READ_LIMITS;
	if (what & READ_ID && !fstatat(dir, *path ? path : ".", &st, 0))
		s->id = st.st_ino;
	if (what & READ_USAGE && s->writable == UNKNOWN)
		s->writable = read_size(&at, "cram.writable_current");
	read_new_files(&at, what, s);
	read_limits(&at, what, s);
	if (what & READ_NODES)
		read_text(&at, "cram.nodes.effective", s->nodes, sizeof(s->nodes));
	if (what & READ_PEAK)
		s->peak = read_size(&at, "cram.peak");
	return true;
}

bool sample_read(int dir, unsigned int what, struct sample *s)
{
	return sample_read_at(dir, "", what, s);
}

static bool is_set(uint64_t value, uint64_t by_default)
{
	return value != UNKNOWN && value != by_default;
}

bool sample_has_settings(const struct sample *s)
{
	return is_set(s->max, CRAMCG_MAX) || is_set(s->low, 0) || is_set(s->page_max, CRAMCG_MAX) ||
	       is_set(s->budget, CRAMCG_INHERIT) || is_set(s->compressed_max, CRAMCG_MAX) ||
	       is_set(s->compressed_low, 0) || *s->allowed || *s->node_max;
}

bool sample_has_counter(const struct sample *s, int counter)
{
	return s->counted & 1u << counter;
}

uint64_t sample_refusals(const struct sample *s)
{
	uint64_t sum = 0;

	for (int i = FIRST_REFUSAL; i < NR_COUNTERS; i++)
		sum += s->counters[i];
	return sum;
}

double sample_ratio(const struct sample *s)
{
	uint64_t cells = s->compressed != UNKNOWN ? s->compressed : s->estimate;

	if (!s->current || s->current >= UNKNOWN || !cells || cells >= UNKNOWN)
		return 0;
	return (double)s->current / cells;
}

/* Numbers bind down the tree; where none has one, the budget is 0 */
uint64_t budget_below(uint64_t parent, uint64_t own)
{
	if (own == CRAMCG_INHERIT || own == UNKNOWN)
		return parent;
	if (parent == UNKNOWN)
		return own;
	return own < parent ? own : parent;
}

char *read_root_file(struct cramcg *ctx, const char *file)
{
	_cleanup_free_ char *name = NULL;
	_cleanup_fclose_ FILE *f = NULL;
	char *text = NULL;
	size_t size = 0;

	if (asprintf(&name, "%s/%s", cramcg_root(ctx), file) < 0) {
		name = NULL;
		return NULL;
	}
	f = fopen(name, "re");
	if (f && getdelim(&text, &size, '\0', f) < 0) {
		free(text);
		return NULL;
	}
	return text;
}

/* --- many at once --------------------------------------------------------------------- */

struct crowd {
	int dir;
	unsigned int what;
	size_t n;
	_Atomic size_t next;
	const char *(*path)(size_t i, void *arg);
	struct sample *(*sample)(size_t i, void *arg);
	void *arg;
};

static void *read_crowd(void *arg)
{
	struct crowd *c = arg;
	size_t from;

	while ((from = atomic_fetch_add(&c->next, 64)) < c->n)
		for (size_t i = from; i < c->n && i < from + 64; i++)
			if (!sample_read_at(c->dir, c->path(i, c->arg), c->what, c->sample(i, c->arg)))
				c->sample(i, c->arg)->current = UNKNOWN;
	return NULL;
}

/* Opening files is what takes the time, so all processors help when there are many */
void sample_read_many(int dir, unsigned int what, size_t n, const char *(*path)(size_t, void *),
		      struct sample *(*sample)(size_t, void *), void *arg)
{
	struct crowd c = { dir, what, n, 0, path, sample, arg };
	long helpers = n < 256 ? 0 : sysconf(_SC_NPROCESSORS_ONLN) - 1;
	pthread_t threads[7];
	int started = 0;

	for (; started < helpers && started < (int)ARRAY_SIZE(threads); started++)
		if (pthread_create(&threads[started], NULL, read_crowd, &c))
			break;
	read_crowd(&c);
	while (started-- > 0)
		pthread_join(threads[started], NULL);
}

uint64_t budget_above(struct cramcg *ctx, const char *path)
{
	_cleanup_free_ char *p = strdup(path);
	uint64_t budget = UNKNOWN, own;
	char *slash;

	while (p && (slash = strrchr(p, '/')) && slash != p) {
		*slash = '\0';
		if (!cramcg_read_bytes(ctx, p, "cram.writable_budget", &own) && own != CRAMCG_INHERIT)
			budget = budget_below(budget, own);
	}
	return budget;
}

struct one {
	unsigned int what;
	struct sample *s;
	bool found;
};

static int read_one(const char *path, int dir, int depth, void *arg)
{
	struct one *o = arg;

	(void)path, (void)depth;
	o->found = sample_read(dir, o->what, o->s);
	return 2;	/* ends the walk */
}

/* 0, -ENOENT: cram is not enabled there */
int sample_path(struct cramcg *ctx, const char *path, unsigned int what, struct sample *s)
{
	struct one o = { .what = what, .s = s };
	int err = cramcg_walk(ctx, path, read_one, &o);

	if (err < 0)
		return err;
	return o.found ? 0 : -ENOENT;
}
