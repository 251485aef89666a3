// SPDX-License-Identifier: GPL-2.0
/*
 * Every road to a writable page table entry but the write fault.
 *
 * A resident page is mapped read-only, unless it is upgraded (budget.c). All
 * code that would make an entry writable asks cram_page_writable() first, under
 * the page table lock, and leaves the entry read-only when the answer is no;
 * the next write faults into do_wp_page(), which upgrades the page or copies it
 * to ordinary memory.
 *
 * do_wp_page() otherwise has to reuse an exclusive page, because a pin of it
 * relies on that. A page that is not upgraded can be exclusive, but never
 * pinned: it was not pinned when it was migrated here or revoked, no pin for
 * writing gets past the read-only entry, and gup_must_unshare() turns away pins
 * for reading, which then take the unshare fault, that is, the same copy.
 */
#include "internal.h"

bool __cram_page_writable(const struct page *page, enum cram_hook hook)
{
	struct cram_node *cn = cram_node_get(page_to_nid(page));
	u32 slot = READ_ONCE(*cram_slot(cn, page_to_pfn(page)));

	return (slot & (CRAM_WRITABLE | CRAM_REVOKING)) == CRAM_WRITABLE ||
	       cram_hook_disabled(hook);
}
