// SPDX-License-Identifier: GPL-2.0
/*
 * Everything at once. Processes with two threads each read, write, page out,
 * discard, unmap and fork memory whose content is known, while others create,
 * configure and remove the cgroups that they live in and move them about, and
 * one takes the node offline and back. What is done when is random; SEED=n in
 * the environment repeats the dice, not the races.
 *
 * The oracles: the content of every page, the ends that processes come to, the
 * errors that writes to files return, the walker while all this goes on, an
 * offline node that is empty, and the books when everything has been removed.
 * Each is made to fire once: see the controls at the end.
 *
 * With T=n in the environment a storm lasts that many times 10 s.
 */
#include "util.h"

#include <fcntl.h>
#include <pthread.h>
#include <stdatomic.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
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
	d->state ^= d->state << 13;
	d->state ^= d->state >> 7;
	d->state ^= d->state << 17;
	return (d->state >> 11) % n;
}

/* --- what all processes share ----------------------------------------------- */

enum deed {
	/* of the workers */
	READ, WRITE, PAGEOUT, DONTNEED, UNMAP, FORK,
	/* of the admins */
	MAKE, REMOVE, VACATE, ENABLE, DISABLE, LOWER, RAISE, BUDGET, NODES,
	MEMORY_MAX, RECLAIM, MOVE, KILL, LOOK,
	/* of the operator */
	OFFLINE, OPEN,
	NR_DEEDS,
};

static const char *const deed_names[NR_DEEDS] = {
	"read", "write", "pageout", "dontneed", "unmap", "fork",
	"make", "remove", "vacate", "enable", "disable", "lower", "raise", "budget", "nodes",
	"memory.max", "reclaim", "move", "kill", "look",
	"offline", "open",
};

enum sabotage { NONE, FLIP, LEAK, CRASH, REFUSED };

static struct shared {
	_Atomic long done[NR_DEEDS];
	_Atomic long damaged;		/* pages that are not what they should be */
	_Atomic long surprises;		/* errors that nothing explains */
	_Atomic long not_empty;		/* pages on an offline node */
	_Atomic uint64_t lives;		/* workers ever started */
	_Atomic int pids[WORKERS];
	_Atomic bool stop;
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
	uint32_t last;
	uint64_t seed;
	struct dice dice;
	pid_t child;
	bool flipped;
};

/* Content differs between areas, lives and generations: a mix-up is seen, too. */
static uint64_t seed_of(const struct area *a, size_t i)
{
	return a->seed + a->generation[i];
}

static bool all_zero(const char *p)
{
	return !*p && !memcmp(p, p + 1, PAGE - 1);
}

static void check_page(struct area *a, size_t i)
{
	const char *p = a->pages + i * PAGE;

	if (a->generation[i] ? !page_differs(p, seed_of(a, i), i) : all_zero(p))
		return;
	atomic_fetch_add(&shared->damaged, 1);
	tap_note("seed %llu: page %zu at %p is damaged: generation %u, pagemap %#llx%s",
		 (unsigned long long)storm_seed, i, p, a->generation[i],
		 (unsigned long long)pagemap(p), is_resident(p) ? ", resident" : "");
	fflush(stdout);
	_exit(TAP_EXIT_FAIL);
}

/* All that was written, and some of what was not. */
static void check_area(struct area *a)
{
	size_t i;

	for (i = 0; i < AREA; i++)
		if (a->generation[i] || i % 16 == 0)
			check_page(a, i);
}

static void write_page(struct area *a, size_t i)
{
	a->generation[i] = ++a->last;
	fill_page(a->pages + i * PAGE, seed_of(a, i), i);
}

static void forget(struct area *a, size_t from, size_t n)
{
	memset(a->generation + from, 0, n * sizeof(*a->generation));
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

	switch (below(&a->dice, 32)) {
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
	memory = map_pages((THREADS + 1) * AREA);
	memory = (char *)(((uintptr_t)memory + AREA * PAGE - 1) & ~(AREA * PAGE - 1));
	if (!below(&d, 3))
		madvise(memory, THREADS * AREA * PAGE, MADV_HUGEPAGE);
	dies_at = now() + 1 + below(&d, 6000) / 1000.0;
	for (i = 0; i < THREADS; i++) {
		areas[i].pages = memory + i * AREA * PAGE;
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

static int budget(struct dice *d)
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
	{ BUDGET, budget, {}, 8 },
	{ NODES, nodes, {}, 6 },
	{ MEMORY_MAX, memory_max, {}, 6 },
	{ RECLAIM, reclaim, {}, 12 },
	{ MOVE, move, { EBUSY, ESRCH }, 12 },
	/* Rarely: what is killed does not see that it is damaged. */
	{ KILL, kill_some, {}, 1 },
	{ LOOK, look, { EINVAL }, 8 },
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

/* --- the storm -------------------------------------------------------------- */

/* All that must be 0. */
struct findings {
	long damaged, surprises, not_empty, bad_ends, hung;
	int64_t violations, current, stat, used;
};

static const char *const page_counters[] = {
	"cram_demote", "cram_promote_write", "cram_promote_reclaim", "cram_writeback",
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
	double begin, looked;
	unsigned int killed = 0, i;
	struct cg judge;
	cpu_set_t all;
	pid_t helpers[ADMINS + 1];
	char line[700];
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
	for (i = 0; i < ARRAY_SIZE(page_counters); i++)
		counted_before[i] += page_count(i);

	/* Whoever watches is not in the storm. */
	judge = cg_make(cg_here.path, "judge");
	CHECK_EQ(cg_enter(&judge, getpid()), 0);
	CHECK_EQ(cg_write(&cg_here, "cgroup.subtree_control", "+memory +cram"), 0);
	storm_cg = cg_make(cg_here.path, "storm");
	CHECK_EQ(cg_write(&storm_cg, "cgroup.subtree_control", "+memory +cram"), 0);

	begin = looked = now();
	for (i = 0; i < ADMINS; i++)
		helpers[i] = start(admin, 1 + i);
	helpers[ADMINS] = start(operator, 1 + ADMINS);
	while (now() < begin + LONGEST * seconds && (now() < begin + seconds || !enough())) {
		if (sabotage != NONE && enough())
			break;
		for (i = 0; i < WORKERS; i++)
			if (!atomic_load(&shared->pids[i]))
				atomic_store(&shared->pids[i],
					     start(worker, 100 + atomic_fetch_add(&shared->lives, 1)));
		if (now() > looked + 3) {
			found.violations += run_walker();
			looked = now();
		}
		killed += reap(&found);
		nap_ms(20);
	}
	atomic_store(&shared->stop, true);
	tap_note("%.1f s, %llu workers", now() - begin, (unsigned long long)shared->lives);

	if (!WAIT_FOR(PATIENCE, (killed += reap(&found), cg_key(&storm_cg, "cgroup.events",
								  "populated") == 0)))
		found.hung++;
	for (i = 0; i <= ADMINS; i++)
		if (!WAIT_FOR(PATIENCE, (killed += reap(&found), kill(helpers[i], 0))))
			found.hung++;
	if (cg_remove(&storm_cg))
		found.hung++;
	killed += reap(&found);
	read_books(&found, sabotage == LEAK ? 2 : 10);
	found.damaged = shared->damaged;
	found.surprises = shared->surprises;
	found.not_empty = shared->not_empty;

	for (i = 0; i < NR_DEEDS; i++)
		len += snprintf(line + len, sizeof(line) - len, " %s %ld", deed_names[i],
				atomic_load(&shared->done[i]));
	tap_note("done:%s; killed %u", line, killed);
	tap_note("pages: %lld demoted, %lld promoted by write, %lld by eviction, %lld written back",
		 (long long)page_count(0), (long long)page_count(1), (long long)page_count(2),
		 (long long)page_count(3));
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
	{ "everything at once", everything },
};

static const struct scenario controls[] = {
	{ "control: a bit is flipped, and the content oracle fires", bit_flipped },
	{ "control: a page is leaked, and the books are not at zero", page_leaked },
	{ "control: a process crashes, and it is counted", process_crashes },
	{ "control: an error without a reason is counted", error_unexplained },
};

int main(void)
{
	unsigned int limit;
	size_t i;

	setup();
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
