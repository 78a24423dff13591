/* SPDX-License-Identifier: Apache-2.0 */
/*
 * tier_file.c - a file through pinned slices of host memory
 *
 * While the device empties a slice, the next one is read; and the reverse.  Aligned pieces go without the page cache.
 */
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <stdlib.h>
#include <unistd.h>

#include "gpu/bounce.h"
#include "gpu/poll.h"
#include "gpu/tier.h"
#include "kvshm/base/clock.h"

#define SLICES 4u
#define SLICE_LEN (512u << 10)
#define PATIENCE_NS 30000000000ull	/* for the device, once a piece */

struct bounced {
	struct gpu_stream stream;
	struct bounce *bounce[2];	/* enum stage_dir; they share the slices, one is in use at a time */
	int fd;
};

/* ---- the file ------------------------------------------------------------------------------------------- */

int tier_open(const char *path, bool is_write)
{
	const int flags = (is_write ? O_RDWR | O_CREAT : O_RDONLY) | O_CLOEXEC;
	int fd = open(path, flags | O_DIRECT, 0600);

	/* a file system that has no other way than its page cache */
	if (fd < 0 && errno == EINVAL)
		fd = open(path, flags, 0600);
	return fd < 0 ? -errno : fd;
}

/* A device whose sectors are larger than our alignment. */
static bool goes_through_cache(int fd)
{
	int flags = fcntl(fd, F_GETFL);

	return flags >= 0 && flags & O_DIRECT && fcntl(fd, F_SETFL, flags & ~O_DIRECT) == 0;
}

static int move_file(void *arg, enum stage_dir dir, char *slice, const struct bounce_rows *r)
{
	const struct bounced *b = arg;
	size_t done = 0;
	ssize_t n;

	while (done < r->len) {
		n = dir == STAGE_H2D ? pread(b->fd, slice + done, r->len - done, (off_t)(r->at + done)) :
				       pwrite(b->fd, slice + done, r->len - done, (off_t)(r->at + done));
		if (n < 0 && (errno == EINTR || (errno == EINVAL && goes_through_cache(b->fd))))
			continue;
		if (n < 0)
			return -errno;
		if (n == 0)
			return dir == STAGE_H2D ? -ENODATA : -EIO;
		done += (size_t)n;
	}
	return 0;
}

/* ---- open, close ---------------------------------------------------------------------------------------- */

static void bounced_close(void *file)
{
	struct bounced *b = file;

	bounce_destroy(b->bounce[STAGE_H2D]);
	bounce_destroy(b->bounce[STAGE_D2H]);
	gpu_stream_close(&b->stream);
	if (b->fd >= 0)
		close(b->fd);
	free(b);
}

static int bounced_make(struct bounced *b, const struct tier_target *t)
{
	const struct bounce_end end = { move_file, b };
	int ret = gpu_stream_open(t->ctx, true, &b->stream);

	for (enum stage_dir d = STAGE_H2D; d <= STAGE_D2H && ret == 0; d++)
		ret = bounce_create(&b->stream, d, t->host, SLICE_LEN, SLICES, &end, &b->bounce[d]);
	if (ret < 0)
		return ret;
	b->fd = tier_open(t->path, t->is_write);
	return b->fd < 0 ? b->fd : 0;
}

static int bounced_open(const struct tier_target *t, void **ret_file)
{
	struct bounced *b = calloc(1, sizeof(*b));
	int ret;

	if (!b)
		return -ENOMEM;
	b->fd = -1;
	ret = bounced_make(b, t);
	if (ret < 0) {
		bounced_close(b);
		return ret;
	}
	*ret_file = b;
	return 0;
}

/* ---- transfers -------------------------------------------------------------------------------------------- */

struct drain {
	struct bounce *bounce;
	uint64_t seq;
	int error;			/* of the file: the slices go on being drained */
};

static int poll_drain(void *arg)
{
	struct drain *d = arg;
	int ret = bounce_drain(d->bounce);

	if (ret == -ENOTRECOVERABLE)
		return ret;
	if (ret < 0 && !d->error)
		d->error = ret;
	return bounce_has_drained(d->bounce, d->seq);
}

/* Until nothing of it is on the stream, whatever went wrong before: then the slices are used again. */
static int settle(struct bounce *bounce, int error)
{
	struct drain d = { .bounce = bounce, .error = error };
	int ret;

	bounce_flush(bounce, &d.seq);
	ret = poll_until(poll_drain, &d, clock_ns() + PATIENCE_NS);
	if (ret < 0)
		return ret;
	/* a copy was refused by an error after which the device answers */
	return d.error == -ENOTRECOVERABLE ? -EIO : d.error;
}

static int push(struct bounce *bounce, const struct stage_op *op)
{
	const uint64_t deadline = clock_ns() + PATIENCE_NS;
	uint64_t at = 0;
	int ret;

	while ((ret = bounce_push(bounce, 0, op, &at)) == 0) {
		ret = bounce_drain(bounce);
		if (ret < 0)
			break;
		if (clock_ns() > deadline)
			return -ETIMEDOUT;
		sched_yield();
	}
	return ret < 0 ? ret : 0;
}

static int transfer(struct bounced *b, enum stage_dir dir, uint64_t off, uint64_t addr, uint64_t len)
{
	const struct stage_op op = { .arena = off, .dev = addr, .len = len, .kind = STAGE_OP_COPY, .rows = 1 };

	return settle(b->bounce[dir], push(b->bounce[dir], &op));
}

static int bounced_read(void *file, uint64_t off, uint64_t addr, uint64_t len)
{
	return transfer(file, STAGE_H2D, off, addr, len);
}

static int bounced_write(void *file, uint64_t off, uint64_t addr, uint64_t len)
{
	return transfer(file, STAGE_D2H, off, addr, len);
}

const struct tier_ops tier_file = { (size_t)SLICES * SLICE_LEN, bounced_open, bounced_read, bounced_write, bounced_close };
