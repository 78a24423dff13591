/* SPDX-License-Identifier: Apache-2.0 */
/*
 * libcuda.c - a fake libcuda.so.1 on host memory: the way in
 *
 * With the files beside it it implements every entry of gpu/cuda_syms.def, and is reached as the real one is, by name
 * and version.
 * What it offers besides is in gpu/cuda_fake.h.
 */
#include "tests/fake/fake.h"

#include <string.h>

#include "kvshm/base/compiler.h"

pthread_mutex_t fake_lock = PTHREAD_MUTEX_INITIALIZER;
CUresult fake_sticky[FAKE_DEVICES];
static bool is_started;

const char *const fake_entry_names[E_LAST] = {
#define CU_SYM(feature, member, version, args) [E_##member] = "cu" #member,
#include "gpu/cuda_syms.def"
#undef CU_SYM
};

static const int entry_versions[E_LAST] = {
#define CU_SYM(feature, member, v, args) [E_##member] = v,
#include "gpu/cuda_syms.def"
#undef CU_SYM
};

/* What the driver answers also when the context is lost, or before there is one. */
static bool needs_no_context(enum fake_entry e)
{
	return e == E_Init || e == E_DriverGetVersion || e == E_GetErrorName || (e >= E_DeviceGetCount && e <= E_CtxGetCurrent) ||
	       e == E_DeviceCanAccessPeer || e == E_ThreadExchangeStreamCaptureMode;
}

CUresult fake_enter(enum fake_entry e)
{
	CUresult r;

	pthread_mutex_lock(&fake_lock);
	fake_count->calls++;
	r = fake_rule(e);
	if (!r && e != E_Init && !is_started)
		r = CUDA_ERROR_NOT_INITIALIZED;
	if (!r && !needs_no_context(e)) {
		r = fake_current() < 0 ? CUDA_ERROR_INVALID_CONTEXT : fake_sticky[fake_current()];
	}
	if (r)
		pthread_mutex_unlock(&fake_lock);
	return r;
}

CUresult fake_leave(CUresult r)
{
	pthread_mutex_unlock(&fake_lock);
	return r;
}

/* ---- entries of the driver itself -------------------------------------------------------------------- */

FAKE_CALL(Init, (unsigned flags), (flags))
{
	(void)flags;
	fake_clock_start();
	is_started = true;
	return fake_conf.devices ? CUDA_SUCCESS : CUDA_ERROR_NO_DEVICE;
}

FAKE_CALL(DriverGetVersion, (int *version), (version))
{
	*version = fake_conf.version;
	return CUDA_SUCCESS;
}

FAKE_ENTRY(GetErrorName)(CUresult error, const char **str)
{
	(void)error;
	*str = "CUDA_ERROR_OF_THE_FAKE";
	return CUDA_SUCCESS;
}

/* ---- the way in ------------------------------------------------------------------------------------- */

static void *entry_find(const char *name, int version)
{
	static void *const fns[E_LAST] = {
#define CU_SYM(feature, member, v, args) [E_##member] = (void *)fake_##member,
#include "gpu/cuda_syms.def"
#undef CU_SYM
	};

	for (unsigned i = 0; i < E_LAST; i++)
		if (!strcmp(fake_entry_names[i], name))
			return fake_conf.missing[i] || entry_versions[i] > fake_conf.version || version < entry_versions[i] ?
				       NULL : fns[i];
	return NULL;
}

CUresult cuGetProcAddress(const char *symbol, void **fn, int version, uint64_t flags);
CUresult cuGetProcAddress_v2(const char *symbol, void **fn, int version, uint64_t flags, int *status);
const struct cuda_fake *fake_cuda(void);

__public CUresult cuGetProcAddress(const char *symbol, void **fn, int version, uint64_t flags)
{
	(void)flags;
	fake_script_start();
	*fn = entry_find(symbol, version);
	return *fn ? CUDA_SUCCESS : CUDA_ERROR_NOT_FOUND;
}

__public CUresult cuGetProcAddress_v2(const char *symbol, void **fn, int version, uint64_t flags, int *status)
{
	CUresult r = cuGetProcAddress(symbol, fn, version, flags);

	if (status)
		*status = r ? 1 : 0;
	return r;
}

static void get_counters(struct fake_counters *ret)
{
	pthread_mutex_lock(&fake_lock);
	fake_run();
	*ret = *fake_count;
	pthread_mutex_unlock(&fake_lock);
}

static uint64_t get_now(void)
{
	uint64_t t;

	pthread_mutex_lock(&fake_lock);
	t = fake_now();
	pthread_mutex_unlock(&fake_lock);
	return t;
}

static void do_advance(uint64_t ns)
{
	pthread_mutex_lock(&fake_lock);
	fake_advance(ns);
	pthread_mutex_unlock(&fake_lock);
}

__public const struct cuda_fake *fake_cuda(void)
{
	static const struct cuda_fake fake = {
		.script = fake_script, .counters = get_counters, .landed = fake_get_landed, .now_ns = get_now,
		.advance = do_advance, .kernel = fake_kernel_add,
	};

	return &fake;
}
