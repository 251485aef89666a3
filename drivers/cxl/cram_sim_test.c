// SPDX-License-Identifier: GPL-2.0
/*
 * KUnit tests for the books of cram_sim, on pages of ordinary memory and
 * without its thread: what it would do is called step by step.
 */
#include <kunit/test.h>
#include <linux/gfp.h>

#define TEST_ORDER	4
#define TEST_PAGES	BIT(TEST_ORDER)

static u64 test_used(struct cram_sim *sim)
{
	guard(spinlock_irq)(&sim->lock);
	return cram_sim_used(sim);
}

static int cram_sim_test_init(struct kunit *test)
{
	struct page *pages = alloc_pages(GFP_KERNEL, TEST_ORDER);
	struct cram_sim *sim;

	KUNIT_ASSERT_NOT_NULL(test, pages);
	sim = cram_sim_create("cram_sim_test", page_to_pfn(pages), TEST_PAGES,
			      TEST_PAGES * PAGE_SIZE / 2);
	test->priv = sim;
	if (!sim)
		__free_pages(pages, TEST_ORDER);
	KUNIT_ASSERT_NOT_NULL(test, sim);

	KUNIT_EXPECT_EQ(test, test_used(sim), TEST_PAGES * CRAM_SIM_WORST);
	KUNIT_ASSERT_EQ(test, cram_sim_zero_pages(sim, sim->start_pfn, TEST_PAGES), 0);
	/* Readings of a test do not wait for a thread that is not there */
	sim->settle_ms = 0;
	return 0;
}

static void cram_sim_test_exit(struct kunit *test)
{
	struct cram_sim *sim = test->priv;

	if (!sim)
		return;
	__free_pages(pfn_to_page(sim->start_pfn), TEST_ORDER);
	cram_sim_destroy(sim);
}

static void test_store(struct kunit *test, unsigned long i, const char *pattern,
		       bool quiet)
{
	struct cram_sim *sim = test->priv;
	void *content = kunit_kmalloc(test, PAGE_SIZE, GFP_KERNEL);

	KUNIT_ASSERT_NOT_NULL(test, content);
	KUNIT_ASSERT_EQ(test, cram_sim_pattern(content, pattern), 0);
	cram_sim_store(sim, sim->start_pfn + i, content, quiet);
}

static void test_measure_all(struct cram_sim *sim)
{
	while (cram_sim_measure(sim))
		;
}

static void test_patrol_all(struct cram_sim *sim)
{
	cram_sim_grant_patrol(sim, sim->nr_pages);
	while (cram_sim_patrol(sim))
		;
}

static void test_expect_reading(struct kunit *test, u64 used, u64 over_capacity)
{
	struct cram_sim *sim = test->priv;
	struct cram_reading r;

	KUNIT_ASSERT_EQ(test, cram_sim_ask(sim, &r), 0);
	KUNIT_EXPECT_EQ(test, r.physical, sim->physical);
	KUNIT_EXPECT_EQ(test, r.physical_free, sim->physical - used);
	KUNIT_EXPECT_EQ(test, r.over_capacity, over_capacity);
}

struct content_case {
	const char *pattern;
	u32 min;
	u32 max;
};

static const struct content_case content_cases[] = {
	{ "zero", 0, 0 },
	{ "same", CRAM_SIM_METADATA, CRAM_SIM_METADATA },
	{ "half", CRAM_SIM_METADATA + PAGE_SIZE / 2,
	  CRAM_SIM_METADATA + PAGE_SIZE / 2 + 2 * CRAM_SIM_GRANULE },
	{ "random", CRAM_SIM_WORST, CRAM_SIM_WORST },
};

KUNIT_ARRAY_PARAM_DESC(content, content_cases, pattern);

/* What a page holds follows from its content */
static void content_test(struct kunit *test)
{
	const struct content_case *c = test->param_value;
	struct cram_sim *sim = test->priv;

	test_store(test, 3, c->pattern, false);
	test_measure_all(sim);
	KUNIT_EXPECT_GE(test, sim->cells[3], c->min);
	KUNIT_EXPECT_LE(test, sim->cells[3], c->max);
	test_expect_reading(test, sim->cells[3], 0);
}

/* An empty device, and one page that goes through all states */
static void hint_test(struct kunit *test)
{
	struct cram_sim *sim = test->priv;
	unsigned long pfn = sim->start_pfn;

	test_expect_reading(test, 0, 0);

	/* Nothing stored yet, but it may be: that is what the reading must cover */
	cram_sim_open_pages(sim, pfn, 1);
	KUNIT_EXPECT_EQ(test, sim->nr_open, 1);
	test_expect_reading(test, CRAM_SIM_WORST, 0);
	test_measure_all(sim);
	KUNIT_EXPECT_EQ(test, test_used(sim), 0);

	test_store(test, 0, "same", true);
	test_expect_reading(test, CRAM_SIM_WORST, 0);
	test_measure_all(sim);
	KUNIT_EXPECT_EQ(test, test_used(sim), CRAM_SIM_METADATA);

	cram_sim_close_pages(sim, pfn, 1);
	KUNIT_EXPECT_EQ(test, sim->nr_open, 0);
	test_expect_reading(test, CRAM_SIM_WORST, 0);
	test_measure_all(sim);
	test_expect_reading(test, CRAM_SIM_METADATA, 0);

	/* Twice is not twice as much */
	cram_sim_close_pages(sim, pfn, 1);
	cram_sim_close_pages(sim, pfn, 1);
	test_expect_reading(test, CRAM_SIM_WORST, 0);
}

/* A store while the thread reads the page makes it read again */
static void disturb_test(struct kunit *test)
{
	struct cram_sim *sim = test->priv;

	test_store(test, 0, "random", false);
	scoped_guard(spinlock_irq, &sim->lock) {
		sim->reading = 0;
		sim->disturbed = false;
	}
	cram_sim_close_pages(sim, sim->start_pfn, 1);
	KUNIT_EXPECT_TRUE(test, sim->disturbed);

	sim->disturbed = false;
	cram_sim_open_pages(sim, sim->start_pfn, 1);
	KUNIT_EXPECT_TRUE(test, sim->disturbed);

	sim->disturbed = false;
	cram_sim_zero_pages(sim, sim->start_pfn, 1);
	KUNIT_EXPECT_TRUE(test, sim->disturbed);

	sim->disturbed = false;
	cram_sim_close_pages(sim, sim->start_pfn + 1, 1);
	KUNIT_EXPECT_FALSE(test, sim->disturbed);
	sim->reading = CRAM_SIM_NO_PAGE;
}

/* Trimmed pages read as zeroes and hold nothing, whatever state they were in */
static void trim_test(struct kunit *test)
{
	struct cram_sim *sim = test->priv;
	unsigned long pfn = sim->start_pfn;

	test_store(test, 0, "random", false);
	test_measure_all(sim);
	test_store(test, 1, "random", false);
	cram_sim_open_pages(sim, pfn + 2, 1);

	KUNIT_ASSERT_EQ(test, cram_sim_zero_pages(sim, pfn, 3), 0);
	test_expect_reading(test, 0, 0);
	KUNIT_EXPECT_EQ(test, sim->nr_open, 0);
	KUNIT_EXPECT_EQ(test, sim->nr_held, 0);
	KUNIT_EXPECT_NULL(test, memchr_inv(pfn_to_kaddr(pfn), 0, 3 * PAGE_SIZE));
	test_patrol_all(sim);
	KUNIT_EXPECT_EQ(test, sim->unannounced, 0);

	KUNIT_EXPECT_EQ(test, cram_sim_zero_pages(sim, pfn - 1, 1), -EINVAL);
	KUNIT_EXPECT_EQ(test, cram_sim_zero_pages(sim, pfn, TEST_PAGES + 1), -EINVAL);
	KUNIT_EXPECT_EQ(test, cram_sim_zero_pages(sim, pfn + TEST_PAGES, 1), -EINVAL);
}

/* The patrol finds stores outside of brackets, each once, and no others */
static void patrol_test(struct kunit *test)
{
	struct cram_sim *sim = test->priv;

	test_store(test, 0, "half", false);
	test_patrol_all(sim);
	KUNIT_EXPECT_EQ(test, sim->unannounced, 0);

	cram_sim_open_pages(sim, sim->start_pfn + 1, 1);
	test_store(test, 1, "half", true);
	test_measure_all(sim);
	test_store(test, 1, "half", true);
	test_patrol_all(sim);
	KUNIT_EXPECT_EQ(test, sim->unannounced, 0);

	cram_sim_close_pages(sim, sim->start_pfn + 1, 1);
	test_measure_all(sim);
	test_store(test, 1, "random", true);
	test_store(test, 2, "same", true);
	test_patrol_all(sim);
	KUNIT_EXPECT_EQ(test, sim->unannounced, 2);

	test_measure_all(sim);
	KUNIT_EXPECT_EQ(test, sim->cells[1], CRAM_SIM_WORST);
	test_patrol_all(sim);
	KUNIT_EXPECT_EQ(test, sim->unannounced, 2);
}

/* Stores beyond capacity count, in whatever order they are measured */
static void over_capacity_test(struct kunit *test)
{
	struct cram_sim *sim = test->priv;
	unsigned long i;

	sim->physical = 4 * CRAM_SIM_WORST;
	for (i = 0; i < 4; i++)
		test_store(test, i, "random", false);
	test_measure_all(sim);
	test_expect_reading(test, 4 * CRAM_SIM_WORST, 0);

	/* One page makes room and another takes it, measured last to first */
	test_store(test, 3, "zero", false);
	test_store(test, 1, "random", false);
	test_store(test, 4, "random", false);
	sim->cursor = 4;
	test_measure_all(sim);
	test_expect_reading(test, 4 * CRAM_SIM_WORST, 0);

	test_store(test, 5, "same", false);
	test_store(test, 6, "random", false);
	test_measure_all(sim);
	test_expect_reading(test, 4 * CRAM_SIM_WORST, 2);

	/* A page that was only announced stores nothing */
	cram_sim_close_pages(sim, sim->start_pfn, 1);
	test_measure_all(sim);
	test_expect_reading(test, 4 * CRAM_SIM_WORST, 2);
}

/* Answers that a device must not give, and those that it does not give */
static void fault_test(struct kunit *test)
{
	struct cram_sim *sim = test->priv;
	struct cram_reading r = { };

	sim->lie = 12345;
	KUNIT_EXPECT_EQ(test, cram_sim_ask(sim, &r), 0);
	KUNIT_EXPECT_EQ(test, r.physical_free, 12345);
	sim->lie = -1;

	sim->fail = EIO;
	KUNIT_EXPECT_EQ(test, cram_sim_ask(sim, &r), -EIO);
	sim->fail = 0;

	sim->gone = true;
	KUNIT_EXPECT_EQ(test, cram_sim_ask(sim, &r), -ENODEV);
	sim->gone = false;

	test_expect_reading(test, 0, 0);
	KUNIT_EXPECT_EQ(test, sim->readings, 4);
}

static struct kunit_case cram_sim_test_cases[] = {
	KUNIT_CASE_PARAM(content_test, content_gen_params),
	KUNIT_CASE(hint_test),
	KUNIT_CASE(disturb_test),
	KUNIT_CASE(trim_test),
	KUNIT_CASE(patrol_test),
	KUNIT_CASE(over_capacity_test),
	KUNIT_CASE(fault_test),
	{ }
};

static struct kunit_suite cram_sim_test_suite = {
	.name		= "cram_sim",
	.init		= cram_sim_test_init,
	.exit		= cram_sim_test_exit,
	.test_cases	= cram_sim_test_cases,
};

kunit_test_suite(cram_sim_test_suite);
