/* SPDX-License-Identifier: Apache-2.0 */
/* listen.h - the ring of events of a daemon, followed for a time; asks nothing of the daemon */
#ifndef UTILS_LISTEN_H
#define UTILS_LISTEN_H

#include <stdbool.h>
#include <stdint.h>

#include "utils/hear.h"
#include "utils/target.h"

struct listen {
	const char *command;		/* "kvshm mrc": before a message */
	struct target target;
	double seconds;			/* 0: until SIGINT or SIGTERM, or the daemon ends */
	bool is_quiet;
	bool with_held;			/* begin with what the ring still holds */
	/* out */
	uint64_t events, lost, requests;
	bool is_daemon_gone;
};

/**
 * listen_run() - tell @on_request what is asked of the daemon, from now on or as far back as the ring holds
 * Says on stderr what goes wrong, and that it listens.  SIGINT and SIGTERM end it early and well.
 * Return: EXIT_FINE; an exit status of commands.h.
 */
int listen_run(struct listen *l, int (*on_request)(void *arg, const struct heard_request *q), void *arg);

#endif
