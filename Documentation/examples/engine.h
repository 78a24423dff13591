/* SPDX-License-Identifier: Apache-2.0 */
/*
 * engine.h - the engine's side of stage.c and pool.c: a paged KV pool on a GPU
 *
 * A stand-in for an engine: one tensor a layer, [block][K, V][head][token][content], as vLLM's HND.  In the driver API,
 * or, built with -DENGINE_RUNTIME, in the runtime API: addresses and streams are the same things, and go into kvshm as
 * they are.
 */
#ifndef EXAMPLES_ENGINE_H
#define EXAMPLES_ENGINE_H

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#define NR_LAYERS 4u
#define NR_HEADS 2u
#define NR_TOKENS 16u
#define CONTENT 256u			/* bytes of a token and head */
#define NR_BLOCKS 64u			/* of the pool */
#define LAYER_LEN (2u * NR_HEADS * NR_TOKENS * CONTENT)	/* K and V of a block */

/* struct engine with .layer[], device addresses of the tensors, and .stream; engine_open(), _copy_in(), _copy_out(). */
#ifdef ENGINE_RUNTIME
#include "engine_runtime.h"
#else
#include "engine_driver.h"
#endif

/* "Compute" a block: its keys and values are what stands at @kv, layer after layer. */
static inline int engine_compute(struct engine *e, unsigned block, const char *kv)
{
	int bad = 0;

	for (unsigned i = 0; i < NR_LAYERS && !bad; i++)
		bad = engine_copy_in(e, e->layer[i] + (uint64_t)block * LAYER_LEN, kv + i * LAYER_LEN, LAYER_LEN);
	return bad;
}

/* Read it back, to see what the engine would work with. */
static inline int engine_read(struct engine *e, unsigned block, char *kv)
{
	int bad = 0;

	for (unsigned i = 0; i < NR_LAYERS && !bad; i++)
		bad = engine_copy_out(e, kv + i * LAYER_LEN, e->layer[i] + (uint64_t)block * LAYER_LEN, LAYER_LEN);
	return bad ? bad : engine_sync(e);
}

static inline int engine_read_at(struct engine *e, uint64_t addr, char *kv, size_t len)
{
	int bad = engine_copy_out(e, kv, addr, len);

	return bad ? bad : engine_sync(e);
}

#endif
