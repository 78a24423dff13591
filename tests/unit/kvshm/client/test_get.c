/* SPDX-License-Identifier: Apache-2.0 */
#include "fake.h"

static void a_wrong_checksum_is_found_only_when_asked_for(void **state)
{
	struct kvshm *k = fake_open(*state, 0);
	char bytes[256], copy[2][256];
	struct kvshm_block b[2] = {
		{ .ptr = bytes, .length = sizeof(bytes) },
		{ .ptr = bytes, .length = sizeof(bytes) },
	};
	void *dst[2] = { copy[0], copy[1] };
	struct kvshm_client_stats s = { .sz = sizeof(s) };

	memset(bytes, 5, sizeof(bytes));
	b[1].checksum = kvshm_checksum(bytes, sizeof(bytes));
	assert_int_equal(kvshm_get(k, b, 2, dst, KVSHM_GET_VERIFY), 0);
	assert_memory_equal(copy[1], bytes, sizeof(bytes));
	bytes[7] ^= 1;
	assert_int_equal(kvshm_get(k, b, 2, dst, KVSHM_GET_VERIFY), -EBADMSG);
	assert_int_equal(kvshm_get(k, b, 2, dst, 0), 0);
	assert_int_equal(kvshm_get(k, b, 2, dst, 0x8), -EINVAL);
	assert_int_equal(kvshm_stats(k, &s), 0);
	assert_int_equal(s.copy_out_bytes, 6 * 256);
	kvshm_close(k);
}

static void a_checksum_is_never_the_word_for_unknown(void **state)
{
	char buf[100] = { 0 };
	size_t len;

	for (len = 0; len < sizeof(buf); len++)
		assert_int_not_equal(kvshm_checksum(buf, len), 0);
	assert_int_not_equal(kvshm_checksum(buf, 99), kvshm_checksum(buf, 100));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(a_wrong_checksum_is_found_only_when_asked_for, fake_setup,
						fake_teardown),
		cmocka_unit_test(a_checksum_is_never_the_word_for_unknown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
