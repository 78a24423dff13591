/* SPDX-License-Identifier: Apache-2.0 */
/*
 * daemon.h - all of a running daemon, and who owns which part
 */
#ifndef KVSHM_DAEMON_DAEMON_H
#define KVSHM_DAEMON_DAEMON_H

#include <pthread.h>

#include "kvshm/daemon/conf.h"
#include "kvshm/daemon/copier.h"
#include "kvshm/daemon/instance.h"
#include "kvshm/daemon/mailbox.h"
#include "kvshm/daemon/rofd.h"
#include "kvshm/daemon/session.h"
#include "kvshm/daemon/store.h"
#include "kvshm/stats/statpage.h"

#define REAP_SAMPLES 256u

/* Main's counters: stored by main, copied into the page by the writer. */
struct main_counts {
	uint64_t accepts, attaches, refusals, detaches, detaches_bad;
	uint64_t deaths[NR_DEATH_VIA];
	uint64_t sessions, orphans;
	uint64_t reap_last_ns, reap_max_ns, reap_p99_ns;
	uint64_t staging_bytes;
	uint64_t reloads, reloads_failed;
};

struct daemon {
	/* set before the threads start, then read only; of .conf a reload changes what is live */
	int argc;
	char **argv;
	struct conf conf;
	struct instance inst;
	struct rofd rofd;
	struct statpage *stats; /* numbers by the writer, heartbeats by each thread */
	unsigned nr_copiers;
	/* mailboxes */
	struct mailbox to_writer, to_main;
	/* writer */
	struct store store; /* main reads geometry and extents of .dir only */
	struct copier copier[COPIER_MAX];
	/* main */
	struct session session[SESSION_MAX];
	struct main_counts counts;
	uint64_t reap_ns[REAP_SAMPLES];
	unsigned nr_reaps;
	int listen_fd, link_fd, epoll_fd, signal_fd, conf_fd; /* link_fd -1: no kvshm-gpud can come */
	bool is_stopping;
	bool is_socket_ours; /* not the service manager's, which keeps its path */
	bool is_accept_paused;
	uint32_t next_slot;
	uint64_t watchdog_ns, fed_ns; /* interval; last feeding */
	/* grower */
	pthread_t grower;
	bool has_grower;
};

/* reload.c: read the configuration again and take what may change; on an error nothing changes. */
void reload_conf(struct daemon *d);

/* grow.c: make the rest of the arena in the background.  Return: 0, -errno. */
int grower_start(struct daemon *d);
void grower_stop(struct daemon *d);

#endif
