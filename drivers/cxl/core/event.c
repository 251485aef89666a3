// SPDX-License-Identifier: GPL-2.0
/*
 * Vendor event records, for the drivers that know what they mean.
 *
 * The event thread reads all logs and traces each record (mbox.c). Records with
 * an id of a vendor's mean something to the driver of that vendor's interface
 * only, which registers a listener here, per memory device and id. This file
 * hands on what was read; it never talks to the device.
 */
#include <linux/cleanup.h>
#include <linux/list.h>
#include <linux/spinlock.h>
#include <linux/uuid.h>
#include <cxlmem.h>

#include "core.h"

/**
 * cxl_event_listen() - Be told about vendor event records from now on
 * @mds: The device whose logs are read
 * @listener: who wants to know. Several can listen for one id.
 *
 * What was read before is not told again: look at the device afterwards.
 */
void cxl_event_listen(struct cxl_memdev_state *mds,
		      struct cxl_event_listener *listener)
{
	guard(spinlock)(&mds->event.listeners_lock);
	list_add_tail(&listener->list, &mds->event.listeners);
}
EXPORT_SYMBOL_NS_GPL(cxl_event_listen, "CXL");

/**
 * cxl_event_unlisten() - The end of cxl_event_listen()
 * @mds: The device
 * @listener: not called any more when this returns
 *
 * Does not wait for the device, dead or alive.
 */
void cxl_event_unlisten(struct cxl_memdev_state *mds,
			struct cxl_event_listener *listener)
{
	guard(spinlock)(&mds->event.listeners_lock);
	list_del(&listener->list);
}
EXPORT_SYMBOL_NS_GPL(cxl_event_unlisten, "CXL");

/*
 * The event thread has read these records and not cleared them yet. A device
 * that makes one record of a kind at a time holds back the next until then.
 */
void cxl_event_call_listeners(struct cxl_memdev_state *mds,
			      const struct cxl_get_event_payload *payload)
{
	struct cxl_event_listener *listener;

	guard(spinlock)(&mds->event.listeners_lock);
	list_for_each_entry(listener, &mds->event.listeners, list) {
		for (int i = 0; i < le16_to_cpu(payload->record_count); i++) {
			if (uuid_equal(&payload->records[i].id, &listener->id))
				listener->notify(listener, &payload->records[i]);
		}
		if (payload->flags & CXL_GET_EVENT_FLAG_OVERFLOW)
			listener->notify(listener, NULL);
	}
}
