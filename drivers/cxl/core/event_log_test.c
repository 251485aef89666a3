// SPDX-License-Identifier: GPL-2.0
/*
 * KUnit tests for what becomes of event records when a device counts more than it
 * has sent.
 */
#include <kunit/device.h>
#include <kunit/test.h>
#include <linux/prandom.h>

#define TEST_PAYLOAD	2048

static void test_bound_count(struct kunit *test)
{
	struct cxl_memdev_state *mds = kunit_kzalloc(test, sizeof(*mds), GFP_KERNEL);
	struct cxl_get_event_payload *pl = kunit_kzalloc(test, TEST_PAYLOAD, GFP_KERNEL);
	const size_t head = struct_size(pl, records, 0), one = sizeof(pl->records[0]);
	struct rnd_state rnd;

	KUNIT_ASSERT_NOT_NULL(test, mds);
	KUNIT_ASSERT_NOT_NULL(test, pl);
	mds->cxlds.dev = kunit_device_register(test, "cxl_cram_test");
	KUNIT_ASSERT_NOT_ERR_OR_NULL(test, mds->cxlds.dev);

	pl->record_count = cpu_to_le16(2);
	KUNIT_EXPECT_EQ(test, cxl_event_bound_count(mds, pl, head + 2 * one), 2);
	KUNIT_EXPECT_EQ(test, cxl_event_bound_count(mds, pl, head + 2 * one - 1), 1);
	KUNIT_EXPECT_EQ(test, le16_to_cpu(pl->record_count), 1);
	pl->record_count = cpu_to_le16(1);
	KUNIT_EXPECT_EQ(test, cxl_event_bound_count(mds, pl, head), -EPROTO);
	pl->record_count = 0;
	KUNIT_EXPECT_EQ(test, cxl_event_bound_count(mds, pl, head), 0);

	prandom_seed_state(&rnd, 4711);
	for (int i = 0; i < 10000; i++) {
		size_t size = head + prandom_u32_state(&rnd) % (TEST_PAYLOAD - head + 1);
		u16 said = prandom_u32_state(&rnd) >> (prandom_u32_state(&rnd) % 32);
		int n;

		pl->record_count = cpu_to_le16(said);
		n = cxl_event_bound_count(mds, pl, size);
		KUNIT_ASSERT_LE(test, n, (int)said);
		KUNIT_ASSERT_LE(test, head + max(n, 0) * one, size);
		/* Whoever clears them reads the count once more */
		KUNIT_ASSERT_LE(test, head + le16_to_cpu(pl->record_count) * one, size);
		if (said && head + one <= size)
			KUNIT_ASSERT_GT(test, n, 0);
	}
}

static struct kunit_case cxl_event_log_cases[] = {
	KUNIT_CASE(test_bound_count),
	{}
};

static struct kunit_suite cxl_event_log_suite = {
	.name = "cxl_event_log",
	.test_cases = cxl_event_log_cases,
};

kunit_test_suite(cxl_event_log_suite);
