/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Evict: who may look at a node, and who takes it away?
 *
 * A model of the locks in mm/cram/evict.c, node.c and sysfs.c. What it is for and
 * how to run it is in Documentation/mm/cram-model.rst.
 *
 *	P12  nobody looks at a node that is not there any more
 *	P13  nobody opens a node that is being taken away
 *	P3   and nobody is stuck
 *
 * What is left out: what eviction does to pages, and how it finds them.
 */

/* The property to check, 0 for all of them; the runner sets it */
#ifndef PROPERTY
#define PROPERTY 0
#endif
#define P(n, cond)	assert((PROPERTY != 0 && PROPERTY != n) || (cond))

/* Who evicts on request, each in slices */
#ifndef USERS
#define USERS	2
#endif
#define SLICES	2

/* Who writes to the node's state file */
#define WRITERS	2

bool table = true;	/* cram_node_get() finds the node */
bool there = true;	/* its memory is */
bool in_slice[USERS];	/* cram_evict_srcu, by reader */

bool offline_mutex;
bool going;
bool offline;
bool drained;		/* ... for good, by who takes the node away */
byte open_files;	/* of its directory in sysfs, which is removed with it */
bool files = true;

#define LOOK	P(12, there)

/* cram_evict_node() */
active [USERS] proctype request()
{
	byte n = 0;
	bool found = false;

	do
	:: n < SLICES ->
#ifndef WITHOUT_SRCU
		in_slice[_pid] = true;		/* srcu_read_lock() */
#endif
#ifdef FOUND_ONCE
		if :: n == 0 -> found = table :: else fi;
#else
		found = table;			/* cram_node_get() */
#endif
		if
		:: found -> LOOK; LOOK		/* cram_evict_slice() */
		:: else
		fi;
		in_slice[_pid] = false;
		n++
	:: else -> break
	od
}

/* state_store(), until it has had its way, or the file has gone */
active [WRITERS] proctype state_file()
{
	do
	:: atomic { files -> open_files++ };
#ifdef STATE_FILE_WAITS
		atomic { !offline_mutex -> offline_mutex = true };
#else
		if
		:: atomic { !offline_mutex -> offline_mutex = true }
		:: offline_mutex ->		/* restart_syscall() */
			open_files--;
			goto again
		fi;
#endif
		LOOK;
		offline = true;			/* cram_drain() */
		if
		:: LOOK; offline = false	/* it failed, or "open" */
		:: going -> offline = false	/* who drains makes way */
		:: LOOK
		fi;
		P(13, !drained || offline);
		offline_mutex = false;
		open_files--;
		break
	:: !files -> break			/* ENODEV */
again:		skip
	od
}

/* cram_unregister_node(), cram_force_unregister_node() */
active proctype remover()
{
	byte i;

	going = true;
#ifndef REMOVED_WITHOUT_MUTEX
	atomic { !offline_mutex -> offline_mutex = true };
#endif
	going = false;
	offline = true;				/* cram_drain() */
	drained = true;
	/* cram_node_sysfs_remove() waits for who is in there */
	files = false;
	open_files == 0;
#ifdef WAITED_BEFORE_TABLE
	i = 0;
	do :: i < USERS -> !in_slice[i]; i++ :: else -> break od;
	table = false;
#else
	table = false;
	/* synchronize_srcu(), in cram_evict_stop() */
	i = 0;
	do :: i < USERS -> !in_slice[i]; i++ :: else -> break od;
#endif
	offline_mutex = false;
	there = false				/* cram_node_free() */
}
