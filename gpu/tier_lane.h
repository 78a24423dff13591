/* SPDX-License-Identifier: Apache-2.0 */
/*
 * tier_lane.h - transfers between a file and slots of device memory, each by a thread of its own
 *
 * Reads and writes block, and one at a time leaves a fast disk idle.  A lane is a thread, a file that it opened and one
 * slot; it is given a transfer and asked later what became of it.  Nobody waits for a thread without a bound: one that
 * is stuck in the kernel or the driver is left behind, with its slot.
 */
#ifndef GPU_TIER_LANE_H
#define GPU_TIER_LANE_H

#include "gpu/tier.h"

struct tier_lanes;

/**
 * tier_lanes_create() - open the file for each lane, start the threads
 * @t: its memory is that of all slots, in order, @nr equal ones; the host's the same
 * Return: 0; -EAGAIN no thread; -ENOMEM; as tier_ops.open().
 */
int tier_lanes_create(const struct tier_ops *ops, const struct tier_target *t, unsigned nr, struct tier_lanes **ret);

/* Begin to fill a lane's slot from the file, or to write it there.  The lane is idle. */
void tier_lane_start(struct tier_lanes *l, unsigned lane, bool is_write, uint64_t off, uint64_t len);

/**
 * tier_lane_poll() - what became of it; then the lane is idle again
 * Return: 1 done, 0 not yet, -errno as tier_ops.read(): and after -ENOTRECOVERABLE, -ETIMEDOUT it is not used again.
 */
int tier_lane_poll(struct tier_lanes *l, unsigned lane);

/**
 * tier_lanes_destroy() - end the threads
 * NULL is let be.  Return: 0; -ETIMEDOUT, -ENOTRECOVERABLE: a thread, or the device, may still use its slot, and all is
 * left behind.
 */
int tier_lanes_destroy(struct tier_lanes *l, uint64_t deadline_ns);

#endif
