/* SPDX-License-Identifier: Apache-2.0 */
/*
 * hint.h - what is known of requests and of the time to come; a part of <kvshm/kvshm.h>
 *
 * All are wishes, which cost nothing when they are lost or refused.  Errors and threads: as in kvshm.h.
 */
#ifndef KVSHM_HINT_H
#define KVSHM_HINT_H

#include <stddef.h>
#include <stdint.h>

#include <kvshm/key.h>

#ifdef __cplusplus
extern "C" {
#endif

struct kvshm;

/**
 * kvshm_set_hint() - what is known of the request that the calls from now on belong to
 * @k: the handle
 * @hint: one word, 0: nothing is known.  Bits 0-7 type of the request and 8-11 why its output ended, both
 *	in the caller's numbering from 1; 12-15 turn of its session (1: 1, 2: 2, 3: 3-4, 4: 5-9, 5: 10 and
 *	more); 16-20 time since the session's request before (1: there was none, else 2 + floor(log2(quarter
 *	seconds)), at least 2); 21-25 tokens of the output (1: none, else 2 + floor(log2(tokens)));
 *	bit 26 the session is over, 27 it waits for a tool.  0 in a field: not known.
 *
 * Goes with every acquire and put until it is changed.  The policy may use it; a lost one costs nothing.
 */
void kvshm_set_hint(struct kvshm *k, uint32_t hint);

/**
 * enum kvshm_hold_why - the reason of a hold
 * @KVSHM_HOLD_QUEUED: a request that waits or runs will use it; ends by the first use
 * @KVSHM_HOLD_TOOL: a tool was called, the session goes on when it answers; ends by the first use
 * @KVSHM_HOLD_RETAIN: it is worth keeping, by priority
 */
enum kvshm_hold_why {
	KVSHM_HOLD_QUEUED = 1,
	KVSHM_HOLD_TOOL = 2,
	KVSHM_HOLD_RETAIN = 3,
};

/**
 * struct kvshm_hold_desc - what to keep, and how long
 * @sz: sizeof(struct kvshm_hold_desc)
 * @why: enum kvshm_hold_why
 * @priority: RETAIN: 0..7, higher ones are given up later; else 0
 * @ticket: the caller's name for it, for kvshm_hold_end(); need not be unique
 * @ttl_ns: it ends by itself after that; 0: a minute; a day at most
 */
struct kvshm_hold_desc {
	size_t sz;
	uint32_t why;
	uint32_t priority;
	uint64_t ticket;
	uint64_t ttl_ns;
};

/**
 * kvshm_hold() - keep what is cached of a prompt from being evicted, without pinning it
 * @k: the handle
 * @ns: number of the namespace, from kvshm_attach_ns()
 * @keys: the chain, root first; what of it is cached now is meant
 * @nr_keys: number of @keys, at most 65,536
 * @desc: copied
 *
 * For a scheduler: tell each request when it is queued.  Holds are bounded, by the pin quota for one session and
 * half of the cache for all, and give way where all else is in use; unlike a pin, a hold promises nothing.
 *
 * Return: 1 sent; 0 nothing of it is cached; -EINVAL; -E2BIG; -ENOBUFS the queue is full, -ECONNRESET no daemon,
 * -EOWNERDEAD.
 */
int kvshm_hold(struct kvshm *k, uint32_t ns, const struct kvshm_key *keys, unsigned nr_keys,
	       const struct kvshm_hold_desc *desc);

/**
 * kvshm_hold_end() - all holds of this session with that ticket end
 * @k: the handle
 * @ticket: as given in struct kvshm_hold_desc
 *
 * Return: as kvshm_hold().
 */
int kvshm_hold_end(struct kvshm *k, uint64_t ticket);

/**
 * kvshm_session_closed() - nobody comes back for the end of this prompt: evict it first
 * @k: the handle
 * @ns: number of the namespace, from kvshm_attach_ns()
 * @keys: the chain, root first
 * @nr_keys: number of @keys, at most 65,536
 * @nr_own: so many of the last keys are the session's own; what others share must not be among them
 *
 * Blocks that are used again, or that others have gone on from, are not meant any more.
 *
 * Return: as kvshm_hold().
 */
int kvshm_session_closed(struct kvshm *k, uint32_t ns, const struct kvshm_key *keys, unsigned nr_keys,
			 unsigned nr_own);

#ifdef __cplusplus
}
#endif
#endif
