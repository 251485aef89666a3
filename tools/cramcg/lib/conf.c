// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * The format of settings files, cramcg.conf(5):
 *
 *	# a comment
 *	[cgroup /tenants/a]
 *	max = 64M
 *	[node 1]
 *	reserve_bytes = 16M
 *	[machine]
 *	enabled = 1
 */
#define _GNU_SOURCE
#include <ctype.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "internal.h"

struct conf {
	struct cramcg *ctx;
	const char *file;
	int line;
	int object;		/* 0: no section yet */
	char *name;
};

static int bad_line(struct conf *c, const char *why)
{
	return fail(c->ctx, EINVAL, "%s:%d: %s", c->file, c->line, why);
}

/* \\ and \xNN, in place; false for any other use of a backslash */
static bool unquote(char *s)
{
	char *o = s;

	while (*s) {
		unsigned int byte;
		char hex[3];

		if (*s != '\\') {
			*o++ = *s++;
			continue;
		}
		if (s[1] == '\\') {
			*o++ = '\\';
			s += 2;
			continue;
		}
		if (s[1] != 'x' || !isxdigit((unsigned char)s[2]) || !isxdigit((unsigned char)s[3]))
			return false;
		memcpy(hex, s + 2, 2);
		hex[2] = '\0';
		byte = strtoul(hex, NULL, 16);
		if (!byte)
			return false;
		*o++ = byte;
		s += 4;
	}
	*o = '\0';
	return true;
}

static int section(struct conf *c, char *text)
{
	size_t len = strlen(text);
	char *name;

	if (!len || text[len - 1] != ']')
		return bad_line(c, "a section ends with ]");
	text[len - 1] = '\0';
	name = text + strcspn(text, " \t");
	if (*name)
		*name++ = '\0';
	name += strspn(name, " \t");
	if (!strcmp(text, "cgroup")) {
		if (*name != '/' || !unquote(name))
			return bad_line(c, "the path of a cgroup starts with /, and a \\ in it is \\\\ or \\xNN");
		c->object = 'c';
	} else if (!strcmp(text, "node")) {
		if (!*name || strlen(name) > 4 || strspn(name, "0123456789") != strlen(name))
			return bad_line(c, "a node is a number");
		c->object = 'n';
	} else if (!strcmp(text, "machine") && !*name) {
		c->object = 'm';
	} else {
		return bad_line(c, "a section is [cgroup PATH], [node NUMBER] or [machine]");
	}
	free(c->name);
	c->name = strdup(name);
	return c->name ? 0 : fail(c->ctx, ENOMEM, "out of memory");
}

/* Settings are checked here, so that a mistake is found before anything is done */
static int setting(struct conf *c, char *text, cramcg_conf_fn fn, void *arg)
{
	char *equals = strchr(text, '=');
	_cleanup_free_ char *value = NULL;
	struct cramcg_setting s;
	const struct key *key;
	int err;

	if (!c->object)
		return bad_line(c, "a setting comes after a section such as [cgroup /tenants]");
	if (!equals)
		return bad_line(c, "a line is KEY = VALUE, [SECTION] or # COMMENT");
	*equals = '\0';
	s.key = trim(text);
	s.value = trim(equals + 1);
	key = find_key(c->ctx, c->object, s.key);
	err = key ? key_value(c->ctx, key, s.value, &value) : -EINVAL;
	if (err == -EINVAL) {
		_cleanup_free_ char *why = strdup(cramcg_error(c->ctx));

		return bad_line(c, why ? why : "");
	}
	return err ? err : fn(c->object, c->name, &s, c->line, arg);
}

int cramcg_conf_parse(struct cramcg *ctx, const char *name, const char *text, size_t len,
		      cramcg_conf_fn fn, void *arg)
{
	struct conf c = { .ctx = ctx, .file = name };
	const char *end = text + len;
	int err = 0;

	while (text < end && !err) {
		const char *eol = memchr(text, '\n', end - text);
		_cleanup_free_ char *line = NULL;
		char *t;

		if (!eol)
			eol = end;
		c.line++;
		if (memchr(text, '\0', eol - text)) {
			err = bad_line(&c, "a byte 0: this is no text file");
			break;
		}
		line = strndup(text, eol - text);
		if (!line) {
			err = fail(ctx, ENOMEM, "out of memory");
			break;
		}
		t = trim(line);
		if (*t == '[')
			err = section(&c, t + 1);
		else if (*t && *t != '#' && *t != ';')
			err = setting(&c, t, fn, arg);
		text = eol + 1;
	}
	free(c.name);
	return err;
}
