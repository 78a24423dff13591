/* SPDX-License-Identifier: Apache-2.0 */
/* event.c - marks on a stream */
#include "gpu/event.h"

#include <errno.h>
#include <string.h>

#include "gpu/cuda_err.h"
#include "gpu/poll.h"

static const unsigned kind_flags[] = {
	[GPU_EVENT_PLAIN] = CU_EVENT_DISABLE_TIMING,
	[GPU_EVENT_TIMED] = 0,
	[GPU_EVENT_SHARED] = CU_EVENT_DISABLE_TIMING | CU_EVENT_INTERPROCESS,
};

int gpu_event_open(const struct gpu_ctx *ctx, enum gpu_event_kind kind, struct gpu_event *ret)
{
	int err = gpu_ctx_enter(ctx);
	CUevent event;
	CUresult r;

	if (err < 0)
		return err;
	r = ctx->cu->EventCreate(&event, kind_flags[kind]);
	gpu_ctx_leave(ctx);
	if (r != CUDA_SUCCESS)
		return cuda_errno(r);
	*ret = (struct gpu_event){ .ctx = ctx, .event = event };
	return 0;
}

void gpu_event_close(struct gpu_event *e)
{
	if (e->ctx && !gpu_ctx_enter(e->ctx)) {
		e->ctx->cu->EventDestroy(e->event);
		gpu_ctx_leave(e->ctx);
	}
	memset(e, 0, sizeof(*e));
}

static int record(const struct gpu_event *e, CUstream stream)
{
	int ret = gpu_ctx_enter(e->ctx);

	if (ret < 0)
		return ret;
	ret = cuda_errno(e->ctx->cu->EventRecord(e->event, stream));
	gpu_ctx_leave(e->ctx);
	return ret;
}

int gpu_event_record(struct gpu_event *e, struct gpu_stream *s)
{
	return record(e, s->stream);
}

int gpu_event_block(const struct gpu_event *e, CUstream stream)
{
	int ret = gpu_ctx_enter(e->ctx);

	if (ret < 0)
		return ret;
	ret = cuda_errno(e->ctx->cu->StreamWaitEvent(stream, e->event, 0));
	gpu_ctx_leave(e->ctx);
	return ret;
}

int gpu_stream_wait_event(struct gpu_stream *s, const struct gpu_event *e)
{
	return gpu_event_block(e, s->stream);
}

int gpu_event_follow(struct gpu_event *e, CUstream stream, struct gpu_stream *s)
{
	int ret = record(e, stream);

	return ret < 0 ? ret : gpu_event_block(e, s->stream);
}

int gpu_event_poll(const struct gpu_event *e)
{
	int ret = gpu_ctx_enter(e->ctx);

	if (ret < 0)
		return ret;
	ret = poll_result(e->ctx->cu->EventQuery(e->event));
	gpu_ctx_leave(e->ctx);
	return ret;
}

static int poll_event(void *arg)
{
	return gpu_event_poll(arg);
}

int gpu_event_wait(const struct gpu_event *e, uint64_t deadline_ns)
{
	return poll_until(poll_event, (void *)e, deadline_ns);
}

int gpu_event_elapsed_ns(const struct gpu_event *from, const struct gpu_event *to, uint64_t *ret_ns)
{
	float ms = 0;
	int ret = gpu_ctx_enter(to->ctx);

	if (ret < 0)
		return ret;
	ret = cuda_errno(to->ctx->cu->EventElapsedTime(&ms, from->event, to->event));
	gpu_ctx_leave(to->ctx);
	if (ret < 0)
		return ret;
	*ret_ns = ms > 0 ? (uint64_t)((double)ms * 1e6) : 0;
	return 0;
}

int gpu_event_export(const struct gpu_event *e, CUipcEventHandle *ret)
{
	CUipcEventHandle handle;
	int err;

	if (!cuda_has(e->ctx->cu, CUDA_F_IPC))
		return -EOPNOTSUPP;
	err = gpu_ctx_enter(e->ctx);
	if (err < 0)
		return err;
	err = cuda_errno(e->ctx->cu->IpcGetEventHandle(&handle, e->event));
	gpu_ctx_leave(e->ctx);
	if (!err)
		*ret = handle;
	return err;
}

int gpu_event_import(const struct gpu_ctx *ctx, const CUipcEventHandle *handle, struct gpu_event *ret)
{
	CUevent event;
	int err;

	if (!cuda_has(ctx->cu, CUDA_F_IPC))
		return -EOPNOTSUPP;
	err = gpu_ctx_enter(ctx);
	if (err < 0)
		return err;
	err = cuda_errno(ctx->cu->IpcOpenEventHandle(&event, *handle));
	gpu_ctx_leave(ctx);
	if (!err)
		*ret = (struct gpu_event){ .ctx = ctx, .event = event };
	return err;
}
