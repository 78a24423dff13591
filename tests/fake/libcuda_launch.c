/* SPDX-License-Identifier: Apache-2.0 */
/* libcuda_launch.c - the fake driver's modules, and launches of what they name */
#include "tests/fake/fake.h"

#include <stdlib.h>
#include <string.h>

#include "kvshm/base/compiler.h"

struct CUmod_st {
	char *text;			/* of a PTX image, NULL: another kind */
};

FAKE_CALL(ModuleLoadData, (CUmodule *module, const void *image), (module, image))
{
	struct CUmod_st *m;

	if (!image)
		return CUDA_ERROR_INVALID_VALUE;
	m = calloc(1, sizeof(*m));
	if (!m)
		return CUDA_ERROR_OUT_OF_MEMORY;
	/* text of a kernel names its entries; other images are taken as they are */
	if (strncmp(image, "\177ELF", 4))
		m->text = strdup(image);
	*module = m;
	return CUDA_SUCCESS;
}

FAKE_CALL(ModuleUnload, (CUmodule module), (module))
{
	if (!module)
		return 400;
	free(module->text);
	free(module);
	return CUDA_SUCCESS;
}

FAKE_CALL(ModuleGetFunction, (CUfunction *function, CUmodule module, const char *name), (function, module, name))
{
	const struct fake_kernel *k = fake_kernel_find(name);

	if (!k || (module->text && !strstr(module->text, name)))
		return CUDA_ERROR_NOT_FOUND;
	*function = (CUfunction)(uintptr_t)k;
	return CUDA_SUCCESS;
}

/* Arguments are read during the call; those of our kernels are blocks of many words. */
static void fake_op_params(struct fake_op *op, void **params)
{
	size_t at = 0;

	for (unsigned i = 0; i < ARRAY_SIZE(op->param_at) && op->kernel->param_len[i]; i++) {
		const size_t len = min_of((size_t)op->kernel->param_len[i], sizeof(op->params) - at);

		op->param_at[i] = (char *)op->params + at;
		memcpy(op->param_at[i], params[i], len);
		at += round_up(len, (size_t)8);
	}
}

/* What a kernel takes beside its launch. */
static uint64_t kernel_ns(const struct fake_op *op)
{
	enum gpu_dir dir = GPU_D2D;
	uint64_t bytes, addr;
	bool writes;

	if (!op->kernel->fn)
		return op->params[0];
	if (!op->kernel->bytes)
		return 0;
	bytes = op->kernel->bytes(&op->launch, &addr, &writes);
	if (!fake_mem_is_device(addr, 1))
		dir = writes ? GPU_D2H : GPU_H2D;
	return (uint64_t)((double)bytes * 1e9 / fake_conf.bytes_a_second[dir]);
}

FAKE_CALL(LaunchKernel, (CUfunction function, unsigned grid_x, unsigned grid_y, unsigned grid_z, unsigned block_x,
			 unsigned block_y, unsigned block_z, unsigned shared_len, CUstream stream, void **params,
			 void **extra),
	  (function, grid_x, grid_y, grid_z, block_x, block_y, block_z, shared_len, stream, params, extra))
{
	const struct fake_kernel *k = (const void *)function;
	struct CUstream_st *s;
	struct fake_op *op;

	(void)extra;
	s = fake_stream(stream, fake_current());
	if (!s || !k || !grid_x || !grid_y || !grid_z || !block_x || (uint64_t)block_x * block_y * block_z > 1024)
		return CUDA_ERROR_INVALID_VALUE;
	op = fake_op_new(OP_KERNEL, s);
	op->kernel = k;
	op->launch = (struct fake_launch){ .grid = { grid_x, grid_y, grid_z }, .block = { block_x, block_y, block_z },
					   .shared_len = shared_len, .params = op->param_at };
	fake_op_params(op, params);
	op->extra_ns = kernel_ns(op);
	fake_count->launches++;
	fake_submit(op);
	return CUDA_SUCCESS;
}
