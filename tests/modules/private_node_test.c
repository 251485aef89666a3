// SPDX-License-Identifier: GPL-2.0
/*
 * private_node_test: tries to get at the memory of a private node.
 *
 * Every way into the page allocator that a module has is a row of the table
 * below. Asked for a node, each allocates what it does and the pages that came
 * from that node are counted: on an ordinary node some must, on a private node
 * none may. The other half is for the selftest: make and unmake private nodes,
 * take pages of them in the one way that works, and move a process's pages
 * there, so that the rest of mm can be watched meeting them.
 *
 * A single debugfs file, /sys/kernel/debug/private_node_test. One command in one
 * write; the write fails as the command does, and reading the file shows what
 * the last one found ("key value" lines):
 *
 *   add NID NAME START-END [START-END...]   add_private_memory(), hexadecimal
 *   remove NID                              remove_private_memory()
 *   veto ERRNO                              .offline of nodes added here says
 *   fail ONLINE OFFLINE                     from so many blocks on, going online
 *                                           or offline is -ENOMEM; 0: never
 *   ordinary NID START-END                  add_memory(), left offline
 *   unordinary START-END                    offline_and_remove_memory()
 *   roads                                   names of the table's rows
 *   try ROAD NID                            -> pages, landed, errno
 *   alloc NID ORDER COUNT                   folio_alloc_private(), or on an
 *                                           ordinary node as anybody; keeps them
 *   free                                    what alloc kept
 *   hammer NID COUNT                        COUNT threads allocate and free
 *                                           private pages all the time; 0 ends it
 *                                           -> pages
 *   drain                                   give back what per-cpu lists hold
 *   dirty VALUE                             fill what alloc kept with a byte
 *   look                                    -> pages, and how many are filled
 *                                              with one byte: same, zero, poison
 *   place ADDRESS LENGTH NID                migrate the writer's pages there
 *   forge NID                               a private page by the wrong road:
 *                                           CONFIG_PRIVATE_NODE_VERIFY must warn
 *   isolate NID COUNT                       free pages off and on the free lists
 *                                           under the zone lock -> pages
 */
#include <linux/debugfs.h>
#include <linux/gfp.h>
#include <linux/hugetlb.h>
#include <linux/kprobes.h>
#include <linux/kthread.h>
#include <linux/memory.h>
#include <linux/memory_hotplug.h>
#include <linux/migrate.h>
#include <linux/mm.h>
#include <linux/mm_inline.h>
#include <linux/module.h>
#include <linux/private_node.h>
#include <linux/slab.h>
#include <linux/swap.h>
#include <linux/uaccess.h>
#include <linux/vmalloc.h>

#define TRY_PAGES	64
#define MAX_RANGES	8

static struct dentry *file;
static DEFINE_MUTEX(lock);
static char result[4096];
static int result_len;
static LIST_HEAD(kept);
static int veto;
static int fail_online, fail_offline;
static u32 added[8];
static int nr_added;

/* What modules cannot call: this one is a test and knows the way. */
static typeof(migrate_pages) *p_migrate_pages;
static bool (*p_folio_isolate_lru)(struct folio *folio);
static void (*p_folio_putback_lru)(struct folio *folio);
static void (*p_lru_add_drain_all)(void);
static void (*p_drain_all_pages)(struct zone *zone);
static void (*p_post_alloc_hook)(struct page *page, unsigned int order,
				 gfp_t gfp, unsigned int alloc_flags);
static int (*p___isolate_free_page)(struct page *page, unsigned int order);
static void (*p___putback_isolated_page)(struct page *page, unsigned int order, int mt);

static unsigned long symbol(const char *name)
{
	static unsigned long (*lookup)(const char *name);
	struct kprobe kp = { .symbol_name = "kallsyms_lookup_name" };

	if (!lookup) {
		if (register_kprobe(&kp))
			return 0;
		lookup = (void *)kp.addr;
		unregister_kprobe(&kp);
	}
	return lookup(name);
}

static __printf(1, 2) void say(const char *fmt, ...)
{
	va_list args;

	va_start(args, fmt);
	result_len += vscnprintf(result + result_len, sizeof(result) - result_len, fmt, args);
	va_end(args);
}

/* --- roads ------------------------------------------------------------------ */

/*
 * One attempt: pages of what was allocated, and how many are on the node. What
 * a road allocates, it frees.
 */
struct attempt {
	int nid;
	nodemask_t only;
	unsigned long pages;
	unsigned long landed;
	int err;
};

static void seen(struct attempt *a, struct page *page, unsigned long nr)
{
	unsigned long i;

	for (i = 0; i < nr; i++) {
		a->pages++;
		a->landed += page_to_nid(page + i) == a->nid;
	}
}

#define ONLY_HERE	(__GFP_THISNODE | __GFP_NOWARN | __GFP_NORETRY)

static void try_pages(struct attempt *a, gfp_t gfp, unsigned int order, bool masked)
{
	struct folio *folio;
	int i;

	for (i = 0; i < TRY_PAGES; i++) {
		folio = __folio_alloc(gfp, order, a->nid, masked ? &a->only : NULL);
		if (!folio) {
			a->err = -ENOMEM;
			return;
		}
		seen(a, &folio->page, 1UL << order);
		folio_put(folio);
	}
}

static void try_preferred(struct attempt *a)
{
	try_pages(a, GFP_KERNEL, 0, false);
}

static void try_preferred_movable(struct attempt *a)
{
	try_pages(a, GFP_HIGHUSER_MOVABLE, 0, false);
}

static void try_thisnode(struct attempt *a)
{
	try_pages(a, GFP_KERNEL | ONLY_HERE, 0, false);
}

static void try_thisnode_movable(struct attempt *a)
{
	try_pages(a, GFP_HIGHUSER_MOVABLE | ONLY_HERE, 0, false);
}

static void try_thisnode_huge(struct attempt *a)
{
	try_pages(a, GFP_TRANSHUGE_LIGHT | ONLY_HERE, HPAGE_PMD_ORDER, false);
}

static void try_nodemask(struct attempt *a)
{
	try_pages(a, GFP_HIGHUSER_MOVABLE | __GFP_NOWARN, 0, true);
}

static void try_nodemask_noretry(struct attempt *a)
{
	try_pages(a, GFP_HIGHUSER_MOVABLE | ONLY_HERE, 0, true);
}

static void try_atomic(struct attempt *a)
{
	try_pages(a, GFP_ATOMIC | __GFP_NOWARN | __GFP_THISNODE, 0, false);
}

static void try_reserves(struct attempt *a)
{
	try_pages(a, GFP_HIGHUSER_MOVABLE | ONLY_HERE | __GFP_MEMALLOC, 0, true);
}

static void try_alloc_pages_node(struct attempt *a)
{
	struct page *page;
	int i;

	for (i = 0; i < TRY_PAGES; i++) {
		page = alloc_pages_node(a->nid, GFP_HIGHUSER_MOVABLE, 1);
		if (!page) {
			a->err = -ENOMEM;
			return;
		}
		seen(a, page, 2);
		__free_pages(page, 1);
	}
}

static void try_bulk(struct attempt *a, gfp_t gfp, nodemask_t *mask)
{
	struct page *pages[TRY_PAGES] = {};
	int i, nr;

	nr = alloc_pages_bulk_noprof(gfp, a->nid, mask, TRY_PAGES, pages);
	for (i = 0; i < nr; i++) {
		seen(a, pages[i], 1);
		__free_page(pages[i]);
	}
	if (!nr)
		a->err = -ENOMEM;
}

static void try_bulk_preferred(struct attempt *a)
{
	try_bulk(a, GFP_HIGHUSER_MOVABLE, NULL);
}

static void try_bulk_only(struct attempt *a)
{
	try_bulk(a, GFP_HIGHUSER_MOVABLE | ONLY_HERE, &a->only);
}

/* On an ordinary node, where a whole block is free depends: try all of it. */
static void try_contig_range(struct attempt *a)
{
	unsigned long pfn = node_start_pfn(a->nid), end = node_end_pfn(a->nid);

	a->err = -ENOENT;
	for (pfn = pageblock_align(pfn); pfn + TRY_PAGES <= end; pfn += pageblock_nr_pages) {
		if (!pfn_to_online_page(pfn) || page_to_nid(pfn_to_page(pfn)) != a->nid)
			continue;
		a->err = alloc_contig_range(pfn, pfn + TRY_PAGES, ACR_FLAGS_NONE,
					    GFP_KERNEL | __GFP_NOWARN);
		if (!a->err) {
			seen(a, pfn_to_page(pfn), TRY_PAGES);
			free_contig_range(pfn, TRY_PAGES);
			return;
		}
	}
}

static void try_contig_pages(struct attempt *a)
{
	struct page *page = alloc_contig_pages(TRY_PAGES, GFP_KERNEL | __GFP_THISNODE |
					       __GFP_NOWARN, a->nid, &a->only);

	if (!page) {
		a->err = -ENOMEM;
		return;
	}
	seen(a, page, TRY_PAGES);
	free_contig_range(page_to_pfn(page), TRY_PAGES);
}

static void try_kmalloc(struct attempt *a, gfp_t gfp, size_t size)
{
	void *p[TRY_PAGES];
	int i;

	for (i = 0; i < TRY_PAGES; i++) {
		p[i] = kmalloc_node(size, gfp, a->nid);
		if (!p[i]) {
			a->err = -ENOMEM;
			break;
		}
		seen(a, virt_to_page(p[i]), 1);
	}
	while (i--)
		kfree(p[i]);
}

static void try_kmalloc_small(struct attempt *a)
{
	try_kmalloc(a, GFP_KERNEL, 96);
}

static void try_kmalloc_large(struct attempt *a)
{
	try_kmalloc(a, GFP_KERNEL, 4 * PAGE_SIZE);
}

static void try_kmalloc_thisnode(struct attempt *a)
{
	try_kmalloc(a, GFP_KERNEL | ONLY_HERE, 2048);
}

static void try_vmalloc(struct attempt *a)
{
	char *p = vmalloc_node(TRY_PAGES * PAGE_SIZE, a->nid);
	int i;

	if (!p) {
		a->err = -ENOMEM;
		return;
	}
	for (i = 0; i < TRY_PAGES; i++)
		seen(a, vmalloc_to_page(p + i * PAGE_SIZE), 1);
	vfree(p);
}

static void try_kmem_cache(struct attempt *a)
{
	struct kmem_cache *s = kmem_cache_create("private_node_test", 512, 0, 0, NULL);
	void *p[TRY_PAGES];
	int i;

	if (!s) {
		a->err = -ENOMEM;
		return;
	}
	for (i = 0; i < TRY_PAGES; i++) {
		p[i] = kmem_cache_alloc_node(s, GFP_KERNEL, a->nid);
		if (!p[i]) {
			a->err = -ENOMEM;
			break;
		}
		seen(a, virt_to_page(p[i]), 1);
	}
	while (i--)
		kmem_cache_free(s, p[i]);
	kmem_cache_destroy(s);
}

#define ROAD(name) { #name, try_##name }
static const struct road {
	const char *name;
	void (*try)(struct attempt *a);
} roads[] = {
	ROAD(preferred),
	ROAD(preferred_movable),
	ROAD(thisnode),
	ROAD(thisnode_movable),
	ROAD(thisnode_huge),
	ROAD(nodemask),
	ROAD(nodemask_noretry),
	ROAD(atomic),
	ROAD(reserves),
	ROAD(alloc_pages_node),
	ROAD(bulk_preferred),
	ROAD(bulk_only),
	ROAD(contig_range),
	ROAD(contig_pages),
	ROAD(kmalloc_small),
	ROAD(kmalloc_large),
	ROAD(kmalloc_thisnode),
	ROAD(vmalloc),
	ROAD(kmem_cache),
};

static int do_try(char *name, int nid)
{
	struct attempt a = { .nid = nid, .only = nodemask_of_node(nid) };
	int i;

	for (i = 0; i < ARRAY_SIZE(roads); i++) {
		if (strcmp(roads[i].name, name))
			continue;
		roads[i].try(&a);
		say("pages %lu\nlanded %lu\nerrno %d\n", a.pages, a.landed, -a.err);
		return 0;
	}
	return -ENOENT;
}

/* --- making nodes, and using them as meant ---------------------------------- */

static int on_offline(int nid, unsigned long start_pfn, unsigned long nr_pages)
{
	return -READ_ONCE(veto);
}

static bool runs_out(int *count)
{
	if (*count > 1)
		return !--*count;
	return *count == 1;
}

static int on_memory(struct notifier_block *nb, unsigned long action, void *arg)
{
	if ((action == MEM_GOING_ONLINE && runs_out(&fail_online)) ||
	    (action == MEM_GOING_OFFLINE && runs_out(&fail_offline)))
		return notifier_from_errno(-ENOMEM);
	return NOTIFY_OK;
}

static struct notifier_block memory_nb = { .notifier_call = on_memory };

static const struct private_node_ops ops = {
	.offline = on_offline,
};

static int do_add(int nid, char *name, char *list)
{
	struct range ranges[MAX_RANGES];
	int nr = 0, ret;
	char *word;

	while ((word = strsep(&list, " ")) && nr < MAX_RANGES) {
		if (!*word)
			continue;
		if (sscanf(word, "%llx-%llx", &ranges[nr].start, &ranges[nr].end) != 2)
			return -EILSEQ;
		nr++;
	}
	ret = add_private_memory(nid, ranges, nr, name, &ops);
	if (!ret && nr_added < ARRAY_SIZE(added))
		added[nr_added++] = nid;
	return ret;
}

static int do_remove(int nid)
{
	int ret = remove_private_memory(nid), i;

	for (i = 0; !ret && i < nr_added; i++) {
		if (added[i] == nid)
			added[i--] = added[--nr_added];
	}
	return ret;
}

static int do_alloc(int nid, unsigned int order, unsigned long count)
{
	unsigned long got = 0, elsewhere = 0;
	struct folio *folio;

	while (got < count) {
		if (!node_state(nid, N_MEMORY))
			folio = folio_alloc_private(nid, order, GFP_KERNEL);
		else
			folio = __folio_alloc_node(GFP_KERNEL, order, nid);
		if (!folio)
			break;
		elsewhere += folio_nid(folio) != nid;
		list_add(&folio->lru, &kept);
		got++;
		cond_resched();
	}
	say("pages %lu\nelsewhere %lu\n", got << order, elsewhere);
	return got == count ? 0 : -ENOMEM;
}

static void do_free(void)
{
	struct folio *folio, *next;

	list_for_each_entry_safe(folio, next, &kept, lru) {
		list_del(&folio->lru);
		folio_put(folio);
		cond_resched();
	}
}

static void do_dirty(int value)
{
	struct folio *folio;

	list_for_each_entry(folio, &kept, lru)
		memset(folio_address(folio), value, folio_size(folio));
}

static void do_look(void)
{
	static unsigned long same[256];
	unsigned long pages = 0, i;
	struct folio *folio;

	memset(same, 0, sizeof(same));
	list_for_each_entry(folio, &kept, lru) {
		for (i = 0; i < folio_nr_pages(folio); i++, pages++) {
			u8 *p = folio_address(folio) + i * PAGE_SIZE;

			if (!memchr_inv(p, *p, PAGE_SIZE))
				same[*p]++;
		}
		cond_resched();
	}
	say("pages %lu\nzero %lu\npoison %lu\n", pages, same[0], same[PAGE_POISON]);
	for (i = 1; i < 256; i++) {
		if (same[i])
			say("byte%lu %lu\n", i, same[i]);
	}
}

static struct folio *place_target(struct folio *src, unsigned long nid)
{
	return folio_alloc_private(nid, folio_order(src), GFP_KERNEL);
}

static void place_undo(struct folio *dst, unsigned long nid)
{
	folio_put(dst);
}

static int do_place(unsigned long addr, unsigned long len, int nid)
{
	unsigned long end = addr + len, moved = 0;
	LIST_HEAD(list);
	struct page *page;
	int ret = 0;

	if (!p_migrate_pages || !p_folio_isolate_lru || !p_lru_add_drain_all)
		return -EOPNOTSUPP;
	p_lru_add_drain_all();
	for (; addr < end; addr += PAGE_SIZE) {
		struct folio *folio;

		if (get_user_pages_fast(addr, 1, 0, &page) != 1)
			continue;
		folio = page_folio(page);
		if (folio_nid(folio) != nid && p_folio_isolate_lru(folio)) {
			list_add(&folio->lru, &list);
			node_stat_add_folio(folio, NR_ISOLATED_ANON + folio_is_file_lru(folio));
			moved += folio_nr_pages(folio);
		}
		put_page(page);
	}
	if (!list_empty(&list))
		ret = p_migrate_pages(&list, place_target, place_undo, nid,
				      MIGRATE_SYNC, MR_SYSCALL, NULL);
	while (!list_empty(&list)) {
		struct folio *folio = lru_to_folio(&list);

		list_del(&folio->lru);
		node_stat_sub_folio(folio, NR_ISOLATED_ANON + folio_is_file_lru(folio));
		p_folio_putback_lru(folio);
		moved -= folio_nr_pages(folio);
	}
	say("pages %lu\n", moved);
	return ret < 0 ? ret : ret ? -EAGAIN : 0;
}

static int do_forge(int nid)
{
	struct folio *folio = folio_alloc_private(nid, 0, GFP_KERNEL);

	if (!folio)
		return -ENOMEM;
	if (p_post_alloc_hook)
		p_post_alloc_hook(&folio->page, 0, GFP_KERNEL, 0);
	folio_put(folio);
	return p_post_alloc_hook ? 0 : -EOPNOTSUPP;
}

static struct task_struct *hammers[4];
static atomic_long_t hammered;
static int hammer_nid;

static int hammer(void *unused)
{
	struct folio *folio;
	LIST_HEAD(list);
	int i;

	while (!kthread_should_stop()) {
		for (i = 0; i < 64; i++) {
			folio = folio_alloc_private(hammer_nid, i % 10 ? 0 : 3, GFP_KERNEL);
			if (!folio)
				break;
			list_add(&folio->lru, &list);
			atomic_long_inc(&hammered);
		}
		while (!list_empty(&list)) {
			folio = lru_to_folio(&list);
			list_del(&folio->lru);
			folio_put(folio);
		}
		cond_resched();
	}
	return 0;
}

static int do_hammer(int nid, unsigned long count)
{
	int i;

	for (i = 0; i < ARRAY_SIZE(hammers); i++) {
		if (hammers[i])
			kthread_stop(hammers[i]);
		hammers[i] = NULL;
	}
	say("pages %ld\n", atomic_long_xchg(&hammered, 0));
	hammer_nid = nid;
	for (i = 0; i < min(count, ARRAY_SIZE(hammers)); i++) {
		struct task_struct *t = kthread_run(hammer, NULL, "hammer/%d", i);

		if (IS_ERR(t))
			return PTR_ERR(t);
		hammers[i] = t;
	}
	return 0;
}

static int do_ordinary(int nid, u64 start, u64 end, bool add)
{
	if (add)
		return add_memory(nid, start, end - start + 1, MHP_NONE);
	return offline_and_remove_memory(start, end - start + 1);
}

/* As mm/page_reporting.c does, and what trims a device's freed pages will do. */
static int do_isolate(int nid, unsigned long count)
{
	struct zone *zone = &NODE_DATA(nid)->node_zones[ZONE_MOVABLE];
	unsigned long pages = 0;
	unsigned int order;
	struct page *page;

	if (!p___isolate_free_page || !p___putback_isolated_page)
		return -EOPNOTSUPP;
	for (order = 0; order <= MAX_PAGE_ORDER; order++) {
		struct list_head *head = &zone->free_area[order].free_list[MIGRATE_MOVABLE];
		LIST_HEAD(list);

		spin_lock_irq(&zone->lock);
		while (pages < count && !list_empty(head)) {
			page = list_first_entry(head, struct page, buddy_list);
			if (!p___isolate_free_page(page, order))
				break;
			list_add(&page->lru, &list);
			pages += 1UL << order;
		}
		spin_unlock_irq(&zone->lock);

		spin_lock_irq(&zone->lock);
		while (!list_empty(&list)) {
			page = list_first_entry(&list, struct page, lru);
			list_del(&page->lru);
			p___putback_isolated_page(page, order, MIGRATE_MOVABLE);
		}
		spin_unlock_irq(&zone->lock);
	}
	say("pages %lu\n", pages);
	return 0;
}

/* --- the file --------------------------------------------------------------- */

static int command(char *line)
{
	unsigned long long start, end;
	unsigned long a, b;
	char name[32];
	int nid, n = 0;

	result_len = 0;
	result[0] = 0;
	if (sscanf(line, "add %d %31s %n", &nid, name, &n) == 2 && n)
		return do_add(nid, name, line + n);
	if (sscanf(line, "remove %d", &nid) == 1)
		return do_remove(nid);
	if (sscanf(line, "veto %d", &veto) == 1)
		return 0;
	if (sscanf(line, "fail %d %d", &fail_online, &fail_offline) == 2)
		return 0;
	if (sscanf(line, "ordinary %d %llx-%llx", &nid, &start, &end) == 3)
		return do_ordinary(nid, start, end, true);
	if (sscanf(line, "unordinary %llx-%llx", &start, &end) == 2)
		return do_ordinary(0, start, end, false);
	if (sscanf(line, "hammer %d %lu", &nid, &a) == 2)
		return do_hammer(nid, a);
	if (sscanf(line, "try %31s %d", name, &nid) == 2)
		return node_possible(nid) ? do_try(name, nid) : -EINVAL;
	if (sscanf(line, "alloc %d %lu %lu", &nid, &a, &b) == 3)
		return do_alloc(nid, a, b);
	if (sscanf(line, "place %lx %lx %d", &a, &b, &nid) == 3)
		return do_place(a, b, nid);
	if (sscanf(line, "dirty %d", &nid) == 1)
		return do_dirty(nid), 0;
	if (sscanf(line, "forge %d", &nid) == 1)
		return do_forge(nid);
	if (sscanf(line, "isolate %d %lu", &nid, &a) == 2)
		return do_isolate(nid, a);
	if (!strcmp(line, "free"))
		return do_free(), 0;
	if (!strcmp(line, "drain")) {
		if (p_drain_all_pages)
			p_drain_all_pages(NULL);
		return 0;
	}
	if (!strcmp(line, "look"))
		return do_look(), 0;
	if (!strcmp(line, "roads")) {
		for (n = 0; n < ARRAY_SIZE(roads); n++)
			say("%s\n", roads[n].name);
		return 0;
	}
	return -EILSEQ;
}

static ssize_t write(struct file *f, const char __user *buf, size_t len, loff_t *pos)
{
	char line[512];
	int ret;

	if (len >= sizeof(line))
		return -E2BIG;
	if (copy_from_user(line, buf, len))
		return -EFAULT;
	line[len] = 0;
	mutex_lock(&lock);
	ret = command(strim(line));
	mutex_unlock(&lock);
	return ret ?: len;
}

static ssize_t read(struct file *f, char __user *buf, size_t len, loff_t *pos)
{
	return simple_read_from_buffer(buf, len, pos, result, result_len);
}

static const struct file_operations fops = {
	.owner = THIS_MODULE,
	.read = read,
	.write = write,
};

static int __init private_node_test_init(void)
{
	p_migrate_pages = (void *)symbol("migrate_pages");
	p_folio_isolate_lru = (void *)symbol("folio_isolate_lru");
	p_folio_putback_lru = (void *)symbol("folio_putback_lru");
	p_lru_add_drain_all = (void *)symbol("lru_add_drain_all");
	p_drain_all_pages = (void *)symbol("drain_all_pages");
	p_post_alloc_hook = (void *)symbol("post_alloc_hook");
	p___isolate_free_page = (void *)symbol("__isolate_free_page");
	p___putback_isolated_page = (void *)symbol("__putback_isolated_page");
	register_memory_notifier(&memory_nb);
	file = debugfs_create_file("private_node_test", 0600, NULL, NULL, &fops);
	return 0;
}
module_init(private_node_test_init);

static void __exit private_node_test_exit(void)
{
	debugfs_remove(file);
	do_hammer(0, 0);
	do_free();
	unregister_memory_notifier(&memory_nb);
	veto = 0;
	while (nr_added)
		remove_private_memory(added[--nr_added]);
}
module_exit(private_node_test_exit);

MODULE_DESCRIPTION("Tries to get at the memory of a private node");
MODULE_LICENSE("GPL");
