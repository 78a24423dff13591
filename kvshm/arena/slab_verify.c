/* SPDX-License-Identifier: Apache-2.0 */
/* slab_verify.c - the allocator's books against each other: units, slabs, slots, lists, sums */
#include <errno.h>
#include <stdbool.h>

#include "kvshm/arena/slab_types.h"

struct tally {
	uint64_t used_len, nr_units, nr_taken[SLAB_CLASSES];
	uint32_t nr_slabs[SLAB_CLASSES], nr_open[SLAB_CLASSES];
};

/* The slab that begins at @id: whole, in one extent, its counts right. */
static bool count_slab(const struct slab_alloc *s, uint32_t id, struct tally *t)
{
	const struct slab *slab = &s->slab[id];
	const struct unit_range *r = units_range_of(&s->units, id);
	const struct slab_shape *shape;
	uint32_t i;

	if (!r || slab->class >= SLAB_CLASSES)
		return false;
	shape = &s->class[slab->class].shape;
	if (shape->units > r->end - id || slab->nr_taken == 0 || slab->nr_taken > shape->slots ||
	    slab->nr_taken != bitmap_count(slab->is_taken, SLAB_SLOTS_MAX) ||
	    slab->nr_taken != bitmap_count(slab->is_taken, shape->slots))
		return false;
	for (i = 0; i < shape->units; i++)
		if (s->first[id + i] != id || bitmap_test(s->units.is_free, id + i))
			return false;
	t->nr_slabs[slab->class]++;
	t->nr_open[slab->class] += slab->nr_taken < shape->slots;
	t->nr_taken[slab->class] += slab->nr_taken;
	t->nr_units += shape->units;
	t->used_len += slab->nr_taken * shape->block_len;
	return true;
}

/* The list of a class holds its slabs with a free slot, each once. */
static bool is_list_good(const struct slab_alloc *s, unsigned class, uint32_t nr_open)
{
	const struct slab_class *c = &s->class[class];
	uint32_t id, prev = NO_SLAB, n = 0;

	for (id = c->head; id != NO_SLAB; prev = id, id = s->slab[id].next) {
		if (n++ == nr_open || id >= s->units.nr_units || s->first[id] != id ||
		    s->slab[id].class != class || s->slab[id].prev != prev ||
		    s->slab[id].nr_taken >= c->shape.slots)
			return false;
	}
	return n == nr_open && c->tail == prev;
}

int slab_verify(const struct slab_alloc *s)
{
	struct tally t = { 0 };
	uint64_t nr_free = 0;
	uint32_t i, unit;
	unsigned c;

	for (i = 0; i < s->units.nr_ranges; i++)
		for (unit = s->units.range[i].first; unit < s->units.range[i].end; unit++) {
			if (s->first[unit] == unit && !count_slab(s, unit, &t))
				return -EUCLEAN;
			if ((s->first[unit] == NO_SLAB) != bitmap_test(s->units.is_free, unit))
				return -EUCLEAN;
			nr_free += s->first[unit] == NO_SLAB;
			t.nr_units += s->first[unit] == NO_SLAB;
		}
	for (i = 0; i < s->units.nr_ranges; i++)
		t.nr_units -= s->units.range[i].end - s->units.range[i].first;
	if (t.nr_units != 0 || nr_free != s->units.nr_free || t.used_len != s->used_len)
		return -EUCLEAN;
	for (c = 0; c < SLAB_CLASSES; c++)
		if (t.nr_slabs[c] != s->class[c].nr_slabs || t.nr_taken[c] != s->class[c].nr_taken ||
		    !is_list_good(s, c, t.nr_open[c]))
			return -EUCLEAN;
	return 0;
}
