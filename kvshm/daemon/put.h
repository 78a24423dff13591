/* SPDX-License-Identifier: Apache-2.0 */
/*
 * put.h - a staged COMMIT under way
 *
 * The writer grants places a few records ahead (owner 0: the daemon), hands filled slices to a copy
 * lcore, and publishes each record when its last slice has landed, parent first.  A record that finds
 * no place, or whose commit is refused, is dropped, in a chain with all after it; its slices are taken
 * out of the window all the same.
 */
#ifndef KVSHM_DAEMON_PUT_H
#define KVSHM_DAEMON_PUT_H

#include <stdbool.h>
#include <stdint.h>

#include <kvshm/abi.h>

#include "kvshm/base/checksum.h"

struct session;
struct writer;

struct put {
	struct put *next;
	uint64_t user_data;
	uint64_t stamp_ns;
	uint16_t ns;
	uint8_t flags; /* KVSHM_SQE_F_NOPARENT, _LOOSE */
	bool is_broken; /* a chain that lost a record: the rest is dropped */
	uint32_t nr;
	uint32_t nr_placed; /* records that were offered a place */
	uint32_t post_rec, post_slice; /* next slice to come */
	uint32_t nr_done; /* records finished */
	uint32_t nr_published, nr_duplicate, nr_dropped;
	struct kvshm_key parent;
	struct checksum_state sum; /* of the record being copied; the copy lcore's */
	struct kvshm_commit_rec rec[]; /* private copies */
};

/* Take a checked staged COMMIT.  Return: 0: it completes by itself; -EINVAL, -ENOMEM, -EBUSY. */
int put_begin(struct writer *w, struct session *s, const struct kvshm_sqe *sqe,
	      const struct kvshm_commit_rec *rec);

/* Hand filled slices on, as far as they go.  Return: 1 something done, 0, -EPROTO. */
int put_poll(struct writer *w, struct session *s);

/* A copy lcore is done with this slice. */
void put_copied(struct writer *w, struct session *s);

/* Give everything up; no slice is under way. */
void put_abort(struct writer *w, struct session *s);

#endif
