// SPDX-License-Identifier: GPL-2.0
/*
 * KUnit: the arithmetic of the cram controller, on trees of cgroups that exist only
 * here. Included by cram.c.
 */
#include <kunit/test.h>
#include <kunit/test-bug.h>
#include <linux/completion.h>
#include <linux/kthread.h>

/* Of whose pages the tests are; any will do */
#define TEST_NID	0

/* Without css_rstat_flush: what is counted here goes nowhere */
static struct cgroup_subsys cram_test_subsys;

static void cram_test_free_percpu(void *cpu)
{
	free_percpu(cpu);
}

/**
 * cram_test_cgroup - the books of a cgroup that is in no hierarchy
 * @test: until its end
 * @parent: another one, or %NULL
 *
 * Nobody finds it by walking all cgroups, and it has no owner.
 *
 * Context: process.
 * Return: the books; the test ends if there is no memory for them.
 */
struct cram_cgroup *cram_test_cgroup(struct kunit *test, struct cram_cgroup *parent)
{
	struct cram_cgroup *cg;

	cg = kunit_kzalloc(test, struct_size(cg, node, nr_node_ids), GFP_KERNEL);
	KUNIT_ASSERT_NOT_NULL(test, cg);
	cg->cpu = alloc_percpu(struct cram_cgroup_cpu);
	KUNIT_ASSERT_NOT_NULL(test, cg->cpu);
	KUNIT_ASSERT_EQ(test, kunit_add_action_or_reset(test, cram_test_free_percpu,
							cg->cpu), 0);
	/* All are the same to cgroup_is_descendant() */
	cg->css.cgroup = &cgrp_dfl_root.cgrp;
	cg->css.ss = &cram_test_subsys;
	INIT_LIST_HEAD(&cg->css.children);
	if (parent) {
		cg->css.parent = &parent->css;
		list_add_tail(&cg->css.sibling, &parent->css.children);
	}
	cram_cgroup_init(cg, parent);
	return cg;
}

/**
 * cram_test_budget - as by cram.writable_budget
 * @cg: of cram_test_cgroup()
 * @nr: how many pages, negative for "inherit"
 */
void cram_test_budget(struct cram_cgroup *cg, long nr)
{
	cram_set_budget(cg, nr < 0, nr < 0 ? PAGE_COUNTER_MAX : nr);
}

/* --- who may upgrade how much ------------------------------------------------- */

static bool cram_test_charge(struct cram_cgroup *cg, unsigned long nr)
{
	guard(rcu)();
	return cram_cgroup_charge_writable(cg, nr);
}

static unsigned long cram_test_over(struct cram_cgroup *cg, struct cram_cgroup *top)
{
	guard(rcu)();
	return cram_cgroup_over_budget(cg, top);
}

/* How many more pages could be upgraded here? They are not. */
static unsigned int cram_test_left(struct cram_cgroup *cg)
{
	unsigned int nr = 0;

	while (nr < 1000 && cram_test_charge(cg, 1))
		nr++;
	if (nr)
		cram_cgroup_uncharge_writable(cg, nr);
	return nr;
}

/*
 * root - parent - cg, with a budget each (-1: inherit, 0 to 999: a number, 1000:
 * max), and what pages of cg get. The root of all has no such file, "root" here is
 * a child of it.
 */
static void cram_test_inherit(struct kunit *test)
{
	static const struct {
		int root, parent, cg;
		unsigned int left;
	} cases[] = {
		/* nowhere a number */
		{ -1, -1, -1, 0 },
		/* one */
		{ -1, -1, 5, 5 },
		{ -1, 5, -1, 5 },
		{ 5, -1, -1, 5 },
		/* the nearest, and it binds no more than those above it */
		{ 5, 3, -1, 3 },
		{ 3, 5, -1, 3 },
		{ -1, 5, 3, 3 },
		{ -1, 3, 5, 3 },
		{ 2, 3, 5, 2 },
		{ 5, 3, 2, 2 },
		{ 5, -1, 7, 5 },
		/* 0 is a number */
		{ 5, 0, -1, 0 },
		{ 5, 0, 5, 0 },
		{ 0, 5, 5, 0 },
		{ 5, 5, 0, 0 },
		/* so is max: whatever the others permit */
		{ -1, -1, 1000, 1000 },
		{ 1000, -1, -1, 1000 },
		{ 1000, 4, 1000, 4 },
		{ 4, 1000, 1000, 4 },
	};
	int i;

	for (i = 0; i < ARRAY_SIZE(cases); i++) {
		struct cram_cgroup *root = cram_test_cgroup(test, NULL);
		struct cram_cgroup *top = cram_test_cgroup(test, root);
		struct cram_cgroup *parent = cram_test_cgroup(test, top);
		struct cram_cgroup *cg = cram_test_cgroup(test, parent), *late;

		/* From below, so that each has to reach those under it */
		cram_test_budget(cg, cases[i].cg);
		cram_test_budget(parent, cases[i].parent);
		cram_test_budget(top, cases[i].root);
		KUNIT_EXPECT_EQ_MSG(test, cram_test_left(cg), cases[i].left, "case %d", i);
		KUNIT_EXPECT_EQ(test, cram_cgroup_writable(root), 0);

		/* One that comes later inherits, too */
		late = cram_test_cgroup(test, cg);
		KUNIT_EXPECT_EQ_MSG(test, cram_test_left(late), cases[i].left, "case %d", i);

		/* That is what cram.writable_budget.effective says */
		KUNIT_EXPECT_EQ(test, min(cram_budget(late), 1000UL), cases[i].left);
		/* Without a budget, whatever there is, is too much */
		KUNIT_EXPECT_EQ(test, cram_test_over(late, root) == ULONG_MAX, !cases[i].left);
	}
}

/* One budget for a subtree: what one has, the others have not */
static void cram_test_shared_budget(struct kunit *test)
{
	struct cram_cgroup *root = cram_test_cgroup(test, NULL);
	struct cram_cgroup *top = cram_test_cgroup(test, root);
	struct cram_cgroup *a = cram_test_cgroup(test, top);
	struct cram_cgroup *b = cram_test_cgroup(test, top);

	cram_test_budget(top, 10);
	cram_test_budget(b, 4);
	KUNIT_ASSERT_TRUE(test, cram_test_charge(a, 7));
	KUNIT_EXPECT_EQ(test, cram_test_left(b), 3);
	KUNIT_EXPECT_FALSE(test, cram_test_charge(b, 4));
	KUNIT_EXPECT_EQ(test, cram_cgroup_writable(b), 0);
	KUNIT_ASSERT_TRUE(test, cram_test_charge(b, 3));
	KUNIT_EXPECT_EQ(test, cram_test_left(a), 0);
	KUNIT_EXPECT_EQ(test, cram_cgroup_writable(top), 10);

	cram_cgroup_uncharge_writable(a, 2);
	KUNIT_EXPECT_EQ(test, cram_test_left(a), 2);
	KUNIT_EXPECT_EQ(test, cram_test_left(b), 1);
	cram_cgroup_uncharge_writable(a, 5);
	cram_cgroup_uncharge_writable(b, 3);
	KUNIT_EXPECT_EQ(test, cram_cgroup_writable(root), 0);
}

/* Lowered: over, for who asks about that number */
static void cram_test_over_budget(struct kunit *test)
{
	struct cram_cgroup *root = cram_test_cgroup(test, NULL);
	struct cram_cgroup *top = cram_test_cgroup(test, root);
	struct cram_cgroup *cg = cram_test_cgroup(test, top);
	struct cram_cgroup *other = cram_test_cgroup(test, top);

	cram_test_budget(top, 10);
	KUNIT_ASSERT_TRUE(test, cram_test_charge(cg, 6));
	KUNIT_EXPECT_EQ(test, cram_test_over(cg, top), 0);
	cram_test_budget(top, 6);
	KUNIT_EXPECT_EQ(test, cram_test_over(cg, top), 0);
	cram_test_budget(top, 4);
	KUNIT_EXPECT_EQ(test, cram_test_over(cg, top), 2);
	KUNIT_EXPECT_EQ(test, cram_test_over(cg, cg), 0);
	KUNIT_EXPECT_EQ(test, cram_test_over(cg, root), 0);
	/* Who has no page of it has to help all the same */
	KUNIT_EXPECT_EQ(test, cram_test_over(other, top), 2);

	cram_test_budget(top, 20);
	cram_test_budget(cg, 3);
	KUNIT_EXPECT_EQ(test, cram_test_over(cg, cg), 3);
	KUNIT_EXPECT_EQ(test, cram_test_over(other, top), 0);
	cram_test_budget(cg, -1);
	KUNIT_EXPECT_EQ(test, cram_test_over(cg, cg), 0);
	/* No number is left, or one that is nothing */
	cram_test_budget(top, -1);
	KUNIT_EXPECT_EQ(test, cram_test_over(cg, cg), ULONG_MAX);
	cram_test_budget(top, 0);
	KUNIT_EXPECT_EQ(test, cram_test_over(cg, cg), ULONG_MAX);
	cram_cgroup_uncharge_writable(cg, 6);
}

/* The event is the one's whose budget it was */
static void cram_test_budget_event(struct kunit *test)
{
	struct cram_cgroup *root = cram_test_cgroup(test, NULL);
	struct cram_cgroup *top = cram_test_cgroup(test, root);
	struct cram_cgroup *cg = cram_test_cgroup(test, top);

	/* Having none is no event, nor is one of nothing, wherever it is */
	KUNIT_EXPECT_FALSE(test, cram_test_charge(cg, 1));
	KUNIT_EXPECT_EQ(test, atomic64_read(&cg->events[CRAM_EVENT_BUDGET]), 0);
	cram_test_budget(top, 0);
	cram_test_budget(cg, 5);
	KUNIT_EXPECT_FALSE(test, cram_test_charge(cg, 1));
	KUNIT_EXPECT_FALSE(test, cram_test_charge(cg, 6));
	KUNIT_EXPECT_EQ(test, atomic64_read(&cg->events[CRAM_EVENT_BUDGET]), 0);
	KUNIT_EXPECT_EQ(test, atomic64_read(&top->events[CRAM_EVENT_BUDGET]), 0);
	cram_test_budget(cg, -1);

	cram_test_budget(top, 2);
	KUNIT_EXPECT_FALSE(test, cram_test_charge(cg, 3));
	KUNIT_EXPECT_EQ(test, atomic64_read(&cg->events[CRAM_EVENT_BUDGET]), 0);
	KUNIT_EXPECT_EQ(test, atomic64_read(&top->events[CRAM_EVENT_BUDGET]), 1);
	KUNIT_EXPECT_EQ(test, atomic64_read(&top->events_local[CRAM_EVENT_BUDGET]), 1);

	cram_test_budget(cg, 1);
	KUNIT_EXPECT_FALSE(test, cram_test_charge(cg, 2));
	KUNIT_EXPECT_EQ(test, atomic64_read(&cg->events_local[CRAM_EVENT_BUDGET]), 1);
	KUNIT_EXPECT_EQ(test, atomic64_read(&top->events[CRAM_EVENT_BUDGET]), 2);
	KUNIT_EXPECT_EQ(test, atomic64_read(&top->events_local[CRAM_EVENT_BUDGET]), 1);
}

/* --- who has to give, for want of cells --------------------------------------- */

static struct cram_cgroup *cram_test_resident(struct kunit *test,
					      struct cram_cgroup *parent,
					      unsigned long nr, unsigned long low)
{
	struct cram_cgroup *cg = cram_test_cgroup(test, parent);

	guard(rcu)();
	KUNIT_ASSERT_TRUE(test, cram_cgroup_try_charge(cg, TEST_NID, nr));
	cg->low = low;
	return cg;
}

/* A cgroup that may have only so many more pages in swap; the others all they want */
struct cram_test_swap {
	const struct cram_cgroup *cg;
	unsigned long left;
};

static unsigned long cram_test_swap_left(struct cram_cgroup *cg)
{
	const struct cram_test_swap *swap = kunit_get_current_test()->priv;

	return swap && swap->cg == cg ? swap->left : PAGE_COUNTER_MAX;
}

static unsigned long cram_test_share(struct kunit *test, struct cram_cgroup *top,
				     unsigned long nr)
{
	kunit_activate_static_stub(test, cram_swap_left, cram_test_swap_left);
	guard(rcu)();
	return cram_share_eviction(top, TEST_NID, nr);
}

static unsigned long cram_test_share_of(struct cram_cgroup *cg)
{
	return cram_cgroup_evict_share(cg, TEST_NID);
}

#define NR_CHILDREN	3

static void cram_test_shares(struct kunit *test)
{
	static const struct {
		unsigned long resident[NR_CHILDREN], low[NR_CHILDREN], own, wanted;
		unsigned long share[NR_CHILDREN], own_share;
	} cases[] = {
		/* in proportion to the excess; under its low, nothing */
		{ { 100, 300, 50 }, { 0, 100, 100 }, 0, 30, { 10, 20, 0 }, 0 },
		{ { 100, 300, 100 }, { 0, 100, 100 }, 0, 300, { 100, 200, 0 }, 0 },
		/* not more than the excess; the rest from all, as there is none then */
		{ { 101, 300, 50 }, { 100, 300, 100 }, 0, 1, { 1, 0, 0 }, 0 },
		{ { 101, 300, 50 }, { 100, 300, 100 }, 0, 10, { 1 + 2, 6, 1 }, 0 },
		/* what is nobody's but the parent's is not protected */
		{ { 100, 300, 50 }, { 0, 100, 100 }, 100, 40, { 10, 20, 0 }, 10 },
		{ { 10, 10, 10 }, { 10, 10, 10 }, 5, 20, { 5, 5, 5 }, 5 },
		/* all are under: as if there were no low */
		{ { 100, 200, 300 }, { 100, 900, 400 }, 0, 60, { 10, 20, 30 }, 0 },
		/* what does not divide evenly is somebody's */
		{ { 1, 1, 1 }, {}, 0, 1, { 0, 1, 0 }, 0 },
		{ { 1, 1, 1 }, {}, 0, 2, { 1, 0, 1 }, 0 },
		{ { 2, 1, 1 }, {}, 0, 2, { 1, 1, 0 }, 0 },
		{ { 999, 1, 0 }, {}, 0, 100, { 100, 0, 0 }, 0 },
		/* nothing there, nothing wanted; not more than is there */
		{ { 0, 0, 0 }, {}, 0, 10, { 0, 0, 0 }, 0 },
		{ { 5, 5, 5 }, {}, 5, 0, { 0, 0, 0 }, 0 },
		{ { 5, 6, 7 }, { 6, 6, 6 }, 8, 1000, { 5, 6, 7 }, 8 },
		/* 64 TiB of pages to 4 TiB */
		{ { 1UL << 34, 1UL << 33, 1UL << 33 }, {}, 0, 1UL << 30,
		  { 1UL << 29, 1UL << 28, 1UL << 28 }, 0 },
	};
	int i, c;

	for (i = 0; i < ARRAY_SIZE(cases); i++) {
		struct cram_cgroup *top = cram_test_resident(test, NULL, cases[i].own, 0);
		struct cram_cgroup *child[NR_CHILDREN];

		for (c = 0; c < NR_CHILDREN; c++)
			child[c] = cram_test_resident(test, top, cases[i].resident[c],
						      cases[i].low[c]);
		cram_test_share(test, top, cases[i].wanted);
		for (c = 0; c < NR_CHILDREN; c++)
			KUNIT_EXPECT_EQ_MSG(test, cram_test_share_of(child[c]),
					    cases[i].share[c], "case %d, child %d", i, c);
		KUNIT_EXPECT_EQ_MSG(test, cram_test_share_of(top),
				    cases[i].own_share, "case %d", i);
	}
}

/* Who has no swap, or little, is passed over, whatever the protection of the others */
static void cram_test_shares_without_swap(struct kunit *test)
{
	static const struct {
		unsigned long resident[NR_CHILDREN], low[NR_CHILDREN], left, wanted;
		unsigned long share[NR_CHILDREN];
	} cases[] = {
		/* of child 0 */
		{ { 100, 100, 100 }, {}, 0, 40, { 0, 20, 20 } },
		{ { 100, 100, 100 }, {}, 20, 110, { 10, 50, 50 } },
		{ { 100, 100, 100 }, {}, 20, 1000, { 20, 100, 100 } },
		{ { 100, 100, 100 }, { 0, 100, 200 }, 0, 40, { 0, 20, 20 } },
		{ { 100, 100, 100 }, { 0, 90, 200 }, 0, 8, { 0, 8, 0 } },
		{ { 100, 100, 100 }, { 0, 100, 200 }, 10, 40, { 10, 15, 15 } },
		{ { 100, 0, 0 }, {}, 0, 40, { 0, 0, 0 } },
	};
	struct cram_test_swap swap;
	int i, c;

	test->priv = &swap;
	for (i = 0; i < ARRAY_SIZE(cases); i++) {
		struct cram_cgroup *top = cram_test_resident(test, NULL, 0, 0);
		struct cram_cgroup *child[NR_CHILDREN];

		for (c = 0; c < NR_CHILDREN; c++)
			child[c] = cram_test_resident(test, top, cases[i].resident[c],
						      cases[i].low[c]);
		swap = (struct cram_test_swap){ child[0], cases[i].left };
		cram_test_share(test, top, cases[i].wanted);
		for (c = 0; c < NR_CHILDREN; c++)
			KUNIT_EXPECT_EQ_MSG(test, cram_test_share_of(child[c]),
					    cases[i].share[c], "case %d, child %d", i, c);
		/* Nobody below it can pay either */
		swap.cg = top;
		KUNIT_EXPECT_EQ(test, cram_test_share(test, top, 1000),
				min(cases[i].left, cases[i].resident[0] +
				    cases[i].resident[1] + cases[i].resident[2]));
	}
	test->priv = NULL;
}

/* Each level shares what the one above it got; low binds among siblings */
static void cram_test_shares_below(struct kunit *test)
{
	struct cram_cgroup *top = cram_test_resident(test, NULL, 0, 0);
	struct cram_cgroup *a = cram_test_resident(test, top, 20, 0);
	struct cram_cgroup *a1 = cram_test_resident(test, a, 60, 0);
	struct cram_cgroup *a2 = cram_test_resident(test, a, 20, 1000);
	struct cram_cgroup *b = cram_test_resident(test, top, 0, 50);
	struct cram_cgroup *b1 = cram_test_resident(test, b, 100, 0);

	/* a has 100 and no protection, b has 50 more than its own */
	KUNIT_EXPECT_EQ(test, cram_test_share(test, top, 30), 30);
	KUNIT_EXPECT_EQ(test, cram_test_share_of(top), 0);
	KUNIT_EXPECT_EQ(test, cram_test_share_of(a), 5);
	KUNIT_EXPECT_EQ(test, cram_test_share_of(a1), 15);
	KUNIT_EXPECT_EQ(test, cram_test_share_of(a2), 0);
	KUNIT_EXPECT_EQ(test, cram_test_share_of(b), 0);
	KUNIT_EXPECT_EQ(test, cram_test_share_of(b1), 10);

	/* What was given is not wanted again, more than was wanted neither */
	cram_cgroup_gave(a1, TEST_NID, 6);
	KUNIT_EXPECT_EQ(test, cram_test_share_of(a1), 9);
	cram_cgroup_gave(a1, TEST_NID, 10);
	KUNIT_EXPECT_EQ(test, cram_test_share_of(a1), 0);

	/* Each time anew, if all have given */
	cram_cgroup_gave(a, TEST_NID, 5);
	cram_cgroup_gave(b1, TEST_NID, 10);
	cram_test_share(test, top, 60);
	KUNIT_EXPECT_EQ(test, cram_test_share_of(a1), 30);

	/* Who has not, is as far behind its siblings as before, at each level */
	cram_cgroup_gave(a, TEST_NID, 10);
	cram_cgroup_gave(b1, TEST_NID, 20);
	cram_test_share(test, top, 60);
	KUNIT_EXPECT_EQ(test, cram_test_share_of(b1), 5);
	KUNIT_EXPECT_EQ(test, cram_test_share_of(a), 0);
	KUNIT_EXPECT_EQ(test, cram_test_share_of(a1), 55);

	/* What is of one that is removed, is its parent's */
	cram_cgroup_gave(a1, TEST_NID, 55);
	cram_cgroup_gave(b1, TEST_NID, 5);
	WRITE_ONCE(b1->dying, true);
	cram_test_share(test, top, 30);
	KUNIT_EXPECT_EQ(test, cram_test_share_of(b), 10);
}

/* Pages of another node count for cram.low, but cannot be given for this one */
static void cram_test_shares_of_node(struct kunit *test)
{
	struct cram_cgroup *top = cram_test_resident(test, NULL, 0, 0);
	struct cram_cgroup *a = cram_test_resident(test, top, 10, 0);
	struct cram_cgroup *b = cram_test_resident(test, top, 30, 100);

	/* elsewhere */
	page_counter_charge(&a->resident, 1000);
	page_counter_charge(&b->resident, 90);
	cram_test_share(test, top, 10);
	/* a: 10 of 1010; b: 20 over its low, all of which may come from here */
	KUNIT_EXPECT_EQ(test, cram_test_share_of(a), 3);
	KUNIT_EXPECT_EQ(test, cram_test_share_of(b), 7);
}

/* Whatever the numbers: the sum is what was wanted, and nobody gives what it has not */
static void cram_test_shares_sum(struct kunit *test)
{
	u32 x = 1;
	int i, c;

	for (i = 0; i < 300; i++) {
		struct cram_cgroup *top = cram_test_resident(test, NULL, i % 3 ? 0 : 77, 0);
		unsigned long here[NR_CHILDREN], over[NR_CHILDREN], wanted, sum;
		unsigned long all = i % 3 ? 0 : 77, excess = all;
		s32 carry = i % 2 ? CRAM_CARRY_MAX : 1 << CRAM_PAGE_SHIFT;
		struct cram_cgroup *child[NR_CHILDREN];

		for (c = 0; c < NR_CHILDREN; c++) {
			x = x * 1664525 + 1013904223;
			here[c] = x >> 20;
			over[c] = here[c] - min_t(unsigned long, here[c], x >> 10 & 4095);
			child[c] = cram_test_resident(test, top, here[c], x >> 10 & 4095);
			excess += over[c];
			all += here[c];
		}
		x = x * 1664525 + 1013904223;
		wanted = all ? (x >> 8) % all : 0;
		for (c = 0; c < NR_CHILDREN; c++)
			child[c]->node[TEST_NID].levy.carry = (s32)(x >> c) % carry;
		KUNIT_EXPECT_EQ(test, cram_test_share(test, top, wanted), wanted);
		sum = cram_test_share_of(top);
		for (c = 0; c < NR_CHILDREN; c++) {
			unsigned long share = cram_test_share_of(child[c]);

			sum += share;
			KUNIT_EXPECT_LE(test, share, wanted <= excess ? over[c] : here[c]);
			if (wanted <= excess && excess)
				KUNIT_EXPECT_LE(test, abs_diff(share, wanted * over[c] / excess),
						2 + 2 * (carry >> CRAM_PAGE_SHIFT));
		}
		KUNIT_EXPECT_EQ_MSG(test, sum, wanted, "round %d", i);
	}
}

/*
 * A few pages now and then: in the long run each cgroup gives what is due of it, to the
 * page, whatever is asked for each time; and so do some who are away every second time.
 */
static void cram_test_shares_in_turn(struct kunit *test)
{
	/* @within so many pages; with @cut, relief ends when half of what was wanted is given */
	static const struct { int cgroups, rounds, most, within, away; bool cut; } cases[] = {
		{ 3, 100, 1, 2 }, { 20, 100, 1, 2 }, { 20, 100, 7, 2 }, { 20, 300, 100, 2, 5 },
		{ 200, 20, 90, 2 }, { 3000, 2, 1, 2 }, { 3, 100, 10, 4, .cut = true },
		{ 20, 300, 20, 4, .cut = true }, { 200, 60, 200, 4, .cut = true },
	};
	u32 x = 1;
	int i, n, c, round, hand = 0;

	for (i = 0; i < ARRAY_SIZE(cases); i++) {
		struct cram_cgroup *top = cram_test_resident(test, NULL, 0, 0), **child;
		unsigned long *gave, wanted, sum, all = 0, here = 0, least = ULONG_MAX, most = 0;

		n = cases[i].cgroups;
		child = kunit_kcalloc(test, n, sizeof(*child), GFP_KERNEL);
		gave = kunit_kcalloc(test, n, sizeof(*gave), GFP_KERNEL);
		KUNIT_ASSERT_NOT_NULL(test, child);
		KUNIT_ASSERT_NOT_NULL(test, gave);
		for (c = 0; c < n; c++)
			child[c] = cram_test_resident(test, top, 100, 0);
		for (round = 0; round < cases[i].rounds; round++) {
			for (c = 0; c < cases[i].away; c++) {
				struct cram_levy *levy = &child[c]->node[TEST_NID].levy;

				levy->broke = round % 2;
				levy->broke_until = jiffies + HZ;
			}
			x = x * 1664525 + 1013904223;
			wanted = 1 + (x >> 8) % cases[i].most;
			KUNIT_EXPECT_EQ(test, cram_test_share(test, top, wanted), wanted);
			for (sum = 0, c = 0; c < n; c++)
				sum += cram_test_share_of(child[c]);
			KUNIT_EXPECT_EQ(test, sum, wanted);
			if (cases[i].cut)
				wanted = DIV_ROUND_UP(wanted, 2);
			all += wanted;
			here += round % 2 ? 0 : wanted;
			for (; wanted; hand++) {
				unsigned long nr;

				c = hand % n;
				nr = min(cram_test_share_of(child[c]), wanted);
				cram_cgroup_gave(child[c], TEST_NID, nr);
				gave[c] += nr;
				wanted -= nr;
			}
		}
		for (c = cases[i].away; c < n; c++) {
			least = min(least, gave[c]);
			most = max(most, gave[c]);
		}
		KUNIT_EXPECT_LE_MSG(test, most - least, cases[i].within, "%lu to %lu of %lu, case %d",
				    least, most, all, i);
		for (c = 0; c < cases[i].away; c++)
			KUNIT_EXPECT_LE_MSG(test, abs_diff(gave[c], here / n), 2,
					    "%lu, and %lu, case %d", gave[c], here / n, i);
	}
}

/* Who is read is spared for some rounds, and who has nothing is not asked again soon */
static void cram_test_rounds(struct kunit *test)
{
	struct cram_cgroup *top = cram_test_resident(test, NULL, 0, 0);
	struct cram_cgroup *a = cram_test_resident(test, top, 100, 0);
	struct cram_levy *levy = &a->node[TEST_NID].levy;
	int round;

	KUNIT_EXPECT_EQ(test, cram_test_share(test, top, 10), 10);
	for (round = 0; round < CRAM_SPARED_ROUNDS; round++) {
		KUNIT_EXPECT_TRUE(test, cram_cgroup_spare(a, TEST_NID));
		/* It owes that still */
		KUNIT_EXPECT_EQ(test, cram_levy_over(levy), 10);
		KUNIT_EXPECT_EQ(test, cram_test_share_of(a), 10);
	}
	/* It pays, and may try to be spared once */
	KUNIT_EXPECT_FALSE(test, cram_cgroup_spare(a, TEST_NID));
	cram_cgroup_gave(a, TEST_NID, 10);
	KUNIT_EXPECT_EQ(test, cram_levy_over(levy), 0);
	cram_test_share(test, top, 10);
	KUNIT_EXPECT_TRUE(test, cram_cgroup_spare(a, TEST_NID));
	cram_cgroup_gave(a, TEST_NID, 4);
	KUNIT_EXPECT_EQ(test, cram_levy_over(levy), 6);
	KUNIT_EXPECT_FALSE(test, cram_cgroup_spare(a, TEST_NID));

	/* It has nothing after all, which is believed when it is so twice */
	KUNIT_EXPECT_EQ(test, cram_levy_over(levy), 6);
	cram_cgroup_gave(a, TEST_NID, 1);
	KUNIT_EXPECT_EQ(test, cram_levy_over(levy), 5);
	KUNIT_EXPECT_EQ(test, cram_levy_over(levy), 0);
	KUNIT_EXPECT_EQ(test, cram_test_share(test, top, 10), 0);
	levy->broke_until = jiffies;
	KUNIT_EXPECT_EQ(test, cram_test_share(test, top, 10), 10);
}

/* --- owners -------------------------------------------------------------------- */

static bool cram_test_known(u32 id)
{
	guard(rcu)();
	return cram_owner_lookup(id);
}

static struct cram_cgroup *cram_test_books(struct cram_owner *owner)
{
	guard(rcu)();
	return cram_owner_books(owner);
}

/* A cgroup as the cgroup core makes it, but in no hierarchy */
static struct cram_cgroup *cram_test_create(struct kunit *test, struct cram_cgroup *parent)
{
	struct cgroup_subsys_state *css = cram_css_alloc(parent ? &parent->css : NULL);

	KUNIT_ASSERT_NOT_ERR_OR_NULL(test, css);
	css->parent = parent ? &parent->css : NULL;
	css->ss = &cram_test_subsys;
	css->cgroup = &cgrp_dfl_root.cgrp;
	return css_cram(css);
}

static struct cram_cgroup *cram_test_mkdir(struct kunit *test, struct cram_cgroup *parent)
{
	struct cram_cgroup *cg = cram_test_create(test, parent);

	KUNIT_EXPECT_EQ(test, cram_css_online(&cg->css), 0);
	return cg;
}

/* It was made, and then something else of the cgroup could not be */
static void cram_test_never_online(struct kunit *test)
{
	struct cram_cgroup *parent = cram_test_mkdir(test, NULL);
	struct cram_cgroup *cg = cram_test_create(test, parent);
	long refs = atomic_long_read(&parent->owner->refs);

	/* Nobody can have found it, so nothing of it can be left behind */
	KUNIT_EXPECT_EQ(test, cg->owner->id, 0);
	/* The parent may be offline by the time at which it is freed */
	cram_css_offline(&parent->css);
	cram_css_free(&cg->css);
	rcu_barrier();
	KUNIT_EXPECT_EQ(test, atomic_long_read(&parent->owner->refs), refs);
	cram_css_free(&parent->css);
	rcu_barrier();
}

/* Whoever found a cgroup finds an owner, until the cgroup is freed */
static void cram_test_owner_of_dying(struct kunit *test)
{
	struct cram_cgroup *parent = cram_test_mkdir(test, NULL);
	struct cram_cgroup *cg = cram_test_mkdir(test, parent);
	struct cram_owner *owner = cg->owner;
	u32 id = owner->id;

	KUNIT_EXPECT_PTR_EQ(test, cram_test_books(owner), cg);
	cram_css_offline(&cg->css);
	rcu_barrier();
	/* As a demotion that has found it just before it was unpublished */
	KUNIT_EXPECT_TRUE(test, cram_test_known(id));
	KUNIT_ASSERT_TRUE(test, cram_owner_tryget(cram_cgroup_owner(cg), 1));
	KUNIT_EXPECT_PTR_EQ(test, cram_test_books(owner), parent);
	cram_css_free(&cg->css);
	rcu_barrier();

	/* A page is left, and then it is not */
	KUNIT_EXPECT_TRUE(test, cram_test_known(id));
	KUNIT_EXPECT_PTR_EQ(test, cram_test_books(owner), parent);
	cram_owner_put(owner, 1);
	rcu_barrier();
	KUNIT_EXPECT_FALSE(test, cram_test_known(id));
	cram_css_offline(&parent->css);
	cram_css_free(&parent->css);
	rcu_barrier();
}

#define CRAM_TEST_DEPTH	5

/* A line of cgroups is removed from below, in the end with one page left */
static void cram_test_owner_line(struct kunit *test)
{
	struct cram_cgroup *line[CRAM_TEST_DEPTH];
	struct cram_owner *last;
	u32 id[CRAM_TEST_DEPTH];
	int i;

	for (i = 0; i < CRAM_TEST_DEPTH; i++) {
		line[i] = cram_test_mkdir(test, i ? line[i - 1] : NULL);
		id[i] = line[i]->owner->id;
	}
	last = line[CRAM_TEST_DEPTH - 1]->owner;
	KUNIT_ASSERT_TRUE(test, cram_owner_tryget(last, 1));

	for (i = CRAM_TEST_DEPTH - 1; i > 0; i--) {
		cram_css_offline(&line[i]->css);
		KUNIT_EXPECT_PTR_EQ(test, cram_test_books(last), line[i - 1]);
		cram_css_free(&line[i]->css);
		rcu_barrier();
		KUNIT_EXPECT_PTR_EQ(test, cram_test_books(last), line[i - 1]);
	}
	/* The last keeps those above it, and they go one after the other */
	for (i = 1; i < CRAM_TEST_DEPTH; i++)
		KUNIT_EXPECT_TRUE(test, cram_test_known(id[i]));
	cram_owner_put(last, 1);
	for (i = CRAM_TEST_DEPTH - 1; i > 0; i--) {
		rcu_barrier();
		KUNIT_EXPECT_FALSE_MSG(test, cram_test_known(id[i]), "level %d", i);
	}
	KUNIT_EXPECT_TRUE(test, cram_test_known(id[0]));
	cram_css_free(&line[0]->css);
	rcu_barrier();
}

static struct cram_cgroup *cram_test_full(struct cram_cgroup *cg, int nid)
{
	guard(rcu)();
	return cram_cgroup_limiting(cg, nid, 1);
}

/* No id is left: pages are the parent's, and a limit refuses what it cannot count */
static void cram_test_lodger(struct kunit *test)
{
	struct cram_cgroup *root = cram_test_mkdir(test, NULL);
	struct cram_cgroup *parent = cram_test_mkdir(test, root);
	struct cram_cgroup *cg, *child;
	u32 id = parent->owner->id, max = cram_max_owner_id;

	/* That one is taken */
	cram_max_owner_id = 1;
	cg = cram_test_mkdir(test, parent);
	cram_max_owner_id = max;
	/* An id of its own would have it charge around its parent's books */
	child = cram_test_mkdir(test, cg);

	KUNIT_EXPECT_PTR_EQ(test, cg->owner, parent->owner);
	KUNIT_EXPECT_PTR_EQ(test, child->owner, parent->owner);
	KUNIT_EXPECT_PTR_EQ(test, cram_test_books(child->owner), parent);

	KUNIT_EXPECT_NULL(test, cram_test_full(child, NUMA_NO_NODE));
	KUNIT_EXPECT_NULL(test, cram_test_full(child, TEST_NID));
	cg->resident.max = 1000;
	KUNIT_EXPECT_PTR_EQ(test, cram_test_full(child, NUMA_NO_NODE), cg);
	KUNIT_EXPECT_NULL(test, cram_test_full(child, TEST_NID));
	cg->resident.max = PAGE_COUNTER_MAX;
	cg->node[TEST_NID].max = 1000;
	KUNIT_EXPECT_NULL(test, cram_test_full(child, NUMA_NO_NODE));
	KUNIT_EXPECT_PTR_EQ(test, cram_test_full(child, TEST_NID), cg);
	cg->node[TEST_NID].max = PAGE_COUNTER_MAX;
	cram_test_budget(child, 1000);
	KUNIT_EXPECT_PTR_EQ(test, cram_test_full(child, NUMA_NO_NODE), child);
	/* Where there are books, a limit is one */
	parent->resident.max = 1000;
	KUNIT_EXPECT_NULL(test, cram_test_full(cg, NUMA_NO_NODE));

	/* They go, and take nothing of the parent's with them */
	cram_css_offline(&child->css);
	cram_css_free(&child->css);
	cram_css_offline(&cg->css);
	cram_css_free(&cg->css);
	rcu_barrier();
	KUNIT_EXPECT_EQ(test, atomic_long_read(&parent->owner->refs), 1);
	KUNIT_EXPECT_PTR_EQ(test, cram_test_books(parent->owner), parent);
	cram_css_offline(&parent->css);
	cram_css_free(&parent->css);
	rcu_barrier();
	KUNIT_EXPECT_FALSE(test, cram_test_known(id));
	cram_css_free(&root->css);
	rcu_barrier();
}

/* --- cram.nodes ---------------------------------------------------------------- */

static bool cram_test_allowed(struct cram_cgroup *cg, int nid)
{
	guard(rcu)();
	return cram_cgroup_node_allowed(cg, nid);
}

/* Every level can take away, whenever it was written, and none can give */
static void cram_test_rights(struct kunit *test)
{
	struct cram_cgroup *top = cram_test_cgroup(test, NULL);
	struct cram_cgroup *cg = cram_test_cgroup(test, top), *late;

	KUNIT_EXPECT_TRUE(test, cram_test_allowed(cg, TEST_NID));
	node_clear(TEST_NID, top->nodes);
	late = cram_test_cgroup(test, cg);
	KUNIT_EXPECT_FALSE(test, cram_test_allowed(top, TEST_NID));
	KUNIT_EXPECT_FALSE(test, cram_test_allowed(cg, TEST_NID));
	KUNIT_EXPECT_FALSE(test, cram_test_allowed(late, TEST_NID));
	KUNIT_EXPECT_TRUE(test, cram_test_allowed(late, TEST_NID + 1));
	node_set(TEST_NID, top->nodes);
	nodes_clear(cg->nodes);
	KUNIT_EXPECT_TRUE(test, cram_test_allowed(top, TEST_NID));
	KUNIT_EXPECT_FALSE(test, cram_test_allowed(late, TEST_NID));
}

/* --- charging at a limit ------------------------------------------------------- */

static bool cram_test_resident_charge(struct cram_cgroup *cg, unsigned long nr)
{
	guard(rcu)();
	return cram_cgroup_try_charge(cg, TEST_NID, nr);
}

static void cram_test_resident_uncharge(struct cram_cgroup *cg, unsigned long nr)
{
	guard(rcu)();
	cram_cgroup_uncharge(cg, TEST_NID, nr);
}

/* A refusal leaves nothing behind, at whichever level it was */
static void cram_test_charge_refused(struct kunit *test)
{
	struct cram_cgroup *line[3];
	int i, level;

	for (i = 0; i < 3; i++)
		line[i] = cram_test_cgroup(test, i ? line[i - 1] : NULL);
	for (level = 0; level < 6; level++) {
		unsigned long *max = level < 3 ? &line[level]->node[TEST_NID].max :
						 &line[level - 3]->resident.max;

		*max = 5;
		KUNIT_EXPECT_TRUE(test, cram_test_resident_charge(line[2], 5));
		KUNIT_EXPECT_FALSE(test, cram_test_resident_charge(line[2], 1));
		cram_test_resident_uncharge(line[2], 1);
		KUNIT_EXPECT_FALSE(test, cram_test_resident_charge(line[2], 2));
		KUNIT_EXPECT_TRUE(test, cram_test_resident_charge(line[2], 1));
		cram_test_resident_uncharge(line[2], 5);
		KUNIT_EXPECT_FALSE(test, cram_test_resident_charge(line[2], 6));
		for (i = 0; i < 3; i++) {
			KUNIT_EXPECT_EQ(test, cram_cgroup_resident(line[i], TEST_NID), 0);
			KUNIT_EXPECT_EQ(test, cram_cgroup_resident(line[i], NUMA_NO_NODE), 0);
		}
		*max = PAGE_COUNTER_MAX;
	}
}

/*
 * One cgroup is always full and asks all the time for many pages. The other has space
 * for one, in every number above it, and takes it and gives it back: it never fails.
 */
#define CRAM_TEST_ROUNDS	20000

struct cram_test_asker {
	struct cram_cgroup *cg;
	struct completion started;
	unsigned long taken;
};

static int cram_test_ask(void *data)
{
	struct cram_test_asker *asker = data;

	complete(&asker->started);
	while (!kthread_should_stop()) {
		asker->taken += cram_test_resident_charge(asker->cg, 512);
		cond_resched();
	}
	return 0;
}

static void cram_test_charge_together(struct kunit *test)
{
	struct cram_cgroup *top = cram_test_cgroup(test, NULL);
	struct cram_cgroup *cg = cram_test_cgroup(test, top);
	struct cram_test_asker asker = {
		.cg = cram_test_cgroup(test, top),
	};
	struct task_struct *task;
	int i, refused = 0;

	/* Its own limit refuses it; the parent's would have to bear it until then */
	init_completion(&asker.started);
	asker.cg->node[TEST_NID].max = 511;
	top->node[TEST_NID].max = 100;
	KUNIT_ASSERT_TRUE(test, cram_test_resident_charge(cg, 99));

	task = kthread_run(cram_test_ask, &asker, "cram_test_ask");
	KUNIT_ASSERT_NOT_ERR_OR_NULL(test, task);
	wait_for_completion(&asker.started);
	for (i = 0; i < CRAM_TEST_ROUNDS; i++) {
		if (!cram_test_resident_charge(cg, 1))
			refused++;
		else
			cram_test_resident_uncharge(cg, 1);
		cond_resched();
	}
	kthread_stop(task);
	KUNIT_EXPECT_EQ(test, refused, 0);
	KUNIT_EXPECT_EQ(test, asker.taken, 0);
	KUNIT_EXPECT_EQ(test, cram_cgroup_resident(top, TEST_NID), 99);
	KUNIT_EXPECT_EQ(test, cram_cgroup_resident(top, NUMA_NO_NODE), 99);
}

static void cram_test_estimate(struct kunit *test)
{
	/* Nothing known */
	KUNIT_EXPECT_EQ(test, cram_estimate(0, 0, 0), 0);
	KUNIT_EXPECT_EQ(test, cram_estimate(100, 0, 0), 100 * PAGE_SIZE);
	/* ... or half of it */
	KUNIT_EXPECT_EQ(test, cram_estimate(100, 1, 0), 100 * PAGE_SIZE);
	KUNIT_EXPECT_EQ(test, cram_estimate(100, -1, 500), 100 * PAGE_SIZE);

	KUNIT_EXPECT_EQ(test, cram_estimate(100, 4, 2000), 50000);
	KUNIT_EXPECT_EQ(test, cram_estimate(100, 2, 2 * PAGE_SIZE), 100 * PAGE_SIZE);
	/* The sum is ahead of the number */
	KUNIT_EXPECT_EQ(test, cram_estimate(100, 1, 2 * PAGE_SIZE), 100 * PAGE_SIZE);
	/* 16 TiB, a 64th of it sampled, at a third */
	KUNIT_EXPECT_EQ(test, cram_estimate(1UL << 32, 1L << 26, (1L << 26) * 1365),
			(1UL << 32) * 1365);
}

static struct kunit_case cram_cgroup_cases[] = {
	KUNIT_CASE(cram_test_inherit),
	KUNIT_CASE(cram_test_shared_budget),
	KUNIT_CASE(cram_test_over_budget),
	KUNIT_CASE(cram_test_budget_event),
	KUNIT_CASE(cram_test_shares),
	KUNIT_CASE(cram_test_shares_below),
	KUNIT_CASE(cram_test_shares_of_node),
	KUNIT_CASE(cram_test_shares_without_swap),
	KUNIT_CASE(cram_test_shares_sum),
	KUNIT_CASE(cram_test_shares_in_turn),
	KUNIT_CASE(cram_test_rounds),
	KUNIT_CASE(cram_test_never_online),
	KUNIT_CASE(cram_test_owner_of_dying),
	KUNIT_CASE(cram_test_owner_line),
	KUNIT_CASE(cram_test_lodger),
	KUNIT_CASE(cram_test_rights),
	KUNIT_CASE(cram_test_charge_refused),
	KUNIT_CASE(cram_test_charge_together),
	KUNIT_CASE(cram_test_estimate),
	{}
};

static struct kunit_suite cram_cgroup_suite = {
	.name = "cram_cgroup",
	.test_cases = cram_cgroup_cases,
};

kunit_test_suite(cram_cgroup_suite);
