/* SPDX-License-Identifier: Apache-2.0 */
/*
 * stage_box.h - boxes of bytes with strides on two sides; inside of the planner
 *
 * A box is a run of bytes repeated over dimensions, each with a stride on the device and one in the arena.
 * Melting joins dimensions that are dense on both sides; what is left says how few copies will do.
 */
#ifndef GPU_STAGE_BOX_H
#define GPU_STAGE_BOX_H

#include <stdbool.h>
#include <stdint.h>

#include "gpu/layout.h"
#include "gpu/stage_plan.h"

#define BOX_DIMS_MAX 5u			/* block, layer, part, head, token */

struct box_dim {
	uint64_t nr, dev, arena;	/* strides */
};

struct box {
	uint64_t dev, arena;		/* of its first byte: address, offset from the item's */
	uint64_t run;
	uint32_t nr_dims;
	struct box_dim dim[BOX_DIMS_MAX];	/* outermost on the device first, each of two points or more */
};

/* Neighbouring layers of a group whose planes ascend by constant distances. */
struct layer_run {
	uint32_t group;
	uint32_t layer, at;		/* the first: in the model, in its group */
	uint32_t nr;
	uint32_t part, nr_parts;	/* K and V together, or one of them */
	uint64_t dev;			/* address of the first plane */
	uint64_t layer_stride, part_stride;
};

/* Where to go on looking; zero with .layer set to begin. */
struct layer_cursor {
	uint32_t layer, part;
};

/**
 * layer_run_next() - the next run of @group's layers before @end
 * Where V does not lie behind K, both come as runs of their own.  Return: false: there is none.
 */
bool layer_run_next(const struct gpu_layout *l, unsigned group, uint32_t end, struct layer_cursor *at,
		    struct layer_run *ret);

/* The box of @nr_tokens tokens from @token on of one engine block, block 0, for a run of layers; melted. */
void box_of_layers(const struct gpu_group *g, const struct layer_run *r, unsigned token, unsigned nr_tokens,
		   struct box *ret);

/* The same of one plane at device address 0 and arena offset 0. */
void box_of_plane(const struct gpu_group *g, unsigned token, unsigned nr_tokens, struct box *ret);

/* @b repeated: another dimension, melted. */
void box_repeat(struct box *b, uint64_t nr, uint64_t dev_stride, uint64_t arena_stride);

/* How many runs a melted box has. */
uint64_t box_runs(const struct box *b);

/* Neighbours in a list that ascend by constant distances, with the same tokens of each block. */
struct item_run {
	uint32_t first, nr;
	uint32_t block_stride;		/* in blocks; without meaning where nr is 1, as is the other */
	uint64_t arena_stride;
};

/* The run that begins with @first; none crosses a seam, but a block that straddles one. */
void item_run_at(const struct stage_list *s, const struct stage_caps *caps, const struct gpu_group *g, uint32_t first,
		 struct item_run *ret);

/* The same for arena offsets alone, up to @end: engine blocks may be scattered. */
void item_run_arena(const struct stage_list *s, const struct stage_caps *caps, const struct gpu_group *g,
		    uint32_t first, uint32_t end, struct item_run *ret);

/* Tokens of an item of @g. */
static inline unsigned item_tokens(const struct gpu_group *g, const struct stage_item *i)
{
	return i->nr_tokens ? i->nr_tokens : g->nr_tokens - i->token;
}

#endif
