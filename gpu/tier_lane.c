/* SPDX-License-Identifier: Apache-2.0 */
/* tier_lane.c - transfers between a file and slots of device memory, each by a thread of its own */
#include "gpu/tier_lane.h"

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "kvshm/base/compiler.h"

enum lane_state { LANE_IDLE, LANE_ASKED, LANE_DONE };

struct lane {
	struct tier_lanes *all;
	void *file;			/* NULL: not opened */
	pthread_t thread;
	bool has_thread;
	enum lane_state state;
	bool is_write;
	uint64_t off, addr, len;
	int error;
};

struct tier_lanes {
	const struct tier_ops *ops;
	pthread_mutex_t lock;		/* over all below; never held over a transfer */
	pthread_cond_t changed;
	bool is_quitting;
	int lost;			/* the device may still use a slot */
	unsigned nr, nr_threads;	/* threads that run */
	struct lane lane[];
};

/* ---- a thread ------------------------------------------------------------------------------------------- */

static int transfer(struct lane *n)
{
	const struct tier_ops *ops = n->all->ops;

	return n->is_write ? ops->write(n->file, n->off, n->addr, n->len) : ops->read(n->file, n->off, n->addr, n->len);
}

static void serve(struct tier_lanes *l, struct lane *n)
{
	int ret;

	pthread_mutex_unlock(&l->lock);
	ret = transfer(n);
	pthread_mutex_lock(&l->lock);
	n->error = ret;
	n->state = LANE_DONE;
	if (ret == -ENOTRECOVERABLE || ret == -ETIMEDOUT)
		l->lost = ret;
}

static void *run(void *arg)
{
	struct lane *n = arg;
	struct tier_lanes *l = n->all;

	pthread_mutex_lock(&l->lock);
	while (!l->is_quitting) {
		if (n->state == LANE_ASKED)
			serve(l, n);
		else
			pthread_cond_wait(&l->changed, &l->lock);
	}
	l->nr_threads--;
	pthread_cond_broadcast(&l->changed);
	pthread_mutex_unlock(&l->lock);
	return NULL;
}

/* Without signals: they are for the program's threads. */
static int start_thread(struct tier_lanes *l, struct lane *n)
{
	sigset_t all, old;
	pthread_t thread;
	int err;

	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &old);
	err = pthread_create(&thread, NULL, run, n);
	pthread_sigmask(SIG_SETMASK, &old, NULL);
	if (err)
		return -err;
	n->thread = thread;
	n->has_thread = true;
	pthread_mutex_lock(&l->lock);
	l->nr_threads++;
	pthread_mutex_unlock(&l->lock);
	return 0;
}

/* ---- create --------------------------------------------------------------------------------------------- */

static void init_locks(struct tier_lanes *l)
{
	pthread_condattr_t attr;

	pthread_mutex_init(&l->lock, NULL);
	pthread_condattr_init(&attr);
	pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
	pthread_cond_init(&l->changed, &attr);
	pthread_condattr_destroy(&attr);
}

static int lane_open(struct tier_lanes *l, const struct tier_target *t, unsigned i)
{
	struct tier_target own = *t;
	int ret;

	own.len = t->len / l->nr;
	own.addr = t->addr + i * own.len;
	own.host = t->host ? t->host + i * l->ops->host_len : NULL;
	l->lane[i] = (struct lane){ .all = l, .addr = own.addr };
	ret = l->ops->open(&own, &l->lane[i].file);
	return ret < 0 ? ret : start_thread(l, &l->lane[i]);
}

int tier_lanes_create(const struct tier_ops *ops, const struct tier_target *t, unsigned nr, struct tier_lanes **ret)
{
	struct tier_lanes *l = calloc(1, sizeof(*l) + nr * sizeof(l->lane[0]));
	int err = 0;

	if (!l)
		return -ENOMEM;
	l->ops = ops;
	l->nr = nr;
	init_locks(l);
	for (unsigned i = 0; i < nr && err == 0; i++)
		err = lane_open(l, t, i);
	if (err < 0) {
		/* nothing was asked of them: they end at once */
		tier_lanes_destroy(l, UINT64_MAX);
		return err;
	}
	*ret = l;
	return 0;
}

/* ---- transfers ------------------------------------------------------------------------------------------- */

void tier_lane_start(struct tier_lanes *l, unsigned lane, bool is_write, uint64_t off, uint64_t len)
{
	struct lane *n = &l->lane[lane];

	pthread_mutex_lock(&l->lock);
	n->is_write = is_write;
	n->off = off;
	n->len = len;
	n->state = LANE_ASKED;
	pthread_cond_broadcast(&l->changed);
	pthread_mutex_unlock(&l->lock);
}

int tier_lane_poll(struct tier_lanes *l, unsigned lane)
{
	struct lane *n = &l->lane[lane];
	int ret = 0;

	pthread_mutex_lock(&l->lock);
	if (n->state == LANE_DONE) {
		n->state = LANE_IDLE;
		ret = n->error < 0 ? n->error : 1;
	}
	pthread_mutex_unlock(&l->lock);
	return ret;
}

/* ---- the end ----------------------------------------------------------------------------------------------- */

/* Return: 0 no thread runs, -ETIMEDOUT. */
static int wait_for_threads(struct tier_lanes *l, uint64_t deadline_ns)
{
	const uint64_t at = min_of(deadline_ns, (uint64_t)INT64_MAX);
	const struct timespec ts = { .tv_sec = (time_t)(at / 1000000000), .tv_nsec = (long)(at % 1000000000) };
	int err = 0;

	pthread_mutex_lock(&l->lock);
	l->is_quitting = true;
	pthread_cond_broadcast(&l->changed);
	while (l->nr_threads && !err)
		err = pthread_cond_timedwait(&l->changed, &l->lock, &ts);
	err = l->nr_threads ? -ETIMEDOUT : l->lost;
	pthread_mutex_unlock(&l->lock);
	return err;
}

/* Those that still run end when the kernel or the driver lets them. */
static void threads_end(struct tier_lanes *l, int (*end)(pthread_t thread))
{
	for (unsigned i = 0; i < l->nr; i++)
		if (l->lane[i].has_thread)
			end(l->lane[i].thread);
}

static int join(pthread_t thread)
{
	return pthread_join(thread, NULL);
}

int tier_lanes_destroy(struct tier_lanes *l, uint64_t deadline_ns)
{
	int ret;

	if (!l)
		return 0;
	ret = wait_for_threads(l, deadline_ns);
	threads_end(l, ret < 0 ? pthread_detach : join);
	if (ret < 0)
		return ret;
	for (unsigned i = 0; i < l->nr; i++)
		if (l->lane[i].file)
			l->ops->close(l->lane[i].file);
	pthread_cond_destroy(&l->changed);
	pthread_mutex_destroy(&l->lock);
	free(l);
	return 0;
}
