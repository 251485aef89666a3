/* SPDX-License-Identifier: GPL-2.0 */
/*
 * What the rest of the kernel asks cram. One inline per question, each behind
 * a static key that is off until a cram node is registered, so that a machine
 * without one runs the code it ran before. The answers are in mm/cram/.
 */
#ifndef _LINUX_CRAM_HOOKS_H
#define _LINUX_CRAM_HOOKS_H

#include <linux/jump_label.h>
#include <linux/list.h>
#include <linux/mm.h>
#include <linux/nodemask.h>

struct cram_node;
struct folio;
struct mem_cgroup;
struct vm_area_struct;
struct vm_fault;

/**
 * struct cram_offer - folios that one pass of reclaim offers to cram
 * @folios: isolated, unlocked anonymous folios of one node
 * @nr: the pages of these
 * @src_nid: that node
 * @in_vain: pages that were compressed to no avail, see cram_content_fits()
 * @closed: offered once already, what comes now goes to swap
 */
struct cram_offer {
	struct list_head folios;
	unsigned long nr;
	int src_nid;
	unsigned int in_vain;
	bool closed;
};

#define CRAM_OFFER(name, nid) \
	struct cram_offer name = { LIST_HEAD_INIT(name.folios), .src_nid = (nid) }

/**
 * struct cram_uncharge - resident pages that are freed, gathered for one uncharge
 * @cn: of this node
 * @id: of this owner
 * @nr: so many
 */
struct cram_uncharge {
	struct cram_node *cn;
	u32 id;
	unsigned int nr;
};

/*
 * Hooks that a test may switch off one by one, to see that the oracles notice.
 * Only with CONFIG_CRAM_VERIFY, by debugfs cram/disable_hooks.
 */
#define CRAM_HOOKS(X)							\
	X(WP, wp)		/* do_wp_page() */			\
	X(MPROTECT, mprotect)	/* can_change_private_pte_writable() */	\
	X(MIGRATE, migrate)	/* remove_migration_pte() */		\
	X(SWAPIN, swapin)	/* do_swap_page() */			\
	X(GUP, gup)		/* gup_must_unshare() */		\
	X(FORCE, force)		/* can_follow_write_common() */		\
	X(UFFD_MOVE, uffd_move)	/* move_present_ptes() */		\
	X(UPROBE, uprobe)	/* __uprobe_write() */			\
	X(HUGE_WP, huge_wp)	/* do_huge_pmd_wp_page() */		\
	X(HUGE_MPROTECT, huge_mprotect) /* can_change_pmd_writable() */	\
	X(HUGE_MIGRATE, huge_migrate)	/* remove_migration_pmd() */	\
	X(HUGE_UFFD_MOVE, huge_uffd_move) /* move_pages_huge_pmd() */	\
	X(REVOKING, revoking)	/* do_wp_page(), before all else */	\
	X(SPLIT, split)		/* there, of a large folio */		\
	X(STAT, stat)		/* memcg_stat_format() */		\
	X(SWAPOUT_V1, swapout_v1) /* __memcg1_swapout() */		\
	X(HELD, held)		/* cram_folio_held(): not a hook, nor is */ \
	X(ADMISSION, admission)	/* cram_admit(), but off all the same */ \
	X(UNWIND, unwind)	/* nor is cram_alloc_target(), after a failure */ \
	X(FREED, freed)		/* nor is cram_mark_freed() */

#define CRAM_HOOK_ENUM(upper, lower)	CRAM_HOOK_##upper,
enum cram_hook { CRAM_HOOKS(CRAM_HOOK_ENUM) NR_CRAM_HOOKS };

#ifdef CONFIG_CRAM

DECLARE_STATIC_KEY_FALSE(cram_key);
extern nodemask_t cram_nodes;

bool __cram_may_demote(struct mem_cgroup *memcg, int nid);
bool __cram_wait_for_room(struct mem_cgroup *memcg);
bool __cram_offer_folio(struct cram_offer *offer, struct folio *folio,
			struct list_head *split_folios, unsigned long *nr_scanned);
bool __cram_demote(struct cram_offer *offer, struct list_head *leftover,
		   unsigned int *nr_reclaimed);
bool __cram_page_writable(const struct page *page, enum cram_hook hook);
bool __cram_wp_reuse(struct page *page, bool unshare);
bool __cram_wp_again(struct vm_fault *vmf);
void __cram_partially_mapped(struct folio *folio);
void __cram_migrate_folio(struct folio *old, struct folio *new, bool forced);
void __cram_uncharge_folio(struct folio *folio, struct cram_uncharge *u);
void __cram_uncharge_batch(const struct cram_uncharge *u);
void __cram_promoted_write(struct folio *folio);
bool __cram_swapout_v1(struct folio *folio);
u64 __cram_charged_stat(struct mem_cgroup *memcg, int item, u64 bytes);

/**
 * page_is_cram - is this page on a cram node?
 * @page: any page
 *
 * For an anonymous page with a reference or under its page table lock, this is
 * the question whether it is resident.
 *
 * Context: any.
 * Return: true if so.
 */
static inline bool page_is_cram(const struct page *page)
{
	return static_branch_unlikely(&cram_key) &&
	       node_isset(page_to_nid(page), cram_nodes);
}

static inline bool folio_is_cram(const struct folio *folio)
{
	return page_is_cram(&folio->page);
}

/**
 * cram_folio_mapped - page table entries of a process gained or lost a page
 * @folio: any
 * @nr: entries that map it now, negative for those that do no more
 * @mm: the process
 *
 * A page that is being migrated is not counted meanwhile.
 *
 * Context: page table lock held.
 */
static inline void cram_folio_mapped(const struct folio *folio, int nr,
				     struct mm_struct *mm)
{
	if (folio_is_cram(folio))
		percpu_counter_add(&mm->rss_stat[MM_CRAMPAGES], nr);
}

/**
 * cram_mm_pages - resident pages that a process maps
 * @mm: the process
 *
 * Killing the process frees no ordinary memory for these. Sums over all CPUs.
 *
 * Context: any.
 * Return: number of pages, 0 without a cram node.
 */
static inline long cram_mm_pages(struct mm_struct *mm)
{
	return static_branch_unlikely(&cram_key) ?
	       get_mm_counter_sum(mm, MM_CRAMPAGES) : 0;
}

/**
 * cram_may_demote - could reclaim of this cgroup's anonymous memory use cram?
 * @memcg: the cgroup, NULL for global reclaim
 * @nid: the node that is being reclaimed
 *
 * Reclaim that counts on cram has to make progress. So a permitted node must be
 * open, with proven room for a page, and the cgroup must have margin under
 * cram.max. If cram.max forbids it, the cgroup with that limit gets an event.
 *
 * Context: any but NMI; takes RCU.
 * Return: true while a page of this cgroup could be demoted.
 */
static inline bool cram_may_demote(struct mem_cgroup *memcg, int nid)
{
	return static_branch_unlikely(&cram_key) && __cram_may_demote(memcg, nid);
}

/**
 * cram_may_age_anon - is it of use to age anonymous memory without swap?
 *
 * Lists that nobody ages have nothing cold to offer when a node has room again.
 * So the room of this moment does not matter here, as it does to reclaim.
 *
 * Context: any.
 * Return: true while a node is registered.
 */
static inline bool cram_may_age_anon(void)
{
	return static_branch_unlikely(&cram_key);
}

/**
 * cram_wait_for_room - before an OOM kill, could a reading prove more room?
 * @memcg: at its limit, out of other ideas
 *
 * Only when demotion was refused for want of room: waits, killably and for
 * 500 ms at most, for a reading that began later.
 *
 * Others may have used the room up by then. A caller asks again for the same
 * purpose only if the last time has helped.
 *
 * Context: process, may sleep.
 * Return: true when there is room now that was not there before, so that it is
 * worth trying again, as often as before this was asked. False for a task that
 * is about to end.
 */
static inline bool cram_wait_for_room(struct mem_cgroup *memcg)
{
	return static_branch_unlikely(&cram_key) && __cram_wait_for_room(memcg);
}

/**
 * cram_offer_folio - offer a cold folio that reclaim is about to swap out
 * @offer: of this pass
 * @folio: locked and isolated by the caller
 * @split_folios: where the tails of a split folio go
 * @nr_scanned: the caller's counter, without these tails afterwards: the caller
 *	meets them again
 *
 * Context: process, may sleep.
 * Return: true when the folio is on @offer now, unlocked.
 */
static inline bool cram_offer_folio(struct cram_offer *offer, struct folio *folio,
				    struct list_head *split_folios,
				    unsigned long *nr_scanned)
{
	return static_branch_unlikely(&cram_key) &&
	       __cram_offer_folio(offer, folio, split_folios, nr_scanned);
}

/**
 * cram_demote - demote what has been offered
 * @offer: of this pass, closed afterwards
 * @leftover: gets the folios that stay, isolated as they were
 * @nr_reclaimed: increased by the number of demoted pages
 *
 * Context: process, may sleep.
 * Return: true when folios were left over.
 */
static inline bool cram_demote(struct cram_offer *offer, struct list_head *leftover,
			       unsigned int *nr_reclaimed)
{
	return !list_empty(&offer->folios) &&
	       __cram_demote(offer, leftover, nr_reclaimed);
}

/**
 * cram_page_writable - may a page table entry map this page writable?
 * @page: a page that the caller knows to be mapped, or about to be
 * @hook: who asks
 *
 * Asked for each page of a batch.
 *
 * Context: page table lock held.
 * Return: false for a resident page that is not upgraded: its next write has to
 * go through do_wp_page().
 */
static inline bool cram_page_writable(const struct page *page, enum cram_hook hook)
{
	return !page_is_cram(page) || __cram_page_writable(page, hook);
}

/**
 * cram_wp_reuse - may a fault reuse this page, or must it copy?
 * @page: anonymous and exclusive, or about to be
 * @unshare: it is not a write fault, but comes before a pin for reading
 *
 * A write fault upgrades a resident page if all budgets permit.
 *
 * Context: page table lock held, cram_wp_again() was false under it.
 * Return: true to reuse the page, false to copy it.
 */
static inline bool cram_wp_reuse(struct page *page, bool unshare)
{
	return !page_is_cram(page) || __cram_wp_reuse(page, unshare);
}

/**
 * cram_wp_again - does a fault that found a read-only entry have to come again?
 * @vmf: the fault; its page, if any, is in a private mapping
 *
 * It has to while the page is being revoked: until it is known whether somebody
 * relies on a reference to the page, the fault can neither reuse nor copy it. And
 * it has to after the large folio of the page was split.
 *
 * Context: page table lock held, may sleep. The lock may have been dropped
 * meanwhile in both cases, so the caller looks up the folio after this.
 * Return: true with the lock dropped and the page table unmapped. False with the
 * lock held, and the entry and the page as they were.
 */
static inline bool cram_wp_again(struct vm_fault *vmf)
{
	return vmf->page && page_is_cram(vmf->page) && __cram_wp_again(vmf);
}

/**
 * cram_partially_mapped - some pages of a large folio are not mapped any more
 * @folio: any large folio
 *
 * Reclaim splits such a folio in the end, but a cram node has no reclaim.
 *
 * Context: any.
 */
static inline void cram_partially_mapped(struct folio *folio)
{
	if (folio_is_cram(folio))
		__cram_partially_mapped(folio);
}

/**
 * cram_migrate_folio - settle residency when a folio's memcg data moves
 * @old: still carries its memcg data
 * @new: carries its own already
 * @forced: a resident page leaves by somebody else's migration, not by cram's
 *
 * The memory charge is the caller's business.
 *
 * Context: from mem_cgroup_migrate(), both folios locked.
 */
static inline void cram_migrate_folio(struct folio *old, struct folio *new,
				      bool forced)
{
	if (folio_is_cram(old) || folio_is_cram(new))
		__cram_migrate_folio(old, new, forced);
}

/**
 * cram_uncharge_folio - end the residency of a folio that is being freed
 * @folio: refcount 0, still carries its memcg data
 * @u: where its charge is gathered, see cram_uncharge_batch()
 *
 * Context: any including softirq.
 * Return: true for a resident folio, which has no memory charge to give back.
 */
static inline bool cram_uncharge_folio(struct folio *folio, struct cram_uncharge *u)
{
	if (!folio_is_cram(folio))
		return false;
	__cram_uncharge_folio(folio, u);
	return true;
}

/**
 * cram_uncharge_batch - give back what cram_uncharge_folio() has gathered
 * @u: at the end of a batch, before the folios go to the allocator
 */
static inline void cram_uncharge_batch(const struct cram_uncharge *u)
{
	if (u->nr)
		__cram_uncharge_batch(u);
}

/**
 * cram_promoted_write - a write fault has replaced this folio by a copy
 * @folio: what was mapped before; NULL is fine
 */
static inline void cram_promoted_write(struct folio *folio)
{
	if (folio && folio_is_cram(folio))
		__cram_promoted_write(folio);
}

/**
 * cram_swapout_v1 - may the memory charge of a folio not be moved to swap?
 * @folio: in the swap cache, refcount 0
 *
 * On cgroup v1 the charge stays when a page has been written to swap, and
 * belongs to the swap entry then. A folio that became resident while memory was
 * on cgroup v2 has none. It keeps its memcg data, and ends its residency in
 * uncharge_folio() as any other. Whoever swaps the page in again is charged for
 * it.
 *
 * Context: any.
 * Return: true for a resident folio.
 */
static inline bool cram_swapout_v1(struct folio *folio)
{
	return folio_is_cram(folio) && __cram_swapout_v1(folio);
}

/**
 * cram_charged_stat - what of a line of memory.stat is in memory.current
 * @memcg: the cgroup, its statistics flushed
 * @item: of enum node_stat_item or enum memcg_stat_item
 * @bytes: the line's value, resident pages included
 *
 * Reclaim decides by the counters themselves, which have resident pages in them.
 *
 * Context: any.
 * Return: @bytes, without resident pages if it is a line of pages that can be
 * resident.
 */
static inline u64 cram_charged_stat(struct mem_cgroup *memcg, int item, u64 bytes)
{
	return static_branch_unlikely(&cram_key) ?
	       __cram_charged_stat(memcg, item, bytes) : bytes;
}

#else /* !CONFIG_CRAM */

static inline bool page_is_cram(const struct page *page)
{
	return false;
}

static inline bool folio_is_cram(const struct folio *folio)
{
	return false;
}

static inline bool cram_may_demote(struct mem_cgroup *memcg, int nid)
{
	return false;
}

static inline void cram_folio_mapped(const struct folio *folio, int nr,
				     struct mm_struct *mm)
{
}

static inline long cram_mm_pages(struct mm_struct *mm)
{
	return 0;
}

static inline bool cram_may_age_anon(void)
{
	return false;
}

static inline bool cram_wait_for_room(struct mem_cgroup *memcg)
{
	return false;
}

static inline bool cram_offer_folio(struct cram_offer *offer, struct folio *folio,
				    struct list_head *split_folios,
				    unsigned long *nr_scanned)
{
	return false;
}

static inline bool cram_demote(struct cram_offer *offer, struct list_head *leftover,
			       unsigned int *nr_reclaimed)
{
	return false;
}

static inline bool cram_page_writable(const struct page *page, enum cram_hook hook)
{
	return true;
}

static inline bool cram_wp_reuse(struct page *page, bool unshare)
{
	return true;
}

static inline bool cram_wp_again(struct vm_fault *vmf)
{
	return false;
}

static inline void cram_partially_mapped(struct folio *folio)
{
}

static inline void cram_migrate_folio(struct folio *old, struct folio *new,
				      bool forced)
{
}

static inline bool cram_uncharge_folio(struct folio *folio, struct cram_uncharge *u)
{
	return false;
}

static inline void cram_uncharge_batch(const struct cram_uncharge *u)
{
}

static inline void cram_promoted_write(struct folio *folio)
{
}

static inline bool cram_swapout_v1(struct folio *folio)
{
	return false;
}

static inline u64 cram_charged_stat(struct mem_cgroup *memcg, int item, u64 bytes)
{
	return bytes;
}

#endif /* CONFIG_CRAM */

#ifdef CONFIG_CRAM_VERIFY

void __cram_verify_set(unsigned long pfn, unsigned long nr, const char *where);

/**
 * cram_verify_set - a page table entry has been, or is being, set
 * @pfn: first page that it maps
 * @nr: number of pages
 * @rw: it is writable
 * @where: for the message
 */
static inline void cram_verify_set(unsigned long pfn, unsigned long nr, bool rw,
				   const char *where)
{
	if (rw && static_branch_unlikely(&cram_key))
		__cram_verify_set(pfn, nr, where);
}

#else

static inline void cram_verify_set(unsigned long pfn, unsigned long nr, bool rw,
				   const char *where)
{
}

#endif /* CONFIG_CRAM_VERIFY */

#endif /* _LINUX_CRAM_HOOKS_H */
