/* SPDX-License-Identifier: Apache-2.0 */
/* loop.h - the main thread's loop: socket, deaths, signals, answers of the writer */
#ifndef KVSHM_DAEMON_LOOP_H
#define KVSHM_DAEMON_LOOP_H

struct daemon;

/* Open the loop's descriptors; signals are blocked for all threads that start later.  Return: 0, -errno. */
int loop_open(struct daemon *d);
/* Watch the listening socket and the mailbox too, and run until SIGTERM or SIGINT. */
int loop_run(struct daemon *d);
void loop_close(struct daemon *d);

#endif
