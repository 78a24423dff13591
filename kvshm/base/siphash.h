/* SPDX-License-Identifier: Apache-2.0 */
/* siphash.h - SipHash-2-4 of whole words: a hash that tells nobody its input, nor its key */
#ifndef KVSHM_BASE_SIPHASH_H
#define KVSHM_BASE_SIPHASH_H

#include <stddef.h>
#include <stdint.h>

struct siphash_key {
	uint64_t k[2];
};

static inline uint64_t siphash_rotl(uint64_t x, unsigned n)
{
	return x << n | x >> (64 - n);
}

static inline void siphash_rounds(uint64_t v[4], unsigned rounds)
{
	while (rounds--) {
		v[0] += v[1];
		v[2] += v[3];
		v[1] = siphash_rotl(v[1], 13) ^ v[0];
		v[3] = siphash_rotl(v[3], 16) ^ v[2];
		v[0] = siphash_rotl(v[0], 32) + v[3];
		v[2] += v[1];
		v[3] = siphash_rotl(v[3], 21) ^ v[0];
		v[1] = siphash_rotl(v[1], 17) ^ v[2];
		v[2] = siphash_rotl(v[2], 32);
	}
}

/* Of @nr little-endian words. */
static inline uint64_t siphash_words(const struct siphash_key *key, const uint64_t *words, size_t nr)
{
	uint64_t v[4] = { key->k[0] ^ 0x736f6d6570736575ull, key->k[1] ^ 0x646f72616e646f6dull,
			  key->k[0] ^ 0x6c7967656e657261ull, key->k[1] ^ 0x7465646279746573ull };
	const uint64_t end = (uint64_t)nr * 8 << 56;
	size_t i;

	for (i = 0; i <= nr; i++) {
		const uint64_t m = i < nr ? words[i] : end;

		v[3] ^= m;
		siphash_rounds(v, 2);
		v[0] ^= m;
	}
	v[2] ^= 0xff;
	siphash_rounds(v, 4);
	return v[0] ^ v[1] ^ v[2] ^ v[3];
}

#endif
