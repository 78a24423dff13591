/* SPDX-License-Identifier: Apache-2.0 */
/*
 * import.h - device memory of another process: the receiver's half
 *
 * The driver wants one open per allocation in a process, so a table counts who uses each; buffers of several
 * layers often share one.  The driver also refuses, without a clear word, two processes with the same PID value (two
 * containers, 1 and 1), so that is refused here first.
 *
 * What a peer sends is checked here: lengths, offsets, kind.  A handle is opaque, and a forged one fails in the driver.
 * The peer may die with its memory imported: close when the copies have landed, the memory lives till then.
 * Not thread-safe: one owner.
 */
#ifndef GPU_IMPORT_H
#define GPU_IMPORT_H

#include <stdint.h>
#include <sys/types.h>

#include "gpu/export.h"

struct gpu_imports;
struct gpu_import;			/* one buffer of a peer: a range, contiguous here too */

/* @max_buffers, @max_pieces: limits over all peers. */
int gpu_imports_create(const struct gpu_ctx *ctx, unsigned max_buffers, unsigned max_pieces, struct gpu_imports **ret);

/* All buffers are closed before, or are closed here.  NULL is let be. */
void gpu_imports_destroy(struct gpu_imports *t);

/**
 * gpu_import_open() - map a peer's range
 * @peer: any number that names the peer, never used again for another one
 * @pid_there: the PID that the peer sees itself as, from the peer
 * @addr_there: the range's address in the peer: names the buffer
 * @piece, @fd: the pieces in ascending order; fd[i] of a GPU_MEM_VMM piece, -1 else; the caller goes on owning them
 * A range of several IPC allocations cannot be contiguous here and is refused: offer each apart.
 * Return: 0; -EEXIST this peer has such a buffer; -EBUSY one that it freed is still open under that address; -EADDRINUSE equal PIDs; -EINVAL malformed; -ENOSPC a
 * limit; -ENODEV memory of another device; -errno of the driver.
 */
int gpu_import_open(struct gpu_imports *t, uint64_t peer, pid_t pid_there, uint64_t addr_there,
		    const struct gpu_piece *piece, const int *fd, unsigned nr, struct gpu_import **ret);

/* After the copies have landed.  The last buffer of an allocation closes it. */
void gpu_import_close(struct gpu_import *b);

/* The buffer of that address, or NULL. */
struct gpu_import *gpu_import_find(struct gpu_imports *t, uint64_t peer, uint64_t addr_there);

/* Where it lies here, and how long it is. */
uint64_t gpu_import_addr(const struct gpu_import *b);
uint64_t gpu_import_len(const struct gpu_import *b);

#endif
