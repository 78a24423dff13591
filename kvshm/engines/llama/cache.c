/* SPDX-License-Identifier: Apache-2.0 */
/* cache.c - open, attach, restore */
#include "kvshm/engines/llama/cache.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <llama.h>

#include <kvshm/kvshm.h>

#include "kvshm/engines/llama/fingerprint.h"
#include "kvshm/engines/llama/key.h"
#include "kvshm/engines/llama/state.h"

#define BLOCK_TOKENS_MIN 16u
#define BLOCK_TOKENS_MAX 512u
#define BLOCK_TOKENS 32u
#define RETRY_NS 1000000000u

static uint64_t now_ns(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

/* ---- attach -------------------------------------------------------------------------------------- */

static int attach(struct kvshm_llama *l)
{
	struct kvshm_options opts = {
		.sz = sizeof(opts), .socket = l->socket, .instance = l->instance, .label = l->label
	};
	struct kvshm_ns_desc desc = { .block_len = (uint32_t)l->block_bytes,
				      .block_tokens = l->block_tokens,
				      .label = "kvshm-llama" };
	struct kvshm *k;
	int ret;

	memcpy(desc.fingerprint, l->root.bytes, sizeof(desc.fingerprint));
	memcpy(desc.layout, l->layout.bytes, sizeof(desc.layout));
	ret = kvshm_open(&opts, &k);
	if (ret < 0)
		return ret;
	ret = kvshm_attach_ns(k, &desc, &l->ns);
	if (ret < 0) {
		kvshm_close(k);
		return ret;
	}
	l->k = k;
	return 0;
}

bool cache_attach(struct kvshm_llama *l)
{
	uint64_t now;

	if (l->k)
		return true;
	now = now_ns();
	if (l->status == -ECANCELED || (l->tried_ns && now - l->tried_ns < RETRY_NS))
		return false;
	l->tried_ns = now;
	l->status = attach(l);
	return l->k != NULL;
}

/* ---- open ---------------------------------------------------------------------------------------- */

/* A block of this build goes out and comes back, or the build has a format that state.c does not know. */
static int try_block(struct kvshm_llama *l)
{
	struct state_place at = { .ctx = l->ctx,
				  .seq = l->scratch_seq ? 0 : 1,
				  .scratch = l->scratch_seq,
				  .to = (int32_t)l->block_tokens };
	void *block;
	int ret;

	l->block_bytes = state_block_bytes(&at);
	block = malloc(l->block_bytes);
	if (!block)
		return -ENOMEM;
	ret = state_save(&at, block, l->block_bytes);
	llama_kv_cache_clear(l->ctx);
	if (!ret)
		ret = state_restore(&at, block, l->block_bytes);
	llama_kv_cache_clear(l->ctx);
	free(block);
	return ret ? -ENOTSUP : 0;
}

/*
 * The block size is what a real block has, so one is decoded and forgotten.  This also brings the
 * weights in, which would otherwise count as somebody's time to first token.
 */
static int probe(struct kvshm_llama *l)
{
	int32_t nr_vocab = llama_n_vocab(llama_get_model(l->ctx)), *tokens;
	unsigned i;
	int ret;

	tokens = calloc(l->block_tokens, sizeof(*tokens));
	if (!tokens)
		return -ENOMEM;
	for (i = 0; i < l->block_tokens; i++)
		tokens[i] = (int32_t)i % nr_vocab;
	ret = llama_decode(l->ctx, llama_batch_get_one(tokens, (int32_t)l->block_tokens, 0,
						       l->scratch_seq ? 0 : 1));
	free(tokens);
	return ret ? -EIO : try_block(l);
}

static bool copy_text(const char *text, char **ret_copy)
{
	*ret_copy = text ? strdup(text) : NULL;
	return !text || *ret_copy;
}

static int open_handle(struct kvshm_llama *l, const struct kvshm_llama_options *o)
{
	int ret;

	if (!copy_text(o->socket, &l->socket) || !copy_text(o->instance, &l->instance) ||
	    !copy_text(o->label ? o->label : "kvshm-llama", &l->label))
		return -ENOMEM;
	/* A sliding window keeps only its last tokens, recurrent models one state: no blocks there. */
	if (!fingerprint_model_has_blocks(llama_get_model(l->ctx)))
		return -ENOTSUP;
	ret = probe(l);
	if (!ret)
		ret = fingerprint_make(l, o);
	if (!ret)
		cache_attach(l);
	return ret;
}

int kvshm_llama_open(struct llama_context *ctx, const struct kvshm_llama_options *o,
		     struct kvshm_llama **ret_l)
{
	unsigned block_tokens = o->block_tokens ? o->block_tokens : BLOCK_TOKENS;
	struct kvshm_llama *l;
	int ret;

	if (o->sz != sizeof(*o) || !o->model_path || !o->params || o->scratch_seq < 0 ||
	    block_tokens < BLOCK_TOKENS_MIN || block_tokens > BLOCK_TOKENS_MAX ||
	    (uint32_t)o->scratch_seq >= o->params->n_seq_max || o->params->n_seq_max < 2 ||
	    block_tokens > o->params->n_batch)
		return -EINVAL;
	l = calloc(1, sizeof(*l));
	if (!l)
		return -ENOMEM;
	l->ctx = ctx;
	l->block_tokens = block_tokens;
	l->scratch_seq = o->scratch_seq;
	l->status = o->is_off ? -ECANCELED : -ENOTCONN;
	ret = open_handle(l, o);
	if (ret < 0) {
		kvshm_llama_close(l);
		return ret;
	}
	*ret_l = l;
	return 0;
}

struct kvshm_llama *kvshm_llama_close(struct kvshm_llama *l)
{
	if (l) {
		kvshm_close(l->k);
		free(l->keys);
		free(l->socket);
		free(l->instance);
		free(l->label);
		free(l);
	}
	return NULL;
}

int kvshm_llama_status(const struct kvshm_llama *l)
{
	return l->status;
}

unsigned kvshm_llama_block_tokens(const struct kvshm_llama *l)
{
	return l->block_tokens;
}

size_t kvshm_llama_block_bytes(const struct kvshm_llama *l)
{
	return l->block_bytes;
}

/* ---- restore ------------------------------------------------------------------------------------- */

unsigned cache_keys(struct kvshm_llama *l, const int32_t *tokens, unsigned nr_tokens)
{
	unsigned nr = nr_tokens / l->block_tokens;
	struct kvshm_key *keys;

	if (nr > l->max_keys) {
		keys = realloc(l->keys, nr * sizeof(*keys));
		if (!keys)
			return 0;
		l->keys = keys;
		l->max_keys = nr;
	}
	return nr && key_chain(&l->root, tokens, l->block_tokens, nr, l->keys) == 0 ? nr : 0;
}

/* Blocks into the sequence, in order, until the first that does not fit. */
static unsigned restore_blocks(struct kvshm_llama *l, int32_t seq, const struct kvshm_block *blocks,
			       unsigned nr)
{
	struct state_place at = { .ctx = l->ctx, .seq = seq, .scratch = l->scratch_seq };
	unsigned i;

	for (i = 0; i < nr; i++) {
		at.from = (int32_t)(i * l->block_tokens);
		at.to = at.from + (int32_t)l->block_tokens;
		if (blocks[i].length != l->block_bytes ||
		    state_restore(&at, blocks[i].ptr, blocks[i].length) < 0)
			break;
	}
	return i;
}

unsigned kvshm_llama_restore(struct kvshm_llama *l, int32_t seq, const int32_t *tokens,
			     unsigned nr_tokens, struct kvshm_llama_hit *ret_hit)
{
	unsigned nr_keys = cache_attach(l) ? cache_keys(l, tokens, nr_tokens) : 0;
	struct kvshm_block *blocks = calloc(nr_keys + 1, sizeof(*blocks));
	struct kvshm_llama_hit hit = { 0 };
	struct kvshm_pin pin = { 0 };
	uint64_t start = now_ns();
	int ret = 0;

	if (blocks && nr_keys)
		ret = kvshm_acquire(l->k, l->ns, l->keys, nr_keys, &pin);
	hit.acquire_ns = now_ns() - start;
	if (ret > 0) {
		ret = kvshm_resolve(l->k, &pin, l->keys, blocks);
		hit.nr_blocks = ret > 0 ? (unsigned)ret : 0;
		hit.nr_tokens = restore_blocks(l, seq, blocks, hit.nr_blocks) * l->block_tokens;
		kvshm_release(l->k, &pin);
	}
	free(blocks);
	if (ret_hit)
		*ret_hit = hit;
	return hit.nr_tokens;
}
