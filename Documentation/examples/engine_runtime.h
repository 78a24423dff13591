/* SPDX-License-Identifier: Apache-2.0 */
/*
 * engine_runtime.h - a GPU in the CUDA runtime API, as most engines have it
 *
 * The runtime makes the device's primary context current, which is the one that KVSHM_GPU_CURRENT finds.
 */
#ifndef EXAMPLES_ENGINE_RUNTIME_H
#define EXAMPLES_ENGINE_RUNTIME_H

#include <cuda_runtime_api.h>

struct engine {
	uint64_t layer[NR_LAYERS];
	cudaStream_t stream;
};

/* Return: 0; 1 with a message. */
static int engine_failed(const char *what, cudaError_t err)
{
	if (err != cudaSuccess)
		fprintf(stderr, "%s: %s\n", what, cudaGetErrorString(err));
	return err != cudaSuccess;
}

/* Device, stream and pool.  Return: 0; 1 with a message. */
static int engine_open(struct engine *e)
{
	int bad = engine_failed("cudaSetDevice", cudaSetDevice(0)) ||
		  engine_failed("cudaStreamCreate", cudaStreamCreateWithFlags(&e->stream, cudaStreamNonBlocking));

	for (unsigned i = 0; i < NR_LAYERS && !bad; i++) {
		void *tensor = NULL;

		bad = engine_failed("cudaMalloc", cudaMalloc(&tensor, (size_t)NR_BLOCKS * LAYER_LEN));
		e->layer[i] = (uintptr_t)tensor;
	}
	return bad;
}

static int engine_copy_in(struct engine *e, uint64_t dst, const void *src, size_t len)
{
	return engine_failed("cudaMemcpyAsync", cudaMemcpyAsync((void *)(uintptr_t)dst, src, len, cudaMemcpyHostToDevice,
								e->stream));
}

static int engine_copy_out(struct engine *e, void *dst, uint64_t src, size_t len)
{
	return engine_failed("cudaMemcpyAsync", cudaMemcpyAsync(dst, (const void *)(uintptr_t)src, len,
								cudaMemcpyDeviceToHost, e->stream));
}

static int engine_sync(struct engine *e)
{
	return engine_failed("cudaStreamSynchronize", cudaStreamSynchronize(e->stream));
}

#endif
