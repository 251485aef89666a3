// SPDX-License-Identifier: GPL-2.0
/*
 * Every allocation, and every call that can fail otherwise, fails once: the first of
 * an operation, then the second of the next one like it, until one comes to its end
 * without. Each time the operation succeeds or says why not, no byte differs, the books
 * agree with the pages, and the same again without a failure succeeds.
 *
 * This is fail-nth of Documentation/fault-injection/fault-injection.rst: of the task
 * where that does the work, and with "space" for the workers and the thread of a node.
 * CONFIG_FAIL_CRAM has the calls fail that are no allocations. How often something was
 * made to fail is counted, and too few times is a failure of the test: a lost option of
 * the kernel, or a road that is not reached any more.
 *
 * "cram_faults node DRIVER DEVICE": the coming and going of that node alone.
 * "cram_faults control": one step of a road back is left out, after which there is nothing
 * more to be done with that kernel.
 * ALL=1: also what takes long, which is that, fork() and reading files.
 */
#include "util.h"

#include <dirent.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <unistd.h>

#define SEED		77
#define N		8UL
/* Pages of a large folio, and who permits these. */
#define LARGE		16UL
#define LARGE_FOLIOS	"/sys/kernel/mm/transparent_hugepage/hugepages-64kB/enabled"
/* No operation here has so many. */
#define TOO_MANY	5000U
#define DEBUG		"/sys/kernel/debug/"
#define VICTIM		"cramfaults"
/* Of the node's readings, in ms: on a slow machine none ends for that alone. */
#define LEASE		"10000"

/* --- what may fail ---------------------------------------------------------- */

/* fail_cram is ours alone. */
static const char *const capabilities[] = { "failslab", "fail_page_alloc", "fail_cram" };
#define SLAB		0
#define PAGE_ALLOC	1
#define OURS		2

static int capability_write(int c, const char *file, unsigned long value)
{
	char path[100], text[40];

	snprintf(path, sizeof(path), DEBUG "%s/%s", capabilities[c], file);
	snprintf(text, sizeof(text), "%lu", value);
	return write_text(path, text);
}

static int64_t capability_read(int c, const char *file)
{
	char path[100];

	snprintf(path, sizeof(path), DEBUG "%s/%s", capabilities[c], file);
	return read_number(path);
}

/* Whether allocations fail, or only what fail_cram has fail. */
static bool allocations_may_fail(bool may)
{
	return !write_text(DEBUG "failslab/cache-filter", may ? "N" : "Y") &&
	       !write_text(DEBUG "fail_page_alloc/min-order", may ? "0" : "20");
}

/* What each of them leaves out by default is what is meant here. */
static bool capabilities_prepare(void)
{
	int c;

	for (c = 0; c < (int)ARRAY_SIZE(capabilities); c++) {
		if (capability_write(c, "verbose", 0) || capability_write(c, "probability", 0) ||
		    capability_write(c, "task-filter", 1))
			return false;
	}
	return !write_text(DEBUG "failslab/ignore-gfp-wait", "N") &&
	       !write_text(DEBUG "fail_page_alloc/ignore-gfp-wait", "N") &&
	       !write_text(DEBUG "fail_page_alloc/ignore-gfp-highmem", "N") &&
	       allocations_may_fail(true);
}

static void capabilities_off(void)
{
	allocations_may_fail(true);
	for (int c = 0; c < (int)ARRAY_SIZE(capabilities); c++)
		capability_write(c, "probability", 0);
}

/* Of this task: the @n-th from now on. */
static int nth_fd = -1;

static void arm(unsigned int n)
{
	char text[16];
	int len = snprintf(text, sizeof(text), "%u", n);

	CHECK_EQ(pwrite(nth_fd, text, len, 0), len);
}

/* Has it failed? */
static bool disarm(void)
{
	char text[16] = "";

	CHECK(pread(nth_fd, text, sizeof(text) - 1, 0) > 0, "%m");
	arm(0);
	return !atoi(text);
}

/* Of the threads that may fail: the @n-th of this kind from now on. */
static void arm_threads(int c, unsigned int n)
{
	CHECK_EQ(capability_write(c, "space", n), 0);
	CHECK_EQ(capability_write(c, "times", 1), 0);
	CHECK_EQ(capability_write(c, "probability", 100), 0);
}

static bool disarm_threads(int c)
{
	CHECK_EQ(capability_write(c, "probability", 0), 0);
	CHECK_EQ(capability_write(c, "space", 0), 0);
	return capability_read(c, "times") == 0;
}

/* Whether those of the kernel's threads whose name begins so may fail. */
static void threads_may_fail(const char *name, bool may)
{
	char path[300], comm[64];
	struct dirent *de;
	unsigned int n = 0;
	DIR *dir = opendir("/proc");

	CHECK(dir, "%m");
	while ((de = readdir(dir))) {
		snprintf(path, sizeof(path), "/proc/%s/comm", de->d_name);
		if (*de->d_name < '0' || *de->d_name > '9' ||
		    read_text(path, comm, sizeof(comm)) < 0 || strncmp(comm, name, strlen(name)))
			continue;
		snprintf(path, sizeof(path), "/proc/%s/make-it-fail", de->d_name);
		n += !write_text(path, may ? "1" : "0");
	}
	closedir(dir);
	CHECK(n, "no thread %s", name);
}

/* Workers come and go: a new one is like the thread that makes it. */
static void workers_may_fail(bool may)
{
	threads_may_fail("kthreadd", may);
	threads_may_fail("kworker", may);
}

/* --- what holds after each -------------------------------------------------- */

/* The pages of the scenario. */
static char *p;
static size_t pages;
/* Of these the one whose content is something else. */
static size_t unfit = SIZE_MAX;

/* No copy is under way, says the node. */
static bool settled(void)
{
	return node_word(" begun ") - node_word(" done ") == node_word(" writable ");
}

static int64_t resident_bytes(void)
{
	return count_resident(p, pages) * PAGE;
}

/* The control need not wait for what does not come. */
static unsigned int settles = SETTLES;

static void all_is_well(void)
{
	/* What is in swap comes back by that */
	for (size_t i = 0; p && i < pages; i++)
		CHECK(i == unfit || !page_differs(p + i * PAGE, SEED, i), "page %zu", i);
	CHECK(WAIT_FOR(settles, settled()), "begun %lld done %lld writable %lld",
	      (long long)node_word(" begun "), (long long)node_word(" done "),
	      (long long)node_word(" writable "));
	CHECK(WAIT_FOR(settles, cg_number(&cg_here, "cram.current") ==
		       (p ? resident_bytes() : 0)), "%lld in the books, %lld resident",
	      (long long)cg_number(&cg_here, "cram.current"), (long long)resident_bytes());
	CHECK(cg_number(&cg_here, "cram.writable_current") <= cg_number(&cg_here, "cram.current"));
	CHECK_EQ(violations(), violations_before);
}

/* --- an operation ----------------------------------------------------------- */

struct op {
	const char *name;
	void (*prepare)(void);		/* not made to fail */
	int (*run)(void);		/* 0 or -errno */
	void (*check)(int err);
	bool (*whole)(void);		/* was all done that there was to do? */
	int errors[4];			/* beside ENOMEM */
	unsigned int least;		/* that many fail */
	unsigned int own;		/* and without ALL=1 of fail_cram only, that many */
};

/* How far the scenario is: its parent tells when it did not come to its end. */
static struct progress {
	const char *op;
	unsigned int n;			/* the next to fail */
	unsigned int done, refused;	/* of the operations in which something failed */
	unsigned int again;		/* runs that somebody else was in the way of */
} *progress;

static void tell_progress(void)
{
	tap_note("%s: %u failed, and of the operations %u succeeded and %u did not; %u again",
		 progress->op, progress->n - 1, progress->done, progress->refused,
		 progress->again);
}

static bool expected(const struct op *op, int err)
{
	if (!err || err == -ENOMEM)
		return true;
	for (size_t i = 0; i < ARRAY_SIZE(op->errors); i++)
		if (op->errors[i] && err == -op->errors[i])
			return true;
	return false;
}

struct outcome {
	int err;
	bool failed, whole;
};

static struct outcome once(const struct op *op, unsigned int n)
{
	struct outcome o;

	if (op->prepare)
		op->prepare();
	arm(n);
	o.err = op->run();
	o.failed = n ? disarm() : false;
	o.whole = !o.err && (!op->whole || op->whole());
	CHECK(expected(op, o.err), "%s, failure %u: %s", op->name, n, strerrorname_np(-o.err));
	if (op->check)
		op->check(o.err);
	all_is_well();
	return o;
}

/*
 * With nothing made to fail it does all, sooner or later: a page may have a reference of
 * somebody else, and the node want a reading.
 */
#define AGAIN		50

static void comes_whole(const struct op *op, struct outcome o, unsigned int *again)
{
	if (o.whole)
		return;
	CHECK(++*again < AGAIN, "%s, nothing failed, but before that the %u.: %s", op->name,
	      progress->n - 1, o.err ? strerrorname_np(-o.err) : "not all was done");
	progress->again++;
	nap_ms(20);
}

/* Until the @n-th is one too many. */
static void fail_each(const struct op *op)
{
	unsigned int again = 0;
	struct outcome o;

	progress->op = op->name;
	progress->done = progress->refused = progress->again = 0;
	for (progress->n = 1; progress->n < TOO_MANY;) {
		o = once(op, progress->n);
		if (!o.failed) {
			comes_whole(op, o, &again);
			if (o.whole)
				break;
			continue;
		}
		progress->n++;
		progress->done += !o.err;
		progress->refused += !!o.err;
		/* The walker looks at every page of the node: not each time */
		if (progress->n % 32 == 0)
			CHECK_EQ(run_walker(), 0);
		for (again = 0; o.err; comes_whole(op, o, &again))
			o = once(op, 0);
		again = 0;
	}
	CHECK(progress->n < TOO_MANY);
	CHECK_EQ(run_walker(), 0);
}

/* In the books there are the pages of the scenario alone: the program's own stay. */
static void begin(void)
{
	CHECK(!mlockall(MCL_CURRENT), "%m");
	nth_fd = open("/proc/thread-self/fail-nth", O_RDWR | O_CLOEXEC);
	CHECK(nth_fd >= 0, "%m");
}

static void try_op(const struct op *op)
{
	bool all = !op->own || getenv("ALL");

	begin();
	CHECK(allocations_may_fail(all));
	fail_each(op);
	CHECK(allocations_may_fail(true));
	tell_progress();
	CHECK(progress->n > (all ? op->least : op->own), "at least %u", all ? op->least : op->own);
	progress->op = NULL;
}

/* --- demotion --------------------------------------------------------------- */

static void drop(void)
{
	if (p)
		unmap_pages(p, pages);
	p = NULL;
}

static void ordinary(size_t n)
{
	drop();
	pages = n;
	p = map_pages(n);
	fill(p, n, SEED);
}

static void ordinary_pages(void)
{
	ordinary(N);
}

static void resident(void)
{
	ordinary(N);
	demote(p, N);
}

static int pageout(void)
{
	return madvise(p, pages * PAGE, MADV_PAGEOUT) ? -errno : 0;
}

static int reclaim_half(void)
{
	return cg_printf(&cg_here, "memory.reclaim", "%zu", pages / 2 * PAGE);
}

static void cold_pages(void)
{
	ordinary(2 * N);
	CHECK(!madvise(p, pages * PAGE, MADV_COLD));
}

static void huge_unmap(void)
{
	if (p)
		CHECK(!munmap(p, pages * PAGE));
	p = NULL;
}

/* Where there is no huge page, small ones do. */
static void huge_pages(void)
{
	huge_unmap();
	pages = HUGE;
	p = map_huge_area(HUGE);
	madvise(p, HUGE * PAGE, MADV_HUGEPAGE);
	fill(p, HUGE, SEED);
}

static void huge_resident(void)
{
	huge_pages();
	demote(p, HUGE);
}

/*
 * One page in it is refused for its content: it is split, and each of the others comes
 * by itself. Of 64 KiB, because each of those can fail then, more than once.
 */
static void large_unfit(void)
{
	uint64_t random = RANDOM_STATE;

	huge_unmap();
	pages = LARGE;
	p = map_huge_area(LARGE);
	madvise(p, LARGE * PAGE, MADV_HUGEPAGE);
	fill(p, LARGE, SEED);
	CHECK_EQ(cg_write(&cg_here, "cram.page.max", "2048"), 0);
	unfit = 5;
	for (size_t i = 0; i < PAGE; i += sizeof(random))
		*(uint64_t *)(p + unfit * PAGE + i) = next_random(&random);
}

static bool all_resident(void)
{
	return count_resident(p, pages) == pages;
}

static bool all_but_one_resident(void)
{
	return count_resident(p, pages) == pages - 1;
}

static int write_one(void)
{
	rewrite(p + 7 * PAGE);
	return 0;
}

static const struct op demote_op = {
	"demotion by MADV_PAGEOUT", ordinary_pages, pageout, .whole = all_resident, .least = 3 * N,
};

static void demotion(void)
{
	try_op(&demote_op);
	drop();
}

static const struct op reclaim_op = {
	"demotion by memory.reclaim", cold_pages, reclaim_half, .errors = { EAGAIN },
	.least = 3 * N,
};

static void demotion_by_reclaim(void)
{
	try_op(&reclaim_op);
	drop();
}

static const struct op huge_op = {
	"demotion of a huge page", huge_pages, pageout, .whole = all_resident,
	.least = 3,
};

static void demotion_of_huge(void)
{
	try_op(&huge_op);
	huge_unmap();
}

static const struct op unfit_op = {
	"demotion of a large folio that does not fit", large_unfit, pageout,
	.whole = all_but_one_resident, .least = 1 + 3 * (LARGE - 1),
};

static void demotion_of_unfit(void)
{
	try_op(&unfit_op);
	huge_unmap();
}

/* --- reading and writing ---------------------------------------------------- */

static int write_all(void)
{
	for (size_t i = 0; i < pages; i++)
		rewrite(p + i * PAGE);
	return 0;
}

static void none_resident(int err)
{
	CHECK_EQ(count_resident(p, pages), 0);
}

static const struct op write_op = {
	"promotion by writing", resident, write_all, none_resident, .least = N,
};

static void promotion_by_writing(void)
{
	try_op(&write_op);
	drop();
}

/* A huge one on the node is split before a page of it is copied. */
static const struct op write_huge_op = {
	"writing to a huge page", huge_resident, write_one, .least = 2,
};

static void writing_to_huge(void)
{
	try_op(&write_huge_op);
	huge_unmap();
}

/* What cannot be upgraded is promoted. */
static void upgraded_or_promoted(int err)
{
	CHECK_EQ(cg_number(&cg_here, "cram.writable_current"), resident_bytes());
}

static const struct op upgrade_op = {
	"upgrade", resident, write_all, upgraded_or_promoted, .least = 2 * N,
};

static void upgrade(void)
{
	CHECK_EQ(cg_write(&cg_here, "cram.writable_budget", "max"), 0);
	try_op(&upgrade_op);
	drop();
}

static void swapped(void)
{
	resident();
	evict_to_swap(p, pages);
}

static int read_all(void)
{
	return differs(p, pages, SEED) < 0 ? 0 : -EILSEQ;
}

static const struct op read_op = {
	"reading what was evicted to swap", swapped, read_all, .least = N,
};

static void reading_from_swap(void)
{
	if (!swap_on(256))
		skip("no swap device");
	try_op(&read_op);
	drop();
}

/* Pins them, for which those on the node are promoted. */
static int pin_for_reading(void)
{
	static char copy[N * PAGE];
	struct iovec to = { copy, pages * PAGE }, from = { p, pages * PAGE };
	ssize_t got = process_vm_readv(getpid(), &to, 1, &from, 1, 0);

	if (got != (ssize_t)(pages * PAGE))
		return got < 0 ? -errno : -EFAULT;
	for (size_t i = 0; i < pages; i++)
		CHECK(!page_differs(copy + i * PAGE, SEED, i), "page %zu", i);
	return 0;
}

static const struct op pin_op = {
	"a pin for reading", resident, pin_for_reading, .errors = { EFAULT }, .least = N,
};

static void pin(void)
{
	try_op(&pin_op);
	drop();
}

/* --- writable pages taken back ---------------------------------------------- */

static void upgraded(void)
{
	CHECK_EQ(cg_write(&cg_here, "cram.writable_budget", "max"), 0);
	resident();
	write_all();
	CHECK(cg_number(&cg_here, "cram.writable_current") > 0);
}

static int no_budget(void)
{
	return cg_write(&cg_here, "cram.writable_budget", "0");
}

static void budget_obeyed(int err)
{
	CHECK_EQ(cg_number(&cg_here, "cram.writable_budget"), err ? NO_LIMIT : 0);
	CHECK_EQ(cg_number(&cg_here, "cram.writable_current"), err ? resident_bytes() : 0);
}

static const struct op revoke_op = {
	"revocation", upgraded, no_budget, budget_obeyed, .least = 2,
};

static void revocation(void)
{
	try_op(&revoke_op);
	drop();
}

/* --- eviction --------------------------------------------------------------- */

static int reclaim_to_swap(void)
{
	return cg_printf(&cg_here, "cram.reclaim", "%zu to=swap", pages * PAGE);
}

static int reclaim_to_dram(void)
{
	return cg_printf(&cg_here, "cram.reclaim", "%zu to=dram", pages * PAGE);
}

static const struct op to_swap_op = {
	"eviction to swap", resident, reclaim_to_swap, .errors = { EAGAIN }, .least = 2 * N,
};

static void eviction_to_swap(void)
{
	if (!swap_on(256))
		skip("no swap device");
	try_op(&to_swap_op);
	drop();
}

static const struct op to_dram_op = {
	"eviction to ordinary memory", resident, reclaim_to_dram, .errors = { EAGAIN }, .least = 2 * N,
};

static void eviction_to_dram(void)
{
	try_op(&to_dram_op);
	drop();
}

static void resident_and_permitted(void)
{
	CHECK_EQ(cg_write(&cg_here, "cram.max", "max"), 0);
	resident();
}

static int lower_limit(void)
{
	return cg_write(&cg_here, "cram.max", "0");
}

static void limit_obeyed(int err)
{
	CHECK_EQ(cg_number(&cg_here, "cram.max"), err ? NO_LIMIT : 0);
	if (!err)
		none_resident(0);
}

static const struct op limit_op = {
	"a lower cram.max", resident_and_permitted, lower_limit, limit_obeyed,
	.least = 2 * N,
};

static void lower_max(void)
{
	try_op(&limit_op);
	drop();
}

static void open_and_resident(void)
{
	CHECK_EQ(write_text(node_file("state"), "open"), 0);
	resident();
}

static int offline(void)
{
	return write_text(node_file("state"), "offline");
}

/* All or nothing */
static void drained_or_open(int err)
{
	CHECK(state_is(err ? "open" : "offline"));
	if (!err)
		none_resident(0);
}

static const struct op drain_op = {
	"draining the node", open_and_resident, offline, drained_or_open, .errors = { EBUSY }, .least = 2 * N,
};

static void drain(void)
{
	try_op(&drain_op);
	drop();
}

static void offline_already(void)
{
	CHECK_EQ(offline(), 0);
}

static int reopen(void)
{
	return write_text(node_file("state"), "open");
}

static void open_or_offline(int err)
{
	CHECK(state_is(err ? "offline" : "open"));
}

static const struct op open_op = {
	"opening the node", offline_already, reopen, open_or_offline, .errors = { EIO }, .least = 1,
};

static void opening(void)
{
	try_op(&open_op);
}

/* --- what others do with resident pages -------------------------------------- */

static int fork_and_look(void)
{
	int status;
	pid_t pid = fork();

	if (pid < 0)
		return -errno;
	if (!pid) {
		bool good = differs(p, pages, SEED) < 0;

		write_all();
		_exit(!good || differs(p, pages, SEED) >= 0);
	}
	CHECK_EQ(waitpid(pid, &status, 0), pid);
	CHECK(WIFEXITED(status) && !WEXITSTATUS(status), "status %#x", status);
	return 0;
}

static const struct op fork_op = {
	"fork", resident, fork_and_look, .errors = { EAGAIN }, .least = 20,
};

static void forking(void)
{
	try_op(&fork_op);
	drop();
}

static const struct op fork_upgraded_op = {
	"fork with writable pages", upgraded, fork_and_look, .errors = { EAGAIN }, .least = 20,
};

static void forking_upgraded(void)
{
	try_op(&fork_upgraded_op);
	drop();
}

static int move_to_node(void)
{
	void *at[N];
	int to[N], status[N];
	size_t i;

	for (i = 0; i < N; i++) {
		at[i] = p + i * PAGE;
		to[i] = 0;
		status[i] = 0;
	}
	if (syscall(SYS_move_pages, 0, N, at, to, status, 2 /* MPOL_MF_MOVE */) < 0)
		return -errno;
	return 0;
}

static const struct op move_op = {
	"migration by move_pages()", resident, move_to_node, .least = N,
};

static void migration(void)
{
	try_op(&move_op);
	drop();
}

static int remap(void)
{
	char *to = mmap(NULL, pages * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS,
			-1, 0), *now;

	if (to == MAP_FAILED)
		return -errno;
	now = mremap(p, pages * PAGE, pages * PAGE, MREMAP_MAYMOVE | MREMAP_FIXED, to);
	if (now == MAP_FAILED) {
		int err = -errno;

		munmap(to, pages * PAGE);
		return err;
	}
	p = now;
	return 0;
}

static const struct op mremap_op = {
	"mremap", resident, remap, .least = 2,
};

static void remapping(void)
{
	try_op(&mremap_op);
	drop();
}

/* --- cgroups ---------------------------------------------------------------- */

static struct cg made;

static void made_not(void)
{
	snprintf(made.path, sizeof(made.path), "%.100s/%s", parent_cg.path, VICTIM);
	CHECK(!rmdir(made.path) || errno == ENOENT, "%m");
}

static int make_cgroup(void)
{
	return mkdir(made.path, 0755) ? -errno : 0;
}

static void made_or_not(int err)
{
	CHECK_EQ(exists(made.path), !err);
	CHECK(err || exists(cg_file(&made, "cram.stat")));
}

static const struct op mkdir_op = {
	"mkdir of a cgroup", made_not, make_cgroup, made_or_not, .least = 50, .own = 2,
};

static void making_cgroups(void)
{
	try_op(&mkdir_op);
	made_not();
}

static void controllers_off(void)
{
	CHECK_EQ(cg_write(&made, "cgroup.subtree_control", "-cram"), 0);
}

static int controllers_on(void)
{
	return cg_write(&made, "cgroup.subtree_control", "+cram");
}

static void on_or_off(int err)
{
	char buf[200];

	read_text(cg_file(&made, "cgroup.subtree_control"), buf, sizeof(buf));
	CHECK_EQ(!!strstr(buf, "cram"), !err);
	for (int i = 0; i < 2; i++) {
		snprintf(buf, sizeof(buf), "%.150s/%d/cram.stat", made.path, i);
		CHECK_EQ(exists(buf), !err);
	}
}

static const struct op enable_op = {
	"the controller is enabled", controllers_off, controllers_on, on_or_off, .least = 50,
	.own = 4,
};

static void enabling(void)
{
	struct cg below;

	made_not();
	CHECK_EQ(make_cgroup(), 0);
	CHECK_EQ(cg_write(&made, "cgroup.subtree_control", "+memory"), 0);
	for (int i = 0; i < 2; i++)
		below = cg_make(made.path, "%d", i);
	(void)below;
	try_op(&enable_op);
	CHECK_EQ(cg_remove(&made), 0);
}

/* --- files ------------------------------------------------------------------ */

/* Of a cgroup, or with "@" of the node; the value that it has, and another. */
static const struct file {
	const char *name, *value, *other;
} writes[] = {
	{ "cram.nodes", "\n", "none" },
	{ "cram.max", "max", "1073741824" },
	{ "cram.low", "0", "1048576" },
	{ "cram.page.max", "max", "3000" },
	{ "cram.node.max", "N# max", "N# 8192000" },
	{ "cram.writable_budget", "inherit", "4096000" },
	{ "@lease_ms", LEASE, "20000" },
	{ "@page_max", "max", "4000" },
	{ "@writable_budget", "auto", "4096000" },
	{ "@low_bytes", "8192000", "8196096" },
	{ "@promote_hot_bytes_per_sec", "0", "4096" },
};

static const struct file *file;

static const char *file_path(const char *name)
{
	return *name == '@' ? node_file(name + 1) : cg_file(&cg_here, name);
}

/* The node's number for "#". */
static const char *file_text(const char *value)
{
	static char text[64];
	const char *hash = strchr(value, '#');

	if (!hash)
		return value;
	snprintf(text, sizeof(text), "%.*s%d%s", (int)(hash - value), value, cram_node(), hash + 1);
	return text;
}

static void file_as_it_was(void)
{
	CHECK_EQ(write_text(file_path(file->name), file_text(file->value)), 0);
}

static int file_write(void)
{
	return write_text(file_path(file->name), file_text(file->other));
}

static void file_read_back(int err)
{
	const char *want = file_text(err ? file->value : file->other);
	char buf[200];

	CHECK(read_text(file_path(file->name), buf, sizeof(buf)) >= 0);
	buf[strcspn(buf, "\n")] = '\0';
	/* A key without a limit is not listed, and all nodes are none */
	if (err && (strchr(file->value, '#') || *file->value == '\n'))
		want = "";
	CHECK(!strcmp(buf, want), "%s reads %s and not %s", file->name, buf, want);
}

static void writing_files(void)
{
	struct op op = { .prepare = file_as_it_was, .run = file_write, .check = file_read_back };
	unsigned int n = 0;

	begin();
	for (file = writes; file < writes + ARRAY_SIZE(writes); file++) {
		op.name = file->name;
		fail_each(&op);
		n += progress->n - 1;
		file_as_it_was();
	}
	progress->op = NULL;
	tap_note("writing to %zu files: %u failures", ARRAY_SIZE(writes), n);
	CHECK(n >= 5 * ARRAY_SIZE(writes));
}

static const char *const reads[] = {
	"cram.nodes", "cram.nodes.effective", "cram.max", "cram.node.max", "cram.page.max",
	"cram.low", "cram.current", "cram.peak", "cram.writable_budget",
	"cram.writable_budget.effective", "cram.writable_current", "cram.events",
	"cram.events.local", "cram.stat", "cram.numa_stat", "memory.stat",
	"@state", "@ratio", "@free_bound_bytes", "@writable_budget", "@page_max", "@over_capacity",
	DEBUGFS "nodes", DEBUGFS "verify", DEBUGFS "violations", DEBUGFS "disable_hooks",
	"/proc/self/smaps", "/proc/self/numa_maps", "/proc/meminfo", "/proc/zoneinfo",
};

static char read_path[300];

static int file_show(void)
{
	static char buf[65536];
	int len = read_text(read_path, buf, sizeof(buf));

	return len < 0 ? len : 0;
}

static void reading_files(void)
{
	struct op op = { .run = file_show };
	unsigned int n = 0;

	begin();
	resident();
	for (size_t i = 0; i < ARRAY_SIZE(reads); i++) {
		op.name = reads[i];
		snprintf(read_path, sizeof(read_path), "%s",
			 *reads[i] == '/' ? reads[i] : file_path(reads[i]));
		fail_each(&op);
		n += progress->n - 1;
	}
	progress->op = NULL;
	tap_note("reading %zu files: %u failures", ARRAY_SIZE(reads), n);
	CHECK(n >= 5 * ARRAY_SIZE(reads));
	drop();
}

/* --- workers and the node's thread ------------------------------------------- */

static void hot_step(void)
{
	char nid[16];

	snprintf(nid, sizeof(nid), "%d", cram_node());
	debug_set(DEBUGFS "hot_pass", nid);
}

static void device_says_hot(void)
{
	char text[N * 24] = "";
	size_t i, len = 0;

	for (i = 0; i < N; i++)
		len += snprintf(text + len, sizeof(text) - len, "%llu\n",
				(unsigned long long)pfn_of(p + i * PAGE));
	debug_set(SIM "hot", text);
}

/* One capability after the other, each time the n-th. */
static unsigned int fail_hot(int c)
{
	unsigned int n;
	bool failed;

	for (n = 1; n < TOO_MANY; n++) {
		resident();
		device_says_hot();
		arm_threads(c, n);
		hot_step();
		failed = disarm_threads(c);
		all_is_well();
		/* What stayed is promoted when the device says so again */
		CHECK(WAIT_FOR(SETTLES, !count_resident(p, pages) ||
			       (run_walker(), device_says_hot(), hot_step(), false)));
		if (!failed)
			break;
	}
	return n - 1;
}

static void hot_promotion(void)
{
	unsigned int page, ours;

	if (!exists(SIM "hot"))
		skip("not the model device");
	CHECK_EQ(write_text(node_file(HOT_RATE), "1073741824"), 0);
	hot_step();
	workers_may_fail(true);
	page = fail_hot(PAGE_ALLOC);
	ours = fail_hot(OURS);
	workers_may_fail(false);
	tap_note("hot promotion: %u pages and %u charges failed", page, ours);
	CHECK(page >= N && ours >= N);
	drop();
}

/* And not only at the next third of the lease. */
static void read_now(void)
{
	CHECK_EQ(write_text(node_file("lease_ms"), LEASE), 0);
}

/*
 * A reading and a trim of the node's thread: one that fails leaves the lease as it is,
 * and what was not trimmed stays on the books until it is.
 */
static void thread_fails(void)
{
	unsigned int n, failed = 0;

	threads_may_fail("cramd", true);
	for (n = 1; n <= 3; n++) {
		resident();
		arm_threads(OURS, n);
		drop();
		read_now();
		CHECK(WAIT_FOR(SETTLES, capability_read(OURS, "times") == 0));
		failed += disarm_threads(OURS);
		read_now();
		CHECK(WAIT_FOR(SETTLES, node_word(" freed ") == 0), "%lld",
		      (long long)node_word(" freed "));
		CHECK(WAIT_FOR(SETTLES, state_is("open")));
		all_is_well();
	}
	CHECK_EQ(failed, n - 1);
	threads_may_fail("cramd", false);
}

/* --- a third of all ---------------------------------------------------------- */

/* In a hundred; of what is small there is much on each way */
static const unsigned int often[] = { [SLAB] = 3, [PAGE_ALLOC] = 33, [OURS] = 33 };
#define A_LOT		1000000
/* So many of each are enough. */
static const int64_t enough[] = { [SLAB] = 5, [PAGE_ALLOC] = 50, [OURS] = 50 };
#define MANY		256UL

static int self_fd = -1;

static void self_may_fail(bool may)
{
	CHECK_EQ(pwrite(self_fd, may ? "1" : "0", 1, 0), 1);
}

/* Not to be left half done: everything would be refused from then on. */
static void low_watermark(int64_t bytes)
{
	char text[32];

	self_may_fail(false);
	snprintf(text, sizeof(text), "%lld", (long long)bytes);
	CHECK_EQ(write_text(node_file("low_bytes"), text), 0);
	self_may_fail(true);
}

static void some_of_all(uint64_t *random, int64_t low, int64_t physical)
{
	size_t at = next_random(random) % (MANY - N);
	char *q = p + at * PAGE;

	switch (next_random(random) % 7) {
	case 0:
	case 1:
		madvise(p, pages * PAGE, MADV_PAGEOUT);
		break;
	case 2:
		for (size_t i = 0; i < N; i++)
			rewrite(q + i * PAGE);
		break;
	case 3:
		cg_printf(&cg_here, "cram.reclaim", "%zu to=swap", N * PAGE);
		break;
	case 4:
		cg_printf(&cg_here, "cram.reclaim", "%zu to=dram", N * PAGE);
		break;
	case 5:
		cg_write(&cg_here, "cram.writable_budget", next_random(random) & 1 ? "16384" : "max");
		break;
	case 6:
		/* Or of a worker's: too little is free, for the node's thread to relieve it */
		low_watermark(physical / 8 * 7);
		cg_printf(&cg_here, "memory.reclaim", "%zu", N * PAGE);
		low_watermark(low);
		break;
	}
}

static bool failed_enough(void)
{
	for (int c = 0; c < (int)ARRAY_SIZE(capabilities); c++)
		if (A_LOT - capability_read(c, "times") < enough[c] * scale())
			return false;
	return true;
}

static void third_of_all(void)
{
	int64_t low = node_number("low_bytes"), physical = node_number("physical_bytes");
	uint64_t random = RANDOM_STATE;
	double end = now() + 2 * SETTLES * scale();
	int c;

	self_fd = open("/proc/self/make-it-fail", O_WRONLY | O_CLOEXEC);
	CHECK(self_fd >= 0, "%m");
	if (!swap_on(256))
		skip("no swap device");
	begin();
	ordinary(MANY);
	workers_may_fail(true);
	threads_may_fail("cramd", true);
	for (c = 0; c < (int)ARRAY_SIZE(capabilities); c++) {
		CHECK_EQ(capability_write(c, "times", A_LOT), 0);
		CHECK_EQ(capability_write(c, "probability", often[c]), 0);
	}
	while (!failed_enough() && now() < end) {
		self_may_fail(true);
		some_of_all(&random, low, physical);
		self_may_fail(false);
		CHECK_CONTENT(p, pages, SEED);
	}
	for (c = 0; c < (int)ARRAY_SIZE(capabilities); c++) {
		CHECK_EQ(capability_write(c, "probability", 0), 0);
		tap_note("%s: %lld", capabilities[c],
			 (long long)(A_LOT - capability_read(c, "times")));
	}
	workers_may_fail(false);
	threads_may_fail("cramd", false);
	CHECK(failed_enough());

	/* And without, all of it is as ever */
	CHECK_EQ(cg_write(&cg_here, "cram.writable_budget", "0"), 0);
	CHECK(WAIT_FOR(SETTLES, state_is("open")));
	demote(p, pages);
	all_is_well();
	drop();
}

/* --- a node comes and goes --------------------------------------------------- */

static const char *driver, *device;

static int driver_write(const char *what)
{
	char path[200];

	snprintf(path, sizeof(path), "%s/%s", driver, what);
	return write_text(path, device);
}

static bool node_is_there(void)
{
	return exists(node_file("state"));
}

/* Lines of the driver's memory */
static bool memory_is_there(void)
{
	char line[200];
	bool there = false;
	FILE *f = fopen("/proc/iomem", "r");

	CHECK(f, "%m");
	while (fgets(line, sizeof(line), f))
		there |= strstr(line, "System RAM (c") != NULL;
	fclose(f);
	return there;
}

static void unbound(void)
{
	if (node_is_there())
		CHECK_EQ(driver_write("unbind"), 0);
	CHECK(WAIT_FOR(SETTLES, !node_is_there()));
	CHECK(!memory_is_there());
}

static void bound(void)
{
	if (!node_is_there())
		CHECK_EQ(driver_write("bind"), 0);
	CHECK(WAIT_FOR(SETTLES, state_is("open")));
}

/* Has the @n-th of what the driver does failed? *@err: what it said. */
static bool driver_fails(const char *what, unsigned int n, int *err)
{
	bool failed;

	arm(n);
	*err = driver_write(what);
	failed = disarm();
	/* What an earlier failure has left behind would make it fail now */
	CHECK(!*err || failed, "%s, nothing failed before %u: %s", what, n,
	      strerrorname_np(-*err));
	CHECK_EQ(violations(), violations_before);
	progress->done += !*err;
	progress->refused += !!*err;
	return failed;
}

static bool bind_fails(unsigned int n)
{
	bool failed;
	int err;

	unbound();
	failed = driver_fails("bind", n, &err);
	/* Memory hotplug calls a resource that cannot be allocated one that is in use */
	CHECK(!err || err == -ENOMEM || err == -EIO || err == -EEXIST, "bind, failure %u: %s", n,
	      strerrorname_np(-err));
	CHECK_EQ(node_is_there(), !err);
	CHECK_EQ(memory_is_there(), !err);
	return failed;
}

static bool unbind_fails(unsigned int n)
{
	bool failed;
	int err;

	bound();
	failed = driver_fails("unbind", n, &err);
	/* Nobody has a page: it goes, whatever fails, if somebody can be told which */
	CHECK(err || !node_is_there(), "after failure %u", n);
	CHECK(err || !memory_is_there(), "after failure %u", n);
	return failed;
}

static void node_step(const char *what, bool (*step)(unsigned int), unsigned int least)
{
	progress->op = what;
	progress->done = progress->refused = progress->again = 0;
	for (progress->n = 1; step(progress->n) && progress->n < TOO_MANY;)
		progress->n++;
	tell_progress();
	CHECK(progress->n > least, "at least %u", least);
}

static void node_comes_and_goes(unsigned int least)
{
	begin();
	node_step("unbind", unbind_fails, 10);
	node_step("bind", bind_fails, least);
	bound();
	progress->op = NULL;
}

/* --- the control ------------------------------------------------------------- */

static void demotion_without_unwinding(void)
{
	CHECK(!cg_enter(&cg_here, getpid()));
	debug_set(DEBUGFS "disable_hooks", "unwind");
	demotion();
}

/* A step that takes back what was charged is left out. The books are spoiled for good. */
static void control(void)
{
	violations_before = violations();
	settles = 5;
	cg_here = cg_make(parent_cg.path, "control");
	must_fail(demotion_without_unwinding, "in the books");
	tap_ok(true, "what is charged is not given back after a failure, which is noticed");
	/* The root has no number that would be wrong from now on. */
	tap_ok(!cg_remove(&parent_cg), "the cgroups can be removed");
}

/* Not a scenario: those want the node to be there after them as before. */
static void node_part(unsigned int least)
{
	int status;
	pid_t pid;

	fflush(stdout);
	violations_before = violations();
	pid = fork();
	CHECK(pid >= 0, "%m");
	if (!pid) {
		node_comes_and_goes(least);
		fflush(stdout);
		_exit(0);
	}
	CHECK_EQ(waitpid(pid, &status, 0), pid);
	if (progress->op)
		tell_progress();
	tap_ok(!status, "a node comes and goes");
	tap_ok(run_walker() == 0, "the kernel checks itself and is content");
}

/* ----------------------------------------------------------------------------- */

static const struct scenario scenarios[] = {
	{ "demotion by MADV_PAGEOUT", demotion },
	{ "demotion by memory.reclaim", demotion_by_reclaim },
	{ "demotion of a huge page", demotion_of_huge },
	{ "demotion of a large folio that does not fit", demotion_of_unfit },
	{ "promotion by writing", promotion_by_writing },
	{ "writing to a huge page", writing_to_huge },
	{ "upgrade", upgrade },
	{ "revocation", revocation },
	{ "a pin for reading", pin },
	{ "migration by move_pages()", migration },
	{ "mremap", remapping },
	{ "eviction to ordinary memory", eviction_to_dram },
	{ "eviction to swap", eviction_to_swap },
	{ "reading what was evicted to swap", reading_from_swap },
	{ "a lower cram.max", lower_max },
	{ "draining the node", drain, S_OPERATED },
	{ "opening the node", opening, S_OPERATED },
	{ "hot promotion", hot_promotion },
	{ "the node's thread", thread_fails },
	{ "mkdir of a cgroup", making_cgroups },
	{ "the controller is enabled", enabling },
	{ "files are written to", writing_files },
	{ "a third of all", third_of_all },
};

/* Only with ALL=1 */
static const struct scenario slow_scenarios[] = {
	{ "fork", forking },
	{ "fork with writable pages", forking_upgraded },
	{ "files are read", reading_files },
};

static void run_each(const struct scenario *table, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		set_lru(i & 1 ? LRU_MGLRU : LRU_CLASSIC);
		run_scenario(&table[i], "", 300 * scale());
		if (progress->op)
			tell_progress();
		progress->op = NULL;
		/* A scenario that has failed leaves them as they were. */
		capabilities_off();
	}
}

int main(int argc, char **argv)
{
	char text[24];
	int64_t lease;

	if (!exists("/proc/self/fail-nth") || !capabilities_prepare())
		tap_skip_all("no fault injection: needs CONFIG_FAILSLAB, _FAIL_PAGE_ALLOC and _FAIL_CRAM");
	setup();
	progress = mmap(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	CHECK(progress != MAP_FAILED);
	write_text(LARGE_FOLIOS, "madvise");
	lease = node_number("lease_ms");
	CHECK_EQ(write_text(node_file("lease_ms"), LEASE), 0);
	if (argc > 3) {
		driver = argv[2];
		device = argv[3];
		node_part(100);
		teardown();
		return tap_end();
	}
	if (argc > 1) {
		control();
		return tap_end();
	}
	run_each(scenarios, ARRAY_SIZE(scenarios));
	if (getenv("ALL"))
		run_each(slow_scenarios, ARRAY_SIZE(slow_scenarios));
	swap_off();
	write_text(LARGE_FOLIOS, "never");
	snprintf(text, sizeof(text), "%lld", (long long)lease);
	write_text(node_file("lease_ms"), text);
	teardown();
	driver = "/sys/bus/platform/drivers/cram_sim";
	device = "cram_sim.0";
	if (getenv("ALL"))
		node_part(100);
	return tap_end();
}
