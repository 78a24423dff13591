/* SPDX-License-Identifier: Apache-2.0 */
/*
 * segment.c - the session segment: create, map, seal; its geometry is checked and copied
 *
 *   header | SQ | CQ | touch ring | arguments        in this order, none overlapping
 *
 * The daemon knows the geometry because it made it and never reads it back.  The client reads it
 * once, checks it against the size of the file, and works with its private copy.
 */
#include "ipc/segment.h"

#include <errno.h>
#include <stdbool.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>

#include "ipc/memfd.h"
#include "kvshm/base/atomic.h"
#include "kvshm/base/compiler.h"

#define SEGMENT_LEN_MAX (64u << 20)
#define STAGING_LEN ((size_t)KVSHM_STAGING_SLICE * KVSHM_STAGING_SLICES)

_Static_assert(KVSHM_ARGS_LEN >= KVSHM_COMMIT_MAX * sizeof(struct kvshm_commit_rec),
	       "the longest COMMIT fits the argument area");

static void geometry_fill(struct kvshm_segment *h)
{
	uint32_t off = sizeof(*h);

	h->magic = KVSHM_SEGMENT_MAGIC;
	h->abi = KVSHM_ABI;
	h->header_len = sizeof(*h);
	h->sq_off = off;
	h->sq_entries = KVSHM_SQ_ENTRIES;
	off += KVSHM_SQ_ENTRIES * sizeof(struct kvshm_sqe);
	h->cq_off = off;
	h->cq_entries = KVSHM_CQ_ENTRIES;
	off += KVSHM_CQ_ENTRIES * sizeof(struct kvshm_cqe);
	h->touch_off = off;
	h->touch_entries = KVSHM_TOUCH_ENTRIES;
	off += KVSHM_TOUCH_ENTRIES * sizeof(struct kvshm_touch);
	h->args_off = round_up(off, KVSHM_PAGE);
	h->args_len = KVSHM_ARGS_LEN;
	h->len = h->args_off + h->args_len;
}

/* Each word of the geometry once; afterwards only the copy is looked at. */
static void geometry_copy(struct kvshm_segment *ret_h, const struct kvshm_segment *shared)
{
	const uint64_t *src = (const uint64_t *)shared;
	uint64_t *dst = (uint64_t *)ret_h;
	size_t i;

	for (i = 0; i < offsetof(struct kvshm_segment, sq) / 8; i++)
		dst[i] = READ_ONCE(src[i]);
}

static bool is_power_of_two(uint32_t x)
{
	return x && !(x & (x - 1));
}

/* A section lies behind *@end, on a line, inside the file; *@end moves behind it. */
static bool section_fits(uint64_t *end, uint64_t len, uint32_t off, uint64_t bytes)
{
	if (off < *end || off % KVSHM_CACHELINE || off > len || bytes > len - off)
		return false;
	*end = off + bytes;
	return true;
}

static bool geometry_is_valid(const struct kvshm_segment *h, uint64_t file_len)
{
	uint64_t end;

	if (h->magic != KVSHM_SEGMENT_MAGIC || h->abi != KVSHM_ABI || h->header_len < sizeof(*h) ||
	    h->len != file_len || h->resv0)
		return false;
	if (!is_power_of_two(h->sq_entries) || !is_power_of_two(h->cq_entries) ||
	    !is_power_of_two(h->touch_entries))
		return false;
	end = h->header_len;
	return section_fits(&end, h->len, h->sq_off, h->sq_entries * sizeof(struct kvshm_sqe)) &&
	       section_fits(&end, h->len, h->cq_off, h->cq_entries * sizeof(struct kvshm_cqe)) &&
	       section_fits(&end, h->len, h->touch_off, h->touch_entries * sizeof(struct kvshm_touch)) &&
	       section_fits(&end, h->len, h->args_off, h->args_len);
}

static void segment_fill(struct segment *s, void *map, const struct kvshm_segment *h)
{
	s->hdr = map;
	s->len = h->len;
	s->sq_entries = h->sq_entries;
	s->cq_entries = h->cq_entries;
	s->touch_entries = h->touch_entries;
	s->args_len = h->args_len;
	s->sq = (void *)((char *)map + h->sq_off);
	s->cq = (void *)((char *)map + h->cq_off);
	s->touch = (void *)((char *)map + h->touch_off);
	s->args = (char *)map + h->args_off;
}

int segment_create(struct segment *ret_s, int *ret_fd)
{
	struct kvshm_segment h;
	void *map;
	int ret;

	memset(&h, 0, sizeof(h));
	geometry_fill(&h);
	ret = memfd_make("kvshm-session", h.len, &map, ret_fd);
	if (ret < 0)
		return ret;
	memcpy(map, &h, sizeof(h));
	segment_fill(ret_s, map, &h);
	return 0;
}

int segment_seal(int fd)
{
	return memfd_seal(fd);
}

int segment_map(int fd, struct segment *ret_s)
{
	struct kvshm_segment h;
	struct stat st;
	void *map;

	if (fstat(fd, &st) < 0)
		return -errno;
	if (!S_ISREG(st.st_mode) || st.st_size < (off_t)sizeof(h) || st.st_size > SEGMENT_LEN_MAX)
		return -EBADMSG;
	map = mmap(NULL, (size_t)st.st_size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_POPULATE, fd, 0);
	if (map == MAP_FAILED)
		return -errno;
	geometry_copy(&h, map);
	if (!geometry_is_valid(&h, (uint64_t)st.st_size)) {
		munmap(map, (size_t)st.st_size);
		return -EBADMSG;
	}
	segment_fill(ret_s, map, &h);
	return 0;
}

void segment_unmap(struct segment *s)
{
	if (s->hdr)
		munmap(s->hdr, s->len);
	memset(s, 0, sizeof(*s));
}

int staging_create(char **ret_map, int *ret_fd)
{
	void *map;
	int ret = memfd_make("kvshm-staging", STAGING_LEN, &map, ret_fd);

	if (ret == 0)
		*ret_map = map;
	return ret;
}

int staging_map(int fd, char **ret_map)
{
	struct stat st;
	void *map;

	if (fstat(fd, &st) < 0)
		return -errno;
	if (!S_ISREG(st.st_mode) || st.st_size != (off_t)STAGING_LEN)
		return -EBADMSG;
	map = mmap(NULL, STAGING_LEN, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_POPULATE, fd, 0);
	if (map == MAP_FAILED)
		return -errno;
	*ret_map = map;
	return 0;
}

void staging_unmap(char *map)
{
	if (map)
		munmap(map, STAGING_LEN);
}
