/* SPDX-License-Identifier: Apache-2.0 */
/*
 * hear.h - requests, put together again from the events of a daemon
 *
 * A use opens a request: so many leading blocks were there.  What is stored below its deepest block belongs to it;
 * what is put without a parent opens one that hit nothing.  A put that is told before the use that it follows opens
 * the request, and the use is its.  It is over when nothing was added for half a minute.  Blocks from before one began to listen are known by their place only.
 */
#ifndef UTILS_HEAR_H
#define UTILS_HEAR_H

#include <stdint.h>

#include <kvshm/events.h>

struct heard_request {
	uint64_t time_ns;		/* never less than that of the one before */
	uint64_t number;		/* from 0 */
	int64_t goes_on_from;		/* number of the last request that ended where this one's hits end, -1: none */
	uint64_t tokens;		/* of the prompt, as far as it was cached or put */
	const uint64_t *hash;		/* one a block, root first; valid during the call */
	uint32_t nr;
	uint32_t hits;			/* leading blocks that were there */
	uint32_t hint;			/* policy/hints.h */
	uint32_t block_tokens;
	uint64_t bytes;			/* of its deepest block, and so of a full one but for the tail */
	uint16_t ns;
};

struct hear;

/* @on_request: each request once, in the order of time.  Return: 0, -errno: hear_event() returns it. */
int hear_create(int (*on_request)(void *arg, const struct heard_request *q), void *arg, struct hear **ret_h);
/* Return: 0; -ENOMEM; that of on_request(). */
int hear_event(struct hear *h, const struct kvshm_event *e);
/* All requests that are still open are over. */
int hear_end(struct hear *h);
struct hear *hear_destroy(struct hear *h);

#endif
