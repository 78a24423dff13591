/* SPDX-License-Identifier: Apache-2.0 */
/* gpu_gather.c - pieces of pinned blocks into device memory, by a kernel over the mapped arena */
#include <errno.h>

#include "gpu/kmod.h"
#include "kvshm/client/gather.h"
#include "kvshm/client/gpu.h"

/* Where kernels find the arena that the handle is attached to.  Return: 0, -EAGAIN, -EOPNOTSUPP, -ENOMEM. */
static int arena_reach(struct kvshm_gpu *g, struct gpu_mem **ret_m)
{
	struct hostreg_progress p;
	struct gpu_mem *m;
	int ret;

	if (!g->k->cur)
		return -ESTALE;
	ret = gpu_mem_get(g, g->k->cur->content, &m);
	if (ret < 0)
		return ret;
	if (!m->host.dev) {
		if (!m->reg)
			return -EOPNOTSUPP;
		hostreg_progress(m->reg, &p);
		return p.nr_pinned + p.nr_refused < m->nr_added ? -EAGAIN : -EOPNOTSUPP;
	}
	*ret_m = m;
	return 0;
}

static int blocks_within(const struct kvshm_gather_request *what, const struct stage_host *h)
{
	for (uint32_t i = 0; i < what->nr_blocks; i++) {
		const uint64_t at = (uintptr_t)what->blocks[i].ptr - h->base;

		if (at > h->span || what->blocks[i].length > h->span - at)
			return -ESTALE;
	}
	return 0;
}

static int launch_kernel(struct kvshm_gpu *g, const struct stage_host *h, const struct gather_plan *p, uint64_t dst,
			 void *engine_stream)
{
	struct gpu_stream stream = { .ctx = &g->ctx, .stream = engine_stream };
	struct gpu_gather_args args;
	uint32_t ctas, threads;

	if (!p->nr_runs)
		return 0;
	/* places are our addresses: the kernel's differ by one number */
	gather_args(p, h->dev - h->base, dst, (uintptr_t)p->runs, &args, &ctas, &threads);
	return kmod_launch(stage_kmod(g->stage), &stream, GPU_KERNEL_GATHER, ctas, threads, &args);
}

__public int kvshm_gpu_gather(struct kvshm_gpu *g, const struct kvshm_gather_request *what,
			      const struct kvshm_gather_launch *launch, uint64_t *ret_len)
{
	struct gather_plan p = { 0 };
	struct gather_taken t;
	struct gpu_mem *m = NULL;
	int ret;

	if (client_is_forked(g->k))
		return -EOWNERDEAD;
	if (stage_error(g->stage) < 0)
		return stage_error(g->stage);
	if (!stage_kmod(g->stage))
		return -EOPNOTSUPP;
	if (launch->sz != sizeof(*launch) || (uintptr_t)launch->table & 7)
		return -EINVAL;
	ret = gather_take(what, &t);
	if (ret == 0)
		ret = arena_reach(g, &m);
	if (ret == 0)
		ret = blocks_within(what, &m->host);
	if (ret < 0)
		return ret;
	p.runs = launch->table;
	p.max_runs = (uint32_t)min_of(launch->table_len / sizeof(*p.runs), (uint64_t)UINT32_MAX);
	ret = gather_plan_make(&t.s, t.pieces, what->nr_pieces, &t.held, &p, what->at);
	if (ret == 0 && p.len > what->dst_len)
		ret = -ENOSPC;
	if (ret == 0)
		ret = launch_kernel(g, &m->host, &p, (uintptr_t)what->dst, launch->engine_stream);
	if (ret < 0)
		return ret;
	g->info.launches += p.nr_runs != 0;
	*ret_len = p.len;
	return (int)(what->nr_pieces - p.nr_held);
}
