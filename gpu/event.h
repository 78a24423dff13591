/* SPDX-License-Identifier: Apache-2.0 */
/*
 * event.h - marks on a stream
 *
 * Waiting on an event that nobody has recorded yet is no wait at all: record first, then tell others.
 */
#ifndef GPU_EVENT_H
#define GPU_EVENT_H

#include <stdbool.h>

#include "gpu/stream.h"

struct gpu_event {
	const struct gpu_ctx *ctx;	/* outlives the event */
	CUevent event;
};

enum gpu_event_kind {
	GPU_EVENT_PLAIN,
	GPU_EVENT_TIMED,		/* for gpu_event_elapsed_ns() */
	GPU_EVENT_SHARED,		/* may be opened by another process */
};

int gpu_event_open(const struct gpu_ctx *ctx, enum gpu_event_kind kind, struct gpu_event *ret);

/* Zeroed memory is let be. */
void gpu_event_close(struct gpu_event *e);

/* Mark all that is on the stream now. */
int gpu_event_record(struct gpu_event *e, struct gpu_stream *s);

/* Our stream goes on when what @e marks has completed. */
int gpu_stream_wait_event(struct gpu_stream *s, const struct gpu_event *e);

/**
 * gpu_event_block() - a stream of the engine waits for @e, without stopping the processor
 * @stream: the engine's, 0 is its default stream
 */
int gpu_event_block(const struct gpu_event *e, CUstream stream);

/* Our stream waits for all that is on a stream of the engine now; @e is recorded there. */
int gpu_event_follow(struct gpu_event *e, CUstream stream, struct gpu_stream *s);

/* Return: 1 it has landed, or was never recorded; 0 not yet; -errno as gpu_stream_poll(). */
int gpu_event_poll(const struct gpu_event *e);

/* Until @deadline_ns of CLOCK_MONOTONIC.  Return: 1; -ETIMEDOUT; -errno. */
int gpu_event_wait(const struct gpu_event *e, uint64_t deadline_ns);

/* Between two completed events of GPU_EVENT_TIMED.  @ret_ns is set on success only. */
int gpu_event_elapsed_ns(const struct gpu_event *from, const struct gpu_event *to, uint64_t *ret_ns);

/* The event as 64 bytes for another process, and there again as an event.  Of GPU_EVENT_SHARED only. */
int gpu_event_export(const struct gpu_event *e, CUipcEventHandle *ret);
int gpu_event_import(const struct gpu_ctx *ctx, const CUipcEventHandle *handle, struct gpu_event *ret);

#endif
