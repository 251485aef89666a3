// SPDX-License-Identifier: GPL-2.0
/*
 * Freed pages back to the device.
 *
 * A page that was freed still holds cells, until it is used again or the
 * device is told that its content is not needed. The slot remembers (FREED);
 * nothing else is done when a page is freed. The node's thread walks the slots,
 * takes such pages out of the buddy allocator at whatever order they are in,
 * order 0 included, has the device trim many ranges at once, and puts them
 * back. While that lasts nobody can allocate them, so no store can come
 * between the trim and the slot.
 *
 * A trim that has failed may not be over: a device that did not answer in time can
 * zero the ranges any time later, and what is stored there by then is lost. So the
 * pages of that call stay isolated, and nothing else is trimmed, until the device
 * has answered a reading that was begun later, which is when the driver says that
 * nothing from before is left to be done (see struct cram_node_ops).
 *
 * The idea is that of mm/page_reporting.c, which however starts at pageblocks
 * and would lose the cells of a fragmented node for ever.
 */
#include <linux/gfp.h>
#include <linux/libnvdimm.h>
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

/* Slots looked at while the zone lock is held for one batch of ranges */
#define CRAM_TRIM_SCAN		4096

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

static unsigned int cram_range_order(const struct range *range)
{
	return ilog2(range_len(range) >> PAGE_SHIFT);
}

/*
 * Isolate the blocks of up to CRAM_TRIM_RANGES freed pages, from the cursor
 * on. Returns the number of ranges, each of them one block.
 */
static unsigned int cram_isolate_freed(struct cram_node *cn, struct zone *zone)
{
	unsigned long end = min(cn->trim.cursor + CRAM_TRIM_SCAN, cn->nr_slots);
	unsigned long i = cn->trim.cursor;
	unsigned int max = min_not_zero(cn->desc.trim_ranges, CRAM_TRIM_RANGES);
	unsigned long pages = 0;
	unsigned int nr = 0;

	spin_lock_irq(&zone->lock);
	while (i < end && nr < max && pages < CRAM_TRIM_PAGES) {
		unsigned long pfn = cn->start_pfn + i;
		struct page *page;
		unsigned int order;

		i++;
		if (cram_slot_state(READ_ONCE(cn->slots[pfn - cn->start_pfn])) != CRAM_FREED)
			continue;
		page = cram_buddy_of(pfn, &order);
		if (!page || !__isolate_free_page(page, order))
			continue;
		cn->trim.ranges[nr].start = page_to_phys(page);
		cn->trim.ranges[nr].end = page_to_phys(page) + (PAGE_SIZE << order) - 1;
		nr++;
		pages += 1UL << order;
		i = page_to_pfn(page) + (1UL << order) - cn->start_pfn;
	}
	spin_unlock_irq(&zone->lock);

	cn->trim.cursor = i < cn->nr_slots ? i : 0;
	return nr;
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

static unsigned long cram_zero_ranges(struct cram_node *cn, unsigned int nr)
{
	unsigned long done = 0;
	unsigned int i;

	for (i = 0; i < nr; i++) {
		unsigned long part = cram_zero_range(cn, &cn->trim.ranges[i]);

		done += part;
		if (part < range_len(&cn->trim.ranges[i]) >> PAGE_SHIFT)
			break;
	}
	return done;
}

/* Says in @done how many pages are, counted from the first range on */
static int cram_trim_ranges(struct cram_node *cn, unsigned int nr, unsigned long *done)
{
	unsigned int i;
	int err;

	if (!cn->desc.ops->trim) {
		*done = cram_zero_ranges(cn, nr);
		return *done ? 0 : -EAGAIN;
	}

	/* A line written back later would take cells again */
	for (i = 0; i < nr; i++)
		arch_wb_cache_pmem(phys_to_virt(cn->trim.ranges[i].start),
				   range_len(&cn->trim.ranges[i]));
	pmem_wmb();

	err = cram_should_fail() ? -EIO : cn->desc.ops->trim(cn, cn->trim.ranges, nr);
	*done = err ? 0 : ULONG_MAX;
	return err;
}

/* Mark what was trimmed, and give all blocks back to the allocator */
static unsigned long cram_put_back(struct cram_node *cn, struct zone *zone,
				   unsigned int nr, unsigned long done)
{
	unsigned long nr_freed = 0;
	unsigned int i;

	spin_lock_irq(&zone->lock);
	for (i = 0; i < nr; i++) {
		struct range *range = &cn->trim.ranges[i];
		struct page *page = pfn_to_page(PHYS_PFN(range->start));
		unsigned long pfn;

		for (pfn = PHYS_PFN(range->start);
		     done && pfn <= PHYS_PFN(range->end); pfn++, done--)
			nr_freed += cram_slot_empty(cram_slot(cn, pfn));
		__putback_isolated_page(page, cram_range_order(range),
					get_pageblock_migratetype(page));
	}
	spin_unlock_irq(&zone->lock);

	WRITE_ONCE(cn->trim.emptied, cn->trim.emptied + nr_freed);
	atomic_long_sub(nr_freed, &cn->trim.freed);
	return nr_freed;
}

/* Give the pages of a failed trim back, still to be trimmed */
static void cram_put_back_held(struct cram_node *cn, struct zone *zone)
{
	if (cn->trim.held)
		cram_put_back(cn, zone, cn->trim.held, 0);
	cn->trim.held = 0;
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

/**
 * cram_trim - walk the slots once and trim what was freed
 * @cn: the node
 * @whole: the whole walk; else end, and go on with the next call, when the
 *	lease is to be renewed
 *
 * Context: the node's thread, or unregistration after it has stopped.
 * Return: number of freed pages that went back to the device.
 */
unsigned long cram_trim(struct cram_node *cn, bool whole)
{
	struct zone *zone = &NODE_DATA(cn->nid)->node_zones[ZONE_MOVABLE];
	unsigned long scanned, total = 0;

	if (!atomic_long_read(&cn->trim.freed) || READ_ONCE(cn->room.gone) ||
	    cram_trim_pending(cn))
		return 0;
	cram_put_back_held(cn, zone);
	if (cn->trim.skip) {
		cn->trim.skip--;
		return 0;
	}

	/* The newest of them sit on the per-CPU lists */
	drain_all_pages(zone);

	for (scanned = 0; scanned < cn->nr_slots; ) {
		unsigned long from = cn->trim.cursor;
		unsigned int nr = cram_isolate_freed(cn, zone);
		unsigned long pages, done;
		int err;

		scanned += (cn->trim.cursor ?: cn->nr_slots) - from;

		if (nr) {
			err = cram_trim_ranges(cn, nr, &done);
			if (err && cn->desc.ops->trim) {
				cn->trim.held_since = READ_ONCE(cn->room.readings_begun);
				cn->trim.held = nr;
				trace_cram_trim(cn->nid, nr, 0, err);
				break;
			}
			pages = cram_put_back(cn, zone, nr, done);
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
