/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Inside cram_sim: the model (cram_sim.c) and its files (cram_sim_debugfs.c).
 */
#ifndef _CRAM_SIM_H
#define _CRAM_SIM_H

#include <linux/spinlock.h>
#include <linux/types.h>
#include <linux/wait.h>

struct cram_node;
struct dentry;
struct task_struct;

/*
 * What a page holds: nothing if all zeroes, the metadata alone if one word
 * repeats, else metadata and its LZ4 block in whole granules. Assumptions, in
 * the order of what is known of such devices.
 */
#define CRAM_SIM_METADATA	64
#define CRAM_SIM_GRANULE	64
#define CRAM_SIM_WORST		(PAGE_SIZE + CRAM_SIM_METADATA)

/* Pages that the debugfs file "hot" holds until the engine asks */
#define CRAM_SIM_HOT		1024U

/* In place of an index: no page; in place of a hash: content not readable */
#define CRAM_SIM_NO_PAGE	ULONG_MAX
#define CRAM_SIM_NO_HASH	0

/**
 * struct cram_sim - one model device while it is bound
 * @name: for log lines
 * @cn: the engine's node
 * @start_pfn: first page
 * @nr_pages: logical size
 * @nid: the node
 *
 * @lock: protects the books, which are everything from here to @unannounced.
 *	Innermost: taken by the hints in any context
 * @cells: per page, bytes of cells when last measured
 * @hash: per page, of the content that @cells was measured for
 * @zero_hash: that of a page of zeroes
 * @pending: pages that may have changed since they were measured
 * @open: pages between the hints @storing and @stored
 * @nr_pending: weight of @pending
 * @nr_open: weight of @open
 * @nr_held: pages outside @pending that hold cells
 * @held: bytes of cells of pages outside @pending
 * @physical: bytes of cells in all
 * @cursor: where to look for the next pending page
 * @patrol_cursor: the page to look at next on patrol
 * @patrol_credit: pages that the patrol may look at now
 * @reading: page that the thread is reading without @lock, or CRAM_SIM_NO_PAGE
 * @hurry: a reading waits for the pending pages
 * @disturbed: @reading was stored to, trimmed or opened meanwhile
 * @readings: capacity readings that were asked for
 * @trimmed: pages that it was told to trim
 * @over_capacity: stores that found no cell
 * @unannounced: pages that changed outside of any bracket
 * @nr_hot: entries of @hot; under @lock, too
 * @hot: page frame numbers that the engine is told when it asks, whatever they are
 *
 * @task: the thread that measures and patrols
 * @work: where it sleeps when there is nothing to do
 * @idle: who waits for it, or for one of the knobs below
 * @page: its stable copy of the page that it measures
 * @block: where that compresses to
 * @lz4: working memory of LZ4
 *
 * @gone: unbound, but the engine could not let go of the node: never answer
 * @lie: free bytes to report instead of the truth, or -1
 * @delay_ms: hold each answer back for so long
 * @settle_ms: how long a reading waits for pending pages to be measured
 * @patrol_rate: pages that the patrol looks at each second
 * @fail: errno that readings return, or 0
 * @drop: readings get no answer until this is cleared
 * @dir: in debugfs
 * @store_pfn: page of the last write to the debugfs file "store"
 * @cells_pfn: page of the last write to the debugfs file "cells_of"
 */
struct cram_sim {
	const char *name;
	struct cram_node *cn;
	unsigned long start_pfn;
	unsigned long nr_pages;
	int nid;

	spinlock_t lock; /* see above */
	u16 *cells;
	u64 *hash;
	u64 zero_hash;
	unsigned long *pending;
	unsigned long *open;
	unsigned long nr_pending;
	unsigned long nr_open;
	unsigned long nr_held;
	u64 held;
	u64 physical;
	unsigned long cursor;
	unsigned long patrol_cursor;
	unsigned long patrol_credit;
	unsigned long reading;
	bool hurry;
	bool disturbed;
	u64 readings;
	u64 trimmed;
	u64 over_capacity;
	u64 unannounced;
	unsigned int nr_hot;
	unsigned long hot[CRAM_SIM_HOT];

	struct task_struct *task;
	wait_queue_head_t work;
	wait_queue_head_t idle;
	void *page;
	void *block;
	void *lz4;

	bool gone;
	s64 lie;
	u32 delay_ms;
	u32 settle_ms;
	u32 patrol_rate;
	u32 fail;
	bool drop;
	struct dentry *dir;
	unsigned long store_pfn;
	unsigned long cells_pfn;
};

/* cram_sim.c */
u64 cram_sim_used(const struct cram_sim *sim);
u64 cram_sim_free(const struct cram_sim *sim);
void cram_sim_grant_patrol(struct cram_sim *sim, unsigned long nr_pages);
bool cram_sim_has_work(struct cram_sim *sim);
void cram_sim_kick(struct cram_sim *sim);
unsigned long cram_sim_index(const struct cram_sim *sim,
			     unsigned long pfn, unsigned long nr_pages);
void cram_sim_open_pages(struct cram_sim *sim, unsigned long pfn,
			 unsigned int nr_pages);
void cram_sim_close_pages(struct cram_sim *sim, unsigned long pfn,
			  unsigned int nr_pages);

/* cram_sim_debugfs.c */
int cram_sim_pattern(void *page, const char *pattern);
void cram_sim_store(struct cram_sim *sim, unsigned long pfn,
		    void *content, bool quiet);
void cram_sim_debugfs_create(struct cram_sim *sim, int id);
void cram_sim_debugfs_init(void);

#endif /* _CRAM_SIM_H */
