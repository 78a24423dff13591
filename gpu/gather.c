/* SPDX-License-Identifier: Apache-2.0 */
/* gather.c - pieces of a prefix into runs; the runs by the CPU */
#include "gpu/gather.h"

#include <errno.h>
#include <stdbool.h>
#include <string.h>

#include "kvshm/base/compiler.h"

#define THREADS 256u
#define MAX_CTAS 4096u			/* a few rounds of any device */
#define LANES 32u

static bool is_held(const struct gather_held *h, uint32_t id)
{
	return h && id < h->nr_bits && h->bits[id / 64] >> id % 64 & 1;
}

/* To the end of the plan, or into its last run.  Return: 0, -ENOSPC, -E2BIG. */
static int add_bytes(struct gather_plan *p, uint64_t arena, uint64_t len)
{
	struct gpu_gather_run *last = p->nr_runs ? &p->runs[p->nr_runs - 1] : NULL;

	if (p->len + len > UINT32_MAX)
		return -E2BIG;
	while (len) {
		uint64_t n;

		if (last && last->len < GATHER_RUN_MAX && last->arena + last->len == arena) {
			n = min_of(len, (uint64_t)GATHER_RUN_MAX - last->len);
			last->len += (uint32_t)n;
		} else {
			if (p->nr_runs == p->max_runs)
				return -ENOSPC;
			n = min_of(len, (uint64_t)GATHER_RUN_MAX);
			last = &p->runs[p->nr_runs++];
			*last = (struct gpu_gather_run){ arena, (uint32_t)p->len, (uint32_t)n };
		}
		arena += n;
		p->len += n;
		len -= n;
	}
	return 0;
}

static bool is_piece(const struct gather_source *s, unsigned nr_layers, const struct gather_piece *piece)
{
	const struct gpu_group *g = &s->layout->group[s->group];
	const uint64_t nr_tokens = (uint64_t)s->nr_blocks * g->nr_tokens;

	return piece->layer < nr_layers && piece->head < g->nr_heads && piece->part < g->nr_parts && !piece->resv &&
	       piece->nr_tokens && piece->token < nr_tokens && piece->nr_tokens <= nr_tokens - piece->token;
}

static int add_piece(const struct gather_source *s, uint64_t last_block, const struct gather_piece *piece,
		     struct gather_plan *p)
{
	const struct gpu_group *g = &s->layout->group[s->group];
	const bool is_dense = g->arena_token_stride == g->run_len;
	const uint64_t plane = piece->layer * g->arena_layer_stride + piece->part * g->arena_part_stride +
			       piece->head * g->arena_head_stride;
	uint32_t block = piece->token / g->nr_tokens, token = piece->token % g->nr_tokens;
	uint32_t left = piece->nr_tokens, n;
	int ret = 0;

	for (; left && ret == 0; left -= n) {
		if (s->blocks[block] > last_block)
			return -EINVAL;
		n = is_dense ? min_of(left, g->nr_tokens - token) : 1;
		ret = add_bytes(p, s->blocks[block] + plane + token * g->arena_token_stride, n * g->run_len);
		token += n;
		if (token == g->nr_tokens) {
			token = 0;
			block++;
		}
	}
	return ret;
}

int gather_plan_make(const struct gather_source *s, const struct gather_piece *pieces, uint32_t nr_pieces,
		     const struct gather_held *held, struct gather_plan *p, uint64_t *ret_at)
{
	struct gather_plan plan = { .runs = p->runs, .max_runs = p->max_runs };
	const struct gpu_group *g;
	unsigned nr_layers;
	int ret = 0;

	if (s->group >= s->layout->nr_groups)
		return -EINVAL;
	g = &s->layout->group[s->group];
	if (s->nr_blocks && g->arena_len > s->arena_span)
		return -EINVAL;
	nr_layers = gpu_layout_group_layers(s->layout, s->group);
	for (uint32_t i = 0; i < nr_pieces && ret == 0; i++) {
		uint64_t at = plan.len;

		if (!is_piece(s, nr_layers, &pieces[i]))
			return -EINVAL;
		if (is_held(held, pieces[i].id)) {
			plan.nr_held++;
			at = GATHER_HELD;
		} else {
			ret = add_piece(s, s->arena_span - g->arena_len, &pieces[i], &plan);
		}
		if (ret_at)
			ret_at[i] = at;
	}
	if (ret == 0)
		*p = plan;
	return ret;
}

void gather_cpu(const struct gather_plan *p, const void *arena, void *dst)
{
	for (uint32_t i = 0; i < p->nr_runs; i++)
		memcpy((char *)dst + p->runs[i].dst, (const char *)arena + p->runs[i].arena, p->runs[i].len);
}

void gather_args(const struct gather_plan *p, uint64_t arena_dev, uint64_t dst_dev, uint64_t runs_dev,
		 struct gpu_gather_args *ret_args, uint32_t *ret_ctas, uint32_t *ret_threads)
{
	const uint32_t warps = THREADS / LANES;
	const uint32_t ctas = p->nr_runs / warps + (p->nr_runs % warps != 0);

	*ret_args = (struct gpu_gather_args){ .arena = arena_dev, .dst = dst_dev, .runs = runs_dev, .nr_runs = p->nr_runs };
	*ret_ctas = max_of(min_of(ctas, MAX_CTAS), 1u);
	*ret_threads = THREADS;
}
