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
#include <sys/stat.h>
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
	CHECK(count_swapped(p, N) >= 16);
	CHECK(WAIT_FOR(SETTLES, cg_key(&cg_here, "cram.stat", "writeback") >= 16));
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

/* So much more than was asked for may go: one batch of pages. */
#define BATCH	((int64_t)(32 * PAGE))

/* With ZSWAP=1 in the environment, pages end in zswap, in front of the disk. */
static void check_zswap(void)
{
	if (getenv("ZSWAP"))
		CHECK(WAIT_FOR(SETTLES, cg_key(&cg_here, "memory.stat", "zswpout") >=
			       2 * (int64_t)CHUNK));
}

/* What is being written counts: it is not asked for again while a disk writes it. */
static void no_more(void)
{
	size_t pages = 8 * CHUNK;
	int64_t before, gone;
	char *p = map_pages(pages);

	CHECK(swap_on(64));
	fill(p, pages, SEED);
	demote(p, pages);

	before = current_of(&cg_here);
	CHECK_EQ(reclaim("1M to=swap"), 0);
	CHECK(WAIT_FOR(SETTLES, current_of(&cg_here) <= before - (int64_t)MIB));
	nap_ms(500);
	gone = before - current_of(&cg_here);
	tap_note("%lld of 1024 KiB requested", (long long)gone / 1024);
	CHECK(gone <= (int64_t)MIB + BATCH);

	before = current_of(&cg_here);
	CHECK_EQ(cg_printf(&cg_here, "cram.max", "%lld", (long long)(before - MIB)), 0);
	CHECK(current_of(&cg_here) <= before - (int64_t)MIB);
	nap_ms(500);
	gone = before - current_of(&cg_here);
	tap_note("%lld of 1024 KiB by a limit", (long long)gone / 1024);
	CHECK(gone <= (int64_t)MIB + BATCH);
	CHECK_EQ(cg_write(&cg_here, "cram.max", "max"), 0);

	check_zswap();

	/* Two limits at once, one below the other, are no reason for twice as much. */
	before = current_of(&cg_here);
	CHECK_EQ(cg_printf(&cg_here, "cram.max", "%lld", (long long)(before - MIB)), 0);
	CHECK_EQ(node_max(&cg_here, "2M"), 0);
	CHECK(current_of(&cg_here) <= 2 * (int64_t)MIB);
	nap_ms(500);
	CHECK(current_of(&cg_here) >= 2 * (int64_t)MIB - BATCH);
	CHECK_CONTENT(p, pages, SEED);
	CHECK(!munmap(p, pages * PAGE));
	swap_off();
}

static void set_low(int64_t bytes)
{
	char text[32];

	snprintf(text, sizeof(text), "%lld", (long long)bytes);
	CHECK_EQ(write_text(node_file("low_bytes"), text), 0);
}

/*
 * The bytes of cells that are free, when the device has said so three times: what was
 * freed before the first of them has been trimmed by then, and is not unsettled.
 */
static int64_t settled_free(void)
{
	int64_t free, readings;

	do {
		free = node_number("physical_free_bytes");
		readings = debug_number(SIM "readings");
		CHECK(WAIT_FOR(SETTLES, read_number(SIM "readings") >= readings + 3));
	} while (free != node_number("physical_free_bytes"));
	return free;
}

/*
 * Have the node low, and so many bytes of cells wanted: by less than what it is low
 * for, as a quarter more than the watermark is, at the end of each relief. Without swap
 * meanwhile, so that it stays as it is made.
 */
static void make_short(int64_t bytes)
{
	double end = now() + SETTLES;
	int64_t free;

	swap_off();
	do {
		set_low(0);
		free = settled_free();
		set_low(free + 64 * 1024);
		CHECK(WAIT_FOR(SETTLES, state_is("low")));
		set_low((free + bytes) * 4 / 5 + 1);
		nap_ms(500);
	} while (!state_is("low") && now() < end);
	CHECK(state_is("low"));
	CHECK(swap_on(128));
}

static int64_t short_by(void)
{
	return node_number("low_bytes") * 5 / 4 - node_number("physical_free_bytes");
}

static void set_lease(const char *ms)
{
	int64_t readings;

	CHECK_EQ(write_text(node_file("lease_ms"), ms), 0);
	readings = debug_number(SIM "readings");
	CHECK(WAIT_FOR(SETTLES, read_number(SIM "readings") >= readings + 2));
}

/*
 * Between two readings, pages are being written and come back whole, as swap is switched
 * off. They do not count as leaving any more when the node wants as few.
 */
static void come_back(void)
{
	char *p = map_pages(N);

	CHECK(swap_on(128));
	fill_period = 512;
	fill(p, N, SEED);
	demote(p, N);
	set_lease("6000");
	CHECK_EQ(write_bytes(cg_file(&cg_here, "cram.reclaim"), "64K to=swap", 11, O_NONBLOCK), 0);
	tap_note("%lld of 64 KiB are being written",
		 (long long)(current_of(&cg_here) / 1024 - (N - 16) * PAGE / 1024));
	swap_off();
	set_lease("1000");
	make_short(4160 + 64);
	CHECK(WAIT_FOR(SETTLES, state_is("open")), "%lld bytes short", (long long)short_by());
	set_low(0);
	CHECK_CONTENT(p, N, SEED);
	CHECK(!munmap(p, N * PAGE));
	swap_off();
}

#define BEGGARS	12
#define HELD	16	/* pages in a pipe */

/* Put the first @pages into a pipe, and let them be there. */
static void hold_in_pipe(void *p, size_t pages)
{
	struct iovec v = { .iov_base = p, .iov_len = pages * PAGE };
	int fd[2];

	CHECK(!pipe(fd), "%m");
	CHECK(fcntl(fd[1], F_SETPIPE_SZ, pages * PAGE) >= 0, "%m");
	CHECK_EQ(vmsplice(fd[1], &v, 1, SPLICE_F_NONBLOCK), pages * PAGE);
}

/* What cannot leave is no reason to wait for long, and none with O_NONBLOCK. */
static void held(void)
{
	size_t pages = MIB / PAGE;
	char *p = map_pages(2 * pages);
	double start;

	CHECK(swap_on(64));
	fill(p, 2 * pages, SEED);
	demote(p, 2 * pages);
	hold_in_pipe(p, pages);

	start = now();
	CHECK_EQ(write_bytes(cg_file(&cg_here, "cram.reclaim"), "1G", 2, O_NONBLOCK), -EAGAIN);
	tap_note("%.2f s without waiting", now() - start);
	CHECK(now() - start < 5 * scale());
	CHECK_EQ(write_bytes(cg_file(&cg_here, "cram.reclaim"), "0", 1, O_NONBLOCK), 0);
	CHECK(WAIT_FOR(SETTLES, current_of(&cg_here) == (int64_t)MIB));

	start = now();
	CHECK_EQ(reclaim("1M"), -EAGAIN);
	tap_note("%.2f s to ask for them", now() - start);
	CHECK(now() - start < 10 * scale());
	start = now();
	CHECK_EQ(cg_write(&cg_here, "cram.max", "0"), 0);
	tap_note("%.2f s for a limit", now() - start);
	CHECK(now() - start >= 1);
	CHECK(now() - start < 10 * scale());
	CHECK_EQ(current_of(&cg_here), (int64_t)MIB);
	CHECK_CONTENT(p, 2 * pages, SEED);
	CHECK(!munmap(p, 2 * pages * PAGE));
	swap_off();
}

static void hold_some(struct peer *up, void *arg)
{
	char *p = map_pages(N);

	fill(p, N, SEED);
	demote(p, N);
	hold_in_pipe(p, N);
	tell(up, 'r');
	pause();
}

/* When the others have left, so does it. */
static void *end_holder(void *arg)
{
	struct peer *holder = arg;

	CHECK(WAIT_FOR(SETTLES, current_of(&cg_here) <= (int64_t)(N * PAGE)));
	kill(holder->pid, SIGKILL);
	return NULL;
}

/* What leaves by another way is not there any more either, so nobody has to ask again. */
static void left_by_itself(void)
{
	char *p = map_pages(N), text[32];
	int status = -EAGAIN, i;
	struct peer holder;
	pthread_t thread;

	CHECK(swap_on(64));
	snprintf(text, sizeof(text), "%zu to=swap", 2 * N * PAGE);
	/* On a busy host the holder may end after the patience. */
	for (i = 0; i < 5 && status; i++) {
		holder = peer_start(hold_some, NULL);
		CHECK_EQ(hear(&holder), 'r');
		fill(p, N, SEED);
		demote(p, N);
		CHECK_EQ(current_of(&cg_here), (int64_t)(2 * N * PAGE));
		CHECK(!pthread_create(&thread, NULL, end_holder, &holder));
		status = reclaim(text);
		CHECK(!pthread_join(thread, NULL));
		CHECK_EQ(waitpid(holder.pid, NULL, 0), holder.pid);
		CHECK(WAIT_FOR(SETTLES, current_of(&cg_here) == 0));
	}
	CHECK_EQ(status, 0);
	CHECK_CONTENT(p, N, SEED);
	CHECK(!munmap(p, N * PAGE));
	swap_off();
}

/* --- the cpuset of the owner -------------------------------------------------- */

struct writer {
	const struct cg *cg;
	char mems[8];
};

static void request_from(struct peer *up, void *arg)
{
	struct writer *w = arg;

	CHECK_EQ(cg_write(w->cg, "cpuset.mems", w->mems), 0);
	CHECK_EQ(cg_enter(w->cg, getpid()), 0);
	CHECK_EQ(reclaim("64K to=dram"), 0);
	tell(up, 'r');
}

/* A page comes back to where its cgroup may have memory, whoever asks for that. */
static void within_cpuset(void)
{
	struct cg top = { CGROOT }, parent = cg_here, owner;
	struct writer w = { .cg = &top };
	struct peer peer;
	char *p;
	int nid, i;

	*strrchr(parent.path, '/') = '\0';
	if (!exists("/sys/devices/system/node/node1/meminfo") || cram_node() < 2)
		skip("one ordinary node only (NODES=2)");
	if (cg_write(&top, "cgroup.subtree_control", "+cpuset") ||
	    cg_write(&parent, "cgroup.subtree_control", "+cpuset"))
		skip("no cpuset controller");
	owner = cg_make(parent.path, "writer");
	w.cg = &owner;
	for (nid = 0; nid < 2; nid++) {
		CHECK_EQ(cg_printf(&cg_here, "cpuset.mems", "%d", nid), 0);
		p = map_pages(N);
		fill(p, N, SEED);
		demote(p, N);
		snprintf(w.mems, sizeof(w.mems), "%d", !nid);
		peer = peer_start(request_from, &w);
		CHECK_EQ(hear(&peer), 'r');
		CHECK_EQ(peer_end(&peer), 0);
		CHECK_EQ(N - count_resident(p, N), 16);
		for (i = 0; i < N; i++)
			if (!is_resident(p + i * PAGE))
				CHECK_EQ(node_of(p + i * PAGE), nid);
		CHECK(!munmap(p, N * PAGE));
	}
	CHECK(!cg_remove(&owner));
	CHECK_EQ(cg_write(&cg_here, "cpuset.mems", "\n"), 0);
	CHECK_EQ(cg_write(&parent, "cgroup.subtree_control", "-cpuset"), 0);
}

/* --- requests and the administrator ------------------------------------------- */

struct beggar {
	struct cg cg;
	struct peer peer;
};

/* What it asks for cannot be had, and it asks all the time. */
static void beg(struct peer *up, void *arg)
{
	const struct cg *cg = &((struct beggar *)arg)->cg;
	char *p = map_pages(HELD);

	CHECK_EQ(cg_enter(cg, getpid()), 0);
	fill(p, HELD, SEED);
	demote(p, HELD);
	hold_in_pipe(p, HELD);
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

/* Have the node evict what makes up so much, and the tenants say what they lost. */
static void squeeze(struct tenant *t, size_t n, int64_t bytes)
{
	int64_t lost = 0;
	size_t i;

	for (i = 0; i < n; i++) {
		CHECK_EQ(hear(&t[i].peer), 'r');
		t[i].before = current_of(&t[i].cg);
	}
	/* It is not low until it is; then it wants a quarter more than that. */
	set_low((settled_free() + bytes) / 5 * 4);
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

/* --- who cannot pay ----------------------------------------------------------- */

/* Without swap one does not pay, and is no reason for the node to stay as it is. */
static void no_swap(bool all_low)
{
	struct tenant t[3] = { { .mib = 16 }, { .mib = 8 }, { .mib = 4 } };

	CHECK(swap_on(128));
	alone();
	t[0].cg = cg_make(cg_here.path, "no-swap");
	t[1].cg = cg_make(cg_here.path, "large");
	t[2].cg = cg_make(cg_here.path, "small");
	CHECK_EQ(cg_write(&t[0].cg, "memory.swap.max", "0"), 0);
	for (int i = 1; i < 3 && all_low; i++)
		CHECK_EQ(cg_write(&t[i].cg, "cram.low", "max"), 0);
	tenants_start(t, 3);
	squeeze(t, 3, 4 * MIB);
	CHECK_EQ(t[0].lost, 0);
	CHECK(t[2].lost >= (int64_t)MIB / 2);
	CHECK_NEAR(t[1].lost, 2 * t[2].lost, 2 * t[2].lost / 10 + (int64_t)PAGE);
	tenants_end(t, 3);
	swap_off();
}

static void no_swap_for_one(void)
{
	no_swap(false);
}

static void no_swap_for_the_only_one(void)
{
	no_swap(true);
}

/* Nor does somebody whose pages are all held keep the others from paying. */
static void held_tenant(struct peer *up, void *arg)
{
	struct tenant *t = arg;
	size_t pages = t->mib * CHUNK;
	char *p = map_pages(pages);

	CHECK_EQ(cg_enter(&t->cg, getpid()), 0);
	fill_period = 512;
	fill(p, pages, SEED);
	demote(p, pages);
	hold_in_pipe(p, pages);
	tell(up, 'r');
	hear(up);
	CHECK_CONTENT(p, pages, SEED);
}

static void held_by_one(void)
{
	struct tenant t[2] = { { .mib = 1 }, { .mib = 4 } };

	CHECK(swap_on(128));
	alone();
	t[0].cg = cg_make(cg_here.path, "held");
	t[1].cg = cg_make(cg_here.path, "under-low");
	CHECK_EQ(cg_write(&t[1].cg, "cram.low", "max"), 0);
	t[0].peer = peer_start(held_tenant, &t[0]);
	t[1].peer = peer_start(tenant, &t[1]);
	for (int i = 0; i < 2; i++) {
		CHECK_EQ(hear(&t[i].peer), 'r');
		t[i].before = current_of(&t[i].cg);
	}
	make_short(MIB / 4);
	CHECK(WAIT_FOR(SETTLES, state_is("open")));
	set_low(0);
	nap_ms(500);
	CHECK_EQ(current_of(&t[0].cg), t[0].before);
	CHECK(current_of(&t[1].cg) < t[1].before);
	tenants_end(t, 2);
	swap_off();
}

/* --- shares of less than a page ----------------------------------------------- */

/*
 * @n cgroups with @pages each, made by one process, which goes from one to the next:
 * pages stay with who they are charged to. With @poor, one in so many of them has no
 * swap, and can give nothing.
 */
static char *crowd(int n, size_t pages, int poor)
{
	char *p = map_pages(n * pages);
	struct cg home = cg_make(cg_here.path, "home"), cg;
	int i;

	CHECK_EQ(cg_enter(&home, getpid()), 0);
	CHECK_EQ(cg_write(&cg_here, "cgroup.subtree_control", "+memory +cram"), 0);
	fill_period = 512;
	for (i = 0; i < n; i++) {
		cg = cg_make(cg_here.path, "s%d", i);
		if (poor && i % poor == 0)
			CHECK_EQ(cg_write(&cg, "memory.swap.max", "0"), 0);
		CHECK_EQ(cg_enter(&cg, getpid()), 0);
		fill(p + i * pages * PAGE, pages, SEED + i);
		demote(p + i * pages * PAGE, pages);
	}
	CHECK_EQ(cg_enter(&home, getpid()), 0);
	return p;
}

/*
 * Have the node low until so many pages were given, and open again for it. With thousands
 * of cgroups each page is a batch of its own: a slow machine gives 50 of them a second.
 */
static void pay(int64_t wanted)
{
	make_short(wanted * 4160 + 64);
	CHECK(WAIT_FOR(SETTLES + wanted / 50, state_is("open")), "%lld pages wanted, %lld bytes short",
	      (long long)wanted, (long long)short_by());
	set_low(0);
	/* What the disk is still writing would come back at the next swapoff */
	settled_free();
}

/* Fewer pages are wanted than there are cgroups: somebody gives them all the same. */
static void crowded(int n, size_t pages, int poor)
{
	const int payers = poor ? n - (n + poor - 1) / poor : n;
	const int rounds = getenv("ROUNDS") ? atoi(getenv("ROUNDS")) : 1;
	int64_t left, least = INT64_MAX, most = 0;
	char *p = crowd(n, pages, poor);
	int *have = calloc(pages + 1, sizeof(*have));
	struct cg cg;
	int i;

	CHECK(have);
	CHECK_EQ(count_resident(p, n * pages), n * pages);
	pay(1);
	pay(payers / 3);
	/* And when half of all is wanted, at once or bit by bit, all give alike. */
	for (i = 0; i < rounds; i++)
		pay(payers * pages / 2 / rounds);
	for (i = 0; i < n; i++) {
		snprintf(cg.path, sizeof(cg.path), "%.150s/s%d", cg_here.path, i);
		left = current_of(&cg) / (int64_t)PAGE;
		if (poor && i % poor == 0) {
			CHECK_EQ(left, pages);
			continue;
		}
		have[left]++;
		least = left < least ? left : least;
		most = left > most ? left : most;
	}
	tap_note("%d of %d cgroups of %zu pages have %lld to %lld left", payers, n, pages,
		 (long long)least, (long long)most);
	for (left = least; left <= most; left++)
		tap_note("%lld left: %d", (long long)left, have[left]);
	free(have);
	CHECK(least < (int64_t)pages / 2 + 2);
	/* A page cannot be divided, and the last relief may have been for one that came back */
	CHECK(most - least <= 2);
	for (i = 0; i < n; i++)
		CHECK_CONTENT(p + i * pages * PAGE, pages, SEED + i);
	CHECK(!munmap(p, n * pages * PAGE));
	swap_off();
}

static void crowd_of_3(void)
{
	crowded(3, 400, 0);
}

static void crowd_of_20(void)
{
	crowded(20, 60, 0);
}

static void crowd_of_3_some_poor(void)
{
	crowded(3, 400, 3);
}

static void crowd_of_20_some_poor(void)
{
	crowded(20, 60, 3);
}

/* With MANY=n PAGES=n in the environment: so many cgroups, with so many pages each */
static void crowd_of_many(int poor)
{
	crowded(getenv("MANY") ? atoi(getenv("MANY")) : 150,
		getenv("PAGES") ? atoi(getenv("PAGES")) : 4, poor);
}

static void crowd_of_many_rich(void)
{
	crowd_of_many(0);
}

static void crowd_of_many_some_poor(void)
{
	crowd_of_many(3);
}

/* --- a slow disk -------------------------------------------------------------- */

/*
 * What takes longer than this, waits for the disk, which writes what there is in
 * twice the time at least.
 */
#define PROMPT	8

/* So many seconds of it are enough */
#define LONG_ENOUGH	60

static int64_t times_lost(void)
{
	return cg_key(&cg_here, "cram.events", "node_lost");
}

static volatile bool spinning;

static void *spin_on(void *arg)
{
	while (spinning)
		;
	return NULL;
}

/*
 * On a host that has no time for it, the shortest lease ends by itself: so it does then
 * while the guest is as busy with nothing.
 */
static void skip_on_slow_host(void)
{
	int64_t before = times_lost(), lost;
	int n = sysconf(_SC_NPROCESSORS_ONLN), i;
	pthread_t thread[n];

	spinning = true;
	for (i = 0; i < n; i++)
		CHECK(!pthread_create(&thread[i], NULL, spin_on, NULL));
	nap_ms(LONG_ENOUGH / 2 * 1000);
	spinning = false;
	for (i = 0; i < n; i++)
		CHECK(!pthread_join(thread[i], NULL));
	lost = times_lost() - before;
	if (lost)
		skip("a busy host: lost %lld times with nothing to write", (long long)lost);
}

static volatile bool writing;

static void *request_on(void *arg)
{
	while (writing)
		if (cg_write(arg, "cram.reclaim", "1M to=swap"))
			nap_ms(10);
	return NULL;
}

static void *drain_on(void *arg)
{
	while (writing)
		write_text(node_file("state"), arg);
	return NULL;
}

static void *squeeze_on(void *arg)
{
	while (writing) {
		set_low(node_number("physical_free_bytes") + (int64_t)MIB);
		nap_ms(20);
	}
	return NULL;
}

/* Time to do something to a cgroup, in seconds */
static double took(int (*fn)(const struct cg *), const struct cg *cg)
{
	double start = now();

	CHECK_EQ(fn(cg), 0);
	return now() - start;
}

static int make_dir(const struct cg *cg)
{
	return mkdir(cg->path, 0755) ? -errno : 0;
}

static int remove_dir(const struct cg *cg)
{
	return rmdir(cg->path) ? -errno : 0;
}

static int limit_to_0(const struct cg *cg)
{
	return cg_write(cg, "cram.max", "0");
}

struct guest {
	struct cg in, out;
};

/* A page of one cgroup, whose process goes on to another. */
static void one_page(struct peer *up, void *arg)
{
	struct guest *g = arg;
	char *p = map_pages(1);

	CHECK_EQ(cg_enter(&g->in, getpid()), 0);
	fill(p, 1, SEED);
	demote(p, 1);
	CHECK_EQ(cg_enter(&g->out, getpid()), 0);
	tell(up, 'r');
	hear(up);
	CHECK_CONTENT(p, 1, SEED);
}

static void ask_for_all(struct peer *up, void *arg)
{
	tell(up, 'r');
	cg_write(arg, "cram.reclaim", "1G");
}

static void interrupted(int sig)
{
}

static void worse(double *worst, double t)
{
	*worst = t > *worst ? t : *worst;
}

/*
 * While a slow disk writes what @fn has begun, the lease is renewed, and nobody who
 * has to do with other cgroups waits.
 */
static void slow_disk(void *(*fn)(void *), void *arg)
{
	const struct sigaction interrupt = { .sa_handler = interrupted };
	size_t pages = atoi(getenv("SLOW_DISK")) * CHUNK, i;
	double end, worst_dir = 0, worst_limit = 0, idle = 0;
	int64_t lost;
	struct peer peer[2], asks;
	struct guest g[2];
	struct cg busy, y;
	pthread_t thread;
	int64_t before;
	int rounds = 0;
	char *p;

	CHECK(!sigaction(SIGUSR1, &interrupt, NULL), "%m");
	CHECK(swap_on(512));
	busy = cg_make(cg_here.path, "busy");
	snprintf(y.path, sizeof(y.path), "%.150s/y", cg_here.path);
	CHECK_EQ(cg_enter(&busy, getpid()), 0);
	CHECK_EQ(cg_write(&cg_here, "cgroup.subtree_control", "+memory +cram"), 0);
	p = map_pages(pages);
	for (i = 0; i < pages; i += CHUNK) {
		fill(p + i * PAGE, CHUNK, SEED + i);
		demote(p + i * PAGE, CHUNK);
	}
	CHECK_EQ(write_text(node_file("lease_ms"), getenv("LEASE_MS") ?: "500"), 0);
	if (getenv("LEASE_MS"))
		skip_on_slow_host();
	lost = times_lost();
	before = current_of(&busy);
	end = pages / CHUNK / 4;
	end = now() + (end < LONG_ENOUGH ? end : LONG_ENOUGH) * scale();
	for (; now() < end; rounds++) {
		/* While the node is open; without swap, so that they can leave at once */
		for (i = 0; i < 2; i++) {
			g[i].in = cg_make(cg_here.path, "guest%zu", i);
			g[i].out = i ? busy : g[i].in;
			CHECK_EQ(cg_write(&g[i].in, "memory.swap.max", "0"), 0);
			peer[i] = peer_start(one_page, &g[i]);
			CHECK_EQ(hear(&peer[i]), 'r');
		}
		worse(&idle, took(make_dir, &y) + took(remove_dir, &y));
		writing = true;
		CHECK(!pthread_create(&thread, NULL, fn, arg ?: &busy));
		nap_ms(500);
		worse(&worst_limit, took(limit_to_0, &g[0].in));
		CHECK_EQ(current_of(&g[0].in), 0);
		/* It is removed while somebody writes to one of its files. */
		asks = peer_start(ask_for_all, &g[1].in);
		CHECK_EQ(hear(&asks), 'r');
		worse(&worst_dir, took(remove_dir, &g[1].in) + took(make_dir, &y) +
				  took(remove_dir, &y));
		waitpid(asks.pid, NULL, 0);
		/* A signal ends what it has begun. */
		writing = false;
		CHECK(WAIT_FOR(SETTLES, (pthread_kill(thread, SIGUSR1),
					 !pthread_tryjoin_np(thread, NULL))));
		for (i = 0; i < 2; i++) {
			tell(&peer[i], 'g');
			CHECK_EQ(peer_end(&peer[i]), 0);
		}
		CHECK(!cg_remove(&g[0].in));
		set_low(0);
		CHECK_EQ(write_text(node_file("state"), "open"), 0);
		CHECK(WAIT_FOR(SETTLES, state_is("open")));
	}
	CHECK_EQ(write_text(node_file("lease_ms"), "1000"), 0);
	tap_note("%d rounds, %lld of %lld KiB gone; a limit %.2f s, directories %.2f s at worst, %.2f s idle",
		 rounds, (long long)(before - current_of(&busy)) / 1024,
		 (long long)before / 1024, worst_limit, worst_dir, idle);
	CHECK(current_of(&busy) < before);
	CHECK_EQ(times_lost(), lost);
	CHECK(worst_limit < PROMPT);
	/*
	 * Two are removed and one is made: within a second, on a machine that has the time,
	 * which shows in how long it takes when idle.
	 */
	CHECK(worst_dir < 2 * scale() + 10 * idle);
	CHECK(!munmap(p, pages * PAGE));
}

static void slow_requests(void)
{
	slow_disk(request_on, NULL);
}

static void slow_drain(void)
{
	slow_disk(drain_on, "offline");
}

static void slow_relief(void)
{
	slow_disk(squeeze_on, NULL);
}

#define WRITTEN	(8 * CHUNK)

/* Has the disk written what it was asked to? */
static bool disk_is_idle(void)
{
	char path[100], text[64];
	unsigned int reads, writes;

	snprintf(path, sizeof(path), "/sys/block/%s/inflight", strrchr(swap_disk, '/') + 1);
	CHECK(read_text(path, text, sizeof(text)) > 0, "%s", path);
	CHECK_EQ(sscanf(text, "%u %u", &reads, &writes), 2);
	return !reads && !writes;
}

/*
 * Pages of @cg that were written to swap, and that are on the node still: whoever frees
 * them comes by with each reading, and there is none for twenty seconds. The process
 * goes on to @home.
 */
static char *written(const struct cg *cg, const struct cg *home)
{
	char *p = map_pages(WRITTEN), text[32];
	int64_t readings;

	CHECK_EQ(cg_enter(cg, getpid()), 0);
	fill(p, WRITTEN, SEED);
	demote(p, WRITTEN);
	CHECK_EQ(cg_enter(home, getpid()), 0);
	settled_free();
	readings = debug_number(SIM "readings");
	CHECK_EQ(write_text(node_file("lease_ms"), "60000"), 0);
	CHECK(WAIT_FOR(SETTLES, read_number(SIM "readings") > readings));
	nap_ms(100);
	snprintf(text, sizeof(text), "%zu to=swap", WRITTEN * PAGE);
	CHECK_EQ(write_bytes(cg_file(cg, "cram.reclaim"), text, strlen(text), O_NONBLOCK), 0);
	CHECK(WAIT_FOR(SETTLES, disk_is_idle()));
	tap_note("%lld of %zu KiB are to be freed", (long long)current_of(cg) / 1024,
		 WRITTEN * PAGE / 1024);
	CHECK(current_of(cg) >= (int64_t)(WRITTEN / 2 * PAGE));
	return p;
}

static void written_end(char *p)
{
	CHECK_EQ(write_text(node_file("lease_ms"), "1000"), 0);
	CHECK_CONTENT(p, N, SEED);
	CHECK(!munmap(p, WRITTEN * PAGE));
}

/* Who raises a limit does not free what was written before, nor waits for that. */
static void slow_raise(void)
{
	struct cg home = cg_make(cg_here.path, "home"), child;
	int64_t before, freed;
	double start;
	char *p;

	CHECK(swap_on(128));
	CHECK_EQ(cg_enter(&home, getpid()), 0);
	CHECK_EQ(cg_write(&cg_here, "cgroup.subtree_control", "+memory +cram"), 0);
	child = cg_make(cg_here.path, "child");
	p = written(&child, &home);
	before = current_of(&child);
	start = now();
	CHECK_EQ(cg_write(&child, "cram.max", "max"), 0);
	freed = before - current_of(&child);
	tap_note("raised within %.3f s, %lld KiB freed for it", now() - start,
		 (long long)freed / 1024);
	CHECK(freed < before / 2);
	written_end(p);
}

static void *limit_on(void *arg)
{
	cg_write(arg, "cram.max", "0");
	return NULL;
}

/* Who removes a cgroup does not wait until all is freed that a limit made leave. */
static void slow_remove(void)
{
	struct cg home = cg_make(cg_here.path, "home"), child;
	int64_t before, left = 0;
	pthread_t thread;
	double start;
	char *p;
	int i;

	CHECK(swap_on(128));
	CHECK_EQ(cg_enter(&home, getpid()), 0);
	CHECK_EQ(cg_write(&cg_here, "cgroup.subtree_control", "+memory +cram"), 0);
	/* It may be over before rmdir begins; but not each time. */
	for (i = 0; i < 3 && left < (int64_t)(N * PAGE); i++) {
		child = cg_make(cg_here.path, "child%d", i);
		p = written(&child, &home);
		before = current_of(&child);
		CHECK(!pthread_create(&thread, NULL, limit_on, &child));
		CHECK(WAIT_FOR(SETTLES, current_of(&child) < before));
		start = now();
		CHECK_EQ(remove_dir(&child), 0);
		left = current_of(&cg_here);
		tap_note("removed within %.3f s, %lld of %lld KiB left", now() - start,
			 (long long)left / 1024, (long long)before / 1024);
		CHECK(!pthread_join(thread, NULL));
		written_end(p);
	}
	CHECK(left >= (int64_t)(N * PAGE));
}

/* --- the cold ones first ------------------------------------------------------ */

static volatile bool reading;

struct read_pages {
	char *p;
	size_t n, step;
};

/* So much at once that all of the TLB is flushed; what is in it is not read. */
static void flush_tlb(void)
{
	char *p = map_pages(64);

	memset(p, 1, 64 * PAGE);
	CHECK(!munmap(p, 64 * PAGE));
}

static void *read_on(void *arg)
{
	struct read_pages *r = arg;
	volatile char sink;

	while (reading) {
		flush_tlb();
		for (size_t i = 0; i < r->n; i += r->step)
			sink = ((volatile char *)r->p)[i * PAGE];
		nap_ms(1);
	}
	(void)sink;
	return NULL;
}

/* A quarter of the cells in pages that do not compress */
static struct read_pages quarter(size_t step)
{
	struct read_pages r = { .n = physical / 4 / PAGE, .step = step };

	r.p = map_pages(r.n);
	fill_period = 512;
	for (size_t i = 0; i < r.n; i += CHUNK) {
		fill(r.p + i * PAGE, CHUNK, SEED + i);
		demote(r.p + i * PAGE, CHUNK);
	}
	return r;
}

static void check_quarter(const struct read_pages *r)
{
	for (size_t i = 0; i < r->n; i += CHUNK)
		CHECK_CONTENT(r->p + i * PAGE, CHUNK, SEED + i);
	CHECK(!munmap(r->p, r->n * PAGE));
}

/* Every second page is read all the time. */
static void cold_first(void)
{
	struct read_pages r = quarter(2);
	size_t i, hot = 0, cold = 0;
	pthread_t thread;

	CHECK(swap_on(128));
	settled_free();
	reading = true;
	CHECK(!pthread_create(&thread, NULL, read_on, &r));
	/* One round of the cursor, so that it knows. */
	set_low(node_number("physical_free_bytes") + (int64_t)MIB / 4);
	CHECK(WAIT_FOR(SETTLES, cg_key(&cg_here, "cram.stat", "writeback") >= 2 * (int64_t)CHUNK));
	set_low(0);
	reading = false;
	CHECK(!pthread_join(thread, NULL));
	for (i = 0; i < r.n; i++) {
		if (is_resident(r.p + i * PAGE))
			continue;
		if (i % 2)
			cold++;
		else
			hot++;
	}
	tap_note("%zu pages that were not read have left, and %zu that were", cold, hot);
	CHECK(cold >= CHUNK);
	CHECK(hot * 4 < cold);
	check_quarter(&r);
	swap_off();
}

/*
 * All that is there is read all the time: then that has to go, and whoever lowers the
 * limit of another cgroup meanwhile does not wait for a look at all of it.
 */
static void all_read(void)
{
	struct cg reader = cg_make(cg_here.path, "reader");
	double worst[2] = {};
	struct guest g[6];
	struct peer peer[6];
	struct read_pages r;
	pthread_t thread;
	int i;

	CHECK(swap_on(128));
	CHECK_EQ(cg_enter(&reader, getpid()), 0);
	CHECK_EQ(cg_write(&cg_here, "cgroup.subtree_control", "+memory +cram"), 0);
	r = quarter(1);
	for (i = 0; i < 6; i++) {
		g[i].in = cg_make(cg_here.path, "other%d", i);
		g[i].out = reader;
		/* So that its page can leave at once, to DRAM */
		CHECK_EQ(cg_write(&g[i].in, "memory.swap.max", "0"), 0);
		peer[i] = peer_start(one_page, &g[i]);
		CHECK_EQ(hear(&peer[i]), 'r');
	}
	settled_free();
	reading = true;
	CHECK(!pthread_create(&thread, NULL, read_on, &r));
	for (i = 0; i < 6; i++) {
		if (i == 3) {
			/* It wants a quarter more than that: most of what is there */
			set_low(node_number("physical_free_bytes") + (int64_t)MIB / 4);
			CHECK(WAIT_FOR(SETTLES, !state_is("open")));
		}
		worse(&worst[i >= 3], took(limit_to_0, &g[i].in));
		CHECK_EQ(current_of(&g[i].in), 0);
	}
	CHECK(WAIT_FOR(SETTLES, state_is("open")), "%lld bytes short, %lld resident",
	      (long long)short_by(), (long long)current_of(&reader));
	set_low(0);
	reading = false;
	CHECK(!pthread_join(thread, NULL));
	tap_note("a limit: %.2f s while open, %.2f s while low, at worst; %lld KiB written",
		 worst[0], worst[1], (long long)cg_key(&reader, "cram.stat", "writeback") * 4);
	CHECK(worst[1] < 2 * worst[0] + 1 * scale());
	CHECK(cg_key(&reader, "cram.stat", "writeback") > 0);
	for (i = 0; i < 6; i++) {
		tell(&peer[i], 'g');
		CHECK_EQ(peer_end(&peer[i]), 0);
	}
	check_quarter(&r);
	swap_off();
}

static const struct scenario scenarios[] = {
	{ "a limit on one node", limited_on_a_node },
	{ "eviction on request", on_request },
	{ "so much is written to swap, and no more", no_more },
	{ "what came back from swap is not waited for", come_back },
	{ "what is held, nobody waits for long", held },
	{ "... nor for what leaves by itself", left_by_itself },
	{ "back to where the cpuset permits", within_cpuset },
	{ "requests that make no sense", bad_requests },
	{ "requests make way for the administrator", requests_make_way },
	{ "2:1 over their protection, 2:1 evicted", fair },
	{ "nobody over: all give", all_protected },
	{ "no swap for one: the others pay", no_swap_for_one },
	{ "no swap for the only one that is over: the protected pay", no_swap_for_the_only_one },
	{ "all held of the only one that is over: the protected pay", held_by_one },
	{ "few pages of 3 equal ones", crowd_of_3 },
	{ "few pages of 20 equal ones", crowd_of_20 },
	{ "few pages of many equal ones", crowd_of_many_rich },
	{ "few pages of 3, of whom one cannot pay", crowd_of_3_some_poor },
	{ "few pages of 20, of whom some cannot pay", crowd_of_20_some_poor },
	{ "few pages of many, of whom some cannot pay", crowd_of_many_some_poor },
	{ "what is read stays", cold_first },
	{ "what is read goes when all is, and others do not wait", all_read },
};

/*
 * With SLOW_DISK=MIB in the environment: the swap is one that writes a few MiB a second,
 * and so much is resident. A quarter as many seconds are spent on each, up to a minute.
 */
static const struct scenario slow[] = {
	{ "requests, on a slow disk", slow_requests },
	{ "relief, on a slow disk", slow_relief },
	{ "a drain, on a slow disk", slow_drain },
	{ "a limit is raised while pages are on a slow disk", slow_raise },
	{ "a cgroup is removed while its pages are on a slow disk", slow_remove },
};

int main(void)
{
	const struct scenario *table = getenv("SLOW_DISK") ? slow : scenarios;
	unsigned int limit = table == slow || getenv("MANY") ? 1500 : 240;
	size_t i, n = table == slow ? ARRAY_SIZE(slow) : ARRAY_SIZE(scenarios);
	char rate[32];

	setup();
	/* What is read is to leave by eviction only */
	CHECK(read_text(node_file("promote_hot_bytes_per_sec"), rate, sizeof(rate)) > 0);
	CHECK_EQ(write_text(node_file("promote_hot_bytes_per_sec"), "0"), 0);
	physical = node_number("physical_bytes");
	CHECK_EQ(write_text(node_file("critical_bytes"), "0"), 0);
	set_low(0);
	swap_off();
	for (i = 0; i < n; i++) {
		run_scenario(&table[i], "", limit * scale());
		set_low(0);
		swap_off();
		WAIT_FOR(SETTLES, state_is("open"));
	}
	write_text(node_file("promote_hot_bytes_per_sec"), rate);
	check_device();
	teardown();
	return tap_end();
}
