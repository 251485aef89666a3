// SPDX-License-Identifier: GPL-2.0
/*
 * What freeing a page costs, demoting it, and looking whether it is hot, in
 * nanoseconds of the clock. For tests/bench, where the clock counts instructions.
 * With an argument, what folios of this many KiB cost, demoted whole.
 *
 * Not a test: it prints "<what> <nanoseconds per page>" and judges nothing.
 */
#include "util.h"

#include <fcntl.h>
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

#define TRACING		"/sys/kernel/tracing/"

/* Begin and end of what the worker for hot pages does. */
static void trace_passes(const char *on)
{
	CHECK_EQ(write_bytes(TRACING "trace", "\n", 1, O_TRUNC), 0);
	CHECK_EQ(write_text(TRACING "events/workqueue/workqueue_execute_start/enable", on), 0);
	CHECK_EQ(write_text(TRACING "events/workqueue/workqueue_execute_end/enable", on), 0);
}

/* Nanoseconds of the shortest or of the longest pass since; there is one processor. */
static double pass(bool longest)
{
	double start = -1, best = -1, t;
	char line[500];
	const char *p;
	FILE *f;

	f = fopen(TRACING "trace", "r");
	CHECK(f);
	while (fgets(line, sizeof(line), f)) {
		if (!strstr(line, "function cram_hot_work_fn"))
			continue;
		p = strstr(line, ": workqueue_execute_");
		while (p > line && p[-1] != ' ')
			p--;
		t = strtod(p, NULL) * 1e9;
		if (strstr(line, "workqueue_execute_start")) {
			start = t;
		} else if (start >= 0) {
			t -= start;
			if (best < 0 || (longest ? t > best : t < best))
				best = t;
			start = -1;
		}
	}
	fclose(f);
	CHECK(best >= 0);
	return best;
}

/* A pass over so many pages that nobody reads, without any, and one that promotes them. */
static void passes(void)
{
	double empty, cold;
	char *p;

	CHECK_EQ(write_text(node_file(HOT_RATE), "16777216"), 0);
	trace_passes("1");
	nap_ms(5000);
	empty = pass(false);

	p = map_pages(PAGES);
	fill(p, PAGES, SEED);
	CHECK_EQ(try_demote(p, PAGES), PAGES);
	/* Those that came with an accessed bit are not candidates any more then */
	nap_ms(6000);
	trace_passes("1");
	nap_ms(6000);
	cold = pass(false);
	printf("look %.1f\n", (cold - empty) / PAGES);
	printf("empty %.1f\n", empty);

	trace_passes("1");
	for (int i = 0; i < 60 && cg_key(&cg_here, "cram.stat", "promote_hot") < PAGES; i++) {
		volatile char sink;

		/* In steps that have all of the TLB flushed */
		CHECK(!mprotect(p, PAGES * PAGE, PROT_NONE));
		CHECK(!mprotect(p, PAGES * PAGE, PROT_READ));
		for (size_t k = 0; k < PAGES; k++)
			sink = ((volatile char *)p)[k * PAGE];
		(void)sink;
		nap_ms(200);
	}
	CHECK_EQ(cg_key(&cg_here, "cram.stat", "promote_hot"), PAGES);
	printf("promoted %.1f\n", (pass(true) - cold) / PAGES);
	trace_passes("0");
	CHECK_EQ(write_text(node_file(HOT_RATE), "0"), 0);
	CHECK(!munmap(p, PAGES * PAGE));
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
		CHECK_EQ(cg_write(&cg_here, "cram.writable_budget", "0"), 0);
		passes();
	}
	CHECK(!munmap(p, PAGES * PAGE));
}

/* --- folios of a size ------------------------------------------------------- */

#define THP "/sys/kernel/mm/transparent_hugepage/"
#define MANY	(4 * HUGE)
#define STEP	16UL	/* one page in so many is written first */

static unsigned int kib;

static void size_to(const char *enabled)
{
	char file[100];

	snprintf(file, sizeof(file), THP "hugepages-%ukB/enabled", kib);
	CHECK_EQ(write_text(THP "hugepages-2048kB/enabled", "never"), 0);
	CHECK_EQ(kib == 4 ? 0 : write_text(file, enabled), 0);
}

static double per(double start, size_t pages)
{
	return (now() - start) * 1e9 / pages;
}

static void least_of(double *best, double took)
{
	if (!*best || took < *best)
		*best = took;
}

static void bench_size(void)
{
	double demoted = 0, read = 0, first = 0, rest = 0, promoted = 0, start, took;
	char *p = map_huge_area(MANY);
	size_t i;

	CHECK(!madvise(p, MANY * PAGE, kib == 4 ? MADV_NOHUGEPAGE : MADV_HUGEPAGE), "%m");
	for (int round = 0; round < ROUNDS / 4; round++) {
		volatile char sum = 0;

		size_to("madvise");
		fill(p, MANY, SEED);
		size_to("never");
		drain_lru();
		start = now();
		madvise(p, MANY * PAGE, MADV_PAGEOUT);
		took = per(start, MANY);
		/* Not if the node wanted another reading in between */
		if (count_resident(p, MANY) == MANY)
			least_of(&demoted, took);
		else
			CHECK_EQ(try_demote(p, MANY), MANY);

		start = now();
		for (i = 0; i < MANY; i++)
			sum += p[i * PAGE];
		least_of(&read, per(start, MANY));

		start = now();
		if (round % 2) {
			CHECK_EQ(cg_printf(&cg_here, "cram.reclaim", "%zu to=dram", MANY * PAGE), 0);
			least_of(&promoted, per(start, MANY));
		} else {
			for (i = 0; i < MANY; i += STEP)
				rewrite(p + i * PAGE);
			least_of(&first, per(start, MANY / STEP));
			start = now();
			for (i = 0; i < MANY; i++)
				if (i % STEP)
					rewrite(p + i * PAGE);
			least_of(&rest, per(start, MANY - MANY / STEP));
		}
		CHECK(!madvise(p, MANY * PAGE, MADV_DONTNEED), "%m");
		CHECK(WAIT_FOR(SETTLES, node_number("free_bound_bytes") >
			       (int64_t)(MANY * PAGE * 2)));
	}
	printf("demoted %.1f\nread %.1f\nfirst %.1f\nrest %.1f\npromoted %.1f\n",
	       demoted, read, first, rest, promoted);
}

int main(int argc, char **argv)
{
	static const struct scenario small = { "bench", bench }, large = { "bench", bench_size };

	kib = argc > 1 ? strtoul(argv[1], NULL, 10) : 0;

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
	run_scenario(kib ? &large : &small, "", 300);
	teardown();
	return tap_end();
}
