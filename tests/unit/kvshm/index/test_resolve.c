/* SPDX-License-Identifier: Apache-2.0 */
/* test_resolve.c - ids of a prefix, every link checked */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "kvshm/base/compiler.h"
#include "kvshm/index/index.h"
#include "tests/lib/fake_dir.h"

enum { NR = 500 };

/* Chain 1 in runs of @run neighbouring ids, the runs laid out backwards. */
static struct directory *chain_in_runs(unsigned run, struct kvshm_key *keys, blk_id_t *ids)
{
	struct directory *dir = fake_dir_create(3 * NR);
	unsigned i;

	for (i = 0; i < NR; i++) {
		keys[i] = fake_key(1, i);
		ids[i] = (NR / run - i / run) * (run + 1) + i % run + 1;
		fake_publish(dir, 0, &keys[i], ids[i], i ? ids[i - 1] : 0);
	}
	return dir;
}

static void a_chain_in_runs_of_any_length_is_resolved(void **state)
{
	static const unsigned runs[] = { 1, 2, 3, 8, 17, 33, 100 };
	struct kvshm_key keys[NR];
	blk_id_t ids[NR], got[NR];
	unsigned r, nr;

	for (r = 0; r < ARRAY_SIZE(runs); r++) {
		struct directory *dir = chain_in_runs(runs[r], keys, ids);

		for (nr = 0; nr <= NR; nr += nr < 40 ? 1 : 41) {
			memset(got, 0, sizeof(got));
			assert_int_equal(index_resolve(dir, 0, keys, nr, got), nr);
			assert_memory_equal(got, ids, nr * sizeof(*ids));
			assert_int_equal(got[nr < NR ? nr : NR - 1], nr < NR ? 0 : ids[NR - 1]);
		}
		fake_dir_destroy(dir);
	}
}

static void neighbours_up_to_the_last_descriptor_are_resolved(void **state)
{
	struct directory *dir = fake_dir_create(64);
	struct kvshm_key keys[65];
	blk_id_t got[65];
	unsigned i;

	fake_chain(dir, 1, 64, 1);
	for (i = 0; i < 65; i++)
		keys[i] = fake_key(1, i);
	assert_int_equal(index_resolve(dir, 0, keys, 65, got), 64);
	assert_int_equal(got[63], 64);
	fake_dir_destroy(dir);
}

static void a_wrong_parent_ends_the_prefix(void **state)
{
	static const unsigned runs[] = { 1, 8, 100 };
	struct kvshm_key keys[NR];
	blk_id_t ids[NR], got[NR];
	unsigned r, at;

	for (r = 0; r < ARRAY_SIZE(runs); r++)
		for (at = 0; at < NR; at += 37) {
			struct directory *dir = chain_in_runs(runs[r], keys, ids);

			dir->desc[ids[at]].parent = ids[(at + 2) % NR];
			assert_int_equal(index_resolve(dir, 0, keys, NR, got), at);
			fake_dir_destroy(dir);
		}
}

static void a_chain_that_does_not_start_at_a_root_has_no_prefix(void **state)
{
	struct kvshm_key keys[NR];
	blk_id_t ids[NR], got[NR];
	struct directory *dir = chain_in_runs(8, keys, ids);

	assert_int_equal(index_resolve(dir, 0, keys + 1, NR - 1, got), 0);
	fake_dir_destroy(dir);
}

static void another_namespace_has_none_of_it(void **state)
{
	struct kvshm_key keys[NR];
	blk_id_t ids[NR], got[NR];
	struct directory *dir = chain_in_runs(100, keys, ids);

	dir->desc[ids[50]].ns = 1;
	assert_int_equal(index_resolve(dir, 0, keys, NR, got), 50);
	assert_int_equal(index_resolve(dir, 1, keys, NR, got), 0);
	fake_dir_destroy(dir);
}

static void an_ancestor_closed_for_a_moment_counts(void **state)
{
	struct kvshm_key keys[NR];
	blk_id_t ids[NR], got[NR];
	struct directory *dir = chain_in_runs(8, keys, ids);
	unsigned i;

	for (i = 0; i < NR; i++)
		block_close(&dir->desc[ids[i]]);
	assert_int_equal(index_resolve(dir, 0, keys, NR, got), NR);
	block_quarantine(&dir->desc[ids[300]]);
	assert_int_equal(index_resolve(dir, 0, keys, NR, got), 300);
	fake_dir_destroy(dir);
}

static void a_damaged_directory_only_shortens_the_prefix(void **state)
{
	struct kvshm_key keys[NR];
	blk_id_t ids[NR], got[NR];
	struct directory *dir = chain_in_runs(1, keys, ids);
	uint64_t b;

	for (b = 0; b <= dir->bucket_mask; b++)
		memset(&dir->bucket[b], 0xff, sizeof(dir->bucket[b]));
	assert_int_equal(index_resolve(dir, 0, keys, NR, got), 0);
	fake_dir_destroy(dir);
}

static void a_whole_chain_that_ends_in_the_pinned_block_is_resolved(void **state)
{
	struct kvshm_key keys[NR];
	blk_id_t ids[NR], got[NR];
	struct directory *dir = chain_in_runs(8, keys, ids);

	assert_int_equal(index_resolve_pinned(dir, 0, keys, NR, ids[NR - 1], got), NR);
	assert_memory_equal(got, ids, sizeof(ids));
	assert_int_equal(index_resolve_pinned(dir, 0, keys, 0, 0, got), 0);
	fake_dir_destroy(dir);
}

static void a_stretch_from_inside_a_chain_is_resolved_by_its_pin(void **state)
{
	struct kvshm_key keys[NR];
	blk_id_t ids[NR], got[NR];
	struct directory *dir = chain_in_runs(8, keys, ids);
	unsigned from;

	for (from = 1; from < NR; from += 83) {
		assert_int_equal(index_resolve_pinned(dir, 0, keys + from, NR - from, ids[NR - 1], got),
				 NR - from);
		assert_memory_equal(got, ids + from, (NR - from) * sizeof(*ids));
	}
	assert_int_equal(index_resolve_pinned(dir, 0, &keys[300], 1, ids[300], got), 1);
	/* Another key in the middle, another pinned block: what is behind them does not count. */
	keys[300] = fake_key(77, 300);
	assert_int_equal(index_resolve_pinned(dir, 0, keys + 100, NR - 100, ids[NR - 1], got), 200);
	assert_int_equal(index_resolve_pinned(dir, 0, keys + 100, 50, ids[150], got), 0);
	fake_dir_destroy(dir);
}

/* The chain is dropped while its leaf is pinned, and published again as other blocks. */
static void after_a_drop_the_pinned_blocks_are_resolved_not_their_namesakes(void **state)
{
	enum { LEN = 20 };
	struct directory *dir = fake_dir_create(100);
	struct kvshm_key keys[LEN];
	blk_id_t got[LEN];
	unsigned i;

	fake_chain(dir, 1, LEN, 1);
	for (i = LEN; i-- > 0;) {
		keys[i] = fake_key(1, i);
		index_remove(dir, 0, &keys[i], i + 1);
		block_quarantine(&dir->desc[i + 1]);
	}
	fake_chain(dir, 1, LEN, 51);
	assert_int_equal(index_resolve(dir, 0, keys, LEN, got), LEN);
	assert_int_equal(got[LEN - 1], 50 + LEN);	/* nobody pins these */
	assert_int_equal(index_resolve_pinned(dir, 0, keys, LEN, LEN, got), LEN);
	for (i = 0; i < LEN; i++)
		assert_int_equal(got[i], i + 1);
	fake_dir_destroy(dir);
}

static void a_short_chain_is_resolved_by_what_the_pin_protects(void **state)
{
	struct kvshm_key keys[NR];
	blk_id_t ids[NR], got[NR];
	struct directory *dir = chain_in_runs(8, keys, ids);

	/* The engine's key 300 is not the one that the pinned chain has. */
	keys[300] = fake_key(77, 300);
	assert_int_equal(index_resolve_pinned(dir, 0, keys, NR, ids[NR - 1], got), 300);
	assert_memory_equal(got, ids, 300 * sizeof(*ids));
	/* Pinned is not that deep, or deeper: nothing is known of the prefix. */
	assert_int_equal(index_resolve_pinned(dir, 0, keys, NR, ids[NR - 2], got), 0);
	assert_int_equal(index_resolve_pinned(dir, 0, keys, 200, ids[NR - 1], got), 0);
	assert_int_equal(index_resolve_pinned(dir, 0, keys, NR, 0xffffffff, got), 0);
	fake_dir_destroy(dir);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_chain_in_runs_of_any_length_is_resolved),
		cmocka_unit_test(neighbours_up_to_the_last_descriptor_are_resolved),
		cmocka_unit_test(a_wrong_parent_ends_the_prefix),
		cmocka_unit_test(a_chain_that_does_not_start_at_a_root_has_no_prefix),
		cmocka_unit_test(another_namespace_has_none_of_it),
		cmocka_unit_test(an_ancestor_closed_for_a_moment_counts),
		cmocka_unit_test(a_whole_chain_that_ends_in_the_pinned_block_is_resolved),
		cmocka_unit_test(a_stretch_from_inside_a_chain_is_resolved_by_its_pin),
		cmocka_unit_test(after_a_drop_the_pinned_blocks_are_resolved_not_their_namesakes),
		cmocka_unit_test(a_short_chain_is_resolved_by_what_the_pin_protects),
		cmocka_unit_test(a_damaged_directory_only_shortens_the_prefix),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
