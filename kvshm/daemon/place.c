/* SPDX-License-Identifier: Apache-2.0 */
#include "kvshm/daemon/place.h"

#include <assert.h>

#include "kvshm/cache/cache.h"
#include "kvshm/daemon/daemon.h"
#include "kvshm/daemon/writer.h"

bool place_rec_ok(const struct kvshm_commit_rec *rec)
{
	return rec->length > 0 && rec->length <= KVSHM_BLOCK_MAX && !rec->flags && !rec->block.id &&
	       !rec->block.generation && !rec->resv[0] && !rec->resv[1];
}

int place_records(struct writer *w, uint32_t owner, uint16_t ns, struct kvshm_commit_rec *rec, uint32_t nr,
		  uint64_t stamp_ns)
{
	const struct kvshm_desc *desc = w->d->store.dir.desc;
	struct kvshm_id_run run[PLACE_MAX]; /* each may be of one block: no grant is cut short */
	unsigned nr_runs = 0;
	int got;

	assert(nr <= PLACE_MAX);
	touch_freshen(w);
	got = cache_grant(w->cache, owner, ns, rec->length, nr, run, PLACE_MAX, &nr_runs, writer_time(w, stamp_ns));
	for (unsigned i = 0; i < nr_runs; i++)
		for (uint32_t id = run[i].first; id < run[i].first + run[i].nr; id++)
			(rec++)->block = (struct kvshm_block_ref){ id, state_generation(READ_ONCE(desc[id].state)) };
	return got;
}
