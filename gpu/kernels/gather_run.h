/* SPDX-License-Identifier: Apache-2.0 */
/*
 * gather_run.h - what one thread of GATHER does; the same text for the device and for its twin
 *
 * One warp moves one run, and all loads of a round are issued before the first store: over the link it is bytes in
 * flight that count.
 */
#ifndef GPU_KERNELS_GATHER_RUN_H
#define GPU_KERNELS_GATHER_RUN_H

#include "gpu/kern_args.h"
#include "gpu/kernels/vector.h"

#define GATHER_LANES 32u
#define GATHER_ROUND 4u			/* vectors a lane has in flight */

/* The widest vector that addresses and length are multiples of. */
KERNEL_INLINE uint32_t gather_shift(uint64_t bits)
{
	if (!(bits & 15))
		return 4;
	if (!(bits & 3))
		return 2;
	return 0;
}

KERNEL_INLINE void gather_wide(uint64_t dst, uint64_t src, uint32_t nr_vecs, uint32_t lane)
{
	vector16 held[GATHER_ROUND];
	uint32_t base, i;

	for (base = lane; base + (GATHER_ROUND - 1) * GATHER_LANES < nr_vecs; base += GATHER_ROUND * GATHER_LANES) {
		KERNEL_UNROLL
		for (i = 0; i < GATHER_ROUND; i++)
			held[i] = GLOBAL_PTR(const vector16, src)[base + i * GATHER_LANES];
		KERNEL_UNROLL
		for (i = 0; i < GATHER_ROUND; i++)
			GLOBAL_PTR(vector16, dst)[base + i * GATHER_LANES] = held[i];
	}
	for (; base < nr_vecs; base += GATHER_LANES)
		GLOBAL_PTR(vector16, dst)[base] = GLOBAL_PTR(const vector16, src)[base];
}

/* Thread @thread of @nr_threads in all. */
KERNEL_INLINE void gather_thread(const struct gpu_gather_args *a, uint32_t thread, uint32_t nr_threads)
{
	const uint32_t lane = thread % GATHER_LANES, nr_warps = nr_threads / GATHER_LANES;
	uint32_t i, shift, vec;

	for (i = thread / GATHER_LANES; i < a->nr_runs; i += nr_warps) {
		const uint64_t src = a->arena + GLOBAL_PTR(const struct gpu_gather_run, a->runs)[i].arena;
		const uint64_t dst = a->dst + GLOBAL_PTR(const struct gpu_gather_run, a->runs)[i].dst;
		const uint32_t len = GLOBAL_PTR(const struct gpu_gather_run, a->runs)[i].len;

		shift = gather_shift(src | dst | len);
		if (shift == 4) {
			gather_wide(dst, src, len >> 4, lane);
			continue;
		}
		for (vec = lane; vec < len >> shift; vec += GATHER_LANES)
			vector_copy(dst + ((uint64_t)vec << shift), src + ((uint64_t)vec << shift), shift);
	}
}

#endif
