/* SPDX-License-Identifier: Apache-2.0 */
/*
 * sieve.c - one queue in order of arrival, and a hand that moves from old to young
 *
 * The hand takes the first block that was not used since it last came by; the others lose their mark and
 * keep their place.
 */
#include "policy/flat.h"

static void sieve_inserted(struct policy *p, pol_id_t id, const struct ghost *ghost)
{
	flat_push(p, 0, id);
}

static void sieve_used(struct policy *p, pol_id_t id)
{
}

static pol_id_t sieve_pick(struct policy *p)
{
	pol_id_t id = p->hand;

	for (;;) {
		if (!id)
			id = flat_oldest(p, 0);
		if (!id || !p->blk[id].uses)
			break;
		p->blk[id].uses = 0;
		id = flat_younger(p, id);
	}
	if (id) {
		p->hand = id;
		flat_del(p, id);
	}
	return id;
}

static const struct flat_rule sieve_rule = { .inserted = sieve_inserted, .used = sieve_used, .pick = sieve_pick };

static int sieve_create(const struct policy_config *cfg, struct policy **ret_p)
{
	return flat_create(cfg, &sieve_rule, ret_p);
}

const struct policy_ops policy_sieve = {
	.name = "sieve",
	.summary = "SIEVE: a hand that spares what was used since it came by (flat: for comparison only)",
	.create = sieve_create,
	FLAT_OPS,
};
