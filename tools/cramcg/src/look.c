// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * What was refused at the last look, so that the next one can tell what is new.  A
 * small file in the user's runtime directory: a line for each cgroup with its number,
 * its refusals, and its path.  A file that is damaged counts as none.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <string.h>
#include <sys/stat.h>

#include "cramcg.h"

#define LOOK_MAX	(16 << 20)

struct seen {
	uint64_t id;
	uint64_t refused[NR_REFUSALS];
	char *path;		/* quoted */
};

struct look {
	char *file;		/* NULL: nowhere to keep it */
	struct seen *seen;
	size_t n, room;
	size_t old;		/* of these loaded, sorted by path */
};

struct look *look_new(void)
{
	return calloc(1, sizeof(struct look));
}

void look_free(struct look *l)
{
	if (!l)
		return;
	for (size_t i = 0; i < l->n; i++)
		free(l->seen[i].path);
	free(l->seen);
	free(l->file);
	free(l);
}

static struct seen *add(struct look *l, char *path)
{
	if (path && l->n == l->room) {
		size_t room = l->room ? 2 * l->room : 64;
		struct seen *more = reallocarray(l->seen, room, sizeof(*more));

		if (more) {
			l->seen = more;
			l->room = room;
		}
	}
	if (!path || l->n == l->room) {
		free(path);
		return NULL;
	}
	l->seen[l->n] = (struct seen) { .path = path };
	return &l->seen[l->n++];
}

/* "ID N N N ... PATH"; false: not such a line */
static bool parse_line(struct look *l, const char *line)
{
	struct seen s = { 0 }, *new;
	int used = 0;

	if (sscanf(line, "%" SCNu64 "%n", &s.id, &used) != 1)
		return false;
	for (int i = 0; i < NR_REFUSALS; i++) {
		int more = 0;

		if (sscanf(line + used, " %" SCNu64 "%n", &s.refused[i], &more) != 1)
			return false;
		used += more;
	}
	if (line[used] != ' ' || line[used + 1] != '/')
		return false;
	new = add(l, strdup(line + used + 1));
	if (!new)
		return false;
	s.path = new->path;
	*new = s;
	return true;
}

static int by_path(const void *a, const void *b)
{
	return strcmp(((const struct seen *)a)->path, ((const struct seen *)b)->path);
}

int look_parse(struct look *l, const char *text, size_t len)
{
	const char *end = text + len;

	while (text < end) {
		const char *eol = memchr(text, '\n', end - text);
		_cleanup_free_ char *line = NULL;

		if (!eol)
			eol = end;
		line = strndup(text, eol - text);
		if (!line || !parse_line(l, line))
			return -EINVAL;
		text = eol + 1;
	}
	if (l->n)
		qsort(l->seen, l->n, sizeof(*l->seen), by_path);
	l->old = l->n;
	return 0;
}

/* Not in a recorded tree, unless asked for by CRAMCG_STATE */
static char *state_file(struct cramcg *ctx)
{
	const char *dir = getenv("CRAMCG_STATE"), *runtime = getenv("XDG_RUNTIME_DIR");
	char *file = NULL;

	if (dir && *dir) {
		if (asprintf(&file, "%s/looks", dir) < 0)
			file = NULL;
		return file;
	}
	if (*cramcg_root(ctx))
		return NULL;
	if (!geteuid())
		dir = "/run";
	else
		dir = runtime && *runtime == '/' ? runtime : NULL;
	if (!dir || asprintf(&file, "%s/cramcg/looks", dir) < 0)
		return NULL;
	return file;
}

struct look *look_load(struct cramcg *ctx)
{
	struct look *l = look_new();
	_cleanup_close_ int fd = -1;
	_cleanup_free_ char *text = NULL;
	struct stat st;
	ssize_t len;

	if (!l)
		return NULL;
	l->file = state_file(ctx);
	fd = l->file ? open(l->file, O_RDONLY | O_CLOEXEC | O_NOFOLLOW) : -1;
	if (fd < 0 || fstat(fd, &st) || !S_ISREG(st.st_mode) || st.st_size > LOOK_MAX)
		return l;
	text = malloc(st.st_size + 1);
	len = text ? read(fd, text, st.st_size) : -1;
	if (len < 0 || !look_parse(l, text, len))
		return l;
	for (size_t i = 0; i < l->n; i++)
		free(l->seen[i].path);
	l->n = l->old = 0;
	return l;
}

bool look_has_old(const struct look *l)
{
	return l && l->old;
}

const uint64_t *look_find(const struct look *l, uint64_t id, const char *path)
{
	_cleanup_free_ char *quoted = NULL;
	struct seen key, *s;

	if (!look_has_old(l))
		return NULL;
	key.path = quoted = cramcg_conf_quote(path);
	if (!quoted)
		return NULL;
	s = bsearch(&key, l->seen, l->old, sizeof(key), by_path);
	/* A cgroup that was made anew has a number of its own, and counts from 0 */
	return s && s->id == id ? s->refused : NULL;
}

void look_note(struct look *l, const char *path, const struct sample *sample)
{
	struct seen *s = l ? add(l, cramcg_conf_quote(path)) : NULL;

	if (!s)
		return;
	s->id = sample->id;
	memcpy(s->refused, sample->counters + FIRST_REFUSAL, sizeof(s->refused));
}

/* Nobody loses anything when this fails, so it is silent */
void look_save(struct look *l)
{
	_cleanup_free_ char *tmp = NULL, *dir = NULL;
	FILE *f;
	int fd;

	if (!l || !l->file || asprintf(&tmp, "%s.XXXXXX", l->file) < 0)
		return;
	dir = strndup(l->file, strrchr(l->file, '/') - l->file);
	if (dir)
		mkdir(dir, 0700);
	fd = mkostemp(tmp, O_CLOEXEC);
	f = fd < 0 ? NULL : fdopen(fd, "w");
	if (!f) {
		close_fd(&fd);
		return;
	}
	for (size_t i = l->old; i < l->n; i++) {
		fprintf(f, "%ju", (uintmax_t)l->seen[i].id);
		for (int r = 0; r < NR_REFUSALS; r++)
			fprintf(f, " %ju", (uintmax_t)l->seen[i].refused[r]);
		fprintf(f, " %s\n", l->seen[i].path);
	}
	if (fclose(f) || rename(tmp, l->file))
		unlink(tmp);
}
