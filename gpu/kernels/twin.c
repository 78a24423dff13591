/* SPDX-License-Identifier: Apache-2.0 */
/* twin.c - each thread of a launch in turn */
#include "gpu/kern_twin.h"

#include "gpu/kernels/gather_run.h"
#include "gpu/kernels/spread.h"

static void spread(uint32_t nr_ctas, uint32_t nr_threads, const void *args, bool is_scatter)
{
	for (uint32_t cta = 0; cta < nr_ctas; cta++)
		for (uint32_t thread = 0; thread < nr_threads; thread++)
			spread_thread(args, cta, thread, nr_threads, is_scatter);
}

static void scatter(uint32_t nr_ctas, uint32_t nr_threads, const void *args)
{
	spread(nr_ctas, nr_threads, args, true);
}

static void collect(uint32_t nr_ctas, uint32_t nr_threads, const void *args)
{
	spread(nr_ctas, nr_threads, args, false);
}

static void gather(uint32_t nr_ctas, uint32_t nr_threads, const void *args)
{
	const uint32_t nr = nr_ctas * nr_threads;

	for (uint32_t thread = 0; thread < nr; thread++)
		gather_thread(args, thread, nr);
}

const kern_twin_fn kern_twins[GPU_NR_KERNELS] = {
	[GPU_KERNEL_SCATTER] = scatter,
	[GPU_KERNEL_COLLECT] = collect,
	[GPU_KERNEL_GATHER] = gather,
};
