/* SPDX-License-Identifier: Apache-2.0 */
/*
 * hints.h - what the caller knows of the request that uses a block, in one word
 *
 * Every field: 0 is "not known".  A hint word of 0 costs nothing but knowledge.
 */
#ifndef POLICY_HINTS_H
#define POLICY_HINTS_H

#include <stdint.h>

/* bits: type 0-7, stop 8-11, turn 12-15, gap 16-20, output 21-25, flags 26-31 */
enum {
	HINT_F_CLOSED = 1u << 26,	/* the session is over: nobody will come back for this */
	HINT_F_TOOL = 1u << 27,		/* a tool was called: back as soon as it answers */
};

struct hints {
	uint8_t type;			/* of request, the caller's numbering */
	uint8_t stop;			/* why the output ended, the caller's numbering, < 16 */
	uint8_t turn;			/* hint_turn() */
	uint8_t gap;			/* hint_gap(): since the session's request before */
	uint8_t output;			/* hint_octave() of the output's tokens */
};

static inline uint32_t hints_pack(const struct hints *h)
{
	return (uint32_t)h->type | (h->stop & 15u) << 8 | (h->turn & 15u) << 12 | (h->gap & 31u) << 16 |
	       (h->output & 31u) << 21;
}

static inline struct hints hints_unpack(uint32_t w)
{
	return (struct hints){ .type = w & 255, .stop = w >> 8 & 15, .turn = w >> 12 & 15,
			       .gap = w >> 16 & 31, .output = w >> 21 & 31 };
}

/* 1 for 0, then 2 + floor(log2): 1 -> 2, 2..3 -> 3, ...; at most 31. */
static inline uint8_t hint_octave(uint64_t n)
{
	unsigned o = n ? 65u - (unsigned)__builtin_clzll(n) : 1;

	return (uint8_t)(o > 31 ? 31 : o);
}

/* Turns 1, 2, 3-4, 5-9, 10 and more. */
static inline uint8_t hint_turn(unsigned turn)
{
	return turn == 0 ? 0 : turn <= 2 ? (uint8_t)turn : turn <= 4 ? 3 : turn <= 9 ? 4 : 5;
}

/* 1: the session's first request; then by octave of the quarter seconds that passed. */
static inline uint8_t hint_gap(int is_first, uint64_t gap_ns)
{
	uint8_t o = hint_octave(gap_ns / 250000000u);

	return is_first ? 1 : o < 2 ? 2 : o;
}

#endif
