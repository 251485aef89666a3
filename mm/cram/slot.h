/* SPDX-License-Identifier: GPL-2.0 */
/**
 * DOC: Slot
 *
 * A slot is one 32-bit word for each page of a cram node, in ordinary memory (0.1 % of
 * the logical size). It is the only truth about who pays for the page::
 *
 *	 31      27   26    24  23                       0
 *	+----------+-----------+--------------------------+
 *	|  flags   |   state   |        owner id          |
 *	+----------+-----------+--------------------------+
 *
 *	EMPTY		the device holds no cells for the page
 *	RESERVED	allocated and charged to the owner; the copy is under way
 *	RESIDENT	a page of the owner's, mapped or about to be
 *	FREED		nobody's, but the device may still hold cells for it
 *	RETIRED		the same, but out of service, and not to be trimmed
 *
 * and for a RESIDENT page two flags::
 *
 *	WRITABLE	charged to the writable budgets, entries may be writable
 *	REVOKING	... but none becomes so now, it is being taken back
 *
 * Each transition has a function of its own, cram_slot_*(). It is made by the one
 * context that has the page at that moment, so plain stores do. Only a page that breaks
 * can be allocated by one who does not know that yet while another retires it, so these
 * transitions look and store in one step::
 *
 *	any other -> RESERVED     cram_alloc_target(): just allocated
 *	RESERVED -> RESIDENT      mem_cgroup_migrate(): both folios are locked, migration
 *	                          entries are in the way
 *	RESERVED -> FREED         cram_free_target(): the migration failed
 *	RESIDENT -> FREED         mem_cgroup_migrate(), uncharge_folio(): the last
 *	                          reference, or unmapped and locked
 *	FREED -> EMPTY            cram_trim(): isolated from the buddy allocator
 *	FREED -> RETIRED          cram_trim(): broken, and not in the allocator
 *	RETIRED -> FREED          cram_trim(): not broken any more
 *	WRITABLE set              cram_upgrade(): under the page table lock of the page's
 *	                          only entry
 *	REVOKING set, cleared     cram_revoke_end(): the folio is locked
 *	WRITABLE cleared          the same, and RESIDENT -> FREED
 *
 * A scanner that comes from outside reads the slot, takes a reference to the folio, and
 * reads the slot again. The pages of a large folio go through the states together, and
 * have one owner; WRITABLE they become only after it was split.
 *
 * Who looks for what was freed does not look at all slots: there is a bit for each block
 * of them in which one may be FREED. It is set after the slot, and cleared before the
 * slots are looked at, each time with a full barrier in between. So one of the two sees
 * what the other has stored, and no page that was freed is without its bit.
 */
#ifndef _MM_CRAM_SLOT_H
#define _MM_CRAM_SLOT_H

#include <linux/atomic.h>
#include <linux/bitmap.h>
#include <linux/bits.h>
#include <linux/bug.h>
#include <linux/cgroup_cram.h>
#include <linux/compiler.h>
#include <linux/types.h>

#define CRAM_STATE_MASK		GENMASK(CRAM_OWNER_BITS + 2, CRAM_OWNER_BITS)

enum cram_slot_state {
	CRAM_EMPTY	= 0 << CRAM_OWNER_BITS,
	CRAM_RESERVED	= 1 << CRAM_OWNER_BITS,
	CRAM_RESIDENT	= 2 << CRAM_OWNER_BITS,
	CRAM_FREED	= 3 << CRAM_OWNER_BITS,
	CRAM_RETIRED	= 4 << CRAM_OWNER_BITS,
};

#define CRAM_WRITABLE		BIT(27)
#define CRAM_REVOKING		BIT(28)

/*
 * Slots that a walk looks at before others may have the CPU, if it finds nothing to
 * do: some microseconds.
 */
#define CRAM_SLOT_SLICE		4096

/* Slots that share a bit: 2 MiB, so that a GiB takes a cache line of bits */
#define CRAM_BLOCK_SLOTS	512UL

static inline unsigned long cram_nr_blocks(unsigned long nr_slots)
{
	return DIV_ROUND_UP(nr_slots, CRAM_BLOCK_SLOTS);
}

/*
 * Set the bits of @nr slots from slot @i on, which have changed. Any context; mostly
 * there is nothing to set, and nothing is written.
 */
static inline void cram_mark_blocks(unsigned long *blocks, unsigned long i,
				    unsigned long nr)
{
	unsigned long block = i / CRAM_BLOCK_SLOTS;

	/* Slot, then bit: pairs with cram_clear_block() */
	smp_mb();
	for (; block <= (i + nr - 1) / CRAM_BLOCK_SLOTS; block++)
		if (!test_bit(block, blocks))
			set_bit(block, blocks);
}

/* Who looks at all slots of the block after this misses none that had its bit set */
static inline void cram_clear_block(unsigned long *blocks, unsigned long block)
{
	clear_bit(block, blocks);
	/* Bit, then slots: pairs with cram_mark_blocks() */
	smp_mb__after_atomic();
}

static inline u32 cram_slot_state(u32 slot)
{
	return slot & CRAM_STATE_MASK;
}

static inline u32 cram_slot_owner(u32 slot)
{
	return slot & CRAM_OWNER_MASK;
}

/* EMPTY, FREED, RETIRED -> RESERVED. Returns true if it was FREED. */
static inline bool cram_slot_reserve(u32 *slot, u32 owner_id)
{
	return cram_slot_state(xchg(slot, owner_id | CRAM_RESERVED)) == CRAM_FREED;
}

/* RESERVED -> RESIDENT */
static inline void cram_slot_settle(u32 *slot)
{
	WARN_ON_ONCE(cram_slot_state(*slot) != CRAM_RESERVED);
	WRITE_ONCE(*slot, cram_slot_owner(*slot) | CRAM_RESIDENT);
}

/*
 * RESERVED, RESIDENT -> FREED. And from EMPTY, before anybody knows the node: what the
 * device holds of an earlier life.
 */
static inline void cram_slot_free(u32 *slot)
{
	WRITE_ONCE(*slot, CRAM_FREED);
}

/* FREED -> EMPTY. Returns false if it was not FREED, and then it stays as it is. */
static inline bool cram_slot_empty(u32 *slot)
{
	if (cram_slot_state(*slot) != CRAM_FREED)
		return false;
	WRITE_ONCE(*slot, CRAM_EMPTY);
	return true;
}

/* FREED -> RETIRED. Returns false if it was not FREED. */
static inline bool cram_slot_retire(u32 *slot)
{
	return cmpxchg(slot, CRAM_FREED, CRAM_RETIRED) == CRAM_FREED;
}

/* RETIRED -> FREED. Returns false if it was not RETIRED. */
static inline bool cram_slot_unretire(u32 *slot)
{
	return cmpxchg(slot, CRAM_RETIRED, CRAM_FREED) == CRAM_RETIRED;
}

/* RESIDENT, which it is in @was, becomes WRITABLE as well */
static inline void cram_slot_upgrade(u32 *slot, u32 was)
{
	WRITE_ONCE(*slot, was | CRAM_WRITABLE);
}

/* WRITABLE, which it is in @was, becomes REVOKING as well */
static inline void cram_slot_revoke(u32 *slot, u32 was)
{
	WRITE_ONCE(*slot, was | CRAM_REVOKING);
}

/* ... and is only WRITABLE again */
static inline void cram_slot_keep(u32 *slot, u32 was)
{
	WRITE_ONCE(*slot, was & ~CRAM_REVOKING);
}

/* ... or only RESIDENT */
static inline void cram_slot_revoked(u32 *slot, u32 was)
{
	WRITE_ONCE(*slot, was & ~(CRAM_WRITABLE | CRAM_REVOKING));
}

#endif /* _MM_CRAM_SLOT_H */
