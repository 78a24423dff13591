/* SPDX-License-Identifier: Apache-2.0 */
/*
 * leaves.h - the frame of policies that score leaves: uses reach the root, the lowest of a sample goes
 *
 * A policy that includes this defines a leaf_rule and an ops table of the leaves_ functions; it is for
 * comparison, so a use costs a step for each block of the path.  64 leaves are looked at for a
 * victim, all of them if there are no more.  Evicted blocks are remembered, 8 for each place: when one comes
 * back, its uses go on counting and before_use() sees the use that it had been evicted after.
 */
#ifndef POLICY_LEAVES_H
#define POLICY_LEAVES_H

#include "kvshm/base/rand.h"
#include "policy/ghost.h"
#include "policy/policy.h"

#define LEAVES_SAMPLE 64u

struct leaf_blk {
	pol_id_t parent;
	uint32_t kids;
	uint32_t place;			/* in leaf[] + 1, 0: no leaf */
	uint32_t flags;
	uint32_t uses;
	uint32_t last, gap;		/* hazard_time() of the last use; since the one before, UINT32_MAX: none */
	uint32_t hints, bytes, depth;
	uint64_t key;
	uint16_t remembered;
	double value;			/* seconds saved by a hit */
	double score;			/* the rule's own */
};

struct leaf_rule {
	size_t own_size;		/* of policy.own */
	/* May be NULL: two bytes of its own that a ghost keeps, given back as b->remembered. */
	uint16_t (*remember)(const struct policy *p, const struct leaf_blk *b);
	/* May be NULL: @b was used at p->now; uses, last, gap and hints are still those of before (uses 0: new). */
	void (*before_use)(struct policy *p, struct leaf_blk *b);
	/* May be NULL: and now they are those of after. */
	void (*after_use)(struct policy *p, struct leaf_blk *b);
	/* May be NULL: @b was chosen. */
	void (*chosen)(struct policy *p, struct leaf_blk *b);
	double (*score)(const struct policy *p, const struct leaf_blk *b);
};

struct policy {
	struct policy_config cfg;
	const struct leaf_rule *rule;
	void *own;
	uint32_t now;
	uint32_t nr_leaves;
	pol_id_t *leaf;
	struct leaf_blk *blk;		/* [max_ids + 1] */
	struct rand rand;
	struct ghost_table ghosts;
};

int leaves_create(const struct policy_config *cfg, const struct leaf_rule *rule, struct policy **ret_p);
void leaves_destroy(struct policy *p);
void leaves_insert(struct policy *p, const struct pol_block *b, uint64_t now_ns);
void leaves_touch(struct policy *p, pol_id_t id, uint32_t hints, uint64_t now_ns);
void leaves_remove(struct policy *p, pol_id_t id);
unsigned leaves_victims(struct policy *p, uint64_t bytes, uint64_t now_ns, pol_id_t *ret_ids, unsigned max,
			int (*is_pinned)(void *arg, pol_id_t id), void *arg);
void leaves_restore(struct policy *p, pol_id_t id, uint64_t now_ns);
void leaves_stats(const struct policy *p, struct policy_stats *ret);

#define LEAVES_OPS \
	.destroy = leaves_destroy, .insert = leaves_insert, .touch = leaves_touch, .remove = leaves_remove, \
	.victims = leaves_victims, .restore = leaves_restore, .stats = leaves_stats

#endif
