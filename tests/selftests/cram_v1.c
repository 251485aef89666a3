// SPDX-License-Identifier: GPL-2.0
/*
 * Memory accounting on a cgroup v1 hierarchy: nobody could be charged for what is
 * resident, so nothing is demoted, with or without cram on the v2 hierarchy. What
 * became resident before leaves as any other page: it is written, freed, or written
 * to swap, and nothing of it stays in the books.
 * Wants a machine on which no v2 cgroup needs the memory controller, and leaves it to
 * v1. Better with swap on a disk, to which pages are on their way for a while.
 */
#include "util.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

#define V1	"/tmp/memory"
#define N	1024
#define SEED	2

/* Of a keeper's pages: what it writes, and what it frees. */
#define WRITTEN	(N / 4)
#define FREED	(N / 4)

static const struct cg root = { CGROOT };

/*
 * Has resident pages of the root from before memory goes to v1. Those of a cgroup that
 * was removed are the root's by then, too; but what else such a cgroup was charged for
 * on v2 has the memory controller give back on v1 what it did not take there.
 */
static void keeper(struct peer *up, void *arg)
{
	char *p = map_pages(N);

	fill(p, N, SEED);
	demote(p, N);
	tell(up, 'r');

	hear(up);
	fill(p, WRITTEN, SEED);
	unmap_pages(p + (N - FREED) * PAGE, FREED);
	tell(up, 'w');

	hear(up);
	CHECK_CONTENT(p, N - FREED, SEED);
	tell(up, 'c');
}

static int64_t used(void)
{
	return node_number("used_bytes") / (int64_t)PAGE;
}

/* The controllers come back from v2 when the last cgroup that had them is freed. */
static bool move_to_v1(void)
{
	cg_write(&root, "cgroup.subtree_control", "-cram -memory");
	mkdir(V1, 0755);
	return WAIT_FOR(SETTLES, !mount("memory", V1, "cgroup", 0, "memory") || errno != EBUSY) &&
	       exists(V1 "/memory.limit_in_bytes");
}

static void leave(void)
{
	const int kept = N - WRITTEN - FREED;
	int64_t written = read_key("/proc/vmstat", "cram_writeback");
	struct peer peer = peer_start(keeper, NULL);

	hear(&peer);
	tap_ok(used() == N, "pages of the root are resident");
	tap_ok(move_to_v1(), "mount memory as cgroup v1");
	tap_ok(used() == N, "the pages stay");
	tell(&peer, 'w');
	hear(&peer);
	if (!tap_ok(WAIT_FOR(SETTLES, used() == kept), "they are written and freed"))
		tap_note("%lld are left", (long long)used());
	tap_ok(!write_text(node_file("state"), "offline"), "the rest can be drained");
	/* Counters of processors are added up once a second. */
	if (!tap_ok(used() == 0 && WAIT_FOR(SETTLES, read_kb("/proc/meminfo", "Cram") == 0),
		    "none is left"))
		tap_note("%lld are left, meminfo says %lld", (long long)used(),
			 (long long)read_kb("/proc/meminfo", "Cram"));
	/* Or it would not have been by the road that is to be tried. */
	tap_ok(read_key("/proc/vmstat", "cram_writeback") - written == kept,
	       "they were written to swap");
	tell(&peer, 'c');
	tap_ok(hear(&peer) == 'c', "their content is right");
	CHECK_EQ(peer_end(&peer), 0);
	tap_ok(run_walker() == 0, "the walker is content");
	CHECK_EQ(write_text(node_file("state"), "open"), 0);
	CHECK(WAIT_FOR(SETTLES, state_is("open")));
}

static bool offered(void *p)
{
	int i;

	fill(p, N, SEED);
	for (i = 0; i < 5; i++)
		madvise(p, N * PAGE, MADV_PAGEOUT);
	/* Content and place: it is in memory, or in swap. */
	return !count_resident(p, N) && differs(p, N, SEED) == -1;
}

static void refused(void)
{
	int64_t before = read_key("/proc/vmstat", "cram_refuse_memcg");
	void *p = map_pages(N);
	struct cg v2;

	tap_ok(offered(p), "a process in the root of both hierarchies is not demoted");
	tap_ok(read_key("/proc/vmstat", "cram_refuse_memcg") > before,
	       "it is refused as refuse_memcg");
	tap_ok(!mkdir(V1 "/a", 0755) && !write_text(V1 "/a/cgroup.procs", "0"),
	       "enter a v1 memory cgroup");
	unmap_pages(p, N);
	p = map_pages(N);
	tap_ok(offered(p), "a process in a v1 memory cgroup is not demoted");
	tap_ok(!cg_write(&root, "cgroup.subtree_control", "+cram"),
	       "cram can be enabled without memory beside it");
	v2 = cg_make(CGROOT, "cram");
	tap_ok(!cg_enter(&v2, getpid()), "enter a v2 cgroup with cram");
	unmap_pages(p, N);
	p = map_pages(N);
	tap_ok(offered(p), "a process in both is not demoted");
	tap_ok(cg_number(&v2, "cram.current") == 0, "nothing is charged to it");
	tap_ok(!write_text(V1 "/a/memory.limit_in_bytes", "64M") && offered(p),
	       "a v1 limit changes nothing");
}

int main(void)
{
	int64_t demoted;

	tap_start();
	if (cram_node() < 0)
		tap_skip_all("no cram node: boot with cram_sim=512M");
	find_node_pfns();
	write_text(node_file(HOT_RATE), "0");
	if (!read_kb("/proc/meminfo", "SwapTotal") && !swap_on(256))
		tap_skip_all("no swap, and no zram for it");
	leave();
	demoted = read_key("/proc/vmstat", "cram_demote");
	refused();
	tap_ok(read_key("/proc/vmstat", "cram_demote") == demoted,
	       "not a page has been demoted");
	tap_ok(run_walker() == 0, "the walker is content");
	return tap_end();
}
