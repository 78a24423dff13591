/* SPDX-License-Identifier: Apache-2.0 */
/* stats.c - the handle's own counters, read out of the session segment */
#include <errno.h>
#include <string.h>

#include "kvshm/client/client.h"

/* The first counters of both stand in the same order; those of a GPU are in kvshm_gpu_info(). */
#define NR_COPIED KVSHM_CC_GPU_IN_BYTES

_Static_assert(offsetof(struct kvshm_client_stats, messages) ==
	       offsetof(struct kvshm_client_stats, lookups) + NR_COPIED * sizeof(uint64_t),
	       "kvshm_client_stats and kvshm_client_counter name the same counters");

__public int kvshm_stats(struct kvshm *k, struct kvshm_client_stats *stats)
{
	struct kvshm_client_stats s = { .sz = stats->sz };
	uint64_t *to = &s.lookups;
	unsigned i;

	if (client_is_forked(k))
		return -EOWNERDEAD;
	if (s.sz < offsetof(struct kvshm_client_stats, messages) || s.sz > sizeof(s))
		return -EINVAL;
	for (i = 0; i < NR_COPIED; i++)
		to[i] = READ_ONCE(k->cc[i]);
	s.messages = k->messages;
	s.is_attached = client_is_attached(k);
	if (k->cur) {
		s.is_trusted = k->cur->is_trusted;
		s.slot = k->cur->slot;
	}
	memcpy(stats, &s, s.sz);
	return 0;
}
