/* SPDX-License-Identifier: Apache-2.0 */
/* What a model push or a user makes worthless goes, in steps. */
#include <errno.h>

#include "kvshm/base/compiler.h"
#include "kvshm/daemon/daemon.h"
#include "kvshm/daemon/opdef.h"
#include "kvshm/daemon/writer.h"

#define BLOCKS_A_STEP 128u

/* Who is not trusted does not take away what another user's engines have put. */
int op_may_drop(const struct request *r)
{
	const struct directory *dir = &r->w->d->store.dir;

	if (r->s->is_trusted || r->sqe.ns >= dir->max_ns)
		return 0;
	return dir->ns[r->sqe.ns].uid == r->s->peer.uid ? 0 : -EPERM;
}

bool op_drop_is_slow(const struct request *r)
{
	return true;
}

bool op_drop_step(struct request *r)
{
	struct slow_entry *e = &r->s->q.slow;
	struct cache_drop *d = &e->drop;
	int ret;

	if (e->next++ == 0)
		*d = (struct cache_drop){
			.ns = r->sqe.ns,
			.is_all = r->sqe.flags & KVSHM_SQE_F_ALL,
			.key = r->sqe.key,
		};
	ret = cache_drop_step(r->w->cache, d, BLOCKS_A_STEP);
	if (ret > 0)
		return true;
	r->cqe.res = ret < 0 ? ret : (int32_t)min_of(d->nr, (long)INT32_MAX);
	return false;
}
