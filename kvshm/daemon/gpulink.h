/* SPDX-License-Identifier: Apache-2.0 */
/*
 * gpulink.h - the link to kvshm-gpud: jobs go out, results come back
 *
 * kvshm-gpud connects to a socket that only the daemon's own user may use; main hands the connection to
 * the writer, which sends without waiting and never waits for an answer.  A link that is gone, or that owes
 * an answer for too long, ends all of its jobs with an error, and nothing else of the daemon depends on it.
 * A session that ends takes its jobs' completions with it; the copies themselves are protected by pins
 * and grants of kvshm-gpud's own session, whose end is the link's.
 */
#ifndef KVSHM_DAEMON_GPULINK_H
#define KVSHM_DAEMON_GPULINK_H

#include <stdbool.h>
#include <stdint.h>

#include "ipc/gpumsg.h"

struct daemon;
struct save;
struct session;
struct writer;

#define GPULINK_JOBS 512u		/* under way, of all sessions */
#define GPULINK_JOBS_A_SESSION 64u
#define GPULINK_ANSWER_NS 60000000000ull /* kvshm-gpud gives up long before, or is killed by its keeper */

struct gpujob {
	uint64_t number;		/* 0: free */
	struct session *s;		/* NULL: it ended meanwhile */
	struct save *save;		/* told of the end in the session's stead */
	uint64_t user_data, stamp_ns, since_ns, bytes;
	uint8_t op;
};

struct gpulink_pool {			/* kvshm-gpud's staging pool, as it told */
	uint64_t bytes, used_bytes, held_bytes, clients;	/* now; 0 without a link */
	uint64_t staged_blocks, staged_bytes, shared_blocks, evicted_blocks, refused;	/* since our start */
};

struct gpulink {			/* the writer's */
	int fd;				/* -1: no kvshm-gpud */
	struct session *owner;		/* kvshm-gpud's own, NULL: it has not said, or may not write */
	uint64_t next;			/* number of the next job */
	unsigned nr_jobs;
	uint64_t look_ns;		/* last look at the socket */
	struct gpujob job[GPULINK_JOBS];
	uint64_t nr_links, nr_done, nr_failed, loaded_bytes, saved_bytes; /* since start */
	struct gpulink_pool pool;
	union gpumsg msg;		/* being sent or taken */
};

/* ---- main ---------------------------------------------------------------------------------------- */

/* Open the listening socket beside that of the clients.  Return: 0, -errno: there is none. */
int gpulink_listen(struct daemon *d);
/* Take its name away again. */
void gpulink_unlisten(struct daemon *d);
/* Take the connections that wait; others than our own user's are closed. */
void gpulink_accept(struct daemon *d);

/* ---- the writer ---------------------------------------------------------------------------------- */

void gpulink_init(struct gpulink *l);
void gpulink_fini(struct gpulink *l);

/* A connection from main; of a kvshm-gpud that came back, its forerunner's is given up. */
void gpulink_take(struct writer *w, int fd);

/**
 * gpulink_submit() - send checked copies on
 * @what: .s, .op, and either .save or .user_data and .stamp_ns; the rest is filled in
 * @rec: at most KVSHM_STAGE_MAX
 * They complete later by themselves.  Return: 0; -ENOTCONN no kvshm-gpud; -EBUSY too many under way; -EAGAIN it
 * does not read fast enough.
 */
int gpulink_submit(struct writer *w, const struct gpujob *what, uint16_t ns, const struct kvshm_stage_rec *rec,
		   uint32_t nr);

/* In whose name blocks are granted that kvshm-gpud fills.  Return: 0; -ENOTCONN; -EROFS it may not write. */
int gpulink_owner(const struct gpulink *l, struct session **ret_s);

/* What has come back.  Return: true if there was something. */
bool gpulink_poll(struct writer *w);

/* Its completions are wanted by nobody any more; if it is kvshm-gpud's own, neither is the link. */
void gpulink_forget(struct writer *w, const struct session *s);

/* Once a second: does the link owe an answer for too long? */
void gpulink_tick(struct writer *w);

#endif
