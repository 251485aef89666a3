// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * The batch job of the demonstration: a table of MIB mebibytes in anonymous
 * memory that it looks through again and again, and of which it rewrites a few
 * pages in between. Each page says which page and which version of it it is,
 * and the rest follows from that, so a look at it finds every wrong bit, every
 * page that came back to the wrong place, and every update that got lost.
 *
 * 920 bytes of a page are random and the others zero. In the model device that
 * is an LZ4 block of less than 960 bytes and 64 bytes of metadata: 1024 bytes of
 * cells, a ratio of 4.00.
 *
 * usage: batch MIB, and then on standard input, one answer on standard output
 * for each:
 *	check		read all pages	-> "checked PAGES wrong N faults N ms N"
 *	update N	rewrite N pages	-> "updated N faults N ms N"
 *	end
 */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <time.h>

#define PAGE		4096UL
#define RANDOM_WORDS	(920 / 8)

struct page {
	uint64_t index;
	uint64_t version;
	uint64_t words[PAGE / 8 - 2];
};

static struct page *table;
static uint32_t *versions;
static size_t nr_pages;
static size_t cursor;

static uint64_t mix(uint64_t x)
{
	x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9;
	x = (x ^ (x >> 27)) * 0x94d049bb133111eb;
	return x ^ (x >> 31);
}

static uint64_t word(size_t i, uint32_t version, size_t w)
{
	return w < RANDOM_WORDS - 2 ? mix((i << 40) ^ ((uint64_t)version << 8) ^ w) : 0;
}

static void write_page(size_t i, uint32_t version)
{
	struct page *p = &table[i];

	p->index = i;
	p->version = version;
	for (size_t w = 0; w < RANDOM_WORDS - 2; w++)
		p->words[w] = word(i, version, w);
	versions[i] = version;
}

static int page_is_wrong(size_t i)
{
	const struct page *p = &table[i];

	if (p->index != i || p->version != versions[i])
		return 1;
	for (size_t w = 0; w < PAGE / 8 - 2; w++)
		if (p->words[w] != word(i, versions[i], w))
			return 1;
	return 0;
}

static size_t check(void)
{
	size_t wrong = 0;

	for (size_t i = 0; i < nr_pages; i++)
		wrong += page_is_wrong(i);
	return wrong;
}

/* Spread over the table, so that cold pages are hit, too */
static void update(size_t n)
{
	for (; n; n--) {
		cursor = (cursor + 61) % nr_pages;
		write_page(cursor, versions[cursor] + 1);
	}
}

static long faults(void)
{
	struct rusage u;

	getrusage(RUSAGE_SELF, &u);
	return u.ru_minflt + u.ru_majflt;
}

static long ms(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

int main(int argc, char **argv)
{
	size_t mib = argc == 2 ? strtoul(argv[1], NULL, 10) : 0;
	char line[64];

	if (!mib) {
		fprintf(stderr, "usage: batch MIB\n");
		return 2;
	}
	setvbuf(stdout, NULL, _IOLBF, 0);
	nr_pages = (mib << 20) / PAGE;
	table = mmap(NULL, nr_pages * PAGE, PROT_READ | PROT_WRITE,
		     MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	versions = calloc(nr_pages, sizeof(*versions));
	if (table == MAP_FAILED || !versions) {
		perror("batch");
		return 1;
	}
	for (size_t i = 0; i < nr_pages; i++)
		write_page(i, 1);
	printf("ready %zu\n", nr_pages);

	while (fgets(line, sizeof(line), stdin)) {
		long f = faults(), t = ms();
		unsigned long n;

		if (!strcmp(line, "check\n")) {
			size_t wrong = check();

			printf("checked %zu wrong %zu faults %ld ms %ld\n",
			       nr_pages, wrong, faults() - f, ms() - t);
		} else if (sscanf(line, "update %lu", &n) == 1) {
			update(n);
			printf("updated %lu faults %ld ms %ld\n", n,
			       faults() - f, ms() - t);
		} else if (!strcmp(line, "end\n")) {
			break;
		} else {
			printf("what?\n");
		}
	}
	return 0;
}
