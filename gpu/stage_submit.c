/* SPDX-License-Identifier: Apache-2.0 */
/*
 * stage_submit.c - a job from its list to the first operations on the stream
 *
 * The first byte should leave soon, and planning all layers takes longer than it may.  So the first step is planned
 * alone and issued, then the others are planned while it is under way: what the first byte waits for does not grow with
 * the model.
 *
 * Whatever is wrong with the call is found before the first step is issued; a step that cannot be planned later on ends
 * the job like an operation that the driver refuses.
 */
#include <errno.h>

#include "gpu/stage_priv.h"
#include "kvshm/base/compiler.h"

#define SUBMIT_OPS 16u			/* of a direction, at least a step: it returns with the first layer on its way */

static struct stage_job *job_free_one(struct stage *s)
{
	for (unsigned i = 0; i < s->lim.nr_jobs; i++)
		if (s->job[i].state == JOB_FREE)
			return &s->job[i];
	return NULL;
}

/* Can the device reach all blocks of the list itself?  Asked once for neighbours in an extent: it takes a lock. */
static bool is_reachable(const struct stage *s, const struct stage_work *w)
{
	const struct stage_host *h = w->host;
	struct hostreg_span pinned = { 0 };

	if (h->is_pinned || h->is_device)
		return true;
	if (!h->reg)
		return false;
	for (uint32_t g = 0; g < s->layout.nr_groups; g++)
		for (uint32_t i = 0; i < w->list[g].nr; i++) {
			const uint64_t offset = w->list[g].items[i].arena, at = h->base + offset;
			const uint64_t len = s->layout.group[g].arena_len;

			if (offset > h->span || len > h->span - offset)
				return true;	/* the plan refuses it */
			if (at - pinned.from >= pinned.end - pinned.from &&
			    hostreg_extent(h->reg, (const void *)(uintptr_t)at, &pinned) != 1)
				return false;
			if (len > pinned.end - at)
				return false;
		}
	return true;
}

/* What the job is of; it stays free. */
static int job_take(struct stage_job *j, const struct stage_work *w)
{
	const struct stage *s = j->stage;
	const uint32_t left = s->layout.nr_layers - min_of(w->first_layer, s->layout.nr_layers);
	uint64_t nr = 0;

	for (uint32_t g = 0; g < s->layout.nr_groups; g++)
		nr += w->list[g].nr;
	if (nr > s->lim.nr_items)
		return -E2BIG;
	if (!left || w->nr_layers > left || (w->layers_per_step && w->layers_per_step < s->lim.layers_per_step))
		return -EINVAL;
	j->first_layer = w->first_layer;
	j->nr_layers = w->nr_layers ? w->nr_layers : left;
	j->is_bounced = !is_reachable(s, w);
	return 0;
}

/* What lies on the device is reached at the device's pace. */
static struct stage_cost cost_of(const struct stage *s, const struct stage_host *h)
{
	struct stage_cost c = s->lim.cost ? *s->lim.cost : stage_cost_default;

	if (h->is_device)
		c.link_bytes_per_ns = c.direct_bytes_per_ns = c.device_bytes_per_ns;
	return c;
}

/* @nr layers from @first on, behind those that the plan has. */
static int plan(struct stage_job *j, const struct stage_work *w, uint32_t first, uint32_t nr)
{
	const struct stage *s = j->stage;
	struct stage_request req = { .dir = w->dir, .first_layer = first, .nr_layers = nr,
				     .layers_per_step = w->layers_per_step };
	struct stage_caps caps = {
		.ways = s->ways, .has_2d = cuda_has(s->ctx->cu, CUDA_F_COPY_2D),
		.landing = s->side[w->dir].landing, .landing_len = s->side[w->dir].landing ? s->lim.landing_len : 0,
		.arena_dev = w->host->dev, .arena_span = w->host->span, .seams = w->host->seams,
		.nr_seams = w->host->nr_seams, .table_dev = (uintptr_t)j->plan.table,
	};
	const struct stage_cost cost = cost_of(s, w->host);

	for (uint32_t g = 0; g < s->layout.nr_groups; g++)
		req.list[g] = w->list[g];
	if (!w->host->dev)
		caps.ways &= ~STAGE_MAY(STAGE_WAY_DIRECT);
	if (w->host->is_device)
		caps.ways &= ~STAGE_MAY(STAGE_WAY_LAND);
	if (j->is_bounced)
		caps.ways = (caps.ways & STAGE_MAY(STAGE_WAY_LAND)) | STAGE_MAY(STAGE_WAY_COPY);
	if (first == j->first_layer)
		return stage_plan_make(&s->layout, &req, &caps, &cost, &j->plan);
	return stage_plan_add(&s->layout, &req, &caps, &cost, &j->plan);
}

static int plan_first(struct stage_job *j, const struct stage_work *w)
{
	return plan(j, w, j->first_layer, w->layers_per_step ? min_of(w->layers_per_step, j->nr_layers) : j->nr_layers);
}

/* The steps behind it.  The list is the caller's again after the call, so they cannot wait for a poll. */
static void plan_rest(struct stage_job *j, const struct stage_work *w)
{
	const uint32_t nr = j->plan.steps[0].nr_layers;
	int ret;

	if (j->state != JOB_ACTIVE || nr == j->nr_layers)
		return;
	ret = plan(j, w, j->first_layer + nr, j->nr_layers - nr);
	if (ret < 0)
		job_end(j, ret);
	else
		j->sched.is_issued = false;
}

static void job_start(struct stage_job *j, const struct stage_work *w)
{
	j->host = *w->host;
	j->word = w->word;
	j->ticket = w->ticket;
	j->nr_issued = j->nr_landed = j->at_op = 0;
	j->at_byte = 0;
	j->error = 0;
	j->is_put = j->is_unmarked = false;
	j->sched.dir = w->dir;
	j->state = JOB_ACTIVE;
	sched_add(&j->stage->sched, &j->sched);
}

int stage_submit(struct stage *s, const struct stage_work *w, struct stage_job **ret_job)
{
	struct stage_job *j;
	uint32_t nr;
	int ret;

	if (s->error)
		return s->error;
	j = job_free_one(s);
	if (!j) {
		stage_poll(s);
		j = job_free_one(s);
	}
	if (!j)
		return s->error ? s->error : -EBUSY;
	ret = job_take(j, w);
	if (ret == 0)
		ret = plan_first(j, w);
	if (ret < 0)
		return ret;
	job_start(j, w);
	if (w->has_after)
		ret = gpu_event_follow(&j->after, w->after, &side_of(j)->stream);
	if (ret < 0)
		job_end(j, ret);
	nr = issue_portion(s, w->dir, SUBMIT_OPS);
	plan_rest(j, w);
	issue_portion(s, w->dir, SUBMIT_OPS - min_of(nr, SUBMIT_OPS));
	*ret_job = j;
	return 0;
}
