/* SPDX-License-Identifier: Apache-2.0 */
/*
 * gather.h - scattered pieces of a cached prefix into one packed buffer
 *
 * Sparse attention wants {layer, head, token range} by the ten thousand, a few hundred bytes each: far too small
 * for copy-engine calls.  The pieces are turned into runs of bytes by gather_plan(), and these are moved by one
 * kernel over the mapped arena, or by the CPU.  Pieces that the client still holds are left out and move nothing.
 */
#ifndef GPU_GATHER_H
#define GPU_GATHER_H

#include <stddef.h>
#include <stdint.h>

#include "gpu/kern_args.h"
#include "gpu/layout.h"

#define GATHER_HELD UINT64_MAX		/* of ret_at[]: not moved */
#define GATHER_RUN_MAX 16384u		/* bytes: longer runs would leave one warp alone at the end */

/*
 * A chain of blocks: token t lies in block t / nr_tokens of the group, of which the arena's strides count and the
 * device's do not.  A block's place is an offset, or an address of this process where the arena is at 0.
 */
struct gather_source {
	const struct gpu_group *group;
	uint32_t nr_layers;		/* of the group */
	uint32_t nr_blocks;
	uint64_t nr_tokens;		/* of the chain, at most all that its blocks have room for */
	const uint64_t *blocks;		/* places, pinned by the caller */
	uint32_t block_step;		/* words from one to the next */
	uint64_t span;			/* bytes of the arena; a block beyond it is refused */
};

struct gather_piece {
	uint32_t id;			/* the client's own name of it, for the list of what it holds */
	uint32_t token, nr_tokens;	/* of the chain; may cross blocks */
	uint16_t layer;			/* of the group */
	uint16_t head;
	uint16_t part;			/* 0 K or latent, 1 V */
	uint16_t resv;			/* 0 */
};

/* Bit id set: the client holds that piece. */
struct gather_held {
	const uint64_t *bits;
	uint32_t nr_bits;		/* ids beyond are not held */
};

struct gather_plan {
	struct gpu_gather_run *runs;	/* the caller's */
	uint32_t max_runs;
	/* written by gather_plan_make(), on success only */
	uint32_t nr_runs;
	uint32_t nr_held;		/* pieces left out */
	uint64_t len;			/* bytes of the packed destination */
};

/**
 * gather_plan_make() - pieces into runs, in the order of the list, packed without gaps
 * @held: may be NULL
 * @ret_at: offset of each piece in the destination, or GATHER_HELD; may be NULL; of no meaning after a failure
 * A piece whose tokens lie side by side in the arena is one run for each block it touches, else one a token; runs
 * that meet in the arena are joined, up to GATHER_RUN_MAX.
 * Return: 0, -EINVAL: a piece or block out of range, -ENOSPC: @p is too small, -E2BIG: 4 GiB and more.
 */
int gather_plan_make(const struct gather_source *s, const struct gather_piece *pieces, uint32_t nr_pieces,
		     const struct gather_held *held, struct gather_plan *p, uint64_t *ret_at);

/**
 * gather_copy() - the same without a table: straight into @dst, by the CPU
 * @arena: address that places count from; @dst: of @dst_len bytes, of no meaning after a failure
 * @ret_len: bytes that were packed
 * Return: number of pieces moved, -EINVAL as above, -ENOSPC: @dst_len is too small.
 */
int64_t gather_copy(const struct gather_source *s, const struct gather_piece *pieces, uint32_t nr_pieces,
		    const struct gather_held *held, const void *arena, void *dst, uint64_t dst_len, uint64_t *ret_at,
		    uint64_t *ret_len);

/**
 * gather_cpu() - move the runs of a plan by the CPU
 * @arena: address of offset 0; @dst: at least p->len bytes
 */
void gather_cpu(const struct gather_plan *p, const void *arena, void *dst);

/**
 * gather_args() - the same as arguments of GPU_KERNEL_GATHER
 * @arena_dev, @dst_dev, @runs_dev: device addresses of the mapped arena, of the destination and of p->runs
 * @ret_ctas, @ret_threads: size of the launch
 */
void gather_args(const struct gather_plan *p, uint64_t arena_dev, uint64_t dst_dev, uint64_t runs_dev,
		 struct gpu_gather_args *ret_args, uint32_t *ret_ctas, uint32_t *ret_threads);

#endif
