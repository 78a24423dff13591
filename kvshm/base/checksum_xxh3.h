/* SPDX-License-Identifier: Apache-2.0 */
/*
 * checksum_xxh3.h - the body of a struct checksum_ops
 *
 * The only includer of xxhash.  Each checksum*.c that includes it is compiled for another vector unit
 * (module.mk); XXH_INLINE_ALL keeps the copies apart.
 */
#ifndef KVSHM_BASE_CHECKSUM_XXH3_H
#define KVSHM_BASE_CHECKSUM_XXH3_H

#define XXH_INLINE_ALL
#define XXH3_STREAM_USE_STACK 1	/* gcc keeps the accumulators in registers then */
#include <xxhash.h>
#if defined(__x86_64__)
#include <immintrin.h>
#endif
#include <string.h>

#include "kvshm/base/checksum_ops.h"

_Static_assert(sizeof(XXH3_state_t) <= sizeof(struct checksum_state), "state fits");
_Static_assert(_Alignof(XXH3_state_t) <= _Alignof(struct checksum_state), "state is aligned");

static uint64_t xxh3_hash(const void *p, size_t len)
{
	return XXH3_64bits(p, len);
}

static void xxh3_init(struct checksum_state *s)
{
	XXH3_64bits_reset((XXH3_state_t *)(void *)s);
}

static void xxh3_update(struct checksum_state *s, const void *p, size_t len)
{
	XXH3_64bits_update((XXH3_state_t *)(void *)s, p, len);
}

static uint64_t xxh3_digest(const struct checksum_state *s)
{
	return XXH3_64bits_digest((const XXH3_state_t *)(const void *)s);
}

/* One line of 64 bytes past the cache. */
static inline void stream_line(char *dst, const char *line)
{
#if defined(__AVX512F__)
	_mm512_stream_si512((__m512i *)(void *)dst, _mm512_load_si512((const void *)line));
#elif defined(__AVX2__)
	_mm256_stream_si256((__m256i *)(void *)dst, _mm256_load_si256((const __m256i *)(const void *)line));
	_mm256_stream_si256((__m256i *)(void *)(dst + 32),
			    _mm256_load_si256((const __m256i *)(const void *)(line + 32)));
#elif defined(__x86_64__)
	int i;

	for (i = 0; i < 64; i += 16)
		_mm_stream_si128((__m128i *)(void *)(dst + i),
				 _mm_load_si128((const __m128i *)(const void *)(line + i)));
#else
	memcpy(dst, line, 64);
#endif
}

/*
 * Sum and stream @nr_lines stripes.  The same loop as XXH3_64bits_update() has inside, with a store in it:
 * a copy and a sum that take turns need the sum of both times.
 */
static inline void xxh3_fuse(XXH3_state_t *x, char *dst, const char *src, size_t nr_lines)
{
	const unsigned char *secret = x->extSecret ? x->extSecret : x->customSecret;
	char line[64] __attribute__((aligned(64)));
	XXH_ALIGN(64) xxh_u64 acc[8];
	size_t i, n = x->nbStripesSoFar;

	memcpy(acc, x->acc, sizeof(acc));
	for (i = 0; i < nr_lines; i++) {
		memcpy(line, src + i * 64, 64);
		/* What is summed and what is stored come from one read of a source that may change. */
		__asm__("" : "+m"(line));
		XXH3_accumulate_512(acc, line, secret + n * XXH_SECRET_CONSUME_RATE);
		stream_line(dst + i * 64, line);
		if (++n == x->nbStripesPerBlock) {
			XXH3_scrambleAcc(acc, secret + x->secretLimit);
			n = 0;
		}
	}
	x->nbStripesSoFar = n;
	memcpy(x->acc, acc, sizeof(acc));
}

/*
 * Take the lines out of [src, src + len) that XXH3 need not keep in its buffer.  The caller has filled
 * that to the brim, so it is consumed first; 193 to 256 bytes are left to the caller, for the buffer.
 */
static size_t xxh3_copy_lines(struct checksum_state *s, void *dst, const void *src, size_t len)
{
	XXH3_state_t *x = (XXH3_state_t *)(void *)s;
	size_t nr_lines = (len - (XXH3_INTERNALBUFFER_SIZE - 63)) / 64;

	XXH3_consumeStripes(x->acc, &x->nbStripesSoFar, x->nbStripesPerBlock, x->buffer,
			    XXH3_INTERNALBUFFER_SIZE / 64, x->extSecret ? x->extSecret : x->customSecret,
			    x->secretLimit, XXH3_accumulate_512, XXH3_scrambleAcc);
	x->bufferedSize = 0;
	xxh3_fuse(x, dst, src, nr_lines);
	x->totalLen += nr_lines * 64;
	return nr_lines * 64;
}

/* Bytes that fill XXH3's buffer to the brim. */
static size_t xxh3_room(const struct checksum_state *s)
{
	return XXH3_INTERNALBUFFER_SIZE - ((const XXH3_state_t *)(const void *)s)->bufferedSize;
}

#define CHECKSUM_OPS(unit)                                                                              \
	{                                                                                               \
		.name = unit, .hash = xxh3_hash, .init = xxh3_init, .update = xxh3_update,              \
		.digest = xxh3_digest, .room = xxh3_room, .copy_lines = xxh3_copy_lines,                \
	}

#endif
