/* SPDX-License-Identifier: Apache-2.0 */
/*
 * migrate.h - running requests from one GPU to another, in one process
 *
 * Full blocks never change, so they are copied while the request runs on and fills more.  When all have landed the
 * engine is asked to stop it, the rest of its last block is copied, and the other GPU goes on:
 *
 *   kvshm_migrate_open() -> kvshm_migrate_add() -> kvshm_migrate_poll() again and again, telling
 *   kvshm_migrate_grew() -> @pause is called -> kvshm_migrate_paused() -> @move is called -> kvshm_migrate_moved()
 *
 * What is copied while a request stands still is at most one block.  Copies of many requests share their way.
 *
 * Tokens count when the device has written their KV: an engine that runs ahead of its GPU tells them, and that a request
 * stands still, when the GPU has come so far.
 *
 * Until it has moved, a request's blocks on the first GPU are whole and untouched, so it may be aborted at any step, by
 * the caller, a refused copy or a lost device, and is let run again where it is.
 *
 * GPUs that reach each other's memory copy straight; else the copies go through pinned host memory.  What of a request
 * is in the cache is loaded at the new place by kvshm_stage_in(), and need not be copied: @nr_there.
 *
 * Calls belong to the thread of the sides' handles, call-backs come from inside kvshm_migrate_poll() and
 * kvshm_migrate_close().  Errors are negative errno, outputs are left alone on failure.
 */
#ifndef KVSHM_MIGRATE_H
#define KVSHM_MIGRATE_H

#include <kvshm/gpu.h>

#ifdef __cplusplus
extern "C" {
#endif

struct kvshm_migrate;

/**
 * enum kvshm_migrate_way - how a request gets to the other GPU
 * @KVSHM_MIGRATE_PEER: from memory to memory of the GPUs
 * @KVSHM_MIGRATE_HOST: through pinned host memory
 * @KVSHM_MIGRATE_RECOMPUTE: not at all, its tokens are computed again there
 */
enum kvshm_migrate_way {
	KVSHM_MIGRATE_PEER = 0,
	KVSHM_MIGRATE_HOST = 1,
	KVSHM_MIGRATE_RECOMPUTE = 2,
};

/**
 * struct kvshm_migrate_options - zero is the default of each field, but for the call-backs
 * @sz: sizeof(struct kvshm_migrate_options)
 * @flags: 0
 * @max_requests: at once, 0: 64
 * @max_pauses: stops of a request that came too late, until it is given up; 0: 4
 * @timeout_ms: how long kvshm_migrate_close() waits for the devices, 0: 5000
 * @hop_len: bytes that are packed and carried as one; 0: 32 MiB.  Twice as much is taken of each GPU, or of the host
 * @peer_bytes_per_ns: from GPU to GPU, as measured; 0: as the slower of the two GPUs' links to the host
 * @d2h_bytes_per_ns: from a GPU to the host; 0: by the costs of that GPU's side, see kvshm_gpu_options.costs
 * @h2d_bytes_per_ns: from the host to a GPU; 0: the same
 * @arg: handed to the call-backs
 * @pause: stop this request; kvshm_migrate_paused() answers, from inside the call or later
 * @resume: let it run where it is, or do not stop it after all
 * @move: let it run at the new place; kvshm_migrate_moved() answers, from inside the call or later
 */
struct kvshm_migrate_options {
	size_t sz;
	uint32_t flags;
	uint32_t max_requests, max_pauses;
	uint32_t timeout_ms;
	uint64_t hop_len;
	double peer_bytes_per_ns, d2h_bytes_per_ns, h2d_bytes_per_ns;
	void *arg;
	void (*pause)(void *arg, uint32_t request);
	void (*resume)(void *arg, uint32_t request);
	void (*move)(void *arg, uint32_t request);
};

/**
 * kvshm_migrate_open() - a way from one GPU side to another
 * @from: where requests run now
 * @to: where they shall; of the same model, with its own strides.  May be a side of another handle of this thread
 * @opts: copied
 * @ret_m: ended by kvshm_migrate_close(), and by kvshm_gpu_close() of either side
 *
 * Lets the two devices' primary contexts reach each other's memory where that is the way; they go on doing so.
 *
 * Return: 0; -EINVAL options, or the layouts do not fit; -EOPNOTSUPP groups with different tokens a block, or no way
 * between the GPUs; -ENOMEM; -EOWNERDEAD; errors of the driver.
 */
int kvshm_migrate_open(struct kvshm_gpu *from, struct kvshm_gpu *to, const struct kvshm_migrate_options *opts,
		       struct kvshm_migrate **ret_m);

/**
 * kvshm_migrate_close() - abort what has not moved, wait for what is under way
 * @m: may be NULL; not used afterwards, whatever the result
 *
 * Waits for the devices, not for the engine: a request that was asked to stop is let run.
 *
 * Return: 0; -ETIMEDOUT, -ENOTRECOVERABLE a device does not answer, or is lost: what it may still touch is left behind
 * until the process ends.
 */
int kvshm_migrate_close(struct kvshm_migrate *m);

/**
 * struct kvshm_migrate_request - a request to be moved
 * @sz: sizeof(struct kvshm_migrate_request)
 * @from: for each group of the layout the engine's blocks that hold it
 * @to: and those that shall
 * @nr_blocks: of each table, as far as the request may grow; entries are set before their tokens are told
 * @nr_there: leading blocks that are at the new place already
 * @tokens: of which it consists now
 *
 * Tables stay where they are, and blocks belong to the migration, until kvshm_migrate_is_over().
 */
struct kvshm_migrate_request {
	size_t sz;
	const uint32_t *const *from;
	const uint32_t *const *to;
	uint32_t nr_blocks, nr_there;
	uint64_t tokens;
};

/**
 * kvshm_migrate_add() - begin to move a request
 * @m: the way
 * @req: copied; its tables are not
 *
 * Return: its number, until kvshm_migrate_end(); -EBUSY @max_requests are there; -EINVAL; -ENOTRECOVERABLE a device is
 * lost; -EOWNERDEAD.
 */
int kvshm_migrate_add(struct kvshm_migrate *m, const struct kvshm_migrate_request *req);

/**
 * kvshm_migrate_grew() - a request has more tokens, or fewer where the engine takes guesses back
 * @m: the way
 * @request: its number
 * @tokens: as many now.  Each taking back is told before it grows again
 *
 * Return: 0; -EBUSY it stands still; -EINVAL no such request, or past its tables; -EOWNERDEAD.
 */
int kvshm_migrate_grew(struct kvshm_migrate *m, uint32_t request, uint64_t tokens);

/**
 * kvshm_migrate_paused() - a request stands still, as the engine was asked by @pause
 * @m: the way
 * @request: its number
 * @tokens: as many it has
 *
 * Return: 0; -EINVAL nobody asked, or past its tables; -EOWNERDEAD.
 */
int kvshm_migrate_paused(struct kvshm_migrate *m, uint32_t request, uint64_t tokens);

/**
 * kvshm_migrate_moved() - what came of @move
 * @m: the way
 * @request: its number
 * @is_there: 1 it runs at the new place; 0 it cannot: @resume is called
 *
 * Return: 0; -EINVAL nobody asked; -EOWNERDEAD.
 */
int kvshm_migrate_moved(struct kvshm_migrate *m, uint32_t request, int is_there);

/**
 * kvshm_migrate_abort() - leave a request where it is
 * @m: the way
 * @request: its number
 *
 * Return: 0; -EALREADY @move was called; -EINVAL; -EOWNERDEAD.
 */
int kvshm_migrate_abort(struct kvshm_migrate *m, uint32_t request);

/**
 * kvshm_migrate_poll() - see what has landed, issue what may go, ask the engine
 * @m: the way
 *
 * Calls the driver a few times; waits for nothing.
 *
 * Return: requests that are not over; -ENOTRECOVERABLE a device is lost; -EOWNERDEAD.
 */
int kvshm_migrate_poll(struct kvshm_migrate *m);

/**
 * kvshm_migrate_state() - what became of a request
 * @m: the way
 * @request: its number
 *
 * Return: 1 it has moved; 0 under way; -ECANCELED aborted, or @move failed; -EAGAIN it stopped too late each time;
 * -ENOTRECOVERABLE a device is lost, or refused a copy with such an error; other errors of the driver; -EINVAL no such
 * request; -EOWNERDEAD.
 */
int kvshm_migrate_state(struct kvshm_migrate *m, uint32_t request);

/**
 * kvshm_migrate_is_over() - may blocks and tables be used for something else?
 * @m: the way
 * @request: its number
 *
 * Return: 1 those of the place where it does not run; 0 not yet; -ENOTRECOVERABLE never: a device is lost; -EINVAL;
 * -EOWNERDEAD.
 */
int kvshm_migrate_is_over(struct kvshm_migrate *m, uint32_t request);

/**
 * kvshm_migrate_end() - the caller is done with a request
 * @m: the way
 * @request: its number, no longer valid
 *
 * Return: 0; -EBUSY it is not over; -EINVAL; -EOWNERDEAD.
 */
int kvshm_migrate_end(struct kvshm_migrate *m, uint32_t request);

/**
 * kvshm_migrate_advise() - is copying quicker than computing it again?
 * @m: the way
 * @tokens: to be copied
 * @recompute_ns: prefill of them at the new place
 *
 * Return: enum kvshm_migrate_way; -EOWNERDEAD.
 */
int kvshm_migrate_advise(struct kvshm_migrate *m, uint64_t tokens, double recompute_ns);

/**
 * struct kvshm_migrate_facts - what a way has carried
 * @sz: in: sizeof(struct kvshm_migrate_facts)
 * @way: enum kvshm_migrate_way
 * @is_to_lost: which device, while a poll says that one is lost
 * @moved: requests that run at the new place
 * @aborted: requests that stayed
 * @hops: messages of packed blocks
 * @pieces: copies of requests that were in them
 * @bytes: payload that has landed
 * @pause_bytes_max: copied while one request stood still, the most
 */
struct kvshm_migrate_facts {
	size_t sz;
	uint32_t way, is_to_lost;
	uint64_t moved, aborted;
	uint64_t hops, pieces, bytes;
	uint64_t pause_bytes_max;
};

/**
 * kvshm_migrate_info() - what a way has carried
 * @m: the way
 * @info: .sz is set by the caller, the rest is filled in
 *
 * Return: 0; -EINVAL for a .sz that no version had; -EOWNERDEAD.
 */
int kvshm_migrate_info(struct kvshm_migrate *m, struct kvshm_migrate_facts *info);

#ifdef __cplusplus
}
#endif
#endif
