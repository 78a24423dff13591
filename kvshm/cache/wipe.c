/* SPDX-License-Identifier: Apache-2.0 */
/*
 * wipe.c - bytes of freed blocks, overwritten for those who ask for it
 *
 * always: as soon as a block is free.  After the descriptor says FREE and before the place is handed out
 * again: a block that is EVICTING when we die is published again, and must have its bytes.
 *
 * on-namespace-change: when a place is granted in which another namespace may have left something.  Kept
 * for each 2 MiB unit: nobody yet, one namespace, or several; of a former daemon's units nothing is known.
 */
#include <string.h>

#include "kvshm/arena/backing.h"
#include "kvshm/cache/cache_priv.h"

#define UNIT_CLEAN 0u
#define UNIT_MIXED 0xffffu

/* All of the slot: a block may be published shorter than it was granted. */
static void wipe(struct cache *c, uint64_t place, uint32_t length)
{
	memset(arena_ptr(c->arena, place), 0, slab_class_len(length));
}

void wipe_freed(struct cache *c, uint64_t place, uint32_t length)
{
	if (c->cfg.wipe == CACHE_WIPE_ALWAYS)
		wipe(c, place, length);
}

/* @ns leaves bytes there from now on.  Return: did another do so before? */
static bool mark_units(struct cache *c, uint64_t place, uint32_t length, uint16_t ns)
{
	uint64_t unit, last = (place + slab_class_len(length) - 1) / HUGE_LEN;
	bool was_others = false;

	for (unit = place / HUGE_LEN; unit <= last; unit++) {
		uint16_t *tag = &c->unit_ns[unit];

		was_others |= *tag != UNIT_CLEAN && *tag != ns;
		*tag = *tag == UNIT_CLEAN || *tag == ns ? ns : UNIT_MIXED;
	}
	return was_others;
}

void wipe_granted(struct cache *c, uint64_t place, uint32_t length, uint16_t ns)
{
	if (c->cfg.wipe == CACHE_WIPE_NS_CHANGE && mark_units(c, place, length, ns))
		wipe(c, place, length);
}

void wipe_overwritten(struct cache *c, uint64_t place, uint32_t length, uint16_t ns)
{
	if (c->cfg.wipe == CACHE_WIPE_NS_CHANGE)
		mark_units(c, place, length, ns);
}

void wipe_distrust(struct cache *c)
{
	if (c->nr_units)	/* a directory without extents has no such array */
		memset(c->unit_ns, 0xff, c->nr_units * sizeof(*c->unit_ns));
}
