/* SPDX-License-Identifier: Apache-2.0 */
/*
 * reader_input.h - lines of a file that may be compressed (xz, zstd), known by its first bytes
 *
 * One thread.  A file cut short in the middle of its compressed data is an error, not an end.
 */
#ifndef UTILS_READER_INPUT_H
#define UTILS_READER_INPUT_H

#include <stddef.h>

#define INPUT_LINE_MAX (64u << 20)	/* a longer line is refused */

struct input;

/* Return: 0; -errno, also -EISDIR, -ENOMEM. */
int input_open(const char *path, struct input **ret_in);

/* Takes NULL.  Return: NULL. */
struct input *input_close(struct input *in);

/**
 * input_line() - the next line, its newline replaced by a 0
 * @ret_line: valid until the next call; may be written to
 * A last line without its newline counts.
 * Return: 1; 0 at the end; -errno: -EBADMSG damaged, -ENODATA cut short, -E2BIG line too long,
 * -EILSEQ a 0 in the line (which can be read over), -ENOMEM.
 */
int input_line(struct input *in, char **ret_line, size_t *ret_len);

/* How much of the file was read: 0..1. */
double input_progress(const struct input *in);

#endif
