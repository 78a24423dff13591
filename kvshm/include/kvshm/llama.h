/* SPDX-License-Identifier: Apache-2.0 */
/*
 * llama.h - libkvshm-llama: a llama.cpp engine's prefixes, shared with all engines of the node
 *
 * Two calls around an engine's own work: kvshm_llama_restore() before the prefill brings the longest
 * prefix that any process has computed into a sequence; kvshm_llama_save() after it (best after the
 * answer, so that nobody waits) publishes the blocks that were missing.  Blocks are written straight
 * into the arena and read straight out of it.
 *
 *	nr = kvshm_llama_restore(l, 0, tokens, nr_tokens - 1, NULL);
 *	... decode tokens [nr, nr_tokens), sample ...
 *	kvshm_llama_save(l, 0, tokens, nr_tokens, NULL);
 *
 * Nothing here is ever fatal to the engine: without a daemon, or with a full arena, a restore finds
 * nothing and a save drops what it was given.  A daemon that comes later is found later.
 *
 * Built against the C API of the ik_llama.cpp fork (llama_kv_cache_seq_*, llama_state_seq_*).
 */
#ifndef KVSHM_LLAMA_H
#define KVSHM_LLAMA_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

struct llama_context;
struct llama_context_params;
struct kvshm_llama;

/**
 * struct kvshm_llama_options - what kvshm_llama_open() needs to know
 * @sz: sizeof(struct kvshm_llama_options)
 * @model_path: file the model was loaded from; its SHA-256 is part of every key
 * @params: as given to llama_init_from_model(): cache types, flash attention and RoPE settings are part
 *	of every key, and so is n_ubatch, since sums depend on how a prompt is cut
 * @salt: text that must be equal for two engines to share, as the adapters applied; NULL: none
 * @block_tokens: tokens of a block, 16 to 512; 0: 32
 * @scratch_seq: a sequence id below n_seq_max that the engine itself never uses
 * @socket: the daemon's; NULL: as kvshm_open()
 * @instance: the daemon's; NULL: as kvshm_open()
 * @label: shown by kvshm clients; NULL: "kvshm-llama"
 * @is_off: talk to no daemon: every restore finds nothing, a save does nothing
 */
struct kvshm_llama_options {
	size_t sz;
	const char *model_path;
	const struct llama_context_params *params;
	const char *salt;
	unsigned block_tokens;
	int32_t scratch_seq;
	const char *socket;
	const char *instance;
	const char *label;
	bool is_off;
};

/**
 * struct kvshm_llama_hit - what a restore did
 * @nr_blocks: blocks of the prefix that the cache had
 * @nr_tokens: tokens brought into the sequence
 * @acquire_ns: match and pin alone
 */
struct kvshm_llama_hit {
	unsigned nr_blocks;
	unsigned nr_tokens;
	uint64_t acquire_ns;
};

/**
 * struct kvshm_llama_saved - what a save did, in blocks
 * @nr_published: in the cache because of this call
 * @nr_duplicate: somebody else was first
 * @nr_dropped: not taken: no daemon, arena full, all pinned or out of time
 */
struct kvshm_llama_saved {
	unsigned nr_published;
	unsigned nr_duplicate;
	unsigned nr_dropped;
};

/**
 * kvshm_llama_open() - make a context's prefixes shareable
 * @ctx: holds nothing yet: one block is decoded, taken out, put back and forgotten, to learn its size and
 *	that this build's format is understood; it must outlive the handle
 * @o: its strings and @params are needed during the call only
 * @ret_l: set on success, ended by kvshm_llama_close()
 *
 * Whether a daemon is there does not matter here: see kvshm_llama_status().
 * One thread at a time per handle, the one that uses @ctx.
 *
 * Return: 0; -EINVAL an option out of range; -ENOTSUP the model (recurrent, sliding window) or the build
 * cannot be cut into blocks; -EIO it does not decode; -ENOMEM; or -errno of reading @model_path.
 */
int kvshm_llama_open(struct llama_context *ctx, const struct kvshm_llama_options *o,
		     struct kvshm_llama **ret_l);

/**
 * kvshm_llama_close() - detach and free; the context stays as it is
 * @l: may be NULL
 *
 * Return: NULL.
 */
struct kvshm_llama *kvshm_llama_close(struct kvshm_llama *l);

/**
 * kvshm_llama_status() - is there a cache?
 * @l: the handle; it tries to attach on restore and save, once a second at most, until it has
 *
 * Return: 0 attached; -ECANCELED is_off was asked for; else the -errno of the last try, as of kvshm_open()
 * and kvshm_attach_ns().
 */
int kvshm_llama_status(const struct kvshm_llama *l);

/**
 * kvshm_llama_block_tokens() - tokens of a block
 * @l: the handle
 *
 * Return: as asked for in kvshm_llama_open().
 */
unsigned kvshm_llama_block_tokens(const struct kvshm_llama *l);

/**
 * kvshm_llama_block_bytes() - bytes of the KV of a block
 * @l: the handle
 *
 * Return: bytes.
 */
size_t kvshm_llama_block_bytes(const struct kvshm_llama *l);

/**
 * kvshm_llama_restore() - bring the longest cached prefix into a sequence
 * @l: the handle
 * @seq: sequence that holds nothing
 * @tokens: of the prompt, from its first on
 * @nr_tokens: of them; whole blocks only are looked for.  Leave the last token of a prompt out: it must be
 *	decoded for its logits
 * @ret_hit: set in any case; may be NULL
 *
 * No system call and no message while attached.  Bytes that do not fit (another length, other positions)
 * end the prefix; they are never used.
 *
 * Return: tokens now in @seq, a multiple of the block size; decode from there.
 */
unsigned kvshm_llama_restore(struct kvshm_llama *l, int32_t seq, const int32_t *tokens,
			     unsigned nr_tokens, struct kvshm_llama_hit *ret_hit);

/**
 * kvshm_llama_save() - publish the whole blocks of a sequence that the cache does not have
 * @l: the handle
 * @seq: sequence that holds @tokens at positions 0 to @nr_tokens - 1
 * @tokens: what was decoded, prompt and answer alike
 * @nr_tokens: of them
 * @ret_saved: set in any case; may be NULL
 *
 * Bounded in time: a cache that takes nothing for two seconds is left alone.
 *
 * Return: blocks of @tokens in the cache afterwards, as far as is known.
 */
unsigned kvshm_llama_save(struct kvshm_llama *l, int32_t seq, const int32_t *tokens,
			  unsigned nr_tokens, struct kvshm_llama_saved *ret_saved);

#ifdef __cplusplus
}
#endif

#endif
