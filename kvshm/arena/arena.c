/* SPDX-License-Identifier: Apache-2.0 */
/*
 * arena.c - reserve address space, map extents into it one behind the other
 *
 *   base                          base + span                    base + reserved
 *   | extent 0 | extent 1 | ...   |  PROT_NONE, costs nothing    |
 */
#include "kvshm/arena/arena.h"

#include <errno.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "kvshm/base/atomic.h"
#include "kvshm/base/compiler.h"

#define RESERVE_MAX (16ull << 40)	/* all that 32-bit page numbers of 4 KiB can name */

/* A part of @len bytes that begins at a 2 MiB boundary, or false. */
static bool reserve(struct arena *a, size_t len)
{
	char *p = mmap(NULL, len + HUGE_LEN, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	size_t head;

	if (p == MAP_FAILED)
		return false;
	head = -(uintptr_t)p & (HUGE_LEN - 1);
	if (head)
		munmap(p, head);
	munmap(p + head + len, HUGE_LEN - head);
	a->base = p + head;
	a->reserved = len;
	return true;
}

int arena_reserve(struct arena *a, size_t min_span, bool writable)
{
	size_t len;

	if (min_span > RESERVE_MAX)
		return -ENOMEM;
	*a = (struct arena){ .writable = writable };
	min_span = max_of(round_up(min_span, HUGE_LEN), HUGE_LEN);
	for (len = RESERVE_MAX; len > min_span; len /= 2)
		if (reserve(a, len))
			return 0;
	return reserve(a, min_span) ? 0 : -ENOMEM;
}

int arena_map_extent(struct arena *a, const struct kvshm_extent_entry *e, int fd)
{
	uint64_t end;
	struct stat st;

	/* arena_contains() knows one range only, so extents follow each other without a gap. */
	if (e->base != a->span || e->len == 0 || e->len % HUGE_LEN != 0 ||
	    __builtin_add_overflow(e->base, e->len, &end) || end > a->reserved)
		return -EINVAL;
	if (fstat(fd, &st) < 0)
		return -errno;
	if (st.st_size < 0 || (uint64_t)st.st_size < e->len)
		return -EINVAL;
	if (!backing_map(fd, e->len, a->writable ? PROT_READ | PROT_WRITE : PROT_READ, a->base + e->base))
		return -errno;
	a->span = end;
	a->nr_extents++;
	return 0;
}

bool arena_is_behind(const struct arena *a, const struct directory *dir)
{
	/* XT-1: entries below the number are complete; pairs with arena_grow(). */
	return load_acquire(&dir->sb->nr_extents) > a->nr_extents;
}

static int add_one(struct arena *a, const struct directory *dir, int fd)
{
	struct kvshm_extent_entry e;
	int ret;

	if (a->nr_extents >= dir->max_extents || !arena_is_behind(a, dir))
		return -EBADMSG;
	e = dir->extent[a->nr_extents];
	ret = arena_map_extent(a, &e, fd);
	if (ret < 0)
		return ret;
	madvise(arena_ptr(a, e.base), e.len, MADV_DONTFORK);
	return 0;
}

int arena_add_extents(struct arena *a, const struct directory *dir, const int *fds, unsigned nr)
{
	int ret = 0;

	for (unsigned i = 0; i < nr; i++) {
		if (!ret)
			ret = add_one(a, dir, fds[i]);
		close(fds[i]);
	}
	return ret;
}

void arena_unmap(struct arena *a)
{
	if (a->base)
		munmap(a->base, a->reserved);
	*a = (struct arena){ 0 };
}
