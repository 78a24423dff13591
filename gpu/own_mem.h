/* SPDX-License-Identifier: Apache-2.0 */
/* own_mem.h - memory of our own for copies: on the device, and pinned on the host */
#ifndef GPU_OWN_MEM_H
#define GPU_OWN_MEM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "gpu/ctx.h"

struct hostreg;

/* Device memory.  Return: 0, -ENOMEM, -errno of the driver. */
int own_device_alloc(const struct gpu_ctx *ctx, uint64_t len, uint64_t *ret_addr);

/* Nothing on any stream uses it.  0 is let be. */
void own_device_free(const struct gpu_ctx *ctx, uint64_t addr);

struct own_pinned {
	char *base;
	size_t len;
	struct hostreg *reg;
	bool is_pinned;			/* else the driver refused: copies work at its own pace, kernels do not reach it */
};

/**
 * own_pinned_create() - whole pages, pinned for every context; a forked child has none of them
 * Return: 0, -ENOMEM: nothing is held.
 */
int own_pinned_create(const struct gpu_ctx *ctx, size_t len, struct own_pinned *ret);

/* Nothing is under way; what a driver that hangs has pinned is left behind.  Zeroed memory is let be. */
void own_pinned_destroy(struct own_pinned *p);

#endif
