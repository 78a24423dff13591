/* SPDX-License-Identifier: Apache-2.0 */
/* Blocks out of the cache's hands, and back unused. */
#include <errno.h>

#include "kvshm/base/compiler.h"
#include "kvshm/cache/cache.h"
#include "kvshm/daemon/credit.h"
#include "kvshm/daemon/daemon.h"
#include "kvshm/daemon/opdef.h"
#include "kvshm/daemon/writer.h"

int op_may_grant(const struct request *r)
{
	return r->s->is_trusted ? 0 : -EPERM;
}

/* Bytes of a block as asked for; 0: the namespace is unknown. */
static uint32_t grant_len(const struct writer *w, const struct kvshm_sqe *sqe)
{
	const struct directory *dir = &w->d->store.dir;

	if (sqe->len)
		return sqe->len;
	return sqe->ns < dir->max_ns ? dir->ns[sqe->ns].block_len : 0;
}

/* More runs behind those of the completion; the first may go on where the last of those ends. */
static void add_runs(struct kvshm_cqe *cqe, const struct kvshm_id_run *run, unsigned nr)
{
	struct kvshm_id_run *last = cqe->nr_runs ? &cqe->run[cqe->nr_runs - 1] : NULL;

	if (nr && last && last->first + last->nr == run->first) {
		last->nr += run->nr;
		run++;
		nr--;
	}
	for (; nr; nr--)
		cqe->run[cqe->nr_runs++] = *run++;
}

/* At most @max more blocks.  Return: are there as many as @max, and room to say which come next? */
static bool grant_more(struct request *r, uint32_t len, unsigned max)
{
	struct kvshm_id_run run[KVSHM_CQE_RUNS];
	struct writer *w = r->w;
	unsigned nr = credit_allows(w, r->s, max, len), nr_runs = 0;
	int got;

	if (nr == 0)
		return false;
	cache_near(w->cache, r->s->q.node);
	got = cache_grant(w->cache, r->s->slot, r->sqe.ns, len, nr, run,
			  KVSHM_CQE_RUNS - r->cqe.nr_runs, &nr_runs,
			  writer_time(w, r->sqe.stamp_ns));
	if (got <= 0) {
		r->cqe.res = r->cqe.res ? r->cqe.res : got;
		return false;
	}
	add_runs(&r->cqe, run, nr_runs);
	r->cqe.res += got;
	credit_spend(r->s, (unsigned)got, len);
	return (unsigned)got == max && r->cqe.nr_runs < KVSHM_CQE_RUNS;
}

static bool is_a_length(uint32_t len)
{
	return len > 0 && len <= KVSHM_BLOCK_MAX;
}

int op_grant(struct request *r)
{
	uint32_t len = grant_len(r->w, &r->sqe);

	if (!is_a_length(len)) {
		r->cqe.res = -EINVAL;
		return 0;
	}
	touch_freshen(r->w);
	grant_more(r, len, r->sqe.nr);
	return 0;
}

bool op_grant_is_slow(const struct request *r)
{
	uint32_t len = grant_len(r->w, &r->sqe);

	return slow_is_worth_it(r) && is_a_length(len) &&
	       credit_allows(r->w, r->s, r->sqe.nr, len) > SLOW_RECORDS;
}

bool op_grant_step(struct request *r)
{
	struct slow_entry *e = &r->s->q.slow;
	unsigned nr = min_of(r->sqe.nr - e->next, SLOW_RECORDS);

	touch_freshen(r->w);
	e->next += nr;
	return grant_more(r, grant_len(r->w, &r->sqe), nr) && e->next < r->sqe.nr;
}

static void take_back(struct request *r, uint32_t nr)
{
	const struct kvshm_block_ref *ref = r->args;

	for (uint32_t i = 0; i < nr; i++)
		credit_before(r->w, r->s, ref[i]);
	for (uint32_t i = 0; i < nr; i++)
		r->cqe.res += cache_return(r->w->cache, r->s->slot, ref[i]) == 0;
	for (uint32_t i = 0; i < nr; i++)
		credit_after(r->w, r->s, ref[i]);
}

int op_return(struct request *r)
{
	take_back(r, r->sqe.nr);
	return 0;
}

bool op_return_is_slow(const struct request *r)
{
	return slow_is_worth_it(r);
}

bool op_return_step(struct request *r)
{
	take_back(r, slow_records(r, sizeof(struct kvshm_block_ref)));
	return r->s->q.slow.next < r->sqe.nr;
}
