// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Options, from one table of each verb: what getopt_long() takes, what --help says, and
 * what completion offers (cramcg --dump-options).
 */
#define _GNU_SOURCE
#include <getopt.h>
#include <string.h>

#include "cramcg.h"

enum { OPTION_HELP = 'h' };
#define MANY	32

static const struct option_row help_row = { "help", OPTION_HELP, NULL, "this text" };

static size_t count(const struct option_row *rows)
{
	size_t n = 0;

	while (rows && rows[n].name)
		n++;
	return n;
}

static const struct option_row *row(const struct verb *v, size_t i)
{
	size_t n = count(v->options);

	return i < n ? &v->options[i] : i == n ? &help_row : NULL;
}

static void fill(const struct verb *v, struct option *longs, char *shorts)
{
	const struct option_row *r;
	size_t i;

	/* "+": what follows the first argument is not ours (run), or is key=value */
	*shorts++ = strcmp(v->name, "run") ? ':' : '+';
	if (shorts[-1] == '+')
		*shorts++ = ':';
	for (i = 0; i < MANY - 1 && (r = row(v, i)); i++) {
		longs[i] = (struct option) {
			r->name, r->arg ? required_argument : no_argument, NULL, r->letter,
		};
		if (r->letter > 255)
			continue;
		*shorts++ = r->letter;
		if (r->arg)
			*shorts++ = ':';
	}
	longs[i] = (struct option) { 0 };
	*shorts = '\0';
}

/* The next option, or -1; ends the program for --help and for mistakes */
int next_option(const struct verb *v, int argc, char **argv)
{
	struct option longs[MANY];
	char shorts[2 * MANY + 3];
	int c, at = optind ? optind : 1;

	fill(v, longs, shorts);
	opterr = 0;
	c = getopt_long(argc, argv, shorts, longs, NULL);
	if (c == OPTION_HELP) {
		verb_help(v, stdout);
		exit(close_stdout(STATUS_OK));
	}
	if (c == ':' || c == '?') {
		const char *bad = optind > at && optind <= argc ? argv[optind - 1] : argv[at];

		report(0, "%s: %s; see cramcg %s --help", bad,
		       c == ':' ? "a value is missing" : "there is no such option, or it takes no value",
		       v->name);
		exit(STATUS_USAGE);
	}
	return c;
}

void verb_help(const struct verb *v, FILE *f)
{
	const struct option_row *r;

	fprintf(f, "Usage: cramcg %s%s%s%s\n\n%s.\n\nOptions:\n", v->name,
		count(v->options) ? " [OPTION...]" : "", *v->args ? " " : "", v->args, v->summary);
	for (size_t i = 0; (r = row(v, i)); i++) {
		char left[64], letter[8] = "    ";

		if (r->letter < 256)
			snprintf(letter, sizeof(letter), "-%c, ", r->letter);
		snprintf(left, sizeof(left), "%s--%s%s%s", letter, r->name, r->arg ? " " : "",
			 r->arg ? r->arg : "");
		fprintf(f, "  %-24s %s\n", left, r->help);
	}
	if (v->nr_columns)
		fprintf(f, "\nColumns:");
	for (size_t i = 0; i < v->nr_columns; i++)
		fprintf(f, "%s%s", i % 8 ? " " : "\n  ", v->columns[i].name);
	if (v->nr_columns)
		fputc('\n', f);
	if (v->example)
		fprintf(f, "\nExample:\n  %s\n", v->example);
}

/* Fields between tabs: verb, what an argument is, --option, -o, argument, help */
void dump_options(FILE *f)
{
	const char *name, *help;

	for (const struct verb *const *v = verbs; *v; v++) {
		const struct option_row *r;

		fprintf(f, "%s\t%s\t\t\t%s\t%s\n", (*v)->name, (*v)->completes, (*v)->args, (*v)->summary);
		for (size_t i = 0; (r = row(*v, i)); i++) {
			fprintf(f, "%s\t\t--%s\t", (*v)->name, r->name);
			if (r->letter < 256)
				fprintf(f, "-%c", r->letter);
			fprintf(f, "\t%s\t%s\n", r->arg ? r->arg : "", r->help);
		}
		for (size_t i = 0; i < (*v)->nr_columns; i++)
			fprintf(f, "+%s\t%s\t\t\t%s\t%s\n", (*v)->name, (*v)->columns[i].name,
				(*v)->columns[i].json, (*v)->columns[i].help);
	}
	for (int object = 0; object < 2; object++)
		for (size_t i = 0; (name = cramcg_setting_name("cn"[object], i, &help)); i++)
			fprintf(f, "=%c\t%s\t\t\tvalue\t%s\n", "cn"[object], name, help);
}
