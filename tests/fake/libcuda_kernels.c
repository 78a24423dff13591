/* SPDX-License-Identifier: Apache-2.0 */
/*
 * libcuda_kernels.c - which processor twin stands for which kernel, by name
 *
 * Each of gpu/kernels/ has a row here; what a launch does is then what the twin does.
 */
#include "tests/fake/fake.h"

#include <errno.h>
#include <string.h>

#include "gpu/kern_twin.h"
#include "kvshm/base/compiler.h"

#define MAX_ADDED 32u

static const unsigned busy_params[] = { 8, 0 };
static const unsigned spread_params[] = { sizeof(struct gpu_spread_args), 0 };
static const unsigned gather_params[] = { sizeof(struct gpu_gather_args), 0 };

static void twin(enum gpu_kernel kernel, const struct fake_launch *l)
{
	kern_twins[kernel](l->grid[0], l->block[0], l->params[0]);
}

static void scatter(const struct fake_launch *l)
{
	twin(GPU_KERNEL_SCATTER, l);
}

static void collect(const struct fake_launch *l)
{
	twin(GPU_KERNEL_COLLECT, l);
}

static void gather(const struct fake_launch *l)
{
	twin(GPU_KERNEL_GATHER, l);
}

static uint64_t spread_bytes(const struct fake_launch *l, uint64_t *ret_addr)
{
	const struct gpu_spread_args *a = l->params[0];
	const uint64_t first = a->offsets ? *(const uint64_t *)(uintptr_t)a->offsets : 0;

	*ret_addr = a->packed + first + ((const struct gpu_plane *)(uintptr_t)a->planes)->packed;
	return (uint64_t)a->nr_blocks * a->nr_planes * a->nr_outer * a->nr_inner * a->run_vecs << a->vec_shift;
}

static uint64_t scatter_bytes(const struct fake_launch *l, uint64_t *ret_addr, bool *ret_writes)
{
	*ret_writes = false;
	return spread_bytes(l, ret_addr);
}

static uint64_t collect_bytes(const struct fake_launch *l, uint64_t *ret_addr, bool *ret_writes)
{
	*ret_writes = true;
	return spread_bytes(l, ret_addr);
}

static uint64_t gather_bytes(const struct fake_launch *l, uint64_t *ret_addr, bool *ret_writes)
{
	const struct gpu_gather_args *a = l->params[0];
	const struct gpu_gather_run *runs = (const struct gpu_gather_run *)(uintptr_t)a->runs;
	uint64_t bytes = 0;

	*ret_writes = false;
	*ret_addr = a->arena + (a->nr_runs ? runs[0].arena : 0);
	for (uint32_t i = 0; i < a->nr_runs; i++)
		bytes += runs[i].len;
	return bytes;
}

static const struct fake_kernel kernels[] = {
	{ "fake_busy", NULL, busy_params, NULL },	/* nothing but time, see cuda_fake.h */
	{ "kvshm_scatter", scatter, spread_params, scatter_bytes },
	{ "kvshm_collect", collect, spread_params, collect_bytes },
	{ "kvshm_gather", gather, gather_params, gather_bytes },
};

static struct fake_kernel added[MAX_ADDED];
static unsigned nr_added;

const struct fake_kernel *fake_kernel_find(const char *name)
{
	for (unsigned i = 0; i < nr_added; i++)
		if (!strcmp(added[i].name, name))
			return &added[i];
	for (unsigned i = 0; i < ARRAY_SIZE(kernels); i++)
		if (!strcmp(kernels[i].name, name))
			return &kernels[i];
	return NULL;
}

int fake_kernel_add(const struct fake_kernel *k)
{
	int ret = -ENOSPC;

	pthread_mutex_lock(&fake_lock);
	if (nr_added < MAX_ADDED) {
		added[nr_added++] = *k;
		ret = 0;
	}
	pthread_mutex_unlock(&fake_lock);
	return ret;
}
