/* SPDX-License-Identifier: Apache-2.0 */
/*
 * spread.h - what one thread of SCATTER and COLLECT does; the same text for the device and for its twin
 *
 * A group of threads has one plane of one block.  Its vectors are numbered run by run, so that neighbouring
 * threads touch neighbouring addresses; 32-bit divisions only.
 */
#ifndef GPU_KERNELS_SPREAD_H
#define GPU_KERNELS_SPREAD_H

#include "gpu/kern_args.h"
#include "gpu/kernels/vector.h"

/* The addresses of one vector of a plane, counted from the plane's two bases. */
struct spread_place {
	uint64_t dev, packed;
};

KERNEL_INLINE struct spread_place spread_place_of(const struct gpu_spread_args *a, uint32_t vec)
{
	const uint32_t row = vec / a->run_vecs, column = vec - row * a->run_vecs;
	const uint32_t outer = row / a->nr_inner, inner = row - outer * a->nr_inner;
	const uint64_t bytes = (uint64_t)column << a->vec_shift;
	struct spread_place p;

	p.dev = outer * a->outer_dev + inner * a->inner_dev + bytes;
	p.packed = outer * a->outer_packed + inner * a->inner_packed + bytes;
	return p;
}

/* Thread @thread of @nr_threads in group @cta; @is_scatter: packed to dev, else the reverse. */
KERNEL_INLINE void spread_thread(const struct gpu_spread_args *a, uint32_t cta, uint32_t thread, uint32_t nr_threads,
				 bool is_scatter)
{
	const uint32_t block = cta / a->nr_planes, plane = cta - block * a->nr_planes;
	const uint64_t plane_dev = GLOBAL_PTR(const struct gpu_plane, a->planes)[plane].dev;
	const uint64_t plane_packed = GLOBAL_PTR(const struct gpu_plane, a->planes)[plane].packed;
	const uint32_t id = GLOBAL_PTR(const uint32_t, a->blocks)[block];
	const uint64_t offset = a->offsets ? GLOBAL_PTR(const uint64_t, a->offsets)[block] :
					     block * a->packed_stride;
	const uint64_t dev = plane_dev + a->dev_shift + id * a->block_stride;
	const uint64_t packed = a->packed + offset + plane_packed;
	const uint32_t nr_vecs = a->nr_outer * a->nr_inner * a->run_vecs;
	uint32_t vec;

	for (vec = thread; vec < nr_vecs; vec += nr_threads) {
		const struct spread_place p = spread_place_of(a, vec);

		if (is_scatter)
			vector_copy(dev + p.dev, packed + p.packed, a->vec_shift);
		else
			vector_copy(packed + p.packed, dev + p.dev, a->vec_shift);
	}
}

#endif
