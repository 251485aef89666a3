// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Writes that take time.  A child does the write, the parent watches: a signal ends the
 * child, and the kernel ends the write then with what was done so far.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <signal.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>

#include "cramcg.h"

static volatile sig_atomic_t got_signal;

static void on_signal(int number)
{
	got_signal = number;
}

/* What failed comes through the pipe: the library's sentence, the status as status */
static void child(struct slow *s, int out)
{
	const char *why;
	int err;

	signal(SIGINT, SIG_DFL);
	signal(SIGTERM, SIG_DFL);
	err = s->run(s);
	why = err ? cramcg_error(s->ctx) : "";
	if (write(out, why, strlen(why)) < 0)
		_exit(STATUS_FAILED);
	_exit(status_of(err));
}

static void progress(struct slow *s, uint64_t first)
{
	char now[SIZE_TEXT], goal[SIZE_TEXT];
	uint64_t usage = s->usage(s);
	int percent = 100;

	if (first > s->target && usage > s->target)
		percent = usage < first ? (first - usage) * 100 / (first - s->target) : 0;
	fprintf(stderr, "\r%s: %s left, to %s (%d %%) ", s->what, size_text(now, usage, true),
		size_text(goal, s->target, true), percent);
}

static int wait_child(struct slow *s, pid_t pid)
{
	uint64_t first = s->usage(s);
	bool show = isatty(STDERR_FILENO), shown = false;
	struct timespec tick = { .tv_nsec = 20 * 1000 * 1000 };
	int status = 0;

	for (int i = 0; !waitpid(pid, &status, WNOHANG); i++) {
		if (got_signal)
			kill(pid, SIGTERM);
		if (show && i && i % 10 == 0) {
			progress(s, first);
			shown = true;
		}
		nanosleep(&tick, NULL);
	}
	if (shown)
		fputs("\r\033[K", stderr);
	return status;
}

int wait_for(struct slow *s)
{
	struct sigaction action = { .sa_handler = on_signal }, was_int, was_term;
	char why[1024] = "";
	int out[2], status;
	ssize_t len;
	pid_t pid;

	fflush(NULL);
	if (pipe(out))
		return report(STATUS_FAILED, "pipe: %s", strerror(errno));
	got_signal = 0;
	sigaction(SIGINT, &action, &was_int);
	sigaction(SIGTERM, &action, &was_term);
	pid = fork();
	if (!pid) {
		close(out[0]);
		child(s, out[1]);
	}
	close(out[1]);
	status = pid < 0 ? -1 : wait_child(s, pid);
	len = read(out[0], why, sizeof(why) - 1);
	close(out[0]);
	sigaction(SIGINT, &was_int, NULL);
	sigaction(SIGTERM, &was_term, NULL);
	if (pid < 0)
		return report(STATUS_FAILED, "fork: %s", strerror(errno));
	if (got_signal) {
		report(0, "interrupted: %s", s->after_signal);
		return STATUS_PART;
	}
	if (len > 0)
		report(0, "%.*s", (int)len, why);
	return WIFEXITED(status) ? WEXITSTATUS(status) : STATUS_FAILED;
}
