// SPDX-License-Identifier: GPL-2.0
/*
 * Hot pages go back to ordinary memory: those that are read all the time and no
 * others, no faster than the rate, and only where nobody has to give anything up
 * for them. And what a device says is hot, if it says what makes sense.
 */
#include "util.h"

#include <fcntl.h>
#include <pthread.h>
#include <sys/mman.h>
#include <unistd.h>

#define N		128
#define SEED		51
#define DEFAULT_RATE	(16 * (int64_t)MIB)
#define VM		"/proc/sys/vm/"

/*
 * The kernel looks once a second, finds a page that was read, and wants to see it read
 * in three periods more.
 */
#define PERIODS		3

/*
 * One look, now and to its end. The kernel takes it for that of another second, and
 * looks no more by itself until the rate is set.
 */
static void pass(void)
{
	char nid[16];

	snprintf(nid, sizeof(nid), "%d", cram_node());
	debug_set(DEBUGFS "hot_pass", nid);
}

static void passes(int n)
{
	while (n--)
		pass();
}

/* A look each second, as ever */
static void set_rate_only(int64_t bytes)
{
	char text[32];

	snprintf(text, sizeof(text), "%lld", (long long)bytes);
	CHECK_EQ(write_text(node_file(HOT_RATE), text), 0);
}

/*
 * ... and when we say so. The first look that comes of it may find pages whose entries
 * say that they were read, as they do after a demotion; the next one not any more.
 */
static void set_rate(int64_t bytes)
{
	set_rate_only(bytes);
	passes(2);
}

static int64_t stat_of(const struct cg *cg, const char *key)
{
	return cg_key(cg, "cram.stat", key);
}

static int64_t promoted(void)
{
	return stat_of(&cg_here, "promote_hot");
}

static int64_t refused(void)
{
	return stat_of(&cg_here, "promote_hot_refused");
}

/* --- somebody who reads --------------------------------------------------------- */

/* Every @step-th of so many pages, for as long as @on. */
static struct reader {
	volatile bool on;
	char *p;
	size_t pages, step;
	pthread_t thread;
} reader;

/*
 * What is in the TLB is not read. So much at once has all of it flushed, and takes
 * no memory while it is repeated.
 */
static void flush_tlb(void)
{
	static char *p;

	if (!p) {
		p = map_pages(64);
		memset(p, 1, 64 * PAGE);
	}
	CHECK(!mprotect(p, 64 * PAGE, PROT_READ));
	CHECK(!mprotect(p, 64 * PAGE, PROT_READ | PROT_WRITE));
	for (size_t i = 0; i < 64; i++)
		rewrite(p + i * PAGE);
}

static void read_once(char *p, size_t pages, size_t step)
{
	volatile char sink;

	flush_tlb();
	for (size_t i = 0; i < pages; i += step)
		sink = ((volatile char *)p)[i * PAGE];
	(void)sink;
}

static void *read_on(void *arg)
{
	struct reader *r = arg;

	while (r->on) {
		read_once(r->p, r->pages, r->step);
		nap_ms(5);
	}
	return NULL;
}

static void read_start(char *p, size_t pages, size_t step)
{
	reader.p = p;
	reader.pages = pages;
	reader.step = step;
	reader.on = true;
	CHECK(!pthread_create(&reader.thread, NULL, read_on, &reader));
}

static void read_stop(void)
{
	reader.on = false;
	CHECK(!pthread_join(reader.thread, NULL));
}

/* Not by where pages are: one that is being moved is nowhere. */
static void all_promoted(char *p, size_t pages)
{
	CHECK(WAIT_FOR(SETTLES, promoted() == (int64_t)pages), "%lld of %zu",
	      (long long)promoted(), pages);
	CHECK_EQ(count_resident(p, pages), 0);
}

/* Read in so many periods. */
static void read_periods(char *p, size_t pages, size_t step, int n)
{
	while (n--) {
		read_once(p, pages, step);
		pass();
	}
}

/* Read long enough for every page to be promoted, if that could be. */
static void read_in_vain(char *p, size_t pages)
{
	read_periods(p, pages, 1, 2 * PERIODS + 1);
	CHECK_EQ(promoted(), 0);
}

/*
 * Read until so many are promoted. A page may be in somebody's hands for a moment, and
 * on a busy host the lease may end, which is forgotten about then.
 */
static void read_until(char *p, size_t pages, size_t step, int64_t wanted)
{
	for (int i = 0; i < 20 && promoted() < wanted; i++)
		read_periods(p, pages, step, 1);
	CHECK_EQ(promoted(), wanted);
}

/* Read until all were hot and none was promoted, with the same patience. */
static void read_until_refused(char *p, size_t pages)
{
	read_in_vain(p, pages);
	for (int i = 0; i < 20 && refused() < (int64_t)pages; i++)
		read_periods(p, pages, 1, 1);
	CHECK(refused() >= (int64_t)pages, "%lld", (long long)refused());
	CHECK_EQ(promoted(), 0);
}

/* Read until all of them are promoted: not a period sooner than they may. */
static void read_until_promoted(char *p, size_t pages, size_t step)
{
	int64_t before = promoted(), wanted = before + (pages + step - 1) / step;

	read_periods(p, pages, step, PERIODS);
	CHECK_EQ(promoted(), before);
	read_until(p, pages, step, wanted);
}

/* --- what is hot ---------------------------------------------------------------- */

/* PG_active, as /proc/kpageflags has it. */
static bool is_active(const void *p)
{
	uint64_t flags = 0;
	int fd = open("/proc/kpageflags", O_RDONLY);

	CHECK(fd >= 0, "%m");
	CHECK_EQ(pread(fd, &flags, sizeof(flags), pfn_of(p) * sizeof(flags)), sizeof(flags));
	close(fd);
	return flags & 1 << 6;
}

/*
 * Every second page is read. These come back, all of them and none of the others,
 * and are no longer what reclaim takes first.
 */
static void hot_and_cold(void)
{
	char text[64], *p = resident_pages(2 * N, SEED), *cold;
	int64_t before;

	CHECK_EQ(node_number(HOT_RATE), DEFAULT_RATE);
	read_until_promoted(p, 2 * N, 2);
	read_periods(p, 2 * N, 2, PERIODS + 1);
	CHECK_EQ(promoted(), N);
	for (size_t i = 0; i < 2 * N; i++)
		CHECK_EQ(is_resident(p + i * PAGE), i % 2);
	CHECK_EQ(count_resident(p, 2 * N), N);
	CHECK_EQ(cg_number(&cg_here, "cram.current"), N * PAGE);
	CHECK_EQ(stat_of(&cg_here, "promote_reclaim") + stat_of(&cg_here, "promote_forced") +
		 stat_of(&cg_here, "promote_write"), 0);
	CHECK_EQ(refused(), 0);

	/* Reclaim has others to take first. */
	drain_lru();
	for (size_t i = 0; lru_now == LRU_CLASSIC && i < 2 * N; i += 2)
		CHECK(is_active(p + i * PAGE));
	cold = map_pages(N);
	fill(cold, N, SEED + 1);
	CHECK(!madvise(cold, N * PAGE, MADV_COLD));
	before = stat_of(&cg_here, "demote");
	snprintf(text, sizeof(text), "%lu", N / 2 * PAGE);
	cg_write(&cg_here, "memory.reclaim", text);
	CHECK(stat_of(&cg_here, "demote") > before);
	CHECK_EQ(count_resident(p, 2 * N), N);
	CHECK_CONTENT(p, 2 * N, SEED);
	CHECK_CONTENT(cold, N, SEED + 1);
	CHECK(!munmap(p, 2 * N * PAGE) && !munmap(cold, N * PAGE));
}

/* Shared with a child, hot by its reading alone; and the kernel looks by itself. */
static void child_reads(struct peer *up, void *arg)
{
	hear(up);
	read_start(arg, N, 1);
	hear(up);
	read_stop();
	CHECK_CONTENT(arg, N, SEED);
}

static void hot_by_a_child(void)
{
	char *p = resident_pages(N, SEED);
	struct peer child = peer_start(child_reads, p);

	set_rate_only(DEFAULT_RATE);
	tell(&child, 'g');
	all_promoted(p, N);
	tell(&child, 'e');
	CHECK_EQ(peer_end(&child), 0);
	CHECK_CONTENT(p, N, SEED);
	CHECK(!munmap(p, N * PAGE));
}

/*
 * For a period less than it takes each, but always in the same frames: no page lives
 * long enough to be hot, and none is charged with what was seen of another.
 */
static void short_lives(void)
{
	for (int i = 0; i < 8; i++) {
		char *p = resident_pages(N, SEED);

		read_periods(p, N, 1, PERIODS);
		CHECK_EQ(count_resident(p, N), N);
		CHECK(!munmap(p, N * PAGE));
	}
	CHECK_EQ(promoted(), 0);
}

/* Read in a period, not in the next, in the one after that: not hot. */
static void now_and_then(void)
{
	char *p = resident_pages(N, SEED);

	for (int i = 0; i < 2 * PERIODS; i++) {
		read_periods(p, N, 1, 1);
		pass();
	}
	CHECK_EQ(promoted(), 0);
	CHECK_EQ(count_resident(p, N), N);
	CHECK(!munmap(p, N * PAGE));
}

/* --- the rate ------------------------------------------------------------------- */

static void rate_obeyed(void)
{
	const int64_t rate = 16;	/* pages a second */
	const size_t pages = 4 * N;
	char *p = resident_pages(pages, SEED);
	int64_t before = 0;
	int i, seconds = 16;

	set_rate(rate * PAGE);
	for (i = 1; i <= seconds; i++) {
		read_periods(p, pages, 1, 1);
		/* What was not used before may be, but no more of it than a second's. */
		CHECK(promoted() - before <= 2 * rate && promoted() <= (i + 1) * rate,
		      "%lld in %d s", (long long)promoted(), i);
		before = promoted();
	}
	tap_note("%lld pages in %d seconds", (long long)promoted(), seconds);
	CHECK(promoted() >= seconds / 2 * rate);
	CHECK_EQ(count_resident(p, pages), pages - promoted());
	CHECK_EQ(refused(), 0);
	CHECK_CONTENT(p, pages, SEED);
	CHECK(!munmap(p, pages * PAGE));
}

/* It ends with pages that lack a period, and begins anew. */
static void off_and_on(void)
{
	char *p = resident_pages(N, SEED);

	read_periods(p, N, 1, PERIODS);
	set_rate(0);
	read_in_vain(p, N);
	CHECK_EQ(count_resident(p, N), N);
	set_rate(DEFAULT_RATE);
	read_until_promoted(p, N, 1);
	CHECK_EQ(count_resident(p, N), 0);
	CHECK(!munmap(p, N * PAGE));
}

static void bad_rates(void)
{
	static const char *const bad[] = { "\n", "x", "-1", "4K", "max", "1 2", "18446744073709551616" };

	for (size_t i = 0; i < ARRAY_SIZE(bad); i++)
		CHECK_EQ(write_text(node_file(HOT_RATE), bad[i]),
			 i == ARRAY_SIZE(bad) - 1 ? -ERANGE : -EINVAL);
	CHECK_EQ(node_number(HOT_RATE), DEFAULT_RATE);
	CHECK_EQ(write_text(node_file(HOT_RATE), "18446744073709551615"), 0);
	set_rate(1);
	CHECK_EQ(node_number(HOT_RATE), 1);
}

/* --- nothing to spare ------------------------------------------------------------ */

/* Scanned, reclaimed, or refused the hard way: nothing of that may happen. */
static int64_t disturbances(const struct cg *cg)
{
	return cg_key(cg, "memory.stat", "pgscan") + cg_key(cg, "memory.stat", "pgsteal") +
	       cg_key(cg, "memory.events", "max") + cg_key(cg, "memory.events", "high") +
	       cg_key(cg, "memory.events", "oom") + cg_key(cg, "memory.events", "oom_kill");
}

/* A limit of @on in @file, on this cgroup or the one above, keeps pages where they are. */
static void limited(const struct cg *on, const char *file)
{
	const size_t others = 256;
	char *p = resident_pages(N, SEED), *q = map_pages(others);
	int64_t before, current;

	fill(q, others, SEED + 1);
	drain_lru();
	/* First, as what flushes the TLB takes memory, too. */
	read_once(p, N, 1);
	/* Too little margin for anything to be promoted, and none that is reclaimed. */
	current = cg_number(on, "memory.current");
	CHECK_EQ(cg_printf(on, file, "%lld", (long long)(current + 8 * (int64_t)PAGE)), 0);
	before = disturbances(on);
	read_until_refused(p, N);
	CHECK_EQ(count_resident(p, N), N);
	CHECK_EQ(count_resident(q, others) + count_swapped(q, others), 0);
	CHECK_EQ(disturbances(on), before);

	CHECK_EQ(cg_write(on, file, "max"), 0);
	read_until(p, N, 1, N);
	CHECK_EQ(count_resident(p, N), 0);
	CHECK_CONTENT(p, N, SEED);
	CHECK_CONTENT(q, others, SEED + 1);
	CHECK(!munmap(p, N * PAGE) && !munmap(q, others * PAGE));
}

static void at_memory_max(void)
{
	limited(&cg_here, "memory.max");
}

static void at_memory_high(void)
{
	limited(&cg_here, "memory.high");
}

static void at_the_limit_above(void)
{
	struct cg above = cg_here, child = cg_make(cg_here.path, "child");

	CHECK_EQ(cg_enter(&child, getpid()), 0);
	CHECK_EQ(cg_write(&above, "cgroup.subtree_control", "+memory +cram"), 0);
	limited(&above, "memory.max");
}

/* One number of each zone of an ordinary node, added up. */
static int64_t zones(const char *what)
{
	static char text[64 * 1024];
	bool ordinary = false;
	int64_t sum = 0, n;
	char key[32];
	int node;

	CHECK(read_text("/proc/zoneinfo", text, sizeof(text)) > 0);
	for (char *line = strtok(text, "\n"); line; line = strtok(NULL, "\n")) {
		if (sscanf(line, "Node %d, zone", &node) == 1)
			ordinary = node != cram_node();
		else if (ordinary && sscanf(line, " pages %31s %lld", key, (long long *)&n) == 2)
			sum += strcmp(what, key) ? 0 : n;
		else if (ordinary && sscanf(line, " %31s %lld", key, (long long *)&n) == 2)
			sum += strcmp(what, key) ? 0 : n;
	}
	return sum;
}

struct eater {
	struct cg cg;
	int64_t leave;
};

/* Take memory, reclaiming nothing, until no more than that is free. */
static void eat(struct peer *up, void *arg)
{
	struct eater *e = arg;
	size_t step = 8 * MIB;

	CHECK_EQ(cg_enter(&e->cg, getpid()), 0);
	while (zones("free") > e->leave) {
		char *p = mmap(NULL, step, PROT_READ | PROT_WRITE,
			       MAP_PRIVATE | MAP_ANONYMOUS | MAP_POPULATE, -1, 0);

		CHECK(p != MAP_FAILED);
	}
	drain_lru();
	tell(up, 'r');
	hear(up);
}

/* What was freed may take a moment to be there. */
static void read_until_none_resident(char *p, size_t pages)
{
	CHECK(WAIT_FOR(SETTLES, (read_periods(p, pages, 1, 1), !count_resident(p, pages))));
}

/* Free memory lies between two watermarks: kswapd sleeps, and is to sleep on. */
static void short_of_memory(void)
{
	struct cg judge = cg_make(cg_here.path, "judge");
	struct eater e = { .cg = cg_make(cg_here.path, "other") };
	int64_t factor = read_number(VM "watermark_scale_factor"), before, usage, kswapd;
	struct peer eater;
	char text[32], *p;

	CHECK_EQ(cg_enter(&judge, getpid()), 0);
	CHECK_EQ(cg_write(&cg_here, "cgroup.subtree_control", "+memory +cram"), 0);
	p = resident_pages(N, SEED);
	CHECK_EQ(write_text(VM "watermark_scale_factor", "3000"), 0);
	e.leave = (zones("low") + 3 * zones("high")) / 4;
	tap_note("%lld pages free, low %lld, high %lld", (long long)zones("free"),
		 (long long)zones("low"), (long long)zones("high"));
	kswapd = read_key("/proc/vmstat", "pgscan_kswapd");
	eater = peer_start(eat, &e);
	CHECK_EQ(hear(&eater), 'r');
	usage = cg_number(&e.cg, "memory.current");
	before = disturbances(&e.cg);

	read_periods(p, N, 1, 2 * PERIODS + 1);
	CHECK_EQ(stat_of(&judge, "promote_hot"), 0);
	CHECK_EQ(count_resident(p, N), N);
	CHECK(stat_of(&judge, "promote_hot_refused") > 0);
	CHECK_NEAR(cg_number(&e.cg, "memory.current"), usage, charge_slack());
	CHECK_EQ(disturbances(&e.cg), before);
	CHECK_EQ(read_key("/proc/vmstat", "pgscan_kswapd"), kswapd);

	tell(&eater, 'e');
	CHECK_EQ(peer_end(&eater), 0);
	read_until_none_resident(p, N);
	CHECK_CONTENT(p, N, SEED);
	CHECK(!munmap(p, N * PAGE));
	snprintf(text, sizeof(text), "%lld", (long long)factor);
	CHECK_EQ(write_text(VM "watermark_scale_factor", text), 0);
}

/* --- with the rest of the engine -------------------------------------------------- */

/* Written within the budget, and read: they stay. Without the budget they come back. */
static void upgraded_stay(void)
{
	char *p = resident_pages(N, SEED);

	CHECK_EQ(cg_write(&cg_here, "cram.writable_budget", "max"), 0);
	for (int i = 0; i < 2 * PERIODS + 1; i++) {
		for (int n = 0; n < N; n++)
			rewrite(p + n * PAGE);
		CHECK_EQ(cg_number(&cg_here, "cram.writable_current"), N * PAGE);
		read_periods(p, N, 1, 1);
	}
	CHECK_EQ(promoted(), 0);
	CHECK_EQ(refused(), 0);
	CHECK_EQ(stat_of(&cg_here, "promote_write"), 0);
	CHECK_EQ(cg_number(&cg_here, "cram.writable_current"), N * PAGE);

	CHECK_EQ(cg_write(&cg_here, "cram.writable_budget", "0"), 0);
	read_until_none_resident(p, N);
	CHECK_EQ(promoted(), N);
	CHECK_CONTENT(p, N, SEED);
	CHECK(!munmap(p, N * PAGE));
}

struct tenant {
	struct cg cg;
	size_t pages;
};

static void tenant(struct peer *up, void *arg)
{
	struct tenant *t = arg;
	char *p;

	CHECK_EQ(cg_enter(&t->cg, getpid()), 0);
	p = resident_pages(t->pages, SEED);
	tell(up, 'r');
	/* 'g' for each time that all of it is read */
	while (hear(up) == 'g') {
		read_once(p, t->pages, 1);
		tell(up, 'd');
	}
	CHECK_CONTENT(p, t->pages, SEED);
}

/* All pages of both are read, and looked at. */
static void tenants_read(struct peer *peer)
{
	int i;

	for (i = 0; i < 2; i++)
		tell(&peer[i], 'g');
	for (i = 0; i < 2; i++)
		CHECK_EQ(hear(&peer[i]), 'd');
	pass();
}

/* One has 32 times as many hot pages as the other, which does not wait for them. */
static void turns(void)
{
	struct tenant t[2] = { { .pages = 16 * N }, { .pages = N / 2 } };
	struct cg judge = cg_make(cg_here.path, "judge");
	struct peer peer[2];
	int64_t many, few;
	int i;

	CHECK_EQ(cg_enter(&judge, getpid()), 0);
	CHECK_EQ(cg_write(&cg_here, "cgroup.subtree_control", "+memory +cram"), 0);
	set_rate(64 * (int64_t)PAGE);
	for (i = 0; i < 2; i++) {
		t[i].cg = cg_make(cg_here.path, i ? "few" : "many");
		peer[i] = peer_start(tenant, &t[i]);
		CHECK_EQ(hear(&peer[i]), 'r');
	}
	for (i = 0; i < 40 && stat_of(&t[1].cg, "promote_hot") < (int64_t)t[1].pages; i++)
		tenants_read(peer);
	CHECK_EQ(stat_of(&t[1].cg, "promote_hot"), t[1].pages);
	many = stat_of(&t[0].cg, "promote_hot");
	few = stat_of(&t[1].cg, "promote_hot");
	tap_note("after %d seconds %lld of %zu, and %lld of %zu", i, (long long)few, t[1].pages,
		 (long long)many, t[0].pages);
	CHECK(many < (int64_t)t[0].pages / 2, "%lld", (long long)many);
	set_rate(DEFAULT_RATE);
	for (i = 0; i < 40 && stat_of(&t[0].cg, "promote_hot") < (int64_t)t[0].pages; i++)
		tenants_read(peer);
	CHECK_EQ(stat_of(&t[0].cg, "promote_hot"), t[0].pages);
	for (i = 0; i < 2; i++) {
		tell(&peer[i], 'e');
		CHECK_EQ(peer_end(&peer[i]), 0);
	}
}

static void set_low(int64_t bytes)
{
	char text[32];

	snprintf(text, sizeof(text), "%lld", (long long)bytes);
	CHECK_EQ(write_text(node_file("low_bytes"), text), 0);
}

/* What a call of eviction has begun it ends, whatever the state is by then. */
static void eviction_ended(void)
{
	int64_t n;

	CHECK(WAIT_FOR(SETTLES, state_is("open")));
	do {
		n = stat_of(&cg_here, "writeback");
		nap_ms(700);
	} while (stat_of(&cg_here, "writeback") != n);
}

/*
 * A quarter was read a while ago. The look for hot pages has seen that and has taken the
 * accessed bits off; to eviction these are not cold for that.
 */
static void clock_still_knows(void)
{
	const size_t pages = 16 * MIB / PAGE;
	size_t hot = 0, cold = 0, i;
	char *p = map_pages(pages);
	int64_t before;

	CHECK(swap_on(64));
	/* What is free is to be asked often */
	CHECK_EQ(write_text(node_file("lease_ms"), "1000"), 0);
	fill_period = 512;
	for (i = 0; i < pages; i += MIB / PAGE) {
		fill(p + i * PAGE, MIB / PAGE, SEED + i);
		demote(p + i * PAGE, MIB / PAGE);
	}
	/* Pages are demoted with their accessed bits: one round, and nobody has any. */
	passes(PERIODS);
	/* The last reading may be from before all that. */
	CHECK(WAIT_FOR(SETTLES, node_number("physical_bytes") - node_number("physical_free_bytes") >=
				(int64_t)(pages * PAGE)));
	set_low(node_number("physical_free_bytes") + (int64_t)MIB / 8);
	CHECK(WAIT_FOR(SETTLES, stat_of(&cg_here, "writeback") > 0));
	set_low(0);
	eviction_ended();

	for (i = 0; i < pages; i++) {
		if (!is_resident(p + i * PAGE))
			continue;
		hot += !(i % 4);
		cold += !!(i % 4);
		if (!(i % 4))
			read_once(p + i * PAGE, 1, 1);
	}
	passes(PERIODS + 1);
	CHECK_EQ(promoted(), 0);
	before = stat_of(&cg_here, "writeback");
	set_low(node_number("physical_free_bytes") + (int64_t)MIB / 8);
	CHECK(WAIT_FOR(SETTLES, stat_of(&cg_here, "writeback") >= before + 256));
	set_low(0);
	eviction_ended();
	for (i = 0; i < pages; i++) {
		hot -= !(i % 4) && is_resident(p + i * PAGE);
		cold -= i % 4 && is_resident(p + i * PAGE);
	}
	tap_note("%zu that were read have left, and %zu that were not", hot, cold);
	CHECK(cold > 0);
	CHECK(hot * 8 < cold);
	for (i = 0; i < pages; i += MIB / PAGE)
		CHECK_CONTENT(p + i * PAGE, MIB / PAGE, SEED + i);
	CHECK(!munmap(p, pages * PAGE));
	swap_off();
}

/* A device that is silent may have anything; nothing is asked or moved until it answers. */
static void lost_in_between(void)
{
	char *p = resident_pages(N, SEED), text[32];

	if (!exists(SIM "hot"))
		skip("no " SIM "hot");
	CHECK_EQ(write_text(node_file("lease_ms"), "1000"), 0);
	debug_set(SIM "drop", "1");
	CHECK(WAIT_FOR(SETTLES, state_is("lost")));
	snprintf(text, sizeof(text), "%llu", (unsigned long long)pfn_of(p));
	debug_set(SIM "hot", text);
	read_in_vain(p + PAGE, N - 1);
	CHECK(read_number(SIM "hot") > 0);
	CHECK_EQ(write_text(node_file("lease_ms"), "20000"), 0);
	debug_set(SIM "drop", "0");
	CHECK(WAIT_FOR(SETTLES, state_is("open")));
	read_once(p + PAGE, N - 1, 1);
	pass();
	CHECK_EQ(promoted(), 1);
	read_until(p + PAGE, N - 1, 1, N);
	CHECK_EQ(count_resident(p, N), 0);
	CHECK(!munmap(p, N * PAGE));
}

/* --- the device's list ------------------------------------------------------------- */

static void list(uint64_t pfn)
{
	char text[32];

	snprintf(text, sizeof(text), "%llu\n", (unsigned long long)pfn);
	debug_set(SIM "hot", text);
}

static bool list_taken(void)
{
	char text[64];

	return read_text(SIM "hot", text, sizeof(text)) == 0;
}

/* All that is listed is looked at, and then there is another pass. */
static void take_list(void)
{
	CHECK(WAIT_FOR(SETTLES, (pass(), list_taken())));
	pass();
}

/* Exactly these, though nobody reads them. */
static void listed(void)
{
	char *p = resident_pages(2 * N, SEED);
	size_t i;

	if (!exists(SIM "hot"))
		skip("no " SIM "hot");
	for (i = 0; i < 2 * N; i += 3)
		list(pfn_of(p + i * PAGE));
	take_list();
	for (i = 0; i < 2 * N; i++)
		CHECK_EQ(is_resident(p + i * PAGE), !!(i % 3));
	CHECK_EQ(promoted(), (2 * N + 2) / 3);
	CHECK_CONTENT(p, 2 * N, SEED);
	CHECK(!munmap(p, 2 * N * PAGE));
}

/* What the rate does not cover is not asked for, and the device keeps it. */
static void listed_faster(void)
{
	char *p = resident_pages(N, SEED);
	int i;

	if (!exists(SIM "hot"))
		skip("no " SIM "hot");
	set_rate(16 * (int64_t)PAGE);
	for (i = 0; i < N; i++)
		list(pfn_of(p + i * PAGE));
	for (i = 1; promoted() < N; i++) {
		pass();
		CHECK(promoted() <= (i + 1) * 16, "%lld in %d s", (long long)promoted(), i);
		CHECK(i < N / 16 + 20);
	}
	CHECK_EQ(count_resident(p, N), 0);
	CHECK(!munmap(p, N * PAGE));
}

static void bogus_list(void)
{
	char *p = resident_pages(N, SEED), *q, *w;
	int64_t first = read_number(SIM "start_pfn"), pages = read_number(SIM "nr_pages");
	uint64_t freed;

	if (!exists(SIM "hot"))
		skip("no " SIM "hot");
	q = resident_pages(1, SEED);
	freed = pfn_of(q);
	CHECK(!munmap(q, PAGE));
	/* An upgraded one, which stays. */
	CHECK_EQ(cg_write(&cg_here, "cram.writable_budget", "max"), 0);
	w = resident_pages(1, SEED);
	rewrite(w);
	CHECK_EQ(cg_number(&cg_here, "cram.writable_current"), PAGE);
	list(0);
	list(1);
	list(first - 1);
	list(first + pages);
	list(~0ULL);
	list(1ULL << 63);
	list(freed);
	list(first + pages - 1);
	list(pfn_of(w));
	list(pfn_of(p));
	list(pfn_of(p));
	list(pfn_of(p));
	take_list();
	/* The same again, when the page is not there any more. */
	CHECK_EQ(promoted(), 1);
	CHECK(!is_resident(p));
	list(pfn_of(p));
	take_list();
	CHECK_EQ(promoted(), 1);
	CHECK_EQ(count_resident(p, N), N - 1);
	CHECK(is_resident(w));
	CHECK_CONTENT(p, N, SEED);
	CHECK_CONTENT(w, 1, SEED);
	CHECK(!munmap(p, N * PAGE) && !munmap(w, PAGE));
}

/* Any page of a large folio stands for it, and it needs as much as it is large. */
static void large(void)
{
	char *p = map_huge_area(HUGE);
	int64_t high, before;

	if (!exists(SIM "hot"))
		skip("no " SIM "hot");
	CHECK(!madvise(p, HUGE * PAGE, MADV_HUGEPAGE), "%m");
	fill(p, HUGE, SEED);
	if (!read_kb("/proc/self/smaps", "AnonHugePages"))
		skip("no transparent huge pages to be had");
	demote(p, HUGE);
	high = cg_number(&cg_here, "memory.current") + HUGE / 2 * PAGE;
	CHECK_EQ(cg_printf(&cg_here, "memory.high", "%lld", (long long)high), 0);
	before = disturbances(&cg_here);
	for (int i = 0; i < 16; i++)
		list(pfn_of(p + (3 + 7 * i) * PAGE));
	take_list();
	CHECK_EQ(promoted(), 0);
	CHECK_EQ(refused(), HUGE);
	CHECK_EQ(disturbances(&cg_here), before);
	CHECK_EQ(count_resident(p, HUGE), HUGE);

	CHECK_EQ(cg_write(&cg_here, "memory.high", "max"), 0);
	write_text("/proc/sys/vm/compact_memory", "1");
	list(pfn_of(p + 300 * PAGE));
	pass();
	CHECK_EQ(promoted(), HUGE);
	CHECK_EQ(count_resident(p, HUGE), 0);
	CHECK_EQ(read_kb("/proc/self/smaps", "AnonHugePages"), HUGE * PAGE);
	CHECK_CONTENT(p, HUGE, SEED);
	CHECK_EQ(run_walker(), 0);
	CHECK(!munmap(p, HUGE * PAGE));
}

#define IDLE	"/sys/kernel/mm/page_idle/bitmap"

/* Looks at accessed bits are not kept from who tracks idle pages. */
static void idle_tracking(void)
{
	char *p = resident_pages(1, SEED);
	uint64_t pfn = pfn_of(p), bit = 1ULL << pfn % 64, idle = 0;
	off_t at = pfn / 64 * sizeof(idle);
	int fd = open(IDLE, O_RDWR);

	if (fd < 0)
		skip("no " IDLE);
	CHECK_EQ(pwrite(fd, &bit, sizeof(bit), at), sizeof(bit));
	CHECK_EQ(pread(fd, &idle, sizeof(idle), at), sizeof(idle));
	CHECK(idle & bit);
	read_periods(p, 1, 1, 1);
	passes(2);
	CHECK_EQ(pread(fd, &idle, sizeof(idle), at), sizeof(idle));
	CHECK(!(idle & bit));
	CHECK(is_resident(p));
	close(fd);
	CHECK(!munmap(p, PAGE));
}

static const struct scenario scenarios[] = {
	/* Where a promoted page goes on the LRU lists depends on their kind. */
	{ "what is read comes back, and nothing else", hot_and_cold, S_BOTH_LRUS },
	{ "at memory.max", at_memory_max },
	{ "short of ordinary memory", short_of_memory },
	{ "eviction still knows what was read", clock_still_knows },
	{ "what the device lists", listed },
	{ "read by a child", hot_by_a_child },
	{ "pages that live a short time in the same frames", short_lives },
	{ "pages that are read now and then", now_and_then },
	{ "no faster than the rate", rate_obeyed },
	{ "off and on", off_and_on },
	{ "rates that make no sense", bad_rates },
	{ "a large folio", large },
	{ "idle page tracking", idle_tracking },
	{ "at memory.high", at_memory_high },
	{ "at memory.max of the cgroup above", at_the_limit_above },
	{ "upgraded pages stay", upgraded_stay },
	{ "cgroups have turns", turns },
	{ "not while the node is lost", lost_in_between },
	{ "a list longer than the rate", listed_faster },
	{ "a list of nonsense", bogus_list },
};

static void begin_anew(void)
{
	swap_off();
	/* A look while the lease has run out begins anew, and a busy host lets it run out */
	CHECK_EQ(write_text(node_file("lease_ms"), "20000"), 0);
	set_rate(DEFAULT_RATE);
}

int main(void)
{
	int64_t rate = cram_node() < 0 ? 0 : node_number(HOT_RATE);

	setup();
	tap_ok(rate == DEFAULT_RATE, "it is on");
	if (!exists(DEBUGFS "hot_pass"))
		tap_skip_all("no " DEBUGFS "hot_pass (CONFIG_CRAM_VERIFY)");
	CHECK_EQ(write_text(node_file("critical_bytes"), "0"), 0);
	set_low(0);
	before_scenario = begin_anew;
	run_scenarios(scenarios, ARRAY_SIZE(scenarios), "", 120);
	swap_off();
	check_device();
	teardown();
	return tap_end();
}
