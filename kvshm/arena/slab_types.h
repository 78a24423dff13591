/* SPDX-License-Identifier: Apache-2.0 */
/* slab_types.h - the allocator's own records; slab*.c only */
#ifndef KVSHM_ARENA_SLAB_TYPES_H
#define KVSHM_ARENA_SLAB_TYPES_H

#include "kvshm/arena/slab_class.h"
#include "kvshm/arena/slab_units.h"
#include "kvshm/base/bitmap.h"

#define NO_SLAB UINT32_MAX

/* A slab, kept at the number of its first unit.  80 bytes a unit, 40 MiB for a TiB. */
struct slab {
	uint64_t is_taken[BITMAP_WORDS(SLAB_SLOTS_MAX)];
	uint32_t nr_taken;
	uint32_t class;
	uint32_t prev, next;		/* in the class's list, while not full */
};

struct slab_class {
	struct slab_shape shape;
	uint32_t head, tail;		/* slabs with a free slot; the head is being filled */
	uint32_t nr_slabs;
	uint64_t nr_taken;
};

struct slab_alloc {
	struct unit_map units;
	struct slab *slab;		/* [units.nr_units], valid where first[i] == i */
	uint32_t *first;		/* [units.nr_units]: first unit of the slab here, or NO_SLAB */
	uint64_t used_len;
	struct slab_class class[SLAB_CLASSES];
};

#endif
