/* SPDX-License-Identifier: Apache-2.0 */
/*
 * private_stale.c - memory of private daemons whose owner was killed
 *
 * A tool that gets SIGKILL takes its daemon with it but leaves the files, and with them the memory.  The
 * next one removes them: those of the same user, whose owner is not there by its number, and whose lock
 * is free (a number says nothing of an owner in another container).
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "utils/private_daemon.h"

static int remove_one(const char *path, const struct stat *st, int type, struct FTW *f)
{
	(void)st;
	(void)type;
	(void)f;
	return remove(path);
}

void private_daemon_remove(const char *root)
{
	nftw(root, remove_one, 16, FTW_DEPTH | FTW_PHYS);
}

/* "kvshm-private-PID-XXXXXX": is nobody of that number there? */
static bool has_dead_owner(const char *name)
{
	static const char prefix[] = PRIVATE_DAEMON_PREFIX;
	char *end;
	long pid;

	if (strncmp(name, prefix, sizeof(prefix) - 1))
		return false;
	pid = strtol(name + sizeof(prefix) - 1, &end, 10);
	return pid > 0 && *end == '-' && kill((pid_t)pid, 0) < 0 && errno == ESRCH;
}

/* Ours, and nobody holds its lock: then the lock is ours until @ret_fd is closed. */
static bool is_abandoned(const char *path, int *ret_fd)
{
	struct stat st;
	int fd = open(path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);

	if (fd < 0)
		return false;
	if (fstat(fd, &st) == 0 && st.st_uid == geteuid() && flock(fd, LOCK_EX | LOCK_NB) == 0) {
		*ret_fd = fd;
		return true;
	}
	close(fd);
	return false;
}

void private_daemon_sweep(const char *base)
{
	DIR *dir = opendir(base);
	struct dirent *e;
	char path[512];
	int fd;

	while (dir && (e = readdir(dir))) {
		if (!has_dead_owner(e->d_name))
			continue;
		snprintf(path, sizeof(path), "%.200s/%.255s", base, e->d_name);
		if (!is_abandoned(path, &fd))
			continue;
		private_daemon_remove(path);
		close(fd);
	}
	if (dir)
		closedir(dir);
}
