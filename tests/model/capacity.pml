/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Capacity: is there a cell for every store, and does every cell come back?
 *
 * A model of mm/cram/capacity.c, trim.c, and of the counters around a demotion
 * (demote.c, residency.c) and an upgrade. What it is for and how to run it is in
 * Documentation/mm/cram-model.rst.
 *
 *	P1  no store arrives at the device without finding a cell
 *	P3  what was freed can come back: no cell and no count is lost for ever
 *	P6  a truthful device is not taken for a liar, see cram_contradiction()
 *	P7  no page that is in use is trimmed
 *
 * There is no clock in here: readings may take for ever, so that P1 holds for a
 * device that falls silent, with or without a lease. See lease.pml.
 *
 * A cell of this model is what one page takes at worst (cells_per_page is 1). A
 * page compresses to nothing or not at all; nobody but the device knows which,
 * and the engine always expects the worst, so what lies between adds nothing.
 * A page has one cache line, for the same reason.
 *
 * With LATE_TRIM a trim that has failed can come about any time later.
 */

/* Logical pages, the cells behind them, and what admission leaves alone */
#ifndef PAGES
#define PAGES	2
#endif
#ifndef CELLS
#define CELLS	(PAGES - 1)
#endif
#ifndef RESERVE
#define RESERVE	0
#endif

/* CPUs that demote, store, and free */
#ifndef USERS
#define USERS	2
#endif

/* All pages: how many are it, and any one that is */
#if PAGES == 2
#define SUM(it)		(it(0) + it(1))
#define ANY(p, it)	if :: it(0) -> p = 0 :: it(1) -> p = 1 fi
#define COPY(a, b)	a[0] = b[0]; a[1] = b[1]
#define CLEAR(a)	a[0] = 0; a[1] = 0
#else
#define SUM(it)		(it(0) + it(1) + it(2))
#define ANY(p, it)	if :: it(0) -> p = 0 :: it(1) -> p = 1 :: it(2) -> p = 2 fi
#define COPY(a, b)	a[0] = b[0]; a[1] = b[1]; a[2] = b[2]
#define CLEAR(a)	a[0] = 0; a[1] = 0; a[2] = 0
#endif

/* The property to check, 0 for all of them; the runner sets it */
#ifndef PROPERTY
#define PROPERTY 0
#endif
#define P(n, cond)	assert((PROPERTY != 0 && PROPERTY != n) || (cond))

/* --------------------------------------------------------- the hardware -- */

bool dirty[PAGES];	/* the page's line is in a CPU cache, not written back */
bool held[PAGES];	/* the device holds a cell for the page */
bool asked[PAGES];	/* ... and held it when the reading in flight was asked
			   for, as far as the answer has to know */

bool late[PAGES];	/* the device did not say that it has zeroed the page,
			   and can do so any time */

#define DIRTY(p)	dirty[p]
#define HELD(p)		held[p]
#define ASKED(p)	asked[p]
#define LATE(p)		late[p]

/*
 * A line arrives at the device, which stores it uncompressed first. If there is
 * no cell the store is lost, and with it who reads it: that must never happen.
 */
inline arrive(p)
{
	d_step {
		if
		:: dirty[p] ->
			dirty[p] = false;
			P(1, held[p] || SUM(HELD) < CELLS);
			held[p] = true
		:: else
		fi
	}
}

/*
 * cram_write_back(): arch_wb_cache_pmem() and the fence. In the model they are
 * one step: a write-back that nobody waits for is what world() does anyway.
 */
#define write_back(p)	arrive(p)

/* USED is RESERVED and RESIDENT: the difference is to whom it is charged */
mtype = { EMPTY, USED, FREED };
mtype slot[PAGES] = EMPTY;

/* What happens without anybody's doing, at any time */
active proctype world()
{
	byte p;

end:	do
	/* A CPU evicts a line */
	:: atomic { ANY(p, DIRTY); arrive(p); p = 0 }
	/*
	 * The device compresses a page. It may do so late, and an answer may
	 * know of it even if the question was older.
	 */
	:: atomic { ANY(p, HELD); held[p] = false; asked[p] = false; p = 0 }
	/* The end of a trim that has failed */
	:: atomic {
		ANY(p, LATE);
		P(7, slot[p] != USED);
		late[p] = false;
		held[p] = false;
		asked[p] = false;
		p = 0
		}
#ifdef CELLS_GROW
	/* Not a rule of the engine but a promise of the device */
	:: d_step { !held[0] && SUM(HELD) < CELLS -> held[0] = true }
#endif
	od
}

/* ----------------------------------------------------------- the engine -- */

bool unclean[PAGES];	/* freed while upgraded: its line may be anywhere */
bool buddy[PAGES] = true;	/* can be allocated */

#define UNCLEAN(p)	unclean[p]
#define IN_BUDDY(p)	buddy[p]
#define IS_FREED(p)	(slot[p] == FREED)

/*
 * The counters of a node. In the kernel they are 64 bits wide and monotonic; to
 * keep the model finite they are counted here from the last reading, that is,
 * its done0 and down0 are subtracted from all of them when it is over.
 */
byte begun, done, up, down;

/* begun + up may not pass this. The first reading is one of an empty device. */
byte limit = CELLS - RESERVE;
byte room = CELLS;	/* the last answer */

bool pending;		/* a trim has failed: cram_trim_pending() */

byte left = USERS + 1;	/* processes that have not ended */

#ifdef UP_NOT_IN_BOUND
#define HAS_ROOM	(begun < limit)
#else
#define HAS_ROOM	(begun + up < limit)
#endif

/*
 * cram_admit(): look and count in one step. Two that look before either counts
 * would both find the room for one. That goes for the sum: with begun and up in
 * two words, each with a cmpxchg of its own, the look at the other word comes
 * before the count in one's own.
 */
#ifdef ADMIT_IN_TWO_STEPS
#define ADMIT(counter)	HAS_ROOM -> counter++
#else
#define ADMIT(counter)	atomic { HAS_ROOM -> counter++ }
#endif

/* folio_alloc_private(), cram_slot_reserve() */
inline alloc(p)
{
	atomic { ANY(p, IN_BUDDY); buddy[p] = false; slot[p] = USED }
}

/*
 * The line of a page that was freed while it was upgraded has been written
 * back. Only now the upgrade is over, and it is over only once.
 */
inline clean(p)
{
	if
	:: unclean[p] ->
		unclean[p] = false;
		down++
	:: else
	fi
}

/* A copy has ended, with success or without: cram_write_back(), cram_done() */
inline copy_ended(p)
{
	/* A reading whose done0 has this page has its line, too */
#if !defined(NO_WRITEBACK_BEFORE_DONE) && !defined(DONE_BEFORE_WRITEBACK)
	write_back(p);
#endif
	d_step {
		/* If it was allocated before it was trimmed, that did for both */
#ifdef REALLOC_FORGETS_UNCLEAN
		unclean[p] = false;
#else
		clean(p);
#endif
		done++
	};
#ifdef DONE_BEFORE_WRITEBACK
	write_back(p)
#endif
}

/* uncharge_folio() -> cram_slot_freed(), and then the allocator */
inline free(p)
{
	d_step { slot[p] = FREED; buddy[p] = true; p = 0 }
}

/*
 * One page after the other: demoted by reclaim, perhaps upgraded, freed by its
 * owner.
 */
active [USERS] proctype user()
{
	byte p;

	do
	:: break
	/* ------------------------------------------ cram_alloc_target() -- */
#if defined(BEGUN_AFTER_ALLOC) || defined(BEGUN_AFTER_COPY)
	:: HAS_ROOM ->
#else
	/* Before the page is there, so before anything is stored to it */
	:: ADMIT(begun);
#endif
		if
		:: alloc(p)
		:: SUM(IN_BUDDY) == 0 ->
#if !defined(BEGUN_AFTER_ALLOC) && !defined(BEGUN_AFTER_COPY)
			begun--;	/* cram_unadmit(): nothing was stored */
#endif
			goto next
		fi;
#ifdef BEGUN_AFTER_ALLOC
		begun++;
#endif
		/* ---------------------------------- migrate_pages() -- */
		dirty[p] = true;	/* folio_mc_copy() */
#ifdef BEGUN_AFTER_COPY
		begun++;
#endif
		if
		:: /* It failed after all: cram_free_target() */
#if defined(DONE_NOT_COUNTED_ON_FAILURE)
			write_back(p);
			d_step { clean(p) };
#elif defined(NO_WRITEBACK_ON_FAILURE)
			d_step { clean(p); done++ };
#else
			copy_ended(p);
#endif
			free(p);
			goto next
		:: /* mem_cgroup_migrate() -> __cram_migrate_folio() */
			copy_ended(p)
		fi;

		/*
		 * Resident, and mapped read-only: nothing is stored to it,
		 * unless do_wp_page() finds budget and room for an upgrade.
		 */
		if
		:: free(p)
#ifdef UP_NOT_IN_BOUND
		:: skip;
#else
		/* Counted before the entry is writable */
		:: ADMIT(up);
#endif
			do
			:: dirty[p] = true
			:: break
			od;
			if
			:: /* Revoked; how that is done is in budget.pml */
#ifndef NO_WRITEBACK_BEFORE_DOWN
				write_back(p);
#endif
#ifndef UP_NOT_IN_BOUND
				down++
#endif
			:: /* Freed as it is: no time to write lines back here */
#if defined(FREED_UPGRADE_COUNTS_AT_ONCE)
				down++
#elif defined(UP_NOT_IN_BOUND)
				skip
#else
				unclean[p] = true
#endif
			fi;
			free(p)
		fi;
next:		skip
	od;
	left--
}

/*
 * cram_take_reading(), under reading_mutex. Also called from sysfs, so it is
 * not in turns with cram_trim(), though cramd() does both.
 */
active proctype reader()
{
	byte done0, down0, answer, begun1;
	bool since;	/* asked for after that */

	do
	:: break
	/*
	 * First these. What they count has arrived at the device, so that the
	 * answer covers it; what they do not count is charged in full, whether
	 * the answer covers it or not.
	 */
	:: d_step {
		done0 = done;
		down0 = down;
		begun1 = begun + up;
#ifdef EARLIER_ANSWER_ENDS_TRIM
		since = true
#else
		since = pending
#endif
		};
		/* The doorbell. Promised: the answer covers what is there now */
		d_step {
			skip;
#ifndef ANSWER_MISSES_STORES
			COPY(asked, held)
#endif
		};
		if
		:: skip		/* An error, or no answer for too long */
		/*
		 * A device does one thing after the other. A reading that was
		 * begun earlier may have asked it before: a node can have
		 * several.
		 */
#if defined(ANSWER_BEFORE_TRIM_ENDED) || defined(EARLIER_ANSWER_ENDS_TRIM)
		:: atomic {
#else
		:: atomic {
			!since || SUM(LATE) == 0;
#endif
			pending = pending && !since;
			/* What came after the doorbell may be missing, or not */
			if
			:: answer = CELLS - SUM(ASKED)
			:: answer = CELLS - SUM(HELD)
			fi;
#ifdef DONE0_FROM_ANSWER
			done0 = done;
#endif
#ifdef DOWN0_FROM_ANSWER
			down0 = down;
#endif
			/*
			 * cram_contradiction(): could it have become so bad?
			 * begun and up are read after the answer, so that no
			 * store in it is missing here. The done0 and down0 of
			 * the reading before are 0, see above.
			 */
#if defined(UP_NOT_IN_CONTRADICTION)
			begun1 = begun;
#elif !defined(BEGUN_FROM_QUESTION)
			begun1 = begun + up;
#endif
			P(6, room <= answer + begun1);

			room = answer;
			limit = (answer > RESERVE -> answer - RESERVE : 0);
			begun = begun - done0;
			done = done - done0;
			up = up - down0;
			down = down - down0
		}
		fi;
		d_step { CLEAR(asked); done0 = 0; down0 = 0; answer = 0; begun1 = 0; since = false }
	od;
	left--
}

#define CAN_TRIM(p)	(slot[p] == FREED && buddy[p])

/* cram_trim() */
active proctype cramd()
{
	byte p;

	do
	/* cram_isolate_freed(), under zone->lock: nobody can allocate it now */
	:: atomic {
		ANY(p, CAN_TRIM);
#ifndef TRIM_WITHOUT_ISOLATION
		buddy[p] = false
#endif
		};
#ifndef ZEROES
		/* A line that arrived later would take the cell again */
#ifndef NO_WRITEBACK_BEFORE_TRIM
		write_back(p);
#endif
#ifdef CLEANED_AT_EACH_TRY
		if :: unclean[p] -> down++ :: else fi;
#else
		d_step { clean(p) };
#endif
		if
		:: left > 0 ->	/* The device refuses, or is not through with it */
#ifdef TRIM_ERROR_IGNORED
			slot[p] = EMPTY
#else
			atomic {
				if
				:: skip
#ifdef LATE_TRIM
				:: late[p] = true
#endif
				fi;
				pending = true
			};
#ifndef FAILED_TRIM_RETURNS_PAGES
			/* Next time, after a reading; the last is its own */
			if
			:: !pending
			:: atomic { left == 0 && SUM(LATE) == 0 -> pending = false }
			fi
#endif
#endif
		:: d_step {
			P(7, slot[p] != USED);
			held[p] = false;
			asked[p] = false;
			slot[p] = EMPTY
			}
		fi;
#else
		/*
		 * cram_zero_range(), for devices without a trim operation: the
		 * zeroes are stores that need cells until they are compressed.
		 */
#ifdef ZEROES_PAST_LIMIT
		begun++;
#else
		/* The reserve is there for such things, and no more than that */
		if
		:: atomic { begun + up < room -> begun++ }
		:: else -> goto put_back
		fi;
#endif
		dirty[p] = true;
		write_back(p);
		d_step { clean(p); done++; slot[p] = EMPTY };
put_back:	skip;
#endif
		d_step { buddy[p] = true; p = 0 }	/* cram_put_back() */
	:: left == 0 && SUM(IS_FREED) == 0 -> break
	od;

	/*
	 * Everybody was free to end at any time, and has. Nothing may be left
	 * of what they did. (If a page were FREED and nobody could trim it, this
	 * would not be reached, which is an invalid end state.)
	 */
#ifndef ZEROES
	P(3, SUM(HELD) == 0 && SUM(DIRTY) == 0);
#endif
	P(3, begun == done && up == down && SUM(UNCLEAN) == 0)
}
