/* SPDX-License-Identifier: Apache-2.0 */
/* stage_priv.h - what a stage and its jobs are made of, and what its files call of each other; for stage*.c only */
#ifndef GPU_STAGE_PRIV_H
#define GPU_STAGE_PRIV_H

#include "gpu/bounce.h"
#include "gpu/event.h"
#include "gpu/kmod.h"
#include "gpu/own_mem.h"
#include "gpu/stage.h"
#include "gpu/stage_sched.h"
#include "gpu/stream.h"

enum job_state {
	JOB_FREE,
	JOB_ACTIVE,			/* steps to issue or to land */
	JOB_ENDING,			/* failed or cancelled: what was issued is waited for */
	JOB_OVER,
	JOB_LOST,
};

struct stage_job {
	struct sched_job sched;
	struct stage *stage;
	enum job_state state;
	int error;
	bool is_bounced, is_put;	/* is_put: the caller is done with it */
	bool is_unmarked;		/* ending: no event, the stream is asked */
	struct stage_host host;
	uint64_t *word, ticket;
	uint32_t first_layer, nr_layers;
	uint32_t nr_issued, nr_landed;	/* steps */
	uint32_t at_op;			/* bounced: of the step being issued */
	uint64_t at_byte;
	uint64_t end_seq;		/* ending, bounced */
	struct stage_plan plan;
	struct gpu_event *event;	/* [max_steps] */
	uint64_t *seq;			/* [max_steps], bounced: when its slices are drained */
	struct gpu_event after, end;
};

struct stage_side {			/* one direction */
	struct gpu_stream stream;
	struct bounce *bounce;
	uint64_t landing;
};

struct stage {
	const struct gpu_ctx *ctx;
	struct gpu_layout layout;
	struct stage_limits lim;
	struct stage_sched sched;
	struct stage_side side[2];	/* enum stage_dir */
	struct kmod kmod;
	bool has_kmod;
	int error;			/* the device is lost */
	bool is_issuing;		/* the last poll did, and may go on */
	uint32_t ways;			/* that the driver has */
	/* one call's arguments for cuMemcpyBatchAsync */
	CUdeviceptr *batch_dst, *batch_src;
	size_t *batch_len;
	/* pinned: bounce slices of both directions, then the jobs' tables */
	struct own_pinned pinned;
	struct stage_job job[];
};

static inline struct stage_side *side_of(struct stage_job *j)
{
	return &j->stage->side[j->sched.dir];
}

/* stage.c: the ends of a job */

/* Words of @nr layers from @first on. */
void words_set(const struct stage_job *j, uint32_t first, uint32_t nr, uint64_t value);

/* Nothing more of it is issued; what was issued gets a mark behind it.  No effect unless it is active. */
void job_end(struct stage_job *j, int error);

/* The device has passed the mark. */
void job_over(struct stage_job *j);

/* So is the device, with what is in flight. */
void stage_lost(struct stage *s, int error);

/* stage_poll.c: a portion of what may go, @max operations or the step that exceeds them.  Return: how many. */
uint32_t issue_portion(struct stage *s, enum stage_dir dir, uint32_t max);

/* stage_issue.c: the next step of a job.  Return: 1 it is issued; 0 it waits for a bounce slice; -errno. */
int issue_step(struct stage_job *j);

/* stage_create.c */
void stage_free(struct stage *s);

#endif
