/* SPDX-License-Identifier: GPL-2.0 */
#undef TRACE_SYSTEM
#define TRACE_SYSTEM cram

#if !defined(_TRACE_CRAM_H) || defined(TRACE_HEADER_MULTI_READ)
#define _TRACE_CRAM_H

#include <linux/cgroup_cram.h>
#include <linux/tracepoint.h>

#define CRAM_STAT_SYMBOL(upper, lower)	{ CRAM_STAT_##upper, #lower },

/* Pages of one folio entered or left a node; @why is the counter that counts them */
TRACE_EVENT(cram_page,

	TP_PROTO(int nid, unsigned long pfn, unsigned long nr, u32 owner,
		 enum cram_stat why),

	TP_ARGS(nid, pfn, nr, owner, why),

	TP_STRUCT__entry(
		__field(int, nid)
		__field(unsigned long, pfn)
		__field(unsigned long, nr)
		__field(u32, owner)
		__field(int, why)
	),

	TP_fast_assign(
		__entry->nid = nid;
		__entry->pfn = pfn;
		__entry->nr = nr;
		__entry->owner = owner;
		__entry->why = why;
	),

	TP_printk("nid=%d pfn=0x%lx nr=%lu owner=%u why=%s", __entry->nid,
		  __entry->pfn, __entry->nr, __entry->owner,
		  __print_symbolic(__entry->why, CRAM_STATS(CRAM_STAT_SYMBOL) { -1, NULL }))
);

/* Reclaim offered a page and cram did not take it */
TRACE_EVENT(cram_refuse,

	TP_PROTO(int src_nid, unsigned long nr, enum cram_stat why),

	TP_ARGS(src_nid, nr, why),

	TP_STRUCT__entry(
		__field(int, src_nid)
		__field(unsigned long, nr)
		__field(int, why)
	),

	TP_fast_assign(
		__entry->src_nid = src_nid;
		__entry->nr = nr;
		__entry->why = why;
	),

	TP_printk("src_nid=%d nr=%lu why=%s", __entry->src_nid, __entry->nr,
		  __print_symbolic(__entry->why, CRAM_STATS(CRAM_STAT_SYMBOL) { -1, NULL }))
);

TRACE_EVENT(cram_reading,

	TP_PROTO(int nid, int err, u64 physical_free, u64 done0, u64 limit),

	TP_ARGS(nid, err, physical_free, done0, limit),

	TP_STRUCT__entry(
		__field(int, nid)
		__field(int, err)
		__field(u64, physical_free)
		__field(u64, done0)
		__field(u64, limit)
	),

	TP_fast_assign(
		__entry->nid = nid;
		__entry->err = err;
		__entry->physical_free = physical_free;
		__entry->done0 = done0;
		__entry->limit = limit;
	),

	TP_printk("nid=%d err=%d physical_free=%llu done0=%llu limit=%llu",
		  __entry->nid, __entry->err, __entry->physical_free,
		  __entry->done0, __entry->limit)
);

TRACE_EVENT(cram_node_state,

	TP_PROTO(int nid, const char *state),

	TP_ARGS(nid, state),

	TP_STRUCT__entry(
		__field(int, nid)
		__string(state, state)
	),

	TP_fast_assign(
		__entry->nid = nid;
		__assign_str(state);
	),

	TP_printk("nid=%d state=%s", __entry->nid, __get_str(state))
);

TRACE_EVENT(cram_trim,

	TP_PROTO(int nid, unsigned int ranges, unsigned long pages, int err),

	TP_ARGS(nid, ranges, pages, err),

	TP_STRUCT__entry(
		__field(int, nid)
		__field(unsigned int, ranges)
		__field(unsigned long, pages)
		__field(int, err)
	),

	TP_fast_assign(
		__entry->nid = nid;
		__entry->ranges = ranges;
		__entry->pages = pages;
		__entry->err = err;
	),

	TP_printk("nid=%d ranges=%u pages=%lu err=%d", __entry->nid,
		  __entry->ranges, __entry->pages, __entry->err)
);

#endif /* _TRACE_CRAM_H */

#include <trace/define_trace.h>
