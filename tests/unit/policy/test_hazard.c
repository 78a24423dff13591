/* SPDX-License-Identifier: Apache-2.0 */
/* test_hazard.c - bins of age, and who is inside */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdlib.h>

#include "policy/hazard.h"

static void age_belongs_to_the_bin_that_begins_at_or_before_it(void **state)
{
	unsigned b;

	(void)state;
	for (b = 0; b < HAZARD_BINS; b++) {
		assert_int_equal(hazard_bin((uint32_t)hazard_bin_low(b)), b);
		if (b)
			assert_int_equal(hazard_bin((uint32_t)hazard_bin_low(b) - 1), b - 1);
		assert_true(hazard_bin_low(b + 1) > hazard_bin_low(b));
	}
	assert_int_equal(hazard_bin(UINT32_MAX), HAZARD_BINS - 1);
}

/* Hazards and their classes, as a policy begins with them: the state of each test from here on. */
struct learner {
	struct hazard h;
	struct class_tree t;
};

static int make_learner(void **state)
{
	struct learner *l = calloc(1, sizeof(*l));

	if (!l)
		return -1;
	class_init(&l->t);
	hazard_init(&l->h);
	*state = l;
	return 0;
}

static int free_learner(void **state)
{
	free(*state);
	return 0;
}

static int64_t sum(const int64_t *v)
{
	int64_t s = 0;

	for (unsigned b = 0; b < HAZARD_BINS; b++)
		s += v[b];
	return s;
}

/* Entered at any time, left at any other: the counts find it again, however much it has been moved. */
static void what_has_entered_is_counted_until_it_leaves(void **state)
{
	struct learner *l = *state;
	struct hazard *h = &l->h;
	struct class_tree *t = &l->t;
	const struct hazard_lot lots[] = {
		{ .nr = 3, .weight = 7, .birth = 100 }, { .nr = 5, .weight = 2, .birth = 9000 },
		{ .nr = 11, .weight = 1, .birth = 70000 },
	};
	int64_t weights = 0, blocks = 0, events = 0, used = 0;
	unsigned i;

	for (i = 0; i < 3; i++) {
		hazard_advance(h, t, lots[i].birth);
		hazard_enter(h, &lots[i]);
	}
	hazard_advance(h, t, 1000000);
	hazard_settle(h);
	for (i = 0; i < HAZARD_SLOTS_ALL; i++) {
		blocks += h->alive[i][0].blocks;
		weights += h->alive[i][0].weight;
	}
	assert_int_equal(blocks, 19);
	assert_int_equal(weights, 42);
	hazard_event(h, &lots[0], 1000000);
	hazard_censor(h, &lots[1], 1000000);
	hazard_event(h, &lots[2], 1000000);
	hazard_settle(h);
	for (i = 0; i < HAZARD_SLOTS_ALL; i++) {
		assert_int_equal(h->alive[i][0].blocks, 0);
		assert_int_equal(h->alive[i][0].weight, 0);
	}
	for (i = 0; i < HAZARD_BINS; i++) {
		events += h->node[0].events[i].weight;
		used += h->node[0].events[i].blocks;
	}
	assert_int_equal(events, 32);
	assert_int_equal(used, 14);
	assert_int_equal(sum(h->node[0].censored), 10);
}

/* Who is alive is known by slots, the late by their age: they may seem to have come after they were last seen. */
static void estimates_of_late_entries_are_probabilities(void **state)
{
	struct learner *l = *state;
	struct hazard *h = &l->h;
	struct class_tree *t = &l->t;
	unsigned b;

	for (uint32_t now = 1000; now < 60000; now += 977) {
		const struct hazard_lot late = { .nr = 100, .weight = 65535, .birth = now - 700 };
		const struct hazard_lot soon = { .nr = 3, .weight = 65535, .birth = now - 700 };

		hazard_advance(h, t, now);
		hazard_enter(h, &soon);
		hazard_event(h, &soon, now);
		hazard_enter_late(h, &late, now);
		hazard_estimate(h, t);
		for (b = 0; b < HAZARD_BINS; b++)
			assert_true(hazard_prob(h, 0, b) > 0 && hazard_prob(h, 0, b) <= 1);
	}
}

/* Ten come back at once; a hundred more come in from another class at an age that none of those reached. */
static void late_entries_tell_nothing_of_younger_ages(void **state)
{
	const struct hazard_lot early = { .nr = 10, .weight = 65535, .birth = 70000 };
	const struct hazard_lot late = { .nr = 100, .weight = 65535, .birth = 0 };
	struct learner *l = *state;
	struct hazard *h = &l->h;
	struct class_tree *t = &l->t;
	double before;

	hazard_advance(h, t, 70000);
	hazard_enter(h, &early);
	hazard_event(h, &early, 70010);
	hazard_estimate(h, t);
	before = hazard_prob(h, 0, 0);
	hazard_enter_late(h, &late, 70010);
	hazard_censor(h, &late, 90000);
	hazard_estimate(h, t);
	assert_true(hazard_prob(h, 0, 0) > before * 0.999 && hazard_prob(h, 0, 0) < before * 1.001);
	/* and of those that they did reach: nobody came back */
	assert_true(hazard_prob(h, 0, hazard_bin(80000)) < 0.01);
}

enum { PERIOD = 300, ROUND = 4 * PERIOD };	/* five seconds, 20 */

/* A hundred enter every 20 s; @back of them come back after ten. */
static uint32_t live_through(struct hazard *h, struct class_tree *t, uint32_t now, unsigned rounds, unsigned back)
{
	for (uint32_t end = now + rounds * ROUND; now < end; now += ROUND) {
		const struct hazard_lot all = { .nr = 100, .weight = 65535, .birth = now };
		const struct hazard_lot some = { .nr = back, .weight = 65535, .birth = now };
		const struct hazard_lot rest = { .nr = 100 - back, .weight = 65535, .birth = now };

		hazard_advance(h, t, now);
		hazard_enter(h, &all);
		for (unsigned n = 1; n <= 4; n++) {
			hazard_advance(h, t, now + n * PERIOD);
			if (n == 2)
				hazard_event(h, &some, now + n * PERIOD);
			if (n == 3)
				hazard_censor(h, &rest, now + n * PERIOD);
			hazard_estimate(h, t);
		}
	}
	return now;
}

/* Of a load that stays the same all is remembered; of one that changes what was seen last, until that is all again. */
static void what_is_no_longer_true_is_forgotten(void **state)
{
	struct learner *l = *state;
	struct hazard *h = &l->h;
	struct class_tree *t = &l->t;
	const unsigned bin = hazard_bin(2 * PERIOD);
	uint32_t now = 100000;

	hazard_start(h, now);
	now = live_through(h, t, now, 540, 60);		/* three hours */
	assert_int_equal(h->used, 0);
	assert_true(hazard_prob(h, 0, bin) > 0.58 && hazard_prob(h, 0, bin) < 0.62);
	now = live_through(h, t, now, 60, 10);		/* twenty minutes */
	assert_true(h->used > 0);
	assert_true(hazard_prob(h, 0, bin) < 0.2);
	assert_true(h->memory[0].prob[0][bin] > 0.5);
	live_through(h, t, now, 4320, 10);		/* a day */
	assert_true(hazard_prob(h, 0, bin) > 0.09 && hazard_prob(h, 0, bin) < 0.12);
}

/* At risk in a period is who was there, however long ago those came that nobody has heard of since. */
static void who_came_long_ago_is_not_at_risk_again(void **state)
{
	const struct hazard_lot old = { .nr = 100, .weight = 65535, .birth = 0 };
	struct learner *l = *state;
	struct hazard *h = &l->h;
	struct class_tree *t = &l->t;
	const unsigned young = hazard_bin(2 * PERIOD);

	hazard_enter(h, &old);
	hazard_advance(h, t, 100000);
	hazard_estimate(h, t);
	hazard_advance(h, t, 100000 + PERIOD);
	hazard_count(h, t);
	assert_true(h->fresh[0][young].now.risk == 0);
	hazard_censor(h, &old, 100000 + PERIOD);
	hazard_count(h, t);
	assert_true(h->fresh[0][young].now.risk == 0);
}

/* Nobody asks for anything over night: in the morning it is known what was known in the evening. */
static void nothing_is_forgotten_while_nobody_asks(void **state)
{
	struct learner *l = *state;
	struct hazard *h = &l->h;
	struct class_tree *t = &l->t;
	const unsigned bin = hazard_bin(2 * PERIOD);
	uint32_t now = 100000;
	double events, prob;

	hazard_start(h, now);
	now = live_through(h, t, now, 540, 60);
	now = live_through(h, t, now, 60, 10);
	hazard_estimate(h, t);
	events = h->memory[3].own[0][bin].events;
	prob = hazard_prob(h, 0, bin);
	assert_true(events > 0 && h->used > 0);
	for (unsigned period = 0; period < 12 * 720; period++) {
		now += PERIOD;
		hazard_advance(h, t, now);
		hazard_estimate(h, t);
	}
	assert_true(h->memory[3].own[0][bin].events == events);
	assert_true(hazard_prob(h, 0, bin) > prob * 0.999 && hazard_prob(h, 0, bin) < prob * 1.001);
}

/* A class that nobody has been in for days fades to nothing at all, and not to numbers that are slow to compute with. */
static void what_has_faded_is_nothing(void **state)
{
	const struct hazard_lot once = { .nr = 10, .weight = 65535, .birth = 100000, .node = 1 };
	struct learner *l = *state;
	struct hazard *h = &l->h;
	struct class_tree *t = &l->t;
	uint32_t now = 100000;

	hazard_start(h, now);
	assert_int_equal(class_child(t, 0, 1), 1);
	hazard_adopt(h, t);
	hazard_enter(h, &once);
	hazard_event(h, &once, now + 10);
	live_through(h, t, now, 1600, 50);
	assert_true(h->memory[0].own[1][0].events > 9.9);
	assert_true(h->memory[3].own[1][0].events == 0 && h->memory[3].own[1][0].risk == 0);
	assert_true(hazard_prob(h, 1, 0) > 0 && hazard_prob(h, 1, 0) <= 1);
}

int main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, make_learner, free_learner)
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(age_belongs_to_the_bin_that_begins_at_or_before_it),
		T(what_has_entered_is_counted_until_it_leaves),
		T(estimates_of_late_entries_are_probabilities),
		T(late_entries_tell_nothing_of_younger_ages),
		T(what_is_no_longer_true_is_forgotten),
		T(who_came_long_ago_is_not_at_risk_again),
		T(nothing_is_forgotten_while_nobody_asks),
		T(what_has_faded_is_nothing),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
