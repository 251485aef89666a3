// SPDX-License-Identifier: GPL-2.0
/*
 * What dax_cram has to be told of a device that compresses, before it is bound:
 * daxX.Y/cram/ in sysfs. Part of the bus, because the driver may not be there yet.
 */
#include <linux/device.h>
#include <linux/kstrtox.h>
#include <linux/mm.h>
#include <linux/sizes.h>
#include <linux/sysfs.h>
#include "dax-private.h"

/* For a page, metadata included; as for devices that can be asked (cxl/cram.c) */
#define DAX_CRAM_MAX_CELLS	SZ_64K

static ssize_t physical_bytes_show(struct device *dev, struct device_attribute *attr,
				   char *buf)
{
	return sysfs_emit(buf, "%llu\n", to_dev_dax(dev)->cram_physical);
}

static ssize_t physical_bytes_store(struct device *dev, struct device_attribute *attr,
				    const char *buf, size_t len)
{
	struct dev_dax *dev_dax = to_dev_dax(dev);
	u64 bytes;
	int rc;

	rc = kstrtou64(buf, 10, &bytes);
	if (rc)
		return rc;
	/* The probe looks at it with the lock held */
	guard(device)(dev);
	if (dev->driver)
		return -EBUSY;
	if (bytes && bytes < max(dev_dax->cram_cells_per_page, PAGE_SIZE))
		return -EINVAL;
	dev_dax->cram_physical = bytes;
	return len;
}
static DEVICE_ATTR_RW(physical_bytes);

/* 0 stands for a page */
static ssize_t cells_per_page_show(struct device *dev, struct device_attribute *attr,
				   char *buf)
{
	return sysfs_emit(buf, "%lu\n",
			  max(to_dev_dax(dev)->cram_cells_per_page, PAGE_SIZE));
}

static ssize_t cells_per_page_store(struct device *dev, struct device_attribute *attr,
				    const char *buf, size_t len)
{
	struct dev_dax *dev_dax = to_dev_dax(dev);
	unsigned int bytes;
	int rc;

	rc = kstrtouint(buf, 10, &bytes);
	if (rc)
		return rc;
	if (bytes < PAGE_SIZE || bytes > DAX_CRAM_MAX_CELLS * (PAGE_SIZE / SZ_4K))
		return -EINVAL;
	guard(device)(dev);
	if (dev->driver)
		return -EBUSY;
	if (dev_dax->cram_physical && dev_dax->cram_physical < bytes)
		return -EINVAL;
	dev_dax->cram_cells_per_page = bytes;
	return len;
}
static DEVICE_ATTR_RW(cells_per_page);

static struct attribute *dax_cram_attrs[] = {
	&dev_attr_physical_bytes.attr,
	&dev_attr_cells_per_page.attr,
	NULL
};

const struct attribute_group dax_cram_attribute_group = {
	.name = "cram",
	.attrs = dax_cram_attrs,
};
