// SPDX-License-Identifier: GPL-2.0
/*
 * Hot pages: what is read all the time belongs into ordinary memory, if there is
 * some that nobody has to give up for it.
 *
 * Two sources say what is hot. The device's own list, where it has one, is taken
 * at its word. And a worker looks at accessed bits, once a second: a cursor goes
 * over the slots, and each page that was read since the last round becomes a
 * candidate. A candidate is looked at in every pass, dropped when it was not read
 * since the one before, and hot when it was read in CRAM_HOT_SAMPLES periods in a
 * row. So a page that nobody reads is looked at once in a round, and it does not
 * matter that pages are demoted with the accessed bit that they had: the first
 * look takes it off and counts for nothing.
 *
 * The clock of evict.c would miss the accessed bit that a look takes off, and take the
 * page for cold. So the look leaves PG_referenced there, which nobody else looks at on a
 * cram node.
 * In the other direction nothing is left: where the hand of the clock comes by,
 * a page can lose a candidacy, but the hand moves only while the node is short of
 * cells.
 *
 * The frame of a candidate may get another page of the same owner between two
 * looks, and the slot says the same then. Hence @marked, one bit a page: set for
 * candidates, and cleared when a page is allocated, before anybody can see it.
 *
 * Promotion takes nothing from anybody. Each node has a rate; the pages must fit
 * below memory.max and memory.high of their cgroup and all above as it is; and a
 * node of ordinary memory that its cpuset permits must be so far above its
 * watermarks that no reclaim follows. Otherwise the page stays, and
 * promote_hot_refused says so. Within a pass owners have turns, so that the
 * hot pages of one do not use up the rate of all.
 *
 * Upgraded pages stay: they are written where they are, as their budget permits,
 * and would come back only to be upgraded again.
 *
 * All is done by one work item for each node. It takes no lock of the engine, so
 * neither a slow device nor a slow walk keeps cramd from a reading, and whoever
 * takes a node away under cram_nodes_mutex can wait for it.
 */
#include <linux/bitops.h>
#include <linux/jiffies.h>
#include <linux/math64.h>
#include <linux/memcontrol.h>
#include <linux/migrate.h>
#include <linux/mmzone.h>
#include <linux/slab.h>
#include <linux/swap.h>
#include <linux/workqueue.h>

#include "../internal.h"
#include "internal.h"

/* Between two looks at a page */
#define CRAM_HOT_PERIOD		HZ

/*
 * A reader that reads a page once, or walks over it for less than a period, is seen in
 * two periods at most: it may begin in the one and end in the next. Three periods are
 * the least that tells of a reader that comes back.
 */
#define CRAM_HOT_SAMPLES	3

/*
 * Looks for new candidates in a pass, which takes up to five times as many when
 * everything is hot. One costs 5,700 instructions in the kernel of the tests, a tenth
 * of what the promotion of a page does (tests/bench/hot).
 */
#define CRAM_HOT_PAGES		4096U

/*
 * No more new candidates in a pass than could be promoted in eight seconds: enough
 * to find more than one cgroup's, and where little may be promoted, little is done.
 */
#define CRAM_HOT_AHEAD		8

/* Pages that wait for the rate: as many as it grants in two seconds, but at most these */
#define CRAM_HOT_WAITING	4096U

/* Slots in which a pass looks for new candidates: 256 MiB */
#define CRAM_HOT_SLOTS		65536UL

/* Pages that a device is asked for in a pass */
#define CRAM_HOT_LISTED		1024U

/* Of one owner at a time, as many as reclaim takes */
#define CRAM_HOT_BATCH		SWAP_CLUSTER_MAX

/*
 * Charges are made by the batch. With so much to spare below a limit, neither that
 * nor those of a turn come up to it.
 */
#define CRAM_HOT_MARGIN		(CRAM_HOT_BATCH + MEMCG_CHARGE_BATCH)

/**
 * struct cram_hot_page - a page that may be hot, or is
 * @i: its slot
 * @slot: what that said
 * @seen: for so many periods it was read in each
 */
struct cram_hot_page {
	unsigned long i;
	u32 slot;
	u32 seen;
};

/**
 * struct cram_heat - what a node's worker knows
 * @marked: pages among @candidates and @hot, each in one of them and once, that are
 *	    still the same
 * @cursor: the slot where it goes on looking for candidates
 * @nr_candidates: entries of @candidates
 * @nr_hot: entries of @hot
 * @turn: the owner that had its turn last
 * @budget: bytes that may be promoted now; negative after a large folio
 * @budget_time: when they were counted, in jiffies
 * @candidates: pages that were read in each period since they were found
 * @hot: pages to be promoted in this pass
 * @listed: what the device said
 */
struct cram_heat {
	unsigned long *marked;
	unsigned long cursor;
	unsigned int nr_candidates;
	unsigned int nr_hot;
	u32 turn;
	s64 budget;
	unsigned long budget_time;
	struct cram_hot_page candidates[CRAM_HOT_PAGES * CRAM_HOT_SAMPLES + CRAM_HOT_WAITING];
	struct cram_hot_page hot[CRAM_HOT_PAGES + CRAM_HOT_WAITING + CRAM_HOT_LISTED];
	unsigned long listed[CRAM_HOT_LISTED];
};

/* ------------------------------------------------------ what may be spent -- */

/*
 * Bytes that may be promoted after @elapsed jiffies in which @budget was left: as
 * much more as @rate grants, but no more in store than it grants in a second.
 */
static s64 cram_hot_budget(s64 budget, u64 rate, unsigned long elapsed)
{
	u64 most = min_t(u64, rate, S64_MAX / 4);

	/* A pass that is later than this has lost something, not the sum */
	elapsed = min_t(unsigned long, elapsed, 2 * HZ);
	return min_t(s64, budget + mul_u64_u64_div_u64(most, elapsed, HZ), most);
}

/* Pages that @budget is good for; the last may cost more than is left */
static unsigned long cram_hot_affordable(s64 budget)
{
	return budget > 0 ? DIV_ROUND_UP_ULL(budget, PAGE_SIZE) : 0;
}

/* Would it change nothing for anybody else if @memcg had @nr pages more? */
static bool cram_memcg_has_margin(struct mem_cgroup *memcg, unsigned long nr)
{
	for (; memcg && !mem_cgroup_is_root(memcg); memcg = parent_mem_cgroup(memcg)) {
		unsigned long most = min(READ_ONCE(memcg->memory.max),
					 READ_ONCE(memcg->memory.high));

		if (page_counter_read(&memcg->memory) + CRAM_HOT_MARGIN - 1 + nr > most)
			return false;
	}
	return true;
}

/*
 * The nearest node with free memory that a folio of @memcg may take. As long as one
 * zone of a node is above its high watermark, nobody reclaims there: that is how
 * kswapd decides, too.
 */
static int cram_spare_node(struct cram_node *cn, struct mem_cgroup *memcg,
			   unsigned int order)
{
	const unsigned long more = max_t(unsigned long, CRAM_HOT_BATCH, 1UL << order);
	const enum zone_type highest = gfp_zone(GFP_HIGHUSER_MOVABLE);
	nodemask_t allowed = node_states[N_MEMORY];
	struct zone *zone;
	struct zoneref *z;

	mem_cgroup_node_filter_allowed(memcg, &allowed);
	for_each_zone_zonelist_nodemask(zone, z, node_zonelist(cn->nid, GFP_HIGHUSER_MOVABLE),
					highest, &allowed)
		if (zone_watermark_ok(zone, order, high_wmark_pages(zone) + more, highest, 0))
			return zone_to_nid(zone);
	return NUMA_NO_NODE;
}

static bool cram_may_promote(struct cram_node *cn, struct folio *folio)
{
	struct mem_cgroup *memcg = get_mem_cgroup_from_folio(folio);
	bool may = cram_memcg_has_margin(memcg, folio_nr_pages(folio)) &&
		   cram_spare_node(cn, memcg, folio_order(folio)) != NUMA_NO_NODE;

	mem_cgroup_put(memcg);
	return may;
}

/* -------------------------------------------------------- what is looked at -- */

/* The slot of a page that could be promoted for being hot */
static bool cram_slot_may_be_hot(u32 slot)
{
	return cram_slot_state(slot) == CRAM_RESIDENT &&
	       !(slot & (CRAM_WRITABLE | CRAM_REVOKING));
}

/* Was it read since the last look? 1, 0, or an errno when that is not to be known */
static int cram_look(struct cram_node *cn, const struct cram_hot_page *p)
{
	unsigned long pfn = cn->start_pfn + p->i;
	struct folio *folio = cram_get_folio(cn, pfn, p->slot);
	int young = -ENOENT;

	if (!folio)
		return young;
	/* In this order: while it is referenced, the frame gets no other page */
	if (folio_pfn(folio) == pfn && test_bit(p->i, cn->heat->marked))
		young = cram_test_young(folio);
	if (young > 0)
		folio_set_referenced(folio);
	folio_put(folio);
	return young;
}

static void cram_look_again(struct cram_node *cn)
{
	struct cram_heat *h = cn->heat;
	unsigned int n, kept = 0;

	for (n = 0; n < h->nr_candidates; n++) {
		struct cram_hot_page p = h->candidates[n];

		if (cram_look(cn, &p) <= 0)
			clear_bit(p.i, h->marked);
		else if (++p.seen < CRAM_HOT_SAMPLES)
			h->candidates[kept++] = p;
		else
			h->hot[h->nr_hot++] = p;
		cond_resched();
	}
	h->nr_candidates = kept;
}

static void cram_find_candidates(struct cram_node *cn, unsigned long affordable)
{
	unsigned long slots = min(cn->nr_slots, CRAM_HOT_SLOTS);
	unsigned long wanted = CRAM_HOT_AHEAD * affordable;
	struct cram_heat *h = cn->heat;
	unsigned int looks = 0;

	for (; slots && wanted && looks < CRAM_HOT_PAGES; slots--) {
		struct cram_hot_page p = { .i = h->cursor };

		p.slot = READ_ONCE(cn->slots[p.i]);
		h->cursor = p.i + 1 < cn->nr_slots ? p.i + 1 : 0;
		if (!cram_slot_may_be_hot(p.slot) || test_and_set_bit(p.i, h->marked))
			continue;
		looks++;
		if (cram_look(cn, &p) > 0) {
			h->candidates[h->nr_candidates++] = p;
			wanted--;
		} else {
			clear_bit(p.i, h->marked);
		}
		cond_resched();
	}
}

/* After a pause nobody knows when they were read */
static void cram_drop_candidates(struct cram_heat *h)
{
	while (h->nr_candidates)
		clear_bit(h->candidates[--h->nr_candidates].i, h->marked);
}

static bool cram_drop_candidate(struct cram_heat *h, unsigned long i)
{
	unsigned int n;

	for (n = 0; n < h->nr_candidates; n++)
		if (h->candidates[n].i == i) {
			h->candidates[n] = h->candidates[--h->nr_candidates];
			return true;
		}
	return false;
}

/* The page, or the first of its folio, is hot because the device says so */
static void cram_believe(struct cram_node *cn, unsigned long pfn)
{
	struct cram_hot_page p = { .slot = READ_ONCE(*cram_slot(cn, pfn)) };
	struct cram_heat *h = cn->heat;
	struct folio *folio;

	if (!cram_slot_may_be_hot(p.slot))
		return;
	folio = cram_get_folio(cn, pfn, p.slot);
	if (!folio)
		return;
	p.i = folio_pfn(folio) - cn->start_pfn;
	/* A candidate no more; what is none was listed before */
	if (!test_and_set_bit(p.i, h->marked) || cram_drop_candidate(h, p.i))
		h->hot[h->nr_hot++] = p;
	folio_put(folio);
}

/* Ask the device for the pages that it has counted, for no more than can be promoted */
static void cram_ask_device(struct cram_node *cn)
{
	struct cram_heat *h = cn->heat;
	unsigned int max = min_t(unsigned long, cram_hot_affordable(h->budget),
				 CRAM_HOT_LISTED);
	int nr, n;

	if (!cn->desc.ops->hot_list || !max)
		return;
	nr = cn->desc.ops->hot_list(cn, h->listed, max);
	for (n = 0; n < min_t(int, nr, max); n++)
		if (h->listed[n] >= cn->start_pfn &&
		    h->listed[n] - cn->start_pfn < cn->nr_slots)
			cram_believe(cn, h->listed[n]);
}

/* --------------------------------------------------------------- promotion -- */

/* For migrate_pages(): without reclaim of any kind, here and for the charge */
static struct folio *cram_hot_target(struct folio *src, unsigned long private)
{
	const gfp_t gfp = (GFP_HIGHUSER_MOVABLE & ~__GFP_RECLAIM) | __GFP_THISNODE |
			  __GFP_NOWARN | __GFP_NOMEMALLOC;
	struct cram_node *cn = (struct cram_node *)private;
	struct mem_cgroup *memcg = get_mem_cgroup_from_folio(src);
	int nid = cram_spare_node(cn, memcg, folio_order(src));
	struct folio *dst = NULL;

	mem_cgroup_put(memcg);
	if (nid != NUMA_NO_NODE)
		dst = __folio_alloc_node(gfp, folio_order(src), nid);
	return dst ? cram_charge_target(dst, src, gfp) : NULL;
}

/*
 * Take a page onto @list. Its copy is to be the last that reclaim offers again: on the
 * active list, or in the youngest generation, which PG_active with PG_workingset means
 * while a folio is isolated. Returns the number of pages.
 */
static unsigned long cram_take_hot(struct cram_node *cn, const struct cram_hot_page *p,
				   struct list_head *list, unsigned long *refused)
{
	struct folio *folio = cram_get_folio(cn, cn->start_pfn + p->i, p->slot);
	bool same = test_and_clear_bit(p->i, cn->heat->marked);
	unsigned long nr = 0;

	if (!folio)
		return 0;
	/* Another page has the frame */
	if (!same)
		goto put;
	if (!cram_may_promote(cn, folio)) {
		*refused += folio_nr_pages(folio);
	} else if (cram_readable(folio) && isolate_folio_to_list(folio, list)) {
		nr = folio_nr_pages(folio);
		if (!folio_test_unevictable(folio)) {
			folio_set_active(folio);
			folio_set_workingset(folio);
		}
	}
put:
	folio_put(folio);
	return nr;
}

static void cram_count_refused(u32 owner_id, unsigned long nr)
{
	struct cram_cgroup *cg;

	guard(rcu)();
	cg = cram_owner_cgroup(owner_id);
	if (cg)
		cram_cgroup_refuse_hot(cg, nr);
}

/* Whose turn is it? The next owner that has hot pages, in the order of their ids */
static u32 cram_next_turn(const struct cram_heat *h)
{
	u32 next = U32_MAX, first = U32_MAX;
	unsigned int n;

	for (n = 0; n < h->nr_hot; n++) {
		u32 id = cram_slot_owner(h->hot[n].slot);

		first = min(first, id);
		if (id > h->turn)
			next = min(next, id);
	}
	return next != U32_MAX ? next : first;
}

/* Take the next page of the owner whose turn it is, from entry @n on */
static bool cram_next_of_turn(struct cram_heat *h, unsigned int *n,
			      struct cram_hot_page *p)
{
	for (; *n < h->nr_hot; ++*n) {
		if (cram_slot_owner(h->hot[*n].slot) != h->turn)
			continue;
		*p = h->hot[*n];
		h->hot[*n] = h->hot[--h->nr_hot];
		return true;
	}
	return false;
}

static void cram_promote(struct cram_node *cn, struct list_head *list)
{
	unsigned int moved = 0;

	if (list_empty(list))
		return;
	/* As for NUMA balancing, a large folio is not split for want of a large page */
	migrate_pages(list, cram_hot_target, NULL, (unsigned long)cn, MIGRATE_ASYNC,
		      MR_NUMA_MISPLACED, &moved);
	putback_movable_pages(list);
	cn->heat->budget -= (s64)moved * PAGE_SIZE;
}

static void cram_promote_turn(struct cram_node *cn)
{
	unsigned long max, nr = 0, refused = 0;
	struct cram_heat *h = cn->heat;
	struct cram_hot_page p;
	unsigned int n = 0;
	LIST_HEAD(large);
	LIST_HEAD(list);

	max = min_t(unsigned long, cram_hot_affordable(h->budget), CRAM_HOT_BATCH);
	h->turn = cram_next_turn(h);
	while (nr < max && cram_next_of_turn(h, &n, &p)) {
		unsigned long taken = cram_take_hot(cn, &p, &list, &refused);

		nr += taken;
		/* By itself: want of memory for a large one ends the migration of all */
		if (taken > 1) {
			list_move(list.next, &large);
			cram_promote(cn, &large);
		}
	}
	cram_promote(cn, &list);
	if (refused)
		cram_count_refused(h->turn, refused);
}

/*
 * Pages that the rate did not cover wait for the next pass, if they are read until then:
 * @most pages, by turns, or the pages of one owner would be all that waits. The others
 * are found again when the cursor comes by.
 */
static void cram_keep_waiting(struct cram_heat *h, unsigned long most)
{
	unsigned int n, left;
	struct cram_hot_page p;
	u32 turn = h->turn;

	while (h->nr_hot && most) {
		h->turn = cram_next_turn(h);
		left = min_t(unsigned long, most, CRAM_HOT_BATCH);
		for (n = 0; left && cram_next_of_turn(h, &n, &p); left--) {
			if (!test_bit(p.i, h->marked))
				continue;
			p.seen = CRAM_HOT_SAMPLES - 1;
			h->candidates[h->nr_candidates++] = p;
			most--;
		}
	}
	while (h->nr_hot)
		clear_bit(h->hot[--h->nr_hot].i, h->marked);
	h->turn = turn;
}

/* ------------------------------------------------------------- the worker -- */

/* Is the node in use? Where the device is silent, or pages are drained, it rests. */
static bool cram_hot_permitted(struct cram_node *cn)
{
	return READ_ONCE(cn->state.now) <= CRAM_NODE_CRITICAL && cram_has_lease(cn);
}

static void cram_hot_pass(struct cram_node *cn, u64 rate)
{
	unsigned long affordable = cram_hot_affordable(cram_hot_budget(0, rate, HZ));
	struct cram_heat *h = cn->heat;
	unsigned long now = jiffies;

	h->budget = cram_hot_budget(h->budget, rate, now - h->budget_time);
	h->budget_time = now;
	/* Enough to need no overflow to be thought of below */
	affordable = min(affordable, CRAM_HOT_PAGES);

	cram_ask_device(cn);
	cram_look_again(cn);
	while (h->nr_hot && h->budget > 0 && cram_hot_permitted(cn)) {
		cram_promote_turn(cn);
		cond_resched();
	}
	cram_keep_waiting(h, min(2 * affordable, CRAM_HOT_WAITING));
	cram_find_candidates(cn, affordable);
}

static void cram_hot_work_fn(struct work_struct *work)
{
	struct cram_node *cn = container_of(to_delayed_work(work), struct cram_node,
					    hot_work);
	u64 rate = READ_ONCE(cn->promote_rate);

	if (rate && cram_hot_permitted(cn))
		cram_hot_pass(cn, rate);
	else
		cram_drop_candidates(cn->heat);
	if (rate)
		queue_delayed_work(system_dfl_wq, &cn->hot_work, CRAM_HOT_PERIOD);
}

/**
 * cram_promoting_hot - is this the worker, moving pages because they are hot?
 * @cn: the node
 *
 * Context: any.
 * Return: true if so.
 */
bool cram_promoting_hot(struct cram_node *cn)
{
	return current_work() == &cn->hot_work.work;
}

/**
 * cram_hot_forget - there is going to be another page in this frame
 * @cn: the node
 * @pfn: the frame
 *
 * Context: any, the page is the caller's and nobody else knows it.
 */
void cram_hot_forget(struct cram_node *cn, unsigned long pfn)
{
	if (test_bit(pfn - cn->start_pfn, cn->heat->marked))
		clear_bit(pfn - cn->start_pfn, cn->heat->marked);
}

/**
 * cram_hot_start - look for hot pages, if any may be promoted
 * @cn: the node, which is in use
 *
 * Context: any.
 */
void cram_hot_start(struct cram_node *cn)
{
	if (READ_ONCE(cn->promote_rate))
		queue_delayed_work(system_dfl_wq, &cn->hot_work, 0);
}

/**
 * cram_hot_set_rate - how much may be promoted for being hot
 * @cn: the node
 * @rate: bytes per second, 0 for none, and then nothing is looked at either
 *
 * Context: any.
 */
void cram_hot_set_rate(struct cram_node *cn, u64 rate)
{
	WRITE_ONCE(cn->promote_rate, rate);
	/* For none, too: what was seen of pages is void when it begins anew */
	mod_delayed_work(system_dfl_wq, &cn->hot_work, 0);
}

#ifdef CONFIG_CRAM_VERIFY
/**
 * cram_hot_step - have one pass now, as if a period had gone by since the last
 * @cn: the node
 *
 * For tests: no pass comes by itself after it, until the rate is set. While that
 * is 0 nothing is promoted.
 *
 * Context: process, sleeps until the pass is over; cram_nodes_mutex is held.
 */
void cram_hot_step(struct cram_node *cn)
{
	cancel_delayed_work_sync(&cn->hot_work);
	cn->heat->budget_time = jiffies - CRAM_HOT_PERIOD;
	mod_delayed_work(system_dfl_wq, &cn->hot_work, 0);
	flush_delayed_work(&cn->hot_work);
	cancel_delayed_work_sync(&cn->hot_work);
}
#endif

/**
 * cram_hot_alloc - before anything else is known of a node
 * @cn: new
 *
 * Return: 0, or -ENOMEM.
 */
int cram_hot_alloc(struct cram_node *cn)
{
	INIT_DELAYED_WORK(&cn->hot_work, cram_hot_work_fn);
	cn->heat = kvzalloc_obj(*cn->heat);
	if (!cn->heat)
		return -ENOMEM;
	cn->heat->marked = kvcalloc(BITS_TO_LONGS(cn->nr_slots), sizeof(long), GFP_KERNEL);
	return cn->heat->marked ? 0 : -ENOMEM;
}

/**
 * cram_hot_free - nobody asks any more
 * @cn: the node, as cram_hot_alloc() left it, whatever that returned
 */
void cram_hot_free(struct cram_node *cn)
{
	if (cn->heat)
		kvfree(cn->heat->marked);
	kvfree(cn->heat);
}

/**
 * cram_hot_stop - for good
 * @cn: on its way out; the driver's hot_list() is not called after this
 *
 * Context: process, may sleep for as long as that takes; cram_nodes_mutex may be
 * held.
 */
void cram_hot_stop(struct cram_node *cn)
{
	disable_delayed_work_sync(&cn->hot_work);
}

#if IS_ENABLED(CONFIG_CRAM_KUNIT_TEST)
#include "hot_test.c"
#endif
