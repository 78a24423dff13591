/* SPDX-License-Identifier: Apache-2.0 */
/*
 * flat.h - the frame of policies that know no tree: queues of ids, replayer only
 *
 * A policy that includes this defines a flat_rule over up to three queues and an ops table of the
 * flat_ functions.
 */
#ifndef POLICY_FLAT_H
#define POLICY_FLAT_H

#include "policy/ghost.h"
#include "policy/policy.h"

struct flat_blk {
	uint64_t key;
	pol_id_t prev, next;		/* queue heads are blocks max_ids + 1 and up */
	uint32_t bytes;
	uint8_t queue;			/* 0..2; FLAT_OFF */
	uint8_t uses;			/* since it came, at most 3 */
	uint8_t flags;
};

#define FLAT_OFF 255u

struct flat_rule {
	/* @ghost: NULL, or what was said of the block when it went. */
	void (*inserted)(struct policy *p, pol_id_t id, const struct ghost *ghost);
	void (*used)(struct policy *p, pol_id_t id);
	/* Take a block off its queue.  Return: 0 if there is none. */
	pol_id_t (*pick)(struct policy *p);
};

struct policy {
	struct policy_config cfg;
	const struct flat_rule *rule;
	struct flat_blk *blk;		/* [max_ids + 4] */
	uint32_t count[3];		/* of each queue */
	struct ghost_table ghosts;
	uint32_t gone[3];		/* ghosts ever made, by kind; they are numbered by it */
	pol_id_t hand;			/* sieve */
	uint32_t target;		/* arc: blocks of queue 0 */
};

int flat_create(const struct policy_config *cfg, const struct flat_rule *rule, struct policy **ret_p);
void flat_destroy(struct policy *p);
void flat_insert(struct policy *p, const struct pol_block *b, uint64_t now_ns);
void flat_touch(struct policy *p, pol_id_t id, uint32_t hints, uint64_t now_ns);
void flat_remove(struct policy *p, pol_id_t id);
unsigned flat_victims(struct policy *p, uint64_t bytes, uint64_t now_ns, pol_id_t *ret_ids, unsigned max,
		      int (*is_pinned)(void *arg, pol_id_t id), void *arg);
void flat_restore(struct policy *p, pol_id_t id, uint64_t now_ns);
void flat_stats(const struct policy *p, struct policy_stats *ret);

#define FLAT_OPS \
	.flags = POLICY_FLAT, .destroy = flat_destroy, .insert = flat_insert, .touch = flat_touch, \
	.remove = flat_remove, .victims = flat_victims, .restore = flat_restore, .stats = flat_stats

/* ---- queues: pushed at the young end ---------------------------------------------------------------- */

void flat_push(struct policy *p, unsigned queue, pol_id_t id);
void flat_del(struct policy *p, pol_id_t id);
pol_id_t flat_oldest(const struct policy *p, unsigned queue);	/* 0: empty */
/* The next younger one, 0 at the end. */
pol_id_t flat_younger(const struct policy *p, pol_id_t id);
/* Remember @id as a ghost of @kind. */
void flat_ghost(struct policy *p, pol_id_t id, unsigned kind);
/* How many of its kind came after the ghost. */
static inline uint32_t flat_ghost_age(const struct policy *p, const struct ghost *g)
{
	return p->gone[g->node] - g->last;
}

#endif
