/* SPDX-License-Identifier: Apache-2.0 */
/*
 * pin.pml - pins against batch eviction, publishing and a crash of the writer (PN-1, PN-2)
 *
 * A chain of three blocks; the parent of block b is b - 1 (Invariant T: a published block's parent is
 * published).  Readers pin one block and read all blocks up to it.  The writer publishes the next
 * block, evicts the tail from any depth on, and may die between any two stores and recover.
 *
 * Stores go through a FIFO buffer a thread (TSO), so a store may be seen after a later load of the
 * same thread unless a fence waits for the buffer.  A dead writer's buffer still drains.
 *
 * Property: as long as a reader holds a pin that stood its second look, none of the blocks up to the
 * pinned one is freed.  life[] counts frees, at the moment when the writer may hand out the memory.
 *
 * Planted mistakes (-DPLANT_x), each rejected:
 *   NO_FENCE_READER NO_FENCE_WRITER  one side of PN-1
 *   NO_SECOND_LOOK                   the reader believes its find
 *   NO_SCAN                          the writer frees what it closed
 *   ONE_BY_ONE                       a pinned victim restores itself, not its ancestors
 *   RECOVER_FREE                     recovery takes EVICTING for free
 *   ROOT_FIRST                       frees the parent before the child
 *   DROP_EARLY                       PN-2: the pin is gone before the last read
 */
#define NB 3
#ifndef NR
#define NR 2
#endif
#ifndef ACQUIRES
#define ACQUIRES 1
#endif
#ifndef EVICTIONS
#define EVICTIONS 2
#endif
#ifndef CRASHES
#define CRASHES 1
#endif

#define FREE 0
#define PUBLISHED 1
#define EVICTING 2

#define PIN(b, g) (1 + (b) + 4 * (g))
#define PIN_BLOCK(v) (((v) - 1) % 4)
#define PIN_GEN(v) (((v) - 1) / 4)

byte st[NB], gen[NB];		/* descriptors in memory */
byte life[NB];			/* ghost */
byte pin[NR];			/* pin files in memory */
chan wq = [8] of { byte, byte, byte };	/* the writer's store buffer: block, state, generation */
chan rq[NR] = [2] of { byte };		/* each reader's */

active proctype drain()
{
	byte b, s, g, v;

end:	do
	:: atomic { wq ? b, s, g -> st[b] = s; gen[b] = g; b = 0; s = 0; g = 0 }
	:: atomic { rq[0] ? v -> pin[0] = v; v = 0 }
#if NR > 1
	:: atomic { rq[1] ? v -> pin[1] = v; v = 0 }
#endif
	od
}

/* ---- readers ------------------------------------------------------------------------------- */

inline snapshot()
{
	b0 = life[0]; b1 = life[1]; b2 = life[2]
}

inline check()
{
	assert(life[0] == b0);
	assert(b < 1 || life[1] == b1);
	assert(b < 2 || life[2] == b2)
}

proctype reader(byte r)
{
	byte n, b, g, b0, b1, b2;

	do
	:: n < ACQUIRES ->
		n++;
		atomic {			/* find: one load of the state word */
			if
			:: st[0] == PUBLISHED -> b = 0
			:: st[1] == PUBLISHED -> b = 1
			:: st[2] == PUBLISHED -> b = 2
			:: else -> goto next
			fi;
			assert(b == 0 || st[b - 1] != FREE);	/* Invariant T, as seen by a reader */
			g = gen[b];
			snapshot()
		}
		rq[r] ! PIN(b, g);
#ifndef PLANT_NO_FENCE_READER
		empty(rq[r]);			/* PN-1 */
#endif
#ifndef PLANT_NO_SECOND_LOOK
		if
		:: st[b] == PUBLISHED && gen[b] == g -> skip
		:: else -> rq[r] ! 0; goto next
		fi;
#endif
		atomic { check() }		/* reads of payload */
#ifdef PLANT_DROP_EARLY
		rq[r] ! 0;
		atomic { check() }
#else
		atomic { check(); rq[r] ! 0 }	/* PN-2 */
#endif
next:		atomic { b = 0; g = 0; b0 = 0; b1 = 0; b2 = 0 }
	:: else -> break
	od
}

/* ---- the writer ----------------------------------------------------------------------------- */

#define MAY_DIE if :: crashes > 0 -> crashes--; goto recover :: skip fi

inline free_block(x)
{
	atomic { life[x]++; g[x]++; wq ! x, FREE, g[x] }
}

proctype writer()
{
	byte crashes = CRASHES, evictions = EVICTIONS;
	byte top, from, keep, a, r, v;
	byte g[NB];			/* private copy of the generations */
	byte kept;			/* PLANT_ONE_BY_ONE: bit set of restored victims */

recover:
	empty(wq);
	atomic { top = 0; a = 0; from = 0; keep = 0; r = 0; v = 0; kept = 0 }
	do
	:: a < NB ->
		atomic {
			g[a] = gen[a];
			if
			:: st[a] == EVICTING ->
#ifdef PLANT_RECOVER_FREE
				life[a]++; g[a]++; wq ! a, FREE, g[a]
#else
				wq ! a, PUBLISHED, g[a]; top = a + 1
#endif
			:: st[a] == PUBLISHED -> top = a + 1
			:: else -> skip
			fi;
			a++
		};
		MAY_DIE
	:: else -> break
	od;
	a = 0;

	do
	:: top < NB ->
		atomic { wq ! top, PUBLISHED, g[top]; top++ };
		MAY_DIE
	:: top > 0 && evictions > 0 ->
		atomic {
			evictions--;
			if
			:: from = 0
			:: top > 1 -> from = 1
			:: top > 2 -> from = 2
			fi;
			a = top
		};
		do
		:: a > from -> atomic { a--; wq ! a, EVICTING, g[a] }; MAY_DIE
		:: else -> break
		od;
#ifndef PLANT_NO_FENCE_WRITER
		empty(wq);			/* PN-1 */
#endif
		atomic { keep = from; r = 0; kept = 0 }
#ifndef PLANT_NO_SCAN
		do
		:: r < NR ->
			atomic {
				v = pin[r];
				if
				:: v > 0 && PIN_BLOCK(v) >= keep && PIN_BLOCK(v) < top &&
				   PIN_GEN(v) == g[PIN_BLOCK(v)] -> keep = PIN_BLOCK(v) + 1
				:: else -> skip
				fi;
				if
				:: v > 0 && PIN_BLOCK(v) >= from && PIN_BLOCK(v) < top &&
				   PIN_GEN(v) == g[PIN_BLOCK(v)] -> kept = kept | (1 << PIN_BLOCK(v))
				:: else -> skip
				fi;
				v = 0; r++
			};
			MAY_DIE
		:: else -> break
		od;
#endif
		a = from;
#ifdef PLANT_ONE_BY_ONE
		do
		:: a < top ->
			if
			:: kept & (1 << a) -> atomic { wq ! a, PUBLISHED, g[a] }
			:: else -> free_block(a)
			fi;
			a++
		:: else -> break
		od;
		break				/* the chain has holes now */
#else
		do				/* root first */
		:: a < keep -> atomic { wq ! a, PUBLISHED, g[a]; a++ }; MAY_DIE
		:: else -> break
		od;
#ifdef PLANT_ROOT_FIRST
		do
		:: a < top -> free_block(a); a++; MAY_DIE
		:: else -> break
		od;
#else
		a = top;
		do				/* leaf first */
		:: a > keep -> a--; free_block(a); MAY_DIE
		:: else -> break
		od;
#endif
		atomic { top = keep; a = 0; from = 0; keep = 0; r = 0; kept = 0 }
#endif
	:: break
	od
}

init {
	atomic {
		st[0] = PUBLISHED; st[1] = PUBLISHED; st[2] = PUBLISHED;
		gen[0] = 1; gen[1] = 1; gen[2] = 1;
		run writer();
		run reader(0);
#if NR > 1
		run reader(1);
#endif
	}
}
