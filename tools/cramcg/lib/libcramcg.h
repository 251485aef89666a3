/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * libcramcg: the cram controller of cgroup v2, for programs that make cgroups.
 *
 * A container runtime needs four calls:
 *
 *	cramcg_new(&ctx, NULL);
 *	cramcg_enable(ctx, "/machine/web");			(+cram down to it)
 *	cramcg_set(ctx, "/machine/web", settings, n, 0);	(all or nothing)
 *	cramcg_free(ctx);
 *
 * Functions return 0 or a negative errno, and leave a sentence in the context:
 * which file, what was written, why not.  A context belongs to one thread at a
 * time; different contexts are independent.  Paths of cgroups start with "/" at
 * the root of the cgroup2 file system that the caller sees.
 */
#ifndef LIBCRAMCG_H
#define LIBCRAMCG_H

#include <stddef.h>
#include <stdint.h>
#include <stdbool.h>

#ifdef __cplusplus
extern "C" {
#endif

/* Values that are words.  All others are bytes. */
#define CRAMCG_MAX	UINT64_MAX		/* "max": no limit */
#define CRAMCG_INHERIT	(UINT64_MAX - 1)	/* "inherit": an ancestor's budget */
#define CRAMCG_AUTO	(UINT64_MAX - 2)	/* "auto": what there is proven room for */

struct cramcg;

/*
 * root: NULL for this machine, or a directory that has copies of sys/fs/cgroup,
 * sys/devices and proc (a recorded tree).  NULL also looks at $CRAMCG_ROOT, unless
 * the program runs with more rights than its caller.
 */
int cramcg_new(struct cramcg **ctx, const char *root);
void cramcg_free(struct cramcg *ctx);

/* The sentence about the last call that failed; never NULL. */
const char *cramcg_error(const struct cramcg *ctx);

/* Where cgroup2 is mounted, or NULL; and the root given to cramcg_new(), or "". */
const char *cramcg_mount(const struct cramcg *ctx);
const char *cramcg_root(const struct cramcg *ctx);

/* Is there a cram controller in this kernel (0), or why not (-ENOSYS, -ENODEV)? */
int cramcg_available(struct cramcg *ctx);

/* --- cgroups ------------------------------------------------------------- */

/*
 * A path as people write it: with or without the mount point, "/" at either end.
 * The caller frees *path.  -EINVAL for "..", -ENOENT when there is no such cgroup.
 */
int cramcg_path(struct cramcg *ctx, const char *name, char **path);

/* The cgroup of a process (0: the caller).  -EXDEV: outside of this namespace. */
int cramcg_path_of_pid(struct cramcg *ctx, int pid, char **path);

/*
 * The nearest cgroup at or above path with cram enabled: who pays for its pages.
 * "/" when none has.
 */
int cramcg_owner(struct cramcg *ctx, const char *path, char **owner);

/* What a file of a cgroup says, without the newline at its end; freed by the caller */
int cramcg_read(struct cramcg *ctx, const char *path, const char *file, char **text);

/* A file with one size in it, such as "cram.max". */
int cramcg_read_bytes(struct cramcg *ctx, const char *path, const char *file,
		      uint64_t *bytes);

/* One key of a flat-keyed file: ("cram.stat", "demote"). -ENODATA: no such key. */
int cramcg_read_key(struct cramcg *ctx, const char *path, const char *file,
		    const char *key, uint64_t *value);

/*
 * Call fn for path and all below it, parents first, siblings by name.  dirfd is the
 * directory of the cgroup, valid during the call.  A return value other than 0 ends
 * the walk, and is what cramcg_walk() returns; CRAMCG_SKIP leaves out what is below.
 */
#define CRAMCG_SKIP	1
typedef int (*cramcg_walk_fn)(const char *path, int dirfd, int depth, void *arg);
int cramcg_walk(struct cramcg *ctx, const char *path, cramcg_walk_fn fn, void *arg);
/* The same, faster, for who needs the names only: dirfd is -1 */
int cramcg_walk_names(struct cramcg *ctx, const char *path, cramcg_walk_fn fn, void *arg);

/* --- settings ------------------------------------------------------------ */

struct cramcg_setting {
	const char *key;	/* "max" or "cram.max" */
	const char *value;	/* as people write it: "64M" */
};

/* What would be written for it: "67108864". -EINVAL.  The caller frees *text. */
int cramcg_canonical(struct cramcg *ctx, const struct cramcg_setting *setting,
		     char **text);
int cramcg_node_canonical(struct cramcg *ctx, const struct cramcg_setting *setting,
			  char **text);

/*
 * Set all of them, or none: everything is checked first, and what was written is
 * taken back when a later write fails, but for what somebody else has changed since.
 * All are in force when it returns; pages above a lowered limit may still be there, see
 * cramcg_settle().
 */
int cramcg_set(struct cramcg *ctx, const char *path,
	       const struct cramcg_setting *settings, size_t n);
int cramcg_node_set(struct cramcg *ctx, int node,
		    const struct cramcg_setting *settings, size_t n);

/*
 * The same for many objects at once, and to look before: add settings, look at the
 * changes, commit.  Adding checks the value and reads the present one; nothing is
 * written before cramcg_plan_commit(), and all or nothing by it.  Commit reads again
 * what differs, and locks the directories of the cgroups with flock(2) meanwhile: for
 * up to two seconds in all it waits for others who do.  object is 'c' (name is the path
 * of a cgroup), 'n' (the number of a node) or 'm' (the machine, "").
 */
struct cramcg_plan;
struct cramcg_change {
	int object;
	const char *name;
	const char *key;	/* "cram.max", "reserve_bytes" */
	const char *old;	/* as read */
	const char *new;	/* as it will be written */
	bool differs;
	bool waits;		/* more is used than that: see cramcg_settle() */
};
int cramcg_plan_new(struct cramcg *ctx, struct cramcg_plan **plan);
int cramcg_plan_add(struct cramcg_plan *plan, int object, const char *name,
		    const struct cramcg_setting *setting);
size_t cramcg_plan_size(const struct cramcg_plan *plan);
void cramcg_plan_get(const struct cramcg_plan *plan, size_t i, struct cramcg_change *change);
int cramcg_plan_commit(struct cramcg_plan *plan);
void cramcg_plan_free(struct cramcg_plan *plan);

/* The settings that there are: i from 0, until NULL; object 'c', 'n' or 'm'. */
const char *cramcg_setting_name(int object, size_t i, const char **help);

/*
 * Wait until what is above a lowered limit has left, or until the kernel gives up
 * (-EAGAIN, the rest stays) or a signal comes (-EINTR).  key: "max",
 * "writable_budget", ...  Can take minutes; the limit is in force meanwhile.
 */
int cramcg_settle(struct cramcg *ctx, const char *path, const char *key);

/* Evict so much now; to: NULL, "swap" or "dram". -EAGAIN: less than that. */
int cramcg_reclaim(struct cramcg *ctx, const char *path, uint64_t bytes, const char *to);

/*
 * Enable cram for path: in cgroup.subtree_control of all that are above it, from the root
 * down.  When that fails half-way, what is enabled stays: others may rely on it by then.
 */
int cramcg_enable(struct cramcg *ctx, const char *path);

/* --- nodes --------------------------------------------------------------- */

/* Numbers of the cram nodes, ascending; the caller frees *nodes. */
int cramcg_nodes(struct cramcg *ctx, int **nodes, size_t *n);

/* A file of nodeN/cram/, without the newline; the caller frees *text. */
int cramcg_node_read(struct cramcg *ctx, int node, const char *file, char **text);
int cramcg_node_read_bytes(struct cramcg *ctx, int node, const char *file,
			   uint64_t *bytes);

/* Have the node left ("offline", waits) or used again ("open"). */
int cramcg_node_state(struct cramcg *ctx, int node, const char *state);

/* --- texts --------------------------------------------------------------- */

/* "64M" -> 67108864; also the words above.  -EINVAL for all else. */
int cramcg_parse_size(const char *text, uint64_t *bytes);

/* "1,3-4": *mask bit N for node N.  -EINVAL for what is no list of 0 to 1023. */
#define CRAMCG_NODES_MAX	1024
int cramcg_parse_nodes(const char *text, uint8_t set[CRAMCG_NODES_MAX / 8]);

/* Each "key value" of a flat-keyed file.  Lines that are no such pair are left out. */
typedef void (*cramcg_key_fn)(const char *key, size_t len, uint64_t value, void *arg);
void cramcg_parse_keyed(const char *text, cramcg_key_fn fn, void *arg);

/* "resident N1=4096 N3=0": each node with its number. */
typedef void (*cramcg_node_fn)(int node, uint64_t value, void *arg);
void cramcg_parse_numa(const char *text, const char *key, cramcg_node_fn fn, void *arg);

/*
 * A name fit to be printed in this locale: what is not printable becomes \xNN.  The
 * caller frees it.  NULL: out of memory.
 */
char *cramcg_printable(const char *name);

/*
 * Settings in a file, as "cramcg apply" reads it.  fn is called for every setting,
 * with object 'c' (cgroup: name is its path), 'n' (node: its number) or 'm' (the
 * machine).  -EINVAL, with line and reason in the context, before fn is called for
 * anything after it.  name: for messages.
 */
typedef int (*cramcg_conf_fn)(int object, const char *name,
			      const struct cramcg_setting *setting, int line, void *arg);
int cramcg_conf_parse(struct cramcg *ctx, const char *name, const char *text, size_t len,
		      cramcg_conf_fn fn, void *arg);

/* A path as such a file has it: \\, \xNN for what would not survive a line. */
char *cramcg_conf_quote(const char *path);

#ifdef __cplusplus
}
#endif
#endif
