/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "kvshm/base/rand.h"
#include "utils/hear.h"

#define SECOND 1000000000ull
#define TOLD_MAX 8u
#define BLOCKS_MAX 16u

struct told {
	struct heard_request q;
	uint64_t hash[BLOCKS_MAX];
};

static struct told told[TOLD_MAX];
static unsigned nr_told;
static struct hear *h;
static uint64_t now;

static int note(void *arg, const struct heard_request *q)
{
	(void)arg;
	if (nr_told < TOLD_MAX && q->nr <= BLOCKS_MAX) {
		told[nr_told].q = *q;
		memcpy(told[nr_told].hash, q->hash, q->nr * sizeof(*q->hash));
	}
	nr_told++;
	return 0;
}

static int begin(void **state)
{
	(void)state;
	nr_told = 0;
	now = 100 * SECOND;
	return hear_create(note, NULL, &h);
}

static int end(void **state)
{
	(void)state;
	h = hear_destroy(h);
	return 0;
}

static void event(uint8_t type, uint64_t key, uint64_t parent, uint32_t nr)
{
	const struct kvshm_event e = { .type = type, .key = key, .parent = parent, .nr = nr, .time_ns = now += SECOND / 10,
				       .tokens = 16, .block_tokens = 16, .length = 4096, .ns = 3, .hint = 7 };

	assert_int_equal(hear_event(h, &e), 0);
}

static void stored(uint64_t key, uint64_t parent, uint32_t nr)
{
	event(KVSHM_EVENT_STORED, key, parent, nr);
}

static void touched(uint64_t key, uint32_t nr)
{
	event(KVSHM_EVENT_TOUCHED, key, 0, nr);
}

static void expect(unsigned i, const uint64_t *hash, uint32_t nr)
{
	assert_in_range(i, 0, nr_told - 1);
	assert_int_equal(told[i].q.nr, nr);
	assert_memory_equal(told[i].hash, hash, nr * sizeof(*hash));
}
#define EXPECT(i, ...) \
	do { \
		const uint64_t want_[] = { __VA_ARGS__ }; \
		expect(i, want_, sizeof(want_) / sizeof(*want_)); \
	} while (0)

static void a_prompt_that_was_not_cached_is_one_request(void **state)
{
	(void)state;
	stored(11, 0, 1);
	stored(12, 11, 2);
	stored(13, 12, 3);
	assert_int_equal(nr_told, 0);
	assert_int_equal(hear_end(h), 0);
	assert_int_equal(nr_told, 1);
	EXPECT(0, 11, 12, 13);
	assert_int_equal(told[0].q.tokens, 48);
	assert_int_equal(told[0].q.hint, 7);
	assert_int_equal(told[0].q.ns, 3);
	assert_int_equal(told[0].q.time_ns, 100 * SECOND + SECOND / 10);
	assert_int_equal(told[0].q.goes_on_from, -1);
}

static void what_is_put_below_a_use_belongs_to_it(void **state)
{
	(void)state;
	stored(11, 0, 1);
	stored(12, 11, 2);
	now += 60 * SECOND;
	touched(12, 2);
	stored(13, 12, 3);
	hear_end(h);
	assert_int_equal(nr_told, 2);
	EXPECT(0, 11, 12);
	EXPECT(1, 11, 12, 13);
	assert_int_equal(told[1].q.goes_on_from, 0);
}

static void of_two_that_use_the_same_prefix_each_gets_what_one_put(void **state)
{
	(void)state;
	stored(11, 0, 1);
	touched(11, 1);
	touched(11, 1);
	stored(12, 11, 2);
	stored(22, 11, 2);
	stored(13, 12, 3);
	hear_end(h);
	assert_int_equal(nr_told, 3);
	EXPECT(1, 11, 22);
	EXPECT(2, 11, 12, 13);
}

static void a_use_that_is_told_after_the_put_below_it_is_of_the_same_request(void **state)
{
	(void)state;
	stored(11, 0, 1);
	now += 60 * SECOND;
	stored(12, 11, 2);
	stored(13, 12, 3);
	touched(11, 1);
	hear_end(h);
	assert_int_equal(nr_told, 2);
	EXPECT(1, 11, 12, 13);
	assert_int_equal(told[1].q.hits, 1);
	assert_int_equal(told[1].q.goes_on_from, 0);
}

static void of_two_such_puts_each_takes_one_use_and_a_third_is_a_request(void **state)
{
	(void)state;
	stored(12, 11, 2);	/* its parent is from before */
	now += 60 * SECOND;
	stored(22, 11, 2);
	stored(32, 11, 2);
	touched(11, 1);
	touched(11, 1);
	touched(11, 1);
	hear_end(h);
	assert_int_equal(nr_told, 4);
	EXPECT(1, 11, 22);
	EXPECT(2, 11, 32);
	EXPECT(3, 11);
	assert_int_equal(told[0].q.hits, 0);
	for (unsigned i = 1; i < 4; i++)
		assert_int_equal(told[i].q.hits, 1);
}

static void a_request_has_as_many_hits_as_its_use_found(void **state)
{
	(void)state;
	stored(11, 0, 1);
	stored(12, 11, 2);
	touched(12, 2);
	stored(13, 12, 3);
	hear_end(h);
	assert_int_equal(nr_told, 2);
	assert_int_equal(told[0].q.hits, 0);
	assert_int_equal(told[1].q.hits, 2);
	assert_int_equal(told[1].q.nr, 3);
}

static void what_a_put_found_there_is_part_of_its_request(void **state)
{
	(void)state;
	stored(11, 0, 1);
	stored(12, 11, 2);
	event(KVSHM_EVENT_FOUND, 11, 0, 1);
	event(KVSHM_EVENT_FOUND, 12, 11, 2);
	stored(13, 12, 3);
	hear_end(h);
	assert_int_equal(nr_told, 2);
	EXPECT(0, 11, 12);
	EXPECT(1, 11, 12, 13);
}

static void a_request_is_over_when_it_was_quiet_for_long(void **state)
{
	(void)state;
	stored(11, 0, 1);
	now += 31 * SECOND;
	touched(11, 1);
	assert_int_equal(nr_told, 1);
	now += 31 * SECOND;
	stored(99, 0, 1);
	assert_int_equal(nr_told, 2);
	/* Too late to be one: whatever it is, the path is right. */
	stored(12, 11, 2);
	hear_end(h);
	assert_int_equal(nr_told, 4);
	EXPECT(3, 11, 12);
}

static void blocks_from_before_have_names_of_their_own_that_stay(void **state)
{
	(void)state;
	touched(15, 5);
	touched(15, 5);
	touched(25, 5);
	stored(16, 15, 6);
	hear_end(h);
	assert_int_equal(nr_told, 3);
	assert_int_equal(told[0].q.nr, 5);
	assert_int_equal(told[1].q.nr, 6);
	assert_memory_equal(told[0].hash, told[1].hash, 5 * sizeof(uint64_t));
	assert_int_equal(told[1].hash[4], 15);
	assert_int_not_equal(told[1].hash[0], told[2].hash[0]);
	assert_int_not_equal(told[1].hash[0], told[1].hash[1]);
}

static void time_never_runs_back(void **state)
{
	(void)state;
	stored(11, 0, 1);
	now -= SECOND;
	stored(21, 0, 1);
	hear_end(h);
	assert_true(told[1].q.time_ns >= told[0].q.time_ns);
}

static void removals_and_rubbish_are_passed_over(void **state)
{
	(void)state;
	event(KVSHM_EVENT_REMOVED, 11, 0, 1);
	event(0, 11, 0, 1);
	event(200, 11, 0, 1);
	stored(0, 0, 1);
	stored(11, 0, 0);
	stored(11, 0, UINT32_MAX);
	hear_end(h);
	assert_int_equal(nr_told, 0);
}

/* Whatever comes, each request is told once and has as many names as blocks. */
static void any_events_make_whole_requests(void **state)
{
	struct rand r;

	(void)state;
	rand_init(&r, 9);
	for (unsigned i = 0; i < 20000; i++) {
		const uint64_t key = 1 + rand_below(&r, 300), parent = rand_below(&r, 301);

		now += rand_below(&r, SECOND);
		event((uint8_t)rand_below(&r, 5), key, parent, 1 + (uint32_t)rand_below(&r, BLOCKS_MAX));
	}
	assert_int_equal(hear_end(h), 0);
	assert_in_range(nr_told, 5000, 20000);
}

static int refuse(void *arg, const struct heard_request *q)
{
	(void)arg;
	(void)q;
	return -5;
}

static void an_error_of_the_listener_ends_it(void **state)
{
	struct hear *other;

	(void)state;
	assert_int_equal(hear_create(refuse, NULL, &other), 0);
	assert_int_equal(hear_event(other, &(struct kvshm_event){ .type = KVSHM_EVENT_STORED, .key = 1, .nr = 1 }), 0);
	assert_int_equal(hear_end(other), -5);
	hear_destroy(other);
}

int main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, begin, end)
	const struct CMUnitTest tests[] = {
		T(a_prompt_that_was_not_cached_is_one_request),
		T(what_is_put_below_a_use_belongs_to_it),
		T(of_two_that_use_the_same_prefix_each_gets_what_one_put),
		T(a_use_that_is_told_after_the_put_below_it_is_of_the_same_request),
		T(of_two_such_puts_each_takes_one_use_and_a_third_is_a_request),
		T(a_request_has_as_many_hits_as_its_use_found),
		T(what_a_put_found_there_is_part_of_its_request),
		T(a_request_is_over_when_it_was_quiet_for_long),
		T(blocks_from_before_have_names_of_their_own_that_stay),
		T(time_never_runs_back),
		T(removals_and_rubbish_are_passed_over),
		T(any_events_make_whole_requests),
		T(an_error_of_the_listener_ends_it),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
