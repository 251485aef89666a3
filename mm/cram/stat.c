// SPDX-License-Identifier: GPL-2.0
/*
 * Counting: each event once for the machine and once for the cgroup.
 */
#include <linux/mm.h>
#include <linux/vmstat.h>

#include "internal.h"

#define CRAM_STAT_NAME(upper, lower)	[CRAM_STAT_##upper] = #lower,
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
