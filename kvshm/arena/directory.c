/* SPDX-License-Identifier: Apache-2.0 */
/*
 * directory.c - lay out, attach and check the directory file
 *
 *   superblock 4 KiB | namespaces | extents | descriptors 0..max_blocks | buckets | to 2 MiB
 *
 * Each table begins on a page.  A superblock is read once into private memory and believed only after
 * every offset and size in it fits the file that fstat() reports; the magic is written last, so that a
 * daemon that dies while laying out leaves no directory.
 */
#include "kvshm/arena/directory.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <unistd.h>

#include "kvshm/arena/backing.h"
#include "kvshm/base/atomic.h"
#include "kvshm/base/compiler.h"
#include "kvshm/base/proc.h"

#define MAX_BLOCKS (1u << 31)
#define MAX_NS 65536u
#define MAX_EXTENTS 65536u
#define GEOMETRY_FIRST offsetof(struct kvshm_superblock, directory_len)
#define GEOMETRY_LAST offsetof(struct kvshm_superblock, writer_asleep)

/* FNV-1a: these bytes are hashed the same way for ever, whatever the payload checksum becomes. */
uint64_t directory_geometry_hash(const struct kvshm_superblock *sb)
{
	const uint8_t *p = (const uint8_t *)sb;
	uint64_t h = 0xcbf29ce484222325u;
	size_t i;

	for (i = GEOMETRY_FIRST; i < GEOMETRY_LAST; i++)
		h = (h ^ p[i]) * 0x100000001b3u;
	return h;
}

/* Load <= 0.5: at least two slots a block. */
static uint32_t bucket_count(uint32_t max_blocks)
{
	uint32_t n = 1;

	while ((uint64_t)n * KVSHM_BUCKET_SLOTS < 2 * (uint64_t)max_blocks)
		n <<= 1;
	return n;
}

/* Place a table of @nr records behind @end; false on overflow. */
static bool lay_table(uint64_t *end, uint64_t nr, uint64_t size, uint64_t *ret_off)
{
	uint64_t bytes;

	if (__builtin_add_overflow(*end, KVSHM_PAGE - 1, ret_off))
		return false;
	*ret_off &= ~(uint64_t)(KVSHM_PAGE - 1);
	return !__builtin_mul_overflow(nr, size, &bytes) && !__builtin_add_overflow(*ret_off, bytes, end);
}

static bool lay_out(const struct directory_geometry *g, struct kvshm_superblock *sb)
{
	uint64_t end = sizeof(*sb);

	if (g->max_blocks == 0 || g->max_blocks > MAX_BLOCKS || g->max_ns == 0 || g->max_ns > MAX_NS ||
	    g->max_extents == 0 || g->max_extents > MAX_EXTENTS)
		return false;
	sb->max_blocks = g->max_blocks;
	sb->max_ns = g->max_ns;
	sb->max_extents = g->max_extents;
	sb->nr_buckets = bucket_count(g->max_blocks);
	if (!lay_table(&end, g->max_ns, sizeof(struct kvshm_ns_entry), &sb->ns_off) ||
	    !lay_table(&end, g->max_extents, sizeof(struct kvshm_extent_entry), &sb->extent_off) ||
	    !lay_table(&end, (uint64_t)g->max_blocks + 1, sizeof(struct kvshm_desc), &sb->desc_off) ||
	    !lay_table(&end, sb->nr_buckets, sizeof(struct kvshm_bucket), &sb->bucket_off))
		return false;
	return !__builtin_add_overflow(end, HUGE_LEN - 1, &end) &&
	       (sb->directory_len = end & ~(uint64_t)(HUGE_LEN - 1)) != 0;
}

size_t directory_size(const struct directory_geometry *g)
{
	struct kvshm_superblock sb = { 0 };

	return lay_out(g, &sb) ? sb.directory_len : 0;
}

/* A random number other than 0, unless the caller has chosen one. */
static int choose_u64(uint64_t chosen, uint64_t *ret)
{
	uint64_t v = chosen;

	while (v == 0)
		if (getrandom(&v, sizeof(v), 0) != sizeof(v))
			return -errno;
	*ret = v;
	return 0;
}

/* Turn the checked copy @sb into pointers into @map. */
static void take_geometry(struct directory *dir, char *map, const struct kvshm_superblock *sb)
{
	*dir = (struct directory){
		.sb = (struct kvshm_superblock *)(void *)map,
		.ns = (struct kvshm_ns_entry *)(void *)(map + sb->ns_off),
		.extent = (struct kvshm_extent_entry *)(void *)(map + sb->extent_off),
		.desc = (struct kvshm_desc *)(void *)(map + sb->desc_off),
		.bucket = (struct kvshm_bucket *)(void *)(map + sb->bucket_off),
		.max_ns = sb->max_ns,
		.max_extents = sb->max_extents,
		.max_blocks = sb->max_blocks,
		.bucket_mask = sb->nr_buckets - 1,
		.hash_seed = sb->hash_seed,
		.instance = sb->instance,
		.len = sb->directory_len,
	};
}

int directory_create(int fd, const struct directory_geometry *g, struct directory *ret_dir)
{
	struct kvshm_superblock sb = { .abi = KVSHM_ABI, .frozen_len = 64 };
	struct stat st;
	char *map;
	int ret;

	if (!lay_out(g, &sb))
		return -EINVAL;
	if (fstat(fd, &st) < 0)
		return -errno;
	if ((uint64_t)st.st_size != sb.directory_len)
		return -EINVAL;
	ret = proc_boot_id(sb.boot_id);
	if (ret == 0)
		ret = choose_u64(g->hash_seed, &sb.hash_seed);
	if (ret == 0)
		ret = choose_u64(g->instance, &sb.instance);
	if (ret < 0)
		return ret;
	sb.geometry_hash = directory_geometry_hash(&sb);
	map = backing_map(fd, sb.directory_len, PROT_READ | PROT_WRITE, NULL);
	if (!map)
		return -errno;
	take_geometry(ret_dir, map, &sb);
	memcpy(map, &sb, sizeof(sb));
	/* SB-1: the layout before the magic that vouches for it; pairs with directory_attach(). */
	store_release(&ret_dir->sb->magic, KVSHM_DIRECTORY_MAGIC);
	return 0;
}

/* One table: on a cache line, behind the last one, inside the file.  @end moves behind it. */
static bool table_fits(uint64_t *end, uint64_t off, uint64_t nr, uint64_t size, uint64_t len)
{
	uint64_t bytes;

	return off % KVSHM_CACHELINE == 0 && off >= *end && !__builtin_mul_overflow(nr, size, &bytes) &&
	       !__builtin_add_overflow(off, bytes, end) && *end <= len;
}

static bool geometry_holds(const struct kvshm_superblock *sb, uint64_t file_len)
{
	uint64_t len = sb->directory_len, end = sizeof(*sb);

	return sb->geometry_hash == directory_geometry_hash(sb) && len <= file_len && len % HUGE_LEN == 0 &&
	       sb->max_blocks != 0 && sb->max_blocks <= MAX_BLOCKS && sb->max_ns != 0 &&
	       sb->max_ns <= MAX_NS && sb->max_extents != 0 && sb->max_extents <= MAX_EXTENTS &&
	       sb->nr_buckets != 0 && (sb->nr_buckets & (sb->nr_buckets - 1)) == 0 &&
	       table_fits(&end, sb->ns_off, sb->max_ns, sizeof(struct kvshm_ns_entry), len) &&
	       table_fits(&end, sb->extent_off, sb->max_extents, sizeof(struct kvshm_extent_entry), len) &&
	       table_fits(&end, sb->desc_off, (uint64_t)sb->max_blocks + 1, sizeof(struct kvshm_desc),
			  len) &&
	       table_fits(&end, sb->bucket_off, sb->nr_buckets, sizeof(struct kvshm_bucket), len);
}

/* Refuse what is wrong with the private copy @sb, the frozen part first. */
static int check_superblock(const struct kvshm_superblock *sb, uint64_t file_len, bool writable)
{
	uint32_t state = (uint32_t)sb->state;
	uint8_t boot_id[16];
	int ret;

	if (sb->magic != KVSHM_DIRECTORY_MAGIC || sb->frozen_len != 64)
		return -EBADMSG;
	if (state == KVSHM_SB_DEAD)
		return -ENODATA;
	if (sb->abi != KVSHM_ABI)
		return -EPROTONOSUPPORT;
	if (state != 0 && state != KVSHM_SB_LIVE)
		return -EBADMSG;
	if (!geometry_holds(sb, file_len))
		return -EBADMSG;
	if (!writable)
		return 0;
	ret = proc_boot_id(boot_id);
	if (ret < 0)
		return ret;
	return memcmp(boot_id, sb->boot_id, sizeof(boot_id)) == 0 ? 0 : -ESTALE;
}

int directory_attach(int fd, bool writable, struct directory *ret_dir)
{
	struct kvshm_superblock sb;
	struct stat st;
	ssize_t n;
	char *map;
	int ret;

	if (fstat(fd, &st) < 0)
		return -errno;
	n = pread(fd, &sb, sizeof(sb), 0);
	if (n < 0)
		return -errno;
	if ((size_t)n != sizeof(sb) || st.st_size < 0)
		return -EBADMSG;
	/* SB-1: the magic before the layout; pairs with directory_create(). */
	smp_acquire();
	ret = check_superblock(&sb, (uint64_t)st.st_size, writable);
	if (ret < 0)
		return ret;
	map = backing_map(fd, sb.directory_len, writable ? PROT_READ | PROT_WRITE : PROT_READ, NULL);
	if (!map)
		return -errno;
	take_geometry(ret_dir, map, &sb);
	return 0;
}

int directory_open(const char *memory_dir, struct directory *ret_dir)
{
	char path[PATH_MAX];
	int fd, ret;

	if ((size_t)snprintf(path, sizeof(path), "%s/directory", memory_dir) >= sizeof(path))
		return -ENAMETOOLONG;
	fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
	if (fd < 0)
		return -errno;
	ret = directory_attach(fd, false, ret_dir);
	close(fd);
	return ret;
}

void directory_detach(struct directory *dir)
{
	if (dir->sb)
		munmap(dir->sb, dir->len);
	*dir = (struct directory){ 0 };
}

void directory_set_state(struct directory *dir, uint32_t live_or_dead, uint32_t start_count)
{
	/* SB-1: all that a start has repaired before LIVE; pairs with directory_state(). */
	store_release(&dir->sb->state, (uint64_t)start_count << 32 | live_or_dead);
}

uint64_t directory_state(const struct directory *dir)
{
	/* SB-1: the word before what it vouches for; pairs with directory_set_state(). */
	return load_acquire(&dir->sb->state);
}
