/* SPDX-License-Identifier: Apache-2.0 */
/*
 * sandbox.h - what a daemon taken over by a client could still do: little
 *
 * Two steps.  sandbox_prepare(), first thing: no core file, no ptrace by a peer of our uid, no new
 * privileges.  sandbox_enter(), when all threads run and before a client is listened to: only the
 * system calls that the service needs, for all threads, for good.
 */
#ifndef KVSHM_DAEMON_SANDBOX_H
#define KVSHM_DAEMON_SANDBOX_H

enum sandbox_mode { /* daemon.sandbox, in the order of its names */
	SANDBOX_ON, /* what is not listed fails with EPERM */
	SANDBOX_KILL, /* what is not listed ends the daemon */
	SANDBOX_LOG, /* what is not listed is done, and told to the kernel's log */
	SANDBOX_OFF,
};

/* Of the process; inherited by threads made later. */
void sandbox_prepare(void);

/**
 * sandbox_enter() - the filter, for all threads
 * Needs sandbox_prepare() before.  Cannot be undone; a second one only takes more away.
 * Return: 0; -EOPNOTSUPP a sanitizer's build, whose run-time calls what it likes; -errno: this kernel
 * gives none, the process is as it was.
 */
int sandbox_enter(enum sandbox_mode mode);

#endif
