/* SPDX-License-Identifier: Apache-2.0 */
/*
 * backing.h - named files in memory with the largest pages to be had
 *
 * The ladder (platform.md 2, measured): hugetlbfs where the directory is one; tmpfs mounted
 * huge=within_size|always: fallocate + MADV_POPULATE_WRITE; other tmpfs: one byte touched per 2 MiB,
 * then MADV_COLLAPSE; else 4 KiB pages.  What came out is read back from smaps, never assumed.
 */
#ifndef KVSHM_ARENA_BACKING_H
#define KVSHM_ARENA_BACKING_H

#include <stddef.h>
#include <stdint.h>

#define HUGE_LEN (2ul << 20)

enum backing_pages {
	BACKING_AUTO,		/* the best there is */
	BACKING_HUGETLB,	/* insist, else -ENOMEM/-ENOSPC */
	BACKING_TMPFS,		/* do not use hugetlb */
};

/**
 * backing_create() - make a named file, size it, fault all of it in
 * @dirfd, @name: where; an existing file of that name is -EEXIST
 * @len: bytes, a multiple of 2 MiB
 * @node: NUMA node to bind to, -1: any (bound by mbind where the caller gives a node)
 * @ret_fd: open O_RDWR|O_CLOEXEC, the caller's; @ret_kind: enum kvshm_page_kind as read from smaps
 * On failure nothing is left behind.  Return: 0, -ENOSPC tmpfs or pool full, -ENOMEM, -errno.
 */
int backing_create(int dirfd, const char *name, size_t len, enum backing_pages pages, int node,
		   int *ret_fd, uint32_t *ret_kind);

/**
 * backing_map() - map a file at a 2 MiB aligned address
 * @at: NULL or a 2 MiB aligned address inside a reservation of the caller (MAP_FIXED)
 * @prot: PROT_READ or PROT_READ | PROT_WRITE
 * Return: the address, or NULL with errno set.
 */
void *backing_map(int fd, size_t len, int prot, void *at);

/* Page kind of the mapping at @addr, from /proc/self/smaps: enum kvshm_page_kind. */
uint32_t backing_page_kind(const void *addr, size_t len);

/* "4 KiB pages", "tmpfs huge pages", "hugetlb pages". */
const char *backing_kind_name(uint32_t kind);

#endif
