// SPDX-License-Identifier: GPL-2.0
/*
 * Write faults, and every other road to a writable page table entry.
 *
 * A resident page is mapped read-only, wherever it is mapped. All code that
 * would make an entry writable asks cram_page_writable() first, under the page
 * table lock, and leaves the entry read-only when the answer is no; the next
 * write faults into do_wp_page(), which copies the page to ordinary memory.
 *
 * do_wp_page() otherwise has to reuse an exclusive page, because a pin of it
 * relies on that. A resident page can be exclusive, but never pinned: it was
 * not pinned when it was migrated here, no pin for writing gets past the
 * read-only entry, and gup_must_unshare() turns away pins for reading, which
 * then take the unshare fault, that is, the same copy.
 */
#include "internal.h"

/* A page on a cram node is resident, and no resident page is writable */
bool __cram_page_writable(const struct page *page, enum cram_hook hook)
{
	return cram_hook_disabled(hook);
}
