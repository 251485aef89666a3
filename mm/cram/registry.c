// SPDX-License-Identifier: GPL-2.0
/*
 * The registry: which nodes are cram nodes. Everybody else builds on it, and it
 * knows nothing of them.
 *
 * Drivers call cram_register_node() for a private node of theirs (node.c). From then
 * on reclaim may demote pages to it (demote.c), faults take them back (fault.c), a
 * thread asks the device for its capacity and gives it back what was freed (cramd.c),
 * and pages are moved off on request (evict.c) or because they are hot (hot.c). The
 * books of the cgroups are in kernel/cgroup/cram.c.
 */
#include <kunit/static_stub.h>

#include "internal.h"

#define CREATE_TRACE_POINTS
#include <trace/events/cram.h>

DEFINE_STATIC_KEY_FALSE(cram_key);

/* Nodes whose pages have slots; a node leaves when its last slot is EMPTY */
nodemask_t cram_nodes;

#ifdef CONFIG_CRAM_VERIFY
/* Hooks that a test has switched off, see verify.c */
unsigned long cram_disabled_hooks;
#endif

static struct cram_node *cram_node_table[MAX_NUMNODES];
/* Held to add or remove a node */
DEFINE_MUTEX(cram_nodes_mutex);

/**
 * cram_node_get - the cram node with this node id
 * @nid: in the range of node ids
 *
 * Context: RCU, cram_nodes_mutex, the SRCU of eviction, or a page with a slot on
 * that node: each keeps the node from going away.
 * Return: the node, or %NULL when @nid is no cram node.
 */
struct cram_node *cram_node_get(int nid)
{
	KUNIT_STATIC_STUB_REDIRECT(cram_node_get, nid);
	return READ_ONCE(cram_node_table[nid]);
}

/**
 * cram_registry_add - have a node found
 * @cn: the node, all of it set up
 *
 * Context: cram_nodes_mutex is held.
 */
void cram_registry_add(struct cram_node *cn)
{
	/* With all that is in it; whoever finds it there has an address dependency */
	smp_store_release(&cram_node_table[cn->nid], cn);
}

/**
 * cram_registry_remove - have a node found no more
 * @cn: the node; who has found it under RCU or SRCU still uses it
 *
 * Context: cram_nodes_mutex is held.
 */
void cram_registry_remove(struct cram_node *cn)
{
	WRITE_ONCE(cram_node_table[cn->nid], NULL);
}

void *cram_node_priv(const struct cram_node *cn)
{
	return cn->desc.priv;
}
EXPORT_SYMBOL_GPL(cram_node_priv);

int cram_node_nid(const struct cram_node *cn)
{
	return cn->nid;
}
EXPORT_SYMBOL_GPL(cram_node_nid);
