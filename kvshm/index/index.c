/* SPDX-License-Identifier: Apache-2.0 */
/*
 * index.c - the index as a whole: repair after a crash
 *
 * Slot and descriptor are two words, so the writer may die between them: a PUBLISHED block without
 * its slot (died in publish before index_insert(), or in eviction after index_remove()), or a slot
 * that names a block that is no longer there.  Both are mended in place; an empty new index would
 * blind the readers that go on meanwhile.
 */
#include "kvshm/index/index.h"

#include "kvshm/index/probe.h"

static bool is_indexed_state(uint64_t state)
{
	return probe_state_ok(state, true);
}

/* Does the block that this slot names hash to this bucket and tag? */
static bool slot_is_right(const struct directory *dir, const struct kvshm_bucket *b, uint64_t value)
{
	const struct kvshm_desc *d;
	struct probe p;
	blk_id_t id = (blk_id_t)value;

	if (!id || id > dir->max_blocks)
		return false;
	d = &dir->desc[id];
	if (!is_indexed_state(READ_ONCE(d->state)))
		return false;
	probe_hash(dir, probe_seed(dir, d->ns), &d->key, &p);
	return (p.b[0] == b || p.b[1] == b) && value == probe_slot(p.tag, id);
}

static unsigned long clear_wrong_slots(struct directory *dir)
{
	unsigned long nr = 0;
	uint64_t b;
	unsigned i;

	for (b = 0; b <= dir->bucket_mask; b++)
		for (i = 0; i < KVSHM_BUCKET_SLOTS; i++) {
			uint64_t *slot = &dir->bucket[b].slot[i];
			uint64_t value = READ_ONCE(*slot);

			if (value && !slot_is_right(dir, &dir->bucket[b], value)) {
				WRITE_ONCE(*slot, 0);
				nr++;
			}
		}
	return nr;
}

/* Keep one slot of the block, drop others.  Return: number kept before (0: it has none). */
static unsigned slots_of_block(struct directory *dir, const struct kvshm_desc *d, blk_id_t id)
{
	struct probe p;
	unsigned i, nr = 0;

	probe_hash(dir, probe_seed(dir, d->ns), &d->key, &p);
	for (i = 0; i < probe_nr_slots(&p); i++) {
		uint64_t *slot = probe_slot_ptr(&p, i);

		if (READ_ONCE(*slot) == probe_slot(p.tag, id) && nr++)
			WRITE_ONCE(*slot, 0);
	}
	return nr;
}

unsigned long index_repair(struct directory *dir)
{
	unsigned long changed = clear_wrong_slots(dir);
	uint64_t id;

	for (id = 1; id <= dir->max_blocks; id++) {
		const struct kvshm_desc *d = &dir->desc[id];
		unsigned nr;

		if (!is_indexed_state(READ_ONCE(d->state)))
			continue;
		nr = slots_of_block(dir, d, (blk_id_t)id);
		if (!nr)
			changed += index_insert(dir, d->ns, &d->key, (blk_id_t)id) == 0;
		else
			changed += nr - 1;
	}
	return changed;
}
