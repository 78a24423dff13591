/* SPDX-License-Identifier: Apache-2.0 */
/*
 * doorbell.h - wake a sleeping writer; wake a sleeping client
 *
 * Inbound: one eventfd a session, rung only when the writer's sleep flag (in the read-only
 * directory) says so.  Outbound: send(MSG_DONTWAIT) on the socket, because a client could make the
 * daemon block on a shared eventfd.  DB-1: producer stores its index, fences, reads the flag; the
 * sleeper stores the flag, fences, looks at the rings once more.
 */
#ifndef IPC_DOORBELL_H
#define IPC_DOORBELL_H

#include <stdint.h>

#include "ipc/segment.h"

/* Daemon: a non-blocking eventfd.  Return: descriptor, -errno. */
int doorbell_create(void);

/* Client, after a push: fence, look at the flag, write if set.  Return: 1 rung, 0 awake, -errno. */
int doorbell_ring(int fd, const uint32_t *writer_asleep);

/* Daemon: announce sleep (stores the flag, fences); the caller then looks once more at all rings. */
void doorbell_arm(uint32_t *writer_asleep);
void doorbell_disarm(uint32_t *writer_asleep);

/*
 * Daemon, after cq_push(): fence, look at the client's flag, send a WAKE message if set.
 * Once a batch of completions.  Return: 1 sent, 0 awake, -errno (-EPIPE: it hung up).
 */
int doorbell_wake_client(int sock, struct kvshm_segment *hdr);

/* Client: announce sleep / awake again (DB-1, same protocol on client_asleep). */
void doorbell_client_arm(struct kvshm_segment *hdr);
void doorbell_client_disarm(struct kvshm_segment *hdr);

#endif
