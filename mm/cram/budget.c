// SPDX-License-Identifier: GPL-2.0
/*
 * Writable budgets: resident pages that may be stored to where they are.
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
 * One work item looks after all of it. Where a cgroup or a node is over its budget,
 * it revokes the excess: from every owner in proportion to what it has, and of each
 * the pages that were not written to for longest. And it recycles: it revokes pages
 * that nobody writes to any more, so that the budget follows the pages that are
 * written. The dirty bits of entries tell which these are.
 */
#include <linux/jiffies.h>
#include <linux/mmu_notifier.h>
#include <linux/rmap.h>
#include <linux/sched/signal.h>
#include <linux/swap.h>
#include <linux/workqueue.h>
#include <linux/xarray.h>

#include <trace/events/cram.h>

#include "../internal.h"
#include "internal.h"

/* How often the dirty bits are looked at */
#define CRAM_RECYCLE_PERIOD	HZ

/* Revoked after so many periods without a store */
#define CRAM_RECYCLE_AGE	2

/*
 * A look takes less than a microsecond a page, and each round looks at all pages. To
 * keep it from taking a CPU for itself, the worker works for so long, then rests three
 * times that. What it can look at in a quarter of a second, some GiB, is recycled in
 * three periods; more takes longer in proportion.
 */
#define CRAM_RECYCLE_SLICE	(HZ / 50)
#define CRAM_RECYCLE_REST	(3 * CRAM_RECYCLE_SLICE)

/* Pages of one owner, before the next owner has a turn */
#define CRAM_RECYCLE_TURN	256

/*
 * Pages that share a flush, as many as reclaim takes at a time: with more, it is
 * the rest of the work that counts, and their folios are locked meanwhile.
 */
#define CRAM_REVOKE_BATCH	SWAP_CLUSTER_MAX

/* Pages over budget that somebody holds: look again after this, then twice this ... */
#define CRAM_RETRY_PERIOD	(HZ / 20)

/* Upgraded pages of all nodes; the work item runs while there are any */
static atomic_long_t cram_nr_upgraded;

/* A number was lowered, and the writer does not wait for the revocation */
static bool cram_lowered;

static void cram_budget_work_fn(struct work_struct *work);
static DECLARE_DELAYED_WORK(cram_budget_work, cram_budget_work_fn);

static void cram_budget_work_now(void)
{
	if (atomic_long_read(&cram_nr_upgraded))
		mod_delayed_work(system_dfl_wq, &cram_budget_work, 0);
}

/**
 * cram_want_revocation - some cgroup is over its budget
 *
 * Context: any.
 */
void cram_want_revocation(void)
{
	WRITE_ONCE(cram_lowered, true);
	cram_budget_work_now();
}

/*
 * The node's own budget. A number that its administrator set above all that its
 * cells can hold is taken at its word.
 */
static bool cram_node_charge_writable(struct cram_node *cn)
{
	long writable = atomic_long_read(&cn->writable);

	if (!cram_node_open(cn))
		return false;
	/* Never above the number, not even for a moment: pages would be revoked for it */
	do {
		if ((unsigned long)writable >= READ_ONCE(cn->writable_budget))
			return false;
	} while (!atomic_long_try_cmpxchg(&cn->writable, &writable, writable + 1));

	if (READ_ONCE(cn->writable_override)) {
		atomic64_inc(&cn->begun);
	} else if (!cram_admit_upgrade(cn)) {
		atomic_long_dec(&cn->writable);
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
		queue_delayed_work(system_dfl_wq, &cram_budget_work,
				   CRAM_RECYCLE_PERIOD);
	cram_slot_upgrade(slot, old);
	cram_count(cg, CRAM_STAT_UPGRADE, 1);
	trace_cram_page(cn->nid, pfn, 1, owner->id, CRAM_STAT_UPGRADE);
	return true;

uncharge_node:
	atomic_long_dec(&cn->writable);
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
	atomic_long_dec(&cn->writable);
	cram_done(cn, 1);
	if (WARN_ON_ONCE(!owner))
		return;
	cram_cgroup_uncharge_writable(cram_owner_books(owner), 1);
	xa_lock_irqsave(&owner->upgraded, flags);
	if (__xa_erase(&owner->upgraded, pfn))
		owner->nr_upgraded--;
	xa_unlock_irqrestore(&owner->upgraded, flags);
}

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

/**
 * struct cram_batch - upgraded pages of one owner, their folios referenced and
 *	locked, so that nobody else revokes or moves them
 * @owner: theirs
 * @nr: how many
 * @page: and what is known of each
 * @page.folio: its folio
 * @page.cn: its node
 * @page.slot: what its slot said when it was locked
 * @page.was: its age as the index has it, in periods without a store
 * @page.age: its age now
 * @page.take: it is to be revoked, and so far nothing is in the way
 */
struct cram_batch {
	struct cram_owner *owner;
	unsigned int nr;
	struct {
		struct folio *folio;
		struct cram_node *cn;
		u32 slot;
		unsigned int was;
		unsigned int age;
		bool take;
	} page[CRAM_REVOKE_BATCH];
};

/*
 * The node of an upgraded page, or NULL when it is not any more. What is in the
 * index keeps the node and its struct pages, for as long as RCU is held: a node
 * waits for a grace period after its last page has left.
 */
static struct cram_node *cram_node_of(struct cram_owner *owner, unsigned long pfn)
{
	return xa_load(&owner->upgraded, pfn) ? cram_node_get(pfn_to_nid(pfn)) : NULL;
}

/* False when the page has left, or somebody has its lock and may be about to */
static bool cram_batch_add(struct cram_batch *batch, unsigned long pfn, unsigned int age)
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

/* Which pages were not written to since the last look? Choose those to recycle. */
static void cram_batch_ask(struct cram_batch *batch)
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

/* Revoke the pages to be taken, and release all. Returns how many were revoked. */
static unsigned int cram_batch_end(struct cram_batch *batch)
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

static void cram_tell_revoked(struct cram_owner *owner, enum cram_stat item,
			      unsigned long nr)
{
	struct cram_cgroup *cg;

	if (!nr)
		return;
	guard(rcu)();
	cg = cram_owner_books(owner);
	cram_count(cg, item, nr);
	if (item == CRAM_STAT_REVOKE)
		cram_cgroup_event(cg, CRAM_EVENT_REVOKE);
}

/* -------------------------------------------------- what is over a budget -- */

/*
 * Pages of proven room that are left, if what is revoked counts: that is room only
 * with the next reading. Negative when less is proven than is writable.
 */
static s64 cram_room(struct cram_node *cn)
{
	return (s64)(READ_ONCE(cn->limit) - atomic64_read(&cn->begun)) +
	       (s64)(atomic64_read(&cn->done) - READ_ONCE(cn->done0));
}

static bool cram_node_closed(struct cram_node *cn)
{
	enum cram_node_state state = READ_ONCE(cn->state);

	/* Whoever drains an offline node revokes there, and may be done in a moment */
	return state == CRAM_NODE_CRITICAL || state == CRAM_NODE_LOST || !cram_has_lease(cn);
}

/*
 * Is more writable there than the node has room for, or so much that demotions find
 * none? The latter counts only after a demotion was refused, and at half of the margin
 * that upgrades leave, so that a revoked page is not upgraded again at once.
 */
static bool cram_node_over(struct cram_node *cn)
{
	s64 room = cram_room(cn);

	if (cram_node_closed(cn) ||
	    atomic_long_read(&cn->writable) > READ_ONCE(cn->writable_budget))
		return true;
	return !READ_ONCE(cn->writable_override) &&
	       (room < 0 || (READ_ONCE(cn->short_of_room) && room < READ_ONCE(cn->margin) / 2));
}

/* How many pages to revoke, so that the node has a margin afterwards */
static unsigned long cram_node_excess(int nid)
{
	struct cram_node *cn;
	long writable, over;

	guard(rcu)();
	cn = cram_node_get(nid);
	if (!cn)
		return 0;
	writable = atomic_long_read(&cn->writable);
	if (cram_node_closed(cn))
		return max(writable, 0L);
	over = writable - min_t(unsigned long, READ_ONCE(cn->writable_budget), LONG_MAX);
	if (!READ_ONCE(cn->writable_override))
		over = max_t(s64, over, READ_ONCE(cn->margin) - cram_room(cn));
	return clamp(over, 0L, max(writable, 0L));
}

/**
 * cram_check_budget - has a node become smaller than what is writable there?
 * @cn: the node
 *
 * Context: any.
 */
void cram_check_budget(struct cram_node *cn)
{
	if (atomic_long_read(&cn->writable) && cram_node_over(cn))
		cram_budget_work_now();
}

/**
 * struct cram_demand - pages that have to be revoked
 * @top: because more of this cgroup's subtree is writable than its number
 *	permits, or no number permits any; or %NULL
 * @nid: because more is writable on this node than it can answer for
 * @wanted: so many, when it is about a node
 * @over: so many altogether, when that was last looked at
 * @of: out of these
 * @gone: revoked so far
 */
struct cram_demand {
	struct cram_cgroup *top;
	int nid;
	unsigned long wanted;
	unsigned long over;
	unsigned long of;
	unsigned long gone;
};

/* By how many pages is this owner, or any in its place, over the number? */
static unsigned long cram_over(struct cram_demand *demand, struct cram_owner *owner)
{
	if (!demand->top)
		return min(demand->wanted - min(demand->gone, demand->wanted),
			   cram_node_excess(demand->nid));
	guard(rcu)();
	return cram_cgroup_over_budget(cram_owner_books(owner), demand->top);
}

/* ... and what is the share of this owner, in proportion to what each has? */
static unsigned long cram_share(struct cram_demand *demand, struct cram_owner *owner)
{
	unsigned long over = cram_over(demand, owner), has = READ_ONCE(owner->nr_upgraded);

	if (over == ULONG_MAX || !demand->of)
		return over;
	return min(over, mul_u64_add_u64_div_u64(has, demand->over, demand->of - 1,
						 demand->of));
}

static void cram_demand_look(struct cram_demand *demand)
{
	if (demand->top) {
		demand->over = cram_cgroup_excess(demand->top);
		demand->of = cram_cgroup_writable(demand->top);
	} else {
		demand->over = cram_over(demand, NULL);
		demand->of = atomic_long_read(&cram_nr_upgraded);
	}
}

/* The pages of the index that it may be about */
static void cram_demand_range(struct cram_demand *demand, unsigned long *first,
			      unsigned long *last)
{
	struct cram_node *cn;

	*first = 0;
	*last = ULONG_MAX;
	if (demand->top)
		return;
	guard(rcu)();
	cn = cram_node_get(demand->nid);
	if (cn) {
		*first = cn->start_pfn;
		*last = cn->start_pfn + cn->nr_slots - 1;
	}
}

/* Does whoever is waiting have something else to do? Then the worker goes on. */
static bool cram_meet_ends(const struct cram_demand *demand)
{
	if (signal_pending(current))
		return true;
	/* cgroup_rmdir() waits for who lowers its budget with cgroup_mutex held */
	return demand->top && cram_cgroup_is_dying(demand->top);
}

/* Revoke so many pages of an owner that are of this age at least */
static unsigned long cram_revoke_aged(struct cram_demand *demand, struct cram_owner *owner,
				      unsigned long share, unsigned int age)
{
	struct cram_batch batch = { .owner = owner };
	unsigned long pfn, last, nr = 0, want;
	void *entry;

	cram_demand_range(demand, &pfn, &last);
	entry = xa_find(&owner->upgraded, &pfn, last, XA_PRESENT);
	while (entry && nr < share && !cram_meet_ends(demand)) {
		want = min3(share - nr, cram_over(demand, owner),
			    (unsigned long)CRAM_REVOKE_BATCH);
		if (!want)
			break;
		for (; entry && batch.nr < want && !cram_meet_ends(demand);
		     entry = xa_find_after(&owner->upgraded, &pfn, last, XA_PRESENT)) {
			cond_resched();
			if (xa_to_value(entry) >= age &&
			    cram_batch_add(&batch, pfn, xa_to_value(entry)))
				batch.page[batch.nr - 1].take = true;
		}
		want = cram_batch_end(&batch);
		nr += want;
		demand->gone += want;
	}
	return nr;
}

static void cram_revoke_from(struct cram_demand *demand, struct cram_owner *owner,
			     unsigned long share)
{
	unsigned long nr = 0;
	int age;

	/* What was not written to for longest first */
	for (age = CRAM_RECYCLE_AGE - 1; age >= 0 && nr < share; age--)
		nr += cram_revoke_aged(demand, owner, share - nr, age);
	cram_tell_revoked(owner, CRAM_STAT_REVOKE, nr);
}

/*
 * The first round takes from each owner in proportion. Some may hold the pages they
 * should give, so a second one takes from any that has pages. Returns true when there
 * is still too much, or the rounds have ended early.
 */
static bool cram_meet(struct cram_demand *demand)
{
	struct cram_owner *owner;
	unsigned long share;
	bool left = true;
	int round;
	u32 id;

	for (round = 0; round < 3 && left; round++) {
		left = false;
		id = 0;
		cram_demand_look(demand);
		while ((owner = cram_owner_next(&id, demand->top))) {
			share = round ? cram_over(demand, owner) : cram_share(demand, owner);
			if (share)
				cram_revoke_from(demand, owner, share);
			left |= cram_over(demand, owner) && !xa_empty(&owner->upgraded);
			cram_owner_put(owner, 1);
			if (cram_meet_ends(demand))
				return true;
		}
	}
	return left;
}

/**
 * cram_revoke_cgroup - take back what is over the budget of a cgroup
 * @cg: the cgroup, referenced; the number is in force for all who charge
 *
 * Context: process, may sleep; ends early at a signal, and when somebody removes the
 * cgroup.
 * Return: true when more is still writable than the number permits, because
 * somebody holds it, or it has ended early.
 */
bool cram_revoke_cgroup(struct cram_cgroup *cg)
{
	struct cram_demand demand = { .top = cg };

	return cram_meet(&demand);
}

/*
 * For writers that do not wait. And for pages of a cgroup that was removed: the
 * cgroup that has them now may have a smaller budget, or none.
 */
static bool cram_revoke_cgroups(void)
{
	static unsigned long next = INITIAL_JIFFIES;
	struct cram_cgroup *cg = NULL;
	bool left = false;

	if (!xchg(&cram_lowered, false) && time_before(jiffies, next))
		return false;
	next = jiffies + CRAM_RECYCLE_PERIOD;
	while ((cg = cram_cgroup_next_over(cg)))
		left |= cram_revoke_cgroup(cg);
	if (left)
		WRITE_ONCE(cram_lowered, true);
	return left;
}

static bool cram_revoke_node(int nid)
{
	struct cram_demand demand = { .nid = nid };
	struct cram_node *cn;
	bool over;

	scoped_guard(rcu) {
		cn = cram_node_get(nid);
		over = cn && cram_node_over(cn);
	}
	if (!over)
		return false;
	demand.wanted = cram_node_excess(nid);
	return cram_meet(&demand);
}

/* ------------------------------------------------- what was not written to -- */

/* The next pages of an owner in order, until they end or its turn does */
static void cram_recycle_turn(struct cram_owner *owner)
{
	unsigned long pfn = READ_ONCE(owner->recycle_from), nr = 0, asked = 0;
	struct cram_batch batch = { .owner = owner };
	void *entry;

	entry = xa_find(&owner->upgraded, &pfn, ULONG_MAX, XA_PRESENT);
	while (entry && asked < CRAM_RECYCLE_TURN) {
		for (; entry && batch.nr < CRAM_REVOKE_BATCH; asked++) {
			cram_batch_add(&batch, pfn, xa_to_value(entry));
			entry = xa_find_after(&owner->upgraded, &pfn, ULONG_MAX, XA_PRESENT);
		}
		cram_batch_ask(&batch);
		nr += cram_batch_end(&batch);
		cond_resched();
	}
	WRITE_ONCE(owner->recycle_from, entry ? pfn : 0);
	if (!entry)
		WRITE_ONCE(owner->recycle_due, jiffies + CRAM_RECYCLE_PERIOD);
	cram_tell_revoked(owner, CRAM_STAT_RECYCLE, nr);
}

/* Owners take turns while it is due for any of them. Returns when that is next. */
static unsigned long cram_recycle(void)
{
	static unsigned long rest_until = INITIAL_JIFFIES;
	static u32 id;	/* the next owner in turn has this id or a larger one */
	unsigned long begin = jiffies, next = begin + CRAM_RECYCLE_PERIOD;
	bool from_start = !id, any = false;
	struct cram_owner *owner;

	if (time_before(begin, rest_until))
		return rest_until;
	while (time_before(jiffies, begin + CRAM_RECYCLE_SLICE)) {
		owner = cram_owner_next(&id, NULL);
		if (owner) {
			unsigned long due = READ_ONCE(owner->recycle_due);

			if (time_before(jiffies, due)) {
				if (time_before(due, next))
					next = due;
			} else {
				cram_recycle_turn(owner);
				any = true;
			}
			cram_owner_put(owner, 1);
			continue;
		}
		id = 0;
		if (from_start && !any)
			return next;
		from_start = true;
		any = false;
		next = jiffies + CRAM_RECYCLE_PERIOD;
	}
	rest_until = jiffies + CRAM_RECYCLE_REST;
	return rest_until;
}

static void cram_budget_work_fn(struct work_struct *work)
{
	static unsigned long retry;
	unsigned long next;
	bool left;
	int nid;

	left = cram_revoke_cgroups();
	for_each_node_mask(nid, cram_nodes)
		left |= cram_revoke_node(nid);
	next = cram_recycle();

	/* A reference can last for days */
	if (!left)
		retry = 0;
	else
		retry = retry ? min(2 * retry, CRAM_RECYCLE_PERIOD) : CRAM_RETRY_PERIOD;
	if (retry && time_after(next, jiffies + retry))
		next = jiffies + retry;
	if (atomic_long_read(&cram_nr_upgraded))
		queue_delayed_work(system_dfl_wq, &cram_budget_work,
				   max((long)(next - jiffies), 1L));
}
