/* SPDX-License-Identifier: Apache-2.0 */
/*
 * gpumsg.h - what kvshm-gpud says and hears
 *
 *   client                                  kvshm-gpud, at its own socket
 *   HELLO {abi, own pid}             ->
 *                                    <-     WELCOME {life, pid, device}
 *   REGISTER {address, pieces} + fds ->     opened once, however many buffers lie in an allocation
 *                                    <-     BUFFER {address, token} or {address, error}
 *   ... STAGE_IN and STAGE_OUT entries with the token go through the queue pair of the daemon ...
 *   DETACH {address}                 ->     no new copies; those under way land; closed
 *                                    <-     DETACHED {address}: only now may the client free the memory
 *
 *   POOL_OPEN                        ->
 *                                    <-     POOL {piece} + fd, or {error}
 *   HOLD {request, block ids}        ->     each copied into the pool once, however many clients ask
 *                                    <-     HELD {request, offsets}, when all are there, or {request, error}
 *   RELEASE {block ids}              ->     places that nobody holds are used again
 *                                    <-     RELEASED {number, error}
 *   POOL_CLOSE                       ->     after the client has unmapped it: all its holds end
 *                                    <-     POOL_CLOSED
 *
 *   kvshm-gpud                              daemon, at a socket that only its own user may use
 *   LINK {abi, own slot}             ->     in whose name blocks are granted that copies out fill
 *                                    <-     LINK {abi, slot}: that one, 0: in nobody's
 *                                    <-     JOB {number, records}
 *   DONE {number, result, flags}     ->     all of it has landed, or nothing of it is under way any more; or HELD: what
 *                                           is under way may land until kvshm-gpud's process is gone
 *   POOL_STATS                       ->     what the pool holds, and what happened in it since the last one
 *
 * Descriptors go to kvshm-gpud only: the daemon takes none from anybody.  A token is random and tells that
 * who names it registered the buffer, or was told by who did.
 */
#ifndef IPC_GPUMSG_H
#define IPC_GPUMSG_H

#include <stddef.h>

#include <kvshm/abi.h>

enum gpumsg_type {
	GPUMSG_HELLO = 64,
	GPUMSG_WELCOME,
	GPUMSG_REGISTER,
	GPUMSG_BUFFER,
	GPUMSG_DETACH,
	GPUMSG_DETACHED,
	GPUMSG_LINK,
	GPUMSG_JOB,
	GPUMSG_DONE,
	GPUMSG_POOL_OPEN,
	GPUMSG_POOL,
	GPUMSG_HOLD,
	GPUMSG_HELD,
	GPUMSG_RELEASE,
	GPUMSG_RELEASED,
	GPUMSG_POOL_CLOSE,
	GPUMSG_POOL_CLOSED,
	GPUMSG_POOL_STATS,
	GPUMSG_LAST
};

#define GPUMSG_SOCKET "gpud.sock"	/* beside the daemon's socket */
#define GPUMSG_LINK_SOCKET "gpud.link"

#define GPUMSG_PIECES_MAX 64u		/* of one buffer */
#define GPUMSG_HOLD_MAX 256u		/* blocks of one request */
#define GPUMSG_HOLDS 32u		/* requests of one client that are not answered yet */

struct gpumsg_hello {
	struct kvshm_msg_hdr hdr;
	uint32_t abi;
	int32_t pid;			/* as the client sees itself */
};

struct gpumsg_welcome {
	struct kvshm_msg_hdr hdr;
	uint32_t abi;
	int32_t pid;			/* as kvshm-gpud sees itself */
	uint64_t life;			/* random: another one has none of the buffers */
	uint8_t uuid[16];		/* its device */
};

struct gpumsg_piece {			/* as struct gpu_piece of gpu/export.h */
	uint32_t kind, pad;
	uint8_t uuid[16];
	uint64_t alloc, alloc_len, off, len;
	uint8_t handle[64];
};

struct gpumsg_register {
	struct kvshm_msg_hdr hdr;
	uint64_t addr;			/* in the client: names the buffer */
	uint32_t nr;
	uint32_t resv;
	struct gpumsg_piece piece[GPUMSG_PIECES_MAX];	/* nr of them are sent, one descriptor each if by descriptor */
};

struct gpumsg_buffer {			/* BUFFER, DETACH, DETACHED */
	struct kvshm_msg_hdr hdr;
	uint64_t addr;
	uint64_t token;			/* BUFFER: 0 refused */
	uint64_t len;			/* BUFFER */
	int32_t error;			/* BUFFER, DETACHED: 0 or -errno */
	uint32_t resv;
};

struct gpumsg_link {
	struct kvshm_msg_hdr hdr;
	uint32_t abi;
	uint32_t slot;			/* of its session, 0: it may not write to the arena */
};

struct gpumsg_job {
	struct kvshm_msg_hdr hdr;
	uint64_t job;
	uint16_t op, ns;
	uint32_t nr;
	struct kvshm_stage_rec rec[KVSHM_STAGE_MAX];	/* nr of them are sent */
};

#define GPUMSG_DONE_F_HELD 0x1u		/* with an error: the device may still touch blocks and buffers */
#define GPUMSG_DONE_F_KNOWN 0x1u

struct gpumsg_done {
	struct kvshm_msg_hdr hdr;
	uint64_t job;
	int32_t res;			/* records that landed, or -errno */
	uint32_t flags;
};

struct gpumsg_pool {
	struct kvshm_msg_hdr hdr;
	int32_t error;			/* 0, or -errno: there is no piece */
	uint32_t resv;
	struct gpumsg_piece piece;
};

struct gpumsg_refs {			/* HOLD, RELEASE */
	struct kvshm_msg_hdr hdr;
	uint64_t request;		/* HOLD: the client's name for it */
	uint32_t nr;
	uint16_t ns;			/* HOLD */
	uint16_t resv;
	struct kvshm_block_ref ref[GPUMSG_HOLD_MAX];	/* nr of them are sent */
};

struct gpumsg_held {
	struct kvshm_msg_hdr hdr;
	uint64_t request;
	uint32_t nr;			/* as in HOLD */
	int32_t error;			/* 0, or -errno: none is held, offsets are 0 */
	uint64_t off[GPUMSG_HOLD_MAX];	/* in the pool; nr of them are sent */
};

struct gpumsg_released {
	struct kvshm_msg_hdr hdr;
	uint32_t nr;			/* released */
	int32_t error;			/* of the one after them: -ENOENT it is not held */
};

struct gpumsg_pool_stats {
	struct kvshm_msg_hdr hdr;
	uint64_t bytes, used_bytes, held_bytes;	/* now */
	uint64_t clients;		/* that have it open, now */
	uint64_t staged_blocks, staged_bytes, shared_blocks, evicted_blocks, refused;	/* since the last message */
};

union gpumsg {
	struct kvshm_msg_hdr hdr;
	struct gpumsg_hello hello;
	struct gpumsg_welcome welcome;
	struct gpumsg_register reg;
	struct gpumsg_buffer buffer;
	struct gpumsg_link link;
	struct gpumsg_job job;
	struct gpumsg_done done;
	struct gpumsg_pool pool;
	struct gpumsg_refs refs;
	struct gpumsg_held held;
	struct gpumsg_released released;
	struct gpumsg_pool_stats pool_stats;
};

/**
 * gpumsg_check() - a well-formed message of a known type?
 * Exact length for its type and its number of records, zero padding, ABI.
 * Return: the type; -EPROTONOSUPPORT another ABI; -EBADMSG.
 */
int gpumsg_check(const union gpumsg *m, size_t len);

/* Bytes of a message of @type with @nr records. */
size_t gpumsg_len(enum gpumsg_type type, uint32_t nr);

/* Fill in the header for @nr records.  Return: bytes to send. */
size_t gpumsg_begin(union gpumsg *m, enum gpumsg_type type, uint32_t nr);

/**
 * gpumsg_path() - the socket @name beside the daemon's
 * Return: 0, -ENAMETOOLONG.
 */
int gpumsg_path(const char *daemon_socket, const char *name, char *buf, size_t len);

#endif
