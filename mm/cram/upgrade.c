// SPDX-License-Identifier: GPL-2.0
/*
 * One upgraded page, from the fault that makes it writable to its revocation.
 *
 * A store to a resident page can make it take up to cells_per_page, and no
 * fault tells when. So a page becomes writable only inside of budgets: of its
 * owner and all cgroups above, and of the node, whose proven room has to cover
 * it like the copy of one more page. Such a page is *upgraded*. While it is,
 * its slot has CRAM_WRITABLE set, it is charged to all these budgets, and it is
 * in its owner's index; all three begin under the page table lock before an
 * entry is writable (cram_wp_reuse()), and end together: when the page leaves
 * the node, or when it is revoked.
 *
 * Revocation takes the right back while the page stays. No store may reach the
 * page after it was uncharged, so the order is everything:
 *
 *	CRAM_REVOKING	under the page table lock, with the next three: no entry
 *			becomes writable, no pin is taken
 *	clear		the entry
 *	smp_mb()	GUP-fast takes its reference and looks at the entry
 *			again: either it sees that the entry is gone, or we see
 *			the reference
 *	references	somebody may store without an entry: give up, the page is
 *			writable again and stays charged
 *	read-only	map it again
 *	flush		no CPU has a writable entry cached any more
 *	write back	what CPUs have cached reaches the device now
 *	uncharge
 *
 * Up to CRAM_REVOKE_BATCH pages go through this together, for the sake of one
 * flush. Their folios are locked until it is over, so that nobody writes them to
 * swap, or moves them, before the flush. Who changes entries without that lock
 * asks whether a flush is pending, as for those that reclaim defers.
 *
 * A fault does not wait for the batch. When it finds CRAM_REVOKING, the entry was
 * made read-only under the page table lock that it has now, and there was no
 * reference: so the page can be copied. Another CPU may have the old entry cached
 * and would store to what was copied already; so the fault flushes the entry first
 * (cram_wp_again()).
 *
 * An exclusive page that is pinned must not be copied on a write, or the pin
 * would see another page than the process. A page that was never upgraded has
 * no pins, and an upgraded one is reused until it is found without references: so
 * whenever do_wp_page() decides to copy, no reference is in the way. And while it
 * copies, it holds a reference itself: so what another thread stores to the page
 * then, after an upgrade, cannot be taken back before the copy is found to be out
 * of date by its entry having changed.
 *
 * How many there may be, and which have to go, is decided in budget.c.
 */
#include <linux/jiffies.h>
#include <linux/mm.h>
#include <linux/mmu_notifier.h>
#include <linux/rmap.h>
#include <linux/workqueue.h>
#include <linux/xarray.h>

#include <trace/events/cram.h>

#include "../internal.h"
#include "internal.h"

/* Upgraded pages of all nodes */
atomic_long_t cram_nr_upgraded;

/* ---------------------------------------------------------------- upgrade -- */

/*
 * The node's own budget. A number that its administrator set above all that its
 * cells can hold is taken at its word.
 */
static bool cram_node_charge_writable(struct cram_node *cn)
{
	long writable = atomic_long_read(&cn->budget.writable);

	if (!cram_node_open(cn))
		return false;
	/* Never above the number, not even for a moment: pages would be revoked for it */
	do {
		if ((unsigned long)writable >= READ_ONCE(cn->budget.max))
			return false;
	} while (!atomic_long_try_cmpxchg(&cn->budget.writable, &writable, writable + 1));

	if (READ_ONCE(cn->budget.override)) {
		atomic64_inc(&cn->room.begun);
	} else if (!cram_admit_upgrade(cn)) {
		atomic_long_dec(&cn->budget.writable);
		return false;
	}
	return true;
}

/* The owner's first upgraded page: look at the owner a period from now */
static void cram_recycle_begin(struct cram_owner *owner)
{
	WRITE_ONCE(owner->recycle_from, 0);
	WRITE_ONCE(owner->recycle_due, jiffies + CRAM_RECYCLE_PERIOD);
}

/**
 * cram_upgrade - make a resident page writable where it is, if all budgets permit
 * @cn: the node
 * @pfn: the page
 * @slot: its slot, which says so only when everything else does
 *
 * Context: the page table lock of its only entry is held; RCU.
 * Return: true if the page is upgraded now.
 */
bool cram_upgrade(struct cram_node *cn, unsigned long pfn, u32 *slot)
{
	u32 old = READ_ONCE(*slot);
	struct cram_owner *owner;
	struct cram_cgroup *cg;
	unsigned long flags;
	int err;

	/* Being revoked it is charged and indexed still, and not again */
	if (cram_slot_state(old) != CRAM_RESIDENT || old & CRAM_WRITABLE)
		return false;
	owner = cram_owner_lookup(cram_slot_owner(old));
	if (!owner)
		return false;
	cg = cram_owner_books(owner);
	if (cram_should_fail() || !cram_cgroup_charge_writable(cg, 1))
		return false;
	if (cram_should_fail() || !cram_node_charge_writable(cn))
		goto uncharge;

	xa_lock_irqsave(&owner->upgraded, flags);
	err = xa_err(__xa_store(&owner->upgraded, pfn, xa_mk_value(0),
				GFP_NOWAIT | __GFP_NOWARN));
	if (!err && !owner->nr_upgraded++)
		cram_recycle_begin(owner);
	xa_unlock_irqrestore(&owner->upgraded, flags);
	if (err)
		goto uncharge_node;

	if (cn->desc.ops->storing)
		cn->desc.ops->storing(cn, pfn, 1);
	if (atomic_long_inc_return(&cram_nr_upgraded) == 1)
		cram_budget_start();
	cram_slot_upgrade(slot, old);
	cram_count(cg, CRAM_STAT_UPGRADE, 1);
	trace_cram_page(cn->nid, pfn, 1, owner->id, CRAM_STAT_UPGRADE);
	return true;

uncharge_node:
	atomic_long_dec(&cn->budget.writable);
	cram_unadmit(cn, 1);
uncharge:
	cram_cgroup_uncharge_writable(cg, 1);
	return false;
}

/**
 * cram_end_upgrade - no store reaches the page any more
 * @cn: the node
 * @pfn: the page, its lines written back
 * @id: of its owner
 *
 * The index goes last: whoever lowers a budget ends when it finds nothing there,
 * and by then all books have to agree. The slot changes after that, so that the
 * page cannot be upgraded again in between.
 *
 * Context: any.
 */
void cram_end_upgrade(struct cram_node *cn, unsigned long pfn, u32 id)
{
	struct cram_owner *owner;
	unsigned long flags;

	guard(rcu)();
	owner = cram_owner_lookup(id);
	atomic_long_dec(&cram_nr_upgraded);
	atomic_long_dec(&cn->budget.writable);
	cram_done(cn, 1);
	if (WARN_ON_ONCE(!owner))
		return;
	cram_cgroup_uncharge_writable(cram_owner_books(owner), 1);
	xa_lock_irqsave(&owner->upgraded, flags);
	if (__xa_erase(&owner->upgraded, pfn))
		owner->nr_upgraded--;
	xa_unlock_irqrestore(&owner->upgraded, flags);
}

/* ---------------------------------------------------- entries of one page -- */

enum cram_revoke_step {
	CRAM_ASK,	/* whether it was written */
	CRAM_TAKE,	/* make entries read-only */
	CRAM_CHECK,	/* that they are; for CONFIG_CRAM_VERIFY */
};

/**
 * struct cram_revocation - of one folio
 * @step: what is done with its entries
 * @slot: of the page
 * @entries: so many were met
 * @held: somebody has a reference who may store to it
 * @written: since the last time somebody asked
 */
struct cram_revocation {
	enum cram_revoke_step step;
	u32 *slot;
	int entries;
	bool held;
	bool written;
};

/* Are there references beside those of entries, the swap cache, and ours? */
static bool cram_folio_held(struct folio *folio)
{
	/* Pairs with that of who takes a reference: entry first, count then */
	smp_mb();
	return folio_ref_count(folio) != folio_expected_ref_count(folio) + 1 &&
	       !cram_hook_disabled(CRAM_HOOK_HELD);
}

/*
 * The folio knows of the store from here on. Not so of a lazily freed one, whose
 * entry is all that tells: that keeps its dirty bit.
 */
static pte_t cram_ask_entry(struct folio *folio, pte_t entry,
			    struct cram_revocation *rev)
{
	rev->written = true;
	folio_mark_dirty(folio);
	return pte_mkclean(entry);
}

static pte_t cram_take_entry(struct folio *folio, pte_t entry,
			     struct cram_revocation *rev)
{
	if (!cram_folio_held(folio))
		return pte_wrprotect(entry);
	rev->held = true;
	cram_slot_keep(rev->slot, *rev->slot);
	return entry;
}

static void cram_revoke_entry(struct folio *folio, struct vm_area_struct *vma,
			      unsigned long address, pte_t *ptep,
			      struct cram_revocation *rev)
{
	pte_t entry = ptep_get(ptep);

	rev->entries++;
	/* Not present: a device has it alone. It was notified, and will fault again. */
	if (!pte_present(entry))
		return;
	if (rev->step == CRAM_CHECK) {
		VM_WARN_ON_ONCE_FOLIO(pte_write(entry), folio);
		return;
	}
	if (rev->step == CRAM_ASK &&
	    !(pte_write(entry) && pte_dirty(entry) && folio_test_swapbacked(folio)))
		return;

	if (rev->step == CRAM_TAKE) {
		cram_slot_revoke(rev->slot, *rev->slot);
		/* Before the entry changes: GUP-fast looks at that first */
		smp_wmb();
	}
	/*
	 * Also when it is read-only: whoever made it so may not have flushed yet,
	 * as fork() does at its end.
	 */
	flush_cache_page(vma, address, pte_pfn(entry));
	entry = ptep_clear_flush_later(vma, address, ptep);
	if (rev->step == CRAM_ASK)
		entry = cram_ask_entry(folio, entry, rev);
	else
		entry = cram_take_entry(folio, entry, rev);
	set_pte_at(vma->vm_mm, address, ptep, entry);
}

static bool cram_revoke_one(struct folio *folio, struct vm_area_struct *vma,
			    unsigned long address, void *arg)
{
	DEFINE_FOLIO_VMA_WALK(pvmw, folio, vma, address, 0);
	struct cram_revocation *rev = arg;
	struct mmu_notifier_range range;

	if (rev->step == CRAM_TAKE) {
		mmu_notifier_range_init(&range, MMU_NOTIFY_PROTECTION_PAGE, 0,
					vma->vm_mm, address, address + PAGE_SIZE);
		mmu_notifier_invalidate_range_start(&range);
	}
	while (page_vma_mapped_walk(&pvmw))
		cram_revoke_entry(folio, vma, pvmw.address, pvmw.pte, rev);
	if (rev->step == CRAM_TAKE)
		mmu_notifier_invalidate_range_end(&range);
	return !rev->held;
}

/*
 * With the anon_vma locked: a page that is not mapped any more, but referenced,
 * may not have one. Then there are no entries.
 */
static void cram_walk_entries(struct folio *folio, struct cram_revocation *rev)
{
	struct rmap_walk_control rwc = { .rmap_one = cram_revoke_one, .arg = rev };
	struct anon_vma *anon_vma = folio_lock_anon_vma_read(folio, NULL);

	if (!anon_vma)
		return;
	rmap_walk_locked(folio, &rwc);
	anon_vma_unlock_read(anon_vma);
}

/* ----------------------------------------------- pages that share a flush -- */

/*
 * The node of an upgraded page, or NULL when it is not any more. What is in the
 * index keeps the node and its struct pages, for as long as RCU is held: a node
 * waits for a grace period after its last page has left.
 */
static struct cram_node *cram_node_of(struct cram_owner *owner, unsigned long pfn)
{
	return xa_load(&owner->upgraded, pfn) ? cram_node_get(pfn_to_nid(pfn)) : NULL;
}

/**
 * cram_revoke_add - have a page looked at with others
 * @batch: where there is space for one more
 * @pfn: the page
 * @age: what the index of its owner says of it
 *
 * Context: process, may sleep; cram_revoke_end() follows.
 * Return: false when the page has left, or somebody has its lock and may be about to
 * have it leave.
 */
bool cram_revoke_add(struct cram_revoke_batch *batch, unsigned long pfn, unsigned int age)
{
	struct folio *folio = NULL;
	struct cram_node *cn;
	u32 slot;

	guard(rcu)();
	cn = cram_node_of(batch->owner, pfn);
	if (!cn)
		return false;
	slot = READ_ONCE(*cram_slot(cn, pfn));
	if (slot & CRAM_WRITABLE)
		folio = cram_get_folio(cn, pfn, slot);
	if (!folio)
		return false;
	if (!folio_trylock(folio))
		goto put;
	/* The holder of the lock may have ended the upgrade meanwhile */
	slot = READ_ONCE(*cram_slot(cn, pfn));
	if (!(slot & CRAM_WRITABLE))
		goto unlock;

	batch->page[batch->nr].folio = folio;
	batch->page[batch->nr].cn = cn;
	batch->page[batch->nr].slot = slot;
	batch->page[batch->nr].was = age;
	batch->page[batch->nr].age = age;
	batch->page[batch->nr].take = false;
	batch->nr++;
	return true;

unlock:
	folio_unlock(folio);
put:
	folio_put(folio);
	return false;
}

static void cram_set_age(struct cram_owner *owner, unsigned long pfn, unsigned int age)
{
	unsigned long flags;

	xa_lock_irqsave(&owner->upgraded, flags);
	/* Only if the page is still there; to replace an entry needs no memory */
	if (xa_load(&owner->upgraded, pfn))
		__xa_store(&owner->upgraded, pfn, xa_mk_value(age), 0);
	xa_unlock_irqrestore(&owner->upgraded, flags);
}

/**
 * cram_revoke_ask - which pages were not written to since the last look?
 * @batch: the pages; those that are to be recycled are marked to be taken
 *
 * Context: process, may sleep.
 */
void cram_revoke_ask(struct cram_revoke_batch *batch)
{
	struct cram_revocation rev;
	unsigned int i;

	for (i = 0; i < batch->nr; i++) {
		rev = (struct cram_revocation){ .step = CRAM_ASK };
		cram_walk_entries(batch->page[i].folio, &rev);
		batch->page[i].age = rev.written ? 0 : batch->page[i].age + 1;
		/* Shared since a fork(): the next to write gets a copy anyway */
		batch->page[i].take = batch->page[i].age >= CRAM_RECYCLE_AGE ||
				      rev.entries > 1;
	}
	/* A store through the old entry would leave no dirty bit */
	try_to_unmap_flush();
}

/* Revoke a page in CRAM_REVOKING, or give it up and leave it writable */
static bool cram_take(struct cram_node *cn, struct folio *folio, u32 slot)
{
	u32 *p = cram_slot(cn, folio_pfn(folio));
	struct cram_revocation rev = { .step = CRAM_TAKE, .slot = p };

	cram_walk_entries(folio, &rev);
	/* Without an entry there is no fault that could meet it */
	cram_slot_revoke(p, slot);
	/* An entry that the walk has missed would still be writable */
	if (!rev.held && rev.entries == folio_mapcount(folio) && !cram_folio_held(folio))
		return true;
	cram_slot_keep(p, slot);
	return false;
}

/* After the flush: nobody stores to it any more */
static void cram_taken(struct cram_node *cn, struct folio *folio, u32 slot)
{
	struct cram_revocation rev = { .step = CRAM_CHECK };
	unsigned long pfn = folio_pfn(folio);

	cram_write_back(cn, pfn, 1);
	if (IS_ENABLED(CONFIG_CRAM_VERIFY))
		cram_walk_entries(folio, &rev);
	cram_end_upgrade(cn, pfn, cram_slot_owner(slot));
	cram_slot_revoked(cram_slot(cn, pfn), slot);
}

/**
 * cram_revoke_end - revoke the pages that are to be taken, and release all
 * @batch: the pages; empty afterwards
 *
 * Context: process, may sleep.
 * Return: how many were revoked.
 */
unsigned int cram_revoke_end(struct cram_revoke_batch *batch)
{
	unsigned int i, nr = 0;

	for (i = 0; i < batch->nr; i++)
		if (batch->page[i].take)
			batch->page[i].take = cram_take(batch->page[i].cn,
							batch->page[i].folio,
							batch->page[i].slot);
	try_to_unmap_flush();

	for (i = 0; i < batch->nr; i++) {
		struct folio *folio = batch->page[i].folio;

		if (batch->page[i].take) {
			cram_taken(batch->page[i].cn, folio, batch->page[i].slot);
			nr++;
		} else if (batch->page[i].age != batch->page[i].was) {
			cram_set_age(batch->owner, folio_pfn(folio), batch->page[i].age);
		}
		folio_unlock(folio);
		folio_put(folio);
	}
	batch->nr = 0;
	return nr;
}
