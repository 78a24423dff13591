/* SPDX-License-Identifier: Apache-2.0 */
/* direct.c - memory for other devices */
#include <errno.h>
#include <unistd.h>

#include <kvshm/direct.h>

#include "gpu/export.h"
#include "kvshm/client/gpu.h"

__public int kvshm_gpu_dmabuf(struct kvshm_gpu *g, uint64_t addr, uint64_t len, uint64_t *ret_off)
{
	const uint64_t page = (uint64_t)sysconf(_SC_PAGESIZE), off = addr % page;
	int fd;

	if (client_is_forked(g->k))
		return -EOWNERDEAD;
	if (!len || len > g->ctx.device.bytes || addr + len < addr)
		return -EINVAL;
	fd = gpu_export_dmabuf(&g->ctx, addr - off, round_up(off + len, page));
	if (fd >= 0)
		*ret_off = off;
	return fd;
}

static int extent_fill(const struct content *c, uint32_t n, struct kvshm_extent *ret)
{
	const struct kvshm_extent_entry e = c->dir.extent[n];

	if (!arena_contains(&c->arena, e.base, e.len))
		return -EBADMSG;
	*ret = (struct kvshm_extent){
		.addr = arena_ptr(&c->arena, e.base), .len = e.len, .arena_offset = e.base, .node = e.node,
		.page_kind = e.page_kind, .content = c->serial, .is_writable = c->arena.writable,
	};
	return 0;
}

__public int kvshm_extents(struct kvshm *k, struct kvshm_extent *ret, unsigned max)
{
	const struct content *c;
	uint32_t i;
	int err;

	if (client_is_forked(k))
		return -EOWNERDEAD;
	if (!k->cur)
		return -ESTALE;
	c = k->cur->content;
	for (i = 0; i < c->arena.nr_extents && i < max; i++) {
		err = extent_fill(c, i, &ret[i]);
		if (err < 0)
			return err;
	}
	return (int)c->arena.nr_extents;
}
