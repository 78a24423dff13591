/* SPDX-License-Identifier: Apache-2.0 */
/* layout.c - strides: filled in, refused, held to ranges */
#include "gpu/layout.h"

#include <errno.h>
#include <stdbool.h>

#include "kvshm/base/compiler.h"

#define NOWHERE UINT32_MAX
#define MAX_DIMS 4u

struct dim {
	uint64_t nr, stride;
};

static uint64_t mul_sat(uint64_t a, uint64_t b)
{
	uint64_t r;

	return __builtin_mul_overflow(a, b, &r) ? UINT64_MAX : r;
}

static unsigned count_layers(const struct gpu_layout *l, unsigned group)
{
	const unsigned nr = min_of(l->nr_layers, GPU_LAYERS_MAX);
	unsigned n = 0;

	for (unsigned i = 0; i < nr; i++)
		n += l->layer[i].group == group;
	return n;
}

static void pack_group(struct gpu_group *g, unsigned nr_layers)
{
	const bool heads_outside = g->head_stride > g->token_stride;
	const uint64_t row = mul_sat(g->run_len, heads_outside ? g->nr_tokens : g->nr_heads);
	const uint64_t plane = mul_sat(row, heads_outside ? g->nr_heads : g->nr_tokens);

	g->arena_head_stride = heads_outside ? row : g->run_len;
	g->arena_token_stride = heads_outside ? g->run_len : row;
	g->arena_part_stride = plane;
	g->arena_layer_stride = mul_sat(plane, g->nr_parts);
	if (!g->arena_len)
		g->arena_len = mul_sat(g->arena_layer_stride, nr_layers);
}

void gpu_layout_pack(struct gpu_layout *l)
{
	const unsigned nr = min_of(l->nr_groups, GPU_GROUPS_MAX);

	for (unsigned i = 0; i < nr; i++) {
		struct gpu_group *g = &l->group[i];

		if (!(g->arena_layer_stride | g->arena_part_stride | g->arena_head_stride | g->arena_token_stride))
			pack_group(g, count_layers(l, i));
	}
}

/* Innermost first; dimensions of one point take no part. */
static unsigned sort_dims(struct dim *d, unsigned nr)
{
	unsigned n = 0;

	for (unsigned i = 0; i < nr; i++) {
		struct dim x = d[i];
		unsigned at;

		if (x.nr <= 1)
			continue;
		for (at = n++; at > 0 && d[at - 1].stride > x.stride; at--)
			d[at] = d[at - 1];
		d[at] = x;
	}
	return n;
}

/*
 * Bytes from the first of a box to behind its last, if each dimension steps over all that lies inside it.
 * Sorts @d.  Return: NULL, else what is wrong, with @ret_value.
 */
static const char *nested_span(struct dim *d, unsigned *nr, uint64_t run, uint64_t *ret_span, uint64_t *ret_value)
{
	uint64_t span = run, reach;

	*nr = sort_dims(d, *nr);
	for (unsigned i = 0; i < *nr; i++) {
		*ret_value = d[i].stride;
		if (d[i].stride < span)
			return "a stride is shorter than what lies inside it: bytes would belong to two points";
		if (__builtin_mul_overflow(d[i].nr - 1, d[i].stride, &reach) ||
		    __builtin_add_overflow(reach, span, &span))
			return "strides and counts overflow 64 bits";
	}
	*ret_span = span;
	return NULL;
}

static unsigned dev_dims(const struct gpu_group *g, struct dim *d)
{
	d[0] = (struct dim){ g->nr_blocks, g->block_stride };
	d[1] = (struct dim){ g->nr_heads, g->head_stride };
	d[2] = (struct dim){ g->nr_tokens, g->token_stride };
	return 3;
}

static const char *check_sizes(const struct gpu_group *g, uint64_t *ret_value)
{
	const struct {
		uint64_t value, max;
		const char *why;
	} sizes[] = {
		{ g->nr_blocks, UINT32_MAX, "the number of blocks is 0" },
		{ g->nr_tokens, GPU_TOKENS_MAX, "tokens of a block: not 1 to 65535" },
		{ g->nr_heads, UINT32_MAX, "the number of heads is 0" },
		{ g->nr_parts, GPU_PARTS_MAX, "parts of a layer: not 1 (a latent, or K and V in one run) or 2 (K and V)" },
		{ g->run_len, UINT64_MAX, "a token of a head has no bytes" },
	};

	for (unsigned i = 0; i < ARRAY_SIZE(sizes); i++)
		if (!sizes[i].value || sizes[i].value > sizes[i].max) {
			*ret_value = sizes[i].value;
			return sizes[i].why;
		}
	return NULL;
}

static const char *check_arena(const struct gpu_group *g, unsigned nr_layers, uint64_t *ret_value)
{
	struct dim d[MAX_DIMS] = {
		{ nr_layers, g->arena_layer_stride }, { g->nr_parts, g->arena_part_stride },
		{ g->nr_heads, g->arena_head_stride }, { g->nr_tokens, g->arena_token_stride },
	};
	unsigned nr = MAX_DIMS;
	uint64_t span;
	const char *why = nested_span(d, &nr, g->run_len, &span, ret_value);

	if (why)
		return why;
	*ret_value = span;
	return span <= g->arena_len ? NULL : "a block is longer than the arena's block";
}

/*
 * Do two boxes of the same dimensions, @distance apart, share a byte?  Nested dimensions are digits: the distance
 * is some digits times strides plus less than a run, and each digit can only be the quotient or one more.
 */
static bool is_shared(const struct dim *d, unsigned nr, uint64_t run, __int128 distance)
{
	if (distance < 0)
		distance = -distance;
	if (!nr)
		return distance < run;
	d += nr - 1;
	for (__int128 q = distance / d->stride, last = q + 1; q <= last; q++)
		if (q < d->nr && is_shared(d - (nr - 1), nr - 1, run, distance - q * d->stride))
			return true;
	return false;
}

/* Planes that lie before plane @at in the same group: none may share a byte with it. */
static bool is_plane_shared(const struct gpu_layout *l, const struct dim *d, unsigned nr, unsigned layer, unsigned part)
{
	const struct gpu_group *g = &l->group[l->layer[layer].group];
	const uint64_t dev = l->layer[layer].dev[part];

	for (unsigned i = 0; i <= layer; i++) {
		if (l->layer[i].group != l->layer[layer].group)
			continue;
		for (unsigned p = 0; p < (i == layer ? part : g->nr_parts); p++)
			if (is_shared(d, nr, g->run_len, (__int128)dev - l->layer[i].dev[p]))
				return true;
	}
	return false;
}

static const char *check_layer(const struct gpu_layout *l, unsigned layer, uint64_t *ret_value)
{
	const struct gpu_group *g = &l->group[l->layer[layer].group];
	struct dim d[MAX_DIMS];
	unsigned nr = dev_dims(g, d);
	uint64_t span, end;
	const char *why = nested_span(d, &nr, g->run_len, &span, ret_value);

	if (why)
		return why;
	for (unsigned p = 0; p < g->nr_parts; p++) {
		*ret_value = l->layer[layer].dev[p];
		if (!l->layer[layer].dev[p])
			return "no device address";
		if (__builtin_add_overflow(l->layer[layer].dev[p], span, &end))
			return "the address wraps";
		if (is_plane_shared(l, d, nr, layer, p))
			return "shares bytes with another layer, or its K with its V";
	}
	return NULL;
}

static const char *check_groups(const struct gpu_layout *l, struct gpu_layout_fault *f)
{
	const char *why = NULL;

	for (f->group = 0; f->group < l->nr_groups && !why; f->group++) {
		const struct gpu_group *g = &l->group[f->group];
		const unsigned nr_layers = count_layers(l, f->group);

		f->value = nr_layers;
		why = nr_layers ? check_sizes(g, &f->value) : "a group without layers";
		if (!why)
			why = check_arena(g, nr_layers, &f->value);
		if (why)
			return why;
	}
	f->group = NOWHERE;
	return NULL;
}

static const char *check_layers(const struct gpu_layout *l, struct gpu_layout_fault *f)
{
	const char *why;

	for (f->layer = 0; f->layer < l->nr_layers; f->layer++) {
		f->group = l->layer[f->layer].group;
		why = check_layer(l, f->layer, &f->value);
		if (why)
			return why;
	}
	return NULL;
}

static const char *check_counts(const struct gpu_layout *l, struct gpu_layout_fault *f)
{
	f->value = l->nr_groups;
	if (!l->nr_groups || l->nr_groups > GPU_GROUPS_MAX)
		return "groups: not 1 to 8";
	f->value = l->nr_layers;
	if (!l->nr_layers || l->nr_layers > GPU_LAYERS_MAX)
		return "layers: not 1 to 256";
	for (unsigned i = 0; i < l->nr_layers; i++)
		if (l->layer[i].group >= l->nr_groups) {
			f->layer = i;
			f->value = l->layer[i].group;
			return "a layer of a group that there is not";
		}
	return NULL;
}

int gpu_layout_check(struct gpu_layout *l, struct gpu_layout_fault *ret_fault)
{
	struct gpu_layout_fault f = { .group = NOWHERE, .layer = NOWHERE };
	uint32_t nr[GPU_GROUPS_MAX] = { 0 };

	f.why = check_counts(l, &f);
	if (!f.why)
		f.why = check_groups(l, &f);
	if (!f.why)
		f.why = check_layers(l, &f);
	if (f.why) {
		if (ret_fault)
			*ret_fault = f;
		return -EINVAL;
	}
	for (unsigned i = 0; i < l->nr_layers; i++)
		l->layer[i].at = nr[l->layer[i].group]++;
	return 0;
}

static bool is_within(const struct gpu_range *r, unsigned nr, uint64_t dev, uint64_t span)
{
	for (unsigned i = 0; i < nr; i++)
		if (dev >= r[i].base && dev - r[i].base <= r[i].len && span <= r[i].len - (dev - r[i].base))
			return true;
	return false;
}

int gpu_layout_within(const struct gpu_layout *l, const struct gpu_range *ranges, unsigned nr_ranges,
		      struct gpu_layout_fault *ret_fault)
{
	for (unsigned i = 0; i < l->nr_layers; i++) {
		const struct gpu_group *g = &l->group[l->layer[i].group];
		struct dim d[MAX_DIMS];
		unsigned nr = dev_dims(g, d);
		uint64_t span, value;

		if (nested_span(d, &nr, g->run_len, &span, &value))
			return -EFAULT;
		for (unsigned p = 0; p < g->nr_parts; p++) {
			if (is_within(ranges, nr_ranges, l->layer[i].dev[p], span))
				continue;
			if (ret_fault)
				*ret_fault = (struct gpu_layout_fault){ "reaches outside the memory that was handed over",
									l->layer[i].group, i, l->layer[i].dev[p] };
			return -EFAULT;
		}
	}
	return 0;
}

int gpu_group_reach(const struct gpu_group *g, uint32_t nr_layers, uint64_t *ret_reach)
{
	const struct dim d[MAX_DIMS] = {
		{ nr_layers, g->arena_layer_stride }, { g->nr_parts, g->arena_part_stride },
		{ g->nr_heads, g->arena_head_stride }, { g->nr_tokens, g->arena_token_stride },
	};
	uint64_t reach = g->run_len, n;

	if (!nr_layers || nr_layers > GPU_LAYERS_MAX || !g->nr_parts || g->nr_parts > GPU_PARTS_MAX || !g->nr_heads ||
	    !g->nr_tokens || g->nr_tokens > GPU_TOKENS_MAX || !g->run_len)
		return -EINVAL;
	for (unsigned i = 0; i < MAX_DIMS; i++)
		if (__builtin_mul_overflow(d[i].nr - 1, d[i].stride, &n) || __builtin_add_overflow(reach, n, &reach))
			return -EOVERFLOW;
	*ret_reach = reach;
	return 0;
}

uint64_t gpu_layout_block_bytes(const struct gpu_layout *l, unsigned group)
{
	const struct gpu_group *g = &l->group[group];

	return count_layers(l, group) * g->run_len * g->nr_parts * g->nr_heads * g->nr_tokens;
}

unsigned gpu_layout_group_layers(const struct gpu_layout *l, unsigned group)
{
	return count_layers(l, group);
}
