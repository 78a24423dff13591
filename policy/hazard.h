/* SPDX-License-Identifier: Apache-2.0 */
/*
 * hazard.h - when blocks come back: hazards of reuse time by class and age, and the index made of them
 *
 * An access enters its class with a weight and leaves it by an event (used again) or censored (not seen
 * to its end: forgotten, dropped).  Those still inside count as exposed too; leaving them out would
 * make every class look as lively as its survivors.
 */
#ifndef POLICY_HAZARD_H
#define POLICY_HAZARD_H

#include <stddef.h>
#include <stdint.h>

#include "policy/class.h"

#define HAZARD_BINS 65u			/* of age: half octaves from half a second, quarters from two minutes, to six days */
#define HAZARD_COARSE_BINS 17u		/* of them, up to two minutes */
#define HAZARD_MEMORIES 4u
#define HAZARD_LEVELS 18u
#define HAZARD_SLOTS 8u			/* of a level */
#define HAZARD_SLOTS_ALL (HAZARD_LEVELS * HAZARD_SLOTS)

/* Time in units of 2^24 ns: 32 bits last two years. */
static inline uint32_t hazard_time(uint64_t ns)
{
	return (uint32_t)(ns >> 24);
}

unsigned hazard_bin(uint32_t age);
/* Age at which a bin begins; up to HAZARD_BINS. */
double hazard_bin_low(unsigned b);

/* Blocks of one history: each counts as @weight, 65536 / blocks of its request. */
struct hazard_lot {
	uint32_t nr;
	uint16_t weight;
	uint16_t node;			/* of the class tree */
	uint32_t birth;			/* last use */
};

struct hazard_count {
	_Alignas(16) int64_t weight;	/* in one line with the other */
	int64_t blocks;
};

struct hazard_node {
	/* since the last estimate; events' blocks: since they were last asked for, shadow.h */
	struct hazard_count events[HAZARD_BINS];
	int64_t censored[HAZARD_BINS];	/* weights */
};

/*
 * Counts of uses lie all over the classes, and nothing in a use depends on them.  So they are noted, loaded ahead,
 * and added when HAZARD_NOTES others have been.
 */
#define HAZARD_NOTES 32u
struct hazard_note {
	struct hazard_count *at, add;
};

/* Requests: those with an event in a bin, and those that could have had one. */
struct hazard_sum {
	double events, risk;
};

struct hazard {
	uint32_t slot_now;		/* of level 0, as last advanced */
	uint8_t bin_of_slot[HAZARD_SLOTS_ALL];	/* of the ages there; HAZARD_BINS: nobody can be there */
	uint32_t nr_known;		/* nodes with an index */
	uint32_t next_note, estimated_note;	/* estimated_note: next_note at the last estimate */
	struct hazard_note note[HAZARD_NOTES];
	struct hazard_count nowhere;	/* what no note is about */
	struct hazard_node node[CLASS_MAX];
	struct hazard_count alive[HAZARD_SLOTS_ALL][CLASS_MAX];	/* by time of entry, coarser with age: all enter one row */
	double index[CLASS_MAX][HAZARD_BINS];	/* Gittins: expected hits per unit of time held */
	struct hazard_memory {
		double score;		/* how well it foretold */
		struct hazard_sum own[CLASS_MAX][HAZARD_BINS];	/* of a node without those below it */
		double prob[CLASS_MAX][HAZARD_BINS];	/* of an event in the bin, having reached it */
	} memory[HAZARD_MEMORIES];	/* the longest first */
	uint32_t used;			/* of them */
	double inside[CLASS_MAX][HAZARD_BINS];	/* at the last estimate: past the bin, and half of who is in it */
	struct hazard_fresh {
		struct hazard_sum now;
		double inside;
	} fresh[CLASS_MAX][HAZARD_BINS];	/* scratch: hazard_count() */
	struct hazard_sum sum[CLASS_MAX][HAZARD_BINS];	/* scratch: a node with all below it */
};

void hazard_init(struct hazard *h);
/* Nobody is inside yet: the clock begins at @now. */
void hazard_start(struct hazard *h, uint32_t now);
void hazard_enter(struct hazard *h, const struct hazard_lot *lot);
/* At @now, from another class: of younger ages it tells nothing. */
void hazard_enter_late(struct hazard *h, const struct hazard_lot *lot, uint32_t now);
/* Where lots of one birth are counted, found once for all of them; until the next hazard_advance(). */
struct hazard_age {
	uint32_t birth;
	unsigned bin, slot;
};
void hazard_age(const struct hazard *h, uint32_t birth, uint32_t now, struct hazard_age *ret);
/* Of what is born at the time of the last hazard_advance(). */
static inline struct hazard_age hazard_age_now(const struct hazard *h, uint32_t now)
{
	return (struct hazard_age){ .birth = now, .slot = h->slot_now % HAZARD_SLOTS };
}
static inline void hazard_note(struct hazard *h, struct hazard_count *at, int64_t weight, int64_t blocks)
{
	struct hazard_note *n = &h->note[h->next_note++ % HAZARD_NOTES];

	__builtin_prefetch(at, 1);
	n->at->weight += n->add.weight;
	n->at->blocks += n->add.blocks;
	*n = (struct hazard_note){ .at = at, .add = { .weight = weight, .blocks = blocks } };
}
/* @lot of that age enters, or leaves by an event; hazard_settle() before counts are read. */
static inline void hazard_enter_at(struct hazard *h, const struct hazard_lot *lot, const struct hazard_age *age)
{
	hazard_note(h, &h->alive[age->slot][lot->node], (int64_t)lot->weight * lot->nr, lot->nr);
}
static inline void hazard_event_at(struct hazard *h, const struct hazard_lot *lot, const struct hazard_age *age)
{
	struct hazard_node *n = &h->node[lot->node];
	const int64_t weight = (int64_t)lot->weight * lot->nr;

	hazard_note(h, &h->alive[age->slot][lot->node], -weight, -(int64_t)lot->nr);
	hazard_note(h, &n->events[age->bin], weight, lot->nr);
}
/* All that was noted is counted. */
void hazard_settle(struct hazard *h);
void hazard_event(struct hazard *h, const struct hazard_lot *lot, uint32_t now);
void hazard_censor(struct hazard *h, const struct hazard_lot *lot, uint32_t now);
/* Before anything enters or leaves at @now. */
void hazard_advance(struct hazard *h, const struct class_tree *t, uint32_t now);
/* Nodes that are new since the last estimate go by that of their parents. */
void hazard_adopt(struct hazard *h, const struct class_tree *t);
/* Every five seconds: what was counted fades by that, if anybody entered or came back. */
void hazard_estimate(struct hazard *h, const struct class_tree *t);
/* What came since the last estimate, of each node without those below it, to @h->fresh; nothing changes. */
void hazard_count(struct hazard *h, const struct class_tree *t);
static inline double hazard_prob(const struct hazard *h, uint32_t node, unsigned bin)
{
	return h->memory[h->used].prob[node][bin];
}

#endif
