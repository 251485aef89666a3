// SPDX-License-Identifier: GPL-2.0
/*
 * How well does it compress?
 *
 * Only the device knows what a page takes there, and it tells the sum of all. Which
 * cgroup has filled it, a sample tells: the pages that are copied to one of
 * CRAM_SAMPLE_EVERY page frames are compressed here, too, with LZ4. The sizes of those
 * that are resident now, summed up for each cgroup, make the
 * compressed_estimate in cram.stat. Which frame a page gets has nothing to do
 * with its content, so nobody is sampled more than others, and a page that is
 * freed leaves the sum as it came, with nothing to remember but its frame.
 *
 * An upgraded page may have changed since. It is not sampled again: to read it
 * would be to guess, as it may change the next moment.
 *
 * A cgroup or a node may refuse what does not compress (cram.page.max, page_max
 * of the node). Then every page that is offered is compressed, before it is
 * unmapped; a large folio in which one does not fit is split.
 */
#include <linux/local_lock.h>
#include <linux/lz4.h>
#include <linux/mm.h>
#include <linux/percpu.h>
#include <linux/uaccess.h>

#include "internal.h"

/*
 * A sample takes 21,000 instructions, which adds 0.4 percent to demotion in the
 * kernel of the tests (tests/bench/sample).
 */
#define CRAM_SAMPLE_EVERY	64

struct cram_compressor {
	u8 page[PAGE_SIZE];
	u8 compressed[PAGE_SIZE];
	u8 work[LZ4_MEM_COMPRESS];
};

struct cram_compressor_cpu {
	local_lock_t lock;
	struct cram_compressor *c;
};

static DEFINE_PER_CPU(struct cram_compressor_cpu, cram_compressors) = {
	.lock = INIT_LOCAL_LOCK(lock),
};

/**
 * cram_compressors_alloc - for all CPUs that may ever be, once
 *
 * They stay when the node that they were made for goes.
 *
 * Context: process; cram_nodes_mutex is held.
 * Return: 0, or -ENOMEM.
 */
int cram_compressors_alloc(void)
{
	int cpu;

	lockdep_assert_held(&cram_nodes_mutex);

	for_each_possible_cpu(cpu) {
		struct cram_compressor **c = &per_cpu(cram_compressors.c, cpu);

		if (!*c)
			*c = kvmalloc_node(sizeof(**c), GFP_KERNEL, cpu_to_node(cpu));
		if (!*c)
			return -ENOMEM;
	}
	return 0;
}

/**
 * cram_compressed_size - what a page would take if the device used LZ4
 * @page: its content may change at the same time
 *
 * Reads a copy, in a way that survives poison; a page that cannot be read
 * counts as one that does not compress, whoever copies it finds out again.
 *
 * Context: task, also in an RCU read section, while there is a node.
 * Return: bytes, 1 to PAGE_SIZE.
 */
unsigned int cram_compressed_size(struct page *page)
{
	struct cram_compressor *c;
	int size = 0;

	local_lock(&cram_compressors.lock);
	c = this_cpu_read(cram_compressors.c);
	if (!copy_mc_to_kernel(c->page, page_address(page), PAGE_SIZE))
		size = LZ4_compress_default(c->page, c->compressed, PAGE_SIZE,
					    sizeof(c->compressed), c->work);
	local_unlock(&cram_compressors.lock);
	return size > 0 ? size : PAGE_SIZE;
}

/**
 * cram_can_read - is all of a page there?
 * @page: its content may change at the same time
 *
 * Reads a copy, in a way that survives poison where there is one for the
 * architecture.
 *
 * Context: task, while there is a node.
 * Return: false when it has poison.
 */
bool cram_can_read(struct page *page)
{
	bool good;

	local_lock(&cram_compressors.lock);
	good = !copy_mc_to_kernel(this_cpu_read(cram_compressors.c)->page,
				  page_address(page), PAGE_SIZE);
	local_unlock(&cram_compressors.lock);
	return good;
}

static u32 *cram_sample_of(struct cram_node *cn, unsigned long pfn)
{
	unsigned long i = pfn - cn->start_pfn;

	return i % CRAM_SAMPLE_EVERY ? NULL : &cn->samples[i / CRAM_SAMPLE_EVERY];
}

/**
 * cram_samples_alloc - where the sizes of a node's sampled pages are kept
 * @cn: the node
 *
 * Return: 0, or -ENOMEM.
 */
int cram_samples_alloc(struct cram_node *cn)
{
	cn->samples = kvcalloc(DIV_ROUND_UP(cn->nr_slots, CRAM_SAMPLE_EVERY),
			       sizeof(*cn->samples), GFP_KERNEL);
	return cn->samples ? 0 : -ENOMEM;
}

/**
 * cram_sample - a folio is going to be copied to the node
 * @cn: the node
 * @pfn: to where, reserved
 * @src: from where
 * @cg: who is charged for it
 *
 * Context: RCU.
 */
void cram_sample(struct cram_node *cn, unsigned long pfn, struct folio *src,
		 struct cram_cgroup *cg)
{
	long i;

	for (i = 0; i < folio_nr_pages(src); i++) {
		u32 *sample = cram_sample_of(cn, pfn + i);

		if (!sample)
			continue;
		WRITE_ONCE(*sample, cn->desc.class == CRAM_PLAIN ? PAGE_SIZE :
			   cram_compressed_size(folio_page(src, i)));
		cram_cgroup_sample(cg, 1, *sample);
	}
}

/**
 * cram_end_sample - a page is going to be free
 * @cn: the node
 * @pfn: the page, its slot RESERVED or RESIDENT
 * @id: of its owner
 *
 * Context: any.
 */
void cram_end_sample(struct cram_node *cn, unsigned long pfn, u32 id)
{
	u32 *sample = cram_sample_of(cn, pfn);
	struct cram_cgroup *cg;
	u32 size;

	if (!sample || !*sample)
		return;
	size = *sample;
	WRITE_ONCE(*sample, 0);

	guard(rcu)();
	cg = cram_owner_cgroup(id);
	if (!WARN_ON_ONCE(!cg))
		cram_cgroup_sample(cg, -1, -(long)size);
}

/**
 * cram_sampled_size - of a page, for who checks
 * @cn: the node
 * @pfn: the page
 *
 * Return: compressed bytes, or 0 when the page is not in the sample.
 */
unsigned int cram_sampled_size(struct cram_node *cn, unsigned long pfn)
{
	u32 *sample = cram_sample_of(cn, pfn);

	return sample ? READ_ONCE(*sample) : 0;
}
