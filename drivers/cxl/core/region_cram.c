// SPDX-License-Identifier: GPL-2.0
/*
 * Regions of memory devices with inline compression.
 *
 * Such memory must not become ordinary RAM: it can run out of cells. When the
 * region driver is about to hand a RAM region on, this file decides by what the
 * core already knows about the endpoints, and creates a cxl_cram_region device
 * for the driver in cram.c, or a dax_region as always. It never sends anything
 * to a device.
 *
 * While pages are resident, nobody may take the mapping away who can be told
 * so: before user space resets, takes apart or deletes a region, the driver is
 * asked to close it (cxl_cram_close_region()), and then goes. An endpoint that goes
 * anyway waits until the driver has moved off what it can, with the decoders still
 * programmed (cxl_cram_release_region()). What it cannot move is taken from its
 * users before the decoders are reset (cxl_cram_retire_region()): nobody may read
 * or copy what an address without a decoder returns.
 *
 * Locks, outermost first: the region's device lock, which keeps its
 * cxlr_cram; that of the cxl_cram_region device, under which the driver binds
 * and unbinds; cxl_cram_region.lock, held over the driver's close(), which takes
 * the locks of mm/cram. cxl_rwsem is never held over any of these.
 */
#include <linux/bitfield.h>
#include <linux/bitmap.h>
#include <linux/cleanup.h>
#include <linux/cram.h>
#include <linux/device.h>
#include <linux/io.h>
#include <linux/math64.h>
#include <linux/minmax.h>
#include <linux/slab.h>
#include <cxl/features.h>
#include <cxlmem.h>
#include <cxl.h>
#include "core.h"

/* ----------------------------------------------------------- translation -- */

/*
 * How many bytes of the endpoint at position @pos lie below @offset of a region
 * that goes round @ways endpoints in steps of @granularity?
 */
static u64 cxl_cram_bytes_below(u64 offset, int ways, int granularity, int pos)
{
	u64 stripe = (u64)ways * granularity, start = (u64)pos * granularity;
	u64 nr, rest;

	nr = div64_u64_rem(offset, stripe, &rest) * granularity;
	return nr + clamp(rest, start, start + granularity) - start;
}

/**
 * cxl_cram_region_to_dpa() - What one endpoint holds of a range of its region
 * @cxlr_cram: the region
 * @pos: position of the endpoint
 * @hpa: a range within the region
 * @dpa: the endpoint's part. It is contiguous for any interleave, because
 *	 consecutive granules of an endpoint are consecutive in the region.
 *
 * Context: any; takes no lock.
 * Return: false when the endpoint holds nothing of the range.
 */
bool cxl_cram_region_to_dpa(const struct cxl_cram_region *cxlr_cram, int pos,
			    const struct range *hpa, struct range *dpa)
{
	u64 base = cxlr_cram->endpoints[pos].dpa.start;
	u64 start = hpa->start - cxlr_cram->hpa_range.start;

	dpa->start = base + cxl_cram_bytes_below(start, cxlr_cram->ways,
						 cxlr_cram->granularity, pos);
	dpa->end = base + cxl_cram_bytes_below(start + range_len(hpa),
					       cxlr_cram->ways,
					       cxlr_cram->granularity, pos) - 1;
	return dpa->start != dpa->end + 1;
}
EXPORT_SYMBOL_NS_GPL(cxl_cram_region_to_dpa, "CXL");

/**
 * cxl_cram_region_to_hpa() - Where a block of one endpoint is in its region
 * @cxlr_cram: the region
 * @pos: position of the endpoint
 * @dpa: address in the endpoint, as the device has told it
 * @hpa: set to the host physical address
 *
 * Context: any; takes no lock.
 * Return: false when that is not the beginning of a block, or not in the region.
 */
bool cxl_cram_region_to_hpa(const struct cxl_cram_region *cxlr_cram, int pos,
			    u64 dpa, u64 *hpa)
{
	const struct range *mine = &cxlr_cram->endpoints[pos].dpa;
	int granularity = cxlr_cram->granularity;
	u64 granule, rest;

	if (!IS_ALIGNED(dpa, CXL_CRAM_BLOCK) || dpa < mine->start || dpa > mine->end)
		return false;
	granule = div64_u64_rem(dpa - mine->start, granularity, &rest);
	*hpa = cxlr_cram->hpa_range.start +
	       (granule * cxlr_cram->ways + pos) * granularity + rest;
	return true;
}
EXPORT_SYMBOL_NS_GPL(cxl_cram_region_to_hpa, "CXL");

/**
 * cxl_cram_endpoint_decoded() - Do addresses still lead to this device?
 * @ep: of a region that the caller is bound to
 *
 * Context: any; takes no lock. While the device is being reset, its register
 * can read as anything.
 * Return: false if its decoder is not committed.
 */
bool cxl_cram_endpoint_decoded(const struct cxl_cram_endpoint *ep)
{
	return !ep->ctrl ||
	       FIELD_GET(CXL_HDM_DECODER0_CTRL_COMMITTED, readl(ep->ctrl));
}
EXPORT_SYMBOL_NS_GPL(cxl_cram_endpoint_decoded, "CXL");

/**
 * cxl_cram_region_decoded() - Do the addresses still lead to the devices?
 * @cxlr_cram: that the caller is bound to
 *
 * A reset of the bus clears the decoders of an endpoint, and nobody programs
 * them again: stores go nowhere, and loads return anything. A device that is
 * not there reads as all ones, which says nothing.
 *
 * Context: any; takes no lock.
 * Return: false if one of the decoders is not committed.
 */
bool cxl_cram_region_decoded(const struct cxl_cram_region *cxlr_cram)
{
	for (int i = 0; i < cxlr_cram->ways; i++)
		if (!cxl_cram_endpoint_decoded(&cxlr_cram->endpoints[i]))
			return false;
	return true;
}
EXPORT_SYMBOL_NS_GPL(cxl_cram_region_decoded, "CXL");

/* ----------------------------------------------------------- recognition -- */

/*
 * The device says that it has Features, but which was not to be found out when its
 * driver was bound: it was busy, or gave no answer, or there was no memory for it.
 */
static bool cxl_cram_features_unknown(struct cxl_memdev_state *mds)
{
	return mds->cxlds.cxl_mbox.feat_cap >= CXL_FEATURES_RO &&
	       !to_cxlfs(&mds->cxlds);
}

/* Opcodes of vendors mean nothing by themselves, but here one is enough */
static bool cxl_cram_has_vendor_cmd(struct cxl_memdev_state *mds)
{
	DECLARE_BITMAP(vendor, CXL_CRAM_ENABLED_MAX);

	bitmap_copy(vendor, mds->cram.enabled_cmds, CXL_CRAM_ENABLED_MAX);
	__clear_bit(CXL_CRAM_ENABLED_MEDIA_OPERATIONS, vendor);
	return !bitmap_empty(vendor, CXL_CRAM_ENABLED_MAX);
}

/*
 * Does the device compress? 0 when it does not, 1 when the driver can deal with
 * it, an errno, and @why, when it does, or might, and nobody should use it.
 */
static int cxl_memdev_recognise(struct cxl_memdev_state *mds, const char **why)
{
	static const uuid_t uuid = CXL_CRAM_FEAT_UUID;
	struct cxl_feat_entry *feat;

	if (cxl_cram_features_unknown(mds) && cxl_cram_has_vendor_cmd(mds)) {
		*why = "perhaps compressed memory: its Features could not be read, bind the device to cxl_pci again";
		return -EIO;
	}

	feat = cxl_feature_info(to_cxlfs(&mds->cxlds), &uuid);
	if (IS_ERR(feat))
		return 0;

	if (!feat->get_feat_ver) {
		*why = "compressed memory of version 0";
		return -ENXIO;
	}
	if (!bitmap_full(mds->cram.enabled_cmds, CXL_CRAM_ENABLED_MANDATORY)) {
		*why = "compressed memory without mandatory commands";
		return -ENXIO;
	}
	return 1;
}

static int cxl_memdev_is_cram(struct cxl_region *cxlr, struct cxl_memdev *cxlmd)
{
	struct cxl_memdev_state *mds = to_cxl_memdev_state(cxlmd->cxlds);
	const char *why;
	int rc;

	if (!mds)
		return 0;
	rc = cxl_memdev_recognise(mds, &why);
	if (rc < 0)
		dev_err(&cxlr->dev, "%s: %s (%*pb)\n", dev_name(&cxlmd->dev), why,
			CXL_CRAM_ENABLED_MAX, mds->cram.enabled_cmds);
	return rc;
}

/**
 * cxl_cram_warn_mapped() - A region that is System RAM already stays that
 * @cxlr: the region, being probed
 *
 * Firmware has given the memory to the kernel, which had it before it could know
 * what it is. Nobody can take it back now, but somebody should know.
 *
 * Return: 0, for the probe that ends here.
 */
int cxl_cram_warn_mapped(struct cxl_region *cxlr)
{
	struct cxl_region_params *p = &cxlr->params;

	guard(rwsem_read)(&cxl_rwsem.region);
	for (int i = 0; i < p->nr_targets; i++) {
		if (cxl_memdev_is_cram(cxlr, cxled_to_memdev(p->targets[i]))) {
			dev_err(&cxlr->dev,
				"compressed memory is in use as ordinary memory, by firmware: data is lost when its cells are used up\n");
			break;
		}
	}
	return 0;
}

static int cxl_cram_find(struct device *dev, const void *data)
{
	struct cxl_dev_state *cxlds;
	struct cxl_memdev_state *mds;
	const char *why;

	if (!is_cxl_memdev(dev))
		return 0;
	/* It stays for as long as the driver of the device does */
	guard(rwsem_read)(&cxl_memdev_rwsem);
	cxlds = to_cxl_memdev(dev)->cxlds;
	mds = cxlds ? to_cxl_memdev_state(cxlds) : NULL;
	return mds && cxl_memdev_recognise(mds, &why);
}

/**
 * cxl_cram_may_own() - Is memory that no region has to stay unused?
 * @res: memory in a CXL window that firmware has reserved for a driver to be found
 *
 * Whose memory it is only a region could tell. Where there is a device that compresses,
 * or may, it can be that of this device, and as ordinary memory it would lose data. So
 * nobody gets it, that of other devices included.
 *
 * Return: true where that is so; the log says why.
 */
bool cxl_cram_may_own(const struct resource *res)
{
	struct device *dev __free(put_device) =
		bus_find_device(&cxl_bus_type, NULL, NULL, cxl_cram_find);

	if (dev)
		dev_err(dev, "compresses, and %pr, which may be its memory, is in no region: stays unused\n",
			res);
	return dev;
}

/* For the whole region, with the same answers */
static int cxl_region_is_cram(struct cxl_region *cxlr)
{
	struct cxl_region_params *p = &cxlr->params;
	int nr = 0;

	lockdep_assert_held(&cxl_rwsem.region);

	for (int i = 0; i < p->nr_targets; i++) {
		int rc = cxl_memdev_is_cram(cxlr, cxled_to_memdev(p->targets[i]));

		if (rc < 0)
			return rc;
		nr += rc;
	}
	if (!nr)
		return 0;

	if (nr != p->nr_targets) {
		dev_err(&cxlr->dev,
			"compressed and other memory in one region: %d of %d devices compress\n",
			nr, p->nr_targets);
		return -EINVAL;
	}
	if (p->interleave_ways > 1 &&
	    p->interleave_granularity < CXL_CRAM_BLOCK) {
		dev_err(&cxlr->dev,
			"compressed memory cannot be interleaved every %d bytes: %d at least\n",
			p->interleave_granularity, CXL_CRAM_BLOCK);
		return -EINVAL;
	}
	return 1;
}

/* Is the n-th granule of the region the next of endpoint n modulo ways? */
static bool cxl_region_is_linear(struct cxl_region *cxlr)
{
	struct cxl_root_decoder *cxlrd = cxlr->cxlrd;
	struct cxl_region_params *p = &cxlr->params;
	int hb_ways = cxlrd->cxlsd.cxld.interleave_ways;
	u64 rest;

	if (p->cache_size || cxlrd->ops.hpa_to_spa || cxlrd->ops.spa_to_hpa ||
	    test_bit(CXL_REGION_F_NORMALIZED_ADDRESSING, &cxlr->flags))
		return false;
	if (is_power_of_2(hb_ways))
		return true;
	div64_u64_rem(p->res->start, (u64)hb_ways * SZ_256M, &rest);
	return !rest;
}

/* ------------------------------------------------------------ the device -- */

static void cxl_cram_region_release(struct device *dev)
{
	struct cxl_cram_region *cxlr_cram = to_cxl_cram_region(dev);

	for (int i = 0; i < cxlr_cram->ways; i++)
		put_device(&cxlr_cram->endpoints[i].cxlmd->dev);
	mutex_destroy(&cxlr_cram->lock);
	kfree(cxlr_cram);
}

static const struct attribute_group *cxl_cram_region_attribute_groups[] = {
	&cxl_base_attribute_group,
	NULL
};

const struct device_type cxl_cram_region_type = {
	.name = "cxl_cram_region",
	.release = cxl_cram_region_release,
	.groups = cxl_cram_region_attribute_groups,
};

/**
 * to_cxl_cram_region() - The cxl_cram_region of a device
 * @dev: of type cxl_cram_region_type
 *
 * Return: NULL, with a warning, for a device of another type.
 */
struct cxl_cram_region *to_cxl_cram_region(struct device *dev)
{
	if (dev_WARN_ONCE(dev, dev->type != &cxl_cram_region_type,
			  "not a cxl_cram_region device\n"))
		return NULL;
	return container_of(dev, struct cxl_cram_region, dev);
}
EXPORT_SYMBOL_NS_GPL(to_cxl_cram_region, "CXL");

static void put_cxl_cram_region(struct cxl_cram_region *cxlr_cram)
{
	if (!IS_ERR_OR_NULL(cxlr_cram))
		put_device(&cxlr_cram->dev);
}
DEFINE_FREE(put_cxl_cram_region, struct cxl_cram_region *, put_cxl_cram_region(_T))

static struct lock_class_key cxl_cram_region_key;

static void cxl_cram_set_endpoint(struct cxl_cram_endpoint *ep,
				  struct cxl_endpoint_decoder *cxled)
{
	struct cxl_hdm *cxlhdm = dev_get_drvdata(cxled->cxld.dev.parent);

	lockdep_assert_held(&cxl_rwsem.dpa);
	if (cxlhdm->regs.hdm_decoder)
		ep->ctrl = cxlhdm->regs.hdm_decoder +
			   CXL_HDM_DECODER0_CTRL_OFFSET(cxled->cxld.id);
	ep->cxlmd = cxled_to_memdev(cxled);
	get_device(&ep->cxlmd->dev);
	ep->dpa.start = cxled->dpa_res->start;
	ep->dpa.end = cxled->dpa_res->end;
}

/* NULL for a region of ordinary memory */
static struct cxl_cram_region *cxl_cram_region_alloc(struct cxl_region *cxlr)
{
	struct cxl_region_params *p = &cxlr->params;
	struct cxl_cram_region *cxlr_cram;
	struct device *dev;
	int rc;

	guard(rwsem_read)(&cxl_rwsem.region);
	if (p->state != CXL_CONFIG_COMMIT)
		return ERR_PTR(-ENXIO);

	rc = cxl_region_is_cram(cxlr);
	if (rc <= 0)
		return ERR_PTR(rc);
	if (!cxl_region_is_linear(cxlr)) {
		dev_err(&cxlr->dev,
			"compressed memory cannot be used with translated addresses\n");
		return ERR_PTR(-EOPNOTSUPP);
	}

	cxlr_cram = kzalloc_flex(*cxlr_cram, endpoints, p->nr_targets);
	if (!cxlr_cram)
		return ERR_PTR(-ENOMEM);

	cxlr_cram->cxlr = cxlr;
	cxlr_cram->ways = p->nr_targets;
	cxlr_cram->granularity = p->interleave_granularity;
	cxlr_cram->hpa_range.start = p->res->start;
	cxlr_cram->hpa_range.end = p->res->end;
	mutex_init(&cxlr_cram->lock);

	guard(rwsem_read)(&cxl_rwsem.dpa);
	for (int i = 0; i < p->nr_targets; i++)
		cxl_cram_set_endpoint(&cxlr_cram->endpoints[i], p->targets[i]);

	dev = &cxlr_cram->dev;
	device_initialize(dev);
	lockdep_set_class(&dev->mutex, &cxl_cram_region_key);
	device_set_pm_not_required(dev);
	dev->parent = &cxlr->dev;
	dev->bus = &cxl_bus_type;
	dev->type = &cxl_cram_region_type;

	return cxlr_cram;
}

static void cxlr_cram_unregister(void *_cxlr_cram)
{
	struct cxl_cram_region *cxlr_cram = _cxlr_cram;

	cxlr_cram->cxlr->cxlr_cram = NULL;
	device_unregister(&cxlr_cram->dev);
}

/**
 * devm_cxl_add_ram_region() - Hand a RAM region on to who uses it
 * @cxlr: a committed region, being probed
 *
 * To the cram driver when all its devices compress, to DAX when none does.
 *
 * Return: 0, or an errno, told in the log, when the region should not be used.
 */
int devm_cxl_add_ram_region(struct cxl_region *cxlr)
{
	struct device *dev;
	int rc;

	struct cxl_cram_region *cxlr_cram __free(put_cxl_cram_region) =
		cxl_cram_region_alloc(cxlr);
	if (IS_ERR(cxlr_cram))
		return PTR_ERR(cxlr_cram);
	if (!cxlr_cram)
		return devm_cxl_add_dax_region(cxlr);

	dev = &cxlr_cram->dev;
	rc = dev_set_name(dev, "cram_region%d", cxlr->id);
	if (rc)
		return rc;

	rc = device_add(dev);
	if (rc)
		return rc;

	dev_dbg(&cxlr->dev, "%s: register %s\n", dev_name(dev->parent),
		dev_name(dev));

	cxlr->cxlr_cram = cxlr_cram;
	return devm_add_action_or_reset(&cxlr->dev, cxlr_cram_unregister,
					no_free_ptr(cxlr_cram));
}

/* ------------------------------------------------------ closing a region -- */

/**
 * cxl_cram_region_set_close() - Have a say when the region is to go
 * @cxlr_cram: that the caller is bound to
 * @close: see &struct cxl_cram_region, or NULL: not running any more when this
 *	   returns
 */
void cxl_cram_region_set_close(struct cxl_cram_region *cxlr_cram,
			       int (*close)(struct cxl_cram_region *))
{
	guard(mutex)(&cxlr_cram->lock);
	cxlr_cram->close = close;
}
EXPORT_SYMBOL_NS_GPL(cxl_cram_region_set_close, "CXL");

/**
 * cxl_cram_region_set_stuck() - The driver goes, but pages stay
 * @cxlr_cram: that it was bound to
 * @nid: the node that they are on
 *
 * From now on the region is not given up any more when somebody asks.
 */
void cxl_cram_region_set_stuck(struct cxl_cram_region *cxlr_cram, int nid)
{
	cxlr_cram->cxlr->cram_nid = nid;
	/* Pairs with cxl_cram_retire_region() */
	smp_mb__before_atomic();
	set_bit(CXL_REGION_F_CRAM_STUCK, &cxlr_cram->cxlr->flags);
}
EXPORT_SYMBOL_NS_GPL(cxl_cram_region_set_stuck, "CXL");

/**
 * cxl_cram_region_stuck() - Did pages stay when the driver was here before?
 * @cxlr_cram: that it is about to bind to
 *
 * Context: any.
 * Return: true after cxl_cram_region_set_stuck().
 */
bool cxl_cram_region_stuck(struct cxl_cram_region *cxlr_cram)
{
	return test_bit(CXL_REGION_F_CRAM_STUCK, &cxlr_cram->cxlr->flags);
}
EXPORT_SYMBOL_NS_GPL(cxl_cram_region_stuck, "CXL");

/* May the driver go without leaving anything behind? */
static int cxl_cram_ask_close(struct cxl_cram_region *cxlr_cram)
{
	guard(mutex)(&cxlr_cram->lock);
	return cxlr_cram->close ? cxlr_cram->close(cxlr_cram) : 0;
}

static bool cxl_region_stuck(struct cxl_region *cxlr)
{
	return test_bit(CXL_REGION_F_CRAM_STUCK, &cxlr->flags);
}

/**
 * cxl_cram_close_region() - May user space take this region apart?
 * @cxlr: any region
 *
 * If so, the driver is released: else somebody could open the node again before
 * the decoders are reset.
 *
 * Context: process, without cxl_rwsem: the driver's answer can take a while.
 * Return: 0, and nothing comes to it any more, or -EBUSY while its pages are in use.
 */
int cxl_cram_close_region(struct cxl_region *cxlr)
{
	struct cxl_cram_region *cxlr_cram;
	int rc;

	guard(device)(&cxlr->dev);
	if (cxl_region_stuck(cxlr))
		return -EBUSY;
	cxlr_cram = cxlr->cxlr_cram;
	if (!cxlr_cram)
		return 0;

	rc = cxl_cram_ask_close(cxlr_cram);
	if (rc)
		return rc;
	device_release_driver(&cxlr_cram->dev);
	return cxl_region_stuck(cxlr) ? -EBUSY : 0;
}

/**
 * cxl_cram_retire_region() - The decoders of a region are about to be reset
 * @cxlr: any region, its driver released
 *
 * If pages have stayed when the cram driver went, they are taken from their users,
 * who are killed when they touch them.
 *
 * Context: process, without cxl_rwsem: this takes the locks of mm/cram.
 */
void cxl_cram_retire_region(struct cxl_region *cxlr)
{
	if (!cxl_region_stuck(cxlr))
		return;
	/* Pairs with cxl_cram_region_set_stuck() */
	smp_rmb();
	cram_retire_node(cxlr->cram_nid);
}

/**
 * cxl_cram_release_region() - An endpoint goes, whatever is on it
 * @cxled: its decoder, about to be reset
 *
 * Pages can be moved off only while the decoders lead to them.
 */
void cxl_cram_release_region(struct cxl_endpoint_decoder *cxled)
{
	struct cxl_region *cxlr;

	scoped_guard(rwsem_read, &cxl_rwsem.region) {
		cxlr = cxled->cxld.region;
		if (!cxlr || (!READ_ONCE(cxlr->cxlr_cram) && !cxl_region_stuck(cxlr)))
			return;
		get_device(&cxlr->dev);
	}
	device_release_driver(&cxlr->dev);
	cxl_cram_retire_region(cxlr);
	put_device(&cxlr->dev);
}

#if IS_ENABLED(CONFIG_CXL_CRAM_KUNIT_TEST)
#include "region_cram_test.c"
#endif
