// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * cramcg doctor: what is missing, and the command that mends it.  One function for each
 * question; the exit status is that of the worst answer.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <string.h>

#include "cramcg.h"

static const struct option_row options[] = {
	{ "json", 'J', NULL, "a JSON array of findings" },
	{ "verbose", 'v', NULL, "what is well, too" },
	{ 0 }
};

/* From harmless to not at all */
enum severity { WELL, NOTE, WARNING, ERROR, MISSING };
static const char *const severity_words[] = { "ok", "note", "warning", "error", "missing" };

struct doctor {
	struct cramcg *ctx;
	bool json, verbose;
	enum severity worst;
	int findings;
};

__attribute__((format(printf, 4, 5)))
static void find(struct doctor *d, enum severity severity, const char *mend, const char *format, ...)
{
	_cleanup_free_ char *text = NULL, *safe = NULL, *command = NULL;
	va_list ap;

	if (severity > d->worst)
		d->worst = severity;
	if (severity == WELL && !d->verbose)
		return;
	va_start(ap, format);
	if (vasprintf(&text, format, ap) < 0)
		text = NULL;
	va_end(ap);
	if (d->json) {
		printf("%s\n  {\"severity\": \"%s\", \"finding\": ", d->findings++ ? "," : "[",
		       severity_words[severity]);
		json_string(stdout, text ? text : "");
		fputs(", \"mend\": ", stdout);
		if (mend)
			json_string(stdout, mend);
		else
			fputs("null", stdout);
		fputc('}', stdout);
		return;
	}
	d->findings++;
	safe = text ? cramcg_printable(text) : NULL;
	command = mend ? cramcg_printable(mend) : NULL;
	printf("%-8s %s\n", severity_words[severity], safe ? safe : "?");
	if (command)
		printf("         -> %s\n", command);
}

static bool exists(struct doctor *d, const char *file)
{
	_cleanup_free_ char *name = NULL;

	if (asprintf(&name, "%s/%s", cramcg_root(d->ctx), file) < 0) {
		name = NULL;
		return false;
	}
	return !access(name, F_OK);
}

/* --- the questions ------------------------------------------------------------------ */

static bool kernel_has_cram(struct doctor *d)
{
	bool sysfs = exists(d, "sys/kernel/mm/cram");

	if (!cramcg_mount(d->ctx)) {
		find(d, MISSING, "mount -t cgroup2 none /sys/fs/cgroup, or boot with systemd.unified_cgroup_hierarchy=1",
		     "cgroup2 is not mounted");
		return false;
	}
	if (!cramcg_available(d->ctx)) {
		find(d, WELL, NULL, "the kernel has cram");
		return true;
	}
	if (!sysfs)
		find(d, MISSING, "boot a kernel with CONFIG_CRAM=y (make kernel, or see README)",
		     "this kernel has no cram");
	else
		find(d, MISSING, "boot without cgroup_disable=cram; in a container: enable cram in the parent, outside",
		     "the kernel has cram, but it is not in cgroup.controllers here");
	return false;
}

static bool has_word(const char *text, const char *word)
{
	size_t len = strlen(word);

	for (const char *p = text; p && (p = strstr(p, word)); p += len)
		if ((p == text || strchr(" \t\n", p[-1])) && (!p[len] || strchr(" \t\n", p[len])))
			return true;
	return false;
}

static void memory_on_v2(struct doctor *d)
{
	_cleanup_free_ char *controllers = NULL, *v1 = NULL;

	if (cramcg_read(d->ctx, "/", "cgroup.controllers", &controllers))
		return;
	if (has_word(controllers, "memory")) {
		find(d, WELL, NULL, "memory is on the cgroup v2 hierarchy");
		return;
	}
	v1 = read_root_file(d->ctx, "proc/cgroups");
	find(d, ERROR, "boot with systemd.unified_cgroup_hierarchy=1 and without cgroup_disable=memory",
	     "the memory controller is not on the cgroup v2 hierarchy%s: every demotion is refused (refuse_memcg)",
	     v1 && has_word(v1, "memory") ? ", it is on v1 or disabled" : "");
}

static void switched_on(struct doctor *d)
{
	if (switched_off(d->ctx))
		find(d, ERROR, "echo 1 > /sys/kernel/mm/cram/enabled",
		     "demotion is switched off for the machine (refuse_off)");
}

static void a_node_is_well(struct doctor *d, int node)
{
	_cleanup_free_ char *state = NULL, *mend = NULL;
	uint64_t lost = node_size(d->ctx, node, "over_capacity");

	if (cramcg_node_read(d->ctx, node, "state", &state))
		return;
	if (asprintf(&mend, "cramcg node %d open", node) < 0)
		mend = NULL;
	if (lost && lost != UNKNOWN)
		find(d, ERROR, "dmesg | grep cram; take the device out of service: cramcg drain N",
		     "node %d: %ju stores found no cell: data was lost", node, (uintmax_t)lost);
	if (!strcmp(state, "lost"))
		find(d, ERROR, mend, "node %d is lost: the device does not answer, or gave an answer that cannot be true", node);
	else if (!strcmp(state, "offline"))
		find(d, NOTE, mend, "node %d is offline, by request", node);
	else if (!strcmp(state, "open"))
		find(d, WELL, NULL, "node %d is open", node);
	else
		find(d, WARNING, "swapon a device; or lower cram.max of what compresses badly: cramcg list --sort ratio",
		     "node %d is %s: it is short of cells, and nothing is demoted to it", node, state);
}

static void budget_of_node(struct doctor *d, int node)
{
	_cleanup_free_ char *mend = NULL;

	if (node_size(d->ctx, node, "writable_budget"))
		return;
	if (asprintf(&mend, "cramcg node %d set writable_budget=auto", node) < 0)
		mend = NULL;
	find(d, WARNING, mend, "node %d: writable_budget is 0: every write promotes, whatever cgroups have", node);
}

static void nodes_are_well(struct doctor *d)
{
	_cleanup_free_ int *nodes = NULL;
	size_t n = 0;

	cramcg_nodes(d->ctx, &nodes, &n);
	if (!n)
		find(d, ERROR, exists(d, "sys/bus/cxl/devices") ?
		     "cxl create-region -m -t ram -d decoder0.0 -w 1 mem0; without hardware: boot with cram_sim=1G" :
		     "boot with cram_sim=1G to try it without hardware",
		     "no cram node: there is no compressing device, or no region of it");
	for (size_t i = 0; i < n; i++) {
		a_node_is_well(d, nodes[i]);
		budget_of_node(d, nodes[i]);
	}
}

static void emulated(struct doctor *d)
{
	_cleanup_free_ char *command = read_root_file(d->ctx, "proc/cmdline");
	_cleanup_free_ char *vendor = read_root_file(d->ctx, "sys/class/dmi/id/sys_vendor");

	if (command && strstr(command, "cram_sim="))
		find(d, NOTE, NULL, "cram_sim: the node is a model over ordinary memory; it saves nothing");
	else if (vendor && strstr(vendor, "QEMU"))
		find(d, NOTE, NULL, "this is QEMU: what is slow or fast here says nothing of a real device");
}

struct count {
	size_t enabled, with_budget, settings, unreachable;
	char *first;
};

static int count_group(const char *path, int dir, int depth, void *arg)
{
	struct count *c = arg;
	struct sample s;

	(void)depth;
	if (!sample_read(dir, READ_LIMITS | READ_NODES, &s))
		return path[1] ? CRAMCG_SKIP : 0;
	c->enabled++;
	c->settings += sample_has_settings(&s);
	c->with_budget += s.budget && (s.budget < UNKNOWN || s.budget == CRAMCG_MAX);
	if (!*s.nodes && s.max) {
		c->unreachable++;
		if (!c->first)
			c->first = strdup(path);
	}
	return 0;
}

static void cgroups_are_well(struct doctor *d)
{
	_cleanup_free_ int *nodes = NULL;
	struct count c = { 0 };
	size_t n = 0;

	cramcg_nodes(d->ctx, &nodes, &n);
	cramcg_walk(d->ctx, "/", count_group, &c);
	if (!c.enabled)
		find(d, WARNING, "cramcg enable /system.slice, or echo +cram > /sys/fs/cgroup/cgroup.subtree_control",
		     "cram is enabled in no cgroup: pages can be demoted, but nobody is limited or shown");
	else
		find(d, WELL, NULL, "cram is enabled in %zu cgroups", c.enabled);
	if (c.enabled && !c.with_budget)
		find(d, NOTE, "cramcg set CGROUP writable_budget=SIZE, at the top of what is to share it",
		     "no cgroup has a writable budget: every write to a resident page promotes it");
	if (n && c.unreachable)
		find(d, WARNING, "cramcg set CGROUP nodes=, here or above",
		     "%zu cgroups may use no cram node (refuse_right), the first is %s", c.unreachable, c.first);
	free(c.first);
}

static void swap_is_there(struct doctor *d)
{
	_cleanup_free_ char *swaps = read_root_file(d->ctx, "proc/swaps");

	if (swaps && !strchr(swaps, '/'))
		find(d, NOTE, "swapon a device; a little is enough",
		     "no swap: when the device is short of cells its pages have nowhere to go");
}

static int status(enum severity worst)
{
	switch (worst) {
	case MISSING: return STATUS_MISSING;
	case ERROR: return STATUS_FAILED;
	case WARNING: return STATUS_PART;
	default: return STATUS_OK;
	}
}

static int run(struct cramcg *ctx, int argc, char **argv)
{
	struct doctor d = { .ctx = ctx };
	int c;

	while ((c = next_option(&verb_doctor, argc, argv)) != -1) {
		d.json |= c == 'J';
		d.verbose |= c == 'v';
	}
	if (optind != argc)
		return report(STATUS_USAGE, "%s: doctor takes no argument", argv[optind]);
	if (kernel_has_cram(&d)) {
		memory_on_v2(&d);
		switched_on(&d);
		nodes_are_well(&d);
		cgroups_are_well(&d);
		swap_is_there(&d);
		emulated(&d);
	}
	if (d.json)
		puts(d.findings ? "\n]" : "[]");
	else if (!d.findings)
		puts("all is well");
	return status(d.worst);
}

const struct verb verb_doctor = {
	.name = "doctor", .args = "", .summary = "what is missing or wrong, and the command that mends it",
	.example = "cramcg doctor --verbose",
	.options = options, .completes = "none", .run = run,
};
