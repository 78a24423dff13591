/* SPDX-License-Identifier: Apache-2.0 */
/* heard.h - what was heard of one namespace, as a trace in memory */
#ifndef UTILS_HEARD_H
#define UTILS_HEARD_H

#include <stdbool.h>

#include "utils/hear.h"
#include "utils/sim.h"

struct heard_ns {
	struct sim_trace t;		/* if is_heard */
	uint64_t block_bytes;		/* of the biggest block seen */
	uint64_t hits;			/* blocks, by the daemon */
	uint64_t held_before;		/* of these, first uses since one listens */
	bool is_heard;
};

/* Return: 1 added; 0 it fits no trace; -ENOMEM, -ERANGE. */
int heard_add(struct heard_ns *n, const struct heard_request *q);
/* Forget all. */
void heard_clear(struct heard_ns *n);

/* As many blocks as @bytes hold. */
uint64_t heard_blocks_in(const struct heard_ns *n, uint64_t bytes);

#endif
