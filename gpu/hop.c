/* SPDX-License-Identifier: Apache-2.0 */
/* hop.c - blocks of one GPU's paged KV into another's: packed, carried, spread */
#include "gpu/hop.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "gpu/own_mem.h"
#include "gpu/peer.h"
#include "gpu/poll.h"
#include "gpu/stage.h"
#include "kvshm/base/compiler.h"

#define BOUNCE_LEN 65536u		/* never used: what is packed is on a device, or pinned */

struct hop {
	struct stage_job *out, *in;	/* NULL: was not submitted */
	int error;
	uint32_t nr_blocks;
	uint64_t bytes;
};

struct hops {
	const struct gpu_ctx *from_ctx, *to_ctx;
	struct gpu_layout layout;	/* of the source: counts and sizes are those of both */
	bool by_host;
	struct stage *from, *to;
	struct gpu_stream carry;	/* of the destination's context */
	uint64_t packed_from, packed_to;	/* device memory */
	struct own_pinned pinned;
	uint64_t slot_len, block_len;
	uint32_t max_blocks;
	struct stage_host host_from, host_to;
	int error;
	bool is_to_lost;
	struct hops_info info;
	struct stage_item *items[2];	/* of the call, [max_blocks] */
	unsigned nr;
	uint64_t first, next;		/* hops under way: numbers first .. next - 1, modulo nr */
	struct hop hop[];
};

static struct hop *hop_of(struct hops *h, uint64_t number)
{
	return &h->hop[number % h->nr];
}

/* ---- create ------------------------------------------------------------------------------------------- */

static bool is_same_group(const struct gpu_group *a, const struct gpu_group *b)
{
	return a->nr_tokens == b->nr_tokens && a->nr_heads == b->nr_heads && a->nr_parts == b->nr_parts &&
	       a->run_len == b->run_len && a->arena_layer_stride == b->arena_layer_stride &&
	       a->arena_part_stride == b->arena_part_stride && a->arena_head_stride == b->arena_head_stride &&
	       a->arena_token_stride == b->arena_token_stride && a->arena_len == b->arena_len;
}

/* What is packed by one is spread by the other; strides on the device are each one's own. */
static bool is_same_model(const struct gpu_layout *a, const struct gpu_layout *b)
{
	bool same = a->nr_groups == b->nr_groups && a->nr_layers == b->nr_layers;

	for (uint32_t i = 0; same && i < a->nr_groups; i++)
		same = is_same_group(&a->group[i], &b->group[i]);
	for (uint32_t i = 0; same && i < a->nr_layers; i++)
		same = a->layer[i].group == b->layer[i].group;
	return same;
}

static int stages_create(struct hops *h, const struct hops_config *cfg)
{
	struct stage_limits lim = {
		.nr_jobs = h->nr, .nr_items = h->max_blocks, .layers_per_step = h->layout.nr_layers, .bounce_len = BOUNCE_LEN,
		.put_max = UINT64_MAX, .put_max_loading = UINT64_MAX, .cost = cfg->from.cost,
	};
	int ret = stage_create(h->from_ctx, cfg->from.layout, &lim, &h->from);

	lim.cost = cfg->to.cost;
	if (ret == 0)
		ret = stage_create(h->to_ctx, cfg->to.layout, &lim, &h->to);
	return ret == 0 ? gpu_stream_open(h->to_ctx, false, &h->carry) : ret;
}

static int packed_on_devices(struct hops *h)
{
	const uint64_t len = h->nr * h->slot_len;
	int ret = peer_enable(h->from_ctx, h->to_ctx);

	if (ret == 0)
		ret = own_device_alloc(h->from_ctx, len, &h->packed_from);
	if (ret == 0)
		ret = own_device_alloc(h->to_ctx, len, &h->packed_to);
	h->host_from = (struct stage_host){ .base = h->packed_from, .dev = h->packed_from, .span = len, .is_device = true };
	h->host_to = (struct stage_host){ .base = h->packed_to, .dev = h->packed_to, .span = len, .is_device = true };
	return ret;
}

static int packed_on_host(struct hops *h)
{
	int ret = own_pinned_create(h->from_ctx, h->nr * h->slot_len, &h->pinned);

	if (ret < 0)
		return ret;
	if (!h->pinned.is_pinned)
		return -EOPNOTSUPP;
	h->host_from = (struct stage_host){ .base = (uintptr_t)h->pinned.base, .span = h->pinned.len, .is_pinned = true };
	h->host_to = h->host_from;
	return 0;
}

static void hops_free(struct hops *h)
{
	gpu_stream_close(&h->carry);
	own_device_free(h->from_ctx, h->packed_from);
	own_device_free(h->to_ctx, h->packed_to);
	own_pinned_destroy(&h->pinned);
	free(h->items[0]);
	free(h->items[1]);
	free(h);
}

static int fill(struct hops *h, const struct hops_config *cfg)
{
	int ret;

	for (uint32_t i = 0; i < h->layout.nr_groups; i++)
		h->block_len = max_of(h->block_len, h->layout.group[i].arena_len);
	h->block_len = round_up(h->block_len, 256ull);
	if (__builtin_mul_overflow(h->block_len, h->max_blocks, &h->slot_len) || h->slot_len > INT64_MAX / h->nr)
		return -EOVERFLOW;
	for (unsigned i = 0; i < 2; i++) {
		h->items[i] = malloc(h->max_blocks * sizeof(*h->items[i]));
		if (!h->items[i])
			return -ENOMEM;
	}
	ret = h->by_host ? packed_on_host(h) : packed_on_devices(h);
	return ret < 0 ? ret : stages_create(h, cfg);
}

int hops_create(const struct hops_config *cfg, struct hops **ret)
{
	struct hops *h;
	int err;

	if (!cfg->nr || !cfg->max_blocks || !is_same_model(cfg->from.layout, cfg->to.layout))
		return -EINVAL;
	h = calloc(1, sizeof(*h) + cfg->nr * sizeof(h->hop[0]));
	if (!h)
		return -ENOMEM;
	h->from_ctx = cfg->from.ctx;
	h->to_ctx = cfg->to.ctx;
	h->layout = *cfg->from.layout;
	h->by_host = cfg->by_host;
	h->nr = cfg->nr;
	h->max_blocks = cfg->max_blocks;
	err = fill(h, cfg);
	if (err < 0) {
		stage_destroy(h->from, 0);
		stage_destroy(h->to, 0);
		hops_free(h);
		return err;
	}
	*ret = h;
	return 0;
}

/* ---- submit ------------------------------------------------------------------------------------------- */

/* One list a group, packed one behind the other; both sides' are equal but for the engine's blocks. */
static void lists_fill(struct hops *h, uint64_t slot, const struct hop_block *blocks, uint32_t nr,
		       struct stage_list *from, struct stage_list *to)
{
	uint32_t n = 0, first;

	for (uint32_t g = 0; g < h->layout.nr_groups; g++) {
		first = n;
		for (uint32_t i = 0; i < nr; i++) {
			struct stage_item item = { .arena = slot + n * h->block_len, .nr_tokens = blocks[i].nr_tokens };

			if (blocks[i].group != g)
				continue;
			item.block = blocks[i].from;
			h->items[0][n] = item;
			item.block = blocks[i].to;
			h->items[1][n++] = item;
		}
		from[g] = (struct stage_list){ h->items[0] + first, n - first };
		to[g] = (struct stage_list){ h->items[1] + first, n - first };
	}
}

static int carry(struct hops *h, struct hop *p, uint64_t slot)
{
	const struct gpu_copy c = { .dst = h->packed_to + slot, .src = h->packed_from + slot,
				    .len = p->nr_blocks * h->block_len };
	/* its stream goes on when all is packed; one step, so any layer stands for all */
	int ret = stage_job_block(p->out, 0, h->carry.stream);

	if (ret < 0 || h->by_host)
		return ret;
	return peer_copy(&h->carry, h->from_ctx, &c);
}

/* What is refused here is the hop's error: what came before it is under way. */
static void spread(struct hops *h, struct hop *p, uint64_t slot, const struct stage_list *to)
{
	const struct stage_work in = { .dir = STAGE_H2D, .host = &h->host_to, .list = to, .has_after = true,
				       .after = h->carry.stream };
	struct stage_job_info info;

	stage_job_info(p->out, &info);
	p->bytes = info.bytes;
	p->error = carry(h, p, slot);
	if (p->error == 0)
		p->error = stage_submit(h->to, &in, &p->in);
}

static bool is_block(const struct hops *h, const struct hop_block *b)
{
	return b->group < h->layout.nr_groups && b->nr_tokens <= h->layout.group[b->group].nr_tokens;
}

int hops_submit(struct hops *h, const struct hop_block *blocks, uint32_t nr)
{
	struct stage_list from[GPU_GROUPS_MAX], to[GPU_GROUPS_MAX];
	struct stage_work out = { .dir = STAGE_D2H, .host = &h->host_from, .list = from };
	struct hop *p = hop_of(h, h->next);
	uint64_t slot;
	int ret;

	if (h->error)
		return h->error;
	if (!hops_has_room(h))
		return -EBUSY;
	if (!nr || nr > h->max_blocks)
		return nr ? -E2BIG : -EINVAL;
	for (uint32_t i = 0; i < nr; i++)
		if (!is_block(h, &blocks[i]))
			return -EINVAL;
	*p = (struct hop){ .nr_blocks = nr };
	slot = h->next % h->nr * h->slot_len;
	lists_fill(h, slot, blocks, nr, from, to);
	ret = stage_submit(h->from, &out, &p->out);
	if (ret < 0)
		return ret;
	h->next++;
	spread(h, p, slot, to);
	return 0;
}

bool hops_has_room(const struct hops *h)
{
	return h->next - h->first < h->nr;
}

/* ---- landing -------------------------------------------------------------------------------------------- */

static int set_lost(struct hops *h, int error, bool is_to)
{
	if (!h->error) {
		h->error = error;
		h->is_to_lost = is_to;
	}
	return 0;
}

static bool is_over(const struct stage_job *job)
{
	return !job || stage_job_is_over(job);
}

/* Return: 1 nothing of it is on any stream, 0 not yet, or never. */
static int is_quiet(struct hops *h, const struct hop *p)
{
	int ret;

	if (!is_over(p->out) || !is_over(p->in))
		return 0;
	if (p->in && !p->error && stage_job_state(p->in) > 0)
		return 1;
	/* a part was refused: the copy between them has no mark behind it */
	ret = gpu_stream_poll(&h->carry);
	return ret < 0 ? set_lost(h, ret, true) : ret;
}

static int end_of(const struct hop *p)
{
	if (p->error)
		return p->error;
	return stage_job_state(p->out) < 0 ? stage_job_state(p->out) : stage_job_state(p->in);
}

int hops_take(struct hops *h)
{
	struct hop *p = hop_of(h, h->first);
	int ret;

	stage_poll(h->from);
	stage_poll(h->to);
	if (stage_error(h->from))
		set_lost(h, stage_error(h->from), false);
	if (stage_error(h->to))
		set_lost(h, stage_error(h->to), true);
	if (h->error || h->first == h->next || !is_quiet(h, p))
		return 0;
	ret = end_of(p);
	if (ret > 0) {
		h->info.hops++;
		h->info.blocks += p->nr_blocks;
		h->info.bytes += p->bytes;
	}
	stage_job_put(p->out);
	stage_job_put(p->in);
	h->first++;
	return ret;
}

int hops_error(const struct hops *h, bool *ret_is_to)
{
	if (ret_is_to)
		*ret_is_to = h->is_to_lost;
	return h->error;
}

void hops_info(const struct hops *h, struct hops_info *ret)
{
	*ret = h->info;
}

/* ---- the end --------------------------------------------------------------------------------------------- */

static int poll_all(void *arg)
{
	struct hops *h = arg;

	while (hops_take(h))
		;
	return h->error ? h->error : h->first == h->next;
}

int hops_destroy(struct hops *h, uint64_t deadline_ns)
{
	int ret;

	if (!h)
		return 0;
	ret = poll_until(poll_all, h, deadline_ns);
	if (ret > 0)
		ret = stage_destroy(h->from, deadline_ns);
	if (ret == 0)
		ret = stage_destroy(h->to, deadline_ns);
	if (ret == 0)
		hops_free(h);
	return ret;
}
