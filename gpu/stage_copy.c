/* SPDX-License-Identifier: Apache-2.0 */
/* stage_copy.c - boxes as copies and rectangles */
#include <errno.h>

#include "gpu/stage_ways.h"

#define LINEAR BOX_DIMS_MAX

/* How a box is cut into operations. */
struct cut {
	uint32_t dim;			/* rows of a rectangle run along it; LINEAR: none */
	uint64_t nr_ops;
	double ns;
};

/* What is done with each box: @dev and @arena are added to its own. */
struct visitor {
	int (*visit)(struct visitor *v, const struct box *b, const struct cut *cut, uint64_t dev, uint64_t arena);
	struct stage_ctx *c;
	bool is_linear;
	struct stage_copies copies;
};

static bool may_pitch(const struct stage_caps *caps, const struct box *b, const struct box_dim *d)
{
	const uint64_t max = caps->max_pitch ? caps->max_pitch : INT32_MAX;

	return d->dev >= b->run && d->arena >= b->run && d->dev <= max && d->arena <= max && d->nr <= INT32_MAX;
}

/* Rectangles along the longest dimension, or linear copies: what costs less. */
static struct cut cut_box(const struct stage_ctx *c, const struct box *b, bool is_linear)
{
	struct cut cut = { .dim = LINEAR, .nr_ops = box_runs(b) };
	uint64_t rows = 1;
	double ns;

	cut.ns = (double)cut.nr_ops * stage_op_ns(c->cost, 1, (double)b->run);
	if (is_linear || !c->caps->has_2d)
		return cut;
	for (uint32_t i = 0; i < b->nr_dims; i++)
		if (b->dim[i].nr > rows && may_pitch(c->caps, b, &b->dim[i])) {
			rows = b->dim[i].nr;
			cut.dim = i;
		}
	if (rows == 1)
		return cut;
	ns = (double)(cut.nr_ops / rows) * stage_op_ns(c->cost, rows, (double)rows * (double)b->run);
	if (ns > cut.ns)
		cut.dim = LINEAR;
	else
		cut = (struct cut){ .dim = cut.dim, .nr_ops = cut.nr_ops / rows, .ns = ns };
	return cut;
}

/* All boxes of a layer run over a list; @v->visit sees each. */
static int visit_boxes(struct visitor *v, const struct layer_run *r, enum stage_which which)
{
	const struct stage_list *list = &v->c->req->list[r->group];
	const struct gpu_group *g = &v->c->l->group[r->group];
	uint32_t token = 0, nr_tokens = 0;	/* of the box at hand */
	struct item_run run;
	struct box one, many;
	struct cut cut;
	int ret;

	for (uint32_t i = 0; i < list->nr; i += run.nr) {
		const struct stage_item *item = &list->items[i];
		const uint32_t n = item_tokens(g, item);

		item_run_at(list, v->c->caps, g, i, &run);
		if (which == STAGE_PARTIAL_ITEMS && n == g->nr_tokens)
			continue;
		if (n != nr_tokens || item->token != token) {
			token = item->token;
			nr_tokens = n;
			box_of_layers(g, r, token, nr_tokens, &one);
			cut = cut_box(v->c, &one, v->is_linear);
		}
		if (run.nr == 1) {
			ret = v->visit(v, &one, &cut, item->block * g->block_stride, item->arena);
		} else {
			struct cut together;

			many = one;
			box_repeat(&many, run.nr, run.block_stride * g->block_stride, run.arena_stride);
			together = cut_box(v->c, &many, v->is_linear);
			ret = v->visit(v, &many, &together, item->block * g->block_stride, item->arena);
		}
		if (ret < 0)
			return ret;
	}
	return 0;
}

static int count_box(struct visitor *v, const struct box *b, const struct cut *cut, uint64_t dev, uint64_t arena)
{
	const uint64_t runs = box_runs(b);

	v->copies.bill.ns += cut->ns;
	v->copies.bill.nr_ops += cut->nr_ops;
	v->copies.runs += runs;
	v->copies.bytes += runs * b->run;
	return 0;
}

/*
 * A stride beyond all of a plane melts with nothing inside it, if blocks lie further apart in the arena than planes:
 * then its size matters no more, only whether it may be a pitch.  So layers in tensors of their own cost the same.
 */
static uint64_t stride_class(const struct stage_ctx *c, unsigned group, uint64_t stride)
{
	const struct gpu_group *g = &c->l->group[group];
	const uint64_t max = c->caps->max_pitch ? c->caps->max_pitch : INT32_MAX;
	const uint64_t heads = g->nr_heads * g->head_stride, tokens = g->nr_tokens * g->token_stride;
	const uint64_t plane = (g->nr_blocks - 1) * g->block_stride + heads + tokens + g->run_len;
	const uint64_t step = c->facts[group].arena_step;

	if (stride <= plane || step < g->arena_layer_stride || step < g->arena_part_stride)
		return stride;
	return stride <= max ? UINT64_MAX - 1 : UINT64_MAX;
}

/* Do both cost the same over a list? */
static bool is_same_shape(const struct stage_ctx *c, const struct layer_run *a, const struct layer_run *b)
{
	if (a->nr != b->nr || a->nr_parts != b->nr_parts)
		return false;
	if (a->nr > 1 && stride_class(c, a->group, a->layer_stride) != stride_class(c, a->group, b->layer_stride))
		return false;
	if (a->nr_parts > 1 && stride_class(c, a->group, a->part_stride) != stride_class(c, a->group, b->part_stride))
		return false;
	/* with both, whether they melt with each other */
	return a->nr == 1 || a->nr_parts == 1 ||
	       ((a->layer_stride == a->part_stride * a->nr_parts) == (b->layer_stride == b->part_stride * b->nr_parts) &&
		(a->part_stride == a->layer_stride * a->nr) == (b->part_stride == b->layer_stride * b->nr));
}

static void count_run(struct stage_ctx *c, const struct layer_run *r, enum stage_which which, struct stage_copies *ret)
{
	struct visitor v = { .visit = count_box, .c = c };

	if (!c->known[r->group][which].is_set || !is_same_shape(c, &c->known[r->group][which].run, r)) {
		visit_boxes(&v, r, which);
		c->known[r->group][which].run = *r;
		c->known[r->group][which].copies = v.copies;
		c->known[r->group][which].is_set = true;
	}
	*ret = c->known[r->group][which].copies;
}

void stage_copies_count(struct stage_ctx *c, const struct stage_share *s, enum stage_which which,
			struct stage_copies *ret)
{
	struct layer_cursor at = { .layer = s->first_layer };
	struct layer_run r;
	struct stage_copies one;

	while (layer_run_next(c->l, s->group, s->end_layer, &at, &r)) {
		count_run(c, &r, which, &one);
		ret->bill.ns += one.bill.ns;
		ret->bill.nr_ops += one.bill.nr_ops;
		ret->runs += one.runs;
		ret->bytes += one.bytes;
	}
}

int stage_op_write(struct stage_plan *p, const struct stage_op *op)
{
	if (p->nr_ops == p->max_ops)
		return -ENOSPC;
	p->ops[p->nr_ops++] = *op;
	return 0;
}

static int write_box(struct visitor *v, const struct box *b, const struct cut *cut, uint64_t dev, uint64_t arena)
{
	struct stage_plan *p = v->c->p;
	struct stage_op op = {
		.dev = dev + b->dev, .arena = arena + b->arena, .len = b->run, .kind = STAGE_OP_COPY, .rows = 1,
	};
	uint64_t at[BOX_DIMS_MAX] = { 0 };
	uint32_t i;

	if (cut->nr_ops > p->max_ops - p->nr_ops)
		return -ENOSPC;
	if (cut->dim != LINEAR) {
		op.kind = STAGE_OP_RECT;
		op.rows = (uint32_t)b->dim[cut->dim].nr;
		op.dev_pitch = b->dim[cut->dim].dev;
		op.arena_pitch = b->dim[cut->dim].arena;
	}
	for (;;) {
		p->ops[p->nr_ops++] = op;
		/* the innermost counts fastest */
		for (i = b->nr_dims; i-- > 0;) {
			if (i == cut->dim)
				continue;
			op.dev += b->dim[i].dev;
			op.arena += b->dim[i].arena;
			if (++at[i] < b->dim[i].nr)
				break;
			op.dev -= b->dim[i].nr * b->dim[i].dev;
			op.arena -= b->dim[i].nr * b->dim[i].arena;
			at[i] = 0;
		}
		if (i == UINT32_MAX)
			return 0;
	}
}

int stage_copies_write(struct stage_ctx *c, const struct stage_share *s, enum stage_which which, bool is_linear)
{
	struct visitor v = { .visit = write_box, .c = c, .is_linear = is_linear };
	struct layer_cursor at = { .layer = s->first_layer };
	struct layer_run r;
	int ret = 0;

	while (ret == 0 && layer_run_next(c->l, s->group, s->end_layer, &at, &r))
		ret = visit_boxes(&v, &r, which);
	return ret;
}
