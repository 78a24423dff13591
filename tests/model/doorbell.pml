/* SPDX-License-Identifier: Apache-2.0 */
/*
 * doorbell.pml - a sleeper that is rung only when its flag says so (DB-1)
 *
 *   client                          writer
 *   tail = n                        asleep = 1
 *   full fence        DB-1          full fence
 *   asleep? -> ring                 tail = n? -> asleep = 0, go on; else sleep until rung
 *
 * Stores wait in a buffer of one a thread (TSO); without a fence a later load goes before them.
 * Property: an entry that was pushed is served; nobody sleeps for ever beside it (no deadlock).
 */
#define ROUNDS 2

byte tail, asleep, bell;
chan cq = [1] of { byte };
chan wq = [2] of { byte };
byte served;

active proctype drain()
{
	byte v;

end:	do
	:: atomic { cq ? v -> tail = v; v = 0 }
	:: atomic { wq ? v -> asleep = v; v = 0 }
	od
}

active proctype client()
{
	byte n = 1;

	do
	:: n <= ROUNDS ->
		cq ! n;
#ifndef PLANT_NO_FENCE_CLIENT
		empty(cq);
#endif
		if
		:: asleep -> bell = 1
		:: else -> skip
		fi;
		n++
	:: else -> break
	od
}

active proctype writer()
{
	do
	:: served == ROUNDS -> break
	:: served < ROUNDS && tail > served -> served = tail
	:: served < ROUNDS && tail == served ->
		wq ! 1;
#ifndef PLANT_NO_FENCE_WRITER
		empty(wq);
#endif
		if
		:: tail == served -> atomic { bell -> bell = 0 }	/* sleeps */
		:: else -> skip
		fi;
		wq ! 0;
		empty(wq)
	od
}
