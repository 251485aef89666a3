/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Private NUMA nodes: memory that only an explicit private allocation can take.
 *
 * See Documentation/mm/private_node.rst for the rules and mm/private_node.c for
 * the code. Nothing in here knows about compressed memory: cram is one user.
 *
 * The hooks in existing mm files call inlines of this header, which are patched
 * out while there is no private node. It is included by <linux/vmstat.h>, so it
 * must not need <linux/mm.h>.
 */
#ifndef _LINUX_PRIVATE_NODE_H
#define _LINUX_PRIVATE_NODE_H

#include <linux/bug.h>
#include <linux/errno.h>
#include <linux/jump_label.h>
#include <linux/mmzone.h>
#include <linux/nodemask.h>
#include <linux/range.h>

struct folio;

/**
 * struct private_node_ops - what the user of a private node wants to be asked
 * @offline: a range of the node is about to go offline, by the sysfs file of a
 *	memory block or by remove_private_memory(). Process context, may sleep,
 *	the memory hotplug lock is held for writing. A negative errno vetoes.
 *	Optional.
 * @online: a range went online, or its offlining was cancelled. Same context.
 *	Optional.
 */
struct private_node_ops {
	int (*offline)(int nid, unsigned long start_pfn, unsigned long nr_pages);
	void (*online)(int nid, unsigned long start_pfn, unsigned long nr_pages);
};

#ifdef CONFIG_PRIVATE_NODE

DECLARE_STATIC_KEY_FALSE(private_node_key);

int add_private_memory(int nid, const struct range *ranges, int nr_ranges,
		       const char *name, const struct private_node_ops *ops);
int remove_private_memory(int nid);
struct folio *folio_alloc_private_noprof(int nid, unsigned int order, gfp_t gfp);
#define folio_alloc_private(...) \
	alloc_hooks(folio_alloc_private_noprof(__VA_ARGS__))

/* For the hooks in mm/ */
struct page *alloc_private_frozen_page(int nid, unsigned int order, gfp_t gfp);
bool private_node_refuses_memory(int nid);
unsigned long private_managed_pages(void);
unsigned long __private_zone_free_pages(enum zone_stat_item item);

/*
 * private_node_active - is there a private node in this machine?
 */
static inline bool private_node_active(void)
{
	return static_branch_unlikely(&private_node_key);
}

/**
 * node_is_private - is this node's memory reserved for private allocations?
 * @nid: a node id, online or not; NUMA_NO_NODE is not private
 *
 * Return: true if so. Any context; one patched-out branch if there is none.
 */
static inline bool node_is_private(int nid)
{
	return private_node_active() && nid != NUMA_NO_NODE &&
	       NODE_DATA(nid) && NODE_DATA(nid)->private;
}

/*
 * Free memory means memory that an ordinary allocation can get: what private
 * zones contribute to a global counter of free pages is taken out by its reader.
 */
static inline unsigned long private_zone_free_pages(enum zone_stat_item item)
{
	if (!private_node_active() ||
	    (item != NR_FREE_PAGES && item != NR_FREE_PAGES_BLOCKS))
		return 0;
	return __private_zone_free_pages(item);
}

#else

static inline bool private_node_active(void)
{
	return false;
}

static inline bool node_is_private(int nid)
{
	return false;
}

static inline bool private_node_refuses_memory(int nid)
{
	return false;
}

static inline unsigned long private_zone_free_pages(enum zone_stat_item item)
{
	return 0;
}

#endif /* CONFIG_PRIVATE_NODE */

/* Macros, because page_to_nid() and folio_nid() are in <linux/mm.h> */
#define zone_is_private(zone)		node_is_private(zone_to_nid(zone))
#define page_is_private_node(page)	node_is_private(page_to_nid(page))
#define folio_is_private_node(folio)	node_is_private(folio_nid(folio))

/*
 * Every page that the allocator hands out comes by here. Warns when a page of a
 * private node was not asked for as such, or the other way round.
 */
static inline void private_node_verify_alloc(int nid, bool wanted)
{
	if (IS_ENABLED(CONFIG_PRIVATE_NODE_VERIFY))
		WARN_ONCE(node_is_private(nid) != wanted,
			  "page of node %d allocated by the wrong road\n", nid);
}

#endif /* _LINUX_PRIVATE_NODE_H */
