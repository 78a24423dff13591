/* SPDX-License-Identifier: Apache-2.0 */
/*
 * events.h - what happens to a daemon's blocks, to the byte
 *
 * A named file `events` beside the statistics page, mode 0640, mapped read-only: a ring of the last
 * KVSHM_EVENTS_NR events.  The daemon never waits for a reader; who is too slow finds that numbers are missing.
 * No keys are in it, only hashes under a key that each start of the daemon draws anew and tells nobody, and the
 * number of the block's descriptor: who may read the directory finds the key there.  All fields are written by
 * the daemon.
 */
#ifndef KVSHM_EVENTS_H
#define KVSHM_EVENTS_H

#include <stdint.h>

#define KVSHM_EVENTS_MAGIC 0x3154564553564b53ull
#define KVSHM_EVENTS_MAJOR 1u
#define KVSHM_EVENTS_MINOR 1u
#define KVSHM_EVENTS_NR 65536u		/* a power of two */

enum kvshm_event_type {
	KVSHM_EVENT_STORED = 1,		/* a block was published */
	KVSHM_EVENT_REMOVED = 2,	/* it is no longer found */
	KVSHM_EVENT_TOUCHED = 3,	/* the path down to it was used */
	KVSHM_EVENT_FOUND = 4,		/* a put found it there: somebody else had put it meanwhile */
};

enum kvshm_event_reason {		/* of REMOVED */
	KVSHM_EVENT_EVICTED = 1,
	KVSHM_EVENT_DROPPED = 2,	/* by a user, with its namespace, or for damage */
};

struct kvshm_event {			/* 64 bytes */
	uint64_t seq;			/* EV-1: number of the event + 1 once all of it is there, 0 while it changes */
	uint64_t time_ns;		/* CLOCK_MONOTONIC; in lockstep the clients' */
	uint64_t key;			/* a hash, never 0 */
	uint64_t parent;		/* STORED, FOUND: likewise, 0: a root or a loose block; else 0 */
	uint32_t nr;			/* blocks from the root to it */
	uint32_t hint;			/* class hint, 0: none */
	uint32_t length;		/* bytes of the block */
	uint32_t block_tokens;		/* of a full block of its namespace */
	uint16_t tokens;		/* of this one */
	uint16_t ns;			/* number of the namespace */
	uint8_t type;			/* enum kvshm_event_type */
	uint8_t reason;			/* enum kvshm_event_reason */
	uint16_t resv;
	uint32_t id, generation;	/* minor 1: descriptor of the block and which life of it; id is never 0 */
};

struct kvshm_events_page {
	uint64_t magic;
	uint32_t major, minor;
	uint64_t len;			/* of the file */
	uint64_t start_ns;		/* CLOCK_MONOTONIC: of this ring, another daemon's is another */
	uint64_t pid, start_ticks;	/* of the daemon, as in the statistics page */
	uint32_t nr_events, event_off;
	uint64_t resv;
	uint64_t next;			/* EV-2: number of the next event */
	uint64_t resv1[7];
	/* event[KVSHM_EVENTS_NR] at event_off */
};

#endif
