// SPDX-License-Identifier: GPL-2.0
/*
 * CONFIG_CRAM_VERIFY: is what the engine promises really so?
 *
 * Three watchers, each of which sees what the others cannot:
 *
 * - page_table_check reports each entry that is set through set_pte_at() and
 *   its kind;
 * - ptep_set_access_flags() and pmdp_set_access_flags() set bare entries on
 *   x86, among them the one that reuses a page on a write fault;
 * - the walker, read from debugfs, compares the page tables of all processes,
 *   the slots, the folios on the node and the books of the cgroups.
 *
 * For tests of these watchers themselves, hooks can be switched off and slots
 * corrupted.
 */
#include <linux/debugfs.h>
#include <linux/memcontrol.h>
#include <linux/mm.h>
#include <linux/mm_inline.h>
#include <linux/pagewalk.h>
#include <linux/sched/mm.h>
#include <linux/sched/signal.h>
#include <linux/seq_file.h>
#include <linux/slab.h>
#include <linux/swap.h>

#include "../internal.h"
#include "internal.h"

static atomic_long_t cram_violations;

/* ------------------------------------------------ entries as they are set -- */

static void cram_violation(const char *what, unsigned long pfn, u32 slot)
{
	/* The first in full with its stack, all in the counter */
	atomic_long_inc(&cram_violations);
	WARN_ONCE(1, "cram: %s: pfn 0x%lx slot 0x%x\n", what, pfn, slot);
}

static u32 cram_slot_of(unsigned long pfn)
{
	struct cram_node *cn = cram_node_get(pfn_to_nid(pfn));

	return cn ? READ_ONCE(*cram_slot(cn, pfn)) : 0;
}

void __cram_verify_set(unsigned long pfn, unsigned long nr, const char *where)
{
	if (!pfn_valid(pfn))
		return;
	for (; nr; nr--, pfn++)
		if (page_is_cram(pfn_to_page(pfn)) &&
		    !(cram_slot_of(pfn) & CRAM_WRITABLE))
			cram_violation(where, pfn, cram_slot_of(pfn));
}

/* ------------------------------------------------------------- the walker -- */

/**
 * struct cram_walk - what the walker found
 * @mapped: entries that map a resident page
 * @writable: of these, those that should not be
 * @stray: of these, entries of a page whose slot is not RESIDENT
 * @resident: slots in RESIDENT
 * @reserved: slots in RESERVED: migrations under way
 * @freed: slots in FREED
 * @not_anon: RESIDENT slots of a page that is in use for something else
 * @no_owner: RESIDENT or RESERVED slots whose owner does not exist
 * @unowned: anonymous pages on the node whose slot says nothing
 * @books: cgroups whose counters differ from the slots
 */
struct cram_walk {
	unsigned long mapped;
	unsigned long writable;
	unsigned long stray;
	unsigned long resident;
	unsigned long reserved;
	unsigned long freed;
	unsigned long not_anon;
	unsigned long no_owner;
	unsigned long unowned;
	unsigned long books;
};

static void cram_check_entry(struct cram_walk *w, unsigned long pfn, bool write)
{
	u32 slot = cram_slot_of(pfn);

	w->mapped++;
	if (write && !(slot & CRAM_WRITABLE)) {
		w->writable++;
		cram_violation("walker: writable", pfn, slot);
	}
	if (cram_slot_state(slot) != CRAM_RESIDENT) {
		w->stray++;
		cram_violation("walker: mapped without residency", pfn, slot);
	}
}

static int cram_walk_pte(pte_t *ptep, unsigned long addr, unsigned long next,
			 struct mm_walk *walk)
{
	struct cram_walk *w = walk->private;
	pte_t pte = ptep_get(ptep);
	struct page *page;

	if (!pte_present(pte))
		return 0;
	page = vm_normal_page(walk->vma, addr, pte);
	if (!page || !page_is_cram(page))
		return 0;

	cram_check_entry(w, pte_pfn(pte), pte_write(pte));
	return 0;
}

/* A huge page: the walk must not split it */
static int cram_walk_pmd(pmd_t *pmdp, unsigned long addr, unsigned long next,
			 struct mm_walk *walk)
{
	struct cram_walk *w = walk->private;
	spinlock_t *ptl = pmd_trans_huge_lock(pmdp, walk->vma);
	unsigned long pfn;
	pmd_t pmd;

	if (!ptl)
		return 0;

	walk->action = ACTION_CONTINUE;
	pmd = pmdp_get(pmdp);
	pfn = pmd_pfn(pmd);
	if (pmd_present(pmd) && pfn_valid(pfn) && page_is_cram(pfn_to_page(pfn)))
		for (; pfn < pmd_pfn(pmd) + HPAGE_PMD_NR; pfn++)
			cram_check_entry(w, pfn, pmd_write(pmd));
	spin_unlock(ptl);
	return 0;
}

static const struct mm_walk_ops cram_walk_ops = {
	.pmd_entry	= cram_walk_pmd,
	.pte_entry	= cram_walk_pte,
	.walk_lock	= PGWALK_RDLOCK,
};

static void cram_walk_page_tables(struct cram_walk *w)
{
	struct task_struct *p;
	struct mm_struct *mm;
	pid_t nr = 0;

	for (;;) {
		struct pid *pid;

		rcu_read_lock();
		pid = find_ge_pid(nr + 1, &init_pid_ns);
		nr = pid ? pid_nr(pid) : 0;
		p = pid ? get_pid_task(pid, PIDTYPE_TGID) : NULL;
		rcu_read_unlock();
		if (!nr)
			break;
		if (!p)
			continue;

		mm = get_task_mm(p);
		put_task_struct(p);
		if (!mm)
			continue;
		mmap_read_lock(mm);
		walk_page_range(mm, 0, TASK_SIZE, &cram_walk_ops, w);
		mmap_read_unlock(mm);
		mmput(mm);
		cond_resched();
	}
}

/* One slot and its page; the page may be in transition, so look twice */
static bool cram_slot_wrong(struct cram_node *cn, unsigned long pfn, u32 slot,
			    struct cram_walk *w)
{
	struct folio *folio = page_folio(pfn_to_page(pfn));
	bool used, wrong = false;

	if (!folio_try_get(folio))
		return false;

	if (READ_ONCE(*cram_slot(cn, pfn)) != slot || !folio_trylock(folio))
		goto put;

	used = folio_test_anon(folio);
	switch (cram_slot_state(slot)) {
	case CRAM_RESIDENT:
		wrong = !used;
		w->not_anon += wrong;
		break;
	case CRAM_RESERVED:
		break;
	default:
		/* A page whose last user is us is on its way out */
		wrong = used && folio_mapped(folio);
		w->unowned += wrong;
	}
	wrong = wrong && READ_ONCE(*cram_slot(cn, pfn)) == slot;
	folio_unlock(folio);
put:
	folio_put(folio);
	return wrong;
}

static void cram_walk_slots(struct cram_node *cn, struct cram_walk *w)
{
	unsigned long i;

	for (i = 0; i < cn->nr_slots; i++) {
		unsigned long pfn = cn->start_pfn + i;
		u32 slot = READ_ONCE(cn->slots[i]);
		enum cram_slot_state state = cram_slot_state(slot);

		cond_resched();
		if (!pfn_to_online_page(pfn)) {
			if (state == CRAM_RESIDENT || state == CRAM_RESERVED)
				cram_violation("walker: slot of an offline page", pfn, slot);
			continue;
		}

		w->resident += state == CRAM_RESIDENT;
		w->reserved += state == CRAM_RESERVED;
		w->freed += state == CRAM_FREED;

		if (cram_slot_wrong(cn, pfn, slot, w))
			cram_violation("walker: slot and page differ", pfn, slot);

		if (state == CRAM_RESIDENT || state == CRAM_RESERVED) {
			bool found;

			rcu_read_lock();
			found = cram_owner_lookup(cram_slot_owner(slot));
			rcu_read_unlock();
			if (!found && READ_ONCE(cn->slots[i]) == slot) {
				w->no_owner++;
				cram_violation("walker: no such owner", pfn, slot);
			}
		}
	}
}

/* The sum of the counters of all nodes; while it stands still, nothing moved */
static u64 cram_moves(void)
{
	u64 moves = 0;
	int nid;

	for_each_node_mask(nid, cram_nodes) {
		struct cram_node *cn = cram_node_get(nid);

		/* Apart, so that some coming and others going do not cancel */
		moves += atomic64_read(&cn->room.begun) + atomic64_read(&cn->room.done) +
			 ((u64)atomic_long_read(&cn->resident) << 40);
	}
	return moves;
}

/* What the slots of all nodes add up to for a cgroup, beside how many they are */
struct cram_count {
	unsigned long writable;
	long sampled_bytes;
};

/* Pages of the subtree of @root on a node, by the slots. RCU. */
static unsigned long cram_count_slots(struct cram_node *cn, struct cram_cgroup *root,
				      struct cram_count *count)
{
	unsigned long i, nr = 0;
	u32 last_id = 0;
	bool inside = false;

	for (i = 0; i < cn->nr_slots; i++) {
		u32 slot = READ_ONCE(cn->slots[i]);

		if (cram_slot_state(slot) != CRAM_RESIDENT &&
		    cram_slot_state(slot) != CRAM_RESERVED)
			continue;
		if (cram_slot_owner(slot) != last_id) {
			struct cram_cgroup *cg;

			last_id = cram_slot_owner(slot);
			cg = cram_owner_cgroup(last_id);
			inside = cg && cram_cgroup_is_descendant(cg, root);
		}
		if (!inside)
			continue;
		nr++;
		count->writable += !!(slot & CRAM_WRITABLE);
		count->sampled_bytes += cram_sampled_size(cn, cn->start_pfn + i);
	}
	return nr;
}

/*
 * The books hold at rest. While pages move a difference proves nothing, so a
 * cgroup is compared only when nothing did over the count.
 */
static bool cram_books_differ(struct cram_walk *w)
{
	struct cram_cgroup *cg = NULL;
	int nid;

	w->books = 0;
	guard(rcu)();
	while ((cg = cram_cgroup_next(cg))) {
		unsigned long total = 0, resident = cram_cgroup_resident(cg, NUMA_NO_NODE);
		unsigned long writable = cram_cgroup_writable(cg);
		long sampled_bytes = cram_cgroup_sampled_bytes(cg);
		struct cram_count count = {};
		u64 moves = cram_moves();
		bool wrong = false;

		for_each_node_mask(nid, cram_nodes) {
			unsigned long slots = cram_count_slots(cram_node_get(nid), cg,
							       &count);

			wrong |= slots != cram_cgroup_resident(cg, nid);
			total += slots;
		}
		wrong |= total != resident || count.writable != writable ||
			 count.sampled_bytes != sampled_bytes;
		if (wrong && moves == cram_moves() && cram_cgroup_alive(cg))
			w->books++;
	}
	return w->books;
}

/*
 * A page's slot and the counters change one after the other, and a CPU can be
 * stopped in between: by the host below a guest, for many milliseconds. What
 * is wrong stays wrong for longer than that.
 */
#define CRAM_BOOKS_CHECKS	20

static void cram_walk_books(struct cram_walk *w)
{
	int i;

	for (i = 0; i < CRAM_BOOKS_CHECKS && cram_books_differ(w); i++)
		schedule_timeout_uninterruptible(HZ / 20);
	if (w->books)
		cram_violation("walker: books and slots differ, cgroups", w->books, 0);
}

static int cram_verify_show(struct seq_file *m, void *v)
{
	struct cram_walk w = {};
	int nid;

	/* Before the mutex, which nests outside of reclaim: this takes mmap_lock */
	cram_walk_page_tables(&w);

	guard(mutex)(&cram_nodes_mutex);
	for_each_node_mask(nid, cram_nodes)
		cram_walk_slots(cram_node_get(nid), &w);
	cram_walk_books(&w);

	seq_printf(m, "violations %ld\n", atomic_long_read(&cram_violations));
	seq_printf(m, "mapped %lu\nwritable %lu\nstray %lu\n",
		   w.mapped, w.writable, w.stray);
	seq_printf(m, "resident %lu\nreserved %lu\nfreed %lu\n",
		   w.resident, w.reserved, w.freed);
	seq_printf(m, "not_anon %lu\nno_owner %lu\nunowned %lu\nbooks %lu\n",
		   w.not_anon, w.no_owner, w.unowned, w.books);
	return 0;
}
DEFINE_SHOW_ATTRIBUTE(cram_verify);

static int cram_violations_show(struct seq_file *m, void *v)
{
	seq_printf(m, "%ld\n", atomic_long_read(&cram_violations));
	return 0;
}
DEFINE_SHOW_ATTRIBUTE(cram_violations);

/* ----------------------------------------------------- for tests of these -- */

#define CRAM_HOOK_NAME(upper, lower)	[CRAM_HOOK_##upper] = #lower,
static const char * const cram_hook_names[] = { CRAM_HOOKS(CRAM_HOOK_NAME) };

static int cram_hooks_show(struct seq_file *m, void *v)
{
	int i;

	for (i = 0; i < NR_CRAM_HOOKS; i++)
		seq_printf(m, "%s %s\n", cram_hook_names[i],
			   cram_hook_disabled(i) ? "off" : "on");
	return 0;
}

static ssize_t cram_hooks_write(struct file *file, const char __user *ubuf,
				size_t count, loff_t *ppos)
{
	char *buf __free(kfree) = NULL;
	int i;

	if (count > PAGE_SIZE)
		return -EINVAL;
	buf = memdup_user_nul(ubuf, count);
	if (IS_ERR(buf))
		return PTR_ERR(no_free_ptr(buf));

	if (sysfs_streq(buf, "none")) {
		cram_disabled_hooks = 0;
		return count;
	}
	i = sysfs_match_string(cram_hook_names, buf);
	if (i < 0)
		return i;
	set_bit(i, &cram_disabled_hooks);
	return count;
}

static int cram_hooks_open(struct inode *inode, struct file *file)
{
	return single_open(file, cram_hooks_show, NULL);
}

static const struct file_operations cram_hooks_fops = {
	.open		= cram_hooks_open,
	.read		= seq_read,
	.write		= cram_hooks_write,
	.llseek		= seq_lseek,
	.release	= single_release,
};

/* "<pfn> <value>", both hexadecimal: xor the slot of a page */
static ssize_t cram_corrupt_write(struct file *file, const char __user *ubuf,
				  size_t count, loff_t *ppos)
{
	struct cram_node *cn;
	unsigned long pfn;
	char buf[64] = {};
	u32 value;

	if (count >= sizeof(buf))
		return -EINVAL;
	if (copy_from_user(buf, ubuf, count))
		return -EFAULT;
	if (sscanf(buf, "%lx %x", &pfn, &value) != 2)
		return -EINVAL;

	guard(mutex)(&cram_nodes_mutex);
	if (!pfn_valid(pfn))
		return -EINVAL;
	cn = cram_node_get(pfn_to_nid(pfn));
	if (!cn)
		return -ENODEV;
	*cram_slot(cn, pfn) ^= value;
	return count;
}

static const struct file_operations cram_corrupt_fops = {
	.open	= simple_open,
	.write	= cram_corrupt_write,
};

/* "<nid>": look for hot pages there, once and now. Returns when that is done. */
static int cram_hot_pass_set(void *data, u64 nid)
{
	struct cram_node *cn;

	guard(mutex)(&cram_nodes_mutex);
	cn = nid < MAX_NUMNODES ? cram_node_get(nid) : NULL;
	if (!cn)
		return -ENODEV;
	cram_hot_step(cn);
	return 0;
}
DEFINE_DEBUGFS_ATTRIBUTE(cram_hot_pass_fops, NULL, cram_hot_pass_set, "%llu\n");

static int __init cram_verify_init(void)
{
	struct dentry *dir = debugfs_lookup("cram", NULL);

	debugfs_create_file("verify", 0400, dir, NULL, &cram_verify_fops);
	debugfs_create_file("violations", 0400, dir, NULL, &cram_violations_fops);
	debugfs_create_file("disable_hooks", 0600, dir, NULL, &cram_hooks_fops);
	debugfs_create_file("corrupt_slot", 0200, dir, NULL, &cram_corrupt_fops);
	debugfs_create_file_unsafe("hot_pass", 0200, dir, NULL, &cram_hot_pass_fops);
	debugfs_create_u32("max_owner_id", 0600, dir, &cram_max_owner_id);
	dput(dir);
	return 0;
}
late_initcall(cram_verify_init);
