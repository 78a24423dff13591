/* SPDX-License-Identifier: Apache-2.0 */
/*
 * restart.pml - M4: one block, a daemon that dies after any store, and again while it recovers
 *
 * A reader pins and reads, a writer fills a grant and commits it; both may die, both live on over the
 * daemon's death with what they hold.  Store buffers are pin.pml's and publish.pml's subject; here every
 * store is seen at once.
 *
 *   the bytes under a pin, or under a grant that its owner still fills, are of the same life
 *   what is published is findable once a daemon serves
 *   at the end nothing that the dead held is missing: the block can be free again
 *
 * Planted mistakes (-DPLANT_x), each rejected:
 *   EVICTING_FREED     recovery takes EVICTING for free
 *   GRANT_FREED        recovery frees the grant of a living owner
 *   QUARANTINE_FREED   recovery frees what was dropped and is still read
 *   NO_OLD_PINS        the new daemon scans the files of its own sessions only
 *   NO_REPAIR          the index is left as the dead daemon left it
 */
#define FREE 0
#define GRANTED 1
#define PUBLISHED 2
#define EVICTING 3
#define QUARANTINED 4

#ifndef CRASHES
#define CRASHES 2
#endif
#ifndef LIVES
#define LIVES 3			/* of the block, so that the search ends */
#endif

byte state = FREE, life = 1, crashes, starts;
bool slot;			/* the index names the block */
byte pin;			/* the reader's pin word, a life; 0: none */
bool reader_lock = 1, writer_lock = 1;
bool in_scan = 1;		/* the daemon scans the reader's pin file */
byte commit;			/* a life that the writer says is filled; lost with the queue */
bool serving = 1;

inline die_here()
{
	if
	:: crashes < CRASHES -> crashes++; serving = 0; goto recover
	:: skip
	fi
}

#define IS_PINNED (in_scan && reader_lock && pin == life)

active proctype daemon()
{
	goto serve;
recover:
	commit = 0;
	in_scan = 0;
#ifndef PLANT_NO_OLD_PINS
	in_scan = reader_lock;
#endif
	die_here();
	if
#ifdef PLANT_EVICTING_FREED
	:: state == EVICTING -> atomic { life++; state = FREE }
#else
	:: state == EVICTING -> state = PUBLISHED
#endif
	:: else
	fi;
	die_here();
	if
#ifdef PLANT_GRANT_FREED
	:: state == GRANTED -> atomic { life++; state = FREE }
#else
	:: state == GRANTED && !writer_lock -> atomic { life++; state = FREE }
#endif
#ifdef PLANT_QUARANTINE_FREED
	:: state == QUARANTINED -> atomic { life++; state = FREE }
#endif
	:: else
	fi;
	die_here();
#ifndef PLANT_NO_REPAIR
	slot = (state == PUBLISHED);
#endif
	die_here();
	starts++;
	serving = 1;
	assert(state != PUBLISHED || slot);
serve:
	do
	:: state == FREE && life < LIVES && writer_lock ->
		state = GRANTED;
		die_here()
	:: commit && commit == life && state == GRANTED ->
		atomic { commit = 0; state = PUBLISHED };
		die_here();
		slot = 1;
		die_here()
	:: state == PUBLISHED ->
		state = EVICTING;
		die_here();
		if
		:: IS_PINNED -> state = PUBLISHED
		:: else ->
			slot = 0;
			die_here();
			atomic { life++; state = FREE }
		fi;
		die_here()
	:: state == PUBLISHED ->
		slot = 0;
		die_here();
		state = QUARANTINED;
		die_here()
	:: state == QUARANTINED && !IS_PINNED ->
		atomic { life++; state = FREE };
		die_here()
	:: state == GRANTED && !writer_lock ->
		atomic { life++; state = FREE };
		die_here()
	:: state == FREE && (life == LIVES || !writer_lock) && !pin -> break
	od
}

/* Reads twice at most; may die at any moment, its pin then counts no longer. */
active proctype reader()
{
	byte seen, n;

	do
	:: n < 2 && state == PUBLISHED && slot ->
		n++;
		seen = life;
		pin = seen;
		if
		:: state == PUBLISHED && life == seen ->
			assert(life == seen);
			assert(life == seen && (state == PUBLISHED || state == EVICTING || state == QUARANTINED))
		:: else
		fi;
		if
		:: atomic { reader_lock = 0; pin = 0; break }
		:: pin = 0
		fi
	:: break
	od;
	pin = 0
}

/* Fills grants; what it has of a dead daemon it lets go, its last store before its lock. */
active proctype writer()
{
	byte mine, session;

	do
	:: atomic { state == GRANTED && serving -> mine = life; session = starts };
		assert(state == GRANTED && life == mine);	/* it stores into the block */
		if
		:: atomic { session == starts && serving -> commit = mine }
		:: session != starts || !serving -> assert(state == GRANTED && life == mine); break
		:: break
		fi;
		(state != GRANTED || life != mine || session != starts || !serving);
		if
		:: session != starts || !serving -> break
		:: else
		fi
	:: break
	od;
	writer_lock = 0
}
