/* SPDX-License-Identifier: Apache-2.0 */
/* peer.h - from the memory of one GPU straight into another's */
#ifndef GPU_PEER_H
#define GPU_PEER_H

#include "gpu/stream.h"

/**
 * peer_enable() - let two contexts of this process reach each other's memory, both ways
 * It stays so until a context ends, whoever asked for it.
 * Return: 0; -EOPNOTSUPP: no path between the devices, or the driver lacks the entries; -errno.
 */
int peer_enable(const struct gpu_ctx *a, const struct gpu_ctx *b);

/**
 * peer_copy() - one contiguous copy from @from's memory into that of the stream's context
 * Return: 0, -errno as cuda_errno().
 */
int peer_copy(struct gpu_stream *s, const struct gpu_ctx *from, const struct gpu_copy *c);

#endif
