/* SPDX-License-Identifier: Apache-2.0 */
/*
 * geometry.h - named models and the orders in which engines keep their blocks, as layouts
 *
 * An order is a word of dimensions, the outermost in memory first: L layer, K {K, V}, B block, H head, N token,
 * C content (bytes of a token and head).  Without K, a head's K and V lie side by side in its content.  What stands
 * before a '/' lies in allocations of its own, one for each value.  For benchmarks, tests and `kvshm doctor`; an
 * engine's layout is taken from its tensors, not from here.
 */
#ifndef GPU_GEOMETRY_H
#define GPU_GEOMETRY_H

#include <stdint.h>

#include "gpu/layout.h"

struct gpu_model {
	const char *name;
	uint32_t nr_layers, nr_heads;	/* KV heads; 1 of a latent */
	uint32_t content_len;		/* bytes of K of one token and head; of a latent all of it */
	uint32_t is_latent;
};

struct gpu_order {
	const char *name, *dims;
	const char *who;		/* keeps its blocks like that */
};

/* Both end with a name of NULL. */
extern const struct gpu_model gpu_models[];
extern const struct gpu_order gpu_orders[];

/* Return: the entry, NULL: no such name. */
const struct gpu_model *gpu_model_find(const char *name);
const struct gpu_order *gpu_order_find(const char *name);

/**
 * gpu_geometry_layout() - a model's blocks in some order
 * @dims: of a gpu_order
 * @dev: address that all of it begins at
 * @ret_l: packed and checked
 * @ret_len: bytes from @dev to behind the last; may be NULL
 * Return: 0, -EINVAL: @dims is no order of that model (a latent has no K), or the numbers make no layout.
 */
int gpu_geometry_layout(const struct gpu_model *m, const char *dims, uint32_t block_tokens, uint32_t nr_blocks,
			uint64_t dev, struct gpu_layout *ret_l, uint64_t *ret_len);

#endif
