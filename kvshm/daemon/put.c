/* SPDX-License-Identifier: Apache-2.0 */
#include "kvshm/daemon/put.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "kvshm/base/atomic.h"
#include "kvshm/base/compiler.h"
#include "kvshm/cache/cache.h"
#include "kvshm/daemon/daemon.h"
#include "kvshm/daemon/place.h"
#include "kvshm/daemon/writer.h"

#define PLACE_RECORDS 32u /* places taken ahead of the bytes, in one grant */
#define PLACE_BYTES (16u << 20)
#define SLICE_MASK (KVSHM_STAGING_SLICES - 1)

static uint32_t nr_slices(uint32_t length)
{
	return (length + KVSHM_STAGING_SLICE - 1) / KVSHM_STAGING_SLICE;
}

static bool is_loose(const struct put *p)
{
	return p->flags & KVSHM_SQE_F_LOOSE;
}

int put_begin(struct writer *w, struct session *s, const struct kvshm_sqe *sqe,
	      const struct kvshm_commit_rec *rec)
{
	struct queue *q = &s->q;
	struct put *p;

	for (uint32_t i = 0; i < sqe->nr; i++)
		if (!place_rec_ok(&rec[i]))
			return -EINVAL;
	p = aligned_alloc(64, round_up(sizeof(*p) + sqe->nr * sizeof(*rec), 64u));
	if (!p)
		return -ENOMEM;
	*p = (struct put){ .user_data = sqe->user_data,
			   .stamp_ns = sqe->stamp_ns,
			   .ns = sqe->ns,
			   .nr = sqe->nr,
			   .parent = sqe->key,
			   .flags = sqe->flags & (KVSHM_SQE_F_NOPARENT | KVSHM_SQE_F_LOOSE) };
	memcpy(p->rec, rec, sqe->nr * sizeof(*rec));
	if (q->last_put)
		q->last_put->next = p;
	else
		q->first_put = p;
	q->last_put = p;
	if (!q->post_put)
		q->post_put = p;
	q->nr_puts++;
	q->owed++;
	return 0;
}

/* How many records from .nr_placed on are of one length and worth one grant. */
static uint32_t batch_of(const struct put *p)
{
	uint32_t first = p->nr_placed, length = p->rec[first].length;
	uint32_t max = max_of(min_of(PLACE_RECORDS, PLACE_BYTES / length), 1u), n = 1;

	while (n < max && first + n < p->nr && p->rec[first + n].length == length)
		n++;
	return n;
}

/* Blocks of the daemon's own for the next records; a record that finds none stays without. */
static void place_more(struct writer *w, const struct session *s, struct put *p)
{
	int got = 0;

	cache_near(w->cache, s->q.node);
	if (!p->is_broken)
		got = place_records(w, 0, p->ns, &p->rec[p->nr_placed], batch_of(p), p->stamp_ns);
	p->nr_placed += got > 0 ? (uint32_t)got : 1;
}

/* The client's tail, believed only inside the window.  Return: 0 with slices not posted yet; -EPROTO. */
static int staging_take(const struct queue *q, uint32_t *ret_filled)
{
	/* SG-1: the tail before the slices it counts; pairs with staging_fill(). */
	uint32_t tail = load_acquire(&q->seg.hdr->staging.tail);

	if (tail - q->head > KVSHM_STAGING_SLICES || tail - q->head < q->post - q->head)
		return -EPROTO;
	*ret_filled = tail - q->post;
	return 0;
}

static void next_slice(struct queue *q, struct put *p, bool is_last)
{
	p->post_slice++;
	if (!is_last)
		return;
	p->post_slice = 0;
	if (++p->post_rec == p->nr)
		q->post_put = p->next;
}

/* The next slice of the stream: where it goes, and off to its copy lcore. */
static void post_slice(struct writer *w, struct session *s)
{
	struct queue *q = &s->q;
	struct put *p = q->post_put;
	struct slice *sl = &q->slice[q->post & SLICE_MASK];
	struct kvshm_commit_rec *rec = &p->rec[p->post_rec];
	uint32_t off = p->post_slice * KVSHM_STAGING_SLICE, len;
	char *dst = NULL;

	if (p->post_rec >= p->nr_placed)
		place_more(w, s, p);
	if (rec->block.id && !p->is_broken)
		dst = cache_grant_ptr(w->cache, 0, rec->block, &len);
	*sl = (struct slice){
		.s = s,
		.put = p,
		.rec = p->post_rec,
		.dst = dst ? dst + off : NULL,
		.src = q->staging + (size_t)(q->post & SLICE_MASK) * KVSHM_STAGING_SLICE,
		.len = min_of(rec->length - off, KVSHM_STAGING_SLICE),
		.is_first = off == 0,
		.is_last = p->post_slice + 1 == nr_slices(rec->length),
	};
	q->post++;
	next_slice(q, p, sl->is_last);
	if (sl->dst) {
		q->nr_copying++;
		mailbox_send(&w->d->copier[s->index % w->d->nr_copiers].in, LANE_ONLY, MAIL_COPY,
			     sl, 0);
	} else {
		sl->is_done = true;
	}
}

static void publish(struct writer *w, struct put *p, uint32_t i)
{
	struct cache_commit m = {
		.owner = 0,
		.ns = p->ns,
		.nr = 1,
		.rec = &p->rec[i],
		.now_ns = writer_time(w, p->stamp_ns),
		.flags = i == 0 || is_loose(p) ? p->flags : 0,
	};
	struct cache_commit_result res = { 0 };
	int ret;

	if (!m.flags)
		m.parent = i == 0 ? &p->parent : &p->rec[i - 1].key;
	ret = cache_commit(w->cache, &m, &res);
	p->nr_published += res.nr_published;
	p->nr_duplicate += res.nr_duplicate;
	if (ret < 0 || res.nr_dropped) {
		p->nr_dropped++;
		p->is_broken = !is_loose(p);
	}
	w->counts.copy_in_bytes += p->rec[i].length;
}

/* All slices of a record have landed, or were skipped. */
static void finish_record(struct writer *w, struct put *p, uint32_t i, bool has_landed)
{
	p->nr_done++;
	if (has_landed && !p->is_broken) {
		publish(w, p, i);
		return;
	}
	if (p->rec[i].block.id)
		cache_return(w->cache, 0, p->rec[i].block);
	p->nr_dropped++;
	p->is_broken = !is_loose(p);
}

static void finish_put(struct writer *w, struct session *s)
{
	struct queue *q = &s->q;
	struct put *p = q->first_put;
	struct kvshm_cqe cqe = {
		.user_data = p->user_data,
		.op = KVSHM_OP_COMMIT,
		.res = (int32_t)p->nr_published,
		.nr_duplicate = p->nr_duplicate,
		.nr_dropped = p->nr_dropped,
	};
	uint64_t ns;

	q->first_put = p->next;
	if (!q->first_put)
		q->last_put = NULL;
	q->nr_puts--;
	q->owed--;
	ns = metrics_time(w, HIST_OP_STAGED, p->stamp_ns);
	free(p);
	writer_complete(w, s, &cqe, ns);
}

/* Slices that are done leave the window in order. */
static void retire(struct writer *w, struct session *s)
{
	struct queue *q = &s->q;
	uint32_t old = q->head;

	while (q->head != q->post && q->slice[q->head & SLICE_MASK].is_done) {
		struct slice *sl = &q->slice[q->head & SLICE_MASK];

		q->head++;
		if (!sl->is_last)
			continue;
		finish_record(w, sl->put, sl->rec, sl->dst);
		if (sl->put->nr_done == sl->put->nr)
			finish_put(w, s);
	}
	if (q->head != old)
		/* SG-2: the slices are read before the head frees them; pairs with staging_room(). */
		store_release(&q->seg.hdr->staging.head, q->head);
}

int put_poll(struct writer *w, struct session *s)
{
	struct queue *q = &s->q;
	uint32_t filled, n = 0;
	int ret = staging_take(q, &filled);

	if (ret < 0)
		return ret;
	while (n < filled && q->post_put) {
		post_slice(w, s);
		n++;
	}
	if (n)
		retire(w, s);
	return n > 0;
}

void put_copied(struct writer *w, struct session *s)
{
	retire(w, s);
}

void put_abort(struct writer *w, struct session *s)
{
	struct queue *q = &s->q;
	struct put *p;

	while ((p = q->first_put)) {
		for (uint32_t i = p->nr_done; i < p->nr_placed; i++)
			if (p->rec[i].block.id)
				cache_return(w->cache, 0, p->rec[i].block);
		q->first_put = p->next;
		free(p);
	}
	q->last_put = q->post_put = NULL;
	q->nr_puts = q->owed = 0;
}
