/* SPDX-License-Identifier: Apache-2.0 */
/*
 * server.h - main's side of sessions: socket, handshake, requests, end
 *
 * Everything here runs in the main thread and never blocks.
 */
#ifndef KVSHM_DAEMON_SERVER_H
#define KVSHM_DAEMON_SERVER_H

#include <stdbool.h>
#include <stdint.h>

#include "kvshm/daemon/mailbox.h"
#include "kvshm/daemon/session.h"

struct daemon;

/* What an epoll event is about: kind << 32 | index. */
enum event_kind { EVENT_LISTEN, EVENT_SIGNAL, EVENT_MAIL, EVENT_SOCKET, EVENT_PROCESS, EVENT_LINK };

static inline uint64_t event_tag(enum event_kind kind, unsigned index)
{
	return (uint64_t)kind << 32 | index;
}

/* Watch @fd.  Return: 0, -errno. */
int server_watch(struct daemon *d, int fd, uint32_t events, uint64_t tag);

/* Take connections that wait. */
void server_accept(struct daemon *d);

/* After a pause: descriptors or entries may be free again. */
void server_resume_accept(struct daemon *d);

/* A session's socket has something to say, or hung up. */
void server_on_socket(struct daemon *d, struct session *s);

/* The writer answered. */
void server_on_mail(struct daemon *d, const struct mail *m);

/* How many sessions are served, and how many only count. */
void server_count(struct daemon *d);

/* Entries of orphans, before the threads start. */
void server_take_orphans(struct daemon *d);

/* ---- handshake.c's counterpart here (welcome.c) ------------------------------------------------ */

/* HELLO came.  Return: 0, or -errno: refused, the session ends. */
int welcome_hello(struct daemon *d, struct session *s, const struct kvshm_msg_hello *m);
/* The writer scans the pin file now: send WELCOME.  Return: 0, -errno. */
int welcome_send(struct daemon *d, struct session *s);
/* The client has mapped segment or staging: seal, serve.  Return: 0, -errno. */
int welcome_mapped(struct daemon *d, struct session *s);
int welcome_extents(struct daemon *d, struct session *s, uint32_t first);
int welcome_staging(struct daemon *d, struct session *s);
void welcome_refuse(struct session *s, int error, const char *text);

/* ---- the end of sessions (reaper.c) ------------------------------------------------------------- */

/* End a session for an offence: its queue stops, its pins count until its owner is gone. */
void reaper_offence(struct daemon *d, struct session *s, enum offence o);
/* Something told that the owner may be gone: look. */
void reaper_notice(struct daemon *d, struct session *s, enum death_via via, uint64_t now_ns);
/* Look at all who may be gone, and at half-open sessions past their time. */
void reaper_tick(struct daemon *d, uint64_t now_ns);
/* Before somebody is refused for want of room: who has left, but is not told by epoll yet (D11)? */
void reaper_look_for_hangups(struct daemon *d, uint64_t now_ns);
/* ms until reaper_tick() is wanted again, -1: nobody. */
int reaper_timeout_ms(const struct daemon *d, uint64_t now_ns);
void reaper_stopped(struct daemon *d, struct session *s);
void reaper_removed(struct daemon *d, struct session *s);

#endif
