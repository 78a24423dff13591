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

/* Where the bytes of pieces go, one stretch after the other. */
struct sink {
	/* Return: 0, -ENOSPC, -E2BIG. */
	int (*add)(struct sink *k, uint64_t place, uint64_t len);
	uint64_t len;			/* so far */
	struct gather_plan *p;
	const char *arena;
	char *dst;
	uint64_t dst_len;
};

/* To the end of the plan, or into its last run. */
static int add_runs(struct sink *k, uint64_t place, uint64_t len)
{
	struct gather_plan *p = k->p;
	struct gpu_gather_run *last = p->nr_runs ? &p->runs[p->nr_runs - 1] : NULL;

	if (len > UINT32_MAX - k->len)
		return -E2BIG;
	while (len) {
		uint64_t n;

		if (last && last->len < GATHER_RUN_MAX && last->arena + last->len == place) {
			n = min_of(len, (uint64_t)GATHER_RUN_MAX - last->len);
			last->len += (uint32_t)n;
		} else {
			if (p->nr_runs == p->max_runs)
				return -ENOSPC;
			n = min_of(len, (uint64_t)GATHER_RUN_MAX);
			last = &p->runs[p->nr_runs++];
			*last = (struct gpu_gather_run){ place, (uint32_t)k->len, (uint32_t)n };
		}
		place += n;
		k->len += n;
		len -= n;
	}
	return 0;
}

static int add_copy(struct sink *k, uint64_t place, uint64_t len)
{
	if (len > k->dst_len - k->len)
		return -ENOSPC;
	memcpy(k->dst + k->len, k->arena + place, len);
	k->len += len;
	return 0;
}

static bool is_piece(const struct gather_source *s, const struct gather_piece *piece)
{
	return piece->layer < s->nr_layers && piece->head < s->group->nr_heads && piece->part < s->group->nr_parts &&
	       !piece->resv && piece->nr_tokens && piece->token < s->nr_tokens &&
	       piece->nr_tokens <= s->nr_tokens - piece->token;
}

static int add_piece(const struct gather_source *s, uint64_t last_place, const struct gather_piece *piece,
		     struct sink *k)
{
	const struct gpu_group *g = s->group;
	const bool is_dense = g->arena_token_stride == g->run_len;
	const uint64_t plane = piece->layer * g->arena_layer_stride + piece->part * g->arena_part_stride +
			       piece->head * g->arena_head_stride;
	uint32_t block = piece->token / g->nr_tokens, token = piece->token % g->nr_tokens;
	uint32_t left = piece->nr_tokens, n;
	int ret = 0;

	for (; left && ret == 0; left -= n) {
		const uint64_t place = s->blocks[(uint64_t)block * s->block_step];

		if (place > last_place)
			return -EINVAL;
		n = is_dense ? min_of(left, g->nr_tokens - token) : 1;
		ret = k->add(k, place + plane + token * g->arena_token_stride, n * g->run_len);
		token += n;
		if (token == g->nr_tokens) {
			token = 0;
			block++;
		}
	}
	return ret;
}

/* Return: pieces that were not held, -errno. */
static int64_t add_pieces(const struct gather_source *s, const struct gather_piece *pieces, uint32_t nr_pieces,
			  const struct gather_held *held, struct sink *k, uint64_t *ret_at)
{
	const uint64_t room = (uint64_t)s->nr_blocks * s->group->nr_tokens;
	int64_t moved = 0;
	int ret;

	if (s->nr_tokens > room || s->group->arena_len > s->span)
		return -EINVAL;
	for (uint32_t i = 0; i < nr_pieces; i++) {
		if (!is_piece(s, &pieces[i]))
			return -EINVAL;
		if (is_held(held, pieces[i].id)) {
			if (ret_at)
				ret_at[i] = GATHER_HELD;
			continue;
		}
		if (ret_at)
			ret_at[i] = k->len;
		ret = add_piece(s, s->span - s->group->arena_len, &pieces[i], k);
		if (ret < 0)
			return ret;
		moved++;
	}
	return moved;
}

int gather_plan_make(const struct gather_source *s, const struct gather_piece *pieces, uint32_t nr_pieces,
		     const struct gather_held *held, struct gather_plan *p, uint64_t *ret_at)
{
	struct gather_plan plan = { .runs = p->runs, .max_runs = p->max_runs };
	struct sink k = { .add = add_runs, .p = &plan };
	const int64_t moved = add_pieces(s, pieces, nr_pieces, held, &k, ret_at);

	if (moved < 0)
		return (int)moved;
	plan.nr_held = nr_pieces - (uint32_t)moved;
	plan.len = k.len;
	*p = plan;
	return 0;
}

int64_t gather_copy(const struct gather_source *s, const struct gather_piece *pieces, uint32_t nr_pieces,
		    const struct gather_held *held, const void *arena, void *dst, uint64_t dst_len, uint64_t *ret_at,
		    uint64_t *ret_len)
{
	struct sink k = { .add = add_copy, .arena = arena, .dst = dst, .dst_len = dst_len };
	const int64_t moved = add_pieces(s, pieces, nr_pieces, held, &k, ret_at);

	if (moved >= 0)
		*ret_len = k.len;
	return moved;
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
