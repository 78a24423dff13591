/* SPDX-License-Identifier: Apache-2.0 */
/* test_wire.c - what an entry may carry; one refusal a test, all else in it valid */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "ipc/wire.h"

#define ARGS KVSHM_ARGS_LEN

static struct kvshm_sqe commit(uint32_t nr)
{
	struct kvshm_sqe e = { .op = KVSHM_OP_COMMIT, .ns = 9, .nr = nr, .off = 64, .stamp_ns = 5,
			       .user_data = UINT64_MAX };

	e.len = nr * (uint32_t)sizeof(struct kvshm_commit_rec);
	e.key.bytes[31] = 1;
	return e;
}

static int check(struct kvshm_sqe e)
{
	return wire_check(&e, ARGS);
}

static void each_opcode_is_accepted_as_it_should_be(void **state)
{
	struct kvshm_sqe drop = { .op = KVSHM_OP_DROP };

	assert_int_equal(check(commit(1)), 0);
	assert_int_equal(check((struct kvshm_sqe){ .op = KVSHM_OP_NOP }), 0);
	assert_int_equal(check((struct kvshm_sqe){ .op = KVSHM_OP_DETACH }), 0);
	assert_int_equal(check((struct kvshm_sqe){ .op = KVSHM_OP_ATTACH_NS, .nr = 1,
						   .len = sizeof(struct kvshm_ns_args) }), 0);
	assert_int_equal(check((struct kvshm_sqe){ .op = KVSHM_OP_GRANT, .nr = 16, .len = 1 << 20 }), 0);
	assert_int_equal(check((struct kvshm_sqe){ .op = KVSHM_OP_GRANT, .nr = 1 }), 0);
	assert_int_equal(check((struct kvshm_sqe){ .op = KVSHM_OP_RETURN, .nr = 3, .len = 24 }), 0);
	assert_int_equal(check((struct kvshm_sqe){ .op = KVSHM_OP_HINT, .nr = KVSHM_HINTS_MAX, .len = 64 * 40 }), 0);
	drop.key.bytes[0] = 1;
	assert_int_equal(check(drop), 0);
	assert_int_equal(check((struct kvshm_sqe){ .op = KVSHM_OP_DROP, .flags = KVSHM_SQE_F_ALL }), 0);
}

static void the_longest_commit_fits_exactly(void **state)
{
	struct kvshm_sqe e = commit(KVSHM_COMMIT_MAX);

	e.off = 0;
	assert_int_equal(check(e), 0);
}

static void wire_refuses_an_unknown_opcode(void **state)
{
	assert_int_equal(check((struct kvshm_sqe){ .op = KVSHM_OP_LAST }), -EOPNOTSUPP);
	assert_int_equal(check((struct kvshm_sqe){ .op = 255 }), -EOPNOTSUPP);
}

static void wire_refuses_opcodes_without_a_rule(void **state)
{
	assert_int_equal(check((struct kvshm_sqe){ .op = KVSHM_OP_PREFETCH }), -EOPNOTSUPP);
}

static void wire_refuses_copies_that_are_none_too_many_or_of_another_length(void **state)
{
	assert_int_equal(check((struct kvshm_sqe){ .op = KVSHM_OP_STAGE_IN }), -EINVAL);
	assert_int_equal(check((struct kvshm_sqe){ .op = KVSHM_OP_STAGE_IN, .nr = 257, .len = 257 * 40 }), -EINVAL);
	assert_int_equal(check((struct kvshm_sqe){ .op = KVSHM_OP_STAGE_IN, .nr = 2, .len = 40 }), -EINVAL);
	assert_int_equal(check((struct kvshm_sqe){ .op = KVSHM_OP_STAGE_IN, .nr = 256, .len = 256 * 40 }), 0);
}

/* @nr records, @more bytes behind them. */
static int check_out(uint32_t nr, uint32_t more)
{
	return check((struct kvshm_sqe){ .op = KVSHM_OP_STAGE_OUT, .flags = KVSHM_SQE_F_NOPARENT, .nr = nr,
					 .len = nr * 64 + more });
}

static void wire_refuses_copies_out_without_their_pieces(void **state)
{
	struct kvshm_sqe e = { .op = KVSHM_OP_STAGE_OUT, .flags = KVSHM_SQE_F_LOOSE, .nr = 256, .len = 256 * 104 };

	assert_int_equal(check(e), 0);
	assert_int_equal(check_out(1, 40), 0);
	assert_int_equal(check_out(2, 256 * 40), 0);
	assert_int_equal(check_out(0, 40), -EINVAL);
	assert_int_equal(check_out(257, 257 * 40), -EINVAL);
	assert_int_equal(check_out(1, 257 * 40), -EINVAL);
	assert_int_equal(check_out(2, 40), -EINVAL);
	assert_int_equal(check_out(2, 0), -EINVAL);
	assert_int_equal(check_out(1, 44), -EINVAL);
	assert_int_equal(check_out(1, (uint32_t)-24), -EINVAL);
	e.len = UINT32_MAX - 64;
	assert_int_equal(check(e), -EINVAL);
	e.len = 256 * 104;
	e.off = ARGS - e.len;
	assert_int_equal(check(e), 0);
	e.off += 8;
	assert_int_equal(check(e), -EFAULT);
	e.off = 0;
	e.flags = KVSHM_SQE_F_STAGED;
	assert_int_equal(check(e), -EINVAL);
	e.flags = KVSHM_SQE_F_LOOSE;
	e.key.bytes[9] = 1;
	assert_int_equal(check(e), -EINVAL);
}

static void wire_refuses_hints_that_are_none_too_many_or_of_another_length(void **state)
{
	assert_int_equal(check((struct kvshm_sqe){ .op = KVSHM_OP_HINT }), -EINVAL);
	assert_int_equal(check((struct kvshm_sqe){ .op = KVSHM_OP_HINT, .nr = 65, .len = 65 * 40 }), -EINVAL);
	assert_int_equal(check((struct kvshm_sqe){ .op = KVSHM_OP_HINT, .nr = 2, .len = 40 }), -EINVAL);
}

static void wire_refuses_an_unknown_flag(void **state)
{
	struct kvshm_sqe e = commit(1);

	e.flags = 0x80;
	assert_int_equal(check(e), -EINVAL);
}

static void wire_refuses_a_flag_of_another_opcode(void **state)
{
	struct kvshm_sqe e = commit(1);

	memset(&e.key, 0, sizeof(e.key));
	e.flags = KVSHM_SQE_F_ALL;
	assert_int_equal(check(e), -EINVAL);
	e.flags = KVSHM_SQE_F_STAGED;
	assert_int_equal(check(e), 0);
}

static void wire_refuses_flags_that_exclude_each_other(void **state)
{
	struct kvshm_sqe e = commit(1);

	memset(&e.key, 0, sizeof(e.key));
	e.flags = KVSHM_SQE_F_LOOSE;
	assert_int_equal(check(e), 0);
	e.flags |= KVSHM_SQE_F_NOPARENT;
	assert_int_equal(check(e), -EINVAL);
}

static void wire_refuses_a_key_that_a_flag_rules_out(void **state)
{
	struct kvshm_sqe e = commit(1);

	e.flags = KVSHM_SQE_F_NOPARENT;
	assert_int_equal(check(e), -EINVAL);
	e.flags = KVSHM_SQE_F_LOOSE;
	assert_int_equal(check(e), -EINVAL);
	e = (struct kvshm_sqe){ .op = KVSHM_OP_DROP, .flags = KVSHM_SQE_F_ALL };
	e.key.bytes[0] = 1;
	assert_int_equal(check(e), -EINVAL);
}

static void wire_refuses_a_key_where_there_is_none(void **state)
{
	struct kvshm_sqe e = { .op = KVSHM_OP_GRANT, .nr = 1 };

	e.key.bytes[17] = 1;
	assert_int_equal(check(e), -EINVAL);
}

static void wire_refuses_no_records(void **state)
{
	assert_int_equal(check(commit(0)), -EINVAL);
	assert_int_equal(check((struct kvshm_sqe){ .op = KVSHM_OP_GRANT }), -EINVAL);
}

static void wire_refuses_too_many_records(void **state)
{
	struct kvshm_sqe e = commit(KVSHM_COMMIT_MAX + 1);

	e.off = 0;
	assert_int_equal(wire_check(&e, UINT32_MAX), -EINVAL);
	assert_int_equal(check((struct kvshm_sqe){ .op = KVSHM_OP_ATTACH_NS, .nr = 2,
						   .len = 2 * sizeof(struct kvshm_ns_args) }), -EINVAL);
	assert_int_equal(check((struct kvshm_sqe){ .op = KVSHM_OP_GRANT, .nr = KVSHM_COMMIT_MAX + 1 }),
			 -EINVAL);
}

static void wire_refuses_a_count_where_nothing_is_counted(void **state)
{
	assert_int_equal(check((struct kvshm_sqe){ .op = KVSHM_OP_NOP, .nr = 1 }), -EINVAL);
	assert_int_equal(check((struct kvshm_sqe){ .op = KVSHM_OP_DETACH, .nr = 1 }), -EINVAL);
}

static void wire_refuses_length_overflow(void **state)
{
	struct kvshm_sqe e = commit(2);

	e.nr = 0x04000002;		/* times 64 is 128 in 32 bits */
	assert_int_equal(check(e), -EINVAL);
}

static void wire_refuses_a_length_that_does_not_match(void **state)
{
	struct kvshm_sqe e = commit(2);

	e.len--;
	assert_int_equal(check(e), -EINVAL);
	e.len += 2;
	assert_int_equal(check(e), -EINVAL);
}

static void wire_refuses_arguments_past_the_end(void **state)
{
	struct kvshm_sqe e = commit(2);

	e.off = ARGS - 128;
	assert_int_equal(check(e), 0);
	e.off += 8;
	assert_int_equal(check(e), -EFAULT);
}

static void wire_refuses_an_offset_past_the_end(void **state)
{
	struct kvshm_sqe e = commit(1);

	e.off = ARGS + 8;
	assert_int_equal(check(e), -EFAULT);
	e.off = UINT32_MAX & ~7u;	/* off + len wraps around */
	assert_int_equal(check(e), -EFAULT);
}

static void wire_refuses_arguments_larger_than_the_area(void **state)
{
	struct kvshm_sqe e = commit(2);

	e.off = 0;
	assert_int_equal(wire_check(&e, 64), -EFAULT);
	assert_int_equal(wire_check(&e, 128), 0);
}

static void wire_refuses_unaligned_arguments(void **state)
{
	struct kvshm_sqe e = commit(1);

	e.off = 68;
	assert_int_equal(check(e), -EFAULT);
}

static void wire_refuses_arguments_where_there_are_none(void **state)
{
	assert_int_equal(check((struct kvshm_sqe){ .op = KVSHM_OP_DETACH, .off = 8 }), -EINVAL);
	assert_int_equal(check((struct kvshm_sqe){ .op = KVSHM_OP_DETACH, .len = 8 }), -EINVAL);
	assert_int_equal(check((struct kvshm_sqe){ .op = KVSHM_OP_GRANT, .nr = 1, .off = 8 }), -EINVAL);
}

static void every_number_has_a_name(void **state)
{
	unsigned op;

	assert_string_equal(wire_op_name(KVSHM_OP_COMMIT), "commit");
	for (op = 0; op < 256; op++)
		assert_non_null(wire_op_name((uint8_t)op));
}

static uint64_t rand_next(uint64_t *s)
{
	*s ^= *s << 13;
	*s ^= *s >> 7;
	*s ^= *s << 17;
	return *s;
}

/* Whatever is accepted lies inside the area, by sums that cannot overflow. */
static void random_entries_are_refused_or_stay_inside(void **state)
{
	uint64_t s = 0x2545f4914f6cdd1dull, words[8];
	unsigned i, j, accepted = 0;
	struct kvshm_sqe e;
	uint32_t args_len;
	int ret;

	for (i = 0; i < 3000000; i++) {
		for (j = 0; j < 8; j++)
			words[j] = rand_next(&s) >> (s & 63);
		memcpy(&e, words, sizeof(e));
		args_len = (uint32_t)(rand_next(&s) >> (32 + (s & 31)));
		if (i % 2) {			/* let half get past the first checks */
			e.op = (uint8_t)(s % (KVSHM_OP_LAST + 1));
			e.flags &= (uint8_t)(s >> 40) & (uint8_t)(s >> 48);
			e.nr %= 5000;
			memset(&e.key, 0, sizeof(e.key));
			if (s >> 63)
				e.len = e.nr * (e.op == KVSHM_OP_COMMIT ? 64 : e.op == KVSHM_OP_STAGE_OUT ? 104 : 8);
			if (s >> 62 & 1)
				e.off &= ~7u;
		}
		ret = wire_check(&e, args_len);
		if (ret < 0) {
			assert_true(ret == -EINVAL || ret == -EFAULT || ret == -EOPNOTSUPP);
			continue;
		}
		accepted++;
		assert_true(e.nr <= KVSHM_COMMIT_MAX);
		if (e.op == KVSHM_OP_COMMIT || e.op == KVSHM_OP_RETURN || e.op == KVSHM_OP_ATTACH_NS ||
		    e.op == KVSHM_OP_STAGE_IN || e.op == KVSHM_OP_STAGE_OUT)
			assert_true((uint64_t)e.off + e.len <= args_len && e.off % 8 == 0 && e.len > 0);
	}
	assert_true(accepted > 1000);		/* or the loop has tested nothing */
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(each_opcode_is_accepted_as_it_should_be),
		cmocka_unit_test(the_longest_commit_fits_exactly),
		cmocka_unit_test(wire_refuses_an_unknown_opcode),
		cmocka_unit_test(wire_refuses_opcodes_without_a_rule),
		cmocka_unit_test(wire_refuses_copies_that_are_none_too_many_or_of_another_length),
		cmocka_unit_test(wire_refuses_copies_out_without_their_pieces),
		cmocka_unit_test(wire_refuses_hints_that_are_none_too_many_or_of_another_length),
		cmocka_unit_test(wire_refuses_an_unknown_flag),
		cmocka_unit_test(wire_refuses_a_flag_of_another_opcode),
		cmocka_unit_test(wire_refuses_flags_that_exclude_each_other),
		cmocka_unit_test(wire_refuses_a_key_that_a_flag_rules_out),
		cmocka_unit_test(wire_refuses_a_key_where_there_is_none),
		cmocka_unit_test(wire_refuses_no_records),
		cmocka_unit_test(wire_refuses_too_many_records),
		cmocka_unit_test(wire_refuses_a_count_where_nothing_is_counted),
		cmocka_unit_test(wire_refuses_length_overflow),
		cmocka_unit_test(wire_refuses_a_length_that_does_not_match),
		cmocka_unit_test(wire_refuses_arguments_past_the_end),
		cmocka_unit_test(wire_refuses_an_offset_past_the_end),
		cmocka_unit_test(wire_refuses_arguments_larger_than_the_area),
		cmocka_unit_test(wire_refuses_unaligned_arguments),
		cmocka_unit_test(wire_refuses_arguments_where_there_are_none),
		cmocka_unit_test(every_number_has_a_name),
		cmocka_unit_test(random_entries_are_refused_or_stay_inside),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
