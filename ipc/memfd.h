/* SPDX-License-Identifier: Apache-2.0 */
/* memfd.h - sealed shared memory of one session, made by the daemon */
#ifndef IPC_MEMFD_H
#define IPC_MEMFD_H

#include <stddef.h>

/**
 * memfd_make() - a memfd of @len bytes, all pages there, its size sealed, mapped read-write
 * Return: 0 with both outputs set, -errno.
 */
int memfd_make(const char *name, size_t len, void **ret_map, int *ret_fd);

/* FUTURE_WRITE, SHRINK, GROW, SEAL.  Return: 0 only if all four hold, -errno. */
int memfd_seal(int fd);

#endif
