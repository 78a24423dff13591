/* SPDX-License-Identifier: Apache-2.0 */
/* sock.c - SEQPACKET frames with descriptors */
#include "ipc/sock.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/time.h>
#include <sys/un.h>
#include <unistd.h>

#include "kvshm/base/clock.h"
#include "kvshm/base/compiler.h"

static int address(const char *path, struct sockaddr_un *ret_sa)
{
	size_t len = strlen(path);

	memset(ret_sa, 0, sizeof(*ret_sa));
	ret_sa->sun_family = AF_UNIX;
	if (len == 0)
		return -EINVAL;
	if (len >= sizeof(ret_sa->sun_path))
		return -ENAMETOOLONG;
	memcpy(ret_sa->sun_path, path, len + 1);
	return 0;
}

/*
 * The socket is made under a neighbouring name of equal length, and takes its place when it has its
 * mode and listens: a client finds the old socket, none, or one that works.
 */
int sock_listen(const char *path, mode_t mode, int backlog)
{
	struct sockaddr_un sa;
	int fd, ret = address(path, &sa);
	char *last;

	if (ret < 0)
		return ret;
	last = &sa.sun_path[strlen(path) - 1];
	*last = *last == '~' ? '#' : '~';
	fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (fd < 0)
		return -errno;
	unlink(sa.sun_path);		/* of a start that was killed here */
	if (bind(fd, (struct sockaddr *)&sa, sizeof(sa)) < 0) {
		ret = -errno;
		goto err_close;
	}
	if (chmod(sa.sun_path, mode) < 0 || listen(fd, backlog) < 0 || rename(sa.sun_path, path) < 0) {
		ret = -errno;
		goto err_unlink;
	}
	return fd;
err_unlink:
	unlink(sa.sun_path);
err_close:
	close(fd);
	return ret;
}

/* Blocking, with a send timeout, which bounds connect() when the backlog is full. */
static int connect_by(int fd, const struct sockaddr_un *sa, uint64_t deadline_ns)
{
	uint64_t now, left;
	struct timeval tv;

	do {
		now = clock_ns();
		if (now >= deadline_ns)
			return -ETIMEDOUT;
		left = (deadline_ns - now + 999) / 1000;
		tv.tv_sec = (time_t)(left / 1000000);
		tv.tv_usec = (suseconds_t)(left % 1000000);
		if (setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &tv, sizeof(tv)) < 0)
			return -errno;
		if (connect(fd, (const struct sockaddr *)sa, sizeof(*sa)) == 0)
			return 0;
	} while (errno == EINTR);
	return errno == EAGAIN ? -ETIMEDOUT : -errno;
}

int sock_connect(const char *path, unsigned timeout_ms)
{
	struct sockaddr_un sa;
	int fd, ret = address(path, &sa);

	if (ret < 0)
		return ret;
	fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
	if (fd < 0)
		return -errno;
	ret = connect_by(fd, &sa, clock_ns() + timeout_ms * 1000000ull);
	if (ret == 0 && fcntl(fd, F_SETFL, O_NONBLOCK) < 0)
		ret = -errno;
	if (ret < 0) {
		close(fd);
		return ret;
	}
	return fd;
}

union control {				/* one SCM_RIGHTS message of the largest size */
	struct cmsghdr align;
	char bytes[CMSG_SPACE(KVSHM_MSG_MAX_FDS * sizeof(int))];
};

int sock_send(int fd, const void *msg, size_t len, const int *fds, unsigned nr)
{
	return len > KVSHM_MSG_MAX ? -EMSGSIZE : sock_send_long(fd, msg, len, fds, nr);
}

int sock_send_long(int fd, const void *msg, size_t len, const int *fds, unsigned nr)
{
	struct iovec iov = { .iov_base = (void *)msg, .iov_len = len };
	struct msghdr mh = { .msg_iov = &iov, .msg_iovlen = 1 };
	union control ctl;
	struct cmsghdr *c;

	if (len > SOCK_MSG_MAX || nr > KVSHM_MSG_MAX_FDS)
		return -EMSGSIZE;
	if (nr) {
		memset(&ctl, 0, sizeof(ctl));
		mh.msg_control = &ctl;
		mh.msg_controllen = CMSG_SPACE(nr * sizeof(int));
		c = CMSG_FIRSTHDR(&mh);
		c->cmsg_level = SOL_SOCKET;
		c->cmsg_type = SCM_RIGHTS;
		c->cmsg_len = CMSG_LEN(nr * sizeof(int));
		memcpy(CMSG_DATA(c), fds, nr * sizeof(int));
	}
	if (sendmsg(fd, &mh, MSG_DONTWAIT | MSG_NOSIGNAL) >= 0)
		return 0;
	return errno == ECONNRESET ? -EPIPE : -errno;	/* it hung up, having read all or not */
}

/* Collect what came along; what is not wanted is closed.  Return: number, -EBADMSG. */
static int take_fds(struct msghdr *mh, int *fds, unsigned max_fds)
{
	unsigned nr = 0, i, n;
	bool is_bad = mh->msg_flags & (MSG_TRUNC | MSG_CTRUNC);
	struct cmsghdr *c;
	int fd;

	for (c = CMSG_FIRSTHDR(mh); c; c = CMSG_NXTHDR(mh, c)) {
		if (c->cmsg_level != SOL_SOCKET || c->cmsg_type != SCM_RIGHTS) {
			is_bad = true;
			continue;
		}
		n = (unsigned)((c->cmsg_len - CMSG_LEN(0)) / sizeof(int));
		for (i = 0; i < n; i++) {
			memcpy(&fd, CMSG_DATA(c) + i * sizeof(int), sizeof(fd));
			if (nr < max_fds) {
				fds[nr++] = fd;
			} else {
				close(fd);
				is_bad = true;
			}
		}
	}
	if (!is_bad)
		return (int)nr;
	while (nr > 0)
		close(fds[--nr]);
	return -EBADMSG;
}

static bool header_is_valid(const void *buf, size_t len)
{
	struct kvshm_msg_hdr h;

	if (len < sizeof(h) || len > SOCK_MSG_MAX)
		return false;
	memcpy(&h, buf, sizeof(h));
	return h.magic == KVSHM_MSG_MAGIC && h.len == len;
}

int sock_recv(int fd, void *buf, int *fds, unsigned max_fds, unsigned *ret_nr)
{
	return sock_recv_long(fd, buf, KVSHM_MSG_MAX, fds, max_fds, ret_nr);
}

int sock_recv_long(int fd, void *buf, size_t max, int *fds, unsigned max_fds, unsigned *ret_nr)
{
	struct iovec iov = { .iov_base = buf, .iov_len = max };
	struct msghdr mh;
	union control ctl;
	bool was_reset = false;
	ssize_t len;
	int nr;

	if (!fds)
		max_fds = 0;
	if (max_fds > KVSHM_MSG_MAX_FDS)
		return -EINVAL;
	for (;;) {
		memset(&mh, 0, sizeof(mh));
		mh.msg_iov = &iov;
		mh.msg_iovlen = 1;
		if (max_fds) {		/* room for no more: the kernel installs none beyond it */
			mh.msg_control = &ctl;
			mh.msg_controllen = CMSG_LEN(max_fds * sizeof(int));
		}
		len = recvmsg(fd, &mh, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
		if (len >= 0)
			break;
		if (errno == EINTR)
			continue;
		/* Told once when the peer left something unread; its last words may still be there. */
		if (errno != ECONNRESET)
			return -errno;
		if (was_reset)
			return 0;
		was_reset = true;
	}
	nr = take_fds(&mh, fds, max_fds);
	if (nr < 0)
		return nr;
	if (len == 0 || !header_is_valid(buf, (size_t)len)) {
		while (nr > 0)
			close(fds[--nr]);
		return len == 0 ? 0 : -EBADMSG;
	}
	if (ret_nr)
		*ret_nr = (unsigned)nr;
	return (int)len;
}

int sock_wait(int fd, uint64_t deadline_ns)
{
	struct pollfd p = { .fd = fd, .events = POLLIN | POLLRDHUP };
	struct timespec ts;
	uint64_t now, left;
	int ret;

	do {
		now = clock_ns();
		left = deadline_ns > now ? deadline_ns - now : 0;
		ts.tv_sec = (time_t)(left / 1000000000u);
		ts.tv_nsec = (long)(left % 1000000000u);
		ret = ppoll(&p, 1, &ts, NULL);
	} while (ret < 0 && errno == EINTR);
	if (ret < 0)
		return -errno;
	return p.revents & POLLNVAL ? -EBADF : ret;
}

bool sock_is_hung_up(int fd)
{
	struct pollfd p = { .fd = fd, .events = POLLRDHUP };

	return poll(&p, 1, 0) > 0;
}
