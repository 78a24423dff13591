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
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "kvshm/pin/pin.h"

#define WORDS_MAX (1u << 24)

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

static size_t len_of(uint32_t nr_words)
{
	return (size_t)nr_words * sizeof(uint64_t);
}

int pinfile_map(int fd, uint32_t nr_words, uint64_t quota_bytes, struct pin_table *ret_t)
{
	struct stat st;
	void *map;
	int ret;

	if (nr_words < 2 || nr_words > WORDS_MAX)
		return -EBADMSG;
	if (fstat(fd, &st) < 0)
		return -errno;
	/* a word past the end would be a bus error */
	if (st.st_size < 0 || (uint64_t)st.st_size < len_of(nr_words))
		return -EBADMSG;
	map = mmap(NULL, len_of(nr_words), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_POPULATE, fd, 0);
	if (map == MAP_FAILED)
		return -errno;
	madvise(map, len_of(nr_words), MADV_DONTFORK);
	ret = pinfile_lock(fd);
	if (!ret)
		ret = pin_table_init(ret_t, map, nr_words, quota_bytes);
	if (ret < 0)
		munmap(map, len_of(nr_words));
	return ret;
}

void pinfile_unmap(struct pin_table *t)
{
	munmap(t->word, len_of(t->nr));
	t->word = NULL;
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
