/* SPDX-License-Identifier: Apache-2.0 */
/*
 * pinfile.c - pins.<number>: made by the daemon, written and locked by one client
 *
 * The lock is a plain fcntl record lock: the kernel drops it when its process dies, and a forked
 * child does not inherit it.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <unistd.h>

#include "kvshm/pin/pin.h"

int pinfile_create(int dirfd, uint32_t number, uint32_t nr_words)
{
	const uint64_t open_word = KVSHM_PINFILE_OPEN;
	char name[32];
	int fd, ret;

	if (nr_words < 2)
		return -EINVAL;
	snprintf(name, sizeof(name), "pins.%u", number);
	fd = openat(dirfd, name, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
	if (fd < 0)
		return -errno;
	/* Room now, or a full tmpfs would kill the client at its first pin. */
	ret = -posix_fallocate(fd, 0, (off_t)nr_words * (off_t)sizeof(uint64_t));
	if (ret < 0)
		goto err_unlink;
	if (pwrite(fd, &open_word, sizeof(open_word), 0) != (ssize_t)sizeof(open_word)) {
		ret = -EIO;
		goto err_unlink;
	}
	return fd;
err_unlink:
	unlinkat(dirfd, name, 0);
	close(fd);
	return ret;
}

int pinfile_lock(int fd)
{
	struct flock l = { .l_type = F_WRLCK, .l_whence = SEEK_SET };

	return fcntl(fd, F_SETLK, &l) < 0 ? -errno : 0;
}

int pinfile_is_locked(int fd, int *ret_pid)
{
	struct flock l = { .l_type = F_WRLCK, .l_whence = SEEK_SET };

	if (fcntl(fd, F_GETLK, &l) < 0)
		return -errno;
	if (l.l_type == F_UNLCK)
		return 0;
	if (ret_pid)
		*ret_pid = l.l_pid;
	return 1;
}
