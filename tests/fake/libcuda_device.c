/* SPDX-License-Identifier: Apache-2.0 */
/* libcuda_device.c - the fake driver's devices, and the contexts of threads */
#include "tests/fake/fake.h"

#include <stdio.h>
#include <string.h>

#define CTX_DEPTH 32

struct CUctx_st {
	int dev;
	unsigned retained;
};

static struct CUctx_st ctxs[FAKE_DEVICES];
static __thread CUcontext ctx_stack[CTX_DEPTH];
static __thread int ctx_depth;

FAKE_CALL(DeviceGetCount, (int *count), (count))
{
	*count = fake_conf.devices;
	return CUDA_SUCCESS;
}

bool fake_is_device(CUdevice d)
{
	return d >= 0 && d < fake_conf.devices;
}

FAKE_CALL(DeviceGet, (CUdevice *device, int ordinal), (device, ordinal))
{
	if (!fake_is_device(ordinal))
		return CUDA_ERROR_INVALID_DEVICE;
	*device = ordinal;
	return CUDA_SUCCESS;
}

FAKE_CALL(DeviceGetName, (char *name, int len, CUdevice device), (name, len, device))
{
	if (!fake_is_device(device))
		return CUDA_ERROR_INVALID_DEVICE;
	snprintf(name, (size_t)len, "fake device %d", device);
	return CUDA_SUCCESS;
}

FAKE_CALL(DeviceGetUuid, (CUuuid *uuid, CUdevice device), (uuid, device))
{
	if (!fake_is_device(device))
		return CUDA_ERROR_INVALID_DEVICE;
	memset(uuid, 0xfa, sizeof(*uuid));
	uuid->bytes[15] = (unsigned char)device;
	return CUDA_SUCCESS;
}

FAKE_CALL(DeviceTotalMem, (size_t *bytes, CUdevice device), (bytes, device))
{
	*bytes = 80ull << 30;
	return fake_is_device(device) ? CUDA_SUCCESS : CUDA_ERROR_INVALID_DEVICE;
}

FAKE_CALL(DeviceGetAttribute, (int *value, int attribute, CUdevice device), (value, attribute, device))
{
	if (!fake_is_device(device))
		return CUDA_ERROR_INVALID_DEVICE;
	*value = fake_attribute(attribute, device);
	return CUDA_SUCCESS;
}

FAKE_CALL(DevicePrimaryCtxRetain, (CUcontext *ctx, CUdevice device), (ctx, device))
{
	if (!fake_is_device(device))
		return CUDA_ERROR_INVALID_DEVICE;
	if (fake_sticky[device])
		return fake_sticky[device];
	ctxs[device].dev = device;
	ctxs[device].retained++;
	*ctx = &ctxs[device];
	return CUDA_SUCCESS;
}

FAKE_CALL(DevicePrimaryCtxRelease, (CUdevice device), (device))
{
	if (!fake_is_device(device) || !ctxs[device].retained)
		return CUDA_ERROR_INVALID_CONTEXT;
	ctxs[device].retained--;
	return CUDA_SUCCESS;
}

int fake_current(void)
{
	return ctx_depth && ctx_stack[ctx_depth - 1] ? ctx_stack[ctx_depth - 1]->dev : -1;
}

int fake_ctx_device(CUcontext ctx)
{
	return ctx && ctx->retained ? ctx->dev : -1;
}

FAKE_CALL(CtxPushCurrent, (CUcontext ctx), (ctx))
{
	if (!ctx || !ctx->retained || ctx_depth == CTX_DEPTH)
		return CUDA_ERROR_INVALID_CONTEXT;
	ctx_stack[ctx_depth++] = ctx;
	return CUDA_SUCCESS;
}

FAKE_CALL(CtxPopCurrent, (CUcontext *ctx), (ctx))
{
	if (!ctx_depth)
		return CUDA_ERROR_INVALID_CONTEXT;
	*ctx = ctx_stack[--ctx_depth];
	return CUDA_SUCCESS;
}

FAKE_CALL(CtxGetCurrent, (CUcontext *ctx), (ctx))
{
	*ctx = ctx_depth ? ctx_stack[ctx_depth - 1] : NULL;
	return CUDA_SUCCESS;
}
