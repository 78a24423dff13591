/* SPDX-License-Identifier: Apache-2.0 */
/*
 * sock.h - SEQPACKET frames with descriptors and credentials
 *
 * One struct a message, exact length.  A message that is too long, truncated, or that carries
 * descriptors where none are expected is refused and everything it brought is closed.
 */
#ifndef IPC_SOCK_H
#define IPC_SOCK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include <kvshm/abi.h>

/* Listen at @path (an old socket file is replaced only by the holder of the instance lock). */
int sock_listen(const char *path, mode_t mode, int backlog);

/* Connect within @timeout_ms.  Return: descriptor (non-blocking, CLOEXEC), -errno. */
int sock_connect(const char *path, unsigned timeout_ms);

/* Send one message of KVSHM_MSG_MAX bytes at most, with @nr descriptors, never blocking.  Return: 0, -EAGAIN, -EPIPE, -errno. */
int sock_send(int fd, const void *msg, size_t len, const int *fds, unsigned nr);

/**
 * sock_recv() - one message, never blocking
 * @buf: of KVSHM_MSG_MAX bytes; @fds: room for @max_fds, ret_nr set; NULL: any descriptor is an offence
 * Return: length; 0: hung up; -EAGAIN; -EBADMSG truncated, bad header, unexpected descriptors (closed).
 */
int sock_recv(int fd, void *buf, int *fds, unsigned max_fds, unsigned *ret_nr);

/* Longer messages, where both ends know of them: up to SOCK_MSG_MAX; @max is @buf's size. */
#define SOCK_MSG_MAX 32768u
int sock_send_long(int fd, const void *msg, size_t len, const int *fds, unsigned nr);
int sock_recv_long(int fd, void *buf, size_t max, int *fds, unsigned max_fds, unsigned *ret_nr);

/* Wait until readable or hung up.  Return: 1, 0 timeout, -errno. */
int sock_wait(int fd, uint64_t deadline_ns);

/* Has the peer hung up?  A look, no message is consumed. */
bool sock_is_hung_up(int fd);

struct peer {
	pid_t pid;			/* 0: in another PID namespace */
	uid_t uid;
	gid_t gid;
	int pidfd;			/* -1: none to be had */
};
/* Credentials from the kernel; SO_PEERPIDFD where there is one, else pidfd_open().  Return: 0, -errno. */
int peer_read(int fd, struct peer *ret_p);

#endif
