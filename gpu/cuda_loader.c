/* SPDX-License-Identifier: Apache-2.0 */
/* cuda_loader.c - the driver as a table of function pointers, found at run time */
#include "gpu/cuda_loader.h"

#include <dlfcn.h>
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "gpu/cuda_err.h"
#include "kvshm/base/compiler.h"

#define LIBCUDA "libcuda.so.1"

static const struct {
	const char *name, *instead;
} feature_texts[] = {
	[CUDA_F_CORE] = { "core", "blocks are read from host memory" },
	[CUDA_F_HOSTREG] = { "hostreg", "copies go through a bounce buffer" },
	[CUDA_F_COPY_2D] = { "copy_2d", "one copy a row" },
	[CUDA_F_COPY_BATCH] = { "copy_batch", "one call a copy" },
	[CUDA_F_IPC] = { "ipc", "no buffers of other processes by handle" },
	[CUDA_F_VMM] = { "vmm", "no buffers of other processes by descriptor" },
	[CUDA_F_DMABUF] = { "dmabuf", "network cards read host memory" },
	[CUDA_F_KERNEL] = { "kernel", "blocks are scattered by copies" },
	[CUDA_F_STREAM_WORD] = { "stream_word", "layers complete by events alone" },
	[CUDA_F_PEER] = { "peer", "copies between GPUs go through host memory" },
};
_Static_assert(ARRAY_SIZE(feature_texts) == CUDA_NR_FEATURES, "a feature without a text");

static const struct entry {
	const char *name;
	int version;
	enum cuda_feature feature;
	size_t at;			/* of its pointer in struct cuda */
} entries[] = {
#define CU_SYM(f, member, v, args) { "cu" #member, v, CUDA_F_##f, offsetof(struct cuda, member) },
#include "gpu/cuda_syms.def"
#undef CU_SYM
};

/* Asks by name and version; the fifth argument came with 12.0. */
struct resolver {
	void *lib;
	CUresult (*get2)(const char *name, void **fn, int version, uint64_t flags, int *status);
	CUresult (*get1)(const char *name, void **fn, int version, uint64_t flags);
};

const char *cuda_feature_name(enum cuda_feature f)
{
	return feature_texts[f].name;
}

const char *cuda_feature_instead(enum cuda_feature f)
{
	return feature_texts[f].instead;
}

static void resolver_init(struct resolver *r, void *lib)
{
	*r = (struct resolver){ .lib = lib };
	*(void **)&r->get2 = dlsym(lib, "cuGetProcAddress_v2");
	*(void **)&r->get1 = dlsym(lib, "cuGetProcAddress");
}

static void *resolve(const struct resolver *r, const struct entry *e)
{
	void *fn = NULL;
	int status = 0;
	CUresult ret;

	if (r->get2)
		ret = r->get2(e->name, &fn, e->version, CU_GET_PROC_ADDRESS_DEFAULT, &status);
	else
		ret = r->get1(e->name, &fn, e->version, CU_GET_PROC_ADDRESS_DEFAULT);
	return ret == CUDA_SUCCESS ? fn : NULL;
}

static __printf(3, 4) void turn_off(struct cuda *cu, enum cuda_feature f, const char *fmt, ...)
{
	va_list ap;

	cu->features &= ~(1u << f);
	va_start(ap, fmt);
	vsnprintf(cu->why[f], sizeof(cu->why[f]), fmt, ap);
	va_end(ap);
}

static void turn_off_all(struct cuda *cu, const char *why)
{
	for (unsigned f = 0; f < CUDA_NR_FEATURES; f++)
		turn_off(cu, f, "%s", why);
}

/* A feature is on when all of its entries are there; the first that is missing is named. */
static void fill_table(struct cuda *cu, const struct resolver *r)
{
	cu->features = (1u << CUDA_NR_FEATURES) - 1;
	for (unsigned i = 0; i < ARRAY_SIZE(entries); i++) {
		const struct entry *e = &entries[i];
		void *fn = resolve(r, e);

		memcpy((char *)cu + e->at, &fn, sizeof(fn));
		if (!fn && cuda_has(cu, e->feature))
			turn_off(cu, e->feature, "the driver has no %s (%d.%d)", e->name, e->version / 1000,
				 e->version % 1000 / 10);
	}
}

static int start_driver(struct cuda *cu)
{
	char text[64], why[CUDA_WHY_LEN];
	CUresult r = cu->Init(0);
	int n = 0;

	if (r == CUDA_SUCCESS)
		r = cu->DriverGetVersion(&cu->version);
	if (r == CUDA_SUCCESS)
		r = cu->DeviceGetCount(&n);
	if (r == CUDA_SUCCESS && n <= 0)
		r = CUDA_ERROR_NO_DEVICE;
	if (r == CUDA_SUCCESS)
		return 0;
	snprintf(why, sizeof(why), "the driver does not start: %s", cuda_err_text(r, text, sizeof(text)));
	turn_off_all(cu, why);
	return cuda_errno(r);
}

int cuda_load(const char *path, struct cuda *ret)
{
	struct resolver r;
	char why[CUDA_WHY_LEN];

	memset(ret, 0, sizeof(*ret));
	if (!path)
		path = secure_getenv("KVSHM_LIBCUDA");
	if (!path || !*path)
		path = LIBCUDA;
	ret->lib = dlopen(path, RTLD_NOW | RTLD_LOCAL | RTLD_NODELETE);
	if (!ret->lib) {
		snprintf(why, sizeof(why), "no driver: %.96s", dlerror());
		turn_off_all(ret, why);
		return -ENOENT;
	}
	resolver_init(&r, ret->lib);
	if (!r.get2 && !r.get1) {
		turn_off_all(ret, "the driver is older than 11.3: it has no cuGetProcAddress");
		return -ENOSYS;
	}
	fill_table(ret, &r);
	if (!cuda_has(ret, CUDA_F_CORE)) {
		snprintf(why, sizeof(why), "%s", ret->why[CUDA_F_CORE]);
		turn_off_all(ret, why);
		return -ENOSYS;
	}
	return start_driver(ret);
}

void cuda_unload(struct cuda *cu)
{
	if (cu->lib)
		dlclose(cu->lib);
	memset(cu, 0, sizeof(*cu));
}
