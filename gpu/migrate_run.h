/* SPDX-License-Identifier: Apache-2.0 */
/*
 * migrate_run.h - running requests to another GPU: what migrate.h decides, done by hops
 *
 *	migrate_batch() ──pieces of many requests──▶ hop.h ──landed──▶ migrate_landed()
 *	migrate_next() ──▶ the engine: pause, resume, move ──answers──▶ migrate_paused(), migrate_switched()
 *
 * A request whose copy is refused is aborted with all that shared its hop, and runs on where it is.  When a device is
 * lost all of them are, but for those that have moved: the source is whole if it is the other that was lost.
 *
 * One thread at a time.
 */
#ifndef GPU_MIGRATE_RUN_H
#define GPU_MIGRATE_RUN_H

#include "gpu/hop.h"
#include "gpu/migrate.h"

#define MIGRATE_REQUESTS_MAX 4096u

/* What is asked of the engine.  It may answer from inside a call, or later. */
struct migrate_engine {
	void *arg;
	void (*pause)(void *arg, uint32_t request);	/* migrate_run_paused() answers */
	void (*resume)(void *arg, uint32_t request);	/* let it run where it is; nothing to answer */
	void (*move)(void *arg, uint32_t request);	/* let it run at the new place; migrate_run_moved() answers */
};

struct migrate_run_config {
	uint32_t max_requests, max_pauses;
	struct migrate_engine engine;
};

/* Where a request's blocks are and where they go, one table a group of the layout; the caller's, until it is over. */
struct migrate_tables {
	const uint32_t *from[GPU_GROUPS_MAX], *to[GPU_GROUPS_MAX];
	uint32_t nr_blocks;		/* of each: as far as the request may grow */
};

struct migrate_run_info {
	uint64_t moved, aborted;	/* requests */
	uint64_t hops, pieces;		/* messages, and copies of requests in them */
	uint64_t pause_bytes_max;	/* copied while one request stood still, the largest */
};

struct migrate_run;

/**
 * migrate_run_create() - no request yet
 * @hops: outlives it
 * @layout: of @hops; all of its groups have equal tokens a block
 * @max_blocks: of a hop, as given to hops_create()
 * Return: 0; -EINVAL; -EOPNOTSUPP groups with different tokens a block; -ENOMEM.
 */
int migrate_run_create(struct hops *hops, const struct gpu_layout *layout, uint32_t max_blocks,
		       const struct migrate_run_config *cfg, struct migrate_run **ret);

/* Abort all that can be, and let the engine run them where they are, also what was asked to stop and has not yet. */
void migrate_run_end(struct migrate_run *r);

/* After hops_destroy(), whatever that said.  NULL is let be. */
void migrate_run_destroy(struct migrate_run *r);

/**
 * migrate_run_add() - a request of @tokens tokens, of which the first @nr_there blocks are at the new place
 * Return: its number, until migrate_run_remove(); -EBUSY all in use; -EINVAL; -ENOTRECOVERABLE a device is lost.
 */
int migrate_run_add(struct migrate_run *r, const struct migrate_tables *t, uint64_t tokens, uint32_t nr_there);

/* As the calls of migrate.h of the same names.  Return: also -EINVAL: no such request, or past its tables. */
int migrate_run_grew(struct migrate_run *r, uint32_t request, uint64_t tokens);
int migrate_run_paused(struct migrate_run *r, uint32_t request, uint64_t tokens);
int migrate_run_moved(struct migrate_run *r, uint32_t request, bool is_there);
int migrate_run_abort(struct migrate_run *r, uint32_t request);

/* Everything that can be done now.  Return: requests that are not over. */
uint32_t migrate_run_poll(struct migrate_run *r);

/*
 * 1 it runs at the new place; 0 under way; -ECANCELED aborted, or the engine did not move it; -EAGAIN it stopped too
 * late each time; -errno the error that ended it.
 */
int migrate_run_state(const struct migrate_run *r, uint32_t request);

/* May both places' blocks be used for something else?  1; 0 not yet; -ENOTRECOVERABLE never: a device is lost. */
int migrate_run_is_over(const struct migrate_run *r, uint32_t request);

/* Return: 0; -EBUSY not over. */
int migrate_run_remove(struct migrate_run *r, uint32_t request);

void migrate_run_info(const struct migrate_run *r, struct migrate_run_info *ret);

#endif
