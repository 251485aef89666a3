// SPDX-License-Identifier: GPL-2.0
/*
 * KUnit tests for what the core makes of the answers of a device: event records, when
 * it counts more than it has sent, and all that the core reads by itself, with answers
 * at random, of any length.
 */
#include "../cram_fuzz.h"

#define TEST_PAYLOAD	2048

/* Nobody may look at more records than these bytes have; some, if there is one */
static bool test_count_good(const struct cxl_get_event_payload *pl, size_t size, u16 said, int n)
{
	const size_t head = struct_size(pl, records, 0), one = sizeof(pl->records[0]);

	if (n > said || head + max(n, 0) * one > size)
		return false;
	/* Whoever clears them reads the count once more */
	if (head + le16_to_cpu(pl->record_count) * one > size)
		return false;
	return !said || head + one > size || n > 0;
}

static void test_bound_count(struct kunit *test)
{
	struct cxl_memdev_state *mds = to_cxl_memdev_state(test_memdev(test, TEST_PAYLOAD)->cxlds);
	struct cxl_get_event_payload *pl = kunit_kzalloc(test, TEST_PAYLOAD, GFP_KERNEL);
	const size_t head = struct_size(pl, records, 0), one = sizeof(pl->records[0]);
	int caught = 0;

	test_seeded(test);
	KUNIT_ASSERT_NOT_NULL(test, pl);

	pl->record_count = cpu_to_le16(2);
	KUNIT_EXPECT_EQ(test, cxl_event_bound_count(mds, pl, head + 2 * one), 2);
	KUNIT_EXPECT_EQ(test, cxl_event_bound_count(mds, pl, head + 2 * one - 1), 1);
	KUNIT_EXPECT_EQ(test, le16_to_cpu(pl->record_count), 1);
	pl->record_count = cpu_to_le16(1);
	KUNIT_EXPECT_EQ(test, cxl_event_bound_count(mds, pl, head), -EPROTO);
	pl->record_count = 0;
	KUNIT_EXPECT_EQ(test, cxl_event_bound_count(mds, pl, head), 0);

	for (int i = 0; i < 10000; i++) {
		size_t size = head + test_below(TEST_PAYLOAD - head + 1);
		u16 said = prandom_u32_state(&test_rnd) >> test_below(32);
		int n;

		pl->record_count = cpu_to_le16(said);
		/* The control: without the bound */
		caught += !test_count_good(pl, size, said, said);
		n = cxl_event_bound_count(mds, pl, size);
		KUNIT_ASSERT_TRUE(test, test_count_good(pl, size, said, n));
	}
	KUNIT_EXPECT_GT(test, caught, 1000);
}

/* ------------------------------------------------------ answers at random -- */

/* Any return code but success is an error, also one that there is none of */
static void test_return_codes(struct kunit *test)
{
	struct cxl_mbox_cmd cmd = {};

	for (int code = 0; code <= U16_MAX; code++) {
		int rc;

		cmd.return_code = code;
		rc = cxl_mbox_cmd_rc2errno(&cmd);
		if (code == CXL_MBOX_CMD_RC_SUCCESS)
			KUNIT_ASSERT_EQ(test, rc, 0);
		else
			KUNIT_ASSERT_TRUE_MSG(test, rc < 0 && rc >= -MAX_ERRNO,
					      "%d for return code %#x", rc, code);
	}
}

/* Handles of records that were sent have this bit, those behind them have not */
#define TEST_SENT	BIT(15)

static unsigned int test_records, test_told, test_cleared;
static bool test_wrong;

static const uuid_t test_vendor =
	UUID_INIT(0x3e1ab3f6, 0x8a52, 0x4c5d, 0x8e, 0x2b, 0x41, 0x07, 0x5e, 0x0c, 0x9b, 0x77);

static void test_shape_events(const struct cxl_mbox_cmd *cmd, size_t room)
{
	struct cxl_get_event_payload *pl = cmd->payload_out;
	const size_t head = struct_size(pl, records, 0), one = sizeof(pl->records[0]);
	size_t sent = cmd->size_out > head ? (cmd->size_out - head) / one : 0;

	for (size_t i = 0; i < (room - head) / one; i++) {
		struct cxl_event_record_raw *raw = &pl->records[i];
		u16 handle = test_below(TEST_SENT) | (i < sent ? TEST_SENT : 0);

		raw->event.generic.hdr.handle = cpu_to_le16(handle);
		if (test_below(2))
			raw->id = test_vendor;
	}
	if (test_below(8))
		pl->record_count = cpu_to_le16(test_below(2 * ((room - head) / one) + 2));
	test_records = sent;
}

static void test_inspect_events(const struct cxl_mbox_cmd *cmd)
{
	const struct cxl_mbox_clear_event_payload *clear = cmd->payload_in;

	if (cmd->opcode == CXL_MBOX_OP_GET_EVENT_RECORD) {
		test_cleared = 0;
		return;
	}
	test_wrong |= cmd->opcode != CXL_MBOX_OP_CLEAR_EVENT_RECORD ||
		      cmd->size_in < struct_size(clear, handles, clear->nr_recs);
	for (int i = 0; i < clear->nr_recs && !test_wrong; i++)
		test_wrong |= !(le16_to_cpu(clear->handles[i]) & TEST_SENT);
	test_cleared += clear->nr_recs;
	test_wrong |= test_cleared > test_records;
}

static void test_notify(struct cxl_event_listener *listener,
			const struct cxl_event_record_raw *record)
{
	test_told++;
	test_wrong |= record && (!uuid_equal(&record->id, &test_vendor) ||
				 !(le16_to_cpu(record->event.generic.hdr.handle) & TEST_SENT));
}

static void test_random_events(struct kunit *test)
{
	struct cxl_event_listener listener = { .id = test_vendor, .notify = test_notify };
	static const size_t payloads[] = { SZ_256, TEST_PAYLOAD, SZ_32K };

	test_seeded(test);
	test_answers.shape = test_shape_events;
	test_answers.inspect = test_inspect_events;
	test_told = 0;
	test_wrong = false;
	for (int i = 0; i < ARRAY_SIZE(payloads); i++) {
		struct cxl_memdev *cxlmd = test_memdev(test, payloads[i]);
		struct cxl_memdev_state *mds = to_cxl_memdev_state(cxlmd->cxlds);

		mds->event.buf = kunit_kzalloc(test, payloads[i], GFP_KERNEL);
		KUNIT_ASSERT_NOT_NULL(test, mds->event.buf);
		cxl_event_listen(mds, &listener);
		for (int n = 0; n < 500; n++) {
			int rc;

			test_answers.sent = 0;
			rc = cxl_mem_get_event_records(mds, CXLDEV_EVENT_STATUS_ALL);
			KUNIT_ASSERT_LE(test, rc, 0);
			KUNIT_ASSERT_FALSE(test, test_wrong);
			/* Four logs, each until it fails or has had its rounds, and cleared */
			KUNIT_ASSERT_LE(test, test_answers.sent, 4 * CXL_EVENT_ROUNDS * 3);
		}
		cxl_event_unlisten(mds, &listener);
	}
	KUNIT_EXPECT_GT(test, test_told, 100);
}

/* Commands that were in what was sent of a Command Effects Log, or else in its rest */
#define TEST_LISTED	CXL_CRAM_OP_GET_CAPACITY
#define TEST_NOT_LISTED	CXL_CRAM_OP_GET_CAPS

static void test_shape_logs(const struct cxl_mbox_cmd *cmd, size_t room)
{
	static const uuid_t cel = DEFINE_CXL_CEL_UUID;
	struct cxl_mbox_get_supported_logs *gsl = cmd->payload_out;
	struct cxl_cel_entry *entry = cmd->payload_out;

	if (cmd->opcode == CXL_MBOX_OP_GET_LOG) {
		for (size_t i = 0; i < room / sizeof(*entry); i++) {
			if ((i + 1) * sizeof(*entry) > cmd->size_out)
				entry[i].opcode = cpu_to_le16(TEST_NOT_LISTED);
			else if (le16_to_cpu(entry[i].opcode) == TEST_NOT_LISTED ||
				 !test_below(16))
				entry[i].opcode = cpu_to_le16(TEST_LISTED);
			entry[i].effect = 0;
		}
		return;
	}
	for (size_t i = 0; i < (room - sizeof(*gsl)) / sizeof(gsl->entry[0]); i++) {
		if (struct_size(gsl, entry, i + 1) > cmd->size_out) {
			/* As many as are looked at beyond the answer are read */
			gsl->entry[i].uuid = cel;
			gsl->entry[i].size = cpu_to_le32(TEST_PAYLOAD);
			continue;
		}
		if (!test_below(8))
			gsl->entry[i].uuid = cel;
		if (test_below(4))
			gsl->entry[i].size = cpu_to_le32(test_below(4 * TEST_PAYLOAD));
		if (uuid_equal(&gsl->entry[i].uuid, &cel))
			test_records++;
	}
	if (test_below(4))
		gsl->entries = cpu_to_le16(test_below(32));
}

/* Each log is read from its beginning */
static void test_inspect_logs(const struct cxl_mbox_cmd *cmd)
{
	const struct cxl_mbox_get_log *log = cmd->payload_in;

	if (cmd->opcode == CXL_MBOX_OP_GET_LOG && !log->offset)
		test_told++;
}

static void test_random_logs(struct kunit *test)
{
	struct cxl_memdev *cxlmd = test_memdev(test, TEST_PAYLOAD);
	struct cxl_memdev_state *mds = to_cxl_memdev_state(cxlmd->cxlds);
	int listed = 0;

	test_seeded(test);
	test_answers.shape = test_shape_logs;
	test_answers.inspect = test_inspect_logs;
	for (int i = 0; i < 2000; i++) {
		test_records = test_told = 0;
		bitmap_zero(mds->cram.enabled_cmds, CXL_CRAM_ENABLED_MAX);
		KUNIT_ASSERT_LE(test, cxl_enumerate_cmds(mds), 0);
		KUNIT_ASSERT_LE(test, test_told, test_records);
		KUNIT_ASSERT_FALSE(test, test_bit(CXL_CRAM_ENABLED_GET_CAPS,
						  mds->cram.enabled_cmds));
		listed += test_bit(CXL_CRAM_ENABLED_GET_CAPACITY, mds->cram.enabled_cmds);
	}
	KUNIT_EXPECT_GT(test, listed, 100);
}

static void test_random_poison(struct kunit *test)
{
	struct cxl_memdev *cxlmd = test_memdev(test, TEST_PAYLOAD);
	struct cxl_memdev_state *mds = to_cxl_memdev_state(cxlmd->cxlds);
	int some = 0;

	test_seeded(test);
	mds->poison.list_out = kunit_kzalloc(test, TEST_PAYLOAD, GFP_KERNEL);
	KUNIT_ASSERT_NOT_NULL(test, mds->poison.list_out);
	for (int i = 0; i < 2000; i++) {
		mds->poison.max_errors = 1 + test_below(CXL_POISON_LIST_MAX);
		test_answers.sent = 0;
		KUNIT_ASSERT_LE(test, cxl_mem_get_poison(cxlmd, 0, SZ_256M, NULL), 0);
		/* Each answer that is gone on after has had a record */
		KUNIT_ASSERT_LE(test, test_answers.sent, mds->poison.max_errors);
		some += test_answers.sent > 1;
	}
	KUNIT_EXPECT_GT(test, some, 0);
}

/* Owned by one at a time, and closed for as long */
static void test_random_owners(struct kunit *test)
{
	struct cxl_memdev *cxlmd = test_memdev(test, TEST_PAYLOAD);
	struct cxl_mailbox *cxl_mbox = &cxlmd->cxlds->cxl_mbox;
	struct {
		struct cxl_opcode_owner owner;
		u16 opcodes[3];
		bool owns;
	} *o = kunit_kcalloc(test, 4, sizeof(*o), GFP_KERNEL);

	test_seeded(test);
	KUNIT_ASSERT_NOT_NULL(test, o);
	for (int n = 0; n < 20000; n++) {
		u16 opcode = test_below(12);
		int who = test_below(4);
		bool taken = false;

		if (o[who].owns) {
			cxl_disown_opcodes(cxl_mbox, &o[who].owner);
			o[who].owns = false;
		} else {
			o[who].owner.opcodes = o[who].opcodes;
			o[who].owner.nr_opcodes = test_below(4);
			for (int i = 0; i < o[who].owner.nr_opcodes; i++) {
				o[who].opcodes[i] = test_below(12);
				for (int j = 0; j < 4 * 3; j++)
					taken |= o[j / 3].owns && j % 3 < o[j / 3].owner.nr_opcodes &&
						 o[j / 3].opcodes[j % 3] == o[who].opcodes[i];
			}
			o[who].owns = !taken;
			KUNIT_ASSERT_EQ(test, cxl_own_opcodes(cxl_mbox, &o[who].owner),
					taken ? -EBUSY : 0);
		}

		taken = false;
		for (int j = 0; j < 4 * 3; j++)
			taken |= o[j / 3].owns && j % 3 < o[j / 3].owner.nr_opcodes &&
				 o[j / 3].opcodes[j % 3] == opcode;
		guard(rwsem_read)(&cxl_memdev_rwsem);
		KUNIT_ASSERT_EQ(test, cxl_opcode_is_owned(cxl_mbox, opcode), taken);
	}
}

static struct kunit_case cxl_event_log_cases[] = {
	KUNIT_CASE(test_bound_count),
	KUNIT_CASE(test_return_codes),
	KUNIT_CASE(test_random_events),
	KUNIT_CASE(test_random_logs),
	KUNIT_CASE(test_random_poison),
	KUNIT_CASE(test_random_owners),
	{}
};

static struct kunit_suite cxl_event_log_suite = {
	.name = "cxl_event_log",
	.test_cases = cxl_event_log_cases,
};

kunit_test_suite(cxl_event_log_suite);
