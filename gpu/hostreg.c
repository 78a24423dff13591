/* SPDX-License-Identifier: Apache-2.0 */
/* hostreg.c - arena extents pinned for the device, in the background */
#include "gpu/hostreg.h"

#include <assert.h>
#include <errno.h>
#include <inttypes.h>
#include <pthread.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "gpu/cuda_err.h"
#include "kvshm/base/clock.h"
#include "kvshm/base/compiler.h"

struct extent {
	void *addr;
	size_t len;
	enum hostreg_map map;
	int state;			/* 0 waits, 1 pinned, -errno refused */
};

struct hostreg {
	const struct gpu_ctx *ctx;
	pthread_mutex_t lock;		/* over everything below; never held over a call of the driver */
	pthread_cond_t changed;
	struct extent *ext;
	unsigned nr, next;		/* next: the first that waits */
	struct hostreg_progress progress;
	bool is_ending;			/* unpin and leave */
	bool has_left;			/* the thread touches nothing any more */
	bool is_orphan;			/* the owner gave up on the driver: the thread frees it */
};

/* ---- what a mapping is -------------------------------------------------------------------------- */

static int map_kind(const char mode[5])
{
	if (mode[3] != 's')
		return -EINVAL;
	return mode[1] == 'w' ? 0 : -EROFS;
}

/* One line: the part of [*at, end) that it holds, taken off its front. */
static int take_line(const char *line, uint64_t *at, uint64_t end, int *kind)
{
	uint64_t from, to;
	char mode[5];

	if (sscanf(line, "%" SCNx64 "-%" SCNx64 " %4s", &from, &to, mode) != 3)
		return -EBADMSG;
	if (to <= *at)
		return 0;
	if (from > *at)
		return -EFAULT;
	if (*kind == 1)
		*kind = map_kind(mode);
	else if (*kind != map_kind(mode))
		return -EINVAL;
	*at = min_of(to, end);
	return 0;
}

int hostreg_check_map(const void *addr, size_t len)
{
	uint64_t at = (uintptr_t)addr, end = at + len;
	FILE *f = fopen("/proc/self/maps", "re");
	int ret = 0, kind = 1;
	char *line = NULL;
	size_t size = 0;

	if (!f)
		return -errno;
	while (at < end && !ret && getline(&line, &size, f) > 0)
		ret = take_line(line, &at, end, &kind);
	free(line);
	fclose(f);
	if (ret)
		return ret;
	return at < end ? -EFAULT : kind;
}

/* ---- one extent ---------------------------------------------------------------------------------- */

static const char *map_text(int kind)
{
	switch (kind) {
	case -EROFS:
		return "the mapping is read-only, and the device pins only what it may write";
	case -EINVAL:
		return "the mapping is private: pinning it would pin copies of its pages";
	case -EFAULT:
		return "not all of it is mapped";
	default:
		return "/proc/self/maps cannot be read";
	}
}

/* Outside the lock.  Return: 1, -errno with @why. */
static int pin(const struct gpu_ctx *ctx, const struct extent *e, char why[static 112])
{
	unsigned flags = CU_MEMHOSTREGISTER_PORTABLE | CU_MEMHOSTREGISTER_DEVICEMAP;
	int kind = e->map == HOSTREG_SHARED_RW ? 0 : hostreg_check_map(e->addr, e->len);
	char text[64];
	CUresult r;
	int ret;

	if (kind == -EROFS && ctx->device.has_ro_hostreg) {
		flags |= CU_MEMHOSTREGISTER_READ_ONLY;
	} else if (kind < 0) {
		snprintf(why, 112, "%s", map_text(kind));
		return kind;
	}
	ret = gpu_ctx_enter(ctx);
	if (ret < 0)
		return ret;
	r = ctx->cu->MemHostRegister(e->addr, e->len, flags);
	gpu_ctx_leave(ctx);
	if (r == CUDA_SUCCESS)
		return 1;
	snprintf(why, 112, "the driver refused it: %s", cuda_err_text(r, text, sizeof(text)));
	return cuda_errno(r);
}

static void unpin(const struct gpu_ctx *ctx, const struct extent *e)
{
	if (!gpu_ctx_enter(ctx)) {
		ctx->cu->MemHostUnregister(e->addr);
		gpu_ctx_leave(ctx);
	}
}

/* ---- the thread ---------------------------------------------------------------------------------- */

static void note_result(struct hostreg *h, unsigned i, int ret, const char *why, uint64_t ns)
{
	struct hostreg_progress *p = &h->progress;

	h->ext[i].state = ret;
	p->busy_ns += ns;
	if (ret == 1) {
		p->nr_pinned++;
		p->pinned_bytes += h->ext[i].len;
	} else {
		p->nr_refused++;
		p->error = ret;
		snprintf(p->why, sizeof(p->why), "%s", why);
	}
	pthread_cond_broadcast(&h->changed);
}

static void pin_next(struct hostreg *h)
{
	unsigned i = h->next;
	struct extent e = h->ext[i];
	char why[112] = "";
	uint64_t start;
	int ret;

	pthread_mutex_unlock(&h->lock);
	start = clock_ns();
	ret = pin(h->ctx, &e, why);
	start = clock_ns() - start;
	pthread_mutex_lock(&h->lock);
	h->next++;
	note_result(h, i, ret, why, start);
}

static void unpin_all(struct hostreg *h)
{
	for (unsigned i = 0; i < h->nr; i++) {
		struct extent e = h->ext[i];

		if (e.state != 1)
			continue;
		pthread_mutex_unlock(&h->lock);
		unpin(h->ctx, &e);
		pthread_mutex_lock(&h->lock);
		h->ext[i].state = 0;
	}
}

static void hostreg_free(struct hostreg *h)
{
	pthread_cond_destroy(&h->changed);
	pthread_mutex_destroy(&h->lock);
	free(h->ext);
	free(h);
}

static void *worker(void *arg)
{
	struct hostreg *h = arg;
	int mode = CU_STREAM_CAPTURE_MODE_RELAXED;
	bool is_orphan;

	/* Registering while the engine captures a graph in another thread would spoil the capture otherwise. */
	h->ctx->cu->ThreadExchangeStreamCaptureMode(&mode);
	pthread_mutex_lock(&h->lock);
	while (!h->is_ending) {
		if (h->next < h->nr)
			pin_next(h);
		else
			pthread_cond_wait(&h->changed, &h->lock);
	}
	unpin_all(h);
	h->has_left = true;
	is_orphan = h->is_orphan;
	pthread_cond_broadcast(&h->changed);
	pthread_mutex_unlock(&h->lock);
	if (is_orphan)
		hostreg_free(h);
	return NULL;
}

/* Without signals: they are for the program's threads. */
static int start_thread(struct hostreg *h)
{
	sigset_t all, old;
	pthread_t thread;
	int err;

	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &old);
	err = pthread_create(&thread, NULL, worker, h);
	pthread_sigmask(SIG_SETMASK, &old, NULL);
	if (err)
		return -err;
	pthread_detach(thread);
	return 0;
}

/* ---- the owner's side ---------------------------------------------------------------------------- */

int hostreg_create(const struct gpu_ctx *ctx, struct hostreg **ret)
{
	pthread_condattr_t attr;
	struct hostreg *h;
	int err;

	if (!ctx->device.has_hostreg)
		return -EOPNOTSUPP;
	h = calloc(1, sizeof(*h));
	if (!h)
		return -ENOMEM;
	h->ctx = ctx;
	pthread_mutex_init(&h->lock, NULL);
	pthread_condattr_init(&attr);
	pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
	pthread_cond_init(&h->changed, &attr);
	pthread_condattr_destroy(&attr);
	err = start_thread(h);
	if (err < 0) {
		hostreg_free(h);
		return err;
	}
	*ret = h;
	return 0;
}

static int add(struct hostreg *h, const struct extent *e)
{
	uintptr_t from = (uintptr_t)e->addr;
	struct extent *grown;

	for (unsigned i = 0; i < h->nr; i++)
		if (from < (uintptr_t)h->ext[i].addr + h->ext[i].len && (uintptr_t)h->ext[i].addr < from + e->len)
			return -EEXIST;
	grown = reallocarray(h->ext, h->nr + 1, sizeof(*grown));
	if (!grown)
		return -ENOMEM;
	h->ext = grown;
	h->ext[h->nr++] = *e;
	h->progress.nr++;
	h->progress.bytes += e->len;
	pthread_cond_broadcast(&h->changed);
	return 0;
}

int hostreg_add(struct hostreg *h, void *addr, size_t len, enum hostreg_map map)
{
	const struct extent e = { .addr = addr, .len = len, .map = map };
	uintptr_t page = (uintptr_t)sysconf(_SC_PAGESIZE);
	int ret;

	if (!len || len % page || (uintptr_t)addr % page || (uintptr_t)addr + len < len)
		return -EINVAL;
	pthread_mutex_lock(&h->lock);
	ret = add(h, &e);
	pthread_mutex_unlock(&h->lock);
	return ret;
}

int hostreg_extent(struct hostreg *h, const void *addr, struct hostreg_span *ret)
{
	uint64_t at = (uintptr_t)addr;
	int state = -ENOENT;

	pthread_mutex_lock(&h->lock);
	for (unsigned i = 0; i < h->nr; i++) {
		const struct extent *e = &h->ext[i];

		if (at - (uintptr_t)e->addr < e->len) {
			*ret = (struct hostreg_span){ (uintptr_t)e->addr, (uintptr_t)e->addr + e->len };
			state = e->state;
			break;
		}
	}
	pthread_mutex_unlock(&h->lock);
	return state;
}

int hostreg_state(struct hostreg *h, const void *addr, size_t len)
{
	struct hostreg_span e = { 0 };
	int state = hostreg_extent(h, addr, &e);

	return len > e.end - (uintptr_t)addr ? -ENOENT : state;
}

void hostreg_progress(struct hostreg *h, struct hostreg_progress *ret)
{
	pthread_mutex_lock(&h->lock);
	*ret = h->progress;
	pthread_mutex_unlock(&h->lock);
}

/* Under the lock.  Return: false: the deadline has passed. */
static bool sleep_until(struct hostreg *h, uint64_t deadline_ns)
{
	const struct timespec ts = { .tv_sec = (time_t)(deadline_ns / 1000000000),
				     .tv_nsec = (long)(deadline_ns % 1000000000) };

	return pthread_cond_timedwait(&h->changed, &h->lock, &ts) != ETIMEDOUT;
}

int hostreg_wait(struct hostreg *h, uint64_t deadline_ns)
{
	int ret;

	pthread_mutex_lock(&h->lock);
	while (h->next < h->nr && sleep_until(h, deadline_ns))
		;
	ret = h->next < h->nr ? -ETIMEDOUT : 0;
	pthread_mutex_unlock(&h->lock);
	return ret;
}

int hostreg_destroy(struct hostreg *h, uint64_t deadline_ns)
{
	bool has_left;

	if (!h)
		return 0;
	pthread_mutex_lock(&h->lock);
	assert(!h->is_ending);
	h->is_ending = true;
	pthread_cond_broadcast(&h->changed);
	while (!h->has_left && sleep_until(h, deadline_ns))
		;
	has_left = h->has_left;
	h->is_orphan = !has_left;
	pthread_mutex_unlock(&h->lock);
	if (!has_left)
		return -ETIMEDOUT;
	hostreg_free(h);
	return 0;
}
