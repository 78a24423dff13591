/* SPDX-License-Identifier: Apache-2.0 */
/* kmod.c - the embedded PTX loaded, its kernels launched */
#include "gpu/kmod.h"

#include <errno.h>
#include <string.h>

#include "gpu/cuda_err.h"
#include "gpu/kern_text.h"

/* In the current context; what was loaded is let go on failure. */
static CUresult load(const struct cuda *cu, struct kmod *k)
{
	CUresult r = cu->ModuleLoadData(&k->module, kern_text);

	if (r != CUDA_SUCCESS)
		return r;
	for (unsigned i = 0; i < GPU_NR_KERNELS && r == CUDA_SUCCESS; i++)
		r = cu->ModuleGetFunction(&k->fn[i], k->module, kern_names[i]);
	if (r != CUDA_SUCCESS)
		cu->ModuleUnload(k->module);
	return r;
}

int kmod_open(const struct gpu_ctx *ctx, struct kmod *ret)
{
	struct kmod k = { .ctx = ctx };
	CUresult r;
	int err;

	if (!cuda_has(ctx->cu, CUDA_F_KERNEL))
		return -EOPNOTSUPP;
	err = gpu_ctx_enter(ctx);
	if (err < 0)
		return err;
	r = load(ctx->cu, &k);
	gpu_ctx_leave(ctx);
	if (r != CUDA_SUCCESS)
		return cuda_errno(r);
	*ret = k;
	return 0;
}

void kmod_close(struct kmod *k)
{
	if (k->ctx && !gpu_ctx_enter(k->ctx)) {
		k->ctx->cu->ModuleUnload(k->module);
		gpu_ctx_leave(k->ctx);
	}
	memset(k, 0, sizeof(*k));
}

int kmod_launch(const struct kmod *k, struct gpu_stream *s, enum gpu_kernel kernel, uint32_t nr_ctas,
		uint32_t nr_threads, const void *args)
{
	const unsigned grid[3] = { nr_ctas, 1, 1 };
	void *params[] = { (void *)(uintptr_t)args };

	if ((unsigned)kernel >= GPU_NR_KERNELS || !nr_ctas || !nr_threads)
		return -EINVAL;
	return gpu_stream_launch(s, k->fn[kernel], grid, nr_threads, params);
}
