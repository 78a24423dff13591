/* SPDX-License-Identifier: Apache-2.0 */
/*
 * kernels.cu - the kernels, as device code
 *
 * Freestanding: clang makes PTX of it without any toolkit, nvcc where that is installed.  What a thread does is in
 * headers that the twins (gpu/kernels/twin.c) compile too.
 */
#include "gpu/kernels/gather_run.h"
#include "gpu/kernels/spread.h"

#ifdef __clang__
#define GLOBAL extern "C" __attribute__((global))
#define THREAD __nvvm_read_ptx_sreg_tid_x()
#define NR_THREADS __nvvm_read_ptx_sreg_ntid_x()
#define CTA __nvvm_read_ptx_sreg_ctaid_x()
#define NR_CTAS __nvvm_read_ptx_sreg_nctaid_x()
#else
#define GLOBAL extern "C" __global__
#define THREAD threadIdx.x
#define NR_THREADS blockDim.x
#define CTA blockIdx.x
#define NR_CTAS gridDim.x
#endif

GLOBAL void kvshm_scatter(const struct gpu_spread_args args)
{
	spread_thread(&args, CTA, THREAD, NR_THREADS, true);
}

GLOBAL void kvshm_collect(const struct gpu_spread_args args)
{
	spread_thread(&args, CTA, THREAD, NR_THREADS, false);
}

GLOBAL void kvshm_gather(const struct gpu_gather_args args)
{
	gather_thread(&args, CTA * NR_THREADS + THREAD, NR_CTAS * NR_THREADS);
}
