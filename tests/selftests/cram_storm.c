// SPDX-License-Identifier: GPL-2.0
/*
 * Everything at once. Processes with two threads each read, write, page out,
 * discard, lazily free, protect, move, unmap and fork memory whose content is
 * known, while KSM merges some of it, others create, configure and remove the
 * cgroups that they live in and move them about, and some take the node offline
 * and back, and the swap away. What is done when is random; SEED=n in the
 * environment repeats the dice, not the races.
 *
 * The oracles: the content of every page, the ends that processes come to, the
 * errors that writes to files return, the walker while all this goes on, an
 * offline node that is empty, and the books when everything has been removed.
 * Each is made to fire once: see the controls at the end.
 *
 * With T=n in the environment a storm lasts that many times 10 s, and with WALK=n
 * the walker rests for n seconds between its rounds instead of 3.
 */
#include "roads.h"

#include <fcntl.h>
#include <pthread.h>
#include <stdatomic.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/swap.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <unistd.h>

#define SECONDS		10
#define LONGEST		12			/* times that, until all has happened */
#define WORKERS		4
#define ADMINS		3
#define THREADS		2
#define AREA		(2 * MIB / PAGE)	/* pages of a thread: a huge one */
#define MOST		32			/* of them at a time */

/* Longest of what has to end by itself: draining, killing, the last look. */
#define PATIENCE	90

/* --- dice ------------------------------------------------------------------- */

struct dice {
	uint64_t state;
};

static uint64_t storm_seed;

static struct dice dice_of(uint64_t who)
{
	return (struct dice){ mix(storm_seed * 0x9e3779b97f4a7c15ULL + who) | 1 };
}

static size_t below(struct dice *d, size_t n)
{
	return (next_random(&d->state) >> 11) % n;
}

/* --- what all processes share ----------------------------------------------- */

enum deed {
	/* of the workers */
	READ, WRITE, PAGEOUT, DONTNEED, UNMAP, FORK, LAZYFREE, PROTECT, REMAP, WATCH,
	MERGE, UNMERGE,
	/* of the admins */
	MAKE, REMOVE, VACATE, ENABLE, DISABLE, LOWER, RAISE, NODE_MAX, LOW, BUDGET, NODES,
	MEMORY_MAX, RECLAIM, EVICT, MOVE, KILL, LOOK, HEAT,
	/* of the operators */
	OFFLINE, OPEN, SWAPOFF, SWAPON,
	/* of the walker */
	WALK,
	NR_DEEDS,
};

static const char *const deed_names[NR_DEEDS] = {
	"read", "write", "pageout", "dontneed", "unmap", "fork", "lazyfree", "protect", "remap",
	"watch", "merge", "unmerge",
	"make", "remove", "vacate", "enable", "disable", "lower", "raise", "node.max", "low",
	"budget", "nodes", "memory.max", "reclaim", "evict", "move", "kill", "look", "heat",
	"offline", "open", "swapoff", "swapon",
	"walk",
};

enum sabotage { NONE, FLIP, LEAK, CRASH, REFUSED };

static struct shared {
	_Atomic long done[NR_DEEDS];
	_Atomic long damaged;		/* pages that are not what they should be */
	_Atomic long surprises;		/* errors that nothing explains */
	_Atomic long not_empty;		/* pages on an offline node */
	_Atomic long violations;	/* that the walker has met */
	_Atomic uint64_t lives;		/* workers ever started */
	_Atomic int pids[WORKERS];
	_Atomic bool stop;
	bool swap;			/* there is some, which comes and goes */
	enum sabotage sabotage;
} *shared;

static bool stopped(void)
{
	return atomic_load(&shared->stop);
}

static void did(enum deed deed)
{
	atomic_fetch_add(&shared->done[deed], 1);
}

/* --- workers ---------------------------------------------------------------- */

struct area {
	char *pages;
	/* Of each page's content; 0: never written, so all zeroes. */
	uint32_t generation[AREA];
	bool lazy[AREA];		/* or all zeroes, from some time on */
	char *aside;			/* room for as much, to move pages to */
	int watch;			/* a userfaultfd, or -1 */
	uint32_t last;
	uint64_t seed;
	struct dice dice;
	pid_t child;
	bool flipped;
};

/* This generation is the same everywhere, for KSM. */
#define TWIN	UINT32_MAX

/* Content differs between areas, lives and generations: a mix-up is seen, too. */
static uint64_t seed_of(const struct area *a, size_t i)
{
	return a->generation[i] == TWIN ? TWIN : a->seed + a->generation[i];
}

static size_t index_of(const struct area *a, size_t i)
{
	return a->generation[i] == TWIN ? 0 : i;
}

static void check_page(struct area *a, size_t i)
{
	const char *p = a->pages + i * PAGE;

	if (a->generation[i] ? !page_differs(p, seed_of(a, i), index_of(a, i)) : all_zero(p, 1))
		return;
	/* It may have gone while it was compared; then it is gone for good. */
	if (a->lazy[i] && all_zero(p, 1)) {
		a->generation[i] = 0;
		a->lazy[i] = false;
		return;
	}
	atomic_fetch_add(&shared->damaged, 1);
	tap_note("seed %llu: page %zu at %p is damaged: generation %u, pagemap %#llx%s%s",
		 (unsigned long long)storm_seed, i, p, a->generation[i],
		 (unsigned long long)pagemap(p), is_resident(p) ? ", resident" : "",
		 all_zero(p, 1) ? ", all zeroes" : "");
	fflush(stdout);
	_exit(KSFT_FAIL);
}

/* All that was written, and some of what was not. */
static void check_area(struct area *a)
{
	size_t i;

	for (i = 0; i < AREA; i++)
		if (a->generation[i] || i % 16 == 0)
			check_page(a, i);
}

static void write_generation(struct area *a, size_t i, uint32_t generation)
{
	a->generation[i] = generation;
	a->lazy[i] = false;
	fill_page(a->pages + i * PAGE, seed_of(a, i), index_of(a, i));
}

static void write_page(struct area *a, size_t i)
{
	write_generation(a, i, ++a->last);
}

static void forget(struct area *a, size_t from, size_t n)
{
	memset(a->generation + from, 0, n * sizeof(*a->generation));
	memset(a->lazy + from, 0, n * sizeof(*a->lazy));
}

static void lazyfree(struct area *a, size_t from, size_t n)
{
	size_t i;

	CHECK(!madvise(a->pages + from * PAGE, n * PAGE, MADV_FREE), "%m");
	for (i = from; i < from + n; i++)
		a->lazy[i] = a->generation[i];
	did(LAZYFREE);
}

static void protect_some(struct area *a, size_t from, size_t n)
{
	static const int kinds[] = { PROT_READ, PROT_READ, PROT_NONE };
	int kind = kinds[below(&a->dice, ARRAY_SIZE(kinds))];
	char *p = a->pages + from * PAGE;

	protect(p, n, kind);
	if (below(&a->dice, 2))
		CHECK(!madvise(p, n * PAGE, MADV_PAGEOUT), "%m");
	if (kind == PROT_READ)
		check_page(a, from);
	protect(p, n, PROT_READ | PROT_WRITE);
	did(PROTECT);
}

/* There and back; what is elsewhere is paged out, too. */
static void remap(struct area *a, size_t from, size_t n)
{
	char *p = a->pages + from * PAGE;

	/* Of these only one mapping at a time can be moved. */
	if (a->watch >= 0)
		return;
	CHECK(mremap(p, n * PAGE, n * PAGE, MREMAP_MAYMOVE | MREMAP_FIXED, a->aside) == a->aside,
	      "%m");
	if (below(&a->dice, 2))
		CHECK(!madvise(a->aside, n * PAGE, MADV_PAGEOUT), "%m");
	CHECK(mremap(a->aside, n * PAGE, n * PAGE, MREMAP_MAYMOVE | MREMAP_FIXED, p) == p, "%m");
	check_page(a, from);
	did(REMAP);
}

/* Write protection that ends with the next store. What was mapped anew has none. */
static void watch(struct area *a, size_t from, size_t n)
{
	char *p = a->pages + from * PAGE;

	if (a->watch < 0)
		return;
	if (!write_protect(a->watch, p, n, below(&a->dice, 4)))
		did(WATCH);
	else
		CHECK(errno == ENOENT || errno == EAGAIN, "%m");
}

static void merge(struct area *a, size_t from, size_t n)
{
	char *p = a->pages + from * PAGE;
	size_t i;

	if (below(&a->dice, 3)) {
		for (i = from; i < from + n; i++) {
			check_page(a, i);
			write_generation(a, i, TWIN);
		}
		CHECK(!madvise(p, n * PAGE, MADV_MERGEABLE), "%m");
		did(MERGE);
	} else if (!madvise(p, n * PAGE, MADV_UNMERGEABLE)) {
		did(UNMERGE);
	} else {
		/* That takes memory. */
		CHECK(errno == ENOMEM || errno == EAGAIN, "%m");
	}
}

static void one_deed(struct area *a, bool may_fork);

/* What a child does is its own affair: it must see what was at the fork. */
static void child(struct area *a)
{
	unsigned int i, n = below(&a->dice, 40);

	prctl(PR_SET_NAME, "storm-child");
	check_area(a);
	for (i = 0; i < n && !stopped(); i++)
		one_deed(a, false);
	check_area(a);
	fflush(stdout);
	_exit(0);
}

static void reap_child(struct area *a)
{
	int status;

	if (a->child <= 0)
		return;
	CHECK_EQ(waitpid(a->child, &status, 0), a->child);
	a->child = 0;
	CHECK(WIFSIGNALED(status) ? WTERMSIG(status) == SIGKILL : !WEXITSTATUS(status),
	      "status %#x of a child", status);
}

static void fork_off(struct area *a)
{
	reap_child(a);
	a->child = fork();
	if (!a->child) {
		a->dice.state = mix(a->dice.state) | 1;
		child(a);
	}
	/* A cgroup at memory.max has no memory for a process. */
	CHECK(a->child > 0 || errno == ENOMEM || errno == EAGAIN, "fork: %m");
	if (a->child > 0)
		did(FORK);
}

static void one_deed(struct area *a, bool may_fork)
{
	size_t n = 1 + below(&a->dice, MOST), from = below(&a->dice, AREA - n + 1), i;
	char *p = a->pages + from * PAGE;

	switch (below(&a->dice, 42)) {
	case 0 ... 8:
		for (i = from; i < from + n; i++)
			check_page(a, i);
		did(READ);
		break;
	case 9 ... 14:
		for (i = from; i < from + n; i++) {
			check_page(a, i);
			write_page(a, i);
		}
		did(WRITE);
		break;
	case 15 ... 25:
		CHECK(!madvise(p, n * PAGE, MADV_PAGEOUT), "%m");
		did(PAGEOUT);
		break;
	case 26 ... 28:
		CHECK(!madvise(p, n * PAGE, MADV_DONTNEED), "%m");
		forget(a, from, n);
		did(DONTNEED);
		break;
	case 29 ... 30:
		CHECK(!munmap(p, n * PAGE), "%m");
		CHECK(mmap(p, n * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS |
			   MAP_FIXED_NOREPLACE, -1, 0) == p, "%m");
		forget(a, from, n);
		did(UNMAP);
		break;
	case 31 ... 32:
		lazyfree(a, from, n);
		break;
	case 33 ... 34:
		protect_some(a, from, n);
		break;
	case 35 ... 36:
		remap(a, from, n);
		break;
	case 37 ... 38:
		/* A child has no part in its parent's. */
		if (may_fork)
			watch(a, from, n);
		break;
	case 39 ... 40:
		merge(a, from, n);
		break;
	default:
		if (may_fork)
			fork_off(a);
	}
}

/* One bit that the books know nothing of, in a page that has content. */
static void flip(struct area *a)
{
	size_t i = below(&a->dice, AREA);

	if (!a->generation[i] || a->flipped)
		return;
	a->pages[i * PAGE + below(&a->dice, PAGE)] ^= 1 << below(&a->dice, 8);
	a->flipped = true;
}

/* One for all areas of a process, or none. */
static int watched(char *p, size_t pages)
{
	struct uffdio_api api = {
		.api = UFFD_API, .features = FEATURE_WP_ASYNC | FEATURE_WP_UNPOPULATED,
	};
	int fd = syscall(SYS_userfaultfd, O_CLOEXEC);

	if (fd >= 0 && !ioctl(fd, UFFDIO_API, &api))
		userfault_register(fd, p, pages, UFFDIO_REGISTER_MODE_WP);
	return fd;
}

static double dies_at;

static void *thread(void *arg)
{
	struct area *a = arg;
	size_t i;

	for (i = 0; i < AREA; i += 2)
		write_page(a, i);
	while (!stopped() && now() < dies_at) {
		one_deed(a, true);
		if (shared->sabotage == FLIP)
			flip(a);
	}
	check_area(a);
	reap_child(a);
	return NULL;
}

/* A random path up to three levels down; level 0 is where the storm is. */
static struct cg storm_cg;

static struct cg any_cg(struct dice *d, unsigned int least, unsigned int most)
{
	unsigned int level = least + below(d, most - least + 1);
	struct cg cg = storm_cg;

	while (level--)
		strcat(cg.path, below(d, 2) ? "/a" : "/b");
	return cg;
}

/* One that is there, if it is found soon; it may be gone when it is used. */
static struct cg some_cg(struct dice *d, unsigned int least, unsigned int most)
{
	struct cg cg;
	int i;

	for (i = 0; i < 8; i++) {
		cg = any_cg(d, least, most);
		if (exists(cg.path))
			break;
	}
	return cg;
}

static void worker(uint64_t life)
{
	static struct area areas[THREADS];
	pthread_t threads[THREADS];
	struct dice d = dice_of(life);
	char *memory;
	int watch = -1;
	size_t i;

	prctl(PR_SET_NAME, "storm-worker");
	for (i = 0; i < 100; i++) {
		struct cg cg = some_cg(&d, 1, 3);

		if (!cg_enter(&cg, getpid()))
			break;
		nap_ms(2);
	}
	if (i == 100)
		_exit(0);
	if (shared->sabotage == CRASH)
		raise(SIGABRT);

	/* One huge page for each, sometimes. Some of it compresses, some does not. */
	fill_period = below(&d, 3) ? 64 : 512;
	memory = map_pages((2 * THREADS + 1) * AREA);
	memory = (char *)(((uintptr_t)memory + AREA * PAGE - 1) & ~(AREA * PAGE - 1));
	if (!below(&d, 3))
		madvise(memory, THREADS * AREA * PAGE, MADV_HUGEPAGE);
	if (!below(&d, 3))
		watch = watched(memory, THREADS * AREA);
	dies_at = now() + 1 + below(&d, 6000) / 1000.0;
	for (i = 0; i < THREADS; i++) {
		areas[i].pages = memory + i * AREA * PAGE;
		areas[i].aside = memory + (THREADS + i) * AREA * PAGE;
		areas[i].watch = watch;
		areas[i].seed = (life * THREADS + i) << 32;
		areas[i].dice = dice_of(areas[i].seed);
	}
	for (i = 1; i < THREADS; i++)
		if (pthread_create(&threads[i], NULL, thread, &areas[i]))
			_exit(0);	/* no memory for a stack */
	thread(&areas[0]);
	for (i = 1; i < THREADS; i++)
		pthread_join(threads[i], NULL);
	/* It ends with all its pages where they are. */
	fflush(stdout);
	_exit(0);
}

/* --- admins ----------------------------------------------------------------- */

static int make(struct dice *d)
{
	return mkdir(any_cg(d, 1, 3).path, 0755) ? -errno : 0;
}

static int remove_some(struct dice *d)
{
	return rmdir(some_cg(d, 1, 3).path) ? -errno : 0;
}

/* The tasks go, their resident pages stay, and then the cgroup goes. */
static int vacate(struct dice *d)
{
	struct cg cg = some_cg(d, 1, 3), other = some_cg(d, 1, 3);
	char *pid, *next, procs[4096];

	if (read_text(cg_file(&cg, "cgroup.procs"), procs, sizeof(procs)) < 0)
		return -ENOENT;
	for (pid = strtok_r(procs, "\n", &next); pid; pid = strtok_r(NULL, "\n", &next))
		cg_write(&other, "cgroup.procs", pid);
	return rmdir(cg.path) ? -errno : 0;
}

static int enable(struct dice *d)
{
	struct cg cg = some_cg(d, 0, 2);

	return cg_write(&cg, "cgroup.subtree_control", below(d, 4) ? "+memory +cram" : "+cram");
}

static int disable(struct dice *d)
{
	struct cg cg = some_cg(d, 0, 2);

	return cg_write(&cg, "cgroup.subtree_control", below(d, 4) ? "-cram" : "-memory -cram");
}

static int set_max(struct dice *d, size_t pages)
{
	struct cg cg = some_cg(d, 1, 3);
	char text[32];

	snprintf(text, sizeof(text), "%lu", pages * PAGE);
	return write_bytes(cg_file(&cg, "cram.max"), text, strlen(text),
			   below(d, 4) ? 0 : O_NONBLOCK);
}

static int lower(struct dice *d)
{
	return set_max(d, below(d, 2) * below(d, AREA));
}

static int raise_max(struct dice *d)
{
	return set_max(d, AREA * (1 + below(d, 64)));
}

static int node_max(struct dice *d)
{
	struct cg cg = some_cg(d, 1, 3);
	char text[64];

	if (below(d, 2))
		snprintf(text, sizeof(text), "N%d max", cram_node());
	else
		snprintf(text, sizeof(text), "N%d %lu", cram_node(), below(d, 2 * AREA) * PAGE);
	return write_bytes(cg_file(&cg, "cram.node.max"), text, strlen(text),
			   below(d, 4) ? 0 : O_NONBLOCK);
}

static int low(struct dice *d)
{
	struct cg cg = some_cg(d, 1, 3);

	return cg_printf(&cg, "cram.low", "%lu", below(d, 2) * below(d, AREA) * PAGE);
}

static int set_budget(struct dice *d)
{
	static const char *const fixed[] = { "max", "inherit", "0", "max" };
	struct cg cg = some_cg(d, 0, 3);
	size_t which = below(d, 6);
	char text[32];

	if (which < ARRAY_SIZE(fixed))
		snprintf(text, sizeof(text), "%s", fixed[which]);
	else
		snprintf(text, sizeof(text), "%lu", below(d, AREA) * PAGE);
	return write_bytes(cg_file(&cg, "cram.writable_budget"), text, strlen(text),
			   below(d, 4) ? 0 : O_NONBLOCK);
}

static int nodes(struct dice *d)
{
	struct cg cg = some_cg(d, 1, 3);

	switch (below(d, 4)) {
	case 0:
		return cg_write(&cg, "cram.nodes", "none");
	case 1:
		return cg_printf(&cg, "cram.nodes", "%d", cram_node());
	default:
		return cg_write(&cg, "cram.nodes", "\n");
	}
}

static int memory_max(struct dice *d)
{
	static const char *const limits[] = { "max", "max", "max", "64M", "24M", "12M" };
	struct cg cg = some_cg(d, 1, 3);

	return cg_write(&cg, "memory.max", limits[below(d, ARRAY_SIZE(limits))]);
}

static int reclaim(struct dice *d)
{
	struct cg cg = some_cg(d, 0, 3);
	int err = cg_printf(&cg, "memory.reclaim", "%lu", (1 + below(d, AREA)) * PAGE);

	/* It has reclaimed what it could. */
	return err == -EAGAIN ? 0 : err;
}

static int evict(struct dice *d)
{
	static const char *const to[] = { "", " to=dram", " to=swap" };
	struct cg cg = some_cg(d, 1, 3);
	int err = cg_printf(&cg, "cram.reclaim", "%lu%s", (1 + below(d, 64)) * PAGE,
			    to[below(d, ARRAY_SIZE(to))]);

	return err == -EAGAIN ? 0 : err;
}

static int move(struct dice *d)
{
	pid_t pid = atomic_load(&shared->pids[below(d, WORKERS)]);
	struct cg cg = some_cg(d, 1, 3);

	return pid ? cg_enter(&cg, pid) : -ESRCH;
}

static int kill_some(struct dice *d)
{
	struct cg cg = some_cg(d, 1, 3);

	return cg_write(&cg, "cgroup.kill", "1");
}

static int look(struct dice *d)
{
	static const char *const files[] = {
		"cram.current", "cram.peak", "cram.max", "cram.nodes", "cram.nodes.effective",
		"cram.events", "cram.events.local", "cram.stat", "cram.numa_stat", "memory.stat",
		"memory.numa_stat",
	};
	struct cg cg = some_cg(d, 0, 3);
	char text[16 * 1024];
	int n;

	n = read_text(cg_file(&cg, files[below(d, ARRAY_SIZE(files))]), text, sizeof(text));
	return n < 0 ? n : 0;
}

/* Bit of /proc/kpageflags: mapped by somebody, and anonymous */
#define IS_ANON	(1ULL << 12)

/*
 * Have the device say that some pages are hot: some in use, as most are not, and
 * whatever else there is, and is not.
 */
static int heat(struct dice *d)
{
	int64_t first = read_number(SIM "start_pfn"), pages = read_number(SIM "nr_pages");
	int64_t from = first + (int64_t)below(d, pages);
	uint64_t flags[4096] = {};
	char text[1200];
	int len = 0, hot = 0, fd;
	ssize_t n;
	size_t i;

	if (!exists(SIM "hot"))
		return 0;
	fd = open("/proc/kpageflags", O_RDONLY);
	CHECK(fd >= 0, "%m");
	n = pread(fd, flags, sizeof(flags), from * sizeof(*flags));
	CHECK(n >= 0, "%m");
	close(fd);
	for (i = 0; i < ARRAY_SIZE(flags) && hot < 64; i++)
		if (flags[i] & IS_ANON && from + (int64_t)i < first + pages && !below(d, 4)) {
			len += snprintf(text + len, sizeof(text) - len, "%lld ",
					(long long)from + (long long)i);
			hot++;
		}
	for (i = 0; i < 8; i++)
		len += snprintf(text + len, sizeof(text) - len, "%lld ",
				(long long)first - 8 + (long long)below(d, pages + 16));
	return write_text(SIM "hot", text);
}

/*
 * ENOENT and ENODEV: the cgroup or the file is not there, or goes while it is
 * written. What else may happen is said here; nothing else may.
 */
static const struct {
	enum deed deed;
	int (*run)(struct dice *d);
	int errors[3];
	unsigned int weight;
} admin_deeds[] = {
	{ MAKE, make, { EEXIST, ENOMEM }, 16 },
	{ REMOVE, remove_some, { EBUSY }, 4 },
	{ VACATE, vacate, { EBUSY }, 8 },
	{ ENABLE, enable, { EBUSY, ENOMEM }, 12 },
	{ DISABLE, disable, { EBUSY, ENOMEM }, 4 },
	{ LOWER, lower, {}, 4 },
	{ RAISE, raise_max, {}, 8 },
	{ NODE_MAX, node_max, {}, 4 },
	{ LOW, low, {}, 4 },
	{ BUDGET, set_budget, {}, 8 },
	{ NODES, nodes, {}, 6 },
	{ MEMORY_MAX, memory_max, {}, 6 },
	{ RECLAIM, reclaim, {}, 12 },
	{ EVICT, evict, {}, 4 },
	{ MOVE, move, { EBUSY, ESRCH }, 12 },
	/* Rarely: what is killed does not see that it is damaged. */
	{ KILL, kill_some, {}, 1 },
	{ LOOK, look, { EINVAL }, 8 },
	/* Often: most pages are gone before the engine asks. */
	{ HEAT, heat, { ENOSPC }, 24 },
};

static void surprise(const char *what, int err)
{
	atomic_fetch_add(&shared->surprises, 1);
	tap_note("seed %llu: %s failed: %s", (unsigned long long)storm_seed, what, strerror(-err));
}

static void admin(uint64_t who)
{
	unsigned int total = 0, i, pick;
	struct dice d = dice_of(who);
	int err;

	prctl(PR_SET_NAME, "storm-admin");
	for (i = 0; i < ARRAY_SIZE(admin_deeds); i++)
		total += admin_deeds[i].weight;
	if (shared->sabotage == REFUSED) {
		/* Nothing makes this one right. */
		err = cg_write(&storm_cg, "cgroup.subtree_control", "+nonsense");
		if (err)
			surprise("nonsense", err);
	}
	while (!stopped()) {
		pick = below(&d, total);
		for (i = 0; pick >= admin_deeds[i].weight; i++)
			pick -= admin_deeds[i].weight;
		err = admin_deeds[i].run(&d);
		if (!err)
			did(admin_deeds[i].deed);
		else if (-err != ENOENT && -err != ENODEV && -err != admin_deeds[i].errors[0] &&
			 -err != admin_deeds[i].errors[1])
			surprise(deed_names[admin_deeds[i].deed], err);
		nap_ms(below(&d, 10));
	}
	fflush(stdout);
	_exit(0);
}

/* --- the operator ----------------------------------------------------------- */

static void set_state(const char *state, enum deed deed)
{
	int err = write_text(node_file("state"), state);

	if (!err)
		did(deed);
	else if (deed == OPEN || (err != -EBUSY && err != -EINTR))
		surprise(state, err);
}

static void operator(uint64_t who)
{
	struct dice d = dice_of(who);
	long offline;
	double until;

	prctl(PR_SET_NAME, "storm-operator");
	while (!stopped()) {
		for (until = now() + 0.5 + below(&d, 2000) / 1000.0; now() < until && !stopped();)
			nap_ms(10);
		offline = atomic_load(&shared->done[OFFLINE]);
		set_state("offline", OFFLINE);
		/* Nobody else opens it, so it stays empty. */
		if (atomic_load(&shared->done[OFFLINE]) > offline)
			for (until = now() + below(&d, 100) / 1000.0; now() < until; nap_ms(5))
				if (node_number("used_bytes"))
					atomic_fetch_add(&shared->not_empty, 1);
		set_state("open", OPEN);
	}
	fflush(stdout);
	_exit(0);
}

/* Takes the swap away, and gives it back. ENOMEM: there is no room for what is in it. */
static void swapper(uint64_t who)
{
	struct dice d = dice_of(who);
	double until;

	prctl(PR_SET_NAME, "storm-swapper");
	while (!stopped()) {
		for (until = now() + 1 + below(&d, 3000) / 1000.0; now() < until && !stopped();)
			nap_ms(10);
		if (!shared->swap)
			continue;
		if (!swap_off())
			did(SWAPOFF);
		else if (errno != ENOMEM && errno != EINTR)
			surprise("swapoff", -errno);
		nap_ms(below(&d, 300));
		if (swap_on(256))
			did(SWAPON);
		else
			surprise("swapon", -errno);
	}
	fflush(stdout);
	_exit(0);
}

/* Without a pause, or with one: it makes the others wait. */
static void walker(uint64_t who)
{
	const char *rest = getenv("WALK");
	double until, pause = rest ? atof(rest) : 3;
	int64_t n;

	prctl(PR_SET_NAME, "storm-walker");
	while (!stopped()) {
		n = run_walker();
		if (n)
			atomic_store(&shared->violations, n);
		did(WALK);
		for (until = now() + pause; now() < until && !stopped();)
			nap_ms(10);
	}
	fflush(stdout);
	_exit(0);
}

/* --- the storm -------------------------------------------------------------- */

/* All that must be 0. */
struct findings {
	long damaged, surprises, not_empty, bad_ends, hung;
	int64_t violations, current, stat, used;
};

static const char *const page_counters[] = {
	"cram_demote", "cram_promote_write", "cram_promote_reclaim", "cram_writeback",
	"cram_promote_hot",
};

static int64_t counted_before[ARRAY_SIZE(page_counters)];

static int64_t page_count(size_t i)
{
	return read_key("/proc/vmstat", page_counters[i]) - counted_before[i];
}

/* Everything has been done, and pages have taken every road. */
static bool covered(bool show)
{
	bool all = true;
	size_t i;

	for (i = 0; i < NR_DEEDS; i++) {
		if ((i == SWAPOFF || i == SWAPON) && !shared->swap)
			continue;
		if (show && !atomic_load(&shared->done[i]))
			tap_note("never: %s", deed_names[i]);
		all &= atomic_load(&shared->done[i]) > 0;
	}
	/* Evicted to swap or to ordinary memory. */
	for (i = 0; i < 2; i++) {
		if (show && page_count(i) <= 0)
			tap_note("never: %s", page_counters[i]);
		all &= page_count(i) > 0;
	}
	if (show && page_count(2) + page_count(3) <= 0)
		tap_note("never: eviction");
	/* Only the model device can be told what is hot. */
	if (show && page_count(4) <= 0)
		tap_note("never: %s", page_counters[4]);
	all &= page_count(4) > 0 || !exists(SIM "hot");
	return all && page_count(2) + page_count(3) > 0;
}

static pid_t start(void (*fn)(uint64_t who), uint64_t who)
{
	pid_t pid;

	fflush(stdout);
	pid = fork();
	CHECK(pid >= 0, "%m");
	if (!pid) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		/* Workers would take all processors, and nobody would disturb them. */
		setpriority(PRIO_PROCESS, 0, fn == worker ? 2 : 0);
		fn(who);
	}
	return pid;
}

/* Judge whoever has ended; how many were killed for want of memory or by an admin. */
static unsigned int reap(struct findings *found)
{
	unsigned int killed = 0, i;
	int status;
	pid_t pid;

	while ((pid = waitpid(-1, &status, WNOHANG)) > 0) {
		for (i = 0; i < WORKERS; i++)
			if (atomic_load(&shared->pids[i]) == pid)
				atomic_store(&shared->pids[i], 0);
		if (WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL) {
			killed++;
		} else if (status) {
			found->bad_ends++;
			tap_note("seed %llu: a process ended with status %#x",
				 (unsigned long long)storm_seed, status);
		}
	}
	return killed;
}

static bool books_at_zero(struct findings *found)
{
	found->current = cg_number(&cg_here, "cram.current");
	found->stat = cg_key(&cg_here, "cram.stat", "readonly");
	found->used = node_number("used_bytes");
	return !found->current && !found->stat && !found->used;
}

static void read_books(struct findings *found, unsigned int seconds)
{
	found->violations += run_walker();	/* drains the LRU batches of all CPUs */
	WAIT_FOR(seconds, books_at_zero(found));
}

static bool swap_is_on(void)
{
	return read_kb("/proc/meminfo", "SwapTotal") > 0;
}

/* The daemon; no page stays merged when it is stopped. */
static void ksm(bool on)
{
	if (!exists(KSM "run"))
		return;
	write_text(KSM "sleep_millisecs", "20");
	write_text(KSM "pages_to_scan", "100");
	write_text(KSM "run", on ? "1" : "2");
}

static double storm_seconds(void)
{
	const char *t = getenv("T");
	double times = t ? atof(t) : 1;

	return SECONDS * (times > 0.2 ? times : 0.2);
}

/*
 * Lasts @seconds, and longer until there is @enough: on a slow machine it takes
 * longer until everything has happened. A control ends when there is enough.
 */
static struct findings storm(enum sabotage sabotage, double seconds, bool (*enough)(void))
{
	const char *given = getenv("SEED");
	struct findings found = {};
	double begin;
	unsigned int killed = 0, i;
	struct cg judge;
	cpu_set_t all;
	void (*const others[])(uint64_t who) = { operator, swapper, walker };
	pid_t helpers[ADMINS + ARRAY_SIZE(others)];
	char line[1000];
	size_t len = 0;

	storm_seed = given ? strtoull(given, NULL, 0) : (uint64_t)getpid() ^ (uint64_t)(now() * 1e6);
	tap_note("seed %llu", (unsigned long long)storm_seed);
	memset(&all, 0xff, sizeof(all));
	CHECK(!sched_setaffinity(0, sizeof(all), &all), "%m");
	CHECK(!prctl(PR_SET_CHILD_SUBREAPER, 1), "%m");
	shared = mmap(NULL, sizeof(*shared), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS,
		      -1, 0);
	CHECK(shared != MAP_FAILED, "%m");
	shared->sabotage = sabotage;
	shared->swap = swap_is_on();
	for (i = 0; i < ARRAY_SIZE(page_counters); i++)
		counted_before[i] += page_count(i);

	/* Whoever watches is not in the storm. */
	judge = cg_make(cg_here.path, "judge");
	CHECK_EQ(cg_enter(&judge, getpid()), 0);
	CHECK_EQ(cg_write(&cg_here, "cgroup.subtree_control", "+memory +cram"), 0);
	storm_cg = cg_make(cg_here.path, "storm");
	CHECK_EQ(cg_write(&storm_cg, "cgroup.subtree_control", "+memory +cram"), 0);

	ksm(true);
	begin = now();
	for (i = 0; i < ARRAY_SIZE(helpers); i++)
		helpers[i] = start(i < ADMINS ? admin : others[i - ADMINS], 1 + i);
	while (now() < begin + LONGEST * seconds && (now() < begin + seconds || !enough())) {
		if (sabotage != NONE && enough())
			break;
		for (i = 0; i < WORKERS; i++)
			if (!atomic_load(&shared->pids[i]))
				atomic_store(&shared->pids[i],
					     start(worker, 100 + atomic_fetch_add(&shared->lives, 1)));
		killed += reap(&found);
		nap_ms(20);
	}
	atomic_store(&shared->stop, true);
	tap_note("%.1f s, %llu workers", now() - begin, (unsigned long long)shared->lives);

	if (!WAIT_FOR(PATIENCE, (killed += reap(&found), cg_key(&storm_cg, "cgroup.events",
								  "populated") == 0)))
		found.hung++;
	for (i = 0; i < ARRAY_SIZE(helpers); i++)
		if (!WAIT_FOR(PATIENCE, (killed += reap(&found), kill(helpers[i], 0))))
			found.hung++;
	if (cg_remove(&storm_cg))
		found.hung++;
	killed += reap(&found);
	ksm(false);
	if (shared->swap)
		swap_on(256);
	found.violations = shared->violations;
	read_books(&found, sabotage == LEAK ? 2 : 10);
	found.damaged = shared->damaged;
	found.surprises = shared->surprises;
	found.not_empty = shared->not_empty;

	for (i = 0; i < NR_DEEDS; i++)
		len += snprintf(line + len, sizeof(line) - len, " %s %ld", deed_names[i],
				atomic_load(&shared->done[i]));
	tap_note("done:%s; killed %u", line, killed);
	tap_note("pages: %lld demoted, %lld promoted by write, %lld by eviction, %lld written back, %lld hot",
		 (long long)page_count(0), (long long)page_count(1), (long long)page_count(2),
		 (long long)page_count(3), (long long)page_count(4));
	return found;
}

static bool is_covered(void)
{
	return covered(false);
}

static void check_books(const struct findings *found)
{
	CHECK_EQ(found->current, 0);
	CHECK_EQ(found->stat, 0);
	CHECK_EQ(found->used, 0);
}

static void everything(void)
{
	struct findings found = storm(NONE, storm_seconds(), is_covered);

	CHECK_EQ(found.damaged, 0);
	CHECK_EQ(found.bad_ends, 0);
	CHECK_EQ(found.surprises, 0);
	CHECK_EQ(found.not_empty, 0);
	CHECK_EQ(found.violations, 0);
	CHECK_EQ(found.hung, 0);
	check_books(&found);
	CHECK(covered(true), "the storm was none");
}

/* --- controls: each oracle fires -------------------------------------------- */

static bool damage_seen(void)
{
	return atomic_load(&shared->damaged) > 0;
}

static void bit_flipped(void)
{
	struct findings found = storm(FLIP, SECONDS, damage_seen);

	CHECK(found.damaged > 0);
	CHECK(found.bad_ends > 0);
	check_books(&found);
}

static int leak_pipe[2];

/* A resident page that outlives its process: a pipe holds it. */
static void leaker(struct peer *up, void *arg)
{
	void *p = map_pages(1);
	struct iovec iov = { p, PAGE };
	struct cg cg = cg_make(cg_here.path, "leaker");

	CHECK_EQ(cg_enter(&cg, getpid()), 0);
	fill(p, 1, 1);
	demote(p, 1);
	CHECK_EQ(vmsplice(leak_pipe[1], &iov, 1, 0), PAGE);
}

static bool some_demoted(void)
{
	return page_count(0) > 0;
}

static void page_leaked(void)
{
	struct cg judge = cg_make(cg_here.path, "judge"), cg;
	struct findings found;
	struct peer peer;

	CHECK_EQ(cg_enter(&judge, getpid()), 0);
	CHECK_EQ(cg_write(&cg_here, "cgroup.subtree_control", "+memory +cram"), 0);
	CHECK(!pipe(leak_pipe), "%m");
	peer = peer_start(leaker, NULL);
	CHECK_EQ(peer_end(&peer), 0);
	cg = cg_make(cg_here.path, "leaker");
	CHECK_EQ(cg_remove(&cg), 0);

	found = storm(LEAK, SECONDS, some_demoted);
	CHECK_EQ(found.damaged, 0);
	CHECK_EQ(found.current, PAGE);
	CHECK_EQ(found.stat, PAGE);
	CHECK_EQ(found.used, PAGE);
	/* The node is drained only when it is empty. */
	CHECK_EQ(atomic_load(&shared->done[OFFLINE]), 0);
	close(leak_pipe[0]);
	close(leak_pipe[1]);
	read_books(&found, 10);
	check_books(&found);
}

static bool life_ended(void)
{
	return atomic_load(&shared->lives) > 4 * WORKERS;
}

static void process_crashes(void)
{
	struct findings found = storm(CRASH, SECONDS, life_ended);

	CHECK(found.bad_ends > 0);
	CHECK_EQ(found.damaged, 0);
	check_books(&found);
}

static bool surprised(void)
{
	return atomic_load(&shared->surprises) > 0;
}

static void error_unexplained(void)
{
	struct findings found = storm(REFUSED, SECONDS, surprised);

	CHECK_EQ(found.surprises, ADMINS);
	CHECK_EQ(found.bad_ends, 0);
	check_books(&found);
}

static const struct scenario storms[] = {
	{ "everything at once", everything, S_OPERATED },
};

static const struct scenario controls[] = {
	{ "control: a bit is flipped, and the content oracle fires", bit_flipped, S_OPERATED },
	{ "control: a page is leaked, and the books are not at zero", page_leaked, S_OPERATED },
	{ "control: a process crashes, and it is counted", process_crashes, S_OPERATED },
	{ "control: an error without a reason is counted", error_unexplained, S_OPERATED },
};

int main(void)
{
	unsigned int limit;
	size_t i;

	setup();
	CHECK_EQ(write_text(node_file(HOT_RATE), "67108864"), 0);
	swap_off();
	limit = LONGEST * storm_seconds() + 4 * PATIENCE;
	run_scenarios(storms, ARRAY_SIZE(storms), "without swap", limit);
	if (swap_on(256)) {
		run_scenarios(storms, ARRAY_SIZE(storms), "with swap", limit);
		swap_off();
	} else {
		tap_skip("storm with swap", "no /dev/zram0 (CONFIG_ZRAM)");
	}
	for (i = 0; i < ARRAY_SIZE(controls); i++)
		run_scenario(&controls[i], "", limit);
	/* Whatever became of the operator. */
	write_text(node_file("state"), "open");
	check_device();
	teardown();
	return tap_end();
}
