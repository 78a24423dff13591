/* SPDX-License-Identifier: Apache-2.0 */
#include "gpu/device.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "kvshm/base/compiler.h"
#include "tests/lib/fake_cuda.h"

static const char *const sys_dirs[] = { "", "/bus", "/bus/pci", "/bus/pci/devices", "/bus/pci/devices/0000:3c:00.0" };

/* A /sys that knows the node of the second device. */
static void sys_make(char *dir, size_t len)
{
	const char *tmp = getenv("TMPDIR");
	char path[512];
	FILE *f;

	snprintf(dir, len, "%s/kvshm-sys-XXXXXX", tmp ? tmp : "/tmp");
	assert_non_null(mkdtemp(dir));
	for (unsigned i = 1; i < ARRAY_SIZE(sys_dirs); i++) {
		snprintf(path, sizeof(path), "%s%s", dir, sys_dirs[i]);
		assert_int_equal(mkdir(path, 0700), 0);
	}
	snprintf(path, sizeof(path), "%s%s/numa_node", dir, sys_dirs[4]);
	f = fopen(path, "we");
	assert_non_null(f);
	fputs("1\n", f);
	fclose(f);
}

static void sys_remove(const char *dir)
{
	char path[512];

	snprintf(path, sizeof(path), "%s%s/numa_node", dir, sys_dirs[4]);
	unlink(path);
	for (unsigned i = ARRAY_SIZE(sys_dirs); i-- > 0;) {
		snprintf(path, sizeof(path), "%s%s", dir, sys_dirs[i]);
		assert_int_equal(rmdir(path), 0);
	}
}

static void devices_are_told_with_their_place(void **state)
{
	struct gpu_device d[GPU_MAX_DEVICES];
	struct fake_cuda f;
	char dir[256];

	fake_cuda_start(&f, "devices=2");
	sys_make(dir, sizeof(dir));
	assert_int_equal(gpu_device_list(&f.cu, dir, d, GPU_MAX_DEVICES), 2);
	sys_remove(dir);
	assert_string_equal(d[0].pci, "0000:3b:00.0");
	assert_int_equal(d[0].node, -1);
	assert_string_equal(d[1].pci, "0000:3c:00.0");
	assert_int_equal(d[1].node, 1);
	assert_int_equal(d[1].sm, 90);
	assert_string_equal(d[1].name, "fake device 1");
	assert_int_equal(f.fake->script("devices=1"), 0);
	fake_cuda_stop(&f);
}

static void abilities_follow_attributes_and_entries(void **state)
{
	struct gpu_device d;
	struct fake_cuda f;

	fake_cuda_start(&f, NULL);
	assert_true(f.device[0].has_hostreg);
	assert_false(f.device[0].has_ro_hostreg);
	assert_true(f.device[0].has_vmm_fd);
	assert_true(f.device[0].has_dmabuf);
	assert_int_equal(f.fake->script("attr=113:1;attr=103:0;attr=124:0;attr=122:0"), 0);
	assert_int_equal(gpu_device_list(&f.cu, "/sys", &d, 1), 1);
	assert_true(d.has_ro_hostreg);
	assert_false(d.has_vmm_fd);
	assert_false(d.has_dmabuf);
	assert_false(d.has_stream_word);
	f.cu.features &= ~(1u << CUDA_F_HOSTREG);
	assert_int_equal(gpu_device_list(&f.cu, "/sys", &d, 1), 1);
	assert_false(d.has_hostreg);
	assert_false(d.has_ro_hostreg);
	fake_cuda_stop(&f);
}

static void uuid_names_a_device_whatever_its_number(void **state)
{
	struct gpu_device d;
	struct fake_cuda f;
	CUuuid uuid;

	fake_cuda_start(&f, "devices=3");
	uuid = f.device[2].uuid;
	assert_int_equal(gpu_device_find(&f.cu, &uuid, &d), 0);
	assert_int_equal(d.ordinal, 2);
	uuid.bytes[0] ^= 1;
	assert_int_equal(gpu_device_find(&f.cu, &uuid, &d), -ENODEV);
	assert_int_equal(f.fake->script("devices=1"), 0);
	fake_cuda_stop(&f);
}

static void peers_are_asked_of_the_driver(void **state)
{
	struct fake_cuda f;

	fake_cuda_start(&f, "devices=2");
	assert_int_equal(gpu_device_peer(&f.cu, &f.device[0], &f.device[1]), 1);
	assert_int_equal(f.fake->script("peer=0"), 0);
	assert_int_equal(gpu_device_peer(&f.cu, &f.device[0], &f.device[1]), 0);
	f.cu.features &= ~(1u << CUDA_F_PEER);
	assert_int_equal(gpu_device_peer(&f.cu, &f.device[0], &f.device[1]), -EOPNOTSUPP);
	assert_int_equal(f.fake->script("devices=1"), 0);
	fake_cuda_stop(&f);
}

static void silent_device_is_left_out(void **state)
{
	struct gpu_device d[GPU_MAX_DEVICES];
	struct fake_cuda f;

	fake_cuda_start(&f, "devices=2;fail=cuDeviceGetName:1:999");
	assert_int_equal(f.nr_devices, 1);
	assert_int_equal(f.device[0].ordinal, 1);
	assert_int_equal(f.fake->script("fail=cuDeviceGetCount:1:999"), 0);
	assert_int_equal(gpu_device_list(&f.cu, "/sys", d, GPU_MAX_DEVICES), -ENOTRECOVERABLE);
	assert_int_equal(f.fake->script("devices=1"), 0);
	gpu_ctx_close(&f.ctx);
	cuda_unload(&f.cu);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(devices_are_told_with_their_place),
		cmocka_unit_test(abilities_follow_attributes_and_entries),
		cmocka_unit_test(uuid_names_a_device_whatever_its_number),
		cmocka_unit_test(peers_are_asked_of_the_driver),
		cmocka_unit_test(silent_device_is_left_out),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
