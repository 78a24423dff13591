/* SPDX-License-Identifier: Apache-2.0 */
/*
 * copier.h - copy lcores: staged slices into their blocks, checksum fused
 *
 * Each takes slices from its mailbox in order and never waits for a client: the writer hands it only
 * slices that are filled.  All slices of a session go to the same copier, so a record's checksum grows
 * in order; several sessions take turns slice by slice.
 */
#ifndef KVSHM_DAEMON_COPIER_H
#define KVSHM_DAEMON_COPIER_H

#include <stdint.h>

#include "kvshm/daemon/mailbox.h"

#define COPIER_MAX 8u

_Static_assert(LANE_COPIER + COPIER_MAX <= MAILBOX_LANES_MAX, "a lane each");

struct statpage;

struct copier {
	struct mailbox in;
	struct mailbox *out; /* the writer's */
	struct statpage *stats;
	unsigned number;
	uint64_t heartbeat_ns;
	uint64_t busy_ns; /* it copied; read by the writer */
};

/* Return: 0, -errno. */
int copier_init(struct copier *c, unsigned number, struct mailbox *out, struct statpage *stats);
void copier_fini(struct copier *c);

/* The lcore's function; returns after MAIL_QUIT. */
int copier_main(void *copier);

#endif
