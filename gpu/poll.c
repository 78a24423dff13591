/* SPDX-License-Identifier: Apache-2.0 */
/* poll.c - bounded waits for the device */
#include "gpu/poll.h"

#include <errno.h>
#include <time.h>

#include "gpu/cuda_err.h"
#include "gpu/dma_order.h"
#include "kvshm/base/clock.h"
#include "kvshm/base/wait.h"

#define SLEEP_NS 50000			/* a 2 MiB copy takes about that long */

int poll_result(CUresult r)
{
	if (r == CUDA_ERROR_NOT_READY)
		return 0;
	if (r != CUDA_SUCCESS)
		return cuda_errno(r);
	dma_copy_landed();
	return 1;
}

int poll_until(int (*poll)(void *arg), void *arg, uint64_t deadline_ns)
{
	const struct timespec nap = { .tv_nsec = SLEEP_NS };
	bool spins = true;
	struct wait w;
	int ret;

	wait_init(&w);
	wait_begin(&w);
	for (;;) {
		ret = poll(arg);
		if (ret)
			return ret;
		if (clock_ns() >= deadline_ns)
			return -ETIMEDOUT;
		spins = spins && wait_step(&w);
		if (!spins)
			nanosleep(&nap, NULL);
	}
}
