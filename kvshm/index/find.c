/* SPDX-License-Identifier: Apache-2.0 */
/*
 * find.c - one key, and a vector of loose keys
 *
 * A key costs two cache misses one after the other, bucket and descriptor.  The vector runs as a
 * pipeline: while descriptor i is compared, the descriptor of i + DISTANCE and the buckets of
 * i + 2 * DISTANCE are on their way.
 */
#include "kvshm/index/index.h"

#include "kvshm/index/probe.h"

#define DISTANCE 16			/* keys between two steps; a power of two */
#define RING (4 * DISTANCE)

static int find(const struct directory *dir, uint16_t ns, const struct kvshm_key *key,
		bool closed_too, struct index_hit *ret_hit)
{
	struct probe p;

	probe_hash(dir, probe_seed(dir, ns), key, &p);
	return probe_match(&p) && probe_check(dir, ns, key, &p, closed_too, ret_hit);
}

int index_find(const struct directory *dir, uint16_t ns, const struct kvshm_key *key,
	       struct index_hit *ret_hit)
{
	return find(dir, ns, key, false, ret_hit);
}

int index_find_any(const struct directory *dir, uint16_t ns, const struct kvshm_key *key,
		   struct index_hit *ret_hit)
{
	return find(dir, ns, key, true, ret_hit);
}

unsigned index_find_many(const struct directory *dir, uint16_t ns, const struct kvshm_key *keys,
			 unsigned nr, struct index_hit *ret_hits)
{
	uint64_t seed = probe_seed(dir, ns);
	struct probe ring[RING];
	unsigned found = 0;
	size_t i, m, c;

	for (i = 0; i < (size_t)nr + 2 * DISTANCE; i++) {
		if (i < nr) {
			prefetch(&keys[i + DISTANCE]);
			probe_hash(dir, seed, &keys[i], &ring[i % RING]);
		}
		m = i - DISTANCE;
		if (i >= DISTANCE && m < nr) {
			probe_match(&ring[m % RING]);
			probe_prefetch_desc(dir, &ring[m % RING]);
		}
		c = i - 2 * DISTANCE;
		if (i < 2 * DISTANCE)
			continue;
		if (probe_check(dir, ns, &keys[c], &ring[c % RING], false, &ret_hits[c]))
			found++;
		else
			ret_hits[c] = (struct index_hit){ 0 };
	}
	return found;
}
