/* SPDX-License-Identifier: Apache-2.0 */
/* test_touch.c - touch ring: lossy, drained in batches, refuses a forged tail */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "ipc/touch.h"
#include "kvshm/base/atomic.h"

#define ENTRIES 16

static struct kvshm_ring_ctl ctl;
static struct kvshm_touch ring[ENTRIES], out[2 * ENTRIES];
static struct qp_end client, daemon_end;

static int set_up(void **state)
{
	memset(&ctl, 0, sizeof(ctl));
	memset(ring, 0, sizeof(ring));
	memset(out, 0, sizeof(out));
	qp_end_init(&client, &ctl, ring, ENTRIES);
	qp_end_init(&daemon_end, &ctl, ring, ENTRIES);
	return 0;
}

static int push(uint32_t n)
{
	struct kvshm_touch t = { .time_ns = n, .id = n, .generation = ~n, .nr = n + 1, .hint = 3 };

	return touch_push(&client, &t);
}

static void records_come_out_in_order_over_the_wrap(void **state)
{
	uint32_t pushed = 0, drained = 0;
	int i, nr;

	while (drained < 10 * ENTRIES) {
		for (i = 0; i < 11; i++)
			assert_int_equal(push(pushed++), 0);
		nr = touch_drain(&daemon_end, out, ENTRIES);
		assert_int_equal(nr, 11);
		for (i = 0; i < nr; i++, drained++) {
			assert_int_equal(out[i].id, drained);
			assert_int_equal(out[i].generation, ~drained);
			assert_int_equal(out[i].nr, drained + 1);
		}
	}
}

static void a_full_ring_drops_the_new_record(void **state)
{
	uint32_t i;

	for (i = 0; i < ENTRIES; i++)
		assert_int_equal(push(i), 0);
	assert_int_equal(push(i), -EAGAIN);
	assert_int_equal(touch_drain(&daemon_end, out, 2 * ENTRIES), ENTRIES);
	assert_int_equal(out[ENTRIES - 1].id, ENTRIES - 1);
	assert_int_equal(push(i), 0);
}

static void a_drain_takes_no_more_than_asked_for(void **state)
{
	uint32_t i;

	for (i = 0; i < 10; i++)
		assert_int_equal(push(i), 0);
	assert_int_equal(touch_drain(&daemon_end, out, 4), 4);
	assert_int_equal(out[4].nr, 0);		/* not written */
	assert_int_equal(touch_drain(&daemon_end, out, 0), 0);
	assert_int_equal(touch_drain(&daemon_end, out, ENTRIES), 6);
	assert_int_equal(out[0].id, 4);
	assert_int_equal(touch_drain(&daemon_end, out, ENTRIES), 0);
}

static void drain_refuses_a_forged_tail(void **state)
{
	WRITE_ONCE(ctl.tail, ENTRIES + 1);
	assert_int_equal(touch_drain(&daemon_end, out, 2 * ENTRIES), -EPROTO);
	assert_int_equal(READ_ONCE(ctl.head), 0);
	WRITE_ONCE(ctl.tail, ENTRIES);
	assert_int_equal(touch_drain(&daemon_end, out, 2 * ENTRIES), ENTRIES);
}

static void push_drops_when_the_head_is_impossible(void **state)
{
	uint32_t i;

	for (i = 0; i < ENTRIES; i++)
		assert_int_equal(push(i), 0);
	WRITE_ONCE(ctl.head, ENTRIES + 1);
	assert_int_equal(push(i), -EAGAIN);
	WRITE_ONCE(ctl.head, 1);
	assert_int_equal(push(i), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup(records_come_out_in_order_over_the_wrap, set_up),
		cmocka_unit_test_setup(a_full_ring_drops_the_new_record, set_up),
		cmocka_unit_test_setup(a_drain_takes_no_more_than_asked_for, set_up),
		cmocka_unit_test_setup(drain_refuses_a_forged_tail, set_up),
		cmocka_unit_test_setup(push_drops_when_the_head_is_impossible, set_up),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
