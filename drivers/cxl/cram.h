/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Memory devices with inline compression: what the CXL core has to know about
 * them, and their protocol. From Documentation/driver-api/cxl/cram-device.rst,
 * which names every field.
 *
 * The core (core/region_cram.c) recognises regions of such devices and keeps
 * their mapping from being pulled away under resident pages; the driver
 * (cram.c) speaks the protocol.
 */
#ifndef __CXL_CRAM_H__
#define __CXL_CRAM_H__

#include <linux/bitmap.h>
#include <linux/bits.h>
#include <linux/device.h>
#include <linux/mutex.h>
#include <linux/range.h>
#include <linux/types.h>
#include <linux/uuid.h>

struct cxl_endpoint_decoder;
struct cxl_memdev;
struct cxl_region;
struct resource;

/* ---------------------------------------------------------- the protocol -- */

#define CXL_CRAM_FEAT_UUID						\
	UUID_INIT(0xbe07be5e, 0xc537, 0x4b02, 0xa7, 0x08, 0x89, 0xca,	\
		  0xb8, 0x0b, 0x33, 0xf2)

#define CXL_CRAM_EVENT_UUID						\
	UUID_INIT(0x8c84dd38, 0xeb40, 0x43b0, 0x8d, 0xe5, 0xf4, 0x43,	\
		  0xda, 0x6c, 0xe2, 0x64)

enum cxl_cram_opcode {
	CXL_CRAM_OP_GET_CAPS		= 0xc000,
	CXL_CRAM_OP_GET_CAPACITY	= 0xc001,
	CXL_CRAM_OP_GET_WATERMARKS	= 0xc002,
	CXL_CRAM_OP_SET_WATERMARKS	= 0xc003,
	CXL_CRAM_OP_GET_HOT_PAGES	= 0xc004,
	CXL_CRAM_OP_MEDIA_OPERATIONS	= 0x4402,
};

/* The unit of compression, and the least granularity of a region */
#define CXL_CRAM_BLOCK			4096

struct cxl_cram_caps {
	__le64 logical_bytes;
	__le64 physical_bytes;
	__le32 cells_per_page;
	__le32 block_bytes;
	__le16 max_ranges;
	__le16 max_answer_ms;
	__le32 flags;
#define CXL_CRAM_CAP_HOT_PAGES		BIT(0)
	__le64 reset_count;
	u8 reserved[24];
} __packed;

struct cxl_cram_capacity {
	__le64 physical_free;
	__le64 low_water_free;
	__le64 over_capacity;
	__le64 unsettled_bytes;
	__le64 reset_count;
	__le32 flags;
	u8 reserved[20];
} __packed;

struct cxl_cram_watermarks {
	__le64 low;
	__le64 critical;
} __packed;

struct cxl_cram_hot_in {
	__le16 max;
	u8 reserved[6];
} __packed;

struct cxl_cram_hot_pages {
	__le16 count;
	u8 reserved[6];
	struct cxl_cram_hot_page {
		__le64 dpa;
		__le32 reads;
		u8 reserved[4];
	} __packed pages[];
} __packed;

/* CXL 3.2 8.2.10.9.5.3 Media Operations */
struct cxl_cram_media_op {
	u8 class;
#define CXL_CRAM_MEDIA_SANITIZE		1
	u8 subclass;
#define CXL_CRAM_MEDIA_WRITE_ZEROES	1
	u8 reserved[2];
	__le32 range_count;
	struct cxl_cram_media_range {
		__le64 dpa;
		__le64 length;
	} __packed ranges[];
} __packed;

/* Data of a vendor event record */
struct cxl_cram_event {
	u8 kind;
#define CXL_CRAM_EVENT_HOT_PAGES	5
	u8 reserved[7];
	__le64 physical_free;
	__le64 over_capacity;
	u8 reserved2[56];
} __packed;

/* -------------------------------------------- what the core remembers -- */

/* Device enabled commands of the interface */
enum cxl_cram_cmd_enabled_bits {
	CXL_CRAM_ENABLED_GET_CAPS,
	CXL_CRAM_ENABLED_GET_CAPACITY,
	CXL_CRAM_ENABLED_GET_WATERMARKS,
	CXL_CRAM_ENABLED_SET_WATERMARKS,
	CXL_CRAM_ENABLED_MEDIA_OPERATIONS,
	CXL_CRAM_ENABLED_MANDATORY,
	CXL_CRAM_ENABLED_GET_HOT_PAGES = CXL_CRAM_ENABLED_MANDATORY,
	CXL_CRAM_ENABLED_MAX
};

/**
 * struct cxl_cram_state - what the Command Effects Log says of the interface
 * @enabled_cmds: commands that the device has, the mandatory ones first
 */
struct cxl_cram_state {
	DECLARE_BITMAP(enabled_cmds, CXL_CRAM_ENABLED_MAX);
};

/* CXL 3.2 Table 8-127: the command can answer Background Started */
#define CXL_CRAM_EFFECT_BACKGROUND	BIT(6)

/*
 * Called for each entry of the log; opcodes of others are ignored, and so are commands
 * that go on after their answer: those of the interface do not.
 */
static inline int cxl_set_cram_cmd_enabled(struct cxl_cram_state *state,
					   u16 opcode, u16 effects)
{
	static const u16 opcodes[] = {
		[CXL_CRAM_ENABLED_GET_CAPS] = CXL_CRAM_OP_GET_CAPS,
		[CXL_CRAM_ENABLED_GET_CAPACITY] = CXL_CRAM_OP_GET_CAPACITY,
		[CXL_CRAM_ENABLED_GET_WATERMARKS] = CXL_CRAM_OP_GET_WATERMARKS,
		[CXL_CRAM_ENABLED_SET_WATERMARKS] = CXL_CRAM_OP_SET_WATERMARKS,
		[CXL_CRAM_ENABLED_MEDIA_OPERATIONS] = CXL_CRAM_OP_MEDIA_OPERATIONS,
		[CXL_CRAM_ENABLED_GET_HOT_PAGES] = CXL_CRAM_OP_GET_HOT_PAGES,
	};

	if (effects & CXL_CRAM_EFFECT_BACKGROUND)
		return 0;
	for (int i = 0; i < ARRAY_SIZE(opcodes); i++) {
		if (opcodes[i] == opcode) {
			set_bit(i, state->enabled_cmds);
			return 1;
		}
	}
	return 0;
}

/* ---------------------------------------------------- regions of such -- */

/**
 * struct cxl_cram_endpoint - what one device contributes to a region
 * @cxlmd: the device; referenced
 * @dpa: what the region maps of it
 * @ctrl: control register of its decoder, mapped while the driver is bound;
 *	  NULL where it has none
 */
struct cxl_cram_endpoint {
	struct cxl_memdev *cxlmd;
	struct range dpa;
	void __iomem *ctrl;
};

/**
 * struct cxl_cram_region - a committed region of compressing devices
 * @dev: child of the region's device; cram.c binds to it
 * @cxlr: the region
 * @hpa_range: host physical addresses
 * @granularity: consecutive bytes that one endpoint holds
 * @lock: Protect @close
 * @close: set by the driver while it is bound: nothing new to the memory, or
 *	   -EBUSY while something is there
 * @ways: elements of @endpoints
 * @endpoints: in the order of the interleave
 *
 * All but @close is constant, so that nobody has to take the region's lock.
 */
struct cxl_cram_region {
	struct device dev;
	struct cxl_region *cxlr;
	struct range hpa_range;
	int granularity;
	struct mutex lock; /* over @close */
	int (*close)(struct cxl_cram_region *cxlr_cram);
	int ways;
	struct cxl_cram_endpoint endpoints[] __counted_by(ways);
};

struct cxl_cram_region *to_cxl_cram_region(struct device *dev);
void cxl_cram_region_set_close(struct cxl_cram_region *cxlr_cram,
			       int (*close)(struct cxl_cram_region *));
bool cxl_cram_region_stuck(struct cxl_cram_region *cxlr_cram);
void cxl_cram_region_set_stuck(struct cxl_cram_region *cxlr_cram, int nid);
bool cxl_cram_endpoint_decoded(const struct cxl_cram_endpoint *ep);
bool cxl_cram_region_decoded(const struct cxl_cram_region *cxlr_cram);
bool cxl_cram_region_to_dpa(const struct cxl_cram_region *cxlr_cram, int pos,
			    const struct range *hpa, struct range *dpa);
bool cxl_cram_region_to_hpa(const struct cxl_cram_region *cxlr_cram, int pos,
			    u64 dpa, u64 *hpa);

#ifdef CONFIG_CXL_CRAM_REGION
extern const struct device_type cxl_cram_region_type;
int devm_cxl_add_ram_region(struct cxl_region *cxlr);
int cxl_cram_close_region(struct cxl_region *cxlr);
void cxl_cram_retire_region(struct cxl_region *cxlr);
int cxl_cram_warn_mapped(struct cxl_region *cxlr);
bool cxl_cram_may_own(const struct resource *res);
void cxl_cram_release_region(struct cxl_endpoint_decoder *cxled);
#define CXL_CRAM_REGION_TYPE() (&cxl_cram_region_type)
#else
static inline int cxl_cram_close_region(struct cxl_region *cxlr)
{
	return 0;
}

static inline void cxl_cram_retire_region(struct cxl_region *cxlr)
{
}

static inline int cxl_cram_warn_mapped(struct cxl_region *cxlr)
{
	return 0;
}

static inline bool cxl_cram_may_own(const struct resource *res)
{
	return false;
}

static inline void cxl_cram_release_region(struct cxl_endpoint_decoder *cxled)
{
}

#define devm_cxl_add_ram_region(cxlr) devm_cxl_add_dax_region(cxlr)
#define CXL_CRAM_REGION_TYPE() NULL
#endif

#endif /* __CXL_CRAM_H__ */
