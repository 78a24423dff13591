/* SPDX-License-Identifier: Apache-2.0 */
/* cache.h - the handle of libkvshm-llama, shared by its files; what it promises stands in <kvshm/llama.h> */
#ifndef KVSHM_ENGINES_LLAMA_CACHE_H
#define KVSHM_ENGINES_LLAMA_CACHE_H

#include <kvshm/key.h>
/* What it declares is what libkvshm-llama.so shows; all else is hidden. */
#pragma GCC visibility push(default)
#include <kvshm/llama.h>
#pragma GCC visibility pop

struct kvshm;

/**
 * struct kvshm_llama - one context's way to the cache
 * @k: NULL while not attached
 * @status: as kvshm_llama_status() tells it
 * @tried_ns: when attaching was last tried
 * @root: root key, also the namespace's fingerprint
 * @layout: digest of what decides the bytes' layout
 * @keys: room for those of the longest prompt so far
 */
struct kvshm_llama {
	struct llama_context *ctx;
	struct kvshm *k;
	uint32_t ns;
	int status;
	uint64_t tried_ns;
	unsigned block_tokens;
	int32_t scratch_seq;
	size_t block_bytes;
	struct kvshm_key root, layout;
	struct kvshm_key *keys;
	unsigned max_keys;
	char *socket, *instance, *label;
};

/**
 * cache_attach() - be attached, if that is to be had now
 * Return: is it?
 */
bool cache_attach(struct kvshm_llama *l);

/**
 * cache_keys() - keys of the whole blocks of @tokens, in @l->keys
 * Return: number of blocks, 0 also without memory.
 */
unsigned cache_keys(struct kvshm_llama *l, const int32_t *tokens, unsigned nr_tokens);

#endif
