/* SPDX-License-Identifier: Apache-2.0 */
/*
 * peer.c - who is at the other end of a socket, by the word of the kernel
 *
 * The pidfd only wakes; whether a client lives is told by the lock on its pin file, so a pid that was
 * reused between connect() and pidfd_open() does no harm.
 */
#include <errno.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "ipc/sock.h"

#ifndef SO_PEERPIDFD
#define SO_PEERPIDFD 77			/* Linux 6.5 */
#endif

static int peer_pidfd(int fd, pid_t pid)
{
	socklen_t len = sizeof(int);
	int pidfd;

	if (getsockopt(fd, SOL_SOCKET, SO_PEERPIDFD, &pidfd, &len) == 0)
		return pidfd;
	if (pid <= 0)
		return -1;
	pidfd = (int)syscall(SYS_pidfd_open, pid, 0);
	return pidfd < 0 ? -1 : pidfd;
}

int peer_read(int fd, struct peer *ret_p)
{
	struct ucred cred;
	socklen_t len = sizeof(cred);

	if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &cred, &len) < 0)
		return -errno;
	ret_p->pid = cred.pid;
	ret_p->uid = cred.uid;
	ret_p->gid = cred.gid;
	ret_p->pidfd = peer_pidfd(fd, cred.pid);
	return 0;
}
