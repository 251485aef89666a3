// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * cramcg advise: limits for a cgroup, from what it does while we look.  Each proposal is
 * one function that has a rule, a number, and a sentence that says why.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <math.h>
#include <signal.h>
#include <string.h>
#include <time.h>

#include "cramcg.h"

enum { O_FOR = 256, O_EVERY, O_APPLY };
static const struct option_row options[] = {
	{ "for", O_FOR, "TIME", "how long to look: 30s, 10m, 1h; 1m" },
	{ "every", O_EVERY, "TIME", "between two looks; 1s" },
	{ "apply", O_APPLY, NULL, "set what is proposed, all or nothing" },
	{ "json", 'J', NULL, "print JSON" },
	{ 0 }
};

#define PAGE		4096.0
#define MIB		1048576.0
/* An upgraded page that nobody writes to is revoked after two to three seconds */
#define RECYCLE_SECONDS	3
/* Evicting to swap begins with the next answer of the device, three times a second */
#define REACT_SECONDS	2

/* What was seen, one value a look */
struct series {
	double *values;
	size_t n;
};

struct advice {
	struct cramcg *ctx;
	const char *path;
	struct series resident, ratio, demoted, written, writable;
	struct sample first, last;
	double seconds;
	int node;			/* the one with most of its pages; -1: none */
	struct cramcg_plan *plan;
	bool json;
	int proposals;
};

static volatile sig_atomic_t stopped;

static void stop(int number)
{
	(void)number;
	stopped = 1;
}

/* --- looking ------------------------------------------------------------------------- */

static bool push(struct series *s, double value)
{
	double *more = s->n & (s->n - 1) ? s->values :
		       reallocarray(s->values, s->n ? 2 * s->n : 1, sizeof(*more));

	if (!more)
		return false;
	s->values = more;
	s->values[s->n++] = value;
	return true;
}

static int ascending(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;

	return x < y ? -1 : x > y;
}

/* The value that so many percent of the looks were not above */
static double percentile(struct series *s, int percent)
{
	if (!s->n)
		return 0;
	qsort(s->values, s->n, sizeof(*s->values), ascending);
	return s->values[(s->n - 1) * percent / 100];
}

static bool note(struct advice *a, const struct sample *before, const struct sample *now, double dt)
{
	double ratio = sample_ratio(now);
	const uint64_t *old = before->counters, *new = now->counters;

	return push(&a->resident, now->current) &&
	       push(&a->writable, now->writable < UNKNOWN ? now->writable : 0) &&
	       (ratio <= 0 || push(&a->ratio, ratio)) &&
	       push(&a->demoted, (new[COUNTER_demote] - old[COUNTER_demote]) / dt) &&
	       push(&a->written, (new[COUNTER_promote_write] - old[COUNTER_promote_write]) / dt);
}

static double now(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return t.tv_sec + t.tv_nsec / 1e9;
}

static int look(struct advice *a, double time, double every)
{
	struct sigaction action = { .sa_handler = stop }, was;
	struct timespec pause = { every, (every - (time_t)every) * 1e9 };
	double start = now(), last = start;
	struct sample s;
	int err = sample_path(a->ctx, a->path, READ_ALL, &a->first);

	a->last = a->first;
	/* Ctrl-C: advise from what was seen so far */
	sigaction(SIGINT, &action, &was);
	while (!err && !stopped && now() - start < time) {
		nanosleep(&pause, NULL);
		err = sample_path(a->ctx, a->path, READ_ALL, &s);
		if (err)
			break;
		if (!note(a, &a->last, &s, fmax(now() - last, 0.001)))
			err = -ENOMEM;
		last = now();
		a->last = s;
		if (isatty(STDERR_FILENO))
			fprintf(stderr, "\rlooking: %.0f of %.0f s ", last - start, time);
	}
	if (isatty(STDERR_FILENO))
		fputs("\r\033[K", stderr);
	sigaction(SIGINT, &was, NULL);
	a->seconds = now() - start;
	return err;
}

static void most_pages(int node, uint64_t bytes, void *arg)
{
	uint64_t *best = arg;

	if (bytes <= best[1])
		return;
	best[0] = node;
	best[1] = bytes;
}

static void find_main_node(struct advice *a)
{
	_cleanup_free_ char *text = NULL;
	uint64_t best[2] = { 0, 0 };

	a->node = -1;
	if (cramcg_read(a->ctx, a->path, "cram.numa_stat", &text))
		return;
	cramcg_parse_numa(text, "resident", most_pages, best);
	if (best[1])
		a->node = best[0];
}

/* --- proposing -------------------------------------------------------------------------- */

__attribute__((format(printf, 5, 6)))
static int propose(struct advice *a, int object, const char *key, double bytes, const char *why, ...)
{
	_cleanup_free_ char *text = NULL, *value = NULL;
	char number[16], human[SIZE_TEXT];
	struct cramcg_setting s = { .key = key };
	uint64_t rounded = ceil(bytes / MIB) * MIB;
	va_list ap;
	int err;

	va_start(ap, why);
	err = vasprintf(&text, why, ap);
	va_end(ap);
	if (err < 0 || asprintf(&value, "%ju", (uintmax_t)rounded) < 0)
		return report(STATUS_FAILED, "out of memory");
	s.value = value;
	snprintf(number, sizeof(number), "%d", a->node);
	err = cramcg_plan_add(a->plan, object, object == 'n' ? number : a->path, &s);
	if (err)
		return report_error(a->ctx, err);
	if (a->json) {
		printf("%s\n    {\"object\": \"%s\", \"key\": \"%s\", \"value_bytes\": %s, \"why\": ",
		       a->proposals++ ? "," : "", object == 'n' ? "node" : "cgroup", key, value);
		json_string(stdout, text);
		fputs("}", stdout);
	} else {
		printf("  %s%s = %s\n      %s\n", object == 'n' ? "of the node: " : "", key,
		       size_text(human, rounded, true), text);
	}
	return 0;
}

static uint64_t grown(const struct advice *a, enum counter counter)
{
	return a->last.counters[counter] - a->first.counters[counter];
}

static int propose_max(struct advice *a)
{
	uint64_t demoted = grown(a, COUNTER_demote), back = grown(a, COUNTER_promote_write);
	uint64_t refused = grown(a, COUNTER_refuse_max);
	double high = percentile(&a->resident, 95), middle = percentile(&a->resident, 50);
	char buf[SIZE_TEXT];

	if (demoted >= 256 && back > demoted / 2)
		return propose(a, 'c', "max", middle,
			       "%ju of %ju demoted pages came back by a write, so they are not cold: what was resident half of the time, no more",
			       (uintmax_t)back, (uintmax_t)demoted);
	if (refused)
		return propose(a, 'c', "max", fmax(high, a->last.max < UNKNOWN ? a->last.max : 0) * 1.25,
			       "%ju pages were refused by refuse_max meanwhile: a quarter more than now", (uintmax_t)refused);
	return propose(a, 'c', "max", fmax(high * 1.25, MIB),
		       "%s were resident in 95 of 100 looks: a quarter above that, so that a mistake does not fill the device",
		       size_text(buf, high, true));
}

static int propose_low(struct advice *a)
{
	char buf[SIZE_TEXT];
	double steady = percentile(&a->resident, 10);

	return propose(a, 'c', "low", floor(steady / MIB) * MIB,
		       "in 90 of 100 looks at least %s were resident: what is always there stays when a node is short",
		       size_text(buf, steady, true));
}

/* What is written again and again is what is written within the time of recycling */
static int propose_budget(struct advice *a)
{
	double rate = percentile(&a->written, 95), writable = percentile(&a->writable, 95);
	char buf[SIZE_TEXT];

	if (rate < 1 && !writable)
		return propose(a, 'c', "writable_budget", 0,
			       "less than one page a second was promoted by a write: none is needed");
	return propose(a, 'c', "writable_budget", writable + rate * RECYCLE_SECONDS * PAGE,
		       "%s were writable, %.0f pages a second were promoted by a write, and a page that is not written stays upgraded for %d seconds",
		       size_text(buf, writable, true), rate, RECYCLE_SECONDS);
}

static int propose_watermark(struct advice *a)
{
	double rate = percentile(&a->demoted, 95), ratio = percentile(&a->ratio, 10);
	double cells = rate * PAGE / (ratio > 0 ? ratio : 1) * REACT_SECONDS;
	uint64_t low, physical;

	if (a->node < 0)
		return 0;
	low = node_size(a->ctx, a->node, "low_bytes");
	physical = node_size(a->ctx, a->node, "physical_bytes");
	if (low >= UNKNOWN || physical >= UNKNOWN)
		return 0;
	/* Not so much that the device would be of no use */
	cells = fmin(cells, physical / 2.0);
	if (cells <= low)
		return 0;
	return propose(a, 'n', "low_bytes", cells,
		       "%.0f pages a second were demoted, at %.2f to 1 or worse in one of ten looks: what that takes in %d seconds has to be free when eviction begins",
		       rate, ratio > 0 ? ratio : 1, REACT_SECONDS);
}

static int propose_all(struct advice *a)
{
	int status = propose_max(a);

	if (!status)
		status = propose_low(a);
	if (!status)
		status = propose_budget(a);
	if (!status)
		status = propose_watermark(a);
	return status;
}

/* --- the verb ------------------------------------------------------------------------------ */

static int advise(struct advice *a, double time, double every, bool apply)
{
	_cleanup_free_ char *name = cramcg_printable(a->path);
	int err = look(a, time, every), status;

	if (err == -ENOENT)
		return report(STATUS_FAILED, "%s: cram is not enabled for this cgroup, or it has gone", a->path);
	if (err || (err = cramcg_plan_new(a->ctx, &a->plan)))
		return report_error(a->ctx, err);
	if (!a->resident.n)
		return report(STATUS_PART, "%s: nothing was seen", a->path);
	find_main_node(a);
	if (a->json) {
		fputs("{\"cgroup\": ", stdout);
		json_string(stdout, a->path);
		printf(", \"seconds\": %.0f, \"looks\": %zu, \"ratio\": {\"p10\": %.2f, \"p50\": %.2f, \"p90\": %.2f}, \"proposals\": [",
		       a->seconds, a->resident.n, percentile(&a->ratio, 10), percentile(&a->ratio, 50),
		       percentile(&a->ratio, 90));
	} else {
		printf("%s, from %zu looks in %.0f s; compression %.2f to %.2f, mostly %.2f to 1:\n", name ? name : "?",
		       a->resident.n, a->seconds, percentile(&a->ratio, 10), percentile(&a->ratio, 90),
		       percentile(&a->ratio, 50));
	}
	status = propose_all(a);
	if (a->json)
		puts("\n]}");
	if (status || !apply)
		return status;
	err = cramcg_plan_commit(a->plan);
	return err ? report_error(a->ctx, err) : settle_plan(a->ctx, a->plan);
}

static int run(struct cramcg *ctx, int argc, char **argv)
{
	struct advice a = { .ctx = ctx };
	_cleanup_free_ char *path = NULL;
	double time = 60, every = 1;
	bool apply = false;
	int c, status;

	while ((c = next_option(&verb_advise, argc, argv)) != -1) {
		if (c == 'J')
			a.json = true;
		else if (c == O_APPLY)
			apply = true;
		else if (!parse_duration(optarg, c == O_FOR ? &time : &every))
			return report(STATUS_USAGE, "%s: a time is such as 30s, 10m, 1h", optarg);
	}
	if (optind + 1 != argc)
		return report(STATUS_USAGE, "which cgroup? See cramcg advise --help");
	if (cramcg_available(ctx))
		return report(STATUS_MISSING, "%s", cramcg_error(ctx));
	status = find_cgroup(ctx, argv[optind], &path, NULL);
	if (status)
		return status;
	a.path = path;
	status = advise(&a, time, every, apply);
	cramcg_plan_free(a.plan);
	free(a.resident.values);
	free(a.ratio.values);
	free(a.demoted.values);
	free(a.written.values);
	free(a.writable.values);
	return status;
}

const struct verb verb_advise = {
	.name = "advise", .args = "CGROUP|UNIT|PID", .summary = "limits for a cgroup, from what it does meanwhile",
	.example = "cramcg advise /tenants/a --for 10m",
	.options = options, .completes = "cgroup", .run = run,
};
