/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A directory with a chain of four, a loose block, a grant and a quarantined block, in two extents.  Each
 * test plants one corruption and expects that one violation, named.
 */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cmocka.h>

#include "kvshm/arena/arena.h"
#include "kvshm/arena/block.h"
#include "kvshm/base/rand.h"

#define LEN 65536u
#define PAGES (LEN / KVSHM_PAGE)
#define LOOSE 5u
#define GRANT 6u
#define QUARANTINED 7u
#define MAX_BLOCKS 50u

static const struct directory_geometry geometry = {
	.max_blocks = MAX_BLOCKS,
	.max_ns = 4,
	.max_extents = 4,
	.hash_seed = 1,
	.instance = 1,
};

static void add_block(struct directory *dir, blk_id_t id, blk_id_t parent, uint32_t depth)
{
	const struct block_info info = {
		.key = { .bytes = { (uint8_t)id } },
		.parent = parent,
		.depth = depth,
		.length = LEN,
		.ns = 1,
		.checksum = 7,
		.flags = KVSHM_FLAG_CHECKSUM | (parent ? 0 : KVSHM_FLAG_NOPARENT),
	};

	block_grant(&dir->desc[id], id * PAGES, LEN, 1, 9);
	block_publish(&dir->desc[id], &info);
}

static int setup(void **state)
{
	static struct directory dir;
	int fd = memfd_create("directory", MFD_CLOEXEC);
	blk_id_t id;

	if (ftruncate(fd, (off_t)directory_size(&geometry)) < 0 || directory_create(fd, &geometry, &dir) < 0)
		return -1;
	close(fd);
	dir.sb->nr_ns = 2;		/* entry 0 is none */
	dir.ns[1].state = 1;
	dir.extent[0] = (struct kvshm_extent_entry){ .base = 0, .len = HUGE_LEN };
	dir.extent[1] = (struct kvshm_extent_entry){ .base = HUGE_LEN, .len = 2 * HUGE_LEN };
	dir.sb->nr_extents = 2;
	for (id = 1; id <= 4; id++)
		add_block(&dir, id, id - 1, id - 1);
	add_block(&dir, LOOSE, 0, 0);
	block_grant(&dir.desc[GRANT], GRANT * PAGES, LEN, 1, 9);
	block_grant(&dir.desc[QUARANTINED], QUARANTINED * PAGES, LEN, 1, 9);
	block_quarantine(&dir.desc[QUARANTINED]);
	*state = &dir;
	return 0;
}

static int teardown(void **state)
{
	directory_detach(*state);
	return 0;
}

static void expect_violation(const struct directory *dir, const char *words)
{
	struct arena_report r;

	assert_int_equal(arena_verify(dir, &r), -EUCLEAN);
	assert_true(r.violations >= 1);
	if (!strstr(r.first, words))
		fail_msg("\"%s\" instead of \"%s\"", r.first, words);
}

static void sound_directory_adds_up(void **state)
{
	struct arena_report r;

	assert_int_equal(arena_verify(*state, &r), 0);
	assert_int_equal(r.violations, 0);
	assert_string_equal(r.first, "");
	assert_int_equal(r.capacity_bytes, 3 * HUGE_LEN);
	assert_int_equal(r.published_bytes, 5 * LEN);
	assert_int_equal(r.granted_bytes, LEN);
	assert_int_equal(r.quarantined_bytes, LEN);
	assert_int_equal(r.free_bytes, 3 * HUGE_LEN - 7 * LEN);
	assert_int_equal(r.nr_published, 5);
	assert_int_equal(r.nr_granted, 1);
	assert_int_equal(r.nr_quarantined, 1);
	assert_int_equal(r.nr_free, MAX_BLOCKS - 7);
}

static void evicting_tail_counts_as_published(void **state)
{
	struct directory *dir = *state;
	struct arena_report r;

	block_close(&dir->desc[4]);
	block_close(&dir->desc[3]);
	assert_int_equal(arena_verify(dir, &r), 0);
	assert_int_equal(r.nr_published, 5);
}

static void bytes_are_those_of_the_size_class(void **state)
{
	struct directory *dir = *state;
	struct arena_report r;

	dir->desc[LOOSE].length = LEN - 1000;
	assert_int_equal(arena_verify(dir, &r), 0);
	assert_int_equal(r.published_bytes, 5 * LEN);
}

/* A moved block's old place waits in quarantine; before the move both descriptors name it. */
static void relocation_is_sound_before_and_after_the_move(void **state)
{
	struct directory *dir = *state;
	struct arena_report r;

	block_grant(&dir->desc[8], dir->desc[LOOSE].page, LEN, 1, 0);
	block_quarantine_place(&dir->desc[8], LOOSE);
	assert_int_equal(arena_verify(dir, &r), 0);
	block_move(&dir->desc[LOOSE], 30 * PAGES);
	assert_int_equal(arena_verify(dir, &r), 0);
	assert_int_equal(r.quarantined_bytes, 2 * LEN);
	assert_int_equal(r.published_bytes, 5 * LEN);
}

static void old_place_given_to_a_third_is_an_overlap(void **state)
{
	struct directory *dir = *state;

	block_grant(&dir->desc[8], dir->desc[LOOSE].page, LEN, 1, 0);
	block_quarantine_place(&dir->desc[8], LOOSE);
	block_move(&dir->desc[LOOSE], 30 * PAGES);
	dir->desc[GRANT].page = dir->desc[8].page;
	expect_violation(dir, "overlaps");
}

/* The old place of a block that is gone belongs to the quarantine alone. */
static void old_place_of_a_free_block_is_not_shared(void **state)
{
	struct directory *dir = *state;

	block_grant(&dir->desc[8], 30 * PAGES, LEN, 1, 0);
	block_quarantine_place(&dir->desc[8], 9);
	dir->desc[9].page = 30 * PAGES;
	dir->desc[GRANT].page = 30 * PAGES;
	expect_violation(dir, "block 8: offset 0x1e0000 overlaps");
}

static void depth_does_not_wrap(void **state)
{
	struct directory *dir = *state;
	struct arena_report r;

	dir->desc[3].depth = UINT32_MAX;
	dir->desc[4].depth = 0;
	assert_int_equal(arena_verify(dir, &r), -EUCLEAN);
	assert_int_equal(r.violations, 2);
}

static void more_than_all_in_use_leaves_nothing_free(void **state)
{
	struct directory *dir = *state;
	struct arena_report r;

	dir->desc[1].length = KVSHM_BLOCK_MAX;
	assert_int_equal(arena_verify(dir, &r), -EUCLEAN);
	assert_int_equal(r.free_bytes, 0);
}

#define PLANTED(test, statement, words)                                 \
	static void test(void **state)                                  \
	{                                                               \
		struct directory *dir = *state;                         \
		struct kvshm_desc *d = dir->desc;                       \
		struct kvshm_extent_entry *e = dir->extent;             \
                                                                        \
		(void)d;                                                \
		(void)e;                                                \
		statement;                                              \
		expect_violation(dir, words);                           \
	}

#define SET_STATE(id, s, flags, owner, gen) (d[id].state = state_make(s, flags, owner, gen))
PLANTED(finds_overlap_of_two_blocks, d[2].page = d[1].page, "block 2: offset 0x10000 overlaps")
PLANTED(finds_overlap_by_one_page, d[2].page--, "block 2: offset 0x1f000 overlaps")
PLANTED(finds_overlap_with_a_grant, d[GRANT].page = d[1].page, "block 6: offset 0x10000 overlaps")
PLANTED(finds_overlap_with_quarantine, d[QUARANTINED].page = d[1].page, "block 7: offset 0x10000 overlaps")
PLANTED(finds_overlap_by_length, d[1].length = 2 * LEN, "block 2: offset 0x20000 overlaps")
PLANTED(finds_place_outside, d[1].page = 3 * HUGE_LEN / KVSHM_PAGE, "block 1: offset 0x600000")
PLANTED(finds_place_that_sticks_out, d[1].page = 3 * HUGE_LEN / KVSHM_PAGE - 1, "block 1: offset 0x5ff000")
PLANTED(finds_place_across_extents, d[1].page = HUGE_LEN / KVSHM_PAGE - 1, "block 1: offset 0x1ff000")
PLANTED(finds_place_far_outside, d[1].page = UINT32_MAX, "is in no extent")
PLANTED(finds_length_0, d[1].length = 0, "block 1: length 0")
PLANTED(finds_length_too_long, d[1].length = UINT32_MAX, "block 1: length 4294967295")
PLANTED(finds_unknown_state, d[1].state |= 8, "block 1: state 10")
PLANTED(finds_generation_0, d[1].state &= UINT32_MAX, "block 1: state 2 in generation 0")
PLANTED(finds_owner_of_a_published_block, d[1].state |= 5 << 8, "block 1: state 2 with owner 5")
PLANTED(finds_unknown_flag, d[1].state |= 0x80, "block 1: state 2 with flags 0xb0")
PLANTED(finds_relocated_outside_quarantine, d[1].state |= KVSHM_FLAG_RELOCATED, "block 1: state 2 with flags")
PLANTED(finds_flags_of_a_free_block, SET_STATE(9, KVSHM_BLOCK_FREE, 0x10, 0, 3), "block 9: state 0 with flags")
PLANTED(finds_owner_of_a_free_block, SET_STATE(9, KVSHM_BLOCK_FREE, 0, 3, 3), "block 9: state 0 with owner 3")
PLANTED(finds_flags_of_a_grant, d[GRANT].state |= KVSHM_FLAG_CHECKSUM, "block 6: state 1 with flags")
PLANTED(finds_free_parent, block_free(&d[3]), "block 4: its parent 3 is not published (invariant T)")
PLANTED(finds_granted_parent, d[4].parent = GRANT, "block 4: its parent 6 is not published")
PLANTED(finds_quarantined_parent, block_quarantine(&d[3]), "block 4: its parent 3 is not published")
PLANTED(finds_evicting_parent_of_a_published_block, block_close(&d[3]), "block 4: its parent 3 is not published")
PLANTED(finds_parent_out_of_range, d[2].parent = MAX_BLOCKS + 1, "block 2: parent 51")
PLANTED(finds_no_parent_without_the_flag, d[2].parent = 0, "block 2: parent 0")
PLANTED(finds_block_that_is_its_own_parent, d[2].parent = 2, "block 2: parent 2")
PLANTED(finds_parent_of_a_loose_block, d[LOOSE].parent = 1, "block 5: no parent, but parent 1")
PLANTED(finds_depth_of_a_root, d[LOOSE].depth = 1, "block 5: no parent, but parent 0, depth 1")
PLANTED(finds_wrong_depth, d[4].depth = 4, "block 4: depth 4, its parent 3 has 2")
PLANTED(finds_old_place_of_no_block,
	block_quarantine_place(&d[GRANT], UINT32_MAX), "block 6: old place of block 4294967295")
PLANTED(finds_old_place_of_block_0, block_quarantine_place(&d[GRANT], 0), "block 6: old place of block 0")
PLANTED(finds_parent_of_another_namespace, (dir->sb->nr_ns = 3, dir->ns[2].state = 1, d[4].ns = 2),
	"block 4: namespace 2, its parent 3 has 1")
PLANTED(finds_namespace_0, d[LOOSE].ns = 0, "block 5: namespace 0 is not known")
PLANTED(finds_unknown_namespace, d[LOOSE].ns = 3, "block 5: namespace 3 is not known")
PLANTED(finds_namespace_not_live, dir->ns[1].state = 0, "block 1: namespace 1 is not known")
PLANTED(finds_unknown_namespace_of_a_grant, d[GRANT].ns = 3, "block 6: namespace 3 is not known")
PLANTED(finds_too_many_namespaces, dir->sb->nr_ns = 5, "5 namespaces, the table has 4")
PLANTED(finds_checksum_flag_without_sum, d[1].checksum = 0, "block 1: checksum 0 and flags disagree")
PLANTED(finds_sum_without_checksum_flag, d[1].state &= ~KVSHM_FLAG_CHECKSUM, "block 1: checksum 0x7 and")
PLANTED(finds_use_of_block_0, SET_STATE(0, KVSHM_BLOCK_GRANTED, 0, 0, 1), "block 0 is in use")
PLANTED(finds_too_many_extents, dir->sb->nr_extents = 5, "5 extents, the table has 4")
PLANTED(finds_gap_between_extents, e[1].base += HUGE_LEN, "extent 1: base 0x400000")
PLANTED(finds_overlap_of_extents, e[1].base = 0, "extent 1: base 0")
PLANTED(finds_empty_extent, e[1].len = 0, "extent 1: base 0x200000, length 0")
PLANTED(finds_odd_extent_length, e[1].len -= 4096, "extent 1: base 0x200000, length 0x3ff000")
PLANTED(finds_extent_past_all_offsets, e[1].len = 1ull << 50, "extent 1: base 0x200000")

static void random_damage_never_crashes(void **state)
{
	struct directory *dir = *state;
	struct arena_report r;
	unsigned round, n, dirty = 0;
	uint8_t *bytes;
	struct rand rand;

	rand_init(&rand, 3);
	for (round = 0; round < 20000; round++) {
		for (n = (unsigned)rand_below(&rand, 5); n > 0; n--) {
			if (rand_below(&rand, 4))
				bytes = (uint8_t *)&dir->desc[rand_below(&rand, 12)] + rand_below(&rand, 64);
			else if (rand_below(&rand, 2))
				bytes = (uint8_t *)&dir->extent[rand_below(&rand, 3)] + rand_below(&rand, 16);
			else
				bytes = (uint8_t *)&dir->sb->nr_extents + rand_below(&rand, 8);
			*bytes = (uint8_t)(rand_below(&rand, 2) ? rand_u64(&rand) : 0);
		}
		n = arena_verify(dir, &r) != 0;
		assert_int_equal(n, r.violations != 0);
		assert_true(memchr(r.first, 0, sizeof(r.first)) != NULL);
		dirty += n;
		if (round % 16 == 0) {
			teardown(state);
			assert_int_equal(setup(state), 0);
			dir = *state;
		}
	}
	assert_in_range(dirty, 1000, 20000);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(sound_directory_adds_up),
		TEST(evicting_tail_counts_as_published),
		TEST(bytes_are_those_of_the_size_class),
		TEST(relocation_is_sound_before_and_after_the_move),
		TEST(old_place_given_to_a_third_is_an_overlap),
		TEST(old_place_of_a_free_block_is_not_shared),
		TEST(depth_does_not_wrap),
		TEST(more_than_all_in_use_leaves_nothing_free),
		TEST(finds_overlap_of_two_blocks),
		TEST(finds_overlap_by_one_page),
		TEST(finds_overlap_with_a_grant),
		TEST(finds_overlap_with_quarantine),
		TEST(finds_overlap_by_length),
		TEST(finds_place_outside),
		TEST(finds_place_that_sticks_out),
		TEST(finds_place_across_extents),
		TEST(finds_place_far_outside),
		TEST(finds_length_0),
		TEST(finds_length_too_long),
		TEST(finds_unknown_state),
		TEST(finds_generation_0),
		TEST(finds_owner_of_a_published_block),
		TEST(finds_unknown_flag),
		TEST(finds_relocated_outside_quarantine),
		TEST(finds_flags_of_a_free_block),
		TEST(finds_owner_of_a_free_block),
		TEST(finds_flags_of_a_grant),
		TEST(finds_free_parent),
		TEST(finds_granted_parent),
		TEST(finds_quarantined_parent),
		TEST(finds_evicting_parent_of_a_published_block),
		TEST(finds_parent_out_of_range),
		TEST(finds_no_parent_without_the_flag),
		TEST(finds_block_that_is_its_own_parent),
		TEST(finds_parent_of_a_loose_block),
		TEST(finds_depth_of_a_root),
		TEST(finds_wrong_depth),
		TEST(finds_old_place_of_no_block),
		TEST(finds_old_place_of_block_0),
		TEST(finds_parent_of_another_namespace),
		TEST(finds_namespace_0),
		TEST(finds_unknown_namespace),
		TEST(finds_namespace_not_live),
		TEST(finds_unknown_namespace_of_a_grant),
		TEST(finds_too_many_namespaces),
		TEST(finds_checksum_flag_without_sum),
		TEST(finds_sum_without_checksum_flag),
		TEST(finds_use_of_block_0),
		TEST(finds_too_many_extents),
		TEST(finds_gap_between_extents),
		TEST(finds_overlap_of_extents),
		TEST(finds_empty_extent),
		TEST(finds_odd_extent_length),
		TEST(finds_extent_past_all_offsets),
		TEST(random_damage_never_crashes),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
