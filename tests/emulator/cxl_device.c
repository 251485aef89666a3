// SPDX-License-Identifier: GPL-2.0
/*
 * The emulated device, register by register, against
 * Documentation/driver-api/cxl/cram-device.rst: no driver is bound; mailbox and
 * decoders are driven through the BARs, the memory is reached through the module
 * cxl_window.
 *
 * Runs in a guest of DEVICE=cxl, in both modes of the device; what is different
 * there is asked of the device itself (capability flag 1). With the argument
 * "bench" it measures memset instead.
 */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include "tap.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <sched.h>
#include <setjmp.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define PAGE		4096UL
#define LINE		64UL
#define MIB		(1024UL * 1024)

/* Mailbox return codes */
enum {
	OK = 0, INVALID_INPUT = 2, UNSUPPORTED = 3, INTERNAL_ERROR = 4,
	RETRY_REQUIRED = 5, INVALID_PA = 0xf, INVALID_LENGTH = 0x16,
	BACKGROUND = 1, BUSY = 6, TIMED_OUT = -1,
};

enum {
	GET_EVENTS = 0x0100, CLEAR_EVENTS = 0x0101, GET_POLICY = 0x0102,
	SET_POLICY = 0x0103, GET_LOG = 0x0401, GET_FEATURES = 0x0500,
	GET_FEATURE = 0x0501, SET_FEATURE = 0x0502, POISON_LIST = 0x4300,
	POISON_INJECT = 0x4301, POISON_CLEAR = 0x4302, SCAN_MEDIA = 0x4304,
	SANITIZE = 0x4400, MEDIA = 0x4402,
	CAPABILITIES = 0xc000, CAPACITY = 0xc001, GET_MARKS = 0xc002,
	SET_MARKS = 0xc003, HOT_PAGES = 0xc004,
};

enum { BELOW_LOW = 1, BELOW_CRITICAL, ABOVE_LOW, OVER_CAPACITY, HOT };
enum { LOG_INFO, LOG_WARN };

#define packed __attribute__((packed))

struct packed capabilities {
	uint64_t logical, physical;
	uint32_t cells_per_page, block;
	uint16_t max_ranges, max_answer_ms;
	uint32_t flags;
	uint64_t reset_count;
	uint8_t reserved[24];
};

struct packed capacity {
	uint64_t free, low_water, over, unsettled, reset_count;
	uint32_t flags;
	uint8_t reserved[20];
};

struct packed marks { uint64_t low, critical; };
struct packed range { uint64_t dpa, length; };

struct packed media {
	uint8_t class, subclass;
	uint16_t reserved;
	uint32_t count;
	struct range range[128];
};

struct packed event {
	uint8_t uuid[16], length, flags[3];
	uint16_t handle, related;
	uint64_t timestamp;
	uint8_t class, reserved[15];
	uint8_t kind, reserved1[7];
	uint64_t free, over;
	uint8_t reserved2[56];
};

/* In the byte order of the wire: as the text of the UUID reads */
static const uint8_t feature_uuid[16] = {
	0xbe, 0x07, 0xbe, 0x5e, 0xc5, 0x37, 0x4b, 0x02,
	0xa7, 0x08, 0x89, 0xca, 0xb8, 0x0b, 0x33, 0xf2,
};
static const uint8_t event_uuid[16] = {
	0x8c, 0x84, 0xdd, 0x38, 0xeb, 0x40, 0x43, 0xb0,
	0x8d, 0xe5, 0xf4, 0x43, 0xda, 0x6c, 0xe2, 0x64,
};

static char pci[256];			/* the device's directory in sysfs */
static volatile uint8_t *comp, *regs;	/* BAR 0 and 2 */
static volatile uint8_t *mbox, *hdm;
static size_t payload_max;
static uint64_t window;
static uint8_t *mem;			/* the fixed window */
static struct capabilities caps;
static bool exact;

static void die(const char *what)
{
	printf("Bail out! %s: %s\n", what, strerror(errno));
	exit(1);
}

static uint64_t now_ms(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return t.tv_sec * 1000UL + t.tv_nsec / 1000000;
}

static void sleep_ms(unsigned int ms)
{
	usleep(ms * 1000);
}

static int put(const char *path, const char *text)
{
	int fd = open(path, O_WRONLY), ret;

	if (fd < 0)
		return -errno;
	ret = write(fd, text, strlen(text)) < 0 ? -errno : 0;
	close(fd);
	return ret;
}

static const char *in_pci(const char *name)
{
	static char path[512];

	snprintf(path, sizeof(path), "%s/%s", pci, name);
	return path;
}

static bool reset_by(const char *method)
{
	return !put(in_pci("reset_method"), method) && !put(in_pci("reset"), "1") &&
	       !put(in_pci("enable"), "1");
}

static void pin(int cpu)
{
	cpu_set_t set;

	CPU_ZERO(&set);
	CPU_SET(cpu, &set);
	sched_setaffinity(0, sizeof(set), &set);
}

/* --- QMP ------------------------------------------------------------------ */

static int qmp_fd = -1;
static char qmp_line[65536];

static void qmp_open(void)
{
	char path[300], name[64];
	struct dirent *d;
	DIR *dir = opendir("/sys/class/virtio-ports");

	while (dir && (d = readdir(dir))) {
		int fd;
		ssize_t n;

		snprintf(path, sizeof(path), "/sys/class/virtio-ports/%s/name", d->d_name);
		fd = open(path, O_RDONLY);
		n = fd < 0 ? -1 : read(fd, name, sizeof(name) - 1);
		if (fd >= 0)
			close(fd);
		if (n <= 0)
			continue;
		name[n] = 0;
		if (strncmp(name, "org.cram.qmp", 12))
			continue;
		snprintf(path, sizeof(path), "/dev/%s", d->d_name);
		qmp_fd = open(path, O_RDWR | O_CLOEXEC);
	}
	if (dir)
		closedir(dir);
	if (qmp_fd < 0)
		tap_skip_all("a port org.cram.qmp: run with DEVICE=cxl");
	if (dprintf(qmp_fd, "{\"execute\": \"qmp_capabilities\"}\n") < 0)
		die("QMP");
}

/* The answer to a command, in qmp_line; false for an error */
__attribute__((format(printf, 1, 2)))
static bool qmp(const char *fmt, ...)
{
	static unsigned int count;
	char id[32], command[4096];
	size_t len;
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(command, sizeof(command), fmt, ap);
	va_end(ap);
	snprintf(id, sizeof(id), "\"id\": \"t%u\"", ++count);
	if (dprintf(qmp_fd, "{%s, %s}\n", id, command) < 0)
		die("QMP");
	do {
		for (len = 0; len < sizeof(qmp_line) - 1; len++) {
			if (read(qmp_fd, qmp_line + len, 1) != 1)
				die("QMP");
			if (qmp_line[len] == '\n')
				break;
		}
		qmp_line[len] = 0;
	} while (!strstr(qmp_line, id));
	return strstr(qmp_line, "\"return\": ");
}

static bool cram_qmp(const char *command, const char *arguments)
{
	return qmp("\"execute\": \"cxl-cram-%s\", \"arguments\": {\"path\": \"cram0\"%s%s}",
		   command, *arguments ? ", " : "", arguments);
}

static bool fault(const char *arguments)
{
	return cram_qmp("set-fault", arguments);
}

/* A number of the last answer */
static int64_t qmp_number(const char *key)
{
	char quoted[64], *at;

	snprintf(quoted, sizeof(quoted), "\"%s\": ", key);
	at = strstr(qmp_line, quoted);
	return at ? strtoll(at + strlen(quoted), NULL, 10) : -1;
}

static int64_t state(const char *key)
{
	return cram_qmp("query", "") ? qmp_number(key) : -1;
}

/* --- registers ------------------------------------------------------------ */

static uint32_t read32(volatile uint8_t *at)
{
	return *(volatile uint32_t *)at;
}

static void write32(volatile uint8_t *at, uint32_t v)
{
	*(volatile uint32_t *)at = v;
}

static uint64_t read64(volatile uint8_t *at)
{
	return *(volatile uint64_t *)at;
}

static void write64(volatile uint8_t *at, uint64_t v)
{
	*(volatile uint64_t *)at = v;
}

static bool doorbell(void)
{
	return read32(mbox + 4) & 1;
}

static int wait_doorbell(unsigned int timeout)
{
	uint64_t end = now_ms() + timeout;

	while (doorbell())
		if (now_ms() > end)
			return TIMED_OUT;
	return read64(mbox + 0x10) >> 32 & 0xffff;
}

static void ring(uint16_t opcode, const void *in, size_t len)
{
	for (size_t i = 0; i < len; i += 8) {
		uint64_t word = 0;

		memcpy(&word, (const uint8_t *)in + i, len - i < 8 ? len - i : 8);
		if (i < payload_max)
			write64(mbox + 0x20 + i, word);
	}
	write64(mbox + 8, opcode | (uint64_t)len << 16);
	write32(mbox + 4, 1);
}

static size_t out_len;
/* Read as whatever the command returns */
static uint64_t out[256] __attribute__((aligned(16)));

static uint16_t out16(size_t i)
{
	return out[i / 4] >> 16 * (i % 4);
}

static uint8_t out8(size_t i)
{
	return out[i / 8] >> 8 * (i % 8);
}

static int command_timeout(uint16_t opcode, const void *in, size_t len,
			   unsigned int timeout)
{
	int rc;

	if (wait_doorbell(timeout) == TIMED_OUT)
		return TIMED_OUT;
	ring(opcode, in, len);
	rc = wait_doorbell(timeout);
	if (rc == TIMED_OUT)
		return rc;
	out_len = read64(mbox + 8) >> 16 & 0xfffff;
	memset(out, 0, sizeof(out));
	for (size_t i = 0; i < out_len && i < payload_max; i += 8)
		out[i / 8] = read64(mbox + 0x20 + i);
	return rc;
}

static int command(uint16_t opcode, const void *in, size_t len)
{
	return command_timeout(opcode, in, len, 5000);
}

static struct capacity capacity(void)
{
	struct capacity c = { 0 };

	if (command(CAPACITY, NULL, 0) == OK && out_len == sizeof(c))
		memcpy(&c, out, sizeof(c));
	else
		tap_ok(0, "Get Capacity answers");
	return c;
}

/* The first answer without pages that are not compressed yet */
static struct capacity settled(void)
{
	struct capacity c;
	uint64_t end = now_ms() + 20000;

	do
		c = capacity();
	while (c.unsettled && now_ms() < end);
	return c;
}

static uint64_t used(struct capacity c)
{
	return caps.physical - c.free;
}

static int zero(uint64_t dpa, uint64_t length)
{
	struct media m = { 1, 1, 0, 1, { { dpa, length } } };

	return command(MEDIA, &m, 24);
}

static void empty(void)
{
	if (zero(0, caps.logical) != OK)
		tap_ok(0, "the device can be emptied");
}

static void fill_random(uint8_t *at, size_t len)
{
	static uint64_t x = 88172645463325252ULL;

	for (size_t i = 0; i < len; i += 8) {
		x ^= x << 13;
		x ^= x >> 7;
		x ^= x << 17;
		*(volatile uint64_t *)(at + i) = x;
	}
}

/* --- events --------------------------------------------------------------- */

static unsigned int events_of(int log, int kind, struct event *last)
{
	uint8_t in = log;
	unsigned int n = 0;
	struct event e;

	if (command(GET_EVENTS, &in, 1) != OK)
		return 0;
	for (unsigned int i = 0; i < out16(10); i++) {
		memcpy(&e, (uint8_t *)out + 32 + i * sizeof(e), sizeof(e));
		if (memcmp(e.uuid, event_uuid, 16) || e.kind != kind)
			continue;
		if (last)
			*last = e;
		n++;
	}
	return n;
}

static bool event_comes(int log, int kind, struct event *e)
{
	for (int i = 0; i < 200; i++) {
		if (events_of(log, kind, e))
			return true;
		sleep_ms(20);
	}
	return false;
}

static void clear_events(void)
{
	for (uint8_t log = LOG_INFO; log <= LOG_WARN; log++) {
		for (;;) {
			struct packed { uint8_t log, flags, nr, reserved[3]; uint16_t handle[1]; }
				in = { .log = log, .nr = 1 };

			if (command(GET_EVENTS, &log, 1) != OK || !out16(10))
				break;
			memcpy(in.handle, (uint8_t *)out + 32 + offsetof(struct event, handle), 2);
			if (command(CLEAR_EVENTS, &in, sizeof(in)) != OK)
				break;
		}
	}
}

/* --- answers that the monitor has made ------------------------------------ */

static bool set_answer(uint16_t opcode, const char *arguments)
{
	char all[4200];

	snprintf(all, sizeof(all), "\"opcode\": %u%s%s", opcode, *arguments ? ", " : "", arguments);
	return cram_qmp("set-answer", all);
}

/* --- setting up ----------------------------------------------------------- */

static volatile uint8_t *map_bar(const char *name, size_t len)
{
	int fd = open(in_pci(name), O_RDWR | O_SYNC);
	void *p;

	if (fd < 0)
		return NULL;
	p = mmap(NULL, len, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	close(fd);
	return p == MAP_FAILED ? NULL : p;
}

static bool find_device(void)
{
	struct dirent *d;
	DIR *dir = opendir("/sys/bus/pci/devices");
	bool found = false;

	while (dir && !found && (d = readdir(dir))) {
		char class[16] = "";
		int fd;

		snprintf(pci, sizeof(pci), "/sys/bus/pci/devices/%.200s", d->d_name);
		fd = open(in_pci("class"), O_RDONLY);
		if (fd < 0)
			continue;
		found = read(fd, class, sizeof(class) - 1) > 0 && !strncmp(class, "0x050210", 8);
		close(fd);
	}
	if (dir)
		closedir(dir);
	return found;
}

/* Find the device, see that nobody else drives it, and map its registers. */
static bool open_device(void)
{
	char name[256];
	unsigned int n;

	if (!find_device())
		return false;
	snprintf(name, sizeof(name), "%s", strrchr(pci, '/') + 1);
	put("/sys/bus/pci/drivers/cxl_pci/unbind", name);
	put(in_pci("enable"), "1");
	comp = map_bar("resource0", 0x10000);
	regs = map_bar("resource2", PAGE);
	if (!comp || !regs)
		die("mapping the BARs");
	mbox = hdm = NULL;
	n = read64(regs) >> 32 & 0xffff;
	for (unsigned int i = 1; i <= n; i++)
		if ((read32(regs + 16 * i) & 0xffff) == 2)
			mbox = regs + read32(regs + 16 * i + 4);
	n = read32(comp + 0x1000) >> 24;
	for (unsigned int i = 1; i <= n; i++) {
		uint32_t cap = read32(comp + 0x1000 + 4 * i);

		if ((cap & 0xffff) == 5)
			hdm = comp + 0x1000 + (cap >> 20);
	}
	if (!mbox || !hdm)
		die("finding mailbox and decoders");
	payload_max = 1UL << (read32(mbox) & 0x1f);
	if (command(CAPABILITIES, NULL, 0) != OK || out_len != sizeof(caps))
		return false;
	memcpy(&caps, out, sizeof(caps));
	return true;
}

static void close_device(void)
{
	munmap((void *)comp, 0x10000);
	munmap((void *)regs, PAGE);
}

static bool commit(bool on)
{
	volatile uint8_t *decoder = hdm + 0x10;

	write32(hdm + 4, 2);
	write32(decoder + 0x10, 0);
	if (on) {
		write32(decoder, window);
		write32(decoder + 4, window >> 32);
		write32(decoder + 8, caps.logical);
		write32(decoder + 12, caps.logical >> 32);
		write32(decoder + 0x14, 0);
		write32(decoder + 0x18, 0);
		write32(decoder + 0x10, 1 << 9);
	}
	return (read32(decoder + 0x10) >> 10 & 1) == on;
}

/* The module beside this program gives access to the window. */
static void map_window(void)
{
	char line[64] = "";
	int module = open("cxl_window.ko", O_RDONLY), fd;

	if (module < 0 || syscall(SYS_finit_module, module, "", 0))
		tap_skip_all("cxl_window.ko, or a CXL window");
	close(module);
	fd = open("/dev/cxl_window", O_RDWR);
	if (fd < 0 || read(fd, line, sizeof(line) - 1) <= 0)
		die("/dev/cxl_window");
	window = strtoull(line, NULL, 16);
	mem = mmap(NULL, caps.logical, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	close(fd);
	if (mem == MAP_FAILED)
		die("mapping the window");
}

/* --- tests: identity ------------------------------------------------------ */

static void test_features(void)
{
	struct packed { uint32_t count; uint16_t start, reserved; } in = { 2048, 0, 0 };
	struct packed entry {
		uint8_t uuid[16];
		uint16_t index, get_size, set_size;
		uint32_t attributes;
		uint8_t get_version, set_version;
		uint16_t effects;
		uint8_t reserved[18];
	} e[8] = { 0 };
	unsigned int n, ours = 999;

	tap_ok(command(GET_FEATURES, &in, sizeof(in)) == OK, "Get Supported Features");
	n = out16(0);
	memcpy(e, out + 1, sizeof(e));
	for (unsigned int i = 0; i < n && i < 8; i++)
		if (!memcmp(e[i].uuid, feature_uuid, 16))
			ours = i;
	tap_ok(ours < n && e[ours].index == ours && e[ours].get_version >= 1 &&
	       !e[ours].get_size && !e[ours].set_size && !e[ours].attributes,
	       "the Feature is listed, without content, version 1 or higher");
	in.start = ours;
	tap_ok(command(GET_FEATURES, &in, sizeof(in)) == OK && out16(0) == n - ours &&
	       !memcmp(out + 1, feature_uuid, 16), "the list can be read from any entry on");
	in.start = n;
	tap_ok(command(GET_FEATURES, &in, sizeof(in)) == INVALID_INPUT, "but not beyond its end");

	uint8_t get[21] = { 0 }, set[33] = { 0 };

	memcpy(get, feature_uuid, 16);
	memcpy(set, feature_uuid, 16);
	tap_ok(command(GET_FEATURE, get, 21) == UNSUPPORTED, "Get Feature: unsupported");
	tap_ok(command(SET_FEATURE, set, 33) == UNSUPPORTED &&
	       command(SET_FEATURE, set, 32) == UNSUPPORTED, "Set Feature: unsupported");
}

static void test_cel(void)
{
	static const uint8_t cel[16] = {
		0x0d, 0xa9, 0xc0, 0xb5, 0xbf, 0x41, 0x4b, 0x78,
		0x8f, 0x79, 0x96, 0xb1, 0x62, 0x3b, 0x3f, 0x17,
	};
	static const struct { uint16_t opcode, effect; } want[] = {
		{ CAPABILITIES, 0 }, { CAPACITY, 0 }, { GET_MARKS, 0 },
		{ SET_MARKS, 1 << 3 }, { HOT_PAGES, 0 }, { MEDIA, 1 << 2 },
	};
	struct packed { uint8_t uuid[16]; uint32_t offset, length; } in = { .length = 2048 };
	unsigned int found = 0;

	memcpy(in.uuid, cel, 16);
	/* The log's length is that of its entries, which only Get Supported Logs tells */
	command(0x0400, NULL, 0);
	in.length = out[3];
	if (!tap_ok(command(GET_LOG, &in, sizeof(in)) == OK, "the Command Effects Log can be read"))
		return;
	for (unsigned int i = 0; i < sizeof(want) / sizeof(*want); i++)
		for (size_t j = 0; j < out_len / 4; j++) {
			found += out16(2 * j) == want[i].opcode &&
				 out16(2 * j + 1) == want[i].effect;
		}
	tap_ok(found == sizeof(want) / sizeof(*want), "it has each opcode with its effects, once");
}

static void test_capabilities(void)
{
	tap_ok(caps.logical == 256 * MIB && caps.physical && caps.cells_per_page >= PAGE &&
	       caps.block == PAGE && caps.max_ranges >= 1 && caps.max_answer_ms &&
	       caps.flags & 1 && !(caps.flags & ~3U), "capabilities are as documented");
	tap_ok((int64_t)caps.logical == state("logical") &&
	       (int64_t)caps.physical == state("physical"), "and as QMP tells");
}

/* --- tests: payloads ------------------------------------------------------ */

static void test_lengths(void)
{
	static const struct { uint16_t opcode; uint32_t len; } bad[] = {
		{ CAPABILITIES, 1 }, { CAPABILITIES, 8 }, { CAPACITY, 1 }, { CAPACITY, 2048 },
		{ GET_MARKS, 4 }, { SET_MARKS, 0 }, { SET_MARKS, 15 }, { SET_MARKS, 17 },
		{ HOT_PAGES, 0 }, { HOT_PAGES, 7 }, { HOT_PAGES, 9 }, { MEDIA, 0 },
		{ MEDIA, 7 }, { CAPACITY, 2049 }, { CAPACITY, 0xfffff }, { MEDIA, 0xfffff },
	};
	static uint8_t zeroes[2048];
	bool good = true;

	for (unsigned int i = 0; i < sizeof(bad) / sizeof(*bad); i++) {
		int rc;

		wait_doorbell(5000);
		ring(bad[i].opcode, zeroes, bad[i].len > 2048 ? 0 : bad[i].len);
		if (bad[i].len > 2048) {
			/* More than the mailbox has: only the register says so */
			wait_doorbell(5000);
			write64(mbox + 8, bad[i].opcode | (uint64_t)bad[i].len << 16);
			write32(mbox + 4, 1);
		}
		rc = wait_doorbell(5000);
		if (rc != INVALID_LENGTH) {
			good = false;
			tap_note("%04xh with %u bytes: %d", bad[i].opcode, bad[i].len, rc);
		}
	}
	tap_ok(good, "payloads of another length are refused");
	tap_ok(command(0xc005, NULL, 0) == UNSUPPORTED && command(0xc0ff, NULL, 0) == UNSUPPORTED,
	       "other opcodes are unsupported");
}

static void test_watermarks(void)
{
	uint64_t p = caps.physical;
	static struct marks m;
	struct { struct marks m; int rc; } t[] = {
		{ { p, p }, OK }, { { p, 0 }, OK }, { { 0, 0 }, OK }, { { 4096, 64 }, OK },
		{ { p + 1, 0 }, INVALID_INPUT }, { { 64, 65 }, INVALID_INPUT },
		{ { 0, 1 }, INVALID_INPUT }, { { UINT64_MAX, UINT64_MAX }, INVALID_INPUT },
	};
	bool good = true;

	tap_ok(command(GET_MARKS, NULL, 0) == OK && out_len == 16, "Get Watermarks");
	memcpy(&m, out, sizeof(m));
	tap_ok(m.low == p / 8 && m.critical == p / 32, "defaults are 1/8 and 1/32 of the cells");
	for (unsigned int i = 0; i < sizeof(t) / sizeof(*t); i++) {
		struct marks before, after;

		command(GET_MARKS, NULL, 0);
		memcpy(&before, out, sizeof(before));
		if (command(SET_MARKS, &t[i].m, 16) != t[i].rc)
			good = false;
		command(GET_MARKS, NULL, 0);
		memcpy(&after, out, sizeof(after));
		if (memcmp(&after, t[i].rc == OK ? &t[i].m : &before, sizeof(after)))
			good = false;
	}
	tap_ok(good, "watermarks are checked, and a refused pair changes nothing");
	command(SET_MARKS, &m, 16);
	clear_events();
}

static void test_media(void)
{
	struct media m = { 0, 0, 0, 0, { { 0x00640000, 0 } } };
	const uint64_t end = caps.logical;
	static const struct {
		const char *what;
		int rc;
		unsigned int count;
		struct range range[2];
	} t[] = {
		{ "no range", INVALID_INPUT, 0, { } },
		{ "length 0", INVALID_INPUT, 1, { { 0, 0 } } },
		{ "unaligned address", INVALID_INPUT, 1, { { 64, 4096 } } },
		{ "unaligned length", INVALID_INPUT, 1, { { 0, 4095 } } },
		{ "the same range twice", INVALID_INPUT, 2, { { 0, 4096 }, { 0, 4096 } } },
		{ "overlap", INVALID_INPUT, 2, { { 8192, 8192 }, { 4096, 8192 } } },
		{ "beyond the end", INVALID_PA, 1, { { 256 * MIB, 4096 } } },
		{ "across the end", INVALID_PA, 1, { { 256 * MIB - 4096, 8192 } } },
		{ "wrapping around", INVALID_PA, 1, { { 4096, -4096UL } } },
		{ "a good one, and one beyond", INVALID_PA, 2, { { 0, 4096 }, { 256 * MIB, 4096 } } },
		{ "touching", OK, 2, { { 4096, 4096 }, { 8192, 4096 } } },
		{ "out of order", OK, 2, { { 8192, 4096 }, { 0, 4096 } } },
	};

	m.range[0].dpa = (uint64_t)100 << 16;	/* start 0, 100 wanted */
	tap_ok(command(MEDIA, &m, 12) == OK && out_len == 16 && out[0] == PAGE &&
	       out16(4) == 2 && out16(5) == 2 &&
	       out8(12) == 0 && out8(13) == 0 &&
	       out8(14) == 1 && out8(15) == 1,
	       "discovery lists itself and write zeroes");
	m.range[0].dpa = 1 | (uint64_t)1 << 16;
	tap_ok(command(MEDIA, &m, 12) == OK && out_len == 14 && out8(12) == 1,
	       "discovery from an index on");
	m.range[0].dpa = 2;
	tap_ok(command(MEDIA, &m, 12) == INVALID_INPUT, "discovery beyond the list");
	tap_ok(command(MEDIA, &m, 13) == INVALID_LENGTH, "discovery with another length");
	m.count = 1;
	m.range[0].dpa = 0;
	tap_ok(command(MEDIA, &m, 12) == INVALID_INPUT, "discovery with ranges");
	m.class = 1;
	tap_ok(command(MEDIA, &m, 24) == UNSUPPORTED, "class 1, subclass 0");
	m.class = 2;
	m.subclass = 1;
	tap_ok(command(MEDIA, &m, 24) == UNSUPPORTED, "class 2");

	for (unsigned int i = 0; i < sizeof(t) / sizeof(*t); i++) {
		struct media z = { 1, 1, 0xffff, t[i].count, { } };
		bool kept;
		int rc;

		memset(mem, 0xa5, 4 * PAGE);
		memcpy(z.range, t[i].range, sizeof(t[i].range));
		rc = command(MEDIA, &z, 8 + 16 * t[i].count);
		kept = mem[0] == 0xa5 && mem[PAGE] == 0xa5 && mem[2 * PAGE] == 0xa5;
		tap_ok(rc == t[i].rc && kept == (rc != OK), "zeroing: %s", t[i].what);
	}

	struct media many = { 1, 1, 0, caps.max_ranges, { } };

	for (unsigned int i = 0; i < caps.max_ranges; i++) {
		many.range[i] = (struct range){ 2 * i * PAGE, PAGE };
		memset(mem + 2 * i * PAGE, 0x5a, 2 * PAGE);
	}
	tap_ok(command(MEDIA, &many, 8 + 16UL * many.count) == OK, "%u ranges at once", many.count);

	bool good = true;

	for (unsigned int i = 0; i < caps.max_ranges; i++)
		good = good && !mem[2 * i * PAGE] && !mem[2 * i * PAGE + PAGE - 1] &&
			mem[(2 * i + 1) * PAGE] == 0x5a;
	tap_ok(good, "zero those pages and no other");
	many.count++;
	tap_ok(command(MEDIA, &many, 8 + 16UL * caps.max_ranges) == INVALID_LENGTH,
	       "a count that the payload does not hold");
	tap_ok(zero(0, end) == OK, "all of it");
}

/* --- tests: cells --------------------------------------------------------- */

static void test_cells(void)
{
	struct capacity c;
	uint64_t before;

	empty();
	c = capacity();
	tap_ok(c.free == caps.physical && !c.unsettled, "an empty device has all cells free");
	memset(mem, 0x11, PAGE);
	tap_ok(used(settled()) == 64, "a page of one repeated word: 64 bytes");
	fill_random(mem + PAGE, PAGE);
	before = used(settled());
	tap_ok(before == 64 + caps.cells_per_page, "a random page: the worst case");
	memset(mem + 2 * PAGE, 0, PAGE);
	tap_ok(used(settled()) == before, "a page of zeroes: nothing");
	for (unsigned int i = 0; i < PAGE; i++)
		mem[3 * PAGE + i] = i / 64;
	c = settled();
	tap_ok(used(c) > before + 64 && used(c) < before + caps.cells_per_page,
	       "a page of text: %lu bytes", used(c) - before);
	tap_ok(c.low_water <= c.free, "the low-water mark is not above the free bytes");
	tap_ok(zero(PAGE, 3 * PAGE) == OK && used(capacity()) == 64,
	       "a zeroed range holds nothing as soon as the command is done");
	tap_ok(capacity().low_water == c.low_water, "and the low-water mark stays");
	empty();
}

/* --- tests: races --------------------------------------------------------- */

#define STORERS 3
#define ANSWERS 50UL
static atomic_bool stop;
static atomic_ulong done;

static void *storer(void *arg)
{
	unsigned long me = (unsigned long)arg;
	uint64_t i;

	pin(1 + me % (sysconf(_SC_NPROCESSORS_ONLN) - 1));
	for (i = me; !stop && i < caps.logical / PAGE / 2; i += STORERS) {
		*(volatile uint64_t *)(mem + i * PAGE) = 0x123456789abcdefULL + i;
		atomic_thread_fence(memory_order_seq_cst);
		done++;
		/* Old pages again, for pages that change while they are compressed */
		for (uint64_t j = i % STORERS; j < i; j += 97 * STORERS)
			*(volatile uint64_t *)(mem + j * PAGE) += 1UL << 56;
	}
	/* No page is left, but stores go on */
	while (!stop)
		for (uint64_t j = me; j < i && !stop; j += STORERS)
			*(volatile uint64_t *)(mem + j * PAGE) += 1UL << 56;
	return NULL;
}

/*
 * Each page has one word, and any such page holds the same number of cells, so an
 * answer tells how many pages it covers: exactly, however many are pending.
 */
static void test_no_store_missed(void)
{
	pthread_t t[STORERS];
	uint64_t each, missed = 0, invented = 0, rounds = 0, pages = 0;
	uint64_t end = now_ms() + 60000;
	struct capacity c;

	empty();
	*(volatile uint64_t *)mem = 0x123456789abcdefULL;
	each = used(settled());
	empty();
	done = 0;
	stop = false;
	for (unsigned long i = 0; i < STORERS; i++)
		pthread_create(&t[i], NULL, storer, (void *)i);
	pin(0);
	/* The time is for a device that never answers while there are stores */
	while ((rounds < ANSWERS || done < 1000) && now_ms() < end) {
		uint64_t before = done, after;

		c = capacity();
		after = done + STORERS;
		pages = (used(c) - c.unsettled) / each + c.unsettled / caps.cells_per_page;
		missed += pages < before;
		invented += pages > after;
		rounds++;
	}
	stop = true;
	for (int i = 0; i < STORERS; i++)
		pthread_join(t[i], NULL);
	c = settled();
	tap_note("%lu answers while %lu pages were stored to, %lu short, %lu long",
		 rounds, (unsigned long)done, missed, invented);
	tap_ok(rounds >= ANSWERS && done >= 1000, "answers while stores go on");
	tap_ok(!missed, "no store that came before a doorbell is missed");
	tap_ok(!invented, "and none is invented");
	tap_ok(used(c) == done * each, "at rest the cells are those of the content");

	/* The oracle does see one page too few */
	c.free += each;
	pages = (used(c) - c.unsettled) / each + c.unsettled / caps.cells_per_page;
	tap_ok(pages < done, "positive control: an answer that is one page short");
	empty();
}

static void *hammer(void *arg)
{
	uint64_t *bad = arg, want[8];
	uint32_t mbox_cap = read32(mbox);
	uint32_t hdm_cap = read32(hdm);

	pin(1);
	for (int i = 0; i < 8; i++)
		want[i] = read64(regs + 8 * i);
	for (bad[1] = 0; !stop; bad[1]++) {
		uint64_t cmd;

		for (int i = 0; i < 8; i++)
			bad[0] += read64(regs + 8 * i) != want[i];
		bad[0] += read32(mbox) != mbox_cap;
		bad[0] += read32(hdm) != hdm_cap;
		/* Whatever is under way: the opcode stays, the status is good */
		cmd = read64(mbox + 8);
		bad[0] += (cmd & 0xffff) != CAPACITY;
		bad[0] += (read64(mbox + 0x10) >> 32 & 0xffff) != OK;
		bad[0] += read32(mbox + 4) & ~1U ? 1 : 0;
	}
	return NULL;
}

static void test_registers_under_load(void)
{
	uint64_t bad[2] = { 0, 0 }, short_answers = 0;
	uint64_t start, took;
	pthread_t t;

	capacity();
	stop = false;
	pthread_create(&t, NULL, hammer, bad);
	pin(0);
	start = now_ms();
	for (int i = 0; i < 1000; i++) {
		*(volatile uint64_t *)(mem + i * PAGE) = i + 1;
		short_answers += capacity().free > caps.physical - 64;
	}
	took = now_ms() - start;
	stop = true;
	pthread_join(t, NULL);
	tap_note("1000 queries in %lu ms, %lu rounds of reads", took, bad[1]);
	tap_ok(bad[1] > 100 && !bad[0], "no register reads garbage while queries run (%lu bad)", bad[0]);
	tap_ok(!short_answers, "and the answers are good");
	tap_ok(took < 1000UL * caps.max_answer_ms, "within max_answer_ms each");
	empty();
}

/* --- tests: events, full device ------------------------------------------- */

static void test_events(void)
{
	uint64_t p = caps.physical;
	struct marks m = { p - MIB, p - 2 * MIB }, old;
	struct event e;

	command(GET_MARKS, NULL, 0);
	memcpy(&old, out, sizeof(old));
	empty();
	clear_events();
	tap_ok(command(SET_MARKS, &m, 16) == OK && !events_of(LOG_WARN, BELOW_LOW, NULL),
	       "no event while enough is free");
	fill_random(mem, MIB + 64 * PAGE);
	tap_ok(event_comes(LOG_WARN, BELOW_LOW, &e) && e.length == 128 && e.free < m.low,
	       "below the low watermark: a record in the Warning log");
	tap_ok(!events_of(LOG_WARN, BELOW_CRITICAL, NULL), "not below the critical one");
	tap_ok((capacity().flags & 3) == 1, "the flags of Get Capacity say the same");
	fill_random(mem, 2 * MIB + 64 * PAGE);
	tap_ok(event_comes(LOG_WARN, BELOW_CRITICAL, NULL), "below the critical watermark");
	tap_ok((capacity().flags & 3) == 3, "in the flags, too");
	empty();
	tap_ok(event_comes(LOG_INFO, ABOVE_LOW, NULL), "above again: in the Informational log");
	fill_random(mem, 3 * MIB);
	settled();
	sleep_ms(200);
	tap_ok(events_of(LOG_WARN, BELOW_LOW, NULL) == 1, "one outstanding record of a kind");
	clear_events();
	m.low = m.critical = 0;
	tap_ok(command(SET_MARKS, &m, 16) == OK && !(capacity().flags & 3), "0 turns a watermark off");
	m.low = p;
	tap_ok(command(SET_MARKS, &m, 16) == OK && event_comes(LOG_WARN, BELOW_LOW, NULL),
	       "a watermark is compared at once when it is set");
	empty();
	command(SET_MARKS, &old, 16);
	clear_events();
}

static sigjmp_buf bus_error;

static void on_sigbus(int sig)
{
	siglongjmp(bus_error, sig);
}

/* 1: reading ends with SIGBUS, in a process of its own; 0: it does not */
static int reads_poison(uint64_t dpa)
{
	int status;
	pid_t pid = fork();

	if (!pid) {
		signal(SIGBUS, on_sigbus);
		if (sigsetjmp(bus_error, 1))
			_exit(1);
		(void)*(volatile uint64_t *)(mem + dpa);
		_exit(0);
	}
	if (waitpid(pid, &status, 0) != pid)
		return -1;
	return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

/* The kernel reads it for a process: that one ends or gets an error, no more. */
static bool kernel_survives(uint64_t dpa)
{
	int status, fd[2];
	pid_t pid;

	if (pipe(fd))
		return false;
	pid = fork();
	if (!pid)
		_exit(write(fd[1], mem + dpa, 8) < 0);
	waitpid(pid, &status, 0);
	close(fd[0]);
	close(fd[1]);
	return WIFSIGNALED(status) ? WTERMSIG(status) == SIGBUS : WEXITSTATUS(status) == 1;
}

static uint64_t poison_entries(uint64_t start, uint64_t length)
{
	uint64_t in[2] = { start, length / LINE };

	return command(POISON_LIST, in, 16) == OK ? out16(5) : 999;
}

static void test_full(void)
{
	uint64_t fits = caps.physical / caps.cells_per_page, over;
	struct event e;
	uint64_t lost = 0;

	empty();
	clear_events();
	over = capacity().over;
	fill_random(mem, (fits - 1) * PAGE);
	tap_ok(settled().over == over, "%lu incompressible pages fit", fits - 1);
	fill_random(mem + (fits - 1) * PAGE, 64 * PAGE);
	tap_ok(settled().over > over, "more do not");
	tap_ok(settled().free < caps.cells_per_page, "the device is full");
	tap_ok(event_comes(LOG_WARN, OVER_CAPACITY, &e) && e.over > over, "over-capacity: an event");
	if (!exact) {
		tap_ok(!state("poisoned"), "stores are counted, not dropped");
		empty();
		clear_events();
		return;
	}
	lost = state("poisoned");
	tap_ok(lost > 0, "%lu lines were dropped", lost);
	tap_ok(poison_entries(0, caps.logical) > 0, "they are in the poison list");
	tap_ok(!reads_poison(0) && !reads_poison((fits - 3) * PAGE), "what fitted can be read");
	tap_ok(reads_poison((fits + 62) * PAGE + PAGE - LINE) == 1, "a dropped line reads as poison: SIGBUS");
	tap_ok(zero((fits - 1) * PAGE, 64 * PAGE) == OK && !state("poisoned") &&
	       !poison_entries(0, caps.logical), "zeroing clears the poison");
	tap_ok(!reads_poison((fits + 62) * PAGE + PAGE - LINE), "and the line reads again");
	memset(mem + fits * PAGE, 0x77, PAGE);
	tap_ok(mem[fits * PAGE + 100] == 0x77, "what compresses well still fits");
	empty();
	clear_events();
}

static void test_poison(void)
{
	uint64_t dpa = 5 * MIB + 3 * LINE, bad;
	struct packed { uint64_t dpa; uint8_t data[64]; } clear = { .dpa = dpa };
	int status;
	pid_t other;

	memset(mem + 5 * MIB, 0x42, 2 * PAGE);
	tap_ok(command(POISON_INJECT, &dpa, 8) == OK && state("poisoned") == 1, "Inject Poison");
	other = fork();
	if (!other) {
		for (int i = 0; i < 200; i++) {
			if (mem[5 * MIB] != 0x42 || mem[5 * MIB + PAGE + i] != 0x42)
				_exit(1);
			sleep_ms(5);
		}
		_exit(0);
	}
	for (int i = 0; i < 3; i++)
		tap_ok(reads_poison(dpa) == 1, "reading it: SIGBUS (%d)", i);
	tap_ok(kernel_survives(dpa), "a system call that reads it fails");
	tap_ok(!kernel_survives(dpa - LINE), "one that reads the line beside it does not");
	tap_ok(!reads_poison(dpa - LINE) && !reads_poison(dpa + LINE), "not the lines beside it");
	tap_ok(waitpid(other, &status, 0) == other && WIFEXITED(status) && !WEXITSTATUS(status),
	       "another process goes on reading the same page");
	tap_ok(poison_entries(dpa, LINE) == 1, "it is in the poison list");
	*(volatile uint64_t *)(mem + dpa) = 1;
	tap_ok(reads_poison(dpa) == 1, "storing to a part of the line leaves it");
	for (uint64_t i = 0; i < LINE; i += 8)
		*(volatile uint64_t *)(mem + dpa + i) = i;
	tap_ok(!reads_poison(dpa) && !poison_entries(dpa, LINE), "storing to all of it clears it");

	command(POISON_INJECT, &dpa, 8);
	memset(clear.data, 0x24, 64);
	tap_ok(command(POISON_CLEAR, &clear, 72) == OK && !reads_poison(dpa) && mem[dpa] == 0x24,
	       "Clear Poison gives the line its new content");
	bad = 7;
	tap_ok(command(POISON_INJECT, &bad, 8) == INVALID_INPUT, "an address inside a line");
	bad = caps.logical;
	tap_ok(command(POISON_INJECT, &bad, 8) == INVALID_PA, "an address beyond the end");
	tap_ok(qmp("\"execute\": \"cxl-inject-poison\", \"arguments\": {\"path\": \"cram0\", \"start\": %lu, \"length\": 8192}",
		   dpa & -PAGE), "QMP: two pages of poison");
	tap_ok(reads_poison(dpa) == 1 && reads_poison((dpa & -PAGE) + 8184) == 1 &&
	       !reads_poison((dpa & -PAGE) + 8192), "all of them, and no more");
	tap_ok(zero(dpa & -PAGE, 2 * PAGE) == OK && !reads_poison(dpa) && !mem[dpa] &&
	       !state("poisoned"), "zeroing clears it");
	empty();
}

/* --- tests: hot pages ----------------------------------------------------- */

static void test_hot(void)
{
	struct packed { uint16_t max; uint8_t reserved[6]; } in = { 10, { 1, 2, 3 } };
	/* Entries: the address, then the reads and reserved bytes in one word */
	const uint64_t *page = out + 1;

	command(HOT_PAGES, &in, 8);
	clear_events();
	in.max = 0;
	tap_ok(command(HOT_PAGES, &in, 8) == INVALID_INPUT, "no hot pages wanted: refused");
	in.max = 2;
	tap_ok(cram_qmp("set-hot", "\"pages\": [{\"dpa\": 4096, \"reads\": 5}, {\"dpa\": 0, \"reads\": 7}, "
			"{\"dpa\": 40960, \"reads\": 6}]"), "QMP: hot pages");
	tap_ok(event_comes(LOG_INFO, HOT, NULL), "they are announced");
	tap_ok(command(HOT_PAGES, &in, 8) == OK && out16(0) == 2 && out_len == 40 &&
	       !page[0] && page[1] == 7 && page[2] == 40960 && page[3] == 6,
	       "the hottest first, as many as wanted");
	tap_ok(command(HOT_PAGES, &in, 8) == OK && out16(0) == 1 && page[0] == 4096,
	       "then the others: reported pages start again from 0");
	tap_ok(command(HOT_PAGES, &in, 8) == OK && !out16(0) && out_len == 8, "then none");
	tap_ok(!cram_qmp("set-hot", "\"pages\": [{\"dpa\": 1, \"reads\": 5}]"), "QMP refuses no page");
	if (exact) {
		for (int i = 0; i < 100; i++)
			(void)*(volatile uint64_t *)(mem + 7 * PAGE + 8 * i);
		tap_ok(command(HOT_PAGES, &in, 8) == OK && page[0] == 7 * PAGE && page[1] == 100,
		       "reads are counted per page");
	}
	clear_events();
}

/* --- tests: faults -------------------------------------------------------- */

static void test_faults(void)
{
	uint64_t start, least = UINT64_MAX;
	struct capacity c;
	struct marks m = { caps.physical, 0 }, old;

	empty();
	tap_ok(fault("\"physical-free\": 4096") && capacity().free == 4096 &&
	       (capacity().flags & 3) == 3, "a lying device");
	tap_ok(fault("\"physical-free\": -1") && capacity().free == caps.physical, "and an honest one");
	tap_ok(fault("\"opcode\": 49153, \"return-code\": 5") &&
	       command(CAPACITY, NULL, 0) == RETRY_REQUIRED && !out_len, "answers that fail");
	tap_ok(command(GET_MARKS, NULL, 0) == OK, "of one opcode only");
	tap_ok(fault("\"opcode\": 0") && command(GET_MARKS, NULL, 0) == RETRY_REQUIRED, "or of all");
	tap_ok(fault("\"return-code\": 0") && command(GET_MARKS, NULL, 0) == OK, "and no more");
	tap_ok(!fault("\"return-code\": 1000"), "QMP refuses what is no return code");
	fault("\"delay\": 300");
	start = now_ms();
	capacity();
	tap_ok(now_ms() - start >= 295, "delayed answers");
	fault("\"delay\": 0");
	for (int i = 0; i < 20; i++) {
		start = now_ms();
		capacity();
		if (now_ms() - start < least)
			least = now_ms() - start;
	}
	tap_ok(least < 250, "and prompt ones");

	fault("\"drop\": true");
	ring(CAPACITY, NULL, 0);
	tap_ok(wait_doorbell(500) == TIMED_OUT, "a dead mailbox: the doorbell stays set");
	write64(mbox + 8, GET_MARKS);
	write32(mbox + 4, 1);
	tap_ok((read64(mbox + 8) & 0xffff) == CAPACITY, "and its registers take nothing");
	fault("\"drop\": false");
	tap_ok(wait_doorbell(20000) == OK && (read64(mbox + 8) >> 16 & 0xfffff) == 64,
	       "back: the command completes");
	tap_ok(command(GET_MARKS, NULL, 0) == OK, "and the next one does");

	/* Nobody takes interrupts here; that they are suppressed, QMP itself would have to tell */
	command(GET_MARKS, NULL, 0);
	memcpy(&old, out, sizeof(old));
	clear_events();
	fault("\"no-interrupts\": true");
	fill_random(mem, PAGE);
	command(SET_MARKS, &m, 16);
	tap_ok(event_comes(LOG_WARN, BELOW_LOW, NULL), "without interrupts the record is there");
	fault("\"no-interrupts\": false");
	command(SET_MARKS, &old, 16);
	c = settled();
	tap_ok(c.free == caps.physical - caps.cells_per_page, "the books are right after all that");
	empty();
	clear_events();
}

/* The operation register, once it says that what was started has ended */
static uint64_t background_ended(unsigned int timeout)
{
	uint64_t end = now_ms() + timeout, reg;

	do
		reg = read64(mbox + 0x18);
	while ((reg >> 16 & 0x7f) != 100 && now_ms() < end);
	return reg;
}

static void test_answers(void)
{
	uint64_t before, start;
	struct capacity c;

	empty();
	tap_ok(set_answer(GET_MARKS, "\"payload\": \"0102030405060708ff\"") &&
	       command(GET_MARKS, NULL, 0) == OK && out_len == 9 &&
	       out[0] == 0x0807060504030201 && out8(8) == 0xff, "an answer replaced by other bytes");
	tap_ok(set_answer(GET_MARKS, "\"payload\": \"\", \"return-code\": 4") &&
	       command(GET_MARKS, NULL, 0) == INTERNAL_ERROR && !out_len, "by none, and an error");
	tap_ok(set_answer(GET_MARKS, "") && command(GET_MARKS, NULL, 0) == OK &&
	       out_len == 16 && out[0] == caps.physical / 8, "and its own again");

	c = capacity();
	tap_ok(set_answer(CAPACITY, "\"payload\": \"0700\", \"offset\": 32") &&
	       command(CAPACITY, NULL, 0) == OK && out_len == sizeof(c) && out[4] == 7 &&
	       out[0] == c.free, "one field of the device's own answer: a reset that was none");
	tap_ok(set_answer(CAPACITY, "\"length\": 12") &&
	       command(CAPACITY, NULL, 0) == OK && out_len == 12, "a short one");
	tap_ok(set_answer(CAPACITY, "\"length\": 65536") &&
	       command(CAPACITY, NULL, 0) == OK && out_len == 65536, "one longer than the mailbox, as it says");
	tap_ok(set_answer(CAPACITY, "\"execute\": false, \"return-code\": 5, \"times\": 2") &&
	       command(CAPACITY, NULL, 0) == RETRY_REQUIRED &&
	       command(CAPACITY, NULL, 0) == RETRY_REQUIRED &&
	       command(CAPACITY, NULL, 0) == OK, "twice, and no more");
	tap_ok(!set_answer(CAPACITY, "\"payload\": \"012\"") && !set_answer(CAPACITY, "\"payload\": \"0g\"") &&
	       !set_answer(CAPACITY, "\"payload\": \"01\", \"offset\": 2048") &&
	       !set_answer(CAPACITY, "\"payload\": \"01\", \"offset\": 4294967295") &&
	       !set_answer(CAPACITY, "\"length\": 1048576"), "QMP refuses what is no answer");

	mem[0] = 1;
	tap_ok(set_answer(MEDIA, "\"execute\": false") && zero(0, PAGE) == OK && mem[0] == 1,
	       "success without zeroing");
	tap_ok(set_answer(MEDIA, "\"late\": 2000, \"return-code\": 4, \"times\": 1") &&
	       zero(0, PAGE) == INTERNAL_ERROR && mem[0] == 1, "an error, and nothing done yet");
	before = state("zeroed");
	start = now_ms();
	while ((uint64_t)state("zeroed") == before && now_ms() - start < 20000)
		;
	tap_ok(!mem[0], "but some time later");

	mem[0] = 2;
	tap_ok(set_answer(MEDIA, "\"late\": 2000, \"background\": true, \"times\": 2") &&
	       zero(0, PAGE) == BACKGROUND && read64(mbox + 0x10) & 1 && mem[0] == 2,
	       "Background Command Started");
	tap_ok(zero(PAGE, PAGE) == BUSY, "one at a time");
	tap_ok(command(GET_MARKS, NULL, 0) == OK, "other commands are answered meanwhile");
	before = background_ended(20000);
	tap_ok((before & 0xffff) == MEDIA && (before >> 16 & 0x7f) == 100 && !(before >> 32 & 0xffff) &&
	       !mem[0], "it ends, and has been carried out");
	set_answer(MEDIA, "");

	mem[0] = 3;
	set_answer(MEDIA, "\"late\": 200, \"times\": 1");
	zero(0, PAGE);
	if (reset_by("cxl_bus")) {
		commit(true);
		mem[0] = 4;
		sleep_ms(400);
		tap_ok(mem[0] == 4, "a reset ends what was to be done later");
	}
	command(CAPABILITIES, NULL, 0);
	memcpy(&caps, out, sizeof(caps));
	empty();
}

/* --- tests: a guest that means harm --------------------------------------- */

struct packed poison_out {
	uint8_t flags, reserved;
	uint64_t overflow;
	uint16_t count;
	uint8_t reserved1[20];
	struct packed { uint64_t address; uint32_t length, reserved; } record[126];
};

/* All pages of the answer; how many records there are in all */
static unsigned int poison_pages(unsigned int *pages, uint8_t *flags)
{
	uint64_t in[2] = { 0, caps.logical / LINE };
	struct poison_out o = { .flags = 1 };
	unsigned int n = 0;

	for (*pages = 0; o.flags & 1 && *pages < 1000; (*pages)++) {
		if (command(POISON_LIST, in, 16) != OK ||
		    out_len != 32 + 16UL * out16(5))
			return 0;
		memcpy(&o, out, sizeof(o));
		n += o.count;
	}
	*flags = o.flags;
	return n;
}

static void test_poison_list(void)
{
	struct media every = { 1, 1, 0, 127, { } };
	uint64_t dpa;
	unsigned int n, pages;
	uint8_t flags;

	empty();
	for (n = 0; n < 1000; n++) {
		dpa = 2 * n * LINE;
		if (command(POISON_INJECT, &dpa, 8) != OK)
			break;
	}
	tap_ok(n == 256, "%u lines can be poisoned one by one", n);
	n = poison_pages(&pages, &flags);
	tap_ok(n == 256 && pages == 3 && !(flags & 3), "the list has them all, in %u answers", pages);
	tap_ok(zero(0, 8 * PAGE) == OK && poison_pages(&pages, &flags) == 0 && pages == 1,
	       "and none after zeroing");

	/* Every second page of a long stretch: each of them splits one record in two */
	qmp("\"execute\": \"cxl-inject-poison\", \"arguments\": {\"path\": \"cram0\", \"start\": 0, \"length\": %lu}",
	    1024 * PAGE);
	for (unsigned int i = 0; i < 4; i++) {
		for (unsigned int j = 0; j < 127; j++)
			every.range[j] = (struct range){ (2 * (127 * i + j) + 1) * PAGE, PAGE };
		command(MEDIA, &every, 8 + 16UL * 127);
	}
	n = poison_pages(&pages, &flags);
	tap_ok(n == 256 && pages == 3 && flags & 2, "a list that cannot hold all says so: %u records", n);
	tap_ok(command(CAPABILITIES, NULL, 0) == OK, "the device lives");
	empty();
	tap_ok(!state("poisoned") && poison_pages(&pages, &flags) == 0, "zeroing clears what the list has lost, too");
}

static void test_offsets(void)
{
	static const uint8_t cel[16] = {
		0x0d, 0xa9, 0xc0, 0xb5, 0xbf, 0x41, 0x4b, 0x78,
		0x8f, 0x79, 0x96, 0xb1, 0x62, 0x3b, 0x3f, 0x17,
	}, scrub[16] = {
		0x96, 0xda, 0xd7, 0xd6, 0xfd, 0xe8, 0x48, 0x2b,
		0xa7, 0x33, 0x75, 0x77, 0x4e, 0x06, 0xdb, 0x8a,
	};
	struct packed { uint8_t uuid[16]; uint32_t offset, length; } log = { .length = 4 };
	struct packed { uint8_t uuid[16]; uint32_t flags; uint16_t offset;
			uint8_t version, reserved[9], data[1]; } set = { .version = 1 };
	uint64_t lines[2] = { 64, UINT64_MAX / 64 };
	uint8_t scan[17] = { 0 };
	uint32_t second, size;
	bool good = true;

	command(0x0400, NULL, 0);
	size = out[3];
	memcpy(log.uuid, cel, 16);
	log.length = 8;
	command(GET_LOG, &log, sizeof(log));
	second = out[0] >> 32;
	log.offset = log.length = 4;
	tap_ok(command(GET_LOG, &log, sizeof(log)) == OK && (uint32_t)out[0] == second,
	       "a log is read from an offset in bytes");
	log.offset = size;
	good &= command(GET_LOG, &log, sizeof(log)) == INVALID_INPUT;
	log.offset = 200000;
	good &= command(GET_LOG, &log, sizeof(log)) == INVALID_INPUT;
	log.offset = UINT32_MAX;
	good &= command(GET_LOG, &log, sizeof(log)) == INVALID_INPUT;
	tap_ok(good, "and not beyond its end");

	/* Many parts of a transfer, all for the same byte */
	memcpy(set.uuid, scrub, 16);
	set.flags = 1;
	good = command(SET_FEATURE, &set, sizeof(set)) == OK;
	set.flags = 2;
	for (unsigned int i = 0; i < 3000; i++)
		good &= command(SET_FEATURE, &set, sizeof(set)) == OK;
	set.flags = 4;
	tap_ok(good && command(SET_FEATURE, &set, sizeof(set)) == OK &&
	       command(CAPABILITIES, NULL, 0) == OK && out[0] == caps.logical,
	       "a transfer of a Feature with many parts is given up");

	tap_ok(command(POISON_LIST, lines, 16) == INVALID_PA && command(0x4303, lines, 16) == INVALID_PA,
	       "a range that wraps around is none");
	memcpy(scan, lines, 16);
	tap_ok(command(SCAN_MEDIA, scan, 17) == INVALID_PA, "nor one to scan");
}

/* Interleave ways that there are none of, in each decoder before the one that decodes */
static void test_ways(void)
{
	volatile uint8_t *decoder = hdm + 0x10;

	for (unsigned int ways = 0; ways < 16; ways++) {
		commit(false);
		write32(decoder, 0);
		write32(decoder + 4, 0x40);
		write32(decoder + 8, 1U << 28);
		write32(decoder + 12, 0);
		write32(decoder + 0x10, 1 << 9 | ways << 4);
		(void)*(volatile uint64_t *)mem;
		*(volatile uint64_t *)mem = ways;
		/* And in the one that does */
		write32(decoder + 0x10, 0);
		write32(decoder, window);
		write32(decoder + 4, window >> 32);
		write32(decoder + 0x10, 1 << 9 | ways << 4 | 15);
		(void)*(volatile uint64_t *)mem;
		*(volatile uint64_t *)(mem + 255 * MIB) = ways;
	}
	tap_ok(commit(true) && command(CAPABILITIES, NULL, 0) == OK,
	       "interleave ways that there are none of lead nowhere");
	/* Skips of so much that the sum wraps around */
	commit(false);
	write32(decoder, window);
	write32(decoder + 4, window >> 32);
	write32(decoder + 8, caps.logical);
	write32(decoder + 0x14, 0xf0000000);
	write32(decoder + 0x18, 0xffffffff);
	write32(decoder + 0x10, 1 << 9);
	tap_ok(state("mapped") == 0, "nor do addresses beyond the capacity");
	(void)*(volatile uint64_t *)mem;
	*(volatile uint64_t *)mem = 1;
	commit(true);
	empty();
}

/* A response that nobody reads, and another */
static void test_doe(void)
{
	int fd = open(in_pci("config"), O_RDWR);
	const unsigned int doe = 0x190;
	const uint32_t request[3] = { 1, 3, 0 }, go = 1U << 31, abort = 1;
	uint32_t word = 0;
	bool good = fd >= 0;

	good = good && pwrite(fd, &abort, 4, doe + 8) == 4;
	for (int i = 0; i < 3; i++)
		good = good && pwrite(fd, &request[i], 4, doe + 0x10) == 4;
	for (int i = 0; i < 5000; i++)
		good = good && pwrite(fd, &go, 4, doe + 8) == 4;
	for (int i = 0; i < 3; i++) {
		good = good && pread(fd, &word, 4, doe + 0xc) == 4 && word >> 31;
		good = good && pread(fd, &word, 4, doe + 0x14) == 4 && (i || word == 1);
		good = good && pwrite(fd, &word, 4, doe + 0x14) == 4;
	}
	good = good && pread(fd, &word, 4, doe + 0xc) == 4 && !(word >> 31);
	tap_ok(good, "a response of the config space's mailbox gives way to the next");
	if (fd >= 0) {
		pwrite(fd, &abort, 4, doe + 8);
		close(fd);
	}
}

static uint64_t fuzz_state;

static uint64_t fuzz_random(void)
{
	fuzz_state ^= fuzz_state << 13;
	fuzz_state ^= fuzz_state >> 7;
	fuzz_state ^= fuzz_state << 17;
	return fuzz_state;
}

/* Numbers at which something may end, more often than others */
static uint64_t fuzz_number(void)
{
	uint64_t at[] = { 0, 1, 63, 64, 127, 255, 256, 2048, PAGE, 0xffff, 0x10000, UINT32_MAX,
			  caps.logical, caps.physical, UINT64_MAX, 1UL << 63, fuzz_random() };
	uint64_t r = fuzz_random();
	uint64_t v = at[r % (sizeof(at) / sizeof(*at))];

	switch (r >> 32 & 7) {
	case 0: return v - 1;
	case 1: return v + 1;
	case 2: return -v;
	case 3: return v << 16 | (r >> 48);
	default: return v;
	}
}

static void fuzz_command(void)
{
	static const uint16_t known[] = {
		0x0001, 0x0002, GET_EVENTS, CLEAR_EVENTS, GET_POLICY, SET_POLICY, 0x0200, 0x0201, 0x0202,
		0x0300, 0x0301, 0x0400, GET_LOG, GET_FEATURES, GET_FEATURE, SET_FEATURE, 0x4000, 0x4100,
		0x4102, 0x4103, 0x4500, POISON_LIST, POISON_INJECT, POISON_CLEAR, 0x4303, SCAN_MEDIA,
		0x4305, MEDIA, 0x4800, 0x4801, 0x4802, 0x4803, 0x5300, CAPABILITIES, CAPACITY, GET_MARKS,
		SET_MARKS, HOT_PAGES,
	};
	static const uint32_t lengths[] = { 0, 1, 2, 6, 8, 16, 17, 21, 24, 32, 33, 40, 72, 128, 200, 2048 };
	uint64_t r = fuzz_random();
	uint16_t opcode = known[r % (sizeof(known) / sizeof(*known))];
	uint32_t len = lengths[(r >> 8) % (sizeof(lengths) / sizeof(*lengths))];
	uint64_t in[256];

	/* The length that its structure has most often; more than this costs time only */
	if ((r >> 16) % 64)
		len %= 256;
	for (unsigned int i = 0; i < (len + 7) / 8; i++)
		in[i] = fuzz_number();
	/* UUIDs that mean something, and the class of Media Operations that does */
	if ((r >> 24) % 4 && opcode != MEDIA && len >= 16) {
		static const uint8_t uuid[4][16] = {
			{ 0x0d, 0xa9, 0xc0, 0xb5, 0xbf, 0x41, 0x4b, 0x78, 0x8f, 0x79, 0x96, 0xb1, 0x62, 0x3b, 0x3f, 0x17 },
			{ 0x96, 0xda, 0xd7, 0xd6, 0xfd, 0xe8, 0x48, 0x2b, 0xa7, 0x33, 0x75, 0x77, 0x4e, 0x06, 0xdb, 0x8a },
			{ 0xe5, 0xb1, 0x3f, 0x22, 0x23, 0x28, 0x4a, 0x14, 0xb8, 0xba, 0xb9, 0x69, 0x1e, 0x89, 0x33, 0x86 },
			{ 0xbe, 0x07, 0xbe, 0x5e, 0xc5, 0x37, 0x4b, 0x02, 0xa7, 0x08, 0x89, 0xca, 0xb8, 0x0b, 0x33, 0xf2 },
		};

		if (opcode == GET_LOG || opcode == GET_FEATURE || opcode == SET_FEATURE)
			memcpy(in, uuid[(r >> 26) % 4], 16);
	} else if (opcode == MEDIA && len >= 8) {
		in[0] = (r >> 26) % 3 * 0x101 | (fuzz_random() % 4 ? (len - 8) / 16 : fuzz_number()) << 32;
	}
	if (wait_doorbell(5000) == TIMED_OUT)
		return;
	ring(opcode, in, len);
	if (!((r >> 40) % 16)) {
		/* A length that the register has room for, with whatever is in the payload */
		wait_doorbell(5000);
		write64(mbox + 8, opcode | (fuzz_number() & 0xfffffffff) << 16);
		write32(mbox + 4, 1);
	}
}

/* Registers of the decoders, and accesses to what they decode, and of odd widths */
static void fuzz_registers(void)
{
	uint64_t r = fuzz_random();
	volatile uint8_t *mailbox = mbox + r % 40;

	switch (r >> 8 & 3) {
	case 0:
		for (unsigned int reg = 0; reg < 0x28; reg += 4)
			write32(hdm + 0x10 + 0x20 * (r >> 16 & 3) + reg,
				fuzz_random() & 1 ? fuzz_number() : (uint32_t)window);
		break;
	case 1:
		write32(hdm + 4 * (r >> 16 & 63), fuzz_number());
		break;
	case 2:
		/* Not the doorbell: it may be set while a command is under way */
		if ((r % 40 & ~3UL) != 4)
			*mailbox = r >> 16;
		break;
	case 3:
		(void)*(volatile uint32_t *)(mem + (r >> 16) % caps.logical / 4 * 4);
		*(volatile uint32_t *)(mem + (r >> 20) % caps.logical / 4 * 4) = r;
		break;
	}
}

static void test_fuzz(void)
{
	const char *t = getenv("T");
	uint64_t ms = 3000 * (t ? atof(t) : 1);
	uint64_t seed = now_ms() * 2654435761UL | 1, end = now_ms() + ms;
	unsigned int n = 0;

	fuzz_state = seed;
	tap_note("seed %lu", seed);
	while (now_ms() < end) {
		for (int i = 0; i < 64; i++, n++) {
			fuzz_command();
			if (!(i & 3))
				fuzz_registers();
		}
	}
	tap_ok(wait_doorbell(5000) != TIMED_OUT && state("logical") == (int64_t)caps.logical,
	       "%u commands at random: the emulator lives", n);
	if (reset_by("cxl_bus")) {
		tap_ok(command(CAPABILITIES, NULL, 0) == OK && out[0] == caps.logical && commit(true),
		       "and after a reset the device is as new");
	}
	command(CAPABILITIES, NULL, 0);
	memcpy(&caps, out, sizeof(caps));
	empty();
	clear_events();
}

static void test_sanitize(void)
{
	uint64_t dpa = 6 * MIB, start = now_ms();
	int64_t mapped = state("mapped");

	memset(mem, 0x55, 16 * PAGE);
	fill_random(mem + 16 * PAGE, 16 * PAGE);
	command(POISON_INJECT, &dpa, 8);
	tap_ok(command(SANITIZE, NULL, 0) == BACKGROUND, "Sanitize starts");
	tap_ok(!state("mapped"), "nothing is mapped while the media is disabled");
	*(volatile uint64_t *)mem = 1;
	tap_ok(*(volatile uint64_t *)(mem + 8) != 0x5555555555555555, "nor can be read");
	tap_ok((background_ended(20000) & 0xffff) == SANITIZE && now_ms() - start > 2000, "it ends");
	tap_ok(state("mapped") == mapped, "what was mapped is again");
	tap_ok(!mem[0] && !mem[16 * PAGE] && !reads_poison(dpa), "the content is zero, and not poisoned");
	tap_ok(!state("poisoned") && !state("held") && !state("unsettled") &&
	       capacity().free == caps.physical, "it holds no cells");
}

/* --- tests: the device's own log of stores -------------------------------- */

static void test_marks(void)
{
	char hash[80] = "";

	empty();
	cram_qmp("mark", "");
	tap_ok(state("marked") == 0, "no page is marked");
	mem[3 * PAGE] = 1;
	mem[9 * PAGE + 5] = 1;
	mem[9 * PAGE + 6] = 1;
	tap_ok(state("marked") == 2, "two pages were stored to");
	tap_ok(cram_qmp("marked", "\"max\": 10") && strstr(qmp_line, "[12288, 36864]"), "these two");
	(void)*(volatile uint8_t *)(mem + 20 * PAGE);
	tap_ok(state("marked") == 2, "reading marks nothing");
	cram_qmp("mark", "");
	tap_ok(state("marked") == 0, "forgotten");
	cram_qmp("page", "\"dpa\": 81920");
	snprintf(hash, sizeof(hash), "%s", strstr(qmp_line, "sha256"));
	tap_ok(!!strstr(hash, "ad7facb2586fc6e966c004d7d1d16b024f5805ff7cb47c7a85dabd8b48892ca7"),
	       "the hash of a page of zeroes");
	mem[20 * PAGE + 1] = 'x';
	cram_qmp("page", "\"dpa\": 81920");
	tap_ok(!strstr(qmp_line, "ad7facb2"), "changes with the content");
	tap_ok(!cram_qmp("page", "\"dpa\": 81921") && !cram_qmp("page", "\"dpa\": 268435456"),
	       "QMP refuses what is no page");
	empty();
}

/* --- tests: mapping, reset, unplug ---------------------------------------- */

static void test_decoder(void)
{
	memset(mem, 0x33, PAGE);
	tap_ok(state("mapped") == (exact ? 0 : (int64_t)caps.logical), "mapped directly: %s",
	       exact ? "nothing" : "all");
	tap_ok(commit(false) && state("mapped") == 0, "uncommitted: nothing is mapped");
	mem[0] = 0x44;
	tap_ok(commit(true) && mem[0] == 0x33 && mem[1] == 0x33,
	       "committed again: the content is there, a store in between is not");
	empty();
}

static bool all_zero(void)
{
	for (uint64_t i = 0; i < caps.logical; i += 64 * PAGE)
		if (*(volatile uint64_t *)(mem + i))
			return false;
	return true;
}

/* Something of everything that must not outlive a reset */
static void litter(void)
{
	uint64_t dpa = 8 * MIB, scan[3] = { 0 };
	struct marks m = { caps.physical, 64 };

	for (uint64_t i = 0; i < caps.logical; i += 64 * PAGE)
		*(volatile uint64_t *)(mem + i) = i + 1;
	command(POISON_INJECT, &dpa, 8);
	fill_random(mem, PAGE);
	command(SET_MARKS, &m, 16);
	cram_qmp("set-hot", "\"pages\": [{\"dpa\": 4096, \"reads\": 5}]");
	event_comes(LOG_WARN, BELOW_LOW, NULL);
	/* Takes two seconds, of which there will be none */
	scan[1] = caps.logical / LINE;
	command(SCAN_MEDIA, scan, 17);
}

static bool clean(void)
{
	struct packed { uint16_t max; uint8_t reserved[6]; } in = { 10, { 0 } };
	struct capacity c = capacity();
	struct marks m;
	bool good = true;

#define EXPECT(what, cond) \
	do { if (!(cond)) { good = false; tap_note("left behind: %s", what); } } while (0)
	EXPECT("cells", c.free == caps.physical && !c.unsettled);
	EXPECT("low water", c.low_water == caps.physical);
	EXPECT("over-capacity", !c.over);
	command(GET_MARKS, NULL, 0);
	memcpy(&m, out, sizeof(m));
	EXPECT("watermarks", m.low == caps.physical / 8 && m.critical == caps.physical / 32);
	EXPECT("hot pages", command(HOT_PAGES, &in, 8) == OK && !out16(0));
	for (int kind = BELOW_LOW; kind <= HOT; kind++)
		EXPECT("events", !events_of(LOG_INFO, kind, NULL) && !events_of(LOG_WARN, kind, NULL));
	EXPECT("poison", !state("poisoned") && !poison_entries(0, caps.logical));
	EXPECT("stores", !state("marked"));
	EXPECT("a mapping", !state("mapped"));
	EXPECT("a decoder", !(read32(hdm + 0x20) >> 10 & 1));
	EXPECT("content", commit(true) && all_zero());
	return good;
}

/* It ends CXL.io: a command under way, and no more */
static void test_function_reset(void)
{
	struct capacity before, after;
	int64_t poisoned, mapped;

	litter();
	before = settled();
	poisoned = state("poisoned");
	mapped = state("mapped");
	fault("\"drop\": true");
	ring(CAPACITY, NULL, 0);
	tap_ok(reset_by("flr") && !doorbell(), "a function-level reset ends a command");
	fault("\"drop\": false");
	after = settled();
	tap_ok(!memcmp(&before, &after, sizeof(after)), "cells and counts are what they were");
	tap_ok(state("poisoned") == poisoned && poisoned && state("mapped") == mapped &&
	       read32(hdm + 0x20) >> 10 & 1, "so are poison and decoders");
	tap_ok(command(GET_MARKS, NULL, 0) == OK && out[1] == 64 &&
	       events_of(LOG_WARN, BELOW_LOW, NULL), "watermarks and events");
	tap_ok(*(volatile uint64_t *)(mem + 64 * PAGE) == 64 * PAGE + 1, "and content");
	empty();
	clear_events();
}

static void test_reset(void)
{
	uint64_t count = caps.reset_count;

	for (int i = 1; i <= 2; i++) {
		litter();
		if (i == 2) {
			fault("\"drop\": true");
			ring(CAPACITY, NULL, 0);
		}
		if (!reset_by("cxl_bus")) {
			tap_skip("reset", "a way to reset the device");
			return;
		}
		fault("\"drop\": false");
		tap_ok(command(CAPABILITIES, NULL, 0) == OK &&
		       out[4] == count + i,
		       "reset %d is counted%s", i, i == 2 ? ", also with a command under way" : "");
		tap_ok(capacity().reset_count == count + i, "in both places");
		tap_ok(clean(), "and leaves nothing behind");
	}
	empty();
}

static bool wait_for(bool present)
{
	for (int i = 0; i < 600; i++) {
		if (find_device() == present)
			return true;
		sleep_ms(20);
	}
	return false;
}

static void test_unplug(void)
{
	char slot[300] = "", mode[64];
	struct dirent *d;
	DIR *dir = opendir("/sys/bus/pci/slots");
	char address[64] = "", mine[64];

	snprintf(mine, sizeof(mine), "%s", strrchr(pci, '/') + 1);
	while (dir && (d = readdir(dir))) {
		char path[300];
		FILE *f;

		snprintf(path, sizeof(path), "/sys/bus/pci/slots/%s/address", d->d_name);
		f = fopen(path, "r");
		if (f && fgets(address, sizeof(address), f) && !strncmp(address, mine, 10))
			snprintf(slot, sizeof(slot), "/sys/bus/pci/slots/%s/power", d->d_name);
		if (f)
			fclose(f);
	}
	if (dir)
		closedir(dir);
	if (!*slot) {
		tap_skip("unplug", "a slot of pciehp");
		return;
	}
	snprintf(mode, sizeof(mode), "\"exact\": %s", exact ? "true" : "false");
	for (int i = 1; i <= 3; i++) {
		litter();
		close_device();
		tap_ok(!put(slot, "0") && wait_for(false), "unplugged (%d)", i);
		tap_ok(state("mapped") < 0, "the emulator does not have it either");
		tap_ok(qmp("\"execute\": \"device_add\", \"arguments\": {\"driver\": \"cxl-cram\", \"id\": \"cram0\", "
			   "\"bus\": \"cxlrp0\", \"sn\": 1, \"volatile-memdev\": \"cxlmem0\", "
			   "\"physical-size\": %lu, %s}", (unsigned long)caps.physical, mode),
		       "plugged in again");
		if (!wait_for(true))
			put(slot, "1");
		if (!tap_ok(wait_for(true) && open_device(), "it comes back"))
			return;
		tap_ok(!caps.reset_count, "as a device that was never reset");
		tap_ok(clean(), "with nothing left of before");
	}
	empty();
}

/* --- throughput ----------------------------------------------------------- */

static void memset_speed(uint8_t *at, size_t len, double *best)
{
	static int value;
	struct timespec a, b;
	double speed;

	clock_gettime(CLOCK_MONOTONIC, &a);
	memset(at, ++value, len);
	clock_gettime(CLOCK_MONOTONIC, &b);
	speed = len / (double)MIB / (b.tv_sec - a.tv_sec + (b.tv_nsec - a.tv_nsec) / 1e9);
	if (speed > *best)
		*best = speed;
}

/*
 * memset of the device's memory and of ordinary memory: in turns and the best of
 * some, as the host may be busy with other things.
 */
static int bench(void)
{
	size_t len = 64 * MIB;
	uint8_t *ram = mmap(NULL, len, PROT_READ | PROT_WRITE,
			    MAP_PRIVATE | MAP_ANONYMOUS | MAP_POPULATE, -1, 0);
	double of_ram = 0, of_device = 0;

	if (ram == MAP_FAILED)
		die("memory");
	if (exact)
		len = 4 * MIB;	/* each store traps */
	for (int i = 0; i < 20; i++) {
		memset_speed(ram, len, &of_ram);
		memset_speed(mem, len, &of_device);
	}
	printf("ordinary memory %.0f MiB/s\ncompressed memory %.0f MiB/s\nratio %.2f\n",
	       of_ram, of_device, of_ram / of_device);
	return 0;
}

int main(int argc, char **argv)
{
	tap_start();
	qmp_open();
	put("/sys/bus/pci/drivers_autoprobe", "0");
	if (!open_device())
		tap_skip_all("a cxl-cram device: run with DEVICE=cxl");
	exact = caps.flags & 2;
	map_window();
	if (argc > 1 && !strcmp(argv[1], "bench"))
		return commit(true) ? bench() : 1;
	if (!tap_ok(commit(true), "a decoder commits (%s)", exact ? "exact" : "fast"))
		return tap_end();

	test_features();
	test_cel();
	test_capabilities();
	test_lengths();
	test_watermarks();
	test_media();
	test_cells();
	test_no_store_missed();
	test_registers_under_load();
	test_events();
	test_hot();
	test_faults();
	test_answers();
	test_marks();
	test_poison();
	test_full();
	test_decoder();
	test_poison_list();
	test_offsets();
	test_ways();
	test_doe();
	test_sanitize();
	test_fuzz();
	test_function_reset();
	test_reset();
	test_unplug();
	return tap_end();
}
