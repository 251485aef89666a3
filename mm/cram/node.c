// SPDX-License-Identifier: GPL-2.0
/*
 * The life of a node: drivers register it, somebody drains it, and it goes, in peace
 * or not. The roof of the engine: it calls all others, to begin and to end.
 */
#include <linux/init.h>
#include <linux/kthread.h>
#include <linux/memcontrol.h>
#include <linux/memory_hotplug.h>
#include <linux/private_node.h>
#include <linux/sched/signal.h>
#include <linux/slab.h>
#include <linux/string.h>
#include <linux/vmalloc.h>

#include "internal.h"

/*
 * Cells that admission leaves alone: what a driver's metadata and rounding may
 * be off by, and what makes the device's own watermarks meaningful. 1/64 of
 * the physical size.
 */
#define CRAM_RESERVE_SHIFT	6

/*
 * Hot pages may come back at 16 MiB a second, which is what looking at accessed
 * bits can find. On, because a page that was demoted by mistake would stay for as
 * long as it is only read; modest, because each costs a copy.
 */
#define CRAM_PROMOTE_RATE	(16ULL << 20)

/* A drain gives up after so many rounds that move nothing, a tenth of a second each */
#define CRAM_DRAIN_RETRIES	5

/* ... and while a disk writes none of the pages it was given: after ten seconds */
#define CRAM_DRAIN_WRITING	100

/* A driver that has to go drains so many times before it leaves pages behind */
#define CRAM_FORCE_RETRIES	10

/* Rounds that try to unmap pages of lost content, a tenth of a second each */
#define CRAM_KILL_RETRIES	10

/* The counters of CPUs are added up each second; wait for that no longer than this */
#define CRAM_SETTLE_TIME	(5 * HZ)

/* ----------------------------------------------------------- registration -- */

/* Are all slots of a closed node, where nothing new begins, empty? */
static bool cram_slots_empty(struct cram_node *cn)
{
	bool settled = atomic64_read(&cn->room.begun) == atomic64_read(&cn->room.done);

	/* Pairs with cram_done(): a copy that has ended is among the residents */
	smp_rmb();
	return settled && !atomic_long_read(&cn->resident);
}

static void cram_node_free(struct cram_node *cn)
{
	cram_hot_free(cn);
	cram_trim_free(cn);
	kvfree(cn->samples);
	vfree(cn->slots);
	kfree(cn);
}

static struct cram_node *cram_node_alloc(int nid, const struct cram_node_desc *desc)
{
	struct pglist_data *pgdat = NODE_DATA(nid);
	struct cram_node *cn;

	cn = kzalloc_obj(*cn);
	if (!cn)
		return NULL;

	cn->nid = nid;
	cn->start_pfn = pgdat->node_start_pfn;
	cn->nr_slots = pgdat->node_spanned_pages;
	cn->desc = *desc;
	strscpy(cn->name, desc->name);
	cn->desc.name = cn->name;
	if (desc->physical)
		cn->desc.ops = &cram_counted_ops;
	cn->room.lease_ms = CRAM_LEASE_MS_DEFAULT;
	cn->budget.max = ULONG_MAX;
	cn->page_max = U64_MAX;
	cn->promote_rate = CRAM_PROMOTE_RATE;
	cram_state_init(cn);
	cram_settle_init(cn);
	cram_evict_init(cn);
	mutex_init(&cn->state.offline_mutex);
	mutex_init(&cn->room.mutex);
	spin_lock_init(&cn->room.lock);
	init_waitqueue_head(&cn->wait);

	/* kvcalloc() ends at 2 GiB, which is a node of 2 TiB */
	cn->slots = vcalloc(cn->nr_slots, sizeof(*cn->slots));
	if (cram_hot_alloc(cn) || !cn->slots || cram_samples_alloc(cn) || cram_trim_alloc(cn)) {
		cram_node_free(cn);
		return NULL;
	}
	return cn;
}

static bool cram_desc_valid(const struct cram_node_desc *desc)
{
	if (!desc || !desc->name || desc->cells_per_page < PAGE_SIZE)
		return false;
	/* Only counting knows what a freed page of plain memory takes: nothing */
	if (desc->physical)
		return desc->physical >= desc->cells_per_page;
	return desc->class == CRAM_COMPRESSED && desc->ops && desc->ops->read_capacity;
}

/*
 * Nobody here will free what the device holds already: it was stored before a kexec,
 * or by a driver that could not trim. Have it all trimmed.
 */
static void cram_mark_stale(struct cram_node *cn)
{
	struct cram_reading r = cram_last_reading(cn, NULL);
	unsigned long i, nr = 0;

	if (r.physical_free == r.physical)
		return;
	for (i = 0; i < cn->nr_slots; i++) {
		if (!(i % CRAM_SLOT_SLICE))
			cond_resched();
		if (!pfn_to_online_page(cn->start_pfn + i))
			continue;
		cram_slot_free(&cn->slots[i]);
		cram_mark_blocks(cn->trim.blocks, i, 1);
		nr++;
	}
	atomic_long_add(nr, &cn->trim.freed);
}

/**
 * cram_register_node - make a private node usable for compressed pages
 * @nid: a private node, its memory online and nothing of it allocated
 * @desc: what the driver says about it; copied
 *
 * Takes the first reading, and starts to demote when that proves room.
 *
 * Context: process, may sleep; the driver's ops may be called before it returns.
 * Return: the node, or an ERR_PTR: -EINVAL for a node that is not private or a
 * description that is not complete, -EEXIST when it is registered already,
 * -EOPNOTSUPP where anonymous memory is not accounted to cgroups at all,
 * -ENOMEM, or what the first reading failed with.
 */
struct cram_node *cram_register_node(int nid, const struct cram_node_desc *desc)
{
	struct cram_node *cn;
	int err;

	if (!cram_desc_valid(desc) || !node_is_private(nid))
		return ERR_PTR(-EINVAL);
	if (mem_cgroup_disabled())
		return ERR_PTR(-EOPNOTSUPP);

	guard(mutex)(&cram_nodes_mutex);
	if (cram_node_get(nid))
		return ERR_PTR(-EEXIST);

	err = cram_compressors_alloc();
	if (err)
		return ERR_PTR(err);
	cn = cram_node_alloc(nid, desc);
	if (!cn)
		return ERR_PTR(-ENOMEM);

	/* The first answer tells the size, which gives the reserve; the second counts */
	err = cram_take_reading(cn);
	if (err)
		goto free;
	if (desc->class != CRAM_PLAIN)
		cn->room.reserve = cram_last_reading(cn, NULL).physical >> CRAM_RESERVE_SHIFT;
	cram_state_defaults(cn);
	/* A reset before this took away nothing that was stored here */
	cn->room.content_lost = false;
	err = cram_take_reading(cn);
	if (err)
		goto free;
	cram_mark_stale(cn);

	cn->cramd = kthread_create_on_node(cramd, cn, NUMA_NO_NODE, "cramd/%d", nid);
	if (IS_ERR(cn->cramd)) {
		err = PTR_ERR(cn->cramd);
		goto free;
	}

	cram_registry_add(cn);
	err = cram_node_sysfs_add(cn);
	if (err) {
		cram_registry_remove(cn);
		kthread_stop(cn->cramd);
		/* Some files may have been there, and somebody have written to them */
		cram_hot_stop(cn);
		cram_settle_stop(cn);
		synchronize_rcu();
		goto free;
	}

	node_set(nid, cram_nodes);
	static_branch_inc(&cram_key);
	pr_info("cram: node %d (%s): %lu MiB logical, %llu MiB physical\n", nid,
		cn->desc.name, cn->nr_slots >> (20 - PAGE_SHIFT),
		cram_last_reading(cn, NULL).physical >> 20);
	cram_settle(cn);
	wake_up_process(cn->cramd);
	cram_hot_start(cn);
	return cn;

free:
	cram_node_free(cn);
	return ERR_PTR(err);
}
EXPORT_SYMBOL_GPL(cram_register_node);

/* ---------------------------------------------- drained, and opened again -- */

/* Admit nothing more. Whoever was admitting a page is done when this returns. */
static void cram_close(struct cram_node *cn)
{
	lockdep_assert_held(&cn->state.offline_mutex);

	WRITE_ONCE(cn->state.offline, true);
	cram_settle(cn);
	synchronize_rcu();
}

/**
 * cram_reopen - let pages in again, if the device permits it
 * @cn: the node
 *
 * Context: process; offline_mutex is held.
 */
void cram_reopen(struct cram_node *cn)
{
	lockdep_assert_held(&cn->state.offline_mutex);

	WRITE_ONCE(cn->state.offline, false);
	cram_settle(cn);
}

/*
 * Move all off that can be; 0, -EBUSY or -ERESTARTSYS: one who was only frozen is to
 * see no error, and asks again.
 */
static int cram_empty(struct cram_node *cn)
{
	int stuck = 0;

	while (!cram_slots_empty(cn)) {
		long resident = atomic_long_read(&cn->resident);
		unsigned long writing;

		cram_evict(NULL, cn->nid, ULONG_MAX, CRAM_EVICT_ANY, false);
		writing = cram_evict_leaving(NULL, cn->nid);
		if (cram_slots_empty(cn))
			break;
		if (signal_pending(current))
			return -ERESTARTSYS;
		if (READ_ONCE(cn->state.going))
			return -EBUSY;
		if (atomic_long_read(&cn->resident) < resident)
			stuck = 0;
		else if (++stuck > (writing ? CRAM_DRAIN_WRITING : CRAM_DRAIN_RETRIES))
			return -EBUSY;
		schedule_timeout_interruptible(HZ / 10);
	}
	return 0;
}

/**
 * cram_drain - take a node offline and move all its pages off
 * @cn: the node
 *
 * All or nothing for the state: when it fails, the node is as open as it was.
 * Pages that left before the one that could not stay where they went.
 *
 * Context: process, may sleep for as long as pages can be moved; offline_mutex
 * is held, and no lock but that for which only another change of this node's state
 * waits.
 * Return: 0, -EBUSY when somebody holds a page or wants to take the node away,
 * -ERESTARTSYS on a signal.
 */
int cram_drain(struct cram_node *cn)
{
	bool was_offline = cn->state.offline;
	int err;

	cram_close(cn);
	err = cram_empty(cn);
	if (err && !was_offline)
		cram_reopen(cn);
	return err;
}

/* ---------------------------------------------------------------- the end -- */

/*
 * CPUs add up what they have counted once a second, but only for nodes that are
 * there: what is missing when the node goes would be in "Cram" of /proc/meminfo
 * for ever. A CPU may be kept from such work; that is no reason for the node to stay.
 */
static void cram_settle_stat(struct cram_node *cn)
{
	struct pglist_data *pgdat = NODE_DATA(cn->nid);
	unsigned long end = jiffies + CRAM_SETTLE_TIME;

	while (atomic_long_read(&pgdat->vm_stat[NR_CRAM]) && time_before(jiffies, end))
		schedule_timeout_uninterruptible(HZ / 20);
}

/*
 * The end of a node that is drained, but for its memory: the caller holds a mutex in
 * there that nobody waits for any more when this is done.
 */
static void cram_node_remove(struct cram_node *cn)
{
	guard(mutex)(&cram_nodes_mutex);

	kthread_stop(cn->cramd);
	cram_hot_stop(cn);
	cram_settle_stat(cn);
	cn->trim.skip = 0;
	while (!cn->room.gone && atomic_long_read(&cn->trim.freed) && cram_trim(cn, true))
		cond_resched();
	cram_trim_end(cn);

	cram_node_sysfs_remove(cn);
	cram_settle_stop(cn);
	node_clear(cn->nid, cram_nodes);
	static_branch_dec(&cram_key);
	cram_registry_remove(cn);
	synchronize_rcu();
	cram_evict_stop(cn);
	pr_info("cram: node %d (%s) is gone\n", cn->nid, cn->desc.name);
}

/* Take the node away from a drain that was asked for through its state file */
static void cram_take_over(struct cram_node *cn)
{
	WRITE_ONCE(cn->state.going, true);
	mutex_lock(&cn->state.offline_mutex);
	WRITE_ONCE(cn->state.going, false);
}

/**
 * cram_close_node - take a node offline if nothing is on it
 * @cn: from cram_register_node()
 *
 * For a driver that is asked whether its device may go: after success the
 * answer stays yes until somebody writes "open" to the node's state file.
 *
 * Context: process, may sleep for an RCU grace period.
 * Return: 0, or -EBUSY while pages are resident or somebody is changing the
 * node's state, the node as it was.
 */
int cram_close_node(struct cram_node *cn)
{
	bool was_offline, empty;

	/* A drain may take long, and is one because there are pages */
	if (!mutex_trylock(&cn->state.offline_mutex))
		return -EBUSY;
	was_offline = cn->state.offline;
	cram_close(cn);
	empty = cram_slots_empty(cn);
	if (!empty && !was_offline)
		cram_reopen(cn);
	mutex_unlock(&cn->state.offline_mutex);
	return empty ? 0 : -EBUSY;
}
EXPORT_SYMBOL_GPL(cram_close_node);

/* Retire all pages that can still be read, and retry those that are locked */
static void cram_retire_residents(struct cram_node *cn)
{
	int retries = CRAM_KILL_RETRIES;

	while (cram_kill_residents(cn) && retries--)
		schedule_timeout_uninterruptible(HZ / 10);
}

/*
 * The driver is about to go, and pages stay. The node remains as a shell: its
 * slots know who pays, its device is never asked again. Copies under way still
 * call the driver, so wait for them; they take no longer than a migration.
 */
static void cram_node_abandon(struct cram_node *cn, bool content_lost)
{
	kthread_stop(cn->cramd);
	while (cram_copies_under_way(cn))
		schedule_timeout_uninterruptible(1);

	scoped_guard(mutex, &cn->room.mutex) {
		WRITE_ONCE(cn->room.gone, true);
		WRITE_ONCE(cn->room.lease_end, jiffies);
		/* For good: never to be copied anywhere, whatever can be read there */
		content_lost |= cn->room.content_lost;
		WRITE_ONCE(cn->room.content_lost, content_lost);
	}
	/* Upgraded pages end one by one, and cram_write_back() calls the driver */
	synchronize_rcu();
	/* And the pages that those copies have made */
	if (content_lost)
		cram_retire_residents(cn);
	WRITE_ONCE(cn->room.distrusted, "its driver is gone");
	cram_reopen(cn);
	cram_settle_stop(cn);
}

/**
 * cram_retire_node - the memory of a node goes, on which pages have stayed
 * @nid: of a node of which cram_force_unregister_node() has said -EBUSY; nothing
 *	is done for any other
 *
 * To be called before its addresses lead nowhere: whoever uses the pages, reads
 * from then on what was never stored. They are retired instead, as after a loss.
 *
 * Context: process, may sleep for some seconds.
 */
void cram_retire_node(int nid)
{
	struct cram_node *cn;

	guard(mutex)(&cram_nodes_mutex);
	cn = cram_node_get(nid);
	if (!cn || !cn->room.gone)
		return;
	WRITE_ONCE(cn->room.content_lost, true);
	cram_retire_residents(cn);
}
EXPORT_SYMBOL_GPL(cram_retire_node);

/**
 * cram_force_unregister_node - forget a node, as well as that can be done
 * @cn: from cram_register_node()
 * @content_lost: the device is not there any more, or what was stored is not
 *
 * Otherwise as cram_unregister_node(), with more patience, but the driver's
 * ops are not called any more in any case.
 *
 * Context: process, may sleep for as long as pages can be moved. Where none can, for
 * some seconds, and for a hundred where a disk was given pages and writes none.
 * Return: 0, or -EBUSY when somebody holds pages: then the node is lost for
 * good, and the memory has to stay. Unless the content is lost, the pages can
 * still be read; before that ends, cram_retire_node() has to be called.
 */
int cram_force_unregister_node(struct cram_node *cn, bool content_lost)
{
	int retries = CRAM_FORCE_RETRIES;
	sigset_t all, old;
	bool empty;

	/* A signal may end a request, but the driver goes whoever asked for it */
	sigfillset(&all);
	sigprocmask(SIG_SETMASK, &all, &old);

	cram_take_over(cn);
	cram_close(cn);
	cram_hot_stop(cn);
	/* A reading may have said so just now */
	content_lost |= READ_ONCE(cn->room.content_lost);
	if (content_lost) {
		guard(mutex)(&cn->room.mutex);
		cn->room.gone = true;
	}

	while (!cram_slots_empty(cn) && retries--) {
		if (content_lost) {
			cram_retire_residents(cn);
			schedule_timeout_uninterruptible(HZ / 10);
		} else {
			cram_drain(cn);
		}
	}

	empty = cram_slots_empty(cn);
	if (empty)
		cram_node_remove(cn);
	else
		cram_node_abandon(cn, content_lost);
	mutex_unlock(&cn->state.offline_mutex);
	if (empty)
		cram_node_free(cn);

	sigprocmask(SIG_SETMASK, &old, NULL);
	return empty ? 0 : -EBUSY;
}
EXPORT_SYMBOL_GPL(cram_force_unregister_node);

/**
 * cram_unregister_node - drain a node and forget it
 * @cn: from cram_register_node()
 *
 * All or nothing: on success no page of the node is in use, its cells are
 * given back, and the driver's ops are not called any more.
 *
 * Context: process, may sleep for as long as pages can be moved.
 * Return: 0, or what cram_drain() failed with, the node as usable as it was.
 */
int cram_unregister_node(struct cram_node *cn)
{
	int err;

	cram_take_over(cn);
	err = cram_drain(cn);
	if (!err)
		cram_node_remove(cn);
	mutex_unlock(&cn->state.offline_mutex);
	if (!err)
		cram_node_free(cn);
	return err;
}
EXPORT_SYMBOL_GPL(cram_unregister_node);
