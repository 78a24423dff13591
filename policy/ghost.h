/* SPDX-License-Identifier: Apache-2.0 */
/*
 * ghost.h - evicted blocks that are still watched: what they were used for, and when
 *
 * A table of buckets of eight; a full bucket forgets the one used longest ago.  24 bits of the key are
 * the place and 48 more are compared, so a mistaken identity is not to be expected.
 */
#ifndef POLICY_GHOST_H
#define POLICY_GHOST_H

#include <stdbool.h>
#include <stdint.h>

struct ghost {
	uint32_t tag;
	uint16_t tag_high;
	uint16_t weight;
	uint32_t last;			/* use, in hazard_time() */
	uint16_t node;			/* of the class tree */
	uint8_t uses;			/* 0: an empty place */
	uint8_t resv;
};
_Static_assert(sizeof(struct ghost) == 16, "a ghost");

struct ghost_table {
	uint64_t nr_buckets;
	struct ghost (*bucket)[8];
};

/* Return: 0, -ENOMEM. */
int ghost_init(struct ghost_table *t, uint64_t ghosts);
void ghost_fini(struct ghost_table *t);
/* Return: true and @ret set, the ghost is gone. */
bool ghost_take(struct ghost_table *t, uint64_t key, struct ghost *ret);
/* Return: true and @ret_old set, a ghost was forgotten for it. */
bool ghost_put(struct ghost_table *t, uint64_t key, const struct ghost *g, struct ghost *ret_old);

#endif
