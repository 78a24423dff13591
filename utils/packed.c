/* SPDX-License-Identifier: Apache-2.0 */
#include "utils/packed.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <zstd.h>

#define OUT_LEN 65536u

struct packed {
	ZSTD_CCtx *z;
	int fd;
	char out[OUT_LEN];
};

/* Return: 0, -1 with errno. */
static int feed(struct packed *p, const char *buf, size_t len, ZSTD_EndDirective how)
{
	ZSTD_inBuffer in = { buf, len, 0 };
	size_t left;

	do {
		ZSTD_outBuffer out = { p->out, sizeof(p->out), 0 };

		left = ZSTD_compressStream2(p->z, &out, &in, how);
		if (ZSTD_isError(left)) {
			errno = EIO;
			return -1;
		}
		for (size_t done = 0; done < out.pos;) {
			ssize_t n = write(p->fd, p->out + done, out.pos - done);

			if (n < 0)
				return -1;
			done += (size_t)n;
		}
	} while (in.pos < in.size || (how == ZSTD_e_end && left));
	return 0;
}

static ssize_t packed_write(void *cookie, const char *buf, size_t len)
{
	return feed(cookie, buf, len, ZSTD_e_continue) < 0 ? 0 : (ssize_t)len;
}

static int packed_close(void *cookie)
{
	struct packed *p = cookie;
	int ret = feed(p, NULL, 0, ZSTD_e_end);

	if (close(p->fd) < 0)
		ret = -1;
	ZSTD_freeCCtx(p->z);
	free(p);
	return ret;
}

static FILE *pack(int fd)
{
	const cookie_io_functions_t io = { .write = packed_write, .close = packed_close };
	struct packed *p = calloc(1, sizeof(*p));
	FILE *f = NULL;

	if (p)
		p->z = ZSTD_createCCtx();
	if (p && p->z) {
		p->fd = fd;
		ZSTD_CCtx_setParameter(p->z, ZSTD_c_checksumFlag, 1);
		f = fopencookie(p, "w", io);
	}
	if (!f) {
		if (p)
			ZSTD_freeCCtx(p->z);
		free(p);
		close(fd);
		errno = ENOMEM;
	}
	return f;
}

FILE *packed_create(const char *path)
{
	const size_t len = strlen(path);
	FILE *f;
	int fd;

	if (!strcmp(path, "-"))
		return stdout;
	fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
	if (fd < 0)
		return NULL;
	if (len > 4 && !strcmp(path + len - 4, ".zst"))
		return pack(fd);
	f = fdopen(fd, "w");
	if (!f)
		close(fd);
	return f;
}
