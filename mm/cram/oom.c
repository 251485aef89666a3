// SPDX-License-Identifier: GPL-2.0
/*
 * Before an OOM kill: room that is about to be proven is waited for.
 *
 * Room comes in steps of a reading, while reclaim gives up in microseconds. So who is
 * about to ask for a kill looks here first whether demotion fails for nothing but room
 * that may come, and waits for the readings that would prove it.
 */
#include <linux/memcontrol.h>
#include <linux/mm.h>
#include <linux/oom.h>
#include <linux/sched/signal.h>
#include <linux/wait.h>

#include "internal.h"

/* The machine's readings so far; an OOM killer in doubt waits for the next */
static atomic_t cram_nr_readings;
static DECLARE_WAIT_QUEUE_HEAD(cram_reading_wait);

/*
 * Two readings, with a trim before each. A healthy device takes some tens of
 * milliseconds for them; one that takes longer than this is of no help.
 */
#define CRAM_OOM_WAIT		(HZ / 2)

/**
 * cram_reading_ended - more room may be proven than before
 *
 * Context: process.
 */
void cram_reading_ended(void)
{
	atomic_inc(&cram_nr_readings);
	wake_up_all(&cram_reading_wait);
}

/*
 * Was @cg refused only for what may come back by itself? Cells, or, where all pages
 * are in use, those that are just being trimmed. RCU.
 */
static bool cram_room_may_come(struct cram_cgroup *cg)
{
	struct cram_node *cn;
	enum cram_stat why;
	int nid;

	for_each_node_mask(nid, cram_nodes) {
		cn = cram_node_get(nid);
		if (!cn)
			continue;
		why = cram_node_refusal(cn, cg, 1);
		if (why == CRAM_STAT_REFUSE_ROOM ||
		    (why == CRAM_STAT_REFUSE_STATE && cram_node_short(cn)) ||
		    (why == CRAM_STAT_REFUSE_PAGE && atomic_long_read(&cn->trim.freed) > 0)) {
			cram_want_reading(cn);
			return true;
		}
	}
	return false;
}

/* Is what @cg lacks taken by pages that are writable, and may be revoked? RCU. */
static bool cram_room_is_writable(struct cram_cgroup *cg)
{
	struct cram_node *cn;
	int nid;

	for_each_node_mask(nid, cram_nodes) {
		cn = cram_node_get(nid);
		if (cn && atomic_long_read(&cn->budget.writable) > 0 &&
		    cram_node_refusal(cn, cg, 1) == CRAM_STAT_REFUSE_ROOM)
			return true;
	}
	return false;
}

static bool cram_wait_is_over(struct mem_cgroup *memcg, int seen)
{
	struct cram_cgroup *cg;
	enum cram_stat why;

	/* The first of a node to end may have begun before; the second has not */
	if (atomic_read(&cram_nr_readings) - seen < 2 * nodes_weight(cram_nodes))
		return false;
	guard(rcu)();
	cg = cram_cgroup_of(memcg);
	/* Each of these readings may have pages revoked, which are room for the next */
	return cram_choose_node(cg, NUMA_NO_NODE, 1, &why) || !cram_room_is_writable(cg);
}

bool __cram_wait_for_room(struct mem_cgroup *memcg)
{
	struct cram_cgroup *cg;
	enum cram_stat why;
	int seen = atomic_read(&cram_nr_readings);
	bool wait;

	/* It has to come to its end, and may have what it charges for that */
	if (fatal_signal_pending(current) || current->flags & PF_EXITING)
		return false;
	rcu_read_lock();
	cg = cram_cgroup_of(memcg);
	wait = !cram_choose_node(cg, NUMA_NO_NODE, 1, &why) &&
	       why >= CRAM_STAT_REFUSE_STATE && cram_room_may_come(cg);
	rcu_read_unlock();
	if (!wait)
		return false;

	if (wait_event_killable_timeout(cram_reading_wait, cram_wait_is_over(memcg, seen),
					CRAM_OOM_WAIT) < 0)
		return false;
	rcu_read_lock();
	wait = !cram_choose_node(cram_cgroup_of(memcg), NUMA_NO_NODE, 1, &why);
	rcu_read_unlock();
	return !wait;
}

/* For so long the OOM notifier remembers that there was room */
#define CRAM_OOM_EPISODE	(10 * HZ)

static unsigned long cram_resident_pages(void)
{
	unsigned long pages = 0;
	struct cram_node *cn;
	int nid;

	guard(rcu)();
	for_each_node_mask(nid, cram_nodes) {
		cn = cram_node_get(nid);
		pages += cn ? max(atomic_long_read(&cn->resident), 0L) : 0;
	}
	return pages;
}

/*
 * A cgroup waits once for each charge. The notifier cannot tell which allocation calls
 * it, nor whether it calls again, and one that always finds the room used up by others
 * would call for ever. So it waits again only after the number of resident pages has
 * reached a new maximum: that much ordinary memory was won.
 */
static int cram_oom_notify(struct notifier_block *nb, unsigned long action,
			   void *freed)
{
	static unsigned long last = INITIAL_JIFFIES - CRAM_OOM_EPISODE, most;
	unsigned long resident;

	lockdep_assert_held(&oom_lock);
	if (!static_branch_unlikely(&cram_key))
		return NOTIFY_OK;
	resident = cram_resident_pages();
	if (time_before(jiffies, last + CRAM_OOM_EPISODE) && resident <= most)
		return NOTIFY_OK;
	if (!__cram_wait_for_room(NULL))
		return NOTIFY_OK;
	most = resident;
	last = jiffies;
	*(unsigned long *)freed += 1;
	return NOTIFY_OK;
}

static struct notifier_block cram_oom_nb = { .notifier_call = cram_oom_notify };

static int __init cram_oom_init(void)
{
	return register_oom_notifier(&cram_oom_nb);
}
subsys_initcall(cram_oom_init);
