/* SPDX-License-Identifier: Apache-2.0 */
/*
 * layout.h - where an engine keeps its KV on the device, as strides
 *
 * An engine block is a box of layers x {K, V} x heads x tokens, each point of it a run of bytes.  What engines
 * call HND, NHD, LBHNC, BLHNC, paged MLA or a layer tensor of its own differs only in strides, so strides are
 * all that is known here: they are read from the tensors, never assumed.  The arena's block is a box of the
 * same points with strides of its own; where both orders agree, points melt together into long runs
 * (stage_plan.h).
 *
 * Layers with equal geometry and one block table form a group: full attention, sliding window, a recurrent
 * state, an indexer beside a latent.  Groups may share device memory (engines hand the same pages to one group
 * or another), so overlap is looked for inside a group only.
 *
 * Plain data of one thread, no pointers: it may be sent to another process, which checks it again.
 */
#ifndef GPU_LAYOUT_H
#define GPU_LAYOUT_H

#include <stddef.h>
#include <stdint.h>

#define GPU_GROUPS_MAX 8u
#define GPU_LAYERS_MAX 256u
#define GPU_TOKENS_MAX 65535u
#define GPU_PARTS_MAX 2u

struct gpu_group {
	uint32_t nr_blocks;		/* engine block ids are 0 .. nr_blocks - 1 */
	uint32_t nr_tokens;		/* of an engine block, at most GPU_TOKENS_MAX */
	uint32_t nr_heads;		/* KV heads of this rank; 1 for a latent or a state */
	uint32_t nr_parts;		/* 2: K and V apart; 1: a latent, a state, or K and V side by side in a run */
	uint64_t run_len;		/* bytes of one token of one head, contiguous on both sides */
	/* device: bytes between neighbours */
	uint64_t block_stride, head_stride, token_stride;
	/* arena: bytes between neighbours, from the start of a block; all 0: gpu_layout_pack() */
	uint64_t arena_layer_stride, arena_part_stride, arena_head_stride, arena_token_stride;
	uint64_t arena_len;		/* bytes of an arena block */
};

struct gpu_layer {
	uint64_t dev[GPU_PARTS_MAX];	/* device address of block 0, head 0, token 0 of K and of V */
	uint32_t group;
	uint32_t at;			/* which layer of its group: set by gpu_layout_check() */
};

struct gpu_layout {
	uint32_t nr_groups, nr_layers;
	struct gpu_group group[GPU_GROUPS_MAX];
	struct gpu_layer layer[GPU_LAYERS_MAX];	/* in the model's order, groups mixed */
};

/* What is wrong with a layout, for a message. */
struct gpu_layout_fault {
	const char *why;		/* constant, never NULL after a failure */
	uint32_t group, layer;		/* the one looked at; UINT32_MAX: none in particular */
	uint64_t value;			/* the offending number */
};

/* A piece of device memory that may be touched. */
struct gpu_range {
	uint64_t base, len;
};

/**
 * gpu_layout_pack() - fill in the arena's strides that are all zero: packed, layers outermost, then parts, then heads
 * and tokens in the order that the device has them, so that a dense plane of the device is one run in the arena
 * A group with any arena stride set is left alone; arena_len is set where it is 0.
 * Sums that overflow saturate: gpu_layout_check() refuses them.
 */
void gpu_layout_pack(struct gpu_layout *l);

/**
 * gpu_layout_check() - refuse what cannot be a layout, number the layers of each group
 * @l: any bytes; only layer[].at is written, and only on success
 * @ret_fault: may be NULL; set on failure only
 * Sizes in range; no dimension smaller than what lies inside it, so that no byte belongs to two points, on the
 * device (blocks, heads, tokens; and exactly, planes of a group against each other) or in the arena; no address
 * wraps; all of a block inside arena_len.
 * Return: 0, -EINVAL.
 */
int gpu_layout_check(struct gpu_layout *l, struct gpu_layout_fault *ret_fault);

/**
 * gpu_layout_within() - is all that a checked layout names inside some of these ranges
 * For a process that imports another's buffers.  Planes of one group may lie in different ranges.
 * Return: 0, -EFAULT with @ret_fault (may be NULL) naming the layer.
 */
int gpu_layout_within(const struct gpu_layout *l, const struct gpu_range *ranges, unsigned nr_ranges,
		      struct gpu_layout_fault *ret_fault);

/**
 * gpu_group_reach() - bytes from the start of an arena block to behind its last byte
 * @g: any bytes; the arena's strides and the counts are looked at
 * Return: 0, -EINVAL: a count out of range, -EOVERFLOW.
 */
int gpu_group_reach(const struct gpu_group *g, uint32_t nr_layers, uint64_t *ret_reach);

/* Payload bytes of one engine block: all layers and parts of @group of a checked layout. */
uint64_t gpu_layout_block_bytes(const struct gpu_layout *l, unsigned group);

/* Layers of a group of a checked layout. */
unsigned gpu_layout_group_layers(const struct gpu_layout *l, unsigned group);

#endif
