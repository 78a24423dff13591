/* SPDX-License-Identifier: Apache-2.0 */
/* shared.c - device memory made to be shared */
#include "gpu/shared.h"

#include <errno.h>
#include <string.h>

#include "gpu/cuda_err.h"

static CUmemAllocationProp prop_of(const struct gpu_ctx *ctx)
{
	CUmemAllocationProp prop = {
		.type = CU_MEM_ALLOCATION_TYPE_PINNED,
		.requestedHandleTypes = CU_MEM_HANDLE_TYPE_POSIX_FILE_DESCRIPTOR,
		.location = { .type = CU_MEM_LOCATION_TYPE_DEVICE, .id = ctx->device.dev },
	};

	prop.allocFlags.gpuDirectRDMACapable = ctx->device.has_rdma;
	return prop;
}

static CUresult allow(const struct gpu_ctx *ctx, CUdeviceptr addr, uint64_t len, int flags)
{
	const CUmemAccessDesc access = {
		.location = { .type = CU_MEM_LOCATION_TYPE_DEVICE, .id = ctx->device.dev },
		.flags = flags,
	};

	return ctx->cu->MemSetAccess(addr, len, &access, 1);
}

/* Where the driver knows no read-only mapping it is a writable one. */
static CUresult allow_reads(const struct gpu_ctx *ctx, struct gpu_shared *s, CUdeviceptr addr)
{
	CUresult r = allow(ctx, addr, s->len, CU_MEM_ACCESS_FLAGS_PROT_READ);

	s->is_readonly = r == CUDA_SUCCESS;
	if (r == CUDA_ERROR_INVALID_VALUE || r == CUDA_ERROR_NOT_SUPPORTED)
		r = allow(ctx, addr, s->len, CU_MEM_ACCESS_FLAGS_PROT_READWRITE);
	return r;
}

static int map_shared(const struct gpu_ctx *ctx, struct gpu_shared *s, bool is_own)
{
	const struct cuda *cu = ctx->cu;
	CUdeviceptr addr;
	CUresult r;

	r = cu->MemAddressReserve(&addr, s->len, 0, 0, 0);
	if (r != CUDA_SUCCESS)
		return cuda_errno(r);
	r = cu->MemMap(addr, s->len, 0, s->handle, 0);
	if (r != CUDA_SUCCESS)
		goto err_reserve;
	r = is_own ? allow(ctx, addr, s->len, CU_MEM_ACCESS_FLAGS_PROT_READWRITE) : allow_reads(ctx, s, addr);
	if (r != CUDA_SUCCESS)
		goto err_map;
	s->addr = addr;
	return 0;
err_map:
	cu->MemUnmap(addr, s->len);
err_reserve:
	cu->MemAddressFree(addr, s->len);
	return cuda_errno(r);
}

static int make_shared(const struct gpu_ctx *ctx, uint64_t len, struct gpu_shared *s)
{
	const CUmemAllocationProp prop = prop_of(ctx);
	size_t granularity = 0;
	CUresult r;
	int ret;

	r = ctx->cu->MemGetAllocationGranularity(&granularity, &prop, CU_MEM_ALLOC_GRANULARITY_MINIMUM);
	if (r != CUDA_SUCCESS || !granularity)
		return r == CUDA_SUCCESS ? -EIO : cuda_errno(r);
	s->len = (len + granularity - 1) / granularity * granularity;
	r = ctx->cu->MemCreate(&s->handle, s->len, &prop, 0);
	if (r != CUDA_SUCCESS)
		return cuda_errno(r);
	ret = map_shared(ctx, s, true);
	if (ret < 0)
		ctx->cu->MemRelease(s->handle);
	return ret;
}

int gpu_shared_create(const struct gpu_ctx *ctx, uint64_t len, struct gpu_shared *ret)
{
	struct gpu_shared s = { .ctx = ctx };
	int err;

	if (!ctx->device.has_vmm_fd)
		return -EOPNOTSUPP;
	if (!len || len > ctx->device.bytes)
		return -EINVAL;
	err = gpu_ctx_enter(ctx);
	if (err < 0)
		return err;
	err = make_shared(ctx, len, &s);
	gpu_ctx_leave(ctx);
	if (!err)
		*ret = s;
	return err;
}

static int open_shared(const struct gpu_ctx *ctx, int fd, struct gpu_shared *s)
{
	CUresult r;
	int ret;

	r = ctx->cu->MemImportFromShareableHandle(&s->handle, (void *)(intptr_t)fd,
						  CU_MEM_HANDLE_TYPE_POSIX_FILE_DESCRIPTOR);
	if (r != CUDA_SUCCESS)
		return cuda_errno(r);
	ret = map_shared(ctx, s, false);
	if (ret < 0)
		ctx->cu->MemRelease(s->handle);
	return ret;
}

int gpu_shared_open(const struct gpu_ctx *ctx, const struct gpu_piece *p, int fd, struct gpu_shared *ret)
{
	struct gpu_shared s = { .ctx = ctx, .len = p->len };
	int err;

	if (!ctx->device.has_vmm_fd)
		return -EOPNOTSUPP;
	if (p->kind != GPU_MEM_VMM || p->pad || !p->len || p->off || p->len != p->alloc_len)
		return -EINVAL;
	err = gpu_ctx_enter(ctx);
	if (err < 0)
		return err;
	err = open_shared(ctx, fd, &s);
	gpu_ctx_leave(ctx);
	if (!err)
		*ret = s;
	return err;
}

void gpu_shared_destroy(struct gpu_shared *s)
{
	if (s->ctx && !gpu_ctx_enter(s->ctx)) {
		s->ctx->cu->MemUnmap(s->addr, s->len);
		s->ctx->cu->MemAddressFree(s->addr, s->len);
		s->ctx->cu->MemRelease(s->handle);
		gpu_ctx_leave(s->ctx);
	}
	memset(s, 0, sizeof(*s));
}
