/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a scheduler's queue is worth: 1,500 conversations of 2 to 10 turns that begin within two hours, think time
 * exponential with mean 1,500 s, 2 to 6 blocks that grow by 1 to 4 a turn; one job after the other, the next 200 are
 * known.  A turn hits those blocks of the turns before it that are there still.
 */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "kvshm/base/compiler.h"
#include "kvshm/base/rand.h"
#include "policy/exact.h"

#define CONVERSATIONS 1500u
#define WINDOW 200u
#define BLOCKS_MAX 64u
#define BYTES 4096u
#define STEP_NS 1000000000ull

struct job {
	double time;
	uint32_t conversation, blocks;	/* of the prompt */
	uint32_t before;		/* of the turn before, 0: the first */
};

struct conversation {
	pol_id_t id[BLOCKS_MAX];
	uint32_t present;
};

enum hints { NO_HINTS, QUEUE, AT_RANDOM };

struct run {
	struct policy *pol;
	struct conversation c[CONVERSATIONS];
	struct rand rand;
	struct exact_limits limits;
	pol_id_t free_id[32768];
	uint32_t owner[32768];		/* conversation of an id */
	uint32_t nr_free, resident, capacity;
	uint64_t wanted, hit;
};

static struct job job[16384];
static uint32_t nr_jobs, working_set;

static int by_time(const void *a, const void *b)
{
	const double d = ((const struct job *)a)->time - ((const struct job *)b)->time;

	return d < 0 ? -1 : d > 0;
}

static void make_jobs(void)
{
	struct rand r;

	rand_init(&r, 7);
	for (uint32_t c = 0; c < CONVERSATIONS; c++) {
		uint32_t turns = 2 + (uint32_t)rand_below(&r, 9), blocks = 2 + (uint32_t)rand_below(&r, 5), before = 0;
		double time = 7200 * rand_double(&r);

		for (; turns; turns--) {
			job[nr_jobs++] = (struct job){ time, c, blocks, before };
			before = blocks;
			time += -1500 * log(1 - rand_double(&r));
			if (turns > 1)
				blocks += 1 + (uint32_t)rand_below(&r, 4);
		}
		working_set += blocks;
	}
	qsort(job, nr_jobs, sizeof(*job), by_time);
}

static void hold(struct run *r, uint32_t which, uint32_t ticket, uint64_t now_ns)
{
	const struct conversation *c = &r->c[job[which].conversation];
	const struct exact_hold h = {
		.id = c->present ? c->id[c->present - 1] : 0, .owner = ticket % 64, .ticket = ticket, .is_queued = true,
		.until_ns = now_ns + 2 * WINDOW * STEP_NS, .bytes = (uint64_t)c->present * BYTES,
	};

	if (h.id)
		exact_hold(r->pol, &h, &r->limits);
}

static void evict_to_capacity(struct run *r, uint64_t now_ns)
{
	pol_id_t id[256];

	while (r->resident > r->capacity) {
		unsigned over = min_of(r->resident - r->capacity, 256u), i;
		unsigned nr = policy_exact.victims(r->pol, (uint64_t)over * BYTES, now_ns, id, over, NULL, NULL);

		assert_true(nr > 0);
		for (i = 0; i < nr; i++) {
			policy_exact.remove(r->pol, id[i]);
			r->c[r->owner[id[i]]].present--;
			r->free_id[r->nr_free++] = id[i];
		}
		r->resident -= nr;
	}
}

static void run_job(struct run *r, uint32_t i, uint64_t now_ns)
{
	struct conversation *c = &r->c[job[i].conversation];

	r->wanted += job[i].before;
	r->hit += c->present;
	if (c->present)
		policy_exact.touch(r->pol, c->id[c->present - 1], 0, now_ns);
	while (c->present < job[i].blocks) {
		const pol_id_t id = r->free_id[--r->nr_free];
		const struct pol_block b = { .id = id, .parent = c->present ? c->id[c->present - 1] : 0, .bytes = BYTES };

		policy_exact.insert(r->pol, &b, now_ns);
		r->owner[id] = job[i].conversation;
		c->id[c->present++] = id;
		r->resident++;
	}
	exact_release(r->pol, i % 64, i);
	evict_to_capacity(r, now_ns);
}

static double hit_ratio(double share, enum hints hints)
{
	const struct policy_config cfg = { .max_ids = 32767 };
	struct run *r = calloc(1, sizeof(*r));
	double ratio;
	uint32_t i;

	assert_non_null(r);
	rand_init(&r->rand, 3);
	assert_int_equal(exact_create(&cfg, &policy_leaf_lru, &r->pol), 0);
	for (i = 1; i <= cfg.max_ids; i++)
		r->free_id[r->nr_free++] = i;
	r->capacity = (uint32_t)(share * working_set);
	/* The scheduler is trusted with most of it. */
	r->limits.owner_bytes = r->limits.all_bytes = (uint64_t)r->capacity * BYTES / 10 * 9;
	for (i = 0; i < nr_jobs; i++) {
		const uint32_t seen = hints == AT_RANDOM ? (uint32_t)rand_below(&r->rand, nr_jobs) : i + WINDOW;

		if (hints != NO_HINTS && seen < nr_jobs)
			hold(r, seen, i + WINDOW, (i + 1ull) * STEP_NS);
		run_job(r, i, (i + 1ull) * STEP_NS);
	}
	ratio = (double)r->hit / (double)r->wanted;
	policy_exact.destroy(r->pol);
	free(r);
	return ratio;
}

static void a_queue_that_is_told_is_worth_many_hits(void **state)
{
	const double lru[] = { hit_ratio(.1, NO_HINTS), hit_ratio(.2, NO_HINTS) };
	const double queue[] = { hit_ratio(.1, QUEUE), hit_ratio(.2, QUEUE) };
	const double random[] = { hit_ratio(.1, AT_RANDOM), hit_ratio(.2, AT_RANDOM) };

	(void)state;
	print_message("%u jobs, %u blocks; at 10 and 20 %%: lru %.3f %.3f, queue told %.3f %.3f, random hints %.3f %.3f\n",
		      nr_jobs, working_set, lru[0], lru[1], queue[0], queue[1], random[0], random[1]);
	assert_true(queue[0] >= lru[0] + .12);
	assert_true(queue[1] >= lru[1] + .08);
	assert_true(random[0] >= lru[0] - .02 && random[1] >= lru[1] - .02);
}

int main(void)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test(a_queue_that_is_told_is_worth_many_hits) };

	make_jobs();
	return cmocka_run_group_tests(tests, NULL, NULL);
}
