/* SPDX-License-Identifier: Apache-2.0 */
/*
 * submit.c - entries in flight: who waits for which completion, and where their arguments lie
 *
 * Never more are in flight than the CQ holds, so that it cannot overflow.  A completion names its op
 * by {slot, life}; one that names none is ignored.  Arguments are freed by the completion, not by
 * the SQ's head: the daemon may still be reading them when it has taken the entry.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "ipc/doorbell.h"
#include "kvshm/base/clock.h"
#include "kvshm/client/client.h"

static void flight_clear(struct flight *f)
{
	uint32_t i;

	for (i = 0; i < CLIENT_OPS; i++) {
		f->op[i].kind = OP_FREE;
		f->free_op[i] = (uint16_t)(CLIENT_OPS - 1 - i);
		f->group[i].nr_open = 0;
		f->free_group[i] = (uint16_t)(CLIENT_OPS - 1 - i);
	}
	f->nr_free_op = f->nr_free_group = CLIENT_OPS;
	f->is_broken = false;
}

int flight_create(struct flight **ret_f)
{
	struct flight *f = calloc(1, sizeof(*f));

	if (!f)
		return -ENOMEM;
	f->done = calloc(CLIENT_DONE, sizeof(*f->done));
	if (!f->done) {
		free(f);
		return -ENOMEM;
	}
	flight_clear(f);
	*ret_f = f;
	return 0;
}

struct flight *flight_destroy(struct flight *f)
{
	if (f)
		free(f->done);
	free(f);
	return NULL;
}

void flight_reset_args(struct flight *f, uint32_t args_len)
{
	struct args_ring *r = &f->args;

	r->head = r->tail = 0;
	r->len = args_len;
	r->first = r->next = 0;
}

/* ---- arguments -------------------------------------------------------------------------------- */

/* A contiguous, 8-aligned range.  Return: 0; -ENOBUFS. */
static int args_get(struct args_ring *r, uint32_t len, uint32_t *ret_off, uint32_t *ret_span)
{
	uint64_t at = r->tail;
	uint32_t left = r->len - (uint32_t)(at % r->len);

	len = round_up(len, 8u);
	if (len > left)
		at += left;		/* does not fit before the end: from the start */
	if (len > r->len || at + len - r->head > r->len || r->next - r->first >= CLIENT_OPS)
		return -ENOBUFS;
	r->tail = at + len;
	r->span[r->next % CLIENT_OPS] = (struct args_span){ .end = r->tail };
	*ret_span = r->next++;
	*ret_off = (uint32_t)(at % r->len);
	return 0;
}

static void args_put(struct args_ring *r, uint32_t span)
{
	r->span[span % CLIENT_OPS].is_done = true;
	while (r->first != r->next && r->span[r->first % CLIENT_OPS].is_done)
		r->head = r->span[r->first++ % CLIENT_OPS].end;
	if (r->first == r->next)	/* nothing in it: the whole area in one piece again */
		r->head = r->tail = round_up(r->tail, r->len);
}

/* ---- ops ---------------------------------------------------------------------------------------- */

static uint32_t op_number(const struct flight *f, const struct op *op)
{
	return (uint32_t)(op - f->op);
}

void op_end(struct kvshm *k, struct op *op)
{
	struct flight *f = k->flight;

	if (op->args)
		args_put(&f->args, op->args - 1);
	op->kind = OP_FREE;
	f->free_op[f->nr_free_op++] = (uint16_t)op_number(f, op);
}

int submit_reserve(struct kvshm *k, enum op_kind kind, uint8_t opcode, uint32_t args_len,
		   struct op **ret_op, void **ret_args)
{
	struct flight *f = k->flight;
	uint32_t span = 0, off = 0, life;
	struct op *op;

	if (!client_is_attached(k))
		return -ECONNRESET;
	if (!f->nr_free_op || qp_space(&k->cur->sq) <= 0)
		goto full;
	if (args_len && args_get(&f->args, args_len, &off, &span) < 0)
		goto full;
	op = &f->op[f->free_op[--f->nr_free_op]];
	life = op->life + 1;
	*op = (struct op){ .kind = kind, .opcode = opcode, .life = life ? life : 1,
			   .args = args_len ? span + 1 : 0, .args_off = off };
	*ret_op = op;
	if (ret_args)
		*ret_args = k->cur->seg.args + off;
	return 0;
full:
	return client_look(k, true) ? -ECONNRESET : -ENOBUFS;
}

void submit_cancel(struct kvshm *k, struct op *op)
{
	op_end(k, op);
}

int submit_push(struct kvshm *k, struct op *op, struct kvshm_sqe *sqe, uint32_t args_len)
{
	struct attachment *a = k->cur;

	sqe->op = op->opcode;
	sqe->user_data = (uint64_t)op->life << 32 | op_number(k->flight, op);
	sqe->off = op->args_off;
	if (op->opcode != KVSHM_OP_GRANT)
		sqe->len = args_len;
	sqe->stamp_ns = k->has_clock ? k->trace_ns : clock_ns();
	if (sq_push(&a->sq, sqe) < 0) {
		client_hangup(k);	/* an impossible index: this queue is of no use any more */
		return -ECONNRESET;
	}
	k->messages++;
	/* DB-1 is in doorbell_ring().  A write to a dead daemon's eventfd succeeds, hence the look. */
	if (doorbell_ring(a->doorbell, &a->content->dir.sb->writer_asleep) == 1 &&
	    client_look(k, true))
		return -ECONNRESET;
	return 0;
}

/* ---- groups --------------------------------------------------------------------------------------- */

int group_open(struct kvshm *k, uint64_t user_data, uint32_t *ret_group)
{
	struct flight *f = k->flight;
	uint32_t waiting = f->done_tail - f->done_head;
	uint32_t g;

	if (!f->nr_free_group || waiting + (CLIENT_OPS - f->nr_free_group) >= CLIENT_DONE)
		return -ENOBUFS;
	g = f->free_group[--f->nr_free_group];
	f->group[g] = (struct group){ .user_data = user_data, .nr_open = 1 };
	*ret_group = g;
	return 0;
}

void group_hold(struct kvshm *k, uint32_t group)
{
	k->flight->group[group].nr_open++;
}

void group_cancel(struct kvshm *k, uint32_t group)
{
	struct flight *f = k->flight;

	f->group[group].nr_open = 0;
	f->free_group[f->nr_free_group++] = (uint16_t)group;
}

void group_drop(struct kvshm *k, uint32_t group)
{
	struct flight *f = k->flight;
	struct group *g = &f->group[group];

	if (--g->nr_open)
		return;
	f->done[f->done_tail++ % CLIENT_DONE] = (struct kvshm_completion){
		.user_data = g->user_data,
		.res = g->published || !g->error ? g->published : g->error,
		.nr_duplicate = g->nr_duplicate,
		.nr_dropped = g->nr_dropped,
	};
	group_cancel(k, group);
}

void flight_lose(struct kvshm *k)
{
	struct flight *f = k->flight;
	uint32_t i;

	for (i = 0; i < CLIENT_OPS; i++) {
		struct op *op = &f->op[i];

		if (op->kind == OP_COMMIT) {
			if (op->pin_slot)
				pin_drop(&k->cur->pins, op->pin_slot);
			client_count(k, KVSHM_CC_DROPPED_DEAD, op->nr);
			f->is_lost = true;
		} else if (op->kind == OP_STAGE) {
			f->is_lost = true;
		} else if (op->kind == OP_NS) {
			ns_complete(k, op, -ECONNRESET);
		}
	}
	f->sync_life = 0;
	flight_clear(f);
}
