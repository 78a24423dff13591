/* SPDX-License-Identifier: Apache-2.0 */
/* peer.c - from the memory of one GPU straight into another's */
#include "gpu/peer.h"

#include <errno.h>

#include "gpu/cuda_err.h"

static int enable(const struct gpu_ctx *ctx, const struct gpu_ctx *peer)
{
	CUresult r;
	int ret = gpu_ctx_enter(ctx);

	if (ret < 0)
		return ret;
	r = ctx->cu->CtxEnablePeerAccess(peer->ctx, 0);
	gpu_ctx_leave(ctx);
	return r == CUDA_ERROR_PEER_ACCESS_ALREADY_ENABLED ? 0 : cuda_errno(r);
}

int peer_enable(const struct gpu_ctx *a, const struct gpu_ctx *b)
{
	int ret;

	if (a->ctx == b->ctx)
		return 0;
	ret = gpu_device_peer(a->cu, &a->device, &b->device);
	if (ret <= 0)
		return ret < 0 ? ret : -EOPNOTSUPP;
	ret = enable(a, b);
	return ret < 0 ? ret : enable(b, a);
}

int peer_copy(struct gpu_stream *s, const struct gpu_ctx *from, const struct gpu_copy *c)
{
	int ret = gpu_ctx_enter(s->ctx);

	if (ret < 0)
		return ret;
	ret = cuda_errno(s->ctx->cu->MemcpyPeerAsync(c->dst, s->ctx->ctx, c->src, from->ctx, c->len, s->stream));
	gpu_ctx_leave(s->ctx);
	return ret;
}
