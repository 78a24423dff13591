/* SPDX-License-Identifier: Apache-2.0 */
/* gpu_save.c - saves: the engine's blocks into granted ones, or through the library's buffer */
#include <errno.h>
#include <string.h>

#include "kvshm/client/gpu.h"

#define PUT_US 500000u			/* bound of waiting for staging space, for one landed save */

/* ---- when it is over ----------------------------------------------------------------------------------------- */

static void slots_free(struct kvshm_stage *s)
{
	struct gpu_buffer *b = &s->g->buffer;

	for (uint32_t i = 0; i < s->nr_blocks; i++)
		b->free[b->nr_free++] = s->blocks[i].id;
}

static int put_part(struct kvshm_stage *s, const struct gpu_part *p)
{
	struct kvshm_gpu *g = s->g;

	for (unsigned i = 0; i < p->nr; i++)
		g->src[i] = g->buffer.base + s->blocks[p->first + i].id * g->buffer.slot_len;
	return kvshm_put(g->k, p->ns, p->has_parent ? &p->parent : NULL, s->keys + p->first, g->src, NULL, p->nr, p->flags,
			 p->user_data, PUT_US);
}

static int commit_part(struct kvshm_stage *s, const struct gpu_part *p)
{
	return kvshm_commit(s->g->k, p->ns, p->has_parent ? &p->parent : NULL, s->keys + p->first, s->blocks + p->first,
			    p->nr, p->flags, p->user_data);
}

void gpu_save_finish(struct kvshm_stage *s, bool has_landed)
{
	int ret;

	for (uint32_t i = 0; i < s->nr_parts && !s->is_keep; i++) {
		const struct gpu_part *p = &s->part[i];

		if (has_landed) {
			ret = p->is_buffered ? put_part(s, p) : commit_part(s, p);
			s->error = ret < 0 && !s->error ? ret : s->error;
		} else if (!p->is_buffered) {
			kvshm_return(s->g->k, s->blocks + p->first, p->nr);
		}
	}
	if (!s->mem)
		slots_free(s);
}

/* ---- begin --------------------------------------------------------------------------------------------------- */

static int part_check(struct kvshm_stage *s, const struct kvshm_stage_save *v, const struct gpu_group *group)
{
	struct kvshm *k = s->g->k;

	if (v->nr > s->g->max_blocks - s->nr_blocks || v->nr > KVSHM_COMMIT_MAX)
		return -E2BIG;
	if (v->resv || (!s->is_keep && !v->keys) || (s->is_keep && !v->blocks))
		return -EINVAL;
	if (v->blocks)
		return 0;
	return v->ns && v->ns <= k->nr_ns && k->ns[v->ns].desc.block_len == group->arena_len ? 0 : -EINVAL;
}

/* The granted blocks must be of one content.  Return: 0; -EINVAL; -ESTALE. */
static int granted_fill(struct kvshm_stage *s, const struct kvshm_stage_save *v, const struct gpu_group *group,
			struct content **content)
{
	int ret = 0;

	for (unsigned i = 0; i < v->nr && ret == 0; i++) {
		struct attachment *a = attachment_find(s->g->k, v->blocks[i].resv);

		if (!a || !a->is_trusted)
			return -EINVAL;
		if (*content && *content != a->content)
			return -ESTALE;
		*content = a->content;
		s->blocks[s->nr_blocks] = v->blocks[i];
		ret = gpu_item_fill(group, &v->blocks[i], v->engine_blocks[i], &s->g->items[s->nr_blocks++]);
	}
	return ret;
}

/* Slots of the buffer stand for blocks; they are taken when the job flies. */
static int slots_fill(struct kvshm_stage *s, const struct kvshm_stage_save *v)
{
	struct gpu_buffer *b = &s->g->buffer;
	int ret = gpu_buffer_make(s->g);

	if (ret < 0)
		return ret;
	for (unsigned i = 0; i < v->nr; i++, s->nr_blocks++) {
		uint32_t slot;

		if (s->nr_blocks == b->nr_free)
			return -EBUSY;
		slot = b->free[b->nr_free - 1 - s->nr_blocks];
		s->blocks[s->nr_blocks] = (struct kvshm_block){ .id = slot };
		s->g->items[s->nr_blocks] = (struct stage_item){ .arena = (uint64_t)slot * b->slot_len,
								 .block = v->engine_blocks[i] };
	}
	return 0;
}

static void part_fill(struct kvshm_stage *s, const struct kvshm_stage_save *v)
{
	struct gpu_part *p = &s->part[s->nr_parts++];

	*p = (struct gpu_part){ .ns = v->ns, .flags = v->flags, .has_parent = v->parent, .is_buffered = !v->blocks,
				.first = s->nr_blocks, .nr = v->nr, .user_data = v->user_data };
	if (v->parent)
		p->parent = *v->parent;
	if (v->keys)
		memcpy(s->keys + s->nr_blocks, v->keys, v->nr * sizeof(*v->keys));
}

static int save_lists(struct kvshm_stage *s, const struct kvshm_stage_save *saves, struct stage_list *list,
		      struct content **ret_c)
{
	struct kvshm_gpu *g = s->g;
	bool is_buffered = false;
	int ret = 0;

	for (uint32_t n = 0; n < g->layout.nr_groups && ret == 0; n++) {
		const struct kvshm_stage_save *v = &saves[n];

		list[n] = (struct stage_list){ g->items + s->nr_blocks, v->nr };
		if (!v->nr)
			continue;
		ret = part_check(s, v, &g->layout.group[n]);
		if (ret < 0)
			return ret;
		part_fill(s, v);
		is_buffered |= !v->blocks;
		ret = v->blocks ? granted_fill(s, v, &g->layout.group[n], ret_c) : slots_fill(s, v);
	}
	/* one memory a job */
	return ret == 0 && is_buffered == !!*ret_c ? -EINVAL : ret;
}

__public int kvshm_stage_out(struct kvshm_gpu *g, const struct kvshm_stage_save *saves,
			     const struct kvshm_stage_desc *desc, struct kvshm_stage **ret_s)
{
	struct stage_list list[GPU_GROUPS_MAX];
	struct content *c = NULL;
	struct kvshm_stage_desc d;
	struct kvshm_stage *s;
	int ret = gpu_job_begin(g, STAGE_D2H, desc, &d, &s);

	if (ret == 0)
		ret = save_lists(s, saves, list, &c);
	if (ret == 0 && c)
		ret = gpu_mem_get(g, c, &s->mem);
	if (ret == 0)
		ret = gpu_job_submit(s, &d, s->mem ? &s->mem->host : &g->buffer.host, list);
	if (ret < 0)
		return ret;
	if (!s->mem)
		g->buffer.nr_free -= s->nr_blocks;
	if (ret_s)
		*ret_s = s;
	else
		kvshm_stage_end(s);
	return 0;
}
