// SPDX-License-Identifier: GPL-2.0-or-later
/* cramcg demote: have the cold memory of processes demoted now, and tell what came of it. */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <math.h>
#include <signal.h>
#include <string.h>
#include <sys/resource.h>
#include <time.h>

#include "pageout.h"

enum { O_RANGE = 256, O_COLD };
static const struct option_row options[] = {
	{ "range", O_RANGE, "A-B", "only these addresses, as in /proc/PID/maps" },
	{ "cold", O_COLD, "AGE", "only mappings not referenced for so long: 30s, 10m" },
	{ "dry-run", 'N', NULL, "show what would be asked for, ask for nothing" },
	{ "json", 'J', NULL, "print JSON; sizes in bytes" },
	{ 0 }
};

struct demotion {
	struct cramcg *ctx;
	const char *path;		/* of the cgroup */
	char *owner;			/* who counts for it */
	struct sample before, after;
	bool counted;			/* both are there */
	struct ranges wanted;
	struct process *list;
	size_t n;
	double cold;
	bool one, dry, json;		/* a single process was named */
};

static volatile sig_atomic_t stopped;

static void stop(int number)
{
	(void)number;
	stopped = 1;
}

static bool is_in(const struct mapping *m, const struct range *r)
{
	return m->from < r->to && r->from < m->to;
}

static bool is_wanted(const struct demotion *d, const struct mapping *m)
{
	for (size_t i = 0; i < d->wanted.n; i++)
		if (is_in(m, &d->wanted.list[i]))
			return true;
	return !d->wanted.n;
}

/* --- which processes ------------------------------------------------------------------ */

static int add_process(struct demotion *d, unsigned long pid)
{
	/* Who asks would bring its own memory back at once */
	if (!pid || (pid == (unsigned long)getpid() && !*cramcg_root(d->ctx)))
		return 0;
	if (!(d->n & (d->n - 1))) {
		struct process *more = reallocarray(d->list, d->n ? 2 * d->n : 1, sizeof(*more));

		if (!more)
			return -ENOMEM;
		d->list = more;
	}
	process_open(d->ctx, &d->list[d->n++], pid);
	return 0;
}

static int add_cgroup(const char *path, int dir, int depth, void *arg)
{
	int fd = openat(dir, "cgroup.procs", O_RDONLY | O_CLOEXEC), err = 0;
	_cleanup_fclose_ FILE *f = fd < 0 ? NULL : fdopen(fd, "r");
	unsigned long pid;

	(void)path, (void)depth;
	/* In a threaded cgroup it cannot be read; its processes are in one above */
	while (f && !err && fscanf(f, "%lu", &pid) == 1)
		err = add_process(arg, pid);
	return err;
}

static int find_processes(struct demotion *d, const char *name)
{
	struct rlimit files;
	unsigned long pid;
	int err;

	/* Two files are open for each */
	if (!getrlimit(RLIMIT_NOFILE, &files)) {
		files.rlim_cur = files.rlim_max;
		setrlimit(RLIMIT_NOFILE, &files);
	}
	d->one = parse_number(name, 999999999, &pid);
	err = d->one ? add_process(d, pid) : cramcg_walk(d->ctx, d->path, add_cgroup, d);
	if (err == -ENOMEM)
		return report(STATUS_FAILED, "out of memory");
	if (err)
		return report_error(d->ctx, err);
	return d->n ? 0 : report(STATUS_FAILED, "%s: there is no process in it", d->path);
}

/* --- what they have --------------------------------------------------------------------- */

static bool usable(const struct process *p)
{
	return !p->gone && !p->err;
}

/* false: a signal came */
static bool wait_cold(double age)
{
	struct timespec now, start;
	double past = 0;

	clock_gettime(CLOCK_MONOTONIC, &start);
	while (!stopped && past < age) {
		double step = fmin(age - past, 0.2);

		if (isatty(STDERR_FILENO))
			fprintf(stderr, "\rlooking for what is referenced: %.0f of %.0f s ", past, age);
		nanosleep(&(struct timespec) { .tv_nsec = step * 1e9 }, NULL);
		clock_gettime(CLOCK_MONOTONIC, &now);
		past = now.tv_sec - start.tv_sec + (now.tv_nsec - start.tv_nsec) / 1e9;
	}
	if (isatty(STDERR_FILENO))
		fputs("\r\033[K", stderr);
	return !stopped;
}

static int look(struct demotion *d)
{
	for (size_t i = 0; d->cold > 0 && i < d->n; i++)
		if (usable(&d->list[i]))
			process_clear_referenced(&d->list[i]);
	if (d->cold > 0 && !wait_cold(d->cold))
		return report(STATUS_PART, "interrupted: nothing was asked for");
	for (size_t i = 0; i < d->n; i++) {
		struct process *p = &d->list[i];

		if (!usable(p))
			continue;
		process_sum(p, &p->before);
		p->after = p->before;
		if (!process_look(p, d->cold > 0))
			process_select(p, &d->wanted);
	}
	return 0;
}

/* An address that nobody has is a mistake, and then nothing is done */
static int check_ranges(const struct demotion *d)
{
	for (size_t i = 0; i < d->wanted.n; i++) {
		const struct range *r = &d->wanted.list[i];
		bool found = false, known = true;

		for (size_t k = 0; k < d->n; k++) {
			known &= usable(&d->list[k]);
			for (size_t m = 0; m < d->list[k].smaps.n; m++)
				found |= is_in(&d->list[k].smaps.list[m], r);
		}
		if (!found && known)
			return report(STATUS_FAILED, "--range %jx-%jx: nothing is mapped there",
				      (uintmax_t)r->from, (uintmax_t)r->to);
	}
	return 0;
}

/* --- asking ------------------------------------------------------------------------------- */

static void tick(struct process *p)
{
	if (isatty(STDERR_FILENO))
		fprintf(stderr, "\r\033[Kdemoting: process %lu, %.0f %% ", p->pid,
			100.0 * p->advised / p->length);
}

static void demote(struct demotion *d)
{
	bool root = !d->owner[1];

	d->counted = !root && !sample_path(d->ctx, d->owner, READ_STAT, &d->before);
	for (size_t i = 0; i < d->n; i++) {
		struct process *p = &d->list[i];

		if (!usable(p) || !p->todo.n)
			continue;
		if (d->dry) {
			process_room(d->ctx, p);
			continue;
		}
		process_pageout(d->ctx, p, &stopped, tick);
		process_sum(p, &p->after);
	}
	if (!d->dry && isatty(STDERR_FILENO))
		fputs("\r\033[K", stderr);
	if (d->counted)
		d->counted = !sample_path(d->ctx, d->owner, READ_STAT, &d->after);
}

/* --- for people ------------------------------------------------------------------------------ */

__attribute__((format(printf, 2, 3)))
static void row(const char *name, const char *format, ...)
{
	_cleanup_free_ char *safe = NULL;
	va_list ap;

	va_start(ap, format);
	safe = printable_text(format, ap);
	va_end(ap);
	printf("  %-10s %s\n", name, safe ? safe : "out of memory");
}

static void row_change(const struct demotion *d, const char *name, uint64_t before, uint64_t after)
{
	char old[SIZE_TEXT], new[SIZE_TEXT];

	size_text(old, before, true);
	if (d->dry)
		row(name, "%s", before ? old : "0");
	else
		row(name, "%s -> %s", before ? old : "0", after ? size_text(new, after, true) : "0");
}

static const char *why_here(const struct demotion *d, const struct mapping *m)
{
	return m->rss && is_wanted(d, m) ? m->left_out : NULL;
}

/* Mappings of one kind together: a process can have thousands */
static void print_left_out(const struct demotion *d, const struct process *p)
{
	for (size_t i = 0; i < p->smaps.n; i++) {
		const char *why = why_here(d, &p->smaps.list[i]);
		uint64_t bytes = 0;
		char buf[SIZE_TEXT];
		size_t n = 0, k;

		/* Said before? */
		for (k = 0; why && k < i; k++)
			if (why_here(d, &p->smaps.list[k]) == why)
				why = NULL;
		for (k = i; why && k < p->smaps.n; k++) {
			if (why_here(d, &p->smaps.list[k]) != why)
				continue;
			bytes += p->smaps.list[k].rss;
			n++;
		}
		if (n)
			row("left out", "%s in %zu mapping%s: %s", size_text(buf, bytes, true), n,
			    n == 1 ? "" : "s", why);
	}
}

static void print_todo(const struct process *p)
{
	if (!p->todo.n)
		row("would ask", "for nothing: no such memory can be demoted");
	for (size_t i = 0; i < p->todo.n; i++) {
		const struct range *r = &p->todo.list[i];
		char buf[SIZE_TEXT];

		row(i ? "" : "would ask", "%jx-%jx: %s", (uintmax_t)r->from, (uintmax_t)r->to,
		    size_text(buf, r->most, true));
	}
}

static void print_process(const struct demotion *d, const struct process *p)
{
	_cleanup_free_ char *name = cramcg_printable(p->name);
	char buf[SIZE_TEXT];

	/* Of those that failed, end_status() tells */
	if (!p->gone && p->err && !p->advised)
		return;
	printf("%lu (%s)\n", p->pid, name ? name : "?");
	if (p->gone) {
		row("", "%s", process_words(ESRCH));
		return;
	}
	row_change(d, "memory", mapping_left(&p->before), mapping_left(&p->after));
	if (p->has_cram)
		row_change(d, "resident", p->before.cram, p->after.cram);
	row_change(d, "swap", p->before.swap, p->after.swap);
	if (d->dry)
		print_todo(p);
	else
		row("asked", "%s", p->asked ? size_text(buf, p->asked, true) : "for nothing: no such memory can be demoted");
	print_left_out(d, p);
	if (p->left_err)
		row("left", "from %jx on, not all was looked at: %s", (uintmax_t)p->left_at,
		    process_words(p->left_err));
	if (p->rule >= 0) {
		row("stopped", "%s: %s", counter_names[p->rule], refusal_words(p->rule)->means);
		row("", "to change that: %s", p->mend ? p->mend : "?");
	}
}

static uint64_t grown(const struct demotion *d, int counter)
{
	return d->after.counters[counter] - d->before.counters[counter];
}

static void print_counters(const struct demotion *d)
{
	_cleanup_free_ char *name = cramcg_printable(d->owner);
	char buf[SIZE_TEXT];
	uint64_t pages;

	if (!d->owner[1]) {
		puts("The root cgroup is charged for what is demoted, and does not count it.");
		return;
	}
	if (!d->counted)
		return;
	pages = grown(d, COUNTER_demote);
	printf("Counted by %s meanwhile, where others may have had a part:\n", name ? name : "?");
	row("demoted", "%ju pages, %s", (uintmax_t)pages, pages ? size_text(buf, pages * getpagesize(), true) : "0");
	for (int i = FIRST_REFUSAL; i < NR_COUNTERS; i++)
		if (grown(d, i)) {
			row("refused", "%ju pages by %s: %s", (uintmax_t)grown(d, i), counter_names[i],
			    refusal_words(i)->means);
			row("", "to change that: %s", refusal_words(i)->mend);
		}
}

static void print_text(const struct demotion *d)
{
	for (size_t i = 0; i < d->n; i++)
		print_process(d, &d->list[i]);
	if (!d->dry)
		print_counters(d);
}

/* --- for programs ------------------------------------------------------------------------------ */

static void json_text(const char *key, const char *text, const char *more)
{
	printf("\"%s\": ", key);
	if (text)
		json_string(stdout, text);
	else
		fputs("null", stdout);
	fputs(more, stdout);
}

static void json_state(const char *name, const struct process *p, const struct mapping *sum)
{
	printf("\"%s\": {", name);
	json_size(stdout, "memory_bytes", mapping_left(sum), ", ");
	json_size(stdout, "resident_bytes", p->has_cram ? sum->cram : UNKNOWN, ", ");
	json_size(stdout, "swap_bytes", sum->swap, "}, ");
}

static void json_mappings(const struct demotion *d, const struct process *p)
{
	const char *comma = "";

	fputs("\"mappings\": [", stdout);
	for (size_t i = 0; i < p->smaps.n; i++) {
		const struct mapping *m = &p->smaps.list[i];

		if (!m->rss || !is_wanted(d, m))
			continue;
		printf("%s\n      {\"from\": \"%jx\", \"to\": \"%jx\", ", comma, (uintmax_t)m->from, (uintmax_t)m->to);
		json_text("name", m->name, ", ");
		json_size(stdout, "rss_bytes", m->rss, ", ");
		json_size(stdout, "resident_bytes", m->cram, ", ");
		json_text("left_out", m->left_out, "}");
		comma = ",";
	}
	fputs("]}", stdout);
}

static void json_process(const struct demotion *d, const struct process *p)
{
	printf("    {\"pid\": %lu, ", p->pid);
	json_text("name", p->name, ", ");
	printf("\"ended\": %s, ", p->gone ? "true" : "false");
	json_text("failed", p->err ? process_words(p->err) : NULL, ", ");
	json_text("stopped_by", p->rule < 0 ? NULL : counter_names[p->rule], ", ");
	json_text("left_because", p->left_err ? process_words(p->left_err) : NULL, ",\n     ");
	json_size(stdout, "asked_bytes", p->asked, ", ");
	json_size(stdout, "length_bytes", p->length, ", ");
	json_size(stdout, "looked_at_bytes", p->advised, ",\n     ");
	json_state("before", p, &p->before);
	json_state("after", p, &p->after);
	json_mappings(d, p);
}

static void print_json(const struct demotion *d)
{
	fputs("{\n  ", stdout);
	json_text("cgroup", d->path, ", ");
	json_text("counted_by", d->counted ? d->owner : NULL, ", ");
	printf("\"dry_run\": %s,\n  \"processes\": [\n", d->dry ? "true" : "false");
	for (size_t i = 0; i < d->n; i++) {
		json_process(d, &d->list[i]);
		puts(i + 1 < d->n ? "," : "");
	}
	fputs("  ]", stdout);
	if (d->counted)
		printf(",\n  \"demote_pages\": %ju", (uintmax_t)grown(d, COUNTER_demote));
	for (int i = FIRST_REFUSAL; d->counted && i < NR_COUNTERS; i++)
		if (sample_has_counter(&d->after, i))
			printf(",\n  \"%s_pages\": %ju", counter_names[i], (uintmax_t)grown(d, i));
	puts("\n}");
}

/* --- the verb ---------------------------------------------------------------------------------- */

/* Of a unit a process may end meanwhile; and what was done of one that then fails is done */
static int end_status(const struct demotion *d)
{
	size_t bad = 0, part = 0, whole = 0;
	int err = 0;

	for (size_t i = 0; i < d->n; i++) {
		const struct process *p = &d->list[i];
		bool all = usable(p) && p->rule < 0 && (d->dry || p->advised == p->length);

		if (p->gone)
			continue;
		whole += all;
		part += !all && p->advised;
		bad += !all && !p->advised;
		if (p->err)
			report(0, "process %lu: %s: %s", p->pid, p->what, process_words(p->err));
		err = p->err ? p->err : err;
	}
	if (d->one && d->list->gone)
		return report(STATUS_FAILED, "process %lu: %s", d->list->pid, process_words(ESRCH));
	if (stopped) {
		report(0, "interrupted: what was demoted stays so");
		return STATUS_PART;
	}
	if (!bad && !part)
		return STATUS_OK;
	if (whole || part)
		return STATUS_PART;
	return err == ENOSYS ? STATUS_MISSING : STATUS_FAILED;
}

static int run_all(struct demotion *d, const char *name)
{
	int status = find_processes(d, name);

	if (!status && cramcg_owner(d->ctx, d->path, &d->owner))
		status = report_error(d->ctx, -EIO);
	if (!status)
		status = look(d);
	if (!status)
		status = check_ranges(d);
	if (status)
		return status;
	demote(d);
	if (d->json)
		print_json(d);
	else
		print_text(d);
	return end_status(d);
}

static int parse_options(struct demotion *d, int argc, char **argv)
{
	int c;

	while ((c = next_option(&verb_demote, argc, argv)) != -1) {
		struct range r = { 0 };

		if (c == 'N') {
			d->dry = true;
		} else if (c == 'J') {
			d->json = true;
		} else if (c == O_COLD) {
			if (!parse_duration(optarg, &d->cold))
				return report(STATUS_USAGE, "%s: a time is such as 30s, 10m, 1h", optarg);
		} else if (!parse_range(optarg, &r)) {
			return report(STATUS_USAGE, "--range %s: it is two addresses of pages in hexadecimal, such as 7f0000000000-7f0000400000",
				      optarg);
		} else if (!add_range(&d->wanted, &r)) {
			return report(STATUS_FAILED, "out of memory");
		}
	}
	if (optind + 1 != argc)
		return report(STATUS_USAGE, "which process, unit or cgroup? See cramcg demote --help");
	return 0;
}

static int run(struct cramcg *ctx, int argc, char **argv)
{
	struct sigaction action = { .sa_handler = stop }, was_int, was_term;
	struct demotion d = { .ctx = ctx };
	_cleanup_free_ char *path = NULL;
	int status = parse_options(&d, argc, argv);

	if (!status && cramcg_available(ctx))
		status = report(STATUS_MISSING, "%s", cramcg_error(ctx));
	if (!status)
		status = find_cgroup(ctx, argv[optind], &path, NULL);
	if (!status) {
		d.path = path;
		sigaction(SIGINT, &action, &was_int);
		sigaction(SIGTERM, &action, &was_term);
		status = run_all(&d, argv[optind]);
		sigaction(SIGINT, &was_int, NULL);
		sigaction(SIGTERM, &was_term, NULL);
	}
	for (size_t i = 0; i < d.n; i++)
		process_close(&d.list[i]);
	free(d.list);
	free(d.owner);
	free(d.wanted.list);
	return status;
}

const struct verb verb_demote = {
	.name = "demote", .args = "PID|UNIT|CGROUP", .summary = "have the memory of processes demoted now",
	.example = "cramcg demote redis.service --cold 5m",
	.options = options, .completes = "cgroup", .run = run,
};
