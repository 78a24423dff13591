/* SPDX-License-Identifier: Apache-2.0 */
/* Copies between the arena and a GPU: checked here, done by kvshm-gpud. */
#include <errno.h>

#include "kvshm/base/compiler.h"
#include "kvshm/daemon/daemon.h"
#include "kvshm/daemon/gpulink.h"
#include "kvshm/daemon/opdef.h"
#include "kvshm/daemon/save.h"
#include "kvshm/daemon/writer.h"

/* What can be told without looking at the block, which may change until kvshm-gpud has pinned it. */
static bool rec_ok(const struct kvshm_stage_rec *rec, const struct directory *dir)
{
	uint32_t end;

	return rec->block.id && rec->block.id <= dir->max_blocks && rec->len && rec->buffer && !rec->resv &&
	       !__builtin_add_overflow(rec->off, rec->len, &end) && end <= KVSHM_BLOCK_MAX;
}

/* Return: what the handler returns, of an entry that was @ret: taken, or refused. */
static int later(struct request *r, int ret)
{
	if (ret == 0)
		return OP_LATER;
	r->cqe.res = ret;
	return 0;
}

int op_stage_in(struct request *r)
{
	const struct gpujob job = { .s = r->s, .op = r->sqe.op, .user_data = r->sqe.user_data,
				    .stamp_ns = r->sqe.stamp_ns };
	const struct kvshm_stage_rec *rec = r->args;
	int ret = 0;

	for (uint32_t i = 0; i < r->sqe.nr && !ret; i++)
		ret = rec_ok(&rec[i], &r->w->d->store.dir) ? 0 : -EINVAL;
	if (!ret)
		ret = gpulink_submit(r->w, &job, r->sqe.ns, rec, r->sqe.nr);
	if (!ret)
		r->s->q.owed++;
	return later(r, ret);
}

int op_stage_out(struct request *r)
{
	int ret = save_begin(r->w, r->s, &r->sqe, r->args);

	if (ret < 0)
		r->cqe.nr_dropped = r->sqe.nr;
	return later(r, ret);
}
