// SPDX-License-Identifier: GPL-2.0
/*
 * Whose pages have to go, and where to: a limit on one node, eviction on request,
 * and a node that is short of cells and takes from those who are over their
 * protection, in proportion, what they do not read.
 */
#include "util.h"

#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <unistd.h>

#define N	64
#define SEED	41
#define CHUNK	(MIB / PAGE)

static int64_t physical;

static int64_t current_of(const struct cg *cg)
{
	return cg_number(cg, "cram.current");
}

/* --- cram.node.max ------------------------------------------------------------ */

static int node_max(const struct cg *cg, const char *value)
{
	return cg_printf(cg, "cram.node.max", "N%d %s", cram_node(), value);
}

static void limited_on_a_node(void)
{
	char text[64], want[64], *p = map_pages(N);
	int i;

	CHECK_EQ(node_max(&cg_here, "128K"), 0);
	fill(p, N, SEED);
	for (i = 0; i < 3; i++)
		madvise(p, N * PAGE, MADV_PAGEOUT);
	CHECK_EQ(current_of(&cg_here), 32 * PAGE);
	CHECK(cg_key(&cg_here, "cram.stat", "refuse_max") > 0);
	CHECK(cg_key(&cg_here, "cram.events", "max") > 0);

	/* Lowered, it evicts; only set keys are listed. */
	CHECK_EQ(node_max(&cg_here, "40960"), 0);
	CHECK_EQ(current_of(&cg_here), 10 * PAGE);
	snprintf(want, sizeof(want), "N%d 40960\n", cram_node());
	CHECK(read_text(cg_file(&cg_here, "cram.node.max"), text, sizeof(text)) > 0);
	CHECK(!strcmp(text, want), "%s", text);
	CHECK_EQ(node_max(&cg_here, "max"), 0);
	CHECK_EQ(read_text(cg_file(&cg_here, "cram.node.max"), text, sizeof(text)), 0);
	demote(p, N);

	/* Without waiting, it only sets. */
	snprintf(text, sizeof(text), "N%d 0", cram_node());
	CHECK_EQ(write_bytes(cg_file(&cg_here, "cram.node.max"), text, strlen(text), O_NONBLOCK),
		 0);
	CHECK_EQ(current_of(&cg_here), N * PAGE);
	CHECK_CONTENT(p, N, SEED);
	CHECK(!munmap(p, N * PAGE));
}

/* --- cram.reclaim ------------------------------------------------------------- */

static int reclaim(const char *text)
{
	return cg_write(&cg_here, "cram.reclaim", text);
}

static void on_request(void)
{
	char *p = map_pages(N);

	swap_off();
	fill(p, N, SEED);
	demote(p, N);
	/* There is no swap, so it is a promotion, or nothing. */
	CHECK_EQ(reclaim("64K to=swap"), -EAGAIN);
	CHECK_EQ(current_of(&cg_here), N * PAGE);
	CHECK_EQ(reclaim("64K"), 0);
	CHECK_EQ(current_of(&cg_here), (N - 16) * PAGE);
	CHECK_EQ(cg_key(&cg_here, "cram.stat", "promote_reclaim"), 16);
	CHECK_EQ(reclaim("64K to=dram"), 0);
	CHECK_EQ(current_of(&cg_here), (N - 32) * PAGE);
	/* More than there is: all of it, and it says so. */
	CHECK_EQ(reclaim("1G"), -EAGAIN);
	CHECK_EQ(current_of(&cg_here), 0);
	CHECK_EQ(reclaim("4K"), -EAGAIN);
	CHECK_EQ(reclaim("0"), 0);

	CHECK(swap_on(64));
	demote(p, N);
	CHECK(WAIT_FOR(SETTLES, !reclaim("64K to=swap")));
	CHECK(cg_key(&cg_here, "cram.stat", "writeback") >= 16);
	CHECK(count_swapped(p, N) >= 16);
	CHECK_CONTENT(p, N, SEED);
	CHECK(!munmap(p, N * PAGE));
	swap_off();
}

static void bad_requests(void)
{
	static const char *const bad[] = {
		"\n", "max", "4K to=", "4K to=disk", "4K to=swap to=dram", "to=swap", "4K swap",
		"-4096", "4K,to=swap",
	};
	static const char *const bad_max[] = {
		"\n", "4096", "N", "N1", "N1 ", "n1 4096", "1 4096", "N-1 4096", "Nx 4096",
		"N1 4096 5", "N1=4096", "N1 -1", "N 4096", "N99999999999999999999 1",
	};
	char text[64];
	size_t i;

	for (i = 0; i < ARRAY_SIZE(bad); i++)
		CHECK_EQ(reclaim(bad[i]), -EINVAL);
	for (i = 0; i < ARRAY_SIZE(bad_max); i++)
		CHECK_EQ(cg_write(&cg_here, "cram.node.max", bad_max[i]), -EINVAL);
	CHECK_EQ(cg_write(&cg_here, "cram.node.max", "N0 4096"), -ENODEV);
	CHECK_EQ(cg_write(&cg_here, "cram.node.max", "N99999 4096"), -ENODEV);
	CHECK_EQ(read_text(cg_file(&cg_here, "cram.node.max"), text, sizeof(text)), 0);
	CHECK_EQ(cg_write(&cg_here, "cram.low", "x"), -EINVAL);
	CHECK_EQ(cg_number(&cg_here, "cram.low"), 0);
	CHECK_EQ(cg_write(&cg_here, "cram.low", "8K"), 0);
	CHECK_EQ(cg_number(&cg_here, "cram.low"), 8192);
	CHECK_EQ(cg_write(&cg_here, "cram.low", "max"), 0);
	CHECK_EQ(cg_number(&cg_here, "cram.low"), NO_LIMIT);
}

#define BEGGARS	12
#define HELD	16	/* pages in a pipe */

struct beggar {
	struct cg cg;
	struct peer peer;
};

/* What it asks for cannot be had, and it asks all the time. */
static void beg(struct peer *up, void *arg)
{
	struct iovec v = { .iov_len = HELD * PAGE };
	const struct cg *cg = &((struct beggar *)arg)->cg;
	int fd[2];

	CHECK_EQ(cg_enter(cg, getpid()), 0);
	v.iov_base = map_pages(HELD);
	fill(v.iov_base, HELD, SEED);
	demote(v.iov_base, HELD);
	CHECK(!pipe(fd), "%m");
	CHECK_EQ(vmsplice(fd[1], &v, 1, SPLICE_F_NONBLOCK), HELD * PAGE);
	tell(up, 'r');
	for (;;)
		CHECK_EQ(cg_write(cg, "cram.reclaim", "1G"), -EAGAIN);
}

/* Requests of cgroups are no reason for the administrator to wait. */
static void requests_make_way(void)
{
	struct cg judge = cg_make(cg_here.path, "judge");
	struct beggar beggars[BEGGARS], *b;
	double start, worst = 0;
	int i;

	CHECK_EQ(cg_enter(&judge, getpid()), 0);
	CHECK_EQ(cg_write(&cg_here, "cgroup.subtree_control", "+memory +cram"), 0);
	for (b = beggars; b < beggars + BEGGARS; b++) {
		b->cg = cg_make(cg_here.path, "beggar%d", (int)(b - beggars));
		b->peer = peer_start(beg, b);
		CHECK_EQ(hear(&b->peer), 'r');
	}
	for (i = 0; i < 20; i++) {
		start = now();
		CHECK_EQ(write_text(node_file("state"), "open"), 0);
		worst = now() - start > worst ? now() - start : worst;
	}
	tap_note("%.2f s for the slowest of 20", worst);
	CHECK(worst < 2 * scale());
	/* And what was held has stayed, with whatever else they have there */
	CHECK(current_of(&cg_here) >= (int64_t)(BEGGARS * HELD * PAGE));
	for (b = beggars; b < beggars + BEGGARS; b++) {
		kill(b->peer.pid, SIGKILL);
		CHECK_EQ(waitpid(b->peer.pid, NULL, 0), b->peer.pid);
	}
}

/* --- fair shares -------------------------------------------------------------- */

struct tenant {
	struct cg cg;
	size_t mib;
	struct peer peer;
	int64_t before, lost;
};

/* So much on the node that does not compress, and nobody reads it. */
static void tenant(struct peer *up, void *arg)
{
	struct tenant *t = arg;
	size_t pages = t->mib * CHUNK;
	char *p;
	size_t i;

	CHECK_EQ(cg_enter(&t->cg, getpid()), 0);
	p = map_pages(pages);
	fill_period = 512;
	for (i = 0; i < pages; i += CHUNK) {
		fill(p + i * PAGE, CHUNK, SEED + i);
		demote(p + i * PAGE, CHUNK);
	}
	tell(up, 'r');
	hear(up);
	for (i = 0; i < pages; i += CHUNK)
		CHECK_CONTENT(p + i * PAGE, CHUNK, SEED + i);
}

static void set_low(int64_t bytes)
{
	char text[32];

	snprintf(text, sizeof(text), "%lld", (long long)bytes);
	CHECK_EQ(write_text(node_file("low_bytes"), text), 0);
}

/* Have the node evict what makes up so much, and the tenants say what they lost. */
static void squeeze(struct tenant *t, size_t n, int64_t bytes)
{
	int64_t lost = 0;
	size_t i;

	for (i = 0; i < n; i++) {
		CHECK_EQ(hear(&t[i].peer), 'r');
		t[i].before = current_of(&t[i].cg);
	}
	/* Until nothing is unsettled: what is low is judged by what is certain. */
	nap_ms(1000);
	/* It is not low until it is; then it wants a quarter more than that. */
	set_low((node_number("physical_free_bytes") + bytes) / 5 * 4);
	if (state_is("open"))
		set_low(node_number("physical_free_bytes") + (int64_t)PAGE);
	CHECK(WAIT_FOR(SETTLES, state_is("low") || cg_key(&cg_here, "cram.stat", "writeback") > 0));
	CHECK(WAIT_FOR(SETTLES, state_is("open")));
	set_low(0);
	nap_ms(200);
	for (i = 0; i < n; i++) {
		t[i].lost = t[i].before - current_of(&t[i].cg);
		lost += t[i].lost;
		tap_note("%s lost %lld of %lld KiB", strrchr(t[i].cg.path, '/') + 1,
			 (long long)t[i].lost / 1024, (long long)t[i].before / 1024);
	}
	CHECK(lost > 0);
}

static void tenants_start(struct tenant *t, size_t n)
{
	for (size_t i = 0; i < n; i++)
		t[i].peer = peer_start(tenant, &t[i]);
}

static void tenants_end(struct tenant *t, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		tell(&t[i].peer, 'g');
		CHECK_EQ(peer_end(&t[i].peer), 0);
	}
}

static void alone(void)
{
	struct cg judge = cg_make(cg_here.path, "judge");

	CHECK_EQ(cg_enter(&judge, getpid()), 0);
	CHECK_EQ(cg_write(&cg_here, "cgroup.subtree_control", "+memory +cram"), 0);
}

/*
 * Two over their protection, one twice as far as the other: 2:1. One under its
 * protection: nothing. memory.min protects DRAM, not this.
 */
static void fair(void)
{
	struct tenant t[3] = { { .mib = 18 }, { .mib = 10 }, { .mib = 2 } };

	CHECK(swap_on(128));
	alone();
	t[0].cg = cg_make(cg_here.path, "far-over");
	t[1].cg = cg_make(cg_here.path, "over");
	t[2].cg = cg_make(cg_here.path, "under");
	for (int i = 0; i < 3; i++)
		CHECK_EQ(cg_write(&t[i].cg, "cram.low", i < 2 ? "2M" : "4M"), 0);
	CHECK_EQ(cg_write(&t[0].cg, "memory.min", "max"), 0);
	tenants_start(t, 3);
	squeeze(t, 3, 9 * MIB);
	CHECK_EQ(t[2].lost, 0);
	CHECK(t[1].lost >= (int64_t)MIB / 2);
	/* Within 10 % of 2:1. */
	CHECK_NEAR(t[0].lost, 2 * t[1].lost, 2 * t[1].lost / 10);
	tenants_end(t, 3);
	swap_off();
}

/* Nobody is over: all have to give, or the device would run out. */
static void all_protected(void)
{
	struct tenant t[2] = { { .mib = 12 }, { .mib = 6 } };

	CHECK(swap_on(128));
	alone();
	t[0].cg = cg_make(cg_here.path, "large");
	t[1].cg = cg_make(cg_here.path, "small");
	for (int i = 0; i < 2; i++)
		CHECK_EQ(cg_write(&t[i].cg, "cram.low", "max"), 0);
	tenants_start(t, 2);
	squeeze(t, 2, 6 * MIB);
	CHECK_NEAR(t[0].lost, 2 * t[1].lost, 2 * t[1].lost / 10);
	tenants_end(t, 2);
	swap_off();
}

/* --- the cold ones first ------------------------------------------------------ */

static volatile bool reading;

/* So much at once that all of the TLB is flushed; what is in it is not read. */
static void flush_tlb(void)
{
	char *p = map_pages(64);

	memset(p, 1, 64 * PAGE);
	CHECK(!munmap(p, 64 * PAGE));
}

static void *read_on(void *arg)
{
	size_t pages = physical / 4 / PAGE;
	volatile char sink;

	while (reading) {
		flush_tlb();
		for (size_t i = 0; i < pages; i += 2)
			sink = ((volatile char *)arg)[i * PAGE];
		nap_ms(1);
	}
	(void)sink;
	return NULL;
}

/* Every second page is read all the time. */
static void cold_first(void)
{
	size_t pages = physical / 4 / PAGE, i, hot = 0, cold = 0;
	pthread_t thread;
	char *p = map_pages(pages);

	CHECK(swap_on(128));
	fill_period = 512;
	for (i = 0; i < pages; i += CHUNK) {
		fill(p + i * PAGE, CHUNK, SEED + i);
		demote(p + i * PAGE, CHUNK);
	}
	nap_ms(1000);
	reading = true;
	CHECK(!pthread_create(&thread, NULL, read_on, p));
	/* One round of the cursor, so that it knows. */
	set_low(node_number("physical_free_bytes") + (int64_t)MIB / 4);
	CHECK(WAIT_FOR(SETTLES, cg_key(&cg_here, "cram.stat", "writeback") >= 2 * (int64_t)CHUNK));
	set_low(0);
	reading = false;
	CHECK(!pthread_join(thread, NULL));
	for (i = 0; i < pages; i++) {
		if (is_resident(p + i * PAGE))
			continue;
		if (i % 2)
			cold++;
		else
			hot++;
	}
	tap_note("%zu pages that were not read have left, and %zu that were", cold, hot);
	CHECK(cold >= CHUNK);
	CHECK(hot * 4 < cold);
	for (i = 0; i < pages; i += CHUNK)
		CHECK_CONTENT(p + i * PAGE, CHUNK, SEED + i);
	CHECK(!munmap(p, pages * PAGE));
	swap_off();
}

static const struct scenario scenarios[] = {
	{ "a limit on one node", limited_on_a_node },
	{ "eviction on request", on_request },
	{ "requests that make no sense", bad_requests },
	{ "requests make way for the administrator", requests_make_way },
	{ "2:1 over their protection, 2:1 evicted", fair },
	{ "nobody over: all give", all_protected },
	{ "what is read stays", cold_first },
};

int main(void)
{
	size_t i;

	setup();
	physical = node_number("physical_bytes");
	CHECK_EQ(write_text(node_file("critical_bytes"), "0"), 0);
	set_low(0);
	for (i = 0; i < ARRAY_SIZE(scenarios); i++) {
		run_scenario(&scenarios[i], "", 240);
		set_low(0);
		swap_off();
		WAIT_FOR(SETTLES, state_is("open"));
	}
	check_device();
	teardown();
	return tap_end();
}
