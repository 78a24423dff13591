/* SPDX-License-Identifier: Apache-2.0 */
/*
 * libcuda_sched.c - the fake driver's machine: what is on streams, engines, time
 *
 * Each device has a copy engine per direction that does one copy at a time; kernels run beside.  What
 * stands first on its stream gets a start and an end by the model, and what has reached its end is done,
 * in order of the ends.  The bytes are moved at the end: a source that is let go too early, or a
 * destination that is read too early, shows as wrong bytes.
 *
 * Real clock: a thread does what is due.  Virtual clock: time passes only when somebody waits, so a run
 * gives the same times on every machine.
 */
#include "tests/fake/fake.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "kvshm/base/atomic.h"
#include "kvshm/base/clock.h"
#include "kvshm/base/compiler.h"

#define POLL_NS 20000			/* real clock: how often a word is looked at */
#define IDLE_NS 500			/* virtual clock: a look that finds nothing ready, doubled each time */
#define IDLE_MAX_NS 1000000000

static struct CUstream_st *streams;
static struct CUstream_st null_streams[FAKE_DEVICES];
static uint64_t engine_free[FAKE_DEVICES][3];
static uint64_t virtual_ns, idle_step = IDLE_NS;
static pthread_cond_t wake;
static bool has_thread;

/* Another clock: what is known of its times counts no more. */
void fake_clock_set(bool is_virtual)
{
	fake_conf.is_virtual = is_virtual;
	memset(engine_free, 0, sizeof(engine_free));
	for (struct CUstream_st *s = streams; s; s = s->next)
		s->end_ns = 0;
}

uint64_t fake_now(void)
{
	return fake_conf.is_virtual ? virtual_ns : clock_ns();
}

struct fake_op *fake_op_new(enum fake_op_kind kind, struct CUstream_st *stream)
{
	struct fake_op *op = calloc(1, sizeof(*op));

	if (!op)
		abort();
	op->kind = kind;
	op->stream = stream;
	op->rows = 1;
	op->end_ns = FAKE_NEVER;
	return op;
}

void fake_op_put(struct fake_op *op)
{
	if (op && op->is_done && !op->refs) {
		if (op->dep) {
			op->dep->refs--;
			fake_op_put(op->dep);
		}
		free(op->bounce);
		free(op);
	}
}

/* ---- when ------------------------------------------------------------------------------------------- */

static uint64_t copy_ns(const struct fake_op *op)
{
	return fake_conf.latency_ns + op->extra_ns +
	       (uint64_t)((double)op->len * (double)op->rows * 1e9 / fake_conf.bytes_a_second[op->dir]);
}

static bool word_reached(const struct fake_op *op)
{
	return READ_ONCE(*op->word) >= op->value;
}

/* Start and end, or nothing while what it waits for has no end yet. */
static void schedule(struct fake_op *op, uint64_t after)
{
	uint64_t *engine = &engine_free[op->stream->dev][op->dir];

	op->start_ns = max_of(after, op->submit_ns);
	if (op->is_hung)
		return;
	switch (op->kind) {
	case OP_COPY:
		op->start_ns = max_of(op->start_ns, *engine);
		*engine = op->end_ns = op->start_ns + copy_ns(op);
		return;
	case OP_KERNEL:
		op->end_ns = op->start_ns + fake_conf.launch_ns + op->extra_ns;
		return;
	case OP_WAIT_EVENT:
		if (!op->dep)
			op->end_ns = op->start_ns;
		else if (op->dep->end_ns != FAKE_NEVER)
			op->end_ns = max_of(op->start_ns, op->dep->end_ns);
		return;
	case OP_WAIT_WORD:
		if (word_reached(op))
			op->end_ns = max_of(op->start_ns, fake_now());
		return;
	case OP_RECORD:
	case OP_WRITE_WORD:
		op->end_ns = op->start_ns;
		return;
	}
}

/* Only what stands first on its stream: engines serve in the order in which work becomes ready. */
static void schedule_all(void)
{
	for (struct CUstream_st *s = streams; s; s = s->next) {
		if (!s->head || s->head->end_ns != FAKE_NEVER)
			continue;
		schedule(s->head, s->end_ns);
		if (s->head->end_ns != FAKE_NEVER)
			s->end_ns = s->head->end_ns;
	}
}

/* The earliest end among the heads of all streams; NULL: nothing that has one. */
static struct fake_op *earliest(void)
{
	struct fake_op *best = NULL;

	for (struct CUstream_st *s = streams; s; s = s->next)
		if (s->head && s->head->end_ns != FAKE_NEVER && (!best || s->head->end_ns < best->end_ns))
			best = s->head;
	return best;
}

/* ---- what ------------------------------------------------------------------------------------------- */

static void move_bytes(const struct fake_op *op)
{
	const char *src = op->bounce ? op->bounce : (const char *)(uintptr_t)op->src;
	char *dst = (char *)(uintptr_t)op->dst;

	for (uint64_t i = 0; i < op->rows; i++)
		memcpy(dst + i * op->dst_pitch, src + i * op->src_pitch, op->len);
	fake_count->landed[op->dir]++;
	fake_record_landed(op);
}

static void finish(struct fake_op *op)
{
	switch (op->kind) {
	case OP_COPY:
		move_bytes(op);
		return;
	case OP_KERNEL:
		if (op->kernel->fn)
			op->kernel->fn(&op->launch);
		return;
	case OP_RECORD:
		WRITE_ONCE(op->event->word->done, max_of(op->event->word->done, op->value));
		op->event->end_ns = op->end_ns;
		return;
	case OP_WRITE_WORD:
		/* as the device does it: after everything before it on the stream */
		__atomic_store_n(op->word, op->value, __ATOMIC_RELEASE);
		return;
	case OP_WAIT_EVENT:
	case OP_WAIT_WORD:
		return;
	}
}

static void take_off(struct fake_op *op)
{
	struct CUstream_st *s = op->stream;

	s->head = op->next;
	if (!s->head)
		s->tail = NULL;
	op->is_done = true;
	fake_op_put(op);
}

void fake_lose(int dev, CUresult r)
{
	fake_sticky[dev] = r;
	for (struct CUstream_st *s = streams; s; s = s->next)
		while (s->dev == dev && s->head)
			take_off(s->head);
}

static void run_until(uint64_t t)
{
	struct fake_op *op;

	schedule_all();
	while ((op = earliest()) && op->end_ns <= t) {
		if (fake_conf.is_virtual)
			virtual_ns = max_of(virtual_ns, op->end_ns);
		if (op->land) {
			fake_lose(op->stream->dev, op->land);
			schedule_all();
			continue;
		}
		finish(op);
		take_off(op);
		schedule_all();
	}
}

void fake_run(void)
{
	run_until(fake_now());
}

void fake_advance(uint64_t ns)
{
	if (!fake_conf.is_virtual)
		return;
	ns += virtual_ns;
	run_until(ns);
	virtual_ns = max_of(virtual_ns, ns);
}

/* A look that found nothing ready: virtual time passes behind it. */
static void idle(void)
{
	struct fake_op *op;

	if (!fake_conf.is_virtual)
		return;
	schedule_all();
	op = earliest();
	if (!op)
		return;
	fake_advance(min_of(idle_step, max_of(op->end_ns, virtual_ns) - virtual_ns));
	idle_step = min_of(2 * idle_step, (uint64_t)IDLE_MAX_NS);
}

CUresult fake_look(int dev, bool is_ready)
{
	if (fake_sticky[dev])
		return fake_sticky[dev];
	if (is_ready) {
		idle_step = IDLE_NS;
		return CUDA_SUCCESS;
	}
	idle();
	return CUDA_ERROR_NOT_READY;
}

void fake_take(uint64_t ns)
{
	struct timespec ts = { .tv_sec = (time_t)(ns / 1000000000), .tv_nsec = (long)(ns % 1000000000) };

	if (fake_conf.is_virtual) {
		fake_advance(ns);
		return;
	}
	if (!ns)
		return;
	pthread_mutex_unlock(&fake_lock);
	nanosleep(&ts, NULL);
	pthread_mutex_lock(&fake_lock);
}

void fake_submit(struct fake_op *op)
{
	struct CUstream_st *s = op->stream;

	idle_step = IDLE_NS;
	fake_advance(fake_conf.call_ns);
	op->submit_ns = fake_now();
	if (s->tail)
		s->tail->next = op;
	else
		s->head = op;
	s->tail = op;
	schedule_all();
	if (!fake_conf.is_virtual)
		pthread_cond_signal(&wake);
}

/* ---- the streams -------------------------------------------------------------------------------------- */

void fake_stream_add(struct CUstream_st *s)
{
	s->next = streams;
	streams = s;
}

struct CUstream_st *fake_stream(CUstream s, int dev)
{
	if (!s)
		return &null_streams[dev];
	for (struct CUstream_st *i = streams; i; i = i->next)
		if (i == s)
			return i->is_dead ? NULL : i;
	return NULL;
}

static bool overlaps(uint64_t a, uint64_t a_len, uint64_t b, uint64_t b_len)
{
	return a < b + b_len && b < a + a_len;
}

bool fake_op_uses(uint64_t addr, uint64_t len)
{
	for (struct CUstream_st *s = streams; s; s = s->next)
		for (struct fake_op *op = s->head; op; op = op->next)
			if (op->kind == OP_COPY &&
			    (overlaps(addr, len, op->dst, (op->rows - 1) * op->dst_pitch + op->len) ||
			     overlaps(addr, len, op->src, (op->rows - 1) * op->src_pitch + op->len)))
				return true;
	return false;
}

/* ---- the thread of the real clock ------------------------------------------------------------------- */

static bool waits_for_word(void)
{
	for (struct CUstream_st *s = streams; s; s = s->next)
		if (s->head && s->head->kind == OP_WAIT_WORD)
			return true;
	return false;
}

static void *engine(void *arg)
{
	struct timespec ts;
	struct fake_op *op;
	uint64_t until;

	(void)arg;
	pthread_mutex_lock(&fake_lock);
	for (;;) {
		if (!fake_conf.is_virtual)
			fake_run();
		op = fake_conf.is_virtual ? NULL : earliest();
		until = op ? op->end_ns : FAKE_NEVER;
		if (!fake_conf.is_virtual && waits_for_word())
			until = min_of(until, clock_ns() + POLL_NS);
		if (until == FAKE_NEVER) {
			pthread_cond_wait(&wake, &fake_lock);
			continue;
		}
		ts = (struct timespec){ .tv_sec = (time_t)(until / 1000000000), .tv_nsec = (long)(until % 1000000000) };
		pthread_cond_timedwait(&wake, &fake_lock, &ts);
	}
	return NULL;
}

/* A forked child has none of the threads, and may start anew. */
static void before_fork(void)
{
	pthread_mutex_lock(&fake_lock);
}

static void after_fork(void)
{
	pthread_mutex_unlock(&fake_lock);
}

static void in_child(void)
{
	has_thread = false;
	pthread_mutex_unlock(&fake_lock);
}

static void start_once(void)
{
	if (streams)
		return;
	pthread_atfork(before_fork, after_fork, in_child);
	for (int i = 0; i < FAKE_DEVICES; i++) {
		null_streams[i].dev = i;
		fake_stream_add(&null_streams[i]);
	}
}

void fake_clock_start(void)
{
	pthread_condattr_t attr;
	pthread_t thread;

	if (has_thread)
		return;
	start_once();
	pthread_condattr_init(&attr);
	pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
	pthread_cond_init(&wake, &attr);
	pthread_condattr_destroy(&attr);
	has_thread = !pthread_create(&thread, NULL, engine, NULL);
	if (!has_thread)
		abort();
	pthread_detach(thread);
}
