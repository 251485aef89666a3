// SPDX-License-Identifier: GPL-2.0
/*
 * KUnit: the arithmetic of capacity.c, on a node that exists only here.
 */
#include <kunit/test.h>
#include <linux/jiffies.h>
#include <linux/mm.h>

#include "internal.h"

#define TEST_CELLS	(PAGE_SIZE + 64)

struct test_device {
	struct cram_node cn;
	struct cram_reading answer;
	int err;
	/* pages that end their copy while the device answers */
	unsigned int done_meanwhile;
};

static int test_read_capacity(struct cram_node *cn, struct cram_reading *r)
{
	struct test_device *dev = container_of(cn, struct test_device, cn);

	while (dev->done_meanwhile) {
		dev->done_meanwhile--;
		cram_done(cn);
	}
	*r = dev->answer;
	return dev->err;
}

static const struct cram_node_ops test_ops = {
	.read_capacity = test_read_capacity,
};

static struct test_device *test_device(struct kunit *test, u64 free, u64 reserve)
{
	struct test_device *dev = kunit_kzalloc(test, sizeof(*dev), GFP_KERNEL);

	KUNIT_ASSERT_NOT_NULL(test, dev);
	mutex_init(&dev->cn.reading_mutex);
	spin_lock_init(&dev->cn.reading_lock);
	init_waitqueue_head(&dev->cn.wait);
	dev->cn.desc.ops = &test_ops;
	dev->cn.desc.cells_per_page = TEST_CELLS;
	dev->cn.lease_ms = 1000;
	dev->cn.lease_end = jiffies;
	dev->cn.reserve = reserve;
	dev->answer.physical = free;
	dev->answer.physical_free = free;
	return dev;
}

static unsigned int test_admit_all(struct cram_node *cn)
{
	unsigned int nr = 0;

	while (cram_admit(cn))
		nr++;
	return nr;
}

static void cram_test_limit(struct kunit *test)
{
	static const struct {
		u64 free, reserve;
		unsigned int pages;
	} cases[] = {
		{ 0, 0, 0 },
		{ TEST_CELLS - 1, 0, 0 },
		{ TEST_CELLS, 0, 1 },
		{ 10 * TEST_CELLS, 0, 10 },
		{ 10 * TEST_CELLS, 1, 9 },
		{ 10 * TEST_CELLS, 3 * TEST_CELLS, 7 },
		{ 3 * TEST_CELLS, 10 * TEST_CELLS, 0 },
	};
	int i;

	for (i = 0; i < ARRAY_SIZE(cases); i++) {
		struct test_device *dev = test_device(test, cases[i].free,
						      cases[i].reserve);

		KUNIT_EXPECT_EQ(test, cram_take_reading(&dev->cn), 0);
		KUNIT_EXPECT_EQ_MSG(test, test_admit_all(&dev->cn), cases[i].pages,
				    "case %d", i);
		/* Nobody asked in vain without a reading being asked for */
		KUNIT_EXPECT_TRUE(test, dev->cn.early);
	}
}

/* A page in flight over a reading is counted at its worst, done or not */
static void cram_test_in_flight(struct kunit *test)
{
	struct test_device *dev = test_device(test, 10 * TEST_CELLS, 0);
	struct cram_node *cn = &dev->cn;
	u64 bound;

	KUNIT_ASSERT_EQ(test, cram_take_reading(cn), 0);
	KUNIT_ASSERT_TRUE(test, cram_admit(cn));
	KUNIT_ASSERT_TRUE(test, cram_admit(cn));
	KUNIT_ASSERT_TRUE(test, cram_admit(cn));
	cram_done(cn);

	/* One page was done before the question: the answer covers it */
	KUNIT_ASSERT_EQ(test, cram_take_reading(cn), 0);
	cram_last_reading(cn, &bound);
	KUNIT_EXPECT_EQ(test, bound, 8 * TEST_CELLS);

	/* One ends during the question: the answer may or may not cover it */
	dev->done_meanwhile = 1;
	KUNIT_ASSERT_EQ(test, cram_take_reading(cn), 0);
	cram_last_reading(cn, &bound);
	KUNIT_EXPECT_EQ(test, bound, 8 * TEST_CELLS);
	KUNIT_EXPECT_EQ(test, test_admit_all(cn), 8);
}

static void cram_test_unadmit(struct kunit *test)
{
	struct test_device *dev = test_device(test, TEST_CELLS, 0);

	KUNIT_ASSERT_EQ(test, cram_take_reading(&dev->cn), 0);
	KUNIT_ASSERT_TRUE(test, cram_admit(&dev->cn));
	KUNIT_EXPECT_FALSE(test, cram_admit(&dev->cn));
	cram_unadmit(&dev->cn);
	KUNIT_EXPECT_TRUE(test, cram_admit(&dev->cn));
}

/* The device fills up behind our back: what was promised before is void */
static void cram_test_shrinking(struct kunit *test)
{
	struct test_device *dev = test_device(test, 10 * TEST_CELLS, 0);

	KUNIT_ASSERT_EQ(test, cram_take_reading(&dev->cn), 0);
	KUNIT_EXPECT_TRUE(test, cram_has_room(&dev->cn, 10));
	dev->answer.physical_free = TEST_CELLS;
	KUNIT_ASSERT_EQ(test, cram_take_reading(&dev->cn), 0);
	KUNIT_EXPECT_TRUE(test, cram_has_room(&dev->cn, 1));
	KUNIT_EXPECT_FALSE(test, cram_has_room(&dev->cn, 2));
}

/* A failed reading changes nothing; only the end of the lease closes */
static void cram_test_lease(struct kunit *test)
{
	struct test_device *dev = test_device(test, 10 * TEST_CELLS, 0);
	struct cram_node *cn = &dev->cn;
	u64 bound;

	KUNIT_EXPECT_FALSE(test, cram_node_open(cn));
	KUNIT_ASSERT_EQ(test, cram_take_reading(cn), 0);
	KUNIT_EXPECT_TRUE(test, cram_node_open(cn));
	KUNIT_EXPECT_STREQ(test, cram_node_state(cn), "open");

	dev->err = -EIO;
	KUNIT_EXPECT_EQ(test, cram_take_reading(cn), -EIO);
	KUNIT_EXPECT_TRUE(test, cram_node_open(cn));
	KUNIT_EXPECT_TRUE(test, cram_has_room(cn, 10));

	cn->lease_end = jiffies;
	KUNIT_EXPECT_FALSE(test, cram_node_open(cn));
	KUNIT_EXPECT_STREQ(test, cram_node_state(cn), "lost");
	cram_last_reading(cn, &bound);
	KUNIT_EXPECT_EQ(test, bound, 0);

	dev->err = 0;
	KUNIT_EXPECT_EQ(test, cram_take_reading(cn), 0);
	KUNIT_EXPECT_TRUE(test, cram_node_open(cn));

	cn->offline = true;
	KUNIT_EXPECT_FALSE(test, cram_node_open(cn));
	KUNIT_EXPECT_STREQ(test, cram_node_state(cn), "offline");
}

static struct kunit_case cram_capacity_cases[] = {
	KUNIT_CASE(cram_test_limit),
	KUNIT_CASE(cram_test_in_flight),
	KUNIT_CASE(cram_test_unadmit),
	KUNIT_CASE(cram_test_shrinking),
	KUNIT_CASE(cram_test_lease),
	{}
};

static struct kunit_suite cram_capacity_suite = {
	.name = "cram_capacity",
	.test_cases = cram_capacity_cases,
};

kunit_test_suite(cram_capacity_suite);
