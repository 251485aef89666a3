/* SPDX-License-Identifier: GPL-2.0 */
/*
 * TAP in thirty lines: "ok N - name" on standard output, the plan last, exit
 * status as kselftest wants it. Not kselftest.h, so that the tests build from a
 * bare directory as well as inside tools/testing/selftests.
 */
#ifndef TAP_H
#define TAP_H

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define TAP_EXIT_FAIL 1
#define TAP_EXIT_SKIP 4

/* One count for a program, however many of its files include this. */
__attribute__((weak)) int tap_count, tap_failed, tap_skipped;

static inline void tap_start(void)
{
	setvbuf(stdout, NULL, _IOLBF, 0);
	puts("TAP version 13");
}

/* A remark: shown, never judged. */
__attribute__((format(printf, 1, 2)))
static inline void tap_note(const char *fmt, ...)
{
	char line[1024];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(line, sizeof(line), fmt, ap);
	va_end(ap);
	printf("# %s\n", line);
}

/* One verdict; returns @good. */
__attribute__((format(printf, 2, 3)))
static inline int tap_ok(int good, const char *fmt, ...)
{
	char name[512];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(name, sizeof(name), fmt, ap);
	va_end(ap);
	tap_failed += !good;
	printf("%sok %d - %s\n", good ? "" : "not ", ++tap_count, name);
	return good;
}

static inline void tap_skip(const char *name, const char *missing)
{
	tap_skipped++;
	printf("ok %d - %s # SKIP %s\n", ++tap_count, name, missing);
}

/* Nothing here can be tried at all. */
static inline void tap_skip_all(const char *missing)
{
	printf("1..0 # SKIP %s\n", missing);
	exit(TAP_EXIT_SKIP);
}

static inline int tap_end(void)
{
	printf("1..%d\n", tap_count);
	if (tap_failed)
		tap_note("%d of %d failed", tap_failed, tap_count);
	if (tap_failed)
		return TAP_EXIT_FAIL;
	return tap_count && tap_count == tap_skipped ? TAP_EXIT_SKIP : 0;
}

#endif /* TAP_H */
