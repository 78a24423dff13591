/* SPDX-License-Identifier: Apache-2.0 */
/*
 * engine.h - the engine's side of stage.c: a paged KV pool on a GPU, in the driver API
 *
 * A stand-in for an engine: one tensor a layer, [block][K, V][head][token][content], as vLLM's HND.  In the runtime
 * API the same is cudaSetDevice(), cudaMalloc(), cudaMemcpyAsync() and cudaStreamCreateWithFlags(): addresses and
 * streams are the same things, and go into kvshm as they are.  The driver is found as kvshm finds it.
 */
#ifndef EXAMPLES_ENGINE_H
#define EXAMPLES_ENGINE_H

#include <dlfcn.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#define NR_LAYERS 4u
#define NR_HEADS 2u
#define NR_TOKENS 16u
#define CONTENT 256u			/* bytes of a token and head */
#define NR_BLOCKS 64u			/* of the pool */
#define LAYER_LEN (2u * NR_HEADS * NR_TOKENS * CONTENT)	/* K and V of a block */

struct engine {
	uint64_t layer[NR_LAYERS];	/* device addresses of the tensors */
	void *stream;
	int (*retain)(void **ctx, int dev), (*set)(void *ctx), (*alloc)(uint64_t *dev, size_t len);
	int (*stream_create)(void **stream, unsigned flags, int priority), (*stream_query)(void *stream);
	int (*to_device)(uint64_t dst, const void *src, size_t len, void *stream);
	int (*to_host)(void *dst, uint64_t src, size_t len, void *stream);
};

static void *entry(int (*get)(const char *, void **, int, uint64_t), const char *name)
{
	void *fn = NULL;

	if (get(name, &fn, 12000, 0) || !fn)
		fprintf(stderr, "the driver has no %s\n", name);
	return fn;
}

static int engine_load(struct engine *e)
{
	const char *path = getenv("KVSHM_LIBCUDA");
	void *lib = dlopen(path ? path : "libcuda.so.1", RTLD_NOW);
	int (*get)(const char *, void **, int, uint64_t), (*init)(unsigned);

	if (!lib) {
		fprintf(stderr, "%s\n", dlerror());
		return 1;
	}
	*(void **)&get = dlsym(lib, "cuGetProcAddress");
	if (!get) {
		fprintf(stderr, "the driver is older than 11.3\n");
		return 1;
	}
	*(void **)&init = entry(get, "cuInit");
	*(void **)&e->retain = entry(get, "cuDevicePrimaryCtxRetain");
	*(void **)&e->set = entry(get, "cuCtxPushCurrent");
	*(void **)&e->alloc = entry(get, "cuMemAlloc");
	*(void **)&e->stream_create = entry(get, "cuStreamCreateWithPriority");
	*(void **)&e->stream_query = entry(get, "cuStreamQuery");
	*(void **)&e->to_device = entry(get, "cuMemcpyHtoDAsync");
	*(void **)&e->to_host = entry(get, "cuMemcpyDtoHAsync");
	if (!init || !e->retain || !e->set || !e->alloc || !e->stream_create || !e->stream_query || !e->to_device ||
	    !e->to_host)
		return 1;
	return init(0);
}

/* Context, stream and pool.  Return: 0; 1 with a message. */
static int engine_open(struct engine *e)
{
	void *ctx;
	int bad = engine_load(e);

	if (bad)
		return 1;
	bad = e->retain(&ctx, 0) || e->set(ctx) || e->stream_create(&e->stream, 1, 0);
	for (unsigned i = 0; i < NR_LAYERS && !bad; i++)
		bad = e->alloc(&e->layer[i], (size_t)NR_BLOCKS * LAYER_LEN);
	if (bad)
		fprintf(stderr, "the engine's pool cannot be made\n");
	return bad;
}

static int engine_sync(struct engine *e)
{
	int ret;

	while ((ret = e->stream_query(e->stream)) == 600)	/* not ready */
		;
	return ret;
}

/* "Compute" a block: its keys and values are what stands at @kv, layer after layer. */
static int engine_compute(struct engine *e, unsigned block, const char *kv)
{
	int bad = 0;

	for (unsigned i = 0; i < NR_LAYERS && !bad; i++)
		bad = e->to_device(e->layer[i] + (uint64_t)block * LAYER_LEN, kv + i * LAYER_LEN, LAYER_LEN, e->stream);
	return bad;
}

/* Read it back, to see what the engine would work with. */
static int engine_read(struct engine *e, unsigned block, char *kv)
{
	int bad = 0;

	for (unsigned i = 0; i < NR_LAYERS && !bad; i++)
		bad = e->to_host(kv + i * LAYER_LEN, e->layer[i] + (uint64_t)block * LAYER_LEN, LAYER_LEN, e->stream);
	return bad ? bad : engine_sync(e);
}

#endif
