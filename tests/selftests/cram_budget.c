// SPDX-License-Identifier: GPL-2.0
/*
 * Writable budgets: pages that are stored to where they are, how many, who pays,
 * and how that is taken back, from whoever has the page at that moment.
 */
#include "util.h"
#include "roads.h"

#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/time.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <unistd.h>

#define N	64
#define SEED	21
#define NTHREADS 4

/* Resident, and upgraded by a store to each */
static char *upgraded(size_t pages)
{
	char *p = map_pages(pages);

	fill(p, pages, SEED);
	demote(p, pages);
	rewrite_all(p, pages);
	CHECK_EQ(count_resident(p, pages), pages);
	return p;
}

/* --- inside the budget, and outside ------------------------------------------- */

static void none_by_default(void)
{
	char *p = map_pages(N);

	fill(p, N, SEED);
	demote(p, N);
	rewrite_all(p, N);
	CHECK_EQ(count_resident(p, N), 0);
	CHECK_EQ(writable(), 0);
	CHECK_EQ(stat_of("upgrade"), 0);
	CHECK_EQ(stat_of("promote_write"), N);
	/* There was no budget to run out of. */
	CHECK_EQ(cg_key(&cg_here, "cram.events", "budget"), 0);
	CHECK(!munmap(p, N * PAGE));
}

static void in_place(void)
{
	uint64_t pfns[N];
	char *p;
	int i;

	budget("max");
	p = map_pages(N);
	fill(p, N, SEED);
	demote(p, N);
	for (i = 0; i < N; i++)
		pfns[i] = pfn_of(p + i * PAGE);
	fill(p, N, SEED + 1);
	for (i = 0; i < N; i++)
		CHECK_EQ(pfn_of(p + i * PAGE), pfns[i]);
	CHECK_CONTENT(p, N, SEED + 1);
	CHECK_EQ(writable(), N * PAGE);
	CHECK_EQ(node_number("writable_bytes"), N * PAGE);
	CHECK_EQ(cg_number(&cg_here, "cram.current"), N * PAGE);
	CHECK_EQ(stat_of("writable"), N * PAGE);
	CHECK_EQ(stat_of("readonly"), 0);
	CHECK_EQ(stat_of("upgrade"), N);
	CHECK_EQ(stat_of("promote_write"), 0);
	CHECK(!munmap(p, N * PAGE));
	CHECK_EQ(writable(), 0);
	CHECK_EQ(node_number("writable_bytes"), 0);
}

static void limited(void)
{
	char *p = map_pages(N);

	budget_pages(N / 4);
	fill(p, N, SEED);
	demote(p, N);
	rewrite_all(p, N);
	CHECK_EQ(writable(), N / 4 * PAGE);
	CHECK_EQ(count_resident(p, N), N / 4);
	CHECK_EQ(stat_of("upgrade"), N / 4);
	CHECK_EQ(stat_of("promote_write"), N - N / 4);
	CHECK_EQ(cg_key(&cg_here, "cram.events", "budget"), N - N / 4);
	CHECK_CONTENT(p, N, SEED);
	CHECK(!munmap(p, N * PAGE));
}

/* A child draws on the number above it, unless it has its own; both bind. */
static void hierarchy(void)
{
	struct cg child = cg_make(cg_here.path, "child"), other = cg_make(cg_here.path, "other");
	char *p;

	CHECK_EQ(cg_enter(&child, getpid()), 0);
	CHECK_EQ(cg_write(&cg_here, "cgroup.subtree_control", "+memory +cram"), 0);
	p = map_pages(N);

	/* Its own number needs none above. */
	CHECK_EQ(cg_printf(&child, "cram.writable_budget", "%zu", 8 * PAGE), 0);
	fill(p, N, SEED);
	demote(p, N);
	rewrite_all(p, N);
	CHECK_EQ(cg_number(&child, "cram.writable_current"), 8 * PAGE);
	CHECK_EQ(writable(), 8 * PAGE);
	CHECK(cg_key(&child, "cram.events.local", "budget") > 0);

	/* Lowered above, it is taken from below. */
	budget_pages(4);
	CHECK_EQ(cg_number(&child, "cram.writable_current"), 4 * PAGE);
	CHECK_EQ(writable(), 4 * PAGE);
	CHECK_EQ(cg_key(&child, "cram.events", "revoke"), 1);
	CHECK_EQ(cg_key(&child, "cram.stat", "revoke"), 4);

	/* Without its own it has the parent's. */
	CHECK_EQ(cg_write(&child, "cram.writable_budget", "inherit"), 0);
	CHECK_EQ(cg_number(&child, "cram.writable_current"), 4 * PAGE);
	/* And without any, none. */
	budget("inherit");
	CHECK_EQ(cg_number(&child, "cram.writable_current"), 0);
	CHECK_CONTENT(p, N, SEED);

	/* A cgroup that goes leaves its pages, and who may write them, above. */
	budget("max");
	fill(p, N, SEED);
	demote(p, N);
	rewrite_all(p, N);
	CHECK_EQ(writable(), N * PAGE);
	CHECK_EQ(cg_enter(&other, getpid()), 0);
	CHECK_EQ(cg_remove(&child), 0);
	CHECK_EQ(writable(), N * PAGE);
	CHECK_EQ(cg_number(&other, "cram.writable_current"), 0);
	budget_pages(N / 2);
	CHECK_EQ(writable(), N / 2 * PAGE);
	CHECK_CONTENT(p, N, SEED);
	CHECK(!munmap(p, N * PAGE));
	CHECK_EQ(writable(), 0);
}

static bool says(const struct cg *cg, const char *want)
{
	char text[40];

	CHECK(read_text(cg_file(cg, "cram.writable_budget.effective"), text, sizeof(text)) > 0);
	text[strcspn(text, "\n")] = '\0';
	if (strcmp(text, want))
		tap_note("%s, not %s", text, want);
	return !strcmp(text, want);
}

/* What "inherit" and all the numbers above come to. */
static void effective(void)
{
	struct cg child = cg_make(cg_here.path, "child"), grandchild;

	CHECK_EQ(cg_enter(&child, getpid()), 0);
	CHECK_EQ(cg_write(&cg_here, "cgroup.subtree_control", "+memory +cram"), 0);
	CHECK(says(&cg_here, "0") && says(&child, "0"));
	budget("max");
	CHECK(says(&cg_here, "max") && says(&child, "max"));
	CHECK_EQ(cg_printf(&child, "cram.writable_budget", "%zu", 8 * PAGE), 0);
	CHECK(says(&cg_here, "max") && says(&child, "32768"));
	budget_pages(4);
	CHECK(says(&cg_here, "16384") && says(&child, "16384"));
	budget("0");
	CHECK(says(&child, "0"));
	/* Where none is above, one's own is all there is. */
	budget("inherit");
	CHECK(says(&cg_here, "0") && says(&child, "32768"));

	/* Who comes later has the same. */
	grandchild = cg_make(child.path, "grandchild");
	CHECK_EQ(cg_enter(&grandchild, getpid()), 0);
	CHECK_EQ(cg_write(&child, "cgroup.subtree_control", "+memory +cram"), 0);
	CHECK(says(&grandchild, "32768"));
}

/* A budget of nothing is none: nobody is told at each write. */
static void nothing_is_no_event(void)
{
	struct cg child = cg_make(cg_here.path, "child");
	char *p;

	CHECK_EQ(cg_enter(&child, getpid()), 0);
	CHECK_EQ(cg_write(&cg_here, "cgroup.subtree_control", "+memory +cram"), 0);
	budget("0");
	CHECK_EQ(cg_printf(&child, "cram.writable_budget", "%zu", N / 4 * PAGE), 0);
	p = map_pages(N);
	fill(p, N, SEED);
	demote(p, N);
	rewrite_all(p, N);
	CHECK_EQ(cg_key(&child, "cram.stat", "promote_write"), N);
	CHECK_EQ(cg_key(&cg_here, "cram.events", "budget"), 0);
	/* But one of something is, for what it lacks. */
	budget("max");
	demote(p, N);
	rewrite_all(p, N);
	CHECK_EQ(cg_key(&child, "cram.events", "budget"), N - N / 4);
	CHECK(!munmap(p, N * PAGE));
}

/* --- taking back -------------------------------------------------------------- */

static void lowered(void)
{
	int64_t left, revoked;
	char *p;

	budget("max");
	p = upgraded(N);
	budget_pages(N / 2);
	left = writable();
	revoked = stat_of("revoke");
	CHECK(left <= (int64_t)(N / 2 * PAGE), "%lld", (long long)left);
	/* Nobody writes: what a busy host keeps us from for two seconds is recycled */
	if (!stat_of("recycle")) {
		CHECK_EQ(left, N / 2 * PAGE);
		CHECK_EQ(revoked, N / 2);
		CHECK_EQ(cg_key(&cg_here, "cram.events", "revoke"), 1);
	}
	CHECK_EQ(count_resident(p, N), N);
	budget("0");
	CHECK_EQ(writable(), 0);
	CHECK_EQ(stat_of("readonly"), N * PAGE);
	CHECK_EQ(count_resident(p, N), N);
	CHECK_CONTENT(p, N, SEED);
	rewrite_all(p, N);
	CHECK_EQ(count_resident(p, N), 0);
	CHECK(!munmap(p, N * PAGE));
}

struct writer {
	pthread_t thread;
	volatile uint64_t *from;
	size_t words;
	uint64_t rounds;
};

static volatile bool stop;

/* Each word counts how often this thread was there. */
static void *write_on(void *arg)
{
	struct writer *w = arg;

	while (!stop) {
		for (size_t i = 0; i < w->words; i++)
			w->from[i * 8]++;
		w->rounds++;
	}
	return NULL;
}

/* Threads that write on and on; each has a word of its own in every cache line. */
static void lowered_under_writers(void)
{
	size_t pages = scaled(4) * MIB / PAGE;
	struct writer w[NTHREADS] = {};
	char *p = map_pages(pages);
	double start;
	int i, round;

	memset(p, 0, pages * PAGE);
	for (i = 0; i < NTHREADS; i++) {
		w[i].from = (uint64_t *)p + i;
		w[i].words = pages * PAGE / 64;
		CHECK(!pthread_create(&w[i].thread, NULL, write_on, &w[i]));
	}
	for (round = 0; round < 5; round++) {
		budget("max");
		for (i = 0; i < 3; i++) {
			CHECK(!madvise(p, pages * PAGE, MADV_PAGEOUT), "%m");
			nap_ms(100);
		}
		CHECK(WAIT_FOR(SETTLES, madvise(p, pages * PAGE, MADV_PAGEOUT) == 0 &&
					writable() > 0));
		start = now();
		budget("0");
		/* It has returned: nothing is, and nothing becomes so again. */
		CHECK_EQ(writable(), 0);
		CHECK_EQ(node_number("writable_bytes"), 0);
		tap_note("taken back within %.2f s", now() - start);
		CHECK(now() - start < SETTLES);
		nap_ms(50);
		CHECK_EQ(writable(), 0);
	}
	stop = true;
	for (i = 0; i < NTHREADS; i++)
		CHECK(!pthread_join(w[i].thread, NULL));
	for (i = 0; i < NTHREADS; i++)
		for (size_t k = 0; k < w[i].words; k++)
			CHECK_EQ(w[i].from[k * 8], w[i].rounds);
	CHECK(stat_of("upgrade") > 0);
	CHECK(stat_of("revoke") > 0);
	CHECK(!munmap(p, pages * PAGE));
}

/* Among cgroups in this one: then it has no process itself. */
static void divide(void)
{
	struct cg home = cg_make(cg_here.path, "home");

	CHECK_EQ(cg_enter(&home, getpid()), 0);
	CHECK_EQ(cg_write(&cg_here, "cgroup.subtree_control", "+memory +cram"), 0);
}

struct share {
	const struct cg *cg;
	size_t pages;
};

static void has_a_share(struct peer *up, void *arg)
{
	struct share *share = arg;

	CHECK_EQ(cg_enter(share->cg, getpid()), 0);
	upgraded(share->pages);
	tell(up, 'u');
	hear(up);
}

/* Of a number above, everybody has to give in proportion to what he has. */
static void in_proportion(void)
{
	struct cg a = cg_make(cg_here.path, "a"), b = cg_make(cg_here.path, "b"),
		  c = cg_make(cg_here.path, "c");
	struct share of[] = { { &a, 192 }, { &b, 64 }, { &c, 8 } };
	struct peer peer[ARRAY_SIZE(of)];
	size_t i, all = 0;

	for (i = 0; i < ARRAY_SIZE(of); i++)
		all += of[i].pages;
	divide();
	budget("max");
	for (i = 0; i < ARRAY_SIZE(of); i++) {
		peer[i] = peer_start(has_a_share, &of[i]);
		CHECK_EQ(hear(&peer[i]), 'u');
	}
	CHECK_EQ(writable(), all * PAGE);
	budget_pages(all / 2);
	CHECK_EQ(writable(), all / 2 * PAGE);
	for (i = 0; i < ARRAY_SIZE(of); i++) {
		long has = cg_number(of[i].cg, "cram.writable_current") / PAGE;

		/* Rounding; the last to give has what is left of it. */
		CHECK(labs(has - (long)of[i].pages / 2) < (long)ARRAY_SIZE(of), "%ld of %zu",
		      has, of[i].pages);
	}
	for (i = 0; i < ARRAY_SIZE(of); i++) {
		tell(&peer[i], 'e');
		CHECK_EQ(peer_end(&peer[i]), 0);
	}
	CHECK_EQ(writable(), 0);
}

/* What a cgroup that goes leaves to one without a budget is taken back by itself. */
static void left_behind(void)
{
	struct cg child = cg_make(cg_here.path, "child"), other = cg_make(cg_here.path, "other");
	char *p;

	CHECK_EQ(cg_enter(&child, getpid()), 0);
	CHECK_EQ(cg_write(&cg_here, "cgroup.subtree_control", "+memory +cram"), 0);
	CHECK_EQ(cg_write(&child, "cram.writable_budget", "max"), 0);
	p = upgraded(N);
	CHECK_EQ(writable(), N * PAGE);
	CHECK_EQ(cg_enter(&other, getpid()), 0);
	CHECK_EQ(cg_remove(&child), 0);
	CHECK(WAIT_FOR(SETTLES, (rewrite_all(p, N), writable() == 0)));
	CHECK_CONTENT(p, N, SEED);
	CHECK(!munmap(p, N * PAGE));
}

static void nothing(int sig)
{
}

/* A pipe has the first three pages, until it is closed or read. */
static void hold_three(char *p, int fd[2])
{
	struct iovec iov = { p, 3 * PAGE };

	CHECK(!pipe(fd));
	CHECK_EQ(vmsplice(fd[1], &iov, 1, 0), 3 * PAGE);
}

/*
 * Who has a reference may store without a page table entry. The page stays
 * charged until it is let go; a signal ends the waiting, not the taking back.
 */
static void held(void)
{
	const struct itimerval every = { { 1, 0 }, { 1, 0 } }, never = {};
	struct sigaction act = { .sa_handler = nothing };
	int fd[2];
	char *p;

	budget("max");
	p = upgraded(N);
	hold_three(p, fd);

	sigaction(SIGALRM, &act, NULL);
	/* Again and again: one could come before the waiting. */
	CHECK(!setitimer(ITIMER_REAL, &every, NULL));
	CHECK_EQ(cg_write(&cg_here, "cram.writable_budget", "0"), -EINTR);
	CHECK(!setitimer(ITIMER_REAL, &never, NULL));
	CHECK_EQ(cg_number(&cg_here, "cram.writable_budget"), 0);
	CHECK_EQ(writable(), 3 * PAGE);
	/* Writing to them goes on where they are: the reference relies on it. */
	rewrite_all(p, 3);
	CHECK_EQ(count_resident(p, 3), 3);
	/* The others are copied. */
	rewrite(p + 3 * PAGE);
	CHECK_EQ(count_resident(p + 3 * PAGE, 1), 0);

	close(fd[0]);
	close(fd[1]);
	CHECK(WAIT_FOR(SETTLES, writable() == 0));
	CHECK_EQ(count_resident(p, N), N - 1);
	CHECK_CONTENT(p, N, SEED);
	CHECK(!munmap(p, N * PAGE));
}

/* Nor does it take longer than the documented time for somebody's sake. */
static void held_too_long(void)
{
	double start;
	int fd[2];
	char *p;

	budget("max");
	p = upgraded(N);
	hold_three(p, fd);

	start = now();
	CHECK_EQ(cg_write(&cg_here, "cram.writable_budget", "0"), -EBUSY);
	tap_note("given up after %.1f s", now() - start);
	CHECK(now() - start >= 4);
	/* The number is in force, and the others are taken back. */
	CHECK_EQ(cg_number(&cg_here, "cram.writable_budget"), 0);
	CHECK_EQ(writable(), 3 * PAGE);
	CHECK_EQ(stat_of("revoke"), N - 3);
	rewrite(p + 3 * PAGE);
	CHECK_EQ(count_resident(p + 3 * PAGE, 1), 0);

	/* A number that these keep to is obeyed at once. */
	budget_pages(3);
	CHECK_EQ(cg_write(&cg_here, "cram.writable_budget", "0"), -EBUSY);
	close(fd[0]);
	close(fd[1]);
	/* Nobody waits any more, and nobody has to ask again. */
	CHECK(WAIT_FOR(SETTLES, writable() == 0));
	CHECK_EQ(count_resident(p, N), N - 1);
	CHECK_CONTENT(p, N, SEED);
	CHECK(!munmap(p, N * PAGE));
}

struct order {
	const struct cg *from;
	const char *file, *text;
	int fd[2];	/* the pipe, which only the other side is to hold */
};

static void order(struct peer *up, void *arg)
{
	const struct order *o = arg;
	int err;

	close(o->fd[0]);
	close(o->fd[1]);
	CHECK_EQ(cg_enter(o->from, getpid()), 0);
	tell(up, 'r');
	err = write_text(o->file, o->text);
	tap_note("%s: %s", strrchr(o->file, '/') + 1, err ? strerrorname_np(-err) : "done");
	tell(up, err == -EINTR ? 'i' : 'd');
}

/* All of @p are resident and upgraded, some of these held in a pipe. */
static void hold_some(char *p, int fd[2])
{
	budget("max");
	fill(p, N, SEED);
	demote(p, N);
	rewrite_all(p, N);
	hold_three(p, fd);
}

/* The process in that cgroup is frozen where it waits, and goes on when it is thawed. */
static void freeze_and_thaw(const struct cg *cg, struct peer *peer, int fd[2])
{
	nap_ms(50);
	CHECK_EQ(cg_write(cg, "cgroup.freeze", "1"), 0);
	CHECK(WAIT_FOR(SETTLES, cg_key(cg, "cgroup.events", "frozen") == 1));
	CHECK_EQ(cg_write(cg, "cgroup.freeze", "0"), 0);
	nap_ms(50);
	close(fd[0]);
	close(fd[1]);
	CHECK_EQ(hear(peer), 'd');
	CHECK_EQ(peer_end(peer), 0);
}

/* To be frozen is no error, whatever one was waiting for. */
static void frozen(void)
{
	struct cg home = cg_make(cg_here.path, "home"), cold = cg_make(cg_here.path, "cold");
	struct order o = { .from = &cold };
	char path[300], state[200];
	char *p = map_pages(N);
	struct peer peer;

	snprintf(state, sizeof(state), "%s", node_file("state"));
	CHECK_EQ(cg_enter(&home, getpid()), 0);
	CHECK_EQ(cg_write(&cg_here, "cgroup.subtree_control", "+memory +cram"), 0);
	o.file = path;

	snprintf(path, sizeof(path), "%s/cram.writable_budget", cg_here.path);
	o.text = "0";
	hold_some(p, o.fd);
	peer = peer_start(order, &o);
	CHECK_EQ(hear(&peer), 'r');
	CHECK(WAIT_FOR(SETTLES, cg_number(&cg_here, "cram.writable_budget") == 0 &&
				writable() == 3 * (int64_t)PAGE));
	freeze_and_thaw(&cold, &peer, o.fd);

	snprintf(path, sizeof(path), "%s/cram.reclaim", cg_here.path);
	o.text = "1G";
	hold_some(p, o.fd);
	peer = peer_start(order, &o);
	CHECK_EQ(hear(&peer), 'r');
	CHECK(WAIT_FOR(SETTLES, cg_number(&cg_here, "cram.current") == 3 * (int64_t)PAGE));
	freeze_and_thaw(&cold, &peer, o.fd);

	o.file = state;
	o.text = "offline";
	hold_some(p, o.fd);
	peer = peer_start(order, &o);
	CHECK_EQ(hear(&peer), 'r');
	CHECK(WAIT_FOR(SETTLES, cg_number(&cg_here, "cram.current") == 3 * (int64_t)PAGE));
	freeze_and_thaw(&cold, &peer, o.fd);
	CHECK_EQ(write_text(state, "open"), 0);
	CHECK_CONTENT(p, N, SEED);
	CHECK(!munmap(p, N * PAGE));
}

static int pipe_of_all[2];

static void splice_and_end(struct peer *up, void *arg)
{
	struct iovec iov = { upgraded(3), 3 * PAGE };

	CHECK_EQ(vmsplice(pipe_of_all[1], &iov, 1, 0), 3 * PAGE);
}

/* ... who may have it longer than any process has it mapped. */
static void held_by_a_pipe(void)
{
	char *mine = map_pages(3), *read_back = map_pages(3);
	struct peer peer;

	CHECK(!pipe(pipe_of_all));
	budget("max");
	peer = peer_start(splice_and_end, NULL);
	CHECK_EQ(peer_end(&peer), 0);
	/* Time for the worker to come by some times. */
	CHECK(!WAIT_FOR(3, writable() != 3 * (int64_t)PAGE));
	CHECK_EQ(cg_number(&cg_here, "cram.current"), 3 * PAGE);
	fill(mine, 3, SEED);
	CHECK_EQ(read(pipe_of_all[0], read_back, 3 * PAGE), 3 * PAGE);
	CHECK(!memcmp(mine, read_back, 3 * PAGE));
	CHECK(WAIT_FOR(SETTLES, writable() == 0));
	close(pipe_of_all[0]);
	close(pipe_of_all[1]);
	CHECK(!munmap(mine, 3 * PAGE));
	CHECK(!munmap(read_back, 3 * PAGE));
}

/*
 * A limit does not wait for ever for such pages, either. They stay where they are, and
 * the reference and the entries show the same.
 */
static void held_above_a_limit(void)
{
	char *p, *read_back = map_pages(3);
	double start;
	int fd[2];

	budget("max");
	p = upgraded(N);
	hold_three(p, fd);

	start = now();
	CHECK_EQ(cg_write(&cg_here, "cram.max", "0"), 0);
	tap_note("given up after %.1f s", now() - start);
	CHECK(now() - start < 10 * scale());
	CHECK_EQ(cg_number(&cg_here, "cram.current"), 3 * PAGE);
	CHECK_EQ(writable(), 3 * PAGE);
	fill(p, 3, SEED + 1);
	CHECK_EQ(count_resident(p, 3), 3);
	CHECK_EQ(read(fd[0], read_back, 3 * PAGE), 3 * PAGE);
	CHECK_CONTENT(read_back, 3, SEED + 1);
	CHECK(!munmap(read_back, 3 * PAGE));
	close(fd[0]);
	close(fd[1]);

	/* And then it is obeyed, by who asks again. */
	CHECK_EQ(cg_write(&cg_here, "cram.max", "0"), 0);
	CHECK_EQ(cg_number(&cg_here, "cram.current"), 0);
	CHECK_EQ(writable(), 0);
	CHECK_CONTENT(p, 3, SEED + 1);
	CHECK(!munmap(p, N * PAGE));
}

static void without_waiting(void)
{
	char *p;

	budget("max");
	p = upgraded(N);
	CHECK_EQ(write_bytes(cg_file(&cg_here, "cram.writable_budget"), "0", 1, O_NONBLOCK), 0);
	CHECK(WAIT_FOR(SETTLES, writable() == 0));
	CHECK_CONTENT(p, N, SEED);
	CHECK(!munmap(p, N * PAGE));
}

/* --- recycling ---------------------------------------------------------------- */

/* The budget follows the pages that are written. */
static void recycled(void)
{
	int64_t promoted;
	char *p;

	budget_pages(N / 2);
	p = map_pages(N);
	fill(p, N, SEED);
	demote(p, N);
	rewrite_all(p, N / 2);
	CHECK_EQ(writable(), N / 2 * PAGE);
	/* The first quarter is written on, the second is not. */
	CHECK(WAIT_FOR(SETTLES, (rewrite_all(p, N / 4), stat_of("recycle") == N / 4)));
	CHECK_EQ(writable(), N / 4 * PAGE);
	promoted = stat_of("promote_write");
	CHECK_EQ(promoted, 0);
	rewrite_all(p, N / 4);
	rewrite_all(p + N / 2 * PAGE, N / 4);
	CHECK_EQ(stat_of("promote_write"), 0);
	CHECK_EQ(writable(), N / 2 * PAGE);
	CHECK_EQ(stat_of("revoke"), 0);
	CHECK_EQ(cg_key(&cg_here, "cram.events", "revoke"), 0);
	CHECK_EQ(count_resident(p, N), N);
	CHECK_CONTENT(p, N, SEED);
	CHECK(!munmap(p, N * PAGE));
}

/* So many pages, most of which are writable then: the node may leave some out. */
static char *many_upgraded(size_t pages)
{
	char *p = map_pages(pages);

	fill(p, pages, SEED);
	demote(p, pages);
	rewrite_all(p, pages);
	CHECK(writable() > (int64_t)(pages / 4 * 3 * PAGE), "%lld bytes are writable",
	      (long long)writable());
	return p;
}

/*
 * Recycling looks at each page three times, and takes a quarter of a CPU for it. So it may
 * take so many times what it takes just to take the pages back, which says how busy the
 * machine is.
 */
#define RECYCLING	(3 * 4)

static double time_to_revoke(size_t pages)
{
	double start;
	char *p;

	budget("max");
	p = many_upgraded(pages);
	start = now();
	budget("0");
	start = now() - start;
	CHECK_EQ(writable(), 0);
	CHECK(!munmap(p, pages * PAGE));
	budget("max");
	return start;
}

static void *lower_to_0(void *arg)
{
	cg_write(arg, "cram.writable_budget", "0");
	return NULL;
}

/*
 * Who removes a cgroup does not wait until all is taken back for a lower budget of it.
 * What is left is the parent's, who may have it.
 */
static void removed_meanwhile(void)
{
	size_t pages = node_number("physical_bytes") / 8 * 3 / PAGE;
	struct cg other = cg_make(cg_here.path, "other"), child;
	double revoke, start, took;
	int64_t all, left = 0;
	pthread_t thread;
	char *p;
	int i;

	fill_period = 8;
	revoke = time_to_revoke(pages);
	CHECK_EQ(cg_enter(&other, getpid()), 0);
	CHECK_EQ(cg_write(&cg_here, "cgroup.subtree_control", "+memory +cram"), 0);
	/* It may be over before rmdir begins; but not each time. */
	for (i = 0; i < 5 && left < (int64_t)(N * PAGE); i++) {
		child = cg_make(cg_here.path, "child%d", i);
		CHECK_EQ(cg_enter(&child, getpid()), 0);
		p = many_upgraded(pages);
		CHECK_EQ(cg_enter(&other, getpid()), 0);
		CHECK(!pthread_create(&thread, NULL, lower_to_0, &child));
		CHECK(WAIT_FOR(SETTLES, cg_number(&child, "cram.writable_budget") == 0));
		all = writable();
		CHECK(WAIT_FOR(SETTLES, writable() < all));
		start = now();
		CHECK(!rmdir(child.path), "%m");
		took = now() - start;
		left = writable();
		CHECK(!pthread_join(thread, NULL));
		tap_note("removed within %.2f s, %lld of %lld KiB writable; to take them back, %.2f s",
			 took, (long long)left / 1024, (long long)all / 1024, revoke);
		CHECK_CONTENT(p, pages, SEED);
		CHECK(!munmap(p, pages * PAGE));
	}
	CHECK(left >= (int64_t)(N * PAGE));
}

/* How long it takes until so many pages are read-only that nobody writes to */
static double time_to_recycle(size_t pages, double revoke)
{
	int64_t revoked = stat_of("revoke");
	char *p = many_upgraded(pages);
	double start = now();

	CHECK(WAIT_FOR(SETTLES + 20 * revoke, writable() == 0), "%lld bytes are",
	      (long long)writable());
	start = now() - start;
	CHECK_EQ(stat_of("revoke"), revoked);
	CHECK(!munmap(p, pages * PAGE));
	return start;
}

/* However many there are. */
static void many_recycled(void)
{
	size_t pages = node_number("physical_bytes") / 8 * 3 / PAGE;
	double revoke, few, many;

	fill_period = 8;
	revoke = time_to_revoke(pages);
	few = time_to_recycle(N, revoke);
	many = time_to_recycle(pages, revoke);
	tap_note("%d pages: %.1f s, %zu pages: %.1f s, by a lower budget %.2f s", N, few,
		 pages, many, revoke);
	CHECK(many < few + 3 + RECYCLING * revoke);
}

static void writes_on(struct peer *up, void *arg)
{
	struct share *share = arg;
	char *p;

	CHECK_EQ(cg_enter(share->cg, getpid()), 0);
	p = many_upgraded(share->pages);
	tell(up, 'u');
	for (;;)
		rewrite_all(p, share->pages);
}

/* ... and whoever else has many, and writes to them. */
static void others_recycled(void)
{
	struct cg a = cg_make(cg_here.path, "many"), b = cg_make(cg_here.path, "few");
	struct share of[] = { { &a, node_number("physical_bytes") / 8 * 3 / PAGE }, { &b, N } };
	double revoke, start;
	struct peer peer[2];
	size_t i;

	fill_period = 8;
	revoke = time_to_revoke(of[0].pages);
	divide();
	peer[0] = peer_start(writes_on, &of[0]);
	CHECK_EQ(hear(&peer[0]), 'u');
	peer[1] = peer_start(has_a_share, &of[1]);
	CHECK_EQ(hear(&peer[1]), 'u');
	start = now();
	CHECK(WAIT_FOR(SETTLES + 20 * revoke, cg_number(&b, "cram.writable_current") == 0));
	start = now() - start;
	tap_note("%d pages beside %zu: %.1f s, these by a lower budget %.2f s", N, of[0].pages,
		 start, revoke);
	CHECK(start < 6 + revoke);
	for (i = 0; i < 2; i++)
		CHECK_EQ(cg_write(of[i].cg, "cgroup.kill", "1"), 0);
}

/* What tells of a store to a lazily freed page must not be lost on the way. */
static void lazyfree(void)
{
	char *p;
	int i, round;

	for (round = 0; round < (int)scaled(20); round++) {
		budget("max");
		p = upgraded(N);
		CHECK(!madvise(p, N * PAGE, MADV_FREE), "%m");
		for (i = 0; i < N; i += 2)
			fill_page(p + i * PAGE, SEED + 1, i);
		if (round % 2)
			budget("0");
		madvise(p, N * PAGE, MADV_PAGEOUT);
		for (i = 0; i < N; i += 2)
			CHECK(!page_differs(p + i * PAGE, SEED + 1, i), "page %d, round %d",
			      i, round);
		CHECK(!munmap(p, N * PAGE));
	}
}

/* --- other users of the page -------------------------------------------------- */

static void child_writes(struct peer *up, void *arg)
{
	char *p = arg;

	fill(p, N, SEED + 1);
	tell(up, 'w');
	hear(up);
	CHECK_CONTENT(p, N, SEED + 1);
}

/* Shared, so nobody may write; and nobody pays for that any more. */
static void forked(void)
{
	struct peer child;
	char *p;

	budget("max");
	p = upgraded(N);
	child = peer_start(child_writes, p);
	CHECK_EQ(hear(&child), 'w');
	CHECK_CONTENT(p, N, SEED);
	CHECK(WAIT_FOR(SETTLES, writable() == 0));
	CHECK_EQ(count_resident(p, N), N);
	fill(p, N, SEED + 2);
	tell(&child, 'g');
	CHECK_EQ(peer_end(&child), 0);
	CHECK_CONTENT(p, N, SEED + 2);
	CHECK(!munmap(p, N * PAGE));
}

static void protected(void)
{
	char *p;

	budget("max");
	p = upgraded(N);
	CHECK(!mprotect(p, N * PAGE, PROT_READ));
	CHECK(!mprotect(p, N * PAGE, PROT_READ | PROT_WRITE));
	fill(p, N, SEED + 1);
	CHECK_EQ(writable(), N * PAGE);
	CHECK(!mprotect(p, N * PAGE, PROT_READ));
	budget("0");
	CHECK_EQ(writable(), 0);
	CHECK(!mprotect(p, N * PAGE, PROT_READ | PROT_WRITE));
	CHECK_EQ(run_walker(), 0);
	fill(p, N, SEED + 2);
	CHECK_EQ(count_resident(p, N), 0);
	CHECK(!munmap(p, N * PAGE));
}

/* Read straight from a disk into upgraded pages, while they are taken back. */
static void direct_io(void)
{
	int fd = open("/dev/ram0", O_RDWR | O_DIRECT), round;
	char *src, *p;

	if (fd < 0)
		skip("/dev/ram0 (CONFIG_BLK_DEV_RAM)");
	src = map_pages(N);
	fill(src, N, SEED + 1);
	CHECK_EQ(pwrite(fd, src, N * PAGE, 0), N * PAGE);
	for (round = 0; round < 20; round++) {
		budget("max");
		p = upgraded(N);
		CHECK_EQ(write_bytes(cg_file(&cg_here, "cram.writable_budget"), "0", 1,
				     O_NONBLOCK), 0);
		CHECK_EQ(pread(fd, p, N * PAGE, 0), N * PAGE);
		CHECK_CONTENT(p, N, SEED + 1);
		CHECK(WAIT_FOR(SETTLES, writable() == 0));
		CHECK_CONTENT(p, N, SEED + 1);
		CHECK(!munmap(p, N * PAGE));
	}
	close(fd);
	CHECK(!munmap(src, N * PAGE));
}

static void swapped(void)
{
	char *p;

	if (!swap_on(64))
		skip("no zram");
	budget("max");
	p = upgraded(N);
	evict_to_swap(p, N);
	CHECK(WAIT_FOR(SETTLES, writable() == 0));
	CHECK_CONTENT(p, N, SEED);
	CHECK(!munmap(p, N * PAGE));
	swap_off();
}

/* --- the node's own budget ---------------------------------------------------- */

static void node_limited(void)
{
	char text[32], *p = map_pages(N);

	budget("max");
	snprintf(text, sizeof(text), "%lu", N / 2 * PAGE);
	CHECK_EQ(write_text(node_file("writable_budget"), text), 0);
	CHECK_EQ(node_number("writable_budget"), N / 2 * PAGE);
	fill(p, N, SEED);
	demote(p, N);
	rewrite_all(p, N);
	CHECK_EQ(writable(), N / 2 * PAGE);
	CHECK_EQ(count_resident(p, N), N / 2);
	/* Lowered, the node takes back. */
	CHECK_EQ(write_text(node_file("writable_budget"), "0"), 0);
	CHECK(WAIT_FOR(SETTLES, writable() == 0));
	/* Counted when the worker is through with the cgroup. */
	CHECK(WAIT_FOR(SETTLES, stat_of("revoke") > 0));
	CHECK_EQ(write_text(node_file("writable_budget"), "-1"), -EINVAL);
	CHECK_EQ(write_text(node_file("writable_budget"), "max"), -EINVAL);
	CHECK_EQ(node_number("writable_budget"), 0);
	CHECK_EQ(write_text(node_file("writable_budget"), "auto"), 0);
	CHECK_CONTENT(p, N, SEED);
	CHECK(!munmap(p, N * PAGE));
}

/* Nothing is writable on a node of which nobody knows what it can take. */
static void node_lost(void)
{
	char *p;

	budget("max");
	p = upgraded(N);
	debug_set(SIM "drop", "1");
	CHECK(WAIT_FOR(SETTLES, state_is("lost")));
	CHECK(WAIT_FOR(SETTLES, writable() == 0));
	CHECK_EQ(count_resident(p, N), N);
	rewrite(p);
	CHECK_EQ(count_resident(p, N), N - 1);
	debug_set(SIM "drop", "0");
	CHECK(WAIT_FOR(SETTLES, state_is("open")));
	rewrite_all(p, N);
	CHECK_EQ(writable(), (N - 1) * PAGE);
	/* Offline it moves them off instead. */
	CHECK_EQ(write_text(node_file("state"), "offline"), 0);
	CHECK_EQ(writable(), 0);
	CHECK_EQ(count_resident(p, N), 0);
	CHECK_EQ(write_text(node_file("state"), "open"), 0);
	CHECK_CONTENT(p, N, SEED);
	CHECK(!munmap(p, N * PAGE));
}

/*
 * A number that the device could hold is a limit, also when it was written while
 * nothing was known.
 */
static void node_limited_while_lost(void)
{
	int64_t reserve = node_number("reserve_bytes");
	char text[32], *p;

	budget("max");
	p = resident_pages(N, SEED);
	debug_set(SIM "drop", "1");
	CHECK(WAIT_FOR(SETTLES, state_is("lost")));
	snprintf(text, sizeof(text), "%lu", N * PAGE);
	CHECK_EQ(write_text(node_file("writable_budget"), text), 0);
	debug_set(SIM "drop", "0");
	CHECK(WAIT_FOR(SETTLES, state_is("open")));

	/* No proven room, no upgrade */
	snprintf(text, sizeof(text), "%lld", (long long)node_number("physical_bytes"));
	CHECK_EQ(write_text(node_file("reserve_bytes"), text), 0);
	rewrite_all(p, N);
	CHECK_EQ(writable(), 0);
	snprintf(text, sizeof(text), "%lld", (long long)reserve);
	CHECK_EQ(write_text(node_file("reserve_bytes"), text), 0);
	CHECK_EQ(write_text(node_file("writable_budget"), "auto"), 0);
	CHECK_CONTENT(p, N, SEED);
	CHECK(!munmap(p, N * PAGE));
}

/* What is writable may yet fill the cells: it is not room for others. */
static void covered_by_room(void)
{
	size_t pages = node_number("physical_bytes") / 2 * 3 / PAGE / N * N;
	int64_t before;
	char *p;

	budget("max");
	fill_period = 8;
	p = map_pages(pages);
	fill(p, pages, SEED);
	demote(p, pages);
	/* All of them compress well; after this, none does. */
	rewrite_all(p, pages);
	CHECK(WAIT_FOR(SETTLES, node_number("free_bound_bytes") > 0));
	before = writable();
	CHECK(before > 0);
	CHECK(before < node_number("physical_bytes"));
	CHECK(stat_of("promote_write") > 0);
	fill_period = 512;
	for (size_t i = 0; i < pages; i += N)
		fill(p + i * PAGE, N, SEED + i);
	CHECK_EQ(node_number("over_capacity"), 0);
	tap_note("%lld KiB writable of %zu, %lld pages promoted", (long long)before / 1024,
		 pages * PAGE / 1024, (long long)stat_of("promote_write"));
	for (size_t i = 0; i < pages; i += N)
		CHECK_CONTENT(p + i * PAGE, N, SEED + i);
	CHECK(!munmap(p, pages * PAGE));
}

static uint64_t random_state = RANDOM_STATE;

/* So many accesses to pages at random, one in five a store; seconds it took */
static double use(char *p, size_t pages, size_t accesses)
{
	double start = now();

	for (size_t i = 0; i < accesses; i++) {
		char *page = p + next_random(&random_state) % pages * PAGE;

		if (i % 5)
			(void)*(volatile char *)page;
		else
			rewrite(page);
	}
	return now() - start;
}

/*
 * With a budget, but room on the node for a part of it only: pages that are writable
 * keep no room from the others, and are not taken back and given again all the time.
 * Nothing is counted here that depends on how fast the machine is.
 */
static void room_binds(void)
{
	size_t pages = 24 * MIB / PAGE, accesses = 20000 * scale();
	int64_t reserve = node_number("reserve_bytes"), demoted, upgraded, revoked, refused;
	double with, without;
	char text[32], *p;

	CHECK_EQ(cg_write(&cg_here, "memory.swap.max", "0"), 0);
	CHECK_EQ(cg_printf(&cg_here, "memory.max", "%lu", 8 * MIB), 0);
	fill_period = 128;
	p = map_pages(pages);
	fill(p, pages, SEED);
	CHECK(count_resident(p, pages) > pages / 2);
	/* Room for a part: 6 MiB of some 16 that are resident */
	CHECK(WAIT_FOR(SETTLES, node_number("free_bound_bytes") >
				node_number("physical_bytes") / 8 * 5));
	snprintf(text, sizeof(text), "%lld",
		 (long long)node_number("physical_free_bytes") - 6 * (long long)MIB);
	CHECK_EQ(write_text(node_file("reserve_bytes"), text), 0);

	without = use(p, pages, accesses);
	budget("max");
	use(p, pages, accesses);
	demoted = stat_of("demote");
	upgraded = stat_of("upgrade");
	revoked = stat_of("revoke");
	refused = stat_of("refuse_room");
	with = use(p, pages, accesses);
	demoted = stat_of("demote") - demoted;
	upgraded = stat_of("upgrade") - upgraded;
	revoked = stat_of("revoke") - revoked;
	refused = stat_of("refuse_room") - refused;
	tap_note("%.2f s without, %.2f s with a budget: %lld demoted, %lld upgraded, %lld revoked, %lld times no room, %lld KiB writable",
		 without, with, (long long)demoted, (long long)upgraded, (long long)revoked,
		 (long long)refused, (long long)writable() / 1024);
	/* Before any of these fails: others need it */
	snprintf(text, sizeof(text), "%lld", (long long)reserve);
	CHECK_EQ(write_text(node_file("reserve_bytes"), text), 0);
	CHECK(writable() > 0);
	/* One in five is a store. A budget that chased itself made all five times slower. */
	CHECK(with < 2 * without);
	CHECK(revoked <= (int64_t)accesses / 5 / 3);
	CHECK(refused <= demoted / 10);
	CHECK_CONTENT(p, pages, SEED);
	CHECK(!munmap(p, pages * PAGE));
}

static const struct scenario scenarios[] = {
	{ "without a budget every write promotes", none_by_default },
	{ "within a budget pages are written where they are", in_place },
	{ "a budget is a limit", limited },
	{ "budgets bind down the tree", hierarchy },
	{ "what that comes to is shown", effective },
	{ "a budget of nothing is no event", nothing_is_no_event },
	{ "a lower budget takes back what is writable", lowered },
	{ "... while threads write", lowered_under_writers },
	{ "... from each in proportion", in_proportion },
	{ "... and so does that of a cgroup that is gone", left_behind },
	{ "... but not from who has a reference", held },
	{ "... for whom nobody waits for ever", held_too_long },
	{ "... whom no process may know", held_by_a_pipe },
	{ "... nor does a limit", held_above_a_limit },
	{ "... and the freezer is no error", frozen, S_OPERATED },
	{ "... without waiting", without_waiting },
	{ "... without keeping who removes the cgroup", removed_meanwhile },
	{ "pages that nobody writes to are recycled", recycled },
	{ "... however many they are", many_recycled },
	{ "... and whatever others have", others_recycled },
	{ "lazily freed pages lose no store", lazyfree },
	{ "fork ends it", forked },
	{ "mprotect there and back", protected },
	{ "direct I/O into upgraded pages", direct_io },
	{ "to swap", swapped },
	{ "a node has a budget, too", node_limited },
	{ "lost or offline, a node has none", node_lost },
	{ "a node is limited while it is lost", node_limited_while_lost },
	{ "proven room covers what is writable", covered_by_room },
	{ "... and leaves some to who is demoted", room_binds },
};

int main(void)
{
	setup();
	run_scenarios(scenarios, ARRAY_SIZE(scenarios), "", 240);
	check_device();
	teardown();
	return tap_end();
}
