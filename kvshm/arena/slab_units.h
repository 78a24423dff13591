/* SPDX-License-Identifier: Apache-2.0 */
/*
 * slab_units.h - which 2 MiB units of the arena are free: runs inside one extent, next fit
 *
 * Unit i is arena offset i * 2 MiB.  Private to one thread.
 */
#ifndef KVSHM_ARENA_SLAB_UNITS_H
#define KVSHM_ARENA_SLAB_UNITS_H

#include <stdbool.h>
#include <stdint.h>

struct unit_range {
	uint32_t first, end;
};

struct unit_map {
	uint64_t *is_free;		/* a bit a unit */
	uint32_t nr_units;		/* bits there are; units between ranges are never free */
	struct unit_range *range;	/* extents, ascending */
	uint32_t nr_ranges;
	uint32_t nr_free;
	uint32_t cursor;		/* where the last search ended */
	uint32_t no_run;		/* no run of so many units is free */
};

/* Return: 0, -ENOMEM, -EINVAL overlaps or is not behind the last range. */
int units_add(struct unit_map *u, uint32_t first, uint32_t nr);

/* Take @nr units in a row, searching on from the last ones.  Return: 0, -ENOSPC. */
int units_take(struct unit_map *u, uint32_t nr, uint32_t *ret_first);

/* Take exactly these.  Return: false unless all are free and in one extent. */
bool units_claim(struct unit_map *u, uint32_t first, uint32_t nr);

void units_put(struct unit_map *u, uint32_t first, uint32_t nr);

/* Longest run of free units. */
uint32_t units_largest_run(const struct unit_map *u);

/* The range that holds @unit, or NULL. */
const struct unit_range *units_range_of(const struct unit_map *u, uint32_t unit);

void units_fini(struct unit_map *u);

#endif
