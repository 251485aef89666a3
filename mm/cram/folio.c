// SPDX-License-Identifier: GPL-2.0
/*
 * Tools of all that moves pages off a node: get hold of a page, test whether it was
 * read, charge its copy.
 */
#include <linux/memcontrol.h>
#include <linux/mm.h>
#include <linux/page_idle.h>
#include <linux/rmap.h>
#include <linux/sched/mm.h>

#include "../internal.h"
#include "internal.h"

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
	 * Look at the slot before the page: the memory may be gone by now, while slots
	 * are never taken away.
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
	err = cram_should_fail() ? -ENOMEM : mem_cgroup_charge(dst, NULL, gfp);
	set_active_memcg(old_memcg);
	mem_cgroup_put(memcg);

	if (err) {
		folio_put(dst);
		return NULL;
	}
	return dst;
}
