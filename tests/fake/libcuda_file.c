/* SPDX-License-Identifier: Apache-2.0 */
/*
 * libcuda_file.c - the files behind what the fake driver's processes share
 *
 * "Device" memory is a shared mapping of a file, named in $FAKE_CUDA_DIR (/dev/shm) so that a handle of 64 bytes can
 * say which; so is the word of an event that processes share.  Files of processes that died are swept away by the next
 * one that starts.
 */
#include "tests/fake/fake.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

static unsigned nr_files;		/* ever made; the last one's number */

static const char *dir_path(void)
{
	const char *dir = getenv("FAKE_CUDA_DIR");

	return dir && *dir ? dir : "/dev/shm";
}

static const char *file_path(int pid, unsigned seq, char *buf, size_t len)
{
	snprintf(buf, len, "%s/fake-cuda.%d.%u", dir_path(), pid, seq);
	return buf;
}

static void *map(int fd, uint64_t len)
{
	return mmap(NULL, len, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
}

void *fake_file_new(uint64_t len, unsigned *ret_seq, int *ret_fd)
{
	const unsigned seq = ++nr_files;
	void *at = MAP_FAILED;
	char path[256];
	int fd = open(file_path(getpid(), seq, path, sizeof(path)), O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);

	if (fd < 0)
		return NULL;
	/* who has the handle opens it, whatever his user: kvshm-gpud is another one than engines are */
	if (!fchmod(fd, 0666) && !ftruncate(fd, (off_t)len))
		at = map(fd, len);
	if (at == MAP_FAILED) {
		close(fd);
		unlink(path);
		return NULL;
	}
	*ret_seq = seq;
	*ret_fd = fd;
	return at;
}

void *fake_file_open(int pid, unsigned seq, uint64_t len, int *ret_fd)
{
	char path[256];
	int fd = open(file_path(pid, seq, path, sizeof(path)), O_RDWR | O_CLOEXEC);
	void *at;

	if (fd < 0)
		return NULL;
	at = map(fd, len);
	if (at == MAP_FAILED) {
		close(fd);
		return NULL;
	}
	*ret_fd = fd;
	return at;
}

void fake_file_remove(unsigned seq)
{
	char path[256];

	unlink(file_path(getpid(), seq, path, sizeof(path)));
}

__attribute__((constructor)) static void sweep_dead(void)
{
	DIR *d = opendir(dir_path());
	struct dirent *e;
	unsigned seq;
	int pid;

	while (d && (e = readdir(d)))
		if (sscanf(e->d_name, "fake-cuda.%d.%u", &pid, &seq) == 2 && kill(pid, 0) < 0 && errno == ESRCH)
			unlinkat(dirfd(d), e->d_name, 0);
	if (d)
		closedir(d);
}

__attribute__((destructor)) static void remove_own(void)
{
	for (unsigned seq = 1; seq <= nr_files; seq++)
		fake_file_remove(seq);
}
