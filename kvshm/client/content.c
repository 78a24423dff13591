/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <stdlib.h>
#include <sys/mman.h>

#include "kvshm/client/client.h"

/* Least address space for an arena: extents beyond it could not be mapped.  valgrind has no 64 GiB in a piece. */
#define SPAN_MIN (16ull << 30)

int content_open(int directory_fd, bool writable, uint32_t serial, struct content **ret_c)
{
	struct content *c = calloc(1, sizeof(*c));
	int ret;

	if (!c)
		return -ENOMEM;
	ret = directory_attach(directory_fd, false, &c->dir);
	if (ret < 0)
		goto err_free;
	ret = arena_reserve(&c->arena, SPAN_MIN, writable);
	if (ret < 0)
		goto err_directory;
	/* A forked child has no use for the maps, and must not hold the pages of a dead daemon. */
	madvise(c->dir.sb, c->dir.len, MADV_DONTFORK);
	madvise(c->arena.base, c->arena.reserved, MADV_DONTFORK);
	c->serial = serial;
	c->refs = 1;
	*ret_c = c;
	return 0;
err_directory:
	directory_detach(&c->dir);
err_free:
	free(c);
	return ret;
}

struct content *content_put(struct content *c, bool is_owner)
{
	if (!c || --c->refs)
		return NULL;
	if (is_owner) {
		arena_unmap(&c->arena);
		directory_detach(&c->dir);
	}
	free(c);
	return NULL;
}
