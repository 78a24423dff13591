/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "kvshm/arena/block.h"

static const struct block_info info = {
	.key = { .bytes = { 1, 2, 3, [31] = 9 } },
	.parent = 77,
	.depth = 5,
	.length = 60000,
	.checksum = 0x1234,
	.ns = 3,
	.tokens = 16,
	.flags = KVSHM_FLAG_CHECKSUM,
};

static void state_word_holds_its_four_fields(void **state)
{
	uint64_t w = state_make(KVSHM_BLOCK_GRANTED, KVSHM_FLAG_NOPARENT, KVSHM_OWNER_MAX, UINT32_MAX);

	assert_int_equal(state_of(w), KVSHM_BLOCK_GRANTED);
	assert_int_equal(state_owner(w), KVSHM_OWNER_MAX);
	assert_int_equal(state_generation(w), UINT32_MAX);
	assert_true((w & KVSHM_FLAGS_MASK) == KVSHM_FLAG_NOPARENT);
	w = state_with(w, KVSHM_BLOCK_FREE);
	assert_int_equal(state_of(w), KVSHM_BLOCK_FREE);
	assert_int_equal(state_owner(w), KVSHM_OWNER_MAX);
	assert_true(state_make(KVSHM_BLOCK_FREE, 0, 0, 0) == 0);
	assert_true(pin_word(5, 7) == ((uint64_t)7 << 32 | 5));
}

static void first_life_is_generation_1(void **state)
{
	struct kvshm_desc d = { 0 };

	block_grant(&d, 512, 65536, 3, 42);
	assert_true(d.state == state_make(KVSHM_BLOCK_GRANTED, 0, 42, 1));
	assert_int_equal(d.page, 512);
	assert_int_equal(d.length, 65536);
	assert_int_equal(d.ns, 3);
}

static void publish_writes_all_fields_and_drops_the_owner(void **state)
{
	struct kvshm_desc d = { 0 };

	block_grant(&d, 512, 65536, 3, 42);
	block_publish(&d, &info);
	assert_true(d.state == state_make(KVSHM_BLOCK_PUBLISHED, KVSHM_FLAG_CHECKSUM, 0, 1));
	assert_true(block_key_equal(&d, &info.key));
	assert_int_equal(d.parent, 77);
	assert_int_equal(d.depth, 5);
	assert_int_equal(d.page, 512);
	assert_int_equal(d.length, 60000);
	assert_int_equal(d.checksum, 0x1234);
	assert_int_equal(d.tokens, 16);
}

static void key_compare_sees_each_byte(void **state)
{
	struct kvshm_desc d = { .key = info.key };
	struct kvshm_key key;
	unsigned i;

	for (i = 0; i < KVSHM_KEY_LEN; i++) {
		key = info.key;
		key.bytes[i] ^= 0x80;
		assert_false(block_key_equal(&d, &key));
	}
}

static void close_and_reopen_keep_generation_and_flags(void **state)
{
	struct kvshm_desc d = { 0 };
	uint64_t published;

	block_grant(&d, 512, 65536, 3, 42);
	block_publish(&d, &info);
	published = d.state;
	block_close(&d);
	assert_true(d.state == state_with(published, KVSHM_BLOCK_EVICTING));
	block_reopen(&d);
	assert_true(d.state == published);
}

static void a_life_has_one_bump(void **state)
{
	struct kvshm_desc d = { 0 };
	uint32_t life;

	for (life = 1; life < 100; life++) {
		block_grant(&d, 512, 65536, 3, 42);
		assert_int_equal(state_generation(d.state), life);
		block_publish(&d, &info);
		assert_int_equal(state_generation(d.state), life);
		block_close(&d);
		block_free(&d);
		assert_true(d.state == state_make(KVSHM_BLOCK_FREE, 0, 0, life + 1));
	}
}

static void generation_wraps_past_0(void **state)
{
	struct kvshm_desc d = { .state = state_make(KVSHM_BLOCK_FREE, 0, 0, UINT32_MAX) };

	block_grant(&d, 1, 4096, 1, 0);
	assert_int_equal(state_generation(d.state), UINT32_MAX);
	block_free(&d);
	assert_int_equal(state_generation(d.state), 1);
}

static void quarantine_keeps_place_and_generation_without_owner(void **state)
{
	struct kvshm_desc d = { 0 };

	block_grant(&d, 9, 4096, 1, 42);
	block_quarantine(&d);
	assert_true(d.state == state_make(KVSHM_BLOCK_QUARANTINED, 0, 0, 1));
	assert_int_equal(d.page, 9);
	block_free(&d);
	assert_true(d.state == state_make(KVSHM_BLOCK_FREE, 0, 0, 2));
}

static void grant_leaves_no_field_of_a_former_life_in_the_state(void **state)
{
	struct kvshm_desc d = { 0 };

	block_grant(&d, 9, 4096, 1, 42);
	block_publish(&d, &info);
	block_free(&d);
	block_grant(&d, 10, 8192, 2, 43);
	assert_true(d.state == state_make(KVSHM_BLOCK_GRANTED, 0, 43, 2));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(state_word_holds_its_four_fields),
		cmocka_unit_test(first_life_is_generation_1),
		cmocka_unit_test(publish_writes_all_fields_and_drops_the_owner),
		cmocka_unit_test(key_compare_sees_each_byte),
		cmocka_unit_test(close_and_reopen_keep_generation_and_flags),
		cmocka_unit_test(a_life_has_one_bump),
		cmocka_unit_test(generation_wraps_past_0),
		cmocka_unit_test(quarantine_keeps_place_and_generation_without_owner),
		cmocka_unit_test(grant_leaves_no_field_of_a_former_life_in_the_state),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
