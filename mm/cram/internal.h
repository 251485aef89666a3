/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Inside the engine: what its files know of each other, from the ground up. Which may
 * call which is in Documentation/mm/cram.rst.
 */

/**
 * DOC: Locks
 *
 * Outermost first:
 *
 * * ``cram_node.state.offline_mutex``: one drains this node, opens it, or takes it away
 * * ``cram_nodes_mutex``: the registry; process context
 * * ``cram_node.state.mutex``: one change of the state is told after the other
 * * ``cram_node.room.mutex``: one reading at a time, over the driver's call
 * * ``zone->lock``: pages are isolated for a trim
 *
 * Reclaim, faults and frees take none of these: they use RCU, atomics and the slot. Nor
 * does eviction, which looks at a node under ``cram_evict_srcu``.
 */
#ifndef _MM_CRAM_INTERNAL_H
#define _MM_CRAM_INTERNAL_H

#include <linux/cache.h>
#include <linux/cgroup_cram.h>
#include <linux/cram.h>
#include <linux/cram_hooks.h>
#include <linux/jiffies.h>
#include <linux/kobject.h>
#include <linux/mm.h>
#include <linux/mutex.h>
#include <linux/spinlock.h>
#include <linux/swap.h>
#include <linux/vmstat.h>
#include <linux/wait.h>
#include <linux/workqueue.h>
#include <linux/xarray.h>

#include "slot.h"

/*
 * A command of a real device costs a mailbox round trip, so it should carry
 * many ranges: 127 of 16 bytes fill a 2 KiB payload, after its header.
 */
#define CRAM_TRIM_RANGES	127

/* See state.c. In ascending order of how little may be done. */
enum cram_node_state {
	CRAM_NODE_OPEN,
	CRAM_NODE_LOW,
	CRAM_NODE_CRITICAL,
	CRAM_NODE_LOST,
	CRAM_NODE_OFFLINE,
};

/**
 * struct cram_room - how much room a node has for certain, see capacity.c
 * @begun: pages to which stores were admitted: to copy them to the node, or
 *	because they were upgraded. Monotonic.
 * @done: of these, pages to which no store comes any more and whose lines were
 *	written back: the copy has ended, one way or the other, or the page was
 *	revoked or is free. Monotonic.
 * @limit: @begun may not pass this; the one word in which the last reading
 *	reaches the admission, see cram_take_reading()
 * @zero_limit: the same for zeroes, which may use the reserve
 * @upgrade_limit: the same for upgrades, which leave @margin to demotions
 * @margin: pages of proven room; grows while demotions are short of it
 * @short_of_room: demotions had used up their room when the last reading began
 * @lease_end: in jiffies; later the last reading is not believed any more
 * @reading_start: when the device was asked last, in jiffies
 * @lease_ms: for how long a reading is believed, counted from its start
 * @reserve: bytes of cells that admission leaves free
 * @early: somebody was refused for want of room, read again soon
 * @distrusted: why the last answer cannot be true, or %NULL
 * @content_lost: a reading said so, and it was not dealt with yet
 * @gone: the driver is, its ops are not called any more
 * @readings_begun: how often the device was asked
 * @reading_answered: which of these it has answered last
 * @mutex: held over the driver's read_capacity()
 * @lock: for @reading, @done0 and @emptied0 together
 * @reading: the last answer
 * @done0: @done when it was asked for
 * @emptied0: what trim had emptied then
 *
 * A reading writes all but the first two, @lease_ms, @reserve and @early, under
 * @mutex. Everybody reads them without a lock. The first two are written by all who copy
 * and upgrade, page by page: a cache line for each, and the others apart from them.
 */
struct cram_room {
	atomic64_t begun ____cacheline_aligned_in_smp;
	atomic64_t done ____cacheline_aligned_in_smp;
	u64 limit ____cacheline_aligned_in_smp;
	u64 zero_limit;
	u64 upgrade_limit;
	s64 margin;
	bool short_of_room;
	unsigned long lease_end;
	unsigned long reading_start;
	unsigned int lease_ms;
	u64 reserve;
	bool early;
	const char *distrusted;
	bool content_lost;
	bool gone;
	unsigned long readings_begun;
	unsigned long reading_answered;
	struct mutex mutex; /* over read_capacity() */
	spinlock_t lock; /* @reading, @done0, @emptied0 */
	struct cram_reading reading;
	u64 done0;
	unsigned long emptied0;
};

/**
 * struct cram_state - what follows from the last reading, see state.c
 * @now: the state, from its age, @low, @critical, and @offline. Under @mutex.
 * @low: below so many bytes of free cells the node is low; 0: never. Under @mutex.
 * @critical: the same for critical
 * @mutex: one change of the state is told after the other
 * @lease_work: tells that the lease has ended
 * @offline: by request, nothing new; see the state file. Under @offline_mutex.
 * @offline_mutex: one drains the node, opens it, or takes it away at a time
 * @going: who holds that is to end, because the node is to be taken away
 */
struct cram_state {
	enum cram_node_state now;
	u64 low;
	u64 critical;
	struct mutex mutex; /* @now changes and is told */
	struct delayed_work lease_work;
	bool offline;
	struct mutex offline_mutex; /* @offline changes, and while it drains */
	bool going;
};

/**
 * struct cram_node_budget - the node's own writable budget, see budget.c
 * @writable: upgraded pages; begun - done - @writable copies are under way
 * @max: so many pages may be; ULONG_MAX: what upgrade_limit permits. With the next
 *	under the mutex of the state.
 * @override: ... whatever upgrade_limit permits
 *
 * @writable is written by all who upgrade, and the others are read by them.
 */
struct cram_node_budget {
	atomic_long_t writable ____cacheline_aligned_in_smp;
	unsigned long max ____cacheline_aligned_in_smp;
	bool override;
};

/**
 * struct cram_node_trim - freed pages on their way back to the device, see trim.c
 * @blocks: a bit for each block of slots in which one may be FREED, see slot.h
 * @retired_blocks: the same for RETIRED
 * @freed: pages in FREED
 * @emptied: pages that went from FREED to EMPTY
 * @cursor: the slot where the next trim pass starts
 * @isolated: blocks of the buddy allocator that were taken out of it, their order in
 *	page_private()
 * @nr_isolated: pages of these
 * @isolated_end: the first page after the last of them
 * @ranges: of these what was freed, which one call of the driver's trim is given
 * @nr_ranges: entries of @ranges
 * @held: the device may still be zeroing them: the pages are kept from everybody
 * @held_since: readings_begun when that was found out
 * @skip: passes to leave out, because the last one found its pages not in the
 *	allocator
 * @looks: slots that were looked at
 * @poisoned: pages of the machine that were out of service when those that are RETIRED
 *	were looked at
 *
 * All but @freed and @blocks belong to cramd, and to who takes the node away when that
 * has ended. @freed is written by all who free pages, and @blocks is read by them.
 */
struct cram_node_trim {
	unsigned long *blocks;
	unsigned long *retired_blocks;
	atomic_long_t freed ____cacheline_aligned_in_smp;
	unsigned long emptied ____cacheline_aligned_in_smp;
	unsigned long cursor;
	struct list_head isolated;
	unsigned long nr_isolated;
	unsigned long isolated_end;
	struct range ranges[CRAM_TRIM_RANGES];
	unsigned int nr_ranges;
	bool held;
	unsigned long held_since;
	unsigned int skip;
	unsigned long looks;
	long poisoned;
};

/**
 * struct cram_node_evict - what is evicted, and where to go on, see evict.c
 * @cursor: the slot where the next eviction on request starts. A hint, without a lock.
 * @relief: for want of cells. All of it is its work's alone.
 * @relief.work: frees cells while there are few
 * @relief.cursor: the slot where it goes on, the hand of the clock
 * @relief.slots: so many are left of this round; 0: there is none
 * @relief.owed: so many pages are to be given in it still
 * @leaving: by slot, who owns the pages that are being written to swap, and how many
 *	they are. Under the lock of the XArray.
 * @nr_leaving: how many these are
 * @reap_work: frees those that have been written
 * @reap_cursor: the slot where it looks for others next; its own
 */
struct cram_node_evict {
	unsigned long cursor;
	struct {
		struct work_struct work;
		unsigned long cursor;
		unsigned long slots;
		unsigned long owed;
	} relief;
	struct xarray leaving;
	atomic_long_t nr_leaving;
	struct work_struct reap_work;
	unsigned long reap_cursor;
};

/**
 * struct cram_node - a private node that a driver has registered
 * @nid: its node
 * @start_pfn: the page of slot 0
 * @nr_slots: pages that the node spans, holes included
 * @slots: see slot.h
 * @samples: compressed bytes of the pages of which some are asked, see sample.c
 * @page_max: what would take more compressed bytes is refused; U64_MAX: nothing is
 * @desc: what the driver said, but for the name
 * @name: of the device; the driver's may go before the node
 * @resident: pages in RESIDENT
 * @room: what is known for certain about its cells
 * @state: what follows from that
 * @budget: how much of it may be written to where it is
 * @trim: what goes back to the device
 * @evict: what is moved off
 * @promote_rate: bytes that may be promoted in a second because they are hot
 * @hot_work: looks for such pages while that is not 0
 * @heat: what it knows of them, see hot.c; its own
 * @cramd: the node's thread
 * @wait: where it sleeps
 * @kobj: nodeN/cram/ in sysfs
 *
 * Members without a lock of their own are set before the node is registered, or are one
 * word.
 */
struct cram_node {
	int nid;
	unsigned long start_pfn;
	unsigned long nr_slots;
	u32 *slots;
	u32 *samples;
	u64 page_max;
	struct cram_node_desc desc;
	char name[32];

	atomic_long_t resident ____cacheline_aligned_in_smp;
	struct cram_room room;
	struct cram_state state;
	struct cram_node_budget budget;
	struct cram_node_trim trim;
	struct cram_node_evict evict;

	u64 promote_rate;
	struct delayed_work hot_work;
	struct cram_heat *heat;

	struct task_struct *cramd;
	wait_queue_head_t wait;
	struct kobject *kobj;
};

/*
 * What changes with each page has a cache line for itself, so that CPUs which copy,
 * upgrade and free take no line from each other that they only read.
 */
#ifdef CONFIG_SMP
#define CRAM_OWN_LINE(_member, _next)					\
	static_assert(offsetof(struct cram_node, _member) % SMP_CACHE_BYTES == 0 && \
		      offsetof(struct cram_node, _next) -		\
		      offsetof(struct cram_node, _member) >= SMP_CACHE_BYTES)
CRAM_OWN_LINE(resident, room.begun);
CRAM_OWN_LINE(room.begun, room.done);
CRAM_OWN_LINE(room.done, room.limit);
CRAM_OWN_LINE(budget.writable, budget.max);
CRAM_OWN_LINE(trim.freed, trim.emptied);
#undef CRAM_OWN_LINE
#endif

/* registry.c */
extern struct mutex cram_nodes_mutex;
struct cram_node *cram_node_get(int nid);
void cram_registry_add(struct cram_node *cn);
void cram_registry_remove(struct cram_node *cn);

static inline u32 *cram_slot(struct cram_node *cn, unsigned long pfn)
{
	return &cn->slots[pfn - cn->start_pfn];
}

/**
 * cram_owner_cgroup - in whose books is a page?
 * @owner_id: of its owner, as its slot says
 *
 * Context: RCU.
 * Return: the cgroup, or %NULL when there is no such owner.
 */
static inline struct cram_cgroup *cram_owner_cgroup(u32 owner_id)
{
	struct cram_owner *owner;

	RCU_LOCKDEP_WARN(!rcu_read_lock_held(), "an owner may go");
	owner = cram_owner_lookup(owner_id);
	return owner ? cram_owner_books(owner) : NULL;
}

/* Is it the engine that says what is in use, because the device cannot be asked? */
static inline bool cram_node_counted(struct cram_node *cn)
{
	return cn->desc.physical;
}

/* capacity.c */
extern const struct cram_node_ops cram_counted_ops;
struct cram_reading cram_last_reading(struct cram_node *cn, u64 *bound);
int cram_take_reading(struct cram_node *cn);
int cram_trust(struct cram_node *cn);
bool cram_admit(struct cram_node *cn, unsigned long nr);
bool cram_admit_upgrade(struct cram_node *cn);
bool cram_admit_zeroes(struct cram_node *cn);
void cram_unadmit(struct cram_node *cn, unsigned long nr);
bool cram_has_room(struct cram_node *cn, unsigned long nr);
void cram_write_back(struct cram_node *cn, unsigned long pfn, unsigned long nr);
void cram_done(struct cram_node *cn, unsigned long nr);
void cram_want_reading(struct cram_node *cn);
unsigned long cram_next_reading(struct cram_node *cn);
bool cram_reading_due(struct cram_node *cn);

/* Is the last reading still to be believed? */
static inline bool cram_has_lease(struct cram_node *cn)
{
	return time_before(jiffies, READ_ONCE(cn->room.lease_end));
}

/* Pages whose copying was admitted and has not ended; the rest is upgraded */
static inline bool cram_copies_under_way(struct cram_node *cn)
{
	return atomic64_read(&cn->room.begun) - atomic64_read(&cn->room.done) !=
	       atomic_long_read(&cn->budget.writable);
}

/* state.c */
const char *cram_state_name(struct cram_node *cn);
bool cram_node_open(struct cram_node *cn);
bool cram_node_short(struct cram_node *cn);
enum cram_node_state cram_state_of(struct cram_node *cn, const struct cram_reading *r);
u64 cram_cells_wanted(struct cram_node *cn);
void cram_update_state(struct cram_node *cn);
void cram_state_init(struct cram_node *cn);
void cram_state_defaults(struct cram_node *cn);

/* cramd.c */
void cram_settle(struct cram_node *cn);
void cram_settle_init(struct cram_node *cn);
void cram_settle_stop(struct cram_node *cn);
int cramd(void *data);

/* residency.c */
void cram_slots_reserve(struct cram_node *cn, unsigned long pfn, unsigned long nr,
			struct cram_owner *owner);
void cram_slots_freed(struct cram_node *cn, unsigned long pfn, unsigned long nr);

/* trim.c */
unsigned long cram_trim(struct cram_node *cn, bool whole);
void cram_trim_end(struct cram_node *cn);
int cram_trim_alloc(struct cram_node *cn);
void cram_trim_free(struct cram_node *cn);

/* upgrade.c */

/* How often the dirty bits are looked at */
#define CRAM_RECYCLE_PERIOD	HZ

/* Revoked after so many periods without a store */
#define CRAM_RECYCLE_AGE	2

/*
 * Pages that share a flush, as many as reclaim takes at a time: with more, it is
 * the rest of the work that counts, and their folios are locked meanwhile.
 */
#define CRAM_REVOKE_BATCH	SWAP_CLUSTER_MAX

/**
 * struct cram_revoke_batch - upgraded pages of one owner, their folios referenced and
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
struct cram_revoke_batch {
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

extern atomic_long_t cram_nr_upgraded;
bool cram_upgrade(struct cram_node *cn, unsigned long pfn, u32 *slot);
void cram_end_upgrade(struct cram_node *cn, unsigned long pfn, u32 id);
bool cram_revoke_add(struct cram_revoke_batch *batch, unsigned long pfn, unsigned int age);
void cram_revoke_ask(struct cram_revoke_batch *batch);
unsigned int cram_revoke_end(struct cram_revoke_batch *batch);

/* budget.c */
void cram_budget_start(void);
void cram_check_budget(struct cram_node *cn);

/* split.c */
bool cram_split_first(struct vm_fault *vmf, struct folio *folio);

/* demote.c */
extern bool cram_enabled;
enum cram_stat cram_node_refusal(struct cram_node *cn, struct cram_cgroup *cg,
				 unsigned long nr);
struct cram_node *cram_choose_node(struct cram_cgroup *cg, int src_nid,
				   unsigned long nr, enum cram_stat *why);

/* oom.c */
void cram_reading_ended(void);

/* folio.c */
struct folio *cram_get_folio(struct cram_node *cn, unsigned long pfn, u32 slot);
int cram_test_young(struct folio *folio);
struct folio *cram_charge_target(struct folio *dst, struct folio *src, gfp_t gfp);

/* evict.c */
void cram_reap(struct cram_node *cn);
void cram_evict_init(struct cram_node *cn);
void cram_evict_stop(struct cram_node *cn);

/* poison.c */
bool cram_readable(struct folio *folio);
unsigned long cram_kill_residents(struct cram_node *cn);

/* hot.c */
bool cram_promoting_hot(struct cram_node *cn);
void cram_hot_forget(struct cram_node *cn, unsigned long pfn);
void cram_hot_start(struct cram_node *cn);
void cram_hot_step(struct cram_node *cn);
void cram_hot_set_rate(struct cram_node *cn, u64 rate);
int cram_hot_alloc(struct cram_node *cn);
void cram_hot_free(struct cram_node *cn);
void cram_hot_stop(struct cram_node *cn);

/* sample.c */
int cram_compressors_alloc(void);
int cram_samples_alloc(struct cram_node *cn);
unsigned int cram_compressed_size(struct page *page);
bool cram_can_read(struct page *page);
void cram_sample(struct cram_node *cn, unsigned long pfn, struct folio *src,
		 struct cram_cgroup *cg);
void cram_end_sample(struct cram_node *cn, unsigned long pfn, u32 id);
unsigned int cram_sampled_size(struct cram_node *cn, unsigned long pfn);

/* node.c */
int cram_drain(struct cram_node *cn);
void cram_reopen(struct cram_node *cn);

/* sysfs.c */
int cram_node_sysfs_add(struct cram_node *cn);
void cram_node_sysfs_remove(struct cram_node *cn);

/* verify.c */
#ifdef CONFIG_CRAM_VERIFY
extern unsigned long cram_disabled_hooks;

static inline bool cram_hook_disabled(enum cram_hook hook)
{
	return test_bit(hook, &cram_disabled_hooks);
}
#else
static inline bool cram_hook_disabled(enum cram_hook hook)
{
	return false;
}
#endif

#endif /* _MM_CRAM_INTERNAL_H */
