/* SPDX-License-Identifier: Apache-2.0 */
/* get.c - copy pinned blocks out, with libc's copy: readers want the bytes in their cache */
#include <errno.h>
#include <string.h>

#include "kvshm/base/checksum.h"
#include "kvshm/client/client.h"

__public int kvshm_get(struct kvshm *k, const struct kvshm_block *blocks, unsigned nr,
		       void *const *dst, unsigned flags)
{
	uint64_t bytes = 0;
	unsigned i;

	if (client_is_forked(k))
		return -EOWNERDEAD;
	if (flags & ~KVSHM_GET_VERIFY)
		return -EINVAL;
	for (i = 0; i < nr; i++) {
		const struct kvshm_block *b = &blocks[i];

		memcpy(dst[i], b->ptr, b->length);
		bytes += b->length;
		/* The copy is verified, not the arena: it is what the caller will use. */
		if (flags & KVSHM_GET_VERIFY && b->checksum &&
		    checksum32(dst[i], b->length) != b->checksum)
			break;
	}
	client_count(k, KVSHM_CC_COPY_OUT_BYTES, bytes);
	return i < nr ? -EBADMSG : 0;
}

__public uint32_t kvshm_checksum(const void *data, size_t len)
{
	return checksum32(data, len);
}
