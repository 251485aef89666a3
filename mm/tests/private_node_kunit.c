// SPDX-License-Identifier: GPL-2.0
/*
 * What of private nodes can be said without one: argument checks, iteration,
 * and that nothing is found where nothing is. The rest needs memory to plug in:
 * tools/testing/selftests/cram/private_node.c.
 */
#include <kunit/test.h>
#include <linux/gfp.h>
#include <linux/memory.h>
#include <linux/mm.h>
#include <linux/private_node.h>

#define BLOCK	((u64)memory_block_size_bytes())
/* Above all memory: adding it would fail later, and differently */
#define FAR	(BLOCK << 20)

struct add_case {
	const char *name;
	bool impossible_node;
	u64 start, end;		/* in halves of a block, from FAR */
	int nr;
	int error;
};

static const struct add_case add_cases[] = {
	{ "impossible node", true, 0, 2, 1, -EINVAL },
	{ "node with CPUs", false, 0, 2, 1, -EINVAL },
	{ "no range", true, 0, 2, 0, -EINVAL },
	{ "negative number of ranges", true, 0, 2, -1, -EINVAL },
	{ "unaligned start", true, 1, 2, 1, -EINVAL },
	{ "unaligned end", true, 0, 1, 1, -EINVAL },
	{ "end before start", true, 2, 0, 1, -EINVAL },
};

KUNIT_ARRAY_PARAM_DESC(add, add_cases, name);

static void add_refuses(struct kunit *test)
{
	const struct add_case *c = test->param_value;
	struct range range = {
		.start = FAR + c->start * BLOCK / 2,
		.end = FAR + c->end * BLOCK / 2 - 1,
	};
	/* numa_mem_id() of a running CPU: a node with CPUs, or next to one */
	int nid = c->impossible_node ? MAX_NUMNODES : numa_node_id();

	KUNIT_EXPECT_EQ(test, add_private_memory(nid, &range, c->nr, "kunit", NULL),
			c->error);
	KUNIT_EXPECT_FALSE(test, node_is_private(numa_node_id()));
}

static void remove_refuses(struct kunit *test)
{
	KUNIT_EXPECT_EQ(test, remove_private_memory(NUMA_NO_NODE), -ENODEV);
	KUNIT_EXPECT_EQ(test, remove_private_memory(MAX_NUMNODES), -ENODEV);
	KUNIT_EXPECT_EQ(test, remove_private_memory(numa_node_id()), -ENODEV);
}

static void alloc_needs_private_node(struct kunit *test)
{
	struct folio *folio;
	int nid;

	KUNIT_EXPECT_FALSE(test, node_is_private(NUMA_NO_NODE));
	for_each_node_state(nid, N_MEMORY) {
		KUNIT_EXPECT_FALSE(test, node_is_private(nid));
		KUNIT_EXPECT_NULL(test, folio_alloc_private(nid, 0, GFP_KERNEL));
		/* The same node does have memory */
		folio = __folio_alloc_node(GFP_KERNEL, 0, nid);
		KUNIT_EXPECT_NOT_NULL(test, folio);
		if (folio)
			folio_put(folio);
	}
}

/* Flags that a caller cannot mean */
static void alloc_refuses_flags(struct kunit *test)
{
	static const gfp_t flags[] = { __GFP_ZERO, __GFP_ACCOUNT, __GFP_NOFAIL };
	int i;

	for (i = 0; i < ARRAY_SIZE(flags); i++) {
		kunit_warning_suppress(test) {
			KUNIT_EXPECT_NULL(test, folio_alloc_private(numa_node_id(), 0,
								    GFP_KERNEL | flags[i]));
			/* Once for all of them */
			if (i == 0)
				KUNIT_EXPECT_SUPPRESSED_WARNING_COUNT(test, 1);
		}
	}
}

static void iteration_is_union(struct kunit *test)
{
	nodemask_t seen = NODE_MASK_NONE, want;
	int nid, last = -1;

	for_each_memory_or_private_node(nid) {
		KUNIT_EXPECT_GT(test, nid, last);
		node_set(nid, seen);
		last = nid;
	}
	nodes_or(want, node_states[N_MEMORY], node_states[N_MEMORY_PRIVATE]);
	KUNIT_EXPECT_TRUE(test, nodes_equal(seen, want));
	KUNIT_EXPECT_FALSE(test, nodes_empty(seen));
	KUNIT_EXPECT_EQ(test, first_memory_or_private_node, first_node(want));
}

/* Sums leave out what they should, and only that */
static void sums(struct kunit *test)
{
	unsigned long pages = 0;
	int nid;

	KUNIT_EXPECT_EQ(test, private_zone_free_pages(NR_MLOCK), 0);
	if (num_node_state(N_MEMORY_PRIVATE) == 0) {
		KUNIT_EXPECT_EQ(test, private_zone_free_pages(NR_FREE_PAGES), 0);
		KUNIT_EXPECT_EQ(test, private_managed_pages(), 0);
	}
	for_each_node_state(nid, N_MEMORY)
		pages += sum_zone_node_page_state(nid, NR_FREE_PAGES);
	/* Other CPUs go on allocating */
	KUNIT_EXPECT_LT(test, abs_diff(pages, global_zone_page_state(NR_FREE_PAGES)),
			pages / 16 + 4096);
}

static struct kunit_case private_node_cases[] = {
	KUNIT_CASE_PARAM(add_refuses, add_gen_params),
	KUNIT_CASE(remove_refuses),
	KUNIT_CASE(alloc_needs_private_node),
	KUNIT_CASE(alloc_refuses_flags),
	KUNIT_CASE(iteration_is_union),
	KUNIT_CASE(sums),
	{}
};

static struct kunit_suite private_node_suite = {
	.name = "private_node",
	.test_cases = private_node_cases,
};
kunit_test_suite(private_node_suite);

MODULE_DESCRIPTION("KUnit tests of private NUMA nodes");
MODULE_LICENSE("GPL");
