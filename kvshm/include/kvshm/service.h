/* SPDX-License-Identifier: Apache-2.0 */
/*
 * service.h - blocks into GPU buffers and out of them by kvshm-gpud, for who cannot or will not copy them itself, and a
 * staging pool on the GPU that several processes read
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

/* ---- the staging pool ------------------------------------------------------------------------------- */

/*
 * Device memory of kvshm-gpud's own (--pool) that clients map.  A block is copied into it once, however many clients ask,
 * and stays there while anybody holds it: prefill and decode read one copy.
 *
 *   kvshm_service_pool_open() ->
 *   kvshm_acquire() -> kvshm_resolve() -> kvshm_service_pool_hold() -> kvshm_service_pool_poll() -> kvshm_release()
 *   ... kernels read ... -> kvshm_service_pool_release() -> kvshm_service_pool_close()
 *
 * What is held neither moves nor changes.  A client's holds end when it closes the pool, or with its connection.  When
 * kvshm-gpud ends all calls are -ECONNRESET; the mapping stays until it is closed, so that kernels under way do not
 * fault.
 */

struct kvshm_service_pool;

#define KVSHM_SERVICE_POOL_DEVICE 0x1u	/* @device reads it, not kvshm-gpud's own */

/**
 * struct kvshm_service_pool_options - zero is the default of each field
 * @sz: sizeof(struct kvshm_service_pool_options)
 * @flags: KVSHM_SERVICE_POOL_DEVICE
 * @device: ordinal among the devices that this process may see; without that flag not used
 */
struct kvshm_service_pool_options {
	size_t sz;
	uint32_t flags;
	int32_t device;
};

/**
 * kvshm_service_pool_open() - map the staging pool, to be read
 * @s: the service; kvshm_service_close() closes its pool too
 * @opts: may be NULL
 * @ret_p: ended by kvshm_service_pool_close()
 *
 * Once a service.  Read-only where the driver can.  Another device than kvshm-gpud's reads it over the path between the
 * two (GPUDirect P2P), where there is one; kvshm-doctor(1) says where.
 *
 * Return: 0; -ENOENT kvshm-gpud has no pool; -EACCES it is not for our user (--pool-uids); -EXDEV no path from @device
 * to kvshm-gpud's; -ENODEV no such device; -EOPNOTSUPP a device that does not share memory by descriptor; -EEXIST open
 * already; -ENOMEM, here or there; -EINVAL; -ECONNRESET; -ETIMEDOUT; -EOWNERDEAD.
 */
int kvshm_service_pool_open(struct kvshm_service *s, const struct kvshm_service_pool_options *opts,
			    struct kvshm_service_pool **ret_p);

/**
 * kvshm_service_pool_close() - unmap it, then tell kvshm-gpud that it may use our places again
 * @p: may be NULL; not used afterwards, whatever the result
 *
 * Nothing of ours reads it any more: synchronise first.  What was asked for and not told is not held.
 *
 * Return: 0, also if kvshm-gpud is gone; -ETIMEDOUT it does not answer: our holds end with the service.
 */
int kvshm_service_pool_close(struct kvshm_service_pool *p);

/**
 * struct kvshm_service_pool_facts - where the pool is mapped
 * @sz: in: sizeof(struct kvshm_service_pool_facts)
 * @addr: device address in this process
 * @len: bytes
 * @is_readonly: 1: the driver keeps us from writing to it
 * @is_peer: 1: read over the path between two devices
 */
struct kvshm_service_pool_facts {
	size_t sz;
	uint64_t addr, len;
	uint32_t is_readonly, is_peer;
};

/**
 * kvshm_service_pool_info() - where the pool is mapped
 * @p: the pool
 * @info: .sz is set by the caller, the rest is filled in
 *
 * Return: 0; -EINVAL for a .sz that no version had; -EOWNERDEAD.
 */
int kvshm_service_pool_info(struct kvshm_service_pool *p, struct kvshm_service_pool_facts *info);

/**
 * kvshm_service_pool_hold() - have blocks in the pool; no wait
 * @p: the pool
 * @ns: number of the namespace that all the blocks belong to
 * @blocks: array of @nr, of which id and generation are looked at during the call
 * @nr: 1 to 256
 * @addrs: array of @nr, gets the device address of each; stays the pool's until kvshm_service_pool_poll() has told
 * @user_data: comes back from there
 *
 * All of them or none.  Those that are not in the pool are copied from the cache: keep them pinned until it is told.  Each
 * hold is released once; blocks may be held several times.
 *
 * Return: 0 sent; -EBUSY 32 are under way, or not taken by kvshm_service_pool_poll(); -EINVAL; -ECONNRESET; -EOWNERDEAD.
 */
int kvshm_service_pool_hold(struct kvshm_service_pool *p, uint32_t ns, const struct kvshm_block *blocks, unsigned nr,
			    uint64_t *addrs, uint64_t user_data);

/**
 * struct kvshm_service_held - what became of one kvshm_service_pool_hold()
 * @user_data: as given there
 * @res: blocks held now, and all of their bytes have landed; or -errno, and none is held: -ESTALE a block is gone, -ENOSPC
 *	the pool is full of held blocks, -EDQUOT we hold as much as one client may, -ENOBUFS, -EBUSY too much is under
 *	way, -ETIMEDOUT, -ENOMEM, -EIO errors of the copy
 * @resv: 0
 */
struct kvshm_service_held {
	uint64_t user_data;
	int32_t res;
	uint32_t resv;
};

/**
 * kvshm_service_pool_poll() - what has come of holds, in the order in which it came
 * @p: the pool
 * @ret: array of @max
 * @max: to take at most
 * @timeout_us: microseconds of waiting for the first one, 0: do not wait
 *
 * Return: number taken; -ECONNRESET kvshm-gpud is gone, and with it what was asked for and what was held; -EOWNERDEAD.
 */
int kvshm_service_pool_poll(struct kvshm_service_pool *p, struct kvshm_service_held *ret, unsigned max, unsigned timeout_us);

/**
 * kvshm_service_pool_release() - let blocks go, once each
 * @p: the pool
 * @blocks: array of @nr that are held, of which id and generation are looked at
 * @nr: any number
 *
 * Nothing of ours reads them any more: synchronise first.  Their places may be used again at once if nobody else holds
 * them.  Waits for the answer.
 *
 * Return: 0; -ENOENT one is not held by us: those before it are released, those after it are not; -ECONNRESET; -ETIMEDOUT;
 * -EOWNERDEAD.
 */
int kvshm_service_pool_release(struct kvshm_service_pool *p, const struct kvshm_block *blocks, unsigned nr);

#ifdef __cplusplus
}
#endif
#endif
