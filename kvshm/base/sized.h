/* SPDX-License-Identifier: Apache-2.0 */
/*
 * sized.h - structs of the public API that say their size in their first member, size_t sz
 *
 * Members are only ever added at the end.  So a shorter struct is an older caller's, and what it lacks is 0, the
 * default; a longer one is that of a caller built for a newer library, and asks for what this one knows nothing of.
 */
#ifndef KVSHM_BASE_SIZED_H
#define KVSHM_BASE_SIZED_H

#include <stddef.h>

/**
 * sized_take() - a private copy of a caller's struct, of the size that this library has
 * @from: the caller's; only the bytes that its sz counts are read
 * @least: bytes that the first version had; @full where there was no other
 * @ret: @full bytes, left alone on failure
 * @full: bytes of the struct as it is now
 *
 * Return: 0 with zeroes in @ret behind what @from has; -EINVAL: @from is NULL, or of a size that no version had.
 */
int sized_take(const void *from, size_t least, void *ret, size_t full);

#endif
