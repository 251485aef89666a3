// SPDX-License-Identifier: GPL-2.0
/*
 * cxl_memory: what becomes of memory in the first CXL fixed memory window that
 * firmware has given away. While the module is loaded with ram=1, the first 2 MiB are
 * System RAM for whoever looks into the resources, with no memory of the kernel behind
 * it. Its parameter "kept" says whether the core of CXL keeps this memory from
 * dax_hmem, as if firmware had reserved it: asked anew whenever it is read.
 */
#include <linux/ioport.h>
#include <linux/kprobes.h>
#include <linux/module.h>
#include <linux/sizes.h>

static struct resource memory = {
	.name = "System RAM",
	.flags = IORESOURCE_SYSTEM_RAM | IORESOURCE_BUSY,
};

static bool ram;
module_param(ram, bool, 0444);

/* For dax_hmem alone, which needs firmware with EFI */
static bool (*contains_resource)(const struct resource *res);

static int kept_get(char *buf, const struct kernel_param *kp)
{
	return sysfs_emit(buf, "%d\n", contains_resource && contains_resource(&memory));
}

static const struct kernel_param_ops kept_ops = { .get = kept_get };
module_param_cb(kept, &kept_ops, NULL, 0444);

static int __init cxl_memory_init(void)
{
	struct kprobe kp = { .symbol_name = "cxl_region_contains_resource" };
	struct resource *r;
	int rc;

	rc = register_kprobe(&kp);
	if (rc)
		return rc;
	contains_resource = (void *)kp.addr;
	unregister_kprobe(&kp);

	/* Fixed windows are at the top level, and stay until the machine goes */
	for (r = iomem_resource.child; r; r = r->sibling)
		if (r->name && !strcmp(r->name, "CXL Window 0"))
			break;
	if (!r)
		return -ENODEV;
	memory.start = r->start;
	memory.end = r->start + SZ_2M - 1;
	return ram ? insert_resource(&iomem_resource, &memory) : 0;
}
module_init(cxl_memory_init);

static void __exit cxl_memory_exit(void)
{
	if (ram)
		remove_resource(&memory);
}
module_exit(cxl_memory_exit);

MODULE_DESCRIPTION("Memory of a CXL window that firmware has given away, for tests");
MODULE_LICENSE("GPL");
