/* SPDX-License-Identifier: Apache-2.0 */
#include "kvshm/engines/llama/fingerprint.h"

#include <dlfcn.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include <llama.h>

#include "kvshm/engines/llama/cache.h"
#include "kvshm/engines/llama/key.h"

bool fingerprint_model_has_blocks(const struct llama_model *model)
{
	char arch[64], name[128], value[32];

	if (llama_model_has_recurrent(model) || !llama_model_has_decoder(model))
		return false;
	if (llama_model_meta_val_str(model, "general.architecture", arch, sizeof(arch)) < 0)
		return false;
	snprintf(name, sizeof(name), "%s.attention.sliding_window", arch);
	return llama_model_meta_val_str(model, name, value, sizeof(value)) < 0;
}

#define TEXT_MAX 4096

/* The build is the library's own bytes: the fork has no version number that changes with its format. */
static int library_key(const void *symbol, struct kvshm_key *ret_key)
{
	Dl_info info;

	if (!symbol || !dladdr(symbol, &info) || !info.dli_fname)
		return -ENOENT;
	return key_of_file(info.dli_fname, ret_key);
}

/* The model's file, the libraries that compute. */
static int identity_keys(const char *model_path, struct kvshm_key *ret_model,
			 struct kvshm_key *ret_llama, struct kvshm_key *ret_ggml)
{
	int ret = key_of_file(model_path, ret_model);

	if (!ret)
		ret = library_key((const void *)&llama_decode, ret_llama);
	if (!ret)
		/* libggml comes with libllama, under a name of its own: not a library that we link. */
		ret = library_key(dlsym(RTLD_DEFAULT, "ggml_init"), ret_ggml);
	return ret;
}

static int key_of_text(const char *text, int len, struct kvshm_key *ret_key)
{
	return len < 0 || len >= TEXT_MAX ? -EINVAL : key_of_bytes(text, (size_t)len, ret_key);
}

static int root_make(struct kvshm_llama *l, const struct kvshm_llama_options *o)
{
	const struct llama_context_params *p = o->params;
	const struct llama_model *model = llama_get_model(l->ctx);
	struct kvshm_key file, llama, ggml;
	char hex[3][KEY_HEX_LEN], text[TEXT_MAX];
	int ret = identity_keys(o->model_path, &file, &llama, &ggml);

	if (ret < 0)
		return ret;
	return key_of_text(
		text,
		snprintf(text, sizeof(text),
			 "kvshm-llama/1\nmodel %s\nkv %d %d\nflash-attention %d\n"
			 "rope %d scale %.9g asked %d %.9g %.9g yarn %.9g %.9g %.9g %.9g %u\n"
			 "libllama %s\nlibggml %s\nblock-tokens %u\nubatch-tokens %u\nsalt %s\n",
			 key_hex(&file, hex[0]), (int)p->type_k, (int)p->type_v, (int)p->flash_attn,
			 (int)llama_rope_type(model), (double)llama_rope_freq_scale_train(model),
			 (int)p->rope_scaling_type, (double)p->rope_freq_base,
			 (double)p->rope_freq_scale, (double)p->yarn_ext_factor,
			 (double)p->yarn_attn_factor, (double)p->yarn_beta_fast,
			 (double)p->yarn_beta_slow, p->yarn_orig_ctx, key_hex(&llama, hex[1]),
			 key_hex(&ggml, hex[2]), l->block_tokens, p->n_ubatch,
			 o->salt ? o->salt : ""),
		&l->root);
}

int fingerprint_make(struct kvshm_llama *l, const struct kvshm_llama_options *o)
{
	const struct llama_context_params *p = o->params;
	char text[TEXT_MAX];
	int ret = root_make(l, o);

	if (ret < 0)
		return ret;
	return key_of_text(
		text,
		snprintf(
			text, sizeof(text),
			"kvshm-llama layout/1\nformat llama-state-seq\nlayers %d\nkv %d %d\nflash-attention %d\n"
			"block-tokens %u\nblock-bytes %zu\n",
			llama_n_layer(llama_get_model(l->ctx)), (int)p->type_k, (int)p->type_v,
			(int)p->flash_attn, l->block_tokens, l->block_bytes),
		&l->layout);
}
