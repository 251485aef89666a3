// SPDX-License-Identifier: GPL-2.0
/*
 * How well pages compress: what cram.stat estimates for each cgroup, and rules
 * that keep what does not compress off the node.
 */
#include "util.h"

#include <signal.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

/* One of 64 is sampled: 64 of these */
#define N	4096
#define SEED	33

/* fill_period: LZ4 takes 4100 bytes of 512 words, and some 550 of 64 */
#define NOISE	512
#define TEXT	64
#define TEXT_MIN 400
#define TEXT_MAX 700

static int64_t estimate(const struct cg *cg)
{
	return cg_key(cg, "cram.stat", "compressed_estimate");
}

static int64_t refused(const struct cg *cg)
{
	return cg_key(cg, "cram.stat", "refuse_content");
}

static char *resident(unsigned int period, size_t pages)
{
	char *p = map_pages(pages);

	fill_period = period;
	fill(p, pages, SEED);
	demote(p, pages);
	return p;
}

#define CHECK_BETWEEN(x, low, high) do {					\
	long long x_ = (x), low_ = (low), high_ = (high);			\
										\
	CHECK(x_ >= low_ && x_ <= high_, "%lld, expected %lld to %lld", x_, low_, high_); \
} while (0)

static void noise(void)
{
	char *p = resident(NOISE, N);

	CHECK_EQ(estimate(&cg_here), N * PAGE);
	unmap_pages(p, N);
	CHECK_EQ(estimate(&cg_here), 0);
}

static void text(void)
{
	char *p = resident(TEXT, N);

	tap_note("%lld bytes a page", (long long)estimate(&cg_here) / N);
	CHECK_BETWEEN(estimate(&cg_here), N * TEXT_MIN, N * TEXT_MAX);
	CHECK_CONTENT(p, N, SEED);
	/* They go, and others of their like stay. */
	unmap_pages(p, N / 2);
	CHECK_BETWEEN(estimate(&cg_here), N / 2 * TEXT_MIN, N / 2 * TEXT_MAX);
	unmap_pages(p + N / 2 * PAGE, N / 2);
	CHECK_EQ(estimate(&cg_here), 0);
}

/* What is written to leaves the node, and the sample. */
static void promoted(void)
{
	char *p = resident(NOISE, N), *q = resident(TEXT, N);
	size_t i;

	/* 64 of each are expected in the sample; less than half of that never is */
	CHECK_BETWEEN(estimate(&cg_here), N * (PAGE + TEXT_MIN) * 2 / 3,
		      N * (PAGE + TEXT_MAX) * 4 / 3);
	for (i = 0; i < N; i++)
		rewrite(p + i * PAGE);
	CHECK_EQ(cg_number(&cg_here, "cram.current"), N * PAGE);
	CHECK_BETWEEN(estimate(&cg_here), N * TEXT_MIN, N * TEXT_MAX);
	CHECK_CONTENT(q, N, SEED);
	unmap_pages(p, N);
	unmap_pages(q, N);
}

static void in_child(struct peer *up, void *arg)
{
	unsigned int period = *(unsigned int *)arg;
	char *p;

	hear(up);
	p = resident(period, N);
	tell(up, 'r');
	hear(up);
	unmap_pages(p, N);
}

static struct peer start_in(const struct cg *cg, unsigned int period)
{
	struct peer peer = peer_start(in_child, &period);

	CHECK_EQ(cg_enter(cg, peer.pid), 0);
	tell(&peer, 'g');
	hear(&peer);
	return peer;
}

/* Each cgroup has its own, and that of its parent is of both. */
static void hierarchy(void)
{
	struct cg a = cg_make(cg_here.path, "a"), b = cg_make(cg_here.path, "b");
	struct cg judge = cg_make(cg_here.path, "judge");
	struct peer in_a, in_b;
	int64_t both;

	CHECK_EQ(cg_enter(&judge, getpid()), 0);
	CHECK_EQ(cg_write(&cg_here, "cgroup.subtree_control", "+memory +cram"), 0);
	in_a = start_in(&a, NOISE);
	in_b = start_in(&b, TEXT);
	CHECK_EQ(estimate(&a), N * PAGE);
	CHECK_BETWEEN(estimate(&b), N * TEXT_MIN, N * TEXT_MAX);
	both = estimate(&cg_here);
	CHECK_BETWEEN(both, N * (PAGE + TEXT_MIN) * 2 / 3, N * (PAGE + TEXT_MAX) * 4 / 3);

	/* Pages outlive a cgroup, and are its parent's then. */
	CHECK_EQ(cg_enter(&judge, in_a.pid), 0);
	CHECK_EQ(cg_remove(&a), 0);
	CHECK_EQ(estimate(&cg_here), both);
	CHECK_EQ(estimate(&judge), 0);
	CHECK_EQ(run_walker(), 0);
	tell(&in_a, 'q');
	CHECK_EQ(peer_end(&in_a), 0);
	CHECK(WAIT_FOR(SETTLES, cg_number(&cg_here, "cram.current") == N * PAGE));
	CHECK_EQ(estimate(&cg_here), estimate(&b));
	tell(&in_b, 'q');
	CHECK_EQ(peer_end(&in_b), 0);
	CHECK(WAIT_FOR(SETTLES, estimate(&cg_here) == 0));
}

/* Pages of both kinds, in turn */
static char *mixed(size_t pages)
{
	char *p = map_pages(pages);
	size_t i;

	CHECK(!madvise(p, pages * PAGE, MADV_NOHUGEPAGE), "%m");
	for (i = 0; i < pages; i++) {
		fill_period = i % 2 ? NOISE : TEXT;
		fill_page(p + i * PAGE, SEED, i);
	}
	return p;
}

static void check_mixed(char *p, size_t pages)
{
	size_t i;

	for (i = 0; i < pages; i++) {
		fill_period = i % 2 ? NOISE : TEXT;
		CHECK(!page_differs(p + i * PAGE, SEED, i), "page %zu", i);
	}
}

static bool only_text_resident(char *p, size_t pages)
{
	size_t i;

	CHECK(!madvise(p, pages * PAGE, MADV_PAGEOUT), "%m");
	for (i = 0; i < pages; i++)
		if (is_resident(p + i * PAGE) != !(i % 2))
			return false;
	return true;
}

static void rule(const struct cg *cg)
{
	char *p = mixed(N);

	CHECK(WAIT_FOR(SETTLES, only_text_resident(p, N)));
	CHECK(refused(&cg_here) >= N / 2);
	CHECK_EQ(cg_number(&cg_here, "cram.current"), N / 2 * PAGE);
	check_mixed(p, N);
	/* Without it, all of them go. */
	CHECK_EQ(cg_write(cg, "cram.page.max", "max"), 0);
	demote(p, N);
	check_mixed(p, N);
	/* A new rule does not send away what is there. */
	CHECK_EQ(cg_write(cg, "cram.page.max", "1"), 0);
	CHECK_EQ(cg_number(&cg_here, "cram.current"), N * PAGE);
	unmap_pages(p, N);
	CHECK_EQ(cg_write(cg, "cram.page.max", "max"), 0);
}

static void own_rule(void)
{
	CHECK_EQ(cg_write(&cg_here, "cram.page.max", "3K"), 0);
	CHECK_EQ(cg_number(&cg_here, "cram.page.max"), 3072);
	rule(&cg_here);
}

/* The strictest rule above counts. */
static void rule_of_parent(void)
{
	struct cg child = cg_make(cg_here.path, "child");

	CHECK_EQ(cg_enter(&child, getpid()), 0);
	CHECK_EQ(cg_write(&cg_here, "cgroup.subtree_control", "+memory +cram"), 0);
	CHECK_EQ(cg_write(&cg_here, "cram.page.max", "3K"), 0);
	CHECK_EQ(cg_write(&child, "cram.page.max", "4K"), 0);
	rule(&cg_here);
}

static void rule_of_node(void)
{
	char *p = mixed(N);

	CHECK_EQ(write_text(node_file("page_max"), "3072"), 0);
	CHECK_EQ(node_number("page_max"), 3072);
	CHECK(WAIT_FOR(SETTLES, only_text_resident(p, N)));
	CHECK_EQ(write_text(node_file("page_max"), "3K"), -EINVAL);
	CHECK_EQ(write_text(node_file("page_max"), "-1"), -EINVAL);
	CHECK_EQ(node_number("page_max"), 3072);
	CHECK_EQ(write_text(node_file("page_max"), "max"), 0);
	demote(p, N);
	check_mixed(p, N);
	unmap_pages(p, N);
}

/* A page of zeroes takes some bytes, too: nothing is small enough for 0. */
static void rule_nothing(void)
{
	char *p = map_pages(N);
	int64_t whole, written;

	CHECK_EQ(cg_write(&cg_here, "cram.page.max", "0"), 0);
	memset(p, 0, N * PAGE);
	CHECK(!madvise(p, N * PAGE, MADV_PAGEOUT), "%m");
	CHECK_EQ(cg_number(&cg_here, "cram.current"), 0);
	CHECK(refused(&cg_here) >= N);
	CHECK_EQ(cg_key(&cg_here, "cram.stat", "demote"), 0);
	unmap_pages(p, N);

	/* That needs no look at a page: huge ones go to swap as they are, not in pieces. */
	CHECK(swap_on(64));
	p = map_huge_area(4 * HUGE);
	CHECK(!madvise(p, 4 * HUGE * PAGE, MADV_HUGEPAGE), "%m");
	memset(p, 1, 4 * HUGE * PAGE);
	whole = read_kb("/proc/self/smaps", "AnonHugePages") / (int64_t)(HUGE * PAGE);
	written = read_key("/proc/vmstat", "thp_swpout");
	CHECK(!madvise(p, 4 * HUGE * PAGE, MADV_PAGEOUT), "%m");
	CHECK_EQ(read_key("/proc/vmstat", "thp_swpout") - written, whole);
	CHECK(refused(&cg_here) >= (int64_t)(N + 4 * HUGE));
	CHECK_EQ(cg_key(&cg_here, "cram.stat", "demote"), 0);
	unmap_pages(p, 4 * HUGE);
	swap_off();

	/* Without swap, nothing is left to scan anonymous memory for. */
	p = map_huge_area(4 * HUGE);
	CHECK(!madvise(p, 4 * HUGE * PAGE, MADV_HUGEPAGE), "%m");
	memset(p, 1, 4 * HUGE * PAGE);
	whole = read_kb("/proc/self/smaps", "AnonHugePages");
	cg_write(&cg_here, "memory.reclaim", "8M");
	CHECK_EQ(read_kb("/proc/self/smaps", "AnonHugePages"), whole);
	unmap_pages(p, 4 * HUGE);
}

static void of_huge_pages(void)
{
	size_t huge = 2 * MIB / PAGE, pages = 8 * huge;
	char *map = map_pages(pages + huge), *p;
	size_t i;

	p = (char *)(((uintptr_t)map + huge * PAGE - 1) & ~(huge * PAGE - 1));
	CHECK(!madvise(p, pages * PAGE, MADV_HUGEPAGE), "%m");
	for (i = 0; i < pages; i++) {
		fill_period = i % 2 ? NOISE : TEXT;
		fill_page(p + i * PAGE, SEED, i);
	}
	CHECK_EQ(cg_write(&cg_here, "cram.page.max", "3K"), 0);
	CHECK(WAIT_FOR(SETTLES, only_text_resident(p, pages)));
	check_mixed(p, pages);
	unmap_pages(map, pages + huge);
}

static struct cg victim_cg;

static void noise_in_victim(struct peer *up, void *arg)
{
	size_t pages = 64 * MIB / PAGE;

	CHECK_EQ(write_text("/proc/self/oom_score_adj", "0"), 0);
	CHECK_EQ(cg_enter(&victim_cg, getpid()), 0);
	fill_period = NOISE;
	fill(map_pages(pages), pages, SEED);
}

/* Room on the node that nobody may use is no reason to let reclaim go on. */
static void killed_in_time(void)
{
	struct cg judge = cg_make(cg_here.path, "judge");
	double start = now();
	struct peer peer;
	int status;

	victim_cg = cg_make(cg_here.path, "victim");
	CHECK_EQ(write_text("/proc/self/oom_score_adj", "-1000"), 0);
	CHECK_EQ(cg_enter(&judge, getpid()), 0);
	CHECK_EQ(cg_write(&cg_here, "cgroup.subtree_control", "+memory +cram"), 0);
	CHECK_EQ(cg_write(&victim_cg, "memory.swap.max", "0"), 0);
	CHECK_EQ(cg_write(&victim_cg, "memory.max", "16M"), 0);
	CHECK_EQ(cg_write(&victim_cg, "cram.page.max", "3K"), 0);
	peer = peer_start(noise_in_victim, NULL);
	CHECK(WAIT_FOR(60, waitpid(peer.pid, &status, WNOHANG) == peer.pid));
	tap_note("killed after %.1f s", now() - start);
	CHECK(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL, "status %#x", status);
	CHECK(cg_key(&victim_cg, "memory.events", "oom_kill") > 0);
	CHECK(refused(&victim_cg) > 0);
}

static const struct scenario scenarios[] = {
	{ "noise is estimated as it is", noise },
	{ "text is estimated as LZ4 compresses it", text },
	{ "pages that leave are not estimated", promoted },
	{ "each cgroup has its own estimate", hierarchy },
	{ "what does not compress is refused", own_rule },
	{ "... by a rule above", rule_of_parent },
	{ "... by a rule of the node", rule_of_node },
	{ "... or all of it", rule_nothing },
	{ "... page by page of what was large", of_huge_pages },
	{ "a cgroup of noise is killed in time", killed_in_time },
};

int main(void)
{
	size_t i;

	setup();
	swap_off();
	for (i = 0; i < ARRAY_SIZE(scenarios); i++)
		run_scenario(&scenarios[i], "", 120);
	write_text(node_file("page_max"), "max");
	check_device();
	teardown();
	return tap_end();
}
