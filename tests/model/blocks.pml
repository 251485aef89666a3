/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Blocks: one bit for many slots says where to look. Is all found that has to be?
 *
 * A model of the bits of mm/cram/slot.h, of cram_mark_freed(), and of cram_trim().
 * What it is for and how to run it is in Documentation/mm/cram-model.rst.
 *
 *	P15  what is freed is trimmed: when nobody frees anything any more, and there
 *	     is no bit left to look for, no slot is FREED
 *
 * A store to a slot arrives some time after it was made, as on any real machine: a
 * barrier waits for it. Two pages share a block.
 */

/* The property to check, 0 for all of them; the runner sets it */
#ifndef PROPERTY
#define PROPERTY 0
#endif
#define P(n, cond)	assert((PROPERTY != 0 && PROPERTY != n) || (cond))

#ifndef PAGES
#define PAGES	2
#endif
#define ROUNDS	2

mtype = { EMPTY, RESIDENT, FREED };
mtype slot[PAGES] = EMPTY;
mtype buffer[PAGES] = EMPTY;	/* a store to the slot that has not arrived ... */
bool buffered[PAGES];		/* ... if there is one */
bool allocator[PAGES] = true;	/* the page is in it */
bool marked;		/* the block */
byte users = PAGES;		/* who may still free something */
bool looking;			/* cramd does, or holds pages */

/* Stores arrive when they like */
active proctype memory()
{
end:	do
	:: d_step { buffered[0] -> slot[0] = buffer[0]; buffered[0] = false }
	:: d_step { buffered[1] -> slot[1] = buffer[1]; buffered[1] = false }
	od
}

#define barrier(p)	!buffered[p]

inline mark(p)
{
#ifndef NO_BARRIER_BEFORE_TEST
	barrier(p);
#endif
	if
	:: marked
	:: !marked -> marked = true
	fi
}

/* A CPU that demotes to a page of its own, and frees it */
active [PAGES] proctype user()
{
	byte p = _pid - 1, n = 0;

	do
	:: n < ROUNDS ->
		/* folio_alloc_private(), cram_slots_reserve(): an xchg */
		d_step { allocator[p] -> allocator[p] = false };
		d_step { slot[p] = RESIDENT; buffered[p] = false };
#ifdef MARK_BEFORE_SLOT
		mark(p);
#endif
		/* cram_end_residency() */
		d_step { buffer[p] = FREED; buffered[p] = true };
#ifndef MARK_BEFORE_SLOT
		mark(p);
#endif
		/* free_frozen_pages(): under zone->lock, or by a list of the CPU */
		barrier(p);
		allocator[p] = true;
		n++
	:: n == ROUNDS -> break
	od;
	users--
}

bool isolated[PAGES];
bool again;

/* cram_isolate_block(): under zone->lock */
inline look(p)
{
	d_step {
		if
		:: slot[p] == FREED && allocator[p] ->
			allocator[p] = false;
			isolated[p] = true
		:: slot[p] == FREED && !allocator[p] ->
#ifndef ON_ITS_WAY_FORGOTTEN
			again = true
#else
			skip
#endif
		:: else
		fi
	}
}

/* cram_ranges_done(), cram_put_back() */
inline put_back(p, done)
{
	if
	:: isolated[p] ->
		if
		:: done -> slot[p] = EMPTY
#ifndef FAILED_TRIM_FORGETS
		:: !done -> marked = true
#else
		:: !done
#endif
		fi;
		d_step { isolated[p] = false; allocator[p] = true }
	:: else
	fi
}

active proctype cramd()
{
	bool done;
	byte failures = 1;

end:	do
	:: marked ->
		looking = true;
#ifndef CLEAR_AFTER_LOOK
		marked = false;
#endif
		again = false;
		look(0);
		look(1);
#ifdef CLEAR_AFTER_LOOK
		marked = false;
#endif
		if
		:: again -> marked = true
		:: else
		fi;
		done = true;
		if
		:: failures -> failures--; done = false
		:: true
		fi;
		put_back(0, done);
		put_back(1, done);
		looking = false
	od
}

active proctype judge()
{
	users == 0 && !marked && !looking && !buffered[0] && !buffered[1] ->
	P(15, slot[0] != FREED && slot[1] != FREED)
}
