/* SPDX-License-Identifier: Apache-2.0 */
/*
 * gpu.h - the GPU sides of a handle
 *
 *   kvshm ── gpu ─▶ kvshm_gpu ── mem ─▶ gpu_mem (a content's arena, what of it is pinned)
 *			       └─ job[] ─▶ kvshm_stage (pins, granted blocks; its stage_job of gpu/)
 *
 * A gpu_mem holds its content mapped, so that an arena of a daemon that is gone stays where the device reads it.
 */
#ifndef KVSHM_CLIENT_GPU_H
#define KVSHM_CLIENT_GPU_H

#include <kvshm/gpu.h>

#include "gpu/stage.h"
#include "kvshm/client/client.h"

struct gpu_mem {
	struct gpu_mem *next;
	struct content *content;	/* held */
	struct hostreg *reg;		/* NULL: this driver pins nothing */
	struct stage_host host;
	uint64_t *seams;		/* bases of extents, [max_extents] */
	uint32_t nr_added;		/* extents given to .reg */
	unsigned nr_jobs;
	bool is_mapped;			/* all extents were asked for their device address */
};

/* The library's own memory for saves that go through kvshm_put(). */
struct gpu_buffer {
	char *base;
	size_t len, slot_len;
	uint32_t nr, nr_free;
	uint32_t *free;
	struct hostreg *reg;
	struct stage_host host;
};

enum stage_phase { STAGE_UNUSED, STAGE_FLYING, STAGE_DONE };

struct gpu_part {			/* a save of one group */
	uint32_t ns, flags;
	bool has_parent, is_buffered;
	struct kvshm_key parent;
	unsigned first, nr;		/* in .keys, .blocks */
	uint64_t user_data;
};

struct kvshm_stage {
	struct kvshm_gpu *g;
	enum stage_phase phase;
	enum stage_dir dir;
	bool is_ended;			/* the caller is done with it */
	bool is_keep;
	bool is_bounced;
	bool is_held;			/* counted as such */
	struct stage_job *job;
	struct gpu_mem *mem;		/* NULL: the buffer */
	int error;			/* after landing: of commit or put */
	uint32_t nr_pins, nr_parts, nr_blocks;
	uint64_t bytes;
	struct kvshm_pin *pins;		/* [max_blocks] */
	struct gpu_part part[KVSHM_GPU_GROUPS_MAX];
	struct kvshm_key *keys;		/* [max_blocks] */
	struct kvshm_block *blocks;	/* [max_blocks]; buffered: .id is the slot */
};

/* What stands on a side and is closed before it. */
struct gpu_user {
	struct gpu_user *next;
	void (*close)(struct gpu_user *u);	/* takes itself off */
};

struct kvshm_gpu {
	struct kvshm_gpu *next;
	struct kvshm *k;
	struct gpu_user *users;
	struct gpu_user *behind;	/* that left something behind: so are device and context */
	int left;			/* the first one's error */
	struct cuda cu;
	struct gpu_ctx ctx;
	struct gpu_layout layout;
	struct stage *stage;
	struct gpu_mem *mem;
	struct gpu_buffer buffer;	/* made at the first save that needs it */
	uint32_t max_jobs, max_blocks, timeout_ms;
	uint64_t bounce_len;
	struct stage_cost cost;
	struct kvshm_gpu_facts info;	/* counters, and what does not change */
	struct stage_item *items;	/* of the call, [max_blocks] */
	const void **src;		/* of a put, [max_blocks] */
	struct kvshm_stage job[];
};

/* gpu_mem.c */

/* The arena of a content, all of its extents on their way.  Return: 0, -ENOMEM. */
int gpu_mem_get(struct kvshm_gpu *g, struct content *c, struct gpu_mem **ret_m);
/* Those whose content is no longer current and that no job uses. */
void gpu_mem_reap(struct kvshm_gpu *g, uint64_t deadline_ns);
/* All.  Return: 0; -ETIMEDOUT: some are left behind. */
int gpu_mem_free(struct kvshm_gpu *g, uint64_t deadline_ns);
/* Return: 0, -ENOMEM. */
int gpu_buffer_make(struct kvshm_gpu *g);
int gpu_buffer_free(struct kvshm_gpu *g, uint64_t deadline_ns);

/* gpu_job.c */

/* See what has landed, finish it, issue more.  Return: jobs under way, -errno the device is lost. */
int gpu_pump(struct kvshm_gpu *g);
/* What is not over stays as it is until the process ends. */
void gpu_leave_behind(struct kvshm_gpu *g);
/* Return: 0 with an unused job and the caller's description checked; -errno. */
int gpu_job_begin(struct kvshm_gpu *g, enum stage_dir dir, const struct kvshm_stage_desc *desc,
		  struct kvshm_stage_desc *ret_d, struct kvshm_stage **ret_s);
/* One block of the list.  Return: 0; -EINVAL. */
int gpu_item_fill(const struct gpu_group *g, const struct kvshm_block *b, uint32_t engine_block, struct stage_item *i);
/* Return: 0: it flies; else as stage_submit(). */
int gpu_job_submit(struct kvshm_stage *s, const struct kvshm_stage_desc *d, const struct stage_host *host,
		   const struct stage_list *list);

/* gpu_load.c, gpu_save.c: give up what a job holds; from gpu_job.c alone, when the device is done with it */
void gpu_load_finish(struct kvshm_stage *s);
void gpu_save_finish(struct kvshm_stage *s, bool has_landed);

/* gpu.c */

void gpu_user_add(struct kvshm_gpu *g, struct gpu_user *u);
/* @error: 0, or why something of it is left behind: then @u stays. */
void gpu_user_remove(struct kvshm_gpu *g, struct gpu_user *u, int error);
/* At kvshm_close(). */
void gpu_close_all(struct kvshm *k);

#endif
