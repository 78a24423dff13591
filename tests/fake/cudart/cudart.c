/* SPDX-License-Identifier: Apache-2.0 */
/*
 * cudart.c - as much of the CUDA runtime as an example needs, over the fake driver
 *
 * NVIDIA's own asks the driver for tables that nobody has described.  The declarations are those of the installed
 * header, so that the example and this one are compiled against the same.
 */
#include <cuda_runtime_api.h>
#include <dlfcn.h>
#include <stdint.h>
#include <stdlib.h>

typedef int (*get_fn)(const char *name, void **fn, int version, uint64_t flags);

static void *entry(const char *name)
{
	static get_fn get;
	void *lib, *fn = NULL;

	if (!get) {
		lib = dlopen(getenv("KVSHM_LIBCUDA"), RTLD_NOW);
		*(void **)&get = lib ? dlsym(lib, "cuGetProcAddress") : NULL;
	}
	if (!get || get(name, &fn, 12000, 0))
		abort();
	return fn;
}

#define CALL(name, types, ...) (((int (*) types)entry(name))(__VA_ARGS__))

cudaError_t cudaSetDevice(int device)
{
	void *ctx;
	int ret = CALL("cuInit", (unsigned), 0);

	if (!ret)
		ret = CALL("cuDevicePrimaryCtxRetain", (void **, int), &ctx, device);
	return (cudaError_t)(ret ? ret : CALL("cuCtxPushCurrent", (void *), ctx));
}

cudaError_t cudaMalloc(void **ptr, size_t len)
{
	return (cudaError_t)CALL("cuMemAlloc", (uint64_t *, size_t), (uint64_t *)ptr, len);
}

cudaError_t cudaStreamCreateWithFlags(cudaStream_t *stream, unsigned flags)
{
	return (cudaError_t)CALL("cuStreamCreateWithPriority", (void **, unsigned, int), (void **)stream, flags, 0);
}

cudaError_t cudaStreamSynchronize(cudaStream_t stream)
{
	int ret;

	while ((ret = CALL("cuStreamQuery", (void *), stream)) == cudaErrorNotReady)
		;
	return (cudaError_t)ret;
}

cudaError_t cudaMemcpyAsync(void *dst, const void *src, size_t len, enum cudaMemcpyKind kind, cudaStream_t stream)
{
	if (kind == cudaMemcpyHostToDevice)
		return (cudaError_t)CALL("cuMemcpyHtoDAsync", (uint64_t, const void *, size_t, void *), (uintptr_t)dst, src,
					 len, stream);
	return (cudaError_t)CALL("cuMemcpyDtoHAsync", (void *, uint64_t, size_t, void *), dst, (uintptr_t)src, len, stream);
}

const char *cudaGetErrorString(cudaError_t err)
{
	return err ? "an error" : "no error";
}
