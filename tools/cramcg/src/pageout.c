// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Demotion of the memory of one process, by process_madvise(2).  The kernel answers with
 * the bytes that it has looked at, never with what became of them: that is counted.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/pidfd.h>
#include <sys/uio.h>

#include "pageout.h"

/*
 * The kernel holds the lock of the address space for reading during a call, so that a
 * process that maps memory waits for it; and what stands against more is looked at
 * between two calls, so that little goes to swap instead.
 */
#define BATCH_MOST	(32ULL << 20)
#define BATCH_LEAST	(1ULL << 20)
#define VECTORS		64
/* Address space with little in it is walked fast; the kernel takes up to 2G a call */
#define VECTOR_MOST	(1ULL << 30)

/* --- ranges ---------------------------------------------------------------------------- */

bool add_range(struct ranges *r, const struct range *new)
{
	if (!(r->n & (r->n - 1))) {
		struct range *more = reallocarray(r->list, r->n ? 2 * r->n : 1, sizeof(*more));

		if (!more)
			return false;
		r->list = more;
	}
	r->list[r->n++] = *new;
	return true;
}

static bool parse_address(const char **text, uint64_t *address)
{
	size_t len = strspn(*text, "0123456789abcdefABCDEF");

	if (!len || len > 16)
		return false;
	*address = strtoull(*text, NULL, 16);
	*text += len;
	return !(*address % getpagesize());
}

bool parse_range(const char *text, struct range *r)
{
	return parse_address(&text, &r->from) && *text++ == '-' && parse_address(&text, &r->to) &&
	       !*text && r->from < r->to;
}

/* --- looking at a process ------------------------------------------------------------------ */

const char *process_words(int err)
{
	switch (err) {
	case EPERM:
	case EACCES:
		return "not permitted: that needs CAP_SYS_NICE, and the right to look into the process (PTRACE_MODE_READ, see ptrace(2)): root has both";
	case ESRCH:
	case ENOENT:
		return "it has ended, or has no memory of its own";
	case ENOSYS:
		return "this kernel has no process_madvise(2) (CONFIG_ADVISE_SYSCALLS)";
	case EBADF:
		return "the processes of a recorded tree cannot be asked; --dry-run shows what would be";
	case EINVAL:
		return "locked in memory meanwhile, or a mapping that cannot be demoted";
	case ENODEV:
		return "it has gone, or cram is not enabled for it any more";
	case EINTR:
		return "a signal came";
	default:
		return strerror(err);
	}
}

static int process_failed(struct process *p, int err, const char *what)
{
	if (err == ESRCH || err == ENOENT) {
		p->gone = true;
	} else {
		p->err = err;
		p->what = what;
	}
	return -err;
}

static FILE *open_in(struct process *p, const char *file)
{
	int fd = openat(p->dir, file, O_RDONLY | O_CLOEXEC);
	FILE *f = fd < 0 ? NULL : fdopen(fd, "r");

	if (!f && fd >= 0)
		close(fd);
	return f;
}

static void read_name(struct process *p)
{
	_cleanup_fclose_ FILE *f = open_in(p, "comm");

	if (!f || !fgets(p->name, sizeof(p->name), f))
		strcpy(p->name, "?");
	p->name[strcspn(p->name, "\n")] = '\0';
}

int process_open(struct cramcg *ctx, struct process *p, unsigned long pid)
{
	_cleanup_free_ char *dir = NULL, *path = NULL;

	*p = (struct process) { .pid = pid, .dir = -1, .fd = -1, .rule = -1 };
	strcpy(p->name, "?");
	if (asprintf(&dir, "%s/proc/%lu", cramcg_root(ctx), pid) < 0) {
		dir = NULL;
		return process_failed(p, ENOMEM, "");
	}
	p->dir = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (p->dir < 0)
		return process_failed(p, errno, "/proc");
	/* In a recorded tree there is no process: its directory, which the kernel refuses */
	p->fd = *cramcg_root(ctx) ? dup(p->dir) : pidfd_open(pid, 0);
	if (p->fd < 0)
		return process_failed(p, errno == EINVAL ? ESRCH : errno, "pidfd_open");
	read_name(p);
	if (cramcg_path_of_pid(ctx, pid, &path) || cramcg_owner(ctx, path, &p->owner))
		return process_failed(p, ESRCH, "cgroup");
	return 0;
}

void process_close(struct process *p)
{
	close_fd(&p->dir);
	close_fd(&p->fd);
	free(p->owner);
	free(p->mend);
	free(p->todo.list);
	smaps_free(&p->smaps);
}

/* Also what the kernel knows of it for reclaim, and for who else reads Referenced: */
int process_clear_referenced(struct process *p)
{
	_cleanup_close_ int fd = openat(p->dir, "clear_refs", O_WRONLY | O_CLOEXEC);

	if (fd < 0 || write(fd, "1\n", 2) < 0)
		return process_failed(p, errno, "clear_refs");
	return 0;
}

/* The process that /proc/PID was of still has its number when this succeeds */
int process_look(struct process *p, bool cold)
{
	_cleanup_fclose_ FILE *f = open_in(p, "smaps");
	int err = f ? smaps_parse(f, &p->smaps) : -errno;

	if (err)
		return process_failed(p, -err, "smaps");
	for (size_t i = 0; cold && i < p->smaps.n; i++) {
		struct mapping *m = &p->smaps.list[i];

		if (!m->left_out && m->referenced)
			m->left_out = "not cold: referenced meanwhile";
	}
	return 0;
}

void process_sum(struct process *p, struct mapping *sum)
{
	_cleanup_fclose_ FILE *f = open_in(p, "smaps_rollup");

	if (f)
		p->has_cram = rollup_parse(f, sum);
	if (!f || ferror(f))
		process_failed(p, errno, "smaps_rollup");
}

static bool select_part(struct process *p, const struct mapping *m, uint64_t from, uint64_t to)
{
	uint64_t most = mapping_left(m);

	from = from > m->from ? from : m->from;
	to = to < m->to ? to : m->to;
	if (from >= to || !most)
		return true;
	most = most < to - from ? most : to - from;
	p->asked += most;
	p->length += to - from;
	return add_range(&p->todo, &(struct range) { from, to, most });
}

int process_select(struct process *p, const struct ranges *wanted)
{
	bool good = true;

	for (size_t i = 0; good && i < p->smaps.n; i++) {
		const struct mapping *m = &p->smaps.list[i];

		if (m->left_out)
			continue;
		if (!wanted->n)
			good = select_part(p, m, m->from, m->to);
		for (size_t k = 0; good && k < wanted->n; k++)
			good = select_part(p, m, wanted->list[k].from, wanted->list[k].to);
	}
	return good ? 0 : process_failed(p, ENOMEM, "");
}

/* --- asking ------------------------------------------------------------------------------------ */

uint64_t process_room(struct cramcg *ctx, struct process *p)
{
	struct bounds bounds = { 0 };
	const struct bound *b = &bounds.resident;
	uint64_t room = BATCH_MOST;
	struct sample s = { 0 };
	bool root = !p->owner[1];

	if (!root && sample_path(ctx, p->owner, READ_USAGE | READ_NODES, &s)) {
		process_failed(p, ENODEV, "cgroup");
		return 0;
	}
	if (!root)
		find_bounds(ctx, p->owner, &bounds);
	p->rule = rule_now(ctx, root ? NULL : s.nodes, &bounds);
	if (p->rule >= 0) {
		p->mend = mend_words(p->rule, &bounds);
		room = 0;
	} else if (b->path && b->limit - b->usage < room) {
		room = b->limit - b->usage;
		/* What is resident already is asked for as well, and takes no room */
		room = room > BATCH_LEAST ? room : BATCH_LEAST;
	}
	free_bounds(&bounds);
	return room;
}

struct cursor {
	size_t i;			/* of the range */
	uint64_t done;			/* of it */
};

static uint64_t at_most(uint64_t a, uint64_t b)
{
	return a < b ? a : b;
}

static int fill_batch(const struct ranges *r, struct cursor at, uint64_t room, struct iovec *v)
{
	uint64_t page = getpagesize();
	int n = 0;

	for (; at.i < r->n && room >= page && n < VECTORS; at.i++, at.done = 0) {
		const struct range *part = &r->list[at.i];
		uint64_t from = part->from + at.done, len = part->to - from;
		uint64_t cost = at_most(part->most, len);

		if (cost > room)
			len = cost = room / page * page;
		len = at_most(len, VECTOR_MOST);
		v[n++] = (struct iovec) { (void *)(uintptr_t)from, len };
		if (from + len < part->to)
			break;
		room -= cost;
	}
	return n;
}

static void advance(const struct ranges *r, struct cursor *at, uint64_t bytes)
{
	while (bytes && at->i < r->n) {
		uint64_t len = r->list[at->i].to - r->list[at->i].from - at->done;

		if (bytes < len) {
			at->done += bytes;
			return;
		}
		bytes -= len;
		*at = (struct cursor) { at->i + 1, 0 };
	}
}

/* The first vector failed, those behind it were not looked at; false: no other is worth it */
static bool skip(struct process *p, const struct iovec *v, int err)
{
	switch (err) {
	case ENOMEM:
		/* Unmapped meanwhile, in part: what is still there was done all the same */
		p->advised += v->iov_len;
		return true;
	case EPERM:
	case EACCES:
	case ESRCH:
	case ENOSYS:
	case EBADF:
		process_failed(p, err, "process_madvise");
		return false;
	}
	if (!p->left_err) {
		p->left_at = (uintptr_t)v->iov_base;
		p->left_err = err;
	}
	return err != EINTR;
}

void process_pageout(struct cramcg *ctx, struct process *p, volatile sig_atomic_t *stop,
		     void (*tick)(struct process *p))
{
	struct cursor at = { 0 };
	struct iovec v[VECTORS];

	while (at.i < p->todo.n && !*stop) {
		uint64_t room = process_room(ctx, p);
		int n = room ? fill_batch(&p->todo, at, room, v) : 0;
		ssize_t done;

		if (!n)
			return;
		done = process_madvise(p->fd, v, n, MADV_PAGEOUT, 0);
		if (done > 0)
			p->advised += done;
		else if (skip(p, v, done ? errno : EINVAL))
			done = v->iov_len;
		else
			return;
		advance(&p->todo, &at, done);
		tick(p);
	}
}
