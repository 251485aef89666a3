/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Between the cram controller (kernel/cgroup/cram.c), which keeps the books of
 * the cgroups, and the engine (mm/cram/), which moves the pages.
 */
#ifndef _LINUX_CGROUP_CRAM_H
#define _LINUX_CGROUP_CRAM_H

#include <linux/atomic.h>
#include <linux/bits.h>
#include <linux/cram_stat.h>
#include <linux/list.h>
#include <linux/nodemask.h>
#include <linux/rcupdate.h>
#include <linux/types.h>
#include <linux/xarray.h>

struct cram_cgroup;
struct mem_cgroup;

#define CRAM_STAT_ENUM(upper, lower)	CRAM_STAT_##upper,
enum cram_stat { CRAM_STATS(CRAM_STAT_ENUM) NR_CRAM_STATS };

extern const char * const cram_stat_names[NR_CRAM_STATS];

#ifdef CONFIG_FAIL_CRAM
bool cram_should_fail(void);
#else
static inline bool cram_should_fail(void)
{
	return false;
}
#endif

/* The keys of cram.events */
#define CRAM_EVENTS(X)							\
	X(MAX, max)							\
	X(BUDGET, budget)						\
	X(NODE_LOW, node_low)						\
	X(NODE_CRITICAL, node_critical)					\
	X(NODE_LOST, node_lost)						\
	X(NODE_OPEN, node_open)						\
	X(REVOKE, revoke)						\
	X(EVICT, evict)							\
	X(POISON, poison)

#define CRAM_EVENT_ENUM(upper, lower)	CRAM_EVENT_##upper,
enum cram_event { CRAM_EVENTS(CRAM_EVENT_ENUM) NR_CRAM_EVENTS };

/* A slot stores the id of an owner in so many bits */
#define CRAM_OWNER_BITS		24
#define CRAM_OWNER_MASK		GENMASK(CRAM_OWNER_BITS - 1, 0)

/**
 * struct cram_owner - who pays for a resident page
 * @id: what the page's slot stores; not reused within an RCU grace period. 0 until
 *	it is registered.
 * @refs: one for each page charged, one for the cgroup until that is freed, one
 *	for each owner that has it as @up
 * @books: of the cgroup while that is online, then %NULL. See cram_owner_books().
 * @up: the owner that stands for the parent, %NULL for the root's
 * @upgraded: by page frame number, for how long each page was not stored to
 * @nr_upgraded: how many these are, under the lock of @upgraded
 * @recycle_from: the first of them that is still to be asked for stores
 * @recycle_due: ... which goes on from here, in jiffies
 * @rcu: for freeing
 */
struct cram_owner {
	u32 id;
	atomic_long_t refs;
	struct cram_cgroup __rcu *books;
	struct cram_owner *up;
	struct xarray upgraded;
	unsigned long nr_upgraded;
	unsigned long recycle_from;
	unsigned long recycle_due;
	struct rcu_head rcu;
};

/* in kernel/cgroup/cram_owner.c */
extern u32 cram_max_owner_id;
struct cram_owner *cram_owner_alloc(void);
int cram_owner_register(struct cram_owner *owner, struct cram_cgroup *books,
			struct cram_owner *up);
void cram_owner_orphan(struct cram_owner *owner);
struct cram_owner *cram_owner_lookup(u32 id);
void cram_owner_put(struct cram_owner *owner, long nr);
struct cram_owner *cram_owner_next(u32 *id, struct cram_cgroup *root);

/**
 * cram_owner_books - in whose books are the pages of an owner now?
 * @owner: found under RCU, or referenced
 *
 * Call it once for what belongs together, a charge and giving it back: the next
 * call may find the parent's. Context: RCU.
 * Return: those of its cgroup, or of the nearest ancestor that is online.
 */
static inline struct cram_cgroup *cram_owner_books(const struct cram_owner *owner)
{
	struct cram_cgroup *books;

	/* The root never goes offline */
	while (!(books = rcu_dereference(owner->books)))
		owner = owner->up;
	return books;
}

/**
 * cram_owner_tryget - reference an owner, unless its last reference is gone
 * @owner: found under RCU, which the caller still holds
 * @nr: how many references
 *
 * Context: RCU.
 * Return: false if there was none left.
 */
static inline bool cram_owner_tryget(struct cram_owner *owner, long nr)
{
	return atomic_long_add_unless(&owner->refs, nr, 0);
}

/*
 * The engine calls the controller. In the other direction there are three orders that
 * the controller gives, when somebody writes to a file: evict pages, and see to those
 * that are being written; revoke pages, and wait; have pages revoked.
 */

/* Where evicted pages may go: to swap if there is any, else to DRAM */
enum cram_evict_to { CRAM_EVICT_ANY, CRAM_EVICT_SWAP, CRAM_EVICT_DRAM };

/* in mm/cram/evict.c */
unsigned long cram_evict(struct cram_cgroup *root, int nid, unsigned long nr,
			 enum cram_evict_to to, bool nowait);
unsigned long cram_evict_leaving(struct cram_cgroup *root, int nid);

/* in mm/cram/budget.c */
bool cram_revoke_cgroup(struct cram_cgroup *cg);
void cram_want_revocation(void);

/* in kernel/cgroup/cram.c; all under rcu_read_lock() */
struct cram_cgroup *cram_cgroup_of(struct mem_cgroup *memcg);
struct cram_owner *cram_cgroup_owner(struct cram_cgroup *cg);
bool cram_cgroup_node_allowed(struct cram_cgroup *cg, int nid);
struct cram_cgroup *cram_cgroup_limiting(struct cram_cgroup *cg, int nid, unsigned long nr);
unsigned long cram_cgroup_share_eviction(int nid, unsigned long nr);
unsigned long cram_cgroup_evict_share(struct cram_cgroup *cg, int nid);
void cram_cgroup_gave(struct cram_cgroup *cg, int nid, unsigned long nr);
bool cram_cgroup_spare(struct cram_cgroup *cg, int nid);
unsigned long cram_cgroup_round_over(int nid);
bool cram_cgroup_try_charge(struct cram_cgroup *cg, int nid, unsigned long nr);
void cram_cgroup_uncharge(struct cram_cgroup *cg, int nid, unsigned long nr);
bool cram_cgroup_charge_writable(struct cram_cgroup *cg, unsigned long nr);
void cram_cgroup_uncharge_writable(struct cram_cgroup *cg, unsigned long nr);
unsigned long cram_cgroup_writable(struct cram_cgroup *cg);
unsigned long cram_cgroup_over_budget(struct cram_cgroup *cg, struct cram_cgroup *top);
unsigned long cram_cgroup_excess(struct cram_cgroup *cg);
struct cram_cgroup *cram_cgroup_next_over(struct cram_cgroup *prev);
void cram_cgroup_sample(struct cram_cgroup *cg, long nr, long bytes);
long cram_cgroup_sampled_bytes(struct cram_cgroup *cg);
u64 cram_cgroup_page_max(struct cram_cgroup *cg);
void cram_cgroup_content(struct cram_cgroup *cg, bool fits);
bool cram_cgroup_unfit(struct cram_cgroup *cg);
bool cram_cgroup_is_descendant(struct cram_cgroup *cg, struct cram_cgroup *root);
bool cram_cgroup_is_dying(struct cram_cgroup *cg);
unsigned long cram_cgroup_resident(struct cram_cgroup *cg, int nid);
void cram_count(struct cram_cgroup *cg, enum cram_stat item, long nr);
void cram_cgroup_refuse_hot(struct cram_cgroup *cg, long nr);
void cram_cgroup_node_event(int nid, enum cram_event event);
void cram_cgroup_event(struct cram_cgroup *cg, enum cram_event event);
bool cram_cgroup_alive(struct cram_cgroup *cg);
struct cram_cgroup *cram_cgroup_next(struct cram_cgroup *prev);

#ifdef CONFIG_CRAM_KUNIT_TEST
/* in kernel/cgroup/cram_test.c */
struct kunit;
struct cram_cgroup *cram_test_cgroup(struct kunit *test, struct cram_cgroup *parent);
void cram_test_budget(struct cram_cgroup *cg, long nr);
#endif

#endif /* _LINUX_CGROUP_CRAM_H */
