/* SPDX-License-Identifier: Apache-2.0 */
/*
 * slab_nodes.h - an allocator for each NUMA node: a place near to where it is wanted
 *
 * A node whose memory is full does not refuse: the place lies on another one then, and the caller, who sees
 * where, may count it.  With one node all of this is that node's allocator.  Private to the writer.
 */
#ifndef KVSHM_ARENA_SLAB_NODES_H
#define KVSHM_ARENA_SLAB_NODES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "kvshm/arena/slab.h"

#define SLAB_NODES_MAX 64u

struct slab_nodes {			/* zero: none yet */
	unsigned nr;
	struct slab_node {
		uint32_t node;
		struct slab_alloc *slab;
	} at[SLAB_NODES_MAX];		/* in the order of their first extents */
};

void slab_nodes_fini(struct slab_nodes *n);

/* Add an extent of @node.  Return: as slab_add_range(); -ENOSPC more nodes than there are. */
int slab_nodes_add(struct slab_nodes *n, uint32_t node, uint64_t base, uint64_t len);

/* Has an extent of @node been added? */
bool slab_nodes_has(const struct slab_nodes *n, uint32_t node);

/* The node with most bytes free; before the first extent 0. */
uint32_t slab_nodes_roomiest(const struct slab_nodes *n);

/* The node of the extent that holds @offset. */
uint32_t slab_nodes_of(const struct slab_nodes *n, uint64_t offset);

/* slab_get() on @node, on another one when that has no room or is not there. */
int slab_nodes_get(struct slab_nodes *n, uint32_t node, uint32_t length, uint64_t *ret_offset);

/* As the functions of slab.h; victims are looked for on @node first. */
void slab_nodes_put(struct slab_nodes *n, uint64_t offset, uint32_t length);
int slab_nodes_claim(struct slab_nodes *n, uint64_t offset, uint32_t length);
void slab_nodes_stats(const struct slab_nodes *n, struct slab_stats *ret);
unsigned slab_nodes_victim(const struct slab_nodes *n, uint32_t node, unsigned class_wanted, uint64_t *ret_offset,
			   uint64_t *ret_len);
int slab_nodes_verify(const struct slab_nodes *n);

#endif
