/* SPDX-License-Identifier: Apache-2.0 */
/*
 * hostreg.h - arena extents pinned for the device, in the background
 *
 * Pinning a GiB takes a good part of a second, so a thread does it extent by extent; until an extent's turn has
 * come its copies go through the driver's own staging, or a bounce buffer.  An extent is registered
 * whole: a copy that crosses two registrations is refused by the driver.
 *
 * What the mapping is decides (proc(5), maps):
 *   shared, writable   registered
 *   shared, read-only  registered where the device can (few can); else refused
 *   private            refused always: the driver would fault in, and pin, private copies of its pages,
 *                      and the device would read stale bytes and write where nobody looks
 */
#ifndef GPU_HOSTREG_H
#define GPU_HOSTREG_H

#include <stddef.h>
#include <stdint.h>

#include "gpu/ctx.h"

enum hostreg_map {
	HOSTREG_LOOK,			/* look into /proc/self/maps */
	HOSTREG_SHARED_RW,		/* the caller made the mapping and knows */
};

struct hostreg_progress {
	unsigned nr, nr_pinned, nr_refused;	/* extents; the rest waits for its turn */
	uint64_t bytes, pinned_bytes;
	uint64_t busy_ns;		/* spent in the driver */
	int error;			/* of the last extent refused, 0 none */
	char why[112];			/* the same in words */
};

struct hostreg;

/**
 * hostreg_create() - nothing pinned yet, one thread started
 * @ctx: outlives it
 * Return: 0; -EOPNOTSUPP: driver or device cannot pin such memory at all; -ENOMEM; -EAGAIN no thread.
 */
int hostreg_create(const struct gpu_ctx *ctx, struct hostreg **ret);

/**
 * hostreg_add() - queue one extent; returns at once
 * @addr, @len: page aligned; stays mapped until hostreg_destroy()
 * Return: 0, -EINVAL, -EEXIST overlaps one that was added, -ENOMEM.
 */
int hostreg_add(struct hostreg *h, void *addr, size_t len, enum hostreg_map map);

/**
 * hostreg_state() - may the device reach this range?
 * Return: 1 pinned, within one extent; 0 its turn has not come; -ENOENT not an extent of ours, or it
 * crosses two; -errno why the extent was refused.
 */
int hostreg_state(struct hostreg *h, const void *addr, size_t len);

struct hostreg_span {			/* addresses of an extent */
	uint64_t from, end;
};

/**
 * hostreg_extent() - the same of all of the extent that @addr lies in, for whoever asks about many ranges
 * @ret: the extent, left alone if there is none
 * What is pinned stays so until hostreg_destroy().
 * Return: 1 pinned; 0 its turn has not come; -ENOENT not an extent of ours; -errno why it was refused.
 */
int hostreg_extent(struct hostreg *h, const void *addr, struct hostreg_span *ret);

/* Readable at any time, from any thread. */
void hostreg_progress(struct hostreg *h, struct hostreg_progress *ret);

/* Until nothing waits for its turn.  Return: 0, -ETIMEDOUT. */
int hostreg_wait(struct hostreg *h, uint64_t deadline_ns);

/**
 * hostreg_destroy() - unpin all, after the copies from and to them have landed
 * @deadline_ns: how long the driver may take.  If it hangs, thread and registrations are left behind: extents and
 * context must stay until the process ends.
 * NULL is let be.  Return: 0, -ETIMEDOUT.
 */
int hostreg_destroy(struct hostreg *h, uint64_t deadline_ns);

/**
 * hostreg_check_map() - what a mapping is, by /proc/self/maps
 * Return: 0 shared and writable; -EROFS shared, read-only; -EINVAL private, or several mappings of
 * different kinds; -EFAULT not all of it is mapped; -errno.
 */
int hostreg_check_map(const void *addr, size_t len);

#endif
