// SPDX-License-Identifier: GPL-2.0
/*
 * When event logs are read, and for how long.
 *
 * A device raises an interrupt when a log becomes non-empty, and then it is read
 * until it is empty (mbox.c). A log that could not be read, or not to its end, is
 * silent from then on. So it is read again by itself, later and later for as long
 * as that fails. What a device says about its records is checked, and none can keep
 * the thread, or the lock of the logs, for ever.
 */
#include <linux/io.h>
#include <linux/jiffies.h>
#include <linux/minmax.h>
#include <linux/overflow.h>
#include <linux/sched.h>
#include <linux/workqueue.h>
#include <cxlmem.h>

#include "core.h"

/* What comes while the logs are read is read, too, a few times */
#define CXL_EVENT_PASSES	4

/* Until a log is read again: at first, and at most */
#define CXL_EVENT_RETRY_MS	1000
#define CXL_EVENT_RETRY_MAX_MS	64000

/**
 * cxl_event_bound_count() - How many event records have come?
 * @mds: The device
 * @payload: what it has answered; the count is set right
 * @size: bytes of that, all of the header at least
 *
 * A device that says more than it has sent would have the records read and
 * cleared that lie behind in memory.
 *
 * Return: the number of records, or -EPROTO when there should be some and none is.
 */
int cxl_event_bound_count(struct cxl_memdev_state *mds,
			  struct cxl_get_event_payload *payload, size_t size)
{
	size_t room = (size - struct_size(payload, records, 0)) /
		      sizeof(payload->records[0]);
	u16 count = le16_to_cpu(payload->record_count);

	if (count <= room)
		return count;

	dev_err_ratelimited(mds->cxlds.dev,
			    "%u event records said to be in %zu bytes\n", count,
			    size);
	payload->record_count = cpu_to_le16(room);
	return room ?: -EPROTO;
}

/* At a constant pace when all that is wrong is how many there are */
static void cxl_event_read_later(struct cxl_memdev_state *mds, int err)
{
	unsigned int ms = READ_ONCE(mds->event.retry_ms) ?: CXL_EVENT_RETRY_MS;

	if (err == -EAGAIN)
		ms = CXL_EVENT_RETRY_MS;
	WRITE_ONCE(mds->event.retry_ms, min(2 * ms, CXL_EVENT_RETRY_MAX_MS));
	queue_delayed_work(system_dfl_wq, &mds->event.retry, msecs_to_jiffies(ms));
}

/**
 * cxl_event_read() - Read the event logs that have something
 * @mds: The device
 *
 * What cannot be read now is read later.
 *
 * Context: process; the event thread, or whoever wants to know what was there
 * before it.
 */
void cxl_event_read(struct cxl_memdev_state *mds)
{
	int rc = -EAGAIN;

	for (int pass = 0; pass < CXL_EVENT_PASSES; pass++) {
		/*
		 * CXL 3.0 8.2.8.3.1: The lower 32 bits are the status;
		 * ignore the reserved upper 32 bits
		 */
		u32 status = readl(mds->cxlds.regs.status +
				   CXLDEV_DEV_EVENT_STATUS_OFFSET);

		/* Nobody is there any more */
		if (status == U32_MAX)
			return;
		/* Ignore logs unknown to the driver */
		status &= CXLDEV_EVENT_STATUS_ALL;
		if (!status) {
			WRITE_ONCE(mds->event.retry_ms, 0);
			return;
		}
		/* The status stays set while records cannot be read */
		rc = cxl_mem_get_event_records(mds, status);
		if (rc)
			break;
		cond_resched();
	}
	cxl_event_read_later(mds, rc ?: -EAGAIN);
}
EXPORT_SYMBOL_NS_GPL(cxl_event_read, "CXL");

static void cxl_event_retry(struct work_struct *work)
{
	cxl_event_read(container_of(to_delayed_work(work), struct cxl_memdev_state,
				    event.retry));
}

void cxl_event_init(struct cxl_memdev_state *mds)
{
	INIT_DELAYED_WORK(&mds->event.retry, cxl_event_retry);
}

static void cxl_event_stop(void *mds)
{
	cancel_delayed_work_sync(&((struct cxl_memdev_state *)mds)->event.retry);
}

/**
 * devm_cxl_event_retry() - Have nothing read any more when the driver goes
 * @mds: The device
 *
 * Before its interrupts are requested, so that they are gone by then.
 *
 * Return: 0, or -ENOMEM.
 */
int devm_cxl_event_retry(struct cxl_memdev_state *mds)
{
	return devm_add_action_or_reset(mds->cxlds.dev, cxl_event_stop, mds);
}
EXPORT_SYMBOL_NS_GPL(devm_cxl_event_retry, "CXL");

#if IS_ENABLED(CONFIG_CXL_CRAM_KUNIT_TEST)
#include "event_log_test.c"
#endif
