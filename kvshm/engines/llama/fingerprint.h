/* SPDX-License-Identifier: Apache-2.0 */
/*
 * fingerprint.h - what must be equal for one process to use another's KV bytes
 *
 * llama.cpp puts no version into the state of a sequence, and checks shapes only: a block of
 * another fine-tune of the same shape loads without complaint.  So the namespace names all of it.
 */
#ifndef KVSHM_ENGINES_LLAMA_FINGERPRINT_H
#define KVSHM_ENGINES_LLAMA_FINGERPRINT_H

#include <stdbool.h>

struct kvshm_llama;
struct kvshm_llama_options;
struct llama_model;

/**
 * fingerprint_model_has_blocks() - does each token's KV depend on earlier tokens only, and stay
 * False for recurrent models and for those with sliding-window layers.
 */
bool fingerprint_model_has_blocks(const struct llama_model *model);

/**
 * fingerprint_make() - fill .root and .layout of a handle whose block size is known
 * Return: 0 or -errno of reading the model or the libraries.
 */
int fingerprint_make(struct kvshm_llama *l, const struct kvshm_llama_options *o);

#endif
