/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Reset: a device forgets what was stored. Who gets to read that?
 *
 * A model of content_lost in mm/cram/cramd.c and node.c. What it is for and
 * how to run it is in Documentation/mm/cram-model.rst.
 *
 *	P10  when a reset has been dealt with, no page is left to its user of
 *	     which anything is lost
 *	P11  no page is retired that was begun after the reset was known
 *
 * Between the reset and the first reading after it nobody can know.
 */

/* The property to check, 0 for all of them; the runner sets it */
#ifndef PROPERTY
#define PROPERTY 0
#endif
#define P(n, cond)	assert((PROPERTY != 0 && PROPERTY != n) || (cond))

#ifndef PAGES
#define PAGES	2
#endif

mtype = { EMPTY, RESERVED, RESIDENT, RETIRED };
mtype slot[PAGES] = EMPTY;
bool stored[PAGES];	/* something of it is on the device */
bool lost[PAGES];	/* ... and was when the device was reset */
bool later[PAGES];	/* begun when the reset was known */
byte under_way;		/* begun - done */
bool was_reset;		/* the device was */
bool known;		/* a reading has said so */
bool closed;		/* nobody is admitted */
bool dealt_with;

active proctype device()
{
	d_step {
		was_reset = true;
		lost[0] = stored[0];
		lost[1] = stored[1]
	}
}

/* A demotion: two CPUs, a page for each */
active [PAGES] proctype demotion()
{
	byte p = _pid - 1;

	/* cram_choose_node(), cram_admit() */
	d_step { !closed -> under_way++; later[p] = known };
	slot[p] = RESERVED;
	stored[p] = true;	/* folio_mc_copy(), the first lines; the others ... */
	slot[p] = RESIDENT;	/* __cram_migrate_folio() */
	under_way--;		/* cram_done() */
	dealt_with -> P(10, slot[p] == RETIRED || !lost[p])
}

inline retire(p)
{
	d_step {
		if
		:: slot[p] == RESIDENT -> P(11, !later[p]); slot[p] = RETIRED
		:: else
		fi
	}
}

/* cramd(), with the first reading after the reset */
active proctype cramd()
{
	was_reset;
#ifndef OPEN_WHILE_RETIRING
	/* As cram_close(): before anybody can find room in the new reading */
	closed = true;
#endif
	known = true;
#ifndef COPIES_NOT_AWAITED
	/*
	 * Copies under way have no resident page yet, but what they have stored
	 * is lost, too.
	 */
	under_way == 0;
#endif
	retire(0);		/* cram_kill_residents() */
	retire(1);
	closed = false;
	dealt_with = true
}
