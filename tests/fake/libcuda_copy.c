/* SPDX-License-Identifier: Apache-2.0 */
/* libcuda_copy.c - the fake driver's copies: checked and put onto a stream; those that have landed */
#include "tests/fake/fake.h"

#include <stdlib.h>
#include <string.h>

#include "kvshm/base/compiler.h"

static uint64_t span(uint64_t rows, uint64_t pitch, uint64_t width)
{
	return (rows - 1) * pitch + width;
}

/* Host memory that is not pinned is read at once, as the driver stages it. */
static void take_pageable(struct fake_op *op)
{
	uint64_t len = span(op->rows, op->src_pitch, op->len);

	op->bounce = malloc(len);
	if (!op->bounce)
		abort();
	memcpy(op->bounce, (const void *)(uintptr_t)op->src, len);
}

struct shape {
	uint64_t dst, src, width, rows, dst_pitch, src_pitch;
};

static CUresult check_shape(enum gpu_dir dir, const struct shape *c)
{
	uint64_t src_len = span(c->rows, c->src_pitch, c->width), dst_len = span(c->rows, c->dst_pitch, c->width);

	if (dir != GPU_H2D && !fake_mem_is_device(c->src, src_len))
		return CUDA_ERROR_INVALID_VALUE;
	if (dir != GPU_D2H && !fake_mem_is_writable(c->dst, dst_len))
		return CUDA_ERROR_INVALID_VALUE;
	return CUDA_SUCCESS;
}

static CUresult copy(CUstream stream, enum gpu_dir dir, const struct shape *c, uint64_t extra_ns)
{
	struct CUstream_st *s = fake_stream(stream, fake_current());
	uint64_t host_len, host;
	struct fake_op *op;
	CUresult r;

	if (!s)
		return 400;
	if (!c->width || !c->rows)
		return CUDA_SUCCESS;
	r = check_shape(dir, c);
	if (r)
		return r;
	op = fake_op_new(OP_COPY, s);
	op->dir = dir;
	op->dst = c->dst;
	op->src = c->src;
	op->len = c->width;
	op->rows = c->rows;
	op->dst_pitch = c->dst_pitch;
	op->src_pitch = c->src_pitch;
	op->extra_ns = extra_ns;
	host = dir == GPU_H2D ? c->src : c->dst;
	host_len = span(c->rows, dir == GPU_H2D ? c->src_pitch : c->dst_pitch, c->width);
	if (dir != GPU_D2D && !fake_mem_is_pinned(host, host_len)) {
		fake_count->pageable++;
		if (dir == GPU_H2D)
			take_pageable(op);
	}
	fake_count->copies[dir]++;
	fake_count->bytes[dir] += c->width * c->rows;
	op->land = fake_copy_rule(&op->is_hung);
	fake_submit(op);
	return CUDA_SUCCESS;
}

CUresult fake_copy(CUstream stream, enum gpu_dir dir, uint64_t dst, uint64_t src, size_t len, uint64_t extra_ns)
{
	const struct shape c = { .dst = dst, .src = src, .width = len, .rows = 1 };

	return copy(stream, dir, &c, extra_ns);
}

static CUresult copy_plain(enum fake_entry e, CUstream stream, enum gpu_dir dir, uint64_t dst, uint64_t src, size_t len)
{
	CUresult r = fake_enter(e);

	return r ? r : fake_leave(fake_copy(stream, dir, dst, src, len, 0));
}

FAKE_ENTRY(MemcpyHtoDAsync)(CUdeviceptr dst, const void *src, size_t len, CUstream stream)
{
	return copy_plain(E_MemcpyHtoDAsync, stream, GPU_H2D, dst, (uintptr_t)src, len);
}

FAKE_ENTRY(MemcpyDtoHAsync)(void *dst, CUdeviceptr src, size_t len, CUstream stream)
{
	return copy_plain(E_MemcpyDtoHAsync, stream, GPU_D2H, (uintptr_t)dst, src, len);
}

FAKE_ENTRY(MemcpyDtoDAsync)(CUdeviceptr dst, CUdeviceptr src, size_t len, CUstream stream)
{
	return copy_plain(E_MemcpyDtoDAsync, stream, GPU_D2D, dst, src, len);
}

FAKE_CALL(Memcpy2DAsync, (const CUDA_MEMCPY2D *d, CUstream stream), (d, stream))
{
	bool from_host = d->srcMemoryType == CU_MEMORYTYPE_HOST, to_host = d->dstMemoryType == CU_MEMORYTYPE_HOST;
	struct shape c = {
		.src = from_host ? (uintptr_t)d->srcHost : d->srcDevice, .dst = to_host ? (uintptr_t)d->dstHost : d->dstDevice,
		.width = d->WidthInBytes, .rows = d->Height, .src_pitch = d->srcPitch, .dst_pitch = d->dstPitch,
	};

	if ((from_host && to_host) || d->srcPitch < d->WidthInBytes || d->dstPitch < d->WidthInBytes || d->srcXInBytes ||
	    d->srcY || d->dstXInBytes || d->dstY)
		return CUDA_ERROR_INVALID_VALUE;
	fake_count->copies_2d++;
	fake_count->rows_2d += d->Height;
	return copy(stream, from_host ? GPU_H2D : to_host ? GPU_D2H : GPU_D2D, &c, fake_conf.row_ns * d->Height);
}

static enum gpu_dir dir_of(uint64_t dst, uint64_t src)
{
	if (!fake_mem_is_device(src, 1))
		return GPU_H2D;
	return fake_mem_is_device(dst, 1) ? GPU_D2D : GPU_D2H;
}

FAKE_CALL(MemcpyBatchAsync, (CUdeviceptr *dsts, CUdeviceptr *srcs, size_t *lens, size_t nr, CUmemcpyAttributes *attrs,
			     size_t *attr_idxs, size_t nr_attrs, size_t *fail_idx, CUstream stream),
	  (dsts, srcs, lens, nr, attrs, attr_idxs, nr_attrs, fail_idx, stream))
{
	CUresult r;

	/* the default stream is refused, as by the real one */
	if (!stream || !nr || !nr_attrs || attr_idxs[0] || attrs[0].srcAccessOrder != CU_MEMCPY_SRC_ACCESS_ORDER_STREAM)
		return CUDA_ERROR_INVALID_VALUE;
	fake_count->batches++;
	fake_count->batched += nr;
	for (size_t i = 0; i < nr; i++) {
		const struct shape c = { .dst = dsts[i], .src = srcs[i], .width = lens[i], .rows = 1 };

		/* one latency a batch, not one a copy */
		r = copy(stream, dir_of(c.dst, c.src), &c,
			 i ? fake_conf.item_ns - fake_conf.latency_ns : fake_conf.item_ns);
		if (r) {
			*fail_idx = i;
			return r;
		}
	}
	return CUDA_SUCCESS;
}

/* ---- landed ------------------------------------------------------------------------------------------ */

static struct fake_landed *records;
static size_t nr_records, max_records;

void fake_record_landed(const struct fake_op *op)
{
	if (nr_records == max_records) {
		max_records = max_records ? max_records * 2 : 1024;
		records = realloc(records, max_records * sizeof(*records));
		if (!records)
			abort();
	}
	records[nr_records++] = (struct fake_landed){
		.dst = op->dst, .src = op->src, .len = op->len * op->rows, .submit_ns = op->submit_ns, .start_ns = op->start_ns,
		.end_ns = op->end_ns, .dir = op->dir,
	};
}

void fake_reset_landed(void)
{
	nr_records = 0;
}

size_t fake_get_landed(size_t from, struct fake_landed *ret, size_t max)
{
	size_t n;

	pthread_mutex_lock(&fake_lock);
	fake_run();
	n = nr_records;
	if (from < n)
		memcpy(ret, &records[from], min_of(max, n - from) * sizeof(*ret));
	pthread_mutex_unlock(&fake_lock);
	return n;
}
