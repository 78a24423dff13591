/* SPDX-License-Identifier: Apache-2.0 */
/*
 * private_daemon.h - a kvshmd of one's own in a temporary directory, for bench and load
 *
 * Ended by its pid and removed with its files at private_daemon_stop(), at exit() and on SIGINT,
 * SIGTERM and SIGHUP.  One per process.  What SIGKILL leaves behind is removed by the next one.
 */
#ifndef UTILS_PRIVATE_DAEMON_H
#define UTILS_PRIVATE_DAEMON_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

#define PRIVATE_DAEMON_PREFIX "kvshm-private-"	/* of the directory's name; the owner's pid follows */

struct private_daemon;

/**
 * private_daemon_start() - start the kvshmd beside this executable (or $KVSHM_DAEMON) and wait until it serves
 * @arena_bytes: size of the arena; @max_blocks: 0: default; @sessions: 0: default
 * Return: 0, -errno; prints why.
 */
int private_daemon_start(size_t arena_bytes, unsigned long max_blocks, unsigned sessions,
			 struct private_daemon **ret_d);

/* Before it is started: another SECTION.KEY=VALUE of its configuration, PRIVATE_SETTINGS of them at most. */
#define PRIVATE_SETTINGS 6u
void private_daemon_set(const char *setting);

/* Kill it with @sig; SIGKILL also reaps.  Return: 0, -errno. */
int private_daemon_kill(struct private_daemon *d, int sig);

/* Did it end by itself?  Reaps it then. */
bool private_daemon_has_exited(struct private_daemon *d);

/* Start it again on its content, without waiting until it serves.  Return: 0, -errno. */
int private_daemon_restart(struct private_daemon *d);

const char *private_daemon_socket(const struct private_daemon *d);
const char *private_daemon_dir(const struct private_daemon *d);	/* memory directory */
pid_t private_daemon_pid(const struct private_daemon *d);

/* End it and remove its files.  Takes NULL, returns NULL. */
struct private_daemon *private_daemon_stop(struct private_daemon *d);

/* private_stale.c: a directory with all that is in it; those in @base whose owner was killed. */
void private_daemon_remove(const char *root);
void private_daemon_sweep(const char *base);

#endif
