// SPDX-License-Identifier: GPL-2.0
/*
 * All files of the cgroup controller, of the node and of the debugging aids, with
 * strings at random, by several writers at the same time, while a process has memory
 * on the node. A reference says of each string what becomes of it: refused with which
 * errno, or what the file reads afterwards. When the writers pause, each file has to
 * read what one of them wrote last, and the walker and the content have to be right.
 *
 * SEED= does the same writes again, T= has more of them.
 */
#include "util.h"

#include <ctype.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#define WRITERS		4
#define ROUNDS		3	/* at T=1 */
#define ROUND_SECONDS	2
#define PAGES		1024UL
#define LONGEST		5000
#define READS_LONGEST	64
#define LIMIT		120	/* seconds for the scenario */

static uint64_t fuzz_seed;

/* --- the reference ---------------------------------------------------------------- */

/* What may become of a string. */
struct expect {
	int err[4];		/* any of these; none: it is accepted */
	bool may_pass;		/* with errors: or it is accepted, as things are */
	bool shown;		/* accepted, the file reads @reads */
	char reads[READS_LONGEST];
};

static void refused(struct expect *e, int err, int or_err)
{
	e->err[0] = err;
	e->err[1] = or_err;
}

__attribute__((format(printf, 2, 3)))
static void shown(struct expect *e, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(e->reads, sizeof(e->reads), fmt, ap);
	va_end(ap);
	e->shown = true;
}

/* As the kernel has it: also a space that does not break */
static bool space(char c)
{
	return c == ' ' || (c >= '\t' && c <= '\r') || (unsigned char)c == 0xa0;
}

static char *strip(char *s)
{
	size_t len;

	while (space(*s))
		s++;
	for (len = strlen(s); len && space(s[len - 1]); len--)
		s[len - 1] = '\0';
	return s;
}

/* Decimal digits and nothing else; false as well for what has no room in 64 bits. */
static bool digits(const char *s, uint64_t *n, bool *too_large)
{
	*too_large = false;
	*n = 0;
	if (!*s)
		return false;
	for (; *s; s++) {
		if (*s < '0' || *s > '9')
			return false;
		if (*n > (UINT64_MAX - (*s - '0')) / 10) {
			*too_large = true;
			return false;
		}
		*n = *n * 10 + (*s - '0');
	}
	return true;
}

/* "max", or digits and at most one of K, M and G. */
static bool bytes(const char *s, uint64_t *n)
{
	static const char units[] = "kKmMgG";
	size_t len = strlen(s);
	unsigned int shift = 0;
	char number[LONGEST];
	const char *unit;
	bool large;

	*n = UINT64_MAX;
	if (!strcmp(s, "max"))
		return true;
	strcpy(number, s);
	unit = len ? strchr(units, s[len - 1]) : NULL;
	if (unit && *unit) {
		shift = 10 * ((unit - units) / 2 + 1);
		number[len - 1] = '\0';
	}
	if (!digits(number, n, &large) || *n > UINT64_MAX >> shift)
		return false;
	*n <<= shift;
	return true;
}

/* What a limit in whole pages reads. */
static void shown_pages(struct expect *e, uint64_t n)
{
	if (n / PAGE >= INT64_MAX / PAGE)
		shown(e, "max\n");
	else
		shown(e, "%llu\n", (unsigned long long)(n / PAGE * PAGE));
}

/* The control: a reference that rounds up. */
static bool wrong_reference;

static void ref_pages(char *s, struct expect *e)
{
	uint64_t n;

	if (!bytes(strip(s), &n))
		return refused(e, EINVAL, 0);
	if (wrong_reference && n < UINT64_MAX - PAGE)
		n += PAGE - 1;
	shown_pages(e, n);
}

static void ref_page_max(char *s, struct expect *e)
{
	uint64_t n;

	if (!bytes(strip(s), &n))
		return refused(e, EINVAL, 0);
	if (n == UINT64_MAX)
		shown(e, "max\n");
	else
		shown(e, "%llu\n", (unsigned long long)n);
}

static void ref_budget(char *s, struct expect *e)
{
	if (!strcmp(strip(s), "inherit"))
		return shown(e, "inherit\n");
	ref_pages(s, e);
}

/* "N2 64M" */
static void ref_node_max(char *s, struct expect *e)
{
	uint64_t nid, n;
	bool large;
	char *value;

	s = strip(s);
	value = strpbrk(s, " \t");
	if (!value || *s != 'N')
		return refused(e, EINVAL, 0);
	*value++ = '\0';
	/* A number of a node that has no room is none, or of no node */
	if (!digits(s + 1, &nid, &large) || nid > UINT32_MAX || !bytes(strip(value), &n))
		return refused(e, EINVAL, 0);
	if (nid != (uint64_t)cram_node())
		return refused(e, ENODEV, 0);
	shown_pages(e, n);
	if (!strcmp(e->reads, "max\n"))
		*e->reads = '\0';
	else {
		n = strtoull(e->reads, NULL, 10);
		shown(e, "N%d %llu\n", cram_node(), (unsigned long long)n);
	}
}

/* Lists as cpuset.mems has them: of what is more than numbers and ranges, anything. */
static void ref_nodes(char *s, struct expect *e)
{
	char *word, *save;
	bool others = false;

	s = strip(s);
	if (!*s)
		return shown(e, "\n");
	if (!strcmp(s, "none"))
		return shown(e, "none\n");
	e->err[0] = EINVAL;
	e->err[1] = ENODEV;
	e->err[2] = ERANGE;
	if (s[strspn(s, "0123456789,")]) {
		e->may_pass = strspn(s, "0123456789,-:/ \t\n\v\f\r\xa0" "ALNaln") == strlen(s);
		return;
	}
	for (word = strtok_r(s, ",", &save); word; word = strtok_r(NULL, ",", &save)) {
		if (strlen(word) > 9 || atoi(word) != cram_node())
			others = true;
		e->may_pass = true;
	}
	if (others || !e->may_pass) {
		e->may_pass = false;
		return;
	}
	memset(e->err, 0, sizeof(e->err));
	e->may_pass = false;
	shown(e, "%d\n", cram_node());
}

/* "64M", "64M to=swap" */
static void ref_reclaim(char *s, struct expect *e)
{
	char *option;
	uint64_t n;

	s = strip(s);
	option = strpbrk(s, " \t");
	if (option) {
		*option++ = '\0';
		option = strip(option);
		if (strcmp(option, "to=swap") && strcmp(option, "to=dram"))
			return refused(e, EINVAL, 0);
	}
	if (!bytes(s, &n) || n / PAGE >= INT64_MAX / PAGE)
		return refused(e, EINVAL, 0);
	e->err[0] = EAGAIN;
	e->may_pass = true;
}

static void ref_anything(char *s, struct expect *e)
{
}

static void ref_read_only(char *s, struct expect *e)
{
	refused(e, EINVAL, EACCES);
}

/* A file of sysfs: no spaces, one newline at the end, a plus sign if somebody likes. */
static char *no_newline(char *s)
{
	size_t len = strlen(s);

	if (len && s[len - 1] == '\n')
		s[len - 1] = '\0';
	return s;
}

static bool plain(char *s, uint64_t *n, struct expect *e)
{
	bool large;

	s = no_newline(s);
	if (digits(s + (*s == '+'), n, &large))
		return true;
	refused(e, EINVAL, large ? ERANGE : 0);
	return false;
}

static void ref_number(char *s, struct expect *e)
{
	uint64_t n;

	if (plain(s, &n, e))
		shown(e, "%llu\n", (unsigned long long)n);
}

static void ref_lease(char *s, struct expect *e)
{
	uint64_t n;

	if (!plain(s, &n, e))
		return;
	if (n >= 100 && n <= 60000)
		shown(e, "%llu\n", (unsigned long long)n);
	else
		refused(e, EINVAL, n > UINT32_MAX ? ERANGE : 0);
}

/* Up to what others have set meanwhile. */
static void ref_watermark(char *s, struct expect *e)
{
	ref_number(s, e);
	if (e->shown) {
		refused(e, EINVAL, 0);
		e->may_pass = strtoull(e->reads, NULL, 10) <= (uint64_t)node_number("physical_bytes");
	}
}

/* Asks the device, which says no in any way. */
#define FROM_DEVICE	-1

static void ref_reserve(char *s, struct expect *e)
{
	ref_watermark(s, e);
	if (e->may_pass)
		refused(e, FROM_DEVICE, 0);
}

static void ref_or_max(char *s, struct expect *e)
{
	if (!strcmp(no_newline(s), "max"))
		return shown(e, "max\n");
	ref_number(s, e);
	if (e->shown && !strcmp(e->reads, "18446744073709551615\n"))
		shown(e, "max\n");
}

static void ref_node_budget(char *s, struct expect *e)
{
	uint64_t n;

	if (!strcmp(no_newline(s), "auto"))
		return shown(e, "auto\n");
	if (plain(s, &n, e))
		shown(e, "%llu\n", (unsigned long long)(n / PAGE * PAGE));
}

static void ref_state(char *s, struct expect *e)
{
	s = no_newline(s);
	if (!strcmp(s, "offline")) {
		refused(e, EBUSY, 0);
		e->may_pass = true;
	} else if (!strcmp(s, "open")) {
		refused(e, FROM_DEVICE, 0);
		e->may_pass = true;
	} else {
		refused(e, EINVAL, 0);
	}
}

static void ref_bool(char *s, struct expect *e)
{
	if (*s && strchr("yYtT1", *s))
		shown(e, "1\n");
	else if (*s && strchr("nNfF0", *s))
		shown(e, "0\n");
	else if ((*s == 'o' || *s == 'O') && s[1] && strchr("nN", s[1]))
		shown(e, "1\n");
	else if ((*s == 'o' || *s == 'O') && s[1] && strchr("fF", s[1]))
		shown(e, "0\n");
	else
		refused(e, EINVAL, 0);
}

/*
 * What breaks the kernel on purpose, or the device: only strings that are refused, those
 * without a digit and without a name.
 */
static void ref_breaks(char *s, struct expect *e)
{
	refused(e, EINVAL, ERANGE);
	e->err[2] = ENODEV;
}

/* --- the files -------------------------------------------------------------------- */

enum { IN_CGROUP, IN_NODE, IN_DEBUGFS, ELSEWHERE };

static const struct file {
	const char *name;
	int where;
	void (*reference)(char *s, struct expect *e);
} files[] = {
	{ "cram.max", IN_CGROUP, ref_pages },
	{ "cram.low", IN_CGROUP, ref_pages },
	{ "cram.page.max", IN_CGROUP, ref_page_max },
	{ "cram.node.max", IN_CGROUP, ref_node_max },
	{ "cram.nodes", IN_CGROUP, ref_nodes },
	{ "cram.writable_budget", IN_CGROUP, ref_budget },
	{ "cram.reclaim", IN_CGROUP, ref_reclaim },
	{ "cram.peak", IN_CGROUP, ref_anything },
	{ "cram.current", IN_CGROUP, ref_read_only },
	{ "cram.stat", IN_CGROUP, ref_read_only },
	{ "cram.numa_stat", IN_CGROUP, ref_read_only },
	{ "cram.events", IN_CGROUP, ref_read_only },
	{ "cram.events.local", IN_CGROUP, ref_read_only },
	{ "cram.nodes.effective", IN_CGROUP, ref_read_only },
	{ "cram.writable_budget.effective", IN_CGROUP, ref_read_only },
	{ "cram.writable_current", IN_CGROUP, ref_read_only },
	{ "state", IN_NODE, ref_state },
	{ "lease_ms", IN_NODE, ref_lease },
	{ "low_bytes", IN_NODE, ref_watermark },
	{ "critical_bytes", IN_NODE, ref_watermark },
	{ "reserve_bytes", IN_NODE, ref_reserve },
	{ "page_max", IN_NODE, ref_or_max },
	{ "writable_budget", IN_NODE, ref_node_budget },
	{ HOT_RATE, IN_NODE, ref_number },
	{ "used_bytes", IN_NODE, ref_read_only },
	{ "ratio", IN_NODE, ref_read_only },
	{ "/sys/kernel/mm/cram/enabled", ELSEWHERE, ref_bool },
	{ DEBUGFS "disable_hooks", IN_DEBUGFS, ref_breaks },
	{ DEBUGFS "corrupt_slot", IN_DEBUGFS, ref_breaks },
	{ DEBUGFS "hot_pass", IN_DEBUGFS, ref_breaks },
	{ DEBUGFS "max_owner_id", IN_DEBUGFS, ref_breaks },
	{ SIM "physical", IN_DEBUGFS, ref_breaks },
	{ SIM "lie", IN_DEBUGFS, ref_breaks },
	{ SIM "fail", IN_DEBUGFS, ref_breaks },
	{ SIM "drop", IN_DEBUGFS, ref_breaks },
	{ SIM "delay_ms", IN_DEBUGFS, ref_breaks },
	{ SIM "settle_ms", IN_DEBUGFS, ref_breaks },
	{ SIM "patrol_rate", IN_DEBUGFS, ref_breaks },
	{ SIM "cells_of", IN_DEBUGFS, ref_breaks },
	{ SIM "store", IN_DEBUGFS, ref_breaks },
	{ SIM "hot", IN_DEBUGFS, ref_breaks },
};

#define FILES		ARRAY_SIZE(files)
#define CGROUPS		2	/* parent and child */
#define PLACES		(FILES * CGROUPS)

static struct cg cgroups[CGROUPS];

/* Of all files in all cgroups; NULL: not another one. */
static const char *place(size_t i)
{
	const struct file *f = &files[i / CGROUPS];
	static char path[300];

	if (f->where == IN_CGROUP)
		return cg_file(&cgroups[i % CGROUPS], f->name);
	if (i % CGROUPS)
		return NULL;
	strcpy(path, f->where == IN_NODE ? node_file(f->name) : f->name);
	return path;
}

/* --- strings ---------------------------------------------------------------------- */

static uint64_t below(uint64_t *dice, uint64_t n)
{
	return (next_random(dice) >> 11) % n;
}

static const char *const words[] = {
	"max", "inherit", "auto", "none", "open", "offline", "lost", "low", "yes", "no", "on",
	"off", "all", "to=swap", "to=dram", "0", "1", "4095", "4096", "4097", "-1", "0x10",
	"99", "100", "60000", "60001", "4294967295", "4294967296", "9223372036854771711",
	"9223372036854771712", "9223372036854775807", "18446744073709551615",
	"18446744073709551616", "99999999999999999999", "1.5", "50%", "", "\n", " ", ",", "-",
	"N0 4096", "N99999999999 1", "0-1", "1-", "free zero", "wp", "4\nK", "1\nnone",
	"N1\n 4096",
};

static const char spaces[] = " \t\n\v\f\r\xa0";
static const char *const units[] = { "", "", "", "K", "k", "M", "m", "G", "g", "T", "B", "KK", "iB" };

static size_t number(uint64_t *dice, char *s)
{
	uint64_t n = next_random(dice) >> below(dice, 64);

	return sprintf(s, "%llu%s", (unsigned long long)n, units[below(dice, ARRAY_SIZE(units))]);
}

/* May be longer than a page, and have zeros in it. */
static size_t make_string(uint64_t *dice, char *s)
{
	size_t len = 0, i;

	switch (below(dice, 10)) {
	case 0: case 1: case 2:
		len = number(dice, s);
		break;
	case 3: case 4:
		len = sprintf(s, "%s", words[below(dice, ARRAY_SIZE(words))]);
		break;
	case 5:
		len = sprintf(s, "N%d ", below(dice, 4) ? cram_node() : (int)below(dice, 70));
		len += below(dice, 4) ? number(dice, s + len) : (size_t)sprintf(s + len, "max");
		break;
	case 6:
		len = number(dice, s);
		len += sprintf(s + len, " %s", words[below(dice, ARRAY_SIZE(words))]);
		break;
	case 7:
		for (i = below(dice, 4) + 1; i; i--)
			len += sprintf(s + len, "%d%s", below(dice, 3) ? cram_node() : (int)below(dice, 70),
				       i > 1 ? "," : "");
		break;
	case 8:
		len = below(dice, 20) + 1;
		for (i = 0; i < len; i++)
			s[i] = next_random(dice);
		break;
	default:
		if (below(dice, 4)) {
			len = number(dice, s);
			break;
		}
		len = PAGE - 3 + below(dice, LONGEST - PAGE - 10);
		memset(s, "x1 \n"[below(dice, 4)], len);
	}
	if (!below(dice, 4))
		s[len++] = '\n';
	if (!below(dice, 8)) {
		memmove(s + 1, s, len++);
		s[0] = spaces[below(dice, sizeof(spaces) - 1)];
	}
	if (!below(dice, 8))
		s[len++] = spaces[below(dice, sizeof(spaces) - 1)];
	if (len && !below(dice, 8))
		s[below(dice, len)] = next_random(dice);
	if (!len)
		s[len++] = '\n';
	return len;
}

/* Nothing that a debugging aid would take: a number, or a word that it knows. */
static size_t make_harmless(uint64_t *dice, char *s)
{
	size_t i, len = below(dice, 40) + 1;

	for (i = 0; i < len; i++) {
		s[i] = next_random(dice);
		if (isxdigit((unsigned char)s[i]) || space(s[i]))
			s[i] = 'x';
	}
	s[0] = 'z';
	return len;
}

static const char *printable(const char *s, size_t len)
{
	static char text[200];
	size_t i, n = 0;

	for (i = 0; i < len && n < sizeof(text) - 8; i++)
		n += isprint((unsigned char)s[i]) && s[i] != '#' && s[i] != '\\' ?
		     sprintf(text + n, "%c", s[i]) : sprintf(text + n, "\\x%02x", (unsigned char)s[i]);
	strcpy(text + n, i < len ? "..." : "");
	return text;
}

/* --- writers ---------------------------------------------------------------------- */

/* What a writer had accepted last, since the round began. */
struct last {
	bool some;
	char reads[READS_LONGEST];
};

static struct shared {
	volatile int stop, round, parked, failed;
	unsigned long writes, accepted;
	struct last last[WRITERS][PLACES];
} *shared;

static void expect_of(size_t i, const char *text, size_t len, struct expect *e)
{
	const struct file *f = &files[i / CGROUPS];
	char s[LONGEST + 1];

	memset(e, 0, sizeof(*e));
	/* A file of a cgroup takes a page and no more; one of sysfs takes it for all */
	if (f->where == IN_CGROUP && len > PAGE)
		return refused(e, E2BIG, 0);
	if (len > PAGE)
		len = PAGE;
	memcpy(s, text, len);
	s[len] = '\0';
	f->reference(s, e);
}

static bool is_expected(const struct expect *e, int err)
{
	size_t i;

	if (!err)
		return !e->err[0] || e->may_pass;
	for (i = 0; i < ARRAY_SIZE(e->err); i++)
		if (e->err[i] == err ||
		    (e->err[i] == FROM_DEVICE && (err == EIO || err == ETIMEDOUT || err == EPROTO ||
						  err == EBUSY || err == EAGAIN)))
			return true;
	return false;
}

static void surprise(const char *path, const char *text, size_t len, int err)
{
	shared->failed++;
	tap_note("%s: \"%s\": %s", path, printable(text, len), err ? strerror(err) : "accepted");
}

static void one_write(uint64_t *dice, unsigned int who)
{
	size_t i = below(dice, PLACES), len;
	const struct file *f = &files[i / CGROUPS];
	const char *path = place(i);
	char text[LONGEST + 1], buf[4096];
	struct expect e;
	int err;

	if (!path || !exists(path))
		return;
	/* Most of it where something can be accepted */
	if ((f->where == IN_DEBUGFS || f->reference == ref_read_only) && below(dice, 4))
		return;
	len = f->where == IN_DEBUGFS ? make_harmless(dice, text) : make_string(dice, text);
	/* It is of little use for the others while it is offline */
	if (f->reference == ref_state && below(dice, 2))
		len = sprintf(text, "%s", below(dice, 4) ? "open" : "offline");
	expect_of(i, text, len, &e);
	err = -write_bytes(path, text, len, below(dice, 2) ? 0 : O_NONBLOCK);
	shared->writes++;
	/* The number is in force, and what is held by somebody is taken back later */
	if (f->reference == ref_budget && err == EBUSY && !e.err[0])
		err = 0;
	if (!is_expected(&e, err))
		surprise(path, text, len, err);
	if (!err && e.shown) {
		struct last *last = &shared->last[who][i];

		shared->accepted++;
		last->some = true;
		strcpy(last->reads, e.reads);
	}
	if (!below(dice, 4))
		read_text(path, buf, sizeof(buf));
}

static void be_writer(unsigned int who)
{
	uint64_t dice = mix(fuzz_seed * 0x9e3779b97f4a7c15ULL + who) | 1;
	int round = 0;

	prctl(PR_SET_PDEATHSIG, SIGKILL);
	for (;;) {
		while (!shared->stop)
			one_write(&dice, who);
		round++;
		__atomic_add_fetch(&shared->parked, 1, __ATOMIC_SEQ_CST);
		while (shared->round < round)
			nap_ms(2);
	}
}

/* Memory that is on the node when it can be, is written to, and keeps its content. */
static void be_user(void)
{
	size_t i, turn;
	char *p;

	prctl(PR_SET_PDEATHSIG, SIGKILL);
	CHECK(!cg_enter(&cgroups[CGROUPS - 1], getpid()));
	p = map_pages(PAGES);
	for (turn = 0;; turn++) {
		for (i = turn % 4; i < PAGES; i += 4)
			fill_page(p + i * PAGE, fuzz_seed + turn, i);
		madvise(p, PAGES * PAGE, MADV_PAGEOUT);
		for (i = turn % 4; i < PAGES; i += 4)
			if (page_differs(p + i * PAGE, fuzz_seed + turn, i)) {
				shared->failed++;
				tap_note("page %zu is damaged", i);
				_exit(KSFT_FAIL);
			}
		nap_ms(10);
	}
}

/* --- the end of a round --------------------------------------------------------------- */

static void note_files(char (*was)[READS_LONGEST])
{
	size_t i;

	for (i = 0; i < PLACES; i++) {
		const char *path = place(i);

		if (path && exists(path))
			read_text(path, was[i], READS_LONGEST);
	}
}

/* What one of the writers had accepted last; what was there before, if none had. */
static void check_place(size_t i, const char *was)
{
	void (*reference)(char *, struct expect *) = files[i / CGROUPS].reference;
	char reads[READS_LONGEST];
	bool some = false, right = false;
	const char *path = place(i);
	unsigned int w;

	if (!path || !exists(path) || reference == ref_read_only || reference == ref_reclaim ||
	    reference == ref_anything || reference == ref_state || reference == ref_breaks)
		return;
	read_text(path, reads, sizeof(reads));
	for (w = 0; w < WRITERS; w++) {
		struct last *last = &shared->last[w][i];

		some |= last->some;
		right |= last->some && !strcmp(last->reads, reads);
		/* Of lists with more than numbers, none are foretold */
		right |= reference == ref_nodes;
	}
	if (right || (!some && !strcmp(reads, was)))
		return;
	shared->failed++;
	tap_note("%s reads \"%s\"", path, printable(reads, strlen(reads)));
	tap_note("  it was \"%s\"", printable(was, strlen(was)));
	for (w = 0; w < WRITERS; w++)
		if (shared->last[w][i].some)
			tap_note("  writer %u had accepted last what reads \"%s\"", w,
				 printable(shared->last[w][i].reads, strlen(shared->last[w][i].reads)));
}

static void check_round(char (*was)[READS_LONGEST])
{
	size_t i;

	for (i = 0; i < PLACES; i++)
		check_place(i, was[i]);
	CHECK_EQ(shared->failed, 0);
	CHECK(node_number("critical_bytes") <= node_number("low_bytes"));
	CHECK(node_number("low_bytes") <= node_number("physical_bytes"));
	CHECK(node_number("reserve_bytes") <= node_number("physical_bytes"));
	CHECK_EQ(run_walker(), 0);
	memset(shared->last, 0, sizeof(shared->last));
}

/* A device that gives no answer, for half a round. */
static void fail_for(double seconds)
{
	if (!exists(SIM "fail"))
		return;
	debug_set(SIM "fail", "5");
	nap_ms(seconds * 1000);
	debug_set(SIM "fail", "0");
}

static void fuzz(unsigned int rounds, double seconds)
{
	static char was[PLACES][READS_LONGEST];
	struct cg self = cg_make(cg_here.path, "self");
	pid_t user, writers[WRITERS];
	unsigned int w, round;
	cpu_set_t all;
	int status;

	CPU_ZERO(&all);
	for (w = 0; w < 64; w++)
		CPU_SET(w, &all);
	sched_setaffinity(0, sizeof(all), &all);
	CHECK_EQ(cg_enter(&self, getpid()), 0);
	CHECK_EQ(cg_write(&cg_here, "cgroup.subtree_control", "+memory +cram"), 0);
	cgroups[0] = cg_make(cg_here.path, "parent");
	CHECK_EQ(cg_write(&cgroups[0], "cgroup.subtree_control", "+memory +cram"), 0);
	cgroups[1] = cg_make(cgroups[0].path, "child");
	shared = mmap(NULL, sizeof(*shared), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	CHECK(shared != MAP_FAILED, "%m");
	note_files(was);

	fflush(stdout);
	user = fork();
	CHECK(user >= 0, "%m");
	if (!user)
		be_user();
	for (w = 0; w < WRITERS; w++) {
		writers[w] = fork();
		CHECK(writers[w] >= 0, "%m");
		if (!writers[w])
			be_writer(w);
	}
	for (round = 0; round < rounds; round++) {
		nap_ms(seconds * 500);
		fail_for(seconds / 2);
		shared->stop = 1;
		CHECK(WAIT_FOR(SETTLES, shared->parked == WRITERS), "%d of the writers pause", shared->parked);
		tap_note("%lu writes, %lu of them accepted", shared->writes, shared->accepted);
		check_round(was);
		note_files(was);
		CHECK_EQ(waitpid(user, &status, WNOHANG), 0);
		shared->stop = 0;
		shared->parked = 0;
		shared->round = round + 1;
	}
	kill(user, SIGKILL);
	for (w = 0; w < WRITERS; w++)
		kill(writers[w], SIGKILL);
	while (wait(&status) > 0)
		;
	CHECK(shared->accepted > 20);
}

static void at_random(void)
{
	fuzz(scaled(ROUNDS), ROUND_SECONDS);
}

static void rounded_up(void)
{
	wrong_reference = true;
	fuzz(2, 1);
}

static void wrong(void)
{
	struct cg self = cg_make(cg_here.path, "self");

	CHECK_EQ(cg_enter(&self, getpid()), 0);
	must_fail(rounded_up, "shared->failed == 0");
}

static const struct scenario scenarios[] = {
	{ "strings at random, by several writers", at_random, S_OPERATED },
	{ "control: a reference that is wrong is found out", wrong, S_OPERATED },
};

int main(void)
{
	const char *given = getenv("SEED");
	size_t i;

	setup();
	fuzz_seed = given && *given ? strtoull(given, NULL, 0) : (uint64_t)getpid() ^ (uint64_t)(now() * 1e6);
	tap_note("seed %llu", (unsigned long long)fuzz_seed);
	swap_on(256);
	for (i = 0; i < ARRAY_SIZE(scenarios); i++)
		run_scenario(&scenarios[i], "", LIMIT * scale());
	swap_off();
	check_device();
	teardown();
	return tap_end();
}
