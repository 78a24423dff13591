/* SPDX-License-Identifier: Apache-2.0 */
/* kvshm-test: timeout=600 */
/* test_orders.c - what every policy promises: victims exist, children before parents, pinned ones spared */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <string.h>

#include "kvshm/base/rand.h"
#include "policy/hints.h"
#include "policy/policy.h"

enum { IDS = 400, STEPS = 40000, MAX = 48 };

static struct {
	pol_id_t parent;
	int is_resident, is_victim, is_pinned;
	uint64_t key;
} m[IDS + 1];
static const struct policy_ops *ops;
static struct policy *pol;
static uint64_t now_ns, next_key;

static uint64_t no_future(void *arg, pol_id_t id)
{
	return id * 7919u % 1000;
}

static int kids_of(pol_id_t id)
{
	int n = 0;

	for (pol_id_t i = 1; i <= IDS; i++)
		n += m[i].is_resident && !m[i].is_victim && m[i].parent == id;
	return n;
}

static int pinned(void *arg, pol_id_t id)
{
	return m[id].is_pinned;
}

static pol_id_t resident(struct rand *r)
{
	pol_id_t id = 1 + (pol_id_t)rand_below(r, IDS), i;

	for (i = 0; i < IDS; i++, id = id % IDS + 1)
		if (m[id].is_resident)
			return id;
	return 0;
}

static void insert(struct rand *r, pol_id_t id)
{
	const pol_id_t up = rand_below(r, 6) ? resident(r) : 0;
	struct pol_block b = { .id = id, .parent = up, .bytes = 100, .tokens = 16, .offset = 16 * (id % 50),
			       .hints = (uint32_t)rand_u64(r), .key = rand_below(r, 3) ? ++next_key : 1 + rand_below(r, 200) };

	m[id].is_resident = 1;
	m[id].parent = up;
	m[id].key = b.key;
	ops->insert(pol, &b, now_ns);
}

static void gone(pol_id_t id)
{
	ops->remove(pol, id);
	memset(&m[id], 0, sizeof(m[id]));
}

static void victims(struct rand *r)
{
	const int is_flat = ops->flags & POLICY_FLAT;
	const unsigned max = 1 + (unsigned)rand_below(r, MAX);
	pol_id_t v[MAX];
	int stays[IDS + 1] = { 0 };
	unsigned nr = ops->victims(pol, 100ull * max, now_ns, v, max, pinned, NULL), i;

	assert_true(nr <= max);
	for (i = 0; i < nr; i++) {
		assert_true(m[v[i]].is_resident && !m[v[i]].is_victim && !m[v[i]].is_pinned);
		assert_true(is_flat || kids_of(v[i]) == 0);
		m[v[i]].is_victim = 1;
	}
	for (i = 0; i < nr; i++)
		if (rand_below(r, 8) == 0)
			for (pol_id_t id = v[i]; id; id = is_flat ? 0 : m[id].parent)
				stays[id] = 1;
	for (i = nr; i-- > 0;)
		if (stays[v[i]]) {
			ops->restore(pol, v[i], now_ns);
			m[v[i]].is_victim = 0;
		}
	for (i = 0; i < nr; i++)
		if (!stays[v[i]])
			gone(v[i]);
}

static void step(struct rand *r)
{
	const unsigned what = (unsigned)rand_below(r, 100);
	const pol_id_t id = 1 + (pol_id_t)rand_below(r, IDS), other = resident(r);

	now_ns += rand_below(r, 300000000);
	if (ops->tick)
		ops->tick(pol, now_ns);
	if (ops->expect && other)
		ops->expect(pol, &other, 1);
	if (what < 60 && !m[id].is_resident)
		insert(r, id);
	else if (what < 85 && other)
		ops->touch(pol, other, (uint32_t)rand_u64(r), now_ns);
	else if (what < 88 && other && kids_of(other) == 0)
		gone(other);
	else if (what < 92 && other)
		m[other].is_pinned = !m[other].is_pinned && rand_below(r, 4) == 0;
	else if (what >= 92)
		victims(r);
}

/* Nothing pinned, no limit: all go, and nobody twice. */
static void empty(void)
{
	pol_id_t v[IDS];
	unsigned nr, i, left = 0;

	for (i = 1; i <= IDS; i++)
		left += (unsigned)m[i].is_resident;
	now_ns += 2000000000u;
	if (ops->tick)
		ops->tick(pol, now_ns);
	while ((nr = ops->victims(pol, UINT64_MAX, now_ns, v, IDS, NULL, NULL)))
		for (i = 0; i < nr; i++, left--)
			gone(v[i]);
	assert_int_equal(left, 0);
}

static void every_policy_keeps_the_tree_and_gives_all_of_it(void **state)
{
	const struct policy_config cfg = { .max_ids = IDS, .next_use = no_future, .theta = 0.5 };
	struct rand r;
	unsigned i, s;

	for (i = 0; (ops = policy_at(i)); i++) {
		memset(m, 0, sizeof(m));
		now_ns = 5000000000u;
		assert_int_equal(ops->create(&cfg, &pol), 0);
		rand_init(&r, 11);
		for (s = 0; s < STEPS; s++)
			step(&r);
		empty();
		ops->destroy(pol);
	}
}

static void an_oracle_without_a_future_is_refused(void **state)
{
	const struct policy_config cfg = { .max_ids = 4 };

	assert_int_equal(policy_belady.create(&cfg, &pol), -22);
}

static void hints_pack_and_unpack_and_zero_is_unknown(void **state)
{
	const struct hints h = { .type = 200, .stop = 3, .turn = 5, .gap = 31, .output = 17 };
	const struct hints u = hints_unpack(hints_pack(&h));

	assert_memory_equal(&u, &h, sizeof(h));
	assert_int_equal(hints_pack(&(struct hints){ 0 }), 0);
	assert_int_equal(hint_gap(1, 0), 1);
	assert_int_equal(hint_gap(0, 0), 2);
	assert_int_equal(hint_turn(4), 3);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(every_policy_keeps_the_tree_and_gives_all_of_it),
		cmocka_unit_test(an_oracle_without_a_future_is_refused),
		cmocka_unit_test(hints_pack_and_unpack_and_zero_is_unknown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
