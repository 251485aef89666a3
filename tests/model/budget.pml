/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Budgets: who may write to resident pages, and when is that over?
 *
 * A model of upgrade and revoke against everything else that happens to a page
 * meanwhile. What it is for and how to run it is in
 * Documentation/mm/cram-model.rst.
 *
 *	P2  once a write that lowers a budget has returned, no more pages are
 *	    writable, or referenced by who may write, than it says
 *	P3  no charge is lost or given back twice
 *	P4  no store is made to a page, and no line of it arrives at the device,
 *	    after its revoke was counted
 *	P14 no store is missing in the copy that takes the place of a page, and
 *	    nobody goes on to store to the page itself
 *
 * There are two levels of cgroups and the node. Page 0 belongs to the child,
 * page 1 to the parent, so that they compete for the parent's budget.
 */

#ifndef PAGES
#define PAGES	2
#endif

#define CHILD	0
#define PARENT	1
#define NODE	2
#define LEVELS	3
#define OWNER(p)	(p)	/* the level where page p is charged first */

/* The property to check, 0 for all of them; the runner sets it */
#ifndef PROPERTY
#define PROPERTY 0
#endif
#define P(n, cond)	assert((PROPERTY != 0 && PROPERTY != n) || (cond))

#if PAGES == 1
#define ANY(p, it)	it(0) -> p = 0
#define COUNT(it)	it(0)
#else
#define ANY(p, it)	if :: it(0) -> p = 0 :: it(1) -> p = 1 fi
#define COUNT(it)	(it(0) + it(1))
#endif

/* -------------------------------------------------- hardware, and the mm -- */

mtype = { NONE, RO, RW };
mtype pte[PAGES] = RO;	/* the one page table entry that maps the page */
bool tlb[PAGES];	/* a CPU has it cached, writable */
bool dirty[PAGES];	/* a line of the page is in a CPU cache */
bool ptl[PAGES];	/* the page table lock */
bool live[PAGES] = true;	/* allocated */
bool mapped[PAGES] = true;	/* the mapping's reference to the folio */
byte refs[PAGES];	/* all other references */
bool writer[PAGES];	/* one of these is by somebody who may write */
bool copied[PAGES];	/* a write fault has copied it, and not ended yet */
bool missed[PAGES];	/* ... and this has been stored to since */

#define lock(p)		atomic { !ptl[p] -> ptl[p] = true }
#define unlock(p)	ptl[p] = false
#define flush_tlb(p)	tlb[p] = false

/* ----------------------------------------------------------- the engine -- */

/*
 * PLAIN	resident, read-only
 * UPGRADED	charged, may be writable
 * REVOKING	charged, will not be writable again before that is over
 * UNCLEAN	freed while upgraded, charged to the node until its lines are
 *		written back
 * FREED	freed otherwise
 */
mtype = { PLAIN, UPGRADED, REVOKING, UNCLEAN, FREED };
mtype slot[PAGES] = PLAIN;

byte budget[LEVELS] = 1;
byte used[LEVELS];	/* cram.writable_current; of the node, up - down */

/* For the properties only: is the page counted in up - down? */
byte counted[PAGES];
/* ... and the number that a write has returned for */
byte promised[LEVELS] = 1;

#define WRITABLE(p)	(pte[p] == RW || tlb[p] || writer[p])
#define CHECK_P2 \
	P(2, WRITABLE(0) <= promised[CHILD] && \
	     COUNT(WRITABLE) <= promised[PARENT] && \
	     COUNT(WRITABLE) <= promised[NODE])

inline arrive(p)
{
	d_step {
		if
		:: dirty[p] -> dirty[p] = false; P(4, counted[p] > 0)
		:: else
		fi
	}
}

/* cram_write_back(): arch_wb_cache_pmem() and the fence */
#define write_back(p)	arrive(p)

inline store(p)
{
	d_step { P(4, counted[p] > 0); dirty[p] = true; missed[p] = copied[p] }
}

#define UNCHARGE_CGROUPS(p) \
	if :: OWNER(p) == CHILD -> used[CHILD]-- :: else fi; used[PARENT]--
#define UNCHARGE_NODE(p) \
	used[NODE]--; counted[p]--	/* down++ */

/* The charge of a page that is revoked goes in one step, though it need not */
inline uncharge(p)
{
	d_step { UNCHARGE_NODE(p); UNCHARGE_CGROUPS(p) }
}

/* uncharge_folio(): with the last reference, in any context */
inline free_folio(p)
{
	live[p] = false;
	if
	:: slot[p] == UPGRADED || slot[p] == REVOKING ->
		UNCHARGE_CGROUPS(p);
#ifdef FREED_UPGRADE_COUNTS_AT_ONCE
		UNCHARGE_NODE(p);
		slot[p] = FREED
#else
		/* No time to write lines back here */
		slot[p] = UNCLEAN
#endif
	:: else -> slot[p] = FREED
	fi
}

/* folio_put(). Atomic: it is the count that is, and who frees is alone */
inline put(p)
{
	atomic {
		refs[p]--;
		if
		:: refs[p] == 0 && !mapped[p] -> free_folio(p)
		:: else
		fi
	}
}

/*
 * Charge an upgrade to all levels from the owner up. Adds first and compares
 * then, as page_counter_try_charge(): whoever lowers a number sets it first and
 * looks at the sum then, so one of the two sees the other.
 */
inline charge(p, level, ok)
{
	level = OWNER(p);
	ok = true;
	do
	:: level == LEVELS || !ok -> break
	:: else ->
#ifdef BUDGET_COMPARED_BEFORE_CHARGE
		ok = (used[level] < budget[level]);
		if
		:: ok -> used[level]++; level++
		:: else
		fi
#else
		used[level]++;
		ok = (used[level] <= budget[level]);
		level++
#endif
#ifdef CHARGED_TO_OWNER_ONLY
		if
		:: level == OWNER(p) + 1 && level < NODE ->
			d_step { used[PARENT]++; level = NODE }
		:: else
		fi
#endif
	od;
	atomic {
		if
		:: ok -> counted[p]++
		:: else ->
#ifndef REFUSED_CHARGE_STAYS
			/* Give back what was added below */
			do
			:: level > OWNER(p) -> level--; used[level]--
			:: else -> break
			od
#endif
		fi;
		level = 0
	}
}

/* One flush will do for the pages of a batch. FLUSH_AT_CLEAR is as good. */
#if !defined(NO_TLB_FLUSH) && !defined(FLUSH_AT_CLEAR) && \
    !defined(FLUSH_ONLY_IF_WRITABLE)
#define FLUSH_AT_END
#endif

#ifdef REVOKE_WITHOUT_REFERENCE
#define OWN_REFS	0
#else
#define OWN_REFS	1
#endif

/*
 * Take the upgrade of a page back, for a lower budget or because it was not
 * written for long. Leaves the page as it was when somebody refers to it.
 */
inline revoke(p, old, busy)
{
	if
	/*
	 * folio_try_get(), for the index of upgraded pages may be late. With
	 * that the page stays, and so does what its slot says under the lock.
	 */
#ifdef REVOKE_WITHOUT_REFERENCE
	:: slot[p] == UPGRADED ->
#else
	:: atomic { live[p] && slot[p] == UPGRADED -> refs[p]++ };
#endif
#ifdef REVOKING_BEFORE_LOCK
		d_step {
			if
			:: slot[p] == UPGRADED -> slot[p] = REVOKING; old = RW
			:: else
			fi
		};
		lock(p);
		if
		:: old == NONE -> unlock(p)
#else
		lock(p);
		if
		:: slot[p] != UPGRADED -> unlock(p)
#endif
		:: else ->
			/* A fault that finds it so may take the rest for granted */
			slot[p] = REVOKING;
			old = pte[p];
#ifdef REFERENCES_BEFORE_CLEAR
			busy = (refs[p] > OWN_REFS);
#endif
			pte[p] = NONE;
#if defined(FLUSH_ONLY_IF_WRITABLE)
			if :: old == RW -> flush_tlb(p) :: else fi;
#elif defined(FLUSH_AT_CLEAR)
			/* Whatever was there: see protector() */
			flush_tlb(p);
#endif
			/*
			 * smp_mb(), see __folio_try_share_anon_rmap(): GUP-fast
			 * takes its reference first and then looks at the entry
			 * again. One of the two sees the other.
			 */
#if defined(READ_ONLY_NOT_CHECKED)
			busy = (old == RW && refs[p] > OWN_REFS);
#elif !defined(NO_REFERENCE_CHECK) && !defined(REFERENCES_BEFORE_CLEAR)
			busy = (refs[p] > OWN_REFS);
#endif
			if
			:: busy ->
				/* Writable as before, charged, tried again */
				d_step { pte[p] = old; slot[p] = UPGRADED };
				unlock(p)
			:: else ->
				pte[p] = (old == NONE -> NONE : RO);
				unlock(p);
#ifdef UNCHARGE_BEFORE_FLUSH
				uncharge(p);
#endif
#ifdef FLUSH_AT_END
				flush_tlb(p);
#endif
#ifdef UNCHARGE_BEFORE_WRITEBACK
				uncharge(p);
#endif
#ifndef NO_WRITEBACK_ON_REVOKE
				write_back(p);
#endif
				/* Nobody stores to it, nothing is on its way */
#if !defined(UNCHARGE_BEFORE_FLUSH) && !defined(UNCHARGE_BEFORE_WRITEBACK)
				uncharge(p);
#endif
				slot[p] = PLAIN
			fi;
			d_step { busy = false; old = NONE }
		fi;
#ifndef REVOKE_WITHOUT_REFERENCE
		put(p)
#endif
	:: else
	fi
}

/*
 * wp_page_copy(), the page being locked: promoted to ordinary memory. It comes to
 * nothing if somebody has changed the entry meanwhile.
 */
inline promote(p)
{
	d_step { refs[p]++; copied[p] = true; missed[p] = false };
	unlock(p);
	lock(p);
	if
	:: pte[p] == RO ->
		pte[p] = NONE;
		flush_tlb(p);
		P(14, !missed[p] && !writer[p]);
		d_step { copied[p] = false; mapped[p] = false }
	:: else -> copied[p] = false
	fi;
	put(p)
}

/* ------------------------------------------------------------ the actors -- */

byte left = (PAGES == 1 -> 6 : 4);	/* of those below that have not ended */

#define IS_DIRTY(p)	dirty[p]
#define IS_CACHED(p)	tlb[p]
#define IS_UNCLEAN(p)	(slot[p] == UNCLEAN)
#define IS_UPGRADED(p)	(slot[p] == UPGRADED)

/* A CPU evicts a line, or stores, at any time */
active proctype world()
{
	byte p;

end:	do
	:: atomic { ANY(p, IS_DIRTY); arrive(p); p = 0 }
	/* A CPU that has the entry cached stores, another than that of who faults */
	:: atomic { ANY(p, IS_CACHED); store(p); p = 0 }
	od
}

/* Threads of the owner that write, for each page */
active [PAGES] proctype writer_thread()
{
	byte p = _pid - 1, level;
	bool ok;

	do
	:: break
	:: atomic { pte[p] == RW && !tlb[p] -> tlb[p] = true }
	/* A write fault: do_wp_page(), under the lock */
	:: pte[p] == RO ->
		lock(p);
		if
		:: pte[p] == RO && slot[p] == PLAIN ->
			charge(p, level, ok);
			if
			:: ok -> d_step { slot[p] = UPGRADED; pte[p] = RW; CHECK_P2 }
			:: else -> promote(p)
			fi;
			ok = false
		/* Write-protected by others, and not by a revoke: paid already */
		:: pte[p] == RO && slot[p] == UPGRADED ->
			d_step { pte[p] = RW; CHECK_P2 }
		:: pte[p] == RO && slot[p] == REVOKING ->
#ifdef UPGRADE_WHILE_REVOKING
			d_step { pte[p] = RW; CHECK_P2 }
#else
			/* It is read-only for good, if not for all CPUs yet */
#ifndef COPY_WITHOUT_FLUSH
			flush_tlb(p);
#endif
			promote(p)
#endif
		/* Not there any more */
		:: else
		fi;
		unlock(p)
	od;
	left--
}

#if PAGES == 1
/* GUP-fast for writing, pinning or not: direct I/O, ptrace, /proc/PID/mem */
active proctype gup()
{
	do
	:: break
	:: pte[0] == RW ->
		if
		:: atomic { live[0] -> refs[0]++ };	/* try_grab_folio_fast() */
			if
			:: atomic { pte[0] == RW -> writer[0] = true; CHECK_P2 };
				do
				:: store(0)
				:: break
				od;
				writer[0] = false
			:: else
			fi;
			put(0)
		:: else
		fi
	od;
	left--
}

/*
 * fork(), mprotect(), userfaultfd: they know nothing of the engine, make entries
 * read-only under the lock, and flush when they have done all of a range.
 */
active proctype protector()
{
	do
	:: break
	:: pte[0] == RW ->
		lock(0);
		if
		:: pte[0] == RW ->
			pte[0] = RO;
#ifdef FORK_UNCHARGES
			slot[0] = PLAIN;
			uncharge(0);
#endif
			unlock(0);
			flush_tlb(0)
		:: else -> unlock(0)
		fi
	od;
	left--
}

/*
 * munmap() and exit. The page is freed when
 * nobody refers to it any more, and then used for another one, through the
 * demotion that capacity.pml is about.
 */
active proctype zapper()
{
	do
	:: break
	:: live[0] && mapped[0] ->
		lock(0);
		pte[0] = NONE;
		/* The mapping's reference goes to the mmu_gather */
		d_step { mapped[0] = false; refs[0]++ };
		unlock(0);
		flush_tlb(0);
		put(0)
	:: atomic { slot[0] == FREED ->
		slot[0] = PLAIN; live[0] = true; mapped[0] = true; pte[0] = RO }
	od;
	left--
}

#endif

/* A write to cram.writable_budget, or a node that is lost: its budget is 0 */
active proctype limiter()
{
	byte l;
	mtype old = NONE;
	bool busy;

#if PAGES == 1
	l = NODE;
#else
	if :: l = CHILD :: l = PARENT :: l = NODE fi;
#endif
	do
	:: break
	:: budget[l] == 1 ->
		/* In force at once: new upgrades fail */
		budget[l] = 0;
		do
#ifdef RETURN_AT_ONCE
		:: break
#endif
		:: used[l] <= budget[l] -> break
		:: used[l] > budget[l] ->
			revoke(0, old, busy);
#if PAGES == 2
			if :: l != CHILD -> revoke(1, old, busy) :: else fi;
#endif
#ifdef RETURN_AFTER_ONE_PASS
			break
#endif
		/* -EINTR promises nothing; recycler() goes on */
		:: goto next
		od;
		atomic { promised[l] = budget[l]; CHECK_P2 };
next:		skip
	:: budget[l] == 0 -> d_step { budget[l] = 1; promised[l] = 1 }
	od;
	left--
}

/* Takes upgrades back in the background, or goes on for a limiter */
active proctype recycler()
{
	byte p;
	mtype old = NONE;
	bool busy;

	do
	:: break
	:: ANY(p, IS_UPGRADED); revoke(p, old, busy); p = 0
	od;
	left--
}

/* cram_trim(), as far as it is about upgrades; and the end */
active proctype cramd()
{
	byte p;
	mtype old = NONE;
	bool busy;

	do
	:: atomic { ANY(p, IS_UNCLEAN) };
		write_back(p);
		d_step { UNCHARGE_NODE(p); slot[p] = FREED; p = 0 }
	:: left == 0 && COUNT(IS_UNCLEAN) == 0 -> break
	od;

	/* All others have ended. Revoke what is left: the books must be even */
	revoke(0, old, busy);
#if PAGES == 2
	revoke(1, old, busy);
#endif
	P(3, COUNT(IS_UPGRADED) == 0);
	P(3, used[CHILD] == 0 && used[PARENT] == 0 && used[NODE] == 0)
}
