/* SPDX-License-Identifier: Apache-2.0 */
/*
 * id_map.h - which block ids are free
 *
 * Resolve guesses the next id (index/resolve.c), so the blocks of one commit should be neighbours:
 * ids are taken in runs, next-fit, the longest of a bounded search when none is long enough.
 * Owned by the writer.
 */
#ifndef KVSHM_CACHE_ID_MAP_H
#define KVSHM_CACHE_ID_MAP_H

#include <stdbool.h>
#include <stdint.h>

struct id_map {
	uint64_t *free;			/* bit = id; bit 0 is never set */
	uint32_t max_ids, nr_free;
	uint32_t cursor;		/* next-fit */
};

/* Ids 1..@max_ids, all free.  Return: 0, -ENOMEM. */
int id_map_init(struct id_map *m, uint32_t max_ids);
void id_map_fini(struct id_map *m);

/* Take up to @want ascending neighbours.  Return: how many from @ret_first on, 0: none free. */
uint32_t id_map_take(struct id_map *m, uint32_t want, uint32_t *ret_first);

/* Take this one, which is free. */
void id_map_claim(struct id_map *m, uint32_t id);

void id_map_put(struct id_map *m, uint32_t first, uint32_t nr);
bool id_map_is_free(const struct id_map *m, uint32_t id);

#endif
