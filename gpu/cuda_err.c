/* SPDX-License-Identifier: Apache-2.0 */
/* cuda_err.c - the driver's results, translated once */
#include "gpu/cuda_err.h"

#include <errno.h>
#include <stdio.h>

#include "kvshm/base/compiler.h"

/* Ascending.  The words are ours, the numbers the driver's. */
static const struct result {
	CUresult code;
	int error;
	const char *text;
} results[] = {
	{ CUDA_SUCCESS, 0, "success" },
	{ CUDA_ERROR_INVALID_VALUE, EINVAL, "invalid value" },
	{ CUDA_ERROR_OUT_OF_MEMORY, ENOMEM, "out of memory" },
	{ CUDA_ERROR_NOT_INITIALIZED, EINVAL, "driver not initialised" },
	{ CUDA_ERROR_DEINITIALIZED, ENOTRECOVERABLE, "driver shutting down" },
	{ CUDA_ERROR_STUB_LIBRARY, ENODEV, "a stub of the toolkit, no driver" },
	{ CUDA_ERROR_DEVICE_UNAVAILABLE, EBUSY, "device busy or in exclusive use" },
	{ CUDA_ERROR_NO_DEVICE, ENODEV, "no device" },
	{ CUDA_ERROR_INVALID_DEVICE, ENODEV, "no such device" },
	{ 200, ENOEXEC, "invalid kernel image" },
	{ CUDA_ERROR_INVALID_CONTEXT, EINVAL, "invalid context" },
	{ 205, ENOMEM, "mapping failed" },
	{ 208, EEXIST, "already mapped" },
	{ 209, ENOEXEC, "no kernel image for this device" },
	{ CUDA_ERROR_ECC_UNCORRECTABLE, ENOTRECOVERABLE, "uncorrectable memory error" },
	{ CUDA_ERROR_PEER_ACCESS_UNSUPPORTED, EOPNOTSUPP, "no peer access between these devices" },
	{ 218, ENOEXEC, "kernel text refused" },
	{ 220, ENOTRECOVERABLE, "uncorrectable NVLink error" },
	{ 221, ENOEXEC, "no kernel compiler in the driver" },
	{ 222, ENOEXEC, "kernel text too new for the driver" },
	{ 226, ENOTRECOVERABLE, "contained memory error" },
	{ 304, EIO, "operating system call failed" },
	{ 400, EINVAL, "invalid handle" },
	{ 401, EINVAL, "illegal state" },
	{ CUDA_ERROR_NOT_FOUND, ENOENT, "not found" },
	{ CUDA_ERROR_NOT_READY, EAGAIN, "not ready" },
	{ CUDA_ERROR_ILLEGAL_ADDRESS, ENOTRECOVERABLE, "illegal address" },
	{ 701, ENOSPC, "launch needs too many resources" },
	{ 702, ENOTRECOVERABLE, "launch timed out" },
	{ CUDA_ERROR_PEER_ACCESS_ALREADY_ENABLED, EALREADY, "peer access already enabled" },
	{ 708, EBUSY, "primary context active" },
	{ 709, ENOTRECOVERABLE, "context destroyed" },
	{ 710, ENOTRECOVERABLE, "device-side assertion" },
	{ CUDA_ERROR_HOST_MEMORY_ALREADY_REGISTERED, EEXIST, "host memory already registered" },
	{ CUDA_ERROR_HOST_MEMORY_NOT_REGISTERED, ENOENT, "host memory not registered" },
	{ 714, ENOTRECOVERABLE, "stack error on the device" },
	{ 715, ENOTRECOVERABLE, "illegal instruction" },
	{ 716, ENOTRECOVERABLE, "misaligned address" },
	{ 717, ENOTRECOVERABLE, "invalid address space" },
	{ 718, ENOTRECOVERABLE, "invalid program counter" },
	{ CUDA_ERROR_LAUNCH_FAILED, ENOTRECOVERABLE, "launch failed" },
	{ CUDA_ERROR_NOT_PERMITTED, EPERM, "not permitted" },
	{ CUDA_ERROR_NOT_SUPPORTED, EOPNOTSUPP, "not supported" },
	{ 802, EAGAIN, "system not ready, the fabric manager is starting" },
	{ 803, ENODEV, "driver and library do not match" },
	{ 804, ENODEV, "compatibility library on an unsupported device" },
	{ 900, EBUSY, "not while a graph is captured" },
	{ 901, EBUSY, "graph capture invalidated" },
	{ 906, EBUSY, "implicit wait on a captured stream" },
	/* in mid-work it means a device that fell off its bus: nobody knows more, so the context is given up */
	{ CUDA_ERROR_UNKNOWN, ENOTRECOVERABLE, "unknown error" },
};

static const struct result *find(CUresult r)
{
	for (unsigned i = 0; i < ARRAY_SIZE(results); i++)
		if (results[i].code == r)
			return &results[i];
	return NULL;
}

int cuda_errno(CUresult r)
{
	const struct result *e = find(r);

	return e ? -e->error : -EIO;
}

bool cuda_is_sticky(CUresult r)
{
	return cuda_errno(r) == -ENOTRECOVERABLE;
}

const char *cuda_err_text(CUresult r, char *buf, size_t len)
{
	const struct result *e = find(r);

	snprintf(buf, len, "%d %s", r, e ? e->text : "not known to kvshm");
	return buf;
}
