// SPDX-License-Identifier: GPL-2.0-or-later
/* libFuzzer over all that parses: the first byte chooses the parser. */
#define _GNU_SOURCE
#include <string.h>

#include "../src/cramcg.h"
#include "../src/dropin.h"
#include "../src/smaps.h"
#include "../src/unit-file.h"

static void see_key(const char *key, size_t len, uint64_t value, void *arg)
{
	*(uint64_t *)arg += value + key[len - 1];
}

static void see_node(int node, uint64_t value, void *arg)
{
	*(uint64_t *)arg += node + value;
}

static int see_setting(int object, const char *name, const struct cramcg_setting *s, int line, void *arg)
{
	*(uint64_t *)arg += object + line + strlen(name) + strlen(s->key) + strlen(s->value);
	return 0;
}

/* A name that was quoted for a file has to come back the same */
static int same_name(int object, const char *name, const struct cramcg_setting *s, int line, void *arg)
{
	(void)object, (void)s, (void)line;
	if (strcmp(name, arg))
		abort();
	return 0;
}

static void round_trip(struct cramcg *ctx, const char *text)
{
	_cleanup_free_ char *name = NULL, *quoted = NULL, *file = NULL;

	if (asprintf(&name, "/%s", text) < 0 || !(quoted = cramcg_conf_quote(name)) ||
	    asprintf(&file, "[cgroup %s]\nmax=max\n", quoted) < 0)
		abort();
	if (cramcg_conf_parse(ctx, "fuzz", file, strlen(file), same_name, name))
		abort();
}

static void canonical(struct cramcg *ctx, int object, char *text)
{
	char *value = strchr(text, '=');
	struct cramcg_setting s = { text, value ? value + 1 : "" };
	char *once = NULL, *twice = NULL;

	if (value)
		*value = '\0';
	if (object == 'c' ? cramcg_canonical(ctx, &s, &once) : cramcg_node_canonical(ctx, &s, &once))
		return;
	/* What we would write has to be taken again, and mean the same */
	s.value = once;
	if ((object == 'c' ? cramcg_canonical(ctx, &s, &twice) : cramcg_node_canonical(ctx, &s, &twice)) ||
	    strcmp(once, twice))
		abort();
	free(once);
	free(twice);
}

static void parse_look(const char *text, size_t len)
{
	struct look *l = look_new();

	if (!look_parse(l, text, len))
		look_find(l, 7, "/b");
	look_free(l);
}

static void merge(const char *text)
{
	struct cramcg_setting s[] = { { "max", "64M" }, { "node.max", "N1:1M" } };
	char *once = dropin_merge(text, s, 2), *twice = dropin_merge(once, s, 2);

	if (strcmp(once, twice))
		abort();
	free(once);
	free(twice);
}

static void see_fault(const char *message, bool fault, void *arg)
{
	*(uint64_t *)arg += strlen(message) + fault;
}

/* What one file says, said by another in the same words, has to be the same */
static void unit_file(struct cramcg *ctx, const char *text, size_t len, uint64_t *sum)
{
	struct unit_settings once = { 0 }, twice = { 0 };

	unit_settings_parse(ctx, &once, "Service", "fuzz", text, len, see_fault, sum);
	for (size_t i = 0; i < once.n; i++) {
		_cleanup_free_ char *line = NULL, *value = strdup(once.list[i].s.value);

		for (char *p = value; *p; p++)
			*p = *p == ' ' ? ':' : *p;
		if (asprintf(&line, "[Service]\n%s=%s", once.list[i].property, value) < 0)
			abort();
		unit_settings_parse(ctx, &twice, "Service", "fuzz", line, strlen(line), see_fault, sum);
	}
	if (once.n != twice.n || twice.faults || once.n > len)
		abort();
	unit_settings_free(&once);
	unit_settings_free(&twice);
}

static void mappings(const char *text, size_t len, uint64_t *sum)
{
	FILE *f = len ? fmemopen((void *)text, len, "r") : NULL;
	struct mapping all;
	struct smaps m;

	if (!f)
		return;
	if (smaps_parse(f, &m))
		abort();
	for (size_t i = 0; i < m.n; i++) {
		if (m.list[i].from >= m.list[i].to)
			abort();
		*sum += mapping_left(&m.list[i]) + strlen(m.list[i].name);
	}
	smaps_free(&m);
	rewind(f);
	rollup_parse(f, &all);
	fclose(f);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static struct cramcg *ctx;
	uint8_t set[CRAMCG_NODES_MAX / 8];
	uint64_t bytes = 0;
	double seconds;
	char *text;

	if (!ctx && cramcg_new(&ctx, "/nonexistent"))
		abort();
	if (!size)
		return 0;
	text = strndup((const char *)data + 1, size - 1);
	switch (*data % 12) {
	case 0: cramcg_parse_size(text, &bytes); break;
	case 1: cramcg_parse_nodes(text, set); break;
	case 2: cramcg_parse_keyed(text, see_key, &bytes); break;
	case 3: cramcg_parse_numa(text, "resident", see_node, &bytes); break;
	case 4: cramcg_conf_parse(ctx, "fuzz", (const char *)data + 1, size - 1, see_setting, &bytes); break;
	case 5: round_trip(ctx, text); break;
	case 6: canonical(ctx, 'c', text); break;
	case 7: canonical(ctx, 'n', text); break;
	case 8: parse_look((const char *)data + 1, size - 1); break;
	case 9: parse_duration(text, &seconds); merge(text); break;
	case 10: unit_file(ctx, (const char *)data + 1, size - 1, &bytes); break;
	case 11: mappings((const char *)data + 1, size - 1, &bytes); break;
	}
	free(text);
	return 0;
}
