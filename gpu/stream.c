/* SPDX-License-Identifier: Apache-2.0 */
/* stream.c - a stream of our own, and what goes onto it */
#include "gpu/stream.h"

#include <errno.h>
#include <string.h>

#include "gpu/cuda_err.h"
#include "gpu/dma_order.h"
#include "gpu/poll.h"

int gpu_stream_open(const struct gpu_ctx *ctx, bool urgent, struct gpu_stream *ret)
{
	int least = 0, greatest = 0, err = gpu_ctx_enter(ctx);
	CUstream stream;
	CUresult r;

	if (err < 0)
		return err;
	if (ctx->cu->CtxGetStreamPriorityRange(&least, &greatest) != CUDA_SUCCESS)
		least = greatest = 0;
	r = ctx->cu->StreamCreateWithPriority(&stream, CU_STREAM_NON_BLOCKING, urgent ? greatest : least);
	gpu_ctx_leave(ctx);
	if (r != CUDA_SUCCESS)
		return cuda_errno(r);
	*ret = (struct gpu_stream){ .ctx = ctx, .stream = stream };
	return 0;
}

void gpu_stream_close(struct gpu_stream *s)
{
	if (s->ctx && !gpu_ctx_enter(s->ctx)) {
		s->ctx->cu->StreamDestroy(s->stream);
		gpu_ctx_leave(s->ctx);
	}
	memset(s, 0, sizeof(*s));
}

static CUresult copy(const struct cuda *cu, enum gpu_dir dir, const struct gpu_copy *c, CUstream stream)
{
	switch (dir) {
	case GPU_H2D:
		dma_host_writes_visible();
		return cu->MemcpyHtoDAsync(c->dst, (const void *)(uintptr_t)c->src, c->len, stream);
	case GPU_D2H:
		return cu->MemcpyDtoHAsync((void *)(uintptr_t)c->dst, c->src, c->len, stream);
	case GPU_D2D:
		return cu->MemcpyDtoDAsync(c->dst, c->src, c->len, stream);
	}
	return CUDA_ERROR_INVALID_VALUE;
}

int gpu_stream_copy(struct gpu_stream *s, enum gpu_dir dir, const struct gpu_copy *c)
{
	int ret = gpu_ctx_enter(s->ctx);

	if (ret < 0)
		return ret;
	ret = cuda_errno(copy(s->ctx->cu, dir, c, s->stream));
	gpu_ctx_leave(s->ctx);
	return ret;
}

static void end_of_2d(bool is_host, uint64_t addr, unsigned *type, void **ret_host, CUdeviceptr *ret_dev)
{
	*type = is_host ? CU_MEMORYTYPE_HOST : CU_MEMORYTYPE_DEVICE;
	if (is_host)
		*ret_host = (void *)(uintptr_t)addr;
	else
		*ret_dev = addr;
}

int gpu_stream_copy_2d(struct gpu_stream *s, enum gpu_dir dir, const struct gpu_copy_2d *c)
{
	CUDA_MEMCPY2D d = {
		.srcPitch = c->src_pitch, .dstPitch = c->dst_pitch, .WidthInBytes = c->width, .Height = c->rows,
	};
	int ret;

	if (!cuda_has(s->ctx->cu, CUDA_F_COPY_2D))
		return -EOPNOTSUPP;
	end_of_2d(dir == GPU_H2D, c->src, &d.srcMemoryType, (void **)&d.srcHost, &d.srcDevice);
	end_of_2d(dir == GPU_D2H, c->dst, &d.dstMemoryType, &d.dstHost, &d.dstDevice);
	ret = gpu_ctx_enter(s->ctx);
	if (ret < 0)
		return ret;
	if (dir == GPU_H2D)
		dma_host_writes_visible();
	ret = cuda_errno(s->ctx->cu->Memcpy2DAsync(&d, s->stream));
	gpu_ctx_leave(s->ctx);
	return ret;
}

int gpu_stream_copy_batch(struct gpu_stream *s, enum gpu_dir dir, CUdeviceptr *dst, CUdeviceptr *src, size_t *len,
			  size_t nr)
{
	CUmemcpyAttributes attr = {
		.srcAccessOrder = CU_MEMCPY_SRC_ACCESS_ORDER_STREAM,
		.flags = CU_MEMCPY_FLAG_PREFER_OVERLAP_WITH_COMPUTE,
	};
	size_t first = 0, fail = 0;
	int ret;

	if (!cuda_has(s->ctx->cu, CUDA_F_COPY_BATCH))
		return -EOPNOTSUPP;
	if (!nr)
		return 0;
	ret = gpu_ctx_enter(s->ctx);
	if (ret < 0)
		return ret;
	if (dir == GPU_H2D)
		dma_host_writes_visible();
	ret = cuda_errno(s->ctx->cu->MemcpyBatchAsync(dst, src, len, nr, &attr, &first, 1, &fail, s->stream));
	gpu_ctx_leave(s->ctx);
	return ret;
}

int gpu_stream_copy_many(struct gpu_stream *s, enum gpu_dir dir, CUdeviceptr *dst, CUdeviceptr *src, size_t *len, size_t nr)
{
	int ret = nr > 1 ? gpu_stream_copy_batch(s, dir, dst, src, len, nr) : -EOPNOTSUPP;

	if (ret != -EOPNOTSUPP)
		return ret;
	ret = 0;
	for (size_t i = 0; i < nr && !ret; i++)
		ret = gpu_stream_copy(s, dir, &(struct gpu_copy){ .dst = dst[i], .src = src[i], .len = len[i] });
	return ret;
}

int gpu_stream_launch(struct gpu_stream *s, CUfunction f, const unsigned grid[3], unsigned block, void **params)
{
	int ret;

	if (!cuda_has(s->ctx->cu, CUDA_F_KERNEL))
		return -EOPNOTSUPP;
	ret = gpu_ctx_enter(s->ctx);
	if (ret < 0)
		return ret;
	/* a gather kernel reads pinned host memory */
	dma_host_writes_visible();
	ret = cuda_errno(s->ctx->cu->LaunchKernel(f, grid[0], grid[1], grid[2], block, 1, 1, 0, s->stream, params, NULL));
	gpu_ctx_leave(s->ctx);
	return ret;
}

static int put_word(struct gpu_stream *s, CUresult (*put)(CUstream, CUdeviceptr, uint64_t, unsigned), uint64_t addr,
		    uint64_t value, unsigned flags)
{
	int ret;

	if (!s->ctx->device.has_stream_word)
		return -EOPNOTSUPP;
	ret = gpu_ctx_enter(s->ctx);
	if (ret < 0)
		return ret;
	ret = cuda_errno(put(s->stream, addr, value, flags));
	gpu_ctx_leave(s->ctx);
	return ret;
}

int gpu_stream_write_word(struct gpu_stream *s, uint64_t addr, uint64_t value)
{
	return put_word(s, s->ctx->cu->StreamWriteValue64, addr, value, CU_STREAM_WRITE_VALUE_DEFAULT);
}

int gpu_stream_wait_word(struct gpu_stream *s, uint64_t addr, uint64_t value)
{
	return put_word(s, s->ctx->cu->StreamWaitValue64, addr, value, CU_STREAM_WAIT_VALUE_GEQ);
}

int gpu_stream_poll(struct gpu_stream *s)
{
	int ret = gpu_ctx_enter(s->ctx);

	if (ret < 0)
		return ret;
	ret = poll_result(s->ctx->cu->StreamQuery(s->stream));
	gpu_ctx_leave(s->ctx);
	return ret;
}

static int poll_stream(void *arg)
{
	return gpu_stream_poll(arg);
}

int gpu_stream_wait(struct gpu_stream *s, uint64_t deadline_ns)
{
	return poll_until(poll_stream, s, deadline_ns);
}
