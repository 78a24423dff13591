/* SPDX-License-Identifier: Apache-2.0 */
/*
 * seqlock.pml - many words read whole from the statistics page (ST-1)
 *
 * Accesses of a thread happen in any order that the labels leave.
 *
 *   writer                                     reader
 *   W_ODD    seq = 1                           R_SEQ    seq           then acquire
 *   W_A W_B  both words    after the fence     R_A R_B  both words
 *   W_EVEN   seq = 2       after release       R_AGAIN  seq again     after the fence
 *
 * Property: what a reader believes (even, twice the same) are words of one version.
 */
/* What each label orders, unless its mistake is planted. */
#ifdef PLANT_NO_WRITER_FENCE
#define WRITER_FENCE(x) true
#else
#define WRITER_FENCE(x) (x)
#endif
#ifdef PLANT_NO_WRITER_RELEASE
#define WRITER_RELEASE(x) true
#else
#define WRITER_RELEASE(x) (x)
#endif
#ifdef PLANT_NO_READER_ACQUIRE
#define READER_ACQUIRE(x) true
#else
#define READER_ACQUIRE(x) (x)
#endif
#ifdef PLANT_NO_READER_FENCE
#define READER_FENCE(x) true
#else
#define READER_FENCE(x) (x)
#endif

byte seq, a, b;

active proctype writer()
{
	bool w_odd, w_a, w_b, w_even;

	do
	:: !w_odd -> atomic { seq = 1; w_odd = true }
	:: !w_a && WRITER_FENCE(w_odd) -> atomic { a = 1; w_a = true }
	:: !w_b && WRITER_FENCE(w_odd) -> atomic { b = 1; w_b = true }
	:: !w_even && w_odd && WRITER_RELEASE(w_a && w_b) -> atomic { seq = 2; w_even = true }
	:: w_odd && w_a && w_b && w_even -> break
	od
}

active proctype reader()
{
	bool r_seq, r_a, r_b, r_again;
	byte s, again, seen_a, seen_b;

	do
	:: !r_seq -> atomic { s = seq; r_seq = true }
	:: !r_a && READER_ACQUIRE(r_seq) -> atomic { seen_a = a; r_a = true }
	:: !r_b && READER_ACQUIRE(r_seq) -> atomic { seen_b = b; r_b = true }
	:: !r_again && r_seq && READER_FENCE(r_a && r_b) -> atomic { again = seq; r_again = true }
	:: r_seq && r_a && r_b && r_again -> break
	od;
	if
	:: s % 2 == 0 && again == s -> assert(seen_a == s / 2 && seen_b == s / 2)
	:: else -> skip
	fi
}
