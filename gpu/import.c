/* SPDX-License-Identifier: Apache-2.0 */
/* import.c - device memory of another process: the receiver's half */
#include "gpu/import.h"

#include <errno.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "gpu/cuda_err.h"

struct opened {				/* an IPC allocation, open once however many buffers and peers name it */
	struct opened *next;
	uint64_t peer, alloc;
	uint64_t addr, len;		/* here */
	unsigned refs;
	uint8_t handle[CU_IPC_HANDLE_SIZE];
};

struct gpu_import {
	struct gpu_import *next;
	struct gpu_imports *table;
	uint64_t peer, addr_there;
	uint64_t addr, len;		/* here */
	struct opened *opened;		/* IPC */
	uint64_t va, va_len;		/* VMM: the reservation */
	unsigned nr_pieces;
};

struct gpu_imports {
	const struct gpu_ctx *ctx;
	unsigned max_buffers, max_pieces, nr_buffers, nr_pieces;
	struct gpu_import *buffers;
	struct opened *opened;
};

int gpu_imports_create(const struct gpu_ctx *ctx, unsigned max_buffers, unsigned max_pieces, struct gpu_imports **ret)
{
	struct gpu_imports *t = calloc(1, sizeof(*t));

	if (!t)
		return -ENOMEM;
	t->ctx = ctx;
	t->max_buffers = max_buffers;
	t->max_pieces = max_pieces;
	*ret = t;
	return 0;
}

/* ---- what a peer may say -------------------------------------------------------------------------- */

static int check_piece(const struct gpu_ctx *ctx, const struct gpu_piece *p, int fd)
{
	uint64_t end;

	if ((p->kind != GPU_MEM_IPC && p->kind != GPU_MEM_VMM) || p->pad || !p->len)
		return -EINVAL;
	if (memcmp(p->uuid, &ctx->device.uuid, sizeof(p->uuid)))
		return -ENODEV;
	if (__builtin_add_overflow(p->off, p->len, &end) || end > p->alloc_len || p->alloc_len > ctx->device.bytes ||
	    __builtin_add_overflow(p->alloc, p->alloc_len, &end))
		return -EINVAL;
	return (p->kind == GPU_MEM_VMM) == (fd >= 0) ? 0 : -EINVAL;
}

/* Of one kind, each where the one before it ends, and only the first and the last not whole. */
static int check_pieces(const struct gpu_ctx *ctx, uint64_t addr, const struct gpu_piece *p, const int *fd, unsigned nr)
{
	int ret;

	if (!nr || p[0].alloc + p[0].off != addr)
		return -EINVAL;
	for (unsigned i = 0; i < nr; i++) {
		ret = check_piece(ctx, &p[i], fd[i]);
		if (ret < 0)
			return ret;
		if (p[i].kind != p[0].kind || (p[i].kind == GPU_MEM_IPC && nr > 1))
			return -EINVAL;
		if (i && (p[i].off || p[i].alloc != p[i - 1].alloc + p[i - 1].alloc_len ||
			  p[i - 1].off + p[i - 1].len != p[i - 1].alloc_len))
			return -EINVAL;
	}
	return 0;
}

static int check_limits(const struct gpu_imports *t, uint64_t peer, uint64_t addr_there, pid_t pid_there, unsigned nr)
{
	if (pid_there == getpid())
		return -EADDRINUSE;
	if (t->nr_buffers >= t->max_buffers || nr > t->max_pieces - t->nr_pieces)
		return -ENOSPC;
	for (struct gpu_import *b = t->buffers; b; b = b->next)
		if (b->peer == peer && b->addr_there == addr_there)
			return -EEXIST;
	return 0;
}

/* ---- IPC ------------------------------------------------------------------------------------------ */

/* Two connections of one process may offer the same one. */
static struct opened *opened_find(struct gpu_imports *t, const uint8_t *handle)
{
	struct opened *o = t->opened;

	while (o && memcmp(o->handle, handle, sizeof(o->handle)))
		o = o->next;
	return o;
}

/* Is another allocation of that peer's open under the same address?  It freed one that we still hold. */
static bool opened_is_old(const struct gpu_imports *t, uint64_t peer, uint64_t alloc)
{
	const struct opened *o = t->opened;

	while (o && (o->peer != peer || o->alloc != alloc))
		o = o->next;
	return o;
}

/* What the handle really opens is asked of the driver, not of the peer. */
static int opened_new(struct gpu_imports *t, uint64_t peer, const struct gpu_piece *p, struct opened **ret)
{
	const struct cuda *cu = t->ctx->cu;
	struct opened *o = calloc(1, sizeof(*o));
	CUipcMemHandle handle;
	CUdeviceptr addr, base;
	size_t len = 0;
	CUresult r;

	if (!o)
		return -ENOMEM;
	memcpy(&handle, p->handle, sizeof(handle));
	r = cu->IpcOpenMemHandle(&addr, handle, CU_IPC_MEM_LAZY_ENABLE_PEER_ACCESS);
	if (r != CUDA_SUCCESS) {
		free(o);
		return cuda_errno(r);
	}
	r = cu->MemGetAddressRange(&base, &len, addr);
	if (r != CUDA_SUCCESS) {
		cu->IpcCloseMemHandle(addr);
		free(o);
		return cuda_errno(r);
	}
	*o = (struct opened){ .next = t->opened, .peer = peer, .alloc = p->alloc, .addr = addr, .len = len };
	memcpy(o->handle, p->handle, sizeof(o->handle));
	t->opened = o;
	*ret = o;
	return 0;
}

static void opened_put(struct gpu_imports *t, struct opened *o)
{
	struct opened **at = &t->opened;

	if (o->refs && --o->refs)
		return;
	while (*at != o)
		at = &(*at)->next;
	*at = o->next;
	t->ctx->cu->IpcCloseMemHandle(o->addr);
	free(o);
}

static int map_ipc(struct gpu_imports *t, struct gpu_import *b, const struct gpu_piece *p)
{
	struct opened *o = opened_find(t, p->handle);
	int ret;

	if (!cuda_has(t->ctx->cu, CUDA_F_IPC))
		return -EOPNOTSUPP;
	if (!o && opened_is_old(t, b->peer, p->alloc))
		return -EBUSY;
	if (!o) {
		ret = opened_new(t, b->peer, p, &o);
		if (ret < 0)
			return ret;
	}
	o->refs++;
	if (p->off + p->len > o->len) {
		opened_put(t, o);
		return -EINVAL;
	}
	b->opened = o;
	b->addr = o->addr + p->off;
	b->len = p->len;
	return 0;
}

/* ---- VMM ------------------------------------------------------------------------------------------ */

static void unmap_vmm(const struct gpu_ctx *ctx, struct gpu_import *b, uint64_t mapped)
{
	if (mapped)
		ctx->cu->MemUnmap(b->va, mapped);
	ctx->cu->MemAddressFree(b->va, b->va_len);
}

static CUresult map_piece(const struct gpu_ctx *ctx, uint64_t at, const struct gpu_piece *p, int fd)
{
	const CUmemAccessDesc access = {
		.location = { .type = CU_MEM_LOCATION_TYPE_DEVICE, .id = ctx->device.dev },
		.flags = CU_MEM_ACCESS_FLAGS_PROT_READWRITE,
	};
	const struct cuda *cu = ctx->cu;
	CUmemGenericAllocationHandle handle;
	CUresult r;

	r = cu->MemImportFromShareableHandle(&handle, (void *)(intptr_t)fd, CU_MEM_HANDLE_TYPE_POSIX_FILE_DESCRIPTOR);
	if (r != CUDA_SUCCESS)
		return r;
	r = cu->MemMap(at, p->alloc_len, 0, handle, 0);
	/* the mapping keeps the memory */
	cu->MemRelease(handle);
	if (r != CUDA_SUCCESS)
		return r;
	r = cu->MemSetAccess(at, p->alloc_len, &access, 1);
	if (r != CUDA_SUCCESS)
		cu->MemUnmap(at, p->alloc_len);
	return r;
}

static int map_vmm(struct gpu_imports *t, struct gpu_import *b, const struct gpu_piece *p, const int *fd, unsigned nr)
{
	const struct gpu_ctx *ctx = t->ctx;
	uint64_t at = 0;
	CUdeviceptr va;
	CUresult r;

	if (!ctx->device.has_vmm_fd)
		return -EOPNOTSUPP;
	b->va_len = p[nr - 1].alloc + p[nr - 1].alloc_len - p[0].alloc;
	if (b->va_len > ctx->device.bytes)
		return -EINVAL;
	r = ctx->cu->MemAddressReserve(&va, b->va_len, 0, 0, 0);
	if (r != CUDA_SUCCESS)
		return cuda_errno(r);
	b->va = va;
	for (unsigned i = 0; i < nr; i++) {
		r = map_piece(ctx, b->va + at, &p[i], fd[i]);
		if (r != CUDA_SUCCESS) {
			unmap_vmm(ctx, b, at);
			return cuda_errno(r);
		}
		at += p[i].alloc_len;
		b->len += p[i].len;
	}
	b->addr = b->va + p[0].off;
	return 0;
}

/* ---- buffers -------------------------------------------------------------------------------------- */

static int map_buffer(struct gpu_imports *t, struct gpu_import *b, const struct gpu_piece *p, const int *fd, unsigned nr)
{
	int ret = gpu_ctx_enter(t->ctx);

	if (ret < 0)
		return ret;
	ret = p[0].kind == GPU_MEM_IPC ? map_ipc(t, b, p) : map_vmm(t, b, p, fd, nr);
	gpu_ctx_leave(t->ctx);
	return ret;
}

int gpu_import_open(struct gpu_imports *t, uint64_t peer, pid_t pid_there, uint64_t addr_there,
		    const struct gpu_piece *piece, const int *fd, unsigned nr, struct gpu_import **ret)
{
	struct gpu_import *b;
	int err;

	err = check_pieces(t->ctx, addr_there, piece, fd, nr);
	if (!err)
		err = check_limits(t, peer, addr_there, pid_there, nr);
	if (err < 0)
		return err;
	b = calloc(1, sizeof(*b));
	if (!b)
		return -ENOMEM;
	*b = (struct gpu_import){ .table = t, .peer = peer, .addr_there = addr_there, .nr_pieces = nr };
	err = map_buffer(t, b, piece, fd, nr);
	if (err < 0) {
		free(b);
		return err;
	}
	b->next = t->buffers;
	t->buffers = b;
	t->nr_buffers++;
	t->nr_pieces += nr;
	*ret = b;
	return 0;
}

void gpu_import_close(struct gpu_import *b)
{
	struct gpu_imports *t = b->table;
	struct gpu_import **at = &t->buffers;

	while (*at != b)
		at = &(*at)->next;
	*at = b->next;
	t->nr_buffers--;
	t->nr_pieces -= b->nr_pieces;
	if (!gpu_ctx_enter(t->ctx)) {
		if (b->opened)
			opened_put(t, b->opened);
		else
			unmap_vmm(t->ctx, b, b->va_len);
		gpu_ctx_leave(t->ctx);
	}
	free(b);
}

void gpu_imports_destroy(struct gpu_imports *t)
{
	struct opened *o;

	if (!t)
		return;
	while (t->buffers)
		gpu_import_close(t->buffers);
	/* left only where the context was lost */
	while ((o = t->opened)) {
		t->opened = o->next;
		free(o);
	}
	free(t);
}

struct gpu_import *gpu_import_find(struct gpu_imports *t, uint64_t peer, uint64_t addr_there)
{
	struct gpu_import *b = t->buffers;

	while (b && (b->peer != peer || b->addr_there != addr_there))
		b = b->next;
	return b;
}

uint64_t gpu_import_addr(const struct gpu_import *b)
{
	return b->addr;
}

uint64_t gpu_import_len(const struct gpu_import *b)
{
	return b->len;
}
