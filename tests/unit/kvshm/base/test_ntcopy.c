/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "kvshm/base/ntcopy.h"
#include "kvshm/base/rand.h"

#define ROOM 8192u
#define GUARD 0xa5

static uint8_t src[ROOM], dst[ROOM];

static void check(size_t to, size_t from, size_t len)
{
	size_t i;

	memset(dst, GUARD, sizeof(dst));
	ntcopy(dst + to, src + from, len);
	assert_memory_equal(dst + to, src + from, len);
	for (i = 0; i < to; i++)
		assert_int_equal(dst[i], GUARD);
	for (i = to + len; i < sizeof(dst) && i < to + len + 128; i++)
		assert_int_equal(dst[i], GUARD);
}

static void every_alignment_copies_exactly_its_bytes(void **state)
{
	static const size_t lens[] = { 0, 1, 63, 64, 65, 511, 512, 513, 575, 576, 640, 1000, 4096 };
	struct rand r;
	size_t to;
	unsigned i;

	rand_init(&r, 1);
	for (i = 0; i < sizeof(src); i++)
		src[i] = (uint8_t)rand_u64(&r);
	for (to = 0; to < 64; to++)
		for (i = 0; i < sizeof(lens) / sizeof(lens[0]); i++)
			check(to, rand_below(&r, 64), lens[i]);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(every_alignment_copies_exactly_its_bytes),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
