// SPDX-License-Identifier: GPL-2.0
/*
 * KUnit: what may be promoted when, and whose turn it is. Included by hot.c.
 */
#include <kunit/test.h>

#define TEST_RATE	(16LL << 20)

static void cram_test_hot_budget(struct kunit *test)
{
	/* What a second grants, and never more than that */
	KUNIT_EXPECT_EQ(test, cram_hot_budget(0, TEST_RATE, HZ), TEST_RATE);
	KUNIT_EXPECT_EQ(test, cram_hot_budget(0, TEST_RATE, HZ / 2), TEST_RATE / 2);
	KUNIT_EXPECT_EQ(test, cram_hot_budget(0, TEST_RATE, 0), 0);
	KUNIT_EXPECT_EQ(test, cram_hot_budget(TEST_RATE / 2, TEST_RATE, HZ), TEST_RATE);
	KUNIT_EXPECT_EQ(test, cram_hot_budget(0, TEST_RATE, 100 * HZ), TEST_RATE);
	KUNIT_EXPECT_EQ(test, cram_hot_budget(0, TEST_RATE, ULONG_MAX), TEST_RATE);
	/* A lower rate leaves less in store */
	KUNIT_EXPECT_EQ(test, cram_hot_budget(TEST_RATE, TEST_RATE / 4, 1), TEST_RATE / 4);
	/* Nothing is granted for nothing */
	KUNIT_EXPECT_EQ(test, cram_hot_budget(0, 0, HZ), 0);
	KUNIT_EXPECT_EQ(test, cram_hot_budget(TEST_RATE, 0, HZ), 0);
}

static void cram_test_hot_budget_debt(struct kunit *test)
{
	s64 budget = -(2LL << 20);
	int seconds = 0;

	/* A folio of 2 MiB at 1 MiB a second */
	while (!cram_hot_affordable(budget)) {
		budget = cram_hot_budget(budget, 1 << 20, HZ);
		seconds++;
	}
	KUNIT_EXPECT_EQ(test, seconds, 3);

	/* A byte a second: a page, and the next after as many seconds as it has bytes */
	budget = cram_hot_budget(0, 1, HZ);
	KUNIT_EXPECT_EQ(test, cram_hot_affordable(budget), 1);
	for (budget -= PAGE_SIZE, seconds = 0; !cram_hot_affordable(budget); seconds++)
		budget = cram_hot_budget(budget, 1, HZ);
	KUNIT_EXPECT_EQ(test, seconds, PAGE_SIZE);
}

static void cram_test_hot_budget_huge(struct kunit *test)
{
	const s64 most = S64_MAX / 4;

	KUNIT_EXPECT_EQ(test, cram_hot_budget(0, U64_MAX, HZ), most);
	KUNIT_EXPECT_EQ(test, cram_hot_budget(most, U64_MAX, 2 * HZ), most);
	KUNIT_EXPECT_EQ(test, cram_hot_budget(most, U64_MAX, ULONG_MAX), most);
	KUNIT_EXPECT_EQ(test, cram_hot_affordable(1), 1);
	KUNIT_EXPECT_EQ(test, cram_hot_affordable(PAGE_SIZE), 1);
	KUNIT_EXPECT_EQ(test, cram_hot_affordable(PAGE_SIZE + 1), 2);
	KUNIT_EXPECT_EQ(test, cram_hot_affordable(0), 0);
	KUNIT_EXPECT_EQ(test, cram_hot_affordable(S64_MIN), 0);
	KUNIT_EXPECT_EQ(test, cram_hot_affordable(most), most / PAGE_SIZE + 1);
}

/* Every owner in turn, whoever has how many pages */
static void cram_test_turns(struct kunit *test)
{
	static const u32 owners[] = { 7, 7, 7, 7, 2, 7, 9 }, turns[] = { 2, 7, 9, 2, 7, 9 };
	struct cram_heat *h = kvzalloc_obj(*h);
	int n;

	KUNIT_ASSERT_NOT_NULL(test, h);
	for (n = 0; n < ARRAY_SIZE(owners); n++)
		h->hot[h->nr_hot++].slot = owners[n] | CRAM_RESIDENT;
	for (n = 0; n < ARRAY_SIZE(turns); n++) {
		h->turn = cram_next_turn(h);
		KUNIT_EXPECT_EQ(test, h->turn, turns[n]);
	}
	/* Who has none is left out, also when it was the last */
	h->nr_hot = 4;
	KUNIT_EXPECT_EQ(test, cram_next_turn(h), 7);
	h->turn = 7;
	KUNIT_EXPECT_EQ(test, cram_next_turn(h), 7);
	kvfree(h);
}

static void cram_test_may_be_hot(struct kunit *test)
{
	KUNIT_EXPECT_TRUE(test, cram_slot_may_be_hot(CRAM_RESIDENT | 5));
	KUNIT_EXPECT_FALSE(test, cram_slot_may_be_hot(CRAM_EMPTY));
	KUNIT_EXPECT_FALSE(test, cram_slot_may_be_hot(CRAM_FREED));
	KUNIT_EXPECT_FALSE(test, cram_slot_may_be_hot(CRAM_RESERVED | 5));
	KUNIT_EXPECT_FALSE(test, cram_slot_may_be_hot(CRAM_RESIDENT | CRAM_WRITABLE | 5));
	KUNIT_EXPECT_FALSE(test, cram_slot_may_be_hot(CRAM_RESIDENT | CRAM_WRITABLE |
						      CRAM_REVOKING | 5));
}

static struct kunit_case cram_hot_cases[] = {
	KUNIT_CASE(cram_test_hot_budget),
	KUNIT_CASE(cram_test_hot_budget_debt),
	KUNIT_CASE(cram_test_hot_budget_huge),
	KUNIT_CASE(cram_test_turns),
	KUNIT_CASE(cram_test_may_be_hot),
	{}
};

static struct kunit_suite cram_hot_suite = {
	.name = "cram_hot",
	.test_cases = cram_hot_cases,
};

kunit_test_suite(cram_hot_suite);
