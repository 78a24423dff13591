/* SPDX-License-Identifier: Apache-2.0 */
/*
 * sim.h - replay requests against a policy, as the daemon drives it
 *
 * One request: the leading run of resident blocks is hit and touched, what is missing is inserted
 * parent first, then as many victims are taken as are over the capacity; the blocks just inserted
 * compete (bypass).  SIM_PINNED is the daemon without that: room is made before each insertion, and the
 * chain in flight is no victim.  Deterministic but for the times.
 */
#ifndef UTILS_SIM_H
#define UTILS_SIM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "policy/policy.h"

/* ---- a trace in memory (sim_trace.c) --------------------------------------------------------------- */

struct sim_request {
	uint64_t time_ns;		/* never less than that of the request before */
	uint32_t session;		/* 1.., 0: not known */
	uint32_t hints;			/* policy/hints.h, complete with the gap */
	size_t first;			/* of its blocks in sim_trace.chain */
	uint32_t nr;
	uint32_t tokens;		/* of the prompt, >= nr * block_tokens unless a last block is short */
};

struct sim_trace {
	uint32_t block_tokens;
	struct sim_request *req;
	size_t nr_req, room_req;
	uint32_t *chain;		/* blocks 1..nr_blocks, root first */
	size_t nr_chain, room_chain;
	uint32_t nr_blocks;		/* unique ones */
	uint32_t *parent;		/* [nr_blocks + 1], 0: a root */
	uint32_t longest;		/* blocks of the longest request */
	size_t room_blocks;
	struct sim_names *names;	/* (parent, hash) -> block, while it grows */
};

/* A request as the file has it; the builder makes dense blocks, sessions' gaps and hints of it. */
struct sim_record {
	uint64_t time_ns;
	uint64_t session;		/* any number that is the session's own; 0: not known */
	unsigned type, stop;		/* 1.., 0: not known */
	unsigned turn;			/* 1.., 0: not known */
	uint64_t output_tokens;		/* UINT64_MAX: not known */
	uint32_t tokens;		/* of the prompt */
	const uint64_t *hash;		/* one a block, root first; equal at equal places: the same prefix */
	uint32_t nr;
};

void sim_trace_init(struct sim_trace *t, uint32_t block_tokens);
/* Return: 0; -ENOMEM; -ERANGE time runs backwards (nothing added). */
int sim_trace_add(struct sim_trace *t, const struct sim_record *r);
void sim_trace_fini(struct sim_trace *t);

/* ---- replay (sim.c) ------------------------------------------------------------------------------- */

enum sim_mode { SIM_BYPASS, SIM_PINNED };

struct sim_config {
	const struct policy_ops *ops;
	uint64_t capacity;		/* blocks, > 0 */
	uint64_t more_ids;		/* than capacity and the longest request: a policy remembers by their number */
	enum sim_mode mode;
	uint32_t block_bytes;		/* 0: 1 MiB */
	struct policy_cost cost;	/* all 0: policy_default_cost */
	double theta;			/* gix: policy.h */
	bool is_timed;			/* measure ns per touch and victim */
	/* May be NULL: called after each request with its hit blocks; progress, curves over time. */
	void (*on_request)(void *arg, size_t req, uint32_t hits);
	void *arg;
};

struct sim_result {
	uint64_t requests, blocks, block_hits, tokens, token_hits;
	double saved_seconds, total_seconds;	/* of prefill; a load costs */
	uint64_t touches, inserts, victims;
	uint64_t wanted_again;		/* inserts of what had been evicted */
	double ns_per_touch, ns_per_insert, ns_per_victim;	/* NaN unless is_timed */
	struct policy_stats mem;
};

/* Seconds of prefill that @hits leading blocks of a request save, less their load. */
double sim_saved_seconds(const struct sim_trace *t, const struct sim_request *q, uint32_t hits,
			 const struct policy_cost *c, uint32_t block_bytes);

/* Return: 0; -ENOMEM; -EINVAL capacity 0. */
int sim_run(const struct sim_trace *t, const struct sim_config *cfg, struct sim_result *ret);

/* As if nothing were ever evicted. */
void sim_ideal(const struct sim_trace *t, const struct sim_config *cfg, struct sim_result *ret);

#endif
