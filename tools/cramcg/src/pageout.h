/* SPDX-License-Identifier: GPL-2.0-or-later */
/* One process of cramcg demote: what it has, what is asked for, what came of it. */
#ifndef PAGEOUT_H
#define PAGEOUT_H

#include <signal.h>
#include <stdbool.h>
#include <stdint.h>

#include "cramcg.h"
#include "smaps.h"

struct range {
	uint64_t from, to;
	uint64_t most;			/* so much of it can be there to demote */
};
struct ranges {
	struct range *list;
	size_t n;
};

struct process {
	unsigned long pid;
	int dir, fd;			/* of /proc/PID; the process itself */
	char name[32];
	char *owner;			/* the cgroup that is charged */
	struct smaps smaps;
	struct mapping before, after;	/* sums */
	bool has_cram;			/* the kernel says how much is resident */
	struct ranges todo;
	uint64_t asked;			/* bytes that are there to demote */
	uint64_t length, advised;	/* of the ranges, and what the kernel has looked at */
	uint64_t left_at;		/* the first that it would not look at */
	int left_err;			/* and why; 0: none */
	bool gone;
	int err;			/* nothing, or no more, could be done at all */
	const char *what;		/* when that happened */
	int rule;			/* nothing, or no more, was asked for by this; -1: none */
	char *mend;
};

/* 0 or a negative errno, which is in p as well */
int process_open(struct cramcg *ctx, struct process *p, unsigned long pid);
void process_close(struct process *p);
int process_clear_referenced(struct process *p);
/* Its mappings; with cold those are left out that were referenced */
int process_look(struct process *p, bool cold);
/* What it has in all, to before or after */
void process_sum(struct process *p, struct mapping *sum);
/* Which of its memory is to be asked for; wanted: within these, all where there are none */
int process_select(struct process *p, const struct ranges *wanted);
/*
 * How many bytes may be asked for next; 0: none, and p has the rule that stands against
 * it.  Without that look all that the kernel refuses would go to swap.
 */
uint64_t process_room(struct cramcg *ctx, struct process *p);
/* Ask for it, until *stop is set, or a rule stands against more; tick() after each call */
void process_pageout(struct cramcg *ctx, struct process *p, volatile sig_atomic_t *stop,
		     void (*tick)(struct process *p));
/* What an errno means for a process */
const char *process_words(int err);

/* "7f00-7f40", as in /proc/PID/maps */
bool parse_range(const char *text, struct range *r);
bool add_range(struct ranges *r, const struct range *new);

#endif
