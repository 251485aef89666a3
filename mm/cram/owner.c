// SPDX-License-Identifier: GPL-2.0
/*
 * Owners: who pays for resident pages.
 *
 * A page's slot stores the id of an owner, not of a cgroup. While the cgroup
 * is online the owner points to it. When it goes offline the owner is
 * re-pointed to the parent, with all that were re-pointed to it before, so
 * that its pages stay charged to the nearest living ancestor without pinning
 * a dead cgroup. An owner is freed with its last page.
 *
 * The page counters are hierarchical, so re-pointing moves no numbers: what
 * was charged below is in the parent's counter already, and is given back
 * there.
 */
#include <linux/slab.h>
#include <linux/xarray.h>

#include "internal.h"

/* The erasure is in an RCU callback, hence LOCK_BH */
static DEFINE_XARRAY_FLAGS(cram_owners, XA_FLAGS_ALLOC1 | XA_FLAGS_LOCK_BH);

/* The cgroups' lists of the owners that point to them */
static DEFINE_SPINLOCK(cram_owner_lock);

/**
 * cram_owner_create - make the owner for a cgroup that comes online
 * @cg: its books
 * @owners: the cgroup's list of owners
 *
 * Context: process, may sleep.
 * Return: the owner with the cgroup's reference on it, or an ERR_PTR: -ENOMEM,
 * -EBUSY when all 2^24 ids are in use.
 */
struct cram_owner *cram_owner_create(struct cram_cgroup *cg,
				     struct list_head *owners)
{
	struct cram_owner *owner;
	int err;

	owner = kzalloc_obj(*owner);
	if (!owner)
		return ERR_PTR(-ENOMEM);

	atomic_long_set(&owner->refs, 1);
	xa_init_flags(&owner->upgraded, XA_FLAGS_LOCK_IRQ);
	RCU_INIT_POINTER(owner->cg, cg);
	err = xa_alloc_bh(&cram_owners, &owner->id, owner,
			  XA_LIMIT(1, CRAM_OWNER_MASK), GFP_KERNEL);
	if (err) {
		kfree(owner);
		return ERR_PTR(err);
	}
	spin_lock_bh(&cram_owner_lock);
	list_add(&owner->siblings, owners);
	spin_unlock_bh(&cram_owner_lock);
	return owner;
}

/**
 * cram_owners_reparent - a cgroup goes offline
 * @from: its list of owners
 * @to: the parent's
 * @parent: the parent's books
 *
 * Whoever follows an owner under RCU finds the one cgroup or the other, which
 * for a charge below the parent is the same.
 */
void cram_owners_reparent(struct list_head *from, struct list_head *to,
			  struct cram_cgroup *parent)
{
	struct cram_owner *owner;

	spin_lock_bh(&cram_owner_lock);
	list_for_each_entry(owner, from, siblings)
		rcu_assign_pointer(owner->cg, parent);
	list_splice_init(from, to);
	spin_unlock_bh(&cram_owner_lock);
}

/**
 * cram_owner_lookup - the owner with this id
 * @id: from a slot
 *
 * Context: RCU. Return: NULL when the id is not in use.
 */
struct cram_owner *cram_owner_lookup(u32 id)
{
	return xa_load(&cram_owners, id);
}

/* The id stays taken until here, so nobody under RCU finds it re-used */
static void cram_owner_free(struct rcu_head *rcu)
{
	struct cram_owner *owner = container_of(rcu, struct cram_owner, rcu);

	xa_erase_bh(&cram_owners, owner->id);
	spin_lock_bh(&cram_owner_lock);
	list_del(&owner->siblings);
	spin_unlock_bh(&cram_owner_lock);
	kfree(owner);
}

/**
 * cram_owner_put - drop references, and the owner with the last one
 * @owner: the owner
 * @nr: how many
 *
 * Context: any.
 */
void cram_owner_put(struct cram_owner *owner, long nr)
{
	if (atomic_long_sub_and_test(nr, &owner->refs))
		call_rcu(&owner->rcu, cram_owner_free);
}

/**
 * cram_owner_next - walk the owners that have upgraded pages
 * @id: where to start; set to where to go on
 * @root: those of this subtree, or %NULL for all
 *
 * Context: process. Return: the next with a reference, or NULL after the last.
 */
struct cram_owner *cram_owner_next(u32 *id, struct cram_cgroup *root)
{
	struct cram_owner *owner;
	unsigned long i;

	guard(rcu)();
	xa_for_each_start(&cram_owners, i, owner, *id) {
		*id = i + 1;
		if (xa_empty(&owner->upgraded) ||
		    (root && !cram_cgroup_is_descendant(rcu_dereference(owner->cg), root)))
			continue;
		if (cram_owner_tryget(owner, 1))
			return owner;
	}
	return NULL;
}
