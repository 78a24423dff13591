/* SPDX-License-Identifier: Apache-2.0 */
/*
 * relocate.pml - a block moves while a reader pins it (RL-1, and PN-1 once more)
 *
 * The state word does not change, so a reader has nothing to look at twice: it must read the place after
 * its fence.  Accesses of a thread happen in any order that the labels leave.
 *
 *   writer                                           reader
 *   W_COPY  bytes at the new place                   R_PIN    pin word
 *   W_PAGE  place = new          after RL-1          R_PAGE   place        after the fence PN-1
 *   W_SCAN  pinned?              after the fence     R_BYTES  bytes there  depends on R_PAGE
 *           yes: scan again later                    R_DROP   pin word = 0 after PN-2
 *           no:  the old place is free
 *
 * Property: a reader finds the block's bytes, and not at a place that was freed.
 */
/* What each label orders, unless its mistake is planted. */
#ifdef PLANT_NO_RL1_RELEASE
#define RL1_RELEASE(x) true
#else
#define RL1_RELEASE(x) (x)
#endif
#ifdef PLANT_NO_MOVE_FENCE
#define MOVE_FENCE(x) true
#else
#define MOVE_FENCE(x) (x)
#endif
#ifdef PLANT_NO_PIN_FENCE
#define PIN_FENCE(x) true
#else
#define PIN_FENCE(x) (x)
#endif

#define OLD 0
#define NEW 1

byte place = OLD;
bool bytes[2];			/* are the block's bytes there? */
bool pinned;

proctype writer()
{
	bool w_copy, w_page, w_scan;

	do
	:: !w_copy -> atomic { bytes[NEW] = true; w_copy = true }
	:: !w_page && RL1_RELEASE(w_copy) -> atomic { place = NEW; w_page = true }
	:: !w_scan && MOVE_FENCE(w_page) && !pinned -> w_scan = true
	:: w_copy && w_page && w_scan -> bytes[OLD] = false; break
	od
}

proctype reader()
{
	bool r_pin, r_page, r_bytes;
	byte at, n;

	do
	:: n < 2 ->
		n++;
		r_pin = false; r_page = false; r_bytes = false;
		do
		:: !r_pin -> atomic { pinned = true; r_pin = true }
		:: !r_page && PIN_FENCE(r_pin) -> atomic { at = place; r_page = true }
		:: !r_bytes && r_page -> atomic { assert(bytes[at]); r_bytes = true }
		:: r_pin && r_page && r_bytes -> pinned = false; break
		od
	:: else -> break
	od
}

init {
	atomic { bytes[OLD] = true; run writer(); run reader() }
}
