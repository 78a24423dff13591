/* SPDX-License-Identifier: Apache-2.0 */
/*
 * gpu_job.c - the jobs of a GPU side: begun, asked about, and when they give up what they hold
 *
 * The one rule: pins end and granted blocks leave only in finish(), which is called when stage_job_is_over().  No other
 * path of an error, a cancel or an end of the caller's interest touches them.
 */
#include <errno.h>

#include "gpu/poll.h"
#include "gpu/stage_word.h"
#include "kvshm/base/clock.h"
#include "kvshm/base/sized.h"
#include "kvshm/client/gpu.h"

/* ---- ends ---------------------------------------------------------------------------------------------------- */

static void count_end(struct kvshm_stage *s)
{
	struct kvshm_gpu_facts *n = &s->g->info;
	int state = stage_job_state(s->job);

	if (state > 0 && s->dir == STAGE_H2D) {
		n->in_bytes += s->bytes;
		n->in_blocks += s->nr_blocks;
		client_count(s->g->k, KVSHM_CC_GPU_IN_BYTES, s->bytes);
		client_count(s->g->k, KVSHM_CC_GPU_IN_BLOCKS, s->nr_blocks);
	} else if (state > 0) {
		n->out_bytes += s->bytes;
		n->out_blocks += s->nr_blocks;
		client_count(s->g->k, KVSHM_CC_GPU_OUT_BYTES, s->bytes);
		client_count(s->g->k, KVSHM_CC_GPU_OUT_BLOCKS, s->nr_blocks);
	} else if (state == -ECANCELED) {
		n->cancelled++;
	} else {
		n->failed++;
		client_count(s->g->k, KVSHM_CC_GPU_FAILED, 1);
	}
	if (state > 0 && s->is_bounced) {
		n->bounced_bytes += s->bytes;
		client_count(s->g->k, KVSHM_CC_GPU_BOUNCED, s->bytes);
	}
}

/* Nobody knows when, or whether, the device is done with it. */
static void count_held(struct kvshm_stage *s)
{
	if (s->is_held)
		return;
	s->is_held = true;
	s->g->info.held_jobs++;
	client_count(s->g->k, KVSHM_CC_GPU_HELD, 1);
}

static void recycle(struct kvshm_stage *s)
{
	stage_job_put(s->job);
	s->job = NULL;
	s->phase = STAGE_UNUSED;
}

/* The device touches its memory no more. */
static void finish(struct kvshm_stage *s)
{
	count_end(s);
	s->phase = STAGE_DONE;
	if (s->mem)
		s->mem->nr_jobs--;
	if (s->dir == STAGE_H2D)
		gpu_load_finish(s);
	else
		gpu_save_finish(s, stage_job_state(s->job) > 0);
	if (s->is_ended)
		recycle(s);
}

int gpu_pump(struct kvshm_gpu *g)
{
	int nr = 0;

	stage_poll(g->stage);
	for (uint32_t i = 0; i < g->max_jobs; i++) {
		struct kvshm_stage *s = &g->job[i];

		if (s->phase == STAGE_FLYING && stage_job_is_over(s->job))
			finish(s);
		if (s->phase == STAGE_FLYING && stage_job_is_lost(s->job))
			count_held(s);
		nr += s->phase == STAGE_FLYING;
	}
	return nr && stage_error(g->stage) ? stage_error(g->stage) : nr;
}

void gpu_leave_behind(struct kvshm_gpu *g)
{
	struct attachment *a;

	for (uint32_t i = 0; i < g->max_jobs; i++) {
		struct kvshm_stage *s = &g->job[i];

		if (s->phase != STAGE_FLYING)
			continue;
		count_held(s);
		if (!s->mem)
			continue;
		for (uint32_t n = 0; n < s->nr_pins; n++)
			if ((a = attachment_find(g->k, s->pins[n].epoch)))
				a->is_left = true;
		for (uint32_t n = 0; s->dir == STAGE_D2H && n < s->nr_blocks; n++)
			if ((a = attachment_find(g->k, s->blocks[n].resv)))
				a->is_left = true;
	}
}

/* ---- begin --------------------------------------------------------------------------------------------------- */

static int desc_take(const struct kvshm_stage_desc *desc, struct kvshm_stage_desc *ret)
{
	static const struct kvshm_stage_desc none = { .sz = sizeof(none) };
	int err = sized_take(desc ? desc : &none, offsetof(struct kvshm_stage_desc, engine_stream), ret, sizeof(*ret));

	if (err < 0)
		return err;
	return ret->flags & ~(KVSHM_STAGE_AFTER | KVSHM_STAGE_KEEP) || ret->ticket & STAGE_WORD_FAILED ? -EINVAL : 0;
}

static struct kvshm_stage *unused(struct kvshm_gpu *g)
{
	for (uint32_t i = 0; i < g->max_jobs; i++)
		if (g->job[i].phase == STAGE_UNUSED)
			return &g->job[i];
	return NULL;
}

/* Return: 0 with an unused job and the caller's description checked; -errno. */
int gpu_job_begin(struct kvshm_gpu *g, enum stage_dir dir, const struct kvshm_stage_desc *desc,
		     struct kvshm_stage_desc *ret_d, struct kvshm_stage **ret_s)
{
	struct kvshm_stage *s;
	int ret;

	if (client_is_forked(g->k))
		return -EOWNERDEAD;
	ret = desc_take(desc, ret_d);
	if (ret < 0)
		return ret;
	if (stage_error(g->stage))
		return stage_error(g->stage);
	s = unused(g);
	if (!s) {
		gpu_pump(g);
		s = unused(g);
	}
	if (!s)
		return stage_error(g->stage) ? stage_error(g->stage) : -EBUSY;
	s->dir = dir;
	s->is_ended = s->is_held = false;
	s->is_keep = ret_d->flags & KVSHM_STAGE_KEEP;
	s->mem = NULL;
	s->error = 0;
	s->nr_pins = s->nr_parts = s->nr_blocks = 0;
	*ret_s = s;
	return 0;
}

/* One block of the list.  Return: 0; -EINVAL. */
int gpu_item_fill(const struct gpu_group *g, const struct kvshm_block *b, uint32_t engine_block, struct stage_item *i)
{
	if (b->length < g->arena_len || !b->tokens || b->tokens > g->nr_tokens)
		return -EINVAL;
	*i = (struct stage_item){ .arena = b->arena_offset, .block = engine_block,
				  .nr_tokens = (uint16_t)(b->tokens == g->nr_tokens ? 0 : b->tokens) };
	return 0;
}

int gpu_job_submit(struct kvshm_stage *s, const struct kvshm_stage_desc *d, const struct stage_host *host,
		  const struct stage_list *list)
{
	struct stage_work w = {
		.dir = s->dir, .host = host, .list = list, .first_layer = d->first_layer, .nr_layers = d->nr_layers,
		.layers_per_step = d->layers_per_step, .has_after = d->flags & KVSHM_STAGE_AFTER, .after = d->engine_stream,
		.word = d->word, .ticket = d->ticket,
	};
	struct kvshm_gpu *g = s->g;
	struct stage_job_info info;
	int ret = stage_submit(g->stage, &w, &s->job);

	if (ret < 0)
		return ret;
	stage_job_info(s->job, &info);
	s->bytes = info.bytes;
	g->info.copies += info.nr_copies;
	g->info.launches += info.nr_launches;
	s->is_bounced = info.is_bounced;
	s->phase = STAGE_FLYING;
	if (s->mem)
		s->mem->nr_jobs++;
	return 0;
}

/* ---- questions ----------------------------------------------------------------------------------------------- */

struct waiting {
	struct kvshm_stage *s;
	uint32_t layer;
};

static int look(const struct kvshm_stage *s, uint32_t layer)
{
	int ret;

	if (layer != KVSHM_STAGE_ALL)
		return stage_job_layer(s->job, layer);
	ret = stage_job_state(s->job);
	if (ret > 0)
		ret = s->error ? s->error : s->phase == STAGE_DONE;
	return ret;
}

static int poll_stage(void *arg)
{
	const struct waiting *w = arg;
	int ret;

	do {
		gpu_pump(w->s->g);
		ret = look(w->s, w->layer);
	} while (!ret && stage_is_issuing(w->s->g->stage));
	return ret;
}

__public int kvshm_stage_wait(struct kvshm_stage *s, uint32_t layer, unsigned timeout_us)
{
	struct waiting w = { s, layer };
	int ret;

	if (client_is_forked(s->g->k))
		return -EOWNERDEAD;
	ret = timeout_us ? poll_until(poll_stage, &w, clock_ns() + (uint64_t)timeout_us * 1000u) : poll_stage(&w);
	return ret == -ETIMEDOUT ? 0 : ret;
}

__public int kvshm_stage_block(struct kvshm_stage *s, uint32_t layer, void *engine_stream)
{
	if (client_is_forked(s->g->k))
		return -EOWNERDEAD;
	return stage_job_block(s->job, layer, engine_stream);
}

__public int kvshm_stage_cancel(struct kvshm_stage *s)
{
	if (client_is_forked(s->g->k))
		return -EOWNERDEAD;
	gpu_pump(s->g);
	stage_job_cancel(s->job);
	return stage_job_state(s->job) > 0;
}

__public int kvshm_stage_is_over(struct kvshm_stage *s)
{
	if (client_is_forked(s->g->k))
		return -EOWNERDEAD;
	gpu_pump(s->g);
	if (stage_job_is_lost(s->job))
		return -ENOTRECOVERABLE;
	return s->phase == STAGE_DONE;
}

__public void kvshm_stage_end(struct kvshm_stage *s)
{
	if (!s || client_is_forked(s->g->k))
		return;
	s->is_ended = true;
	if (s->dir == STAGE_H2D)
		stage_job_cancel(s->job);
	if (s->phase == STAGE_DONE)
		recycle(s);
}

__public int kvshm_stage_info(const struct kvshm_stage *s, struct kvshm_stage_facts *info)
{
	struct stage_job_info j;
	struct kvshm_stage_facts i;

	if (client_is_forked(s->g->k))
		return -EOWNERDEAD;
	if (info->sz != sizeof(i))
		return -EINVAL;
	stage_job_info(s->job, &j);
	i = (struct kvshm_stage_facts){ .sz = info->sz, .way = j.way, .is_bounced = j.is_bounced, .nr_steps = j.nr_steps,
				       .nr_copies = j.nr_copies, .nr_launches = j.nr_launches, .bytes = j.bytes };
	*info = i;
	return 0;
}

_Static_assert(KVSHM_STAGE_FAILED == STAGE_WORD_FAILED, "one word");

__public int kvshm_stage_word(const uint64_t *word, uint64_t ticket)
{
	return stage_word_look(word, ticket);
}
