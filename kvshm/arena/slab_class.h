/* SPDX-License-Identifier: Apache-2.0 */
/*
 * slab_class.h - sizes of blocks and shapes of the slabs that hold them
 *
 * Up to 32 KiB every multiple of 4 KiB is a class; above, each doubling has eight.  A slab has the
 * fewest 2 MiB units with which
 *   - the worst block of the class (one byte longer than the class below) leaves at most 1/8 of the
 *     slab unused, rounding and tail together;
 *   - the place of a block tells where its slab begins: slots <= 512 / (largest power of two in the
 *     class's pages), so the slots of a slab have different offsets modulo 2 MiB.  No alignment is
 *     needed for it, and the descriptors alone rebuild the allocator.
 */
#ifndef KVSHM_ARENA_SLAB_CLASS_H
#define KVSHM_ARENA_SLAB_CLASS_H

#include <stdint.h>

#include "kvshm/arena/backing.h"
#include "kvshm/arena/slab.h"

#define UNIT_PAGES ((unsigned)(HUGE_LEN / KVSHM_PAGE))
#define SLAB_SLOTS_MAX UNIT_PAGES
#define SLAB_UNITS_MAX (KVSHM_BLOCK_MAX / (unsigned)HUGE_LEN)
#define SLAB_CLASSES 96u

struct slab_shape {
	uint64_t block_len;		/* bytes of a slot */
	uint32_t units;			/* of 2 MiB */
	uint32_t slots;
};

/* @class: 0 .. SLAB_CLASSES - 1. */
struct slab_shape slab_shape(unsigned class);

#endif
