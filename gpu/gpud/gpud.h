/* SPDX-License-Identifier: Apache-2.0 */
/*
 * gpud.h - all of a running kvshm-gpud, and what its parts ask of one another
 *
 *   keeper (main.c)      holds the listening socket, starts the worker, again when it ends, with back-off;
 *                        kills it when it does not beat: a driver that hangs never comes back
 *   worker (worker.c)    one thread, one loop: clients, the daemon's link, copies under way, the staging pool
 *
 * Everything of the device is the worker's, so a lost context ends with it, and the next one starts clean.
 * Buffers die with the worker: clients see their connection hang up and register again.
 */
#ifndef GPU_GPUD_GPUD_H
#define GPU_GPUD_GPUD_H

#include <stdbool.h>
#include <stdint.h>

#include "gpu/event.h"
#include "gpu/gpud/attach.h"
#include "gpu/gpud/pool_table.h"
#include "gpu/hostreg.h"
#include "gpu/import.h"
#include "gpu/stream.h"
#include "ipc/gpumsg.h"

#define GPUD_CLIENTS 64u
#define GPUD_BUFFERS 4096u		/* of all clients: a model has some hundred tensors */
#define GPUD_BUFFERS_A_CLIENT 1024u
#define GPUD_PIECES 8192u
#define GPUD_JOBS 512u			/* as many as the daemon lets out */
#define GPUD_POOL_UIDS 16u

struct gpud_options {
	char socket[108];		/* of the daemon */
	char own_socket[108], link_socket[108];
	const char *libcuda;		/* NULL: as cuda_load() says */
	unsigned device;
	uint64_t deadline_ns;		/* of a copy */
	unsigned mode;			/* of our socket */
	uint64_t pool_len, pool_quota;	/* bytes; 0: no staging pool; what one client may hold, 0: half of it */
	uid_t pool_uid[GPUD_POOL_UIDS];	/* who may map it besides our own user and root */
	unsigned nr_pool_uids;
};

struct gpud_client {
	int fd;				/* -1: free, or gone with copies still under way (is_gone) */
	bool is_gone, has_said_hello;
	uint64_t peer;			/* number for gpu/import.h, never used again */
	pid_t pid;			/* as it sees itself */
	uint64_t since_ns;
	struct gpu_stream stream, out;	/* urgent, to the device; from it, behind what is urgent */
	unsigned nr_jobs;		/* under way */
	unsigned nr_buffers;
	struct gpud_buffer *buffers;
	bool has_pool;			/* asked for it and not closed it since */
	struct pool_user pool_user;
	unsigned nr_holds;		/* requests under way */
};

struct gpud_buffer {
	struct gpud_buffer *next;
	struct gpud_client *client;
	uint64_t token, addr_there;
	struct gpu_import *import;
	unsigned nr_jobs;
	bool is_detaching;		/* no new copies; closed when those under way have landed */
};

struct gpud_job {
	uint64_t number;		/* 0: free */
	struct gpud_client *client;
	struct gpu_event landed;	/* kept open from use to use */
	uint64_t deadline_ns;
	int32_t res;			/* once all that was submitted has landed */
	uint32_t nr, nr_pins;		/* records */
	struct gpud_buffer *buffer[KVSHM_STAGE_MAX];	/* of each */
	uint16_t pin[KVSHM_STAGE_MAX];
};

struct gpud {
	const struct gpud_options *opts;
	int listen_fd, link_fd, epoll_fd, beat_fd;
	struct cuda cuda;
	struct gpu_ctx ctx;
	struct attach attach;
	struct pool *pool;		/* NULL: none */
	struct hostreg *hostreg;
	uint32_t nr_registered;		/* extents handed to hostreg */
	struct gpu_imports *imports;
	struct gpud_client client[GPUD_CLIENTS];
	struct gpud_job job[GPUD_JOBS];
	unsigned nr_jobs;
	uint64_t life, next_peer;
	int end;			/* exit status; -1: go on */
	union gpumsg msg;
	struct attach_block block[KVSHM_STAGE_MAX];	/* of the job that is being submitted */
	CUdeviceptr dst[KVSHM_STAGE_MAX], src[KVSHM_STAGE_MAX];
	size_t len[KVSHM_STAGE_MAX];
};

/* ---- worker.c -------------------------------------------------------------------------------------- */

/* The worker's life.  @beat_fd: a byte is written at least once a second.  Return: exit status. */
int gpud_worker(const struct gpud_options *opts, int listen_fd, int beat_fd);

/* The loop ends with this status after this round. */
void gpud_end(struct gpud *g, int status);

/* ---- clients.c ------------------------------------------------------------------------------------- */

void clients_init(struct gpud *g);
void clients_accept(struct gpud *g);
/* Some messages of one, or its end. */
void clients_serve(struct gpud *g, struct gpud_client *c);
/* Now and then: who is connected and has not said HELLO in time leaves. */
void clients_tick(struct gpud *g);
/* The message that lies in g->msg, with descriptors.  A client that does not read is told nothing more. */
void clients_say(struct gpud *g, struct gpud_client *c, size_t len, const int *fds, unsigned nr_fds);
struct gpud_buffer *clients_find(struct gpud *g, uint64_t token);
/* A copy of it has landed: what waited for that? */
void clients_landed(struct gpud *g, struct gpud_client *c);

/* ---- jobs.c ---------------------------------------------------------------------------------------- */

/* Connect to the daemon.  Return: 0, -errno. */
int jobs_link(struct gpud *g);
/* What the daemon wants.  Return: number taken, -errno: the daemon is gone. */
int jobs_take(struct gpud *g);
/* What has landed, and what should have by now.  Return: number. */
unsigned jobs_poll(struct gpud *g);
void jobs_fini(struct gpud *g);
/* The device is lost, or does not answer: the daemon is told, nothing under way is waited for, the worker ends. */
void jobs_give_up(struct gpud *g, int status, int32_t res, const char *why);

/* ---- pool.c ---------------------------------------------------------------------------------------- */

/* As the options say.  One that cannot be had is told to those who ask for it; copies into buffers are served as ever. */
void pool_open(struct gpud *g);
void pool_close(struct gpud *g);
/* POOL_OPEN, HOLD, RELEASE or POOL_CLOSE lies in g->msg.  Return: 0, -EBADMSG. */
int pool_serve(struct gpud *g, struct gpud_client *c, int type);
/* All that it holds is let go. */
void pool_forget(struct gpud *g, struct gpud_client *c);
/* What has landed, and what should have by now.  Return: number. */
unsigned pool_poll(struct gpud *g);
/* Copies under way? */
bool pool_is_busy(const struct gpud *g);
/* Now and then: the daemon's statistics. */
void pool_tell(struct gpud *g);

#endif
