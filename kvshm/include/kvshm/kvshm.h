/* SPDX-License-Identifier: Apache-2.0 */
/*
 * kvshm.h - client API of the node's KV cache
 *
 * An engine process opens an instance, attaches the namespace of its model, and then
 *   - reads:   kvshm_acquire() -> kvshm_resolve() -> use the bytes in place -> kvshm_release()
 *   - writes:  kvshm_grant() -> fill in place -> kvshm_commit(), or kvshm_put() which copies
 *
 * Reading sends no message and enters no kernel, also while the daemon hangs, restarts or is dead.
 * A put never waits for the daemon to accept it: what cannot be put is dropped and counted.
 *
 * <kvshm/gather.h> and <kvshm/hint.h> come with it: scattered pieces of blocks, and what is known of requests.
 *
 * Errors are negative errno.  Outputs are left alone on failure.  One thread at a time per handle,
 * unless a function says otherwise; several handles in one process are independent.  A handle does
 * not survive fork(): in the child every call is -EOWNERDEAD.
 */
#ifndef KVSHM_KVSHM_H
#define KVSHM_KVSHM_H

#include <stddef.h>
#include <stdint.h>

#include <kvshm/gather.h>
#include <kvshm/hint.h>
#include <kvshm/key.h>
#include <kvshm/version.h>

#ifdef __cplusplus
extern "C" {
#endif

struct kvshm;

#define KVSHM_OPEN_UNTRUSTED 0x1u	/* ask to be treated as untrusted: read-only arena, staged puts */

/**
 * struct kvshm_options - how to open an instance; zero is the default of each field
 * @sz: sizeof(struct kvshm_options)
 * @flags: KVSHM_OPEN_*
 * @socket: path of the daemon's socket; NULL: $KVSHM_SOCKET, then the user's, then the system's
 * @instance: instance name used to find the socket, NULL: "main"
 * @label: shown by kvshm clients, at most 31 bytes; NULL: the program's name
 * @timeout_ms: bound of the whole attach, 0: 2000
 */
struct kvshm_options {
	size_t sz;
	uint32_t flags;
	uint32_t timeout_ms;
	const char *socket;
	const char *instance;
	const char *label;
};

/**
 * kvshm_open() - connect to a daemon and map its arena and directory
 * @opts: may be NULL
 * @ret_k: the handle, owned by the caller, ended by kvshm_close()
 *
 * Thread-safe.
 *
 * Return: 0; -ENOENT or -ECONNREFUSED no daemon, -EPROTONOSUPPORT other ABI,
 * -EAGAIN no session slot free, -ETIMEDOUT, -ENOMEM, -ENOSPC (the daemon's tmpfs is full), -EACCES,
 * -EMFILE.
 */
int kvshm_open(const struct kvshm_options *opts, struct kvshm **ret_k);

/**
 * kvshm_close() - release all pins, return all grants, unmap, free
 * @k: may be NULL.  Pointers got from kvshm_resolve() end here.  GPU sides are closed first.
 *
 * Waits for puts in flight, bounded by the handle's timeout; with none, 100 ms at most.
 *
 * Return: NULL.
 */
struct kvshm *kvshm_close(struct kvshm *k);

/**
 * struct kvshm_ns_desc - what makes KV bytes of two engines interchangeable
 * @fingerprint: names the namespace (model, revision, dtype, rank, tenant salt, ...)
 * @layout: fingerprint of the byte layout inside a block
 * @block_len: bytes of a full block, 4 KiB to 64 MiB
 * @block_tokens: tokens of a full block, 1..65535
 * @label: for people, at most 31 bytes, may be empty
 */
struct kvshm_ns_desc {
	uint8_t fingerprint[32];
	uint8_t layout[32];
	uint32_t block_len;
	uint32_t block_tokens;
	char label[32];
};

/**
 * kvshm_attach_ns() - get the number of a namespace, creating it if it is new
 * @k: the handle
 * @desc: what it stands for; copied
 * @ret_ns: number for the calls below, valid for the life of the handle (also over restarts)
 *
 * One message; also works with the daemon dead when the namespace is in the directory already.
 *
 * Return: 0; -EMEDIUMTYPE the namespace exists with another block length or layout, -ENOSPC no more
 * namespaces for this user or instance, -EINVAL, -ETIMEDOUT, -ECONNRESET daemon dead and ns new.
 */
int kvshm_attach_ns(struct kvshm *k, const struct kvshm_ns_desc *desc, uint32_t *ret_ns);

/**
 * struct kvshm_pin - one pinned prefix, or one pinned loose block; the caller's memory, opaque
 * @slot: pin word, 0: nothing is pinned
 * @id: of the deepest block
 * @generation: of the deepest block
 * @nr: leading blocks
 * @ns: number of the namespace
 * @epoch: attachment that it belongs to
 */
struct kvshm_pin {
	uint32_t slot;
	uint32_t id, generation;
	uint32_t nr;
	uint32_t ns;
	uint32_t epoch;
};

/**
 * struct kvshm_block - a block in the arena
 * @ptr: after kvshm_resolve() read only; after kvshm_grant() to be filled, @length bytes at most
 * @length: bytes
 * @tokens: tokens whose KV they are
 * @id: number of its descriptor
 * @generation: of the descriptor, which is used again for other blocks
 * @arena_offset: for other maps of the same arena (GPU registration, export)
 * @checksum: XXH3-64 folded to 32 bits, 0: unknown
 * @resv: the library's: stays with a granted block until commit or return
 */
struct kvshm_block {
	void *ptr;
	uint32_t length;
	uint32_t tokens;
	uint32_t id, generation;
	uint64_t arena_offset;
	uint32_t checksum;
	uint32_t resv;
};

/**
 * kvshm_acquire() - pin the longest cached prefix of a chain
 * @k: the handle
 * @ns: number of the namespace, from kvshm_attach_ns()
 * @keys: the chain, root first, or a stretch of it whose ancestors the caller has elsewhere; read during
 *	the call only
 * @nr_keys: number of @keys, at most 65,536
 * @ret_pin: caller's memory, set only when the result is > 0; ended by kvshm_release() or by the
 *	process's death
 *
 * No message, no system call, no allocation; the same with the daemon dead.
 *
 * Return: number of leading blocks pinned (0: a miss), a hint until kvshm_resolve(); -ENOBUFS no pin
 * word free, -E2BIG chain too long, -EINVAL unknown namespace, -EOWNERDEAD forked child.
 */
int kvshm_acquire(struct kvshm *k, uint32_t ns, const struct kvshm_key *keys, unsigned nr_keys,
		  struct kvshm_pin *ret_pin);

/**
 * kvshm_acquire_loose() - pin those of a vector of loose keys that are cached
 * @k: the handle
 * @ns: number of the namespace, from kvshm_attach_ns()
 * @keys: of blocks that were committed loose
 * @nr_keys: number of @keys, at most 65,536
 * @ret_pins: array of @nr_keys; .slot is 0 where the key is not cached
 *
 * Return: number pinned; errors as kvshm_acquire().
 */
int kvshm_acquire_loose(struct kvshm *k, uint32_t ns, const struct kvshm_key *keys,
			unsigned nr_keys, struct kvshm_pin *ret_pins);

/**
 * kvshm_resolve() - where the blocks of a pinned prefix lie, each link checked
 * @k: the handle
 * @pin: held by this handle
 * @keys: the same keys as at kvshm_acquire()
 * @ret_blocks: array of at least @pin->nr; pointers stay valid until the pin ends
 *
 * Return: number of leading blocks whose keys and parent links hold (fewer than @pin->nr only if a
 * client committed keys that do not hash their parent), or -EINVAL for a pin that is not held.
 */
int kvshm_resolve(struct kvshm *k, const struct kvshm_pin *pin, const struct kvshm_key *keys,
		  struct kvshm_block *ret_blocks);

/**
 * struct kvshm_chain - the keys of one namespace for kvshm_acquire_group()
 * @ns: number of the namespace, from kvshm_attach_ns()
 * @nr_keys: at most 65,536
 * @keys: the chain, root first; NULL: ask @key_at
 * @key_at: key number i, valid until the call returns, never NULL; called for a few dozen keys.  It must
 *	not call this library.
 * @ctx: handed to @key_at
 */
struct kvshm_chain {
	uint32_t ns;
	unsigned nr_keys;
	const struct kvshm_key *keys;
	const struct kvshm_key *(*key_at)(void *ctx, unsigned i);
	void *ctx;
};

/**
 * kvshm_acquire_group() - pin the prefix that all of several chains have
 * @k: the handle
 * @chains: one for each rank or layer group that has a namespace of its own
 * @nr: number of @chains, 1 to 64
 * @ret_pins: array of @nr, set only when the result is > 0; .nr of each is its number of blocks, and all
 *	cover the same tokens
 *
 * Namespaces may differ in tokens a block; the prefix ends where each has a full block.  Also for one
 * chain whose keys do not lie in one array.  Costs what @nr calls of kvshm_acquire() do.
 *
 * Return: tokens of the common prefix (0: a miss), a hint until kvshm_resolve(); errors as
 * kvshm_acquire().
 */
int kvshm_acquire_group(struct kvshm *k, const struct kvshm_chain *chains, unsigned nr,
			struct kvshm_pin *ret_pins);

/* Bytes of an export of @nr blocks. */
#define KVSHM_EXPORT_LEN(nr) (96u + 16u * (size_t)(nr))
/* Number of blocks that an export of @len bytes can name. */
#define KVSHM_EXPORT_NR(len) ((len) < 96u ? 0u : (unsigned)(((len) - 96u) / 16u))

/**
 * kvshm_export() - pinned blocks as plain data, for other processes of the same engine
 * @k: the handle
 * @pin: held by this handle
 * @blocks: from kvshm_resolve() of @pin, or a part that ends where that ends
 * @nr: number of @blocks, neighbours
 * @buf: gets struct kvshm_export of <kvshm/abi.h> and what follows it, KVSHM_EXPORT_LEN(@nr) bytes
 * @len: bytes at @buf
 *
 * The data protects nothing.  Hold the pin until the others have imported.
 *
 * Return: bytes written; -EINVAL the pin is not held or the blocks are not its own; -ENOSPC @len is too
 * small; -EOWNERDEAD.
 */
int kvshm_export(struct kvshm *k, const struct kvshm_pin *pin, const struct kvshm_block *blocks,
		 unsigned nr, void *buf, size_t len);

/**
 * kvshm_import() - pin exported blocks again, in this process's own pin file
 * @k: the handle
 * @ns: the namespace that they must belong to
 * @data: what kvshm_export() made in any process; nothing in it is believed
 * @len: bytes of @data
 * @ret_pin: ended by kvshm_release(), also after the exporter is dead
 * @ret_blocks: array of KVSHM_EXPORT_NR(@len); where the blocks lie now; on failure of no meaning
 *
 * All blocks or none.  Compare @key of struct kvshm_export with what you expect if the data may come
 * from somebody else than your scheduler.
 *
 * Return: number of blocks; -ESTALE one of them is no longer what was exported (evicted, dropped, another
 * instance, a cold start), or the data lies; -EINVAL not such data, or of another namespace or ABI;
 * -ENOBUFS no pin word, or past the pin quota; -EOWNERDEAD.
 */
int kvshm_import(struct kvshm *k, uint32_t ns, const void *data, size_t len,
		 struct kvshm_pin *ret_pin, struct kvshm_block *ret_blocks);

/**
 * kvshm_release() - end a pin
 * @k: the handle
 * @pin: cleared; a cleared pin is left alone
 */
void kvshm_release(struct kvshm *k, struct kvshm_pin *pin);

#define KVSHM_GET_VERIFY 0x1u		/* compare checksums that are known */

/**
 * kvshm_get() - copy pinned blocks out
 * @k: the handle
 * @blocks: from kvshm_resolve(), still pinned
 * @nr: number of @blocks
 * @dst: a destination for each, of at least .length bytes
 * @flags: KVSHM_GET_VERIFY or 0
 *
 * Return: 0, or -EBADMSG where a known checksum does not match (KVSHM_GET_VERIFY).
 */
int kvshm_get(struct kvshm *k, const struct kvshm_block *blocks, unsigned nr, void *const *dst,
	      unsigned flags);

/**
 * kvshm_grant() - take empty blocks out of the session's credit, to be filled in place
 * @k: the handle
 * @ns: number of the namespace, from kvshm_attach_ns()
 * @length: bytes of each, 0: the namespace's block length
 * @nr: blocks wanted
 * @ret_blocks: array of @nr
 * @timeout_us: microseconds of waiting for credit, 0: do not wait
 *
 * Trusted clients only.  Credits are topped up in the background; no wait while they last, otherwise
 * one bounded round trip of @timeout_us (0: do not wait).
 *
 * Return: number granted (0: nothing free now), -EPERM untrusted client, -ECONNRESET daemon dead.
 */
int kvshm_grant(struct kvshm *k, uint32_t ns, uint32_t length, unsigned nr,
		struct kvshm_block *ret_blocks, unsigned timeout_us);

/**
 * kvshm_return() - give granted blocks back unused
 * @k: the handle
 * @blocks: from kvshm_grant(), not committed
 * @nr: number of @blocks
 */
void kvshm_return(struct kvshm *k, const struct kvshm_block *blocks, unsigned nr);

#define KVSHM_COMMIT_LOOSE 0x1u		/* keys are loose blocks, not a chain */

/**
 * kvshm_commit() - publish granted blocks under their keys
 * @k: the handle
 * @ns: number of the namespace, from kvshm_attach_ns()
 * @parent: key of the block before the first, NULL: the chain starts here (or LOOSE)
 * @keys: of the blocks, parent before child
 * @blocks: from kvshm_grant(), filled; .length and .tokens may have been lowered
 * @nr: number of @keys and of @blocks, at most 4,096
 * @flags: KVSHM_COMMIT_LOOSE or 0
 * @user_data: comes back from kvshm_poll()
 *
 * The bytes must have been written by this thread before (the call orders non-temporal stores too).
 * The blocks leave the caller's hands in any case.  No wait.
 *
 * Return: 0 sent; -ECONNRESET daemon dead, or the blocks are of one that is gone; -ENOBUFS queue full,
 * or 4,096 completions not taken by kvshm_poll() (all: blocks dropped and counted).
 */
int kvshm_commit(struct kvshm *k, uint32_t ns, const struct kvshm_key *parent,
		 const struct kvshm_key *keys, const struct kvshm_block *blocks, unsigned nr,
		 unsigned flags, uint64_t user_data);

/**
 * kvshm_put() - copy blocks into the cache: into granted blocks, or through staging
 * @k: the handle
 * @ns: number of the namespace, from kvshm_attach_ns()
 * @parent: key of the block before the first, NULL: the chain starts here (or LOOSE)
 * @keys: of the blocks, parent before child
 * @src: a source for each, read before the call returns
 * @lengths: bytes of each; NULL: full blocks
 * @nr: number of @keys and of @src, at most 4,096
 * @flags: KVSHM_COMMIT_LOOSE or 0
 * @user_data: comes back from kvshm_poll()
 * @timeout_us: microseconds of waiting for staging space, 0: do not wait
 *
 * Works for trusted and untrusted clients.  Waits only for staging space, bounded by @timeout_us.
 *
 * Return: 0 sent (see kvshm_poll() for the outcome); -ENOBUFS no credit, -ETIMEDOUT, -ECONNRESET.
 */
int kvshm_put(struct kvshm *k, uint32_t ns, const struct kvshm_key *parent,
	      const struct kvshm_key *keys, const void *const *src, const uint32_t *lengths,
	      unsigned nr, unsigned flags, uint64_t user_data, unsigned timeout_us);

/**
 * kvshm_drop() - remove blocks from the cache
 * @k: the handle
 * @ns: number of the namespace, from kvshm_attach_ns()
 * @key: one block and all that depends on it; NULL: the whole namespace
 *
 * Bytes that somebody has pinned stay readable until released.
 *
 * Return: number of blocks dropped, or -ETIMEDOUT, -ECONNRESET, -EPERM (untrusted, and another user's
 * namespace).
 */
int kvshm_drop(struct kvshm *k, uint32_t ns, const struct kvshm_key *key);

/**
 * kvshm_set_clock() - stamp uses and puts with the time of a trace
 * @k: the handle
 * @time_ns: the time from now on, until the next call; NULL: the system's clock again
 *
 * For replays into a daemon with policy.lockstep; any other counts a time of the future as the present.
 */
void kvshm_set_clock(struct kvshm *k, const uint64_t *time_ns);

/**
 * kvshm_sync() - wait until the daemon has served all entries that were sent before
 * @k: the handle
 *
 * Completions are left for kvshm_poll().
 *
 * Return: 0; -ETIMEDOUT, -ECONNRESET, -ENOBUFS queue full, -EOWNERDEAD.
 */
int kvshm_sync(struct kvshm *k);

/**
 * struct kvshm_completion - what became of one kvshm_commit() or kvshm_put()
 * @user_data: as given there
 * @res: blocks published now, or -errno
 * @nr_duplicate: were there already
 * @nr_dropped: not published: full, all pinned, parent gone
 */
struct kvshm_completion {
	uint64_t user_data;
	int32_t res;
	uint32_t nr_duplicate;
	uint32_t nr_dropped;
};

/**
 * kvshm_poll() - take completions of commits and puts
 * @k: the handle
 * @ret: array of @max
 * @max: completions to take at most
 * @timeout_us: microseconds of waiting for the first one, 0: do not wait
 *
 * Return: number taken; -ECONNRESET: the daemon died, what was in flight is lost (counted).
 */
int kvshm_poll(struct kvshm *k, struct kvshm_completion *ret, unsigned max, unsigned timeout_us);

/**
 * struct kvshm_client_stats - the handle's own counters, since kvshm_open()
 * @sz: in: sizeof(struct kvshm_client_stats)
 * @lookups: calls of kvshm_acquire() and its kin
 * @lookup_blocks: keys asked for in them
 * @hit_blocks: of these pinned
 * @hit_tokens: tokens of the blocks pinned
 * @miss_blocks: of these not cached
 * @resolve_short: calls of kvshm_resolve() that found fewer blocks than the pin has
 * @pin_retries: a block was evicted between being found and being pinned, and was looked for again
 * @quota_refusals: prefixes pinned only in part, for the pin quota
 * @commits: calls of kvshm_commit() and kvshm_put() that were sent
 * @commit_blocks: blocks of them
 * @dropped_dead: blocks not put, for there was no daemon
 * @dropped_credit: blocks not put, for there was no credit or no room in the queue
 * @dropped_full: blocks not put, for the daemon found all pinned or its index full
 * @copy_out_bytes: copied by kvshm_get()
 * @copy_in_bytes: copied by kvshm_put()
 * @touches_dropped: uses that the policy did not hear of
 * @reattaches: times that another daemon was attached to
 * @messages: entries and socket messages sent
 * @is_trusted: 1: the arena is mapped read-write, kvshm_grant() is possible
 * @is_attached: 0: the daemon is dead or hung up; hits go on
 * @slot: number of the session's pin file
 * @resv: 0
 */
struct kvshm_client_stats {
	size_t sz;
	uint64_t lookups, lookup_blocks, hit_blocks, hit_tokens, miss_blocks;
	uint64_t resolve_short, pin_retries, quota_refusals;
	uint64_t commits, commit_blocks;
	uint64_t dropped_dead, dropped_credit, dropped_full;
	uint64_t copy_out_bytes, copy_in_bytes, touches_dropped, reattaches;
	uint64_t messages;
	uint32_t is_trusted;
	uint32_t is_attached;
	uint32_t slot;
	uint32_t resv;
};

/**
 * kvshm_stats() - the handle's own counters
 * @k: the handle
 * @stats: .sz is set by the caller; the rest is filled in
 *
 * No message, no system call.
 *
 * Return: 0; -EINVAL for a .sz that no version had; -EOWNERDEAD.
 */
int kvshm_stats(struct kvshm *k, struct kvshm_client_stats *stats);

/**
 * kvshm_checksum() - the checksum of a payload as kvshm stores it
 * @data: the payload
 * @len: bytes of @data
 *
 * Thread-safe.
 *
 * Return: XXH3-64 folded to 32 bits, never 0.
 */
uint32_t kvshm_checksum(const void *data, size_t len);

#ifdef __cplusplus
}
#endif
#endif
