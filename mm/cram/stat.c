// SPDX-License-Identifier: GPL-2.0
/*
 * Counting: each event once for the machine and once for the cgroup; and what of
 * memory.stat is not in memory.current.
 */
#include <linux/memcontrol.h>
#include <linux/mm.h>
#include <linux/nodemask.h>
#include <linux/vmstat.h>

#include "internal.h"

/* In the order of the enum, which is made from the same list */
#define CRAM_STAT_NAME(upper, lower)	#lower,
const char * const cram_stat_names[NR_CRAM_STATS] = { CRAM_STATS(CRAM_STAT_NAME) };

/**
 * cram_count - count something that happened to pages
 * @cg: whose pages
 * @item: what happened
 * @nr: to how many pages
 *
 * Context: any; RCU.
 */
void cram_count(struct cram_cgroup *cg, enum cram_stat item, long nr)
{
	/* The machine's counters stand in the same order, see cram_stat.h */
	count_vm_events(CRAM_DEMOTE + item, nr);
	cram_cgroup_count(cg, item, nr);
}

/*
 * Whatever counts pages where they are, counts resident ones on their node. Those
 * that MADV_FREE has freed are on the lists of files. No other item grows by a page
 * that becomes resident, or it counts events.
 */
static bool cram_item_of_pages(int item)
{
	switch (item) {
	case NR_ANON_MAPPED:
	case NR_ANON_THPS:
	case NR_INACTIVE_ANON:
	case NR_ACTIVE_ANON:
	case NR_INACTIVE_FILE:
	case NR_ACTIVE_FILE:
	case NR_UNEVICTABLE:
	case NR_WRITEBACK:
#ifdef CONFIG_SWAP
	case NR_SWAPCACHE:
#endif
		return true;
	default:
		return false;
	}
}

u64 __cram_charged_stat(struct mem_cgroup *memcg, int item, u64 bytes)
{
	u64 resident = 0;
	int nid;

	if (!cram_item_of_pages(item) || cram_hook_disabled(CRAM_HOOK_STAT))
		return bytes;
	for_each_node_mask(nid, cram_nodes)
		resident += lruvec_page_state(mem_cgroup_lruvec(memcg, NODE_DATA(nid)), item);
	/* Of two sums that change while they are made */
	return bytes - min(bytes, resident * PAGE_SIZE);
}
