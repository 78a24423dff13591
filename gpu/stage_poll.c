/* SPDX-License-Identifier: Apache-2.0 */
/*
 * stage_poll.c - what has landed, what may go, and waiting for it
 *
 * Jobs of a direction share a stream, so they land in the order of their submission, and a poll asks the driver about
 * the oldest mark only.
 */
#include <errno.h>

#include "gpu/poll.h"
#include "gpu/stage_priv.h"
#include "kvshm/base/compiler.h"

#define POLL_OPS 64u			/* operations of a direction in one call, at least a step */

static struct stage_job *job_of(struct sched_job *j)
{
	return j ? container_of(j, struct stage_job, sched) : NULL;
}

/* ---- landing ------------------------------------------------------------------------------------------------- */

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

/* ---- issuing ------------------------------------------------------------------------------------------------- */

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
uint32_t issue_portion(struct stage *s, enum stage_dir dir, uint32_t max)
{
	uint32_t nr = 0, now;
	struct stage_job *j;

	while (nr < max && (j = job_of(sched_next(&s->sched, dir)))) {
		now = issue_one(s, j);
		if (!now && j->state == JOB_ACTIVE)
			break;
		nr += now;
	}
	return nr;
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
		stage_lost(s, ret);
		return 0;
	}
	s->is_issuing = issue_portion(s, STAGE_H2D, POLL_OPS) > 0;
	s->is_issuing |= issue_portion(s, STAGE_D2H, POLL_OPS) > 0;
	return nr_open(s);
}

/* ---- waiting ------------------------------------------------------------------------------------------------- */

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

static uint32_t step_of(const struct stage_job *j, uint32_t layer)
{
	uint32_t i = 0;

	while (i < j->plan.nr_steps && layer >= j->plan.steps[i].first_layer + j->plan.steps[i].nr_layers)
		i++;
	return i;
}

int stage_job_block(struct stage_job *j, uint32_t layer, CUstream stream)
{
	const uint32_t step = step_of(j, layer);

	if (stage_job_layer(j, layer) > 0)
		return 0;
	while (!j->error && step >= j->nr_issued && issue_portion(j->stage, j->sched.dir, POLL_OPS))
		;
	if (j->error)
		return j->error;
	if (step >= j->nr_issued)
		return -EAGAIN;
	/* of a bounced save: the engine's blocks are free then, the host's bytes still in a slice */
	return gpu_event_block(&j->event[step], stream);
}
