/* SPDX-License-Identifier: Apache-2.0 */
/* stage_issue.c - one step of a plan onto its stream */
#include <errno.h>

#include "gpu/stage_priv.h"

static enum gpu_dir dir_of(const struct stage_job *j)
{
	if (j->host.is_device)
		return GPU_D2D;
	return j->sched.dir == STAGE_H2D ? GPU_H2D : GPU_D2H;
}

static int issue_copy(struct stage_job *j, const struct stage_op *op)
{
	bool is_in = j->sched.dir == STAGE_H2D;
	uint64_t host = j->host.base + op->arena;
	struct gpu_copy c = { .dst = is_in ? op->dev : host, .src = is_in ? host : op->dev, .len = op->len };

	return gpu_stream_copy(&side_of(j)->stream, dir_of(j), &c);
}

static int issue_rect(struct stage_job *j, const struct stage_op *op)
{
	bool is_in = j->sched.dir == STAGE_H2D;
	uint64_t host = j->host.base + op->arena;
	struct gpu_copy_2d c = {
		.dst = is_in ? op->dev : host, .src = is_in ? host : op->dev,
		.dst_pitch = is_in ? op->dev_pitch : op->arena_pitch, .src_pitch = is_in ? op->arena_pitch : op->dev_pitch,
		.width = op->len, .rows = op->rows,
	};

	return gpu_stream_copy_2d(&side_of(j)->stream, dir_of(j), &c);
}

static int issue_kernel(struct stage_job *j, const struct stage_op *op)
{
	return kmod_spread(&j->stage->kmod, &side_of(j)->stream, &j->plan.launches[op->launch]);
}

static int issue_op(struct stage_job *j, const struct stage_op *op)
{
	if (op->kind == STAGE_OP_COPY)
		return issue_copy(j, op);
	return op->kind == STAGE_OP_RECT ? issue_rect(j, op) : issue_kernel(j, op);
}

static int issue_ops(struct stage_job *j, const struct stage_step *step)
{
	int ret = 0;

	for (uint32_t i = 0; i < step->nr_ops && !ret; i++)
		ret = issue_op(j, &j->plan.ops[step->first_op + i]);
	return ret;
}

static int issue_batch(struct stage_job *j, const struct stage_step *step)
{
	const struct stage_op *ops = &j->plan.ops[step->first_op];
	struct stage *s = j->stage;
	bool is_in = j->sched.dir == STAGE_H2D;

	for (uint32_t i = 0; i < step->nr_ops; i++) {
		uint64_t host = j->host.base + ops[i].arena;

		s->batch_dst[i] = is_in ? ops[i].dev : host;
		s->batch_src[i] = is_in ? host : ops[i].dev;
		s->batch_len[i] = ops[i].len;
	}
	return gpu_stream_copy_batch(&side_of(j)->stream, dir_of(j), s->batch_dst, s->batch_src, s->batch_len, step->nr_ops);
}

/* Return: 1 all is on the stream, 0 no slice is free, -errno. */
static int issue_bounced(struct stage_job *j, const struct stage_step *step)
{
	struct bounce *b = side_of(j)->bounce;
	int ret = 1;

	while (j->at_op < step->nr_ops) {
		const struct stage_op *op = &j->plan.ops[step->first_op + j->at_op];

		ret = op->kind == STAGE_OP_KERNEL ? issue_kernel(j, op) < 0 ? -EIO : 1 :
			      bounce_push(b, j->host.base, op, &j->at_byte);
		if (ret <= 0)
			return ret;
		j->at_op++;
		j->at_byte = 0;
	}
	j->at_op = 0;
	ret = bounce_flush(b, &j->seq[j->nr_issued]);
	return ret < 0 ? ret : 1;
}

int issue_step(struct stage_job *j)
{
	const struct stage_step *step = &j->plan.steps[j->nr_issued];
	int ret;

	if (j->is_bounced) {
		ret = issue_bounced(j, step);
		if (ret <= 0)
			return ret;
	} else {
		ret = step->way == STAGE_WAY_BATCH ? issue_batch(j, step) : issue_ops(j, step);
	}
	if (ret >= 0)
		ret = gpu_event_record(&j->event[j->nr_issued], &side_of(j)->stream);
	if (ret < 0)
		return ret;
	j->nr_issued++;
	return 1;
}
