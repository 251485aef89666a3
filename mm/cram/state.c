// SPDX-License-Identifier: GPL-2.0
/*
 * The state of a node: what follows from it, and who is told when it changes.
 *
 *	open		pages are demoted to it while there is proven room
 *	low		few free cells: nothing new, and cold pages go to swap
 *	critical	very few: as low, and no page stays upgraded
 *	lost		no answer within the lease, or one that cannot be true:
 *			nothing new, no page stays upgraded
 *	offline		by request
 *
 * The state follows from the last reading, its age, and what was asked for;
 * nothing else keeps it. cramd.c has it worked out again when one of these changes,
 * and starts those who act on it. Each change makes one tracepoint, one uevent of
 * the node's device, one line in the log, and one event in each cgroup that has
 * pages there.
 *
 * A reading is a lower bound: what the device has not compressed yet counts at
 * its worst. Admission has to go by that. The state goes by it only upwards,
 * and downwards by what the device is sure of: else each burst of demotions
 * would be a shortage until the device has caught up.
 */
#include <linux/jiffies.h>
#include <linux/kobject.h>
#include <linux/node.h>
#include <linux/workqueue.h>

#include <trace/events/cram.h>

#include "internal.h"

/* Shares of the physical size; above the reserve, see node.c. */
#define CRAM_LOW_SHIFT		4
#define CRAM_CRITICAL_SHIFT	5

/* A zone's own watermarks are of this order */
#define CRAM_LOW_PLAIN_SHIFT	6

/* A quarter more than the watermark has to be free to be above it again */
#define CRAM_HYSTERESIS_SHIFT	2

static const char * const cram_state_names[] = {
	[CRAM_NODE_OPEN]	= "open",
	[CRAM_NODE_LOW]		= "low",
	[CRAM_NODE_CRITICAL]	= "critical",
	[CRAM_NODE_LOST]	= "lost",
	[CRAM_NODE_OFFLINE]	= "offline",
};

/**
 * cram_state_name - the word for nodeN/cram/state
 * @cn: the node
 *
 * Context: any.
 * Return: one of the words of Documentation/admin-guide/mm/cram.rst.
 */
const char *cram_state_name(struct cram_node *cn)
{
	return cram_state_names[READ_ONCE(cn->state.now)];
}

/**
 * cram_node_open - may pages be demoted to this node?
 * @cn: the node
 *
 * The state may be late by the latency of a timer; the lease is not.
 *
 * Context: any.
 * Return: true if so.
 */
bool cram_node_open(struct cram_node *cn)
{
	return READ_ONCE(cn->state.now) == CRAM_NODE_OPEN && cram_has_lease(cn);
}

/**
 * cram_node_short - would the node take pages, if it had more free cells?
 * @cn: the node
 *
 * Context: any.
 * Return: true if so.
 */
bool cram_node_short(struct cram_node *cn)
{
	enum cram_node_state state = READ_ONCE(cn->state.now);

	return (state == CRAM_NODE_LOW || state == CRAM_NODE_CRITICAL) &&
	       cram_has_lease(cn);
}

/* With less than this it is not above @watermark again */
static u64 cram_above(u64 watermark)
{
	return watermark + (watermark >> CRAM_HYSTERESIS_SHIFT);
}

/**
 * cram_state_of - what state follows from all that is known
 * @cn: the node
 * @r: its last reading
 *
 * Context: any.
 * Return: the state to be in from now on.
 */
enum cram_node_state cram_state_of(struct cram_node *cn, const struct cram_reading *r)
{
	enum cram_node_state was = READ_ONCE(cn->state.now);
	u64 low = READ_ONCE(cn->state.low), critical = READ_ONCE(cn->state.critical);
	u64 possible = r->physical_free + r->unsettled;

	if (READ_ONCE(cn->state.offline))
		return CRAM_NODE_OFFLINE;
	if (READ_ONCE(cn->room.distrusted) || READ_ONCE(cn->room.content_lost) ||
	    !cram_has_lease(cn))
		return CRAM_NODE_LOST;

	if (possible < critical ||
	    (was == CRAM_NODE_CRITICAL && r->physical_free < cram_above(critical)))
		return CRAM_NODE_CRITICAL;
	if (possible < low ||
	    ((was == CRAM_NODE_LOW || was == CRAM_NODE_CRITICAL) &&
	     r->physical_free < cram_above(low)))
		return CRAM_NODE_LOW;
	return CRAM_NODE_OPEN;
}

/*
 * Cells that are on their way back, but that the last reading has not seen:
 * those of pages freed and not trimmed, or trimmed since it was asked for. What
 * a page holds, only the device knows; they are taken for average.
 */
static u64 cram_cells_returning(struct cram_node *cn, u64 used)
{
	long returning = atomic_long_read(&cn->trim.freed) +
			 READ_ONCE(cn->trim.emptied) - READ_ONCE(cn->room.emptied0);
	long resident = atomic_long_read(&cn->resident);

	/*
	 * Three numbers that do not stand still: a trim may come in between. In plain
	 * memory nothing comes back, as freed pages are free.
	 */
	if (returning <= 0 || cn->desc.class == CRAM_PLAIN)
		return 0;
	return mul_u64_u64_div_u64(used, returning, returning + max(resident, 0L));
}

/**
 * cram_cells_wanted - how many bytes of cells eviction should free
 * @cn: the node
 *
 * Beyond those that come back anyway: readings are rarer than evictions, and
 * each page evicted for nothing is read back from swap.
 *
 * Context: process.
 * Return: 0 when the node is not short of cells.
 */
u64 cram_cells_wanted(struct cram_node *cn)
{
	struct cram_reading r = cram_last_reading(cn, NULL);
	u64 free = r.physical_free + r.unsettled;
	u64 target = cram_above(READ_ONCE(cn->state.low));

	free += cram_cells_returning(cn, r.physical - min(free, r.physical));
	return cram_node_short(cn) && free < target ? target - free : 0;
}

static void cram_report_state(struct cram_node *cn, enum cram_node_state was,
			      enum cram_node_state state, const struct cram_reading *r)
{
	static const enum cram_event events[] = {
		[CRAM_NODE_OPEN]	= CRAM_EVENT_NODE_OPEN,
		[CRAM_NODE_LOW]		= CRAM_EVENT_NODE_LOW,
		[CRAM_NODE_CRITICAL]	= CRAM_EVENT_NODE_CRITICAL,
		[CRAM_NODE_LOST]	= CRAM_EVENT_NODE_LOST,
	};
	char var[32];
	char *envp[2] = { var, NULL };

	trace_cram_node_state(cn->nid, cram_state_names[state]);

	if (state == CRAM_NODE_LOST && cn->room.content_lost)
		pr_err_ratelimited("cram: node %d (%s) is lost: the device was reset\n",
				   cn->nid, cn->desc.name);
	else if (state == CRAM_NODE_LOST && cn->room.distrusted)
		pr_err_ratelimited("cram: node %d (%s) is lost: %s; closed until its state is set\n",
				   cn->nid, cn->desc.name, cn->room.distrusted);
	else if (state == CRAM_NODE_LOST)
		pr_warn_ratelimited("cram: node %d (%s) is lost: no reading for %u ms\n",
				    cn->nid, cn->desc.name, READ_ONCE(cn->room.lease_ms));
	else
		pr_info_ratelimited("cram: node %d (%s) is %s, was %s: %llu of %llu KiB of cells free\n",
				    cn->nid, cn->desc.name, cram_state_names[state],
				    cram_state_names[was], r->physical_free >> 10,
				    r->physical >> 10);

	/* First the cgroups: who hears the uevent may look there */
	if (state != CRAM_NODE_OFFLINE)
		cram_cgroup_node_event(cn->nid, events[state]);

	snprintf(var, sizeof(var), "CRAM_STATE=%s", cram_state_names[state]);
	kobject_uevent_env(&node_devices[cn->nid]->dev.kobj, KOBJ_CHANGE, envp);
}

/**
 * cram_update_state - work the state out again, and tell of a change
 * @cn: registered, so that there is somebody to tell
 *
 * Only for cram_settle().
 *
 * Context: process, may sleep; state.mutex is held.
 */
void cram_update_state(struct cram_node *cn)
{
	enum cram_node_state was, state;
	struct cram_reading r;
	long left;

	lockdep_assert_held(&cn->state.mutex);

	/* In here, or an older reading could have the last word */
	r = cram_last_reading(cn, NULL);
	was = cn->state.now;
	state = cram_state_of(cn, &r);
	/* First, and whatever is left of the lease, so that its end is told */
	if (state != CRAM_NODE_LOST) {
		left = READ_ONCE(cn->room.lease_end) - jiffies;
		mod_delayed_work(system_dfl_wq, &cn->state.lease_work, max(left, 0L) + 1);
	}
	if (state != was) {
		WRITE_ONCE(cn->state.now, state);
		cram_report_state(cn, was, state, &r);
	}
}

/**
 * cram_state_init - before the first reading
 * @cn: new
 *
 * Lost until there is one.
 */
void cram_state_init(struct cram_node *cn)
{
	cn->state.now = CRAM_NODE_LOST;
	cn->room.lease_end = jiffies;
	mutex_init(&cn->state.mutex);
}

/**
 * cram_state_defaults - watermarks for a device of this size
 * @cn: new, with a reading
 */
void cram_state_defaults(struct cram_node *cn)
{
	u64 physical = cram_last_reading(cn, NULL).physical;

	/* No store fills plain memory: it is low before it is full, and never critical */
	if (cn->desc.class == CRAM_PLAIN) {
		cn->state.low = physical >> CRAM_LOW_PLAIN_SHIFT;
		return;
	}
	cn->state.low = physical >> CRAM_LOW_SHIFT;
	cn->state.critical = physical >> CRAM_CRITICAL_SHIFT;
}
