/* SPDX-License-Identifier: Apache-2.0 */
/*
 * kern_args.h - what host and kernels agree on: names, argument blocks, tables
 *
 * Each kernel takes one argument block by value.  Addresses are plain numbers: device addresses in a launch,
 * addresses of this process for the twins.  Included by device code too: no other header of ours here.
 */
#ifndef GPU_KERN_ARGS_H
#define GPU_KERN_ARGS_H

#include <stdint.h>

#ifdef __cplusplus
#define KERN_ASSERT static_assert
#else
#define KERN_ASSERT _Static_assert
#endif

/* Names: kern_names[] of kern_text.h. */
enum gpu_kernel { GPU_KERNEL_SCATTER, GPU_KERNEL_COLLECT, GPU_KERNEL_GATHER, GPU_NR_KERNELS };

/* One layer's K or V. */
struct gpu_plane {
	uint64_t dev;			/* address of block 0 */
	uint64_t packed;		/* offset inside a packed block */
};

/*
 * SCATTER: packed blocks to the engine's; COLLECT: the reverse.  Inside a plane a block is nr_outer x nr_inner
 * runs.  One group of threads moves one plane of one block.
 */
struct gpu_spread_args {
	uint64_t packed;		/* address that packed offsets count from */
	uint64_t offsets;		/* uint64_t[nr_blocks]: of each block; 0: block i lies at i * packed_stride */
	uint64_t packed_stride;
	uint64_t blocks;		/* uint32_t[nr_blocks]: engine block ids */
	uint64_t block_stride;
	uint64_t planes;		/* struct gpu_plane[nr_planes] */
	uint64_t dev_shift;		/* from a plane's block to its first run */
	uint64_t outer_dev, outer_packed;	/* strides */
	uint64_t inner_dev, inner_packed;
	uint32_t nr_blocks, nr_planes;
	uint32_t nr_outer, nr_inner;
	uint32_t run_vecs;		/* vectors in a run */
	uint32_t vec_shift;		/* a vector is 1 << vec_shift bytes, at most 16, and all above are multiples of it */
};
KERN_ASSERT(sizeof(struct gpu_spread_args) == 112, "device code sees the same block");

struct gpu_gather_run {
	uint64_t arena;			/* offset */
	uint32_t dst;			/* offset in the packed destination */
	uint32_t len;
};
KERN_ASSERT(sizeof(struct gpu_gather_run) == 16, "one vector load");

/* One warp moves one run. */
struct gpu_gather_args {
	uint64_t arena, dst, runs;	/* addresses; runs: struct gpu_gather_run[nr_runs] */
	uint32_t nr_runs;
	uint32_t resv;
};
KERN_ASSERT(sizeof(struct gpu_gather_args) == 32, "device code sees the same block");

#endif
