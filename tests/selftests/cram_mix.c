// SPDX-License-Identifier: GPL-2.0
/*
 * What a writable budget is worth to a program whose memory is four times memory.max,
 * without swap: operations per second on pages at random, of which some are stores,
 * with a budget for all of them against none. Each pair is measured in turns in one
 * process, so that only the ratios have to be believed. Where the node has cells for
 * the budget, also against zram with lz4 instead of the node.
 *
 * For tests/bench/budget, which says on which devices; on any kernel, because what
 * checks it would be what is measured.
 */
#include "util.h"

#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#define SET		(256 * MIB)
#define MEMORY_MAX	(64 * MIB)
#define SEED		9
/* So much of each page does not compress, and the rest does: some 3:1 */
#define RANDOM		(PAGE / 3)

/* Seconds of measuring, after half as long of the same unmeasured; and how often */
#define SECONDS		4
#define ROUNDS		2

/* With a budget so many per cent of the operations without one, at least */
#define NO_SLOWER	95
/* And so many times those with zram */
#define ZRAM_TIMES	100
#define ZRAM_WRITES	20

#define ZRAM_LZ4	"/sys/block/zram0/comp_algorithm"

struct result {
	double without, with, zram;
} *result;

static struct cg mix_cg;

static uint64_t random_state = RANDOM_STATE;

/* Operations per second; @writes of 100 are stores, which change nothing. */
static double use(char *p, unsigned int writes, double seconds)
{
	double start = now(), t;
	uint64_t ops = 0, r;
	char *at;

	do {
		for (int i = 0; i < 64; i++, ops++) {
			r = next_random(&random_state);
			at = p + (r >> 20) % (SET / PAGE) * PAGE + (r & 511) * 8;
			if ((r >> 9) % 100 < writes)
				rewrite(at);
			else
				(void)*(volatile char *)at;
		}
		t = now();
	} while (t - start < seconds);
	return ops / (t - start);
}

static double measure(char *p, unsigned int writes)
{
	use(p, writes, SECONDS / 2.0 * scale());
	return use(p, writes, SECONDS * scale());
}

static double with_budget(char *p, unsigned int writes, const char *budget)
{
	CHECK_EQ(cg_write(&mix_cg, "cram.writable_budget", budget), 0);
	return measure(p, writes);
}

static char *enter_and_fill(void)
{
	static char page[PAGE];
	char *p;

	CHECK_EQ(cg_enter(&mix_cg, getpid()), 0);
	p = map_pages(SET / PAGE);
	CHECK(!madvise(p, SET, MADV_NOHUGEPAGE), "%m");
	fill_period = 512;
	for (size_t i = 0; i < SET / PAGE; i++) {
		fill_page(page, SEED, i);
		memset(page + RANDOM, 0, PAGE - RANDOM);
		memcpy(p + i * PAGE, page, PAGE);
	}
	return p;
}

/* In turns, and each first in every second of them */
static void with_and_without(struct peer *up, void *arg)
{
	unsigned int writes = *(unsigned int *)arg;
	char *p = enter_and_fill();

	for (int i = 0; i < ROUNDS; i++) {
		if (i % 2)
			result->with += with_budget(p, writes, "256M") / ROUNDS;
		result->without += with_budget(p, writes, "0") / ROUNDS;
		if (!(i % 2))
			result->with += with_budget(p, writes, "256M") / ROUNDS;
	}
	tap_note("%lld MiB writable at the end, %lld MiB resident",
		 (long long)cg_number(&mix_cg, "cram.writable_current") / (long long)MIB,
		 (long long)cg_number(&mix_cg, "cram.current") / (long long)MIB);
}

static void with_zram(struct peer *up, void *arg)
{
	char *p = enter_and_fill();

	result->zram = measure(p, *(unsigned int *)arg);
}

/* On the node without swap, or with swap and no node */
static void run(void (*fn)(struct peer *, void *), unsigned int writes, bool swap)
{
	struct peer peer;

	mix_cg = cg_make(CGROOT, "mix");
	CHECK_EQ(cg_printf(&mix_cg, "memory.max", "%lu", MEMORY_MAX), 0);
	CHECK_EQ(cg_write(&mix_cg, "memory.swap.max", swap ? "max" : "0"), 0);
	if (swap)
		CHECK_EQ(cg_write(&mix_cg, "cram.nodes", "none"), 0);
	peer = peer_start(fn, &writes);
	CHECK_EQ(peer_end(&peer), 0);
	CHECK(WAIT_FOR(SETTLES, node_number("used_bytes") == 0));
	CHECK_EQ(cg_remove(&mix_cg), 0);
}

int main(void)
{
	static const unsigned int writes[] = { 1, 5, 20, 50 };
	struct cg root = { CGROOT };
	double room_for_all = 0;
	bool room;
	size_t i;

	tap_start();
	if (geteuid() || cram_node() < 0)
		tap_skip_all("root, and a node: boot with cram_sim=512M,physical=192M");
	CHECK_EQ(cg_write(&root, "cgroup.subtree_control", "+memory +cram"), 0);
	room = node_number("physical_bytes") > (int64_t)SET;
	result = mmap(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	CHECK(result != MAP_FAILED, "%m");

	for (i = 0; i < ARRAY_SIZE(writes); i++) {
		memset(result, 0, sizeof(*result));
		run(with_and_without, writes[i], false);
		tap_note("%.0f operations per second without a budget, %.0f with one of %lu MiB: %.2f",
			 result->without, result->with, SET / MIB,
			 result->with / result->without);
		tap_ok(result->with * 100 >= result->without * NO_SLOWER,
		       "%u %% stores, %s: a budget makes nothing slower", writes[i],
		       room ? "cells in plenty" : "few cells");
		if (writes[i] == ZRAM_WRITES)
			room_for_all = result->with;
	}
	if (room) {
		CHECK_EQ(write_text(ZRAM_LZ4, "lz4"), 0);
		CHECK(swap_on(2 * SET / MIB));
		run(with_zram, ZRAM_WRITES, true);
		swap_off();
		tap_note("%.0f operations per second with zram (lz4) instead, %.0f on the node: %.0f times as many",
			 result->zram, room_for_all, room_for_all / result->zram);
		tap_ok(room_for_all >= ZRAM_TIMES * result->zram,
		       "%u %% stores, cells in plenty: %u times as many as with zram", ZRAM_WRITES,
		       ZRAM_TIMES);
	}
	CHECK_EQ(node_number("over_capacity"), 0);
	return tap_end();
}
