/* SPDX-License-Identifier: Apache-2.0 */
/*
 * pool.h - the staging pool: blocks copied into device memory that several clients map
 *
 *   pool.c        the memory, who may map it, what the daemon's statistics say
 *   pool_hold.c   requests: what is missing is copied in, an answer when all is there
 *   pool_table.c  what lies where, who holds it
 *   pool_room.c   which parts are taken
 *
 * A client dies: its holds end, and blocks on their way to it land for whoever asks next.  We die: the memory lives as
 * long as a client maps it, but nothing in it is anybody's any more; clients see their connection hang up.
 */
#ifndef GPU_GPUD_POOL_H
#define GPU_GPUD_POOL_H

#include "gpu/gpud/gpud.h"
#include "gpu/shared.h"

struct pool_request {			/* HOLD, not answered yet */
	struct pool_request *next;	/* came later */
	struct gpud_client *client;	/* NULL: gone, or has closed the pool */
	uint64_t name;			/* the client's */
	uint64_t after;			/* complete when copies up to this number have landed */
	uint16_t ns;
	uint32_t nr;
	struct kvshm_block_ref ref[GPUMSG_HOLD_MAX];
	bool is_held[GPUMSG_HOLD_MAX];
	/* what it brings itself */
	uint64_t copy;			/* its number; 0: nothing, or it has landed */
	struct gpu_event landed;
	int res;			/* of the submit */
	uint32_t nr_blocks, nr_pins;
	struct pool_block *block[GPUMSG_HOLD_MAX];
	uint16_t pin[GPUMSG_HOLD_MAX];
};

struct pool {
	struct gpu_shared mem;
	struct gpu_piece piece;
	int fd;				/* of the memory, for clients */
	int error;			/* why there is no memory */
	struct pool_table *table;
	struct gpu_stream stream;
	struct pool_request *first, **end;	/* in order of their copies */
	uint64_t nr_copies, nr_landed;	/* numbers of the last one begun, and landed */
	uint64_t since_ns;		/* the stream's oldest copy is its oldest since then */
	unsigned nr_clients;
	uint64_t nr_refused;
	struct gpumsg_pool_stats told;	/* since the start, as the daemon knows it */
};

/* ---- pool_hold.c ------------------------------------------------------------------------------------ */

/* HOLD lies in g->msg.  Return: 0, -EBADMSG. */
int pool_hold_serve(struct gpud *g, struct gpud_client *c);
/* No answers for it any more; what is under way lands. */
void pool_hold_forget(struct pool *p, struct gpud_client *c);

#endif
