/* SPDX-License-Identifier: Apache-2.0 */
/*
 * extent.c - the daemon's side of extents: make one more, open all of a former daemon
 *
 * A file that no entry names is nobody's: a daemon died between making it and serving it.  The next
 * one that needs the name removes it.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/mman.h>
#include <unistd.h>

#include "kvshm/arena/arena.h"
#include "kvshm/base/atomic.h"
#include "kvshm/base/compiler.h"

#define EXTENT_LEN_MIN (64ul << 20)

void arena_extent_name(const struct kvshm_extent_entry *e, char *buf)
{
	snprintf(buf, 32, "arena.%u.%u", e->node, e->number);
}

/* Bytes of the next extent, 0 if the arena has its size. */
static size_t next_len(const struct arena *a, const struct arena_config *cfg)
{
	size_t size = round_up(cfg->size, HUGE_LEN);
	size_t len = cfg->extent_len ? cfg->extent_len : max_of(size / 8, EXTENT_LEN_MIN);

	return size <= a->span ? 0 : min_of(round_up(len, HUGE_LEN), size - a->span);
}

/* How many extents of this node there are: the number of the next. */
static uint32_t count_of_node(const struct directory *dir, uint32_t nr, uint32_t node)
{
	uint32_t i, n = 0;

	for (i = 0; i < nr; i++)
		n += READ_ONCE(dir->extent[i].node) == node;
	return n;
}

static void serve(struct directory *dir, uint32_t i, const struct kvshm_extent_entry *e)
{
	struct kvshm_extent_entry *to = &dir->extent[i];

	WRITE_ONCE(to->base, e->base);
	WRITE_ONCE(to->len, e->len);
	WRITE_ONCE(to->node, e->node);
	WRITE_ONCE(to->number, e->number);
	WRITE_ONCE(to->page_kind, e->page_kind);
	/* XT-1: the entry is complete before it is counted; pairs with arena_is_behind(). */
	store_release(&dir->sb->nr_extents, i + 1);
}

/* Create the file of @e, with its bytes and pages; a left-over of that name goes first. */
static int make_file(struct kvshm_extent_entry *e, const struct arena_config *cfg, int node, char *name)
{
	int fd, ret;

	arena_extent_name(e, name);
	ret = backing_create(cfg->dirfd, name, e->len, cfg->pages, node, &fd, &e->page_kind);
	if (ret == -EEXIST && unlinkat(cfg->dirfd, name, 0) == 0)
		ret = backing_create(cfg->dirfd, name, e->len, cfg->pages, node, &fd, &e->page_kind);
	return ret < 0 ? ret : fd;
}

long arena_grow(struct arena *a, struct directory *dir, const struct arena_config *cfg)
{
	uint32_t i = READ_ONCE(dir->sb->nr_extents);
	bool is_bound = cfg->nr_nodes > 1;
	struct kvshm_extent_entry e = { .base = a->span, .len = next_len(a, cfg) };
	char name[32];
	int fd, ret;

	if (e.len == 0)
		return 0;
	if (i >= dir->max_extents)
		return -ENOSPC;
	if (cfg->nr_nodes > 0)
		e.node = (uint32_t)cfg->nodes[i % cfg->nr_nodes];
	e.number = count_of_node(dir, i, e.node);
	fd = make_file(&e, cfg, is_bound ? (int)e.node : -1, name);
	if (fd < 0)
		return fd;
	ret = arena_map_extent(a, &e, fd);
	close(fd);
	if (ret < 0) {
		unlinkat(cfg->dirfd, name, 0);
		return ret;
	}
	serve(dir, i, &e);
	return (long)e.len;
}

static int open_extent(struct arena *a, const struct kvshm_extent_entry *e, int dirfd)
{
	char name[32];
	int fd, ret;

	arena_extent_name(e, name);
	fd = openat(dirfd, name, (a->writable ? O_RDWR : O_RDONLY) | O_CLOEXEC);
	if (fd < 0)
		return -errno;
	ret = arena_map_extent(a, e, fd);
	close(fd);
	return ret;
}

int arena_open(struct arena *a, struct directory *dir, int dirfd)
{
	struct kvshm_extent_entry e;
	uint32_t i, nr;
	int ret = 0;

	/* XT-1: the count before the entries; pairs with serve(). */
	nr = load_acquire(&dir->sb->nr_extents);
	if (nr > dir->max_extents)
		return -EINVAL;
	for (i = a->nr_extents; i < nr && ret == 0; i++) {
		e = dir->extent[i];
		ret = open_extent(a, &e, dirfd);
	}
	return ret;
}
