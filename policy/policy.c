/* SPDX-License-Identifier: Apache-2.0 */
/* policy.c - the registry: every policy by name */
#include "policy/policy.h"

#include <string.h>

#include "kvshm/base/compiler.h"

static const struct policy_ops *const policies[] = {
	&policy_gix, &policy_leaf_lru, &policy_lfu, &policy_gdsf, &policy_lhd, &policy_wa, &policy_wa_gap,
	&policy_fifo, &policy_lru, &policy_s3fifo, &policy_sieve, &policy_arc, &policy_belady,
};

const struct policy_cost policy_default_cost = {
	.per_token = 6.25e-6, .per_token_offset = 4e-9, .per_byte = 2e-11,
};

const struct policy_ops *policy_at(unsigned i)
{
	return i < ARRAY_SIZE(policies) ? policies[i] : NULL;
}

const struct policy_ops *policy_find(const char *name)
{
	unsigned i;

	for (i = 0; i < ARRAY_SIZE(policies); i++)
		if (!strcmp(policies[i]->name, name))
			return policies[i];
	return NULL;
}
