// SPDX-License-Identifier: GPL-2.0
/*
 * States of a node: what is done in each of them, how it gets there and back,
 * and who is told. Poison, too, because it ends in the same files.
 */
#include "util.h"

#include <fcntl.h>
#include <linux/netlink.h>
#include <poll.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#define CHUNK		(MIB / PAGE)
#define SEED		11
#define POISONED	5	/* of N pages */
#define N		16

static int64_t physical, low, critical;

/* --- uevents ------------------------------------------------------------------ */

static int uevents = -1;

static void uevents_open(void)
{
	struct sockaddr_nl addr = { .nl_family = AF_NETLINK, .nl_groups = 1 };

	uevents = socket(AF_NETLINK, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK,
			 NETLINK_KOBJECT_UEVENT);
	CHECK(uevents >= 0);
	CHECK(!bind(uevents, (struct sockaddr *)&addr, sizeof(addr)));
}

/* Is there one about this node which says that it is in @state now? */
static bool uevent_said(const char *state)
{
	char buf[4096], device[64], var[64], *p;
	ssize_t len;

	snprintf(device, sizeof(device), "DEVPATH=/devices/system/node/node%d", cram_node());
	snprintf(var, sizeof(var), "CRAM_STATE=%s", state);
	while ((len = recv(uevents, buf, sizeof(buf) - 1, 0)) > 0) {
		bool ours = false, said = false;

		buf[len] = '\0';
		for (p = buf; p < buf + len; p += strlen(p) + 1) {
			ours |= !strcmp(p, device);
			said |= !strcmp(p, var);
		}
		if (ours && said)
			return true;
	}
	return false;
}

/* --- watermarks --------------------------------------------------------------- */

static void watermarks(int64_t to_low, int64_t to_critical)
{
	char text[32];

	CHECK_EQ(write_text(node_file("critical_bytes"), "0"), 0);
	snprintf(text, sizeof(text), "%lld", (long long)to_low);
	CHECK_EQ(write_text(node_file("low_bytes"), text), 0);
	snprintf(text, sizeof(text), "%lld", (long long)to_critical);
	CHECK_EQ(write_text(node_file("critical_bytes"), text), 0);
}

static bool pageout(char *p)
{
	madvise(p, CHUNK * PAGE, MADV_PAGEOUT);
	/* What is in swap stays there, and what is resident here. */
	return count_resident(p, CHUNK) + count_swapped(p, CHUNK) == CHUNK;
}

/*
 * Demote what does not compress, a chunk after the other, until the node is in
 * @state, or was: with swap it does not stay there.
 */
static size_t fill_until(char *p, size_t pages, const char *state)
{
	int64_t before;
	char event[32];
	size_t i;

	snprintf(event, sizeof(event), "node_%s", state);
	before = cg_key(&cg_here, "cram.events", event);
#define WAS	(cg_key(&cg_here, "cram.events", event) > before)
	fill_period = 512;
	for (i = 0; i + CHUNK <= pages && !WAS; i += CHUNK) {
		fill(p + i * PAGE, CHUNK, SEED + i);
		WAIT_FOR(2, WAS || pageout(p + i * PAGE));
	}
	CHECK(WAIT_FOR(SETTLES, WAS), "%s after %zu MiB", state, i * PAGE / MIB);
#undef WAS
	return i;
}

static void same_content(const char *p, size_t pages)
{
	size_t i;

	for (i = 0; i < pages; i += CHUNK)
		CHECK_CONTENT(p + i * PAGE, CHUNK, SEED + i);
}

/*
 * Low: nothing more goes there, whoever has pages there is told, and when cells
 * are free again, it goes on.
 */
static void low_state(void)
{
	struct cg with = cg_make(cg_here.path, "with"), without = cg_make(cg_here.path, "without");
	size_t pages = physical / PAGE, n;
	struct pollfd poller;
	int64_t refused;
	char *p;
	int fd;

	swap_off();
	CHECK_EQ(cg_enter(&with, getpid()), 0);
	CHECK_EQ(cg_write(&cg_here, "cgroup.subtree_control", "+memory +cram"), 0);
	fd = open(cg_file(&with, "cram.events"), O_RDONLY | O_CLOEXEC);
	poller = (struct pollfd){ .fd = fd, .events = POLLPRI };
	{
		char buf[1000];

		CHECK(read(fd, buf, sizeof(buf)) > 0);
	}
	uevents_open();

	watermarks(physical / 2, physical / 4);
	p = map_pages(pages);
	n = fill_until(p, pages, "low");
	CHECK_EQ(poll(&poller, 1, 5000), 1);
	CHECK(WAIT_FOR(SETTLES, uevent_said("low")));
	CHECK_EQ(cg_key(&with, "cram.events", "node_low"), 1);
	CHECK_EQ(cg_key(&with, "cram.events.local", "node_low"), 1);
	CHECK_EQ(cg_key(&cg_here, "cram.events", "node_low"), 1);
	CHECK_EQ(cg_key(&cg_here, "cram.events.local", "node_low"), 0);
	CHECK_EQ(cg_key(&without, "cram.events", "node_low"), 0);

	refused = cg_key(&with, "cram.stat", "refuse_state");
	fill(p + n * PAGE, CHUNK, SEED + n);
	madvise(p + n * PAGE, CHUNK * PAGE, MADV_PAGEOUT);
	CHECK_EQ(count_resident(p + n * PAGE, CHUNK), 0);
	CHECK(cg_key(&with, "cram.stat", "refuse_state") > refused);
	/* Without swap nothing is moved off for want of cells. */
	CHECK(!WAIT_FOR(1, cg_key(&with, "cram.stat", "promote_reclaim") > 0));
	same_content(p, n + CHUNK);

	/* Half a chunk less is not enough: there is a hysteresis. */
	CHECK(!munmap(p, CHUNK / 2 * PAGE));
	CHECK(!WAIT_FOR(2, state_is("open")));
	CHECK(!munmap(p, n / 2 * PAGE));
	CHECK(WAIT_FOR(SETTLES, state_is("open")));
	CHECK(WAIT_FOR(SETTLES, uevent_said("open")));
	CHECK_EQ(cg_key(&with, "cram.events", "node_open"), 1);
	CHECK(WAIT_FOR(SETTLES, pageout(p + n * PAGE)));
	CHECK(!munmap(p + n / 2 * PAGE, (pages - n / 2) * PAGE));
	close(fd);
}

static void critical_state(void)
{
	size_t pages = physical / PAGE, n;
	char *p;

	swap_off();
	/* No state between them, so that filling comes to critical at once. */
	watermarks(physical / 2, physical / 2);
	uevents_open();
	p = map_pages(pages);
	n = fill_until(p, pages, "critical");
	CHECK(WAIT_FOR(SETTLES, uevent_said("critical")));
	CHECK_EQ(cg_key(&cg_here, "cram.events", "node_critical"), 1);
	same_content(p, n);
	CHECK_EQ(count_resident(p, CHUNK), CHUNK);
	/* Half way back it is low, and then open. */
	watermarks(physical / 2, 0);
	CHECK(WAIT_FOR(SETTLES, state_is("low")));
	CHECK(WAIT_FOR(SETTLES, cg_key(&cg_here, "cram.events", "node_low") == 1));
	watermarks(0, 0);
	CHECK(WAIT_FOR(SETTLES, state_is("open")));
	CHECK(!munmap(p, pages * PAGE));
}

/* With swap, the node gets itself free cells again. */
static void low_with_swap(void)
{
	size_t pages = physical / PAGE, n;
	char *p;

	if (!swap_on(256))
		skip("no zram");
	watermarks(physical / 2, physical / 4);
	p = map_pages(pages);
	n = fill_until(p, pages, "low");
	CHECK(WAIT_FOR(SETTLES, state_is("open")));
	CHECK(cg_key(&cg_here, "cram.stat", "writeback") > 0);
	CHECK(cg_key(&cg_here, "cram.events", "evict") > 0);
	CHECK(count_swapped(p, n) > 0);
	/* A quarter of the cells in use had to go, by average pages; not all. */
	CHECK(count_resident(p, n) > n / 3, "%zu of %zu, %zu in swap",
	      count_resident(p, n), n, count_swapped(p, n));
	same_content(p, n);
	CHECK(!munmap(p, pages * PAGE));
	swap_off();
}

static void bad_watermarks(void)
{
	char text[32];

	watermarks(physical / 2, physical / 4);
	snprintf(text, sizeof(text), "%lld", (long long)physical / 2 + 1);
	CHECK_EQ(write_text(node_file("critical_bytes"), text), -EINVAL);
	snprintf(text, sizeof(text), "%lld", (long long)physical / 4 - 1);
	CHECK_EQ(write_text(node_file("low_bytes"), text), -EINVAL);
	snprintf(text, sizeof(text), "%lld", (long long)physical + 1);
	CHECK_EQ(write_text(node_file("low_bytes"), text), -EINVAL);
	CHECK_EQ(node_number("low_bytes"), physical / 2);
	CHECK_EQ(node_number("critical_bytes"), physical / 4);
}

/* --- lost and offline --------------------------------------------------------- */

/*
 * A device that is silent is lost as soon as its lease ends, although the one
 * that asks it is still waiting for the answer.
 */
static void lost_state(void)
{
	char *p = map_pages(CHUNK);

	swap_off();
	watermarks(low, critical);
	fill_period = 64;
	fill(p, CHUNK, SEED);
	demote(p, CHUNK);
	uevents_open();

	CHECK_EQ(write_text(node_file("lease_ms"), "400"), 0);
	trace_lease(true);
	debug_set(SIM "drop", "1");
	CHECK(WAIT_FOR(SETTLES, state_is("lost")));
	trace_lease(false);
	CHECK(lost_by_lease());
	CHECK(WAIT_FOR(SETTLES, uevent_said("lost")));
	CHECK_EQ(cg_key(&cg_here, "cram.events", "node_lost"), 1);
	CHECK_EQ(node_number("free_bound_bytes"), 0);
	CHECK_CONTENT(p, CHUNK, SEED);
	CHECK_EQ(count_resident(p, CHUNK), CHUNK);

	debug_set(SIM "drop", "0");
	CHECK(WAIT_FOR(SETTLES, state_is("open")));
	CHECK(WAIT_FOR(SETTLES, uevent_said("open")));
	CHECK_EQ(cg_key(&cg_here, "cram.events", "node_open"), 1);
	CHECK_EQ(write_text(node_file("lease_ms"), "1000"), 0);
	CHECK(!munmap(p, CHUNK * PAGE));
}

static void offline_state(void)
{
	char *p = map_pages(CHUNK);

	swap_off();
	fill(p, CHUNK, SEED);
	demote(p, CHUNK);
	uevents_open();
	CHECK_EQ(write_text(node_file("state"), "offline"), 0);
	CHECK(state_is("offline"));
	CHECK(WAIT_FOR(SETTLES, uevent_said("offline")));
	CHECK_EQ(count_resident(p, CHUNK), 0);
	CHECK_CONTENT(p, CHUNK, SEED);
	/* A reading does not open it again. */
	CHECK(!WAIT_FOR(1, !state_is("offline")));
	CHECK_EQ(write_text(node_file("state"), "open"), 0);
	CHECK(state_is("open"));
	CHECK(WAIT_FOR(SETTLES, uevent_said("open")));
	CHECK(!munmap(p, CHUNK * PAGE));
}

/* --- poison ------------------------------------------------------------------- */

static void map_poisoned(struct peer *up, void *arg)
{
	char *p = arg;

	tell(up, 'r');
	hear(up);
	/* Only who touches the broken page is killed, and the rest is as it was. */
	CHECK_CONTENT(p, POISONED, SEED);
	tell(up, 'c');
	hear(up);
	(void)*(volatile char *)(p + POISONED * PAGE);
}

static void bystander(struct peer *up, void *arg)
{
	char *p = map_pages(N);

	fill(p, N, SEED + 1);
	demote(p, N);
	tell(up, 'r');
	hear(up);
	CHECK_CONTENT(p, N, SEED + 1);
	CHECK_EQ(count_resident(p, N), N);
}

/*
 * A page that two processes share breaks: both are killed when they touch it,
 * the page leaves service, and whoever pays for it is told.
 */
static void poison(void)
{
	struct peer reader, other;
	uint64_t pfn;
	char *p = map_pages(N);
	int status;

	swap_off();
	fill_period = 64;
	other = peer_start(bystander, NULL);
	CHECK_EQ(hear(&other), 'r');
	fill(p, N, SEED);
	demote(p, N);
	reader = peer_start(map_poisoned, p);
	CHECK_EQ(hear(&reader), 'r');

	pfn = pfn_of(p + POISONED * PAGE);
	CHECK(pfn_on_node(pfn));
	poison_page(p + POISONED * PAGE);
	CHECK(WAIT_FOR(SETTLES, cg_key(&cg_here, "cram.events", "poison") == 1));
	CHECK_EQ(cg_number(&cg_here, "cram.current"), (2 * N - 1) * PAGE);

	tell(&reader, 'g');
	CHECK_EQ(hear(&reader), 'c');
	tell(&reader, 'g');
	CHECK(WAIT_FOR(SETTLES, waitpid(reader.pid, &status, WNOHANG) == reader.pid));
	CHECK(WIFSIGNALED(status) && WTERMSIG(status) == SIGBUS);
	CHECK_CONTENT(p, POISONED, SEED);
	tell(&other, 'g');
	CHECK_EQ(peer_end(&other), 0);
	CHECK(!munmap(p, N * PAGE));
	/* Nobody gets that page again. */
	p = map_pages(N);
	fill(p, N, SEED);
	demote(p, N);
	for (int i = 0; i < N; i++)
		CHECK(pfn_of(p + i * PAGE) != pfn);
	CHECK(!munmap(p, N * PAGE));
}

static const struct scenario scenarios[] = {
	{ "low: told, nothing new, and back", low_state },
	{ "critical: told, and back by way of low", critical_state },
	{ "low: pages go to swap until there are cells again", low_with_swap },
	{ "watermarks that make no sense are refused", bad_watermarks },
	{ "lost within a lease, and back", lost_state },
	{ "offline, and back", offline_state },
	{ "a page that breaks", poison },
};

int main(void)
{
	size_t i;

	setup();
	physical = node_number("physical_bytes");
	low = node_number("low_bytes");
	critical = node_number("critical_bytes");
	tap_ok(low > critical && critical > node_number("reserve_bytes"),
	       "by default low is above critical is above the reserve");
	for (i = 0; i < ARRAY_SIZE(scenarios); i++) {
		run_scenario(&scenarios[i], "", 120);
		/* Whatever became of it. */
		write_text(SIM "drop", "0");
		write_text(node_file("critical_bytes"), "0");
		write_text(node_file("low_bytes"), "0");
		swap_off();
		WAIT_FOR(10, state_is("open"));
		/* All but the cells of a page that broke, which nobody gets back. */
		WAIT_FOR(20, node_number("physical_free_bytes") > physical - 2 * (int64_t)PAGE);
	}
	check_device();
	teardown();
	return tap_end();
}
