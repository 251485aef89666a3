// SPDX-License-Identifier: GPL-2.0
/*
 * cxl_cram: memory devices with inline compression, for cram.
 *
 * Binds to a region whose devices all implement the interface of
 * Documentation/driver-api/cxl/cram-device.rst, adds its memory as a private
 * node and offers that to the engine (mm/cram/). From then on the engine asks
 * how many cells are free, and which pages are hot, and says which pages are
 * needed no more. All is mailbox commands, in the engine's threads and nowhere
 * else; no allocation, reclaim or fault ever waits for a mailbox or takes a lock
 * of CXL.
 *
 * A region with several devices is one node. A page lies in one of them, so the
 * device with the least free cells binds, see cram_join_readings().
 *
 * What the devices say is checked before it is believed: whoever counts on
 * cells that are not there loses data.
 *
 * Shutdown and kexec: there is no ->shutdown(). Moving pages off would be work
 * for nothing, and the decoders stay committed. The memory is driver managed, so
 * a new kernel does not take it for RAM; it finds the region again when it
 * enumerates the bus, and the probe below begins with zeroing all of it. A crash
 * kernel reads the pages of the old one where they are.
 */
#include <linux/array_size.h>
#include <linux/bitfield.h>
#include <linux/cleanup.h>
#include <linux/cram.h>
#include <linux/io-64-nonatomic-lo-hi.h>
#include <linux/memory.h>
#include <linux/memory_hotplug.h>
#include <linux/module.h>
#include <linux/nodemask.h>
#include <linux/numa.h>
#include <linux/pci.h>
#include <linux/private_node.h>
#include <linux/sched/signal.h>
#include <linux/sizes.h>
#include <linux/slab.h>
#include <linux/workqueue.h>

#include "cxlmem.h"
#include "cxl.h"

/* Of one Media Operations command. More does not make it cheaper. */
#define CXL_CRAM_MAX_RANGES	128

/*
 * As a shift of the physical size. An event makes the engine ask at once, so the
 * first is to come before its own low watermark, a 16th, see mm/cram/state.c.
 */
#define CXL_CRAM_LOW_SHIFT	3
#define CXL_CRAM_CRITICAL_SHIFT	5

/*
 * For a block, metadata included. Also keeps the cells of a page of the host in 32
 * bits, which is 16 blocks where pages have 64 KiB.
 */
#define CXL_CRAM_MAX_CELLS	SZ_64K

/* The mailbox is given up after this time (CXL_MAILBOX_TIMEOUT_MS in pci.c) */
#define CXL_CRAM_PATIENCE_MS	2000

/*
 * A reading, a trim and a list of hot pages take so long at most, each. The engine may
 * begin a trim just before a reading is due, which is a third of a lease after the last
 * was begun, and rests for CRAM_EARLY_MS when the trim is over (mm/cram/cramd.c).
 * Before the trim, and again before the reading, the device can be busy with a list of
 * hot pages. So the next answer is there after a third of a lease, four commands and
 * 20 ms: with an eighth of a lease for each, after 853 ms of 1000. All devices are
 * asked at the same time, and trim at the same time.
 */
#define CXL_CRAM_MAX_ANSWER_MS	(CRAM_LEASE_MS_DEFAULT / 8)

/*
 * What one command may zero at once. It takes time by its size, and nobody knows how
 * much, but for the mailbox it is two seconds at most.
 */
#define CXL_CRAM_ZERO_BYTES	SZ_256M

/*
 * Loads of a page since it was reported last, which is a second ago if it is hot,
 * for its promotion to be worth it: sixteen times all its lines.
 */
#define CXL_CRAM_HOT_READS	1024

/*
 * The list comes by the mailbox that readings come by, one command after the other.
 * All that are needed at a time may take a fifth of the engine's lease; a device that
 * takes longer for one, or fails, is asked for it no more for a minute.
 */
#define CXL_CRAM_HOT_PATIENCE	(HZ / 5)
#define CXL_CRAM_HOT_PAUSE	(60 * HZ)

/* What is done for all devices of a region at the same time */
enum cxl_cram_job {
	CXL_CRAM_ASK,
	CXL_CRAM_TRIM,
	CXL_CRAM_NR_JOBS,
};

static_assert(sizeof(struct cxl_cram_caps) == 64);
static_assert(sizeof(struct cxl_cram_capacity) == 64);
static_assert(sizeof(struct cxl_cram_watermarks) == 16);
static_assert(sizeof(struct cxl_cram_hot_in) == 8);
static_assert(sizeof(struct cxl_cram_hot_pages) == 8);
static_assert(sizeof(struct cxl_cram_hot_page) == 16);
static_assert(sizeof(struct cxl_cram_event) == CXL_EVENT_RECORD_DATA_LENGTH);

/**
 * struct cxl_cram_dev - one device of a region
 * @cx: the region
 * @cxlmd: the device
 * @mds: its state, which stays until the driver was unbound
 * @owner: closes the opcodes to user space, and to other regions
 * @listener: for the device's events
 * @physical: bytes of cells
 * @reset_count: as the engine has been told
 * @max_ranges: room in @op
 * @nr_ranges: collected in @op
 * @op: Media Operations command that is being put together
 * @hot: room for an answer to Get Hot Pages; %NULL where the device has no list
 * @max_hot: entries for which there is room
 * @hot_pause: not to be asked for it before this time, in jiffies
 * @background: it has answered that it goes on with a command after the answer:
 *	nobody can know when it is through, so nothing that it says is of use
 * @jobs: Get Capacity, by cxl_cram_ask(), and Media Operations, by cxl_cram_trim_dev()
 * @answer: to Get Capacity
 * @answer_rc: 0, or an errno, and @answer is not valid
 * @trim_rc: 0, or an errno, and not all of the region's @ranges need be zeroed here
 */
struct cxl_cram_dev {
	struct cxl_cram *cx;
	struct cxl_memdev *cxlmd;
	struct cxl_memdev_state *mds;
	struct cxl_opcode_owner owner;
	struct cxl_event_listener listener;
	u64 physical;
	u64 reset_count;
	unsigned int max_ranges;
	unsigned int nr_ranges;
	struct cxl_cram_media_op *op;
	struct cxl_cram_hot_pages *hot;
	unsigned int max_hot;
	unsigned long hot_pause;
	bool background;
	struct work_struct jobs[CXL_CRAM_NR_JOBS];
	struct cxl_cram_capacity answer;
	int answer_rc;
	int trim_rc;
};

/**
 * struct cxl_cram - a region while it is bound
 * @region: what the core knows about it
 * @cn: the engine's node
 * @nid: the node
 * @memory: of the node, whole memory blocks
 * @cells_per_page: the worst of all devices
 * @max_ranges: the least of all devices
 * @wq: for the jobs of all devices but one; %NULL where there are no others
 * @ranges: that are being trimmed
 * @nr_ranges: how many they are
 * @content_lost: a device was reset, and the engine does not know yet
 * @unreachable: and its decoder with it; nothing to be done until it is
 *	programmed again, for which the driver has to be unbound
 * @devs: one for each endpoint of @region, in its order
 *
 * Written by the probe, and then by the engine's calls, of which there is one
 * at a time for each of the three.
 */
struct cxl_cram {
	struct cxl_cram_region *region;
	struct cram_node *cn;
	int nid;
	struct range memory;
	u32 cells_per_page;
	unsigned int max_ranges;
	struct workqueue_struct *wq;
	const struct range *ranges;
	unsigned int nr_ranges;
	bool content_lost;
	bool unreachable;
	struct cxl_cram_dev devs[];
};

#define for_each_cram_dev(d, _cx) \
	for (d = (_cx)->devs; d < (_cx)->devs + (_cx)->region->ways; d++)

/* ----------------------------------------------------------- the protocol -- */

/*
 * An error, time-out included, does not mean that the device is through with the
 * command. But it takes one after the other, and a mailbox whose command has timed out
 * stays busy until that one has ended: so when a later one succeeds, the earlier are
 * over. That is what makes a reading the proof that struct cram_node_ops asks for. It
 * does not go for what runs in the background, which the interface does not permit.
 */
static int cxl_cram_run(struct cxl_cram_dev *d, struct cxl_mbox_cmd *cmd)
{
	int rc;

	if (d->background)
		return -EPROTO;
	rc = cxl_internal_send_cmd(&d->mds->cxlds.cxl_mbox, cmd);
	if (cmd->return_code != CXL_MBOX_CMD_RC_BACKGROUND)
		return rc;

	d->background = true;
	dev_err(&d->cx->region->dev,
		"%s: goes on with command %#x after its answer: not used any more\n",
		dev_name(&d->cxlmd->dev), cmd->opcode);
	return -EPROTO;
}

static int cxl_cram_send(struct cxl_cram_dev *d, u16 opcode, void *in,
			 size_t size_in, void *out, size_t size_out)
{
	struct cxl_mbox_cmd cmd = {
		.opcode = opcode,
		.payload_in = in,
		.size_in = size_in,
		.payload_out = out,
		/* Of a later version's longer answer this is the beginning */
		.size_out = size_out,
	};

	return cxl_cram_run(d, &cmd);
}

static int cxl_cram_get_capacity(struct cxl_cram_dev *d,
				 struct cxl_cram_capacity *cap)
{
	return cxl_cram_send(d, CXL_CRAM_OP_GET_CAPACITY, NULL, 0, cap, sizeof(*cap));
}

/* Up to @max entries into d->hot */
static int cxl_cram_get_hot_pages(struct cxl_cram_dev *d, unsigned int max)
{
	struct cxl_cram_hot_in in = { .max = cpu_to_le16(max) };
	struct cxl_mbox_cmd cmd = {
		.opcode = CXL_CRAM_OP_GET_HOT_PAGES,
		.payload_in = &in,
		.size_in = sizeof(in),
		.payload_out = d->hot,
		.size_out = struct_size(d->hot, pages, max),
		.min_out = sizeof(*d->hot),
	};
	unsigned int count;
	int rc;

	rc = cxl_cram_run(d, &cmd);
	if (rc)
		return rc;
	count = le16_to_cpu(d->hot->count);
	if (count > max || cmd.size_out < struct_size(d->hot, pages, count))
		return -EPROTO;
	return count;
}

/* Watermarks bring events, which are hints: a device may do without */
static void cxl_cram_set_watermarks(struct cxl_cram_dev *d)
{
	struct cxl_cram_watermarks marks = {
		.low = cpu_to_le64(d->physical >> CXL_CRAM_LOW_SHIFT),
		.critical = cpu_to_le64(d->physical >> CXL_CRAM_CRITICAL_SHIFT),
	};
	int rc;

	rc = cxl_cram_send(d, CXL_CRAM_OP_SET_WATERMARKS, &marks, sizeof(marks),
			   NULL, 0);
	if (rc)
		dev_warn(&d->cx->region->dev,
			 "%s: keeps its own watermarks: %d\n",
			 dev_name(&d->cxlmd->dev), rc);
}

/* Have the ranges zeroed that were collected */
static int cxl_cram_zero_flush(struct cxl_cram_dev *d)
{
	struct cxl_cram_media_op *op = d->op;
	unsigned int nr = d->nr_ranges;

	if (!nr)
		return 0;

	d->nr_ranges = 0;
	op->class = CXL_CRAM_MEDIA_SANITIZE;
	op->subclass = CXL_CRAM_MEDIA_WRITE_ZEROES;
	op->range_count = cpu_to_le32(nr);
	return cxl_cram_send(d, CXL_CRAM_OP_MEDIA_OPERATIONS, op,
			     struct_size(op, ranges, nr), NULL, 0);
}

/* Collect one more range, ascending, and merge it with the last if they touch */
static int cxl_cram_zero(struct cxl_cram_dev *d, const struct range *dpa)
{
	struct cxl_cram_media_range *last;
	int rc;

	if (d->nr_ranges) {
		last = &d->op->ranges[d->nr_ranges - 1];
		if (le64_to_cpu(last->dpa) + le64_to_cpu(last->length) == dpa->start) {
			le64_add_cpu(&last->length, range_len(dpa));
			return 0;
		}
	}

	if (d->nr_ranges == d->max_ranges) {
		rc = cxl_cram_zero_flush(d);
		if (rc)
			return rc;
	}

	d->op->ranges[d->nr_ranges++] = (struct cxl_cram_media_range) {
		.dpa = cpu_to_le64(dpa->start),
		.length = cpu_to_le64(range_len(dpa)),
	};
	return 0;
}

/* ------------------------------------------------------- for the engine -- */

/* All at the same time: one after the other would take as long as all together */
static void cxl_cram_do_all(struct cxl_cram *cx, enum cxl_cram_job job)
{
	struct work_struct *mine = &cx->devs[0].jobs[job];

	for (int i = 1; i < cx->region->ways; i++)
		queue_work(cx->wq, &cx->devs[i].jobs[job]);
	mine->func(mine);
	for (int i = 1; i < cx->region->ways; i++)
		flush_work(&cx->devs[i].jobs[job]);
}

static void cxl_cram_ask(struct work_struct *work)
{
	struct cxl_cram_dev *d = container_of(work, struct cxl_cram_dev, jobs[CXL_CRAM_ASK]);

	d->answer_rc = cxl_cram_get_capacity(d, &d->answer);
}

/* Says in @r what this device has */
static int cxl_cram_read_dev(struct cxl_cram_dev *d, struct cram_reading *r)
{
	const struct cxl_cram_capacity cap = d->answer;
	struct cxl_cram *cx = d->cx;
	u64 free;

	if (d->answer_rc)
		return d->answer_rc;

	free = le64_to_cpu(cap.physical_free);
	if (free > d->physical || le64_to_cpu(cap.low_water_free) > d->physical) {
		dev_err_ratelimited(&cx->region->dev,
				    "%s: %llu bytes free, %llu at least, of %llu: not believed\n",
				    dev_name(&d->cxlmd->dev), free,
				    le64_to_cpu(cap.low_water_free), d->physical);
		return -EPROTO;
	}

	if (le64_to_cpu(cap.reset_count) != d->reset_count) {
		d->reset_count = le64_to_cpu(cap.reset_count);
		cx->content_lost = true;
		cxl_cram_set_watermarks(d);
	}

	r->physical = d->physical;
	r->physical_free = free;
	/* At their worst, they can be more than is in use at all */
	r->unsettled = min(le64_to_cpu(cap.unsettled_bytes), d->physical - free);
	r->over_capacity = le64_to_cpu(cap.over_capacity);
	return 0;
}

/*
 * Do addresses lead nowhere any more? PCI switches off the registers of a function
 * that it resets, with the lock of the device held. They read as anything then, and a
 * function-level reset leaves the decoders as they are. So believe them only with that
 * lock; whoever has it now is done before one of the next readings.
 */
static bool cxl_cram_not_decoded(struct cxl_cram *cx)
{
	bool decoded = true;

	for (int i = 0; i < cx->region->ways && decoded; i++) {
		const struct cxl_cram_endpoint *ep = &cx->region->endpoints[i];
		struct device *dev = cx->devs[i].mds->cxlds.dev;

		if (cxl_cram_endpoint_decoded(ep) || !device_trylock(dev))
			continue;
		decoded = cxl_cram_endpoint_decoded(ep);
		device_unlock(dev);
	}
	return !decoded;
}

/* The engine hears once that what it stored is gone, and nothing after that */
static int cxl_cram_read_unreachable(struct cxl_cram *cx, struct cram_reading *r)
{
	struct cxl_cram_dev *d;

	if (cx->unreachable)
		return -ENXIO;

	dev_err(&cx->region->dev,
		"node %d: addresses are not decoded any more: unbind, and commit the region again\n",
		cx->nid);
	cx->unreachable = true;
	for_each_cram_dev(d, cx) {
		struct cram_reading one = { .physical = d->physical };

		cram_join_readings(r, &one, cx->region->ways);
	}
	r->content_lost = true;
	return 0;
}

static int cxl_cram_read_capacity(struct cram_node *cn, struct cram_reading *r)
{
	struct cxl_cram *cx = cram_node_priv(cn);
	struct cxl_cram_dev *d;
	int rc;

	if (cx->unreachable || cxl_cram_not_decoded(cx))
		return cxl_cram_read_unreachable(cx, r);

	cxl_cram_do_all(cx, CXL_CRAM_ASK);
	for_each_cram_dev(d, cx) {
		struct cram_reading one = {};

		rc = cxl_cram_read_dev(d, &one);
		if (rc)
			return rc;
		cram_join_readings(r, &one, cx->region->ways);
	}
	r->content_lost = cx->content_lost;
	cx->content_lost = false;
	return 0;
}

/* What the region's ranges have of this device, which is one command at most */
static int cxl_cram_zero_ranges(struct cxl_cram_dev *d)
{
	const struct cxl_cram *cx = d->cx;
	int rc;

	/* What an error left behind */
	d->nr_ranges = 0;

	for (unsigned int i = 0; i < cx->nr_ranges; i++) {
		struct range dpa;

		if (!cxl_cram_region_to_dpa(cx->region, d - cx->devs, &cx->ranges[i], &dpa))
			continue;
		rc = cxl_cram_zero(d, &dpa);
		if (rc)
			return rc;
	}
	return cxl_cram_zero_flush(d);
}

static void cxl_cram_trim_dev(struct work_struct *work)
{
	struct cxl_cram_dev *d = container_of(work, struct cxl_cram_dev, jobs[CXL_CRAM_TRIM]);

	d->trim_rc = cxl_cram_zero_ranges(d);
}

static int cxl_cram_trim(struct cram_node *cn, const struct range *ranges,
			 unsigned int nr_ranges)
{
	struct cxl_cram *cx = cram_node_priv(cn);
	struct cxl_cram_dev *d;

	cx->ranges = ranges;
	cx->nr_ranges = nr_ranges;
	cxl_cram_do_all(cx, CXL_CRAM_TRIM);

	for_each_cram_dev(d, cx)
		if (d->trim_rc)
			return d->trim_rc;
	return 0;
}

/* Like cxl_cram_get_hot_pages(), but not of a device that gets in the way by it */
static int cxl_cram_ask_hot_pages(struct cxl_cram_dev *d, unsigned int max)
{
	unsigned long start = jiffies;
	int rc;

	if (time_before(start, d->hot_pause))
		return 0;
	rc = cxl_cram_get_hot_pages(d, max);
	if (rc < 0 || time_after(jiffies, start + CXL_CRAM_HOT_PATIENCE)) {
		dev_warn_ratelimited(&d->cx->region->dev,
				     "%s: hot pages took %u ms: %d; not asked again for a while\n",
				     dev_name(&d->cxlmd->dev),
				     jiffies_to_msecs(jiffies - start), min(rc, 0));
		d->hot_pause = jiffies + CXL_CRAM_HOT_PAUSE;
	}
	return max(rc, 0);
}

/* Hot pages of one device: all that there are, or @max, or what it has time for */
static unsigned int cxl_cram_hot_list_dev(struct cxl_cram_dev *d, unsigned long *pfns,
					  unsigned int max)
{
	const struct cxl_cram_region *region = d->cx->region;
	unsigned long end = jiffies + CXL_CRAM_HOT_PATIENCE;
	unsigned int left, asked, count, nr = 0;

	for (left = max; left && time_before(jiffies, end); left -= count) {
		asked = min(left, d->max_hot);
		count = cxl_cram_ask_hot_pages(d, asked);
		for (unsigned int i = 0; i < count; i++) {
			const struct cxl_cram_hot_page *page = &d->hot->pages[i];
			u64 hpa;

			/* The hottest come first */
			if (le32_to_cpu(page->reads) < CXL_CRAM_HOT_READS)
				return nr;
			if (cxl_cram_region_to_hpa(region, d - d->cx->devs,
						   le64_to_cpu(page->dpa), &hpa))
				pfns[nr++] = PHYS_PFN(hpa);
		}
		if (count < asked)
			break;
	}
	return nr;
}

static int cxl_cram_hot_list(struct cram_node *cn, unsigned long *pfns,
			     unsigned int max)
{
	struct cxl_cram *cx = cram_node_priv(cn);
	unsigned int nr = 0, share = DIV_ROUND_UP(max, cx->region->ways);
	struct cxl_cram_dev *d;

	for_each_cram_dev(d, cx) {
		if (d->hot && nr < max)
			nr += cxl_cram_hot_list_dev(d, pfns + nr, min(share, max - nr));
	}
	return nr;
}

static const struct cram_node_ops cxl_cram_node_ops = {
	.read_capacity	= cxl_cram_read_capacity,
	.trim		= cxl_cram_trim,
	.hot_list	= cxl_cram_hot_list,
};

/*
 * In the event thread, spinlock held. Reading the record is not worth it. That pages
 * are hot, the engine finds out soon enough.
 */
static void cxl_cram_notify(struct cxl_event_listener *listener,
			    const struct cxl_event_record_raw *record)
{
	struct cxl_cram_dev *d = container_of(listener, struct cxl_cram_dev, listener);
	const struct cxl_cram_event *event;

	if (record) {
		event = (const void *)record->event.generic.data;
		if (event->kind == CXL_CRAM_EVENT_HOT_PAGES)
			return;
	}
	cram_node_changed(d->cx->cn);
}

/* User space wants to reset, take apart or delete the region */
static int cxl_cram_close(struct cxl_cram_region *region)
{
	struct cxl_cram *cx = dev_get_drvdata(&region->dev);
	int rc = cram_close_node(cx->cn);

	if (rc)
		dev_warn_ratelimited(&region->dev,
				     "node %d is in use: write offline to its cram/state first\n",
				     cx->nid);
	return rc;
}

/* ----------------------------------------------------------- the memory -- */

/*
 * Nodes whose memory blocks stay online: the engine has pages there. Not part
 * of any object that goes, because the node can stay when the driver went.
 */
static nodemask_t cxl_cram_nodes;

static int cxl_cram_offline(int nid, unsigned long start_pfn, unsigned long nr_pages)
{
	return node_isset(nid, cxl_cram_nodes) ? -EBUSY : 0;
}

static const struct private_node_ops cxl_cram_memory_ops = {
	.offline = cxl_cram_offline,
};

static int cxl_cram_add_memory(struct cxl_cram *cx)
{
	struct device *dev = &cx->region->dev;
	u64 block = memory_block_size_bytes();
	int rc;

	cx->memory.start = ALIGN(cx->region->hpa_range.start, block);
	cx->memory.end = ALIGN_DOWN(cx->region->hpa_range.end + 1, block) - 1;
	if (cx->memory.end + 1 <= cx->memory.start)
		return dev_err_probe(dev, -EINVAL,
				     "%pra is less than a memory block of %llu MiB\n",
				     &cx->region->hpa_range, block >> 20);

	cx->nid = phys_to_target_node(cx->memory.start);
	if (cx->nid == NUMA_NO_NODE)
		cx->nid = memory_add_physaddr_to_nid(cx->memory.start);

	rc = add_private_memory(cx->nid, &cx->memory, 1, "cxl_cram",
				&cxl_cram_memory_ops);
	if (rc)
		return dev_err_probe(dev, rc,
				     "cannot make a private node of node %d%s\n",
				     cx->nid,
				     rc == -EBUSY ? ": it has memory" :
				     rc == -EEXIST ? ": it is one already" :
				     rc == -EINVAL ? ": it has CPUs, or firmware gives the window none" :
				     "");
	return 0;
}

/*
 * The memory stays with the kernel, and so does the text of the ops that guard
 * it: one more reference, which nobody drops. Nothing else of the driver is used any
 * more. As in dax/kmem.c, this lasts until the next boot.
 */
static void cxl_cram_leak_memory(struct cxl_cram *cx, const char *why, int rc)
{
	dev_warn(&cx->region->dev, "node %d stays until reboot, %s: %d\n",
		 cx->nid, why, rc);
	cxl_cram_region_set_stuck(cx->region, cx->nid);
	__module_get(THIS_MODULE);
}

/* Offlining gives up on any signal, but unbinding is not restarted */
static int cxl_cram_remove_memory(struct cxl_cram *cx)
{
	sigset_t fatal_only, before;
	int rc;

	siginitsetinv(&fatal_only, sigmask(SIGKILL));
	sigprocmask(SIG_SETMASK, &fatal_only, &before);
	rc = remove_private_memory(cx->nid);
	sigprocmask(SIG_SETMASK, &before, NULL);

	if (rc)
		cxl_cram_leak_memory(cx, "its memory cannot be removed", rc);
	return rc;
}

/* ------------------------------------------------------ bind and unbind -- */

static const u16 cxl_cram_opcodes[] = {
	CXL_CRAM_OP_GET_CAPS,
	CXL_CRAM_OP_GET_CAPACITY,
	CXL_CRAM_OP_GET_WATERMARKS,
	CXL_CRAM_OP_SET_WATERMARKS,
	CXL_CRAM_OP_GET_HOT_PAGES,
	CXL_CRAM_OP_MEDIA_OPERATIONS,
};

static void cxl_cram_disown(void *_d)
{
	struct cxl_cram_dev *d = _d;

	cxl_disown_opcodes(&d->mds->cxlds.cxl_mbox, &d->owner);
}

/* Two nodes would count on the same cells, so a device is in one region */
static int cxl_cram_own(struct cxl_cram_dev *d)
{
	struct device *dev = &d->cx->region->dev;
	int rc;

	d->owner.opcodes = cxl_cram_opcodes;
	d->owner.nr_opcodes = ARRAY_SIZE(cxl_cram_opcodes);
	rc = cxl_own_opcodes(&d->mds->cxlds.cxl_mbox, &d->owner);
	if (rc)
		return dev_err_probe(dev, rc, "%s: is in use by another region\n",
				     dev_name(&d->cxlmd->dev));
	return devm_add_action_or_reset(dev, cxl_cram_disown, d);
}

/*
 * Whoever had the device before can have started what is not over yet: zeroing in the
 * background, of pages that would be in use again by then.
 */
static int cxl_cram_at_rest(struct cxl_cram_dev *d)
{
	u64 status = readq(d->mds->cxlds.regs.mbox + CXLDEV_MBOX_BG_CMD_STATUS_OFFSET);
	u64 opcode = FIELD_GET(CXLDEV_MBOX_BG_CMD_COMMAND_OPCODE_MASK, status);

	if (!opcode || FIELD_GET(CXLDEV_MBOX_BG_CMD_COMMAND_PCT_MASK, status) == 100)
		return 0;
	return dev_err_probe(&d->cx->region->dev, -EBUSY,
			     "%s: still executes command %#llx\n",
			     dev_name(&d->cxlmd->dev), opcode);
}

/* What is wrong with these capabilities? NULL when nothing is. */
static const char *cxl_cram_bad_caps(const struct cxl_cram_caps *caps,
				     const struct range *dpa)
{
	if (le32_to_cpu(caps->block_bytes) != CXL_CRAM_BLOCK)
		return "its block is not 4096 bytes";
	if (le32_to_cpu(caps->cells_per_page) < CXL_CRAM_BLOCK)
		return "an incompressible page takes less than a page of cells";
	if (le32_to_cpu(caps->cells_per_page) > CXL_CRAM_MAX_CELLS)
		return "an incompressible page takes more cells than can be true";
	if (le64_to_cpu(caps->physical_bytes) < le32_to_cpu(caps->cells_per_page))
		return "its cells do not hold one page";
	if (le64_to_cpu(caps->logical_bytes) <= dpa->end)
		return "its logical size is less than what the region maps";
	if (!le16_to_cpu(caps->max_ranges))
		return "it cannot zero a range";
	if (le16_to_cpu(caps->max_answer_ms) > CXL_CRAM_MAX_ANSWER_MS)
		return "its answers take longer than an eighth of a lease";
	return NULL;
}

static int cxl_cram_get_caps(struct cxl_cram_dev *d, const struct range *dpa)
{
	struct device *dev = &d->cx->region->dev;
	struct cxl_cram_caps caps;
	size_t payload = d->mds->cxlds.cxl_mbox.payload_size;
	const char *bad;
	int rc;

	rc = cxl_cram_send(d, CXL_CRAM_OP_GET_CAPS, NULL, 0, &caps, sizeof(caps));
	if (rc)
		return dev_err_probe(dev, rc, "%s: does not tell its capabilities\n",
				     dev_name(&d->cxlmd->dev));

	bad = cxl_cram_bad_caps(&caps, dpa);
	if (bad)
		return dev_err_probe(dev, -EPROTO, "%s: refused: %s\n",
				     dev_name(&d->cxlmd->dev), bad);

	d->physical = le64_to_cpu(caps.physical_bytes);
	d->reset_count = le64_to_cpu(caps.reset_count);
	d->max_ranges = min3(CXL_CRAM_MAX_RANGES, le16_to_cpu(caps.max_ranges),
			     (payload - sizeof(*d->op)) / sizeof(d->op->ranges[0]));
	d->op = devm_kzalloc(dev, struct_size(d->op, ranges, d->max_ranges),
			     GFP_KERNEL);
	if (!d->op)
		return -ENOMEM;

	d->max_hot = (payload - sizeof(*d->hot)) / sizeof(d->hot->pages[0]);
	d->hot_pause = jiffies;
	if (le32_to_cpu(caps.flags) & CXL_CRAM_CAP_HOT_PAGES &&
	    test_bit(CXL_CRAM_ENABLED_GET_HOT_PAGES, d->mds->cram.enabled_cmds)) {
		d->hot = devm_kzalloc(dev, struct_size(d->hot, pages, d->max_hot),
				      GFP_KERNEL);
		if (!d->hot)
			return -ENOMEM;
	}

	d->cx->cells_per_page = max(d->cx->cells_per_page,
				    le32_to_cpu(caps.cells_per_page));
	d->cx->max_ranges = min_not_zero(d->cx->max_ranges, d->max_ranges);
	return 0;
}

/* All that the region maps, a part at a time */
static int cxl_cram_zero_all(struct cxl_cram_dev *d, const struct range *dpa)
{
	struct range part = { .start = dpa->start };
	int rc;

	for (; part.start <= dpa->end; part.start = part.end + 1) {
		part.end = min(part.start + CXL_CRAM_ZERO_BYTES - 1, dpa->end);
		rc = cxl_cram_zero(d, &part) ?: cxl_cram_zero_flush(d);
		if (rc)
			return rc;
		if (fatal_signal_pending(current))
			return -EINTR;
	}
	return 0;
}

/*
 * From here on the device is ours, and what the region maps of it holds no
 * cells, whoever had it before.
 */
static int cxl_cram_setup_dev(struct cxl_cram *cx, int pos)
{
	const struct cxl_cram_endpoint *ep = &cx->region->endpoints[pos];
	struct cxl_cram_dev *d = &cx->devs[pos];
	int rc;

	d->cx = cx;
	d->cxlmd = ep->cxlmd;
	d->mds = to_cxl_memdev_state(ep->cxlmd->cxlds);
	d->listener.id = (uuid_t)CXL_CRAM_EVENT_UUID;
	d->listener.notify = cxl_cram_notify;
	INIT_WORK(&d->jobs[CXL_CRAM_ASK], cxl_cram_ask);
	INIT_WORK(&d->jobs[CXL_CRAM_TRIM], cxl_cram_trim_dev);

	rc = cxl_cram_own(d);
	if (rc)
		return rc;
	rc = cxl_cram_at_rest(d);
	if (rc)
		return rc;
	rc = cxl_cram_get_caps(d, &ep->dpa);
	if (rc)
		return rc;

	rc = cxl_cram_zero_all(d, &ep->dpa);
	if (rc)
		return dev_err_probe(&cx->region->dev, rc,
				     "%s: cannot zero its memory\n",
				     dev_name(&d->cxlmd->dev));
	cxl_cram_set_watermarks(d);
	return 0;
}

static void cxl_cram_destroy_wq(void *wq)
{
	destroy_workqueue(wq);
}

/* A reading is needed most when memory is short, and no worker can be made */
static int cxl_cram_make_wq(struct cxl_cram *cx)
{
	struct device *dev = &cx->region->dev;

	if (cx->region->ways == 1)
		return 0;
	cx->wq = alloc_workqueue("%s", WQ_UNBOUND | WQ_MEM_RECLAIM, 0, dev_name(dev));
	if (!cx->wq)
		return -ENOMEM;
	return devm_add_action_or_reset(dev, cxl_cram_destroy_wq, cx->wq);
}

static int cxl_cram_register(struct cxl_cram *cx)
{
	struct cram_node_desc desc = {
		.name = dev_name(&cx->region->dev),
		.ops = &cxl_cram_node_ops,
		.cells_per_page = cx->cells_per_page * (PAGE_SIZE / CXL_CRAM_BLOCK),
		.ways = cx->region->ways,
		.trim_ranges = cx->max_ranges,
		.priv = cx,
	};
	int rc;

	cx->cn = cram_register_node(cx->nid, &desc);
	rc = PTR_ERR_OR_ZERO(cx->cn);
	if (rc)
		return dev_err_probe(&cx->region->dev, rc,
				     "cannot register node %d\n", cx->nid);
	node_set(cx->nid, cxl_cram_nodes);
	return 0;
}

static int cxl_cram_probe_region(struct device *dev)
{
	struct cxl_cram_region *region = to_cxl_cram_region(dev);
	struct cxl_cram_dev *d;
	struct cxl_cram *cx;
	u64 physical = U64_MAX;
	int rc;

	if (cxl_cram_region_stuck(region))
		return dev_err_probe(dev, -EBUSY,
				     "memory from before is still in use, until reboot\n");
	if (!cxl_cram_region_decoded(region))
		return dev_err_probe(dev, -ENXIO,
				     "addresses are not decoded: commit the region again\n");

	cx = devm_kzalloc(dev, struct_size(cx, devs, region->ways), GFP_KERNEL);
	if (!cx)
		return -ENOMEM;
	cx->region = region;
	dev_set_drvdata(dev, cx);
	rc = cxl_cram_make_wq(cx);
	if (rc)
		return rc;

	for (int i = 0; i < region->ways; i++) {
		rc = cxl_cram_setup_dev(cx, i);
		if (rc)
			return rc;
		physical = min(physical, cx->devs[i].physical);
	}

	rc = cxl_cram_add_memory(cx);
	if (rc)
		return rc;

	rc = cxl_cram_register(cx);
	if (rc) {
		cxl_cram_remove_memory(cx);
		return rc;
	}

	for_each_cram_dev(d, cx)
		cxl_event_listen(d->mds, &d->listener);
	cxl_cram_region_set_close(region, cxl_cram_close);

	dev_info(dev, "node %d: %llu MiB with %llu MiB of cells\n", cx->nid,
		 range_len(&cx->memory) >> 20, (physical * region->ways) >> 20);
	return 0;
}

/*
 * A node can outlive the binding, and then the ops of its memory have to stay, too.
 * Under rmmod it is too late for a reference: the module is not given a new one, and
 * goes. So there is one for each region while it is bound, and to remove the module
 * its regions have to be unbound first.
 */
static int cxl_cram_probe(struct device *dev)
{
	int rc;

	if (!try_module_get(THIS_MODULE))
		return -ENODEV;
	rc = cxl_cram_probe_region(dev);
	if (rc)
		module_put(THIS_MODULE);
	return rc;
}

/*
 * Is what was stored still there? A mailbox that does not answer says nothing
 * about the memory, which can be read without: only absence and a reset count.
 */
static bool cxl_cram_content_lost(struct cxl_cram *cx)
{
	struct cxl_cram_capacity cap;
	struct cxl_cram_dev *d;

	for_each_cram_dev(d, cx) {
		struct device *dev = d->mds->cxlds.dev;

		if (dev_is_pci(dev) && !pci_device_is_present(to_pci_dev(dev)))
			return true;
		if (!cxl_cram_get_capacity(d, &cap) &&
		    le64_to_cpu(cap.reset_count) != d->reset_count)
			return true;
	}
	return READ_ONCE(cx->content_lost) || cx->unreachable ||
	       !cxl_cram_region_decoded(cx->region);
}

static void cxl_cram_remove_region(struct device *dev)
{
	struct cxl_cram *cx = dev_get_drvdata(dev);
	struct cxl_cram_dev *d;
	bool lost;
	int rc;

	cxl_cram_region_set_close(cx->region, NULL);
	for_each_cram_dev(d, cx)
		cxl_event_unlisten(d->mds, &d->listener);

	lost = cxl_cram_content_lost(cx);
	if (lost)
		dev_err(dev, "node %d: a device is gone, and what was stored there\n",
			cx->nid);

	rc = cram_force_unregister_node(cx->cn, lost);
	if (rc) {
		cxl_cram_leak_memory(cx, "its pages are in use", rc);
		return;
	}

	node_clear(cx->nid, cxl_cram_nodes);
	cxl_cram_remove_memory(cx);
}

/*
 * By sysfs, because the region or a device goes, orderly or by surprise. Cannot be
 * refused: when no page can be moved off any more, those that are left stay readable for
 * as long as the device is there.
 */
static void cxl_cram_remove(struct device *dev)
{
	cxl_cram_remove_region(dev);
	module_put(THIS_MODULE);
}

static struct cxl_driver cxl_cram_driver = {
	.name = "cxl_cram",
	.probe = cxl_cram_probe,
	.remove = cxl_cram_remove,
	.id = CXL_DEVICE_CRAM_REGION,
	.drv = {
		/* Adding memory takes a while, and whoever commits holds locks */
		.probe_type = PROBE_PREFER_ASYNCHRONOUS,
	},
};

module_cxl_driver(cxl_cram_driver);

MODULE_ALIAS_CXL(CXL_DEVICE_CRAM_REGION);
MODULE_DESCRIPTION("CXL: memory devices with inline compression");
MODULE_LICENSE("GPL");
MODULE_IMPORT_NS("CXL");

#if IS_ENABLED(CONFIG_CXL_CRAM_KUNIT_TEST)
#include "cram_test.c"
#endif
