// SPDX-License-Identifier: GPL-2.0
/*
 * KUnit tests for regions of compressed memory. Of the translation, the oracle
 * is the decode of the CXL specification, one block at a time, as the core
 * calculates it for poison. Then, which devices are recognised.
 */
#include <kunit/test.h>
#include <linux/sizes.h>

#define TEST_HPA	(SZ_4G + 6ULL * SZ_256M)
#define TEST_DPA	SZ_256M

struct cram_region_case {
	int ways;
	int granularity;
};

static const struct cram_region_case cram_region_cases[] = {
	{ 1, 256 }, { 1, 4096 }, { 2, 4096 }, { 2, 16384 }, { 3, 4096 },
	{ 3, 8192 }, { 4, 4096 }, { 4, 16384 }, { 6, 4096 }, { 8, 8192 },
	{ 12, 4096 }, { 16, 4096 },
};

static void cram_region_case_desc(const struct cram_region_case *c, char *desc)
{
	snprintf(desc, KUNIT_PARAM_DESC_SIZE, "ways %d, granularity %d", c->ways,
		 c->granularity);
}

KUNIT_ARRAY_PARAM(cram_region, cram_region_cases, cram_region_case_desc);

static struct cxl_cram_region *test_region(struct kunit *test, int ways,
					   int granularity)
{
	struct cxl_cram_region *r;

	r = kunit_kzalloc(test, struct_size(r, endpoints, ways), GFP_KERNEL);
	KUNIT_ASSERT_NOT_NULL(test, r);
	r->ways = ways;
	r->granularity = granularity;
	r->hpa_range.start = TEST_HPA;
	r->hpa_range.end = TEST_HPA + (u64)ways * SZ_256M - 1;
	for (int i = 0; i < ways; i++) {
		/* Not the same for all: regions can begin anywhere in a device */
		r->endpoints[i].dpa.start = TEST_DPA * i;
		r->endpoints[i].dpa.end = TEST_DPA * (i + 1) - 1;
	}
	return r;
}

/* All blocks of the range are in the answers, and nothing else is */
static void test_range(struct kunit *test, const struct cxl_cram_region *r,
		       u64 start, u64 len)
{
	struct range hpa = { r->hpa_range.start + start,
			     r->hpa_range.start + start + len - 1 };
	struct range dpa[16];
	bool some[16];
	u64 total = 0;
	u16 eig;
	u8 eiw;

	KUNIT_ASSERT_EQ(test, ways_to_eiw(r->ways, &eiw), 0);
	KUNIT_ASSERT_EQ(test, granularity_to_eig(r->granularity, &eig), 0);

	for (int i = 0; i < r->ways; i++) {
		some[i] = cxl_cram_region_to_dpa(r, i, &hpa, &dpa[i]);
		if (!some[i])
			continue;
		total += range_len(&dpa[i]);
		KUNIT_EXPECT_TRUE(test, range_contains(&r->endpoints[i].dpa, &dpa[i]));
	}
	KUNIT_EXPECT_EQ(test, total, len);

	for (u64 off = start; off < start + len; off += SZ_4K) {
		int pos = cxl_calculate_position(off, eiw, eig);
		u64 a = r->endpoints[pos].dpa.start +
			cxl_calculate_dpa_offset(off, eiw, eig);

		KUNIT_ASSERT_TRUE_MSG(test, some[pos] && dpa[pos].start <= a &&
				      a + SZ_4K - 1 <= dpa[pos].end,
				      "offset %#llx, range %#llx+%#llx", off,
				      start, len);
	}
}

static void test_pages(struct kunit *test)
{
	const struct cram_region_case *c = test->param_value;
	struct cxl_cram_region *r = test_region(test, c->ways, c->granularity);
	u64 stripe = (u64)c->ways * c->granularity;

	for (u64 off = 0; off < 4 * stripe && off < SZ_1M; off += SZ_4K)
		test_range(test, r, off, SZ_4K);
	test_range(test, r, range_len(&r->hpa_range) - SZ_4K, SZ_4K);
}

static void test_ranges(struct kunit *test)
{
	const struct cram_region_case *c = test->param_value;
	struct cxl_cram_region *r = test_region(test, c->ways, c->granularity);

	for (u64 off = 0; off < SZ_128K; off += 5 * SZ_4K) {
		for (u64 len = SZ_4K; len < SZ_512K; len += 7 * SZ_4K)
			test_range(test, r, off, len);
	}
	test_range(test, r, 0, range_len(&r->hpa_range));
}

/* What the oracle would not notice: an answer that is right by chance */
static void test_examples(struct kunit *test)
{
	struct cxl_cram_region *r = test_region(test, 2, SZ_4K);
	struct range hpa, dpa;

	hpa = (struct range){ TEST_HPA + SZ_4K, TEST_HPA + 2 * SZ_4K - 1 };
	KUNIT_EXPECT_FALSE(test, cxl_cram_region_to_dpa(r, 0, &hpa, &dpa));
	KUNIT_ASSERT_TRUE(test, cxl_cram_region_to_dpa(r, 1, &hpa, &dpa));
	KUNIT_EXPECT_EQ(test, dpa.start, TEST_DPA);
	KUNIT_EXPECT_EQ(test, dpa.end, TEST_DPA + SZ_4K - 1);

	hpa = (struct range){ TEST_HPA + SZ_4K, TEST_HPA + 5 * SZ_4K - 1 };
	KUNIT_ASSERT_TRUE(test, cxl_cram_region_to_dpa(r, 0, &hpa, &dpa));
	KUNIT_EXPECT_EQ(test, dpa.start, SZ_4K);
	KUNIT_EXPECT_EQ(test, dpa.end, 3 * SZ_4K - 1);
}

/* Each block is where it came from */
static void test_back(struct kunit *test)
{
	const struct cram_region_case *c = test->param_value;
	struct cxl_cram_region *r = test_region(test, c->ways, c->granularity);
	u64 size = range_len(&r->hpa_range), hpa;
	struct range block, dpa;

	/* The driver refuses regions in which a block is spread over devices */
	if (c->ways > 1 && c->granularity < CXL_CRAM_BLOCK)
		return;
	for (u64 off = 0; off < size; off += off < SZ_1M ? SZ_4K : 1237 * SZ_4K) {
		block.start = r->hpa_range.start + off;
		block.end = block.start + SZ_4K - 1;
		for (int i = 0; i < r->ways; i++) {
			if (!cxl_cram_region_to_dpa(r, i, &block, &dpa))
				continue;
			KUNIT_ASSERT_TRUE(test, cxl_cram_region_to_hpa(r, i, dpa.start, &hpa));
			KUNIT_ASSERT_EQ(test, hpa, block.start);
		}
	}
}

static void test_not_back(struct kunit *test)
{
	struct cxl_cram_region *r = test_region(test, 2, SZ_4K);
	u64 hpa = 0;

	KUNIT_EXPECT_FALSE(test, cxl_cram_region_to_hpa(r, 0, 1, &hpa));
	KUNIT_EXPECT_FALSE(test, cxl_cram_region_to_hpa(r, 0, SZ_4K - 64, &hpa));
	KUNIT_EXPECT_FALSE(test, cxl_cram_region_to_hpa(r, 0, TEST_DPA, &hpa));
	KUNIT_EXPECT_FALSE(test, cxl_cram_region_to_hpa(r, 1, TEST_DPA - SZ_4K, &hpa));
	KUNIT_EXPECT_FALSE(test, cxl_cram_region_to_hpa(r, 1, 2 * TEST_DPA, &hpa));
	KUNIT_EXPECT_FALSE(test, cxl_cram_region_to_hpa(r, 1, U64_MAX & ~(SZ_4K - 1ULL), &hpa));
	KUNIT_EXPECT_EQ(test, hpa, 0);

	KUNIT_EXPECT_TRUE(test, cxl_cram_region_to_hpa(r, 1, TEST_DPA, &hpa));
	KUNIT_EXPECT_EQ(test, hpa, TEST_HPA + SZ_4K);
	KUNIT_EXPECT_TRUE(test, cxl_cram_region_to_hpa(r, 0, SZ_4K, &hpa));
	KUNIT_EXPECT_EQ(test, hpa, TEST_HPA + 2 * SZ_4K);
	KUNIT_EXPECT_TRUE(test, cxl_cram_region_to_hpa(r, 1, 2 * TEST_DPA - SZ_4K, &hpa));
	KUNIT_EXPECT_EQ(test, hpa, r->hpa_range.end + 1 - SZ_4K);
}

/* A command that goes on after its answer is not one of the interface */
static void test_background(struct kunit *test)
{
	struct cxl_cram_state state = {};

	KUNIT_EXPECT_EQ(test, cxl_set_cram_cmd_enabled(&state, CXL_CRAM_OP_GET_CAPS, 0), 1);
	KUNIT_EXPECT_EQ(test, cxl_set_cram_cmd_enabled(&state, CXL_CRAM_OP_MEDIA_OPERATIONS,
						       CXL_CRAM_EFFECT_BACKGROUND | BIT(2)), 0);
	KUNIT_EXPECT_TRUE(test, test_bit(CXL_CRAM_ENABLED_GET_CAPS, state.enabled_cmds));
	KUNIT_EXPECT_FALSE(test, test_bit(CXL_CRAM_ENABLED_MEDIA_OPERATIONS,
					  state.enabled_cmds));
	KUNIT_EXPECT_EQ(test, cxl_set_cram_cmd_enabled(&state, CXL_CRAM_OP_MEDIA_OPERATIONS,
						       BIT(2)), 1);
	KUNIT_EXPECT_TRUE(test, test_bit(CXL_CRAM_ENABLED_MEDIA_OPERATIONS,
					 state.enabled_cmds));
}

static struct kunit_case cxl_cram_region_cases[] = {
	KUNIT_CASE_PARAM(test_pages, cram_region_gen_params),
	KUNIT_CASE_PARAM(test_ranges, cram_region_gen_params),
	KUNIT_CASE(test_examples),
	KUNIT_CASE_PARAM(test_back, cram_region_gen_params),
	KUNIT_CASE(test_not_back),
	KUNIT_CASE(test_background),
	{}
};

static struct kunit_suite cxl_cram_region_suite = {
	.name = "cxl_cram_region",
	.test_cases = cxl_cram_region_cases,
};

/* A device as it is after its driver was bound */
struct test_device {
	struct cxl_memdev_state mds;
	struct cxl_features_state cxlfs;
};

static struct test_device *test_device(struct kunit *test)
{
	static const uuid_t uuid = CXL_CRAM_FEAT_UUID;
	struct test_device *d = kunit_kzalloc(test, sizeof(*d), GFP_KERNEL);

	struct cxl_feat_entries *entries;

	KUNIT_ASSERT_NOT_NULL(test, d);
	entries = kunit_kzalloc(test, struct_size(entries, ent, 2), GFP_KERNEL);
	KUNIT_ASSERT_NOT_NULL(test, entries);
	entries->num_features = 2;
	entries->ent[1].uuid = uuid;
	entries->ent[1].get_feat_ver = 1;
	d->cxlfs.entries = entries;
	d->mds.cxlds.cxlfs = &d->cxlfs;
	d->mds.cxlds.cxl_mbox.feat_cap = CXL_FEATURES_RO;
	bitmap_fill(d->mds.cram.enabled_cmds, CXL_CRAM_ENABLED_MANDATORY);
	return d;
}

static int test_recognise(struct test_device *d)
{
	const char *why = NULL;
	int rc = cxl_memdev_recognise(&d->mds, &why);

	/* An error says what it is about, and nothing else does */
	return (rc < 0) == !!why ? rc : -EINVAL;
}

static void test_compresses(struct kunit *test)
{
	struct test_device *d = test_device(test);

	KUNIT_EXPECT_EQ(test, test_recognise(d), 1);
	/* A later version only adds */
	d->cxlfs.entries->ent[1].get_feat_ver = 255;
	KUNIT_EXPECT_EQ(test, test_recognise(d), 1);
	d->cxlfs.entries->ent[1].get_feat_ver = 0;
	KUNIT_EXPECT_EQ(test, test_recognise(d), -ENXIO);

	for (int i = 0; i < CXL_CRAM_ENABLED_MANDATORY; i++) {
		d = test_device(test);
		clear_bit(i, d->mds.cram.enabled_cmds);
		KUNIT_EXPECT_EQ(test, test_recognise(d), -ENXIO);
	}
}

static void test_ordinary(struct kunit *test)
{
	struct test_device *d = test_device(test);

	/* Commands with these opcodes, and another meaning: the Feature is not there */
	d->cxlfs.entries->num_features = 1;
	KUNIT_EXPECT_EQ(test, test_recognise(d), 0);
	d->cxlfs.entries->num_features = 0;
	KUNIT_EXPECT_EQ(test, test_recognise(d), 0);

	/* No Features at all */
	d->mds.cxlds.cxlfs = NULL;
	d->mds.cxlds.cxl_mbox.feat_cap = CXL_FEATURES_NONE;
	KUNIT_EXPECT_EQ(test, test_recognise(d), 0);

	/* Features that could not be read, of a device without vendor commands */
	d->mds.cxlds.cxl_mbox.feat_cap = CXL_FEATURES_RW;
	bitmap_zero(d->mds.cram.enabled_cmds, CXL_CRAM_ENABLED_MAX);
	KUNIT_EXPECT_EQ(test, test_recognise(d), 0);
	set_bit(CXL_CRAM_ENABLED_MEDIA_OPERATIONS, d->mds.cram.enabled_cmds);
	KUNIT_EXPECT_EQ(test, test_recognise(d), 0);
}

/* What cannot be known is not ordinary */
static void test_unknown(struct kunit *test)
{
	for (int i = 0; i < CXL_CRAM_ENABLED_MAX; i++) {
		struct test_device *d = test_device(test);

		if (i == CXL_CRAM_ENABLED_MEDIA_OPERATIONS)
			continue;
		d->mds.cxlds.cxlfs = NULL;
		bitmap_zero(d->mds.cram.enabled_cmds, CXL_CRAM_ENABLED_MAX);
		set_bit(i, d->mds.cram.enabled_cmds);
		KUNIT_EXPECT_EQ(test, test_recognise(d), -EIO);
		d->mds.cxlds.cxl_mbox.feat_cap = CXL_FEATURES_RW;
		KUNIT_EXPECT_EQ(test, test_recognise(d), -EIO);
	}
}

static struct kunit_case cxl_cram_recognise_cases[] = {
	KUNIT_CASE(test_compresses),
	KUNIT_CASE(test_ordinary),
	KUNIT_CASE(test_unknown),
	{}
};

static struct kunit_suite cxl_cram_recognise_suite = {
	.name = "cxl_cram_recognise",
	.test_cases = cxl_cram_recognise_cases,
};

kunit_test_suites(&cxl_cram_region_suite, &cxl_cram_recognise_suite);
