/* SPDX-License-Identifier: Apache-2.0 */
#include "gpu/cuda_loader.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "tests/lib/fake_cuda.h"

/* Each in a process of its own: what the driver has is fixed when it is first asked. */
static int in_child(const char *script, const char *path, int (*check)(const struct cuda *cu, int ret))
{
	struct cuda cu;
	int status, ret;
	pid_t pid = fork();

	if (!pid) {
		if (script)
			setenv("FAKE_CUDA_SCRIPT", script, 1);
		ret = cuda_load(path, &cu);
		_exit(check(&cu, ret));
	}
	assert_true(pid > 0);
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_true(WIFEXITED(status));
	return WEXITSTATUS(status);
}

static const char *fake(void)
{
	static char path[512];

	return fake_cuda_path(path, sizeof(path));
}

static int all_are_on(const struct cuda *cu, int ret)
{
	if (ret || cu->version != 13000)
		return 1;
	for (unsigned f = 0; f < CUDA_NR_FEATURES; f++)
		if (!cuda_has(cu, f) || *cu->why[f])
			return 2 + (int)f;
	return 0;
}

static void whole_driver_has_every_feature(void **state)
{
	assert_int_equal(in_child(NULL, fake(), all_are_on), 0);
}

static int batch_alone_is_off(const struct cuda *cu, int ret)
{
	if (ret)
		return 1;
	for (unsigned f = 0; f < CUDA_NR_FEATURES; f++)
		if (cuda_has(cu, f) == (f == CUDA_F_COPY_BATCH))
			return 2;
	return !strstr(cu->why[CUDA_F_COPY_BATCH], "cuMemcpyBatchAsync") || cu->MemcpyBatchAsync;
}

static void missing_entry_takes_one_feature_away(void **state)
{
	assert_int_equal(in_child("missing=cuMemcpyBatchAsync", fake(), batch_alone_is_off), 0);
}

static void older_driver_lacks_what_came_later(void **state)
{
	assert_int_equal(in_child("version=12070", fake(), batch_alone_is_off), 0);
}

static int nothing_is_on(const struct cuda *cu, int ret)
{
	for (unsigned f = 0; f < CUDA_NR_FEATURES; f++)
		if (cuda_has(cu, f) || !*cu->why[f])
			return 254;
	return -ret;
}

static void no_library_is_an_ordinary_machine(void **state)
{
	assert_int_equal(in_child(NULL, "/nowhere/libcuda.so.1", nothing_is_on), ENOENT);
}

static void other_library_is_no_driver(void **state)
{
	assert_int_equal(in_child(NULL, "libm.so.6", nothing_is_on), ENOSYS);
}

static void core_entry_missing_is_no_driver(void **state)
{
	assert_int_equal(in_child("missing=cuEventQuery", fake(), nothing_is_on), ENOSYS);
}

static void driver_without_devices_is_told_apart(void **state)
{
	assert_int_equal(in_child("devices=0", fake(), nothing_is_on), ENODEV);
}

static void start_that_fails_gives_its_error(void **state)
{
	assert_int_equal(in_child("fail=cuInit:1:2", fake(), nothing_is_on), ENOMEM);
}

static void path_comes_from_the_environment(void **state)
{
	setenv("KVSHM_LIBCUDA", fake(), 1);
	assert_int_equal(in_child(NULL, NULL, all_are_on), 0);
	setenv("KVSHM_LIBCUDA", "/nowhere/libcuda.so.1", 1);
	assert_int_equal(in_child(NULL, NULL, nothing_is_on), ENOENT);
	unsetenv("KVSHM_LIBCUDA");
}

static void every_feature_has_words(void **state)
{
	for (unsigned f = 0; f < CUDA_NR_FEATURES; f++) {
		assert_non_null(cuda_feature_name(f));
		assert_non_null(cuda_feature_instead(f));
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(whole_driver_has_every_feature),
		cmocka_unit_test(missing_entry_takes_one_feature_away),
		cmocka_unit_test(older_driver_lacks_what_came_later),
		cmocka_unit_test(no_library_is_an_ordinary_machine),
		cmocka_unit_test(other_library_is_no_driver),
		cmocka_unit_test(core_entry_missing_is_no_driver),
		cmocka_unit_test(driver_without_devices_is_told_apart),
		cmocka_unit_test(start_that_fails_gives_its_error),
		cmocka_unit_test(path_comes_from_the_environment),
		cmocka_unit_test(every_feature_has_words),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
