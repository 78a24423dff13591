/* SPDX-License-Identifier: Apache-2.0 */
/*
 * ctx.h - the device's primary context, entered and left
 *
 * In an engine's process the current context of a thread is the engine's.  Whatever calls the driver
 * stands between gpu_ctx_enter() and gpu_ctx_leave(), which leave it as it was, errors included; the
 * functions of gpu/ that take a context or what was made in one do so themselves.
 */
#ifndef GPU_CTX_H
#define GPU_CTX_H

#include "gpu/device.h"

struct gpu_ctx {
	const struct cuda *cu;
	struct gpu_device device;
	CUcontext ctx;
};

/**
 * gpu_ctx_open() - retain the primary context, which an engine's runtime shares
 * @ret: caller's memory, set on success only; read-only afterwards, any thread may use it
 * Return: 0, -errno as cuda_errno().
 */
int gpu_ctx_open(const struct cuda *cu, const struct gpu_device *device, struct gpu_ctx *ret);

/* Everything made in it is destroyed before.  Zeroed memory is let be. */
void gpu_ctx_close(struct gpu_ctx *c);

/**
 * gpu_ctx_enter() - make it current in this thread; may nest
 * Return: 0, -errno: then nothing was changed, and gpu_ctx_leave() is not called.
 */
int gpu_ctx_enter(const struct gpu_ctx *c);

/* Back to what was current before. */
void gpu_ctx_leave(const struct gpu_ctx *c);

#endif
