/* SPDX-License-Identifier: Apache-2.0 */
/*
 * stage_ways.h - what each way would need, and writing it down; inside of the planner
 *
 * A step's share of a group is first estimated for all ways (its bill), then written for the one that is chosen.
 */
#ifndef GPU_STAGE_WAYS_H
#define GPU_STAGE_WAYS_H

#include <stdbool.h>
#include <stdint.h>

#include "gpu/stage_box.h"
#include "gpu/stage_plan.h"

/* Which items of a list: with kernels on the way, only partial blocks are left to copies. */
enum stage_which { STAGE_ALL_ITEMS, STAGE_PARTIAL_ITEMS, STAGE_NR_WHICH };

/* What a request costs one way. */
struct stage_bill {
	double ns;
	uint64_t nr_ops, nr_launches;
};

/* Copies of one layer run over a list. */
struct stage_copies {
	struct stage_bill bill;
	uint64_t runs;			/* as linear copies */
	uint64_t bytes;
};

/* Facts of a group's list, gathered while it is checked. */
struct stage_facts {
	uint32_t nr_layers;		/* of the group, in the whole layout */
	uint32_t first_at, nr_at;	/* its layers inside the request */
	uint64_t arena_bits;		/* all offsets, or-ed: how they are aligned */
	uint64_t arena_step;		/* the least by which an offset is more than the one before */
	bool has_partial;
	/* place in the table, in words */
	uint32_t blocks_word, planes_word, offsets_word;
};

struct stage_ctx {
	const struct gpu_layout *l;
	const struct stage_request *req;
	const struct stage_caps *caps;
	const struct stage_cost *cost;
	struct stage_plan *p;		/* counts grow here while it is written */
	uint32_t layers_per_step;
	struct stage_facts facts[GPU_GROUPS_MAX];
	/* the last estimate of each group: layers of equal strides cost the same */
	struct {
		bool is_set;
		struct layer_run run;
		struct stage_copies copies;
	} known[GPU_GROUPS_MAX][STAGE_NR_WHICH];
	struct {
		uint32_t nr_layers;	/* 0: none yet */
		bool is_possible;
		struct stage_bill bill;
	} known_spread[GPU_GROUPS_MAX][STAGE_NR_WAYS];
};

/* A group's layers of one step. */
struct stage_share {
	uint32_t group;
	uint32_t first_layer, end_layer;	/* of the model */
	uint32_t at, nr;		/* of the group */
};

/* ns of one operation of @rows x @len bytes: the CPU issues the next while this one runs. */
static inline double stage_op_ns(const struct stage_cost *c, uint64_t rows, double bytes)
{
	const double run = c->copy_ns + (rows > 1 ? (double)rows * c->row_ns : 0) + bytes / c->link_bytes_per_ns;

	return run > c->call_ns ? run : c->call_ns;
}

/* ---- copies and rectangles (stage_copy.c) ------------------------------------------------- */

/* What they are for a share; added to @ret. */
void stage_copies_count(struct stage_ctx *c, const struct stage_share *s, enum stage_which which,
			struct stage_copies *ret);

/* Write them.  Return: 0, -ENOSPC. */
int stage_copies_write(struct stage_ctx *c, const struct stage_share *s, enum stage_which which, bool is_linear);

/* One operation to the end of the plan.  Return: 0, -ENOSPC. */
int stage_op_write(struct stage_plan *p, const struct stage_op *op);

/* ---- landing and direct kernels (stage_spread.c) -------------------------------------------- */

/* May this share go that way at all, and for how much; @way is LAND or DIRECT.  Return: false: no. */
bool stage_spread_count(struct stage_ctx *c, const struct stage_share *s, enum stage_way way, struct stage_bill *add);

/* Write it.  Return: 0, -ENOSPC. */
int stage_spread_write(struct stage_ctx *c, const struct stage_share *s, enum stage_way way);

/* Words of the table with what is in it already; places are kept in facts. */
uint64_t stage_table_place(struct stage_ctx *c, enum stage_way way);

/* Fill the table for @way; places are set. */
void stage_table_write(const struct stage_ctx *c, enum stage_way way);

/* How many blocks of a share fit into the landing space at once; 0: it cannot be landed. */
uint64_t stage_land_blocks(const struct gpu_layout *l, const struct stage_facts *f, const struct stage_share *s,
			   const struct stage_caps *caps, enum stage_dir dir);

#endif
