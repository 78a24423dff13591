/* SPDX-License-Identifier: Apache-2.0 */
/*
 * stage_sched.h - which job's next step goes onto a stream, and how many bytes may be in flight
 *
 * A step of the engine waits for loads, nobody waits for write-behind puts, and both share the link to the host's
 * memory.  So loads go at once and in order; puts go while the bytes of theirs in flight stay under a limit, a low one
 * while any load is unfinished.  The low limit is not zero: puts hold grants, and must end some day.
 *
 * Knows no device: queue and arithmetic of one thread.
 */
#ifndef GPU_STAGE_SCHED_H
#define GPU_STAGE_SCHED_H

#include <stdbool.h>
#include <stdint.h>

#include "gpu/stage_plan.h"

struct sched_job {			/* part of a job; the scheduler's while it is queued */
	struct sched_job *next;
	enum stage_dir dir;
	bool is_issued;			/* no further step */
};

struct sched_queue {
	struct sched_job *first, *last;	/* in order of submission, until removed */
	uint64_t flying;		/* bytes issued and not landed */
};

struct stage_sched {
	struct sched_queue queue[2];	/* enum stage_dir */
	uint64_t put_max, put_max_loading;
};

/* @put_max: bytes of puts in flight at most; @put_max_loading: the same while there are loads. */
void sched_init(struct stage_sched *s, uint64_t put_max, uint64_t put_max_loading);

/* Behind all of its direction. */
void sched_add(struct stage_sched *s, struct sched_job *j);

/* It has landed or is given up; let be if it is not queued. */
void sched_remove(struct stage_sched *s, struct sched_job *j);

/* The first job of a direction that still has a step to issue, NULL: none. */
struct sched_job *sched_next(const struct stage_sched *s, enum stage_dir dir);

/* May a step of @bytes go now?  One step of a put always may while none is in flight. */
bool sched_may(const struct stage_sched *s, enum stage_dir dir, uint64_t bytes);

void sched_issued(struct stage_sched *s, enum stage_dir dir, uint64_t bytes);
void sched_landed(struct stage_sched *s, enum stage_dir dir, uint64_t bytes);

#endif
