// SPDX-License-Identifier: GPL-2.0
/*
 * From reclaim to a cram node: choose, admit, allocate, migrate.
 *
 * shrink_folio_list() offers each cold anonymous folio that it would write to
 * swap. What looks admissible is collected and migrated at the end of the
 * pass; what could not be admitted after all is handed back and goes to swap
 * in the same pass. Reclaim never waits here: not for the device, not for a
 * lock of the engine.
 *
 * The rules of admission, in their order, each with a counter of its own name:
 * refuse_off, refuse_memcg, refuse_right, refuse_max, refuse_state,
 * refuse_room, refuse_page, and last refuse_content.
 */
#include <linux/cgroup.h>
#include <linux/mm.h>
#include <linux/huge_mm.h>
#include <linux/memcontrol.h>
#include <linux/migrate.h>
#include <linux/mmzone.h>
#include <linux/numa.h>
#include <linux/private_node.h>
#include <linux/rmap.h>
#include <linux/swap.h>

#include <trace/events/cram.h>

#include "../internal.h"
#include "../swap.h"
#include "internal.h"

bool cram_enabled = true;

/* -------------------------------------------------------------- admission -- */

/*
 * Is there a free page for each of @nr? When what is stored compresses better than
 * the device was built for, pages run out before cells. Pages that are free but
 * not trimmed count: they can be allocated. Those on the lists of other CPUs do
 * not; trimming and vmstat drain these soon.
 */
static bool cram_has_pages(struct cram_node *cn, unsigned long nr)
{
	struct zone *zone = &NODE_DATA(cn->nid)->node_zones[ZONE_MOVABLE];
	unsigned long free = zone_page_state(zone, NR_FREE_PAGES);

	/* Each CPU is behind with some: too many to tell few from none */
	if (free < READ_ONCE(zone->percpu_drift_mark))
		free = zone_page_state_snapshot(zone, NR_FREE_PAGES);
	return free + READ_ONCE(raw_cpu_ptr(zone->per_cpu_pageset)->count) >= nr;
}

/**
 * cram_node_refusal - which rule refuses pages on this node?
 * @cn: the node
 * @cg: whose pages
 * @nr: how many
 *
 * Context: RCU.
 * Return: the counter of the rule, or %NR_CRAM_STATS when none refuses them.
 */
enum cram_stat cram_node_refusal(struct cram_node *cn, struct cram_cgroup *cg,
				 unsigned long nr)
{
	if (!cram_cgroup_node_allowed(cg, cn->nid))
		return CRAM_STAT_REFUSE_RIGHT;
	if (cram_cgroup_limiting(cg, cn->nid, nr))
		return CRAM_STAT_REFUSE_MAX;
	if (!cram_node_open(cn))
		return CRAM_STAT_REFUSE_STATE;
	if (!cram_has_room(cn, nr))
		return CRAM_STAT_REFUSE_ROOM;
	if (!cram_has_pages(cn, nr))
		return CRAM_STAT_REFUSE_PAGE;
	return NR_CRAM_STATS;
}

/**
 * cram_choose_node - find the nearest node that would take pages; of two that are as
 *	near, plain memory, where writing in place takes nothing more
 * @cg: whose pages, or %NULL when memory has no cgroups
 * @src_nid: from which node, or %NUMA_NO_NODE
 * @nr: how many
 * @why: set to the rule that refuses them when no node takes them
 *
 * Context: RCU.
 * Return: the node, or %NULL.
 */
struct cram_node *cram_choose_node(struct cram_cgroup *cg, int src_nid,
				   unsigned long nr, enum cram_stat *why)
{
	struct cram_node *cn, *best = NULL;
	int nid, best_distance = INT_MAX;

	*why = CRAM_STAT_REFUSE_OFF;
	if (!READ_ONCE(cram_enabled))
		return NULL;

	*why = CRAM_STAT_REFUSE_MEMCG;
	if (!cg || !cgroup_subsys_on_dfl(memory_cgrp_subsys))
		return NULL;

	/*
	 * The rule that fails last is the one to tell: a node that lacks only
	 * room says more than another that is not even permitted.
	 */
	*why = CRAM_STAT_REFUSE_RIGHT;
	for_each_node_mask(nid, cram_nodes) {
		int distance = src_nid == NUMA_NO_NODE ? 0 :
						 node_distance(src_nid, nid);
		enum cram_stat refusal;

		cn = cram_node_get(nid);
		if (!cn)
			continue;
		refusal = cram_node_refusal(cn, cg, nr);
		if (refusal == CRAM_STAT_REFUSE_ROOM ||
		    (refusal == CRAM_STAT_REFUSE_STATE && cram_node_short(cn)))
			cram_want_reading(cn);
		*why = max(*why, refusal);
		if (refusal == NR_CRAM_STATS &&
		    (distance < best_distance ||
		     (distance == best_distance && cn->desc.class > best->desc.class))) {
			best = cn;
			best_distance = distance;
		}
	}
	/* The limit on all nodes comes before the state and the room of one */
	if (*why != CRAM_STAT_REFUSE_RIGHT && cram_cgroup_limiting(cg, NUMA_NO_NODE, nr)) {
		*why = CRAM_STAT_REFUSE_MAX;
		return NULL;
	}
	return best;
}

/* Send the event to the cgroup whose limit is reached, if it still is; else to @cg */
static void cram_refuse_max(struct cram_cgroup *cg, unsigned long asked)
{
	struct cram_cgroup *full = cram_cgroup_limiting(cg, NUMA_NO_NODE, asked);
	int nid;

	for_each_node_mask(nid, cram_nodes)
		full = full ?: cram_cgroup_limiting(cg, nid, asked);
	cram_cgroup_event(full ?: cg, CRAM_EVENT_MAX);
}

/* Count @nr refused pages; @asked were requested together */
static void cram_refuse(struct cram_cgroup *cg, int src_nid, unsigned long nr,
			unsigned long asked, enum cram_stat why)
{
	trace_cram_refuse(src_nid, nr, why);
	cram_count(cg, why, nr);
	if (why == CRAM_STAT_REFUSE_MAX)
		cram_refuse_max(cg, asked);
}

/* Compressed bytes that a page may take; with 0, none fits. RCU. */
static u64 cram_page_max(struct cram_cgroup *cg, struct cram_node *cn)
{
	return min(cram_cgroup_page_max(cg), READ_ONCE(cn->page_max));
}

bool __cram_may_demote(struct mem_cgroup *memcg, int nid)
{
	struct cram_cgroup *cg;
	struct cram_node *cn;
	enum cram_stat why;

	/* Reclaim on a private node demotes nothing */
	if (node_is_private(nid))
		return false;

	guard(rcu)();
	cg = cram_cgroup_of(memcg);
	cn = cram_choose_node(cg, nid, 1, &why);
	if (cn)
		return cram_page_max(cg, cn) && !cram_cgroup_unfit(cg);
	/* Reclaim will not offer a page that could be refused: send the event here */
	if (why == CRAM_STAT_REFUSE_MAX)
		cram_refuse_max(cg, 1);
	return false;
}

/* ---------------------------------------------------- what reclaim offers -- */

static bool cram_suitable(struct folio *folio)
{
	if (!folio_test_anon(folio) || !folio_test_swapbacked(folio) ||
	    folio_test_ksm(folio) || folio_test_mlocked(folio) ||
	    folio_test_writeback(folio) || folio_maybe_dma_pinned(folio) ||
	    folio_is_private_node(folio) || folio_is_zone_device(folio))
		return false;

	return folio_memcg_charged(folio);
}

/*
 * One pass of reclaim compresses so many pages without success, because they, or
 * another page of their folio, do not fit: as many as are in a huge page.
 */
#define CRAM_IN_VAIN	512

/* Does each page compress as well as the cgroup and the node demand? */
static bool cram_content_fits(struct cram_offer *offer, struct folio *folio, u64 max)
{
	long i;

	if (max == U64_MAX)
		return true;
	for (i = 0; i < folio_nr_pages(folio); i++) {
		if (cram_compressed_size(folio_page(folio, i)) > max) {
			offer->in_vain += i + 1;
			return false;
		}
		cond_resched();
	}
	return true;
}

static void cram_report_content(struct cram_offer *offer, struct folio *folio, bool fits)
{
	struct cram_cgroup *cg;

	guard(rcu)();
	cg = cram_cgroup_of(folio_memcg(folio));
	cram_cgroup_content(cg, fits);
	if (!fits)
		cram_refuse(cg, offer->src_nid, 1, 1, CRAM_STAT_REFUSE_CONTENT);
}

bool __cram_offer_folio(struct cram_offer *offer, struct folio *folio,
			struct list_head *split_folios, unsigned long *nr_scanned)
{
	long nr = folio_nr_pages(folio);
	struct cram_cgroup *cg;
	u64 page_max = U64_MAX;
	struct cram_node *cn;
	enum cram_stat why;
	bool fits;

	if (offer->closed || !cram_suitable(folio))
		return false;

	rcu_read_lock();
	cg = cram_cgroup_of(folio_memcg(folio));
	/* For all: a large folio for which there is none when its turn comes is split */
	cn = cram_choose_node(cg, offer->src_nid, offer->nr + nr, &why);
	if (cn)
		page_max = cram_page_max(cg, cn);
	if (cn && (!page_max || offer->in_vain >= CRAM_IN_VAIN) && page_max != U64_MAX) {
		cn = NULL;
		why = CRAM_STAT_REFUSE_CONTENT;
	}
	if (!cn)
		cram_refuse(cg, offer->src_nid, nr, offer->nr + nr, why);
	rcu_read_unlock();
	if (!cn)
		return false;

	/* Or its copy in swap would stay for as long as the page is resident */
	if (folio_test_swapcache(folio) && !folio_free_swap(folio))
		return false;

	fits = cram_content_fits(offer, folio, page_max);
	/* Only the first page is left here then, the others are offered by themselves */
	if (!fits && nr > 1 && !cram_should_fail() &&
	    !split_folio_to_list(folio, split_folios))
		fits = cram_content_fits(offer, folio, page_max);
	if (page_max != U64_MAX)
		cram_report_content(offer, folio, fits);
	if (!fits)
		return false;

	*nr_scanned -= nr - folio_nr_pages(folio);
	offer->nr += folio_nr_pages(folio);
	list_add(&folio->lru, &offer->folios);
	folio_unlock(folio);
	return true;
}

/* -------------------------------------------------------------- migration -- */

/*
 * migrate_pages() asks for the folio to copy to. All of admission happens here,
 * before the copy: the charge, the count of pages begun, the folio. A large one
 * for which there is no room is split by migrate_pages(), and comes again page
 * by page; what is refused then counts.
 */
static struct folio *cram_alloc_target(struct folio *src, unsigned long private)
{
	struct cram_offer *offer = (struct cram_offer *)private;
	long nr = folio_nr_pages(src);
	struct cram_cgroup *cg;
	struct cram_owner *owner;
	struct folio *dst = NULL;
	struct cram_node *cn;
	enum cram_stat why;

	rcu_read_lock();
	cg = cram_cgroup_of(folio_memcg(src));
	cn = cram_choose_node(cg, offer->src_nid, nr, &why);
	if (!cn)
		goto refuse;

	owner = cram_cgroup_owner(cg);
	why = CRAM_STAT_REFUSE_RIGHT;
	if (WARN_ON_ONCE(!cram_owner_tryget(owner, nr)))
		goto refuse;
	/* The parent's, if the cgroup is being removed: the uncharge will go there, too */
	cg = cram_owner_books(owner);

	why = CRAM_STAT_REFUSE_MAX;
	if (cram_should_fail() || !cram_cgroup_try_charge(cg, cn->nid, nr))
		goto put;

	why = CRAM_STAT_REFUSE_ROOM;
	if (cram_should_fail() || !cram_admit(cn, nr))
		goto uncharge;

	why = CRAM_STAT_REFUSE_PAGE;
	dst = folio_alloc_private(cn->nid, folio_order(src), GFP_NOWAIT | __GFP_NOWARN);
	if (!dst)
		goto unadmit;
	cram_slots_reserve(cn, folio_pfn(dst), nr, owner);
	cram_sample(cn, folio_pfn(dst), src, cg);
	if (cn->desc.ops->storing)
		cn->desc.ops->storing(cn, folio_pfn(dst), nr);
	rcu_read_unlock();
	return dst;

unadmit:
	cram_unadmit(cn, nr);
uncharge:
	if (!cram_hook_disabled(CRAM_HOOK_UNWIND))
		cram_cgroup_uncharge(cg, cn->nid, nr);
put:
	cram_owner_put(owner, nr);
refuse:
	if (nr == 1)
		cram_refuse(cg, offer->src_nid, nr, nr, why);
	rcu_read_unlock();
	return NULL;
}

/* The migration failed: free the target and give its charge back */
static void cram_free_target(struct folio *dst, unsigned long private)
{
	struct cram_node *cn = cram_node_get(folio_nid(dst));
	long nr = folio_nr_pages(dst);

	cram_write_back(cn, folio_pfn(dst), nr);
	cram_slots_freed(cn, folio_pfn(dst), nr);
	folio_put(dst);
	cram_done(cn, nr);
}

bool __cram_demote(struct cram_offer *offer, struct list_head *leftover,
		   unsigned int *nr_reclaimed)
{
	unsigned int nr_succeeded = 0;

	offer->closed = true;
	migrate_pages(&offer->folios, cram_alloc_target, cram_free_target,
		      (unsigned long)offer, MIGRATE_ASYNC, MR_DEMOTION,
		      &nr_succeeded);
	*nr_reclaimed += nr_succeeded;

	if (list_empty(&offer->folios))
		return false;
	list_splice_init(&offer->folios, leftover);
	return true;
}
