// SPDX-License-Identifier: GPL-2.0-or-later
/* Tables and JSON, by libsmartcols; sizes for people on a terminal, exact elsewhere. */
#define _GNU_SOURCE
#include <libsmartcols/libsmartcols.h>
#include <string.h>
#include <strings.h>

#include "cramcg.h"

struct table {
	struct libscols_table *scols;
	const struct column *all;
	const int *wanted;
	int n;
	bool json, human;
};

bool table_option(struct table_style *style, int option)
{
	switch (option) {
	case 'J': return style->json = true;
	case 'b': return style->bytes = true;
	case 'H': return style->human = true;
	case 'n': return style->noheadings = true;
	case 'r': return style->raw = true;
	}
	return false;
}

static int find_column(const struct column *all, size_t n, const char *name, size_t len)
{
	for (size_t i = 0; i < n; i++)
		if ((strlen(all[i].name) == len && !strncasecmp(all[i].name, name, len)) ||
		    (strlen(all[i].json) == len && !strncasecmp(all[i].json, name, len)))
			return i;
	report(0, "%.*s: there is no such column; see --help", (int)len, name);
	return -1;
}

/* out holds the default at first, ended by -1; it has room for n and the end */
int table_columns(const struct column *all, size_t n, const char *text, int *out)
{
	int count = 0;

	if (text && *text == '+') {
		text++;
		while (out[count] >= 0)
			count++;
	}
	while (text && *text) {
		size_t len = strcspn(text, ",");
		int i = find_column(all, n, text, len);

		if (i < 0)
			return -1;
		for (int k = 0; k < count; k++)
			if (out[k] == i) {
				report(0, "%s: the column is given twice", all[i].name);
				return -1;
			}
		out[count++] = i;
		out[count] = -1;
		text += len + (text[len] == ',');
	}
	for (count = 0; out[count] >= 0; count++)
		;
	return count;
}

static void add_column(struct table *t, const struct column *c, const struct table_style *style)
{
	struct libscols_column *cl;
	int flags = 0;

	if (c->kind == COLUMN_NAME)
		flags = style->tree ? SCOLS_FL_TREE | SCOLS_FL_TRUNC : SCOLS_FL_TRUNC;
	else if (c->kind != COLUMN_TEXT)
		flags = SCOLS_FL_RIGHT;
	cl = scols_table_new_column(t->scols, style->json ? c->json : c->name, 0, flags);
	if (!cl)
		return;
	if (c->kind == COLUMN_NAME || c->kind == COLUMN_TEXT)
		scols_column_set_json_type(cl, SCOLS_JSON_STRING);
	else
		scols_column_set_json_type(cl, SCOLS_JSON_NUMBER);
}

struct table *table_new(const char *name, const struct column *all, const int *wanted, int n,
			const struct table_style *style)
{
	struct table *t = calloc(1, sizeof(*t));

	if (!t || !(t->scols = scols_new_table())) {
		free(t);
		return NULL;
	}
	t->all = all;
	t->wanted = wanted;
	t->n = n;
	t->json = style->json;
	t->human = !style->json && !style->bytes && (style->human || isatty(STDOUT_FILENO));
	scols_table_set_name(t->scols, name);
	scols_table_enable_json(t->scols, style->json);
	scols_table_enable_raw(t->scols, style->raw && !style->json);
	/* What could harm a terminal is gone already; a name of systemd keeps its \x2d */
	scols_table_enable_noencoding(t->scols, !style->json);
	scols_table_enable_noheadings(t->scols, style->noheadings);
	if (isatty(STDOUT_FILENO) || getenv("COLUMNS"))
		scols_table_set_termwidth(t->scols, terminal_width());
	for (int i = 0; i < n; i++)
		add_column(t, &all[wanted[i]], style);
	return t;
}

void *table_line(struct table *t, void *parent)
{
	return scols_table_new_line(t->scols, parent);
}

/* Length of the character at p that may be in JSON and on a terminal; 0: none */
static size_t character(const unsigned char *p)
{
	size_t len = *p < 0x80 ? 1 : *p < 0xc2 ? 0 : *p < 0xe0 ? 2 : *p < 0xf0 ? 3 : *p < 0xf5 ? 4 : 0;

	for (size_t i = 1; i < len; i++)
		if ((p[i] & 0xc0) != 0x80)
			return 0;
	/* DEL, the controls above ASCII, and what is longer than it has to be */
	if (*p == 0x7f || (*p == 0xc2 && p[1] < 0xa0) || (*p == 0xe0 && p[1] < 0xa0) ||
	    (*p == 0xed && p[1] > 0x9f) || (*p == 0xf0 && p[1] < 0x90) || (*p == 0xf4 && p[1] > 0x8f))
		return 0;
	return len;
}

/* Bytes that are no character cannot be in JSON: they become \xNN */
static char *clean_utf8(const char *text)
{
	char *out = malloc(4 * strlen(text) + 1), *o = out;

	if (!out)
		return NULL;
	for (const unsigned char *p = (const unsigned char *)text; *p; ) {
		size_t len = character(p);

		if (len)
			o = mempcpy(o, p, len);
		else
			o += sprintf(o, "\\x%02x", *p);
		p += len ? len : 1;
	}
	*o = '\0';
	return out;
}

void table_text(struct table *t, void *line, int i, const char *text)
{
	_cleanup_free_ char *safe = NULL;

	if (!line || !text)
		return;
	/* JSON has its own way to write what is not printable */
	safe = t->json ? clean_utf8(text) : cramcg_printable(text);
	scols_line_set_data(line, i, safe);
}

void table_size(struct table *t, void *line, int i, uint64_t bytes)
{
	char buf[SIZE_TEXT];

	/* In JSON a number or null: no limit, or not known */
	if (line && !(t->json && bytes >= UNKNOWN))
		scols_line_set_data(line, i, size_text(buf, bytes, t->human));
}

void table_number(struct table *t, void *line, int i, uint64_t number)
{
	char buf[SIZE_TEXT];

	(void)t;
	snprintf(buf, sizeof(buf), "%ju", (uintmax_t)number);
	if (line)
		scols_line_set_data(line, i, buf);
}

void table_ratio(struct table *t, void *line, int i, double ratio)
{
	char buf[SIZE_TEXT];

	if (!line)
		return;
	snprintf(buf, sizeof(buf), "%d.%02d", (int)(ratio + 0.005), (int)((ratio + 0.005) * 100) % 100);
	if (ratio > 0)
		scols_line_set_data(line, i, buf);
	else if (!t->json)
		scols_line_set_data(line, i, "-");
}

void table_print(struct table *t)
{
	scols_print_table(t->scols);
	scols_unref_table(t->scols);
	free(t);
}

void json_string(FILE *f, const char *text)
{
	_cleanup_free_ char *clean = clean_utf8(text);

	fputc('"', f);
	for (const unsigned char *p = (unsigned char *)clean; p && *p; p++) {
		if (*p == '"' || *p == '\\')
			fprintf(f, "\\%c", *p);
		else if (*p < 0x20)
			fprintf(f, "\\u%04x", *p);
		else
			fputc(*p, f);
	}
	fputc('"', f);
}

void json_size(FILE *f, const char *key, uint64_t bytes, const char *more)
{
	if (bytes >= UNKNOWN)
		fprintf(f, "\"%s\": null%s", key, more);
	else
		fprintf(f, "\"%s\": %ju%s", key, (uintmax_t)bytes, more);
}
