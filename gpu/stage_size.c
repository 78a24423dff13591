/* SPDX-License-Identifier: Apache-2.0 */
/* stage_size.c - arrays that hold the plan of any chain */
#include <errno.h>

#include "gpu/stage_ways.h"
#include "kvshm/base/compiler.h"

struct sizes {
	uint64_t ops, launches, steps, table;
};

/* Runs of a plane when it is copied whole, and at worst when only some tokens are. */
static void plane_runs(const struct gpu_group *g, uint64_t *ret_whole, uint64_t *ret_part)
{
	struct box b;

	box_of_plane(g, 0, g->nr_tokens, &b);
	*ret_whole = *ret_part = box_runs(&b);
	if (g->nr_tokens > 1) {
		box_of_plane(g, 0, g->nr_tokens - 1, &b);
		*ret_part = max_of(*ret_whole, box_runs(&b));
	}
}

/* Launches of one step for all items of a group: in pieces of the landing space; partial ends apart if direct. */
static uint64_t step_launches(const struct gpu_layout *l, const struct stage_caps *caps, unsigned group,
			      uint32_t nr_layers, uint32_t nr_items, uint32_t per_step)
{
	const struct stage_facts f = { .nr_layers = nr_layers };
	const struct stage_share s = { .group = group, .nr = min_of(nr_layers, per_step) };
	const uint64_t at_once = max_of(stage_land_blocks(l, &f, &s, caps, STAGE_H2D), 1ull);
	const uint64_t landed = caps->ways & STAGE_MAY(STAGE_WAY_LAND) ? (nr_items + at_once - 1) / at_once : 0;

	return max_of(landed, 3ull);
}

static void add_group(const struct gpu_layout *l, const struct stage_caps *caps, unsigned group, uint32_t nr_items,
		      uint32_t per_step, struct sizes *z)
{
	const struct gpu_group *g = &l->group[group];
	const uint32_t nr_layers = gpu_layout_group_layers(l, group);
	const uint64_t nr_planes = (uint64_t)nr_layers * g->nr_parts;
	uint64_t whole, part, ops;

	plane_runs(g, &whole, &part);
	/* every group as if all items were its own */
	ops = nr_planes * (whole * nr_items + 2 * part);
	/* both parts of a plan have a list of their own */
	z->table += nr_planes * (sizeof(struct gpu_plane) / 4) + 2 * (3ull * nr_items + 1);
	if (caps->ways & (STAGE_MAY(STAGE_WAY_LAND) | STAGE_MAY(STAGE_WAY_DIRECT)))
		z->launches += z->steps * step_launches(l, caps, group, nr_layers, nr_items, per_step);
	z->ops += ops;
}

int stage_plan_size(const struct gpu_layout *l, const struct stage_caps *caps, uint32_t nr_items,
		    uint32_t layers_per_step, struct stage_plan *ret_plan)
{
	const uint32_t per_step = layers_per_step ? min_of(layers_per_step, l->nr_layers) : l->nr_layers;
	struct sizes z = { .steps = (l->nr_layers + per_step - 1) / per_step };

	for (unsigned g = 0; g < l->nr_groups; g++)
		add_group(l, caps, g, nr_items, per_step, &z);
	z.ops += z.launches;
	if (z.ops > UINT32_MAX || z.launches > UINT32_MAX || z.table > UINT32_MAX)
		return -EOVERFLOW;
	ret_plan->max_ops = (uint32_t)z.ops;
	ret_plan->max_launches = (uint32_t)z.launches;
	ret_plan->max_steps = (uint32_t)z.steps;
	ret_plan->max_table = (uint32_t)z.table;
	return 0;
}
