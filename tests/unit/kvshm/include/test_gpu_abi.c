/* SPDX-License-Identifier: Apache-2.0 */
/* The structures of <kvshm/gpu.h> as programs that are not built again have them. */
#include <kvshm/gpu.h>

#include "tests/unit/kvshm/include/places.h"

static void options_keep_their_places(void **state)
{
	SIZE(kvshm_gpu_group, 80);
	AT(kvshm_gpu_group, run_len, 16);
	AT(kvshm_gpu_group, block_stride, 24);
	AT(kvshm_gpu_group, arena_layer_stride, 48);
	SIZE(kvshm_gpu_layer, 24);
	AT(kvshm_gpu_layer, group, 16);
	SIZE(kvshm_gpu_options, 88);
	AT(kvshm_gpu_options, libcuda, 16);
	AT(kvshm_gpu_options, groups, 24);
	AT(kvshm_gpu_options, nr_groups, 40);
	AT(kvshm_gpu_options, max_jobs, 48);
	AT(kvshm_gpu_options, landing_len, 64);
	AT(kvshm_gpu_options, costs, 80);
}

static void jobs_keep_their_places(void **state)
{
	SIZE(kvshm_stage_desc, 48);
	AT(kvshm_stage_desc, engine_stream, 24);
	AT(kvshm_stage_desc, word, 32);
	AT(kvshm_stage_desc, ticket, 40);
	SIZE(kvshm_stage_load, 32);
	AT(kvshm_stage_load, nr, 16);
	AT(kvshm_stage_load, pins, 24);
	SIZE(kvshm_stage_save, 56);
	AT(kvshm_stage_save, parent, 8);
	AT(kvshm_stage_save, nr, 40);
	AT(kvshm_stage_save, user_data, 48);
	SIZE(kvshm_stage_facts, 40);
	AT(kvshm_stage_facts, bytes, 32);
}

static void answers_keep_their_places(void **state)
{
	SIZE(kvshm_gpu_facts, 576);
	AT(kvshm_gpu_facts, pci, 72);
	AT(kvshm_gpu_facts, node, 88);
	AT(kvshm_gpu_facts, in_bytes, 120);
	AT(kvshm_gpu_facts, why, 200);
	AT(kvshm_gpu_facts, has_costs, 312);
	AT(kvshm_gpu_facts, costs, 320);
}

static void numbers_keep_their_meaning(void **state)
{
	assert_int_equal(KVSHM_GPU_CURRENT, 1);
	assert_int_equal(KVSHM_STAGE_AFTER, 1);
	assert_int_equal(KVSHM_STAGE_KEEP, 2);
	assert_int_equal(KVSHM_STAGE_COPIES, 0);
	assert_int_equal(KVSHM_STAGE_BATCH, 1);
	assert_int_equal(KVSHM_STAGE_LANDING, 2);
	assert_int_equal(KVSHM_STAGE_DIRECT, 3);
	assert_true(KVSHM_STAGE_FAILED == 1ull << 63);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(options_keep_their_places),
		cmocka_unit_test(jobs_keep_their_places),
		cmocka_unit_test(answers_keep_their_places),
		cmocka_unit_test(numbers_keep_their_meaning),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
