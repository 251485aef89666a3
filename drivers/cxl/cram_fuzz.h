/* SPDX-License-Identifier: GPL-2.0 */
/*
 * For KUnit: a mailbox without a device, whose answers are bytes at random. They are
 * the same each time for the same test_seed=, a parameter of the module, and each test
 * says which it was.
 *
 * An answer can be shorter than what was asked for. What is behind it in the caller's
 * buffer is then as if it was sent, but marked: whoever believes it has believed what
 * the device has not sent.
 */
#ifndef __CXL_CRAM_FUZZ_H__
#define __CXL_CRAM_FUZZ_H__

#include <kunit/device.h>
#include <kunit/test.h>
#include <linux/moduleparam.h>
#include <linux/prandom.h>
#include <cxlmem.h>

static unsigned long test_seed = 4711;
module_param(test_seed, ulong, 0444);
MODULE_PARM_DESC(test_seed, "KUnit: what the tests do at random, they do again with the same number");

static struct rnd_state test_rnd;

/**
 * struct test_answers - what the mailbox is to answer, and what became of it
 * @shape: makes something of the random bytes, if not NULL. So many are sent as
 *	   cmd->size_out says; the rest, of all that there is room for, is to be marked.
 * @inspect: called for each command that is sent, if not NULL
 * @background: that the device goes on after this
 * @sent: commands
 * @failed: of these, those that had no answer, or an error for one
 */
static struct test_answers {
	void (*shape)(const struct cxl_mbox_cmd *cmd, size_t room);
	void (*inspect)(const struct cxl_mbox_cmd *cmd);
	bool background;
	unsigned int sent;
	unsigned int failed;
} test_answers;

static inline u32 test_below(u32 n)
{
	return prandom_u32_state(&test_rnd) % n;
}

static inline void test_seeded(struct kunit *test)
{
	kunit_info(test, "seed %lu\n", test_seed);
	prandom_seed_state(&test_rnd, test_seed);
	memset(&test_answers, 0, sizeof(test_answers));
}

/* All bytes at random, few of them, or all the same */
static inline void test_bytes(u8 *bytes, size_t size)
{
	switch (test_below(3)) {
	case 0:
		prandom_bytes_state(&test_rnd, bytes, size);
		break;
	case 1:
		memset(bytes, 0, size);
		for (int n = test_below(8); n && size; n--)
			bytes[test_below(size)] = prandom_u32_state(&test_rnd);
		break;
	default:
		memset(bytes, test_below(2) ? 0xff : 0, size);
	}
}

static int test_mbox_send(struct cxl_mailbox *cxl_mbox, struct cxl_mbox_cmd *cmd)
{
	size_t asked = cmd->size_out;

	test_answers.sent++;
	if (test_answers.inspect)
		test_answers.inspect(cmd);
	if (test_answers.background) {
		cmd->return_code = CXL_MBOX_CMD_RC_BACKGROUND;
		return 0;
	}
	test_answers.failed++;
	if (!test_below(16))
		return -ETIMEDOUT;
	/* Any, but not what goes on after its answer */
	if (!test_below(8)) {
		cmd->return_code = test_below(2) ? test_below(64) : test_below(1 << 16);
		if (cmd->return_code == CXL_MBOX_CMD_RC_BACKGROUND)
			cmd->return_code = CXL_MBOX_CMD_RC_BUSY;
		if (cmd->return_code != CXL_MBOX_CMD_RC_SUCCESS)
			return 0;
	}
	test_answers.failed--;

	cmd->return_code = CXL_MBOX_CMD_RC_SUCCESS;
	if (!cmd->payload_out)
		asked = 0;
	cmd->size_out = test_below(2) ? asked : test_below(asked + 1);
	if (asked) {
		test_bytes(cmd->payload_out, asked);
		if (test_answers.shape)
			test_answers.shape(cmd, asked);
	}
	return 0;
}

/* A memory device that is nothing but this mailbox */
static inline struct cxl_memdev *test_memdev(struct kunit *test, size_t payload_size)
{
	struct cxl_memdev *cxlmd = kunit_kzalloc(test, sizeof(*cxlmd), GFP_KERNEL);
	struct cxl_memdev_state *mds;
	static unsigned int nr;
	struct device *dev;
	char name[24];

	KUNIT_ASSERT_NOT_NULL(test, cxlmd);
	snprintf(name, sizeof(name), "cxl_cram_test%u", nr++);
	dev = kunit_device_register(test, name);
	KUNIT_ASSERT_NOT_ERR_OR_NULL(test, dev);
	mds = kunit_kzalloc(test, sizeof(*mds), GFP_KERNEL);
	KUNIT_ASSERT_NOT_NULL(test, mds);

	mds->cxlds.dev = dev;
	mds->cxlds.type = CXL_DEVTYPE_CLASSMEM;
	mds->cxlds.cxlmd = cxlmd;
	mds->cxlds.cxl_mbox.host = dev;
	mds->cxlds.cxl_mbox.payload_size = payload_size;
	mds->cxlds.cxl_mbox.mbox_send = test_mbox_send;
	mutex_init(&mds->event.log_lock);
	mutex_init(&mds->poison.mutex);
	INIT_LIST_HEAD(&mds->event.listeners);
	spin_lock_init(&mds->event.listeners_lock);
	cxlmd->cxlds = &mds->cxlds;
	cxlmd->dev.init_name = "cxl_cram_test";
	return cxlmd;
}

#endif /* __CXL_CRAM_FUZZ_H__ */
