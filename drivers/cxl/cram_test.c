// SPDX-License-Identifier: GPL-2.0
/*
 * KUnit tests for what the driver believes of a device. Capabilities: bytes at
 * random, and good ones with one bad field. The oracle is what the driver
 * calculates with them later. Then all its answers at random, of any length.
 */
#include "cram_fuzz.h"

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
	int believed = 0;

	test_seeded(test);
	for (int i = 0; i < 100000; i++) {
		struct cxl_cram_caps caps = test_good_caps();
		u8 *bytes = (u8 *)&caps;
		u64 worst;

		/* All bytes, or some of them in good ones */
		if (i & 1)
			prandom_bytes_state(&test_rnd, bytes, sizeof(caps));
		else
			for (int n = test_below(3); n >= 0; n--)
				bytes[test_below(sizeof(caps))] = test_below(256);
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

/* ------------------------------------------------------ answers at random -- */

#define TEST_HPA	(SZ_4G + 6ULL * SZ_256M)
#define TEST_WAYS	3

/* A region, bound but for its memory */
static struct cxl_cram *test_cram(struct kunit *test, size_t payload_size)
{
	struct cxl_cram_region *region;
	struct cxl_cram *cx;
	struct cxl_cram_dev *d;

	region = kunit_kzalloc(test, struct_size(region, endpoints, TEST_WAYS), GFP_KERNEL);
	cx = kunit_kzalloc(test, struct_size(cx, devs, TEST_WAYS), GFP_KERNEL);
	KUNIT_ASSERT_NOT_NULL(test, region);
	KUNIT_ASSERT_NOT_NULL(test, cx);
	region->dev.init_name = "cxl_cram_test";
	region->ways = TEST_WAYS;
	region->granularity = SZ_8K;
	region->hpa_range.start = TEST_HPA;
	region->hpa_range.end = TEST_HPA + (u64)TEST_WAYS * SZ_256M - 1;
	cx->region = region;
	for_each_cram_dev(d, cx) {
		struct cxl_cram_endpoint *ep = &region->endpoints[d - cx->devs];

		ep->dpa.start = SZ_256M * (u64)(d - cx->devs);
		ep->dpa.end = ep->dpa.start + SZ_256M - 1;
		d->cx = cx;
		d->cxlmd = test_memdev(test, payload_size);
		d->mds = to_cxl_memdev_state(d->cxlmd->cxlds);
		d->physical = SZ_64M;
		d->max_ranges = 1 + test_below(8);
		d->op = kunit_kzalloc(test, struct_size(d->op, ranges, d->max_ranges), GFP_KERNEL);
		d->max_hot = (payload_size - sizeof(*d->hot)) / sizeof(d->hot->pages[0]);
		d->hot = kunit_kzalloc(test, struct_size(d->hot, pages, d->max_hot), GFP_KERNEL);
		KUNIT_ASSERT_NOT_NULL(test, d->op);
		KUNIT_ASSERT_NOT_NULL(test, d->hot);
	}
	return cx;
}

/* The last block of each device is in entries that were not sent, and in no others */
#define TEST_NOT_SENT	(SZ_256M - CXL_CRAM_BLOCK)

static void test_shape_hot(const struct cxl_mbox_cmd *cmd, size_t room)
{
	struct cxl_cram_hot_pages *hot = cmd->payload_out;
	size_t nr = (room - sizeof(*hot)) / sizeof(hot->pages[0]);
	size_t sent = cmd->size_out > sizeof(*hot) ?
		      (cmd->size_out - sizeof(*hot)) / sizeof(hot->pages[0]) : 0;

	for (size_t i = 0; i < nr; i++) {
		u64 dpa = (u64)test_below(TEST_WAYS) * SZ_256M;

		if (i < sent) {
			/* Some of them as they are, which is no address of the device */
			if (!test_below(4))
				continue;
			dpa += test_below(TEST_NOT_SENT / CXL_CRAM_BLOCK) * CXL_CRAM_BLOCK;
		} else {
			dpa += TEST_NOT_SENT;
		}
		hot->pages[i].dpa = cpu_to_le64(dpa);
		hot->pages[i].reads = cpu_to_le32(CXL_CRAM_HOT_READS + test_below(1000));
	}
	/* Or any, as it is */
	if (test_below(4))
		hot->count = cpu_to_le16(test_below(2 * nr + 2));
}

/* Pages of this device, and such as it has told */
static bool test_hot_good(const struct cxl_cram_dev *d, const unsigned long *pfns,
			  unsigned int nr, unsigned int max)
{
	const struct cxl_cram *cx = d->cx;

	if (nr > max)
		return false;
	for (unsigned int i = 0; i < nr; i++) {
		struct range hpa = {
			.start = PFN_PHYS(pfns[i]),
			.end = PFN_PHYS(pfns[i]) + CXL_CRAM_BLOCK - 1,
		}, dpa;

		if (!range_contains(&cx->region->hpa_range, &hpa))
			return false;
		if (!cxl_cram_region_to_dpa(cx->region, d - cx->devs, &hpa, &dpa))
			return false;
		if (dpa.start == cx->region->endpoints[d - cx->devs].dpa.start + TEST_NOT_SENT)
			return false;
	}
	return true;
}

/* The control: what if the count is believed, as far as there is room? */
static unsigned int test_hot_naive(struct cxl_cram_dev *d, unsigned long *pfns,
				   unsigned int max)
{
	unsigned int asked = min(max, d->max_hot), nr = 0;
	struct cxl_mbox_cmd cmd = {
		.opcode = CXL_CRAM_OP_GET_HOT_PAGES,
		.payload_out = d->hot,
		.size_out = struct_size(d->hot, pages, asked),
		.min_out = sizeof(*d->hot),
	};
	u64 hpa;

	if (cxl_cram_run(d, &cmd))
		return 0;
	for (unsigned int i = 0; i < min(asked, le16_to_cpu(d->hot->count)); i++)
		if (cxl_cram_region_to_hpa(d->cx->region, d - d->cx->devs,
					   le64_to_cpu(d->hot->pages[i].dpa), &hpa))
			pfns[nr++] = PHYS_PFN(hpa);
	return nr;
}

#define TEST_PFNS	100

static void test_random_hot(struct kunit *test)
{
	unsigned int caught = 0, pages = 0;
	struct cxl_cram_dev *d;
	unsigned long *pfns;
	struct cxl_cram *cx;

	test_seeded(test);
	test_answers.shape = test_shape_hot;
	pfns = kunit_kcalloc(test, TEST_PFNS + 1, sizeof(*pfns), GFP_KERNEL);
	KUNIT_ASSERT_NOT_NULL(test, pfns);

	for (size_t payload = SZ_256; payload <= SZ_4K; payload *= 4) {
		cx = test_cram(test, payload);
		for (int i = 0; i < 2000; i++) {
			unsigned int nr, max = 1 + test_below(TEST_PFNS);

			d = &cx->devs[test_below(TEST_WAYS)];
			d->hot_pause = jiffies;
			pfns[max] = ULONG_MAX;
			nr = cxl_cram_hot_list_dev(d, pfns, max);
			KUNIT_ASSERT_TRUE(test, test_hot_good(d, pfns, nr, max));
			KUNIT_ASSERT_EQ(test, pfns[max], ULONG_MAX);
			pages += nr;

			nr = test_hot_naive(d, pfns, max);
			caught += !test_hot_good(d, pfns, nr, max);
		}
	}
	KUNIT_EXPECT_GT(test, pages, 1000);
	KUNIT_EXPECT_GT(test, caught, 100);
}

/* The last answer to Get Capacity, and was it all sent? */
static struct cxl_cram_capacity test_told;
static bool test_told_all;

static void test_shape_capacity(const struct cxl_mbox_cmd *cmd, size_t room)
{
	struct cxl_cram_capacity *cap = cmd->payload_out;

	if (test_below(4))
		cap->physical_free = cpu_to_le64(test_below(SZ_64M + SZ_1M));
	if (test_below(4))
		cap->low_water_free = cpu_to_le64(test_below(SZ_64M + SZ_1M));
	if (test_below(4))
		cap->reset_count = cpu_to_le64(test_below(2));
	memcpy(&test_told, cap, sizeof(test_told));
	test_told_all = cmd->size_out == sizeof(*cap);
}

static void test_random_readings(struct kunit *test)
{
	struct cxl_cram *cx;
	int believed = 0;

	test_seeded(test);
	test_answers.shape = test_shape_capacity;
	cx = test_cram(test, SZ_1K);

	for (int i = 0; i < 20000; i++) {
		struct cxl_cram_dev *d = &cx->devs[test_below(TEST_WAYS)];
		u64 physical = d->physical, resets = d->reset_count;
		struct cram_reading r = {};
		int rc;

		test_told_all = false;
		cx->content_lost = false;
		cxl_cram_ask(&d->jobs[CXL_CRAM_ASK]);
		rc = cxl_cram_read_dev(d, &r);
		KUNIT_ASSERT_LE(test, rc, 0);
		if (rc) {
			/* What cannot be true says nothing of a reset, either */
			KUNIT_ASSERT_FALSE(test, cx->content_lost);
			KUNIT_ASSERT_EQ(test, d->reset_count, resets);
			continue;
		}

		believed++;
		KUNIT_ASSERT_TRUE(test, test_told_all);
		KUNIT_ASSERT_EQ(test, r.physical, physical);
		KUNIT_ASSERT_EQ(test, r.physical_free, le64_to_cpu(test_told.physical_free));
		KUNIT_ASSERT_LE(test, le64_to_cpu(test_told.low_water_free), physical);
		KUNIT_ASSERT_LE(test, r.physical_free, physical);
		KUNIT_ASSERT_LE(test, r.unsettled, physical - r.physical_free);
		KUNIT_ASSERT_EQ(test, r.over_capacity, le64_to_cpu(test_told.over_capacity));
		KUNIT_ASSERT_EQ(test, cx->content_lost, d->reset_count != resets);
		KUNIT_ASSERT_EQ(test, d->reset_count, le64_to_cpu(test_told.reset_count));
	}
	KUNIT_EXPECT_GT(test, believed, 1000);
}

static void test_background(struct kunit *test)
{
	struct cxl_mbox_cmd cmd = { .opcode = CXL_CRAM_OP_GET_CAPACITY };
	struct cxl_cram *cx;
	struct cxl_cram_dev *d;

	test_seeded(test);
	test_answers.background = true;
	cx = test_cram(test, SZ_1K);
	for_each_cram_dev(d, cx) {
		for (int i = 0; i < 10; i++)
			KUNIT_ASSERT_EQ(test, cxl_cram_run(d, &cmd), -EPROTO);
	}
	/* Once, and then it is not asked any more */
	KUNIT_EXPECT_EQ(test, test_answers.sent, TEST_WAYS);
}

/* Bytes of each device that Media Operations have named, and was one of them wrong? */
static u64 test_zeroed;
static bool test_wrong;

static void test_inspect_zeroing(const struct cxl_mbox_cmd *cmd)
{
	const struct cxl_cram_media_op *op = cmd->payload_in;
	u32 nr = le32_to_cpu(op->range_count);
	u64 last = 0;

	test_wrong |= cmd->opcode != CXL_CRAM_OP_MEDIA_OPERATIONS || !nr || nr > 8 ||
		      cmd->size_in != struct_size(op, ranges, nr);
	for (u32 i = 0; i < nr && !test_wrong; i++) {
		u64 dpa = le64_to_cpu(op->ranges[i].dpa);
		u64 length = le64_to_cpu(op->ranges[i].length);

		/* Those that touch are one */
		test_wrong |= !length || !IS_ALIGNED(dpa | length, CXL_CRAM_BLOCK) ||
			      (i && dpa <= last);
		last = dpa + length;
		test_zeroed += length;
	}
}

static void test_random_zeroing(struct kunit *test)
{
	struct range ranges[8];
	struct cxl_cram_dev *d;
	struct cxl_cram *cx;

	test_seeded(test);
	test_answers.inspect = test_inspect_zeroing;
	cx = test_cram(test, SZ_1K);

	for (int i = 0; i < 5000; i++) {
		u64 at = TEST_HPA, asked = 0;
		bool complete = true;

		cx->ranges = ranges;
		for (cx->nr_ranges = 0; cx->nr_ranges < ARRAY_SIZE(ranges); cx->nr_ranges++) {
			struct range *r = &ranges[cx->nr_ranges];

			r->start = at + test_below(16) * CXL_CRAM_BLOCK;
			r->end = r->start + (1 + test_below(16)) * CXL_CRAM_BLOCK - 1;
			at = r->end + 1;
			asked += range_len(r);
		}

		test_zeroed = 0;
		for_each_cram_dev(d, cx) {
			cxl_cram_trim_dev(&d->jobs[CXL_CRAM_TRIM]);
			complete &= !d->trim_rc;
		}
		KUNIT_ASSERT_FALSE(test, test_wrong);
		if (complete)
			KUNIT_ASSERT_EQ(test, test_zeroed, asked);
		else
			KUNIT_ASSERT_LE(test, test_zeroed, asked);
	}
	KUNIT_EXPECT_GT(test, test_answers.failed, 0);
}

static struct kunit_case cxl_cram_caps_cases[] = {
	KUNIT_CASE(test_bad_caps),
	KUNIT_CASE(test_random_caps),
	KUNIT_CASE(test_random_hot),
	KUNIT_CASE(test_random_readings),
	KUNIT_CASE(test_background),
	KUNIT_CASE(test_random_zeroing),
	{}
};

static struct kunit_suite cxl_cram_caps_suite = {
	.name = "cxl_cram_caps",
	.test_cases = cxl_cram_caps_cases,
};

kunit_test_suite(cxl_cram_caps_suite);
