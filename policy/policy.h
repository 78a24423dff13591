/* SPDX-License-Identifier: Apache-2.0 */
/*
 * policy.h - what to evict, decided over ids, parents, sizes, classes and times
 *
 * A policy sees no memory, reads no clock and does no I/O, so the daemon, the replayer and the
 * golden tests run the same object code.  One thread.  No allocation after create().  The same calls
 * give the same victims on every machine.
 */
#ifndef POLICY_POLICY_H
#define POLICY_POLICY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef uint32_t pol_id_t;		/* dense, 1..max_ids; 0 is none */

/* What a block's prefill costs and what reading it back costs, in seconds. */
struct policy_cost {
	double per_token;		/* of prefill, whatever the offset */
	double per_token_offset;	/* more for each token that stands before it */
	double per_byte;		/* of a load */
};

/* Of an 8B model on one GPU, with grouped heads, and a load at 50 GB/s. */
extern const struct policy_cost policy_default_cost;

struct policy_config {
	uint32_t max_ids;
	uint32_t ghosts;		/* evicted blocks remembered, 0: 8 x max_ids */
	struct policy_cost cost;	/* all 0: the policy's default */
	double theta;			/* gix: weight of cost in the index: 0, 0.5 or 1 */
	/* Oracles only: when the block is used next, UINT64_MAX never; asked in insert() and touch(). */
	uint64_t (*next_use)(void *arg, pol_id_t id);
	void *next_use_arg;
};

/* A block at the time it becomes resident. */
struct pol_block {
	pol_id_t id;
	pol_id_t parent;		/* resident; 0: none */
	uint32_t bytes;			/* > 0 */
	uint32_t tokens;		/* in it, 0: not known */
	uint32_t offset;		/* tokens before it */
	bool is_partial;		/* known to hold fewer tokens than others of its path */
	uint32_t hints;			/* hints.h, 0: none */
	uint64_t key;			/* fingerprint, the same whenever this content comes back; 0: not known */
};

struct policy_stats {
	uint64_t bytes;			/* of state that grows with max_ids, ghosts left out */
	uint64_t fixed_bytes;		/* of state that does not */
	uint64_t ghosts, ghost_bytes;	/* places for evicted blocks, and what they take */
};

struct policy;

enum policy_flags {
	POLICY_FLAT = 1,		/* replayer only: every block is touched, victims leave holes */
	POLICY_ORACLE = 2,		/* replayer only: needs next_use() */
};

struct policy_ops {
	const char *name;
	const char *summary;		/* one line for --help */
	unsigned flags;
	/* Return: 0, -ENOMEM, -EINVAL an oracle without next_use(), or more ids than it can count. */
	int (*create)(const struct policy_config *cfg, struct policy **ret_p);
	void (*destroy)(struct policy *p);	/* takes NULL */
	/* A block became resident. */
	void (*insert)(struct policy *p, const struct pol_block *b, uint64_t now_ns);
	/* The blocks from the root to @id were used; flat policies: @id was used. */
	void (*touch)(struct policy *p, pol_id_t id, uint32_t hints, uint64_t now_ns);
	/* The block is gone; it has no resident child (flat: or it has). */
	void (*remove)(struct policy *p, pol_id_t id);
	/*
	 * Up to @max victims worth @bytes together, children before their parents, none with a
	 * resident child outside the list (flat: any).  is_pinned() (may be NULL): seen pinned at the
	 * last scan, not to be named.  They leave the order until restore() or remove().
	 * Return: number.
	 */
	unsigned (*victims)(struct policy *p, uint64_t bytes, uint64_t now_ns, pol_id_t *ret_ids,
			    unsigned max, int (*is_pinned)(void *arg, pol_id_t id), void *arg);
	/* A victim was found pinned and stays; called root first. */
	void (*restore)(struct policy *p, pol_id_t id, uint64_t now_ns);
	/* May be NULL: these will be touched, in this order; nothing changes. */
	void (*expect)(const struct policy *p, const pol_id_t *ids, unsigned nr);
	/* May be NULL: time passes; called about once a second of @now_ns, before what happens then. */
	void (*tick)(struct policy *p, uint64_t now_ns);
	/* May be NULL: what the policy itself takes. */
	void (*stats)(const struct policy *p, struct policy_stats *ret);
	/*
	 * May be NULL: what was learnt, without the blocks.  Return: bytes, written if @len is enough.
	 * load(): before the first insert.  Return: 0, -EUCLEAN not ours or damaged (nothing learnt).
	 */
	size_t (*save)(struct policy *p, void *buf, size_t len);
	int (*load)(struct policy *p, const void *buf, size_t len);
};

/* Registry: by name; NULL if unknown.  policy_at(i) lists them, NULL past the end. */
const struct policy_ops *policy_find(const char *name);
const struct policy_ops *policy_at(unsigned i);

extern const struct policy_ops policy_gix, policy_leaf_lru, policy_lfu, policy_gdsf, policy_lhd, policy_wa,
	policy_wa_gap, policy_fifo, policy_lru, policy_s3fifo, policy_sieve, policy_arc, policy_belady;

#endif
