/* SPDX-License-Identifier: Apache-2.0 */
/*
 * bitmap.h - bits in an array of 64-bit words, caller's memory, one thread
 *
 * Bit i is bit i % 64 of word i / 64.  Searches take a half-open range [from, end) and return @end
 * when they find nothing, so their results can be used as limits.
 */
#ifndef KVSHM_BASE_BITMAP_H
#define KVSHM_BASE_BITMAP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define BITMAP_WORDS(nr_bits) (((size_t)(nr_bits) + 63) / 64)

static inline void bitmap_set(uint64_t *map, size_t bit)
{
	map[bit / 64] |= 1ull << (bit % 64);
}

static inline void bitmap_clear(uint64_t *map, size_t bit)
{
	map[bit / 64] &= ~(1ull << (bit % 64));
}

static inline bool bitmap_test(const uint64_t *map, size_t bit)
{
	return map[bit / 64] >> (bit % 64) & 1;
}

/* First bit of [from, end) that equals !flip; flip is 0 or ~0. */
static inline size_t bitmap_search(const uint64_t *map, size_t from, size_t end, uint64_t flip)
{
	uint64_t word;
	size_t i;

	if (from >= end)
		return end;
	i = from / 64;
	word = (map[i] ^ flip) & ~0ull << (from % 64);
	while (word == 0) {
		if (++i >= BITMAP_WORDS(end))
			return end;
		word = map[i] ^ flip;
	}
	from = i * 64 + (size_t)__builtin_ctzll(word);
	return from < end ? from : end;
}

/* First set bit of [from, end), or @end. */
static inline size_t bitmap_next_set(const uint64_t *map, size_t from, size_t end)
{
	return bitmap_search(map, from, end, 0);
}

/* First clear bit of [from, end), or @end. */
static inline size_t bitmap_next_clear(const uint64_t *map, size_t from, size_t end)
{
	return bitmap_search(map, from, end, ~0ull);
}

/* Mask of the bits of word @word_index that lie in [from, end). */
static inline uint64_t bitmap_word_mask(size_t word_index, size_t from, size_t end)
{
	uint64_t mask = ~0ull;

	if (from > word_index * 64)
		mask &= ~0ull << (from - word_index * 64);
	if (end < word_index * 64 + 64)
		mask &= ~(~0ull << (end - word_index * 64));
	return mask;
}

/* Set, or clear, all bits of [from, end). */
static inline void bitmap_set_range(uint64_t *map, size_t from, size_t end)
{
	size_t i;

	for (i = from / 64; i < BITMAP_WORDS(end); i++)
		map[i] |= bitmap_word_mask(i, from, end);
}

static inline void bitmap_clear_range(uint64_t *map, size_t from, size_t end)
{
	size_t i;

	for (i = from / 64; i < BITMAP_WORDS(end); i++)
		map[i] &= ~bitmap_word_mask(i, from, end);
}

static inline size_t bitmap_count(const uint64_t *map, size_t nr_bits)
{
	size_t i, n = 0;

	for (i = 0; i < BITMAP_WORDS(nr_bits); i++)
		n += (size_t)__builtin_popcountll(map[i] & bitmap_word_mask(i, 0, nr_bits));
	return n;
}

#endif
