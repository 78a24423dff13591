/* SPDX-License-Identifier: Apache-2.0 */
/* bench_stage_engine.c - what stands for an engine: a stream, and a kernel that takes a given time */
#include "gpu/cuda_err.h"
#include "utils/bench_stage.h"

/* One warp that waits for @ns of the device's clock: loads and their kernels go on beside it. */
static const char busy_text[] =
	".version 6.0\n.target sm_70\n.address_size 64\n"
	".visible .entry fake_busy(.param .u64 ns)\n{\n"
	"	.reg .u64 %t<4>;\n	.reg .pred %p;\n"
	"	ld.param.u64 %t0, [ns];\n"
	"	mov.u64 %t1, %globaltimer;\n"
	"again:\n"
	"	mov.u64 %t2, %globaltimer;\n"
	"	sub.u64 %t3, %t2, %t1;\n"
	"	setp.lt.u64 %p, %t3, %t0;\n"
	"	@%p bra again;\n"
	"	ret;\n}\n";

void stage_engine_close(struct stage_world *w, struct stage_engine *e)
{
	gpu_stream_close(&e->stream);
	if (e->module && !gpu_ctx_enter(&w->ctx)) {
		w->cu.ModuleUnload(e->module);
		gpu_ctx_leave(&w->ctx);
	}
}

int stage_engine_open(struct stage_world *w, struct stage_engine *e)
{
	CUresult r;
	int ret = gpu_stream_open(&w->ctx, true, &e->stream);

	if (!ret)
		ret = gpu_ctx_enter(&w->ctx);
	if (ret < 0)
		return ret;
	r = w->cu.ModuleLoadData(&e->module, busy_text);
	if (r == CUDA_SUCCESS)
		r = w->cu.ModuleGetFunction(&e->busy, e->module, "fake_busy");
	gpu_ctx_leave(&w->ctx);
	return cuda_errno(r);
}

int stage_engine_compute(struct stage_engine *e, uint64_t ns)
{
	const unsigned grid[3] = { 1, 1, 1 };
	void *params[] = { &ns };

	return gpu_stream_launch(&e->stream, e->busy, grid, 32, params);
}
