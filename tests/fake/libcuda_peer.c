/* SPDX-License-Identifier: Apache-2.0 */
/* libcuda_peer.c - the fake driver's devices among each other */
#include "tests/fake/fake.h"

static bool enabled[FAKE_DEVICES][FAKE_DEVICES];	/* [who][whose] */

FAKE_CALL(DeviceCanAccessPeer, (int *can, CUdevice device, CUdevice peer), (can, device, peer))
{
	*can = fake_conf.peer && device != peer;
	return fake_is_device(device) && fake_is_device(peer) ? CUDA_SUCCESS : CUDA_ERROR_INVALID_DEVICE;
}

FAKE_CALL(CtxEnablePeerAccess, (CUcontext peer, unsigned flags), (peer, flags))
{
	const int dev = fake_ctx_device(peer);

	(void)flags;
	if (dev < 0 || !fake_conf.peer || dev == fake_current())
		return CUDA_ERROR_PEER_ACCESS_UNSUPPORTED;
	if (enabled[fake_current()][dev])
		return CUDA_ERROR_PEER_ACCESS_ALREADY_ENABLED;
	enabled[fake_current()][dev] = true;
	return CUDA_SUCCESS;
}

static bool is_of(CUcontext ctx, uint64_t addr)
{
	const struct fake_mem *m = fake_mem_find(addr, 1);

	return m && m->kind != FAKE_HOST && m->dev == fake_ctx_device(ctx);
}

/* Contexts that do not reach each other: the driver copies through host memory, there and back. */
FAKE_CALL(MemcpyPeerAsync, (CUdeviceptr dst, CUcontext dst_ctx, CUdeviceptr src, CUcontext src_ctx, size_t len,
			    CUstream stream),
	  (dst, dst_ctx, src, src_ctx, len, stream))
{
	const int from = fake_ctx_device(src_ctx), to = fake_ctx_device(dst_ctx);
	double rate = fake_conf.bytes_a_second[GPU_H2D] / 2;

	if (!is_of(dst_ctx, dst) || !is_of(src_ctx, src))
		return CUDA_ERROR_INVALID_VALUE;
	if (fake_sticky[from])
		return fake_sticky[from];
	if (fake_conf.peer && enabled[from][to] && enabled[to][from])
		rate = fake_conf.peer_bytes_a_second;
	return fake_copy(stream, GPU_D2D, dst, src, len, (uint64_t)((double)len * 1e9 / rate));
}
