/* SPDX-License-Identifier: Apache-2.0 */
/*
 * target.h - which daemon a command looks at, and whether it lives
 *
 * Tools read shared memory only, so all of this works while the daemon hangs or is dead.
 */
#ifndef UTILS_TARGET_H
#define UTILS_TARGET_H

#include <stddef.h>

#include "kvshm/stats/events.h"
#include "kvshm/stats/statpage.h"

struct target {
	const char *instance;		/* NULL: "main" */
	const char *socket;		/* NULL: $KVSHM_SOCKET, the user's, the system's */
};

/* Rows of an option_table: what each command that looks at a daemon has. */
#define TARGET_ROWS(t) TEXT_ROW("instance", 'i', &(t)->instance), TEXT_ROW("socket", 0, &(t)->socket)

enum target_state {
	TARGET_RUNNING,
	TARGET_DEAD,
	TARGET_STOPPED,			/* SIGSTOP, debugger, freezer */
	TARGET_SILENT,			/* no heartbeat for 2 s */
};

/**
 * target_open() - find and map the statistics page
 * Prints why not to stderr.  Return: EXIT_FINE with @ret_p, else the exit status.
 */
int target_open(const struct target *t, struct statpage **ret_p);

/* Map the ring of events that lies beside the page.  Return: as events_open(); -ENOENT no instance. */
int target_events(const struct target *t, struct event_ring **ret_r);

/**
 * target_state() - is the daemon of this page alive?
 * Same PID namespace: /proc says at once.  Otherwise the heartbeat is watched, 2 s at most.
 */
enum target_state target_state(const struct statpage *p);

/* Where the daemon keeps its memory.  Return: as target_open(). */
int target_memory_dir(const struct target *t, char ret_dir[KVSHM_STATS_TEXT_LEN]);

/* One text of the page, without a word on stderr.  Return: 0; -errno: as instance_stats() and statpage_open(). */
int target_text(const struct target *t, enum kvshm_stats_text which, char ret_text[KVSHM_STATS_TEXT_LEN]);

/* Do the page's pids mean something here, in this PID namespace? */
bool target_has_pids(const struct statpage *p);

/* "running", "dead", "stopped", "not responding". */
const char *target_state_name(enum target_state s);

/* Exit status that belongs to a state: EXIT_FINE, EXIT_DEAD, EXIT_HUNG. */
int target_exit(enum target_state s);

/* "1.5 GiB", "612 KiB", "0 B"; @buf of 16 bytes. */
const char *human_bytes(unsigned long long bytes, char *buf);

#endif
