/* SPDX-License-Identifier: Apache-2.0 */
/*
 * session.h - one client: what main knows of it and what the writer knows of it
 *
 *   FREE -> HELLO -> PINNING -> WELCOMED -> SERVING -> (STOPPING ->) DETACHED -> REMOVING -> FREE
 *
 * Main owns the entry.  The writer touches .q from MAIL_SERVE until it answers MAIL_STOP or
 * MAIL_REMOVE; main closes descriptors and maps only after that answer.  A pin file of an earlier
 * daemon's client is an entry that was never served: it begins as DETACHED.
 */
#ifndef KVSHM_DAEMON_SESSION_H
#define KVSHM_DAEMON_SESSION_H

#include <stdbool.h>
#include <stdint.h>

#include "ipc/qp.h"
#include "ipc/segment.h"
#include "ipc/sock.h"
#include "kvshm/cache/cache.h"
#include "kvshm/daemon/pinowner.h"
#include "kvshm/daemon/slow.h"

#define SESSION_MAX PINOWNER_MAX

enum session_state {
	SESSION_FREE,
	SESSION_HELLO, /* connected, HELLO awaited */
	SESSION_PINNING, /* the writer takes the pin file into its scan set */
	SESSION_WELCOMED, /* WELCOME sent, MAPPED awaited */
	SESSION_SERVING,
	SESSION_STOPPING, /* the writer lets go of the queue */
	SESSION_DETACHED, /* no queue; the pin file counts until its owner is gone */
	SESSION_REMOVING, /* the writer takes everything back */
};

enum offence {
	OFFENCE_RING, /* impossible index */
	OFFENCE_ENTRIES, /* too many malformed entries */
	OFFENCE_STAGING, /* impossible staging index */
	OFFENCE_PINS, /* past twice its quota */
	OFFENCE_MESSAGE, /* malformed, unexpected or too many messages */
	OFFENCE_SEAL, /* segment changed before it was sealed */
	OFFENCE_TIMEOUT, /* handshake not finished in time */
};

enum death_via { /* what told first that a client is gone */
	DEATH_HUP, /* its socket */
	DEATH_PIDFD, /* its process */
	DEATH_TICK, /* a look of ours: neither of them did */
	NR_DEATH_VIA
};

struct put;
struct save;

struct slice { /* one slice of staging under way to its place */
	struct session *s;
	struct put *put; /* of which record .rec is */
	uint32_t rec;
	uint32_t len;
	const void *src;
	void *dst; /* NULL: skipped, the record was dropped */
	bool is_first, is_last; /* of its record */
	bool is_done;
};

/* The writer's half; nobody else looks at it while the session is served. */
struct queue {
	struct segment seg;
	struct qp_end sq, cq, touch;
	char *staging; /* window, NULL: none; set by main before has_staging */
	bool has_staging; /* set by main before READY, so before any entry that needs it */
	bool is_stream_broken; /* a staged entry was refused: its payload would be taken for the next one's */
	bool is_serving;
	bool is_stopping, is_removing; /* as soon as no slice is under way */
	bool is_reported; /* an offence; nothing more is served */
	bool is_detached; /* said DETACH */
	struct slow_entry slow; /* later entries wait for it */
	uint32_t idle_polls; /* since something was there */
	uint32_t owed; /* completions that staged commits and GPU copies still need */
	uint32_t nr_gpujobs; /* GPU copies under way */
	uint32_t bad_entries;
	int node; /* NUMA node where its blocks are wanted, -1: anywhere */
	uint32_t granted; /* blocks out, against the credit */
	uint64_t granted_bytes;
	uint64_t total_grants, total_grant_bytes;
	uint64_t counter[KVSHM_CC_LAST]; /* as last seen, and what was added since attach */
	uint64_t added[KVSHM_CC_LAST];
	/* staged puts, in order of submission */
	struct put *first_put, *last_put;
	struct put *post_put; /* whose slices come next from the client */
	uint32_t nr_puts;
	uint32_t post, head; /* slices handed to copying; consumed */
	uint32_t nr_copying;
	struct slice slice[KVSHM_STAGING_SLICES];
	/* copies out of a GPU, in order of submission */
	struct save *first_save, *last_save;
	struct save *next_save; /* the first that waits for its turn */
	uint32_t nr_saves;
	uint32_t saved_blocks; /* being filled */
	uint64_t saved_bytes;
};

struct session {
	unsigned index; /* in the table */
	enum session_state state;
	uint32_t slot; /* number of the pin file, owner of grants; 0: none yet */
	uint32_t pin_words;
	uint64_t quota_bytes; /* of its pins, as it was told */
	int sock, pin_fd, segment_fd, doorbell_fd, staging_fd;
	struct peer peer;
	uint64_t start_ticks; /* of the process */
	bool is_trusted;
	bool has_hung_up; /* or its process has exited, or it was thrown out */
	bool was_served; /* got READY: its pins count from here on */
	bool was_orderly; /* said DETACH, or closed its pin file */
	bool is_orphan; /* of an earlier daemon */
	bool staging_sent; /* STAGING_FD sent, MAPPED awaited */
	char label[32];
	uint64_t since_ns, deadline_ns;
	uint64_t notice_ns; /* when its end was first noticed */
	enum death_via via;
	uint64_t budget_ns; /* message budget: window's start */
	uint32_t budget; /* messages in it */
	uint32_t last_pins; /* as of the last scan before its end, from the writer */
	struct queue q;
};

/* Zero it, descriptors -1. */
void session_init(struct session *s, unsigned index);

/* Descriptors, maps; the entry is free again. */
void session_release(struct session *s);

const char *offence_name(enum offence o);

#endif
