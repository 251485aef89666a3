/* SPDX-License-Identifier: GPL-2.0 */
/* The code behind util.h, which includes it: every program is one .c file. */

#include <dirent.h>
#include <fcntl.h>
#include <linux/perf_event.h>
#include <sched.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/stat.h>
#include <sys/swap.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

/* --- failing ---------------------------------------------------------------- */

/* What a scenario's processes leave behind for the parent. */
static struct verdict {
	char skipped[200];
	/* Of the demotions that had to be tried again: how many, and the most rounds. */
	unsigned int tried_again, rounds;
	/* What refused one for more than a round, if not what ends by itself */
	const char *refused;
} *verdict;

__attribute__((format(printf, 1, 0)))
static void note_v(const char *fmt, va_list ap)
{
	char text[600];

	vsnprintf(text, sizeof(text), fmt, ap);
	tap_note("%s", text);
}

void check_failed(const char *file, int line, const char *cond, const char *fmt, ...)
{
	va_list ap;

	tap_note("%s:%d: not true: %s", file, line, cond);
	va_start(ap, fmt);
	if (fmt[1])
		note_v(fmt + 1, ap);
	va_end(ap);
	fflush(stdout);
	_exit(KSFT_FAIL);
}

void skip(const char *missing, ...)
{
	va_list ap;

	va_start(ap, missing);
	vsnprintf(verdict->skipped, sizeof(verdict->skipped), missing, ap);
	va_end(ap);
	_exit(KSFT_SKIP);
}

/* --- text files ------------------------------------------------------------- */

int read_text(const char *path, char *buf, size_t size)
{
	size_t len = 0;
	ssize_t got;
	int fd, err;

	*buf = '\0';
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return -errno;
	while (len < size - 1) {
		got = read(fd, buf + len, size - 1 - len);
		if (got < 0) {
			err = -errno;
			close(fd);
			return err;
		}
		if (!got)
			break;
		len += got;
	}
	buf[len] = '\0';
	close(fd);
	return len;
}

int write_bytes(const char *path, const char *text, size_t len, int flags)
{
	int fd = open(path, O_WRONLY | O_CLOEXEC | flags);
	int err = 0;

	if (fd < 0)
		return -errno;
	if (write(fd, text, len) < 0)
		err = -errno;
	close(fd);
	return err;
}

int write_text(const char *path, const char *text)
{
	return write_bytes(path, text, strlen(text), 0);
}

static int64_t number_of(const char *text)
{
	char *end;
	int64_t n;

	if (!strncmp(text, "max", 3))
		return NO_LIMIT;
	n = strtoll(text, &end, 10);
	return end == text ? -EINVAL : n;
}

int64_t read_number(const char *path)
{
	char buf[64];
	int len = read_text(path, buf, sizeof(buf));

	return len < 0 ? len : number_of(buf);
}

/* The whole of a longer file: valid until the next call. */
static char *slurp(const char *path)
{
	static char buf[256 * 1024];

	return read_text(path, buf, sizeof(buf)) < 0 ? NULL : buf;
}

int64_t read_key(const char *path, const char *key)
{
	size_t len = strlen(key);
	char *line = slurp(path);

	if (!line)
		return -errno;
	for (; line && *line; line = strchr(line, '\n'), line += !!line) {
		if (!strncmp(line, key, len) && line[len] == ' ')
			return number_of(line + len + 1);
	}
	return -ENOENT;
}

int64_t sum_keys(const char *path, const char *prefix)
{
	char *line = slurp(path);
	int64_t sum = 0;

	if (!line)
		return -errno;
	for (; line && *line; line = strchr(line, '\n'), line += !!line) {
		char *space = strpbrk(line, " \n");

		if (!strncmp(line, prefix, strlen(prefix)) && space && *space == ' ')
			sum += number_of(space + 1);
	}
	return sum;
}

int64_t read_kb(const char *path, const char *key)
{
	size_t len = strlen(key);
	int64_t sum = -ENOENT;
	char *line = slurp(path);

	for (; line && *line; line = strchr(line, '\n'), line += !!line) {
		if (!strncmp(line, key, len) && line[len] == ':')
			sum = (sum < 0 ? 0 : sum) + strtoll(line + len + 1, NULL, 10) * 1024;
	}
	return sum;
}

bool exists(const char *path)
{
	return !access(path, F_OK);
}

/* --- time ------------------------------------------------------------------- */

double now(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return ts.tv_sec + ts.tv_nsec / 1e9;
}

void nap_ms(unsigned int ms)
{
	struct timespec ts = { ms / 1000, ms % 1000 * 1000000L };

	nanosleep(&ts, NULL);
}

/* --- cgroups ---------------------------------------------------------------- */

struct cg cg_here;

struct cg cg_make(const char *parent, const char *name, ...)
{
	struct cg cg;
	char leaf[100];
	va_list ap;

	va_start(ap, name);
	vsnprintf(leaf, sizeof(leaf), name, ap);
	va_end(ap);
	snprintf(cg.path, sizeof(cg.path), "%.90s/%s", parent, leaf);
	CHECK(!mkdir(cg.path, 0755) || errno == EEXIST, "mkdir %s: %m", cg.path);
	return cg;
}

const char *cg_file(const struct cg *cg, const char *file)
{
	static char path[4][300];
	static int turn;

	turn = (turn + 1) % 4;
	snprintf(path[turn], sizeof(path[0]), "%.199s/%s", cg->path, file);
	return path[turn];
}

int cg_write(const struct cg *cg, const char *file, const char *text)
{
	return write_text(cg_file(cg, file), text);
}

int cg_printf(const struct cg *cg, const char *file, const char *fmt, ...)
{
	char text[200];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	return cg_write(cg, file, text);
}

int64_t cg_number(const struct cg *cg, const char *file)
{
	return read_number(cg_file(cg, file));
}

int64_t cg_key(const struct cg *cg, const char *file, const char *key)
{
	return read_key(cg_file(cg, file), key);
}

int cg_enter(const struct cg *cg, pid_t pid)
{
	return cg_printf(cg, "cgroup.procs", "%d", pid);
}

static bool is_empty(const struct cg *cg)
{
	return cg_key(cg, "cgroup.events", "populated") == 0;
}

/* Depth first: scenarios make children. */
int cg_remove(const struct cg *cg)
{
	struct dirent *de;
	DIR *dir;

	cg_write(cg, "cgroup.kill", "1");
	WAIT_FOR(SETTLES, is_empty(cg));
	dir = opendir(cg->path);
	while (dir && (de = readdir(dir))) {
		struct cg child;

		if (de->d_type != DT_DIR || de->d_name[0] == '.')
			continue;
		snprintf(child.path, sizeof(child.path), "%.100s/%.90s", cg->path, de->d_name);
		cg_remove(&child);
	}
	if (dir)
		closedir(dir);
	return WAIT_FOR(SETTLES, !rmdir(cg->path) || errno == ENOENT) ? 0 : -EBUSY;
}

/*
 * Memory cgroups charge a batch of 64 pages per CPU ahead (MEMCG_CHARGE_BATCH)
 * and give it back late, so memory.current moves in such steps. The rest is for
 * page tables and slab objects that come and go with what a test does.
 */
int64_t charge_slack(void)
{
	return (64 * sysconf(_SC_NPROCESSORS_ONLN) + 64) * PAGE;
}

/* --- the node --------------------------------------------------------------- */

int cram_node(void)
{
	static int node = -1;
	char path[100];
	int i;

	for (i = 0; node < 0 && i < 64; i++) {
		snprintf(path, sizeof(path), "/sys/devices/system/node/node%d/cram/state", i);
		if (exists(path))
			node = i;
	}
	return node;
}

const char *node_file(const char *file)
{
	static char path[200];

	snprintf(path, sizeof(path), "/sys/devices/system/node/node%d/cram/%s", cram_node(), file);
	return path;
}

bool state_is(const char *want)
{
	char buf[64];

	read_text(node_file("state"), buf, sizeof(buf));
	return !strncmp(buf, want, strlen(want));
}

int64_t node_number(const char *file)
{
	return read_number(node_file(file));
}

int64_t node_word(const char *word)
{
	char buf[2000], *at;

	CHECK(read_text(DEBUGFS "nodes", buf, sizeof(buf)) > 0);
	at = strstr(buf, word);
	CHECK(at, "%s", word);
	return atoll(at + strlen(word));
}

#define TRACING	"/sys/kernel/tracing/"

/* Is a good reading in the trace? */
static bool reading_traced(void)
{
	FILE *f = fopen(TRACING "trace", "r");
	char line[500], *p;
	bool good = false;
	int err;

	CHECK(f, "%m");
	while (!good && fgets(line, sizeof(line), f)) {
		p = strstr(line, "cram_reading: ");
		good = p && sscanf(p, "cram_reading: nid=%*d err=%d", &err) == 1 && !err;
	}
	fclose(f);
	return good;
}

void trace_lease(bool on)
{
	if (on)
		CHECK_EQ(write_text(TRACING "trace", " "), 0);
	CHECK_EQ(write_text(TRACING "events/cram/cram_reading/enable", on ? "1" : "0"), 0);
	CHECK_EQ(write_text(TRACING "events/cram/cram_node_state/enable", on ? "1" : "0"), 0);
	CHECK(!on || WAIT_FOR(SETTLES, reading_traced()));
}

/* "task-pid [cpu] flags seconds: event: ..." */
static double trace_time(const char *line, const char *event)
{
	const char *p = event - 3;

	while (p > line && *p != ' ')
		p--;
	return strtod(p, NULL);
}

bool lost_by_lease(void)
{
	double good = 0, lost = 0;
	bool late = false;
	FILE *f = fopen(TRACING "trace", "r");
	char line[500], *p;
	int err;

	CHECK(f, "%m");
	while (!lost && fgets(line, sizeof(line), f)) {
		p = strstr(line, "cram_reading: ");
		if (p && sscanf(p, "cram_reading: nid=%*d err=%d", &err) == 1) {
			late = err;
			if (!err)
				good = trace_time(line, p);
		}
		p = strstr(line, "cram_node_state: ");
		if (p && strstr(p, "state=lost"))
			lost = trace_time(line, p);
	}
	fclose(f);
	tap_note("lost %.2f s after the last good reading%s", lost - good,
		 late ? ", and after one that failed" : "");
	return lost && good && !late;
}

int64_t unannounced_stores(void)
{
	int err = write_text(SIM "patrol", "1");

	return err ? err : read_number(SIM "unannounced");
}

void check_device(void)
{
	if (exists(SIM "patrol"))
		tap_ok(unannounced_stores() == 0, "nothing was stored without consent");
	tap_ok(node_number("over_capacity") == 0, "nothing was stored over capacity");
}

/* --- memory with known content ---------------------------------------------- */

#define WORDS (PAGE / sizeof(uint64_t))

unsigned int fill_period = 64;

static uint64_t mix(uint64_t x)
{
	x ^= x >> 30;
	x *= 0xbf58476d1ce4e5b9ULL;
	x ^= x >> 27;
	x *= 0x94d049bb133111ebULL;
	return x ^ x >> 31;
}

/* The words of one page before they repeat. */
static void words_of(uint64_t *w, uint64_t seed, size_t index)
{
	uint64_t base = mix(seed * 0x9e3779b97f4a7c15ULL + index);
	unsigned int i;

	for (i = 0; i < fill_period; i++)
		w[i] = mix(base + i);
}

void *map_pages(size_t pages)
{
	void *p = mmap(NULL, pages * PAGE, PROT_READ | PROT_WRITE,
		       MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	CHECK(p != MAP_FAILED, "%zu pages: %m", pages);
	return p;
}

char *map_huge_area(size_t pages)
{
	uintptr_t p = (uintptr_t)map_pages(pages + HUGE);

	return (char *)((p + HUGE * PAGE - 1) & ~(HUGE * PAGE - 1));
}

void unmap_pages(void *p, size_t pages)
{
	CHECK(!munmap(p, pages * PAGE));
}

void fill_page(void *p, uint64_t seed, size_t index)
{
	uint64_t w[WORDS];
	size_t i;

	words_of(w, seed, index);
	for (i = 0; i < WORDS; i += fill_period)
		memcpy((uint64_t *)p + i, w, fill_period * sizeof(*w));
}

void fill(void *p, size_t pages, uint64_t seed)
{
	size_t i;

	for (i = 0; i < pages; i++)
		fill_page((char *)p + i * PAGE, seed, i);
}

/* Marsaglia's xorshift, 64 bits */
uint64_t next_random(uint64_t *state)
{
	*state ^= *state << 13;
	*state ^= *state >> 7;
	*state ^= *state << 17;
	return *state;
}

void rewrite(void *p)
{
	volatile char *c = p;

	*c = *c;
}

bool page_differs(const void *p, uint64_t seed, size_t index)
{
	uint64_t w[WORDS];
	size_t i;

	words_of(w, seed, index);
	for (i = 0; i < WORDS; i += fill_period)
		if (memcmp((const uint64_t *)p + i, w, fill_period * sizeof(*w)))
			return true;
	return false;
}

ssize_t differs(const void *p, size_t pages, uint64_t seed)
{
	size_t i;

	for (i = 0; i < pages; i++)
		if (page_differs((const char *)p + i * PAGE, seed, i))
			return i;
	return -1;
}

/* --- where pages are -------------------------------------------------------- */

static void read_pagemap(pid_t pid, const void *p, size_t pages, uint64_t *e)
{
	char path[64];
	ssize_t want = pages * sizeof(*e);
	int fd;

	if (pid)
		snprintf(path, sizeof(path), "/proc/%d/pagemap", pid);
	else
		strcpy(path, "/proc/self/pagemap");
	fd = open(path, O_RDONLY | O_CLOEXEC);
	CHECK(fd >= 0, "%s: %m", path);
	CHECK_EQ(pread(fd, e, want, (uintptr_t)p / PAGE * sizeof(*e)), want);
	close(fd);
}

uint64_t pagemap_of(pid_t pid, const void *p)
{
	uint64_t e;

	read_pagemap(pid, p, 1, &e);
	return e;
}

uint64_t pagemap(const void *p)
{
	return pagemap_of(0, p);
}

static uint64_t entry_pfn(uint64_t e)
{
	return e & PM_PRESENT ? PM_PFN(e) : 0;
}

uint64_t pfn_of(const void *p)
{
	return entry_pfn(pagemap(p));
}

/* The node's memory blocks, as one range: read once. */
static struct {
	uint64_t first, last;
} node_pfns;

static void find_node_pfns(void)
{
	char path[300], buf[64];
	uint64_t block, index;
	struct dirent *de;
	DIR *dir;

	read_text("/sys/devices/system/memory/block_size_bytes", buf, sizeof(buf));
	block = strtoull(buf, NULL, 16) / PAGE;
	snprintf(path, sizeof(path), "/sys/devices/system/node/node%d", cram_node());
	dir = opendir(path);
	CHECK(dir, "%s: %m", path);
	node_pfns.first = UINT64_MAX;
	while ((de = readdir(dir))) {
		if (strncmp(de->d_name, "memory", 6) || de->d_name[6] < '0' || de->d_name[6] > '9')
			continue;
		snprintf(path, sizeof(path), "/sys/devices/system/memory/%s/phys_index", de->d_name);
		if (read_text(path, buf, sizeof(buf)) < 0)
			continue;
		index = strtoull(buf, NULL, 16);
		if (index * block < node_pfns.first)
			node_pfns.first = index * block;
		if ((index + 1) * block - 1 > node_pfns.last)
			node_pfns.last = (index + 1) * block - 1;
	}
	closedir(dir);
}

bool pfn_on_node(uint64_t pfn)
{
	return pfn && pfn >= node_pfns.first && pfn <= node_pfns.last;
}

bool is_resident(const void *p)
{
	return pfn_on_node(pfn_of(p));
}

static bool entry_resident(uint64_t e)
{
	return pfn_on_node(entry_pfn(e));
}

static bool entry_swapped(uint64_t e)
{
	return e & PM_SWAP;
}

static size_t count_entries(pid_t pid, const void *p, size_t pages, bool (*is)(uint64_t))
{
	enum { AT_ONCE = 512 };
	uint64_t e[AT_ONCE];
	size_t i, n, count = 0;

	for (; pages; pages -= n, p = (const char *)p + n * PAGE) {
		n = pages < AT_ONCE ? pages : AT_ONCE;
		read_pagemap(pid, p, n, e);
		for (i = 0; i < n; i++)
			count += is(e[i]);
	}
	return count;
}

size_t count_resident_of(pid_t pid, const void *p, size_t pages)
{
	return count_entries(pid, p, pages, entry_resident);
}

size_t count_resident(const void *p, size_t pages)
{
	return count_resident_of(0, p, pages);
}

size_t count_swapped(const void *p, size_t pages)
{
	return count_entries(0, p, pages, entry_swapped);
}

int node_of(const void *p)
{
	int status = -1;

	if (syscall(SYS_move_pages, 0, 1UL, &p, NULL, &status, 0))
		return -errno;
	return status;
}

void drain_lru(void)
{
	static void *nothing;

	if (!nothing)
		nothing = map_pages(1);
	/* A walk over no page, before which it drains this CPU's batches. */
	madvise(nothing, PAGE, MADV_COLD);
}

/*
 * Refusals that end by themselves: the node wants a reading before it takes more, or has
 * changed its state, or somebody looks at the page right now.
 */
static const char *const passing[] = {
	"cram_refuse_room", "cram_refuse_state", "cram_refuse_page",
};

static int64_t passing_refusals(void)
{
	int64_t sum = 0;
	size_t i;

	for (i = 0; i < ARRAY_SIZE(passing); i++)
		sum += read_key("/proc/vmstat", passing[i]);
	return sum;
}

/* Once more may be bad luck. After that, there is a refusal, and one that ends. */
static void check_refusals(int64_t all, int64_t ends)
{
	if (passing_refusals() == ends)
		verdict->refused = sum_keys("/proc/vmstat", "cram_refuse_") == all ?
				   "nothing" : "what does not end";
}

size_t try_demote(void *p, size_t pages)
{
	int64_t all = sum_keys("/proc/vmstat", "cram_refuse_"), ends = passing_refusals();
	double end = now() + SETTLES;
	unsigned int rounds = 0;
	size_t resident, i;

	CHECK(!madvise(p, pages * PAGE, MADV_PAGEOUT), "%m");
	while ((resident = count_resident(p, pages)) < pages && now() < end) {
		rounds++;
		if (verdict) {
			verdict->tried_again += rounds == 1;
			if (verdict->rounds < rounds)
				verdict->rounds = rounds;
			if (rounds > 1)
				check_refusals(all, ends);
		}
		nap_ms(5);
		/* What was refused may be in swap now: back with it. */
		if (count_swapped(p, pages))
			for (i = 0; i < pages; i++)
				*((volatile char *)p + i * PAGE);
		CHECK(!madvise(p, pages * PAGE, MADV_PAGEOUT), "%m");
	}
	return resident;
}

void evict_to_swap(const void *p, size_t pages)
{
	CHECK(WAIT_FOR(SETTLES, (cg_printf(&cg_here, "cram.reclaim", "%zu to=swap",
					   count_resident(p, pages) * PAGE),
				 count_swapped(p, pages) == pages)));
}

void *resident_pages(size_t pages, uint64_t seed)
{
	void *p = map_pages(pages);

	fill(p, pages, seed);
	demote(p, pages);
	return p;
}

static void survive(int sig)
{
}

void poison_page(void *p)
{
	/* The injection pretends that this process has just read it. */
	signal(SIGBUS, survive);
	if (madvise(p, PAGE, MADV_HWPOISON))
		skip("no MADV_HWPOISON (CONFIG_MEMORY_FAILURE)");
	signal(SIGBUS, SIG_DFL);
}

/* --- the kernel's own checks ------------------------------------------------ */

/* violations() when the scenario began, so that one bug fails one scenario. */
static int64_t violations_before;

static bool has_verify(void)
{
	return exists(DEBUGFS "verify");
}

static void need_debug(const char *path)
{
	if (!exists(path))
		skip("no %s: debugfs, with CONFIG_CRAM_VERIFY and CONFIG_CRAM_SIM", path);
}

void debug_set(const char *path, const char *text)
{
	int err;

	need_debug(path);
	err = write_text(path, text);
	CHECK(!err, "%s to %s: %s", text, path, strerror(-err));
}

int64_t debug_number(const char *path)
{
	need_debug(path);
	return read_number(path);
}

int64_t run_walker(void)
{
	char *text;
	int64_t n;

	if (!has_verify())
		return 0;
	text = slurp(DEBUGFS "verify");
	if (!text)
		return -errno;
	if (strncmp(text, "violations ", 11))
		return -EBADMSG;
	n = number_of(text + 11) - violations_before;
	if (n)
		for (char *line = strtok(text, "\n"); line; line = strtok(NULL, "\n"))
			tap_note("verify: %s", line);
	return n;
}

int64_t violations(void)
{
	return has_verify() ? read_number(DEBUGFS "violations") : 0;
}

/* --- machine-wide settings -------------------------------------------------- */

const char *const lru_names[] = { "classic", "mglru" };

enum lru lru_now;

bool set_lru(enum lru which)
{
	lru_now = which;
	return !write_text("/sys/kernel/mm/lru_gen/enabled", which == LRU_MGLRU ? "y" : "n");
}

/* mkswap: a page of header, "SWAPSPACE2" at its end. */
static bool make_swap(const char *device, size_t mib)
{
	static struct {
		char boot[1024];
		uint32_t version, last_page, nr_bad;
		char rest[PAGE - 1024 - 12 - 10];
		char magic[10];
	} __attribute__((packed)) header = { .version = 1, .magic = "SWAPSPACE2" };
	int fd = open(device, O_WRONLY | O_CLOEXEC);
	bool good;

	header.last_page = mib * MIB / PAGE - 1;
	good = fd >= 0 && write(fd, &header, sizeof(header)) == sizeof(header);
	if (fd >= 0)
		close(fd);
	return good;
}

#define ZRAM "/dev/zram0"

/* The disk that the guest came up with as swap (SWAP=disk), or "" */
static char swap_disk[64];

static void find_swap_disk(void)
{
	char line[256], *end;
	FILE *f = fopen("/proc/swaps", "r");

	while (f && fgets(line, sizeof(line), f)) {
		if (strncmp(line, "/dev/", 5) || !strncmp(line, ZRAM, strlen(ZRAM)))
			continue;
		end = strpbrk(line, " \t");
		snprintf(swap_disk, sizeof(swap_disk), "%.*s", (int)(end - line), line);
	}
	if (f)
		fclose(f);
}

bool swap_on(size_t mib)
{
	char size[32];

	if (*swap_disk)
		return !swapon(swap_disk, 0) || errno == EBUSY;
	if (!exists(ZRAM))
		return false;
	if (read_number("/sys/block/zram0/disksize") == 0) {
		snprintf(size, sizeof(size), "%zu", mib * MIB);
		if (write_text("/sys/block/zram0/disksize", size))
			return false;
	}
	return !swapon(ZRAM, 0) || errno == EBUSY ||
	       (make_swap(ZRAM, read_number("/sys/block/zram0/disksize") / MIB) &&
		!swapon(ZRAM, 0));
}

int swap_off(void)
{
	return swapoff(*swap_disk ? swap_disk : ZRAM) && errno != EINVAL ? -errno : 0;
}

/* --- processes -------------------------------------------------------------- */

struct peer peer_start(void (*fn)(struct peer *up, void *arg), void *arg)
{
	struct peer peer, up;
	int down[2], back[2];

	CHECK(!pipe(down) && !pipe(back), "%m");
	peer = (struct peer){ .in = back[0], .out = down[1] };
	up = (struct peer){ .in = down[0], .out = back[1] };
	peer.pid = fork();
	CHECK(peer.pid >= 0, "%m");
	if (!peer.pid) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		close(peer.in);
		close(peer.out);
		fn(&up, arg);
		fflush(stdout);
		_exit(0);
	}
	close(up.in);
	close(up.out);
	return peer;
}

void tell(struct peer *p, char what)
{
	CHECK_EQ(write(p->out, &what, 1), 1);
}

char hear(struct peer *p)
{
	char what = 0;

	CHECK_EQ(read(p->in, &what, 1), 1);
	return what;
}

int peer_end(struct peer *p)
{
	int status;

	close(p->in);
	close(p->out);
	CHECK_EQ(waitpid(p->pid, &status, 0), p->pid);
	CHECK(WIFEXITED(status), "status %#x", status);
	return WEXITSTATUS(status);
}

void must_fail(void (*fn)(void), const char *words)
{
	char line[800];
	bool said = false;
	int fd[2], status;
	pid_t pid;
	FILE *f;

	CHECK(!pipe(fd), "%m");
	fflush(stdout);
	pid = fork();
	CHECK(pid >= 0, "%m");
	if (!pid) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		dup2(fd[1], STDOUT_FILENO);
		close(fd[0]);
		close(fd[1]);
		fn();
		_exit(0);
	}
	close(fd[1]);
	f = fdopen(fd[0], "r");
	CHECK(f, "%m");
	while (fgets(line, sizeof(line), f)) {
		said |= !!strstr(line, words);
		line[strcspn(line, "\n")] = '\0';
		tap_note("as it should: %s", line);
	}
	fclose(f);
	CHECK_EQ(waitpid(pid, &status, 0), pid);
	if (WIFEXITED(status) && WEXITSTATUS(status) == KSFT_SKIP)
		_exit(KSFT_SKIP);
	CHECK(WIFEXITED(status) && WEXITSTATUS(status) == KSFT_FAIL, "status %#x", status);
	CHECK(said, "not the check that was to fail");
}

void trace_begin(pid_t pid)
{
	CHECK(!ptrace(PTRACE_ATTACH, pid, NULL, NULL), "%m");
	CHECK_EQ(waitpid(pid, NULL, 0), pid);
}

void trace_end(pid_t pid)
{
	CHECK(!ptrace(PTRACE_DETACH, pid, NULL, NULL), "%m");
}

/* --- breakpoints ------------------------------------------------------------ */

__attribute__((noinline, noclone, aligned(4096), section(".text.probed"))) int probed_a(int x)
{
	asm volatile("" : "+r"(x));
	return x + 1;
}

__attribute__((noinline, noclone, section(".text.probed"))) int probed_b(int x)
{
	asm volatile("nop" : "+r"(x));
	return x + 1;
}

/* Where in which file the function is. */
static uint64_t file_offset_of(const void *p, char *path)
{
	unsigned long start, end, offset, found = 0;
	FILE *f = fopen("/proc/self/maps", "r");
	char line[512];

	CHECK(f);
	while (!found && fgets(line, sizeof(line), f))
		if (sscanf(line, "%lx-%lx %*s %lx %*s %*s %255s", &start, &end, &offset, path) == 4 &&
		    start <= (uintptr_t)p && (uintptr_t)p < end)
			found = (uintptr_t)p - start + offset;
	fclose(f);
	return found;
}

int breakpoint_at(int (*fn)(int))
{
	struct perf_event_attr attr = { .size = sizeof(attr) };
	int64_t type = read_number("/sys/bus/event_source/devices/uprobe/type");
	char path[256] = "";
	int fd = -1;

	CHECK_EQ((uintptr_t)probed_a / PAGE, (uintptr_t)probed_b / PAGE);
	attr.type = type;
	attr.config2 = file_offset_of(fn, path);
	attr.config1 = (uintptr_t)path;
	if (type >= 0)
		fd = syscall(SYS_perf_event_open, &attr, 0, -1, -1, 0);
	if (fd < 0)
		skip("no uprobes for perf (CONFIG_UPROBE_EVENTS)");
	return fd;
}

static uint64_t event_count(int event)
{
	uint64_t count = 0;

	if (event >= 0)
		CHECK_EQ(read(event, &count, sizeof(count)), sizeof(count));
	return count;
}

int breakpoint_hits(int event, int (*fn)(int))
{
	int (*volatile call)(int) = fn;
	uint64_t before = event_count(event);
	int i;

	for (i = 0; i < 10; i++)
		CHECK_EQ(call(i), i + 1);
	return event_count(event) - before;
}

/* --- scenarios -------------------------------------------------------------- */

static struct cg parent_cg;

static double times(void)
{
	const char *t = getenv("T");
	double n = t ? atof(t) : 1;

	return n > 0 ? n : 1;
}

unsigned int scale(void)
{
	return times() > 1 ? times() : 1;
}

unsigned int scaled(unsigned int n)
{
	return n * times() > 1 ? n * times() : 1;
}

/* How many scenarios ONLY= has picked. */
static unsigned int picked;

/* What the node's administrator had there; some kernels have no such file. */
static char rate_before[32];

/* Controllers on the way down to the scenarios. */
static bool enable_controllers(const struct cg *cg)
{
	return !cg_write(cg, "cgroup.subtree_control", "+memory +cram");
}

void setup(void)
{
	struct cg root = { CGROOT };

	tap_start();
	verdict = mmap(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	CHECK(verdict != MAP_FAILED);
	if (geteuid())
		tap_skip_all("must be root");
	if (!exists(CGROOT "/cgroup.controllers"))
		tap_skip_all("cgroup v2 is not mounted on " CGROOT);
	if (!enable_controllers(&root))
		tap_skip_all("no cram controller: needs a kernel with CONFIG_CRAM");
	if (cram_node() < 0)
		tap_skip_all("no cram node: boot with cram_sim=512M");
	/* Pages leave for what a test does, and not because it happens to read them. */
	read_text(node_file(HOT_RATE), rate_before, sizeof(rate_before));
	write_text(node_file(HOT_RATE), "0");
	find_node_pfns();
	find_swap_disk();
	parent_cg = cg_make(CGROOT, "cramtest");
	CHECK(enable_controllers(&parent_cg), "no controllers in %s", parent_cg.path);
	if (has_verify())
		tap_ok(violations() == 0 && run_walker() == 0,
		       "the kernel checks itself (CONFIG_CRAM_VERIFY) and is content");
	else
		tap_skip("the kernel checks itself", "no debugfs, or no CONFIG_CRAM_VERIFY");
}

void teardown(void)
{
	/* What the scenarios left to their parent. */
	tap_ok(WAIT_FOR(SETTLES, cg_number(&parent_cg, "cram.current") == 0) &&
	       WAIT_FOR(SETTLES, cg_key(&parent_cg, "memory.stat", "cram") == 0),
	       "all books are at zero");
	tap_ok(!cg_remove(&parent_cg), "the cgroups can be removed");
	write_text(node_file(HOT_RATE), rate_before);
	if (getenv("ONLY") && *getenv("ONLY") && !picked)
		tap_ok(false, "ONLY=%s picks a scenario", getenv("ONLY"));
}

static void in_scenario(const struct scenario *s)
{
	cpu_set_t one;
	char name[16];

	setpgid(0, 0);
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	snprintf(name, sizeof(name), "%.15s", s->name);
	prctl(PR_SET_NAME, name);
	/* Pages that sit in another CPU's LRU batch cannot be isolated. */
	CPU_ZERO(&one);
	CPU_SET(0, &one);
	sched_setaffinity(0, sizeof(one), &one);
	CHECK(!cg_enter(&cg_here, getpid()));
	s->run();
	if (!(s->flags & S_VIOLATES))
		CHECK_EQ(run_walker(), 0);
	fflush(stdout);
	_exit(0);
}

/*
 * Status of @pid as by waitpid(2), killed after some seconds: @late then, because
 * that kill is not the scenario's own; -1: hangs even then.
 */
static int wait_bounded(pid_t pid, unsigned int seconds, bool *late)
{
	int status;

	*late = false;
	if (WAIT_FOR(seconds, waitpid(pid, &status, WNOHANG) == pid))
		return status;
	tap_note("no end after %u s: killing it", seconds);
	*late = true;
	kill(-pid, SIGKILL);
	kill(pid, SIGKILL);
	return WAIT_FOR(SETTLES, waitpid(pid, &status, WNOHANG) == pid) ? status : -1;
}

static bool zero(const char *file, const char *key)
{
	int64_t n = 0;

	WAIT_FOR(SETTLES, (n = key ? cg_key(&cg_here, file, key) : cg_number(&cg_here, file)) == 0);
	if (n)
		tap_note("%s %s is %lld after exit", file, key ?: "", (long long)n);
	return !n;
}

static bool books_closed(int64_t node_used)
{
	int64_t found = run_walker();	/* drains the LRU batches of all CPUs */
	bool good = zero("cram.current", NULL) && zero("cram.stat", "readonly") &&
		    zero("cram.writable_current", NULL) && zero("cram.stat", "writable");
	int64_t n;

	/* Flushed every two seconds, or when more than a batch is pending. */
	if (!WAIT_FOR(SETTLES, (n = cg_key(&cg_here, "memory.stat", "cram")) >= 0 && n < charge_slack())) {
		tap_note("memory.stat cram is %lld after exit", (long long)n);
		good = false;
	}
	if (node_used >= 0 && !WAIT_FOR(SETTLES, (n = node_number("used_bytes")) <= node_used)) {
		tap_note("the node has %lld bytes in use, %lld before", (long long)n,
			 (long long)node_used);
		good = false;
	}
	if (found) {
		tap_note("%lld violations", (long long)found);
		good = false;
	}
	return good;
}

/* --- settings, which a scenario may change and which are put back ---------------- */

static struct setting {
	const char *file;
	char path[200], value[64];
} settings[] = {
	{ "low_bytes" }, { "critical_bytes" }, { "writable_budget" }, { "page_max" },
	{ "lease_ms" }, { "reserve_bytes" }, { HOT_RATE },
	{ "/proc/sys/vm/watermark_scale_factor" },
	{ "/sys/kernel/mm/cram/enabled" },
	{ SIM "drop" }, { SIM "fail" }, { SIM "delay_ms" }, { SIM "lie" },
};

static void settings_note(void)
{
	for (struct setting *s = settings; s < settings + ARRAY_SIZE(settings); s++) {
		snprintf(s->path, sizeof(s->path), "%s", *s->file == '/' ? s->file : node_file(s->file));
		if (read_text(s->path, s->value, sizeof(s->value)) < 0)
			*s->value = '\0';
	}
}

static void settings_restore(void)
{
	char value[64];
	int i;

	/* Twice, because one may be refused until another is back. */
	for (i = 0; i < 2; i++)
		for (struct setting *s = settings; s < settings + ARRAY_SIZE(settings); s++)
			if (*s->value && read_text(s->path, value, sizeof(value)) > 0 &&
			    strcmp(value, s->value))
				write_text(s->path, s->value);
}

/*
 * What the kernel may have done to itself: looked at before anything is put right, so
 * that the next scenario does not begin with what this one has hidden.
 */
static bool node_is_open(void)
{
	char state[64];

	if (WAIT_FOR(SETTLES, state_is("open")))
		return true;
	read_text(node_file("state"), state, sizeof(state));
	tap_note("the node is left behind, and not open: %s", state);
	return false;
}

/* ONLY=words: "words", or "some|others". */
static bool is_picked(const char *name)
{
	const char *only = getenv("ONLY");
	char words[500], *word, *save;
	bool is = false;

	snprintf(words, sizeof(words), "%s", only ?: "");
	if (!*words)
		return true;
	for (word = strtok_r(words, "|", &save); word; word = strtok_r(NULL, "|", &save))
		is |= !!strstr(name, word);
	picked += is;
	return is;
}

void (*before_scenario)(void);

void run_scenario(const struct scenario *s, const char *suffix, unsigned int seconds)
{
	int64_t used = s->flags & S_GLOBAL ? -1 : node_number("used_bytes");
	double start = now();
	char name[200];
	bool good, skipped, late;
	int status;
	pid_t pid;

	snprintf(name, sizeof(name), "%s%s%s", s->name, *suffix ? ", " : "", suffix);
	if (!is_picked(name))
		return;
	memset(verdict, 0, sizeof(*verdict));
	if (before_scenario)
		before_scenario();
	settings_note();
	violations_before = violations();
	cg_here = cg_make(parent_cg.path, "scenario");
	fflush(stdout);
	pid = fork();
	CHECK(pid >= 0, "%m");
	if (!pid)
		in_scenario(s);
	status = wait_bounded(pid, seconds, &late);
	skipped = !late && WIFEXITED(status) && WEXITSTATUS(status) == KSFT_SKIP;
	good = !late && (s->flags & S_KILLED ?
			 WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL : status == 0 || skipped);
	if (WIFSIGNALED(status) && !good)
		tap_note("killed by signal %d", WTERMSIG(status));
	if (cg_write(&cg_here, "cgroup.kill", "1") || !WAIT_FOR(SETTLES, is_empty(&cg_here)))
		tap_note("processes of the scenario do not end");
	if (s->flags & S_VIOLATES)
		violations_before = violations();
	if (verdict->rounds > 1)
		tap_note("%u demotions were tried again, up to %u times", verdict->tried_again,
			 verdict->rounds);
	/* Looked at before anything is put right */
	if (verdict->refused) {
		tap_note("a demotion was tried again and again, refused by %s", verdict->refused);
		good = false;
	}
	settings_restore();
	/* One failure is one, not many. */
	if (!good || skipped || s->flags & (S_VIOLATES | S_OPERATED))
		write_text(node_file("state"), "open");
	good &= node_is_open();
	good &= books_closed(used);
	if (cg_remove(&cg_here)) {
		tap_note("%s cannot be removed", cg_here.path);
		good = false;
	}
	if (now() - start > 3)
		tap_note("took %.1f s:", now() - start);
	/* What was done before it was skipped may not leave anything either. */
	if (skipped && good)
		tap_skip(name, verdict->skipped);
	else
		tap_ok(good, "%s", name);
}

/*
 * Does scenario @i of a table have its turn with this LRU implementation? PARITY=1:
 * with the other one. ONLY=: with both, because somebody wants to see it.
 */
static bool has_turn(const struct scenario *s, size_t i, enum lru lru)
{
	const char *parity = getenv("PARITY"), *only = getenv("ONLY");

	return s->flags & S_BOTH_LRUS || (only && *only) ||
	       (i + (parity ? atoi(parity) : 0)) % 2 == lru;
}

void run_scenarios(const struct scenario *table, size_t n, const char *suffix,
		   unsigned int seconds)
{
	/* A table that is run again, say with swap, has its turns the other way round. */
	static size_t turn;
	char both[100];
	enum lru lru;
	size_t i;

	for (lru = LRU_CLASSIC; lru <= LRU_MGLRU; lru++) {
		if (!set_lru(lru)) {
			tap_skip(lru_names[lru], "no /sys/kernel/mm/lru_gen/enabled (CONFIG_LRU_GEN)");
			continue;
		}
		snprintf(both, sizeof(both), "%s%s%s", lru_names[lru], *suffix ? ", " : "", suffix);
		for (i = 0; i < n; i++)
			if (has_turn(&table[i], turn + i, lru))
				run_scenario(&table[i], both, seconds);
	}
	turn++;
}
