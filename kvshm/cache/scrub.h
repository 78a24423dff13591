/* SPDX-License-Identifier: Apache-2.0 */
/*
 * scrub.h - published bytes against their checksums, slowly and for ever
 *
 * Belongs to the writer thread.  A pass looks at every published block whose checksum is known; the
 * caller says how long a pass may take, the scrubber how much is due now.
 */
#ifndef KVSHM_CACHE_SCRUB_H
#define KVSHM_CACHE_SCRUB_H

#include <stdbool.h>
#include <stdint.h>

#include "kvshm/arena/block.h"

struct cache;
struct scrub;

struct scrub_counts {
	uint64_t blocks, bytes, passes, failures;
};

struct scrub_failure {
	blk_id_t id;
	uint32_t length;
	uint16_t ns;
	long nr_dropped;		/* the block and all below it */
};

/* Return: 0, -ENOMEM. */
int scrub_create(struct scrub **ret_s);
struct scrub *scrub_destroy(struct scrub *s);

/**
 * scrub_step() - check what is due since the last step, but no more than a few MiB
 * @pass_ns: wanted time of a pass over all
 * A block that does not match becomes unfindable, after what lies below it; both wait in quarantine for
 * their readers.  Return: 1 with @ret_f, all of it is dropped, call again; 0 nothing to tell.
 */
int scrub_step(struct scrub *s, struct cache *c, uint64_t now_ns, uint64_t pass_ns,
	       struct scrub_failure *ret_f);

/* In the middle of a drop: the next step is due at once. */
bool scrub_is_dropping(const struct scrub *s);

void scrub_count(const struct scrub *s, struct scrub_counts *ret);

#endif
