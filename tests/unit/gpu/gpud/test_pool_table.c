/* SPDX-License-Identifier: Apache-2.0 */
/* What lies in the staging pool and who holds it; last, anything at random against a list that knows nothing of it. */
#include "gpu/gpud/pool_table.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "kvshm/base/compiler.h"
#include "kvshm/base/rand.h"

#define NS 3u
#define LEN (2u * POOL_UNIT)		/* of a block */

static struct kvshm_block_ref ref(uint32_t id)
{
	return (struct kvshm_block_ref){ id, 7 };
}

static struct pool_table *make(unsigned blocks, unsigned quota_blocks)
{
	struct pool_table *t;

	assert_int_equal(pool_table_create((uint64_t)blocks * LEN, (uint64_t)quota_blocks * LEN, &t), 0);
	return t;
}

static struct pool_block *add(struct pool_table *t, struct pool_user *u, uint32_t id)
{
	struct pool_block *b = NULL;

	assert_int_equal(pool_table_add(t, u, NS, ref(id), LEN, &b), 0);
	return b;
}

/* There, and held by nobody. */
static uint64_t add_idle(struct pool_table *t, struct pool_user *u, uint32_t id)
{
	struct pool_block *b = add(t, u, id);
	uint64_t off = b->off;

	pool_table_landed(t, b);
	assert_int_equal(pool_table_release(t, u, ref(id)), 0);
	return off;
}

static struct pool_counts counts(const struct pool_table *t)
{
	struct pool_counts n;

	pool_table_counts(t, &n);
	return n;
}

static void check(const struct pool_table *t)
{
	const char *broken = pool_table_verify(t);

	if (broken)
		fail_msg("%s", broken);
}

static void two_users_share_one_copy(void **state)
{
	struct pool_user u = { 0 }, v = { 0 };
	struct pool_table *t = make(4, 4);
	struct pool_block *b, *c = NULL;

	assert_int_equal(pool_table_take(t, &u, NS, ref(1), &c), 0);
	assert_null(c);
	b = add(t, &u, 1);
	/* also while it is on its way */
	assert_int_equal(pool_table_take(t, &v, NS, ref(1), &c), 1);
	assert_ptr_equal(b, c);
	pool_table_landed(t, b);
	assert_int_equal(counts(t).used_bytes, LEN);
	assert_int_equal(counts(t).held_bytes, LEN);
	assert_int_equal(u.held_bytes, LEN);
	assert_int_equal(v.held_bytes, LEN);
	assert_int_equal(counts(t).staged_blocks, 1);
	assert_int_equal(counts(t).staged_bytes, LEN);
	assert_int_equal(counts(t).shared_blocks, 1);
	assert_int_equal(pool_table_release(t, &u, ref(1)), 0);
	assert_int_equal(counts(t).held_bytes, LEN);
	assert_int_equal(pool_table_release(t, &v, ref(1)), 0);
	assert_int_equal(counts(t).held_bytes, 0);
	assert_int_equal(counts(t).idle_bytes, LEN);
	check(t);
	pool_table_destroy(t);
}

static void idle_block_is_found_again(void **state)
{
	struct pool_user u = { 0 };
	struct pool_table *t = make(4, 4);
	uint64_t off = add_idle(t, &u, 1);
	struct pool_block *b = NULL;

	assert_int_equal(pool_table_take(t, &u, NS, ref(1), &b), 1);
	assert_int_equal(b->off, off);
	assert_int_equal(counts(t).idle_bytes, 0);
	check(t);
	pool_table_forget(t, &u);
	pool_table_destroy(t);
}

static void longest_idle_is_evicted_first(void **state)
{
	struct pool_user u = { 0 };
	struct pool_table *t = make(3, 3);
	struct pool_block *b = NULL;

	for (uint32_t id = 1; id <= 3; id++)
		add_idle(t, &u, id);
	assert_int_equal(pool_table_take(t, &u, NS, ref(1), &b), 1);
	assert_int_equal(pool_table_release(t, &u, ref(1)), 0);
	add(t, &u, 4);
	assert_null(pool_table_find(t, ref(2)));
	assert_non_null(pool_table_find(t, ref(1)));
	assert_non_null(pool_table_find(t, ref(3)));
	add(t, &u, 5);
	assert_null(pool_table_find(t, ref(3)));
	assert_int_equal(counts(t).evicted_blocks, 2);
	check(t);
	pool_table_forget(t, &u);
	pool_table_destroy(t);
}

static void held_blocks_are_never_evicted(void **state)
{
	struct pool_user u = { 0 }, v = { 0 };
	struct pool_table *t = make(3, 3);
	struct pool_block *b = NULL;

	pool_table_landed(t, add(t, &u, 1));
	pool_table_landed(t, add(t, &u, 2));
	add_idle(t, &u, 3);
	add(t, &v, 4);
	assert_null(pool_table_find(t, ref(3)));
	assert_int_equal(pool_table_add(t, &v, NS, ref(5), LEN, &b), -ENOSPC);
	assert_null(b);
	assert_non_null(pool_table_find(t, ref(1)));
	assert_non_null(pool_table_find(t, ref(2)));
	check(t);
	pool_table_forget(t, &u);
	pool_table_forget(t, &v);
	pool_table_destroy(t);
}

static void block_under_a_copy_is_not_evicted_though_nobody_holds_it(void **state)
{
	struct pool_user u = { 0 };
	struct pool_table *t = make(1, 1);
	struct pool_block *b = add(t, &u, 1), *c = NULL;

	assert_int_equal(pool_table_release(t, &u, ref(1)), 0);
	assert_int_equal(pool_table_add(t, &u, NS, ref(2), LEN, &c), -ENOSPC);
	check(t);
	pool_table_landed(t, b);
	add(t, &u, 2);
	assert_null(pool_table_find(t, ref(1)));
	check(t);
	pool_table_forget(t, &u);
	pool_table_destroy(t);
}

static void nothing_is_evicted_for_what_cannot_be(void **state)
{
	struct pool_user u = { 0 };
	struct pool_table *t = make(3, 2);
	struct pool_block *b = NULL;

	add_idle(t, &u, 1);
	assert_int_equal(pool_table_add(t, &u, NS, ref(2), 3 * LEN, &b), -EDQUOT);
	add(t, &u, 3);
	add(t, &u, 4);
	assert_int_equal(pool_table_add(t, &u, NS, ref(5), LEN, &b), -EDQUOT);
	assert_int_equal(pool_table_take(t, &u, NS, ref(1), &b), -EDQUOT);
	assert_int_equal(pool_table_admit(t, &(struct pool_user){ 0 }, 2 * LEN), -ENOSPC);
	assert_int_equal(pool_table_admit(t, &(struct pool_user){ 0 }, LEN), 0);
	assert_null(b);
	assert_int_equal(counts(t).evicted_blocks, 0);
	check(t);
	pool_table_forget(t, &u);
	pool_table_destroy(t);
}

static void what_one_does_not_hold_one_cannot_release(void **state)
{
	struct pool_user u = { 0 }, v = { 0 };
	struct pool_table *t = make(2, 2);
	struct pool_block *b = NULL;

	pool_table_landed(t, add(t, &u, 1));
	assert_int_equal(pool_table_release(t, &v, ref(1)), -ENOENT);
	assert_int_equal(pool_table_release(t, &u, ref(2)), -ENOENT);
	assert_int_equal(pool_table_release(t, &u, (struct kvshm_block_ref){ 1, 8 }), -ENOENT);
	assert_int_equal(pool_table_take(t, &u, NS, ref(1), &b), 1);
	/* twice held, twice released */
	assert_int_equal(pool_table_release(t, &u, ref(1)), 0);
	assert_int_equal(counts(t).held_bytes, LEN);
	assert_int_equal(pool_table_release(t, &u, ref(1)), 0);
	assert_int_equal(pool_table_release(t, &u, ref(1)), -ENOENT);
	assert_int_equal(counts(t).held_bytes, 0);
	check(t);
	pool_table_destroy(t);
}

static void another_namespace_or_life_is_another_block(void **state)
{
	struct pool_user u = { 0 };
	struct pool_table *t = make(2, 2);
	struct pool_block *b = NULL;

	pool_table_landed(t, add(t, &u, 1));
	assert_int_equal(pool_table_take(t, &u, NS + 1, ref(1), &b), -EINVAL);
	assert_int_equal(pool_table_take(t, &u, NS, (struct kvshm_block_ref){ 1, 8 }, &b), 0);
	assert_null(b);
	pool_table_forget(t, &u);
	pool_table_destroy(t);
}

static void user_that_is_gone_holds_nothing(void **state)
{
	struct pool_user u = { 0 }, v = { 0 };
	struct pool_table *t = make(4, 4);
	struct pool_block *b = NULL;

	pool_table_landed(t, add(t, &u, 1));
	pool_table_landed(t, add(t, &u, 2));
	assert_int_equal(pool_table_take(t, &v, NS, ref(2), &b), 1);
	assert_int_equal(pool_table_take(t, &u, NS, ref(1), &b), 1);
	pool_table_forget(t, &u);
	assert_int_equal(u.held_bytes, 0);
	assert_int_equal(counts(t).held_bytes, LEN);
	assert_int_equal(counts(t).idle_bytes, LEN);
	check(t);
	pool_table_forget(t, &v);
	check(t);
	pool_table_destroy(t);
}

static void block_whose_copy_failed_goes_with_its_last_hold(void **state)
{
	struct pool_user u = { 0 }, v = { 0 };
	struct pool_table *t = make(2, 2);
	struct pool_block *b = add(t, &u, 1), *c = NULL;

	assert_int_equal(pool_table_take(t, &v, NS, ref(1), &c), 1);
	pool_table_failed(t, b, -EIO);
	assert_int_equal(pool_table_take(t, &v, NS, ref(1), &c), -EIO);
	assert_int_equal(pool_table_release(t, &u, ref(1)), 0);
	assert_non_null(pool_table_find(t, ref(1)));
	check(t);
	assert_int_equal(pool_table_release(t, &v, ref(1)), 0);
	assert_null(pool_table_find(t, ref(1)));
	/* nobody waits any more */
	b = add(t, &u, 2);
	pool_table_forget(t, &u);
	pool_table_failed(t, b, -EIO);
	assert_int_equal(counts(t).used_bytes, 0);
	assert_int_equal(counts(t).staged_blocks, 0);
	check(t);
	pool_table_destroy(t);
}

static void lengths_are_rounded_up_to_units(void **state)
{
	struct pool_user u = { 0 };
	struct pool_table *t = NULL;
	struct pool_block *b[3];

	assert_int_equal(pool_table_create(POOL_UNIT - 1, 1, &t), -EINVAL);
	assert_null(t);
	assert_int_equal(pool_table_create(4 * POOL_UNIT + 5, UINT64_MAX, &t), 0);
	assert_int_equal(counts(t).bytes, 4 * POOL_UNIT);
	assert_int_equal(pool_table_add(t, &u, NS, ref(1), 1, &b[0]), 0);
	assert_int_equal(pool_table_add(t, &u, NS, ref(2), POOL_UNIT + 1, &b[1]), 0);
	assert_int_equal(pool_table_add(t, &u, NS, ref(3), POOL_UNIT, &b[2]), 0);
	for (unsigned i = 0; i < 3; i++) {
		assert_int_equal(b[i]->off % POOL_UNIT, 0);
		pool_table_landed(t, b[i]);
	}
	assert_int_equal(counts(t).used_bytes, 4 * POOL_UNIT);
	assert_int_equal(counts(t).staged_bytes, 2 * POOL_UNIT + 2);
	check(t);
	pool_table_forget(t, &u);
	/* one that needs two neighbours: the three go in the order in which they were let go, as many as it takes */
	assert_int_equal(pool_table_add(t, &u, NS, ref(4), 4 * POOL_UNIT, &b[0]), 0);
	assert_int_equal(b[0]->off, 0);
	assert_int_equal(counts(t).evicted_blocks, 3);
	check(t);
	pool_table_forget(t, &u);
	pool_table_destroy(t);
}

/* ---- at random --------------------------------------------------------------------------------------- */

#define USERS 3u
#define IDS 40u

struct life {				/* what must be true of an id */
	struct pool_block *b;
	unsigned holds[USERS];
	enum pool_state state;
};

struct model {
	struct pool_table *t;
	struct pool_user u[USERS];
	struct life life[IDS];
	struct rand r;
};

static bool is_held(const struct life *l)
{
	for (unsigned i = 0; i < USERS; i++)
		if (l->holds[i])
			return true;
	return false;
}

/* Evictions are the table's: what it still knows decides which idle ones are gone. */
static void look(struct model *m)
{
	for (uint32_t id = 0; id < IDS; id++) {
		struct life *l = &m->life[id];
		const struct pool_block *b = pool_table_find(m->t, ref(id));

		if (!l->b) {
			assert_null(b);
		} else if (is_held(l) || l->state == POOL_COPYING) {
			assert_ptr_equal(b, l->b);
			assert_int_equal(b->state, l->state);
		} else if (!b) {
			l->b = NULL;
		}
	}
}

static void ask(struct model *m, unsigned user, uint32_t id)
{
	struct life *l = &m->life[id];
	struct pool_block *b = NULL;
	int ret = pool_table_take(m->t, &m->u[user], NS, ref(id), &b);

	if (l->b && l->state == POOL_FAILED) {
		assert_int_equal(ret, -EIO);
		return;
	}
	if (l->b) {
		assert_true(ret == 1 || ret == -EDQUOT);
	} else {
		assert_int_equal(ret, 0);
		ret = pool_table_add(m->t, &m->u[user], NS, ref(id), 1 + (uint32_t)rand_below(&m->r, 5 * POOL_UNIT), &b);
		assert_true(!ret || ret == -ENOSPC || ret == -EDQUOT);
		if (!ret)
			l->state = POOL_COPYING;
	}
	if (ret >= 0) {
		l->b = b;
		l->holds[user]++;
	}
}

static void land(struct model *m, uint32_t id)
{
	struct life *l = &m->life[id];

	if (!l->b || l->state != POOL_COPYING)
		return;
	if (rand_below(&m->r, 5)) {
		l->state = POOL_STAGED;
		pool_table_landed(m->t, l->b);
	} else {
		l->state = POOL_FAILED;
		pool_table_failed(m->t, l->b, -EIO);
	}
}

static void step(struct model *m)
{
	unsigned user = (unsigned)rand_below(&m->r, USERS);
	uint32_t id = (uint32_t)rand_below(&m->r, IDS);
	struct life *l = &m->life[id];

	switch (rand_below(&m->r, 40)) {
	case 0:
		pool_table_forget(m->t, &m->u[user]);
		for (uint32_t i = 0; i < IDS; i++)
			m->life[i].holds[user] = 0;
		break;
	case 1 ... 15:
		ask(m, user, id);
		break;
	case 16 ... 25:
		land(m, id);
		break;
	default:
		assert_int_equal(pool_table_release(m->t, &m->u[user], ref(id)), l->holds[user] ? 0 : -ENOENT);
		l->holds[user] -= l->holds[user] > 0;
		break;
	}
}

static void anything_in_any_order_keeps_the_books(void **state)
{
	for (uint64_t seed = 1; seed <= 20; seed++) {
		struct model m = { 0 };

		rand_init(&m.r, seed);
		assert_int_equal(pool_table_create(32 * POOL_UNIT, 20 * POOL_UNIT, &m.t), 0);
		for (unsigned i = 0; i < 3000; i++) {
			step(&m);
			look(&m);
			check(m.t);
			for (unsigned u = 0; u < USERS; u++)
				assert_true(m.u[u].held_bytes <= 20 * POOL_UNIT);
		}
		assert_true(counts(m.t).evicted_blocks > 50 && counts(m.t).shared_blocks > 50);
		for (unsigned u = 0; u < USERS; u++) {
			pool_table_forget(m.t, &m.u[u]);
			assert_int_equal(m.u[u].held_bytes, 0);
		}
		assert_int_equal(counts(m.t).held_bytes, 0);
		check(m.t);
		pool_table_destroy(m.t);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(two_users_share_one_copy),
		cmocka_unit_test(idle_block_is_found_again),
		cmocka_unit_test(longest_idle_is_evicted_first),
		cmocka_unit_test(held_blocks_are_never_evicted),
		cmocka_unit_test(block_under_a_copy_is_not_evicted_though_nobody_holds_it),
		cmocka_unit_test(nothing_is_evicted_for_what_cannot_be),
		cmocka_unit_test(what_one_does_not_hold_one_cannot_release),
		cmocka_unit_test(another_namespace_or_life_is_another_block),
		cmocka_unit_test(user_that_is_gone_holds_nothing),
		cmocka_unit_test(block_whose_copy_failed_goes_with_its_last_hold),
		cmocka_unit_test(lengths_are_rounded_up_to_units),
		cmocka_unit_test(anything_in_any_order_keeps_the_books),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
