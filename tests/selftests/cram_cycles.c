// SPDX-License-Identifier: GPL-2.0
/*
 * Endurance: a range of anonymous memory, larger than what its cgroup may have
 * of ordinary memory, goes through cycles of everything that happens to pages -
 * demotion, reads, writes, fork, pins, protection - while each page keeps the
 * content that the books of the test say.
 *
 * usage: cram_cycles [MIB [CYCLES [SHARE]]]	defaults 32, 10 times T, and 1
 *
 * SHARE divides how many pages a cycle reads and writes: large ranges take long
 * where the processor is emulated, and many cycles find more than long ones.
 */
#include "util.h"

#include <fcntl.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/uio.h>
#include <unistd.h>

static size_t pages, cycles, share;

static char *range;
static uint8_t *generation;		/* of each page's content */
static uint64_t random_state = RANDOM_STATE;

static struct {
	double demoting, reading, writing;
	size_t read, written;
} spent;

static size_t random_below(size_t n)
{
	return next_random(&random_state) % n;
}

static void check_page(size_t i)
{
	CHECK(!page_differs(range + i * PAGE, generation[i], i), "page %zu of generation %u", i,
	      generation[i]);
}

static void check_all(void)
{
	size_t i;

	for (i = 0; i < pages; i++)
		check_page(i);
}

static void write_page(size_t i)
{
	fill_page(range + i * PAGE, ++generation[i], i);
}

/* A part of the range, or all of it. */
static size_t some_part(size_t *from, size_t most)
{
	size_t n = 1 + random_below(most);

	*from = random_below(pages - n + 1);
	return n;
}

static void demote_some(size_t cycle)
{
	double start = now();
	size_t from, n, i;

	if (cycle % 3 == 0) {
		madvise(range, pages * PAGE, MADV_PAGEOUT);
	} else if (cycle % 3 == 1) {
		cg_printf(&cg_here, "memory.reclaim", "%lu", pages / 4 * PAGE);
	} else {
		for (i = 0; i < 16; i++) {
			n = some_part(&from, pages / 8);
			madvise(range + from * PAGE, n * PAGE, MADV_PAGEOUT);
		}
	}
	spent.demoting += now() - start;
}

static void read_some(void)
{
	double start = now();
	size_t i;

	for (i = 0; i < pages / 2 / share; i++)
		check_page(random_below(pages));
	spent.read += i;
	spent.reading += now() - start;
}

static void write_some(void)
{
	double start = now();
	size_t i, page;

	for (i = 0; i < pages / 8 / share; i++) {
		page = random_below(pages);
		check_page(page);
		write_page(page);
	}
	spent.written += i;
	spent.writing += now() - start;
}

/* What the child writes is its own; it exits with resident pages. */
static void child(struct peer *up, void *arg)
{
	size_t i;

	for (i = 0; i < pages / 32 / share; i++)
		write_page(random_below(pages));
	tell(up, 'w');
	hear(up);
	for (i = 0; i < pages / 16 / share; i++)
		check_page(random_below(pages));
}

static void fork_some(void)
{
	struct peer peer = peer_start(child, NULL);
	size_t i;

	for (i = 0; i < pages / 32 / share; i++)
		write_page(random_below(pages));
	hear(&peer);
	cg_printf(&cg_here, "memory.reclaim", "%lu", pages / 8 * PAGE);
	tell(&peer, 'g');
	CHECK_EQ(peer_end(&peer), 0);
}

static void hold_some(void)
{
	size_t from, n = some_part(&from, 32);
	struct iovec iov = { range + from * PAGE, n * PAGE };
	static char copy[32 * PAGE];
	int fd[2];

	CHECK(!pipe(fd) && fcntl(fd[1], F_SETPIPE_SZ, 64 * PAGE) > 0, "%m");
	CHECK_EQ(vmsplice(fd[1], &iov, 1, 0), n * PAGE);
	madvise(iov.iov_base, n * PAGE, MADV_PAGEOUT);
	CHECK_EQ(read(fd[0], copy, n * PAGE), n * PAGE);
	CHECK(!memcmp(copy, iov.iov_base, n * PAGE));
	close(fd[0]);
	close(fd[1]);
}

struct pin_longterm_test {
	uint64_t addr, size;
	uint32_t flags;
};

#define PIN_LONGTERM_TEST_START	_IOW('g', 7, struct pin_longterm_test)
#define PIN_LONGTERM_TEST_STOP	_IO('g', 8)

static void pin_some(size_t cycle)
{
	int fd = open("/sys/kernel/debug/gup_test", O_RDWR);
	size_t from, n = some_part(&from, 64), i;
	struct pin_longterm_test test = {
		(uintptr_t)range + from * PAGE, n * PAGE, cycle % 4,
	};

	if (fd < 0)
		return;
	CHECK(!ioctl(fd, PIN_LONGTERM_TEST_START, &test), "%m");
	CHECK_EQ(count_resident(range + from * PAGE, n), 0);
	madvise(range + from * PAGE, n * PAGE, MADV_PAGEOUT);
	CHECK_EQ(count_resident(range + from * PAGE, n), 0);
	for (i = from; i < from + n; i += 2)
		write_page(i);
	CHECK(!ioctl(fd, PIN_LONGTERM_TEST_STOP), "%m");
	for (i = from; i < from + n; i++)
		check_page(i);
	close(fd);
}

static void protect_some(void)
{
	size_t from, n = some_part(&from, pages / 4);

	CHECK(!mprotect(range + from * PAGE, n * PAGE, PROT_READ), "%m");
	check_page(from);
	CHECK(!mprotect(range + from * PAGE, n * PAGE, PROT_READ | PROT_WRITE), "%m");
	write_page(from);
}

/* memory.current is what is mapped or used by the kernel; resident pages are apart. */
static void check_books(void)
{
	int64_t current = cg_number(&cg_here, "memory.current");
	int64_t cram = cg_number(&cg_here, "cram.current");
	int64_t anon = cg_key(&cg_here, "memory.stat", "anon");
	int64_t file = cg_key(&cg_here, "memory.stat", "file");
	int64_t kernel = cg_key(&cg_here, "memory.stat", "kernel");
	int64_t swapcached = cg_key(&cg_here, "memory.stat", "swapcached");

	CHECK(cram >= (int64_t)(count_resident(range, pages) * PAGE));
	CHECK_NEAR(cg_key(&cg_here, "memory.stat", "cram"), cram, charge_slack());
	/* Batches of charges and of statistics. */
	CHECK_NEAR(current, anon + file + kernel, 2 * charge_slack() + swapcached);
	CHECK(current <= cg_number(&cg_here, "memory.max"));
	CHECK_EQ(run_walker(), 0);
}

static void run_cycles(void)
{
	double start = now();
	int64_t demoted;
	size_t i;

	range = map_pages(pages);
	generation = map_pages(pages / PAGE + 1);
	CHECK_EQ(cg_printf(&cg_here, "memory.max", "%lu", pages / 4 * 3 * PAGE), 0);
	for (i = 0; i < pages; i++)
		write_page(i);
	for (i = 0; i < cycles; i++) {
		demote_some(i);
		read_some();
		hold_some();
		write_some();
		fork_some();
		pin_some(i);
		protect_some();
		check_books();
	}
	check_all();
	CHECK_EQ(cg_key(&cg_here, "memory.events", "oom_kill"), 0);
	demoted = cg_key(&cg_here, "cram.stat", "demote");
	tap_note("info %zu MiB, %zu cycles in %.1f s: %lld pages demoted, %lld promoted by write",
		 pages * PAGE / MIB, cycles, now() - start, (long long)demoted,
		 (long long)cg_key(&cg_here, "cram.stat", "promote_write"));
	tap_note("info %lld pages written back, %lld promoted by reclaim, %lld refused; %lld KiB in swap",
		 (long long)cg_key(&cg_here, "cram.stat", "writeback"),
		 (long long)cg_key(&cg_here, "cram.stat", "promote_reclaim"),
		 (long long)sum_keys(cg_file(&cg_here, "cram.stat"), "refuse_"),
		 (long long)cg_number(&cg_here, "memory.swap.current") / 1024);
	tap_note("info pages per second: %.0f checked, %.0f checked and written, %.1f s demoting",
		 spent.read / spent.reading, spent.written / spent.writing, spent.demoting);
	/* Most of it has been there, more than once. */
	CHECK(demoted > (int64_t)pages);
	CHECK(cg_key(&cg_here, "cram.stat", "promote_write") > (int64_t)(pages / 8));
}

static const struct scenario scenarios[] = {
	{ "cycles under memory pressure", run_cycles },
};

int main(int argc, char **argv)
{
	pages = (argc > 1 ? atoi(argv[1]) : 32) * MIB / PAGE;
	cycles = argc > 2 ? (unsigned int)atoi(argv[2]) : scaled(10);
	share = argc > 3 ? atoi(argv[3]) : 1;
	setup();
	swap_off();
	run_scenarios(scenarios, ARRAY_SIZE(scenarios), "without swap", 3600);
	if (swap_on(2 * pages * PAGE / MIB)) {
		run_scenarios(scenarios, ARRAY_SIZE(scenarios), "with swap", 3600);
		swap_off();
	} else {
		tap_skip("cycles with swap", "no /dev/zram0 (CONFIG_ZRAM)");
	}
	check_device();
	teardown();
	return tap_end();
}
