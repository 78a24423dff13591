/* SPDX-License-Identifier: Apache-2.0 */
/* stage_spread.c - blocks moved whole, spread over the layers by a kernel */
#include <errno.h>
#include <string.h>

#include "gpu/stage_ways.h"
#include "kvshm/base/compiler.h"

#define THREADS 256u
#define MAX_CTAS ((uint64_t)INT32_MAX)
#define MAX_VEC_SHIFT 4u

/* A share's bytes of a block: one piece of the arena. */
struct slice {
	uint64_t base, len;		/* from the item's offset */
};

/* Neighbours of a list with the same tokens: one launch. */
struct segment {
	uint32_t first, end;
	unsigned token, nr_tokens;
};

static uint64_t plane_span(const struct gpu_group *g)
{
	return (g->nr_parts - 1) * g->arena_part_stride + (g->nr_heads - 1) * g->arena_head_stride +
	       (g->nr_tokens - 1) * g->arena_token_stride + g->run_len;
}

/*
 * Return: false where the layers' bytes are mixed with those of others, or (D2H, which writes all of it) where not
 * each byte is a point of the block.
 */
static bool slice_of(const struct gpu_layout *l, const struct stage_facts *f, const struct stage_share *s,
		     enum stage_dir dir, struct slice *ret)
{
	const struct gpu_group *g = &l->group[s->group];
	const uint64_t inner = plane_span(g);
	const uint64_t points = g->run_len * g->nr_parts * g->nr_heads * g->nr_tokens;

	if (s->nr < f->nr_layers && g->arena_layer_stride < inner)
		return false;
	ret->base = s->at * g->arena_layer_stride;
	ret->len = (s->nr - 1) * g->arena_layer_stride + inner;
	return dir == STAGE_H2D || ret->len == points * s->nr;
}

uint64_t stage_land_blocks(const struct gpu_layout *l, const struct stage_facts *f, const struct stage_share *s,
			   const struct stage_caps *caps, enum stage_dir dir)
{
	struct slice slice;

	return slice_of(l, f, s, dir, &slice) ? caps->landing_len / slice.len : 0;
}

/* The next segment from @s->end on; landing takes whole blocks only.  Return: false: there is none. */
static bool segment_next(const struct stage_ctx *c, unsigned group, enum stage_way way, struct segment *s)
{
	const struct stage_list *list = &c->req->list[group];
	const struct gpu_group *g = &c->l->group[group];
	uint32_t i = s->end;

	if (!c->facts[group].has_partial) {
		*s = (struct segment){ .first = i, .end = list->nr, .nr_tokens = g->nr_tokens };
		return i < list->nr;
	}
	while (way == STAGE_WAY_LAND && i < list->nr && item_tokens(g, &list->items[i]) != g->nr_tokens)
		i++;
	if (i == list->nr)
		return false;
	s->first = i;
	s->token = list->items[i].token;
	s->nr_tokens = item_tokens(g, &list->items[i]);
	while (i < list->nr && list->items[i].token == s->token && item_tokens(g, &list->items[i]) == s->nr_tokens)
		i++;
	s->end = i;
	return true;
}

/* Can a kernel count a plane's vectors and a launch's planes in 32 bits. */
static bool is_countable(const struct gpu_group *g, uint64_t nr_planes)
{
	return nr_planes && nr_planes <= MAX_CTAS && g->run_len <= INT32_MAX &&
	       (uint64_t)g->nr_heads * g->nr_tokens <= INT32_MAX / g->run_len;
}

/* Blocks of one launch. */
static uint64_t blocks_at_once(const struct stage_ctx *c, const struct stage_share *s, enum stage_way way)
{
	const struct gpu_group *g = &c->l->group[s->group];
	const uint64_t nr_planes = (uint64_t)s->nr * g->nr_parts;

	if (!is_countable(g, nr_planes))
		return 0;
	if (way == STAGE_WAY_DIRECT)
		return MAX_CTAS / nr_planes;
	return min_of(MAX_CTAS / nr_planes,
		      stage_land_blocks(c->l, &c->facts[s->group], s, c->caps, c->req->dir));
}

static double launch_ns(const struct stage_ctx *c, enum stage_way way, uint64_t bytes)
{
	return c->cost->launch_ns + (double)bytes / (way == STAGE_WAY_DIRECT ? c->cost->direct_bytes_per_ns :
									       c->cost->device_bytes_per_ns);
}

static uint64_t bytes_of(const struct stage_ctx *c, const struct stage_share *s, unsigned nr_tokens)
{
	const struct gpu_group *g = &c->l->group[s->group];

	return s->nr * g->run_len * g->nr_parts * g->nr_heads * nr_tokens;
}

/* A run of slices as one operation: slices side by side are one copy, else a rectangle, else one at a time. */
static uint32_t landing_op(const struct stage_ctx *c, const struct stage_share *s, const struct slice *slice,
			   uint32_t first, uint32_t end, struct stage_op *ret)
{
	const struct stage_list *list = &c->req->list[s->group];
	const uint64_t max = c->caps->max_pitch ? c->caps->max_pitch : INT32_MAX;
	struct item_run run;

	*ret = (struct stage_op){ .arena = list->items[first].arena + slice->base, .len = slice->len,
				  .kind = STAGE_OP_COPY, .rows = 1 };
	item_run_arena(list, c->caps, &c->l->group[s->group], first, end, &run);
	if (run.nr == 1)
		return 1;
	if (run.arena_stride == slice->len) {
		ret->len *= run.nr;
		return run.nr;
	}
	if (!c->caps->has_2d || run.arena_stride < slice->len || run.arena_stride > max || slice->len > max ||
	    stage_op_ns(c->cost, run.nr, (double)run.nr * (double)slice->len) >
		    run.nr * stage_op_ns(c->cost, 1, (double)slice->len))
		return 1;
	ret->kind = STAGE_OP_RECT;
	ret->rows = run.nr;
	ret->arena_pitch = run.arena_stride;
	ret->dev_pitch = slice->len;
	return run.nr;
}

static void count_landing(const struct stage_ctx *c, const struct stage_share *s, uint32_t first, uint32_t end,
			  struct stage_bill *add)
{
	struct stage_op op;
	struct slice slice;
	uint32_t n;

	slice_of(c->l, &c->facts[s->group], s, c->req->dir, &slice);
	for (uint32_t i = first; i < end; i += n) {
		n = landing_op(c, s, &slice, i, end, &op);
		add->ns += stage_op_ns(c->cost, op.rows, (double)op.rows * (double)op.len);
		add->nr_ops++;
	}
}

static bool count_share(struct stage_ctx *c, const struct stage_share *s, enum stage_way way, struct stage_bill *add)
{
	const uint64_t at_once = blocks_at_once(c, s, way);
	struct segment seg = { 0 };

	if (!at_once)
		return false;
	while (segment_next(c, s->group, way, &seg))
		for (uint64_t i = seg.first, end; i < seg.end; i = end) {
			end = min_of(i + at_once, (uint64_t)seg.end);
			if (way == STAGE_WAY_LAND)
				count_landing(c, s, (uint32_t)i, (uint32_t)end, add);
			add->ns += launch_ns(c, way, (end - i) * bytes_of(c, s, seg.nr_tokens));
			add->nr_ops++;
			add->nr_launches++;
		}
	return true;
}

bool stage_spread_count(struct stage_ctx *c, const struct stage_share *s, enum stage_way way, struct stage_bill *add)
{
	struct stage_bill bill = { 0 };

	/* as many layers of the same group cost the same */
	if (c->known_spread[s->group][way].nr_layers != s->nr) {
		c->known_spread[s->group][way].is_possible = count_share(c, s, way, &bill);
		c->known_spread[s->group][way].bill = bill;
		c->known_spread[s->group][way].nr_layers = s->nr;
	}
	bill = c->known_spread[s->group][way].bill;
	add->ns += bill.ns;
	add->nr_ops += bill.nr_ops;
	add->nr_launches += bill.nr_launches;
	return c->known_spread[s->group][way].is_possible;
}

/* ---- the table: engine blocks, planes, offsets --------------------------------------------- */

uint64_t stage_table_place(struct stage_ctx *c, enum stage_way way)
{
	uint64_t words = c->p->nr_table;

	for (unsigned i = 0; i < c->l->nr_groups; i++) {
		const uint32_t nr = c->req->list[i].nr;
		struct stage_facts *f = &c->facts[i];

		if (!nr || !f->nr_at)
			continue;
		f->planes_word = (uint32_t)words;
		words += (uint64_t)f->nr_at * c->l->group[i].nr_parts * (sizeof(struct gpu_plane) / 4);
		f->offsets_word = (uint32_t)words;
		words += way == STAGE_WAY_DIRECT ? 2ull * nr : 0;
		f->blocks_word = (uint32_t)words;
		words += round_up((uint64_t)nr, 2ull);
	}
	return words;
}

static void write_planes(const struct stage_ctx *c, unsigned group)
{
	const struct gpu_group *g = &c->l->group[group];
	const struct stage_facts *f = &c->facts[group];
	struct gpu_plane plane;
	uint32_t *to = c->p->table + f->planes_word;

	for (uint32_t i = 0; i < c->l->nr_layers; i++) {
		const struct gpu_layer *layer = &c->l->layer[i];

		if (layer->group != group || layer->at - f->first_at >= f->nr_at)
			continue;
		for (unsigned p = 0; p < g->nr_parts; p++, to += sizeof(plane) / 4) {
			plane.dev = layer->dev[p];
			plane.packed = layer->at * g->arena_layer_stride + p * g->arena_part_stride;
			memcpy(to, &plane, sizeof(plane));
		}
	}
}

void stage_table_write(const struct stage_ctx *c, enum stage_way way)
{
	for (unsigned i = 0; i < c->l->nr_groups; i++) {
		const struct stage_list *list = &c->req->list[i];
		const struct stage_facts *f = &c->facts[i];

		if (!list->nr || !f->nr_at)
			continue;
		write_planes(c, i);
		for (uint32_t n = 0; n < list->nr; n++) {
			c->p->table[f->blocks_word + n] = list->items[n].block;
			if (way == STAGE_WAY_DIRECT)
				memcpy(c->p->table + f->offsets_word + 2ull * n, &list->items[n].arena, 8);
		}
	}
}

/* ---- launches --------------------------------------------------------------------------------- */

static unsigned vec_shift(uint64_t bits)
{
	return bits ? min_of((unsigned)__builtin_ctzll(bits), MAX_VEC_SHIFT) : MAX_VEC_SHIFT;
}

/* How all planes of a share are aligned, on both sides. */
static uint64_t plane_bits(const struct stage_ctx *c, const struct stage_share *s)
{
	const struct gpu_group *g = &c->l->group[s->group];
	uint64_t bits = g->arena_layer_stride | g->arena_part_stride;

	for (uint32_t i = s->first_layer; i < s->end_layer; i++)
		if (c->l->layer[i].group == s->group)
			bits |= c->l->layer[i].dev[0] | (g->nr_parts > 1 ? c->l->layer[i].dev[1] : 0);
	return bits;
}

/* The runs of one plane of one block. */
static void shape_args(const struct gpu_group *g, const struct segment *seg, uint64_t bits, struct gpu_spread_args *a)
{
	struct box b;

	box_of_plane(g, seg->token, seg->nr_tokens, &b);
	a->dev_shift = b.dev;
	a->packed += b.arena;
	a->nr_outer = a->nr_inner = 1;
	if (b.nr_dims > 0) {
		const struct box_dim *in = &b.dim[b.nr_dims - 1];

		a->nr_inner = (uint32_t)in->nr;
		a->inner_dev = in->dev;
		a->inner_packed = in->arena;
	}
	if (b.nr_dims > 1) {
		a->nr_outer = (uint32_t)b.dim[0].nr;
		a->outer_dev = b.dim[0].dev;
		a->outer_packed = b.dim[0].arena;
	}
	a->vec_shift = vec_shift(bits | b.run | a->dev_shift | a->packed | a->packed_stride | a->block_stride |
				 a->inner_dev | a->inner_packed | a->outer_dev | a->outer_packed);
	a->run_vecs = (uint32_t)(b.run >> a->vec_shift);
}

static int write_launch(struct stage_ctx *c, const struct stage_share *s, enum stage_way way,
			const struct segment *seg, const struct slice *slice)
{
	const struct gpu_group *g = &c->l->group[s->group];
	const struct stage_facts *f = &c->facts[s->group];
	const uint64_t table = c->caps->table_dev;
	struct stage_op op = { .kind = STAGE_OP_KERNEL, .launch = c->p->nr_launches };
	struct stage_launch launch = {
		.kernel = c->req->dir == STAGE_H2D ? GPU_KERNEL_SCATTER : GPU_KERNEL_COLLECT,
		.nr_threads = THREADS,
	};
	struct gpu_spread_args *a = &launch.args;
	uint64_t bits = plane_bits(c, s);

	if (c->p->nr_launches == c->p->max_launches)
		return -ENOSPC;
	a->nr_blocks = seg->end - seg->first;
	a->nr_planes = s->nr * g->nr_parts;
	a->blocks = table + 4ull * (f->blocks_word + seg->first);
	a->block_stride = g->block_stride;
	a->planes = table + 4ull * f->planes_word + (uint64_t)(s->at - f->first_at) * g->nr_parts * sizeof(struct gpu_plane);
	if (way == STAGE_WAY_DIRECT) {
		a->packed = c->caps->arena_dev;
		a->offsets = table + 4ull * f->offsets_word + 8ull * seg->first;
		bits |= f->arena_bits;
	} else {
		/* planes count from the block's start, the landing space from the slice's */
		a->packed = c->caps->landing - slice->base;
		a->packed_stride = slice->len;
	}
	shape_args(g, seg, bits, a);
	launch.nr_ctas = a->nr_blocks * a->nr_planes;
	c->p->launches[c->p->nr_launches++] = launch;
	return stage_op_write(c->p, &op);
}

static int write_landing(struct stage_ctx *c, const struct stage_share *s, const struct segment *seg,
			 const struct slice *slice)
{
	struct stage_op op;
	int ret = 0;
	uint32_t n;

	for (uint32_t i = seg->first; i < seg->end && ret == 0; i += n) {
		n = landing_op(c, s, slice, i, seg->end, &op);
		op.dev = c->caps->landing + (i - seg->first) * slice->len;
		ret = stage_op_write(c->p, &op);
	}
	return ret;
}

/* One launch with what has to land before it, or after. */
static int write_part(struct stage_ctx *c, const struct stage_share *s, enum stage_way way, const struct segment *part)
{
	struct slice slice = { 0 };
	int ret = 0;

	if (way == STAGE_WAY_DIRECT)
		return write_launch(c, s, way, part, &slice);
	slice_of(c->l, &c->facts[s->group], s, c->req->dir, &slice);
	if (c->req->dir == STAGE_H2D)
		ret = write_landing(c, s, part, &slice);
	if (ret == 0)
		ret = write_launch(c, s, way, part, &slice);
	if (ret == 0 && c->req->dir == STAGE_D2H)
		ret = write_landing(c, s, part, &slice);
	return ret;
}

int stage_spread_write(struct stage_ctx *c, const struct stage_share *s, enum stage_way way)
{
	const uint64_t at_once = blocks_at_once(c, s, way);
	struct segment seg = { 0 }, part;
	int ret = 0;

	while (ret == 0 && segment_next(c, s->group, way, &seg))
		for (uint64_t i = seg.first; i < seg.end && ret == 0; i = part.end) {
			part = seg;
			part.first = (uint32_t)i;
			part.end = (uint32_t)min_of(i + at_once, (uint64_t)seg.end);
			ret = write_part(c, s, way, &part);
		}
	return ret;
}
