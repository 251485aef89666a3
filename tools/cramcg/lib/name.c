// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Names of cgroups may hold anything but "/" and NUL.  What a terminal would take for
 * an order is never printed: it becomes \xNN.  In files for "cramcg apply" a backslash
 * is doubled as well, so that a name can be read back.
 */
#define _GNU_SOURCE
#include <stdio.h>
#include <string.h>
#include <wchar.h>
#include <wctype.h>

#include "internal.h"

static char *escape(const char *name, bool exact)
{
	char *out = malloc(4 * strlen(name) + 1), *o = out;
	size_t left = strlen(name);
	mbstate_t state = { 0 };

	if (!out)
		return NULL;
	while (left) {
		wchar_t wide;
		size_t len = mbrtowc(&wide, name, left, &state);
		bool valid = len && len <= left;

		if (exact && *name == '\\') {
			*o++ = '\\';
			*o++ = '\\';
			len = 1;
		} else if (valid && iswprint(wide)) {
			memcpy(o, name, len);
			o += len;
		} else {
			/* A byte of a broken character, or all of an unprintable one */
			if (!valid) {
				memset(&state, 0, sizeof(state));
				len = 1;
			}
			for (size_t i = 0; i < len; i++)
				o += sprintf(o, "\\x%02x", (unsigned char)name[i]);
		}
		name += len;
		left -= len;
	}
	*o = '\0';
	return out;
}

char *cramcg_printable(const char *name)
{
	return escape(name, false);
}

char *cramcg_conf_quote(const char *path)
{
	return escape(path, true);
}
