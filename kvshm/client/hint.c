/* SPDX-License-Identifier: Apache-2.0 */
/*
 * hint.c - what goes along with uses and puts, what is known of the time to come, and a way to know that it has
 * arrived
 *
 * A hold names the deepest block that is cached, which is looked up here as for a match: no key travels.
 */
#include <errno.h>
#include <string.h>

#include "kvshm/base/clock.h"
#include "kvshm/client/client.h"

__public void kvshm_set_hint(struct kvshm *k, uint32_t hint)
{
	k->hint = hint;
}

__public void kvshm_set_clock(struct kvshm *k, const uint64_t *time_ns)
{
	k->has_clock = time_ns != NULL;
	k->trace_ns = time_ns ? *time_ns : 0;
}

_Static_assert((int)KVSHM_HOLD_QUEUED == (int)KVSHM_HINT_QUEUED && (int)KVSHM_HOLD_TOOL == (int)KVSHM_HINT_TOOL &&
	       (int)KVSHM_HOLD_RETAIN == (int)KVSHM_HINT_RETAIN, "one numbering");

/* Half of the queue is for those who ask for something. */
static bool is_busy(const struct kvshm *k)
{
	return k->flight->nr_free_op < CLIENT_OPS / 2 || qp_space(&k->cur->sq) < (int)KVSHM_SQ_ENTRIES / 2;
}

static int push_hint(struct kvshm *k, uint16_t wire, const struct kvshm_hint_rec *rec)
{
	struct kvshm_sqe sqe = { .ns = wire, .nr = 1 };
	struct op *op;
	void *args;
	int ret = is_busy(k) ? -ENOBUFS : submit_reserve(k, OP_HINT, KVSHM_OP_HINT, sizeof(*rec), &op, &args);

	if (ret < 0)
		return ret;
	memcpy(args, rec, sizeof(*rec));
	return submit_push(k, op, &sqe, sizeof(*rec));
}

/* Nobody waits for the answer.  Return: 1, -errno. */
static int send_hint(struct kvshm *k, uint16_t wire, const struct kvshm_hint_rec *rec)
{
	int ret = client_enter(k);

	if (ret == 0)
		ret = push_hint(k, wire, rec);
	return ret < 0 ? ret : 1;
}

/* A daemon that does not know this kind refuses it, and grants as before. */
void hint_near(struct kvshm *k)
{
	const struct kvshm_hint_rec rec = { .kind = KVSHM_HINT_NODE, .nr = (uint32_t)k->near };

	if (k->near >= 0 && push_hint(k, 0, &rec) == 0)
		k->cur->near = k->near;
}

/* Return: leading keys that are cached, @ret_ref the deepest; 0; -errno. */
static int find_deepest(struct kvshm *k, uint32_t ns, const struct kvshm_key *keys, unsigned nr_keys,
			uint16_t *ret_wire, struct kvshm_block_ref *ret_ref)
{
	struct index_hit hit;
	int ret = match_enter(k, ns, nr_keys, ret_wire);

	if (ret <= 0)
		return ret;
	ret = (int)index_longest(&k->cur->content->dir, *ret_wire, keys, nr_keys, &hit);
	if (ret > 0)
		*ret_ref = (struct kvshm_block_ref){ .id = hit.id, .generation = hit.generation };
	return ret;
}

__public int kvshm_hold(struct kvshm *k, uint32_t ns, const struct kvshm_key *keys, unsigned nr_keys,
			const struct kvshm_hold_desc *desc)
{
	struct kvshm_hint_rec rec = { 0 };
	uint16_t wire;
	int ret;

	if (!desc || desc->sz < sizeof(*desc) || desc->why < KVSHM_HOLD_QUEUED || desc->why > KVSHM_HOLD_RETAIN ||
	    desc->priority > (desc->why == KVSHM_HOLD_RETAIN ? KVSHM_HINT_PRIORITY_MAX : 0))
		return -EINVAL;
	ret = find_deepest(k, ns, keys, nr_keys, &wire, &rec.block);
	if (ret <= 0)
		return ret;
	rec.kind = desc->why;
	rec.priority = desc->priority;
	rec.ticket = desc->ticket;
	rec.ttl_ns = desc->ttl_ns;
	return send_hint(k, wire, &rec);
}

__public int kvshm_hold_end(struct kvshm *k, uint64_t ticket)
{
	const struct kvshm_hint_rec rec = { .kind = KVSHM_HINT_DONE, .ticket = ticket };

	return client_is_forked(k) ? -EOWNERDEAD : send_hint(k, 0, &rec);
}

__public int kvshm_session_closed(struct kvshm *k, uint32_t ns, const struct kvshm_key *keys, unsigned nr_keys,
				  unsigned nr_own)
{
	struct kvshm_hint_rec rec = { .kind = KVSHM_HINT_CLOSED };
	unsigned gone;
	uint16_t wire;
	int ret;

	if (nr_own > nr_keys)
		return -EINVAL;
	ret = find_deepest(k, ns, keys, nr_keys, &wire, &rec.block);
	if (ret <= 0)
		return ret;
	gone = nr_keys - (unsigned)ret;
	if (nr_own <= gone)
		return 0;
	rec.nr = nr_own - gone;
	return send_hint(k, wire, &rec);
}

__public int kvshm_sync(struct kvshm *k)
{
	const uint64_t deadline = clock_ns() + (uint64_t)k->timeout_ms * 1000000u;
	struct kvshm_sqe sqe = { 0 };
	struct op *op;
	int ret;

	if (client_is_forked(k))
		return -EOWNERDEAD;
	ret = client_enter(k);
	/* Staged puts go on after their entry: wait for their completions. */
	while (ret == 0 && k->flight->nr_free_group != CLIENT_OPS) {
		ret = poll_wait(k, deadline);
		poll_drain(k);
		ret = ret < 0 ? ret : ret == 0 ? -ETIMEDOUT : client_is_attached(k) ? 0 : -ECONNRESET;
	}
	if (ret == 0)
		ret = submit_reserve(k, OP_SYNC, KVSHM_OP_NOP, 0, &op, NULL);
	if (ret == 0)
		ret = submit_push(k, op, &sqe, 0);
	return ret < 0 ? ret : poll_sync(k, op, deadline);
}
