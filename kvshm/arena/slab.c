/* SPDX-License-Identifier: Apache-2.0 */
/*
 * slab.c - places for blocks
 *
 *   extent  | unit | unit | unit | unit | unit | unit | ...		2 MiB each
 *           |  slab of class A   | slab of B   | free |
 *           | slot| slot| ...| tail
 *
 * A get takes the lowest free slot of the slab at the head of its class's list, so consecutive gets
 * are neighbours; a put leaves a slab at the tail, or frees its units when it was the last.  Both cost a
 * few words; only a new slab searches the bitmap of units.
 *
 * Nothing of this is shared or kept.  After a restart the descriptors are the truth: a slab's beginning
 * follows from the place and class of any block in it (slab_class.h), so slab_claim() finds the same
 * slabs again, whatever the order.
 */
#include "kvshm/arena/slab.h"

#include <assert.h>
#include <errno.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "kvshm/arena/slab_types.h"

int slab_create(struct slab_alloc **ret_s)
{
	struct slab_alloc *s = calloc(1, sizeof(*s));
	unsigned c;

	if (!s)
		return -ENOMEM;
	for (c = 0; c < SLAB_CLASSES; c++)
		s->class[c] = (struct slab_class){
			.shape = slab_shape(c),
			.head = NO_SLAB,
			.tail = NO_SLAB,
		};
	*ret_s = s;
	return 0;
}

struct slab_alloc *slab_destroy(struct slab_alloc *s)
{
	if (!s)
		return NULL;
	units_fini(&s->units);
	free(s->slab);
	free(s->first);
	free(s);
	return NULL;
}

int slab_add_range(struct slab_alloc *s, uint64_t base, uint64_t len)
{
	uint64_t i, end, old = s->units.nr_units;
	struct slab *slab;
	uint32_t *first;

	if (base % HUGE_LEN != 0 || len % HUGE_LEN != 0 || len == 0 ||
	    __builtin_add_overflow(base, len, &end) || end / HUGE_LEN >= NO_SLAB || base / HUGE_LEN < old)
		return -EINVAL;
	end /= HUGE_LEN;
	slab = realloc(s->slab, end * sizeof(*slab));
	if (!slab)
		return -ENOMEM;
	s->slab = slab;
	first = realloc(s->first, end * sizeof(*first));
	if (!first)
		return -ENOMEM;
	s->first = first;
	for (i = old; i < end; i++)
		first[i] = NO_SLAB;
	return units_add(&s->units, (uint32_t)(base / HUGE_LEN), (uint32_t)(len / HUGE_LEN));
}

static void list_link(struct slab_alloc *s, struct slab_class *c, uint32_t id)
{
	struct slab *slab = &s->slab[id];

	slab->prev = c->tail;
	slab->next = NO_SLAB;
	if (slab->prev == NO_SLAB)
		c->head = id;
	else
		s->slab[slab->prev].next = id;
	c->tail = id;
}

static void list_unlink(struct slab_alloc *s, struct slab_class *c, uint32_t id)
{
	struct slab *slab = &s->slab[id];

	if (slab->prev == NO_SLAB)
		c->head = slab->next;
	else
		s->slab[slab->prev].next = slab->next;
	if (slab->next == NO_SLAB)
		c->tail = slab->prev;
	else
		s->slab[slab->next].prev = slab->prev;
}

/* The units [id, id + units) are taken: make them an empty slab, in the list. */
static void slab_open(struct slab_alloc *s, unsigned class, uint32_t id)
{
	struct slab_class *c = &s->class[class];
	uint32_t i;

	s->slab[id] = (struct slab){ .class = class };
	for (i = 0; i < c->shape.units; i++)
		s->first[id + i] = id;
	c->nr_slabs++;
	list_link(s, c, id);
}

static void slab_close(struct slab_alloc *s, uint32_t id)
{
	struct slab_class *c = &s->class[s->slab[id].class];
	uint32_t i;

	list_unlink(s, c, id);
	for (i = 0; i < c->shape.units; i++)
		s->first[id + i] = NO_SLAB;
	c->nr_slabs--;
	units_put(&s->units, id, c->shape.units);
}

static void slot_take(struct slab_alloc *s, uint32_t id, uint32_t slot)
{
	struct slab *slab = &s->slab[id];
	struct slab_class *c = &s->class[slab->class];

	bitmap_set(slab->is_taken, slot);
	if (++slab->nr_taken == c->shape.slots)
		list_unlink(s, c, id);
	c->nr_taken++;
	s->used_len += c->shape.block_len;
}

int slab_get(struct slab_alloc *s, uint32_t length, uint64_t *ret_offset)
{
	struct slab_class *c;
	unsigned class;
	uint32_t id, slot;
	int ret;

	if (slab_class_len(length) == 0)
		return -EINVAL;
	class = slab_class(length);
	c = &s->class[class];
	if (c->head == NO_SLAB) {
		ret = units_take(&s->units, c->shape.units, &id);
		if (ret < 0)
			return ret;
		slab_open(s, class, id);
	}
	id = c->head;
	slot = (uint32_t)bitmap_next_clear(s->slab[id].is_taken, 0, c->shape.slots);
	slot_take(s, id, slot);
	*ret_offset = (uint64_t)id * HUGE_LEN + slot * c->shape.block_len;
	return 0;
}

void slab_put(struct slab_alloc *s, uint64_t offset, uint32_t length)
{
	struct slab_class *c = &s->class[slab_class(length)];
	uint64_t inside;
	uint32_t id, slot;

	assert(offset / HUGE_LEN < s->units.nr_units);
	id = s->first[offset / HUGE_LEN];
	assert(id != NO_SLAB && s->slab[id].class == slab_class(length));
	inside = offset - (uint64_t)id * HUGE_LEN;
	slot = (uint32_t)(inside / c->shape.block_len);
	assert(inside % c->shape.block_len == 0 && slot < c->shape.slots &&
	       bitmap_test(s->slab[id].is_taken, slot));
	bitmap_clear(s->slab[id].is_taken, slot);
	if (s->slab[id].nr_taken-- == c->shape.slots)
		list_link(s, c, id);
	c->nr_taken--;
	s->used_len -= c->shape.block_len;
	if (s->slab[id].nr_taken == 0)
		slab_close(s, id);
}

/* Where the slab of a block at @offset begins: the one slot number that leads to a whole unit. */
static bool derive_slab(const struct slab_shape *shape, uint64_t offset, uint32_t *ret_id,
			uint32_t *ret_slot)
{
	uint64_t begin;
	uint32_t slot;

	if (shape->units == 1) {
		slot = (uint32_t)(offset % HUGE_LEN / shape->block_len);
		begin = offset - slot * shape->block_len;
		if (slot >= shape->slots || begin % HUGE_LEN != 0)
			return false;
	} else {
		for (slot = 0, begin = offset; begin % HUGE_LEN != 0; begin -= shape->block_len)
			if (++slot >= shape->slots || begin < shape->block_len)
				return false;
	}
	*ret_id = (uint32_t)(begin / HUGE_LEN);
	*ret_slot = slot;
	return true;
}

int slab_claim(struct slab_alloc *s, uint64_t offset, uint32_t length)
{
	uint32_t id, slot;
	unsigned class;

	if (slab_class_len(length) == 0 || offset / HUGE_LEN >= s->units.nr_units)
		return -EINVAL;
	class = slab_class(length);
	if (!derive_slab(&s->class[class].shape, offset, &id, &slot))
		return -EINVAL;
	if (s->first[id] != id) {
		if (s->first[id] != NO_SLAB)
			return -EEXIST;
		if (!units_range_of(&s->units, id))
			return -EINVAL;
		if (!units_claim(&s->units, id, s->class[class].shape.units))
			return -EEXIST;
		slab_open(s, class, id);
	} else if (s->slab[id].class != class || bitmap_test(s->slab[id].is_taken, slot)) {
		return -EEXIST;
	}
	slot_take(s, id, slot);
	return 0;
}

bool slab_owns(const struct slab_alloc *s, uint64_t offset)
{
	return offset / HUGE_LEN < s->units.nr_units && units_range_of(&s->units, (uint32_t)(offset / HUGE_LEN));
}

static uint64_t capacity(const struct slab_alloc *s)
{
	uint64_t units = 0;
	uint32_t i;

	for (i = 0; i < s->units.nr_ranges; i++)
		units += s->units.range[i].end - s->units.range[i].first;
	return units * HUGE_LEN;
}

uint64_t slab_free_len(const struct slab_alloc *s)
{
	return capacity(s) - s->used_len;
}

void slab_stats(const struct slab_alloc *s, struct slab_stats *ret)
{
	*ret = (struct slab_stats){
		.capacity = capacity(s),
		.used = s->used_len,
		.free_units = s->units.nr_free * HUGE_LEN,
		.largest_free_run = units_largest_run(&s->units) * HUGE_LEN,
	};
}
