/* SPDX-License-Identifier: Apache-2.0 */
/* fake_cuda.h - the fake driver, loaded for a test */
#ifndef TESTS_LIB_FAKE_CUDA_H
#define TESTS_LIB_FAKE_CUDA_H

#include "gpu/ctx.h"
#include "gpu/cuda_fake.h"

struct fake_cuda {
	struct cuda cu;
	const struct cuda_fake *fake;
	struct gpu_device device[GPU_MAX_DEVICES];
	unsigned nr_devices;
	struct gpu_ctx ctx;		/* of device 0 */
};

/* Where this build's fake lies. */
const char *fake_cuda_path(char *buf, size_t len);

/**
 * fake_cuda_start() - load it, reset it, apply @script (NULL: nothing), open the first device
 * A test that needs another number of devices or missing entries sets $FAKE_CUDA_SCRIPT before the
 * first start of the process.  Fails the test on an error.
 */
void fake_cuda_start(struct fake_cuda *f, const char *script);

/* Close the context; what is still registered, allocated or open in the fake fails the test. */
void fake_cuda_stop(struct fake_cuda *f);

/* One counter or all of them, now. */
struct fake_counters fake_cuda_counters(const struct fake_cuda *f);

#endif
