/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "kvshm/base/compiler.h"
#include "policy/exact.h"

#define SECOND 1000000000ull
#define BYTES 4096u
#define NR 64u

static const struct exact_limits plenty = { .owner_bytes = UINT64_MAX, .all_bytes = UINT64_MAX };
static struct policy *p;
static uint64_t now;
static uint32_t one_pinned;

static void begin(const char *name)
{
	const struct policy_config cfg = { .max_ids = NR };

	now = SECOND;
	one_pinned = 0;
	assert_int_equal(exact_create(&cfg, policy_find(name), &p), 0);
}

static int end(void **state)
{
	(void)state;
	policy_exact.destroy(p);
	p = NULL;
	return 0;
}

static void insert(pol_id_t id, pol_id_t parent)
{
	const struct pol_block b = { .id = id, .parent = parent, .bytes = BYTES, .key = id };

	policy_exact.insert(p, &b, now += SECOND);
}

static void touch(pol_id_t id)
{
	policy_exact.touch(p, id, 0, now += SECOND);
}

static int is_pinned(void *arg, pol_id_t id)
{
	(void)arg;
	return id == one_pinned;
}

/* @nr victims are taken and go.  Return: how many there were. */
static unsigned evict(unsigned nr, pol_id_t *ret_ids)
{
	unsigned i, got, done = 0;

	while (done < nr && (got = policy_exact.victims(p, (uint64_t)(nr - done) * BYTES, now, ret_ids + done, nr - done,
							is_pinned, NULL))) {
		for (i = done; i < done + got; i++)
			policy_exact.remove(p, ret_ids[i]);
		done += got;
	}
	return done;
}

static int hold(pol_id_t id, uint32_t owner, uint64_t ticket, uint64_t for_s, uint8_t priority)
{
	const struct exact_hold h = { .id = id, .owner = owner, .ticket = ticket, .until_ns = now + for_s * SECOND,
				      .bytes = BYTES, .priority = priority };

	return exact_hold(p, &h, &plenty);
}

static struct exact_counts counts(void)
{
	struct exact_counts n;

	exact_count(p, &n);
	return n;
}

static void expect_victims(const pol_id_t *want, unsigned nr)
{
	pol_id_t got[NR];

	assert_int_equal(evict(nr, got), nr);
	assert_memory_equal(got, want, nr * sizeof(*want));
}
#define EXPECT(...) \
	do { \
		const pol_id_t want_[] = { __VA_ARGS__ }; \
		expect_victims(want_, ARRAY_SIZE(want_)); \
	} while (0)

static void without_hints_it_is_the_policy_that_it_wraps(void **state)
{
	(void)state;
	begin("leaf-lru");
	insert(1, 0);
	insert(2, 1);
	insert(3, 0);
	touch(2);
	EXPECT(3, 2, 1);
}

static void what_is_held_and_the_path_to_it_stay_until_the_time_is_over(void **state)
{
	(void)state;
	begin("leaf-lru");
	insert(1, 0);
	insert(2, 1);
	insert(3, 2);
	insert(4, 0);
	assert_int_equal(hold(2, 1, 9, 100, 0), 1);
	EXPECT(3, 4);
	now += 101 * SECOND;
	EXPECT(2, 1);
	assert_int_equal(counts().expired, 1);
	assert_int_equal(counts().holds, 0);
}

static void each_policy_spares_what_is_held_and_gives_up_what_is_closed(void **state)
{
	const struct policy_ops *ops;
	pol_id_t got[NR];
	unsigned i, k, n;

	(void)state;
	for (i = 0; (ops = policy_at(i)); i++) {
		if (ops->flags & (POLICY_FLAT | POLICY_ORACLE))
			continue;
		begin(ops->name);
		for (k = 1; k <= 30; k++)
			insert(k, k % 3 == 1 ? 0 : k - 1);
		for (k = 3; k <= 30; k += 3)
			touch(k);
		assert_int_equal(hold(3, 1, 1, 1000, 0), 1);
		assert_int_equal(exact_close(p, 30, 2), 2);
		n = evict(20, got);
		assert_int_equal(n, 20);
		assert_true(got[0] == 30 && got[1] == 29);
		for (k = 0; k < n; k++)
			assert_true(got[k] > 3);
		end(NULL);
	}
}

static void a_ticket_ends_its_holds_and_an_owner_that_is_gone_all_of_his(void **state)
{
	(void)state;
	begin("leaf-lru");
	insert(1, 0);
	insert(2, 0);
	insert(3, 0);
	assert_int_equal(hold(1, 1, 5, 100, 0) + hold(2, 1, 6, 100, 0) + hold(3, 2, 5, 100, 0), 3);
	assert_int_equal(exact_release(p, 1, 5), 1);
	assert_int_equal(exact_release(p, 1, 5), 0);
	EXPECT(1);
	assert_int_equal(exact_owner_gone(p, 1), 1);
	EXPECT(2);
	assert_int_equal(counts().holds, 1);
}

static void each_use_ends_one_of_the_requests_that_were_queued(void **state)
{
	struct exact_hold h = { .id = 1, .owner = 1, .bytes = BYTES, .is_queued = true };

	(void)state;
	begin("leaf-lru");
	insert(1, 0);
	insert(2, 0);
	h.until_ns = now + 50 * SECOND;
	assert_int_equal(exact_hold(p, &h, &plenty), 1);
	h.until_ns = now + 90 * SECOND;
	assert_int_equal(exact_hold(p, &h, &plenty), 1);
	touch(1);
	assert_int_equal(counts().holds, 1);
	EXPECT(2);
	touch(1);
	assert_int_equal(counts().holds, 0);
	EXPECT(1);
}

static void holds_are_bounded_in_bytes_and_number(void **state)
{
	struct exact_hold h = { .id = 1, .owner = 1, .bytes = 3 * BYTES, .until_ns = UINT64_MAX };
	const struct exact_limits l = { .owner_bytes = 8 * BYTES, .all_bytes = 10 * BYTES };
	unsigned n = 0;

	(void)state;
	begin("leaf-lru");
	insert(1, 0);
	assert_int_equal(exact_hold(p, &h, &l) + exact_hold(p, &h, &l), 2);
	assert_int_equal(exact_hold(p, &h, &l), 0);	/* one owner's */
	h.owner = 2;
	assert_int_equal(exact_hold(p, &h, &l), 1);
	assert_int_equal(exact_hold(p, &h, &l), 0);	/* all */
	assert_int_equal(counts().refused, 2);
	h.bytes = UINT64_MAX;
	assert_int_equal(exact_hold(p, &h, &l), 0);
	h = (struct exact_hold){ .id = 1, .owner = 3, .until_ns = UINT64_MAX };
	while (exact_hold(p, &h, &plenty))
		n++;
	assert_int_equal(n, EXACT_OWNER_HOLDS);
	h.id = 2;
	h.owner = 4;
	assert_int_equal(exact_hold(p, &h, &plenty), 0);	/* not resident */
	h.id = NR + 1;
	assert_int_equal(exact_hold(p, &h, &plenty), 0);
}

static void holds_yield_the_lowest_first_where_all_else_is_in_use(void **state)
{
	pol_id_t got[NR];

	(void)state;
	begin("leaf-lru");
	insert(1, 0);
	insert(2, 0);
	insert(3, 0);
	one_pinned = 3;
	assert_int_equal(hold(1, 1, 1, 1000, 5) + hold(2, 1, 2, 1000, 1), 2);
	assert_int_equal(evict(1, got), 1);
	assert_int_equal(got[0], 2);
	assert_int_equal(evict(1, got), 1);
	assert_int_equal(got[0], 1);
	assert_int_equal(counts().yielded, 2);
	assert_int_equal(evict(1, got), 0);
}

static void a_closed_tail_goes_first_up_to_where_others_begin(void **state)
{
	(void)state;
	begin("leaf-lru");
	insert(1, 0);		/* system prompt */
	insert(2, 1);		/* session a */
	insert(3, 2);
	insert(4, 1);		/* session b */
	insert(5, 0);
	touch(3);
	assert_int_equal(exact_close(p, 3, 10), 2);
	EXPECT(3, 2, 4);
}

static void a_use_or_a_new_block_below_opens_a_closed_tail_again(void **state)
{
	(void)state;
	begin("leaf-lru");
	insert(1, 0);
	insert(2, 1);
	insert(3, 0);
	insert(4, 3);
	insert(5, 0);
	assert_int_equal(exact_close(p, 2, 10) + exact_close(p, 4, 10), 4);
	touch(2);
	insert(6, 4);
	EXPECT(5, 2, 1);
	/* Closed twice, named once. */
	assert_int_equal(exact_close(p, 6, 1), 1);
	assert_int_equal(exact_close(p, 6, 1), 0);
	EXPECT(6, 4, 3);
}

static void a_closed_block_that_is_read_stays_and_is_open_again(void **state)
{
	pol_id_t got[NR];

	(void)state;
	begin("leaf-lru");
	insert(1, 0);
	insert(2, 1);
	insert(3, 0);
	insert(4, 0);
	assert_int_equal(exact_close(p, 2, 10), 2);
	assert_int_equal(policy_exact.victims(p, UINT64_MAX, now, got, 9, NULL, NULL), 2);
	assert_true(got[0] == 2 && got[1] == 1);
	/* The scan found 1 pinned: root first. */
	policy_exact.restore(p, 1, now);
	policy_exact.remove(p, 2);
	EXPECT(1, 3, 4);
}

static void a_pin_seen_earlier_only_puts_a_closed_tail_off(void **state)
{
	(void)state;
	begin("leaf-lru");
	insert(1, 0);
	insert(2, 0);
	insert(3, 0);
	assert_int_equal(exact_close(p, 3, 10), 1);
	one_pinned = 3;
	EXPECT(1);
	one_pinned = 0;
	EXPECT(3);
}

int main(void)
{
#define T(name) cmocka_unit_test_teardown(name, end)
	const struct CMUnitTest tests[] = {
		T(without_hints_it_is_the_policy_that_it_wraps),
		T(what_is_held_and_the_path_to_it_stay_until_the_time_is_over),
		cmocka_unit_test(each_policy_spares_what_is_held_and_gives_up_what_is_closed),
		T(a_ticket_ends_its_holds_and_an_owner_that_is_gone_all_of_his),
		T(each_use_ends_one_of_the_requests_that_were_queued),
		T(holds_are_bounded_in_bytes_and_number),
		T(holds_yield_the_lowest_first_where_all_else_is_in_use),
		T(a_closed_tail_goes_first_up_to_where_others_begin),
		T(a_use_or_a_new_block_below_opens_a_closed_tail_again),
		T(a_closed_block_that_is_read_stays_and_is_open_again),
		T(a_pin_seen_earlier_only_puts_a_closed_tail_off),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
