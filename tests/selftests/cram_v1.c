// SPDX-License-Identifier: GPL-2.0
/*
 * Memory accounting on a cgroup v1 hierarchy: nobody could be charged for what is
 * resident, so nothing is demoted, with or without cram on the v2 hierarchy.
 * Wants a machine of its own, on which no v2 cgroup uses the memory controller.
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

static bool offered(void *p)
{
	int i;

	fill(p, N, SEED);
	for (i = 0; i < 5; i++)
		madvise(p, N * PAGE, MADV_PAGEOUT);
	/* Content and place: it is in memory, or in swap. */
	return !count_resident(p, N) && differs(p, N, SEED) == -1;
}

int main(void)
{
	struct cg root = { CGROOT };
	int64_t refused;
	struct cg v2;
	void *p;

	tap_start();
	if (cram_node() < 0)
		tap_skip_all("no cram node: boot with cram_sim=512M");
	mkdir(V1, 0755);
	if (!tap_ok(!mount("memory", V1, "cgroup", 0, "memory"), "mount memory as cgroup v1")) {
		tap_note("%m");
		return tap_end();
	}
	find_node_pfns();
	p = map_pages(N);
	refused = read_key("/proc/vmstat", "cram_refuse_memcg");
	tap_ok(offered(p), "a process in the root of both hierarchies is not demoted");
	tap_ok(read_key("/proc/vmstat", "cram_refuse_memcg") > refused,
	       "it is refused as refuse_memcg");
	tap_ok(!mkdir(V1 "/a", 0755) && !write_text(V1 "/a/cgroup.procs", "0"),
	       "enter a v1 memory cgroup");
	unmap_pages(p, N);
	p = map_pages(N);
	tap_ok(offered(p), "a process in a v1 memory cgroup is not demoted");
	if (cg_write(&root, "cgroup.subtree_control", "+cram")) {
		tap_ok(true, "cram cannot be enabled without memory");
	} else {
		v2 = cg_make(CGROOT, "cram");
		tap_ok(!cg_enter(&v2, getpid()), "enter a v2 cgroup with cram");
		unmap_pages(p, N);
		p = map_pages(N);
		tap_ok(offered(p), "a process in both is not demoted");
		tap_ok(cg_number(&v2, "cram.current") == 0, "nothing is charged to it");
	}
	tap_ok(!write_text(V1 "/a/memory.limit_in_bytes", "64M") && offered(p),
	       "a v1 limit changes nothing");
	tap_ok(read_key("/proc/vmstat", "cram_demote") == 0, "not a page has been demoted");
	tap_ok(run_walker() == 0, "the walker is content");
	return tap_end();
}
