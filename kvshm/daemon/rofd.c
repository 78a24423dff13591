/* SPDX-License-Identifier: Apache-2.0 */
#include "kvshm/daemon/rofd.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/mount.h>
#include <sys/statvfs.h>
#include <unistd.h>

static int clone_mount(const char *dir)
{
	struct mount_attr attr = {
		.attr_set = MOUNT_ATTR_RDONLY | MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV |
			    MOUNT_ATTR_NOEXEC,
	};
	int fd = open_tree(AT_FDCWD, dir, OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC | AT_RECURSIVE);

	if (fd < 0)
		return -errno;
	if (mount_setattr(fd, "", AT_EMPTY_PATH, &attr, sizeof(attr)) < 0) {
		int err = errno;

		close(fd);
		return -err;
	}
	return fd;
}

static int open_view(const char *dir)
{
	struct statvfs fs;
	int fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	if (fd < 0)
		return -errno;
	if (fstatvfs(fd, &fs) < 0 || !(fs.f_flag & ST_RDONLY)) {
		close(fd);
		return -EINVAL;
	}
	return fd;
}

int rofd_init(struct rofd *r, const char *dir, int mem_fd, const char *readonly_dir)
{
	int fd;

	if (*readonly_dir) {
		fd = open_view(readonly_dir);
		if (fd < 0)
			return fd;
		*r = (struct rofd){ fd, "read-only mount given by the configuration" };
		return 0;
	}
	fd = clone_mount(dir);
	if (fd >= 0)
		*r = (struct rofd){ fd, "read-only mount in no namespace" };
	else
		*r = (struct rofd){
			mem_fd,
			"file mode 0600 only: other users cannot write, the same user and root can"
		};
	return 0;
}

void rofd_fini(struct rofd *r, int mem_fd)
{
	if (r->fd >= 0 && r->fd != mem_fd)
		close(r->fd);
	r->fd = -1;
}

int rofd_open(const struct rofd *r, const char *name)
{
	int fd = openat(r->fd, name, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);

	return fd < 0 ? -errno : fd;
}
