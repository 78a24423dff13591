/* SPDX-License-Identifier: Apache-2.0 */
/*
 * commit.c - grant, return, commit: the user's hands on granted blocks
 *
 * A granted block carries the number of the attachment that it was granted to (.resv).  One of a
 * session that has ended is never named to another daemon; while it is in the user's hands the old
 * pin file stays locked, so that nobody else is given the memory.
 */
#include <errno.h>

#include <kvshm/service.h>

#include "kvshm/base/clock.h"
#include "kvshm/base/ntcopy.h"
#include "kvshm/client/client.h"

/* ---- the entry ------------------------------------------------------------------------------ */

/* Releasing what a put stands on before it is published lost 7.8 % of puts on agent traces. */
static uint32_t pin_parent(struct kvshm *k, const struct commit *m)
{
	const struct directory *dir = &k->cur->content->dir;
	struct index_hit hit;
	uint32_t slot;

	if (m->sqe_flags & KVSHM_SQE_F_LOOSE)
		return 0;
	if (!index_longest(dir, m->wire, m->keys, m->nr, &hit) &&
	    !(m->parent && index_find(dir, m->wire, m->parent, &hit)))
		return 0;
	return pin_take(&k->cur->pins, dir, &hit, &slot) == 0 ? slot : 0;
}

static void fill_records(struct kvshm_commit_rec *rec, const struct commit *m, uint32_t hint)
{
	bool is_staged = m->sqe_flags & KVSHM_SQE_F_STAGED;
	unsigned i;

	for (i = 0; i < m->nr; i++) {
		const struct kvshm_block *b = &m->blocks[i];

		rec[i] = (struct kvshm_commit_rec){
			.key = m->keys[i],
			.length = b->length,
			.tokens = (uint16_t)b->tokens,
			.checksum = b->checksum,
			.hint = hint,
		};
		if (!is_staged)
			rec[i].block = (struct kvshm_block_ref){ b->id, b->generation };
	}
}

/* From byte 0 of each block on; whose they are follows from the lengths. */
static void fill_pieces(struct kvshm_stage_rec *rec, const struct commit *m)
{
	const struct kvshm_service_piece *c = m->pieces;

	for (unsigned i = 0; i < m->nr; i++)
		for (uint32_t off = 0; off < m->blocks[i].length && c < m->pieces + m->nr_pieces; off += c++->len)
			*rec++ = (struct kvshm_stage_rec){ .off = off, .len = c->len, .buffer = c->buffer,
							   .buffer_off = c->buffer_off };
}

int commit_send(struct kvshm *k, const struct commit *m)
{
	struct kvshm_sqe sqe = { .flags = m->sqe_flags, .ns = m->wire, .nr = m->nr };
	uint32_t len = m->nr * (uint32_t)sizeof(struct kvshm_commit_rec) +
		       m->nr_pieces * (uint32_t)sizeof(struct kvshm_stage_rec);
	uint8_t opcode = m->nr_pieces ? KVSHM_OP_STAGE_OUT : KVSHM_OP_COMMIT;
	struct op *op;
	void *args;
	int ret;

	ret = submit_reserve(k, OP_COMMIT, opcode, len, &op, &args);
	if (ret < 0) {
		if (ret == -ECONNRESET)
			client_count(k, KVSHM_CC_DROPPED_DEAD, m->nr);
		return ret;
	}
	fill_records(args, m, k->hint);
	if (unlikely(m->nr_pieces))
		fill_pieces((struct kvshm_stage_rec *)((struct kvshm_commit_rec *)args + m->nr), m);
	if (m->parent)
		sqe.key = *m->parent;
	else if (!(m->sqe_flags & KVSHM_SQE_F_LOOSE))
		sqe.flags |= KVSHM_SQE_F_NOPARENT;
	op->nr = m->nr;
	op->bytes = m->credit_bytes;
	op->group = m->group;
	op->is_staged = m->sqe_flags & KVSHM_SQE_F_STAGED;
	op->pin_slot = pin_parent(k, m);
	group_hold(k, m->group);
	client_count(k, KVSHM_CC_COMMITS, 1);
	/* NT-1: the payload before the entry that publishes it; pairs with index_find() (BK-1). */
	ntcopy_fence();
	return submit_push(k, op, &sqe, len);
}

/* ---- blocks in the user's hands ------------------------------------------------------------- */

static bool is_current(const struct kvshm *k, const struct kvshm_block *b)
{
	return client_is_attached(k) && b->resv == k->cur->epoch && b->id &&
	       b->id <= k->cur->content->dir.max_blocks;
}

/* They leave the user's hands.  Return: all are of the current session. */
static bool hand_in(struct kvshm *k, const struct kvshm_block *blocks, unsigned nr)
{
	bool all = true;
	unsigned i;

	for (i = 0; i < nr; i++) {
		struct attachment *a = attachment_find(k, blocks[i].resv);

		if (a && a->nr_out)
			a->nr_out--;
		all = all && is_current(k, &blocks[i]);
	}
	client_reap_old(k);
	return all;
}

static void give_back(struct kvshm *k, const struct kvshm_block *blocks, unsigned nr)
{
	unsigned i;

	for (i = 0; i < nr; i++)
		if (is_current(k, &blocks[i]))
			credit_return(k, &blocks[i], 1);
}

__public int kvshm_grant(struct kvshm *k, uint32_t ns, uint32_t length, unsigned nr,
			 struct kvshm_block *ret_blocks, unsigned timeout_us)
{
	uint64_t deadline = timeout_us ? clock_ns() + (uint64_t)timeout_us * 1000u : 0;
	struct credit_pool *p;
	unsigned n, i;
	uint16_t wire;
	int ret;

	if (client_is_forked(k))
		return -EOWNERDEAD;
	ret = client_enter(k);
	if (ret == 0)
		ret = ns_wire_put(k, ns, &wire);
	if (ret < 0)
		return ret;
	if (!k->cur->is_trusted)
		return -EPERM;
	length = length ? length : k->ns[ns].desc.block_len;
	p = credit_pool_get(k, ns, length);
	if (!p)
		return -EINVAL;
	n = credit_take_wait(k, p, wire, nr, ret_blocks, deadline);
	if (!client_is_attached(k))
		return -ECONNRESET;
	for (i = 0; i < n; i++)
		ret_blocks[i].length = length;
	k->cur->nr_out += n;
	return (int)n;
}

__public void kvshm_return(struct kvshm *k, const struct kvshm_block *blocks, unsigned nr)
{
	if (client_is_forked(k))
		return;
	client_enter(k);
	if (hand_in(k, blocks, nr))
		credit_return(k, blocks, nr);
	else
		give_back(k, blocks, nr);
}

/* ---- commit ----------------------------------------------------------------------------------- */

static bool args_are_valid(const struct kvshm_key *parent, const struct kvshm_block *blocks,
			   unsigned nr, unsigned flags)
{
	unsigned i;

	if (!nr || nr > KVSHM_COMMIT_MAX || flags & ~KVSHM_COMMIT_LOOSE ||
	    (parent && flags & KVSHM_COMMIT_LOOSE))
		return false;
	for (i = 0; i < nr; i++)
		if (!blocks[i].length || blocks[i].tokens > UINT16_MAX)
			return false;
	return true;
}

static uint64_t granted_bytes(const struct kvshm *k, const struct kvshm_block *blocks, unsigned nr)
{
	const struct kvshm_desc *desc = k->cur->content->dir.desc;
	uint64_t bytes = 0;
	unsigned i;

	for (i = 0; i < nr; i++)
		bytes += READ_ONCE(desc[blocks[i].id].length);
	return bytes;
}

static int commit_in_place(struct kvshm *k, struct commit *m, uint64_t user_data)
{
	int ret = group_open(k, user_data, &m->group);

	if (ret == 0) {
		m->credit_bytes = granted_bytes(k, m->blocks, m->nr);
		ret = commit_send(k, m);
		if (ret == 0)
			group_drop(k, m->group);
		else if (ret == -ENOBUFS)
			group_cancel(k, m->group);
	}
	if (ret == -ENOBUFS) {
		client_count(k, KVSHM_CC_DROPPED_CREDIT, m->nr);
		credit_untake(k, m->blocks, m->nr);
	}
	return ret;
}

__public int kvshm_commit(struct kvshm *k, uint32_t ns, const struct kvshm_key *parent,
			  const struct kvshm_key *keys, const struct kvshm_block *blocks,
			  unsigned nr, unsigned flags, uint64_t user_data)
{
	struct commit m = { .parent = parent, .keys = keys, .blocks = blocks, .nr = nr };
	bool is_ours;
	int ret;

	if (client_is_forked(k))
		return -EOWNERDEAD;
	ret = client_enter(k);
	is_ours = hand_in(k, blocks, nr);
	if (ret == 0 && !args_are_valid(parent, blocks, nr, flags))
		ret = -EINVAL;
	if (ret == 0)
		ret = ns_wire_put(k, ns, &m.wire);
	if (ret == 0 && !is_ours)
		ret = -ECONNRESET;	/* granted by a daemon that is gone */
	if (ret < 0) {
		client_count(k, KVSHM_CC_DROPPED_DEAD, ret == -ECONNRESET ? nr : 0);
		give_back(k, blocks, nr);
		return ret;
	}
	m.sqe_flags = flags & KVSHM_COMMIT_LOOSE ? KVSHM_SQE_F_LOOSE : 0;
	return commit_in_place(k, &m, user_data);
}

__public int kvshm_drop(struct kvshm *k, uint32_t ns, const struct kvshm_key *key)
{
	uint64_t deadline = clock_ns() + (uint64_t)k->timeout_ms * 1000000u;
	struct kvshm_sqe sqe = { 0 };
	struct op *op;
	int ret;

	if (client_is_forked(k))
		return -EOWNERDEAD;
	ret = client_enter(k);
	if (ret == 0)
		ret = ns_wire_put(k, ns, &sqe.ns);
	if (ret == 0)
		ret = submit_reserve(k, OP_SYNC, KVSHM_OP_DROP, 0, &op, NULL);
	if (ret < 0)
		return ret;
	if (key)
		sqe.key = *key;
	else
		sqe.flags = KVSHM_SQE_F_ALL;
	ret = submit_push(k, op, &sqe, 0);
	return ret < 0 ? ret : poll_sync(k, op, deadline);
}
