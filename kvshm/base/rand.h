/* SPDX-License-Identifier: Apache-2.0 */
/*
 * rand.h - repeatable pseudo-random numbers for tests, loads and tie-breaks; not for secrets
 *
 * A 64-bit Weyl sequence through a mixer of two multiply-xorshift rounds: any seed is good, the state is
 * one word, period 2^64.
 */
#ifndef KVSHM_BASE_RAND_H
#define KVSHM_BASE_RAND_H

#include <stdint.h>

struct rand {
	uint64_t state;
};

static inline void rand_init(struct rand *r, uint64_t seed)
{
	r->state = seed;
}

static inline uint64_t rand_mix(uint64_t x)
{
	x = (x ^ x >> 30) * 0xbf58476d1ce4e5b9ull;
	x = (x ^ x >> 27) * 0x94d049bb133111ebull;
	return x ^ x >> 31;
}

static inline uint64_t rand_u64(struct rand *r)
{
	return rand_mix(r->state += 0x9e3779b97f4a7c15ull);
}

/* Uniform in [0, n); n > 0.  The bias of n / 2^64 is of no account here. */
static inline uint64_t rand_below(struct rand *r, uint64_t n)
{
	return (uint64_t)((unsigned __int128)rand_u64(r) * n >> 64);
}

/* Uniform in [0, 1). */
static inline double rand_double(struct rand *r)
{
	return (double)(rand_u64(r) >> 11) * 0x1p-53;
}

#endif
