/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "kvshm/base/checksum.h"
#include "kvshm/base/checksum_ops.h"
#include "kvshm/base/compiler.h"
#include "kvshm/base/rand.h"

#define LEN_MAX (70u * 1024)

static uint8_t *filled(size_t len, uint64_t seed)
{
	uint8_t *p = aligned_alloc(64, round_up(len + 64, (size_t)64));
	struct rand r;
	size_t i;

	assert_non_null(p);
	rand_init(&r, seed);
	for (i = 0; i < len; i++)
		p[i] = (uint8_t)rand_u64(&r);
	return p;
}

/* Every build that this processor can run. */
static unsigned all_ops(const struct checksum_ops *ret_ops[3])
{
	unsigned n = 0;

	ret_ops[n++] = &checksum_ops_base;
#if defined(__x86_64__)
	if (__builtin_cpu_supports("avx2"))
		ret_ops[n++] = &checksum_ops_avx2;
	if (__builtin_cpu_supports("avx512f"))
		ret_ops[n++] = &checksum_ops_avx512;
#endif
	return n;
}

static uint32_t fold(uint64_t h)
{
	uint32_t sum = (uint32_t)(h >> 32) ^ (uint32_t)h;

	return sum ? sum : 1;
}

static void sum_of_known_bytes_is_xxh3(void **state)
{
	/* XXH3-64 of no bytes is 2d06800538d394c2, of "a" e6c632b61e964e1f (published vectors). */
	assert_int_equal(checksum32("", 0), 0x2d068005u ^ 0x38d394c2u);
	assert_int_equal(checksum32("a", 1), 0xe6c632b6u ^ 0x1e964e1fu);
}

static void every_vector_unit_gives_the_same_sum(void **state)
{
	static const size_t lens[] = { 1,   3,	 8,   16,   17,	  128,	240,  241,   256,
				       257, 511, 512, 1024, 1025, 4096, 4097, 65536, LEN_MAX };
	const struct checksum_ops *ops[3];
	unsigned nr = all_ops(ops), k, i;
	uint8_t *p = filled(LEN_MAX, 1);

	for (i = 0; i < ARRAY_SIZE(lens); i++)
		for (k = 1; k < nr; k++)
			assert_true(ops[k]->hash(p, lens[i]) == ops[0]->hash(p, lens[i]));
	free(p);
}

static void sum_of_slices_is_the_sum_of_the_whole(void **state)
{
	uint8_t *p = filled(LEN_MAX, 2);
	struct checksum_state s;
	struct rand r;
	size_t len, at, n;
	unsigned round;

	rand_init(&r, 3);
	for (round = 0; round < 300; round++) {
		len = rand_below(&r, LEN_MAX);
		checksum_init(&s);
		for (at = 0; at < len; at += n) {
			n = 1 + rand_below(&r, rand_below(&r, 2) ? 300 : 20000);
			n = min_of(n, len - at);
			checksum_update(&s, p + at, n);
		}
		assert_int_equal(checksum_digest(&s), checksum32(p, len));
	}
	free(p);
}

/* One build's fused loop, whatever checksum_copy() would choose here. */
static void check_fused(const struct checksum_ops *o, const uint8_t *src, uint8_t *dst, size_t len)
{
	struct checksum_state s;
	size_t room, done;

	memset(dst, 0, len);
	o->init(&s);
	room = o->room(&s);
	o->update(&s, src, room);
	memcpy(dst, src, room);
	done = room + o->copy_lines(&s, dst + room, src + room, len - room);
	assert_in_range(len - done, 1, 256);
	assert_memory_equal(dst, src, done);
	o->update(&s, src + done, len - done);
	assert_int_equal(fold(o->digest(&s)), checksum32(src, len));
}

static void every_fused_loop_copies_and_sums(void **state)
{
	const struct checksum_ops *ops[3];
	unsigned nr = all_ops(ops), k;
	uint8_t *src = filled(LEN_MAX, 4), *dst = filled(LEN_MAX, 5);
	size_t len;

	for (k = 0; k < nr; k++)
		for (len = 1024; len < LEN_MAX; len += 997)
			check_fused(ops[k], src, dst, len);
	free(src);
	free(dst);
}

static void fused_copy_in_slices_copies_and_sums(void **state)
{
	uint8_t *src = filled(LEN_MAX, 6), *dst = filled(LEN_MAX, 7);
	struct checksum_state s;
	size_t len, at, n, shift;
	struct rand r;
	unsigned round;

	rand_init(&r, 8);
	for (round = 0; round < 300; round++) {
		shift = rand_below(&r, 2) ? 0 : rand_below(&r, 64);
		len = rand_below(&r, LEN_MAX - 64);
		memset(dst, 0, LEN_MAX);
		checksum_init(&s);
		for (at = 0; at < len; at += n) {
			n = 1 + rand_below(&r, rand_below(&r, 2) ? 8192 : 40000);
			if (rand_below(&r, 2))
				n = round_up(n, (size_t)256);
			n = min_of(n, len - at);
			checksum_copy(&s, dst + shift + at, src + at, n);
		}
		assert_int_equal(checksum_digest(&s), checksum32(src, len));
		assert_memory_equal(dst + shift, src, len);
		assert_int_equal(dst[shift + len], 0);
	}
	free(src);
	free(dst);
}

static void copy_checksum32_is_both(void **state)
{
	uint8_t *src = filled(LEN_MAX, 9), *dst = filled(LEN_MAX, 10);
	static const size_t lens[] = { 0, 1, 100, 2047, 2048, 2049, 4096, 65536, LEN_MAX };
	unsigned i;

	for (i = 0; i < ARRAY_SIZE(lens); i++) {
		assert_int_equal(copy_checksum32(dst, src, lens[i]), checksum32(src, lens[i]));
		assert_memory_equal(dst, src, lens[i]);
	}
	free(src);
	free(dst);
}

static void one_flipped_bit_changes_the_sum(void **state)
{
	uint8_t *p = filled(4096, 11);
	uint32_t sum = checksum32(p, 4096);
	unsigned bit;

	for (bit = 0; bit < 4096 * 8; bit += 97) {
		p[bit / 8] ^= (uint8_t)(1u << bit % 8);
		assert_int_not_equal(checksum32(p, 4096), sum);
		p[bit / 8] ^= (uint8_t)(1u << bit % 8);
	}
	free(p);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(sum_of_known_bytes_is_xxh3),
		cmocka_unit_test(every_vector_unit_gives_the_same_sum),
		cmocka_unit_test(sum_of_slices_is_the_sum_of_the_whole),
		cmocka_unit_test(every_fused_loop_copies_and_sums),
		cmocka_unit_test(fused_copy_in_slices_copies_and_sums),
		cmocka_unit_test(copy_checksum32_is_both),
		cmocka_unit_test(one_flipped_bit_changes_the_sum),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
