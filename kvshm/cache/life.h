/* SPDX-License-Identifier: Apache-2.0 */
/*
 * life.h - how long blocks stay, lie idle, wait for their next use, and are missed
 *
 * Times of the policy's clock in ticks of 2^20 ns, two words of struct blk: when a block was published (0: before this
 * start of the daemon, so nobody knows) and when it was used last.  A use is of the deepest block that was found; as
 * leaves go first, a block has heard of its descendants' uses when its own turn comes.
 */
#ifndef KVSHM_CACHE_LIFE_H
#define KVSHM_CACHE_LIFE_H

#include <kvshm/abi.h>

#include "kvshm/arena/block.h"

struct cache;

#define LIFE_GHOSTS 4096u		/* evicted keys that are remembered, a sample of them in a big cache */

struct life_ghost {
	uint64_t key;			/* mixed; 0: empty */
	uint32_t at;
};

/* A block was published, was used; call after order_time(). */
void life_born(struct cache *c, blk_id_t id);
void life_used(struct cache *c, blk_id_t id);

/* A leaf is evicted: counted, its parent hears of its uses.  Its descriptor is whole yet. */
void life_evicted(struct cache *c, blk_id_t id);

#endif
