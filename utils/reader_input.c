/* SPDX-License-Identifier: Apache-2.0 */
/* reader_input.c - plain, xz or zstd into one buffer of lines */
#include "utils/reader_input.h"

#include <errno.h>
#include <fcntl.h>
#include <lzma.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <zstd.h>

#define RAW_LEN (1u << 16)
#define TEXT_LEN (1u << 18)
#define XZ_MEMORY (1ull << 30)		/* an encoder's largest window needs less */

enum packing { PLAIN, XZ, ZSTD };

struct input {
	int fd;
	enum packing packing;
	lzma_stream xz;
	ZSTD_DStream *zstd;
	uint8_t raw[RAW_LEN];		/* of the file */
	size_t raw_at, raw_len;
	bool is_raw_end, is_text_end, is_frame_open;
	char *text;			/* unpacked, one byte more than room for the last 0 */
	size_t room, at, len, scanned;	/* no newline in [at, scanned) */
	uint64_t file_len, nr_read;
};

static int fill_raw(struct input *in)
{
	ssize_t n;

	if (in->raw_at < in->raw_len || in->is_raw_end)
		return 0;
	do
		n = read(in->fd, in->raw, sizeof(in->raw));
	while (n < 0 && errno == EINTR);
	if (n < 0)
		return -errno;
	in->raw_at = 0;
	in->raw_len = (size_t)n;
	in->nr_read += (uint64_t)n;
	in->is_raw_end = n == 0;
	return 0;
}

static int start_packing(struct input *in)
{
	static const uint8_t xz_magic[6] = { 0xfd, '7', 'z', 'X', 'Z', 0 };
	static const uint8_t zstd_magic[4] = { 0x28, 0xb5, 0x2f, 0xfd };

	if (in->raw_len >= sizeof(xz_magic) && !memcmp(in->raw, xz_magic, sizeof(xz_magic))) {
		in->packing = XZ;
		return lzma_stream_decoder(&in->xz, XZ_MEMORY, LZMA_CONCATENATED) == LZMA_OK ? 0 : -ENOMEM;
	}
	if (in->raw_len >= sizeof(zstd_magic) && !memcmp(in->raw, zstd_magic, sizeof(zstd_magic))) {
		in->packing = ZSTD;
		in->zstd = ZSTD_createDStream();
		return in->zstd ? 0 : -ENOMEM;
	}
	return 0;
}

int input_open(const char *path, struct input **ret_in)
{
	struct input *in = calloc(1, sizeof(*in));
	struct stat st;
	int ret = 0;

	if (!in)
		return -ENOMEM;
	in->xz = (lzma_stream)LZMA_STREAM_INIT;
	in->fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY);
	if (in->fd < 0 || fstat(in->fd, &st) < 0)
		ret = -errno;
	else if (S_ISDIR(st.st_mode))
		ret = -EISDIR;
	if (ret == 0) {
		in->file_len = (uint64_t)st.st_size;
		in->room = TEXT_LEN;
		in->text = malloc(in->room + 1);
		ret = in->text ? fill_raw(in) : -ENOMEM;
	}
	if (ret == 0)
		ret = start_packing(in);
	if (ret < 0) {
		input_close(in);
		return ret;
	}
	*ret_in = in;
	return 0;
}

struct input *input_close(struct input *in)
{
	if (!in)
		return NULL;
	if (in->fd >= 0)
		close(in->fd);
	lzma_end(&in->xz);
	ZSTD_freeDStream(in->zstd);
	free(in->text);
	free(in);
	return NULL;
}

static int unpack_plain(struct input *in)
{
	size_t n = in->raw_len - in->raw_at;

	if (n > in->room - in->len)
		n = in->room - in->len;
	memcpy(in->text + in->len, in->raw + in->raw_at, n);
	in->raw_at += n;
	in->len += n;
	in->is_text_end = in->is_raw_end;
	return 0;
}

static int unpack_xz(struct input *in)
{
	lzma_ret ret;

	in->xz.next_in = in->raw + in->raw_at;
	in->xz.avail_in = in->raw_len - in->raw_at;
	in->xz.next_out = (uint8_t *)in->text + in->len;
	in->xz.avail_out = in->room - in->len;
	ret = lzma_code(&in->xz, in->is_raw_end ? LZMA_FINISH : LZMA_RUN);
	in->raw_at = in->raw_len - in->xz.avail_in;
	in->len = in->room - in->xz.avail_out;
	switch (ret) {
	case LZMA_OK:
		return 0;
	case LZMA_STREAM_END:
		in->is_text_end = true;
		return 0;
	case LZMA_BUF_ERROR:
		return in->is_raw_end ? -ENODATA : 0;
	case LZMA_MEM_ERROR:
	case LZMA_MEMLIMIT_ERROR:
		return -ENOMEM;
	default:
		return -EBADMSG;
	}
}

static int unpack_zstd(struct input *in)
{
	ZSTD_inBuffer from = { in->raw, in->raw_len, in->raw_at };
	ZSTD_outBuffer to = { in->text, in->room, in->len };
	const bool was_end = in->is_raw_end && in->raw_at == in->raw_len;
	size_t ret = ZSTD_decompressStream(in->zstd, &to, &from);

	if (ZSTD_isError(ret))
		return -EBADMSG;
	if (was_end && to.pos == in->len) {
		in->is_text_end = true;
		return in->is_frame_open ? -ENODATA : 0;
	}
	/* What the call without input says of a frame that has not begun is no news. */
	if (from.pos > in->raw_at || to.pos > in->len)
		in->is_frame_open = ret != 0;
	in->raw_at = from.pos;
	in->len = to.pos;
	return 0;
}

/* More text behind what is there; at least one byte of room. */
static int unpack(struct input *in)
{
	int ret = fill_raw(in);

	if (ret < 0)
		return ret;
	return in->packing == XZ ? unpack_xz(in) : in->packing == ZSTD ? unpack_zstd(in) : unpack_plain(in);
}

static int make_room(struct input *in)
{
	char *text;

	if (in->at) {
		memmove(in->text, in->text + in->at, in->len - in->at);
		in->len -= in->at;
		in->scanned -= in->at;
		in->at = 0;
	}
	if (in->len < in->room)
		return 0;
	if (in->room >= INPUT_LINE_MAX)
		return -E2BIG;
	text = realloc(in->text, 2 * in->room + 1);
	if (!text)
		return -ENOMEM;
	in->text = text;
	in->room *= 2;
	return 0;
}

static int give_line(struct input *in, size_t end, char **ret_line, size_t *ret_len)
{
	*ret_line = in->text + in->at;
	*ret_len = end - in->at;
	in->text[end] = 0;
	in->at = in->scanned = end < in->len ? end + 1 : end;
	return memchr(*ret_line, 0, *ret_len) ? -EILSEQ : 1;
}

int input_line(struct input *in, char **ret_line, size_t *ret_len)
{
	for (;;) {
		char *nl = memchr(in->text + in->scanned, '\n', in->len - in->scanned);
		int ret;

		if (nl)
			return give_line(in, (size_t)(nl - in->text), ret_line, ret_len);
		in->scanned = in->len;
		if (in->is_text_end)
			return in->at == in->len ? 0 : give_line(in, in->len, ret_line, ret_len);
		ret = make_room(in);
		if (ret == 0)
			ret = unpack(in);
		if (ret < 0)
			return ret;
	}
}

double input_progress(const struct input *in)
{
	uint64_t done = in->nr_read - (in->raw_len - in->raw_at);

	return in->file_len ? (double)done / (double)in->file_len : 1;
}
