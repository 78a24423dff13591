/* SPDX-License-Identifier: Apache-2.0 */
/* libcuda_peer.c - the fake driver's devices among each other */
#include "tests/fake/fake.h"

static bool enabled[FAKE_DEVICES][FAKE_DEVICES];	/* [who][whose] */

FAKE_ENTRY(DeviceCanAccessPeer)(int *can, CUdevice device, CUdevice peer)
{
	CUresult r = fake_enter(E_DeviceCanAccessPeer);
	bool are_devices = device >= 0 && device < fake_conf.devices && peer >= 0 && peer < fake_conf.devices;

	if (r)
		return r;
	*can = fake_conf.peer && device != peer;
	return fake_leave(are_devices ? CUDA_SUCCESS : CUDA_ERROR_INVALID_DEVICE);
}

FAKE_ENTRY(CtxEnablePeerAccess)(CUcontext peer, unsigned flags)
{
	CUresult r = fake_enter(E_CtxEnablePeerAccess);
	int dev = r ? -1 : fake_ctx_device(peer);

	(void)flags;
	if (r)
		return r;
	if (dev < 0 || !fake_conf.peer || dev == fake_current())
		return fake_leave(CUDA_ERROR_PEER_ACCESS_UNSUPPORTED);
	if (enabled[fake_current()][dev])
		return fake_leave(CUDA_ERROR_PEER_ACCESS_ALREADY_ENABLED);
	enabled[fake_current()][dev] = true;
	return fake_leave(CUDA_SUCCESS);
}

static bool is_of(CUcontext ctx, uint64_t addr)
{
	const struct fake_mem *m = fake_mem_find(addr, 1);

	return m && m->kind != FAKE_HOST && m->dev == fake_ctx_device(ctx);
}

/* Contexts that do not reach each other: the driver copies through host memory, there and back. */
FAKE_ENTRY(MemcpyPeerAsync)(CUdeviceptr dst, CUcontext dst_ctx, CUdeviceptr src, CUcontext src_ctx, size_t len,
			    CUstream stream)
{
	double rate = fake_conf.bytes_a_second[GPU_H2D] / 2;
	CUresult r = fake_enter(E_MemcpyPeerAsync);
	int from, to;

	if (r)
		return r;
	if (!is_of(dst_ctx, dst) || !is_of(src_ctx, src))
		return fake_leave(CUDA_ERROR_INVALID_VALUE);
	from = fake_ctx_device(src_ctx);
	to = fake_ctx_device(dst_ctx);
	if (fake_sticky[from])
		return fake_leave(fake_sticky[from]);
	if (fake_conf.peer && enabled[from][to] && enabled[to][from])
		rate = fake_conf.peer_bytes_a_second;
	return fake_leave(fake_copy(stream, GPU_D2D, dst, src, len, (uint64_t)((double)len * 1e9 / rate)));
}
