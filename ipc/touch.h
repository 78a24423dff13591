/* SPDX-License-Identifier: Apache-2.0 */
/*
 * touch.h - the lossy touch ring: one record an acquire, never waited for
 *
 * Overflow is counted by the client.  Label TR-1 (tail, head).
 */
#ifndef IPC_TOUCH_H
#define IPC_TOUCH_H

#include <kvshm/abi.h>

#include "ipc/qp.h"

/* Client.  Return: 0; -EAGAIN full or impossible peer index (dropped). */
int touch_push(struct qp_end *e, const struct kvshm_touch *t);

/* Daemon: up to @max records, copied out.  Return: number; -EPROTO forged tail. */
int touch_drain(struct qp_end *e, struct kvshm_touch *ret, unsigned max);

#endif
