/* SPDX-License-Identifier: Apache-2.0 */
/*
 * load.h - kvshm load: real client processes that check every byte they get
 *
 *	parent (load_parent.c)   starts the daemon and the clients, kills either, watches, reports
 *	   |  struct load_shared: anonymous shared memory, made before the first fork
 *	clients (load_client.c)  turns of conversations (load_work.c): acquire, check, put what is missing
 *
 * Each client counts in a slot of its own, so that what it counted survives its SIGKILL; its successor
 * goes on there, with the same conversations.
 */
#ifndef UTILS_LOAD_H
#define UTILS_LOAD_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include <kvshm/kvshm.h>

#include "kvshm/base/hist.h"
#include "kvshm/stats/statpage.h"

#define LOAD_PROCS_MAX 128u
#define LOAD_NAMESPACES 2u
#define LOAD_OPEN_SESSIONS 16u		/* conversations that a client has open at a time */

struct load_options {
	unsigned procs;
	uint64_t run_ns;
	uint64_t kill_clients_ns;	/* 0: never */
	uint64_t kill_daemon_ns;	/* 0: never */
	const char *socket;		/* NULL: a private daemon */
	size_t size;			/* of its arena */
	uint32_t block_len;
	uint64_t seed;
	bool is_json;
	bool is_shared_prefix;
	uint32_t block_tokens;
	const char *trace;		/* NULL: the workload of load_work.c */
	bool is_lockstep;
	const char *capacity, *policy;
};

/* Written by the client of that number, of which one lives at a time. */
struct load_slot {
	uint64_t acquires, blocks, hits, short_resolves;
	uint64_t checked_bytes, wrong_bytes;
	uint64_t published, duplicates, dropped;
	uint64_t hits_while_dead;
	uint64_t progress_ns;		/* last sign of life */
	uint64_t served;		/* the greatest number of deaths after which it got a completion */
	uint64_t accepted_ns;		/* when a put was first accepted after a death */
	double saved_seconds;		/* --trace: of prefill */
	uint64_t next_request;		/* --trace: which one of its requests is next */
	uint64_t strays;		/* --lockstep: requests that hit other than in the replayer */
	uint64_t session[LOAD_OPEN_SESSIONS];	/* work_word() of its conversations; others look */
	struct hist acquire_ns;
};

struct load_shared {
	uint64_t is_stopping;		/* parent */
	uint64_t deaths;		/* parent: of the daemon, counted after waitpid */
	struct load_slot slot[LOAD_PROCS_MAX];
};

struct load_result {
	struct load_slot sum;
	double seconds;
	unsigned client_kills, daemon_kills;
	unsigned client_failures;	/* exits that nobody asked for */
	bool is_hung, is_daemon_lost;
	uint64_t restart_max_ns, reap_p99_ns, reap_max_ns;
	uint64_t leaked_blocks;
	uint64_t capacity_blocks, replayer_hits;	/* --trace */
	double replayer_saved_seconds;
	int64_t verify_violations;	/* -1: not looked at */
	char verify_first[160];
	char pages[KVSHM_STATS_TEXT_LEN];	/* page kind in use */
};

/* ---- processes (load_procs.c) ---------------------------------------------------------------- */

struct load_shared *load_shared_create(void);

/**
 * load_spawn() - run @fn(@ctx, @number) in a child that dies with this process
 * The child has no signal handlers of ours and leaves by _exit(0).  Return: its pid, -errno.
 */
pid_t load_spawn(void (*fn)(void *ctx, unsigned number), void *ctx, unsigned number);

/* Wait for @pid until @deadline_ns, then kill it.  Return: 0 it ended with status 0 by itself, -1 not. */
int load_reap(pid_t pid, uint64_t deadline_ns);

/* The label of all clients of process @parent; @buf of 32 bytes. */
void load_label(pid_t parent, char *buf);

/* Attach as client @number, retrying until @sh says stop.  Return: 0, -errno of the last try. */
int load_attach(const struct load_options *o, const char *socket, unsigned number, const struct load_shared *sh,
		struct kvshm **ret_k, uint32_t *ret_ns);

/* ---- what is asked for (load_work.c) ---------------------------------------------------------- */

struct work {
	uint64_t seed;
	double prompt_share[64];	/* cumulative, Zipf 0.9 */
};

struct work_turn {
	unsigned ns;			/* 0 .. LOAD_NAMESPACES - 1 */
	unsigned nr;			/* keys */
	bool is_last;			/* of its conversation */
};

/* The longest chain of any turn. */
#define WORK_KEYS_MAX 1024u

void work_init(struct work *w, uint64_t seed);

/* A conversation and how far it is, in one word: number from 1, turn from 0. */
static inline uint64_t work_word(uint64_t number, unsigned turn)
{
	return number << 8 | turn;
}

/**
 * work_turn() - the keys of a turn; the same for all who ask
 * @proc, @which: whose conversation; @word: which one of them and how far
 * @keys: WORK_KEYS_MAX of them
 */
void work_turn(const struct work *w, unsigned proc, unsigned which, uint64_t word, struct kvshm_key *keys,
	       struct work_turn *ret_t);

/* ---- tagged bytes (load_work.c) ---------------------------------------------------------------- */

/* Fill @len bytes (a multiple of 8) with what only (@ns, @key, offset) gives. */
void tag_fill(void *p, size_t len, unsigned ns, const struct kvshm_key *key);

/* Return: number of bytes of @p that are not what tag_fill() writes. */
size_t tag_wrong_bytes(const void *p, size_t len, unsigned ns, const struct kvshm_key *key);

/* ---- the parts ----------------------------------------------------------------------------------- */

struct load_client_ctx {
	const struct load_options *o;
	struct load_shared *sh;
	const char *socket;
};

/* load_client.c: a client's whole life; @ctx is a struct load_client_ctx. */
void load_client(void *ctx, unsigned number);

/* load_parent.c: the whole run.  Return: an exit status; EXIT_FINE: @ret_r says how it went. */
int load_run(const struct load_options *o, struct load_result *ret_r);

/* load_end.c: after all clients ended: wait for the daemon, then leaks, reap times, verifiers. */
void load_settle(const struct load_options *o, const char *socket, struct load_result *r);
/* The daemon's reap times so far into @r; counters start anew with each daemon. */
void load_note_reaps(const char *socket, struct load_result *r);

/* Wait until the page says all that happened before this call. */
void load_wait_for_page(const struct statpage *p);

/* load_report.c: did the invariants hold?  Those that did not are told on stderr.  Return: as load_report(). */
int load_judge(const struct load_result *r);

/* load_report.c.  Return: EXIT_FINE, or EXIT_DEAD when an invariant failed. */
int load_report(const struct load_options *o, const struct load_result *r);

/* load_parent.c: what all clients counted. */
void load_sum_up(const struct load_options *o, const struct load_shared *sh, struct load_slot *ret);

/* load_trace.c: --trace; @o->block_tokens becomes the trace's.  Return: an exit status; EXIT_FINE: @ret is set. */
int load_trace(struct load_options *o, struct load_result *ret);

/* load_compare.c: --trace under each of the policies of @o->policy, "gix,wa", side by side.  Return: an exit status. */
int load_compare(const struct load_options *o);

/* load_prefix.c: --shared-prefix.  Return: an exit status. */
int load_shared_prefix(const struct load_options *o);

#endif
