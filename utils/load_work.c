/* SPDX-License-Identifier: Apache-2.0 */
/*
 * load_work.c - conversations of a chat or agent service, as chains of keys; bytes that name their block
 *
 * Everything follows from (seed, process, conversation, turn) by mixing, nothing is stored: a client that
 * was killed, or another one that takes a turn over, computes the same keys.  A chain is
 *
 *	[system prompt, shared by many: Zipf 0.9] [turn 0] [turn 1] ... [this turn]
 */
#include <math.h>
#include <string.h>

#include "kvshm/base/compiler.h"
#include "kvshm/base/rand.h"
#include "utils/bench.h"
#include "utils/load.h"

#define PROMPT_MIN 20u
#define PROMPT_SPREAD 101u
#define TURNS_MAX 12u
#define GROWTH_MIN 10u
#define GROWTH_SPREAD 51u

_Static_assert(PROMPT_MIN + PROMPT_SPREAD + TURNS_MAX * (GROWTH_MIN + GROWTH_SPREAD) <= WORK_KEYS_MAX,
	       "a chain longer than its array");

void work_init(struct work *w, uint64_t seed)
{
	double sum = 0;

	w->seed = seed;
	for (unsigned i = 0; i < ARRAY_SIZE(w->prompt_share); i++) {
		sum += pow((double)(i + 1), -0.9);
		w->prompt_share[i] = sum;
	}
	for (unsigned i = 0; i < ARRAY_SIZE(w->prompt_share); i++)
		w->prompt_share[i] /= sum;
}

static unsigned pick_prompt(const struct work *w, struct rand *r)
{
	double x = rand_double(r);
	unsigned i = 0;

	while (i + 1 < ARRAY_SIZE(w->prompt_share) && x >= w->prompt_share[i])
		i++;
	return i;
}

/* Blocks of a shared prompt; prompts have the chains 1 .. 64, mixed with the seed. */
static unsigned prompt_len(uint64_t chain)
{
	return PROMPT_MIN + (unsigned)(rand_mix(chain) % PROMPT_SPREAD);
}

void work_turn(const struct work *w, unsigned proc, unsigned which, uint64_t word, struct kvshm_key *keys,
	       struct work_turn *ret_t)
{
	unsigned turn = word & 0xff, turns, nr, own = 0;
	uint64_t prompt, chain;
	struct rand r;

	rand_init(&r, rand_mix(w->seed) ^ rand_mix((uint64_t)proc << 48 | (uint64_t)which << 40 | word >> 8));
	chain = rand_u64(&r) | 1ull << 63;
	prompt = rand_mix(w->seed + pick_prompt(w, &r)) & ~(1ull << 63);
	ret_t->ns = (unsigned)rand_below(&r, LOAD_NAMESPACES);
	turns = 1 + (unsigned)rand_below(&r, TURNS_MAX);
	nr = prompt_len(prompt);
	for (unsigned i = 0; i < nr; i++)
		keys[i] = bench_key(prompt, i);
	for (unsigned t = 0; t <= turn && t < turns; t++)
		own += GROWTH_MIN + (unsigned)rand_below(&r, GROWTH_SPREAD);
	for (unsigned i = 0; i < own; i++)
		keys[nr + i] = bench_key(chain, i);
	ret_t->nr = nr + own;
	ret_t->is_last = turn + 1 >= turns;
}

static uint64_t tag_base(unsigned ns, const struct kvshm_key *key)
{
	uint64_t w[4];

	memcpy(w, key->bytes, sizeof(w));
	return rand_mix(w[0] ^ rand_mix(w[1] ^ rand_mix(w[2] ^ rand_mix(w[3] + ns))));
}

/* Cheap enough not to be what is measured; no two places of any two blocks agree but by chance. */
static inline uint64_t tag_word(uint64_t base, uint64_t i)
{
	uint64_t x = base + i * 0x9e3779b97f4a7c15ull;

	return x ^ x >> 29;
}

void tag_fill(void *p, size_t len, unsigned ns, const struct kvshm_key *key)
{
	uint64_t base = tag_base(ns, key), *w = p;

	for (size_t i = 0; i < len / 8; i++)
		w[i] = tag_word(base, i);
}

static size_t count_wrong(const uint64_t *w, size_t nr, uint64_t base)
{
	size_t wrong = 0;

	for (size_t i = 0; i < nr; i++)
		for (uint64_t d = w[i] ^ tag_word(base, i); d; d >>= 8)
			wrong += (d & 0xff) != 0;
	return wrong;
}

size_t tag_wrong_bytes(const void *p, size_t len, unsigned ns, const struct kvshm_key *key)
{
	uint64_t base = tag_base(ns, key), diff = 0;
	const uint64_t *w = p;

	for (size_t i = 0; i < len / 8; i++)
		diff |= w[i] ^ tag_word(base, i);
	return diff ? count_wrong(w, len / 8, base) : 0;
}
