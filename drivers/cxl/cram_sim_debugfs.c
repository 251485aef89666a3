// SPDX-License-Identifier: GPL-2.0
/*
 * The files of cram_sim: what the model knows, and what makes it lie, hang and fail.
 * Described in Documentation/admin-guide/mm/cram_sim.rst.
 */
#include <linux/cleanup.h>
#include <linux/debugfs.h>
#include <linux/math64.h>
#include <linux/mm.h>
#include <linux/private_node.h>
#include <linux/random.h>
#include <linux/seq_file.h>
#include <linux/slab.h>
#include <linux/sizes.h>
#include <linux/uaccess.h>

#include "cram_sim.h"

static struct dentry *cram_sim_root;

static int cram_sim_set_physical(void *data, u64 val)
{
	struct cram_sim *sim = data;

	if (!val)
		return -EINVAL;

	guard(spinlock_irq)(&sim->lock);
	sim->physical = val;
	return 0;
}

static int cram_sim_set_lie(void *data, u64 val)
{
	struct cram_sim *sim = data;

	WRITE_ONCE(sim->lie, val);
	return 0;
}

static int cram_sim_set_drop(void *data, u64 val)
{
	struct cram_sim *sim = data;

	WRITE_ONCE(sim->drop, !!val);
	wake_up_all(&sim->idle);
	return 0;
}

static int cram_sim_set_delay_ms(void *data, u64 val)
{
	struct cram_sim *sim = data;

	if (val > INT_MAX)
		return -ERANGE;
	WRITE_ONCE(sim->delay_ms, val);
	wake_up_all(&sim->idle);
	return 0;
}

static int cram_sim_set_fail(void *data, u64 val)
{
	struct cram_sim *sim = data;

	if (val > MAX_ERRNO)
		return -ERANGE;
	WRITE_ONCE(sim->fail, val);
	return 0;
}

/* A file with one number; @_set is NULL if it cannot be written */
#define CRAM_SIM_NUMBER(_name, _value, _set)				\
static int cram_sim_get_##_name(void *data, u64 *val)			\
{									\
	struct cram_sim *sim = data;					\
									\
	guard(spinlock_irq)(&sim->lock);				\
	*val = _value;							\
	return 0;							\
}									\
DEFINE_DEBUGFS_ATTRIBUTE_SIGNED(cram_sim_##_name##_fops,		\
				cram_sim_get_##_name, _set, "%lld\n")

CRAM_SIM_NUMBER(used, cram_sim_used(sim), NULL);
CRAM_SIM_NUMBER(physical_free, cram_sim_free(sim), NULL);
CRAM_SIM_NUMBER(pending, sim->nr_pending, NULL);
CRAM_SIM_NUMBER(open, sim->nr_open, NULL);
CRAM_SIM_NUMBER(readings, sim->readings, NULL);
CRAM_SIM_NUMBER(trimmed, READ_ONCE(sim->trimmed), NULL);
CRAM_SIM_NUMBER(over_capacity, sim->over_capacity, NULL);
CRAM_SIM_NUMBER(unannounced, sim->unannounced, NULL);
CRAM_SIM_NUMBER(physical, sim->physical, cram_sim_set_physical);
CRAM_SIM_NUMBER(lie, sim->lie, cram_sim_set_lie);
CRAM_SIM_NUMBER(drop, sim->drop, cram_sim_set_drop);
CRAM_SIM_NUMBER(delay_ms, sim->delay_ms, cram_sim_set_delay_ms);
CRAM_SIM_NUMBER(fail, sim->fail, cram_sim_set_fail);

/* Every page once, and all that was pending when it turns up */
static int cram_sim_set_patrol(void *data, u64 val)
{
	struct cram_sim *sim = data;

	cram_sim_grant_patrol(sim, sim->nr_pages);
	cram_sim_kick(sim);
	return wait_event_interruptible(sim->idle, !cram_sim_has_work(sim));
}
DEFINE_DEBUGFS_ATTRIBUTE(cram_sim_patrol_fops, NULL, cram_sim_set_patrol,
			 "%llu\n");

static int cram_sim_ratio_show(struct seq_file *m, void *unused)
{
	struct cram_sim *sim = m->private;
	u64 logical, held;

	scoped_guard(spinlock_irq, &sim->lock) {
		logical = (u64)sim->nr_held * PAGE_SIZE;
		held = sim->held;
	}
	held = held ? div64_u64(logical * 100, held) : 0;
	seq_printf(m, "%llu.%02llu\n", held / 100, held % 100);
	return 0;
}
DEFINE_SHOW_ATTRIBUTE(cram_sim_ratio);

static int cram_sim_cells_of_show(struct seq_file *m, void *unused)
{
	struct cram_sim *sim = m->private;
	unsigned long i = cram_sim_index(sim, sim->cells_pfn, 1);
	unsigned long cells;

	scoped_guard(spinlock_irq, &sim->lock)
		cells = test_bit(i, sim->pending) ? CRAM_SIM_WORST : sim->cells[i];
	seq_printf(m, "%lu\n", cells);
	return 0;
}

static ssize_t cram_sim_cells_of_write(struct file *file, const char __user *ubuf,
				       size_t count, loff_t *ppos)
{
	struct cram_sim *sim = file_inode(file)->i_private;
	unsigned long pfn;
	int err;

	err = kstrtoul_from_user(ubuf, count, 0, &pfn);
	if (err)
		return err;
	if (cram_sim_index(sim, pfn, 1) == CRAM_SIM_NO_PAGE)
		return -ERANGE;
	sim->cells_pfn = pfn;
	return count;
}
DEFINE_SHOW_STORE_ATTRIBUTE(cram_sim_cells_of);

/**
 * cram_sim_pattern - a page of content for the file "store"
 * @page: where to
 * @pattern: how much of it is random, and then?
 *
 * Context: any.
 * Return: 0, or -EINVAL when there is no such pattern.
 */
int cram_sim_pattern(void *page, const char *pattern)
{
	size_t nr_random;
	u8 rest = 0;

	if (!strcmp(pattern, "zero")) {
		nr_random = 0;
	} else if (!strcmp(pattern, "same")) {
		nr_random = 0;
		rest = 0xa5;
	} else if (!strcmp(pattern, "half")) {
		nr_random = PAGE_SIZE / 2;
	} else if (!strcmp(pattern, "random")) {
		nr_random = PAGE_SIZE;
	} else {
		return -EINVAL;
	}
	get_random_bytes(page, nr_random);
	memset(page + nr_random, rest, PAGE_SIZE - nr_random);
	return 0;
}

/**
 * cram_sim_store - store as the engine would, or, quietly, as it never must
 * @sim: the model
 * @pfn: to this page
 * @content: a page of it
 * @quiet: without a word to the model
 *
 * Context: process.
 */
void cram_sim_store(struct cram_sim *sim, unsigned long pfn,
		    void *content, bool quiet)
{
	if (!quiet)
		cram_sim_open_pages(sim, pfn, 1);
	/* Free memory is no place for instrumented accessors */
	copy_page(pfn_to_kaddr(pfn), content);
	if (!quiet)
		cram_sim_close_pages(sim, pfn, 1);
}

static int cram_sim_store_show(struct seq_file *m, void *unused)
{
	struct cram_sim *sim = m->private;

	seq_printf(m, "%lu\n", sim->store_pfn);
	return 0;
}

/* "<pfn>|free zero|same|half|random [quiet]" */
static ssize_t cram_sim_store_write(struct file *file, const char __user *ubuf,
				    size_t count, loff_t *ppos)
{
	void *content __free(kfree) = kmalloc(PAGE_SIZE, GFP_KERNEL);
	struct cram_sim *sim = file_inode(file)->i_private;
	char buf[64], where[24], pattern[8], how[8] = "";
	struct folio *folio = NULL;
	unsigned long pfn;
	int err, n;

	if (!content)
		return -ENOMEM;
	if (count >= sizeof(buf))
		return -EINVAL;
	if (copy_from_user(buf, ubuf, count))
		return -EFAULT;
	buf[count] = '\0';

	n = sscanf(buf, "%23s %7s %7s", where, pattern, how);
	if (n < 2 || (n == 3 && strcmp(how, "quiet")))
		return -EINVAL;
	err = cram_sim_pattern(content, pattern);
	if (err)
		return err;

	if (!strcmp(where, "free")) {
		folio = folio_alloc_private(sim->nid, 0, GFP_KERNEL);
		if (!folio)
			return -ENOMEM;
		pfn = folio_pfn(folio);
	} else {
		err = kstrtoul(where, 0, &pfn);
		if (err)
			return err;
	}

	if (cram_sim_index(sim, pfn, 1) == CRAM_SIM_NO_PAGE) {
		err = -ERANGE;
	} else {
		cram_sim_store(sim, pfn, content, n == 3);
		sim->store_pfn = pfn;
	}
	if (folio)
		folio_put(folio);
	return err ?: count;
}
DEFINE_SHOW_STORE_ATTRIBUTE(cram_sim_store);

static int cram_sim_hot_show(struct seq_file *m, void *unused)
{
	struct cram_sim *sim = m->private;
	unsigned int i;

	guard(spinlock_irq)(&sim->lock);
	for (i = 0; i < sim->nr_hot; i++)
		seq_printf(m, "%lu\n", sim->hot[i]);
	return 0;
}

/* Any number of page frame numbers, be they right or wrong */
static ssize_t cram_sim_hot_write(struct file *file, const char __user *ubuf,
				  size_t count, loff_t *ppos)
{
	struct cram_sim *sim = file_inode(file)->i_private;
	char *rest, *word;
	unsigned long pfn;
	int err;

	if (count > SZ_64K)
		return -E2BIG;
	char *buf __free(kfree) = memdup_user_nul(ubuf, count);
	if (IS_ERR(buf))
		return PTR_ERR(buf);

	rest = buf;
	while ((word = strsep(&rest, "\n "))) {
		if (!*word)
			continue;
		err = kstrtoul(word, 0, &pfn);
		if (err)
			return err;
		guard(spinlock_irq)(&sim->lock);
		if (sim->nr_hot == CRAM_SIM_HOT)
			return -ENOSPC;
		sim->hot[sim->nr_hot++] = pfn;
	}
	return count;
}
DEFINE_SHOW_STORE_ATTRIBUTE(cram_sim_hot);

/**
 * cram_sim_debugfs_create - make the files of a model
 * @sim: the model
 * @id: of its platform device
 *
 * Context: process.
 */
void cram_sim_debugfs_create(struct cram_sim *sim, int id)
{
	char name[12];

	snprintf(name, sizeof(name), "%d", id);
	sim->dir = debugfs_create_dir(name, cram_sim_root);
	debugfs_create_ulong("start_pfn", 0400, sim->dir, &sim->start_pfn);
	debugfs_create_ulong("nr_pages", 0400, sim->dir, &sim->nr_pages);
	debugfs_create_u32("settle_ms", 0600, sim->dir, &sim->settle_ms);
	debugfs_create_u32("patrol_rate", 0600, sim->dir, &sim->patrol_rate);

#define CRAM_SIM_FILE(_name, _mode)					\
	debugfs_create_file(#_name, _mode, sim->dir, sim, &cram_sim_##_name##_fops)
	CRAM_SIM_FILE(physical, 0600);
	CRAM_SIM_FILE(used, 0400);
	CRAM_SIM_FILE(physical_free, 0400);
	CRAM_SIM_FILE(ratio, 0400);
	CRAM_SIM_FILE(pending, 0400);
	CRAM_SIM_FILE(open, 0400);
	CRAM_SIM_FILE(readings, 0400);
	CRAM_SIM_FILE(trimmed, 0400);
	CRAM_SIM_FILE(over_capacity, 0400);
	CRAM_SIM_FILE(unannounced, 0400);
	CRAM_SIM_FILE(lie, 0600);
	CRAM_SIM_FILE(delay_ms, 0600);
	CRAM_SIM_FILE(fail, 0600);
	CRAM_SIM_FILE(drop, 0600);
	CRAM_SIM_FILE(patrol, 0200);
	CRAM_SIM_FILE(cells_of, 0600);
	CRAM_SIM_FILE(store, 0600);
	CRAM_SIM_FILE(hot, 0600);
#undef CRAM_SIM_FILE
}

/**
 * cram_sim_debugfs_init - make the directory of all models
 *
 * Context: process, once.
 */
void cram_sim_debugfs_init(void)
{
	cram_sim_root = debugfs_create_dir("cram_sim", NULL);
}
