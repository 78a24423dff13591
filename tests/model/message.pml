/* SPDX-License-Identifier: Apache-2.0 */
/*
 * message.pml - an entry through a ring of one, and back (QP-1, QP-2; QP-3 and QP-4 are the same ring
 * the other way; XT-1, SB-1, NS-1, ST-1 are its first half)
 *
 * Accesses of a thread happen in any order that the labels leave.
 *
 *   producer                                       consumer
 *   P_HEAD   head = n - 1?      then acquire       C_TAIL   tail = n?       then acquire
 *   P_DATA   entry = n                             C_DATA   copy of entry
 *   P_TAIL   tail = n           after release      C_HEAD   head = n        after release
 *
 * Property: the consumer copies entry n, not the one before and not the one after.
 */
/* What each label orders, unless its mistake is planted. */
#ifdef PLANT_NO_PRODUCER_ACQUIRE
#define PRODUCER_ACQUIRE(x) true
#else
#define PRODUCER_ACQUIRE(x) (x)
#endif
#ifdef PLANT_NO_PRODUCER_RELEASE
#define PRODUCER_RELEASE(x) true
#else
#define PRODUCER_RELEASE(x) (x)
#endif
#ifdef PLANT_NO_CONSUMER_ACQUIRE
#define CONSUMER_ACQUIRE(x) true
#else
#define CONSUMER_ACQUIRE(x) (x)
#endif
#ifdef PLANT_NO_CONSUMER_RELEASE
#define CONSUMER_RELEASE(x) true
#else
#define CONSUMER_RELEASE(x) (x)
#endif

#define ROUNDS 2

byte tail, head, entry;

active proctype producer()
{
	bool p_head, p_data, p_tail;
	byte n = 1;

	do
	:: n <= ROUNDS ->
		p_head = false; p_data = false; p_tail = false;
		do
		:: !p_head && head == n - 1 -> p_head = true
		:: !p_data && PRODUCER_ACQUIRE(p_head) -> atomic { entry = n; p_data = true }
		/* a store does not go before the branch that it depends on */
		:: !p_tail && p_head && PRODUCER_RELEASE(p_data) -> atomic { tail = n; p_tail = true }
		:: p_head && p_data && p_tail -> break
		od;
		n++
	:: else -> break
	od
}

active proctype consumer()
{
	bool c_tail, c_data, c_head;
	byte n = 1, copy;

	do
	:: n <= ROUNDS ->
		c_tail = false; c_data = false; c_head = false;
		do
		:: !c_tail && tail == n -> c_tail = true
		:: !c_data && CONSUMER_ACQUIRE(c_tail) -> atomic { copy = entry; c_data = true }
		:: !c_head && c_tail && CONSUMER_RELEASE(c_data) -> atomic { head = n; c_head = true }
		:: c_tail && c_data && c_head -> break
		od;
		assert(copy == n);
		n++
	:: else -> break
	od
}
