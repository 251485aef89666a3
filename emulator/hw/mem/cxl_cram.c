/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * CXL memory device with inline compression
 *
 * A type 3 device that shows more memory than it has cells for. The interface
 * is that of Documentation/driver-api/cxl/cram-device.rst in the cram
 * repository; this file implements it and must not do more for a host than
 * that page says.
 *
 * Content lives in the volatile memdev, as plain as in any type 3 device. What
 * is emulated is the books: how many bytes of cells the content of each page
 * would hold. Two ways to keep them:
 *
 * - Fast (exact=off): a committed decoder without interleaving aliases the
 *   memdev into the fixed window, and stores are found afterwards by dirty
 *   logging. Nothing can be refused then; what did not fit is counted.
 * - Exact (exact=on): every access traps. A store that finds no cell is dropped
 *   and poisons its line.
 *
 * In both, a page that was stored to is pending until a thread has compressed
 * it, and a pending page counts at its worst.
 *
 * Locks: the big lock serializes everything that the guest or a monitor asks
 * for. @lock protects the books; the compressing thread takes only that one.
 * Order: big lock, then @lock.
 *
 * No store that came before a doorbell is missing in an answer, because:
 *
 * - A store through the alias by a vCPU sets the page's dirty bit before it
 *   stores, or finds in its TLB that the bit has been set since the last
 *   snapshot. Stores by devices set the bit when they are done, before the
 *   device tells anybody.
 * - cram_scan() takes a snapshot, which clears the bits, makes every TLB
 *   notice, and then waits until each vCPU has ended the translation block
 *   that it is in. A vCPU that set the bit before the snapshot and had not
 *   stored yet has stored by then. Only after that are the pages of the
 *   snapshot made pending, and content that is read later has the store.
 * - The thread reads a page that is pending. A store that it does not see, or
 *   half, sets the dirty bit again, and the page is pending again from the
 *   next scan on; one that a scan reports while the page is being compressed
 *   makes the thread throw its result away (@redirtied).
 * - Get Capacity is executed after a scan that began when the doorbell was
 *   set. So a store before the doorbell is in a page that is pending, or that
 *   was read after the store.
 *
 * The wait for the vCPUs gives up the big lock, which must not happen inside
 * an MMIO handler: accesses of other vCPUs to the same device would fail
 * meanwhile. So commands that need a scan are latched by the doorbell and
 * executed in a bottom half. Whatever was true before a scan has to be looked
 * at again after it: the device may have been reset or unplugged.
 */

#include "qemu/osdep.h"
#include "qemu/bitmap.h"
#include "qemu/bswap.h"
#include "qemu/cutils.h"
#include "qemu/main-loop.h"
#include "qemu/module.h"
#include "qemu/thread.h"
#include "qemu/timer.h"
#include "qemu/units.h"
#include "qapi/error.h"
#include "qapi/qapi-commands-cxl.h"
#include "exec/ramblock.h"
#include "hw/cxl/cxl.h"
#include "hw/cxl/cxl_host.h"
#include "hw/cxl/cxl_mailbox.h"
#include "hw/pci/msix.h"
#include "hw/qdev-properties.h"
#include "system/hostmem.h"
#include <lz4.h>
#include <zstd.h>

#define TYPE_CXL_CRAM "cxl-cram"
OBJECT_DECLARE_TYPE(CXLCramDev, CXLCramClass, CXL_CRAM)

#define CRAM_PAGE           4096
#define CRAM_LINE           CXL_CACHE_LINE_SIZE
#define CRAM_LINES          (CRAM_PAGE / CRAM_LINE)

/* What a page holds; the same rules as drivers/cxl/cram_sim.c */
#define CRAM_METADATA       64
#define CRAM_GRANULE        64
#define CRAM_WORST          (CRAM_PAGE + CRAM_METADATA)

#define CRAM_VERSION        1
#define CRAM_MAX_ANSWER_MS  100
#define CRAM_FLAG_HOT       BIT(0)
#define CRAM_FLAG_DROPS     BIT(1)
#define CRAM_BELOW_LOW      BIT(0)
#define CRAM_BELOW_CRITICAL BIT(1)

#define CRAM_OP_CAPACITY        0xc001
#define CRAM_OP_HOT_PAGES       0xc004
#define CRAM_OP_MEDIA           0x4402

enum {
    CRAM_EVENT_BELOW_LOW = 1,
    CRAM_EVENT_BELOW_CRITICAL,
    CRAM_EVENT_ABOVE_LOW,
    CRAM_EVENT_OVER_CAPACITY,
    CRAM_EVENT_HOT,
};

/* Reads of one page after which hot pages are announced (exact mode) */
#define CRAM_HOT_READS      4096

/*
 * Milliseconds between two looks at the dirty bits: soon after stores, and
 * rarely when there are none. Nothing depends on them: answers look for
 * themselves.
 */
#define CRAM_SCAN_BUSY      20
#define CRAM_SCAN_IDLE      320

/* Settled pages after which the watermarks are compared */
#define CRAM_CHECK_PAGES    256

/* Poisoned pages above which no memory is mapped directly any more */
#define CRAM_MAX_TRAPS      256

#define CRAM_NO_PAGE        UINT64_MAX

static const QemuUUID cram_feature_uuid = {
    .data = UUID(0xbe07be5e, 0xc537, 0x4b02, 0xa7, 0x08,
                 0x89, 0xca, 0xb8, 0x0b, 0x33, 0xf2)
};

static const QemuUUID cram_event_uuid = {
    .data = UUID(0x8c84dd38, 0xeb40, 0x43b0, 0x8d, 0xe5,
                 0xf4, 0x43, 0xda, 0x6c, 0xe2, 0x64)
};

/* One page of the window that traps although the rest is mapped */
typedef struct CramTrap {
    CXLCramDev *s;
    MemoryRegion mr;
    uint64_t page;              /* CRAM_NO_PAGE: not in use */
    MemoryRegion *window;
    QLIST_ENTRY(CramTrap) node;
} CramTrap;

/* What a monitor has made of the answers to one command */
typedef struct CramAnswer {
    uint16_t opcode;
    bool execute;
    bool background;
    int return_code;            /* -1: the command's own */
    uint8_t *payload;
    uint32_t size;              /* of @payload */
    uint32_t offset;
    int64_t length;             /* to be reported; -1: as it is */
    uint32_t late;              /* milliseconds; 0: before the answer */
    uint32_t times;             /* answers left; 0: without end */
    QLIST_ENTRY(CramAnswer) node;
} CramAnswer;

/* A command that was answered and is carried out later */
typedef struct CramLate {
    CXLCramDev *s;
    QEMUTimer *timer;
    uint16_t opcode;
    bool background;
    size_t len;
    uint8_t in[CXL_MAILBOX_MAX_PAYLOAD_SIZE];
    QLIST_ENTRY(CramLate) node;
} CramLate;

struct CXLCramClass {
    CXLType3Class parent_class;

    DeviceReset parent_reset;
    void (*parent_realize)(PCIDevice *dev, Error **errp);
    PCIUnregisterFunc *parent_exit;
    PCIConfigWriteFunc *parent_config_write;
};

struct CXLCramDev {
    CXLType3Dev parent_obj;

    /* Properties */
    uint64_t physical;
    char *compressor;
    uint64_t low_default;
    uint64_t critical_default;
    bool exact;
    bool hot_list;

    /* Constant while realized */
    bool zstd;
    MemoryRegion *ram;
    uint8_t *content;
    uint64_t nr_pages;

    /* The big lock's */
    bool online;                /* between realize and exit */
    bool powered;               /* the reset of power-on has been */
    uint64_t reset_count;
    uint64_t generation;        /* of the mailbox: a reset ends it */
    uint16_t opcode;            /* of the command that was deferred */
    bool stuck;                 /* it was dropped */
    uint64_t answers;
    uint64_t zeroed;
    uint64_t low, critical;
    bool below_low, below_critical;
    uint64_t over_told;
    bool hot_told;
    int scan_interval;
    QEMUBH *answer_bh, *check_bh, *wipe_bh;
    QEMUTimer *answer_timer, *scan_timer;
    struct {
        int64_t physical_free;
        uint16_t opcode;
        uint32_t delay;
        uint16_t return_code;
        bool drop;
        bool no_interrupts;
    } fault;
    QLIST_HEAD(, CramAnswer) set_answers;
    QLIST_HEAD(, CramLate) late;

    /* What is mapped into fixed windows */
    MemoryRegion alias[CXL_HDM_DECODER_COUNT];
    struct {
        MemoryRegion *window;   /* NULL: not mapped */
        hwaddr offset;          /* in there */
        uint64_t dpa, size;
    } map[CXL_HDM_DECODER_COUNT];
    QLIST_HEAD(, CramTrap) traps;

    /*
     * Poison: one bit a line. A poisoned line is good again when all its bytes
     * have been stored to; @filled has the bytes that were, for some lines.
     */
    unsigned long *poison;
    uint64_t nr_poisoned;
    GHashTable *filled;

    /* The books, under @lock */
    QemuMutex lock;
    uint16_t *cells;            /* bytes held; 0 while pending */
    unsigned long *pending;     /* stored to, not compressed since */
    unsigned long *marked;      /* stored to since somebody set a mark */
    uint32_t *reads;
    uint64_t nr_pending, nr_marked;
    uint64_t held;              /* by pages that are not pending */
    uint64_t low_water;
    uint64_t over_capacity;
    uint64_t stores;
    bool hot;                   /* a page was read often */

    /* The thread, under @lock */
    QemuThread thread;
    QemuCond work;
    bool stop;
    uint64_t inflight;          /* the page that it compresses */
    bool redirtied;             /* that page was stored to meanwhile */
};

/* --- compressing ---------------------------------------------------------- */

typedef struct CramScratch {
    bool zstd;
    ZSTD_CCtx *zctx;
    uint8_t page[CRAM_PAGE] QEMU_ALIGNED(8);
    /* A result that is longer saves nothing: the page is stored as it is */
    uint8_t block[CRAM_PAGE - CRAM_GRANULE];
} CramScratch;

static CramScratch *cram_scratch_new(bool zstd)
{
    CramScratch *c = g_new(CramScratch, 1);

    c->zstd = zstd;
    c->zctx = zstd ? ZSTD_createCCtx() : NULL;
    return c;
}

static void cram_scratch_free(CramScratch *c)
{
    ZSTD_freeCCtx(c->zctx);
    g_free(c);
}

/* Bytes of cells that the content of c->page holds */
static uint16_t cram_compress(CramScratch *c)
{
    size_t len;

    /* All words equal their successors: one word repeats */
    if (!memcmp(c->page, c->page + 8, CRAM_PAGE - 8)) {
        return buffer_is_zero(c->page, 8) ? 0 : CRAM_METADATA;
    }
    if (c->zstd) {
        len = ZSTD_compressCCtx(c->zctx, c->block, sizeof(c->block),
                                c->page, CRAM_PAGE, 1);
        if (ZSTD_isError(len)) {
            return CRAM_WORST;
        }
    } else {
        len = LZ4_compress_default((char *)c->page, (char *)c->block,
                                   CRAM_PAGE, sizeof(c->block));
        if (!len) {
            return CRAM_WORST;
        }
    }
    return CRAM_METADATA + ROUND_UP(len, CRAM_GRANULE);
}

/* --- the books: @lock held ------------------------------------------------ */

static uint64_t cram_free_of(CXLCramDev *s, uint64_t held)
{
    return s->physical > held ? s->physical - held : 0;
}

/* Cells held at most: pending pages at their worst */
static uint64_t cram_bound(CXLCramDev *s)
{
    return s->held + s->nr_pending * CRAM_WORST;
}

static void cram_page_mark(CXLCramDev *s, uint64_t page)
{
    if (!test_and_set_bit(page, s->marked)) {
        s->nr_marked++;
    }
    s->stores++;
}

static void cram_page_pend(CXLCramDev *s, uint64_t page)
{
    if (page == s->inflight) {
        s->redirtied = true;
    }
    if (!test_and_set_bit(page, s->pending)) {
        s->nr_pending++;
        s->held -= s->cells[page];
        s->cells[page] = 0;
    }
}

/*
 * What the page holds is known now. Pages that are pending do not count against
 * it, because what they held is no longer known to be held: nobody is blamed
 * for cells that may be free.
 */
static void cram_page_settle(CXLCramDev *s, uint64_t page, uint16_t cells)
{
    if (page == s->inflight) {
        s->redirtied = true;
    }
    if (test_and_clear_bit(page, s->pending)) {
        s->nr_pending--;
    } else {
        s->held -= s->cells[page];
    }
    s->cells[page] = cells;
    s->held += cells;
    if (!s->exact && cells && s->held > s->physical) {
        s->over_capacity++;
    }
    s->low_water = MIN(s->low_water, cram_free_of(s, s->held));
}

static void *cram_thread(void *opaque)
{
    CXLCramDev *s = opaque;
    CramScratch *scratch = cram_scratch_new(s->zstd);
    uint64_t page = 0;
    unsigned int settled = 0;

    qemu_mutex_lock(&s->lock);
    while (!s->stop) {
        uint16_t cells;

        page = s->nr_pending ? find_next_bit(s->pending, s->nr_pages, page)
                             : s->nr_pages;
        if (page >= s->nr_pages) {
            page = 0;
            if (s->nr_pending) {
                continue;
            }
            if (settled) {
                settled = 0;
                qemu_bh_schedule(s->check_bh);
            }
            qemu_cond_wait(&s->work, &s->lock);
            continue;
        }
        s->inflight = page;
        s->redirtied = false;
        qemu_mutex_unlock(&s->lock);

        memcpy(scratch->page, s->content + page * CRAM_PAGE, CRAM_PAGE);
        cells = cram_compress(scratch);

        qemu_mutex_lock(&s->lock);
        s->inflight = CRAM_NO_PAGE;
        if (!s->redirtied) {
            cram_page_settle(s, page, cells);
            if (++settled == CRAM_CHECK_PAGES) {
                settled = 0;
                qemu_bh_schedule(s->check_bh);
            }
        }
        page++;
    }
    qemu_mutex_unlock(&s->lock);
    cram_scratch_free(scratch);
    return NULL;
}

/* --- events --------------------------------------------------------------- */

typedef struct CramEvent {
    CXLEventRecordHdr hdr;
    uint8_t kind;
    uint8_t reserved[7];
    uint64_t physical_free;
    uint64_t over_capacity;
    uint8_t reserved2[56];
} QEMU_PACKED CramEvent;

QEMU_BUILD_BUG_ON(sizeof(CramEvent) != CXL_EVENT_RECORD_SIZE);

static bool cram_event_outstanding(CXLEventLog *log, uint8_t kind)
{
    CXLEvent *e;

    QEMU_LOCK_GUARD(&log->lock);
    QSIMPLEQ_FOREACH(e, &log->events, node) {
        CramEvent *event = (CramEvent *)&e->data;

        if (!memcmp(&event->hdr.id, &cram_event_uuid, sizeof(QemuUUID)) &&
            event->kind == kind) {
            return true;
        }
    }
    return false;
}

static void cram_event(CXLCramDev *s, uint8_t kind, uint64_t physical_free,
                       uint64_t over_capacity)
{
    CXLType3Dev *ct3d = CXL_TYPE3(s);
    CXLEventLogType type = kind == CRAM_EVENT_ABOVE_LOW ||
                           kind == CRAM_EVENT_HOT ? CXL_EVENT_TYPE_INFO
                                                  : CXL_EVENT_TYPE_WARN;
    CramEvent event = {
        .hdr.id = cram_event_uuid,
        .hdr.length = sizeof(event),
        .hdr.flags[0] = type,
        .kind = kind,
        .physical_free = cpu_to_le64(physical_free),
        .over_capacity = cpu_to_le64(over_capacity),
    };

    if (cram_event_outstanding(&ct3d->cxl_dstate.event_logs[type], kind)) {
        return;
    }
    if (cxl_event_insert(&ct3d->cxl_dstate, type,
                         (CXLEventRecordRaw *)&event) &&
        !s->fault.no_interrupts) {
        cxl_event_irq_assert(ct3d);
    }
}

/*
 * Compare the books with the watermarks. Below one when even without the
 * pending pages too little is free, above it again when enough is free at
 * their worst: both are certain, whatever those pages will turn out to hold.
 */
static void cram_check(void *opaque)
{
    CXLCramDev *s = opaque;
    uint64_t free_most, free_least, over;
    bool hot;

    if (!s->online) {
        return;
    }
    WITH_QEMU_LOCK_GUARD(&s->lock) {
        free_most = cram_free_of(s, s->held);
        free_least = cram_free_of(s, cram_bound(s));
        over = s->over_capacity;
        hot = s->hot;
    }

    if (!s->below_low && free_most < s->low) {
        s->below_low = true;
        cram_event(s, CRAM_EVENT_BELOW_LOW, free_least, over);
    } else if (s->below_low && free_least >= s->low) {
        s->below_low = false;
        if (s->low) {
            cram_event(s, CRAM_EVENT_ABOVE_LOW, free_least, over);
        }
    }
    if (!s->below_critical && free_most < s->critical) {
        s->below_critical = true;
        cram_event(s, CRAM_EVENT_BELOW_CRITICAL, free_least, over);
    } else if (s->below_critical && free_least >= s->critical) {
        s->below_critical = false;
    }
    if (over != s->over_told) {
        s->over_told = over;
        cram_event(s, CRAM_EVENT_OVER_CAPACITY, free_least, over);
    }
    if (hot && !s->hot_told) {
        s->hot_told = true;
        cram_event(s, CRAM_EVENT_HOT, free_least, over);
    }
}

/* --- finding stores (fast mode) ------------------------------------------- */

/*
 * Make all pages pending that were stored to. Gives up the big lock: false if
 * the device is gone now. Not from an MMIO handler.
 */
static bool cram_scan(CXLCramDev *s)
{
    const uint64_t chunk = 256 * KiB;
    uint64_t size = s->nr_pages * CRAM_PAGE;
    DirtyBitmapSnapshot *snap;
    uint64_t found = 0;
    bool online;

    if (s->exact) {
        return true;
    }
    object_ref(OBJECT(s));
    snap = memory_region_snapshot_and_clear_dirty(s->ram, 0, size,
                                                  DIRTY_MEMORY_VGA);
    online = s->online;
    if (online) {
        QEMU_LOCK_GUARD(&s->lock);
        for (uint64_t start = 0; start < size; start += chunk) {
            uint64_t len = MIN(chunk, size - start);

            if (!memory_region_snapshot_get_dirty(s->ram, snap, start, len)) {
                continue;
            }
            for (uint64_t a = start; a < start + len; a += CRAM_PAGE) {
                if (memory_region_snapshot_get_dirty(s->ram, snap, a,
                                                     CRAM_PAGE)) {
                    cram_page_mark(s, a / CRAM_PAGE);
                    cram_page_pend(s, a / CRAM_PAGE);
                    found++;
                }
            }
        }
        if (found) {
            qemu_cond_signal(&s->work);
        }
    }
    g_free(snap);
    if (found) {
        s->scan_interval = CRAM_SCAN_BUSY;
    }
    object_unref(OBJECT(s));
    return online;
}

static void cram_scan_timer(void *opaque)
{
    CXLCramDev *s = opaque;

    /* cram_scan() makes it short again */
    s->scan_interval = MIN(s->scan_interval * 2, CRAM_SCAN_IDLE);
    object_ref(OBJECT(s));
    if (cram_scan(s)) {
        timer_mod(s->scan_timer, qemu_clock_get_ms(QEMU_CLOCK_REALTIME) +
                                 s->scan_interval);
    }
    object_unref(OBJECT(s));
}

/* --- mapping -------------------------------------------------------------- */

static void cram_trap_remove(CramTrap *t)
{
    memory_region_del_subregion(t->window, &t->mr);
    t->page = CRAM_NO_PAGE;
}

static void cram_unmap(CXLCramDev *s)
{
    CramTrap *t;

    QLIST_FOREACH(t, &s->traps, node) {
        if (t->page != CRAM_NO_PAGE) {
            cram_trap_remove(t);
        }
    }
    for (int i = 0; i < CXL_HDM_DECODER_COUNT; i++) {
        if (s->map[i].window) {
            memory_region_del_subregion(s->map[i].window, &s->alias[i]);
            object_unparent(OBJECT(&s->alias[i]));
            s->map[i].window = NULL;
        }
    }
}

static MemTxResult cram_read(CXLType3Dev *ct3d, uint64_t dpa, uint64_t *data,
                             unsigned size, MemTxAttrs attrs);
static MemTxResult cram_write(CXLType3Dev *ct3d, uint64_t dpa, uint64_t data,
                              unsigned size, MemTxAttrs attrs);

static MemTxResult cram_trap_read(void *opaque, hwaddr offset, uint64_t *data,
                                  unsigned size, MemTxAttrs attrs)
{
    CramTrap *t = opaque;

    return cram_read(CXL_TYPE3(t->s), t->page * CRAM_PAGE + offset, data, size,
                     attrs);
}

static MemTxResult cram_trap_write(void *opaque, hwaddr offset, uint64_t data,
                                   unsigned size, MemTxAttrs attrs)
{
    CramTrap *t = opaque;

    return cram_write(CXL_TYPE3(t->s), t->page * CRAM_PAGE + offset, data, size,
                      attrs);
}

static const MemoryRegionOps cram_trap_ops = {
    .read_with_attrs = cram_trap_read,
    .write_with_attrs = cram_trap_write,
    .endianness = DEVICE_LITTLE_ENDIAN,
    .valid = {
        .min_access_size = 1,
        .max_access_size = 8,
        .unaligned = true,
    },
    .impl = {
        .min_access_size = 1,
        .max_access_size = 8,
        .unaligned = true,
    },
};

/*
 * A page with poison must trap where the rest is mapped. Traps are used again
 * and only freed with the device: a vCPU may still be in one that was removed.
 */
static void cram_trap_add(CXLCramDev *s, uint64_t page)
{
    uint64_t dpa = page * CRAM_PAGE;
    CramTrap *t, *unused = NULL;
    int i;

    for (i = 0; i < CXL_HDM_DECODER_COUNT; i++) {
        if (s->map[i].window && dpa >= s->map[i].dpa &&
            dpa - s->map[i].dpa < s->map[i].size) {
            break;
        }
    }
    if (i == CXL_HDM_DECODER_COUNT) {
        return;
    }
    QLIST_FOREACH(t, &s->traps, node) {
        if (t->page == page) {
            return;
        }
        if (t->page == CRAM_NO_PAGE) {
            unused = t;
        }
    }
    if (!unused) {
        unused = g_new0(CramTrap, 1);
        unused->s = s;
        memory_region_init_io(&unused->mr, OBJECT(s), &cram_trap_ops, unused,
                              "cxl-cram-poison", CRAM_PAGE);
        /* Not registers: vCPUs come here while the device's mailbox is used */
        unused->mr.disable_reentrancy_guard = true;
        QLIST_INSERT_HEAD(&s->traps, unused, node);
    }
    unused->page = page;
    unused->window = s->map[i].window;
    memory_region_add_subregion_overlap(unused->window,
                                        s->map[i].offset + dpa - s->map[i].dpa,
                                        &unused->mr, 2);
}

static uint64_t cram_poisoned_pages(CXLCramDev *s, bool trap)
{
    uint64_t lines = s->nr_pages * CRAM_LINES, line = 0, pages = 0;

    while ((line = find_next_bit(s->poison, lines, line)) < lines) {
        pages++;
        if (trap) {
            cram_trap_add(s, line / CRAM_LINES);
        }
        line = ROUND_UP(line + 1, CRAM_LINES);
    }
    return pages;
}

static uint64_t cram_decoder_reg64(CXLCramDev *s, int lo, int hi, int which)
{
    int hdm_inc = R_CXL_HDM_DECODER1_BASE_LO - R_CXL_HDM_DECODER0_BASE_LO;
    uint32_t *regs = CXL_TYPE3(s)->cxl_cstate.crb.cache_mem_registers;

    return (ldl_le_p(regs + lo + which * hdm_inc) & 0xf0000000) |
           (uint64_t)ldl_le_p(regs + hi + which * hdm_inc) << 32;
}

/*
 * Map what the committed decoders say. Anything interleaved, or behind a
 * decoder of a host bridge or a switch, keeps trapping: slower, and just as
 * correct.
 */
static void cram_hdm_changed(CXLType3Dev *ct3d)
{
    CXLCramDev *s = CXL_CRAM(ct3d);
    int hdm_inc = R_CXL_HDM_DECODER1_BASE_LO - R_CXL_HDM_DECODER0_BASE_LO;
    uint32_t *regs = ct3d->cxl_cstate.crb.cache_mem_registers;
    uint64_t capacity = s->nr_pages * CRAM_PAGE, dpa = 0;

    if (!s->online) {
        return;
    }
    memory_region_transaction_begin();
    cram_unmap(s);
    /* Without media every access has to trap, to be told so */
    for (int i = 0; i < CXL_HDM_DECODER_COUNT &&
                    !cxl_dev_media_disabled(&ct3d->cxl_dstate); i++) {
        uint64_t base = cram_decoder_reg64(s, R_CXL_HDM_DECODER0_BASE_LO,
                                           R_CXL_HDM_DECODER0_BASE_HI, i);
        uint64_t size = cram_decoder_reg64(s, R_CXL_HDM_DECODER0_SIZE_LO,
                                           R_CXL_HDM_DECODER0_SIZE_HI, i);
        uint32_t ctrl = ldl_le_p(regs + R_CXL_HDM_DECODER0_CTRL + i * hdm_inc);
        CXLFixedWindow *fw;
        uint64_t skip;

        if (s->exact || !size ||
            !FIELD_EX32(ctrl, CXL_HDM_DECODER0_CTRL, COMMITTED) ||
            FIELD_EX32(ctrl, CXL_HDM_DECODER0_CTRL, IW) ||
            cram_poisoned_pages(s, false) > CRAM_MAX_TRAPS) {
            break;
        }
        skip = cram_decoder_reg64(s, R_CXL_HDM_DECODER0_DPA_SKIP_LO,
                                  R_CXL_HDM_DECODER0_DPA_SKIP_HI, i);
        /* What lies beyond the capacity is nobody's: it goes on trapping */
        if (skip > capacity - dpa || size > capacity - dpa - skip) {
            break;
        }
        dpa += skip;
        fw = cxl_direct_window(PCI_DEVICE(s), base, size);
        if (fw) {
            s->map[i].window = &fw->mr;
            s->map[i].offset = base - fw->base;
            s->map[i].dpa = dpa;
            s->map[i].size = size;
            memory_region_init_alias(&s->alias[i], OBJECT(s), "cxl-cram-direct",
                                     s->ram, dpa, size);
            memory_region_add_subregion_overlap(&fw->mr, s->map[i].offset,
                                                &s->alias[i], 1);
        }
        dpa += size;
    }
    cram_poisoned_pages(s, true);
    memory_region_transaction_commit();
}

/* --- poison --------------------------------------------------------------- */

static void cram_poison_bits(CXLCramDev *s, uint64_t dpa, uint64_t len,
                             bool poisoned)
{
    uint64_t first = dpa / CRAM_LINE;
    uint64_t last = MIN(DIV_ROUND_UP(dpa + len, CRAM_LINE),
                        s->nr_pages * CRAM_LINES);

    if (!poisoned && !s->nr_poisoned) {
        return;
    }
    for (uint64_t line = first; line < last; line++) {
        if (test_bit(line, s->poison) != poisoned) {
            change_bit(line, s->poison);
            s->nr_poisoned += poisoned ? 1 : -1;
        }
        g_hash_table_remove(s->filled, &line);
    }
    /* Pages begin to trap, or cease to */
    if (!s->exact) {
        cram_hdm_changed(CXL_TYPE3(s));
    }
}

/* By a command, which keeps the list */
static void cram_poison_changed(CXLType3Dev *ct3d, uint64_t dpa, uint64_t len,
                                bool poisoned)
{
    CXLCramDev *s = CXL_CRAM(ct3d);

    if (dpa < s->nr_pages * CRAM_PAGE) {
        cram_poison_bits(s, dpa, MIN(len, s->nr_pages * CRAM_PAGE - dpa),
                         poisoned);
    }
}

/* What the list has no room for is missing there, and it says that it overflowed */
static void cram_poison_list_insert(CXLType3Dev *ct3d, uint64_t dpa,
                                    uint64_t len, uint8_t type)
{
    CXLPoison *p;

    if (ct3d->poison_list_cnt >= CXL_POISON_LIST_LIMIT) {
        if (!ct3d->poison_list_overflowed) {
            cxl_set_poison_list_overflowed(ct3d);
        }
        return;
    }
    p = g_new0(CXLPoison, 1);
    p->start = dpa;
    p->length = len;
    p->type = type;
    QLIST_INSERT_HEAD(&ct3d->poison_list, p, node);
    ct3d->poison_list_cnt++;
}

static void cram_poison_list_add(CXLType3Dev *ct3d, uint64_t dpa, uint64_t len)
{
    CXLPoison *p;

    QLIST_FOREACH(p, &ct3d->poison_list, node) {
        if (p->type == CXL_POISON_TYPE_INTERNAL &&
            (p->start + p->length == dpa || dpa + len == p->start)) {
            p->start = MIN(p->start, dpa);
            p->length += len;
            return;
        }
    }
    cram_poison_list_insert(ct3d, dpa, len, CXL_POISON_TYPE_INTERNAL);
}

static void cram_poison_list_remove(CXLType3Dev *ct3d, uint64_t dpa,
                                    uint64_t len)
{
    uint64_t end = dpa + len;
    CXLPoison *p, *next;

    QLIST_FOREACH_SAFE(p, &ct3d->poison_list, node, next) {
        uint64_t p_end = p->start + p->length;

        if (p->start >= end || p_end <= dpa) {
            continue;
        }
        if (p->start < dpa && p_end > end) {
            p->length = dpa - p->start;
            cram_poison_list_insert(ct3d, end, p_end - end, p->type);
        } else if (p->start < dpa) {
            p->length = dpa - p->start;
        } else if (p_end > end) {
            p->start = end;
            p->length = p_end - end;
        } else {
            QLIST_REMOVE(p, node);
            ct3d->poison_list_cnt--;
            g_free(p);
        }
    }
}

static void cram_poison_clear(CXLCramDev *s, uint64_t dpa, uint64_t len)
{
    uint64_t first = dpa / CRAM_LINE, last = (dpa + len) / CRAM_LINE;

    if (s->nr_poisoned && find_next_bit(s->poison, last, first) < last) {
        cram_poison_list_remove(CXL_TYPE3(s), dpa, len);
        cram_poison_bits(s, dpa, len, false);
    }
}

/* A store into one line succeeded */
static void cram_poison_stored(CXLCramDev *s, uint64_t dpa, unsigned size)
{
    uint64_t line = dpa / CRAM_LINE;
    uint64_t *mask;

    if (!s->nr_poisoned || !test_bit(line, s->poison)) {
        return;
    }
    mask = g_hash_table_lookup(s->filled, &line);
    if (!mask) {
        mask = g_new0(uint64_t, 1);
        g_hash_table_insert(s->filled, g_memdup2(&line, sizeof(line)), mask);
    }
    *mask |= MAKE_64BIT_MASK(dpa % CRAM_LINE, size);
    if (*mask == UINT64_MAX) {
        cram_poison_clear(s, line * CRAM_LINE, CRAM_LINE);
    }
}

/* A store into one line was dropped */
static void cram_poison_dropped(CXLCramDev *s, uint64_t dpa)
{
    uint64_t line = dpa / CRAM_LINE;

    if (test_bit(line, s->poison)) {
        g_hash_table_remove(s->filled, &line);
    } else {
        cram_poison_list_add(CXL_TYPE3(s), line * CRAM_LINE, CRAM_LINE);
        cram_poison_bits(s, line * CRAM_LINE, CRAM_LINE, true);
    }
}

/* --- accesses that trap --------------------------------------------------- */

static MemTxResult cram_read(CXLType3Dev *ct3d, uint64_t dpa, uint64_t *data,
                             unsigned size, MemTxAttrs attrs)
{
    CXLCramDev *s = CXL_CRAM(ct3d);
    uint64_t page = dpa / CRAM_PAGE;
    uint64_t last = (dpa + size - 1) / CRAM_LINE;

    *data = 0;
    if (dpa + size > s->nr_pages * CRAM_PAGE) {
        return MEMTX_ERROR;
    }
    if (s->nr_poisoned &&
        (test_bit(dpa / CRAM_LINE, s->poison) || test_bit(last, s->poison))) {
        *data = UINT64_MAX;
        return MEMTX_POISON;
    }
    memcpy(data, s->content + dpa, size);
    if (s->exact && s->hot_list) {
        QEMU_LOCK_GUARD(&s->lock);
        if (s->reads[page] < UINT32_MAX &&
            ++s->reads[page] == CRAM_HOT_READS && !s->hot) {
            s->hot = true;
            qemu_bh_schedule(s->check_bh);
        }
    }
    return MEMTX_OK;
}

/* Compress all pending pages, here and now; @lock held */
static void cram_settle_all(CXLCramDev *s, CramScratch *scratch)
{
    uint64_t page = 0;

    while (s->nr_pending &&
           (page = find_next_bit(s->pending, s->nr_pages, page)) <
           s->nr_pages) {
        memcpy(scratch->page, s->content + page * CRAM_PAGE, CRAM_PAGE);
        cram_page_settle(s, page, cram_compress(scratch));
        page++;
    }
}

/*
 * Store into one page, seeing to it that the cells suffice. As long as they do
 * at the worst, nothing has to be compressed; then the pages whose content is
 * not known; then this one, with the store in it.
 */
static bool cram_store_exact(CXLCramDev *s, uint64_t dpa, const void *data,
                             unsigned size)
{
    uint64_t page = dpa / CRAM_PAGE;
    uint8_t *at = s->content + dpa;
    CramScratch *scratch;
    uint16_t cells;
    bool fits;

    QEMU_LOCK_GUARD(&s->lock);
    if (test_bit(page, s->pending) ||
        cram_bound(s) - s->cells[page] + CRAM_WORST <= s->physical) {
        memcpy(at, data, size);
        cram_page_mark(s, page);
        cram_page_pend(s, page);
        qemu_cond_signal(&s->work);
        return true;
    }

    scratch = cram_scratch_new(s->zstd);
    cram_settle_all(s, scratch);
    memcpy(scratch->page, s->content + page * CRAM_PAGE, CRAM_PAGE);
    memcpy(scratch->page + dpa % CRAM_PAGE, data, size);
    cells = cram_compress(scratch);
    cram_scratch_free(scratch);

    fits = cells <= s->cells[page] ||
           s->held - s->cells[page] + cells <= s->physical;
    if (fits) {
        memcpy(at, data, size);
        cram_page_mark(s, page);
        cram_page_settle(s, page, cells);
    } else {
        s->stores++;
        s->over_capacity++;
    }
    qemu_bh_schedule(s->check_bh);
    return fits;
}

/* Store into one line, or a part of it; false: dropped */
static bool cram_store(CXLCramDev *s, uint64_t dpa, const void *data,
                       unsigned size, MemTxAttrs attrs)
{
    if (!s->exact) {
        address_space_write(&CXL_TYPE3(s)->hostvmem_as, dpa, attrs, data, size);
    } else if (!cram_store_exact(s, dpa, data, size)) {
        cram_poison_dropped(s, dpa);
        return false;
    }
    cram_poison_stored(s, dpa, size);
    return true;
}

static MemTxResult cram_write(CXLType3Dev *ct3d, uint64_t dpa, uint64_t data,
                              unsigned size, MemTxAttrs attrs)
{
    CXLCramDev *s = CXL_CRAM(ct3d);
    unsigned head = MIN(size, CRAM_LINE - dpa % CRAM_LINE);

    if (dpa + size > s->nr_pages * CRAM_PAGE) {
        return MEMTX_ERROR;
    }
    cram_store(s, dpa, &data, head, attrs);
    if (head < size) {
        cram_store(s, dpa + head, (uint8_t *)&data + head, size - head, attrs);
    }
    return MEMTX_OK;
}

/* Clear Poison: the line gets new content, if it fits */
static bool cram_set_cacheline(CXLType3Dev *ct3d, uint64_t dpa, uint8_t *data)
{
    return cram_store(CXL_CRAM(ct3d), dpa, data, CRAM_LINE,
                      MEMTXATTRS_UNSPECIFIED);
}

/* --- mailbox commands ----------------------------------------------------- */

static CXLRetCode cram_cmd_capabilities(const struct cxl_cmd *cmd,
                                        uint8_t *payload_in, size_t len_in,
                                        uint8_t *payload_out, size_t *len_out,
                                        CXLCCI *cci)
{
    CXLCramDev *s = CXL_CRAM(cci->d);
    struct {
        uint64_t logical_bytes;
        uint64_t physical_bytes;
        uint32_t cells_per_page;
        uint32_t block_bytes;
        uint16_t max_ranges;
        uint16_t max_answer_ms;
        uint32_t flags;
        uint64_t reset_count;
        uint8_t reserved[24];
    } QEMU_PACKED *out = (void *)payload_out;

    QEMU_BUILD_BUG_ON(sizeof(*out) != 64);
    *len_out = sizeof(*out);
    stq_le_p(&out->logical_bytes, s->nr_pages * CRAM_PAGE);
    stq_le_p(&out->physical_bytes, s->physical);
    stl_le_p(&out->cells_per_page, CRAM_WORST);
    stl_le_p(&out->block_bytes, CRAM_PAGE);
    stw_le_p(&out->max_ranges, (cci->payload_max - 8) / 16);
    stw_le_p(&out->max_answer_ms, CRAM_MAX_ANSWER_MS);
    stl_le_p(&out->flags, (s->hot_list ? CRAM_FLAG_HOT : 0) |
                          (s->exact ? CRAM_FLAG_DROPS : 0));
    stq_le_p(&out->reset_count, s->reset_count);
    return CXL_MBOX_SUCCESS;
}

static CXLRetCode cram_cmd_capacity(const struct cxl_cmd *cmd,
                                    uint8_t *payload_in, size_t len_in,
                                    uint8_t *payload_out, size_t *len_out,
                                    CXLCCI *cci)
{
    CXLCramDev *s = CXL_CRAM(cci->d);
    struct {
        uint64_t physical_free;
        uint64_t low_water_free;
        uint64_t over_capacity;
        uint64_t unsettled_bytes;
        uint64_t reset_count;
        uint32_t flags;
        uint8_t reserved[20];
    } QEMU_PACKED *out = (void *)payload_out;
    uint64_t free;

    QEMU_BUILD_BUG_ON(sizeof(*out) != 64);
    *len_out = sizeof(*out);
    s->answers++;
    WITH_QEMU_LOCK_GUARD(&s->lock) {
        free = cram_free_of(s, cram_bound(s));
        stq_le_p(&out->low_water_free, s->low_water);
        stq_le_p(&out->over_capacity, s->over_capacity);
        stq_le_p(&out->unsettled_bytes, s->nr_pending * CRAM_WORST);
    }
    if (s->fault.physical_free >= 0) {
        free = s->fault.physical_free;
    }
    stq_le_p(&out->physical_free, free);
    stq_le_p(&out->reset_count, s->reset_count);
    stl_le_p(&out->flags, (free < s->low ? CRAM_BELOW_LOW : 0) |
                          (free < s->critical ? CRAM_BELOW_CRITICAL : 0));
    return CXL_MBOX_SUCCESS;
}

typedef struct CramWatermarks {
    uint64_t low;
    uint64_t critical;
} QEMU_PACKED CramWatermarks;

static CXLRetCode cram_cmd_get_watermarks(const struct cxl_cmd *cmd,
                                          uint8_t *payload_in, size_t len_in,
                                          uint8_t *payload_out, size_t *len_out,
                                          CXLCCI *cci)
{
    CXLCramDev *s = CXL_CRAM(cci->d);
    CramWatermarks *out = (void *)payload_out;

    *len_out = sizeof(*out);
    stq_le_p(&out->low, s->low);
    stq_le_p(&out->critical, s->critical);
    return CXL_MBOX_SUCCESS;
}

static CXLRetCode cram_cmd_set_watermarks(const struct cxl_cmd *cmd,
                                          uint8_t *payload_in, size_t len_in,
                                          uint8_t *payload_out, size_t *len_out,
                                          CXLCCI *cci)
{
    CXLCramDev *s = CXL_CRAM(cci->d);
    CramWatermarks *in = (void *)payload_in;
    uint64_t low = ldq_le_p(&in->low), critical = ldq_le_p(&in->critical);

    if (critical > low || low > s->physical) {
        return CXL_MBOX_INVALID_INPUT;
    }
    s->low = low;
    s->critical = critical;
    s->below_low = false;
    s->below_critical = false;
    cram_check(s);
    return CXL_MBOX_SUCCESS;
}

typedef struct CramHotPage {
    uint64_t dpa;
    uint32_t reads;
    uint32_t reserved;
} QEMU_PACKED CramHotPage;

static CXLRetCode cram_cmd_hot_pages(const struct cxl_cmd *cmd,
                                     uint8_t *payload_in, size_t len_in,
                                     uint8_t *payload_out, size_t *len_out,
                                     CXLCCI *cci)
{
    CXLCramDev *s = CXL_CRAM(cci->d);
    struct {
        uint16_t count;
        uint8_t reserved[6];
        CramHotPage page[];
    } QEMU_PACKED *out = (void *)payload_out;
    unsigned int max = lduw_le_p(payload_in), count = 0;

    if (!max) {
        return CXL_MBOX_INVALID_INPUT;
    }
    max = MIN(max, (cci->payload_max - sizeof(*out)) / sizeof(CramHotPage));

    QEMU_LOCK_GUARD(&s->lock);
    /* The hottest so far, sorted, the coldest falls out at the end */
    for (uint64_t page = 0; page < s->nr_pages; page++) {
        uint32_t reads = s->reads[page];
        unsigned int i;

        if (!reads || (count == max &&
                       reads <= ldl_le_p(&out->page[max - 1].reads))) {
            continue;
        }
        if (count < max) {
            count++;
        }
        for (i = count - 1;
             i && reads > ldl_le_p(&out->page[i - 1].reads); i--) {
            out->page[i] = out->page[i - 1];
        }
        stq_le_p(&out->page[i].dpa, page * CRAM_PAGE);
        stl_le_p(&out->page[i].reads, reads);
    }
    for (unsigned int i = 0; i < count; i++) {
        s->reads[ldq_le_p(&out->page[i].dpa) / CRAM_PAGE] = 0;
    }
    s->hot = false;
    s->hot_told = false;
    stw_le_p(&out->count, count);
    *len_out = sizeof(*out) + count * sizeof(CramHotPage);
    return CXL_MBOX_SUCCESS;
}

/* Media Operations: class and subclass */
static const uint8_t cram_media_ops[][2] = {
    { 0, 0 }, /* general: discovery */
    { 1, 1 }, /* sanitize: write zeroes */
};

typedef struct CramMediaIn {
    uint8_t class;
    uint8_t subclass;
    uint16_t reserved;
    uint32_t range_count;
    union {
        struct {
            uint64_t dpa;
            uint64_t length;
        } QEMU_PACKED range[0];
        struct {
            uint16_t start_index;
            uint16_t num_ops;
        } QEMU_PACKED discovery[0];
    };
} QEMU_PACKED CramMediaIn;

static CXLRetCode cram_media_discovery(CramMediaIn *in, size_t len_in,
                                       uint8_t *payload_out, size_t *len_out)
{
    struct {
        uint64_t granularity;
        uint16_t total;
        uint16_t count;
        uint8_t op[ARRAY_SIZE(cram_media_ops)][2];
    } QEMU_PACKED *out = (void *)payload_out;
    unsigned int start, count;

    if (len_in != sizeof(*in) + sizeof(in->discovery[0])) {
        return CXL_MBOX_INVALID_PAYLOAD_LENGTH;
    }
    start = lduw_le_p(&in->discovery->start_index);
    if (ldl_le_p(&in->range_count) || start >= ARRAY_SIZE(cram_media_ops)) {
        return CXL_MBOX_INVALID_INPUT;
    }
    count = MIN(lduw_le_p(&in->discovery->num_ops),
                ARRAY_SIZE(cram_media_ops) - start);
    stq_le_p(&out->granularity, CRAM_PAGE);
    stw_le_p(&out->total, ARRAY_SIZE(cram_media_ops));
    stw_le_p(&out->count, count);
    memcpy(out->op, cram_media_ops[start], 2 * count);
    *len_out = offsetof(typeof(*out), op) + 2 * count;
    return CXL_MBOX_SUCCESS;
}

static int cram_range_cmp(const void *a, const void *b)
{
    uint64_t x = ldq_le_p(a), y = ldq_le_p(b);

    return x < y ? -1 : x > y;
}

/*
 * The answer comes after a scan, so no store that came before is still unknown:
 * one that is found later came while this was under way, or after. Translations
 * of code in the range stay; they go when the page is stored to.
 */
static void cram_zero(CXLCramDev *s, uint64_t dpa, uint64_t len)
{
    QEMU_LOCK_GUARD(&s->lock);
    for (uint64_t page = dpa / CRAM_PAGE;
         page < (dpa + len) / CRAM_PAGE; page++) {
        /* What holds nothing is zero; storing there would only cost memory */
        if (s->cells[page] || test_bit(page, s->pending)) {
            memset(s->content + page * CRAM_PAGE, 0, CRAM_PAGE);
            cram_page_settle(s, page, 0);
        }
        s->reads[page] = 0;
        s->zeroed++;
    }
}

static CXLRetCode cram_media_zero(CXLCramDev *s, CramMediaIn *in, size_t len_in,
                                  uint64_t max_ranges)
{
    uint64_t capacity = s->nr_pages * CRAM_PAGE, end = 0;
    uint32_t count = ldl_le_p(&in->range_count);

    if (len_in != sizeof(*in) + (uint64_t)count * sizeof(in->range[0])) {
        return CXL_MBOX_INVALID_PAYLOAD_LENGTH;
    }
    if (!count || count > max_ranges) {
        return CXL_MBOX_INVALID_INPUT;
    }
    qsort(in->range, count, sizeof(in->range[0]), cram_range_cmp);
    for (uint32_t i = 0; i < count; i++) {
        uint64_t dpa = ldq_le_p(&in->range[i].dpa);
        uint64_t len = ldq_le_p(&in->range[i].length);

        if (!len || !QEMU_IS_ALIGNED(dpa, CRAM_PAGE) ||
            !QEMU_IS_ALIGNED(len, CRAM_PAGE)) {
            return CXL_MBOX_INVALID_INPUT;
        }
        if (dpa >= capacity || len > capacity - dpa) {
            return CXL_MBOX_INVALID_PA;
        }
        if (dpa < end) {
            return CXL_MBOX_INVALID_INPUT;
        }
        end = dpa + len;
    }
    for (uint32_t i = 0; i < count; i++) {
        uint64_t dpa = ldq_le_p(&in->range[i].dpa);
        uint64_t len = ldq_le_p(&in->range[i].length);

        cram_zero(s, dpa, len);
        cram_poison_clear(s, dpa, len);
    }
    cram_check(s);
    return CXL_MBOX_SUCCESS;
}

static CXLRetCode cram_cmd_media(const struct cxl_cmd *cmd,
                                 uint8_t *payload_in, size_t len_in,
                                 uint8_t *payload_out, size_t *len_out,
                                 CXLCCI *cci)
{
    CramMediaIn *in = (void *)payload_in;

    if (len_in < sizeof(*in)) {
        return CXL_MBOX_INVALID_PAYLOAD_LENGTH;
    }
    if (in->class == 0 && in->subclass == 0) {
        return cram_media_discovery(in, len_in, payload_out, len_out);
    }
    if (in->class == 1 && in->subclass == 1) {
        return cram_media_zero(CXL_CRAM(cci->d), in, len_in,
                               (cci->payload_max - sizeof(*in)) /
                               sizeof(in->range[0]));
    }
    return CXL_MBOX_UNSUPPORTED;
}

static const struct cxl_cmd cram_commands[256][256] = {
    [0x44][0x02] = { "MEDIA_OPERATIONS", cram_cmd_media, ~0,
                     CXL_MBOX_IMMEDIATE_DATA_CHANGE },
    [0xc0][0x00] = { "CRAM_CAPABILITIES", cram_cmd_capabilities, 0, 0 },
    [0xc0][0x01] = { "CRAM_CAPACITY", cram_cmd_capacity, 0, 0 },
    [0xc0][0x02] = { "CRAM_GET_WATERMARKS", cram_cmd_get_watermarks, 0, 0 },
    [0xc0][0x03] = { "CRAM_SET_WATERMARKS", cram_cmd_set_watermarks,
                     sizeof(CramWatermarks), CXL_MBOX_IMMEDIATE_POLICY_CHANGE },
    [0xc0][0x04] = { "CRAM_HOT_PAGES", cram_cmd_hot_pages, 8, 0 },
};

static void cram_add_commands(CXLCramDev *s)
{
    CXLCCI *cci = &CXL_TYPE3(s)->cci;

    cxl_add_cci_commands(cci, cram_commands, CXL_MAILBOX_MAX_PAYLOAD_SIZE);
    if (s->hot_list) {
        return;
    }
    /* A device without the one command that is optional: nowhere to be seen */
    cci->cxl_cmd_set[CRAM_OP_HOT_PAGES >> 8][CRAM_OP_HOT_PAGES & 0xff].handler =
        NULL;
    for (size_t i = 0; i < cci->cel_size; i++) {
        if (cci->cel_log[i].opcode == CRAM_OP_HOT_PAGES) {
            cci->cel_log[i] = cci->cel_log[--cci->cel_size];
        }
    }
}

static bool cram_fault_applies(CXLCramDev *s, uint16_t opcode)
{
    return !s->fault.opcode || s->fault.opcode == opcode;
}

static CramAnswer *cram_find_answer(CXLCramDev *s, uint16_t opcode)
{
    CramAnswer *a;

    QLIST_FOREACH(a, &s->set_answers, node) {
        if (a->opcode == opcode) {
            return a;
        }
    }
    return NULL;
}

static void cram_free_answer(CramAnswer *a)
{
    QLIST_REMOVE(a, node);
    g_free(a->payload);
    g_free(a);
}

static void cram_free_late(CramLate *l)
{
    timer_free(l->timer);
    g_free(l);
}

/* Commands that are still to be carried out never are */
static void cram_forget_late(CXLCramDev *s)
{
    CramLate *l, *next;

    QLIST_FOREACH_SAFE(l, &s->late, node, next) {
        QLIST_REMOVE(l, node);
        cram_free_late(l);
    }
}

static void cram_background_done(CXLCramDev *s, CXLRetCode rc)
{
    CXLType3Dev *ct3d = CXL_TYPE3(s);
    PCIDevice *pci_dev = PCI_DEVICE(s);

    ct3d->cci.bg.complete_pct = 100;
    ct3d->cci.bg.ret_code = rc;
    ct3d->cci.bg.starttime = 0;
    ct3d->cci.bg.runtime = 0;
    if (msix_enabled(pci_dev)) {
        msix_notify(pci_dev, ct3d->cxl_dstate.mbox_msi_n);
    }
}

/* Carry out a command that was answered before */
static void cram_late(void *opaque)
{
    CramLate *l = opaque;
    CXLCramDev *s = l->s;
    uint64_t generation = s->generation;
    g_autofree uint8_t *out = g_malloc0(CXL_MAILBOX_MAX_PAYLOAD_SIZE);
    size_t len_out;
    bool bg_started;
    int rc;

    QLIST_REMOVE(l, node);
    object_ref(OBJECT(s));
    if (cram_scan(s) && generation == s->generation) {
        rc = cxl_process_cci_message(&CXL_TYPE3(s)->cci, l->opcode >> 8,
                                     l->opcode & 0xff, l->len, l->in, &len_out,
                                     out, &bg_started);
        if (l->background) {
            cram_background_done(s, rc);
        }
    }
    object_unref(OBJECT(s));
    cram_free_late(l);
}

static void cram_execute_late(CXLCramDev *s, const CramAnswer *a)
{
    CXLType3Dev *ct3d = CXL_TYPE3(s);
    uint8_t *regs = ct3d->cxl_dstate.mbox_reg_state;
    CramLate *l = g_new0(CramLate, 1);

    l->s = s;
    l->opcode = a->opcode;
    l->background = a->background;
    l->len = MIN(ARRAY_FIELD_EX64(ct3d->cxl_dstate.mbox_reg_state64,
                                  CXL_DEV_MAILBOX_CMD, LENGTH), sizeof(l->in));
    memcpy(l->in, regs + A_CXL_DEV_CMD_PAYLOAD, l->len);
    l->timer = timer_new_ms(QEMU_CLOCK_REALTIME, cram_late, l);
    QLIST_INSERT_HEAD(&s->late, l, node);
    timer_mod(l->timer, qemu_clock_get_ms(QEMU_CLOCK_REALTIME) + a->late);
    if (a->background) {
        ct3d->cci.bg.opcode = a->opcode;
        ct3d->cci.bg.complete_pct = 0;
        ct3d->cci.bg.ret_code = 0;
        ct3d->cci.bg.starttime = qemu_clock_get_ms(QEMU_CLOCK_VIRTUAL);
        /* Others get BUSY, as is due. cram_background_done() ends it. */
        ct3d->cci.bg.runtime = MAX(a->late, 1);
    }
}

/*
 * Answer as the monitor has said. The guest sees the registers when this is
 * done, and not before: the big lock is held.
 */
static void cram_answer_set(CXLCramDev *s, CramAnswer *a)
{
    CXLType3Dev *ct3d = CXL_TYPE3(s);
    uint64_t *regs = ct3d->cxl_dstate.mbox_reg_state64;
    uint8_t *payload = ct3d->cxl_dstate.mbox_reg_state + A_CXL_DEV_CMD_PAYLOAD;
    bool background = a->background;
    size_t len = 0;
    int rc = CXL_MBOX_SUCCESS;

    if (background && ct3d->cci.bg.runtime) {
        cxl_mailbox_execute(&ct3d->cci, CXL_MBOX_BUSY);
        return;
    }
    if (a->late || background) {
        cram_execute_late(s, a);
    }
    if (a->late || background || !a->execute) {
        /* Anything but success: it is not executed */
        cxl_mailbox_execute(&ct3d->cci, CXL_MBOX_INTERNAL_ERROR);
        memset(payload, 0, CXL_MAILBOX_MAX_PAYLOAD_SIZE);
    } else {
        cxl_mailbox_execute(&ct3d->cci, CXL_MBOX_SUCCESS);
        len = ARRAY_FIELD_EX64(regs, CXL_DEV_MAILBOX_CMD, LENGTH);
        rc = ARRAY_FIELD_EX64(regs, CXL_DEV_MAILBOX_STS, ERRNO);
    }

    if (a->size) {
        memcpy(payload + a->offset, a->payload, a->size);
        len = MAX(len, a->offset + a->size);
    }
    if (a->length >= 0) {
        len = a->length;
    }
    if (background) {
        rc = CXL_MBOX_BG_STARTED;
    }
    if (a->return_code >= 0) {
        rc = a->return_code;
    }
    ARRAY_FIELD_DP64(regs, CXL_DEV_MAILBOX_CMD, LENGTH, len);
    ARRAY_FIELD_DP64(regs, CXL_DEV_MAILBOX_STS, ERRNO, rc);
    ARRAY_FIELD_DP64(regs, CXL_DEV_MAILBOX_STS, BG_OP, background);
    if (a->times && !--a->times) {
        cram_free_answer(a);
    }
}

/* Execute the command that was deferred */
static void cram_answer(void *opaque)
{
    CXLCramDev *s = opaque;
    CXLCCI *cci = &CXL_TYPE3(s)->cci;
    uint64_t generation = s->generation;
    CXLRetCode force_rc = CXL_MBOX_SUCCESS;
    CramAnswer *a;

    if (!cci->deferred) {
        return;
    }
    object_ref(OBJECT(s));
    if (s->opcode != CRAM_OP_CAPACITY && s->opcode != CRAM_OP_MEDIA) {
        /* Nothing that was stored matters */
    } else if (!cram_scan(s) || generation != s->generation) {
        goto out;
    }
    if (cram_fault_applies(s, s->opcode)) {
        force_rc = s->fault.return_code;
    }
    a = cram_find_answer(s, s->opcode);
    if (a && force_rc == CXL_MBOX_SUCCESS) {
        cram_answer_set(s, a);
    } else {
        cxl_mailbox_execute(cci, force_rc);
    }
out:
    object_unref(OBJECT(s));
}

static bool cram_defer(CXLType3Dev *ct3d, uint16_t opcode)
{
    CXLCramDev *s = CXL_CRAM(ct3d);
    bool faulty = cram_fault_applies(s, opcode);

    s->opcode = opcode;
    if (faulty && s->fault.drop) {
        s->stuck = true;
    } else if (faulty && s->fault.delay) {
        timer_mod(s->answer_timer, qemu_clock_get_ms(QEMU_CLOCK_REALTIME) +
                                   s->fault.delay);
    } else if (opcode == CRAM_OP_CAPACITY || opcode == CRAM_OP_MEDIA ||
               (faulty && s->fault.return_code) ||
               cram_find_answer(s, opcode)) {
        qemu_bh_schedule(s->answer_bh);
    } else {
        return false;
    }
    return true;
}

/* --- reset, realize, exit ------------------------------------------------- */

/* Content, cells and dirty bits, as if never stored to */
static void cram_wipe(CXLCramDev *s)
{
    uint64_t size = s->nr_pages * CRAM_PAGE;

    WITH_QEMU_LOCK_GUARD(&s->lock) {
        if (ram_block_discard_range(s->ram->ram_block, 0, size)) {
            memset(s->content, 0, size);
        }
        memory_region_reset_dirty(s->ram, 0, size, DIRTY_MEMORY_VGA);
        s->redirtied = true;
        memset(s->cells, 0, s->nr_pages * sizeof(*s->cells));
        memset(s->reads, 0, s->nr_pages * sizeof(*s->reads));
        bitmap_zero(s->pending, s->nr_pages);
        bitmap_zero(s->marked, s->nr_pages);
        s->nr_pending = 0;
        s->nr_marked = 0;
        s->held = 0;
        s->low_water = s->physical;
        s->over_capacity = 0;
        s->hot = false;
    }
}

static void cram_poison_free(CXLPoisonList *list)
{
    CXLPoison *p, *next;

    QLIST_FOREACH_SAFE(p, list, node, next) {
        QLIST_REMOVE(p, node);
        g_free(p);
    }
}

static void cram_poison_reset(CXLCramDev *s)
{
    CXLType3Dev *ct3d = CXL_TYPE3(s);

    cram_poison_free(&ct3d->poison_list);
    cram_poison_free(&ct3d->poison_list_bkp);
    cram_poison_free(&ct3d->scan_media_results);
    ct3d->poison_list_cnt = 0;
    cxl_clear_poison_list_overflowed(ct3d);
    ct3d->scan_media_hasrun = false;
    ct3d->poison_query.told = 0;
    bitmap_zero(s->poison, s->nr_pages * CRAM_LINES);
    s->nr_poisoned = 0;
    g_hash_table_remove_all(s->filled);
}

/*
 * Sanitize has zeroed the content, past dirty logging. Nothing could be stored
 * meanwhile: media was disabled, and nothing was mapped.
 */
static void cram_sanitized(CXLType3Dev *ct3d)
{
    CXLCramDev *s = CXL_CRAM(ct3d);

    WITH_QEMU_LOCK_GUARD(&s->lock) {
        memory_region_reset_dirty(s->ram, 0, s->nr_pages * CRAM_PAGE,
                                  DIRTY_MEMORY_VGA);
        s->redirtied = true;
        memset(s->cells, 0, s->nr_pages * sizeof(*s->cells));
        memset(s->reads, 0, s->nr_pages * sizeof(*s->reads));
        bitmap_zero(s->pending, s->nr_pages);
        s->nr_pending = 0;
        s->held = 0;
    }
    cram_poison_reset(s);
    cram_check(s);
}

/*
 * A vCPU may have been in the middle of a store when the device was reset,
 * after its dirty bit was set and before it was cleared. All are done with
 * that after a snapshot; what they left is dropped, unless the host uses the
 * device again.
 */
static void cram_wipe_again(void *opaque)
{
    CXLCramDev *s = opaque;
    uint64_t generation = s->generation;

    object_ref(OBJECT(s));
    if (PCI_DEVICE(s)->enabled) {
        s->powered = true;
    }
    if (cram_scan(s) && generation == s->generation) {
        int i;

        for (i = 0; i < CXL_HDM_DECODER_COUNT && !s->map[i].window; i++) {
            continue;
        }
        if (!s->exact && i == CXL_HDM_DECODER_COUNT) {
            cram_wipe(s);
        }
    }
    object_unref(OBJECT(s));
}

/* What goes by CXL.io: commands under way, and interrupts for events */
static void cram_reset_io(CXLCramDev *s)
{
    CXLDeviceState *cxl_dstate = &CXL_TYPE3(s)->cxl_dstate;

    timer_del(s->answer_timer);
    cram_forget_late(s);
    s->generation++;
    s->stuck = false;
    for (int i = 0; i < CXL_EVENT_TYPE_MAX; i++) {
        cxl_dstate->event_logs[i].irq_enabled = false;
    }
    memset(cxl_dstate->mbox_reg_state, 0, sizeof(cxl_dstate->mbox_reg_state));
    CXL_TYPE3(s)->cci.bg.opcode = 0;
}

/* Of the function alone: what is behind CXL.mem is not touched */
static void cram_reset_function(CXLCramDev *s)
{
    CXLType3Dev *ct3d = CXL_TYPE3(s);

    cram_reset_io(s);
    cxl_device_register_init_t3(ct3d, ct3d->cxl_dstate.mbox_msi_n);
    cram_add_commands(s);
}

static bool cram_resets_function(PCIDevice *dev)
{
    return pci_get_word(dev->config + dev->exp.exp_cap + PCI_EXP_DEVCTL) &
           PCI_EXP_DEVCTL_BCR_FLR;
}

static void cram_config_write(PCIDevice *dev, uint32_t addr, uint32_t val,
                              int len)
{
    CXL_CRAM_GET_CLASS(dev)->parent_config_write(dev, addr, val, len);
    pcie_cap_flr_write_config(dev, addr, val, len);
}

static void cram_reset(DeviceState *dev)
{
    CXLCramDev *s = CXL_CRAM(dev);
    CXLType3Dev *ct3d = CXL_TYPE3(dev);

    if (dev->realized && cram_resets_function(PCI_DEVICE(dev))) {
        cram_reset_function(s);
        return;
    }

    cram_reset_io(s);
    /*
     * Counted since power-on. A device that is plugged in is reset before that,
     * and once more when its slot gets power, unless the slot had it before:
     * then cram_wipe_again() sees that it has.
     */
    if (!dev->realized || !PCI_DEVICE(dev)->enabled) {
        s->powered = false;
        s->reset_count = 0;
    } else if (s->powered) {
        s->reset_count++;
    } else {
        s->powered = true;
    }

    cram_poison_reset(s);
    cxl_discard_all_event_records(&ct3d->cxl_dstate);

    /* Resets the decoders, and unmaps by that */
    CXL_CRAM_GET_CLASS(s)->parent_reset(dev);
    cram_add_commands(s);

    s->low = s->low_default;
    s->critical = s->critical_default;
    s->below_low = false;
    s->below_critical = false;
    s->over_told = 0;
    s->hot_told = false;
    cram_wipe(s);
    qemu_bh_schedule(s->wipe_bh);
}

static bool cram_check_properties(CXLCramDev *s, Error **errp)
{
    CXLType3Dev *ct3d = CXL_TYPE3(s);
    uint64_t logical;

    if (!ct3d->hostvmem || ct3d->hostmem || ct3d->hostpmem ||
        ct3d->dc.num_regions) {
        error_setg(errp, "cxl-cram needs volatile-memdev, and no other memory");
        return false;
    }
    logical = memory_region_size(host_memory_backend_get_memory(
                                     ct3d->hostvmem));
    if (!s->physical) {
        s->physical = logical / 2;
    }
    if (!s->low_default && !s->critical_default) {
        s->low_default = s->physical / 8;
        s->critical_default = s->physical / 32;
    } else if (!s->low_default) {
        s->low_default = MAX(s->physical / 8, s->critical_default);
    } else if (!s->critical_default) {
        s->critical_default = MIN(s->physical / 32, s->low_default);
    }
    if (s->critical_default > s->low_default || s->low_default > s->physical) {
        error_setg(errp, "critical-watermark must be at most low-watermark, "
                         "and that at most physical-size");
        return false;
    }
    if (!s->compressor || !strcmp(s->compressor, "lz4")) {
        s->zstd = false;
    } else if (!strcmp(s->compressor, "zstd")) {
        s->zstd = true;
    } else {
        error_setg(errp, "compressor must be lz4 or zstd");
        return false;
    }
    return true;
}

static void cram_realize(PCIDevice *dev, Error **errp)
{
    ERRP_GUARD();
    CXLCramDev *s = CXL_CRAM(dev);
    CXLType3Dev *ct3d = CXL_TYPE3(dev);

    if (!cram_check_properties(s, errp)) {
        return;
    }
    CXL_CRAM_GET_CLASS(s)->parent_realize(dev, errp);
    if (*errp) {
        return;
    }

    pcie_cap_flr_init(dev);
    s->ram = host_memory_backend_get_memory(ct3d->hostvmem);
    s->content = memory_region_get_ram_ptr(s->ram);
    s->nr_pages = memory_region_size(s->ram) / CRAM_PAGE;
    s->cells = g_new0(uint16_t, s->nr_pages);
    s->reads = g_new0(uint32_t, s->nr_pages);
    s->pending = bitmap_new(s->nr_pages);
    s->marked = bitmap_new(s->nr_pages);
    s->poison = bitmap_new(s->nr_pages * CRAM_LINES);
    s->filled = g_hash_table_new_full(g_int64_hash, g_int64_equal, g_free,
                                      g_free);
    s->fault.physical_free = -1;
    s->inflight = CRAM_NO_PAGE;
    s->scan_interval = CRAM_SCAN_BUSY;
    s->stop = false;
    s->online = true;

    qemu_mutex_init(&s->lock);
    qemu_cond_init(&s->work);
    s->answer_bh = qemu_bh_new(cram_answer, s);
    s->check_bh = qemu_bh_new(cram_check, s);
    s->wipe_bh = qemu_bh_new(cram_wipe_again, s);
    s->answer_timer = timer_new_ms(QEMU_CLOCK_REALTIME, cram_answer, s);
    s->scan_timer = timer_new_ms(QEMU_CLOCK_REALTIME, cram_scan_timer, s);
    if (!s->exact) {
        memory_region_set_log(s->ram, true, DIRTY_MEMORY_VGA);
        timer_mod(s->scan_timer, qemu_clock_get_ms(QEMU_CLOCK_REALTIME) +
                                 s->scan_interval);
    }
    cram_wipe(s);
    qemu_thread_create(&s->thread, "cxl-cram", cram_thread, s,
                       QEMU_THREAD_JOINABLE);
}

static void cram_exit(PCIDevice *dev)
{
    CXLCramDev *s = CXL_CRAM(dev);

    memory_region_transaction_begin();
    cram_unmap(s);
    memory_region_transaction_commit();
    s->online = false;
    s->generation++;
    cram_forget_late(s);

    WITH_QEMU_LOCK_GUARD(&s->lock) {
        s->stop = true;
        qemu_cond_signal(&s->work);
    }
    qemu_thread_join(&s->thread);
    timer_free(s->answer_timer);
    timer_free(s->scan_timer);
    qemu_bh_delete(s->answer_bh);
    qemu_bh_delete(s->check_bh);
    qemu_bh_delete(s->wipe_bh);

    cram_wipe(s);
    if (!s->exact) {
        memory_region_set_log(s->ram, false, DIRTY_MEMORY_VGA);
    }
    cram_poison_reset(s);
    cxl_discard_all_event_records(&CXL_TYPE3(s)->cxl_dstate);
    CXL_CRAM_GET_CLASS(s)->parent_exit(dev);
}

static void cram_finalize(Object *obj)
{
    CXLCramDev *s = CXL_CRAM(obj);
    CramTrap *t, *next;

    while (!QLIST_EMPTY(&s->set_answers)) {
        cram_free_answer(QLIST_FIRST(&s->set_answers));
    }
    QLIST_FOREACH_SAFE(t, &s->traps, node, next) {
        QLIST_REMOVE(t, node);
        g_free(t);
    }
    if (s->filled) {
        g_hash_table_destroy(s->filled);
        qemu_cond_destroy(&s->work);
        qemu_mutex_destroy(&s->lock);
    }
    g_free(s->cells);
    g_free(s->reads);
    g_free(s->pending);
    g_free(s->marked);
    g_free(s->poison);
}

static const Property cram_properties[] = {
    DEFINE_PROP_SIZE("physical-size", CXLCramDev, physical, 0),
    DEFINE_PROP_STRING("compressor", CXLCramDev, compressor),
    DEFINE_PROP_SIZE("low-watermark", CXLCramDev, low_default, 0),
    DEFINE_PROP_SIZE("critical-watermark", CXLCramDev, critical_default, 0),
    DEFINE_PROP_BOOL("exact", CXLCramDev, exact, false),
    DEFINE_PROP_BOOL("hot-list", CXLCramDev, hot_list, true),
};

static void cram_class_init(ObjectClass *oc, void *data)
{
    DeviceClass *dc = DEVICE_CLASS(oc);
    PCIDeviceClass *pc = PCI_DEVICE_CLASS(oc);
    CXLType3Class *cvc = CXL_TYPE3_CLASS(oc);
    CXLCramClass *cc = CXL_CRAM_CLASS(oc);

    cc->parent_realize = pc->realize;
    cc->parent_exit = pc->exit;
    cc->parent_config_write = pc->config_write;
    cc->parent_reset = dc->legacy_reset;
    pc->realize = cram_realize;
    pc->exit = cram_exit;
    pc->config_write = cram_config_write;
    device_class_set_legacy_reset(dc, cram_reset);
    device_class_set_props(dc, cram_properties);
    dc->desc = "CXL memory device with inline compression";

    cvc->hdm_changed = cram_hdm_changed;
    cvc->mem_read = cram_read;
    cvc->mem_write = cram_write;
    cvc->set_cacheline = cram_set_cacheline;
    cvc->defer_command = cram_defer;
    cvc->sanitized = cram_sanitized;
    cvc->poison_changed = cram_poison_changed;
    cvc->marker_feature = &cram_feature_uuid;
    cvc->marker_feature_version = CRAM_VERSION;
}

static const TypeInfo cram_info = {
    .name = TYPE_CXL_CRAM,
    .parent = TYPE_CXL_TYPE3,
    .class_size = sizeof(CXLCramClass),
    .class_init = cram_class_init,
    .instance_size = sizeof(CXLCramDev),
    .instance_finalize = cram_finalize,
};

static void cram_register(void)
{
    type_register_static(&cram_info);
}

type_init(cram_register);

/* --- monitor -------------------------------------------------------------- */

static CXLCramDev *cram_find(const char *path, Error **errp)
{
    Object *obj = object_resolve_path_type(path, TYPE_CXL_CRAM, NULL);

    if (!obj || !CXL_CRAM(obj)->online) {
        error_setg(errp, "No cxl-cram device %s", path);
        return NULL;
    }
    return CXL_CRAM(obj);
}

/* The same, with every store in the books that came before */
static CXLCramDev *cram_find_scanned(const char *path, Error **errp)
{
    CXLCramDev *s = cram_find(path, errp);

    if (s && !cram_scan(s)) {
        error_setg(errp, "The device was unplugged");
        return NULL;
    }
    return s;
}

CxlCramState *qmp_cxl_cram_query(const char *path, Error **errp)
{
    CXLCramDev *s = cram_find_scanned(path, errp);
    CxlCramState *state;

    if (!s) {
        return NULL;
    }
    state = g_new0(CxlCramState, 1);
    for (int i = 0; i < CXL_HDM_DECODER_COUNT; i++) {
        state->mapped += s->map[i].window ? s->map[i].size : 0;
    }
    state->exact = s->exact;
    state->logical = s->nr_pages * CRAM_PAGE;
    state->physical = s->physical;
    state->zeroed = s->zeroed;
    state->poisoned = s->nr_poisoned;
    state->answers = s->answers;
    state->reset_count = s->reset_count;
    state->low = s->low;
    state->critical = s->critical;
    WITH_QEMU_LOCK_GUARD(&s->lock) {
        state->held = s->held;
        state->unsettled = s->nr_pending;
        state->low_water = s->low_water;
        state->over_capacity = s->over_capacity;
        state->stores = s->stores;
        state->marked = s->nr_marked;
    }
    return state;
}

static bool cram_dpa_ok(CXLCramDev *s, uint64_t dpa, Error **errp)
{
    if (!QEMU_IS_ALIGNED(dpa, CRAM_PAGE) || dpa / CRAM_PAGE >= s->nr_pages) {
        error_setg(errp, "dpa must be a multiple of 4096 inside the capacity");
        return false;
    }
    return true;
}

CxlCramPage *qmp_cxl_cram_page(const char *path, uint64_t dpa, Error **errp)
{
    CXLCramDev *s = cram_find_scanned(path, errp);
    uint64_t page = dpa / CRAM_PAGE;
    CxlCramPage *result;

    if (!s || !cram_dpa_ok(s, dpa, errp)) {
        return NULL;
    }
    result = g_new0(CxlCramPage, 1);
    result->sha256 = g_compute_checksum_for_data(G_CHECKSUM_SHA256,
                                                 s->content + dpa, CRAM_PAGE);
    for (int i = 0; i < CRAM_LINES; i++) {
        result->poisoned += test_bit(page * CRAM_LINES + i, s->poison);
    }
    WITH_QEMU_LOCK_GUARD(&s->lock) {
        result->has_cells = !test_bit(page, s->pending);
        result->cells = s->cells[page];
        result->marked = test_bit(page, s->marked);
    }
    return result;
}

void qmp_cxl_cram_mark(const char *path, Error **errp)
{
    CXLCramDev *s = cram_find_scanned(path, errp);

    if (s) {
        QEMU_LOCK_GUARD(&s->lock);
        bitmap_zero(s->marked, s->nr_pages);
        s->nr_marked = 0;
    }
}

CxlCramMarked *qmp_cxl_cram_marked(const char *path, uint32_t max, Error **errp)
{
    CXLCramDev *s = cram_find_scanned(path, errp);
    CxlCramMarked *result;
    uint64List **tail;
    uint64_t page = 0;

    if (!s) {
        return NULL;
    }
    result = g_new0(CxlCramMarked, 1);
    tail = &result->dpa;
    QEMU_LOCK_GUARD(&s->lock);
    while (max-- && (page = find_next_bit(s->marked, s->nr_pages, page)) <
                    s->nr_pages) {
        QAPI_LIST_APPEND(tail, page * CRAM_PAGE);
        page++;
    }
    return result;
}

void qmp_cxl_cram_set_fault(const char *path, bool has_physical_free,
                            int64_t physical_free, bool has_opcode,
                            uint16_t opcode, bool has_delay, uint32_t delay,
                            bool has_return_code, uint16_t return_code,
                            bool has_drop, bool drop, bool has_no_interrupts,
                            bool no_interrupts, Error **errp)
{
    CXLCramDev *s = cram_find(path, errp);

    if (!s) {
        return;
    }
    if (has_return_code && return_code > CXL_MBOX_MAX) {
        error_setg(errp, "return-code is not one of a mailbox");
        return;
    }
    if (has_physical_free) {
        s->fault.physical_free = physical_free;
    }
    if (has_opcode) {
        s->fault.opcode = opcode;
    }
    if (has_delay) {
        s->fault.delay = delay;
    }
    if (has_return_code) {
        s->fault.return_code = return_code;
    }
    if (has_drop) {
        s->fault.drop = drop;
        if (!drop && s->stuck) {
            s->stuck = false;
            qemu_bh_schedule(s->answer_bh);
        }
    }
    if (has_no_interrupts) {
        s->fault.no_interrupts = no_interrupts;
    }
}

/* Bytes of what is written as hexadecimal digits, two each */
static uint8_t *cram_parse_hex(const char *hex, uint32_t *size, Error **errp)
{
    size_t digits = strlen(hex);
    g_autofree uint8_t *bytes = g_malloc(digits / 2 + 1);

    for (size_t i = 0; i < digits; i++) {
        int digit = g_ascii_xdigit_value(hex[i]);

        if (digit < 0 || digits % 2) {
            error_setg(errp, "payload must be hexadecimal digits, two a byte");
            return NULL;
        }
        bytes[i / 2] = i % 2 ? bytes[i / 2] | digit : digit << 4;
    }
    *size = digits / 2;
    return g_steal_pointer(&bytes);
}

void qmp_cxl_cram_set_answer(const char *path, uint16_t opcode,
                             bool has_execute, bool execute,
                             bool has_return_code, uint16_t return_code,
                             const char *payload, bool has_offset,
                             uint32_t offset, bool has_length, uint32_t length,
                             bool has_late, uint32_t late, bool has_background,
                             bool background, bool has_times, uint32_t times,
                             Error **errp)
{
    CXLCramDev *s = cram_find(path, errp);
    g_autofree uint8_t *bytes = NULL;
    uint32_t size = 0;
    CramAnswer *a;

    if (!s) {
        return;
    }
    if (payload) {
        bytes = cram_parse_hex(payload, &size, errp);
        if (!bytes) {
            return;
        }
    }
    if (offset > CXL_MAILBOX_MAX_PAYLOAD_SIZE ||
        size > CXL_MAILBOX_MAX_PAYLOAD_SIZE - offset) {
        error_setg(errp, "payload must end within the mailbox");
        return;
    }
    /* As wide as its field in the command register; it may be a lie */
    if (length >> R_CXL_DEV_MAILBOX_CMD_LENGTH_LENGTH) {
        error_setg(errp, "length must be less than 1 MiB");
        return;
    }
    a = cram_find_answer(s, opcode);
    if (a) {
        cram_free_answer(a);
    }
    if (!has_execute && !has_return_code && !payload && !has_length &&
        !has_late && !has_background) {
        return;
    }
    a = g_new0(CramAnswer, 1);
    a->opcode = opcode;
    a->execute = !has_execute || execute;
    a->background = background;
    a->return_code = has_return_code ? return_code : -1;
    a->payload = g_steal_pointer(&bytes);
    a->size = size;
    a->offset = offset;
    a->length = -1;
    if (has_length) {
        a->length = length;
    } else if (payload && !has_offset) {
        a->length = size;
    }
    a->late = late;
    a->times = times;
    QLIST_INSERT_HEAD(&s->set_answers, a, node);
}

void qmp_cxl_cram_set_hot(const char *path, CxlCramHotPageList *pages,
                          Error **errp)
{
    CXLCramDev *s = cram_find(path, errp);

    if (!s) {
        return;
    }
    if (!s->hot_list) {
        error_setg(errp, "The device has no hot list");
        return;
    }
    for (CxlCramHotPageList *p = pages; p; p = p->next) {
        if (!cram_dpa_ok(s, p->value->dpa, errp)) {
            return;
        }
    }
    WITH_QEMU_LOCK_GUARD(&s->lock) {
        for (CxlCramHotPageList *p = pages; p; p = p->next) {
            s->reads[p->value->dpa / CRAM_PAGE] = p->value->reads;
            s->hot = true;
        }
    }
    cram_check(s);
}
