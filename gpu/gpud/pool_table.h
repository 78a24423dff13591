/* SPDX-License-Identifier: Apache-2.0 */
/*
 * pool_table.h - which blocks lie in the staging pool, and who holds them
 *
 *	(nothing) ──add──▶ COPYING ──landed──▶ STAGED ──last release──▶ idle ──evicted──▶ (nothing)
 *			      │			 ▲────────take──────────┘
 *			      └──failed──▶ FAILED ──last release──▶ (nothing)
 *
 * A block lies there once, however many clients hold it.  One that nobody holds stays, idle, until its place is wanted;
 * the one that was let go first is evicted first.  What is under a copy, or held, never moves.  A published block's bytes
 * never change, so a block that is here is right as long as its generation is asked for, also when the cache has
 * evicted it meanwhile.
 *
 * Decisions only: no device, no socket.  One thread.
 */
#ifndef GPU_GPUD_POOL_TABLE_H
#define GPU_GPUD_POOL_TABLE_H

#include <stdint.h>

#include <kvshm/abi.h>

#include "gpu/gpud/pool_room.h"

struct pool_hold;
struct pool_table;

enum pool_state { POOL_COPYING, POOL_STAGED, POOL_FAILED };

struct pool_block {			/* read only for others, but for .copy */
	struct kvshm_block_ref ref;
	uint16_t ns;
	enum pool_state state;
	int error;			/* FAILED */
	uint32_t len;
	uint64_t off;			/* in the pool */
	uint64_t copy;			/* the user's: which one brings it */
	/* the table's */
	struct pool_block *next;	/* of the same hash */
	struct pool_block *older, *newer;	/* idle ones */
	struct pool_hold *holds;
};

struct pool_user {			/* a client; zero is the start */
	struct pool_hold *holds;
	uint64_t held_bytes;
};

struct pool_counts {
	uint64_t bytes;			/* of the pool */
	uint64_t used_bytes, held_bytes, idle_bytes;	/* taken; by blocks that somebody holds; by idle ones */
	uint64_t staged_blocks, staged_bytes;	/* landed here, since the start */
	uint64_t shared_blocks;		/* taken that were here, or on their way, already */
	uint64_t evicted_blocks;
};

/**
 * pool_table_create() - an empty pool of @len bytes
 * @quota: bytes that one user may hold
 * Return: 0, -EINVAL, -ENOMEM.
 */
int pool_table_create(uint64_t len, uint64_t quota, struct pool_table **ret);
/* All users have been forgotten before.  NULL is let be. */
void pool_table_destroy(struct pool_table *t);

/**
 * pool_table_take() - hold a block if it is here, or on its way
 * @ns: namespace that it must belong to
 * Held once more each time; each is released.
 * Return: 1 with @ret; 0 it is not; -EINVAL another namespace's; -EDQUOT; -ENOBUFS held too often; -ENOMEM; .error
 * of one whose copy has failed and that somebody still holds.
 */
int pool_table_take(struct pool_table *t, struct pool_user *u, uint16_t ns, struct kvshm_block_ref ref,
		    struct pool_block **ret);

/**
 * pool_table_admit() - could blocks of these sizes be added for this user?
 * @size: sum of pool_room_size()
 * Asked first, so that nothing is evicted for what cannot be.
 * Return: 0; -EDQUOT past its quota; -ENOSPC not even if all idle ones were evicted.
 */
int pool_table_admit(const struct pool_table *t, const struct pool_user *u, uint64_t size);

/**
 * pool_table_add() - a place for a block that is not here, held by the user, COPYING
 * Evicts idle ones until there is room.
 * Return: 0 with @ret; -EDQUOT; -ENOSPC all that could go is gone; -ENOMEM.
 */
int pool_table_add(struct pool_table *t, struct pool_user *u, uint16_t ns, struct kvshm_block_ref ref, uint32_t len,
		   struct pool_block **ret);

/* The copy of one that is COPYING is over, well or not; @error < 0. */
void pool_table_landed(struct pool_table *t, struct pool_block *b);
void pool_table_failed(struct pool_table *t, struct pool_block *b, int error);

/* NULL: it is not here. */
const struct pool_block *pool_table_find(const struct pool_table *t, struct kvshm_block_ref ref);

/* One hold of the user less.  Return: 0, -ENOENT it holds none. */
int pool_table_release(struct pool_table *t, struct pool_user *u, struct kvshm_block_ref ref);

/* All holds of the user. */
void pool_table_forget(struct pool_table *t, struct pool_user *u);

void pool_table_counts(const struct pool_table *t, struct pool_counts *ret);

/* Return: NULL, or the first broken invariant. */
const char *pool_table_verify(const struct pool_table *t);

#endif
