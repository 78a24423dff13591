/* SPDX-License-Identifier: Apache-2.0 */
/* tier_cufile.c - a file read and written by the device that holds it, straight from and to device memory */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "gpu/cuda_err.h"
#include "gpu/cufile_loader.h"
#include "gpu/tier.h"

struct direct {
	const struct gpu_ctx *ctx;
	const struct cufile *cufile;
	CUfileHandle_t handle;
	uint64_t addr;
	bool is_registered;		/* the memory; else the library maps it for each transfer */
	int fd;
};

static void *base_of(const struct direct *d)
{
	return (void *)(uintptr_t)d->addr;
}

static int error_of(CUfileError_t e)
{
	return e.err == CU_FILE_CUDA_DRIVER_ERROR ? cuda_errno(e.cu_err) : cufile_errno(e.err);
}

static int register_both(struct direct *d, uint64_t len)
{
	CUfileDescr_t descr = { .type = CU_FILE_HANDLE_TYPE_OPAQUE_FD, .handle = { .fd = d->fd } };
	int ret = gpu_ctx_enter(d->ctx);

	if (ret < 0)
		return ret;
	ret = error_of(d->cufile->HandleRegister(&d->handle, &descr));
	if (ret == 0)
		d->is_registered = d->cufile->BufRegister(base_of(d), len, 0).err == CU_FILE_SUCCESS;
	gpu_ctx_leave(d->ctx);
	return ret;
}

static int direct_open(const struct tier_target *t, void **ret_file)
{
	struct direct *d;
	int ret;

	if (!t->cufile->is_direct)
		return -EOPNOTSUPP;
	d = malloc(sizeof(*d));
	if (!d)
		return -ENOMEM;
	*d = (struct direct){ .ctx = t->ctx, .cufile = t->cufile, .addr = t->addr, .fd = tier_open(t->path, t->is_write) };
	ret = d->fd < 0 ? d->fd : register_both(d, t->len);
	if (ret < 0) {
		if (d->fd >= 0)
			close(d->fd);
		free(d);
		return ret;
	}
	*ret_file = d;
	return 0;
}

static int result_of(ssize_t n)
{
	if (n > 0)
		return 0;
	if (n == 0)
		return -ENODATA;
	if (n == -1)
		return errno ? -errno : -EIO;
	return cufile_errno((int)-n);
}

/* The library may do less than it was asked for. */
static int transfer(struct direct *d, bool is_write, uint64_t off, uint64_t addr, uint64_t len)
{
	const off_t at = (off_t)(addr - d->addr);
	uint64_t done = 0;
	ssize_t n;
	int ret = gpu_ctx_enter(d->ctx);

	while (ret == 0 && done < len) {
		errno = 0;
		n = is_write ? d->cufile->Write(d->handle, base_of(d), len - done, (off_t)(off + done), at + (off_t)done) :
			       d->cufile->Read(d->handle, base_of(d), len - done, (off_t)(off + done), at + (off_t)done);
		ret = result_of(n);
		done += n > 0 ? (uint64_t)n : 0;
		if (n <= 0)
			break;
	}
	gpu_ctx_leave(d->ctx);
	return ret;
}

static int direct_read(void *file, uint64_t off, uint64_t addr, uint64_t len)
{
	return transfer(file, false, off, addr, len);
}

static int direct_write(void *file, uint64_t off, uint64_t addr, uint64_t len)
{
	int ret = transfer(file, true, off, addr, len);

	return ret == -ENODATA ? -EIO : ret;
}

static void direct_close(void *file)
{
	struct direct *d = file;

	if (gpu_ctx_enter(d->ctx) == 0) {
		if (d->is_registered)
			d->cufile->BufDeregister(base_of(d));
		d->cufile->HandleDeregister(d->handle);
		gpu_ctx_leave(d->ctx);
	}
	close(d->fd);
	free(d);
}

const struct tier_ops tier_cufile = { 0, direct_open, direct_read, direct_write, direct_close };
