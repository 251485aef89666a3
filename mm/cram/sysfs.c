// SPDX-License-Identifier: GPL-2.0
/*
 * What an operator sees and sets: /sys/kernel/mm/cram/ for the machine and
 * /sys/devices/system/node/nodeN/cram/ for a node. Described in
 * Documentation/ABI/testing/sysfs-kernel-mm-cram and sysfs-devices-node-cram.
 */
#include <linux/delay.h>
#include <linux/init.h>
#include <linux/kobject.h>
#include <linux/math64.h>
#include <linux/mm.h>
#include <linux/node.h>
#include <linux/sched/signal.h>
#include <linux/sysfs.h>

#include "../internal.h"
#include "internal.h"

/* A lease shorter than a few of cramd's passes would be lost by itself */
#define CRAM_LEASE_MS_MIN	100
#define CRAM_LEASE_MS_MAX	60000

/* -------------------------------------------------------------- of a node -- */

/* The parent of nodeN/cram is nodeN; the files go before the node does */
static struct cram_node *kobj_cram_node(struct kobject *kobj)
{
	return cram_node_get(kobj_to_dev(kobj->parent)->id);
}

#define CRAM_NODE_RO(_name, value)						\
static ssize_t _name##_show(struct kobject *kobj, struct kobj_attribute *attr,	\
			    char *buf)						\
{										\
	return sysfs_emit(buf, "%llu\n", (u64)(value)(kobj_cram_node(kobj)));	\
}										\
static struct kobj_attribute _name##_attr = __ATTR_RO(_name)

/* A number that is stored by a function of its own */
#define CRAM_NODE_RW(_name, member)						\
static ssize_t _name##_show(struct kobject *kobj, struct kobj_attribute *attr,	\
			    char *buf)						\
{										\
	return sysfs_emit(buf, "%llu\n",					\
			  (u64)READ_ONCE(kobj_cram_node(kobj)->member));	\
}										\
static struct kobj_attribute _name##_attr = __ATTR_RW(_name)

static u64 cram_physical(struct cram_node *cn)
{
	return cram_last_reading(cn, NULL).physical;
}

static u64 cram_physical_free(struct cram_node *cn)
{
	return cram_last_reading(cn, NULL).physical_free;
}

static u64 cram_over_capacity(struct cram_node *cn)
{
	return cram_last_reading(cn, NULL).over_capacity;
}

static u64 cram_free_bound(struct cram_node *cn)
{
	u64 bound;

	cram_last_reading(cn, &bound);
	return bound;
}

static u64 cram_used(struct cram_node *cn)
{
	return (u64)atomic_long_read(&cn->resident) * PAGE_SIZE;
}

static u64 cram_writable(struct cram_node *cn)
{
	return (u64)atomic_long_read(&cn->budget.writable) * PAGE_SIZE;
}

static u64 cram_logical(struct cram_node *cn)
{
	return (u64)NODE_DATA(cn->nid)->node_present_pages * PAGE_SIZE;
}

CRAM_NODE_RO(physical_bytes, cram_physical);
CRAM_NODE_RO(physical_free_bytes, cram_physical_free);
CRAM_NODE_RO(over_capacity, cram_over_capacity);
CRAM_NODE_RO(free_bound_bytes, cram_free_bound);
CRAM_NODE_RO(used_bytes, cram_used);
CRAM_NODE_RO(writable_bytes, cram_writable);
CRAM_NODE_RO(logical_bytes, cram_logical);

static ssize_t state_show(struct kobject *kobj, struct kobj_attribute *attr,
			  char *buf)
{
	return sysfs_emit(buf, "%s\n", cram_state_name(kobj_cram_node(kobj)));
}

/*
 * "offline" drains the node, or fails with everything as it was; "open" lets
 * pages in again, and believes a device that was caught lying. The mutex is only
 * tried, because an unregistration holds it and waits for this file to be closed; a
 * signal ends the waiting for somebody else who drains the node.
 */
static ssize_t state_store(struct kobject *kobj, struct kobj_attribute *attr,
			   const char *buf, size_t count)
{
	struct cram_node *cn = kobj_cram_node(kobj);
	bool offline = sysfs_streq(buf, "offline");
	int err = 0;

	if (!offline && !sysfs_streq(buf, "open"))
		return -EINVAL;
	if (!mutex_trylock(&cn->state.offline_mutex)) {
		msleep(20);
		return restart_syscall();
	}
	if (cn->room.gone)
		err = -ENODEV;
	else if (offline)
		err = cram_drain(cn);
	else
		err = cram_trust(cn);
	if (!err && !offline)
		cram_reopen(cn);
	mutex_unlock(&cn->state.offline_mutex);
	return err ?: count;
}

static struct kobj_attribute state_attr = __ATTR_RW(state);

/*
 * Resident bytes by the bytes of cells in use, "3.12". Freed pages that were
 * not trimmed yet are among the latter, so this is a little low after a burst
 * of frees.
 */
static ssize_t ratio_show(struct kobject *kobj, struct kobj_attribute *attr,
			  char *buf)
{
	struct cram_node *cn = kobj_cram_node(kobj);
	struct cram_reading r = cram_last_reading(cn, NULL);
	u64 cells = r.physical - min(r.physical, r.physical_free);
	u64 percent = cells ? div64_u64(cram_used(cn) * 100, cells) : 0;

	return sysfs_emit(buf, "%llu.%02llu\n", percent / 100, percent % 100);
}

static struct kobj_attribute ratio_attr = __ATTR_RO(ratio);

static ssize_t lease_ms_store(struct kobject *kobj, struct kobj_attribute *attr,
			      const char *buf, size_t count)
{
	struct cram_node *cn = kobj_cram_node(kobj);
	unsigned int ms;
	int err;

	err = kstrtouint(buf, 10, &ms);
	if (err)
		return err;
	if (ms < CRAM_LEASE_MS_MIN || ms > CRAM_LEASE_MS_MAX)
		return -EINVAL;
	WRITE_ONCE(cn->room.lease_ms, ms);
	cram_want_reading(cn);
	return count;
}

CRAM_NODE_RW(lease_ms, room.lease_ms);

static int cram_set_watermark(struct cram_node *cn, const char *buf, bool low)
{
	u64 bytes;
	int err;

	err = kstrtou64(buf, 10, &bytes);
	if (err)
		return err;
	scoped_guard(mutex, &cn->state.mutex) {
		if (low ? bytes < cn->state.critical || bytes > cram_physical(cn) :
			  bytes > cn->state.low)
			return -EINVAL;
		WRITE_ONCE(*(low ? &cn->state.low : &cn->state.critical), bytes);
	}
	cram_settle(cn);
	return 0;
}

static ssize_t reserve_bytes_store(struct kobject *kobj,
				   struct kobj_attribute *attr,
				   const char *buf, size_t count)
{
	struct cram_node *cn = kobj_cram_node(kobj);
	u64 bytes, was = READ_ONCE(cn->room.reserve);
	int err;

	err = kstrtou64(buf, 10, &bytes);
	if (err)
		return err;
	if (bytes > cram_physical(cn))
		return -EINVAL;
	WRITE_ONCE(cn->room.reserve, bytes);
	/* In force with the reading that is taken now, or not at all */
	err = cram_take_reading(cn);
	if (err) {
		WRITE_ONCE(cn->room.reserve, was);
		return err;
	}
	cram_settle(cn);
	return count;
}

CRAM_NODE_RW(reserve_bytes, room.reserve);

static ssize_t page_max_show(struct kobject *kobj, struct kobj_attribute *attr,
			     char *buf)
{
	u64 max = READ_ONCE(kobj_cram_node(kobj)->page_max);

	if (max == U64_MAX)
		return sysfs_emit(buf, "max\n");
	return sysfs_emit(buf, "%llu\n", max);
}

static ssize_t page_max_store(struct kobject *kobj, struct kobj_attribute *attr,
			      const char *buf, size_t count)
{
	u64 max = U64_MAX;
	int err = 0;

	if (!sysfs_streq(buf, "max"))
		err = kstrtou64(buf, 10, &max);
	if (err)
		return err;
	WRITE_ONCE(kobj_cram_node(kobj)->page_max, max);
	return count;
}

static struct kobj_attribute page_max_attr = __ATTR_RW(page_max);

static ssize_t writable_budget_show(struct kobject *kobj,
				    struct kobj_attribute *attr, char *buf)
{
	unsigned long budget = READ_ONCE(kobj_cram_node(kobj)->budget.max);

	if (budget == ULONG_MAX)
		return sysfs_emit(buf, "auto\n");
	return sysfs_emit(buf, "%llu\n", (u64)budget * PAGE_SIZE);
}

/*
 * "auto": as many pages as proven room covers. A number is a limit on top of
 * that, unless it is more than all cells can hold: then nothing but the number
 * counts, and what the device cannot store is lost.
 */
static ssize_t writable_budget_store(struct kobject *kobj,
				     struct kobj_attribute *attr,
				     const char *buf, size_t count)
{
	struct cram_node *cn = kobj_cram_node(kobj);
	unsigned long budget = ULONG_MAX;
	bool override = false;
	int err;

	if (!sysfs_streq(buf, "auto")) {
		u64 bytes;

		err = kstrtou64(buf, 10, &bytes);
		if (err)
			return err;
		budget = min_t(u64, bytes >> PAGE_SHIFT, ULONG_MAX - 1);
		/* Not by what is proven now: the same number is to mean the same again */
		override = budget > div_u64(cram_physical(cn), cn->desc.cells_per_page);
	}
	scoped_guard(mutex, &cn->state.mutex) {
		WRITE_ONCE(cn->budget.max, budget);
		WRITE_ONCE(cn->budget.override, override);
	}
	if (override)
		pr_warn("cram: node %d (%s): writable_budget is more than its cells can ever hold\n",
			cn->nid, cn->desc.name);
	cram_check_budget(cn);
	return count;
}

static struct kobj_attribute writable_budget_attr = __ATTR_RW(writable_budget);

/* The watermarks of the states, in bytes of free cells; critical <= low */
static ssize_t low_bytes_store(struct kobject *kobj, struct kobj_attribute *attr,
			       const char *buf, size_t count)
{
	int err = cram_set_watermark(kobj_cram_node(kobj), buf, true);

	return err ?: count;
}

CRAM_NODE_RW(low_bytes, state.low);

static ssize_t critical_bytes_store(struct kobject *kobj,
				    struct kobj_attribute *attr,
				    const char *buf, size_t count)
{
	int err = cram_set_watermark(kobj_cram_node(kobj), buf, false);

	return err ?: count;
}

CRAM_NODE_RW(critical_bytes, state.critical);

static ssize_t promote_hot_bytes_per_sec_store(struct kobject *kobj,
					       struct kobj_attribute *attr,
					       const char *buf, size_t count)
{
	u64 rate;
	int err;

	err = kstrtou64(buf, 10, &rate);
	if (err)
		return err;
	cram_hot_set_rate(kobj_cram_node(kobj), rate);
	return count;
}

CRAM_NODE_RW(promote_hot_bytes_per_sec, promote_rate);

static ssize_t class_show(struct kobject *kobj, struct kobj_attribute *attr, char *buf)
{
	static const char * const names[] = {
		[CRAM_COMPRESSED]	= "compressed",
		[CRAM_PLAIN]		= "plain",
	};

	return sysfs_emit(buf, "%s\n", names[kobj_cram_node(kobj)->desc.class]);
}

static struct kobj_attribute class_attr = __ATTR_RO(class);

static struct attribute *cram_node_attrs[] = {
	&class_attr.attr,
	&state_attr.attr,
	&logical_bytes_attr.attr,
	&physical_bytes_attr.attr,
	&physical_free_bytes_attr.attr,
	&free_bound_bytes_attr.attr,
	&ratio_attr.attr,
	&used_bytes_attr.attr,
	&writable_bytes_attr.attr,
	&writable_budget_attr.attr,
	&reserve_bytes_attr.attr,
	&page_max_attr.attr,
	&low_bytes_attr.attr,
	&critical_bytes_attr.attr,
	&lease_ms_attr.attr,
	&promote_hot_bytes_per_sec_attr.attr,
	&over_capacity_attr.attr,
	NULL
};

/* A device that is not asked has no lease, and cannot tell of stores without a cell */
static umode_t cram_node_attr_visible(struct kobject *kobj, struct attribute *attr, int n)
{
	if (cram_node_counted(kobj_cram_node(kobj)) &&
	    (attr == &lease_ms_attr.attr || attr == &over_capacity_attr.attr))
		return 0;
	return attr->mode;
}

static const struct attribute_group cram_node_group = {
	.attrs = cram_node_attrs,
	.is_visible = cram_node_attr_visible,
};
__ATTRIBUTE_GROUPS(cram_node);

/**
 * cram_node_sysfs_add - nodeN/cram/ with its files
 * @cn: registered, so that the files find it
 *
 * Context: process.
 * Return: 0 or an errno.
 */
int cram_node_sysfs_add(struct cram_node *cn)
{
	int err;

	cn->kobj = kobject_create_and_add("cram", &node_devices[cn->nid]->dev.kobj);
	if (!cn->kobj)
		return -ENOMEM;
	err = sysfs_create_groups(cn->kobj, cram_node_groups);
	if (err)
		kobject_put(cn->kobj);
	return err;
}

/**
 * cram_node_sysfs_remove - no file of it is open in the kernel after this
 * @cn: still registered
 */
void cram_node_sysfs_remove(struct cram_node *cn)
{
	sysfs_remove_groups(cn->kobj, cram_node_groups);
	kobject_put(cn->kobj);
}

/* --------------------------------------------------------- of the machine -- */

static ssize_t enabled_show(struct kobject *kobj, struct kobj_attribute *attr,
			    char *buf)
{
	return sysfs_emit(buf, "%d\n", READ_ONCE(cram_enabled));
}

static ssize_t enabled_store(struct kobject *kobj, struct kobj_attribute *attr,
			     const char *buf, size_t count)
{
	bool enabled;
	int err;

	err = kstrtobool(buf, &enabled);
	if (err)
		return err;
	WRITE_ONCE(cram_enabled, enabled);
	return count;
}

static struct kobj_attribute enabled_attr = __ATTR_RW(enabled);

static struct attribute *cram_attrs[] = {
	&enabled_attr.attr,
	NULL
};

static const struct attribute_group cram_group = {
	.name = "cram",
	.attrs = cram_attrs,
};

static int __init cram_sysfs_init(void)
{
	return sysfs_create_group(mm_kobj, &cram_group);
}
subsys_initcall(cram_sysfs_init);
