// SPDX-License-Identifier: GPL-2.0-or-later
#define _GNU_SOURCE
#include <systemd/sd-journal.h>

#include "cramcg.h"
#include "note.h"

void note(int priority, const char *format, ...)
{
	_cleanup_free_ char *text = NULL;
	va_list ap;
	int len;

	va_start(ap, format);
	len = vasprintf(&text, format, ap);
	va_end(ap);
	if (len < 0) {
		text = NULL;
		return;
	}
	if (isatty(STDERR_FILENO) || !getenv("INVOCATION_ID") ||
	    sd_journal_send("MESSAGE=%s", text, "PRIORITY=%d", priority,
			    "SYSLOG_IDENTIFIER=cramcg", NULL) < 0)
		fprintf(stderr, "cramcg: %s\n", text);
}
