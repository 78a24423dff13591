/* SPDX-License-Identifier: Apache-2.0 */
/*
 * service_save.c - a put of blocks that lie in offered buffers: kvshm-gpud copies, the daemon commits
 *
 * One STAGE_OUT for as many blocks as one may carry: so many pieces, so many bytes.  Several are a chain all the same,
 * for the daemon commits them in the order in which they come.
 */
#include <errno.h>

#include <kvshm/service.h>

#include "kvshm/client/put.h"
#include "kvshm/client/service.h"

/* Of the block that begins with piece @first.  Return: 0: they do not make up a block of its length. */
static unsigned block_pieces(const struct kvshm *k, const struct put *p, unsigned i, unsigned first)
{
	uint32_t left = put_len(k, p, i);
	unsigned n = 0;

	while (left) {
		const struct kvshm_service_piece *c = &p->pieces[first + n];

		if (first + n == p->nr_pieces || n == KVSHM_STAGE_MAX)
			return 0;
		if (!c->buffer || !c->len || c->len > left || c->resv)
			return 0;
		left -= c->len;
		n++;
	}
	return n;
}

static bool pieces_are_valid(const struct kvshm *k, const struct put *p)
{
	unsigned at = 0, n;

	for (unsigned i = 0; i < p->nr; i++) {
		n = block_pieces(k, p, i, at);
		if (!n)
			return false;
		at += n;
	}
	return at == p->nr_pieces;
}

/* Blocks from .done on that one entry may carry, at least one. */
static unsigned fill(const struct kvshm *k, const struct put *p, unsigned at, struct kvshm_block *blocks,
		     unsigned *ret_nr_pieces)
{
	const unsigned max = min_of(p->nr - p->done, PUT_CHUNK);
	unsigned n, pieces = 0;
	uint64_t bytes = 0;

	for (n = 0; n < max; n++) {
		const uint32_t length = put_len(k, p, p->done + n);
		const unsigned more = block_pieces(k, p, p->done + n, at + pieces);

		if (pieces + more > KVSHM_STAGE_MAX || bytes + length > KVSHM_BLOCK_MAX)
			break;
		blocks[n] = (struct kvshm_block){ .length = length, .tokens = put_tokens(k, p, p->done + n) };
		pieces += more;
		bytes += length;
	}
	*ret_nr_pieces = pieces;
	return n;
}

static int put_service(struct kvshm *k, struct put *p)
{
	struct kvshm_block blocks[PUT_CHUNK];
	unsigned at = 0, n, nr_pieces;
	struct commit m;
	int ret = 0;

	for (unsigned i = 0; i < p->done; i++)
		at += block_pieces(k, p, i, at);
	while (p->done < p->nr && !ret) {
		n = fill(k, p, at, blocks, &nr_pieces);
		m = put_commit(p, blocks, n);
		m.pieces = &p->pieces[at];
		m.nr_pieces = nr_pieces;
		ret = commit_send(k, &m);
		if (ret == -ENOBUFS)
			return ret;
		p->done += n;		/* sent, or lost and counted as such */
		at += nr_pieces;
		poll_drain(k);
		if (k->session != p->session)
			return -ECONNRESET;
	}
	return ret;
}

__public int kvshm_service_save(struct kvshm_service *s, const struct kvshm_service_blocks *what, uint64_t user_data)
{
	struct kvshm *k = s->k;
	struct put p = { 0 };

	if (client_is_forked(k))
		return -EOWNERDEAD;
	if (what->sz < sizeof(*what))
		return -EINVAL;
	p = (struct put){ .ns = what->ns, .parent = what->parent, .keys = what->keys, .lengths = what->lengths,
			  .nr = what->nr, .flags = what->flags, .pieces = what->pieces, .nr_pieces = what->nr_pieces };
	if (!put_is_valid(k, &p) || !pieces_are_valid(k, &p))
		return -EINVAL;
	return put_run(k, &p, user_data, put_service);
}
