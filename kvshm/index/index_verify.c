/* SPDX-License-Identifier: Apache-2.0 */
/* index_verify.c - is the index what the descriptors say?  Reads only, safe on a damaged file. */
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>

#include "kvshm/index/index.h"
#include "kvshm/index/probe.h"

#define FIRST_LEN 160

struct report {
	unsigned long nr;
	char *first;
};

static __printf(2, 3) void violation(struct report *r, const char *fmt, ...)
{
	va_list ap;

	if (r->nr++ || !r->first)
		return;
	va_start(ap, fmt);
	vsnprintf(r->first, FIRST_LEN, fmt, ap);
	va_end(ap);
}

static void verify_slot(const struct directory *dir, uint64_t bucket, unsigned slot, struct report *r)
{
	uint64_t value = READ_ONCE(dir->bucket[bucket].slot[slot]);
	blk_id_t id = (blk_id_t)value;
	uint64_t state;

	if (!value)
		return;
	if (!id || id > dir->max_blocks) {
		violation(r, "index: bucket %" PRIu64 " slot %u names block %u of %u", bucket, slot, id,
			  dir->max_blocks);
		return;
	}
	state = READ_ONCE(dir->desc[id].state);
	if (!probe_state_ok(state, true))
		violation(r, "index: bucket %" PRIu64 " slot %u names block %u in state %u", bucket, slot,
			  id, (unsigned)state_of(state));
}

static void verify_block(const struct directory *dir, blk_id_t id, struct report *r)
{
	const struct kvshm_desc *d = &dir->desc[id];
	unsigned i, nr = 0;
	struct index_hit hit;
	struct kvshm_key key;
	struct probe p;
	uint16_t ns;

	if (!probe_state_ok(READ_ONCE(d->state), true))
		return;
	key = d->key;
	ns = READ_ONCE(d->ns);
	probe_hash(dir, probe_seed(dir, ns), &key, &p);
	for (i = 0; i < probe_nr_slots(&p); i++)
		nr += READ_ONCE(*probe_slot_ptr(&p, i)) == probe_slot(p.tag, id);
	if (nr != 1)
		violation(r, "index: block %u has %u slots", id, nr);
	else if (!index_find_any(dir, ns, &key, &hit) || hit.id != id)
		violation(r, "index: block %u is not what its key finds", id);
}

unsigned long index_verify(const struct directory *dir, char *first)
{
	struct report r = { .first = first };
	uint64_t b, id;
	unsigned i;

	if (first)
		*first = '\0';
	for (b = 0; b <= dir->bucket_mask; b++)
		for (i = 0; i < KVSHM_BUCKET_SLOTS; i++)
			verify_slot(dir, b, i, &r);
	for (id = 1; id <= dir->max_blocks; id++)
		verify_block(dir, (blk_id_t)id, &r);
	return r.nr;
}
