// SPDX-License-Identifier: GPL-2.0-or-later
/* cramcg: look at and set what the cram controller does.  main() only. */
#define _GNU_SOURCE
#include <locale.h>
#include <signal.h>
#include <string.h>

#include "cramcg.h"

static void usage(FILE *f)
{
	fprintf(f, "Usage: cramcg [--root DIR] VERB [OPTION...] [ARGUMENT...]\n\n"
		"Look at compressed memory by cgroup, and set who may use how much.\n\nVerbs:\n");
	for (const struct verb *const *v = verbs; *v; v++)
		fprintf(f, "  %-9s %s\n", (*v)->name, (*v)->summary);
	fprintf(f, "\nA cgroup is given as a path (/tenants/a), a systemd unit, or a process number.\n"
		"Begin with: cramcg doctor, cramcg list. For a verb: cramcg VERB --help.\n\n"
		"  --root DIR   look at a recorded tree instead of this machine\n"
		"  --version    print the version\n");
}

int main(int argc, char **argv)
{
	const struct verb *v;
	struct cramcg *ctx;
	const char *root = NULL;
	int status, at = 1;

	setlocale(LC_ALL, "");
	/* "cramcg list | head" ends with the pipe, whatever our parent ignores */
	signal(SIGPIPE, SIG_DFL);
	if (argc > at + 1 && !strcmp(argv[at], "--root")) {
		root = argv[at + 1];
		at += 2;
	} else if (argc > at && !strncmp(argv[at], "--root=", 7)) {
		root = argv[at++] + 7;
	}
	if (argc <= at) {
		usage(stderr);
		return STATUS_USAGE;
	}
	if (!strcmp(argv[at], "--help") || !strcmp(argv[at], "-h") || !strcmp(argv[at], "help")) {
		v = argc > at + 1 ? find_verb(argv[at + 1]) : NULL;
		if (v)
			verb_help(v, stdout);
		else
			usage(stdout);
		return close_stdout(STATUS_OK);
	}
	if (!strcmp(argv[at], "--version")) {
		puts("cramcg " CRAMCG_VERSION);
		return close_stdout(STATUS_OK);
	}
	if (!strcmp(argv[at], "--dump-options")) {
		dump_options(stdout);
		return close_stdout(STATUS_OK);
	}
	v = find_verb(argv[at]);
	if (!v)
		return report(STATUS_USAGE, "%s: there is no such verb; see cramcg --help", argv[at]);
	if (cramcg_new(&ctx, root))
		return report(STATUS_FAILED, "out of memory");
	status = v->run(ctx, argc - at, argv + at);
	cramcg_free(ctx);
	return close_stdout(status);
}
