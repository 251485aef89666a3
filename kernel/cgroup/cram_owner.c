// SPDX-License-Identifier: GPL-2.0
/*
 * Owners: who pays for resident pages.
 *
 * A page's slot stores the id of an owner, not of a cgroup. While the cgroup
 * is online the owner leads to its books. When the cgroup goes offline, the
 * owner forgets them and from then on leads to where the parent's owner leads,
 * so that its pages stay charged to the nearest living ancestor without pinning
 * a dead cgroup. However many pages and dead descendants there are, that is one
 * store. An owner is freed with its last page, after its cgroup, and after the
 * owners below it.
 *
 * The page counters are hierarchical, so no number moves at that moment: what
 * was charged below is in the parent's counter already, and is given back
 * there.
 */
#include <linux/cgroup_cram.h>
#include <linux/sched.h>
#include <linux/slab.h>
#include <linux/xarray.h>

/* Owners to look at before others may have the CPU, and RCU its grace period */
#define CRAM_OWNER_SLICE	1024

/* The erasure is in an RCU callback, hence LOCK_BH */
static DEFINE_XARRAY_FLAGS(cram_owners, XA_FLAGS_ALLOC1 | XA_FLAGS_LOCK_BH);

/* The highest id to give out; tests have fewer, see debugfs cram/max_owner_id */
u32 cram_max_owner_id = CRAM_OWNER_MASK;

/**
 * cram_owner_alloc - make an owner that nobody finds yet
 *
 * It is accounted to whoever makes the cgroup, and can outlive that cgroup.
 *
 * Context: process, may sleep.
 * Return: the owner with the cgroup's reference on it, or %NULL.
 */
struct cram_owner *cram_owner_alloc(void)
{
	struct cram_owner *owner;

	owner = kzalloc_obj(*owner, GFP_KERNEL_ACCOUNT);
	if (!owner)
		return NULL;
	atomic_long_set(&owner->refs, 1);
	xa_init_flags(&owner->upgraded, XA_FLAGS_LOCK_IRQ);
	return owner;
}

/**
 * cram_owner_register - have an owner stand for a cgroup
 * @owner: from cram_owner_alloc()
 * @books: of the cgroup
 * @up: the owner that stands for the parent, %NULL for the root
 *
 * Context: process, may sleep.
 * Return: 0, -ENOMEM, or -EBUSY when all 2^24 ids are in use.
 */
int cram_owner_register(struct cram_owner *owner, struct cram_cgroup *books,
			struct cram_owner *up)
{
	int err;

	/* Before there is an id by which to find it */
	RCU_INIT_POINTER(owner->books, books);
	owner->up = up;
	err = cram_should_fail() ? -ENOMEM :
	      xa_alloc_bh(&cram_owners, &owner->id, owner,
			  XA_LIMIT(1, READ_ONCE(cram_max_owner_id)), GFP_KERNEL);
	if (err) {
		owner->id = 0;
		owner->up = NULL;
		return err;
	}
	/* The parent is online, and has its own reference */
	if (up)
		atomic_long_inc(&up->refs);
	return 0;
}

/**
 * cram_owner_orphan - the cgroup of an owner goes offline
 * @owner: not the root's
 *
 * A reader that follows an owner under RCU finds the books of that cgroup or those of
 * its parent, which for a charge below the parent is the same.
 */
void cram_owner_orphan(struct cram_owner *owner)
{
	RCU_INIT_POINTER(owner->books, NULL);
}

/**
 * cram_owner_lookup - the owner with this id
 * @id: from a slot
 *
 * Context: RCU.
 * Return: NULL when the id is not in use.
 */
struct cram_owner *cram_owner_lookup(u32 id)
{
	return xa_load(&cram_owners, id);
}

/* The id stays taken until here, so nobody under RCU finds it re-used */
static void cram_owner_free(struct rcu_head *rcu)
{
	struct cram_owner *owner = container_of(rcu, struct cram_owner, rcu);

	if (owner->id)
		xa_erase_bh(&cram_owners, owner->id);
	if (owner->up)
		cram_owner_put(owner->up, 1);
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

/* Of the next owners only. Sets @id to where to go on, 0 after the last. */
static struct cram_owner *cram_owner_next_slice(u32 *id, struct cram_cgroup *root)
{
	unsigned int left = CRAM_OWNER_SLICE;
	struct cram_owner *owner;
	unsigned long i;

	guard(rcu)();
	xa_for_each_start(&cram_owners, i, owner, *id) {
		*id = i + 1;
		if (!xa_empty(&owner->upgraded) &&
		    (!root || cram_cgroup_is_descendant(cram_owner_books(owner), root)) &&
		    cram_owner_tryget(owner, 1))
			return owner;
		if (!--left)
			return NULL;
	}
	*id = 0;
	return NULL;
}

/**
 * cram_owner_next - walk the owners that have upgraded pages
 * @id: where to start; set to where to go on
 * @root: those of this subtree, or %NULL for all
 *
 * Context: process, may sleep.
 * Return: the next with a reference, or NULL after the last.
 */
struct cram_owner *cram_owner_next(u32 *id, struct cram_cgroup *root)
{
	struct cram_owner *owner;

	for (;;) {
		owner = cram_owner_next_slice(id, root);
		if (owner || !*id)
			return owner;
		cond_resched();
	}
}
