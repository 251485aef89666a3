// SPDX-License-Identifier: GPL-2.0-or-later
/* cramcg watch: events as they come, by poll() on cram.events. */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <string.h>
#include <sys/inotify.h>
#include <time.h>

#include "cramcg.h"

enum { O_LOCAL = 256 };
static const struct option_row options[] = {
	{ "json", 'J', NULL, "a JSON object on each line" },
	{ "local", O_LOCAL, NULL, "without the descendants: cram.events.local" },
	{ "count", 'c', "N", "end after so many lines" },
	{ 0 }
};

#define MOST_KEYS	32
struct event {
	char key[32];
	uint64_t count;
};
struct watched {
	char *path;
	int fd;
	struct event events[MOST_KEYS];
	int n;
	bool first;
	bool json;
	unsigned long printed;
};

static void print(struct watched *w, const char *key, uint64_t more, uint64_t count)
{
	_cleanup_free_ char *name = NULL, *safe = NULL;
	struct timespec now;
	struct tm tm;
	char when[32];

	clock_gettime(CLOCK_REALTIME, &now);
	localtime_r(&now.tv_sec, &tm);
	strftime(when, sizeof(when), w->json ? "%Y-%m-%dT%H:%M:%S%z" : "%H:%M:%S", &tm);
	if (w->json) {
		printf("{\"time\": \"%s\", \"cgroup\": ", when);
		json_string(stdout, w->path);
		fputs(", \"event\": ", stdout);
		json_string(stdout, key);
		printf(", \"new\": %ju, \"count\": %ju}\n", (uintmax_t)more, (uintmax_t)count);
	} else {
		name = cramcg_printable(w->path);
		safe = cramcg_printable(key);
		printf("%s %s %s +%ju (%ju)\n", when, name ? name : "?", safe ? safe : "?",
		       (uintmax_t)more, (uintmax_t)count);
	}
	w->printed++;
}

static void compare(const char *key, size_t len, uint64_t value, void *arg)
{
	struct watched *w = arg;
	int i;

	if (len >= sizeof(w->events[0].key))
		return;
	for (i = 0; i < w->n; i++)
		if (!strncmp(w->events[i].key, key, len) && !w->events[i].key[len])
			break;
	if (i == MOST_KEYS)
		return;
	if (i == w->n) {
		memcpy(w->events[i].key, key, len);
		w->n++;
	}
	if (value > w->events[i].count && !w->first)
		print(w, w->events[i].key, value - w->events[i].count, value);
	w->events[i].count = value;
}

/* false: the cgroup has gone */
static bool look(struct watched *w)
{
	char buf[4096];
	ssize_t len = pread(w->fd, buf, sizeof(buf) - 1, 0);

	if (len < 0)
		return false;
	buf[len] = '\0';
	cramcg_parse_keyed(buf, compare, w);
	w->first = false;
	fflush(stdout);
	return true;
}

/* kernfs has poll() report a change; ordinary files of a recorded tree need inotify */
static int watch(struct watched *w, const char *file, unsigned long most)
{
	_cleanup_close_ int notify = inotify_init1(IN_CLOEXEC | IN_NONBLOCK);
	struct pollfd fds[2] = { { .fd = w->fd, .events = POLLPRI }, { .fd = notify, .events = POLLIN } };
	char drop[4096];

	if (notify >= 0)
		inotify_add_watch(notify, file, IN_MODIFY | IN_CLOSE_WRITE | IN_DELETE_SELF);
	while (!most || w->printed < most) {
		if (!look(w))
			return report(0, "%s: the cgroup has gone", w->path);
		if (most && w->printed >= most)
			break;
		/* A cgroup that is removed need not wake anybody: look now and then */
		if (poll(fds, 2, 2000) < 0 && errno != EINTR)
			return report(STATUS_FAILED, "poll: %s", strerror(errno));
		while (notify >= 0 && read(notify, drop, sizeof(drop)) > 0)
			;
	}
	return 0;
}

static int run(struct cramcg *ctx, int argc, char **argv)
{
	struct watched w = { .fd = -1, .first = true };
	_cleanup_free_ char *path = NULL, *file = NULL;
	const char *name = "cram.events";
	unsigned long most = 0;
	int c, status;

	while ((c = next_option(&verb_watch, argc, argv)) != -1) {
		if (c == 'J')
			w.json = true;
		else if (c == O_LOCAL)
			name = "cram.events.local";
		else if (!parse_number(optarg, 999999999, &most) || !most)
			return report(STATUS_USAGE, "--count %s: it is a number from 1", optarg);
	}
	if (optind + 1 != argc)
		return report(STATUS_USAGE, "which cgroup? See cramcg watch --help");
	if (cramcg_available(ctx))
		return report(STATUS_MISSING, "%s", cramcg_error(ctx));
	status = find_cgroup(ctx, argv[optind], &path, NULL);
	if (status)
		return status;
	w.path = path;
	if (asprintf(&file, "%s%s/%s", cramcg_mount(ctx), path, name) < 0) {
		file = NULL;
		return report(STATUS_FAILED, "out of memory");
	}
	w.fd = open(file, O_RDONLY | O_CLOEXEC);
	if (w.fd < 0)
		return report(STATUS_FAILED, "%s: %s", file, errno == ENOENT ?
			      "there is no such file: cram is not enabled for this cgroup" : strerror(errno));
	status = watch(&w, file, most);
	close(w.fd);
	return status;
}

const struct verb verb_watch = {
	.name = "watch", .args = "CGROUP|UNIT|PID", .summary = "events of a cgroup as they come",
	.example = "cramcg watch --json /tenants/a",
	.options = options, .completes = "cgroup", .run = run,
};
