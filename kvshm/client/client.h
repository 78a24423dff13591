/* SPDX-License-Identifier: Apache-2.0 */
/*
 * client.h - what a handle is made of
 *
 *   kvshm ── cur ─▶ attachment ─▶ content (directory + arena maps, shared by attachments)
 *         └─ old ─▶ attachment ─▶ ...   sessions of daemons that are gone, kept while pins are held
 *
 * An attachment is one session: socket, pin file, segment.  A content is what a daemon serves; a
 * warm restart gives a new session to the same content, a cold one both.  The read path touches
 * cur, its content and its pin table only.  Everything is owned by the thread that uses the handle.
 */
#ifndef KVSHM_CLIENT_CLIENT_H
#define KVSHM_CLIENT_CLIENT_H

#include <stdbool.h>
#include <sys/un.h>

#include <kvshm/kvshm.h>

#include "ipc/handshake.h"
#include "ipc/qp.h"
#include "ipc/segment.h"
#include "kvshm/arena/arena.h"
#include "kvshm/base/atomic.h"
#include "kvshm/base/compiler.h"
#include "kvshm/base/wait.h"
#include "kvshm/pin/pin.h"

#define CLIENT_TIMEOUT_MS 2000u
#define CLIENT_RETRY_NS 100000000ull	/* between two attempts to attach again */
#define CLIENT_LOOK_NS 1000000ull	/* between two looks at a quiet socket */
#define CLIENT_OPS KVSHM_CQ_ENTRIES	/* in flight at most: the CQ cannot overflow */
#define CLIENT_DONE 4096u		/* completions that the user has not taken yet */
#define CLIENT_NS_MAX 4096u

/* ---- what a daemon serves (content.c) ------------------------------------------------------ */

struct content {
	struct directory dir;
	struct arena arena;
	uint32_t serial;		/* which content of this handle, from 1 */
	unsigned refs;			/* attachments */
	uint64_t retry_ns;		/* no request for more extents before */
};

/* Map the directory; address space for the arena, no extent yet.  Takes nothing over. */
int content_open(int directory_fd, bool writable, uint32_t serial, struct content **ret_c);
/* Drop one hold.  A forked child (!@is_owner) has none of the maps.  Return: NULL. */
struct content *content_put(struct content *c, bool is_owner);

/* ---- a session (attach.c) --------------------------------------------------------------------- */

struct attachment {
	struct attachment *next;	/* in the list of old ones */
	struct content *content;
	uint32_t epoch;			/* which attachment of this handle, from 1 */
	uint32_t slot;			/* number of the pin file, owner of grants */
	uint64_t state_seen;		/* superblock's state word, SB-1 */
	int sock;			/* -1: hung up; hits go on */
	int pin_fd;			/* the only descriptor of the file: it carries the lock */
	int doorbell;
	bool is_trusted;
	int near;			/* NUMA node that the daemon was told, -1: none */
	bool is_left;			/* a lost device may still touch its blocks: kept until the process ends */
	struct pin_table pins;
	uint32_t nr_pins;		/* held by the user */
	uint32_t nr_out;		/* granted blocks in the user's hands */
	uint32_t credit_blocks;
	uint64_t credit_bytes;
	struct segment seg;
	struct qp_end sq, cq, touch;
	char *staging;			/* window, NULL: not made yet */
	uint32_t staging_tail;		/* own index, in slices */
};

enum attempt_phase { ATTEMPT_NONE, ATTEMPT_WELCOME, ATTEMPT_READY, ATTEMPT_EXTENTS };

struct attempt {			/* an attach in progress */
	enum attempt_phase phase;
	struct attachment *a;		/* being made; its socket too */
	uint64_t deadline_ns, next_ns;
};

/* ---- entries in flight (submit.c) ---------------------------------------------------------- */

enum op_kind { OP_FREE, OP_COMMIT, OP_GRANT, OP_RETURN, OP_NS, OP_SYNC, OP_HINT, OP_STAGE };

struct credit_pool;

struct op {
	enum op_kind kind;
	uint8_t opcode;
	uint32_t life;			/* which use of this slot; comes back in the completion */
	uint32_t nr;			/* blocks; STAGE: copies */
	uint64_t bytes;			/* of credit */
	uint32_t pin_slot;		/* COMMIT: keeps the parent until the completion */
	uint32_t group;			/* COMMIT, STAGE */
	bool is_staged;			/* COMMIT */
	uint32_t ns;			/* OP_NS */
	struct credit_pool *pool;	/* GRANT */
	uint32_t args;			/* number of its span + 1, 0: none */
	uint32_t args_off;
};

struct args_span {
	uint64_t end;			/* position after it */
	bool is_done;
};

/* The argument area as a first-in first-out ring; positions run freely. */
struct args_ring {
	uint64_t head, tail;
	uint32_t len;
	struct args_span span[CLIENT_OPS];
	uint32_t first, next;
};

struct group {				/* one put of the user: one or more COMMITs */
	uint64_t user_data;
	uint32_t nr_open;		/* commits without completion, plus one while it is being sent */
	int32_t published, error;
	uint32_t nr_duplicate, nr_dropped;
};

struct flight {
	struct op op[CLIENT_OPS];
	uint16_t free_op[CLIENT_OPS];
	struct group group[CLIENT_OPS];
	uint16_t free_group[CLIENT_OPS];
	uint32_t nr_free_op, nr_free_group;
	struct args_ring args;
	uint32_t sync_life;		/* the synchronous request waited for, 0: none */
	bool sync_done;
	int32_t sync_res;
	struct kvshm_completion *done;	/* ring of CLIENT_DONE */
	uint32_t done_head, done_tail;
	bool is_broken;			/* the staging stream is out of step: end the session */
	bool is_lost;			/* something in flight was lost: kvshm_poll() says so once */
};

/* ---- credits (credit.c) ------------------------------------------------------------------------ */

struct credit_pool {			/* blocks of one length, granted and not yet used */
	struct credit_pool *next;
	uint32_t ns, length;
	uint32_t head, tail, cap;	/* ref[] is a ring of cap, a power of two */
	uint32_t asked;			/* on their way */
	uint64_t dry_until_ns;		/* the last answer was short: do not ask before */
	struct kvshm_block_ref *ref;
};

struct credit {
	struct credit_pool *pools;
	uint32_t used_blocks;		/* idle, asked for, in hand, in flight */
	uint64_t used_bytes;
};

/* ---- namespaces (ns.c) --------------------------------------------------------------------------- */

struct client_ns {
	struct kvshm_ns_desc desc;
	uint32_t serial;		/* of the content that .wire is a number of, 0: none */
	uint16_t wire;
	bool is_asked;			/* ATTACH_NS is in flight */
	bool is_out;			/* the user has the number */
	int32_t error;			/* of the last ATTACH_NS */
};

/* ---- the handle ------------------------------------------------------------------------------------ */

struct kvshm {
	const uint32_t *alive;		/* reads 0 in a forked child */
	struct attachment *cur;		/* NULL: the content was abandoned, nothing new yet */
	uint64_t *cc;			/* counters: cur's segment, or .counter */
	struct client_ns *ns;		/* [nr_ns + 1], 0 unused */
	uint32_t nr_ns;
	blk_id_t *ids;			/* [KVSHM_CHAIN_MAX] for resolve */
	struct attachment *old;
	struct attempt attempt;
	struct wait wait, staging_wait;
	uint64_t next_look_ns;
	uint32_t next_epoch, next_serial;
	uint32_t session;		/* counts hang-ups too: what was in flight before is gone */
	uint64_t messages;
	uint64_t trace_ns;		/* with has_clock: what time it is */
	uint32_t hint;			/* goes with touches and records */
	int near;			/* NUMA node where blocks are wanted, -1: anywhere */
	bool has_clock;
	struct flight *flight;
	struct credit credit;
	struct kvshm_gpu *gpu;		/* list, see gpu.h */
	uint32_t hello_flags, timeout_ms;
	char path[sizeof(((struct sockaddr_un *)0)->sun_path)];
	char label[32];
	uint64_t counter[KVSHM_CC_WORDS];
};

static inline bool client_is_forked(const struct kvshm *k)
{
	return unlikely(!READ_ONCE(*k->alive));
}

static inline bool client_is_attached(const struct kvshm *k)
{
	return k->cur && k->cur->sock >= 0;
}

static inline void client_count(struct kvshm *k, enum kvshm_client_counter c, uint64_t n)
{
	WRITE_ONCE(k->cc[c], k->cc[c] + n);
}

/* attach.c: make an attachment, non-blocking, step by step. */

/* Connect and send HELLO.  Return: 0, -errno. */
int attach_begin(struct kvshm *k, unsigned connect_ms, uint64_t deadline_ns);
/* Go on as far as possible.  Return: 1 attached, 0 waits for the daemon, -errno given up. */
int attach_step(struct kvshm *k);
void attach_abort(struct kvshm *k);
/* A re-attach: begin or go on, at most every 100 ms; never waits.  Return: is attached now. */
bool attach_try(struct kvshm *k);

/* session.c: the life of attachments. */

struct attachment *attachment_find(struct kvshm *k, uint32_t epoch);
struct attachment *attachment_free(struct attachment *a, bool is_owner);
/* The daemon is gone: what was in flight is lost, hits go on. */
void client_hangup(struct kvshm *k);
/* @a takes over from the current one, which stays while something of it is in the user's hands. */
void client_switch(struct kvshm *k, struct attachment *a);
/* The handle's counters into a new segment, not yet in use. */
void client_counters_copy(const struct kvshm *k, uint64_t *to);
/* The content was abandoned (DEAD). */
void client_abandon(struct kvshm *k);
/* Frees old attachments that hold nothing any more. */
void client_reap_old(struct kvshm *k);
/* Has the peer hung up?  Looks if @force or if the last look is long ago. */
bool client_look(struct kvshm *k, bool force);
/* Begin of every call of the put side.  Return: 0; -ECONNRESET no daemon. */
int client_enter(struct kvshm *k);
/* Make sure that [offset, +len) is mapped, asking for more extents if need be. */
bool client_reach(struct kvshm *k, struct content *c, uint64_t offset, uint64_t len);

/* hint.c: tell the daemon .near, which it does not know; if the queue is busy, at a later call. */
void hint_near(struct kvshm *k);

/* match.c */

/* Begin of a call of the read side.  Return: 1 go on; 0 a miss; -errno. */
int match_enter(struct kvshm *k, uint32_t ns, unsigned nr_keys, uint16_t *ret_wire);
/* Pin the longest cached prefix; neither counted nor told to the policy.  Return: as kvshm_acquire(). */
int match_pin(struct kvshm *k, uint32_t ns, const struct index_keys *keys, unsigned nr_keys,
	      struct kvshm_pin *ret_pin);
void match_count(struct kvshm *k, unsigned nr_keys, unsigned nr_hits, uint32_t tokens);
void match_touch(struct kvshm *k, blk_id_t id, uint32_t generation, unsigned nr);
/* A pin word of the current attachment is in the user's hands from now on. */
void match_fill_pin(struct kvshm *k, struct kvshm_pin *pin, const struct index_hit *hit,
		    uint32_t slot, unsigned nr, uint16_t wire);
/* The attachment whose pin file holds it, NULL: it is not held. */
struct attachment *match_pin_owner(struct kvshm *k, const struct kvshm_pin *pin);
/* Where a pinned block lies.  Return: false: in an extent that cannot be had. */
bool match_fill_block(struct kvshm *k, struct content *c, blk_id_t id, uint32_t tokens,
		      struct kvshm_block *b);

/* submit.c */

int flight_create(struct flight **ret_f);
struct flight *flight_destroy(struct flight *f);
/* Everything in flight is lost (counted, pins of puts dropped). */
void flight_lose(struct kvshm *k);
void flight_reset_args(struct flight *f, uint32_t args_len);

/* Reserve queue entry, op and arguments.  Return: 0; -ENOBUFS; -ECONNRESET. */
int submit_reserve(struct kvshm *k, enum op_kind kind, uint8_t opcode, uint32_t args_len,
		   struct op **ret_op, void **ret_args);
void submit_cancel(struct kvshm *k, struct op *op);
/* Push the entry of a reserved op; user_data, off, len (unless GRANT) and stamp are filled in. */
int submit_push(struct kvshm *k, struct op *op, struct kvshm_sqe *sqe, uint32_t args_len);
/* The op's completion has been handled. */
void op_end(struct kvshm *k, struct op *op);

/* Return: 0 and a group with one hold on it; -ENOBUFS. */
int group_open(struct kvshm *k, uint64_t user_data, uint32_t *ret_group);
void group_hold(struct kvshm *k, uint32_t group);
/* Drop one hold; the last one makes the completion. */
void group_drop(struct kvshm *k, uint32_t group);
/* End it without a completion. */
void group_cancel(struct kvshm *k, uint32_t group);

/* poll.c */

/* Take all completions that are there. */
void poll_drain(struct kvshm *k);
/* Wait for a completion of any kind.  Return: 1; 0 deadline; -ECONNRESET. */
int poll_wait(struct kvshm *k, uint64_t deadline_ns);
/* Wait for the synchronous request.  Return: its result, -ETIMEDOUT, -ECONNRESET. */
int poll_sync(struct kvshm *k, struct op *op, uint64_t deadline_ns);

/* ns.c */

/* Number on the wire in the current content.  Return: 0; -EINVAL; -ENODATA not in this content. */
int ns_wire(struct kvshm *k, uint32_t ns, uint16_t *ret_wire);
/* The same for the put side: asks for it in the background.  Also -EMEDIUMTYPE, -ECONNRESET. */
int ns_wire_put(struct kvshm *k, uint32_t ns, uint16_t *ret_wire);
void ns_complete(struct kvshm *k, struct op *op, int32_t res);

/* credit.c: blocks of the current session */

/* The pool for blocks of @length, made if need be.  Return: NULL no memory or bad length. */
struct credit_pool *credit_pool_get(struct kvshm *k, uint32_t ns, uint32_t length);
/* Up to @nr blocks out of the pool, no wait.  Return: number. */
unsigned credit_take(struct kvshm *k, struct credit_pool *p, unsigned nr, struct kvshm_block *ret);
/* The same, waiting for one round trip if the pool has too few; @deadline_ns 0: no wait. */
unsigned credit_take_wait(struct kvshm *k, struct credit_pool *p, uint16_t wire, unsigned nr,
			  struct kvshm_block *ret, uint64_t deadline_ns);
/* Taken blocks that will not be used: into the pool again, after a failed commit. */
void credit_untake(struct kvshm *k, const struct kvshm_block *blocks, unsigned nr);
/* Taken blocks back into the daemon's hands; into the pool if the queue is full. */
void credit_return(struct kvshm *k, const struct kvshm_block *blocks, unsigned nr);
/* All idle blocks but those of @except back into the daemon's hands. */
void credit_return_idle(struct kvshm *k, const struct credit_pool *except);
void credit_complete(struct kvshm *k, struct op *op, const struct kvshm_cqe *cqe);
/* Blocks have left the session's credit. */
void credit_spent(struct kvshm *k, uint32_t nr, uint64_t bytes);
/* After a hang-up: nothing is ours any more. */
void credit_forget(struct kvshm *k);
void credit_free(struct kvshm *k);
/* Blocks of a put that are taken at once, so that others come in while they are copied. */
unsigned credit_chunk(const struct kvshm *k, uint32_t length);

/* commit.c */

struct kvshm_service_piece;

struct commit {
	uint16_t wire;
	uint8_t sqe_flags;		/* LOOSE, STAGED; NOPARENT follows from the rest */
	const struct kvshm_key *parent, *keys;
	const struct kvshm_block *blocks;	/* staged, or in pieces: only length and tokens count */
	unsigned nr;
	const struct kvshm_service_piece *pieces;	/* where the bytes lie: kvshm-gpud copies them before */
	unsigned nr_pieces;		/* 0: they are in the blocks, or in the window */
	uint64_t credit_bytes;		/* of the blocks as granted */
	uint32_t group;
};
/*
 * Send one COMMIT, or STAGE_OUT; the last present block is pinned until its completion.  Return: 0; -ENOBUFS the
 * caller keeps the blocks; -ECONNRESET the group is gone with everything that was in flight.
 */
int commit_send(struct kvshm *k, const struct commit *m);

/* staging.c */

/* Make the window if there is none.  Return: 0, -errno. */
int staging_ready(struct kvshm *k, uint64_t deadline_ns);
/* Free slices. */
uint32_t staging_room(struct kvshm *k);
int staging_wait_room(struct kvshm *k, uint32_t slices, uint64_t deadline_ns);
/* Stream one payload.  Return: 0; -ETIMEDOUT, -ECONNRESET: the session is of no use any more. */
int staging_fill(struct kvshm *k, const void *src, uint32_t len, uint64_t deadline_ns);

static inline uint32_t staging_slices(uint32_t len)
{
	return (len + KVSHM_STAGING_SLICE - 1) / KVSHM_STAGING_SLICE;
}

#endif
