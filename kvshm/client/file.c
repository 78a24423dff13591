/* SPDX-License-Identifier: Apache-2.0 */
/* file.c - a file of blocks for a GPU side */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <kvshm/direct.h>

#include "gpu/block_file.h"
#include "gpu/cufile_loader.h"
#include "gpu/poll.h"
#include "kvshm/base/clock.h"
#include "kvshm/base/sized.h"
#include "kvshm/client/gpu.h"

#define NR_SLOTS 8u
#define TIMEOUT_MS 5000u

struct kvshm_file {
	struct gpu_user user;
	struct kvshm_gpu *g;
	struct cufile cufile;
	struct block_file *f;
	uint32_t nr_slots, timeout_ms;
	bool is_direct;
	char why[128];
};

static bool is_forked(const struct kvshm_file *f)
{
	return client_is_forked(f->g->k);
}

/* ---- open -------------------------------------------------------------------------------------------------- */

static int options_take(const struct kvshm_file_options *opts, struct kvshm_file_options *ret)
{
	const uint32_t both = KVSHM_FILE_DIRECT | KVSHM_FILE_BOUNCE;
	int err = sized_take(opts, sizeof(*ret), ret, sizeof(*ret));

	if (err < 0)
		return err;
	if (ret->flags & ~(KVSHM_FILE_WRITE | both) || !ret->path || (ret->flags & both) == both)
		return -EINVAL;
	ret->nr_slots = ret->nr_slots ? ret->nr_slots : NR_SLOTS;
	ret->timeout_ms = ret->timeout_ms ? ret->timeout_ms : TIMEOUT_MS;
	return 0;
}

static int open_by(struct kvshm_file *f, const struct kvshm_file_options *o, const struct tier_ops *ops)
{
	const struct block_file_config cfg = {
		.ctx = &f->g->ctx, .layout = &f->g->layout, .cost = &f->g->cost, .group = o->group, .ops = ops,
		.cufile = &f->cufile, .path = o->path, .is_write = o->flags & KVSHM_FILE_WRITE, .nr_slots = o->nr_slots,
	};

	return block_file_open(&cfg, &f->f);
}

_Static_assert(sizeof(((struct kvshm_file *)0)->why) == sizeof(((struct cufile *)0)->why), "one text");

/* Return: 0; -EOPNOTSUPP: .why says why not. */
static int open_direct(struct kvshm_file *f, const struct kvshm_file_options *o)
{
	int ret = cufile_load(o->libcufile, &f->g->ctx, &f->cufile);

	if (ret < 0) {
		memcpy(f->why, f->cufile.why, sizeof(f->why));
		return -EOPNOTSUPP;
	}
	ret = open_by(f, o, &tier_cufile);
	f->is_direct = ret == 0;
	if (ret == -EOPNOTSUPP)
		snprintf(f->why, sizeof(f->why), "the library does not serve this file system");
	return ret;
}

static int open_either(struct kvshm_file *f, const struct kvshm_file_options *o)
{
	int ret = -EOPNOTSUPP;

	if (o->flags & KVSHM_FILE_BOUNCE)
		snprintf(f->why, sizeof(f->why), "the caller wants it through host memory");
	else
		ret = open_direct(f, o);
	if (ret == -EOPNOTSUPP && !(o->flags & KVSHM_FILE_DIRECT))
		ret = open_by(f, o, &tier_file);
	return ret;
}

static void close_by_side(struct gpu_user *u)
{
	kvshm_file_close(container_of(u, struct kvshm_file, user));
}

__public int kvshm_file_open(struct kvshm_gpu *g, const struct kvshm_file_options *opts, struct kvshm_file **ret_f)
{
	struct kvshm_file_options o;
	struct kvshm_file *f;
	int ret;

	if (client_is_forked(g->k))
		return -EOWNERDEAD;
	ret = options_take(opts, &o);
	if (ret < 0)
		return ret;
	f = calloc(1, sizeof(*f));
	if (!f)
		return -ENOMEM;
	f->g = g;
	f->nr_slots = o.nr_slots;
	f->timeout_ms = o.timeout_ms;
	ret = open_either(f, &o);
	if (ret < 0) {
		cufile_unload(&f->cufile);
		free(f);
		return ret;
	}
	f->user.close = close_by_side;
	gpu_user_add(g, &f->user);
	*ret_f = f;
	return 0;
}

__public int kvshm_file_close(struct kvshm_file *f)
{
	int ret;

	if (!f)
		return 0;
	if (is_forked(f))
		return -EOWNERDEAD;
	ret = block_file_close(f->f, clock_ns() + (uint64_t)f->timeout_ms * 1000000u);
	gpu_user_remove(f->g, &f->user, ret);
	/* a thread that is left behind uses the table */
	if (ret < 0)
		return ret;
	cufile_unload(&f->cufile);
	free(f);
	return 0;
}

/* ---- transfers ---------------------------------------------------------------------------------------------- */

__public int kvshm_file_load(struct kvshm_file *f, const uint64_t *places, const uint32_t *engine_blocks, unsigned nr)
{
	return is_forked(f) ? -EOWNERDEAD : block_file_start(f->f, false, places, engine_blocks, nr);
}

__public int kvshm_file_save(struct kvshm_file *f, const uint64_t *places, const uint32_t *engine_blocks, unsigned nr)
{
	return is_forked(f) ? -EOWNERDEAD : block_file_start(f->f, true, places, engine_blocks, nr);
}

static int poll_file(void *arg)
{
	return block_file_poll(arg);
}

/* The transfer's own -ETIMEDOUT, of a device that hangs, is no end of the wait. */
__public int kvshm_file_wait(struct kvshm_file *f, unsigned timeout_us)
{
	int ret;

	if (is_forked(f))
		return -EOWNERDEAD;
	ret = timeout_us ? poll_until(poll_file, f->f, clock_ns() + (uint64_t)timeout_us * 1000u) : -ETIMEDOUT;
	return ret == -ETIMEDOUT ? block_file_poll(f->f) : ret;
}

__public int kvshm_file_info(struct kvshm_file *f, struct kvshm_file_facts *info)
{
	struct kvshm_file_facts i = { .sz = info->sz, .is_direct = f->is_direct, .nr_slots = f->nr_slots };
	struct block_file_info n;

	if (is_forked(f))
		return -EOWNERDEAD;
	if (info->sz != sizeof(i))
		return -EINVAL;
	block_file_info(f->f, &n);
	i.stride = block_file_stride(f->f);
	i.in_blocks = n.in_blocks;
	i.out_blocks = n.out_blocks;
	i.in_bytes = n.in_bytes;
	i.out_bytes = n.out_bytes;
	if (f->is_direct)
		memcpy(i.how, f->cufile.how, sizeof(i.how));
	memcpy(i.why, f->why, sizeof(i.why));
	*info = i;
	return 0;
}
