/* SPDX-License-Identifier: Apache-2.0 */
/*
 * checksum.h - payload checksums: XXH3-64 folded to 32 bits, 0 = unknown
 *
 * The sum of given bytes is the same on every machine and for every way of slicing them; which vector
 * unit computes it is chosen once.
 */
#ifndef KVSHM_BASE_CHECKSUM_H
#define KVSHM_BASE_CHECKSUM_H

#include <stddef.h>
#include <stdint.h>

/* A sum under way; caller's memory, plain data, may be copied. */
struct checksum_state {
	uint64_t opaque[72] __attribute__((aligned(64)));
};

/* Never 0: a sum that folds to 0 becomes 1. */
uint32_t checksum32(const void *p, size_t len);

void checksum_init(struct checksum_state *s);
void checksum_update(struct checksum_state *s, const void *p, size_t len);
/* The sum of all bytes so far; more may follow. */
uint32_t checksum_digest(const struct checksum_state *s);

/**
 * checksum_copy() - non-temporal copy and update in one pass
 * Each byte of @src is read once: the sum is that of the bytes written to @dst, also while the owner of
 * @src goes on changing it.  The stores are ordered by a fence before return (NT-1).
 */
void checksum_copy(struct checksum_state *s, void *dst, const void *src, size_t len);

/* All in one call.  Return: checksum32() of what was written. */
uint32_t copy_checksum32(void *dst, const void *src, size_t len);

#endif
