/* SPDX-License-Identifier: Apache-2.0 */
#include "kvshm/daemon/learnt.h"

#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "kvshm/base/checksum.h"

#define MAGIC 0x314c4f504d48534bull /* "KSHMPOL1" */

struct header { /* of a copy, at offset 0 or LEARNT_MAX */
	uint64_t magic;
	uint64_t number; /* of the write, from 1 */
	uint64_t instance;
	uint32_t max_blocks;
	uint32_t len; /* of what follows */
	char policy[32]; /* NUL padded */
	uint32_t checksum; /* of the header with 0 here, and what follows */
	uint32_t resv;
};
_Static_assert(sizeof(struct header) == 72, "no padding");

int learnt_open(int dirfd, struct learnt_file *ret_f)
{
	int fd = openat(dirfd, LEARNT_FILE, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);

	if (fd < 0)
		return -errno;
	*ret_f = (struct learnt_file){ .fd = fd };
	return 0;
}

void learnt_close(struct learnt_file *f)
{
	if (f->fd >= 0)
		close(f->fd);
	f->fd = -1;
}

static uint32_t sum_of(const struct header *h, const void *buf)
{
	struct header bare = *h;
	struct checksum_state s;

	bare.checksum = 0;
	checksum_init(&s);
	checksum_update(&s, &bare, sizeof(bare));
	checksum_update(&s, buf, h->len);
	return checksum_digest(&s);
}

static int read_all(int fd, void *buf, size_t len, off_t at)
{
	ssize_t n = pread(fd, buf, len, at);

	return n < 0 ? -errno : (size_t)n == len ? 0 : -EUCLEAN;
}

/* A copy that verifies, whosever it is.  Return: 0 with @ret_h and @ret_buf; -errno. */
static int read_copy(int fd, unsigned copy, struct header *ret_h, void **ret_buf)
{
	const off_t at = (off_t)copy * LEARNT_MAX;
	struct header h;
	void *buf;
	int ret = read_all(fd, &h, sizeof(h), at);

	if (ret < 0)
		return ret;
	if (h.magic != MAGIC || h.number == 0 || h.len == 0 || h.len > LEARNT_MAX - sizeof(h))
		return -EUCLEAN;
	buf = malloc(h.len);
	if (!buf)
		return -ENOMEM;
	ret = read_all(fd, buf, h.len, at + (off_t)sizeof(h));
	if (ret == 0 && sum_of(&h, buf) != h.checksum)
		ret = -EUCLEAN;
	if (ret < 0) {
		free(buf);
		return ret;
	}
	*ret_h = h;
	*ret_buf = buf;
	return 0;
}

static bool is_of(const struct header *h, const struct learnt_id *id)
{
	return h->instance == id->instance && h->max_blocks == id->max_blocks &&
	       strnlen(h->policy, sizeof(h->policy)) < sizeof(h->policy) && !strcmp(h->policy, id->policy);
}

long learnt_read(struct learnt_file *f, const struct learnt_id *id, void **ret_buf)
{
	const off_t end = lseek(f->fd, 0, SEEK_END);
	struct header newest = { 0 }, h;
	void *buf = NULL, *other;
	long ret = end == 0 ? -ENOENT : -EUCLEAN;

	for (unsigned i = 0; i < 2 && end > 0; i++) {
		int err = read_copy(f->fd, i, &h, &other);

		if (err == -ENOMEM || err == -EIO)
			ret = err;
		if (err < 0)
			continue;
		if (h.number > newest.number) {
			free(buf);
			buf = other;
			newest = h;
			f->copy = i;
		} else {
			free(other);
		}
	}
	if (!buf)
		return ret;
	f->number = newest.number;
	if (!is_of(&newest, id)) {
		free(buf);
		return -ESTALE;
	}
	*ret_buf = buf;
	return (long)newest.len;
}

static int write_all(int fd, const void *buf, size_t len, off_t at)
{
	ssize_t n = pwrite(fd, buf, len, at);

	return n < 0 ? -errno : (size_t)n == len ? 0 : -ENOSPC;
}

int learnt_write(struct learnt_file *f, const struct learnt_id *id, const void *buf, size_t len)
{
	struct header h = { .magic = MAGIC, .number = f->number + 1, .instance = id->instance,
			    .max_blocks = id->max_blocks };
	const unsigned copy = !f->copy;
	const off_t at = (off_t)copy * LEARNT_MAX;
	int ret;

	if (len == 0 || len > LEARNT_MAX - sizeof(h) || strlen(id->policy) >= sizeof(h.policy))
		return -EFBIG;
	h.len = (uint32_t)len;
	memcpy(h.policy, id->policy, strlen(id->policy));
	h.checksum = sum_of(&h, buf);
	ret = write_all(f->fd, buf, len, at + (off_t)sizeof(h));
	if (ret == 0)
		ret = write_all(f->fd, &h, sizeof(h), at);
	if (ret < 0)
		return ret;
	f->copy = copy;
	f->number = h.number;
	return 0;
}
