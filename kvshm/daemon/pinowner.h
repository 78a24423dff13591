/* SPDX-License-Identifier: Apache-2.0 */
/*
 * pinowner.h - who owns which pin file, kept over a restart
 *
 * The lock on a pin file says that its owner lives; closing any descriptor of the file drops the lock
 * of a process that goes on living.  A private file, which no client gets, keeps {slot, pid, start
 * time}, so that a restarted daemon goes on scanning the pin file of such a process.
 */
#ifndef KVSHM_DAEMON_PINOWNER_H
#define KVSHM_DAEMON_PINOWNER_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#define PINOWNER_MAX 256u /* entries, one a session table entry */

struct pinowner {
	uint32_t slot; /* 0: unused */
	uint32_t pid; /* 0: unknown */
	uint64_t start_ticks; /* field 22 of /proc/pid/stat */
	uint32_t uid;
	uint32_t pin_words;
	char label[32];
};

/* The file `sessions` in @dirfd, made if missing.  Return: descriptor, -errno. */
int pinowner_open(int dirfd);

/* Is the file there?  It lies beside the pin files: where it is missing, they are too. */
bool pinowner_exists(int dirfd);

/* Entry @index, whole or not at all for a reader after our death.  Return: 0, -errno. */
int pinowner_put(int fd, unsigned index, const struct pinowner *o);

/* Return: 1 the entry of @slot, 0 none. */
int pinowner_find(int fd, uint32_t slot, struct pinowner *ret);

/* The process of that pid and start time still runs. */
bool pinowner_is_alive(const struct pinowner *o);

/* Start time of a process, 0: gone or not to be seen. */
uint64_t process_start_ticks(pid_t pid);

#endif
