// SPDX-License-Identifier: GPL-2.0
/*
 * KUnit: the arithmetic of capacity.c and state.c, and the order in which a page's
 * right to be written ends, on a node that exists only here.
 */
#include <kunit/static_stub.h>
#include <kunit/test.h>
#include <linux/fs.h>
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
		cram_done(cn, 1);
	}
	*r = dev->answer;
	return dev->err;
}

static const struct cram_node_ops test_ops = {
	.read_capacity = test_read_capacity,
};

static void test_device_init(struct test_device *dev, u64 free, u64 reserve)
{
	mutex_init(&dev->cn.room.mutex);
	spin_lock_init(&dev->cn.room.lock);
	init_waitqueue_head(&dev->cn.wait);
	dev->cn.desc.ops = &test_ops;
	dev->cn.desc.cells_per_page = TEST_CELLS;
	dev->cn.room.lease_ms = 1000;
	dev->cn.room.lease_end = jiffies;
	dev->cn.state.now = CRAM_NODE_LOST;
	dev->cn.room.reserve = reserve;
	dev->answer.physical = free;
	dev->answer.physical_free = free;
	dev->answer.room = free;
}

static struct test_device *test_device(struct kunit *test, u64 free, u64 reserve)
{
	struct test_device *dev = kunit_kzalloc(test, sizeof(*dev), GFP_KERNEL);

	KUNIT_ASSERT_NOT_NULL(test, dev);
	test_device_init(dev, free, reserve);
	return dev;
}

static void test_answer(struct test_device *dev, u64 free, u64 unsettled)
{
	dev->answer.physical_free = free;
	dev->answer.room = free;
	dev->answer.unsettled = unsettled;
}

static enum cram_node_state test_state(struct test_device *dev)
{
	dev->cn.state.now = cram_state_of(&dev->cn, &dev->cn.room.reading);
	return dev->cn.state.now;
}

static unsigned int test_admit_all(struct cram_node *cn)
{
	unsigned int nr = 0;

	while (cram_admit(cn, 1))
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
		KUNIT_EXPECT_TRUE(test, dev->cn.room.early);
	}
}

/* A page in flight over a reading is counted at its worst, done or not */
/* A node whose device is not asked: what is resident, freed or begun is in use */
static void cram_test_counted(struct kunit *test)
{
	struct test_device *dev = test_device(test, 0, 0);
	struct cram_node *cn = &dev->cn;
	struct cram_reading r;

	cn->desc.ops = &cram_counted_ops;
	cn->desc.physical = 10 * TEST_CELLS;
	KUNIT_ASSERT_EQ(test, cram_take_reading(cn), 0);
	KUNIT_EXPECT_EQ(test, test_admit_all(cn), 10);

	/* Six of them are resident now, one of which was freed, and four are being copied */
	cram_done(cn, 6);
	atomic_long_set(&cn->resident, 5);
	atomic_long_set(&cn->trim.freed, 1);
	KUNIT_ASSERT_EQ(test, cram_take_reading(cn), 0);
	KUNIT_EXPECT_EQ(test, test_admit_all(cn), 0);
	r = cram_last_reading(cn, NULL);
	KUNIT_EXPECT_EQ(test, r.physical, 10 * TEST_CELLS);
	KUNIT_EXPECT_EQ(test, r.physical_free, 4 * TEST_CELLS);
	/* What is zeroed is among the freed, so there is always room for it */
	KUNIT_EXPECT_TRUE(test, cram_admit_zeroes(cn));
	cram_done(cn, 5);

	/* Of plain memory, freed pages take nothing */
	atomic_long_set(&cn->resident, 9);
	cn->desc.class = CRAM_PLAIN;
	KUNIT_ASSERT_EQ(test, cram_take_reading(cn), 0);
	KUNIT_EXPECT_EQ(test, test_admit_all(cn), 1);
	cram_done(cn, 1);
	cn->desc.class = CRAM_COMPRESSED;

	/* More than there are, as when pages are counted twice for a moment: no lie */
	atomic_long_set(&cn->trim.freed, 5);
	KUNIT_ASSERT_EQ(test, cram_take_reading(cn), 0);
	KUNIT_EXPECT_EQ(test, cram_last_reading(cn, NULL).physical_free, 0);
	KUNIT_EXPECT_NULL(test, cn->room.distrusted);
	KUNIT_EXPECT_EQ(test, test_admit_all(cn), 0);

	/* Nobody has to answer */
	KUNIT_EXPECT_TRUE(test, time_after(cn->room.lease_end, jiffies + MAX_JIFFY_OFFSET / 2));
}

static void cram_test_in_flight(struct kunit *test)
{
	struct test_device *dev = test_device(test, 10 * TEST_CELLS, 0);
	struct cram_node *cn = &dev->cn;
	u64 bound;

	KUNIT_ASSERT_EQ(test, cram_take_reading(cn), 0);
	KUNIT_ASSERT_TRUE(test, cram_admit(cn, 1));
	KUNIT_ASSERT_TRUE(test, cram_admit(cn, 1));
	KUNIT_ASSERT_TRUE(test, cram_admit(cn, 1));
	cram_done(cn, 1);

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
	KUNIT_ASSERT_TRUE(test, cram_admit(&dev->cn, 1));
	KUNIT_EXPECT_FALSE(test, cram_admit(&dev->cn, 1));
	cram_unadmit(&dev->cn, 1);
	KUNIT_EXPECT_TRUE(test, cram_admit(&dev->cn, 1));
}

/* Interleaved: the fullest device binds, whatever the others have */
static void cram_test_room(struct kunit *test)
{
	struct test_device *dev = test_device(test, 10 * TEST_CELLS, TEST_CELLS);
	u64 bound;

	dev->answer.room = 4 * TEST_CELLS;
	KUNIT_ASSERT_EQ(test, cram_take_reading(&dev->cn), 0);
	KUNIT_EXPECT_EQ(test, test_admit_all(&dev->cn), 3);
	cram_last_reading(&dev->cn, &bound);
	KUNIT_EXPECT_EQ(test, bound, TEST_CELLS);
}

static void test_same_reading(struct kunit *test, const struct cram_reading *a,
			      const struct cram_reading *b, int i)
{
	KUNIT_EXPECT_EQ_MSG(test, a->physical, b->physical, "case %d", i);
	KUNIT_EXPECT_EQ_MSG(test, a->physical_free, b->physical_free, "case %d", i);
	KUNIT_EXPECT_EQ_MSG(test, a->room, b->room, "case %d", i);
	KUNIT_EXPECT_EQ_MSG(test, a->unsettled, b->unsettled, "case %d", i);
	KUNIT_EXPECT_EQ_MSG(test, a->over_capacity, b->over_capacity, "case %d", i);
}

/* What the devices say, and what that is for the node */
static void cram_test_join(struct kunit *test)
{
#define DEV(cells, free, unsure, over) {				\
	.physical = (cells), .physical_free = (free),			\
	.unsettled = (unsure), .over_capacity = (over) }
	static const struct {
		unsigned int ways;
		struct cram_reading devs[3], all;
	} cases[] = {
		{ 1, { DEV(100, 60, 7, 1) },
		  { .physical = 100, .physical_free = 60, .room = 60,
		    .unsettled = 7, .over_capacity = 1 } },
		/* All cells free, whatever the others have more */
		{ 2, { DEV(100, 100, 0, 0), DEV(250, 250, 0, 0) },
		  { .physical = 200, .physical_free = 200, .room = 100 } },
		{ 2, { DEV(250, 250, 0, 0), DEV(100, 100, 0, 0) },
		  { .physical = 200, .physical_free = 200, .room = 100 } },
		/* What is not settled on one does not help the other, which is full */
		{ 3, { DEV(100, 20, 70, 1), DEV(100, 5, 0, 2), DEV(100, 90, 10, 4) },
		  { .physical = 300, .physical_free = 15, .room = 5,
		    .unsettled = 0, .over_capacity = 7 } },
		/* It is less than that of the one with the least free cells */
		{ 2, { DEV(100, 5, 90, 0), DEV(100, 40, 10, 0) },
		  { .physical = 200, .physical_free = 10, .room = 5, .unsettled = 90 } },
		{ 2, { DEV(100, 0, 0, 0), DEV(100, 100, 0, 0) }, { .physical = 200 } },
	};
#undef DEV

	for (int i = 0; i < ARRAY_SIZE(cases); i++) {
		struct cram_reading all = {};

		for (int d = 0; d < cases[i].ways; d++)
			cram_join_readings(&all, &cases[i].devs[d], cases[i].ways);
		test_same_reading(test, &all, &cases[i].all, i);
	}
}

/*
 * One of several devices is filled, cell by cell, the others are empty. Before the node
 * refuses for want of room it is low, so that something is evicted.
 */
static void cram_test_ways(struct kunit *test)
{
	static const unsigned int ways[] = { 1, 2, 4, 8, 16 };
	const u64 size = 1024 * TEST_CELLS;

	for (int i = 0; i < ARRAY_SIZE(ways); i++) {
		struct test_device *dev = test_device(test, 0, 0);
		struct cram_reading full = { .physical = size };
		struct cram_reading empty = { .physical = size, .physical_free = size };
		struct cram_node *cn = &dev->cn;
		unsigned int low_at = 0;
		u64 bound;

		cn->desc.ways = ways[i];
		/* As cram_register_node() and cram_state_defaults() have it */
		cn->room.reserve = (size * ways[i]) >> 6;
		cn->state.low = (size * ways[i]) >> 4;
		cn->state.critical = (size * ways[i]) >> 5;

		for (unsigned int left = 1024; ; left--) {
			full.physical_free = left * TEST_CELLS;
			dev->answer = (struct cram_reading) {};
			cram_join_readings(&dev->answer, &full, ways[i]);
			for (int d = 1; d < ways[i]; d++)
				cram_join_readings(&dev->answer, &empty, ways[i]);
			KUNIT_ASSERT_EQ(test, cram_take_reading(cn), 0);
			cram_last_reading(cn, &bound);
			KUNIT_ASSERT_EQ(test, bound, left * TEST_CELLS * ways[i]);
			if (test_state(dev) != CRAM_NODE_OPEN && !low_at)
				low_at = left;
			if (!cram_admit(cn, 1))
				break;
			cram_done(cn, 1);
		}
		KUNIT_EXPECT_GT_MSG(test, low_at, full.physical_free / TEST_CELLS, "%u ways",
				    ways[i]);
		/* The same part of a device, however many there are */
		KUNIT_EXPECT_EQ_MSG(test, low_at, 63, "%u ways", ways[i]);
	}
}

/* Two answers, with pages begun and done between them: can the second be true? */
static void cram_test_contradiction(struct kunit *test)
{
	static const struct {
		unsigned int copies;
		struct cram_reading second;
		bool trusted;
	} cases[] = {
#define CELLS(n)	((n) * TEST_CELLS)
#define ANSWER(free, unsure, over, lost) {				\
		.physical = CELLS(10), .physical_free = CELLS(free),	\
		.room = CELLS(free), .unsettled = CELLS(unsure),	\
		.over_capacity = (over), .content_lost = (lost) }
		/* as before; more; the worst that the copies can take; more than that */
		{ 0, ANSWER(8, 0, 3, false), true },
		{ 0, ANSWER(9, 1, 3, false), true },
		{ 2, ANSWER(6, 0, 3, false), true },
		{ 2, ANSWER(5, 0, 3, false), false },
		{ 0, ANSWER(7, 3, 3, false), false },
		/* a store found no cell */
		{ 2, ANSWER(8, 0, 4, false), false },
		/* after a reset all is new */
		{ 0, ANSWER(2, 0, 0, true), true },
		/* more than there is */
		{ 0, ANSWER(11, 0, 3, false), false },
		{ 0, ANSWER(8, 3, 3, false), false },
		{ 0, ANSWER(11, 0, 3, true), false },
	};
	int i;

	for (i = 0; i < ARRAY_SIZE(cases); i++) {
		struct test_device *dev = test_device(test, CELLS(10), 0);
		unsigned int n;

		test_answer(dev, CELLS(8), 0);
		dev->answer.over_capacity = 3;
		KUNIT_ASSERT_EQ(test, cram_take_reading(&dev->cn), 0);
		for (n = 0; n < cases[i].copies; n++) {
			KUNIT_ASSERT_TRUE(test, cram_admit(&dev->cn, 1));
			cram_done(&dev->cn, 1);
		}
		dev->answer = cases[i].second;
		KUNIT_ASSERT_EQ(test, cram_take_reading(&dev->cn), 0);
		/* Nothing is admitted until what was lost has been dealt with */
		if (cases[i].second.content_lost) {
			KUNIT_EXPECT_EQ(test, test_state(dev), CRAM_NODE_LOST);
			KUNIT_EXPECT_FALSE(test, cram_has_room(&dev->cn, 1));
		}
		dev->cn.room.content_lost = false;
		KUNIT_EXPECT_EQ_MSG(test, !dev->cn.room.distrusted, cases[i].trusted,
				    "case %d: %s", i, dev->cn.room.distrusted);
		KUNIT_EXPECT_EQ(test, test_state(dev) == CRAM_NODE_LOST,
				!cases[i].trusted);

		/* Told to believe it, the engine does, until the next untruth */
		dev->answer.content_lost = false;
		test_answer(dev, CELLS(1), 0);
		KUNIT_EXPECT_EQ(test, cram_trust(&dev->cn), 0);
		if (!cases[i].trusted)
			KUNIT_EXPECT_EQ(test, test_state(dev), CRAM_NODE_OPEN);
		test_answer(dev, 0, 0);
		KUNIT_ASSERT_EQ(test, cram_take_reading(&dev->cn), 0);
		KUNIT_EXPECT_EQ(test, test_state(dev), CRAM_NODE_LOST);
	}
#undef ANSWER
#undef CELLS
}

/* A device that is silent when it shall be believed again is not */
static void cram_test_trust_fails(struct kunit *test)
{
	struct test_device *dev = test_device(test, 10 * TEST_CELLS, 0);

	KUNIT_ASSERT_EQ(test, cram_take_reading(&dev->cn), 0);
	test_answer(dev, 0, 0);
	KUNIT_ASSERT_EQ(test, cram_take_reading(&dev->cn), 0);
	KUNIT_ASSERT_EQ(test, test_state(dev), CRAM_NODE_LOST);
	dev->err = -ETIMEDOUT;
	KUNIT_EXPECT_EQ(test, cram_trust(&dev->cn), -ETIMEDOUT);
	KUNIT_EXPECT_EQ(test, test_state(dev), CRAM_NODE_LOST);
	KUNIT_EXPECT_NOT_NULL(test, dev->cn.room.distrusted);
}

/* low is 400, critical 200; back above them from 500 and 250 on */
static void cram_test_watermarks(struct kunit *test)
{
	static const struct {
		unsigned int free, unsettled;
		enum cram_node_state state;
	} steps[] = {
		{ 1000, 0, CRAM_NODE_OPEN },
		{ 400, 0, CRAM_NODE_OPEN },
		/* it may still turn out to be more */
		{ 399, 1, CRAM_NODE_OPEN },
		{ 10, 390, CRAM_NODE_OPEN },
		{ 399, 0, CRAM_NODE_LOW },
		{ 400, 0, CRAM_NODE_LOW },
		/* it may still turn out to be less */
		{ 499, 501, CRAM_NODE_LOW },
		{ 500, 0, CRAM_NODE_OPEN },
		{ 199, 0, CRAM_NODE_CRITICAL },
		{ 249, 0, CRAM_NODE_CRITICAL },
		{ 249, 751, CRAM_NODE_CRITICAL },
		{ 250, 0, CRAM_NODE_LOW },
		{ 150, 50, CRAM_NODE_LOW },
		{ 150, 49, CRAM_NODE_CRITICAL },
		{ 500, 0, CRAM_NODE_OPEN },
	};
	struct test_device *dev = test_device(test, 1000, 0);
	int i;

	dev->cn.state.low = 400;
	dev->cn.state.critical = 200;
	for (i = 0; i < ARRAY_SIZE(steps); i++) {
		test_answer(dev, steps[i].free, steps[i].unsettled);
		/* Watermarks are about cells, not about who holds them */
		dev->answer.content_lost = true;
		KUNIT_ASSERT_EQ(test, cram_take_reading(&dev->cn), 0);
		dev->cn.room.content_lost = false;
		KUNIT_EXPECT_EQ_MSG(test, test_state(dev), steps[i].state, "step %d", i);
		KUNIT_EXPECT_EQ(test, cram_node_open(&dev->cn),
				steps[i].state == CRAM_NODE_OPEN);
		KUNIT_EXPECT_EQ(test, cram_node_short(&dev->cn),
				steps[i].state != CRAM_NODE_OPEN);
		/* What eviction is after is a quarter more than low, if at all */
		KUNIT_EXPECT_EQ(test, cram_cells_wanted(&dev->cn),
				steps[i].state == CRAM_NODE_OPEN ||
				steps[i].free + steps[i].unsettled >= 500 ? 0 :
				500 - steps[i].free - steps[i].unsettled);
	}
}

/* What was freed already, and what no reading has seen since, is not evicted for */
static void cram_test_cells_returning(struct kunit *test)
{
	struct test_device *dev = test_device(test, 1000, 0);
	struct cram_node *cn = &dev->cn;

	cn->state.low = 400;
	test_answer(dev, 200, 0);
	KUNIT_ASSERT_EQ(test, cram_take_reading(cn), 0);
	KUNIT_ASSERT_EQ(test, test_state(dev), CRAM_NODE_LOW);
	/* 800 cells of 80 pages, and 300 more are to be free */
	atomic_long_set(&cn->resident, 80);
	KUNIT_EXPECT_EQ(test, cram_cells_wanted(cn), 300);
	atomic_long_set(&cn->resident, 70);
	atomic_long_set(&cn->trim.freed, 10);
	KUNIT_EXPECT_EQ(test, cram_cells_wanted(cn), 200);
	/* Half of them trimmed: no reading says so yet */
	atomic_long_set(&cn->trim.freed, 5);
	cn->trim.emptied += 5;
	KUNIT_EXPECT_EQ(test, cram_cells_wanted(cn), 200);
	/* The next one does */
	test_answer(dev, 250, 0);
	KUNIT_ASSERT_EQ(test, cram_take_reading(cn), 0);
	KUNIT_EXPECT_EQ(test, cram_cells_wanted(cn), 200);
	/* A trim of four more came between reading the one number and the others */
	atomic_long_set(&cn->resident, 5);
	cn->room.emptied0 += 9;
	KUNIT_EXPECT_EQ(test, cram_cells_wanted(cn), 250);
	cn->room.emptied0 -= 9;
	atomic_long_set(&cn->resident, 40);
	atomic_long_set(&cn->trim.freed, 35);
	KUNIT_EXPECT_EQ(test, cram_cells_wanted(cn), 0);
}

/* A failed reading changes nothing; only the end of the lease closes */
static void cram_test_lease(struct kunit *test)
{
	struct test_device *dev = test_device(test, 10 * TEST_CELLS, 0);
	struct cram_node *cn = &dev->cn;
	u64 bound;

	KUNIT_EXPECT_EQ(test, test_state(dev), CRAM_NODE_LOST);
	KUNIT_ASSERT_EQ(test, cram_take_reading(cn), 0);
	KUNIT_EXPECT_EQ(test, test_state(dev), CRAM_NODE_OPEN);

	dev->err = -EIO;
	KUNIT_EXPECT_EQ(test, cram_take_reading(cn), -EIO);
	KUNIT_EXPECT_EQ(test, test_state(dev), CRAM_NODE_OPEN);
	KUNIT_EXPECT_TRUE(test, cram_has_room(cn, 10));

	/* The timer has not told yet, but the lease is over */
	cn->room.lease_end = jiffies;
	KUNIT_EXPECT_FALSE(test, cram_node_open(cn));
	KUNIT_EXPECT_EQ(test, test_state(dev), CRAM_NODE_LOST);
	cram_last_reading(cn, &bound);
	KUNIT_EXPECT_EQ(test, bound, 0);

	dev->err = 0;
	KUNIT_EXPECT_EQ(test, cram_take_reading(cn), 0);
	KUNIT_EXPECT_EQ(test, test_state(dev), CRAM_NODE_OPEN);

	cn->state.offline = true;
	KUNIT_EXPECT_EQ(test, test_state(dev), CRAM_NODE_OFFLINE);
	KUNIT_EXPECT_FALSE(test, cram_node_open(cn));
	KUNIT_EXPECT_STREQ(test, cram_state_name(cn), "offline");

	cn->state.offline = false;
	cn->room.gone = true;
	KUNIT_EXPECT_EQ(test, cram_take_reading(cn), -ENODEV);
}

static struct kunit_case cram_capacity_cases[] = {
	KUNIT_CASE(cram_test_limit),
	KUNIT_CASE(cram_test_counted),
	KUNIT_CASE(cram_test_in_flight),
	KUNIT_CASE(cram_test_unadmit),
	KUNIT_CASE(cram_test_room),
	KUNIT_CASE(cram_test_join),
	KUNIT_CASE(cram_test_ways),
	KUNIT_CASE(cram_test_contradiction),
	KUNIT_CASE(cram_test_trust_fails),
	KUNIT_CASE(cram_test_watermarks),
	KUNIT_CASE(cram_test_cells_returning),
	KUNIT_CASE(cram_test_lease),
	{}
};

static struct kunit_suite cram_capacity_suite = {
	.name = "cram_capacity",
	.test_cases = cram_capacity_cases,
};

/* --- a page is upgraded, and is not any more ---------------------------------- */

/**
 * struct test_page - an ordinary page that takes itself for a resident one
 * @dev: its node
 * @test: whose it is
 * @cg: who pays
 * @owner: stands for @cg
 * @folio: the page; the reference to it is that of @mapping
 * @mapping: so that the reference is one that is expected
 * @slot: its slot
 * @blocks: what trim looks for
 * @stored: how often the device was told that stores are over
 */
struct test_page {
	struct test_device dev;
	struct kunit *test;
	struct cram_cgroup *cg;
	struct cram_owner *owner;
	struct folio *folio;
	struct address_space mapping;
	u32 slot;
	unsigned long blocks;
	unsigned int stored;
};

static struct test_page *test_page_of(struct cram_node *cn)
{
	return container_of(cn, struct test_page, dev.cn);
}

/* Everything says that the page is upgraded, or that it is not */
static void test_expect_upgraded(struct test_page *page, bool upgraded)
{
	struct cram_node *cn = &page->dev.cn;
	struct kunit *test = page->test;

	KUNIT_EXPECT_EQ(test, !!(READ_ONCE(page->slot) & CRAM_WRITABLE), upgraded);
	KUNIT_EXPECT_EQ(test, atomic_long_read(&cn->budget.writable), upgraded);
	KUNIT_EXPECT_EQ(test, atomic64_read(&cn->room.begun) - atomic64_read(&cn->room.done),
			upgraded);
	KUNIT_EXPECT_EQ(test, cram_cgroup_writable(page->cg), upgraded);
	KUNIT_EXPECT_EQ(test, !!xa_load(&page->owner->upgraded, folio_pfn(page->folio)),
			upgraded);
}

/*
 * The lines are on their way to the device: everything that anybody could take for
 * the end of stores has to come after it.
 */
static void test_stored(struct cram_node *cn, unsigned long pfn, unsigned int nr)
{
	struct test_page *page = test_page_of(cn);

	page->stored++;
	KUNIT_EXPECT_EQ(page->test, pfn, folio_pfn(page->folio));
	test_expect_upgraded(page, true);
}

static const struct cram_node_ops test_page_ops = {
	.read_capacity = test_read_capacity,
	.stored = test_stored,
};

static struct cram_node *test_page_node;
static struct cram_node *test_node_get(int nid)
{
	return test_page_node;
}

static void test_page_release(void *data)
{
	struct test_page *page = data;

	page->folio->mapping = NULL;
	folio_put(page->folio);
	cram_owner_put(page->owner, 1);
	/* It leads to books that are ours */
	rcu_barrier();
}

static struct test_page *test_page(struct kunit *test)
{
	struct test_page *page = kunit_kzalloc(test, sizeof(*page), GFP_KERNEL);
	struct cram_node *cn;

	KUNIT_ASSERT_NOT_NULL(test, page);
	page->test = test;
	page->cg = cram_test_cgroup(test, cram_test_cgroup(test, NULL));
	page->folio = folio_alloc(GFP_KERNEL, 0);
	KUNIT_ASSERT_NOT_NULL(test, page->folio);
	page->owner = cram_owner_alloc();
	if (!page->owner)
		folio_put(page->folio);
	KUNIT_ASSERT_NOT_NULL(test, page->owner);
	page->folio->mapping = &page->mapping;
	KUNIT_ASSERT_EQ(test, kunit_add_action_or_reset(test, test_page_release, page), 0);
	KUNIT_ASSERT_EQ(test, cram_owner_register(page->owner, page->cg, NULL), 0);

	cn = &page->dev.cn;
	test_device_init(&page->dev, 10 * TEST_CELLS, 0);
	cn->desc.ops = &test_page_ops;
	cn->nid = folio_nid(page->folio);
	cn->start_pfn = folio_pfn(page->folio);
	cn->nr_slots = 1;
	cn->slots = &page->slot;
	cn->trim.blocks = &page->blocks;
	cn->budget.max = ULONG_MAX;
	page->slot = page->owner->id | CRAM_RESIDENT;
	test_page_node = cn;
	kunit_activate_static_stub(test, cram_node_get, test_node_get);

	KUNIT_ASSERT_EQ(test, cram_take_reading(cn), 0);
	KUNIT_ASSERT_EQ(test, test_state(&page->dev), CRAM_NODE_OPEN);
	return page;
}

static bool test_upgrade(struct test_page *page)
{
	return __cram_wp_reuse(folio_page(page->folio, 0), false);
}

/* A budget of nothing takes the right back */
static void cram_test_revoke(struct kunit *test)
{
	struct test_page *page = test_page(test);

	/* No budget, no upgrade */
	KUNIT_EXPECT_FALSE(test, test_upgrade(page));
	test_expect_upgraded(page, false);

	cram_test_budget(page->cg, 1);
	KUNIT_ASSERT_TRUE(test, test_upgrade(page));
	test_expect_upgraded(page, true);
	KUNIT_EXPECT_FALSE(test, cram_revoke_cgroup(page->cg));
	KUNIT_EXPECT_EQ(test, page->stored, 0);

	/* Held by somebody: all stays */
	cram_test_budget(page->cg, 0);
	folio_get(page->folio);
	KUNIT_EXPECT_TRUE(test, cram_revoke_cgroup(page->cg));
	KUNIT_EXPECT_EQ(test, page->stored, 0);
	test_expect_upgraded(page, true);
	folio_put(page->folio);

	KUNIT_EXPECT_FALSE(test, cram_revoke_cgroup(page->cg));
	KUNIT_EXPECT_EQ(test, page->stored, 1);
	test_expect_upgraded(page, false);
	KUNIT_EXPECT_EQ(test, page->slot, page->owner->id | CRAM_RESIDENT);
	KUNIT_EXPECT_FALSE(test, test_upgrade(page));
}

/* The node's own budget, and what is proven there */
static void cram_test_upgrade_refused(struct kunit *test)
{
	struct test_page *page = test_page(test);
	struct cram_node *cn = &page->dev.cn;

	cram_test_budget(page->cg, 1);
	cn->budget.max = 0;
	KUNIT_EXPECT_FALSE(test, test_upgrade(page));
	cn->budget.max = ULONG_MAX;
	cn->state.now = CRAM_NODE_LOW;
	KUNIT_EXPECT_FALSE(test, test_upgrade(page));
	cn->state.now = CRAM_NODE_OPEN;
	test_answer(&page->dev, TEST_CELLS - 1, 0);
	page->dev.answer.content_lost = true;
	KUNIT_ASSERT_EQ(test, cram_take_reading(cn), 0);
	cn->room.content_lost = false;
	KUNIT_EXPECT_FALSE(test, test_upgrade(page));
	test_expect_upgraded(page, false);

	/* Unless somebody knows better */
	cn->budget.override = true;
	KUNIT_EXPECT_TRUE(test, test_upgrade(page));
	test_expect_upgraded(page, true);
	cram_test_budget(page->cg, 0);
	KUNIT_EXPECT_FALSE(test, cram_revoke_cgroup(page->cg));
	test_expect_upgraded(page, false);
}

/* It is freed while it is upgraded */
static void cram_test_free_upgraded(struct kunit *test)
{
	struct test_page *page = test_page(test);
	struct cram_node *cn = &page->dev.cn;
	struct cram_uncharge u = {};

	rcu_read_lock();
	KUNIT_EXPECT_TRUE(test, cram_cgroup_try_charge(page->cg, cn->nid, 1));
	KUNIT_EXPECT_TRUE(test, cram_owner_tryget(page->owner, 1));
	rcu_read_unlock();
	atomic_long_set(&cn->resident, 1);
	lruvec_stat_mod_folio(page->folio, NR_CRAM, 1);

	cram_test_budget(page->cg, 1);
	KUNIT_ASSERT_TRUE(test, test_upgrade(page));
	__cram_uncharge_folio(page->folio, &u);
	KUNIT_EXPECT_EQ(test, page->stored, 1);
	test_expect_upgraded(page, false);
	KUNIT_EXPECT_EQ(test, page->slot, CRAM_FREED);
	KUNIT_EXPECT_EQ(test, page->blocks, 1);
	KUNIT_EXPECT_EQ(test, cram_cgroup_resident(page->cg, cn->nid), 1);
	__cram_uncharge_batch(&u);
	KUNIT_EXPECT_EQ(test, cram_cgroup_resident(page->cg, cn->nid), 0);
	KUNIT_EXPECT_EQ(test, atomic_long_read(&cn->resident), 0);
	KUNIT_EXPECT_EQ(test, atomic_long_read(&cn->trim.freed), 1);
}

static struct kunit_case cram_writable_cases[] = {
	KUNIT_CASE(cram_test_revoke),
	KUNIT_CASE(cram_test_upgrade_refused),
	KUNIT_CASE(cram_test_free_upgraded),
	{}
};

static struct kunit_suite cram_writable_suite = {
	.name = "cram_writable",
	.test_cases = cram_writable_cases,
};

kunit_test_suites(&cram_capacity_suite, &cram_writable_suite);
