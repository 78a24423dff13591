/* SPDX-License-Identifier: Apache-2.0 */
/* test_scan.c - what the writer sees of the pins */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

#include "kvshm/pin/scan.h"
#include "tests/lib/fake_dir.h"

enum { WORDS = 200, FILES = 3 };

static struct directory *dir;
static struct pin_set *set;
static int fd[FILES];
static uint64_t *word[FILES];

static int setup(void **state)
{
	unsigned i;

	dir = fake_dir_create(300);
	fake_chain(dir, 1, 50, 1);		/* 1..50 */
	fake_chain(dir, 2, 50, 101);		/* 101..150 */
	if (pin_set_create(FILES, &set) < 0)
		return -1;
	for (i = 0; i < FILES; i++) {
		fd[i] = memfd_create("pins", MFD_CLOEXEC);
		if (fd[i] < 0 || ftruncate(fd[i], WORDS * 8) < 0)
			return -1;
		word[i] = mmap(NULL, WORDS * 8, PROT_READ | PROT_WRITE, MAP_SHARED, fd[i], 0);
		word[i][0] = KVSHM_PINFILE_OPEN;
		if (pin_set_add(set, 10 + i, fd[i], WORDS, 0) < 0)
			return -1;
	}
	return 0;
}

static int teardown(void **state)
{
	unsigned i;

	for (i = 0; i < FILES; i++) {
		munmap(word[i], WORDS * 8);
		close(fd[i]);
	}
	set = pin_set_destroy(set);
	dir = fake_dir_destroy(dir);
	return 0;
}

static uint64_t pin_of(blk_id_t id)
{
	return pin_word(id, state_generation(dir->desc[id].state));
}

static unsigned nr_pinned(blk_id_t from, blk_id_t to)
{
	unsigned nr = 0;

	for (; from <= to; from++)
		nr += pin_set_is_pinned(set, from);
	return nr;
}

static void a_pin_protects_its_block_and_all_ancestors(void **state)
{
	word[1][7] = pin_of(30);
	assert_int_equal(pin_set_scan(set, dir), 1);
	assert_int_equal(nr_pinned(1, 30), 30);
	assert_int_equal(nr_pinned(31, 300), 0);
	assert_int_equal(pin_set_bytes(set), 30 * FAKE_BLOCK_LEN);
}

static void shared_ancestors_count_once(void **state)
{
	word[0][1] = pin_of(30);
	word[1][1] = pin_of(20);
	word[2][WORDS - 1] = pin_of(40);
	assert_int_equal(pin_set_scan(set, dir), 3);
	assert_int_equal(nr_pinned(1, 300), 40);
	assert_int_equal(pin_set_bytes(set), 40 * FAKE_BLOCK_LEN);
}

static void a_dropped_pin_protects_nothing_at_the_next_scan(void **state)
{
	word[0][1] = pin_of(30);
	assert_int_equal(pin_set_scan(set, dir), 1);
	word[0][1] = pin_of(110);
	assert_int_equal(pin_set_scan(set, dir), 1);
	assert_int_equal(nr_pinned(1, 50), 0);
	assert_int_equal(nr_pinned(101, 150), 10);
	word[0][1] = 0;
	assert_int_equal(pin_set_scan(set, dir), 0);
	assert_int_equal(nr_pinned(1, 300), 0);
	assert_int_equal(pin_set_bytes(set), 0);
}

static void words_that_are_no_pins_are_ignored(void **state)
{
	word[0][1] = pin_of(30) + (1ull << 32);		/* another life */
	word[0][2] = 301;				/* out of range */
	word[0][3] = UINT64_MAX;
	word[0][4] = (uint64_t)1 << 32;			/* block 0 */
	word[0][5] = pin_of(200);			/* never lived */
	block_grant(&dir->desc[201], 1, 4096, 0, 5);
	word[0][6] = pin_of(201);			/* granted */
	fake_evict(dir, 50);
	word[0][8] = pin_of(50);			/* free */
	assert_int_equal(pin_set_scan(set, dir), 0);
	assert_int_equal(nr_pinned(1, 300), 0);
}

static void closed_and_quarantined_blocks_can_be_pinned(void **state)
{
	word[0][1] = pin_of(30);
	word[0][2] = pin_of(110);
	block_close(&dir->desc[30]);
	block_quarantine(&dir->desc[110]);
	assert_int_equal(pin_set_scan(set, dir), 2);
	assert_int_equal(nr_pinned(1, 50), 30);
	assert_int_equal(nr_pinned(101, 150), 10);
}

static void a_file_that_tells_its_words_in_use_is_read_so_far(void **state)
{
	word[0][0] = KVSHM_PINFILE_OPEN | 151ull << 32;
	word[0][150] = pin_of(30);
	word[0][160] = pin_of(110);			/* its client lied: only its own loss */
	assert_int_equal(pin_set_scan(set, dir), 1);
	word[0][0] = KVSHM_PINFILE_OPEN | 161ull << 32;	/* grows between two scans */
	assert_int_equal(pin_set_scan(set, dir), 2);
	word[0][0] = KVSHM_PINFILE_OPEN | (uint64_t)UINT32_MAX << 32;
	assert_int_equal(pin_set_scan(set, dir), 2);
	word[0][0] = KVSHM_PINFILE_CLOSED | 1ull << 32;
	assert_int_equal(pin_set_scan(set, dir), 2);
}

static void a_file_cut_short_by_its_client_is_read_so_far(void **state)
{
	word[0][1] = pin_of(30);
	word[1][1] = pin_of(110);
	assert_int_equal(ftruncate(fd[0], 0), 0);
	assert_int_equal(pin_set_scan(set, dir), 1);
	assert_int_equal(nr_pinned(1, 50), 0);
	assert_int_equal(nr_pinned(101, 150), 10);
	assert_int_equal(ftruncate(fd[1], 13), 0);
	assert_int_equal(pin_set_scan(set, dir), 0);
}

static void a_file_that_cannot_be_read_makes_everything_pinned(void **state)
{
	int other = memfd_create("gone", MFD_CLOEXEC);

	pin_set_remove(set, 12);
	assert_int_equal(pin_set_add(set, 13, other, WORDS, 0), 0);
	close(other);
	assert_int_equal(pin_set_scan(set, dir), -EIO);
	assert_int_equal(nr_pinned(1, 300), 300);
	pin_set_remove(set, 13);
	assert_int_equal(pin_set_scan(set, dir), 0);
	assert_int_equal(nr_pinned(1, 300), 0);
}

static void a_session_past_twice_its_quota_protects_nothing(void **state)
{
	uint64_t bytes;
	uint32_t pins;
	bool is_hostile;

	pin_set_remove(set, 11);
	assert_int_equal(pin_set_add(set, 11, fd[1], WORDS, 10 * FAKE_BLOCK_LEN), 0);
	word[0][1] = pin_of(101);
	word[1][1] = pin_of(20);			/* exactly twice */
	assert_int_equal(pin_set_scan(set, dir), 2);
	assert_int_equal(pin_set_file(set, 11, &bytes, &pins, &is_hostile), 0);
	assert_int_equal(bytes, 20 * FAKE_BLOCK_LEN);
	assert_int_equal(pins, 1);
	assert_false(is_hostile);
	assert_int_equal(nr_pinned(1, 50), 20);

	word[1][2] = pin_of(1);
	assert_int_equal(pin_set_scan(set, dir), 1);
	assert_int_equal(pin_set_file(set, 11, &bytes, &pins, &is_hostile), 0);
	assert_int_equal(bytes, 21 * FAKE_BLOCK_LEN);
	assert_true(is_hostile);
	assert_int_equal(nr_pinned(1, 50), 0);
	assert_int_equal(nr_pinned(101, 150), 1);
}

static void a_cycle_of_parents_ends(void **state)
{
	dir->desc[1].parent = 30;
	dir->desc[101].parent = 0xffffffff;
	word[0][1] = pin_of(30);
	word[0][2] = pin_of(130);
	assert_int_equal(pin_set_scan(set, dir), 2);
	assert_int_equal(nr_pinned(1, 300), 60);
	word[0][1] = word[0][2] = 0;
	assert_int_equal(pin_set_scan(set, dir), 0);
}

static void files_are_added_once_and_up_to_the_limit(void **state)
{
	uint64_t bytes;
	uint32_t pins;
	bool is_hostile;

	assert_int_equal(pin_set_add(set, 11, fd[0], WORDS, 0), -EEXIST);
	assert_int_equal(pin_set_add(set, 13, fd[0], WORDS, 0), -ENOSPC);
	pin_set_remove(set, 99);
	pin_set_remove(set, 10);
	assert_int_equal(pin_set_file(set, 10, &bytes, &pins, &is_hostile), -ENOENT);
	word[2][1] = pin_of(30);
	assert_int_equal(pin_set_scan(set, dir), 1);
	assert_int_equal(pin_set_add(set, 13, fd[0], WORDS, 0), 0);
}

static void a_removed_file_takes_its_pins_along(void **state)
{
	word[0][1] = pin_of(30);
	word[1][1] = pin_of(20);
	assert_int_equal(pin_set_scan(set, dir), 2);
	pin_set_remove(set, 10);
	assert_int_equal(nr_pinned(1, 300), 20);
	pin_set_remove(set, 11);
	assert_int_equal(nr_pinned(1, 300), 0);
	assert_int_equal(pin_set_bytes(set), 0);
}

static void a_word_that_changes_its_block_moves_the_marks(void **state)
{
	unsigned i;

	for (i = 1; i <= 50; i++) {		/* up one chain and over to the other */
		word[0][3] = pin_of(i);
		word[2][100] = pin_of(100 + i);
		assert_int_equal(pin_set_scan(set, dir), 2);
		assert_int_equal(nr_pinned(1, 50), i);
		assert_int_equal(nr_pinned(101, 150), i);
		assert_int_equal(pin_set_bytes(set), 2 * i * FAKE_BLOCK_LEN);
	}
}

static void a_hostile_session_that_lets_go_is_protected_again(void **state)
{
	uint64_t bytes;
	uint32_t pins;
	bool is_hostile;

	pin_set_remove(set, 11);
	assert_int_equal(pin_set_add(set, 11, fd[1], WORDS, 10 * FAKE_BLOCK_LEN), 0);
	word[1][1] = pin_of(50);
	word[1][2] = pin_of(120);
	assert_int_equal(pin_set_scan(set, dir), 0);
	assert_int_equal(nr_pinned(1, 300), 0);
	fake_evict(dir, 150);
	word[1][1] = 0;
	assert_int_equal(pin_set_scan(set, dir), 1);
	assert_int_equal(pin_set_file(set, 11, &bytes, &pins, &is_hostile), 0);
	assert_int_equal(bytes, 20 * FAKE_BLOCK_LEN);
	assert_false(is_hostile);
	assert_int_equal(nr_pinned(101, 150), 20);
	assert_int_equal(pin_set_bytes(set), 20 * FAKE_BLOCK_LEN);
}

/* What the marks say is what a walk from every word says, whatever happened before. */
static void marks_stay_true_over_random_pins(void **state)
{
	uint64_t x = 88172645463325252ull, bytes;
	uint8_t expect[301];
	unsigned round, i, k;
	blk_id_t id;

	for (round = 0; round < 3000; round++) {
		for (k = 0; k < 3; k++) {
			x ^= x << 13, x ^= x >> 7, x ^= x << 17;
			id = x % 100 + 1;
			id = id > 50 ? id + 50 : id;
			word[x >> 32 & 1][1 + (x >> 40) % (WORDS - 1)] = x >> 60 ? pin_of(id) : 0;
			if (!(x >> 50 & 31))
				memset(&word[x >> 32 & 1][1], 0, (WORDS - 1) * 8);
		}
		assert_true(pin_set_scan(set, dir) >= 0);
		memset(expect, 0, sizeof(expect));
		for (i = 0; i < FILES; i++)
			for (k = 1; k < WORDS; k++)
				for (id = (blk_id_t)word[i][k]; id && !expect[id]; id = dir->desc[id].parent)
					expect[id] = 1;
		for (id = 1, bytes = 0; id <= 300; id++) {
			assert_int_equal(pin_set_is_pinned(set, id), expect[id]);
			bytes += expect[id] * FAKE_BLOCK_LEN;
		}
		assert_int_equal(pin_set_bytes(set), bytes);
	}
}

int main(void)
{
#define T(test) cmocka_unit_test_setup_teardown(test, setup, teardown)
	const struct CMUnitTest tests[] = {
		T(a_pin_protects_its_block_and_all_ancestors),
		T(shared_ancestors_count_once),
		T(a_dropped_pin_protects_nothing_at_the_next_scan),
		T(words_that_are_no_pins_are_ignored),
		T(closed_and_quarantined_blocks_can_be_pinned),
		T(a_file_that_tells_its_words_in_use_is_read_so_far),
		T(a_file_cut_short_by_its_client_is_read_so_far),
		T(a_file_that_cannot_be_read_makes_everything_pinned),
		T(a_session_past_twice_its_quota_protects_nothing),
		T(a_cycle_of_parents_ends),
		T(files_are_added_once_and_up_to_the_limit),
		T(a_removed_file_takes_its_pins_along),
		T(a_word_that_changes_its_block_moves_the_marks),
		T(a_hostile_session_that_lets_go_is_protected_again),
		T(marks_stay_true_over_random_pins),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
