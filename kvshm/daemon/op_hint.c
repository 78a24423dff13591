/* SPDX-License-Identifier: Apache-2.0 */
/* What engines know beforehand, handed to the cache within the session's limits. */
#include <errno.h>

#include "kvshm/cache/cache.h"
#include "kvshm/daemon/daemon.h"
#include "kvshm/daemon/opdef.h"
#include "kvshm/daemon/writer.h"

int op_hint(struct request *r)
{
	const struct kvshm_hint_rec *rec = r->args;
	struct cache_hint h = {
		.owner = r->s->slot,
		.ns = r->sqe.ns,
		.may_close = op_may_drop(r) == 0, /* it takes away what others may use, as a drop does */
		.quota_bytes = r->s->quota_bytes,
		.now_ns = writer_time(r->w, r->sqe.stamp_ns),
	};
	int ret;

	/* What it used before it said so must not count as used afterwards. */
	touch_drain_one(r->w, r->s);
	for (uint32_t i = 0; i < r->sqe.nr; i++) {
		h.rec = &rec[i];
		ret = cache_hint(r->w->cache, &h);
		if (ret < 0) {
			r->cqe.res = ret;
			return 0;
		}
		if (ret && rec[i].kind == KVSHM_HINT_NODE)
			r->s->q.node = (int)rec[i].nr;
		r->cqe.res += ret;
	}
	return 0;
}
