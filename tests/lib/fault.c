/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/lib/fault.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "kvshm/base/clock.h"

#define LET_GO_NS 5000000000ull

static __thread unsigned left; /* to the one that fails, 0: none does */
static __thread bool has_failed;
static __thread long nr_held;
static __thread int no_descriptor = EMFILE;

void fault_arm(unsigned k)
{
	has_failed = false;
	left = k;
}

void fault_descriptors(int err)
{
	no_descriptor = err;
}

bool fault_disarm(void)
{
	left = 0;
	return has_failed;
}

#if !FAULT_MISSING

/* Of the C library's own calls too, or its allocations would be freed here uncounted. */
#pragma GCC visibility push(default)

void *__libc_malloc(size_t len);
void *__libc_calloc(size_t nr, size_t len);
void *__libc_realloc(void *p, size_t len);
void *__libc_memalign(size_t align, size_t len);
void __libc_free(void *p);

static bool fails(int err)
{
	if (!left || --left)
		return false;
	has_failed = true;
	errno = err;
	return true;
}

static void *held(void *p)
{
	nr_held += p != NULL;
	return p;
}

void *malloc(size_t len)
{
	return fails(ENOMEM) ? NULL : held(__libc_malloc(len));
}

void *calloc(size_t nr, size_t len)
{
	return fails(ENOMEM) ? NULL : held(__libc_calloc(nr, len));
}

void *realloc(void *p, size_t len)
{
	void *q;

	if (fails(ENOMEM))
		return NULL;
	q = __libc_realloc(p, len);
	nr_held += q && !p;
	return q;
}

void *aligned_alloc(size_t align, size_t len)
{
	return fails(ENOMEM) ? NULL : held(__libc_memalign(align, len));
}

void free(void *p)
{
	nr_held -= p != NULL;
	__libc_free(p);
}

void *mmap(void *at, size_t len, int prot, int flags, int fd, off_t off)
{
	if (fails(ENOMEM))
		return MAP_FAILED;
	return (void *)syscall(SYS_mmap, at, len, prot, flags, fd, off);
}

int memfd_create(const char *name, unsigned flags)
{
	return fails(no_descriptor) ? -1 : (int)syscall(SYS_memfd_create, name, flags);
}

int posix_fallocate(int fd, off_t off, off_t len)
{
	if (fails(ENOMEM))
		return ENOMEM;
	return syscall(SYS_fallocate, fd, 0, off, len) < 0 ? errno : 0;
}

int ftruncate(int fd, off_t len)
{
	return fails(ENOMEM) ? -1 : (int)syscall(SYS_ftruncate, fd, len);
}

int openat(int dirfd, const char *path, int flags, ...)
{
	va_list ap;
	int mode;

	va_start(ap, flags);
	mode = flags & O_CREAT ? va_arg(ap, int) : 0;
	va_end(ap);
	return fails(no_descriptor) ? -1 : (int)syscall(SYS_openat, dirfd, path, flags, mode);
}

int socket(int domain, int type, int protocol)
{
	return fails(no_descriptor) ? -1 : (int)syscall(SYS_socket, domain, type, protocol);
}

int eventfd(unsigned value, int flags)
{
	return fails(no_descriptor) ? -1 : (int)syscall(SYS_eventfd2, value, flags);
}

int accept4(int fd, struct sockaddr *addr, socklen_t *len, int flags)
{
	return fails(no_descriptor) ? -1 : (int)syscall(SYS_accept4, fd, addr, len, flags);
}

int epoll_create1(int flags)
{
	return fails(no_descriptor) ? -1 : (int)syscall(SYS_epoll_create1, flags);
}

#pragma GCC visibility pop

#endif

static unsigned count_fds(void)
{
	DIR *d = opendir("/proc/self/fd");
	unsigned nr = 0;

	while (d && readdir(d))
		nr++;
	if (d)
		closedir(d);
	return nr;
}

/* Of files and memfds; the heap's own come and go. */
static unsigned count_maps(void)
{
	FILE *f = fopen("/proc/self/maps", "re");
	unsigned nr = 0;
	char line[512];

	while (f && fgets(line, sizeof(line), f))
		nr += strchr(line, '/') != NULL;
	if (f)
		fclose(f);
	return nr;
}

void fault_look(struct fault_held *ret)
{
	ret->nr_fds = count_fds();
	ret->nr_maps = count_maps();
	ret->nr_allocations = nr_held;
}

static bool is_same(const struct fault_held *a, const struct fault_held *b)
{
	return a->nr_allocations == b->nr_allocations && a->nr_fds == b->nr_fds && a->nr_maps == b->nr_maps;
}

/* Another thread, a daemon's, may still be letting go of its end. */
static void compare(const struct fault_held *before, unsigned k, const char *when)
{
	uint64_t end = clock_ns() + LET_GO_NS;
	struct fault_held now;

	do {
		sched_yield();
		fault_look(&now);
	} while (!is_same(&now, before) && clock_ns() < end);
	if (!is_same(&now, before))
		fail_msg("allocation %u fails: %ld allocations, %d descriptors, %d mappings leak %s", k,
			 now.nr_allocations - before->nr_allocations, (int)now.nr_fds - (int)before->nr_fds,
			 (int)now.nr_maps - (int)before->nr_maps, when);
}

unsigned fault_each(int (*make)(void), void (*unmake)(void))
{
	struct fault_held before;
	bool fired = true;
	unsigned k;

	fault_look(&before);
	/* Once for what is allocated at first use and stays. */
	if (make() == 0)
		unmake();
	before.nr_allocations = nr_held;
	for (k = 1; fired; k++) {
		int ret;

		fault_arm(k);
		ret = make();
		fired = fault_disarm();
		if (ret == 0)
			unmake();
		else if (ret != -ENOMEM && ret != -no_descriptor)
			fail_msg("allocation %u fails: error %d", k, ret);
		if (!fired && ret != 0)
			fail_msg("no allocation fails: error %d", ret);
		compare(&before, k, ret ? "on failure" : "after success");
	}
	return k - 2;
}
