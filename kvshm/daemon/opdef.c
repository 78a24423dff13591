/* SPDX-License-Identifier: Apache-2.0 */
#include "kvshm/daemon/opdef.h"

#include <stddef.h>
#include <string.h>

#include "kvshm/base/compiler.h"
#include "kvshm/cache/cache.h"
#include "kvshm/daemon/session.h"
#include "kvshm/daemon/writer.h"

#define RECORDS_A_UNIT 4u
#define HINT_UNITS 64u /* reads all of the touch ring, which the client may fill again meanwhile */

static const struct opdef opdefs[KVSHM_OP_LAST] = {
	[KVSHM_OP_NOP] = { .name = "nop", .run = op_nop },
	[KVSHM_OP_ATTACH_NS] = { .name = "attach_ns", .run = op_attach_ns },
	[KVSHM_OP_GRANT] = { .name = "grant",
			     .check = op_may_grant,
			     .run = op_grant,
			     .is_slow = op_grant_is_slow,
			     .step = op_grant_step },
	[KVSHM_OP_RETURN] = { .name = "return",
			      .check = op_may_grant,
			      .run = op_return,
			      .is_slow = op_return_is_slow,
			      .step = op_return_step },
	[KVSHM_OP_COMMIT] = { .name = "commit",
			      .check = op_may_commit,
			      .run = op_commit,
			      .is_slow = op_commit_is_slow,
			      .step = op_commit_step },
	[KVSHM_OP_DROP] = { .name = "drop",
			    .check = op_may_drop,
			    .is_slow = op_drop_is_slow,
			    .step = op_drop_step },
	[KVSHM_OP_HINT] = { .name = "hint", .run = op_hint },
	[KVSHM_OP_STAGE_IN] = { .name = "stage_in", .run = op_stage_in },
	[KVSHM_OP_STAGE_OUT] = { .name = "stage_out", .run = op_stage_out },
	[KVSHM_OP_DETACH] = { .name = "detach", .run = op_detach },
};

const struct opdef *opdef_find(uint8_t op)
{
	return op < ARRAY_SIZE(opdefs) && opdefs[op].name ? &opdefs[op] : NULL;
}

/* A block of a STAGE_OUT may come in very many pieces. */
static uint32_t nr_records(const struct kvshm_sqe *sqe)
{
	return sqe->op == KVSHM_OP_STAGE_OUT ? sqe->len / (uint32_t)sizeof(struct kvshm_stage_rec) : sqe->nr;
}

unsigned op_cost(const struct kvshm_sqe *sqe)
{
	return (sqe->op == KVSHM_OP_HINT ? HINT_UNITS : 1) + nr_records(sqe) / RECORDS_A_UNIT;
}

void request_take_args(struct request *r, uint32_t off, uint32_t len)
{
	memcpy(r->w->args, r->s->q.seg.args + off, len);
	r->args = r->w->args;
}

/* By its completion all entries before it were served; in lockstep the request is over. */
int op_nop(struct request *r)
{
	cache_settle(r->w->cache, r->sqe.stamp_ns);
	r->cqe.res = 0;
	return 0;
}

/* The completion is the client's sign that all before it was served; then it hangs up. */
int op_detach(struct request *r)
{
	r->s->q.is_detached = true;
	r->cqe.res = 0;
	return 0;
}
