/* SPDX-License-Identifier: Apache-2.0 */
/*
 * publish.pml - one descriptor from one life to the next, and a reader's look-up (BK-1, BK-2, AU-1,
 * IX-1), under memory that re-orders everything that no label orders
 *
 * Each thread is a set of single accesses; an access may happen as soon as those before which its
 * labels put it are done, in any order otherwise.  That is weaker than x86, which is the point:
 * x86 does not show these.
 *
 *   writer                                       reader, of key 1 or 2
 *   W_FREE   state = FREE, 2                     R_SLOT   slot?             then IX-1
 *   W_KEY    key = 2            after BK-2       R_STATE  state             then BK-1
 *   W_BYTES  payload = 2        after BK-2       R_KEY    key
 *   W_PUB    state = PUB, 2     after BK-1       R_AGAIN  state again       after AU-1
 *   W_SLOT   slot of key 2      after IX-1       R_BYTES  payload
 *
 * A reader of key 2 may also come without a slot, as resolve does when it guesses the next id.
 *
 * Property: a hit is of the key that this life has; its payload is of this life; a slot that was seen
 * names a published block.
 */
/* What each label orders, unless its mistake is planted. */
#ifdef PLANT_NO_BK2
#define BK2(x) true
#else
#define BK2(x) (x)
#endif
#ifdef PLANT_NO_BK1_RELEASE
#define BK1_RELEASE(x) true
#else
#define BK1_RELEASE(x) (x)
#endif
#ifdef PLANT_NO_IX1_RELEASE
#define IX1_RELEASE(x) true
#else
#define IX1_RELEASE(x) (x)
#endif
#ifdef PLANT_NO_IX1_ACQUIRE
#define IX1_ACQUIRE(x) true
#else
#define IX1_ACQUIRE(x) (x)
#endif
#ifdef PLANT_NO_BK1_ACQUIRE
#define BK1_ACQUIRE(x) true
#else
#define BK1_ACQUIRE(x) (x)
#endif
#ifdef PLANT_NO_AU1
#define AU1(x) true
#else
#define AU1(x) (x)
#endif

#define FREE 0
#define PUBLISHED 1
#define W(s, g) ((s) + 4 * (g))

byte state = W(PUBLISHED, 1), key = 1, payload = 1;
bool slot2;			/* the slot of key 2; that of key 1 is there all the time */

active proctype writer()
{
	bool w_free, w_key, w_bytes, w_pub, w_slot;

	do
	:: !w_free -> atomic { state = W(FREE, 2); w_free = true }
	:: !w_key && BK2(w_free) -> atomic { key = 2; w_key = true }
	:: !w_bytes && BK2(w_free) -> atomic { payload = 2; w_bytes = true }
	:: !w_pub && w_free && BK1_RELEASE(w_key && w_bytes) -> atomic { state = W(PUBLISHED, 2); w_pub = true }	/* one word: its stores stay in order */
	:: !w_slot && IX1_RELEASE(w_pub) -> atomic { slot2 = true; w_slot = true }
	:: w_free && w_key && w_bytes && w_pub && w_slot -> break
	od
}

active proctype reader()
{
	bool r_slot, r_state, r_key, r_again, r_bytes;
	bool slot, guess;
	byte want, s, k, again, bytes;

	if
	:: want = 1; r_slot = true; slot = true
	:: want = 2; r_slot = true; slot = true; guess = true
	:: want = 2
	fi;
	do
	:: !r_slot -> atomic { slot = slot2; r_slot = true }
	:: !r_state && IX1_ACQUIRE(r_slot) -> atomic { s = state; r_state = true }
	:: !r_key && BK1_ACQUIRE(r_state) -> atomic { k = key; r_key = true }
	:: !r_again && r_state && AU1(r_key) -> atomic { again = state; r_again = true }	/* one word: its loads stay in order */
	:: !r_bytes && BK1_ACQUIRE(r_state) -> atomic { bytes = payload; r_bytes = true }
	:: r_slot && r_state && r_key && r_again && r_bytes -> break
	od;

	assert(want == 1 || guess || !slot || s == W(PUBLISHED, 2));	/* IX-1 */
	if
	:: slot && s % 4 == PUBLISHED && k == want && again == s ->
		assert(s / 4 == want);			/* BK-1, BK-2, AU-1: key and life belong together */
		assert(want == 1 || bytes == 2)		/* BK-1: payload */
	:: else -> skip
	fi
}
