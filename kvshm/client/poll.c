/* SPDX-License-Identifier: Apache-2.0 */
/*
 * poll.c - completions: taken in passing by every call of the put side, waited for here
 *
 * A wait spins while that pays, then announces its sleep (DB-1), looks once more and sleeps on the
 * socket, where the daemon sends WAKE; a daemon that dies hangs up there too.
 */
#include <errno.h>

#include "ipc/doorbell.h"
#include "ipc/sock.h"
#include "kvshm/base/clock.h"
#include "kvshm/client/client.h"

/* A sleep is cut in pieces, so that a lost wake-up would cost a tenth of a second, not the wait. */
#define SLEEP_NS 100000000ull

static void complete_commit(struct kvshm *k, struct op *op, const struct kvshm_cqe *cqe)
{
	struct group *g = &k->flight->group[op->group];
	uint32_t published = cqe->res > 0 ? min_of((uint32_t)cqe->res, op->nr) : 0;
	uint32_t duplicate = min_of(cqe->nr_duplicate, op->nr - published);
	uint32_t dropped = op->nr - published - duplicate;

	if (op->pin_slot)
		pin_drop(&k->cur->pins, op->pin_slot);
	if (op->bytes)
		credit_spent(k, op->nr, op->bytes);
	g->published += (int32_t)published;
	g->nr_duplicate += duplicate;
	g->nr_dropped += dropped;
	if (cqe->res < 0 && !g->error)
		g->error = cqe->res;
	/* A refused entry takes no payload out of the window: what follows would be taken for another's. */
	if (op->is_staged && cqe->res < 0)
		k->flight->is_broken = true;
	client_count(k, KVSHM_CC_COMMIT_BLOCKS, published);
	client_count(k, KVSHM_CC_DROPPED_FULL, dropped);
	group_drop(k, op->group);
}

static void complete_stage(struct kvshm *k, struct op *op, const struct kvshm_cqe *cqe)
{
	struct group *g = &k->flight->group[op->group];
	uint32_t landed = cqe->res > 0 ? min_of((uint32_t)cqe->res, op->nr) : 0;

	g->published += (int32_t)landed;
	g->nr_dropped += op->nr - landed;
	if (cqe->res < 0 && !g->error)
		g->error = cqe->res;
	group_drop(k, op->group);
}

static void complete(struct kvshm *k, const struct kvshm_cqe *cqe)
{
	struct flight *f = k->flight;
	uint32_t number = (uint32_t)cqe->user_data;
	struct op *op;

	if (number >= CLIENT_OPS)
		return;
	op = &f->op[number];
	if (op->kind == OP_FREE || op->life != (uint32_t)(cqe->user_data >> 32) ||
	    op->opcode != cqe->op)
		return;
	switch (op->kind) {
	case OP_COMMIT:
		complete_commit(k, op, cqe);
		break;
	case OP_STAGE:
		complete_stage(k, op, cqe);
		break;
	case OP_GRANT:
		credit_complete(k, op, cqe);
		break;
	case OP_NS:
		ns_complete(k, op, cqe->res);
		break;
	case OP_SYNC:
		if (op->life == f->sync_life) {
			f->sync_res = cqe->res;
			f->sync_done = true;
		}
		break;
	default:
		break;
	}
	op_end(k, op);
}

void poll_drain(struct kvshm *k)
{
	struct kvshm_cqe cqe;
	int ret;

	if (!k->cur)
		return;
	while ((ret = cq_pop(&k->cur->cq, &cqe)) == 1)
		complete(k, &cqe);
	if (ret < 0 || k->flight->is_broken)
		client_hangup(k);	/* a forged index, too: the queue is bad */
}

/* Take the WAKE messages.  Return: 0; -ECONNRESET. */
static int socket_drain(struct kvshm *k)
{
	char buf[KVSHM_MSG_MAX];
	int ret;

	do {
		ret = sock_recv(k->cur->sock, buf, NULL, 0, NULL);
	} while (ret > 0);
	return ret == -EAGAIN ? 0 : -ECONNRESET;
}

static int sleep_for_wake(struct kvshm *k, uint64_t deadline_ns)
{
	struct attachment *a = k->cur;
	uint64_t now = clock_ns();
	int ret = 0;

	doorbell_client_arm(a->seg.hdr);
	/* DB-1: the second look, after the announcement. */
	while (!qp_pending(&a->cq) && now < deadline_ns) {
		ret = sock_wait(a->sock, min_of(deadline_ns, now + SLEEP_NS));
		if (ret > 0)
			ret = socket_drain(k);
		if (ret < 0 && ret != -EINTR)
			break;
		now = clock_ns();
	}
	doorbell_client_disarm(a->seg.hdr);
	return ret < 0 && ret != -EINTR ? -ECONNRESET : qp_pending(&a->cq);
}

int poll_wait(struct kvshm *k, uint64_t deadline_ns)
{
	int ret;

	if (!client_is_attached(k))
		return -ECONNRESET;
	wait_begin(&k->wait);
	do {
		if (qp_pending(&k->cur->cq)) {
			wait_end(&k->wait, true);
			return 1;
		}
		if (clock_ns() >= deadline_ns)
			return 0;
	} while (wait_step(&k->wait));
	wait_end(&k->wait, false);
	ret = sleep_for_wake(k, deadline_ns);
	if (ret < 0) {
		poll_drain(k);
		client_hangup(k);
	}
	return ret;
}

int poll_sync(struct kvshm *k, struct op *op, uint64_t deadline_ns)
{
	struct flight *f = k->flight;
	uint32_t session = k->session;
	int ret = 1;

	f->sync_life = op->life;
	f->sync_done = false;
	for (;;) {
		poll_drain(k);
		if (f->sync_done) {
			ret = f->sync_res;
			break;
		}
		if (k->session != session) {
			ret = -ECONNRESET;
			break;
		}
		if (ret == 0) {
			ret = -ETIMEDOUT;
			break;
		}
		ret = poll_wait(k, deadline_ns);
	}
	f->sync_life = 0;
	return ret;
}

static int take(struct flight *f, struct kvshm_completion *ret, unsigned max)
{
	unsigned n = 0;

	while (n < max && f->done_head != f->done_tail)
		ret[n++] = f->done[f->done_head++ % CLIENT_DONE];
	return (int)n;
}

__public int kvshm_poll(struct kvshm *k, struct kvshm_completion *ret, unsigned max,
			unsigned timeout_us)
{
	uint64_t deadline;
	int n, err;

	if (client_is_forked(k))
		return -EOWNERDEAD;
	deadline = timeout_us ? clock_ns() + (uint64_t)timeout_us * 1000u : 0;
	for (;;) {
		err = client_enter(k);
		n = take(k->flight, ret, max);
		if (n || !max)
			return n;
		if (err < 0 || k->flight->is_lost) {
			k->flight->is_lost = false;
			return -ECONNRESET;
		}
		if (k->flight->nr_free_group == CLIENT_OPS)
			return 0;	/* nothing in flight to wait for */
		if (!deadline || poll_wait(k, deadline) == 0)
			return 0;
	}
}
