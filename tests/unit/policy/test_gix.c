/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "policy/gix.h"

#define SECOND 1000000000ull

static struct policy *make(void)
{
	const struct policy_config cfg = { .max_ids = 100 };
	struct policy *p = NULL;

	assert_int_equal(policy_gix.create(&cfg, &p), 0);
	return p;
}

static void insert(struct policy *p, pol_id_t id, pol_id_t parent, uint64_t now_ns)
{
	const struct pol_block b = { .id = id, .parent = parent, .bytes = 4096, .key = id };

	policy_gix.insert(p, &b, now_ns);
}

static const struct gix_run *run_of(const struct policy *p, pol_id_t id)
{
	return &p->run[p->blk[id].run];
}

/* A daemon hears of a use when the prompt is looked up, and of its new blocks when they were computed. */
static void prefix_keeps_its_class_when_what_was_put_after_its_use_goes(void **state)
{
	struct policy *p = make();
	uint16_t node;

	(void)state;
	insert(p, 1, 0, 0);
	insert(p, 2, 1, 0);
	policy_gix.touch(p, 2, 0, 60 * SECOND);
	node = run_of(p, 2)->node;
	insert(p, 3, 2, 61 * SECOND);
	policy_gix.remove(p, 3);
	assert_int_equal(run_of(p, 2)->node, node);
	assert_int_equal(run_of(p, 2)->uses, 2);
	assert_int_equal(run_of(p, 2)->last, hazard_time(61 * SECOND));
	policy_gix.destroy(p);
}

static void prefix_that_a_walk_left_behind_takes_the_class_of_what_hung_on_it(void **state)
{
	const pol_id_t last = 70, left = last - 64;
	struct policy *p = make();
	pol_id_t id;
	uint16_t node;

	(void)state;
	/* A run for each block, as no two are of one time: more than a use walks. */
	for (id = 1; id <= last; id++)
		insert(p, id, id - 1, id * SECOND);
	policy_gix.touch(p, last, 0, 100 * SECOND);
	policy_gix.touch(p, last, 0, 160 * SECOND);
	assert_int_equal(run_of(p, left)->uses, 1);
	assert_int_equal(run_of(p, left + 1)->uses, 3);
	node = run_of(p, left + 1)->node;
	assert_int_not_equal(run_of(p, left)->node, node);
	for (id = last; id >= left; id--)
		policy_gix.remove(p, id);
	/* and hands it on */
	assert_int_equal(run_of(p, left - 1)->node, node);
	policy_gix.destroy(p);
}

/* The short block at the end of a prompt, which the next turn has filled up and so replaced. */
static void what_a_path_has_passed_by_is_of_a_class_of_its_own(void **state)
{
	struct policy *p = make();
	pol_id_t victim;

	(void)state;
	insert(p, 1, 0, 0);
	insert(p, 2, 1, 0);
	insert(p, 3, 2, 0);
	policy_gix.touch(p, 2, 0, 10 * SECOND);
	assert_false(class_is_apart(&p->tree, run_of(p, 3)->node));
	insert(p, 4, 2, 10 * SECOND);
	assert_true(class_is_apart(&p->tree, run_of(p, 3)->node));
	/* What else is known of it still counts. */
	assert_int_equal(p->tree.edge[run_of(p, 3)->node], p->tree.edge[run_of(p, 4)->node]);
	/* It is where a victim is looked for, and goes on in an ordinary class when somebody comes back for it. */
	assert_int_equal(policy_gix.victims(p, 1, 11 * SECOND, &victim, 1, NULL, NULL), 1);
	assert_int_equal(victim, 3);
	policy_gix.restore(p, 3, 11 * SECOND);
	policy_gix.touch(p, 3, 0, 12 * SECOND);
	assert_false(class_is_apart(&p->tree, run_of(p, 3)->node));
	policy_gix.destroy(p);
}

/* The last block of a prompt is hardly ever whole: a run and a class of its own from the start. */
static void a_partial_block_is_of_a_class_of_its_own(void **state)
{
	const struct pol_block tail = { .id = 3, .parent = 2, .bytes = 1, .key = 3, .is_partial = true };
	struct policy *p = make();
	pol_id_t victim;

	(void)state;
	insert(p, 1, 0, 0);
	insert(p, 2, 1, 0);
	policy_gix.insert(p, &tail, 0);
	assert_ptr_equal(run_of(p, 2), run_of(p, 1));
	assert_ptr_not_equal(run_of(p, 3), run_of(p, 2));
	assert_false(class_is_apart(&p->tree, run_of(p, 2)->node));
	assert_true(class_is_apart(&p->tree, run_of(p, 3)->node));
	/* Not that of what was left behind, which less is known of. */
	insert(p, 4, 2, SECOND);
	assert_int_equal(p->tree.edge[p->tree.parent[run_of(p, 3)->node]] & 255, CLASS_PARTIAL);
	assert_int_equal(policy_gix.victims(p, 1, 2 * SECOND, &victim, 1, NULL, NULL), 1);
	policy_gix.restore(p, victim, 2 * SECOND);
	policy_gix.touch(p, 3, 0, 2 * SECOND);
	assert_false(class_is_apart(&p->tree, run_of(p, 3)->node));
	policy_gix.destroy(p);
}

static void what_many_paths_share_passes_nobody_by(void **state)
{
	struct policy *p = make();
	uint16_t node;

	(void)state;
	insert(p, 1, 0, 0);
	insert(p, 2, 1, 0);
	policy_gix.touch(p, 1, 0, 10 * SECOND);
	insert(p, 3, 1, 10 * SECOND);
	node = run_of(p, 3)->node;
	policy_gix.touch(p, 1, 0, 20 * SECOND);
	insert(p, 4, 1, 20 * SECOND);
	assert_int_equal(run_of(p, 3)->node, node);
	policy_gix.destroy(p);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(prefix_keeps_its_class_when_what_was_put_after_its_use_goes),
		cmocka_unit_test(prefix_that_a_walk_left_behind_takes_the_class_of_what_hung_on_it),
		cmocka_unit_test(what_a_path_has_passed_by_is_of_a_class_of_its_own),
		cmocka_unit_test(a_partial_block_is_of_a_class_of_its_own),
		cmocka_unit_test(what_many_paths_share_passes_nobody_by),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
