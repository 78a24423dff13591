/* SPDX-License-Identifier: Apache-2.0 */
/*
 * slab_units.c - bitmap of free units
 *
 * Next fit: consecutive slabs are neighbours, and a nearly full arena is not searched from its start each
 * time.  A search that failed is remembered until units come back, so that a full arena answers at once.
 */
#include "kvshm/arena/slab_units.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "kvshm/base/bitmap.h"
#include "kvshm/base/compiler.h"

int units_add(struct unit_map *u, uint32_t first, uint32_t nr)
{
	size_t old = BITMAP_WORDS(u->nr_units), now = BITMAP_WORDS((size_t)first + nr);
	struct unit_range *range;
	uint64_t *is_free;

	if (nr == 0 || first + nr < first || first < u->nr_units)
		return -EINVAL;
	range = realloc(u->range, (u->nr_ranges + 1) * sizeof(*range));
	if (!range)
		return -ENOMEM;
	u->range = range;
	is_free = realloc(u->is_free, now * sizeof(*is_free));
	if (!is_free)
		return -ENOMEM;
	memset(is_free + old, 0, (now - old) * sizeof(*is_free));
	bitmap_set_range(is_free, first, (size_t)first + nr);
	u->is_free = is_free;
	u->range[u->nr_ranges++] = (struct unit_range){ .first = first, .end = first + nr };
	u->nr_units = first + nr;
	u->nr_free += nr;
	u->no_run = UINT32_MAX;
	return 0;
}

const struct unit_range *units_range_of(const struct unit_map *u, uint32_t unit)
{
	uint32_t low = 0, high = u->nr_ranges, mid;

	while (low < high) {
		mid = low + (high - low) / 2;
		if (unit >= u->range[mid].end)
			low = mid + 1;
		else
			high = mid;
	}
	return low < u->nr_ranges && unit >= u->range[low].first ? &u->range[low] : NULL;
}

/* First run of @nr free units inside [from, end) and inside one range; false if none. */
static bool find_run(const struct unit_map *u, uint32_t nr, uint32_t from, uint32_t end, uint32_t *ret)
{
	size_t first, stop, limit;
	uint32_t i;

	for (i = 0; i < u->nr_ranges; i++) {
		first = max_of(from, u->range[i].first);
		limit = min_of(end, u->range[i].end);
		while (first + nr <= limit) {
			first = bitmap_next_set(u->is_free, first, limit);
			if (first + nr > limit)
				break;
			stop = bitmap_next_clear(u->is_free, first, first + nr);
			if (stop == first + nr) {
				*ret = (uint32_t)first;
				return true;
			}
			first = stop;
		}
	}
	return false;
}

static void take(struct unit_map *u, uint32_t first, uint32_t nr)
{
	bitmap_clear_range(u->is_free, first, (size_t)first + nr);
	u->nr_free -= nr;
}

int units_take(struct unit_map *u, uint32_t nr, uint32_t *ret_first)
{
	uint32_t first;

	if (nr > u->nr_free || nr >= u->no_run)
		return -ENOSPC;
	if (!find_run(u, nr, u->cursor, u->nr_units, &first) &&
	    !find_run(u, nr, 0, min_of(u->cursor + nr - 1, u->nr_units), &first)) {
		u->no_run = nr;
		return -ENOSPC;
	}
	take(u, first, nr);
	u->cursor = first + nr;
	*ret_first = first;
	return 0;
}

bool units_claim(struct unit_map *u, uint32_t first, uint32_t nr)
{
	const struct unit_range *r = units_range_of(u, first);

	if (!r || nr > r->end - first)
		return false;
	if (bitmap_next_clear(u->is_free, first, (size_t)first + nr) != (size_t)first + nr)
		return false;
	take(u, first, nr);
	return true;
}

void units_put(struct unit_map *u, uint32_t first, uint32_t nr)
{
	assert(bitmap_next_set(u->is_free, first, (size_t)first + nr) == (size_t)first + nr);
	bitmap_set_range(u->is_free, first, (size_t)first + nr);
	/* A full arena is searched from where it has room now, not all around. */
	if (u->nr_free == 0)
		u->cursor = first;
	u->nr_free += nr;
	u->no_run = UINT32_MAX;
}

uint32_t units_largest_run(const struct unit_map *u)
{
	size_t first, stop, best = 0;
	uint32_t i;

	for (i = 0; i < u->nr_ranges; i++) {
		for (first = u->range[i].first; first < u->range[i].end; first = stop) {
			first = bitmap_next_set(u->is_free, first, u->range[i].end);
			stop = bitmap_next_clear(u->is_free, first, u->range[i].end);
			best = max_of(best, stop - first);
		}
	}
	return (uint32_t)best;
}

void units_fini(struct unit_map *u)
{
	free(u->is_free);
	free(u->range);
	*u = (struct unit_map){ 0 };
}
