// SPDX-License-Identifier: GPL-2.0
/*
 * The files of the cram controller: what they are, what they accept, what they
 * refuse with which errno, and what a write does before it returns.
 */
#include "util.h"

#include <dirent.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <unistd.h>

#define ENABLED	"/sys/kernel/mm/cram/enabled"

/* --- strings ---------------------------------------------------------------- */

#define LONG_10		"xxxxxxxxxx"
#define LONG_100	LONG_10 LONG_10 LONG_10 LONG_10 LONG_10 LONG_10 LONG_10 LONG_10 LONG_10 LONG_10
#define LONG_1000	LONG_100 LONG_100 LONG_100 LONG_100 LONG_100 LONG_100 LONG_100 LONG_100 LONG_100 LONG_100
#define LONG_5000	LONG_1000 LONG_1000 LONG_1000 LONG_1000 LONG_1000

/* In text and answer, @ stands for the number of the cram node. */
static const struct row {
	const char *file;
	const char *text;
	const char *reads;	/* accepted, and reads like this; else: */
	int err, or_err;	/* refused with one of these */
} rows[] = {
	{ "cram.max", "0", "0" },
	{ "cram.max", "max", "max" },
	{ "cram.max", "max\n", "max" },
	{ "cram.max", " max ", "max" },
	{ "cram.max", "4096", "4096" },
	{ "cram.max", "4096\n", "4096" },
	{ "cram.max", "\t8192 \n", "8192" },
	{ "cram.max", "4095", "0" },
	{ "cram.max", "4097", "4096" },
	{ "cram.max", "1048575", "1044480" },
	{ "cram.max", "4K", "4096" },
	{ "cram.max", "5k", "4096" },
	{ "cram.max", "3M", "3145728" },
	{ "cram.max", "3m", "3145728" },
	{ "cram.max", "2G", "2147483648" },
	{ "cram.max", "9223372036854771712", "max" },
	/* Not of whole pages */
	{ "cram.page.max", "0", "0" },
	{ "cram.page.max", "3000", "3000" },
	{ "cram.page.max", " 3K\n", "3072" },
	{ "cram.page.max", "max", "max" },
	{ "cram.writable_budget", "inherit", "inherit" },
	{ "cram.writable_budget", " inherit\n", "inherit" },
	{ "cram.writable_budget", "max", "max" },
	{ "cram.writable_budget", "0", "0" },
	{ "cram.writable_budget", "4097", "4096" },
	{ "cram.writable_budget", "3M", "3145728" },
	{ "cram.writable_budget", "\n", NULL, EINVAL },
	{ "cram.writable_budget", "auto", NULL, EINVAL },
	{ "cram.writable_budget", "inherited", NULL, EINVAL },
	{ "cram.writable_budget", "INHERIT", NULL, EINVAL },
	{ "cram.writable_budget", "-1", NULL, EINVAL },
	{ "cram.writable_budget", "1 2", NULL, EINVAL },
	{ "cram.writable_budget", "1T", NULL, EINVAL },
	{ "cram.node.max", "N@\n 4096", NULL, EINVAL },
	{ "cram.max", "\n", NULL, EINVAL },
	{ "cram.max", "   ", NULL, EINVAL },
	{ "cram.max", "-1", NULL, EINVAL },
	{ "cram.max", "-4096", NULL, EINVAL },
	{ "cram.max", "+4096", NULL, EINVAL },
	{ "cram.max", "K", NULL, EINVAL },
	{ "cram.max", "M1", NULL, EINVAL },
	{ "cram.max", "1.5M", NULL, EINVAL },
	{ "cram.max", "1MB", NULL, EINVAL },
	{ "cram.max", "1MiB", NULL, EINVAL },
	{ "cram.max", "1KK", NULL, EINVAL },
	{ "cram.max", "1 M", NULL, EINVAL },
	{ "cram.max", "4096 8192", NULL, EINVAL },
	{ "cram.page.max", "\n", NULL, EINVAL },
	{ "cram.page.max", "-1", NULL, EINVAL },
	{ "cram.page.max", "75%", NULL, EINVAL },
	{ "cram.page.max", "1\nM", NULL, EINVAL },
	{ "cram.page.max", "18446744073709551616", NULL, EINVAL },
	{ "cram.max", "4096\n8192", NULL, EINVAL },
	{ "cram.max", "4\nK", NULL, EINVAL },
	{ "cram.max", "4096,8192", NULL, EINVAL },
	{ "cram.max", "4096;", NULL, EINVAL },
	{ "cram.max", "MAX", NULL, EINVAL },
	{ "cram.max", "Max", NULL, EINVAL },
	{ "cram.max", "maxx", NULL, EINVAL },
	{ "cram.max", "max max", NULL, EINVAL },
	{ "cram.max", "none", NULL, EINVAL },
	{ "cram.max", "inherit", NULL, EINVAL },
	{ "cram.max", "auto", NULL, EINVAL },
	{ "cram.max", "unlimited", NULL, EINVAL },
	{ "cram.max", "N@ 4096", NULL, EINVAL },
	{ "cram.max", "50%", NULL, EINVAL },
	{ "cram.max", "4096x", NULL, EINVAL },
	{ "cram.max", "0x", NULL, EINVAL },
	{ "cram.max", "1e6", NULL, EINVAL },
	{ "cram.max", "١", NULL, EINVAL },
	{ "cram.max", LONG_1000, NULL, EINVAL },
	{ "cram.max", LONG_5000, NULL, E2BIG },

	{ "cram.nodes", "@", "@" },
	{ "cram.nodes", "@\n", "@" },
	{ "cram.nodes", " @ ", "@" },
	{ "cram.nodes", "@-@", "@" },
	{ "cram.nodes", "@,@", "@" },
	{ "cram.nodes", "none", "none" },
	{ "cram.nodes", "none\n", "none" },
	{ "cram.nodes", "\n", "" },
	{ "cram.nodes", "0", NULL, ENODEV },
	{ "cram.nodes", "0-@", NULL, ENODEV },
	{ "cram.nodes", "0,@", NULL, ENODEV },
	{ "cram.nodes", "@,63", NULL, ENODEV },
	{ "cram.nodes", "99999", NULL, ENODEV, EINVAL },
	{ "cram.nodes", "99999999999999999999", NULL, ENODEV, EINVAL },
	{ "cram.nodes", "-1", NULL, EINVAL },
	{ "cram.nodes", "@-", NULL, EINVAL },
	{ "cram.nodes", "-@", NULL, EINVAL },
	{ "cram.nodes", "@-0", NULL, EINVAL },
	{ "cram.nodes", "@.0", NULL, EINVAL },
	{ "cram.nodes", "N@", NULL, EINVAL },
	{ "cram.nodes", "node@", NULL, EINVAL },
	{ "cram.nodes", "0x@", NULL, EINVAL },
	{ "cram.nodes", "+@", NULL, EINVAL },
	{ "cram.nodes", "@;@", NULL, EINVAL },
	{ "cram.nodes", "@ none", NULL, EINVAL },
	{ "cram.nodes", "none @", NULL, EINVAL },
	{ "cram.nodes", "none,@", NULL, EINVAL },
	{ "cram.nodes", "none none", NULL, EINVAL },
	{ "cram.nodes", "NONE", NULL, EINVAL },
	{ "cram.nodes", "nonee", NULL, EINVAL },
	{ "cram.nodes", "@\nnone", NULL, EINVAL },
	{ "cram.nodes", "max", NULL, EINVAL },
	{ "cram.nodes", "any", NULL, EINVAL },
	{ "cram.nodes", LONG_1000, NULL, EINVAL },
	{ "cram.nodes", LONG_5000, NULL, E2BIG },

	{ ENABLED, "0", "0" },
	{ ENABLED, "1", "1" },
	{ ENABLED, "0\n", "0" },
	{ ENABLED, "1\n", "1" },
	{ ENABLED, "2", NULL, EINVAL },
	{ ENABLED, "-1", NULL, EINVAL },
	{ ENABLED, "\n", NULL, EINVAL },
	{ ENABLED, "abc", NULL, EINVAL },
	{ ENABLED, "max", NULL, EINVAL },

	{ "cram.current", "0", NULL, EINVAL, EACCES },
	{ "cram.current", "max", NULL, EINVAL, EACCES },
	{ "cram.nodes.effective", "@", NULL, EINVAL, EACCES },
	{ "cram.events", "max 0", NULL, EINVAL, EACCES },
	{ "cram.events.local", "0", NULL, EINVAL, EACCES },
	{ "cram.stat", "0", NULL, EINVAL, EACCES },
	{ "cram.writable_budget.effective", "0", NULL, EINVAL, EACCES },
	{ "cram.writable_current", "0", NULL, EINVAL, EACCES },
	{ "cram.numa_stat", "0", NULL, EINVAL, EACCES },
};

/* What a write may change. */
static const char *const shown[] = {
	"cram.max", "cram.writable_budget", "cram.nodes", "cram.nodes.effective", "cram.page.max",
	"cram.low", "cram.node.max", ENABLED,
};

static const char *path_of(const struct cg *cg, const char *file)
{
	return *file == '/' ? file : cg_file(cg, file);
}

static void expand(char *to, size_t size, const char *from)
{
	size_t len = 0;

	for (; *from && len < size - 12; from++) {
		if (*from == '@')
			len += sprintf(to + len, "%d", cram_node());
		else
			to[len++] = *from;
	}
	to[len] = '\0';
}

static void printable(char *to, size_t size, const char *from)
{
	size_t len = 0;

	for (; *from && len < size - 8; from++) {
		if (*from == '\n')
			len += sprintf(to + len, "\\n");
		else if (*from == '\t')
			len += sprintf(to + len, "\\t");
		else if (*from != '#')
			to[len++] = *from;
	}
	strcpy(to + len, *from ? "..." : "");
}

static void snapshot(const struct cg *cg, char *to, size_t size)
{
	size_t i, len = 0;
	char buf[200];

	for (i = 0; i < ARRAY_SIZE(shown); i++) {
		read_text(path_of(cg, shown[i]), buf, sizeof(buf));
		len += snprintf(to + len, size - len, "%s=%s", shown[i], buf);
	}
}

static void good_state(const struct cg *cg)
{
	char node[12];

	snprintf(node, sizeof(node), "%d", cram_node());
	write_text(path_of(cg, "cram.max"), "12582912");
	write_text(path_of(cg, "cram.nodes"), node);
	write_text(path_of(cg, "cram.writable_budget"), "8388608");
	write_text(ENABLED, "1");
}

static void try_row(const struct cg *cg, const struct row *row)
{
	char text[6000], reads[64], name[60], buf[200], before[900], after[900];
	int err;

	expand(text, sizeof(text), row->text);
	printable(name, sizeof(name), text);
	good_state(cg);
	snapshot(cg, before, sizeof(before));
	err = -write_bytes(path_of(cg, row->file), text, strlen(text), 0);
	snapshot(cg, after, sizeof(after));

	if (!row->reads) {
		if (!tap_ok((err == row->err || (row->or_err && err == row->or_err)) &&
			    !strcmp(before, after),
			    "%s refuses \"%s\" with %s%s%s", row->file, name,
			    strerrorname_np(row->err), row->or_err ? " or " : "",
			    row->or_err ? strerrorname_np(row->or_err) : ""))
			tap_note("%s%s", strerrorname_np(err) ?: "no error",
				 strcmp(before, after) ? ", and something changed" : "");
		return;
	}
	expand(reads, sizeof(reads) - 1, row->reads);
	strcat(reads, "\n");
	read_text(path_of(cg, row->file), buf, sizeof(buf));
	if (!tap_ok(!err && !strcmp(buf, reads), "%s takes \"%s\"", row->file, name))
		tap_note("%s, reads %s", err ? strerrorname_np(err) : "no error", buf);
}

static void strings(const struct cg *parent)
{
	struct cg cg = cg_make(parent->path, "strings");
	size_t i;

	for (i = 0; i < ARRAY_SIZE(rows); i++)
		try_row(&cg, &rows[i]);
	write_text(ENABLED, "1");
	cg_remove(&cg);
}

/* --- what is there ---------------------------------------------------------- */

/* All that a cgroup may ever have; those with a mode have to be there. */
static const struct file {
	const char *name;
	unsigned int mode;
	const char *fresh;	/* in a new cgroup, @ is the node */
} files[] = {
	{ "cram.nodes", 0644, "\n" },
	{ "cram.nodes.effective", 0444, "@\n" },
	{ "cram.max", 0644, "max\n" },
	{ "cram.current", 0444, "0\n" },
	{ "cram.peak", 0644, "0\n" },
	{ "cram.events", 0444,
	  "max 0\nbudget 0\nnode_low 0\nnode_critical 0\nnode_lost 0\nnode_open 0\n"
	  "revoke 0\nevict 0\npoison 0\n" },
	{ "cram.events.local", 0444,
	  "max 0\nbudget 0\nnode_low 0\nnode_critical 0\nnode_lost 0\nnode_open 0\n"
	  "revoke 0\nevict 0\npoison 0\n" },
	{ "cram.stat", 0444, NULL },
	{ "cram.numa_stat", 0444, "resident N@=0\n" },
	{ "cram.node.max", 0644, "" },
	{ "cram.page.max", 0644, "max\n" },
	{ "cram.low", 0644, "0\n" },
	{ "cram.writable_budget", 0644, "inherit\n" },
	{ "cram.writable_budget.effective", 0444, "0\n" },
	{ "cram.writable_current", 0444, "0\n" },
	{ "cram.reclaim", 0200, NULL },
};

static const char *const stat_keys[] = {
	"demote", "upgrade", "promote_write", "promote_hot", "promote_reclaim",
	"promote_forced", "writeback", "revoke", "recycle", "refuse_off",
	"refuse_memcg", "refuse_right", "refuse_max", "refuse_state", "refuse_room",
	"refuse_page", "refuse_content",
};

static const char *const not_in_vmstat[] = {
	"promote_hot_refused", "readonly", "writable", "compressed_estimate",
};

static const struct file *file_named(const char *name)
{
	size_t i;

	for (i = 0; i < ARRAY_SIZE(files); i++)
		if (!strcmp(files[i].name, name))
			return &files[i];
	return NULL;
}

/* Files named cram.* in @cg; @stranger gets one that nobody documented. */
static int cram_files(const char *cg, char *stranger)
{
	DIR *dir = opendir(cg);
	struct dirent *de;
	int n = 0;

	while (dir && (de = readdir(dir))) {
		if (strncmp(de->d_name, "cram.", 5))
			continue;
		n++;
		if (!file_named(de->d_name))
			strcpy(stranger, de->d_name);
	}
	if (dir)
		closedir(dir);
	return n;
}

static void inventory(const struct cg *parent)
{
	struct cg cg = cg_make(parent->path, "inventory");
	char buf[1000], want[1000], stranger[256] = "", path[300];
	struct stat st;
	size_t i;

	for (i = 0; i < ARRAY_SIZE(files); i++) {
		const struct file *f = &files[i];

		if (!f->mode)
			continue;
		tap_ok(!stat(cg_file(&cg, f->name), &st) && (st.st_mode & 07777) == f->mode,
		       "%s is there with mode %o", f->name, f->mode);
		if (!f->fresh)
			continue;
		expand(want, sizeof(want), f->fresh);
		read_text(cg_file(&cg, f->name), buf, sizeof(buf));
		if (!tap_ok(!strcmp(buf, want), "%s in a new cgroup", f->name))
			tap_note("reads %s", buf);
	}
	if (!tap_ok(cram_files(cg.path, stranger) > 0 && !*stranger,
		    "no file beyond the documented ones"))
		tap_note("%s", stranger);
	if (!tap_ok(!cram_files(CGROOT, stranger), "the root has no cram files"))
		tap_note("%s", stranger);

	for (i = 0; i < ARRAY_SIZE(stat_keys); i++) {
		snprintf(path, sizeof(path), "cram_%s", stat_keys[i]);
		tap_ok(cg_key(&cg, "cram.stat", stat_keys[i]) == 0 &&
		       read_key("/proc/vmstat", path) >= 0,
		       "cram.stat has %s, and vmstat %s", stat_keys[i], path);
	}
	for (i = 0; i < ARRAY_SIZE(not_in_vmstat); i++)
		tap_ok(cg_key(&cg, "cram.stat", not_in_vmstat[i]) == 0, "cram.stat has %s",
		       not_in_vmstat[i]);

	tap_ok(cg_key(&cg, "memory.stat", "cram") == 0, "memory.stat has cram");
	tap_ok(read_kb("/proc/meminfo", "Cram") >= 0, "/proc/meminfo has Cram:");
	tap_ok(read_kb("/proc/self/smaps", "Cram") >= 0, "smaps has Cram:");
	tap_ok(read_kb("/proc/self/smaps_rollup", "Cram") >= 0, "smaps_rollup has Cram:");

	snprintf(want, sizeof(want), "%d\n", cram_node());
	read_text("/sys/devices/system/node/has_private_memory", buf, sizeof(buf));
	tap_ok(!strcmp(buf, want), "has_private_memory lists the node");

	/* A limit belongs to the parent. */
	read_text("/sys/kernel/cgroup/delegate", buf, sizeof(buf));
	tap_ok(!strstr(buf, "cram.max") && !strstr(buf, "cram.nodes"),
	       "no limit of cram is delegatable");
	cg_remove(&cg);
}

static void node_files(void)
{
	static const char *const numbers[] = {
		"logical_bytes", "physical_bytes", "physical_free_bytes", "free_bound_bytes",
		"used_bytes", "over_capacity",
	}, *const writable[] = {
		"lease_ms", "reserve_bytes", "low_bytes", "critical_bytes",
		"promote_hot_bytes_per_sec",
	}, *const bad[] = {
		"some", "-5", "1.5", "0x10", "99999999999999999999", "5 6",
	};
	size_t j;
	int64_t before;
	char buf[100];
	size_t i;

	read_text(node_file("state"), buf, sizeof(buf));
	if (!tap_ok(!strcmp(buf, "open\n"), "the node's state is open"))
		tap_note("%s", buf);
	for (i = 0; i < ARRAY_SIZE(numbers); i++)
		tap_ok(node_number(numbers[i]) >= 0, "the node has %s", numbers[i]);
	tap_ok(exists(node_file("ratio")), "the node has ratio");
	tap_ok(node_number("physical_bytes") > 0 &&
	       node_number("logical_bytes") >= node_number("physical_bytes") &&
	       node_number("physical_free_bytes") <= node_number("physical_bytes") &&
	       node_number("free_bound_bytes") <= node_number("physical_bytes") &&
	       node_number("reserve_bytes") < node_number("physical_bytes"),
	       "the node's numbers fit together");
	tap_ok(node_number("over_capacity") == 0, "nothing was written over capacity");
	tap_ok(write_text(node_file("state"), "bogus") < 0, "state refuses what is no state");
	for (i = 0; i < ARRAY_SIZE(numbers); i++)
		tap_ok(write_text(node_file(numbers[i]), "1") < 0, "%s cannot be written",
		       numbers[i]);
	for (i = 0; i < ARRAY_SIZE(writable); i++) {
		bool refused = true;

		before = node_number(writable[i]);
		for (j = 0; j < ARRAY_SIZE(bad); j++)
			refused &= write_text(node_file(writable[i]), bad[j]) < 0;
		tap_ok(refused && before >= 0 && node_number(writable[i]) == before,
		       "%s refuses what is no number, and keeps its value", writable[i]);
	}
}

/* --- the tree --------------------------------------------------------------- */

static bool effective_is(const struct cg *cg, bool node)
{
	char want[16] = "\n", buf[100];

	if (node)
		snprintf(want, sizeof(want), "%d\n", cram_node());
	read_text(cg_file(cg, "cram.nodes.effective"), buf, sizeof(buf));
	if (strcmp(buf, want))
		tap_note("%s: cram.nodes.effective is %s", cg->path, buf);
	return !strcmp(buf, want);
}

static void inheritance(const struct cg *parent)
{
	struct cg a = cg_make(parent->path, "a"), b, c;
	char node[12], buf[100];

	snprintf(node, sizeof(node), "%d", cram_node());
	cg_write(&a, "cgroup.subtree_control", "+memory +cram");
	b = cg_make(a.path, "b");
	cg_write(&b, "cgroup.subtree_control", "+memory +cram");
	c = cg_make(b.path, "c");

#define STATE(ea, eb, ec) (effective_is(&a, ea) && effective_is(&b, eb) && effective_is(&c, ec))
	tap_ok(STATE(1, 1, 1), "three levels: all have the node by default");
	cg_write(&a, "cram.nodes", "none");
	tap_ok(STATE(0, 0, 0), "none at the top takes it from all below");
	cg_write(&c, "cram.nodes", node);
	tap_ok(STATE(0, 0, 0), "asking for it below does not help");
	cg_write(&a, "cram.nodes", node);
	tap_ok(STATE(1, 1, 1), "the node at the top gives it back");
	cg_write(&b, "cram.nodes", "none");
	tap_ok(STATE(1, 0, 0), "none in the middle");
	cg_write(&a, "cram.nodes", "\n");
	tap_ok(STATE(1, 0, 0), "empty at the top: what its parent has");
	read_text(cg_file(&c, "cram.nodes"), buf, sizeof(buf));
	tap_ok(atoi(buf) == cram_node(), "what was asked for below is still there");
	cg_write(&b, "cram.nodes", "\n");
	cg_write(&c, "cram.nodes", "none");
	tap_ok(STATE(1, 1, 0), "none at the bottom");
	b = cg_make(b.path, "d");
	tap_ok(effective_is(&b, true), "a sibling made now has the node");
#undef STATE
	cg_remove(&a);
}

static bool has(const struct cg *cg, const char *file)
{
	return exists(cg_file(cg, file));
}

/* cram needs memory accounting below it, shown or not. */
static void dependencies(const struct cg *parent)
{
	struct cg x = cg_make(parent->path, "x"), y = cg_make(x.path, "y"), z;

	tap_ok(!has(&y, "cram.max") && cg_write(&y, "cgroup.subtree_control", "+cram") == -ENOENT,
	       "not to be had where the parent does not give it");
	tap_ok(!cg_write(&x, "cgroup.subtree_control", "+cram") && has(&y, "cram.max"),
	       "+cram alone makes the files");
	tap_ok(!has(&y, "memory.max") && cg_key(&y, "cgroup.stat", "nr_subsys_memory") == 1,
	       "memory comes with it, its files hidden (depends_on)");
	tap_ok(cg_write(&y, "cgroup.type", "threaded") == -EOPNOTSUPP,
	       "no threaded cgroup below an enabled cram");
	tap_ok(!cg_write(&x, "cgroup.subtree_control", "+memory") && has(&y, "memory.max"),
	       "+memory shows its files");
	tap_ok(!cg_write(&x, "cgroup.subtree_control", "-memory") && !has(&y, "memory.max") &&
	       cg_key(&y, "cgroup.stat", "nr_subsys_memory") == 1 && has(&y, "cram.max"),
	       "-memory hides them only, while cram is on");
	tap_ok(!cg_write(&y, "cgroup.subtree_control", "+cram"), "+cram a level deeper");
	tap_ok(cg_write(&x, "cgroup.subtree_control", "-cram") == -EBUSY,
	       "-cram with cram on below is busy");
	z = cg_make(y.path, "z");
	tap_ok(has(&z, "cram.max") && cg_key(&z, "cgroup.stat", "nr_subsys_memory") == 1,
	       "the files are there a level deeper");
	tap_ok(!cg_write(&y, "cgroup.subtree_control", "-cram") && !has(&z, "cram.max"),
	       "-cram takes them away");
	tap_ok(!cg_write(&x, "cgroup.subtree_control", "-cram") && !has(&y, "cram.max") &&
	       WAIT_FOR(SETTLES, cg_key(&y, "cgroup.stat", "nr_subsys_memory") == 0),
	       "with cram the hidden memory goes");
	cg_remove(&x);
}

static void delegation(void)
{
	static const char *const limits[] = { "cram.max", "cram.nodes", "cram.peak" };
	int status;
	size_t i;

	CHECK(!chown(cg_here.path, 1000, 1000));
	CHECK(!chown(cg_file(&cg_here, "cgroup.procs"), 1000, 1000));
	CHECK(!chown(cg_file(&cg_here, "cgroup.subtree_control"), 1000, 1000));
	if (!fork()) {
		struct cg sub;

		CHECK(!setgid(1000) && !setuid(1000), "%m");
		for (i = 0; i < ARRAY_SIZE(limits); i++) {
			CHECK_EQ(cg_write(&cg_here, limits[i], "0"), -EACCES);
			CHECK(cg_number(&cg_here, limits[i]) != -EACCES);
		}
		CHECK_EQ(write_text(ENABLED, "0"), -EACCES);
		CHECK_EQ(write_text(node_file("state"), "offline"), -EACCES);
		/* What is below is the delegatee's own. */
		sub = cg_make(cg_here.path, "sub");
		CHECK_EQ(cg_enter(&sub, getpid()), 0);
		_exit(0);
	}
	CHECK(wait(&status) > 0);
	CHECK_EQ(status, 0);
}

/* --- what writes do --------------------------------------------------------- */

#define N 256
#define SEED 7

/* The scenario's process goes to a child, so that its cgroup can give controllers. */
static struct cg enter_child(const char *name)
{
	struct cg cg = cg_make(cg_here.path, "%s", name);

	CHECK_EQ(cg_enter(&cg, getpid()), 0);
	CHECK_EQ(cg_write(&cg_here, "cgroup.subtree_control", "+memory +cram"), 0);
	return cg;
}

static void pageout(void *p, size_t pages)
{
	CHECK(!madvise(p, pages * PAGE, MADV_PAGEOUT), "%m");
}

/* No right, no demotion; the right again, demotion again. */
static void right(void)
{
	void *p = map_pages(N);

	fill(p, N, SEED);
	CHECK_EQ(cg_write(&cg_here, "cram.nodes", "none"), 0);
	pageout(p, N);
	CHECK_EQ(count_resident(p, N), 0);
	CHECK_EQ(cg_number(&cg_here, "cram.current"), 0);
	CHECK(cg_key(&cg_here, "cram.stat", "refuse_right") > 0);
	CHECK_EQ(cg_write(&cg_here, "cram.nodes", "\n"), 0);
	demote(p, N);
	CHECK_EQ(cg_key(&cg_here, "cram.stat", "demote"), N);
	CHECK_CONTENT(p, N, SEED);
}

/* A grandparent's right counts where the process is. */
static void right_above(void)
{
	struct cg child = enter_child("child");
	void *p = map_pages(N);

	fill(p, N, SEED);
	CHECK_EQ(cg_write(&cg_here, "cram.nodes", "none"), 0);
	pageout(p, N);
	CHECK_EQ(count_resident(p, N), 0);
	CHECK(cg_key(&child, "cram.stat", "refuse_right") > 0);
	CHECK_EQ(cg_write(&cg_here, "cram.nodes", "\n"), 0);
	demote(p, N);
}

static void switch_off(void)
{
	void *p = map_pages(N);

	fill(p, N, SEED);
	CHECK_EQ(write_text(ENABLED, "0"), 0);
	pageout(p, N);
	CHECK_EQ(count_resident(p, N), 0);
	CHECK(cg_key(&cg_here, "cram.stat", "refuse_off") > 0);
	CHECK_EQ(write_text(ENABLED, "1"), 0);
	demote(p, N);
	/* What is there stays there, and is safe. */
	CHECK_EQ(write_text(ENABLED, "0"), 0);
	CHECK_EQ(count_resident(p, N), N);
	CHECK_CONTENT(p, N, SEED);
	fill(p, N, SEED + 1);
	CHECK_EQ(count_resident(p, N), 0);
	CHECK_CONTENT(p, N, SEED + 1);
	CHECK_EQ(write_text(ENABLED, "1"), 0);
}

/* A node that has not answered in time takes nothing, and no limit is met then. */
static bool offered_beyond(const struct cg *limited, void *p)
{
	return WAIT_FOR(SETTLES, (pageout(p, N), cg_key(limited, "cram.events", "max") > 0));
}

static void limit(void)
{
	void *p = map_pages(N);
	size_t resident;
	int i;

	fill(p, N, SEED);
	CHECK_EQ(cg_printf(&cg_here, "cram.max", "%lu", N / 4 * PAGE), 0);
	CHECK(offered_beyond(&cg_here, p));
	for (i = 0; i < 5; i++)
		pageout(p, N);
	resident = count_resident(p, N);
	tap_note("%zu of %d pages resident under a limit of %d", resident, N, N / 4);
	CHECK(resident > 0 && resident <= N / 4);
	CHECK_EQ(cg_number(&cg_here, "cram.current"), resident * PAGE);
	CHECK(cg_key(&cg_here, "cram.events", "max") > 0);
	CHECK(cg_key(&cg_here, "cram.events.local", "max") > 0);
	CHECK(cg_key(&cg_here, "cram.stat", "refuse_max") > 0);
	CHECK_EQ(cg_write(&cg_here, "cram.max", "max"), 0);
	demote(p, N);
	CHECK_CONTENT(p, N, SEED);
}

static void limit_above(void)
{
	struct cg a = enter_child("a"), b = cg_make(cg_here.path, "b");
	void *p = map_pages(N);
	size_t resident;

	CHECK_EQ(cg_printf(&cg_here, "cram.max", "%lu", N / 4 * PAGE), 0);
	fill(p, N, SEED);
	CHECK(offered_beyond(&cg_here, p));
	resident = count_resident(p, N);
	CHECK(resident > 0 && resident <= N / 4, "%zu", resident);
	CHECK_EQ(cg_number(&a, "cram.current"), resident * PAGE);
	CHECK_EQ(cg_number(&b, "cram.current"), 0);
	CHECK_EQ(cg_number(&cg_here, "cram.current"), resident * PAGE);
	CHECK(cg_key(&cg_here, "cram.events.local", "max") > 0);
	/* It is not a's own limit that was hit. */
	CHECK_EQ(cg_key(&a, "cram.events.local", "max"), 0);
}

static void zero_limit(void)
{
	void *p = map_pages(N);

	CHECK_EQ(cg_write(&cg_here, "cram.max", "0"), 0);
	fill(p, N, SEED);
	pageout(p, N);
	CHECK_EQ(count_resident(p, N), 0);
	CHECK_EQ(cg_number(&cg_here, "cram.current"), 0);
	/* For this reason, and no other. */
	CHECK(cg_key(&cg_here, "cram.stat", "refuse_max") > 0);
}

static void lower_limit(void)
{
	void *p = resident_pages(N, SEED);
	int64_t memory = cg_number(&cg_here, "memory.current");

	CHECK_EQ(cg_printf(&cg_here, "cram.max", "%lu", N / 2 * PAGE), 0);
	/* It has happened when the write returns. */
	CHECK(cg_number(&cg_here, "cram.current") <= (int64_t)(N / 2 * PAGE));
	CHECK_EQ(count_resident(p, N) * PAGE, cg_number(&cg_here, "cram.current"));
	CHECK_EQ(cg_write(&cg_here, "cram.max", "0"), 0);
	CHECK_EQ(cg_number(&cg_here, "cram.current"), 0);
	CHECK_EQ(count_resident(p, N), 0);
	/* To swap, or back into memory. */
	CHECK_NEAR(cg_number(&cg_here, "memory.current") - memory,
		   (N - count_swapped(p, N)) * PAGE, charge_slack());
	CHECK(cg_key(&cg_here, "cram.stat", "promote_reclaim") +
	      cg_key(&cg_here, "cram.stat", "writeback") >= N);
	CHECK_CONTENT(p, N, SEED);
}

static void lower_limit_nonblock(void)
{
	void *p = resident_pages(N, SEED);
	char buf[32];

	CHECK_EQ(write_bytes(cg_file(&cg_here, "cram.max"), "0", 1, O_NONBLOCK), 0);
	CHECK_EQ(cg_number(&cg_here, "cram.current"), N * PAGE);
	read_text(cg_file(&cg_here, "cram.max"), buf, sizeof(buf));
	CHECK(!strcmp(buf, "0\n"), "%s", buf);
	CHECK_EQ(count_resident(p, N), N);
	CHECK_CONTENT(p, N, SEED);
	/* In force nevertheless. */
	fill_page(p, SEED, 0);
	pageout(p, 1);
	CHECK(!is_resident(p));
	CHECK(cg_key(&cg_here, "cram.stat", "refuse_max") > 0);
}

static void lower_limit_of_parent(void)
{
	struct cg child = enter_child("child");
	void *p = resident_pages(N, SEED);

	CHECK_EQ(cg_printf(&cg_here, "cram.max", "%lu", N / 2 * PAGE), 0);
	CHECK(cg_number(&cg_here, "cram.current") <= (int64_t)(N / 2 * PAGE));
	CHECK_EQ(count_resident(p, N) * PAGE, cg_number(&child, "cram.current"));
	CHECK_CONTENT(p, N, SEED);
}

/* Pages that somebody holds cannot be moved: the write ends all the same. */
static void lower_limit_held(void)
{
	void *p = resident_pages(N, SEED);
	struct iovec iov = { p, 16 * PAGE };
	double start;
	int fd[2];

	CHECK(!pipe(fd) && fcntl(fd[1], F_SETPIPE_SZ, 64 * PAGE) > 0, "%m");
	CHECK_EQ(vmsplice(fd[1], &iov, 1, 0), 16 * PAGE);
	if (count_resident(p, 16) < 16)
		skip("vmsplice promotes");
	start = now();
	CHECK_EQ(cg_write(&cg_here, "cram.max", "0"), 0);
	tap_note("took %.1f s", now() - start);
	CHECK(cg_number(&cg_here, "cram.current") <= (int64_t)(16 * PAGE));
	close(fd[0]);
	close(fd[1]);
	CHECK_CONTENT(p, N, SEED);
	CHECK_EQ(cg_write(&cg_here, "cram.max", "0"), 0);
	CHECK_EQ(cg_number(&cg_here, "cram.current"), 0);
}

static void lower_to_zero(struct peer *up, void *arg)
{
	tell(up, 'g');
	cg_write(&cg_here, "cram.max", "0");
}

/* ... and ends at once when it is interrupted. */
static void lower_limit_killed(void)
{
	void *p = resident_pages(N, SEED);
	struct iovec iov = { p, 16 * PAGE };
	struct peer peer;
	int fd[2], status;

	CHECK(!pipe(fd) && fcntl(fd[1], F_SETPIPE_SZ, 64 * PAGE) > 0, "%m");
	CHECK_EQ(vmsplice(fd[1], &iov, 1, 0), 16 * PAGE);
	peer = peer_start(lower_to_zero, NULL);
	hear(&peer);
	CHECK(WAIT_FOR(SETTLES, cg_number(&cg_here, "cram.max") == 0));
	kill(peer.pid, SIGTERM);
	CHECK(WAIT_FOR(SETTLES, waitpid(peer.pid, &status, WNOHANG) == peer.pid));
	/* Or it was quicker. */
	CHECK(WIFSIGNALED(status) ? WTERMSIG(status) == SIGTERM : !status, "status %#x", status);
	CHECK_CONTENT(p, N, SEED);
}

static int64_t read_fd(int fd)
{
	char buf[64] = "";

	CHECK(pread(fd, buf, sizeof(buf) - 1, 0) > 0, "%m");
	return atoll(buf);
}

static void peak(void)
{
	int a = open(cg_file(&cg_here, "cram.peak"), O_RDWR);
	int b = open(cg_file(&cg_here, "cram.peak"), O_RDWR);
	void *p = resident_pages(N, SEED);

	CHECK(a >= 0 && b >= 0, "%m");
	CHECK_EQ(read_fd(a), N * PAGE);
	fill(p, N / 2, SEED);		/* promotes half */
	CHECK_EQ(cg_number(&cg_here, "cram.current"), N / 2 * PAGE);
	CHECK_EQ(read_fd(a), N * PAGE);
	CHECK_EQ(write(a, "reset", 5), 5);
	CHECK_EQ(read_fd(a), N / 2 * PAGE);
	CHECK_EQ(read_fd(b), N * PAGE);
	CHECK_EQ(cg_number(&cg_here, "cram.peak"), N * PAGE);
	unmap_pages(p, N);
	CHECK_EQ(write(b, "1\n", 2), 2);
	CHECK_EQ(read_fd(b), 0);
	CHECK_EQ(read_fd(a), N / 2 * PAGE);
	p = resident_pages(N / 4, SEED);
	CHECK_EQ(read_fd(b), N / 4 * PAGE);
	CHECK_EQ(read_fd(a), N / 2 * PAGE);
	CHECK_EQ(cg_number(&cg_here, "cram.peak"), N * PAGE);
}

static const struct cg *limited_cg;

/* A child that waits to be told, demotes up to the limit, and says that it has. */
static void demoter(struct peer *up, void *arg)
{
	void *p = map_pages(N);

	fill(p, N, SEED);
	tell(up, 'r');
	hear(up);
	offered_beyond(limited_cg, p);
	tell(up, 'd');
	hear(up);
}

static void pollable_events(const char *file, const char *limit_of)
{
	struct cg child = enter_child("child");
	struct cg *limited = *limit_of == 'p' ? &cg_here : &child;
	int fd = open(cg_file(limited, file), O_RDONLY);
	struct pollfd poll_fd = { .fd = fd, .events = POLLPRI };
	struct peer peer;
	char buf[500];

	CHECK(fd >= 0, "%m");
	limited_cg = limited;
	CHECK_EQ(cg_printf(limited, "cram.max", "%lu", N / 4 * PAGE), 0);
	peer = peer_start(demoter, NULL);
	hear(&peer);
	CHECK(pread(fd, buf, sizeof(buf), 0) > 0);
	CHECK_EQ(poll(&poll_fd, 1, 0), 0);
	tell(&peer, 'g');
	CHECK_EQ(poll(&poll_fd, 1, SETTLES * 1000), 1);
	CHECK(poll_fd.revents & POLLPRI, "revents %#x", poll_fd.revents);
	hear(&peer);
	CHECK(cg_key(limited, file, "max") > 0);
	tell(&peer, 'e');
	CHECK_EQ(peer_end(&peer), 0);
}

static void events_pollable(void)
{
	pollable_events("cram.events", "child");
}

static void events_local_pollable(void)
{
	pollable_events("cram.events.local", "child");
}

static void events_of_parent_pollable(void)
{
	pollable_events("cram.events", "parent");
}

/* An event below is counted in the parent's cram.events and not in its local one. */
static void events_hierarchy(void)
{
	struct cg child = enter_child("child");
	void *p = map_pages(N);

	CHECK_EQ(cg_printf(&child, "cram.max", "%lu", N / 4 * PAGE), 0);
	fill(p, N, SEED);
	CHECK(offered_beyond(&child, p));
	CHECK(cg_key(&child, "cram.events.local", "max") > 0);
	CHECK_EQ(cg_key(&cg_here, "cram.events", "max"), cg_key(&child, "cram.events", "max"));
	CHECK_EQ(cg_key(&cg_here, "cram.events.local", "max"), 0);
}

static void numa_stat(void)
{
	void *p = resident_pages(N, SEED);
	char buf[100], want[100];

	snprintf(want, sizeof(want), "resident N%d=%lu\n", cram_node(), N * PAGE);
	read_text(cg_file(&cg_here, "cram.numa_stat"), buf, sizeof(buf));
	CHECK(!strcmp(buf, want), "%s", buf);
	CHECK_EQ(cg_key(&cg_here, "cram.stat", "readonly"), N * PAGE);
	CHECK_CONTENT(p, N, SEED);
}

/* --- memory.stat ------------------------------------------------------------ */

/* Twice as much is resident as is not. */
#define SHOWN		(50 * MIB / PAGE)
#define SHOWN_RESIDENT	(34 * MIB / PAGE)

/* "anon N0=1 N1=2": on the cram node, or on all others. */
static int64_t numa_key(const struct cg *cg, const char *key, bool cram)
{
	char *text = slurp(cg_file(cg, "memory.numa_stat")), *line, *field, *end;
	int64_t sum = -ENOENT;
	size_t len = strlen(key);

	CHECK(text);
	for (line = strtok_r(text, "\n", &end); line; line = strtok_r(NULL, "\n", &end)) {
		if (strncmp(line, key, len) || line[len] != ' ')
			continue;
		sum = 0;
		for (field = strtok(line + len, " "); field; field = strtok(NULL, " ")) {
			char *bytes;
			int nid = strtol(field + 1, &bytes, 10);

			CHECK(*field == 'N' && *bytes == '=', "%s", field);
			if ((nid == cram_node()) == cram)
				sum += strtoll(bytes + 1, NULL, 10);
		}
		break;
	}
	return sum;
}

static int64_t sum_of(const struct cg *cg, const char *const *keys, size_t n)
{
	int64_t sum = 0, bytes;
	size_t i;

	for (i = 0; i < n; i++) {
		bytes = cg_key(cg, "memory.stat", keys[i]);
		CHECK(bytes >= 0, "%s", keys[i]);
		sum += bytes;
	}
	return sum;
}

/* Whoever adds up lines of memory.stat comes to no more than memory.current. */
static void check_sums(const struct cg *cg, int64_t anon, int64_t cram)
{
	static const char *const by_use[] = { "anon", "file", "kernel", "sock" };
	static const char *const by_list[] = {
		"active_anon", "inactive_anon", "active_file", "inactive_file", "unevictable",
		"kernel",
	};
	int64_t current = cg_number(cg, "memory.current"), slack = 2 * charge_slack();

	tap_note("%s: current %lld, anon %lld, cram %lld", cg->path, (long long)current,
		 (long long)cg_key(cg, "memory.stat", "anon"),
		 (long long)cg_key(cg, "memory.stat", "cram"));
	CHECK(sum_of(cg, by_use, ARRAY_SIZE(by_use)) <= current + slack);
	CHECK(sum_of(cg, by_list, ARRAY_SIZE(by_list)) <= current + slack);
	CHECK_NEAR(cg_key(cg, "memory.stat", "anon"), anon, slack + MIB);
	CHECK_NEAR(cg_key(cg, "memory.stat", "cram"), cram, slack);
	CHECK_NEAR(cg_key(cg, "memory.stat", "active_anon") +
		   cg_key(cg, "memory.stat", "inactive_anon"), anon, slack + MIB);
	/* By node everything is where it is. */
	CHECK_NEAR(numa_key(cg, "anon", true), cram, slack);
	CHECK_NEAR(numa_key(cg, "cram", true), cram, slack);
	CHECK_EQ(numa_key(cg, "cram", false), 0);
	CHECK_NEAR(numa_key(cg, "anon", false), cg_key(cg, "memory.stat", "anon"), slack);
	/* As they would be if they were counted in. */
	CHECK(sum_of(cg, by_use, ARRAY_SIZE(by_use)) + cram > current + slack);
}

static void memory_stat(void)
{
	struct cg child = enter_child("child");
	char *p = map_pages(SHOWN);
	size_t n;

	fill(p, SHOWN_RESIDENT, SEED);
	demote(p, SHOWN_RESIDENT);
	n = SHOWN - SHOWN_RESIDENT;
	fill(p + SHOWN_RESIDENT * PAGE, n, SEED);
	/* Pages on their way to a list are on none. */
	drain_lru();
	check_sums(&child, n * PAGE, SHOWN_RESIDENT * PAGE);
	check_sums(&cg_here, n * PAGE, SHOWN_RESIDENT * PAGE);

	/* Freed by MADV_FREE they are on the lists of files, where they are. */
	CHECK(!madvise(p, 16 * MIB, MADV_FREE), "%m");
	drain_lru();
	CHECK(numa_key(&child, "inactive_file", true) > (int64_t)(15 * MIB));
	check_sums(&child, n * PAGE, SHOWN_RESIDENT * PAGE);
}

/* --- cgroups that come and go ----------------------------------------------- */

/* Tests have fewer ids: all that are in use now, and not one more. */
static void no_more_ids(void)
{
	debug_set(DEBUGFS "max_owner_id", "1");
}

static void more_ids(void)
{
	debug_set(DEBUGFS "max_owner_id", "16777215");
}

/* No owner id is left: a cgroup can be made, and its pages are its parent's. */
static void no_owner_id(void)
{
	struct cg own = enter_child("own"), a, b;
	void *p;

	no_more_ids();
	a = cg_make(cg_here.path, "a");
	more_ids();
	CHECK_EQ(cg_write(&a, "cgroup.subtree_control", "+memory +cram"), 0);
	b = cg_make(a.path, "b");
	CHECK_EQ(cg_enter(&b, getpid()), 0);
	p = resident_pages(N, SEED);
	CHECK_EQ(cg_number(&b, "cram.current"), 0);
	CHECK_EQ(cg_number(&a, "cram.current"), 0);
	CHECK_EQ(cg_number(&cg_here, "cram.current"), N * PAGE);
	CHECK_EQ(cg_key(&cg_here, "cram.stat", "demote"), N);
	CHECK_EQ(run_walker(), 0);

	/* Rights bind as ever; a number that could not be kept refuses all. */
	fill(p, N, SEED);
	CHECK_EQ(cg_write(&a, "cram.nodes", "none"), 0);
	pageout(p, N);
	CHECK_EQ(count_resident(p, N), 0);
	CHECK_EQ(cg_write(&a, "cram.nodes", "\n"), 0);
	CHECK_EQ(cg_printf(&a, "cram.max", "%lu", 2 * N * PAGE), 0);
	fill(p, N, SEED);
	pageout(p, N);
	CHECK_EQ(count_resident(p, N), 0);
	CHECK(cg_key(&a, "cram.events.local", "max") > 0);
	CHECK_EQ(cg_write(&a, "cram.max", "max"), 0);
	fill(p, N, SEED);
	demote(p, N);

	/* They go before the pages. */
	CHECK_EQ(cg_enter(&own, getpid()), 0);
	CHECK(!rmdir(b.path) && !rmdir(a.path), "%m");
	CHECK_EQ(cg_number(&cg_here, "cram.current"), N * PAGE);
	CHECK_EQ(run_walker(), 0);
	CHECK_CONTENT(p, N, SEED);
	unmap_pages(p, N);
	CHECK_EQ(cg_number(&cg_here, "cram.current"), 0);
}

static bool demoting;

static void *demote_all_the_time(void *p)
{
	size_t i;

	while (__atomic_load_n(&demoting, __ATOMIC_ACQUIRE)) {
		madvise(p, N * PAGE, MADV_PAGEOUT);
		for (i = 0; i < N; i++)
			rewrite((char *)p + i * PAGE);
	}
	return NULL;
}

/* Pages of a cgroup are demoted at the very moment at which it goes. */
static void removed_meanwhile(void)
{
	struct cg own = enter_child("own");
	pthread_t thread;
	int i;

	for (i = 0; i < 50; i++) {
		struct cg a = cg_make(cg_here.path, "a");
		void *p = map_pages(N);

		CHECK_EQ(cg_enter(&a, getpid()), 0);
		fill(p, N, SEED);
		CHECK_EQ(cg_enter(&own, getpid()), 0);
		demoting = true;
		CHECK(!pthread_create(&thread, NULL, demote_all_the_time, p));
		nap_ms(i % 4 * 3);
		CHECK(!rmdir(a.path), "%m");
		/* It goes offline after that, by a worker, and is freed a grace period later. */
		nap_ms(20);
		__atomic_store_n(&demoting, false, __ATOMIC_RELEASE);
		CHECK(!pthread_join(thread, NULL));
		CHECK_CONTENT(p, N, SEED);
		unmap_pages(p, N);
	}
	CHECK(cg_key(&cg_here, "cram.stat", "demote") > 0);
	CHECK_EQ(cg_number(&cg_here, "cram.current"), 0);
	CHECK(WAIT_FOR(SETTLES, cg_key(&cg_here, "cgroup.stat", "nr_dying_subsys_cram") == 0));
}

static void removal(void)
{
	struct cg a = enter_child("a"), b = cg_make(cg_here.path, "b");
	void *p = resident_pages(N, SEED);

	CHECK_EQ(cg_number(&a, "cram.current"), N * PAGE);
	CHECK_EQ(cg_enter(&b, getpid()), 0);
	CHECK_EQ(cg_number(&a, "cram.current"), N * PAGE);
	CHECK(!rmdir(a.path), "%m");
	CHECK_EQ(cg_number(&cg_here, "cram.current"), N * PAGE);
	CHECK_EQ(cg_number(&b, "cram.current"), 0);
	CHECK_EQ(count_resident(p, N), N);
	CHECK_EQ(run_walker(), 0);
	CHECK_CONTENT(p, N, SEED);
	/* A write is charged to where the process is now, and paid back above. */
	fill(p, N / 2, SEED);
	CHECK_EQ(cg_number(&cg_here, "cram.current"), N / 2 * PAGE);
	CHECK_EQ(cg_key(&cg_here, "cram.stat", "promote_write"), N / 2);
	CHECK_CONTENT(p, N, SEED);
	unmap_pages(p, N);
	CHECK_EQ(cg_number(&cg_here, "cram.current"), 0);
	/* Nothing keeps the dead one: RCU and workers aside. */
	CHECK(WAIT_FOR(SETTLES, cg_key(&cg_here, "cgroup.stat", "nr_dying_subsys_cram") == 0));
}

static void removal_of_a_tree(void)
{
	struct cg a = enter_child("a"), b, c;
	void *p;

	b = cg_make(a.path, "b");
	CHECK_EQ(cg_enter(&b, getpid()), 0);
	CHECK_EQ(cg_write(&a, "cgroup.subtree_control", "+memory +cram"), 0);
	c = cg_make(b.path, "c");
	CHECK_EQ(cg_enter(&c, getpid()), 0);
	CHECK_EQ(cg_write(&b, "cgroup.subtree_control", "+memory +cram"), 0);
	p = resident_pages(N, SEED);
	CHECK_EQ(cg_number(&c, "cram.current"), N * PAGE);
	a = cg_make(cg_here.path, "other");
	CHECK_EQ(cg_enter(&a, getpid()), 0);
	CHECK(!rmdir(c.path), "%m");
	CHECK_EQ(cg_number(&b, "cram.current"), N * PAGE);
	CHECK(!rmdir(b.path), "%m");
	a = (struct cg){};
	snprintf(a.path, sizeof(a.path), "%.100s/a", cg_here.path);
	CHECK_EQ(cg_number(&a, "cram.current"), N * PAGE);
	CHECK(!rmdir(a.path), "%m");
	CHECK_EQ(cg_number(&cg_here, "cram.current"), N * PAGE);
	CHECK_EQ(run_walker(), 0);
	CHECK_CONTENT(p, N, SEED);
	unmap_pages(p, N);
	CHECK_EQ(cg_number(&cg_here, "cram.current"), 0);
}

/* The process has gone, the pages with it; a cgroup of the same name comes. */
static void made_again(void)
{
	int i;

	for (i = 0; i < 20; i++) {
		struct cg a = enter_child("a"), b = cg_make(cg_here.path, "b");
		void *p = resident_pages(16, SEED);

		CHECK_EQ(cg_enter(&b, getpid()), 0);
		CHECK(!rmdir(a.path), "%m");
		unmap_pages(p, 16);
	}
	CHECK_EQ(cg_number(&cg_here, "cram.current"), 0);
	CHECK_EQ(run_walker(), 0);
}

static void switched_below(const char *off, const char *on)
{
	struct cg a = enter_child("a");
	void *p = resident_pages(N, SEED), *q;
	int64_t dram;

	CHECK_EQ(cg_write(&cg_here, "cgroup.subtree_control", off), 0);
	CHECK(!has(&a, "cram.current"));
	CHECK_EQ(cg_number(&cg_here, "cram.current"), N * PAGE);
	CHECK_EQ(run_walker(), 0);
	CHECK_CONTENT(p, N, SEED);
	/* Controllers can be enabled in a child in between: the payer stays. */
	q = map_pages(N);
	fill(q, N, SEED + 1);
	demote(q, N);
	CHECK_EQ(cg_number(&cg_here, "cram.current"), 2 * N * PAGE);
	CHECK_EQ(cg_write(&cg_here, "cgroup.subtree_control", on), 0);
	CHECK_EQ(cg_number(&a, "cram.current"), 0);
	CHECK_EQ(cg_number(&cg_here, "cram.current"), 2 * N * PAGE);
	dram = cg_number(&cg_here, "memory.current");
	fill(q, N, SEED + 1);
	CHECK_EQ(cg_number(&cg_here, "cram.current"), N * PAGE);
	CHECK_NEAR(cg_number(&cg_here, "memory.current") - dram, N * PAGE, charge_slack());
	demote(q, N);
	CHECK_EQ(cg_number(&a, "cram.current"), N * PAGE);
	CHECK_EQ(cg_number(&cg_here, "cram.current"), 2 * N * PAGE);
	CHECK_EQ(run_walker(), 0);
	CHECK_CONTENT(p, N, SEED);
	CHECK_CONTENT(q, N, SEED + 1);
	unmap_pages(p, N);
	CHECK_EQ(cg_number(&cg_here, "cram.current"), N * PAGE);
	unmap_pages(q, N);
	CHECK_EQ(cg_number(&a, "cram.current"), 0);
	CHECK_EQ(cg_number(&cg_here, "cram.current"), 0);
}

static void cram_switched_below(void)
{
	switched_below("-cram", "+cram");
}

static void both_switched_below(void)
{
	switched_below("-cram -memory", "+memory +cram");
}

/* memory enabled a level deeper than cram: lruvec and payer differ. */
static void payer_above_the_lruvec(void)
{
	struct cg a = enter_child("a"), b = cg_make(a.path, "b");
	void *p;

	CHECK_EQ(cg_enter(&b, getpid()), 0);
	CHECK_EQ(cg_write(&a, "cgroup.subtree_control", "+memory"), 0);
	p = resident_pages(N, SEED);
	CHECK_EQ(cg_number(&a, "cram.current"), N * PAGE);
	CHECK_EQ(run_walker(), 0);
	CHECK_EQ(cg_write(&a, "cgroup.subtree_control", "+cram"), 0);
	CHECK_EQ(cg_number(&b, "cram.current"), 0);
	CHECK_EQ(cg_number(&a, "cram.current"), N * PAGE);
	/* Nothing of b's own to evict; a's limit finds them. */
	CHECK_EQ(cg_write(&b, "cram.max", "0"), 0);
	CHECK_EQ(cg_number(&a, "cram.current"), N * PAGE);
	CHECK_EQ(cg_printf(&a, "cram.max", "%lu", N / 2 * PAGE), 0);
	CHECK(cg_number(&a, "cram.current") <= (int64_t)(N / 2 * PAGE));
	CHECK_EQ(run_walker(), 0);
	CHECK_CONTENT(p, N, SEED);
	unmap_pages(p, N);
	CHECK_EQ(cg_number(&a, "cram.current"), 0);
}

/* Pages are charged where they were allocated, as memory is. */
static void process_moves(void)
{
	struct cg a = enter_child("a"), b = cg_make(cg_here.path, "b");
	void *p = map_pages(N);

	fill(p, N, SEED);
	CHECK_EQ(cg_enter(&b, getpid()), 0);
	demote(p, N);
	CHECK_EQ(cg_number(&a, "cram.current"), N * PAGE);
	CHECK_EQ(cg_number(&b, "cram.current"), 0);
	fill(p, N, SEED);
	CHECK_EQ(cg_number(&a, "cram.current"), 0);
	demote(p, N);
	CHECK_EQ(cg_number(&a, "cram.current"), 0);
	CHECK_EQ(cg_number(&b, "cram.current"), N * PAGE);
	CHECK_CONTENT(p, N, SEED);
}

/* A cgroup without cram of its own: the nearest one above pays. */
static void nearest_ancestor(void)
{
	struct cg a = cg_make(cg_here.path, "a"), b = cg_make(a.path, "b");
	void *p;

	CHECK_EQ(cg_enter(&b, getpid()), 0);
	CHECK(!has(&b, "cram.current"));
	p = resident_pages(N, SEED);
	CHECK_EQ(cg_number(&cg_here, "cram.current"), N * PAGE);
	CHECK_CONTENT(p, N, SEED);
}

static const struct scenario scenarios[] = {
	{ "delegation: the owner of a subtree cannot write its limits", delegation },
	{ "cram.nodes decides who may be demoted", right },
	{ "cram.nodes of an ancestor decides", right_above },
	{ "enabled=0 stops demotion and nothing else", switch_off },
	{ "cram.max limits residency", limit },
	{ "cram.max of an ancestor limits residency", limit_above },
	{ "cram.max 0", zero_limit },
	{ "lowering cram.max evicts before it returns", lower_limit },
	{ "lowering cram.max with O_NONBLOCK only sets it", lower_limit_nonblock },
	{ "lowering cram.max of a parent", lower_limit_of_parent },
	{ "lowering cram.max with pages that are held", lower_limit_held },
	{ "lowering cram.max can be interrupted", lower_limit_killed },
	{ "cram.peak resets for each open file", peak },
	{ "cram.events can be polled", events_pollable },
	{ "cram.events.local can be polled", events_local_pollable },
	{ "cram.events of a parent can be polled", events_of_parent_pollable },
	{ "events are hierarchical, local ones are not", events_hierarchy },
	{ "cram.numa_stat and the gauges of cram.stat", numa_stat },
	{ "memory.stat counts what memory.current counts", memory_stat },
	{ "a cgroup is removed with resident pages", removal },
	{ "a subtree is removed from below", removal_of_a_tree },
	{ "cgroups of one name, again and again", made_again },
	{ "cram is switched off and on below resident pages", cram_switched_below },
	{ "memory and cram are switched off and on", both_switched_below },
	{ "the payer is above the memory cgroup", payer_above_the_lruvec },
	{ "pages are charged where they were allocated", process_moves },
	{ "the nearest ancestor with cram pays", nearest_ancestor },
	{ "a cgroup for which there is no owner id", no_owner_id },
	{ "a cgroup is removed while its pages are demoted", removed_meanwhile },
};

int main(void)
{
	struct cg parent = { CGROOT "/cramtest" };
	size_t i;

	setup();
	strings(&parent);
	inventory(&parent);
	node_files();
	inheritance(&parent);
	dependencies(&parent);
	for (i = 0; i < ARRAY_SIZE(scenarios); i++)
		run_scenario(&scenarios[i], "", 120);
	check_device();
	teardown();
	return tap_end();
}
