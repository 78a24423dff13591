/* SPDX-License-Identifier: Apache-2.0 */
/* export.c - device memory offered to another process: the owner's half */
#include "gpu/export.h"

#include <errno.h>
#include <string.h>
#include <unistd.h>

#include "gpu/cuda_err.h"
#include "kvshm/base/compiler.h"

/* Memory of the virtual memory interface answers, other memory does not. */
static int export_vmm(const struct gpu_ctx *ctx, uint64_t alloc, int *ret_fd)
{
	const struct cuda *cu = ctx->cu;
	CUmemGenericAllocationHandle handle;
	int fd = -1;
	CUresult r;

	if (!cuda_has(cu, CUDA_F_VMM))
		return -EOPNOTSUPP;
	r = cu->MemRetainAllocationHandle(&handle, (void *)(uintptr_t)alloc);
	if (r == CUDA_ERROR_INVALID_VALUE)
		return -ENOENT;
	if (r != CUDA_SUCCESS)
		return cuda_errno(r);
	r = cu->MemExportToShareableHandle(&fd, handle, CU_MEM_HANDLE_TYPE_POSIX_FILE_DESCRIPTOR, 0);
	cu->MemRelease(handle);
	/* made without a handle type: nothing can be done about it here */
	if (r == CUDA_ERROR_INVALID_VALUE || r == CUDA_ERROR_NOT_SUPPORTED)
		return -EOPNOTSUPP;
	if (r != CUDA_SUCCESS)
		return cuda_errno(r);
	*ret_fd = fd;
	return 0;
}

static int export_ipc(const struct gpu_ctx *ctx, uint64_t alloc, struct gpu_piece *p)
{
	CUipcMemHandle handle;
	CUresult r;

	if (!cuda_has(ctx->cu, CUDA_F_IPC))
		return -EOPNOTSUPP;
	r = ctx->cu->IpcGetMemHandle(&handle, alloc);
	/* a stream-ordered pool's, or of a kind that has no handle */
	if (r == CUDA_ERROR_INVALID_VALUE || r == CUDA_ERROR_NOT_SUPPORTED)
		return -EOPNOTSUPP;
	if (r != CUDA_SUCCESS)
		return cuda_errno(r);
	memcpy(p->handle, &handle, sizeof(p->handle));
	return 0;
}

static int describe(const struct gpu_ctx *ctx, uint64_t addr, uint64_t len, struct gpu_piece *p, int *fd)
{
	CUdeviceptr base;
	size_t size;
	int ret;

	ret = cuda_errno(ctx->cu->MemGetAddressRange(&base, &size, addr));
	if (ret < 0)
		return ret;
	if (addr < base || addr - base >= size)
		return -EIO;
	memcpy(p->uuid, &ctx->device.uuid, sizeof(p->uuid));
	p->alloc = base;
	p->alloc_len = size;
	p->off = addr - base;
	p->len = min_of(len, size - p->off);
	ret = export_vmm(ctx, base, fd);
	if (!ret) {
		p->kind = GPU_MEM_VMM;
		return 0;
	}
	if (ret != -ENOENT && cuda_has(ctx->cu, CUDA_F_VMM))
		return ret;
	p->kind = GPU_MEM_IPC;
	return export_ipc(ctx, base, p);
}

int gpu_export_piece(const struct gpu_ctx *ctx, uint64_t addr, uint64_t len, struct gpu_piece *ret, int *ret_fd)
{
	struct gpu_piece p = { 0 };
	int fd = -1, err;

	if (!len || addr + len < addr)
		return -EINVAL;
	err = gpu_ctx_enter(ctx);
	if (err < 0)
		return err;
	err = describe(ctx, addr, len, &p, &fd);
	gpu_ctx_leave(ctx);
	if (err < 0)
		return err;
	*ret = p;
	*ret_fd = fd;
	return 0;
}

int gpu_export_dmabuf(const struct gpu_ctx *ctx, uint64_t addr, uint64_t len)
{
	uint64_t page = (uint64_t)sysconf(_SC_PAGESIZE);
	int fd = -1, ret;

	if (!ctx->device.has_dmabuf)
		return -EOPNOTSUPP;
	if (!len || addr % page || len % page)
		return -EINVAL;
	ret = gpu_ctx_enter(ctx);
	if (ret < 0)
		return ret;
	ret = cuda_errno(ctx->cu->MemGetHandleForAddressRange(&fd, addr, len, CU_MEM_RANGE_HANDLE_TYPE_DMA_BUF_FD, 0));
	gpu_ctx_leave(ctx);
	return ret < 0 ? ret : fd;
}
