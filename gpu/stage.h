/* SPDX-License-Identifier: Apache-2.0 */
/*
 * stage.h - jobs that move blocks between host memory and an engine's paged KV
 *
 * A job is a list of {arena offset, engine block} and a direction.  It ends in one of three ways:
 *
 *   landed     all bytes are where they belong
 *   ended      an error or a cancel; what had been issued has landed, the rest was never issued
 *   lost       the context is gone with work in flight: nobody can say when the device last touches the memory, so
 *              the job never is over and its memory is kept until the process ends
 *
 * Only stage_job_is_over() says that the memory may be let go.  An error is told at once, long before that.
 *
 * A job goes step by step (one or more layers), each with an event on the device and a word for each layer in host
 * memory.  Everything is made in stage_create(); a submit allocates nothing and waits for nothing.  One thread at a
 * time, but for the words.
 */
#ifndef GPU_STAGE_H
#define GPU_STAGE_H

#include <stdbool.h>
#include <stdint.h>

#include "gpu/ctx.h"
#include "gpu/hostreg.h"
#include "gpu/layout.h"
#include "gpu/stage_plan.h"

struct kmod;
struct stage;
struct stage_job;

/* Memory that arena offsets count from.  Zero of a field is its default. */
struct stage_host {
	uint64_t base;			/* address of offset 0 in this process */
	uint64_t span;			/* bytes */
	uint64_t dev;			/* what kernels call it; 0: no kernel may reach it */
	struct hostreg *reg;		/* what of it is pinned; NULL: see @is_pinned */
	bool is_pinned;			/* all of it, by the caller */
	bool is_device;			/* memory of the stage's device, not of the host; .dev is .base, or 0 */
	const uint64_t *seams;		/* ascending offsets where registrations meet */
	uint32_t nr_seams;
};

struct stage_limits {			/* 0: the default of each field */
	uint32_t nr_jobs;		/* 8, not yet over */
	uint32_t nr_items;		/* 512 blocks a job, of all groups */
	uint32_t layers_per_step;	/* least that a job may ask for; 1 */
	uint32_t ways;			/* STAGE_MAY(), all that the driver has */
	uint64_t landing_len;		/* device memory for each direction, 0: none */
	uint64_t bounce_len;		/* pinned memory for each direction, 16 MiB */
	uint64_t put_max, put_max_loading;	/* bytes of puts in flight: 64 MiB, 4 MiB while loads wait */
	const struct stage_cost *cost;	/* NULL: stage_cost_default; outlives the stage */
};

struct stage_work {
	enum stage_dir dir;
	const struct stage_host *host;	/* until the job is over */
	const struct stage_list *list;	/* one for each group of the layout; read during the call */
	uint32_t first_layer, nr_layers;	/* nr_layers 0: to the last */
	uint32_t layers_per_step;	/* 0: all in one step, the fewest copies */
	bool has_after;			/* first comes what is on a stream of the engine now */
	CUstream after;
	uint64_t *word;			/* may be NULL; one for each layer of the model, until the job is over: stage_word.h */
	uint64_t ticket;		/* stored there when a layer has landed; failed: with STAGE_WORD_FAILED */
};

struct stage_job_info {
	enum stage_way way;
	bool is_bounced;
	uint32_t nr_steps, nr_copies, nr_launches;
	uint64_t bytes;
	double cost_ns;			/* as planned */
};

/**
 * stage_create() - streams, jobs and their arrays for one device and layout
 * @ctx: outlives it
 * @layout: checked by gpu_layout_check(); copied
 * Return: 0, -ENOMEM, -EOVERFLOW limits too large, -errno of the driver.
 */
int stage_create(const struct gpu_ctx *ctx, const struct gpu_layout *layout, const struct stage_limits *lim,
		 struct stage **ret);

/**
 * stage_destroy() - waits until all jobs are over
 * @deadline_ns: of CLOCK_MONOTONIC; what is not issued by then is dropped
 * NULL is let be.  Return: 0; -ETIMEDOUT, -ENOTRECOVERABLE: the device may still work on it, so everything is left
 * behind, the memory of jobs that are not over included.
 */
int stage_destroy(struct stage *s, uint64_t deadline_ns);

/**
 * stage_submit() - plan a job and start it
 * The first step is issued before the others are planned.  Issues the first portion, at least a step of a load that
 * needs no bounce slice; stage_poll() issues the rest.
 * @ret_job: the caller's until stage_job_put()
 * Return: 0; -EBUSY all jobs in use; -E2BIG too many blocks; -EINVAL, -EOPNOTSUPP, -ENOSPC as stage_plan_make() says of
 * the first step; -ENOTRECOVERABLE the device is lost.  An error of a later step, or while issuing, is the job's, not
 * the call's.
 */
int stage_submit(struct stage *s, const struct stage_work *w, struct stage_job **ret_job);

/* See what has landed, issue what may go.  Return: jobs that are not over and not lost. */
unsigned stage_poll(struct stage *s);

/* Did the last stage_poll() issue something?  Then there may be more, and whoever waits polls again before it sleeps. */
bool stage_is_issuing(const struct stage *s);

/* STAGE_MAY() of the ways that this driver has and the limits allow. */
uint32_t stage_ways(const struct stage *s);

/* The kernels of its context, NULL: none. */
const struct kmod *stage_kmod(const struct stage *s);

/* 0 well; else the error with which the device was lost. */
int stage_error(const struct stage *s);

/* By the last stage_poll(): 1 all has landed; 0 under way; -errno failed, -ECANCELED. */
int stage_job_state(const struct stage_job *j);

/* The same of one layer of the model; 1 also for a layer that the job does not touch. */
int stage_job_layer(const struct stage_job *j, uint32_t layer);

/* The device and we touch its memory no more. */
bool stage_job_is_over(const struct stage_job *j);

/* The device is lost: it will never be over. */
bool stage_job_is_lost(const struct stage_job *j);

/**
 * stage_job_wait() - until a layer has landed, or all with @layer of UINT32_MAX
 * Polls.  Return: 1; -ETIMEDOUT; -errno as stage_job_state().
 */
int stage_job_wait(struct stage_job *j, uint32_t layer, uint64_t deadline_ns);

/* Until the job is over, whatever its error.  Return: 0; -ETIMEDOUT; -ENOTRECOVERABLE: never. */
int stage_job_wait_over(struct stage_job *j, uint64_t deadline_ns);

/**
 * stage_job_block() - a stream of the engine waits for a layer, the processor does not
 * Issues what comes before it.  Return: 0; -EAGAIN: it cannot be issued yet (bounce slices, puts past their limit), and
 * its event would be no wait: stage_poll() and try again; -errno as stage_job_state().
 */
int stage_job_block(struct stage_job *j, uint32_t layer, CUstream stream);

/* Nothing more is issued.  No effect on one that has landed. */
void stage_job_cancel(struct stage_job *j);

/* The caller has no more use for it; a job that is not over is cancelled and used again when it is.  NULL is let be. */
void stage_job_put(struct stage_job *j);

void stage_job_info(const struct stage_job *j, struct stage_job_info *ret);

#endif
