// SPDX-License-Identifier: GPL-2.0
/*
 * Huge pages: demoted, then written here and there. What was written leaves, and
 * nothing stays behind on the node but what is still mapped: no part of a huge
 * page keeps the rest of it from being freed.
 */
#include "util.h"

#include <sys/mman.h>

#define HUGE	512UL		/* pages in a huge one */
#define NR	64
#define PAGES	(NR * HUGE)
#define SEED	3

static char *huge_pages(void)
{
	char *p = map_pages(PAGES + HUGE);

	p = (char *)(((uintptr_t)p + HUGE * PAGE - 1) & ~(HUGE * PAGE - 1));
	CHECK(!madvise(p, PAGES * PAGE, MADV_HUGEPAGE), "%m");
	fill(p, PAGES, SEED);
	if (read_kb("/proc/self/smaps", "AnonHugePages") < (int64_t)(PAGES * PAGE))
		skip("no transparent huge pages to be had");
	return p;
}

static void every_16th_written(void)
{
	char *p = huge_pages();
	int64_t other = node_number("used_bytes");
	size_t i, rest = PAGES - PAGES / 16;

	demote(p, PAGES);
	CHECK_EQ(cg_number(&cg_here, "cram.current"), PAGES * PAGE);
	for (i = 0; i < PAGES; i += 16)
		p[i * PAGE + 8] ^= 1;
	CHECK(WAIT_FOR(SETTLES, cg_number(&cg_here, "cram.current") == (int64_t)(rest * PAGE)));
	CHECK(WAIT_FOR(SETTLES, node_number("used_bytes") - other == (int64_t)(rest * PAGE)));
	for (i = 0; i < PAGES; i += 16)
		p[i * PAGE + 8] ^= 1;
	CHECK_EQ(count_resident(p, PAGES), rest);
	CHECK_CONTENT(p, PAGES, SEED);
	/* The cells come back, too: the device says so. */
	for (i = 0; i < PAGES; i++)
		rewrite(p + i * PAGE);
	CHECK(WAIT_FOR(SETTLES, cg_number(&cg_here, "cram.current") == 0));
	CHECK(WAIT_FOR(SETTLES, node_number("used_bytes") == other));
	CHECK_CONTENT(p, PAGES, SEED);
}

/* Of each huge page only a part is unmapped, as an allocator may do. */
static void parts_unmapped(void)
{
	char *p = huge_pages();
	size_t i;

	demote(p, PAGES);
	for (i = 0; i < PAGES; i += HUGE)
		CHECK(!madvise(p + i * PAGE, HUGE / 2 * PAGE, MADV_DONTNEED), "%m");
	CHECK(WAIT_FOR(SETTLES, cg_number(&cg_here, "cram.current") == (int64_t)(PAGES / 2 * PAGE)));
	for (i = 0; i < PAGES; i += HUGE)
		fill(p + i * PAGE, HUGE / 2, SEED);
	for (i = 0; i < PAGES; i += HUGE) {
		CHECK_CONTENT(p + i * PAGE, HUGE / 2, SEED);
		CHECK(!page_differs(p + (i + HUGE / 2) * PAGE, SEED, i + HUGE / 2));
	}
}

/* Only a part of each huge page is asked to leave. */
static void parts_demoted(void)
{
	char *p = huge_pages();
	size_t i;

	for (i = 0; i < PAGES; i += HUGE)
		demote(p + i * PAGE, HUGE / 4);
	CHECK_EQ(cg_number(&cg_here, "cram.current"), PAGES / 4 * PAGE);
	CHECK_EQ(count_resident(p, PAGES), PAGES / 4);
	CHECK_CONTENT(p, PAGES, SEED);
	fill(p, PAGES, SEED + 1);
	CHECK_CONTENT(p, PAGES, SEED + 1);
	CHECK_EQ(cg_number(&cg_here, "cram.current"), 0);
}

/* The processes of a fork write to different parts. */
static void child(struct peer *up, void *p)
{
	size_t i;

	for (i = 0; i < PAGES; i += 16)
		fill_page((char *)p + i * PAGE, SEED + 1, i);
	tell(up, 'w');
	hear(up);
	for (i = 0; i < PAGES; i++)
		CHECK(!page_differs((char *)p + i * PAGE, SEED + (i % 16 == 0), i));
}

static void forked(void)
{
	char *p = huge_pages();
	struct peer peer;
	size_t i;

	demote(p, PAGES);
	peer = peer_start(child, p);
	hear(&peer);
	CHECK_EQ(cg_number(&cg_here, "cram.current"), PAGES * PAGE);
	CHECK_CONTENT(p, PAGES, SEED);
	for (i = 8; i < PAGES; i += 16)
		fill_page(p + i * PAGE, SEED + 2, i);
	tell(&peer, 'g');
	CHECK_EQ(peer_end(&peer), 0);
	CHECK(WAIT_FOR(SETTLES, cg_number(&cg_here, "cram.current") ==
			   (int64_t)((PAGES - PAGES / 16) * PAGE)));
	for (i = 0; i < PAGES; i++)
		CHECK(!page_differs(p + i * PAGE, SEED + (i % 16 == 8 ? 2 : 0), i));
}

static const struct scenario scenarios[] = {
	{ "every 16th small page of 64 huge pages is written", every_16th_written },
	{ "half of each huge page is unmapped", parts_unmapped },
	{ "a quarter of each huge page is demoted", parts_demoted },
	{ "parent and child write to different parts", forked },
};

int main(void)
{
	setup();
	run_scenarios(scenarios, ARRAY_SIZE(scenarios), "", 120);
	check_device();
	teardown();
	return tap_end();
}
