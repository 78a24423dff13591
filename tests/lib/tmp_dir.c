/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/lib/tmp_dir.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

int tmp_dir_create_in(struct tmp_dir *d, const char *base)
{
	snprintf(d->path, sizeof(d->path), "%s/kvshm-test.XXXXXX", base);
	if (!mkdtemp(d->path))
		return -errno;
	d->fd = open(d->path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	return d->fd < 0 ? -errno : 0;
}

void tmp_dir_create(struct tmp_dir *d)
{
	const char *memory = getenv("KVSHM_TEST_MEMORY");

	if (tmp_dir_create_in(d, memory ? memory : "/dev/shm") < 0 && tmp_dir_create_in(d, "/tmp") < 0) {
		perror("tmp_dir");
		exit(1);
	}
}

/* Call @f on each name. Return: how many. */
static unsigned each_file(const struct tmp_dir *d, int (*f)(int fd, const char *name, int flags))
{
	DIR *dir = opendir(d->path);
	struct dirent *e;
	unsigned n = 0;

	while (dir && (e = readdir(dir))) {
		if (e->d_name[0] == '.')
			continue;
		n++;
		if (f)
			f(d->fd, e->d_name, 0);
	}
	if (dir)
		closedir(dir);
	return n;
}

unsigned tmp_dir_count(const struct tmp_dir *d)
{
	return each_file(d, NULL);
}

void tmp_dir_destroy(struct tmp_dir *d)
{
	each_file(d, unlinkat);
	close(d->fd);
	rmdir(d->path);
}
