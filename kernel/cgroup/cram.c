// SPDX-License-Identifier: GPL-2.0
/*
 * The cram controller: the books of the cgroups about compressed memory.
 *
 * A cgroup may be barred from cram nodes (cram.nodes), limited in how many
 * logical bytes of its anonymous memory may be resident on them (cram.max), and
 * permitted to have so many of these writable (cram.writable_budget). All bind
 * the whole subtree. Limits belong to the parent: one that is hit refuses a
 * demotion, and reclaim goes on to swap, or an upgrade, and the write takes the
 * page back to ordinary memory; nobody is killed for it.
 *
 * A page is charged to its owner, which stands for the cgroup that was the
 * nearest one with cram enabled above the page's memory cgroup when the page
 * was demoted, in the end the root. See cram_owner.c for how charges
 * survive the cgroup. The engine in mm/cram/ calls in here from reclaim and
 * from page free, so charging and counting take no lock and never sleep.
 *
 * Residency is hierarchical in page counters, statistics go through rstat, and
 * events are atomics that are counted upwards at once, because someone polls
 * for them.
 */
#include <kunit/static_stub.h>
#include <linux/cgroup.h>
#include <linux/cgroup_cram.h>
#include <linux/cram_hooks.h>
#include <linux/ctype.h>
#include <linux/math64.h>
#include <linux/memcontrol.h>
#include <linux/node.h>
#include <linux/nodemask.h>
#include <linux/page_counter.h>
#include <linux/percpu.h>
#include <linux/sched/signal.h>
#include <linux/slab.h>
#include <linux/swap.h>
#include <linux/vmstat.h>

/*
 * When so many pages in a row, as many as eight batches of reclaim, did not
 * compress as they have to, the rest will not either, for this long.
 */
#define CRAM_UNFIT_PAGES	256
#define CRAM_UNFIT_TIME		HZ

/*
 * A write that lowers a limit waits until the limit is kept, unless no page leaves for so
 * long: all pages that are left are held, or their disk is that slow.
 */
#define CRAM_ENFORCE_TIME	(2 * HZ)

/* A write to cram.reclaim ends after so long without any page */
#define CRAM_RECLAIM_TIME	(HZ / 2)

/* Looks again at what is being written, and tries what was in use */
#define CRAM_EVICT_PAUSE	(HZ / 50)

/*
 * Rounds in which a cgroup could have paid with what is read. The first means nothing:
 * each page is demoted with the accessed bit that it had.
 */
#define CRAM_SPARED_ROUNDS	3

/* A cgroup that could not pay with any page is not asked again for so long */
#define CRAM_BROKE_TIME		(10 * HZ)

/*
 * For so long a write to cram.writable_budget waits for pages that somebody has a
 * reference to. I/O that is under way ends sooner on any healthy disk; a page in a
 * pipe stays for as long as its owner likes.
 */
#define CRAM_REVOKE_TIME	(5 * HZ)

/* An open cram.peak that was not reset shows the peak since creation */
#define CRAM_PEAK_UNSET		(-1UL)

/* In the order of the enum, which is made from the same list */
#define CRAM_STAT_NAME(upper, lower)	#lower,
const char * const cram_stat_names[NR_CRAM_STATS] = { CRAM_STATS(CRAM_STAT_NAME) };

struct cram_cgroup_cpu {
	/* counted here, and what of it was flushed already */
	u64 stat[NR_CRAM_STATS];
	u64 flushed[NR_CRAM_STATS];
};

/**
 * struct cram_levy - what a cgroup has to give of a node that is short of cells
 * @own: pages of the cgroup itself that it can give
 * @payable: pages of the subtree that it can
 * @over: as many of these as are over cram.low
 * @subtree: of these, eviction wants so many
 * @share: of those of the cgroup itself, so many still
 * @carry: what was due of it by now beyond what it gave, in fractions of a page,
 *	CRAM_PAGE_SHIFT; so that in the long run all give what is due, to the page
 * @own_carry: the same of the pages of the cgroup itself
 * @rounds: in a row, in which it was spared and gave less than its share
 * @spared: in this round, because it was read
 * @failed: it gave nothing in a round, though it has pages
 * @broke: ... nor in the next
 * @broke_until: ... which is believed so long, in jiffies
 *
 * All for the one worker that relieves this node.
 */
struct cram_levy {
	unsigned long own;
	unsigned long payable;
	unsigned long over;
	unsigned long subtree;
	unsigned long share;
	s32 carry;
	s32 own_carry;
	u8 rounds;
	bool spared;
	bool failed;
	bool broke;
	unsigned long broke_until;
};

/**
 * struct cram_cgroup - the books of one cgroup
 * @css: of the controller
 * @resident: pages of the subtree that are resident, and cram.max
 * @writable: pages of the subtree that are upgraded, and the budget if there is
 *	one here
 * @budget_inherit: cram.writable_budget says so; written under cram_config_lock
 * @owner: stands for this cgroup in the slots; the parent's if @lodger. With a
 *	reference, set from css_alloc() or css_online() until css_free().
 * @lodger: there was no id left for an owner of its own, so its pages are in the
 *	books of the nearest ancestor that is none. Nor have its descendants any.
 * @dying: its owner is about to lead to the parent, the numbers here are void
 * @nodes: what cram.nodes permits; written under cram_rights_lock, tested bit by bit
 *	without
 * @nodes_all: cram.nodes is empty: all that the parent has. Under cram_rights_lock.
 * @events_file: cram.events
 * @events_local_file: cram.events.local
 * @events: of the subtree
 * @events_local: of this cgroup
 * @peaks_lock: for @peaks
 * @peaks: open cram.peak files that were reset
 * @cpu: statistics on their way
 * @stat: of the subtree, as of the last flush
 * @pending: flushed by children and not by this one yet
 * @hot_refused: pages of the subtree that were hot and stayed for want of memory;
 *	each time that one was found
 * @sampled: pages of the subtree that are in the sample of mm/cram/sample.c
 * @sampled_bytes: what these take, compressed
 * @page_max: cram.page.max in bytes, U64_MAX for none
 * @unfit: so many pages of this cgroup in a row did not keep to such a rule. With
 *	@unfit_until a hint, which may miss some.
 * @unfit_until: for so long reclaim need not try
 * @low: cram.low in pages
 * @node: by node, nr_node_ids of them: pages of the subtree that are resident,
 *	cram.node.max, and what is wanted of it when the node is short of cells
 */
struct cram_cgroup {
	struct cgroup_subsys_state css;
	struct page_counter resident;

	struct page_counter writable;
	bool budget_inherit;

	struct cram_owner *owner;
	bool lodger;
	bool dying;

	nodemask_t nodes;
	bool nodes_all;

	struct cgroup_file events_file;
	struct cgroup_file events_local_file;
	atomic64_t events[NR_CRAM_EVENTS];
	atomic64_t events_local[NR_CRAM_EVENTS];

	spinlock_t peaks_lock; /* @peaks */
	struct list_head peaks;

	struct cram_cgroup_cpu __percpu *cpu;
	u64 stat[NR_CRAM_STATS];
	u64 pending[NR_CRAM_STATS];

	atomic64_t hot_refused;

	atomic_long_t sampled;
	atomic_long_t sampled_bytes;
	u64 page_max;
	unsigned int unfit;
	unsigned long unfit_until;

	unsigned long low;

	struct {
		atomic_long_t resident;
		unsigned long max;
		struct cram_levy levy;
	} node[];
};

/* For cram.writable_budget of all cgroups */
static DEFINE_MUTEX(cram_config_lock);

/*
 * For cram.nodes of all cgroups. Not a mutex: whoever may read the file could sleep
 * with it, and keep others waiting who may write it.
 */
static DEFINE_SPINLOCK(cram_rights_lock);

static struct cram_cgroup *css_cram(struct cgroup_subsys_state *css)
{
	return css ? container_of(css, struct cram_cgroup, css) : NULL;
}

static struct cram_cgroup *cram_parent(struct cram_cgroup *cg)
{
	return css_cram(cg->css.parent);
}

/* ---------------------------------------------------------------- charges -- */

/**
 * cram_cgroup_of - whose books pages of a memory cgroup are in
 * @memcg: the memory cgroup, %NULL for the root
 *
 * Context: RCU.
 * Return: never %NULL once cgroups are initialised.
 */
struct cram_cgroup *cram_cgroup_of(struct mem_cgroup *memcg)
{
	struct cgroup *cgrp = memcg ? memcg->css.cgroup : &cgrp_dfl_root.cgrp;

	return css_cram(cgroup_e_css(cgrp, &cram_cgrp_subsys));
}

/**
 * cram_cgroup_owner - what to write into a slot for this cgroup
 * @cg: the books
 *
 * Charge what cram_owner_books() then says, which need not be @cg: it may go
 * offline at this moment, or have no owner of its own.
 *
 * Context: RCU.
 * Return: an owner without a reference. It cannot be freed before
 * @cg, so cram_owner_tryget() succeeds.
 */
struct cram_owner *cram_cgroup_owner(struct cram_cgroup *cg)
{
	return cg->owner;
}

/**
 * cram_cgroup_node_allowed - do cram.nodes of the cgroup and above permit it?
 * @cg: the books
 * @nid: a cram node
 *
 * Context: RCU.
 * Return: true if the cgroup and all above it permit the node.
 */
bool cram_cgroup_node_allowed(struct cram_cgroup *cg, int nid)
{
	for (; cg; cg = cram_parent(cg))
		if (!node_isset(nid, cg->nodes))
			return false;
	return true;
}

/*
 * Pages charged above cannot be held to a number here: with a number, nothing is
 * demoted. See @lodger.
 */
static bool cram_lodger_full(struct cram_cgroup *cg, int nid)
{
	if (!cg->lodger)
		return false;
	if (nid != NUMA_NO_NODE)
		return READ_ONCE(cg->node[nid].max) != PAGE_COUNTER_MAX;
	return READ_ONCE(cg->resident.max) != PAGE_COUNTER_MAX ||
	       !READ_ONCE(cg->budget_inherit);
}

static bool cram_node_full(struct cram_cgroup *cg, int nid, unsigned long nr)
{
	return atomic_long_read(&cg->node[nid].resident) + nr > READ_ONCE(cg->node[nid].max);
}

/**
 * cram_cgroup_limiting - whose limit up the tree has no space for pages?
 * @cg: the books
 * @nid: the node for cram.node.max, or %NUMA_NO_NODE for cram.max
 * @nr: how many pages
 *
 * A hint; cram_cgroup_try_charge() decides.
 *
 * Context: RCU.
 * Return: %NULL when there is space.
 */
struct cram_cgroup *cram_cgroup_limiting(struct cram_cgroup *cg, int nid, unsigned long nr)
{
	for (; cg; cg = cram_parent(cg)) {
		if (cram_lodger_full(cg, nid))
			break;
		if (nid != NUMA_NO_NODE) {
			if (cram_node_full(cg, nid, nr))
				break;
		} else if (page_counter_read(&cg->resident) + nr >
			   READ_ONCE(cg->resident.max)) {
			break;
		}
	}
	return cg;
}

/*
 * No more than the limit, not even for a moment: others would be refused that would
 * have had space after it.
 */
static bool cram_node_try_charge(struct cram_cgroup *cg, int nid, unsigned long nr)
{
	atomic_long_t *resident = &cg->node[nid].resident;
	long old = atomic_long_read(resident);

	do {
		if (old + nr > READ_ONCE(cg->node[nid].max))
			return false;
	} while (!atomic_long_try_cmpxchg(resident, &old, old + nr));

	/*
	 * Who lowers the limit looks at what is resident after that. If that was
	 * before the exchange, the new limit is seen here.
	 */
	if (old + nr <= READ_ONCE(cg->node[nid].max))
		return true;
	atomic_long_sub(nr, resident);
	return false;
}

/**
 * cram_cgroup_try_charge - charge pages of one node
 * @cg: the books
 * @nid: the node
 * @nr: how many pages
 *
 * One who is refused has refused nobody else: what is full already is asked before
 * anything is charged. What is left is that of several who want the last pages at
 * the same moment, one that wants many can be in the way of one that wants few, as
 * in page_counter_try_charge().
 *
 * Context: RCU.
 * Return: false when a limit up the tree is reached.
 */
bool cram_cgroup_try_charge(struct cram_cgroup *cg, int nid, unsigned long nr)
{
	struct page_counter *fail;
	struct cram_cgroup *c, *over;

	if (cram_cgroup_limiting(cg, nid, nr) ||
	    !page_counter_try_charge(&cg->resident, nr, &fail))
		return false;
	for (over = cg; over; over = cram_parent(over))
		if (!cram_node_try_charge(over, nid, nr))
			break;
	if (!over)
		return true;

	for (c = cg; c != over; c = cram_parent(c))
		atomic_long_sub(nr, &c->node[nid].resident);
	page_counter_uncharge(&cg->resident, nr);
	return false;
}

/**
 * cram_cgroup_uncharge - give back what was charged
 * @cg: the books that were charged, or since then an ancestor's
 * @nid: the node
 * @nr: how many pages
 *
 * Context: RCU, otherwise any.
 */
void cram_cgroup_uncharge(struct cram_cgroup *cg, int nid, unsigned long nr)
{
	page_counter_uncharge(&cg->resident, nr);
	for (; cg; cg = cram_parent(cg))
		atomic_long_sub(nr, &cg->node[nid].resident);
}

/* ------------------------------------------------------- writable budgets -- */

/*
 * cram.writable_budget.effective in pages: the least number here or above, and 0
 * where there is none. RCU.
 */
static unsigned long cram_budget(struct cram_cgroup *cg)
{
	unsigned long least = PAGE_COUNTER_MAX;
	bool any = false;

	for (; cg; cg = cram_parent(cg)) {
		/* Pairs with cram_set_budget(): then the number is seen, too */
		if (smp_load_acquire(&cg->budget_inherit))
			continue;
		any = true;
		least = min(least, READ_ONCE(cg->writable.max));
	}
	return any ? least : 0;
}

/**
 * cram_cgroup_charge_writable - charge pages to all budgets that bind them
 * @cg: the books
 * @nr: how many pages
 *
 * Without a budget, or with one of 0, nothing but that is looked at, and nobody
 * is told: every write of the cgroup comes by here.
 *
 * Context: RCU, not NMI.
 * Return: false when there is no budget, or none left.
 */
bool cram_cgroup_charge_writable(struct cram_cgroup *cg, unsigned long nr)
{
	struct cram_cgroup *over;
	struct page_counter *fail;

	if (!cram_budget(cg))
		return false;
	/*
	 * A counter tries by exceeding its limit. Who looks then, would revoke;
	 * so do not try when it is known to fail.
	 */
	for (over = cg; over; over = cram_parent(over))
		if (page_counter_read(&over->writable) + nr > READ_ONCE(over->writable.max))
			break;
	if (!over && page_counter_try_charge(&cg->writable, nr, &fail))
		return true;
	if (!over)
		over = container_of(fail, struct cram_cgroup, writable);
	cram_cgroup_event(over, CRAM_EVENT_BUDGET);
	return false;
}

/**
 * cram_cgroup_uncharge_writable - give back what was charged
 * @cg: the books that were charged, or since then an ancestor's
 * @nr: how many pages
 *
 * Context: RCU, otherwise any.
 */
void cram_cgroup_uncharge_writable(struct cram_cgroup *cg, unsigned long nr)
{
	page_counter_uncharge(&cg->writable, nr);
}

/**
 * cram_cgroup_writable - pages of a cgroup's subtree that are upgraded
 * @cg: the books
 *
 * Context: any.
 * Return: number of pages.
 */
unsigned long cram_cgroup_writable(struct cram_cgroup *cg)
{
	return page_counter_read(&cg->writable);
}

/**
 * cram_cgroup_excess - by how much is a budget exceeded?
 * @cg: the cgroup with the number
 *
 * Return: so many more pages of the subtree are writable than the number permits.
 */
unsigned long cram_cgroup_excess(struct cram_cgroup *cg)
{
	unsigned long writable = page_counter_read(&cg->writable);
	unsigned long max = READ_ONCE(cg->writable.max);

	return writable > max ? writable - max : 0;
}

/**
 * cram_cgroup_over_budget - have pages of this cgroup to be revoked?
 * @cg: the books
 * @top: this cgroup or an ancestor, whose number it is about
 *
 * Context: RCU.
 * Return: how many, of which others in the subtree of @top may give a part;
 * %ULONG_MAX where there is no budget and nothing may be writable.
 */
unsigned long cram_cgroup_over_budget(struct cram_cgroup *cg, struct cram_cgroup *top)
{
	return cram_budget(cg) ? cram_cgroup_excess(top) : ULONG_MAX;
}

/*
 * In a walk over cgroups: let others have the CPU, and RCU its grace period, if
 * they want it. The walk can go on from @cg, what else was found under RCU is void.
 */
static void cram_walk_pause(struct cram_cgroup *cg)
{
	/* One that is about to be online may fail to, and is freed then with references */
	if (!need_resched() || !css_is_online(&cg->css) || !css_tryget(&cg->css))
		return;
	rcu_read_unlock();
	cond_resched();
	rcu_read_lock();
	/* It may be the last one; RCU keeps the css until the next pause */
	css_put(&cg->css);
}

/**
 * cram_cgroup_next_over - walk the cgroups in whose subtree more may be writable
 *	than some budget permits
 * @prev: the last one, or %NULL to start
 *
 * Context: process, may sleep.
 * Return: the next in pre-order with a reference, that of @prev being dropped,
 * or %NULL after the last.
 */
struct cram_cgroup *cram_cgroup_next_over(struct cram_cgroup *prev)
{
	struct cram_cgroup *cg;

	rcu_read_lock();
	for (cg = cram_cgroup_next(prev); cg; cg = cram_cgroup_next(cg)) {
		if ((cram_cgroup_excess(cg) ||
		     (!cram_budget(cg) && page_counter_read(&cg->writable))) &&
		    css_tryget(&cg->css))
			break;
		cram_walk_pause(cg);
	}
	rcu_read_unlock();
	if (prev)
		css_put(&prev->css);
	return cg;
}

/* ---------------------------------------------------------------- content -- */

/**
 * cram_cgroup_sample - a sampled page comes or goes
 * @cg: the books that are charged for it
 * @nr: how many, negative when they go
 * @bytes: what they take, compressed, with the same sign
 *
 * Context: RCU, otherwise any.
 */
void cram_cgroup_sample(struct cram_cgroup *cg, long nr, long bytes)
{
	for (; cg; cg = cram_parent(cg)) {
		atomic_long_add(nr, &cg->sampled);
		atomic_long_add(bytes, &cg->sampled_bytes);
	}
}

/**
 * cram_cgroup_sampled_bytes - what the sampled pages of a cgroup's subtree take
 * @cg: the books
 *
 * Context: any.
 * Return: bytes.
 */
long cram_cgroup_sampled_bytes(struct cram_cgroup *cg)
{
	return atomic_long_read(&cg->sampled_bytes);
}

/**
 * cram_cgroup_page_max - how well have pages to compress?
 * @cg: the books
 *
 * Context: RCU.
 * Return: bytes that one may take at most, by the strictest rule up the tree;
 * U64_MAX when there is none.
 */
u64 cram_cgroup_page_max(struct cram_cgroup *cg)
{
	u64 max = U64_MAX;

	for (; cg; cg = cram_parent(cg))
		max = min(max, READ_ONCE(cg->page_max));
	return max;
}

/**
 * cram_cgroup_content - a page was compressed, because there is a rule
 * @cg: whose page
 * @fits: it keeps to the rule
 *
 * Context: RCU.
 */
void cram_cgroup_content(struct cram_cgroup *cg, bool fits)
{
	if (!fits) {
		WRITE_ONCE(cg->unfit, READ_ONCE(cg->unfit) + 1);
		WRITE_ONCE(cg->unfit_until, jiffies + CRAM_UNFIT_TIME);
	} else if (READ_ONCE(cg->unfit)) {
		WRITE_ONCE(cg->unfit, 0);
	}
}

/**
 * cram_cgroup_unfit - is it useless for reclaim to try to demote pages of this cgroup?
 * @cg: the books
 *
 * Without swap, anonymous pages are scanned only for cram; to compress them all
 * over and over would keep an OOM killer waiting that comes in the end.
 *
 * Context: RCU.
 * Return: true while it is not worth offering pages of the cgroup.
 */
bool cram_cgroup_unfit(struct cram_cgroup *cg)
{
	return READ_ONCE(cg->unfit) >= CRAM_UNFIT_PAGES &&
	       time_before(jiffies, READ_ONCE(cg->unfit_until));
}

/* -------------------------------------------------- shares of an eviction -- */

static long cram_resident_here(struct cram_cgroup *cg, int nid)
{
	return max(atomic_long_read(&cg->node[nid].resident), 0L);
}

/* How far this subtree is over its cram.low, but no more than it has on the node */
static unsigned long cram_excess(struct cram_cgroup *cg, int nid)
{
	unsigned long resident = page_counter_read(&cg->resident);
	unsigned long low = READ_ONCE(cg->low);

	return min_t(unsigned long, resident - min(low, resident),
		     cram_resident_here(cg, nid));
}

/* How many more pages may the cgroup have in swap, and are there for it? RCU. */
static unsigned long cram_swap_left(struct cram_cgroup *cg)
{
	struct cgroup_subsys_state *css;

	KUNIT_STATIC_STUB_REDIRECT(cram_swap_left, cg);
	css = cgroup_e_css(cg->css.cgroup, &memory_cgrp_subsys);
	return max(mem_cgroup_get_nr_swap_pages(mem_cgroup_from_css(css)), 0L);
}

static bool cram_is_broke(struct cram_levy *levy)
{
	levy->broke &= time_before(jiffies, levy->broke_until);
	return levy->broke;
}

/*
 * Fractions of a page that are carried. A division is exact among 2^18 cgroups. No more
 * is carried than one run of relief wants, so nobody pays for a past that is long over.
 */
#define CRAM_PAGE_SHIFT		20
#define CRAM_CARRY_MAX		(1024 << CRAM_PAGE_SHIFT)

static s32 cram_carry(s64 due)
{
	return clamp_t(s64, due, -CRAM_CARRY_MAX, CRAM_CARRY_MAX);
}

static s32 cram_carry_pages(s32 carry, long nr)
{
	return cram_carry(carry + ((s64)nr << CRAM_PAGE_SHIFT));
}

/*
 * What can @cg give? Its children have been asked before. The numbers of one that is
 * removed are void, its pages are among those of its parent. RCU.
 *
 * The last round may have ended before all was given, as there were cells enough. Who
 * was not reached by then is not taken for one who paid.
 */
static void cram_assess(struct cram_cgroup *cg, int nid)
{
	struct cram_levy *levy = &cg->node[nid].levy;
	unsigned long own = cram_resident_here(cg, nid), below = 0;
	struct cgroup_subsys_state *css;

	levy->own_carry = cram_carry_pages(levy->own_carry, levy->share);
	levy->subtree = levy->share;

	css_for_each_child(css, &cg->css) {
		struct cram_cgroup *child = css_cram(css);

		if (!cram_cgroup_alive(child))
			continue;
		own -= min_t(unsigned long, own, cram_resident_here(child, nid));
		below += child->node[nid].levy.payable;
		levy->subtree += child->node[nid].levy.subtree;
	}
	levy->carry = cram_carry_pages(levy->carry, levy->subtree);
	levy->own = cram_is_broke(levy) ? 0 : own;
	levy->payable = levy->own + below;
	if (levy->payable)
		levy->payable = min(levy->payable, cram_swap_left(cg));
	levy->over = min(levy->payable, cram_excess(cg, nid));
	levy->share = 0;
	levy->spared = false;
}

/*
 * @wanted, to be divided in proportion to parts of @all
 *
 * @seen of @all so far, of which @due; @left of that, and of what was carried, is
 * nobody's yet; @given is. @nr parts are not 0, and have @carried.
 */
struct cram_division {
	unsigned long wanted, all;
	unsigned long seen, given;
	u64 due;
	s64 left, carried;
	s32 mean;
	unsigned int nr;
};

/* First all parts are counted ... */
static void cram_count_part(struct cram_division *d, unsigned long part, s32 carry)
{
	if (!part)
		return;
	d->all += part;
	d->carried += carry;
	d->nr++;
}

/*
 * ... then it begins. What was carried by those who are no longer asked is nobody's:
 * the others carry nothing altogether, or a bit more than that, never less, for then
 * nobody might give a last page.
 */
static void cram_divide(struct cram_division *d, unsigned long wanted)
{
	d->wanted = min(wanted, d->all);
	d->left = 1 << (CRAM_PAGE_SHIFT - 1);
	d->mean = d->nr ? div_s64(d->carried, d->nr) - 1 : 0;
}

/*
 * The next part, in whole pages: what is due of it, what it carries, and what its
 * siblings before it have left. All parts together are what is wanted, and none is
 * more than there is of it. So siblings that have given too much before take nothing
 * from what is wanted of those behind them.
 */
static unsigned long cram_part_of(struct cram_division *d, unsigned long part, s32 *carry)
{
	u64 before = d->due;
	unsigned long give;
	s64 due;

	if (!part || !d->wanted)
		return 0;
	if (d->wanted == d->all) {
		d->given += part;
		return part;
	}
	d->seen += part;
	d->due = mul_u64_u64_div_u64(d->seen, (u64)d->wanted << CRAM_PAGE_SHIFT, d->all);
	due = (s64)(d->due - before) + *carry - d->mean;
	d->left = max(d->left + due, 0);
	give = min3((unsigned long)(d->left >> CRAM_PAGE_SHIFT), part, d->wanted - d->given);
	d->left -= (s64)give << CRAM_PAGE_SHIFT;
	d->given += give;
	*carry = cram_carry(due - ((s64)give << CRAM_PAGE_SHIFT));
	return give;
}

/* A cgroup that carries much and has little cannot give it all: others have @more */
static unsigned long cram_stand_in(struct cram_division *d, unsigned long more, s32 *carry)
{
	more = min(more, d->wanted - d->given);
	d->given += more;
	*carry = cram_carry_pages(*carry, -(long)more);
	return more;
}

/*
 * Divide what @cg is to give among its children and what is its own, as far as they
 * are over their cram.low. What is wanted beyond that comes from all: then protection
 * protects nobody from the others. One of the two divisions at most has fractions, as
 * then all of the other is wanted, or nothing. RCU.
 */
static void cram_share_below(struct cram_cgroup *cg, int nid)
{
	struct cram_levy *levy = &cg->node[nid].levy;
	struct cram_division excess = {}, rest = {};
	struct cgroup_subsys_state *css;
	unsigned long most;

	cram_count_part(&excess, levy->own, levy->own_carry);
	css_for_each_child(css, &cg->css) {
		struct cram_levy *child = &css_cram(css)->node[nid].levy;

		child->subtree = 0;
		if (!cram_cgroup_alive(css_cram(css)))
			continue;
		cram_count_part(&excess, child->over, child->carry);
		cram_count_part(&rest, child->payable - child->over, child->carry);
	}
	if (!levy->subtree)
		return;

	cram_divide(&excess, levy->subtree);
	cram_divide(&rest, levy->subtree - excess.wanted);
	levy->share = cram_part_of(&excess, levy->own, &levy->own_carry);
	css_for_each_child(css, &cg->css) {
		struct cram_levy *child = &css_cram(css)->node[nid].levy;

		if (cram_cgroup_alive(css_cram(css)))
			child->subtree = cram_part_of(&excess, child->over, &child->carry) +
					 cram_part_of(&rest, child->payable - child->over,
						      &child->carry);
	}
	if (excess.given + rest.given == levy->subtree)
		return;

	levy->share += cram_stand_in(&excess, levy->own - levy->share, &levy->own_carry);
	css_for_each_child(css, &cg->css) {
		struct cram_levy *child = &css_cram(css)->node[nid].levy;

		if (!cram_cgroup_alive(css_cram(css)))
			continue;
		most = rest.wanted ? child->payable : child->over;
		child->subtree += cram_stand_in(rest.wanted ? &rest : &excess,
						most - child->subtree, &child->carry);
	}
}

/* Of the tree below @top. RCU. */
static unsigned long cram_share_eviction(struct cram_cgroup *top, int nid, unsigned long nr)
{
	struct cram_levy *levy = &top->node[nid].levy;
	struct cgroup_subsys_state *css;

	css_for_each_descendant_post(css, &top->css)
		cram_assess(css_cram(css), nid);
	levy->subtree = min(nr, levy->payable);
	css_for_each_descendant_pre(css, &top->css)
		cram_share_below(css_cram(css), nid);
	return levy->subtree;
}

/**
 * cram_cgroup_share_eviction - who has to give pages for want of cells?
 * @nid: the node that is short
 * @nr: how many pages altogether
 *
 * At each level of the tree, cgroups that are over their cram.low share what
 * their parent has to give in proportion to the excess, and none gives more than
 * that; pages of the parent itself are all excess. What all excess does not cover
 * comes from all, in proportion to what they have beyond it.
 *
 * Only what can go to swap counts, for the excess too: who has no swap, or no more,
 * by memory.swap.max here or above, does not pay, and the others do. The same is true
 * of who could not pay in the last round.
 *
 * All cgroups in one RCU section, without a pause: what a parent has to give is
 * divided by what its children can, and who comes or goes between the two would have
 * others pay for it. Each costs about a microsecond, so that 10,000 take some ten
 * milliseconds (the arithmetic on one CPU of a server, with cgroups scattered in
 * memory). That is once for each round of relief, by a worker.
 *
 * Context: the worker that relieves this node.
 * Return: the sum of all shares, which is @nr, or what there is to be given.
 */
unsigned long cram_cgroup_share_eviction(int nid, unsigned long nr)
{
	guard(rcu)();
	return cram_share_eviction(cram_cgroup_next(NULL), nid, nr);
}

/**
 * cram_cgroup_evict_share - does eviction want pages of this cgroup?
 * @cg: the books
 * @nid: for this node
 *
 * Context: the worker that relieves this node.
 * Return: how many it still wants.
 */
unsigned long cram_cgroup_evict_share(struct cram_cgroup *cg, int nid)
{
	return cg->node[nid].levy.share;
}

/**
 * cram_cgroup_gave - pages of this cgroup are being evicted
 * @cg: the books
 * @nid: for this node
 * @nr: how many
 *
 * Context: the worker that relieves this node.
 */
void cram_cgroup_gave(struct cram_cgroup *cg, int nid, unsigned long nr)
{
	struct cram_levy *levy = &cg->node[nid].levy;

	levy->share -= min(nr, levy->share);
	levy->failed &= !nr;
	/* With what is read: next time it may try without again */
	if (!levy->share)
		levy->rounds = levy->rounds < CRAM_SPARED_ROUNDS ? 0 : CRAM_SPARED_ROUNDS - 1;
}

/**
 * cram_cgroup_spare - is a page of this cgroup spared that was read?
 * @cg: the books
 * @nid: for this node
 *
 * Context: the worker that relieves this node.
 * Return: false when the cgroup did not give its share round after round,
 * because all that it has is read.
 */
bool cram_cgroup_spare(struct cram_cgroup *cg, int nid)
{
	struct cram_levy *levy = &cg->node[nid].levy;

	if (levy->rounds >= CRAM_SPARED_ROUNDS)
		return false;
	levy->spared = true;
	return true;
}

/* A round is over. Who was spared owes its share still; returns that. */
static unsigned long cram_levy_over(struct cram_levy *levy)
{
	if (!levy->share)
		return 0;
	if (levy->spared) {
		levy->rounds++;
		levy->spared = false;
	} else if (!levy->failed) {
		/* Somebody may have looked at its pages just then, as migration does */
		levy->failed = true;
	} else {
		levy->share = 0;
		levy->broke = true;
		levy->broke_until = jiffies + CRAM_BROKE_TIME;
	}
	return levy->share;
}

/**
 * cram_cgroup_round_over - all pages of the node were looked at
 * @nid: the node
 *
 * A cgroup that owes pages after two rounds and was not spared cannot pay, for any reason:
 * pages are locked or held, or of a memory cgroup further down that has no swap. Who was
 * spared has to pay in the next round: if what it owes were divided anew, those would
 * pay for it whose pages happened to be looked at before.
 *
 * Context: the worker that relieves this node.
 * Return: how many pages are owed still.
 */
unsigned long cram_cgroup_round_over(int nid)
{
	unsigned long owed = 0;
	struct cram_cgroup *cg;

	rcu_read_lock();
	for (cg = cram_cgroup_next(NULL); cg; cg = cram_cgroup_next(cg)) {
		owed += cram_levy_over(&cg->node[nid].levy);
		cram_walk_pause(cg);
	}
	rcu_read_unlock();
	return owed;
}

/* ---------------------------------------------- what else the engine asks -- */

/**
 * cram_cgroup_is_descendant - is this cgroup in that subtree?
 * @cg: the one
 * @root: the top of the subtree
 *
 * Context: RCU, or a reference to both.
 * Return: true also for @root itself.
 */
bool cram_cgroup_is_descendant(struct cram_cgroup *cg, struct cram_cgroup *root)
{
	return cgroup_is_descendant(cg->css.cgroup, root->css.cgroup);
}

/**
 * cram_cgroup_is_dying - is somebody removing this cgroup?
 * @cg: the books
 *
 * Removing it waits, with cgroup_mutex held, for all writes to its files.
 *
 * Context: any.
 * Return: true from the beginning of the removal on.
 */
bool cram_cgroup_is_dying(struct cram_cgroup *cg)
{
	return css_is_dying(&cg->css);
}

/**
 * cram_cgroup_resident - pages of a cgroup's subtree on a node
 * @cg: the books
 * @nid: the node, or %NUMA_NO_NODE for what cram.current says
 *
 * Context: any.
 * Return: number of pages.
 */
unsigned long cram_cgroup_resident(struct cram_cgroup *cg, int nid)
{
	return nid == NUMA_NO_NODE ? page_counter_read(&cg->resident) :
				     atomic_long_read(&cg->node[nid].resident);
}

/**
 * cram_count - count something that happened to pages
 * @cg: whose pages
 * @item: what happened, which is the key in cram.stat
 * @nr: to how many pages
 *
 * Each event counts once for the machine and once for the cgroup.
 *
 * Context: RCU, otherwise any.
 */
void cram_count(struct cram_cgroup *cg, enum cram_stat item, long nr)
{
	int cpu;

	/* The machine's counters stand in the same order, see cram_stat.h */
	count_vm_events(CRAM_DEMOTE + item, nr);

	cpu = get_cpu();
	this_cpu_add(cg->cpu->stat[item], nr);
	__css_rstat_updated(&cg->css, cpu);
	put_cpu();
}

/**
 * cram_cgroup_refuse_hot - hot pages stay where they are
 * @cg: the books
 * @nr: how many
 *
 * Not one of the machine's counters: what it takes to help is memory of a cgroup.
 *
 * Context: RCU, otherwise any.
 */
void cram_cgroup_refuse_hot(struct cram_cgroup *cg, long nr)
{
	for (; cg; cg = cram_parent(cg))
		atomic64_add(nr, &cg->hot_refused);
}

/**
 * cram_cgroup_event - for cram.events and whoever polls it
 * @cg: where it happened
 * @event: the key
 *
 * Context: RCU, not NMI.
 */
void cram_cgroup_event(struct cram_cgroup *cg, enum cram_event event)
{
	atomic64_inc(&cg->events_local[event]);
	cgroup_file_notify(&cg->events_local_file);

	for (; cram_parent(cg); cg = cram_parent(cg)) {
		atomic64_inc(&cg->events[event]);
		cgroup_file_notify(&cg->events_file);
	}
}

/*
 * Pages of a cgroup itself on a node; a hint while children come and go. RCU, which
 * may be let go of meanwhile; the caller has a reference.
 */
static bool cram_cgroup_has_own(struct cram_cgroup *cg, int nid)
{
	long nr = atomic_long_read(&cg->node[nid].resident);
	struct cgroup_subsys_state *child;

	css_for_each_child(child, &cg->css) {
		nr -= atomic_long_read(&css_cram(child)->node[nid].resident);
		cram_walk_pause(css_cram(child));
	}
	return nr > 0;
}

static void cram_cgroup_tell(struct cram_cgroup *cg, int nid, enum cram_event event)
{
	atomic64_inc(&cg->events[event]);
	cgroup_file_notify(&cg->events_file);
	if (cram_cgroup_has_own(cg, nid)) {
		atomic64_inc(&cg->events_local[event]);
		cgroup_file_notify(&cg->events_local_file);
	}
}

/**
 * cram_cgroup_node_event - something happened to a node, not to a cgroup
 * @nid: the node
 * @event: the key
 *
 * Counted once in each cgroup in whose subtree there are pages of that node. A
 * cgroup that comes or goes meanwhile may be left out.
 *
 * Context: process, may sleep.
 */
void cram_cgroup_node_event(int nid, enum cram_event event)
{
	struct cram_cgroup *cg;

	rcu_read_lock();
	for (cg = cram_cgroup_next(NULL); cg; cg = cram_cgroup_next(cg)) {
		if (atomic_long_read(&cg->node[nid].resident) > 0 &&
		    cram_cgroup_alive(cg) && css_is_online(&cg->css) &&
		    css_tryget(&cg->css)) {
			cram_cgroup_tell(cg, nid, event);
			css_put(&cg->css);
		}
		cram_walk_pause(cg);
	}
	rcu_read_unlock();
}

/**
 * cram_cgroup_alive - do the numbers of this cgroup mean anything?
 * @cg: the books
 *
 * Asked after owners have led to it. When a cgroup is removed, its pages are
 * the parent's from one moment to the next, and its own numbers stay behind.
 *
 * Context: RCU.
 * Return: false for a cgroup that was removed.
 */
bool cram_cgroup_alive(struct cram_cgroup *cg)
{
	/* Pairs with the barrier before the owner leads elsewhere */
	smp_rmb();
	return !READ_ONCE(cg->dying);
}

/**
 * cram_cgroup_next - walk all cgroups with books
 * @prev: the last one, or %NULL to start
 *
 * Context: RCU.
 * Return: the next in pre-order, or %NULL after the last.
 */
struct cram_cgroup *cram_cgroup_next(struct cram_cgroup *prev)
{
	struct cgroup_subsys_state *root = init_css_set.subsys[cram_cgrp_id];

	return css_cram(css_next_descendant_pre(prev ? &prev->css : NULL, root));
}

/* ------------------------------------------------------------------ files -- */

static u64 cram_current_read(struct cgroup_subsys_state *css, struct cftype *cft)
{
	return (u64)page_counter_read(&css_cram(css)->resident) * PAGE_SIZE;
}

static int cram_peak_open(struct kernfs_open_file *of)
{
	of_peak(of)->value = CRAM_PEAK_UNSET;
	return 0;
}

static void cram_peak_release(struct kernfs_open_file *of)
{
	struct cram_cgroup *cg = css_cram(of_css(of));
	struct cgroup_of_peak *ofp = of_peak(of);

	if (ofp->value == CRAM_PEAK_UNSET)
		return;
	spin_lock(&cg->peaks_lock);
	list_del(&ofp->list);
	spin_unlock(&cg->peaks_lock);
}

static int cram_peak_show(struct seq_file *sf, void *v)
{
	struct page_counter *resident = &css_cram(seq_css(sf))->resident;
	u64 peak = READ_ONCE(of_peak(sf->private)->value);

	if (peak == CRAM_PEAK_UNSET)
		peak = READ_ONCE(resident->watermark);
	else
		peak = max(peak, (u64)READ_ONCE(resident->local_watermark));

	seq_printf(sf, "%llu\n", peak * PAGE_SIZE);
	return 0;
}

/* Any write resets the peak for this open file, as with memory.peak */
static ssize_t cram_peak_write(struct kernfs_open_file *of, char *buf,
			       size_t nbytes, loff_t off)
{
	struct cram_cgroup *cg = css_cram(of_css(of));
	struct cgroup_of_peak *peer, *ofp = of_peak(of);
	unsigned long usage;

	spin_lock(&cg->peaks_lock);
	usage = page_counter_read(&cg->resident);
	WRITE_ONCE(cg->resident.local_watermark, usage);

	list_for_each_entry(peer, &cg->peaks, list)
		if (usage > peer->value)
			WRITE_ONCE(peer->value, usage);

	if (ofp->value == CRAM_PEAK_UNSET)
		list_add(&ofp->list, &cg->peaks);
	WRITE_ONCE(ofp->value, usage);
	spin_unlock(&cg->peaks_lock);

	return nbytes;
}

static void cram_show_limit(struct seq_file *sf, unsigned long max)
{
	if (max == PAGE_COUNTER_MAX)
		seq_puts(sf, "max\n");
	else
		seq_printf(sf, "%llu\n", (u64)max * PAGE_SIZE);
}

static int cram_max_show(struct seq_file *sf, void *v)
{
	cram_show_limit(sf, READ_ONCE(css_cram(seq_css(sf))->resident.max));
	return 0;
}

/*
 * "max", or decimal digits and at most one of K, M and G. Stricter than
 * memparse(), for which "0x" and "99999999999999999999" are numbers, and than
 * kstrtou64(), which takes a newline at the end: it would be before the unit here.
 */
static int cram_parse_u64(char *buf, u64 *bytes)
{
	size_t len = strlen(buf);
	unsigned int shift = 0;

	if (!strcmp(buf, "max")) {
		*bytes = U64_MAX;
		return 0;
	}
	if (!isdigit(*buf))
		return -EINVAL;

	switch (toupper(buf[len - 1])) {
	case 'G':
		shift += 10;
		fallthrough;
	case 'M':
		shift += 10;
		fallthrough;
	case 'K':
		shift += 10;
		buf[len - 1] = '\0';
	}
	if (strchr(buf, '\n') || kstrtou64(buf, 10, bytes) || *bytes > U64_MAX >> shift)
		return -EINVAL;
	*bytes <<= shift;
	return 0;
}

static int cram_parse_bytes(char *buf, unsigned long *nr_pages)
{
	u64 bytes;
	int err;

	err = cram_parse_u64(buf, &bytes);
	if (!err)
		*nr_pages = min_t(u64, bytes >> PAGE_SHIFT, PAGE_COUNTER_MAX);
	return err;
}

/*
 * Is the patience over, of so many jiffies, that begins when this is first asked with
 * *@end 0? That is after all pages were looked at once: on a large node, one look may
 * take longer than the patience.
 */
static bool cram_patience_is_over(unsigned long *end, unsigned long patience)
{
	if (!*end) {
		*end = jiffies + patience ?: 1;
		return false;
	}
	return time_after(jiffies, *end);
}

/*
 * Evict what is above a limit that was just set, the limit of @nid or, for
 * %NUMA_NO_NODE, of all nodes, and no more: what is being written counts as gone while
 * it is waited for. Gives up, with the limit in force, when nothing leaves any more, at
 * a signal, and when somebody else sets another.
 */
static void cram_enforce(struct cram_cgroup *cg, int nid, const unsigned long *limit,
			 unsigned long max)
{
	unsigned long least = ULONG_MAX, end = 0;

	/* There is nothing to wait for when a limit is raised */
	while (READ_ONCE(*limit) == max && cram_cgroup_resident(cg, nid) > max) {
		unsigned long leaving = cram_evict_leaving(cg, nid);
		unsigned long usage = cram_cgroup_resident(cg, nid);

		/* cgroup_rmdir() waits for us with cgroup_mutex held */
		if (usage <= max || signal_pending(current) || cram_cgroup_is_dying(cg))
			break;
		if (usage < least) {
			least = usage;
			end = 0;
		} else if (cram_patience_is_over(&end, CRAM_ENFORCE_TIME)) {
			break;
		}
		if (usage - max <= leaving ||
		    !cram_evict(cg, nid, usage - max - leaving, CRAM_EVICT_ANY, false))
			schedule_timeout_interruptible(CRAM_EVICT_PAUSE);
	}
}

static ssize_t cram_max_write(struct kernfs_open_file *of, char *buf,
			      size_t nbytes, loff_t off)
{
	struct cram_cgroup *cg = css_cram(of_css(of));
	unsigned long max;
	int err;

	err = cram_parse_bytes(strstrip(buf), &max);
	if (err)
		return err;

	xchg(&cg->resident.max, max);
	if (!(of->file->f_flags & O_NONBLOCK))
		cram_enforce(cg, NUMA_NO_NODE, &cg->resident.max, max);
	return nbytes;
}

static int cram_node_max_show(struct seq_file *sf, void *v)
{
	struct cram_cgroup *cg = css_cram(seq_css(sf));
	int nid;

	for (nid = 0; nid < nr_node_ids; nid++) {
		unsigned long max = READ_ONCE(cg->node[nid].max);

		if (max != PAGE_COUNTER_MAX)
			seq_printf(sf, "N%d %llu\n", nid, (u64)max * PAGE_SIZE);
	}
	return 0;
}

/* "N2 64M", "N2 max" */
static ssize_t cram_node_max_write(struct kernfs_open_file *of, char *buf,
				   size_t nbytes, loff_t off)
{
	struct cram_cgroup *cg = css_cram(of_css(of));
	unsigned long max;
	unsigned int nid;
	char *value;
	int err;

	value = strstrip(buf);
	buf = strsep(&value, " \t");
	if (!value || *buf != 'N' || !isdigit(buf[1]) || strchr(buf, '\n') ||
	    kstrtouint(buf + 1, 10, &nid))
		return -EINVAL;
	err = cram_parse_bytes(strstrip(value), &max);
	if (err)
		return err;
	if (nid >= nr_node_ids || !node_isset(nid, cram_nodes))
		return -ENODEV;

	xchg(&cg->node[nid].max, max);
	if (!(of->file->f_flags & O_NONBLOCK))
		cram_enforce(cg, nid, &cg->node[nid].max, max);
	return nbytes;
}

static int cram_low_show(struct seq_file *sf, void *v)
{
	cram_show_limit(sf, READ_ONCE(css_cram(seq_css(sf))->low));
	return 0;
}

static ssize_t cram_low_write(struct kernfs_open_file *of, char *buf,
			      size_t nbytes, loff_t off)
{
	unsigned long low;
	int err;

	err = cram_parse_bytes(strstrip(buf), &low);
	if (err)
		return err;
	WRITE_ONCE(css_cram(of_css(of))->low, low);
	return nbytes;
}

static int cram_page_max_show(struct seq_file *sf, void *v)
{
	u64 max = READ_ONCE(css_cram(seq_css(sf))->page_max);

	if (max == U64_MAX)
		seq_puts(sf, "max\n");
	else
		seq_printf(sf, "%llu\n", max);
	return 0;
}

/* Resident pages stay */
static ssize_t cram_page_max_write(struct kernfs_open_file *of, char *buf,
				   size_t nbytes, loff_t off)
{
	u64 max;
	int err;

	err = cram_parse_u64(strstrip(buf), &max);
	if (err)
		return err;
	WRITE_ONCE(css_cram(of_css(of))->page_max, max);
	return nbytes;
}

static int cram_parse_reclaim(char *buf, unsigned long *nr, enum cram_evict_to *to)
{
	char *option = strstrip(buf);
	int err;

	buf = strsep(&option, " \t");
	*to = CRAM_EVICT_ANY;
	if (option) {
		option = strstrip(option);
		if (!strcmp(option, "to=swap"))
			*to = CRAM_EVICT_SWAP;
		else if (!strcmp(option, "to=dram"))
			*to = CRAM_EVICT_DRAM;
		else
			return -EINVAL;
	}
	err = cram_parse_bytes(buf, nr);
	if (!err && *nr == PAGE_COUNTER_MAX)
		err = -EINVAL;
	return err;
}

/* Pages of the subtree that are not on their way to swap; some too many, never too few */
static unsigned long cram_staying(struct cram_cgroup *cg)
{
	unsigned long resident = cram_cgroup_resident(cg, NUMA_NO_NODE);

	return resident - min(resident, cram_evict_leaving(cg, NUMA_NO_NODE));
}

/*
 * "64M", "64M to=swap", "64M to=dram": evict so much now. Fails, as memory.reclaim
 * does, when less than that could be evicted; what was, was. What is being written
 * was, too. With O_NONBLOCK there is one attempt, which waits for nothing.
 */
static ssize_t cram_reclaim_write(struct kernfs_open_file *of, char *buf,
				  size_t nbytes, loff_t off)
{
	struct cram_cgroup *cg = css_cram(of_css(of));
	bool nowait = of->file->f_flags & O_NONBLOCK;
	unsigned long nr, before, wanted, end = 0;
	enum cram_evict_to to;
	int err;

	err = cram_parse_reclaim(buf, &nr, &to);
	if (err)
		return err;

	wanted = nr;
	before = nowait ? 0 : cram_staying(cg);
	while (nr) {
		unsigned long done, stay;

		/* As memory.reclaim: the freezer may interrupt it */
		if (signal_pending(current))
			return -ERESTARTSYS;
		/* cgroup_rmdir() waits for us with cgroup_mutex held */
		if (cram_cgroup_is_dying(cg))
			return -EAGAIN;
		done = cram_evict(cg, NUMA_NO_NODE, nr, to, nowait);
		nr -= done;
		if (nr && nowait)
			return -EAGAIN;
		if (done) {
			end = 0;
			continue;
		}
		stay = cram_staying(cg);
		/* Some may have left by another way, as a page that is written to does */
		if (stay < before && before - stay >= wanted)
			break;
		if (!stay || cram_patience_is_over(&end, CRAM_RECLAIM_TIME))
			return -EAGAIN;
		schedule_timeout_interruptible(CRAM_EVICT_PAUSE);
	}
	return nbytes;
}

static int cram_writable_budget_show(struct seq_file *sf, void *v)
{
	struct cram_cgroup *cg = css_cram(seq_css(sf));

	mutex_lock(&cram_config_lock);
	if (cg->budget_inherit)
		seq_puts(sf, "inherit\n");
	else
		cram_show_limit(sf, cg->writable.max);
	mutex_unlock(&cram_config_lock);
	return 0;
}

/* In force for all who charge from now on */
static void cram_set_budget(struct cram_cgroup *cg, bool inherit, unsigned long max)
{
	mutex_lock(&cram_config_lock);
	if (inherit)
		WRITE_ONCE(cg->budget_inherit, true);
	xchg(&cg->writable.max, max);
	/* A reader that sees that there is a number, sees which */
	smp_store_release(&cg->budget_inherit, inherit);
	mutex_unlock(&cram_config_lock);
}

/*
 * Pages charged under the former number are in the index after this, which takes some
 * ten milliseconds. Returns false, before that, when the cgroup is removed: cgroup_rmdir()
 * waits for us with cgroup_mutex held.
 */
static bool cram_wait_for_charges(struct cram_cgroup *cg)
{
	unsigned long cookie = start_poll_synchronize_rcu();

	while (!poll_state_synchronize_rcu(cookie)) {
		if (cram_cgroup_is_dying(cg))
			return false;
		schedule_timeout_uninterruptible(1);
	}
	return true;
}

/*
 * The number is in force at once. What is writable beyond it is taken back
 * before the write returns, unless a signal ends that, somebody has pages for
 * longer than CRAM_REVOKE_TIME, or O_NONBLOCK says not to wait; then a worker goes
 * on.
 */
static ssize_t cram_writable_budget_write(struct kernfs_open_file *of, char *buf,
					  size_t nbytes, loff_t off)
{
	struct cram_cgroup *cg = css_cram(of_css(of));
	unsigned long max = PAGE_COUNTER_MAX, end = 0;
	long delay = HZ / 100;
	bool inherit, over;
	int err;

	buf = strstrip(buf);
	inherit = !strcmp(buf, "inherit");
	err = inherit ? 0 : cram_parse_bytes(buf, &max);
	if (err)
		return err;

	cram_set_budget(cg, inherit, max);
	if (of->file->f_flags & O_NONBLOCK) {
		cram_want_revocation();
		return nbytes;
	}

	/*
	 * The first time takes as long as there are pages to take back, and then
	 * there are only those that somebody holds. CPUs do not: what waits there to
	 * be sorted into LRU lists is never of a private node.
	 */
	over = !cram_wait_for_charges(cg) || cram_revoke_cgroup(cg);
	while (over && !cram_cgroup_is_dying(cg)) {
		/* The freezer interrupts, and wants no error for it; so do some handlers */
		err = signal_pending(current) ? -ERESTARTSYS :
		      cram_patience_is_over(&end, CRAM_REVOKE_TIME) ? -EBUSY : 0;
		if (err)
			break;
		delay = min(2 * delay, HZ / 2);
		schedule_timeout_interruptible(delay);
		over = cram_revoke_cgroup(cg);
	}
	if (over)
		cram_want_revocation();
	return err ?: nbytes;
}

static int cram_writable_budget_effective_show(struct seq_file *sf, void *v)
{
	cram_show_limit(sf, cram_budget(css_cram(seq_css(sf))));
	return 0;
}

static u64 cram_writable_current_read(struct cgroup_subsys_state *css,
				      struct cftype *cft)
{
	return (u64)page_counter_read(&css_cram(css)->writable) * PAGE_SIZE;
}

static int cram_nodes_show(struct seq_file *sf, void *v)
{
	struct cram_cgroup *cg = css_cram(seq_css(sf));
	nodemask_t nodes;
	bool all;

	scoped_guard(spinlock, &cram_rights_lock) {
		nodes = cg->nodes;
		all = cg->nodes_all;
	}
	if (all)
		seq_puts(sf, "\n");
	else if (nodes_empty(nodes))
		seq_puts(sf, "none\n");
	else
		seq_printf(sf, "%*pbl\n", nodemask_pr_args(&nodes));
	return 0;
}

static ssize_t cram_nodes_write(struct kernfs_open_file *of, char *buf,
				size_t nbytes, loff_t off)
{
	struct cram_cgroup *cg = css_cram(of_css(of));
	nodemask_t nodes = NODE_MASK_NONE;
	bool all = false;

	buf = strstrip(buf);
	if (!*buf) {
		all = true;
	} else if (strcmp(buf, "none")) {
		/* The end of a list is a newline, whatever comes after it */
		if (strchr(buf, '\n') || nodelist_parse(buf, nodes) || nodes_empty(nodes))
			return -EINVAL;
	}
	if (!nodes_subset(nodes, cram_nodes))
		return -ENODEV;

	guard(spinlock)(&cram_rights_lock);
	cg->nodes = all ? NODE_MASK_ALL : nodes;
	cg->nodes_all = all;
	return nbytes;
}

static int cram_nodes_effective_show(struct seq_file *sf, void *v)
{
	struct cram_cgroup *cg = css_cram(seq_css(sf));
	nodemask_t nodes = NODE_MASK_NONE;
	int nid;

	rcu_read_lock();
	for_each_node_mask(nid, cram_nodes)
		if (cram_cgroup_node_allowed(cg, nid))
			node_set(nid, nodes);
	rcu_read_unlock();
	seq_printf(sf, "%*pbl\n", nodemask_pr_args(&nodes));
	return 0;
}

/* In the order of the enum, which is made from the same list */
#define CRAM_EVENT_NAME(upper, lower)	#lower,
static const char * const cram_event_names[] = { CRAM_EVENTS(CRAM_EVENT_NAME) };

static void cram_show_events(struct seq_file *sf, atomic64_t *events)
{
	int i;

	for (i = 0; i < NR_CRAM_EVENTS; i++)
		seq_printf(sf, "%s %lld\n", cram_event_names[i],
			   atomic64_read(&events[i]));
}

static int cram_events_show(struct seq_file *sf, void *v)
{
	cram_show_events(sf, css_cram(seq_css(sf))->events);
	return 0;
}

static int cram_events_local_show(struct seq_file *sf, void *v)
{
	cram_show_events(sf, css_cram(seq_css(sf))->events_local);
	return 0;
}

/*
 * Bytes that @resident pages take on the device, of which @sampled take @bytes. Without
 * a sample, as if nothing compressed. The three are read one after the other, and the
 * sample changes first when pages come and last when they go.
 */
static u64 cram_estimate(unsigned long resident, long sampled, long bytes)
{
	u64 most = (u64)resident * PAGE_SIZE;

	if (sampled <= 0 || bytes <= 0)
		return most;
	return min(most, mul_u64_u64_div_u64(resident, bytes, sampled));
}

static int cram_stat_show(struct seq_file *sf, void *v)
{
	struct cram_cgroup *cg = css_cram(seq_css(sf));
	unsigned long writable = page_counter_read(&cg->writable);
	unsigned long resident = page_counter_read(&cg->resident);
	int i;

	css_rstat_flush(&cg->css);
	for (i = 0; i < NR_CRAM_STATS; i++)
		seq_printf(sf, "%s %llu\n", cram_stat_names[i],
			   READ_ONCE(cg->stat[i]));
	seq_printf(sf, "promote_hot_refused %lld\n", atomic64_read(&cg->hot_refused));
	/* Of two numbers that change while they are read */
	seq_printf(sf, "readonly %llu\n",
		   (u64)(resident - min(writable, resident)) * PAGE_SIZE);
	seq_printf(sf, "writable %llu\n", (u64)writable * PAGE_SIZE);
	seq_printf(sf, "compressed_estimate %llu\n",
		   cram_estimate(resident, atomic_long_read(&cg->sampled),
				 atomic_long_read(&cg->sampled_bytes)));
	return 0;
}

static int cram_numa_stat_show(struct seq_file *sf, void *v)
{
	struct cram_cgroup *cg = css_cram(seq_css(sf));
	int nid;

	seq_puts(sf, "resident");
	for_each_node_mask(nid, cram_nodes)
		seq_printf(sf, " N%d=%llu", nid,
			   (u64)cram_cgroup_resident(cg, nid) * PAGE_SIZE);
	seq_putc(sf, '\n');
	return 0;
}

/* All but what has to be allocated */
static void cram_cgroup_init(struct cram_cgroup *cg, struct cram_cgroup *parent)
{
	int nid;

	INIT_LIST_HEAD(&cg->peaks);
	spin_lock_init(&cg->peaks_lock);
	page_counter_init(&cg->resident, parent ? &parent->resident : NULL, false);
	page_counter_init(&cg->writable, parent ? &parent->writable : NULL, false);
	cg->budget_inherit = true;
	cg->page_max = U64_MAX;
	for (nid = 0; nid < nr_node_ids; nid++)
		cg->node[nid].max = PAGE_COUNTER_MAX;
	cg->nodes = NODE_MASK_ALL;
	cg->nodes_all = true;
}

/* ------------------------------------------------------- life of a cgroup -- */

static struct cgroup_subsys_state *
cram_css_alloc(struct cgroup_subsys_state *parent_css)
{
	struct cram_cgroup *cg;

	cg = kzalloc(struct_size(cg, node, nr_node_ids), GFP_KERNEL_ACCOUNT);
	if (!cg)
		return ERR_PTR(-ENOMEM);
	if (!cram_should_fail())
		cg->cpu = alloc_percpu_gfp(struct cram_cgroup_cpu, GFP_KERNEL_ACCOUNT);
	if (!cg->cpu)
		goto free;
	cg->owner = cram_owner_alloc();
	if (!cg->owner)
		goto free_cpu;

	cram_cgroup_init(cg, css_cram(parent_css));
	return &cg->css;

free_cpu:
	free_percpu(cg->cpu);
free:
	kfree(cg);
	return ERR_PTR(-ENOMEM);
}

/* There is no id for it: the pages will be the parent's */
static void cram_lodge(struct cram_cgroup *cg, struct cram_cgroup *parent)
{
	struct cram_owner *own = cg->owner;

	pr_info_ratelimited("cram: no owner id is left, pages of a new cgroup will be its parent's\n");
	cg->lodger = true;
	cg->owner = parent->owner;
	/* The parent is online and has its own reference */
	cram_owner_tryget(cg->owner, 1);
	cram_owner_put(own, 1);
}

/*
 * All that can fail without harm is here, so that an owner that can be found is one of
 * a cgroup that can. The css is published after it.
 */
static int cram_css_online(struct cgroup_subsys_state *css)
{
	struct cram_cgroup *cg = css_cram(css), *parent = cram_parent(cg);
	int err;

	if (!parent)
		return cram_owner_register(cg->owner, cg, NULL);

	err = parent->lodger ? -EBUSY : cram_owner_register(cg->owner, cg, parent->owner);
	if (err)
		cram_lodge(cg, parent);
	return 0;
}

static void cram_css_offline(struct cgroup_subsys_state *css)
{
	struct cram_cgroup *cg = css_cram(css);

	WRITE_ONCE(cg->dying, true);
	/* Before the owner leads elsewhere: pairs with the barrier in cram_cgroup_alive() */
	smp_wmb();
	if (!cg->lodger)
		cram_owner_orphan(cg->owner);
}

/*
 * Nobody finds the css any more, nor has for a grace period. Until now somebody
 * could have, and have taken its owner from it. If it was never online, nobody knows
 * the owner, either.
 */
static void cram_css_free(struct cgroup_subsys_state *css)
{
	struct cram_cgroup *cg = css_cram(css);

	cram_owner_put(cg->owner, 1);
	free_percpu(cg->cpu);
	kfree(cg);
}

static void cram_css_rstat_flush(struct cgroup_subsys_state *css, int cpu)
{
	struct cram_cgroup *cg = css_cram(css), *parent = cram_parent(cg);
	struct cram_cgroup_cpu *c = per_cpu_ptr(cg->cpu, cpu);
	int i;

	for (i = 0; i < NR_CRAM_STATS; i++) {
		u64 now = READ_ONCE(c->stat[i]);
		u64 delta = now - c->flushed[i] + cg->pending[i];

		c->flushed[i] = now;
		cg->pending[i] = 0;
		cg->stat[i] += delta;
		if (parent)
			parent->pending[i] += delta;
	}
}

static struct cftype cram_files[] = {
	{
		.name = "nodes",
		.flags = CFTYPE_NOT_ON_ROOT,
		.seq_show = cram_nodes_show,
		.write = cram_nodes_write,
	},
	{
		.name = "nodes.effective",
		.flags = CFTYPE_NOT_ON_ROOT,
		.seq_show = cram_nodes_effective_show,
	},
	{
		.name = "max",
		.flags = CFTYPE_NOT_ON_ROOT,
		.seq_show = cram_max_show,
		.write = cram_max_write,
	},
	{
		.name = "node.max",
		.flags = CFTYPE_NOT_ON_ROOT,
		.seq_show = cram_node_max_show,
		.write = cram_node_max_write,
	},
	{
		.name = "page.max",
		.flags = CFTYPE_NOT_ON_ROOT,
		.seq_show = cram_page_max_show,
		.write = cram_page_max_write,
	},
	{
		.name = "low",
		.flags = CFTYPE_NOT_ON_ROOT,
		.seq_show = cram_low_show,
		.write = cram_low_write,
	},
	{
		.name = "reclaim",
		.flags = CFTYPE_NOT_ON_ROOT | CFTYPE_NS_DELEGATABLE,
		.write = cram_reclaim_write,
	},
	{
		.name = "current",
		.flags = CFTYPE_NOT_ON_ROOT,
		.read_u64 = cram_current_read,
	},
	{
		.name = "peak",
		.flags = CFTYPE_NOT_ON_ROOT,
		.open = cram_peak_open,
		.release = cram_peak_release,
		.seq_show = cram_peak_show,
		.write = cram_peak_write,
	},
	{
		.name = "writable_budget",
		.flags = CFTYPE_NOT_ON_ROOT,
		.seq_show = cram_writable_budget_show,
		.write = cram_writable_budget_write,
	},
	{
		.name = "writable_budget.effective",
		.flags = CFTYPE_NOT_ON_ROOT,
		.seq_show = cram_writable_budget_effective_show,
	},
	{
		.name = "writable_current",
		.flags = CFTYPE_NOT_ON_ROOT,
		.read_u64 = cram_writable_current_read,
	},
	{
		.name = "events",
		.flags = CFTYPE_NOT_ON_ROOT,
		.file_offset = offsetof(struct cram_cgroup, events_file),
		.seq_show = cram_events_show,
	},
	{
		.name = "events.local",
		.flags = CFTYPE_NOT_ON_ROOT,
		.file_offset = offsetof(struct cram_cgroup, events_local_file),
		.seq_show = cram_events_local_show,
	},
	{
		.name = "stat",
		.flags = CFTYPE_NOT_ON_ROOT,
		.seq_show = cram_stat_show,
	},
	{
		.name = "numa_stat",
		.flags = CFTYPE_NOT_ON_ROOT,
		.seq_show = cram_numa_stat_show,
	},
	{ }	/* terminate */
};

struct cgroup_subsys cram_cgrp_subsys = {
	.css_alloc	= cram_css_alloc,
	.css_online	= cram_css_online,
	.css_offline	= cram_css_offline,
	.css_free	= cram_css_free,
	.css_rstat_flush = cram_css_rstat_flush,
	.dfl_cftypes	= cram_files,
	.depends_on	= 1 << memory_cgrp_id,
};

#ifdef CONFIG_CRAM_KUNIT_TEST
#include "cram_test.c"
#endif
