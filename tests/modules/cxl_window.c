// SPDX-License-Identifier: GPL-2.0
/*
 * cxl_window: /dev/cxl_window, whose offsets are those in the first CXL fixed
 * memory window. For a test that programs a device's decoders by itself, with no
 * driver bound; an ordinary kernel has no other way to such memory.
 */
#include <linux/ioport.h>
#include <linux/miscdevice.h>
#include <linux/mm.h>
#include <linux/module.h>

static struct resource *window;

static int cxl_window_mmap(struct file *file, struct vm_area_struct *vma)
{
	unsigned long len = vma->vm_end - vma->vm_start;
	resource_size_t at = (resource_size_t)vma->vm_pgoff << PAGE_SHIFT;

	if (at > resource_size(window) || len > resource_size(window) - at)
		return -EINVAL;
	return remap_pfn_range(vma, vma->vm_start, PHYS_PFN(window->start + at),
			       len, vma->vm_page_prot);
}

static ssize_t cxl_window_read(struct file *file, char __user *buf, size_t len,
			       loff_t *pos)
{
	char line[32];
	int n = scnprintf(line, sizeof(line), "%#llx\n", (u64)window->start);

	return simple_read_from_buffer(buf, len, pos, line, n);
}

static const struct file_operations cxl_window_fops = {
	.owner = THIS_MODULE,
	.read = cxl_window_read,
	.mmap = cxl_window_mmap,
};

static struct miscdevice cxl_window = {
	.minor = MISC_DYNAMIC_MINOR,
	.name = "cxl_window",
	.fops = &cxl_window_fops,
	.mode = 0600,
};

static int __init cxl_window_init(void)
{
	struct resource *r;

	/* Fixed windows are at the top level, and stay until the machine goes */
	for (r = iomem_resource.child; r && !window; r = r->sibling)
		if (r->name && !strcmp(r->name, "CXL Window 0"))
			window = r;
	return window ? misc_register(&cxl_window) : -ENODEV;
}
module_init(cxl_window_init);

static void __exit cxl_window_exit(void)
{
	misc_deregister(&cxl_window);
}
module_exit(cxl_window_exit);

MODULE_DESCRIPTION("Maps a CXL fixed memory window for tests");
MODULE_LICENSE("GPL");
