/* SPDX-License-Identifier: Apache-2.0 */
/* poll.h - bounded waits for the device; the driver's own waits have no end when it hangs */
#ifndef GPU_POLL_H
#define GPU_POLL_H

#include <stdint.h>

#include "gpu/cuda_types.h"

/* Of a query: 1 complete (and what it wrote to host memory is seen), 0 not ready, -errno. */
int poll_result(CUresult r);

/**
 * poll_until() - spin, yield, then look every 50 us until @deadline_ns of CLOCK_MONOTONIC
 * @poll: as poll_result()
 * Return: 1, -errno of @poll, -ETIMEDOUT.
 */
int poll_until(int (*poll)(void *arg), void *arg, uint64_t deadline_ns);

#endif
