/* SPDX-License-Identifier: Apache-2.0 */
/*
 * events.h - the ring of events, both ends: one writer, any number of readers, nobody waits
 *
 * Each entry is a sequence lock of its own (EV-1), so that an event is whole or not there; the number of the next
 * event (EV-2) tells a reader how far it may look.  Layout in <kvshm/events.h>.
 */
#ifndef KVSHM_STATS_EVENTS_H
#define KVSHM_STATS_EVENTS_H

#include <stddef.h>
#include <stdint.h>

#include <kvshm/events.h>
#include <kvshm/key.h>

struct event_ring;

/* ---- writer ------------------------------------------------------------------------------------------ */

/* Make the file @name in @dirfd anew, mode 0640, as statpage_create().  Return: 0, -errno. */
int events_create(int dirfd, const char *name, struct event_ring **ret_r);

/* @e's seq is filled in.  Hashes by events_hash(). */
void events_push(struct event_ring *r, const struct kvshm_event *e);

/* Under the key of this ring; never 0. */
uint64_t events_hash(const struct event_ring *r, const struct kvshm_key *key);

/* ---- reader ------------------------------------------------------------------------------------------ */

/* Map read-only and check every size.  Return: 0; -EBADMSG, -EPROTONOSUPPORT, -errno. */
int events_open(const char *path, struct event_ring **ret_r);

/* Number of the next event: from there on one hears what happens from now on. */
uint64_t events_next(const struct event_ring *r);

/* Number of the oldest event that the ring still holds: from there on one hears all that can be heard. */
uint64_t events_oldest(const struct event_ring *r);

/**
 * events_read() - events from *@next on, which is moved behind them
 * @ret_lost: those that were overwritten before they could be read are added
 * Return: number, at most @max.
 */
unsigned events_read(const struct event_ring *r, uint64_t *next, struct kvshm_event *ret, unsigned max,
		     uint64_t *ret_lost);

/* When this ring was begun. */
uint64_t events_start(const struct event_ring *r);

/* As the daemon wrote it once; only .next changes, read that by events_next(). */
const struct kvshm_events_page *events_header(const struct event_ring *r);

/* Both sides.  The file stays.  Return: NULL. */
struct event_ring *events_close(struct event_ring *r);

#endif
