/* SPDX-License-Identifier: Apache-2.0 */
/* bounce.c - copies to and from what the device cannot reach, through pinned slices */
#include "gpu/bounce.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "gpu/event.h"
#include "kvshm/base/compiler.h"

#define PARTS 256u			/* pieces of one slice */
#define ALIGN 256u			/* of a piece, for the copy engine */

struct part {				/* D2H: where it goes when the slice has landed */
	struct bounce_rows host;
	size_t at;			/* in the slice */
};

enum slice_state { SLICE_FREE, SLICE_FILLING, SLICE_FLYING };

struct slice {
	enum slice_state state;
	bool is_unmarked;		/* its event could not be recorded: the stream is asked instead */
	struct gpu_event event;
	size_t used;
	unsigned nr_parts;
	struct part part[PARTS];
};

struct bounce {
	struct gpu_stream *stream;
	enum stage_dir dir;
	struct bounce_end end;
	char *base;
	size_t slice_len;
	unsigned nr;
	uint64_t first, next;		/* slices in use: numbers first .. next - 1, modulo nr */
	struct slice slice[];
};

static struct slice *slice_of(struct bounce *b, uint64_t number)
{
	return &b->slice[number % b->nr];
}

static char *slice_at(struct bounce *b, const struct slice *s)
{
	return b->base + (size_t)(s - b->slice) * b->slice_len;
}

/* Packed rows between slice and memory of this process. */
static int move_memory(void *arg, enum stage_dir dir, char *slice, const struct bounce_rows *r)
{
	char *host = (char *)(uintptr_t)r->at;

	(void)arg;
	for (size_t i = 0; i < r->rows; i++)
		memcpy(dir == STAGE_H2D ? slice + i * r->len : host + i * r->pitch,
		       dir == STAGE_H2D ? host + i * r->pitch : slice + i * r->len, r->len);
	return 0;
}

int bounce_create(struct gpu_stream *s, enum stage_dir dir, void *base, size_t slice_len, unsigned nr,
		  const struct bounce_end *end, struct bounce **ret)
{
	struct bounce *b = calloc(1, sizeof(*b) + nr * sizeof(b->slice[0]));
	int err = 0;

	if (!b)
		return -ENOMEM;
	*b = (struct bounce){ .stream = s, .dir = dir, .base = base, .slice_len = slice_len, .nr = nr };
	b->end = end ? *end : (struct bounce_end){ .move = move_memory };
	for (unsigned i = 0; i < nr && !err; i++)
		err = gpu_event_open(s->ctx, GPU_EVENT_PLAIN, &b->slice[i].event);
	if (err < 0) {
		bounce_destroy(b);
		return err;
	}
	*ret = b;
	return 0;
}

void bounce_destroy(struct bounce *b)
{
	if (!b)
		return;
	for (unsigned i = 0; i < b->nr; i++)
		gpu_event_close(&b->slice[i].event);
	free(b);
}

/* The slice that is being filled, or a fresh one.  NULL: all are in flight. */
static struct slice *filling(struct bounce *b)
{
	struct slice *s;

	if (b->next > b->first && slice_of(b, b->next - 1)->state == SLICE_FILLING)
		return slice_of(b, b->next - 1);
	if (b->next - b->first == b->nr)
		return NULL;
	s = slice_of(b, b->next++);
	s->state = SLICE_FILLING;
	s->is_unmarked = false;
	s->used = 0;
	s->nr_parts = 0;
	return s;
}

static int seal(struct bounce *b, struct slice *s)
{
	int ret = gpu_event_record(&s->event, b->stream);

	s->state = SLICE_FLYING;
	s->is_unmarked = ret < 0;
	return ret;
}

static int submit(struct bounce *b, const struct stage_op *op, const struct bounce_rows *p, uint64_t dev, uint64_t slice)
{
	bool is_in = b->dir == STAGE_H2D;
	enum gpu_dir dir = is_in ? GPU_H2D : GPU_D2H;
	struct gpu_copy_2d r = {
		.dst = is_in ? dev : slice, .src = is_in ? slice : dev, .width = p->len, .rows = p->rows,
		.dst_pitch = is_in ? op->dev_pitch : p->len, .src_pitch = is_in ? p->len : op->dev_pitch,
	};
	struct gpu_copy c;
	int ret = p->rows > 1 ? gpu_stream_copy_2d(b->stream, dir, &r) : -EOPNOTSUPP;

	for (size_t i = 0; ret == -EOPNOTSUPP && i < p->rows; i++) {
		c = (struct gpu_copy){ r.dst + i * r.dst_pitch, r.src + i * r.src_pitch, p->len };
		ret = gpu_stream_copy(b->stream, dir, &c);
		if (ret < 0 || i + 1 == p->rows)
			return ret;
		ret = -EOPNOTSUPP;
	}
	return ret;
}

/* As much of the operation from @at on as the slice has room for. */
static struct bounce_rows cut(const struct stage_op *op, uint64_t at, size_t room)
{
	uint64_t rows = op->kind == STAGE_OP_RECT ? op->rows : 1, row = at / op->len, off = at % op->len;
	struct bounce_rows p = { .rows = 1, .pitch = op->arena_pitch };

	p.at = op->arena + row * op->arena_pitch + off;
	p.len = (size_t)min_of(op->len - off, (uint64_t)room);
	if (!off && p.len == op->len)
		p.rows = (size_t)min_of(rows - row, (uint64_t)(room / op->len));
	return p;
}

static int push_part(struct bounce *b, struct slice *s, uint64_t host, const struct stage_op *op, uint64_t *at)
{
	struct part p = { .host = cut(op, *at, b->slice_len - s->used), .at = s->used };
	const size_t len = p.host.len * p.host.rows;
	uint64_t dev = op->dev + *at / op->len * op->dev_pitch + *at % op->len;
	char *mem = slice_at(b, s) + s->used;
	int ret = 0;

	p.host.at += host;
	if (b->dir == STAGE_H2D)
		ret = b->end.move(b->end.arg, b->dir, mem, &p.host);
	if (ret < 0)
		return ret;
	/* room and part are taken even if the driver refuses: some rows may be under way */
	s->used = min_of(round_up(s->used + len, (size_t)ALIGN), b->slice_len);
	ret = submit(b, op, &p.host, dev, (uintptr_t)mem);
	if (ret < 0)
		return ret;
	s->part[s->nr_parts++] = p;
	*at += len;
	return 0;
}

int bounce_push(struct bounce *b, uint64_t host, const struct stage_op *op, uint64_t *at)
{
	uint64_t total = op->len * (op->kind == STAGE_OP_RECT ? op->rows : 1);
	struct slice *s;
	int ret;

	while (*at < total) {
		s = filling(b);
		if (!s)
			return 0;
		if (s->used == b->slice_len || s->nr_parts == PARTS)
			ret = seal(b, s);
		else
			ret = push_part(b, s, host, op, at);
		if (ret < 0)
			return ret;
	}
	return 1;
}

int bounce_flush(struct bounce *b, uint64_t *ret_seq)
{
	struct slice *s = b->next > b->first ? slice_of(b, b->next - 1) : NULL;

	*ret_seq = b->next;
	return s && s->state == SLICE_FILLING ? seal(b, s) : 0;
}

static int copy_out(struct bounce *b, const struct slice *s)
{
	int ret = 0;

	for (unsigned i = 0; i < s->nr_parts && ret == 0; i++)
		ret = b->end.move(b->end.arg, b->dir, slice_at(b, s) + s->part[i].at, &s->part[i].host);
	return ret;
}

int bounce_drain(struct bounce *b)
{
	while (b->first < b->next) {
		struct slice *s = slice_of(b, b->first);
		int ret;

		if (s->state != SLICE_FLYING)
			return 0;
		ret = s->is_unmarked ? gpu_stream_poll(b->stream) : gpu_event_poll(&s->event);
		if (ret <= 0)
			return ret;
		s->state = SLICE_FREE;
		b->first++;
		ret = b->dir == STAGE_D2H ? copy_out(b, s) : 0;
		if (ret < 0)
			return ret;
	}
	return 0;
}

bool bounce_has_drained(const struct bounce *b, uint64_t seq)
{
	return b->first >= seq;
}
