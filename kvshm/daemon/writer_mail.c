/* SPDX-License-Identifier: Apache-2.0 */
#include "kvshm/daemon/writer_mail.h"

#include <stdlib.h>
#include <sys/epoll.h>

#include "kvshm/base/log.h"
#include "kvshm/daemon/daemon.h"
#include "kvshm/daemon/put.h"
#include "kvshm/daemon/save.h"
#include "kvshm/daemon/slow.h"

static void take_pins(struct writer *w, struct session *s)
{
	int ret = pin_set_add(w->d->store.pins, s->slot, s->pin_fd, s->pin_words, s->quota_bytes);

	if (ret == 0)
		w->known[s->index] = s;
	mailbox_send(&w->d->to_main, LANE_ONLY, MAIL_PINS_DONE, s, (uint32_t)-ret);
}

static void serve(struct writer *w, struct session *s)
{
	struct epoll_event ev = { .events = EPOLLIN | EPOLLET, .data.ptr = s };
	struct queue *q = &s->q;
	struct kvshm_segment *hdr = q->seg.hdr;

	qp_end_init(&q->sq, &hdr->sq, q->seg.sq, q->seg.sq_entries);
	qp_end_init(&q->cq, &hdr->cq, q->seg.cq, q->seg.cq_entries);
	qp_end_init(&q->touch, &hdr->touch, q->seg.touch, q->seg.touch_entries);
	if (epoll_ctl(w->epoll_fd, EPOLL_CTL_ADD, s->doorbell_fd, &ev) < 0)
		log_warn("no doorbell for slot %u: %m", s->slot);
	q->is_serving = true;
	w->hot[w->nr_hot++] = s;
}

static void forget(struct session **list, unsigned *nr, const struct session *s)
{
	for (unsigned i = 0; i < *nr; i++) {
		if (list[i] == s) {
			list[i] = list[--*nr];
			return;
		}
	}
}

/* The queue is not looked at any more; what it counted so far is kept. */
static void unserve(struct writer *w, struct session *s)
{
	if (!s->q.is_serving)
		return;
	metrics_take_client(w, s);
	touch_drain_one(w, s);
	s->q.is_serving = false;
	slow_abort(&s->q.slow);
	save_forget(w, s);
	gpulink_forget(w, s);
	forget(w->hot, &w->nr_hot, s);
	forget(w->cold, &w->nr_cold, s);
	epoll_ctl(w->epoll_fd, EPOLL_CTL_DEL, s->doorbell_fd, NULL);
}

/* How many it held at the end, as of the last scan. */
static void note_pins(struct writer *w, struct session *s)
{
	bool is_hostile;
	uint64_t bytes;

	pin_set_file(w->d->store.pins, s->slot, &bytes, &s->last_pins, &is_hostile);
}

/* Answer a stop or a removal once no copy lcore reads the staging window. */
static void let_go(struct writer *w, struct session *s)
{
	struct queue *q = &s->q;

	if (q->nr_copying)
		return;
	put_abort(w, s);
	if (q->is_removing) {
		note_pins(w, s);
		pin_set_remove(w->d->store.pins, s->slot);
		cache_owner_gone(w->cache, s->slot);
		w->known[s->index] = NULL;
		q->is_removing = false;
		w->is_busy = true;
		mailbox_send(&w->d->to_main, LANE_ONLY, MAIL_REMOVED, s, 0);
	} else if (q->is_stopping) {
		q->is_stopping = false;
		mailbox_send(&w->d->to_main, LANE_ONLY, MAIL_STOPPED, s, 0);
	}
}

static void take_copied(struct writer *w, struct slice *sl)
{
	struct session *s = sl->s;

	sl->is_done = true;
	s->q.nr_copying--;
	if (s->q.is_stopping || s->q.is_removing)
		let_go(w, s);
	else
		put_copied(w, s);
}

static void take_extent(struct writer *w, struct arena *grown)
{
	int ret;

	w->d->store.arena = *grown;
	free(grown);
	ret = cache_add_extent(w->cache, w->d->store.arena.nr_extents - 1);
	if (ret < 0)
		log_err("extent %u is not used: error %d", w->d->store.arena.nr_extents - 1, -ret);
}

void writer_take_mail(struct writer *w, const struct mail *m)
{
	struct session *s = m->ptr;

	switch (m->type) {
	case MAIL_PINS:
		take_pins(w, s);
		break;
	case MAIL_SERVE:
		serve(w, s);
		break;
	case MAIL_STOP:
		unserve(w, s);
		s->q.is_stopping = true;
		let_go(w, s);
		break;
	case MAIL_REMOVE:
		unserve(w, s);
		s->q.is_removing = true;
		let_go(w, s);
		break;
	case MAIL_COPIED:
		take_copied(w, m->ptr);
		break;
	case MAIL_EXTENT:
		take_extent(w, m->ptr);
		break;
	case MAIL_LINK:
		gpulink_take(w, (int)m->arg);
		break;
	case MAIL_QUIT:
		w->is_quitting = true;
		break;
	default:
		log_err("writer: message %u is not for it", m->type);
	}
}
