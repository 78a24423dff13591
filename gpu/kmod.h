/* SPDX-License-Identifier: Apache-2.0 */
/*
 * kmod.h - our kernels in a context
 *
 * The driver compiles the embedded PTX for its device when it is loaded (tens of milliseconds the first time, then
 * from its own cache), so a context loads it when it is opened, never on the way of a copy.
 */
#ifndef GPU_KMOD_H
#define GPU_KMOD_H

#include "gpu/ctx.h"
#include "gpu/kern_args.h"
#include "gpu/stage_plan.h"
#include "gpu/stream.h"

struct kmod {
	const struct gpu_ctx *ctx;	/* outlives the module */
	CUmodule module;
	CUfunction fn[GPU_NR_KERNELS];
};

/**
 * kmod_open() - load the kernels
 * @ret: caller's memory, set on success only; read-only afterwards, any thread may launch from it
 * Return: 0, -EOPNOTSUPP: the driver launches no kernels (CUDA_F_KERNEL), -ENOEXEC: it cannot compile them for this
 * device, -errno as cuda_errno().  Without kernels copies do all, more of them.
 */
int kmod_open(const struct gpu_ctx *ctx, struct kmod *ret);

/* Nothing of it is on a stream any more.  Zeroed memory is let be. */
void kmod_close(struct kmod *k);

/**
 * kmod_launch() - one kernel onto a stream of the same context
 * @args: its argument block (kern_args.h), read during the call only
 * Return: 0, -EINVAL: an empty launch or no such kernel, -errno as cuda_errno().
 */
int kmod_launch(const struct kmod *k, struct gpu_stream *s, enum gpu_kernel kernel, uint32_t nr_ctas,
		uint32_t nr_threads, const void *args);

/* The same for an entry of a plan. */
static inline int kmod_spread(const struct kmod *k, struct gpu_stream *s, const struct stage_launch *l)
{
	return kmod_launch(k, s, (enum gpu_kernel)l->kernel, l->nr_ctas, l->nr_threads, &l->args);
}

#endif
