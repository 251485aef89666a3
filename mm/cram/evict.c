// SPDX-License-Identifier: GPL-2.0
/*
 * Off the node: when a limit is lowered and when a node is drained.
 *
 * To swap if there is any, else by promotion to ordinary memory. A promotion
 * needs a memory charge again; it is made for the new page before anything is
 * locked, never with an OOM kill, and mem_cgroup_migrate() finds it there.
 */
#include <linux/math64.h>
#include <linux/memcontrol.h>
#include <linux/migrate.h>
#include <linux/sched/mm.h>
#include <linux/sched/signal.h>
#include <linux/swap.h>
#include <linux/uaccess.h>

#include "../internal.h"
#include "internal.h"

/* As many as reclaim takes at a time */
#define CRAM_EVICT_BATCH	SWAP_CLUSTER_MAX

/* Between two readings, when cells are short: 4 MiB */
#define CRAM_RELIEF_PAGES	1024

enum cram_evict_to {
	CRAM_TO_SWAP,	/* write out what can be written out */
	CRAM_REAP,	/* free what has been written out since */
	CRAM_TO_DRAM,	/* promote */
};

/* Does the owner in @slot belong to the subtree of @root? RCU. */
static bool cram_slot_in_subtree(u32 slot, struct cram_cgroup *root)
{
	struct cram_owner *owner;

	if (cram_slot_state(slot) != CRAM_RESIDENT)
		return false;
	if (!root)
		return true;
	owner = cram_owner_lookup(cram_slot_owner(slot));
	return owner && cram_cgroup_is_descendant(rcu_dereference(owner->cg), root);
}

/*
 * Can all of the folio be read? If not, have it retired. The slot may not be
 * ours any more; reading does no harm.
 */
static bool cram_readable(struct folio *folio)
{
	unsigned long pfn = folio_pfn(folio);
	char line[SMP_CACHE_BYTES];
	unsigned int i;

	for (i = 0; i < PAGE_SIZE; i += sizeof(line)) {
		if (copy_mc_to_kernel(line, folio_address(folio) + i, sizeof(line))) {
			memory_failure_queue(pfn, 0);
			return false;
		}
	}
	return true;
}

/* Take the folio of a slot off its LRU list, onto @list */
static bool cram_isolate(struct cram_node *cn, unsigned long pfn, u32 slot,
			 enum cram_evict_to to, struct list_head *list)
{
	struct folio *folio = page_folio(pfn_to_page(pfn));
	bool isolated = false;

	if (!folio_try_get(folio))
		return false;
	/* What writes it to swap does not expect poison in it */
	if (to == CRAM_TO_SWAP && !cram_readable(folio))
		goto put;
	if (READ_ONCE(*cram_slot(cn, pfn)) != slot)
		goto put;
	if (to == CRAM_REAP && (!folio_test_swapcache(folio) || folio_mapped(folio)))
		goto put;

	if (to == CRAM_TO_DRAM) {
		isolated = isolate_folio_to_list(folio, list);
	} else if (folio_isolate_lru(folio)) {
		list_add(&folio->lru, list);
		isolated = true;
	}
put:
	folio_put(folio);
	return isolated;
}

/*
 * For migrate_pages(): a page of ordinary memory that is charged already. Other
 * folios of the batch are locked and unmapped meanwhile, so this must not
 * reclaim; cram_evict_batch() makes room when it comes back empty-handed.
 */
static struct folio *cram_promote_target(struct folio *src, unsigned long private)
{
	const gfp_t gfp = (GFP_HIGHUSER_MOVABLE & ~__GFP_RECLAIM) | __GFP_NOWARN;
	struct mem_cgroup *memcg, *old_memcg;
	struct folio *dst;
	int err;

	dst = folio_alloc(gfp, 0);
	if (!dst)
		return NULL;

	memcg = get_mem_cgroup_from_folio(src);
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

static unsigned long cram_move(struct list_head *list, enum cram_evict_to to)
{
	unsigned int nr = 0;

	if (to != CRAM_TO_DRAM)
		return reclaim_pages(list);

	migrate_pages(list, cram_promote_target, NULL, 0, MIGRATE_SYNC,
		      MR_SYSCALL, &nr);
	putback_movable_pages(list);
	return nr;
}

/* One batch of pages, all of the same owner, from the cursor on */
static unsigned long cram_evict_batch(struct cram_node *cn,
				      struct cram_cgroup *root,
				      unsigned long nr, enum cram_evict_to to,
				      unsigned long *scanned)
{
	unsigned long isolated = 0, moved;
	struct mem_cgroup *memcg;
	u32 owner_id = 0;
	LIST_HEAD(list);

	nr = min_t(unsigned long, nr, CRAM_EVICT_BATCH);
	while (isolated < nr && *scanned < cn->nr_slots) {
		unsigned long i = cn->evict_cursor;
		u32 slot = READ_ONCE(cn->slots[i]);
		bool ours;

		rcu_read_lock();
		ours = cram_slot_in_subtree(slot, root);
		rcu_read_unlock();

		if (ours) {
			if (owner_id && owner_id != cram_slot_owner(slot))
				break;
			owner_id = cram_slot_owner(slot);
			isolated += cram_isolate(cn, cn->start_pfn + i, slot, to, &list);
		}
		(*scanned)++;
		cn->evict_cursor = i + 1 < cn->nr_slots ? i + 1 : 0;
	}
	if (!isolated)
		return 0;

	memcg = get_mem_cgroup_from_folio(lru_to_folio(&list));
	moved = cram_move(&list, to);
	if (!moved && to == CRAM_TO_DRAM)
		try_to_free_mem_cgroup_pages(memcg, nr, GFP_KERNEL,
					     MEMCG_RECLAIM_MAY_SWAP, NULL);
	mem_cgroup_put(memcg);
	if (to != CRAM_TO_DRAM && moved < isolated)
		WRITE_ONCE(cn->reap, true);
	if (moved) {
		struct cram_owner *owner;

		rcu_read_lock();
		owner = cram_owner_lookup(owner_id);
		if (owner) {
			struct cram_cgroup *cg = rcu_dereference(owner->cg);

			if (to != CRAM_TO_DRAM)
				cram_count(cg, CRAM_STAT_WRITEBACK, moved);
			cram_cgroup_event(cg, CRAM_EVENT_EVICT);
		}
		rcu_read_unlock();
	}
	return moved;
}

static unsigned long cram_evict_node(struct cram_node *cn,
				     struct cram_cgroup *root, unsigned long nr,
				     enum cram_evict_to to)
{
	unsigned long scanned = 0, moved = 0;

	while (moved < nr && scanned < cn->nr_slots) {
		moved += cram_evict_batch(cn, root, nr - moved, to, &scanned);
		if (signal_pending(current))
			break;
		cond_resched();
	}
	return moved;
}

/**
 * cram_reap - free pages whose writing to swap has ended since
 * @cn: the node
 *
 * Reclaim leaves a page that it has begun to write on the LRU list and frees
 * it when it comes by again. Nobody else comes by on a cram node.
 *
 * Context: the node's thread.
 */
void cram_reap(struct cram_node *cn)
{
	WRITE_ONCE(cn->reap, false);
	cram_evict_node(cn, NULL, cn->nr_slots, CRAM_REAP);
}

/**
 * cram_relieve - write pages to swap until there are enough free cells again
 * @work: evict_work of a node
 *
 * Nothing is promoted for that. What is resident keeps its cells and takes no
 * more, so the device is safe as it is; a page sent back to ordinary memory
 * would only be in the way there, and be the next that reclaim wants to demote.
 *
 * Context: worker.
 */
void cram_relieve(struct work_struct *work)
{
	struct cram_node *cn = container_of(work, struct cram_node, evict_work);
	u64 wanted = cram_cells_wanted(cn);

	/* One batch at a time, then another reading tells how far that went */
	if (!wanted || !total_swap_pages || !mutex_trylock(&cram_nodes_mutex))
		return;
	lru_add_drain_all();
	cram_evict_node(cn, NULL,
			clamp_t(u64, div_u64(wanted, cn->desc.cells_per_page), 1,
				CRAM_RELIEF_PAGES), CRAM_TO_SWAP);
	mutex_unlock(&cram_nodes_mutex);
	cram_want_reading(cn);
}

/**
 * cram_evict - move resident pages off their nodes
 * @root: pages of this subtree, or %NULL for all
 * @nid: of this node, or %NUMA_NO_NODE for all
 * @nr: so many, if there are
 *
 * Walks the slots of the nodes once for swap, and once more for promotion if
 * that was not enough. Stops at a signal.
 *
 * Context: process, may sleep and reclaim; cram_nodes_mutex is held, @root is
 * referenced. Return: number of pages that left.
 */
unsigned long cram_evict(struct cram_cgroup *root, int nid, unsigned long nr)
{
	unsigned long moved = 0;
	enum cram_evict_to to;
	int n;

	lockdep_assert_held(&cram_nodes_mutex);

	/* Pages on the per-CPU lists of the LRU cannot be isolated */
	lru_add_drain_all();

	for (to = CRAM_TO_SWAP; to <= CRAM_TO_DRAM; to++) {
		if (to != CRAM_TO_DRAM && !total_swap_pages)
			continue;
		/* Give the writing a moment before more is promoted instead */
		if (to == CRAM_REAP && moved < nr)
			schedule_timeout_interruptible(HZ / 20);
		for_each_node_mask(n, cram_nodes) {
			if (moved >= nr || signal_pending(current))
				return moved;
			if (nid == NUMA_NO_NODE || nid == n)
				moved += cram_evict_node(cram_node_get(n), root,
							 nr - moved, to);
		}
	}
	return moved;
}

/**
 * cram_evict_cgroup - move pages of a cgroup's subtree off all nodes
 * @cg: the books, referenced
 * @nr: how many, if there are
 *
 * Context: process, may sleep and reclaim; ends early at a signal.
 * Return: number of pages that left.
 */
unsigned long cram_evict_cgroup(struct cram_cgroup *cg, unsigned long nr)
{
	unsigned long moved = 0;

	if (!mutex_lock_interruptible(&cram_nodes_mutex)) {
		moved = cram_evict(cg, NUMA_NO_NODE, nr);
		mutex_unlock(&cram_nodes_mutex);
	}
	return moved;
}
