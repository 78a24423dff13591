/* SPDX-License-Identifier: Apache-2.0 */
#include "kvshm/daemon/slow.h"

#include "kvshm/base/compiler.h"
#include "kvshm/daemon/daemon.h"
#include "kvshm/daemon/opdef.h"
#include "kvshm/daemon/writer.h"

/* In lockstep the order of all that is done is the client's. */
bool slow_is_worth_it(const struct request *r)
{
	return r->sqe.nr > SLOW_RECORDS && !r->w->d->conf.lockstep;
}

void slow_begin(struct request *r, const struct opdef *def, uint64_t turn_ns)
{
	r->s->q.slow = (struct slow_entry){
		.def = def,
		.sqe = r->sqe,
		.cqe = r->cqe,
		.parent = r->sqe.key,
		.turn_ns = turn_ns,
	};
	r->s->q.owed++;
}

void slow_go_on(struct writer *w, struct session *s)
{
	struct slow_entry *e = &s->q.slow;
	struct request r = { .w = w, .s = s, .sqe = e->sqe, .cqe = e->cqe };
	bool has_more = e->def->step(&r);
	uint64_t ns;

	e->cqe = r.cqe;
	if (has_more)
		return;
	slow_abort(e);
	ns = metrics_op(w, &r.sqe, e->turn_ns);
	s->q.owed--;
	writer_complete(w, s, &r.cqe, ns);
}

void slow_abort(struct slow_entry *e)
{
	e->def = NULL;
}

uint32_t slow_records(struct request *r, size_t rec_len)
{
	struct slow_entry *e = &r->s->q.slow;
	uint32_t nr = min_of(r->sqe.nr - e->next, SLOW_RECORDS);

	request_take_args(r, r->sqe.off + e->next * (uint32_t)rec_len, nr * (uint32_t)rec_len);
	e->next += nr;
	return nr;
}
