/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Small things that the library and the programs have in common; not installed. */
#ifndef CRAMCG_UTIL_H
#define CRAMCG_UTIL_H

#include <ctype.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static inline void free_pointer(void *p) { free(*(void **)p); }
static inline void close_fd(int *fd) { if (*fd >= 0) close(*fd); }
#define _cleanup_free_	__attribute__((cleanup(free_pointer)))
#define _cleanup_close_	__attribute__((cleanup(close_fd)))

/* Without white space around it; s is cut at the end */
static inline char *trim(char *s)
{
	char *end;

	while (isspace((unsigned char)*s))
		s++;
	end = s + strlen(s);
	while (end > s && isspace((unsigned char)end[-1]))
		end--;
	*end = '\0';
	return s;
}

/* Is there something before the suffix, too? */
static inline bool has_suffix(const char *name, const char *suffix)
{
	size_t len = strlen(name), end = strlen(suffix);

	return len > end && !strcmp(name + len - end, suffix);
}

#endif
