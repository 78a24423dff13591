/* SPDX-License-Identifier: Apache-2.0 */
/*
 * directory.h - the directory file, mapped: superblock, namespaces, extents, descriptors, index
 *
 * The daemon maps it read-write and is its only writer; clients map it read-only.  Geometry is
 * copied to private memory at attach, after it has been checked against the file's size, and only
 * the copy is used.
 */
#ifndef KVSHM_ARENA_DIRECTORY_H
#define KVSHM_ARENA_DIRECTORY_H

#include <stdbool.h>
#include <stddef.h>

#include <kvshm/abi.h>

struct directory {
	struct kvshm_superblock *sb;	/* = the mapping */
	struct kvshm_ns_entry *ns;	/* [max_ns] */
	struct kvshm_extent_entry *extent;	/* [max_extents] */
	struct kvshm_desc *desc;	/* [max_blocks + 1], 0 unused */
	struct kvshm_bucket *bucket;	/* [bucket_mask + 1] */
	uint32_t max_ns, max_extents, max_blocks, bucket_mask;
	uint64_t hash_seed, instance;
	size_t len;
};

struct directory_geometry {
	uint32_t max_blocks;		/* 1 .. 2^31 */
	uint32_t max_ns, max_extents;
	uint64_t hash_seed, instance;	/* 0: random */
};

/* Bytes that a directory of this geometry needs, a multiple of 2 MiB; 0 on overflow. */
size_t directory_size(const struct directory_geometry *g);

/**
 * directory_create() - lay out an empty directory in a file of directory_size() zero bytes
 * @fd: open read-write, already of that size and faulted in (backing_create()); stays the caller's
 * The state word is left 0 (neither LIVE nor DEAD); directory_set_state() makes it LIVE.
 * Return: 0, -EINVAL geometry, -ENOMEM, -errno of mmap.
 */
int directory_create(int fd, const struct directory_geometry *g, struct directory *ret_dir);

/**
 * directory_attach() - map an existing directory and check magic, ABI, geometry, hash, bounds
 * @writable: the daemon after a restart; otherwise read-only
 * Return: 0; -EPROTONOSUPPORT other ABI, -EBADMSG not a directory or damaged geometry, -ESTALE the
 * boot id is another one (writable only), -ENODATA marked DEAD, -errno of mmap/fstat.
 */
int directory_attach(int fd, bool writable, struct directory *ret_dir);

/**
 * directory_open() - map the directory of the daemon that keeps its memory in @memory_dir, to be read
 * Return: as directory_attach(); -ENOENT no directory there, -EACCES it is another user's, -errno of open.
 */
int directory_open(const char *memory_dir, struct directory *ret_dir);

void directory_detach(struct directory *dir);

/**
 * directory_set_state() - store LIVE or DEAD with a start count (SB-1, release; pairs with
 * directory_state()).  Writer only.
 */
void directory_set_state(struct directory *dir, uint32_t live_or_dead, uint32_t start_count);

/* The state word, acquire (SB-1). */
uint64_t directory_state(const struct directory *dir);

static inline uint32_t directory_start_count(uint64_t state_word)
{
	return (uint32_t)(state_word >> 32);
}

static inline bool directory_is_live(uint64_t state_word)
{
	return (uint32_t)state_word == KVSHM_SB_LIVE;
}

/* Geometry hash over bytes 64..191 of the superblock. */
uint64_t directory_geometry_hash(const struct kvshm_superblock *sb);

#endif
