/* SPDX-License-Identifier: Apache-2.0 */
/* stage_box.c - boxes, runs of layers, runs of blocks */
#include "gpu/stage_box.h"

#include <stddef.h>

/* The next layer of @group from @i on, or @end. */
static uint32_t next_of_group(const struct gpu_layout *l, unsigned group, uint32_t i, uint32_t end)
{
	while (i < end && l->layer[i].group != group)
		i++;
	return i;
}

/* How many layers from @r->layer on keep the distances of the first two; sets nr and layer_stride. */
static void extend_layers(const struct gpu_layout *l, uint32_t end, struct layer_run *r)
{
	const struct gpu_layer *prev = &l->layer[r->layer];
	const bool has_v = l->group[r->group].nr_parts > 1;
	uint32_t i = r->layer;

	r->nr = 1;
	r->layer_stride = 0;
	for (;;) {
		const struct gpu_layer *next;
		uint64_t stride;

		i = next_of_group(l, r->group, i + 1, end);
		if (i == end)
			return;
		next = &l->layer[i];
		stride = next->dev[0] - prev->dev[0];
		if (next->dev[0] < prev->dev[0] || (r->nr > 1 && stride != r->layer_stride))
			return;
		if (has_v && next->dev[1] - prev->dev[1] != stride)
			return;
		r->layer_stride = stride;
		r->nr++;
		prev = next;
	}
}

bool layer_run_next(const struct gpu_layout *l, unsigned group, uint32_t end, struct layer_cursor *at,
		    struct layer_run *ret)
{
	struct layer_run r = { .group = group, .layer = next_of_group(l, group, at->layer, end) };
	const struct gpu_layer *first = &l->layer[r.layer];
	const unsigned nr_parts = l->group[group].nr_parts;

	if (r.layer == end)
		return false;
	extend_layers(l, end, &r);
	r.at = first->at;
	r.part = at->part;
	r.nr_parts = nr_parts > 1 && first->dev[1] < first->dev[0] ? 1 : nr_parts;
	r.part_stride = r.nr_parts > 1 ? first->dev[1] - first->dev[0] : 0;
	r.dev = first->dev[r.part];
	if (r.part + r.nr_parts < nr_parts) {
		at->layer = r.layer;
		at->part = r.part + 1;
	} else {
		/* behind the last of the run: its layers are r.nr of the group's */
		uint32_t i = r.layer;

		for (uint32_t n = 1; n < r.nr; n++)
			i = next_of_group(l, group, i + 1, end);
		at->layer = i + 1;
		at->part = 0;
	}
	*ret = r;
	return true;
}

static void add_dim(struct box *b, uint64_t nr, uint64_t dev, uint64_t arena)
{
	uint32_t at;

	if (nr <= 1)
		return;
	for (at = b->nr_dims++; at > 0 && b->dim[at - 1].dev < dev; at--)
		b->dim[at] = b->dim[at - 1];
	b->dim[at] = (struct box_dim){ nr, dev, arena };
}

/* Join, from the inside out, what is dense on both sides. */
static void melt(struct box *b)
{
	uint32_t i, n;

	while (b->nr_dims && b->dim[b->nr_dims - 1].dev == b->run && b->dim[b->nr_dims - 1].arena == b->run)
		b->run *= b->dim[--b->nr_dims].nr;
	for (i = b->nr_dims; i-- > 1;) {
		struct box_dim *out = &b->dim[i - 1];
		const struct box_dim *in = &b->dim[i];

		if (out->dev != in->dev * in->nr || out->arena != in->arena * in->nr)
			continue;
		*out = (struct box_dim){ out->nr * in->nr, in->dev, in->arena };
		for (n = i; n + 1 < b->nr_dims; n++)
			b->dim[n] = b->dim[n + 1];
		b->nr_dims--;
	}
}

static void box_begin(const struct gpu_group *g, unsigned token, unsigned nr_tokens, struct box *ret)
{
	*ret = (struct box){
		.dev = token * g->token_stride, .arena = token * g->arena_token_stride, .run = g->run_len,
	};
	add_dim(ret, g->nr_heads, g->head_stride, g->arena_head_stride);
	add_dim(ret, nr_tokens, g->token_stride, g->arena_token_stride);
}

void box_of_plane(const struct gpu_group *g, unsigned token, unsigned nr_tokens, struct box *ret)
{
	box_begin(g, token, nr_tokens, ret);
	melt(ret);
}

void box_of_layers(const struct gpu_group *g, const struct layer_run *r, unsigned token, unsigned nr_tokens,
		   struct box *ret)
{
	box_begin(g, token, nr_tokens, ret);
	ret->dev += r->dev;
	ret->arena += r->at * g->arena_layer_stride + r->part * g->arena_part_stride;
	add_dim(ret, r->nr, r->layer_stride, g->arena_layer_stride);
	add_dim(ret, r->nr_parts, r->part_stride, g->arena_part_stride);
	melt(ret);
}

void box_repeat(struct box *b, uint64_t nr, uint64_t dev_stride, uint64_t arena_stride)
{
	add_dim(b, nr, dev_stride, arena_stride);
	melt(b);
}

uint64_t box_runs(const struct box *b)
{
	uint64_t n = 1;

	for (uint32_t i = 0; i < b->nr_dims; i++)
		n *= b->dim[i].nr;
	return n;
}

/* How far a run that begins at @offset may have its blocks begin: each ends before the next seam. */
static uint64_t limit_of(const struct stage_caps *caps, const struct gpu_group *g, uint64_t offset)
{
	uint32_t low = 0, high = caps->nr_seams;

	while (low < high) {
		const uint32_t mid = low + (high - low) / 2;

		if (caps->seams[mid] <= offset)
			low = mid + 1;
		else
			high = mid;
	}
	if (low == caps->nr_seams)
		return UINT64_MAX;
	return caps->seams[low] < g->arena_len ? 0 : caps->seams[low] - g->arena_len;
}

static bool is_next(const struct stage_item *a, const struct stage_item *b, uint64_t limit)
{
	return b->arena > a->arena && b->arena <= limit && b->token == a->token && b->nr_tokens == a->nr_tokens;
}

void item_run_at(const struct stage_list *s, const struct stage_caps *caps, const struct gpu_group *g, uint32_t first,
		 struct item_run *ret)
{
	const struct stage_item *i = &s->items[first];
	const struct stage_item *const end = &s->items[s->nr];
	struct item_run r = { .first = first, .nr = 1 };
	uint64_t limit;

	if (i + 1 < end && i[1].block > i->block && i[1].arena > i->arena) {
		limit = limit_of(caps, g, i->arena);
		r.block_stride = i[1].block - i->block;
		r.arena_stride = i[1].arena - i->arena;
		while (i + 1 < end && is_next(i, i + 1, limit) && i[1].block > i->block &&
		       i[1].block - i->block == r.block_stride && i[1].arena - i->arena == r.arena_stride) {
			i++;
			r.nr++;
		}
	}
	*ret = r;
}

void item_run_arena(const struct stage_list *s, const struct stage_caps *caps, const struct gpu_group *g,
		    uint32_t first, uint32_t end, struct item_run *ret)
{
	const struct stage_item *i = &s->items[first];
	struct item_run r = { .first = first, .nr = 1 };
	uint64_t limit;

	if (first + 1 < end && i[1].arena > i->arena) {
		limit = limit_of(caps, g, i->arena);
		r.arena_stride = i[1].arena - i->arena;
		while (r.first + r.nr < end && is_next(i, i + 1, limit) && i[1].arena - i->arena == r.arena_stride) {
			i++;
			r.nr++;
		}
	}
	*ret = r;
}
