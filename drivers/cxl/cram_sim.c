// SPDX-License-Identifier: GPL-2.0
/*
 * cram_sim: a software model of a compressed memory expander.
 *
 * The boot parameter cram_sim= sets ordinary RAM aside (arch/x86/mm/cram_sim.c).
 * This driver hot-adds it as a private node, offers that to cram, and then
 * pretends that behind the RAM there are fewer bytes of cells: a thread
 * compresses what was stored to learn how many cells it would hold. Users and
 * debugfs files: Documentation/admin-guide/mm/cram_sim.rst.
 *
 * Ordinary RAM does not tell who stores to it, but the engine does: resident
 * pages are read-only, so it knows each interval in which a page can change and
 * brackets it with the @storing and @stored hints. That makes a reading cheap
 * and exact: measure what changed since the last one, count what is not yet
 * measured at its worst.
 *
 * A model that believes the engine cannot catch it lying. Hence the patrol,
 * which slowly reads all pages and compares a hash of each with the one that
 * was measured: content that changed outside a bracket is a store that no one
 * consented to, and is counted as unannounced.
 *
 * Not modelled: CPU caches (a store reaches this device at once), time (the
 * thread needs the CPU that it models the absence of), and lost data. A store
 * that finds no cell is counted, but kept.
 */
#include <linux/bitmap.h>
#include <linux/cleanup.h>
#include <linux/cram.h>
#include <linux/cram_sim.h>
#include <linux/debugfs.h>
#include <linux/init.h>
#include <linux/kthread.h>
#include <linux/lz4.h>
#include <linux/mm.h>
#include <linux/platform_device.h>
#include <linux/private_node.h>
#include <linux/sched.h>
#include <linux/sched/signal.h>
#include <linux/slab.h>
#include <linux/spinlock.h>
#include <linux/wait.h>
#include <linux/xxhash.h>

#include "cram_sim.h"

/*
 * Stores wake the thread when so many pages are pending, to not make a context
 * switch of each; a reading does not wait for more to come, and nothing waits
 * for longer than CRAM_SIM_NAP. Trimmed pages go by the batch, too.
 */
#define CRAM_SIM_BATCH		64UL
#define CRAM_SIM_NAP		(HZ / 10)

/* By platform device id. Survives an unbind that could not drain the node. */
static struct cram_sim *cram_sims[CRAM_SIM_MAX];

/* ------------------------------------------------------------- the books -- */

/**
 * cram_sim_used - bytes of cells that are in use
 * @sim: the model
 *
 * Context: the lock of the books is held.
 * Return: so many; pages that are not measured yet count at their worst.
 */
u64 cram_sim_used(const struct cram_sim *sim)
{
	lockdep_assert_held(&sim->lock);
	return sim->held + (u64)sim->nr_pending * CRAM_SIM_WORST;
}

/**
 * cram_sim_free - bytes of cells that are free
 * @sim: the model
 *
 * Context: the lock of the books is held.
 * Return: so many, for certain.
 */
u64 cram_sim_free(const struct cram_sim *sim)
{
	return sim->physical - min(sim->physical, cram_sim_used(sim));
}

/* Whatever the thread is reading from this page, it will have to read again */
static void cram_sim_disturb(struct cram_sim *sim, unsigned long i)
{
	lockdep_assert_held(&sim->lock);
	if (i == sim->reading)
		sim->disturbed = true;
}

static void cram_sim_set_pending(struct cram_sim *sim, unsigned long i)
{
	cram_sim_disturb(sim, i);
	if (__test_and_set_bit(i, sim->pending))
		return;
	sim->nr_pending++;
	sim->held -= sim->cells[i];
	sim->nr_held -= !!sim->cells[i];
}

static void cram_sim_set_measured(struct cram_sim *sim, unsigned long i,
				  u32 cells, u64 hash)
{
	cram_sim_set_pending(sim, i);
	__clear_bit(i, sim->pending);
	sim->nr_pending--;
	sim->held += cells;
	sim->nr_held += !!cells;
	sim->cells[i] = cells;
	sim->hash[i] = hash;
}

static void cram_sim_set_open(struct cram_sim *sim, unsigned long i)
{
	cram_sim_disturb(sim, i);
	sim->nr_open += !__test_and_set_bit(i, sim->open);
}

static void cram_sim_set_closed(struct cram_sim *sim, unsigned long i)
{
	sim->nr_open -= __test_and_clear_bit(i, sim->open);
}

/* ----------------------------------------------------------- measurement -- */

static u64 cram_sim_hash(const void *page)
{
	return xxh64(page, PAGE_SIZE, 0) ?: CRAM_SIM_NO_HASH + 1;
}

/*
 * Copy a page to where nobody changes it. It may be a free page, which KASAN
 * and DEBUG_PAGEALLOC do not let anyone read, or a poisoned one that is gone
 * from the direct map: hence the accessor that neither instruments nor faults.
 * The hash of the copy, or CRAM_SIM_NO_HASH if there is none.
 */
static u64 cram_sim_read_page(struct cram_sim *sim, unsigned long i)
{
	const void *src = pfn_to_kaddr(sim->start_pfn + i);

	if (copy_from_kernel_nofault(sim->page, src, PAGE_SIZE))
		return CRAM_SIM_NO_HASH;
	return cram_sim_hash(sim->page);
}

/* Bytes of cells that the content of sim->page takes */
static u32 cram_sim_compress(struct cram_sim *sim)
{
	const u64 *words = sim->page;
	int len;

	/* All words equal their successors: one word repeats */
	if (!memcmp(words, words + 1, PAGE_SIZE - sizeof(*words)))
		return *words ? CRAM_SIM_METADATA : 0;

	len = LZ4_compress_default(sim->page, sim->block, PAGE_SIZE,
				   PAGE_SIZE - CRAM_SIM_GRANULE, sim->lz4);
	if (len <= 0)
		return CRAM_SIM_WORST;
	return CRAM_SIM_METADATA + round_up(len, CRAM_SIM_GRANULE);
}

/*
 * Measure one pending page; false if there is none.
 *
 * The cells of pages that are still pending count as free when a store looks
 * for room, because what they held before is no longer known to be held. So a
 * truthful engine is never blamed; stores beyond capacity still are, when the
 * last of them is measured.
 */
static bool cram_sim_measure(struct cram_sim *sim)
{
	bool over = false;
	u64 hash, old;
	u32 cells;
	unsigned long i;

	scoped_guard(spinlock_irq, &sim->lock) {
		if (!sim->nr_pending)
			return false;
		i = find_next_bit_wrap(sim->pending, sim->nr_pages, sim->cursor);
		sim->cursor = i + 1 < sim->nr_pages ? i + 1 : 0;
		sim->reading = i;
		sim->disturbed = false;
		old = sim->hash[i];
		cells = sim->cells[i];
	}

	hash = cram_sim_read_page(sim, i);
	if (hash == CRAM_SIM_NO_HASH)
		cells = CRAM_SIM_WORST;
	else if (hash != old)
		cells = cram_sim_compress(sim);

	scoped_guard(spinlock_irq, &sim->lock) {
		sim->reading = CRAM_SIM_NO_PAGE;
		if (!sim->disturbed) {
			cram_sim_set_measured(sim, i, cells, hash);
			over = hash != old && cells && sim->held > sim->physical;
			sim->over_capacity += over;
			sim->hurry &= !!sim->nr_pending;
		}
	}

	if (over)
		pr_warn_ratelimited("%s: no cell for a store to pfn %#lx\n",
				    sim->name, sim->start_pfn + i);
	return true;
}

/* Look at one page for a store that nobody announced; false if not allowed */
static bool cram_sim_patrol(struct cram_sim *sim)
{
	unsigned long i;
	u64 hash, old;

	scoped_guard(spinlock_irq, &sim->lock) {
		if (!sim->patrol_credit)
			return false;
		sim->patrol_credit--;
		i = sim->patrol_cursor;
		sim->patrol_cursor = i + 1 < sim->nr_pages ? i + 1 : 0;
		old = sim->hash[i];
		if (test_bit(i, sim->open) || test_bit(i, sim->pending) ||
		    old == CRAM_SIM_NO_HASH)
			return true;
		sim->reading = i;
		sim->disturbed = false;
	}

	hash = cram_sim_read_page(sim, i);

	scoped_guard(spinlock_irq, &sim->lock) {
		sim->reading = CRAM_SIM_NO_PAGE;
		if (hash == CRAM_SIM_NO_HASH || hash == old || sim->disturbed)
			return true;
		sim->unannounced++;
		cram_sim_set_pending(sim, i);
	}

	pr_warn_ratelimited("%s: unannounced store to pfn %#lx\n", sim->name,
			    sim->start_pfn + i);
	return true;
}

/**
 * cram_sim_grant_patrol - let the patrol look at pages
 * @sim: the model
 * @nr_pages: so many more
 *
 * Context: process.
 */
void cram_sim_grant_patrol(struct cram_sim *sim, unsigned long nr_pages)
{
	guard(spinlock_irq)(&sim->lock);
	sim->patrol_credit = max(sim->patrol_credit, nr_pages);
}

/**
 * cram_sim_has_work - has the thread something to do?
 * @sim: the model
 *
 * Context: process.
 * Return: true while pages are pending, or the patrol may look at some.
 */
bool cram_sim_has_work(struct cram_sim *sim)
{
	return READ_ONCE(sim->nr_pending) || READ_ONCE(sim->patrol_credit);
}

static bool cram_sim_is_wanted(struct cram_sim *sim)
{
	unsigned long enough = READ_ONCE(sim->hurry) ? 1 : CRAM_SIM_BATCH;

	return READ_ONCE(sim->nr_pending) >= enough ||
	       READ_ONCE(sim->patrol_credit);
}

static int cram_sim_thread(void *data)
{
	unsigned long next_patrol = jiffies;
	struct cram_sim *sim = data;
	bool measured, patrolled;

	/* It stands for hardware, which does not wait for a CPU */
	set_user_nice(current, MIN_NICE);

	while (!kthread_should_stop()) {
		if (time_after_eq(jiffies, next_patrol)) {
			cram_sim_grant_patrol(sim, READ_ONCE(sim->patrol_rate));
			next_patrol = jiffies + HZ;
		}

		measured = cram_sim_measure(sim);
		patrolled = cram_sim_patrol(sim);

		/* Readings wait for the one, a write to "patrol" for the other */
		if (((measured && !READ_ONCE(sim->nr_pending)) ||
		     !cram_sim_has_work(sim)) && wq_has_sleeper(&sim->idle))
			wake_up_all(&sim->idle);

		if (measured || patrolled) {
			cond_resched();
			continue;
		}

		wait_event_interruptible_timeout(sim->work,
						 cram_sim_is_wanted(sim) ||
						 kthread_should_stop(),
						 CRAM_SIM_NAP);
	}
	return 0;
}

/**
 * cram_sim_kick - have the thread go on now
 * @sim: the model
 *
 * Context: any.
 */
void cram_sim_kick(struct cram_sim *sim)
{
	if (cram_sim_is_wanted(sim) && wq_has_sleeper(&sim->work))
		wake_up(&sim->work);
}

/* ------------------------------------------- what the engine asks of it -- */

/**
 * cram_sim_index - where a range of pages begins in the books
 * @sim: the model
 * @pfn: its first page
 * @nr_pages: how many
 *
 * Context: any.
 * Return: the index of that page, or CRAM_SIM_NO_PAGE if not all of them are ours.
 */
unsigned long cram_sim_index(const struct cram_sim *sim,
			     unsigned long pfn, unsigned long nr_pages)
{
	unsigned long i = pfn - sim->start_pfn;

	if (pfn < sim->start_pfn || i >= sim->nr_pages ||
	    nr_pages > sim->nr_pages - i)
		return CRAM_SIM_NO_PAGE;
	return i;
}

/**
 * cram_sim_open_pages - stores to these pages may come
 * @sim: the model
 * @pfn: the first page
 * @nr_pages: how many
 *
 * Context: any.
 */
void cram_sim_open_pages(struct cram_sim *sim, unsigned long pfn,
			 unsigned int nr_pages)
{
	unsigned long i = cram_sim_index(sim, pfn, nr_pages);

	if (WARN_ON_ONCE(i == CRAM_SIM_NO_PAGE))
		return;

	guard(spinlock_irqsave)(&sim->lock);
	for (; nr_pages; i++, nr_pages--)
		cram_sim_set_open(sim, i);
}

/**
 * cram_sim_close_pages - no more stores to these pages come
 * @sim: the model
 * @pfn: the first page
 * @nr_pages: how many
 *
 * Context: any.
 */
void cram_sim_close_pages(struct cram_sim *sim, unsigned long pfn,
			  unsigned int nr_pages)
{
	unsigned long i = cram_sim_index(sim, pfn, nr_pages);

	if (WARN_ON_ONCE(i == CRAM_SIM_NO_PAGE))
		return;

	scoped_guard(spinlock_irqsave, &sim->lock) {
		for (; nr_pages; i++, nr_pages--) {
			cram_sim_set_closed(sim, i);
			cram_sim_set_pending(sim, i);
		}
	}
	cram_sim_kick(sim);
}

static int cram_sim_zero_pages(struct cram_sim *sim, unsigned long pfn,
			       unsigned long nr_pages)
{
	unsigned long i = cram_sim_index(sim, pfn, nr_pages);
	unsigned long j, nr;

	if (i == CRAM_SIM_NO_PAGE)
		return -EINVAL;

	for (; nr_pages; i += nr, nr_pages -= nr) {
		nr = min(nr_pages, CRAM_SIM_BATCH);

		/* Open while they change: the patrol reads without the lock */
		scoped_guard(spinlock_irq, &sim->lock) {
			for (j = i; j < i + nr; j++)
				cram_sim_set_open(sim, j);
		}
		clear_pages(pfn_to_kaddr(sim->start_pfn + i), nr);
		scoped_guard(spinlock_irq, &sim->lock) {
			for (j = i; j < i + nr; j++) {
				cram_sim_set_closed(sim, j);
				cram_sim_set_measured(sim, j, 0, sim->zero_hash);
			}
		}
		cond_resched();
	}
	return 0;
}

/*
 * Stores to open pages are not seen, so their cells are whatever they are when
 * the question comes: it makes them pending.
 */
static int cram_sim_answer(struct cram_sim *sim, struct cram_reading *r)
{
	unsigned long i;
	s64 lie;

	scoped_guard(spinlock_irq, &sim->lock) {
		if (sim->nr_open)
			for_each_set_bit(i, sim->open, sim->nr_pages)
				cram_sim_set_pending(sim, i);
		sim->hurry = sim->nr_pending;
	}
	cram_sim_kick(sim);

	/* Worth a while: what is still pending afterwards counts at its worst */
	if (wait_event_interruptible_timeout(sim->idle,
					     !READ_ONCE(sim->nr_pending),
					     msecs_to_jiffies(READ_ONCE(sim->settle_ms))) < 0)
		return -EINTR;

	guard(spinlock_irq)(&sim->lock);
	lie = READ_ONCE(sim->lie);
	r->physical = sim->physical;
	r->physical_free = lie < 0 ? cram_sim_free(sim) : lie;
	r->room = r->physical_free;
	if (lie < 0)
		r->unsettled = min(sim->nr_pending * CRAM_SIM_WORST,
				   sim->physical - r->physical_free);
	r->over_capacity = sim->over_capacity;
	return 0;
}

static int cram_sim_ask(struct cram_sim *sim, struct cram_reading *r)
{
	u32 delay = READ_ONCE(sim->delay_ms);
	u32 fail = READ_ONCE(sim->fail);
	int err;

	scoped_guard(spinlock_irq, &sim->lock)
		sim->readings++;

	if (READ_ONCE(sim->gone))
		return -ENODEV;
	if (READ_ONCE(sim->drop)) {
		if (wait_event_interruptible(sim->idle, !READ_ONCE(sim->drop)))
			return -EINTR;
		return -ETIMEDOUT;
	}

	err = fail ? -(int)fail : cram_sim_answer(sim, r);

	/* Late, and as old as it is late: that is what a lease has to bear */
	if (delay &&
	    wait_event_interruptible_timeout(sim->idle,
					     !READ_ONCE(sim->delay_ms),
					     msecs_to_jiffies(delay)) < 0)
		return -EINTR;
	return err;
}

static int cram_sim_read_capacity(struct cram_node *cn, struct cram_reading *r)
{
	return cram_sim_ask(cram_node_priv(cn), r);
}

static int cram_sim_trim(struct cram_node *cn, const struct range *ranges,
			 unsigned int nr_ranges)
{
	struct cram_sim *sim = cram_node_priv(cn);
	int err = 0;

	for (; nr_ranges && !err; ranges++, nr_ranges--) {
		WRITE_ONCE(sim->trimmed, sim->trimmed + PHYS_PFN(range_len(ranges)));
		err = cram_sim_zero_pages(sim, PHYS_PFN(ranges->start),
					  PHYS_PFN(range_len(ranges)));
	}
	return err;
}

static void cram_sim_storing(struct cram_node *cn, unsigned long pfn,
			     unsigned int nr_pages)
{
	cram_sim_open_pages(cram_node_priv(cn), pfn, nr_pages);
}

static void cram_sim_stored(struct cram_node *cn, unsigned long pfn,
			    unsigned int nr_pages)
{
	cram_sim_close_pages(cram_node_priv(cn), pfn, nr_pages);
}

/* What was written to the file, once; it is for who wrote it to know why */
static int cram_sim_hot_list(struct cram_node *cn, unsigned long *pfns,
			     unsigned int max)
{
	struct cram_sim *sim = cram_node_priv(cn);
	u32 fail = READ_ONCE(sim->fail);
	unsigned int nr;

	if (READ_ONCE(sim->gone))
		return -ENODEV;
	if (fail)
		return -(int)fail;

	guard(spinlock_irq)(&sim->lock);
	nr = min(max, sim->nr_hot);
	memcpy(pfns, sim->hot, nr * sizeof(*pfns));
	sim->nr_hot -= nr;
	memmove(sim->hot, sim->hot + nr, sim->nr_hot * sizeof(*pfns));
	return nr;
}

static const struct cram_node_ops cram_sim_ops = {
	.read_capacity	= cram_sim_read_capacity,
	.trim		= cram_sim_trim,
	.storing	= cram_sim_storing,
	.stored		= cram_sim_stored,
	.hot_list	= cram_sim_hot_list,
};

/* ------------------------------------------------------ bind and unbind -- */

static void cram_sim_reset_knobs(struct cram_sim *sim)
{
	sim->lie = -1;
	sim->settle_ms = 50;
	sim->patrol_rate = 1024;
	sim->fail = 0;
	WRITE_ONCE(sim->delay_ms, 0);
	WRITE_ONCE(sim->drop, false);
	wake_up_all(&sim->idle);
}

static void cram_sim_destroy(struct cram_sim *sim)
{
	if (!sim)
		return;
	if (!IS_ERR_OR_NULL(sim->task))
		kthread_stop(sim->task);
	kvfree(sim->cells);
	kvfree(sim->hash);
	bitmap_free(sim->pending);
	bitmap_free(sim->open);
	kfree(sim->page);
	kfree(sim->block);
	kvfree(sim->lz4);
	kfree(sim);
}

DEFINE_FREE(cram_sim_destroy, struct cram_sim *, cram_sim_destroy(_T))

/* All pages pending: it is not known what they hold */
static struct cram_sim *cram_sim_create(const char *name, unsigned long start_pfn,
					unsigned long nr_pages, u64 physical)
{
	struct cram_sim *sim __free(cram_sim_destroy) = kzalloc_obj(*sim);

	if (!sim)
		return NULL;

	sim->name = name;
	sim->start_pfn = start_pfn;
	sim->nr_pages = nr_pages;
	sim->nid = NUMA_NO_NODE;
	sim->physical = physical;
	sim->reading = CRAM_SIM_NO_PAGE;
	sim->store_pfn = start_pfn;
	sim->cells_pfn = start_pfn;
	spin_lock_init(&sim->lock);
	init_waitqueue_head(&sim->work);
	init_waitqueue_head(&sim->idle);
	cram_sim_reset_knobs(sim);

	sim->cells = kvcalloc(nr_pages, sizeof(*sim->cells), GFP_KERNEL);
	sim->hash = kvcalloc(nr_pages, sizeof(*sim->hash), GFP_KERNEL);
	sim->pending = bitmap_alloc(nr_pages, GFP_KERNEL);
	sim->open = bitmap_zalloc(nr_pages, GFP_KERNEL);
	sim->page = kmalloc(PAGE_SIZE, GFP_KERNEL);
	sim->block = kmalloc(PAGE_SIZE, GFP_KERNEL);
	sim->lz4 = kvmalloc(LZ4_MEM_COMPRESS, GFP_KERNEL);
	if (!sim->cells || !sim->hash || !sim->pending || !sim->open ||
	    !sim->page || !sim->block || !sim->lz4)
		return NULL;

	sim->zero_hash = cram_sim_hash(page_address(ZERO_PAGE(0)));
	bitmap_fill(sim->pending, nr_pages);
	sim->nr_pending = nr_pages;
	return no_free_ptr(sim);
}

/*
 * Memory of a fresh device reads as zeroes. Memory that stayed behind because
 * somebody still held a page of it when the device was last unbound may not be
 * touched: it is all pending then, and gets measured.
 */
static int cram_sim_add_memory(struct cram_sim *sim)
{
	struct range range = {
		.start	= PFN_PHYS(sim->start_pfn),
		.end	= PFN_PHYS(sim->start_pfn + sim->nr_pages) - 1,
	};
	int err;

	if (node_is_private(sim->nid))
		return 0;

	err = add_private_memory(sim->nid, &range, 1, "cram_sim", NULL);
	if (err)
		return err;
	return cram_sim_zero_pages(sim, sim->start_pfn, sim->nr_pages);
}

static int cram_sim_start(struct cram_sim *sim)
{
	struct cram_node_desc desc = {
		.name		= sim->name,
		.ops		= &cram_sim_ops,
		.cells_per_page	= CRAM_SIM_WORST,
		.priv		= sim,
	};

	sim->task = kthread_run(cram_sim_thread, sim, "%s", sim->name);
	if (IS_ERR(sim->task))
		return PTR_ERR(sim->task);

	sim->cn = cram_register_node(sim->nid, &desc);
	return PTR_ERR_OR_ZERO(sim->cn);
}

static void cram_sim_stop(struct cram_sim *sim)
{
	const char *name = sim->name;
	int err, nid = sim->nid;

	cram_sim_destroy(sim);
	err = remove_private_memory(nid);
	if (err)
		pr_warn("%s: cannot remove the memory of node %d: %d\n", name,
			nid, err);
}

static int cram_sim_probe(struct platform_device *pdev)
{
	const struct cram_sim_desc *desc = &cram_sim_descs[pdev->id];
	int err;

	/* The engine kept the node at the last unbind: there it is again */
	if (cram_sims[pdev->id]) {
		WRITE_ONCE(cram_sims[pdev->id]->gone, false);
		cram_sim_debugfs_create(cram_sims[pdev->id], pdev->id);
		return 0;
	}

	if (debug_pagealloc_enabled())
		return dev_err_probe(&pdev->dev, -EOPNOTSUPP,
				     "cannot trim free pages with debug_pagealloc\n");

	struct cram_sim *sim __free(cram_sim_destroy) =
		cram_sim_create(dev_name(&pdev->dev), PHYS_PFN(desc->start),
				PHYS_PFN(desc->size), desc->physical);
	if (!sim)
		return -ENOMEM;

	sim->nid = desc->nid;
	err = cram_sim_add_memory(sim);
	if (err)
		return dev_err_probe(&pdev->dev, err, "cannot add node %d\n",
				     sim->nid);

	err = cram_sim_start(sim);
	if (err) {
		cram_sim_stop(no_free_ptr(sim));
		return dev_err_probe(&pdev->dev, err,
				     "cannot register node %d\n", desc->nid);
	}

	dev_info(&pdev->dev, "node %d: %llu MiB with %llu MiB of cells\n",
		 sim->nid, desc->size >> 20, desc->physical >> 20);
	cram_sim_debugfs_create(sim, pdev->id);
	cram_sims[pdev->id] = no_free_ptr(sim);
	return 0;
}

/*
 * Moving pages off and offlining give up on any signal, but unbinding is not
 * restarted: the exit of some child must not leave half a device behind.
 */
static void cram_sim_remove(struct platform_device *pdev)
{
	struct cram_sim *sim = cram_sims[pdev->id];
	sigset_t fatal_only, before;
	int err;

	/* First: no one can drop an answer that unregistering waits for */
	debugfs_remove(sim->dir);
	cram_sim_reset_knobs(sim);

	siginitsetinv(&fatal_only, sigmask(SIGKILL));
	sigprocmask(SIG_SETMASK, &fatal_only, &before);

	err = cram_unregister_node(sim->cn);
	if (err) {
		dev_warn(&pdev->dev, "node %d is still in use: %d\n", sim->nid, err);
		WRITE_ONCE(sim->gone, true);
	} else {
		cram_sims[pdev->id] = NULL;
		cram_sim_stop(sim);
	}

	sigprocmask(SIG_SETMASK, &before, NULL);
}

static struct platform_driver cram_sim_driver = {
	.probe	= cram_sim_probe,
	.remove	= cram_sim_remove,
	.driver	= {
		.name = "cram_sim",
	},
};

/* As late as can be: needs the engine, memory blocks and nodes */
static int __init cram_sim_init(void)
{
	struct platform_device *pdev;
	int err, id;

	cram_sim_debugfs_init();
	err = platform_driver_register(&cram_sim_driver);
	if (err)
		return err;

	for (id = 0; id < CRAM_SIM_MAX; id++) {
		if (!cram_sim_descs[id].size ||
		    cram_sim_descs[id].nid == NUMA_NO_NODE)
			continue;
		pdev = platform_device_register_simple("cram_sim", id, NULL, 0);
		if (IS_ERR(pdev))
			pr_err("cram_sim.%d: no device: %pe\n", id, pdev);
	}
	return 0;
}

late_initcall(cram_sim_init);

#if IS_ENABLED(CONFIG_CRAM_SIM_KUNIT_TEST)
#include "cram_sim_test.c"
#endif
