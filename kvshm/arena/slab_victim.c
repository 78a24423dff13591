/* SPDX-License-Identifier: Apache-2.0 */
/*
 * slab_victim.c - which slabs to empty so that another class gets its units
 *
 * A window of whole slabs and free units inside one extent, at least as long as a slab of the wanted
 * class, that costs the fewest bytes to copy.  Its blocks must find room in other slabs of their own
 * classes, and slabs of the wanted class are left alone: emptying them wins nothing.
 * Linear in the units of the arena; called when a class is out of room, not for each block.
 */
#include <stdbool.h>

#include "kvshm/arena/slab_types.h"

struct window {
	uint64_t cost;			/* bytes to copy */
	uint32_t first, end;		/* units */
	unsigned nr_blocks;
};

/* Free slots of a class outside its slabs in the window, against the blocks in it. */
static bool has_room(const struct slab_alloc *s, unsigned class, const struct window *w)
{
	const struct slab_class *c = &s->class[class];
	uint64_t nr_free = c->nr_slabs * (uint64_t)c->shape.slots - c->nr_taken, nr_move = 0;
	uint32_t unit, id;

	for (unit = w->first; unit < w->end; unit++) {
		id = s->first[unit];
		if (id != unit || s->slab[id].class != class)
			continue;
		nr_move += s->slab[id].nr_taken;
		nr_free -= c->shape.slots - s->slab[id].nr_taken;
	}
	return nr_move <= nr_free;
}

static bool is_movable(const struct slab_alloc *s, const struct window *w)
{
	uint32_t unit;

	for (unit = w->first; unit < w->end; unit++)
		if (s->first[unit] == unit && !has_room(s, s->slab[unit].class, w))
			return false;
	return true;
}

/* Whole slabs and free units from @first on, until there are @nr units; false if it cannot be. */
static bool open_window(const struct slab_alloc *s, unsigned class, uint32_t first, uint32_t limit,
			uint64_t cost_max, struct window *ret)
{
	uint32_t nr = s->class[class].shape.units;
	const struct slab_class *c;
	struct window w = { .first = first, .end = first };

	while (w.end - w.first < nr) {
		if (w.end >= limit)
			return false;
		if (s->first[w.end] == NO_SLAB) {
			w.end++;
			continue;
		}
		c = &s->class[s->slab[w.end].class];
		w.cost += s->slab[w.end].nr_taken * c->shape.block_len;
		w.nr_blocks += s->slab[w.end].nr_taken;
		if (s->slab[w.end].class == class || w.cost >= cost_max)
			return false;
		w.end += c->shape.units;
	}
	*ret = w;
	return w.nr_blocks > 0;
}

unsigned slab_victim(const struct slab_alloc *s, unsigned class_wanted, uint64_t *ret_offset,
		     uint64_t *ret_len)
{
	struct window w, best = { .cost = UINT64_MAX };
	const struct unit_range *r;
	uint32_t unit;

	for (r = s->units.range; r < s->units.range + s->units.nr_ranges; r++)
		for (unit = r->first; unit < r->end; unit++) {
			if (s->first[unit] != unit && s->first[unit] != NO_SLAB)
				continue;
			if (open_window(s, class_wanted, unit, r->end, best.cost, &w) && is_movable(s, &w))
				best = w;
		}
	if (best.nr_blocks == 0)
		return 0;
	*ret_offset = best.first * HUGE_LEN;
	*ret_len = (best.end - best.first) * HUGE_LEN;
	return best.nr_blocks;
}
