/* SPDX-License-Identifier: Apache-2.0 */
/* libcufile.c - a fake libcufile.so.0 over the fake driver's memory */
#include "tests/fake/cufile/cufile_fake.h"

#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "gpu/cuda_types.h"
#include "gpu/cufile_types.h"
#include "kvshm/base/compiler.h"

#define MAX 64u				/* of rules, handles, buffers */
#define INVALID_CONTEXT 5047

#define CUFILE_SYM(result, member, args) result cuFile##member args;
#include "gpu/cufile_syms.def"
#undef CUFILE_SYM
const struct cufile_fake *fake_cufile(void);

struct rule {
	char entry[32];
	unsigned left;
	int code;
};

struct buffer {
	const char *base;		/* NULL: not one */
	size_t len;
};

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static bool is_ready, is_open;
static unsigned nvfs, p2p, delay_ms;
static size_t short_len;
static struct rule rules[MAX];
static unsigned nr_rules;
static struct buffer buffers[MAX];
static int handles[MAX];		/* fd + 1 */
static struct cufile_counters count;

/* ---- the driver -------------------------------------------------------------------------------------------- */

static void *driver_entry(const char *name)
{
	CUresult (*get)(const char *, void **, int, uint64_t, int *);
	void *lib = dlopen("libcuda.so.1", RTLD_NOW | RTLD_NOLOAD), *fn = NULL;

	if (!lib)
		return NULL;
	*(void **)&get = dlsym(lib, "cuGetProcAddress_v2");
	if (get)
		get(name, &fn, 13000, 0, NULL);
	dlclose(lib);
	return fn;
}

static bool has_context(void)
{
	CUresult (*current)(CUcontext *);
	CUcontext ctx = NULL;

	*(void **)&current = driver_entry("cuCtxGetCurrent");
	return current && current(&ctx) == CUDA_SUCCESS && ctx;
}

static bool is_device(const void *at)
{
	CUresult (*attribute)(void *, int, CUdeviceptr);
	unsigned type = 0;

	*(void **)&attribute = driver_entry("cuPointerGetAttribute");
	return attribute && attribute(&type, CU_POINTER_ATTRIBUTE_MEMORY_TYPE, (uintptr_t)at) == CUDA_SUCCESS &&
	       type == CU_MEMORYTYPE_DEVICE;
}

/* ---- the script -------------------------------------------------------------------------------------------- */

static void reset(void)
{
	nvfs = 2;
	p2p = delay_ms = nr_rules = 0;
	short_len = SIZE_MAX;
	count.begun = count.reads = count.writes = count.bytes = count.unregistered = 0;
}

static bool word(const char *w)
{
	struct rule r;
	size_t n;

	if (!strcmp(w, "reset")) {
		reset();
		return true;
	}
	if (sscanf(w, "nvfs=%u", &nvfs) == 1 || sscanf(w, "p2p=%u", &p2p) == 1 || sscanf(w, "delay=%u", &delay_ms) == 1)
		return true;
	if (sscanf(w, "short=%zu", &n) == 1) {
		short_len = n;
		return true;
	}
	if (sscanf(w, "fail=%31[^:]:%u:%d", r.entry, &r.left, &r.code) != 3 || nr_rules == MAX)
		return false;
	rules[nr_rules++] = r;
	return true;
}

static int apply(const char *text)
{
	char *copy = strdup(text), *at = copy, *w;
	bool ok = copy;

	while (ok && (w = strsep(&at, ";")))
		ok = !*w || word(w);
	free(copy);
	return ok ? 0 : -EINVAL;
}

static void start(void)
{
	const char *text = getenv("FAKE_CUFILE_SCRIPT");

	if (is_ready)
		return;
	is_ready = true;
	reset();
	if (text && apply(text) < 0)
		fprintf(stderr, "fake libcufile: FAKE_CUFILE_SCRIPT is malformed: %s\n", text);
}

static int script(const char *text)
{
	int ret;

	pthread_mutex_lock(&lock);
	start();
	ret = apply(text);
	pthread_mutex_unlock(&lock);
	return ret;
}

static void counters(struct cufile_counters *ret)
{
	pthread_mutex_lock(&lock);
	*ret = count;
	pthread_mutex_unlock(&lock);
}

__public const struct cufile_fake *fake_cufile(void)
{
	static const struct cufile_fake fake = { script, counters };

	return &fake;
}

/* Takes the lock.  Return: what the script lets this call fail with. */
static int enter(const char *entry)
{
	pthread_mutex_lock(&lock);
	start();
	for (unsigned i = 0; i < nr_rules; i++)
		if (!strcmp(rules[i].entry, entry) && rules[i].left && !--rules[i].left)
			return rules[i].code;
	return 0;
}

static CUfileError_t leave(int err)
{
	pthread_mutex_unlock(&lock);
	return (CUfileError_t){ .err = err };
}

/* ---- entries ------------------------------------------------------------------------------------------------ */

__public CUfileError_t cuFileDriverOpen(void)
{
	int err = enter("cuFileDriverOpen");

	if (!err && !has_context())
		err = INVALID_CONTEXT;
	if (!err && is_open)
		err = CU_FILE_DRIVER_ALREADY_OPEN;
	is_open |= !err;
	return leave(err);
}

__public CUfileError_t cuFileDriverGetProperties(CUfileDrvProps_t *props)
{
	int err = enter("cuFileDriverGetProperties");

	*props = (CUfileDrvProps_t){ .nvfs = { .major_version = nvfs, .minor_version = 17,
					       .dstatusflags = p2p << CU_FILE_NVME_P2P_SUPPORTED } };
	return leave(err);
}

__public CUfileError_t cuFileHandleRegister(CUfileHandle_t *fh, CUfileDescr_t *descr)
{
	int err = enter("cuFileHandleRegister");
	unsigned i = 0;

	if (!err && (!is_open || descr->type != CU_FILE_HANDLE_TYPE_OPAQUE_FD || fcntl(descr->handle.fd, F_GETFD) < 0))
		err = CU_FILE_INVALID_VALUE;
	for (unsigned n = 0; n < MAX && !err; n++)
		if (handles[n] == descr->handle.fd + 1)
			err = CU_FILE_HANDLE_ALREADY_REGISTERED;
	while (i < MAX && handles[i])
		i++;
	if (err || i == MAX)
		return leave(err ? err : CU_FILE_NOMEM_ERROR);
	handles[i] = descr->handle.fd + 1;
	*fh = &handles[i];
	count.handles++;
	return leave(0);
}

__public void cuFileHandleDeregister(CUfileHandle_t fh)
{
	enter("cuFileHandleDeregister");
	*(int *)fh = 0;
	count.handles--;
	leave(0);
}

static struct buffer *buffer_at(const void *base)
{
	for (unsigned i = 0; i < MAX; i++)
		if (buffers[i].base == base)
			return &buffers[i];
	return NULL;
}

__public CUfileError_t cuFileBufRegister(const void *base, size_t len, int flags)
{
	int err = enter("cuFileBufRegister");
	struct buffer *b = buffer_at(NULL);

	(void)flags;
	if (!err && buffer_at(base))
		err = CU_FILE_MEMORY_ALREADY_REGISTERED;
	if (!err && !is_device(base))
		err = CU_FILE_CUDA_POINTER_INVALID;
	if (err || !b)
		return leave(err ? err : CU_FILE_NOMEM_ERROR);
	*b = (struct buffer){ base, len };
	count.buffers++;
	return leave(0);
}

__public CUfileError_t cuFileBufDeregister(const void *base)
{
	int err = enter("cuFileBufDeregister");
	struct buffer *b = buffer_at(base);

	if (err || !b)
		return leave(err ? err : CU_FILE_CUDA_POINTER_INVALID);
	b->base = NULL;
	count.buffers--;
	return leave(0);
}

/* Return: descriptor; negative as the entry returns it. */
static ssize_t begin(const char *entry, CUfileHandle_t fh, const char *base, off_t base_off, size_t *len)
{
	int err = enter(entry), fd = *(int *)fh - 1;
	const struct buffer *b;
	struct timespec delay;

	if (!err && !has_context())
		err = INVALID_CONTEXT;
	if (!err && (!is_device(base + base_off) || !is_device(base + base_off + *len - 1)))
		err = CU_FILE_CUDA_POINTER_INVALID;
	b = buffer_at(base);
	count.begun++;
	count.unregistered += !b || (size_t)base_off + *len > b->len;
	*len = *len < short_len ? *len : short_len;
	delay = (struct timespec){ delay_ms / 1000, delay_ms % 1000 * 1000000l };
	pthread_mutex_unlock(&lock);
	nanosleep(&delay, NULL);
	if (err && err < 5000) {
		errno = err;
		return -1;
	}
	return err ? -err : fd;
}

static ssize_t end(ssize_t n, uint64_t *calls)
{
	int err = errno;

	pthread_mutex_lock(&lock);
	(*calls)++;
	count.bytes += n > 0 ? (uint64_t)n : 0;
	pthread_mutex_unlock(&lock);
	errno = err;
	return n;
}

__public ssize_t cuFileRead(CUfileHandle_t fh, void *base, size_t len, off_t file_off, off_t base_off)
{
	ssize_t fd = begin("cuFileRead", fh, base, base_off, &len);

	return fd < 0 ? fd : end(pread((int)fd, (char *)base + base_off, len, file_off), &count.reads);
}

__public ssize_t cuFileWrite(CUfileHandle_t fh, const void *base, size_t len, off_t file_off, off_t base_off)
{
	ssize_t fd = begin("cuFileWrite", fh, base, base_off, &len);

	return fd < 0 ? fd : end(pwrite((int)fd, (const char *)base + base_off, len, file_off), &count.writes);
}
