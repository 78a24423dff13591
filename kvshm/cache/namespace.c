/* SPDX-License-Identifier: Apache-2.0 */
/*
 * namespace.c - fingerprint -> number: model, revision, dtype, layout, rank, salt
 *
 * The first attach fixes block length and layout; an entry never changes afterwards and is never taken
 * back, so that a number means the same thing as long as the directory lives.
 */
#include <errno.h>
#include <string.h>

#include "kvshm/arena/namespace.h"
#include "kvshm/cache/cache_priv.h"

static int check_args(const struct kvshm_ns_args *a)
{
	static const uint8_t none[32];

	if (!memcmp(a->fingerprint, none, sizeof(none)) || a->resv[0] || a->resv[1])
		return -EINVAL;
	return a->block_len > 0 && a->block_len <= KVSHM_BLOCK_MAX ? 0 : -EINVAL;
}

static int check_same(const struct kvshm_ns_entry *e, const struct kvshm_ns_args *a)
{
	return e->block_len == a->block_len && e->block_tokens == a->block_tokens &&
	       !memcmp(e->layout, a->layout, sizeof(e->layout)) ? 0 : -EMEDIUMTYPE;
}

static void fill_entry(struct kvshm_ns_entry *e, uint32_t uid, const struct kvshm_ns_args *a)
{
	memset(e, 0, sizeof(*e));
	memcpy(e->fingerprint, a->fingerprint, sizeof(e->fingerprint));
	memcpy(e->layout, a->layout, sizeof(e->layout));
	e->block_len = a->block_len;
	e->block_tokens = a->block_tokens;
	e->uid = uid;
	memcpy(e->label, a->label, strnlen((const char *)a->label, sizeof(a->label) - 1));
	/* NS-1: the entry before its state; pairs with ns_entry(). */
	store_release(&e->state, 1);
}

int cache_ns_attach(struct cache *c, uint32_t uid, const struct kvshm_ns_args *args, uint16_t *ret_ns)
{
	const struct kvshm_ns_entry *e;
	unsigned nr_of_uid = 0;
	uint32_t ns;
	int ret = check_args(args);

	if (ret < 0)
		return ret;
	for (ns = 1; (e = ns_entry(c->dir, ns)); ns++) {
		if (!memcmp(e->fingerprint, args->fingerprint, sizeof(e->fingerprint))) {
			ret = check_same(e, args);
			if (ret == 0)
				*ret_ns = (uint16_t)ns;
			return ret;
		}
		nr_of_uid += e->uid == uid;
	}
	if (ns >= c->dir->max_ns || ns > UINT16_MAX || nr_of_uid >= c->cfg.max_ns_per_uid)
		return -ENOSPC;
	fill_entry(&c->dir->ns[ns], uid, args);
	WRITE_ONCE(c->dir->sb->nr_ns, ns + 1);	/* entry 0 is none, and counted */
	*ret_ns = (uint16_t)ns;
	return 0;
}
