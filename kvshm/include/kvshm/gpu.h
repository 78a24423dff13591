/* SPDX-License-Identifier: Apache-2.0 */
/*
 * gpu.h - blocks between the cache and an engine's paged KV on a GPU
 *
 * A handle gets a GPU side, which knows where the engine keeps its blocks; from then on
 *   - loads:   kvshm_acquire() -> kvshm_resolve() -> kvshm_stage_in() -> a layer at a time: kvshm_stage_block() or
 *	kvshm_stage_wait() -> kvshm_stage_end()
 *   - saves:   kvshm_grant() -> kvshm_stage_out() -> kvshm_stage_end(); the blocks are committed when they have
 *	landed, and kvshm_poll() tells of it
 *
 * The device copies straight from and to the arena's pinned pages where they can be pinned, else through bounce
 * slices.  Nothing waits for a copy but what says so.
 *
 * Who owns what while the device works: a job takes pins and granted blocks over, and gives them up only when the
 * device is certain to touch the memory no more, which an error or a cancel does not end.  Where nobody can say (the
 * device is lost, or hangs), they are kept until the process ends.
 *
 * The driver is found at run time.  Errors are negative errno, outputs are left alone on failure.  All calls belong to
 * the thread of the handle, but for kvshm_stage_word().  Large jobs are issued in portions: somebody must call
 * kvshm_gpu_poll(), or one of the waits, for them to go on.
 */
#ifndef KVSHM_GPU_H
#define KVSHM_GPU_H

#include <kvshm/kvshm.h>

#ifdef __cplusplus
extern "C" {
#endif

struct kvshm_gpu;
struct kvshm_stage;

#define KVSHM_GPU_GROUPS_MAX 8u
#define KVSHM_GPU_LAYERS_MAX 256u

/**
 * struct kvshm_gpu_group - layers with equal geometry and one block table
 * @nr_blocks: engine block ids are 0 .. @nr_blocks - 1
 * @nr_tokens: of an engine block, which holds what one block of the cache holds
 * @nr_heads: KV heads of this rank; 1 for a latent or a recurrent state
 * @nr_parts: 2: K and V apart; 1: a latent, a state, or K and V side by side
 * @run_len: bytes of one token of one head, contiguous
 * @block_stride: on the device, bytes from a block to the next
 * @head_stride: from head to head
 * @token_stride: from token to token
 * @arena_layer_stride: in a block of the cache; all four 0: packed in the device's order, layers outermost
 * @arena_part_stride: from K to V
 * @arena_head_stride: from head to head
 * @arena_token_stride: from token to token
 *
 * Strides are those of the engine's tensors.
 */
struct kvshm_gpu_group {
	uint32_t nr_blocks, nr_tokens, nr_heads, nr_parts;
	uint64_t run_len;
	uint64_t block_stride, head_stride, token_stride;
	uint64_t arena_layer_stride, arena_part_stride, arena_head_stride, arena_token_stride;
};

/**
 * struct kvshm_gpu_layer - where a layer lies
 * @dev: device addresses of K and of V: block 0, head 0, token 0
 * @group: index of its group
 * @resv: 0
 */
struct kvshm_gpu_layer {
	uint64_t dev[2];
	uint32_t group;
	uint32_t resv;
};

#define KVSHM_GPU_CURRENT 0x1u		/* the device of the calling thread's current context */

/**
 * struct kvshm_gpu_options - a GPU side; zero is the default of each field, but for the layout
 * @sz: sizeof(struct kvshm_gpu_options)
 * @flags: KVSHM_GPU_*
 * @device: ordinal among the devices that this process may see; with KVSHM_GPU_CURRENT not used
 * @libcuda: path of the driver's library; NULL: $KVSHM_LIBCUDA, else libcuda.so.1
 * @groups: array of @nr_groups
 * @layers: array of @nr_layers, in the model's order
 * @nr_groups: 1 to KVSHM_GPU_GROUPS_MAX
 * @nr_layers: 1 to KVSHM_GPU_LAYERS_MAX
 * @max_jobs: under way at once, 0: 8
 * @max_blocks: of one job, all groups together, 0: 512
 * @layers_per_step: the least that a job may ask for, 0: 1
 * @timeout_ms: how long kvshm_gpu_close() waits for the device, 0: 5000
 * @landing_len: bytes of device memory for each direction, where blocks land to be scattered by a kernel; 0: none
 * @bounce_len: bytes of pinned memory for each direction, 0: 16 MiB
 * @costs: file that ``kvshm bench stage --costs`` wrote on such a card: what decides how blocks are copied.  NULL:
 *	$KVSHM_STAGE_COSTS, else /etc/kvshm/gpu.costs; where these are not there or no use, guesses serve, see
 *	struct kvshm_gpu_facts
 */
struct kvshm_gpu_options {
	size_t sz;
	uint32_t flags;
	int32_t device;
	const char *libcuda;
	const struct kvshm_gpu_group *groups;
	const struct kvshm_gpu_layer *layers;
	uint32_t nr_groups, nr_layers;
	uint32_t max_jobs, max_blocks;
	uint32_t layers_per_step, timeout_ms;
	uint64_t landing_len, bounce_len;
	const char *costs;
};

/**
 * kvshm_gpu_block_len() - bytes of a group's block in the cache
 * @opts: of which the layout is looked at
 * @group: index of the group
 * @ret_len: for struct kvshm_ns_desc
 *
 * Needs no device.  Thread-safe.
 *
 * Return: 0; -EINVAL: no such layout, or longer than a block may be.
 */
int kvshm_gpu_block_len(const struct kvshm_gpu_options *opts, unsigned group, uint32_t *ret_len);

/**
 * kvshm_gpu_open() - a GPU side for a handle
 * @k: the handle; kvshm_close() closes the side too
 * @opts: copied
 * @ret_g: ended by kvshm_gpu_close()
 *
 * Retains the device's primary context, which an engine's runtime shares, and leaves the thread's current context as
 * it was.  A trusted client's extents are pinned in the background; until then, and for others, copies bounce.
 *
 * Return: 0; -ENOENT no driver; -ENODEV no such device, or the current context is not a primary one; -ENOSYS not a
 * driver, or too old; -EINVAL the layout is not one, or options unknown; -EBADMSG @costs cannot be read, is malformed,
 * or is not of such a card; -ENOMEM; -EOVERFLOW; -EOWNERDEAD; errors of the driver: -ENOTRECOVERABLE the context is
 * lost, -EIO.
 */
int kvshm_gpu_open(struct kvshm *k, const struct kvshm_gpu_options *opts, struct kvshm_gpu **ret_g);

/**
 * kvshm_gpu_close() - wait for all jobs, commit what has landed, let go of the device
 * @g: may be NULL; not used afterwards, whatever the result
 *
 * Bounded by the side's timeout.  What stands on the side (<kvshm/migrate.h>, <kvshm/direct.h>) is closed first.
 *
 * Return: 0; -ETIMEDOUT the device does not answer, -ENOTRECOVERABLE it is lost: what it may still touch is left
 * behind, pinned until the process ends.
 */
int kvshm_gpu_close(struct kvshm_gpu *g);

/**
 * kvshm_gpu_poll() - see what has landed, commit it, issue what may go
 * @g: the GPU side
 *
 * Calls the driver a few times; waits for nothing but, in an untrusted client, for staging space of landed saves.
 *
 * Return: jobs not over; -ENOTRECOVERABLE the device is lost; -EOWNERDEAD.
 */
int kvshm_gpu_poll(struct kvshm_gpu *g);

/**
 * struct kvshm_gpu_facts - what a GPU side stands on, and what it has done
 * @sz: in: sizeof(struct kvshm_gpu_facts)
 * @name: of the device
 * @pci: its address, as in /sys/bus/pci/devices
 * @node: its NUMA node, -1: unknown
 * @sm: compute capability, 90 for 9.0
 * @driver_version: major * 1000 + minor * 10
 * @ways: bits 1 << enum kvshm_stage_way that may be chosen
 * @nr_extents: of the arena, as mapped now
 * @nr_pinned: of these pinned
 * @nr_refused: of these refused by the driver, see @why
 * @is_simulated: 1: a fake driver
 * @in_bytes: loaded
 * @out_bytes: saved
 * @bounced_bytes: of these through bounce slices
 * @in_blocks: loaded
 * @out_blocks: saved
 * @copies: issued to copy engines
 * @launches: of kernels
 * @failed: jobs that ended by an error
 * @cancelled: jobs that ended by a cancel
 * @held_jobs: jobs whose memory is kept, for the device is lost or hangs
 * @why: why an extent was refused, "" if none was
 * @has_costs: 1: copies are planned by measured costs; 0: by guesses
 * @resv: 0
 * @costs: the file that costs were taken from; else why they were not, "" if there is no such file
 */
struct kvshm_gpu_facts {
	size_t sz;
	char name[64];
	char pci[16];
	int32_t node;
	uint32_t sm;
	uint32_t driver_version;
	uint32_t ways;
	uint32_t nr_extents, nr_pinned, nr_refused;
	uint32_t is_simulated;
	uint64_t in_bytes, out_bytes, bounced_bytes;
	uint64_t in_blocks, out_blocks;
	uint64_t copies, launches;
	uint64_t failed, cancelled, held_jobs;
	char why[112];
	uint32_t has_costs, resv;
	char costs[256];
};

/**
 * kvshm_gpu_info() - what a GPU side stands on, and what it has done
 * @g: the GPU side
 * @info: .sz is set by the caller, the rest is filled in
 *
 * Return: 0; -EINVAL for a .sz that no version had; -EOWNERDEAD.
 */
int kvshm_gpu_info(struct kvshm_gpu *g, struct kvshm_gpu_facts *info);

/* ---- jobs -------------------------------------------------------------------------------------------- */

/**
 * enum kvshm_stage_way - how a job moves its bytes
 * @KVSHM_STAGE_COPIES: plain and two-dimensional copies
 * @KVSHM_STAGE_BATCH: all copies of a step in one call
 * @KVSHM_STAGE_LANDING: blocks land whole, a kernel scatters them; or the reverse
 * @KVSHM_STAGE_DIRECT: a kernel over the mapped arena
 */
enum kvshm_stage_way {
	KVSHM_STAGE_COPIES = 0,
	KVSHM_STAGE_BATCH = 1,
	KVSHM_STAGE_LANDING = 2,
	KVSHM_STAGE_DIRECT = 3,
};

#define KVSHM_STAGE_AFTER 0x1u		/* what is on @engine_stream now comes first */
#define KVSHM_STAGE_KEEP 0x2u		/* pins or granted blocks stay the caller's, see kvshm_stage_is_over() */
#define KVSHM_STAGE_ALL UINT32_MAX	/* for a layer: all of the job */
#define KVSHM_STAGE_FAILED (1ull << 63)	/* in a word, with the ticket */

/**
 * struct kvshm_stage_desc - how to run a job; zero is the default of each field
 * @sz: sizeof(struct kvshm_stage_desc)
 * @flags: KVSHM_STAGE_AFTER, KVSHM_STAGE_KEEP
 * @first_layer: of the model
 * @nr_layers: 0: to the last
 * @layers_per_step: layers that complete together; 0: all, with the fewest copies
 * @engine_stream: a stream of the engine (CUstream, cudaStream_t), NULL: its default stream
 * @word: array with a word for each layer of the model, any memory; NULL: none.  Stays until the job is over
 * @ticket: stored in a layer's word when it has landed; with KVSHM_STAGE_FAILED if it never will.  Bit 63 clear
 */
struct kvshm_stage_desc {
	size_t sz;
	uint32_t flags;
	uint32_t first_layer, nr_layers;
	uint32_t layers_per_step;
	void *engine_stream;
	uint64_t *word;
	uint64_t ticket;
};

/**
 * struct kvshm_stage_load - what one group loads
 * @blocks: from kvshm_resolve()
 * @engine_blocks: where each of them goes
 * @nr: number of @blocks and of @engine_blocks, in chain order; 0: nothing of this group
 * @nr_pins: number of @pins
 * @pins: that protect the blocks; the job takes them over and they are cleared, unless KVSHM_STAGE_KEEP
 */
struct kvshm_stage_load {
	const struct kvshm_block *blocks;
	const uint32_t *engine_blocks;
	unsigned nr;
	unsigned nr_pins;
	struct kvshm_pin *pins;
};

/**
 * struct kvshm_stage_save - what one group saves
 * @ns: number of the namespace
 * @flags: KVSHM_COMMIT_LOOSE or 0
 * @parent: as in kvshm_commit()
 * @keys: of the blocks, parent before child
 * @blocks: from kvshm_grant(), of the group's full length.  NULL: copied out and put through the library's own
 *	buffer, which also an untrusted client may
 * @engine_blocks: where each of them is
 * @nr: number of @keys, @blocks and @engine_blocks; 0: nothing of this group
 * @resv: 0
 * @user_data: comes back from kvshm_poll()
 */
struct kvshm_stage_save {
	uint32_t ns;
	uint32_t flags;
	const struct kvshm_key *parent, *keys;
	const struct kvshm_block *blocks;
	const uint32_t *engine_blocks;
	unsigned nr;
	uint32_t resv;
	uint64_t user_data;
};

/**
 * kvshm_stage_in() - copy pinned blocks into the engine's blocks
 * @g: the GPU side
 * @loads: one for each group of the layout; read during the call
 * @desc: copied; NULL: zero
 * @ret_s: the job, ended by kvshm_stage_end()
 *
 * A block with fewer tokens than the engine's is copied as far as it goes; its @length must be a full block's.
 * Allocates nothing, waits for nothing.  The first layers' copies are issued before the others are planned; an error of
 * these, or of the driver while copies are issued, is the job's, not the call's.
 *
 * Return: 0; -EBUSY @max_jobs are under way; -E2BIG past @max_blocks; -EINVAL a block id, token count, layer or pin
 * out of range; -ESTALE blocks of different contents; -EOPNOTSUPP no way to do it; -ENOTRECOVERABLE the device is
 * lost; -EOWNERDEAD.
 */
int kvshm_stage_in(struct kvshm_gpu *g, const struct kvshm_stage_load *loads,
		   const struct kvshm_stage_desc *desc, struct kvshm_stage **ret_s);

/**
 * kvshm_stage_out() - copy engine blocks into granted blocks, commit them when they have landed
 * @g: the GPU side
 * @saves: one for each group of the layout; read during the call
 * @desc: copied; NULL: zero
 * @ret_s: the job, ended by kvshm_stage_end(); may be NULL: nobody asks about it
 *
 * Write-behind: the engine must not overwrite its blocks before the job is over.  Granted blocks leave the caller's
 * hands with success, and are committed, or after a failure returned, by the polls and waits.
 *
 * Return: as kvshm_stage_in(); -EBUSY also: no room in the library's buffer.
 */
int kvshm_stage_out(struct kvshm_gpu *g, const struct kvshm_stage_save *saves,
		    const struct kvshm_stage_desc *desc, struct kvshm_stage **ret_s);

/**
 * kvshm_stage_wait() - wait for a layer, or for all
 * @s: the job
 * @layer: of the model; KVSHM_STAGE_ALL: all, and saves are committed
 * @timeout_us: 0: look only
 *
 * Return: 1 it has landed; 0 not yet; -ECANCELED; -ENOTRECOVERABLE the device is lost, or refused an operation with
 * such an error; -EIO, -EINVAL, -ENOMEM as the driver says; errors of kvshm_commit() or kvshm_put(); -EOWNERDEAD.
 */
int kvshm_stage_wait(struct kvshm_stage *s, uint32_t layer, unsigned timeout_us);

/**
 * kvshm_stage_block() - a stream of the engine waits for a layer, the processor does not
 * @s: the job
 * @layer: of the model
 * @engine_stream: CUstream, cudaStream_t; NULL: the default stream
 *
 * Issues the copies of the layers up to it, if that has not been done.
 *
 * Return: 0; -EAGAIN they cannot be issued yet (a bounced load waits for a slice, a save for those before it):
 * kvshm_gpu_poll() and again, or kvshm_stage_wait(); else as kvshm_stage_wait().
 */
int kvshm_stage_block(struct kvshm_stage *s, uint32_t layer, void *engine_stream);

/**
 * kvshm_stage_cancel() - issue nothing more of a job
 * @s: the job
 *
 * What was issued still lands, and only then the pins end or the granted blocks return.  A job that has landed stays
 * as it is.
 *
 * Return: 1 it had landed; 0; -EOWNERDEAD.
 */
int kvshm_stage_cancel(struct kvshm_stage *s);

/**
 * kvshm_stage_is_over() - does the device touch the job's memory no more?
 * @s: the job
 *
 * With KVSHM_STAGE_KEEP pins may be released, and granted blocks committed or returned, when this is 1.
 *
 * Return: 1; 0 not yet; -ENOTRECOVERABLE: never, the device is lost; -EOWNERDEAD.
 */
int kvshm_stage_is_over(struct kvshm_stage *s);

/**
 * kvshm_stage_end() - the caller is done with a job
 * @s: may be NULL; not used afterwards
 *
 * Never waits.  A load that has not landed is cancelled; a save goes on.
 */
void kvshm_stage_end(struct kvshm_stage *s);

/**
 * struct kvshm_stage_facts - how a job was planned
 * @sz: in: sizeof(struct kvshm_stage_facts)
 * @way: enum kvshm_stage_way
 * @is_bounced: through bounce slices
 * @nr_steps: completions
 * @nr_copies: for copy engines
 * @nr_launches: of kernels
 * @resv: 0
 * @bytes: payload
 */
struct kvshm_stage_facts {
	size_t sz;
	uint32_t way, is_bounced;
	uint32_t nr_steps, nr_copies, nr_launches, resv;
	uint64_t bytes;
};

/**
 * kvshm_stage_info() - how a job was planned
 * @s: the job
 * @info: .sz is set by the caller, the rest is filled in
 *
 * Return: 0; -EINVAL for a .sz that no version had; -EOWNERDEAD.
 */
int kvshm_stage_info(const struct kvshm_stage *s, struct kvshm_stage_facts *info);

/**
 * kvshm_stage_word() - has a layer landed?
 * @word: of the layer, as given in struct kvshm_stage_desc
 * @ticket: the same
 *
 * From any thread, without a call of the driver.  The word changes in the polls and waits of the handle's thread.
 *
 * Return: 1 it has, and its bytes are seen by this thread; 0 not yet; -EIO it never will.
 */
int kvshm_stage_word(const uint64_t *word, uint64_t ticket);

/* ---- pieces ------------------------------------------------------------------------------------------ */

/**
 * struct kvshm_gather_launch - where a kernel gathers
 * @sz: sizeof(struct kvshm_gather_launch)
 * @table: memory of the caller that host and device reach by the same address (pinned, mapped), 8-byte aligned
 * @table_len: bytes of it, 16 for each stretch of up to 16 KiB
 * @engine_stream: the kernel goes onto it (CUstream, cudaStream_t), NULL: the default stream
 */
struct kvshm_gather_launch {
	size_t sz;
	void *table;
	uint64_t table_len;
	void *engine_stream;
};

/**
 * kvshm_gpu_gather() - as kvshm_gather(), into device memory, by a kernel that reads the arena
 * @g: the GPU side
 * @what: its @dst is a device address; blocks of what is attached now
 * @launch: read during the call
 * @ret_len: bytes packed
 *
 * Returns when the kernel is on the stream.  Until the stream has passed it, pins and table stay as they are.
 *
 * Return: number of pieces; -EINVAL as kvshm_gather(); -ENOSPC @dst or @table too small; -E2BIG past 4 GiB; -EAGAIN the
 * arena is not pinned yet; -EOPNOTSUPP it cannot be, or there are no kernels: kvshm_gather() and a copy do it; -ESTALE
 * blocks of another attachment; -ENOTRECOVERABLE the device is lost; errors of the driver; -EOWNERDEAD.
 */
int kvshm_gpu_gather(struct kvshm_gpu *g, const struct kvshm_gather_request *what,
		     const struct kvshm_gather_launch *launch, uint64_t *ret_len);

#ifdef __cplusplus
}
#endif
#endif
