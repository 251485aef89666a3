// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * A kernel for recorded trees, as far as tests need one: preloaded, it sees what is
 * written to ordinary files and answers as the kernel would.
 *
 *	FAKE_FAIL="cram.low=ENOMEM cram.max=EINTR"	writes to these files fail so
 *	FAKE_SLOW=cram.max		blocking writes there sleep until a signal
 *	FAKE_RUN="cram.max=COMMAND"	what another process does at the first write there
 *					("flock=COMMAND": when a directory is locked;
 *					"process_madvise=COMMAND")
 *	FAKE_LOG=FILE			a line for each vector of process_madvise(2): the
 *					process, the address, the length
 *	FAKE_MOST=BYTES			it looks at so much in one call
 *
 * FAKE_FAIL has "process_madvise=EPERM" for each call of it, and "7f0000000000=EINVAL" for
 * the vector with that address.
 *
 * "+cram" and "-cram" in cgroup.subtree_control change the list that is in it, and a
 * line of cram.node.max replaces the one of its node.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/uio.h>
#include <unistd.h>

static ssize_t (*real_write)(int, const void *, size_t);
static int (*real_openat)(int, const char *, int, ...);
static int (*real_flock)(int, int);

static const struct { const char *name; int err; } errors[] = {
	{ "EINVAL", EINVAL }, { "ENOMEM", ENOMEM }, { "EBUSY", EBUSY }, { "EINTR", EINTR },
	{ "EAGAIN", EAGAIN }, { "EACCES", EACCES }, { "ENODEV", ENODEV },
	{ "EPERM", EPERM }, { "ESRCH", ESRCH }, { "ENOSYS", ENOSYS },
};

static __attribute__((constructor)) void init(void)
{
	real_write = dlsym(RTLD_NEXT, "write");
	real_openat = dlsym(RTLD_NEXT, "openat");
	real_flock = dlsym(RTLD_NEXT, "flock");
}

static const char *base_of(int fd, char path[4096])
{
	char link[64];
	ssize_t len;

	snprintf(link, sizeof(link), "/proc/self/fd/%d", fd);
	len = readlink(link, path, 4095);
	path[len < 0 ? 0 : len] = '\0';
	return strrchr(path, '/') ? strrchr(path, '/') + 1 : path;
}

/* The errno that FAKE_FAIL has for this file, or 0 */
static int failure(const char *file)
{
	const char *rules = getenv("FAKE_FAIL"), *p;
	size_t len = strlen(file);

	for (p = rules; p && (p = strstr(p, file)); p += len) {
		if ((p != rules && p[-1] != ' ') || p[len] != '=')
			continue;
		for (size_t i = 0; i < sizeof(errors) / sizeof(*errors); i++)
			if (!strncmp(p + len + 1, errors[i].name, strlen(errors[i].name)))
				return errors[i].err;
	}
	return 0;
}

/* Once, and without this library */
static void run_other(const char *file)
{
	static int done;
	const char *run = getenv("FAKE_RUN");
	size_t len = strlen(file);
	char command[4096];

	if (done || !run || strncmp(run, file, len) || run[len] != '=')
		return;
	done = 1;
	snprintf(command, sizeof(command), "unset LD_PRELOAD; %s", run + len + 1);
	if (system(command))
		abort();
}

int flock(int fd, int operation)
{
	if (!(operation & LOCK_UN))
		run_other("flock");
	return real_flock(fd, operation);
}

/* The file descriptor is that of a directory of the recorded tree: proc/PID */
ssize_t process_madvise(int fd, const struct iovec *v, size_t n, int advice, unsigned int flags)
{
	const char *most = getenv("FAKE_MOST"), *log = getenv("FAKE_LOG");
	size_t room = most ? strtoull(most, NULL, 0) : SIZE_MAX, sum = 0;
	char path[4096], address[32];
	FILE *f = log ? fopen(log, "a") : NULL;
	int err = failure("process_madvise");

	(void)advice, (void)flags;
	run_other("process_madvise");
	for (size_t i = 0; i < n && !err && room; i++) {
		size_t len = v[i].iov_len < room ? v[i].iov_len : room;

		snprintf(address, sizeof(address), "%jx", (uintmax_t)(uintptr_t)v[i].iov_base);
		if (f)
			fprintf(f, "%s %s %zx\n", base_of(fd, path), address, len);
		err = failure(address);
		if (err)
			break;
		sum += len;
		room -= len;
	}
	if (f)
		fclose(f);
	if (sum || !err)
		return sum;
	errno = err;
	return -1;
}

static int is_slow(const char *file)
{
	const char *slow = getenv("FAKE_SLOW");

	return slow && !strcmp(slow, file);
}

/* What a file held before it is opened for writing, so that it can be merged */
static char before[4096];

int openat(int dir, const char *file, int flags, ...)
{
	const char *name = strrchr(file, '/') ? strrchr(file, '/') + 1 : file;

	if (flags & O_WRONLY && flags & O_TRUNC && failure(name) != EACCES) {
		int fd = real_openat(dir, file, O_RDONLY | O_CLOEXEC);
		ssize_t len = fd < 0 ? 0 : read(fd, before, sizeof(before) - 1);

		before[len < 0 ? 0 : len] = '\0';
		if (fd >= 0)
			close(fd);
		/* A failed write changes nothing, and one that waits has been done before */
		if (failure(name) || is_slow(name))
			flags &= ~O_TRUNC;
	}
	if ((flags & O_WRONLY || !strcmp(name, "smaps")) && failure(name) == EACCES) {
		errno = EACCES;
		return -1;
	}
	return real_openat(dir, file, flags, 0644);
}

static ssize_t write_control(int fd, const char *text, size_t len)
{
	char out[8192], *o = out, *word, *save = NULL;

	for (word = strtok_r(before, " \n", &save); word; word = strtok_r(NULL, " \n", &save))
		if (strcmp(word, "cram"))
			o += sprintf(o, "%s ", word);
	if (len && *text == '+')
		o += sprintf(o, "%.*s", (int)strcspn(text + 1, "\n"), text + 1);
	*o++ = '\n';
	return real_write(fd, out, o - out) < 0 ? -1 : (ssize_t)len;
}

static ssize_t write_node_max(int fd, const char *text, size_t len)
{
	char out[8192], *o = out, *line, *save = NULL;
	size_t key = strcspn(text, " ") + 1;

	for (line = strtok_r(before, "\n", &save); line; line = strtok_r(NULL, "\n", &save))
		if (strncmp(line, text, key))
			o += sprintf(o, "%s\n", line);
	if (strncmp(text + key, "max", 3))
		o += sprintf(o, "%.*s\n", (int)strcspn(text, "\n"), text);
	return real_write(fd, out, o - out) < 0 ? -1 : (ssize_t)len;
}

ssize_t write(int fd, const void *data, size_t len)
{
	char path[4096];
	const char *file;
	int err;

	if (fd <= 2)
		return real_write(fd, data, len);
	file = base_of(fd, path);
	run_other(file);
	err = failure(file);
	if (err) {
		errno = err;
		return -1;
	}
	if (is_slow(file) && !(fcntl(fd, F_GETFL) & O_NONBLOCK)) {
		/* So that the test knows that it waits */
		if (getenv("FAKE_STARTED"))
			close(open(getenv("FAKE_STARTED"), O_CREAT | O_WRONLY, 0644));
		pause();
	}
	if (!strcmp(file, "cgroup.subtree_control"))
		return write_control(fd, data, len);
	if (!strcmp(file, "cram.node.max"))
		return write_node_max(fd, data, len);
	return real_write(fd, data, len);
}
