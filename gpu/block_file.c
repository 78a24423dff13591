/* SPDX-License-Identifier: Apache-2.0 */
/* block_file.c - blocks between a file and an engine's paged KV */
#include "gpu/block_file.h"

#include <errno.h>
#include <stdlib.h>

#include "gpu/own_mem.h"
#include "gpu/stage.h"
#include "gpu/tier_lane.h"
#include "kvshm/base/compiler.h"

#define SLOT_ALIGN 65536u		/* of the memory: what the devices' windows are made of */
#define SLOTS_MAX 64u
#define BOUNCE_LEN 65536u		/* never used: slots are on the device */

enum slot_phase { SLOT_FREE, SLOT_IN_FILE, SLOT_IN_STAGE };

struct slot {
	enum slot_phase phase;
	struct stage_job *job;
	uint32_t n;			/* of the transfer */
};

struct block_file {
	const struct gpu_ctx *ctx;
	uint32_t group, nr_blocks;
	bool may_write;
	uint64_t stride, mem, base;	/* @mem as allocated, @base aligned */
	struct own_pinned pinned;
	struct stage *stage;
	struct stage_host host;
	struct tier_lanes *lanes;
	int lost;			/* for good */
	struct block_file_info info;
	/* the transfer */
	bool is_active, is_write;
	const uint64_t *places;
	const uint32_t *blocks;
	uint32_t nr, next;
	int error;
	unsigned nr_slots;
	struct slot slot[];
};

/* ---- open ------------------------------------------------------------------------------------------------ */

static int memory_make(struct block_file *f, const struct tier_ops *ops)
{
	const uint64_t len = f->nr_slots * f->stride;
	int ret = own_device_alloc(f->ctx, len + SLOT_ALIGN, &f->mem);

	f->base = round_up(f->mem, (uint64_t)SLOT_ALIGN);
	f->host = (struct stage_host){ .base = f->base, .dev = f->base, .span = len, .is_device = true };
	if (ret == 0 && ops->host_len)
		ret = own_pinned_create(f->ctx, f->nr_slots * ops->host_len, &f->pinned);
	return ret;
}

static int fill(struct block_file *f, const struct block_file_config *cfg)
{
	const struct stage_limits lim = {
		.nr_jobs = f->nr_slots, .nr_items = 1, .layers_per_step = cfg->layout->nr_layers, .bounce_len = BOUNCE_LEN,
		.put_max = UINT64_MAX, .put_max_loading = UINT64_MAX, .cost = cfg->cost,
	};
	struct tier_target t = { .ctx = f->ctx, .cufile = cfg->cufile, .path = cfg->path, .is_write = cfg->is_write };
	int ret = memory_make(f, cfg->ops);

	if (ret == 0)
		ret = stage_create(f->ctx, cfg->layout, &lim, &f->stage);
	if (ret < 0)
		return ret;
	t.addr = f->base;
	t.len = f->nr_slots * f->stride;
	t.host = f->pinned.base;
	return tier_lanes_create(cfg->ops, &t, f->nr_slots, &f->lanes);
}

int block_file_open(const struct block_file_config *cfg, struct block_file **ret)
{
	struct block_file *f;
	int err;

	if (cfg->group >= cfg->layout->nr_groups || !cfg->nr_slots || cfg->nr_slots > SLOTS_MAX)
		return -EINVAL;
	f = calloc(1, sizeof(*f) + cfg->nr_slots * sizeof(f->slot[0]));
	if (!f)
		return -ENOMEM;
	f->ctx = cfg->ctx;
	f->group = cfg->group;
	f->nr_blocks = cfg->layout->group[cfg->group].nr_blocks;
	f->stride = round_up(cfg->layout->group[cfg->group].arena_len, (uint64_t)TIER_ALIGN);
	f->nr_slots = cfg->nr_slots;
	f->may_write = cfg->is_write;
	err = fill(f, cfg);
	if (err < 0) {
		block_file_close(f, 0);
		return err;
	}
	*ret = f;
	return 0;
}

int block_file_close(struct block_file *f, uint64_t deadline_ns)
{
	int ret;

	if (!f)
		return 0;
	ret = tier_lanes_destroy(f->lanes, deadline_ns);
	if (ret == 0)
		ret = stage_destroy(f->stage, deadline_ns);
	if (ret < 0)
		return ret;
	own_device_free(f->ctx, f->mem);
	own_pinned_destroy(&f->pinned);
	free(f);
	return 0;
}

uint64_t block_file_stride(const struct block_file *f)
{
	return f->stride;
}

/* ---- transfers --------------------------------------------------------------------------------------------- */

int block_file_start(struct block_file *f, bool is_write, const uint64_t *places, const uint32_t *blocks, uint32_t nr)
{
	if (f->lost)
		return f->lost;
	if (f->is_active)
		return -EBUSY;
	if (is_write && !f->may_write)
		return -EROFS;
	for (uint32_t i = 0; i < nr; i++) {
		if (blocks[i] >= f->nr_blocks)
			return -EINVAL;
		if (places[i] >= (uint64_t)INT64_MAX / f->stride)
			return -EOVERFLOW;
	}
	f->is_active = true;
	f->is_write = is_write;
	f->places = places;
	f->blocks = blocks;
	f->nr = nr;
	f->next = 0;
	f->error = 0;
	return 0;
}

/* An operation may be refused by an error after which the device answers: it is not lost. */
static void slot_failed(struct block_file *f, unsigned i, int error)
{
	f->slot[i].phase = SLOT_FREE;
	if (!f->error)
		f->error = error == -ENOTRECOVERABLE ? -EIO : error;
}

static void to_file(struct block_file *f, unsigned i)
{
	f->slot[i].phase = SLOT_IN_FILE;
	tier_lane_start(f->lanes, i, f->is_write, f->places[f->slot[i].n] * f->stride, f->stride);
}

static void to_stage(struct block_file *f, unsigned i)
{
	const struct stage_item item = { .arena = i * f->stride, .block = f->blocks[f->slot[i].n] };
	struct stage_list list[GPU_GROUPS_MAX] = { 0 };
	const struct stage_work w = { .dir = f->is_write ? STAGE_D2H : STAGE_H2D, .host = &f->host, .list = list };
	int ret;

	list[f->group] = (struct stage_list){ &item, 1 };
	ret = stage_submit(f->stage, &w, &f->slot[i].job);
	f->slot[i].phase = SLOT_IN_STAGE;
	if (ret < 0)
		slot_failed(f, i, ret);
}

static void slot_done(struct block_file *f, unsigned i)
{
	struct block_file_info *n = &f->info;

	f->slot[i].phase = SLOT_FREE;
	*(f->is_write ? &n->out_blocks : &n->in_blocks) += 1;
	*(f->is_write ? &n->out_bytes : &n->in_bytes) += f->stride;
}

/* Return: has anything changed? */
static bool free_goes_on(struct block_file *f, unsigned i)
{
	if (!f->is_active || f->error || f->next == f->nr)
		return false;
	f->slot[i].n = f->next++;
	if (f->is_write)
		to_stage(f, i);
	else
		to_file(f, i);
	return true;
}

static bool file_goes_on(struct block_file *f, unsigned i)
{
	int ret = tier_lane_poll(f->lanes, i);

	if (ret == -ENOTRECOVERABLE || ret == -ETIMEDOUT)
		f->lost = ret;
	else if (ret < 0)
		slot_failed(f, i, ret);
	else if (ret > 0 && f->is_write)
		slot_done(f, i);
	else if (ret > 0)
		to_stage(f, i);
	return ret != 0;
}

static bool stage_goes_on(struct block_file *f, unsigned i)
{
	struct slot *s = &f->slot[i];
	int ret;

	if (!stage_job_is_over(s->job))
		return false;
	ret = stage_job_state(s->job);
	stage_job_put(s->job);
	if (ret < 0)
		slot_failed(f, i, ret);
	else if (f->is_write)
		to_file(f, i);
	else
		slot_done(f, i);
	return true;
}

static bool slot_goes_on(struct block_file *f, unsigned i)
{
	switch (f->slot[i].phase) {
	case SLOT_FREE:
		return free_goes_on(f, i);
	case SLOT_IN_FILE:
		return file_goes_on(f, i);
	case SLOT_IN_STAGE:
		return stage_goes_on(f, i);
	}
	return false;
}

static bool is_quiet(const struct block_file *f)
{
	for (unsigned i = 0; i < f->nr_slots; i++)
		if (f->slot[i].phase != SLOT_FREE)
			return false;
	return f->error || f->next == f->nr;
}

int block_file_poll(struct block_file *f)
{
	bool is_new;

	do {
		is_new = false;
		stage_poll(f->stage);
		for (unsigned i = 0; i < f->nr_slots && !f->lost; i++)
			is_new |= slot_goes_on(f, i);
		if (!f->lost)
			f->lost = stage_error(f->stage);
	} while (is_new && !f->lost);
	if (f->lost)
		return f->lost;
	if (!f->is_active)
		return 1;
	if (!is_quiet(f))
		return 0;
	f->is_active = false;
	return f->error ? f->error : 1;
}

void block_file_info(const struct block_file *f, struct block_file_info *ret)
{
	*ret = f->info;
}
