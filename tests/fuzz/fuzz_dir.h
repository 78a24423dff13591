/* SPDX-License-Identifier: Apache-2.0 */
/*
 * fuzz_dir.h - a small valid directory in a memory file, and the input as damage to it
 *
 * An image with a few chains, a loose block, a grant and a block in quarantine is made once; each
 * input begins with it and changes words of it.
 */
#ifndef TESTS_FUZZ_FUZZ_DIR_H
#define TESTS_FUZZ_FUZZ_DIR_H

#include <sys/mman.h>
#include <unistd.h>

#include "kvshm/arena/arena.h"
#include "kvshm/arena/block.h"
#include "kvshm/arena/directory.h"
#include "kvshm/index/index.h"
#include "tests/fuzz/fuzz.h"

enum { FD_BLOCKS = 60, FD_UNITS = 4, FD_LEN = 65536 };

struct fuzz_dir {
	int fd;				/* of the file, fd < 0: not made yet */
	char *map, *base;		/* the file, and its valid content */
	size_t used, len;
	uint32_t tables;		/* offset of the first table behind the superblock */
};

static inline struct kvshm_key fuzz_key(uint8_t chain, uint8_t i)
{
	return (struct kvshm_key){ { chain, i, 0x5a } };
}

static inline void fuzz_publish(struct directory *d, blk_id_t id, uint8_t chain, uint8_t i)
{
	const struct block_info b = { .key = fuzz_key(chain, i), .parent = i ? id - 1 : 0, .depth = i, .length = FD_LEN,
				      .ns = 1, .flags = i ? 0 : KVSHM_FLAG_NOPARENT };

	block_grant(&d->desc[id], id * (FD_LEN / KVSHM_PAGE), FD_LEN, 1, 0);
	block_publish(&d->desc[id], &b);
	MUST(index_insert(d, 1, &b.key, id) == 0);
}

static inline void fuzz_dir_make(struct fuzz_dir *f)
{
	const struct directory_geometry g = { .max_blocks = FD_BLOCKS, .max_ns = 4, .max_extents = 4, .hash_seed = 1,
					      .instance = 1 };
	struct directory d;
	blk_id_t id;

	f->len = directory_size(&g);
	f->fd = memfd_create("directory", MFD_CLOEXEC);
	MUST(f->fd >= 0 && ftruncate(f->fd, (off_t)f->len) == 0 && directory_create(f->fd, &g, &d) == 0);
	d.extent[0] = (struct kvshm_extent_entry){ .len = FD_UNITS * HUGE_LEN, .page_kind = KVSHM_PAGES_4K };
	d.sb->nr_extents = 1;
	d.ns[1] = (struct kvshm_ns_entry){ .fingerprint = { 1 }, .block_len = FD_LEN, .block_tokens = 16, .state = 1 };
	d.sb->nr_ns = 2;
	for (id = 1; id <= 20; id++)
		fuzz_publish(&d, id, (uint8_t)((id - 1) / 7), (uint8_t)((id - 1) % 7));
	block_grant(&d.desc[30], 30 * 16, FD_LEN, 1, 7);
	fuzz_publish(&d, 31, 9, 0);
	block_quarantine(&d.desc[31]);
	f->used = (size_t)((char *)&d.bucket[d.bucket_mask + 1] - (char *)d.sb);
	f->tables = (uint32_t)((char *)d.ns - (char *)d.sb);
	f->map = (char *)d.sb;
	f->base = malloc(f->used);
	MUST(f->base);
	memcpy(f->base, f->map, f->used);
}

/* The file is the valid image again, with what the input changes. */
static inline void fuzz_dir_damage(struct fuzz_dir *f, struct input *in)
{
	struct kvshm_superblock *sb;
	uint8_t how;

	if (!f->map)
		fuzz_dir_make(f);
	memcpy(f->map, f->base, f->used);
	how = take8(in);
	while (in->left > 3) {
		uint8_t len = 1 + take8(in) % 8;
		uint32_t at = take16(in);
		uint64_t v = take64(in);

		/* Mostly the tables, which are long; the superblock's words in the other case. */
		at = how & 1 ? at % 256 : f->tables + at % (uint32_t)(f->used - f->tables - 8);
		if (how & 2)
			at &= ~7u;
		memcpy(f->map + at, &v, len);
	}
	sb = (void *)f->map;
	if (how & 4)
		sb->geometry_hash = directory_geometry_hash(sb);
}

#endif
