/* SPDX-License-Identifier: Apache-2.0 */
/*
 * bounce.h - copies to and from what the device cannot reach, through pinned slices
 *
 * An arena that is mapped read-only, or that the driver refuses to pin, is copied by the processor into a pinned slice
 * and from there by the device, or the reverse.  While the device empties one slice the processor fills the next:
 *
 *	host memory ──memcpy──▶ slice 0 ──DMA──▶ device		slice 1 is being filled meanwhile
 *
 * What is at the other end may be memory, or anything that can be read and written by the piece, as a file.
 *
 * Operations are packed into a slice as they come, long ones are cut.  A slice is used again when its event says that
 * it has landed.  Of one stream, one direction, one thread.
 */
#ifndef GPU_BOUNCE_H
#define GPU_BOUNCE_H

#include <stddef.h>
#include <stdint.h>

#include "gpu/stage_plan.h"
#include "gpu/stream.h"

struct bounce;

struct bounce_rows {			/* of the other end */
	uint64_t at;			/* address, or what else it counts by */
	size_t pitch, len, rows;
};

struct bounce_end {
	/* Rows into a slice, packed (STAGE_H2D), or out of it.  May block.  Return: 0, -errno. */
	int (*move)(void *arg, enum stage_dir dir, char *slice, const struct bounce_rows *r);
	void *arg;
};

/**
 * bounce_create() - slices over memory of the caller's
 * @base: at least @nr * @slice_len bytes, pinned (unpinned memory works, at the driver's own pace); outlives it
 * @s: all copies go there; outlives it
 * @end: what is read and written; copied; NULL: memory of this process
 * Return: 0, -ENOMEM, -errno of the driver.
 */
int bounce_create(struct gpu_stream *s, enum stage_dir dir, void *base, size_t slice_len, unsigned nr,
		  const struct bounce_end *end, struct bounce **ret);

/* All slices have landed, or the device is lost.  NULL is let be. */
void bounce_destroy(struct bounce *b);

/**
 * bounce_push() - go on with one operation: STAGE_OP_COPY or STAGE_OP_RECT
 * @host: address, or what else the other end counts by, that op->arena counts from
 * @at: bytes of it that have been pushed; 0 at first, and the caller's until it is done
 * Return: 1 all of it is pushed; 0 no slice is free now; -errno of the driver, or of the other end: some of it may be
 * on the stream.
 */
int bounce_push(struct bounce *b, uint64_t host, const struct stage_op *op, uint64_t *at);

/**
 * bounce_flush() - what was pushed is not waited upon by later operations of the same slice
 * @ret_seq: set to a number for bounce_has_drained(): what was pushed before has reached its end
 * Return: 0, -errno: the slice counts as landed when the whole stream has.
 */
int bounce_flush(struct bounce *b, uint64_t *ret_seq);

/* Landed slices: D2H: copied out; free again.  Return: 0, -errno of the driver, or of the other end. */
int bounce_drain(struct bounce *b);

bool bounce_has_drained(const struct bounce *b, uint64_t seq);

#endif
