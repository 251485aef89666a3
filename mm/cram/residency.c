// SPDX-License-Identifier: GPL-2.0
/*
 * Where a page's residency begins and ends.
 *
 * A migration to a node reserves the slots of the target (demote.c), and settles them
 * when memcg moves the charge; a residency ends there as well, when the folio is
 * migrated back, or when its last user frees it. Each of these changes the slots, the
 * charge of the owner, the sample and the counters together. Nothing in here is ever
 * called from outside for a page of another node.
 */
#include <linux/memcontrol.h>
#include <linux/mm.h>
#include <linux/huge_mm.h>
#include <linux/nodemask.h>
#include <linux/vmstat.h>

#include <trace/events/cram.h>

#include "internal.h"

/**
 * cram_slots_reserve - a folio was allocated for a copy
 * @cn: the node
 * @pfn: its first page
 * @nr: its pages
 * @owner: charged for the pages, with a reference for each
 */
void cram_slots_reserve(struct cram_node *cn, unsigned long pfn, unsigned long nr,
			struct cram_owner *owner)
{
	unsigned long i, freed = 0;

	for (i = 0; i < nr; i++) {
		cram_hot_forget(cn, pfn + i);
		freed += cram_slot_reserve(cram_slot(cn, pfn + i), owner->id);
	}
	atomic_long_sub(freed, &cn->trim.freed);
}

/* The slots say FREED, and so does the bit that trim looks for */
static void cram_mark_freed(struct cram_node *cn, unsigned long pfn, unsigned long nr)
{
	if (!cram_hook_disabled(CRAM_HOOK_FREED))
		cram_mark_blocks(cn->trim.blocks, pfn - cn->start_pfn, nr);
}

static void cram_uncharge_owner(struct cram_node *cn, u32 id, unsigned int nr)
{
	struct cram_owner *owner;

	atomic_long_add(nr, &cn->trim.freed);
	rcu_read_lock();
	owner = cram_owner_lookup(id);
	if (!WARN_ON_ONCE(!owner)) {
		cram_cgroup_uncharge(cram_owner_books(owner), cn->nid, nr);
		cram_owner_put(owner, nr);
	}
	rcu_read_unlock();
}

/**
 * cram_slots_freed - nobody uses the pages any more, give the charge back
 * @cn: the node
 * @pfn: the first page of a folio whose slots are RESERVED
 * @nr: its pages
 *
 * Context: any.
 */
void cram_slots_freed(struct cram_node *cn, unsigned long pfn, unsigned long nr)
{
	u32 id = cram_slot_owner(READ_ONCE(*cram_slot(cn, pfn)));
	unsigned long i;

	for (i = 0; i < nr; i++) {
		cram_end_sample(cn, pfn + i, id);
		cram_slot_free(cram_slot(cn, pfn + i));
	}
	cram_mark_freed(cn, pfn, nr);
	cram_uncharge_owner(cn, id, nr);
}

/* memory_failure() takes the charge off what it retires */
static void cram_report_poison(u32 id)
{
	struct cram_cgroup *cg;

	guard(rcu)();
	cg = cram_owner_cgroup(id);
	if (cg)
		cram_cgroup_event(cg, CRAM_EVENT_POISON);
}

void __cram_uncharge_batch(const struct cram_uncharge *u)
{
	cram_uncharge_owner(u->cn, u->id, u->nr);
	/* Pairs with cram_count_capacity(): what is resident no more is freed */
	smp_mb__before_atomic();
	/* Last: with this the node may go */
	atomic_long_sub(u->nr, &u->cn->resident);
}

static void cram_end_residency(struct cram_node *cn, struct folio *folio,
			       struct cram_uncharge *u)
{
	unsigned long pfn, end = folio_pfn(folio) + folio_nr_pages(folio);
	u32 id = cram_slot_owner(READ_ONCE(*cram_slot(cn, folio_pfn(folio))));

	for (pfn = folio_pfn(folio); pfn < end; pfn++) {
		u32 slot = READ_ONCE(*cram_slot(cn, pfn));

		if (WARN_ON_ONCE(cram_slot_state(slot) != CRAM_RESIDENT ||
				 cram_slot_owner(slot) != id))
			return;

		if (slot & CRAM_WRITABLE) {
			cram_write_back(cn, pfn, 1);
			cram_end_upgrade(cn, pfn, id);
		}
		if (PageHWPoison(pfn_to_page(pfn)))
			cram_report_poison(id);

		cram_end_sample(cn, pfn, id);
		cram_slot_free(cram_slot(cn, pfn));
	}
	cram_mark_freed(cn, folio_pfn(folio), folio_nr_pages(folio));
	lruvec_stat_mod_folio(folio, NR_CRAM, -folio_nr_pages(folio));

	if (u->nr && (u->cn != cn || u->id != id)) {
		__cram_uncharge_batch(u);
		u->nr = 0;
	}
	u->cn = cn;
	u->id = id;
	u->nr += folio_nr_pages(folio);
}

static void cram_begin_residency(struct cram_node *cn, struct folio *folio)
{
	unsigned long pfn, nr = folio_nr_pages(folio);

	cram_write_back(cn, folio_pfn(folio), nr);
	for (pfn = folio_pfn(folio); pfn < folio_pfn(folio) + nr; pfn++)
		cram_slot_settle(cram_slot(cn, pfn));
	atomic_long_add(nr, &cn->resident);
	cram_done(cn, nr);
	lruvec_stat_mod_folio(folio, NR_CRAM, nr);
}

static void cram_count_pages(struct cram_node *cn, struct folio *folio, long nr,
			     enum cram_stat item)
{
	struct cram_cgroup *cg;
	u32 id;

	rcu_read_lock();
	id = cram_slot_owner(READ_ONCE(*cram_slot(cn, folio_pfn(folio))));
	cg = cram_owner_cgroup(id);
	if (cg)
		cram_count(cg, item, nr);
	rcu_read_unlock();
	trace_cram_page(cn->nid, folio_pfn(folio), nr, id, item);
}

void __cram_migrate_folio(struct folio *old, struct folio *new, bool forced)
{
	bool from = folio_is_cram(old), to = folio_is_cram(new);
	struct cram_uncharge u = {};
	struct cram_node *cn;

	/* Nothing allocates there but demotion, which takes no resident page */
	VM_WARN_ON_ONCE_FOLIO(from && to, old);

	if (from) {
		cn = cram_node_get(folio_nid(old));
		cram_count_pages(cn, old, folio_nr_pages(old),
				 forced ? CRAM_STAT_PROMOTE_FORCED :
				 cram_promoting_hot(cn) ? CRAM_STAT_PROMOTE_HOT :
							  CRAM_STAT_PROMOTE_RECLAIM);
		count_mthp_stat(folio_order(old), MTHP_STAT_CRAM_PROMOTE);
		cram_end_residency(cn, old, &u);
		cram_uncharge_batch(&u);
	}
	if (to) {
		cn = cram_node_get(folio_nid(new));
		cram_begin_residency(cn, new);
		cram_count_pages(cn, new, folio_nr_pages(new), CRAM_STAT_DEMOTE);
		count_mthp_stat(folio_order(new), MTHP_STAT_CRAM_DEMOTE);
	}
}

void __cram_uncharge_folio(struct folio *folio, struct cram_uncharge *u)
{
	cram_end_residency(cram_node_get(folio_nid(folio)), folio, u);
}

bool __cram_swapout_v1(struct folio *folio)
{
	return !cram_hook_disabled(CRAM_HOOK_SWAPOUT_V1);
}

void __cram_promoted_write(struct folio *folio)
{
	cram_count_pages(cram_node_get(folio_nid(folio)), folio, 1,
			 CRAM_STAT_PROMOTE_WRITE);
}

/*
 * Whatever counts pages where they are, counts resident ones on their node. Those
 * that MADV_FREE has freed are on the lists of files. No other item grows by a page
 * that becomes resident, or it counts events.
 */
static bool cram_item_of_pages(int item)
{
	switch (item) {
	case NR_ANON_MAPPED:
	case NR_ANON_THPS:
	case NR_INACTIVE_ANON:
	case NR_ACTIVE_ANON:
	case NR_INACTIVE_FILE:
	case NR_ACTIVE_FILE:
	case NR_UNEVICTABLE:
	case NR_WRITEBACK:
#ifdef CONFIG_SWAP
	case NR_SWAPCACHE:
#endif
		return true;
	default:
		return false;
	}
}

u64 __cram_charged_stat(struct mem_cgroup *memcg, int item, u64 bytes)
{
	u64 resident = 0;
	int nid;

	if (!cram_item_of_pages(item) || cram_hook_disabled(CRAM_HOOK_STAT))
		return bytes;
	for_each_node_mask(nid, cram_nodes)
		resident += lruvec_page_state(mem_cgroup_lruvec(memcg, NODE_DATA(nid)), item);
	/* Of two sums that change while they are made */
	return bytes - min(bytes, resident * PAGE_SIZE);
}
