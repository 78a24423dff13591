/* SPDX-License-Identifier: Apache-2.0 */
/*
 * stage.c - the life of a job: submit, poll, cancel
 *
 * The problem: an arena block must not be evicted or given away while the device still reads or writes it, and the
 * device goes on after an error, a cancel or a timeout of ours.
 *
 *	submit ──▶ ACTIVE ──all steps landed──▶ OVER ──put──▶ FREE
 *		     │ error, cancel			▲
 *		     ▼					│ its end mark has landed
 *		   ENDING ──────────────────────────────┘
 *		     │ the driver says that the context is gone
 *		     ▼
 *		   LOST		never over: the process must end
 *
 * Invariant: a job leaves ACTIVE or ENDING for OVER only after the device was seen to have passed a mark behind the
 * last operation that was put onto the stream for it.  An operation that the driver refused may have been put there
 * in part, so the mark is recorded after a refusal too; if that fails as well, the whole stream is asked.
 *
 * Why a lost job never ends: after a sticky error the driver answers every question with the same code, so nothing
 * says when the last write to host memory was.  What frees the memory is the end of the process, which the driver
 * takes part in: the arena sees it by the pin file's lock and the pidfd.
 *
 * Jobs of a direction share a stream, so they land in the order of their submission, and a poll asks the driver about
 * the oldest mark only.
 */
#include "gpu/stage.h"

#include <errno.h>

#include "gpu/poll.h"
#include "gpu/stage_priv.h"
#include "gpu/stage_word.h"
#include "kvshm/base/compiler.h"

/* Operations of a direction in one call, at least a step: a submit returns while the first layer is on its way. */
#define SUBMIT_OPS 16u
#define POLL_OPS 64u

static struct stage_side *side_of(struct stage_job *j)
{
	return &j->stage->side[j->sched.dir];
}

static struct stage_job *job_of(struct sched_job *j)
{
	return j ? container_of(j, struct stage_job, sched) : NULL;
}

/* ---- words ------------------------------------------------------------------------------------------------ */

static void words_set(const struct stage_job *j, uint32_t first, uint32_t nr, uint64_t value)
{
	for (uint32_t i = first; j->word && i < first + nr; i++)
		stage_word_set(&j->word[i], value);
}

static void words_fail(const struct stage_job *j)
{
	for (uint32_t i = j->nr_landed; i < j->plan.nr_steps; i++)
		words_set(j, j->plan.steps[i].first_layer, j->plan.steps[i].nr_layers, j->ticket | STAGE_WORD_FAILED);
}

/* ---- ends --------------------------------------------------------------------------------------------------- */

static void unfly(struct stage_job *j)
{
	for (uint32_t i = j->nr_landed; i < j->nr_issued; i++)
		sched_landed(&j->stage->sched, j->sched.dir, j->plan.steps[i].bytes);
}

static void job_over(struct stage_job *j)
{
	unfly(j);
	sched_remove(&j->stage->sched, &j->sched);
	j->word = NULL;
	j->state = j->is_put ? JOB_FREE : JOB_OVER;
}

/* Nothing more of it is issued; what was issued gets a mark behind it. */
static void job_end(struct stage_job *j, int error)
{
	if (j->state != JOB_ACTIVE)
		return;
	j->error = error;
	j->state = JOB_ENDING;
	j->sched.is_issued = true;
	if (j->is_bounced)
		bounce_flush(side_of(j)->bounce, &j->end_seq);
	j->is_unmarked = gpu_event_record(&j->end, &side_of(j)->stream) < 0;
	words_fail(j);
}

static void lost(struct stage *s, int error)
{
	s->error = error;
	for (unsigned i = 0; i < s->lim.nr_jobs; i++) {
		struct stage_job *j = &s->job[i];

		if (j->state != JOB_ACTIVE && j->state != JOB_ENDING)
			continue;
		if (j->state == JOB_ACTIVE) {
			j->error = error;
			words_fail(j);
		}
		j->state = JOB_LOST;
		sched_remove(&s->sched, &j->sched);
	}
}

/* ---- landing -------------------------------------------------------------------------------------------------- */

/* Return: 1 all of the step is where it belongs, 0 not yet, -errno the device is lost. */
static int step_landed(struct stage_job *j, uint32_t step)
{
	if (j->is_bounced && !bounce_has_drained(side_of(j)->bounce, j->seq[step]))
		return 0;
	return gpu_event_poll(&j->event[step]);
}

static int land_steps(struct stage_job *j)
{
	int ret = 1;

	while (j->nr_landed < j->nr_issued) {
		const struct stage_step *step = &j->plan.steps[j->nr_landed];

		ret = step_landed(j, j->nr_landed);
		if (ret <= 0)
			return ret;
		j->nr_landed++;
		sched_landed(&j->stage->sched, j->sched.dir, step->bytes);
		if (j->state == JOB_ACTIVE)
			words_set(j, step->first_layer, step->nr_layers, j->ticket);
	}
	return ret;
}

static int end_landed(struct stage_job *j)
{
	if (j->is_bounced && !bounce_has_drained(side_of(j)->bounce, j->end_seq))
		return 0;
	return j->is_unmarked ? gpu_stream_poll(&side_of(j)->stream) : gpu_event_poll(&j->end);
}

/* Return: 1 it is over, 0 not yet, -errno the device is lost. */
static int job_land(struct stage_job *j)
{
	int ret = land_steps(j);

	if (ret <= 0)
		return ret;
	if (j->state == JOB_ENDING)
		ret = end_landed(j);
	else
		ret = j->nr_landed == j->plan.nr_steps;
	if (ret > 0)
		job_over(j);
	return ret;
}

static int land(struct stage *s, enum stage_dir dir)
{
	struct stage_job *j;
	int ret = bounce_drain(s->side[dir].bounce);

	while (ret >= 0 && (j = job_of(s->sched.queue[dir].first))) {
		ret = job_land(j);
		if (ret == 0)
			return 0;
	}
	return min_of(ret, 0);
}

/* ---- issuing ---------------------------------------------------------------------------------------------------- */

/* One step.  Return: operations issued, 0: nothing may go now, or it failed. */
static uint32_t issue_one(struct stage *s, struct stage_job *j)
{
	const struct stage_step *step = &j->plan.steps[j->nr_issued];
	int ret;

	if (!sched_may(&s->sched, j->sched.dir, step->bytes))
		return 0;
	ret = issue_step(j);
	if (ret < 0)
		job_end(j, ret);
	if (ret <= 0)
		return 0;
	sched_issued(&s->sched, j->sched.dir, step->bytes);
	j->sched.is_issued = j->nr_issued == j->plan.nr_steps;
	return max_of(step->nr_ops, 1u);
}

/*
 * A portion of what may go.  Not all at once: a load of many blocks is thousands of operations, a microsecond of the
 * processor's each, and its first layer lands long before the last is issued.
 */
static bool issue(struct stage *s, enum stage_dir dir, uint32_t max)
{
	uint32_t nr = 0, now;
	struct stage_job *j;

	while (nr < max && (j = job_of(sched_next(&s->sched, dir)))) {
		now = issue_one(s, j);
		if (!now && j->state == JOB_ACTIVE)
			break;
		nr += now;
	}
	return nr > 0;
}

static unsigned nr_open(const struct stage *s)
{
	unsigned n = 0;

	for (unsigned i = 0; i < s->lim.nr_jobs; i++)
		n += s->job[i].state == JOB_ACTIVE || s->job[i].state == JOB_ENDING;
	return n;
}

unsigned stage_poll(struct stage *s)
{
	int ret;

	s->is_issuing = false;
	if (s->error)
		return 0;
	ret = land(s, STAGE_H2D);
	if (ret >= 0)
		ret = land(s, STAGE_D2H);
	if (ret < 0) {
		lost(s, ret);
		return 0;
	}
	s->is_issuing = issue(s, STAGE_H2D, POLL_OPS);
	s->is_issuing |= issue(s, STAGE_D2H, POLL_OPS);
	return nr_open(s);
}

uint32_t stage_ways(const struct stage *s)
{
	return s->ways;
}

bool stage_is_issuing(const struct stage *s)
{
	return s->is_issuing;
}

const struct kmod *stage_kmod(const struct stage *s)
{
	return s->has_kmod ? &s->kmod : NULL;
}

int stage_error(const struct stage *s)
{
	return s->error;
}

/* ---- submit ------------------------------------------------------------------------------------------------------- */

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

	if (h->is_pinned || h->is_device)
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

/* What lies on the device is reached at the device's pace. */
static struct stage_cost cost_of(const struct stage *s, const struct stage_host *h)
{
	struct stage_cost c = s->lim.cost ? *s->lim.cost : stage_cost_default;

	if (h->is_device)
		c.link_bytes_per_ns = c.direct_bytes_per_ns = c.device_bytes_per_ns;
	return c;
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
	const struct stage_cost cost = cost_of(s, w->host);
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
	if (w->host->is_device)
		caps.ways &= ~STAGE_MAY(STAGE_WAY_LAND);
	if (j->is_bounced)
		caps.ways = (caps.ways & STAGE_MAY(STAGE_WAY_LAND)) | STAGE_MAY(STAGE_WAY_COPY);
	return stage_plan_make(&s->layout, &req, &caps, &cost, &j->plan);
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
	issue(s, w->dir, SUBMIT_OPS);
	*ret_job = j;
	return 0;
}

/* ---- what became of it ---------------------------------------------------------------------------------------------- */

int stage_job_state(const struct stage_job *j)
{
	return j->error ? j->error : j->state == JOB_OVER;
}

static const struct stage_step *step_of(const struct stage_job *j, uint32_t layer, uint32_t *ret_step)
{
	for (uint32_t i = 0; i < j->plan.nr_steps; i++) {
		const struct stage_step *step = &j->plan.steps[i];

		if (layer >= step->first_layer && layer < step->first_layer + step->nr_layers) {
			*ret_step = i;
			return step;
		}
	}
	return NULL;
}

int stage_job_layer(const struct stage_job *j, uint32_t layer)
{
	uint32_t step;

	if (!step_of(j, layer, &step) || step < j->nr_landed)
		return 1;
	return j->error;
}

bool stage_job_is_over(const struct stage_job *j)
{
	return j->state == JOB_OVER || j->state == JOB_FREE;
}

bool stage_job_is_lost(const struct stage_job *j)
{
	return j->state == JOB_LOST;
}

struct waiting {
	struct stage_job *job;
	uint32_t layer;
};

/* Does not return, to be slept upon, while there is something to issue. */
static int poll_layer(void *arg)
{
	const struct waiting *w = arg;
	int ret;

	do {
		stage_poll(w->job->stage);
		ret = w->layer == UINT32_MAX ? stage_job_state(w->job) : stage_job_layer(w->job, w->layer);
	} while (!ret && stage_is_issuing(w->job->stage));
	return ret;
}

int stage_job_wait(struct stage_job *j, uint32_t layer, uint64_t deadline_ns)
{
	struct waiting w = { j, layer };

	return poll_until(poll_layer, &w, deadline_ns);
}

static int poll_over(void *arg)
{
	struct stage_job *j = arg;

	stage_poll(j->stage);
	return stage_job_is_lost(j) ? -ENOTRECOVERABLE : stage_job_is_over(j);
}

int stage_job_wait_over(struct stage_job *j, uint64_t deadline_ns)
{
	int ret = poll_until(poll_over, j, deadline_ns);

	return ret > 0 ? 0 : ret;
}

int stage_job_block(struct stage_job *j, uint32_t layer, CUstream stream)
{
	uint32_t step;

	if (!step_of(j, layer, &step) || step < j->nr_landed)
		return 0;
	while (!j->error && step >= j->nr_issued && issue(j->stage, j->sched.dir, POLL_OPS))
		;
	if (j->error)
		return j->error;
	if (step >= j->nr_issued)
		return -EAGAIN;
	/* of a bounced save: the engine's blocks are free then, the host's bytes still in a slice */
	return gpu_event_block(&j->event[step], stream);
}

void stage_job_cancel(struct stage_job *j)
{
	job_end(j, -ECANCELED);
}

void stage_job_put(struct stage_job *j)
{
	if (!j)
		return;
	j->is_put = true;
	stage_job_cancel(j);
	if (j->state == JOB_OVER)
		j->state = JOB_FREE;
}

void stage_job_info(const struct stage_job *j, struct stage_job_info *ret)
{
	*ret = (struct stage_job_info){
		.way = j->plan.way, .is_bounced = j->is_bounced, .nr_steps = j->plan.nr_steps,
		.nr_copies = j->plan.nr_copies, .nr_launches = j->plan.nr_launches, .bytes = j->plan.bytes,
		.cost_ns = j->plan.cost_ns,
	};
}

/* ---- the end of it all ------------------------------------------------------------------------------------------------ */

static int poll_all(void *arg)
{
	struct stage *s = arg;

	return stage_poll(s) ? 0 : 1;
}

int stage_destroy(struct stage *s, uint64_t deadline_ns)
{
	int ret;

	if (!s)
		return 0;
	ret = poll_until(poll_all, s, deadline_ns);
	for (unsigned i = 0; ret < 0 && i < s->lim.nr_jobs; i++)
		if (s->job[i].state == JOB_ACTIVE)
			stage_job_cancel(&s->job[i]);
	if (ret < 0)
		return ret;
	for (unsigned i = 0; i < s->lim.nr_jobs; i++)
		if (s->job[i].state == JOB_LOST)
			return -ENOTRECOVERABLE;
	stage_free(s);
	return 0;
}
