/* SPDX-License-Identifier: Apache-2.0 */
/* gpu_job.h - what a Job's files share: its life (gpu_job.c), arguments of both directions (gpu_args.c) */
#ifndef KVSHM_PYTHON_GPU_JOB_H
#define KVSHM_PYTHON_GPU_JOB_H

#include "kvshm/python/ext.h"

#define GROUPS KVSHM_GPU_GROUPS_MAX

struct job {
	PyObject_HEAD
	struct gpu *gpu;
	struct job *next, **prev;	/* in the side's list while .stage is there */
	struct kvshm_stage *stage;	/* NULL: ended with its side, or not begun */
};

struct job *job_create(struct gpu *g);
/* It has a .stage now.  With the client's lock. */
void job_begin(struct job *j);
/* What a method that begins it returns: the job, or NULL with an exception for @ret < 0 and the job let go. */
PyObject *job_result(struct job *j, const char *what, int ret);

struct how {				/* keywords of both directions */
	struct kvshm_stage_desc desc;
	unsigned long long stream;
	int after;
	unsigned long long tag;
};

void how_fill(struct how *h);
/* Engine blocks.  Return: an array of *ret_nr for PyMem_Free(), or NULL with an exception. */
uint32_t *engine_blocks_take(PyObject *obj, unsigned *ret_nr);
/* One entry for each group of the layout.  Return: a tuple; NULL. */
PyObject *entries_take(const struct gpu *g, const char *what, PyObject *obj);
/* Sets the exception.  Return: -1. */
int gpu_refuse_closed(const char *what);
/* Is it open?  Is the namespace of its client?  Return: 0; -1. */
int gpu_check(struct gpu *g, const char *what);
int gpu_check_client(const struct gpu *g, const char *what, const struct namespace *ns);

#endif
