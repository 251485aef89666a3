// SPDX-License-Identifier: GPL-2.0
/*
 * dax_cram: device-DAX memory as a node of cram.
 *
 * As dax_kmem makes ordinary memory of a device, so this makes a private node of it, and
 * offers that to the engine (mm/cram/): cold pages of cgroups that may use it are
 * demoted there and read in place, and nothing else allocates there.
 *
 * The memory is plain: a page takes a page, whatever is in it. Or it compresses, but
 * the device is asked by somebody else, or by nobody: then cram/physical_bytes of the
 * device, written before it is bound, says how many bytes of cells the engine may count
 * on. That holds for the worst content, so it is a limit on pages, and a low one. A
 * device that can be asked belongs to a driver that asks it, as cxl_cram does.
 *
 * A node has one device: the engine counts by node. A second one for the same node is
 * refused.
 */
#include <linux/cram.h>
#include <linux/device.h>
#include <linux/memory.h>
#include <linux/mm.h>
#include <linux/module.h>
#include <linux/nodemask.h>
#include <linux/private_node.h>
#include <linux/sched/signal.h>
#include <linux/slab.h>
#include "bus.h"
#include "dax-private.h"

/**
 * struct dax_cram - a device while it is bound
 * @cn: the engine's node
 * @nid: the node
 * @size: bytes in @ranges
 * @nr_ranges: elements of @ranges
 * @ranges: its memory, whole memory blocks
 */
struct dax_cram {
	struct cram_node *cn;
	int nid;
	u64 size;
	unsigned int nr_ranges;
	struct range ranges[] __counted_by(nr_ranges);
};

/*
 * Nodes whose memory blocks stay online: the engine has pages there. Not part of any
 * object that goes, because the node can stay when the driver went.
 */
static nodemask_t dax_cram_nodes;

static int dax_cram_offline(int nid, unsigned long start_pfn, unsigned long nr_pages)
{
	return node_isset(nid, dax_cram_nodes) ? -EBUSY : 0;
}

static const struct private_node_ops dax_cram_memory_ops = {
	.offline = dax_cram_offline,
};

/* The whole memory blocks of the device */
static struct dax_cram *dax_cram_alloc(struct dev_dax *dev_dax)
{
	struct device *dev = &dev_dax->dev;
	struct dax_cram *dc;
	u64 lost = 0;

	dc = devm_kzalloc(dev, struct_size(dc, ranges, dev_dax->nr_range), GFP_KERNEL);
	if (!dc)
		return ERR_PTR(-ENOMEM);
	dc->nid = dev_dax->target_node;

	for (int i = 0; i < dev_dax->nr_range; i++) {
		const struct range *range = &dev_dax->ranges[i].range;
		struct range blocks = memory_block_aligned_range(range);
		u64 len = blocks.start < blocks.end ? range_len(&blocks) : 0;

		lost += range_len(range) - len;
		if (!len)
			continue;
		dc->size += len;
		dc->nr_ranges++;
		dc->ranges[dc->nr_ranges - 1] = blocks;
	}
	if (!dc->nr_ranges)
		return dev_err_ptr_probe(dev, -EINVAL,
					 "no whole memory block of %lu MiB\n",
					 memory_block_size_bytes() >> 20);
	if (lost)
		dev_warn(dev, "%llu KiB are not used: only whole memory blocks of %lu MiB\n",
			 lost >> 10, memory_block_size_bytes() >> 20);
	return dc;
}

/*
 * Nobody has the pages yet, and nobody knows what they hold in a device that compresses:
 * zeroes take the least.
 */
static int dax_cram_zero(struct dax_cram *dc)
{
	for (unsigned int i = 0; i < dc->nr_ranges; i++) {
		u64 at;

		for (at = dc->ranges[i].start; at < dc->ranges[i].end; at += PAGE_SIZE) {
			clear_page(__va(at));
			if (fatal_signal_pending(current))
				return -EINTR;
			cond_resched();
		}
	}
	return 0;
}

/*
 * The memory stays with the kernel, and so does the text of the ops that guard it: one
 * more reference, which nobody drops. As in kmem.c, this lasts until the next boot.
 */
static void dax_cram_leak_memory(struct device *dev, int nid, const char *why, int rc)
{
	dev_warn(dev, "node %d stays until reboot, %s: %d\n", nid, why, rc);
	__module_get(THIS_MODULE);
}

/* Offlining gives up on any signal, but unbinding is not restarted */
static void dax_cram_remove_memory(struct device *dev, int nid)
{
	sigset_t fatal_only, before;
	int rc;

	siginitsetinv(&fatal_only, sigmask(SIGKILL));
	sigprocmask(SIG_SETMASK, &fatal_only, &before);
	rc = remove_private_memory(nid);
	sigprocmask(SIG_SETMASK, &before, NULL);
	if (rc)
		dax_cram_leak_memory(dev, nid, "its memory cannot be removed", rc);
}

static int dax_cram_register(struct dev_dax *dev_dax, struct dax_cram *dc)
{
	struct cram_node_desc desc = {
		.name = dev_name(&dev_dax->dev),
		.class = CRAM_PLAIN,
		.physical = dc->size,
		.cells_per_page = PAGE_SIZE,
		.priv = dc,
	};
	int rc;

	if (dev_dax->cram_physical) {
		desc.class = CRAM_COMPRESSED;
		desc.physical = dev_dax->cram_physical;
		desc.cells_per_page = max(dev_dax->cram_cells_per_page, PAGE_SIZE);
		rc = dax_cram_zero(dc);
		if (rc)
			return rc;
	}
	dc->cn = cram_register_node(dc->nid, &desc);
	return PTR_ERR_OR_ZERO(dc->cn);
}

static const char *dax_cram_why(int rc)
{
	switch (rc) {
	case -EBUSY:
		return ": it has memory";
	case -EEXIST:
		return ": it is one already, of another device or until reboot";
	case -EINVAL:
		return ": it has CPUs, or firmware gives the memory none";
	default:
		return "";
	}
}

static int dax_cram_probe_device(struct dev_dax *dev_dax)
{
	struct device *dev = &dev_dax->dev;
	struct dax_cram *dc;
	int rc;

	dc = dax_cram_alloc(dev_dax);
	if (IS_ERR(dc))
		return PTR_ERR(dc);
	if (dev_dax->cram_physical > dc->size)
		return dev_err_probe(dev, -EINVAL,
				     "cram/physical_bytes is more than the %llu bytes of the device\n",
				     dc->size);

	rc = add_private_memory(dc->nid, dc->ranges, dc->nr_ranges, "dax_cram",
				&dax_cram_memory_ops);
	if (rc)
		return dev_err_probe(dev, rc, "cannot make a private node of node %d%s\n",
				     dc->nid, dax_cram_why(rc));

	rc = dax_cram_register(dev_dax, dc);
	if (rc) {
		dax_cram_remove_memory(dev, dc->nid);
		return dev_err_probe(dev, rc, "cannot register node %d\n", dc->nid);
	}
	node_set(dc->nid, dax_cram_nodes);
	dev_set_drvdata(dev, dc);
	dev_info(dev, "node %d: %llu MiB, %s\n", dc->nid, dc->size >> 20,
		 dev_dax->cram_physical ? "compressed" : "plain");
	return 0;
}

/*
 * A node can outlive the binding, and then the ops of its memory have to stay, too.
 * Under rmmod it is too late for a reference: the module is not given a new one, and
 * goes. So there is one for each device while it is bound, and to remove the module
 * its devices have to be unbound first.
 */
static int dax_cram_probe(struct dev_dax *dev_dax)
{
	int rc;

	if (!try_module_get(THIS_MODULE))
		return -ENODEV;
	rc = dax_cram_probe_device(dev_dax);
	if (rc)
		module_put(THIS_MODULE);
	return rc;
}

/* Cannot be refused: pages that cannot be moved off stay readable where they are */
static void dax_cram_remove(struct dev_dax *dev_dax)
{
	struct device *dev = &dev_dax->dev;
	struct dax_cram *dc = dev_get_drvdata(dev);
	int rc;

	rc = cram_force_unregister_node(dc->cn, false);
	if (rc) {
		dax_cram_leak_memory(dev, dc->nid, "its pages are in use", rc);
	} else {
		node_clear(dc->nid, dax_cram_nodes);
		dax_cram_remove_memory(dev, dc->nid);
	}
	module_put(THIS_MODULE);
}

static struct dax_device_driver dax_cram_driver = {
	.probe = dax_cram_probe,
	.remove = dax_cram_remove,
	.type = DAXDRV_CRAM_TYPE,
};

static int __init dax_cram_init(void)
{
	return dax_driver_register(&dax_cram_driver);
}
module_init(dax_cram_init);

static void __exit dax_cram_exit(void)
{
	dax_driver_unregister(&dax_cram_driver);
}
module_exit(dax_cram_exit);

MODULE_DESCRIPTION("CRAM DAX: dax-devices as nodes of cram");
MODULE_LICENSE("GPL");
MODULE_ALIAS_DAX_DEVICE(0);
