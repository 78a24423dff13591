/* SPDX-License-Identifier: Apache-2.0 */
/* test_leaf_lru.c - the order of eviction against a model that refreshes every block of a run */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <string.h>

#include "kvshm/base/compiler.h"
#include "kvshm/base/rand.h"
#include "policy/policy.h"

enum { IDS = 300, STEPS = 200000, VICTIMS_MAX = 40 };

static const struct policy_ops *ops = &policy_leaf_lru;
static struct policy *pol;

/* The model: times of use in full, O(n) for everything. */
static struct {
	uint64_t time;
	pol_id_t parent;
	int is_resident, is_victim, is_pinned;
} m[IDS + 1];
static uint64_t m_now;

static void m_use(pol_id_t id)
{
	m_now++;
	for (; id; id = m[id].parent)
		m[id].time = m_now;
}

static int m_is_leaf(pol_id_t id)
{
	pol_id_t i;

	for (i = 1; i <= IDS; i++)
		if (m[i].is_resident && !m[i].is_victim && m[i].parent == id)
			return 0;
	return 1;
}

/* The leaf whose latest use is oldest; pinned ones are in use now. */
static pol_id_t m_victim(uint64_t end)
{
	pol_id_t i, best = 0;

	for (i = 1; i <= IDS; i++)
		if (m[i].is_resident && !m[i].is_victim && m[i].time <= end && m_is_leaf(i) &&
		    (!best || m[i].time < m[best].time))
			best = i;
	return best;
}

static unsigned m_victims(pol_id_t *ids, unsigned max)
{
	const uint64_t end = m_now;
	unsigned nr = 0;
	pol_id_t id;

	while (nr < max && (id = m_victim(end))) {
		if (m[id].is_pinned) {
			m_use(id);
			continue;
		}
		m[id].is_victim = 1;
		ids[nr++] = id;
	}
	return nr;
}

static int is_pinned(void *arg, pol_id_t id)
{
	return m[id].is_pinned;
}

static void insert(pol_id_t id, pol_id_t parent)
{
	m[id].is_resident = 1;
	m[id].parent = parent;
	m_use(id);
	ops->insert(pol, &(struct pol_block){ .id = id, .parent = parent, .bytes = 1 }, m_now);
}

static void touch(pol_id_t id)
{
	m_use(id);
	ops->touch(pol, id, 0, m_now);
}

static void removed(pol_id_t id)
{
	ops->remove(pol, id);
	memset(&m[id], 0, sizeof(m[id]));
}

static int setup(void **state)
{
	const struct policy_config cfg = { .max_ids = IDS };

	memset(m, 0, sizeof(m));
	m_now = 0;
	return ops->create(&cfg, &pol);
}

static int teardown(void **state)
{
	ops->destroy(pol);
	return 0;
}

static pol_id_t pick_resident(struct rand *r)
{
	pol_id_t id = 1 + (pol_id_t)rand_below(r, IDS), i;

	for (i = 0; i < IDS; i++, id = id % IDS + 1)
		if (m[id].is_resident)
			return id;
	return 0;
}

/* Some victims go, some come back, root first, as reclaim does it: with all their ancestors. */
static void settle(struct rand *r, const pol_id_t *ids, unsigned nr)
{
	unsigned i, keep = rand_below(r, 3) == 0;
	int stays[IDS + 1] = { 0 };
	pol_id_t id;

	for (i = 0; i < nr; i++)
		if (keep && rand_below(r, 2))
			for (id = ids[i]; id; id = m[id].parent)
				stays[id] = 1;
	for (i = nr; i-- > 0;)
		if (stays[ids[i]]) {
			ops->restore(pol, ids[i], m_now);
			m[ids[i]].is_victim = 0;
		}
	for (i = 0; i < nr; i++)
		if (!stays[ids[i]])
			removed(ids[i]);
}

static void step_victims(struct rand *r)
{
	pol_id_t ours[VICTIMS_MAX], want[VICTIMS_MAX];
	unsigned max = 1 + (unsigned)rand_below(r, VICTIMS_MAX), nr, i;

	nr = ops->victims(pol, UINT64_MAX, m_now, ours, max, is_pinned, NULL);
	assert_int_equal(nr, m_victims(want, max));
	for (i = 0; i < nr; i++)
		assert_int_equal(ours[i], want[i]);
	settle(r, ours, nr);
}

static void step(struct rand *r)
{
	unsigned what = (unsigned)rand_below(r, 100);
	pol_id_t id = 1 + (pol_id_t)rand_below(r, IDS), other = pick_resident(r);

	if (what < 60 && !m[id].is_resident)
		insert(id, rand_below(r, 8) ? other : 0);
	else if (what < 85 && other)
		touch(other);
	else if (what < 90 && other && m_is_leaf(other))
		removed(other);
	else if (what < 95 && other)
		m[other].is_pinned = !m[other].is_pinned && rand_below(r, 4) == 0;
	else if (what >= 97)
		step_victims(r);
}

static void order_is_that_of_the_naive_model(void **state)
{
	struct rand r;
	unsigned i;

	rand_init(&r, 3);
	for (i = 0; i < STEPS; i++)
		step(&r);
}

static void a_chain_goes_tail_first(void **state)
{
	pol_id_t v[8];
	unsigned i;

	for (i = 1; i <= 5; i++)
		insert(i, i - 1);
	insert(6, 0);
	touch(5);
	assert_int_equal(ops->victims(pol, UINT64_MAX, 0, v, 8, NULL, NULL), 6);
	assert_int_equal(v[0], 6);
	for (i = 1; i <= 5; i++)
		assert_int_equal(v[i], 6 - i);
}

static void a_use_of_a_leaf_saves_the_run_and_not_its_siblings(void **state)
{
	pol_id_t v[8];

	insert(1, 0);
	insert(2, 1);
	insert(3, 1);
	insert(4, 0);
	touch(3);
	assert_int_equal(ops->victims(pol, UINT64_MAX, 0, v, 2, NULL, NULL), 2);
	assert_int_equal(v[0], 2);
	assert_int_equal(v[1], 4);
}

static void victims_stop_at_the_bytes_that_are_needed(void **state)
{
	pol_id_t v[8];
	pol_id_t id;

	for (id = 1; id <= 6; id++)
		ops->insert(pol, &(struct pol_block){ .id = id, .bytes = 100 }, id);
	assert_int_equal(ops->victims(pol, 201, 0, v, 8, NULL, NULL), 3);
	assert_int_equal(ops->victims(pol, 1, 0, v, 8, NULL, NULL), 1);
	assert_int_equal(v[0], 4);
	assert_int_equal(ops->victims(pol, 0, 0, v, 8, NULL, NULL), 0);
}

static void all_pinned_names_nobody_and_ends(void **state)
{
	pol_id_t v[8], id;

	for (id = 1; id <= IDS; id++) {
		insert(id, 0);
		m[id].is_pinned = 1;
	}
	assert_int_equal(ops->victims(pol, UINT64_MAX, 0, v, 8, is_pinned, NULL), 0);
	m[7].is_pinned = 0;
	assert_int_equal(ops->victims(pol, UINT64_MAX, 0, v, 8, is_pinned, NULL), 1);
	assert_int_equal(v[0], 7);
}

static void a_touch_of_an_absent_block_is_ignored(void **state)
{
	pol_id_t v[2];

	ops->touch(pol, 5, 0, 1);
	assert_int_equal(ops->victims(pol, UINT64_MAX, 0, v, 2, NULL, NULL), 0);
}

int main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
	const struct CMUnitTest tests[] = {
		T(order_is_that_of_the_naive_model),
		T(a_chain_goes_tail_first),
		T(a_use_of_a_leaf_saves_the_run_and_not_its_siblings),
		T(victims_stop_at_the_bytes_that_are_needed),
		T(all_pinned_names_nobody_and_ends),
		T(a_touch_of_an_absent_block_is_ignored),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
