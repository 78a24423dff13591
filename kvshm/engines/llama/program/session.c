/* SPDX-License-Identifier: Apache-2.0 */
#include "kvshm/engines/llama/program/session.h"

#include <errno.h>
#include <stdlib.h>
#include <unistd.h>

#include <llama.h>

#include <kvshm/llama.h>

#include "kvshm/engines/llama/program/prompt.h"

#define CTX_MAX 8192u /* equal in all processes, since logits depend on it */

enum { SEQ_PROMPT, SEQ_SCRATCH, SEQ_MAX };

static void log_nothing(enum ggml_log_level level, const char *text, void *data)
{
}

static int decode(struct session *s, int32_t *tokens, unsigned nr, unsigned pos)
{
	return llama_decode(s->ctx,
			    llama_batch_get_one(tokens, (int32_t)nr, (int32_t)pos, SEQ_PROMPT))
		       ? -EIO
		       : 0;
}

static struct llama_context_params context_params(const struct session *s, unsigned threads)
{
	struct llama_context_params cp = llama_context_default_params();

	cp.n_ctx = s->nr_ctx;
	cp.n_batch = SESSION_BATCH;
	cp.n_ubatch = SESSION_BATCH;
	cp.n_threads = threads;
	cp.n_threads_batch = threads;
	cp.n_seq_max = SEQ_MAX;
	cp.type_k = GGML_TYPE_F16;
	cp.type_v = GGML_TYPE_F16;
	cp.flash_attn = true; /* else V lies transposed: thousands of short copies a block */
	return cp;
}

static int open_cache(struct session *s, const struct session_options *opts,
		      const struct llama_context_params *cp)
{
	struct kvshm_llama_options o = {
		.sz = sizeof(o),
		.model_path = opts->model_path,
		.params = cp,
		.block_tokens = opts->block_tokens,
		.scratch_seq = SEQ_SCRATCH,
		.socket = opts->socket,
		.instance = opts->instance,
		.is_off = opts->no_cache,
	};

	return kvshm_llama_open(s->ctx, &o, &s->cache);
}

static int session_load(struct session *s, const struct session_options *opts)
{
	struct llama_context_params cp;
	int trained;

	s->model = llama_model_load_from_file(opts->model_path, llama_model_default_params());
	if (!s->model)
		return -ENOEXEC;
	trained = llama_n_ctx_train(s->model);
	s->nr_ctx = trained > 0 && (unsigned)trained < CTX_MAX ? (unsigned)trained : CTX_MAX;
	cp = context_params(s, opts->threads);
	s->ctx = llama_init_from_model(s->model, cp);
	return s->ctx ? open_cache(s, opts, &cp) : -ENOMEM;
}

int session_open(const struct session_options *opts, struct session **ret_s)
{
	struct session *s;
	int ret;

	if (access(opts->model_path, R_OK) < 0)
		return -errno;
	s = calloc(1, sizeof(*s));
	if (!s)
		return -ENOMEM;
	s->block_tokens = opts->block_tokens;
	s->batch_tokens = SESSION_BATCH / s->block_tokens * s->block_tokens;
	llama_log_set(log_nothing, NULL);
	llama_backend_init();
	ret = session_load(s, opts);
	if (ret < 0) {
		session_close(s);
		return ret;
	}
	*ret_s = s;
	return 0;
}

struct session *session_close(struct session *s)
{
	if (!s)
		return NULL;
	kvshm_llama_close(s->cache);
	if (s->ctx)
		llama_free(s->ctx);
	if (s->model)
		llama_free_model(s->model);
	llama_backend_free();
	free(s);
	return NULL;
}

/* Where a restore may end, so that what follows is cut as if nothing had been cached. */
static unsigned cut_of(const struct session *s, const struct prompt *p, unsigned nr_tokens)
{
	return nr_tokens >= p->nr_prefix ? p->nr_prefix
					 : nr_tokens / s->batch_tokens * s->batch_tokens;
}

unsigned session_restore(struct session *s, const struct prompt *p, struct kvshm_llama_hit *ret_hit)
{
	unsigned nr, cut;

	llama_kv_cache_seq_rm(s->ctx, SEQ_PROMPT, -1, -1);
	nr = kvshm_llama_restore(s->cache, SEQ_PROMPT, p->tokens, p->nr_prefix, ret_hit);
	cut = p->is_exact ? cut_of(s, p, nr) : nr;
	if (cut < nr)
		llama_kv_cache_seq_rm(s->ctx, SEQ_PROMPT, (int32_t)cut, -1);
	return cut;
}

int session_prefill(struct session *s, const struct prompt *p, unsigned from,
		    session_go_on_fn *go_on, void *arg)
{
	unsigned pos = from, len, end;
	int ret;

	while (pos < p->nr) {
		end = pos < p->nr_prefix ? p->nr_prefix : p->nr;
		len = pos < p->nr_prefix ? s->batch_tokens : SESSION_BATCH;
		if (len > end - pos)
			len = end - pos;
		ret = decode(s, p->tokens + pos, len, pos);
		if (ret < 0)
			return ret;
		pos += len;
		if (go_on && !go_on(arg, pos, p->nr))
			return -ECANCELED;
	}
	llama_synchronize(s->ctx);
	return 0;
}

int session_step(struct session *s, int32_t token, unsigned pos)
{
	return decode(s, &token, 1, pos);
}

void session_save(struct session *s, const int32_t *tokens, unsigned nr_tokens,
		  struct kvshm_llama_saved *ret_saved)
{
	kvshm_llama_save(s->cache, SEQ_PROMPT, tokens, nr_tokens, ret_saved);
}
