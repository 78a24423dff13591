/* SPDX-License-Identifier: Apache-2.0 */
/*
 * service.h - blocks into GPU buffers and out of them by kvshm-gpud, for who cannot or will not copy them itself
 *
 * A client that maps the cache read-only cannot let its GPU read it, for drivers pin only what may be written.
 * It offers its buffers to kvshm-gpud instead, a process beside the daemon, and asks for copies through the
 * handle's own queue:
 *
 *   kvshm_service_open() -> kvshm_service_offer() ->
 *   kvshm_acquire() -> kvshm_resolve() -> kvshm_service_load() -> kvshm_poll() -> use, kvshm_release()
 *   fill -> kvshm_service_save() -> kvshm_poll() -> overwrite
 *
 * An entry completes when all of it has landed; loads of one service land in the order in which they were asked for,
 * so one call a layer tells when each layer is there.  kvshm-gpud pins the blocks itself while it copies.  Saves are
 * published in the order in which they were asked for; loads do not wait for them, nor they for loads.
 *
 * Every wait is bounded.  When kvshm-gpud ends, by its own death or that of its GPU's context, all calls are
 * -ECONNRESET: close, and open again.  One thread at a time per handle and its services together.
 */
#ifndef KVSHM_SERVICE_H
#define KVSHM_SERVICE_H

#include <kvshm/kvshm.h>

#ifdef __cplusplus
extern "C" {
#endif

struct kvshm_service;

/**
 * struct kvshm_service_options - zero is the default of each field
 * @sz: sizeof(struct kvshm_service_options)
 * @timeout_ms: bound of each wait, 0: 5000
 * @resv: 0
 * @libcuda: path of the driver's library; NULL: $KVSHM_LIBCUDA, else libcuda.so.1
 */
struct kvshm_service_options {
	size_t sz;
	uint32_t timeout_ms;
	uint32_t resv;
	const char *libcuda;
};

/**
 * kvshm_service_open() - connect to the kvshm-gpud beside the handle's daemon
 * @k: the handle; outlives the service
 * @opts: may be NULL
 * @ret_s: ended by kvshm_service_close()
 *
 * Its device must be one that this process sees too; ordinals need not be equal.
 *
 * Return: 0; -ENOENT or -ECONNREFUSED no kvshm-gpud, or no driver here; -ENODEV its device is not ours; -EADDRINUSE
 * both processes see themselves as the same PID; -EPROTONOSUPPORT; -ETIMEDOUT; -ENOMEM; -EINVAL; -EOWNERDEAD.
 */
int kvshm_service_open(struct kvshm *k, const struct kvshm_service_options *opts, struct kvshm_service **ret_s);

/**
 * kvshm_service_close() - withdraw all buffers, hang up
 * @s: may be NULL; not used afterwards, whatever the result
 *
 * Return: 0: the buffers may be freed; -ETIMEDOUT: copies may still write there, until kvshm-gpud has ended.
 */
int kvshm_service_close(struct kvshm_service *s);

/**
 * kvshm_service_offer() - let kvshm-gpud read and write a range of device memory
 * @s: the service
 * @addr: device address, in one allocation of cudaMalloc(), or in expandable segments of 64 pieces at most
 * @len: bytes
 * @ret_buffer: names it in kvshm_service_load() and kvshm_service_save()
 *
 * Return: 0; -EEXIST offered already; -EOPNOTSUPP memory that cannot be shared (of a stream-ordered pool); -E2BIG too
 * many pieces; -ENOSPC kvshm-gpud has no room for more; -ENOENT no device memory; -EINVAL; -ECONNRESET; -ETIMEDOUT.
 */
int kvshm_service_offer(struct kvshm_service *s, uint64_t addr, uint64_t len, uint64_t *ret_buffer);

/**
 * kvshm_service_withdraw() - end that, before the memory is freed
 * @s: the service
 * @addr: as offered
 *
 * No new copies from now on; waits for those under way.  Freeing memory that was not withdrawn is undefined by the
 * driver.
 *
 * Return: 0 it may be freed; -ENOENT not offered; -ETIMEDOUT it may not; -ECONNRESET kvshm-gpud is gone, it may.
 */
int kvshm_service_withdraw(struct kvshm_service *s, uint64_t addr);

/**
 * struct kvshm_service_copy - one contiguous copy
 * @id: of the block, as in struct kvshm_block
 * @generation: of the block, as in struct kvshm_block
 * @off: first byte in the block
 * @len: bytes
 * @buffer: from kvshm_service_offer(), also another process's that told it
 * @buffer_off: first byte in the buffer
 */
struct kvshm_service_copy {
	uint32_t id, generation;
	uint32_t off, len;
	uint64_t buffer, buffer_off;
};

/**
 * kvshm_service_load() - ask for copies; no wait
 * @s: the service
 * @ns: number of the namespace that all the blocks belong to
 * @copies: array of @nr, read during the call only
 * @nr: 1 to 4,096
 * @user_data: comes back from kvshm_poll()
 *
 * Keep the blocks pinned until the completion: one that is evicted before kvshm-gpud has its own pin fails.
 * The completion's .res is the number of copies that have landed, .nr_dropped that of those that did not, by
 * 256: if none has landed, .res says why: -ESTALE a block is gone, -ENOENT no such buffer, -ERANGE outside of block or
 * buffer, -ENOTCONN no kvshm-gpud, -EBUSY too many under way, -ETIMEDOUT it hangs, -EIO the device is lost, -ECONNRESET.
 *
 * Return: 0 sent; -EINVAL; -ENOBUFS the queue is full (where only the rest found no room, that counts as
 * dropped); -ECONNRESET the daemon is dead; -EOWNERDEAD.
 */
int kvshm_service_load(struct kvshm_service *s, uint32_t ns, const struct kvshm_service_copy *copies, unsigned nr,
		       uint64_t user_data);

/**
 * struct kvshm_service_piece - where a part of a block lies
 * @buffer: from kvshm_service_offer(), also another process's that told it
 * @buffer_off: first byte in the buffer
 * @len: bytes, more than 0
 * @resv: 0
 */
struct kvshm_service_piece {
	uint64_t buffer, buffer_off;
	uint32_t len;
	uint32_t resv;
};

/**
 * struct kvshm_service_blocks - blocks that lie in offered buffers
 * @sz: sizeof(struct kvshm_service_blocks)
 * @ns: number of the namespace, from kvshm_attach_ns()
 * @flags: KVSHM_COMMIT_LOOSE or 0
 * @parent: key of the block before the first, NULL: the chain starts here (or LOOSE)
 * @keys: of the blocks, parent before child
 * @lengths: bytes of each; NULL: full blocks
 * @nr: number of @keys and of @lengths, 1 to 4,096
 * @nr_pieces: number of @pieces
 * @pieces: the bytes of the first block from its beginning on, then those of the second, and so on: together each
 *	block's length, 256 for a block at most
 */
struct kvshm_service_blocks {
	size_t sz;
	uint32_t ns, flags;
	const struct kvshm_key *parent, *keys;
	const uint32_t *lengths;
	unsigned nr, nr_pieces;
	const struct kvshm_service_piece *pieces;
};

/**
 * kvshm_service_save() - have blocks copied out of buffers and published; no wait
 * @s: the service
 * @what: read during the call only
 * @user_data: comes back from kvshm_poll()
 *
 * The buffers hold the bytes when this is called (synchronise with what writes them first), and until the completion.
 * Leading blocks of a chain that are in the cache already are not copied.
 *
 * The completion is that of kvshm_put(): .res blocks published, .nr_duplicate that were there, .nr_dropped that were
 * not published, for want of room or because a block before them in the chain was not.  No block is found before all
 * its bytes have landed.  An entry (a call makes one for 256 pieces or 64 MiB, or for 64 blocks) whose copies fail
 * publishes nothing, and if none is published .res says why: -ENOENT no such buffer, or the parent is not here; -ERANGE
 * outside of a buffer; -ENOTCONN no kvshm-gpud; -EROFS it is not trusted by the daemon; -EBUSY, -EAGAIN too many under
 * way; -ENOMEM; -ETIMEDOUT it hangs; -EIO the device is lost; -ECONNRESET kvshm-gpud died.
 *
 * Return: 0 sent; -EINVAL; -ENOBUFS the queue is full (where only the rest found no room, that counts as
 * dropped); -ECONNRESET the daemon is dead; -EOWNERDEAD.
 */
int kvshm_service_save(struct kvshm_service *s, const struct kvshm_service_blocks *what, uint64_t user_data);

#ifdef __cplusplus
}
#endif
#endif
