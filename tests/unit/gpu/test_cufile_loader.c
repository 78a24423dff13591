/* SPDX-License-Identifier: Apache-2.0 */
/* test_cufile_loader.c - GPUDirect Storage's library, found or not, and what it stands on */
#include "gpu/cufile_loader.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include <errno.h>

#include "tests/lib/fake_cufile.h"

struct fixture {
	struct fake_cuda c;
	struct cufile f;
	const struct cufile_fake *fake;
};

static int setup(void **state)
{
	static struct fixture x;

	fake_cuda_start(&x.c, NULL);
	x.fake = fake_cufile_open();
	assert_int_equal(x.fake->script("reset"), 0);
	*state = &x;
	return 0;
}

static int teardown(void **state)
{
	struct fixture *x = *state;

	cufile_unload(&x->f);
	fake_cuda_stop(&x->c);
	return 0;
}

static int load(struct fixture *x, const char *script)
{
	char path[512];

	assert_int_equal(x->fake->script(script), 0);
	return cufile_load(fake_cufile_path(path, sizeof(path)), &x->c.ctx, &x->f);
}

static void it_is_on_where_the_kernel_has_its_part(void **state)
{
	struct fixture *x = *state;
	CUcontext now;

	assert_int_equal(load(x, "nvfs=2"), 0);
	assert_true(x->f.is_direct);
	assert_string_equal(x->f.how, "nvidia-fs 2.17");
	assert_string_equal(x->f.why, "");
	/* another in the process has opened it */
	assert_int_equal(load(x, "nvfs=0;p2p=1"), 0);
	assert_string_equal(x->f.how, "the kernel's peer DMA");
	/* and the thread's context is what it was */
	assert_int_equal(x->c.cu.CtxGetCurrent(&now), 0);
	assert_null(now);
}

static void compatibility_mode_is_off(void **state)
{
	struct fixture *x = *state;

	assert_int_equal(load(x, "nvfs=0"), -EOPNOTSUPP);
	assert_false(x->f.is_direct);
	assert_non_null(strstr(x->f.why, "compatibility mode"));
}

static void what_is_missing_is_said(void **state)
{
	struct fixture *x = *state;
	char path[512];

	assert_int_equal(cufile_load("/nowhere/libcufile.so.0", &x->c.ctx, &x->f), -ENOENT);
	assert_non_null(strstr(x->f.why, "no library: /nowhere/libcufile.so.0"));
	/* a library, but another */
	assert_int_equal(cufile_load(fake_cuda_path(path, sizeof(path)), &x->c.ctx, &x->f), -ENOSYS);
	assert_string_equal(x->f.why, "the library has no cuFileDriverOpen");
	assert_int_equal(load(x, "fail=cuFileDriverOpen:1:5001"), -ENODEV);
	assert_string_equal(x->f.why, "the library does not start: 5001, nvidia-fs is not loaded");
	assert_int_equal(load(x, "fail=cuFileDriverGetProperties:1:5007"), -EOPNOTSUPP);
	assert_string_equal(x->f.why, "the library does not start: 5007");
	assert_false(x->f.is_direct);
}

static void each_result_is_an_errno(void **state)
{
	(void)state;
	assert_int_equal(cufile_errno(0), 0);
	assert_int_equal(cufile_errno(CU_FILE_IO_NOT_SUPPORTED), -EOPNOTSUPP);
	assert_int_equal(cufile_errno(CU_FILE_GPU_MEMORY_PINNING_FAILED), -ENOMEM);
	assert_int_equal(cufile_errno(5999), -EIO);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(it_is_on_where_the_kernel_has_its_part, setup, teardown),
		cmocka_unit_test_setup_teardown(compatibility_mode_is_off, setup, teardown),
		cmocka_unit_test_setup_teardown(what_is_missing_is_said, setup, teardown),
		cmocka_unit_test(each_result_is_an_errno),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
