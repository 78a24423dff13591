/* SPDX-License-Identifier: Apache-2.0 */
/* cost.h - what a hit saves */
#ifndef POLICY_COST_H
#define POLICY_COST_H

#include "policy/policy.h"

/* Seconds of prefill that a hit of the block saves, less its load; never negative. */
static inline double cost_saved(const struct policy_cost *c, const struct pol_block *b)
{
	const double t = b->tokens * (c->per_token + c->per_token_offset * (b->offset + 0.5 * b->tokens));
	const double v = t - c->per_byte * b->bytes;

	return v > 0 ? v : 0;
}

#endif
