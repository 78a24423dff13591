/* SPDX-License-Identifier: Apache-2.0 */
/*
 * table.h - a zeroed array that is there: no page fault on a touch or an eviction
 *
 * On huge pages where the kernel has them, as each access is to another place.
 */
#ifndef POLICY_TABLE_H
#define POLICY_TABLE_H

#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#define TABLE_HUGE (2ul << 20)

/* Return: NULL without memory; free() ends it. */
static inline void *table_alloc(size_t nr, size_t size)
{
	size_t len;
	void *t;

	if (__builtin_mul_overflow(nr, size, &len))
		return NULL;
	if (len < TABLE_HUGE)
		return calloc(nr, size);
	if (posix_memalign(&t, TABLE_HUGE, len))
		return NULL;
	/* Only a wish. */
	(void)madvise(t, len, MADV_HUGEPAGE);
	return memset(t, 0, len);
}

#endif
