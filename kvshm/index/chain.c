/* SPDX-License-Identifier: Apache-2.0 */
/*
 * chain.c - longest cached prefix of a chain, by Invariant T
 *
 * A published block's parent is published, so along a chain the answers to "is block i present?" are
 * yes ... yes no ... no, and the prefix ends where they turn:
 *
 *   keys     0 1 2 3 4 5 6 7 8 9 ...                     nr
 *   present  y y y y y y y y n n n n n n n n n n n n n n n n
 *   round 1        lo        ^       ^       ^       ^    hi     cuts, and parts between them
 *   round 2        lo ^  ^  ^  hi
 *
 * Binary search asks one key at a time, and each answer costs two cache misses that wait for each
 * other, bucket and descriptor: 22 for 2,048 keys.  Three things shorten that:
 *
 * - A round asks several keys at once, their buckets in flight together, and then searches among the
 *   answers.  Fewer rounds against more buckets fetched in vain.  kvshm bench match, 2,048 keys, p50 in
 *   ns on a busy 2-core VM (Zen 5): with all of 4,096 blocks in cache 760 / 545 / 680 for 4 / 8 / 16
 *   parts, with 10^6 blocks 1,400 / 1,060 / 1,040, cold 5,300 / 4,700 / 5,050 beside 7,600 for 22
 *   dependent misses.  So: three rounds, and no more parts than three rounds need, 13.
 * - Blocks of one commit have neighbouring ids.  Once one block is known, the descriptors beside it tell
 *   what the next keys' buckets would, at one line a key, without a hash, and for certain; a last bucket
 *   tells that the key behind them is absent, and not merely elsewhere.  Where the first round shows
 *   that ids are no neighbours, buckets are asked to the end.  With the eight tags of a bucket
 *   compared at once: 4,680 instructions a match before, 2,770 now (tests/guard), 1,270 ns before,
 *   1,070 now (the same VM, busy, 10^6 blocks, commands in turns).
 * - A slot's 32-bit tag is believed during the search; only the last key found is compared in its
 *   descriptor.  A tag that lied, or a block that is being evicted, makes that last look fail, and
 *   the search is done again with every descriptor looked at.  It can never make the answer
 *   longer than what was looked at.
 *
 * The writer goes on meanwhile.  The answer is a hint: the caller pins the block found, which
 * looks at it again, and resolves the chain, which looks at each block below it.
 */
#include "kvshm/index/index.h"

#include "kvshm/index/probe.h"

#define MAX_PARTS 16u /* that a round may cut the range into */

/*
 * Parts of a round for a chain of up to 2^index keys: the fewest that take no more rounds than sixteen
 * would, so that little is fetched in vain.
 */
static const uint8_t parts_for[] = {
	16, 16, 16, 16, 16, 6, 9, 12, 16, 9, 11, 13, 16, 10, 12, 14, 16
};

/* 2^16 / parts: a range is cut by a multiplication. */
#define R(parts) ((1u << 16) / (parts))
static const uint16_t share_of[MAX_PARTS + 1] = {
	0,    0,     R(2),  R(3),  R(4),  R(5),	 R(6),	R(7),  R(8),
	R(9), R(10), R(11), R(12), R(13), R(14), R(15), R(16),
};
#undef R

static unsigned parts_of_chain(unsigned nr)
{
	unsigned bits = nr > 1 ? 32 - (unsigned)__builtin_clz(nr - 1) : 0;

	return bits < ARRAY_SIZE(parts_for) ? parts_for[bits] : MAX_PARTS;
}

/* Cut (lo, hi] and start fetching the key of each cut.  Return: number of cuts. */
static unsigned cut_range(const struct index_keys *keys, unsigned lo, unsigned hi, unsigned parts,
			  unsigned *at, const struct kvshm_key **key)
{
	unsigned len = hi - lo, nr = min_of(len, parts - 1), i;
	uint64_t step = len < parts ? 1u << 16 : (uint64_t)len * share_of[parts];
	uint64_t x = (uint64_t)lo << 16;

	for (i = 0; i < nr; i++) {
		x += step;
		at[i] = (unsigned)(x >> 16); /* is the prefix at least that long? */
		key[i] = index_key(keys, at[i] - 1);
		prefetch(key[i]);
	}
	return nr;
}

static bool is_present(const struct directory *dir, uint16_t ns, const struct kvshm_key *key,
		       struct probe *p, bool careful)
{
	struct index_hit hit;

	return probe_match(p) && (!careful || probe_check(dir, ns, key, p, false, &hit));
}

/* ---- neighbours ---------------------------------------------------------------------------------- */

/* Is @id the block of that key, by its descriptor? */
static bool is_block(const struct directory *dir, uint16_t ns, const struct kvshm_key *key,
		     blk_id_t id, struct index_hit *ret_hit)
{
	uint64_t state;

	if (id > dir->max_blocks || !probe_desc(&dir->desc[id], ns, key, false, &state, NULL))
		return false;
	*ret_hit = (struct index_hit){ .id = id,
				       .generation = state_generation(state),
				       .state = state };
	return true;
}

/**
 * follow() - go on from key number @lo, whose block seems to be @hit, for as long as ids are neighbours
 * @hi: keys from there on are known to be absent
 * Return: number of leading keys whose blocks were seen to be there, @hit is the last of them; 0: not even
 * the block of key number @lo, and @hit is as it was.
 */
static unsigned follow(const struct directory *dir, uint16_t ns, const struct index_keys *keys,
		       unsigned lo, unsigned hi, unsigned parts, struct index_hit *hit)
{
	const struct kvshm_key *key[MAX_PARTS];
	const blk_id_t base = hit->id - lo;
	unsigned at[MAX_PARTS];
	bool is_sure = false;

	while (lo < hi) {
		unsigned nr = cut_range(keys, lo, hi, parts, at, key), first = 0, end = nr, i;

		for (i = 0; i < nr; i++)
			prefetch(&dir->desc[base + at[i]]);
		/* Looked at only now: its descriptor comes with the others. */
		if (!is_sure && !is_block(dir, ns, index_key(keys, lo - 1), base + lo, hit))
			return 0;
		is_sure = true;
		while (first < end) {
			unsigned mid = (first + end) / 2;

			if (is_block(dir, ns, key[mid], base + at[mid], hit)) {
				first = mid + 1;
			} else {
				end = mid;
				hi = at[mid] - 1;
			}
		}
		if (first)
			lo = at[first - 1];
	}
	return lo;
}

/* ---- the search ---------------------------------------------------------------------------------- */

/* What is known between two rounds. */
struct range {
	unsigned lo, hi; /* keys[lo - 1] is there, keys[hi] is not */
	struct probe p; /* of keys[lo - 1], if lo > 0 */
	struct index_hit hit; /* its block, as far as @is_sure */
	bool is_sure; /* the descriptor was looked at */
	bool is_strewn; /* ids of this chain are no neighbours */
};

/* One more round of buckets. */
static void narrow(const struct directory *dir, uint16_t ns, const struct index_keys *keys,
		   uint64_t seed, unsigned parts, bool careful, struct range *r)
{
	const struct kvshm_key *key[MAX_PARTS];
	unsigned at[MAX_PARTS], nr = cut_range(keys, r->lo, r->hi, parts, at, key), first = 0,
				end = nr, i;
	struct probe p[MAX_PARTS];

	for (i = nr; i-- > 0;)
		probe_hash(dir, seed, key[i], &p[i]);
	/* All buckets are on their way by now: a binary search looks at few of them. */
	while (first < end) {
		unsigned mid = (first + end) / 2;

		if (is_present(dir, ns, key[mid], &p[mid], careful)) {
			first = mid + 1;
		} else {
			end = mid;
			r->hi = at[mid] - 1;
		}
	}
	if (!first)
		return;
	r->lo = at[first - 1];
	r->p = p[first - 1];
	r->is_sure = false;
	r->hit.id = probe_first(dir, &r->p);
	prefetch(&dir->desc[r->hit.id]);
	/* The cut before it was not always looked at, but its bucket is here. */
	if (first > 1 && probe_match(&p[first - 2]))
		r->is_strewn = r->hit.id - probe_first(dir, &p[first - 2]) != r->lo - at[first - 2];
}

/* Where ids are neighbours, descriptors tell at a line a key what buckets tell at two and a hash. */
static void try_neighbours(const struct directory *dir, uint16_t ns, const struct index_keys *keys,
			   uint64_t seed, unsigned parts, struct range *r)
{
	struct probe p;
	unsigned len;

	len = r->hit.id ? follow(dir, ns, keys, r->lo, r->hi, parts, &r->hit) : 0;
	r->is_strewn = true; /* from here on: if the next key is there, it is elsewhere */
	if (!len)
		return;
	r->is_sure = true;
	r->lo = len;
	if (len == r->hi)
		return;
	probe_hash(dir, seed, index_key(keys, len), &p);
	if (!probe_match(&p))
		r->hi = len;
}

/**
 * search() - the deepest key present, seen by its tag alone or, @careful, by its descriptor
 * Return: number of leading keys; @ret_r tells about the last of them.
 */
static unsigned search(const struct directory *dir, uint16_t ns, const struct index_keys *keys,
		       unsigned nr, bool careful, struct range *ret_r)
{
	struct range r = { .hi = nr, .is_strewn = careful };
	uint64_t seed = probe_seed(dir, ns);
	unsigned parts = parts_of_chain(nr);

	while (r.lo < r.hi) {
		narrow(dir, ns, keys, seed, parts, careful, &r);
		if (r.lo && r.lo < r.hi && !r.is_strewn)
			try_neighbours(dir, ns, keys, seed, parts, &r);
	}
	*ret_r = r;
	return r.lo;
}

/* The descriptor behind what was found. */
static bool confirm(const struct directory *dir, uint16_t ns, const struct index_keys *keys,
		    struct range *r, struct index_hit *ret_hit)
{
	if (r->is_sure) {
		*ret_hit = r->hit;
		return true;
	}
	return probe_check(dir, ns, index_key(keys, r->lo - 1), &r->p, false, ret_hit);
}

unsigned index_longest_in(const struct directory *dir, uint16_t ns, const struct index_keys *keys,
			  unsigned nr, struct index_hit *ret_hit)
{
	struct range r;
	unsigned len;

	len = search(dir, ns, keys, nr, false, &r);
	if (!len || confirm(dir, ns, keys, &r, ret_hit))
		return len;
	/* Closed for eviction just now, or two keys of one tag. */
	len = search(dir, ns, keys, nr, true, &r);
	return len && confirm(dir, ns, keys, &r, ret_hit) ? len : 0;
}

unsigned index_longest(const struct directory *dir, uint16_t ns, const struct kvshm_key *keys,
		       unsigned nr, struct index_hit *ret_hit)
{
	const struct index_keys flat = { .flat = keys };

	return index_longest_in(dir, ns, &flat, nr, ret_hit);
}
