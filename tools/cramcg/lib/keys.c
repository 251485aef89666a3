// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * All that can be set, in one table: what a value may be, and what it means.  A new
 * file of the kernel is a new row here.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "internal.h"

#define PAGE	4096

static const struct key keys[] = {
	{ 'c', "max", VALUE_SIZE | VALUE_MAX | VALUE_PAGES, "cram.current",
	  "logical bytes that may be resident" },
	{ 'c', "low", VALUE_SIZE | VALUE_MAX | VALUE_PAGES, NULL,
	  "protected when a node is short of cells" },
	{ 'c', "writable_budget", VALUE_SIZE | VALUE_MAX | VALUE_INHERIT | VALUE_PAGES,
	  "cram.writable_current", "bytes that may be written in place" },
	{ 'c', "nodes", VALUE_NODES, NULL, "nodes that pages may be demoted to" },
	{ 'c', "node.max", VALUE_NODE_SIZE, NULL, "the limit for one node: N1:64M" },
	{ 'c', "page.max", VALUE_SIZE | VALUE_MAX, NULL,
	  "compressed bytes that a page may take" },
	{ 'c', "compressed.max", VALUE_SIZE | VALUE_MAX | VALUE_PAGES, "cram.compressed.current",
	  "cells that may be taken, as estimated" },
	{ 'c', "compressed.low", VALUE_SIZE | VALUE_MAX | VALUE_PAGES, NULL,
	  "protected, counted in cells" },
	{ 'n', "reserve_bytes", VALUE_SIZE, NULL, "cells that no demotion may touch" },
	{ 'n', "low_bytes", VALUE_SIZE, NULL, "with fewer free cells the node is low" },
	{ 'n', "critical_bytes", VALUE_SIZE, NULL, "with fewer free cells it is critical" },
	{ 'n', "writable_budget", VALUE_SIZE | VALUE_AUTO | VALUE_PAGES, NULL,
	  "how much may be writable in place" },
	{ 'n', "page_max", VALUE_SIZE | VALUE_MAX, NULL,
	  "compressed bytes that a page may take" },
	{ 'n', "lease_ms", VALUE_NUMBER, NULL, "milliseconds that a reading is believed",
	  100, 60000 },
	{ 'n', "promote_hot_bytes_per_sec", VALUE_SIZE, NULL,
	  "promoted in a second for being read all the time" },
	{ 'm', "enabled", VALUE_NUMBER, NULL, "may pages be demoted at all", 0, 1 },
};

const char *cramcg_setting_name(int object, size_t i, const char **help)
{
	for (size_t k = 0; k < sizeof(keys) / sizeof(*keys); k++) {
		if (keys[k].object != object || i--)
			continue;
		if (help)
			*help = keys[k].help;
		return keys[k].name;
	}
	return NULL;
}

const struct key *find_key(struct cramcg *ctx, int object, const char *name)
{
	const char *plain = name;

	if (object == 'c' && !strncmp(name, "cram.", 5))
		plain = name + 5;
	for (size_t k = 0; k < sizeof(keys) / sizeof(*keys); k++)
		if (keys[k].object == object && !strcmp(keys[k].name, plain))
			return &keys[k];
	fail(ctx, EINVAL, "%s: there is no such setting of %s", name,
	     object == 'c' ? "a cgroup" : object == 'n' ? "a node" : "the machine");
	return NULL;
}

int key_file(const struct key *key, char **file)
{
	int len;

	len = asprintf(file, "%s%s", key->object == 'c' ? "cram." : "", key->name);
	return len < 0 ? -ENOMEM : 0;
}

/* What may be written, said in a sentence that fits behind "takes" */
static void describe(const struct key *key, char *buf, size_t size)
{
	if (key->kind & VALUE_NODES)
		snprintf(buf, size, "a list of nodes such as 1,3-4, empty for all that the parent has, or none");
	else if (key->kind & VALUE_NODE_SIZE)
		snprintf(buf, size, "a node and its limit, such as N1:64M or N1:max");
	else if (key->kind & VALUE_NUMBER)
		snprintf(buf, size, "a number from %ju to %ju", (uintmax_t)key->least,
			 (uintmax_t)key->most);
	else
		snprintf(buf, size, "a size in bytes, with K, M, G or T behind it%s%s%s",
			 key->kind & VALUE_MAX ? ", or max" : "",
			 key->kind & VALUE_INHERIT ? ", or inherit" : "",
			 key->kind & VALUE_AUTO ? ", or auto" : "");
}

static int bad(struct cramcg *ctx, const struct key *key, const char *value)
{
	char takes[128];

	describe(key, takes, sizeof(takes));
	return fail(ctx, EINVAL, "%s%s: \"%s\" not written: it takes %s",
		    key->object == 'c' ? "cram." : "", key->name, value, takes);
}

static int size_text(struct cramcg *ctx, const struct key *key, unsigned int kind,
		     const char *value, char **text)
{
	static const struct {
		uint64_t value;
		unsigned int kind;
	} words[] = {
		{ CRAMCG_MAX, VALUE_MAX }, { CRAMCG_INHERIT, VALUE_INHERIT },
		{ CRAMCG_AUTO, VALUE_AUTO },
	};
	uint64_t bytes;

	if (cramcg_parse_size(value, &bytes))
		return bad(ctx, key, value);
	for (size_t i = 0; i < sizeof(words) / sizeof(*words); i++) {
		if (bytes != words[i].value)
			continue;
		if (!(kind & words[i].kind))
			return bad(ctx, key, value);
		*text = strdup(value);
		return *text ? 0 : fail(ctx, ENOMEM, "out of memory");
	}
	/* A forgotten suffix would empty the cgroup */
	if (kind & VALUE_PAGES && bytes && bytes < PAGE)
		return fail(ctx, EINVAL, "%s%s: \"%s\" not written: that is less than a page of %d bytes; did you mean %sM? For nothing at all write 0",
			    key->object == 'c' ? "cram." : "", key->name, value, PAGE, value);
	if (kind & VALUE_PAGES)
		bytes -= bytes % PAGE;
	return asprintf(text, "%ju", (uintmax_t)bytes) < 0 ? fail(ctx, ENOMEM, "out of memory") : 0;
}

/* "1,3-4", as the kernel prints it */
static int nodes_text(struct cramcg *ctx, const struct key *key, const char *value, char **text)
{
	uint8_t set[CRAMCG_NODES_MAX / 8];
	size_t size;
	FILE *f;

	if (!strcmp(value, "none"))
		return (*text = strdup(value)) ? 0 : fail(ctx, ENOMEM, "out of memory");
	if (cramcg_parse_nodes(value, set))
		return bad(ctx, key, value);
	f = open_memstream(text, &size);
	if (!f)
		return fail(ctx, ENOMEM, "out of memory");
	for (int n = 0, last; n < CRAMCG_NODES_MAX; n++) {
		if (!(set[n / 8] & 1 << n % 8))
			continue;
		for (last = n; last + 1 < CRAMCG_NODES_MAX &&
		     set[(last + 1) / 8] & 1 << (last + 1) % 8; last++)
			;
		fprintf(f, "%s%d", ftell(f) ? "," : "", n);
		if (last > n)
			fprintf(f, "-%d", last);
		n = last;
	}
	return fclose(f) ? fail(ctx, ENOMEM, "out of memory") : 0;
}

static int node_size_text(struct cramcg *ctx, const struct key *key, const char *value,
			  char **text)
{
	_cleanup_free_ char *size = NULL;
	char *end;
	unsigned long node;
	int err;

	if (*value != 'N' || value[1] < '0' || value[1] > '9')
		return bad(ctx, key, value);
	node = strtoul(value + 1, &end, 10);
	if (node >= CRAMCG_NODES_MAX || (*end != ':' && *end != ' '))
		return bad(ctx, key, value);
	err = size_text(ctx, key, VALUE_SIZE | VALUE_MAX | VALUE_PAGES, end + 1, &size);
	if (err)
		return err;
	return asprintf(text, "N%lu %s", node, size) < 0 ? fail(ctx, ENOMEM, "out of memory") : 0;
}

int key_value(struct cramcg *ctx, const struct key *key, const char *value, char **text)
{
	uint64_t number;

	*text = NULL;
	if (key->kind & VALUE_NODES)
		return nodes_text(ctx, key, value, text);
	if (key->kind & VALUE_NODE_SIZE)
		return node_size_text(ctx, key, value, text);
	if (!(key->kind & VALUE_NUMBER))
		return size_text(ctx, key, key->kind, value, text);
	if (strspn(value, "0123456789") != strlen(value) || cramcg_parse_size(value, &number) ||
	    number < key->least || number > key->most)
		return bad(ctx, key, value);
	return asprintf(text, "%ju", (uintmax_t)number) < 0 ? fail(ctx, ENOMEM, "out of memory") : 0;
}

static int canonical(struct cramcg *ctx, int object, const struct cramcg_setting *s, char **text)
{
	const struct key *key = find_key(ctx, object, s->key);

	return key ? key_value(ctx, key, s->value, text) : -EINVAL;
}

int cramcg_canonical(struct cramcg *ctx, const struct cramcg_setting *s, char **text)
{
	return canonical(ctx, 'c', s, text);
}

int cramcg_node_canonical(struct cramcg *ctx, const struct cramcg_setting *s, char **text)
{
	return canonical(ctx, 'n', s, text);
}
