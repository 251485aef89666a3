/* SPDX-License-Identifier: GPL-2.0 */
/*
 * What the cram tests share: text files, cgroups, memory with known content,
 * where a page is, the kernel's own check of its books, and scenarios - one
 * process in one cgroup, after which every book must be back at zero.
 *
 * Words as in Documentation/admin-guide/mm/cram.rst: demote, promote, resident.
 */
#ifndef CRAM_TEST_UTIL_H
#define CRAM_TEST_UTIL_H

#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include "tap.h"

#include <errno.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

/* Tables leave out what is zero. */
#pragma GCC diagnostic ignored "-Wmissing-field-initializers"

#define PAGE		4096UL
#define MIB		(1024UL * 1024)
#define CGROOT		"/sys/fs/cgroup"
#define DEBUGFS		"/sys/kernel/debug/cram/"
#define NO_LIMIT	INT64_MAX	/* what "max" reads as */

/* --- failing: inside a scenario, a failed check ends the scenario ----------- */

__attribute__((noreturn, format(printf, 4, 5)))
void check_failed(const char *file, int line, const char *cond, const char *fmt, ...);
__attribute__((noreturn, format(printf, 1, 2)))
void skip(const char *missing, ...);

#define CHECK(cond, ...) \
	do { \
		if (!(cond)) \
			check_failed(__FILE__, __LINE__, #cond, " " __VA_ARGS__); \
	} while (0)

/* Equality of two counts, both shown when they differ. */
#define CHECK_EQ(a, b) \
	do { \
		long long a_ = (a), b_ = (b); \
		if (a_ != b_) \
			check_failed(__FILE__, __LINE__, #a " == " #b, \
				     " %lld != %lld", a_, b_); \
	} while (0)

/* |a - b| <= slack */
#define CHECK_NEAR(a, b, slack) \
	do { \
		long long a_ = (a), b_ = (b), s_ = (slack); \
		if (a_ - b_ > s_ || b_ - a_ > s_) \
			check_failed(__FILE__, __LINE__, #a " ~ " #b, \
				     " %lld and %lld differ by more than %lld", \
				     a_, b_, s_); \
	} while (0)

/* --- text files ------------------------------------------------------------- */

/* Length, or -errno; always terminated. */
int read_text(const char *path, char *buf, size_t size);
/* One open and one write(2) of exactly @len bytes; 0 or -errno. */
int write_bytes(const char *path, const char *text, size_t len, int flags);
int write_text(const char *path, const char *text);
/* The number that a file holds, NO_LIMIT for "max", or -errno. */
int64_t read_number(const char *path);
/* The number behind "key " in a flat keyed file, or -errno (-ENOENT: no key). */
int64_t read_key(const char *path, const char *key);
/* Sum over all keys with this prefix. */
int64_t sum_keys(const char *path, const char *prefix);
/* "Key:  123 kB" in /proc/meminfo or smaps, all of them added up, in bytes. */
int64_t read_kb(const char *path, const char *key);
bool exists(const char *path);

/* --- time ------------------------------------------------------------------- */

/*
 * Seconds within which anything settles that somebody else does: cramd, a worker,
 * RCU, a flush of statistics. Generous, for emulation on a busy host; who is in
 * time loses nothing by it.
 */
#define SETTLES		60

double now(void);
void nap_ms(unsigned int ms);

/* Poll @cond until it holds or @seconds passed; the value is @cond's. */
#define WAIT_FOR(seconds, cond) \
	({ \
		double end_ = now() + (seconds); \
		bool ok_; \
		while (!(ok_ = (cond)) && now() < end_) \
			nap_ms(2); \
		ok_; \
	})

/* --- cgroups ---------------------------------------------------------------- */

struct cg {
	char path[200];
};

/* The scenario's cgroup, or what cg_make() made. */
extern struct cg cg_here;

struct cg cg_make(const char *parent, const char *name, ...)
	__attribute__((format(printf, 2, 3)));
const char *cg_file(const struct cg *cg, const char *file);
int cg_write(const struct cg *cg, const char *file, const char *text);
__attribute__((format(printf, 3, 4)))
int cg_printf(const struct cg *cg, const char *file, const char *fmt, ...);
int64_t cg_number(const struct cg *cg, const char *file);
int64_t cg_key(const struct cg *cg, const char *file, const char *key);
int cg_enter(const struct cg *cg, pid_t pid);
/* Kill what runs in it and remove it; 0 or -errno. */
int cg_remove(const struct cg *cg);

/* What memory.current may be off by: every CPU keeps a batch of charges. */
int64_t charge_slack(void);

/* --- the node --------------------------------------------------------------- */

/* Node id of the first cram node, or -1. */
int cram_node(void);
/* A number of /sys/devices/system/node/nodeN/cram/. */
int64_t node_number(const char *file);
/* A number of the line of debugfs that the node has, after this word: " freed ". */
int64_t node_word(const char *word);
const char *node_file(const char *file);
bool state_is(const char *want);
/* Bytes of hot pages to promote in a second: 0 from setup() to teardown(). */
#define HOT_RATE	"promote_hot_bytes_per_sec"

/*
 * Did a node become lost by the end of its lease alone? Then no reading ended after the
 * last good one, and whoever asked is waiting still. From trace_lease(true) on, which
 * returns when there is a good one.
 */
void trace_lease(bool on);
bool lost_by_lease(void);

/*
 * The model device's own view, in debugfs cram_sim/0/: it knows what was stored
 * to it without the engine's consent, and what found no cell.
 */
#define SIM		"/sys/kernel/debug/cram_sim/0/"
/* Have it look at all pages; stores that nobody announced, or -ENOENT. */
int64_t unannounced_stores(void);
/* What the device has seen, as TAP lines; of stores without consent, the model only. */
void check_device(void);

/* --- memory with known content ---------------------------------------------- */

/*
 * Page i of a range holds what (seed, i) says: random words which repeat after
 * fill_period of them. 64 words compress about 7:1, 512 not at all.
 */
extern unsigned int fill_period;

void *map_pages(size_t pages);
/* Where huge pages would be mapped: it begins at a multiple of their size. */
#define HUGE		512UL	/* pages in a huge one */
char *map_huge_area(size_t pages);
void unmap_pages(void *p, size_t pages);
void fill(void *p, size_t pages, uint64_t seed);
void fill_page(void *p, uint64_t seed, size_t index);
/* The next number of a sequence that is the same each time; @state is not 0. */
#define RANDOM_STATE	88172645463325252ULL
uint64_t next_random(uint64_t *state);
/* A store that changes nothing. */
void rewrite(void *p);
/* Index of the first page that is not as fill() left it, or -1. */
ssize_t differs(const void *p, size_t pages, uint64_t seed);
bool page_differs(const void *p, uint64_t seed, size_t index);

#define CHECK_CONTENT(p, pages, seed) \
	CHECK_EQ(differs(p, pages, seed), -1)

/* --- where pages are -------------------------------------------------------- */

#define PM_SOFT_DIRTY	(1ULL << 55)
#define PM_EXCLUSIVE	(1ULL << 56)
#define PM_SWAP		(1ULL << 62)
#define PM_PRESENT	(1ULL << 63)
#define PM_PFN(e)	((e) & ((1ULL << 55) - 1))

uint64_t pagemap(const void *p);		/* own process */
uint64_t pagemap_of(pid_t pid, const void *p);
uint64_t pfn_of(const void *p);			/* 0: not present */
bool pfn_on_node(uint64_t pfn);
bool is_resident(const void *p);
size_t count_resident(const void *p, size_t pages);
size_t count_resident_of(pid_t pid, const void *p, size_t pages);
size_t count_swapped(const void *p, size_t pages);
int node_of(const void *p);			/* move_pages(2); -errno */

/*
 * Make all pages resident with MADV_PAGEOUT; returns how many are. Retries for
 * some seconds: the node may want a fresh reading before it takes more. A scenario in
 * which more than one try is refused by anything else fails.
 */
size_t try_demote(void *p, size_t pages);
/*
 * An ordinary page that was just put on an LRU list sits in a batch of this CPU,
 * which references it. Those of the node do not, so that numbers are exact there.
 */
void drain_lru(void);
#define demote(p, pages) CHECK_EQ(try_demote(p, pages), pages)
/* Resident pages, all that the scenario's cgroup has: off the node, to swap. */
void evict_to_swap(const void *p, size_t pages);
/* New ones, filled and demoted. */
void *resident_pages(size_t pages, uint64_t seed);
/* Breaks a page in use, as hardware would; skips where that cannot be injected. */
void poison_page(void *p);

/* --- the kernel's own checks (CONFIG_CRAM_VERIFY) --------------------------- */

/* Write to a debugging aid, of VERIFY or of the model device; skips where it is missing. */
void debug_set(const char *path, const char *text);
/* A number of one. */
int64_t debug_number(const char *path);
/*
 * Run the walker; what VERIFY has found since the scenario began, the walker's
 * findings included, or -errno. Shows them, unless there are none. A kernel without
 * VERIFY finds nothing: setup() has said so.
 */
int64_t run_walker(void);
/* Findings since boot, the walker not run; 0 without VERIFY. */
int64_t violations(void);

/* --- machine-wide settings -------------------------------------------------- */

enum lru { LRU_CLASSIC, LRU_MGLRU };
extern const char *const lru_names[];
/* What set_lru() has set. */
extern enum lru lru_now;
bool set_lru(enum lru which);
/*
 * The disk that was swap when the test began, else a zram device of this size; false
 * when the kernel has none.
 */
bool swap_on(size_t mib);
int swap_off(void);

/* --- processes -------------------------------------------------------------- */

/* A child that runs @fn(@arg); a pipe each way for tell() and hear(). */
struct peer {
	pid_t pid;
	int in, out;
};

struct peer peer_start(void (*fn)(struct peer *up, void *arg), void *arg);
void tell(struct peer *p, char what);
char hear(struct peer *p);
/* Exit status of the child; CHECKs that it was not killed. */
int peer_end(struct peer *p);

/*
 * The control of an oracle: @fn, run by a child, ends with a failed check of which it
 * says @words. Its remarks are shown.
 */
void must_fail(void (*fn)(void), const char *words);

/* Be the debugger of a stopped process: only a debugger may write by force. */
void trace_begin(pid_t pid);
void trace_end(pid_t pid);

/* --- breakpoints ------------------------------------------------------------ */

/* Two functions in one page of program text; they return their argument plus 1. */
int probed_a(int x);
int probed_b(int x);
/* A uprobe there: a perf event. Skips where there are none. */
int breakpoint_at(int (*fn)(int));
/* Call @fn ten times, check what it returns; by how much the event's count grew. */
int breakpoint_hits(int event, int (*fn)(int));

/* --- scenarios -------------------------------------------------------------- */

struct scenario {
	const char *name;
	void (*run)(void);
	unsigned int flags;
};

/* Other cgroups' pages may become resident meanwhile: leave out the node's sum. */
#define S_GLOBAL	(1U << 0)
/* Ends by SIGKILL. */
#define S_KILLED	(1U << 1)
/* VERIFY is made to find something: its count is the scenario's own affair. */
#define S_VIOLATES	(1U << 2)
/* Somebody in it sets the state of the node, and may be killed in between. */
#define S_OPERATED	(1U << 4)
/* It is about the order in which pages age: run with both LRU implementations. */
#define S_BOTH_LRUS	(1U << 3)

/*
 * Checks what every test needs, or skips them all; mounts nothing. Makes a
 * parent cgroup for the scenarios.
 */
void setup(void);
void teardown(void);
/* Called before each scenario, if not NULL. */
extern void (*before_scenario)(void);
/*
 * Run it in a cgroup of its own, check all books, put settings back; one TAP line.
 * With ONLY=words (or "some|others") in the environment, only what has these words
 * in its name.
 */
void run_scenario(const struct scenario *s, const char *suffix, unsigned int seconds);
/*
 * The table, each scenario with the one or the other LRU implementation in turn; the
 * names end in it. PARITY=1 in the environment turns that round.
 */
void run_scenarios(const struct scenario *table, size_t n, const char *suffix,
		   unsigned int seconds);
/* T=: how much longer than the default a test may take, at least 1. */
unsigned int scale(void);
/* What a test does @n times by default, T times as much, at least once. */
unsigned int scaled(unsigned int n);

#include "util_impl.h"

#endif /* CRAM_TEST_UTIL_H */
