// SPDX-License-Identifier: GPL-2.0-or-later
/* cramcg set, enable, reclaim: what changes a cgroup. */
#define _GNU_SOURCE
#include <errno.h>
#include <string.h>
#include <sys/stat.h>

#include "cramcg.h"
#include "dropin.h"

enum { O_ENABLE = 256, O_RUNTIME, O_NO_WAIT, O_NOW };
static const struct option_row options[] = {
	{ "dry-run", 'N', NULL, "check, show what would change, change nothing" },
	{ "enable", O_ENABLE, NULL, "enable cram on the way to the cgroup first" },
	{ "no-wait", O_NO_WAIT, NULL, "do not wait until what is above a limit has left" },
	{ "runtime", O_RUNTIME, NULL, "of a service: until the next boot, not for ever" },
	{ "now", O_NOW, NULL, "of a service: until it is restarted; nothing is kept" },
	{ "json", 'J', NULL, "print the changes as JSON" },
	{ 0 }
};

static void print_keys(void)
{
	const char *name, *help;

	report(0, "the settings of a cgroup:");
	for (size_t i = 0; (name = cramcg_setting_name('c', i, &help)); i++)
		fprintf(stderr, "  %-16s %s\n", name, help);
}

struct asked {
	bool dry, enable, no_wait, json, now, runtime;
};

static int fill_plan(struct cramcg *ctx, struct cramcg_plan *plan, const char *path,
		     const struct cramcg_setting *s, int n)
{
	int err = 0;

	for (int i = 0; i < n && !err; i++)
		err = cramcg_plan_add(plan, 'c', path, &s[i]);
	return err ? report_error(ctx, err) : 0;
}

/* The limits and, of a service, its drop-in: both, or none */
static int commit(struct cramcg *ctx, struct cramcg_plan *plan, const char *unit,
		  const struct cramcg_setting *s, int n, bool runtime)
{
	struct dropin dropin = { .lock = -1 };
	int err = 0, status;

	if (unit)
		err = dropin_prepare(ctx, &dropin, unit, s, n, runtime);
	if (!err) {
		err = cramcg_plan_commit(plan);
		if (err)
			err = report_error(ctx, err);
	}
	status = dropin_finish(ctx, &dropin, !err);
	return err ? err : status;
}

/* Which cgroup has this path now; 0: none */
static ino_t cgroup_at(struct cramcg *ctx, const char *path)
{
	_cleanup_free_ char *name = NULL;
	struct stat st;

	if (asprintf(&name, "%s%s", cramcg_mount(ctx), path) < 0) {
		name = NULL;
		return 0;
	}
	return stat(name, &st) ? 0 : st.st_ino;
}

static int set_once(struct cramcg *ctx, const char *path, const char *unit,
		    const struct cramcg_setting *s, int n, const struct asked *asked, bool print)
{
	struct cramcg_plan *plan;
	int err = 0;

	if (asked->enable && !asked->dry)
		err = cramcg_enable(ctx, path);
	if (err || (err = cramcg_plan_new(ctx, &plan)))
		return report_error(ctx, err);
	err = fill_plan(ctx, plan, path, s, n);
	if (!err && print)
		print_plan(plan, asked->json);
	if (!err && !asked->dry)
		err = commit(ctx, plan, unit, s, n, asked->runtime);
	if (!err && !asked->dry && !asked->no_wait)
		err = settle_plan(ctx, plan);
	cramcg_plan_free(plan);
	return err;
}

/*
 * systemd can restart the service while its limits are set in the cgroup that it had, and
 * before the drop-in is there: then the new cgroup has no limits yet.
 */
static int set(struct cramcg *ctx, const char *path, const char *unit,
	       const struct cramcg_setting *s, int n, const struct asked *asked)
{
	bool print = asked->dry || asked->json || isatty(STDOUT_FILENO);
	ino_t before, now = cgroup_at(ctx, path);
	int err;

	do {
		before = now;
		err = set_once(ctx, path, unit, s, n, asked, print);
		print = false;
		now = cgroup_at(ctx, path);
	} while (!err && unit && !asked->dry && now && now != before);
	return err;
}

/* Malformed values are found before anything is looked for */
static int check(struct cramcg *ctx, const struct cramcg_setting *s, int n)
{
	for (int i = 0; i < n; i++) {
		_cleanup_free_ char *text = NULL;
		int err = cramcg_canonical(ctx, &s[i], &text);

		if (err)
			return report_error(ctx, err);
	}
	return 0;
}

static int run(struct cramcg *ctx, int argc, char **argv)
{
	_cleanup_free_ struct cramcg_setting *s = calloc(argc, sizeof(*s));
	_cleanup_free_ char *path = NULL, *unit = NULL;
	struct asked asked = { 0 };
	int c, n, status;

	while ((c = next_option(&verb_set, argc, argv)) != -1) {
		switch (c) {
		case 'N': asked.dry = true; break;
		case 'J': asked.json = true; break;
		case O_ENABLE: asked.enable = true; break;
		case O_NO_WAIT: asked.no_wait = true; break;
		case O_RUNTIME: asked.runtime = true; break;
		case O_NOW: asked.now = true; break;
		}
	}
	n = argc - optind - 1;
	if (n < 1) {
		report(0, "which cgroup, and what? See cramcg set --help");
		print_keys();
		return STATUS_USAGE;
	}
	if (!s || !split_settings(n, argv + optind + 1, s))
		return STATUS_USAGE;
	status = check(ctx, s, n);
	if (status)
		return status;
	if (cramcg_available(ctx))
		return report(STATUS_MISSING, "%s", cramcg_error(ctx));
	status = find_cgroup(ctx, argv[optind], &path, &unit);
	if (status)
		return status;
	if (unit && !asked.now && !dropin_possible(unit))
		return report(STATUS_USAGE, "%s: only services can keep settings in a drop-in; for this one: --now, or cramcg apply with a file",
			      unit);
	return set(ctx, path, asked.now ? NULL : unit, s, n, &asked);
}

const struct verb verb_set = {
	.name = "set", .args = "CGROUP|UNIT|PID KEY=VALUE...", .summary = "set limits, budgets and rights: all or nothing",
	.example = "cramcg set /tenants/a max=1G writable_budget=64M low=256M",
	.options = options, .completes = "cgroup", .run = run,
};

/* --- enable ---------------------------------------------------------------------- */

static const struct option_row no_options[] = { { 0 } };

static int run_enable(struct cramcg *ctx, int argc, char **argv)
{
	_cleanup_free_ char *path = NULL;
	int status;

	while (next_option(&verb_enable, argc, argv) != -1)
		;
	if (optind + 1 != argc)
		return report(STATUS_USAGE, "which cgroup? See cramcg enable --help");
	if (cramcg_available(ctx))
		return report(STATUS_MISSING, "%s", cramcg_error(ctx));
	status = find_cgroup(ctx, argv[optind], &path, NULL);
	if (status)
		return status;
	status = cramcg_enable(ctx, path);
	return status ? report_error(ctx, status) : 0;
}

const struct verb verb_enable = {
	.name = "enable", .args = "CGROUP|UNIT", .summary = "enable cram on the way from the root to a cgroup",
	.example = "cramcg enable /tenants/a",
	.options = no_options, .completes = "cgroup", .run = run_enable,
};

/* --- reclaim ----------------------------------------------------------------------- */

enum { O_TO = 256 };
static const struct option_row reclaim_options[] = {
	{ "to", O_TO, "swap|dram", "there only; else to swap, and the rest to memory" },
	{ 0 }
};

static int evict(struct slow *s)
{
	return cramcg_reclaim(s->ctx, s->path, s->bytes, s->to);
}

static uint64_t resident(struct slow *s)
{
	uint64_t bytes;

	return cramcg_read_bytes(s->ctx, s->path, "cram.current", &bytes) ? 0 : bytes;
}

static int run_reclaim(struct cramcg *ctx, int argc, char **argv)
{
	struct slow s = { .ctx = ctx, .run = evict, .usage = resident, .what = "evicting",
		.after_signal = "what was evicted stays so" };
	_cleanup_free_ char *path = NULL;
	uint64_t now;
	int c, status;

	while ((c = next_option(&verb_reclaim, argc, argv)) != -1)
		s.to = optarg;
	if (optind + 2 != argc)
		return report(STATUS_USAGE, "which cgroup, and how much? See cramcg reclaim --help");
	if (s.to && strcmp(s.to, "swap") && strcmp(s.to, "dram"))
		return report(STATUS_USAGE, "cram.reclaim: to=%s not written: it is swap or dram", s.to);
	if (cramcg_parse_size(argv[optind + 1], &s.bytes) || s.bytes >= CRAMCG_AUTO)
		return report(STATUS_USAGE, "cram.reclaim: \"%s\" not written: it takes a size in bytes, with K, M, G or T behind it",
			      argv[optind + 1]);
	if (cramcg_available(ctx))
		return report(STATUS_MISSING, "%s", cramcg_error(ctx));
	status = find_cgroup(ctx, argv[optind], &path, NULL);
	if (status)
		return status;
	s.path = path;
	now = resident(&s);
	s.target = now > s.bytes ? now - s.bytes : 0;
	return wait_for(&s);
}

const struct verb verb_reclaim = {
	.name = "reclaim", .args = "CGROUP|UNIT|PID SIZE", .summary = "evict so much of a cgroup now",
	.example = "cramcg reclaim /tenants/a 64M --to swap",
	.options = reclaim_options, .completes = "cgroup", .run = run_reclaim,
};
