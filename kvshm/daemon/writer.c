/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Sessions that were busy lately are looked at in each round, the others a few at a time in turn, so
 * that one busy client among many pays little for them.  Before sleep all are looked at, after the sleep
 * flag is up (DB-1).
 */
#include "kvshm/daemon/writer.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <unistd.h>

#include "ipc/doorbell.h"
#include "ipc/wire.h"
#include "kvshm/base/bitmap.h"
#include "kvshm/base/clock.h"
#include "kvshm/base/compiler.h"
#include "kvshm/base/usdt.h"
#include "kvshm/cache/scrub.h"
#include "kvshm/daemon/daemon.h"
#include "kvshm/daemon/lcore.h"
#include "kvshm/daemon/opdef.h"
#include "kvshm/daemon/put.h"
#include "kvshm/daemon/save.h"
#include "kvshm/daemon/slow.h"
#include "kvshm/daemon/writer_mail.h"

#define UNITS_A_POLL 64u /* work of one session before the next has its turn */
#define COLD_A_ROUND 8u
#define COOLS_AFTER 256u /* rounds without anything */
#define PUTS_MAX 16u /* staged commits of one session under way */
#define BAD_ENTRIES_MAX 256u
#define IDLE_MS 500 /* heartbeat without sessions */
#define SLOW_NS 1000000000ull
#define PAUSED_MS 1 /* a full CQ rings no bell when it has room again */

uint64_t writer_time(const struct writer *w, uint64_t stamp_ns)
{
	return w->d->conf.lockstep ? stamp_ns : w->now_ns;
}

struct session *writer_known(const struct writer *w, uint32_t slot)
{
	for (unsigned i = 0; i < SESSION_MAX; i++)
		if (w->known[i] && w->known[i]->slot == slot)
			return w->known[i];
	return NULL;
}

uint64_t writer_since(const struct writer *w, uint64_t stamp_ns)
{
	return stamp_ns && w->now_ns > stamp_ns ? w->now_ns - stamp_ns : 0;
}

void writer_report(struct writer *w, struct session *s, enum offence o)
{
	if (s->q.is_reported)
		return;
	s->q.is_reported = true;
	USDT(ring_bad, s->slot, o);
	mailbox_send(&w->d->to_main, LANE_ONLY, MAIL_OFFENCE, s, o);
}

static void complete(struct writer *w, struct session *s, const struct kvshm_cqe *cqe, uint64_t ns)
{
	USDT(op_done, s->slot, cqe->op, cqe->res, ns);
	if (!s->q.is_reported && cq_push(&s->q.cq, cqe) < 0)
		writer_report(w, s, OFFENCE_RING);
}

void writer_complete(struct writer *w, struct session *s, const struct kvshm_cqe *cqe, uint64_t ns)
{
	complete(w, s, cqe, ns);
	doorbell_wake_client(s->sock, s->q.seg.hdr);
}

/* Return: 0 with the arguments copied; -errno: refuse the entry. */
static int prepare(struct request *r, const struct opdef **ret_def)
{
	struct queue *q = &r->s->q;
	const struct opdef *def;
	int ret = wire_check(&r->sqe, q->seg.args_len);

	if (ret < 0) {
		r->w->counts.sqes_refused++;
		r->w->counts.sqes_refused_op += ret == -EOPNOTSUPP;
		r->w->counts.sqes_refused_args += ret == -EFAULT;
		if (++q->bad_entries > BAD_ENTRIES_MAX)
			writer_report(r->w, r->s, OFFENCE_ENTRIES);
		return ret;
	}
	def = opdef_find(r->sqe.op);
	if (!def)
		return -EOPNOTSUPP;
	ret = def->check ? def->check(r) : 0;
	if (ret < 0)
		return ret;
	*ret_def = def;
	return 0;
}

static bool is_staged(const struct kvshm_sqe *sqe)
{
	return sqe->op == KVSHM_OP_COMMIT && sqe->flags & KVSHM_SQE_F_STAGED;
}

static void serve_entry(struct request *r)
{
	uint64_t ns = 0, turn_ns = metrics_turn(r->w, &r->sqe);
	const struct opdef *def;
	int ret;

	USDT(op_start, r->s->slot, r->sqe.op, r->sqe.user_data);
	r->args = NULL;
	r->cqe = (struct kvshm_cqe){ .user_data = r->sqe.user_data, .op = r->sqe.op };
	r->w->counts.sqes++;
	if (r->w->d->conf.lockstep)
		touch_drain_all(r->w);
	ret = prepare(r, &def);
	if (ret < 0) {
		r->cqe.res = ret;
	} else if (def->is_slow && def->is_slow(r)) {
		slow_begin(r, def, turn_ns);
		return;
	} else {
		if (r->sqe.op != KVSHM_OP_GRANT && r->sqe.len)
			request_take_args(r, r->sqe.off, r->sqe.len);
		if (def->run(r) == OP_LATER)
			return;
		ns = metrics_op(r->w, &r->sqe, turn_ns);
	}
	if (is_staged(&r->sqe) && r->cqe.res < 0)
		r->s->q.is_stream_broken = true;
	complete(r->w, r->s, &r->cqe, ns);
}

/* Return: entries served. */
static unsigned serve_queue(struct writer *w, struct session *s)
{
	struct request r = { .w = w, .s = s };
	struct queue *q = &s->q;
	unsigned units = 0, nr = 0;

	while (units < UNITS_A_POLL && q->nr_puts < PUTS_MAX && q->nr_saves < SAVES_MAX && !q->is_reported &&
	       !q->is_detached && !q->slow.def) {
		int ret = qp_space(&q->cq);

		if (ret < 0) {
			writer_report(w, s, OFFENCE_RING);
			break;
		}
		if ((uint32_t)ret <= q->owed) {
			w->counts.cq_full++;
			w->has_paused = true;
			break;
		}
		ret = sq_pop(&q->sq, &r.sqe);
		if (ret < 0)
			writer_report(w, s, OFFENCE_RING);
		if (ret <= 0)
			break;
		serve_entry(&r);
		units += op_cost(&r.sqe);
		nr++;
	}
	if (nr == 0)
		return 0;
	doorbell_wake_client(s->sock, q->seg.hdr);
	if (q->is_detached)
		mailbox_send(&w->d->to_main, LANE_ONLY, MAIL_DETACHED, s, 0);
	return nr;
}

/* Return: true if there was something. */
static bool poll_session(struct writer *w, struct session *s)
{
	struct queue *q = &s->q;
	bool did = false;

	if (q->is_reported || q->is_detached)
		return false;
	if (q->slow.def) {
		slow_go_on(w, s);
		did = true;
	} else if (qp_pending(&q->sq)) {
		did = serve_queue(w, s) > 0;
	}
	if (q->nr_puts) {
		int ret = put_poll(w, s);

		if (ret < 0)
			writer_report(w, s, OFFENCE_STAGING);
		did |= ret > 0;
	}
	w->is_busy |= did;
	return did;
}

static bool poll_hot(struct writer *w)
{
	bool did = false;

	for (unsigned i = w->nr_hot; i-- > 0;) {
		struct session *s = w->hot[i];

		if (poll_session(w, s)) {
			s->q.idle_polls = 0;
			did = true;
		} else if (++s->q.idle_polls > COOLS_AFTER) {
			w->hot[i] = w->hot[--w->nr_hot];
			w->cold[w->nr_cold++] = s;
		}
	}
	return did;
}

static bool poll_cold(struct writer *w, unsigned nr)
{
	bool did = false;

	while (nr-- > 0 && w->nr_cold > 0) {
		unsigned i = w->next_cold++ % w->nr_cold;
		struct session *s = w->cold[i];

		if (!poll_session(w, s))
			continue;
		did = true;
		s->q.idle_polls = 0;
		w->cold[i] = w->cold[--w->nr_cold];
		w->hot[w->nr_hot++] = s;
	}
	return did;
}

static bool take_mail(struct writer *w)
{
	struct mail m;
	bool did = false;

	while (mailbox_take(&w->d->to_writer, &m)) {
		writer_take_mail(w, &m);
		did = true;
	}
	w->is_busy |= did;
	return did;
}

static void look_for_hostile_pins(struct writer *w)
{
	for (unsigned i = 0; i < SESSION_MAX; i++) {
		struct session *s = w->known[i];
		uint64_t bytes;
		uint32_t pins;
		bool is_hostile = false;

		if (s && s->q.is_serving &&
		    pin_set_file(w->d->store.pins, s->slot, &bytes, &pins, &is_hostile) == 0 &&
		    is_hostile)
			writer_report(w, s, OFFENCE_PINS);
	}
}

static void tick(struct writer *w)
{
	bool is_slow = w->now_ns - w->slow_ns >= SLOW_NS;

	w->tick_ns = w->now_ns;
	touch_drain_all(w);
	if (w->is_busy || is_slow) {
		cache_tick(w->cache, w->now_ns);
		look_for_hostile_pins(w);
	}
	scrub_some(w);
	store_keep_learnt(&w->d->store, &w->d->conf, w->now_ns);
	for (unsigned i = 0; i < SESSION_MAX; i++)
		if (w->known[i] && w->known[i]->q.is_serving)
			metrics_take_client(w, w->known[i]);
	if (w->is_busy || is_slow)
		metrics_publish(w);
	if (is_slow) {
		gpulink_tick(w);
		w->slow_ns = w->now_ns;
	}
	w->is_busy = false;
	stat_heartbeat(w->d->stats, 1, w->now_ns);
}

static int sleep_ms(const struct writer *w)
{
	uint64_t due = w->tick_ns + WRITER_TICK_NS, now = clock_ns();

	if (w->has_paused)
		return PAUSED_MS;
	if (!w->nr_hot && !w->nr_cold)
		return IDLE_MS;
	return due > now ? (int)((due - now) / 1000000u) + 1 : 0;
}

/* Sleep until a bell, a message or the next tick. */
static void sleep_for_work(struct writer *w)
{
	uint32_t *flag = &w->d->store.dir.sb->writer_asleep;
	struct epoll_event ev[16];

	doorbell_arm(flag);
	mailbox_arm(&w->d->to_writer);
	w->has_paused = false;
	if (!poll_hot(w) && !poll_cold(w, w->nr_cold) && !mailbox_has_mail(&w->d->to_writer)) {
		uint64_t start_ns = clock_ns(), slept_ns;

		epoll_wait(w->epoll_fd, ev, (int)ARRAY_SIZE(ev), sleep_ms(w));
		slept_ns = clock_ns() - start_ns;
		w->counts.asleep_ns += slept_ns;
		w->now_ns += slept_ns;
		w->counts.wakeups++;
	}
	mailbox_disarm(&w->d->to_writer);
	doorbell_disarm(flag);
}

/* The time since the round before was that round's, but for what was slept. */
static void begin_round(struct writer *w)
{
	uint64_t now_ns = clock_ns();

	*(w->did_something ? &w->counts.busy_ns : &w->counts.idle_ns) += now_ns - w->now_ns;
	w->now_ns = now_ns;
}

bool writer_round(struct writer *w)
{
	bool did;

	begin_round(w);
	did = take_mail(w);
	did |= poll_hot(w);
	did |= poll_cold(w, COLD_A_ROUND);
	did |= gpulink_poll(w);
	if (w->now_ns - w->tick_ns >= WRITER_TICK_NS)
		tick(w);
	if (scrub_is_dropping(w->scrub)) {
		scrub_some(w);
		did = true;
	}
	return w->did_something = did;
}

int writer_main(void *writer)
{
	struct writer *w = writer;
	bool is_waiting = false;

	lcore_name("kvshmd-writer");
	stat_heartbeat(w->d->stats, 1, clock_ns());
	while (!w->is_quitting) {
		if (writer_round(w)) {
			if (is_waiting)
				wait_end(&w->wait, true);
			is_waiting = false;
			continue;
		}
		if (!is_waiting)
			wait_begin(&w->wait);
		is_waiting = true;
		if (wait_step(&w->wait))
			continue;
		sleep_for_work(w);
		wait_end(&w->wait, false);
		is_waiting = false;
	}
	w->now_ns = clock_ns();
	tick(w);
	store_save_learnt(&w->d->store, &w->d->conf);
	metrics_publish(w);
	return 0;
}

static int watch_mailbox(struct writer *w)
{
	struct epoll_event ev = { .events = EPOLLIN };

	return epoll_ctl(w->epoll_fd, EPOLL_CTL_ADD, w->d->to_writer.event_fd, &ev) < 0 ? -errno
											: 0;
}

int writer_create(struct daemon *d, struct writer **ret_w)
{
	struct writer *w = aligned_alloc(64, round_up(sizeof(*w), 64u));
	int ret;

	if (!w)
		return -ENOMEM;
	memset(w, 0, sizeof(*w));
	w->d = d;
	w->cache = d->store.cache;
	w->mark = calloc(BITMAP_WORDS((size_t)d->store.dir.max_blocks + 1), sizeof(*w->mark));
	w->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
	gpulink_init(&w->link);
	wait_init(&w->wait);
	w->now_ns = clock_ns();
	for (unsigned i = 0; i < SESSION_MAX; i++)
		if (d->session[i].state == SESSION_DETACHED)
			w->known[i] = &d->session[i];
	ret = w->epoll_fd < 0 ? -errno : watch_mailbox(w);
	if (ret == 0)
		ret = scrub_create(&w->scrub);
	if (ret == 0 && !w->mark)
		ret = -ENOMEM;
	if (ret < 0) {
		writer_destroy(w);
		return ret;
	}
	metrics_begin(w);
	*ret_w = w;
	return 0;
}

struct writer *writer_destroy(struct writer *w)
{
	if (w) {
		if (w->epoll_fd >= 0)
			close(w->epoll_fd);
		gpulink_fini(&w->link);
		scrub_destroy(w->scrub);
		free(w->mark);
		free(w);
	}
	return NULL;
}
