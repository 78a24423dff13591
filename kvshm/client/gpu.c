/* SPDX-License-Identifier: Apache-2.0 */
/* gpu.c - a GPU side: opened, looked at, closed */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "gpu/cuda_fake.h"
#include "kvshm/base/clock.h"
#include "kvshm/base/sized.h"
#include "kvshm/client/gpu.h"

#define TIMEOUT_MS 5000u
#define MAX_JOBS 8u
#define MAX_BLOCKS 512u
#define BOUNCE_LEN (16ull << 20)

/* ---- the layout ------------------------------------------------------------------------------------------ */

static int options_take(const struct kvshm_gpu_options *opts, struct kvshm_gpu_options *ret)
{
	int err = sized_take(opts, offsetof(struct kvshm_gpu_options, max_jobs), ret, sizeof(*ret));

	if (err < 0)
		return err;
	if (ret->flags & ~KVSHM_GPU_CURRENT || !ret->groups || !ret->layers || !ret->nr_groups ||
	    ret->nr_groups > KVSHM_GPU_GROUPS_MAX || !ret->nr_layers || ret->nr_layers > KVSHM_GPU_LAYERS_MAX)
		return -EINVAL;
	return 0;
}

_Static_assert(KVSHM_GPU_GROUPS_MAX == GPU_GROUPS_MAX && KVSHM_GPU_LAYERS_MAX == GPU_LAYERS_MAX, "public limits");

static int layout_take(const struct kvshm_gpu_options *o, struct gpu_layout *ret)
{
	memset(ret, 0, sizeof(*ret));
	ret->nr_groups = o->nr_groups;
	ret->nr_layers = o->nr_layers;
	for (uint32_t i = 0; i < o->nr_groups; i++) {
		const struct kvshm_gpu_group *g = &o->groups[i];

		ret->group[i] = (struct gpu_group){
			.nr_blocks = g->nr_blocks, .nr_tokens = g->nr_tokens, .nr_heads = g->nr_heads,
			.nr_parts = g->nr_parts, .run_len = g->run_len, .block_stride = g->block_stride,
			.head_stride = g->head_stride, .token_stride = g->token_stride,
			.arena_layer_stride = g->arena_layer_stride, .arena_part_stride = g->arena_part_stride,
			.arena_head_stride = g->arena_head_stride, .arena_token_stride = g->arena_token_stride,
		};
	}
	for (uint32_t i = 0; i < o->nr_layers; i++) {
		if (o->layers[i].resv)
			return -EINVAL;
		ret->layer[i] = (struct gpu_layer){ .dev = { o->layers[i].dev[0], o->layers[i].dev[1] },
						    .group = o->layers[i].group };
	}
	gpu_layout_pack(ret);
	return gpu_layout_check(ret, NULL);
}

__public int kvshm_gpu_block_len(const struct kvshm_gpu_options *opts, unsigned group, uint32_t *ret_len)
{
	struct kvshm_gpu_options o;
	struct gpu_layout *l;
	int ret = options_take(opts, &o);

	if (ret < 0)
		return ret;
	l = malloc(sizeof(*l));
	if (!l)
		return -ENOMEM;
	ret = layout_take(&o, l);
	if (ret == 0 && (group >= l->nr_groups || l->group[group].arena_len > KVSHM_BLOCK_MAX))
		ret = -EINVAL;
	if (ret == 0)
		*ret_len = (uint32_t)l->group[group].arena_len;
	free(l);
	return ret;
}

/* ---- the device -------------------------------------------------------------------------------------------- */

static int find_ordinal(const struct cuda *cu, int ordinal, struct gpu_device *ret)
{
	struct gpu_device list[GPU_MAX_DEVICES];
	int nr = gpu_device_list(cu, "/sys", list, GPU_MAX_DEVICES);

	for (int i = 0; i < nr; i++)
		if (list[i].ordinal == ordinal) {
			*ret = list[i];
			return 0;
		}
	return nr < 0 ? nr : -ENODEV;
}

/* The device whose primary context the thread is in: it is the one that we would retain. */
static int open_current(const struct cuda *cu, struct gpu_ctx *ret)
{
	struct gpu_device list[GPU_MAX_DEVICES];
	int nr = gpu_device_list(cu, "/sys", list, GPU_MAX_DEVICES);
	CUcontext now = NULL;

	if (cu->CtxGetCurrent(&now) != CUDA_SUCCESS || !now)
		return -ENODEV;
	for (int i = 0; i < nr; i++) {
		struct gpu_ctx c;

		if (gpu_ctx_open(cu, &list[i], &c) < 0)
			continue;
		if (c.ctx == now) {
			*ret = c;
			return 0;
		}
		gpu_ctx_close(&c);
	}
	return nr < 0 ? nr : -ENODEV;
}

static int ctx_open(struct kvshm_gpu *g, const struct kvshm_gpu_options *o)
{
	struct gpu_device d;
	int ret;

	if (o->flags & KVSHM_GPU_CURRENT)
		return open_current(&g->cu, &g->ctx);
	ret = find_ordinal(&g->cu, o->device, &d);
	return ret < 0 ? ret : gpu_ctx_open(&g->cu, &d, &g->ctx);
}

/* ---- open ---------------------------------------------------------------------------------------------------- */

static void jobs_free(struct kvshm_gpu *g)
{
	for (uint32_t i = 0; i < g->max_jobs; i++) {
		free(g->job[i].pins);
		free(g->job[i].keys);
		free(g->job[i].blocks);
	}
	free(g->items);
	free(g->src);
}

static int jobs_create(struct kvshm_gpu *g)
{
	bool all;

	g->items = malloc(g->max_blocks * sizeof(*g->items));
	g->src = malloc(g->max_blocks * sizeof(*g->src));
	all = g->items && g->src;
	for (uint32_t i = 0; i < g->max_jobs; i++) {
		struct kvshm_stage *s = &g->job[i];

		s->g = g;
		s->pins = malloc(g->max_blocks * sizeof(*s->pins));
		s->keys = malloc(g->max_blocks * sizeof(*s->keys));
		s->blocks = malloc(g->max_blocks * sizeof(*s->blocks));
		all = all && s->pins && s->keys && s->blocks;
	}
	return all ? 0 : -ENOMEM;
}

static int stage_make(struct kvshm_gpu *g, const struct kvshm_gpu_options *o)
{
	struct stage_limits lim = {
		.nr_jobs = g->max_jobs, .nr_items = g->max_blocks, .layers_per_step = o->layers_per_step,
		.landing_len = o->landing_len, .bounce_len = g->bounce_len, .cost = &g->cost,
	};

	return stage_create(&g->ctx, &g->layout, &lim, &g->stage);
}

_Static_assert(sizeof(((struct kvshm_gpu_facts *)0)->costs) == STAGE_COST_WHY, "one text");

/* Who names a file is told when it is no use; a file that is merely there must not keep an engine from starting. */
static int costs_find(struct kvshm_gpu *g, const struct kvshm_gpu_options *o)
{
	const bool is_simulated = cuda_fake_open(&g->cu) != NULL;
	int ret = stage_cost_find(o->costs, g->ctx.device.name, is_simulated, &g->cost, g->info.costs);

	g->info.has_costs = ret > 0;
	return ret < 0 && o->costs ? -EBADMSG : 0;
}

/* What stays as it is. */
static void info_init(struct kvshm_gpu *g)
{
	const struct gpu_device *d = &g->ctx.device;

	memcpy(g->info.name, d->name, sizeof(g->info.name));
	memcpy(g->info.pci, d->pci, sizeof(g->info.pci));
	g->info.node = d->node;
	g->info.sm = (uint32_t)d->sm;
	g->info.driver_version = (uint32_t)g->cu.version;
	g->info.ways = stage_ways(g->stage);
	g->info.is_simulated = cuda_fake_open(&g->cu) != NULL;
}

static int side_create(const struct kvshm_gpu_options *o, struct kvshm_gpu **ret_g)
{
	uint32_t max_jobs = o->max_jobs ? o->max_jobs : MAX_JOBS;
	struct kvshm_gpu *g = calloc(1, sizeof(*g) + max_jobs * sizeof(g->job[0]));
	int ret;

	if (!g)
		return -ENOMEM;
	g->max_jobs = max_jobs;
	g->max_blocks = o->max_blocks ? o->max_blocks : MAX_BLOCKS;
	g->timeout_ms = o->timeout_ms ? o->timeout_ms : TIMEOUT_MS;
	g->bounce_len = o->bounce_len ? o->bounce_len : BOUNCE_LEN;
	ret = layout_take(o, &g->layout);
	if (ret == 0)
		ret = jobs_create(g);
	if (ret == 0)
		ret = cuda_load(o->libcuda, &g->cu);
	if (ret < 0)
		goto err_free;
	ret = ctx_open(g, o);
	if (ret < 0)
		goto err_unload;
	ret = costs_find(g, o);
	if (ret == 0)
		ret = stage_make(g, o);
	if (ret < 0)
		goto err_ctx;
	info_init(g);
	*ret_g = g;
	return 0;
err_ctx:
	gpu_ctx_close(&g->ctx);
err_unload:
	cuda_unload(&g->cu);
err_free:
	jobs_free(g);
	free(g);
	return ret;
}

__public int kvshm_gpu_open(struct kvshm *k, const struct kvshm_gpu_options *opts, struct kvshm_gpu **ret_g)
{
	struct kvshm_gpu_options o;
	struct kvshm_gpu *g = NULL;
	struct gpu_mem *m;
	int ret;

	if (client_is_forked(k))
		return -EOWNERDEAD;
	ret = options_take(opts, &o);
	if (ret < 0)
		return ret;
	ret = side_create(&o, &g);
	if (ret < 0)
		return ret;
	g->k = k;
	g->next = k->gpu;
	k->gpu = g;
	if (g->info.node >= 0)
		k->near = g->info.node;
	/* Pinning begins now, in the background. */
	if (k->cur)
		gpu_mem_get(g, k->cur->content, &m);
	*ret_g = g;
	return 0;
}

/* ---- close ----------------------------------------------------------------------------------------------------- */

static void forget(struct kvshm_gpu *g)
{
	struct kvshm_gpu **p = &g->k->gpu;

	while (*p != g)
		p = &(*p)->next;
	*p = g->next;
}

/* Landed puts are finished, until @deadline_ns. */
static int jobs_end(struct kvshm_gpu *g, uint64_t deadline_ns)
{
	struct timespec nap = { .tv_nsec = 50000 };
	int ret;

	for (uint32_t i = 0; i < g->max_jobs; i++)
		if (g->job[i].phase == STAGE_FLYING)
			kvshm_stage_end(&g->job[i]);
	while ((ret = gpu_pump(g)) > 0 && clock_ns() < deadline_ns)
		nanosleep(&nap, NULL);
	return ret > 0 ? -ETIMEDOUT : ret;
}

void gpu_user_add(struct kvshm_gpu *g, struct gpu_user *u)
{
	u->next = g->users;
	g->users = u;
}

void gpu_user_remove(struct kvshm_gpu *g, struct gpu_user *u, int error)
{
	struct gpu_user **p = &g->users;

	while (*p != u)
		p = &(*p)->next;
	*p = u->next;
	if (!error)
		return;
	u->next = g->behind;
	g->behind = u;
	g->left = g->left ? g->left : error;
}

__public int kvshm_gpu_close(struct kvshm_gpu *g)
{
	uint64_t deadline;
	int ret;

	if (!g)
		return 0;
	if (client_is_forked(g->k))
		return -EOWNERDEAD;
	while (g->users)
		g->users->close(g->users);
	deadline = clock_ns() + (uint64_t)g->timeout_ms * 1000000u;
	ret = jobs_end(g, deadline);
	forget(g);
	if (ret == 0)
		ret = stage_destroy(g->stage, deadline);
	if (ret < 0) {
		gpu_leave_behind(g);
		return ret;
	}
	ret = gpu_buffer_free(g, deadline);
	if (gpu_mem_free(g, deadline) < 0 || ret < 0)
		return -ETIMEDOUT;
	if (g->left)
		return g->left;
	gpu_ctx_close(&g->ctx);
	cuda_unload(&g->cu);
	jobs_free(g);
	free(g);
	return 0;
}

void gpu_close_all(struct kvshm *k)
{
	while (k->gpu)
		kvshm_gpu_close(k->gpu);
}

/* ---- look ------------------------------------------------------------------------------------------------------ */

static void info_of_mem(const struct kvshm_gpu *g, struct kvshm_gpu_facts *i)
{
	for (const struct gpu_mem *m = g->mem; m; m = m->next) {
		struct hostreg_progress p = { 0 };

		if (!g->k->cur || m->content != g->k->cur->content)
			continue;
		if (m->reg)
			hostreg_progress(m->reg, &p);
		i->nr_extents = m->content->arena.nr_extents;
		i->nr_pinned = p.nr_pinned;
		i->nr_refused = p.nr_refused;
		_Static_assert(sizeof(i->why) == sizeof(p.why), "one text");
		memcpy(i->why, p.why, sizeof(i->why));
	}
}

__public int kvshm_gpu_info(struct kvshm_gpu *g, struct kvshm_gpu_facts *info)
{
	struct kvshm_gpu_facts i = g->info;

	if (client_is_forked(g->k))
		return -EOWNERDEAD;
	if (info->sz < offsetof(struct kvshm_gpu_facts, in_bytes) || info->sz > sizeof(i))
		return -EINVAL;
	i.sz = info->sz;
	info_of_mem(g, &i);
	memcpy(info, &i, i.sz);
	return 0;
}

__public int kvshm_gpu_poll(struct kvshm_gpu *g)
{
	if (client_is_forked(g->k))
		return -EOWNERDEAD;
	return gpu_pump(g);
}
