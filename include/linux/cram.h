/* SPDX-License-Identifier: GPL-2.0 */
/*
 * cram: compressed memory behind a private node, shared by cgroups.
 *
 * This header is the contract with device drivers, which register a node here
 * and answer for its capacity. The hooks of the rest of the kernel are in
 * include/linux/cram_hooks.h, the engine's own interfaces in mm/cram/internal.h.
 */
#ifndef _LINUX_CRAM_H
#define _LINUX_CRAM_H

#include <linux/range.h>
#include <linux/types.h>

struct cram_node;

/*
 * For how long a reading is believed, in milliseconds, unless the administrator says
 * otherwise: half a second of silence is survived, see mm/cram/capacity.c. What a
 * driver does between two readings, @trim included, has to leave time for the answer.
 */
#define CRAM_LEASE_MS_DEFAULT	1000

/**
 * struct cram_reading - one answer of a device about its capacity
 * @physical: bytes of cells that the device has
 * @physical_free: bytes of cells that hold nothing; at least so many
 * @unsettled: bytes that may turn out to be free, too: the device counts what
 *	it has not compressed yet at its worst
 * @room: of @physical_free, bytes on which new pages can count wherever in the
 *	node they lie: all for one device; for a node that is interleaved over
 *	several, what the fullest of them has
 * @over_capacity: stores that found no cell since the device was reset
 * @content_lost: the device was reset since the last answer, what was stored
 *	before is gone
 *
 * For a node that is interleaved, cram_join_readings() makes one of the answers of
 * its devices.
 *
 * A reading covers every store that reached the device before the driver asked
 * for it. Between two readings the engine relies on one more promise: cells
 * held by a page that is not stored to never grow.
 */
struct cram_reading {
	u64 physical;
	u64 physical_free;
	u64 unsettled;
	u64 room;
	u64 over_capacity;
	bool content_lost;
};

/**
 * struct cram_node_ops - what a driver does for its node
 * @read_capacity: ask the device now and fill in a reading. Process context,
 *	may sleep for as long as the device needs; the engine never waits for it
 *	in a reclaim or fault path. Returns 0, or a negative errno when there is
 *	no answer, which is never the same as an answer of 0 bytes free.
 * @trim: the content of these physical ranges (inclusive ends, page-aligned,
 *	ascending) is needed no more: read back as zeroes from now on, cells
 *	free. Complete when it returns 0. After an error some of it may be
 *	done, or be done later: the engine keeps the pages from everybody until
 *	a @read_capacity that it has called after that has succeeded. So one must
 *	not succeed before the device is known to be through with all that it was
 *	told to trim. Process context, may sleep. The pages are isolated by the
 *	caller. Optional: without it the engine stores zeroes instead.
 * @storing: stores to these pages may reach the device from now on: a copy into
 *	them is about to start, or the page is about to become writable. Lasts
 *	until @stored for the same page or a @trim that covers it; there is no
 *	nesting. Any context, must not sleep. For models that cannot see stores
 *	by themselves; drivers of real devices leave it NULL.
 * @stored: the content of these pages changed and will not change again before
 *	the next @storing: a copy finished (also when the migration then failed)
 *	or the page was revoked. Context and purpose as for @storing.
 * @hot_list: fill in page frame numbers of up to @max pages that are read a lot,
 *	the hottest first; how much that is, the driver decides. A page is told
 *	once, and again when it was read a lot since. A hint: the engine looks at
 *	each before it believes it, so pages of others, holes and duplicates do
 *	no harm. Process context, may sleep, but must not keep a @read_capacity
 *	from being answered in time. Returns how many, or a negative errno.
 *	Optional.
 */
struct cram_node_ops {
	int (*read_capacity)(struct cram_node *cn, struct cram_reading *r);
	int (*trim)(struct cram_node *cn, const struct range *ranges,
		    unsigned int nr_ranges);
	void (*storing)(struct cram_node *cn, unsigned long pfn,
			unsigned int nr_pages);
	void (*stored)(struct cram_node *cn, unsigned long pfn,
		       unsigned int nr_pages);
	int (*hot_list)(struct cram_node *cn, unsigned long *pfns,
			unsigned int max);
};

/**
 * enum cram_node_class - what the pages of a node take
 * @CRAM_COMPRESSED: cells, fewer of them the better the content compresses. A freed page
 *	holds its cells until it is trimmed.
 * @CRAM_PLAIN: each as much as any other, and nothing once it is free
 */
enum cram_node_class {
	CRAM_COMPRESSED,
	CRAM_PLAIN,
};

/**
 * struct cram_node_desc - what a driver says about its node once
 * @name: of the device, for log lines; copied, up to 31 characters
 * @ops: see there; not used with @physical
 * @class: what its pages take
 * @physical: bytes of cells of a device that cannot be asked. The engine counts what is
 *	in use itself, each page at @cells_per_page, so that no content can fill the
 *	device; there is no lease then. When the node is registered, all of it must be
 *	free: a driver zeroes memory that compresses. 0: @ops->read_capacity tells.
 * @cells_per_page: bytes of cells that one page can take at worst, that is, an
 *	incompressible page with the device's metadata for it
 * @ways: devices over which the node is interleaved page by page; 0 for one
 * @trim_ranges: how many ranges one command of the device takes. The engine trims no
 *	more at a time, because between two calls it looks whether a reading is due.
 *	0: as many as it likes
 * @priv: the driver's own, see cram_node_priv()
 */
struct cram_node_desc {
	const char *name;
	const struct cram_node_ops *ops;
	enum cram_node_class class;
	u64 physical;
	u32 cells_per_page;
	unsigned int ways;
	unsigned int trim_ranges;
	void *priv;
};

struct cram_node *cram_register_node(int nid, const struct cram_node_desc *desc);
int cram_unregister_node(struct cram_node *cn);
int cram_close_node(struct cram_node *cn);
int cram_force_unregister_node(struct cram_node *cn, bool content_lost);
void cram_retire_node(int nid);
void cram_node_changed(struct cram_node *cn);
void *cram_node_priv(const struct cram_node *cn);
int cram_node_nid(const struct cram_node *cn);
void cram_join_readings(struct cram_reading *all, const struct cram_reading *one,
			unsigned int ways);

#endif /* _LINUX_CRAM_H */
