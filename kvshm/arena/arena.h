/* SPDX-License-Identifier: Apache-2.0 */
/*
 * arena.h - all payload memory, as one range of arena offsets
 *
 * The arena is a list of extents (files arena.<node>.<number>); each has a base offset that never
 * changes.  A process reserves one range of addresses (PROT_NONE) and maps each extent at
 * base + offset, so that an offset becomes a pointer by one addition and extents that come later
 * need no re-mapping.
 */
#ifndef KVSHM_ARENA_ARENA_H
#define KVSHM_ARENA_ARENA_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "kvshm/arena/backing.h"
#include "kvshm/arena/directory.h"

struct arena {
	char *base;			/* of the reservation */
	size_t reserved;		/* bytes of address space */
	uint32_t nr_extents;		/* mapped here */
	size_t span;			/* bytes from base to the end of the last mapped extent */
	bool writable;
};

/**
 * arena_reserve() - reserve address space for the mapping
 * Tries 16 TiB and halves down to @min_span.  Return: 0, -ENOMEM.
 */
int arena_reserve(struct arena *a, size_t min_span, bool writable);

/**
 * arena_map_extent() - map the next extent
 * @e: its entry, a private checked copy; @fd: its file, the caller's, may be closed afterwards
 * Return: 0, -EINVAL entry out of range or file too small, -errno.
 */
int arena_map_extent(struct arena *a, const struct kvshm_extent_entry *e, int fd);

void arena_unmap(struct arena *a);

/**
 * arena_is_behind() - are more extents served than are mapped here?
 * XT-1: what is counted has its entry; pairs with arena_grow().
 */
bool arena_is_behind(const struct arena *a, const struct directory *dir);

/**
 * arena_add_extents() - a client's side: map the next ones, from descriptors that the daemon sent
 * @fds: @nr of them, from number a->nr_extents on; closed here
 * Nothing of them is seen by a forked child.
 * Return: 0; -EBADMSG more than are served; as arena_map_extent().  Those before the failure are mapped.
 */
int arena_add_extents(struct arena *a, const struct directory *dir, const int *fds, unsigned nr);

static inline void *arena_ptr(const struct arena *a, uint64_t offset)
{
	return a->base + offset;
}

/* true if [offset, offset + len) lies inside what is mapped (overflow-safe). */
static inline bool arena_contains(const struct arena *a, uint64_t offset, uint64_t len)
{
	return offset <= a->span && len <= a->span - offset;
}

/* ---- the daemon's side: files in a directory -------------------------------------------- */

struct arena_config {
	int dirfd;			/* the instance's memory directory */
	size_t size;			/* bytes wanted, rounded up to 2 MiB */
	size_t extent_len;		/* bytes of one extent file, 0: size / 8, at least 64 MiB */
	enum backing_pages pages;
	unsigned nr_nodes;		/* 0 or 1: no binding */
	const int *nodes;		/* NUMA node numbers */
};

/**
 * arena_grow() - make and map one more extent, enter it in the directory, serve it
 * XT-1: the entry is complete before nr_extents is release-stored; pairs with the client's load.
 * Return: bytes added (0: the configured size is reached), -errno.
 */
long arena_grow(struct arena *a, struct directory *dir, const struct arena_config *cfg);

/**
 * arena_open() - after a restart: map all extents that the directory names
 * Return: 0, -ENOENT a file is missing, -errno.
 */
int arena_open(struct arena *a, struct directory *dir, int dirfd);

/* Name of an extent's file; @buf of at least 32 bytes. */
void arena_extent_name(const struct kvshm_extent_entry *e, char *buf);

/* ---- checker ------------------------------------------------------------------------------ */

struct arena_report {
	uint64_t capacity_bytes, free_bytes, granted_bytes, published_bytes, quarantined_bytes;
	uint64_t nr_free, nr_granted, nr_published, nr_quarantined;
	uint64_t violations;
	char first[160];		/* the first broken invariant, empty if none */
};

/**
 * arena_verify() - descriptors against extents: no overlap, in range, generations sane, Invariant T,
 * parent and depth consistent, namespaces known; free + granted + published + quarantined = capacity
 * Reads shared memory only; safe on a live or damaged directory (every value checked before use).
 * Bytes are those of the block's size class (slab_class_len()).  Return: 0, -EUCLEAN violations, -ENOMEM.
 */
int arena_verify(const struct directory *dir, struct arena_report *ret);

#endif
