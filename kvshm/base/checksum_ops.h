/* SPDX-License-Identifier: Apache-2.0 */
/* checksum_ops.h - one build of XXH3 a vector unit; checksum*.c only */
#ifndef KVSHM_BASE_CHECKSUM_OPS_H
#define KVSHM_BASE_CHECKSUM_OPS_H

#include <stddef.h>
#include <stdint.h>

#include "kvshm/base/checksum.h"

struct checksum_ops {
	const char *name;
	uint64_t (*hash)(const void *p, size_t len);
	void (*init)(struct checksum_state *s);
	void (*update)(struct checksum_state *s, const void *p, size_t len);
	uint64_t (*digest)(const struct checksum_state *s);
	/* Bytes that update() would still only buffer. */
	size_t (*room)(const struct checksum_state *s);
	/*
	 * Sum and copy whole lines, unfenced; room() is 0, @dst on a line, @len >= 512.
	 * Return: bytes done; the caller passes the 1 to 256 left over to update().
	 */
	size_t (*copy_lines)(struct checksum_state *s, void *dst, const void *src, size_t len);
};

extern const struct checksum_ops checksum_ops_base;
#if defined(__x86_64__)
extern const struct checksum_ops checksum_ops_avx2;
extern const struct checksum_ops checksum_ops_avx512;
#endif

/* The one that checksum32() uses here. */
const struct checksum_ops *checksum_choose(void);

#endif
