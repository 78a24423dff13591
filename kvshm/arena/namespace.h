/* SPDX-License-Identifier: Apache-2.0 */
/*
 * namespace.h - the namespace table, read
 *
 * Entries are filled once, by the writer, and never change or go away; numbers start at 1, so 0 is
 * none.  A client looks its namespaces up here itself, also while the daemon is dead.
 */
#ifndef KVSHM_ARENA_NAMESPACE_H
#define KVSHM_ARENA_NAMESPACE_H

#include <errno.h>
#include <string.h>

#include "kvshm/arena/directory.h"
#include "kvshm/base/atomic.h"

/* The entry of a number, NULL if there is none (range-checked, any process). */
static inline const struct kvshm_ns_entry *ns_entry(const struct directory *dir, uint32_t ns)
{
	if (ns == 0 || ns >= dir->max_ns)
		return NULL;
	/* NS-1: live before the entry is read; pairs with cache_ns_attach(). */
	return load_acquire(&dir->ns[ns].state) == 1 ? &dir->ns[ns] : NULL;
}

/* Number of the namespace with this fingerprint, or -ENOENT. */
static inline int ns_find(const struct directory *dir, const uint8_t fingerprint[32])
{
	const struct kvshm_ns_entry *e;
	uint32_t ns;

	for (ns = 1; (e = ns_entry(dir, ns)); ns++)
		if (!memcmp(e->fingerprint, fingerprint, sizeof(e->fingerprint)))
			return (int)ns;
	return -ENOENT;
}

#endif
