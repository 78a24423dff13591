/* SPDX-License-Identifier: Apache-2.0 */
/* cufile_loader.c - GPUDirect Storage's library as a table of function pointers */
#include "gpu/cufile_loader.h"

#include <dlfcn.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "gpu/ctx.h"
#include "kvshm/base/compiler.h"

#define LIBCUFILE "libcufile.so.0"

static const struct entry {
	const char *name;
	size_t at;			/* of its pointer in struct cufile */
} entries[] = {
#define CUFILE_SYM(result, member, args) { "cuFile" #member, offsetof(struct cufile, member) },
#include "gpu/cufile_syms.def"
#undef CUFILE_SYM
};

static const struct {
	int err, number;
} errors[] = {
	{ CU_FILE_SUCCESS, 0 },
	{ CU_FILE_DRIVER_NOT_INITIALIZED, -ENODEV },
	{ CU_FILE_PLATFORM_NOT_SUPPORTED, -EOPNOTSUPP },
	{ CU_FILE_IO_NOT_SUPPORTED, -EOPNOTSUPP },
	{ CU_FILE_DEVICE_NOT_SUPPORTED, -EOPNOTSUPP },
	{ CU_FILE_IO_DISABLED, -EOPNOTSUPP },
	{ CU_FILE_CUDA_POINTER_INVALID, -EINVAL },
	{ CU_FILE_INVALID_VALUE, -EINVAL },
	{ CU_FILE_PERMISSION_DENIED, -EACCES },
	{ CU_FILE_GPU_MEMORY_PINNING_FAILED, -ENOMEM },
	{ CU_FILE_NOMEM_ERROR, -ENOMEM },
};

int cufile_errno(int err)
{
	for (unsigned i = 0; i < ARRAY_SIZE(errors); i++)
		if (errors[i].err == err)
			return errors[i].number;
	return -EIO;
}

static int fill_table(struct cufile *f)
{
	for (unsigned i = 0; i < ARRAY_SIZE(entries); i++) {
		void *fn = dlsym(f->lib, entries[i].name);

		memcpy((char *)f + entries[i].at, &fn, sizeof(fn));
		if (!fn) {
			snprintf(f->why, sizeof(f->why), "the library has no %s", entries[i].name);
			return -ENOSYS;
		}
	}
	return 0;
}

/* Newer ones may fill in more than we know of. */
union props {
	CUfileDrvProps_t p;
	char room[1024];
};

static int look(struct cufile *f, const CUfileDrvProps_t *p)
{
	f->is_direct = true;
	if (p->nvfs.major_version)
		snprintf(f->how, sizeof(f->how), "nvidia-fs %u.%u", p->nvfs.major_version, p->nvfs.minor_version);
	else if (p->nvfs.dstatusflags & 1u << CU_FILE_NVME_P2P_SUPPORTED)
		snprintf(f->how, sizeof(f->how), "the kernel's peer DMA");
	else
		f->is_direct = false;
	if (f->is_direct)
		return 0;
	snprintf(f->why, sizeof(f->why), "compatibility mode: the kernel has neither nvidia-fs nor peer DMA for this library");
	return -EOPNOTSUPP;
}

static int start(struct cufile *f)
{
	union props props = { .room = { 0 } };
	CUfileError_t e = f->DriverOpen();

	if (e.err == CU_FILE_SUCCESS || e.err == CU_FILE_DRIVER_ALREADY_OPEN)
		e = f->DriverGetProperties(&props.p);
	if (e.err == CU_FILE_SUCCESS)
		return look(f, &props.p);
	snprintf(f->why, sizeof(f->why), "the library does not start: %d%s", e.err,
		 e.err == CU_FILE_DRIVER_NOT_INITIALIZED ? ", nvidia-fs is not loaded" : "");
	return cufile_errno(e.err);
}

int cufile_load(const char *path, const struct gpu_ctx *ctx, struct cufile *ret)
{
	int err;

	memset(ret, 0, sizeof(*ret));
	if (!path)
		path = secure_getenv("KVSHM_LIBCUFILE");
	if (!path || !*path)
		path = LIBCUFILE;
	ret->lib = dlopen(path, RTLD_NOW | RTLD_LOCAL | RTLD_NODELETE);
	if (!ret->lib) {
		snprintf(ret->why, sizeof(ret->why), "no library: %.100s", dlerror());
		return -ENOENT;
	}
	err = fill_table(ret);
	if (err == 0)
		err = gpu_ctx_enter(ctx);
	if (err < 0)
		return err;
	err = start(ret);
	gpu_ctx_leave(ctx);
	return err;
}

void cufile_unload(struct cufile *f)
{
	if (f->lib)
		dlclose(f->lib);
	memset(f, 0, sizeof(*f));
}
