/* SPDX-License-Identifier: Apache-2.0 */
/*
 * pool_room.h - which parts of the staging pool are taken
 *
 * Blocks of any lengths, in units of 16 KiB: a bit a unit.  Blocks of a model are of one length mostly, so that what one
 * leaves fits the next.
 */
#ifndef GPU_GPUD_POOL_ROOM_H
#define GPU_GPUD_POOL_ROOM_H

#include <stddef.h>
#include <stdint.h>

#define POOL_UNIT 16384u

struct pool_room {
	uint64_t *map;			/* set: taken */
	size_t nr_units;
	size_t next;			/* where the search begins */
	uint64_t free_bytes;
};

/* @len: what is left over of it behind the last unit is not used.  Return: 0, -EINVAL not one unit, -ENOMEM. */
int pool_room_init(struct pool_room *r, uint64_t len);
void pool_room_fini(struct pool_room *r);

/* What @len bytes take. */
uint64_t pool_room_size(uint32_t len);

/* @len > 0.  Return: 0 with @ret_off; -ENOSPC nowhere so many in a row. */
int pool_room_take(struct pool_room *r, uint32_t len, uint64_t *ret_off);
void pool_room_give(struct pool_room *r, uint64_t off, uint32_t len);

#endif
