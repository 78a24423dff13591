/* SPDX-License-Identifier: Apache-2.0 */
/*
 * session.h - a model, its context, and the one prompt that it works on
 *
 * Which tokens come out depends on how the prompt is cut into batches, with no cache in play at
 * all: the order of summation changes.  So the cuts may depend on the document only, never on the
 * question or on what was cached:
 *
 *	0        512       1024          P          document end      prompt end
 *	|---------|---------|---...------|---- tail ----|-- question --|
 *	 whole batches of 512 (the last   tail and question, decoded
 *	 one shorter), in whole blocks    together, in 512s again
 *
 * P = floor(document tokens / block) * block.  What is restored ends at P or at a cut before it.
 */
#ifndef KVSHM_ENGINES_LLAMA_PROGRAM_SESSION_H
#define KVSHM_ENGINES_LLAMA_PROGRAM_SESSION_H

#include <stdbool.h>
#include <stdint.h>

struct kvshm_llama;
struct kvshm_llama_hit;
struct kvshm_llama_saved;
struct llama_model;
struct llama_context;
struct prompt;

#define SESSION_BATCH 512

/* Return: whether the prefill, now with @done of @total tokens, should go on. */
typedef bool session_go_on_fn(void *arg, unsigned done, unsigned total);

/**
 * struct session - one engine; one thread at a time
 * @cache: never NULL
 * @batch_tokens: tokens between two cuts of [0, P): the blocks that fit in SESSION_BATCH
 */
struct session {
	struct llama_model *model;
	struct llama_context *ctx;
	struct kvshm_llama *cache;
	unsigned nr_ctx, block_tokens, batch_tokens;
};

/**
 * struct session_options - see struct kvshm_llama_options for what goes to the cache
 */
struct session_options {
	const char *model_path;
	unsigned block_tokens;
	unsigned threads;
	const char *socket, *instance;
	bool no_cache;
};

/**
 * session_open() - load the model, warm up, look for the cache
 * Return: 0; -ENOENT and other errors of opening @opts->model_path, -ENOEXEC not a model,
 * -ENOTSUP the model needs what blocks cannot carry, -EIO, -ENOMEM.
 */
int session_open(const struct session_options *opts, struct session **ret_s);

/**
 * session_close() - free all
 * @s: may be NULL
 * Return: NULL.
 */
struct session *session_close(struct session *s);

/**
 * session_restore() - start anew: nothing but the longest cached prefix of the prompt, down to a cut
 * @ret_hit: set in any case
 * Return: tokens that need not be computed.
 */
unsigned session_restore(struct session *s, const struct prompt *p,
			 struct kvshm_llama_hit *ret_hit);

/**
 * session_prefill() - decode the prompt's tokens [@from, end), @from a cut
 * @go_on: may be NULL; called with @arg after each batch, false: stop there
 * Return: 0, -EIO, -ECANCELED.
 */
int session_prefill(struct session *s, const struct prompt *p, unsigned from,
		    session_go_on_fn *go_on, void *arg);

/**
 * session_step() - decode one token at @pos
 * Return: 0, -EIO.
 */
int session_step(struct session *s, int32_t token, unsigned pos);

/**
 * session_save() - publish the blocks of the leading @nr_tokens, all decoded
 * @ret_saved: set in any case
 */
void session_save(struct session *s, const int32_t *tokens, unsigned nr_tokens,
		  struct kvshm_llama_saved *ret_saved);

#endif
