/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * cramcg top, in three: what is known (top-model.c), as lines of text (top-text.c), on a
 * screen (verb-top.c).
 */
#ifndef CRAMCG_TOP_H
#define CRAMCG_TOP_H

#include "cramcg.h"

#define HISTORY	24

/* Per second, and of the last HISTORY refreshes */
struct rates {
	double demote, promote, refuse;
	float history[HISTORY];	/* demotions and promotions together; the newest is last */
};

struct top_row {
	char *path;
	int depth;
	size_t parent;		/* in rows; SIZE_MAX: none */
	int current, stat;	/* open files, or -1 */
	struct sample s;
	bool enabled, seen, shown;
	struct rates rates;
	uint64_t before[NR_COUNTERS];
};

struct top_node {
	int number;
	char state[16];
	uint64_t physical, free, used, writable;
};

enum top_sort { SORT_RESIDENT, SORT_RATIO, SORT_DEMOTE, SORT_PROMOTE, SORT_REFUSE, SORT_NAME, NR_SORTS };

struct top {
	struct cramcg *ctx;
	int dir;		/* of the root cgroup */
	struct top_row *rows;	/* parents before children */
	size_t n;
	size_t *order;		/* of those shown */
	size_t nr_order;
	struct top_node *nodes;
	size_t nr_nodes;
	struct rates all;
	double last, scanned;	/* seconds */
	enum top_sort sort;
	bool reverse, tree, show_all;
	char filter[64];
	/* What is on the screen: limits are read of these only */
	size_t first, height;
};

/* Look for new and gone cgroups and nodes; 0 or a negative errno */
int top_scan(struct top *t);
/* Read counters, and sort */
void top_refresh(struct top *t);
void top_free(struct top *t);

/* Text of at most width columns; lines have no newline */
#define TOP_LINE	1024
void top_title(const struct top *t, char *line, int width);
void top_node_line(const struct top_node *node, char *line, int width);
void top_header(const struct top *t, char *line, int width);
void top_row_line(const struct top *t, const struct top_row *row, char *line, int width);
/* Cut to so many columns of the terminal, whatever its bytes are */
void fit(char *text, int width);

#endif
