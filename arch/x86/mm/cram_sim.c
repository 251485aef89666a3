// SPDX-License-Identifier: GPL-2.0
/*
 * The boot-time half of cram_sim: sets ordinary RAM aside for model devices and
 * makes a NUMA node possible for each, both of which only early boot can do.
 * drivers/cxl/cram_sim.c brings the devices up much later.
 *
 * The RAM has to look to the rest of boot like the window of a device that
 * nobody has probed yet: no memblock, no direct map, no busy resource, so that
 * hot-adding it takes the same road as hot-adding a real expander.
 */
#define pr_fmt(fmt) "cram_sim: " fmt

#include <linux/init.h>
#include <linux/cram_sim.h>
#include <linux/kernel.h>
#include <linux/memblock.h>
#include <linux/memory.h>
#include <linux/mm.h>
#include <linux/nodemask.h>
#include <linux/sizes.h>
#include <linux/string.h>

#include <asm/e820/api.h>

struct cram_sim_desc cram_sim_descs[CRAM_SIM_MAX] __ro_after_init;

/* The node that the command line asks for: numa_init() may run several times */
static int cram_sim_wanted[CRAM_SIM_MAX] __initdata;
static unsigned int cram_sim_nr __initdata;

static int __init cram_sim_parse_option(struct cram_sim_desc *desc, int *nid,
					const char *opt)
{
	char *end;

	if (str_has_prefix(opt, "physical=")) {
		desc->physical = memparse(opt + strlen("physical="), &end);
		return desc->physical && !*end ? 0 : -EINVAL;
	}
	if (str_has_prefix(opt, "nid="))
		return kstrtoint(opt + strlen("nid="), 0, nid);
	return -EINVAL;
}

/* <size>[@<start>][,physical=<bytes>][,nid=<node>] */
static int __init cram_sim_parse_device(char *spec)
{
	struct cram_sim_desc desc = { .nid = NUMA_NO_NODE };
	int err, nid = NUMA_NO_NODE;
	char *opt, *end;

	if (cram_sim_nr == CRAM_SIM_MAX)
		return -ENOSPC;

	opt = strsep(&spec, ",");
	desc.size = memparse(opt, &end);
	if (*end == '@')
		desc.start = memparse(end + 1, &end);
	if (!desc.size || *end)
		return -EINVAL;

	desc.physical = desc.size / 2;
	while ((opt = strsep(&spec, ","))) {
		err = cram_sim_parse_option(&desc, &nid, opt);
		if (err)
			return err;
	}

	cram_sim_wanted[cram_sim_nr] = nid;
	cram_sim_descs[cram_sim_nr++] = desc;
	return 0;
}

static int __init cram_sim_parse(char *arg)
{
	char *spec;
	int err;

	if (!arg)
		return -EINVAL;

	while ((spec = strsep(&arg, ";"))) {
		err = cram_sim_parse_device(spec);
		if (err)
			return err;
	}
	return 0;
}
early_param("cram_sim", cram_sim_parse);

/*
 * Memory is hot-added in whole blocks, whose size is not known yet: asking for
 * it now would fix it before the ACPI tables had their say. But a machine with
 * less than 64 GiB has blocks of the smallest size, and any other has blocks of
 * 2 GiB at most, see probe_memory_block_size().
 */
static u64 __init cram_sim_align(void)
{
	return PFN_PHYS(max_pfn) < SZ_64G ? MIN_MEMORY_BLOCK_SIZE : SZ_2G;
}

static int __init cram_sim_reserve_one(struct cram_sim_desc *desc)
{
	u64 align = cram_sim_align();
	u64 size = round_up(desc->size, align);
	u64 base;

	if (!IS_ALIGNED(desc->start, align))
		return -EINVAL;

	/* Finds what neither the kernel, the initrd nor firmware occupies */
	base = memblock_phys_alloc_range(size, align, desc->start ?: SZ_16M,
					 desc->start ? desc->start + size :
						       PFN_PHYS(max_pfn));
	if (!base)
		return -ENOMEM;
	memblock_phys_free(base, size);
	memblock_remove(base, size);

	/*
	 * Reserved, not removed: in a hole PCI would put its BARs. A reserved
	 * range of the firmware's table enters the resource tree without being
	 * busy, so that hot-add can claim it. The table for kexec is left
	 * alone: for the next kernel this is RAM again.
	 */
	e820__range_update(base, size, E820_TYPE_RAM, E820_TYPE_RESERVED);

	desc->start = base;
	desc->size = size;
	return 0;
}

/**
 * cram_sim_reserve - set the RAM of all model devices aside
 *
 * Called when memblock knows all RAM and everything in it that is taken, and
 * before the direct map is built. By then KASLR and max_possible_pfn have
 * counted this RAM, as they must: it comes back by hotplug.
 */
void __init cram_sim_reserve(void)
{
	unsigned int i;
	int err;

	if (!cram_sim_nr)
		return;

	for (i = 0; i < cram_sim_nr; i++) {
		struct cram_sim_desc *desc = &cram_sim_descs[i];

		err = cram_sim_reserve_one(desc);
		if (!err)
			continue;
		pr_err("%u: no RAM for %llu MiB at %#llx, aligned to %llu MiB: %d\n",
		       i, desc->size >> 20, desc->start,
		       cram_sim_align() >> 20, err);
		desc->size = 0;
	}

	e820__update_table(e820_table);
	max_pfn = e820__end_of_ram_pfn();
	max_low_pfn = min(max_low_pfn, max_pfn);
}

/* Memory of its own, or promised to another model device */
static bool __init cram_sim_node_taken(int nid)
{
	unsigned long start_pfn, end_pfn;
	unsigned int i;

	for (i = 0; i < cram_sim_nr; i++)
		if (cram_sim_descs[i].nid == nid)
			return true;

	get_pfn_range_for_nid(nid, &start_pfn, &end_pfn);
	return start_pfn < end_pfn;
}

static void __init cram_sim_add_node(unsigned int i, int nid)
{
	struct cram_sim_desc *desc = &cram_sim_descs[i];

	if (nid < 0 || nid >= MAX_NUMNODES || cram_sim_node_taken(nid)) {
		pr_err("%u: cannot have node %d\n", i, nid);
		return;
	}
	node_set(nid, node_possible_map);
	desc->nid = nid;
	pr_info("%u: [mem %#llx-%#llx] set aside for node %d\n", i, desc->start,
		desc->start + desc->size - 1, nid);
}

/**
 * cram_sim_add_nodes - make a node possible for each model device
 *
 * Called whenever the nodes were counted anew, which happens once for each
 * source of NUMA information until one succeeds. A possible node gets its
 * pgdat and its place in nr_node_ids with all others. The distance table needs
 * no entry: a node that it does not know is REMOTE_DISTANCE from any other.
 */
void __init cram_sim_add_nodes(void)
{
	unsigned int i;

	for (i = 0; i < cram_sim_nr; i++)
		cram_sim_descs[i].nid = NUMA_NO_NODE;

	/* Who asked for a node comes before who takes what is left */
	for (i = 0; i < cram_sim_nr; i++)
		if (cram_sim_descs[i].size && cram_sim_wanted[i] != NUMA_NO_NODE)
			cram_sim_add_node(i, cram_sim_wanted[i]);
	for (i = 0; i < cram_sim_nr; i++)
		if (cram_sim_descs[i].size && cram_sim_wanted[i] == NUMA_NO_NODE)
			cram_sim_add_node(i, first_unset_node(node_possible_map));
}
