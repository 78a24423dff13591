/* SPDX-License-Identifier: Apache-2.0 */
/*
 * feed.h - what a daemon's blocks do, over its restarts: mirror.h kept up to date by the ring of events
 *
 * Waits for a daemon that is not there yet, and for the next one after it.  Asks nothing of it.  One thread.
 */
#ifndef UTILS_FEED_H
#define UTILS_FEED_H

#include "utils/mirror.h"
#include "utils/target.h"

struct feed;

struct feed_ops {
	/* All that was told before is void; mirror_each() says what is told now.  @reason: static, for people. */
	void (*begun)(void *arg, const char *reason);
	mirror_fn changed;
};

int feed_create(const struct target *t, const struct feed_ops *ops, void *arg, struct feed **ret_f);
struct feed *feed_destroy(struct feed *f);

/**
 * feed_poll() - hear what there is, without waiting
 * Return: events heard, 0: nothing new; -EACCES the daemon's files may not be read, -EPROTONOSUPPORT they are of
 * another version, -ENOMEM.
 */
int feed_poll(struct feed *f);

/* Begin anew at the next poll. */
void feed_begin_again(struct feed *f, const char *reason);

/* NULL: no daemon was met yet. */
const struct mirror *feed_mirror(const struct feed *f);

/* Of the daemon whose blocks these are: another one after its restart, greater each time.  0: none yet. */
uint64_t feed_incarnation(const struct feed *f);

/* Events that no daemon writes. */
uint64_t feed_malformed(const struct feed *f);

#endif
