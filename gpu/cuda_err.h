/* SPDX-License-Identifier: Apache-2.0 */
/* cuda_err.h - the driver's results, translated once */
#ifndef GPU_CUDA_ERR_H
#define GPU_CUDA_ERR_H

#include <stdbool.h>

#include "gpu/cuda_types.h"

/**
 * cuda_errno() - a result of the driver as 0 or negative errno
 * -EAGAIN stands for "not ready".  -ENOTRECOVERABLE stands for every error after which the context, and
 * with it this process's use of the device, is lost: illegal address, launch failure, ECC, a device that
 * fell off its bus.  Only leaving the process helps.  -ENODEV: no such device.  -EOPNOTSUPP: device or
 * driver cannot do it.  An unknown code is -EIO.
 */
int cuda_errno(CUresult r);

/* Does this result stay with the context?  The same as cuda_errno(r) == -ENOTRECOVERABLE. */
bool cuda_is_sticky(CUresult r);

/* The result in words, also for codes that this table does not know: "700 illegal address". */
const char *cuda_err_text(CUresult r, char *buf, size_t len);

#endif
