/* SPDX-License-Identifier: Apache-2.0 */
/* ctx.c - the device's primary context, entered and left */
#include "gpu/ctx.h"

#include <assert.h>
#include <errno.h>
#include <string.h>

#include "gpu/cuda_err.h"

int gpu_ctx_open(const struct cuda *cu, const struct gpu_device *device, struct gpu_ctx *ret)
{
	CUcontext ctx;
	CUresult r;

	if (!cuda_has(cu, CUDA_F_CORE))
		return -ENODEV;
	r = cu->DevicePrimaryCtxRetain(&ctx, device->dev);
	if (r != CUDA_SUCCESS)
		return cuda_errno(r);
	*ret = (struct gpu_ctx){ .cu = cu, .device = *device, .ctx = ctx };
	return 0;
}

void gpu_ctx_close(struct gpu_ctx *c)
{
	if (c->ctx)
		c->cu->DevicePrimaryCtxRelease(c->device.dev);
	memset(c, 0, sizeof(*c));
}

int gpu_ctx_enter(const struct gpu_ctx *c)
{
	return cuda_errno(c->cu->CtxPushCurrent(c->ctx));
}

void gpu_ctx_leave(const struct gpu_ctx *c)
{
	CUcontext was = NULL;

	/* A driver that is shutting down keeps no stack: nothing to restore then. */
	if (c->cu->CtxPopCurrent(&was) == CUDA_SUCCESS)
		assert(was == c->ctx);
}
