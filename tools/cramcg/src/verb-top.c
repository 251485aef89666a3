// SPDX-License-Identifier: GPL-2.0-or-later
/* cramcg top: the screen and its keys, those of top(1) and htop(1) where they have them. */
#define _GNU_SOURCE
#define _XOPEN_SOURCE_EXTENDED 1
#include <curses.h>
#include <errno.h>
#include <locale.h>
#include <string.h>
#include <time.h>

#include "top.h"

static const struct option_row options[] = {
	{ "batch", 'b', NULL, "print to a file or pipe instead of a screen" },
	{ "iterations", 'n', "N", "end after so many refreshes" },
	{ "delay", 'd', "SECONDS", "time between refreshes; 1" },
	{ "tree", 't', NULL, "as a tree" },
	{ "all", 'a', NULL, "those with nothing resident, too" },
	{ "sort", 's', "KEY", "resident, ratio, demote, promote, refuse or name" },
	{ 0 }
};

static const char *const sorts[NR_SORTS] = {
	"resident", "ratio", "demote", "promote", "refuse", "name",
};

static const char *const help[] = {
	"q  quit                       Up Down PgUp PgDn Home  move",
	"t  tree or flat               a  those with nothing resident, too",
	"M  sort by resident           C  by ratio (compression)",
	"D  by demotions               P  by promotions",
	"R  by refusals                N  by name",
	"< >  the next column          r  the other way round",
	"d  time between refreshes     /  only names that have a word",
	"space  refresh now            h ?  this",
	"",
	"A node is open, low, critical, lost or offline. [|||  ] are its cells",
	"in use. HISTORY: demotions and promotions of the last refreshes.",
	"MAX: cram.max. See cramcg show for why something is refused.",
};

enum { PLAIN, GOOD, BAD, WARN, HEAD };

static void put_line(int y, const char *line, int attribute)
{
	attrset(attribute);
	mvaddstr(y, 0, line);
	clrtoeol();
	attrset(A_NORMAL);
}

/* In colour and in words: not every terminal, and not everybody, sees colours */
static void put_node(int y, const struct top_node *node, int width)
{
	char line[TOP_LINE];
	int colour = !strcmp(node->state, "open") ? GOOD : !strcmp(node->state, "low") ? WARN :
		     !strcmp(node->state, "offline") ? PLAIN : BAD;

	top_node_line(node, line, width);
	put_line(y, line, has_colors() ? COLOR_PAIR(colour) : colour == BAD ? A_BOLD : A_NORMAL);
}

static void draw(struct top *t, size_t selected)
{
	char line[TOP_LINE];
	int y = 0, width = COLS;

	top_title(t, line, width);
	put_line(y++, line, A_BOLD);
	for (size_t i = 0; i < t->nr_nodes && y < LINES - 3; i++)
		put_node(y++, &t->nodes[i], width);
	top_header(t, line, width);
	put_line(y++, line, A_REVERSE);
	t->height = LINES > y ? LINES - y : 1;
	if (selected < t->first)
		t->first = selected;
	if (selected >= t->first + t->height)
		t->first = selected - t->height + 1;
	for (size_t i = t->first; i < t->nr_order && y < LINES; i++) {
		top_row_line(t, &t->rows[t->order[i]], line, width);
		put_line(y++, line, i == selected ? A_STANDOUT : A_NORMAL);
	}
	if (!t->nr_order && y < LINES)
		put_line(y++, *t->filter ? "no such cgroup with pages on a device" :
			 "no cgroup has pages on a device; a shows all", A_NORMAL);
	if (y < LINES) {
		move(y, 0);
		clrtobot();
	}
	refresh();
}

static void show_help(void)
{
	erase();
	for (int i = 0; i < (int)ARRAY_SIZE(help) && i < LINES; i++) {
		char line[128];

		snprintf(line, sizeof(line), "%s", help[i]);
		fit(line, COLS);
		mvaddstr(i, 0, line);
	}
	timeout(-1);
	getch();
	erase();
}

/* A line of input at the top; false: left with Escape */
static bool ask(const char *question, char *answer, int size)
{
	int got;

	timeout(-1);
	put_line(0, question, A_BOLD);
	move(0, strlen(question) + 1);
	echo();
	curs_set(1);
	got = getnstr(answer, size - 1);
	noecho();
	curs_set(0);
	return got != ERR;
}

static void set_sort(struct top *t, enum top_sort sort)
{
	t->tree = false;
	t->sort = sort;
}

/* What changes the order; false: not such a key */
static bool order_key(struct top *t, int key)
{
	switch (key) {
	case 't': case KEY_F(5): t->tree = !t->tree; break;
	case 'a': t->show_all = !t->show_all; break;
	case 'r': case 'I': t->reverse = !t->reverse; break;
	case 'M': set_sort(t, SORT_RESIDENT); break;
	case 'C': set_sort(t, SORT_RATIO); break;
	case 'D': set_sort(t, SORT_DEMOTE); break;
	case 'P': set_sort(t, SORT_PROMOTE); break;
	case 'R': set_sort(t, SORT_REFUSE); break;
	case 'N': set_sort(t, SORT_NAME); break;
	case '>': case '.': set_sort(t, (t->sort + 1) % NR_SORTS); break;
	case '<': case ',': set_sort(t, (t->sort + NR_SORTS - 1) % NR_SORTS); break;
	default: return false;
	}
	return true;
}

static size_t move_key(const struct top *t, int key, size_t at)
{
	size_t last = t->nr_order ? t->nr_order - 1 : 0;

	switch (key) {
	case KEY_UP: case 'k': return at ? at - 1 : 0;
	case KEY_DOWN: case 'j': return at < last ? at + 1 : last;
	case KEY_PPAGE: return at > t->height ? at - t->height : 0;
	case KEY_NPAGE: return at + t->height < last ? at + t->height : last;
	case KEY_HOME: case 'g': return 0;
	case KEY_END: case 'G': return last;
	}
	return at < last ? at : last;
}

static void text_key(struct top *t, int key, double *delay)
{
	char answer[64];
	double seconds;

	if (key == 'h' || key == '?' || key == KEY_F(1))
		show_help();
	else if (key == 'd' || key == 's') {
		if (ask("Seconds between refreshes:", answer, sizeof(answer)) &&
		    parse_duration(answer, &seconds) && seconds >= 0.1)
			*delay = seconds;
	} else if (key == '/' || key == KEY_F(4)) {
		if (ask("Only names with (empty: all):", answer, sizeof(answer)))
			strcpy(t->filter, answer);
	}
}

/* Keys until it is time to refresh; false: quit */
static bool keys(struct top *t, size_t *selected, double *delay)
{
	struct timespec start, now;
	double left;
	int key;

	clock_gettime(CLOCK_MONOTONIC, &start);
	for (;;) {
		clock_gettime(CLOCK_MONOTONIC, &now);
		left = *delay - (now.tv_sec - start.tv_sec) - (now.tv_nsec - start.tv_nsec) / 1e9;
		if (left <= 0)
			return true;
		timeout(left * 1000 + 1);
		key = getch();
		if (key == 'q' || key == KEY_F(10) || key == 3)
			return false;
		if (key == ERR)
			return true;
		if (key == KEY_RESIZE) {
			erase();
		} else if (order_key(t, key) || key == ' ') {
			return true;
		} else {
			text_key(t, key, delay);
			*selected = move_key(t, key, *selected);
		}
		draw(t, *selected);
	}
}

static void colours(void)
{
	if (!has_colors())
		return;
	start_color();
	use_default_colors();
	init_pair(PLAIN, -1, -1);
	init_pair(GOOD, COLOR_GREEN, -1);
	init_pair(WARN, COLOR_YELLOW, -1);
	init_pair(BAD, COLOR_RED, -1);
}

static void on_screen(struct top *t, unsigned long iterations, double delay)
{
	size_t selected = 0;

	cbreak();
	noecho();
	keypad(stdscr, TRUE);
	curs_set(0);
	colours();
	t->height = LINES;
	do {
		top_refresh(t);
		selected = move_key(t, 0, selected);
		draw(t, selected);
	} while ((!iterations || --iterations) && keys(t, &selected, &delay));
	endwin();
}

static void in_batch(struct top *t, unsigned long iterations, double delay)
{
	int width = isatty(STDOUT_FILENO) || getenv("COLUMNS") ? terminal_width() : 512;
	struct timespec pause = { delay, (delay - (time_t)delay) * 1e9 };
	char line[TOP_LINE];

	t->height = SIZE_MAX / 2;
	for (;;) {
		top_refresh(t);
		top_title(t, line, width);
		puts(line);
		for (size_t i = 0; i < t->nr_nodes; i++) {
			top_node_line(&t->nodes[i], line, width < 100 ? width : 100);
			puts(line);
		}
		top_header(t, line, width);
		puts(line);
		for (size_t i = 0; i < t->nr_order; i++) {
			top_row_line(t, &t->rows[t->order[i]], line, width);
			puts(line);
		}
		fflush(stdout);
		if (ferror(stdout) || (iterations && !--iterations))
			break;
		puts("");
		nanosleep(&pause, NULL);
	}
}

static bool find_sort(const char *name, enum top_sort *sort)
{
	for (int i = 0; i < NR_SORTS; i++)
		if (!strcmp(sorts[i], name)) {
			*sort = i;
			return true;
		}
	return false;
}

static int run(struct cramcg *ctx, int argc, char **argv)
{
	struct top t = { .ctx = ctx, .dir = -1 };
	SCREEN *screen = NULL;
	unsigned long iterations = 0;
	bool batch = false;
	double delay = 1;
	int c, err;

	while ((c = next_option(&verb_top, argc, argv)) != -1) {
		switch (c) {
		case 'b': batch = true; break;
		case 't': t.tree = true; break;
		case 'a': t.show_all = true; break;
		case 'n':
			if (!parse_number(optarg, 999999999, &iterations) || !iterations)
				return report(STATUS_USAGE, "--iterations %s: it is a number from 1", optarg);
			break;
		case 'd':
			if (!parse_duration(optarg, &delay) || delay < 0.1)
				return report(STATUS_USAGE, "--delay %s: it is seconds, 0.1 at least", optarg);
			break;
		case 's':
			if (!find_sort(optarg, &t.sort))
				return report(STATUS_USAGE, "--sort %s: it is resident, ratio, demote, promote, refuse or name", optarg);
			break;
		}
	}
	if (optind != argc)
		return report(STATUS_USAGE, "%s: top takes no argument", argv[optind]);
	if (cramcg_available(ctx))
		return report(STATUS_MISSING, "%s", cramcg_error(ctx));
	err = top_scan(&t);
	if (err) {
		top_free(&t);
		return report_error(ctx, err);
	}
	/* A terminal that cannot move its cursor gets lines, one refresh below the other */
	if (!batch && isatty(STDOUT_FILENO) && isatty(STDIN_FILENO) && strcmp(getenv("TERM") ?: "dumb", "dumb"))
		screen = newterm(NULL, stdout, stdin);
	if (screen) {
		on_screen(&t, iterations, delay);
		delscreen(screen);
	} else {
		in_batch(&t, iterations, delay);
	}
	top_free(&t);
	return 0;
}

const struct verb verb_top = {
	.name = "top", .args = "", .summary = "who moves pages now, live",
	.example = "cramcg top --batch -n 2 -d 10 --sort refuse",
	.options = options, .completes = "none", .run = run,
};
