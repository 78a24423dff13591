/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdlib.h>
#include <string.h>

#include "utils/kv_batch.h"

static struct kv_batch b;

static int begin(void **state)
{
	(void)state;
	b = (struct kv_batch){ .incarnation = 7 };
	return 0;
}

static int end(void **state)
{
	(void)state;
	kv_batch_free(&b);
	return 0;
}

static struct kvshm_key key_of(unsigned n)
{
	struct kvshm_key key = { { 0 } };

	key.bytes[0] = 0xfe;
	key.bytes[30] = (uint8_t)(n >> 8);
	key.bytes[31] = (uint8_t)n;
	return key;
}

/* Block @n below @parent, 0: none. */
static void store(unsigned n, unsigned parent, uint32_t tokens)
{
	const struct kv_event e = { .type = KV_STORED, .has_parent = parent, .parent = key_of(parent), .block_size = tokens,
				    .length = 4096 };
	const struct kvshm_key key = key_of(n);

	kv_add(&b, &e, &key);
}

static void drop(unsigned n, uint8_t ns)
{
	const struct kv_event e = { .type = KV_REMOVED, .ns = { ns } };
	const struct kvshm_key key = key_of(n);

	kv_add(&b, &e, &key);
}

static void a_run_of_a_chain_is_one_event(void **state)
{
	(void)state;
	store(1, 0, 16);
	for (unsigned n = 2; n <= 300; n++)
		store(n, n - 1, 16);
	assert_int_equal(b.nr_events, 1);
	assert_int_equal(b.event[0].nr, 300);
	assert_false(b.event[0].has_parent);
	assert_int_equal(b.nr_keys, 300);
}

static void what_does_not_go_on_is_an_event_of_its_own(void **state)
{
	(void)state;
	store(1, 0, 16);
	store(2, 0, 16);	/* another root */
	store(3, 1, 16);	/* a branch */
	store(4, 3, 5);		/* a tail: fewer tokens */
	store(5, 4, 5);
	drop(1, 0);
	drop(2, 0);
	drop(3, 1);		/* another namespace */
	store(6, 5, 5);
	assert_int_equal(b.nr_events, 7);
	assert_true(b.event[2].has_parent && b.event[3].nr == 2 && b.event[4].nr == 2 && b.event[5].nr == 1);
	assert_int_equal(b.event[6].first, 8);
}

static void an_emptied_batch_begins_anew(void **state)
{
	(void)state;
	store(1, 0, 16);
	kv_batch_empty(&b);
	store(2, 1, 16);
	assert_int_equal(b.nr_events, 1);
	assert_int_equal(b.event[0].nr, 1);
	assert_true(b.event[0].has_parent);
	kv_cleared(&b, "lost");
	store(3, 2, 16);
	assert_int_equal(b.nr_events, 3);
}

static void a_line_says_it_all(void **state)
{
	const struct kv_form f = { .ts = 12.5, .number = 41, .rank = 2 };
	static const char want[] =
		"{\"schema\":\"kvshm.events/1\",\"seq\":41,\"incarnation\":7,\"ts\":12.500000,\"data_parallel_rank\":2,\"events\":["
		"{\"type\":\"AllBlocksCleared\",\"reason\":\"lost\"},"
		"{\"type\":\"BlockStored\",\"block_hashes\":[\"fe0000000000000000000000000000000000000000000000000000000000010a\"],"
		"\"medium\":\"CPU\",\"namespace\":\"0000000000000000000000000000000000000000000000000000000000000000\","
		"\"parent_block_hash\":\"fe00000000000000000000000000000000000000000000000000000000000001\",\"token_ids\":[],"
		"\"block_size\":16,\"lora_id\":null,\"lora_name\":null,\"block_bytes\":4096},"
		"{\"type\":\"BlockRemoved\",\"block_hashes\":[\"fe00000000000000000000000000000000000000000000000000000000000001\"],"
		"\"medium\":\"CPU\",\"namespace\":\"0500000000000000000000000000000000000000000000000000000000000000\"}]}\n";
	char *text = NULL;
	size_t len;
	FILE *out = open_memstream(&text, &len);

	(void)state;
	assert_non_null(out);
	kv_cleared(&b, "lost");
	store(0x10a, 1, 16);
	drop(1, 5);
	kv_json(&b, &f, out);
	fclose(out);
	assert_string_equal(text, want);
	free(text);
}

static void a_payload_is_vllms_to_the_byte(void **state)
{
	const struct kv_form f = { .ts = 1.0, .number = 41, .rank = 2 };
	static const uint8_t want[] =
		"\x93\xcb\x3f\xf0\x00\x00\x00\x00\x00\x00"		/* [1.0, */
		"\x91\x85\xa4type\xac" "BlockRemoved"			/* [{type: BlockRemoved, */
		"\xac" "block_hashes\x92\xcd\x01\x0a\x01"		/* block_hashes: [266, 1], */
		"\xa6medium\xa3" "CPU"
		"\xa9namespace\xc4\x20\x05\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0"
		"\xabincarnation\x07"
		"\x02";							/* }], 2] */
	size_t len;
	uint8_t *bytes;

	(void)state;
	drop(0x10a, 5);
	drop(1, 5);
	bytes = kv_msgpack(&b, &f, &len);
	assert_non_null(bytes);
	assert_int_equal(len, sizeof(want) - 1);
	assert_memory_equal(bytes, want, len);
	free(bytes);
}

static void arrays_have_the_class_first_and_nothing_of_ours(void **state)
{
	const struct kv_form f = { .ts = 1.0, .is_array = true };
	static const uint8_t want[] =
		"\x93\xcb\x3f\xf0\x00\x00\x00\x00\x00\x00"
		"\x93\x91\xb0" "AllBlocksCleared"
		"\x98\xab" "BlockStored\x91\x02\x01\x90\x10\xc0\xa3" "CPU\xc0"
		"\x93\xac" "BlockRemoved\x91\x01\xa3" "CPU"
		"\x00";
	size_t len;
	uint8_t *bytes;

	(void)state;
	kv_cleared(&b, "lost");
	store(2, 1, 16);
	drop(1, 5);
	bytes = kv_msgpack(&b, &f, &len);
	assert_non_null(bytes);
	assert_int_equal(len, sizeof(want) - 1);
	assert_memory_equal(bytes, want, len);
	free(bytes);
}

int main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, begin, end)
	const struct CMUnitTest tests[] = {
		T(a_run_of_a_chain_is_one_event),
		T(what_does_not_go_on_is_an_event_of_its_own),
		T(an_emptied_batch_begins_anew),
		T(a_line_says_it_all),
		T(a_payload_is_vllms_to_the_byte),
		T(arrays_have_the_class_first_and_nothing_of_ours),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
