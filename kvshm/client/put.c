/* SPDX-License-Identifier: Apache-2.0 */
/*
 * put.c - copy blocks in: into granted blocks (trusted), or through the staging window
 *
 * A put may need several COMMITs: as many blocks as credit or window allow at a time, so that the
 * next ones come in while these are copied.  They share a group, which makes one completion.  Leading
 * blocks of a chain that are in the cache already are neither copied nor sent.
 */
#include <errno.h>

#include "kvshm/base/clock.h"
#include "kvshm/base/ntcopy.h"
#include "kvshm/client/put.h"

#define SETUP_NS 200000000ull		/* bound of making the window, once a session */
#define STREAM_NS 2000000000ull		/* bound of one payload that has been announced */

uint32_t put_len(const struct kvshm *k, const struct put *p, unsigned i)
{
	return p->lengths ? p->lengths[i] : k->ns[p->ns].desc.block_len;
}

/* Tokens of a block that is shorter than full: in proportion, at least one. */
uint32_t put_tokens(const struct kvshm *k, const struct put *p, unsigned i)
{
	const struct kvshm_ns_desc *d = &k->ns[p->ns].desc;
	uint64_t tokens = (uint64_t)d->block_tokens * put_len(k, p, i) / d->block_len;

	return tokens ? (uint32_t)tokens : 1;
}

struct commit put_commit(const struct put *p, const struct kvshm_block *blocks, unsigned nr)
{
	return (struct commit){
		.wire = p->wire,
		.sqe_flags = p->flags & KVSHM_COMMIT_LOOSE ? KVSHM_SQE_F_LOOSE : 0,
		.parent = p->done && !(p->flags & KVSHM_COMMIT_LOOSE) ? &p->keys[p->done - 1] : p->parent,
		.keys = p->keys + p->done,
		.blocks = blocks,
		.nr = nr,
		.group = p->group,
	};
}

/* ---- trusted ------------------------------------------------------------------------------------ */

/* Blocks from .done on that one pool serves. */
static unsigned same_pool(struct kvshm *k, const struct put *p, const struct credit_pool *pool)
{
	unsigned max = min_of(p->nr - p->done, credit_chunk(k, pool->length)), n;

	for (n = 1; n < max; n++)
		if (credit_pool_get(k, p->ns, put_len(k, p, p->done + n)) != pool)
			break;
	return n;
}

static void copy_in(struct kvshm *k, const struct put *p, struct kvshm_block *blocks, unsigned nr)
{
	uint64_t bytes = 0;
	unsigned i;

	for (i = 0; i < nr; i++) {
		blocks[i].length = put_len(k, p, p->done + i);
		blocks[i].tokens = put_tokens(k, p, p->done + i);
		ntcopy_unfenced(blocks[i].ptr, p->src[p->done + i], blocks[i].length);
		bytes += blocks[i].length;
	}
	client_count(k, KVSHM_CC_COPY_IN_BYTES, bytes);
}

static int put_trusted(struct kvshm *k, struct put *p)
{
	struct kvshm_block blocks[PUT_CHUNK];
	struct credit_pool *pool;
	struct commit m;
	unsigned n;
	int ret;

	while (p->done < p->nr) {
		pool = credit_pool_get(k, p->ns, put_len(k, p, p->done));
		if (!pool)
			return -ENOMEM;
		n = credit_take_wait(k, pool, p->wire, same_pool(k, p, pool), blocks, p->deadline_ns);
		if (k->session != p->session)
			return -ECONNRESET;
		if (!n)
			return -ENOBUFS;
		copy_in(k, p, blocks, n);
		m = put_commit(p, blocks, n);
		m.credit_bytes = (uint64_t)n * pool->length;
		ret = commit_send(k, &m);
		if (ret == -ENOBUFS) {
			credit_untake(k, blocks, n);
			return ret;
		}
		p->done += n;		/* sent, or lost and counted as such */
		if (ret < 0)
			return ret;
		poll_drain(k);
		if (k->session != p->session)
			return -ECONNRESET;
	}
	return 0;
}

/* ---- staged ------------------------------------------------------------------------------------- */

/* Records from .done on whose payloads fit the window now, at least one. */
static unsigned fits(struct kvshm *k, const struct put *p, struct kvshm_block *blocks)
{
	uint32_t room = staging_room(k), need = 0;
	unsigned n;

	for (n = 0; n < min_of(p->nr - p->done, PUT_CHUNK); n++) {
		need += staging_slices(put_len(k, p, p->done + n));
		if (n && need > room)
			break;
		blocks[n] = (struct kvshm_block){ .length = put_len(k, p, p->done + n),
						  .tokens = put_tokens(k, p, p->done + n) };
	}
	return n;
}

/* The bytes of an announced record must follow, or the stream is broken and the session with it. */
static int stream(struct kvshm *k, const struct put *p, const struct kvshm_block *blocks, unsigned nr)
{
	uint64_t bytes = 0;
	unsigned i;
	int ret;

	for (i = 0; i < nr; i++) {
		ret = staging_fill(k, p->src[p->done + i], blocks[i].length, clock_ns() + STREAM_NS);
		if (ret < 0) {
			client_hangup(k);
			return -ECONNRESET;
		}
		bytes += blocks[i].length;
	}
	client_count(k, KVSHM_CC_COPY_IN_BYTES, bytes);
	return 0;
}

static int put_staged(struct kvshm *k, struct put *p)
{
	struct kvshm_block blocks[PUT_CHUNK];
	struct commit m;
	uint32_t need;
	unsigned n;
	int ret;

	ret = staging_ready(k, max_of(p->deadline_ns, clock_ns() + SETUP_NS));
	while (ret == 0 && p->done < p->nr) {
		need = staging_slices(put_len(k, p, p->done));
		ret = staging_wait_room(k, min_of(need, KVSHM_STAGING_SLICES), p->deadline_ns);
		if (ret < 0)
			break;
		n = fits(k, p, blocks);
		m = put_commit(p, blocks, n);
		m.sqe_flags |= KVSHM_SQE_F_STAGED;
		ret = commit_send(k, &m);
		if (ret == 0)
			ret = stream(k, p, blocks, n);
		if (ret != -ENOBUFS)
			p->done += n;	/* sent, or lost and counted as such */
		if (ret < 0)
			break;
		poll_drain(k);
		if (k->session != p->session)
			return -ECONNRESET;
	}
	return ret;
}

/* ---- all puts -------------------------------------------------------------------------------------- */

bool put_is_valid(const struct kvshm *k, const struct put *p)
{
	unsigned i;

	if (p->ns == 0 || p->ns > k->nr_ns || !p->nr || p->nr > KVSHM_COMMIT_MAX || p->flags & ~KVSHM_COMMIT_LOOSE ||
	    (p->parent && p->flags & KVSHM_COMMIT_LOOSE))
		return false;
	for (i = 0; p->lengths && i < p->nr; i++)
		if (!p->lengths[i] || p->lengths[i] > k->ns[p->ns].desc.block_len)
			return false;
	return true;
}

/*
 * Leading blocks that are in the cache already: somebody else was faster.  The last of them, or the
 * parent, is pinned before anything is copied; each COMMIT then takes a pin of its own.
 */
static unsigned put_present(struct kvshm *k, struct put *p)
{
	const struct directory *dir = &k->cur->content->dir;
	struct index_hit hit;
	unsigned n;

	if (p->flags & KVSHM_COMMIT_LOOSE)
		return 0;
	n = index_longest(dir, p->wire, p->keys, p->nr, &hit);
	if (!n && !(p->parent && index_find(dir, p->wire, p->parent, &hit)))
		return 0;
	if (pin_take(&k->cur->pins, dir, &hit, &p->pin_slot) == 0)
		return n;
	p->pin_slot = 0;
	return 0;			/* evicted just now, or no pin to be had: put all */
}

static int put_end(struct kvshm *k, struct put *p, unsigned present, int ret)
{
	unsigned left = p->nr - p->done;

	if (ret == -ECONNRESET) {	/* the group is gone; what was sent has been counted */
		client_count(k, KVSHM_CC_DROPPED_DEAD, left);
		return ret;
	}
	client_count(k, KVSHM_CC_DROPPED_CREDIT, left);
	if (ret < 0 && p->done == present) {
		group_cancel(k, p->group);
		return ret;
	}
	k->flight->group[p->group].nr_dropped += left;
	group_drop(k, p->group);
	return 0;
}

int put_run(struct kvshm *k, struct put *p, uint64_t user_data, int (*way)(struct kvshm *k, struct put *p))
{
	unsigned present;
	int ret = client_enter(k);

	if (ret == 0)
		ret = ns_wire_put(k, p->ns, &p->wire);
	if (ret < 0) {
		client_count(k, KVSHM_CC_DROPPED_DEAD, p->nr);
		return ret;
	}
	ret = group_open(k, user_data, &p->group);
	if (ret < 0) {
		client_count(k, KVSHM_CC_DROPPED_CREDIT, p->nr);
		return ret;
	}
	p->session = k->session;
	p->done = present = put_present(k, p);
	k->flight->group[p->group].nr_duplicate = present;
	ret = way(k, p);
	pin_drop(&k->cur->pins, p->pin_slot);
	return put_end(k, p, present, ret);
}

/* ---- from memory -------------------------------------------------------------------------------- */

static int put_bytes(struct kvshm *k, struct put *p)
{
	return k->cur->is_trusted ? put_trusted(k, p) : put_staged(k, p);
}

__public int kvshm_put(struct kvshm *k, uint32_t ns, const struct kvshm_key *parent,
		       const struct kvshm_key *keys, const void *const *src,
		       const uint32_t *lengths, unsigned nr, unsigned flags, uint64_t user_data,
		       unsigned timeout_us)
{
	struct put p = { .ns = ns, .parent = parent, .keys = keys, .src = src, .lengths = lengths,
			 .nr = nr, .flags = flags };

	if (client_is_forked(k))
		return -EOWNERDEAD;
	if (!put_is_valid(k, &p))
		return -EINVAL;
	p.deadline_ns = timeout_us ? clock_ns() + (uint64_t)timeout_us * 1000u : 0;
	return put_run(k, &p, user_data, put_bytes);
}
