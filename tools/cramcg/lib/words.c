// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * What an errno of a file means, in the words of
 * Documentation/admin-guide/cgroup-v2-cram.rst and of the ABI documents.  One table;
 * the first row that fits is taken.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <string.h>

#include "internal.h"

static const struct words {
	const char *file;	/* NULL: any */
	int err;
	int writing;		/* -1: either */
	const char *text;
} words[] = {
	{ "cram.nodes", EINVAL, 1, "is a list of nodes such as 1,3-4, empty for all that the parent has, or none" },
	{ "cram.nodes", ENODEV, 1, "a node of the list is not a cram node at this time" },
	{ "cram.node.max", ENODEV, 1, "the node is not a cram node at this time" },
	{ "cram.node.max", EINVAL, 1, "is a node and its limit, such as N1 64M or N1 max" },
	{ "cram.writable_budget", EINVAL, 1, "is a size in bytes (K, M, G), max or inherit" },
	{ "cram.writable_budget", EBUSY, 1, "pages that somebody has a reference to cannot be taken back yet; the number is in force, and the kernel goes on taking back" },
	{ "cram.writable_budget", EINTR, 1, "a signal came; the number is in force, and the kernel goes on taking back" },
	{ "cram.reclaim", EAGAIN, 1, "less than that could be evicted: what is left is held by a reference, or there is no memory or swap for it; what was evicted stays so" },
	{ "cram.reclaim", EINTR, 1, "a signal came; what was evicted stays so" },
	{ "cram.reclaim", EINVAL, 1, "is a size in bytes (K, M, G), then to=swap or to=dram" },
	{ "state", EBUSY, 1, "some pages could not be moved: somebody holds a reference to them, or their cgroup has no memory for them and there is no swap; the state is what it was" },
	{ "state", EINTR, 1, "a signal came; the state is what it was" },
	{ "state", EINVAL, 1, "is open or offline" },
	{ "state", ENODEV, 1, "its driver is gone" },
	{ "reserve_bytes", EINVAL, 1, "is a number of bytes up to physical_bytes" },
	{ "low_bytes", EINVAL, 1, "is a number of bytes from critical_bytes to physical_bytes, or 0" },
	{ "critical_bytes", EINVAL, 1, "is a number of bytes up to low_bytes" },
	{ "lease_ms", EINVAL, 1, "is from 100 to 60000 milliseconds" },
	{ "writable_budget", EINVAL, 1, "is a number of bytes or auto" },
	{ "page_max", EINVAL, 1, "is a number of bytes or max" },
	{ "cgroup.subtree_control", ENOENT, 1, "the controller is not in cgroup.controllers here: it has to be enabled in the parent first" },
	{ "cgroup.subtree_control", EBUSY, 1, "the cgroup has processes of its own, so no controller can be enabled below it" },
	{ "cgroup.procs", EBUSY, 1, "the cgroup has controllers enabled below it, so it cannot have processes" },
	{ NULL, EINVAL, 1, "is a size in bytes (K, M, G) or max" },
	{ NULL, EACCES, 1, "needs root; and limits belong to the parent: from inside a cgroup namespace the cgroup at its root cannot be limited" },
	{ NULL, EPERM, 1, "limits belong to the parent: from inside a cgroup namespace the cgroup at its root cannot be limited" },
	{ NULL, EROFS, 1, "the file system is mounted read-only" },
	{ NULL, EACCES, 0, "may not be read by this user" },
	{ NULL, ENODEV, -1, "the cgroup or node has gone" },
	{ NULL, EINTR, 1, "a signal came" },
};

/* The root has none of the files, other cgroups have them when cram is enabled */
static const char *missing(const char *file)
{
	if (!strncmp(file, "cram.", 5))
		return "there is no such file: cram is not enabled for this cgroup (see cramcg doctor), or this kernel is older than the file";
	return "there is no such file";
}

const char *words_for(const char *file, int err, bool writing)
{
	if (err == ENOENT && strcmp(file, "cgroup.subtree_control"))
		return missing(file);
	for (size_t i = 0; i < sizeof(words) / sizeof(*words); i++) {
		const struct words *w = &words[i];

		if (w->err == err && (!w->file || !strcmp(w->file, file)) &&
		    (w->writing < 0 || w->writing == writing))
			return w->text;
	}
	return strerror(err);
}
