// SPDX-License-Identifier: GPL-2.0
/*
 * For people who debug the engine: debugfs cram/nodes, the words in which
 * capacity.c thinks, one line a node. Not an interface.
 */
#include <linux/debugfs.h>
#include <linux/jiffies.h>
#include <linux/seq_file.h>

#include "internal.h"

static int cram_nodes_show(struct seq_file *m, void *v)
{
	int nid;

	guard(mutex)(&cram_nodes_mutex);
	for_each_node_mask(nid, cram_nodes) {
		struct cram_node *cn = cram_node_get(nid);

		seq_printf(m, "node %d state %s begun %lld done %lld limit %llu lease_left_ms %ld resident %ld writable %ld freed %ld trim_looks %lu\n",
			   nid, cram_state_name(cn), atomic64_read(&cn->room.begun),
			   atomic64_read(&cn->room.done), READ_ONCE(cn->room.limit),
			   (long)(READ_ONCE(cn->room.lease_end) - jiffies) * 1000 / HZ,
			   atomic_long_read(&cn->resident),
			   atomic_long_read(&cn->budget.writable),
			   atomic_long_read(&cn->trim.freed),
			   READ_ONCE(cn->trim.looks));
	}
	return 0;
}
DEFINE_SHOW_ATTRIBUTE(cram_nodes);

static int __init cram_debugfs_init(void)
{
	debugfs_create_file("nodes", 0400, debugfs_create_dir("cram", NULL), NULL,
			    &cram_nodes_fops);
	return 0;
}
subsys_initcall(cram_debugfs_init);
