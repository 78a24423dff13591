/* SPDX-License-Identifier: Apache-2.0 */
/*
 * ntcopy.h - non-temporal copy into memory that others read next
 *
 * Streaming stores do not pull the destination into the cache and do not push out what is there.  They
 * are weakly ordered: without the fence (NT-1) another core may see the word that publishes a block before
 * its payload, which no sanitizer reports.
 */
#ifndef KVSHM_BASE_NTCOPY_H
#define KVSHM_BASE_NTCOPY_H

#include <stddef.h>

/* Any alignment, any length, no overlap.  Fenced: a later store of the state word is ordered behind. */
void ntcopy(void *dst, const void *src, size_t len);

/* The same without the fence, for many pieces; the caller ends them with one ntcopy_fence(). */
void ntcopy_unfenced(void *dst, const void *src, size_t len);

/* NT-1: all streaming stores of this thread before any later store; pairs with index_find() (BK-1). */
void ntcopy_fence(void);

#endif
