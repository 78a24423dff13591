/* SPDX-License-Identifier: Apache-2.0 */
/*
 * test_qp_hostile.c - a client that scribbles over everything it can write, while the daemon works
 *
 * The rings lie between guard pages, so a copy from outside them is a fault.  Not under TSan: the
 * races are the point.
 */
#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cmocka.h>

#include "ipc/qp.h"
#include "ipc/touch.h"
#include "kvshm/base/atomic.h"

#define ENTRIES 64			/* x 64 bytes: one page */
#define ROUNDS 1000000

struct target {
	struct kvshm_ring_ctl ctl;
	uint64_t *ring;
	size_t nr_words;
	struct qp_end end;		/* the victim's; its index is peeked at, to aim well */
	int is_over;
};

static uint64_t rand_next(uint64_t *s)
{
	*s ^= *s << 13;
	*s ^= *s >> 7;
	*s ^= *s << 17;
	return *s;
}

/* Near, far and impossible indices; rubbish in the entries. */
static void *scribble(void *arg)
{
	struct target *t = arg;
	uint64_t s = 88172645463325252ull;
	uint32_t own, by;

	while (!READ_ONCE(t->is_over)) {
		own = READ_ONCE(t->end.own);
		by = (uint32_t)(rand_next(&s) % (ENTRIES + 3)) - 1;
		WRITE_ONCE(t->ctl.tail, s & 0x7000 ? own + by : (uint32_t)(s >> 16));
		WRITE_ONCE(t->ctl.head, s & 0x70000 ? own - by : (uint32_t)(s >> 24));
		WRITE_ONCE(t->ring[rand_next(&s) % t->nr_words], s);
	}
	return NULL;
}

static char *page_between_guards(void)
{
	size_t page = (size_t)sysconf(_SC_PAGESIZE);
	char *p = mmap(NULL, 3 * page, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	assert_ptr_not_equal(p, MAP_FAILED);
	assert_int_equal(mprotect(p + page, page, PROT_READ | PROT_WRITE), 0);
	return p + page;
}

struct outcome {
	unsigned nr_taken, nr_refused, nr_empty;
};

static void start(struct target *t, size_t ring_bytes, pthread_t *ret_th)
{
	memset(t, 0, sizeof(*t));
	t->ring = (uint64_t *)page_between_guards();
	t->nr_words = ring_bytes / 8;
	qp_end_init(&t->end, &t->ctl, t->ring, ENTRIES);
	assert_int_equal(pthread_create(ret_th, NULL, scribble, t), 0);
}

/* At least ROUNDS, and on until both outcomes have been seen often; the scribbler needs a turn too. */
static bool goes_on(const struct outcome *o, unsigned i)
{
	if (i % 4096 == 0)
		sched_yield();
	return i < ROUNDS || ((o->nr_taken < 1000 || o->nr_refused < 1000) && i < 100 * ROUNDS);
}

static void stop(struct target *t, pthread_t th, const struct outcome *o)
{
	size_t page = (size_t)sysconf(_SC_PAGESIZE);

	WRITE_ONCE(t->is_over, 1);
	pthread_join(th, NULL);
	munmap((char *)t->ring - page, 3 * page);
	print_message("%u taken, %u refused, %u empty\n", o->nr_taken, o->nr_refused, o->nr_empty);
	assert_true(o->nr_taken >= 1000);	/* or nothing was tested */
	assert_true(o->nr_refused >= 1000);
}

/* ret 1, 0, -EPROTO and nothing else; what is accepted moves the private index by one. */
static void pop_survives_a_client_that_scribbles(void **state)
{
	struct outcome o = { 0 };
	struct kvshm_sqe sqe;
	struct target t;
	struct qp_end *e = &t.end;
	uint32_t before;
	pthread_t th;
	unsigned i;
	int ret;

	start(&t, ENTRIES * sizeof(struct kvshm_sqe), &th);
	for (i = 0; goes_on(&o, i); i++) {
		before = e->own;
		(void)qp_pending(e);
		ret = sq_pop(e, &sqe);
		o.nr_taken += ret == 1;
		o.nr_empty += ret == 0;
		o.nr_refused += ret == -EPROTO;
		if (ret != 1 && ret != 0 && ret != -EPROTO)
			fail_msg("pop gave %d", ret);
		if (e->own - before != (ret == 1) || e->peer - e->own > ENTRIES)
			fail_msg("index %u to %u after %d", before, e->own, ret);
	}
	stop(&t, th, &o);
}

static void push_survives_a_client_that_scribbles(void **state)
{
	struct kvshm_cqe cqe = { .op = 1 };
	struct outcome o = { 0 };
	struct target t;
	struct qp_end *e = &t.end;
	pthread_t th;
	unsigned i;
	int ret;

	start(&t, ENTRIES * sizeof(struct kvshm_cqe), &th);
	for (i = 0; goes_on(&o, i); i++) {
		ret = cq_push(e, &cqe);
		o.nr_taken += ret == 0;
		o.nr_empty += ret == -EAGAIN;
		o.nr_refused += ret == -EPROTO;
		if (ret != 0 && ret != -EAGAIN && ret != -EPROTO)
			fail_msg("push gave %d", ret);
		ret = qp_space(e);
		if ((ret < 0 && ret != -EPROTO) || ret > (int)ENTRIES || e->own - e->peer > ENTRIES)
			fail_msg("space %d own %u peer %u", ret, e->own, e->peer);
	}
	stop(&t, th, &o);
}

static void drain_survives_a_client_that_scribbles(void **state)
{
	struct kvshm_touch out[ENTRIES + 1];
	struct outcome o = { 0 };
	struct target t;
	struct qp_end *e = &t.end;
	pthread_t th;
	unsigned i;
	int ret;

	start(&t, ENTRIES * sizeof(struct kvshm_touch), &th);
	out[ENTRIES].resv = 99;
	for (i = 0; goes_on(&o, i); i++) {
		ret = touch_drain(e, out, ENTRIES);
		o.nr_taken += ret > 0;
		o.nr_empty += ret == 0;
		o.nr_refused += ret == -EPROTO;
		if (ret > ENTRIES || (ret < 0 && ret != -EPROTO) || out[ENTRIES].resv != 99)
			fail_msg("drain gave %d", ret);
	}
	stop(&t, th, &o);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(pop_survives_a_client_that_scribbles),
		cmocka_unit_test(push_survives_a_client_that_scribbles),
		cmocka_unit_test(drain_survives_a_client_that_scribbles),
	};

#if defined(__SANITIZE_THREAD__)
	fprintf(stderr, "races are the point of this test: not under TSan\n");
	return 77;
#endif
	return cmocka_run_group_tests(tests, NULL, NULL);
}
