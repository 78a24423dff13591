/* SPDX-License-Identifier: Apache-2.0 */
/* gather.c - scattered pieces of pinned blocks, packed by this process */
#include <errno.h>
#include <stddef.h>

#include "kvshm/client/client.h"
#include "kvshm/client/gather.h"

_Static_assert(sizeof(struct kvshm_piece) == sizeof(struct gather_piece), "pieces are handed on as they are");
_Static_assert(offsetof(struct kvshm_piece, layer) == offsetof(struct gather_piece, layer), "the same fields");
_Static_assert(offsetof(struct kvshm_piece, part) == offsetof(struct gather_piece, part), "the same fields");
_Static_assert(offsetof(struct kvshm_block, ptr) == 0 && sizeof(struct kvshm_block) % 8 == 0 &&
	       sizeof(void *) == 8, "pointers of blocks are places, so many words apart");

static int rows_take(const struct kvshm_rows *r, struct gpu_group *ret)
{
	struct gpu_group g = {
		.nr_tokens = r->nr_tokens, .nr_heads = r->nr_heads, .nr_parts = r->nr_parts, .run_len = r->run_len,
		.arena_layer_stride = r->layer_stride, .arena_part_stride = r->part_stride,
		.arena_head_stride = r->head_stride, .arena_token_stride = r->token_stride,
	};

	if (gpu_group_reach(&g, r->nr_layers, &g.arena_len) < 0)
		return -EINVAL;
	*ret = g;
	return 0;
}

/* Tokens of the chain; each block has room for all rows.  Return: 0, -EINVAL. */
static int blocks_check(const struct kvshm_block *blocks, uint32_t nr, const struct gpu_group *g, uint64_t *ret_tokens)
{
	uint64_t tokens = 0;

	for (uint32_t i = 0; i < nr; i++) {
		if (blocks[i].length < g->arena_len || blocks[i].tokens > g->nr_tokens ||
		    (i + 1 < nr && blocks[i].tokens != g->nr_tokens))
			return -EINVAL;
		tokens += blocks[i].tokens;
	}
	*ret_tokens = tokens;
	return 0;
}

int gather_take(const struct kvshm_gather_request *g, struct gather_taken *ret)
{
	struct gather_taken t = { .held = { .bits = g->held, .nr_bits = g->held ? g->nr_held : 0 } };
	int err;

	if (g->sz != sizeof(*g) || g->resv || g->nr_pieces > INT32_MAX || rows_take(g->rows, &t.group) < 0)
		return -EINVAL;
	t.s = (struct gather_source){
		.nr_layers = g->rows->nr_layers, .nr_blocks = g->nr_blocks,
		.blocks = (const uint64_t *)(const void *)g->blocks, .block_step = sizeof(*g->blocks) / 8,
		.span = UINT64_MAX,
	};
	t.pieces = (const struct gather_piece *)(const void *)g->pieces;
	err = blocks_check(g->blocks, g->nr_blocks, &t.group, &t.s.nr_tokens);
	if (err < 0)
		return err;
	*ret = t;
	ret->s.group = &ret->group;
	return 0;
}

__public int kvshm_gather(struct kvshm *k, const struct kvshm_gather_request *g, uint64_t *ret_len)
{
	struct gather_taken t;
	uint64_t len;
	int64_t ret;

	if (client_is_forked(k))
		return -EOWNERDEAD;
	ret = gather_take(g, &t);
	if (ret == 0)
		ret = gather_copy(&t.s, t.pieces, g->nr_pieces, &t.held, NULL, g->dst, g->dst_len, g->at, &len);
	if (ret < 0)
		return (int)ret;
	client_count(k, KVSHM_CC_COPY_OUT_BYTES, len);
	*ret_len = len;
	return (int)ret;
}
