/* SPDX-License-Identifier: Apache-2.0 */
/*
 * stage.c - the life of a job
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
 */
#include "gpu/stage.h"

#include <errno.h>

#include "gpu/poll.h"
#include "gpu/stage_priv.h"
#include "gpu/stage_word.h"

/* ---- words --------------------------------------------------------------------------------------------------- */

void words_set(const struct stage_job *j, uint32_t first, uint32_t nr, uint64_t value)
{
	for (uint32_t i = first; j->word && i < first + nr; i++)
		stage_word_set(&j->word[i], value);
}

/* The first layer that has not landed. */
static uint32_t landed_end(const struct stage_job *j)
{
	const struct stage_step *last;

	if (!j->nr_landed)
		return j->first_layer;
	last = &j->plan.steps[j->nr_landed - 1];
	return last->first_layer + last->nr_layers;
}

/* By layers: a job that ends early has steps that were never planned. */
static void words_fail(const struct stage_job *j)
{
	const uint32_t from = landed_end(j);

	words_set(j, from, j->first_layer + j->nr_layers - from, j->ticket | STAGE_WORD_FAILED);
}

/* ---- ends ---------------------------------------------------------------------------------------------------- */

static void unfly(struct stage_job *j)
{
	for (uint32_t i = j->nr_landed; i < j->nr_issued; i++)
		sched_landed(&j->stage->sched, j->sched.dir, j->plan.steps[i].bytes);
}

void job_over(struct stage_job *j)
{
	unfly(j);
	sched_remove(&j->stage->sched, &j->sched);
	j->word = NULL;
	j->state = j->is_put ? JOB_FREE : JOB_OVER;
}

/* Nothing more of it is issued; what was issued gets a mark behind it. */
void job_end(struct stage_job *j, int error)
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

void stage_lost(struct stage *s, int error)
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

/* ---- what became of it --------------------------------------------------------------------------------------- */

int stage_job_state(const struct stage_job *j)
{
	return j->error ? j->error : j->state == JOB_OVER;
}

int stage_job_layer(const struct stage_job *j, uint32_t layer)
{
	if (layer < landed_end(j) || layer >= j->first_layer + j->nr_layers)
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

/* ---- the stage ----------------------------------------------------------------------------------------------- */

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
