// SPDX-License-Identifier: GPL-2.0
/*
 * Large folios: demoted, evicted and promoted whole where there is room, and split
 * when they are written here and there. What was written leaves, and nothing stays
 * behind on the node but what is still mapped: no part of a huge page keeps the rest
 * of it from being freed. No page of one becomes writable without consent.
 */
#include "roads.h"


/* Of what takes long, so many huge pages; HUGE_PAGES= in the environment. */
static size_t nr_huge = 16;
#define PAGES	(nr_huge * HUGE)
#define FEW	(8 * HUGE)
#define SEED	3

#define THP "/sys/kernel/mm/transparent_hugepage/"

/*
 * Of what should stay whole, some may not: somebody else holds one for a moment, or
 * memory is in fragments.
 */
#define CHECK_MOST(a, b) \
	do { \
		long long most_ = (a); \
		if (most_ < (long long)(b) * 3 / 4 || most_ > (long long)(b)) \
			check_failed(__FILE__, __LINE__, #a " of " #b, \
				     " %lld of %lld", most_, (long long)(b)); \
	} while (0)

static int64_t of_order(unsigned int kib, const char *stat)
{
	char path[120];

	snprintf(path, sizeof(path), THP "hugepages-%ukB/stats/%s", kib, stat);
	return read_number(path);
}

static int64_t mapped_huge(void)
{
	return read_kb("/proc/self/smaps", "AnonHugePages");
}

/* Aligned as a huge page, and to be made of large folios. */
static char *for_huge_pages(size_t pages)
{
	char *p = map_huge_area(pages);

	CHECK(!madvise(p, pages * PAGE, MADV_HUGEPAGE), "%m");
	return p;
}

static char *some_huge_pages(size_t pages)
{
	char *p = for_huge_pages(pages);

	fill(p, pages, SEED);
	if (mapped_huge() < (int64_t)(pages * PAGE))
		skip("no transparent huge pages to be had");
	return p;
}

static char *huge_pages(void)
{
	return some_huge_pages(PAGES);
}

static char *resident_huge_pages(size_t pages)
{
	char *p = some_huge_pages(pages);

	demote(p, pages);
	CHECK_EQ(cg_number(&cg_here, "cram.current"), pages * PAGE);
	CHECK_EQ(mapped_huge(), pages * PAGE);
	return p;
}

/* --- whole ------------------------------------------------------------------ */

static void demoted_whole(void)
{
	int64_t demoted = of_order(2048, "cram_demote"), split = of_order(2048, "split");
	int64_t by_cram = of_order(2048, "cram_split");
	char *p = resident_huge_pages(FEW);

	CHECK_EQ(of_order(2048, "cram_demote"), demoted + FEW / HUGE);
	CHECK_EQ(of_order(2048, "split"), split);
	CHECK_EQ(stat_of("demote"), FEW);
	CHECK_EQ(read_kb("/proc/self/smaps", "Cram"), FEW * PAGE);
	CHECK(cg_key(&cg_here, "memory.stat", "anon_thp") < (int64_t)(HUGE * PAGE));
	CHECK_CONTENT(p, FEW, SEED);
	CHECK_EQ(mapped_huge(), FEW * PAGE);
	CHECK_EQ(run_walker(), 0);

	write_one_of_each(p, FEW, SEED);
	check_split(by_cram, FEW / HUGE * 3 / 4);
	/* What was not written is still in pieces as large as can be. */
	CHECK_MOST(of_order(1024, "nr_anon"), FEW / HUGE);
	CHECK_EQ(stat_of("promote_write"), FEW / HUGE);
	for (size_t i = 0; i < FEW; i++)
		rewrite(p + i * PAGE);
	CHECK_EQ(cg_number(&cg_here, "cram.current"), 0);
	CHECK_EQ(stat_of("promote_write"), FEW);
	CHECK_CONTENT(p, FEW, SEED);
}

/* Nobody does that to have a page promoted whole. */
static void compact(void)
{
	write_text("/proc/sys/vm/compact_memory", "1");
}

static void promoted_whole(void)
{
	int64_t promoted = of_order(2048, "cram_promote");
	char *p = resident_huge_pages(FEW);

	compact();
	CHECK_EQ(cg_printf(&cg_here, "cram.reclaim", "%zu to=dram", FEW * PAGE), 0);
	CHECK_EQ(cg_number(&cg_here, "cram.current"), 0);
	CHECK_MOST(of_order(2048, "cram_promote") - promoted, FEW / HUGE);
	CHECK_MOST(mapped_huge() / PAGE, FEW);
	CHECK_EQ(stat_of("promote_reclaim"), FEW);
	CHECK_NEAR(cg_number(&cg_here, "memory.current"), FEW * PAGE, FEW * PAGE / 4);
	fill(p, FEW, SEED + 1);
	CHECK_CONTENT(p, FEW, SEED + 1);
}

/* Whole, and in part: neither paged out nor split. */
static void pageout_again(void)
{
	int64_t whole;
	char *p;

	if (!swap_on(256))
		skip("no zram for swap");
	p = resident_huge_pages(FEW);
	whole = of_order(2048, "nr_anon");
	pageout(p, FEW);
	pageout(p + PAGE, HUGE - 2);
	pageout(p + HUGE / 2 * PAGE, HUGE);
	CHECK_EQ(count_resident(p, FEW), FEW);
	CHECK_EQ(cg_number(&cg_here, "cram.current"), FEW * PAGE);
	CHECK_EQ(of_order(2048, "nr_anon"), whole);
	CHECK_CONTENT(p, FEW, SEED);
	CHECK_EQ(swap_off(), 0);
}

static void drained(void)
{
	char *p = resident_huge_pages(FEW);

	compact();
	CHECK_EQ(write_text(node_file("state"), "offline"), 0);
	CHECK_EQ(cg_number(&cg_here, "cram.current"), 0);
	CHECK_MOST(mapped_huge() / PAGE, FEW);
	CHECK_CONTENT(p, FEW, SEED);
	CHECK_EQ(write_text(node_file("state"), "open"), 0);
	demote(p, FEW);
}

static void to_swap(void)
{
	char *p;

	if (!swap_on(256))
		skip("no zram for swap");
	p = resident_huge_pages(FEW);
	CHECK_EQ(cg_printf(&cg_here, "cram.reclaim", "%zu to=swap", FEW * PAGE), 0);
	CHECK(WAIT_FOR(SETTLES, cg_number(&cg_here, "cram.current") == 0));
	CHECK_EQ(stat_of("writeback"), FEW);
	CHECK_CONTENT(p, FEW, SEED);
	CHECK_EQ(swap_off(), 0);
}

/* Sizes between a page and a huge one are mapped page by page. */
static void sizes(void)
{
	static const unsigned int kib[] = { 16, 64, 512 };

	for (size_t k = 0; k < ARRAY_SIZE(kib); k++) {
		const size_t pages = 2 * HUGE;
		size_t nr = kib[k] / 4, n = pages / nr;
		int64_t demoted, promoted, split;
		char file[100], *p;

		snprintf(file, sizeof(file), THP "hugepages-%ukB/enabled", kib[k]);
		CHECK_EQ(write_text(THP "hugepages-2048kB/enabled", "never"), 0);
		CHECK_EQ(write_text(file, "madvise"), 0);
		p = for_huge_pages(pages);
		fill(p, pages, SEED);
		CHECK_EQ(write_text(file, "never"), 0);
		CHECK_EQ(write_text(THP "hugepages-2048kB/enabled", "inherit"), 0);
		CHECK_EQ(of_order(kib[k], "nr_anon"), n);

		demoted = of_order(kib[k], "cram_demote");
		promoted = of_order(kib[k], "cram_promote");
		split = of_order(kib[k], "cram_split");
		demote(p, pages);
		CHECK_EQ(cg_number(&cg_here, "cram.current"), pages * PAGE);
		CHECK_MOST(of_order(kib[k], "cram_demote") - demoted, n);
		/* They stay whole: it is not taken for unmapping that they were moved. */
		nap_ms(500);
		CHECK_MOST(of_order(kib[k], "nr_anon"), n);
		CHECK_EQ(run_walker(), 0);

		CHECK_EQ(cg_printf(&cg_here, "cram.reclaim", "%zu to=dram", pages * PAGE), 0);
		CHECK_MOST(of_order(kib[k], "cram_promote") - promoted, n);
		CHECK_CONTENT(p, pages, SEED);

		demote(p, pages);
		for (size_t i = 0; i < pages; i += nr)
			rewrite(p + (i + 1) * PAGE);
		CHECK(WAIT_FOR(SETTLES, cg_number(&cg_here, "cram.current") ==
				   (int64_t)((pages - n) * PAGE)));
		CHECK_MOST(of_order(kib[k], "cram_split") - split, n);
		CHECK_CONTENT(p, pages, SEED);
		CHECK_EQ(run_walker(), 0);
		for (size_t i = 0; i < pages; i++)
			rewrite(p + i * PAGE);
		CHECK_EQ(cg_number(&cg_here, "cram.current"), 0);
		unmap_pages(p, pages);
	}
}

/* --- not whole -------------------------------------------------------------- */

/* One and a half of them fit: where there is no swap either, the second is split. */
static void at_max(void)
{
	int64_t demoted = of_order(2048, "cram_demote");
	char *p = some_huge_pages(2 * HUGE);

	CHECK_EQ(cg_printf(&cg_here, "cram.max", "%zu", 3 * HUGE / 2 * PAGE), 0);
	CHECK_EQ(try_demote(p, HUGE), HUGE);
	pageout(p + HUGE * PAGE, HUGE);
	CHECK(WAIT_FOR(SETTLES, (pageout(p + HUGE * PAGE, HUGE),
				 cg_number(&cg_here, "cram.current") == 3 * HUGE / 2 * PAGE)));
	CHECK_EQ(of_order(2048, "cram_demote"), demoted + 1);
	CHECK(stat_of("refuse_max") >= (int64_t)HUGE);
	CHECK_CONTENT(p, 2 * HUGE, SEED);
	CHECK_EQ(run_walker(), 0);
}

/* Pages that are resident when two readings more have made no room for any. */
static size_t demote_most(char *p, size_t pages)
{
	size_t most = 0, idle = 0;

	while (idle < 2)
		idle = WAIT_FOR(2, (pageout(p, pages), count_resident(p, pages) > most)) ?
		       (most = count_resident(p, pages), 0) : idle + 1;
	return most;
}

/* No free pages of the node are next to each other: what is demoted then is split. */
static void fragmented(void)
{
	size_t pages = node_number("logical_bytes") / PAGE, most, i;
	int64_t demoted;
	char *p = for_huge_pages(pages), *q;

	fill(p, pages, SEED);
	most = demote_most(p, pages);
	tap_note("%zu of %zu pages of the node taken", most, pages);
	CHECK(most > pages * 3 / 4);
	/* Of some huge ones, every second page: that is all there is room for then. */
	for (i = 0; i < 3 * FEW; i += 2)
		rewrite(p + i * PAGE);
	CHECK(WAIT_FOR(SETTLES, count_resident(p, 3 * FEW) <= 3 * FEW / 2));
	demoted = of_order(2048, "cram_demote");
	q = some_huge_pages(FEW);
	CHECK(WAIT_FOR(2 * SETTLES, try_demote(q, FEW) == FEW));
	tap_note("%lld of %lu huge pages demoted whole",
		 (long long)(of_order(2048, "cram_demote") - demoted), FEW / HUGE);
	CHECK(of_order(2048, "cram_demote") < demoted + (int64_t)(FEW / HUGE));
	CHECK_CONTENT(q, FEW, SEED);
	CHECK_CONTENT(p, pages, SEED);
	unmap_pages(p, pages);
}

/* A page in each that does not compress as it has to. */
static void unfit_in_part(void)
{
	char *p = some_huge_pages(FEW);
	size_t i;

	fill_period = 512;
	for (i = 0; i < FEW; i += HUGE)
		fill_page(p + (i + 5) * PAGE, SEED, i + 5);
	fill_period = 64;
	CHECK_EQ(cg_write(&cg_here, "cram.page.max", "2048"), 0);
	pageout(p, FEW);
	CHECK(WAIT_FOR(SETTLES, (pageout(p, FEW), count_resident(p, FEW) == FEW - FEW / HUGE)));
	CHECK(stat_of("refuse_content") >= (int64_t)(FEW / HUGE));
	fill_period = 512;
	for (i = 0; i < FEW; i += HUGE) {
		CHECK(!is_resident(p + (i + 5) * PAGE));
		CHECK(!page_differs(p + (i + 5) * PAGE, SEED, i + 5));
	}
	fill_period = 64;
	for (i = 0; i < FEW; i++)
		CHECK(i % HUGE == 5 || !page_differs(p + i * PAGE, SEED, i));
	CHECK_EQ(cg_write(&cg_here, "cram.page.max", "max"), 0);
}

/* Who holds a page of it is in the way of splitting. What is copied all the same leaves
 * a rest, which is split when it was let go.
 */
static void held(void)
{
	int64_t split = of_order(2048, "cram_split");
	char *p = resident_huge_pages(FEW);
	struct iovec iov = { p + 3 * PAGE, PAGE };
	int fd[2];

	CHECK(!pipe(fd), "%m");
	CHECK_EQ(vmsplice(fd[1], &iov, 1, 0), PAGE);
	for (size_t i = 8; i < 16; i++)
		rewrite(p + i * PAGE);
	CHECK_EQ(of_order(2048, "cram_split"), split);
	CHECK_EQ(count_resident(p, HUGE), HUGE - 8);
	CHECK_EQ(cg_number(&cg_here, "cram.current"), FEW * PAGE);
	CHECK_CONTENT(p, FEW, SEED);
	CHECK_EQ(run_walker(), 0);
	close(fd[0]);
	close(fd[1]);
	CHECK(WAIT_FOR(SETTLES, cg_number(&cg_here, "cram.current") == (int64_t)((FEW - 8) * PAGE)));
	CHECK_CONTENT(p, FEW, SEED);
}

static void broken(void)
{
	char *p = resident_huge_pages(FEW);
	uint64_t pfn = pfn_of(p + 9 * PAGE);

	poison_page(p + 9 * PAGE);
	CHECK(WAIT_FOR(SETTLES, cg_key(&cg_here, "cram.events", "poison") == 1));
	CHECK_CONTENT(p, 9, SEED);
	for (size_t i = 10; i < FEW; i++)
		CHECK(!page_differs(p + i * PAGE, SEED, i));
	CHECK_EQ(count_resident(p, 9) + count_resident(p + 10 * PAGE, FEW - 10), FEW - 1);
	unmap_pages(p, FEW);
	put_back_in_service(pfn);
	CHECK(WAIT_FOR(SETTLES, cg_number(&cg_here, "cram.current") == 0));
}

/* --- roads to a writable entry ------------------------------------------------ */

static void upgraded(void)
{
	char *p = resident_huge_pages(FEW);

	budget_pages(4);
	for (size_t i = 0; i < FEW; i += HUGE)
		fill_page(p + (i + 77) * PAGE, SEED, i + 77);
	CHECK_EQ(writable(), 4 * PAGE);
	CHECK(WAIT_FOR(SETTLES, cg_number(&cg_here, "cram.current") ==
			   (int64_t)((FEW - FEW / HUGE + 4) * PAGE)));
	CHECK_EQ(stat_of("upgrade"), 4);
	CHECK_EQ(run_walker(), 0);
	budget_pages(0);
	CHECK_EQ(writable(), 0);
	CHECK_CONTENT(p, FEW, SEED);
}

static void mprotected(void)
{
	char *p = resident_huge_pages(FEW);

	protect(p, FEW, PROT_READ);
	protect(p, FEW, PROT_READ | PROT_WRITE);
	CHECK_EQ(mapped_huge(), FEW * PAGE);
	CHECK_EQ(run_walker(), 0);
	write_one_of_each(p, FEW, SEED);
}

static void mremapped(void)
{
	char *p = resident_huge_pages(FEW), *to = for_huge_pages(FEW);

	CHECK(mremap(p, FEW * PAGE, FEW * PAGE, MREMAP_MAYMOVE | MREMAP_FIXED, to) == to, "%m");
	CHECK_EQ(mapped_huge(), FEW * PAGE);
	CHECK_EQ(run_walker(), 0);
	write_one_of_each(to, FEW, SEED);
}

static void write_protected(void)
{
	int fd = userfault(UFFD_FEATURE_PAGEFAULT_FLAG_WP);
	char *p = resident_huge_pages(FEW);

	userfault_register(fd, p, FEW, UFFDIO_REGISTER_MODE_WP);
	CHECK_EQ(write_protect(fd, p, FEW, true), 0);
	CHECK_EQ(write_protect(fd, p, FEW, false), 0);
	CHECK_EQ(mapped_huge(), FEW * PAGE);
	CHECK_EQ(run_walker(), 0);
	write_one_of_each(p, FEW, SEED);
	close(fd);
}

static void moved(void)
{
	int fd = userfault(FEATURE_MOVE);
	char *p = resident_huge_pages(FEW), *to = for_huge_pages(FEW);

	userfault_register(fd, to, FEW, UFFDIO_REGISTER_MODE_MISSING);
	userfault_move(fd, to, p, FEW);
	CHECK_EQ(mapped_huge(), FEW * PAGE);
	CHECK_EQ(count_resident(to, FEW), FEW);
	CHECK_EQ(run_walker(), 0);
	write_one_of_each(to, FEW, SEED);
	close(fd);
}

/* A pin for reading has to unshare, of all things only the pages that it is of. */
static void pinned(void)
{
	char *p = resident_huge_pages(FEW);
	struct stall s = stall_begin(p + 16 * PAGE, false);

	CHECK(WAIT_FOR(SETTLES, cg_number(&cg_here, "cram.current") ==
			   (int64_t)((FEW - PINNED) * PAGE)));
	CHECK_EQ(run_walker(), 0);
	stall_end(&s, SEED + 1);
	CHECK_CONTENT(p, FEW, SEED);
}

/* --- many at once ----------------------------------------------------------- */

#define WRITERS	4

struct writer {
	char *p;
	unsigned int nr, rounds;
};

static void *write_some(void *arg)
{
	struct writer *w = arg;

	for (unsigned int round = 0; round < w->rounds; round++)
		for (size_t i = w->nr; i < FEW; i += WRITERS * 5)
			fill_page(w->p + i * PAGE, SEED + round, i);
	return NULL;
}

/* Threads write to pages of the same huge ones, which are demoted all the time. */
static void written_by_many(void)
{
	unsigned int rounds = scaled(20);
	struct writer w[WRITERS];
	pthread_t thread[WRITERS];
	char *p = some_huge_pages(FEW);

	for (unsigned int t = 0; t < WRITERS; t++) {
		w[t] = (struct writer){ p, t, rounds };
		CHECK(!pthread_create(&thread[t], NULL, write_some, &w[t]));
	}
	for (unsigned int i = 0; i < rounds; i++) {
		pageout(p, FEW);
		CHECK_EQ(violations(), 0);
	}
	for (unsigned int t = 0; t < WRITERS; t++)
		pthread_join(thread[t], NULL);
	for (size_t i = 0; i < FEW; i++) {
		bool written = i % (WRITERS * 5) < WRITERS;

		CHECK(!page_differs(p + i * PAGE, written ? SEED + rounds - 1 : SEED, i));
	}
	tap_note("%lld pages demoted, %lld written", (long long)stat_of("demote"),
		 (long long)stat_of("promote_write"));
	CHECK(stat_of("demote") > (int64_t)FEW);
}

/* --- written here and there -------------------------------------------------- */

static void every_16th_written(void)
{
	char *p = huge_pages();
	int64_t other = node_number("used_bytes");
	size_t i, rest = PAGES - PAGES / 16;

	demote(p, PAGES);
	CHECK_EQ(cg_number(&cg_here, "cram.current"), PAGES * PAGE);
	for (i = 0; i < PAGES; i += 16)
		p[i * PAGE + 8] ^= 1;
	CHECK(WAIT_FOR(SETTLES, cg_number(&cg_here, "cram.current") == (int64_t)(rest * PAGE)));
	CHECK(WAIT_FOR(SETTLES, node_number("used_bytes") - other == (int64_t)(rest * PAGE)));
	for (i = 0; i < PAGES; i += 16)
		p[i * PAGE + 8] ^= 1;
	CHECK_EQ(count_resident(p, PAGES), rest);
	CHECK_CONTENT(p, PAGES, SEED);
	/* The cells come back, too: the device says so. */
	for (i = 0; i < PAGES; i++)
		rewrite(p + i * PAGE);
	CHECK(WAIT_FOR(SETTLES, cg_number(&cg_here, "cram.current") == 0));
	CHECK(WAIT_FOR(SETTLES, node_number("used_bytes") == other));
	CHECK_CONTENT(p, PAGES, SEED);
}

/* Of each huge page only a part is unmapped, as an allocator may do. */
static void parts_unmapped(void)
{
	char *p = huge_pages();
	size_t i;

	demote(p, PAGES);
	for (i = 0; i < PAGES; i += HUGE)
		CHECK(!madvise(p + i * PAGE, HUGE / 2 * PAGE, MADV_DONTNEED), "%m");
	CHECK(WAIT_FOR(SETTLES, cg_number(&cg_here, "cram.current") == (int64_t)(PAGES / 2 * PAGE)));
	for (i = 0; i < PAGES; i += HUGE)
		fill(p + i * PAGE, HUGE / 2, SEED);
	for (i = 0; i < PAGES; i += HUGE) {
		CHECK_CONTENT(p + i * PAGE, HUGE / 2, SEED);
		CHECK(!page_differs(p + (i + HUGE / 2) * PAGE, SEED, i + HUGE / 2));
	}
}

/* Only a part of each huge page is asked to leave. */
static void parts_demoted(void)
{
	char *p = huge_pages();
	size_t i;

	for (i = 0; i < PAGES; i += HUGE)
		demote(p + i * PAGE, HUGE / 4);
	CHECK_EQ(cg_number(&cg_here, "cram.current"), PAGES / 4 * PAGE);
	CHECK_EQ(count_resident(p, PAGES), PAGES / 4);
	CHECK_CONTENT(p, PAGES, SEED);
	fill(p, PAGES, SEED + 1);
	CHECK_CONTENT(p, PAGES, SEED + 1);
	CHECK_EQ(cg_number(&cg_here, "cram.current"), 0);
}

/* The processes of a fork write to different parts. */
static void child(struct peer *up, void *p)
{
	size_t i;

	for (i = 0; i < PAGES; i += 16)
		fill_page((char *)p + i * PAGE, SEED + 1, i);
	tell(up, 'w');
	hear(up);
	for (i = 0; i < PAGES; i++)
		CHECK(!page_differs((char *)p + i * PAGE, SEED + (i % 16 == 0), i));
}

static void forked(void)
{
	char *p = huge_pages();
	struct peer peer;
	size_t i;

	demote(p, PAGES);
	peer = peer_start(child, p);
	hear(&peer);
	CHECK_EQ(cg_number(&cg_here, "cram.current"), PAGES * PAGE);
	CHECK_CONTENT(p, PAGES, SEED);
	for (i = 8; i < PAGES; i += 16)
		fill_page(p + i * PAGE, SEED + 2, i);
	tell(&peer, 'g');
	CHECK_EQ(peer_end(&peer), 0);
	CHECK(WAIT_FOR(SETTLES, cg_number(&cg_here, "cram.current") ==
			   (int64_t)((PAGES - PAGES / 16) * PAGE)));
	for (i = 0; i < PAGES; i++)
		CHECK(!page_differs(p + i * PAGE, SEED + (i % 16 == 8 ? 2 : 0), i));
}

static const struct scenario scenarios[] = {
	{ "huge pages are demoted whole, and split when written", demoted_whole },
	{ "promoted whole", promoted_whole },
	{ "MADV_PAGEOUT of what is resident", pageout_again },
	{ "promoted whole when the node is drained", drained, S_GLOBAL },
	{ "to swap", to_swap },
	{ "folios of 16, 64 and 512 KiB", sizes, S_GLOBAL },
	{ "room in cram.max for one and a half", at_max },
	{ "a node in fragments", fragmented },
	{ "one page of each is not to be demoted", unfit_in_part },
	{ "a page is held, others are written", held },
	{ "a page breaks", broken, S_GLOBAL },
	{ "within a writable budget", upgraded },
	{ "mprotect and back", mprotected },
	{ "mremap", mremapped },
	{ "userfaultfd write protection and back", write_protected },
	{ "UFFDIO_MOVE", moved },
	{ "pinned for reading", pinned },
	{ "threads write while they are demoted", written_by_many },
	{ "every 16th small page of many huge pages is written", every_16th_written },
	{ "half of each huge page is unmapped", parts_unmapped },
	{ "a quarter of each huge page is demoted", parts_demoted },
	{ "parent and child write to different parts", forked },
};

int main(void)
{
	if (getenv("HUGE_PAGES"))
		nr_huge = atoi(getenv("HUGE_PAGES"));
	setup();
	run_scenarios(scenarios, ARRAY_SIZE(scenarios), "", 120);
	check_device();
	teardown();
	return tap_end();
}
