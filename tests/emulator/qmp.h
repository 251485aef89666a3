/* SPDX-License-Identifier: GPL-2.0 */
/*
 * The emulated device's view, from inside the guest: tests/vm/run gives guests
 * of DEVICE=cxl a port on which QEMU's monitor answers.
 */
#ifndef QMP_H
#define QMP_H

#include "util.h"

#include <dirent.h>
#include <fcntl.h>
#include <poll.h>
#include <stdarg.h>
#include <unistd.h>

#define QMP_ANSWER	4096

static int qmp_port = -1;
/* The last answer, for who wants more of it than one number. */
static char qmp_answer[QMP_ANSWER];

/* The port, or skip the scenario. */
static void qmp_open(void)
{
	char path[600], name[64];
	struct dirent *d;
	DIR *dir = opendir("/sys/class/virtio-ports");

	if (!dir)
		skip("no virtio ports: not a guest of DEVICE=cxl");
	while (qmp_port < 0 && (d = readdir(dir))) {
		snprintf(path, sizeof(path), "/sys/class/virtio-ports/%s/name", d->d_name);
		if (read_text(path, name, sizeof(name)) < 0 || strncmp(name, "org.cram.qmp", 12))
			continue;
		snprintf(path, sizeof(path), "/dev/%s", d->d_name);
		qmp_port = open(path, O_RDWR | O_CLOEXEC);
	}
	closedir(dir);
	if (qmp_port < 0)
		skip("no port org.cram.qmp");
}

/* One line into qmp_answer; false after ten seconds of silence. */
static bool qmp_line(void)
{
	struct pollfd p = { .fd = qmp_port, .events = POLLIN };
	size_t len = 0;

	while (poll(&p, 1, 10000) == 1 && read(qmp_port, qmp_answer + len, 1) == 1) {
		if (qmp_answer[len] == '\n') {
			qmp_answer[len] = '\0';
			return true;
		}
		if (len < sizeof(qmp_answer) - 2)
			len++;
	}
	return false;
}

/*
 * Execute one command; what is behind "execute" is given as for printf. CHECKs
 * that it succeeds.
 */
__attribute__((format(printf, 1, 2)))
static void qmp(const char *fmt, ...)
{
	static unsigned int serial;
	static const char hello[] = "{\"execute\": \"qmp_capabilities\", \"id\": \"hello\"}\n";
	char line[1000], id[64];
	va_list args;
	int len, n;

	if (qmp_port < 0)
		qmp_open();
	/* Fails when it was said before; nobody reads that answer. */
	CHECK_EQ(write(qmp_port, hello, sizeof(hello) - 1), sizeof(hello) - 1);

	snprintf(id, sizeof(id), "\"id\": \"t%d.%u\"", getpid(), serial++);
	len = snprintf(line, sizeof(line), "{%s, \"execute\": ", id);
	va_start(args, fmt);
	n = vsnprintf(line + len, sizeof(line) - len - 3, fmt, args);
	va_end(args);
	CHECK(n > 0 && len + n < (int)sizeof(line) - 3);
	strcat(line, "}\n");
	len = strlen(line);
	CHECK_EQ(write(qmp_port, line, len), len);

	do
		CHECK(qmp_line(), "no answer to %s", line);
	while (!strstr(qmp_answer, id));
	CHECK(strstr(qmp_answer, "\"return\""), "%s: %s", line, qmp_answer);
}

/* A number of the last answer. */
static int64_t qmp_number(const char *key)
{
	char want[64];
	const char *p;

	snprintf(want, sizeof(want), "\"%s\": ", key);
	p = strstr(qmp_answer, want);
	CHECK(p, "no %s in %s", key, qmp_answer);
	return strtoll(p + strlen(want), NULL, 10);
}

#define DEVICE_PATH	"\"path\": \"/machine/peripheral/cram0\""

/* A number of the device, as it is now. */
__attribute__((unused))
static int64_t device_number(const char *key)
{
	qmp("\"cxl-cram-query\", \"arguments\": {" DEVICE_PATH "}");
	return qmp_number(key);
}

/* Set faults: "\"drop\": true". */
__attribute__((unused))
static void device_fault(const char *what)
{
	qmp("\"cxl-cram-set-fault\", \"arguments\": {" DEVICE_PATH ", %s}", what);
}

__attribute__((unused))
static void device_heal(void)
{
	device_fault("\"physical-free\": -1, \"opcode\": 0, \"delay\": 0, \"return-code\": 0, \"drop\": false, \"no-interrupts\": false");
}

#endif /* QMP_H */
