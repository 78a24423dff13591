/* SPDX-License-Identifier: Apache-2.0 */
/* kvshm-test: timeout=600 */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "kvshm/base/compiler.h"
#include "tests/unit/utils/made_trace.h"
#include "utils/mrc.h"
#include "utils/replay.h"

static struct loaded_trace mix;

static int load(const char *name, uint64_t seed, uint64_t nr, struct loaded_trace *ret)
{
	const struct tracegen g = { .load = name, .seed = seed, .requests = nr, .block_tokens = 128 };

	return made_trace(&g, ret);
}

static int set_up(void **state)
{
	return load("mix", 5, 4000, &mix);
}

static int tear_down(void **state)
{
	reader_unload(&mix);
	return 0;
}

/* ---- against simulation ------------------------------------------------------------------------------- */

#define POINT 0.01

static const double share[] = { 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.4, 0.8 };

static double simulated(const struct sim_trace *t, const char *policy, uint64_t blocks)
{
	const struct sim_config cfg = { .ops = policy_find(policy), .capacity = blocks };
	struct sim_result r;

	assert_int_equal(sim_run(t, &cfg, &r), 0);
	return (double)r.block_hits / (double)r.blocks;
}

/* The greatest distance of the curve from simulation at 8 sizes. */
static double worst(const struct sim_trace *t)
{
	double d = 0;
	struct mrc m;

	assert_int_equal(mrc_run(t, -1, &m), 0);
	for (unsigned i = 0; i < ARRAY_SIZE(share); i++) {
		const uint64_t blocks = (uint64_t)(share[i] * t->nr_blocks);

		d = fmax(d, fabs(mrc_hit_ratio(&m, blocks) - simulated(t, "leaf-lru", blocks)));
	}
	mrc_fini(&m);
	return d;
}

/* A point is what is promised; a stack gives more than that: no distance at all. */
static void check_generated(const char *name, uint64_t requests)
{
	struct loaded_trace l;

	assert_int_equal(load(name, 3, requests, &l), 0);
	assert_true(worst(&l.t) < 1e-9);
	reader_unload(&l);
}

static void the_curve_of_a_mix_is_the_simulation_at_8_sizes(void **state)
{
	assert_true(worst(&mix.t) < 1e-9);
}

static void the_curve_of_chats_is_the_simulation_at_8_sizes(void **state)
{
	check_generated("chat", 3000);
}

static void the_curve_of_api_calls_is_the_simulation_at_8_sizes(void **state)
{
	check_generated("api", 3000);
}

static void the_curve_of_agents_is_the_simulation_at_8_sizes(void **state)
{
	check_generated("agent", 800);
}

static void check_real(const char *name)
{
	const struct reader_options o = { 0 };
	struct loaded_trace l;
	char path[128];

	snprintf(path, sizeof(path), "../shared/traces/%s.jsonl.xz", name);
	if (access(path, R_OK)) {
		print_message("%s is not there\n", path);
		skip();
	}
	assert_int_equal(reader_load("test", path, &o, true, &l), 0);
	assert_true(worst(&l.t) < POINT);
	reader_unload(&l);
}

static void the_curve_of_mooncake_conversation_is_within_a_point_at_8_sizes(void **state)
{
	check_real("mooncake_conversation");
}

static void the_curve_of_mooncake_synthetic_is_within_a_point_at_8_sizes(void **state)
{
	check_real("mooncake_synthetic");
}

static void the_curve_of_claude_code_a_is_within_a_point_at_8_sizes(void **state)
{
	check_real("claude_code_A");
}

static void another_policy_is_what_its_own_runs_give(void **state)
{
	const uint64_t at = mix.t.nr_blocks / 50, more = mix.t.nr_blocks / 20;
	const struct mrc_question q = { .policy = policy_find("gix"), .at = at, .more = more };
	struct mrc_policy p;
	struct mrc m;

	assert_int_equal(mrc_run(&mix.t, -1, &m), 0);
	assert_int_equal(mrc_policy_run(&mix.t, &m, &q, &p), 0);
	for (unsigned i = 1; i < MRC_SIZES; i += 2) /* 8 of them, the last is the whole trace */
		assert_true(fabs(p.at_size[i] - simulated(&mix.t, "gix", mrc_size_at(mix.t.nr_blocks, i))) < POINT);
	assert_true(fabs(p.now - simulated(&mix.t, "gix", at)) < POINT);
	assert_true(fabs(p.then - simulated(&mix.t, "gix", at + more)) < POINT);
	/* The curve of leaf-lru would not do. */
	assert_true(fabs(p.now - mrc_hit_ratio(&m, at)) > 2 * POINT);
	mrc_fini(&m);
}

static void what_no_policy_was_asked_of_is_no_number(void **state)
{
	const struct mrc_question none = { .policy = NULL }, sizes = { .policy = policy_find("leaf-lru") };
	struct mrc_policy p;
	struct mrc m;

	assert_int_equal(mrc_run(&mix.t, -1, &m), 0);
	assert_int_equal(mrc_policy_run(&mix.t, &m, &none, &p), 0);
	assert_true(isnan(p.at_size[0]) && isnan(p.now) && isnan(p.then));
	assert_int_equal(mrc_policy_run(&mix.t, &m, &sizes, &p), 0);
	for (unsigned i = 0; i < MRC_SIZES; i++)
		assert_true(p.at_size[i] == mrc_hit_ratio(&m, mrc_size_at(mix.t.nr_blocks, i)));
	assert_true(isnan(p.now) && isnan(p.then));
	mrc_fini(&m);
}

static void the_curve_ends_at_the_ideal_and_never_falls(void **state)
{
	struct sim_config cfg = { 0 };
	struct sim_result ideal;
	struct mrc m;

	assert_int_equal(mrc_run(&mix.t, -1, &m), 0);
	sim_ideal(&mix.t, &cfg, &ideal);
	for (uint32_t b = 1; b <= mix.t.nr_blocks; b++)
		assert_true(m.hits[b] >= m.hits[b - 1]);
	assert_int_equal(m.hits[mix.t.nr_blocks], ideal.block_hits);
	assert_true(mrc_hit_ratio(&m, UINT64_MAX) == mrc_hit_ratio(&m, mix.t.nr_blocks));
	mrc_fini(&m);
}

static void a_type_alone_has_its_own_uses(void **state)
{
	uint64_t uses = 0;
	struct mrc m;

	for (int type = 1; type <= 4; type++) {
		assert_int_equal(mrc_run(&mix.t, type, &m), 0);
		uses += m.uses;
		mrc_fini(&m);
	}
	assert_int_equal(uses, mix.t.nr_chain);
}

static void capacities_are_shares_counts_and_bytes(void **state)
{
	static const struct {
		const char *text;
		uint64_t blocks;		/* 0: refused */
	} c[] = {
		{ "5%", 9139 }, { "0.5%", 913 }, { "100%", 182790 }, { "9139", 9139 }, { "1G", 1024 },
		{ "1.5GiB", 1536 }, { "2M", 2 }, { "0", 0 }, { "0%", 0 }, { "0.0001%", 0 }, { "101%", 0 },
		{ "182791", 0 }, { "1T", 0 }, { "-5%", 0 }, { "5%%", 0 }, { "9.5", 0 }, { "", 0 },
		{ "nan", 0 }, { "inf", 0 }, { "5X", 0 }, { "1e400", 0 }, { "12Gx", 0 },
	};
	char why[READER_WHY_LEN];

	for (unsigned i = 0; i < sizeof(c) / sizeof(c[0]); i++) {
		uint64_t blocks = 0;
		int ret = replay_capacity(c[i].text, 182790, 1 << 20, &blocks, why);

		if ((ret == 0) != (c[i].blocks > 0) || blocks != c[i].blocks)
			fail_msg("\"%s\" gives %d, %llu blocks", c[i].text, ret, (unsigned long long)blocks);
	}
	assert_true(replay_capacity("16G", 182790, 0, &(uint64_t){ 0 }, why) < 0);
	assert_non_null(strstr(why, "--block-bytes"));
	assert_true(replay_capacity("7%", 100, 0, &(uint64_t){ 0 }, why) == 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(the_curve_of_a_mix_is_the_simulation_at_8_sizes),
		cmocka_unit_test(the_curve_of_chats_is_the_simulation_at_8_sizes),
		cmocka_unit_test(the_curve_of_api_calls_is_the_simulation_at_8_sizes),
		cmocka_unit_test(the_curve_of_agents_is_the_simulation_at_8_sizes),
		cmocka_unit_test(the_curve_of_mooncake_conversation_is_within_a_point_at_8_sizes),
		cmocka_unit_test(the_curve_of_mooncake_synthetic_is_within_a_point_at_8_sizes),
		cmocka_unit_test(the_curve_of_claude_code_a_is_within_a_point_at_8_sizes),
		cmocka_unit_test(another_policy_is_what_its_own_runs_give),
		cmocka_unit_test(what_no_policy_was_asked_of_is_no_number),
		cmocka_unit_test(the_curve_ends_at_the_ideal_and_never_falls),
		cmocka_unit_test(a_type_alone_has_its_own_uses),
		cmocka_unit_test(capacities_are_shares_counts_and_bytes),
	};

	return cmocka_run_group_tests(tests, set_up, tear_down);
}
