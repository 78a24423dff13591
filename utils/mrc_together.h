/* SPDX-License-Identifier: Apache-2.0 */
/*
 * mrc_together.h - what namespaces hit that share one cache, as they do in a daemon
 *
 * What was heard of all of them is one trace, simulated under a policy.  Their blocks must be of one size.
 */
#ifndef UTILS_MRC_TOGETHER_H
#define UTILS_MRC_TOGETHER_H

#include "utils/hear.h"
#include "utils/sim.h"

#define TOGETHER_MAX 1024u		/* namespaces */

struct together {
	struct sim_trace t;
	uint16_t *ns;			/* of each request of it */
	size_t room;
	uint64_t *hash;			/* of the request that is added */
	size_t hash_room;
	uint64_t block_bytes;
	uint32_t nr_ns;
	bool is_uneven;			/* blocks of different sizes: no answer */
	bool is_heard[TOGETHER_MAX];
};

struct together_share {
	uint64_t uses, hits;		/* of blocks */
};

/* @g begins as zeroes.  What fits no trace is passed over.  Return: 0; -ENOMEM, -ERANGE. */
int together_add(struct together *g, const struct heard_request *q);
void together_fini(struct together *g);

/* More than one namespace, and all of one size of blocks? */
bool together_has_answer(const struct together *g);

/* Each namespace's share with @blocks blocks for all; @ret_share of TOGETHER_MAX.  Return: 0; -ENOMEM; -EINVAL no block. */
int together_run(const struct together *g, const struct policy_ops *ops, uint64_t blocks,
		 struct together_share *ret_share);

#endif
