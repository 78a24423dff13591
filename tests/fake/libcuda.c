/* SPDX-License-Identifier: Apache-2.0 */
/*
 * libcuda.c - a fake libcuda.so.1 on host memory: devices, contexts, copies, kernels
 *
 * It implements every entry of gpu/cuda_syms.def and is reached as the real one is, by name and version.
 * What it offers besides is in gpu/cuda_fake.h.
 */
#include "tests/fake/fake.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "kvshm/base/compiler.h"

#define CTX_DEPTH 32

struct CUctx_st {
	int dev;
	unsigned retained;
};

struct CUmod_st {
	char *text;			/* of a PTX image, NULL: another kind */
};

pthread_mutex_t fake_lock = PTHREAD_MUTEX_INITIALIZER;
CUresult fake_sticky[FAKE_DEVICES];
static bool is_started;
static struct CUctx_st ctxs[FAKE_DEVICES];
static __thread CUcontext ctx_stack[CTX_DEPTH];
static __thread int ctx_depth;

const char *const fake_entry_names[E_LAST] = {
#define CU_SYM(feature, member, version, args) [E_##member] = "cu" #member,
#include "gpu/cuda_syms.def"
#undef CU_SYM
};

static const int entry_versions[E_LAST] = {
#define CU_SYM(feature, member, v, args) [E_##member] = v,
#include "gpu/cuda_syms.def"
#undef CU_SYM
};

/* What the driver answers also when the context is lost, or before there is one. */
static bool needs_no_context(enum fake_entry e)
{
	return e == E_Init || e == E_DriverGetVersion || e == E_GetErrorName || (e >= E_DeviceGetCount && e <= E_CtxGetCurrent) ||
	       e == E_DeviceCanAccessPeer || e == E_ThreadExchangeStreamCaptureMode;
}

CUresult fake_enter(enum fake_entry e)
{
	CUresult r;

	pthread_mutex_lock(&fake_lock);
	fake_count->calls++;
	r = fake_rule(e);
	if (!r && e != E_Init && !is_started)
		r = CUDA_ERROR_NOT_INITIALIZED;
	if (!r && !needs_no_context(e)) {
		r = fake_current() < 0 ? CUDA_ERROR_INVALID_CONTEXT : fake_sticky[fake_current()];
	}
	if (r)
		pthread_mutex_unlock(&fake_lock);
	return r;
}

CUresult fake_leave(CUresult r)
{
	pthread_mutex_unlock(&fake_lock);
	return r;
}

/* ---- devices and contexts --------------------------------------------------------------------------- */

FAKE_ENTRY(Init)(unsigned flags)
{
	CUresult r = fake_enter(E_Init);

	(void)flags;
	if (r)
		return r;
	fake_clock_start();
	for (int i = 0; i < FAKE_DEVICES; i++)
		ctxs[i].dev = i;
	is_started = true;
	return fake_leave(fake_conf.devices ? CUDA_SUCCESS : CUDA_ERROR_NO_DEVICE);
}

FAKE_ENTRY(DriverGetVersion)(int *version)
{
	CUresult r = fake_enter(E_DriverGetVersion);

	if (r)
		return r;
	*version = fake_conf.version;
	return fake_leave(CUDA_SUCCESS);
}

FAKE_ENTRY(GetErrorName)(CUresult error, const char **str)
{
	(void)error;
	*str = "CUDA_ERROR_OF_THE_FAKE";
	return CUDA_SUCCESS;
}

FAKE_ENTRY(DeviceGetCount)(int *count)
{
	CUresult r = fake_enter(E_DeviceGetCount);

	if (r)
		return r;
	*count = fake_conf.devices;
	return fake_leave(CUDA_SUCCESS);
}

static bool is_device(CUdevice d)
{
	return d >= 0 && d < fake_conf.devices;
}

FAKE_ENTRY(DeviceGet)(CUdevice *device, int ordinal)
{
	CUresult r = fake_enter(E_DeviceGet);

	if (r)
		return r;
	if (!is_device(ordinal))
		return fake_leave(CUDA_ERROR_INVALID_DEVICE);
	*device = ordinal;
	return fake_leave(CUDA_SUCCESS);
}

FAKE_ENTRY(DeviceGetName)(char *name, int len, CUdevice device)
{
	CUresult r = fake_enter(E_DeviceGetName);

	if (r)
		return r;
	if (!is_device(device))
		return fake_leave(CUDA_ERROR_INVALID_DEVICE);
	snprintf(name, (size_t)len, "fake device %d", device);
	return fake_leave(CUDA_SUCCESS);
}

FAKE_ENTRY(DeviceGetUuid)(CUuuid *uuid, CUdevice device)
{
	CUresult r = fake_enter(E_DeviceGetUuid);

	if (r)
		return r;
	if (!is_device(device))
		return fake_leave(CUDA_ERROR_INVALID_DEVICE);
	memset(uuid, 0xfa, sizeof(*uuid));
	uuid->bytes[15] = (unsigned char)device;
	return fake_leave(CUDA_SUCCESS);
}

FAKE_ENTRY(DeviceTotalMem)(size_t *bytes, CUdevice device)
{
	CUresult r = fake_enter(E_DeviceTotalMem);

	if (r)
		return r;
	*bytes = 80ull << 30;
	return fake_leave(is_device(device) ? CUDA_SUCCESS : CUDA_ERROR_INVALID_DEVICE);
}

FAKE_ENTRY(DeviceGetAttribute)(int *value, int attribute, CUdevice device)
{
	CUresult r = fake_enter(E_DeviceGetAttribute);

	if (r)
		return r;
	if (!is_device(device))
		return fake_leave(CUDA_ERROR_INVALID_DEVICE);
	*value = fake_attribute(attribute, device);
	return fake_leave(CUDA_SUCCESS);
}

FAKE_ENTRY(DevicePrimaryCtxRetain)(CUcontext *ctx, CUdevice device)
{
	CUresult r = fake_enter(E_DevicePrimaryCtxRetain);

	if (r)
		return r;
	if (!is_device(device))
		return fake_leave(CUDA_ERROR_INVALID_DEVICE);
	if (fake_sticky[device])
		return fake_leave(fake_sticky[device]);
	ctxs[device].retained++;
	*ctx = &ctxs[device];
	return fake_leave(CUDA_SUCCESS);
}

FAKE_ENTRY(DevicePrimaryCtxRelease)(CUdevice device)
{
	CUresult r = fake_enter(E_DevicePrimaryCtxRelease);

	if (r)
		return r;
	if (!is_device(device) || !ctxs[device].retained)
		return fake_leave(CUDA_ERROR_INVALID_CONTEXT);
	ctxs[device].retained--;
	return fake_leave(CUDA_SUCCESS);
}

int fake_current(void)
{
	return ctx_depth && ctx_stack[ctx_depth - 1] ? ctx_stack[ctx_depth - 1]->dev : -1;
}

FAKE_ENTRY(CtxPushCurrent)(CUcontext ctx)
{
	CUresult r = fake_enter(E_CtxPushCurrent);

	if (r)
		return r;
	if (!ctx || !ctx->retained || ctx_depth == CTX_DEPTH)
		return fake_leave(CUDA_ERROR_INVALID_CONTEXT);
	ctx_stack[ctx_depth++] = ctx;
	return fake_leave(CUDA_SUCCESS);
}

FAKE_ENTRY(CtxPopCurrent)(CUcontext *ctx)
{
	CUresult r = fake_enter(E_CtxPopCurrent);

	if (r)
		return r;
	if (!ctx_depth)
		return fake_leave(CUDA_ERROR_INVALID_CONTEXT);
	*ctx = ctx_stack[--ctx_depth];
	return fake_leave(CUDA_SUCCESS);
}

FAKE_ENTRY(CtxGetCurrent)(CUcontext *ctx)
{
	CUresult r = fake_enter(E_CtxGetCurrent);

	if (r)
		return r;
	*ctx = ctx_depth ? ctx_stack[ctx_depth - 1] : NULL;
	return fake_leave(CUDA_SUCCESS);
}

int fake_ctx_device(CUcontext ctx)
{
	return ctx && ctx->retained ? ctx->dev : -1;
}

/* ---- copies ----------------------------------------------------------------------------------------- */

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
	if (dir != GPU_D2H && !fake_mem_is_device(c->dst, dst_len))
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

FAKE_ENTRY(Memcpy2DAsync)(const CUDA_MEMCPY2D *d, CUstream stream)
{
	bool from_host = d->srcMemoryType == CU_MEMORYTYPE_HOST, to_host = d->dstMemoryType == CU_MEMORYTYPE_HOST;
	struct shape c = {
		.src = from_host ? (uintptr_t)d->srcHost : d->srcDevice, .dst = to_host ? (uintptr_t)d->dstHost : d->dstDevice,
		.width = d->WidthInBytes, .rows = d->Height, .src_pitch = d->srcPitch, .dst_pitch = d->dstPitch,
	};
	CUresult r = fake_enter(E_Memcpy2DAsync);

	if (r)
		return r;
	if ((from_host && to_host) || d->srcPitch < d->WidthInBytes || d->dstPitch < d->WidthInBytes || d->srcXInBytes ||
	    d->srcY || d->dstXInBytes || d->dstY)
		return fake_leave(CUDA_ERROR_INVALID_VALUE);
	fake_count->copies_2d++;
	fake_count->rows_2d += d->Height;
	return fake_leave(copy(stream, from_host ? GPU_H2D : to_host ? GPU_D2H : GPU_D2D, &c, fake_conf.row_ns * d->Height));
}

static enum gpu_dir dir_of(uint64_t dst, uint64_t src)
{
	if (!fake_mem_is_device(src, 1))
		return GPU_H2D;
	return fake_mem_is_device(dst, 1) ? GPU_D2D : GPU_D2H;
}

FAKE_ENTRY(MemcpyBatchAsync)(CUdeviceptr *dsts, CUdeviceptr *srcs, size_t *lens, size_t nr, CUmemcpyAttributes *attrs,
			     size_t *attr_idxs, size_t nr_attrs, size_t *fail_idx, CUstream stream)
{
	CUresult r = fake_enter(E_MemcpyBatchAsync);

	if (r)
		return r;
	/* the default stream is refused, as by the real one */
	if (!stream || !nr || !nr_attrs || attr_idxs[0] || attrs[0].srcAccessOrder != CU_MEMCPY_SRC_ACCESS_ORDER_STREAM)
		return fake_leave(CUDA_ERROR_INVALID_VALUE);
	fake_count->batches++;
	fake_count->batched += nr;
	for (size_t i = 0; i < nr; i++) {
		const struct shape c = { .dst = dsts[i], .src = srcs[i], .width = lens[i], .rows = 1 };

		/* one latency a batch, not one a copy */
		r = copy(stream, dir_of(c.dst, c.src), &c,
			 i ? fake_conf.item_ns - fake_conf.latency_ns : fake_conf.item_ns);
		if (r) {
			*fail_idx = i;
			return fake_leave(r);
		}
	}
	return fake_leave(CUDA_SUCCESS);
}

/* ---- kernels ---------------------------------------------------------------------------------------- */

FAKE_ENTRY(ModuleLoadData)(CUmodule *module, const void *image)
{
	CUresult r = fake_enter(E_ModuleLoadData);
	struct CUmod_st *m;

	if (r)
		return r;
	if (!image)
		return fake_leave(CUDA_ERROR_INVALID_VALUE);
	m = calloc(1, sizeof(*m));
	if (!m)
		return fake_leave(CUDA_ERROR_OUT_OF_MEMORY);
	/* text of a kernel names its entries; other images are taken as they are */
	if (strncmp(image, "\177ELF", 4))
		m->text = strdup(image);
	*module = m;
	return fake_leave(CUDA_SUCCESS);
}

FAKE_ENTRY(ModuleUnload)(CUmodule module)
{
	CUresult r = fake_enter(E_ModuleUnload);

	if (r)
		return r;
	if (!module)
		return fake_leave(400);
	free(module->text);
	free(module);
	return fake_leave(CUDA_SUCCESS);
}

FAKE_ENTRY(ModuleGetFunction)(CUfunction *function, CUmodule module, const char *name)
{
	CUresult r = fake_enter(E_ModuleGetFunction);
	const struct fake_kernel *k;

	if (r)
		return r;
	k = fake_kernel_find(name);
	if (!k || (module->text && !strstr(module->text, name)))
		return fake_leave(CUDA_ERROR_NOT_FOUND);
	*function = (CUfunction)(uintptr_t)k;
	return fake_leave(CUDA_SUCCESS);
}

/* Arguments are read during the call; those of our kernels are blocks of many words. */
static void fake_op_params(struct fake_op *op, void **params)
{
	size_t at = 0;

	for (unsigned i = 0; i < ARRAY_SIZE(op->param_at) && op->kernel->param_len[i]; i++) {
		const size_t len = min_of((size_t)op->kernel->param_len[i], sizeof(op->params) - at);

		op->param_at[i] = (char *)op->params + at;
		memcpy(op->param_at[i], params[i], len);
		at += round_up(len, (size_t)8);
	}
}

/* What a kernel takes beside its launch. */
static uint64_t kernel_ns(const struct fake_op *op)
{
	enum gpu_dir dir = GPU_D2D;
	uint64_t bytes, addr;
	bool writes;

	if (!op->kernel->fn)
		return op->params[0];
	if (!op->kernel->bytes)
		return 0;
	bytes = op->kernel->bytes(&op->launch, &addr, &writes);
	if (!fake_mem_is_device(addr, 1))
		dir = writes ? GPU_D2H : GPU_H2D;
	return (uint64_t)((double)bytes * 1e9 / fake_conf.bytes_a_second[dir]);
}

FAKE_ENTRY(LaunchKernel)(CUfunction function, unsigned grid_x, unsigned grid_y, unsigned grid_z, unsigned block_x,
			 unsigned block_y, unsigned block_z, unsigned shared_len, CUstream stream, void **params, void **extra)
{
	CUresult r = fake_enter(E_LaunchKernel);
	const struct fake_kernel *k = (const void *)function;
	struct CUstream_st *s;
	struct fake_op *op;

	(void)extra;
	if (r)
		return r;
	s = fake_stream(stream, fake_current());
	if (!s || !k || !grid_x || !grid_y || !grid_z || !block_x || (uint64_t)block_x * block_y * block_z > 1024)
		return fake_leave(CUDA_ERROR_INVALID_VALUE);
	op = fake_op_new(OP_KERNEL, s);
	op->kernel = k;
	op->launch = (struct fake_launch){ .grid = { grid_x, grid_y, grid_z }, .block = { block_x, block_y, block_z },
					   .shared_len = shared_len, .params = op->param_at };
	fake_op_params(op, params);
	op->extra_ns = kernel_ns(op);
	fake_count->launches++;
	fake_submit(op);
	return fake_leave(CUDA_SUCCESS);
}

/* ---- the way in ------------------------------------------------------------------------------------- */

static void *entry_find(const char *name, int version)
{
	static void *const fns[E_LAST] = {
#define CU_SYM(feature, member, v, args) [E_##member] = (void *)fake_##member,
#include "gpu/cuda_syms.def"
#undef CU_SYM
	};

	for (unsigned i = 0; i < E_LAST; i++)
		if (!strcmp(fake_entry_names[i], name))
			return fake_conf.missing[i] || entry_versions[i] > fake_conf.version || version < entry_versions[i] ?
				       NULL : fns[i];
	return NULL;
}

CUresult cuGetProcAddress(const char *symbol, void **fn, int version, uint64_t flags);
CUresult cuGetProcAddress_v2(const char *symbol, void **fn, int version, uint64_t flags, int *status);
const struct cuda_fake *fake_cuda(void);

__public CUresult cuGetProcAddress(const char *symbol, void **fn, int version, uint64_t flags)
{
	(void)flags;
	fake_script_start();
	*fn = entry_find(symbol, version);
	return *fn ? CUDA_SUCCESS : CUDA_ERROR_NOT_FOUND;
}

__public CUresult cuGetProcAddress_v2(const char *symbol, void **fn, int version, uint64_t flags, int *status)
{
	CUresult r = cuGetProcAddress(symbol, fn, version, flags);

	if (status)
		*status = r ? 1 : 0;
	return r;
}

static void get_counters(struct fake_counters *ret)
{
	pthread_mutex_lock(&fake_lock);
	if (is_started)
		fake_run();
	*ret = *fake_count;
	pthread_mutex_unlock(&fake_lock);
}

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

static size_t get_landed(size_t from, struct fake_landed *ret, size_t max)
{
	size_t n;

	pthread_mutex_lock(&fake_lock);
	if (is_started)
		fake_run();
	n = nr_records;
	if (from < n)
		memcpy(ret, &records[from], min_of(max, n - from) * sizeof(*ret));
	pthread_mutex_unlock(&fake_lock);
	return n;
}

static uint64_t get_now(void)
{
	uint64_t t;

	pthread_mutex_lock(&fake_lock);
	t = fake_now();
	pthread_mutex_unlock(&fake_lock);
	return t;
}

static void do_advance(uint64_t ns)
{
	pthread_mutex_lock(&fake_lock);
	fake_advance(ns);
	pthread_mutex_unlock(&fake_lock);
}

__public const struct cuda_fake *fake_cuda(void)
{
	static const struct cuda_fake fake = {
		.script = fake_script, .counters = get_counters, .landed = get_landed, .now_ns = get_now,
		.advance = do_advance, .kernel = fake_kernel_add,
	};

	return &fake;
}
