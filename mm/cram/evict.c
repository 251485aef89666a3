// SPDX-License-Identifier: GPL-2.0
/*
 * Eviction moves pages off a node: when a limit is lowered, on request, when the node
 * is drained, and when it is short of cells.
 *
 * They go to swap if there is any, else they are promoted to ordinary memory. A
 * promotion needs a memory charge again. cram makes it for the new page before it locks
 * anything, never with an OOM kill, and mem_cgroup_migrate() finds it there.
 *
 * There is no kswapd for a private node, and nobody ages its LRU lists. Instead a
 * cursor goes round over the slots of a node. For want of cells, it spares a page that
 * was read since it last came by (a clock), and takes pages of each cgroup by how far
 * that is over its cram.low; cram_cgroup_share_eviction() says how many of each.
 *
 * Writing to swap may take as long as the disk likes. A page that is being written is
 * *leaving*: it counts as one that has left, and its node has it in an index. A worker,
 * or a task that waits for it, frees it when it is written.
 *
 * Eviction holds no lock while it looks for pages and moves them. SRCU keeps the node,
 * for a slice at a time; relief and reaping are works of the node, which end before it
 * does. So no task waits for the walk of another.
 */
#include <linux/math64.h>
#include <linux/memcontrol.h>
#include <linux/migrate.h>
#include <linux/rmap.h>
#include <linux/sched/mm.h>
#include <linux/sched/signal.h>
#include <linux/srcu.h>
#include <linux/swap.h>
#include <linux/xarray.h>

#include "../internal.h"
#include "internal.h"

/* As many as reclaim takes at a time */
#define CRAM_EVICT_BATCH	SWAP_CLUSTER_MAX

/*
 * A walk lets the node go, and others have the CPU, after so many slots: well below a
 * millisecond, if it takes none of them.
 */
#define CRAM_EVICT_SLICE	4096UL

/* Pages that relief evicts between two readings: 4 MiB */
#define CRAM_RELIEF_PAGES	1024

/*
 * ... for which it looks at no more than so many pages, by an rmap walk each, and so
 * many slots, which is a GiB: by then it is time for another reading.
 */
#define CRAM_RELIEF_LOOKS	4096
#define CRAM_RELIEF_SLOTS	(1UL << 18)

/* Slots in one pass for pages that only the swap cache has: 256 MiB */
#define CRAM_REAP_SLOTS		65536UL

/* A task lets the node go after so many entries of @leaving, some ten ms if all are freed */
#define CRAM_REAP_SLICE		1024

/* The number of pages of an entry of @leaving, above the id of their owner */
#define CRAM_LEAVING_SHIFT	CRAM_OWNER_BITS

/* A node stays until all that look at its slots under this are done */
DEFINE_STATIC_SRCU(cram_evict_srcu);

enum cram_evict_step {
	CRAM_TO_SWAP,	/* write out what can be written out */
	CRAM_TO_DRAM,	/* promote */
};

/**
 * struct cram_eviction - which pages, and where to
 * @root: of this subtree, or %NULL for all
 * @fair: of cgroups that have to give some, and of these what was not read, see
 *	cram_cgroup_share_eviction()
 * @nowait: nothing that can take long is to be done for it
 * @step: where to
 * @wanted: so many pages are still to be evicted
 * @cursor: the slot to look at next
 * @slots: so many are to be looked at still
 * @looks: and with so many of these pages it may be found out whether they were read
 * @short_of: of this memory there was too little to promote to; referenced, or %NULL
 * @missing: so many pages of it
 */
struct cram_eviction {
	struct cram_cgroup *root;
	bool fair;
	bool nowait;
	enum cram_evict_step step;
	unsigned long wanted;
	unsigned long cursor;
	unsigned long slots;
	unsigned long looks;
	struct mem_cgroup *short_of;
	unsigned long missing;
};

/**
 * struct cram_batch - pages of one owner that leave together
 * @folios: off their LRU lists
 * @owner_id: whose
 * @pages: how many they are
 * @nr: entries of @folio
 * @folio: where they are, to find them again after somebody else had them
 */
struct cram_batch {
	struct list_head folios;
	u32 owner_id;
	unsigned long pages;
	unsigned int nr;
	struct {
		unsigned long pfn;
		unsigned long nr;
	} folio[CRAM_EVICT_BATCH];
};

/* How many pages of the owner of @slot may be evicted? 0 for none. RCU. */
static unsigned long cram_slot_wanted(struct cram_node *cn, u32 slot,
				      const struct cram_eviction *e)
{
	struct cram_cgroup *cg;

	if (cram_slot_state(slot) != CRAM_RESIDENT)
		return 0;
	if (!e->root && !e->fair)
		return ULONG_MAX;
	cg = cram_owner_cgroup(cram_slot_owner(slot));
	if (!cg)
		return 0;
	if (e->fair)
		return cram_cgroup_evict_share(cg, cn->nid);
	return cram_cgroup_is_descendant(cg, e->root) ? ULONG_MAX : 0;
}

/* Was it read since the clock or hot.c last looked? The latter leaves a note. */
static bool cram_was_read(struct folio *folio)
{
	int young = cram_test_young(folio);

	/* Locked by somebody: in use */
	if (young < 0)
		return true;
	return folio_test_clear_referenced(folio) || young;
}

/* Does a large folio have pages that nobody maps? */
static bool cram_used_in_part(struct folio *folio)
{
	return folio_test_large(folio) && !folio_entire_mapcount(folio) &&
	       folio_mapcount(folio) < folio_nr_pages(folio);
}

/*
 * Nothing but the swap cache has the folio, or some pages of it? Whoever gives up
 * the last entry of one that is locked or being written at that moment leaves it
 * there, and those in the swap cache are on no list of what is to be split.
 */
static void cram_drop_unused(struct folio *folio)
{
	if (!folio_trylock(folio))
		return;
	if (folio_free_swap(folio) && cram_used_in_part(folio) &&
	    (cram_should_fail() || split_folio(folio)))
		deferred_split_folio(folio, true);
	folio_unlock(folio);
}

/* Is it being written to swap, or was written and not faulted in again? */
static bool cram_leaving(struct folio *folio)
{
	return folio_test_swapcache(folio) && !folio_mapped(folio) &&
	       (folio_test_writeback(folio) || !folio_test_dirty(folio));
}

/* Does only the swap cache have it, so that it can be freed? */
static bool cram_reapable(struct folio *folio)
{
	if (!folio_test_swapcache(folio) || folio_test_writeback(folio))
		return false;
	if (!folio_mapped(folio) || cram_used_in_part(folio))
		cram_drop_unused(folio);
	return folio_test_swapcache(folio) && !folio_mapped(folio);
}

/* Split a large folio; the page that the caller has a reference to is on its own then */
static bool cram_cut(struct folio *folio)
{
	bool cut;

	if (!folio_trylock(folio))
		return false;
	cut = !cram_should_fail() && !split_folio(folio);
	folio_unlock(folio);
	return cut;
}

/* The folio of a page that is resident and this owner's, referenced, or %NULL */
static struct folio *cram_get_resident(struct cram_node *cn, unsigned long pfn, u32 owner_id)
{
	u32 slot = READ_ONCE(*cram_slot(cn, pfn));

	if (cram_slot_state(slot) != CRAM_RESIDENT || cram_slot_owner(slot) != owner_id)
		return NULL;
	return cram_get_folio(cn, pfn, slot);
}

/*
 * Is there a reference beside ours, those of page tables and of the swap cache? Such a
 * folio can neither be written out nor copied, and a failed attempt takes long.
 */
static bool cram_held(struct folio *folio)
{
	return folio_ref_count(folio) > folio_expected_ref_count(folio) + 1;
}

/* May it be written to swap, and is there a place for it? */
static bool cram_swappable(struct folio *folio)
{
	struct mem_cgroup *memcg;

	if (!folio_evictable(folio))
		return false;
	/* It has a place in swap, or needs none */
	if (folio_test_swapcache(folio) || !folio_test_swapbacked(folio))
		return true;
	guard(rcu)();
	memcg = folio_memcg(folio) ?: root_mem_cgroup;
	return mem_cgroup_get_nr_swap_pages(memcg) > 0;
}

/* May it leave by this step, as far as can be told without a lock? */
static bool cram_may_leave(struct folio *folio, enum cram_evict_step step)
{
	if (cram_held(folio) || cram_leaving(folio))
		return false;
	return step == CRAM_TO_DRAM || cram_swappable(folio);
}

/* Is it spared, because it was read since the last round? */
static bool cram_spared(struct cram_node *cn, struct folio *folio, u32 slot,
			struct cram_eviction *e)
{
	struct cram_cgroup *cg;

	e->looks--;
	if (!cram_was_read(folio))
		return false;
	guard(rcu)();
	cg = cram_owner_cgroup(cram_slot_owner(slot));
	return cg && cram_cgroup_spare(cg, cn->nid);
}

/*
 * Take the folio of a slot off its LRU list, into the batch, with all its pages. When
 * it is about who gives how much, not more than @most. Returns how many slots from
 * this on are the folio's.
 */
static unsigned long cram_isolate(struct cram_node *cn, unsigned long pfn, u32 slot,
				  struct cram_eviction *e, unsigned long most,
				  struct cram_batch *b)
{
	struct folio *folio = cram_get_folio(cn, pfn, slot);
	unsigned long pages;
	bool isolated;

	if (!folio)
		return 1;
	pages = folio_pfn(folio) + folio_nr_pages(folio) - pfn;
	if (!cram_may_leave(folio, e->step))
		goto put;
	if (e->fair && cram_spared(cn, folio, slot, e))
		goto put;
	if (e->fair && pages > most) {
		if (!cram_cut(folio))
			goto put;
		pages = 1;
		if (folio_pfn(folio) != pfn)
			goto put;
	}
	if (!cram_readable(folio)) {
		/* It may have been split: the next page may be sound */
		pages = 1;
		goto put;
	}

	if (e->step == CRAM_TO_DRAM) {
		isolated = isolate_folio_to_list(folio, &b->folios);
	} else {
		isolated = folio_isolate_lru(folio);
		if (isolated)
			list_add(&folio->lru, &b->folios);
	}
	if (isolated) {
		b->folio[b->nr].pfn = folio_pfn(folio);
		b->folio[b->nr++].nr = folio_nr_pages(folio);
		b->pages += pages;
	}
put:
	folio_put(folio);
	return pages;
}

/*
 * For migrate_pages(): a folio of ordinary memory that is charged already, on a node
 * that the cpuset of the page's cgroup permits, the nearest to its own; those of the
 * writer, who may be anybody, have no say. Other folios of the batch are locked and
 * unmapped meanwhile, so this must not reclaim; cram_make_room() does when a batch comes
 * back empty-handed. A large folio for which there is no room is split, and
 * comes again page by page.
 */
static struct folio *cram_promote_target(struct folio *src, unsigned long private)
{
	const gfp_t gfp = (GFP_HIGHUSER_MOVABLE & ~(__GFP_RECLAIM | __GFP_HARDWALL)) |
			  __GFP_NOWARN;
	struct mem_cgroup *memcg = get_mem_cgroup_from_folio(src);
	nodemask_t allowed = node_states[N_MEMORY];
	struct folio *dst;

	mem_cgroup_node_filter_allowed(memcg, &allowed);
	mem_cgroup_put(memcg);
	dst = __folio_alloc(gfp, folio_order(src), folio_nid(src), &allowed);
	return dst ? cram_charge_target(dst, src, gfp) : NULL;
}

/*
 * Returns how many have left. What a disk is still writing, nobody waits for here:
 * it may take as long as the disk likes.
 */
static unsigned long cram_move(struct list_head *list, const struct cram_eviction *e)
{
	unsigned int nr = 0;

	if (e->step != CRAM_TO_DRAM)
		return reclaim_pages(list);

	migrate_pages(list, cram_promote_target, NULL, 0,
		      e->nowait ? MIGRATE_ASYNC : MIGRATE_SYNC_LIGHT, MR_SYSCALL, &nr);
	putback_movable_pages(list);
	return nr;
}

/* Does whoever asked for pages of @root, or of all, have something else to do? */
static bool cram_request_ends(struct cram_node *cn, struct cram_cgroup *root)
{
	if (signal_pending(current))
		return true;
	/*
	 * cgroup_rmdir() waits for writers to the cgroup's files with cgroup_mutex held.
	 * And a drain makes way for the removal of the node.
	 */
	return root ? cram_cgroup_is_dying(root) : READ_ONCE(cn->state.going);
}

/* --------------------------------------------------- what is being written -- */

static unsigned long cram_leaving_pages(const void *entry)
{
	return xa_to_value(entry) >> CRAM_LEAVING_SHIFT;
}

/* If there is no memory for the entry, cram_reap_strays() finds the page */
static void cram_note_leaving(struct cram_node *cn, unsigned long pfn, u32 owner_id,
			      unsigned long nr)
{
	void *entry = xa_mk_value(owner_id | nr << CRAM_LEAVING_SHIFT);
	void *was = xa_store(&cn->evict.leaving, pfn - cn->start_pfn, entry,
			     GFP_KERNEL | __GFP_NOWARN);

	if (xa_is_err(was))
		return;
	atomic_long_add(nr, &cn->evict.nr_leaving);
	if (was)
		atomic_long_sub(cram_leaving_pages(was), &cn->evict.nr_leaving);
}

static void cram_forget_leaving(struct cram_node *cn, unsigned long i, void *entry)
{
	if (xa_cmpxchg(&cn->evict.leaving, i, entry, NULL, 0) == entry)
		atomic_long_sub(cram_leaving_pages(entry), &cn->evict.nr_leaving);
}

/* How many of a batch that did not leave at once are leaving? */
static unsigned long cram_note_batch(struct cram_node *cn, const struct cram_batch *b)
{
	unsigned long pfn, end, pages = 0;
	struct folio *folio;
	unsigned int n;

	for (n = 0; n < b->nr; n++) {
		end = b->folio[n].pfn + b->folio[n].nr;
		/* It may have been split since */
		for (pfn = b->folio[n].pfn; pfn < end; pfn++) {
			folio = cram_get_resident(cn, pfn, b->owner_id);
			if (!folio)
				continue;
			if (folio_pfn(folio) == pfn && cram_leaving(folio)) {
				cram_note_leaving(cn, pfn, b->owner_id,
						  folio_nr_pages(folio));
				pages += folio_nr_pages(folio);
			}
			pfn = folio_pfn(folio) + folio_nr_pages(folio) - 1;
			folio_put(folio);
		}
	}
	return pages;
}

static bool cram_owner_below(u32 owner_id, struct cram_cgroup *root)
{
	struct cram_cgroup *cg;

	if (!root)
		return true;
	guard(rcu)();
	cg = cram_owner_cgroup(owner_id);
	return cg && cram_cgroup_is_descendant(cg, root);
}

/* Free a page that was written. Takes the reference. */
static void cram_free_written(struct folio *folio, u32 owner_id)
{
	struct cram_cgroup *cg;
	unsigned long nr;
	LIST_HEAD(list);
	bool isolated;

	isolated = folio_isolate_lru(folio);
	if (isolated)
		list_add(&folio->lru, &list);
	folio_put(folio);
	nr = isolated ? reclaim_pages(&list) : 0;
	if (!nr)
		return;
	guard(rcu)();
	cg = cram_owner_cgroup(owner_id);
	if (cg)
		cram_count(cg, CRAM_STAT_WRITEBACK, nr);
}

/*
 * Of the subtree of @root, or of all, free what has been written, and forget what
 * somebody has come back for, in the next entries from *@next on. Adds to *@writing how
 * many pages are still being written. Returns false after the last, and when whoever
 * asked has something else to do.
 */
static bool cram_reap_slice(struct cram_node *cn, struct cram_cgroup *root,
			    unsigned long *next, unsigned long *writing)
{
	unsigned int left = CRAM_REAP_SLICE;
	unsigned long i;
	void *entry;

	xa_for_each_start(&cn->evict.leaving, i, entry, *next) {
		u32 owner_id = xa_to_value(entry) & CRAM_OWNER_MASK;
		struct folio *folio;

		cond_resched();
		if (cram_request_ends(cn, root))
			return false;
		*next = i;
		if (!left--)
			return true;
		if (!cram_owner_below(owner_id, root))
			continue;
		folio = cram_get_resident(cn, cn->start_pfn + i, owner_id);
		if (folio && folio_test_writeback(folio) && cram_leaving(folio)) {
			*writing += cram_leaving_pages(entry);
			folio_put(folio);
			continue;
		}
		cram_forget_leaving(cn, i, entry);
		if (folio && cram_leaving(folio))
			cram_free_written(folio, owner_id);
		else if (folio)
			folio_put(folio);
	}
	return false;
}

/* Free pages that only the swap cache has and that are not in the index */
static void cram_reap_strays(struct cram_node *cn)
{
	unsigned long slots;

	for (slots = min(cn->nr_slots, CRAM_REAP_SLOTS); slots; slots--) {
		unsigned long i = cn->evict.reap_cursor;
		u32 slot = READ_ONCE(cn->slots[i]);
		struct folio *folio;

		cond_resched();
		cn->evict.reap_cursor = i + 1 < cn->nr_slots ? i + 1 : 0;
		if (cram_slot_state(slot) != CRAM_RESIDENT)
			continue;
		folio = cram_get_folio(cn, cn->start_pfn + i, slot);
		if (folio && cram_reapable(folio))
			cram_free_written(folio, cram_slot_owner(slot));
		else if (folio)
			folio_put(folio);
	}
}

/* Pages of the node in the swap cache, without what CPUs have not added up yet */
static long cram_in_swapcache(struct cram_node *cn)
{
#ifdef CONFIG_SWAP
	return node_page_state(NODE_DATA(cn->nid), NR_SWAPCACHE);
#else
	return 0;
#endif
}

/*
 * Reclaim leaves a page that it has begun to write on the LRU list and frees it when
 * it comes by again. So it does with those that somebody had locked when their last
 * user left. Nobody else comes by on a cram node.
 */
static void cram_reap_work_fn(struct work_struct *work)
{
	struct cram_node *cn = container_of(work, struct cram_node, evict.reap_work);
	unsigned long next = 0, writing = 0;

	while (cram_reap_slice(cn, NULL, &next, &writing))
		;
	if (cram_in_swapcache(cn) > atomic_long_read(&cn->evict.nr_leaving))
		cram_reap_strays(cn);
}

/**
 * cram_reap - have freed what only the swap cache has, if there is anything
 * @cn: the node
 *
 * By a worker: freeing takes as long as there are such pages, and may wait for a disk,
 * while the lease does not wait. What the index names may have left the swap cache since,
 * and is not leaving any more: relief would count on it for ever.
 *
 * Context: process.
 */
void cram_reap(struct cram_node *cn)
{
	if (cram_in_swapcache(cn) || atomic_long_read(&cn->evict.nr_leaving))
		queue_work(system_dfl_wq, &cn->evict.reap_work);
}

/* ------------------------------------------------------------------- batches -- */

static void cram_count_eviction(struct cram_node *cn, u32 owner_id,
				const struct cram_eviction *e,
				unsigned long left, unsigned long leaving)
{
	struct cram_cgroup *cg;

	guard(rcu)();
	cg = cram_owner_cgroup(owner_id);
	if (!cg || !(left + leaving))
		return;
	/* Count pages that are being written, or the cgroup is asked for them again */
	if (e->fair)
		cram_cgroup_gave(cg, cn->nid, left + leaving);
	if (left && e->step == CRAM_TO_SWAP)
		cram_count(cg, CRAM_STAT_WRITEBACK, left);
	cram_cgroup_event(cg, CRAM_EVENT_EVICT);
}

/*
 * One batch of pages, all of the same owner, of the next @slots from the cursor on.
 * More than is wanted when the last of them belong to a large folio: it goes whole,
 * unless this is about fair shares.
 */
static void cram_gather(struct cram_node *cn, struct cram_eviction *e,
			unsigned long *slots, struct cram_batch *b)
{
	unsigned long most = min_t(unsigned long, e->wanted, CRAM_EVICT_BATCH);

	while (*slots && e->looks && b->pages < most) {
		unsigned long i = e->cursor, pages = 1, wanted;
		u32 slot = READ_ONCE(cn->slots[i]);

		rcu_read_lock();
		wanted = cram_slot_wanted(cn, slot, e);
		rcu_read_unlock();

		if (wanted) {
			if (b->nr && b->owner_id != cram_slot_owner(slot))
				break;
			/* Its pages may be the parent's by now, whose share is smaller */
			most = min(most, wanted);
			if (b->pages >= most)
				break;
			b->owner_id = cram_slot_owner(slot);
			pages = cram_isolate(cn, cn->start_pfn + i, slot, e,
					     most - b->pages, b);
		}
		*slots -= min(*slots, pages);
		e->cursor = i + pages < cn->nr_slots ? i + pages : 0;
	}
}

static void cram_dispatch(struct cram_node *cn, struct cram_eviction *e,
			  struct cram_batch *b)
{
	struct mem_cgroup *memcg = get_mem_cgroup_from_folio(lru_to_folio(&b->folios));
	unsigned long left = cram_move(&b->folios, e), leaving = 0;

	if (e->step == CRAM_TO_SWAP && left < b->pages)
		leaving = cram_note_batch(cn, b);
	if (e->step == CRAM_TO_DRAM && !left && !e->nowait) {
		e->short_of = memcg;
		e->missing = b->pages;
	} else {
		mem_cgroup_put(memcg);
	}
	cram_count_eviction(cn, b->owner_id, e, left, leaving);
	e->wanted -= min(e->wanted, left + leaving);
}

/* Should this eviction end early? */
static bool cram_evict_ends(struct cram_node *cn, const struct cram_eviction *e)
{
	/* Lost content must not come back as if it were good, see cram_start_over() */
	if (READ_ONCE(cn->room.content_lost))
		return true;
	return !e->fair && cram_request_ends(cn, e->root);
}

/*
 * Make room where there was none for a batch that was to be promoted. That may take
 * long, so nobody may have to wait for it, and it is done between two slices.
 */
static void cram_make_room(struct cram_eviction *e)
{
	if (!e->short_of)
		return;
	/* cgroup_rmdir() waits for us with cgroup_mutex held */
	if (!signal_pending(current) && !(e->root && cram_cgroup_is_dying(e->root)))
		try_to_free_mem_cgroup_pages(e->short_of, e->missing, GFP_KERNEL,
					     MEMCG_RECLAIM_MAY_SWAP, NULL);
	mem_cgroup_put(e->short_of);
	e->short_of = NULL;
}

/*
 * Walk the next slots, up to those for which there was no memory. Returns false when the
 * eviction is done.
 */
static bool cram_evict_slice(struct cram_node *cn, struct cram_eviction *e)
{
	unsigned long slice = min(e->slots, CRAM_EVICT_SLICE), left = slice;

	while (left && e->wanted && e->looks && !e->short_of && !cram_evict_ends(cn, e)) {
		struct cram_batch b = { .folios = LIST_HEAD_INIT(b.folios) };

		cram_gather(cn, e, &left, &b);
		if (b.nr)
			cram_dispatch(cn, e, &b);
	}
	e->slots -= slice - left;
	cond_resched();
	return (!left || e->short_of) && e->slots && e->wanted && e->looks;
}

/* ------------------------------------------------------- for want of cells -- */

/* Begin another round, if any cgroup has to give something */
static bool cram_begin_round(struct cram_node *cn, unsigned long nr)
{
	cn->evict.relief.owed = cram_cgroup_share_eviction(cn->nid, nr);
	cn->evict.relief.slots = cn->evict.relief.owed ? cn->nr_slots : 0;
	return cn->evict.relief.owed;
}

/*
 * Go on with a round, over @slots at most, which are counted down, and evict up to
 * @nr pages. Returns how many are evicted.
 */
static unsigned long cram_go_round(struct cram_node *cn, struct cram_eviction *e,
				   unsigned long nr, unsigned long *slots)
{
	unsigned long given;

	e->wanted = min(nr, cn->evict.relief.owed);
	e->slots = min(*slots, cn->evict.relief.slots);
	given = e->wanted;
	*slots -= e->slots;
	cn->evict.relief.slots -= e->slots;
	while (cram_evict_slice(cn, e))
		;
	given -= e->wanted;
	*slots += e->slots;
	cn->evict.relief.slots += e->slots;
	cn->evict.relief.owed -= given;
	if (!cn->evict.relief.owed)
		cn->evict.relief.slots = 0;
	return given;
}

/*
 * Write pages to swap until there are enough free cells again.
 *
 * Nothing is promoted for that. What is resident keeps its cells and takes no
 * more, so the device is safe as it is; a page sent back to ordinary memory
 * would only be in the way there, and be the next that reclaim wants to demote.
 *
 * Cgroups over their cram.low pay for it, see cram_cgroup_share_eviction(), with pages
 * that were not read since the last round. A cgroup that had none of these for several
 * rounds pays with any page. A round may take more than one call of this. A cgroup that
 * still owes pages after two of them cannot pay, and the others do in the next round.
 */
static void cram_relieve(struct work_struct *work)
{
	struct cram_node *cn = container_of(work, struct cram_node, evict.relief.work);
	struct cram_eviction e = { .fair = true, .step = CRAM_TO_SWAP };
	unsigned long nr, leaving, slots = CRAM_RELIEF_SLOTS;
	u64 wanted = cram_cells_wanted(cn);

	if (!wanted) {
		cn->evict.relief.slots = 0;
		return;
	}
	nr = clamp_t(u64, div_u64(wanted, cn->desc.cells_per_page), 1, CRAM_RELIEF_PAGES);
	leaving = atomic_long_read(&cn->evict.nr_leaving);
	nr -= min(nr, leaving);

	e.cursor = cn->evict.relief.cursor;
	e.looks = CRAM_RELIEF_LOOKS;
	while (nr && slots && e.looks && !READ_ONCE(cn->room.content_lost)) {
		if (!cn->evict.relief.slots && !cram_begin_round(cn, nr)) {
			/* No cgroup can pay: an early reading would change nothing */
			if (!leaving)
				return;
			break;
		}
		nr -= cram_go_round(cn, &e, nr, &slots);
		if (cn->evict.relief.slots || !cn->evict.relief.owed)
			continue;
		cn->evict.relief.owed = cram_cgroup_round_over(cn->nid);
		if (cn->evict.relief.owed) {
			/* Leave time for spared pages to be read again */
			cn->evict.relief.slots = cn->nr_slots;
			break;
		}
	}
	cn->evict.relief.cursor = e.cursor;
	cram_want_reading(cn);
}

/* ------------------------------------------------------------- on request -- */

/* One look at all slots of a node, from where the last one has ended */
static void cram_evict_node(int nid, struct cram_eviction *e)
{
	bool first = true, more = true;

	while (more) {
		scoped_guard(srcu, &cram_evict_srcu) {
			/* Look it up each time: it may be gone, or another one */
			struct cram_node *cn = cram_node_get(nid);

			if (!cn)
				return;
			if (first) {
				e->cursor = READ_ONCE(cn->evict.cursor);
				e->slots = cn->nr_slots;
				first = false;
			}
			if (e->cursor >= cn->nr_slots)
				e->cursor = 0;
			more = cram_evict_slice(cn, e);
			WRITE_ONCE(cn->evict.cursor, e->cursor);
		}
		cram_make_room(e);
	}
}

static bool cram_evict_has(struct cram_cgroup *root, int nid, int n)
{
	return (nid == NUMA_NO_NODE || nid == n) && (!root || cram_cgroup_resident(root, n));
}

/**
 * cram_evict - move resident pages off their nodes
 * @root: pages of this subtree, referenced, or %NULL for all
 * @nid: of this node, or %NUMA_NO_NODE for all
 * @nr: so many, if there are
 * @to: where they may go
 * @nowait: do not wait for anything on the way there
 *
 * Looks at the slots of the nodes once for swap, and once more for promotion if
 * that was not enough. Ends early at a signal, when the cgroup of @root is removed,
 * and, without @root, when somebody wants to take the node away.
 *
 * Context: process, may sleep and reclaim, no lock of the engine inside
 * cram_nodes_mutex is held.
 * Return: number of pages that have left or are being written, @nr also when the
 * last was a large folio and there are more.
 */
unsigned long cram_evict(struct cram_cgroup *root, int nid, unsigned long nr,
			 enum cram_evict_to to, bool nowait)
{
	struct cram_eviction e = {
		.root = root, .nowait = nowait, .wanted = nr, .looks = ULONG_MAX,
	};
	int n;

	if (to != CRAM_EVICT_DRAM && total_swap_pages)
		for_each_node_mask(n, cram_nodes)
			if (cram_evict_has(root, nid, n))
				cram_evict_node(n, &e);
	e.step = CRAM_TO_DRAM;
	if (to != CRAM_EVICT_SWAP)
		for_each_node_mask(n, cram_nodes)
			if (cram_evict_has(root, nid, n))
				cram_evict_node(n, &e);
	return nr - e.wanted;
}

/* Of one node, which may go between two slices */
static unsigned long cram_leaving_on(int nid, struct cram_cgroup *root)
{
	unsigned long next = 0, writing = 0;
	bool more = true;

	while (more) {
		struct cram_node *cn;

		guard(srcu)(&cram_evict_srcu);
		cn = cram_node_get(nid);
		more = cn && cram_reap_slice(cn, root, &next, &writing);
	}
	return writing;
}

/**
 * cram_evict_leaving - what is being written to swap?
 * @root: of this subtree, referenced, or %NULL for all
 * @nid: from this node, or %NUMA_NO_NODE for all
 *
 * Frees first what has been written by now, which takes time for each page. Ends early
 * when cram_evict() does, with what it has found until then: look for the reason next.
 *
 * Context: process, may sleep.
 * Return: number of pages.
 */
unsigned long cram_evict_leaving(struct cram_cgroup *root, int nid)
{
	unsigned long nr = 0;
	int n;

	for_each_node_mask(n, cram_nodes)
		if (cram_evict_has(root, nid, n))
			nr += cram_leaving_on(n, root);
	return nr;
}

/**
 * cram_evict_init - nothing is evicted yet
 * @cn: new
 */
void cram_evict_init(struct cram_node *cn)
{
	INIT_WORK(&cn->evict.relief.work, cram_relieve);
	xa_init(&cn->evict.leaving);
	INIT_WORK(&cn->evict.reap_work, cram_reap_work_fn);
}

/**
 * cram_evict_stop - nobody evicts from a node any more, nor begins to
 * @cn: on its way out: cram_node_get() does not find it any more, its thread has
 *	ended, and so has evict_work
 *
 * Context: process, may sleep for as long as a batch takes.
 */
void cram_evict_stop(struct cram_node *cn)
{
	synchronize_srcu(&cram_evict_srcu);
	cancel_work_sync(&cn->evict.reap_work);
	xa_destroy(&cn->evict.leaving);
}
