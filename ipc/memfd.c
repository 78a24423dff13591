/* SPDX-License-Identifier: Apache-2.0 */
/*
 * memfd.c - sealed shared memory of one session, made by the daemon
 *
 * The size is sealed before anybody else gets the descriptor: a client that shrinks it would kill
 * the daemon by SIGBUS.  FUTURE_WRITE has to wait until the client has mapped it; until then a
 * client can punch holes, which cost it its own bytes and us a fresh page.
 */
#include "ipc/memfd.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

#ifndef MFD_NOEXEC_SEAL
#define MFD_NOEXEC_SEAL 0x0008U		/* Linux 6.3 */
#endif

#define SEALS_SIZE (F_SEAL_SHRINK | F_SEAL_GROW)
#define SEALS_ALL (SEALS_SIZE | F_SEAL_FUTURE_WRITE | F_SEAL_SEAL)

static int create(const char *name)
{
	int fd = memfd_create(name, MFD_CLOEXEC | MFD_ALLOW_SEALING | MFD_NOEXEC_SEAL);

	if (fd < 0 && errno == EINVAL)	/* before Linux 6.3 */
		fd = memfd_create(name, MFD_CLOEXEC | MFD_ALLOW_SEALING);
	return fd < 0 ? -errno : fd;
}

int memfd_make(const char *name, size_t len, void **ret_map, int *ret_fd)
{
	int fd = create(name), ret;
	void *map;

	if (fd < 0)
		return fd;
	ret = -posix_fallocate(fd, 0, (off_t)len);
	if (ret < 0)
		goto err_close;
	if (fcntl(fd, F_ADD_SEALS, SEALS_SIZE) < 0) {
		ret = -errno;
		goto err_close;
	}
	map = mmap(NULL, len, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_POPULATE, fd, 0);
	if (map == MAP_FAILED) {
		ret = -errno;
		goto err_close;
	}
	*ret_map = map;
	*ret_fd = fd;
	return 0;
err_close:
	close(fd);
	return ret;
}

int memfd_seal(int fd)
{
	int now;

	if (fcntl(fd, F_ADD_SEALS, SEALS_ALL) < 0)
		return -errno;		/* EPERM: the client has sealed the seals first */
	now = fcntl(fd, F_GET_SEALS);
	if (now < 0)
		return -errno;
	return (now & SEALS_ALL) == SEALS_ALL ? 0 : -EPERM;
}
