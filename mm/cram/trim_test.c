// SPDX-License-Identifier: GPL-2.0
/*
 * KUnit: where trim looks, and what it gives the device. Included by trim.c.
 */
#include <kunit/test.h>

/* A node of so many slots, of which nothing was freed */
static struct cram_node *test_node(struct kunit *test, unsigned long nr_slots)
{
	struct cram_node *cn = kunit_kzalloc(test, sizeof(*cn), GFP_KERNEL);

	KUNIT_ASSERT_NOT_NULL(test, cn);
	cn->nr_slots = nr_slots;
	cn->trim.blocks = kunit_kcalloc(test, BITS_TO_LONGS(cram_nr_blocks(nr_slots)),
					sizeof(long), GFP_KERNEL);
	KUNIT_ASSERT_NOT_NULL(test, cn->trim.blocks);
	return cn;
}

/* Have every @step-th of @nr pages trimmed. Returns how many fit. */
static unsigned int test_ranges(struct cram_node *cn, unsigned int nr, unsigned int step)
{
	unsigned int i, fit = 0;

	cn->trim.nr_ranges = 0;
	/* As if all of them were in one block of the allocator */
	cn->trim.isolated_end = nr;
	for (i = 0; i < nr && cram_isolate_freed(cn, i) == CRAM_TAKEN; i += step)
		fit++;
	return fit;
}

static void cram_test_ranges(struct kunit *test)
{
	struct cram_node *cn = test_node(test, 1024);
	struct cram_node_trim *t = &cn->trim;

	/* All of a block are one range */
	KUNIT_EXPECT_EQ(test, test_ranges(cn, 1024, 1), 1024);
	KUNIT_EXPECT_EQ(test, t->nr_ranges, 1);
	KUNIT_EXPECT_EQ(test, t->ranges[0].start, 0);
	KUNIT_EXPECT_EQ(test, t->ranges[0].end, 1024 * PAGE_SIZE - 1);

	/* Every second: each has a range, and only so many are taken */
	KUNIT_EXPECT_EQ(test, test_ranges(cn, 1024, 2), CRAM_TRIM_RANGES);
	KUNIT_EXPECT_EQ(test, t->nr_ranges, CRAM_TRIM_RANGES);
	KUNIT_EXPECT_EQ(test, t->ranges[1].start, 2 * PAGE_SIZE);
	KUNIT_EXPECT_EQ(test, t->ranges[1].end, 3 * PAGE_SIZE - 1);

	/* ... but what goes on where the last one ends needs none */
	cn->desc.trim_ranges = 1;
	KUNIT_EXPECT_EQ(test, test_ranges(cn, 1024, 2), 1);
	KUNIT_EXPECT_EQ(test, cram_isolate_freed(cn, 1), CRAM_TAKEN);
	KUNIT_EXPECT_EQ(test, cram_isolate_freed(cn, 3), CRAM_FULL);
	KUNIT_EXPECT_EQ(test, t->nr_ranges, 1);
	KUNIT_EXPECT_EQ(test, t->ranges[0].end, 2 * PAGE_SIZE - 1);
}

static void cram_test_next_freed(struct kunit *test)
{
	/* The last block is not a whole one */
	const unsigned long nr = 200 * CRAM_BLOCK_SLOTS + 3;
	struct cram_node *cn = test_node(test, nr);

	KUNIT_EXPECT_EQ(test, cram_next_freed(cn, 0), nr);
	KUNIT_EXPECT_EQ(test, cram_next_freed(cn, nr - 1), nr);
	KUNIT_EXPECT_EQ(test, cram_next_freed(cn, nr), nr);

	/* From the middle of a block on, and up to its last slot */
	cram_mark_blocks(cn->trim.blocks, CRAM_BLOCK_SLOTS + 7, 1);
	KUNIT_EXPECT_EQ(test, cram_next_freed(cn, 0), CRAM_BLOCK_SLOTS);
	KUNIT_EXPECT_EQ(test, cram_next_freed(cn, CRAM_BLOCK_SLOTS + 9), CRAM_BLOCK_SLOTS + 9);
	KUNIT_EXPECT_EQ(test, cram_next_freed(cn, 2 * CRAM_BLOCK_SLOTS - 1),
			2 * CRAM_BLOCK_SLOTS - 1);
	KUNIT_EXPECT_EQ(test, cram_next_freed(cn, 2 * CRAM_BLOCK_SLOTS), nr);

	/* Pages of two blocks */
	cram_mark_blocks(cn->trim.blocks, 130 * CRAM_BLOCK_SLOTS - 1, 2);
	KUNIT_EXPECT_EQ(test, cram_next_freed(cn, 2 * CRAM_BLOCK_SLOTS),
			129 * CRAM_BLOCK_SLOTS);
	KUNIT_EXPECT_EQ(test, cram_next_freed(cn, 130 * CRAM_BLOCK_SLOTS),
			130 * CRAM_BLOCK_SLOTS);
	KUNIT_EXPECT_EQ(test, cram_next_freed(cn, 131 * CRAM_BLOCK_SLOTS), nr);

	cram_mark_blocks(cn->trim.blocks, nr - 1, 1);
	KUNIT_EXPECT_EQ(test, cram_next_freed(cn, 131 * CRAM_BLOCK_SLOTS),
			200 * CRAM_BLOCK_SLOTS);
	cram_clear_block(cn->trim.blocks, 200);
	KUNIT_EXPECT_EQ(test, cram_next_freed(cn, 131 * CRAM_BLOCK_SLOTS), nr);
}

/* What was not trimmed is looked for again, and the pages that were are EMPTY */
static void cram_test_ranges_done(struct kunit *test)
{
	struct cram_node *cn = test_node(test, 4 * CRAM_BLOCK_SLOTS);
	unsigned int i;

	cn->slots = kunit_kcalloc(test, cn->nr_slots, sizeof(u32), GFP_KERNEL);
	KUNIT_ASSERT_NOT_NULL(test, cn->slots);
	for (i = 0; i < cn->nr_slots; i++)
		cram_slot_free(&cn->slots[i]);
	atomic_long_set(&cn->trim.freed, cn->nr_slots);
	cn->trim.isolated_end = cn->nr_slots;
	for (i = 0; i < 1024; i++)
		cram_isolate_freed(cn, i);
	for (i = 1536; i < 1540; i++)
		cram_isolate_freed(cn, i);

	KUNIT_EXPECT_EQ(test, cram_ranges_done(cn, 512), 512);
	KUNIT_EXPECT_EQ(test, cn->slots[511], CRAM_EMPTY);
	KUNIT_EXPECT_EQ(test, cn->slots[512], CRAM_FREED);
	KUNIT_EXPECT_EQ(test, cn->trim.blocks[0], BIT(1) | BIT(3));
	KUNIT_EXPECT_EQ(test, cn->trim.emptied, 512);
	KUNIT_EXPECT_EQ(test, atomic_long_read(&cn->trim.freed), cn->nr_slots - 512);

	cn->trim.blocks[0] = 0;
	KUNIT_EXPECT_EQ(test, cram_ranges_done(cn, ULONG_MAX), 516);
	KUNIT_EXPECT_EQ(test, cn->trim.blocks[0], 0);
	KUNIT_EXPECT_EQ(test, cn->slots[1024], CRAM_FREED);
	KUNIT_EXPECT_EQ(test, cn->slots[1539], CRAM_EMPTY);
	KUNIT_EXPECT_EQ(test, atomic_long_read(&cn->trim.freed), 1020);
}

static void cram_test_retire(struct kunit *test)
{
	u32 slot = CRAM_EMPTY;

	KUNIT_EXPECT_FALSE(test, cram_slot_retire(&slot));
	KUNIT_EXPECT_FALSE(test, cram_slot_unretire(&slot));
	cram_slot_free(&slot);
	KUNIT_EXPECT_TRUE(test, cram_slot_retire(&slot));
	KUNIT_EXPECT_FALSE(test, cram_slot_retire(&slot));
	/* Not to be trimmed */
	KUNIT_EXPECT_FALSE(test, cram_slot_empty(&slot));
	KUNIT_EXPECT_EQ(test, slot, CRAM_RETIRED);
	/* But it can be used, and then it is not one that was freed */
	KUNIT_EXPECT_FALSE(test, cram_slot_reserve(&slot, 7));
	KUNIT_EXPECT_EQ(test, slot, CRAM_RESERVED | 7);
	cram_slot_free(&slot);
	KUNIT_EXPECT_TRUE(test, cram_slot_retire(&slot));
	KUNIT_EXPECT_TRUE(test, cram_slot_unretire(&slot));
	KUNIT_EXPECT_TRUE(test, cram_slot_reserve(&slot, 7));
}

static struct kunit_case cram_trim_cases[] = {
	KUNIT_CASE(cram_test_ranges),
	KUNIT_CASE(cram_test_next_freed),
	KUNIT_CASE(cram_test_ranges_done),
	KUNIT_CASE(cram_test_retire),
	{}
};

static struct kunit_suite cram_trim_suite = {
	.name = "cram_trim",
	.test_cases = cram_trim_cases,
};

kunit_test_suite(cram_trim_suite);
