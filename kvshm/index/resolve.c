/* SPDX-License-Identifier: Apache-2.0 */
/*
 * resolve.c - ids of a pinned prefix
 *
 * Blocks of one commit have neighbouring ids, so the next block is guessed: one sequential
 * descriptor, no hash, no bucket.  Where a guess fails, a window of keys is looked up with all its
 * misses in flight; the window starts at one key (the seam between two commits) and widens while
 * guessing does not pay.
 *
 * A pin protects the ancestors of its block and nothing else.  A chain found from the root down is
 * that of the pin if it ends in the pinned block: each link was checked on the way.  If it does not,
 * or if the keys begin somewhere inside a chain, the pinned chain is read from the leaf up.
 *
 * Under a pin, an ancestor may be EVICTING for the moment between the writer's close and its scan;
 * it comes back, so it counts.
 */
#include "kvshm/index/index.h"

#include "kvshm/index/probe.h"

#define WINDOW 32			/* keys looked up together */
#define AHEAD 12			/* descriptors fetched ahead of a guess */
#define RUN_PAYS 16		/* guesses in a row that make guessing worth while */

static bool link_holds(const struct kvshm_desc *d, uint16_t ns, const struct kvshm_key *key,
		       blk_id_t parent)
{
	uint64_t state;
	blk_id_t seen = 0;

	return probe_desc(d, ns, key, true, &state, &seen) && seen == parent;
}

/* The block of that key and parent among the matching slots, or 0. */
static blk_id_t linked_id(const struct directory *dir, uint16_t ns, const struct kvshm_key *key,
			  const struct probe *p, blk_id_t parent)
{
	uint32_t left;

	for (left = p->match; left; left &= left - 1) {
		blk_id_t id = probe_id(dir, p, (unsigned)__builtin_ctz(left));

		if (id && link_holds(&dir->desc[id], ns, key, parent))
			return id;
	}
	return 0;
}

/* Guess @prev + 1, + 2, ...; return: number that hold. */
static unsigned resolve_run(const struct directory *dir, uint16_t ns, const struct kvshm_key *keys,
			    unsigned nr, blk_id_t prev, blk_id_t *ret_ids)
{
	blk_id_t room = dir->max_blocks - prev;
	unsigned i;

	for (i = 0; i < nr && i < room; i++) {
		const struct kvshm_desc *d = &dir->desc[prev + i + 1];

		prefetch(d + AHEAD);
		if (!link_holds(d, ns, &keys[i], prev + i))
			break;
		ret_ids[i] = prev + i + 1;
	}
	return i;
}

/* Look up to WINDOW keys up at once; return: number of leading ones found and linked. */
static unsigned resolve_window(const struct directory *dir, uint16_t ns, const struct kvshm_key *keys,
			       unsigned nr, blk_id_t prev, blk_id_t *ret_ids)
{
	uint64_t seed = probe_seed(dir, ns);
	struct probe p[WINDOW];
	unsigned i;

	for (i = 0; i < nr; i++)
		probe_hash(dir, seed, &keys[i], &p[i]);
	for (i = 0; i < nr; i++) {
		probe_match(&p[i]);
		probe_prefetch_desc(dir, &p[i]);
	}
	for (i = 0; i < nr; i++) {
		prev = linked_id(dir, ns, &keys[i], &p[i], prev);
		if (!prev)
			break;
		ret_ids[i] = prev;
	}
	return i;
}

static bool has_neighbours(const blk_id_t *ids, unsigned nr)
{
	unsigned i, seams = 0;

	for (i = 1; i < nr; i++)
		seams += ids[i] != ids[i - 1] + 1;
	return seams * RUN_PAYS < nr;
}

unsigned index_resolve(const struct directory *dir, uint16_t ns, const struct kvshm_key *keys,
		       unsigned nr, blk_id_t *ret_ids)
{
	unsigned done = 0, width = 1, got;
	bool guess = false;

	while (done < nr) {
		got = 0;
		if (guess)
			got = resolve_run(dir, ns, keys + done, nr - done, ret_ids[done - 1], ret_ids + done);
		if (done)
			width = got >= RUN_PAYS ? 1 : min_of(width * 4, (unsigned)WINDOW);
		done += got;
		width = min_of(width, nr - done);
		got = resolve_window(dir, ns, keys + done, width, done ? ret_ids[done - 1] : 0,
				     ret_ids + done);
		if (got < width)
			return done + got;
		guess = has_neighbours(ret_ids + done, got);
		done += got;
	}
	return done;
}

/* Ids of the pinned block and of @nr - 1 ancestors.  Return: has it so many? */
static bool climb(const struct directory *dir, unsigned nr, blk_id_t id, blk_id_t *ret_ids)
{
	unsigned i;

	for (i = nr; i-- > 0; id = READ_ONCE(dir->desc[id].parent)) {
		if (!id || id > dir->max_blocks)
			return false;
		ret_ids[i] = id;
	}
	return true;
}

unsigned index_resolve_pinned(const struct directory *dir, uint16_t ns, const struct kvshm_key *keys,
			      unsigned nr, blk_id_t pinned, blk_id_t *ret_ids)
{
	unsigned i;

	if (!nr || (index_resolve(dir, ns, keys, nr, ret_ids) == nr && ret_ids[nr - 1] == pinned))
		return nr;
	if (!climb(dir, nr, pinned, ret_ids))
		return 0;
	for (i = 0; i < nr; i++) {
		const struct kvshm_desc *d = &dir->desc[ret_ids[i]];

		/* BK-1: the payload after the state, as in probe_desc(); pairs with block_publish(). */
		if (state_of(load_acquire(&d->state)) < KVSHM_BLOCK_PUBLISHED ||
		    READ_ONCE(d->ns) != ns || !block_key_equal(d, &keys[i]))
			break;
	}
	return i;
}
