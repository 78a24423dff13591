/* SPDX-License-Identifier: Apache-2.0 */
/* test_hop.c - blocks of one GPU's pool into another's, byte for byte, and what goes wrong on the way */
#include "tests/unit/gpu/hop_fixture.h"

#include <stdio.h>

#include "gpu/stage_cost.h"

/* Scattered on both sides, the last but for its first tokens. */
static const struct hop_block some[] = {
	{ 0, 5, 9, 0 }, { 0, 6, 2, 0 }, { 0, 7, 30, 0 }, { 0, 40, 3, 0 }, { 0, 1, 63, 5 },
};

static void arrived(const struct hx *x)
{
	for (unsigned i = 0; i < ARRAY_SIZE(some); i++)
		assert_int_equal(hx_differ(x, some[i].from, some[i].to, 0, some[i].nr_tokens ? some[i].nr_tokens : HX_TOKENS), 0);
	/* and not a token more */
	assert_int_not_equal(hx_differ(x, 1, 63, 5, 1), 0);
}

static void carries(const char *from, const char *to, bool by_host, const char *script)
{
	struct fake_counters c;
	struct hops_info i;
	struct hx x;

	hx_begin(&x, from, to, script);
	hx_hops(&x, by_host);
	assert_int_equal(hops_take(x.h), 0);
	assert_int_equal(hops_submit(x.h, some, ARRAY_SIZE(some)), 0);
	assert_int_equal(hx_take(&x), 1);
	arrived(&x);
	hops_info(x.h, &i);
	assert_int_equal(i.hops, 1);
	assert_int_equal(i.blocks, ARRAY_SIZE(some));
	assert_int_equal(i.bytes, 4 * 16384 + 16384 / 16 * 5);
	c = fake_cuda_counters(&x.f);
	assert_int_equal(c.pageable, 0);
	assert_int_equal(c.bytes[GPU_D2H] != 0, by_host);
	hx_end(&x);
}

static void blocks_go_straight_to_the_other_gpu(void **state)
{
	(void)state;
	carries("L/BKHNC", "L/BKHNC", false, NULL);
	carries("L/BKHNC", "L/BKNHC", false, NULL);
	carries("LKBNHC", "L/BKHNC", false, NULL);
}

static void blocks_go_through_host_memory(void **state)
{
	(void)state;
	carries("L/BKHNC", "L/BKNHC", true, "peer=0");
}

static void one_copy_goes_between_the_gpus(void **state)
{
	struct fake_landed copy;
	struct hx x;

	(void)state;
	hx_begin(&x, "L/BKHNC", "L/BKHNC", NULL);
	hx_hops(&x, false);
	assert_int_equal(hops_submit(x.h, some, ARRAY_SIZE(some)), 0);
	assert_int_equal(hx_take(&x), 1);
	/* at the rate of the path, not through the host as where contexts do not reach each other */
	assert_int_equal(x.f.fake->landed(0, &copy, 1), 1);
	assert_int_equal(copy.len, ARRAY_SIZE(some) * 16384);
	assert_true(copy.end_ns - copy.start_ns < 4000);
	assert_int_equal(fake_cuda_counters(&x.f).copies[GPU_D2D], 1);
	/* whole blocks and the part of one, on either side */
	assert_in_range(fake_cuda_counters(&x.f).launches, 2, 4);
	hx_end(&x);
}

static uint64_t launches_of(const struct stage_cost *from, const struct stage_cost *to)
{
	struct hops_config cfg;
	uint64_t launches;
	struct hx x;

	hx_begin(&x, "L/BKHNC", "L/BKHNC", NULL);
	cfg = hx_config(&x, false);
	cfg.from.cost = from;
	cfg.to.cost = to;
	assert_int_equal(hops_create(&cfg, &x.h), 0);
	assert_int_equal(hops_submit(x.h, some, ARRAY_SIZE(some)), 0);
	assert_int_equal(hx_take(&x), 1);
	arrived(&x);
	launches = fake_cuda_counters(&x.f).launches;
	hx_end(&x);
	return launches;
}

static void each_side_goes_by_the_costs_of_its_card(void **state)
{
	struct stage_cost dear = stage_cost_default;
	uint64_t out, in;

	(void)state;
	dear.launch_ns = 1e9;
	out = launches_of(NULL, &dear);
	in = launches_of(&dear, NULL);
	assert_true(out && in);
	assert_int_equal(launches_of(NULL, NULL), out + in);
	assert_int_equal(launches_of(&dear, &dear), 0);
}

static void groups_have_block_tables_of_their_own(void **state)
{
	static const struct hop_block b[] = { { 0, 1, 2, 0 }, { 1, 3, 4, 0 }, { 0, 5, 6, 0 }, { 1, 7, 8, 9 } };
	struct hx x;

	(void)state;
	hx_begin(&x, "L/BKHNC", "L/BKHNC", NULL);
	hx_split(&x.l[HX_FROM]);
	hx_split(&x.l[HX_TO]);
	hx_hops(&x, false);
	assert_int_equal(hops_submit(x.h, b, ARRAY_SIZE(b)), 0);
	assert_int_equal(hx_take(&x), 1);
	for (unsigned i = 0; i < ARRAY_SIZE(b); i++) {
		const uint32_t n = b[i].nr_tokens ? b[i].nr_tokens : HX_TOKENS;

		assert_int_equal(hx_differ_group(&x, b[i].group, b[i].from, b[i].to, 0, n), 0);
		/* the other group's layers are not its business */
		assert_int_not_equal(hx_differ_group(&x, !b[i].group, b[i].from, b[i].to, 0, n), 0);
	}
	hx_end(&x);
}

static void hops_land_in_order_and_share_their_memory(void **state)
{
	struct hop_block b[HX_HOP];
	struct hops_info info;
	struct hx x;

	(void)state;
	hx_begin(&x, "L/BKHNC", "L/BKHNC", NULL);
	hx_hops(&x, false);
	for (uint32_t sent = 0; sent < HX_BLOCKS; sent += HX_HOP) {
		if (!hops_has_room(x.h)) {
			assert_int_equal(hops_submit(x.h, some, 1), -EBUSY);
			assert_int_equal(hx_take(&x), 1);
		}
		for (uint32_t i = 0; i < HX_HOP; i++)
			b[i] = (struct hop_block){ .from = sent + i, .to = HX_BLOCKS - 1 - (sent + i) };
		assert_int_equal(hops_submit(x.h, b, HX_HOP), 0);
		/* read during the call only */
		memset(b, 0xee, sizeof(b));
	}
	assert_int_equal(hx_take(&x), 1);
	assert_int_equal(hx_take(&x), 1);
	for (uint32_t i = 0; i < HX_BLOCKS; i++)
		assert_int_equal(hx_differ(&x, i, HX_BLOCKS - 1 - i, 0, HX_TOKENS), 0);
	hops_info(x.h, &info);
	assert_int_equal(info.blocks, HX_BLOCKS);
	hx_end(&x);
}

/* The part is refused; what was put on a stream before it passes, and then another hop goes through. */
static void refused(const char *rule, bool by_host, int error)
{
	struct fake_counters c;
	struct hx x;

	/* 8 ms between the devices: what is told too early shows */
	hx_begin(&x, "L/BKHNC", "L/BKHNC", "p2p=1e7");
	hx_hops(&x, by_host);
	hx_script(&x, rule);
	assert_int_equal(hops_submit(x.h, some, 4), 0);
	assert_int_equal(hx_take(&x), error);
	c = fake_cuda_counters(&x.f);
	for (unsigned d = 0; d < 3; d++)
		assert_int_equal(c.landed[d], c.copies[d]);
	assert_int_equal(hops_error(x.h, NULL), 0);
	hx_script(&x, "reset");
	assert_int_equal(hops_submit(x.h, some, ARRAY_SIZE(some)), 0);
	assert_int_equal(hx_take(&x), 1);
	arrived(&x);
	hx_end(&x);
}

static void a_refused_part_ends_when_the_rest_has_passed(void **state)
{
	(void)state;
	refused("fail=cuLaunchKernel:1:700", false, -ENOTRECOVERABLE);
	refused("fail=cuLaunchKernel:2:700", false, -ENOTRECOVERABLE);
	refused("fail=cuMemcpyPeerAsync:1:700", false, -ENOTRECOVERABLE);
	refused("fail=cuMemcpyPeerAsync:1:1", false, -EINVAL);
	refused("fail=cuStreamWaitEvent:1:1", false, -EINVAL);
	refused("fail=cuStreamWaitEvent:2:1", false, -EINVAL);
	refused("fail=cuMemcpy2DAsync:1:1", true, -EINVAL);
	/* six go out */
	refused("fail=cuMemcpy2DAsync:6:1", true, -EINVAL);
	refused("fail=cuMemcpy2DAsync:7:700", true, -ENOTRECOVERABLE);
}

/* The process goes on where a real one would end, with what is left behind. */
static void lost(struct hx *x, const char *rule, bool is_to)
{
	bool to;

	hx_begin(x, "L/BKHNC", "L/BKHNC", "p2p=1e6");
	hx_hops(x, false);
	assert_int_equal(hops_submit(x->h, some, ARRAY_SIZE(some)), 0);
	hx_script(x, rule);
	assert_int_equal(hx_take(x), 0);
	assert_int_equal(hops_error(x->h, &to), -ENOTRECOVERABLE);
	assert_int_equal(to, is_to);
	assert_int_equal(hops_submit(x->h, some, 1), -ENOTRECOVERABLE);
	assert_int_equal(hops_destroy(x->h, hx_soon()), -ENOTRECOVERABLE);
}

static void a_lost_device_keeps_all_of_it(void **state)
{
	static struct hx x[2];

	(void)state;
	lost(&x[0], "lost=999:0", false);
	lost(&x[1], "lost=999:1", true);
}

static void a_hang_is_waited_for_no_longer_than_asked(void **state)
{
	static struct hx x;
	uint64_t start;

	(void)state;
	hx_begin(&x, "L/BKHNC", "L/BKHNC", NULL);
	hx_hops(&x, false);
	hx_script(&x, "hang=1");
	assert_int_equal(hops_submit(x.h, some, ARRAY_SIZE(some)), 0);
	start = clock_ns();
	assert_int_equal(hops_destroy(x.h, start + 30000000), -ETIMEDOUT);
	assert_true(clock_ns() - start < 3000000000u);
}

static void what_cannot_be_is_refused(void **state)
{
	struct hop_block bad[HX_HOP + 1] = { { 0 } };
	struct hops_config cfg;
	struct hops *h;
	struct hx x;

	(void)state;
	hx_begin(&x, "L/BKHNC", "L/BKHNC", NULL);
	cfg = hx_config(&x, false);
	x.l[HX_TO].group[0].run_len /= 2;
	assert_int_equal(hops_create(&cfg, &h), -EINVAL);
	x.l[HX_TO].group[0].run_len *= 2;
	hx_script(&x, "peer=0");
	assert_int_equal(hops_create(&cfg, &h), -EOPNOTSUPP);
	cfg.by_host = true;
	hx_script(&x, "fail=cuMemHostRegister:1:801");
	assert_int_equal(hops_create(&cfg, &h), -EOPNOTSUPP);
	hx_script(&x, "reset;peer=1");
	hx_hops(&x, false);
	assert_int_equal(hops_submit(x.h, bad, 0), -EINVAL);
	assert_int_equal(hops_submit(x.h, bad, HX_HOP + 1), -E2BIG);
	bad[0].group = 1;
	assert_int_equal(hops_submit(x.h, bad, 1), -EINVAL);
	bad[0] = (struct hop_block){ .from = HX_BLOCKS };
	assert_int_equal(hops_submit(x.h, bad, 1), -EINVAL);
	assert_int_equal(hops_take(x.h), 0);
	/* the other side's is found out on the way */
	bad[0] = (struct hop_block){ .to = HX_BLOCKS };
	assert_int_equal(hops_submit(x.h, bad, 1), 0);
	assert_int_equal(hx_take(&x), -EINVAL);
	hx_end(&x);
}

/* The driver refuses the k-th call of each kind, for every k.  Return: how many there were. */
static unsigned each_refusal(const char *entry)
{
	struct hops_config cfg;
	char rule[64];
	struct hx x;
	int ret = -ENOMEM;

	for (unsigned k = 1;; k++) {
		hx_begin(&x, "L/BKHNC", "L/BKHNC", NULL);
		cfg = hx_config(&x, false);
		snprintf(rule, sizeof(rule), "fail=%s:%u:2", entry, k);
		hx_script(&x, rule);
		ret = hops_create(&cfg, &x.h);
		/* nothing is left behind, or this fails */
		hx_script(&x, "reset");
		hx_end(&x);
		if (ret == 0)
			return k - 1;
		assert_int_equal(ret, -ENOMEM);
	}
}

static void hops_that_cannot_be_made_leave_nothing_behind(void **state)
{
	(void)state;
	assert_int_equal(each_refusal("cuMemAlloc"), 2);
	assert_int_equal(each_refusal("cuStreamCreateWithPriority"), 5);
	assert_int_equal(each_refusal("cuCtxEnablePeerAccess"), 2);
	assert_true(each_refusal("cuEventCreate") >= 2 * 2 * 3);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(blocks_go_straight_to_the_other_gpu),
		cmocka_unit_test(blocks_go_through_host_memory),
		cmocka_unit_test(one_copy_goes_between_the_gpus),
		cmocka_unit_test(each_side_goes_by_the_costs_of_its_card),
		cmocka_unit_test(groups_have_block_tables_of_their_own),
		cmocka_unit_test(hops_land_in_order_and_share_their_memory),
		cmocka_unit_test(a_refused_part_ends_when_the_rest_has_passed),
		cmocka_unit_test(what_cannot_be_is_refused),
		cmocka_unit_test(hops_that_cannot_be_made_leave_nothing_behind),
		/* what these leave behind stays */
		cmocka_unit_test(a_hang_is_waited_for_no_longer_than_asked),
		cmocka_unit_test(a_lost_device_keeps_all_of_it),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
