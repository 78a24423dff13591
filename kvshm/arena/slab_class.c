/* SPDX-License-Identifier: Apache-2.0 */
#include "kvshm/arena/slab_class.h"

#include <assert.h>

#define SMALL_CLASSES 8u		/* 4, 8, ... 32 KiB */
#define STEPS 8u			/* classes of a doubling */

/* Pages of the blocks of a class: 1..8, then 9..16 times a power of two. */
static uint32_t class_pages(unsigned class)
{
	if (class < SMALL_CLASSES)
		return class + 1;
	return (STEPS + 1 + (class - SMALL_CLASSES) % STEPS) << (class - SMALL_CLASSES) / STEPS;
}

/* Number of the class, @length 1 .. KVSHM_BLOCK_MAX. */
unsigned slab_class(uint32_t length)
{
	uint32_t last = (length - 1) / KVSHM_PAGE;	/* page of the last byte */
	unsigned shift;

	assert(length > 0 && length <= KVSHM_BLOCK_MAX);
	if (last < SMALL_CLASSES)
		return last;
	shift = 31 - (unsigned)__builtin_clz(last) - 3;
	return SMALL_CLASSES + shift * STEPS + (last >> shift) - STEPS;
}

uint32_t slab_class_len(uint32_t length)
{
	return length > 0 && length <= KVSHM_BLOCK_MAX ? class_pages(slab_class(length)) * KVSHM_PAGE : 0;
}

unsigned slab_nr_classes(void)
{
	return SLAB_CLASSES;
}

/* Up to 32 KiB the rounding alone may be more than an eighth: one unit, all slots that fit. */
static int is_shape_good(unsigned class, uint32_t pages, uint32_t units, uint32_t slots)
{
	if (class < SMALL_CLASSES)
		return 1;
	return 8 * slots * class_pages(class - 1) >= 7 * units * UNIT_PAGES &&
	       (slots == 1 || slots <= UNIT_PAGES >> __builtin_ctz(pages));
}

struct slab_shape slab_shape(unsigned class)
{
	uint32_t pages = class_pages(class), units = 1;

	/* Ends: pages / 512 units, or the odd part of pages, hold slots without a tail. */
	while (!is_shape_good(class, pages, units, units * UNIT_PAGES / pages))
		units++;
	return (struct slab_shape){
		.block_len = (uint64_t)pages * KVSHM_PAGE,
		.units = units,
		.slots = units * UNIT_PAGES / pages,
	};
}
