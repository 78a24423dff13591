/* SPDX-License-Identifier: Apache-2.0 */
/*
 * kern_twin.h - the kernels on the CPU
 *
 * A twin runs each thread of a launch in turn, through the very text that the device compiles, so index arithmetic
 * is tested without a device.  For tests and the fake driver: nothing of the library links them.
 */
#ifndef GPU_KERN_TWIN_H
#define GPU_KERN_TWIN_H

#include <stdint.h>

#include "gpu/kern_args.h"

typedef void (*kern_twin_fn)(uint32_t nr_ctas, uint32_t nr_threads, const void *args);

/* By enum gpu_kernel; @args is its argument block, with addresses of this process. */
extern const kern_twin_fn kern_twins[GPU_NR_KERNELS];

#endif
