/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What the verbs of cramcg share.  One file per verb; this is the small core. */
#ifndef CRAMCG_H
#define CRAMCG_H

#include <assert.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "../lib/libcramcg.h"
#include "../lib/util.h"

#define CRAMCG_VERSION	"1.0"

static inline void close_file(FILE **f) { if (*f) fclose(*f); }
#define _cleanup_fclose_ __attribute__((cleanup(close_file)))
#define ARRAY_SIZE(a)	(sizeof(a) / sizeof(*(a)))

/* Exit status, as cramcg(8) has it */
enum {
	STATUS_OK,
	STATUS_FAILED,
	STATUS_USAGE,
	STATUS_MISSING,		/* not available on this machine */
	STATUS_PART,		/* EAGAIN, EBUSY: in part */
};

/* --- verbs and their options (options.c) ---------------------------------- */

/* One table for getopt_long(), --help, the manual page and completion */
struct option_row {
	const char *name;
	int letter;		/* above 255: no short form */
	const char *arg;	/* NULL: takes none */
	const char *help;
};

struct column;
struct verb {
	const char *name;
	const char *args;
	const char *summary;
	const char *example;
	const struct option_row *options;
	const char *completes;	/* what an argument is: cgroup node file none */
	const struct column *columns;
	size_t nr_columns;
	int (*run)(struct cramcg *ctx, int argc, char **argv);
};

extern const struct verb verb_list, verb_show, verb_set, verb_run, verb_watch, verb_nodes,
	verb_node, verb_drain, verb_apply, verb_dump, verb_doctor, verb_metrics,
	verb_reclaim, verb_demote, verb_top, verb_advise, verb_enable, verb_apply_unit;

extern const struct verb *const verbs[];
const struct verb *find_verb(const char *name);
int next_option(const struct verb *v, int argc, char **argv);
void verb_help(const struct verb *v, FILE *f);
void dump_options(FILE *f);

/* --- messages (report.c) --------------------------------------------------- */

/* "cramcg: ..." on stderr; returns its first argument */
int report(int status, const char *format, ...) __attribute__((format(printf, 2, 3)));
/* The same with what the library says of the call that returned err */
int report_error(struct cramcg *ctx, int err);
int status_of(int err);
/* The text, fit to be printed, to be freed; NULL: no memory */
char *printable_text(const char *format, va_list ap) __attribute__((format(printf, 1, 0)));
/* Did all reach stdout? Not that of a closed pipe: that ends the program in silence */
int close_stdout(int status);

/* --- units (units.c) --------------------------------------------------------- */

#define SIZE_TEXT	32
/* "1.5G", or exact bytes; words as they are */
const char *size_text(char buf[SIZE_TEXT], uint64_t bytes, bool human);
bool parse_duration(const char *text, double *seconds);
bool parse_number(const char *text, unsigned long most, unsigned long *number);
int terminal_width(void);

/* --- tables (table.c) ---------------------------------------------------------- */

enum column_kind { COLUMN_TEXT, COLUMN_NAME, COLUMN_SIZE, COLUMN_NUMBER, COLUMN_RATIO };
struct column {
	const char *name;	/* "RESIDENT" */
	const char *json;	/* "resident_bytes" */
	enum column_kind kind;
	const char *help;
};
struct table;
struct table_style {
	bool json, tree, noheadings, raw, bytes, human;
};
#define TABLE_OPTIONS \
	{ "json", 'J', NULL, "print JSON; sizes in bytes" }, \
	{ "bytes", 'b', NULL, "print sizes in bytes" }, \
	{ "human", 'H', NULL, "print sizes with K, M, G, even into a pipe" }, \
	{ "noheadings", 'n', NULL, "no line of headings" }, \
	{ "raw", 'r', NULL, "fields separated by one space" }, \
	{ "output", 'o', "COLUMNS", "which columns, separated by commas; +COLUMN adds one" }

bool table_option(struct table_style *style, int option);
/* "A,B" or "+A" to indices of columns; -1 and a message for what is none */
int table_columns(const struct column *all, size_t n, const char *text, int *out);
struct table *table_new(const char *name, const struct column *all, const int *wanted,
			int n, const struct table_style *style);
void *table_line(struct table *t, void *parent);
void table_text(struct table *t, void *line, int i, const char *text);
void table_size(struct table *t, void *line, int i, uint64_t bytes);
void table_number(struct table *t, void *line, int i, uint64_t number);
void table_ratio(struct table *t, void *line, int i, double ratio);
void table_print(struct table *t);

/* JSON that is no table */
void json_string(FILE *f, const char *text);
void json_size(FILE *f, const char *key, uint64_t bytes, const char *more);

/* --- what a cgroup says (sample.c) --------------------------------------------- */

#define COUNTERS(X) \
	X(demote) X(upgrade) X(promote_write) X(promote_hot) X(promote_reclaim) \
	X(promote_forced) X(writeback) X(revoke) X(recycle) X(promote_hot_refused) \
	X(refuse_off) X(refuse_memcg) X(refuse_right) X(refuse_max) X(refuse_state) \
	X(refuse_room) X(refuse_page) X(refuse_content) X(refuse_compressed)
#define COUNTER_ENUM(name)	COUNTER_##name,
enum counter { COUNTERS(COUNTER_ENUM) NR_COUNTERS, FIRST_REFUSAL = COUNTER_refuse_off };
extern const char *const counter_names[NR_COUNTERS];
#define NR_REFUSALS	(NR_COUNTERS - FIRST_REFUSAL)
static_assert(NR_COUNTERS <= 32, "struct sample has a bit for each");

#define UNKNOWN		(UINT64_MAX - 3)	/* the file is not there */
struct sample {
	uint64_t id;			/* of the directory: another cgroup has another */
	uint64_t current, peak, max, low, page_max, writable, budget, effective;
	uint64_t compressed, compressed_max, compressed_low, estimate, readonly;
	uint64_t counters[NR_COUNTERS];	/* 0 where the kernel has no such counter */
	uint32_t counted;		/* a bit for each that it has */
	char nodes[64];			/* cram.nodes.effective */
	char allowed[64];		/* cram.nodes */
	char node_max[128];
};
enum {
	READ_USAGE = 1,			/* what is writable; cells, where the kernel tells */
	READ_LIMITS = 2,		/* all that can be set */
	READ_STAT = 4,
	READ_NODES = 8,
	READ_PEAK = 16,
	READ_MAX = 32,			/* of the limits only this, */
	READ_BUDGET = 64,		/* and this */
	READ_SETTINGS = 128,		/* the limits where nothing is resident */
	READ_ID = 256,
	READ_ALL = READ_USAGE | READ_LIMITS | READ_STAT | READ_NODES | READ_PEAK | READ_BUDGET | READ_ID,
};
/* false: cram is not enabled there */
bool sample_read(int dir, unsigned int what, struct sample *s);
bool sample_read_at(int dir, const char *path, unsigned int what, struct sample *s);
/* n of them, on all processors; current is UNKNOWN where cram is not enabled */
void sample_read_many(int dir, unsigned int what, size_t n, const char *(*path)(size_t, void *),
		      struct sample *(*sample)(size_t, void *), void *arg);
void sample_parse_stat(const char *text, struct sample *s);
void sample_blank(struct sample *s);
bool sample_has_settings(const struct sample *s);
bool sample_has_counter(const struct sample *s, int counter);
uint64_t sample_refusals(const struct sample *s);
/* 0 when nothing is resident, or nothing known */
double sample_ratio(const struct sample *s);
/* What a budget comes to, below a parent with this one (UNKNOWN: no number above) */
uint64_t budget_below(uint64_t parent, uint64_t own);
/* What the ancestors of path have for it; UNKNOWN: no number */
uint64_t budget_above(struct cramcg *ctx, const char *path);
int sample_path(struct cramcg *ctx, const char *path, unsigned int what, struct sample *s);

/* A file below the root, such as "proc/swaps"; NULL: it is not there */
char *read_root_file(struct cramcg *ctx, const char *file);

/* --- the last look (look.c) ------------------------------------------------------ */

struct look;
struct look *look_load(struct cramcg *ctx);
/* Is there anything to find? */
bool look_has_old(const struct look *l);
/* Counters of refusals at the last look; NULL: never seen */
const uint64_t *look_find(const struct look *l, uint64_t id, const char *path);
void look_note(struct look *l, const char *path, const struct sample *s);
void look_save(struct look *l);
void look_free(struct look *l);
int look_parse(struct look *l, const char *text, size_t len);
struct look *look_new(void);

/* --- refusals in words (refusal.c) ------------------------------------------------- */

struct refusal { const char *means, *mend; };
const struct refusal *refusal_words(enum counter counter);

/* --- what binds (bound.c) ------------------------------------------------------------- */

/* An ancestor, or the cgroup itself, and what it leaves */
struct bound {
	char *path;		/* NULL: no limit, here or above */
	uint64_t limit, usage;
};
struct bounds {
	struct bound resident, budget, cells;
};
void find_bounds(struct cramcg *ctx, const char *path, struct bounds *b);
void free_bounds(struct bounds *b);
/*
 * What stands against one more page now, in the kernel's order, as far as it can be seen;
 * -1: nothing is known to.  Without swap reclaim looks at no page then, so no counter says
 * it.  nodes: cram.nodes.effective, NULL for the root.
 */
int rule_now(struct cramcg *ctx, const char *nodes, const struct bounds *b);
/* Demotion, for the whole machine? */
bool switched_off(struct cramcg *ctx);
/* What would change a refusal; the caller frees it */
char *mend_words(int rule, const struct bounds *b);

/* --- names (unit.c) ------------------------------------------------------------------ */

/* CGROUP, UNIT or PID to a path; reports why not, and returns an exit status then */
int find_cgroup(struct cramcg *ctx, const char *name, char **path, char **unit);
bool is_unit_name(const char *name);

/* systemd answers nobody while it reloads, and that takes its time on a busy host */
#define BUS_TIMEOUT_USEC	(180 * 1000000ULL)

/* Node numbers on the command line: an exit status, after a message */
int find_node(struct cramcg *ctx, const char *text, int *node);
/* A file of a node; UNKNOWN when it is not there */
uint64_t node_size(struct cramcg *ctx, int node, const char *file);

/* --- waiting (wait.c) ------------------------------------------------------------------ */

/*
 * Run slow() in a child, and tell on a terminal how usage() comes down meanwhile.  A
 * signal ends the child, and with it the write; what is in force stays so.  Returns an
 * exit status.
 */
struct slow {
	struct cramcg *ctx;
	int (*run)(struct slow *s);
	uint64_t (*usage)(struct slow *s);
	const char *what;		/* "evicting", for the line of progress */
	const char *after_signal;	/* what holds then */
	const char *path, *key;
	int node;
	uint64_t bytes, target;
	const char *to;
};
int wait_for(struct slow *s);

/*
 * The cgroup of a path, with what is above it: 0 or a negative errno, and the directory
 * that could not be made, which the caller frees
 */
int make_cgroup(struct cramcg *ctx, const char *path, char **failed);
/* "key=value" arguments; the strings of argv are cut at "=" */
bool split_settings(int argc, char **argv, struct cramcg_setting *s);
/* Prints the changes of a plan as lines or JSON; returns how many differ */
size_t print_plan(struct cramcg_plan *plan, bool json);
int settle_plan(struct cramcg *ctx, struct cramcg_plan *plan);

/* Processes with pages on a node, the most first; prints up to n */
void print_holders(struct cramcg *ctx, int node, size_t n, FILE *f);

#endif
