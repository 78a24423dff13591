/* SPDX-License-Identifier: Apache-2.0 */
/* gpu_mem.c - what of host memory the device may reach: arenas by extent, and a buffer of our own */
#include <errno.h>
#include <stdlib.h>
#include <sys/mman.h>

#include "gpu/cuda_err.h"
#include "kvshm/base/clock.h"
#include "kvshm/client/gpu.h"

#define PAGE 4096u

/* ---- arenas -------------------------------------------------------------------------------------------- */

static int mem_create(struct kvshm_gpu *g, struct content *c, struct gpu_mem **ret_m)
{
	struct gpu_mem *m = calloc(1, sizeof(*m));

	if (!m)
		return -ENOMEM;
	m->seams = malloc(max_of(c->dir.max_extents, 1u) * sizeof(*m->seams));
	if (!m->seams) {
		free(m);
		return -ENOMEM;
	}
	/* Refused: all of it bounces. */
	if (hostreg_create(&g->ctx, &m->reg) < 0)
		m->reg = NULL;
	c->refs++;
	m->content = c;
	m->next = g->mem;
	g->mem = m;
	*ret_m = m;
	return 0;
}

/* Extents that were mapped since the last look. */
static void add_extents(struct gpu_mem *m)
{
	const struct arena *a = &m->content->arena;

	for (; m->nr_added < a->nr_extents && m->nr_added < m->content->dir.max_extents; m->nr_added++) {
		struct kvshm_extent_entry e = m->content->dir.extent[m->nr_added];

		if (!arena_contains(a, e.base, e.len))
			break;
		if (m->reg)
			hostreg_add(m->reg, arena_ptr(a, e.base), e.len, HOSTREG_LOOK);
		m->seams[m->nr_added] = e.base;
		m->is_mapped = false;
	}
	m->host.base = (uintptr_t)a->base;
	m->host.span = a->span;
	m->host.reg = m->reg;
	m->host.seams = m->seams;
	m->host.nr_seams = m->nr_added;
}

/* How far the device's address of an extent is from ours.  Return: 0, -errno. */
static int device_shift(struct kvshm_gpu *g, const struct gpu_mem *m, uint32_t n, uint64_t *ret_shift)
{
	void *at = (void *)(uintptr_t)(m->host.base + m->seams[n]);
	CUdeviceptr dev;
	CUresult r;
	int ret = gpu_ctx_enter(&g->ctx);

	if (ret < 0)
		return ret;
	r = g->cu.MemHostGetDevicePointer(&dev, at, 0);
	gpu_ctx_leave(&g->ctx);
	if (r == CUDA_SUCCESS)
		*ret_shift = dev - (uintptr_t)at;
	return cuda_errno(r);
}

/* Kernels take one address for all of the arena: possible when all extents are pinned and shifted alike. */
static void map_for_kernels(struct kvshm_gpu *g, struct gpu_mem *m)
{
	struct hostreg_progress p;
	uint64_t shift = 0, first = 0;

	if (m->is_mapped || !m->reg || !m->nr_added)
		return;
	hostreg_progress(m->reg, &p);
	if (p.nr_pinned + p.nr_refused < m->nr_added)
		return;
	m->is_mapped = true;
	m->host.dev = 0;
	if (p.nr_refused)
		return;
	for (uint32_t i = 0; i < m->nr_added; i++) {
		if (device_shift(g, m, i, &shift) < 0 || (i && shift != first))
			return;
		first = shift;
	}
	m->host.dev = m->host.base + shift;
}

int gpu_mem_get(struct kvshm_gpu *g, struct content *c, struct gpu_mem **ret_m)
{
	struct gpu_mem *m;
	int ret;

	for (m = g->mem; m && m->content != c; m = m->next)
		;
	if (!m) {
		ret = mem_create(g, c, &m);
		if (ret < 0)
			return ret;
	}
	add_extents(m);
	map_for_kernels(g, m);
	*ret_m = m;
	return 0;
}

/* Return: 0; -ETIMEDOUT the driver hangs: pages, mapping and content stay. */
static int mem_free(struct gpu_mem *m, uint64_t deadline_ns)
{
	int ret = hostreg_destroy(m->reg, deadline_ns);

	if (ret < 0)
		return ret;
	content_put(m->content, true);
	free(m->seams);
	free(m);
	return 0;
}

void gpu_mem_reap(struct kvshm_gpu *g, uint64_t deadline_ns)
{
	struct gpu_mem **p = &g->mem;

	while (*p) {
		struct gpu_mem *m = *p;

		if (m->nr_jobs || (g->k->cur && g->k->cur->content == m->content)) {
			p = &m->next;
			continue;
		}
		*p = m->next;
		mem_free(m, deadline_ns);
	}
}

int gpu_mem_free(struct kvshm_gpu *g, uint64_t deadline_ns)
{
	struct gpu_mem *m;
	int ret = 0;

	while ((m = g->mem)) {
		g->mem = m->next;
		if (mem_free(m, deadline_ns) < 0)
			ret = -ETIMEDOUT;
	}
	return ret;
}

/* ---- the buffer ---------------------------------------------------------------------------------------- */

static int buffer_map(struct kvshm_gpu *g, struct gpu_buffer *b)
{
	void *map;

	for (uint32_t i = 0; i < g->layout.nr_groups; i++)
		b->slot_len = max_of(b->slot_len, (size_t)g->layout.group[i].arena_len);
	b->slot_len = round_up(b->slot_len, (size_t)PAGE);
	b->nr = (uint32_t)max_of(g->bounce_len / b->slot_len, 1ull);
	b->free = malloc(b->nr * sizeof(*b->free));
	if (!b->free)
		return -ENOMEM;
	b->len = b->nr * b->slot_len;
	map = mmap(NULL, b->len, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	if (map == MAP_FAILED) {
		free(b->free);
		return -ENOMEM;
	}
	madvise(map, b->len, MADV_DONTFORK);
	b->base = map;
	return 0;
}

int gpu_buffer_make(struct kvshm_gpu *g)
{
	struct gpu_buffer b = { 0 };
	int ret;

	if (g->buffer.base)
		return 0;
	ret = buffer_map(g, &b);
	if (ret < 0)
		return ret;
	/* Not pinned yet, or never: bounces. */
	if (hostreg_create(&g->ctx, &b.reg) < 0)
		b.reg = NULL;
	else
		hostreg_add(b.reg, b.base, b.len, HOSTREG_SHARED_RW);
	for (b.nr_free = 0; b.nr_free < b.nr; b.nr_free++)
		b.free[b.nr_free] = b.nr - 1 - b.nr_free;
	b.host = (struct stage_host){ .base = (uintptr_t)b.base, .span = b.len, .reg = b.reg };
	g->buffer = b;
	return 0;
}

int gpu_buffer_free(struct kvshm_gpu *g, uint64_t deadline_ns)
{
	struct gpu_buffer *b = &g->buffer;
	int ret;

	if (!b->base)
		return 0;
	ret = hostreg_destroy(b->reg, deadline_ns);
	if (ret < 0)
		return ret;
	munmap(b->base, b->len);
	free(b->free);
	*b = (struct gpu_buffer){ 0 };
	return 0;
}
