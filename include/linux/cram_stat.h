/* SPDX-License-Identifier: GPL-2.0 */
/*
 * The one list of what cram counts. A name here is the key in cram.stat, the
 * suffix of the cram_* line in /proc/vmstat, and for the refusals the reason
 * in the tracepoint cram:cram_refuse and the term in the documentation.
 */
#ifndef _LINUX_CRAM_STAT_H
#define _LINUX_CRAM_STAT_H

#define CRAM_STATS(X)							\
	X(DEMOTE, demote)						\
	X(UPGRADE, upgrade)						\
	X(PROMOTE_WRITE, promote_write)					\
	X(PROMOTE_HOT, promote_hot)					\
	X(PROMOTE_RECLAIM, promote_reclaim)				\
	X(PROMOTE_FORCED, promote_forced)				\
	X(WRITEBACK, writeback)						\
	X(REVOKE, revoke)						\
	X(RECYCLE, recycle)						\
	/* the system-wide switch is off */				\
	X(REFUSE_OFF, refuse_off)					\
	/* memory is not accounted on the default hierarchy */		\
	X(REFUSE_MEMCG, refuse_memcg)					\
	/* no node in cram.nodes.effective */				\
	X(REFUSE_RIGHT, refuse_right)					\
	/* cram.max of the cgroup or an ancestor is reached */		\
	X(REFUSE_MAX, refuse_max)					\
	/* no permitted node is open */					\
	X(REFUSE_STATE, refuse_state)					\
	/* the proven room does not cover one more page */		\
	X(REFUSE_ROOM, refuse_room)					\
	/* the node has room in cells but no free page */		\
	X(REFUSE_PAGE, refuse_page)					\
	/* the page does not compress as well as it has to */		\
	X(REFUSE_CONTENT, refuse_content)

#define CRAM_VM_EVENT(upper, lower)	CRAM_##upper,
#define CRAM_VM_EVENT_ITEMS		CRAM_STATS(CRAM_VM_EVENT)

#endif /* _LINUX_CRAM_STAT_H */
