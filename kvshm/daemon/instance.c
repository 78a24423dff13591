/* SPDX-License-Identifier: Apache-2.0 */
#include "kvshm/daemon/instance.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/magic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/statfs.h>
#include <unistd.h>

#include "ipc/instance.h"

#define LOCK_TRIES 30 /* of 10 ms: a daemon just killed still tears down its memory */

static int put_path(char *dst, struct diag *d, const char *fmt, ...)
	__attribute__((format(printf, 3, 4)));

static int put_path(char *dst, struct diag *d, const char *fmt, ...)
{
	va_list ap;
	int n;

	va_start(ap, fmt);
	n = vsnprintf(dst, PATH_MAX, fmt, ap);
	va_end(ap);
	if (n < 0 || n >= PATH_MAX)
		return diag_set(d, EX_CONFIG, "path too long: %.100s...", dst);
	return 0;
}

static bool is_dir(const char *path)
{
	struct stat st;

	return stat(path, &st) == 0 && S_ISDIR(st.st_mode);
}

/* The directory part of an explicit socket path, "." if it has none. */
static int dir_of(const char *path, char *dst, struct diag *d)
{
	const char *slash = strrchr(path, '/');

	if (!slash)
		return put_path(dst, d, ".");
	return put_path(dst, d, "%.*s", slash == path ? 1 : (int)(slash - path), path);
}

static int name_run_dir(struct instance *in, const struct conf *c, struct diag *d)
{
	const char *service = getenv("RUNTIME_DIRECTORY");

	if (c->run_dir[0])
		return put_path(in->run_dir, d, "%s", c->run_dir);
	if (c->socket[0])
		return dir_of(c->socket, in->run_dir, d);
	if (service && service[0] == '/' && !strchr(service, ':'))
		return put_path(in->run_dir, d, "%s", service);
	if (instance_run_dir(c->instance, in->is_system, in->run_dir, sizeof(in->run_dir)) < 0)
		return diag_set(d, EX_CONFIG, "the run directory's path is too long");
	return 0;
}

static int name_mem_dir(struct instance *in, const struct conf *c, struct diag *d)
{
	if (c->dir[0])
		return put_path(in->mem_dir, d, "%s", c->dir);
	if (put_path(in->mem_dir, d, "/run/kvshm-huge/%s", c->instance) < 0)
		return -1;
	if (in->is_system && is_dir(in->mem_dir))
		return 0;
	return put_path(in->mem_dir, d, "/dev/shm/kvshm-%u/%s", (unsigned)geteuid(), c->instance);
}

int instance_name(struct instance *in, const struct conf *c, struct diag *d)
{
	memset(in, 0, sizeof(*in));
	in->run_fd = in->mem_fd = in->pins_fd = in->lock_fd[0] = in->lock_fd[1] = -1;
	in->is_system = geteuid() == 0 || getenv("RUNTIME_DIRECTORY");
	if (name_run_dir(in, c, d) < 0 || name_mem_dir(in, c, d) < 0)
		return -1;
	if (c->socket[0])
		return put_path(in->socket, d, "%s", c->socket);
	return put_path(in->socket, d, "%.4000s/kvshm.sock", in->run_dir);
}

/*
 * Make the missing components.  Those that we make get @mode; the last one must be ours, and
 * nobody else may write to it.
 */
static int make_dir(const char *path, mode_t mode, int *ret_fd, struct diag *d)
{
	char part[PATH_MAX];
	struct stat st;
	int fd;

	for (const char *p = path; p;) {
		p = strchr(p + 1, '/');
		snprintf(part, sizeof(part), "%.*s", p ? (int)(p - path) : PATH_MAX - 1, path);
		if (mkdir(part, mode) == 0)
			chmod(part, mode); /* whatever the umask */
		else if (errno != EEXIST)
			return diag_set(d, errno == EACCES ? EX_NOPERM : EX_CANTCREAT,
					"cannot make %s: %s", part, strerror(errno));
	}
	fd = open(path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	if (fd < 0 || fstat(fd, &st) < 0) {
		int err = errno;

		if (fd >= 0)
			close(fd);
		return diag_set(d, err == EACCES ? EX_NOPERM : EX_CANTCREAT, "%s: %s", path,
				strerror(err));
	}
	if (st.st_uid != geteuid() || (st.st_mode & (S_IWGRP | S_IWOTH))) {
		close(fd);
		return diag_set(
			d, EX_NOPERM,
			"%s belongs to uid %u with mode %04o: it must be ours, writable by us only",
			path, (unsigned)st.st_uid, (unsigned)st.st_mode & 07777);
	}
	*ret_fd = fd;
	return 0;
}

static int take_lock(int dirfd, const char *path, int *ret_fd, struct diag *d)
{
	int fd = openat(dirfd, "lock", O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);

	if (fd < 0)
		return diag_set(d, EX_CANTCREAT, "%s/lock: %s", path, strerror(errno));
	for (int i = 0; i < LOCK_TRIES; i++) {
		if (flock(fd, LOCK_EX | LOCK_NB) == 0) {
			*ret_fd = fd;
			return 0;
		}
		usleep(10000);
	}
	close(fd);
	return diag_set(d, EX_TEMPFAIL,
			"another kvshmd serves %s: stop it, or choose another name with --instance",
			path);
}

static int name_pins_dir(struct instance *in, const struct conf *c, struct diag *d)
{
	if (c->pins_dir[0])
		return put_path(in->pins_dir, d, "%s", c->pins_dir);
	if (put_path(in->pins_dir, d, "/run/kvshm-pins/%s", c->instance) < 0)
		return -1;
	if (in->is_system && !c->dir[0] && is_dir(in->pins_dir))
		return 0;
	if (in->is_hugetlbfs)
		return put_path(in->pins_dir, d, "%.4000s/pins", in->run_dir);
	return put_path(in->pins_dir, d, "%s", in->mem_dir);
}

int instance_open(struct instance *in, const struct conf *c, struct diag *d)
{
	struct statfs fs;

	if (instance_name(in, c, d) < 0)
		return -1;
	if (make_dir(in->run_dir, in->is_system ? 0751 : 0700, &in->run_fd, d) < 0 ||
	    make_dir(in->mem_dir, 0700, &in->mem_fd, d) < 0)
		goto err;
	if (take_lock(in->run_fd, in->run_dir, &in->lock_fd[0], d) < 0)
		goto err;
	/* One directory for everything has one lock: a second flock would be refused. */
	if (strcmp(in->run_dir, in->mem_dir) &&
	    take_lock(in->mem_fd, in->mem_dir, &in->lock_fd[1], d) < 0)
		goto err;
	in->is_hugetlbfs = fstatfs(in->mem_fd, &fs) == 0 && fs.f_type == HUGETLBFS_MAGIC;
	if (name_pins_dir(in, c, d) < 0 || make_dir(in->pins_dir, 0700, &in->pins_fd, d) < 0)
		goto err;
	return 0;
err:
	instance_close(in);
	return -1;
}

void instance_close(struct instance *in)
{
	int *fds[] = { &in->run_fd, &in->mem_fd, &in->pins_fd, &in->lock_fd[0], &in->lock_fd[1] };

	for (unsigned i = 0; i < ARRAY_SIZE(fds); i++) {
		if (*fds[i] >= 0)
			close(*fds[i]);
		*fds[i] = -1;
	}
}
