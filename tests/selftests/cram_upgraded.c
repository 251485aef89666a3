// SPDX-License-Identifier: GPL-2.0
/*
 * The life of upgraded pages: resident, within a budget, and stored to where
 * they are. All the roads that cram_residency.c takes with pages that are
 * read-only, and then the same while pages move and budgets change. Whatever
 * happens, the content is right, the books say what is writable, and a budget
 * of 0 afterwards makes an end of it.
 *
 * Of userfaultfd's modes, "minor" is not for anonymous memory: it is refused.
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
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <unistd.h>

#define N	64
#define SEED	31

/* --- upgraded, and not any more ----------------------------------------------- */

/* Resident, and upgraded by a store to each */
static char *upgrade_at(char *p, size_t pages)
{
	budget("max");
	fill(p, pages, SEED);
	demote(p, pages);
	rewrite_all(p, pages);
	CHECK_EQ(count_resident(p, pages), pages);
	CHECK_EQ(writable(), pages * PAGE);
	return p;
}

static char *upgraded(size_t pages)
{
	return upgrade_at(map_pages(pages), pages);
}

/* The books say that so many are resident, once nothing is on its way. */
static void check_books(size_t resident)
{
	CHECK_EQ(run_walker(), 0);
	CHECK(WAIT_FOR(SETTLES, cg_number(&cg_here, "cram.current") ==
				(int64_t)(resident * PAGE)),
	      "%lld", (long long)cg_number(&cg_here, "cram.current"));
}

/*
 * Where they were, and whoever writes does so there. A test that took seconds
 * finds pages recycled, which a store upgrades again.
 */
static void check_in_place(char *p, size_t pages)
{
	int64_t promoted = stat_of("promote_write");

	rewrite_all(p, pages);
	CHECK_EQ(count_resident(p, pages), pages);
	CHECK_EQ(stat_of("promote_write"), promoted);
	CHECK_EQ(writable(), pages * PAGE);
	check_books(pages);
}

/* A budget of 0 takes back what is left, where it is; writing promotes then. */
static void check_taken_back(char *p, size_t pages, uint64_t seed)
{
	size_t resident = count_resident(p, pages);

	CHECK_CONTENT(p, pages, seed);
	check_books(resident);
	budget("0");
	CHECK_EQ(writable(), 0);
	CHECK_EQ(node_number("writable_bytes"), 0);
	CHECK_EQ(count_resident(p, pages), resident);
	CHECK_CONTENT(p, pages, seed);
	CHECK_EQ(run_walker(), 0);
	fill(p, pages, seed + 1);
	CHECK_EQ(count_resident(p, pages), 0);
	CHECK_CONTENT(p, pages, seed + 1);
	unmap_pages(p, pages);
}

/* All of it: still upgraded, and then not. */
static void check_stays(char *p, size_t pages, uint64_t seed)
{
	CHECK_CONTENT(p, pages, seed);
	check_in_place(p, pages);
	check_taken_back(p, pages, seed);
}

/* They have left, by whichever way, and nobody pays any more. */
static void check_left(char *p, size_t pages, uint64_t seed)
{
	CHECK_EQ(count_resident(p, pages), 0);
	CHECK(WAIT_FOR(SETTLES, writable() == 0));
	check_books(0);
	check_taken_back(p, pages, seed);
}

static void nothing(int sig)
{
}

/*
 * A budget that cannot be kept yet, because of so many pages: whoever set it
 * waits until a signal comes. The number is in force by then.
 */
static void check_held(size_t pages)
{
	struct itimerval ticks = { { 0, 500000 }, { 1, 0 } }, none = {};
	struct sigaction act = { .sa_handler = nothing };
	double start = now();

	sigaction(SIGALRM, &act, NULL);
	setitimer(ITIMER_REAL, &ticks, NULL);
	CHECK_EQ(cg_write(&cg_here, "cram.writable_budget", "0"), -EINTR);
	setitimer(ITIMER_REAL, &none, NULL);
	CHECK(now() - start < SETTLES);
	CHECK_EQ(cg_number(&cg_here, "cram.writable_budget"), 0);
	CHECK_EQ(writable(), pages * PAGE);
	CHECK_EQ(run_walker(), 0);
}

/* --- fork ----------------------------------------------------------------------- */

static void child_writes(struct peer *up, void *p)
{
	CHECK_CONTENT(p, N, SEED);
	hear(up);
	fill(p, N, SEED + 5);
	tell(up, 'w');
	hear(up);
	CHECK_CONTENT(p, N, SEED + 5);
}

/* The child gets copies, and the parent goes on where it was. */
static void fork_child_first(void)
{
	char *p = upgraded(N);
	struct peer child = peer_start(child_writes, p);

	tell(&child, 'g');
	hear(&child);
	CHECK_CONTENT(p, N, SEED);
	CHECK_EQ(count_resident(p, N), N);
	CHECK_EQ(stat_of("promote_write"), N);
	fill(p, N, SEED + 1);
	CHECK_EQ(count_resident_of(child.pid, p, N), 0);
	tell(&child, 'e');
	CHECK_EQ(peer_end(&child), 0);
	check_stays(p, N, SEED + 1);
}

/* The parent gets copies, and the child goes on where it was. */
static void fork_parent_first(void)
{
	char *p = upgraded(N);
	struct peer child = peer_start(child_writes, p);

	fill(p, N, SEED + 1);
	CHECK_EQ(count_resident(p, N), 0);
	tell(&child, 'g');
	hear(&child);
	CHECK_EQ(count_resident_of(child.pid, p, N), N);
	CHECK_EQ(stat_of("promote_write"), N);
	check_books(N);
	/* The child's, by now: taken back from it, too. */
	budget("0");
	CHECK_EQ(writable(), 0);
	CHECK_EQ(run_walker(), 0);
	tell(&child, 'e');
	CHECK_EQ(peer_end(&child), 0);
	check_left(p, N, SEED + 1);
}

/* Nobody writes: it ends by itself, and with a smaller budget at once. */
static void fork_revoked(void)
{
	char *p = upgraded(N);
	struct peer child = peer_start(child_writes, p);

	budget("0");
	CHECK_EQ(writable(), 0);
	CHECK_EQ(count_resident(p, N), N);
	CHECK_EQ(count_resident_of(child.pid, p, N), N);
	CHECK_EQ(run_walker(), 0);
	tell(&child, 'g');
	hear(&child);
	CHECK_CONTENT(p, N, SEED);
	fill(p, N, SEED + 1);
	CHECK_EQ(count_resident(p, N), 0);
	tell(&child, 'e');
	CHECK_EQ(peer_end(&child), 0);
	check_left(p, N, SEED + 1);
}

static void fork_recycled(void)
{
	char *p = upgraded(N);
	struct peer child = peer_start(child_writes, p);

	CHECK(WAIT_FOR(SETTLES, writable() == 0));
	CHECK(WAIT_FOR(SETTLES, stat_of("recycle") == N));
	CHECK_EQ(stat_of("revoke"), 0);
	tell(&child, 'g');
	hear(&child);
	tell(&child, 'e');
	CHECK_EQ(peer_end(&child), 0);
	check_stays(p, N, SEED);
}

/* --- other parts of memory management ------------------------------------------- */

static void ksm(void)
{
	char *p = map_pages(N);

	if (!exists(KSM "run"))
		skip("no KSM");
	budget("max");
	same_pages(p, N, SEED);
	demote(p, N);
	rewrite_all(p, N);
	CHECK(!madvise(p, N * PAGE, MADV_MERGEABLE), "%m");
	ksm_scans(3);
	CHECK_EQ(read_number("/proc/self/ksm_merging_pages"), 0);
	CHECK(pages_are_same(p, N, SEED));
	check_in_place(p, N);
	fill(p, N, SEED);
	check_taken_back(p, N, SEED);
}

static void collapse(void)
{
	char *p = upgrade_at(map_huge_area(HUGE), HUGE);

	CHECK_EQ(madvise(p, HUGE * PAGE, MADV_COLLAPSE) ? -errno : 0, -EINVAL);
	check_stays(p, HUGE, SEED);
}

#define KHUGEPAGED "/sys/kernel/mm/transparent_hugepage/khugepaged/"

static void khugepaged(void)
{
	int64_t sleep = read_number(KHUGEPAGED "scan_sleep_millisecs"), scans, collapsed;
	char *p = map_huge_area(HUGE), text[32];

	if (sleep < 0)
		skip("no khugepaged (CONFIG_TRANSPARENT_HUGEPAGE)");
	upgrade_at(p, HUGE);
	/* Three of four are upgraded, the rest is ordinary. */
	for (size_t i = 0; i < HUGE; i += 4) {
		CHECK(!madvise(page_at(p, i), PAGE, MADV_DONTNEED), "%m");
		fill_page(page_at(p, i), SEED, i);
	}
	CHECK(!madvise(p, HUGE * PAGE, MADV_HUGEPAGE), "%m");
	CHECK_EQ(write_text(KHUGEPAGED "scan_sleep_millisecs", "1"), 0);
	scans = read_number(KHUGEPAGED "full_scans");
	collapsed = read_number(KHUGEPAGED "pages_collapsed");
	CHECK(WAIT_FOR(SETTLES, read_number(KHUGEPAGED "full_scans") >= scans + 3));
	snprintf(text, sizeof(text), "%lld", (long long)sleep);
	CHECK_EQ(write_text(KHUGEPAGED "scan_sleep_millisecs", text), 0);
	CHECK_EQ(read_number(KHUGEPAGED "pages_collapsed"), collapsed);
	rewrite_all(p, HUGE);
	CHECK_EQ(count_resident(p, HUGE), HUGE * 3 / 4);
	CHECK_EQ(writable(), HUGE * 3 / 4 * PAGE);
	check_taken_back(p, HUGE, SEED);
}

static void soft_dirty_tracking(void)
{
	char *p = upgraded(N);
	int i;

	CHECK_EQ(write_text("/proc/self/clear_refs", "4"), 0);
	if (soft_dirty(p))
		skip("no soft-dirty tracking (CONFIG_MEM_SOFT_DIRTY)");
	for (i = 0; i < N; i += 2)
		fill_page(page_at(p, i), SEED, i);
	for (i = 0; i < N; i++)
		CHECK_EQ(soft_dirty(page_at(p, i)), i % 2 == 0);
	/* Taking the right back is no store. */
	budget("0");
	for (i = 0; i < N; i++)
		CHECK_EQ(soft_dirty(page_at(p, i)), i % 2 == 0);
	budget("max");
	check_stays(p, N, SEED);
}

/* A breakpoint is taken out of a page that may be written where it is. */
static void breakpoint_page(void)
{
	void *text = (void *)((uintptr_t)probed_a & ~(PAGE - 1));
	int a = breakpoint_at(probed_a), b = breakpoint_at(probed_b);

	budget("max");
	CHECK_EQ(breakpoint_hits(a, probed_a), 10);
	demote(text, 1);
	/* There is budget for it, so the fault upgrades it. */
	close(a);
	CHECK_EQ(is_resident(text), 1);
	CHECK_EQ(writable(), PAGE);
	CHECK_EQ(run_walker(), 0);
	CHECK_EQ(breakpoint_hits(b, probed_b), 10);
	CHECK_EQ(breakpoint_hits(b, probed_a), 0);
	budget("0");
	CHECK_EQ(writable(), 0);
	CHECK_EQ(run_walker(), 0);
	CHECK_EQ(breakpoint_hits(b, probed_b), 10);
	close(b);
	CHECK_EQ(breakpoint_hits(-1, probed_b), 0);
	CHECK_EQ(is_resident(text), 0);
}

/* --- userfaultfd ---------------------------------------------------------------- */

static void *filler_thread(void *p)
{
	fill(p, N, SEED + 1);
	return NULL;
}

/* The rest of an area is missing, and comes by request. */
static void uffd_missing(void)
{
	char *p = map_pages(2 * N), *src = map_pages(N);
	struct uffdio_copy copy = { (uintptr_t)p + N * PAGE, (uintptr_t)src, N * PAGE };
	int fd = userfault(0);
	pthread_t thread;

	userfault_register(fd, p, 2 * N, UFFDIO_REGISTER_MODE_MISSING);
	copy.dst = (uintptr_t)p;
	fill(src, N, SEED);
	CHECK(!ioctl(fd, UFFDIO_COPY, &copy), "%m");
	upgrade_at(p, N);
	CHECK(!pthread_create(&thread, NULL, filler_thread, p + N * PAGE));
	userfault_wait(fd);
	check_in_place(p, N);
	copy.dst = (uintptr_t)p + N * PAGE;
	CHECK(!ioctl(fd, UFFDIO_COPY, &copy), "%m");
	pthread_join(thread, NULL);
	CHECK_CONTENT(p + N * PAGE, N, SEED + 1);
	close(fd);
	check_stays(p, N, SEED);
}

static void uffd_minor_is_refused(void)
{
	char *p = upgraded(N);
	struct uffdio_register reg = {
		.range = { (uintptr_t)p, N * PAGE }, .mode = UFFDIO_REGISTER_MODE_MINOR,
	};
	int fd = userfault(0);

	CHECK_EQ(ioctl(fd, UFFDIO_REGISTER, &reg) ? -errno : 0, -EINVAL);
	check_stays(p, N, SEED);
}

/* Each store asks first; what is allowed then happens in place. */
static void serve_writer(int fd, char *p)
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
	CHECK_CONTENT(p, N, SEED + 1);
}

static void uffd_wp(void)
{
	int fd = userfault(UFFD_FEATURE_PAGEFAULT_FLAG_WP);
	char *p = upgraded(N);

	userfault_register(fd, p, N, UFFDIO_REGISTER_MODE_WP);
	CHECK(!write_protect(fd, p, N, true), "%m");
	serve_writer(fd, p);
	check_stays(p, N, SEED + 1);
}

/* Taken back while protected: the protection stays, and writing promotes. */
static void uffd_wp_revoked(void)
{
	int fd = userfault(UFFD_FEATURE_PAGEFAULT_FLAG_WP);
	char *p = upgraded(N);

	userfault_register(fd, p, N, UFFDIO_REGISTER_MODE_WP);
	CHECK(!write_protect(fd, p, N, true), "%m");
	budget("0");
	CHECK_EQ(writable(), 0);
	serve_writer(fd, p);
	check_left(p, N, SEED + 1);
}

/* Ending the protection is a road to a writable entry: open to upgraded ones. */
static void uffd_wp_resolve(void)
{
	int fd = userfault(UFFD_FEATURE_PAGEFAULT_FLAG_WP);
	char *p = upgraded(N);

	userfault_register(fd, p, N, UFFDIO_REGISTER_MODE_WP);
	CHECK(!write_protect(fd, p, N, true), "%m");
	CHECK(!write_protect(fd, p, N, false), "%m");
	CHECK_EQ(run_walker(), 0);
	close(fd);
	check_stays(p, N, SEED);
}

static void uffd_wp_async(void)
{
	int fd = userfault(FEATURE_WP_ASYNC | FEATURE_WP_UNPOPULATED);
	char *p = upgraded(N);

	userfault_register(fd, p, N, UFFDIO_REGISTER_MODE_WP);
	CHECK(!write_protect(fd, p, N, true), "%m");
	fill(p, N, SEED + 1);
	check_stays(p, N, SEED + 1);
	close(fd);
}

/* Which pages were written since the last time; they are protected again. */
static int64_t scan_written_pages(void *p, size_t pages, bool *written)
{
	int pagemap = open("/proc/self/pagemap", O_RDONLY);
	struct page_run runs[pages];
	struct scan scan = {
		.size = sizeof(scan), .flags = SCAN_WP_MATCHING | SCAN_CHECK_WPASYNC,
		.start = (uintptr_t)p, .end = (uintptr_t)p + pages * PAGE,
		.vec = (uintptr_t)runs, .vec_len = pages,
		.category_mask = IS_WRITTEN, .return_mask = IS_WRITTEN,
	};
	int64_t found = 0;
	uint64_t addr;
	int i, n;

	CHECK(pagemap >= 0, "%m");
	n = ioctl(pagemap, IOCTL_SCAN, &scan);
	CHECK(n >= 0, "%m");
	memset(written, 0, pages * sizeof(*written));
	for (i = 0; i < n; i++)
		for (addr = runs[i].start; addr < runs[i].end; addr += PAGE, found++)
			written[(addr - (uintptr_t)p) / PAGE] = true;
	close(pagemap);
	return found;
}

static int64_t scan_written(void *p, size_t pages)
{
	bool written[pages];

	return scan_written_pages(p, pages, written);
}

/* PAGEMAP_SCAN finds what was written and protects it in one go. */
static void pagemap_scan(void)
{
	int fd = userfault(FEATURE_WP_ASYNC | FEATURE_WP_UNPOPULATED);
	char *p = upgraded(N);
	int i;

	userfault_register(fd, p, N, UFFDIO_REGISTER_MODE_WP);
	CHECK_EQ(scan_written(p, N), N);
	CHECK_EQ(scan_written(p, N), 0);
	for (i = 0; i < N; i += 2)
		fill_page(page_at(p, i), SEED, i);
	CHECK_EQ(scan_written(p, N), N / 2);
	/* Taking the right back is no store. */
	budget("0");
	CHECK_EQ(writable(), 0);
	CHECK_EQ(scan_written(p, N), 0);
	budget("max");
	check_stays(p, N, SEED);
	close(fd);
}

static void uffd_move(void)
{
	int fd = userfault(FEATURE_MOVE);
	char *p = upgraded(N), *q = map_pages(N);

	userfault_register(fd, q, N, UFFDIO_REGISTER_MODE_MISSING);
	userfault_move(fd, q, p, N);
	close(fd);
	check_stays(q, N, SEED);
}

/* --- protection ----------------------------------------------------------------- */

static void mprotect_round(int between, bool revoke)
{
	char *p = upgraded(N);

	protect(p, N, between);
	CHECK_EQ(run_walker(), 0);
	if (revoke) {
		budget("0");
		CHECK_EQ(writable(), 0);
	}
	protect(p, N, PROT_READ | PROT_WRITE);
	CHECK_CONTENT(p, N, SEED);
	if (revoke)
		check_taken_back(p, N, SEED);
	else
		check_stays(p, N, SEED);
}

static void mprotect_read(void)
{
	mprotect_round(PROT_READ, false);
}

static void mprotect_none(void)
{
	mprotect_round(PROT_NONE, false);
}

static void mprotect_read_revoked(void)
{
	mprotect_round(PROT_READ, true);
}

static void mprotect_none_revoked(void)
{
	mprotect_round(PROT_NONE, true);
}

/* Batches of entries: upgraded, read-only, of ordinary memory; in runs of 1 to 7. */
static void mprotect_mixed(void)
{
	size_t i, run = 1, kind = 0, count[3] = {};
	char *p = map_pages(HUGE);

	budget("max");
	fill(p, HUGE, SEED);
	demote(p, HUGE);
	for (i = 0; i < HUGE; i++) {
		count[kind]++;
		if (kind == 1) {
			rewrite(page_at(p, i));
		} else if (kind == 2) {
			CHECK(!madvise(page_at(p, i), PAGE, MADV_DONTNEED), "%m");
			fill_page(page_at(p, i), SEED, i);
		}
		if (!--run) {
			kind = (kind + 1) % 3;
			run = 1 + i % 7;
		}
	}
	CHECK_EQ(writable(), count[1] * PAGE);
	protect(p, HUGE, PROT_READ);
	protect(p, HUGE, PROT_READ | PROT_WRITE);
	CHECK_EQ(run_walker(), 0);
	CHECK_EQ(writable(), count[1] * PAGE);
	CHECK_EQ(count_resident(p, HUGE), count[0] + count[1]);
	rewrite_all(p, HUGE);
	CHECK_EQ(writable(), (count[0] + count[1]) * PAGE);
	check_taken_back(p, HUGE, SEED);
}

/* --- mappings ------------------------------------------------------------------- */

static void remap_to(int flags)
{
	char *p = upgraded(N), *q = map_pages(N);

	q = mremap(p, N * PAGE, N * PAGE, MREMAP_MAYMOVE | MREMAP_FIXED | flags, q);
	CHECK(q != MAP_FAILED, "%m");
	if (flags)
		CHECK(all_zero(p, N));
	check_stays(q, N, SEED);
}

static void remap(void)
{
	remap_to(0);
}

static void remap_dontunmap(void)
{
	remap_to(MREMAP_DONTUNMAP);
}

static void mlock_upgraded(void)
{
	char *p = upgraded(N);

	CHECK(!mlock(p, N * PAGE), "%m");
	CHECK_CONTENT(p, N, SEED);
	check_in_place(p, N);
	budget("0");
	CHECK_EQ(writable(), 0);
	budget("max");
	check_in_place(p, N);
	CHECK(!munlock(p, N * PAGE), "%m");
	check_stays(p, N, SEED);
}

static void dontneed(void)
{
	char *p = upgraded(N);

	CHECK(!madvise(p, N / 2 * PAGE, MADV_DONTNEED), "%m");
	CHECK_EQ(writable(), N / 2 * PAGE);
	CHECK(all_zero(p, N / 2));
	check_books(N / 2);
	fill(p, N / 2, SEED);
	check_taken_back(p, N, SEED);
}

/* Colder, but who is upgraded is written, and stays. */
static void cold(void)
{
	char *p = upgraded(N);

	CHECK(!madvise(p, N * PAGE, MADV_COLD), "%m");
	check_stays(p, N, SEED);
}

/* What is on the node is where it should be, with swap and without. */
static void pageout_upgraded(void)
{
	char *p;

	CHECK_EQ(swap_off(), 0);
	p = upgraded(N);
	pageout(p, N);
	check_stays(p, N, SEED);
	if (!swap_on(64))
		skip("no zram for swap");
	p = upgraded(N);
	pageout(p, N);
	check_stays(p, N, SEED);
}

static void evicted_to_swap(void)
{
	char *p;

	if (!swap_on(64))
		skip("no zram for swap");
	p = upgraded(N);
	evict_to_swap(p, N);
	CHECK(WAIT_FOR(SETTLES, writable() == 0));
	/* Half is read first, and half written at once: from the cache or not. */
	CHECK_CONTENT(p, N / 2, SEED);
	rewrite_all(p, N);
	CHECK_EQ(run_walker(), 0);
	check_taken_back(p, N, SEED);
}

/* On their way to swap they wait for the disk in the cache, on the node, upgraded still. */
static void swap_cache_on_node(void)
{
	char *p = upgraded(N);

	into_the_swap_cache(p, N);
	CHECK(writable() > 0);
	CHECK_EQ(run_walker(), 0);
	/* From the cache, or from the disk what that was faster with. */
	CHECK_CONTENT(p, N, SEED);
	CHECK(count_resident(p, N) > 0, "none was found in the cache");
	rewrite_all(p, N);
	CHECK_EQ(run_walker(), 0);
	CHECK_EQ(swapoff(slow_swap), 0);
	check_taken_back(p, N, SEED);
}

static void swapoff_mixed(void)
{
	char *p = map_pages(N);

	if (!swap_on(64))
		skip("no zram for swap");
	budget("max");
	fill(p, N, SEED);
	demote(p, N / 2);
	rewrite_all(p, N / 2);
	evict_to_swap(p, N / 2);
	demote(page_at(p, N / 2), N / 2);
	rewrite_all(page_at(p, N / 2), N / 2);
	/* These may have their slot still, in the cache. */
	CHECK_CONTENT(p, N / 4, SEED);
	CHECK_EQ(swap_off(), 0);
	CHECK_EQ(count_swapped(p, N), 0);
	check_in_place(page_at(p, N / 2), N / 2);
	check_taken_back(p, N, SEED);
}

/* What tells of a store to a lazily freed page is its entry alone. */
static void lazyfree_rounds(void)
{
	unsigned int rounds = scaled(50), round, kept = 0;
	char *p;
	int i;

	if (!swap_on(64))
		skip("no zram for swap");
	for (round = 0; round < rounds; round++) {
		p = upgraded(N);
		CHECK(!madvise(p, N * PAGE, MADV_FREE), "%m");
		for (i = 0; i < N; i += 2)
			fill_page(page_at(p, i), SEED + 1, i);
		switch (round % 5) {
		case 1:
			budget("0");
			CHECK_EQ(writable(), 0);
			break;
		case 2:
			CHECK_EQ(write_bytes(cg_file(&cg_here, "cram.writable_budget"), "0", 1,
					     O_NONBLOCK), 0);
			break;
		case 3:
			/* Seconds: so not each time. */
			if (round % 25 == 3)
				CHECK(WAIT_FOR(SETTLES, (drain_lru(), writable() == 0)));
			break;
		case 4:
			budget_pages(N / 4);
			/* Recycling, once a second, may have come by as well. */
			CHECK(writable() <= (int64_t)(N / 4 * PAGE), "%lld", (long long)writable());
			break;
		}
		/* memory.reclaim would take the test's own stack, too. */
		pageout(p, N);
		for (i = 0; i < N; i += 2)
			CHECK(!page_differs(page_at(p, i), SEED + 1, i), "page %d, round %u",
			      i, round);
		/* The others may have gone, or be what they were: never half of it. */
		for (i = 1; i < N; i += 2) {
			bool gone = all_zero(page_at(p, i), 1);

			CHECK(gone || !page_differs(page_at(p, i), SEED, i),
			      "page %d, round %u", i, round);
			kept += !gone;
		}
		if (round % 10 == 0)
			CHECK_EQ(run_walker(), 0);
		unmap_pages(p, N);
		CHECK(WAIT_FOR(SETTLES, (drain_lru(), writable() == 0)), "%lld in round %u",
		      (long long)writable(), round);
	}
	tap_note("%u rounds with %d pages, of %d not written %u were kept", rounds, N,
		 rounds * N / 2, kept);
	CHECK_EQ(swap_off(), 0);
}

/* --- pins and other references -------------------------------------------------- */

static char *shared_address;

static void read_only_victim(struct peer *up, void *arg)
{
	upgrade_at(shared_address, N);
	protect(shared_address, N, PROT_READ);
	tell(up, 'r');
	hear(up);
	CHECK_CONTENT(shared_address, N, SEED + 1);
	protect(shared_address, N, PROT_READ | PROT_WRITE);
	check_stays(shared_address, N, SEED + 1);
}

/* Against the protection, as debuggers do, but within the budget. */
static void force_by_proc_mem(void)
{
	char *q = map_pages(N), path[40];
	struct peer peer;
	int fd;

	fill(q, N, SEED + 1);
	shared_address = map_pages(N);
	peer = peer_start(read_only_victim, NULL);
	hear(&peer);
	trace_begin(peer.pid);
	snprintf(path, sizeof(path), "/proc/%d/mem", peer.pid);
	fd = open(path, O_RDWR);
	CHECK(fd >= 0, "%m");
	CHECK_EQ(pwrite(fd, q, N * PAGE, (uintptr_t)shared_address), N * PAGE);
	close(fd);
	trace_end(peer.pid);
	CHECK_EQ(count_resident_of(peer.pid, shared_address, N), N);
	tell(&peer, 'g');
	CHECK_EQ(peer_end(&peer), 0);
}

static void poked_victim(struct peer *up, void *arg)
{
	upgrade_at(shared_address, N);
	protect(shared_address, N, PROT_READ);
	tell(up, 'r');
	hear(up);
	for (int i = 0; i < N; i++)
		CHECK_EQ(*(long *)page_at(shared_address, i), 2);
	protect(shared_address, N, PROT_READ | PROT_WRITE);
	fill(shared_address, N, SEED);
	check_left(shared_address, N, SEED);
}

static void poke_all(pid_t pid, long word)
{
	for (int i = 0; i < N; i++)
		CHECK(!ptrace(PTRACE_POKEDATA, pid, page_at(shared_address, i), word), "%m");
}

/* In place within the budget, and into copies without. */
static void force_by_ptrace(void)
{
	struct peer peer;

	shared_address = map_pages(N);
	peer = peer_start(poked_victim, NULL);
	hear(&peer);
	trace_begin(peer.pid);
	poke_all(peer.pid, 1);
	CHECK_EQ(count_resident_of(peer.pid, shared_address, N), N);
	CHECK_EQ(writable(), N * PAGE);
	budget("0");
	CHECK_EQ(writable(), 0);
	poke_all(peer.pid, 2);
	CHECK_EQ(count_resident_of(peer.pid, shared_address, N), 0);
	trace_end(peer.pid);
	tell(&peer, 'g');
	CHECK_EQ(peer_end(&peer), 0);
}

static void written_victim(struct peer *up, void *arg)
{
	upgrade_at(shared_address, N);
	tell(up, 'r');
	hear(up);
	check_stays(shared_address, N, SEED + 1);
}

static void vm_write(void)
{
	struct iovec local, remote = { NULL, N * PAGE };
	char *q = map_pages(N);
	struct peer peer;

	local = (struct iovec){ q, N * PAGE };
	shared_address = remote.iov_base = map_pages(N);
	peer = peer_start(written_victim, NULL);
	hear(&peer);
	CHECK_EQ(process_vm_readv(peer.pid, &local, 1, &remote, 1, 0), N * PAGE);
	CHECK_CONTENT(q, N, SEED);
	fill(q, N, SEED + 1);
	CHECK_EQ(process_vm_writev(peer.pid, &local, 1, &remote, 1, 0), N * PAGE);
	CHECK_EQ(count_resident_of(peer.pid, shared_address, N), N);
	tell(&peer, 'g');
	CHECK_EQ(peer_end(&peer), 0);
}

static int open_disk(const char *path)
{
	int fd = open(path, O_RDWR | O_DIRECT);

	if (fd < 0)
		skip("%s (CONFIG_BLK_DEV_RAM, or of the suite's guest)", path);
	return fd;
}

/* The device reads from them and stores to them where they are. */
static void direct_io(void)
{
	int fd = open_disk("/dev/ram0");
	char *p = upgraded(N), *src = map_pages(N);

	CHECK_EQ(pwrite(fd, p, N * PAGE, 0), N * PAGE);
	check_in_place(p, N);
	fill(src, N, SEED + 1);
	CHECK_EQ(pwrite(fd, src, N * PAGE, 0), N * PAGE);
	CHECK_EQ(pread(fd, p, N * PAGE, 0), N * PAGE);
	close(fd);
	unmap_pages(src, N);
	check_stays(p, N, SEED + 1);
}

static void short_pins(void)
{
	struct gup_test test = { .size = N * PAGE, .nr_pages_per_call = N };
	static const unsigned long commands[] = {
		PIN_BASIC_TEST, PIN_FAST_BENCHMARK, GUP_BASIC_TEST,
	};
	int fd = gup_test();
	char *p = upgraded(N);
	size_t i;

	/* For reading, too: nothing is copied, the pin sees what is stored. */
	for (i = 0; i < ARRAY_SIZE(commands); i++) {
		test.addr = (uintptr_t)p;
		test.size = N * PAGE;
		CHECK(!ioctl(fd, commands[i], &test), "%m");
		check_in_place(p, N);
	}
	check_stays(p, N, SEED);
	close(fd);
}

/* Who wants a page for long gets it in ordinary memory, whatever the budget. */
static void pin_longterm(unsigned int flags)
{
	int fd = gup_test();
	char *p = upgraded(N), *q = map_pages(N);
	struct pin_longterm_test test = { (uintptr_t)p, N * PAGE, flags };
	uint64_t buffer = (uintptr_t)q;

	CHECK(!ioctl(fd, PIN_LONGTERM_TEST_START, &test), "%m");
	CHECK_EQ(count_resident(p, N), 0);
	CHECK_EQ(writable(), 0);
	check_books(0);
	fill(p, N, SEED + 1);
	CHECK(!ioctl(fd, PIN_LONGTERM_TEST_READ, &buffer), "%m");
	CHECK_CONTENT(q, N, SEED + 1);
	CHECK(!ioctl(fd, PIN_LONGTERM_TEST_STOP), "%m");
	close(fd);
	check_left(p, N, SEED + 1);
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

static void fixed_buffers(void)
{
	struct ring ring = ring_make();
	char *p = upgraded(N);
	struct iovec iov = { p, N * PAGE };
	int fd = memfd_create("data", 0);

	CHECK(!syscall(SYS_io_uring_register, ring.fd, IORING_REGISTER_BUFFERS, &iov, 1), "%m");
	/* A pin for long: they leave first, and cannot come back meanwhile. */
	CHECK_EQ(count_resident(p, N), 0);
	CHECK_EQ(writable(), 0);
	CHECK_EQ(write(fd, p, N * PAGE), N * PAGE);
	fill(p, N, SEED + 1);
	CHECK_EQ(ring_do(&ring, IORING_OP_READ_FIXED, fd, p, N * PAGE), N * PAGE);
	CHECK_CONTENT(p, N, SEED);
	budget("0");
	CHECK(!syscall(SYS_io_uring_register, ring.fd, IORING_UNREGISTER_BUFFERS, NULL, 0), "%m");
	close(ring.fd);
	check_left(p, N, SEED);
}

static void pinned_for_writing(void)
{
	char *p = upgraded(N);
	struct stall stall = stall_begin(p, true);

	check_in_place(p, N);
	check_held(PINNED);
	/* A fault does not copy what is pinned, budget or not. */
	rewrite_all(p, PINNED);
	CHECK_EQ(count_resident(p, N), N);
	stall_end(&stall, SEED);
	CHECK(WAIT_FOR(SETTLES, writable() == 0));
	check_taken_back(p, N, SEED);
}

/* Pinned for reading they stay upgraded as well: the pin is to see each store. */
static void pinned_for_reading(void)
{
	char *p = upgraded(N);
	struct stall stall = stall_begin(p, false);

	check_held(PINNED);
	fill(p, PINNED, SEED + 1);
	CHECK_EQ(count_resident(p, N), N);
	stall_end(&stall, SEED);
	CHECK_CONTENT(stall.near, PINNED, SEED + 1);
	fill(p, PINNED, SEED);
	CHECK(WAIT_FOR(SETTLES, writable() == 0));
	check_taken_back(p, N, SEED);
}

static void child_reads(struct peer *up, void *p)
{
	hear(up);
	CHECK_CONTENT(p, N, SEED);
	CHECK_EQ(count_resident(p, PINNED), 0);
	CHECK_EQ(count_resident(p, N), N - PINNED);
}

/* fork() copies for the child what is pinned: the parent goes on with the pin. */
static void pinned_and_forked(void)
{
	char *p = upgraded(N);
	struct stall stall = stall_begin(p, true);
	struct peer child = peer_start(child_reads, p);

	CHECK_EQ(run_walker(), 0);
	fill(p, PINNED, SEED + 2);
	CHECK_EQ(count_resident(p, N), N);
	check_held(PINNED);
	stall_end(&stall, SEED);
	tell(&child, 'g');
	CHECK_EQ(peer_end(&child), 0);
	CHECK(WAIT_FOR(SETTLES, writable() == 0));
	check_taken_back(p, N, SEED);
}

/* It ends with a pin: what nobody maps any more is charged until it is let go. */
static void pinned_and_unmapped(void)
{
	char *p = upgraded(N);
	struct stall stall = stall_begin(p, true);

	unmap_pages(p, N);
	CHECK_EQ(run_walker(), 0);
	check_held(PINNED);
	CHECK_EQ(cg_number(&cg_here, "cram.current"), PINNED * PAGE);
	stall_end(&stall, SEED);
	CHECK(WAIT_FOR(SETTLES, writable() == 0));
	check_books(0);
}

static void pinned_and_moved(void)
{
	char *p = upgraded(N), *q = map_pages(N);
	struct stall stall = stall_begin(p, true);

	q = mremap(p, N * PAGE, N * PAGE, MREMAP_MAYMOVE | MREMAP_FIXED, q);
	CHECK(q != MAP_FAILED, "%m");
	check_in_place(q, N);
	check_held(PINNED);
	stall_end(&stall, SEED);
	CHECK(WAIT_FOR(SETTLES, writable() == 0));
	check_taken_back(q, N, SEED);
}

/* A device of the suite that answers after a second, with zeroes. */
static struct {
	int fd;
	char *p;
} transfer;

static void *read_directly(void *arg)
{
	CHECK_EQ(pread(transfer.fd, transfer.p, PAGE, 0), PAGE);
	return NULL;
}

static int slow_disk(void)
{
	const char *path = getenv("SLOW_DISK");

	if (!path)
		skip("no SLOW_DISK, a block device that takes a second");
	return open_disk(path);
}

/* The transfer under way is waited for; its stores are within the charge. */
static void direct_io_in_flight(void)
{
	pthread_t thread;
	char *p;

	transfer.fd = slow_disk();
	p = upgraded(N);
	transfer.p = p;
	CHECK(!pthread_create(&thread, NULL, read_directly, NULL));
	nap_ms(200);
	CHECK_EQ(write_bytes(cg_file(&cg_here, "cram.writable_budget"), "0", 1, O_NONBLOCK), 0);
	CHECK(WAIT_FOR(SETTLES, writable() <= (int64_t)PAGE));
	CHECK_EQ(writable(), PAGE);
	budget("0");
	CHECK_EQ(writable(), 0);
	pthread_join(thread, NULL);
	close(transfer.fd);
	CHECK(all_zero(p, 1));
	fill_page(p, SEED, 0);
	check_taken_back(p, N, SEED);
}

/* --- other movers --------------------------------------------------------------- */

static void move_pages_off(void)
{
	int node[N] = {}, status[N];
	char *p = upgraded(N);
	void *addr[N];
	size_t i;

	for (i = 0; i < N; i++)
		addr[i] = page_at(p, i);
	CHECK_EQ(syscall(SYS_move_pages, 0, (long)N, addr, node, status, MPOL_MF_MOVE), 0);
	CHECK_EQ(stat_of("promote_forced"), N);
	check_left(p, N, SEED);
}

static void migrate_pages_off(void)
{
	unsigned long from = 1UL << cram_node(), to = 1;
	char *p = upgraded(N);

	CHECK_EQ(syscall(SYS_migrate_pages, 0, 64UL, &from, &to), 0);
	CHECK_EQ(stat_of("promote_forced"), N);
	check_left(p, N, SEED);
}

/* What somebody has pinned stays, whoever wants it moved. */
static void migrate_pages_pinned(void)
{
	unsigned long from = 1UL << cram_node(), to = 1;
	char *p = upgraded(N);
	struct stall stall = stall_begin(p, true);

	CHECK(syscall(SYS_migrate_pages, 0, 64UL, &from, &to) >= 0);
	CHECK_EQ(count_resident(p, N), PINNED);
	CHECK_EQ(count_resident(p, PINNED), PINNED);
	check_held(PINNED);
	stall_end(&stall, SEED);
	CHECK(WAIT_FOR(SETTLES, writable() == 0));
	check_taken_back(p, N, SEED);
}

static void bind_elsewhere(void)
{
	unsigned long nodes = 1;
	char *p = upgraded(N);

	CHECK(!syscall(SYS_mbind, p, N * PAGE, MPOL_BIND, &nodes, 64UL, MPOL_MF_MOVE), "%m");
	tap_note("%zu of %d stay", count_resident(p, N), N);
	CHECK_EQ(writable(), count_resident(p, N) * PAGE);
	check_taken_back(p, N, SEED);
}

static bool two_ordinary_nodes(void)
{
	return exists("/sys/devices/system/node/node1/meminfo") && cram_node() > 1;
}

/* A cpuset moves what is on its old nodes; a cram node is in no cpuset. */
static void cpuset_mems(void)
{
	struct cg top = { CGROOT }, parent = cg_here;
	char *p;

	*strrchr(parent.path, '/') = '\0';
	if (!two_ordinary_nodes())
		skip("one ordinary node only (NODES=2)");
	if (cg_write(&top, "cgroup.subtree_control", "+cpuset") ||
	    cg_write(&parent, "cgroup.subtree_control", "+cpuset"))
		skip("no cpuset controller");
	CHECK_EQ(cg_write(&cg_here, "cpuset.mems", "0"), 0);
	p = upgraded(N);
	CHECK_EQ(cg_write(&cg_here, "cpuset.mems", "1"), 0);
	check_in_place(p, N);
	CHECK_EQ(cg_write(&cg_here, "cpuset.mems", "\n"), 0);
	check_stays(p, N, SEED);
	CHECK_EQ(cg_write(&parent, "cgroup.subtree_control", "-cpuset"), 0);
}

static void block_offline(void)
{
	char *p = upgraded(N);
	uint64_t pfn = pfn_of(p);
	int err = block_to(pfn, "offline");

	CHECK(!err || err == -EBUSY);
	CHECK_CONTENT(p, N, SEED);
	CHECK_EQ(is_resident(p), !!err);
	check_books(count_resident(p, N));
	rewrite_all(p, N);
	CHECK_EQ(writable(), count_resident(p, N) * PAGE);
	if (!err)
		CHECK_EQ(block_to(pfn, "online_movable"), 0);
	check_taken_back(p, N, SEED);
}

static void evicted(void)
{
	char *p;

	if (!swap_on(64))
		skip("no zram for swap");
	p = upgraded(N);
	CHECK_EQ(cg_write(&cg_here, "cram.max", "0"), 0);
	CHECK_EQ(cg_number(&cg_here, "cram.current"), 0);
	check_left(p, N, SEED);
	CHECK_EQ(swap_off(), 0);
}

static void soft_offline(void)
{
	char *p = upgraded(N);
	uint64_t pfn = pfn_of(p);

	if (madvise(p, PAGE, MADV_SOFT_OFFLINE))
		skip("no MADV_SOFT_OFFLINE here (%s)", strerrorname_np(errno));
	CHECK_EQ(is_resident(p), 0);
	CHECK_EQ(stat_of("promote_forced"), 1);
	put_back_in_service(pfn);
	check_in_place(page_at(p, 1), N - 1);
	check_taken_back(p, N, SEED);
}

/* A page that breaks is nobody's any more: neither resident nor writable. */
static void poisoned(void)
{
	char *p = upgraded(N);
	uint64_t pfn = pfn_of(p);

	poison_page(p);
	CHECK(WAIT_FOR(SETTLES, cg_key(&cg_here, "cram.events", "poison") == 1));
	check_in_place(page_at(p, 1), N - 1);
	budget("0");
	CHECK_EQ(writable(), 0);
	CHECK(!madvise(p, PAGE, MADV_DONTNEED), "%m");
	put_back_in_service(pfn);
	fill_page(p, SEED, 0);
	check_taken_back(p, N, SEED);
}

/* --- cgroups -------------------------------------------------------------------- */

static struct cg child_cg(const char *name)
{
	struct cg child = cg_make(cg_here.path, "%s", name);

	return child;
}

/* Two children with controllers, this process in the first. */
static void two_children(struct cg *a, struct cg *b)
{
	*a = child_cg("a");
	*b = child_cg("b");
	CHECK_EQ(cg_enter(a, getpid()), 0);
	CHECK_EQ(cg_write(&cg_here, "cgroup.subtree_control", "+memory +cram"), 0);
}

/* The task goes, its pages stay where they are charged: so does what they may. */
static void task_moves(void)
{
	struct cg a, b;
	char *p;

	two_children(&a, &b);
	p = upgraded(N);
	CHECK_EQ(cg_enter(&b, getpid()), 0);
	CHECK_EQ(cg_write(&b, "cram.writable_budget", "0"), 0);
	check_in_place(p, N);
	CHECK_EQ(cg_number(&a, "cram.writable_current"), N * PAGE);
	CHECK_EQ(cg_number(&b, "cram.writable_current"), 0);
	/* Its own budget is not asked, its owner's is. */
	CHECK_EQ(cg_write(&a, "cram.writable_budget", "0"), 0);
	CHECK_EQ(cg_number(&a, "cram.writable_current"), 0);
	CHECK_EQ(cg_write(&b, "cram.writable_budget", "max"), 0);
	CHECK_EQ(run_walker(), 0);
	rewrite_all(p, N / 2);
	CHECK_EQ(count_resident(p, N), N / 2);
	CHECK_EQ(cg_number(&b, "cram.writable_current"), 0);
	check_taken_back(p, N, SEED);
}

static void owner_is_removed(void)
{
	struct cg a, b;
	char *p;

	two_children(&a, &b);
	p = upgraded(N);
	CHECK_EQ(cg_write(&a, "cram.writable_budget", "max"), 0);
	CHECK_EQ(cg_enter(&b, getpid()), 0);
	CHECK_EQ(cg_remove(&a), 0);
	check_stays(p, N, SEED);
}

/* The books go up when the controller goes, also those of what is writable. */
static void controller_goes(void)
{
	struct cg a, b;
	char *p;

	two_children(&a, &b);
	p = upgraded(N);
	CHECK_EQ(cg_number(&a, "cram.writable_current"), N * PAGE);
	CHECK_EQ(cg_write(&cg_here, "cgroup.subtree_control", "-cram"), 0);
	CHECK(!exists(cg_file(&a, "cram.current")));
	check_in_place(p, N);
	CHECK_EQ(cg_write(&cg_here, "cgroup.subtree_control", "+cram"), 0);
	CHECK_EQ(cg_number(&a, "cram.writable_current"), 0);
	check_stays(p, N, SEED);
}

static void frozen_victim(struct peer *up, void *arg)
{
	struct cg *a = arg;

	CHECK_EQ(cg_enter(a, getpid()), 0);
	upgrade_at(shared_address, N);
	tell(up, 'r');
	for (;;)
		rewrite_all(shared_address, N);
}

/* Who does not run cannot be in the way. */
static void frozen(void)
{
	struct cg a = child_cg("a");
	struct peer peer;
	int round;

	shared_address = map_pages(N);
	peer = peer_start(frozen_victim, &a);
	hear(&peer);
	for (round = 0; round < 3; round++) {
		CHECK_EQ(cg_write(&a, "cgroup.freeze", "1"), 0);
		CHECK(WAIT_FOR(SETTLES, cg_key(&a, "cgroup.events", "frozen") == 1));
		budget("0");
		CHECK_EQ(writable(), 0);
		CHECK_EQ(count_resident_of(peer.pid, shared_address, N), round ? N / 2 : N);
		CHECK_EQ(run_walker(), 0);
		/* Half of it may be written next time. */
		budget_pages(N / 2);
		CHECK_EQ(cg_write(&a, "cgroup.freeze", "0"), 0);
		CHECK(WAIT_FOR(SETTLES, writable() == N / 2 * (int64_t)PAGE));
		CHECK(WAIT_FOR(SETTLES, count_resident_of(peer.pid, shared_address, N) == N / 2));
	}
	kill(peer.pid, SIGKILL);
	CHECK_EQ(waitpid(peer.pid, NULL, 0), peer.pid);
	CHECK(WAIT_FOR(SETTLES, writable() == 0));
}

static void killed(void)
{
	upgraded(N);
	fflush(stdout);
	kill(getpid(), SIGKILL);
}

static void exec(void)
{
	upgraded(N);
	execl("/proc/self/exe", "cram_upgraded", "--exec", NULL);
	CHECK(0, "%m");
}

/* --- everything in motion ------------------------------------------------------- */

/*
 * Threads count in words of their own, one in each page, while one demotes what
 * they write and changes the budget between everything and nothing, and one
 * takes the pages along some road, again and again. No count may be lost.
 */
#define MOVED	128
#define COUNTERS 2

/* Words of a page: counters, then one each for who else stores */
#define WORD_CHILD	8
#define WORD_REMOTE	16
/* The last sector of each page is for direct I/O. */
#define SECTOR		512

static struct {
	char *home;		/* where the pages are, unless on the way */
	char budget[300];	/* path of the file: cg_file() is for one thread */
	bool stop;
	void (*road)(void);
	unsigned int rounds;
	/* Threads that do something else meanwhile, usually counting */
	void *(*helper)(void *number);
	size_t helpers;
} motion;

static bool moving(void)
{
	return !__atomic_load_n(&motion.stop, __ATOMIC_RELAXED);
}

static volatile uint64_t *word_of(size_t page, size_t word)
{
	return (volatile uint64_t *)page_at(motion.home, page) + word;
}

/* While pages are protected or elsewhere: the store is tried again. */
static void try_again(int sig)
{
	sched_yield();
}

static void *counter(void *arg)
{
	size_t which = (size_t)arg, x = which + 1, i;
	uint64_t *mine = calloc(MOVED, sizeof(*mine));

	/* Of this thread: the others are to get round more often. */
	setpriority(PRIO_PROCESS, 0, 10);
	while (moving()) {
		x = x * 6364136223846793005ULL + 1442695040888963407ULL;
		i = (x >> 33) % MOVED;
		CHECK_EQ(*word_of(i, which), mine[i]);
		*word_of(i, which) = ++mine[i];
	}
	for (i = 0; i < MOVED; i++)
		CHECK_EQ(*word_of(i, which), mine[i]);
	free(mine);
	return NULL;
}

static void set_budget(const char *text)
{
	CHECK_EQ(write_bytes(motion.budget, text, strlen(text), O_NONBLOCK), 0);
}

/* ENOMEM: not where they were. */
static void *disturber(void *arg)
{
	unsigned int round;

	for (round = 0; moving(); round++) {
		madvise(motion.home, MOVED * PAGE, MADV_PAGEOUT);
		if (round % 3 == 0)
			set_budget("max");
		nap_ms(2);
		if (round % 3 == 2)
			set_budget("0");
	}
	return NULL;
}

static void *traveller(void *arg)
{
	while (moving()) {
		motion.road();
		motion.rounds++;
	}
	return NULL;
}

/* Far from where mmap(2) puts what threads need meanwhile. */
#define HOME	((char *)0x200000000000)
#define AWAY	((char *)0x300000000000)

static void in_motion(void (*road)(void))
{
	struct sigaction act = { .sa_handler = try_again, .sa_flags = SA_RESTART };
	pthread_t thread[COUNTERS + 2];
	const int64_t wanted = scaled(40);
	double end = now() + SETTLES * scale();
	cpu_set_t all;
	size_t i;

	memset(&all, 0xff, sizeof(all));
	sched_setaffinity(0, sizeof(all), &all);
	sigaction(SIGSEGV, &act, NULL);
	CHECK(mmap(HOME, MOVED * PAGE, PROT_READ | PROT_WRITE,
		   MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0) == HOME);
	motion.home = HOME;
	motion.road = road;
	strcpy(motion.budget, cg_file(&cg_here, "cram.writable_budget"));
	if (!motion.helper) {
		motion.helper = counter;
		motion.helpers = COUNTERS;
	}
	for (i = 0; i < motion.helpers; i++)
		CHECK(!pthread_create(&thread[i], NULL, motion.helper, (void *)i));
	CHECK(!pthread_create(&thread[i++], NULL, disturber, NULL));
	CHECK(!pthread_create(&thread[i++], NULL, traveller, NULL));
	/* Until all has happened often enough, on a slow machine and on a fast one. */
	while ((stat_of("upgrade") < wanted || stat_of("revoke") < wanted ||
		__atomic_load_n(&motion.rounds, __ATOMIC_RELAXED) < 10) && now() < end)
		nap_ms(20);
	__atomic_store_n(&motion.stop, true, __ATOMIC_RELAXED);
	for (i = 0; i < motion.helpers + 2; i++)
		pthread_join(thread[i], NULL);
	CHECK_EQ(run_walker(), 0);
	budget("0");
	CHECK_EQ(writable(), 0);
	CHECK_EQ(run_walker(), 0);
	for (i = 0; i < MOVED; i++)
		CHECK_EQ(*word_of(i, WORD_CHILD), 0);
	tap_note("%u rounds, %lld demotions, %lld upgrades, %lld revoked, %lld promoted",
		 motion.rounds, (long long)stat_of("demote"), (long long)stat_of("upgrade"),
		 (long long)stat_of("revoke"), (long long)stat_of("promote_write"));
	CHECK(motion.rounds >= 10);
	CHECK(stat_of("upgrade") >= wanted && stat_of("revoke") >= wanted);
	signal(SIGSEGV, SIG_DFL);
	unmap_pages(HOME, MOVED);
}

/* Children store, too: nobody may see it. */
static void road_fork(void)
{
	pid_t pid = fork();
	int status;

	if (!pid) {
		for (size_t i = 0; i < MOVED; i++)
			*word_of(i, WORD_CHILD) = ~0ULL;
		_exit(0);
	}
	CHECK_EQ(waitpid(pid, &status, 0), pid);
	CHECK_EQ(status, 0);
	nap_ms(5);
}

static void motion_fork(void)
{
	in_motion(road_fork);
}

static void road_mprotect(void)
{
	static const int kinds[] = { PROT_READ, PROT_NONE, PROT_READ | PROT_WRITE | PROT_EXEC };
	size_t i;

	for (i = 0; i < ARRAY_SIZE(kinds); i++) {
		/* Of part of it: mappings are split, and merged again. */
		protect(motion.home + i * PAGE, MOVED / 2, kinds[i]);
		protect(motion.home, MOVED, PROT_READ | PROT_WRITE);
	}
	nap_ms(1);
}

static void motion_mprotect(void)
{
	in_motion(road_mprotect);
}

static void road_mremap(void)
{
	CHECK(mremap(HOME, MOVED * PAGE, MOVED * PAGE, MREMAP_MAYMOVE | MREMAP_FIXED, AWAY) ==
	      AWAY, "%m");
	madvise(AWAY, MOVED * PAGE, MADV_PAGEOUT);
	CHECK(mremap(AWAY, MOVED * PAGE, MOVED * PAGE, MREMAP_MAYMOVE | MREMAP_FIXED, HOME) ==
	      HOME, "%m");
	nap_ms(1);
}

static void motion_mremap(void)
{
	in_motion(road_mremap);
}

/* Pins, stores through the kernel's mapping; what it stored is there at once. */
static void road_vm_write(void)
{
	static uint64_t count, sent[MOVED];
	struct iovec local = { sent, sizeof(sent) }, remote[MOVED];
	size_t i;

	count++;
	for (i = 0; i < MOVED; i++) {
		sent[i] = count;
		remote[i] = (struct iovec){ (void *)word_of(i, WORD_REMOTE), sizeof(sent[0]) };
	}
	CHECK_EQ(process_vm_writev(getpid(), &local, 1, remote, MOVED, 0), sizeof(sent));
	for (i = 0; i < MOVED; i++)
		CHECK_EQ(*word_of(i, WORD_REMOTE), count);
}

static void motion_vm_write(void)
{
	in_motion(road_vm_write);
}

/* A sector of each page goes to the disk, is overwritten, and read back. */
static void road_direct_io(void)
{
	static uint64_t count;
	static int fd;
	struct iovec sector[MOVED];
	size_t i;

	if (!fd)
		fd = open_disk("/dev/ram0");
	count++;
	for (i = 0; i < MOVED; i++) {
		sector[i] = (struct iovec){ page_at(motion.home, i) + PAGE - SECTOR, SECTOR };
		*(volatile uint64_t *)sector[i].iov_base = count;
	}
	CHECK_EQ(pwritev(fd, sector, MOVED, 0), MOVED * SECTOR);
	for (i = 0; i < MOVED; i++)
		*(volatile uint64_t *)sector[i].iov_base = 0;
	CHECK_EQ(preadv(fd, sector, MOVED, 0), MOVED * SECTOR);
	for (i = 0; i < MOVED; i++)
		CHECK_EQ(*(volatile uint64_t *)sector[i].iov_base, count);
}

static void motion_direct_io(void)
{
	in_motion(road_direct_io);
}

static void road_uffd_wp_async(void)
{
	static int fd;

	if (!fd) {
		fd = userfault(FEATURE_WP_ASYNC | FEATURE_WP_UNPOPULATED);
		userfault_register(fd, motion.home, MOVED, UFFDIO_REGISTER_MODE_WP);
	}
	CHECK(!write_protect(fd, motion.home, MOVED, true), "%m");
	nap_ms(1);
	CHECK(!write_protect(fd, motion.home, MOVED / 2, false), "%m");
}

static void motion_uffd_wp_async(void)
{
	in_motion(road_uffd_wp_async);
}

static void move_all(int to)
{
	int node[MOVED], status[MOVED];
	void *addr[MOVED];
	size_t i;

	for (i = 0; i < MOVED; i++) {
		addr[i] = page_at(motion.home, i);
		node[i] = to;
	}
	CHECK(syscall(SYS_move_pages, 0, (long)MOVED, addr, node, status, MPOL_MF_MOVE) >= 0, "%m");
}

static void *mover(void *number)
{
	while (moving()) {
		move_all((size_t)number);
		nap_ms(5);
	}
	return NULL;
}

/*
 * What was written since the last scan is found by the next, and nothing else,
 * however much the pages move about between them and meanwhile, on and off the
 * node, and between ordinary ones.
 */
static void road_scan(void)
{
	static uint64_t x = 1, value[MOVED];
	static int fd;
	bool stored[MOVED], written[MOVED];
	size_t i;

	if (!fd) {
		fd = userfault(FEATURE_WP_ASYNC | FEATURE_WP_UNPOPULATED);
		userfault_register(fd, motion.home, MOVED, UFFDIO_REGISTER_MODE_WP);
		scan_written(motion.home, MOVED);
	}
	for (i = 0; i < MOVED; i++) {
		CHECK_EQ(*word_of(i, 0), value[i]);
		x = x * 6364136223846793005ULL + 1442695040888963407ULL;
		stored[i] = x >> 61 == 0;
		if (stored[i])
			*word_of(i, 0) = value[i] = x;
	}
	/* So that it meets all stages of a demotion */
	usleep(x >> 33 & 2047);
	scan_written_pages(motion.home, MOVED, written);
	for (i = 0; i < MOVED; i++)
		CHECK_EQ(written[i], stored[i]);
	/* Protected they stay, as whatever they come back */
	nap_ms(4);
	CHECK_EQ(scan_written(motion.home, MOVED), 0);
}

static void motion_scan(void)
{
	motion.helper = mover;
	motion.helpers = two_ordinary_nodes() ? 2 : 1;
	in_motion(road_scan);
}

/* Each store to a protected page waits for permission. */
static void road_uffd_wp(void)
{
	static int fd;
	struct pollfd poll_fd = { .events = POLLIN };
	struct uffd_msg msg;
	int i;

	if (!fd) {
		fd = userfault(UFFD_FEATURE_PAGEFAULT_FLAG_WP);
		userfault_register(fd, motion.home, MOVED, UFFDIO_REGISTER_MODE_WP);
		/* What it reports may be over before it is read. */
		CHECK(!fcntl(fd, F_SETFL, O_NONBLOCK), "%m");
	}
	poll_fd.fd = fd;
	CHECK(!write_protect(fd, motion.home, MOVED, true), "%m");
	for (i = 0; i < 50 && poll(&poll_fd, 1, 5) == 1; i++) {
		if (read(fd, &msg, sizeof(msg)) != sizeof(msg)) {
			CHECK_EQ(errno, EAGAIN);
			continue;
		}
		CHECK(!write_protect(fd, (void *)(msg.arg.pagefault.address / PAGE * PAGE), 1,
				     false), "%m");
	}
	CHECK(!write_protect(fd, motion.home, MOVED, false), "%m");
}

static void motion_uffd_wp(void)
{
	in_motion(road_uffd_wp);
}

static struct cg motion_cg[2];

static void road_cgroup(void)
{
	CHECK_EQ(cg_enter(&motion_cg[motion.rounds % 2], getpid()), 0);
	nap_ms(2);
}

static void motion_cgroup(void)
{
	two_children(&motion_cg[0], &motion_cg[1]);
	in_motion(road_cgroup);
}

static void road_lazyfree(void)
{
	static char *p;
	size_t i;

	if (!p)
		p = map_pages(MOVED);
	for (i = 0; i < MOVED; i++)
		*(volatile uint64_t *)page_at(p, i) = 1;
	madvise(p, MOVED * PAGE, MADV_PAGEOUT);
	for (i = 0; i < MOVED; i++)
		*(volatile uint64_t *)page_at(p, i) = 2;
	CHECK(!madvise(p, MOVED * PAGE, MADV_FREE), "%m");
	for (i = 0; i < MOVED; i += 2)
		*(volatile uint64_t *)page_at(p, i) = 3;
	madvise(p, MOVED * PAGE, MADV_PAGEOUT);
	for (i = 0; i < MOVED; i++) {
		uint64_t v = *(volatile uint64_t *)page_at(p, i);

		CHECK(v == (i % 2 ? 2 : 3) || (i % 2 && !v), "page %zu: %llu", i,
		      (unsigned long long)v);
	}
}

static void motion_lazyfree(void)
{
	in_motion(road_lazyfree);
}

static void road_move_pages(void)
{
	move_all(0);
	nap_ms(3);
}

static void motion_move_pages(void)
{
	in_motion(road_move_pages);
}

/* --- a budget is lowered in the midst of it all ----------------------------------- */

#define NTHREADS 4

static void *write_on(void *arg)
{
	volatile uint64_t *from = arg;
	uint64_t rounds = 0;
	size_t i, words = 16 * MIB / 64;

	while (moving()) {
		for (i = 0; i < words; i++)
			from[i * 8]++;
		rounds++;
	}
	for (i = 0; i < words; i++)
		CHECK_EQ(from[i * 8], rounds);
	return NULL;
}

/*
 * 16 MiB writable, four threads that write to it, a page into which a disk is
 * writing, and one that a ring has for long: that one has left the node when it
 * was registered. The write of the budget comes back, when the disk is through,
 * and nothing is stored to the node after it has.
 */
static void lowered_in_the_midst(void)
{
	size_t pages = 16 * MIB / PAGE;
	char *p = map_pages(pages + 2), *disk_page = p + pages * PAGE, *ring_page = disk_page + PAGE;
	struct ring ring = ring_make();
	struct iovec iov = { ring_page, PAGE };
	pthread_t thread[NTHREADS + 1];
	int64_t stores = unannounced_stores(), before;
	cpu_set_t all;
	double start;
	size_t i;

	transfer.fd = slow_disk();
	transfer.p = disk_page;
	memset(p, 0, (pages + 2) * PAGE);
	budget("max");
	demote(p, pages + 2);
	/* Not before: pages would wait in the LRU batch of the CPU that was left. */
	memset(&all, 0xff, sizeof(all));
	sched_setaffinity(0, sizeof(all), &all);
	rewrite_all(p, pages + 2);
	for (i = 0; i < NTHREADS; i++)
		CHECK(!pthread_create(&thread[i], NULL, write_on, (uint64_t *)p + i));
	CHECK(!syscall(SYS_io_uring_register, ring.fd, IORING_REGISTER_BUFFERS, &iov, 1), "%m");
	CHECK_EQ(is_resident(ring_page), 0);
	rewrite(disk_page);
	CHECK_EQ(is_resident(disk_page), 1);
	CHECK(!pthread_create(&thread[NTHREADS], NULL, read_directly, NULL));
	nap_ms(200);
	before = writable();
	CHECK(before > (int64_t)(pages * PAGE / 2));
	start = now();
	budget("0");
	CHECK_EQ(writable(), 0);
	CHECK_EQ(node_number("writable_bytes"), 0);
	tap_note("%lld KiB taken back within %.2f s", (long long)before / 1024, now() - start);
	CHECK(now() - start < SETTLES);
	CHECK(is_resident(disk_page));
	/* Whoever still stored would be found: by the patrol, and by the walker. */
	nap_ms(300);
	CHECK_EQ(writable(), 0);
	CHECK_EQ(unannounced_stores(), stores);
	__atomic_store_n(&motion.stop, true, __ATOMIC_RELAXED);
	for (i = 0; i < ARRAY_SIZE(thread); i++)
		CHECK(!pthread_join(thread[i], NULL));
	CHECK_EQ(run_walker(), 0);
	CHECK_EQ(unannounced_stores(), stores);
	close(ring.fd);
	close(transfer.fd);
	unmap_pages(p, pages + 2);
}

/*
 * The worker takes back, and somebody who waits for that: who finds nothing left
 * to do must not be told of success before the other has done its books.
 */
static void lowered_by_two(void)
{
	char *p = upgraded(N);
	unsigned int round;
	cpu_set_t all;

	memset(&all, 0xff, sizeof(all));
	sched_setaffinity(0, sizeof(all), &all);
	for (round = 0; round < scaled(40); round++) {
		budget("max");
		rewrite_all(p, N);
		CHECK_EQ(writable(), N * PAGE);
		CHECK_EQ(write_bytes(cg_file(&cg_here, "cram.writable_budget"), "0", 1,
				     O_NONBLOCK), 0);
		budget("0");
		CHECK_EQ(writable(), 0);
		CHECK_EQ(node_number("writable_bytes"), 0);
	}
	check_taken_back(p, N, SEED);
}

static const struct scenario roads[] = {
	{ "fork, the child writes first", fork_child_first },
	{ "fork, the parent writes first", fork_parent_first },
	{ "fork, then revoked", fork_revoked },
	{ "fork, then recycled", fork_recycled },
	{ "KSM leaves them alone", ksm },
	{ "MADV_COLLAPSE is refused", collapse },
	{ "khugepaged leaves them alone", khugepaged, S_GLOBAL },
	{ "soft-dirty tracking", soft_dirty_tracking },
	{ "a breakpoint is taken away", breakpoint_page },
	{ "userfaultfd, a missing neighbour", uffd_missing },
	{ "userfaultfd, minor faults", uffd_minor_is_refused },
	{ "userfaultfd write protection", uffd_wp },
	{ "userfaultfd write protection, revoked", uffd_wp_revoked },
	{ "userfaultfd write protection taken back", uffd_wp_resolve },
	{ "userfaultfd write protection, asynchronous", uffd_wp_async },
	{ "PAGEMAP_SCAN with write protection", pagemap_scan },
	{ "UFFDIO_MOVE", uffd_move },
	{ "mprotect read-only and back", mprotect_read },
	{ "mprotect none and back", mprotect_none },
	{ "mprotect read-only, revoked, and back", mprotect_read_revoked },
	{ "mprotect none, revoked, and back", mprotect_none_revoked },
	{ "mprotect over upgraded, read-only and other pages", mprotect_mixed },
	{ "mremap", remap },
	{ "mremap, MREMAP_DONTUNMAP", remap_dontunmap },
	{ "mlock", mlock_upgraded },
	{ "MADV_DONTNEED", dontneed },
	{ "MADV_COLD", cold },
	{ "MADV_PAGEOUT", pageout_upgraded },
	{ "eviction to swap", evicted_to_swap },
	{ "swapoff with upgraded and swapped pages", swapoff_mixed },
	{ "forced writing by /proc/pid/mem", force_by_proc_mem },
	{ "forced writing by ptrace", force_by_ptrace },
	{ "process_vm_readv and _writev", vm_write },
	{ "direct I/O", direct_io },
	{ "short pins and references", short_pins },
	{ "long-term pin, read-only", pin_longterm_ro },
	{ "long-term pin, read-only, fast", pin_longterm_ro_fast },
	{ "long-term pin, writing", pin_longterm_rw },
	{ "long-term pin, writing, fast", pin_longterm_rw_fast },
	{ "io_uring fixed buffers", fixed_buffers },
	{ "pinned for writing, revoked", pinned_for_writing },
	{ "pinned for reading, revoked", pinned_for_reading },
	{ "pinned, fork", pinned_and_forked },
	{ "pinned, munmap", pinned_and_unmapped },
	{ "pinned, mremap", pinned_and_moved },
	{ "pinned, migrate_pages", migrate_pages_pinned },
	{ "direct I/O under way, revoked", direct_io_in_flight },
	{ "move_pages off the node", move_pages_off },
	{ "migrate_pages off the node", migrate_pages_off },
	{ "mbind to another node", bind_elsewhere },
	{ "cpuset.mems changes", cpuset_mems },
	{ "memory block offline", block_offline },
	{ "evicted by cram.max", evicted },
	{ "the task moves to another cgroup", task_moves },
	{ "the owner's cgroup is removed", owner_is_removed },
	{ "the controller is taken from the owner", controller_goes },
	{ "revoked from frozen tasks", frozen },
	{ "killed", killed, S_KILLED },
	{ "exec", exec },
	{ "MADV_SOFT_OFFLINE", soft_offline },
	{ "MADV_HWPOISON", poisoned },
};

static const struct scenario motions[] = {
	{ "in motion: fork", motion_fork },
	{ "in motion: mprotect", motion_mprotect },
	{ "in motion: mremap", motion_mremap },
	{ "in motion: process_vm_writev", motion_vm_write },
	{ "in motion: direct I/O", motion_direct_io },
	{ "in motion: userfaultfd write protection", motion_uffd_wp },
	{ "in motion: asynchronous write protection", motion_uffd_wp_async },
	{ "in motion: PAGEMAP_SCAN", motion_scan },
	{ "in motion: tasks change cgroups", motion_cgroup },
	{ "in motion: MADV_FREE", motion_lazyfree },
	{ "in motion: move_pages", motion_move_pages },
	{ "lazily freed, written, revoked, reclaimed: MADV_FREE", lazyfree_rounds },
	{ "a budget lowered by two at the same time", lowered_by_two },
	{ "a budget lowered in the midst of it all", lowered_in_the_midst },
};

static const struct scenario slow_road = {
	"in the swap cache on the node", swap_cache_on_node,
};

int main(int argc, char **argv)
{
	if (argc > 1 && !strcmp(argv[1], "--exec"))
		return 0;
	setup();
	slow_swap_take();
	swap_off();
	if (*slow_swap)
		run_scenario(&slow_road, "", 120);
	/* These do not depend on how pages are aged. */
	for (size_t i = 0; i < ARRAY_SIZE(roads); i++) {
		run_scenario(&roads[i], "", 60);
		swap_off();
	}
	run_scenarios(motions, ARRAY_SIZE(motions), "", 120 * scale());
	tap_ok(WAIT_FOR(SETTLES, node_number("writable_bytes") == 0), "nothing is left writable");
	check_device();
	teardown();
	return tap_end();
}
