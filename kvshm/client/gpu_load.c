/* SPDX-License-Identifier: Apache-2.0 */
/* gpu_load.c - loads: pinned blocks into the engine's */
#include <errno.h>
#include <string.h>

#include "kvshm/client/gpu.h"

void gpu_load_finish(struct kvshm_stage *s)
{
	for (uint32_t i = 0; i < s->nr_pins && !s->is_keep; i++)
		kvshm_release(s->g->k, &s->pins[i]);
}

/* The content that all pins are of.  Return: 0; -EINVAL one is not held; -ESTALE of several contents. */
static int pins_content(struct kvshm_gpu *g, const struct kvshm_stage_load *l, struct content **content)
{
	if (l->nr && !l->nr_pins)
		return -EINVAL;
	for (unsigned i = 0; i < l->nr_pins; i++) {
		struct attachment *a = l->pins[i].slot ? match_pin_owner(g->k, &l->pins[i]) : NULL;

		if (!a)
			return -EINVAL;
		if (*content && *content != a->content)
			return -ESTALE;
		*content = a->content;
	}
	return 0;
}

static int load_lists(struct kvshm_stage *s, const struct kvshm_stage_load *loads, struct stage_list *list,
		      struct content **ret_c)
{
	struct kvshm_gpu *g = s->g;
	int ret = 0;

	for (uint32_t n = 0; n < g->layout.nr_groups && ret == 0; n++) {
		const struct kvshm_stage_load *l = &loads[n];

		ret = pins_content(g, l, ret_c);
		if (ret == 0 && (l->nr > g->max_blocks - s->nr_blocks || l->nr_pins > g->max_blocks - s->nr_pins))
			ret = -E2BIG;
		if (ret < 0)
			return ret;
		list[n] = (struct stage_list){ g->items + s->nr_blocks, l->nr };
		for (unsigned i = 0; i < l->nr && ret == 0; i++)
			ret = gpu_item_fill(&g->layout.group[n], &l->blocks[i], l->engine_blocks[i], &g->items[s->nr_blocks++]);
		/* not held before the job flies */
		s->nr_pins += l->nr_pins;
	}
	return ret == 0 && !*ret_c ? -EINVAL : ret;
}

static void pins_take(struct kvshm_stage *s, const struct kvshm_stage_load *loads)
{
	uint32_t nr = 0;

	for (uint32_t n = 0; n < s->g->layout.nr_groups; n++)
		for (unsigned i = 0; i < loads[n].nr_pins; i++) {
			s->pins[nr++] = loads[n].pins[i];
			if (!s->is_keep)
				memset(&loads[n].pins[i], 0, sizeof(loads[n].pins[i]));
		}
}

__public int kvshm_stage_in(struct kvshm_gpu *g, const struct kvshm_stage_load *loads,
			    const struct kvshm_stage_desc *desc, struct kvshm_stage **ret_s)
{
	struct stage_list list[GPU_GROUPS_MAX];
	struct content *c = NULL;
	struct kvshm_stage_desc d;
	struct kvshm_stage *s;
	int ret = gpu_job_begin(g, STAGE_H2D, desc, &d, &s);

	if (ret == 0)
		ret = load_lists(s, loads, list, &c);
	if (ret == 0)
		ret = gpu_mem_get(g, c, &s->mem);
	if (ret == 0)
		ret = gpu_job_submit(s, &d, &s->mem->host, list);
	if (ret < 0)
		return ret;
	pins_take(s, loads);
	*ret_s = s;
	return 0;
}
