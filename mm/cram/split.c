// SPDX-License-Identifier: GPL-2.0
/*
 * Large folios on a node are split when a part of them is written to or unmapped.
 *
 * Of a large folio only the page that is written to is upgraded or copied. So it
 * is split first, then and not later: a page that was copied out of it would
 * keep its cells until all the others have gone, too. The pieces are as large as
 * they can be, each half of what is left. When it cannot be split, because
 * somebody holds it, the page is copied all the same. What is left then, and of
 * folios that were unmapped in part, waits on the list from which reclaim takes
 * what it splits when memory is short. There is no reclaim on a private node, so
 * a work item does that soon.
 */
#include <linux/mm.h>
#include <linux/huge_mm.h>
#include <linux/sched/rt.h>
#include <linux/workqueue.h>

#include "../internal.h"
#include "internal.h"

/* A task that unmaps a part of a folio may go on with the rest, and has references */
#define CRAM_SPLIT_DELAY	(HZ / 10)

/* Folios that could not be split, because somebody holds them, are tried after this */
#define CRAM_SPLIT_RETRY	HZ

/*
 * The fault comes again until whoever is at work on the page has finished.
 * Waiting for the page lock would need a reference, which would be in the way
 * of that work. But it may be this CPU that has to do it.
 */
static bool cram_let_others_finish(void)
{
	if (rt_or_dl_task(current))
		schedule_timeout_uninterruptible(1);
	else
		cond_resched();
	return true;
}

/*
 * Split a resident large folio, locked and referenced, into pieces that are as
 * small as can be around this page only.
 */
static int cram_split(struct folio *folio, struct page *page)
{
	unsigned int order = folio_order(folio);
	int err;

	if (cram_should_fail())
		return -EBUSY;
	/*
	 * In the swap cache there are only pages beside it; and nothing would
	 * tell which of the pieces are mapped in part.
	 */
	if (folio_test_swapcache(folio) || folio_test_partially_mapped(folio))
		err = split_folio(folio);
	else
		err = folio_split(folio, 0, page, NULL);
	if (!err)
		count_mthp_stat(order, MTHP_STAT_CRAM_SPLIT);
	return err;
}

/**
 * cram_split_first - split the folio of a write fault before the fault is handled
 * @vmf: the fault, its entry read-only
 * @folio: resident and large
 *
 * Context: page table lock held, may sleep.
 * Return: true with the lock dropped and the page table unmapped: the fault has to
 * come again. False with the lock held, everything as it was, when the folio cannot
 * be split now.
 */
bool cram_split_first(struct vm_fault *vmf, struct folio *folio)
{
	int err = 0;

	/*
	 * No reference before the lock is ours: it would be in the way of who has
	 * the lock and is about to split. While the entry is there, so is the folio.
	 */
	if (!folio_trylock(folio)) {
		/* Eviction waits for that with the lock, we need not */
		if (folio_test_writeback(folio))
			return false;
		pte_unmap_unlock(vmf->pte, vmf->ptl);
		return cram_let_others_finish();
	}
	folio_get(folio);
	pte_unmap_unlock(vmf->pte, vmf->ptl);
	if (folio == page_folio(vmf->page) && folio_test_large(folio))
		err = cram_split(folio, vmf->page);
	folio_unlock(folio);
	folio_put(folio);
	if (!err)
		return true;

	vmf->pte = pte_offset_map_lock(vmf->vma->vm_mm, vmf->pmd, vmf->address,
				       &vmf->ptl);
	if (!vmf->pte)
		return true;
	/*
	 * As it was, and not split, upgraded and being revoked meanwhile, after
	 * which the entry can look the same.
	 */
	if (pte_same(ptep_get(vmf->pte), vmf->orig_pte) &&
	    folio_test_large(page_folio(vmf->page)))
		return false;
	pte_unmap_unlock(vmf->pte, vmf->ptl);
	return true;
}

static void cram_split_work_fn(struct work_struct *work);
static DECLARE_DELAYED_WORK(cram_split_work, cram_split_work_fn);

static void cram_split_work_fn(struct work_struct *work)
{
	unsigned long left = 0;
	int nid;

	for_each_node_mask(nid, cram_nodes)
		left += deferred_split_node(nid);
	if (left)
		queue_delayed_work(system_dfl_wq, &cram_split_work, CRAM_SPLIT_RETRY);
}

void __cram_partially_mapped(struct folio *folio)
{
	queue_delayed_work(system_dfl_wq, &cram_split_work, CRAM_SPLIT_DELAY);
}
