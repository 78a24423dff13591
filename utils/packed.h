/* SPDX-License-Identifier: Apache-2.0 */
/* packed.h - a file to write to, by zstd if its name says so */
#ifndef UTILS_PACKED_H
#define UTILS_PACKED_H

#include <stdio.h>

/*
 * Make @path anew, mode 0600; "-": stdout, not packed; with .zst at its end by zstd.  fclose() ends it, and tells
 * whether all of it could be written.  Return: NULL with errno.
 */
FILE *packed_create(const char *path);

#endif
