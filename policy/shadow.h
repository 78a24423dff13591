/* SPDX-License-Identifier: Apache-2.0 */
/*
 * shadow.h - what other orders would have hit, without a second cache
 *
 * An order of classes and ages means an age for each class at which its blocks go.  So a cache under that
 * order needs no blocks of its own to be known: a use is a hit if the block's age was below that of its class, and
 * what it holds is the blocks alive below those ages, evicted ones included.  Ages are set so that this is the
 * capacity; then the uses that come are counted, so nobody is judged by what made him.
 *
 *     plan:  index of (class, bin) -> rank; the lowest rank so far decides how long a class stays
 *            blocks alive by rank, from the top, until the capacity is reached: that rank is the edge
 *     use:   bin before hold[class]: a hit; at the edge: a share of one
 *
 * What is not seen so, that a block stays because of those below it and that a cache is never as full of the best as
 * planned, flatters the finer orders.  So each order's hits are set right by what it got while it was the live one.
 */
#ifndef POLICY_SHADOW_H
#define POLICY_SHADOW_H

#include <stdbool.h>
#include <stdint.h>

#include "policy/class.h"
#include "policy/hazard.h"

#define RANKS 1024u

enum shadow_arm {
	SHADOW_GIX,			/* index of the class, whose level of many uses is left out */
	SHADOW_USES,			/* with that level */
	SHADOW_ADMIT,			/* new blocks go by the average of all classes, so none is refused for what it is */
	SHADOW_LRU,			/* by age alone */
	SHADOW_ARMS,
};

struct shadow {
	enum shadow_arm live;		/* what the order goes by */
	bool is_planned;
	double uses, hits[SHADOW_ARMS];	/* blocks, older ones counting less */
	uint64_t found;			/* blocks that were there when they were used, this period */
	double planned;			/* hits of the live order as this period began */
	double got[SHADOW_ARMS], promised[SHADOW_ARMS];	/* real hits while live, and what was counted of them */
	double edge_share[SHADOW_ARMS];	/* of the edge that is held */
	struct shadow_node {
		uint8_t hold[SHADOW_ARMS];	/* bins above the edge */
		uint8_t edge[SHADOW_ARMS];	/* and those on it */
		uint16_t plain;		/* the node without the level of many uses */
		bool is_first;		/* of blocks used once */
	} node[CLASS_MAX];
	double blocks[SHADOW_ARMS][RANKS];	/* scratch, as is: */
	uint16_t fall[CLASS_MAX + 1][HAZARD_BINS];	/* lowest rank of a node so far; the last one: by age alone */
};

void shadow_init(struct shadow *s);
/* Nodes from @from on are new. */
void shadow_adopt(struct shadow *s, const struct class_tree *t, uint32_t from);
/* @nr blocks of @node were used at an age of @bin. */
void shadow_use(struct shadow *s, uint16_t node, unsigned bin, uint32_t nr);
/* All events since this was last called. */
void shadow_use_all(struct shadow *s, struct hazard *h, const struct class_tree *t);
/* After an estimate: how long each order would hold what, in a cache of @capacity blocks. */
void shadow_plan(struct shadow *s, const struct hazard *h, const struct class_tree *t, uint64_t capacity);
/* A use found @nr blocks in the real cache. */
static inline void shadow_found(struct shadow *s, uint32_t nr)
{
	s->found += nr;
}
/* Once a period: go by the order that hit most. */
void shadow_choose(struct shadow *s);

double shadow_index(const struct shadow *s, enum shadow_arm arm, const struct hazard *h, uint16_t node, unsigned bin);
/* The index on a logarithmic scale. */
uint32_t shadow_rank(double index);

#endif
