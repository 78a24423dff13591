/* SPDX-License-Identifier: Apache-2.0 */
/* kvshm-test: timeout=600 */
/* test_gix_save.c - what was learnt survives a restart, and nothing else is taken for it */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>
#include <stdlib.h>

#include "kvshm/base/rand.h"
#include "policy/hints.h"
#include "policy/policy.h"

enum { IDS = 64 };

static const struct policy_config cfg = { .max_ids = IDS };
static const struct hints often = { .type = 1 }, never = { .type = 2 };
static uint64_t now_ns = 1000000000;

static void second(struct policy *p)
{
	now_ns += 1000000000u;
	policy_gix.tick(p, now_ns);
}

static void insert(struct policy *p, pol_id_t id, const struct hints *h)
{
	static uint64_t key;

	policy_gix.insert(p, &(struct pol_block){ .id = id, .bytes = 1, .hints = hints_pack(h), .key = ++key }, now_ns);
}

/* Blocks of one type are used again every 20 s, those of the other not at all. */
static struct policy *taught(void)
{
	struct policy *p;
	pol_id_t id, v;

	assert_int_equal(policy_gix.create(&cfg, &p), 0);
	for (unsigned round = 0; round < 300; round++) {
		for (id = 1; id <= 8; id++)
			insert(p, id, id % 2 ? &often : &never);
		for (unsigned s = 0; s < 20; s++)
			second(p);
		for (id = 1; id <= 8; id += 2)
			policy_gix.touch(p, id, hints_pack(&often), now_ns);
		while (policy_gix.victims(p, 1, now_ns, &v, 1, NULL, NULL))
			policy_gix.remove(p, v);
	}
	return p;
}

/* The first to go of an old block of the good type and a fresh one of the other. */
static pol_id_t choice(struct policy *p)
{
	pol_id_t v = 0;

	insert(p, 1, &often);
	for (unsigned s = 0; s < 3; s++)
		second(p);
	insert(p, 2, &never);
	second(p);
	assert_int_equal(policy_gix.victims(p, 1, now_ns, &v, 1, NULL, NULL), 1);
	return v;
}

static void a_new_policy_goes_by_age_and_a_restored_one_by_what_was_learnt(void **state)
{
	struct policy *p = taught(), *fresh, *restored;
	size_t len = policy_gix.save(p, NULL, 0);
	void *buf = malloc(len);

	assert_int_equal(policy_gix.save(p, buf, len), len);
	assert_int_equal(policy_gix.create(&cfg, &fresh), 0);
	assert_int_equal(policy_gix.create(&cfg, &restored), 0);
	assert_int_equal(policy_gix.load(restored, buf, len), 0);
	assert_int_equal(choice(fresh), 1);
	assert_int_equal(choice(restored), 2);
	policy_gix.destroy(p);
	policy_gix.destroy(fresh);
	policy_gix.destroy(restored);
	free(buf);
}

static void no_other_bytes_are_taken(void **state)
{
	struct policy *p = taught(), *q;
	size_t len = policy_gix.save(p, NULL, 0), i;
	unsigned char *buf = malloc(len);

	policy_gix.save(p, buf, len);
	assert_int_equal(policy_gix.create(&cfg, &q), 0);
	assert_int_equal(policy_gix.load(q, buf, len - 1), -EUCLEAN);
	assert_int_equal(policy_gix.load(q, buf, 5), -EUCLEAN);
	for (i = 0; i < len; i += 211) {
		buf[i] ^= 0x40;
		assert_int_equal(policy_gix.load(q, buf, len), -EUCLEAN);
		buf[i] ^= 0x40;
	}
	assert_int_equal(policy_gix.load(q, buf, len), 0);
	policy_gix.destroy(p);
	policy_gix.destroy(q);
	free(buf);
}

/* Prompts that grow, pause for seconds or minutes and lose their ends, as they come; whatever that leaves is sound. */
static void whatever_was_learnt_can_be_restored(void **state)
{
	enum { CHAINS = 12, LONG = 5 };
	uint32_t nr[CHAINS] = { 0 };
	struct policy *p, *q;
	struct rand r;
	unsigned saves = 0;
	pol_id_t v;

	rand_init(&r, 5);
	assert_int_equal(policy_gix.create(&cfg, &p), 0);
	for (unsigned step = 0; step < 6000; step++) {
		const uint32_t c = (uint32_t)rand_below(&r, CHAINS);
		const struct hints h = { .type = (uint8_t)(1 + c % 3), .turn = (uint8_t)(1 + nr[c] % 5) };
		const pol_id_t root = 1 + c * LONG;
		size_t len;
		void *buf;

		for (uint64_t s = rand_below(&r, 8) ? rand_below(&r, 4) : rand_below(&r, 300); s--;)
			second(p);
		if (nr[c])
			policy_gix.touch(p, root + nr[c] - 1, hints_pack(&h), now_ns);
		while (nr[c] < 1 + rand_below(&r, LONG)) {
			static uint64_t key = 1u << 20;

			policy_gix.insert(p, &(struct pol_block){ .id = root + nr[c], .parent = nr[c] ? root + nr[c] - 1 : 0,
								  .bytes = 1, .hints = hints_pack(&h), .key = ++key }, now_ns);
			nr[c]++;
		}
		if (rand_below(&r, 3) == 0 && policy_gix.victims(p, 1, now_ns, &v, 1, NULL, NULL)) {
			policy_gix.remove(p, v);
			nr[(v - 1) / LONG]--;
		}
		if (step % 50)
			continue;
		len = policy_gix.save(p, NULL, 0);
		buf = malloc(len);
		policy_gix.save(p, buf, len);
		assert_int_equal(policy_gix.create(&cfg, &q), 0);
		assert_int_equal(policy_gix.load(q, buf, len), 0);
		policy_gix.destroy(q);
		free(buf);
		saves++;
	}
	assert_int_equal(saves, 120);
	policy_gix.destroy(p);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_new_policy_goes_by_age_and_a_restored_one_by_what_was_learnt),
		cmocka_unit_test(no_other_bytes_are_taken),
		cmocka_unit_test(whatever_was_learnt_can_be_restored),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
