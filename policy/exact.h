/* SPDX-License-Identifier: Apache-2.0 */
/*
 * exact.h - what engines know, above what a policy estimates
 *
 * A policy like any other, around any other: it passes everything on, and
 *   hold	keeps a block, and so the path to it, from being named a victim: a queued request will use it, a tool
 *		has been called, or somebody wants it kept.  It ends by itself, by its ticket, or with its owner
 *   close	names a path's own tail before everything else: its session is over
 * Hints are wishes.  They are bounded in number and in bytes, for each owner and for all, and one that is lost or
 * refused costs nothing but what it would have given.  Where all else is in use the lowest holds end.
 */
#ifndef POLICY_EXACT_H
#define POLICY_EXACT_H

#include <stdbool.h>

#include "policy/policy.h"

#define EXACT_HOLDS 8192u		/* of all owners */
#define EXACT_OWNER_HOLDS 256u
#define EXACT_PRIORITY_MAX 7u

/* Ops of the policies that exact_create() makes; its create() is NULL. */
extern const struct policy_ops policy_exact;

/* Return: 0; as @ops->create(). */
int exact_create(const struct policy_config *cfg, const struct policy_ops *ops, struct policy **ret_p);

struct exact_hold {
	pol_id_t id;			/* resident */
	uint32_t owner;			/* who asks */
	uint64_t ticket;		/* the owner's name for it */
	uint64_t until_ns;		/* ends then, at the latest */
	uint64_t bytes;			/* of the path */
	uint8_t priority;		/* 0..EXACT_PRIORITY_MAX: higher ones end later under pressure */
	bool is_queued;			/* ends by the first use of the block */
};

/* Bytes that holds may keep: one owner's, all. */
struct exact_limits {
	uint64_t owner_bytes, all_bytes;
};

/* Return: 1 held; 0 refused: the limits are reached, or it is not resident. */
int exact_hold(struct policy *p, const struct exact_hold *h, const struct exact_limits *limits);

/* All holds of @owner with that ticket.  Return: how many ended. */
unsigned exact_release(struct policy *p, uint32_t owner, uint64_t ticket);
/* All holds of @owner. */
unsigned exact_owner_gone(struct policy *p, uint32_t owner);

/**
 * exact_close() - nobody will come back for these
 * @id: the deepest block, @nr: so many from it upwards at most; it ends where another path begins
 * Return: blocks that go first from now on, unless they are used again.
 */
unsigned exact_close(struct policy *p, pol_id_t id, unsigned nr);

struct exact_counts {
	uint64_t holds, held_bytes;	/* now */
	uint64_t held, refused, expired, yielded, closed;
};
void exact_count(const struct policy *p, struct exact_counts *ret);

#endif
