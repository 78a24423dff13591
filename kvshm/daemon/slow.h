/* SPDX-License-Identifier: Apache-2.0 */
/*
 * slow.h - an entry that is served in steps, one a round
 *
 * A drop may take millions of blocks away and a commit brings thousands, so neighbours wait for a step
 * and not for all of it.  The session's own later entries wait for the last step, as entries are served in
 * order; so does the completion.  An end of the session ends it where it is: grants that it did not come
 * to are still the session's, and go where those go.
 *
 * Of the arguments each step copies its own part, once.  A client that changes them meanwhile has asked
 * for something else.
 */
#ifndef KVSHM_DAEMON_SLOW_H
#define KVSHM_DAEMON_SLOW_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <kvshm/abi.h>

#include "kvshm/cache/cache.h"

#define SLOW_RECORDS 256u /* a step; fewer are no reason for steps */

struct opdef;
struct request;
struct session;
struct writer;

struct slow_entry { /* of a session; private to the writer */
	const struct opdef *def; /* NULL: none under way */
	struct kvshm_sqe sqe; /* private copy, checked */
	struct kvshm_cqe cqe; /* so far */
	uint32_t next; /* record */
	struct kvshm_key parent; /* commit: of the next record */
	bool is_broken; /* commit: a chain lost a record, the rest is dropped */
	struct cache_drop drop;
	uint64_t turn_ns; /* when its turn came, 0: not timed */
};

/* The entry's steps begin with the next round; its turn came at @turn_ns. */
void slow_begin(struct request *r, const struct opdef *def, uint64_t turn_ns);

/* One step; after the last one the completion. */
void slow_go_on(struct writer *w, struct session *s);

void slow_abort(struct slow_entry *e);

/* For a step: its records, of @rec_len bytes each, into r->args.  Return: how many. */
uint32_t slow_records(struct request *r, size_t rec_len);

/* For .is_slow of an entry with records. */
bool slow_is_worth_it(const struct request *r);

#endif
