/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The end of sessions.
 *
 * The lock on the pin file says that its owner lives; hang-up, pidfd and a 100 ms tick say when to look.
 * Gone is: the lock is gone, and the pidfd has fired (without a pidfd: the socket has hung up), or the
 * file says CLOSED and nobody is connected.  The lock alone is too early, a driver's deferred release
 * may still write; and a living process loses it when it closes any descriptor of the file.
 */
#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <unistd.h>

#include "kvshm/base/atomic.h"
#include "kvshm/base/clock.h"
#include "kvshm/base/log.h"
#include "kvshm/base/usdt.h"
#include "kvshm/daemon/daemon.h"
#include "kvshm/daemon/server.h"

#define TICK_MS 100
#define SUSPECT_MS 1 /* the lock goes a moment after the hang-up */
#define SUSPECT_NS 50000000ull

static bool has_exited(const struct session *s)
{
	struct pollfd p = { .fd = s->peer.pidfd, .events = POLLIN };

	return s->peer.pidfd >= 0 && poll(&p, 1, 0) > 0;
}

static bool is_closed(const struct session *s)
{
	uint64_t word = 0;

	return pread(s->pin_fd, &word, sizeof(word), 0) == (ssize_t)sizeof(word) &&
	       (uint32_t)word == KVSHM_PINFILE_CLOSED;
}

static bool is_gone(struct session *s)
{
	/* Before READY no pin counts. */
	if (!s->was_served)
		return s->has_hung_up;
	if (pinfile_is_locked(s->pin_fd, NULL))
		return false;
	if (s->has_hung_up && is_closed(s)) {
		s->was_orderly = true;
		return true;
	}
	return s->peer.pidfd >= 0 ? has_exited(s) : s->has_hung_up;
}

static void unwatch(struct daemon *d, int fd)
{
	if (fd >= 0)
		epoll_ctl(d->epoll_fd, EPOLL_CTL_DEL, fd, NULL);
}

/* The connection is over for us; the writer may still hold the queue, so nothing is closed yet. */
static void stop(struct daemon *d, struct session *s)
{
	if (s->state != SESSION_SERVING && s->state != SESSION_WELCOMED)
		return;
	s->state = SESSION_STOPPING;
	mailbox_send(&d->to_writer, LANE_MAIN, MAIL_STOP, s, 0);
}

static void remove_session(struct daemon *d, struct session *s)
{
	unwatch(d, s->sock);
	unwatch(d, s->peer.pidfd);
	s->state = SESSION_REMOVING;
	mailbox_send(&d->to_writer, LANE_MAIN, MAIL_REMOVE, s, 0);
}

static void forget_half_open(struct daemon *d, struct session *s)
{
	unwatch(d, s->sock);
	unwatch(d, s->peer.pidfd);
	if (s->slot) {
		char name[32];

		snprintf(name, sizeof(name), "pins.%u", s->slot);
		unlinkat(d->inst.pins_fd, name, 0);
	}
	session_release(s);
}

static void look(struct daemon *d, struct session *s, uint64_t now_ns)
{
	switch (s->state) {
	case SESSION_HELLO:
		forget_half_open(d, s);
		return;
	case SESSION_WELCOMED:
	case SESSION_SERVING:
	case SESSION_DETACHED:
		break;
	default: /* the writer's answer brings us back */
		return;
	}
	if (is_gone(s)) {
		/* Without a pidfd the end is no event: a tick finds it, and the time counts from there. */
		if (!s->notice_ns || (s->peer.pidfd < 0 && now_ns - s->notice_ns > SUSPECT_NS)) {
			s->notice_ns = now_ns;
			s->via = DEATH_TICK;
		}
		remove_session(d, s);
	} else if (now_ns - s->notice_ns >= SUSPECT_NS) {
		stop(d, s);
	}
}

void reaper_notice(struct daemon *d, struct session *s, enum death_via via, uint64_t now_ns)
{
	/* Both stay readable for ever: look once, then by the tick. */
	unwatch(d, via == DEATH_PIDFD ? s->peer.pidfd : s->sock);
	if (!s->has_hung_up)
		s->via = via;
	s->has_hung_up = true;
	s->notice_ns = now_ns;
	look(d, s, now_ns);
}

void reaper_offence(struct daemon *d, struct session *s, enum offence o)
{
	if (s->state == SESSION_HELLO) {
		forget_half_open(d, s);
		return;
	}
	if (s->state != SESSION_SERVING && s->state != SESSION_WELCOMED)
		return;
	log_limited(LOG_LEVEL_WARN, "slot %u (pid %d, %s) is detached: %s", s->slot,
		    (int)s->peer.pid, s->label, offence_name(o));
	WRITE_ONCE(d->counts.detaches_bad, d->counts.detaches_bad + 1);
	USDT(client_detach, s->slot, 1 + o);
	unwatch(d, s->sock);
	s->has_hung_up = true;
	s->notice_ns = clock_ns();
	stop(d, s);
}

void reaper_stopped(struct daemon *d, struct session *s)
{
	s->state = SESSION_DETACHED;
	close(s->sock);
	s->sock = -1;
	look(d, s, clock_ns());
}

static int compare_u64(const void *a, const void *b)
{
	uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

	return x < y ? -1 : x > y;
}

/* Percentile over the last samples. */
static uint64_t p99_of(const struct daemon *d)
{
	uint64_t sorted[REAP_SAMPLES];
	unsigned nr = d->nr_reaps < REAP_SAMPLES ? d->nr_reaps : REAP_SAMPLES;

	memcpy(sorted, d->reap_ns, nr * sizeof(sorted[0]));
	qsort(sorted, nr, sizeof(sorted[0]), compare_u64);
	return sorted[nr * 99 / 100 < nr ? nr * 99 / 100 : nr - 1];
}

static void count_reap(struct daemon *d, uint64_t ns)
{
	d->reap_ns[d->nr_reaps++ % REAP_SAMPLES] = ns;
	stat_hist_record(d->stats, HIST_REAP, ns);
	WRITE_ONCE(d->counts.reap_last_ns, ns);
	if (ns > d->counts.reap_max_ns)
		WRITE_ONCE(d->counts.reap_max_ns, ns);
	WRITE_ONCE(d->counts.reap_p99_ns, p99_of(d));
}

/* Everything that it held is back. */
void reaper_removed(struct daemon *d, struct session *s)
{
	static const struct pinowner none;
	uint64_t ns = clock_ns() - s->notice_ns;
	char name[32];

	snprintf(name, sizeof(name), "pins.%u", s->slot);
	unlinkat(d->inst.pins_fd, name, 0);
	pinowner_put(d->store.owners_fd, s->index, &none);
	if (!s->was_served) {
		WRITE_ONCE(d->counts.refusals, d->counts.refusals + 1);
	} else if (s->was_orderly) {
		WRITE_ONCE(d->counts.detaches, d->counts.detaches + 1);
		USDT(client_detach, s->slot, 0);
	} else {
		WRITE_ONCE(d->counts.deaths[s->via], d->counts.deaths[s->via] + 1);
		USDT(client_death, s->slot, s->peer.pidfd >= 0 ? 1 : 2, s->last_pins, ns);
		count_reap(d, ns);
	}
	log_debug("slot %u (pid %d, %s) %s, all returned after %llu us", s->slot, (int)s->peer.pid,
		  s->label, s->was_orderly ? "left" : "died", (unsigned long long)ns / 1000);
	if (s->q.staging)
		WRITE_ONCE(d->counts.staging_bytes,
			   d->counts.staging_bytes -
				   (uint64_t)KVSHM_STAGING_SLICE * KVSHM_STAGING_SLICES);
	session_release(s);
}

void reaper_tick(struct daemon *d, uint64_t now_ns)
{
	for (unsigned i = 0; i < SESSION_MAX; i++) {
		struct session *s = &d->session[i];

		if ((s->state == SESSION_HELLO || s->state == SESSION_WELCOMED) &&
		    now_ns >= s->deadline_ns)
			reaper_offence(d, s, OFFENCE_TIMEOUT);
		else if (s->has_hung_up && s->state != SESSION_FREE)
			look(d, s, now_ns);
	}
}

void reaper_look_for_hangups(struct daemon *d, uint64_t now_ns)
{
	for (unsigned i = 0; i < SESSION_MAX; i++) {
		struct session *s = &d->session[i];

		if (s->state == SESSION_SERVING && !s->has_hung_up && sock_is_hung_up(s->sock))
			reaper_notice(d, s, DEATH_TICK, now_ns);
	}
}

int reaper_timeout_ms(const struct daemon *d, uint64_t now_ns)
{
	int ms = d->is_accept_paused ? TICK_MS : -1;

	for (unsigned i = 0; i < SESSION_MAX; i++) {
		const struct session *s = &d->session[i];

		if (s->state == SESSION_FREE || (s->state == SESSION_SERVING && !s->has_hung_up))
			continue;
		if (s->has_hung_up && now_ns - s->notice_ns < SUSPECT_NS)
			return SUSPECT_MS;
		ms = TICK_MS;
	}
	return ms;
}
