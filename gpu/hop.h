/* SPDX-License-Identifier: Apache-2.0 */
/*
 * hop.h - blocks of one GPU's paged KV into another's, many at once
 *
 * A block lies scattered over layers on both sides: an 8B model's is 64 pieces, and as many copies between the GPUs
 * would be too small for the path.  So a hop packs its blocks, carries them as one piece, and spreads them:
 *
 *	paged KV ──kernel──▶ packed ──one copy──▶ packed ──kernel──▶ paged KV		by peer
 *	paged KV ──copies──▶ pinned host memory ──copies──▶ paged KV			by host
 *
 * All of it is put onto streams at once, each waiting for the one before by an event; the processor waits for nothing.
 * Hops land in the order in which they were submitted.
 *
 * Invariant: a hop is told of, and its packed memory used again, only when nothing of it is on any stream, also where a
 * part of it was refused.  Where a device is lost nobody can say, so everything stays until the process ends.
 *
 * One thread at a time.
 */
#ifndef GPU_HOP_H
#define GPU_HOP_H

#include <stdbool.h>
#include <stdint.h>

#include "gpu/ctx.h"
#include "gpu/layout.h"

struct hops;
struct stage_cost;

struct hop_side {
	const struct gpu_ctx *ctx;	/* outlives the hops */
	const struct gpu_layout *layout;	/* checked; copied */
	const struct stage_cost *cost;	/* of its card, as stage_limits.cost */
};

struct hops_config {
	struct hop_side from, to;
	bool by_host;			/* through pinned host memory, else from device to device */
	unsigned nr;			/* hops under way at most */
	uint32_t max_blocks;		/* of a hop, all groups together */
};

struct hop_block {
	uint32_t group;
	uint32_t from, to;		/* engine block ids */
	uint16_t nr_tokens;		/* the first of the block; 0: all */
};

struct hops_info {
	uint64_t hops, blocks, bytes;	/* that have landed; bytes of payload */
};

/**
 * hops_create() - streams, packed memory
 * Return: 0; -EINVAL: the layouts are not of the same model, block for block; -EOPNOTSUPP: no path between the
 * devices, or @by_host and the driver pins no memory; -ENOMEM; -errno of a driver.
 */
int hops_create(const struct hops_config *cfg, struct hops **ret);

/**
 * hops_destroy() - waits until nothing is under way
 * NULL is let be.  Return: 0; -ETIMEDOUT, -ENOTRECOVERABLE: all of it is left behind.
 */
int hops_destroy(struct hops *h, uint64_t deadline_ns);

/**
 * hops_submit() - one hop
 * @blocks: read during the call only
 * Return: 0: it is under way, or a part of it was refused, which hops_take() tells; -EBUSY; -E2BIG; -EINVAL a block
 * that is none of a layout; -ENOTRECOVERABLE a device is lost.
 */
int hops_submit(struct hops *h, const struct hop_block *blocks, uint32_t nr);

/* May another be submitted? */
bool hops_has_room(const struct hops *h);

/**
 * hops_take() - what became of the oldest hop; asks the driver
 * Return: 1 landed, 0 under way, or there is none; -errno a part of it was refused, and the rest has passed.  Each
 * hop is told of once.  While hops_error() is set: 0.
 */
int hops_take(struct hops *h);

/* 0 well; else the error with which a device was lost; @ret_is_to (may be NULL): the one that is copied to. */
int hops_error(const struct hops *h, bool *ret_is_to);

void hops_info(const struct hops *h, struct hops_info *ret);

#endif
