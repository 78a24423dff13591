/* SPDX-License-Identifier: Apache-2.0 */
/*
 * remove.c - the writer only: clear a slot
 *
 * Needs no order: a reader that still sees the slot finds a descriptor that is not PUBLISHED, or of
 * another key.
 */
#include <errno.h>

#include "kvshm/index/index.h"
#include "kvshm/index/probe.h"

int index_remove(struct directory *dir, uint16_t ns, const struct kvshm_key *key, blk_id_t id)
{
	struct probe p;
	unsigned i;

	probe_hash(dir, probe_seed(dir, ns), key, &p);
	for (i = 0; i < probe_nr_slots(&p); i++) {
		uint64_t *slot = probe_slot_ptr(&p, i);

		if (READ_ONCE(*slot) == probe_slot(p.tag, id)) {
			WRITE_ONCE(*slot, 0);
			return 0;
		}
	}
	return -ENOENT;
}
