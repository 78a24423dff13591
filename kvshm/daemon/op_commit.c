/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Filled blocks become visible: at once, in steps, or, staged, as their bytes come.
 *
 * A step of a chain names the record before it as its parent.  What others do between two steps is as if
 * the client had sent two commits.
 */
#include <errno.h>

#include "kvshm/base/atomic.h"
#include "kvshm/cache/cache.h"
#include "kvshm/daemon/credit.h"
#include "kvshm/daemon/daemon.h"
#include "kvshm/daemon/opdef.h"
#include "kvshm/daemon/put.h"
#include "kvshm/daemon/writer.h"

int op_may_commit(const struct request *r)
{
	const struct queue *q = &r->s->q;

	if (!(r->sqe.flags & KVSHM_SQE_F_STAGED))
		return op_may_grant(r);
	return READ_ONCE(q->has_staging) && !q->is_stream_broken ? 0 : -EINVAL;
}

/* Return: 0 or -errno, as cache_commit(), with the counts of these records in @ret. */
static int commit_records(struct request *r, struct cache_commit *m,
			  struct cache_commit_result *ret)
{
	struct cache_commit_result res = { 0 };
	int err;

	m->owner = r->s->slot;
	m->ns = r->sqe.ns;
	m->rec = r->args;
	m->now_ns = writer_time(r->w, r->sqe.stamp_ns);
	for (uint32_t i = 0; i < m->nr; i++)
		credit_before(r->w, r->s, m->rec[i].block);
	err = cache_commit(r->w->cache, m, &res);
	for (uint32_t i = 0; i < m->nr; i++)
		credit_after(r->w, r->s, m->rec[i].block);
	if (err < 0 && !res.nr_dropped)
		res.nr_dropped = m->nr;
	*ret = res;
	return err;
}

static int commit_in_place(struct request *r)
{
	struct cache_commit m = {
		.nr = r->sqe.nr,
		.flags = r->sqe.flags & (KVSHM_SQE_F_NOPARENT | KVSHM_SQE_F_LOOSE),
	};
	struct cache_commit_result res;
	int ret;

	m.parent = m.flags ? NULL : &r->sqe.key;
	ret = commit_records(r, &m, &res);
	r->cqe.res = ret < 0 ? ret : (int32_t)res.nr_published;
	r->cqe.nr_duplicate = res.nr_duplicate;
	r->cqe.nr_dropped = res.nr_dropped;
	return 0;
}

bool op_commit_is_slow(const struct request *r)
{
	return !(r->sqe.flags & KVSHM_SQE_F_STAGED) && slow_is_worth_it(r);
}

bool op_commit_step(struct request *r)
{
	struct slow_entry *e = &r->s->q.slow;
	const bool is_first = e->next == 0, is_loose = r->sqe.flags & KVSHM_SQE_F_LOOSE;
	const uint8_t first_only = is_first ? KVSHM_SQE_F_NOPARENT : 0;
	struct cache_commit m = {
		.nr = slow_records(r, sizeof(struct kvshm_commit_rec)),
		.flags = r->sqe.flags & (KVSHM_SQE_F_LOOSE | first_only),
		.is_broken = e->is_broken,
	};
	const struct kvshm_commit_rec *rec = r->args;
	struct cache_commit_result res;
	int ret;

	m.parent = m.flags ? NULL : &e->parent;
	ret = commit_records(r, &m, &res);
	if (is_first && ret < 0)
		r->cqe.res = ret;
	if (r->cqe.res >= 0)
		r->cqe.res += (int32_t)res.nr_published;
	r->cqe.nr_duplicate += res.nr_duplicate;
	r->cqe.nr_dropped += res.nr_dropped;
	e->is_broken |= ret < 0 || (!is_loose && res.nr_dropped);
	e->parent = rec[m.nr - 1].key;
	return e->next < r->sqe.nr;
}

int op_commit(struct request *r)
{
	int ret;

	if (!(r->sqe.flags & KVSHM_SQE_F_STAGED))
		return commit_in_place(r);
	ret = put_begin(r->w, r->s, &r->sqe, r->args);
	if (ret < 0) {
		r->cqe.res = ret;
		r->cqe.nr_dropped = r->sqe.nr;
		return 0;
	}
	return OP_LATER;
}
