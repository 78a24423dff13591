/* SPDX-License-Identifier: Apache-2.0 */
/*
 * migrate.h - a running request from one GPU to another: what to copy next, and when to pause it
 *
 * Blocks that are full never change, so they are copied while the request runs on and fills more.  When all full
 * blocks have landed the request is paused, the rest of its last block is copied, and the other GPU goes on:
 *
 *	COPYING ──all full blocks landed──▶ PAUSING ──paused──▶ TAIL ──landed──▶ SWITCHING ──▶ DONE
 *	   ▲				       │	          │
 *	   └──filled more than a block meanwhile: resumed─┘      abort, error: resumed, ABORTED
 *
 * Pause rule: what is copied while the request stands still is at most one block.  If the engine took so long to stop
 * that more has come, it is let run again; after max_pauses of these the migration gives up.
 * Until the switch the source is complete and untouched, so an abort at any step costs only the copies.  The new
 * place may be let go when nothing is under way to it (MIGRATE_ABORTED), never before.
 *
 * Decisions only: no device, no clock, no memory.  One thread at a time.
 */
#ifndef GPU_MIGRATE_H
#define GPU_MIGRATE_H

#include <stdbool.h>
#include <stdint.h>

enum migrate_state {
	MIGRATE_COPYING, MIGRATE_PAUSING, MIGRATE_TAIL, MIGRATE_SWITCHING, MIGRATE_DONE,
	MIGRATE_ENDING,			/* aborted, copies under way */
	MIGRATE_ABORTED,
};

enum migrate_act {
	MIGRATE_DO_NOTHING,		/* something is awaited, or all is over */
	MIGRATE_DO_COPY,		/* whole blocks; then migrate_landed() for them */
	MIGRATE_DO_PAUSE,		/* stop the request; then migrate_paused() */
	MIGRATE_DO_TAIL,		/* copy some tokens of one block; then migrate_landed() */
	MIGRATE_DO_RESUME,		/* let it run again where it is */
	MIGRATE_DO_SWITCH,		/* let it run at the new place; then migrate_switched() */
};

struct migrate_step {
	enum migrate_act act;
	uint32_t first, nr;		/* COPY: blocks; TAIL: one */
	uint32_t token, nr_tokens;	/* TAIL: of that block */
};

struct migrate {
	uint32_t block_tokens;
	uint32_t max_pauses;
	/* ours */
	enum migrate_state state;
	uint64_t tokens;		/* the request's, as last told */
	uint32_t landed;		/* leading blocks that are at the new place and still valid */
	uint32_t sent;			/* blocks of which a copy has landed or is under way */
	uint32_t nr_flight;		/* blocks under way; a tail is one */
	uint32_t nr_pauses;
	bool is_asked;			/* for a pause or a switch */
	bool is_paused;
	uint64_t pause_tokens;		/* copied while it stood still */
};

/**
 * migrate_init() - a request of @tokens tokens
 * Return: 0, -EINVAL: @block_tokens or @max_pauses is 0, or the request is longer than 2^32 - 1 blocks.
 */
int migrate_init(struct migrate *m, uint64_t tokens, uint32_t block_tokens, uint32_t max_pauses);

/**
 * migrate_skip() - its first @nr blocks are at the new place already; before the first migrate_next()
 * Return: 0, -EINVAL: more than are full.
 */
int migrate_skip(struct migrate *m, uint32_t nr);

/**
 * migrate_next() - what to do now; what it says counts as done or under way
 * @max_blocks: of one copy
 */
struct migrate_step migrate_next(struct migrate *m, uint32_t max_blocks);

/**
 * migrate_grew() - the request has @tokens tokens now: more, or fewer where an engine takes guesses back
 * Each taking back is told before it grows again: its blocks are filled anew.
 * Return: 0, -EINVAL: longer than 2^32 - 1 blocks, -EBUSY: it is paused.
 */
int migrate_grew(struct migrate *m, uint64_t tokens);

/* Would migrate_next() have something copied?  Then it is for migrate_batch() to say what. */
bool migrate_wants_copy(const struct migrate *m);

/* @nr blocks, the oldest under way, have landed: one stream has them all.  Return: 0, -EINVAL: as many are not. */
int migrate_landed(struct migrate *m, uint32_t nr);

/* The request stands still at @tokens tokens.  Return: 0, -EINVAL: nobody asked, or too long. */
int migrate_paused(struct migrate *m, uint64_t tokens);

/* The switch was made, or refused: then it is let run again where it is.  Return: 0, -EINVAL: nobody asked. */
int migrate_switched(struct migrate *m, bool is_there);

/**
 * migrate_abort() - for whatever reason, a failed copy too
 * Go on with migrate_next() and migrate_landed() until the state is MIGRATE_ABORTED.
 * Return: 0, -EALREADY: the switch was asked for or is done.
 */
int migrate_abort(struct migrate *m);

/* ---- many at once ------------------------------------------------------------------------------------- */

struct migrate_piece {
	uint32_t request;		/* index in the set */
	struct migrate_step step;	/* COPY or TAIL */
};

/**
 * migrate_batch() - copies of a set of requests for one message
 * @max_pieces, @max_blocks: of the message, over all requests
 * Tails first: those requests stand still.  Then the requests with the least left, which are soonest out of the way.
 * Return: pieces written.
 */
unsigned migrate_batch(struct migrate *const *set, unsigned nr, struct migrate_piece *pieces, unsigned max_pieces,
		       uint32_t max_blocks);

/* ---- is it worth it ------------------------------------------------------------------------------------- */

enum migrate_how { MIGRATE_BY_PEER, MIGRATE_BY_ARENA, MIGRATE_BY_RECOMPUTE, MIGRATE_NR_HOWS };

struct migrate_cost {
	uint64_t bytes;			/* of the request */
	uint64_t arena_bytes;		/* of these, already in the arena */
	double peer_bytes_per_ns;	/* GPU to GPU; 0: it cannot */
	double d2h_bytes_per_ns, h2d_bytes_per_ns;	/* 0: no */
	double recompute_ns;		/* prefill of all tokens at the new place */
};

/**
 * migrate_advise() - the cheapest way for a request to get to the other GPU
 * @ret_ns: time of each way, infinite where there is none; may be NULL
 */
enum migrate_how migrate_advise(const struct migrate_cost *c, double ret_ns[MIGRATE_NR_HOWS]);

#endif
