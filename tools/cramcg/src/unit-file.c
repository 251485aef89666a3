// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Unit files of systemd, as far as X-CRAM... properties need them: sections, comments,
 * lines that go on behind a backslash, and that the last of several lines counts, an
 * empty value taking back those before.  systemd itself ignores all that begins with X-.
 */
#define _GNU_SOURCE
#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <strings.h>
#include <sys/stat.h>

#include "unit-file.h"

#define PREFIX_OF_ALL	"X-CRAM"
#define UNIT_FILE_MAX	(4 << 20)

static const struct property {
	const char *name, *key;
} properties[] = {
	{ "X-CRAMMax", "max" },
	{ "X-CRAMLow", "low" },
	{ "X-CRAMWritableBudget", "writable_budget" },
	{ "X-CRAMNodes", "nodes" },
	{ "X-CRAMNodeMax", "node.max" },
	{ "X-CRAMPageMax", "page.max" },
	{ "X-CRAMRequire", NULL },
};

static const char *const sections[][2] = {
	{ "service", "Service" }, { "slice", "Slice" }, { "scope", "Scope" },
};

struct parse {
	struct cramcg *ctx;
	struct unit_settings *u;
	const char *section;	/* the one that counts */
	const char *file;
	int line;
	char *in;		/* the present one */
	unit_fault_fn fn;
	void *arg;
};

const char *unit_section(const char *name)
{
	const char *dot = strrchr(name, '.');

	for (size_t i = 0; i < ARRAY_SIZE(sections); i++)
		if (!strcmp(dot ? dot + 1 : name, sections[i][0]))
			return sections[i][1];
	return NULL;
}

static void tell(struct parse *p, bool fault, const char *format, ...)
	__attribute__((format(printf, 3, 4)));
static void tell(struct parse *p, bool fault, const char *format, ...)
{
	_cleanup_free_ char *why = NULL, *all = NULL, *printable = NULL;
	va_list ap;
	int len;

	p->u->faults += fault;
	if (!p->fn)
		return;
	va_start(ap, format);
	len = vasprintf(&why, format, ap);
	va_end(ap);
	if (len < 0)
		why = NULL;
	if (asprintf(&all, "%s:%d: %s", p->file, p->line, why ? why : "out of memory") < 0)
		all = NULL;
	/* What is in a file is anybody's, and this goes to terminals */
	printable = all ? cramcg_printable(all) : NULL;
	p->fn(printable ? printable : "out of memory", fault, p->arg);
}

/* As systemd has it */
static int boolean(const char *value)
{
	static const char *const yes[] = { "1", "yes", "y", "true", "t", "on" };
	static const char *const no[] = { "0", "no", "n", "false", "f", "off" };

	for (size_t i = 0; i < ARRAY_SIZE(yes); i++) {
		if (!strcasecmp(value, yes[i]))
			return 1;
		if (!strcasecmp(value, no[i]))
			return 0;
	}
	return -1;
}

static void drop(struct unit_settings *u, size_t i)
{
	free((char *)u->list[i].s.value);
	free(u->list[i].file);
	memmove(&u->list[i], &u->list[i + 1], (--u->n - i) * sizeof(*u->list));
}

/* What was said of the key before; of one node only, where there is one for each */
static void forget(struct unit_settings *u, const char *key, const char *value)
{
	for (size_t i = u->n; i-- > 0; ) {
		const char *old = u->list[i].s.value;

		if (strcmp(u->list[i].s.key, key))
			continue;
		if (value && strcspn(old, " ") != strcspn(value, " "))
			continue;
		if (!value || !strncmp(old, value, strcspn(value, " ")))
			drop(u, i);
	}
}

static int keep(struct parse *p, const struct property *property, char *value)
{
	struct unit_settings *u = p->u;
	struct unit_setting *more = reallocarray(u->list, u->n + 1, sizeof(*more));
	char *file = strdup(p->file);

	if (more)
		u->list = more;
	if (!more || !file) {
		free(file);
		free(value);
		return -ENOMEM;
	}
	u->list[u->n++] = (struct unit_setting) {
		.property = property->name, .s = { property->key, value },
		.file = file, .line = p->line,
	};
	return 0;
}

/* One value; systemd's word for no limit is "infinity" */
static int add(struct parse *p, const struct property *property, const char *value)
{
	bool of_node = !strcmp(property->key, "node.max");
	const char *size = of_node ? strchr(value, ':') : value;
	_cleanup_free_ char *text = NULL;
	struct cramcg_setting s = { property->key, value };
	char *exact;
	int err;

	if (size && !strcmp(size + of_node, "infinity") && strcmp(property->key, "nodes")) {
		if (asprintf(&text, "%.*smax", (int)(size + of_node - value), value) < 0) {
			text = NULL;
			return -ENOMEM;
		}
		s.value = text;
	}
	err = cramcg_canonical(p->ctx, &s, &exact);
	if (err == -EINVAL) {
		tell(p, true, "%s=%s: %s", property->name, value, cramcg_error(p->ctx));
		return 0;
	}
	if (err)
		return err;
	forget(p->u, property->key, of_node ? exact : NULL);
	return keep(p, property, exact);
}

static int set(struct parse *p, const struct property *property, char *value)
{
	char *word, *save = NULL;
	int err = 0, is;

	if (!property->key) {
		is = *value ? boolean(value) : 0;
		if (is < 0)
			tell(p, true, "%s=%s: it takes yes or no", property->name, value);
		else
			p->u->require = is;
		return 0;
	}
	if (!*value) {
		forget(p->u, property->key, NULL);
		return 0;
	}
	if (strcmp(property->key, "node.max"))
		return add(p, property, value);
	for (word = strtok_r(value, " \t", &save); word && !err; word = strtok_r(NULL, " \t", &save))
		err = add(p, property, word);
	return err;
}

/* A whole line, with what followed behind a backslash */
static int logical_line(struct parse *p, char *line)
{
	char *equals, *key;
	size_t len;

	line = trim(line);
	len = strlen(line);
	if (*line == '[') {
		free(p->in);
		p->in = strndup(line + 1, len > 1 && line[len - 1] == ']' ? len - 2 : 0);
		return p->in ? 0 : -ENOMEM;
	}
	if (strncmp(line, PREFIX_OF_ALL, strlen(PREFIX_OF_ALL)))
		return 0;
	p->u->any = true;
	equals = strchr(line, '=');
	if (!equals) {
		tell(p, true, "%s: a = is missing", line);
		return 0;
	}
	*equals = '\0';
	key = trim(line);
	if (!p->in || strcmp(p->in, p->section)) {
		tell(p, true, "%s= belongs to the section [%s], and has no effect in %s%s%s", key,
		     p->section, p->in ? "[" : "none", p->in ? p->in : "", p->in ? "]" : "");
		return 0;
	}
	for (size_t i = 0; i < ARRAY_SIZE(properties); i++)
		if (!strcmp(key, properties[i].name))
			return set(p, &properties[i], trim(equals + 1));
	tell(p, false, "%s=: there is no such property, ignored", key);
	return 0;
}

/* The first character that is no white space; EOF: there is none */
static int first_of(const char *s, size_t len)
{
	while (len && isspace((unsigned char)*s)) {
		s++;
		len--;
	}
	return len ? (unsigned char)*s : EOF;
}

/* Of two, the first takes away the meaning of the second */
static bool ends_with_backslash(const char *s, size_t len)
{
	size_t n = 0;

	while (n < len && s[len - 1 - n] == '\\')
		n++;
	return n & 1;
}

/* Behind what there is of a line */
static int append(char **whole, size_t *size, const char *part, size_t len)
{
	char *more = realloc(*whole, *size + len + 2);

	if (!more)
		return -ENOMEM;
	*whole = more;
	memcpy(more + *size, part, len);
	*size += len;
	more[*size] = '\0';
	return 0;
}

int unit_settings_parse(struct cramcg *ctx, struct unit_settings *u, const char *section,
			const char *file, const char *text, size_t len,
			unit_fault_fn fn, void *arg)
{
	struct parse p = { .ctx = ctx, .u = u, .section = section, .file = file, .fn = fn, .arg = arg };
	const char *end = text + len;
	char *whole = NULL;
	size_t size = 0;
	int err = 0, number = 0;

	if (len >= 3 && !memcmp(text, "\xef\xbb\xbf", 3))
		text += 3;
	while (text < end && !err) {
		const char *eol = memchr(text, '\n', end - text);
		size_t part = (eol ? eol : end) - text;
		const char *start = text;
		int first = first_of(start, part);
		bool goes_on;

		text = eol ? eol + 1 : end;
		number++;
		/* Between the parts of a line that goes on, comments are left out */
		if (first == '#' || first == ';' || (first == EOF && !whole))
			continue;
		if (part && start[part - 1] == '\r')
			part--;
		goes_on = ends_with_backslash(start, part);
		part -= goes_on;
		if (!whole)
			p.line = number;
		err = append(&whole, &size, start, part);
		if (err)
			break;
		if (goes_on) {
			whole[size++] = ' ';
			continue;
		}
		err = logical_line(&p, whole);
		free(whole);
		whole = NULL;
		size = 0;
	}
	/* The file ends in the middle of a line */
	if (whole && !err) {
		whole[size] = '\0';
		err = logical_line(&p, whole);
	}
	free(whole);
	free(p.in);
	return err;
}

void unit_settings_free(struct unit_settings *u)
{
	while (u->n)
		drop(u, u->n - 1);
	free(u->list);
	*u = (struct unit_settings) { 0 };
}

char *unit_file_read(int dir, const char *name, size_t *len)
{
	_cleanup_close_ int fd = openat(dir, name, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
	struct stat st;
	char *text;
	size_t size;
	ssize_t got = 1;

	if (fd < 0 || fstat(fd, &st))
		return NULL;
	/* Masked is a link to /dev/null: nothing is in it */
	if (!S_ISREG(st.st_mode) || st.st_size > UNIT_FILE_MAX) {
		errno = S_ISREG(st.st_mode) ? EFBIG : EINVAL;
		return NULL;
	}
	size = st.st_size;
	text = malloc(size + 1);
	if (!text)
		return NULL;
	for (*len = 0; *len < size && got > 0; *len += got > 0 ? got : 0)
		got = read(fd, text + *len, size - *len);
	if (got < 0) {
		free(text);
		return NULL;
	}
	text[*len] = '\0';
	return text;
}

bool unit_file_mentions(const char *text, size_t len)
{
	return memmem(text, len, PREFIX_OF_ALL, strlen(PREFIX_OF_ALL));
}
