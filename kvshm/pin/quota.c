/* SPDX-License-Identifier: Apache-2.0 */
/*
 * quota.c - match and pin in one, within the session's quota
 *
 * A pin protects depth + 1 blocks; past the quota the longest prefix that fits is pinned, so that a
 * long prompt degrades instead of failing.
 */
#include <errno.h>

#include "kvshm/pin/pin.h"

#define MAX_TRIES 8			/* lost races with eviction before it counts as a miss */

/* Longest prefix that the quota admits; divides only when it does not admit all. */
static unsigned quota_prefix(const struct pin_table *t, unsigned nr, uint32_t block_len)
{
	uint64_t left;

	if (!t->quota_bytes || !block_len)
		return nr;
	left = t->quota_bytes > t->used_bytes ? t->quota_bytes - t->used_bytes : 0;
	if ((uint64_t)nr * block_len <= left)
		return nr;
	return (unsigned)(left / block_len);
}

int pin_longest_in(struct pin_table *t, const struct directory *dir, uint16_t ns,
		   const struct index_keys *keys, unsigned nr, uint32_t block_len,
		   struct index_hit *ret_hit, uint32_t *ret_slot, unsigned *ret_retries)
{
	unsigned limit = quota_prefix(t, nr, block_len), try, len;
	struct index_hit hit;
	uint32_t slot;
	int ret;

	*ret_retries = 0;
	if (!limit)
		return nr && index_find(dir, ns, index_key(keys, 0), &hit) ? -ENOBUFS : 0;
	for (try = 0; try < MAX_TRIES; try++) {
		len = index_longest_in(dir, ns, keys, limit, &hit);
		if (!len)
			return 0;
		ret = pin_take(t, dir, &hit, &slot);
		if (!ret) {
			*ret_hit = hit;
			*ret_slot = slot;
			return (int)len;
		}
		if (ret != -ESTALE)
			return ret;
		++*ret_retries;
	}
	return 0;
}

int pin_longest(struct pin_table *t, const struct directory *dir, uint16_t ns,
		const struct kvshm_key *keys, unsigned nr, uint32_t block_len,
		struct index_hit *ret_hit, uint32_t *ret_slot, unsigned *ret_retries)
{
	const struct index_keys flat = { .flat = keys };

	return pin_longest_in(t, dir, ns, &flat, nr, block_len, ret_hit, ret_slot, ret_retries);
}
