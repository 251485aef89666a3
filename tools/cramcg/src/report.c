// SPDX-License-Identifier: GPL-2.0-or-later
/* Messages and exit status. */
#define _GNU_SOURCE
#include <errno.h>
#include <stdarg.h>
#include <string.h>

#include "cramcg.h"

/* What arguments and cgroups are called is anybody's, so nothing is printed raw */
char *printable_text(const char *format, va_list ap)
{
	_cleanup_free_ char *text = NULL;

	if (vasprintf(&text, format, ap) < 0) {
		text = NULL;
		return NULL;
	}
	return cramcg_printable(text);
}

int report(int status, const char *format, ...)
{
	_cleanup_free_ char *safe = NULL;
	va_list ap;

	va_start(ap, format);
	safe = printable_text(format, ap);
	va_end(ap);
	fflush(stdout);
	fprintf(stderr, "cramcg: %s\n", safe ? safe : "out of memory");
	return status;
}

int status_of(int err)
{
	switch (-err) {
	case 0:
		return STATUS_OK;
	case EAGAIN:
	case EBUSY:
	case EINTR:
		return STATUS_PART;
	case EINVAL:
		return STATUS_USAGE;
	case ENOSYS:
		return STATUS_MISSING;
	default:
		return STATUS_FAILED;
	}
}

int report_error(struct cramcg *ctx, int err)
{
	return report(status_of(err), "%s", cramcg_error(ctx));
}

int close_stdout(int status)
{
	if (!fflush(stdout) && !ferror(stdout))
		return status;
	if (errno != EPIPE)
		report(0, "standard output: %s", strerror(errno));
	return status ? status : STATUS_FAILED;
}
