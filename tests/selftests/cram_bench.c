// SPDX-License-Identifier: GPL-2.0
/*
 * What freeing a page costs, and demoting it, in nanoseconds of the clock. For
 * tests/bench, where the clock counts instructions.
 *
 * Not a test: it prints "<what> <nanoseconds per page>" and judges nothing.
 */
#include "util.h"

#include <sys/mman.h>
#include <unistd.h>

#define PAGES	1024
#define ROUNDS	40
#define SEED	31

static double free_once(char *p)
{
	double start = now(), end;

	CHECK(!madvise(p, PAGES * PAGE, MADV_DONTNEED), "%m");
	end = now();
	return (end - start) * 1e9 / PAGES;
}

/* The least of many: everything that comes in between makes it more. */
static double least(char *p, bool resident, bool written)
{
	double best = 1e9, took;
	int i;

	for (i = 0; i < ROUNDS; i++) {
		fill(p, PAGES, SEED);
		if (resident)
			CHECK_EQ(try_demote(p, PAGES), PAGES);
		if (written)
			for (size_t k = 0; k < PAGES; k++)
				rewrite(p + k * PAGE);
		drain_lru();
		took = free_once(p);
		best = took < best ? took : best;
	}
	return best;
}

/* Of text, which LZ4 has to look at from one end to the other */
static double least_demotion(char *p)
{
	double best = 1e9, start, took;
	int i;

	for (i = 0; i < ROUNDS; i++) {
		fill(p, PAGES, SEED);
		drain_lru();
		start = now();
		madvise(p, PAGES * PAGE, MADV_PAGEOUT);
		took = (now() - start) * 1e9 / PAGES;
		/* Not if the node wanted another reading in between */
		if (count_resident(p, PAGES) == PAGES)
			best = took < best ? took : best;
		CHECK(!madvise(p, PAGES * PAGE, MADV_DONTNEED), "%m");
		CHECK(WAIT_FOR(SETTLES, node_number("free_bound_bytes") >
			       (int64_t)(PAGES * PAGE * 2)));
	}
	return best;
}

static void bench(void)
{
	char *p = map_pages(PAGES);

	fill_period = 64;
	printf("ordinary %.1f\n", least(p, false, false));
	if (cram_node() >= 0) {
		printf("demoted %.1f\n", least_demotion(p));
		/* Each page is compressed, and none refused */
		CHECK_EQ(cg_write(&cg_here, "cram.page.max", "4K"), 0);
		printf("compressed %.1f\n", least_demotion(p));
		CHECK_EQ(cg_write(&cg_here, "cram.page.max", "max"), 0);
		printf("resident %.1f\n", least(p, true, false));
		CHECK_EQ(cg_write(&cg_here, "cram.writable_budget", "max"), 0);
		printf("upgraded %.1f\n", least(p, true, true));
	}
	CHECK(!munmap(p, PAGES * PAGE));
}

int main(void)
{
	static const struct scenario scenario = { "bench", bench };

	/* For comparison, where the engine is asleep: as deep in the tree. */
	if (cram_node() < 0) {
		struct cg root = { CGROOT }, parent = cg_make(CGROOT, "parent");

		CHECK_EQ(cg_write(&root, "cgroup.subtree_control", "+memory +cram"), 0);
		CHECK_EQ(cg_write(&parent, "cgroup.subtree_control", "+memory +cram"), 0);
		cg_here = cg_make(parent.path, "bench");
		CHECK_EQ(cg_enter(&cg_here, getpid()), 0);
		bench();
		return 0;
	}
	setup();
	run_scenario(&scenario, "", 300);
	teardown();
	return tap_end();
}
