/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Lease: how long is a reading believed, and who says that it is not any more?
 *
 * A model of the clock in mm/cram/capacity.c, state.c and cramd.c. What it is for
 * and how to run it is in Documentation/mm/cram-model.rst.
 *
 *	P5  nobody is admitted on a reading that was asked for longer ago than
 *	    lease_ms
 *	P8  when the lease has ended the node is lost, or becomes so by something
 *	    that does not wait for the device
 *	P9  when all is told, the state is that of the last reading
 *
 * That cells are counted rightly is the matter of capacity.pml, which needs no
 * lease for it. What is here is for the time when a device that does not answer
 * might not keep its promises either.
 */

/* lease_ms in ticks of the clock */
#ifndef LEASE
#define LEASE	3
#endif

/* The property to check, 0 for all of them; the runner sets it */
#ifndef PROPERTY
#define PROPERTY 0
#endif
#define P(n, cond)	assert((PROPERTY != 0 && PROPERTY != n) || (cond))

mtype = { OPEN, LOW, LOST };
mtype state = OPEN;
bool few;		/* the last reading: few free cells */

/*
 * Points in time are kept as distances from now, which clock() changes; so the
 * model is finite.
 */
byte lease = LEASE;	/* lease_end - jiffies, 0 when that is past */
byte asked;		/* jiffies - start, of the reading in flight */
byte age;		/* ... of the last that was answered. For P5 only */
bool in_flight;

#define NOT_ARMED	255
#ifdef LEASE_ENDED_BY_CRAMD
byte timer = NOT_ARMED;
#define ARM		skip
#else
byte timer = LEASE + 1;	/* lease_work */
#define ARM		timer = lease + 1
#endif

byte updating;		/* who is in cram_settle(), or sure to get there */
bool state_mutex;

#define HAS_LEASE	(lease > 0)	/* cram_has_lease() */

/*
 * Is a node open to admission: cram_node_open(). The state alone is late, by the
 * latency of whoever changes it.
 */
#if defined(NO_LEASE)
#define NODE_OPEN	true
#elif defined(LEASE_IN_STATE_ONLY)
#define NODE_OPEN	(state == OPEN)
#else
#define NODE_OPEN	(state == OPEN && HAS_LEASE)
#endif

/* cram_settle(); cram_state_of() is the middle of it */
inline update_state(new)
{
#ifdef READING_BEFORE_MUTEX
	new = (few -> LOW : OPEN);
#endif
	atomic { !state_mutex -> state_mutex = true };
	/* Not before: somebody may have told of a later one meanwhile */
#ifndef READING_BEFORE_MUTEX
	new = (few -> LOW : OPEN);
#endif
	if
	:: !HAS_LEASE -> new = LOST
#ifdef TIMER_ONLY_WITHIN_LEASE
	:: else
#else
	/*
	 * Who does not say that it is over has to see to it that somebody will,
	 * however long it takes to tell.
	 */
	:: else -> ARM
#endif
	fi;
	state = new;	/* cram_report_state(): cgroups, a uevent, the log */
#ifdef TIMER_ONLY_WITHIN_LEASE
	if
	:: HAS_LEASE -> ARM
	:: else
	fi;
#endif
	new = LOST;
	d_step {
		state_mutex = false;
		updating--;
		P(9, updating > 0 || !HAS_LEASE || state == (few -> LOW : OPEN))
	}
}

#define LATER(t)	t = (t <= LEASE -> t + 1 : t)
#define SOONER(t)	t = (t > 0 -> t - 1 : 0)

active proctype clock()
{
end:	do
	:: d_step {
		SOONER(lease);
		LATER(age);
		if :: in_flight -> LATER(asked) :: else fi;
		if :: timer != NOT_ARMED -> SOONER(timer) :: else fi;
		P(8, HAS_LEASE || state == LOST || timer != NOT_ARMED || updating > 0)
	}
	od
}

/* cram_lease_ended(), in a worker; it may be late */
active proctype lease_work()
{
	mtype new = LOST;

end:	do
	:: d_step { timer == 0 -> timer = NOT_ARMED; updating++ };
		update_state(new)
	od
}

/* Reclaim and faults */
active proctype admission()
{
end:	do
	:: d_step { NODE_OPEN -> P(5, age < LEASE) }
	od
}

/* cramd() */
active proctype cramd()
{
	mtype new = LOST;

	do
	:: d_step { in_flight = true; asked = 0 };	/* start = jiffies */
		if
		:: false;	/* read_capacity() does not return */
		:: atomic {	/* an answer */
			in_flight = false;
			updating++;
			age = asked;
			if :: few = false :: few = true fi;
#ifdef LEASE_FROM_ANSWER
			lease = LEASE
#else
			/* Since the question things may have happened */
			lease = (asked < LEASE -> LEASE - asked : 0)
#endif
			};
			update_state(new)
		:: atomic {	/* an error: what was known stands, and ages */
			in_flight = false
#ifdef ERROR_RENEWS
			;
			lease = LEASE
#endif
			}
		fi;
		asked = 0
	od
}
