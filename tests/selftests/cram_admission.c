// SPDX-License-Identifier: GPL-2.0
/*
 * A node takes what it has proven room for, and not one page more: filled with
 * what does not compress, kept at the edge, with a device that answers late or
 * not at all. Over-capacity stores stay at 0 and no byte is lost. And what was freed
 * goes back to the device, and nothing else.
 */
#include "util.h"
#include "roads.h"

#include <sys/mman.h>
#include <unistd.h>

#define SEED 9
#define CHUNK (4 * MIB / PAGE)

/* Pages that are looked at together for what was freed */
#define TRIM_BLOCK 512

static char *data;
static size_t nr_pages;

static bool pageout_at(size_t from, size_t pages)
{
	CHECK(!madvise(data + from * PAGE, pages * PAGE, MADV_PAGEOUT), "%m");
	return true;
}

/* Offer chunk after chunk until the node refuses for longer than two readings. */
static void fill_node(uint64_t seed)
{
	unsigned int idle = 0;
	size_t i, resident;

	nr_pages = node_number("logical_bytes") / PAGE / CHUNK * CHUNK;
	data = map_pages(nr_pages);
	for (i = 0; i < nr_pages && idle < 2; i += CHUNK) {
		fill(data + i * PAGE, CHUNK, seed + i);
		idle = WAIT_FOR(2, (pageout_at(i, CHUNK), count_resident(data + i * PAGE, CHUNK) ==
				    CHUNK)) ? 0 : idle + 1;
		CHECK_EQ(node_number("over_capacity"), 0);
	}
	nr_pages = i;
	resident = count_resident(data, nr_pages);
	tap_note("%zu of %zu MiB taken, physical %lld, free %lld, bound %lld",
		 resident * PAGE / MIB, nr_pages * PAGE / MIB,
		 (long long)node_number("physical_bytes") / (long long)MIB,
		 (long long)node_number("physical_free_bytes") / (long long)MIB,
		 (long long)node_number("free_bound_bytes") / (long long)MIB);
}

static void check_data(uint64_t seed)
{
	size_t i;

	for (i = 0; i < nr_pages; i += CHUNK)
		CHECK_CONTENT(data + i * PAGE, CHUNK, seed + i);
}

static void trimmed(int64_t free_before)
{
	munmap(data, nr_pages * PAGE);
	/* Drains the LRU batches of all CPUs. */
	CHECK_EQ(run_walker(), 0);
	CHECK(WAIT_FOR(30, node_number("physical_free_bytes") >= free_before),
	      "%lld KiB free, %lld before", (long long)node_number("physical_free_bytes") / 1024,
	      (long long)free_before / 1024);
}

/* Nothing may be lost, and little may be wasted. */
static void incompressible(void)
{
	int64_t physical = node_number("physical_bytes"), reserve = node_number("reserve_bytes");
	int64_t free_before = node_number("physical_free_bytes");

	fill_period = 512;
	fill_node(SEED);
	CHECK(stat_of("refuse_room") > 0);
	CHECK(cg_number(&cg_here, "cram.current") <= physical);
	CHECK(cg_number(&cg_here, "cram.current") >= (physical - reserve) / 10 * 9);
	CHECK_EQ(cg_number(&cg_here, "cram.current"), count_resident(data, nr_pages) * PAGE);
	CHECK_EQ(node_number("over_capacity"), 0);
	check_data(SEED);
	trimmed(free_before);
	CHECK_EQ(node_number("over_capacity"), 0);
}

/* What compresses needs less, so more of it fits: up to the logical size. */
static void compressible(void)
{
	int64_t physical = node_number("physical_bytes");
	int64_t free_before = node_number("physical_free_bytes");

	fill_period = 64;
	fill_node(SEED);
	CHECK(cg_number(&cg_here, "cram.current") > physical + physical / 2);
	CHECK_EQ(node_number("over_capacity"), 0);
	check_data(SEED);
	trimmed(free_before);
}

/* At the edge, pages leave and others come: promoted, unmapped, demoted again. */
static void at_the_edge(void)
{
	unsigned int round;
	size_t i;

	fill_period = 512;
	fill_node(SEED);
	for (round = 1; round <= scaled(4); round++) {
		for (i = 0; i < nr_pages; i += 4 * CHUNK) {
			/* Now it compresses, now it does not. */
			fill_period = round % 2 ? 64 : 512;
			fill(data + i * PAGE, CHUNK, SEED + round);
			pageout_at(i, CHUNK);
			madvise(data + (i + CHUNK) * PAGE, CHUNK * PAGE, MADV_DONTNEED);
			fill_period = 512;
			fill(data + (i + CHUNK) * PAGE, CHUNK, SEED + round);
			pageout_at(i + CHUNK, CHUNK);
		}
		CHECK_EQ(node_number("over_capacity"), 0);
	}
	for (i = 0; i < nr_pages; i += 4 * CHUNK) {
		fill_period = (round - 1) % 2 ? 64 : 512;
		CHECK_CONTENT(data + i * PAGE, CHUNK, SEED + round - 1);
		fill_period = 512;
		CHECK_CONTENT(data + (i + CHUNK) * PAGE, CHUNK, SEED + round - 1);
		if (i + 2 * CHUNK < nr_pages)
			CHECK_CONTENT(data + (i + 2 * CHUNK) * PAGE, CHUNK, SEED + i + 2 * CHUNK);
	}
	CHECK_EQ(node_number("over_capacity"), 0);
}

static void late_answers(void)
{
	if (write_text(SIM "delay_ms", "150"))
		skip("no " SIM "delay_ms (CONFIG_CRAM_SIM)");
	fill_period = 512;
	fill_node(SEED);
	debug_set(SIM "delay_ms", "0");
	CHECK_EQ(node_number("over_capacity"), 0);
	check_data(SEED);
}

/*
 * No answer: within a lease nothing is admitted any more, reading goes on, and
 * with the answers the node comes back.
 */
static void no_answers(void)
{
	size_t i, resident = 0;
	int64_t refused;

	if (write_text(SIM "drop", "1"))
		skip("no " SIM "drop (CONFIG_CRAM_SIM)");
	fill_period = 512;
	nr_pages = 64 * CHUNK;
	data = map_pages(nr_pages);
	for (i = 0; i < nr_pages && !state_is("lost"); i += CHUNK) {
		fill(data + i * PAGE, CHUNK, SEED + i);
		pageout_at(i, CHUNK);
	}
	CHECK(WAIT_FOR(SETTLES, state_is("lost")));
	resident = count_resident(data, nr_pages);
	refused = stat_of("refuse_state");
	fill(data, CHUNK, SEED);
	pageout_at(0, CHUNK);
	CHECK_EQ(count_resident(data, CHUNK), 0);
	CHECK(stat_of("refuse_state") > refused);
	CHECK(count_resident(data, nr_pages) <= resident);
	debug_set(SIM "drop", "0");
	CHECK(WAIT_FOR(SETTLES, state_is("open")));
	CHECK_EQ(node_number("over_capacity"), 0);
	CHECK_EQ(count_resident(data, CHUNK), 0);
	CHECK(WAIT_FOR(SETTLES, (pageout_at(0, CHUNK), count_resident(data, CHUNK) == CHUNK)));
	CHECK_CONTENT(data, CHUNK, SEED);
}

/* --- what goes back to the device ----------------------------------------------- */

static bool nothing_is_freed(void)
{
	return WAIT_FOR(SETTLES, node_word(" freed ") == 0);
}

/* Free every @step-th of the pages; each is trimmed, and no other page is. */
static void trim_some(size_t step)
{
	int64_t trimmed, looks;
	size_t i, nr = 0;

	CHECK(WAIT_FOR(SETTLES, (pageout_at(0, nr_pages), count_resident(data, nr_pages) ==
				 nr_pages)));
	CHECK(nothing_is_freed(), "%lld", (long long)node_word(" freed "));
	trimmed = debug_number(SIM "trimmed");
	looks = node_word(" trim_looks ");
	for (i = 0; i < nr_pages; i += step, nr++)
		CHECK(!madvise(data + i * PAGE, PAGE, MADV_DONTNEED), "%m");
	CHECK_EQ(run_walker(), 0);
	CHECK(nothing_is_freed(), "%lld", (long long)node_word(" freed "));
	trimmed = debug_number(SIM "trimmed") - trimmed;
	looks = node_word(" trim_looks ") - looks;
	tap_note("%zu pages freed, %lld trimmed, %lld looked at", nr, (long long)trimmed,
		 (long long)looks);
	CHECK_EQ(trimmed, nr);
	/* Their blocks, again while one of them is on its way to the allocator */
	CHECK(looks <= 32 * TRIM_BLOCK, "%lld looks", (long long)looks);
}

/* Whatever block of free pages they are in. */
static void trimmed_alone(void)
{
	need_debug(SIM "trimmed");
	fill_period = 64;
	data = map_pages(64);
	nr_pages = 1;
	fill(data, nr_pages, SEED);
	trim_some(1);
	nr_pages = 64;
	fill(data, nr_pages, SEED);
	trim_some(2);
	fill(data, nr_pages, SEED);
	trim_some(1);
}

/* A page that is out of service never comes to the allocator. */
static void out_of_service(void)
{
	int64_t readings, looks;
	uint64_t pfn;

	need_debug(SIM "trimmed");
	fill_period = 64;
	nr_pages = 1;
	data = map_pages(nr_pages);
	fill(data, nr_pages, SEED);
	CHECK(WAIT_FOR(SETTLES, (pageout_at(0, 1), count_resident(data, 1) == 1)));
	pfn = pfn_of(data);
	poison_page(data);
	CHECK(WAIT_FOR(SETTLES, cg_key(&cg_here, "cram.events", "poison") == 1));
	CHECK(nothing_is_freed(), "%lld", (long long)node_word(" freed "));
	looks = node_word(" trim_looks ");
	readings = debug_number(SIM "readings");
	CHECK(WAIT_FOR(SETTLES, debug_number(SIM "readings") >= readings + 3));
	CHECK_EQ(node_word(" trim_looks "), looks);
	/* Its cells are those of the page, until it is back: they are waited for later */
	put_back_in_service(pfn);
}

static const struct scenario scenarios[] = {
	{ "filled with what does not compress", incompressible },
	{ "filled with what compresses", compressible },
	{ "kept at the edge", at_the_edge },
	{ "a device that answers late", late_answers },
	{ "a device that does not answer", no_answers },
	{ "what is freed is trimmed, and no more", trimmed_alone },
	{ "a page out of service keeps nobody busy", out_of_service },
};

int main(void)
{
	size_t i;

	setup();
	swap_off();
	/* This is about proven room; without watermarks nothing else is in its way. */
	write_text(node_file("critical_bytes"), "0");
	write_text(node_file("low_bytes"), "0");
	for (i = 0; i < ARRAY_SIZE(scenarios); i++)
		run_scenario(&scenarios[i], "", 180 * scale());
	write_text(SIM "delay_ms", "0");
	write_text(SIM "drop", "0");
	check_device();
	teardown();
	return tap_end();
}
