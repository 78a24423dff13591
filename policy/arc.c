/* SPDX-License-Identifier: Apache-2.0 */
/*
 * arc.c - blocks used once and blocks used again, each in order of use; ghosts say which deserves room
 *
 * A return that the first list has just lost moves the target of that list up, one that the second has
 * lost moves it down, by more the rarer such ghosts are.
 */
#include "policy/flat.h"

enum { ONCE, OFTEN };

/* Ghosts of @kind that still count: together with its list, the room of the cache. */
static uint32_t live_ghosts(const struct policy *p, unsigned kind)
{
	const uint32_t all = p->count[ONCE] + p->count[OFTEN];
	const uint32_t room = kind == ONCE ? all - p->count[ONCE] : all;

	return p->gone[kind] < room ? p->gone[kind] : room;
}

static void arc_inserted(struct policy *p, pol_id_t id, const struct ghost *ghost)
{
	const uint32_t once = live_ghosts(p, ONCE), often = live_ghosts(p, OFTEN);
	const uint32_t all = p->count[ONCE] + p->count[OFTEN];
	uint32_t step;

	if (!ghost || flat_ghost_age(p, ghost) >= (ghost->node == ONCE ? once : often)) {
		flat_push(p, ONCE, id);
		return;
	}
	if (ghost->node == ONCE) {
		step = often > once ? often / once : 1;
		p->target = p->target + step < all ? p->target + step : all;
	} else {
		step = once > often ? once / often : 1;
		p->target = p->target > step ? p->target - step : 0;
	}
	flat_push(p, OFTEN, id);
}

static void arc_used(struct policy *p, pol_id_t id)
{
	flat_del(p, id);
	flat_push(p, OFTEN, id);
}

static pol_id_t arc_pick(struct policy *p)
{
	const unsigned from = p->count[ONCE] && (p->count[ONCE] > p->target || !p->count[OFTEN]) ? ONCE : OFTEN;
	pol_id_t id = flat_oldest(p, from);

	if (id) {
		flat_del(p, id);
		flat_ghost(p, id, from);
	}
	return id;
}

static const struct flat_rule arc_rule = { .inserted = arc_inserted, .used = arc_used, .pick = arc_pick };

static int arc_create(const struct policy_config *cfg, struct policy **ret_p)
{
	return flat_create(cfg, &arc_rule, ret_p);
}

const struct policy_ops policy_arc = {
	.name = "arc",
	.summary = "ARC: recency against frequency, balanced by ghosts (flat: for comparison only)",
	.create = arc_create,
	FLAT_OPS,
};
