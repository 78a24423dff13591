/* SPDX-License-Identifier: Apache-2.0 */
/* stage_create.c - everything that jobs need, made once */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "gpu/stage_priv.h"
#include "kvshm/base/compiler.h"

#define NR_JOBS 8u
#define NR_ITEMS 512u
#define BOUNCE_LEN (16ull << 20)
#define BOUNCE_SLICES 8u
#define PUT_MAX (64ull << 20)
#define PUT_MAX_LOADING (4ull << 20)
#define PAGE 4096ull

static void set_defaults(struct stage_limits *l)
{
	l->nr_jobs = l->nr_jobs ? l->nr_jobs : NR_JOBS;
	l->nr_items = l->nr_items ? l->nr_items : NR_ITEMS;
	l->layers_per_step = l->layers_per_step ? l->layers_per_step : 1;
	l->bounce_len = round_up(l->bounce_len ? l->bounce_len : BOUNCE_LEN, BOUNCE_SLICES * PAGE);
	l->put_max = l->put_max ? l->put_max : PUT_MAX;
	l->put_max_loading = l->put_max_loading ? l->put_max_loading : PUT_MAX_LOADING;
	l->ways = l->ways ? l->ways : STAGE_MAY_ALL;
}

static uint32_t ways_of(const struct stage *s)
{
	uint32_t ways = STAGE_MAY(STAGE_WAY_COPY);

	if (cuda_has(s->ctx->cu, CUDA_F_COPY_BATCH))
		ways |= STAGE_MAY(STAGE_WAY_BATCH);
	if (s->has_kmod)
		ways |= STAGE_MAY(STAGE_WAY_LAND) | STAGE_MAY(STAGE_WAY_DIRECT);
	return ways & s->lim.ways;
}

/* ---- pinned memory of our own ------------------------------------------------------------------------- */

static uint64_t table_len(const struct stage_plan *size)
{
	return round_up((uint64_t)size->max_table * sizeof(uint32_t), PAGE);
}

/* Unpinned it works too: no kernels then, and bounce slices at the driver's own pace. */
static int pinned_create(struct stage *s, const struct stage_plan *size)
{
	int ret = own_pinned_create(s->ctx, 2 * s->lim.bounce_len + s->lim.nr_jobs * table_len(size), &s->pinned);

	if (!s->pinned.is_pinned)
		s->ways &= ~(STAGE_MAY(STAGE_WAY_LAND) | STAGE_MAY(STAGE_WAY_DIRECT));
	return ret;
}

/* ---- jobs ----------------------------------------------------------------------------------------------- */

static int events_create(struct stage_job *j)
{
	const struct gpu_ctx *ctx = j->stage->ctx;
	int ret = gpu_event_open(ctx, GPU_EVENT_PLAIN, &j->after);

	if (!ret)
		ret = gpu_event_open(ctx, GPU_EVENT_PLAIN, &j->end);
	for (uint32_t i = 0; i < j->plan.max_steps && !ret; i++)
		ret = gpu_event_open(ctx, GPU_EVENT_PLAIN, &j->event[i]);
	return ret;
}

static int job_create(struct stage *s, const struct stage_plan *size, unsigned n)
{
	struct stage_job *j = &s->job[n];

	j->stage = s;
	j->plan = *size;
	j->plan.ops = malloc(size->max_ops * sizeof(*j->plan.ops));
	j->plan.launches = malloc(max_of(size->max_launches, 1u) * sizeof(*j->plan.launches));
	j->plan.steps = malloc(size->max_steps * sizeof(*j->plan.steps));
	j->plan.table = (uint32_t *)(void *)(s->pinned.base + 2 * s->lim.bounce_len + n * table_len(size));
	j->event = calloc(size->max_steps, sizeof(*j->event));
	j->seq = calloc(size->max_steps, sizeof(*j->seq));
	if (!j->plan.ops || !j->plan.launches || !j->plan.steps || !j->event || !j->seq)
		return -ENOMEM;
	return events_create(j);
}

static void job_free(struct stage_job *j)
{
	for (uint32_t i = 0; j->event && i < j->plan.max_steps; i++)
		gpu_event_close(&j->event[i]);
	gpu_event_close(&j->after);
	gpu_event_close(&j->end);
	free(j->plan.ops);
	free(j->plan.launches);
	free(j->plan.steps);
	free(j->event);
	free(j->seq);
}

/* ---- a direction ------------------------------------------------------------------------------------------ */

static int side_create(struct stage *s, enum stage_dir dir)
{
	struct stage_side *side = &s->side[dir];
	int ret = gpu_stream_open(s->ctx, dir == STAGE_H2D, &side->stream);

	if (!ret)
		ret = bounce_create(&side->stream, dir, s->pinned.base + (size_t)dir * s->lim.bounce_len,
				    s->lim.bounce_len / BOUNCE_SLICES, BOUNCE_SLICES, NULL, &side->bounce);
	if (!ret && s->lim.landing_len && s->ways & STAGE_MAY(STAGE_WAY_LAND))
		ret = own_device_alloc(s->ctx, s->lim.landing_len, &side->landing);
	return ret;
}

static void side_free(struct stage *s, struct stage_side *side)
{
	bounce_destroy(side->bounce);
	gpu_stream_close(&side->stream);
	own_device_free(s->ctx, side->landing);
}

/* ---- all ---------------------------------------------------------------------------------------------------- */

void stage_free(struct stage *s)
{
	for (unsigned i = 0; i < s->lim.nr_jobs; i++)
		job_free(&s->job[i]);
	side_free(s, &s->side[STAGE_H2D]);
	side_free(s, &s->side[STAGE_D2H]);
	kmod_close(&s->kmod);
	own_pinned_destroy(&s->pinned);
	free(s->batch_dst);
	free(s->batch_src);
	free(s->batch_len);
	free(s);
}

static int plan_size(const struct stage *s, struct stage_plan *ret)
{
	struct stage_caps caps = { .ways = s->ways, .has_2d = cuda_has(s->ctx->cu, CUDA_F_COPY_2D),
				   .landing_len = s->lim.landing_len };

	memset(ret, 0, sizeof(*ret));
	return stage_plan_size(&s->layout, &caps, s->lim.nr_items, s->lim.layers_per_step, ret);
}

static int fill(struct stage *s)
{
	struct stage_plan size;
	int ret;

	if (s->lim.ways & (STAGE_MAY(STAGE_WAY_LAND) | STAGE_MAY(STAGE_WAY_DIRECT)))
		s->has_kmod = kmod_open(s->ctx, &s->kmod) == 0;
	s->ways = ways_of(s);
	ret = plan_size(s, &size);
	if (ret < 0)
		return ret;
	s->batch_dst = malloc(size.max_ops * sizeof(*s->batch_dst));
	s->batch_src = malloc(size.max_ops * sizeof(*s->batch_src));
	s->batch_len = malloc(size.max_ops * sizeof(*s->batch_len));
	if (!s->batch_dst || !s->batch_src || !s->batch_len)
		return -ENOMEM;
	ret = pinned_create(s, &size);
	if (!ret)
		ret = side_create(s, STAGE_H2D);
	if (!ret)
		ret = side_create(s, STAGE_D2H);
	for (unsigned i = 0; i < s->lim.nr_jobs && !ret; i++)
		ret = job_create(s, &size, i);
	return ret;
}

int stage_create(const struct gpu_ctx *ctx, const struct gpu_layout *layout, const struct stage_limits *lim,
		 struct stage **ret)
{
	struct stage_limits l = { 0 };
	struct stage *s;
	int err;

	if (lim)
		l = *lim;
	set_defaults(&l);
	s = calloc(1, sizeof(*s) + l.nr_jobs * sizeof(s->job[0]));
	if (!s)
		return -ENOMEM;
	s->ctx = ctx;
	s->layout = *layout;
	s->lim = l;
	sched_init(&s->sched, l.put_max, l.put_max_loading);
	err = fill(s);
	if (err < 0) {
		stage_free(s);
		return err;
	}
	*ret = s;
	return 0;
}
