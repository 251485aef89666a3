// SPDX-License-Identifier: GPL-2.0
/*
 * Private NUMA nodes: memory that only an explicit private allocation can take.
 *
 * A private node is hotplugged memory whose zone is in no zonelist. Everything
 * that walks zonelists, and everything that looks for nodes in N_MEMORY, passes
 * it by without knowing about it; folio_alloc_private() is the only way in.
 * What is allocated there is an ordinary folio: on the LRU lists of its node,
 * with rmap and memcg, and it can be migrated away.
 *
 * This file makes and unmakes private nodes for drivers, on top of memory
 * hotplug, and keeps what the hooks in the rest of mm ask for. It knows nothing
 * about what the memory is good for, and never allocates or frees on its own.
 *
 * Locks, outermost first:
 *   private_node_mutex	one add or remove at a time
 *   device_hotplug_lock	pgdat->private, private_nodes[], the node's blocks
 *   RCU			private_nodes[] for folio_alloc_private()
 *
 * See Documentation/mm/private_node.rst.
 */
#define pr_fmt(fmt) "private_node: " fmt

#include <linux/cleanup.h>
#include <linux/device.h>
#include <linux/export.h>
#include <linux/memory.h>
#include <linux/memory_hotplug.h>
#include <linux/mm.h>
#include <linux/mutex.h>
#include <linux/private_node.h>
#include <linux/rcupdate.h>
#include <linux/sched.h>
#include <linux/slab.h>
#include <linux/topology.h>
#include <linux/vmstat.h>

#include "internal.h"

/*
 * struct private_node - one private node, from add to remove
 * @nid: the node
 * @open: folio_alloc_private() may allocate
 * @adder: the task that adds memory to the node right now, nobody else may
 * @ops: what the driver wants to be asked, or NULL
 * @res_name: name of the memory's resources, which point to it
 * @nr_ranges: elements of @ranges that have been added
 * @ranges: physical addresses, room for all that are to be added
 */
struct private_node {
	int nid;
	bool open;
	struct task_struct *adder;
	const struct private_node_ops *ops;
	const char *res_name;
	unsigned int nr_ranges;
	struct range ranges[];
};

DEFINE_STATIC_KEY_FALSE(private_node_key);
/* Not _GPL: inlines of <linux/vmstat.h> that any module may use need it */
EXPORT_SYMBOL(private_node_key);

static DEFINE_MUTEX(private_node_mutex);
static struct private_node __rcu *private_nodes[MAX_NUMNODES];

/* For holders of private_node_mutex or of device_hotplug_lock */
static struct private_node *private_node_locked(int nid)
{
	return rcu_dereference_protected(private_nodes[nid], true);
}

/**
 * folio_alloc_private - allocate a folio on a private node
 * @nid: the private node
 * @order: the folio's order, up to MAX_PAGE_ORDER
 * @gfp: modifiers; what asks for reclaim, reserves or another place is ignored
 *
 * Takes a free page of this node and of no other, or fails: it does not
 * reclaim, wake kswapd, invoke the OOM killer, use reserves, look at memory
 * policies and cpusets, or charge a memcg. Both are the caller's to decide.
 *
 * The content is what the last user left, even with init_on_alloc: zeroing
 * would store to memory that may have no room for it. The caller overwrites all
 * of it before anybody else sees it. %__GFP_ZERO, %__GFP_ACCOUNT and
 * %__GFP_NOFAIL are bugs of the caller.
 *
 * Context: any but NMI. Does not sleep.
 * Return: a folio with one reference, or NULL: no free page of this order, or
 * the node is not private or going away.
 */
struct folio *folio_alloc_private_noprof(int nid, unsigned int order, gfp_t gfp)
{
	struct private_node *pn;
	struct page *page;

	if (WARN_ON_ONCE(gfp & (__GFP_ZERO | __GFP_ACCOUNT | __GFP_NOFAIL)) ||
	    WARN_ON_ONCE(order > MAX_PAGE_ORDER) || !node_is_private(nid))
		return NULL;

	gfp &= ~(GFP_ZONEMASK | __GFP_RECLAIM | __GFP_HIGH | __GFP_MEMALLOC |
		 __GFP_WRITE | __GFP_HARDWALL | __GFP_RETRY_MAYFAIL);
	gfp |= GFP_HIGHUSER_MOVABLE & GFP_ZONEMASK;
	gfp |= __GFP_THISNODE | __GFP_NOMEMALLOC | __GFP_NOWARN | __GFP_COMP;

	/* remove_private_memory() waits for us before it touches the zone */
	guard(rcu)();
	pn = rcu_dereference(private_nodes[nid]);
	if (!pn || !READ_ONCE(pn->open))
		return NULL;

	page = alloc_private_frozen_page(nid, order, gfp);
	if (!page)
		return NULL;
	set_page_refcounted(page);
	return page_rmappable_folio(page);
}
EXPORT_SYMBOL_GPL(folio_alloc_private_noprof);

/*
 * Would this hotplugged memory become private although its owner does not know?
 * Called with device_hotplug_lock held, before memory is added to a node.
 */
bool private_node_refuses_memory(int nid)
{
	struct private_node *pn = private_node_locked(nid);

	return pn && pn->adder != current;
}

unsigned long private_managed_pages(void)
{
	unsigned long pages = 0;
	int nid;

	for_each_node_state(nid, N_MEMORY_PRIVATE)
		pages += zone_managed_pages(&NODE_DATA(nid)->node_zones[ZONE_MOVABLE]);
	return pages;
}

unsigned long __private_zone_free_pages(enum zone_stat_item item)
{
	unsigned long pages = 0;
	int nid;

	for_each_node_state(nid, N_MEMORY_PRIVATE)
		pages += sum_zone_node_page_state(nid, item);
	return pages;
}
EXPORT_SYMBOL(__private_zone_free_pages);

/*
 * N_MEMORY_PRIVATE follows the blocks of the node, whoever switches them on and
 * off: a driver through us, or user space through sysfs.
 */
static int private_node_memory_notify(struct notifier_block *nb,
				      unsigned long action, void *arg)
{
	struct memory_notify *mn = arg;
	int nid = pfn_to_nid(mn->start_pfn);
	const struct private_node_ops *ops;
	int ret = 0;

	if (!node_is_private(nid))
		return NOTIFY_DONE;

	ops = private_node_locked(nid)->ops;
	switch (action) {
	case MEM_ONLINE:
		node_set_state(nid, N_MEMORY_PRIVATE);
		fallthrough;
	case MEM_CANCEL_OFFLINE:
		if (ops && ops->online)
			ops->online(nid, mn->start_pfn, mn->nr_pages);
		break;
	case MEM_GOING_OFFLINE:
		if (ops && ops->offline)
			ret = ops->offline(nid, mn->start_pfn, mn->nr_pages);
		break;
	case MEM_OFFLINE:
		if (!node_present_pages(nid))
			node_clear_state(nid, N_MEMORY_PRIVATE);
		break;
	}
	return notifier_from_errno(ret);
}

static int __init private_node_init(void)
{
	hotplug_memory_notifier(private_node_memory_notify, DEFAULT_CALLBACK_PRI);
	return 0;
}
subsys_initcall(private_node_init);

static int private_node_has_block(struct memory_block *mem, void *arg)
{
	return mem->nid == *(int *)arg ? -EBUSY : 0;
}

/* Reserve an empty node for the ranges. From here on it is private. */
static int private_node_claim(struct private_node *pn)
{
	int nid = pn->nid, ret;

	if (node_state(nid, N_MEMORY) || node_spanned_pages(nid))
		return -EBUSY;

	/* Offline blocks that somebody could put online later */
	ret = for_each_memory_block(&nid, private_node_has_block);
	if (ret)
		return ret;

	pn->adder = current;
	NODE_DATA(nid)->private = true;
	rcu_assign_pointer(private_nodes[nid], pn);
	return 0;
}

/* All memory is gone: the node is as good as new, and @pn is nobody's. */
static void private_node_release(struct private_node *pn)
{
	lock_device_hotplug();
	NODE_DATA(pn->nid)->private = false;
	RCU_INIT_POINTER(private_nodes[pn->nid], NULL);
	unlock_device_hotplug();

	synchronize_rcu();
	static_branch_dec(&private_node_key);
}

static void private_node_free(struct private_node *pn)
{
	if (pn)
		kfree(pn->res_name);
	kfree(pn);
}
DEFINE_FREE(private_node, struct private_node *, private_node_free(_T))

static int private_block_online(struct memory_block *mem, void *unused)
{
	int ret;

	if (mem->state == MEM_ONLINE)
		return 0;

	mem->online_type = MMOP_ONLINE_MOVABLE;
	ret = device_online(&mem->dev);
	return ret < 0 ? ret : 0;
}

static int private_node_add_range(struct private_node *pn,
				  const struct range *range)
{
	int ret;

	ret = __add_memory_driver_managed(pn->nid, range->start, range_len(range),
					  pn->res_name, MHP_NONE,
					  MMOP_ONLINE_MOVABLE);
	if (ret)
		return ret;

	pn->nr_ranges++;
	pn->ranges[pn->nr_ranges - 1] = *range;

	/* Adding does not tell whether a block failed to go online, and why */
	lock_device_hotplug();
	ret = walk_memory_blocks(range->start, range_len(range), NULL,
				 private_block_online);
	unlock_device_hotplug();
	return ret;
}

/* So often memory is waited for that removing memory takes, a tenth of a second each */
#define PRIVATE_REMOVE_RETRIES	20

/*
 * The device that goes will not stay because a few bytes are short, and the node would
 * be of no use until the next boot.
 */
static int private_node_remove_ranges(struct private_node *pn)
{
	int retries = PRIVATE_REMOVE_RETRIES, ret;

	for (;;) {
		ret = offline_and_remove_memory_ranges(pn->ranges, pn->nr_ranges);
		if (ret != -ENOMEM || !retries-- || fatal_signal_pending(current))
			return ret;
		schedule_timeout_uninterruptible(HZ / 10);
	}
}

static bool private_ranges_valid(const struct range *ranges, int nr_ranges)
{
	u64 align = memory_block_size_bytes();
	int i;

	for (i = 0; i < nr_ranges; i++) {
		if (ranges[i].end < ranges[i].start ||
		    !IS_ALIGNED(ranges[i].start, align) ||
		    !IS_ALIGNED(range_len(&ranges[i]), align))
			return false;
	}
	return nr_ranges > 0;
}

static bool private_nid_valid(int nid)
{
	int cpu;

	if (!numa_valid_node(nid) || !node_possible(nid))
		return false;

	/* A CPU would look here first, also if it comes later */
	for_each_possible_cpu(cpu) {
		if (cpu_to_node(cpu) == nid)
			return false;
	}
	return true;
}

/**
 * add_private_memory - make a private node of some physical memory
 * @nid: a possible node without CPUs and memory
 * @ranges: physical address ranges (inclusive ends), aligned to memory blocks
 * @nr_ranges: number of elements in @ranges
 * @name: of the driver, seen in /proc/iomem as "System RAM (name)"
 * @ops: what the caller wants to be asked, or NULL; must outlive the node
 *
 * All blocks are online and allocatable by folio_alloc_private() when it
 * succeeds; when it fails, the machine is as it was before. The memory's
 * content is not touched: it is neither zeroed nor poisoned.
 *
 * Context: process context. Takes the memory hotplug locks.
 * Return: 0, or * -EINVAL: @nid is not possible or has CPUs, a range is empty or
 * unaligned, or @name is missing * -EEXIST: @nid is a private node already, or a
 * range is in use * -EBUSY: @nid has ordinary memory, online or not * other
 * errors of memory hotplug, like -ENOMEM and -E2BIG
 */
int add_private_memory(int nid, const struct range *ranges, int nr_ranges,
		       const char *name, const struct private_node_ops *ops)
{
	struct private_node *pn __free(private_node) = NULL;
	int ret, undo, i;

	if (!name || !private_nid_valid(nid) ||
	    !private_ranges_valid(ranges, nr_ranges))
		return -EINVAL;

	guard(mutex)(&private_node_mutex);

	if (private_node_locked(nid))
		return -EEXIST;

	pn = kzalloc(struct_size(pn, ranges, nr_ranges), GFP_KERNEL);
	if (!pn)
		return -ENOMEM;
	pn->nid = nid;
	pn->ops = ops;
	pn->res_name = kasprintf(GFP_KERNEL, "System RAM (%s)", name);
	if (!pn->res_name)
		return -ENOMEM;

	static_branch_inc(&private_node_key);
	lock_device_hotplug();
	ret = private_node_claim(pn);
	unlock_device_hotplug();
	if (ret) {
		static_branch_dec(&private_node_key);
		return ret;
	}

	for (i = 0; i < nr_ranges && !ret; i++)
		ret = private_node_add_range(pn, &ranges[i]);
	WRITE_ONCE(pn->adder, NULL);

	if (!ret) {
		pr_info("node %d: %lu MiB of %s\n", nid,
			node_present_pages(nid) >> (20 - PAGE_SHIFT), name);
		WRITE_ONCE(pn->open, true);
		retain_and_null_ptr(pn);
		return 0;
	}

	/* Nobody could allocate there yet, so there is nothing to migrate */
	undo = pn->nr_ranges ? private_node_remove_ranges(pn) : 0;
	if (undo) {
		pr_err("node %d: cannot undo a failed add: %d\n", nid, undo);
		retain_and_null_ptr(pn);
		return ret;
	}
	private_node_release(pn);
	return ret;
}
EXPORT_SYMBOL_GPL(add_private_memory);

/**
 * remove_private_memory - take a private node's memory away
 * @nid: a node made by add_private_memory()
 *
 * From the start on, folio_alloc_private() finds nothing there. Pages in use
 * are migrated to ordinary memory; a page that cannot be moved makes this wait
 * until it can, or until the caller gets a signal, as any offlining does. A
 * caller that must not wait empties the node first.
 *
 * When it succeeds, the node is as good as new: it can take ordinary memory or
 * be private again. When it fails, everything is as it was before, and the node
 * is open again. It does not fail at once for want of memory, but tries again for two
 * seconds.
 *
 * Context: process context. Takes the memory hotplug locks.
 * Return: 0, -ENODEV if @nid is not a private node, -EINTR on a signal, what
 * &private_node_ops.offline returned, or another error of memory offlining.
 */
int remove_private_memory(int nid)
{
	struct private_node *pn;
	int ret;

	if (!numa_valid_node(nid))
		return -ENODEV;

	guard(mutex)(&private_node_mutex);

	pn = private_node_locked(nid);
	if (!pn)
		return -ENODEV;

	WRITE_ONCE(pn->open, false);
	synchronize_rcu();

	ret = private_node_remove_ranges(pn);
	if (ret) {
		WRITE_ONCE(pn->open, true);
		return ret;
	}

	private_node_release(pn);
	private_node_free(pn);
	return 0;
}
EXPORT_SYMBOL_GPL(remove_private_memory);
