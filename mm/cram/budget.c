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
 *	CRAM_REVOKING	no entry becomes writable, no pin is taken; faults wait
 *	clear, flush	no CPU has a writable entry cached
 *	smp_mb()	GUP-fast takes its reference and looks at the entry
 *			again: either it sees that the entry is gone, or we see
 *			the reference
 *	references	somebody may store without an entry: give up, the page is
 *			writable again and stays charged
 *	read-only	map it again
 *	write back	what CPUs have cached reaches the device now
 *	uncharge
 *
 * An exclusive page that is pinned must not be copied on a write, or the pin
 * would see another page than the process. A page that was never upgraded has
 * no pins, an upgraded one is revoked only without references, and while that
 * is being found out a fault waits: so whenever do_wp_page() decides to copy, no
 * reference is in the way. And while it copies, it holds a reference itself: so
 * what another thread stores to the page then, after an upgrade, cannot be taken
 * back before the copy is found to be out of date by its entry having changed.
 *
 * One work item looks after all of it: pages of cgroups and nodes that are over
 * their budgets, and once a second pages that nobody writes to any more, so
 * that the budget follows the pages that are written. These are found by the
 * dirty bits of their entries.
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

/* How often it is asked who was written to */
#define CRAM_RECYCLE_PERIOD	HZ

/* Revoked after so many periods without a store */
#define CRAM_RECYCLE_AGE	2

/* Each page that is asked costs a TLB flush if it was written: 16 MiB a period */
#define CRAM_RECYCLE_PAGES	4096

/* Over budget, but held by somebody: look again after this, then twice this ... */
#define CRAM_RETRY_PERIOD	(HZ / 20)

/* Of all nodes; the work item runs while there are any */
static atomic_long_t cram_nr_upgraded;

static void cram_budget_work_fn(struct work_struct *work);
static DECLARE_DELAYED_WORK(cram_budget_work, cram_budget_work_fn);

/**
 * cram_want_revocation - something is over its budget
 *
 * Context: any.
 */
void cram_want_revocation(void)
{
	if (atomic_long_read(&cram_nr_upgraded))
		mod_delayed_work(system_dfl_wq, &cram_budget_work, 0);
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
	/* Never more than that, not even for a moment, or pages were revoked */
	do {
		if ((unsigned long)writable >= READ_ONCE(cn->writable_budget))
			return false;
	} while (!atomic_long_try_cmpxchg(&cn->writable, &writable, writable + 1));

	if (READ_ONCE(cn->writable_override)) {
		atomic64_inc(&cn->begun);
	} else if (!cram_admit(cn, 1)) {
		atomic_long_dec(&cn->writable);
		return false;
	}
	return true;
}

/* Have @slot say so only when everything else does. PTL, RCU. */
static bool cram_upgrade(struct cram_node *cn, unsigned long pfn, u32 *slot)
{
	u32 old = READ_ONCE(*slot);
	struct cram_owner *owner;
	struct cram_cgroup *cg;
	unsigned long flags;
	int err;

	if (cram_slot_state(old) != CRAM_RESIDENT)
		return false;
	owner = cram_owner_lookup(cram_slot_owner(old));
	if (!owner)
		return false;
	cg = cram_owner_books(owner);
	if (!cram_cgroup_charge_writable(cg, 1))
		return false;
	if (!cram_node_charge_writable(cn))
		goto uncharge;

	xa_lock_irqsave(&owner->upgraded, flags);
	err = xa_err(__xa_store(&owner->upgraded, pfn, xa_mk_value(0),
				GFP_NOWAIT | __GFP_NOWARN));
	xa_unlock_irqrestore(&owner->upgraded, flags);
	if (err)
		goto uncharge_node;

	if (cn->desc.ops->storing)
		cn->desc.ops->storing(cn, pfn, 1);
	if (atomic_long_inc_return(&cram_nr_upgraded) == 1)
		queue_delayed_work(system_dfl_wq, &cram_budget_work,
				   CRAM_RECYCLE_PERIOD);
	WRITE_ONCE(*slot, old | CRAM_WRITABLE);
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

bool __cram_wp_reuse(struct page *page, bool unshare)
{
	struct cram_node *cn = cram_node_get(page_to_nid(page));
	unsigned long pfn = page_to_pfn(page);
	u32 *slot = cram_slot(cn, pfn);
	bool reuse;

	if (cram_hook_disabled(CRAM_HOOK_WP) || READ_ONCE(*slot) & CRAM_WRITABLE)
		return true;
	if (unshare || folio_test_large(page_folio(page)))
		return false;

	rcu_read_lock();
	reuse = cram_upgrade(cn, pfn, slot);
	rcu_read_unlock();
	return reuse;
}

/**
 * cram_end_upgrade - no store reaches the page any more
 * @cn: the node
 * @pfn: the page, its lines written back
 * @id: of its owner
 *
 * The index goes last: who lowers a budget is content when it finds nothing
 * there, and then all books have to say so. The slot changes afterwards, so that
 * the page cannot be upgraded again in between. Context: any.
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
	__xa_erase(&owner->upgraded, pfn);
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
 * @entries: so many were met
 * @held: somebody has a reference who may store to it
 * @written: since the last time somebody asked
 */
struct cram_revocation {
	enum cram_revoke_step step;
	int entries;
	bool held;
	bool written;
};

/* References but those of entries, of the swap cache, and ours */
static bool cram_folio_held(struct folio *folio)
{
	/* Pairs with that of who takes a reference: entry first, count then */
	smp_mb();
	return folio_ref_count(folio) != folio_expected_ref_count(folio) + 1 &&
	       !cram_hook_disabled(CRAM_HOOK_HELD);
}

static pte_t cram_revoke_entry(struct folio *folio, pte_t entry,
			       struct cram_revocation *rev)
{
	if (!pte_write(entry))
		return entry;
	if (rev->step == CRAM_ASK) {
		/*
		 * The folio knows from here on. Not so of a lazily freed one,
		 * whose entry is all that tells of a store.
		 */
		if (pte_dirty(entry) && folio_test_swapbacked(folio)) {
			rev->written = true;
			folio_mark_dirty(folio);
			return pte_mkclean(entry);
		}
		return entry;
	}
	if (cram_folio_held(folio)) {
		rev->held = true;
		return entry;
	}
	return pte_wrprotect(entry);
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
	while (page_vma_mapped_walk(&pvmw)) {
		pte_t entry = ptep_get(pvmw.pte);

		rev->entries++;
		/* Of a device that has it for itself: it was told, and has to ask */
		if (!pte_present(entry))
			continue;
		if (rev->step == CRAM_CHECK)
			VM_WARN_ON_ONCE_FOLIO(pte_write(entry), folio);
		if (rev->step == CRAM_CHECK ||
		    (rev->step == CRAM_ASK && !(pte_write(entry) && pte_dirty(entry))))
			continue;
		/*
		 * Also when it is read-only: whoever made it so may not have
		 * flushed yet, as fork() does at its end.
		 */
		flush_cache_page(vma, pvmw.address, pte_pfn(entry));
		entry = ptep_clear_flush(vma, pvmw.address, pvmw.pte);
		entry = cram_revoke_entry(folio, entry, rev);
		set_pte_at(vma->vm_mm, pvmw.address, pvmw.pte, entry);
	}
	if (rev->step == CRAM_TAKE)
		mmu_notifier_invalidate_range_end(&range);
	return !rev->held;
}

/*
 * With the anon_vma locked: a page that is not mapped any more, but referenced,
 * may not have one. Then there are no entries.
 */
static void cram_walk_entries(struct folio *folio, struct anon_vma *anon_vma,
			      struct cram_revocation *rev)
{
	struct rmap_walk_control rwc = { .rmap_one = cram_revoke_one, .arg = rev };

	if (anon_vma)
		rmap_walk_locked(folio, &rwc);
}

static bool cram_was_written(struct folio *folio, int *entries)
{
	struct anon_vma *anon_vma = folio_lock_anon_vma_read(folio, NULL);
	struct cram_revocation rev = { .step = CRAM_ASK };

	cram_walk_entries(folio, anon_vma, &rev);
	if (anon_vma)
		anon_vma_unlock_read(anon_vma);
	*entries = rev.entries;
	return rev.written;
}

/* The folio is locked, so nobody else revokes or moves it */
static bool cram_revoke_folio(struct cram_node *cn, struct folio *folio, u32 slot)
{
	struct cram_revocation rev = { .step = CRAM_TAKE };
	unsigned long pfn = folio_pfn(folio);
	u32 *p = cram_slot(cn, pfn);
	struct anon_vma *anon_vma;
	bool revoked = false;

	/* Before faults have to wait for us */
	anon_vma = folio_lock_anon_vma_read(folio, NULL);

	WRITE_ONCE(*p, slot | CRAM_REVOKING);
	cram_walk_entries(folio, anon_vma, &rev);
	/* An entry that the walk has missed would still be writable */
	if (rev.held || rev.entries != folio_mapcount(folio) || cram_folio_held(folio)) {
		WRITE_ONCE(*p, slot);
		goto unlock;
	}
	cram_write_back(cn, pfn, 1);
	if (IS_ENABLED(CONFIG_CRAM_VERIFY)) {
		rev.step = CRAM_CHECK;
		cram_walk_entries(folio, anon_vma, &rev);
	}
	cram_end_upgrade(cn, pfn, cram_slot_owner(slot));
	WRITE_ONCE(*p, slot & ~CRAM_WRITABLE);
	revoked = true;
unlock:
	if (anon_vma)
		anon_vma_unlock_read(anon_vma);
	return revoked;
}

/*
 * The node of an upgraded page, or NULL when it is not any more. What is in the
 * index keeps the node and its struct pages, for as long as RCU is held: a node
 * waits for a grace period after its last page has left.
 */
static struct cram_node *cram_node_of(struct cram_owner *owner, unsigned long pfn)
{
	return xa_load(&owner->upgraded, pfn) ? cram_node_get(pfn_to_nid(pfn)) : NULL;
}

/* The folio of an upgraded page, with a reference and locked, and its node */
static struct folio *cram_get_upgraded(struct cram_owner *owner, unsigned long pfn,
				       struct cram_node **cn, u32 *slot)
{
	struct folio *folio;

	guard(rcu)();
	*cn = cram_node_of(owner, pfn);
	if (!*cn)
		return NULL;
	*slot = READ_ONCE(*cram_slot(*cn, pfn));
	folio = *slot & CRAM_WRITABLE ? cram_get_folio(*cn, pfn, *slot) : NULL;
	if (!folio)
		return NULL;
	if (folio_trylock(folio)) {
		/* What holds the lock may have ended it in between */
		*slot = READ_ONCE(*cram_slot(*cn, pfn));
		if (*slot & CRAM_WRITABLE)
			return folio;
		folio_unlock(folio);
	}
	folio_put(folio);
	return NULL;
}

enum cram_verdict {
	CRAM_KEEP,	/* within all budgets */
	CRAM_REVOKED,
	CRAM_RECYCLED,
	CRAM_HELD,	/* to be revoked, and somebody has a reference */
};

/**
 * struct cram_pass - one walk over upgraded pages
 * @root: what is over the budgets from its owner up to here, by order of
 *	somebody who waits; or %NULL for whatever is over any budget
 * @recycle: ask so many pages for stores, and revoke without them
 * @from_id: beginning with this owner
 * @from_pfn: and there with this page
 * @left: pages that are over and could not be revoked
 */
struct cram_pass {
	struct cram_cgroup *root;
	unsigned long recycle;
	u32 from_id;
	unsigned long from_pfn;
	unsigned long left;
};

/* More is writable there than the node can answer for */
static bool cram_node_over(struct cram_node *cn)
{
	enum cram_node_state state = READ_ONCE(cn->state);

	/* Offline is for who drains it, and may be over in a moment */
	if (state == CRAM_NODE_CRITICAL || state == CRAM_NODE_LOST || !cram_has_lease(cn) ||
	    atomic_long_read(&cn->writable) > READ_ONCE(cn->writable_budget))
		return true;
	/*
	 * What was revoked since the last reading counts as room only with the
	 * next; until then, leave it at what is needed.
	 */
	return !READ_ONCE(cn->writable_override) &&
	       (s64)(atomic64_read(&cn->begun) - READ_ONCE(cn->limit)) >
	       (s64)(atomic64_read(&cn->done) - READ_ONCE(cn->done0));
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
		cram_want_revocation();
}

static bool cram_is_over(struct cram_owner *owner, unsigned long pfn,
			 struct cram_pass *pass)
{
	struct cram_node *cn;

	guard(rcu)();
	cn = cram_node_of(owner, pfn);
	if (!cn)
		return false;
	return cram_cgroup_over_budget(cram_owner_books(owner), pass->root) ||
	       (!pass->root && cram_node_over(cn));
}

/* Is it this page's turn to be asked for stores? */
static bool cram_take_turn(struct cram_owner *owner, unsigned long pfn,
			   struct cram_pass *pass)
{
	if (!pass->recycle || owner->id < pass->from_id ||
	    (owner->id == pass->from_id && pfn < pass->from_pfn))
		return false;
	if (!--pass->recycle) {
		pass->from_id = owner->id;
		pass->from_pfn = pfn + 1;
	}
	return true;
}

static enum cram_verdict cram_judge(struct cram_owner *owner, unsigned long pfn,
				    unsigned int *age, struct cram_pass *pass)
{
	bool over = cram_is_over(owner, pfn, pass);
	enum cram_verdict verdict = CRAM_KEEP;
	struct cram_node *cn;
	struct folio *folio;
	int entries;
	u32 slot;

	if (!over && !cram_take_turn(owner, pfn, pass))
		return CRAM_KEEP;
	folio = cram_get_upgraded(owner, pfn, &cn, &slot);
	if (!folio)
		return over ? CRAM_HELD : CRAM_KEEP;

	if (over) {
		if (cram_revoke_folio(cn, folio, slot))
			verdict = CRAM_REVOKED;
		else if (!folio_test_hwpoison(folio))
			verdict = CRAM_HELD;
	} else {
		*age = cram_was_written(folio, &entries) ? 0 : *age + 1;
		/* Shared since a fork(): the next to write gets a copy anyway */
		if ((*age >= CRAM_RECYCLE_AGE || entries > 1) &&
		    cram_revoke_folio(cn, folio, slot))
			verdict = CRAM_RECYCLED;
	}
	folio_unlock(folio);
	folio_put(folio);
	return verdict;
}

static void cram_set_age(struct cram_owner *owner, unsigned long pfn, unsigned int age)
{
	unsigned long flags;

	xa_lock_irqsave(&owner->upgraded, flags);
	/* Not if it has left in between; replacing needs no memory */
	if (xa_load(&owner->upgraded, pfn))
		__xa_store(&owner->upgraded, pfn, xa_mk_value(age), 0);
	xa_unlock_irqrestore(&owner->upgraded, flags);
}

/* Somebody who waits has got a signal; then nobody knows what is left */
static bool cram_interrupted(struct cram_pass *pass)
{
	if (!pass->root || !signal_pending(current))
		return false;
	pass->left++;
	return true;
}

/* May some page of this owner have to be revoked? */
static bool cram_owner_over(struct cram_owner *owner, struct cram_pass *pass)
{
	struct cram_node *cn;
	int nid;

	guard(rcu)();
	if (cram_cgroup_over_budget(cram_owner_books(owner), pass->root))
		return true;
	if (pass->root)
		return false;
	for_each_node_mask(nid, cram_nodes) {
		cn = cram_node_get(nid);
		if (cn && cram_node_over(cn))
			return true;
	}
	return false;
}

static void cram_pass_owner(struct cram_owner *owner, struct cram_pass *pass)
{
	unsigned long revoked = 0, recycled = 0, pfn, from = 0;
	bool over = cram_owner_over(owner, pass);
	struct cram_cgroup *cg;
	void *entry;

	/* Only for the turns that are left? They do not begin before that */
	if (!over && owner->id == pass->from_id)
		from = pass->from_pfn;
	xa_for_each_start(&owner->upgraded, pfn, entry, from) {
		unsigned int was = xa_to_value(entry), age = was;

		if (!over && (!pass->recycle || owner->id < pass->from_id))
			break;
		switch (cram_judge(owner, pfn, &age, pass)) {
		case CRAM_KEEP:
			if (age != was)
				cram_set_age(owner, pfn, age);
			break;
		case CRAM_REVOKED:
			revoked++;
			break;
		case CRAM_RECYCLED:
			recycled++;
			break;
		case CRAM_HELD:
			pass->left++;
			break;
		}
		if (cram_interrupted(pass))
			break;
		cond_resched();
	}

	rcu_read_lock();
	cg = cram_owner_books(owner);
	if (revoked) {
		cram_count(cg, CRAM_STAT_REVOKE, revoked);
		cram_cgroup_event(cg, CRAM_EVENT_REVOKE);
	}
	if (recycled)
		cram_count(cg, CRAM_STAT_RECYCLE, recycled);
	rcu_read_unlock();
}

static void cram_do_pass(struct cram_pass *pass)
{
	struct cram_owner *owner;
	u32 id = 0;

	while ((owner = cram_owner_next(&id, pass->root))) {
		cram_pass_owner(owner, pass);
		cram_owner_put(owner, 1);
		if (cram_interrupted(pass))
			break;
	}
}

static void cram_budget_work_fn(struct work_struct *work)
{
	static unsigned long last_recycle, delay;
	static unsigned long from_pfn;
	static u32 from_id;
	struct cram_pass pass = {};

	if (time_after_eq(jiffies, last_recycle + CRAM_RECYCLE_PERIOD)) {
		last_recycle = jiffies;
		pass.recycle = CRAM_RECYCLE_PAGES;
		pass.from_id = from_id;
		pass.from_pfn = from_pfn;
	}
	cram_do_pass(&pass);

	/* To the end of all, or to where the next is to go on */
	if (pass.recycle) {
		from_id = 0;
		from_pfn = 0;
	} else if (pass.from_id) {
		from_id = pass.from_id;
		from_pfn = pass.from_pfn;
	}

	/* Whoever holds a page may do so for days */
	if (!pass.left)
		delay = 0;
	else
		delay = delay ? min(2 * delay, CRAM_RECYCLE_PERIOD) : CRAM_RETRY_PERIOD;
	if (atomic_long_read(&cram_nr_upgraded))
		queue_delayed_work(system_dfl_wq, &cram_budget_work,
				   delay ?: CRAM_RECYCLE_PERIOD);
}

/**
 * cram_revoke_cgroup - take back what is over the budgets of a subtree
 * @cg: its top, referenced; the new number is in force for all who charge
 *
 * Context: process, may sleep; ends early at a signal. Return: pages that are
 * still over a budget of @cg or below, because somebody holds them.
 */
unsigned long cram_revoke_cgroup(struct cram_cgroup *cg)
{
	struct cram_pass pass = { .root = cg };

	cram_do_pass(&pass);
	return pass.left;
}
