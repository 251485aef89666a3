// SPDX-License-Identifier: GPL-2.0
/*
 * The engine on a device that really drops what finds no cell (cxl-cram with
 * exact=on): it is never overrun, whatever the workload and however the device
 * answers; its cells come back; its poison kills only who is to be killed.
 *
 * The device itself is asked, through the emulator, and positive controls show
 * that it would tell.
 */
#include "qmp.h"
#include "sha256.h"

#include <fcntl.h>
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/uio.h>
#include <sys/wait.h>

#define SEED		21
#define HOGS		4
#define CHUNK		(MIB / PAGE)
#define HOG_PAGES	(8 * MIB / PAGE)

static int64_t physical;
static uint64_t node_start;	/* physical address */

static uint64_t dpa_of(const void *p)
{
	return pfn_of(p) * PAGE - node_start;
}

/* --- four cgroups against the device ------------------------------------------ */

static volatile bool holding;
static char *held;

/*
 * Take references to pages at random, for a moment: those that are on their way
 * to the device then fail to get there, after their copy has begun.
 */
static void *hold_pages(void *arg)
{
	uint64_t r = (uintptr_t)arg;
	char sink[16 * PAGE];
	int fd[2];

	if (pipe(fd))
		return NULL;
	while (holding) {
		struct iovec v = { .iov_len = PAGE };
		unsigned int i, n = 0;

		for (i = 0; i < 8; i++) {
			r = r * 6364136223846793005ULL + 1442695040888963407ULL;
			v.iov_base = held + (r >> 33) % HOG_PAGES * PAGE;
			n += vmsplice(fd[1], &v, 1, SPLICE_F_NONBLOCK) == PAGE;
		}
		nap_ms(5);
		while (n--)
			if (read(fd[0], sink, PAGE) != PAGE)
				break;
	}
	close(fd[0]);
	close(fd[1]);
	return NULL;
}

struct hog {
	struct cg cg;
	unsigned int seed;
	volatile bool *stop;
};

/* Demote what does not compress as fast as it goes, again and again. */
static void hog(struct peer *up, void *arg)
{
	struct hog *h = arg;
	unsigned int generation[HOG_PAGES / CHUNK] = { 0 };
	pthread_t thread;
	size_t i;
	char *p;

	CHECK_EQ(cg_enter(&h->cg, getpid()), 0);
	fill_period = 512;
	held = p = map_pages(HOG_PAGES);
	for (i = 0; i < HOG_PAGES; i += CHUNK)
		fill(p + i * PAGE, CHUNK, h->seed + i);
	tell(up, 'f');
	holding = true;
	CHECK(!pthread_create(&thread, NULL, hold_pages, (void *)(uintptr_t)h->seed));

	while (!*h->stop) {
		for (i = 0; i < HOG_PAGES && !*h->stop; i += CHUNK) {
			madvise(p + i * PAGE, CHUNK * PAGE, MADV_PAGEOUT);
			/* A write sends them back, so that there is more to demote. */
			if (i / CHUNK % 4 == 3)
				fill(p + i * PAGE, CHUNK, h->seed + i + ++generation[i / CHUNK]);
		}
	}
	holding = false;
	pthread_join(thread, NULL);
	tell(up, 'd');
	hear(up);
	for (i = 0; i < HOG_PAGES; i += CHUNK)
		CHECK_CONTENT(p + i * PAGE, CHUNK, h->seed + i + generation[i / CHUNK]);
	munmap(p, HOG_PAGES * PAGE);
}

struct herd {
	struct hog hog[HOGS];
	struct peer peer[HOGS];
	volatile bool *stop;
};

/* Limits and books for the cgroups below this one, which must hold nobody then. */
static void alone(void)
{
	struct cg judge = cg_make(cg_here.path, "judge");

	CHECK_EQ(cg_enter(&judge, getpid()), 0);
	CHECK_EQ(cg_write(&cg_here, "cgroup.subtree_control", "+memory +cram"), 0);
}

/* Stores go to the device without a fault, as far as it has cells for all. */
static void may_write(void)
{
	CHECK_EQ(cg_write(&cg_here, "cram.writable_budget", "max"), 0);
}

static void herd_start(struct herd *herd)
{
	unsigned int i;

	herd->stop = mmap(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	CHECK(herd->stop != MAP_FAILED);
	for (i = 0; i < HOGS; i++) {
		herd->hog[i] = (struct hog){
			.cg = cg_make(cg_here.path, "hog%u", i),
			.seed = SEED + 100000 * i,
			.stop = herd->stop,
		};
		herd->peer[i] = peer_start(hog, &herd->hog[i]);
	}
	/* What they need to have something to demote is not part of any bound */
	for (i = 0; i < HOGS; i++)
		CHECK_EQ(hear(&herd->peer[i]), 'f');
}

static void herd_stop(struct herd *herd)
{
	unsigned int i;

	*herd->stop = true;
	for (i = 0; i < HOGS; i++)
		CHECK_EQ(hear(&herd->peer[i]), 'd');
}

static void herd_end(struct herd *herd)
{
	unsigned int i;

	for (i = 0; i < HOGS; i++)
		tell(&herd->peer[i], 'e');
	for (i = 0; i < HOGS; i++)
		CHECK_EQ(peer_end(&herd->peer[i]), 0);
	munmap((void *)herd->stop, PAGE);
}

/* Everybody is done; nothing was lost; a healthy device is open again. */
static void over(struct herd *herd)
{
	herd_stop(herd);
	tap_note("%lld demoted, %lld KiB resident, %lld KiB of cells free",
		 (long long)cg_key(&cg_here, "cram.stat", "demote"),
		 (long long)cg_number(&cg_here, "cram.current") / 1024,
		 (long long)(physical - device_number("held")) / 1024);
	CHECK_EQ(device_number("over-capacity"), 0);
	device_heal();
	herd_end(herd);
	CHECK(WAIT_FOR(SETTLES, state_is("open")));
	CHECK_EQ(device_number("over-capacity"), 0);
	CHECK_EQ(node_number("over_capacity"), 0);
}

/* Demote until no more is taken; pages that are resident. */
static size_t fill_node(char *p, size_t pages)
{
	size_t i;

	fill_period = 512;
	for (i = 0; i + CHUNK <= pages; i += CHUNK) {
		fill(p + i * PAGE, CHUNK, SEED + i);
		if (!WAIT_FOR(3, (madvise(p + i * PAGE, CHUNK * PAGE, MADV_PAGEOUT),
				  count_resident(p + i * PAGE, CHUNK) == CHUNK)))
			break;
	}
	return count_resident(p, pages);
}

/*
 * Most of the device is taken already: where each store traps, four at a time
 * take minutes for the first half, in which nothing can happen.
 */
static void at_full_speed(void)
{
	size_t pages = physical / 8 * 5 / PAGE;
	char *p = map_pages(pages);
	struct herd herd;

	alone();
	CHECK_EQ(fill_node(p, pages), pages);
	herd_start(&herd);
	CHECK(WAIT_FOR(150, cg_key(&cg_here, "cram.stat", "refuse_room") +
			    cg_key(&cg_here, "cram.stat", "refuse_state") > 0));
	nap_ms(scaled(5000));
	CHECK(device_number("held") > physical / 4 * 3);
	CHECK(!munmap(p, pages * PAGE));
	over(&herd);
}

static void without_interrupts(void)
{
	struct herd herd;

	alone();
	may_write();
	device_fault("\"no-interrupts\": true");
	herd_start(&herd);
	CHECK(WAIT_FOR(SETTLES, cg_key(&cg_here, "cram.stat", "demote") > 0));
	nap_ms(scaled(5000));
	over(&herd);
}

/* A third of the lease late: nobody notices. */
static void late_300(void)
{
	struct herd herd;

	alone();
	may_write();
	device_fault("\"delay\": 300");
	herd_start(&herd);
	CHECK(WAIT_FOR(SETTLES, cg_key(&cg_here, "cram.stat", "demote") > 0));
	CHECK(!WAIT_FOR(5 * scale(), state_is("lost")));
	over(&herd);
}

/* Longer than the lease: an answer is void when it comes. */
static void late_1500(void)
{
	struct herd herd;

	alone();
	device_fault("\"delay\": 1500");
	CHECK(WAIT_FOR(SETTLES, state_is("lost")));
	herd_start(&herd);
	CHECK(!WAIT_FOR(4, !state_is("lost")));
	CHECK_EQ(cg_key(&cg_here, "cram.stat", "demote"), 0);
	CHECK(WAIT_FOR(SETTLES, cg_key(&cg_here, "cram.stat", "refuse_state") > 0));
	over(&herd);
}

/* Longer than the kernel waits for a mailbox. */
static void late_5000(void)
{
	struct herd herd;

	alone();
	device_fault("\"delay\": 5000");
	CHECK(WAIT_FOR(SETTLES, state_is("lost")));
	herd_start(&herd);
	CHECK(!WAIT_FOR(6 * scale(), !state_is("lost")));
	over(&herd);
}

static int64_t stores_admitted(void)
{
	char buf[500], *p;
	long long begun, done;

	CHECK(read_text("/sys/kernel/debug/cram/nodes", buf, sizeof(buf)) > 0);
	p = strstr(buf, "begun");
	CHECK(p && sscanf(p, "begun %lld done %lld", &begun, &done) == 2, "%s", buf);
	return begun - done;
}

/*
 * The mailbox dies in the middle: lost within one lease, nothing demoted after,
 * nobody hangs, and it comes back with the device.
 */
static void dead_mailbox(void)
{
	int64_t reserve = node_number("reserve_bytes"), demoted;
	struct herd herd;

	alone();
	may_write();
	herd_start(&herd);
	CHECK(WAIT_FOR(180, cg_key(&cg_here, "cram.stat", "demote") > 0 &&
			    cg_key(&cg_here, "cram.stat", "upgrade") > 0));
	trace_lease(true);
	device_fault("\"drop\": true");
	CHECK(WAIT_FOR(SETTLES, state_is("lost")));
	trace_lease(false);
	CHECK(lost_by_lease());
	/* Copies that had begun may end yet, and no more begin; nor may anybody write. */
	CHECK(WAIT_FOR(SETTLES, stores_admitted() == 0));
	CHECK_EQ(node_number("writable_bytes"), 0);
	/* A reserve that cannot be set now is not set later, either */
	CHECK(write_text(node_file("reserve_bytes"), "4096") < 0);
	CHECK_EQ(node_number("reserve_bytes"), reserve);
	demoted = cg_key(&cg_here, "cram.stat", "demote");
	nap_ms(2000);
	CHECK_EQ(cg_key(&cg_here, "cram.stat", "demote"), demoted);
	CHECK(state_is("lost"));
	over(&herd);
}

/* --- budgets, from outside ----------------------------------------------------- */

static volatile bool written_on;

static void *write_on(void *arg)
{
	while (written_on)
		for (size_t i = 0; i < HOG_PAGES / 8; i++)
			((volatile uint64_t *)((char *)arg + i * PAGE))[8]++;
	return NULL;
}

/*
 * When the write that takes the budget away has returned, no store comes to the
 * device any more, whatever CPUs and threads have at hand.
 */
static void stores_end_with_the_budget(void)
{
	const size_t pages = HOG_PAGES / 8;
	pthread_t threads[4];
	char *p = map_pages(pages);
	int i, round;

	fill_period = 64;
	for (round = 0; round < 3; round++) {
		may_write();
		fill(p, pages, SEED);
		demote(p, pages);
		written_on = true;
		for (i = 0; i < 4; i++)
			CHECK(!pthread_create(&threads[i], NULL, write_on, p));
		CHECK(WAIT_FOR(SETTLES, cg_number(&cg_here, "cram.writable_current") ==
					(int64_t)(pages * PAGE)));
		/* It can be seen while it lasts. */
		qmp("\"cxl-cram-mark\", \"arguments\": {" DEVICE_PATH "}");
		CHECK(WAIT_FOR(SETTLES, device_number("marked") > 0));
		CHECK_EQ(cg_write(&cg_here, "cram.writable_budget", "0"), 0);
		qmp("\"cxl-cram-mark\", \"arguments\": {" DEVICE_PATH "}");
		CHECK_EQ(cg_number(&cg_here, "cram.writable_current"), 0);
		nap_ms(500);
		CHECK_EQ(device_number("marked"), 0);
		written_on = false;
		for (i = 0; i < 4; i++)
			CHECK(!pthread_join(threads[i], NULL));
	}
	CHECK(cg_key(&cg_here, "cram.stat", "revoke") > 0);
	CHECK(!munmap(p, pages * PAGE));
}

/* --- positive controls -------------------------------------------------------- */

/*
 * More goes there than fits. The device counts it, and the engine believes
 * nothing any more from the next reading on. What was stored is lost, so nobody
 * looks at it.
 */
static void overrun(void)
{
	int64_t before = device_number("over-capacity");
	size_t pages = physical / PAGE + 8 * CHUNK, i;
	char *p = map_pages(pages);

	fill_period = 512;
	for (i = 0; i + CHUNK <= pages && !state_is("lost"); i += CHUNK) {
		fill(p + i * PAGE, CHUNK, SEED + i);
		WAIT_FOR(1, (madvise(p + i * PAGE, CHUNK * PAGE, MADV_PAGEOUT),
			     count_resident(p + i * PAGE, CHUNK) == CHUNK));
	}
	CHECK(device_number("over-capacity") > before);
	CHECK(WAIT_FOR(SETTLES, state_is("lost")));
	CHECK(!munmap(p, pages * PAGE));
}

static void believe_again(void)
{
	device_heal();
	CHECK(!WAIT_FOR(1, !state_is("lost")));
	CHECK_EQ(write_text(node_file("state"), "open"), 0);
	CHECK(WAIT_FOR(SETTLES, state_is("open")));
}

static void lying_device(void)
{
	char fault[64];

	snprintf(fault, sizeof(fault), "\"physical-free\": %lld", (long long)physical);
	device_fault(fault);
	overrun();
	believe_again();
}

static void admission_off(void)
{
	CHECK_EQ(write_text(node_file("critical_bytes"), "0"), 0);
	CHECK_EQ(write_text(node_file("low_bytes"), "0"), 0);
	if (write_text("/sys/kernel/debug/cram/disable_hooks", "admission"))
		skip("no disable_hooks (CONFIG_CRAM_VERIFY)");
	overrun();
	CHECK_EQ(write_text("/sys/kernel/debug/cram/disable_hooks", "none"), 0);
	believe_again();
}

static sigjmp_buf bus_error;

static void on_sigbus(int sig)
{
	siglongjmp(bus_error, sig);
}

/*
 * More may be written than there are cells for, because somebody said so. Where
 * the device is closed in the middle of a page, the next store is to take along
 * what the first ones left there, which is lost, and so ends with SIGBUS.
 */
static void budget_overridden(void)
{
	int64_t before = device_number("over-capacity");
	size_t pages = physical / PAGE + 8 * CHUNK, i;
	char *p = map_pages(pages);

	may_write();
	CHECK_EQ(write_text(node_file("critical_bytes"), "0"), 0);
	CHECK_EQ(write_text(node_file("low_bytes"), "0"), 0);
	CHECK_EQ(write_text(node_file("writable_budget"), "1000000000000"), 0);
	fill_period = 8;
	for (i = 0; i < pages; i += CHUNK) {
		fill(p + i * PAGE, CHUNK, SEED + i);
		CHECK(WAIT_FOR(SETTLES, (madvise(p + i * PAGE, CHUNK * PAGE, MADV_PAGEOUT),
					 count_resident(p + i * PAGE, CHUNK) == CHUNK)));
	}
	CHECK_EQ(device_number("over-capacity"), before);
	fill_period = 512;
	signal(SIGBUS, on_sigbus);
	if (!sigsetjmp(bus_error, 1))
		for (i = 0; i < pages && !state_is("lost"); i += CHUNK)
			fill(p + i * PAGE, CHUNK, SEED + i);
	signal(SIGBUS, SIG_DFL);
	CHECK(device_number("over-capacity") > before);
	CHECK(WAIT_FOR(SETTLES, state_is("lost")));
	/* It has lost what it was given, and gets no more. */
	CHECK(WAIT_FOR(SETTLES, node_number("writable_bytes") == 0));
	CHECK(!munmap(p, pages * PAGE));
	CHECK_EQ(write_text(node_file("writable_budget"), "auto"), 0);
	believe_again();
}

/* --- cells come back ---------------------------------------------------------- */


static void trace_trims(bool on)
{
	CHECK_EQ(write_text(TRACING "trace", " "), 0);
	CHECK_EQ(write_text(TRACING "events/cram/cram_trim/enable", on ? "1" : "0"), 0);
}

/* Ranges per command, of what was trimmed since trace_trims(). */
static double ranges_per_trim(void)
{
	unsigned long commands = 0, ranges = 0, n;
	FILE *f = fopen(TRACING "trace", "r");
	char line[500], *p;

	CHECK(f);
	while (fgets(line, sizeof(line), f)) {
		p = strstr(line, "cram_trim: ");
		if (!p || sscanf(p, "cram_trim: nid=%*d ranges=%lu", &n) != 1)
			continue;
		commands++;
		ranges += n;
	}
	fclose(f);
	CHECK(commands);
	return (double)ranges / commands;
}

/*
 * All of it but one cell in a hundred, which free lists of processors may keep from
 * the allocator, also when every second page was freed.
 */
static void cells_come_back(void)
{
	size_t pages = physical / PAGE, resident, freed = 0, i;
	int64_t start = device_number("held"), full, half, back;
	char *p = map_pages(pages);
	double per_trim, begun;

	CHECK_EQ(write_text(node_file("critical_bytes"), "0"), 0);
	CHECK_EQ(write_text(node_file("low_bytes"), "0"), 0);
	resident = fill_node(p, pages);
	CHECK(resident > pages / 2);
	full = device_number("held");

	for (i = 0; i < pages; i += 2)
		freed += is_resident(p + i * PAGE);
	trace_trims(true);
	/* In a row: what is freed between two readings is trimmed together */
	for (i = 0; i < pages; i += 2)
		madvise(p + i * PAGE, PAGE, MADV_DONTNEED);
	begun = now();
	CHECK(WAIT_FOR(SETTLES, full - device_number("held") >=
				(int64_t)(freed * PAGE) - physical / 100),
	      "%lld of %lld KiB", (long long)(full - device_number("held")) / 1024,
	      (long long)(freed * PAGE) / 1024);
	half = device_number("held");
	tap_note("that took %.1f s", now() - begun);
	per_trim = ranges_per_trim();
	trace_trims(false);
	tap_note("%zu pages held %lld KiB; %zu freed gave back %lld KiB, with %.0f ranges a command",
		 resident, (long long)(full - start) / 1024, freed,
		 (long long)(full - half) / 1024, per_trim);
	/* Less on a busy host, where more readings come in between; one by one it would be 1 */
	CHECK(per_trim >= 8);

	CHECK(!munmap(p, pages * PAGE));
	CHECK(WAIT_FOR(SETTLES, (back = device_number("held")) - start <= physical / 100),
	      "%lld KiB are missing", (long long)(back - start) / 1024);
}

/* --- content ------------------------------------------------------------------ */

/* What the device holds is what the process sees, page by page. */
static void same_content(void)
{
	const size_t n = 300;
	char *p = map_pages(n), digest[65];
	size_t i;

	fill_period = 64;
	fill(p, n, SEED);
	demote(p, n);
	for (i = 0; i < n; i++) {
		sha256(p + i * PAGE, PAGE, digest);
		qmp("\"cxl-cram-page\", \"arguments\": {" DEVICE_PATH ", \"dpa\": %llu}",
		    (unsigned long long)dpa_of(p + i * PAGE));
		CHECK(strstr(qmp_answer, digest), "page %zu: %s, not %s", i, qmp_answer, digest);
	}
	/* It tells pages apart. */
	CHECK(!strstr(qmp_answer, "0000000000000000"));
	sha256(p, PAGE, digest);
	CHECK(!strstr(qmp_answer, digest));

	/* Nothing was stored since, although all of it was read. */
	qmp("\"cxl-cram-mark\", \"arguments\": {" DEVICE_PATH "}");
	CHECK_CONTENT(p, n, SEED);
	CHECK_EQ(device_number("marked"), 0);
	CHECK(!munmap(p, n * PAGE));
}

/* --- poison ------------------------------------------------------------------- */

#define N		16
#define BROKEN		7

static void break_page(const char *p)
{
	CHECK(is_resident(p));
	qmp("\"cxl-inject-poison\", \"arguments\": {" DEVICE_PATH ", \"start\": %llu, \"length\": 64}",
	    (unsigned long long)dpa_of(p));
}

/* What a child does to the broken page; the page before it is sound. */
static volatile char sink;

static void read_it(struct peer *up, void *arg)
{
	sink = *(volatile char *)arg;
}

static void write_it(struct peer *up, void *arg)
{
	*(volatile char *)arg = 1;
}

static void fork_and_write_it(struct peer *up, void *arg)
{
	pid_t pid = fork();
	int status;

	CHECK(pid >= 0);
	if (!pid) {
		*(volatile char *)arg = 1;
		_exit(0);
	}
	CHECK_EQ(waitpid(pid, &status, 0), pid);
	CHECK(WIFSIGNALED(status) && WTERMSIG(status) == SIGBUS, "status %#x", status);
	*(volatile char *)arg = 1;
}

/* A system call that reads it says so; nobody is killed. */
static void peek(struct peer *up, void *arg)
{
	char buf[64];
	struct iovec local = { buf, sizeof(buf) }, remote = { arg, sizeof(buf) };

	CHECK(process_vm_readv(getpid(), &local, 1, &remote, 1, 0) < 0);
}

/* So does that by which a debugger reads. Nothing has it retired then. */
static void debug_it(struct peer *up, void *arg)
{
	int mem = open("/proc/self/mem", O_RDONLY);
	char buf[64];

	CHECK(mem >= 0, "%m");
	CHECK(pread(mem, buf, sizeof(buf), (uintptr_t)arg) < 0);
	CHECK_EQ(errno, EIO);
	CHECK_EQ(pread(mem, buf, sizeof(buf), (uintptr_t)arg + PAGE), (ssize_t)sizeof(buf));
	/* In the page before, as much as there is */
	CHECK_EQ(pread(mem, buf, sizeof(buf), (uintptr_t)arg - 32), 32);
	close(mem);
	/* And by whoever touches it it is. */
	read_it(up, arg);
}

static struct {
	const char *name;
	void (*act)(struct peer *up, void *arg);
	int signal;
} ways[] = {
	{ "read", read_it, SIGBUS },
	{ "written", write_it, SIGBUS },
	{ "written after a fork", fork_and_write_it, SIGBUS },
	{ "read by process_vm_readv", peek, 0 },
	{ "read by /proc/self/mem", debug_it, SIGBUS },
};

static int64_t corrupted(void)
{
	return read_kb("/proc/meminfo", "HardwareCorrupted");
}

/*
 * In each way somebody comes upon the broken page. Only who touches it is
 * killed; the page goes out of service; the owner is told; all else goes on.
 */
static void poison(void)
{
	size_t i;

	for (i = 0; i < ARRAY_SIZE(ways); i++) {
		int64_t events = cg_key(&cg_here, "cram.events", "poison"), bad = corrupted();
		char *p = map_pages(N);
		struct peer peer;
		int status;

		tap_note("%s", ways[i].name);
		fill_period = 64;
		fill(p, N, SEED);
		demote(p, N);
		break_page(p + BROKEN * PAGE);
		peer = peer_start(ways[i].act, p + BROKEN * PAGE);
		CHECK(WAIT_FOR(SETTLES, waitpid(peer.pid, &status, WNOHANG) == peer.pid));
		if (ways[i].signal)
			CHECK(WIFSIGNALED(status) && WTERMSIG(status) == ways[i].signal,
			      "%s: status %#x", ways[i].name, status);
		else
			CHECK_EQ(status, 0);
		CHECK(WAIT_FOR(SETTLES, cg_key(&cg_here, "cram.events", "poison") == events + 1),
		      "%s", ways[i].name);
		CHECK(WAIT_FOR(SETTLES, corrupted() == bad + (int64_t)PAGE));
		CHECK_CONTENT(p, BROKEN, SEED);
		CHECK(!munmap(p, N * PAGE));
	}
}

/* A page that cannot be read is no reason to panic when it is to be moved. */
static void poison_in_the_way(bool swap)
{
	int64_t events = cg_key(&cg_here, "cram.events", "poison");
	char *p = map_pages(N);

	if (swap && !swap_on(64))
		skip("no zram");
	fill_period = 64;
	fill(p, N, SEED);
	demote(p, N);
	break_page(p + BROKEN * PAGE);
	write_text(node_file("state"), "offline");
	CHECK(WAIT_FOR(SETTLES, cg_key(&cg_here, "cram.events", "poison") == events + 1));
	write_text(node_file("state"), "offline");
	CHECK_EQ(count_resident(p, N), 0);
	CHECK_CONTENT(p, BROKEN, SEED);
	CHECK_EQ(write_text(node_file("state"), "open"), 0);
	CHECK(!munmap(p, N * PAGE));
	swap_off();
}

static void poison_promoted(void)
{
	poison_in_the_way(false);
}

static void poison_swapped(void)
{
	poison_in_the_way(true);
}

/*
 * All but the broken page. While that is being retired nothing else may leave, for longer
 * than a request is patient, on a slow machine: then it is made again.
 */
static bool others_leave(const char *to)
{
	return !cg_printf(&cg_here, "cram.reclaim", "%lu to=%s", (HUGE - 1) * PAGE, to) ||
	       cg_number(&cg_here, "cram.current") <= (int64_t)PAGE;
}

/*
 * A page in a huge one: it alone is retired, the others go where they are to go, and
 * all of it without trying for long.
 */
static void poison_in_huge(const char *to)
{
	int64_t events = cg_key(&cg_here, "cram.events", "poison"), bad = corrupted();
	char *p = map_huge_area(HUGE);
	double start;
	size_t i;

	CHECK(!madvise(p, HUGE * PAGE, MADV_HUGEPAGE), "%m");
	fill_period = 64;
	fill(p, HUGE, SEED);
	if (read_kb("/proc/self/smaps", "AnonHugePages") < (int64_t)(HUGE * PAGE))
		skip("no transparent huge pages to be had");
	demote(p, HUGE);
	CHECK_EQ(read_kb("/proc/self/smaps", "AnonHugePages"), HUGE * PAGE);
	break_page(p + BROKEN * PAGE);

	start = now();
	CHECK(WAIT_FOR(SETTLES, others_leave(to)));
	tap_note("evicted within %.1f s", now() - start);
	CHECK(WAIT_FOR(SETTLES, cg_key(&cg_here, "cram.events", "poison") == events + 1));
	CHECK(WAIT_FOR(SETTLES, cg_number(&cg_here, "cram.current") == 0));
	CHECK_EQ(corrupted(), bad + (int64_t)PAGE);
	CHECK_EQ(count_resident(p, HUGE), 0);
	for (i = 0; i < HUGE; i++)
		CHECK(i == BROKEN || !page_differs(p + i * PAGE, SEED, i), "page %zu", i);
	signal(SIGBUS, on_sigbus);
	if (!sigsetjmp(bus_error, 1)) {
		sink = p[BROKEN * PAGE];
		CHECK(0, "the broken page can be read");
	}
	signal(SIGBUS, SIG_DFL);
	CHECK_EQ(cg_key(&cg_here, "cram.events", "poison"), events + 1);
	unmap_pages(p, HUGE);
}

static void poison_in_huge_promoted(void)
{
	poison_in_huge("dram");
}

static void poison_in_huge_swapped(void)
{
	if (!swap_on(64))
		skip("no zram");
	poison_in_huge("swap");
	swap_off();
}

static const struct scenario scenarios[] = {
	{ "four cgroups at full speed", at_full_speed },
	{ "interrupts are lost", without_interrupts },
	{ "answers come 300 ms late", late_300 },
	{ "answers come 1500 ms late", late_1500 },
	{ "answers come 5000 ms late", late_5000 },
	{ "the mailbox dies", dead_mailbox },
	{ "stores end with the budget", stores_end_with_the_budget },
	{ "cells come back", cells_come_back },
	{ "pages have the content that the device says", same_content },
	{ "a broken page is touched", poison },
	{ "a broken page is to be promoted", poison_promoted },
	{ "a broken page is to be swapped out", poison_swapped },
	{ "a broken page in a huge one is to be promoted", poison_in_huge_promoted },
	{ "a broken page in a huge one is to be swapped out", poison_in_huge_swapped },
	{ "control: admission off", admission_off, S_VIOLATES },
	{ "control: a lying device", lying_device, S_VIOLATES },
	{ "control: a budget beyond all cells", budget_overridden, S_VIOLATES },
};

int main(void)
{
	char low[32], critical[32], start[64];
	size_t i;

	setup();
	swap_off();
	physical = node_number("physical_bytes");
	snprintf(low, sizeof(low), "%lld", (long long)node_number("low_bytes"));
	snprintf(critical, sizeof(critical), "%lld", (long long)node_number("critical_bytes"));
	CHECK(read_text("/sys/bus/cxl/devices/region0/resource", start, sizeof(start)) > 0);
	node_start = strtoull(start, NULL, 0);

	for (i = 0; i < ARRAY_SIZE(scenarios); i++) {
		run_scenario(&scenarios[i], "", 480 * scale());
		/* Whatever became of it. */
		device_heal();
		write_text("/sys/kernel/debug/cram/disable_hooks", "none");
		write_text(node_file("low_bytes"), low);
		write_text(node_file("critical_bytes"), critical);
		write_text(node_file("writable_budget"), "auto");
		write_text(node_file("state"), "open");
		swap_off();
		WAIT_FOR(20, state_is("open"));
	}
	teardown();
	return tap_end();
}
