// SPDX-License-Identifier: GPL-2.0-or-later
/* cramcg apply, dump: settings as files that can be kept in a repository. */
#define _GNU_SOURCE
#include <dirent.h>
#include <errno.h>
#include <string.h>
#include <sys/stat.h>

#include "cramcg.h"

#define CONF_MAX	(4 << 20)

enum { O_CREATE = 256, O_NO_WAIT };
static const struct option_row options[] = {
	{ "dry-run", 'N', NULL, "show what differs, change nothing" },
	{ "create", O_CREATE, NULL, "make missing cgroups, enable cram on the way" },
	{ "no-wait", O_NO_WAIT, NULL, "do not wait until what is above a limit has left" },
	{ "json", 'J', NULL, "print the changes as JSON" },
	{ 0 }
};

struct apply {
	struct cramcg *ctx;
	struct cramcg_plan *plan;	/* NULL: the files are only checked */
	const char *file;
	bool create;
	int status;
};

/* Directories on the way, and cram in them; removed again by nobody: they are empty */
static int create(struct cramcg *ctx, const char *path)
{
	_cleanup_free_ char *failed = NULL;
	int err = make_cgroup(ctx, path, &failed);

	if (err)
		return report(STATUS_FAILED, "%s: %s", failed ? failed : path, strerror(-err));
	return cramcg_enable(ctx, path) ? report(STATUS_FAILED, "%s", cramcg_error(ctx)) : 0;
}

static int add(int object, const char *name, const struct cramcg_setting *s, int line, void *arg)
{
	_cleanup_free_ char *path = NULL;
	struct apply *a = arg;
	int err = 0;

	if (!a->plan)
		return 0;
	if (object == 'c' && a->create) {
		a->status = create(a->ctx, name);
		if (a->status)
			return 1;
	}
	if (object == 'c')
		err = cramcg_path(a->ctx, name, &path);
	if (!err)
		err = cramcg_plan_add(a->plan, object, path ? path : name, s);
	if (err) {
		a->status = report(status_of(err), "%s:%d: %s", a->file, line, cramcg_error(a->ctx));
		return 1;
	}
	return 0;
}

static char *read_conf(const char *name, size_t *len)
{
	_cleanup_fclose_ FILE *f = strcmp(name, "-") ? fopen(name, "re") : fdopen(dup(0), "re");
	char *text = f ? malloc(CONF_MAX + 1) : NULL;

	*len = text ? fread(text, 1, CONF_MAX + 1, f) : 0;
	if (text && !ferror(f) && *len <= CONF_MAX)
		return text;
	report(0, "%s: %s", name, text && *len > CONF_MAX ? "larger than 4M: this is no file of settings" :
	       strerror(errno));
	free(text);
	return NULL;
}

/* All files are checked before the first is planned, and all are planned before one is applied */
static int apply_file(struct apply *a, const char *name)
{
	_cleanup_free_ char *text = NULL;
	size_t len;
	int err;

	text = read_conf(name, &len);
	if (!text)
		return STATUS_FAILED;
	a->file = name;
	err = cramcg_conf_parse(a->ctx, name, text, len, add, a);
	if (err < 0)
		return report_error(a->ctx, err);
	return a->status;
}

static int is_conf(const struct dirent *e)
{
	size_t len = strlen(e->d_name);

	return *e->d_name != '.' && len > 5 && !strcmp(e->d_name + len - 5, ".conf");
}

/* DIR is its *.conf, in the order of their names */
static int for_each_file(struct apply *a, const char *name)
{
	struct dirent **found;
	struct stat st;
	int n, status = 0;

	if (stat(name, &st) || !S_ISDIR(st.st_mode))
		return apply_file(a, name);
	n = scandir(name, &found, is_conf, alphasort);
	if (n < 0)
		return report(STATUS_FAILED, "%s: %s", name, strerror(errno));
	for (int i = 0; i < n; i++) {
		_cleanup_free_ char *file = NULL;

		if (!status && asprintf(&file, "%s/%s", name, found[i]->d_name) >= 0)
			status = apply_file(a, file);
		free(found[i]);
	}
	free(found);
	return status;
}

static int run(struct cramcg *ctx, int argc, char **argv)
{
	struct apply a = { .ctx = ctx };
	bool dry = false, json = false, wait = true;
	int c, err, status = 0, first;

	while ((c = next_option(&verb_apply, argc, argv)) != -1) {
		dry |= c == 'N';
		json |= c == 'J';
		a.create |= c == O_CREATE;
		wait &= c != O_NO_WAIT;
	}
	first = optind;
	if (first == argc)
		return report(STATUS_USAGE, "which file or directory? See cramcg apply --help");
	/* What is read from a pipe is there only once */
	for (int i = first; i < argc && !status; i++)
		if (strcmp(argv[i], "-"))
			status = for_each_file(&a, argv[i]);
	if (status)
		return status;
	if (cramcg_available(ctx))
		return report(STATUS_MISSING, "%s", cramcg_error(ctx));
	a.create &= !dry;
	err = cramcg_plan_new(ctx, &a.plan);
	if (err)
		return report_error(ctx, err);
	for (int i = first; i < argc && !status; i++)
		status = for_each_file(&a, argv[i]);
	if (!status)
		print_plan(a.plan, json);
	if (!status && !dry) {
		err = cramcg_plan_commit(a.plan);
		status = err ? report_error(ctx, err) : 0;
		if (!status && wait)
			status = settle_plan(ctx, a.plan);
	}
	cramcg_plan_free(a.plan);
	return status;
}

const struct verb verb_apply = {
	.name = "apply", .args = "FILE|DIR...", .summary = "have the settings of a file; shows what differs first",
	.example = "cramcg apply --dry-run /etc/cramcg",
	.options = options, .completes = "file", .run = run,
};

/* --- dump ---------------------------------------------------------------------------- */

static const struct option_row dump_rows[] = {
	{ "all", 'a', NULL, "defaults, too" },
	{ 0 }
};

struct dump {
	bool all;
	bool open;		/* a section has begun */
};

static const struct { int object; const char *key, *value; } defaults[] = {
	{ 'c', "max", "max" }, { 'c', "low", "0" }, { 'c', "writable_budget", "inherit" },
	{ 'c', "nodes", "" }, { 'c', "node.max", "" }, { 'c', "page.max", "max" },
	{ 'c', "compressed.max", "max" }, { 'c', "compressed.low", "0" },
	{ 'n', "writable_budget", "auto" }, { 'n', "page_max", "max" }, { 'm', "enabled", "1" },
};

static bool is_default(int object, const char *key, const char *value)
{
	for (size_t i = 0; i < ARRAY_SIZE(defaults); i++)
		if (defaults[i].object == object && !strcmp(defaults[i].key, key))
			return !strcmp(defaults[i].value, value);
	return false;
}

static void begin(struct dump *d, const char *section)
{
	if (!d->open)
		printf("%s\n", section);
	d->open = true;
}

/* One line a setting; cram.node.max has one for each node */
static void put(struct dump *d, int object, const char *section, const char *key, char *value)
{
	char *line, *save = NULL;

	if (!d->all && is_default(object, key, value))
		return;
	if (strcmp(key, "node.max")) {
		begin(d, section);
		printf("%s = %s\n", key, value);
		return;
	}
	for (line = strtok_r(value, "\n", &save); line; line = strtok_r(NULL, "\n", &save)) {
		begin(d, section);
		line[strcspn(line, " ")] = ':';
		printf("%s = %s\n", key, line);
	}
}

struct dump_cgroups {
	struct cramcg *ctx;
	struct dump d;
};

static int dump_cgroup(const char *path, int dir, int depth, void *arg)
{
	struct dump_cgroups *c = arg;
	_cleanup_free_ char *quoted = NULL, *section = NULL;
	const char *key;

	(void)depth;
	if (!path[1])
		return 0;
	if (faccessat(dir, "cram.max", F_OK, 0))
		return CRAMCG_SKIP;
	quoted = cramcg_conf_quote(path);
	if (!quoted || asprintf(&section, "[cgroup %s]", quoted) < 0)
		return -ENOMEM;
	c->d.open = false;
	for (size_t i = 0; (key = cramcg_setting_name('c', i, NULL)); i++) {
		_cleanup_free_ char *file = NULL, *value = NULL;

		if (asprintf(&file, "cram.%s", key) >= 0 &&
		    !cramcg_read(c->ctx, path, file, &value))
			put(&c->d, 'c', section, key, value);
	}
	return 0;
}

static void dump_nodes(struct cramcg *ctx, bool all)
{
	_cleanup_free_ int *nodes = NULL;
	const char *key;
	size_t n = 0;

	cramcg_nodes(ctx, &nodes, &n);
	for (size_t k = 0; k < n; k++) {
		struct dump d = { .all = all };
		char section[32];

		snprintf(section, sizeof(section), "[node %d]", nodes[k]);
		for (size_t i = 0; (key = cramcg_setting_name('n', i, NULL)); i++) {
			_cleanup_free_ char *value = NULL;

			if (!cramcg_node_read(ctx, nodes[k], key, &value))
				put(&d, 'n', section, key, value);
		}
	}
}

static int run_dump(struct cramcg *ctx, int argc, char **argv)
{
	struct dump_cgroups c = { .ctx = ctx };
	_cleanup_free_ char *path = NULL;
	int err, status;

	while (next_option(&verb_dump, argc, argv) != -1)
		c.d.all = true;
	if (argc - optind > 1)
		return report(STATUS_USAGE, "%s: dump takes one cgroup, or none for all and the nodes", argv[optind + 1]);
	if (cramcg_available(ctx))
		return report(STATUS_MISSING, "%s", cramcg_error(ctx));
	status = find_cgroup(ctx, optind < argc ? argv[optind] : "/", &path, NULL);
	if (status)
		return status;
	puts("# cramcg dump");
	if (optind == argc)
		dump_nodes(ctx, c.d.all);
	err = cramcg_walk(ctx, path, dump_cgroup, &c);
	return err < 0 ? report_error(ctx, err) : 0;
}

const struct verb verb_dump = {
	.name = "dump", .args = "[CGROUP]", .summary = "the settings as a file for apply",
	.example = "cramcg dump > /etc/cramcg/all.conf",
	.options = dump_rows, .completes = "cgroup", .run = run_dump,
};
