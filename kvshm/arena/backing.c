/* SPDX-License-Identifier: Apache-2.0 */
/*
 * backing.c - make, size, fault in and map a named file
 *
 * Three recipes, because the same call gives other pages on other mounts:
 *
 *   hugetlbfs               fallocate: takes pages out of the pool, or says ENOSPC
 *   tmpfs, huge= mount      fallocate, then MADV_POPULATE_WRITE: huge from the start
 *   other tmpfs             per 2 MiB: write one byte, touch it, MADV_COLLAPSE; a hole cannot be
 *                           collapsed, and 512 small pages would have to be copied
 *   anything else           4 KiB pages of the page cache: a test directory on a disk
 *
 * Then each is filled up by fallocate() and populated: what the recipe did not get becomes 4 KiB pages,
 * and a full file system answers ENOSPC here.  Nothing is ever touched that is not allocated: on a full
 * tmpfs that would be SIGBUS.
 */
#include "kvshm/arena/backing.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/magic.h>
#include <linux/mempolicy.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/vfs.h>
#include <unistd.h>

#include <kvshm/abi.h>

#include "kvshm/arena/mounts.h"
#include "kvshm/base/atomic.h"
#include "kvshm/base/compiler.h"

#ifndef MADV_POPULATE_WRITE
#define MADV_POPULATE_WRITE 23
#endif
#ifndef MADV_COLLAPSE
#define MADV_COLLAPSE 25
#endif

#define MAX_NODES 1024

enum recipe { RECIPE_HUGETLB, RECIPE_HUGE_TMPFS, RECIPE_COLLAPSE, RECIPE_SMALL };

static int choose_recipe(int fd, size_t len, enum backing_pages pages, enum recipe *ret_recipe)
{
	struct statfs fs;

	if (fstatfs(fd, &fs) < 0)
		return -errno;
	if ((unsigned long)fs.f_type == HUGETLBFS_MAGIC) {
		if (pages == BACKING_TMPFS || len % (size_t)fs.f_bsize != 0 || (size_t)fs.f_bsize > HUGE_LEN)
			return -EINVAL;
		*ret_recipe = RECIPE_HUGETLB;
		return 0;
	}
	if (pages == BACKING_HUGETLB)
		return -ENOMEM;
	if ((unsigned long)fs.f_type != TMPFS_MAGIC)
		*ret_recipe = RECIPE_SMALL;
	else
		*ret_recipe = mount_is_huge(fd) ? RECIPE_HUGE_TMPFS : RECIPE_COLLAPSE;
	return 0;
}

/* Binds the file: for shared memory the policy belongs to the inode, not to this mapping. */
static int bind_node(void *map, size_t len, int node)
{
	unsigned long mask[MAX_NODES / 64] = { 0 };

	if (node < 0)
		return 0;
	if (node >= MAX_NODES)
		return -EINVAL;
	mask[node / 64] = 1ul << (node % 64);
	if (syscall(SYS_mbind, map, len, MPOL_BIND, mask, (unsigned long)MAX_NODES, 0u) < 0)
		return -errno;
	return 0;
}

/* One byte and a collapse a chunk.  A chunk that will not collapse stays small; so do all after EINVAL. */
static int collapse_chunks(int fd, char *map, size_t len)
{
	size_t off;

	for (off = 0; off < len; off += HUGE_LEN) {
		if (pwrite(fd, "", 1, (off_t)off) != 1)
			return -errno;
		READ_ONCE(map[off]);
		if (madvise(map + off, HUGE_LEN, MADV_COLLAPSE) < 0 && errno == EINVAL)
			return 0;
	}
	return 0;
}

/* Allocate what is still a hole, where fallocate() is missing by writing. */
static int fill_holes(int fd, size_t len)
{
	static const char zero[65536];
	size_t off = 0;
	ssize_t n;

	while (fallocate(fd, 0, 0, (off_t)len) < 0) {
		if (errno == EINTR)
			continue;
		if (errno != EOPNOTSUPP)
			return -errno;
		for (; off < len; off += (size_t)n) {
			n = pwrite(fd, zero, min_of(sizeof(zero), len - off), (off_t)off);
			if (n <= 0)
				return n < 0 ? -errno : -EIO;
		}
		return 0;
	}
	return 0;
}

/* Enter all pages in the page table; kernels before 5.14 are shown each page instead. */
static int populate(char *map, size_t len)
{
	size_t off;

	while (madvise(map, len, MADV_POPULATE_WRITE) < 0) {
		if (errno == EINTR || errno == EAGAIN)
			continue;
		if (errno != EINVAL)
			return errno == EFAULT ? -ENOMEM : -errno;
		for (off = 0; off < len; off += KVSHM_PAGE)
			WRITE_ONCE(map[off], 0);
		return 0;
	}
	return 0;
}

static int fault_in(int fd, char *map, size_t len, enum recipe recipe, int node)
{
	int ret = bind_node(map, len, node);

	if (ret == 0 && recipe == RECIPE_COLLAPSE)
		ret = collapse_chunks(fd, map, len);
	if (ret == 0)
		ret = fill_holes(fd, len);
	return ret == 0 ? populate(map, len) : ret;
}

/* Size and fill the new file @fd. */
static int fill_file(int fd, size_t len, enum backing_pages pages, int node, uint32_t *ret_kind)
{
	enum recipe recipe = RECIPE_SMALL;
	char *map;
	int ret;

	ret = choose_recipe(fd, len, pages, &recipe);
	if (ret < 0)
		return ret;
	if (ftruncate(fd, (off_t)len) < 0)
		return -errno;
	map = backing_map(fd, len, PROT_READ | PROT_WRITE, NULL);
	if (!map)	/* a mapping of hugetlbfs reserves its pages, and calls an empty pool ENOMEM */
		return recipe == RECIPE_HUGETLB && errno == ENOMEM ? -ENOSPC : -errno;
	ret = fault_in(fd, map, len, recipe, node);
	if (ret == 0)
		*ret_kind = backing_page_kind(map, len);
	munmap(map, len);
	return ret;
}

int backing_create(int dirfd, const char *name, size_t len, enum backing_pages pages, int node,
		   int *ret_fd, uint32_t *ret_kind)
{
	uint32_t kind = KVSHM_PAGES_4K;
	int fd, ret;

	if (len == 0 || len % HUGE_LEN != 0)
		return -EINVAL;
	fd = openat(dirfd, name, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
	if (fd < 0)
		return -errno;
	ret = fill_file(fd, len, pages, node, &kind);
	if (ret < 0) {
		unlinkat(dirfd, name, 0);
		close(fd);
		return ret;
	}
	*ret_fd = fd;
	*ret_kind = kind;
	return 0;
}

/* Address space of @len bytes at a 2 MiB boundary; what was reserved around it goes back. */
static char *reserve_aligned(size_t len)
{
	size_t all, head;
	char *p;

	if (__builtin_add_overflow(len, HUGE_LEN, &all)) {
		errno = ENOMEM;
		return NULL;
	}
	p = mmap(NULL, all, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	if (p == MAP_FAILED)
		return NULL;
	head = -(uintptr_t)p & (HUGE_LEN - 1);
	if (head)
		munmap(p, head);
	munmap(p + head + len, HUGE_LEN - head);
	return p + head;
}

void *backing_map(int fd, size_t len, int prot, void *at)
{
	char *want = at ? at : reserve_aligned(len);
	char *p;
	int err;

	if (!want)
		return NULL;
	p = mmap(want, len, prot, MAP_SHARED | MAP_FIXED, fd, 0);
	if (p == MAP_FAILED) {
		err = errno;
		if (!at)
			munmap(want, len);
		errno = err;
		return NULL;
	}
	/* Nobody's conversations in a core file; a kernel that refuses costs nothing else. */
	madvise(p, len, MADV_DONTDUMP);
	return p;
}
