/* SPDX-License-Identifier: Apache-2.0 */
/* pool_room.c - which parts of the staging pool are taken */
#include "gpu/gpud/pool_room.h"

#include <errno.h>
#include <stdlib.h>

#include "kvshm/base/bitmap.h"
#include "kvshm/base/compiler.h"

int pool_room_init(struct pool_room *r, uint64_t len)
{
	size_t nr = len / POOL_UNIT;
	uint64_t *map = nr ? calloc(BITMAP_WORDS(nr), sizeof(*map)) : NULL;

	if (!map)
		return nr ? -ENOMEM : -EINVAL;
	*r = (struct pool_room){ .map = map, .nr_units = nr, .free_bytes = (uint64_t)nr * POOL_UNIT };
	return 0;
}

void pool_room_fini(struct pool_room *r)
{
	free(r->map);
	*r = (struct pool_room){ 0 };
}

uint64_t pool_room_size(uint32_t len)
{
	return round_up((uint64_t)len, POOL_UNIT);
}

/* First unit of @nr free ones in a row, from @from on; nr_units: there is none. */
static size_t find_run(const struct pool_room *r, size_t from, size_t nr)
{
	size_t end;

	for (;;) {
		from = bitmap_next_clear(r->map, from, r->nr_units);
		if (nr > r->nr_units - from)
			return r->nr_units;
		end = bitmap_next_set(r->map, from, from + nr);
		if (end == from + nr)
			return from;
		from = end;
	}
}

int pool_room_take(struct pool_room *r, uint32_t len, uint64_t *ret_off)
{
	size_t nr = pool_room_size(len) / POOL_UNIT, at;

	/* the usual case of a pool that is full: nothing to look for */
	if (pool_room_size(len) > r->free_bytes)
		return -ENOSPC;
	at = find_run(r, r->next, nr);
	if (at == r->nr_units)
		at = find_run(r, 0, nr);
	if (at == r->nr_units)
		return -ENOSPC;
	bitmap_set_range(r->map, at, at + nr);
	r->next = at + nr;
	r->free_bytes -= pool_room_size(len);
	*ret_off = (uint64_t)at * POOL_UNIT;
	return 0;
}

void pool_room_give(struct pool_room *r, uint64_t off, uint32_t len)
{
	size_t at = off / POOL_UNIT;

	bitmap_clear_range(r->map, at, at + pool_room_size(len) / POOL_UNIT);
	r->free_bytes += pool_room_size(len);
	/* who had it evicted wants such a place */
	r->next = at;
}
