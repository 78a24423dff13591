/* SPDX-License-Identifier: Apache-2.0 */
/* geometry.c - models, orders, and a layout of both */
#include "gpu/geometry.h"

#include <errno.h>
#include <stdbool.h>
#include <string.h>

#include "kvshm/base/compiler.h"

/* Elements of two bytes. */
const struct gpu_model gpu_models[] = {
	{ "llama-2-7b", 32, 32, 256, 0 },	{ "opt-13b", 40, 40, 256, 0 },
	{ "llama-3.1-8b", 32, 8, 256, 0 },	{ "qwen2.5-7b", 28, 4, 256, 0 },
	{ "llama-3-70b", 80, 8, 256, 0 },	{ "deepseek-v3", 61, 1, 1152, 1 },
	{ 0 },
};

const struct gpu_order gpu_orders[] = {
	{ "nhd", "L/KBNHC", "a tensor a layer, K and V halves of it" },
	{ "hnd", "L/BKHNC", "a tensor a layer, K and V of a block together" },
	{ "split", "LK/BNHC", "a tensor for K and one for V of each layer" },
	{ "lbhnc", "LBHNC", "one storage, layers outermost" },
	{ "lbnhc", "LBNHC", "the same, tokens before heads" },
	{ "lhbnc", "LHBNC", "the same, heads before blocks" },
	{ "blhnc", "BLHNC", "one storage, blocks outermost" },
	{ "blnhc", "BLNHC", "the same, tokens before heads" },
	{ "mla", "L/BNHC", "a tensor of latents a layer" },
	{ 0 },
};

enum dim { DIM_LAYER, DIM_PART, DIM_BLOCK, DIM_HEAD, DIM_TOKEN, DIM_CONTENT, NR_DIMS };

static const char letters[] = "LKBHNC";

/* Apart, as an allocator would have it: never at equal distances. */
#define GAP_LEN (2ull << 20)
#define GAP_MORE 4096ull

struct parsed {
	enum dim dim[NR_DIMS];
	unsigned nr, nr_apart;
	uint64_t nr_of[NR_DIMS], stride[NR_DIMS];
	uint64_t part_len;		/* of one allocation */
};

const struct gpu_model *gpu_model_find(const char *name)
{
	for (const struct gpu_model *m = gpu_models; m->name; m++)
		if (!strcmp(m->name, name))
			return m;
	return NULL;
}

const struct gpu_order *gpu_order_find(const char *name)
{
	for (const struct gpu_order *o = gpu_orders; o->name; o++)
		if (!strcmp(o->name, name))
			return o;
	return NULL;
}

/* Each dimension once, content last; only layers and parts lie apart. */
static int parse_dims(const char *dims, bool is_latent, struct parsed *p)
{
	unsigned seen = 0;

	for (; *dims; dims++) {
		const char *at = strchr(letters, *dims);

		if (*dims == '/') {
			if (p->nr_apart || seen & ~(1u << DIM_LAYER | 1u << DIM_PART))
				return -EINVAL;
			p->nr_apart = p->nr;
			continue;
		}
		if (!at || seen & 1u << (at - letters))
			return -EINVAL;
		seen |= 1u << (at - letters);
		p->dim[p->nr++] = (enum dim)(at - letters);
	}
	if ((seen | 1u << DIM_PART) != (1u << NR_DIMS) - 1 || p->dim[p->nr - 1] != DIM_CONTENT)
		return -EINVAL;
	return is_latent && seen & 1u << DIM_PART ? -EINVAL : 0;
}

/* Dense, from the inside out. */
static int set_strides(struct parsed *p)
{
	uint64_t len = 1;

	for (unsigned i = p->nr; i-- > p->nr_apart;) {
		p->stride[p->dim[i]] = len;
		if (__builtin_mul_overflow(len, p->nr_of[p->dim[i]], &len))
			return -EINVAL;
	}
	p->part_len = len;
	return 0;
}

static bool is_apart(const struct parsed *p, enum dim dim)
{
	for (unsigned i = 0; i < p->nr_apart; i++)
		if (p->dim[i] == dim)
			return true;
	return false;
}

static void set_layers(const struct parsed *p, uint64_t dev, struct gpu_layout *l, uint64_t *ret_end)
{
	uint64_t next = dev, end = dev + p->part_len;
	unsigned nr_gaps = 0;

	for (uint32_t i = 0; i < l->nr_layers; i++)
		for (uint32_t part = 0; part < l->group[0].nr_parts; part++) {
			if (!is_apart(p, DIM_LAYER) || (part && !is_apart(p, DIM_PART))) {
				l->layer[i].dev[part] = part ? l->layer[i].dev[0] + p->stride[DIM_PART] :
							       dev + i * p->stride[DIM_LAYER];
				continue;
			}
			l->layer[i].dev[part] = next;
			end = next + p->part_len;
			next = end + GAP_LEN + GAP_MORE * (nr_gaps * nr_gaps % 13);
			nr_gaps++;
		}
	*ret_end = end;
}

int gpu_geometry_layout(const struct gpu_model *m, const char *dims, uint32_t block_tokens, uint32_t nr_blocks,
			uint64_t dev, struct gpu_layout *ret_l, uint64_t *ret_len)
{
	const bool has_k = strchr(dims, 'K') != NULL;
	const uint64_t content = (uint64_t)m->content_len * (has_k || m->is_latent ? 1 : 2);
	struct parsed p = { .nr_of = { m->nr_layers, has_k ? 2 : 1, nr_blocks, m->nr_heads, block_tokens, content } };
	struct gpu_layout l = { .nr_groups = 1, .nr_layers = min_of(m->nr_layers, GPU_LAYERS_MAX) };
	uint64_t end;
	int ret = parse_dims(dims, m->is_latent, &p);

	if (ret == 0)
		ret = set_strides(&p);
	if (ret < 0 || m->nr_layers > GPU_LAYERS_MAX)
		return -EINVAL;
	l.group[0] = (struct gpu_group){
		.nr_blocks = nr_blocks, .nr_tokens = block_tokens, .nr_heads = m->nr_heads, .nr_parts = has_k ? 2 : 1,
		.run_len = content, .block_stride = p.stride[DIM_BLOCK], .head_stride = p.stride[DIM_HEAD],
		.token_stride = p.stride[DIM_TOKEN],
	};
	set_layers(&p, dev, &l, &end);
	gpu_layout_pack(&l);
	ret = gpu_layout_check(&l, NULL);
	if (ret < 0)
		return ret;
	*ret_l = l;
	if (ret_len)
		*ret_len = end - dev;
	return 0;
}
