/* SPDX-License-Identifier: Apache-2.0 */
/*
 * checksum.c - choose the vector unit, fold, fuse with the copy
 *
 * checksum_copy() reads each line of the source once, into a register, sums that and streams it out.
 * Summing the source and then copying it would read it twice, and a client that writes in between would
 * make the sum that of other bytes than those that are kept.  What does not come in whole lines goes
 * through a small buffer.
 */
#include "kvshm/base/checksum.h"

#include <string.h>

#include "kvshm/base/atomic.h"
#include "kvshm/base/checksum_ops.h"
#include "kvshm/base/checksum_xxh3.h"
#include "kvshm/base/compiler.h"
#include "kvshm/base/ntcopy.h"

#define PIECE_LEN 8192u
#define FUSE_LEN 2048u			/* shorter ones are not worth the set-up */
#define LINE_LEN 64u

const struct checksum_ops checksum_ops_base = CHECKSUM_OPS("base");

const struct checksum_ops *checksum_choose(void)
{
#if defined(__x86_64__)
	__builtin_cpu_init();
	if (__builtin_cpu_supports("avx512f"))
		return &checksum_ops_avx512;
	if (__builtin_cpu_supports("avx2"))
		return &checksum_ops_avx2;
#endif
	return &checksum_ops_base;
}

/* Chosen at the first call; two threads that come first together choose the same. */
static const struct checksum_ops *ops(void)
{
	static const struct checksum_ops *chosen;
	const struct checksum_ops *o = READ_ONCE(chosen);

	if (unlikely(!o)) {
		o = checksum_choose();
		WRITE_ONCE(chosen, o);
	}
	return o;
}

static uint32_t fold(uint64_t h)
{
	uint32_t sum = (uint32_t)(h >> 32) ^ (uint32_t)h;

	return sum ? sum : 1;
}

uint32_t checksum32(const void *p, size_t len)
{
	return fold(ops()->hash(p, len));
}

void checksum_init(struct checksum_state *s)
{
	ops()->init(s);
}

void checksum_update(struct checksum_state *s, const void *p, size_t len)
{
	ops()->update(s, p, len);
}

uint32_t checksum_digest(const struct checksum_state *s)
{
	return fold(ops()->digest(s));
}

/* Through a small buffer: what is summed is what is stored. */
static void copy_pieces(const struct checksum_ops *o, struct checksum_state *s, uint8_t *to,
			const uint8_t *from, size_t len)
{
	uint8_t piece[PIECE_LEN] __cacheline_aligned;
	size_t n;

	for (; len > 0; len -= n, from += n, to += n) {
		n = min_of(len, (size_t)PIECE_LEN);
		memcpy(piece, from, n);
		o->update(s, piece, n);
		ntcopy_unfenced(to, piece, n);
	}
}

void checksum_copy(struct checksum_state *s, void *dst, const void *src, size_t len)
{
	const struct checksum_ops *o = ops();
	const uint8_t *from = src;
	size_t room = o->room(s), done;
	uint8_t *to = dst;

	if (len >= FUSE_LEN && ((uintptr_t)to + room) % LINE_LEN == 0) {
		copy_pieces(o, s, to, from, room);
		done = room + o->copy_lines(s, to + room, from + room, len - room);
		to += done;
		from += done;
		len -= done;
	}
	copy_pieces(o, s, to, from, len);
	ntcopy_fence();
}

uint32_t copy_checksum32(void *dst, const void *src, size_t len)
{
	struct checksum_state s;

	checksum_init(&s);
	checksum_copy(&s, dst, src, len);
	return checksum_digest(&s);
}
