/* SPDX-License-Identifier: Apache-2.0 */
/* verify.h - the verifiers of arena, index and pins over one memory directory; reads only */
#ifndef UTILS_VERIFY_H
#define UTILS_VERIFY_H

#include <stdint.h>

#include "kvshm/arena/arena.h"

struct verify_result {
	struct arena_report arena;
	unsigned long index_violations, pin_violations, pin_files;
	char first[160];		/* the first violation, empty when there is none */
};

/**
 * verify_directory() - check the files in memory directory @path, with a daemon on them or without
 * Only what two passes see is a violation, for a look can fall between two stores of a live daemon.
 * Return: 0 with @ret_r, whatever it says; -errno: could not look.
 */
int verify_directory(const char *path, struct verify_result *ret_r);

/* Sum of all violations. */
uint64_t verify_violations(const struct verify_result *r);

#endif
