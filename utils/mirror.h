/* SPDX-License-Identifier: Apache-2.0 */
/*
 * mirror.h - what the world has been told of a daemon's blocks
 *
 * A map of the directory, read-only, and a table of the blocks that were told of: what was told is taken back by
 * its key, long after the descriptor has another.  Fed by a walk over all descriptors and by the ring of events
 * since.  Asks nothing of the daemon.  One thread.
 */
#ifndef UTILS_MIRROR_H
#define UTILS_MIRROR_H

#include <stdbool.h>
#include <stdint.h>

#include <kvshm/events.h>
#include <kvshm/key.h>

struct mirror;

struct mirror_block {
	struct kvshm_key key;
	uint32_t generation;
	uint32_t parent, parent_generation;	/* 0, 0: a root or a loose block */
	uint32_t length;		/* bytes */
	uint16_t tokens;
	uint16_t ns;
	bool is_told;
};

/* @type: KVSHM_EVENT_STORED or _REMOVED.  @parent: NULL without one. */
typedef void (*mirror_fn)(void *arg, enum kvshm_event_type type, const struct mirror_block *b,
			  const struct mirror_block *parent);

/**
 * mirror_open() - map the directory of the memory directory @path; nothing is told yet
 * Return: 0; -EPROTONOSUPPORT, -EBADMSG, -ENODATA as directory_attach(), -ENOMEM, -errno of open().
 */
int mirror_open(const char *path, struct mirror **ret_m);
struct mirror *mirror_close(struct mirror *m);

/* Is the directory served by the daemon that wrote @h: has it taken over what it found? */
bool mirror_is_served_by(const struct mirror *m, const struct kvshm_events_page *h);

/* Fingerprint of a namespace that a block is of. */
const uint8_t *mirror_fingerprint(const struct mirror *m, uint16_t ns);

/**
 * mirror_walk() - begin anew: all that is published now counts as told
 * Take the number of the next event before, and go on with mirror_event() from there.
 * Return: 0, -ENOMEM.
 */
int mirror_walk(struct mirror *m);

/* All that was told, parents before children, a chain in one run.  Return: 0, -ENOMEM. */
int mirror_each(const struct mirror *m, mirror_fn fn, void *arg);

/**
 * mirror_event() - one event of the ring; @fn hears what changes by it, in the order to tell it
 * What is no longer true when it is read is not told, nor is its end.
 * Return: true, or false: no daemon writes such an event.
 */
bool mirror_event(struct mirror *m, const struct kvshm_event *e, mirror_fn fn, void *arg);

/* Blocks that count as told. */
uint64_t mirror_told(const struct mirror *m);

#endif
