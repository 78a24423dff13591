/* SPDX-License-Identifier: Apache-2.0 */
/*
 * opdef.h - the opcode table: who may ask, what it costs, what runs
 *
 * ipc/wire.c has found the entry well-formed before; holes here are refused as unknown there.
 */
#ifndef KVSHM_DAEMON_OPDEF_H
#define KVSHM_DAEMON_OPDEF_H

#include <stdbool.h>
#include <stdint.h>

#include <kvshm/abi.h>

struct session;
struct writer;

struct request { /* one entry being served; private to the writer */
	struct writer *w;
	struct session *s;
	struct kvshm_sqe sqe; /* private copy */
	const void *args; /* private copy of sqe.len bytes, NULL: none */
	struct kvshm_cqe cqe; /* .res, runs and counts are the handler's */
};

#define OP_LATER 1 /* the handler completes the entry later */

struct opdef {
	const char *name;
	/* Return: 0, -errno: refused. */
	int (*check)(const struct request *r);
	/* Return: 0 complete now with r->cqe; OP_LATER. */
	int (*run)(struct request *r);
	/* NULL: never.  True: instead of .run, .step once a round until it returns false (slow.h). */
	bool (*is_slow)(const struct request *r);
	bool (*step)(struct request *r);
};

/* Entry of an opcode, NULL: not served here. */
const struct opdef *opdef_find(uint8_t op);

/* Handlers, by subject. */
int op_nop(struct request *r); /* opdef.c */
int op_detach(struct request *r);
int op_attach_ns(struct request *r); /* op_ns.c */
int op_may_grant(const struct request *r); /* op_put.c */
int op_grant(struct request *r);
int op_return(struct request *r);
bool op_grant_is_slow(const struct request *r);
bool op_grant_step(struct request *r);
bool op_return_is_slow(const struct request *r);
bool op_return_step(struct request *r);
int op_may_commit(const struct request *r); /* op_commit.c */
int op_commit(struct request *r);
bool op_commit_is_slow(const struct request *r);
bool op_commit_step(struct request *r);
int op_may_drop(const struct request *r); /* op_drop.c */
bool op_drop_is_slow(const struct request *r);
bool op_drop_step(struct request *r);
int op_hint(struct request *r); /* op_hint.c */
int op_stage_in(struct request *r); /* op_stage.c */
int op_stage_out(struct request *r);

/* The one copy of what the client wrote: @len bytes at @off of its argument area, into r->args. */
void request_take_args(struct request *r, uint32_t off, uint32_t len);

/* Work units of an entry, against a session's budget of a poll. */
unsigned op_cost(const struct kvshm_sqe *sqe);

#endif
