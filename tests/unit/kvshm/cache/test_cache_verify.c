/* SPDX-License-Identifier: Apache-2.0 */
/* test_cache_verify.c - each kind of broken book is seen */
#include "fixture.h"
#include "kvshm/cache/cache_priv.h"

static struct fix f;
static uint16_t ns;
static char first[160];

static int setup(void **state)
{
	fix_open(&f, 64, 2, NULL);
	ns = fix_ns(&f, 1, 65536);
	fix_chain(&f, ns, 1, 0, 5);
	fix_grant(&f, FIX_OWNER, ns);
	assert_int_equal(cache_verify(f.c, first), 0);
	assert_string_equal(first, "");
	return 0;
}

static int teardown(void **state)
{
	fix_close(&f);
	return 0;
}

static void expect(const char *text)
{
	assert_true(cache_verify(f.c, first) > 0);
	if (!strstr(first, text))
		fail_msg("first is: %s", first);
}

static void a_wrong_ledger_is_seen(void **state)
{
	f.c->n.published_bytes += 4096;
	expect("published bytes: ledger");
}

static void a_leaked_place_is_seen(void **state)
{
	uint64_t place;

	assert_int_equal(slab_nodes_get(&f.c->slabs, 0, 4096, &place), 0);
	expect("bytes of the allocator");
}

static void a_leaked_id_is_seen(void **state)
{
	blk_id_t id;

	assert_int_equal(id_map_take(&f.c->ids, 1, &id), 1);
	expect("the map of free ids is wrong");
}

static void an_evicting_block_outside_of_a_batch_is_seen(void **state)
{
	block_close(&f.dir.desc[fix_find(&f, ns, 1, 4)]);
	expect("evicting outside of a batch");
}

static void a_missing_index_slot_is_seen(void **state)
{
	const struct kvshm_key key = fix_key(1, 2);

	index_remove(&f.dir, ns, &key, fix_find(&f, ns, 1, 2));
	assert_true(cache_verify(f.c, first) > 0);
}

static void a_block_that_is_not_in_the_tree_is_seen(void **state)
{
	f.c->blk[fix_find(&f, ns, 1, 1)].first_child = 0;
	expect("not in the tree");
}

static void a_grant_that_is_not_in_the_list_is_seen(void **state)
{
	blk_list_del(f.c, &f.c->granted, f.c->granted.head);
	expect("list of grants");
}

static void a_free_block_under_a_pin_is_seen(void **state)
{
	blk_id_t id = fix_find(&f, ns, 1, 4);

	f.word[0][3] = pin_word(id, fix_generation(&f, id) + 1);
	block_free(&f.dir.desc[id]);
	assert_true(cache_verify(f.c, first) > 2);
}

int main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
	const struct CMUnitTest tests[] = {
		T(a_wrong_ledger_is_seen),
		T(a_leaked_place_is_seen),
		T(a_leaked_id_is_seen),
		T(an_evicting_block_outside_of_a_batch_is_seen),
		T(a_missing_index_slot_is_seen),
		T(a_block_that_is_not_in_the_tree_is_seen),
		T(a_grant_that_is_not_in_the_list_is_seen),
		T(a_free_block_under_a_pin_is_seen),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
