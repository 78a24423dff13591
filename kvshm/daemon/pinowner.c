/* SPDX-License-Identifier: Apache-2.0 */
#include "kvshm/daemon/pinowner.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "kvshm/base/proc.h"

int pinowner_open(int dirfd)
{
	int fd = openat(dirfd, "sessions", O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);

	if (fd < 0)
		return -errno;
	if (ftruncate(fd, PINOWNER_MAX * sizeof(struct pinowner)) < 0) {
		int err = errno;

		close(fd);
		return -err;
	}
	return fd;
}

bool pinowner_exists(int dirfd)
{
	return faccessat(dirfd, "sessions", F_OK, AT_SYMLINK_NOFOLLOW) == 0;
}

int pinowner_put(int fd, unsigned index, const struct pinowner *o)
{
	off_t at = (off_t)(index * sizeof(*o));

	return pwrite(fd, o, sizeof(*o), at) == (ssize_t)sizeof(*o) ? 0 : -EIO;
}

int pinowner_find(int fd, uint32_t slot, struct pinowner *ret)
{
	struct pinowner all[PINOWNER_MAX];
	ssize_t n = pread(fd, all, sizeof(all), 0);

	for (size_t i = 0; n > 0 && i < (size_t)n / sizeof(all[0]); i++) {
		if (slot == 0 || all[i].slot != slot)
			continue;
		*ret = all[i];
		ret->label[sizeof(ret->label) - 1] = '\0';
		return 1;
	}
	return 0;
}

uint64_t process_start_ticks(pid_t pid)
{
	struct proc_stat st;

	return proc_stat_read(pid, &st) < 0 ? 0 : st.start_ticks;
}

bool pinowner_is_alive(const struct pinowner *o)
{
	return o->pid && o->start_ticks && process_start_ticks((pid_t)o->pid) == o->start_ticks;
}
