// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Looks at the pages of the processes of a cgroup from outside: how many are on
 * the device, how many bytes of cells they hold there, and which of them
 * have been read in place.
 *
 * usage: probe ratio CGROUP		"resident PAGES sampled PAGES cells BYTES"
 *        probe arm CGROUP FILE		remember the resident pages in FILE, and
 *					mark them as not accessed
 *        probe accessed FILE		how many of these have been accessed since
 *					and are still where they were
 *
 * /proc/PID/pagemap tells where a page is, the device how many cells it holds
 * (debugfs cram_sim/0/cells_of for the model, QEMU's monitor for the emulated
 * one), and /sys/kernel/mm/page_idle/bitmap whether the processor has
 * set the accessed bit of an entry that maps it.
 */
#define _GNU_SOURCE
#include <err.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define SIM		"/sys/kernel/debug/cram_sim/0/"
#define REGION		"/sys/bus/cxl/devices/region0/"
#define MONITOR		"/dev/virtio-ports/org.cram.qmp"
#define IDLE		"/sys/kernel/mm/page_idle/bitmap"
#define PAGE		4096UL
#define SAMPLES		4096
#define PM_PRESENT	(1ULL << 63)
#define PM_PFN(e)	((e) & ((1ULL << 55) - 1))

struct resident {
	uint64_t pid;
	uint64_t addr;
	uint64_t pfn;
};

static struct resident *pages;
static size_t nr_pages, room;

static unsigned long start_pfn, end_pfn;

static bool is_model(void)
{
	return !access(SIM, F_OK);
}

/* Decimal or with 0x */
static unsigned long number(const char *path)
{
	FILE *f = fopen(path, "re");
	unsigned long n;

	if (!f || fscanf(f, "%li", &n) != 1)
		err(1, "%s", path);
	fclose(f);
	return n;
}

static int open_pagemap(uint64_t pid)
{
	char path[64];

	snprintf(path, sizeof(path), "/proc/%llu/pagemap", (unsigned long long)pid);
	return open(path, O_RDONLY | O_CLOEXEC);
}

static void add(uint64_t pid, uint64_t addr, uint64_t pfn)
{
	if (nr_pages == room) {
		room = room ? room * 2 : 1 << 16;
		pages = realloc(pages, room * sizeof(*pages));
		if (!pages)
			err(1, "memory");
	}
	pages[nr_pages++] = (struct resident){ pid, addr, pfn };
}

static void find_in_range(int fd, uint64_t pid, uint64_t from, uint64_t to)
{
	static uint64_t e[1 << 13];

	while (from < to) {
		uint64_t n = (to - from) / PAGE;
		ssize_t got;

		if (n > sizeof(e) / sizeof(e[0]))
			n = sizeof(e) / sizeof(e[0]);
		got = pread(fd, e, n * 8, from / PAGE * 8);
		if (got <= 0)
			return;
		for (ssize_t i = 0; i < got / 8; i++) {
			uint64_t pfn = PM_PFN(e[i]);

			if ((e[i] & PM_PRESENT) && pfn >= start_pfn && pfn < end_pfn)
				add(pid, from + i * PAGE, pfn);
		}
		from += got / 8 * PAGE;
	}
}

/* A process may end while it is looked at */
static void find_in_process(uint64_t pid)
{
	unsigned long long from, to;
	char path[64], line[512];
	int fd = open_pagemap(pid);
	FILE *maps;

	snprintf(path, sizeof(path), "/proc/%llu/maps", (unsigned long long)pid);
	maps = fopen(path, "re");
	while (fd >= 0 && maps && fgets(line, sizeof(line), maps))
		if (sscanf(line, "%llx-%llx", &from, &to) == 2)
			find_in_range(fd, pid, from, to);
	if (maps)
		fclose(maps);
	if (fd >= 0)
		close(fd);
}

static void find_in_cgroup(const char *cgroup)
{
	unsigned long long pid;
	char path[512];
	FILE *procs;

	if (is_model()) {
		start_pfn = number(SIM "start_pfn");
		end_pfn = start_pfn + number(SIM "nr_pages");
	} else {
		start_pfn = number(REGION "resource") / PAGE;
		end_pfn = start_pfn + number(REGION "size") / PAGE;
	}
	snprintf(path, sizeof(path), "%s/cgroup.procs", cgroup);
	procs = fopen(path, "re");
	if (!procs)
		err(1, "%s", path);
	while (fscanf(procs, "%llu", &pid) == 1)
		find_in_process(pid);
	fclose(procs);
}

static unsigned long long model_cells_of(uint64_t pfn)
{
	static int fd = -1;
	char buf[32];
	int len = snprintf(buf, sizeof(buf), "%llu", (unsigned long long)pfn);

	if (fd < 0)
		fd = open(SIM "cells_of", O_RDWR | O_CLOEXEC);
	if (fd < 0 || write(fd, buf, len) != len || lseek(fd, 0, SEEK_SET))
		err(1, SIM "cells_of");
	len = read(fd, buf, sizeof(buf) - 1);
	if (len <= 0)
		err(1, SIM "cells_of");
	buf[len] = '\0';
	return strtoull(buf, NULL, 10);
}

/* The emulated device starts at address 0 of the region; not settled: the worst */
static unsigned long long emulated_cells_of(uint64_t pfn)
{
	static FILE *in, *out;
	char line[4096], id[32];
	const char *p;

	if (!in) {
		/* One at a time may have it open */
		int fd = open(MONITOR, O_RDWR | O_CLOEXEC);

		in = fd < 0 ? NULL : fdopen(fd, "r");
		out = fd < 0 ? NULL : fdopen(dup(fd), "w");
		if (!in || !out)
			err(1, MONITOR);
		/* An error when somebody has said that before */
		fprintf(out, "{\"execute\": \"qmp_capabilities\", \"id\": \"hello\"}\n");
	}
	snprintf(id, sizeof(id), "\"id\": \"probe%llu\"", (unsigned long long)pfn);
	fprintf(out, "{%s, \"execute\": \"cxl-cram-page\", \"arguments\": {\"path\": \"/machine/peripheral/cram0\", \"dpa\": %llu}}\n",
		id, (unsigned long long)(pfn - start_pfn) * PAGE);
	fflush(out);
	do {
		if (!fgets(line, sizeof(line), in))
			errx(1, MONITOR ": no answer");
	} while (!strstr(line, id));
	if (!strstr(line, "\"return\""))
		errx(1, MONITOR ": %s", line);
	p = strstr(line, "\"cells\": ");
	return p ? strtoull(p + 9, NULL, 10) : PAGE + 64;
}

static int ratio(const char *cgroup)
{
	unsigned long long cells = 0;
	size_t sampled = 0, step;

	find_in_cgroup(cgroup);
	step = nr_pages / SAMPLES + 1;
	for (size_t i = 0; i < nr_pages; i += step) {
		cells += is_model() ? model_cells_of(pages[i].pfn) :
				      emulated_cells_of(pages[i].pfn);
		sampled++;
	}
	printf("resident %zu sampled %zu cells %llu\n", nr_pages, sampled, cells);
	return 0;
}

static int arm(const char *cgroup, const char *name)
{
	int fd = open(IDLE, O_RDWR | O_CLOEXEC);
	FILE *f = fopen(name, "we");
	uint64_t *bits;
	size_t words;

	if (fd < 0)
		err(1, IDLE);
	if (!f)
		err(1, "%s", name);
	find_in_cgroup(cgroup);

	/* Bits that are 0 change nothing */
	words = end_pfn / 64 - start_pfn / 64 + 1;
	bits = calloc(words, sizeof(*bits));
	if (!bits)
		err(1, "memory");
	for (size_t i = 0; i < nr_pages; i++)
		bits[pages[i].pfn / 64 - start_pfn / 64] |= 1ULL << pages[i].pfn % 64;
	for (size_t w = 0; w < words; w++)
		if (bits[w] && pwrite(fd, &bits[w], 8, (start_pfn / 64 + w) * 8) != 8)
			err(1, IDLE);
	if (fwrite(pages, sizeof(*pages), nr_pages, f) != nr_pages || fclose(f))
		err(1, "%s", name);
	printf("%zu\n", nr_pages);
	return 0;
}

static bool still_there(const struct resident *p)
{
	static uint64_t pid;
	static int fd = -1;
	uint64_t e;

	if (fd < 0 || pid != p->pid) {
		if (fd >= 0)
			close(fd);
		fd = open_pagemap(p->pid);
		pid = p->pid;
	}
	return fd >= 0 && pread(fd, &e, 8, p->addr / PAGE * 8) == 8 &&
	       (e & PM_PRESENT) && PM_PFN(e) == p->pfn;
}

static bool is_idle(int fd, uint64_t pfn)
{
	static uint64_t word, bits;
	static bool known;

	if (!known || word != pfn / 64) {
		word = pfn / 64;
		if (pread(fd, &bits, 8, word * 8) != 8)
			err(1, IDLE);
		known = true;
	}
	return bits & (1ULL << pfn % 64);
}

static int by_pfn(const void *a, const void *b)
{
	const struct resident *p = a, *q = b;

	return p->pfn < q->pfn ? -1 : p->pfn > q->pfn;
}

static int accessed(const char *name)
{
	int fd = open(IDLE, O_RDONLY | O_CLOEXEC);
	FILE *f = fopen(name, "re");
	struct resident p;
	size_t n = 0;

	if (fd < 0)
		err(1, IDLE);
	if (!f)
		err(1, "%s", name);
	while (fread(&p, sizeof(p), 1, f) == 1)
		if (still_there(&p))
			add(p.pid, p.addr, p.pfn);
	fclose(f);
	/* Each word of the bitmap is read once, which walks its pages' mappings */
	qsort(pages, nr_pages, sizeof(*pages), by_pfn);
	for (size_t i = 0; i < nr_pages; i++)
		n += !is_idle(fd, pages[i].pfn);
	printf("%zu\n", n);
	return 0;
}

int main(int argc, char **argv)
{
	if (argc == 3 && !strcmp(argv[1], "ratio"))
		return ratio(argv[2]);
	if (argc == 4 && !strcmp(argv[1], "arm"))
		return arm(argv[2], argv[3]);
	if (argc == 3 && !strcmp(argv[1], "accessed"))
		return accessed(argv[2]);
	fprintf(stderr, "usage: probe ratio CGROUP | arm CGROUP FILE | accessed FILE\n");
	return 2;
}
