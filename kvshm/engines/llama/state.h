/* SPDX-License-Identifier: Apache-2.0 */
/*
 * state.h - KV of a range of tokens in and out of a llama.cpp context
 *
 * A block is the whole state of a sequence that holds just its tokens, which is all that llama.cpp's
 * public API can take out or put back: hence a scratch sequence.  A block carries its positions, so it
 * fits only where it was taken.
 */
#ifndef KVSHM_ENGINES_LLAMA_STATE_H
#define KVSHM_ENGINES_LLAMA_STATE_H

#include <stddef.h>
#include <stdint.h>

struct llama_context;

/**
 * struct state_place - tokens [@from, @to) of sequence @seq of a context
 * @scratch: an empty sequence, empty again afterwards
 */
struct state_place {
	struct llama_context *ctx;
	int32_t seq, scratch;
	int32_t from, to;
};

/**
 * state_block_bytes() - bytes of the block at @at, which @at->seq must hold
 */
size_t state_block_bytes(const struct state_place *at);

/**
 * state_save() - write the block at @at into @dst
 * @dst: @size bytes, may be a granted block of the arena
 * Return: 0, -EMSGSIZE when the block does not have exactly @size bytes.
 */
int state_save(const struct state_place *at, void *dst, size_t size);

/**
 * state_restore() - append the block at @at to @at->seq, which holds [0, @at->from)
 * @src: may be the mapped arena; it is only read
 * Return: 0, -EBADMSG when these bytes are no such block; @at->seq is then as before.
 */
int state_restore(const struct state_place *at, const void *src, size_t size);

#endif
