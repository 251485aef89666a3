// SPDX-License-Identifier: GPL-2.0
/*
 * The OOM killer and cram. A cgroup at memory.max without swap lives as long as
 * the node has room for its cold pages; when it has none, the cgroup is killed
 * as soon as it would be without cram, and reclaim does not go round in circles.
 */
#include "util.h"

#include <fcntl.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#define MEMORY_MAX	(16 * MIB)
#define COLD		(3 * MEMORY_MAX / PAGE)
#define LIMIT		(8 * MIB)
#define SEED		5

/* Time to be killed in: an emulated machine with debugging needs a few. */
#define IN_TIME		60

/* Of each kind */
#define KILLS		3

static struct cg victim_cg;

/* As it was at first, and such that the node is always low. */
static char low_water[2][32];

/* Whatever became of the scenario before. */
static void be_open(void)
{
	CHECK_EQ(write_text(node_file("low_bytes"), low_water[0]), 0);
	CHECK(WAIT_FOR(SETTLES, state_is("open")));
}

static void cold_data(struct peer *up, void *arg)
{
	void *p;

	CHECK_EQ(write_text("/proc/self/oom_score_adj", "0"), 0);
	CHECK_EQ(cg_enter(&victim_cg, getpid()), 0);
	p = map_pages(COLD);
	fill(p, COLD, SEED);
	tell(up, 'f');
	hear(up);
	CHECK_CONTENT(p, COLD, SEED);
}

/* The victim is in a cgroup of its own, the judge is not. */
static void make_victim(void)
{
	CHECK_EQ(write_text("/proc/self/oom_score_adj", "-1000"), 0);
	victim_cg = cg_make(cg_here.path, "judge");
	CHECK_EQ(cg_enter(&victim_cg, getpid()), 0);
	CHECK_EQ(cg_write(&cg_here, "cgroup.subtree_control", "+memory +cram"), 0);
	victim_cg = cg_make(cg_here.path, "victim");
	CHECK_EQ(cg_write(&victim_cg, "memory.swap.max", "0"), 0);
}

static struct peer start_victim(void)
{
	make_victim();
	CHECK_EQ(cg_printf(&victim_cg, "memory.max", "%lu", MEMORY_MAX), 0);
	return peer_start(cold_data, NULL);
}

static void lives(void)
{
	struct peer peer = start_victim();
	double start = now();

	hear(&peer);
	tap_note("%lu MiB under memory.max of %lu MiB in %.1f s, %lld MiB resident",
		 COLD * PAGE / MIB, MEMORY_MAX / MIB, now() - start,
		 (long long)(cg_number(&victim_cg, "cram.current") / MIB));
	CHECK(cg_number(&victim_cg, "memory.current") <= (int64_t)MEMORY_MAX);
	CHECK(cg_number(&victim_cg, "cram.current") >= (int64_t)(COLD * PAGE - MEMORY_MAX));
	CHECK_EQ(cg_number(&victim_cg, "memory.swap.current"), 0);
	tell(&peer, 'c');
	CHECK_EQ(peer_end(&peer), 0);
	CHECK_EQ(cg_key(&victim_cg, "memory.events", "oom_kill"), 0);
	CHECK_EQ(run_walker(), 0);
	CHECK_EQ(cg_number(&victim_cg, "cram.current"), 0);
}

/* It may have been already. How long it took from now on. */
static double is_killed(struct peer *peer)
{
	double start = now();
	int status;

	CHECK(WAIT_FOR(IN_TIME, waitpid(peer->pid, &status, WNOHANG) == peer->pid),
	      "not killed, %lld KiB in memory, %lld KiB resident",
	      (long long)cg_number(&victim_cg, "memory.current") / 1024,
	      (long long)cg_number(&victim_cg, "cram.current") / 1024);
	start = now() - start;
	tap_note("killed after %.1f s", start);
	CHECK(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL, "status %#x", status);
	CHECK(cg_key(&victim_cg, "memory.events", "oom_kill") > 0);
	/* The walker drains the LRU batches of all CPUs. */
	CHECK_EQ(run_walker(), 0);
	CHECK(WAIT_FOR(SETTLES, cg_number(&victim_cg, "cram.current") == 0));
	return start;
}

static void must_be_killed(void (*prepare)(void))
{
	struct peer peer = start_victim();

	if (prepare)
		prepare();
	is_killed(&peer);
}

static void limit_small(void)
{
	CHECK_EQ(write_bytes(cg_file(&victim_cg, "cram.max"), "8M", 2, O_NONBLOCK), 0);
}

static void told_of_limit(void)
{
	CHECK(cg_key(&victim_cg, "cram.events", "max") > 0,
	      "refused: room %lld, state %lld, max %lld",
	      (long long)cg_key(&victim_cg, "cram.stat", "refuse_room"),
	      (long long)cg_key(&victim_cg, "cram.stat", "refuse_state"),
	      (long long)cg_key(&victim_cg, "cram.stat", "refuse_max"));
}

static void limit_hit(void)
{
	must_be_killed(limit_small);
	told_of_limit();
}

static void exact_data(struct peer *up, void *arg)
{
	void *p;

	CHECK_EQ(write_text("/proc/self/oom_score_adj", "0"), 0);
	CHECK_EQ(cg_enter(&victim_cg, getpid()), 0);
	p = map_pages(LIMIT / PAGE);
	fill(p, LIMIT / PAGE, SEED);
	demote(p, LIMIT / PAGE);
	tell(up, 'd');
	hear(up);
	fill(map_pages(COLD), COLD, SEED);
}

/*
 * Demotion has come to the limit and never asked for more: reclaim sees that there
 * is nothing to win and offers no page. The cgroup is told all the same.
 */
static void limit_met(void)
{
	struct peer peer;

	make_victim();
	CHECK_EQ(cg_printf(&victim_cg, "cram.max", "%lu", LIMIT), 0);
	peer = peer_start(exact_data, NULL);
	CHECK_EQ(hear(&peer), 'd');
	CHECK_EQ(cg_number(&victim_cg, "cram.current"), LIMIT);
	CHECK_EQ(cg_key(&victim_cg, "cram.events", "max"), 0);
	CHECK_EQ(cg_printf(&victim_cg, "memory.max", "%lu", MEMORY_MAX), 0);
	tell(&peer, 'g');
	is_killed(&peer);
	told_of_limit();
}

static void right_none(void)
{
	CHECK_EQ(cg_write(&victim_cg, "cram.nodes", "none"), 0);
}

/* What it takes without cram, for comparison. */
static void no_right(void)
{
	must_be_killed(right_none);
}

/*
 * Fill the node from another cgroup, until it takes no more for longer than two
 * readings: with pages of 512 words, which do not compress, there are no cells then,
 * and with those of one word no pages.
 */
static struct cg fill_node(unsigned int words)
{
	size_t chunk = 8 * MIB / PAGE, pages = node_number("logical_bytes") / PAGE + chunk, i;
	unsigned int old = fill_period, idle = 0;
	struct cg hog = cg_make(cg_here.path, "hog");
	char *p = map_huge_area(pages);

	CHECK_EQ(cg_enter(&hog, getpid()), 0);
	/* Huge ones take a quarter of the time, where there are cells for them whole. */
	CHECK(!madvise(p, pages * PAGE, words == 1 ? MADV_HUGEPAGE : MADV_NOHUGEPAGE), "%m");
	fill_period = words;
	for (i = 0; i + chunk <= pages && idle < 3; i += chunk) {
		fill(p + i * PAGE, chunk, i);
		idle = WAIT_FOR(2, (madvise(p + i * PAGE, chunk * PAGE, MADV_PAGEOUT),
				    count_resident(p + i * PAGE, chunk) > chunk / 2)) ?
		       0 : idle + 1;
	}
	fill_period = old;
	tap_note("the node is full with %lld of %lld MiB, %lld MiB of cells free",
		 (long long)cg_number(&hog, "cram.current") / MIB,
		 (long long)node_number("logical_bytes") / MIB,
		 (long long)node_number("physical_free_bytes") / MIB);
	CHECK(idle, "more than the logical size has been filled");
	return hog;
}

static void time_to_kill(const char *enabled, double *least)
{
	struct peer peer;
	double took;

	CHECK_EQ(write_text("/sys/kernel/mm/cram/enabled", enabled), 0);
	peer = peer_start(cold_data, NULL);
	took = is_killed(&peer);
	*least = took < *least ? took : *least;
}

/*
 * As soon as without a node, whatever it is that the node is short of. The shortest times
 * are compared, as the host may be busy with something else now and then.
 */
static void killed_as_soon(void)
{
	double without = IN_TIME, with = IN_TIME;

	make_victim();
	CHECK_EQ(cg_printf(&victim_cg, "memory.max", "%lu", MEMORY_MAX), 0);
	for (int i = 0; i < KILLS; i++) {
		time_to_kill("0", &without);
		time_to_kill("1", &with);
	}
	/* For readings it waits half a second at most, however small the cgroup is */
	CHECK(with <= 2 * without + 0.5, "%.2f s, and without the node %.2f s", with, without);
	CHECK_EQ(cg_key(&victim_cg, "memory.events", "oom_kill"), 2 * KILLS);
}

static void node_full(unsigned int words, const char *refusal, const char *other)
{
	struct cg judge = cg_make(cg_here.path, "judge"), hog;

	CHECK_EQ(cg_enter(&judge, getpid()), 0);
	CHECK_EQ(cg_write(&cg_here, "cgroup.subtree_control", "+memory +cram"), 0);
	be_open();
	hog = fill_node(words);
	CHECK(cg_key(&hog, "cram.stat", refusal) + cg_key(&hog, "cram.stat", other) > 0);
	killed_as_soon();
	CHECK_EQ(node_number("over_capacity"), 0);
}

static void no_cells(void)
{
	node_full(512, "refuse_room", "refuse_state");
}

/* Most cells are free, and reclaim has nothing to win all the same. */
static void no_pages(void)
{
	node_full(1, "refuse_page", "refuse_page");
	CHECK(node_number("physical_free_bytes") > node_number("physical_bytes") / 2);
	CHECK(state_is("open"));
}

/* A node that does not answer takes nothing, whatever its last answer was. */
static void node_silent(void)
{
	if (write_text(SIM "drop", "1"))
		skip("no " SIM "drop (CONFIG_CRAM_SIM)");
	CHECK(WAIT_FOR(SETTLES, state_is("lost")));
	must_be_killed(NULL);
	debug_set(SIM "drop", "0");
	CHECK(WAIT_FOR(SETTLES, state_is("open")));
}

static void locked_data(struct peer *up, void *arg)
{
	CHECK_EQ(write_text("/proc/self/oom_score_adj", "0"), 0);
	CHECK_EQ(cg_enter(&victim_cg, getpid()), 0);
	mlock(map_pages(COLD), COLD * PAGE);
}

/*
 * The node is short of cells and is not, again and again: then it is worth to wait
 * for it, and to try again, but not for ever. Locked pages are never demoted.
 */
static void node_short_now_and_then(void)
{
	unsigned int round, turn;
	char *p;
	int status;

	make_victim();
	be_open();
	CHECK_EQ(cg_printf(&victim_cg, "memory.max", "%lu", MEMORY_MAX), 0);
	/* With something on it there is less than all of it free */
	fill_period = 512;
	p = map_pages(256);
	fill(p, 256, SEED);
	demote(p, 256);

	for (round = 0; round < 8; round++) {
		struct peer peer = peer_start(locked_data, NULL);
		double start = now();

		for (turn = 1; waitpid(peer.pid, &status, WNOHANG) != peer.pid; turn++) {
			CHECK(now() - start < IN_TIME, "not killed in round %u", round);
			CHECK_EQ(write_text(node_file("low_bytes"), low_water[turn % 2]), 0);
			nap_ms(30);
		}
		CHECK(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL, "status %#x", status);
		CHECK_EQ(write_text(node_file("low_bytes"), low_water[0]), 0);
		CHECK(WAIT_FOR(SETTLES, state_is("open")));
	}
	CHECK_EQ(cg_key(&victim_cg, "memory.events", "oom_kill"), 8);
	CHECK(!munmap(p, 256 * PAGE));
}

/*
 * Who maps much of the node and little of ordinary memory is not the one to be
 * killed: it would free nothing.
 */
static void dram_data(struct peer *up, void *arg)
{
	void *p;

	CHECK_EQ(write_text("/proc/self/oom_score_adj", "0"), 0);
	CHECK_EQ(cg_enter(&victim_cg, getpid()), 0);
	p = map_pages(COLD);
	hear(up);
	/* No right to the node any more: with this, memory.max is exceeded. */
	fill(p, COLD, SEED + 1);
	tell(up, 'f');
	hear(up);
}

static void resident_pages_do_not_count(void)
{
	struct peer cold, hungry;
	char file[64];
	int64_t before, after;
	int status;

	make_victim();
	cold = peer_start(cold_data, NULL);
	CHECK_EQ(hear(&cold), 'f');
	snprintf(file, sizeof(file), "/proc/%d/oom_score", cold.pid);
	before = read_number(file);
	CHECK(WAIT_FOR(20, (cg_printf(&victim_cg, "memory.reclaim", "%lu", COLD * PAGE),
			    cg_number(&victim_cg, "cram.current") >=
			    (int64_t)((COLD - 64) * PAGE))));
	after = read_number(file);
	tap_note("oom_score %lld, and %lld with its pages resident", (long long)before,
		 (long long)after);
	CHECK(after < before);

	hungry = peer_start(dram_data, NULL);
	CHECK_EQ(cg_write(&victim_cg, "cram.nodes", "none"), 0);
	CHECK_EQ(cg_printf(&victim_cg, "memory.max", "%lu", MEMORY_MAX), 0);
	tell(&hungry, 'g');
	CHECK(WAIT_FOR(IN_TIME, waitpid(hungry.pid, &status, WNOHANG) == hungry.pid));
	CHECK(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL, "status %#x", status);
	CHECK_EQ(cg_key(&victim_cg, "memory.events", "oom_kill"), 1);

	CHECK_EQ(cg_write(&victim_cg, "memory.max", "max"), 0);
	tell(&cold, 'c');
	CHECK_EQ(peer_end(&cold), 0);
}

static const struct scenario scenarios[] = {
	{ "room on the node: a cgroup lives with three times memory.max", lives },
	{ "without a right to the node it is killed", no_right },
	{ "at cram.max it is killed in time", limit_hit },
	{ "at cram.max, met exactly, it is killed and told", limit_met },
	{ "with a node that has no cells it is killed as soon as without one", no_cells },
	{ "with a node that has no pages it is killed as soon as without one", no_pages },
	{ "with a silent node it is killed in time", node_silent },
	{ "with a node that is short now and then it is killed in time",
	  node_short_now_and_then },
	{ "pages on the node do not make a process the one to kill", resident_pages_do_not_count },
};

int main(void)
{
	setup();
	swap_off();
	snprintf(low_water[0], sizeof(low_water[0]), "%lld", (long long)node_number("low_bytes"));
	snprintf(low_water[1], sizeof(low_water[1]), "%lld",
		 (long long)node_number("physical_bytes"));
	run_scenarios(scenarios, ARRAY_SIZE(scenarios), "", 240);
	/* Whatever became of that one. */
	write_text(SIM "drop", "0");
	write_text("/sys/kernel/mm/cram/enabled", "1");
	write_text(node_file("low_bytes"), low_water[0]);
	check_device();
	teardown();
	return tap_end();
}
