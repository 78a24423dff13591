/* SPDX-License-Identifier: Apache-2.0 */
/* ghost.c - the table of the evicted */
#include "policy/ghost.h"

#include <errno.h>
#include <stdlib.h>

#include "kvshm/base/rand.h"
#include "policy/table.h"

#define WAYS 8u

int ghost_init(struct ghost_table *t, uint64_t ghosts)
{
	t->nr_buckets = ghosts / WAYS + 1;
	t->bucket = table_alloc(t->nr_buckets, sizeof(*t->bucket));
	return t->bucket ? 0 : -ENOMEM;
}

void ghost_fini(struct ghost_table *t)
{
	free(t->bucket);
	t->bucket = NULL;
}

static struct ghost *bucket_of(const struct ghost_table *t, uint64_t key, uint64_t *ret_tag)
{
	const uint64_t m = rand_mix(key);

	*ret_tag = m;
	return t->bucket[(uint64_t)((unsigned __int128)m * t->nr_buckets >> 64)];
}

static bool is_tagged(const struct ghost *g, uint64_t tag)
{
	return g->uses && g->tag == (uint32_t)tag && g->tag_high == (uint16_t)(tag >> 32);
}

bool ghost_take(struct ghost_table *t, uint64_t key, struct ghost *ret)
{
	uint64_t tag;
	struct ghost *g = bucket_of(t, key, &tag);
	unsigned i;

	for (i = 0; i < WAYS; i++)
		if (is_tagged(&g[i], tag)) {
			*ret = g[i];
			g[i].uses = 0;
			return true;
		}
	return false;
}

bool ghost_put(struct ghost_table *t, uint64_t key, const struct ghost *g, struct ghost *ret_old)
{
	uint64_t tag;
	struct ghost *b = bucket_of(t, key, &tag);
	unsigned i, at = 0;
	bool is_full;

	for (i = 0; i < WAYS && b[at].uses; i++)
		if (!b[i].uses || (int32_t)(b[i].last - b[at].last) < 0)
			at = i;
	is_full = b[at].uses != 0;
	if (is_full)
		*ret_old = b[at];
	b[at] = *g;
	b[at].tag = (uint32_t)tag;
	b[at].tag_high = (uint16_t)(tag >> 32);
	return is_full;
}
