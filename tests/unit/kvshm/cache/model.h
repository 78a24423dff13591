/* SPDX-License-Identifier: Apache-2.0 */
/*
 * model.h - what the random test knows: keys and their tags, pins and what each may read, grants
 *
 * One program includes it.  sync_all() compares it with the cache and lets it learn what was evicted.
 */
#ifndef TESTS_UNIT_KVSHM_CACHE_MODEL_H
#define TESTS_UNIT_KVSHM_CACHE_MODEL_H

#include "fixture.h"
#include "kvshm/base/rand.h"

enum {
	CHAINS = 40, DEPTH = 24, SHARED = 6, NODES = CHAINS * DEPTH,	/* odd chains share a prefix */
	BLOCKS = 2048, UNITS = 16, NR_NS = 5, PUT_MAX = 6, PINS = 40, GRANTS = 64,
};

struct node {				/* a key */
	uint64_t tag;			/* 0: never published */
	uint32_t generation;
	bool is_present;
};

struct held_pin {
	unsigned session, nr;
	uint32_t slot;
	blk_id_t id[DEPTH];
	uint32_t generation[DEPTH];
	uint64_t place[DEPTH], tag[DEPTH];
	uint32_t length;
};

struct held_grant {
	uint32_t owner, ns;
	struct kvshm_block_ref ref;
};

static const uint32_t ns_len[NR_NS] = { 4096, 20480, 65536, 614400, 3u << 20 };
static struct fix f;
static struct rand rnd;
static struct node node[NODES];
static struct held_pin pin[PINS];
static struct held_grant grant[GRANTS];
static unsigned nr_pins, nr_grants;
static uint64_t next_tag;

/* The put under way, for what a crash leaves of it. */
static struct {
	unsigned nr, node[PUT_MAX];
	uint64_t tag[PUT_MAX];
} pending;

static unsigned nr_moved_pins;		/* looks at an old place */
static struct cache_counts total;	/* over all caches of the run */

__fix unsigned pick(unsigned n)
{
	return (unsigned)rand_below(&rnd, n);
}

__fix void add_counts(void)
{
	struct cache_counts n = fix_count(&f);

	total.publishes += n.publishes;
	total.duplicates += n.duplicates;
	total.dropped_full += n.dropped_full;
	total.dropped_bad += n.dropped_bad;
	total.dropped_parent += n.dropped_parent;
	total.evictions += n.evictions;
	total.victims_restored += n.victims_restored;
	total.relocations += n.relocations;
	total.drops += n.drops;
	total.recovered += n.recovered;
}

/* ---- keys ---------------------------------------------------------------------------------- */

__fix unsigned node_of(unsigned chain, unsigned i)
{
	if (chain % 2 && i < SHARED)
		chain--;
	return chain * DEPTH + i;
}

__fix struct kvshm_key key_of(unsigned n)
{
	return fix_key(n / DEPTH, n % DEPTH);
}

__fix uint16_t ns_of(unsigned chain)
{
	return (uint16_t)(1 + chain / 2 % NR_NS);
}

__fix bool find(unsigned n, struct index_hit *hit)
{
	const struct kvshm_key key = key_of(n);

	return index_find(&f.dir, ns_of(n / DEPTH), &key, hit);
}

/* ---- bytes --------------------------------------------------------------------------------- */

__fix uint64_t word_at(uint64_t place, uint64_t at)
{
	uint64_t w;

	memcpy(&w, (char *)arena_ptr(&f.arena, place) + at, sizeof(w));
	return w;
}

__fix uint64_t place_now(blk_id_t id)
{
	return (uint64_t)f.dir.desc[id].page * KVSHM_PAGE;
}

__fix void fill(blk_id_t id, uint64_t tag)
{
	char *p = fix_bytes(&f, id);

	memcpy(p, &tag, sizeof(tag));
	memcpy(p + f.dir.desc[id].length - sizeof(tag), &tag, sizeof(tag));
}

__fix void check_bytes(uint64_t place, uint32_t length, uint64_t tag)
{
	assert_int_equal(word_at(place, 0), tag);
	assert_int_equal(word_at(place, length - sizeof(tag)), tag);
}

__fix void check_pin(const struct held_pin *p)
{
	unsigned i;

	for (i = 0; i < p->nr; i++) {
		uint64_t w = f.dir.desc[p->id[i]].state;

		assert_int_equal(state_generation(w), p->generation[i]);
		assert_true(state_of(w) == KVSHM_BLOCK_PUBLISHED || state_of(w) == KVSHM_BLOCK_QUARANTINED);
		check_bytes(p->place[i], p->length, p->tag[i]);
		check_bytes(place_now(p->id[i]), p->length, p->tag[i]);
		nr_moved_pins += place_now(p->id[i]) != p->place[i];
	}
}

/* ---- the model against the cache ------------------------------------------------------------- */

__fix uint64_t pending_tag(unsigned n, uint64_t tag)
{
	unsigned i;

	for (i = 0; i < pending.nr; i++)
		if (pending.node[i] == n && pending.tag[i] == tag)
			return tag;
	return 0;
}

/* @after_crash: what was under way may have happened or not. */
__fix void sync_node(unsigned n, bool after_crash)
{
	struct node *m = &node[n];
	struct index_hit hit;
	uint64_t tag;

	if (!find(n, &hit)) {
		m->is_present = false;
		return;
	}
	tag = word_at(place_now(hit.id), 0);
	check_bytes(place_now(hit.id), f.dir.desc[hit.id].length, tag);
	if (m->tag == tag && m->generation == hit.generation) {
		assert_true(m->is_present || after_crash);
	} else {
		assert_true(after_crash && pending_tag(n, tag));
		m->tag = tag;
		m->generation = hit.generation;
	}
	m->is_present = true;
}

__fix void sync_all(bool after_crash)
{
	unsigned i;

	for (i = 0; i < NODES; i++)
		sync_node(i, after_crash);
	for (i = 0; i < nr_pins; i++)
		check_pin(&pin[i]);
	fix_verify(&f);
	assert_int_equal(fix_count(&f).damaged, 0);
	if (!after_crash)
		assert_int_equal(fix_count(&f).granted, nr_grants);
}

#endif
