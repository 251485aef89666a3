/* SPDX-License-Identifier: GPL-2.0 */
/*
 * What the kernel's kselftest.h prints, with the plan at the end, because scenarios
 * are counted as they come; and lines whose length is bounded, by any process.
 */
#ifndef TAP_H
#define TAP_H

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "kselftest.h"

static inline void tap_start(void)
{
	ksft_print_header();
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
	ksft_print_msg("%s\n", line);
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
	ksft_test_result(good, "%s\n", name);
	return good;
}

static inline void tap_skip(const char *name, const char *missing)
{
	ksft_test_result_skip("%s: %s\n", name, missing);
}

/* What main() returns. */
static inline int tap_end(void)
{
	ksft_set_plan(ksft_test_num());
	ksft_print_cnts();
	if (ksft_get_fail_cnt() || ksft_get_error_cnt())
		return KSFT_FAIL;
	return ksft_get_pass_cnt() || !ksft_test_num() ? KSFT_PASS : KSFT_SKIP;
}

/* Nothing here can be tried at all, or nothing more. */
static inline void tap_skip_all(const char *missing)
{
	if (!ksft_test_num())
		ksft_exit_skip("%s\n", missing);
	tap_skip("all others", missing);
	exit(tap_end());
}

#endif /* TAP_H */
