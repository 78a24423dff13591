/* SPDX-License-Identifier: Apache-2.0 */
/*
 * shared.h - device memory made to be shared: the staging pool, in its owner and in those who read it
 *
 * One piece with a descriptor, which gpu_export_piece() hands out.  It lives as long as anybody maps it, so neither
 * side's end takes it from under the other's copies and kernels; an IPC handle would not do that.
 */
#ifndef GPU_SHARED_H
#define GPU_SHARED_H

#include <stdbool.h>
#include <stdint.h>

#include "gpu/ctx.h"
#include "gpu/export.h"

struct gpu_shared {
	const struct gpu_ctx *ctx;
	uint64_t addr, len;
	CUmemGenericAllocationHandle handle;
	bool is_readonly;		/* here */
};

/**
 * gpu_shared_create() - device memory that other processes may map by descriptor
 * @len: rounded up to the device's granularity
 * Return: 0; -EOPNOTSUPP: driver or device cannot share by descriptor; -EINVAL more than the device has; -ENOMEM; -errno.
 */
int gpu_shared_create(const struct gpu_ctx *ctx, uint64_t len, struct gpu_shared *ret);

/**
 * gpu_shared_open() - map such memory of another process, to be read
 * @ctx: of the device that will read it: where it lies, or a peer of that (gpu_device_peer())
 * @p: from gpu_export_piece(), the whole of it
 * @fd: its descriptor; stays the caller's
 * Read-only if the driver can, see .is_readonly.
 * Return: 0; -EOPNOTSUPP: no sharing by descriptor, or no path between the devices; -EINVAL it is not what @p says; -errno.
 */
int gpu_shared_open(const struct gpu_ctx *ctx, const struct gpu_piece *p, int fd, struct gpu_shared *ret);

/* Either one's end.  Mappings of others stay theirs.  Zeroed memory is let be. */
void gpu_shared_destroy(struct gpu_shared *s);

#endif
