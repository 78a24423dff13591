/* SPDX-License-Identifier: Apache-2.0 */
/*
 * writer.h - the one thread that writes the directory
 *
 * Looks at queue pairs, touch rings, staging windows and its mailbox; runs the cache; sleeps when
 * there is nothing.  While sessions exist it wakes every 100 ms, because touches ring no bell.
 */
#ifndef KVSHM_DAEMON_WRITER_H
#define KVSHM_DAEMON_WRITER_H

#include <stdbool.h>
#include <stdint.h>

#include "kvshm/base/wait.h"
#include "kvshm/daemon/gpulink.h"
#include "kvshm/daemon/recent.h"
#include "kvshm/daemon/session.h"
#include "kvshm/stats/statpage.h"

#define WRITER_TICK_NS 100000000ull

struct daemon;

struct writer_counts {
	uint64_t sqes, sqes_refused, sqes_refused_op, sqes_refused_args, cq_full, copy_in_bytes, counters_rejected, wakeups;
	uint64_t busy_ns, idle_ns, asleep_ns; /* of its time: rounds with something to do, without, asleep */
	uint64_t client[KVSHM_CC_LAST]; /* sums over all sessions, since start */
};

struct writer {
	struct daemon *d;
	struct cache *cache;
	struct scrub *scrub;
	int epoll_fd;
	struct session *hot[SESSION_MAX],
		*cold[SESSION_MAX]; /* served: busy lately, and the others */
	unsigned nr_hot, nr_cold, next_cold;
	struct session *known[SESSION_MAX]; /* by table index: pin file in the scan set */
	bool is_listed[SESSION_MAX]; /* in the stats page now */
	uint64_t *mark; /* a bit a block id, for counting what left an owner's hands */
	char args[KVSHM_ARGS_LEN] __attribute__((aligned(64))); /* private copy, one entry's */
	struct gpulink link;
	struct writer_counts counts;
	struct recent recent;
	struct wait wait;
	uint64_t now_ns; /* of this round */
	uint64_t tick_ns, touch_ns, slow_ns;
	bool is_busy; /* something happened since the last tick */
	bool did_something; /* in the round before */
	bool has_paused; /* a session waits for room in its CQ */
	bool is_quitting;
};

/* Return: 0, -errno. */
int writer_create(struct daemon *d, struct writer **ret_w);
struct writer *writer_destroy(struct writer *w);

/* The lcore's function; returns after MAIL_QUIT. */
int writer_main(void *writer);

/* All that is there now, a turn for each session.  Return: true if there was something. */
bool writer_round(struct writer *w);

/* What time it is for the policy, of something that a client stamped: its own clock's in lockstep. */
uint64_t writer_time(const struct writer *w, uint64_t stamp_ns);

/* The session with this pin file, if it is not removed yet. */
struct session *writer_known(const struct writer *w, uint32_t slot);

/* How long ago a client stamped something, 0: unknown. */
uint64_t writer_since(const struct writer *w, uint64_t stamp_ns);

/* Tell main about a session, once; its queue is not looked at again. */
void writer_report(struct writer *w, struct session *s, enum offence o);

/* Push a completion, @ns after its entry (0: unknown), and wake its client.  There is room: it was reserved. */
void writer_complete(struct writer *w, struct session *s, const struct kvshm_cqe *cqe, uint64_t ns);

/* touch.c: drain the touch ring of a served session, of all sessions, into the cache. */
void touch_drain_one(struct writer *w, struct session *s);
void touch_drain_all(struct writer *w);
/* Before blocks are asked for: victims are chosen by use, so know the latest millisecond. */
void touch_freshen(struct writer *w);

/* scrub.c: a little of the background check, if one is configured. */
void scrub_some(struct writer *w);

/* metrics.c: numbers and session table into the stats page; the clients' own counters. */
void metrics_begin(struct writer *w);
void metrics_publish(struct writer *w);
/* One more time of an operation, from its client's stamp.  Return: it, 0: unknown. */
uint64_t metrics_time(struct writer *w, enum stat_hist h, uint64_t stamp_ns);
/* The turn of an entry has come: when, 0: not timed.  It is completed, both times are counted.  Return: as above. */
uint64_t metrics_turn(const struct writer *w, const struct kvshm_sqe *sqe);
uint64_t metrics_op(struct writer *w, const struct kvshm_sqe *sqe, uint64_t turn_ns);
/*
 * A client's counters: those of a handle grow through all its sessions, so what it brings along was counted by
 * another daemon.  begin: main, before READY, from when on it counts; take: the writer, now and then.
 */
void metrics_begin_client(struct session *s);
void metrics_take_client(struct writer *w, struct session *s);

#endif
