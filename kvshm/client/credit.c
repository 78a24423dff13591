/* SPDX-License-Identifier: Apache-2.0 */
/*
 * credit.c - granted blocks in hand before they are needed
 *
 * One pool a (namespace, size class).  The pool of a namespace's full blocks is topped up in the
 * background as soon as it is under half; other lengths (tails) are asked for as needed.  All pools
 * share the session's credit: what lies idle in one is given back when another runs dry.
 */
#include <errno.h>
#include <stdlib.h>

#include "kvshm/arena/slab.h"
#include "kvshm/base/clock.h"
#include "kvshm/base/ntcopy.h"
#include "kvshm/client/client.h"

#define DRY_NS 5000000ull		/* the daemon had fewer than asked for: not again before */
#define CHUNK_MAX 64u
#define STANDING_BLOCKS 16u		/* kept ahead of need: what idle sessions hold, others lack */

static uint32_t idle(const struct credit_pool *p)
{
	return p->tail - p->head;
}

static unsigned credit_limit(const struct kvshm *k, uint32_t length)
{
	uint64_t by_bytes = max_of(k->cur->credit_bytes / length, 1ull);

	return (unsigned)min_of((uint64_t)k->cur->credit_blocks, by_bytes);
}

unsigned credit_chunk(const struct kvshm *k, uint32_t length)
{
	unsigned half = credit_limit(k, length) / 2;

	return half < 1 ? 1 : min_of(half, CHUNK_MAX);
}

static struct credit_pool *pool_create(struct kvshm *k, uint32_t ns, uint32_t length)
{
	struct credit_pool *p = calloc(1, sizeof(*p));
	uint32_t cap = 16;

	if (!p)
		return NULL;
	while (cap < k->cur->credit_blocks && cap < 1u << 20)
		cap *= 2;
	p->ref = malloc(cap * sizeof(*p->ref));
	if (!p->ref) {
		free(p);
		return NULL;
	}
	p->ns = ns;
	p->length = length;
	p->cap = cap;
	p->next = k->credit.pools;
	k->credit.pools = p;
	return p;
}

struct credit_pool *credit_pool_get(struct kvshm *k, uint32_t ns, uint32_t length)
{
	uint32_t block_len = k->ns[ns].desc.block_len;
	struct credit_pool *p;

	if (!length || length > block_len)
		return NULL;
	/* A shorter block of the same size class takes the same place. */
	length = min_of(slab_class_len(length), block_len);
	for (p = k->credit.pools; p; p = p->next)
		if (p->ns == ns && p->length == length)
			return p;
	return pool_create(k, ns, length);
}

static struct credit_pool *pool_of(struct kvshm *k, const struct kvshm_block *b)
{
	const struct kvshm_desc *d = &k->cur->content->dir.desc[b->id];
	uint32_t length = READ_ONCE(d->length);
	uint16_t wire = READ_ONCE(d->ns);
	struct credit_pool *p;

	for (p = k->credit.pools; p; p = p->next)
		if (p->length == length && k->ns[p->ns].wire == wire)
			return p;
	return NULL;
}

static void pool_push(struct credit_pool *p, uint32_t id, uint32_t generation)
{
	if (idle(p) < p->cap)
		p->ref[p->tail++ & (p->cap - 1)] = (struct kvshm_block_ref){ id, generation };
}

void credit_spent(struct kvshm *k, uint32_t nr, uint64_t bytes)
{
	struct credit *c = &k->credit;

	c->used_blocks -= min_of(nr, c->used_blocks);
	c->used_bytes -= min_of(bytes, c->used_bytes);
}

/* Blocks of @length that the session may still ask for. */
static unsigned room(const struct kvshm *k, uint32_t length)
{
	const struct attachment *a = k->cur;
	const struct credit *c = &k->credit;
	uint64_t bytes = a->credit_bytes > c->used_bytes ? a->credit_bytes - c->used_bytes : 0;
	uint32_t blocks = a->credit_blocks > c->used_blocks ? a->credit_blocks - c->used_blocks : 0;

	/* One block is always allowed, or a block longer than the credit could never be put. */
	if (!c->used_blocks)
		bytes = max_of(bytes, (uint64_t)length);
	return (unsigned)min_of((uint64_t)blocks, bytes / length);
}

static int send_grant(struct kvshm *k, struct credit_pool *p, uint16_t wire, unsigned nr)
{
	struct kvshm_sqe sqe = { .ns = wire, .nr = nr, .len = p->length };
	struct op *op;
	int ret;

	ret = submit_reserve(k, OP_GRANT, KVSHM_OP_GRANT, 0, &op, NULL);
	if (ret < 0)
		return ret;
	op->nr = nr;
	op->bytes = (uint64_t)nr * p->length;
	op->pool = p;
	p->asked += nr;
	p->dry_until_ns = 0;
	k->credit.used_blocks += nr;
	k->credit.used_bytes += op->bytes;
	return submit_push(k, op, &sqe, 0);
}

/* Ask for @want more, as far as the credit goes. */
static void ask(struct kvshm *k, struct credit_pool *p, uint16_t wire, unsigned want)
{
	if (!want || clock_coarse_ns() < p->dry_until_ns)
		return;
	if (!room(k, p->length) && !idle(p) && !p->asked)
		credit_return_idle(k, p);
	if (!client_is_attached(k))
		return;
	want = min_of(want, room(k, p->length));
	want = min_of(want, min_of(p->cap - idle(p) - p->asked, KVSHM_COMMIT_MAX));
	if (want)
		send_grant(k, p, wire, want);
}

/* Full blocks: under half, fill up. */
static void top_up(struct kvshm *k, struct credit_pool *p, uint16_t wire)
{
	unsigned target = min_of(credit_limit(k, p->length), STANDING_BLOCKS);
	unsigned have = idle(p) + p->asked;

	if (p->length == k->ns[p->ns].desc.block_len && have <= target / 2)
		ask(k, p, wire, target - have);
}

/* The block as the user sees it; its memory must be mapped. */
static bool fill_grant(struct kvshm *k, const struct credit_pool *p,
		       const struct kvshm_block_ref *ref, struct kvshm_block *b)
{
	struct content *c = k->cur->content;
	uint64_t offset = (uint64_t)READ_ONCE(c->dir.desc[ref->id].page) * KVSHM_PAGE;

	if (!arena_contains(&c->arena, offset, p->length) && !client_reach(k, c, offset, p->length))
		return false;
	*b = (struct kvshm_block){
		.ptr = arena_ptr(&c->arena, offset),
		.length = p->length,
		.tokens = k->ns[p->ns].desc.block_tokens,
		.id = ref->id,
		.generation = ref->generation,
		.arena_offset = offset,
		.resv = k->cur->epoch,
	};
	return true;
}

unsigned credit_take(struct kvshm *k, struct credit_pool *p, unsigned nr, struct kvshm_block *ret)
{
	unsigned n;

	for (n = 0; n < nr && idle(p); n++) {
		if (!fill_grant(k, p, &p->ref[p->head & (p->cap - 1)], &ret[n]))
			break;
		p->head++;
	}
	return n;
}

/* Ask unless an answer is on its way.  Return: is there something to wait for? */
static bool ask_or_wait(struct kvshm *k, struct credit_pool *p, uint16_t wire, unsigned want,
			bool has_some)
{
	if (!p->asked) {
		if (has_some)
			return false;
		ask(k, p, wire, want);
		if (p->dry_until_ns)
			return false;
	}
	/* Any completion may free credit, or make another pool's blocks idle. */
	return client_is_attached(k) && k->flight->nr_free_op < CLIENT_OPS;
}

unsigned credit_take_wait(struct kvshm *k, struct credit_pool *p, uint16_t wire, unsigned nr,
			  struct kvshm_block *ret, uint64_t deadline_ns)
{
	uint32_t session = k->session;
	unsigned n = credit_take(k, p, nr, ret);

	while (n < nr && ask_or_wait(k, p, wire, nr - n, n > 0) && deadline_ns &&
	       poll_wait(k, deadline_ns) > 0) {
		poll_drain(k);
		if (k->session != session)
			return 0;
		n += credit_take(k, p, nr - n, ret + n);
	}
	if (k->session == session)
		top_up(k, p, wire);
	return k->session == session ? n : 0;
}

static void take_run(struct kvshm *k, struct credit_pool *p, struct kvshm_id_run run, uint32_t *left)
{
	const struct attachment *a = k->cur;
	uint32_t max = a->content->dir.max_blocks;

	for (; run.nr && *left; run.nr--, run.first++) {
		uint64_t state;

		if (!run.first || run.first > max)
			return;
		state = READ_ONCE(a->content->dir.desc[run.first].state);
		if (state_of(state) != KVSHM_BLOCK_GRANTED || state_owner(state) != a->slot)
			continue;
		pool_push(p, run.first, state_generation(state));
		--*left;
	}
}

void credit_complete(struct kvshm *k, struct op *op, const struct kvshm_cqe *cqe)
{
	struct credit_pool *p = op->pool;
	unsigned nr_runs = min_of(cqe->nr_runs, KVSHM_CQE_RUNS), i;
	uint32_t left = op->nr;

	p->asked -= op->nr;
	for (i = 0; i < nr_runs && cqe->res > 0; i++)
		take_run(k, p, cqe->run[i], &left);
	credit_spent(k, left, (uint64_t)left * p->length);
	p->dry_until_ns = left == op->nr ? clock_coarse_ns() + DRY_NS : 0;
}

void credit_untake(struct kvshm *k, const struct kvshm_block *blocks, unsigned nr)
{
	unsigned i;

	for (i = 0; i < nr; i++) {
		struct credit_pool *p = pool_of(k, &blocks[i]);

		if (p)
			pool_push(p, blocks[i].id, blocks[i].generation);
	}
}

static int send_return(struct kvshm *k, const struct kvshm_block_ref *ref, unsigned nr,
		       uint64_t bytes)
{
	struct kvshm_sqe sqe = { .nr = nr };
	uint32_t len = nr * (uint32_t)sizeof(*ref);
	struct kvshm_block_ref *args;
	struct op *op;
	unsigned i;
	int ret;

	ret = submit_reserve(k, OP_RETURN, KVSHM_OP_RETURN, len, &op, (void **)&args);
	if (ret < 0)
		return ret;
	for (i = 0; i < nr; i++)
		args[i] = ref[i];
	/* NT-1: what was streamed into them before another may own them; pairs with index_find() (BK-1). */
	ntcopy_fence();
	ret = submit_push(k, op, &sqe, len);
	if (ret == 0)
		credit_spent(k, nr, bytes);
	return ret;
}

void credit_return(struct kvshm *k, const struct kvshm_block *blocks, unsigned nr)
{
	struct kvshm_block_ref ref[CHUNK_MAX];
	uint64_t bytes;
	unsigned i, n;
	int ret;

	for (; nr; blocks += n, nr -= n) {
		n = min_of(nr, CHUNK_MAX);
		bytes = 0;
		for (i = 0; i < n; i++) {
			ref[i] = (struct kvshm_block_ref){ blocks[i].id, blocks[i].generation };
			bytes += READ_ONCE(k->cur->content->dir.desc[blocks[i].id].length);
		}
		ret = send_return(k, ref, n, bytes);
		if (ret == -ENOBUFS)
			credit_untake(k, blocks, n);
		else if (ret < 0)
			return;
	}
}

static void pool_return(struct kvshm *k, struct credit_pool *p)
{
	struct kvshm_block_ref ref[CHUNK_MAX];
	unsigned n, i;

	while (idle(p)) {
		n = min_of(idle(p), CHUNK_MAX);
		for (i = 0; i < n; i++)
			ref[i] = p->ref[(p->head + i) & (p->cap - 1)];
		if (send_return(k, ref, n, (uint64_t)n * p->length) < 0)
			return;
		p->head += n;
	}
}

void credit_return_idle(struct kvshm *k, const struct credit_pool *except)
{
	struct credit_pool *p;

	for (p = k->credit.pools; p && client_is_attached(k); p = p->next)
		if (p != except)
			pool_return(k, p);
}

void credit_forget(struct kvshm *k)
{
	struct credit_pool *p;

	for (p = k->credit.pools; p; p = p->next) {
		p->head = p->tail = p->asked = 0;
		p->dry_until_ns = 0;
	}
	k->credit.used_blocks = 0;
	k->credit.used_bytes = 0;
}

void credit_free(struct kvshm *k)
{
	struct credit_pool *p;

	while ((p = k->credit.pools)) {
		k->credit.pools = p->next;
		free(p->ref);
		free(p);
	}
}
