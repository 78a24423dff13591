/* SPDX-License-Identifier: Apache-2.0 */
#include "kvshm/daemon/credit.h"

#include "kvshm/base/atomic.h"
#include "kvshm/base/bitmap.h"
#include "kvshm/base/compiler.h"
#include "kvshm/cache/cache.h"
#include "kvshm/daemon/daemon.h"
#include "kvshm/daemon/writer.h"

unsigned credit_allows(const struct writer *w, const struct session *s, unsigned nr, uint32_t len)
{
	const struct conf *c = &w->d->conf;
	const struct queue *q = &s->q;
	uint64_t most_blocks = READ_ONCE(c->credit_blocks);
	uint64_t blocks = most_blocks - min_of((uint64_t)q->granted, most_blocks);
	uint64_t most = READ_ONCE(w->d->store.credit_bytes);
	uint64_t bytes = most - min_of(q->granted_bytes, most);

	/* One block is always allowed, or a block longer than the credit could never be put. */
	if (q->granted == 0)
		bytes = max_of(bytes, (uint64_t)len);
	return (unsigned)min_of((uint64_t)nr, min_of(blocks, bytes / len));
}

void credit_spend(struct session *s, unsigned nr, uint32_t len)
{
	struct queue *q = &s->q;

	q->granted += nr;
	q->granted_bytes += (uint64_t)nr * len;
	q->total_grants += nr;
	q->total_grant_bytes += (uint64_t)nr * len;
}

static bool is_granted(const struct writer *w, const struct session *s, struct kvshm_block_ref ref,
		       uint32_t *ret_len)
{
	return cache_grant_ptr(w->cache, s->slot, ref, ret_len);
}

static bool is_an_id(const struct writer *w, uint32_t id)
{
	return id != 0 && id <= w->d->store.dir.max_blocks;
}

void credit_before(struct writer *w, struct session *s, struct kvshm_block_ref ref)
{
	uint32_t len;

	if (!is_an_id(w, ref.id) || !is_granted(w, s, ref, &len) || bitmap_test(w->mark, ref.id))
		return;
	bitmap_set(w->mark, ref.id);
	s->q.granted--;
	s->q.granted_bytes -= len;
}

void credit_after(struct writer *w, struct session *s, struct kvshm_block_ref ref)
{
	uint32_t len;

	if (!is_an_id(w, ref.id) || !bitmap_test(w->mark, ref.id))
		return;
	bitmap_clear(w->mark, ref.id);
	if (!is_granted(w, s, ref, &len))
		return;
	s->q.granted++;
	s->q.granted_bytes += len;
}
