/* SPDX-License-Identifier: Apache-2.0 */
/* The argument ring and the groups of the source itself, without a daemon. */
#include "kvshm/client/submit.c"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#define LEN 4096u
#define LIVE 64

struct span {
	uint32_t off, len, number;
};

static bool overlaps(const struct span *a, const struct span *b)
{
	return a->off < b->off + b->len && b->off < a->off + a->len;
}

static void argument_spans_never_overlap_in_whatever_order_they_end(void **state)
{
	struct args_ring *r = calloc(1, sizeof(*r));
	struct span live[LIVE];
	unsigned nr = 0, i, refused = 0, round;
	struct span s;

	r->len = LEN;
	srandom(1);
	for (round = 0; round < 200000; round++) {
		s.len = 8 + 8 * (uint32_t)(random() % 100);
		if (nr < LIVE && random() % 3) {
			if (args_get(r, s.len, &s.off, &s.number) < 0) {
				refused++;
				continue;
			}
			assert_true(s.off % 8 == 0 && s.off + s.len <= LEN);
			for (i = 0; i < nr; i++)
				assert_false(overlaps(&s, &live[i]));
			live[nr++] = s;
		} else if (nr) {
			i = (unsigned)random() % nr;
			args_put(r, live[i].number);
			live[i] = live[--nr];
		}
	}
	assert_true(refused > 0);
	while (nr)
		args_put(r, live[--nr].number);
	/* Empty: the longest fits again, in one piece. */
	assert_int_equal(args_get(r, LEN, &s.off, &s.number), 0);
	assert_int_equal(s.off, 0);
	assert_int_equal(args_get(r, 8, &s.off, &s.number), -ENOBUFS);
	free(r);
}

static void arguments_longer_than_the_area_are_refused(void **state)
{
	struct args_ring *r = calloc(1, sizeof(*r));
	uint32_t off, number;

	r->len = LEN;
	assert_int_equal(args_get(r, LEN + 1, &off, &number), -ENOBUFS);
	free(r);
}

static struct kvshm *handle(void)
{
	struct kvshm *k = calloc(1, sizeof(*k));

	k->cc = k->counter;
	assert_int_equal(flight_create(&k->flight), 0);
	return k;
}

static void handle_end(struct kvshm *k)
{
	flight_destroy(k->flight);
	free(k);
}

static void a_group_completes_with_its_last_commit(void **state)
{
	struct kvshm *k = handle();
	struct flight *f = k->flight;
	uint32_t g;

	assert_int_equal(group_open(k, 5, &g), 0);
	group_hold(k, g);
	group_hold(k, g);
	group_drop(k, g);
	f->group[g].published = 3;
	f->group[g].error = -ENOENT;
	group_drop(k, g);
	assert_int_equal(f->done_tail, 0);
	group_drop(k, g);
	assert_int_equal(f->done_tail, 1);
	assert_int_equal(f->done[0].user_data, 5);
	assert_int_equal(f->done[0].res, 3);		/* some were published: not an error */
	assert_int_equal(f->nr_free_group, CLIENT_OPS);
	handle_end(k);
}

static void groups_and_completions_waiting_are_bounded(void **state)
{
	struct kvshm *k = handle();
	struct flight *f = k->flight;
	uint32_t g, i;

	for (i = 0; i < CLIENT_OPS; i++)
		assert_int_equal(group_open(k, i, &g), 0);
	assert_int_equal(group_open(k, i, &g), -ENOBUFS);
	for (i = 0; i < CLIENT_OPS; i++)
		group_drop(k, i);
	for (i = CLIENT_OPS; i < CLIENT_DONE; i++) {
		assert_int_equal(group_open(k, i, &g), 0);
		group_drop(k, g);
	}
	assert_int_equal(group_open(k, i, &g), -ENOBUFS);
	f->done_head++;
	assert_int_equal(group_open(k, i, &g), 0);
	handle_end(k);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(argument_spans_never_overlap_in_whatever_order_they_end),
		cmocka_unit_test(arguments_longer_than_the_area_are_refused),
		cmocka_unit_test(a_group_completes_with_its_last_commit),
		cmocka_unit_test(groups_and_completions_waiting_are_bounded),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
