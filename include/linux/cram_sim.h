/* SPDX-License-Identifier: GPL-2.0 */
/*
 * cram_sim: what the boot-time half (arch/x86/mm/cram_sim.c) hands to the model
 * device (drivers/cxl/cram_sim.c).
 */
#ifndef _LINUX_CRAM_SIM_H
#define _LINUX_CRAM_SIM_H

#include <linux/types.h>

#define CRAM_SIM_MAX	8

/**
 * struct cram_sim_desc - one model device as the command line describes it
 * @start: first byte of the RAM that was set aside; 0 until it was, if the
 *	command line does not say
 * @size: logical bytes; 0 if no RAM could be set aside
 * @physical: bytes of cells that the model pretends to have
 * @nid: node that was made possible for it, or NUMA_NO_NODE
 */
struct cram_sim_desc {
	u64 start;
	u64 size;
	u64 physical;
	int nid;
};

#ifdef CONFIG_CRAM_SIM

extern struct cram_sim_desc cram_sim_descs[CRAM_SIM_MAX];

void cram_sim_reserve(void);
void cram_sim_add_nodes(void);

#else

static inline void cram_sim_reserve(void) { }
static inline void cram_sim_add_nodes(void) { }

#endif /* CONFIG_CRAM_SIM */

#endif /* _LINUX_CRAM_SIM_H */
