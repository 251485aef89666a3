// SPDX-License-Identifier: GPL-2.0
/*
 * KUnit tests for what the driver believes of a device's capabilities: bytes at
 * random, and good ones with one bad field. The oracle is what the driver
 * calculates with them later.
 */
#include <kunit/test.h>
#include <linux/prandom.h>

static const struct range test_dpa = { .start = 0, .end = SZ_1G - 1 };

static struct cxl_cram_caps test_good_caps(void)
{
	return (struct cxl_cram_caps) {
		.logical_bytes = cpu_to_le64(SZ_1G),
		.physical_bytes = cpu_to_le64(SZ_512M),
		.cells_per_page = cpu_to_le32(CXL_CRAM_BLOCK + 64),
		.block_bytes = cpu_to_le32(CXL_CRAM_BLOCK),
		.max_ranges = cpu_to_le16(127),
		.max_answer_ms = cpu_to_le16(100),
	};
}

static void test_bad_caps(struct kunit *test)
{
	struct cxl_cram_caps caps = test_good_caps();

	KUNIT_EXPECT_NULL(test, cxl_cram_bad_caps(&caps, &test_dpa));
	caps.max_answer_ms = cpu_to_le16(CXL_CRAM_MAX_ANSWER_MS);
	caps.max_ranges = cpu_to_le16(1);
	KUNIT_EXPECT_NULL(test, cxl_cram_bad_caps(&caps, &test_dpa));

#define TEST_BAD(field, value)							\
	do {									\
		caps = test_good_caps();					\
		caps.field = (value);						\
		KUNIT_EXPECT_NOT_NULL(test, cxl_cram_bad_caps(&caps, &test_dpa)); \
	} while (0)
	TEST_BAD(logical_bytes, cpu_to_le64(SZ_1G - 1));
	TEST_BAD(logical_bytes, 0);
	TEST_BAD(physical_bytes, cpu_to_le64(CXL_CRAM_BLOCK + 63));
	TEST_BAD(physical_bytes, 0);
	TEST_BAD(cells_per_page, cpu_to_le32(CXL_CRAM_BLOCK - 1));
	TEST_BAD(cells_per_page, cpu_to_le32(U32_MAX));
	TEST_BAD(block_bytes, cpu_to_le32(CXL_CRAM_BLOCK / 2));
	TEST_BAD(block_bytes, cpu_to_le32(CXL_CRAM_BLOCK * 2));
	TEST_BAD(max_ranges, 0);
	TEST_BAD(max_answer_ms, cpu_to_le16(CXL_CRAM_MAX_ANSWER_MS + 1));
	TEST_BAD(max_answer_ms, cpu_to_le16(U16_MAX));
}

static void test_random_caps(struct kunit *test)
{
	struct rnd_state rnd;
	int believed = 0;

	prandom_seed_state(&rnd, 4711);
	for (int i = 0; i < 100000; i++) {
		struct cxl_cram_caps caps = test_good_caps();
		u8 *bytes = (u8 *)&caps;
		u64 worst;

		/* All bytes, or some of them in good ones */
		if (i & 1)
			prandom_bytes_state(&rnd, bytes, sizeof(caps));
		else
			for (int n = prandom_u32_state(&rnd) % 3; n >= 0; n--)
				bytes[prandom_u32_state(&rnd) % sizeof(caps)] =
					prandom_u32_state(&rnd);
		if (cxl_cram_bad_caps(&caps, &test_dpa))
			continue;

		believed++;
		worst = le32_to_cpu(caps.cells_per_page);
		KUNIT_ASSERT_GE(test, worst, (u64)CXL_CRAM_BLOCK);
		KUNIT_ASSERT_LE(test, worst, le64_to_cpu(caps.physical_bytes));
		KUNIT_ASSERT_GT(test, le64_to_cpu(caps.logical_bytes), (u64)test_dpa.end);
		KUNIT_ASSERT_GT(test, le16_to_cpu(caps.max_ranges), 0);
		/* A trim begun when a reading is nearly due, each behind another command */
		KUNIT_ASSERT_LE(test, CRAM_LEASE_MS_DEFAULT / 3 +
				4 * le16_to_cpu(caps.max_answer_ms) + 100, CRAM_LEASE_MS_DEFAULT);
	}
	/* Bytes that nobody looks at, and values in range */
	KUNIT_EXPECT_GT(test, believed, 1000);
}

static struct kunit_case cxl_cram_caps_cases[] = {
	KUNIT_CASE(test_bad_caps),
	KUNIT_CASE(test_random_caps),
	{}
};

static struct kunit_suite cxl_cram_caps_suite = {
	.name = "cxl_cram_caps",
	.test_cases = cxl_cram_caps_cases,
};

kunit_test_suite(cxl_cram_caps_suite);
