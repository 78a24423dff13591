/* SPDX-License-Identifier: Apache-2.0 */
/*
 * export.h - device memory offered to another process: the owner's half
 *
 * A range is offered as one piece per driver allocation that it touches.  cudaMalloc() memory has an IPC
 * handle of 64 bytes for the whole allocation; memory of the virtual memory interface (expandable segments)
 * has a file descriptor per physical piece, which travels beside the description over a Unix socket.
 * Memory of stream-ordered pools has neither and is refused.
 */
#ifndef GPU_EXPORT_H
#define GPU_EXPORT_H

#include <stddef.h>
#include <stdint.h>

#include "gpu/ctx.h"

enum gpu_mem_kind {
	GPU_MEM_IPC = 1,
	GPU_MEM_VMM = 2,
};

/* Plain data, travels as it is; the receiver checks every field. */
struct gpu_piece {
	uint32_t kind;			/* enum gpu_mem_kind */
	uint32_t pad;			/* 0 */
	uint8_t uuid[16];		/* the device */
	uint64_t alloc;			/* address of the allocation in the owner: names it there */
	uint64_t alloc_len;
	uint64_t off, len;		/* the part of the allocation that the range covers */
	uint8_t handle[CU_IPC_HANDLE_SIZE];	/* IPC; VMM: 0, the descriptor is sent beside */
};
_Static_assert(sizeof(struct gpu_piece) == 120, "struct gpu_piece travels between processes");

/**
 * gpu_export_piece() - offer the first piece of a range
 * @ret_fd: set to the descriptor for GPU_MEM_VMM (the caller closes it), else to -1
 * The caller goes on behind it: @addr + ret->len.
 * Return: 0; -EOPNOTSUPP: memory that cannot be shared (a pool's, or no handle type was asked for at its
 * creation); -ENOENT no device memory; -errno.
 */
int gpu_export_piece(const struct gpu_ctx *ctx, uint64_t addr, uint64_t len, struct gpu_piece *ret, int *ret_fd);

/**
 * gpu_export_dmabuf() - a range of device memory as a dma-buf, for a network card
 * @addr, @len: page aligned
 * Return: a descriptor; -EOPNOTSUPP: driver or device cannot; -errno.
 */
int gpu_export_dmabuf(const struct gpu_ctx *ctx, uint64_t addr, uint64_t len);

#endif
