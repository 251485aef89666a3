// SPDX-License-Identifier: GPL-2.0
/*
 * Resident pages that the device cannot give back: one by one, and all at once.
 *
 * All that moves a page off a node asks here first, before it isolates the page. Writing
 * to swap does not expect poison. Migration does, but it finds out when the page is on
 * no LRU list and has one more reference than it should: memory_failure() gives up then,
 * and for good, because the page is marked by that time. A large folio would stay as it
 * is for ever.
 *
 * When the content of a device is lost, cram_kill_residents() treats each resident page
 * as a broken one.
 */
#include <linux/mm.h>
#include <linux/huge_mm.h>
#include <linux/memory_hotplug.h>
#include <linux/pagemap.h>
#include <linux/rmap.h>

#include "../internal.h"
#include "internal.h"

/* With the reference of the caller, and no other */
static bool cram_split_off(struct folio *folio)
{
	bool split;

	if (!folio_trylock(folio))
		return false;
	split = !folio_test_large(folio) || !split_folio(folio);
	folio_unlock(folio);
	return split;
}

/**
 * cram_readable - can all of the folio be read?
 * @folio: referenced, not locked; its slot may not be ours any more, but reading
 *	does no harm
 *
 * If not, the folio is split, so that the others can go on, and the first page that
 * is broken is retired: memory_failure() takes it off its LRU list and out of
 * service, unmaps it, and uncharges it, which is the ``poison`` event of the owner.
 * While somebody else holds a large folio nothing is done: it can be tried again.
 *
 * Context: process, may sleep.
 * Return: false when not.
 */
bool cram_readable(struct folio *folio)
{
	long i, nr = folio_nr_pages(folio);
	struct page *page;

	for (i = 0; i < nr; i++) {
		page = folio_page(folio, i);
		/*
		 * To read it is another machine check. It is on its way out of service,
		 * or will be when it is freed.
		 */
		if (PageHWPoison(page)) {
			cram_split_off(folio);
			return false;
		}
		if (!cram_can_read(page)) {
			if (cram_split_off(folio))
				memory_failure_queue(page_to_pfn(page), 0);
			return false;
		}
		cond_resched();
	}
	return true;
}

/*
 * memory_failure() has marked all its pages, but leaves a large folio mapped that it
 * cannot split, because somebody holds a reference. Whoever reads it now would get
 * what is not there. As memory_failure() does for a small one, wait for an eviction that
 * has it locked, or is writing it to swap: the device may have to be there until then.
 */
static void cram_unmap_lost(struct folio *folio)
{
	folio_lock(folio);
	folio_wait_writeback(folio);
	if (folio_mapped(folio) && folio_test_hwpoison(folio))
		try_to_unmap(folio, TTU_IGNORE_MLOCK | TTU_SYNC | TTU_HWPOISON |
				    TTU_SPLIT_HUGE_PMD);
	folio_unlock(folio);
}

/* Unmap pages whose content is lost. Returns how many can still be read. */
static unsigned long cram_unmap_residents(struct cram_node *cn)
{
	unsigned long i, nr = 0;

	for (i = 0; i < cn->nr_slots; i++) {
		u32 slot = READ_ONCE(cn->slots[i]);
		struct folio *folio;

		cond_resched();
		if (cram_slot_state(slot) != CRAM_RESIDENT)
			continue;
		folio = cram_get_folio(cn, cn->start_pfn + i, slot);
		/* About to change its state, or being freed: look again */
		if (!folio) {
			nr++;
			continue;
		}
		cram_unmap_lost(folio);
		nr += folio_mapped(folio);
		folio_put(folio);
	}
	return nr;
}

/**
 * cram_kill_residents - what was stored on the node is gone
 * @cn: the node
 *
 * Retires every resident page as memory_failure() retires a broken one: it is
 * unmapped, a process that touches it is killed, and its charge is given back, at the
 * latest when the last reference to it is. The pages are out of service until the
 * node is removed.
 *
 * Context: process, may sleep.
 * Return: pages that could not be unmapped yet, because somebody else is at work
 * with them.
 */
unsigned long cram_kill_residents(struct cram_node *cn)
{
	unsigned long i, nr = 0;

	for (i = 0; i < cn->nr_slots; i++) {
		bool resident = cram_slot_state(READ_ONCE(cn->slots[i])) == CRAM_RESIDENT;

		if (resident) {
			memory_failure(cn->start_pfn + i, 0);
			/* Referenced pages count, too, though memory_failure() has "failed" */
			nr += cram_slot_state(READ_ONCE(cn->slots[i])) != CRAM_RESIDENT;
		}
		if (resident || !(i % CRAM_SLOT_SLICE))
			cond_resched();
	}
	if (nr)
		pr_err("cram: node %d (%s) has lost its content: %lu pages retired\n",
		       cn->nid, cn->desc.name, nr);
	return atomic_long_read(&cn->resident) ? cram_unmap_residents(cn) : 0;
}
