/* SPDX-License-Identifier: Apache-2.0 */
/* engine_driver.h - a GPU in the driver API; the driver is found as kvshm finds it */
#ifndef EXAMPLES_ENGINE_DRIVER_H
#define EXAMPLES_ENGINE_DRIVER_H

#include <dlfcn.h>

struct engine {
	uint64_t layer[NR_LAYERS];
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

static int engine_copy_in(struct engine *e, uint64_t dst, const void *src, size_t len)
{
	return e->to_device(dst, src, len, e->stream);
}

static int engine_copy_out(struct engine *e, void *dst, uint64_t src, size_t len)
{
	return e->to_host(dst, src, len, e->stream);
}

static int engine_sync(struct engine *e)
{
	int ret;

	while ((ret = e->stream_query(e->stream)) == 600)	/* not ready */
		;
	return ret;
}

#endif
