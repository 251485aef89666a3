// SPDX-License-Identifier: GPL-2.0
/*
 * Resident pages that the device cannot give back.
 *
 * Whoever moves a page off a node asks here first, before the page is isolated.
 * What writes it to swap does not expect poison in it. What migrates it does, but
 * finds out when the page is on no LRU list and has one more reference than it
 * should: memory_failure() gives up then, and for good, because the page is marked
 * by that time. A large folio would stay as it is for ever.
 */
#include <linux/mm.h>
#include <linux/huge_mm.h>
#include <linux/pagemap.h>

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
