/* SPDX-License-Identifier: Apache-2.0 */
/* stage_submit.c - a job from its list to the first operations on the stream */
#include <errno.h>

#include "gpu/stage_priv.h"

#define SUBMIT_OPS 16u			/* of a direction, at least a step: it returns while the first layer is on its way */

static struct stage_job *job_free_one(struct stage *s)
{
	for (unsigned i = 0; i < s->lim.nr_jobs; i++)
		if (s->job[i].state == JOB_FREE)
			return &s->job[i];
	return NULL;
}

/* Can the device reach all blocks of the list itself? */
static bool is_reachable(const struct stage *s, const struct stage_work *w)
{
	const struct stage_host *h = w->host;

	if (h->is_pinned)
		return true;
	if (!h->reg)
		return false;
	for (uint32_t g = 0; g < s->layout.nr_groups; g++)
		for (uint32_t i = 0; i < w->list[g].nr; i++) {
			uint64_t at = w->list[g].items[i].arena, len = s->layout.group[g].arena_len;

			if (at > h->span || len > h->span - at)
				return true;	/* the plan refuses it */
			if (hostreg_state(h->reg, (const void *)(uintptr_t)(h->base + at), len) != 1)
				return false;
		}
	return true;
}

static int plan(struct stage_job *j, const struct stage_work *w)
{
	const struct stage *s = j->stage;
	struct stage_request req = { .dir = w->dir, .first_layer = w->first_layer, .nr_layers = w->nr_layers,
				     .layers_per_step = w->layers_per_step };
	struct stage_caps caps = {
		.ways = s->ways, .has_2d = cuda_has(s->ctx->cu, CUDA_F_COPY_2D),
		.landing = s->side[w->dir].landing, .landing_len = s->side[w->dir].landing ? s->lim.landing_len : 0,
		.arena_dev = w->host->dev, .arena_span = w->host->span, .seams = w->host->seams,
		.nr_seams = w->host->nr_seams, .table_dev = (uintptr_t)j->plan.table,
	};
	uint64_t nr = 0;

	for (uint32_t g = 0; g < s->layout.nr_groups; g++) {
		req.list[g] = w->list[g];
		nr += w->list[g].nr;
	}
	if (nr > s->lim.nr_items)
		return -E2BIG;
	if (w->layers_per_step && w->layers_per_step < s->lim.layers_per_step)
		return -EINVAL;
	if (!w->host->dev)
		caps.ways &= ~STAGE_MAY(STAGE_WAY_DIRECT);
	if (j->is_bounced)
		caps.ways = (caps.ways & STAGE_MAY(STAGE_WAY_LAND)) | STAGE_MAY(STAGE_WAY_COPY);
	return stage_plan_make(&s->layout, &req, &caps, s->lim.cost, &j->plan);
}

static void job_start(struct stage_job *j, const struct stage_work *w)
{
	j->host = *w->host;
	j->word = w->word;
	j->ticket = w->ticket;
	j->first_layer = w->first_layer;
	j->nr_layers = w->nr_layers ? w->nr_layers : j->stage->layout.nr_layers - w->first_layer;
	j->nr_issued = j->nr_landed = j->at_op = 0;
	j->at_byte = 0;
	j->error = 0;
	j->is_put = j->is_unmarked = false;
	j->sched.dir = w->dir;
	j->state = JOB_ACTIVE;
	sched_add(&j->stage->sched, &j->sched);
	j->sched.is_issued = !j->plan.nr_steps;
}

int stage_submit(struct stage *s, const struct stage_work *w, struct stage_job **ret_job)
{
	struct stage_job *j;
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
	j->is_bounced = !is_reachable(s, w);
	ret = plan(j, w);
	if (ret < 0)
		return ret;
	job_start(j, w);
	if (w->has_after)
		ret = gpu_event_follow(&j->after, w->after, &side_of(j)->stream);
	if (ret < 0)
		job_end(j, ret);
	issue_portion(s, w->dir, SUBMIT_OPS);
	*ret_job = j;
	return 0;
}
