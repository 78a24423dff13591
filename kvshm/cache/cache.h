/* SPDX-License-Identifier: Apache-2.0 */
/*
 * cache.h - the cache as a library: no socket, no client, no GPU, no DPDK
 *
 * Owned by one thread, the writer.  Everything a session asks for comes through here after ipc/ has
 * found the entry well-formed; this side checks that it means something: owner, generation,
 * namespace, length, parent.
 */
#ifndef KVSHM_CACHE_CACHE_H
#define KVSHM_CACHE_CACHE_H

#include <stdbool.h>
#include <stdint.h>

#include <kvshm/abi.h>

#include "kvshm/arena/arena.h"
#include "kvshm/pin/pin.h"

struct cache;
struct event_ring;
struct statpage;
struct policy_ops;

enum cache_wipe {			/* bytes of freed blocks: arena.scrub, in the order of its names */
	CACHE_WIPE_NEVER,
	CACHE_WIPE_NS_CHANGE,		/* before another namespace gets the place */
	CACHE_WIPE_ALWAYS,		/* as soon as they are free */
};

struct cache_config {
	struct directory *dir;		/* mapped writable; outlives the cache */
	struct arena *arena;		/* mapped writable; outlives the cache */
	struct pin_set *pins;		/* outlives the cache */
	const struct policy_ops *policy;	/* NULL: leaf-lru */
	unsigned evict_batch;		/* victims a scan, 0: 128 */
	unsigned max_ns_per_uid;	/* 0: 64 */
	enum cache_wipe wipe;
	const uint64_t *retired;	/* arena offsets of 2 MiB units not to be used; outlive the cache */
	unsigned nr_retired;
	uint64_t capacity_blocks;	/* limit of published blocks, 0: none */
	struct event_ring *events;	/* NULL: nobody listens; outlives the cache */
	bool is_lockstep;		/* time comes from the clients, victims are taken by cache_settle() */
};

/* Policies that a cache may run, by name; NULL: unknown, or for the replayer only. */
const struct policy_ops *cache_policy(const char *name);
/* Their names, from 0; NULL past the end. */
const char *cache_policy_name(unsigned i);

/* Return: 0, -ENOMEM.  An empty cache over an empty or a recovered directory. */
int cache_create(const struct cache_config *cfg, struct cache **ret_c);
struct cache *cache_destroy(struct cache *c);

/* From now on uses by namespace and by class are counted in @stats, which outlives the cache; NULL: no more. */
void cache_count_uses(struct cache *c, struct statpage *stats);

/* An extent was added to the directory: its memory may be handed out.  Return: 0, -errno. */
int cache_add_extent(struct cache *c, uint32_t extent);

/**
 * cache_recover() - take over the content of a daemon that died
 * PUBLISHED stays, EVICTING -> PUBLISHED, GRANTED stays while is_owner_alive(owner), QUARANTINED
 * stays until unpinned, the index is repaired in place, the slabs are claimed.
 * Call once, after cache_create() and before anything else; extents are added by it.
 * Return: number of published blocks, -EUCLEAN damaged beyond repair (start cold), -ENOMEM.
 */
long cache_recover(struct cache *c, bool (*is_owner_alive)(void *arg, uint32_t owner), void *arg,
		   uint64_t now_ns);

/* Return: 0; -EMEDIUMTYPE, -ENOSPC, -EINVAL. */
int cache_ns_attach(struct cache *c, uint32_t uid, const struct kvshm_ns_args *args, uint16_t *ret_ns);

/**
 * cache_grant() - hand out blocks to be filled
 * @owner: pin-file number of the session, 0: the daemon itself (staged puts)
 * @length: bytes of each, 0: the namespace's
 * @ret_runs: array of @max_runs; neighbouring ids, ascending.  Evicts when needed, in batches.
 * Return: number granted (fewer than @nr if full or the runs do not fit), -EINVAL.
 */
int cache_grant(struct cache *c, uint32_t owner, uint16_t ns, uint32_t length, unsigned nr,
		struct kvshm_id_run *ret_runs, unsigned max_runs, unsigned *ret_nr_runs, uint64_t now_ns);

/**
 * cache_near() - where the grants to come are wanted
 * @node: a NUMA node, as for a session whose GPU sits there; -1, or one without an extent: anywhere, as at first
 * A grant that does not find room there lies on another node and is counted (.spilled).
 */
void cache_near(struct cache *c, int node);

/* Give a grant back.  Return: 0, -EPERM not its owner, -ESTALE other generation or state, -EINVAL. */
int cache_return(struct cache *c, uint32_t owner, struct kvshm_block_ref ref);

/* All grants of a dead owner come back, its hints are forgotten.  Return: grants. */
unsigned cache_owner_gone(struct cache *c, uint32_t owner);

struct cache_commit {
	uint32_t owner;			/* of the grants; 0: staged, owned by the daemon */
	uint16_t ns;
	uint8_t flags;			/* KVSHM_SQE_F_NOPARENT, _LOOSE */
	uint32_t nr;
	const struct kvshm_key *parent;	/* unless NOPARENT or LOOSE */
	bool is_broken;			/* a record before these was dropped: so are these */
	const struct kvshm_commit_rec *rec;	/* [nr], private copies */
	uint64_t now_ns;
};

struct cache_commit_result {
	uint32_t nr_published, nr_duplicate, nr_dropped;
	blk_id_t last;			/* deepest block present afterwards, 0: none */
};

/**
 * cache_commit() - publish filled blocks, parent first; all checks are here
 * The grants leave the owner in every case: published, or returned (duplicate, dropped).
 * A bad reference (foreign, stale, wrong length or namespace) drops that record and, in a chain, all
 * after it.  Return: 0 with @ret filled; -ENOENT the parent is not here (all dropped), -EINVAL.
 */
int cache_commit(struct cache *c, const struct cache_commit *m, struct cache_commit_result *ret);

/* Arena address of a granted block, for copying in; NULL if the reference is not a grant of @owner. */
void *cache_grant_ptr(struct cache *c, uint32_t owner, struct kvshm_block_ref ref, uint32_t *ret_len);

struct cache_drop {
	uint16_t ns;
	bool is_all;			/* of the namespace, else: a block with its subtree */
	struct kvshm_key key;		/* of that block */
	size_t next;			/* id to look at next; 0 at first */
	long nr;			/* blocks dropped so far */
};

/**
 * cache_drop_step() - go on dropping, at most @max blocks
 * Those are unfindable at once; pinned ones wait in quarantine.  What others do between steps is fine:
 * what was published when the drop began is gone in the end.
 * Return: 1 more to do, 0 done, -EINVAL no such namespace.
 */
int cache_drop_step(struct cache *c, struct cache_drop *d, unsigned max);

/* All steps at once, where nobody waits.  Return: blocks dropped, -EINVAL. */
long cache_drop(struct cache *c, uint16_t ns, const struct kvshm_key *key);
long cache_drop_ns(struct cache *c, uint16_t ns);

/* Touches from a ring, untrusted: checked, ignored if stale.  Together they cost less than one by one. */
void cache_touch(struct cache *c, const struct kvshm_touch *t, unsigned nr, uint64_t now_ns);

struct cache_hint {
	uint32_t owner;			/* who says so: as of its grants */
	uint16_t ns;			/* of the block */
	bool may_close;
	uint64_t quota_bytes;		/* that the owner's holds may keep, 0: as much as all */
	const struct kvshm_hint_rec *rec;	/* a private copy */
	uint64_t now_ns;
};

/**
 * cache_hint() - one thing that is known of the time to come
 * A node is remembered by the caller, for cache_near(): its extents may be still to come.
 * Return: 1 it is heeded; 0 it is not: the block is gone, a limit is reached, it may not; -EINVAL.
 */
int cache_hint(struct cache *c, const struct cache_hint *h);

/**
 * cache_learnt() - what the policy has learnt, without the blocks
 * cache_learn(): take it over, before cache_recover().
 * Return: bytes, written if @len is enough, 0: this policy learns nothing.  0; -EUCLEAN not its own or
 * damaged, nothing was taken over; -EOPNOTSUPP it learns nothing.
 */
size_t cache_learnt(const struct cache *c, void *buf, size_t len);
int cache_learn(struct cache *c, const void *buf, size_t len);

/* Lockstep: a request is over at @now_ns; exactly what is over the capacity goes.  Else nothing. */
void cache_settle(struct cache *c, uint64_t now_ns);

/* Periodic: quarantined blocks that nobody pins become free; pins re-counted.  Cheap when idle. */
void cache_tick(struct cache *c, uint64_t now_ns);

/* Evict at least @bytes if possible.  Return: bytes freed. */
uint64_t cache_reclaim(struct cache *c, uint64_t bytes, uint64_t now_ns);

struct cache_counts {
	uint64_t capacity_bytes, free_bytes, granted_bytes, published_bytes, quarantined_bytes;
	uint64_t granted, published, quarantined;	/* blocks */
	uint64_t publishes, duplicates, dropped_full, dropped_parent, dropped_index, dropped_bad;
	uint64_t evictions, evicted_bytes, evicted_unread, scans, victims_restored, relocations;
	uint64_t touches, touches_stale, drops, recovered, damaged;
	uint64_t hints, hints_refused, holds, held_bytes;
	uint64_t near, spilled;		/* blocks granted on the node where they were wanted; on another one */
	uint64_t checksum_unknown;	/* published blocks */
	uint64_t pins, pinned_bytes, largest_free_bytes;
	uint64_t retired, retired_bytes;	/* blocks dropped for bad memory; bytes neither used nor free */
};
void cache_count(const struct cache *c, struct cache_counts *ret);

/**
 * cache_verify() - arena, index, pins, slabs and the ledgers against each other
 * Return: violations; @first (160 bytes) names the first.
 */
unsigned long cache_verify(struct cache *c, char *first);

#endif
