/* SPDX-License-Identifier: Apache-2.0 */
/*
 * stream.h - a stream of our own, and what goes onto it
 *
 * Nothing here waits for the device except gpu_stream_wait(), which is bounded.  A submit that failed has
 * put nothing onto the stream, but what was submitted before it is still under way: memory is let go
 * only when gpu_stream_poll() says that all has landed or that the context is lost for good.
 * One thread at a time per stream.
 */
#ifndef GPU_STREAM_H
#define GPU_STREAM_H

#include <stddef.h>
#include <stdint.h>

#include "gpu/ctx.h"

struct gpu_stream {
	const struct gpu_ctx *ctx;	/* outlives the stream */
	CUstream stream;
};

enum gpu_dir {
	GPU_H2D,			/* host to device */
	GPU_D2H,
	GPU_D2D,
};

/* Addresses are numbers, host and device alike: the driver's addresses are unified. */
struct gpu_copy {
	uint64_t dst, src;
	size_t len;
};

struct gpu_copy_2d {			/* rows of @width bytes */
	uint64_t dst, src;
	size_t dst_pitch, src_pitch;
	size_t width, rows;
};

/**
 * gpu_stream_open() - a non-blocking stream, not ordered with the engine's default stream
 * @urgent: the device's highest priority (loads that a step waits for), else its lowest
 */
int gpu_stream_open(const struct gpu_ctx *ctx, bool urgent, struct gpu_stream *ret);

/* Ends it at once from our side; what is on it still completes.  Zeroed memory is let be. */
void gpu_stream_close(struct gpu_stream *s);

/* One contiguous copy.  Return: 0, -errno as cuda_errno(). */
int gpu_stream_copy(struct gpu_stream *s, enum gpu_dir dir, const struct gpu_copy *c);

/* Rows.  Return: 0, -EOPNOTSUPP without CUDA_F_COPY_2D, -errno. */
int gpu_stream_copy_2d(struct gpu_stream *s, enum gpu_dir dir, const struct gpu_copy_2d *c);

/**
 * gpu_stream_copy_batch() - many copies in one call, in no order among themselves
 * @dst, @src, @len: @nr each, in the form the driver takes, read during the call only
 * Return: 0; -EOPNOTSUPP without CUDA_F_COPY_BATCH; -errno: some of them may be on the stream.
 */
int gpu_stream_copy_batch(struct gpu_stream *s, enum gpu_dir dir, CUdeviceptr *dst, CUdeviceptr *src, size_t *len,
			  size_t nr);

/* The same where the driver has it, else, or for one alone, a call each.  Return: 0, -errno as there. */
int gpu_stream_copy_many(struct gpu_stream *s, enum gpu_dir dir, CUdeviceptr *dst, CUdeviceptr *src, size_t *len, size_t nr);

/**
 * gpu_stream_launch() - a kernel of one-dimensional blocks
 * @params: pointers to the arguments, read during the call only
 */
int gpu_stream_launch(struct gpu_stream *s, CUfunction f, const unsigned grid[3], unsigned block, void **params);

/**
 * gpu_stream_write_word(), gpu_stream_wait_word() - the stream writes, or waits until it is >= @value
 * @addr: device address of an aligned 64-bit word, in device memory or pinned host memory
 * Unlike an event, a word may be waited for before anybody arranged to write it.
 * Return: 0, -EOPNOTSUPP without CUDA_F_STREAM_WORD, -errno.
 */
int gpu_stream_write_word(struct gpu_stream *s, uint64_t addr, uint64_t value);
int gpu_stream_wait_word(struct gpu_stream *s, uint64_t addr, uint64_t value);

/* Return: 1 all landed, 0 not yet, -errno; -ENOTRECOVERABLE the context is lost. */
int gpu_stream_poll(struct gpu_stream *s);

/* As gpu_stream_poll(), until @deadline_ns of CLOCK_MONOTONIC.  Return: 1; -ETIMEDOUT; -errno. */
int gpu_stream_wait(struct gpu_stream *s, uint64_t deadline_ns);

#endif
