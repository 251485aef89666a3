// SPDX-License-Identifier: GPL-2.0-or-later
/* key=value arguments, and the changes that they come to: for set, node, apply. */
#define _GNU_SOURCE
#include <errno.h>
#include <string.h>
#include <sys/stat.h>

#include "cramcg.h"

int make_cgroup(struct cramcg *ctx, const char *path, char **failed)
{
	_cleanup_free_ char *dir = NULL;
	size_t from = strlen(cramcg_mount(ctx)) + 1;

	*failed = NULL;
	if (asprintf(&dir, "%s%s", cramcg_mount(ctx), path) < 0) {
		dir = NULL;
		return -ENOMEM;
	}
	for (char *slash = strchrnul(dir + from, '/'); ; slash = strchrnul(slash + 1, '/')) {
		bool last = !*slash;

		*slash = '\0';
		if (mkdir(dir, 0755) && errno != EEXIST) {
			int err = -errno;

			*failed = dir;
			dir = NULL;
			return err;
		}
		if (last)
			return 0;
		*slash = '/';
	}
}

bool split_settings(int argc, char **argv, struct cramcg_setting *s)
{
	for (int i = 0; i < argc; i++) {
		char *equals = strchr(argv[i], '=');

		if (!equals || equals == argv[i]) {
			report(0, "%s: a setting is KEY=VALUE, such as max=64M", argv[i]);
			return false;
		}
		*equals = '\0';
		s[i] = (struct cramcg_setting) { argv[i], equals + 1 };
	}
	return true;
}

static const char *object_name(const struct cramcg_change *c, char buf[32])
{
	if (c->object == 'c')
		return c->name;
	if (c->object == 'm')
		return "machine";
	snprintf(buf, 32, "node %s", c->name);
	return buf;
}

static void print_json(const struct cramcg_change *c, bool first)
{
	char buf[32];

	fputs(first ? "\n    {\"object\": " : ",\n    {\"object\": ", stdout);
	json_string(stdout, object_name(c, buf));
	fputs(", \"key\": ", stdout);
	json_string(stdout, c->key);
	fputs(", \"old\": ", stdout);
	json_string(stdout, c->old);
	fputs(", \"new\": ", stdout);
	json_string(stdout, c->new);
	printf(", \"waits\": %s}", c->waits ? "true" : "false");
}

static void print_line(const struct cramcg_change *c)
{
	_cleanup_free_ char *name = NULL;
	char buf[32];

	name = cramcg_printable(object_name(c, buf));
	printf("%s %s: %s -> %s\n", name ? name : "?", c->key, *c->old ? c->old : "(empty)",
	       *c->new ? c->new : "(empty)");
}

size_t print_plan(struct cramcg_plan *plan, bool json)
{
	struct cramcg_change c;
	size_t n = 0;

	if (json)
		fputs("{\"changes\": [", stdout);
	for (size_t i = 0; i < cramcg_plan_size(plan); i++) {
		cramcg_plan_get(plan, i, &c);
		if (!c.differs)
			continue;
		if (json)
			print_json(&c, !n);
		else
			print_line(&c);
		n++;
	}
	if (json)
		puts(n ? "\n]}" : "]}");
	return n;
}

static int settle(struct slow *s)
{
	return cramcg_settle(s->ctx, s->path, s->key);
}

static void on_node(int node, uint64_t bytes, void *arg)
{
	struct slow *s = arg;

	if (node == s->node)
		s->bytes = bytes;
}

static uint64_t usage(struct slow *s)
{
	_cleanup_free_ char *text = NULL;
	struct sample sample;

	if (s->node >= 0) {
		if (!cramcg_read(s->ctx, s->path, "cram.numa_stat", &text))
			cramcg_parse_numa(text, "resident", on_node, s);
		return s->bytes;
	}

	if (sample_path(s->ctx, s->path, READ_USAGE, &sample))
		return 0;
	if (strstr(s->key, "writable"))
		return sample.writable;
	return strstr(s->key, "compressed") ? sample.compressed : sample.current;
}

/* Wait where a lowered limit evicts or revokes; all limits are in force already */
int settle_plan(struct cramcg *ctx, struct cramcg_plan *plan)
{
	int status = STATUS_OK;

	for (size_t i = 0; i < cramcg_plan_size(plan); i++) {
		struct cramcg_change c;
		struct slow s = { .ctx = ctx, .run = settle, .usage = usage,
			.after_signal = "the limit is in force; what is above it stays until it leaves by itself" };
		int one;

		cramcg_plan_get(plan, i, &c);
		if (!c.waits)
			continue;
		s.path = c.name;
		s.key = c.key;
		s.what = strstr(c.key, "writable") ? "revoking" : "evicting";
		/* "N1 67108864" is of one node */
		s.node = *c.new == 'N' ? atoi(c.new + 1) : -1;
		cramcg_parse_size(s.node < 0 ? c.new : strchr(c.new, ' ') + 1, &s.target);
		one = wait_for(&s);
		if (one > status)
			status = one;
	}
	return status;
}
