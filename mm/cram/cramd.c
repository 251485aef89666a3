// SPDX-License-Identifier: GPL-2.0
/*
 * The thread of a node, cramd/N: read, settle, reap, trim.
 *
 * It asks the device for its capacity (capacity.c), settles what follows from the
 * answer, has the pages freed that were written to swap (evict.c), and gives the
 * device back what was freed (trim.c). It never does for a node what can take longer
 * than its lease, but for the driver's own calls: that is what workers are for.
 *
 * To *settle* is to work out the state of the node (state.c), and to start those who
 * have something to do in it: relief while the node is short of cells, and the worker
 * of the writable budgets when the node cannot answer for all that is upgraded.
 * Everything that changes what the state follows from settles it: cramd after a
 * reading, a timer when the lease ends, because cramd may be waiting for the device
 * then, and writers of files.
 */
#include <linux/freezer.h>
#include <linux/jiffies.h>
#include <linux/kthread.h>
#include <linux/mm.h>

#include "internal.h"

/*
 * Asking more often than this does not help: the answer of a slow device
 * (50 ms for a compressing one that is catching up) would not change.
 */
#define CRAM_EARLY_MS		20

/**
 * cram_settle - work the state out again, and have done what follows from it
 * @cn: registered, so that there is somebody to tell
 *
 * Context: process, may sleep; no lock of the engine inside room.mutex is
 * held.
 */
void cram_settle(struct cram_node *cn)
{
	guard(mutex)(&cn->state.mutex);

	cram_update_state(cn);
	if (cram_node_short(cn))
		queue_work(system_dfl_wq, &cn->evict.relief.work);
	cram_check_budget(cn);
}

static void cram_lease_ended(struct work_struct *work)
{
	cram_settle(container_of(to_delayed_work(work), struct cram_node, state.lease_work));
}

/**
 * cram_settle_init - the lease of a node can end
 * @cn: new
 */
void cram_settle_init(struct cram_node *cn)
{
	INIT_DELAYED_WORK(&cn->state.lease_work, cram_lease_ended);
}

/**
 * cram_settle_stop - nobody settles any more, nor does what follows
 * @cn: on its way out; nothing takes readings any more
 *
 * Context: process, may sleep.
 */
void cram_settle_stop(struct cram_node *cn)
{
	cancel_delayed_work_sync(&cn->state.lease_work);
	cancel_work_sync(&cn->evict.relief.work);
}

/* Sleep until then, or until a demotion is refused for want of room */
static void cram_wait_for_reading(struct cram_node *cn)
{
	long left = cram_next_reading(cn) - jiffies;

	if (left > 0)
		wait_event_interruptible_timeout(cn->wait,
						 READ_ONCE(cn->room.early) || kthread_should_stop(),
						 left);
}

/*
 * A reset took what was stored. The reading that said so has closed admission.
 * Copies that were admitted before may be half gone, so they have to end first,
 * to be found among the residents; and only what is admitted after another
 * reading is whole.
 */
static void cram_start_over(struct cram_node *cn)
{
	/* Every admission before this has counted itself in @begun when it returns */
	synchronize_rcu();
	while (cram_copies_under_way(cn) && !kthread_should_stop())
		schedule_timeout_idle(1);
	while (cram_kill_residents(cn) && !kthread_should_stop())
		schedule_timeout_idle(HZ / 10);
	WRITE_ONCE(cn->room.content_lost, false);
	WRITE_ONCE(cn->room.early, true);
}

/**
 * cramd - the thread of a node: renews the lease and trims
 * @data: the node
 *
 * Reads at a third of the lease, counted as the lease is from the start of the
 * last reading, so that a slow answer or two that fail do not end it. Earlier
 * when somebody was refused. Trims in between.
 *
 * Context: kthread.
 * Return: 0.
 */
int cramd(void *data)
{
	struct cram_node *cn = data;

	while (!kthread_should_stop()) {
		WRITE_ONCE(cn->room.early, false);
		if (!cram_take_reading(cn)) {
			cram_settle(cn);
			if (cn->room.content_lost)
				cram_start_over(cn);
		}
		cram_reading_ended();
		cram_reap(cn);
		/* The cells that it frees are room only after another reading */
		if (cram_trim(cn, false))
			WRITE_ONCE(cn->room.early, true);

		schedule_timeout_idle(msecs_to_jiffies(CRAM_EARLY_MS));
		cram_wait_for_reading(cn);
	}
	return 0;
}
