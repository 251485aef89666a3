// SPDX-License-Identifier: GPL-2.0-or-later
/* Texts to numbers.  Nothing here touches a file; all of it is fuzzed. */
#define _GNU_SOURCE
#include <ctype.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "internal.h"

static const struct {
	const char *word;
	uint64_t value;
} size_words[] = {
	{ "max", CRAMCG_MAX }, { "inherit", CRAMCG_INHERIT }, { "auto", CRAMCG_AUTO },
};

/* Decimal digits at *text; moves *text behind them */
static bool parse_digits(const char **text, uint64_t *value)
{
	const char *p = *text;

	*value = 0;
	for (; *p >= '0' && *p <= '9'; p++) {
		if (__builtin_mul_overflow(*value, 10, value) ||
		    __builtin_add_overflow(*value, *p - '0', value))
			return false;
	}
	if (p == *text)
		return false;
	*text = p;
	return true;
}

int cramcg_parse_size(const char *text, uint64_t *bytes)
{
	static const char suffixes[] = "KMGT";
	const char *suffix;
	unsigned int shift;
	uint64_t value;

	for (size_t i = 0; i < sizeof(size_words) / sizeof(*size_words); i++) {
		if (strcmp(text, size_words[i].word))
			continue;
		*bytes = size_words[i].value;
		return 0;
	}
	if (!parse_digits(&text, &value))
		return -EINVAL;
	if (*text) {
		suffix = strchr(suffixes, toupper((unsigned char)*text));
		if (!suffix || text[1])
			return -EINVAL;
		shift = 10 * (suffix - suffixes + 1);
		if (value > UINT64_MAX >> shift)
			return -EINVAL;
		value <<= shift;
	}
	/* The topmost values are words */
	if (value >= CRAMCG_AUTO)
		return -EINVAL;
	*bytes = value;
	return 0;
}

int cramcg_parse_nodes(const char *text, uint8_t set[CRAMCG_NODES_MAX / 8])
{
	memset(set, 0, CRAMCG_NODES_MAX / 8);
	while (*text) {
		uint64_t from, to;

		if (!parse_digits(&text, &from))
			return -EINVAL;
		to = from;
		if (*text == '-') {
			text++;
			if (!parse_digits(&text, &to))
				return -EINVAL;
		}
		if (to < from || to >= CRAMCG_NODES_MAX)
			return -EINVAL;
		for (; from <= to; from++)
			set[from / 8] |= 1 << from % 8;
		if (*text == ',' && text[1])
			text++;
		else if (*text)
			return -EINVAL;
	}
	return 0;
}

void cramcg_parse_keyed(const char *text, cramcg_key_fn fn, void *arg)
{
	while (*text) {
		const char *p = text;
		uint64_t value;
		size_t len;

		while (*p && *p != ' ' && *p != '\n')
			p++;
		len = p - text;
		if (len && *p == ' ') {
			p++;
			if (parse_digits(&p, &value) && (*p == '\n' || !*p))
				fn(text, len, value, arg);
		}
		text = strchrnul(p, '\n');
		if (*text)
			text++;
	}
}

void cramcg_parse_numa(const char *text, const char *key, cramcg_node_fn fn, void *arg)
{
	size_t len = strlen(key);

	while (*text && (strncmp(text, key, len) || text[len] != ' ')) {
		text = strchrnul(text, '\n');
		if (*text)
			text++;
	}
	text += *text ? len : 0;
	while (*text == ' ') {
		uint64_t node, value;

		text++;
		if (*text++ != 'N' || !parse_digits(&text, &node) || *text++ != '=' ||
		    !parse_digits(&text, &value) || node >= CRAMCG_NODES_MAX)
			return;
		fn(node, value, arg);
	}
}
