// SPDX-License-Identifier: GPL-2.0
/*
 * Freed pages back to the device.
 *
 * A page that was freed still holds cells, until it is used again or the
 * device is told that its content is not needed. The slot remembers (FREED), and so
 * does a bit for the block of slots that it is in; nothing else is done when a page is
 * freed. The node's thread looks at the blocks that have the bit, takes such pages out of
 * the buddy allocator at whatever order they are in, order 0 included, has the device
 * trim many ranges at once, and puts them back. While that lasts nobody can allocate
 * them, so no store can come between the trim and the slot. What is written back and
 * trimmed is what was freed, and nothing else of the blocks of the allocator.
 *
 * A page that is not in the allocator is on its way there, and its block is looked at
 * again. But a page that is broken never comes. It becomes RETIRED and keeps its cells,
 * which the device counts, until somebody takes it for sound (unpoison_memory()).
 *
 * A trim that has failed may not be over: a device that did not answer in time can
 * zero the ranges any time later, and what is stored there by then is lost. So the
 * pages of that call stay isolated, and nothing else is trimmed, until the device
 * has answered a reading that was begun later, which is when the driver says that
 * nothing from before is left to be done (see struct cram_node_ops).
 *
 * In plain memory a freed page holds nothing: there FREED says as much as EMPTY.
 *
 * The idea is that of mm/page_reporting.c, which however starts at pageblocks
 * and would lose the cells of a fragmented node for ever.
 */
#include <linux/gfp.h>
#include <linux/libnvdimm.h>
#include <linux/memory_hotplug.h>
#include <linux/mm.h>

#include <trace/events/cram.h>

#include "../internal.h"
#include "../page_alloc.h"
#include "internal.h"

/* After a pass that found nothing; at three passes a second, every 5 seconds */
#define CRAM_TRIM_SKIP		16

/*
 * An isolated page cannot be allocated, so take not too much of the node at a
 * time: 16 MiB, or a few blocks of the largest order.
 */
#define CRAM_TRIM_PAGES		4096

/*
 * Slots looked at for one batch of ranges: some hundred microseconds, after which it may
 * be time for a reading. zone->lock is held for a block of them.
 */
#define CRAM_TRIM_SCAN		(CRAM_TRIM_RANGES * CRAM_BLOCK_SLOTS)

/* The free block of the buddy allocator that @pfn is in; zone->lock is held */
static struct page *cram_buddy_of(unsigned long pfn, unsigned int *order)
{
	for (*order = 0; *order < NR_PAGE_ORDERS; (*order)++) {
		struct page *page = pfn_to_page(pfn & ~((1UL << *order) - 1));

		if (PageBuddy(page) && buddy_order(page) >= *order) {
			*order = buddy_order(page);
			return page;
		}
	}
	return NULL;
}

/* Does the page at @phys go on where the last range ends? */
static bool cram_extends_range(const struct cram_node_trim *t, u64 phys)
{
	return t->nr_ranges && t->ranges[t->nr_ranges - 1].end + 1 == phys;
}

/* Have a page trimmed, after those below it; there is room for it in the ranges */
static void cram_add_to_ranges(struct cram_node_trim *t, u64 phys)
{
	if (!cram_extends_range(t, phys))
		t->ranges[t->nr_ranges++].start = phys;
	t->ranges[t->nr_ranges - 1].end = phys + PAGE_SIZE - 1;
}

enum cram_found {
	CRAM_TAKEN,	/* to be trimmed */
	CRAM_LATER,	/* not in the allocator */
	CRAM_FULL,	/* no more for now */
};

/*
 * Have a freed page trimmed, and take the block of the allocator that it is in out of it,
 * unless one before it has. zone->lock is held.
 */
static enum cram_found cram_isolate_freed(struct cram_node *cn, unsigned long pfn)
{
	unsigned int max = min_not_zero(cn->desc.trim_ranges, CRAM_TRIM_RANGES), order;
	struct cram_node_trim *t = &cn->trim;
	struct page *page;

	if (t->nr_ranges == max && !cram_extends_range(t, PFN_PHYS(pfn)))
		return CRAM_FULL;
	if (pfn >= t->isolated_end) {
		page = cram_buddy_of(pfn, &order);
		if (!page)
			return CRAM_LATER;
		if (t->nr_isolated >= CRAM_TRIM_PAGES)
			return CRAM_FULL;
		if (!__isolate_free_page(page, order))
			return CRAM_LATER;
		set_page_private(page, order);
		list_add_tail(&page->lru, &t->isolated);
		t->nr_isolated += 1UL << order;
		t->isolated_end = page_to_pfn(page) + (1UL << order);
	}
	cram_add_to_ranges(t, PFN_PHYS(pfn));
	return CRAM_TAKEN;
}

/*
 * Is a page out of service? Of one that is offline there is not even a struct page;
 * offlining takes zone->lock, which is held here, before it ends that.
 */
static bool cram_page_broken(unsigned long pfn, bool if_offline)
{
	struct page *page = pfn_to_online_page(pfn);

	return page ? PageHWPoison(page) : if_offline;
}

/* Out of service: neither in the allocator nor on its way there */
static bool cram_retire_slot(struct cram_node *cn, unsigned long pfn)
{
	if (!cram_page_broken(pfn, false) || !cram_slot_retire(cram_slot(cn, pfn)))
		return false;
	atomic_long_dec(&cn->trim.freed);
	__set_bit((pfn - cn->start_pfn) / CRAM_BLOCK_SLOTS, cn->trim.retired_blocks);
	/* Is it sound again by the next pass? */
	cn->trim.poisoned = -1;
	return true;
}

/*
 * Isolate what was freed of a block, from slot @i on. Returns the slot where to go on:
 * of the next block, or of this one if that is enough for now.
 */
static unsigned long cram_isolate_block(struct cram_node *cn, struct zone *zone,
					unsigned long i)
{
	unsigned long block = i / CRAM_BLOCK_SLOTS;
	unsigned long end = min((block + 1) * CRAM_BLOCK_SLOTS, cn->nr_slots);
	bool again = false;

	/* The second half has the bit still, for what is freed in the first meanwhile */
	if (i % CRAM_BLOCK_SLOTS == 0)
		cram_clear_block(cn->trim.blocks, block);

	guard(spinlock_irq)(&zone->lock);
	for (; i < end; i++) {
		unsigned long pfn = cn->start_pfn + i;
		enum cram_found found;

		cn->trim.looks++;
		if (cram_slot_state(READ_ONCE(cn->slots[i])) != CRAM_FREED)
			continue;
		found = cram_isolate_freed(cn, pfn);
		again |= found == CRAM_LATER && !cram_retire_slot(cn, pfn);
		if (found == CRAM_FULL)
			break;
	}
	if (again || i < end)
		set_bit(block, cn->trim.blocks);
	return i;
}

/* The next slot of a block in which something was freed */
static unsigned long cram_next_freed(struct cram_node *cn, unsigned long i)
{
	unsigned long block = i / CRAM_BLOCK_SLOTS;
	unsigned long next = find_next_bit(cn->trim.blocks, cram_nr_blocks(cn->nr_slots), block);

	return next == block ? i : min(next * CRAM_BLOCK_SLOTS, cn->nr_slots);
}

/*
 * Isolate freed pages, from the cursor on, and make ranges of them. Returns how many
 * slots the cursor has gone on.
 */
static unsigned long cram_isolate_some(struct cram_node *cn, struct zone *zone)
{
	unsigned long enough = cn->trim.looks + CRAM_TRIM_SCAN;
	unsigned long from = cn->trim.cursor, i, next;

	cn->trim.nr_ranges = 0;
	cn->trim.nr_isolated = 0;
	cn->trim.isolated_end = 0;
	for (i = cram_next_freed(cn, from); i < cn->nr_slots; i = cram_next_freed(cn, next)) {
		next = cram_isolate_block(cn, zone, i);
		if (next % CRAM_BLOCK_SLOTS || next == i || cn->trim.looks >= enough) {
			i = next;
			break;
		}
		cond_resched();
	}
	cn->trim.cursor = i < cn->nr_slots ? i : 0;
	return i - from;
}

/*
 * Zeroes are stores, too, which the device may count at their worst until it
 * has compressed them. So they are counted as a copy is; but as they end with
 * fewer cells than before, they may use the reserve. Page by page, as far as
 * that goes until the next reading.
 */
static unsigned long cram_zero_range(struct cram_node *cn, const struct range *range)
{
	unsigned long nr = 0;
	u64 at;

	for (at = range->start; at < range->end && cram_admit_zeroes(cn); at += PAGE_SIZE) {
		void *addr = phys_to_virt(at);

		clear_page(addr);
		arch_wb_cache_pmem(addr, PAGE_SIZE);
		pmem_wmb();
		cram_done(cn, 1);
		nr++;
	}
	return nr;
}

static unsigned long cram_zero_ranges(struct cram_node *cn)
{
	unsigned long done = 0;
	unsigned int i;

	for (i = 0; i < cn->trim.nr_ranges; i++) {
		unsigned long part = cram_zero_range(cn, &cn->trim.ranges[i]);

		done += part;
		if (part < range_len(&cn->trim.ranges[i]) >> PAGE_SHIFT)
			break;
	}
	return done;
}

/* Says in @done how many pages are, counted from the first range on */
static int cram_trim_ranges(struct cram_node *cn, unsigned long *done)
{
	unsigned int i;
	int err;

	if (!cn->desc.ops->trim) {
		*done = cram_zero_ranges(cn);
		return *done ? 0 : -EAGAIN;
	}

	/* A line written back later would take cells again */
	for (i = 0; i < cn->trim.nr_ranges; i++)
		arch_wb_cache_pmem(phys_to_virt(cn->trim.ranges[i].start),
				   range_len(&cn->trim.ranges[i]));
	pmem_wmb();

	err = cram_should_fail() ? -EIO :
	      cn->desc.ops->trim(cn, cn->trim.ranges, cn->trim.nr_ranges);
	*done = err ? 0 : ULONG_MAX;
	return err;
}

/* Note the first @done pages of the ranges as trimmed, and that the others are not */
static unsigned long cram_ranges_done(struct cram_node *cn, unsigned long done)
{
	unsigned long nr = 0;
	unsigned int i;

	for (i = 0; i < cn->trim.nr_ranges; i++) {
		const struct range *range = &cn->trim.ranges[i];
		unsigned long pfn = PHYS_PFN(range->start), end = PHYS_PFN(range->end) + 1;

		for (; pfn < end && done; pfn++, done--)
			nr += cram_slot_empty(cram_slot(cn, pfn));
		if (pfn < end)
			cram_mark_blocks(cn->trim.blocks, pfn - cn->start_pfn, end - pfn);
	}
	WRITE_ONCE(cn->trim.emptied, cn->trim.emptied + nr);
	atomic_long_sub(nr, &cn->trim.freed);
	return nr;
}

/* ... and give all that is isolated back to the allocator */
static unsigned long cram_put_back(struct cram_node *cn, struct zone *zone,
				   unsigned long done)
{
	unsigned long nr = cram_ranges_done(cn, done);
	struct page *page, *next;

	spin_lock_irq(&zone->lock);
	list_for_each_entry_safe(page, next, &cn->trim.isolated, lru) {
		unsigned int order = page_private(page);

		list_del(&page->lru);
		set_page_private(page, 0);
		__putback_isolated_page(page, order, get_pageblock_migratetype(page));
	}
	spin_unlock_irq(&zone->lock);
	return nr;
}

/* Give the pages of a failed trim back, still to be trimmed */
static void cram_put_back_held(struct cram_node *cn, struct zone *zone)
{
	if (cn->trim.held)
		cram_put_back(cn, zone, 0);
	cn->trim.held = false;
}

/**
 * cram_trim_alloc - memory of a new node
 * @cn: the node
 *
 * Context: process, may sleep.
 * Return: 0 or -ENOMEM.
 */
int cram_trim_alloc(struct cram_node *cn)
{
	unsigned long longs = BITS_TO_LONGS(cram_nr_blocks(cn->nr_slots));

	INIT_LIST_HEAD(&cn->trim.isolated);
	cn->trim.blocks = kvcalloc(longs, sizeof(long), GFP_KERNEL);
	cn->trim.retired_blocks = kvcalloc(longs, sizeof(long), GFP_KERNEL);
	return cn->trim.blocks && cn->trim.retired_blocks ? 0 : -ENOMEM;
}

/**
 * cram_trim_free - ... is given back
 * @cn: the node
 */
void cram_trim_free(struct cram_node *cn)
{
	kvfree(cn->trim.blocks);
	kvfree(cn->trim.retired_blocks);
}

/**
 * cram_trim_end - nothing is trimmed any more
 * @cn: on its way out; nobody can be given a page of it
 *
 * Pages that the device may still be zeroing go back, too, so that the memory can be
 * taken offline. Its next user begins with the same device, and so with an answer.
 *
 * Context: process, cramd has stopped.
 */
void cram_trim_end(struct cram_node *cn)
{
	cram_put_back_held(cn, &NODE_DATA(cn->nid)->node_zones[ZONE_MOVABLE]);
}

/* May the device still be zeroing what it was given? */
static bool cram_trim_pending(struct cram_node *cn)
{
	return cn->trim.held && READ_ONCE(cn->room.reading_answered) <= cn->trim.held_since;
}

static void cram_look_for_sound(struct cram_node *cn, struct zone *zone,
				unsigned long block)
{
	unsigned long i = block * CRAM_BLOCK_SLOTS;
	unsigned long end = min(i + CRAM_BLOCK_SLOTS, cn->nr_slots);
	bool broken = false;

	guard(spinlock_irq)(&zone->lock);
	for (; i < end; i++) {
		if (cram_slot_state(READ_ONCE(cn->slots[i])) != CRAM_RETIRED)
			continue;
		if (cram_page_broken(cn->start_pfn + i, true)) {
			broken = true;
		} else if (cram_slot_unretire(&cn->slots[i])) {
			atomic_long_inc(&cn->trim.freed);
			cram_mark_blocks(cn->trim.blocks, i, 1);
		}
	}
	if (!broken)
		__clear_bit(block, cn->trim.retired_blocks);
}

/*
 * Have retired pages trimmed that were taken for sound, which can be seen only by the
 * number of all that are out of service. Tests do that, and never wait for it in vain:
 * their poison and its end are looked for after the page was retired.
 */
static void cram_unretire(struct cram_node *cn, struct zone *zone)
{
	unsigned long block;
	long poisoned;

	poisoned = atomic_long_read(&num_poisoned_pages);
	if (poisoned == cn->trim.poisoned)
		return;
	cn->trim.poisoned = poisoned;
	for_each_set_bit(block, cn->trim.retired_blocks, cram_nr_blocks(cn->nr_slots)) {
		cram_look_for_sound(cn, zone, block);
		cond_resched();
	}
}

/**
 * cram_trim - look once at all blocks in which something was freed, and trim it
 * @cn: the node
 * @whole: all of them; else end, and go on with the next call, when the
 *	lease is to be renewed
 *
 * Context: the node's thread, or unregistration after it has stopped.
 * Return: number of freed pages that went back to the device.
 */
unsigned long cram_trim(struct cram_node *cn, bool whole)
{
	struct zone *zone = &NODE_DATA(cn->nid)->node_zones[ZONE_MOVABLE];
	unsigned long scanned, total = 0;

	cram_unretire(cn, zone);
	if (!atomic_long_read(&cn->trim.freed) || READ_ONCE(cn->room.gone) ||
	    cn->desc.class == CRAM_PLAIN || cram_trim_pending(cn))
		return 0;
	cram_put_back_held(cn, zone);
	if (cn->trim.skip) {
		cn->trim.skip--;
		return 0;
	}

	/* The newest of them sit on the per-CPU lists */
	drain_all_pages(zone);

	for (scanned = 0; scanned < cn->nr_slots; ) {
		unsigned long pages, done;
		unsigned int nr;
		int err;

		scanned += cram_isolate_some(cn, zone);
		nr = cn->trim.nr_ranges;
		if (nr) {
			err = cram_trim_ranges(cn, &done);
			if (err && cn->desc.ops->trim) {
				cn->trim.held_since = READ_ONCE(cn->room.readings_begun);
				cn->trim.held = true;
				trace_cram_trim(cn->nid, nr, 0, err);
				break;
			}
			pages = cram_put_back(cn, zone, done);
			trace_cram_trim(cn->nid, nr, pages, err);
			if (err)
				break;
			total += pages;
		}
		if (!atomic_long_read(&cn->trim.freed) ||
		    (!whole && cram_reading_due(cn)))
			break;
		cond_resched();
	}
	if (!total && !cn->trim.held && scanned >= cn->nr_slots)
		cn->trim.skip = CRAM_TRIM_SKIP;
	return total;
}

#if IS_ENABLED(CONFIG_CRAM_KUNIT_TEST)
#include "trim_test.c"
#endif
