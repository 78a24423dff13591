/* SPDX-License-Identifier: Apache-2.0 */
/*
 * save.h - a STAGE_OUT under way: blocks that kvshm-gpud fills from a GPU
 *
 *   WAITING   checked and copied; others of its session are under way, and these are as many bytes as it may have
 *   SENT      blocks are granted to kvshm-gpud's session, the job is with it
 *   OVER      landed, or failed; it is committed when those before it were, for they may be its parents
 *
 * The grants are in kvshm-gpud's name, so a client that dies has none: its copies land, then the blocks are free again.
 * If kvshm-gpud dies or gives up, nobody here knows what the device still writes.  Its grants then stay until the
 * reaper has seen the end of its process, when the driver has let go; meanwhile nobody finds or gets these blocks.
 */
#ifndef KVSHM_DAEMON_SAVE_H
#define KVSHM_DAEMON_SAVE_H

#include <stdbool.h>
#include <stdint.h>

#include <kvshm/abi.h>

struct save;
struct session;
struct writer;

#define SAVES_MAX 16u /* of one session; its later entries wait */

/**
 * save_begin() - take a STAGE_OUT
 * @args: a private copy, of sqe->len bytes
 * Return: 0: it completes by itself; -EINVAL malformed, -ENOMEM.
 */
int save_begin(struct writer *w, struct session *s, const struct kvshm_sqe *sqe, const void *args);

/**
 * save_over() - kvshm-gpud is done with one
 * @res: copies that landed, or -errno
 * @is_held: the device may still write to its blocks
 */
void save_over(struct writer *w, struct save *sv, int res, bool is_held);

/* The session ends: nothing of it is published any more; what is under way still ends by save_over(). */
void save_forget(struct writer *w, struct session *s);

/* The writer ends. */
void save_free(struct save *sv);

#endif
