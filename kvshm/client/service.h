/* SPDX-License-Identifier: Apache-2.0 */
/*
 * service.h - a connection to kvshm-gpud, among the files of kvshm_service_*()
 *
 * One socket, one thread.  Requests are answered one by one, but for HOLD, whose answers come when they come: whoever
 * reads the socket hands them to the pool.
 */
#ifndef KVSHM_CLIENT_SERVICE_H
#define KVSHM_CLIENT_SERVICE_H

#include <kvshm/service.h>

#include "gpu/ctx.h"
#include "ipc/gpumsg.h"

struct offered {
	struct offered *next;
	uint64_t addr;
};

struct kvshm_service {
	struct kvshm *k;
	int sock;
	uint64_t timeout_ns;
	struct cuda cuda;
	struct gpu_ctx ctx;		/* of kvshm-gpud's device */
	struct offered *offered;
	struct kvshm_service_pool *pool;	/* NULL: not open */
	union gpumsg msg;		/* being sent, or the last that came */
};

/* ---- service.c ------------------------------------------------------------------------------------- */

/**
 * service_ask() - send s->msg, wait for its answer, which lies there then
 * @ret_fd: the descriptor that must come with it; NULL: none may
 * Return: 0; -ETIMEDOUT; -ECONNRESET; -EBADMSG another answer; -errno.
 */
int service_ask(struct kvshm_service *s, size_t len, const int *fds, unsigned nr_fds, enum gpumsg_type answer, int *ret_fd);

/* One message, no wait.  Return: its type; 0 nothing there; -ECONNRESET; -errno. */
int service_recv(struct kvshm_service *s, int *ret_fd);

/* ---- service_pool.c -------------------------------------------------------------------------------- */

/* An answer to a HOLD.  Those that nobody waits for are let be. */
void service_pool_told(struct kvshm_service_pool *p, const struct gpumsg_held *m);

#endif
