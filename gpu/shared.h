/* SPDX-License-Identifier: Apache-2.0 */
/*
 * shared.h - device memory made to be shared: the staging pool
 *
 * One piece with a descriptor, which gpu_export_piece() hands out.
 */
#ifndef GPU_SHARED_H
#define GPU_SHARED_H

#include <stdint.h>

#include "gpu/ctx.h"

struct gpu_shared {			/* see gpu_shared_create() */
	const struct gpu_ctx *ctx;
	uint64_t addr, len;
	CUmemGenericAllocationHandle handle;
};

/**
 * gpu_shared_create() - device memory that other processes may map by descriptor
 * @len: rounded up to the device's granularity
 */
int gpu_shared_create(const struct gpu_ctx *ctx, uint64_t len, struct gpu_shared *ret);

/* Mappings of others stay theirs.  Zeroed memory is let be. */
void gpu_shared_destroy(struct gpu_shared *s);

#endif
