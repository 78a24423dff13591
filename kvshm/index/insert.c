/* SPDX-License-Identifier: Apache-2.0 */
/* insert.c - key -> id, the writer only: into the emptier of two buckets, nothing ever moves */
#include <errno.h>

#include "kvshm/index/index.h"
#include "kvshm/index/probe.h"

static unsigned nr_used(const struct kvshm_bucket *b)
{
	unsigned i, nr = 0;

	for (i = 0; i < KVSHM_BUCKET_SLOTS; i++)
		nr += READ_ONCE(b->slot[i]) != 0;
	return nr;
}

/* Index of the first slot with this value, or KVSHM_BUCKET_SLOTS. */
static unsigned slot_of(const struct kvshm_bucket *b, uint64_t value)
{
	unsigned i;

	for (i = 0; i < KVSHM_BUCKET_SLOTS; i++)
		if (READ_ONCE(b->slot[i]) == value)
			break;
	return i;
}

int index_insert(struct directory *dir, uint16_t ns, const struct kvshm_key *key, blk_id_t id)
{
	struct kvshm_bucket *b;
	struct probe p;
	uint64_t value;

	probe_hash(dir, probe_seed(dir, ns), key, &p);
	value = probe_slot(p.tag, id);
	if (slot_of(p.b[0], value) < KVSHM_BUCKET_SLOTS || slot_of(p.b[1], value) < KVSHM_BUCKET_SLOTS)
		return 0;
	b = nr_used(p.b[1]) < nr_used(p.b[0]) ? p.b[1] : p.b[0];
	if (nr_used(b) == KVSHM_BUCKET_SLOTS)
		return -ENOSPC;
	/* IX-1: the descriptor before the slot that names it; pairs with probe_match(). */
	store_release(&b->slot[slot_of(b, 0)], value);
	return 0;
}
