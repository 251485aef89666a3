// SPDX-License-Identifier: GPL-2.0
/*
 * Writable budgets: who has more upgraded pages than it may, and which have to go.
 *
 * One work item looks after all of it. Where a cgroup or a node is over its budget,
 * it revokes the excess: from every owner in proportion to what it has, and of each
 * the pages that were not written to for longest. And it recycles: it revokes pages
 * that nobody writes to any more, so that the budget follows the pages that are
 * written. The dirty bits of entries tell which these are.
 */
#include <linux/jiffies.h>
#include <linux/mm.h>
#include <linux/sched/signal.h>
#include <linux/workqueue.h>
#include <linux/xarray.h>

#include "internal.h"

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

/* Pages over budget that somebody holds: look again after this, then twice this ... */
#define CRAM_RETRY_PERIOD	(HZ / 20)

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

/**
 * cram_budget_start - there is an upgraded page, the first of all nodes
 *
 * The worker looks after them while there are any.
 *
 * Context: any.
 */
void cram_budget_start(void)
{
	queue_delayed_work(system_dfl_wq, &cram_budget_work, CRAM_RECYCLE_PERIOD);
}

static void cram_report_revoked(struct cram_owner *owner, enum cram_stat item,
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
	return (s64)(READ_ONCE(cn->room.limit) - atomic64_read(&cn->room.begun)) +
	       (s64)(atomic64_read(&cn->room.done) - READ_ONCE(cn->room.done0));
}

static bool cram_node_closed(struct cram_node *cn)
{
	enum cram_node_state state = READ_ONCE(cn->state.now);

	/* A drain of an offline node revokes there, and may end in a moment */
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
	    atomic_long_read(&cn->budget.writable) > READ_ONCE(cn->budget.max))
		return true;
	return !READ_ONCE(cn->budget.override) &&
	       (room < 0 || (READ_ONCE(cn->room.short_of_room) &&
			     room < READ_ONCE(cn->room.margin) / 2));
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
	writable = atomic_long_read(&cn->budget.writable);
	if (cram_node_closed(cn))
		return max(writable, 0L);
	over = writable - min_t(unsigned long, READ_ONCE(cn->budget.max), LONG_MAX);
	if (!READ_ONCE(cn->budget.override))
		over = max_t(s64, over, READ_ONCE(cn->room.margin) - cram_room(cn));
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
	if (atomic_long_read(&cn->budget.writable) && cram_node_over(cn))
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
	struct cram_revoke_batch batch = { .owner = owner };
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
			    cram_revoke_add(&batch, pfn, xa_to_value(entry)))
				batch.page[batch.nr - 1].take = true;
		}
		want = cram_revoke_end(&batch);
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

	/* The pages first that were not written to for longest */
	for (age = CRAM_RECYCLE_AGE - 1; age >= 0 && nr < share; age--)
		nr += cram_revoke_aged(demand, owner, share - nr, age);
	cram_report_revoked(owner, CRAM_STAT_REVOKE, nr);
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
	struct cram_revoke_batch batch = { .owner = owner };
	void *entry;

	entry = xa_find(&owner->upgraded, &pfn, ULONG_MAX, XA_PRESENT);
	while (entry && asked < CRAM_RECYCLE_TURN) {
		for (; entry && batch.nr < CRAM_REVOKE_BATCH; asked++) {
			cram_revoke_add(&batch, pfn, xa_to_value(entry));
			entry = xa_find_after(&owner->upgraded, &pfn, ULONG_MAX, XA_PRESENT);
		}
		cram_revoke_ask(&batch);
		nr += cram_revoke_end(&batch);
		cond_resched();
	}
	WRITE_ONCE(owner->recycle_from, entry ? pfn : 0);
	if (!entry)
		WRITE_ONCE(owner->recycle_due, jiffies + CRAM_RECYCLE_PERIOD);
	cram_report_revoked(owner, CRAM_STAT_RECYCLE, nr);
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
