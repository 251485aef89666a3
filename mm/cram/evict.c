// SPDX-License-Identifier: GPL-2.0
/*
 * Off the node: when a limit is lowered, on request, when a node is drained, and
 * when it is short of cells.
 *
 * To swap if there is any, else by promotion to ordinary memory. A promotion
 * needs a memory charge again; it is made for the new page before anything is
 * locked, never with an OOM kill, and mem_cgroup_migrate() finds it there.
 *
 * There is no kswapd for a private node, and nobody ages its LRU lists. Instead
 * a cursor goes round over the slots of a node. For want of cells, a page that
 * was read since it came by last is spared until the next round (a clock), and
 * of whom pages are taken follows from how far each cgroup is over its cram.low;
 * cram_cgroup_share_eviction() says how many of each.
 */
#include <linux/math64.h>
#include <linux/memcontrol.h>
#include <linux/migrate.h>
#include <linux/page_idle.h>
#include <linux/rmap.h>
#include <linux/sched/mm.h>
#include <linux/sched/signal.h>
#include <linux/swap.h>
#include <linux/uaccess.h>

#include "../internal.h"
#include "internal.h"

/* As many as reclaim takes at a time */
#define CRAM_EVICT_BATCH	SWAP_CLUSTER_MAX

/*
 * Slots to walk before others may have the mutex, and signals are looked at:
 * well below a millisecond, if none of them is of use.
 */
#define CRAM_EVICT_SLICE	4096UL

/* Between two readings, when cells are short: 4 MiB */
#define CRAM_RELIEF_PAGES	1024

/*
 * Rounds in a row in which all was read. The first means nothing: each page is
 * demoted with the accessed bit that it had.
 */
#define CRAM_SPARED_ROUNDS	3

/* Between two readings, for pages that only the swap cache has: 256 MiB */
#define CRAM_REAP_SLOTS		65536UL

enum cram_evict_step {
	CRAM_TO_SWAP,	/* write out what can be written out */
	CRAM_REAP,	/* free what has been written out since */
	CRAM_TO_DRAM,	/* promote */
};

/**
 * struct cram_eviction - which pages, and where to
 * @root: of this subtree, or %NULL for all
 * @fair: of cgroups that have to give some, see cram_cgroup_share_eviction()
 * @cold: only what was not read since the last time
 * @step: where to
 */
struct cram_eviction {
	struct cram_cgroup *root;
	bool fair;
	bool cold;
	enum cram_evict_step step;
};

/* How many like the page in @slot are to be evicted, 0 for not even this? RCU. */
static unsigned long cram_slot_wanted(u32 slot, const struct cram_eviction *e)
{
	struct cram_owner *owner;
	struct cram_cgroup *cg;

	if (cram_slot_state(slot) != CRAM_RESIDENT)
		return 0;
	if (!e->root && !e->fair)
		return ULONG_MAX;
	owner = cram_owner_lookup(cram_slot_owner(slot));
	if (!owner)
		return 0;
	cg = cram_owner_books(owner);
	if (e->fair)
		return cram_cgroup_evict_share(cg);
	return cram_cgroup_is_descendant(cg, e->root) ? ULONG_MAX : 0;
}

/*
 * Can all of the folio be read? If not, have it retired. The slot may not be
 * ours any more; reading does no harm.
 */
static bool cram_readable(struct folio *folio)
{
	char line[SMP_CACHE_BYTES];
	unsigned long i;

	for (i = 0; i < folio_size(folio); i += sizeof(line)) {
		if (copy_mc_to_kernel(line, folio_address(folio) + i, sizeof(line))) {
			memory_failure_queue(folio_pfn(folio) + (i >> PAGE_SHIFT), 0);
			return false;
		}
	}
	return true;
}

static bool cram_clear_young(struct folio *folio, struct vm_area_struct *vma,
			     unsigned long address, void *young)
{
	DEFINE_FOLIO_VMA_WALK(pvmw, folio, vma, address, 0);

	while (page_vma_mapped_walk(&pvmw)) {
		if (pvmw.pte)
			*(bool *)young |= pte_present(ptep_get(pvmw.pte)) &&
					  test_and_clear_young_ptes_notify(vma, pvmw.address,
									   pvmw.pte, 1);
		else if (IS_ENABLED(CONFIG_TRANSPARENT_HUGEPAGE))
			*(bool *)young |= pmdp_test_and_clear_young_notify(vma, pvmw.address,
									   pvmw.pmd);
	}
	return true;
}

/**
 * cram_test_young - was the folio read since this was asked last?
 * @folio: referenced
 *
 * Not by folio_referenced(): with MGLRU that clears the accessed bits of the
 * neighbours as well, and tells it to generations that nobody looks at here. As
 * there, the TLB is not flushed, so what is read from the TLB all the time can
 * look cold.
 *
 * Context: process, may sleep.
 * Return: 1 or 0, or -EAGAIN when somebody has locked it.
 */
int cram_test_young(struct folio *folio)
{
	bool young = false;
	struct rmap_walk_control rwc = {
		.rmap_one = cram_clear_young,
		.anon_lock = folio_lock_anon_vma_read,
		.arg = &young,
	};

	if (!folio_trylock(folio))
		return -EAGAIN;
	rmap_walk(folio, &rwc);
	/* As folio_referenced() does: idle page tracking has its own account */
	if (young)
		folio_clear_idle(folio);
	young |= folio_test_clear_young(folio);
	folio_unlock(folio);
	return young;
}

/* Since the hand of the clock came by, or hot.c, which leaves a note */
static bool cram_was_read(struct folio *folio)
{
	int young = cram_test_young(folio);

	/* Locked by somebody: in use */
	if (young < 0)
		return true;
	return folio_test_clear_referenced(folio) || young;
}

/* Are there pages of it that nobody maps? */
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
	if (folio_free_swap(folio) && cram_used_in_part(folio) && split_folio(folio))
		deferred_split_folio(folio, true);
	folio_unlock(folio);
}

/* Is this for eviction to free, after it was written to swap? */
static bool cram_reapable(struct folio *folio)
{
	if (!folio_test_swapcache(folio))
		return false;
	if (!folio_mapped(folio) || cram_used_in_part(folio))
		cram_drop_unused(folio);
	return folio_test_swapcache(folio) && !folio_mapped(folio);
}

/* Of a large folio, just these pages; the one that is referenced is its own then */
static bool cram_cut(struct folio *folio)
{
	bool cut;

	if (!folio_trylock(folio))
		return false;
	cut = !split_folio(folio);
	folio_unlock(folio);
	return cut;
}

/**
 * cram_get_folio - the folio of a page that a scanner has come by
 * @cn: the node
 * @pfn: the page
 * @slot: what its slot said
 *
 * Return: the folio, referenced, or %NULL when the slot has changed.
 */
struct folio *cram_get_folio(struct cram_node *cn, unsigned long pfn, u32 slot)
{
	struct folio *folio;

	/*
	 * Before the page is touched: who asks a second later may come after memory
	 * hotplug. Slots are never taken away.
	 */
	if (READ_ONCE(*cram_slot(cn, pfn)) != slot)
		return NULL;
	folio = page_folio(pfn_to_page(pfn));
	if (!folio_try_get(folio))
		return NULL;
	if (READ_ONCE(*cram_slot(cn, pfn)) == slot && folio == page_folio(pfn_to_page(pfn)))
		return folio;
	folio_put(folio);
	return NULL;
}

/*
 * Take the folio of a slot off its LRU list, onto @list, with all its pages. When
 * it is about who gives how much, not more than @wanted. Says in @pages how many
 * slots from this on are the folio's.
 */
static bool cram_isolate(struct cram_node *cn, unsigned long pfn, u32 slot,
			 const struct cram_eviction *e, unsigned long wanted,
			 struct list_head *list, unsigned long *pages)
{
	struct folio *folio = cram_get_folio(cn, pfn, slot);
	bool isolated = false;

	*pages = 1;
	if (!folio)
		return false;
	*pages = folio_pfn(folio) + folio_nr_pages(folio) - pfn;
	if (e->cold && cram_was_read(folio))
		goto put;
	if (e->fair && *pages > wanted) {
		if (!cram_cut(folio))
			goto put;
		*pages = 1;
		if (folio_pfn(folio) != pfn)
			goto put;
	}
	/* What writes it to swap does not expect poison in it */
	if (e->step == CRAM_TO_SWAP && !cram_readable(folio))
		goto put;
	if (e->step == CRAM_REAP && !cram_reapable(folio))
		goto put;

	if (e->step == CRAM_TO_DRAM) {
		isolated = isolate_folio_to_list(folio, list);
	} else if (folio_isolate_lru(folio)) {
		list_add(&folio->lru, list);
		isolated = true;
	}
put:
	folio_put(folio);
	return isolated;
}

/**
 * cram_charge_target - the memory charge of a page that comes back
 * @dst: new, nobody's
 * @src: what is to be copied there
 * @gfp: how far to go for it
 *
 * mem_cgroup_migrate() finds the charge there and makes no other.
 *
 * Return: @dst, or %NULL with @dst freed.
 */
struct folio *cram_charge_target(struct folio *dst, struct folio *src, gfp_t gfp)
{
	struct mem_cgroup *memcg = get_mem_cgroup_from_folio(src), *old_memcg;
	int err;

	old_memcg = set_active_memcg(memcg);
	err = mem_cgroup_charge(dst, NULL, gfp);
	set_active_memcg(old_memcg);
	mem_cgroup_put(memcg);

	if (err) {
		folio_put(dst);
		return NULL;
	}
	return dst;
}

/*
 * For migrate_pages(): a folio of ordinary memory that is charged already. Other
 * folios of the batch are locked and unmapped meanwhile, so this must not
 * reclaim; cram_evict_batch() makes room when it comes back empty-handed. A large
 * folio for which there is no room is split, and comes again page by page.
 */
static struct folio *cram_promote_target(struct folio *src, unsigned long private)
{
	const gfp_t gfp = (GFP_HIGHUSER_MOVABLE & ~__GFP_RECLAIM) | __GFP_NOWARN;
	struct folio *dst = folio_alloc(gfp, folio_order(src));

	return dst ? cram_charge_target(dst, src, gfp) : NULL;
}

static unsigned long cram_move(struct list_head *list, enum cram_evict_step step)
{
	unsigned int nr = 0;

	if (step != CRAM_TO_DRAM)
		return reclaim_pages(list);

	migrate_pages(list, cram_promote_target, NULL, 0, MIGRATE_SYNC,
		      MR_SYSCALL, &nr);
	putback_movable_pages(list);
	return nr;
}

static void cram_count_eviction(u32 owner_id, const struct cram_eviction *e,
				unsigned long isolated, unsigned long moved)
{
	struct cram_owner *owner;
	struct cram_cgroup *cg;

	guard(rcu)();
	owner = cram_owner_lookup(owner_id);
	if (!owner)
		return;
	cg = cram_owner_books(owner);
	/* What is being written counts, too, or it would be asked for again */
	if (e->fair)
		cram_cgroup_gave(cg, isolated);
	if (!moved)
		return;
	if (e->step != CRAM_TO_DRAM)
		cram_count(cg, CRAM_STAT_WRITEBACK, moved);
	cram_cgroup_event(cg, CRAM_EVENT_EVICT);
}

/*
 * One batch of pages, all of the same owner, of the next @slots from the cursor
 * on. More than @nr when the last of them belong to a large folio: it goes whole,
 * unless this is about fair shares. Then what counts is what was begun, as it would
 * be asked for again before it has been written.
 */
static unsigned long cram_evict_batch(struct cram_node *cn,
				      const struct cram_eviction *e,
				      unsigned long nr, unsigned long *slots)
{
	unsigned long *cursor = e->step == CRAM_REAP ? &cn->reap_cursor : &cn->evict_cursor;
	unsigned long isolated = 0, moved;
	struct mem_cgroup *memcg;
	u32 owner_id = 0;
	LIST_HEAD(list);

	nr = min_t(unsigned long, nr, CRAM_EVICT_BATCH);
	while (isolated < nr && *slots) {
		unsigned long i = *cursor;
		u32 slot = READ_ONCE(cn->slots[i]);
		unsigned long wanted, pages = 1;

		rcu_read_lock();
		wanted = cram_slot_wanted(slot, e);
		rcu_read_unlock();

		if (wanted) {
			if (owner_id && owner_id != cram_slot_owner(slot))
				break;
			nr = min(nr, wanted);
			/* Its pages may be the parent's by now, whose share is smaller */
			if (isolated >= nr)
				break;
			owner_id = cram_slot_owner(slot);
			if (cram_isolate(cn, cn->start_pfn + i, slot, e, nr - isolated,
					 &list, &pages))
				isolated += pages;
		}
		*slots -= min(*slots, pages);
		*cursor = i + pages < cn->nr_slots ? i + pages : 0;
	}
	if (!isolated)
		return 0;

	memcg = get_mem_cgroup_from_folio(lru_to_folio(&list));
	moved = cram_move(&list, e->step);
	if (!moved && e->step == CRAM_TO_DRAM)
		try_to_free_mem_cgroup_pages(memcg, nr, GFP_KERNEL,
					     MEMCG_RECLAIM_MAY_SWAP, NULL);
	mem_cgroup_put(memcg);
	if (e->step == CRAM_TO_SWAP && moved < isolated)
		WRITE_ONCE(cn->reap, true);
	cram_count_eviction(owner_id, e, isolated, moved);
	return e->fair ? isolated : moved;
}

/* Others may have the mutex for a moment. Is the node still there after that? */
static bool cram_let_others(struct cram_node *cn)
{
	int nid = cn->nid;

	mutex_unlock(&cram_nodes_mutex);
	if (cram_nodes_lock_request())
		mutex_lock(&cram_nodes_mutex);
	return cram_node_get(nid) == cn;
}

static unsigned long cram_scan_slots(struct cram_node *cn, const struct cram_eviction *e,
				     unsigned long nr, unsigned long slots)
{
	unsigned long moved = 0;

	/* What is lost must not come back as if it were not, see cram_start_over() */
	while (moved < nr && slots && !READ_ONCE(cn->content_lost)) {
		unsigned long slice = min(slots, CRAM_EVICT_SLICE), left = slice;

		moved += cram_evict_batch(cn, e, nr - moved, &left);
		slots -= slice - left;
		if (signal_pending(current) || (e->root && !cram_let_others(cn)))
			break;
		cond_resched();
	}
	return moved;
}

static unsigned long cram_evict_node(struct cram_node *cn,
				     const struct cram_eviction *e, unsigned long nr)
{
	return cram_scan_slots(cn, e, nr, cn->nr_slots);
}

/**
 * cram_reap - free what only the swap cache has
 * @cn: the node
 *
 * Reclaim leaves a page that it has begun to write on the LRU list and frees
 * it when it comes by again. So it does with those that somebody had locked when
 * their last user left. Nobody else comes by on a cram node: after an eviction
 * all slots are looked at, and else, while there are any such pages, some.
 *
 * Context: the node's thread.
 */
void cram_reap(struct cram_node *cn)
{
	const struct cram_eviction e = { .step = CRAM_REAP };

	if (xchg(&cn->reap, false))
		cram_evict_node(cn, &e, cn->nr_slots);
	else if (node_page_state(NODE_DATA(cn->nid), NR_SWAPCACHE))
		cram_scan_slots(cn, &e, cn->nr_slots, min(cn->nr_slots, CRAM_REAP_SLOTS));
}

/**
 * cram_relieve - write pages to swap until there are enough free cells again
 * @work: evict_work of a node
 *
 * Nothing is promoted for that. What is resident keeps its cells and takes no
 * more, so the device is safe as it is; a page sent back to ordinary memory
 * would only be in the way there, and be the next that reclaim wants to demote.
 *
 * Cgroups over their cram.low pay for it, see cram_cgroup_share_eviction(), with
 * what was not read since the cursor came by last; if that is nothing round after
 * round, with whatever there is.
 *
 * Context: worker.
 */
void cram_relieve(struct work_struct *work)
{
	struct cram_node *cn = container_of(work, struct cram_node, evict_work);
	struct cram_eviction e = { .fair = true, .cold = true, .step = CRAM_TO_SWAP };
	u64 wanted = cram_cells_wanted(cn);
	unsigned long nr;

	/* One batch at a time, then another reading tells how far that went */
	if (!wanted || !total_swap_pages)
		return;
	if (!cram_nodes_trylock())
		goto again;
	nr = clamp_t(u64, div_u64(wanted, cn->desc.cells_per_page), 1, CRAM_RELIEF_PAGES);
	cram_cgroup_share_eviction(cn->nid, nr);
	if (cram_evict_node(cn, &e, nr)) {
		cn->spared = 0;
	} else if (++cn->spared >= CRAM_SPARED_ROUNDS) {
		e.cold = false;
		cram_evict_node(cn, &e, nr);
	}
	mutex_unlock(&cram_nodes_mutex);
again:
	cram_want_reading(cn);
}

/**
 * cram_evict - move resident pages off their nodes
 * @root: pages of this subtree, or %NULL for all
 * @nid: of this node, or %NUMA_NO_NODE for all
 * @nr: so many, if there are
 * @to: where they may go
 *
 * Walks the slots of the nodes once for swap, and once more for promotion if
 * that was not enough. Stops at a signal.
 *
 * Context: process, may sleep and reclaim; cram_nodes_mutex is held, and with a
 * @root, which is referenced, given up now and then. Return: number of pages that
 * left.
 */
unsigned long cram_evict(struct cram_cgroup *root, int nid, unsigned long nr,
			 enum cram_evict_to to)
{
	struct cram_eviction e = { .root = root };
	unsigned long moved = 0;
	int n;

	lockdep_assert_held(&cram_nodes_mutex);

	for (e.step = CRAM_TO_SWAP; e.step <= CRAM_TO_DRAM; e.step++) {
		if (e.step == CRAM_TO_DRAM ? to == CRAM_EVICT_SWAP :
					     to == CRAM_EVICT_DRAM || !total_swap_pages)
			continue;
		/* Give the writing a moment before more is promoted instead */
		if (e.step == CRAM_REAP && moved < nr)
			schedule_timeout_interruptible(HZ / 20);
		for_each_node_mask(n, cram_nodes) {
			if (moved >= nr || signal_pending(current))
				return moved;
			if ((nid == NUMA_NO_NODE || nid == n) &&
			    (!root || cram_cgroup_resident(root, n)))
				moved += cram_evict_node(cram_node_get(n), &e,
							 nr - moved);
		}
	}
	return moved;
}

/**
 * cram_evict_cgroup - move pages of a cgroup's subtree off its nodes
 * @cg: the books, referenced
 * @nid: off this node, or %NUMA_NO_NODE for all
 * @nr: how many, if there are
 * @to: where they may go
 *
 * Context: process, may sleep and reclaim; ends early at a signal.
 * Return: number of pages that left.
 */
unsigned long cram_evict_cgroup(struct cram_cgroup *cg, int nid, unsigned long nr,
				enum cram_evict_to to)
{
	unsigned long moved;

	/* The mutex is not for those who have nothing there */
	if (!cram_cgroup_resident(cg, nid) || cram_nodes_lock_request())
		return 0;
	moved = cram_evict(cg, nid, nr, to);
	mutex_unlock(&cram_nodes_mutex);
	return moved;
}
