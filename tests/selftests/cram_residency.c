// SPDX-License-Identifier: GPL-2.0
/*
 * The life of resident pages: every way onto the node, reading there, and every
 * way off it, one scenario each. Whatever happens, the content is right, no
 * writable mapping of a resident page exists, and the books close.
 */
#include "util.h"
#include "roads.h"

#include <fcntl.h>
#include <linux/mempolicy.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <unistd.h>

#define N 256
#define SEED 11

static void *filled(size_t pages)
{
	void *p = map_pages(pages);

	fill(p, pages, SEED);
	return p;
}

static void *resident(size_t pages)
{
	void *p = filled(pages);

	demote(p, pages);
	return p;
}

/* cram.current is what is resident in this range, and nothing else. */
static void check_current(const void *p, size_t pages)
{
	CHECK_EQ(cg_number(&cg_here, "cram.current"), count_resident(p, pages) * PAGE);
}

/*
 * Write to every page with stores. Whatever was done before: the page that is
 * mapped after it is not on the node, and has the new content.
 */
static void check_write_promotes(void *p, size_t pages)
{
	CHECK_EQ(run_walker(), 0);
	fill(p, pages, SEED + 1);
	CHECK_EQ(count_resident(p, pages), 0);
	CHECK_CONTENT(p, pages, SEED + 1);
}

/* --- ways onto the node ----------------------------------------------------- */

#define MANY 1024

static void way_pageout(void *p)
{
	demote(p, MANY);
}

static void way_reclaim(void *p)
{
	WAIT_FOR(SETTLES, (cg_printf(&cg_here, "memory.reclaim", "%lu", MANY / 4 * PAGE),
		      count_resident(p, MANY) > MANY * 3 / 4));
}

static void way_squeeze(void *p)
{
	CHECK_EQ(cg_printf(&cg_here, "memory.max", "%lu", MANY / 4 * PAGE), 0);
	CHECK_EQ(cg_key(&cg_here, "memory.events", "oom_kill"), 0);
}

/*
 * kswapd runs when an allocation finds less than the low watermark free: put the
 * watermarks around what is free now, and allocate.
 */
static void way_kswapd(void *p)
{
	const char *file = "/proc/sys/vm/min_free_kbytes";
	int64_t old = read_number(file), free = read_kb("/proc/meminfo", "MemFree") / 1024;
	int64_t seen;
	char text[32];
	void *q;

	snprintf(text, sizeof(text), "%lld", (long long)free * 85 / 100);
	CHECK_EQ(write_text(file, text), 0);
	WAIT_FOR(SETTLES, (q = map_pages(16), fill(q, 16, 0), unmap_pages(q, 16),
		      count_resident(p, MANY) > MANY * 3 / 4));
	snprintf(text, sizeof(text), "%lld", (long long)old);
	CHECK_EQ(write_text(file, text), 0);
	/* Until it has gone back to sleep. */
	CHECK(WAIT_FOR(SETTLES, (seen = read_key("/proc/vmstat", "cram_demote"), nap_ms(200),
			    seen == read_key("/proc/vmstat", "cram_demote"))));
}

/* Cram: of the mapping that starts at @p, in bytes. */
static int64_t smaps_cram(const void *p)
{
	FILE *f = fopen("/proc/self/smaps", "r");
	char line[512], start[32];
	long long kb = -1;
	bool here = false;

	CHECK(f);
	snprintf(start, sizeof(start), "%lx-", (unsigned long)p);
	while (kb < 0 && fgets(line, sizeof(line), f)) {
		if (!strncmp(line, start, strlen(start)))
			here = true;
		else if (here)
			sscanf(line, "Cram: %lld kB", &kb);
	}
	fclose(f);
	return kb * 1024;
}

/*
 * memory.current falls by what has left memory: slack, because memory cgroups
 * keep batches of charges on each CPU. Everything else is exact, but for
 * memory.stat and meminfo, which are flushed when the pending changes exceed
 * such a batch.
 */
static void check_way(void (*way)(void *p), bool exact)
{
	int64_t memory, cram, swapped;
	void *p = filled(MANY);
	size_t count;

	/* A mapping that is not merged with its neighbours, to find it in smaps. */
	CHECK(!madvise(p, MANY * PAGE, MADV_DONTDUMP), "%m");
	memory = cg_number(&cg_here, "memory.current");
	way(p);
	count = count_resident(p, MANY);
	cram = cg_number(&cg_here, "cram.current");
	swapped = cg_number(&cg_here, "memory.swap.current");
	memory -= cg_number(&cg_here, "memory.current");
	tap_note("%zu of %d pages resident, %lld KiB swapped", count, MANY,
		 (long long)swapped / 1024);
	CHECK(count > MANY / 2);
	if (exact) {
		CHECK_EQ(swapped, 0);
		CHECK_EQ(count, MANY);
		CHECK_EQ(cram, MANY * PAGE);
		CHECK_EQ(stat_of("demote"), MANY);
	} else {
		/* The rest of the process is fair game, too. */
		CHECK(cram >= (int64_t)(count * PAGE));
	}
	CHECK_EQ(smaps_cram(p), count * PAGE);
	CHECK_NEAR(memory, cram + swapped, charge_slack());
	CHECK_NEAR(cg_key(&cg_here, "memory.stat", "cram"), cram, charge_slack());
	/* What is resident is in no line but that. */
	CHECK(cg_key(&cg_here, "memory.stat", "anon") +
	      cg_key(&cg_here, "memory.stat", "file") +
	      cg_key(&cg_here, "memory.stat", "kernel") <=
	      cg_number(&cg_here, "memory.current") + 2 * charge_slack());
	CHECK(read_kb("/proc/meminfo", "Cram") >= cram - charge_slack());
	CHECK(read_kb("/proc/meminfo", "AnonPages") >= cram - charge_slack());
	CHECK(node_number("used_bytes") >= cram);
	CHECK_CONTENT(p, MANY, SEED);
	CHECK_EQ(run_walker(), 0);
	/* And back: what is written is charged again. */
	CHECK_EQ(cg_write(&cg_here, "memory.max", "max"), 0);
	memory = cg_number(&cg_here, "memory.current");
	count = MANY - count_resident(p, MANY) - count_swapped(p, MANY);
	fill(p, MANY, SEED + 1);
	CHECK_NEAR(cg_number(&cg_here, "memory.current") - memory, (MANY - count) * PAGE,
		   charge_slack());
	CHECK_CONTENT(p, MANY, SEED + 1);
	if (exact)
		CHECK_EQ(cg_number(&cg_here, "cram.current"), 0);
}

static void demote_by_pageout(void)
{
	check_way(way_pageout, true);
}

static void demote_by_reclaim(void)
{
	check_way(way_reclaim, false);
}

static void demote_by_squeeze(void)
{
	check_way(way_squeeze, false);
}

static void demote_by_kswapd(void)
{
	check_way(way_kswapd, false);
}

/* With memory.swap.max=0 a cgroup has no swap, whatever the machine has. */
static void demote_without_swap_right(void)
{
	CHECK_EQ(cg_write(&cg_here, "memory.swap.max", "0"), 0);
	check_way(way_squeeze, false);
}

static const struct scenario ways[] = {
	{ "demotion by MADV_PAGEOUT", demote_by_pageout },
	{ "demotion by memory.reclaim", demote_by_reclaim },
	{ "demotion by lowering memory.max", demote_by_squeeze },
	{ "demotion by kswapd", demote_by_kswapd, S_GLOBAL },
	{ "demotion with memory.swap.max=0", demote_without_swap_right },
};

/* --- reading ---------------------------------------------------------------- */

static void read_is_free(void)
{
	void *p = resident(N);
	uint64_t pfn[N], sum = 0;
	struct rusage before, after;
	uint32_t x = 1;
	size_t i;

	for (i = 0; i < N; i++) {
		pfn[i] = pfn_of(page_at(p, i));
		CHECK(pfn_on_node(pfn[i]));
		CHECK_EQ(node_of(page_at(p, i)), cram_node());
	}
	getrusage(RUSAGE_SELF, &after);
	getrusage(RUSAGE_SELF, &before);
	for (i = 0; i < 1000000; i++) {
		x = x * 1664525 + 1013904223;
		sum += *(volatile uint64_t *)(page_at(p, (x >> 8) % N) + (x >> 20 & 0xff8));
	}
	getrusage(RUSAGE_SELF, &after);
	CHECK_EQ(after.ru_minflt, before.ru_minflt);
	CHECK_EQ(after.ru_majflt, before.ru_majflt);
	for (i = 0; i < N; i++)
		CHECK_EQ(pfn_of(page_at(p, i)), pfn[i]);
	CHECK_CONTENT(p, N, SEED);
	CHECK_EQ(cg_number(&cg_here, "cram.current"), N * PAGE);
	CHECK(sum);
}

/* Readers in the kernel leave the page where it is, or take a copy. */
static void read_by_kernel(void)
{
	void *p = resident(N);
	char *q = map_pages(N);
	int mem = open("/proc/self/mem", O_RDONLY);
	int fd[2];

	CHECK(mem >= 0 && !pipe(fd), "%m");
	CHECK_EQ(pread(mem, q, N * PAGE, (uintptr_t)p), N * PAGE);
	CHECK_CONTENT(q, N, SEED);
	CHECK_EQ(count_resident(p, N), N);
	CHECK_EQ(write(fd[1], p, PAGE), PAGE);
	CHECK_EQ(read(fd[0], q, PAGE), PAGE);
	CHECK_CONTENT(q, 1, SEED);
	CHECK_EQ(count_resident(p, N), N);
	check_current(p, N);
}

static void populate(void)
{
	void *p = resident(N);

	CHECK(!madvise(p, N * PAGE, MADV_POPULATE_READ), "%m");
	CHECK_EQ(count_resident(p, N), N);
	CHECK(!madvise(p, N * PAGE, MADV_POPULATE_WRITE), "%m");
	CHECK_EQ(count_resident(p, N), 0);
	CHECK_CONTENT(p, N, SEED);
	CHECK_EQ(cg_number(&cg_here, "cram.current"), 0);
}

/* --- writing ---------------------------------------------------------------- */

static void write_promotes(void)
{
	void *p = resident(N);
	int64_t memory = cg_number(&cg_here, "memory.current");
	size_t i;

	for (i = 0; i < N; i++) {
		uint64_t pfn = pfn_of(page_at(p, i));
		int64_t current = cg_number(&cg_here, "cram.current");
		char *byte = page_at(p, i) + i * 16 % PAGE;

		*byte ^= 0x5a;
		CHECK(pfn_of(page_at(p, i)) != pfn);
		CHECK_EQ(is_resident(page_at(p, i)), 0);
		CHECK(node_of(page_at(p, i)) != cram_node());
		CHECK_EQ(cg_number(&cg_here, "cram.current"), current - PAGE);
		*byte ^= 0x5a;
		CHECK(!page_differs(page_at(p, i), SEED, i));
	}
	CHECK_EQ(cg_number(&cg_here, "cram.current"), 0);
	CHECK_EQ(stat_of("promote_write"), N);
	CHECK_NEAR(cg_number(&cg_here, "memory.current") - memory, N * PAGE, charge_slack());
}

static void write_by_system_call(void)
{
	void *p = resident(N), *q = filled(16);
	int fd[2];
	size_t i;

	CHECK(!pipe(fd) && fcntl(fd[1], F_SETPIPE_SZ, 32 * PAGE) > 0);
	for (i = 0; i < 16; i++)
		fill_page(page_at(q, i), SEED + 1, i);
	CHECK_EQ(write(fd[1], q, 16 * PAGE), 16 * PAGE);
	CHECK_EQ(read(fd[0], p, 16 * PAGE), 16 * PAGE);
	CHECK_CONTENT(p, 16, SEED + 1);
	CHECK_EQ(count_resident(p, N), N - 16);
	for (i = 16; i < N; i++)
		CHECK(!page_differs(page_at(p, i), SEED, i));
	check_current(p, N);
}

static void write_atomically(void)
{
	uint64_t *p = resident(N), old;
	size_t i, words = PAGE / sizeof(*p);

	for (i = 0; i < N; i++) {
		old = p[i * words];
		/* One that fails is a write for the hardware. */
		CHECK(!__sync_bool_compare_and_swap(&p[i * words], ~old, 0));
		CHECK_EQ(__sync_fetch_and_add(&p[i * words], 1), old);
		CHECK_EQ(__sync_sub_and_fetch(&p[i * words], 1), old);
	}
	CHECK_EQ(count_resident(p, N), 0);
	CHECK_CONTENT(p, N, SEED);
}

/* A promotion is an allocation like any other: at memory.max it reclaims. */
static void write_at_memory_max(void)
{
	void *p = resident(MANY);
	size_t i, round;

	CHECK_EQ(cg_printf(&cg_here, "memory.max", "%lu", MANY / 2 * PAGE), 0);
	for (round = 1; round <= 3; round++)
		for (i = 0; i < MANY; i++) {
			CHECK(!page_differs(page_at(p, i), SEED + round - 1, i));
			fill_page(page_at(p, i), SEED + round, i);
		}
	CHECK_CONTENT(p, MANY, SEED + 3);
	CHECK_EQ(cg_key(&cg_here, "memory.events", "oom_kill"), 0);
	CHECK(cg_number(&cg_here, "memory.current") <= (int64_t)(MANY / 2 * PAGE));
}

/* --- races ------------------------------------------------------------------ */

static struct {
	uint64_t *p;
	bool stop;
} race_state;

/* Adds one to random counters, one counter for each page and thread. */
static void *race_writer(void *arg)
{
	size_t which = (size_t)arg, x = which + 1;
	uint64_t *mine = calloc(N, sizeof(*mine));
	size_t i;

	while (!__atomic_load_n(&race_state.stop, __ATOMIC_RELAXED)) {
		x = x * 6364136223846793005ULL + 1442695040888963407ULL;
		i = (x >> 33) % N;
		CHECK_EQ(race_state.p[i * PAGE / 8 + which], mine[i]);
		race_state.p[i * PAGE / 8 + which] = ++mine[i];
	}
	for (i = 0; i < N; i++)
		CHECK_EQ(race_state.p[i * PAGE / 8 + which], mine[i]);
	return NULL;
}

static void *race_forker(void *arg)
{
	while (!__atomic_load_n(&race_state.stop, __ATOMIC_RELAXED)) {
		int status;
		pid_t pid = fork();

		if (!pid) {
			/* Children write, too: nobody may see it. */
			for (size_t i = 0; i < N; i++)
				race_state.p[i * PAGE / 8 + 5] = ~0ULL;
			_exit(0);
		}
		CHECK_EQ(waitpid(pid, &status, 0), pid);
		CHECK_EQ(status, 0);
		nap_ms(10);
	}
	return NULL;
}

static void race(void)
{
	pthread_t thread[4];
	const int64_t wanted = scaled(400);
	unsigned int rounds = 0;
	double start = now();
	cpu_set_t all;
	size_t i;

	memset(&all, 0xff, sizeof(all));
	sched_setaffinity(0, sizeof(all), &all);
	race_state.p = map_pages(N);
	for (i = 0; i < 3; i++)
		CHECK(!pthread_create(&thread[i], NULL, race_writer, (void *)i));
	CHECK(!pthread_create(&thread[3], NULL, race_forker, NULL));
	while ((stat_of("demote") < wanted || stat_of("promote_write") < wanted || rounds < 50) &&
	       now() < start + SETTLES * scale()) {
		pageout(race_state.p, N);
		/* Around the roads to a writable entry while at it. */
		if (rounds++ % 4 == 0)
			CHECK(!madvise(race_state.p, N * PAGE, MADV_COLD));
	}
	race_state.stop = true;
	for (i = 0; i < 4; i++)
		pthread_join(thread[i], NULL);
	for (i = 0; i < N; i++)
		CHECK_EQ(race_state.p[i * PAGE / 8 + 5], 0);
	tap_note("%lld demotions, %lld promotions by write", (long long)stat_of("demote"),
		 (long long)stat_of("promote_write"));
	CHECK(stat_of("demote") >= wanted && stat_of("promote_write") >= wanted && rounds >= 50);
}

/* --- pins ------------------------------------------------------------------- */

/* While it is pinned it is off the node and stays off; the pin sees all writes. */
static void pin_longterm(unsigned int flags)
{
	int fd = gup_test();
	void *p = resident(N), *q = map_pages(N);
	struct pin_longterm_test test = { (uintptr_t)p, N * PAGE, flags };
	uint64_t buffer = (uintptr_t)q;

	CHECK(!ioctl(fd, PIN_LONGTERM_TEST_START, &test), "%m");
	CHECK_EQ(count_resident(p, N), 0);
	check_current(p, N);
	CHECK_CONTENT(p, N, SEED);
	CHECK(!ioctl(fd, PIN_LONGTERM_TEST_READ, &buffer), "%m");
	CHECK_CONTENT(q, N, SEED);
	pageout(p, N);
	CHECK_EQ(count_resident(p, N), 0);
	fill(p, N, SEED + 1);
	CHECK(!ioctl(fd, PIN_LONGTERM_TEST_READ, &buffer), "%m");
	CHECK_CONTENT(q, N, SEED + 1);
	CHECK(!ioctl(fd, PIN_LONGTERM_TEST_STOP), "%m");
	demote(p, N);
	CHECK_CONTENT(p, N, SEED + 1);
}

static void pin_longterm_ro(void)
{
	pin_longterm(0);
}

static void pin_longterm_ro_fast(void)
{
	pin_longterm(PIN_FAST);
}

static void pin_longterm_rw(void)
{
	pin_longterm(PIN_WRITE);
}

static void pin_longterm_rw_fast(void)
{
	pin_longterm(PIN_WRITE | PIN_FAST);
}

/* A short pin for reading: copied to ordinary memory first, exclusive or not. */
static void pin_short(unsigned long command, bool pins)
{
	int fd = gup_test();
	void *p = resident(N);
	struct gup_test test = {
		.addr = (uintptr_t)p, .size = N * PAGE, .nr_pages_per_call = N,
	};

	CHECK(!ioctl(fd, command, &test), "%m");
	if (pins)
		CHECK_EQ(count_resident(p, N), 0);
	check_current(p, N);
	CHECK_CONTENT(p, N, SEED);
	check_write_promotes(p, N);
}

static void pin_short_slow(void)
{
	pin_short(PIN_BASIC_TEST, true);
}

static void pin_short_fast(void)
{
	pin_short(PIN_FAST_BENCHMARK, true);
}

static void reference_short(void)
{
	pin_short(GUP_BASIC_TEST, false);
}

/* --- userfaultfd ------------------------------------------------------------ */

static void *filler_thread(void *p)
{
	fill(p, N, SEED + 1);
	return NULL;
}

/* Serve write-protect faults one by one until all pages are written. */
static void serve_writer(int fd, void *p)
{
	pthread_t thread;
	size_t i;

	CHECK(!pthread_create(&thread, NULL, filler_thread, p));
	for (i = 0; i < N; i++) {
		struct uffd_msg msg = userfault_wait(fd);

		CHECK(msg.arg.pagefault.flags & UFFD_PAGEFAULT_FLAG_WP);
		CHECK_EQ(msg.arg.pagefault.address / PAGE * PAGE, (uintptr_t)page_at(p, i));
		CHECK(!write_protect(fd, page_at(p, i), 1, false), "%m");
	}
	pthread_join(thread, NULL);
	CHECK_EQ(count_resident(p, N), 0);
	CHECK_CONTENT(p, N, SEED + 1);
}

static void uffd_wp_resident(void)
{
	int fd = userfault(UFFD_FEATURE_PAGEFAULT_FLAG_WP);
	void *p = resident(N);

	userfault_register(fd, p, N, UFFDIO_REGISTER_MODE_WP);
	CHECK(!write_protect(fd, p, N, true), "%m");
	CHECK_EQ(count_resident(p, N), N);
	CHECK_CONTENT(p, N, SEED);
	serve_writer(fd, p);
}

/* The protection travels with the page. */
static void uffd_wp_then_demote(void)
{
	int fd = userfault(UFFD_FEATURE_PAGEFAULT_FLAG_WP);
	void *p = filled(N);

	userfault_register(fd, p, N, UFFDIO_REGISTER_MODE_WP);
	CHECK(!write_protect(fd, p, N, true), "%m");
	demote(p, N);
	CHECK_CONTENT(p, N, SEED);
	serve_writer(fd, p);
}

/* Taking the protection back is a road to a writable entry. */
static void uffd_wp_resolve(void)
{
	int fd = userfault(UFFD_FEATURE_PAGEFAULT_FLAG_WP);
	void *p = resident(N);

	userfault_register(fd, p, N, UFFDIO_REGISTER_MODE_WP);
	CHECK(!write_protect(fd, p, N, true), "%m");
	CHECK(!write_protect(fd, p, N, false), "%m");
	CHECK_EQ(count_resident(p, N), N);
	check_write_promotes(p, N);
}

static void uffd_wp_async(void)
{
	int fd = userfault(FEATURE_WP_ASYNC | FEATURE_WP_UNPOPULATED);
	void *p = resident(N);

	userfault_register(fd, p, N, UFFDIO_REGISTER_MODE_WP);
	CHECK(!write_protect(fd, p, N, true), "%m");
	check_write_promotes(p, N);
}

/* Closing the file drops protection and registration together. */
static void uffd_wp_close(void)
{
	int fd = userfault(UFFD_FEATURE_PAGEFAULT_FLAG_WP);
	void *p = resident(N);

	userfault_register(fd, p, N, UFFDIO_REGISTER_MODE_WP);
	CHECK(!write_protect(fd, p, N, true), "%m");
	close(fd);
	check_write_promotes(p, N);
}

static void uffd_move(void)
{
	int fd = userfault(FEATURE_MOVE);
	void *p = resident(N), *q = map_pages(N);

	userfault_register(fd, q, N, UFFDIO_REGISTER_MODE_MISSING);
	userfault_move(fd, q, p, N);
	CHECK_EQ(count_resident(q, N), N);
	CHECK_EQ(cg_number(&cg_here, "cram.current"), N * PAGE);
	CHECK_CONTENT(q, N, SEED);
	CHECK_EQ(count_resident(q, N), N);
	check_write_promotes(q, N);
}

static void pin_held(void)
{
	void *p = resident(N);
	struct stall stall = stall_off_the_node(p);

	CHECK_EQ(count_resident(p, N), N - PINNED);
	CHECK_EQ(run_walker(), 0);
	pageout(p, N);
	CHECK_EQ(count_resident(p, PINNED), 0);
	fill(p, PINNED, SEED + 1);
	stall_end(&stall, 0);
	/* The pin saw what was written after it was taken. */
	CHECK_CONTENT(stall.near, PINNED, SEED + 1);
	demote(p, N);
}

/* --- system calls that reach into other memory ------------------------------ */

static void *shared_address;
static size_t victim_pages = N;

static void victim(struct peer *up, void *arg)
{
	fill(shared_address, victim_pages, SEED);
	if (arg)
		CHECK(!mprotect(shared_address, victim_pages * PAGE, PROT_READ), "%m");
	demote(shared_address, victim_pages);
	tell(up, 'r');
	hear(up);
	CHECK_EQ(count_resident(shared_address, victim_pages), 0);
	CHECK_CONTENT(shared_address, victim_pages, SEED + 1);
}

static void vm_write(void)
{
	struct iovec local = { NULL, N * PAGE }, remote = { NULL, N * PAGE };
	struct peer peer;
	void *q = map_pages(N);

	shared_address = remote.iov_base = map_pages(N);
	local.iov_base = q;
	peer = peer_start(victim, NULL);
	hear(&peer);
	/* Reading may promote, or not. */
	CHECK_EQ(process_vm_readv(peer.pid, &local, 1, &remote, 1, 0), N * PAGE);
	CHECK_CONTENT(q, N, SEED);
	CHECK_EQ(cg_number(&cg_here, "cram.current"),
		 count_resident_of(peer.pid, shared_address, N) * PAGE);
	CHECK_EQ(run_walker(), 0);
	fill(q, N, SEED + 1);
	CHECK_EQ(process_vm_writev(peer.pid, &local, 1, &remote, 1, 0), N * PAGE);
	tell(&peer, 'g');
	CHECK_EQ(peer_end(&peer), 0);
}

/* Writing against the protection, as debuggers do. */
static void force_by_proc_mem(void)
{
	void *q = filled(N);
	struct peer peer;
	char path[40];
	int fd;

	shared_address = map_pages(N);
	fill(q, N, SEED + 1);
	peer = peer_start(victim, "read-only");
	hear(&peer);
	trace_begin(peer.pid);
	snprintf(path, sizeof(path), "/proc/%d/mem", peer.pid);
	fd = open(path, O_RDWR);
	CHECK(fd >= 0, "%m");
	CHECK_EQ(pwrite(fd, q, N * PAGE, (uintptr_t)shared_address), N * PAGE);
	trace_end(peer.pid);
	tell(&peer, 'g');
	CHECK_EQ(peer_end(&peer), 0);
}

static void force_by_ptrace(void)
{
	uint64_t *q;
	struct peer peer;
	size_t i;

	victim_pages = 16;	/* a system call for each word */
	q = map_pages(victim_pages);
	shared_address = map_pages(victim_pages);
	fill(q, victim_pages, SEED + 1);
	peer = peer_start(victim, "read-only");
	hear(&peer);
	trace_begin(peer.pid);
	for (i = 0; i < victim_pages * PAGE / sizeof(*q); i++)
		CHECK(!ptrace(PTRACE_POKEDATA, peer.pid, (uint64_t *)shared_address + i, q[i]),
		      "%m");
	trace_end(peer.pid);
	tell(&peer, 'g');
	CHECK_EQ(peer_end(&peer), 0);
}

static void other_madvise(void)
{
	struct iovec remote = { NULL, N * PAGE };
	struct peer peer;
	int fd;

	shared_address = remote.iov_base = map_pages(N);
	peer = peer_start(victim, NULL);
	hear(&peer);
	fd = syscall(SYS_pidfd_open, peer.pid, 0);
	CHECK(fd >= 0, "%m");
	/* Off the node by writing to it from here, and back. */
	{
		void *q = filled(N);
		struct iovec local = { q, N * PAGE };

		fill(q, N, SEED + 1);
		CHECK_EQ(process_vm_writev(peer.pid, &local, 1, &remote, 1, 0), N * PAGE);
		CHECK_EQ(count_resident_of(peer.pid, shared_address, N), 0);
		CHECK(WAIT_FOR(SETTLES, (syscall(SYS_process_madvise, fd, &remote, 1UL,
					    MADV_PAGEOUT, 0) == (long)(N * PAGE) &&
				    count_resident_of(peer.pid, shared_address, N) == N)));
		CHECK_EQ(cg_number(&cg_here, "cram.current"), N * PAGE);
		CHECK_EQ(process_vm_writev(peer.pid, &local, 1, &remote, 1, 0), N * PAGE);
	}
	tell(&peer, 'g');
	CHECK_EQ(peer_end(&peer), 0);
}

/* --- input and output ------------------------------------------------------- */

static void direct_io(void)
{
	int fd = open("/dev/ram0", O_RDWR | O_DIRECT);
	void *p, *q;

	if (fd < 0)
		skip("no /dev/ram0 (CONFIG_BLK_DEV_RAM)");
	p = resident(N);
	CHECK_EQ(pwrite(fd, p, N * PAGE, 0), N * PAGE);
	CHECK_EQ(count_resident(p, N), 0);
	CHECK_CONTENT(p, N, SEED);
	q = map_pages(N);
	fill(q, N, SEED + 1);
	demote(q, N);
	CHECK_EQ(pread(fd, q, N * PAGE, 0), N * PAGE);
	CHECK_CONTENT(q, N, SEED);
	CHECK_EQ(count_resident(q, N), 0);
	CHECK_EQ(cg_number(&cg_here, "cram.current"), 0);
}

static void fixed_buffers(void)
{
	struct ring ring = ring_make();
	void *p = resident(N), *q;
	struct iovec iov = { p, N * PAGE };
	int fd = memfd_create("data", 0);

	CHECK(!syscall(SYS_io_uring_register, ring.fd, IORING_REGISTER_BUFFERS, &iov, 1), "%m");
	CHECK_EQ(count_resident(p, N), 0);
	CHECK_CONTENT(p, N, SEED);
	pageout(p, N);
	CHECK_EQ(count_resident(p, N), 0);
	fill(p, N, SEED + 1);
	CHECK(!ftruncate(fd, N * PAGE));
	CHECK_EQ(ring_do(&ring, IORING_OP_WRITE_FIXED, fd, p, N * PAGE), N * PAGE);
	q = mmap(NULL, N * PAGE, PROT_READ, MAP_SHARED, fd, 0);
	CHECK(q != MAP_FAILED, "%m");
	CHECK_CONTENT(q, N, SEED + 1);
	CHECK(!syscall(SYS_io_uring_register, ring.fd, IORING_UNREGISTER_BUFFERS, NULL, 0), "%m");
	demote(p, N);
	CHECK_CONTENT(p, N, SEED + 1);
}

/* A reference without a pin: the pipe keeps what was there. */
static void vmsplice_and_write(void)
{
	void *p = resident(N), *q = map_pages(16);
	struct iovec iov = { p, 16 * PAGE };
	int fd[2];

	CHECK(!pipe(fd) && fcntl(fd[1], F_SETPIPE_SZ, 64 * PAGE) > 0, "%m");
	CHECK_EQ(vmsplice(fd[1], &iov, 1, 0), 16 * PAGE);
	CHECK_EQ(run_walker(), 0);
	check_write_promotes(p, N);
	CHECK_EQ(read(fd[0], q, 16 * PAGE), 16 * PAGE);
	CHECK(differs(q, 16, SEED) == -1 || differs(q, 16, SEED + 1) == -1);
	close(fd[0]);
	close(fd[1]);
	CHECK(WAIT_FOR(SETTLES, cg_number(&cg_here, "cram.current") == 0));
}

/* The pipe's pages outlive the mapping. */
static void vmsplice_and_unmap(void)
{
	void *p = resident(16), *q = map_pages(16);
	struct iovec iov = { p, 16 * PAGE };
	int fd[2];

	CHECK(!pipe(fd) && fcntl(fd[1], F_SETPIPE_SZ, 64 * PAGE) > 0, "%m");
	CHECK_EQ(vmsplice(fd[1], &iov, 1, 0), 16 * PAGE);
	unmap_pages(p, 16);
	CHECK_EQ(run_walker(), 0);
	CHECK_EQ(read(fd[0], q, 16 * PAGE), 16 * PAGE);
	CHECK_CONTENT(q, 16, SEED);
	CHECK(WAIT_FOR(SETTLES, cg_number(&cg_here, "cram.current") == 0));
}

/*
 * Evicted to swap while somebody holds the page: it is unmapped, but stays in
 * the swap cache, on the node. A fault finds it there.
 */
static void swap_cache_on_node(void)
{
	char *p = in_the_swap_cache(64, SEED);

	/* Some are read first, and some are written at once. */
	CHECK_CONTENT(p, 8, SEED);
	check_write_promotes(p, 64);
	CHECK_EQ(swapoff(slow_swap), 0);
	CHECK_EQ(cg_number(&cg_here, "cram.current"), 0);
	CHECK_CONTENT(p, 64, SEED + 1);
}

/* --- protection ------------------------------------------------------------- */

static void mprotect_round(int between)
{
	void *p = resident(N);

	protect(p, N, between);
	protect(p, N, PROT_READ | PROT_WRITE);
	CHECK_EQ(count_resident(p, N), N);
	CHECK_CONTENT(p, N, SEED);
	check_write_promotes(p, N);
}

static void mprotect_read(void)
{
	mprotect_round(PROT_READ);
}

static void mprotect_none(void)
{
	mprotect_round(PROT_NONE);
}

static void mprotect_demoted_readonly(void)
{
	void *p = filled(N);

	protect(p, N, PROT_READ);
	demote(p, N);
	protect(p, N, PROT_READ | PROT_WRITE);
	check_write_promotes(p, N);
}

/* Batches of entries, some of them resident. */
static void mprotect_mixed(void)
{
	void *p = filled(N);
	size_t i, j;

	for (i = 0; i < N; i += 8)
		for (j = i; j < i + i / 8 % 8; j++)
			demote(page_at(p, j), 1);
	CHECK(count_resident(p, N) > N / 4 && count_resident(p, N) < N * 3 / 4);
	protect(p, N, PROT_READ);
	protect(p, N, PROT_READ | PROT_WRITE);
	CHECK_CONTENT(p, N, SEED);
	check_current(p, N);
	check_write_promotes(p, N);
}

/* --- fork ------------------------------------------------------------------- */

static void child_writes(struct peer *up, void *p)
{
	CHECK_CONTENT(p, N, SEED);
	CHECK_EQ(count_resident(p, N), N);
	tell(up, '1');
	hear(up);
	fill(p, N, SEED + 1);
	CHECK_EQ(count_resident(p, N), 0);
	tell(up, '2');
	hear(up);
	CHECK_CONTENT(p, N, SEED + 1);
}

static void fork_child_writes(void)
{
	void *p = resident(N);
	struct peer peer = peer_start(child_writes, p);

	hear(&peer);
	CHECK_EQ(cg_number(&cg_here, "cram.current"), N * PAGE);
	tell(&peer, 'w');
	hear(&peer);
	CHECK_CONTENT(p, N, SEED);
	CHECK_EQ(count_resident(p, N), N);
	/* Now ours alone again: no shortcut to a writable entry. */
	check_write_promotes(p, N);
	tell(&peer, 'e');
	CHECK_EQ(peer_end(&peer), 0);
}

static void child_reads(struct peer *up, void *p)
{
	CHECK_CONTENT(p, N, SEED);
	tell(up, '1');
	hear(up);
	CHECK_CONTENT(p, N, SEED);
	CHECK_EQ(count_resident(p, N), N);
	check_write_promotes(p, N);
}

static void fork_parent_writes(void)
{
	void *p = resident(N);
	struct peer peer = peer_start(child_reads, p);

	hear(&peer);
	fill(p, N, SEED + 2);
	CHECK_EQ(count_resident(p, N), 0);
	CHECK_EQ(cg_number(&cg_here, "cram.current"), N * PAGE);
	tell(&peer, 'g');
	CHECK_EQ(peer_end(&peer), 0);
	CHECK_CONTENT(p, N, SEED + 2);
	CHECK_EQ(cg_number(&cg_here, "cram.current"), 0);
}

static void fork_exit_write(void)
{
	void *p = resident(N);
	struct peer peer = peer_start(child_reads, p);

	hear(&peer);
	kill(peer.pid, SIGKILL);
	CHECK_EQ(waitpid(peer.pid, NULL, 0), peer.pid);
	CHECK_EQ(count_resident(p, N), N);
	check_write_promotes(p, N);
	CHECK_EQ(cg_number(&cg_here, "cram.current"), 0);
}

static void child_demotes(struct peer *up, void *p)
{
	CHECK_CONTENT(p, N, SEED);
	tell(up, '1');
	hear(up);
	CHECK_CONTENT(p, N, SEED);
	fill(p, N, SEED + 3);
	tell(up, '2');
	hear(up);
	CHECK_CONTENT(p, N, SEED + 3);
}

/* Pages mapped by two processes are demoted for both. */
static void fork_then_demote(void)
{
	void *p = filled(N);
	struct peer peer = peer_start(child_demotes, p);

	hear(&peer);
	WAIT_FOR(SETTLES, (cg_printf(&cg_here, "memory.reclaim", "%lu", N * PAGE),
		      count_resident(p, N) > N / 2));
	CHECK(count_resident(p, N) > N / 2, "%zu", count_resident(p, N));
	CHECK_EQ(count_resident_of(peer.pid, p, N), count_resident(p, N));
	CHECK_CONTENT(p, N, SEED);
	tell(&peer, 'w');
	hear(&peer);
	CHECK_CONTENT(p, N, SEED);
	check_write_promotes(p, N);
	tell(&peer, 'e');
	CHECK_EQ(peer_end(&peer), 0);
}

/* --- mappings --------------------------------------------------------------- */

static void unmap_part(void)
{
	void *p = resident(N);

	unmap_pages(page_at(p, N / 4), N / 2);
	CHECK_EQ(cg_number(&cg_here, "cram.current"), N / 2 * PAGE);
	CHECK_CONTENT(p, N / 4, SEED);
	unmap_pages(p, N / 4);
	unmap_pages(page_at(p, N * 3 / 4), N / 4);
	CHECK_EQ(cg_number(&cg_here, "cram.current"), 0);
}

static void dontneed(void)
{
	void *p = resident(N);

	CHECK(!madvise(p, N / 2 * PAGE, MADV_DONTNEED));
	CHECK_EQ(cg_number(&cg_here, "cram.current"), N / 2 * PAGE);
	CHECK(all_zero(p, N / 2));
	CHECK_EQ(count_resident(p, N), N / 2);
	fill(p, N, SEED);
	CHECK_CONTENT(p, N, SEED);
}

/* Until it is written the kernel may drop it at any time; after that, never. */
static void lazyfree(void)
{
	void *p = resident(N);
	size_t i;

	CHECK(!madvise(p, N * PAGE, MADV_FREE));
	CHECK_EQ(run_walker(), 0);
	fill(p, N / 2, SEED + 1);
	cg_printf(&cg_here, "memory.reclaim", "%lu", N * PAGE);
	CHECK_CONTENT(p, N / 2, SEED + 1);
	for (i = N / 2; i < N; i++)
		CHECK(all_zero(page_at(p, i), 1) || !page_differs(page_at(p, i), SEED, i));
	check_write_promotes(p, N);
	pageout(p, N);
	CHECK_CONTENT(p, N, SEED + 1);
}

/* Marked while in memory: the contents are worth nothing, so not demoted. */
static void lazyfree_is_not_demoted(void)
{
	void *p = filled(N);

	CHECK(!madvise(p, N * PAGE, MADV_FREE));
	pageout(p, N);
	CHECK_EQ(count_resident(p, N), 0);
	CHECK_EQ(stat_of("demote"), 0);
}

static void frees_lazily(struct peer *up, void *p)
{
	CHECK(!madvise(p, N * PAGE, MADV_FREE), "%m");
	drain_lru();
}

/*
 * A pin for reading has a page copied, by a fault that is no store: nobody's entry is
 * dirty. It has content all the same, which is not for a child to give away.
 */
static void lazyfree_unshared(void)
{
	void *p = resident(N), *q = map_pages(N);
	struct iovec local = { q, N * PAGE }, remote = { p, N * PAGE };
	struct peer child;

	CHECK_EQ(process_vm_readv(getpid(), &local, 1, &remote, 1, 0), N * PAGE);
	CHECK_EQ(count_resident(p, N), 0);
	child = peer_start(frees_lazily, p);
	CHECK_EQ(peer_end(&child), 0);
	pageout(p, N);
	CHECK_CONTENT(p, N, SEED);
	unmap_pages(q, N);
}

static void remap_to(int flags)
{
	char *p = resident(N), *q;

	q = mremap(p, N * PAGE, N * PAGE, MREMAP_MAYMOVE | MREMAP_FIXED | flags, map_pages(N));
	CHECK(q != MAP_FAILED, "%m");
	CHECK_EQ(count_resident(q, N), N);
	CHECK_CONTENT(q, N, SEED);
	if (flags)
		CHECK(all_zero(p, N));
	check_write_promotes(q, N);
	CHECK_EQ(cg_number(&cg_here, "cram.current"), 0);
}

static void remap(void)
{
	remap_to(0);
}

static void remap_dontunmap(void)
{
	remap_to(MREMAP_DONTUNMAP);
}

static void mlock_resident(void)
{
	void *p = resident(N), *q;

	CHECK(!mlock(p, N * PAGE), "%m");
	CHECK_CONTENT(p, N, SEED);
	CHECK_EQ(run_walker(), 0);
	check_current(p, N);
	fill(p, N, SEED + 1);
	/* Locked pages are not for demotion. */
	madvise(p, N * PAGE, MADV_PAGEOUT);
	cg_printf(&cg_here, "memory.reclaim", "%lu", N * PAGE);
	CHECK_EQ(count_resident(p, N), 0);
	CHECK(!munlock(p, N * PAGE), "%m");
	demote(p, N);
	CHECK_CONTENT(p, N, SEED + 1);

	q = map_pages(N);
	fill(q, N, SEED);
	protect(q, N, PROT_READ);
	demote(q, N);
	CHECK(!mlock(q, N * PAGE), "%m");
	CHECK_CONTENT(q, N, SEED);
	protect(q, N, PROT_READ | PROT_WRITE);
	check_write_promotes(q, N);
	CHECK(!munlock(q, N * PAGE), "%m");
}

static void not_for_cram(void)
{
	int fd = memfd_create("data", 0);
	void *shared = mmap(NULL, N * PAGE, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS,
			    -1, 0);
	void *file = mmap(NULL, N * PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	void *zero = map_pages(N);
	size_t i;

	CHECK(shared != MAP_FAILED && file != MAP_FAILED && !ftruncate(fd, N * PAGE));
	fill(shared, N, SEED);
	fill(file, N, SEED);
	for (i = 0; i < N; i++)
		CHECK_EQ(*(volatile char *)page_at(zero, i), 0);
	for (i = 0; i < 3; i++) {
		pageout(shared, N);
		pageout(file, N);
		pageout(zero, N);
	}
	CHECK_EQ(count_resident(shared, N), 0);
	CHECK_EQ(count_resident(file, N), 0);
	CHECK_EQ(count_resident(zero, N), 0);
	CHECK_CONTENT(shared, N, SEED);
	CHECK_CONTENT(file, N, SEED);
	CHECK_EQ(cg_number(&cg_here, "cram.current"), 0);
}

/* --- other movers ----------------------------------------------------------- */

/* Leaving by somebody else's migration is charged by force, and counted. */
static void check_moved_off(void *p, int64_t memory)
{
	CHECK_EQ(count_resident(p, N), 0);
	CHECK_EQ(cg_number(&cg_here, "cram.current"), 0);
	CHECK_EQ(stat_of("promote_forced"), N);
	CHECK_NEAR(cg_number(&cg_here, "memory.current") - memory, N * PAGE, charge_slack());
	CHECK_CONTENT(p, N, SEED);
	CHECK_EQ(run_walker(), 0);
	fill(p, N, SEED + 1);
	CHECK_CONTENT(p, N, SEED + 1);
}

static void move_pages_off(void)
{
	void *p = resident(N), *addr[N];
	int64_t memory = cg_number(&cg_here, "memory.current");
	int node[N], status[N];
	size_t i;

	for (i = 0; i < N; i++) {
		addr[i] = page_at(p, i);
		node[i] = 0;
		status[i] = -1;
	}
	CHECK_EQ(syscall(SYS_move_pages, 0, (long)N, addr, node, status, MPOL_MF_MOVE), 0);
	for (i = 0; i < N; i++)
		CHECK_EQ(status[i], 0);
	check_moved_off(p, memory);
}

/* At memory.max, too: it is not a fault that could wait. */
static void move_pages_off_at_max(void)
{
	void *p = resident(N), *addr[N];
	int node[N] = {}, status[N];
	size_t i;

	for (i = 0; i < N; i++)
		addr[i] = page_at(p, i);
	CHECK_EQ(write_bytes(cg_file(&cg_here, "memory.max"), "1M", 2, O_NONBLOCK), 0);
	CHECK_EQ(syscall(SYS_move_pages, 0, (long)N, addr, node, status, MPOL_MF_MOVE), 0);
	CHECK_EQ(stat_of("promote_forced"), N);
	CHECK_EQ(cg_key(&cg_here, "memory.events", "oom_kill"), 0);
	CHECK_EQ(write_bytes(cg_file(&cg_here, "memory.max"), "max", 3, O_NONBLOCK), 0);
	/* Whoever charged anything meanwhile had to reclaim, and some may be back. */
	check_current(p, N);
	CHECK_CONTENT(p, N, SEED);
	check_write_promotes(p, N);
}

static void migrate_pages_off(void)
{
	void *p = resident(N);
	int64_t memory = cg_number(&cg_here, "memory.current");
	unsigned long from = 1UL << cram_node(), to = 1;

	CHECK_EQ(syscall(SYS_migrate_pages, 0, 64UL, &from, &to), 0);
	check_moved_off(p, memory);
}

/* Nobody gets there by asking for the node. */
static void move_pages_onto(void)
{
	void *p = filled(N), *addr[N];
	int node[N], status[N];
	size_t i;

	for (i = 0; i < N; i++) {
		addr[i] = page_at(p, i);
		node[i] = cram_node();
	}
	CHECK(syscall(SYS_move_pages, 0, (long)N, addr, node, status, MPOL_MF_MOVE) != 0);
	CHECK_EQ(count_resident(p, N), 0);
	/* Nor, for resident pages, to the node where they are. */
	demote(p, N);
	syscall(SYS_move_pages, 0, (long)N, addr, node, status, MPOL_MF_MOVE);
	check_current(p, N);
	CHECK_CONTENT(p, N, SEED);
	check_write_promotes(p, N);
}

/* The node is not among those of the policy, so its pages move, as they are told to. */
static void bind_elsewhere(void)
{
	void *p = resident(N);
	int64_t memory = cg_number(&cg_here, "memory.current");
	unsigned long nodes = 1;

	CHECK(!syscall(SYS_mbind, p, N * PAGE, MPOL_BIND, &nodes, 64UL, MPOL_MF_MOVE), "%m");
	check_moved_off(p, memory);
	/* The policy is about allocations: cold pages are demoted all the same. */
	demote(p, N);
	check_current(p, N);
	CHECK_CONTENT(p, N, SEED + 1);
}

/* The page leaves service; it is given back to it for the tests that follow. */
static void soft_offline(void)
{
	void *p = resident(N);
	uint64_t pfn = pfn_of(p);

	if (madvise(p, PAGE, MADV_SOFT_OFFLINE)) {
		if (errno == EINVAL || errno == EOPNOTSUPP)
			skip("no MADV_SOFT_OFFLINE here (%s)", strerrorname_np(errno));
		CHECK(0, "MADV_SOFT_OFFLINE: %m");
	}
	CHECK_EQ(is_resident(p), 0);
	CHECK_EQ(stat_of("promote_forced"), 1);
	check_current(p, N);
	CHECK_CONTENT(p, N, SEED);
	CHECK_EQ(run_walker(), 0);
	put_back_in_service(pfn);
	check_write_promotes(p, N);
}

/* Pages that the worker for hot ones has found are looked at a second later. */
static void block_offline_hot(void)
{
	void *p = resident(N);
	uint64_t pfn = pfn_of(p);
	int i, err;

	CHECK_EQ(write_text(node_file(HOT_RATE), "16777216"), 0);
	for (i = 0; i < 150; i++) {
		CHECK_CONTENT(p, N, SEED);
		nap_ms(10);
	}
	err = block_to(pfn, "offline");
	nap_ms(2500);
	CHECK_EQ(write_text(node_file(HOT_RATE), "0"), 0);
	CHECK_CONTENT(p, N, SEED);
	if (err)
		CHECK_EQ(err, -EBUSY);
	else
		CHECK_EQ(block_to(pfn, "online_movable"), 0);
	CHECK_EQ(run_walker(), 0);
}

/* The memory block of a resident page: off with everything. */
static void block_offline(void)
{
	void *p = resident(N);
	int64_t memory = cg_number(&cg_here, "memory.current");
	uint64_t pfn = pfn_of(p);

	CHECK_EQ(block_to(pfn, "offline"), 0);
	CHECK_CONTENT(p, N, SEED);
	CHECK_EQ(run_walker(), 0);
	check_current(p, N);
	CHECK_NEAR(cg_number(&cg_here, "memory.current") - memory,
		   (N - count_resident(p, N)) * PAGE, charge_slack());
	CHECK_EQ(is_resident(p), 0);
	CHECK_EQ(block_to(pfn, "online_movable"), 0);
	check_write_promotes(p, N);
	demote(p, N);
	CHECK_CONTENT(p, N, SEED + 1);
}

static void need_writable_state(void)
{
	struct stat st;

	if (stat(node_file("state"), &st) || !(st.st_mode & 0200))
		skip("nodeN/cram/state cannot be written");
}

/* Draining on request is done, or refused with everything intact. */
static void drain(void)
{
	void *p = resident(N);

	need_writable_state();
	CHECK_EQ(write_text(node_file("state"), "offline"), 0);
	CHECK(state_is("offline"));
	CHECK_EQ(count_resident(p, N), 0);
	CHECK_EQ(node_number("used_bytes"), 0);
	CHECK_CONTENT(p, N, SEED);
	pageout(p, N);
	CHECK_EQ(count_resident(p, N), 0);
	CHECK(stat_of("refuse_state") + stat_of("refuse_right") > 0);
	CHECK_EQ(write_text(node_file("state"), "open"), 0);
	CHECK(WAIT_FOR(SETTLES, state_is("open")));
	demote(p, N);
	CHECK_CONTENT(p, N, SEED);
}

static void drain_held(void)
{
	void *p = resident(N);
	struct iovec iov = { p, 16 * PAGE };
	int fd[2];

	need_writable_state();
	CHECK(!pipe(fd) && fcntl(fd[1], F_SETPIPE_SZ, 64 * PAGE) > 0, "%m");
	CHECK_EQ(vmsplice(fd[1], &iov, 1, 0), 16 * PAGE);
	CHECK_EQ(write_text(node_file("state"), "offline"), -EBUSY);
	CHECK(state_is("open"));
	CHECK(count_resident(p, 16) == 16);
	CHECK_CONTENT(p, N, SEED);
	close(fd[0]);
	close(fd[1]);
	CHECK_EQ(write_text(node_file("state"), "offline"), 0);
	CHECK_EQ(cg_number(&cg_here, "cram.current"), 0);
	CHECK_CONTENT(p, N, SEED);
	CHECK_EQ(write_text(node_file("state"), "open"), 0);
	demote(p, N);
}

/* --- other parts of memory management --------------------------------------- */

static void ksm_leaves_resident(void)
{
	void *p = map_pages(N);

	if (!exists(KSM "run"))
		skip("no KSM");
	same_pages(p, N, SEED);
	demote(p, N);
	CHECK(!madvise(p, N * PAGE, MADV_MERGEABLE), "%m");
	ksm_scans(4);
	CHECK_EQ(count_resident(p, N), N);
	CHECK_EQ(read_number("/proc/self/ksm_merging_pages"), 0);
	CHECK(pages_are_same(p, N, SEED));
	check_current(p, N);
	check_write_promotes(p, N);
}

static void ksm_is_not_demoted(void)
{
	void *p = map_pages(N);
	size_t i;

	if (!exists(KSM "run"))
		skip("no KSM");
	same_pages(p, N, SEED);
	CHECK(!madvise(p, N * PAGE, MADV_MERGEABLE), "%m");
	ksm_scans(4);
	CHECK(read_number("/proc/self/ksm_merging_pages") > N / 2);
	for (i = 0; i < 3; i++) {
		pageout(p, N);
		cg_printf(&cg_here, "memory.reclaim", "%lu", N * PAGE);
	}
	CHECK_EQ(count_resident(p, N), 0);
	CHECK(pages_are_same(p, N, SEED));
	CHECK(!madvise(p, N * PAGE, MADV_UNMERGEABLE), "%m");
	CHECK(pages_are_same(p, N, SEED));
}

/*
 * A merged page that is one's own for a while, and lazily freed then, keeps its
 * content for who is merged into it later. Linux 7.3.4 loses it.
 */
static void ksm_lazyfree(void)
{
	char *freed = map_pages(N), *kept = map_pages(N);
	size_t merged = 0, i;

	if (!exists(KSM "run"))
		skip("no KSM");
	fill(freed, N, 5);
	fill(kept, N, 5);
	CHECK(!madvise(freed, N * PAGE, MADV_MERGEABLE), "%m");
	CHECK(!madvise(kept, N * PAGE, MADV_MERGEABLE), "%m");
	ksm_scans(4);
	fill(kept, N, 6);
	CHECK(!madvise(freed, N * PAGE, MADV_FREE), "%m");
	fill(kept, N, 5);
	ksm_scans(6);
	for (i = 0; i < N; i++)
		merged += pfn_of(page_at(freed, i)) == pfn_of(page_at(kept, i));
	CHECK(merged > N / 2, "%zu of %d", merged, N);
	drain_lru();
	for (i = 0; i < 8; i++)
		cg_printf(&cg_here, "memory.reclaim", "%lu", 2 * N * PAGE);
	CHECK_CONTENT(kept, N, 5);
	unmap_pages(freed, N);
	unmap_pages(kept, N);
}

/* Collapsing leaves resident pages alone. */
static void collapse(void)
{
	char *p = map_huge_area(HUGE);
	int64_t memory;

	fill(p, HUGE, SEED);
	demote(p, HUGE);
	memory = cg_number(&cg_here, "memory.current");
	CHECK(madvise(p, HUGE * PAGE, MADV_COLLAPSE));
	CHECK_EQ(errno, EINVAL);
	CHECK_CONTENT(p, HUGE, SEED);
	check_current(p, HUGE);
	CHECK_EQ(count_resident(p, HUGE), HUGE);
	CHECK_NEAR(cg_number(&cg_here, "memory.current"), memory, charge_slack());
	check_write_promotes(p, HUGE);
	/* It can be done with the same pages elsewhere. */
	CHECK(!madvise(p, HUGE * PAGE, MADV_COLLAPSE), "%m");
	CHECK_CONTENT(p, HUGE, SEED + 1);
}

/* A few resident pages in a range of ordinary ones. */
static void collapse_mixed(void)
{
	char *p = map_huge_area(HUGE);

	fill(p, HUGE, SEED);
	demote(p, HUGE / 4);
	CHECK(madvise(p, HUGE * PAGE, MADV_COLLAPSE));
	CHECK_EQ(errno, EINVAL);
	CHECK_EQ(count_resident(p, HUGE), HUGE / 4);
	CHECK_CONTENT(p, HUGE, SEED);
	check_current(p, HUGE);
	check_write_promotes(p, HUGE);
}

static void swapoff_mixed(void)
{
	void *p;

	if (!swap_on(256))
		skip("no zram for swap");
	p = filled(N);
	CHECK_EQ(cg_write(&cg_here, "cram.nodes", "none"), 0);
	CHECK(WAIT_FOR(SETTLES, (pageout(p, N / 2), count_swapped(p, N / 2) == N / 2)));
	/* These are in the swap cache, and may still have their slot there. */
	CHECK_CONTENT(p, N / 4, SEED);
	CHECK_EQ(cg_write(&cg_here, "cram.nodes", "\n"), 0);
	demote(page_at(p, N / 2), N / 2);
	pageout(p, N / 8);
	CHECK_EQ(swap_off(), 0);
	CHECK_EQ(count_swapped(p, N), 0);
	CHECK(count_resident(p, N) >= N / 2);
	check_current(p, N);
	CHECK_CONTENT(p, N, SEED);
	check_write_promotes(p, N);
}

/* From swap into memory and on to the node, and again. */
static void swap_and_cram(void)
{
	void *p;
	int i;

	if (!swap_on(256))
		skip("no zram for swap");
	p = filled(N);
	for (i = 0; i < 4; i++) {
		CHECK_EQ(cg_write(&cg_here, "cram.max", "0"), 0);
		CHECK(WAIT_FOR(SETTLES, (pageout(p, N), count_swapped(p, N) == N)));
		CHECK_EQ(cg_number(&cg_here, "cram.current"), 0);
		CHECK_EQ(cg_write(&cg_here, "cram.max", "max"), 0);
		/* Swapped in for reading: clean copies, on swap as well. */
		CHECK_CONTENT(p, N, SEED + i);
		demote(p, N);
		check_current(p, N);
		CHECK_CONTENT(p, N, SEED + i);
		if (i % 2) {
			/* Out again while on the node. */
			CHECK_EQ(cg_write(&cg_here, "cram.max", "0"), 0);
			CHECK_EQ(count_resident(p, N), 0);
			CHECK_CONTENT(p, N, SEED + i);
		}
		fill(p, N, SEED + i + 1);
		CHECK_EQ(run_walker(), 0);
	}
	CHECK_EQ(swap_off(), 0);
	CHECK_CONTENT(p, N, SEED + 4);
}

/*
 * What is resident takes no ordinary memory that paging it out would free: it stays,
 * whoever asks. A page beside them, in ordinary memory, goes.
 */
static void pageout_again(void)
{
	int fd = syscall(SYS_pidfd_open, getpid(), 0), i;
	struct iovec all;
	char *p;

	if (!swap_on(256))
		skip("no zram for swap");
	CHECK(fd >= 0, "%m");
	p = resident(N);
	rewrite(page_at(p, 5));
	CHECK(!is_resident(page_at(p, 5)));
	CHECK_EQ(cg_write(&cg_here, "cram.nodes", "none"), 0);
	all = (struct iovec){ p, N * PAGE };
	for (i = 0; i < 3; i++) {
		pageout(p, N);
		CHECK_EQ(syscall(SYS_process_madvise, fd, &all, 1UL, MADV_PAGEOUT, 0), N * PAGE);
		cg_printf(&cg_here, "memory.reclaim", "%lu", N * PAGE);
	}
	CHECK(WAIT_FOR(SETTLES, (pageout(p, N), count_swapped(p, N) == 1)));
	CHECK_EQ(count_resident(p, N), N - 1);
	check_current(p, N);
	CHECK_EQ(stat_of("writeback"), 0);
	CHECK_CONTENT(p, N, SEED);
	/* Who does want them elsewhere can have that. */
	CHECK_EQ(cg_printf(&cg_here, "cram.reclaim", "%lu to=swap", (N - 1) * PAGE), 0);
	CHECK(WAIT_FOR(SETTLES, cg_number(&cg_here, "cram.current") == 0));
	CHECK_CONTENT(p, N, SEED);
	close(fd);
}

static void soft_dirty_tracking(void)
{
	char *p = filled(N);
	size_t i;

	CHECK_EQ(write_text("/proc/self/clear_refs", "4"), 0);
	if (soft_dirty(p))
		skip("no soft-dirty tracking (CONFIG_MEM_SOFT_DIRTY)");
	/* Clean ones are demoted, dirty ones are demoted: both know it. */
	for (i = 0; i < N; i += 2)
		rewrite(page_at(p, i));
	for (i = 0; i < N; i++)
		CHECK_EQ(soft_dirty(page_at(p, i)), i % 2 == 0);
	demote(p, N);
	for (i = 0; i < N; i++)
		CHECK(soft_dirty(page_at(p, i)) >= (i % 2 == 0), "page %zu", i);
	CHECK_EQ(write_text("/proc/self/clear_refs", "4"), 0);
	CHECK_EQ(count_resident(p, N), N);
	for (i = 0; i < N; i++)
		CHECK_EQ(soft_dirty(page_at(p, i)), 0);
	CHECK_CONTENT(p, N, SEED);
	for (i = 0; i < N; i++)
		CHECK_EQ(soft_dirty(page_at(p, i)), 0);
	check_write_promotes(p, N);
	for (i = 0; i < N; i++)
		CHECK_EQ(soft_dirty(page_at(p, i)), 1);
}

/* A breakpoint's page of program text is anonymous, and can be resident. */
static void breakpoint_page(void)
{
	void *text = (void *)((uintptr_t)probed_a & ~(PAGE - 1));
	int a = breakpoint_at(probed_a), b = breakpoint_at(probed_b);

	CHECK_EQ(breakpoint_hits(a, probed_a), 10);
	demote(text, 1);
	CHECK_EQ(breakpoint_hits(a, probed_a), 10);
	CHECK_EQ(breakpoint_hits(b, probed_b), 10);
	CHECK_EQ(is_resident(text), 1);
	CHECK_EQ(run_walker(), 0);
	/* One goes: its instruction is written back to the page. */
	close(a);
	CHECK_EQ(is_resident(text), 0);
	CHECK_EQ(run_walker(), 0);
	CHECK_EQ(breakpoint_hits(b, probed_b), 10);
	CHECK_EQ(breakpoint_hits(b, probed_a), 0);
	/* The other goes: the page of the file is back. */
	demote(text, 1);
	close(b);
	CHECK_EQ(run_walker(), 0);
	CHECK_EQ(breakpoint_hits(-1, probed_a), 0);
	CHECK_EQ(is_resident(text), 0);
}

/* --- ends of processes ------------------------------------------------------ */

static void killed(void)
{
	resident(N);
	fflush(stdout);
	kill(getpid(), SIGKILL);
}

static void end_while_written(struct peer *up, void *arg)
{
	resident(N);
	CHECK_EQ(cg_printf(&cg_here, "cram.reclaim", "%lu to=swap", N * PAGE), 0);
}

/* What is under writeback then cannot be freed then. */
static void written_to_swap(void)
{
	/* A slow disk is at it for sure, and for long. */
	int rounds = *slow_swap ? 2 : 10;
	struct peer peer;

	if (*slow_swap)
		CHECK(!swapon(slow_swap, 0), "%m");
	else if (!swap_on(256))
		skip("no zram for swap");
	while (rounds--) {
		peer = peer_start(end_while_written, NULL);
		CHECK_EQ(peer_end(&peer), 0);
		CHECK(WAIT_FOR(SETTLES, cg_number(&cg_here, "cram.current") == 0));
	}
	if (*slow_swap)
		CHECK(!swapoff(slow_swap), "%m");
}

static void exec(void)
{
	resident(N);
	execl("/proc/self/exe", "cram_residency", "--exec", NULL);
	CHECK(0, "%m");
}

/* Exit while half of it is shared with somebody who goes on. */
static void exit_of_parent(void)
{
	void *p = resident(N);
	struct peer peer = peer_start(child_reads, p);

	hear(&peer);
	unmap_pages(p, N);
	CHECK_EQ(cg_number(&cg_here, "cram.current"), N * PAGE);
	CHECK_EQ(run_walker(), 0);
	tell(&peer, 'g');
	CHECK_EQ(peer_end(&peer), 0);
	CHECK_EQ(cg_number(&cg_here, "cram.current"), 0);
}

static const struct scenario lives[] = {
	{ "a million reads fault not once and move nothing", read_is_free },
	{ "the kernel reads a resident page", read_by_kernel },
	{ "MADV_POPULATE_READ and _WRITE", populate },
	{ "a write promotes", write_promotes },
	{ "a system call writes", write_by_system_call },
	{ "atomic operations write", write_atomically },
	{ "writes promote at memory.max", write_at_memory_max },
	{ "threads write and fork while pages are demoted", race },
	{ "long-term pin, read-only", pin_longterm_ro },
	{ "long-term pin, read-only, fast", pin_longterm_ro_fast },
	{ "long-term pin, writing", pin_longterm_rw },
	{ "long-term pin, writing, fast", pin_longterm_rw_fast },
	{ "short pin, read-only", pin_short_slow },
	{ "short pin, read-only, fast", pin_short_fast },
	{ "reference without a pin", reference_short },
	{ "a read-only pin that is held", pin_held },
	{ "userfaultfd write protection of resident pages", uffd_wp_resident },
	{ "userfaultfd write protection before demotion", uffd_wp_then_demote },
	{ "userfaultfd write protection taken back", uffd_wp_resolve },
	{ "userfaultfd write protection, asynchronous", uffd_wp_async },
	{ "userfaultfd write protection, file closed", uffd_wp_close },
	{ "UFFDIO_MOVE", uffd_move },
	{ "process_vm_readv and _writev", vm_write },
	{ "forced writing by /proc/pid/mem", force_by_proc_mem },
	{ "forced writing by ptrace", force_by_ptrace },
	{ "process_madvise demotes", other_madvise },
	{ "direct I/O from and to resident buffers", direct_io },
	{ "io_uring fixed buffers", fixed_buffers },
	{ "vmsplice, then write", vmsplice_and_write },
	{ "vmsplice, then unmap", vmsplice_and_unmap },
	{ "mprotect read-only and back", mprotect_read },
	{ "mprotect none and back", mprotect_none },
	{ "demoted while read-only, then mprotect writable", mprotect_demoted_readonly },
	{ "mprotect over resident and other pages", mprotect_mixed },
	{ "fork, the child writes", fork_child_writes },
	{ "fork, the parent writes", fork_parent_writes },
	{ "fork, the child ends, the parent writes", fork_exit_write },
	{ "fork, then demotion of shared pages", fork_then_demote },
	{ "munmap", unmap_part },
	{ "MADV_DONTNEED", dontneed },
	{ "MADV_FREE of resident pages", lazyfree },
	{ "MADV_FREE pages are not demoted", lazyfree_is_not_demoted },
	{ "MADV_FREE by a child of pages that were unshared", lazyfree_unshared },
	{ "mremap", remap },
	{ "mremap, MREMAP_DONTUNMAP", remap_dontunmap },
	{ "mlock", mlock_resident },
	{ "shared memory, files and the zero page are not demoted", not_for_cram },
	{ "move_pages off the node", move_pages_off },
	{ "move_pages off the node at memory.max", move_pages_off_at_max },
	{ "migrate_pages off the node", migrate_pages_off },
	{ "move_pages onto the node", move_pages_onto },
	{ "mbind to another node", bind_elsewhere },
	{ "KSM leaves resident pages alone", ksm_leaves_resident },
	{ "KSM pages are not demoted", ksm_is_not_demoted },
	{ "KSM merges with what was lazily freed", ksm_lazyfree },
	{ "MADV_COLLAPSE of resident pages", collapse },
	{ "MADV_COLLAPSE of resident and other pages", collapse_mixed },
	{ "swapoff with resident and swapped pages", swapoff_mixed },
	{ "from swap to the node and back", swap_and_cram },
	{ "MADV_PAGEOUT of resident pages", pageout_again },
	{ "soft-dirty tracking", soft_dirty_tracking },
	{ "a breakpoint in a resident page", breakpoint_page },
	{ "killed with resident pages", killed, S_KILLED },
	{ "an end while pages are written to swap", written_to_swap },
	{ "exec with resident pages", exec },
	{ "one of two users ends", exit_of_parent },
	{ "memory block offline", block_offline },
	{ "memory block offline, with pages that may be hot", block_offline_hot },
	{ "draining the node", drain },
	{ "draining the node while pages are held", drain_held },
	{ "MADV_SOFT_OFFLINE", soft_offline },
};

/* With a disk as swap that takes its time. */
static const struct scenario on_disk[] = {
	{ "in the swap cache on the node", swap_cache_on_node },
};

int main(int argc, char **argv)
{
	if (argc > 1 && !strcmp(argv[1], "--exec"))
		return 0;
	setup();
	slow_swap_take();
	swap_off();
	if (*slow_swap)
		run_scenarios(on_disk, ARRAY_SIZE(on_disk), "", 120);
	run_scenarios(ways, ARRAY_SIZE(ways), "without swap", 90);
	if (swap_on(256)) {
		run_scenarios(ways, ARRAY_SIZE(ways), "with swap", 90);
		swap_off();
	} else {
		tap_skip("demotion with swap", "no /dev/zram0 (CONFIG_ZRAM)");
	}
	run_scenarios(lives, ARRAY_SIZE(lives), "", 120);
	swap_off();
	check_device();
	teardown();
	return tap_end();
}
