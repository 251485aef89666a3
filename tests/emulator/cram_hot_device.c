// SPDX-License-Identifier: GPL-2.0
/*
 * The list of hot pages of an emulated device: with exact=on it counts loads by
 * itself, else it is told what to say. And a device that has no list, one that fails
 * when it is asked, and one that takes its time.
 */
#include "qmp.h"

#include <sys/mman.h>

#define N		64
#define SEED		61
#define HOT_PAGES	"49156"	/* C004h */
/* A host that is so busy that it looks like a slow device has the driver pause */
#define LISTED		(60 + SETTLES)
/* As many loads of a page make the driver take it for hot */
#define HOT_READS	1024

static uint64_t node_start;	/* physical address */
static unsigned int ways = 1;	/* devices, in steps of a page */

static int64_t promoted(void)
{
	return cg_key(&cg_here, "cram.stat", "promote_hot");
}

static bool device_is_exact(void)
{
	qmp("\"cxl-cram-query\", \"arguments\": {" DEVICE_PATH "}");
	return strstr(qmp_answer, "\"exact\": true");
}

static bool device_has_list(void)
{
	return !getenv("NOLIST");
}

/* Of the n-th page of the region. */
static void list_nth(uint64_t n, unsigned int reads)
{
	qmp("\"cxl-cram-set-hot\", \"arguments\": {\"path\": \"/machine/peripheral/cram%u\", \"pages\": [{\"dpa\": %llu, \"reads\": %u}]}",
	    (unsigned int)(n % ways), (unsigned long long)(n / ways * PAGE), reads);
}

static uint64_t nth_of(const void *p)
{
	return pfn_of(p) - node_start / PAGE;
}

static void list(const char *p, unsigned int reads)
{
	list_nth(nth_of(p), reads);
}

/* All words of these pages, again and again. */
static void burst(char *p, size_t pages, double seconds)
{
	double end = now() + seconds;
	volatile uint64_t sink;

	while (now() < end)
		for (size_t i = 0; i < pages * PAGE; i += sizeof(sink))
			sink = *(volatile uint64_t *)(p + i);
	(void)sink;
}

/* What is told from outside, and above the threshold, though nobody reads it. */
static void told(void)
{
	char *p;
	size_t i;

	p = resident_pages(N, SEED);
	for (i = 0; i < N; i++)
		list(p + i * PAGE, i % 4 ? HOT_READS - 1 : HOT_READS + i);
	CHECK(WAIT_FOR(LISTED, promoted() == N / 4), "%lld", (long long)promoted());
	nap_ms(2500);
	CHECK_EQ(promoted(), N / 4);
	for (i = 0; i < N; i++)
		CHECK_EQ(is_resident(p + i * PAGE), !!(i % 4));
	CHECK_CONTENT(p, N, SEED);
	CHECK(!munmap(p, N * PAGE));
}

/* A page that is free, one that nobody had, and one twice. */
static void told_nonsense(void)
{
	uint64_t freed, unused, twice;
	char *p, *q;

	p = resident_pages(N, SEED);
	q = resident_pages(1, SEED);
	freed = nth_of(q);
	CHECK(!munmap(q, PAGE));
	unused = node_number("logical_bytes") / PAGE - 1;
	for (size_t i = 0; i < N; i++)
		unused -= nth_of(p + i * PAGE) == unused;
	nap_ms(1500);
	list_nth(freed, 1 << 20);
	list_nth(unused, 1 << 20);
	/* It may leave before it is told again */
	twice = nth_of(p);
	list_nth(twice, 1 << 20);
	list_nth(twice, 1 << 20);
	CHECK(WAIT_FOR(LISTED, promoted() == 1), "%lld", (long long)promoted());
	list_nth(freed, 1 << 20);
	nap_ms(2500);
	CHECK_EQ(promoted(), 1);
	CHECK(!is_resident(p));
	CHECK_EQ(count_resident(p, N), N - 1);
	CHECK_CONTENT(p, N, SEED);
	CHECK(!munmap(p, N * PAGE));
}

/* More than one answer has room for. */
static void told_a_lot(void)
{
	const size_t many = 300;
	char *p;

	p = resident_pages(many, SEED);
	for (size_t i = 0; i < many; i++)
		list(p + i * PAGE, 1 << 20);
	CHECK(WAIT_FOR(LISTED, promoted() == (int64_t)many), "%lld", (long long)promoted());
	CHECK_EQ(count_resident(p, many), 0);
	CHECK_CONTENT(p, many, SEED);
	CHECK(!munmap(p, many * PAGE));
}

/* What the device has counted: read a lot, for a short time. */
static void counted(void)
{
	const size_t hot = 4;
	char *p;

	p = resident_pages(N, SEED);
	/* Too short for accessed bits to tell. */
	burst(p + 8 * PAGE, hot, 1);
	CHECK(WAIT_FOR(LISTED, promoted() == (int64_t)hot), "%lld", (long long)promoted());
	nap_ms(2500);
	CHECK_EQ(promoted(), (int64_t)hot);
	for (size_t i = 0; i < N; i++)
		CHECK_EQ(is_resident(p + i * PAGE), i < 8 || i >= 8 + hot);
	CHECK_CONTENT(p, N, SEED);
	CHECK(!munmap(p, N * PAGE));
}

/* Without a list, too, accessed bits tell; and a burst tells nothing. */
static void without_a_list(void)
{
	double end;
	char *p;

	p = resident_pages(N, SEED);
	burst(p, 4, 1);
	nap_ms(4000);
	CHECK_EQ(promoted(), 0);
	for (end = now() + SETTLES; promoted() < 4 && now() < end; nap_ms(200)) {
		/* Has the TLB flushed, in which nothing is read. */
		CHECK(!mprotect(p, N * PAGE, PROT_NONE));
		CHECK(!mprotect(p, N * PAGE, PROT_READ));
		burst(p, 4, 0.1);
	}
	CHECK_EQ(promoted(), 4);
	CHECK_EQ(count_resident(p, N), N - 4);
	CHECK(state_is("open"));
	CHECK(!munmap(p, N * PAGE));
}

/* It is asked no more for a while, and readings go on as ever. */
static void hot_list_fails(const char *how)
{
	char *p;

	p = resident_pages(N, SEED);
	device_fault(how);
	CHECK(!WAIT_FOR(4, !state_is("open")));
	device_heal();
	list(p, 1 << 20);
	CHECK(!WAIT_FOR(4, !state_is("open")));
	CHECK_EQ(promoted(), 0);
	CHECK_EQ(count_resident(p, N), N);
	CHECK(!munmap(p, N * PAGE));
}

static void list_refused(void)
{
	hot_list_fails("\"opcode\": " HOT_PAGES ", \"return-code\": 4");
}

static void list_late(void)
{
	hot_list_fails("\"opcode\": " HOT_PAGES ", \"delay\": 300");
}

/* A device that is told what to list, one that counts, one that has no list. */
enum kind { TOLD, TOLD_ALONE, COUNTS, WITHOUT };

static const struct {
	enum kind kind;
	struct scenario s;
} scenarios[] = {
	{ TOLD, { "what the device is told", told } },
	{ TOLD, { "what it is told makes no sense", told_nonsense } },
	{ TOLD, { "it is told more than one answer has room for", told_a_lot } },
	{ COUNTS, { "what the device has counted", counted } },
	{ WITHOUT, { "a device without a list", without_a_list } },
	{ TOLD_ALONE, { "it fails when it is asked", list_refused } },
	{ TOLD_ALONE, { "it takes its time", list_late } },
};

static bool device_is(enum kind kind)
{
	switch (kind) {
	case WITHOUT:
		return !device_has_list();
	case COUNTS:
		return device_has_list() && device_is_exact();
	default:
		return device_has_list() && !device_is_exact() && (kind == TOLD || ways == 1);
	}
}

/* A driver that was bound anew asks again, whatever was. */
static void rebind(void)
{
	static const char driver[] = "/sys/bus/cxl/drivers/cxl_cram/";
	char path[100];

	snprintf(path, sizeof(path), "%sunbind", driver);
	CHECK_EQ(write_text(path, "cram_region0"), 0);
	snprintf(path, sizeof(path), "%sbind", driver);
	CHECK_EQ(write_text(path, "cram_region0"), 0);
	CHECK(WAIT_FOR(SETTLES, state_is("open")));
}

int main(void)
{
	const char *w = getenv("WAYS");
	char start[64];
	size_t i;

	setup();
	CHECK_EQ(write_text(node_file(HOT_RATE), "16777216"), 0);
	if (w)
		ways = atoi(w);
	CHECK(read_text("/sys/bus/cxl/devices/region0/resource", start, sizeof(start)) > 0);
	node_start = strtoull(start, NULL, 0);
	for (i = 0; i < ARRAY_SIZE(scenarios); i++) {
		if (!device_is(scenarios[i].kind))
			continue;
		run_scenario(&scenarios[i].s, "", 240);
		device_heal();
		if (scenarios[i].s.run == list_refused)
			rebind();
	}
	teardown();
	return tap_end();
}
