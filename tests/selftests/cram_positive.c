// SPDX-License-Identifier: GPL-2.0
/*
 * Can the oracles fail? Here the kernel is made wrong on purpose - a hook is
 * switched off, a slot corrupted, the device made to lie - and each time
 * something has to notice that the other tests rely on: CONFIG_CRAM_VERIFY, its
 * walker, the patrol of the model device, its over-capacity counter, or the
 * place of a page.
 *
 * This leaves warnings in the kernel log: run it in a machine of its own.
 */
#include "util.h"
#include "roads.h"

#include <fcntl.h>
#include <pthread.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

#define N	64
#define SEED	13

static void hook_off(const char *name)
{
	debug_set(DEBUGFS "disable_hooks", "none");
	if (name)
		debug_set(DEBUGFS "disable_hooks", name);
}

static void *filled(void)
{
	void *p = map_pages(N);

	fill(p, N, SEED);
	return p;
}

/*
 * The patrol knows a page by what the model has measured of it, and that is done
 * a moment after the page came: a store before that would not be news.
 */
static void measured(void)
{
	CHECK(WAIT_FOR(SETTLES, read_number(SIM "pending") == 0));
}

static void *resident(void)
{
	void *p = filled();

	demote(p, N);
	measured();
	return p;
}

/* VERIFY has to have noticed by now, or its walker has to. */
static void noticed_since(int64_t before)
{
	int64_t at_once = violations() - before, walker;

	run_walker();
	walker = violations() - before - at_once;
	tap_note("%lld noticed at once, %lld by the walker", (long long)at_once,
		 (long long)walker);
	CHECK(at_once + walker > 0);
}

/* Promotes what is left with all hooks back, so that the books can close. */
static void clean_up(void *p)
{
	hook_off(NULL);
	CHECK(!munmap(p, N * PAGE));
	/* Stores that the engine knows nothing of may have closed the node. */
	CHECK_EQ(write_text(node_file("state"), "open"), 0);
}

/* A write fault reuses the page. */
static void wp(void)
{
	int64_t before = violations();
	int64_t stores = unannounced_stores();
	void *p = resident();

	hook_off("wp");
	fill(p, N, SEED + 1);
	CHECK_EQ(count_resident(p, N), N);
	noticed_since(before);
	CHECK(violations() - before >= N);
	CHECK(unannounced_stores() - stores >= N);
	clean_up(p);
}

/* The same, seen by the walker alone: nothing is set while it looks. */
static void wp_walker(void)
{
	void *p = resident();
	int64_t before;

	hook_off("wp");
	fill(p, N, SEED + 1);
	before = violations();
	run_walker();
	CHECK(violations() - before >= N);
	CHECK(read_key(DEBUGFS "verify", "writable") >= N);
	clean_up(p);
}

static void protection(void)
{
	int64_t before = violations();
	void *p = resident();

	hook_off("mprotect");
	CHECK(!mprotect(p, N * PAGE, PROT_READ));
	CHECK(!mprotect(p, N * PAGE, PROT_READ | PROT_WRITE));
	noticed_since(before);
	clean_up(p);
}

/* Demotion itself leaves a writable mapping behind. */
static void migration(void)
{
	int64_t before = violations();
	void *p = filled();

	hook_off("migrate");
	demote(p, N);
	noticed_since(before);
	clean_up(p);
}

/* The fault finds the page in the swap cache, on the node: see cram_residency.c. */
static void swap_in(void)
{
	int64_t before = violations();
	void *p = in_the_swap_cache(N, SEED);

	hook_off("swapin");
	fill(p, N, SEED + 1);
	noticed_since(before);
	hook_off(NULL);
	CHECK_EQ(swapoff(slow_swap), 0);
	clean_up(p);
}

/* A pin for reading lands on the resident page: the oracle of the tests of pins. */
static void pinned(void)
{
	void *p = resident();

	hook_off("gup");
	stall_off_the_node(p);
}

static void pin(void)
{
	must_fail(pinned, "count_resident(far, PINNED) == 0");
	hook_off(NULL);
}

/* A forced write goes to the device: the patrol finds it, and the place tells. */
static void victim(struct peer *up, void *p)
{
	fill(p, N, SEED);
	CHECK(!mprotect(p, N * PAGE, PROT_READ));
	demote(p, N);
	tell(up, 'r');
	hear(up);
	CHECK_EQ(count_resident(p, N), N);
}

static void force(void)
{
	int64_t stores = unannounced_stores();
	char *p = map_pages(N);
	struct peer peer = peer_start(victim, p);
	size_t i;

	hear(&peer);
	measured();
	hook_off("force");
	trace_begin(peer.pid);
	for (i = 0; i < N; i++)
		CHECK(!ptrace(PTRACE_POKEDATA, peer.pid, p + i * PAGE, 1L), "%m");
	trace_end(peer.pid);
	CHECK(unannounced_stores() - stores >= N);
	tell(&peer, 'g');
	/* Our own oracle: where the pages are. */
	CHECK_EQ(peer_end(&peer), 0);
	hook_off(NULL);
}

static void uffd_move(void)
{
	int64_t before = violations();
	void *p = resident(), *q = map_pages(N);
	int fd = userfault(FEATURE_MOVE);

	userfault_register(fd, q, N, UFFDIO_REGISTER_MODE_MISSING);
	hook_off("uffd_move");
	userfault_move(fd, q, p, N);
	noticed_since(before);
	clean_up(q);
}

/* Taking one of two breakpoints from a page writes to it. */
static void uprobe(void)
{
	int64_t stores = unannounced_stores();
	void *text = (void *)((uintptr_t)probed_a & ~(PAGE - 1));
	int a = breakpoint_at(probed_a), b = breakpoint_at(probed_b);

	CHECK_EQ(breakpoint_hits(a, probed_a), 10);
	demote(text, 1);
	measured();
	hook_off("uprobe");
	close(a);
	CHECK_EQ(is_resident(text), 1);
	CHECK(unannounced_stores() > stores);
	hook_off(NULL);
	close(b);
}

/*
 * A page is taken back while somebody has it pinned, who stores to it then:
 * nobody has announced that to the device.
 */
static void held(void)
{
	int64_t stores = unannounced_stores();
	char *p = resident();
	struct stall stall;

	budget("max");
	rewrite_all(p, N);
	CHECK_EQ(count_resident(p, N), N);
	stall = stall_begin(p, true);
	hook_off("held");
	budget("0");
	CHECK_EQ(writable(), 0);
	CHECK_EQ(count_resident(p, N), N);
	measured();
	stall_end(&stall, SEED + 1);
	CHECK_EQ(count_resident(p, N), N);
	CHECK(unannounced_stores() - stores >= PINNED);
	clean_up(p);
}

static volatile bool stop;

static void *store_on(void *p)
{
	while (!stop)
		rewrite_all(p, N);
	return NULL;
}

/* A fault makes an entry writable again that was just taken back. */
static void revoking(void)
{
	int64_t before = violations();
	char *p = filled();
	pthread_t thread;
	cpu_set_t all;

	memset(&all, 0xff, sizeof(all));
	sched_setaffinity(0, sizeof(all), &all);
	hook_off("revoking");
	CHECK(!pthread_create(&thread, NULL, store_on, p));
	CHECK(WAIT_FOR(2 * SETTLES, (budget("max"), pageout(p, N), nap_ms(5), budget("0"),
				     run_walker(), violations() > before)));
	stop = true;
	pthread_join(thread, NULL);
	clean_up(p);
}

static void xor_slot(uint64_t pfn, uint32_t value)
{
	char text[64];

	snprintf(text, sizeof(text), "%llx %x", (unsigned long long)pfn, value);
	debug_set(DEBUGFS "corrupt_slot", text);
}

/* Each kind of damage to a slot; put right again before the page is freed. */
static void slots(void)
{
	static const struct {
		uint32_t value;
		const char *key;
	} damage[] = {
		{ 0x01000000, "stray" },	/* resident -> freed */
		{ 0x02000000, "stray" },	/* resident -> empty */
		{ 0x01000000, "unowned" },
		{ 0x02000000, "unowned" },
		{ 0x00ffff00, "no_owner" },
		{ 0x00ffff00, "books" },
	};
	void *p = resident();
	uint64_t pfn = pfn_of(p);
	int64_t before;
	size_t i;

	CHECK(pfn_on_node(pfn));
	for (i = 0; i < ARRAY_SIZE(damage); i++) {
		before = violations();
		xor_slot(pfn, damage[i].value);
		run_walker();
		CHECK(read_key(DEBUGFS "verify", damage[i].key) > 0, "%s", damage[i].key);
		CHECK(violations() > before);
		xor_slot(pfn, damage[i].value);
		before = violations();
		run_walker();
		CHECK_EQ(violations(), before);
	}
}

/*
 * More goes to the device than it can hold. The engine sees that at the next
 * reading, and closes the node until it is told to believe the device again.
 */
static void overrun(void)
{
	size_t pages = node_number("physical_bytes") / PAGE + 16 * MIB / PAGE, i, n = 4 * MIB / PAGE;
	int64_t over = node_number("over_capacity");
	char *p = map_pages(pages);

	fill_period = 512;
	for (i = 0; i + n <= pages && node_number("over_capacity") == over; i += n) {
		fill(p + i * PAGE, n, i);
		WAIT_FOR(2, (madvise(p + i * PAGE, n * PAGE, MADV_PAGEOUT),
			     count_resident(p + i * PAGE, n) == n));
	}
	CHECK(WAIT_FOR(SETTLES, node_number("over_capacity") > over));
	CHECK(WAIT_FOR(SETTLES, state_is("lost")));

	fill(p, n, SEED);
	madvise(p, n * PAGE, MADV_PAGEOUT);
	CHECK_EQ(count_resident(p, n), 0);
	CHECK(!munmap(p, pages * PAGE));
}

/* It claims cells that it does not have. */
static void lying_device(void)
{
	char text[32];

	snprintf(text, sizeof(text), "%lld", (long long)node_number("physical_bytes"));
	debug_set(SIM "lie", text);
	overrun();
	debug_set(SIM "lie", "-1");
	CHECK(!WAIT_FOR(1, !state_is("lost")));
	CHECK_EQ(write_text(node_file("state"), "open"), 0);
	CHECK(WAIT_FOR(SETTLES, state_is("open")));
}

static void admission(void)
{
	CHECK_EQ(write_text(node_file("critical_bytes"), "0"), 0);
	CHECK_EQ(write_text(node_file("low_bytes"), "0"), 0);
	hook_off("admission");
	overrun();
	hook_off(NULL);
	CHECK_EQ(write_text(node_file("state"), "open"), 0);
	CHECK(WAIT_FOR(SETTLES, state_is("open")));
}

/* --- huge pages --------------------------------------------------------------- */

static char *for_a_huge_page(void)
{
	char *p = map_huge_area(HUGE);

	CHECK(!madvise(p, HUGE * PAGE, MADV_HUGEPAGE), "%m");
	return p;
}

static char *huge_page(bool is_resident)
{
	char *p = for_a_huge_page();

	fill(p, HUGE, SEED);
	if (read_kb("/proc/self/smaps", "AnonHugePages") < (int64_t)(HUGE * PAGE))
		skip("no transparent huge page to be had");
	if (is_resident) {
		demote(p, HUGE);
		measured();
	}
	return p;
}

static void clean_up_huge(char *p)
{
	hook_off(NULL);
	CHECK(!munmap(p, HUGE * PAGE));
	CHECK_EQ(write_text(node_file("state"), "open"), 0);
}

/* A write fault reuses all of it. */
static void huge_wp(void)
{
	int64_t before = violations(), stores = unannounced_stores();
	char *p = huge_page(true);

	hook_off("huge_wp");
	fill(p, HUGE, SEED + 1);
	CHECK_EQ(count_resident(p, HUGE), HUGE);
	noticed_since(before);
	CHECK(unannounced_stores() - stores >= (int64_t)HUGE);
	clean_up_huge(p);
}

static void huge_mprotect(void)
{
	int64_t before = violations();
	char *p = huge_page(true);

	hook_off("huge_mprotect");
	protect(p, HUGE, PROT_READ);
	protect(p, HUGE, PROT_READ | PROT_WRITE);
	noticed_since(before);
	clean_up_huge(p);
}

static void huge_migrate(void)
{
	int64_t before = violations();
	char *p = huge_page(false);

	hook_off("huge_migrate");
	demote(p, HUGE);
	noticed_since(before);
	clean_up_huge(p);
}

static void huge_uffd_move(void)
{
	int fd = userfault(FEATURE_MOVE);
	int64_t before = violations();
	char *p = huge_page(true), *to = for_a_huge_page();

	userfault_register(fd, to, HUGE, UFFDIO_REGISTER_MODE_MISSING);
	hook_off("huge_uffd_move");
	userfault_move(fd, to, p, HUGE);
	CHECK_EQ(count_resident(to, HUGE), HUGE);
	noticed_since(before);
	close(fd);
	clean_up_huge(to);
}

/* What is written leaves a folio that is not split for it: its cells stay in use. */
static void unsplit(void)
{
	int64_t splits = read_number(HUGE_SPLITS);
	char *p = huge_page(true);

	hook_off("split");
	write_one_of_each(p, HUGE, SEED);
	check_split(splits, 1);
}

static void split(void)
{
	must_fail(unsplit, "read_number(HUGE_SPLITS) - before >= wanted");
	hook_off(NULL);
}

/* Trying again does not hide it: the scenario would fail. */
static void refused_for_good(void)
{
	int64_t all = sum_keys("/proc/vmstat", "cram_refuse_"), ends = passing_refusals();
	void *p = map_pages(N);

	fill(p, N, SEED);
	CHECK_EQ(cg_write(&cg_here, "cram.max", "0"), 0);
	CHECK(!madvise(p, N * PAGE, MADV_PAGEOUT), "%m");
	CHECK_EQ(count_resident(p, N), 0);
	check_refusals(all, ends);
	CHECK(verdict->refused && !strcmp(verdict->refused, "what does not end"));
	verdict->refused = NULL;
}

static const struct scenario scenarios[] = {
	{ "control: hook huge_wp off", huge_wp, S_VIOLATES },
	{ "control: hook huge_mprotect off", huge_mprotect, S_VIOLATES },
	{ "control: hook huge_migrate off", huge_migrate, S_VIOLATES },
	{ "control: hook huge_uffd_move off", huge_uffd_move, S_VIOLATES },
	{ "control: hook split off", split, S_VIOLATES },
	{ "control: hook wp off", wp, S_VIOLATES },
	{ "control: hook wp off, seen by the walker", wp_walker, S_VIOLATES },
	{ "control: hook mprotect off", protection, S_VIOLATES },
	{ "control: hook migrate off", migration, S_VIOLATES },
	{ "control: hook swapin off", swap_in, S_VIOLATES },
	{ "control: hook gup off", pin, S_VIOLATES },
	{ "control: hook force off", force, S_VIOLATES },
	{ "control: hook uffd_move off", uffd_move, S_VIOLATES },
	{ "control: hook uprobe off", uprobe, S_VIOLATES },
	{ "control: hook held off", held, S_VIOLATES },
	{ "control: hook revoking off", revoking, S_VIOLATES },
	{ "control: slots corrupted", slots, S_VIOLATES },
	{ "control: a lying device", lying_device, S_VIOLATES },
	{ "control: a demotion that is refused for good", refused_for_good },
	{ "control: hook admission off", admission, S_VIOLATES },
};

/* Every hook that can be switched off has a control above. */
static bool all_hooks_have_a_control(void)
{
	char hooks[500], want[64], *name, *save;
	size_t i;

	read_text(DEBUGFS "disable_hooks", hooks, sizeof(hooks));
	for (name = strtok_r(hooks, "\n", &save); name; name = strtok_r(NULL, "\n", &save)) {
		*strchrnul(name, ' ') = '\0';
		/*
		 * They need memory on cgroup v1, are about what is shown, or spoil the
		 * books or keep cells for good: tests/mutation
		 */
		if (!strcmp(name, "swapout_v1") || !strcmp(name, "stat") ||
		    !strcmp(name, "unwind") || !strcmp(name, "freed"))
			continue;
		snprintf(want, sizeof(want), "control: hook %s off", name);
		for (i = 0; i < ARRAY_SIZE(scenarios); i++)
			if (!strcmp(scenarios[i].name, want))
				break;
		if (i == ARRAY_SIZE(scenarios)) {
			tap_note("%s has none", name);
			return false;
		}
	}
	return true;
}

int main(void)
{
	size_t i;

	setup();
	if (!has_verify())
		tap_skip_all("no debugfs, or no CONFIG_CRAM_VERIFY: nothing can be broken");
	slow_swap_take();
	swap_off();
	tap_ok(all_hooks_have_a_control(), "every hook has a control");
	for (i = 0; i < ARRAY_SIZE(scenarios); i++) {
		run_scenario(&scenarios[i], "", 120);
		write_text(DEBUGFS "disable_hooks", "none");
	}
	write_text(SIM "lie", "-1");
	swap_off();
	teardown();
	return tap_end();
}
