/* SPDX-License-Identifier: Apache-2.0 */
/* slab_nodes.c - an allocator for each NUMA node: a place near to where it is wanted */
#include "kvshm/arena/slab_nodes.h"

#include <errno.h>

#include "kvshm/base/compiler.h"

void slab_nodes_fini(struct slab_nodes *n)
{
	while (n->nr)
		slab_destroy(n->at[--n->nr].slab);
}

/* Return: NULL: not there. */
static struct slab_alloc *find(const struct slab_nodes *n, uint32_t node)
{
	for (unsigned i = 0; i < n->nr; i++)
		if (n->at[i].node == node)
			return n->at[i].slab;
	return NULL;
}

int slab_nodes_add(struct slab_nodes *n, uint32_t node, uint64_t base, uint64_t len)
{
	struct slab_alloc *s = find(n, node);
	int ret;

	if (s)
		return slab_add_range(s, base, len);
	if (n->nr == SLAB_NODES_MAX)
		return -ENOSPC;
	ret = slab_create(&s);
	if (ret < 0)
		return ret;
	ret = slab_add_range(s, base, len);
	if (ret < 0) {
		slab_destroy(s);
		return ret;
	}
	n->at[n->nr++] = (struct slab_node){ .node = node, .slab = s };
	return 0;
}

bool slab_nodes_has(const struct slab_nodes *n, uint32_t node)
{
	return find(n, node) != NULL;
}

uint32_t slab_nodes_roomiest(const struct slab_nodes *n)
{
	uint64_t most = 0, len;
	unsigned best = 0;

	/* nothing to choose from: not asked for each grant */
	for (unsigned i = 0; n->nr > 1 && i < n->nr; i++) {
		len = slab_free_len(n->at[i].slab);
		if (len > most) {
			most = len;
			best = i;
		}
	}
	return n->at[best].node;
}

/* Whose extent it is; what is nobody's is the last one's to refuse. */
static const struct slab_node *owner(const struct slab_nodes *n, uint64_t offset)
{
	unsigned i = 0;

	while (i + 1 < n->nr && !slab_owns(n->at[i].slab, offset))
		i++;
	return &n->at[i];
}

uint32_t slab_nodes_of(const struct slab_nodes *n, uint64_t offset)
{
	return owner(n, offset)->node;
}

int slab_nodes_get(struct slab_nodes *n, uint32_t node, uint32_t length, uint64_t *ret_offset)
{
	struct slab_alloc *near = find(n, node);
	int ret = near ? slab_get(near, length, ret_offset) : -ENOSPC;

	for (unsigned i = 0; ret == -ENOSPC && i < n->nr; i++)
		if (n->at[i].slab != near)
			ret = slab_get(n->at[i].slab, length, ret_offset);
	return ret;
}

void slab_nodes_put(struct slab_nodes *n, uint64_t offset, uint32_t length)
{
	slab_put(owner(n, offset)->slab, offset, length);
}

int slab_nodes_claim(struct slab_nodes *n, uint64_t offset, uint32_t length)
{
	return n->nr ? slab_claim(owner(n, offset)->slab, offset, length) : -EINVAL;
}

void slab_nodes_stats(const struct slab_nodes *n, struct slab_stats *ret)
{
	struct slab_stats all = { 0 }, one;

	for (unsigned i = 0; i < n->nr; i++) {
		slab_stats(n->at[i].slab, &one);
		all.capacity += one.capacity;
		all.used += one.used;
		all.free_units += one.free_units;
		all.largest_free_run = max_of(all.largest_free_run, one.largest_free_run);
	}
	*ret = all;
}

unsigned slab_nodes_victim(const struct slab_nodes *n, uint32_t node, unsigned class_wanted, uint64_t *ret_offset,
			   uint64_t *ret_len)
{
	const struct slab_alloc *near = find(n, node);
	unsigned nr = near ? slab_victim(near, class_wanted, ret_offset, ret_len) : 0;

	for (unsigned i = 0; !nr && i < n->nr; i++)
		if (n->at[i].slab != near)
			nr = slab_victim(n->at[i].slab, class_wanted, ret_offset, ret_len);
	return nr;
}

int slab_nodes_verify(const struct slab_nodes *n)
{
	int ret = 0;

	for (unsigned i = 0; i < n->nr && ret == 0; i++)
		ret = slab_verify(n->at[i].slab);
	return ret;
}
