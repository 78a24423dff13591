/* SPDX-License-Identifier: Apache-2.0 */
/*
 * stage_plan.h - the fewest copies between blocks of the arena and an engine's paged KV
 *
 * A pure function: layout, list of {arena offset, engine block}, direction and costs in, copies out.  No device,
 * no clock, no allocation; all output goes to arrays of the caller's.  Any input gives a plan or an error.
 *
 * The request is cut into steps of layers_per_step layers, in the model's order.  After the last operation of a
 * step an event may be recorded: those layers are then complete for all blocks.  One layer a step lets compute
 * overlap with the load; all layers in one step give the fewest copies.
 *
 * Inside a step, neighbours in the list whose arena offsets and engine blocks both ascend by constant distances
 * are one run, and each run is a box of {block, layer, part, head, token} x bytes.  Dimensions that are dense on
 * both sides melt together.  What is left is moved in the way that costs least for the whole request:
 *
 *   STAGE_WAY_COPY    a copy, or a rectangle (cuMemcpy2DAsync) over the longest dimension, each
 *   STAGE_WAY_BATCH   all linear, handed over with one cuMemcpyBatchAsync a step
 *   STAGE_WAY_LAND    blocks land in device memory as they lie in the arena, one copy a block or a run of blocks,
 *                     and one kernel spreads them (H2D); the reverse for D2H
 *   STAGE_WAY_DIRECT  one kernel a step that reads or writes the mapped arena itself: no copy at all
 *
 * All operations of a plan go to one stream, in order: landing space is used again without waiting.
 */
#ifndef GPU_STAGE_PLAN_H
#define GPU_STAGE_PLAN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "gpu/kern_args.h"
#include "gpu/layout.h"
#include "gpu/stage_cost.h"

enum stage_dir { STAGE_H2D, STAGE_D2H };

enum stage_way { STAGE_WAY_COPY, STAGE_WAY_BATCH, STAGE_WAY_LAND, STAGE_WAY_DIRECT, STAGE_NR_WAYS };

#define STAGE_MAY(way) (1u << (way))
#define STAGE_MAY_ALL ((1u << STAGE_NR_WAYS) - 1)
#define STAGE_DIRECT_PRICE 1.1		/* of the time of STAGE_WAY_DIRECT, for the multiprocessors that it holds */

/* One engine block and its place in the arena. */
struct stage_item {
	uint64_t arena;			/* offset of the block, or of this engine block's share of it */
	uint32_t block;			/* engine block id */
	uint16_t token, nr_tokens;	/* part of it; nr_tokens 0: from @token to the end */
};
_Static_assert(sizeof(struct stage_item) == 16, "an item is copied by the thousand");

struct stage_list {
	const struct stage_item *items;	/* in chain order: only neighbours are merged */
	uint32_t nr;
};

struct stage_request {
	enum stage_dir dir;
	uint32_t first_layer, nr_layers;	/* of the model; nr_layers 0: to the last */
	uint32_t layers_per_step;		/* 0: all in one step */
	struct stage_list list[GPU_GROUPS_MAX];	/* one a group; empty: nothing of that group */
};

/* What may be used, and where it lies. */
struct stage_caps {
	uint32_t ways;			/* STAGE_MAY() of each; 0: STAGE_WAY_COPY alone */
	bool has_2d;			/* rectangles may be used */
	uint64_t max_pitch;		/* of cuMemcpy2DAsync; 0: 2^31 - 1 */
	uint64_t landing, landing_len;	/* device memory for STAGE_WAY_LAND; 16-byte aligned */
	uint64_t arena_dev;		/* device address of the mapped arena's offset 0, for STAGE_WAY_DIRECT */
	uint64_t arena_span;		/* bytes of the arena; an item beyond it is refused */
	const uint64_t *seams;		/* ascending offsets that no copy crosses: where extents were registered apart */
	uint32_t nr_seams;
	uint64_t table_dev;		/* device address of stage_plan.table, for both kernel ways */
};

enum stage_op_kind {
	STAGE_OP_COPY,			/* len bytes; with STAGE_WAY_BATCH all of a step in one call */
	STAGE_OP_RECT,			/* rows of len bytes */
	STAGE_OP_KERNEL,		/* launches[launch] */
};

struct stage_op {
	uint64_t arena, dev;		/* arena offset; device address (of the landing space too) */
	uint64_t len;			/* bytes of a row */
	uint64_t arena_pitch, dev_pitch;	/* bytes from row to row; RECT only */
	uint32_t kind;			/* enum stage_op_kind */
	union {
		uint32_t rows;		/* COPY: 1 */
		uint32_t launch;	/* KERNEL: index of its launch; its other fields are 0 */
	};
};
_Static_assert(sizeof(struct stage_op) == 48, "an operation is written by the thousand");

/* A kernel with its argument block, ready for kmod_launch(). */
struct stage_launch {
	uint32_t kernel;		/* enum gpu_kernel */
	uint32_t nr_ctas, nr_threads;
	struct gpu_spread_args args;
};

struct stage_step {
	uint32_t first_layer, nr_layers;
	uint32_t first_op, nr_ops;
	uint64_t bytes;			/* payload of the step */
	enum stage_way way;
};

struct stage_plan {
	/* the caller's: where to write, and how much fits */
	struct stage_op *ops;
	struct stage_launch *launches;	/* may be NULL with 0: no kernel way is chosen */
	struct stage_step *steps;
	uint32_t *table;		/* may be NULL with 0; device-readable as caps.table_dev, 8-byte aligned */
	uint32_t max_ops, max_launches, max_steps;
	uint32_t max_table;		/* words */

	/* written by stage_plan_make() and stage_plan_add(), on success only */
	uint32_t nr_ops, nr_launches, nr_steps, nr_table;
	enum stage_way way;		/* of the part that was written last */
	uint64_t bytes;			/* payload */
	uint32_t nr_copies;		/* operations that are no kernel */
	double cost_ns;			/* what the model expects */
	double way_ns[STAGE_NR_WAYS];	/* and of each that was allowed and possible; else infinite.  Not all are priced alike */
};

/**
 * stage_plan_size() - how much the plan of a chain may need, for arrays made once
 * @nr_items: blocks of all groups together; the first and the last of a group may be partial
 * @ret_plan: max_ops, max_launches, max_steps, max_table are set, nothing else
 * Enough for each way that @caps allows, with the list scattered at will, planned in one go or in two parts.
 * Return: 0, -EOVERFLOW: past 2^32.
 */
int stage_plan_size(const struct gpu_layout *l, const struct stage_caps *caps, uint32_t nr_items,
		    uint32_t layers_per_step, struct stage_plan *ret_plan);

/**
 * stage_plan_make() - choose a way and write it down
 * @l: checked by gpu_layout_check(); @cost: NULL for stage_cost_default
 * @p: the caller's arrays; what is written is valid until they are used again
 * Ways for which landing space, a device address or room in an array is missing are passed over, so arrays that are
 * smaller than stage_plan_size() says only narrow the choice.
 * Return: 0, -EINVAL: a block id, token range, layer, arena offset or cost out of range, -EOPNOTSUPP: no allowed way
 * can do it, -ENOSPC: one could, with larger arrays.
 */
int stage_plan_make(const struct gpu_layout *l, const struct stage_request *req, const struct stage_caps *caps,
		    const struct stage_cost *cost, struct stage_plan *p);

/**
 * stage_plan_add() - the same behind what the plan has, which stays as it is
 * @req: the layers behind those of the plan; they may go another way
 * So the first layers can be on their way before the others are thought of: what one part takes does not depend on how
 * many layers the other has.
 * Return: as stage_plan_make().
 */
int stage_plan_add(const struct gpu_layout *l, const struct stage_request *req, const struct stage_caps *caps,
		   const struct stage_cost *cost, struct stage_plan *p);

#endif
