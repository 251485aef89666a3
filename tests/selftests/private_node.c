// SPDX-License-Identifier: GPL-2.0
/*
 * Private NUMA nodes: makes one with the test module, tries every road to its
 * memory, every interface that could take it for ordinary memory, and every way
 * to switch it on and off. See Documentation/mm/private_node.rst, which names
 * these tests behind each row of its table.
 *
 * Wants a guest with two ordinary nodes, the second without CPUs, one more
 * possible node without memory, and RAM that the kernel was told to leave alone:
 * tests/suites/private_node.suite. PN_RANGE is that RAM, three memory blocks or
 * more. What a check says about the private node is said about an ordinary one
 * as well, the other way round, so that no check can pass by not working.
 *
 * With arguments, only the named groups run.
 */
#define _GNU_SOURCE
#include "tap.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/klog.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>


#define PAGE	4096UL
#define MIB	(1UL << 20)
#define HUGE	(2 * MIB)
#define CTL	"/sys/kernel/debug/private_node_test"
#define NODES	"/sys/devices/system/node/"
#define BLOCKS	"/sys/devices/system/memory/"

#define MPOL_PREFERRED			1
#define MPOL_BIND			2
#define MPOL_INTERLEAVE			3
#define MPOL_PREFERRED_MANY		5
#define MPOL_WEIGHTED_INTERLEAVE	6
#define MPOL_MF_STRICT			1
#define MPOL_MF_MOVE			2
#ifndef MADV_COLLAPSE
#define MADV_COLLAPSE	25
#endif

static int nid;			/* the private node */
static int far_nid;		/* ordinary memory without CPUs */
static unsigned long long range_start, range_end;
static unsigned long block_size, pages_total;
unsigned long sink;		/* what is read, so that it is */

/* --- files ------------------------------------------------------------------ */

static char text[1 << 16];

static int slurp(const char *path)
{
	ssize_t n, len = 0;
	int fd = open(path, O_RDONLY);

	text[0] = 0;
	if (fd < 0)
		return -errno;
	while ((n = read(fd, text + len, sizeof(text) - 1 - len)) > 0)
		len += n;
	text[len] = 0;
	close(fd);
	return n < 0 ? -errno : len;
}

static int put(const char *path, const char *what)
{
	int fd = open(path, O_WRONLY), ret = 0;

	if (fd < 0)
		return -errno;
	if (write(fd, what, strlen(what)) < 0)
		ret = -errno;
	close(fd);
	return ret;
}

__attribute__((format(printf, 2, 3)))
static int putf(const char *path, const char *fmt, ...)
{
	char what[512];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(what, sizeof(what), fmt, ap);
	va_end(ap);
	return put(path, what);
}

__attribute__((format(printf, 1, 2)))
static char *name(const char *fmt, ...)
{
	static char names[4][PATH_MAX];
	static int i;
	va_list ap;

	i = (i + 1) % 4;
	va_start(ap, fmt);
	vsnprintf(names[i], sizeof(names[i]), fmt, ap);
	va_end(ap);
	return names[i];
}

/* Number behind "key" or "key:" at the start of a line, or behind "... key:". */
static long value(const char *path, const char *key)
{
	char *p = text;
	size_t n = strlen(key);

	if (slurp(path) < 0)
		return -1;
	while ((p = strstr(p, key))) {
		if ((p == text || p[-1] == '\n' || p[-1] == ' ') &&
		    (p[n] == ' ' || p[n] == ':'))
			return strtol(p + n + (p[n] == ':'), NULL, 10);
		p += n;
	}
	return -1;
}

static long meminfo(const char *key) { return value("/proc/meminfo", key); }
static long vmstat(const char *key) { return value("/proc/vmstat", key); }
static long found(const char *key) { return value(CTL, key); }

static long number(const char *path)
{
	return slurp(path) < 0 ? -1 : strtol(text, NULL, 10);
}

/* Is @n in a list like 0-2,5? */
static bool in_list(char *p, int n)
{
	while (*p == '\t')
		p++;
	while (*p >= '0' && *p <= '9') {
		long a = strtol(p, &p, 10), b = a;

		if (*p == '-')
			b = strtol(p + 1, &p, 10);
		if (n >= a && n <= b)
			return true;
		p += *p == ',';
	}
	return false;
}

static bool listed(const char *path, int n)
{
	return slurp(path) > 0 && in_list(text, n);
}

static bool state(const char *which, int n)
{
	return listed(name(NODES "%s", which), n);
}

/* Is there a kernel thread of this name and node? */
static bool has_thread(const char *comm, int n)
{
	DIR *d = opendir("/proc");
	char want[32], path[300];
	struct dirent *e;
	bool yes = false;

	snprintf(want, sizeof(want), "%s%d\n", comm, n);
	while (d && (e = readdir(d))) {
		snprintf(path, sizeof(path), "/proc/%s/comm", e->d_name);
		if (e->d_name[0] >= '0' && e->d_name[0] <= '9' && slurp(path) > 0)
			yes |= !strcmp(text, want);
	}
	if (d)
		closedir(d);
	return yes;
}

static void nap_ms(long ms)
{
	struct timespec ts = { ms / 1000, ms % 1000 * 1000000 };

	nanosleep(&ts, NULL);
}

/* --- the node --------------------------------------------------------------- */

#define cmd(...) putf(CTL, __VA_ARGS__)

static int add_node(void)
{
	/* Two ranges, to have that as well: the first block, and the rest. */
	return cmd("add %d pntest %llx-%llx %llx-%llx", nid, range_start,
		   range_start + block_size - 1, range_start + block_size, range_end);
}

static int remove_node(void)
{
	return cmd("remove %d", nid);
}

static unsigned long nr_blocks(void)
{
	return (range_end + 1 - range_start) / block_size;
}

static char *block_file(unsigned long i, const char *file)
{
	return name(BLOCKS "memory%llu/%s", range_start / block_size + i, file);
}

/* Free private memory in kB, after per-cpu lists and counters were emptied. */
static long private_free(void)
{
	cmd("drain");
	slurp("/proc/sys/vm/stat_refresh");
	return meminfo("PrivateFree");
}

/* --- memory of this process ------------------------------------------------- */

static void *map(size_t len)
{
	char *p = mmap(NULL, len + HUGE, PROT_READ | PROT_WRITE,
		       MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	if (p == MAP_FAILED) {
		perror("mmap");
		exit(1);
	}
	p = (char *)(((uintptr_t)p + HUGE - 1) & ~(HUGE - 1));
	madvise(p, len, 15 /* MADV_NOHUGEPAGE */);
	return p;
}

static void fill(void *p, size_t len)
{
	for (size_t i = 0; i < len / sizeof(uint64_t); i++)
		((uint64_t *)p)[i] = (i + 1) * 0x9e3779b97f4a7c15ull;
}

static bool intact(void *p, size_t len)
{
	for (size_t i = 0; i < len / sizeof(uint64_t); i++)
		if (((uint64_t *)p)[i] != (i + 1) * 0x9e3779b97f4a7c15ull)
			return false;
	return true;
}

static long move_pages(unsigned long n, void **pages, const int *nodes, int *status, int flags)
{
	return syscall(SYS_move_pages, 0, n, pages, nodes, status, flags);
}

/* Node of the page at @p, or -errno. */
static int node_of(void *p)
{
	int status = -1;

	if (move_pages(1, &p, NULL, &status, 0) < 0)
		return -errno;
	return status;
}

/* All pages of a range in one call: moved to node @n, or with -1 looked up. */
static int *all_pages(char *p, size_t len, int n)
{
	static void *pages[16384];
	static int nodes[16384], status[16384];
	size_t count = len / PAGE;

	for (size_t i = 0; i < count; i++) {
		pages[i] = p + i * PAGE;
		nodes[i] = n;
		status[i] = -1;
	}
	move_pages(count, pages, n < 0 ? NULL : nodes, status, n < 0 ? 0 : MPOL_MF_MOVE);
	return status;
}

static unsigned long on_node(void *p, size_t len, int n)
{
	int *status = all_pages(p, len, -1);
	unsigned long count = 0;

	for (size_t i = 0; i < len / PAGE; i++)
		count += status[i] == n;
	return count;
}

/* Move pages to an ordinary node by system call, or to the private one. */
static bool put_pages(void *p, size_t len, int n)
{
	if (n == nid)
		cmd("place %lx %lx %d", (long)p, len, n);
	else
		all_pages(p, len, n);
	return on_node(p, len, n) == len / PAGE;
}

static long set_mempolicy(int mode, unsigned long mask)
{
	return syscall(SYS_set_mempolicy, mode, mode ? &mask : NULL, mode ? 64 : 0);
}

static long mbind(void *p, size_t len, int mode, unsigned long mask, int flags)
{
	return syscall(SYS_mbind, p, len, mode, &mask, 64, flags);
}

#define BIT(n) (1UL << (n))

/* --- groups of tests -------------------------------------------------------- */

static void test_arguments(void)
{
	unsigned long long s = range_start, e = range_end;

	tap_ok(cmd("add -1 x %llx-%llx", s, e) == -EINVAL, "add: node -1 is EINVAL");
	tap_ok(cmd("add 100000 x %llx-%llx", s, e) == -EINVAL, "add: node 100000 is EINVAL");
	tap_ok(cmd("add 63 x %llx-%llx", s, e) == -EINVAL, "add: an impossible node is EINVAL");
	tap_ok(cmd("add 0 x %llx-%llx", s, e) == -EINVAL, "add: a node with CPUs is EINVAL");
	tap_ok(cmd("add %d x %llx-%llx", nid, s + PAGE, e) == -EINVAL, "add: an unaligned start is EINVAL");
	tap_ok(cmd("add %d x %llx-%llx", nid, s, e - PAGE) == -EINVAL, "add: an unaligned end is EINVAL");
	tap_ok(cmd("add %d x %llx-%llx", nid, e + 1, s - 1) == -EINVAL, "add: a range that ends before it starts is EINVAL");
	tap_ok(cmd("add %d x", nid) == -EINVAL, "add: no range is EINVAL");
	tap_ok(cmd("add %d x %llx-%llx", far_nid, s, e) == -EBUSY, "add: a node with ordinary memory is EBUSY");
	tap_ok(remove_node() == -ENODEV, "remove: a node that is not private is ENODEV");
	tap_ok(cmd("remove 0") == -ENODEV, "remove: an ordinary node is ENODEV");

	/* The last range is RAM in use: the first two have to be undone. */
	tap_ok(cmd("add %d x %llx-%llx %llx-%llx %llx-%llx", nid, s, s + block_size - 1,
		   s + block_size, s + 2 * block_size - 1, 0ull, block_size - 1ull) == -EEXIST,
	       "add: a range in use is EEXIST");
	tap_ok(!state("online", nid) && !state("has_private_memory", nid),
	       "add: undone when the third of three ranges fails");
	slurp("/proc/iomem");
	tap_ok(!strstr(text, "(x)"), "add: no resource left behind");
	tap_ok(access(block_file(0, ""), F_OK), "add: no memory block left behind");
}

static void test_undo(void)
{
	long total, free, node_total = (range_end + 1 - range_start) / 1024;
	size_t len = 4 * MIB;
	char *p = map(len);

	/* The last block: all others are online by then. */
	total = meminfo("MemTotal");
	cmd("fail %lu 0", nr_blocks());
	tap_ok(add_node() == -ENOMEM, "undo: the error of a block that cannot go online");
	cmd("fail 0 0");
	tap_ok(!state("online", nid) && !state("has_private_memory", nid) && access(block_file(0, ""), F_OK) &&
	       meminfo("MemTotal") == total && meminfo("PrivateTotal") == 0, "undo: and nothing is left of the add");

	/* The last block: all others are offline by then. */
	tap_ok(add_node() == 0, "undo: add");
	fill(p, len);
	put_pages(p, len, nid);
	free = private_free();
	cmd("fail 0 %lu", nr_blocks());
	tap_ok(remove_node() == -ENOMEM, "undo: the error of a block that cannot go offline");
	cmd("fail 0 0");
	tap_ok(meminfo("PrivateTotal") == node_total && state("has_private_memory", nid) && !state("has_memory", nid) &&
	       private_free() >= free, "undo: and nothing is left of the remove");
	tap_ok(intact(p, len) && put_pages(p, len, nid) && cmd("alloc %d 0 10", nid) == 0, "undo: the node serves on");
	cmd("free");
	munmap(p, len);
	tap_ok(remove_node() == 0, "undo: remove");
}

/* In /proc/zoneinfo, already read: the first number behind @key in @zone. */
static long zone_number(const char *zone, const char *key)
{
	char *p = strstr(text, zone);

	p = p ? strstr(p, key) : NULL;
	return p ? strtol(p + strlen(key), NULL, 10) : -1;
}

static void test_numbers(void)
{
	long total = meminfo("MemTotal"), mem_free = meminfo("MemFree");
	long avail = meminfo("MemAvailable"), commit = meminfo("CommitLimit");
	long dirty = vmstat("nr_dirty_threshold"), minfree = number("/proc/sys/vm/min_free_kbytes");
	long nfree = vmstat("nr_free_pages"), size = (range_end + 1 - range_start) / 1024;
	/* The memory map of the new memory comes from ordinary memory. */
	long cost = size / 64 + 8192;

	tap_ok(meminfo("PrivateTotal") == 0 && private_free() == 0, "meminfo: no private memory yet");
	/* An administrator's default must not matter. */
	put(BLOCKS "auto_online_blocks", "online_kernel");
	tap_ok(add_node() == 0, "add: two ranges");
	put(BLOCKS "auto_online_blocks", "offline");
	tap_ok(add_node() == -EEXIST, "add: a private node is EEXIST");

	tap_ok(meminfo("PrivateTotal") == size, "meminfo: PrivateTotal is all of it (%ld kB)", meminfo("PrivateTotal"));
	tap_ok(private_free() == size, "meminfo: PrivateFree is all of it (%ld kB)", private_free());
	tap_ok(vmstat("nr_private_pages") == size / 4 && vmstat("nr_private_free_pages") == size / 4,
	       "vmstat: nr_private_pages, nr_private_free_pages");
	tap_ok(meminfo("MemTotal") == total, "meminfo: MemTotal is what it was");
	tap_ok(labs(meminfo("MemFree") - mem_free) < cost, "meminfo: MemFree leaves it out (%ld, was %ld kB)",
	       meminfo("MemFree"), mem_free);
	tap_ok(labs(meminfo("MemAvailable") - avail) < cost, "meminfo: MemAvailable leaves it out (%ld, was %ld kB)",
	       meminfo("MemAvailable"), avail);
	tap_ok(labs(vmstat("nr_free_pages") - nfree) < cost / 4, "vmstat: nr_free_pages leaves it out");
	tap_ok(meminfo("CommitLimit") == commit, "meminfo: CommitLimit is what it was");
	tap_ok(labs(vmstat("nr_dirty_threshold") - dirty) < dirty / 20 + 512, "vmstat: the dirty threshold leaves it out (%ld, was %ld)",
	       vmstat("nr_dirty_threshold"), dirty);
	tap_ok(number("/proc/sys/vm/min_free_kbytes") == minfree, "min_free_kbytes is what it was");
	tap_ok(value(name(NODES "node%d/meminfo", nid), "MemTotal") == size &&
	       value(name(NODES "node%d/meminfo", nid), "MemFree") == size,
	       "nodeN/meminfo shows it");

	tap_ok(state("has_private_memory", nid) && !state("has_private_memory", 0), "node state: has_private_memory");
	tap_ok(!state("has_memory", nid) && state("has_memory", far_nid), "node state: not has_memory");
	tap_ok(!state("has_normal_memory", nid) && state("has_normal_memory", far_nid), "node state: not has_normal_memory");
	tap_ok(state("online", nid), "node state: online");
	tap_ok(!has_thread("kswapd", nid) && has_thread("kswapd", 0), "no kswapd");
	tap_ok(!has_thread("kcompactd", nid) && has_thread("kcompactd", 0), "no kcompactd");

	slurp("/proc/iomem");
	tap_ok(!!strstr(text, "System RAM (pntest)"), "/proc/iomem: a resource of its own name");
	slurp("/proc/zoneinfo");
	tap_ok(!!strstr(text, name("Node %d, zone  Movable", nid)), "/proc/zoneinfo shows its zone");
	tap_ok(zone_number(name("Node %d, zone  Movable", nid), "min ") == 0 &&
	       zone_number(name("Node %d, zone  Movable", nid), "high ") == 0 &&
	       zone_number("Node 0, zone    DMA32", "min ") > 0, "watermarks: 0");
	/* An eighth of the node otherwise */
	tap_ok(zone_number(name("Node %d, zone  Movable", nid), "high_max: ") < 1000 &&
	       zone_number("Node 0, zone    DMA32", "high_max: ") > 1000, "per-cpu lists: short");
	slurp("/proc/buddyinfo");
	tap_ok(!!strstr(text, name("Node %d, zone  Movable", nid)), "/proc/buddyinfo shows its zone");
	slurp("/proc/pagetypeinfo");
	tap_ok(!!strstr(text, name("Node    %d, zone  Movable", nid)), "/proc/pagetypeinfo shows its zone");
	slurp(block_file(0, "valid_zones"));
	tap_ok(!strcmp(text, "Movable\n"), "valid_zones of an online block: Movable");
}

static void test_roads(void)
{
	static char list[sizeof(text)];
	char *road, *save;
	int i = 0;

	cmd("roads");
	slurp(CTL);
	memcpy(list, text, sizeof(list));
	for (road = strtok_r(list, "\n", &save); road; road = strtok_r(NULL, "\n", &save), i++) {
		bool works;

		cmd("try %s %d", road, nid);
		tap_ok(found("landed") == 0, "road %s: nothing of the private node (%ld pages elsewhere, errno %ld)",
		       road, found("pages"), found("errno"));
		if (!strcmp(road, "contig_range"))
			tap_ok(found("errno") == EINVAL, "road contig_range: EINVAL");
		/* Same attempt, ordinary nodes. */
		cmd("try %s %d", road, far_nid);
		works = found("landed") > 0;
		cmd("try %s 0", road);
		tap_ok(works && found("landed") > 0, "road %s: leads to ordinary nodes", road);
	}
	tap_ok(i >= 19, "%d roads", i);
}

static void test_alloc(void)
{
	long oom = vmstat("oom_kill"), scanned = vmstat("pgscan_direct") + vmstat("pgscan_kswapd");
	long mem_free = meminfo("MemFree"), total = meminfo("PrivateTotal") / 4;

	tap_ok(cmd("alloc %d 0 1000", nid) == 0 && found("pages") == 1000 && found("elsewhere") == 0,
	       "alloc: 1000 pages of the private node");
	tap_ok(private_free() <= (total - 1000) * 4, "alloc: PrivateFree falls (%ld kB)", private_free());
	cmd("free");
	tap_ok(cmd("alloc %d 9 4", nid) == 0 && found("pages") == 4 * 512 && found("elsewhere") == 0,
	       "alloc: order 9");
	cmd("free");

	tap_ok(cmd("alloc %d 0 %ld", nid, total + 1) == -ENOMEM, "alloc: more than there is fails");
	tap_ok(found("elsewhere") == 0 && total - found("pages") < 2048, "alloc: after all of it (%ld of %ld pages)",
	       found("pages"), total);
	tap_ok(private_free() < 8192, "alloc: PrivateFree is near 0 (%ld kB)", private_free());
	tap_ok(vmstat("oom_kill") == oom && vmstat("pgscan_direct") + vmstat("pgscan_kswapd") == scanned,
	       "alloc: no reclaim, no OOM killer");
	tap_ok(labs(meminfo("MemFree") - mem_free) < 32768, "alloc: MemFree does not see it");
	cmd("free");
	tap_ok(meminfo("PrivateTotal") - private_free() < 4096, "alloc: all of it comes back (%ld kB free)", private_free());
	tap_ok(cmd("isolate %d 4096", nid) == 0 && found("pages") >= 4096,
	       "isolate: free pages can be taken off the free lists (%ld)", found("pages"));
	tap_ok(meminfo("PrivateTotal") - private_free() < 4096, "isolate: and come back");
}

/* Nothing may store to free or fresh private pages. */
static void test_content(void)
{
	bool init, poison, reporting;
	int order;
	long n;

	slurp("/proc/cmdline");
	init = strstr(text, "init_on_alloc=1");
	poison = strstr(text, "page_poison=1");
	reporting = strstr(text, "pn_reporting");
	order = reporting ? 9 : 0;

	/* All of the node, because any of its pages may come first. */
	cmd("alloc %d %d %lu", nid, order, pages_total >> order);
	n = found("pages");
	cmd("dirty 90");
	cmd("free");
	/* Reports a sixteenth of what is free every two seconds. */
	if (reporting)
		nap_ms(8000);
	cmd("alloc %d %d %lu", nid, order, pages_total >> order);
	cmd("look");
	tap_ok(n > (long)pages_total / 2 && found("byte90") >= n - 2048,
	       "content: free and alloc leave it alone (%ld of %ld pages, %ld zero, %ld poison)",
	       found("byte90"), n, found("zero"), found("poison"));
	cmd("free");

	/* Reporting works in the background: a slow machine gets some more tries. */
	n = reporting ? 64 : 4000;
	for (int i = 0; i < (reporting ? 5 : 1); i++) {
		cmd("alloc %d %d %ld", far_nid, order, n);
		cmd("dirty 90");
		cmd("free");
		if (reporting)
			nap_ms(8000);
		cmd("alloc %d %d %ld", far_nid, order, n);
		cmd("look");
		if (!reporting || found("zero") > 0)
			break;
		cmd("free");
	}
	if (init || poison || reporting)
		tap_ok(found(poison ? "poison" : "zero") > 0 && found("byte90") < n << order,
		       "content: %s touches ordinary memory (%ld of %ld pages left, %ld zero, %ld poison)",
		       init ? "init_on_alloc" : poison ? "page_poison" : "page reporting",
		       found("byte90"), n << order, found("zero"), found("poison"));
	cmd("free");
	if (reporting)
		return;

	/* Through remove and add: nothing zeroes memory that goes online, either. */
	cmd("alloc %d 0 %lu", nid, pages_total);
	n = found("pages");
	cmd("dirty 119");
	cmd("free");
	remove_node();
	add_node();
	cmd("alloc %d 0 %lu", nid, pages_total);
	cmd("look");
	tap_ok(n > (long)pages_total / 2 && found("byte119") >= n - 2048,
	       "content: remove and add leave it alone (%ld of %ld pages)", found("byte119"), n);
	cmd("free");
}

static void test_placed(void)
{
	size_t len = 4 * MIB;
	char *p = map(len);
	char *cg = "/sys/fs/cgroup/pn";
	long before;

	mkdir(cg, 0755);
	put("/sys/fs/cgroup/cgroup.subtree_control", "+memory");
	putf("/sys/fs/cgroup/pn/cgroup.procs", "%d", getpid());
	fill(p, len);
	before = private_free();
	tap_ok(on_node(p, len, nid) == 0, "placed: not there before");
	tap_ok(put_pages(p, len, nid), "placed: move_pages(2) reports the node of pages there");
	tap_ok(intact(p, len), "placed: content moved with it");
	tap_ok(before - private_free() >= (long)len / 1024, "placed: PrivateFree falls");

	slurp("/proc/self/numa_maps");
	tap_ok(!!strstr(text, name(" N%d=%lu", nid, len / PAGE)), "placed: numa_maps shows it");
	slurp("/sys/fs/cgroup/pn/memory.numa_stat");
	char *anon = strstr(text, "anon ");
	char *entry = anon ? strstr(anon, name(" N%d=", nid)) : NULL;

	tap_ok(entry && strtoul(entry + strlen(name(" N%d=", nid)), NULL, 10) >= len,
	       "placed: memory.numa_stat shows it");
	tap_ok(value(name(NODES "node%d/meminfo", nid), "AnonPages") >= (long)len / 1024,
	       "placed: nodeN/meminfo shows it");
	slurp("/sys/kernel/debug/lru_gen");
	tap_ok(!!strstr(text, name(" node %5d\n", nid)) && !!strstr(text, " node     0\n"), "placed: lru_gen shows its lists");

	/* Reclaim of the cgroup has nothing to do with it. */
	put("/sys/fs/cgroup/pn/memory.reclaim", "4M");
	tap_ok(on_node(p, len, nid) == len / PAGE, "placed: memory.reclaim leaves it alone");

	p[0]++;
	p[0]--;
	if (!fork()) {
		bool good = intact(p, len);

		p[PAGE] = 1;
		_exit(!(good && node_of(p + PAGE) != nid));
	}
	int status;

	wait(&status);
	tap_ok(WIFEXITED(status) && !WEXITSTATUS(status), "placed: a copy made by a write after fork is elsewhere");
	tap_ok(intact(p, len), "placed: and the parent's is intact");
	munmap(p, len);
	for (int i = 0; i < 500 && private_free() < before - 1024; i++)
		nap_ms(20);
	tap_ok(private_free() >= before - 1024, "placed: munmap gives it back");
	putf("/sys/fs/cgroup/cgroup.procs", "%d", getpid());
}

static void test_policy(void)
{
	static const struct { int mode; const char *name; } modes[] = {
		{ MPOL_BIND, "bind" }, { MPOL_PREFERRED, "preferred" },
		{ MPOL_INTERLEAVE, "interleave" }, { MPOL_PREFERRED_MANY, "preferred-many" },
		{ MPOL_WEIGHTED_INTERLEAVE, "weighted interleave" },
	};
	size_t len = 2 * MIB;
	unsigned long mask;
	char *p;

	for (size_t i = 0; i < ARRAY_SIZE(modes); i++) {
		int mode = modes[i].mode;
		int got;

		p = map(len);
		tap_ok(set_mempolicy(mode, BIT(nid)) < 0 && errno == EINVAL, "set_mempolicy %s: EINVAL", modes[i].name);
		tap_ok(mbind(p, len, mode, BIT(nid), 0) < 0 && errno == EINVAL, "mbind %s: EINVAL", modes[i].name);
		tap_ok(!set_mempolicy(mode, BIT(far_nid)), "set_mempolicy %s: works with an ordinary node", modes[i].name);
		fill(p, len);
		tap_ok(on_node(p, len, far_nid) == len / PAGE, "set_mempolicy %s: and pages land there", modes[i].name);
		munmap(p, len);

		/* As numactl --interleave=all: all that there is, the node among it. */
		p = map(len);
		tap_ok(!set_mempolicy(mode, BIT(0) | BIT(far_nid) | BIT(nid)), "set_mempolicy %s: all nodes", modes[i].name);
		mask = 0;
		syscall(SYS_get_mempolicy, &got, &mask, 64, NULL, 0);
		fill(p, len);
		tap_ok(!(mask & BIT(nid)) && mask & BIT(0) && on_node(p, len, nid) == 0,
		       "set_mempolicy %s: are all but the private one", modes[i].name);
		set_mempolicy(0, 0);
		munmap(p, len);
	}

	p = map(len);
	fill(p, len);
	mbind(p, len, MPOL_BIND, BIT(0) | BIT(far_nid), 0);
	tap_ok(syscall(SYS_set_mempolicy_home_node, p, len, nid, 0) < 0 && errno == EINVAL,
	       "set_mempolicy_home_node: EINVAL");
	tap_ok(!syscall(SYS_set_mempolicy_home_node, p, len, far_nid, 0), "set_mempolicy_home_node: works with an ordinary node");
	munmap(p, len);

	tap_ok(access(name("/sys/kernel/mm/mempolicy/weighted_interleave/node%d", nid), F_OK) &&
	       !access("/sys/kernel/mm/mempolicy/weighted_interleave/node0", F_OK),
	       "weighted interleave: no weight for it");

	p = map(len);
	fill(p, len);
	void *page = p;
	int status;

	tap_ok(move_pages(1, &page, &nid, &status, MPOL_MF_MOVE) < 0 && errno == ENODEV, "move_pages to it: ENODEV");
	tap_ok(!move_pages(1, &page, &far_nid, &status, MPOL_MF_MOVE) && status == far_nid, "move_pages: works with an ordinary node");
	unsigned long from = BIT(0) | BIT(far_nid), to = BIT(nid);

	tap_ok(syscall(SYS_migrate_pages, 0, 64, &from, &to) < 0 && errno == EINVAL, "migrate_pages to it: EINVAL");
	put_pages(p, len, 0);
	from = BIT(0);
	to = BIT(far_nid);
	syscall(SYS_migrate_pages, 0, 64, &from, &to);
	tap_ok(on_node(p, len, far_nid) == len / PAGE, "migrate_pages: works with an ordinary node");

	/* Away from it is what a user may ask for. */
	put_pages(p, len, nid);
	tap_ok(mbind(p, len, MPOL_BIND, BIT(0), MPOL_MF_STRICT) < 0 && errno == EIO, "mbind strict: pages there are misplaced");
	tap_ok(!mbind(p, len, MPOL_BIND, BIT(0), MPOL_MF_MOVE) && on_node(p, len, 0) == len / PAGE && intact(p, len),
	       "mbind: moves pages away from it");
	put_pages(p, len, nid);
	page = p;
	int zero = 0;

	tap_ok(!move_pages(1, &page, &zero, &status, MPOL_MF_MOVE) && status == 0, "move_pages: moves a page away from it");
	munmap(p, len);
}

static void test_cpuset(void)
{
	size_t len = 2 * MIB;
	char *p = map(len);

	put("/sys/fs/cgroup/cgroup.subtree_control", "+cpuset");
	mkdir("/sys/fs/cgroup/pnset", 0755);
	tap_ok(!listed("/sys/fs/cgroup/cpuset.mems.effective", nid) &&
	       listed("/sys/fs/cgroup/cpuset.mems.effective", far_nid), "cpuset: not among the root's mems");
	putf("/sys/fs/cgroup/pnset/cpuset.mems", "%d,%d", far_nid, nid);
	tap_ok(listed("/sys/fs/cgroup/pnset/cpuset.mems.effective", far_nid) &&
	       !listed("/sys/fs/cgroup/pnset/cpuset.mems.effective", nid), "cpuset: mems are never effective");
	putf("/sys/fs/cgroup/pnset/cgroup.procs", "%d", getpid());
	fill(p, len);
	tap_ok(on_node(p, len, far_nid) == len / PAGE, "cpuset: pages land on the ordinary one of its mems");
	munmap(p, len);
	putf("/sys/fs/cgroup/pnset/cpuset.mems", "%d", nid);
	tap_ok(!listed("/sys/fs/cgroup/pnset/cpuset.mems.effective", nid), "cpuset: alone it is not effective");
	p = map(len);
	fill(p, len);
	tap_ok(on_node(p, len, nid) == 0, "cpuset: and gets no page");
	/* A task outside may still have pages there, and memory_migrate may move them off. */
	putf("/sys/fs/cgroup/cgroup.procs", "%d", getpid());
	rmdir("/sys/fs/cgroup/pnset");
	munmap(p, len);
	slurp("/proc/self/status");
	p = strstr(text, "Mems_allowed_list:");
	tap_ok(p && in_list(p + 19, 0) && !in_list(p + 19, nid), "cpuset: not in Mems_allowed");
}

static void test_pools(void)
{
	char *f = NODES "node%d/hugepages/hugepages-2048kB/nr_hugepages";
	DIR *d = opendir("/sys/devices/virtual/memory_tiering");
	struct dirent *e;
	bool tier = false, tier0 = false;

	if (access(name(f, 0), F_OK)) {
		tap_skip("hugetlb: nodeN/hugepages gets no page", "HUGETLBFS");
	} else {
		put(name(f, nid), "4");
		tap_ok(number(name(f, nid)) <= 0, "hugetlb: nodeN/hugepages gets no page");
		put(name(f, far_nid), "4");
		tap_ok(number(name(f, far_nid)) == 4, "hugetlb: an ordinary node's does");
		put(name(f, far_nid), "0");
		put("/proc/sys/vm/nr_hugepages", "30");
		tap_ok(number(name(f, nid)) <= 0 && number("/proc/sys/vm/nr_hugepages") == 30,
		       "hugetlb: vm.nr_hugepages takes them elsewhere");
		put("/proc/sys/vm/nr_hugepages", "0");
	}
	while (d && (e = readdir(d))) {
		if (strncmp(e->d_name, "memory_tier", 11) || strstr(e->d_name, "tiering"))
			continue;
		tier |= listed(name("/sys/devices/virtual/memory_tiering/%s/nodelist", e->d_name), nid);
		tier0 |= listed(name("/sys/devices/virtual/memory_tiering/%s/nodelist", e->d_name), 0);
	}
	if (d)
		closedir(d);
	tap_ok(!tier && tier0, "memory tiers: in none");
}

/* Pages of every second page frame, so that compaction has something to do. */
static char *fragment(int n, size_t len)
{
	char *p = map(len);

	fill(p, len);
	put_pages(p, len, n);
	for (size_t i = 0; i < len; i += 2 * PAGE)
		madvise(p + i, PAGE, MADV_DONTNEED);
	return p;
}

static uint64_t pfn(void *p)
{
	uint64_t e = 0;
	int fd = open("/proc/self/pagemap", O_RDONLY);

	pread(fd, &e, sizeof(e), (uintptr_t)p / PAGE * 8);
	close(fd);
	return e & ((1ull << 55) - 1);
}

static unsigned long moved(char *p, size_t len, uint64_t *before)
{
	unsigned long n = 0;

	for (size_t i = 1; i < len / PAGE; i += 2) {
		uint64_t now = pfn(p + i * PAGE);

		n += before[i] && now && now != before[i];
		before[i] = now;
	}
	return n;
}

static void test_compaction(void)
{
	size_t len = 32 * MIB;
	uint64_t *before = calloc(len / PAGE, sizeof(*before));
	char *p;

	tap_ok(put(name(NODES "node%d/compact", nid), "1") == -EINVAL, "nodeN/compact: EINVAL");
	tap_ok(put(NODES "node0/compact", "1") == 0, "nodeN/compact: works on an ordinary node");

	p = fragment(nid, len);
	moved(p, len, before);
	put("/proc/sys/vm/compact_memory", "1");
	tap_ok(moved(p, len, before) == 0 && before[1] && node_of(p + PAGE) == nid,
	       "compact_memory: leaves pages of the private node alone");
	munmap(p, len);

	p = fragment(far_nid, len);
	memset(before, 0, len / PAGE * sizeof(*before));
	moved(p, len, before);
	put("/proc/sys/vm/compact_memory", "1");
	tap_ok(moved(p, len, before) > 0, "compact_memory: moves pages of an ordinary node");
	munmap(p, len);
	free(before);
	put("/proc/sys/vm/compaction_proactiveness", "100");
	nap_ms(200);
	tap_ok(!has_thread("kcompactd", nid), "compaction_proactiveness: starts no kcompactd");
	put("/proc/sys/vm/compaction_proactiveness", "20");
}

static const char *const gens = "/sys/kernel/debug/lru_gen";

/* Youngest generation of a node's lists in the first cgroup, and its id; or -1. */
static long youngest(int n, long *id)
{
	long seq = -1, number;
	char *p;

	if (slurp(gens) <= 0 || sscanf(text, "memcg %ld", id) != 1)
		return -1;
	for (p = strstr(text, name(" node %5d\n", n)); p; p = strchr(p, '\n')) {
		if (seq >= 0 && sscanf(++p, " %ld", &number) != 1)
			break;
		seq = seq < 0 ? 0 : number;
	}
	return seq;
}

static void test_reclaim(void)
{
	size_t len = 4 * MIB;
	char *p = map(len);
	long id, seq;

	fill(p, len);
	put_pages(p, len, nid);
	tap_ok(put(name(NODES "node%d/reclaim", nid), "1M") == -EINVAL, "nodeN/reclaim: EINVAL");
	tap_ok(put(NODES "node0/reclaim", "4096") != -EINVAL, "nodeN/reclaim: is taken by an ordinary node");

	seq = youngest(nid, &id);
	tap_ok(seq > 0 && putf(gens, "+ %ld %d %ld", id, nid, seq) == -EINVAL, "lru_gen: ageing it is EINVAL");
	tap_ok(seq > 0 && putf(gens, "- %ld %d %ld 200 100", id, nid, seq - 2) == -EINVAL, "lru_gen: evicting it is EINVAL");
	seq = youngest(0, &id);
	tap_ok(seq > 0 && putf(gens, "+ %ld 0 %ld", id, seq) == 0, "lru_gen: ageing an ordinary node works");

	put("/proc/sys/vm/drop_caches", "3");
	put("/sys/kernel/mm/lru_gen/enabled", "n");
	put("/sys/kernel/mm/lru_gen/enabled", "y");
	tap_ok(on_node(p, len, nid) == len / PAGE && intact(p, len), "lru_gen: switched off and on with pages there");
	put("/proc/sys/vm/zone_reclaim_mode", "7");
	tap_ok(cmd("alloc %d 0 %lu", nid, pages_total) == -ENOMEM && on_node(p, len, nid) == len / PAGE,
	       "zone_reclaim_mode: a full private node reclaims nothing");
	cmd("free");
	put("/proc/sys/vm/zone_reclaim_mode", "0");
	munmap(p, len);
}

static void test_balancing(void)
{
	size_t len = 8 * MIB;
	char *p = map(len), *q = map(len);
	unsigned long left, n = 0;

	if (put("/proc/sys/kernel/numa_balancing", "1")) {
		tap_skip("NUMA balancing leaves its pages alone", "NUMA_BALANCING");
		return;
	}
	put("/sys/kernel/debug/sched/numa_balancing/scan_delay_ms", "50");
	put("/sys/kernel/debug/sched/numa_balancing/scan_period_min_ms", "50");
	fill(p, len);
	fill(q, len);
	put_pages(p, len, nid);
	put_pages(q, len, far_nid);
	/* Until balancing has brought pages of the far node here. */
	for (time_t end = time(NULL) + 40; time(NULL) < end && n < len / PAGE / 4; n = on_node(q, len, 0)) {
		for (int k = 0; k < 20; k++)
			for (size_t i = 0; i < len; i += PAGE)
				sink += p[i] + q[i];
	}
	left = on_node(p, len, nid);
	tap_ok(left == len / PAGE && intact(p, len), "NUMA balancing leaves its pages alone (%lu of %lu)", left, len / PAGE);
	tap_ok(n > 0, "NUMA balancing moves an ordinary node's (%lu of %lu)", n, len / PAGE);
	put("/proc/sys/kernel/numa_balancing", "0");
	munmap(p, len);
	munmap(q, len);
}

static void test_khugepaged(void)
{
	char *p = map(HUGE), *q = map(HUGE);

	fill(p, HUGE);
	fill(q, HUGE);
	put_pages(p, HUGE, nid);
	madvise(p, HUGE, 14 /* MADV_HUGEPAGE */);
	madvise(q, HUGE, 14);
	tap_ok(madvise(p, HUGE, MADV_COLLAPSE) < 0 && errno == EINVAL, "MADV_COLLAPSE: EINVAL");
	tap_ok(on_node(p, HUGE, nid) == HUGE / PAGE && intact(p, HUGE), "MADV_COLLAPSE: leaves its pages alone");
	tap_ok(!madvise(q, HUGE, MADV_COLLAPSE) && intact(q, HUGE), "MADV_COLLAPSE: works on an ordinary node");

	/* One page of 512 is enough. */
	munmap(q, HUGE);
	q = map(HUGE);
	fill(q, HUGE);
	put_pages(q + 7 * PAGE, PAGE, nid);
	madvise(q, HUGE, 14);
	tap_ok(madvise(q, HUGE, MADV_COLLAPSE) < 0 && node_of(q + 7 * PAGE) == nid, "MADV_COLLAPSE: one page is enough");
	put("/sys/kernel/mm/transparent_hugepage/khugepaged/scan_sleep_millisecs", "0");
	put("/sys/kernel/mm/transparent_hugepage/khugepaged/pages_to_scan", "100000");
	put("/sys/kernel/mm/transparent_hugepage/enabled", "always");
	long scans = number("/sys/kernel/mm/transparent_hugepage/khugepaged/full_scans");

	for (int i = 0; i < 600 && number("/sys/kernel/mm/transparent_hugepage/khugepaged/full_scans") < scans + 3; i++)
		nap_ms(50);
	/* One scan may have been under way, the next has seen all of it. */
	tap_ok(number("/sys/kernel/mm/transparent_hugepage/khugepaged/full_scans") > scans + 1 &&
	       on_node(p, HUGE, nid) == HUGE / PAGE, "khugepaged: leaves its pages alone");
	put("/sys/kernel/mm/transparent_hugepage/enabled", "madvise");
	put("/sys/kernel/mm/transparent_hugepage/khugepaged/scan_sleep_millisecs", "10000");
	munmap(p, HUGE);
	munmap(q, HUGE);
}

static void test_ksm(void)
{
	size_t len = 64 * PAGE;
	char *p = map(2 * len), *q = map(2 * len);
	long scans;

	/* Two copies of the same 64 pages, there and in ordinary memory. */
	for (int half = 0; half < 2; half++) {
		fill(p + half * len, len);
		fill(q + half * len, len);
		for (size_t i = 0; i < len; i += PAGE)
			q[half * len + i] = 1;
	}
	put_pages(p, 2 * len, nid);
	uint64_t before = pfn(p);

	madvise(p, 2 * len, MADV_MERGEABLE);
	madvise(q, 2 * len, MADV_MERGEABLE);
	put("/sys/kernel/mm/ksm/pages_to_scan", "10000");
	put("/sys/kernel/mm/ksm/sleep_millisecs", "0");
	put("/sys/kernel/mm/ksm/smart_scan", "0");
	if (put("/sys/kernel/mm/ksm/run", "1")) {
		tap_skip("KSM leaves its pages alone", "KSM");
		return;
	}
	scans = number("/sys/kernel/mm/ksm/full_scans");
	for (int i = 0; i < 2000 && number("/sys/kernel/mm/ksm/full_scans") < scans + 4; i++)
		nap_ms(20);
	unsigned long merged = 0;

	for (size_t i = 0; i < len; i += PAGE)
		merged += pfn(q + i) == pfn(q + len + i);
	tap_ok(on_node(p, 2 * len, nid) == 2 * len / PAGE && pfn(p) == before && pfn(p) != pfn(p + len),
	       "KSM: leaves its pages alone");
	tap_ok(merged == len / PAGE, "KSM: merges pages of ordinary nodes (%lu of %lu)", merged, len / PAGE);
	put("/sys/kernel/mm/ksm/run", "2");
	munmap(p, 2 * len);
	munmap(q, 2 * len);
}

#define DAMON "/sys/kernel/mm/damon/admin/kdamonds/"

/* DAMON with one scheme, migrate_hot to @target, on the physical address range
 * or, with @vaddr, on this process; runs while memory is touched.
 */
static void damon(bool vaddr, int target, char *p, char *q, size_t len, int seconds)
{
	unsigned long n = 0;
	char *c = DAMON "0/contexts/0/";

	put(DAMON "nr_kdamonds", "1");
	put(DAMON "0/contexts/nr_contexts", "1");
	put(name("%soperations", c), vaddr ? "vaddr" : "paddr");
	put(name("%smonitoring_attrs/intervals/sample_us", c), "5000");
	put(name("%smonitoring_attrs/intervals/aggr_us", c), "50000");
	put(name("%smonitoring_attrs/intervals/update_us", c), "1000000");
	put(name("%stargets/nr_targets", c), "1");
	if (vaddr) {
		putf(name("%stargets/0/pid_target", c), "%d", getpid());
	} else {
		put(name("%stargets/0/regions/nr_regions", c), "1");
		put(name("%stargets/0/regions/0/start", c), "0");
		put(name("%stargets/0/regions/0/end", c), "8589934592");
	}
	put(name("%sschemes/nr_schemes", c), "1");
	put(name("%sschemes/0/action", c), "migrate_hot");
	putf(name("%sschemes/0/target_nid", c), "%d", target);
	put(name("%sschemes/0/access_pattern/sz/max", c), "18446744073709551615");
	put(name("%sschemes/0/access_pattern/nr_accesses/max", c), "1000000");
	put(name("%sschemes/0/access_pattern/age/max", c), "1000000");
	put(name("%sschemes/0/apply_interval_us", c), "100000");
	put(DAMON "0/state", "on");
	for (time_t end = time(NULL) + seconds; time(NULL) < end && n < len / PAGE / 4; n = on_node(q, len, target)) {
		for (size_t i = 0; i < len; i += PAGE)
			sink += p[i] + q[i];
		nap_ms(10);
	}
	put(DAMON "0/state", "off");
	put(DAMON "nr_kdamonds", "0");
}

static void test_damon(void)
{
	size_t len = 4 * MIB;
	int from = far_nid, to = 0;

	if (access(DAMON, F_OK)) {
		tap_skip("DAMON leaves its pages alone", "DAMON_SYSFS");
		return;
	}
	for (int vaddr = 0; vaddr < 2; vaddr++) {
		char *p = map(len), *q = map(len);

		fill(p, len);
		fill(q, len);
		put_pages(p, len, nid);
		put_pages(q, len, from);
		damon(vaddr, to, p, q, len, 30);
		tap_ok(on_node(p, len, nid) == len / PAGE && intact(p, len), "DAMON %s: leaves its pages alone (%lu of %lu)",
		       vaddr ? "vaddr" : "paddr", on_node(p, len, nid), len / PAGE);
		tap_ok(on_node(q, len, to) > 0, "DAMON %s: moves an ordinary node's (%lu of %lu)",
		       vaddr ? "vaddr" : "paddr", on_node(q, len, to), len / PAGE);
		put_pages(q, len, from);
		damon(vaddr, nid, q, q, len, 3);
		tap_ok(on_node(q, len, nid) == 0, "DAMON %s: cannot move pages to it", vaddr ? "vaddr" : "paddr");
		munmap(p, len);
		munmap(q, len);
	}
}

/*
 * Let a child eat all of @mask; what does the OOM killer say about why? Its stack
 * dump is not for the console, where the harness looks for functions of the kernel
 * that complain. So this looks for complaints itself.
 */
static bool oom_says(unsigned long mask, const char *constraint)
{
	int status, fd = open("/dev/kmsg", O_RDONLY | O_NONBLOCK);
	bool yes = false, bad = false;
	long level = number("/proc/sys/kernel/printk");
	pid_t pid;

	klogctl(8, NULL, 4);
	lseek(fd, 0, SEEK_END);
	pid = fork();
	if (!pid) {
		put("/proc/self/oom_score_adj", "1000");
		set_mempolicy(MPOL_BIND, mask);
		for (;;) {
			char *p = mmap(NULL, 16 * MIB, PROT_READ | PROT_WRITE,
				       MAP_PRIVATE | MAP_ANONYMOUS | MAP_POPULATE, -1, 0);
			if (p == MAP_FAILED)
				_exit(1);
		}
	}
	waitpid(pid, &status, 0);
	for (;;) {
		char line[8192];
		ssize_t n = read(fd, line, sizeof(line) - 1);

		if (n < 0 && errno == EPIPE)
			continue;
		if (n <= 0)
			break;
		line[n] = 0;
		if (strstr(line, "oom-kill:"))
			yes |= !!strstr(line, constraint);
		if (strstr(line, "WARNING: ") || strstr(line, "BUG: "))
			bad = true;
	}
	close(fd);
	klogctl(8, NULL, level);
	return yes && !bad && WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL;
}

static void test_oom(void)
{
	long before = private_free();

	tap_ok(oom_says(BIT(far_nid), "CONSTRAINT_MEMORY_POLICY"), "OOM: bound to one ordinary node is a constraint");
	tap_ok(oom_says(BIT(0) | BIT(far_nid), "CONSTRAINT_NONE"), "OOM: bound to all but the private node is none");
	tap_ok(private_free() == before, "OOM: took nothing of the private node");
}

/* Every block: off, each way of on. */
static void test_blocks(void)
{
	static const char *const wrong[] = { "online", "online_kernel" };
	unsigned long n = nr_blocks(), kb = block_size / 1024;
	size_t len = 4 * MIB;
	char *p = map(len);
	long total = meminfo("MemTotal");

	fill(p, len);
	put_pages(p, len, nid);
	for (unsigned long i = 0; i < n; i++) {
		bool good = true;

		tap_ok(put(block_file(i, "state"), "offline") == 0, "block %lu of %lu: offline", i, n);
		good = meminfo("PrivateTotal") == (long)((n - 1) * kb) && meminfo("MemTotal") == total;
		tap_ok(good, "block %lu: PrivateTotal and MemTotal follow (%ld kB)", i, meminfo("PrivateTotal"));
		slurp(block_file(i, "valid_zones"));
		tap_ok(!strcmp(text, "Movable\n"), "block %lu: valid_zones is Movable", i);
		for (int k = 0; k < 2; k++)
			tap_ok(put(block_file(i, "state"), wrong[k]) == -EINVAL, "block %lu: %s is EINVAL", i, wrong[k]);
		tap_ok(put(block_file(i, "online"), "1") == -EINVAL, "block %lu: 1 to its online file is EINVAL", i);
		slurp(block_file(i, "state"));
		tap_ok(!strcmp(text, "offline\n") && meminfo("PrivateTotal") == (long)((n - 1) * kb),
		       "block %lu: and it stayed offline", i);
		tap_ok(put(block_file(i, "state"), "online_movable") == 0 && meminfo("PrivateTotal") == (long)(n * kb),
		       "block %lu: online_movable works", i);
	}
	tap_ok(intact(p, len), "blocks: content intact");

	/* All of them. */
	for (unsigned long i = 0; i < n; i++)
		put(block_file(i, "state"), "offline");
	tap_ok(on_node(p, len, nid) == 0 && intact(p, len), "blocks: all offline, pages moved to ordinary memory");
	tap_ok(!state("has_private_memory", nid) && !state("has_memory", nid), "blocks: node state without memory");
	tap_ok(meminfo("PrivateTotal") == 0 && private_free() == 0, "blocks: PrivateTotal is 0");
	tap_ok(cmd("alloc %d 0 1", nid) == -ENOMEM, "blocks: nothing to allocate");
	tap_ok(put(block_file(0, "state"), "online") == -EINVAL && put(block_file(0, "state"), "online_kernel") == -EINVAL,
	       "blocks: the first one can only come back movable");
	for (unsigned long i = 0; i < n; i++)
		put(block_file(i, "state"), "online_movable");
	tap_ok(state("has_private_memory", nid) && !state("has_memory", nid) && meminfo("PrivateTotal") == (long)(n * kb),
	       "blocks: all back, still private");
	tap_ok(!has_thread("kswapd", nid) && !has_thread("kcompactd", nid), "blocks: still no kswapd, no kcompactd");
	tap_ok(put_pages(p, len, nid) && intact(p, len), "blocks: and usable");

	cmd("veto 16");
	tap_ok(put(block_file(0, "state"), "offline") == -EBUSY && meminfo("PrivateTotal") == (long)(n * kb),
	       "blocks: .offline can refuse");
	tap_ok(remove_node() == -EBUSY, "remove: .offline can refuse");
	tap_ok(meminfo("PrivateTotal") == (long)(n * kb) && put_pages(p, len, nid) && cmd("alloc %d 0 10", nid) == 0,
	       "remove: refused leaves everything as it was");
	cmd("free");
	cmd("veto 0");

	/* The second of three refused: the first comes back. */
	put(block_file(1, "state"), "offline");
	tap_ok(remove_node() == 0 && add_node() == 0, "remove: with a block offline");
	munmap(p, len);
}

static void test_remove(void)
{
	size_t len = 8 * MIB;
	char *p = map(len);

	fill(p, len);
	put_pages(p, len, nid);
	tap_ok(remove_node() == 0, "remove: with pages in use");
	tap_ok(intact(p, len) && on_node(p, len, nid) == 0, "remove: pages moved to ordinary memory");
	tap_ok(!state("online", nid) && !state("has_private_memory", nid), "remove: node offline");
	tap_ok(access(block_file(0, ""), F_OK), "remove: no blocks");
	slurp("/proc/iomem");
	tap_ok(!strstr(text, "pntest"), "remove: no resource");
	tap_ok(meminfo("PrivateTotal") == 0, "remove: PrivateTotal is 0");
	tap_ok(cmd("alloc %d 0 1", nid) == -ENOMEM, "remove: nothing to allocate");

	cmd("add %d pntest %llx-%llx", nid, range_start, range_start + block_size - 1);
	tap_ok(cmd("ordinary %d %llx-%llx", nid, range_start + block_size, range_end) == -EBUSY &&
	       access(block_file(1, ""), F_OK), "ordinary memory cannot join a private node");
	tap_ok(remove_node() == 0, "remove: one block");

	/* The node serves as an ordinary one, and again as a private one. */
	long total = meminfo("MemTotal");

	tap_ok(cmd("ordinary %d %llx-%llx", nid, range_start, range_end) == 0, "ordinary memory can have the node now");
	tap_ok(add_node() == -EBUSY, "add: a node with offline ordinary memory is EBUSY");
	for (unsigned long i = 0; i < nr_blocks(); i++)
		put(block_file(i, "state"), "online_movable");
	tap_ok(state("has_memory", nid) && !state("has_private_memory", nid) && has_thread("kswapd", nid) &&
	       has_thread("kcompactd", nid) && meminfo("MemTotal") > total, "and is ordinary in every way");
	cmd("try thisnode_movable %d", nid);
	tap_ok(found("landed") > 0, "pages are allocated there");
	tap_ok(cmd("unordinary %llx-%llx", range_start, range_end) == 0, "ordinary memory leaves");
	tap_ok(add_node() == 0 && state("has_private_memory", nid), "add: private again");
	cmd("try thisnode_movable %d", nid);
	tap_ok(found("landed") == 0 && !has_thread("kswapd", nid), "and private in every way");
	munmap(p, len);

	long before = 0;
	int rounds;

	for (rounds = 0; rounds < 8; rounds++) {
		cmd("hammer %d 2", nid);
		nap_ms(100);
		if (remove_node())
			break;
		nap_ms(20);
		if (add_node())
			break;
		if (rounds == 1)
			before = meminfo("MemFree");
		nap_ms(50);
	}
	cmd("hammer 0 0");
	tap_ok(rounds == 8 && found("pages") > 0 &&
	       meminfo("PrivateTotal") == (long)(nr_blocks() * block_size / 1024),
	       "remove and add under allocation (%d rounds, %ld pages)", rounds, found("pages"));
	tap_ok(before - meminfo("MemFree") < 16384, "remove and add: nothing lost (%ld kB)", before - meminfo("MemFree"));
	tap_ok(meminfo("PrivateTotal") - private_free() < 4096, "remove and add: all free again");
}

/* CONFIG_PRIVATE_NODE_VERIFY must warn; the harness looks for the message. */
static void test_forge(void)
{
	tap_ok(cmd("forge %d", nid) == 0, "forge: a private page by the wrong road");
}

static const struct {
	const char *name;
	void (*run)(void);
	bool named_only;
} groups[] = {
	{ .name = "arguments", .run = test_arguments },
	{ .name = "undo", .run = test_undo },
	{ .name = "numbers", .run = test_numbers },
	{ .name = "roads", .run = test_roads },
	{ .name = "alloc", .run = test_alloc },
	{ .name = "content", .run = test_content },
	{ .name = "placed", .run = test_placed },
	{ .name = "policy", .run = test_policy },
	{ .name = "cpuset", .run = test_cpuset },
	{ .name = "pools", .run = test_pools },
	{ .name = "compaction", .run = test_compaction },
	{ .name = "reclaim", .run = test_reclaim },
	{ .name = "balancing", .run = test_balancing },
	{ .name = "khugepaged", .run = test_khugepaged },
	{ .name = "ksm", .run = test_ksm },
	{ .name = "damon", .run = test_damon },
	{ .name = "blocks", .run = test_blocks },
	{ .name = "remove", .run = test_remove },
	{ .name = "oom", .run = test_oom },
	{ .name = "forge", .run = test_forge, .named_only = true },
};

static bool prepare(void)
{
	const char *range = getenv("PN_RANGE");
	int n;

	if (!range || sscanf(range, "%llx-%llx", &range_start, &range_end) != 2 || access(CTL, F_OK))
		return false;
	slurp(BLOCKS "block_size_bytes");
	block_size = strtoul(text, NULL, 16);
	pages_total = (range_end + 1 - range_start) / PAGE;

	nid = far_nid = -1;
	for (n = 63; n > 0; n--) {
		if (state("possible", n) && !state("online", n))
			nid = n;
		if (state("has_memory", n) && !state("has_cpu", n))
			far_nid = n;
	}
	tap_note("private node %d, ordinary nodes 0 and %d, %llx-%llx, blocks of %lu MiB",
		 nid, far_nid, range_start, range_end, block_size / MIB);
	return nid > 0 && far_nid > 0 && nr_blocks() >= 3;
}

int main(int argc, char **argv)
{
	tap_start();
	mkdir("/sys/fs/cgroup", 0755);
	mount("none", "/sys/kernel/debug", "debugfs", 0, NULL);
	mount("none", "/sys/fs/cgroup", "cgroup2", 0, NULL);
	if (!prepare())
		tap_skip_all("private_node_test.ko, PN_RANGE, or a suitable set of nodes");
	for (size_t i = 0; i < ARRAY_SIZE(groups); i++) {
		bool named = false;

		for (int k = 1; k < argc; k++)
			named |= !strcmp(argv[k], groups[i].name);
		if (argc > 1 ? !named : groups[i].named_only)
			continue;
		tap_note("--- %s", groups[i].name);
		if (i > 2 && !state("has_private_memory", nid) && add_node())
			tap_ok(0, "%s: no private node", groups[i].name);
		groups[i].run();
	}
	cmd("free");
	if (state("has_private_memory", nid))
		tap_ok(remove_node() == 0 && !state("online", nid), "the end: remove");
	return tap_end();
}
