/* SPDX-License-Identifier: Apache-2.0 */
/* stage_plan.c - check, estimate each way, write down the cheapest */
#include "gpu/stage_plan.h"

#include <errno.h>

#include "gpu/stage_ways.h"
#include "kvshm/base/compiler.h"

/* What each way would need, over all steps. */
struct survey {
	struct stage_bill bill[STAGE_NR_WAYS];
	bool is_possible[STAGE_NR_WAYS];
	uint64_t bytes;
};

/* ---- checks -------------------------------------------------------------------------------------- */

static int check_list(const struct stage_ctx *c, unsigned group, struct stage_facts *f)
{
	const struct stage_list *list = &c->req->list[group];
	const struct gpu_group *g = &c->l->group[group];
	uint64_t reach, last, before = UINT64_MAX;

	if (!list->nr)
		return 0;
	if (gpu_group_reach(g, f->nr_layers, &reach) < 0 || reach > c->caps->arena_span)
		return -EINVAL;
	last = c->caps->arena_span - reach;
	f->arena_step = UINT64_MAX;
	for (uint32_t i = 0; i < list->nr; i++) {
		const struct stage_item *item = &list->items[i];

		if (item->block >= g->nr_blocks || item->arena > last || item->token >= g->nr_tokens ||
		    item->nr_tokens > g->nr_tokens - item->token)
			return -EINVAL;
		f->arena_bits |= item->arena;
		if (item->arena > before)
			f->arena_step = min_of(f->arena_step, item->arena - before);
		before = item->arena;
		f->has_partial |= item_tokens(g, item) != g->nr_tokens;
	}
	return 0;
}

static int check_request(struct stage_ctx *c, uint32_t *ret_end)
{
	const struct stage_request *req = c->req;
	const uint32_t left = c->l->nr_layers - min_of(req->first_layer, c->l->nr_layers);
	const uint32_t nr = req->nr_layers ? req->nr_layers : left;
	int ret;

	if (!nr || nr > left || (req->dir != STAGE_H2D && req->dir != STAGE_D2H) || !stage_cost_is_sane(c->cost))
		return -EINVAL;
	*ret_end = req->first_layer + nr;
	c->layers_per_step = req->layers_per_step ? min_of(req->layers_per_step, nr) : nr;
	for (uint32_t i = 0; i < c->l->nr_layers; i++) {
		struct stage_facts *f = &c->facts[c->l->layer[i].group];

		f->nr_layers++;
		if (i < req->first_layer || i >= *ret_end)
			continue;
		if (!f->nr_at++)
			f->first_at = c->l->layer[i].at;
	}
	for (unsigned i = 0; i < GPU_GROUPS_MAX; i++) {
		if (i >= c->l->nr_groups && req->list[i].nr)
			return -EINVAL;
		ret = i < c->l->nr_groups ? check_list(c, i, &c->facts[i]) : 0;
		if (ret < 0)
			return ret;
	}
	return 0;
}

/* ---- steps and shares ------------------------------------------------------------------------------ */

/* The layers of @group in a step.  Return: false: none, or no blocks. */
static bool share_of(const struct stage_ctx *c, const struct stage_step *step, unsigned group, struct stage_share *ret)
{
	struct stage_share s = {
		.group = group, .first_layer = step->first_layer, .end_layer = step->first_layer + step->nr_layers,
	};

	if (!c->req->list[group].nr)
		return false;
	for (uint32_t i = s.first_layer; i < s.end_layer; i++)
		if (c->l->layer[i].group == group && !s.nr++)
			s.at = c->l->layer[i].at;
	*ret = s;
	return s.nr > 0;
}

static struct stage_step step_at(const struct stage_ctx *c, uint32_t layer, uint32_t end)
{
	return (struct stage_step){ .first_layer = layer, .nr_layers = min_of(c->layers_per_step, end - layer) };
}

/* ---- estimate ---------------------------------------------------------------------------------------- */

static void add_bill(struct stage_bill *to, const struct stage_bill *b)
{
	to->ns += b->ns;
	to->nr_ops += b->nr_ops;
	to->nr_launches += b->nr_launches;
}

static void survey_spread(struct stage_ctx *c, const struct stage_share *s, enum stage_way way, struct survey *v)
{
	struct stage_copies rest = { 0 };

	if (!v->is_possible[way])
		return;
	v->is_possible[way] = stage_spread_count(c, s, way, &v->bill[way]);
	if (way == STAGE_WAY_LAND && c->facts[s->group].has_partial)
		stage_copies_count(c, s, STAGE_PARTIAL_ITEMS, &rest);
	add_bill(&v->bill[way], &rest.bill);
}

static void survey_step(struct stage_ctx *c, const struct stage_step *step, struct survey *v)
{
	const struct stage_cost *k = c->cost;
	struct stage_copies copies = { 0 };
	struct stage_share s;
	double issue, run;

	for (unsigned g = 0; g < c->l->nr_groups; g++) {
		if (!share_of(c, step, g, &s))
			continue;
		stage_copies_count(c, &s, STAGE_ALL_ITEMS, &copies);
		survey_spread(c, &s, STAGE_WAY_LAND, v);
		survey_spread(c, &s, STAGE_WAY_DIRECT, v);
	}
	v->bytes += copies.bytes;
	add_bill(&v->bill[STAGE_WAY_COPY], &copies.bill);
	if (!copies.runs)
		return;
	issue = k->batch_ns + (double)copies.runs * k->entry_ns;
	run = (double)copies.runs * k->entry_copy_ns + (double)copies.bytes / k->link_bytes_per_ns;
	v->bill[STAGE_WAY_BATCH].ns += max_of(issue, run);
	v->bill[STAGE_WAY_BATCH].nr_ops += copies.runs;
}

static bool has_table(const struct stage_ctx *c)
{
	return c->p->table && !((uintptr_t)c->p->table & 7) && c->caps->table_dev && !(c->caps->table_dev & 7);
}

static void survey_ways(struct stage_ctx *c, uint32_t end, struct survey *v)
{
	const struct stage_caps *caps = c->caps;
	const uint32_t ways = caps->ways ? caps->ways : STAGE_MAY(STAGE_WAY_COPY);
	struct stage_step step;

	for (unsigned w = 0; w < STAGE_NR_WAYS; w++)
		v->is_possible[w] = ways & STAGE_MAY(w);
	v->is_possible[STAGE_WAY_LAND] &= caps->landing && has_table(c);
	v->is_possible[STAGE_WAY_DIRECT] &= caps->arena_dev && has_table(c);
	for (uint32_t layer = c->req->first_layer; layer < end; layer += step.nr_layers) {
		step = step_at(c, layer, end);
		survey_step(c, &step, v);
	}
}

static bool does_fit(struct stage_ctx *c, enum stage_way way, const struct stage_bill *b)
{
	if (b->nr_ops > c->p->max_ops - c->p->nr_ops || b->nr_launches > c->p->max_launches - c->p->nr_launches)
		return false;
	return (way != STAGE_WAY_LAND && way != STAGE_WAY_DIRECT) || stage_table_place(c, way) <= c->p->max_table;
}

/*
 * What a way is weighed by.  The engine's own kernels run meanwhile: one that waits for the bus keeps multiprocessors
 * from them for all of the transfer, where a copy engine does not, so it has to be that much faster.
 */
static double price_of(const struct survey *v, unsigned way)
{
	return v->bill[way].ns * (way == STAGE_WAY_DIRECT ? STAGE_DIRECT_PRICE : 1);
}

/* Return: the way, -EOPNOTSUPP, -ENOSPC. */
static int choose(struct stage_ctx *c, const struct survey *v)
{
	int best = -EOPNOTSUPP;

	for (unsigned w = 0; w < STAGE_NR_WAYS; w++) {
		if (!v->is_possible[w])
			continue;
		if (!does_fit(c, w, &v->bill[w])) {
			if (best < 0)
				best = -ENOSPC;
			continue;
		}
		if (best < 0 || price_of(v, w) < price_of(v, (unsigned)best))
			best = (int)w;
	}
	return best;
}

/* ---- write -------------------------------------------------------------------------------------------- */

static int write_share(struct stage_ctx *c, const struct stage_share *s, enum stage_way way)
{
	int ret;

	if (way == STAGE_WAY_COPY || way == STAGE_WAY_BATCH)
		return stage_copies_write(c, s, STAGE_ALL_ITEMS, way == STAGE_WAY_BATCH);
	ret = stage_spread_write(c, s, way);
	if (ret == 0 && way == STAGE_WAY_LAND && c->facts[s->group].has_partial)
		ret = stage_copies_write(c, s, STAGE_PARTIAL_ITEMS, false);
	return ret;
}

static uint64_t share_bytes(const struct stage_ctx *c, const struct stage_share *s)
{
	const struct stage_list *list = &c->req->list[s->group];
	const struct gpu_group *g = &c->l->group[s->group];
	uint64_t tokens = (uint64_t)list->nr * g->nr_tokens;

	if (c->facts[s->group].has_partial) {
		tokens = 0;
		for (uint32_t i = 0; i < list->nr; i++)
			tokens += item_tokens(g, &list->items[i]);
	}
	return tokens * s->nr * g->nr_parts * g->nr_heads * g->run_len;
}

static int write_step(struct stage_ctx *c, struct stage_step *step, enum stage_way way)
{
	struct stage_plan *p = c->p;
	struct stage_share s;
	int ret = 0;

	if (p->nr_steps == p->max_steps)
		return -ENOSPC;
	step->first_op = p->nr_ops;
	step->way = way;
	for (unsigned g = 0; g < c->l->nr_groups && ret == 0; g++)
		if (share_of(c, step, g, &s)) {
			step->bytes += share_bytes(c, &s);
			ret = write_share(c, &s, way);
		}
	step->nr_ops = p->nr_ops - step->first_op;
	p->steps[p->nr_steps++] = *step;
	return ret;
}

static int write_plan(struct stage_ctx *c, uint32_t end, enum stage_way way)
{
	struct stage_plan *p = c->p;
	struct stage_step step;
	int ret = 0;

	if (way == STAGE_WAY_LAND || way == STAGE_WAY_DIRECT) {
		const uint64_t words = stage_table_place(c, way);

		stage_table_write(c, way);
		p->nr_table = (uint32_t)words;
	}
	for (uint32_t layer = c->req->first_layer; layer < end && ret == 0; layer += step.nr_layers) {
		step = step_at(c, layer, end);
		ret = write_step(c, &step, way);
	}
	p->way = way;
	p->nr_copies = p->nr_ops - p->nr_launches;
	return ret;
}

int stage_plan_add(const struct gpu_layout *l, const struct stage_request *req, const struct stage_caps *caps,
		   const struct stage_cost *cost, struct stage_plan *p)
{
	struct stage_plan plan = *p;
	struct stage_ctx c = { .l = l, .req = req, .caps = caps, .cost = cost ? cost : &stage_cost_default, .p = &plan };
	struct survey v = { 0 };
	uint32_t end;
	int ret = check_request(&c, &end);

	if (ret < 0)
		return ret;
	survey_ways(&c, end, &v);
	ret = choose(&c, &v);
	if (ret < 0)
		return ret;
	plan.bytes += v.bytes;
	plan.cost_ns += v.bill[ret].ns;
	for (unsigned w = 0; w < STAGE_NR_WAYS; w++)
		plan.way_ns[w] += v.is_possible[w] ? v.bill[w].ns : __builtin_inf();
	ret = write_plan(&c, end, (enum stage_way)ret);
	if (ret < 0)
		return ret;
	*p = plan;
	return 0;
}

int stage_plan_make(const struct gpu_layout *l, const struct stage_request *req, const struct stage_caps *caps,
		    const struct stage_cost *cost, struct stage_plan *p)
{
	struct stage_plan plan = {
		.ops = p->ops, .launches = p->launches, .steps = p->steps, .table = p->table, .max_ops = p->max_ops,
		.max_launches = p->max_launches, .max_steps = p->max_steps, .max_table = p->max_table,
	};
	int ret = stage_plan_add(l, req, caps, cost, &plan);

	if (ret == 0)
		*p = plan;
	return ret;
}
