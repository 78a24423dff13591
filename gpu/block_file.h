/* SPDX-License-Identifier: Apache-2.0 */
/*
 * block_file.h - blocks between a file and an engine's paged KV
 *
 * A block lies in the file as it lies in the arena, at its place times the block's length in whole pages:
 *
 *	file ──tier_lane.h──▶ slot of device memory ──kernel, or copies──▶ paged KV	and the reverse
 *
 * Slots are read while others are spread.  One transfer at a time; polls drive it, nothing waits.
 * A transfer that fails is told of when nothing of it is under way any more, so its blocks are the caller's again;
 * after a lost device, or one that hangs, that is never.  One thread at a time.
 */
#ifndef GPU_BLOCK_FILE_H
#define GPU_BLOCK_FILE_H

#include "gpu/layout.h"
#include "gpu/tier.h"

struct block_file;
struct stage_cost;

struct block_file_config {
	const struct gpu_ctx *ctx;	/* outlives it */
	const struct gpu_layout *layout;	/* checked; copied */
	const struct stage_cost *cost;	/* as stage_limits.cost */
	uint32_t group;
	const struct tier_ops *ops;
	const struct cufile *cufile;	/* for tier_cufile; outlives it */
	const char *path;
	bool is_write;
	unsigned nr_slots;
};

struct block_file_info {
	uint64_t in_blocks, in_bytes, out_blocks, out_bytes;	/* bytes of the file */
};

/* Return: 0; -EINVAL; -ENOMEM; as tier_ops.open(), stage_create(). */
int block_file_open(const struct block_file_config *cfg, struct block_file **ret);

/* NULL is let be.  Return: 0; -ETIMEDOUT, -ENOTRECOVERABLE: what the device may still use is left behind. */
int block_file_close(struct block_file *f, uint64_t deadline_ns);

/* Bytes from a place to the next. */
uint64_t block_file_stride(const struct block_file *f);

/**
 * block_file_start() - begin a transfer
 * @places, @blocks: @nr each, the caller's until it is over: place in the file, engine block
 * Return: 0; -EBUSY one is under way; -EINVAL no such block; -EOVERFLOW a place past any file; -EROFS not opened for
 * writing; the error of block_file_poll() that stays.
 */
int block_file_start(struct block_file *f, bool is_write, const uint64_t *places, const uint32_t *blocks, uint32_t nr);

/**
 * block_file_poll() - go on with it
 * Return: 1 it is over, or there is none; 0 under way; -errno it failed, once; -ENOTRECOVERABLE, -ETIMEDOUT: for good.
 */
int block_file_poll(struct block_file *f);

void block_file_info(const struct block_file *f, struct block_file_info *ret);

#endif
