// SPDX-License-Identifier: GPL-2.0
/*
 * How much room a node has for certain.
 *
 * A device answers how many cells are free, but by the time the answer is here
 * more pages may have been copied to it. Two counters close the gap: @begun
 * counts pages before they are copied, @done after the copy has ended and its
 * lines were written back. A reading takes @done first and asks the device
 * then, so every page that the answer may not cover is among the
 * begun - done0 that came since, and each of them takes cells_per_page at
 * worst:
 *
 *	free >= physical_free - cells_per_page * (begun - done0)
 *
 * Admission of one more page has to keep that above the reserve. All that is
 * on the right but @begun is known when the reading ends, so it is folded into
 * one number, the value that @begun may reach:
 *
 *	limit = done0 + (physical_free - reserve) / cells_per_page
 *
 * and the paths from reclaim compare two words. A node that is interleaved over several
 * devices has @room instead of physical_free, what the fullest of them has left, and
 * each device its part of the reserve: all new pages may come to lie in that one. The
 * promise of the driver that cells of a page that is not stored to never grow does the
 * rest.
 *
 * A reading is a lease: it is believed for lease_ms from its *start*, because
 * it is from then on that things may have happened that it does not know. When
 * it runs out, admission closes by itself, without the device or a thread.
 *
 * The same sum says what the next answer can be at worst. One that is worse, or
 * that tells of stores for which there was no cell, shows that the device does
 * not keep its promises, or that somebody stored past the engine: then nothing
 * is known any more, and the node is closed.
 *
 * Of a device that cannot be asked only the size is known. The engine gives the answers
 * then: all pages that are resident, or freed and not trimmed, take cells_per_page. They
 * have no lease, as nobody can fail to give them, and no contradiction.
 */
#include <linux/export.h>
#include <linux/jiffies.h>
#include <linux/libnvdimm.h>
#include <linux/math64.h>
#include <linux/mm.h>
#include <linux/swap.h>

#include <trace/events/cram.h>

#include "internal.h"

/* ------------------------------------------------------------ the answers -- */

/**
 * cram_join_readings - one answer for a node that is interleaved
 * @all: what the answers until now come to; all zeroes before the first
 * @one: the next; its @room and @content_lost are not looked at
 * @ways: how many answers there will be
 *
 * Each page lies in one device, and the pages of a node evenly in all: when one is
 * full, nothing can be stored any more, whatever others have left. So the node has @ways
 * times what the worst has, of everything, and a node with one full device is full.
 *
 * Context: any.
 */
void cram_join_readings(struct cram_reading *all, const struct cram_reading *one,
			unsigned int ways)
{
	u64 possible = (one->physical_free + one->unsettled) * ways;

	if (all->physical) {
		possible = min(possible, all->physical_free + all->unsettled);
		all->physical = min(all->physical, one->physical * ways);
		all->room = min(all->room, one->physical_free);
	} else {
		all->physical = one->physical * ways;
		all->room = one->physical_free;
	}
	all->physical_free = all->room * ways;
	all->unsettled = possible - all->physical_free;
	all->over_capacity += one->over_capacity;
}
EXPORT_SYMBOL_GPL(cram_join_readings);

static int cram_count_capacity(struct cram_node *cn, struct cram_reading *r)
{
	/* A page goes from the first into the second: in this order it is in one at least */
	u64 used = atomic_long_read(&cn->resident);

	smp_rmb();
	if (cn->desc.class != CRAM_PLAIN)
		used += atomic_long_read(&cn->trim.freed);
	used *= cn->desc.cells_per_page;

	r->physical = cn->desc.physical;
	r->physical_free = r->physical - min(used, r->physical);
	r->room = r->physical_free;
	return 0;
}

/* Of a node whose device cannot be asked */
const struct cram_node_ops cram_counted_ops = {
	.read_capacity = cram_count_capacity,
};

/* Devices of which each has its part of the node's cells */
static unsigned int cram_ways(struct cram_node *cn)
{
	return max(cn->desc.ways, 1U);
}

/*
 * Why can @r not be true? NULL when it can. @begun was read after the answer
 * came, so no store that it may have counted is missing there.
 */
static const char *cram_contradiction(struct cram_node *cn,
				      const struct cram_reading *r, u64 begun)
{
	const struct cram_reading *was = &cn->room.reading;
	u64 worst = cn->desc.cells_per_page * (begun - cn->room.done0);

	if (r->physical_free > r->physical || r->room > r->physical_free ||
	    r->unsettled > r->physical - r->physical_free)
		return "more cells free than there are";

	/* The first answer, and the first after a reset, have no precedent */
	if (!was->physical || r->content_lost || cram_node_counted(cn))
		return NULL;
	if (r->over_capacity > was->over_capacity)
		return "stores found no cell";
	if (r->physical == was->physical && was->room > r->room + worst)
		return "pages hold more cells than were stored";
	return NULL;
}

/*
 * An upgraded page takes room for as long as it is written to, a demoted one only until
 * the next reading. So upgrades leave a margin, or demotion would stop
 * for their sake. How much it takes depends on how much is demoted between two
 * readings: twice as much when it was used up, and less by a quarter of what was
 * left; but in any case between these shares of the proven room.
 */
#define CRAM_MARGIN_MIN_SHIFT	4
#define CRAM_MARGIN_MAX_SHIFT	1
#define CRAM_MARGIN_DECAY_SHIFT	2

/*
 * @spare pages of room were proven, including those for what is upgraded, and @left
 * before that.
 */
static void cram_set_margin(struct cram_node *cn, s64 left, u64 spare)
{
	s64 margin = cn->room.margin;

	/* A batch of reclaim would have found none */
	WRITE_ONCE(cn->room.short_of_room, left < SWAP_CLUSTER_MAX);
	if (left >= SWAP_CLUSTER_MAX)
		margin -= min(left, margin) >> CRAM_MARGIN_DECAY_SHIFT;
	else if (atomic_long_read(&cn->budget.writable))
		margin *= 2;
	WRITE_ONCE(cn->room.margin, clamp_t(s64, margin, spare >> CRAM_MARGIN_MIN_SHIFT,
				       spare >> CRAM_MARGIN_MAX_SHIFT));
}

/* What is zeroed where the engine counts is among what it counts as full already */
static u64 cram_zero_limit(struct cram_node *cn, const struct cram_reading *r, u64 limit,
			   u64 done0)
{
	if (!limit)
		return 0;
	return cram_node_counted(cn) ? U64_MAX :
				       done0 + div_u64(r->room, cn->desc.cells_per_page);
}

/* For how long an answer is believed, in jiffies */
static unsigned long cram_lease(struct cram_node *cn)
{
	return cram_node_counted(cn) ? MAX_JIFFY_OFFSET :
				       msecs_to_jiffies(READ_ONCE(cn->room.lease_ms));
}

/**
 * cram_take_reading - ask the device for its capacity
 * @cn: the node
 *
 * Context: process; sleeps for as long as the driver does.
 * Return: 0, or the driver's errno, with what was known before still standing
 * until the lease ends; -ENODEV when the driver is gone.
 */
int cram_take_reading(struct cram_node *cn)
{
	struct cram_reading r = {};
	unsigned long start;
	u64 done0, spare, reserve, limit;
	s64 left;
	unsigned long emptied0;
	const char *why;
	int err;

	guard(mutex)(&cn->room.mutex);

	if (cn->room.gone)
		return -ENODEV;
	start = jiffies;
	WRITE_ONCE(cn->room.reading_start, start);
	WRITE_ONCE(cn->room.readings_begun, cn->room.readings_begun + 1);
	done0 = atomic64_read(&cn->room.done);
	emptied0 = cn->trim.emptied;
	left = cn->room.limit - atomic64_read(&cn->room.begun);
	/* Pairs with cram_done(): what it counted, the device has */
	smp_mb();

	err = cram_should_fail() ? -EIO : cn->desc.ops->read_capacity(cn, &r);
	if (err) {
		trace_cram_reading(cn->nid, err, 0, done0, READ_ONCE(cn->room.limit));
		return err;
	}

	WRITE_ONCE(cn->room.reading_answered, cn->room.readings_begun);
	why = cram_contradiction(cn, &r, atomic64_read(&cn->room.begun));
	if (why && !cn->room.distrusted)
		WRITE_ONCE(cn->room.distrusted, why);

	if (r.content_lost)
		cn->room.content_lost = true;

	spin_lock(&cn->room.lock);
	cn->room.reading = r;
	cn->room.done0 = done0;
	cn->room.emptied0 = emptied0;
	spin_unlock(&cn->room.lock);

	reserve = div_u64(cn->room.reserve, cram_ways(cn));
	spare = r.room > reserve ? r.room - reserve : 0;
	limit = done0 + div_u64(spare, cn->desc.cells_per_page);
	/* Nothing more, from now on, until it is settled what the answer means */
	if (cn->room.distrusted || cn->room.content_lost)
		limit = 0;
	WRITE_ONCE(cn->room.limit, limit);
	cram_set_margin(cn, left, limit ? limit - done0 : 0);
	WRITE_ONCE(cn->room.upgrade_limit, limit - cn->room.margin);
	WRITE_ONCE(cn->room.zero_limit, cram_zero_limit(cn, &r, limit, done0));
	WRITE_ONCE(cn->room.lease_end, start + cram_lease(cn));
	trace_cram_reading(cn->nid, 0, r.physical_free, done0, limit);
	return 0;
}

/**
 * cram_trust - believe a device again that was caught with an untrue answer
 * @cn: the node
 *
 * Its next answer has no precedent.
 *
 * Context: process; sleeps for as long as the driver does.
 * Return: 0, or what the reading failed with, the node as it was.
 */
int cram_trust(struct cram_node *cn)
{
	const char *why = cn->room.distrusted;
	int err;

	if (!why)
		return 0;

	scoped_guard(mutex, &cn->room.mutex) {
		guard(spinlock)(&cn->room.lock);
		cn->room.reading.physical = 0;
		WRITE_ONCE(cn->room.distrusted, NULL);
	}
	err = cram_take_reading(cn);
	if (err)
		WRITE_ONCE(cn->room.distrusted, why);
	return err;
}

/* -------------------------------------------------------------- admission -- */

/**
 * cram_has_room - is there proven room for pages now?
 * @cn: the node
 * @nr: how many
 *
 * A hint for whoever has to decide whether to try at all.
 *
 * Context: any.
 * Return: true if so, at this moment.
 */
bool cram_has_room(struct cram_node *cn, unsigned long nr)
{
	return atomic64_read(&cn->room.begun) + nr <= READ_ONCE(cn->room.limit) ||
	       cram_hook_disabled(CRAM_HOOK_ADMISSION);
}

/* To look for room and to count is one step, or two could find the same */
static bool cram_count_begun(struct cram_node *cn, unsigned long nr, const u64 *limit)
{
	s64 begun = atomic64_read(&cn->room.begun);

	do {
		if (begun + nr > READ_ONCE(*limit))
			return false;
	} while (!atomic64_try_cmpxchg(&cn->room.begun, &begun, begun + nr));

	return true;
}

/**
 * cram_admit - count more pages as begun, if there is proven room for all
 * @cn: the node
 * @nr: how many
 *
 * The caller says cram_done() whatever becomes of the copies.
 *
 * Context: any.
 * Return: false when there is no room; an early reading has been asked for.
 */
bool cram_admit(struct cram_node *cn, unsigned long nr)
{
	if (cram_count_begun(cn, nr, &cn->room.limit))
		return true;
	if (cram_hook_disabled(CRAM_HOOK_ADMISSION)) {
		atomic64_add(nr, &cn->room.begun);
		return true;
	}
	cram_want_reading(cn);
	return false;
}

/**
 * cram_admit_upgrade - count a page as begun that is to be written in place
 * @cn: the node
 *
 * As cram_admit(), but for the margin, and without an early reading: with a budget
 * that is larger than the room there would be one all the time, and each of them
 * has the device look at all that is writable.
 *
 * Context: any.
 * Return: false when there is no room.
 */
bool cram_admit_upgrade(struct cram_node *cn)
{
	if (cram_count_begun(cn, 1, &cn->room.upgrade_limit))
		return true;
	if (cram_hook_disabled(CRAM_HOOK_ADMISSION)) {
		atomic64_inc(&cn->room.begun);
		return true;
	}
	return false;
}

/**
 * cram_admit_zeroes - count a page as begun that is to be filled with zeroes
 * @cn: the node
 *
 * The reserve is there for that: it ends with more free cells than before.
 *
 * Context: process.
 * Return: false when not even the reserve covers it.
 */
bool cram_admit_zeroes(struct cram_node *cn)
{
	return cram_count_begun(cn, 1, &cn->room.zero_limit);
}

/**
 * cram_unadmit - take cram_admit() back
 * @cn: the node
 * @nr: for so many pages
 *
 * Only when no page was allocated, so that nothing can have been stored.
 */
void cram_unadmit(struct cram_node *cn, unsigned long nr)
{
	atomic64_sub(nr, &cn->room.begun);
}

/**
 * cram_write_back - nothing more is stored to these pages for now
 * @cn: the node
 * @pfn: the first page, admitted before, copied to, or not when the migration
 *	failed
 * @nr: how many
 *
 * The device has not counted the lines that a CPU has in its cache: write them back
 * before the copy counts as done.
 *
 * Context: any, the pages are the caller's.
 */
void cram_write_back(struct cram_node *cn, unsigned long pfn, unsigned long nr)
{
	arch_wb_cache_pmem(page_address(pfn_to_page(pfn)), nr * PAGE_SIZE);
	pmem_wmb();

	guard(rcu)();
	if (!READ_ONCE(cn->room.gone) && cn->desc.ops->stored)
		cn->desc.ops->stored(cn, pfn, nr);
}

/**
 * cram_done - the copies that cram_admit() has counted are over
 * @cn: the node, which an unregistration may take away as soon as this is said
 * @nr: of so many pages
 *
 * After cram_write_back(): the lines are out before @done says so, see
 * cram_take_reading().
 *
 * Context: any.
 */
void cram_done(struct cram_node *cn, unsigned long nr)
{
	/* Pairs with the barrier between @done0 and the question */
	smp_mb__before_atomic();
	atomic64_add(nr, &cn->room.done);
}

/* ---------------------------------------------------------- what is known -- */

/**
 * cram_last_reading - what is known about a node's capacity
 * @cn: the node
 * @bound: set to the bytes of cells that are free at least, 0 when nothing is
 *	known for certain; may be NULL
 *
 * Context: process.
 * Return: the last answer of the device.
 */
struct cram_reading cram_last_reading(struct cram_node *cn, u64 *bound)
{
	struct cram_reading r;
	u64 unsure;

	spin_lock(&cn->room.lock);
	r = cn->room.reading;
	unsure = cn->desc.cells_per_page * (atomic64_read(&cn->room.begun) - cn->room.done0);
	spin_unlock(&cn->room.lock);

	if (bound)
		*bound = cram_has_lease(cn) && r.room > unsure ?
			 (r.room - unsure) * cram_ways(cn) : 0;
	return r;
}

/**
 * cram_want_reading - have the device asked soon
 * @cn: the node
 *
 * Context: any.
 */
void cram_want_reading(struct cram_node *cn)
{
	if (!READ_ONCE(cn->room.early)) {
		WRITE_ONCE(cn->room.early, true);
		wake_up(&cn->wait);
	}
}

/**
 * cram_node_changed - a device says that its capacity did
 * @cn: from cram_register_node()
 *
 * A hint: the engine asks soon.
 *
 * Context: any.
 */
void cram_node_changed(struct cram_node *cn)
{
	cram_want_reading(cn);
}
EXPORT_SYMBOL_GPL(cram_node_changed);

/**
 * cram_next_reading - when is the lease to be renewed?
 * @cn: the node
 *
 * A third of a lease after the start of the last reading.
 *
 * Context: any.
 * Return: the time in jiffies.
 */
unsigned long cram_next_reading(struct cram_node *cn)
{
	return READ_ONCE(cn->room.reading_start) +
	       msecs_to_jiffies(READ_ONCE(cn->room.lease_ms)) / 3;
}

/**
 * cram_reading_due - is it time to renew the lease?
 * @cn: the node
 *
 * Context: any.
 * Return: true if so.
 */
bool cram_reading_due(struct cram_node *cn)
{
	return time_after_eq(jiffies, cram_next_reading(cn));
}
