/* SPDX-License-Identifier: Apache-2.0 */
/* fake_cuda.c - the fake driver, loaded for a test */
#include "tests/lib/fake_cuda.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

const char *fake_cuda_path(char *buf, size_t len)
{
	const char *build = getenv("KVSHM_BUILD");

	snprintf(buf, len, "%s/fake/libcuda.so.1", build ? build : "build");
	return buf;
}

void fake_cuda_start(struct fake_cuda *f, const char *script)
{
	char path[512];
	int n;

	memset(f, 0, sizeof(*f));
	if (cuda_load(fake_cuda_path(path, sizeof(path)), &f->cu) < 0)
		fail_msg("%s: %s", path, f->cu.why[CUDA_F_CORE]);
	f->fake = cuda_fake_open(&f->cu);
	assert_non_null(f->fake);
	assert_int_equal(f->fake->script("reset"), 0);
	if (script)
		assert_int_equal(f->fake->script(script), 0);
	n = gpu_device_list(&f->cu, "/sys", f->device, GPU_MAX_DEVICES);
	assert_true(n > 0);
	f->nr_devices = (unsigned)n;
	assert_int_equal(gpu_ctx_open(&f->cu, &f->device[0], &f->ctx), 0);
}

struct fake_counters fake_cuda_counters(const struct fake_cuda *f)
{
	struct fake_counters c;

	f->fake->counters(&c);
	return c;
}

void fake_cuda_stop(struct fake_cuda *f)
{
	struct fake_counters c = fake_cuda_counters(f);

	gpu_ctx_close(&f->ctx);
	assert_int_equal(c.registered, 0);
	assert_int_equal(c.imports, 0);
	assert_int_equal(c.streams, 0);
	assert_int_equal(c.events, 0);
	assert_int_equal(c.allocations, 0);
	assert_int_equal(c.misuses, 0);
	cuda_unload(&f->cu);
}
