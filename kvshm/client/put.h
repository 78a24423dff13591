/* SPDX-License-Identifier: Apache-2.0 */
/*
 * put.h - blocks into the cache, from wherever their bytes are
 *
 * What all puts have in common: what is there already is skipped, what they stand on is pinned, one group makes one
 * completion of as many entries as it takes.
 */
#ifndef KVSHM_CLIENT_PUT_H
#define KVSHM_CLIENT_PUT_H

#include "kvshm/client/client.h"

#define PUT_CHUNK 64u			/* blocks of one entry */

struct put {
	uint32_t ns;
	uint16_t wire;
	const struct kvshm_key *parent, *keys;
	const void *const *src;		/* kvshm_put() */
	const struct kvshm_service_piece *pieces;	/* kvshm_service_save(): of all blocks */
	unsigned nr_pieces;
	const uint32_t *lengths;
	unsigned nr, done;
	unsigned flags;
	uint32_t group;
	uint32_t session;
	uint32_t pin_slot;		/* what the put stands on, until it is sent */
	uint64_t deadline_ns;		/* 0: no wait */
};

/* Bytes, and tokens, of block @i. */
uint32_t put_len(const struct kvshm *k, const struct put *p, unsigned i);
uint32_t put_tokens(const struct kvshm *k, const struct put *p, unsigned i);

/* As asked by the user: namespace, counts, flags, lengths. */
bool put_is_valid(const struct kvshm *k, const struct put *p);

/* The entry for @nr blocks from .done on. */
struct commit put_commit(const struct put *p, const struct kvshm_block *blocks, unsigned nr);

/**
 * put_run() - a valid put
 * @way: sends the blocks from .done on and moves it; returns 0, -errno as kvshm_put()
 * Return: as kvshm_put().
 */
int put_run(struct kvshm *k, struct put *p, uint64_t user_data, int (*way)(struct kvshm *k, struct put *p));

#endif
