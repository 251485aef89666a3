/* SPDX-License-Identifier: GPL-2.0 */
/*
 * What the tests of single pages share, upgraded or not: budgets, pins,
 * userfaultfd, io_uring, KSM. Beside util.h, for who takes a page along all the
 * roads of Documentation/mm/cram.rst.
 */
#ifndef CRAM_TEST_ROADS_H
#define CRAM_TEST_ROADS_H

#include "util.h"

#include <linux/io_uring.h>
#include <linux/userfaultfd.h>
#include <poll.h>
#include <pthread.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/uio.h>

/* --- what newer headers than the distribution's have -------------------------- */

#ifndef MADV_COLLAPSE
#define MADV_COLLAPSE 25
#endif
#ifndef MREMAP_DONTUNMAP
#define MREMAP_DONTUNMAP 4
#endif
#define FEATURE_WP_UNPOPULATED	(1 << 13)
#define FEATURE_WP_ASYNC	(1 << 15)
#define FEATURE_MOVE		(1 << 16)
struct move {
	uint64_t dst, src, len, mode;
	int64_t moved;
};
#define IOCTL_MOVE _IOWR(UFFDIO, 0x05, struct move)
#ifndef MADV_SOFT_OFFLINE
#define MADV_SOFT_OFFLINE 101
#endif
#define SCAN_WP_MATCHING	(1 << 0)
#define SCAN_CHECK_WPASYNC	(1 << 1)
#define IS_WRITTEN		(1 << 1)
struct page_run {
	uint64_t start, end, categories;
};
struct scan {
	uint64_t size, flags, start, end, walk_end, vec, vec_len, max_pages;
	uint64_t category_inverted, category_mask, category_anyof_mask, return_mask;
};
#define IOCTL_SCAN _IOWR('f', 16, struct scan)

/* --- pages ------------------------------------------------------------------- */

char *page_at(void *p, size_t i)
{
	return (char *)p + i * PAGE;
}

void pageout(void *p, size_t pages)
{
	CHECK(!madvise(p, pages * PAGE, MADV_PAGEOUT), "%m");
}

void protect(void *p, size_t pages, int prot)
{
	CHECK(!mprotect(p, pages * PAGE, prot), "%m");
}

bool all_zero(const void *p, size_t pages)
{
	const uint64_t *w = p;
	size_t i;

	for (i = 0; i < pages * PAGE / sizeof(*w); i++)
		if (w[i])
			return false;
	return true;
}

bool soft_dirty(const void *p)
{
	return pagemap(p) & PM_SOFT_DIRTY;
}

/* The memory block of a page: 0 or -errno. */
int block_to(uint64_t pfn, const char *state)
{
	char path[100], buf[64];
	uint64_t block;
	int err;

	read_text("/sys/devices/system/memory/block_size_bytes", buf, sizeof(buf));
	block = pfn / (strtoull(buf, NULL, 16) / PAGE);
	snprintf(path, sizeof(path), "/sys/devices/system/memory/memory%llu/state",
		 (unsigned long long)block);
	err = write_text(path, state);
	tap_note("memory block %llu, %s: %s", (unsigned long long)block, state,
		 err ? strerrorname_np(-err) : "done");
	return err;
}

/* What was taken from it as broken. */
void put_back_in_service(uint64_t pfn)
{
	char text[32];

	snprintf(text, sizeof(text), "%llu", (unsigned long long)pfn);
	write_text("/sys/kernel/debug/hwpoison/unpoison-pfn", text);
}

/* --- books and budgets ------------------------------------------------------- */

int64_t stat_of(const char *key)
{
	return cg_key(&cg_here, "cram.stat", key);
}

int64_t writable(void)
{
	return cg_number(&cg_here, "cram.writable_current");
}

void budget(const char *text)
{
	CHECK_EQ(cg_write(&cg_here, "cram.writable_budget", text), 0);
}

void budget_pages(size_t pages)
{
	CHECK_EQ(cg_printf(&cg_here, "cram.writable_budget", "%zu", pages * PAGE), 0);
}

void rewrite_all(char *p, size_t pages)
{
	for (size_t i = 0; i < pages; i++)
		rewrite(p + i * PAGE);
}

/* --- pins -------------------------------------------------------------------- */

#define GUP_TEST "/sys/kernel/debug/gup_test"

struct gup_test {
	uint64_t get_delta_usec, put_delta_usec, addr, size;
	uint32_t nr_pages_per_call, gup_flags, test_flags, which_pages[8];
};

struct pin_longterm_test {
	uint64_t addr, size;
	uint32_t flags;
};

#define GUP_BASIC_TEST		_IOWR('g', 4, struct gup_test)
#define PIN_FAST_BENCHMARK	_IOWR('g', 2, struct gup_test)
#define PIN_BASIC_TEST		_IOWR('g', 5, struct gup_test)
#define PIN_LONGTERM_TEST_START	_IOW('g', 7, struct pin_longterm_test)
#define PIN_LONGTERM_TEST_STOP	_IO('g', 8)
#define PIN_LONGTERM_TEST_READ	_IOW('g', 9, uint64_t)
#define PIN_WRITE		1
#define PIN_FAST		2

int gup_test(void)
{
	int fd = open(GUP_TEST, O_RDWR);

	if (fd < 0)
		skip("no " GUP_TEST " (CONFIG_GUP_TEST)");
	return fd;
}

/* --- userfaultfd ------------------------------------------------------------- */

int userfault(uint64_t features)
{
	struct uffdio_api api = { .api = UFFD_API, .features = features };
	int fd = syscall(SYS_userfaultfd, O_CLOEXEC);

	if (fd < 0)
		skip("no userfaultfd");
	if (ioctl(fd, UFFDIO_API, &api) || (api.features & features) != features)
		skip("no userfaultfd features %#llx", (unsigned long long)features);
	return fd;
}

void userfault_register(int fd, void *p, size_t pages, uint64_t mode)
{
	struct uffdio_register reg = {
		.range = { (uintptr_t)p, pages * PAGE }, .mode = mode,
	};

	CHECK(!ioctl(fd, UFFDIO_REGISTER, &reg), "%m");
}

/* To where there are no pages, all of them. */
void userfault_move(int fd, void *to, void *p, size_t pages)
{
	struct move move = { (uintptr_t)to, (uintptr_t)p, pages * PAGE };

	CHECK(!ioctl(fd, IOCTL_MOVE, &move), "%m");
	CHECK_EQ(move.moved, pages * PAGE);
}

struct uffd_msg userfault_wait(int fd)
{
	struct pollfd poll_fd = { .fd = fd, .events = POLLIN };
	struct uffd_msg msg;

	CHECK_EQ(poll(&poll_fd, 1, 10000), 1);
	CHECK_EQ(read(fd, &msg, sizeof(msg)), sizeof(msg));
	CHECK_EQ(msg.event, UFFD_EVENT_PAGEFAULT);
	return msg;
}

int write_protect(int fd, void *p, size_t pages, bool on)
{
	struct uffdio_writeprotect wp = {
		.range = { (uintptr_t)p, pages * PAGE },
		.mode = on ? UFFDIO_WRITEPROTECT_MODE_WP : 0,
	};

	return ioctl(fd, UFFDIO_WRITEPROTECT, &wp);
}

/* --- a pin that lasts -------------------------------------------------------- */

/*
 * process_vm_readv(2) and _writev(2) have pinned the other side while they wait
 * for their own, which userfaultfd does not give them yet.
 */
#define PINNED 8

struct stall {
	bool writes;
	char *far, *near;
	int fd;
	pthread_t thread;
};

void *stalled_copy(void *arg)
{
	struct stall *s = arg;
	struct iovec local = { s->near, PINNED * PAGE }, remote = { s->far, PINNED * PAGE };

	if (s->writes)
		CHECK_EQ(process_vm_writev(getpid(), &local, 1, &remote, 1, 0), PINNED * PAGE);
	else
		CHECK_EQ(process_vm_readv(getpid(), &local, 1, &remote, 1, 0), PINNED * PAGE);
	return NULL;
}

struct stall stall_begin(char *far, bool writes)
{
	static struct stall s;

	s = (struct stall){ .writes = writes, .far = far, .near = map_pages(PINNED) };
	s.fd = userfault(0);
	userfault_register(s.fd, s.near, PINNED, UFFDIO_REGISTER_MODE_MISSING);
	CHECK(!pthread_create(&s.thread, NULL, stalled_copy, &s));
	userfault_wait(s.fd);
	return s;
}

/* Gives it @seed to store, or somewhere to store to. */
void stall_end(struct stall *s, uint64_t seed)
{
	char *src = map_pages(PINNED);
	struct uffdio_copy copy = { (uintptr_t)s->near, (uintptr_t)src, PINNED * PAGE };

	fill(src, PINNED, seed);
	CHECK(!ioctl(s->fd, UFFDIO_COPY, &copy), "%m");
	pthread_join(s->thread, NULL);
	close(s->fd);
	unmap_pages(src, PINNED);
}

/* The oracle of pins: what is pinned is in ordinary memory before it is read. */
struct stall stall_off_the_node(char *far)
{
	struct stall s = stall_begin(far, false);

	CHECK_EQ(count_resident(far, PINNED), 0);
	return s;
}

/* --- a slow disk as swap ------------------------------------------------------ */

static char slow_swap[64];

/*
 * The disk that the machine has as swap, or could have (SLOW_SWAP=): not used from here
 * on but by who asks for it.
 */
void slow_swap_take(void)
{
	FILE *f = fopen("/proc/swaps", "r");
	const char *given = getenv("SLOW_SWAP");
	char line[200];

	while (f && !*slow_swap && fgets(line, sizeof(line), f))
		if (!strncmp(line, "/dev/vd", 7))
			sscanf(line, "%63s", slow_swap);
	if (f)
		fclose(f);
	if (!*slow_swap && given)
		snprintf(slow_swap, sizeof(slow_swap), "%s", given);
	else if (*slow_swap)
		CHECK(!swapoff(slow_swap), "%s: %m", slow_swap);
}

/*
 * Pages of the node: in the swap cache and in no page table, for as long as it takes
 * the disk to write them.
 */
void into_the_swap_cache(char *p, size_t pages)
{
	CHECK(!swapon(slow_swap, 0), "%s: %m", slow_swap);
	CHECK_EQ(cg_printf(&cg_here, "cram.reclaim", "%zu to=swap", pages * PAGE), 0);
	tap_note("%zu of %zu unmapped to swap, %lld bytes on the node", count_swapped(p, pages),
		 pages, (long long)cg_number(&cg_here, "cram.current"));
	CHECK_EQ(count_swapped(p, pages), pages);
	CHECK(cg_number(&cg_here, "cram.current") > 0);
}

/* New ones. */
char *in_the_swap_cache(size_t pages, uint64_t seed)
{
	char *p;

	if (!*slow_swap)
		skip("no slow disk as swap (SWAP=disk SWAP_BPS=128K)");
	p = resident_pages(pages, seed);
	into_the_swap_cache(p, pages);
	return p;
}

/* --- huge pages -------------------------------------------------------------- */

#define HUGE_SPLITS	"/sys/kernel/mm/transparent_hugepage/hugepages-2048kB/stats/cram_split"

/* The oracle of splits: so many huge pages were split since @before was read. */
void check_split(int64_t before, int64_t wanted)
{
	CHECK(read_number(HUGE_SPLITS) - before >= wanted, "%lld of %lld",
	      (long long)(read_number(HUGE_SPLITS) - before), (long long)wanted);
}

/* One page of each huge one is written: it leaves, and the others stay. */
void write_one_of_each(char *p, size_t pages, uint64_t seed)
{
	const int64_t rest = (pages - pages / HUGE) * PAGE;
	size_t i;

	for (i = 0; i < pages; i += HUGE)
		fill_page(page_at(p, i + 77), seed, i + 77);
	CHECK(WAIT_FOR(SETTLES, cg_number(&cg_here, "cram.current") == rest),
	      "%lld of %lld bytes", (long long)cg_number(&cg_here, "cram.current"), (long long)rest);
	CHECK_EQ(count_resident(p, pages) * PAGE, rest);
	CHECK_CONTENT(p, pages, seed);
	CHECK_EQ(run_walker(), 0);
}

/* --- io_uring ---------------------------------------------------------------- */

/* One operation on a ring of our own. */
struct ring {
	int fd;
	struct io_uring_params p;
	char *sq, *cq;
	struct io_uring_sqe *sqe;
};

struct ring ring_make(void)
{
	struct ring r = {};

	r.fd = syscall(SYS_io_uring_setup, 4, &r.p);
	if (r.fd < 0)
		skip("no io_uring");
	r.sq = mmap(NULL, r.p.sq_off.array + r.p.sq_entries * 4, PROT_READ | PROT_WRITE,
		    MAP_SHARED, r.fd, IORING_OFF_SQ_RING);
	r.cq = mmap(NULL, r.p.cq_off.cqes + r.p.cq_entries * sizeof(struct io_uring_cqe),
		    PROT_READ | PROT_WRITE, MAP_SHARED, r.fd, IORING_OFF_CQ_RING);
	r.sqe = mmap(NULL, r.p.sq_entries * sizeof(*r.sqe), PROT_READ | PROT_WRITE, MAP_SHARED,
		     r.fd, IORING_OFF_SQES);
	CHECK(r.sq != MAP_FAILED && r.cq != MAP_FAILED && (void *)r.sqe != MAP_FAILED, "%m");
	return r;
}

int ring_do(struct ring *r, int opcode, int fd, void *p, size_t len)
{
	uint32_t *tail = (uint32_t *)(r->sq + r->p.sq_off.tail);
	uint32_t *array = (uint32_t *)(r->sq + r->p.sq_off.array);
	uint32_t *head = (uint32_t *)(r->cq + r->p.cq_off.head);
	struct io_uring_cqe *cqe = (void *)(r->cq + r->p.cq_off.cqes);

	r->sqe[0] = (struct io_uring_sqe){
		.opcode = opcode, .fd = fd, .addr = (uintptr_t)p, .len = len,
	};
	array[*tail % r->p.sq_entries] = 0;
	__atomic_store_n(tail, *tail + 1, __ATOMIC_RELEASE);
	CHECK_EQ(syscall(SYS_io_uring_enter, r->fd, 1, 1, IORING_ENTER_GETEVENTS, NULL, 0), 1);
	cqe += __atomic_load_n(head, __ATOMIC_ACQUIRE) % r->p.cq_entries;
	__atomic_store_n(head, *head + 1, __ATOMIC_RELEASE);
	return cqe->res;
}

/* --- KSM --------------------------------------------------------------------- */

#define KSM "/sys/kernel/mm/ksm/"

void ksm_scans(int n)
{
	int64_t first = read_number(KSM "full_scans");

	write_text(KSM "sleep_millisecs", "0");
	write_text(KSM "pages_to_scan", "10000");
	CHECK_EQ(write_text(KSM "run", "1"), 0);
	CHECK(WAIT_FOR(SETTLES, read_number(KSM "full_scans") >= first + n));
	CHECK_EQ(write_text(KSM "run", "0"), 0);
}

/* All of them have the content of the first. */
void same_pages(void *p, size_t pages, uint64_t seed)
{
	size_t i;

	for (i = 0; i < pages; i++)
		fill_page(page_at(p, i), seed, 0);
}

bool pages_are_same(void *p, size_t pages, uint64_t seed)
{
	size_t i;

	for (i = 0; i < pages; i++)
		if (page_differs(page_at(p, i), seed, 0))
			return false;
	return true;
}

#endif /* CRAM_TEST_ROADS_H */
