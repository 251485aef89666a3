// SPDX-License-Identifier: GPL-2.0
/*
 * Every road to a writable page table entry.
 *
 * A resident page is mapped read-only, unless it is upgraded (upgrade.c). All
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
 *
 * Three questions: may an entry map this page writable, may a fault reuse this page,
 * and does it have to come again? The last is also where large folios are split
 * (split.c).
 */
#include <linux/mm.h>

#include "internal.h"

bool __cram_page_writable(const struct page *page, enum cram_hook hook)
{
	struct cram_node *cn = cram_node_get(page_to_nid(page));
	u32 slot = READ_ONCE(*cram_slot(cn, page_to_pfn(page)));

	return (slot & (CRAM_WRITABLE | CRAM_REVOKING)) == CRAM_WRITABLE ||
	       cram_hook_disabled(hook);
}

bool __cram_wp_reuse(struct page *page, bool unshare)
{
	struct cram_node *cn = cram_node_get(page_to_nid(page));
	unsigned long pfn = page_to_pfn(page);
	u32 *slot = cram_slot(cn, pfn);
	bool reuse;

	if (__cram_page_writable(page, CRAM_HOOK_WP))
		return true;
	if (READ_ONCE(*slot) & CRAM_REVOKING && cram_hook_disabled(CRAM_HOOK_REVOKING))
		return true;
	if (unshare || folio_test_large(page_folio(page)))
		return false;

	rcu_read_lock();
	reuse = cram_upgrade(cn, pfn, slot);
	rcu_read_unlock();
	return reuse;
}

bool __cram_wp_again(struct vm_fault *vmf)
{
	struct folio *folio = page_folio(vmf->page);
	struct cram_node *cn = cram_node_get(folio_nid(folio));

	/*
	 * Its entry is read-only for good, but another CPU may not know yet, and
	 * would store to what is copied here.
	 */
	if (READ_ONCE(*cram_slot(cn, page_to_pfn(vmf->page))) & CRAM_REVOKING &&
	    !cram_hook_disabled(CRAM_HOOK_REVOKING))
		flush_tlb_page(vmf->vma, vmf->address);
	return folio_test_large(folio) && !cram_hook_disabled(CRAM_HOOK_SPLIT) &&
	       cram_split_first(vmf, folio);
}
