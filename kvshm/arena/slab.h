/* SPDX-License-Identifier: Apache-2.0 */
/*
 * slab.h - the writer's allocator: block places in size classes
 *
 * Private memory of the writer; rebuilt from the descriptors after a restart.  Extents are cut into
 * 2 MiB units; a slab is a run of units that holds blocks of one class.  A request of 32 KiB and
 * more wastes at most 12.5 %, the class's rounding and the slab's tail together.
 */
#ifndef KVSHM_ARENA_SLAB_H
#define KVSHM_ARENA_SLAB_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <kvshm/abi.h>

struct slab_alloc;

/* Bytes that a block of @length takes: the size of its class, a multiple of 4 KiB; 0 if too long. */
uint32_t slab_class_len(uint32_t length);

/* Number of the size class of @length, 0 .. slab_nr_classes() - 1. */
unsigned slab_class(uint32_t length);
unsigned slab_nr_classes(void);

int slab_create(struct slab_alloc **ret_s);
struct slab_alloc *slab_destroy(struct slab_alloc *s);

/* Add an extent's range of arena offsets.  Return: 0, -ENOMEM, -EINVAL not 2 MiB aligned. */
int slab_add_range(struct slab_alloc *s, uint64_t base, uint64_t len);

/**
 * slab_get() - one place for a block of @length bytes
 * Neighbouring calls of one class give ascending neighbouring places while a slab lasts.
 * Return: 0; -ENOSPC: no slot and no run of units free.
 */
int slab_get(struct slab_alloc *s, uint32_t length, uint64_t *ret_offset);

/* Give a place back; an emptied slab's units become free for every class. */
void slab_put(struct slab_alloc *s, uint64_t offset, uint32_t length);

/**
 * slab_claim() - after a restart: take exactly this place.  Claims come in ascending offsets.
 * Return: 0, -EEXIST taken, -EINVAL not a place of that class.
 */
int slab_claim(struct slab_alloc *s, uint64_t offset, uint32_t length);

/* Does @offset lie in a range that was added? */
bool slab_owns(const struct slab_alloc *s, uint64_t offset);

/* Bytes of all ranges less those of the places that were taken. */
uint64_t slab_free_len(const struct slab_alloc *s);

struct slab_stats {
	uint64_t capacity, used, free_units, largest_free_run;	/* bytes; used = sum of class lengths */
};
void slab_stats(const struct slab_alloc *s, struct slab_stats *ret);

/**
 * slab_victim() - the slab that is cheapest to empty, for relocation
 * @class_wanted: who needs room; @ret_offset/@ret_len: its range
 * Return: number of blocks in it, 0: none.
 */
unsigned slab_victim(const struct slab_alloc *s, unsigned class_wanted, uint64_t *ret_offset,
		     uint64_t *ret_len);

/* Check the allocator's own books; Return: 0 or -EUCLEAN. */
int slab_verify(const struct slab_alloc *s);

#endif
