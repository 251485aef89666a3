// SPDX-License-Identifier: GPL-2.0-or-later
/* Sizes, durations and the width of the terminal. */
#define _GNU_SOURCE
#include <errno.h>
#include <math.h>
#include <string.h>
#include <sys/ioctl.h>

#include "cramcg.h"

const char *size_text(char buf[SIZE_TEXT], uint64_t bytes, bool human)
{
	static const char suffixes[] = "BKMGTPE";
	double value = bytes;
	int i = 0;

	if (bytes == CRAMCG_MAX)
		return "max";
	if (bytes == CRAMCG_INHERIT)
		return "inherit";
	if (bytes == CRAMCG_AUTO)
		return "auto";
	if (bytes == UNKNOWN)
		return "-";
	if (!human) {
		snprintf(buf, SIZE_TEXT, "%ju", (uintmax_t)bytes);
		return buf;
	}
	/* 1023.96K would be rounded to 1024.0K */
	for (; value >= 1023.95 && suffixes[i + 1]; i++)
		value /= 1024;
	if (!bytes)
		return "0";
	if (value < 99.95 && fabs(value - round(value)) >= 0.05)
		snprintf(buf, SIZE_TEXT, "%.1f%c", value, suffixes[i]);
	else
		snprintf(buf, SIZE_TEXT, "%.0f%c", value, suffixes[i]);
	return buf;
}

/* "10", "1.5s", "10m", "2h" */
bool parse_duration(const char *text, double *seconds)
{
	char *end;
	double factor = 1;

	if (*text < '0' || *text > '9' || strspn(text, "0123456789.smh") != strlen(text))
		return false;
	errno = 0;
	*seconds = strtod(text, &end);
	if (*end == 'm')
		factor = 60;
	else if (*end == 'h')
		factor = 3600;
	if (*end && ((*end != 's' && factor == 1) || end[1]))
		return false;
	*seconds *= factor;
	return !errno && *seconds > 0 && *seconds <= 7 * 24 * 3600.0;
}

bool parse_number(const char *text, unsigned long most, unsigned long *number)
{
	if (!*text || strlen(text) > 9 || strspn(text, "0123456789") != strlen(text))
		return false;
	*number = strtoul(text, NULL, 10);
	return *number <= most;
}

int terminal_width(void)
{
	struct winsize size;
	const char *columns = getenv("COLUMNS");
	unsigned long n;

	if (columns && parse_number(columns, 10000, &n) && n)
		return n;
	if (!ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) && size.ws_col)
		return size.ws_col;
	return 80;
}
