/* SPDX-License-Identifier: Apache-2.0 */
#include "kvshm/daemon/server.h"

#include <errno.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "ipc/handshake.h"
#include "kvshm/base/atomic.h"
#include "kvshm/base/clock.h"
#include "kvshm/base/log.h"
#include "kvshm/daemon/daemon.h"

#define ACCEPTS_A_ROUND 32u
#define MESSAGES_A_ROUND 8u
#define BUDGET_MESSAGES 256u /* of one session, a second */
#define BUDGET_NS 1000000000ull

int server_watch(struct daemon *d, int fd, uint32_t events, uint64_t tag)
{
	struct epoll_event ev = { .events = events, .data.u64 = tag };

	return epoll_ctl(d->epoll_fd, EPOLL_CTL_ADD, fd, &ev) < 0 ? -errno : 0;
}

static void pause_accept(struct daemon *d, bool pause)
{
	struct epoll_event ev = { .events = pause ? 0 : EPOLLIN,
				  .data.u64 = event_tag(EVENT_LISTEN, 0) };

	if (d->is_accept_paused == pause)
		return;
	epoll_ctl(d->epoll_fd, EPOLL_CTL_MOD, d->listen_fd, &ev);
	d->is_accept_paused = pause;
}

void server_resume_accept(struct daemon *d)
{
	pause_accept(d, false);
}

/* Sessions that are connected, and those about to leave. */
static unsigned count_sessions(const struct daemon *d, unsigned *ret_leaving)
{
	unsigned nr = 0, leaving = 0;

	for (unsigned i = 0; i < SESSION_MAX; i++) {
		enum session_state st = d->session[i].state;

		leaving += st == SESSION_REMOVING || st == SESSION_STOPPING;
		nr += st != SESSION_FREE && st != SESSION_DETACHED && st != SESSION_REMOVING &&
		      st != SESSION_STOPPING;
	}
	*ret_leaving = leaving;
	return nr;
}

static struct session *free_entry(struct daemon *d)
{
	for (unsigned i = 0; i < SESSION_MAX; i++)
		if (d->session[i].state == SESSION_FREE)
			return &d->session[i];
	return NULL;
}

void server_count(struct daemon *d)
{
	unsigned orphans = 0, serving = 0;

	for (unsigned i = 0; i < SESSION_MAX; i++) {
		serving += d->session[i].state == SESSION_SERVING;
		orphans += d->session[i].state == SESSION_DETACHED;
	}
	WRITE_ONCE(d->counts.sessions, serving);
	WRITE_ONCE(d->counts.orphans, orphans);
}

static void count_refusal(struct daemon *d)
{
	WRITE_ONCE(d->counts.refusals, d->counts.refusals + 1);
}

static void refuse_connection(struct daemon *d, int fd)
{
	struct session s = { .sock = fd };

	welcome_refuse(&s, -EAGAIN, "no session free (clients.max)");
	count_refusal(d);
	close(fd);
}

static void take_connection(struct daemon *d, int fd)
{
	struct session *s = free_entry(d);
	int ret;

	s->sock = fd;
	ret = peer_read(fd, &s->peer);
	if (ret == 0)
		ret = server_watch(d, fd, EPOLLIN | EPOLLRDHUP, event_tag(EVENT_SOCKET, s->index));
	if (ret == 0 && s->peer.pidfd >= 0)
		ret = server_watch(d, s->peer.pidfd, EPOLLIN, event_tag(EVENT_PROCESS, s->index));
	if (ret < 0) {
		log_limited(LOG_LEVEL_WARN, "a connection is not taken: %s", strerror(-ret));
		session_release(s);
		return;
	}
	s->state = SESSION_HELLO;
	s->since_ns = clock_ns();
	s->deadline_ns = s->since_ns + d->conf.handshake_ns;
	/* Its HELLO is there already: it does not wait among those that say nothing. */
	server_on_socket(d, s);
}

/* No room, now or soon. */
enum room { ROOM_FREE, ROOM_SOON, ROOM_NONE };

static enum room look_for_room(struct daemon *d)
{
	unsigned leaving;

	if (count_sessions(d, &leaving) < d->conf.max && free_entry(d))
		return ROOM_FREE;
	if (!leaving)
		reaper_look_for_hangups(d, clock_ns());
	count_sessions(d, &leaving);
	return leaving ? ROOM_SOON : ROOM_NONE;
}

/* Who has not even said HELLO gives way: silence keeps nobody out (H11).  Return: was there one? */
static bool drop_oldest_silent(struct daemon *d)
{
	struct session *oldest = NULL;

	for (unsigned i = 0; i < SESSION_MAX; i++) {
		struct session *s = &d->session[i];

		if (s->state == SESSION_HELLO && (!oldest || s->since_ns < oldest->since_ns))
			oldest = s;
	}
	if (!oldest)
		return false;
	count_refusal(d);
	reaper_notice(d, oldest, DEATH_HUP, clock_ns());
	return true;
}

void server_accept(struct daemon *d)
{
	for (unsigned n = 0; n < ACCEPTS_A_ROUND; n++) {
		enum room room = look_for_room(d);
		int fd;

		/* Somebody is about to leave: the connection waits for the entry in the backlog. */
		if (room == ROOM_SOON) {
			pause_accept(d, true);
			return;
		}
		fd = accept4(d->listen_fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
		if (fd < 0) {
			if (errno == EMFILE || errno == ENFILE)
				pause_accept(d, true);
			return;
		}
		WRITE_ONCE(d->counts.accepts, d->counts.accepts + 1);
		if (room == ROOM_NONE && drop_oldest_silent(d))
			room = ROOM_FREE;
		if (room == ROOM_NONE)
			refuse_connection(d, fd);
		else
			take_connection(d, fd);
	}
}

static bool is_over_budget(struct session *s)
{
	uint64_t now = clock_ns();

	if (now - s->budget_ns >= BUDGET_NS) {
		s->budget_ns = now;
		s->budget = 0;
	}
	return ++s->budget > BUDGET_MESSAGES;
}

static int on_message(struct daemon *d, struct session *s, const union handshake_msg *m, size_t len)
{
	switch (handshake_check(m, len)) {
	case KVSHM_MSG_HELLO:
		return s->state == SESSION_HELLO ? welcome_hello(d, s, &m->hello) : -EBADMSG;
	case KVSHM_MSG_MAPPED:
		return welcome_mapped(d, s);
	case KVSHM_MSG_EXTENTS:
		return s->state == SESSION_SERVING ? welcome_extents(d, s, m->plain.arg) : -EBADMSG;
	case KVSHM_MSG_STAGING:
		return s->state == SESSION_SERVING ? welcome_staging(d, s) : -EBADMSG;
	default:
		return -EBADMSG;
	}
}

/* A refused HELLO or any offence; a socket that is full or gone is a hang-up. */
static void end_for(struct daemon *d, struct session *s, int err)
{
	if (s->state == SESSION_HELLO)
		count_refusal(d);
	if (err == -EPIPE || err == -ECONNRESET || s->state == SESSION_HELLO)
		reaper_notice(d, s, DEATH_HUP, clock_ns());
	else
		reaper_offence(d, s, OFFENCE_MESSAGE);
}

void server_on_socket(struct daemon *d, struct session *s)
{
	for (unsigned n = 0; n < MESSAGES_A_ROUND; n++) {
		union handshake_msg m;
		ssize_t len;
		int ret;

		if (s->state == SESSION_FREE || s->state >= SESSION_STOPPING || s->has_hung_up)
			return;
		len = sock_recv(s->sock, &m, NULL, 0, NULL);
		if (len == -EAGAIN)
			return;
		if (len == 0 || len == -ECONNRESET) {
			reaper_notice(d, s, DEATH_HUP, clock_ns());
			return;
		}
		ret = len < 0 || is_over_budget(s) ? -EBADMSG : on_message(d, s, &m, (size_t)len);
		if (ret < 0) {
			end_for(d, s, ret);
			return;
		}
	}
}

static void on_pins_done(struct daemon *d, struct session *s, int err)
{
	int ret = err;

	if (ret < 0)
		welcome_refuse(s, ret, "no room for another pin file");
	else if (!s->has_hung_up)
		ret = welcome_send(d, s);
	s->state = SESSION_WELCOMED;
	if (ret < 0 || s->has_hung_up)
		reaper_notice(d, s, DEATH_HUP, clock_ns());
}

void server_on_mail(struct daemon *d, const struct mail *m)
{
	struct session *s = m->ptr;

	switch (m->type) {
	case MAIL_PINS_DONE:
		on_pins_done(d, s, -(int)m->arg);
		break;
	case MAIL_OFFENCE:
		reaper_offence(d, s, (enum offence)m->arg);
		break;
	case MAIL_DETACHED:
		s->was_orderly = true;
		break;
	case MAIL_STOPPED:
		reaper_stopped(d, s);
		break;
	case MAIL_REMOVED:
		reaper_removed(d, s);
		server_resume_accept(d);
		break;
	default:
		log_err("main: message %u is not for it", m->type);
	}
}

static int watch_orphan(struct daemon *d, struct session *s)
{
	if (s->peer.pid > 0)
		s->peer.pidfd = (int)syscall(SYS_pidfd_open, s->peer.pid, 0);
	/* It may have died and its number gone to another since the list was read. */
	if (s->peer.pidfd >= 0 && process_start_ticks(s->peer.pid) != s->start_ticks) {
		close(s->peer.pidfd);
		s->peer.pidfd = -1;
	}
	if (s->peer.pidfd < 0)
		return 0;
	return server_watch(d, s->peer.pidfd, EPOLLIN, event_tag(EVENT_PROCESS, s->index));
}

void server_take_orphans(struct daemon *d)
{
	struct pinowner none = { 0 };

	for (unsigned i = 0; i < SESSION_MAX; i++)
		session_init(&d->session[i], i);
	for (unsigned i = 0; i < d->store.nr_orphans; i++) {
		const struct orphan *o = &d->store.orphan[i];
		struct session *s = &d->session[i];

		s->state = SESSION_DETACHED;
		s->is_orphan = s->has_hung_up = s->was_served = true;
		s->slot = o->owner.slot;
		s->pin_words = o->owner.pin_words;
		s->quota_bytes = d->store.quota_bytes;
		s->pin_fd = o->fd;
		s->peer.pid = (pid_t)o->owner.pid;
		s->peer.uid = o->owner.uid;
		s->start_ticks = o->owner.start_ticks;
		s->since_ns = clock_ns();
		memcpy(s->label, o->owner.label, sizeof(s->label));
		if (watch_orphan(d, s) < 0)
			log_warn("the owner of pin file %u is not watched", s->slot);
	}
	/* The list follows the table; the descriptors are the table's now. */
	for (unsigned i = 0; i < SESSION_MAX; i++)
		pinowner_put(d->store.owners_fd, i,
			     i < d->store.nr_orphans ? &d->store.orphan[i].owner : &none);
	d->store.nr_orphans = 0;
	d->next_slot = d->store.last_slot;
	server_count(d);
}
