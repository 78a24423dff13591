/* SPDX-License-Identifier: Apache-2.0 */
/* migrate_priv.h - what a run of migrations is made of; for migrate_run.c and migrate_send.c only */
#ifndef GPU_MIGRATE_PRIV_H
#define GPU_MIGRATE_PRIV_H

#include "gpu/migrate_run.h"

struct request {
	struct migrate m;
	struct migrate_tables tables;
	int error;			/* why it was aborted */
	bool is_used;
	bool is_lost;			/* a device was lost with copies of it under way */
	bool is_counted;
};

struct message {			/* what a hop carries */
	struct migrate_piece *pieces;	/* [max_blocks] */
	unsigned nr;
	struct message *next;		/* submitted behind it */
};

struct migrate_run {
	struct hops *hops;
	uint32_t nr_groups, block_tokens, max_blocks;
	uint64_t token_bytes;		/* of all groups and layers */
	struct migrate_engine engine;
	uint32_t max_pauses, max_requests;
	struct migrate_run_info info;
	struct message *first, **last, *idle;
	struct hop_block *blocks;	/* of the call, [max_blocks * nr_groups] */
	struct migrate **set;		/* all of .request */
	struct request request[];
};

/* Aborted, with the first reason.  Return: 0, -EALREADY. */
int request_end(struct request *q, int error);

/* migrate_send.c */

/* See which hops have passed.  Return: is there anything new? */
bool messages_land(struct migrate_run *r);

/* One more hop, of what the requests want copied.  Return: has something been issued? */
bool messages_issue(struct migrate_run *r);

void messages_free(struct message *m);

#endif
